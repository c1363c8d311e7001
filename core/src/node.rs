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
//!
//! # Embedding
//!
//! This is the whole of a loop. Sockets do not block, and how readiness is learnt is the host's choice.
//!
//! ```
//! use drywire::{
//!     node::{Node, NodeAction, NodeEvent},
//!     swarm::{Event, Protocol},
//!     time::Instant,
//! };
//!
//! /// What a program brings along.
//! trait Program<P: Protocol> {
//!     /// The application: opens, reads and writes streams, dials.
//!     fn handle(&mut self, now: Instant, node: &mut Node<P>, event: NodeEvent<P::Event>);
//!     /// Does what the table of actions says.
//!     fn act(&mut self, now: Instant, node: &mut Node<P>, action: NodeAction);
//!     /// Sleeps until a socket is ready or [`Node::poll_timeout`] has come, and says what time it is then.
//!     fn sleep(&mut self, node: &mut Node<P>) -> Instant;
//!     /// Accepts, connects, reads and writes, wherever a socket is ready.
//!     fn serve(&mut self, now: Instant, node: &mut Node<P>);
//! }
//!
//! fn run<P: Protocol>(mut now: Instant, node: &mut Node<P>, program: &mut impl Program<P>) {
//!     let mut over = false;
//!     while !over {
//!         // Events lead to actions, and actions to events: until there is neither.
//!         loop {
//!             if let Some(event) = node.poll_event() {
//!                 over |= matches!(event, NodeEvent::Swarm(Event::ShutdownComplete));
//!                 program.handle(now, node, event);
//!             } else if let Some(action) = node.poll_action() {
//!                 program.act(now, node, action);
//!             } else {
//!                 break;
//!             }
//!         }
//!         if !over {
//!             now = program.sleep(node);
//!             program.serve(now, node);
//!             node.handle_timeout(now);
//!         }
//!     }
//! }
//! ```
//!
//! Any order of calls is legal, and this one costs no turn too many: with nothing left to poll,
//! [`poll_timeout`](Node::poll_timeout) is a deadline to come. It is now as long as anything waits to be polled, so a
//! host that sleeps before that wakes at once, again and again. Only polls take away what waits;
//! [`handle_timeout`](Node::handle_timeout) does not.
//!
//! ## Actions
//!
//! | action | what to do | what to call then |
//! |---|---|---|
//! | [`Action::Listen`] | bind a listener | [`handle_listener`](Node::handle_listener) with [`Bound`](ListenerUpdate::Bound) and the real port, or with [`Closed`](ListenerUpdate::Closed) |
//! | [`Action::StopListen`] | drop the listener | [`handle_listener`](Node::handle_listener) with `Closed(None)` |
//! | [`Action::PauseAccept`], [`Action::ResumeAccept`] | wait for no listener; wait for all again | |
//! | [`Action::Dial`] | begin to connect | when that is over, [`handle_dialed`](Node::handle_dialed) |
//! | [`Action::CancelDial`] | drop the socket | |
//! | [`Action::Resolve`] | ask a resolver | [`Swarm::handle_resolved`], by [`command`](Node::command) |
//! | [`NodeAction::Transmit`] | write, see below; nothing if the socket is not writable | |
//! | [`NodeAction::Close`] | end the socket, see below | [`handle_closed`](Node::handle_closed) |
//! | any other [`Action`] | | [`handle_unsupported`](Node::handle_unsupported) |
//!
//! A listener that accepts calls [`handle_accept`](Node::handle_accept). Whoever gets [`Refused`] there, or `None` from
//! `handle_dialed`, drops the socket. When accepting fails with anything but `WouldBlock`,
//! [`AcceptFailed`](ListenerUpdate::AcceptFailed) says so; let the listener rest for a moment then, for it may remain
//! readable. A listener on an unspecified address needs [`Swarm::handle_interfaces`].
//!
//! ## Reading
//!
//! A socket is to be read as long as [`recv_buf`](Node::recv_buf) gives a buffer. In the buffer there is room; read no
//! more than that, so that it learns how large it should be. Afterwards call [`handle_recv`](Node::handle_recv), also
//! when nothing came, lest an idle connection keep its buffer.
//!
//! ```
//! use drywire::{connection::ConnectionId, node::Node, swarm::Protocol, time::Instant};
//! use std::io::{ErrorKind, Read};
//!
//! enum Next {
//!     /// Wait until the socket is readable.
//!     Wait,
//!     /// Do not wait for the socket. Ask `recv_buf` before each sleep whether there is room again.
//!     Pause,
//!     /// There is more; others first.
//!     Again,
//!     /// Never read again.
//!     Ended,
//! }
//!
//! fn read<P: Protocol>(
//!     now: Instant,
//!     node: &mut Node<P>,
//!     id: ConnectionId,
//!     socket: &mut impl Read,
//!     scratch: &mut [u8],
//! ) -> Next {
//!     for _ in 0..8 {
//!         let Some(buffer) = node.recv_buf(id) else { return Next::Pause };
//!         let room = (buffer.capacity() - buffer.len()).min(scratch.len());
//!         match socket.read(&mut scratch[..room]) {
//!             Ok(0) => {
//!                 node.handle_eof(now, id);
//!                 return Next::Ended;
//!             }
//!             Ok(count) => {
//!                 buffer.extend_from_slice(&scratch[..count]);
//!                 node.handle_recv(now, id);
//!             }
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => {
//!                 node.handle_recv(now, id);
//!                 return Next::Wait;
//!             }
//!             Err(error) if error.kind() == ErrorKind::Interrupted => {}
//!             Err(error) => {
//!                 node.handle_lost(now, id, error.to_string());
//!                 return Next::Ended;
//!             }
//!         }
//!     }
//!     Next::Again
//! }
//! ```
//!
//! **Back-pressure** is that there is no buffer: the connection holds as much as it may, and the kernel, and in the end
//! the peer, has to wait. It ends when the application has read, which no action tells: before each sleep ask
//! `recv_buf` again for the connections that pause, and for no others, because it reserves memory. A level-triggered
//! poller must not wait for their sockets meanwhile; an edge-triggered one must remember that they were readable. It is
//! rare: mostly the window of a stream stops its sender first, and then the connection goes on for the other streams.
//! An application that reads nothing for [`slow_reader_timeout`](connection::Config::slow_reader_timeout) loses the
//! connection.
//!
//! ## Writing
//!
//! [`NodeAction::Transmit`] says that there are bytes for a socket. Each socket needs a buffer for what it has not
//! taken:
//!
//! ```
//! use drywire::{connection::ConnectionId, node::Node, swarm::Protocol, time::Instant};
//! use std::io::{self, ErrorKind, Write};
//!
//! #[derive(Default)]
//! struct Output {
//!     bytes: Vec<u8>,
//!     written: usize,
//!     /// Nothing follows.
//!     last: bool,
//! }
//!
//! /// For a transmit action, and whenever the socket is writable again. `Ok(false)`: wait until it is.
//! fn write<P: Protocol>(
//!     now: Instant,
//!     node: &mut Node<P>,
//!     id: ConnectionId,
//!     socket: &mut impl Write,
//!     output: &mut Output,
//! ) -> io::Result<bool> {
//!     loop {
//!         while output.written < output.bytes.len() {
//!             match socket.write(&output.bytes[output.written..]) {
//!                 Ok(0) => return Err(ErrorKind::WriteZero.into()),
//!                 Ok(count) => output.written += count,
//!                 Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
//!                 Err(error) if error.kind() == ErrorKind::Interrupted => {}
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!         output.bytes.clear();
//!         output.written = 0;
//!         if output.last || !node.wants_transmit(id) {
//!             return Ok(true);
//!         }
//!         output.last = node.poll_transmit(now, id, &mut output.bytes, 64 * 1024).shutdown;
//!     }
//! }
//! ```
//!
//! Wait for a socket to be writable only while bytes are left. A `Transmit` that comes meanwhile need not be
//! remembered: `write` asks for more when it is through. Nothing is transmitted into a buffer that is not empty, and so
//! back-pressure reaches the application: its streams answer [`Blocked`](connection::WriteError::Blocked).
//!
//! When writing fails, read first, until there is no more or no room: what the peer had sent before it went is still
//! there. Then call [`handle_lost`](Node::handle_lost), and write no more.
//!
//! ## Streams
//!
//! [`Swarm::accept`], by [`command`](Node::command), names what peers may open; each such stream is an
//! [`Inbound`](connection::Event::Inbound) event. [`open`](Node::open) opens one, from
//! [`Event::Dialed`] or [`Event::ConnectionEstablished`] on; where the peer may have to be dialed first,
//! [`protocol::stream`](crate::protocol::stream) does that. A [`StreamId`] says nothing without its [`ConnectionId`].
//!
//! Reading and writing are edge-triggered: [`Readable`](connection::Event::Readable) and
//! [`Writable`](connection::Event::Writable) come once after a read or write was
//! [`Blocked`](connection::ReadError::Blocked). A write that took less than all is not blocked yet. So go on until it
//! says so, or remember to come back:
//!
//! ```
//! use bytes::Bytes;
//! use drywire::connection::{ReadError, Stream, WriteError};
//!
//! /// Sends back what comes. For `Inbound`, and whenever the stream is readable or writable.
//! /// `pending` was read and is not written yet.
//! fn echo(stream: &mut Stream<'_>, pending: &mut Bytes) {
//!     loop {
//!         while !pending.is_empty() {
//!             match stream.write_bytes(pending) {
//!                 Ok(_) => {}
//!                 Err(WriteError::Blocked) => return,
//!                 Err(_) => return stream.release(),
//!             }
//!         }
//!         // Not read before all is written: so back-pressure goes from this node's socket to the peer.
//!         match stream.read(64 * 1024) {
//!             Ok(Some(bytes)) => *pending = bytes,
//!             Ok(None) => {
//!                 let _ = stream.finish();
//!                 return;
//!             }
//!             Err(ReadError::Blocked) => return,
//!             Err(_) => return stream.release(),
//!         }
//!     }
//! }
//! ```
//!
//! An application that stops earlier, to be fair or because it cannot take more, gets no event: it has to go on by
//! itself. What it does outside of `handle` belongs before the polls, not between them and the sleep.
//!
//! ## Time
//!
//! Take the time once a turn. It may stand still; one that went back counts as the latest that was told. Sleep until
//! the earliest of [`poll_timeout`](Node::poll_timeout) and the host's own deadlines. Ask for it after all polls:
//! everything before may change it. Values that a protocol gave away, such as the channel of an answer, change it from
//! other threads too: [`Swarm::set_waker`], by [`command`](Node::command), says whom to wake.
//!
//! ## The end
//!
//! A connection ends for many reasons and always in the same way: [`Closed`](connection::Event::Closed) is the last of
//! its events, then comes [`NodeAction::Close`]. Until [`handle_closed`](Node::handle_closed) its streams can be read.
//! If [`Transmit::shutdown`] was seen, it ended in good order: write what is left, shut down the writing side, then
//! read and discard until the peer's end, for a few seconds at most, since a socket that is dropped with bytes unread
//! is reset, and a reset may overtake the last words. Otherwise drop the socket at once. `handle_closed` need not wait
//! for the socket: call it as soon as nobody reads the connection's streams any more.
//!
//! A peer that vanishes without a word is noticed by [ping](crate::protocol::ping), within 90 s unless configured
//! otherwise, which closes the connection. Without ping it is noticed when something is written, as late as the kernel
//! likes.
//!
//! [`shutdown`](Node::shutdown) stops listeners, cancels dials and closes connections. The loop runs on as before,
//! until [`Event::ShutdownComplete`], and for as long as sockets linger.

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
    /// A connection has bytes for its socket: call [`Node::poll_transmit`] when the socket takes some. As long as
    /// nothing else happens on the connection this is said once, so whoever cannot write now does so when the socket is
    /// writable.
    Transmit(ConnectionId),
    /// A connection is over: write out what is left, drop the socket, and when nothing more is to be read from its
    /// streams call [`Node::handle_closed`]. Comes once, when its events were all [polled](Node::poll_event). Something
    /// is left to write only if [`Transmit::shutdown`] was seen; see the [module](self#the-end).
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
    /// What a protocol says, if it is that. To have it rather than look at it, match
    /// `NodeEvent::Swarm(Event::Protocol(event))`.
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

    /// A listener has accepted a socket. It may be read and written from now on. Whoever accepts several in a row asks
    /// [`Swarm::is_accepting`] before each.
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

    /// An attempt of [`Action::Dial`] is over. The remote address of `result` is that of the action. `None` means that
    /// the socket is not wanted (any more); close it.
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
    /// it now. No action says when that is over: ask again before each sleep. Ask only when there may be something to
    /// read: the buffer is made for that. After the end of input there is none any more.
    pub fn recv_buf(&mut self, connection: ConnectionId) -> Option<&mut BytesMut> {
        self.connections.get_mut(&connection)?.connection.recv_buf()
    }

    /// Processes what was appended to [`recv_buf`](Self::recv_buf). If nothing was, the node learns when to take the
    /// buffer back.
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

    /// The peer shut its side of a socket. What was received before is still processed, and there may be something to
    /// write: do not drop the socket before [`NodeAction::Close`].
    pub fn handle_eof(&mut self, now: Instant, connection: ConnectionId) {
        self.touch(now, connection, |connection, now| {
            connection.handle_eof(now)
        });
    }

    /// A socket failed; `reason` in the host's words. What was appended before is processed; what the socket still has
    /// is lost. [`NodeAction::Close`] follows.
    pub fn handle_lost(&mut self, now: Instant, connection: ConnectionId, reason: String) {
        self.touch(now, connection, |connection, now| {
            connection.handle_lost(now, reason)
        });
    }

    /// Whether a connection has bytes for its socket, or would like to say that none follow.
    #[must_use]
    pub fn wants_transmit(&self, connection: ConnectionId) -> bool {
        let connection = self.connections.get(&connection);
        connection.is_some_and(|held| held.connection.wants_transmit())
    }

    /// Appends what a connection has for its socket to `out`, about `limit` bytes of it. Call it with an empty buffer,
    /// so that what a socket does not take waits where writers notice.
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

    /// The host has dropped a connection's socket, or sees to that alone, and wants nothing more of its streams. Needed
    /// for every connection, after [`NodeAction::Close`]; before that it ends the connection without a word to the
    /// peer.
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

    /// Opens a stream that the host owns, under the first of `names` that the peer accepts. With one name it can be
    /// written at once; with several, writing is [blocked](connection::WriteError::Blocked) until the peer has chosen.
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

    /// A stream that the host owns, to read and write it; `None` if there is none (any more). What that leads to shows
    /// in the polls that follow.
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

    /// Ends everything in good order, see [`Swarm::shutdown`]. Go on polling, and answer every action, until
    /// [`Event::ShutdownComplete`].
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

    /// The time of [`poll_timeout`](Self::poll_timeout) has come. Early and repeated calls do no harm: call it in every
    /// turn. It does not stand in for the polls.
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

    /// When to call [`handle_timeout`](Self::handle_timeout); not later than now while actions or events wait, or may:
    /// poll both until `None` before relying on it.
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
        let connections = &self.connections;
        let told = |id: &&ConnectionId| {
            let held = connections.get(*id);
            held.is_none_or(|held| !held.connection.has_events())
        };
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
