//! One machine, and everything around it played by the test.

use super::village::{address, peer};
use crate::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::kad::{
        Config, Event, InvalidRecord, MemoryStore, MemoryStoreConfig, Mode, QueryId, QueryResult,
        Record, RecordKey, RecordStore, Validator,
        dht::{Dht, Inbound, InboundId, Moment, Output, RpcFailure, RpcId},
        message::{ConnectionType, Message, MessageType, ResponseWriter},
        store::{Origin, StoreReply, StoreRequest, StoreRequestId},
        validator::AcceptAll,
    },
    seed::Seed,
    time::{Instant, UnixTime},
};
use alloc::{sync::Arc, vec::Vec};
use bytes::Bytes;
use core::time::Duration;
use std::format;

/// The machine's own number.
pub(super) const LOCAL: usize = 1_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A request to a peer that has had no answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) rpc: RpcId,
    pub(super) peer: PeerId,
    pub(super) message: Bytes,
    pub(super) responds: bool,
}

/// What a peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Refused,
    /// There is no response, and nothing is wrong.
    Taken,
    Response(Bytes),
}

pub(super) struct Bench<S = MemoryStore> {
    pub(super) dht: Dht<S>,
    pub(super) now: Instant,
    pub(super) asked: Vec<Asked>,
    pub(super) cancelled: Vec<RpcId>,
    pub(super) events: Vec<Event>,
    pub(super) answers: Vec<(InboundId, Answer)>,
    pub(super) modes: Vec<Mode>,
    inbound: u64,
}

/// Settings under which nothing happens by itself.
pub(super) fn quiet() -> Config {
    let mut config = Config::new(ProtocolName::from_static("/test/kad/1"));
    config.periodic_bootstrap_interval = None;
    config.automatic_bootstrap_throttle = None;
    config.liveness_interval = None;
    config.sweep_interval = None;
    config.replication_interval = None;
    config.publication_interval = None;
    config.provider_publication_interval = None;
    config
}

