//! What the throttled protocol tells its host.

use super::super::Event;
use crate::identity::PeerId;

/// Something that happened. Credits and their acknowledgements are never among it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ThrottledEvent<Q, R> {
    /// As without throttling, under the same guarantees.
    Event(Event<Q, R>),
    /// A peer sent a request it has no budget for. It was dropped, and the peer sees
    /// [`ResponseOmitted`](super::super::OutboundFailure::ResponseOmitted).
    TooManyInboundRequests(PeerId),
    /// Requests can be sent to a peer again.
    ResumeSending(PeerId),
}

/// What was done for the credits, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottledStatistics {
    /// Grants issued to peers.
    pub grants: u64,
    /// Credit messages sent, those sent again included.
    pub credits_sent: u64,
    /// Grants that peers acknowledged.
    pub acknowledged: u64,
    /// Grants that were given up after so many failures that the peer does not seem to take any.
    pub given_up: u64,
    /// Credits of peers that were taken.
    pub credits_taken: u64,
    /// Credits of peers that were there already.
    pub credits_ignored: u64,
    /// Requests of peers without budget.
    pub too_many: u64,
    /// Requests of peers under names that are for requests of this node only.
    pub wrong_direction: u64,
    /// Requests in doubt that may be sent again, because the peer has evidently not counted them.
    pub doubts_resolved: u64,
}
