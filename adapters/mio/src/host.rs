//! A node among the sockets of a poll.

use crate::{
    builder::HostBuilder,
    socket::{READ_BUDGET, Slot, Turn},
    stream::Stream,
    transport::{Tcp, Transport},
};
use core::{fmt, ops::Range, task::Waker, time::Duration};
use drywire::{
    connection::{
        self, Accept, Connection, ConnectionId, OpenError, OpenOptions, StreamId, StreamKind,
    },
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::{Node, NodeEvent},
    swarm::{
        self, AcceptError, AttemptId, DialError, DialId, DialOptions, ListenError, ListenerId,
        LookupKind, Protocol, ResolveId, Resolved, Swarm, Timers, TransportError,
    },
    time::{Instant, earliest},
};
use mio::Registry;
use slab::Slab;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::ToSocketAddrs,
};

/// Something that happened. `E` is the event type of the protocol set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<E> {
    /// In the swarm or its protocols.
    Swarm(swarm::Event<E>),
    /// On a connection: about itself, or the streams of the application.
    Connection(ConnectionId, connection::Event),
    /// A name is to be looked up, which this crate does not do: the operating system has no way that does not block. Answer
    /// with [`Host::handle_resolved`], or right here with [`Host::resolve_blocking`]; without an answer, the dial that needs it
    /// fails after a while.
    Resolve {
        /// To be given back with the answer.
        lookup: ResolveId,
        /// The name.
        name: String,
        /// The kind of records.
        kind: LookupKind,
    },
}

impl<E> Event<E> {
    /// `None` for what this version does not know.
    fn of(event: NodeEvent<E>) -> Option<Self> {
        match event {
            NodeEvent::Swarm(event) => Some(Self::Swarm(event)),
            NodeEvent::Connection(connection, event) => Some(Self::Connection(connection, event)),
            _ => None,
        }
    }

    /// What a protocol says, if it is that.
    #[must_use]
    pub const fn protocol(&self) -> Option<&E> {
        match self {
            Self::Swarm(swarm::Event::Protocol(event)) => Some(event),
            _ => None,
        }
    }
}

/// What a deadline of the host itself is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A listener has rested, or a socket has lingered long enough.
    Slot(usize),
    /// Nobody reads what a connection has left.
    Unread(ConnectionId),
    /// The machine's addresses are to be looked at.
    Interfaces,
}

/// A node on one thread, over the sockets of a [`mio::Poll`]. See the [crate](crate) for how it is driven.
///
/// Dropping it closes all sockets at once; [`shutdown`](Self::shutdown) says goodbye to the peers first.
pub struct Host<P: Protocol, T: Transport = Tcp> {
    pub(crate) node: Node<P>,
    pub(crate) registry: Registry,
    pub(crate) transport: T,
    pub(crate) tokens: Range<usize>,
    pub(crate) slots: Slab<Slot<T>>,
    pub(crate) listeners: BTreeMap<ListenerId, usize>,
    pub(crate) dials: BTreeMap<AttemptId, usize>,
    pub(crate) links: BTreeMap<ConnectionId, usize>,
    /// Slots with something to do, the longest waiting first. Each at most once.
    pub(crate) ready: VecDeque<usize>,
    /// Connections that had something to send in an earlier turn already.
    pub(crate) to_send: VecDeque<usize>,
    /// Connections that had no room to read more.
    pub(crate) full: BTreeSet<usize>,
    /// Connections that are over, but for what the application has not read; and how much that was when it was looked at last.
    pub(crate) unread: BTreeMap<ConnectionId, usize>,
    pub(crate) lookups: VecDeque<(ResolveId, String, LookupKind)>,
    pub(crate) timers: Timers<Timer>,
    pub(crate) turn: Turn,
    /// When the swarm is to be told the calendar again, if anything happens then at all.
    pub(crate) calendar_due: Instant,
    /// Where sockets are read into: with memory that was never written, reading needs unsafe code.
    pub(crate) scratch: Box<[u8]>,
    /// A buffer for output, while no connection has it.
    pub(crate) spare: Vec<u8>,
}

impl<P: Protocol> Host<P> {
    /// Begins a host that runs `protocols`.
    pub const fn builder(protocols: P) -> HostBuilder<P> {
        HostBuilder::new(protocols)
    }
}

