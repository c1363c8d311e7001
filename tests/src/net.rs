//! Whole nodes joined by pipes, in virtual time, with hosts that use nothing but the public API.
//!
//! A node may be driven as one object ([`Together`]), or as a swarm and connections whose messages the host carries
//! ([`Apart`]). Both are [`Host`]s to the [`Net`]. The net checks as it goes that deadlines tell the truth: nothing waits
//! that `poll_timeout` has not announced, and no deadline stays after it was met.

mod host;

pub use host::{Apart, Host, Together};

use crate::{dice::Dice, pair::Told, tape::Tape};
use bytes::Bytes;
use drywire::{
    connection::{self, ConnectedPoint, ConnectionId, OpenError, ReadError, StreamId, StreamKind},
    identity::{Keypair, PeerId},
    multiaddr::{Multiaddr, Protocol as Component},
    multistream::ProtocolName,
    node::{NodeAction, NodeEvent},
    seed::Seed,
    swarm::{
        Action, AttemptId, Config, DialError, DialId, DialOptions, ListenerUpdate, Protocol, Swarm,
        TransportError,
    },
    time::{Instant, UnixTime, earliest},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    time::Duration,
};

/// One end of a pipe: which node, and its connection.
pub type End = (usize, ConnectionId);

/// How a run is disturbed; it may not show.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Before each call others, that should change nothing; which ones follows from this.
    pub nosy: Option<u64>,
    /// How nodes are told the time.
    pub told: Told,
    /// Sizes of the pieces in which bytes are delivered, used in turn; empty: all at once.
    pub pieces: Vec<usize>,
    /// Hosts are woken at least that often.
    pub restless: Option<Duration>,
    /// Records all nodes; each is the host of its number.
    pub tape: Option<Tape>,
}

/// All that can be seen of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What it told, and when.
    pub events: Vec<String>,
    /// What it sent, all pipes together.
    pub wire: Vec<u8>,
    /// The lengths of the pieces in which it was sent.
    pub flights: Vec<usize>,
    /// Bytes that streams of the host brought.
    pub received: usize,
}

#[derive(Debug)]
enum Item {
    Bytes(Bytes),
    End,
}

/// Nodes, and the pipes between them.
pub struct Net<H: Host> {
    /// The nodes.
    pub hosts: Vec<H>,
    /// Virtual time.
    pub now: Instant,
    /// What each node has shown.
    pub traces: Vec<Trace>,
    /// How often all hosts were woken by deadlines or deliveries.
    pub wakes: usize,
    delay: Duration,
    manner: Manner,
    dice: Dice,
    next_piece: usize,
    pipes: BTreeMap<End, End>,
    in_flight: BTreeMap<End, VecDeque<(Instant, Item)>>,
    listening: BTreeMap<Multiaddr, usize>,
    made: u16,
    /// Streams that peers opened, with what is still to be echoed, and whether all of it has come.
    echoes: BTreeMap<(End, StreamId), (Vec<u8>, bool)>,
    old_attempts: Vec<Option<AttemptId>>,
    /// What an application does with an event of its node; nothing, unless it is set.
    pub on_event: fn(&mut H, Instant, NodeEvent<<H::Protocol as Protocol>::Event>),
}

/// The identity of node `number`.
#[must_use]
pub fn key(number: usize) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number as u64))
}

/// Its name.
#[must_use]
pub fn peer(number: usize) -> PeerId {
    key(number).peer_id()
}

/// Where it listens, and how the others see it.
///
/// # Panics
///
/// Not with the few numbers there are.
#[must_use]
pub fn address(number: usize) -> Multiaddr {
    let text = format!("/ip4/192.0.2.{}/tcp/4001", number + 1);
    text.parse().expect("valid")
}

/// A swarm as node `number` has it; what is random in it follows from `seed`.
///
/// # Panics
///
/// If the crypto backend does not work.
pub fn swarm<P: Protocol>(config: &Config, protocols: P, number: usize, seed: u64) -> Swarm<P> {
    let seed = Seed::for_tests(seed).derive(&format!("node {number}"));
    let unix = UnixTime::from_secs(1_800_000_000);
    let config = config.clone();
    Swarm::new(config, key(number), protocols, seed, Instant::ZERO, unix).expect("keys")
}

