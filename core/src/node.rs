//! A swarm and its connections in one object, for hosts with one thread.
//!
//! A [`Node`] carries the messages between its swarm and its connections, and folds their deadlines into one. The host
//! owns sockets and time, and nothing else: it feeds what sockets deliver, does what [`NodeAction`]s say, collects
//! [`NodeEvent`]s, and sleeps until a socket is ready or [`poll_timeout`](Node::poll_timeout).
//!
//! It uses only what any host could use: [`Swarm`] and [`Connection`] as they are. Where connections should run on
//! several threads, take those and carry the messages yourself.
//!
//! ```
//! use drywire::{
//!     identity::Keypair,
//!     node::{Node, NodeAction, NodeEvent},
//!     protocol::Standard,
//!     seed::Seed,
//!     swarm::{Action, Config, Event, ListenerUpdate, Swarm},
//!     time::{Instant, UnixTime},
//! };
//!
//! let (seed, now) = (Seed::for_tests(1), Instant::ZERO);
//! let keypair = Keypair::ed25519_from_seed(&seed);
//! let swarm = Swarm::new(Config::default(), keypair, Standard::default(), seed, now, UnixTime::EPOCH)?;
//! let mut node = Node::new(swarm);
//!
//! node.listen(now, "/ip4/127.0.0.1/tcp/0".parse().unwrap())?;
//! let Some(NodeAction::Swarm(Action::Listen { listener, .. })) = node.poll_action() else { panic!() };
//! // The host opens the socket, and says where:
//! let bound = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
//! node.handle_listener(now, listener, ListenerUpdate::Bound(bound));
//! assert!(matches!(node.poll_event(), Some(NodeEvent::Swarm(Event::Listening { .. }))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    buffer::pop_front,
    connection::{
        self, ConnectedPoint, Connection, ConnectionError, ConnectionId, ConnectionStart,
        OpenError, OpenOptions, Stream, StreamId, StreamKind, Transmit,
    },
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{
        Action, AttemptId, Context, DialError, DialId, DialOptions, Event, ListenError, ListenerId,
        ListenerUpdate, Protocol, Refused, Swarm, Timers, TransportError, hash::CountedMap,
    },
    time::{Instant, earliest},
};
use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use bytes::BytesMut;
use core::hash::BuildHasherDefault;

#[cfg(test)]
pub(crate) mod net;
#[cfg(test)]
mod tests;

/// Something the host is to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeAction {
    /// What the swarm wants; never [`Action::ToConnection`].
    Swarm(Action),
    /// A connection has bytes for its socket: call [`Node::poll_transmit`] when the socket takes some.
    Transmit(ConnectionId),
    /// A connection is over: write out what is left, drop the socket, and when nothing more is to be read from its
    /// streams call [`Node::handle_closed`]. Comes once its events were all [polled](Node::poll_event).
    Close(ConnectionId),
}

/// Something that happened. `E` is the event type of the protocol set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeEvent<E> {
    /// In the swarm or its protocols.
    Swarm(Event<E>),
    /// On a connection: about itself, or the streams the host owns.
    Connection(ConnectionId, connection::Event),
}