/// The same with room for everybody in the table.
pub(super) fn roomy() -> Config {
    let mut config = quiet();
    config.kbucket_size = core::num::NonZeroUsize::new(256).unwrap();
    config
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        let store = MemoryStore::new(&peer(LOCAL), MemoryStoreConfig::default());
        Self::with_store(config, store)
    }

    /// What the store has under a key.
    pub(super) fn stored(&mut self, key: &str) -> Option<Record> {
        let get = StoreRequest::Get { key: key.into() };
        match self.submit(get) {
            StoreReply::Record(record) => record,
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn submit(&mut self, request: StoreRequest) -> StoreReply {
        let unix = self.at().unix;
        let store = self.dht.store_mut();
        store
            .submit(StoreRequestId(u64::MAX), request, unix, None)
            .unwrap()
    }

    /// Puts a record into the store past the machine.
    pub(super) fn store(&mut self, record: Record, origin: Origin) {
        let validator = Arc::new(AcceptAll);
        let put = StoreRequest::Put {
            record,
            origin,
            validator,
        };
        assert_eq!(self.submit(put), StoreReply::Put(Ok(())));
    }
}

impl<S: RecordStore> Bench<S> {
    pub(super) fn with_store(config: Config, store: S) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000_000);
        let at = moment(now);
        let seed = Seed::for_tests(LOCAL as u64);
        let mut dht = Dht::new(peer(LOCAL), config, store, &seed, at);
        dht.set_mode(Some(Mode::Server));
        dht.handle_local_addresses(at, &[address(LOCAL)], &[address(LOCAL)]);
        let mut bench = Self {
            dht,
            now,
            asked: Vec::new(),
            cancelled: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            modes: Vec::new(),
            inbound: 0,
        };
        bench.settle();
        bench
    }

    pub(super) fn at(&self) -> Moment {
        moment(self.now)
    }

    /// Does something with the machine, and what follows from it.
    pub(super) fn run<R>(&mut self, run: impl FnOnce(&mut Dht<S>, Moment) -> R) -> R {
        let at = self.at();
        let result = run(&mut self.dht, at);
        self.settle();
        result
    }

    fn settle(&mut self) {
        while let Some(output) = self.dht.poll_output() {
            match output {
                Output::Request {
                    rpc,
                    peer,
                    message,
                    responds,
                } => self.asked.push(Asked {
                    rpc,
                    peer,
                    message,
                    responds,
                }),
                Output::Cancel { rpc } => {
                    let before = self.asked.len();
                    self.asked.retain(|asked| asked.rpc != rpc);
                    assert_eq!(before, self.asked.len() + 1, "cancelled what was over");
                    self.cancelled.push(rpc);
                }
                Output::Respond { to, message } => {
                    let answer = message.map_or(Answer::Taken, Answer::Response);
                    self.answers.push((to, answer));
                }
                Output::Refuse { to } => self.answers.push((to, Answer::Refused)),
                Output::Mode(mode) => self.modes.push(mode),
                Output::Event(event) => self.events.push(event),
            }
        }
        self.dht.audit().unwrap();
    }

    /// Lets time pass, with everything that is due in it.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while let Some(next) = self.dht.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.run(Dht::handle_timeout);
            steps += 1;
            assert!(steps < 100_000, "time stands still");
        }
        self.now = end;
    }

    /// Peers with these numbers are in the table.
    pub(super) fn know(&mut self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            let _ = self.run(|dht, at| dht.add_address(at, peer(number), &address(number)));
            assert!(self.dht.table().contains(&peer(number)), "{number}");
        }
    }

    /// There is a connection to a peer, which this node dialed.
    pub(super) fn connect(&mut self, number: usize) {
        self.run(|dht, at| dht.handle_connected(at, peer(number), Some(&address(number))));
    }

    /// A peer says that it is a server.
    pub(super) fn identify(&mut self, number: usize) {
        self.run(|dht, at| dht.handle_protocol(at, peer(number), true, &[address(number)]));
    }

    /// The first open request to a peer.
    pub(super) fn take(&mut self, number: usize) -> Asked {
        let at = self.asked.iter().position(|a| a.peer == peer(number));
        self.asked
            .remove(at.unwrap_or_else(|| panic!("{number} was not asked")))
    }

    pub(super) fn is_asked(&self, number: usize) -> bool {
        self.asked.iter().any(|asked| asked.peer == peer(number))
    }

    /// A peer answers.
    pub(super) fn answer(&mut self, number: usize, message: Bytes) {
        let asked = self.take(number);
        assert!(asked.responds);
        self.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(message)));
    }

    pub(super) fn fail(&mut self, number: usize, failure: RpcFailure) {
        let asked = self.take(number);
        self.run(|dht, at| dht.handle_response(at, asked.rpc, Err(failure)));
    }

    /// A peer has been sent what has no response.
    pub(super) fn sent(&mut self, number: usize) {
        let asked = self.take(number);
        assert!(!asked.responds);
        self.run(|dht, at| dht.handle_sent(at, asked.rpc));
    }

    /// Every open request is answered, until there is none: with what `answer` says, or by a failure. Requests without a
    /// response are sent.
    pub(super) fn serve(&mut self, mut answer: impl FnMut(&Asked) -> Option<Bytes>) {
        while !self.asked.is_empty() {
            let asked = self.asked.remove(0);
            if !asked.responds {
                self.run(|dht, at| dht.handle_sent(at, asked.rpc));
                continue;
            }
            let response = answer(&asked).ok_or(RpcFailure::Unreachable);
            self.run(|dht, at| dht.handle_response(at, asked.rpc, response));
        }
    }

    /// A request of a peer; what it is told at once.
    pub(super) fn request(&mut self, from: usize, message: impl Into<Bytes>) -> Option<Answer> {
        self.request_with(from, message, &|_| Vec::new())
    }

    pub(super) fn request_with(
        &mut self,
        from: usize,
        message: impl Into<Bytes>,
        addresses_of: &dyn Fn(&PeerId) -> Vec<Multiaddr>,
    ) -> Option<Answer> {
        let id = InboundId(self.inbound);
        self.inbound += 1;
        let inbound = Inbound {
            id,
            from: peer(from),
            connection: ConnectionId::new(from as u64),
        };
        let message = message.into();
        self.run(|dht, at| dht.handle_request(at, inbound, &message, addresses_of));
        let mut answers = self.answers.iter().filter(|(to, _)| *to == id);
        let answer = answers.next().map(|(_, answer)| answer.clone());
        assert!(answers.next().is_none(), "answered twice");
        answer
    }

    /// How many requests of peers there were.
    pub(super) const fn requests(&self) -> u64 {
        self.inbound
    }

    /// What a query has told so far, and whether that was the last.
    pub(super) fn results(&self, query: QueryId) -> Vec<(QueryResult, bool)> {
        let events = self.events.iter().filter_map(|event| match event {
            Event::OutboundQueryProgressed {
                id, result, step, ..
            } if *id == query => Some((result.clone(), step.last)),
            _ => None,
        });
        let results: Vec<_> = events.collect();
        let ends = results.iter().filter(|(_, last)| *last).count();
        assert!(
            ends == 0 || (ends == 1 && results.last().unwrap().1),
            "{results:?}"
        );
        results
    }

    /// What a query ended with.
    pub(super) fn end(&self, query: QueryId) -> QueryResult {
        let Some((result, true)) = self.results(query).pop() else {
            panic!("has not ended: {:?}", self.results(query))
        };
        result
    }

    pub(super) fn is_over(&self, query: QueryId) -> bool {
        self.results(query).last().is_some_and(|(_, last)| *last)
    }
}