impl<P: Protocol, T: Transport> Host<P, T> {
    pub(crate) fn of(
        node: Node<P>,
        registry: Registry,
        transport: T,
        tokens: Range<usize>,
    ) -> Self {
        Self {
            node,
            registry,
            transport,
            tokens,
            slots: Slab::new(),
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            links: BTreeMap::new(),
            ready: VecDeque::new(),
            to_send: VecDeque::new(),
            full: BTreeSet::new(),
            unread: BTreeMap::new(),
            lookups: VecDeque::new(),
            timers: Timers::new(),
            turn: Turn::default(),
            calendar_due: Instant::ZERO,
            scratch: vec![0; READ_BUDGET].into_boxed_slice(),
            spare: Vec::new(),
        }
    }

    /// This node's name.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.node.swarm().local_peer_id()
    }

    /// The swarm, to look at.
    #[must_use]
    pub const fn swarm(&self) -> &Swarm<P> {
        self.node.swarm()
    }

    /// A connection, to look at; `None` once it is over and read to its end.
    #[must_use]
    pub fn connection(&self, connection: ConnectionId) -> Option<&Connection> {
        self.node.connection(connection)
    }

    /// Sockets this host has: of connections, listeners, and of attempts to connect.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.slots.len()
    }

    /// Whether it was shut down, and everything that entails is done.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.swarm().is_shutting_down()
            && self.slots.is_empty()
            && self.swarm().connection_count() == 0
    }

    /// Listens on an address, `/ip4/../tcp/..` or `/ip6/../tcp/..`; port 0 lets the system choose one. A
    /// [`Listening`](swarm::Event::Listening) event says where; or a [`ListenerClosed`](swarm::Event::ListenerClosed), why not.
    ///
    /// # Errors
    /// [`ListenError`] tells why nothing was begun.
    pub fn listen(&mut self, address: Multiaddr) -> Result<ListenerId, ListenError> {
        self.node.listen(drywire_system::now(), address)
    }

    /// Stops a listener; its connections go on. Whether there was one.
    pub fn stop_listening(&mut self, listener: ListenerId) -> bool {
        self.command(|swarm, now| swarm.stop_listening(now, listener))
    }

    /// Dials. An event follows: [`Dialed`](swarm::Event::Dialed) or [`DialFailed`](swarm::Event::DialFailed).
    ///
    /// # Errors
    /// [`DialError`] tells why nothing was begun.
    pub fn dial(&mut self, options: DialOptions) -> Result<DialId, DialError> {
        self.node.dial(drywire_system::now(), options)
    }

    /// Gives a dial up. Whether there was one.
    pub fn cancel_dial(&mut self, dial: DialId) -> bool {
        self.command(|swarm, now| swarm.cancel_dial(now, dial))
    }

    /// Accepts streams that peers open under `name`: they come as
    /// [`Inbound`](connection::Event::Inbound) events of their connections.
    ///
    /// # Errors
    /// If the name is accepted already, also by a protocol, or there are too many.
    pub fn accept(&mut self, name: ProtocolName) -> Result<(), AcceptError> {
        self.accept_with(name, Accept::new(StreamKind::Raw))
    }

    /// The same with other limits than the defaults, or streams that carry whole messages.
    ///
    /// # Errors
    /// As there.
    pub fn accept_with(&mut self, name: ProtocolName, accept: Accept) -> Result<(), AcceptError> {
        self.command(|swarm, now| swarm.accept(now, name, accept.host_owned()))
    }

    /// No longer accepts a name; streams that are open go on. Whether it was accepted.
    pub fn unaccept(&mut self, name: &ProtocolName) -> bool {
        self.command(|swarm, now| swarm.unaccept(now, name))
    }

    /// Opens a stream of plain bytes, under the first of `names` that the peer accepts. It can be written at once;
    /// [`Opened`](connection::Event::Opened) or [`Failed`](connection::Event::Failed) tells the peer's answer. On which
    /// connection: what [`Dialed`](swarm::Event::Dialed) said, or [`Swarm::best_connection`].
    ///
    /// # Errors
    /// [`OpenError`] tells why there is none.
    pub fn open(
        &mut self,
        connection: ConnectionId,
        names: &[ProtocolName],
    ) -> Result<StreamId, OpenError> {
        self.open_with(connection, names, StreamKind::Raw, OpenOptions::default())
    }

    /// The same with options, or for a stream that carries whole messages.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(
        &mut self,
        connection: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
        options: OpenOptions,
    ) -> Result<StreamId, OpenError> {
        self.node
            .open(drywire_system::now(), connection, names, kind, options)
    }

    /// A stream, to read and write it; `None` once it is gone: finished by both sides and read to its end, reset, or lost
    /// with its connection.
    pub fn stream(&mut self, connection: ConnectionId, stream: StreamId) -> Option<Stream<'_>> {
        self.node.stream(connection, stream).map(Stream)
    }

    /// Keeps a connection open although nothing uses it, or no longer.
    pub fn set_keep_alive(&mut self, connection: ConnectionId, keep_alive: bool) {
        self.node
            .set_keep_alive(drywire_system::now(), connection, keep_alive);
    }

    /// Closes a connection in good order: what was finished is still sent.
    pub fn close(&mut self, connection: ConnectionId) {
        self.node.close(drywire_system::now(), connection);
    }

    /// Runs a command on the protocols, see [`Swarm::with`].
    pub fn with<R>(
        &mut self,
        run: impl FnOnce(&mut P, &mut swarm::Context<'_, P::Event>) -> R,
    ) -> R {
        self.node.with(drywire_system::now(), run)
    }

    /// Runs a command on the swarm for which this type has no method: `add_address`, `disconnect`, `deny_peer` and so on. What
    /// its sockets say to it is the host's business, not for use here.
    pub fn command<R>(&mut self, run: impl FnOnce(&mut Swarm<P>, Instant) -> R) -> R {
        let now = drywire_system::now();
        self.node.command(now, |swarm| run(swarm, now))
    }

    /// Whom the swarm wakes when something happened on another thread, in a store of records for example: the waker has to
    /// end the sleep of the loop. An [`EventLoop`](crate::EventLoop) has set one already.
    pub fn set_waker(&mut self, waker: Option<Waker>) {
        self.command(|swarm, _| swarm.set_waker(waker));
    }

    /// The answer to [`Event::Resolve`].
    pub fn handle_resolved(&mut self, lookup: ResolveId, result: Result<Resolved, TransportError>) {
        self.command(|swarm, now| swarm.handle_resolved(now, lookup, result));
    }

    /// Answers [`Event::Resolve`] by asking the system's resolver, **which blocks**, perhaps for seconds. It knows no TXT records,
    /// hence no `/dnsaddr`.
    pub fn resolve_blocking(&mut self, lookup: ResolveId, name: &str, kind: LookupKind) {
        let wanted: fn(&std::net::IpAddr) -> bool = match kind {
            LookupKind::Ip => |_| true,
            LookupKind::Ip4 => std::net::IpAddr::is_ipv4,
            LookupKind::Ip6 => std::net::IpAddr::is_ipv6,
            _ => return self.handle_resolved(lookup, Err(TransportError::Unsupported)),
        };
        let found = (name, 0).to_socket_addrs().map(|found| {
            let addresses = found.map(|address| address.ip()).filter(wanted);
            Resolved::Addresses(addresses.collect())
        });
        let result = found.map_err(|error| drywire_system::transport_error(&error));
        self.handle_resolved(lookup, result);
    }

    /// Ends everything in good order. [`ShutdownComplete`](swarm::Event::ShutdownComplete) says that no connection is left;
    /// [`is_shut_down`](Self::is_shut_down), that no socket is. Neither takes longer than the configured closing timeout and a few
    /// seconds.
    pub fn shutdown(&mut self) {
        self.node.shutdown(drywire_system::now());
    }

    /// How long the loop may sleep: zero while there is anything to do, `None` for ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.to_send.is_empty() || !self.lookups.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadline = earliest(self.node.poll_timeout(), self.timers.next())?;
        // Instants saturate: what has passed is no time at all.
        Some(deadline - drywire_system::now())
    }

    /// The next thing that happened, `None` when there is nothing.
    ///
    /// Once there is nothing, whatever there was to send is sent: what the application wrote in answer to the last events
    /// travels together. So a loop asks until `None` before it sleeps.
    pub fn poll_event(&mut self) -> Option<Event<P::Event>> {
        loop {
            if let Some((lookup, name, kind)) = self.lookups.pop_front() {
                return Some(Event::Resolve { lookup, name, kind });
            }
            while let Some(event) = self.node.poll_event() {
                if let Some(event) = Event::of(event) {
                    return Some(event);
                }
            }
            if !self.act() {
                self.look_again();
                return None;
            }
        }
    }
}

impl<P: Protocol, T: Transport> fmt::Debug for Host<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("peer", &self.peer_id())
            .field("sockets", &self.slots.len())
            .finish_non_exhaustive()
    }
}
