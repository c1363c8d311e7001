//! Ways to peers: connections, dials, and requests that wait for one of them.

use super::{
    Codec, Cx, Deadline, OutboundFailure, OutboundRequestId, RequestResponse, error::Refusal,
    outbound::RequestOptions,
};
use crate::{
    connection::{ConnectionError, ConnectionId},
    identity::PeerId,
    swarm::{DialCondition, DialError, DialId, DialOptions, OpenStreamError},
};
use alloc::{collections::BTreeSet, vec::Vec};
use core::{cmp::Reverse, time::Duration};
use smallvec::SmallVec;

/// When a connection whose streams were used up is asked again.
const RETRY: Duration = Duration::from_millis(100);

/// A peer with a connection, or with requests that wait for one.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) links: SmallVec<[ConnectionId; 2]>,
    /// Requests that wait, the oldest first.
    pub(super) queue: BTreeSet<OutboundRequestId>,
    dials: u32,
}

impl Peer {
    fn is_idle(&self) -> bool {
        self.links.is_empty() && self.queue.is_empty() && self.dials == 0
    }
}

/// Whether a connection takes new streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Usable,
    /// It will be said when it does again.
    Busy,
    Closing,
}

/// A connection that is up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    relayed: bool,
    /// Streams of this node's requests, and of the peer's.
    pub(super) outbound: u32,
    pub(super) inbound: u32,
    state: State,
}

impl<C: Codec> RequestResponse<C> {
    pub(super) fn connected(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        relayed: bool,
        cx: &mut Cx<'_, C>,
    ) {
        let link = Link {
            peer,
            relayed,
            outbound: 0,
            inbound: 0,
            state: State::Usable,
        };
        self.links.insert(connection, link);
        self.peers.entry(peer).or_default().links.push(connection);
        self.flush(&peer, cx);
    }

    pub(super) fn disconnected(
        &mut self,
        connection: ConnectionId,
        reason: &ConnectionError,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(Link { peer: id, .. }) = self.links.remove(&connection) else {
            return;
        };
        self.timers.clear(Deadline::Retry(connection));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.links.retain(|link| *link != connection);
        if peer.links.is_empty() && !peer.queue.is_empty() && peer.dials == 0 {
            // None of these has been sent.
            if let Err(error) = self.dial(&id, Vec::new(), cx) {
                let failure = match error {
                    DialError::ShuttingDown => OutboundFailure::ConnectionClosed(reason.clone()),
                    error => OutboundFailure::DialFailure(error),
                };
                self.fail_queue(&id, &failure, cx);
            }
        }
        self.forget_if_idle(&id);
    }

    pub(super) fn streams_available(&mut self, connection: ConnectionId, cx: &mut Cx<'_, C>) {
        let Some(link) = self.links.get_mut(&connection) else {
            return;
        };
        if link.state == State::Busy {
            link.state = State::Usable;
        }
        let peer = link.peer;
        self.flush(&peer, cx);
    }

    /// The streams of a connection are used up, by others: nobody will say when there is room again.
    pub(super) fn used_up(&mut self, connection: ConnectionId, cx: &Cx<'_, C>) {
        self.refused_by(connection, OpenStreamError::TooManyStreams);
        self.timers
            .set(Deadline::Retry(connection), cx.now() + RETRY);
    }

    /// The connection for the next request to a peer.
    pub(super) fn choose(&self, peer: &PeerId) -> Option<ConnectionId> {
        let links = self.peers.get(peer)?.links.iter();
        let usable =
            links.filter_map(|id| {
                let link = self.links.get(id)?;
                (link.state == State::Usable && link.outbound < self.config.max_outbound)
                    .then_some((link.relayed, link.outbound, Reverse(*id)))
            });
        usable.min().map(|(_, _, Reverse(id))| id)
    }

