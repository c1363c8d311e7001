//! What is behind a handle. No unsafe code.

use core::net::{Ipv4Addr, SocketAddr};
use drywire::{
    connection::{
        Accept, ConnectedPoint, Connection, ConnectionId, Event as OfConnection, OpenOptions,
        ReadError, Stream, StreamId, StreamKind, WriteError,
    },
    identity::Keypair,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::{Node, NodeAction, NodeEvent},
    protocol::Standard,
    seed::Seed,
    swarm::{
        Action as OfSwarm, AttemptId, Config, DialOptions, Event as SwarmEvent, ListenerId,
        ListenerUpdate, Swarm, TransportError,
    },
    time::{Instant, UnixTime},
};
use std::collections::BTreeMap;

/// Bytes transmitted at once; soft by one message.
const TRANSMIT: usize = 256 * 1024;

/// Why a call did nothing, as C is told.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(crate) enum Failure {
    Blocked = -1,
    Failed = -2,
    BadArgument = -3,
    Panicked = -4,
}

type Done = Result<(), Failure>;

/// `drywire_ipv4`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Ipv4 {
    /// The address, in the order it is written.
    pub ip: [u8; 4],
    /// The port, in this machine's byte order.
    pub port: u16,
}

impl Ipv4 {
    fn multiaddr(self) -> Multiaddr {
        Multiaddr::from_tcp(SocketAddr::from((Ipv4Addr::from(self.ip), self.port)))
    }

    fn of(address: &Multiaddr) -> Option<Self> {
        match address.socket_addr()? {
            (core::net::IpAddr::V4(ip), port, _) => Some(Self {
                ip: ip.octets(),
                port,
            }),
            _ => None,
        }
    }
}

/// `drywire_action`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Action {
    /// One of `DRYWIRE_ACTION_*`.
    pub kind: u32,
    /// Where to dial or to listen.
    pub address: Ipv4,
    /// The attempt, the listener or the connection.
    pub id: u64,
}

/// `drywire_event`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Event {
    /// One of `DRYWIRE_EVENT_*`.
    pub kind: u32,
    /// Where a listener is bound.
    pub address: Ipv4,
    /// The connection.
    pub connection: u64,
    /// The stream.
    pub stream: u64,
}

/// Bytes on their way to a socket.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    written: usize,
    shutdown: bool,
}

/// `drywire_node`.
pub struct Handle {
    node: Node<Standard>,
    /// What the numbers that C was given stand for.
    attempts: BTreeMap<u64, (AttemptId, Multiaddr)>,
    listeners: BTreeMap<u64, ListenerId>,
    streams: BTreeMap<(ConnectionId, u64), StreamId>,
    out: BTreeMap<ConnectionId, Out>,
    pub(crate) panicked: bool,
}

fn action(kind: u32, id: u64) -> Action {
    let address = Ipv4::default();
    Action { kind, address, id }
}

fn event(kind: u32, connection: u64, stream: u64) -> Event {
    let address = Ipv4::default();
    Event {
        kind,
        address,
        connection,
        stream,
    }
}

impl Handle {
    pub(crate) fn new(entropy: [u8; 32], now: Instant, unix: UnixTime) -> Result<Self, Failure> {
        let seed = Seed::from_entropy(entropy);
        let keypair = Keypair::ed25519_from_seed(&seed.derive("identity"));
        let protocols = Standard::default();
        let swarm = Swarm::new(Config::default(), keypair, protocols, seed, now, unix);
        Ok(Self {
            node: Node::new(swarm.map_err(|_| Failure::Failed)?),
            attempts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            streams: BTreeMap::new(),
            out: BTreeMap::new(),
            panicked: false,
        })
    }

    pub(crate) fn listen(&mut self, now: Instant, address: &str) -> Done {
        let address = address.parse().map_err(|_| Failure::BadArgument)?;
        let listener = self.node.listen(now, address);
        listener.map(drop).map_err(|_| Failure::Failed)
    }

    pub(crate) fn dial(&mut self, now: Instant, address: &str) -> Done {
        let address = address.parse().map_err(|_| Failure::BadArgument)?;
        let dial = self.node.dial(now, DialOptions::address(address));
        dial.map(drop).map_err(|_| Failure::Failed)
    }

    pub(crate) fn accept_streams(&mut self, now: Instant, name: &str) -> Done {
        let name = ProtocolName::try_from(name).map_err(|_| Failure::BadArgument)?;
        let accept = Accept::new(StreamKind::Raw);
        let accepted = self
            .node
            .command(now, |swarm| swarm.accept(now, name, accept));
        accepted.map_err(|_| Failure::Failed)
    }

    pub(crate) fn shutdown(&mut self, now: Instant) {
        self.node.shutdown(now);
    }

