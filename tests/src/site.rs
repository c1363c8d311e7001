//! A whole node with a careful host, for others to ill-treat: a swarm with real connections, in virtual time.

use crate::{heap::Meter, hostile::Hostile, pair::Secure, victim::Target};
use drywire::{
    connection::{
        ConnectedPoint, ConnectionError, ConnectionId, Event as ConnectionEvent, StreamId,
        StreamKind,
    },
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::{Node, NodeAction, NodeEvent},
    protocol::{Standard, StandardEvent, identify, ping},
    seed::Seed,
    swarm::{
        Action, AttemptError, AttemptId, Config, Event, Refused, SecurityConfig, Swarm,
        TransportError,
    },
    time::{Instant, UnixTime},
};
use std::{collections::BTreeMap, time::Duration};

/// What the far end of a connection knows of it.
#[derive(Debug, Default)]
struct Pipe {
    /// Given to the node, and not taken yet.
    waiting: Vec<u8>,
    /// Sent by the node, and not looked at yet.
    sent: Vec<u8>,
    /// The far end takes nothing.
    deaf: bool,
}

/// What the node told, as far as tests ask. Events themselves are dropped, so that none of them counts as memory.
#[derive(Debug, Default)]
pub struct Told {
    /// Connections that came up.
    pub established: Vec<ConnectionId>,
    /// Connections that were up and are gone.
    pub closed: Vec<(ConnectionId, ConnectionError)>,
    /// Accepted connections that never came up.
    pub refused: Vec<(ConnectionId, ConnectionError)>,
    /// Dials that led to a connection.
    pub dialed: usize,
    /// Dials that did not: how each address failed.
    pub dial_failed: Vec<Vec<AttemptError>>,
    /// Streams that peers opened for the application.
    pub inbound: Vec<(ConnectionId, StreamId)>,
    /// Identify: messages that were taken, and exchanges that failed.
    pub identified: usize,
    /// Why exchanges of identify failed.
    pub identify_failed: Vec<identify::Error>,
}

/// A node under attack.
#[derive(Debug)]
pub struct Site {
    /// The node.
    pub node: Node<Standard>,
    /// Virtual time.
    pub now: Instant,
    /// What the node does to the heap.
    pub meter: Meter,
    /// What it told.
    pub told: Told,
    /// Sockets it asked for: the attempt, and where to.
    pub dials: Vec<(AttemptId, Multiaddr)>,
    /// Whether the application reads what arrives on its streams.
    pub reads: bool,
    /// How its connections are secured.
    pub secure: Secure,
    pipes: BTreeMap<ConnectionId, Pipe>,
    /// What connections that are gone have sent, and nobody has looked at yet.
    last_words: BTreeMap<ConnectionId, Vec<u8>>,
    out: Vec<u8>,
}

/// The name of the application's streams.
pub const RAW: ProtocolName = ProtocolName::from_static("/raw");

/// An address that shares no memory with this one.
fn copy(address: &Multiaddr) -> Multiaddr {
    Multiaddr::from_bytes(address.as_bytes()).expect("an address")
}

/// The key of the node.
pub fn key() -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(0).derive("site"))
}

impl Site {
    /// A node of the standard protocols with `/raw` accepted, and the default limits but for what `change` changes.
    ///
    /// # Panics
    ///
    /// If the crypto backend does not work.
    pub fn new(secure: Secure, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = match secure {
            Secure::Noise => Config::default(),
            Secure::Plaintext => Config::new(SecurityConfig::InsecurePlaintext),
        };
        change(&mut config);
        let (now, unix) = (Instant::ZERO, UnixTime::from_secs(1_800_000_000));
        let mut meter = Meter::default();
        let node = meter.run(|| {
            let seed = Seed::for_tests(0).derive("node");
            // Those who ill-treat it answer no pings, and are not to be given up for that.
            let mut ping = ping::Config::default();
            ping.max_failures = 0;
            let protocols = Standard {
                ping: ping::Ping::new(ping),
                ..Standard::default()
            };
            let swarm = Swarm::new(config, key(), protocols, seed, now, unix);
            let mut node = Node::new(swarm.expect("ring works"));
            let accept = drywire::connection::Accept::new(StreamKind::Raw);
            node.with(now, |protocols, cx| {
                protocols.streams(cx, |streams, cx| {
                    streams.register_with(RAW, accept, cx).expect("one name");
                });
            });
            node
        });
        let mut site = Self {
            node,
            now,
            meter,
            told: Told::default(),
            dials: Vec::new(),
            reads: true,
            secure,
            pipes: BTreeMap::new(),
            last_words: BTreeMap::new(),
            out: Vec::with_capacity(1 << 20),
        };
        site.turn();
        site
    }

    /// A socket comes from `remote`.
    ///
    /// # Errors
    ///
    /// As the node has it.
    pub fn accept(&mut self, remote: &Multiaddr) -> Result<ConnectionId, Refused> {
        let (node, now) = (&mut self.node, self.now);
        let id = self.meter.run(|| {
            let point = ConnectedPoint::accepted(copy(remote), None);
            node.handle_accept(now, point)
        })?;
        self.pipes.insert(id, Pipe::default());
        self.turn();
        Ok(id)
    }

