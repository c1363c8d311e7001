//! What the swarm knows of each connection: its phase, the streams protocols own on it, and what waits to be told it.

use super::{dial::AttemptId, sources::Source};
use crate::{
    buffer::release,
    connection::{
        ConnectedPoint, ConnectionError, ConnectionId, Direction, InboundTable, Slot, StreamId,
        ToConnectionMessage,
    },
    identity::PeerId,
    resource::{Lease, ScopeId},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::{ops::Bound, time::Duration};

/// Where a connection stands in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Negotiating and securing; nothing is known of the peer but its address.
    Handshake,
    /// Not admitted, for this reason; the connection was told and is about to end.
    Refused(ConnectionError),
    /// Admitted.
    Up {
        /// Who it leads to.
        peer: PeerId,
        /// It was told to close.
        closing: bool,
        /// What it has borrowed.
        scope: ScopeId,
    },
    /// It said its last word; the host has not yet dropped it.
    Down,
}

/// Where the last message of a stream stands. Its connection sends no other before it is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageState {
    /// Consumed, or none came.
    Consumed,
    /// It waits for its protocol.
    Waiting,
    /// The protocol has had it, or has it now; its successor has not been asked for.
    Handled,
}

/// A stream owned by a protocol.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) slot: Slot,
    pub(super) direction: Direction,
    /// The own side is finished.
    pub(super) finished: bool,
    /// The protocol wants no more messages for now.
    pub(super) paused: bool,
    pub(super) message: MessageState,
    /// A message was refused for want of room.
    pub(super) blocked: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) point: ConnectedPoint,
    pub(super) phase: Phase,
    /// The attempt that made it, while that still waits for its outcome.
    pub(super) attempt: Option<AttemptId>,
    /// The only peer it may lead to.
    pub(super) expected: Option<PeerId>,
    /// Under what it is counted, if it was accepted and has an address to count.
    pub(super) source: Option<Source>,
    /// Places reserved in the event queue.
    pub(super) reserved: usize,
    pub(super) streams: BTreeMap<StreamId, StreamState>,
    /// Streams whose end was heard, which the connection is to be told.
    pub(super) ends_heard: Vec<StreamId>,
    /// Streams that were refused room, in the order in which they are told of new room.
    pub(super) blocked: BTreeSet<StreamId>,
    /// Protocols that were refused a stream, in the order in which they are told that there is room.
    pub(super) openers: BTreeSet<Slot>,
    /// Streams opened from this side so far; names the next one.
    pub(super) opened: u64,
    /// Streams opened from this side that are still there.
    pub(super) outbound: u32,
    /// Protocols that want it open although it may be idle.
    pub(super) keep_alive: BTreeSet<Slot>,
    pub(super) round_trip: Option<Duration>,
    pub(super) outbox: Outbox,
}

impl Entry {
    pub(super) fn new(point: ConnectedPoint) -> Self {
        Self {
            point,
            phase: Phase::Handshake,
            attempt: None,
            expected: None,
            source: None,
            reserved: 0,
            streams: BTreeMap::new(),
            ends_heard: Vec::new(),
            blocked: BTreeSet::new(),
            openers: BTreeSet::new(),
            opened: 0,
            outbound: 0,
            keep_alive: BTreeSet::new(),
            round_trip: None,
            outbox: Outbox::default(),
        }
    }