    /// The next action that C understands.
    pub(crate) fn poll_action(&mut self, now: Instant) -> Option<Action> {
        loop {
            match self.node.poll_action()? {
                NodeAction::Transmit(id) => return Some(action(6, id.number())),
                NodeAction::Close(id) => return Some(action(7, id.number())),
                NodeAction::Swarm(OfSwarm::PauseAccept) => return Some(action(4, 0)),
                NodeAction::Swarm(OfSwarm::ResumeAccept) => return Some(action(5, 0)),
                NodeAction::Swarm(OfSwarm::CancelDial { attempt }) => {
                    if self.attempts.remove(&attempt.number()).is_none() {
                        continue;
                    }
                    return Some(action(1, attempt.number()));
                }
                NodeAction::Swarm(OfSwarm::StopListen { listener }) => {
                    return Some(action(3, listener.number()));
                }
                NodeAction::Swarm(OfSwarm::Dial { attempt, address }) => {
                    if let Some(remote) = Ipv4::of(&address) {
                        self.attempts.insert(attempt.number(), (attempt, address));
                        let address = remote;
                        let id = attempt.number();
                        return Some(Action {
                            kind: 0,
                            address,
                            id,
                        });
                    }
                    let error = TransportError::Unsupported;
                    self.node.handle_dialed(now, attempt, Err(error));
                }
                NodeAction::Swarm(OfSwarm::Listen { listener, address }) => {
                    if let Some(local) = Ipv4::of(&address) {
                        self.listeners.insert(listener.number(), listener);
                        let address = local;
                        let id = listener.number();
                        return Some(Action {
                            kind: 2,
                            address,
                            id,
                        });
                    }
                    let update = ListenerUpdate::Closed(Some(TransportError::Unsupported));
                    self.node.handle_listener(now, listener, update);
                }
                NodeAction::Swarm(other) => self.node.handle_unsupported(now, other),
                _ => {}
            }
        }
    }

    pub(crate) fn handle_listener(&mut self, now: Instant, id: u64, bound: Option<Ipv4>) -> Done {
        let listener = *self.listeners.get(&id).ok_or(Failure::BadArgument)?;
        let update = match bound {
            Some(bound) => ListenerUpdate::Bound(bound.multiaddr()),
            None => {
                self.listeners.remove(&id);
                ListenerUpdate::Closed(None)
            }
        };
        self.node.handle_listener(now, listener, update);
        Ok(())
    }

    pub(crate) fn handle_accepted(&mut self, now: Instant, remote: Ipv4) -> Result<u64, Failure> {
        let point = ConnectedPoint::accepted(remote.multiaddr(), None);
        let accepted = self.node.handle_accept(now, point);
        accepted
            .map(ConnectionId::number)
            .map_err(|_| Failure::Failed)
    }

    pub(crate) fn handle_dialed(
        &mut self,
        now: Instant,
        attempt: u64,
        connected: bool,
    ) -> Result<u64, Failure> {
        let (attempt, address) = self.attempts.remove(&attempt).ok_or(Failure::BadArgument)?;
        let result = if connected {
            Ok(ConnectedPoint::dialed(address, None))
        } else {
            Err(TransportError::Refused)
        };
        let connection = self.node.handle_dialed(now, attempt, result);
        connection.map(ConnectionId::number).ok_or(Failure::Failed)
    }

    pub(crate) fn wants_input(&mut self, connection: u64) -> bool {
        self.node.recv_buf(ConnectionId::new(connection)).is_some()
    }

    pub(crate) fn handle_input(&mut self, now: Instant, connection: u64, bytes: &[u8]) -> usize {
        self.node
            .handle_input(now, ConnectionId::new(connection), bytes)
    }

    pub(crate) fn handle_eof(&mut self, now: Instant, connection: u64) {
        self.node.handle_eof(now, ConnectionId::new(connection));
    }

    pub(crate) fn handle_lost(&mut self, now: Instant, connection: u64) {
        let reason = "the socket failed".to_owned();
        self.node
            .handle_lost(now, ConnectionId::new(connection), reason);
    }

    /// Whether streams hold what nobody has read, and it can still be waited for.
    pub(crate) fn unread(&self, connection: u64) -> bool {
        let connection = self.node.connection(ConnectionId::new(connection));
        let unread = connection.is_some_and(Connection::is_unread);
        unread && !self.node.swarm().is_shutting_down()
    }

    pub(crate) fn handle_closed(&mut self, now: Instant, connection: u64) {
        let id = ConnectionId::new(connection);
        self.out.remove(&id);
        self.streams.retain(|(connection, _), _| *connection != id);
        self.node.handle_closed(now, id);
    }

    pub(crate) fn wants_transmit(&self, connection: u64) -> bool {
        let id = ConnectionId::new(connection);
        let left = self.out.get(&id);
        left.is_some_and(|out| out.written < out.bytes.len() || out.shutdown)
            || self.node.wants_transmit(id)
    }

