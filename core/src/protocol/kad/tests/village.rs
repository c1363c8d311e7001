//! Many machines, and messages that arrive after a while.

use crate::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        Config, Event, MemoryStore, MemoryStoreConfig, Mode, QueryId, Record, RecordKey,
        RecordStore,
        dht::{Dht, Inbound, InboundId, Moment, Output, RpcFailure, RpcId},
        store::{StoreReply, StoreRequest, StoreRequestId},
    },
    seed::Seed,
    time::{Instant, UnixTime, earliest},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use bytes::Bytes;
use core::time::Duration;

/// What is on its way to a node.
enum Travelling {
    Request {
        from: usize,
        rpc: RpcId,
        message: Bytes,
        responds: bool,
    },
    Response {
        rpc: RpcId,
        response: Result<Bytes, RpcFailure>,
    },
    Sent {
        rpc: RpcId,
    },
}

pub(super) struct Village {
    pub(super) nodes: Vec<Dht>,
    pub(super) now: Instant,
    pub(super) latency: Duration,
    numbers: BTreeMap<PeerId, usize>,
    on_the_way: BTreeMap<(Instant, u64), (usize, Travelling)>,
    sent: u64,
    answering: BTreeMap<(usize, InboundId), (usize, RpcId)>,
    pub(super) events: Vec<Vec<Event>>,
    /// Nodes that have left.
    pub(super) gone: BTreeSet<usize>,
    /// Nodes that take messages and never answer.
    pub(super) mute: BTreeSet<usize>,
    pub(super) requests: u64,
    met: BTreeSet<(usize, usize)>,
}

pub(super) fn peer(number: usize) -> PeerId {
    let mut multihash = [0; 34];
    multihash[..2].copy_from_slice(&[0x12, 0x20]);
    let digest = Seed::for_tests(number as u64).derive("peer");
    let mut rng = digest.rng();
    rand_core::Rng::fill_bytes(&mut rng, &mut multihash[2..]);
    PeerId::from_bytes(&multihash).unwrap()
}

pub(super) fn address(number: usize) -> Multiaddr {
    let (a, b, c) = (number / 65_536 % 256, number / 256 % 256, number % 256);
    format!("/ip4/{}.{a}.{b}.{c}/tcp/4001", 100 + number / 16_777_216)
        .parse()
        .unwrap()
}

impl Village {
    pub(super) fn new(count: usize, config: &Config) -> Self {
        let mut village = Self {
            nodes: Vec::new(),
            now: Instant::ZERO,
            latency: Duration::from_millis(20),
            numbers: BTreeMap::new(),
            on_the_way: BTreeMap::new(),
            sent: 0,
            answering: BTreeMap::new(),
            events: Vec::new(),
            gone: BTreeSet::new(),
            mute: BTreeSet::new(),
            requests: 0,
            met: BTreeSet::new(),
        };
        for _ in 0..count {
            village.add(config.clone());
        }
        village
    }

    pub(super) fn add(&mut self, config: Config) -> usize {
        let number = self.nodes.len();
        let store = MemoryStore::new(&peer(number), MemoryStoreConfig::default());
        let seed = Seed::for_tests(number as u64);
        let mut node = Dht::new(peer(number), config, store, &seed, self.at());
        node.set_mode(Some(Mode::Server));
        node.handle_local_addresses(self.at(), &[address(number)], &[address(number)]);
        self.nodes.push(node);
        self.events.push(Vec::new());
        self.numbers.insert(peer(number), number);
        number
    }

    pub(super) fn at(&self) -> Moment {
        Moment {
            now: self.now,
            unix: UnixTime::from_secs(1_800_000_000).saturating_add(self.now - Instant::ZERO),
        }
    }

    /// One node knows another.
    pub(super) fn introduce(&mut self, number: usize, other: usize) {
        let at = self.at();
        let _ = self.nodes[number].add_address(at, peer(other), &address(other));
        self.settle(number);
    }

    /// Each node knows the one before it, and everybody looks around.
    pub(super) fn populate(&mut self) {
        for number in 1..self.nodes.len() {
            self.introduce(number, number - 1);
        }
        self.run_for(Duration::from_secs(5));
        for number in 0..self.nodes.len() {
            let at = self.at();
            let _ = self.nodes[number].bootstrap(at);
            self.settle(number);
            self.run_for(Duration::from_secs(1));
        }
        self.run_for(Duration::from_secs(60));
        self.events.iter_mut().for_each(Vec::clear);
    }

    pub(super) fn run<R>(&mut self, number: usize, run: impl FnOnce(&mut Dht, Moment) -> R) -> R {
        let at = self.at();
        let result = run(&mut self.nodes[number], at);
        self.settle(number);
        result
    }

    fn send(&mut self, to: usize, after: Duration, what: Travelling) {
        self.sent += 1;
        self.on_the_way
            .insert((self.now + after, self.sent), (to, what));
    }

