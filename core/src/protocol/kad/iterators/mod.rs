//! Who is asked next: the ways through the network that a query takes.
//!
//! An iterator knows peers, not requests. Its owner asks for the next [`Step`] until there is nobody to ask, sends the
//! requests, and reports each answer or failure back.

mod closest;
mod disjoint;
mod fixed;
#[cfg(test)]
mod tests;

pub use closest::{ClosestConfig, ClosestPeers, Termination};
pub use disjoint::DisjointPeers;
pub use fixed::FixedPeers;

use crate::{identity::PeerId, time::Instant};
use alloc::vec::Vec;

/// What an iterator wants to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this peer, and then for the next step: there may be more.
    Ask(PeerId),
    /// Answers are awaited; there is nobody to ask before one comes, or before the
    /// [next deadline](PeersIterator::next_deadline).
    Wait,
    /// There is nothing left to do.
    Finished,
}

/// The iterator of a query, of whichever kind.
#[derive(Clone, Debug)]
pub enum PeersIterator {
    /// Towards the peers closest to a position.
    Closest(ClosestPeers),
    /// Through given peers.
    Fixed(FixedPeers),
    /// Towards the peers closest to a position, on disjoint paths.
    Disjoint(DisjointPeers),
}

/// Calls a method of whichever iterator it is.
macro_rules! each {
    ($self:ident, $iterator:ident => $call:expr) => {
        match $self {
            Self::Closest($iterator) => $call,
            Self::Fixed($iterator) => $call,
            Self::Disjoint($iterator) => $call,
        }
    };
}

impl PeersIterator {
    /// The next thing to do. Peers whose time to answer is over no longer count as waited for.
    pub fn next(&mut self, now: Instant) -> Step {
        each!(self, iterator => iterator.next(now))
    }

    /// A peer has answered, and knows `closer` peers (of no use to [`FixedPeers`]). Whether that made a difference:
    /// `false` for peers never asked, for a second answer, and once finished.
    pub fn on_success(
        &mut self,
        peer: &PeerId,
        closer: impl IntoIterator<Item = PeerId>,
        now: Instant,
    ) -> bool {
        match self {
            Self::Closest(iterator) => iterator.on_success(peer, closer, now),
            Self::Fixed(iterator) => iterator.on_success(peer),
            Self::Disjoint(iterator) => iterator.on_success(peer, closer, now),
        }
    }

    /// A peer cannot be asked, or has not answered as it should. Whether that made a difference.
    pub fn on_failure(&mut self, peer: &PeerId) -> bool {
        each!(self, iterator => iterator.on_failure(peer))
    }

    /// Ends the iterator: nobody more is asked, what comes is ignored.
    pub fn finish(&mut self) {
        each!(self, iterator => iterator.finish());
    }

    /// What these peers told is enough: ends the paths they are on, or the only path. Whether all is finished then.
    pub fn finish_paths<'a>(&mut self, peers: impl IntoIterator<Item = &'a PeerId>) -> bool {
        match self {
            Self::Disjoint(iterator) => iterator.finish_paths(peers),
            Self::Closest(_) | Self::Fixed(_) => {
                self.finish();
                true
            }
        }
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        each!(self, iterator => iterator.is_finished())
    }

    /// Whether this peer was asked and still has time to answer.
    #[must_use]
    pub fn is_waiting_for(&self, peer: &PeerId) -> bool {
        each!(self, iterator => iterator.is_waiting_for(peer))
    }

    /// How many peers were asked and still have time to answer.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        each!(self, iterator => iterator.num_waiting())
    }

    /// When the first of those waited for runs out of time: call [`next`](Self::next) then. Never for
    /// [`FixedPeers`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        each!(self, iterator => iterator.next_deadline())
    }

    /// Whether this peer is among those asked or to be asked.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        each!(self, iterator => iterator.contains(peer))
    }

    /// Who has answered: the closest first, or for [`FixedPeers`] by peer id.
    #[must_use]
    pub fn result(&self) -> Vec<PeerId> {
        each!(self, iterator => iterator.result().collect())
    }
}
