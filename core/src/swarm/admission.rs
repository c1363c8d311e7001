//! Which connections there may be, and what their beginning and end mean to everyone else.

use super::{
    action::Action,
    connections::{Entry, Outbox, Phase},
    dial::{AttemptError, DialError},
    error::Refused,
    event_queue::Notice,
    protocol::StreamRef,
    sources::Source,
    state::{Broadcast, Peer, Running, State, Targeted},
    timers::Timer,
};
use crate::{
    connection::{
        ConnectedPoint, ConnectionError, ConnectionId, ConnectionStart, Direction, SecuredPeer,
        StreamEnd, StreamError, ToConnectionMessage,
    },
    identity::PeerId,
    resource::{Lease, ScopeId},
};
use core::net::IpAddr;
use smallvec::SmallVec;

impl State {
    /// Counts an accepted connection, or says why not and forgets it.
    pub(super) fn accept(&mut self, point: ConnectedPoint) -> Result<ConnectionStart, Refused> {
        let source = self.may_accept(&point);
        match source {
            Ok(source) => {
                self.inbound = self.inbound.saturating_add(1);
                self.pending = self.pending.saturating_add(1);
                self.review_pending();
                let mut entry = Entry::new(point.clone());
                (entry.source, entry.reserved) = (source, 2);
                let id = self.connections.insert(entry);
                Ok(self.connection_start(id, point))
            }
            Err(refused) => {
                self.refusals = self.refusals.saturating_add(1);
                Err(refused)
            }
        }
    }

    fn may_accept(&mut self, point: &ConnectedPoint) -> Result<Option<Source>, Refused> {
        let limits = &self.config.limits;
        let max = usize::try_from(limits.connections).unwrap_or(usize::MAX);
        if point.direction != Direction::Inbound {
            return Err(Refused::NotInbound);
        }
        if self.running != Running::Yes {
            return Err(Refused::ShuttingDown);
        }
        if point
            .remote
            .ip()
            .is_some_and(|ip| is_in(&self.denied_networks, ip))
        {
            return Err(Refused::Denied);
        }
        if self.connections.len() >= max || self.inbound >= limits.inbound {
            return Err(Refused::TooManyConnections);
        }
        if self.pending >= limits.pending {
            return Err(Refused::TooManyPending);
        }
        if !self.events.reserve(2) {
            return Err(Refused::EventsFull);
        }
        let source = Source::of(&point.remote);
        if let Some(source) = source {
            if let Err(refused) = self.sources.enter(self.now, source, limits) {
                self.events.release(2);
                return Err(refused);
            }
            self.timers
                .set_or_clear(Timer::Rates, self.sources.next_forgotten());
        }
        Ok(source)
    }

    pub(super) fn connection_start(
        &mut self,
        id: ConnectionId,
        point: ConnectedPoint,
    ) -> ConnectionStart {
        let seed = self.seed.next_child("connection");
        let (config, security) = (self.connection_config.clone(), self.security.clone());
        let start = ConnectionStart::new(id, point, config, security, seed);
        #[cfg(feature = "recording")]
        if let Some(recorder) = &self.config.recorder {
            return start.recorded_by(recorder.clone());
        }
        start
    }

    /// Accepting rests at the limit of handshakes, until a quarter of their places is free.
    fn review_pending(&mut self) {
        let limit = self.config.limits.pending;
        if self.pending >= limit {
            self.pending_full = true;
        } else if self.pending <= limit.saturating_sub(limit.div_ceil(4)) {
            self.pending_full = false;
        }
    }

    /// The handshake of a connection is over, however it ended.
    fn settle(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.get(id) else {
            return;
        };
        if entry.phase == Phase::Handshake && entry.point.direction == Direction::Inbound {
            let source = entry.source;
            self.pending = self.pending.saturating_sub(1);
            self.review_pending();
            if let Some(source) = source {
                self.sources.settle(source);
            }
        }
    }

    /// The peer has proven who it is: let it in or not.
    pub(super) fn secured(&mut self, id: ConnectionId, secured: &SecuredPeer) {
        let Some(entry) = self.connections.get(id) else {
            return;
        };
        if entry.phase != Phase::Handshake {
            return;
        }
        let (peer, expected) = (secured.peer, entry.expected);
        if let Some(expected) = expected.filter(|expected| *expected != peer) {
            return self.refuse_wrong_peer(id, expected, peer);
        }
        match self.may_enter(peer) {
            Ok((scope, lease)) => self.admit(id, peer, scope, lease),
            Err(reason) => self.refuse(id, reason),
        }
    }

