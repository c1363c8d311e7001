//! A node as its host has it: in one object, or in parts.

use drywire::{
    connection::{
        ConnectedPoint, Connection, ConnectionId, ConnectionStart, OpenError, OpenOptions, Stream,
        StreamId, StreamKind, Transmit,
    },
    multistream::ProtocolName,
    node::{Node, NodeAction, NodeEvent},
    swarm::{Action, AttemptId, Protocol, Refused, Swarm, TransportError},
    time::{Instant, earliest},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A node, whichever way it is driven. The methods are those of [`Node`].
#[allow(missing_docs, reason = "they have theirs there")]
pub trait Host {
    type Protocol: Protocol;

    /// Whether a connection's messages stay in it until the host polls.
    const CARRIES_ONLY_WHEN_POLLED: bool;

    fn new(swarm: Swarm<Self::Protocol>) -> Self;
    fn swarm(&self) -> &Swarm<Self::Protocol>;
    fn command<R>(
        &mut self,
        now: Instant,
        command: impl FnOnce(&mut Swarm<Self::Protocol>) -> R,
    ) -> R;
    /// # Errors
    /// As [`Node::handle_accept`].
    fn handle_accept(&mut self, now: Instant, p: ConnectedPoint) -> Result<ConnectionId, Refused>;
    fn handle_dialed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        result: Result<ConnectedPoint, TransportError>,
    ) -> Option<ConnectionId>;
    fn handle_input(&mut self, now: Instant, id: ConnectionId, input: &[u8]) -> usize;
    fn handle_eof(&mut self, now: Instant, id: ConnectionId);
    fn handle_lost(&mut self, now: Instant, id: ConnectionId, reason: String);
    fn handle_closed(&mut self, now: Instant, id: ConnectionId);
    fn wants_transmit(&self, id: ConnectionId) -> bool;
    fn poll_transmit(
        &mut self,
        now: Instant,
        id: ConnectionId,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Transmit;
    /// # Errors
    /// As [`Node::open`].
    fn open(
        &mut self,
        now: Instant,
        id: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
    ) -> Result<StreamId, OpenError>;
    fn stream(&mut self, id: ConnectionId, stream: StreamId) -> Option<Stream<'_>>;
    fn set_keep_alive(&mut self, now: Instant, id: ConnectionId, keep_alive: bool);
    fn poll_action(&mut self) -> Option<NodeAction>;
    fn poll_event(&mut self) -> Option<NodeEvent<<Self::Protocol as Protocol>::Event>>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
}

/// A node in one object.
pub type Together<P> = Node<P>;

impl<P: Protocol> Host for Node<P> {
    type Protocol = P;

    const CARRIES_ONLY_WHEN_POLLED: bool = false;

    fn new(swarm: Swarm<P>) -> Self {
        Self::new(swarm)
    }

    fn swarm(&self) -> &Swarm<P> {
        self.swarm()
    }

    fn command<R>(&mut self, now: Instant, command: impl FnOnce(&mut Swarm<P>) -> R) -> R {
        self.command(now, command)
    }

    fn handle_accept(&mut self, now: Instant, p: ConnectedPoint) -> Result<ConnectionId, Refused> {
        self.handle_accept(now, p)
    }

    fn handle_dialed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        result: Result<ConnectedPoint, TransportError>,
    ) -> Option<ConnectionId> {
        self.handle_dialed(now, attempt, result)
    }

    fn handle_input(&mut self, now: Instant, id: ConnectionId, input: &[u8]) -> usize {
        self.handle_input(now, id, input)
    }

    fn handle_eof(&mut self, now: Instant, id: ConnectionId) {
        self.handle_eof(now, id);
    }

    fn handle_lost(&mut self, now: Instant, id: ConnectionId, reason: String) {
        self.handle_lost(now, id, reason);
    }

    fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        self.handle_closed(now, id);
    }

    fn wants_transmit(&self, id: ConnectionId) -> bool {
        self.wants_transmit(id)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        id: ConnectionId,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Transmit {
        self.poll_transmit(now, id, out, limit)
    }

    fn open(
        &mut self,
        now: Instant,
        id: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
    ) -> Result<StreamId, OpenError> {
        self.open(now, id, names, kind, OpenOptions::default())
    }

    fn stream(&mut self, id: ConnectionId, stream: StreamId) -> Option<Stream<'_>> {
        self.stream(id, stream)
    }

    fn set_keep_alive(&mut self, now: Instant, id: ConnectionId, keep_alive: bool) {
        self.set_keep_alive(now, id, keep_alive);
    }

    fn poll_action(&mut self) -> Option<NodeAction> {
        self.poll_action()
    }

    fn poll_event(&mut self) -> Option<NodeEvent<P::Event>> {
        self.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }
}

/// A swarm and its connections, each for itself; the host carries their messages. Each must tell the truth about its
/// deadlines by itself.
pub struct Apart<P: Protocol> {
    swarm: Swarm<P>,
    connections: BTreeMap<ConnectionId, Connection>,
    now: Instant,
    actions: VecDeque<Action>,
    closed: BTreeSet<ConnectionId>,
}