    fn settle(&mut self, number: usize) {
        while let Some(output) = self.nodes[number].poll_output() {
            match output {
                Output::Request {
                    rpc,
                    peer,
                    message,
                    responds,
                } => {
                    self.requests += 1;
                    let other = self.numbers.get(&peer).copied();
                    match other.filter(|other| !self.gone.contains(other)) {
                        Some(other) => {
                            let from = number;
                            let request = Travelling::Request {
                                from,
                                rpc,
                                message,
                                responds,
                            };
                            self.send(other, self.latency, request);
                        }
                        None => {
                            let response = Err(RpcFailure::Unreachable);
                            self.send(number, self.latency, Travelling::Response { rpc, response });
                        }
                    }
                }
                Output::Respond { to, message } => {
                    if let Some((from, rpc)) = self.answering.remove(&(number, to)) {
                        let back = match message {
                            Some(message) => Travelling::Response {
                                rpc,
                                response: Ok(message),
                            },
                            None => Travelling::Sent { rpc },
                        };
                        self.send(from, self.latency, back);
                    }
                }
                Output::Refuse { to } => {
                    if let Some((from, rpc)) = self.answering.remove(&(number, to)) {
                        let response = Err(RpcFailure::Interrupted);
                        self.send(from, self.latency, Travelling::Response { rpc, response });
                    }
                }
                Output::Event(event) => self.events[number].push(event),
                _ => {}
            }
        }
        self.nodes[number].audit().unwrap();
    }

    fn deliver(&mut self, number: usize, what: Travelling) {
        let at = self.at();
        if self.gone.contains(&number) {
            return;
        }
        match what {
            Travelling::Request {
                from,
                rpc,
                message,
                responds,
            } => {
                if !responds {
                    self.send(from, self.latency, Travelling::Sent { rpc });
                }
                if self.mute.contains(&number) {
                    return;
                }
                self.meet(from, number);
                let id = InboundId(self.sent);
                self.sent += 1;
                self.answering.insert((number, id), (from, rpc));
                let inbound = Inbound {
                    id,
                    from: peer(from),
                    connection: ConnectionId::new(from as u64),
                };
                self.nodes[number].handle_request(at, inbound, &message, &|_| Vec::new());
            }
            Travelling::Response { rpc, response } => {
                self.nodes[number].handle_response(at, rpc, response);
            }
            Travelling::Sent { rpc } => self.nodes[number].handle_sent(at, rpc),
        }
        self.settle(number);
    }

    /// A connection between two nodes, with identify on it, if there was none.
    fn meet(&mut self, from: usize, to: usize) {
        if !self.met.insert((from, to)) {
            return;
        }
        let at = self.at();
        self.nodes[from].handle_connected(at, peer(to), Some(&address(to)));
        self.nodes[from].handle_protocol(at, peer(to), true, &[address(to)]);
        self.settle(from);
        self.nodes[to].handle_connected(at, peer(from), None);
        self.nodes[to].handle_protocol(at, peer(from), true, &[address(from)]);
        self.settle(to);
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.on_the_way.first_key_value().map(|((at, _), _)| *at);
            let here = self.nodes.iter().enumerate();
            let here = here.filter(|(number, _)| !self.gone.contains(number));
            let timers = here.fold(None, |all, (_, node)| earliest(all, node.poll_timeout()));
            let Some(at) = earliest(next, timers).filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            if let Some(((at, _), _)) = self.on_the_way.first_key_value()
                && *at <= self.now
                && let Some((_, (number, what))) = self.on_the_way.pop_first()
            {
                self.deliver(number, what);
                continue;
            }
            for number in 0..self.nodes.len() {
                if self.nodes[number]
                    .poll_timeout()
                    .is_some_and(|at| at <= self.now)
                {
                    let at = self.at();
                    if self.gone.contains(&number) {
                        continue;
                    }
                    self.nodes[number].handle_timeout(at);
                    self.settle(number);
                }
            }
        }
        self.now = end;
    }

    /// Whether a node has a provider record of a key.
    pub(super) fn provides(&mut self, number: usize, key: &RecordKey) -> bool {
        let unix = self.at().unix;
        let request = StoreRequest::Providers { key: key.clone() };
        let store = self.nodes[number].store_mut();
        let reply = store.submit(StoreRequestId(0), request, unix, None);
        matches!(reply, Some(StoreReply::Providers(providers)) if !providers.is_empty())
    }

    /// What a node has under a key.
    pub(super) fn holds(&mut self, number: usize, key: &str) -> Option<Record> {
        let unix = self.at().unix;
        let request = StoreRequest::Get { key: key.into() };
        let store = self.nodes[number].store_mut();
        match store.submit(StoreRequestId(0), request, unix, None) {
            Some(StoreReply::Record(record)) => record,
            reply => panic!("{reply:?}"),
        }
    }

    /// A node has no records any more.
    pub(super) fn forget(&mut self, number: usize) {
        self.nodes[number].store_mut().retain(|_| false);
    }

    /// The last event of a query.
    pub(super) fn last(&mut self, number: usize, query: QueryId) -> Option<Event> {
        let events = &self.events[number];
        let mut last = events.iter().filter(|event| {
            matches!(event, Event::OutboundQueryProgressed { id, step, .. } if *id == query && step.last)
        });
        let event = last.next().cloned();
        assert!(last.next().is_none(), "a query ended twice");
        event
    }
}