    /// One of the sockets it asked for is there.
    pub fn connect(&mut self, attempt: AttemptId, remote: &Multiaddr) -> Option<ConnectionId> {
        let (node, now) = (&mut self.node, self.now);
        let id = self.meter.run(|| {
            let point = ConnectedPoint::dialed(copy(remote), None);
            node.handle_dialed(now, attempt, Ok(point))
        })?;
        self.pipes.insert(id, Pipe::default());
        self.turn();
        Some(id)
    }

    /// One of the sockets it asked for cannot be had.
    pub fn refuse(&mut self, attempt: AttemptId) {
        let (node, now) = (&mut self.node, self.now);
        self.meter
            .run(|| node.handle_dialed(now, attempt, Err(TransportError::Refused)));
        self.turn();
    }

    /// The far end of a connection, to attack it.
    pub fn port(&mut self, connection: ConnectionId) -> Port<'_> {
        Port {
            site: self,
            connection,
        }
    }

    /// A peer from `remote` whose identity follows from `seed`, up to the point where it can open streams.
    ///
    /// # Errors
    ///
    /// If its socket is not accepted.
    ///
    /// # Panics
    ///
    /// If the node does not play its part.
    pub fn intruder(
        &mut self,
        remote: &Multiaddr,
        seed: u64,
    ) -> Result<(ConnectionId, Hostile), Refused> {
        let connection = self.accept(remote)?;
        let secure = self.secure;
        let hostile = Hostile::dial(&mut self.port(connection), secure, seed);
        Ok((connection, hostile))
    }

    /// The far end of a connection takes nothing any more, or takes again.
    pub fn deafen(&mut self, connection: ConnectionId, deaf: bool) {
        if let Some(pipe) = self.pipes.get_mut(&connection) {
            pipe.deaf = deaf;
        }
        self.turn();
    }

    /// The far end drops the pipe.
    pub fn hang_up(&mut self, connection: ConnectionId) {
        let (node, now) = (&mut self.node, self.now);
        self.meter
            .run(|| node.handle_lost(now, connection, String::from("reset")));
        self.turn();
    }

    /// The far end sends no more.
    pub fn shut(&mut self, connection: ConnectionId) {
        let (node, now) = (&mut self.node, self.now);
        self.meter.run(|| node.handle_eof(now, connection));
        self.turn();
    }

    /// Whether the node has not dropped the connection.
    pub fn has(&self, connection: ConnectionId) -> bool {
        self.pipes.contains_key(&connection)
    }

    /// Connections there are, up or not.
    pub fn connections(&self) -> usize {
        self.pipes.len()
    }

    /// Bytes given to a connection and not taken.
    pub fn waiting(&self, connection: ConnectionId) -> usize {
        self.pipes
            .get(&connection)
            .map_or(0, |pipe| pipe.waiting.len())
    }

    /// How many addresses the node knows of a peer. (They share memory with what is looked at.)
    pub fn addresses_of(&mut self, peer: &PeerId) -> usize {
        let swarm = self.node.swarm();
        self.meter.run(|| swarm.addresses(peer).len())
    }

    /// What everything the node has takes of the heap.
    pub fn heap(&self) -> isize {
        self.meter.total.kept
    }

    /// Everything a host does when it is woken.
    ///
    /// # Panics
    ///
    /// If the node never rests.
    pub fn turn(&mut self) {
        for _ in 0..100_000 {
            // Looking at a stream may leave something to poll: so that comes first.
            let mut busy = self.reads && self.read();
            // What the tests keep is theirs.
            self.told.established.reserve(64);
            while let Some(event) = {
                let node = &mut self.node;
                self.meter.run(|| node.poll_event())
            } {
                busy = true;
                self.note(&event);
                self.meter.run(|| drop(event));
            }
            while let Some(action) = {
                let node = &mut self.node;
                self.meter.run(|| node.poll_action())
            } {
                busy = true;
                self.act(action);
            }
            if !busy {
                return;
            }
        }
        panic!("never rests");
    }

    fn note(&mut self, event: &NodeEvent<StandardEvent>) {
        let told = &mut self.told;
        match event {
            NodeEvent::Swarm(Event::ConnectionEstablished { connection, .. }) => {
                told.established.push(*connection);
            }
            NodeEvent::Swarm(Event::ConnectionClosed {
                connection, reason, ..
            }) => told.closed.push((*connection, reason.clone())),
            NodeEvent::Swarm(Event::IncomingFailed {
                connection, error, ..
            }) => told.refused.push((*connection, error.clone())),
            NodeEvent::Swarm(Event::Dialed { .. }) => told.dialed += 1,
            NodeEvent::Swarm(Event::DialFailed { error, .. }) => {
                let failures = error.failures().iter();
                told.dial_failed
                    .push(failures.map(|failure| failure.error.clone()).collect());
            }
            NodeEvent::Swarm(Event::Protocol(StandardEvent::Identify(event))) => match event {
                identify::Event::Received { .. } => told.identified += 1,
                identify::Event::Failed { error, .. } => told.identify_failed.push(error.clone()),
                _ => {}
            },
            NodeEvent::Connection(connection, ConnectionEvent::Inbound { stream, .. }) => {
                told.inbound.push((*connection, *stream));
            }
            NodeEvent::Connection(
                connection,
                ConnectionEvent::Reset { stream, .. } | ConnectionEvent::Failed { stream, .. },
            ) => {
                let (node, told) = (&mut self.node, &mut self.told);
                self.meter.run(|| {
                    if let Some(mut view) = node.stream(*connection, *stream) {
                        view.release();
                    }
                });
                told.inbound.retain(|held| *held != (*connection, *stream));
            }
            _ => {}
        }
    }

    fn act(&mut self, action: NodeAction) {
        let (node, now) = (&mut self.node, self.now);
        match action {
            NodeAction::Transmit(connection) => {
                let Some(pipe) = self.pipes.get_mut(&connection).filter(|pipe| !pipe.deaf) else {
                    return;
                };
                let out = &mut self.out;
                out.clear();
                self.meter
                    .run(|| node.poll_transmit(now, connection, out, 256 * 1024));
                pipe.sent.extend_from_slice(out);
            }
            NodeAction::Close(connection) => {
                let sent = self.pipes.remove(&connection).map(|pipe| pipe.sent);
                self.last_words.extend(sent.map(|sent| (connection, sent)));
                self.told.inbound.retain(|(of, _)| *of != connection);
                self.meter.run(|| node.handle_closed(now, connection));
            }
            NodeAction::Swarm(Action::Dial { attempt, address }) => {
                self.dials.push((attempt, copy(&address)));
                self.meter.run(|| drop(address));
            }
            NodeAction::Swarm(Action::CancelDial { attempt }) => {
                self.dials.retain(|(waiting, _)| *waiting != attempt);
            }
            NodeAction::Swarm(other) => self.meter.run(|| node.handle_unsupported(now, other)),
            other => unreachable!("{other:?}"),
        }
    }

    /// The application reads all there is, and finishes what is finished.
    fn read(&mut self) -> bool {
        let mut busy = false;
        let mut streams = std::mem::take(&mut self.told.inbound);
        let (node, meter) = (&mut self.node, &mut self.meter);
        let mut buffer = [0; 4096];
        streams.retain(|(connection, stream)| {
            meter.run(|| {
                let Some(mut view) = node.stream(*connection, *stream) else {
                    return false;
                };
                loop {
                    match view.read_into(&mut buffer) {
                        Ok(0) => {
                            let _ = view.finish();
                            view.release();
                            busy = true;
                            return false;
                        }
                        Ok(_) => busy = true,
                        Err(_) => return true,
                    }
                }
            })
        });
        self.told.inbound.append(&mut streams);
        busy
    }

    fn input(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if let Some(pipe) = self.pipes.get_mut(&connection) {
            pipe.waiting.extend_from_slice(bytes);
        }
        self.push(connection);
    }

    /// Gives a connection what waits for it, as far as it takes it.
    fn push(&mut self, connection: ConnectionId) {
        loop {
            let Some(pipe) = self.pipes.get_mut(&connection) else {
                return;
            };
            if pipe.waiting.is_empty() {
                break;
            }
            let (node, now, waiting) = (&mut self.node, self.now, &pipe.waiting);
            let taken = self
                .meter
                .run(|| node.handle_input(now, connection, waiting));
            pipe.waiting.drain(..taken);
            self.turn();
            if taken == 0 {
                break;
            }
        }
        self.turn();
    }

    /// Lets time pass, with a turn at every deadline.
    ///
    /// # Panics
    ///
    /// If a deadline stays although it was met.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        self.turn();
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < 100, "law 4: a deadline that stays");
            self.now = self.now.max(at);
            let (node, now) = (&mut self.node, self.now);
            self.meter.run(|| node.handle_timeout(now));
            self.turn();
        }
        self.now = end;
        let stuck: Vec<ConnectionId> = self
            .pipes
            .iter()
            .filter(|(_, pipe)| !pipe.waiting.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for connection in stuck {
            self.push(connection);
        }
    }
}

/// The far end of one connection of a [`Site`].
#[derive(Debug)]
pub struct Port<'a> {
    site: &'a mut Site,
    connection: ConnectionId,
}

impl Target for Port<'_> {
    fn input(&mut self, bytes: &[u8]) {
        self.site.input(self.connection, bytes);
    }

    fn sent(&mut self) -> Vec<u8> {
        self.site.turn();
        match self.site.pipes.get_mut(&self.connection) {
            Some(pipe) => std::mem::take(&mut pipe.sent),
            None => self
                .site
                .last_words
                .remove(&self.connection)
                .unwrap_or_default(),
        }
    }
}