impl<P: Protocol> Apart<P> {
    fn touch<R>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        run: impl FnOnce(&mut Connection, Instant) -> R,
    ) -> Option<R> {
        self.now = self.now.max(now);
        self.connections
            .get_mut(&id)
            .map(|connection| run(connection, now))
    }

    fn start(&mut self, start: ConnectionStart) -> ConnectionId {
        let id = start.id();
        self.connections.insert(id, start.start(self.now));
        id
    }

    /// Carries messages until there are none.
    fn carry(&mut self) {
        loop {
            let mut moved = false;
            for (id, connection) in &mut self.connections {
                loop {
                    let due = connection.poll_timeout();
                    let Some(message) = connection.poll_message() else {
                        break;
                    };
                    assert!(
                        due.is_some_and(|at| at <= self.now),
                        "law 4: {message:?} waits unannounced"
                    );
                    self.swarm.handle_message(self.now, *id, message);
                    moved = true;
                }
            }
            loop {
                let due = self.swarm.poll_timeout();
                let Some(action) = self.swarm.poll_action() else {
                    break;
                };
                assert!(
                    due.is_some_and(|at| at <= self.now),
                    "law 4: {action:?} waits unannounced"
                );
                moved = true;
                match action {
                    Action::ToConnection(id, message) => {
                        if let Some(connection) = self.connections.get_mut(&id) {
                            connection.handle_message(self.now, message);
                        }
                    }
                    other => self.actions.push_back(other),
                }
            }
            if !moved {
                return;
            }
        }
    }
}

impl<P: Protocol> Host for Apart<P> {
    type Protocol = P;

    const CARRIES_ONLY_WHEN_POLLED: bool = true;

    fn new(swarm: Swarm<P>) -> Self {
        Self {
            swarm,
            connections: BTreeMap::new(),
            now: Instant::ZERO,
            actions: VecDeque::new(),
            closed: BTreeSet::new(),
        }
    }

    fn swarm(&self) -> &Swarm<P> {
        &self.swarm
    }

    fn command<R>(&mut self, now: Instant, command: impl FnOnce(&mut Swarm<P>) -> R) -> R {
        self.now = self.now.max(now);
        command(&mut self.swarm)
    }

    fn handle_accept(&mut self, now: Instant, p: ConnectedPoint) -> Result<ConnectionId, Refused> {
        self.now = self.now.max(now);
        let start = self.swarm.handle_accept(now, p)?;
        Ok(self.start(start))
    }

    fn handle_dialed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        result: Result<ConnectedPoint, TransportError>,
    ) -> Option<ConnectionId> {
        self.now = self.now.max(now);
        let start = self.swarm.handle_dialed(now, attempt, result)?;
        Some(self.start(start))
    }

    fn handle_input(&mut self, now: Instant, id: ConnectionId, input: &[u8]) -> usize {
        let taken = self.touch(now, id, |connection, now| {
            connection.handle_input(now, input)
        });
        taken.unwrap_or(input.len())
    }

    fn handle_eof(&mut self, now: Instant, id: ConnectionId) {
        self.touch(now, id, |connection, now| connection.handle_eof(now));
    }

    fn handle_lost(&mut self, now: Instant, id: ConnectionId, reason: String) {
        self.touch(now, id, |connection, now| {
            connection.handle_lost(now, reason)
        });
    }

    fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        self.now = self.now.max(now);
        if self.connections.contains_key(&id) {
            self.carry();
        }
        self.connections.remove(&id);
        self.closed.remove(&id);
        self.swarm.handle_closed(now, id);
    }

    fn wants_transmit(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(&id);
        connection.is_some_and(Connection::wants_transmit)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        id: ConnectionId,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Transmit {
        let transmit = self.touch(now, id, |connection, now| {
            connection.poll_transmit(now, out, limit)
        });
        transmit.unwrap_or_default()
    }

    fn open(
        &mut self,
        now: Instant,
        id: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
    ) -> Result<StreamId, OpenError> {
        let options = OpenOptions::default();
        let opened = self.touch(now, id, |connection, now| {
            connection.open(now, names, kind, options)
        });
        opened.unwrap_or(Err(OpenError::NotConnected))
    }

    fn stream(&mut self, id: ConnectionId, stream: StreamId) -> Option<Stream<'_>> {
        self.connections.get_mut(&id)?.stream(stream)
    }

    fn set_keep_alive(&mut self, now: Instant, id: ConnectionId, keep_alive: bool) {
        self.touch(now, id, |connection, _| {
            connection.set_keep_alive(keep_alive)
        });
    }

    fn poll_action(&mut self) -> Option<NodeAction> {
        self.carry();
        if let Some(action) = self.actions.pop_front() {
            return Some(NodeAction::Swarm(action));
        }
        for (id, connection) in &self.connections {
            if connection.wants_transmit() {
                return Some(NodeAction::Transmit(*id));
            }
            if connection.is_closed() && self.closed.insert(*id) {
                return Some(NodeAction::Close(*id));
            }
        }
        None
    }

    fn poll_event(&mut self) -> Option<NodeEvent<P::Event>> {
        self.carry();
        let due = self.swarm.poll_timeout();
        if let Some(event) = self.swarm.poll_event() {
            let announced = due.is_some_and(|at| at <= self.now);
            assert!(announced, "law 4: an event of the swarm waits unannounced");
            return Some(NodeEvent::Swarm(event));
        }
        let connections = &mut self.connections;
        connections
            .iter_mut()
            .find_map(|(id, connection)| Some(NodeEvent::Connection(*id, connection.poll_event()?)))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if !self.actions.is_empty() {
            return Some(self.now);
        }
        let deadlines = self.connections.values().map(Connection::poll_timeout);
        deadlines.fold(self.swarm.poll_timeout(), earliest)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for connection in self.connections.values_mut() {
            connection.handle_timeout(now);
        }
        self.swarm.handle_timeout(now);
    }
}