    /// What is to be written, and whether nothing follows.
    pub(crate) fn poll_transmit(&mut self, now: Instant, connection: u64) -> (&[u8], bool) {
        let id = ConnectionId::new(connection);
        let out = self.out.entry(id).or_default();
        if out.written >= out.bytes.len() && !out.shutdown {
            out.bytes.clear();
            out.written = 0;
            let transmit = self.node.poll_transmit(now, id, &mut out.bytes, TRANSMIT);
            out.shutdown = transmit.shutdown;
        }
        if out.bytes.is_empty() && !out.shutdown {
            // An idle connection holds no memory for this.
            self.out.remove(&id);
            return (&[], false);
        }
        let Some(out) = self.out.get(&id) else {
            return (&[], false);
        };
        let left = out.bytes.get(out.written..).unwrap_or_default();
        (left, out.shutdown)
    }

    /// So many bytes of that were written.
    pub(crate) fn transmitted(&mut self, connection: u64, count: usize) -> Done {
        let id = ConnectionId::new(connection);
        let out = self.out.get_mut(&id).ok_or(Failure::BadArgument)?;
        let left = out.bytes.len().saturating_sub(out.written);
        if count > left {
            return Err(Failure::BadArgument);
        }
        out.written = out.written.saturating_add(count);
        if out.written >= out.bytes.len() {
            self.out.remove(&id);
        }
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.node.poll_timeout().map(Instant::as_nanos)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
    }

    /// The next event that C understands.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        loop {
            let (id, of_connection) = match self.node.poll_event()? {
                NodeEvent::Swarm(SwarmEvent::Listening { address, .. }) => {
                    let mut told = event(0, 0, 0);
                    told.address = Ipv4::of(&address).unwrap_or_default();
                    return Some(told);
                }
                NodeEvent::Swarm(SwarmEvent::DialFailed { .. }) => return Some(event(1, 0, 0)),
                NodeEvent::Swarm(SwarmEvent::ShutdownComplete) => return Some(event(2, 0, 0)),
                NodeEvent::Connection(id, of_connection) => (id, of_connection),
                _ => continue,
            };
            let (kind, stream) = match of_connection {
                OfConnection::Established { .. } => return Some(event(3, id.number(), 0)),
                OfConnection::Closed { .. } => return Some(event(4, id.number(), 0)),
                OfConnection::Inbound { stream, .. } => {
                    self.streams.insert((id, stream.number()), stream);
                    (5, stream)
                }
                OfConnection::Opened { stream, .. } | OfConnection::Readable { stream } => {
                    (6, stream)
                }
                OfConnection::Writable { stream } => (7, stream),
                OfConnection::Finished { stream } => {
                    self.streams.remove(&(id, stream.number()));
                    (8, stream)
                }
                OfConnection::Failed { stream, .. } | OfConnection::Reset { stream, .. } => {
                    (9, stream)
                }
                _ => continue,
            };
            return Some(event(kind, id.number(), stream.number()));
        }
    }

    pub(crate) fn open(
        &mut self,
        now: Instant,
        connection: u64,
        name: &str,
    ) -> Result<u64, Failure> {
        let name = ProtocolName::try_from(name).map_err(|_| Failure::BadArgument)?;
        let (id, options) = (ConnectionId::new(connection), OpenOptions::default());
        let opened = self.node.open(now, id, &[name], StreamKind::Raw, options);
        let stream = opened.map_err(|_| Failure::Failed)?;
        self.streams.insert((id, stream.number()), stream);
        Ok(stream.number())
    }

    fn stream(&mut self, connection: u64, stream: u64) -> Result<Stream<'_>, Failure> {
        let id = ConnectionId::new(connection);
        let stream = self.streams.get(&(id, stream)).ok_or(Failure::Failed)?;
        self.node.stream(id, *stream).ok_or(Failure::Failed)
    }

    /// 0 bytes: the end.
    pub(crate) fn read(
        &mut self,
        connection: u64,
        stream: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Failure> {
        match self.stream(connection, stream)?.read_into(buffer) {
            Ok(count) => Ok(count),
            Err(ReadError::Blocked) => Err(Failure::Blocked),
            Err(_) => Err(Failure::Failed),
        }
    }

    pub(crate) fn write(
        &mut self,
        connection: u64,
        stream: u64,
        bytes: &[u8],
    ) -> Result<usize, Failure> {
        match self.stream(connection, stream)?.write(bytes) {
            Ok(count) => Ok(count),
            Err(WriteError::Blocked) => Err(Failure::Blocked),
            Err(_) => Err(Failure::Failed),
        }
    }

    pub(crate) fn finish(&mut self, connection: u64, stream: u64) -> Done {
        let finished = self.stream(connection, stream)?.finish();
        finished.map_err(|_| Failure::Failed)
    }

    pub(crate) fn release(&mut self, connection: u64, stream: u64) -> Done {
        self.stream(connection, stream)?.release();
        self.streams
            .remove(&(ConnectionId::new(connection), stream));
        Ok(())
    }
}