    fn may_enter(&mut self, peer: PeerId) -> Result<(ScopeId, Lease), ConnectionError> {
        if self.is_shutting_down() {
            return Err(ConnectionError::Shutdown);
        }
        if peer == self.local_peer {
            return Err(ConnectionError::SelfDial);
        }
        if self.denied_peers.contains(&peer) {
            return Err(ConnectionError::Denied);
        }
        if self.connection_count(&peer) >= self.config.limits.per_peer {
            return Err(ConnectionError::LimitReached(
                "connections of one peer".into(),
            ));
        }
        self.borrow_for(peer).ok_or(ConnectionError::LimitReached(
            "resources of the node".into(),
        ))
    }

    /// Opens a scope for one more connection of a peer, with what a connection has from the start.
    fn borrow_for(&mut self, peer: PeerId) -> Option<(ScopeId, Lease)> {
        let limits = &self.config.resources;
        let known = self.peers.get(&peer).map(|peer| peer.scope);
        let above = match known {
            Some(scope) => scope,
            None => self.ledger.open(self.ledger.root(), limits.peer).ok()?,
        };
        let scope = self.ledger.open(above, limits.connection).ok()?;
        let lease = self.ledger.lend(scope, limits.initial, Lease::new(1, 1));
        if lease.streams < limits.initial.streams {
            self.ledger.close(scope);
            if known.is_none() {
                self.ledger.close(above);
            }
            return None;
        }
        if known.is_none() {
            let peer_state = Peer {
                connections: SmallVec::new(),
                scope: above,
                protocols: None,
            };
            self.peers.insert(peer, peer_state);
        }
        Some((scope, lease))
    }

    fn admit(&mut self, id: ConnectionId, peer: PeerId, scope: ScopeId, lease: Lease) {
        self.settle(id);
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        entry.phase = Phase::Up {
            peer,
            closing: false,
            scope,
        };
        entry.reserved = entry.reserved.saturating_sub(1);
        let (point, attempt) = (entry.point.clone(), entry.attempt.take());
        let table = self.table.clone();
        self.connections
            .post(id, |outbox| outbox.admit(table, lease));
        if let Some(known) = self.peers.get_mut(&peer) {
            known.connections.push(id);
        }
        let connections = self.connection_count(&peer);
        self.backoff.clear(peer);
        self.timers
            .set_or_clear(Timer::Backoff, self.backoff.next_forgotten());
        if point.direction == Direction::Outbound {
            self.book.verified(self.now, peer, &point.remote);
        }
        self.book.set_connected(self.now, peer, true);
        self.timers
            .set_or_clear(Timer::AddressBook, self.book.next_expiry());
        self.events.push_reserved(Notice::ConnectionEstablished {
            connection: id,
            peer,
            point: point.clone(),
            connections,
        });
        self.broadcast(Broadcast::ConnectionUp {
            connection: id,
            peer,
            point,
            connections,
        });
        self.answer_dials(id, peer, attempt);
    }

    fn refuse_wrong_peer(&mut self, id: ConnectionId, _expected: PeerId, obtained: PeerId) {
        let attempt = self
            .connections
            .get_mut(id)
            .and_then(|entry| entry.attempt.take());
        if let Some(attempt) = attempt {
            self.attempt_failed(attempt, AttemptError::WrongPeer { obtained });
        }
        self.refuse(id, ConnectionError::WrongPeer);
    }

    /// Does not admit a connection.
    fn refuse(&mut self, id: ConnectionId, reason: ConnectionError) {
        self.settle(id);
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        entry.phase = Phase::Refused(reason.clone());
        if let Some(attempt) = entry.attempt.take() {
            self.attempt_failed(attempt, AttemptError::Connection(reason.clone()));
        }
        self.connections
            .post(id, |outbox| outbox.end(ToConnectionMessage::Refuse(reason)));
    }

    /// Closes a connection in good order, whatever its phase. Its end is reported when it has come.
    pub(super) fn close_connection(&mut self, id: ConnectionId, reason: ConnectionError) {
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        match &mut entry.phase {
            Phase::Handshake => self.refuse(id, reason),
            Phase::Up { closing, .. } if !*closing => {
                *closing = true;
                self.connections
                    .post(id, |outbox| outbox.end(ToConnectionMessage::Close(reason)));
            }
            Phase::Up { .. } | Phase::Refused(_) | Phase::Down => {}
        }
    }

    /// Closes a connection whose own queue is over its limit; what waits there is dropped.
    pub(super) fn give_up(&mut self, id: ConnectionId) {
        self.connections.post(id, Outbox::clear);
        self.close_connection(id, ConnectionError::Flooding);
    }