    /// A connection refused a stream.
    pub(super) fn refused_by(&mut self, connection: ConnectionId, error: OpenStreamError) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.state = match error {
                OpenStreamError::NotConnected => State::Closing,
                _ => State::Busy,
            };
        }
    }

    /// Sees to it that a request which cannot be sent at once will be.
    pub(super) fn find_a_way(
        &mut self,
        peer: &PeerId,
        options: &mut RequestOptions,
        cx: &mut Cx<'_, C>,
    ) -> Result<(), Refusal> {
        if self.queue_is_full(peer) {
            return Err(Refusal::QueueFull);
        }
        let known = self.peers.get(peer);
        let connected = self.has_live_link(peer);
        let dialing = known.is_some_and(|peer| peer.dials > 0);
        if connected || (dialing && options.addresses.is_empty()) {
            return Ok(());
        }
        if !options.dial && !dialing {
            return Err(Refusal::NotConnected);
        }
        match self.dial(peer, core::mem::take(&mut options.addresses), cx) {
            Err(error) if !dialing => Err(Refusal::Dial(error)),
            _ => Ok(()),
        }
    }

    fn has_live_link(&self, peer: &PeerId) -> bool {
        let links = self.peers.get(peer).map(|peer| peer.links.iter());
        let mut links = links.into_iter().flatten();
        links.any(|id| {
            let link = self.links.get(id);
            link.is_some_and(|link| link.state != State::Closing)
        })
    }

    /// Sees to it that what waits for a peer whose connections take no more streams does not wait for their end.
    pub(super) fn find_another_way(&mut self, connection: ConnectionId, cx: &mut Cx<'_, C>) {
        let Some(peer) = self.links.get(&connection).map(|link| link.peer) else {
            return;
        };
        let waits = |peer: &Peer| !peer.queue.is_empty() && peer.dials == 0;
        if self.peers.get(&peer).is_some_and(waits) && !self.has_live_link(&peer) {
            // Should it not be possible, that is told when the last connection has ended.
            let _ = self.dial(&peer, Vec::new(), cx);
        }
    }

    /// Whether no more requests may wait for this peer.
    pub(super) fn queue_is_full(&self, peer: &PeerId) -> bool {
        let queued = self.peers.get(peer).map_or(0, |peer| peer.queue.len());
        let max = usize::try_from(self.config.max_queued_per_peer).unwrap_or(usize::MAX);
        queued >= max || self.queued >= self.config.max_queued
    }

    fn dial(
        &mut self,
        peer: &PeerId,
        addresses: Vec<crate::multiaddr::Multiaddr>,
        cx: &mut Cx<'_, C>,
    ) -> Result<(), DialError> {
        // What connections there are take no more streams.
        let options = DialOptions::peer(*peer).condition(DialCondition::Always);
        let dial = cx.dial(options.addresses(addresses))?;
        self.dials.insert(dial, *peer);
        let known = self.peers.entry(*peer).or_default();
        known.dials = known.dials.saturating_add(1);
        Ok(())
    }

    /// A dial is over; whose it was.
    fn dial_over(&mut self, dial: DialId) -> Option<PeerId> {
        let id = self.dials.remove(&dial)?;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.dials = peer.dials.saturating_sub(1);
        }
        Some(id)
    }

    pub(super) fn dialed(&mut self, dial: DialId, cx: &mut Cx<'_, C>) {
        if let Some(peer) = self.dial_over(dial) {
            self.flush(&peer, cx);
            self.forget_if_idle(&peer);
        }
    }

    pub(super) fn dial_failed(&mut self, dial: DialId, error: &DialError, cx: &mut Cx<'_, C>) {
        let Some(id) = self.dial_over(dial) else {
            return;
        };
        let stranded = |peer: &Peer| peer.dials == 0 && peer.links.is_empty();
        if self.peers.get(&id).is_some_and(stranded) {
            self.fail_queue(&id, &OutboundFailure::DialFailure(error.clone()), cx);
        }
        self.forget_if_idle(&id);
    }

    /// Gives up dials for which nobody waits any more.
    fn cancel_dials(&mut self, id: &PeerId, cx: &mut Cx<'_, C>) {
        let waiting = self
            .peers
            .get(id)
            .is_some_and(|peer| !peer.queue.is_empty());
        if waiting {
            return;
        }
        let dials: Vec<DialId> = self
            .dials
            .iter()
            .filter(|(_, peer)| *peer == id)
            .map(|(dial, _)| *dial)
            .collect();
        for dial in dials {
            cx.cancel_dial(dial);
            self.dial_over(dial);
        }
    }

    fn forget_if_idle(&mut self, id: &PeerId) {
        if self.peers.get(id).is_some_and(Peer::is_idle) {
            self.peers.remove(id);
        }
    }

    pub(super) fn enqueue(&mut self, peer: &PeerId, id: OutboundRequestId) {
        if self.peers.entry(*peer).or_default().queue.insert(id) {
            self.queued = self.queued.saturating_add(1);
        }
    }

    fn dequeue(&mut self, peer: &PeerId, id: OutboundRequestId) {
        let peer = self.peers.get_mut(peer);
        if peer.is_some_and(|peer| peer.queue.remove(&id)) {
            self.queued = self.queued.saturating_sub(1);
        }
    }

    /// A request that waited waits no more: it was given up.
    pub(super) fn abandon(&mut self, peer: &PeerId, id: OutboundRequestId, cx: &mut Cx<'_, C>) {
        self.dequeue(peer, id);
        let dialing = self.peers.get(peer).is_some_and(|peer| peer.dials > 0);
        if dialing {
            self.cancel_dials(peer, cx);
        }
        self.forget_if_idle(peer);
    }

    /// Sends what waits for a peer, as much as there is room for.
    pub(super) fn flush(&mut self, peer: &PeerId, cx: &mut Cx<'_, C>) {
        loop {
            let first = self.peers.get(peer).and_then(|peer| peer.queue.first());
            let Some(id) = first.copied() else {
                return;
            };
            let Some(connection) = self.choose(peer) else {
                return;
            };
            let started = match self.outbound.remove(&id) {
                Some(mut request) => {
                    let started = self.begin(id, &mut request, connection, cx);
                    self.outbound.insert(id, request);
                    started
                }
                None => Ok(()),
            };
            match started {
                Ok(()) => self.dequeue(peer, id),
                Err(error) => self.refused_by(connection, error),
            }
        }
    }

    fn fail_queue(&mut self, peer: &PeerId, failure: &OutboundFailure, cx: &mut Cx<'_, C>) {
        self.fail_queue_beyond(0, peer, failure, cx);
    }

    /// Fails what waits for a peer, all but the first so many.
    pub(super) fn fail_queue_beyond(
        &mut self,
        kept: usize,
        peer: &PeerId,
        failure: &OutboundFailure,
        cx: &mut Cx<'_, C>,
    ) {
        let queue = self.peers.get(peer).map(|peer| peer.queue.iter());
        let failed: Vec<OutboundRequestId> =
            queue.into_iter().flatten().skip(kept).copied().collect();
        for id in failed {
            self.dequeue(peer, id);
            self.fail_outbound(id, failure.clone(), cx);
        }
    }
}