    /// The peer, if the connection is up.
    pub(super) const fn peer(&self) -> Option<PeerId> {
        match self.phase {
            Phase::Up { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// Whether streams can be opened.
    pub(super) const fn is_usable(&self) -> bool {
        matches!(self.phase, Phase::Up { closing: false, .. })
    }

    pub(super) fn remove_stream(&mut self, id: StreamId) -> Option<StreamState> {
        let stream = self.streams.remove(&id)?;
        self.blocked.remove(&id);
        release(&mut self.streams);
        release(&mut self.blocked);
        if stream.direction == Direction::Outbound {
            self.outbound = self.outbound.saturating_sub(1);
        }
        Some(stream)
    }
}

/// Messages on their way to one connection.
///
/// What only the latest value of matters (the table of names, keep-alive, leases) waits as that value, not as a queue.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Goes before anything else.
    admit: Option<(Arc<InboundTable>, Lease)>,
    table: Option<Arc<InboundTable>>,
    lease: Option<Lease>,
    keep_alive: Option<bool>,
    queue: VecDeque<ToConnectionMessage>,
    /// The last message.
    end: Option<ToConnectionMessage>,
    ended: bool,
    /// Messages handed to the host and not yet reported as processed.
    in_flight: u32,
    /// Bytes of messages queued here, in flight, and in the connection's own queues.
    bytes: u64,
}

impl Outbox {
    pub(super) fn admit(&mut self, table: Arc<InboundTable>, lease: Lease) {
        self.admit = Some((table, lease));
    }

    pub(super) fn set_table(&mut self, table: &Arc<InboundTable>) {
        match &mut self.admit {
            Some((admitted, _)) => *admitted = table.clone(),
            None => self.table = Some(table.clone()),
        }
    }

    pub(super) fn answer_lease(&mut self, lease: Lease) {
        self.lease = Some(self.lease.unwrap_or_default().plus(lease));
    }

    pub(super) const fn set_keep_alive(&mut self, wanted: bool) {
        self.keep_alive = Some(wanted);
    }

    pub(super) fn push(&mut self, message: ToConnectionMessage) {
        if self.ended || self.end.is_some() {
            return;
        }
        if let ToConnectionMessage::Send { bytes, .. }
        | ToConnectionMessage::SendLast { bytes, .. }
        | ToConnectionMessage::OpenWith { bytes, .. } = &message
        {
            self.bytes = self.bytes.saturating_add(len(bytes));
        }
        self.queue.push_back(message);
    }

    /// Sets the last message, behind those that wait. The first one stays.
    pub(super) fn end(&mut self, message: ToConnectionMessage) {
        if !self.ended && self.end.is_none() {
            self.end = Some(message);
        }
    }

    /// Drops everything that waits; the connection is not worth it any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        (self.table, self.lease, self.keep_alive) = (None, None, None);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.admit.is_none()
            && self.table.is_none()
            && self.lease.is_none()
            && self.keep_alive.is_none()
            && self.queue.is_empty()
            && self.end.is_none()
    }

    pub(super) fn pop(&mut self) -> Option<ToConnectionMessage> {
        let message = if let Some((table, lease)) = self.admit.take() {
            ToConnectionMessage::Admit { table, lease }
        } else if let Some(table) = self.table.take() {
            ToConnectionMessage::Table(table)
        } else if let Some(lease) = self.lease.take() {
            ToConnectionMessage::Lease(lease)
        } else if let Some(wanted) = self.keep_alive.take() {
            ToConnectionMessage::KeepAlive(wanted)
        } else if let Some(message) = self.queue.pop_front() {
            // Only these are reported as processed; of the others there is one of each.
            self.in_flight = self.in_flight.saturating_add(1);
            if self.queue.is_empty() {
                // Most connections are quiet most of the time.
                self.queue = VecDeque::new();
            }
            message
        } else {
            self.ended = self.ended || self.end.is_some();
            self.end.take()?
        };
        Some(message)
    }

    /// The connection has handled messages, and sent off bytes of them.
    pub(super) fn processed(&mut self, messages: u32, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Messages queued and in flight.
    pub(super) fn messages(&self) -> u32 {
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        queued.saturating_add(self.in_flight)
    }

    /// Bytes queued, in flight, and in the connection's own queues.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// All connections of a swarm, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Boxed: a tree has room for many more than are in it.
    entries: BTreeMap<ConnectionId, Box<Entry>>,
    created: u64,
    /// Those with something in their outbox.
    ready: BTreeSet<ConnectionId>,
    /// The one served last, so that each has its turn.
    served: Option<ConnectionId>,
}

impl Connections {
    pub(super) fn insert(&mut self, entry: Entry) -> ConnectionId {
        let id = ConnectionId::new(self.created);
        self.created = self.created.saturating_add(1);
        self.entries.insert(id, Box::new(entry));
        id
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Entry>> {
        self.ready.remove(&id);
        self.entries.remove(&id)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Entry> {
        self.entries.get(&id).map(Box::as_ref)
    }

    /// For changes that put nothing into the outbox.
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(Box::as_mut)
    }

    /// Changes a connection's outbox, and remembers whether there is something to take out of it.
    pub(super) fn post<R>(
        &mut self,
        id: ConnectionId,
        change: impl FnOnce(&mut Outbox) -> R,
    ) -> Option<R> {
        let entry = self.entries.get_mut(&id)?;
        let result = change(&mut entry.outbox);
        if entry.outbox.is_empty() {
            self.ready.remove(&id);
        } else {
            self.ready.insert(id);
        }
        Some(result)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry.as_ref()))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnectionId> + use<'_> {
        self.entries.keys().copied()
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next message to any connection; the connections take turns.
    pub(super) fn pop_message(&mut self) -> Option<(ConnectionId, ToConnectionMessage)> {
        if self.ready.is_empty() {
            return None;
        }
        let after = self.served.map_or(Bound::Unbounded, Bound::Excluded);
        let id = *self
            .ready
            .range((after, Bound::Unbounded))
            .next()
            .or_else(|| self.ready.first())?;
        self.served = Some(id);
        let message = self.post(id, Outbox::pop)??;
        Some((id, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::vec::Vec;

    fn entry() -> Entry {
        Entry::new(ConnectedPoint::accepted("/memory/1".parse().unwrap(), None))
    }

    fn reset(number: u64) -> ToConnectionMessage {
        ToConnectionMessage::Reset {
            stream: StreamId::by_swarm(number),
            code: 0,
        }
    }

    #[test]
    fn admission_goes_first_the_end_last_and_settings_are_coalesced() {
        let mut outbox = Outbox::default();
        let (old, new) = (
            Arc::new(InboundTable::default()),
            Arc::new(InboundTable::new(7, Vec::new())),
        );
        outbox.push(reset(0));
        outbox.set_keep_alive(true);
        outbox.set_keep_alive(false);
        outbox.admit(old, Lease::new(1, 1));
        outbox.set_table(&new);
        outbox.answer_lease(Lease::new(1, 0));
        outbox.answer_lease(Lease::new(2, 3));
        outbox.end(ToConnectionMessage::Close(ConnectionError::Closed));
        outbox.end(ToConnectionMessage::Close(ConnectionError::Denied));
        outbox.push(reset(1));
        let all: Vec<_> = core::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(
            all,
            [
                ToConnectionMessage::Admit {
                    table: new,
                    lease: Lease::new(1, 1)
                },
                ToConnectionMessage::Lease(Lease::new(3, 3)),
                ToConnectionMessage::KeepAlive(false),
                reset(0),
                ToConnectionMessage::Close(ConnectionError::Closed),
            ]
        );
        outbox.push(reset(2));
        outbox.end(ToConnectionMessage::Close(ConnectionError::Denied));
        assert!(outbox.is_empty(), "nothing after the end");
        assert_eq!(outbox.messages(), 1, "one of them is counted");
        outbox.processed(1, 0);
        assert_eq!(outbox.messages(), 0);
    }

    #[test]
    fn bytes_are_counted_until_the_connection_has_sent_them() {
        let mut outbox = Outbox::default();
        let stream = StreamId::by_swarm(0);
        outbox.push(ToConnectionMessage::Send {
            stream,
            bytes: Bytes::from_static(b"12345"),
        });
        assert_eq!((outbox.bytes(), outbox.messages()), (5, 1));
        outbox.pop();
        assert_eq!((outbox.bytes(), outbox.messages()), (5, 1));
        outbox.processed(1, 2);
        assert_eq!((outbox.bytes(), outbox.messages()), (3, 0));
        outbox.processed(9, 9);
        assert_eq!((outbox.bytes(), outbox.messages()), (0, 0));
    }

    #[test]
    fn connections_take_turns() {
        let mut connections = Connections::default();
        let ids: Vec<_> = (0..3).map(|_| connections.insert(entry())).collect();
        for id in &ids {
            connections.post(*id, |outbox| {
                (0..2).for_each(|number| outbox.push(reset(number)))
            });
        }
        let order: Vec<_> = core::iter::from_fn(|| connections.pop_message())
            .map(|(id, _)| id)
            .collect();
        assert_eq!(order, [ids[0], ids[1], ids[2], ids[0], ids[1], ids[2]]);
        connections.post(ids[1], |outbox| outbox.push(reset(5)));
        assert!(connections.has_messages());
        connections.remove(ids[1]);
        assert!(!connections.has_messages());
        assert_eq!(connections.pop_message(), None);
    }
}