    /// A connection is gone: tell everyone whom it concerned. Happens once for each.
    pub(super) fn connection_down(&mut self, id: ConnectionId, reason: ConnectionError) {
        self.settle(id);
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        let reserved = core::mem::take(&mut entry.reserved);
        let phase = core::mem::replace(&mut entry.phase, Phase::Down);
        let attempt = entry.attempt.take();
        match phase {
            Phase::Down => {}
            Phase::Handshake | Phase::Refused(_) => {
                let error = match phase {
                    Phase::Refused(refused) => refused,
                    _ => reason,
                };
                let (direction, remote) = (entry.point.direction, entry.point.remote.clone());
                if direction == Direction::Inbound {
                    self.events.release(reserved.saturating_sub(1));
                    self.events.push_reserved(Notice::IncomingFailed {
                        connection: id,
                        remote,
                        error,
                    });
                } else {
                    self.events.release(reserved);
                    if let Some(attempt) = attempt {
                        self.attempt_failed(attempt, AttemptError::Connection(error));
                    }
                }
            }
            Phase::Up { peer, scope, .. } => self.admitted_down(id, peer, scope, reason),
        }
    }

    fn admitted_down(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        scope: ScopeId,
        reason: ConnectionError,
    ) {
        self.ledger.close(scope);
        let mut left = 0;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.connections.retain(|other| *other != id);
            left = u32::try_from(known.connections.len()).unwrap_or(u32::MAX);
            if left == 0 {
                let scope = known.scope;
                self.peers.remove(&peer);
                self.ledger.close(scope);
                self.book.set_connected(self.now, peer, false);
                self.timers
                    .set_or_clear(Timer::AddressBook, self.book.next_expiry());
            }
        }
        let streams: SmallVec<[_; 8]> = self
            .connections
            .get(id)
            .map(|entry| {
                entry
                    .streams
                    .iter()
                    .map(|(stream, state)| (*stream, state.slot))
                    .collect()
            })
            .unwrap_or_default();
        let end = StreamEnd::Failed(StreamError::Connection(reason.clone()));
        for (stream, slot) in streams {
            let stream = StreamRef {
                connection: id,
                stream,
            };
            self.deliver(
                slot,
                Targeted::Ended {
                    stream,
                    end: end.clone(),
                },
            );
        }
        self.broadcast(Broadcast::ConnectionDown {
            connection: id,
            peer,
            reason: reason.clone(),
            connections: left,
        });
        self.events.push_reserved(Notice::ConnectionClosed {
            connection: id,
            peer,
            reason,
            connections: left,
        });
    }

    /// The host has dropped a connection: nothing of it is left here.
    pub(super) fn connection_removed(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.remove(id) else {
            return;
        };
        if entry.point.direction == Direction::Inbound {
            self.inbound = self.inbound.saturating_sub(1);
        }
        if let Some(source) = entry.source {
            self.sources.leave(source);
        }
        // A descriptor is free again.
        if self.out_of_descriptors {
            self.out_of_descriptors = false;
            self.timers.clear(Timer::Accept);
        }
        self.review_shutdown();
    }

    /// Begins the end: no new connections, listeners or dials; everything open is closed.
    pub(super) fn shut_down(&mut self) {
        if self.running != Running::Yes {
            return;
        }
        self.running = Running::ShuttingDown;
        let listeners: SmallVec<[_; 4]> = self.listeners.iter().map(|(id, _)| id).collect();
        for id in listeners {
            self.stop_listener(id);
        }
        self.end_all_dials(&DialError::ShuttingDown);
        let open: alloc::vec::Vec<ConnectionId> = self.connections.ids().collect();
        for id in open {
            self.close_connection(id, ConnectionError::Shutdown);
        }
        self.review_shutdown();
    }

    /// Reports the end once nothing is left.
    pub(super) fn review_shutdown(&mut self) {
        let over = self.running == Running::ShuttingDown
            && self.connections.len() == 0
            && self.listeners.len() == 0;
        if over {
            self.running = Running::Complete;
            self.events.push_reserved(Notice::ShutdownComplete);
        }
    }

    pub(super) fn stop_listener(&mut self, id: super::ListenerId) -> bool {
        let Some(listener) = self.listeners.get_mut(id) else {
            return false;
        };
        if !core::mem::replace(&mut listener.stopping, true) {
            self.actions.push_back(Action::StopListen { listener: id });
        }
        true
    }
}

/// Whether an address lies in one of these networks.
pub(super) fn is_in(networks: &[(IpAddr, u8)], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks
        .iter()
        .any(|(network, prefix)| match (network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let differing = u32::from(*network) ^ u32::from(ip);
                differing.leading_zeros() >= u32::from(*prefix).min(32)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let differing = u128::from(*network) ^ u128::from(ip);
                differing.leading_zeros() >= u32::from(*prefix).min(128)
            }
            _ => false,
        })
}
