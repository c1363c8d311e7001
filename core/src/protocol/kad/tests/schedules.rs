//! Anything may happen in any order, and what peers send may be anything.

use super::{
    bench::{Asked, Bench, LOCAL, SECOND, quiet, response},
    stores::SlowStore,
    village::{address, peer},
};
use crate::{
    protocol::kad::{
        Config, Event, QueryId, QueryOptions, QueryResult, Quorum, Record, RecordKey,
        dht::{RpcFailure, RpcId},
        iterators::PeersIterator,
        message::{Message, MessageType, request},
    },
    time::UnixTime,
};
use bytes::Bytes;
use core::{num::NonZeroUsize, time::Duration};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::{BTreeMap, BTreeSet},
    format, vec,
    vec::Vec,
};

/// Peers there are.
const PEERS: usize = 60;

#[derive(Clone, Debug)]
enum Step {
    Begin {
        what: u8,
        key: usize,
        number: usize,
        disjoint: bool,
    },
    Finish(usize),
    GiveUp(usize),
    Answer {
        which: usize,
        closer: Vec<usize>,
        has: bool,
    },
    Garbage {
        which: usize,
        bytes: Vec<u8>,
    },
    Fail {
        which: usize,
        how: u8,
    },
    /// To a request that is over.
    Late {
        which: usize,
    },
    Pass(u64),
    Request {
        from: usize,
        what: u8,
        key: usize,
    },
    Hostile {
        from: usize,
        bytes: Vec<u8>,
    },
    Connect(usize),
    Disconnect(usize),
    Identify {
        who: usize,
        server: bool,
    },
    Unreachable(usize),
    Add(usize),
    Remove(usize),
    Release(usize),
    Slow(bool),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        vec(any::<u8>(), 0..40),
        (0..6_u8, 0..4_usize, vec(0..PEERS, 0..5)).prop_map(|(kind, number, closer)| {
            let record = Record::new(key(number), "value");
            let record = (number % 2 == 0).then_some(record);
            let kind = KINDS[usize::from(kind)];
            response(
                kind,
                key(number).as_bytes(),
                record.as_ref(),
                &closer,
                &closer,
            )
            .to_vec()
        }),
    ];
    let cut = (
        vec(fragment, 0..4),
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    );
    cut.prop_map(|(fragments, at, byte, change)| {
        let mut bytes = fragments.concat();
        if change && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

const KINDS: [MessageType; 6] = [
    MessageType::PutValue,
    MessageType::GetValue,
    MessageType::AddProvider,
    MessageType::GetProviders,
    MessageType::FindNode,
    MessageType::Ping,
];

fn steps() -> impl Strategy<Value = Step> {
    let which = || 0..100_usize;
    let who = || 0..PEERS;
    prop_oneof![
        4 => (0..7_u8, 0..4_usize, 0..5_usize, any::<bool>())
            .prop_map(|(what, key, number, disjoint)| Step::Begin { what, key, number, disjoint }),
        1 => which().prop_map(Step::Finish),
        1 => which().prop_map(Step::GiveUp),
        16 => (which(), vec(who(), 0..12), any::<bool>())
            .prop_map(|(which, closer, has)| Step::Answer { which, closer, has }),
        2 => (which(), bytes()).prop_map(|(which, bytes)| Step::Garbage { which, bytes }),
        3 => (which(), 0..5_u8).prop_map(|(which, how)| Step::Fail { which, how }),
        1 => which().prop_map(|which| Step::Late { which }),
        4 => prop_oneof![8 => 0..400_u64, 8 => 0..20_000_u64, 1 => 0..400_000_u64].prop_map(Step::Pass),
        3 => (who(), 0..6_u8, 0..4_usize).prop_map(|(from, what, key)| Step::Request { from, what, key }),
        2 => (who(), bytes()).prop_map(|(from, bytes)| Step::Hostile { from, bytes }),
        2 => who().prop_map(Step::Connect),
        1 => who().prop_map(Step::Disconnect),
        2 => (who(), any::<bool>()).prop_map(|(who, server)| Step::Identify { who, server }),
        1 => who().prop_map(Step::Unreachable),
        2 => who().prop_map(Step::Add),
        1 => who().prop_map(Step::Remove),
        3 => which().prop_map(Step::Release),
        1 => any::<bool>().prop_map(Step::Slow),
    ]
}

fn key(number: usize) -> RecordKey {
    RecordKey::from(format!("key {number}").as_str())
}

/// A machine, and what it has promised.
struct Schedule {
    bench: Bench<SlowStore>,
    begun: Vec<QueryId>,
    given_up: BTreeSet<QueryId>,
    /// What each request was, by name.
    known: BTreeMap<RpcId, Asked>,
    /// Whom a query has asked what.
    asked: BTreeSet<(QueryId, Bytes, crate::identity::PeerId)>,
    of_query: BTreeSet<RpcId>,
}

impl Schedule {
    fn new(config: Config) -> Self {
        Self {
            bench: Bench::with_store(config, SlowStore::new()),
            begun: Vec::new(),
            given_up: BTreeSet::new(),
            known: BTreeMap::new(),
            asked: BTreeSet::new(),
            of_query: BTreeSet::new(),
        }
    }

    fn begin(&mut self, what: u8, number: usize, wanted: usize, disjoint: bool) {
        let mut options = QueryOptions::new().disjoint_paths(disjoint);
        options.num_results = NonZeroUsize::new(wanted);
        options.quorum = NonZeroUsize::new(wanted);
        options.count = NonZeroUsize::new(wanted);
        let record = Record::new(key(number), format!("value {wanted}"));
        let quorum = match wanted {
            0 => Quorum::One,
            1 => Quorum::Majority,
            2 => Quorum::All,
            3 => Quorum::AllFound,
            _ => Quorum::N(NonZeroUsize::MIN),
        };
        let begun = self.bench.run(|dht, at| match what {
            0 => dht.get_closest_peers(at, key(number).as_bytes(), options),
            1 => dht.get_record(at, key(number), options),
            2 => dht.get_providers(at, key(number), options),
            3 => dht.put_record(at, record, quorum, options),
            4 => dht.put_record_to(
                at,
                record,
                (0..wanted * 3).map(peer).chain([peer(LOCAL)]),
                quorum,
            ),
            5 => dht.start_providing(at, key(number)),
            _ => dht.bootstrap(at),
        });
        if let Ok(id) = begun {
            assert!(!self.begun.contains(&id), "a name was used twice");
            self.begun.push(id);
        }
    }

    fn reply(&mut self, which: usize, closer: &[usize], has: bool) {
        if self.bench.asked.is_empty() {
            return;
        }
        let asked = self.bench.asked.remove(which % self.bench.asked.len());
        if !asked.responds {
            return self.bench.run(|dht, at| dht.handle_sent(at, asked.rpc));
        }
        let message = Message::decode(&asked.message).unwrap();
        let record = match message.kind {
            MessageType::PutValue => message
                .record
                .map(|record| record.to_record(UnixTime::from_secs(0))),
            MessageType::GetValue => {
                has.then(|| Record::new(RecordKey::copy_from_slice(message.key), "value"))
            }
            _ => None,
        };
        let record = record.map(|record| Record::new(record.key, record.value));
        let providers = if has { closer } else { &[] };
        let answer = response(
            message.kind,
            message.key,
            record.as_ref(),
            providers,
            closer,
        );
        self.bench
            .run(|dht, at| dht.handle_response(at, asked.rpc, Ok(answer)));
    }

    fn fail(&mut self, which: usize, how: u8) {
        if self.bench.asked.is_empty() {
            return;
        }
        let asked = self.bench.asked.remove(which % self.bench.asked.len());
        let failure = match how {
            0 => RpcFailure::Unreachable,
            1 => RpcFailure::Unsupported,
            2 => RpcFailure::Interrupted,
            3 => RpcFailure::TooLarge,
            _ => RpcFailure::Busy,
        };
        self.bench
            .run(|dht, at| dht.handle_response(at, asked.rpc, Err(failure)));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin {
                what,
                key,
                number,
                disjoint,
            } => self.begin(what, key, number, disjoint),
            Step::Finish(which) => {
                let running: Vec<_> = self.bench.dht.queries().map(|query| query.id()).collect();
                if let Some(id) = running.get(which % running.len().max(1)) {
                    self.bench.run(|dht, _| dht.query_mut(id).unwrap().finish());
                }
            }
            Step::GiveUp(which) => {
                let running: Vec<_> = self.bench.dht.queries().map(|query| query.id()).collect();
                if let Some(id) = running.get(which % running.len().max(1)) {
                    assert!(self.bench.run(|dht, _| dht.give_up(id)));
                    self.given_up.insert(*id);
                }
            }
            Step::Answer { which, closer, has } => self.reply(which, &closer, has),
            Step::Garbage { which, bytes } => {
                if !self.bench.asked.is_empty() {
                    let asked = self.bench.asked.remove(which % self.bench.asked.len());
                    self.bench
                        .run(|dht, at| dht.handle_response(at, asked.rpc, Ok(bytes.into())));
                }
            }
            Step::Fail { which, how } => self.fail(which, how),
            Step::Late { which } => {
                let open: BTreeSet<_> = self.bench.asked.iter().map(|asked| asked.rpc).collect();
                let over: Vec<_> = self
                    .known
                    .values()
                    .filter(|asked| !open.contains(&asked.rpc))
                    .collect();
                if let Some(asked) = over.get(which % over.len().max(1)) {
                    let rpc = asked.rpc;
                    let before = self.bench.events.len();
                    self.bench
                        .run(|dht, at| dht.handle_response(at, rpc, Ok(Bytes::new())));
                    self.bench.run(|dht, at| dht.handle_sent(at, rpc));
                    assert_eq!(self.bench.events.len(), before, "what is over matters");
                }
            }
            Step::Pass(millis) => self.bench.pass(Duration::from_millis(millis)),
            Step::Request {
                from,
                what,
                key: number,
            } => self.ask(from, what, number),
            Step::Hostile { from, bytes } => drop(self.bench.request(from, bytes)),
            Step::Connect(who) => self.bench.connect(who),
            Step::Disconnect(who) => self.gone(who, true),
            Step::Unreachable(who) => self.gone(who, false),
            Step::Identify { who, server } => self.bench.run(|dht, at| {
                dht.handle_protocol(at, peer(who), server, &[address(who)]);
            }),
            Step::Add(who) => {
                let _ = self
                    .bench
                    .run(|dht, at| dht.add_address(at, peer(who), &address(who)));
            }
            Step::Remove(who) => drop(self.bench.run(|dht, _| dht.remove_peer(&peer(who)))),
            Step::Release(which) => {
                self.bench.dht.store_mut().release(which);
                self.bench.pass(Duration::ZERO);
            }
            Step::Slow(slow) => self.bench.dht.store_mut().slow = slow,
        }
        self.check();
    }

    /// A connection is gone, and its requests are asked anew; or the peer is, and with it what was open to it.
    fn gone(&mut self, who: usize, disconnected: bool) {
        if disconnected {
            return self
                .bench
                .run(|dht, at| dht.handle_disconnected(at, &peer(who)));
        }
        self.bench.asked.retain(|asked| asked.peer != peer(who));
        self.bench
            .run(|dht, at| dht.handle_unreachable(at, &peer(who)));
    }

    fn ask(&mut self, from: usize, what: u8, number: usize) {
        let (key, mut message) = (key(number), Vec::new());
        let now = self.bench.at().unix;
        match what {
            0 => request::find_node(&mut message, key.as_bytes()),
            1 => request::get_value(&mut message, key.as_bytes()),
            2 => request::get_providers(&mut message, key.as_bytes()),
            3 => request::put_value(&mut message, &Record::new(key, "of a peer"), now, None),
            4 => request::add_provider(
                &mut message,
                key.as_bytes(),
                &peer(from),
                [address(from).as_bytes()],
            ),
            _ => request::ping(&mut message),
        }
        self.bench.request(from, message);
    }

    fn check(&mut self) {
        for asked in &self.bench.asked {
            self.known.entry(asked.rpc).or_insert_with(|| asked.clone());
        }
        for running in self.bench.dht.queries() {
            let (id, query) = (running.id(), running.query);
            for flight in &query.in_flight {
                if self.of_query.insert(flight.rpc) {
                    let asked = &self.known[&flight.rpc];
                    let new = self.asked.insert((id, asked.message.clone(), asked.peer));
                    assert!(new, "{id} has asked a peer twice");
                }
            }
            let config = self.bench.dht.config();
            let results = query
                .options
                .num_results
                .unwrap_or(config.replication_factor);
            let most = config.parallelism.max(results).get();
            let fixed = matches!(query.peers, PeersIterator::Fixed(_));
            assert!(
                fixed || query.peers.num_waiting() <= most,
                "too many at a time"
            );
            // What is finished does not notice that those it asked have answered: a path, or a lookup that waits for the store.
            let disjoint = matches!(query.peers, PeersIterator::Disjoint(_));
            assert!(
                disjoint
                    || query.awaits_store
                    || query.peers.num_waiting() <= query.in_flight.len()
            );
            let stats = running.stats();
            assert!(stats.num_pending() as usize >= query.in_flight.len());
        }
    }

    /// Time goes on, and nothing else happens: everything ends.
    fn end(mut self) {
        while self.bench.dht.store().held() > 0 {
            self.bench.dht.store_mut().release(0);
            self.bench.pass(Duration::ZERO);
        }
        for _ in 0..3000 {
            if self.bench.dht.queries().next().is_none() {
                break;
            }
            self.bench.pass(10 * SECOND);
            while self.bench.dht.store().held() > 0 {
                self.bench.dht.store_mut().release(0);
                self.bench.pass(Duration::ZERO);
            }
            self.check();
        }
        self.bench.pass(100 * SECOND);
        self.check_end();
        let answered: BTreeSet<_> = self.bench.answers.iter().map(|(to, _)| *to).collect();
        assert_eq!(answered.len(), self.bench.answers.len(), "answered twice");
        assert_eq!(answered.len() as u64, self.bench.requests(), "not answered");
    }

    /// What goes on in the background ends when the node does.
    fn stop(mut self) {
        self.bench.pass(1_000 * SECOND);
        self.check();
        self.bench.run(|dht, at| dht.stop(at));
        while self.bench.dht.store().held() > 0 {
            self.bench.dht.store_mut().release(0);
            self.bench.pass(Duration::ZERO);
        }
        self.bench.pass(1_000 * SECOND);
        // Those who asked lose their connections.
        self.check_end();
    }

    fn check_end(&self) {
        let timeout = self.bench.dht.config().query_timeout;
        for id in &self.begun {
            assert!(self.bench.dht.query(id).is_none(), "{id} runs");
            let over = self.bench.is_over(*id);
            assert!(
                over != self.given_up.contains(id),
                "{id}: {:?}",
                self.bench.results(*id)
            );
        }
        for event in &self.bench.events {
            if let Event::OutboundQueryProgressed { result, stats, .. } = event {
                let whole = !matches!(result, QueryResult::Bootstrap(_));
                assert!(!whole || stats.duration().unwrap() <= timeout, "{event:?}");
            }
        }
        assert_eq!(self.bench.dht.leftovers(), [0; 3]);
        assert!(
            self.bench.asked.is_empty(),
            "a request that nobody wants: {:?}",
            self.bench.asked
        );
    }
}

fn config(small: bool) -> Config {
    let mut config = quiet();
    config.entry_correction = true;
    if small {
        config.kbucket_size = NonZeroUsize::new(2).unwrap();
        config.parallelism = NonZeroUsize::new(3).unwrap();
        config.replication_factor = NonZeroUsize::new(4).unwrap();
        config.max_queries = 6;
        config.max_store_requests = 5;
    }
    config
}

/// With everything that happens by itself, and often.
fn busy(small: bool) -> Config {
    let mut config = config(small);
    config.periodic_bootstrap_interval = Some(100 * SECOND);
    config.automatic_bootstrap_throttle = Some(SECOND / 2);
    config.liveness_interval = Some(40 * SECOND);
    config.sweep_interval = Some(30 * SECOND);
    config.replication_interval = Some(60 * SECOND);
    config.publication_interval = Some(200 * SECOND);
    config.provider_publication_interval = Some(150 * SECOND);
    config.record_ttl = Some(500 * SECOND);
    config.optimistic_provide = true;
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Nodes in use have jobs, look whether peers are there, bootstrap, and announce early, amid all the rest.
    #[test]
    fn every_busy_schedule_ends_as_it_should(small in any::<bool>(), all in vec(steps(), 1..150)) {
        let mut schedule = Schedule::new(busy(small));
        for step in all {
            schedule.step(step);
            if let Err(broken) = schedule.bench.dht.audit() {
                panic!("{broken}");
            }
        }
        schedule.stop();
    }

    #[test]
    fn every_schedule_ends_as_it_should(small in any::<bool>(), all in vec(steps(), 1..150)) {
        let mut schedule = Schedule::new(config(small));
        for step in all {
            schedule.step(step);
        }
        schedule.end();
    }

    /// The same steps have the same outputs: no time but that given, no randomness but that of the seed.
    #[test]
    fn the_same_schedule_does_the_same(all in vec(steps(), 1..80)) {
        let [one, other] = [(); 2].map(|()| {
            let mut schedule = Schedule::new(config(false));
            all.iter().cloned().for_each(|step| schedule.step(step));
            (schedule.bench.events, format!("{:?}", schedule.bench.asked), schedule.bench.answers)
        });
        prop_assert_eq!(one, other);
    }

    /// Whatever peers send, as requests and as responses.
    #[test]
    fn no_bytes_of_a_peer_do_harm(requests in vec((0..PEERS, bytes()), 0..20), responses in vec(bytes(), 0..60)) {
        let mut bench = Bench::new(config(false));
        bench.know(0..15);
        for (from, bytes) in requests {
            let answer = bench.request(from, bytes);
            prop_assert!(answer.is_some());
        }
        for what in 0..6 {
            bench.run(|dht, at| match what {
                0 => dht.get_closest_peers(at, b"key", QueryOptions::new()),
                1 => dht.get_record(at, key(1), QueryOptions::new()),
                2 => dht.get_providers(at, key(1), QueryOptions::new()),
                3 => dht.put_record(at, Record::new(key(1), "value"), Quorum::All, QueryOptions::new()),
                4 => dht.start_providing(at, key(1)),
                _ => dht.bootstrap(at),
            }).unwrap();
        }
        for (number, response) in responses.into_iter().enumerate() {
            if bench.asked.is_empty() {
                break;
            }
            let asked = bench.asked.remove(number * 7 % bench.asked.len());
            bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(response.into())));
        }
        bench.serve(|_| None);
        bench.pass(600 * SECOND);
        bench.serve(|_| None);
        prop_assert_eq!(bench.dht.queries().count(), 0);
        prop_assert_eq!(bench.dht.leftovers(), [0; 3]);
    }
}