fn moment(now: Instant) -> Moment {
    let unix = UnixTime::from_secs(1_800_000_000).saturating_add(now - Instant::ZERO);
    Moment { now, unix }
}

/// The type and the key of a request.
pub(super) fn kind(asked: &Asked) -> (MessageType, Vec<u8>) {
    let message = Message::decode(&asked.message).unwrap();
    (message.kind, message.key.to_vec())
}

/// A response that names closer peers.
pub(super) fn closer(kind: MessageType, numbers: &[usize]) -> Bytes {
    response(kind, b"", None, &[], numbers)
}

/// The response to a get of a value.
pub(super) fn value(key: &str, value: &str, numbers: &[usize]) -> Bytes {
    let record = Record::new(
        RecordKey::from(key),
        Bytes::copy_from_slice(value.as_bytes()),
    );
    response(
        MessageType::GetValue,
        key.as_bytes(),
        Some(&record),
        &[],
        numbers,
    )
}

/// The response to a get of providers.
pub(super) fn providers(key: &str, providers: &[usize], numbers: &[usize]) -> Bytes {
    response(
        MessageType::GetProviders,
        key.as_bytes(),
        None,
        providers,
        numbers,
    )
}

pub(super) fn response(
    kind: MessageType,
    key: &[u8],
    record: Option<&Record>,
    providers: &[usize],
    closer: &[usize],
) -> Bytes {
    let mut out = Vec::new();
    let mut response = ResponseWriter::new(&mut out, usize::MAX, kind, key);
    if let Some(record) = record {
        assert!(response.record(record, UnixTime::from_secs(1_801_000_000), None));
    }
    for number in closer {
        response.closer_peer(
            &peer(*number),
            [address(*number)],
            ConnectionType::Connected,
        );
    }
    for number in providers {
        response.provider_peer(
            &peer(*number),
            [address(*number)],
            ConnectionType::Connected,
        );
    }
    out.into()
}

/// What a good peer answers to a put.
pub(super) fn echo(request: &Bytes) -> Bytes {
    let message = Message::decode(request).unwrap();
    assert_eq!(message.kind, MessageType::PutValue);
    let record = message.record.unwrap().to_record(UnixTime::from_secs(0));
    let plain = Record::new(record.key, record.value);
    response(MessageType::PutValue, message.key, Some(&plain), &[], &[])
}

/// The closer peers and the providers that a response names, by number below `count`.
pub(super) fn named(answer: Option<Answer>, count: usize) -> (Vec<usize>, Vec<usize>) {
    let Some(Answer::Response(message)) = answer else {
        panic!("no response: {answer:?}")
    };
    let message = Message::decode(&message).unwrap();
    let number = |peer_id: PeerId| {
        let all = (0..count).chain([LOCAL]);
        all.into_iter()
            .find(|number| peer(*number) == peer_id)
            .unwrap()
    };
    (
        message
            .closer_peers()
            .map(|told| number(told.peer))
            .collect(),
        message
            .provider_peers()
            .map(|told| number(told.peer))
            .collect(),
    )
}

/// These numbers, the closest to a key first.
pub(super) fn by_distance(numbers: impl IntoIterator<Item = usize>, key: &[u8]) -> Vec<usize> {
    let target = crate::protocol::kad::Key::of(key);
    let mut all: Vec<_> = numbers.into_iter().collect();
    all.sort_by_key(|number| crate::protocol::kad::Key::of_peer(&peer(*number)).distance(&target));
    all
}

/// Values are numbers, the greatest is the best.
#[derive(Debug)]
pub(super) struct Greatest;

impl Validator for Greatest {
    fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        let text = core::str::from_utf8(value).ok();
        let number = text.and_then(|text| text.parse::<u64>().ok());
        number.map(drop).ok_or(InvalidRecord::Refused("no number"))
    }

    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        let number = |value: &&[u8]| core::str::from_utf8(value).unwrap().parse::<u64>().unwrap();
        let numbers: Vec<_> = values.iter().map(number).collect();
        let best = numbers.iter().max().unwrap();
        numbers.iter().position(|number| number == best).unwrap()
    }
}

pub(super) fn greatest() -> Config {
    let mut config = quiet();
    config.validator = Arc::new(Greatest);
    config
}

/// A key for each number.
pub(super) fn key(number: usize) -> RecordKey {
    RecordKey::from(format!("key {number}").as_str())
}