impl<H: Host> Net<H>
where
    <H::Protocol as Protocol>::Event: Debug,
{
    /// `count` nodes that listen.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn new(
        count: usize,
        config: &Config,
        seed: u64,
        manner: &Manner,
        mut protocols: impl FnMut() -> H::Protocol,
    ) -> Self {
        let hosts = (0..count).map(|number| {
            let mut config = config.clone();
            config.recorder = manner
                .tape
                .as_ref()
                .map(|tape| tape.recorder(number as u32));
            H::new(swarm(&config, protocols(), number, seed))
        });
        let mut net = Self {
            hosts: hosts.collect(),
            now: Instant::ZERO + Duration::from_secs(1),
            traces: vec![Trace::default(); count],
            wakes: 0,
            delay: Duration::from_millis(10),
            manner: manner.clone(),
            dice: Dice::new(manner.nosy.unwrap_or(0)),
            next_piece: 0,
            pipes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            listening: BTreeMap::new(),
            made: 0,
            echoes: BTreeMap::new(),
            old_attempts: vec![None; count],
            on_event: |_, _, _| (),
        };
        for number in 0..count {
            let now = net.clock(number);
            let listener =
                net.hosts[number].command(now, |swarm| swarm.listen(now, address(number)));
            listener.expect("may listen");
        }
        net.settle();
        net
    }

    /// Dials from one node to another.
    ///
    /// # Errors
    /// As the swarm's.
    pub fn dial(&mut self, from: usize, to: usize) -> Result<DialId, DialError> {
        let options =
            DialOptions::address(address(to).with_peer_id(peer(to)).expect("no peer yet"));
        let now = self.clock(from);
        self.hosts[from].command(now, |swarm| swarm.dial(now, options))
    }

    /// The connections of a node that are up.
    #[must_use]
    pub fn connections(&self, number: usize) -> Vec<ConnectionId> {
        let connections = self.hosts[number].swarm().connections();
        connections.map(|info| info.connection).collect()
    }

    /// Opens a stream of the host, writes a little, and finishes it; what comes back is counted.
    ///
    /// # Errors
    /// As the connection's.
    pub fn request(
        &mut self,
        from: usize,
        connection: ConnectionId,
        name: &'static str,
        length: usize,
    ) -> Result<(), OpenError> {
        let (now, names) = (self.clock(from), [ProtocolName::from_static(name)]);
        let host = &mut self.hosts[from];
        let stream = host.open(now, connection, &names, StreamKind::Raw)?;
        if let Some(mut view) = host.stream(connection, stream) {
            let _ = view.write(&vec![7; length]);
            let _ = view.finish();
            let _ = view.read(1);
        }
        Ok(())
    }

    /// Loses a pipe, both ends of it.
    pub fn cut(&mut self, number: usize, connection: ConnectionId) {
        let end = (number, connection);
        if let Some(other) = self.pipes.remove(&end) {
            self.pipes.remove(&other);
            for (number, connection) in [end, other] {
                let now = self.clock(number);
                self.hosts[number].handle_lost(now, connection, "cut".into());
            }
        }
    }

    /// Lets everything happen that can happen now.
    ///
    /// # Panics
    ///
    /// If that never ends.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let busy = (0..self.hosts.len()).fold(false, |busy, number| self.turn(number) | busy);
            if !(self.deliver() | busy) {
                return;
            }
        }
        panic!("law 4: never rests");
    }

    /// Lets time pass, and everything happen in it.
    ///
    /// # Panics
    ///
    /// If a deadline stays after it was met.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut stays = 0;
        loop {
            self.settle();
            let deadlines = self.hosts.iter().map(Host::poll_timeout);
            let deadline = deadlines.fold(None, earliest);
            let arrivals = self.in_flight.values().filter_map(|items| items.front());
            // What was due and is not taken is nothing to wait for.
            let arrival = arrivals
                .map(|(at, _)| *at)
                .filter(|at| *at > self.now)
                .min();
            let restless = self.manner.restless.map(|every| self.now + every);
            let next = earliest(earliest(deadline, arrival), restless);
            let Some(next) = next.filter(|at| *at <= end) else {
                break;
            };
            stays = if next > self.now { 0 } else { stays + 1 };
            assert!(
                stays < 10,
                "law 4: a deadline that stays, at {:?}",
                self.now
            );
            self.now = self.now.max(next);
            self.wakes += 1;
            self.wake();
        }
        self.now = end;
        self.wake();
        self.settle();
    }

    fn wake(&mut self) {
        for host in &mut self.hosts {
            host.handle_timeout(self.now);
        }
    }

    /// What time to tell a node, and before it what should change nothing.
    fn clock(&mut self, number: usize) -> Instant {
        if self.manner.nosy.is_some() {
            for _ in 0..self.dice.below(3) {
                self.nothing(number);
            }
        }
        if self.manner.told != Told::Plainly {
            self.hosts[number].handle_timeout(self.now);
        }
        if self.manner.told == Told::Backwards {
            Instant::ZERO
        } else {
            self.now
        }
    }

    /// A call that is legal at any time and changes nothing.
    fn nothing(&mut self, number: usize) {
        let pick = self.dice.below(9);
        let now = if self.dice.once_in(2) {
            Instant::ZERO
        } else {
            self.now
        };
        let connections = self.connections(number);
        let known = connections.get(self.dice.below(connections.len())).copied();
        let unknown = ConnectionId::new(u64::MAX);
        let host = &mut self.hosts[number];
        match (pick, known) {
            (0, _) => host.handle_timeout(now),
            (1, _) => host.handle_closed(now, unknown),
            (2, _) => {
                host.handle_eof(now, unknown);
                host.handle_lost(now, unknown, "never was".into());
                host.handle_input(now, unknown, b"of nobody");
            }
            (3, _) => host.command(now, |swarm| swarm.close(now, unknown)),
            (4, _) => {
                if let Some(attempt) = self.old_attempts[number] {
                    let late = Err(TransportError::TimedOut);
                    assert!(host.handle_dialed(now, attempt, late).is_none());
                }
            }
            (5 | 6, Some(known)) => assert_eq!(host.handle_input(now, known, &[]), 0),
            (7 | 8, Some(known)) if !host.wants_transmit(known) => {
                let mut out = Vec::new();
                host.poll_transmit(now, known, &mut out, 1000);
                assert!(out.is_empty());
            }
            _ => {
                let _ = host.poll_timeout();
            }
        }
    }

    fn turn(&mut self, number: usize) -> bool {
        let mut busy = false;
        self.clock(number);
        loop {
            let due = self.hosts[number].poll_timeout();
            let Some(event) = self.hosts[number].poll_event() else {
                break;
            };
            let announced = due.is_some_and(|at| at <= self.now);
            assert!(announced, "law 4: {event:?} waits unannounced");
            self.told(number, &event);
            (self.on_event)(&mut self.hosts[number], self.now, event);
            busy = true;
        }
        loop {
            let due = self.hosts[number].poll_timeout();
            let Some(action) = self.hosts[number].poll_action() else {
                return busy;
            };
            // What waits for a socket is a question of its own.
            let announced = due.is_some_and(|at| at <= self.now);
            let waits = matches!(action, NodeAction::Swarm(_)) && !announced;
            assert!(!waits, "law 4: {action:?} waits unannounced");
            self.act(number, action);
            busy = true;
        }
    }

    fn told(&mut self, number: usize, event: &NodeEvent<<H::Protocol as Protocol>::Event>) {
        let text = format!("{:?} {event:?}", self.now);
        self.traces[number].events.push(text);
        let NodeEvent::Connection(connection, event) = event else {
            return;
        };
        match event {
            connection::Event::Inbound { stream, .. } => {
                let key = ((number, *connection), *stream);
                self.echoes.insert(key, Default::default());
                self.tend(number, *connection, *stream);
            }
            connection::Event::Readable { stream } | connection::Event::Writable { stream } => {
                self.tend(number, *connection, *stream);
            }
            connection::Event::Reset { stream, .. } | connection::Event::Failed { stream, .. } => {
                self.echoes.remove(&((number, *connection), *stream));
                if let Some(mut view) = self.hosts[number].stream(*connection, *stream) {
                    view.release();
                }
            }
            connection::Event::Finished { stream } => {
                self.echoes.remove(&((number, *connection), *stream));
            }
            _ => {}
        }
    }

    /// Reads what there is, and echoes it on the peer's streams.
    fn tend(&mut self, number: usize, connection: ConnectionId, stream: StreamId) {
        let mut echo = self.echoes.get_mut(&((number, connection), stream));
        let Some(mut view) = self.hosts[number].stream(connection, stream) else {
            return;
        };
        loop {
            match view.read(usize::MAX) {
                Ok(Some(bytes)) => {
                    self.traces[number].received += bytes.len();
                    if let Some((waiting, _)) = &mut echo {
                        waiting.extend_from_slice(&bytes);
                    }
                }
                Ok(None) => {
                    if let Some((_, ended)) = &mut echo {
                        *ended = true;
                    }
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(_) => return,
            }
        }
        if let Some((waiting, ended)) = echo {
            while !waiting.is_empty()
                && let Ok(count) = view.write(waiting)
            {
                waiting.drain(..count);
            }
            if *ended && waiting.is_empty() {
                let _ = view.finish();
            }
        }
    }

    fn act(&mut self, number: usize, action: NodeAction) {
        match action {
            NodeAction::Swarm(action) => self.act_for_swarm(number, action),
            NodeAction::Transmit(connection) => {
                let now = self.clock(number);
                let mut out = Vec::new();
                let host = &mut self.hosts[number];
                let wanted = host.wants_transmit(connection);
                let transmit = host.poll_transmit(now, connection, &mut out, 64 * 1024);
                let stays = wanted && out.is_empty() && !transmit.shutdown && transmit.more;
                assert!(!stays, "law 4: wants to transmit, and does not");
                self.traces[number].wire.extend_from_slice(&out);
                self.traces[number].flights.push(out.len());
                self.send((number, connection), Item::Bytes(out.into()));
                if transmit.shutdown {
                    self.send((number, connection), Item::End);
                }
            }
            NodeAction::Close(connection) => {
                self.send((number, connection), Item::End);
                if let Some(other) = self.pipes.remove(&(number, connection)) {
                    self.pipes.remove(&other);
                }
                self.echoes
                    .retain(|(end, _), _| *end != (number, connection));
                let now = self.clock(number);
                self.hosts[number].handle_closed(now, connection);
            }
            other => panic!("{other:?}"),
        }
    }

    fn act_for_swarm(&mut self, number: usize, action: Action) {
        let now = self.clock(number);
        match action {
            Action::Listen { listener, address } => {
                self.listening.insert(address.clone(), number);
                let update = ListenerUpdate::Bound(address);
                self.hosts[number].command(now, |s| s.handle_listener(now, listener, update));
            }
            Action::StopListen { listener } => {
                self.listening.retain(|_, who| *who != number);
                let update = ListenerUpdate::Closed(None);
                self.hosts[number].command(now, |s| s.handle_listener(now, listener, update));
            }
            Action::Dial { attempt, address } => self.connect(number, attempt, address),
            other => self.hosts[number].command(now, |s| s.handle_unsupported(now, other)),
        }
    }

    fn connect(&mut self, number: usize, attempt: AttemptId, to: Multiaddr) {
        let other = self.listening.get(&to).copied();
        self.made = self.made.wrapping_add(1);
        let mut source = address(number);
        source.pop();
        let port = Component::Tcp(20_000 + self.made % 40_000);
        source.push(port).expect("short");
        let theirs = other.and_then(|other| {
            let point = ConnectedPoint::accepted(source, Some(to.clone()));
            let now = self.clock(other);
            let accepted = self.hosts[other].handle_accept(now, point);
            Some((other, accepted.ok()?))
        });
        let result = match theirs {
            Some(_) => Ok(ConnectedPoint::dialed(to, None)),
            None => Err(TransportError::Refused),
        };
        let now = self.clock(number);
        let ours = self.hosts[number].handle_dialed(now, attempt, result);
        self.old_attempts[number] = Some(attempt);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                self.pipes.insert((number, ours), theirs);
                self.pipes.insert(theirs, (number, ours));
            }
            (None, Some((other, theirs))) => {
                let now = self.clock(other);
                self.hosts[other].handle_lost(now, theirs, "not wanted".into());
            }
            _ => {}
        }
    }

    fn send(&mut self, from: End, item: Item) {
        let at = self.now + self.delay;
        let ended =
            |items: &VecDeque<(Instant, Item)>| matches!(items.back(), Some((_, Item::End)));
        if let Some(other) = self.pipes.get(&from) {
            let items = self.in_flight.entry(*other).or_default();
            if !ended(items) {
                items.push_back((at, item));
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let mut moved = false;
        let ends: BTreeSet<End> = self.in_flight.keys().copied().collect();
        for end in ends {
            while let Some((at, item)) = self.in_flight.get_mut(&end).and_then(VecDeque::pop_front)
            {
                let left = if at > self.now {
                    Some(item)
                } else {
                    self.hand(end, item, &mut moved)
                };
                if let Some(item) = left {
                    let items = self.in_flight.entry(end).or_default();
                    items.push_front((at, item));
                    break;
                }
            }
            if self.in_flight.get(&end).is_some_and(VecDeque::is_empty) {
                self.in_flight.remove(&end);
            }
        }
        moved
    }

    /// Gives an item to a node; what it does not take is given back.
    fn hand(&mut self, end: End, item: Item, moved: &mut bool) -> Option<Item> {
        let (number, connection) = end;
        match item {
            Item::End => {
                let now = self.clock(number);
                self.hosts[number].handle_eof(now, connection);
                *moved = true;
            }
            Item::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    let size = match &self.manner.pieces[..] {
                        [] => bytes.len(),
                        pieces => pieces[self.next_piece % pieces.len()],
                    };
                    self.next_piece = self.next_piece.wrapping_add(1);
                    let piece = bytes.slice(..size.clamp(1, bytes.len()));
                    let now = self.clock(number);
                    let taken = self.hosts[number].handle_input(now, connection, &piece);
                    if taken == 0 {
                        return Some(Item::Bytes(bytes));
                    }
                    *moved = true;
                    let _ = bytes.split_to(taken);
                }
            }
        }
        None
    }
}