impl<E> NodeEvent<E> {
    /// What a protocol says, if it is that.
    #[must_use]
    pub const fn protocol(&self) -> Option<&E> {
        match self {
            Self::Swarm(Event::Protocol(event)) => Some(event),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Held {
    connection: Connection,
    /// The host was told to close it.
    told: bool,
}

/// A swarm and its connections, see the [module](self).
#[derive(Debug)]
pub struct Node<P: Protocol> {
    swarm: Swarm<P>,
    /// Boxed: a table has room for many more than are in it.
    connections: CountedMap<ConnectionId, Box<Held>>,
    now: Instant,
    /// The connections' deadlines.
    timers: Timers<ConnectionId>,
    actions: VecDeque<Action>,
    /// Connections that may have something to say to the swarm, to the host, to their sockets; and those that are over.
    touched: BTreeSet<ConnectionId>,
    eventful: BTreeSet<ConnectionId>,
    sending: BTreeSet<ConnectionId>,
    closed: BTreeSet<ConnectionId>,
}

impl<P: Protocol> Node<P> {
    /// A node of this swarm.
    #[must_use]
    pub const fn new(swarm: Swarm<P>) -> Self {
        Self {
            swarm,
            connections: CountedMap::with_hasher(BuildHasherDefault::new()),
            now: Instant::ZERO,
            timers: Timers::new(),
            actions: VecDeque::new(),
            touched: BTreeSet::new(),
            eventful: BTreeSet::new(),
            sending: BTreeSet::new(),
            closed: BTreeSet::new(),
        }
    }

    /// The swarm, to look at.
    #[must_use]
    pub const fn swarm(&self) -> &Swarm<P> {
        &self.swarm
    }

    /// A connection, to look at; `None` once the host has closed it.
    #[must_use]
    pub fn connection(&self, connection: ConnectionId) -> Option<&Connection> {
        Some(&self.connections.get(&connection)?.connection)
    }

    /// Runs a command or an answer of the host on the swarm, for which this type has no method: `add_address`,
    /// `disconnect`, `handle_resolved`, `handle_interfaces` and so on. Messages to and from connections are the node's business, not for use here.
    pub fn command<R>(&mut self, now: Instant, command: impl FnOnce(&mut Swarm<P>) -> R) -> R {
        self.now = self.now.max(now);
        let result = command(&mut self.swarm);
        self.carry();
        result
    }

    /// Dials, see [`Swarm::dial`].
    ///
    /// # Errors
    /// [`DialError`] tells why nothing was begun.
    pub fn dial(&mut self, now: Instant, options: DialOptions) -> Result<DialId, DialError> {
        self.command(now, |swarm| swarm.dial(now, options))
    }

    /// Listens, see [`Swarm::listen`].
    ///
    /// # Errors
    /// [`ListenError`] tells why nothing was begun.
    pub fn listen(&mut self, now: Instant, address: Multiaddr) -> Result<ListenerId, ListenError> {
        self.command(now, |swarm| swarm.listen(now, address))
    }

    /// Something became of a listener, see [`Swarm::handle_listener`].
    pub fn handle_listener(&mut self, now: Instant, listener: ListenerId, update: ListenerUpdate) {
        self.command(now, |swarm| swarm.handle_listener(now, listener, update));
    }

    /// The host does not know this action, see [`Swarm::handle_unsupported`].
    pub fn handle_unsupported(&mut self, now: Instant, action: Action) {
        self.command(now, |swarm| swarm.handle_unsupported(now, action));
    }

    /// Runs a command on the protocols, see [`Swarm::with`].
    pub fn with<R>(
        &mut self,
        now: Instant,
        run: impl FnOnce(&mut P, &mut Context<'_, P::Event>) -> R,
    ) -> R {
        self.command(now, |swarm| swarm.with(now, run))
    }

    // Sockets

    /// A listener has accepted a socket. Whoever accepts several in a row asks [`Swarm::is_accepting`] before each.
    ///
    /// # Errors
    /// [`Refused`] says why it is not wanted; close it.
    pub fn handle_accept(
        &mut self,
        now: Instant,
        point: ConnectedPoint,
    ) -> Result<ConnectionId, Refused> {
        let start = self.command(now, |swarm| swarm.handle_accept(now, point))?;
        Ok(self.start(start))
    }

    /// An attempt of [`Action::Dial`] is over. `None` means that the socket is not wanted (any more); close it.
    pub fn handle_dialed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        result: Result<ConnectedPoint, TransportError>,
    ) -> Option<ConnectionId> {
        let start = self.command(now, |swarm| swarm.handle_dialed(now, attempt, result))?;
        Some(self.start(start))
    }

    fn start(&mut self, start: ConnectionStart) -> ConnectionId {
        let id = start.id();
        let held = Held {
            connection: start.start(self.now),
            told: false,
        };
        self.connections.insert(id, Box::new(held));
        self.touched.insert(id);
        self.carry();
        id
    }

    /// Where what a socket delivers is to be appended; then call [`handle_recv`](Self::handle_recv). `None`: do not read
    /// it now.
    pub fn recv_buf(&mut self, connection: ConnectionId) -> Option<&mut BytesMut> {
        self.connections.get_mut(&connection)?.connection.recv_buf()
    }

    /// Processes what was appended to [`recv_buf`](Self::recv_buf).
    pub fn handle_recv(&mut self, now: Instant, connection: ConnectionId) {
        self.touch(now, connection, |connection, now| {
            connection.handle_recv(now)
        });
    }

    /// Copies and processes what a socket has delivered; returns how much was taken. The rest is to be given again after
    /// reading from streams.
    pub fn handle_input(&mut self, now: Instant, connection: ConnectionId, input: &[u8]) -> usize {
        let taken = self.touch(now, connection, |connection, now| {
            connection.handle_input(now, input)
        });
        taken.unwrap_or(input.len())
    }

    /// The peer shut its side of a socket.
    pub fn handle_eof(&mut self, now: Instant, connection: ConnectionId) {
        self.touch(now, connection, |connection, now| {
            connection.handle_eof(now)
        });
    }

    /// A socket failed; `reason` in the host's words.
    pub fn handle_lost(&mut self, now: Instant, connection: ConnectionId, reason: String) {
        self.touch(now, connection, |connection, now| {
            connection.handle_lost(now, reason)
        });
    }

    /// Whether a connection has bytes for its socket.
    #[must_use]
    pub fn wants_transmit(&self, connection: ConnectionId) -> bool {
        let connection = self.connections.get(&connection);
        connection.is_some_and(|held| held.connection.wants_transmit())
    }

    /// Appends what a connection has for its socket to `out`, about `limit` bytes of it.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Transmit {
        self.sending.remove(&connection);
        let transmit = self.touch(now, connection, |connection, now| {
            connection.poll_transmit(now, out, limit)
        });
        transmit.unwrap_or_default()
    }

    /// The host has dropped a connection's socket and wants nothing more of its streams.
    pub fn handle_closed(&mut self, now: Instant, connection: ConnectionId) {
        if self.connections.remove(&connection).is_some() {
            self.timers.clear(connection);
            self.touched.remove(&connection);
            self.eventful.remove(&connection);
            self.sending.remove(&connection);
            self.closed.remove(&connection);
        }
        self.command(now, |swarm| swarm.handle_closed(now, connection));
    }

    // Streams of the host

    /// Opens a stream that the host owns, under the first of `names` that the peer accepts. It can be written at once.
    ///
    /// # Errors
    /// [`OpenError`] tells why there is none.
    pub fn open(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
        options: OpenOptions,
    ) -> Result<StreamId, OpenError> {
        let opened = self.touch(now, connection, |connection, now| {
            connection.open(now, names, kind, options)
        });
        opened.unwrap_or(Err(OpenError::NotConnected))
    }

    /// A stream that the host owns, to read and write it.
    pub fn stream(&mut self, connection: ConnectionId, stream: StreamId) -> Option<Stream<'_>> {
        // What is done to it shows at the next poll.
        self.touched.insert(connection);
        self.eventful.insert(connection);
        self.connections
            .get_mut(&connection)?
            .connection
            .stream(stream)
    }

    /// Keeps a connection open although nothing uses it, or no longer.
    pub fn set_keep_alive(&mut self, now: Instant, connection: ConnectionId, keep_alive: bool) {
        self.touch(now, connection, |connection, _| {
            connection.set_keep_alive(keep_alive)
        });
    }

    /// Closes a connection in good order.
    pub fn close(&mut self, now: Instant, connection: ConnectionId) {
        let reason = ConnectionError::Closed;
        self.touch(now, connection, |connection, now| {
            connection.close(now, reason)
        });
    }

    /// Ends everything in good order, see [`Swarm::shutdown`].
    pub fn shutdown(&mut self, now: Instant) {
        self.command(now, |swarm| swarm.shutdown(now));
    }

    /// Checks the books of all connections, see [`Connection::audit`]. Those of the swarm: [`Swarm::audit`].
    ///
    /// # Errors
    /// What does not add up, in words. It would be a bug in this crate.
    pub fn audit_connections(&self) -> Result<(), String> {
        for (id, held) in &self.connections {
            let audit = held.connection.audit();
            audit.map_err(|message| alloc::format!("{id}: {message}"))?;
        }
        Ok(())
    }

    // Time and polls

    /// The time of [`poll_timeout`](Self::poll_timeout) has come. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(connection) = self.timers.pop_due(self.now) {
            self.touch(now, connection, |connection, now| {
                connection.handle_timeout(now)
            });
        }
        // Often only connections had something to do. The swarm hears of the time all the same: the next call may tell an
        // earlier one.
        let due = self.swarm.poll_timeout();
        self.swarm.handle_timeout(self.now);
        if due.is_some_and(|at| at <= self.now) {
            self.carry();
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); not later than now while actions or events wait.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.actions.is_empty()
            && self.touched.is_empty()
            && self.eventful.is_empty()
            && self.sending.is_empty()
            && self.closed.is_empty();
        if !idle {
            return Some(self.now);
        }
        earliest(self.timers.next(), self.swarm.poll_timeout())
    }

    /// The next thing to do, `None` when there is nothing.
    pub fn poll_action(&mut self) -> Option<NodeAction> {
        self.carry();
        if let Some(action) = pop_front(&mut self.actions) {
            return Some(NodeAction::Swarm(action));
        }
        if let Some(connection) = self.sending.pop_first() {
            return Some(NodeAction::Transmit(connection));
        }
        // Whoever closes it gets no events of it any more.
        let told = |id: &&ConnectionId| !self.eventful.contains(id);
        let over = self.closed.iter().find(told).copied()?;
        self.closed.remove(&over);
        Some(NodeAction::Close(over))
    }

    /// The next thing that happened, `None` when there is nothing.
    pub fn poll_event(&mut self) -> Option<NodeEvent<P::Event>> {
        self.carry();
        if let Some(event) = self.swarm.poll_event() {
            return Some(NodeEvent::Swarm(event));
        }
        while let Some(id) = self.eventful.first().copied() {
            let held = self.connections.get_mut(&id);
            let event = held.and_then(|held| held.connection.poll_event());
            if let Some(event) = event {
                return Some(NodeEvent::Connection(id, event));
            }
            self.eventful.remove(&id);
            self.touched.insert(id);
        }
        self.carry();
        None
    }

    fn touch<R>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        run: impl FnOnce(&mut Connection, Instant) -> R,
    ) -> Option<R> {
        self.now = self.now.max(now);
        let result = run(&mut self.connections.get_mut(&id)?.connection, self.now);
        self.touched.insert(id);
        self.eventful.insert(id);
        self.carry();
        Some(result)
    }

    /// Carries messages between the swarm and its connections until there are none.
    fn carry(&mut self) {
        loop {
            while let Some(id) = self.touched.pop_first() {
                self.look_after(id);
            }
            let Some(action) = self.swarm.poll_action() else {
                return;
            };
            match action {
                Action::ToConnection(id, message) => {
                    if let Some(held) = self.connections.get_mut(&id) {
                        held.connection.handle_message(self.now, message);
                        self.touched.insert(id);
                        self.eventful.insert(id);
                    }
                }
                action => self.actions.push_back(action),
            }
        }
    }

    /// Takes a connection's messages to the swarm, and notes what it wants.
    fn look_after(&mut self, id: ConnectionId) {
        let Some(held) = self.connections.get_mut(&id) else {
            return;
        };
        let Held { connection, told } = held.as_mut();
        while let Some(message) = connection.poll_message() {
            self.swarm.handle_message(self.now, id, message);
        }
        if connection.wants_transmit() {
            self.sending.insert(id);
        } else {
            self.sending.remove(&id);
        }
        if connection.is_closed() && !core::mem::replace(told, true) {
            self.closed.insert(id);
        }
        // While events wait its deadline has come; it is asked again when they are gone.
        if !self.eventful.contains(&id) {
            self.timers.set_or_clear(id, connection.poll_timeout());
        }
    }
}
