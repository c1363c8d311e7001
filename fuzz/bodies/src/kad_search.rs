//! Targets of Kademlia's parts that keep no streams: the routing table, and the iterators of queries.

use crate::input::Input;
use drywire::identity::PeerId;
use drywire::multiaddr::Multiaddr;
use drywire::protocol::kad::iterators::{
    ClosestConfig, ClosestPeers, DisjointPeers, FixedPeers, PeersIterator, Step, Termination,
};
use drywire::protocol::kad::table::{
    DiversityLimits, Entry, Insert, Removed, RoutingTable, Status, TableConfig,
};
use drywire::protocol::kad::{Distance, Key};
use drywire::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

fn peer(number: u8) -> PeerId {
    let mut bytes = [0; 34];
    (bytes[0], bytes[1], bytes[33]) = (0x12, 32, number);
    PeerId::from_bytes(&bytes).unwrap()
}

fn count(input: &mut Input<'_>, most: u8) -> NonZeroUsize {
    NonZeroUsize::new(usize::from(input.byte() % most) + 1).unwrap()
}

/// The node whose table it is.
const LOCAL: u8 = u8::MAX;

/// The routing table: any operations on 32 peers and this node itself. Who is in it is what the answers have told;
/// buckets, groups, addresses and order keep their rules; nobody alive loses a place to another.
pub fn kad_table(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = TableBench::new(&mut input);
    for _ in 0..512 {
        if input.is_empty() {
            break;
        }
        bench.operate(&mut input);
        bench.check();
    }
}

struct TableBench {
    table: RoutingTable,
    config: TableConfig,
    now: Instant,
    members: BTreeSet<PeerId>,
    /// When peers, members or not, last answered, and have not failed since.
    answered: BTreeMap<PeerId, Instant>,
}

impl TableBench {
    fn new(input: &mut Input<'_>) -> Self {
        let mut config = TableConfig::default();
        config.bucket_size = count(input, 5);
        config.max_addresses = usize::from(input.byte() % 5);
        config.max_failures = u32::from(input.byte() % 4);
        config.liveness = Duration::from_secs((input.byte() % 100).into());
        config.diversity = (!input.byte().is_multiple_of(4)).then(|| {
            let mut limits = DiversityLimits::default();
            limits.per_table = usize::from(input.byte() % 5);
            limits.per_bucket = usize::from(input.byte() % 3);
            limits
        });
        Self {
            table: RoutingTable::new(Key::of_peer(&peer(LOCAL)), config.clone()),
            config,
            now: Instant::from_nanos(1_000_000_000),
            members: BTreeSet::new(),
            answered: BTreeMap::new(),
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        let number = input.byte() % 33;
        let who = peer(if number == 32 { LOCAL } else { number });
        let status = if operation & 0x80 == 0 {
            Status::Connected
        } else {
            Status::Disconnected
        };
        match operation % 12 {
            0..=2 => self.insert(who, status, input),
            3 => self.table.set_status(self.now, &who, status),
            4 => {
                let address = address(input, &who);
                self.table.add_address(&who, &address);
            }
            5 => {
                let address = address(input, &who);
                self.table.confirm_address(&who, &address);
            }
            6 => {
                let (old, new) = (address(input, &who), address(input, &who));
                self.table.replace_address(&who, &old, &new);
            }
            7 => self.lose_address(&who, status, input),
            8 => {
                let known = self.members.remove(&who) || self.table.pending(&who).is_some();
                assert_eq!(self.table.remove(&who).is_some(), known);
            }
            9 => {
                self.table.succeeded(&who, self.now);
                if self.is_known(&who) {
                    self.answered.insert(who, self.now);
                }
            }
            10 => {
                let failures = self.table.get(&who).map(Entry::failures);
                self.answered.remove(&who);
                if let Some(gone) = self.table.failed(&who, self.now) {
                    assert!(*gone.peer() == who && gone.failures() >= self.config.max_failures);
                    self.members.remove(&who);
                } else if let Some(before) = failures {
                    assert!(
                        self.table
                            .get(&who)
                            .is_some_and(|entry| entry.failures() >= before.max(1))
                    );
                }
            }
            _ => {
                self.now = self.now + Duration::from_secs(number.into());
                self.apply();
            }
        }
        self.answered
            .retain(|peer, _| self.table.contains(peer) || self.table.pending(peer).is_some());
    }

    fn is_known(&self, who: &PeerId) -> bool {
        self.table.contains(who) || self.table.pending(who).is_some()
    }

    fn insert(&mut self, who: PeerId, status: Status, input: &mut Input<'_>) {
        let addresses: Vec<_> = (0..input.byte() % 4)
            .map(|_| address(input, &who))
            .collect();
        let was_pending = self.table.pending(&who).is_some();
        match self.table.insert(self.now, who, &addresses, status) {
            Insert::Added => assert!(self.members.insert(who)),
            Insert::Updated { .. } => assert!(self.members.contains(&who)),
            Insert::Pending { probe } => {
                assert!(!self.members.contains(&who) && self.table.pending(&who).is_some());
                if !was_pending {
                    assert!(!self.is_live(self.table.get(&probe).unwrap()));
                    let deadline = self.table.next_deadline().unwrap();
                    assert!(deadline <= self.now + self.config.pending_timeout);
                }
            }
            Insert::Own => assert_eq!(who, peer(LOCAL)),
            Insert::Full | Insert::TooMany | Insert::NoAddress => {
                assert!(!self.is_known(&who));
            }
        }
    }

    fn lose_address(&mut self, who: &PeerId, status: Status, input: &mut Input<'_>) {
        let address = address(input, who);
        if status == Status::Connected {
            self.table.address_failed(who, &address);
        } else if let Removed::Peer(entry) = self.table.remove_address(who, &address) {
            assert_eq!(entry.peer(), who);
            self.members.remove(who);
        }
    }

    fn is_live(&self, entry: &Entry) -> bool {
        let answered = self.answered.get(entry.peer());
        entry.status() == Status::Connected
            || answered.is_some_and(|at| self.now - *at < self.config.liveness)
    }

    fn apply(&mut self) {
        let before = self.table.clone();
        while let Some(applied) = self.table.apply_pending(self.now) {
            assert!(before.pending(&applied.inserted).is_some());
            assert!(self.members.insert(applied.inserted));
            if let Some(gone) = applied.evicted {
                assert!(
                    !self.is_live(before.get(gone.peer()).unwrap()),
                    "it was alive"
                );
                assert!(self.members.remove(gone.peer()));
            }
        }
        assert!(
            self.table
                .next_deadline()
                .is_none_or(|next| next > self.now)
        );
    }

    fn check(&self) {
        let own = *self.table.local();
        let all: Vec<_> = self.table.iter().collect();
        assert!(
            all.iter()
                .map(|entry| *entry.peer())
                .collect::<BTreeSet<_>>()
                == self.members
        );
        assert_eq!(
            (all.len(), self.table.is_empty()),
            (self.table.len(), self.members.is_empty())
        );
        let mut networks: BTreeMap<[u8; 2], usize> = BTreeMap::new();
        for bucket in self.table.buckets() {
            assert!(bucket.len() <= self.config.bucket_size.get());
            let mut in_bucket: BTreeMap<[u8; 2], usize> = BTreeMap::new();
            for entry in &bucket {
                assert!(bucket.contains(&own.distance(&Key::of_peer(entry.peer()))));
                let addresses: BTreeSet<_> = entry.addresses().iter().collect();
                assert!(!addresses.is_empty() && addresses.len() == entry.addresses().len());
                assert!(addresses.len() <= self.config.max_addresses.max(1));
                assert!(addresses.iter().all(|address| address.peer_id().is_none()));
                for network in addresses
                    .into_iter()
                    .filter_map(network)
                    .collect::<BTreeSet<_>>()
                {
                    *in_bucket.entry(network).or_default() += 1;
                    *networks.entry(network).or_default() += 1;
                }
            }
            let sorted = bucket
                .iter()
                .is_sorted_by_key(|entry| entry.status() == Status::Connected);
            assert!(sorted, "disconnected ones come first");
            if let Some(limits) = self.config.diversity {
                assert!(in_bucket.values().all(|count| *count <= limits.per_bucket));
            }
        }
        if let Some(limits) = self.config.diversity {
            assert!(networks.values().all(|count| *count <= limits.per_table));
        }
        let target = Key::of(&[u8::try_from(all.len()).unwrap()]);
        let far = |entry: &&Entry| entry.position().distance(&target);
        let mut sorted = all;
        sorted.sort_by_key(far);
        let closer = sorted
            .iter()
            .filter(|entry| far(entry) < own.distance(&target))
            .count();
        assert_eq!(self.table.count_between(&target), closer);
        assert!(self.table.closest(&target).eq(sorted));
    }
}

/// One of a few addresses: of three networks, of none, with and without the peer.
fn address(input: &mut Input<'_>, of: &PeerId) -> Multiaddr {
    let choice = input.byte();
    let last = choice >> 6;
    let plain: Multiaddr = match choice % 5 {
        network @ 0..3 => format!("/ip4/8.{network}.0.{last}/tcp/1"),
        3 => format!("/ip4/10.0.0.{last}/udp/1/quic-v1"),
        _ => format!("/dns/host{last}.libp2p.io/tcp/1"),
    }
    .parse()
    .unwrap();
    match choice >> 3 & 7 {
        0 => plain.with_peer_id(*of).unwrap(),
        1 => plain.with_peer_id(peer(77)).unwrap(),
        _ => plain,
    }
}

fn network(address: &Multiaddr) -> Option<[u8; 2]> {
    match address.as_bytes() {
        [4, 8, second, ..] => Some([8, *second]),
        _ => None,
    }
}

/// The iterators of queries: any answers in any order, at any time. Nobody is asked twice, nor too many at a time; the
/// result is sorted and of those that answered; it ends.
pub fn kad_iterators(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = IteratorBench::new(&mut input);
    for _ in 0..1024 {
        if input.is_empty() {
            break;
        }
        bench.operate(&mut input);
        bench.check();
    }
    bench.run_out();
}

struct IteratorBench {
    iterator: PeersIterator,
    fixed: bool,
    /// The most that may be asked at a time.
    most: usize,
    now: Instant,
    asked: Vec<PeerId>,
    answered: BTreeSet<PeerId>,
    failed: BTreeSet<PeerId>,
}

fn target() -> Key {
    Key::of(b"target")
}

fn distance(peer: &PeerId) -> Distance {
    Key::of_peer(peer).distance(&target())
}

fn some_peers(input: &mut Input<'_>) -> Vec<PeerId> {
    let count = input.byte() % 16;
    (0..count).map(|_| peer(input.byte())).collect()
}

impl IteratorBench {
    fn new(input: &mut Input<'_>) -> Self {
        let mut config = ClosestConfig::default();
        let kind = input.byte() % 4;
        config.parallelism = count(input, 8);
        config.num_results = count(input, 12);
        config.max_candidates = input.size();
        if input.byte() % 2 == 1 {
            config.termination = Termination::Beta(count(input, 5));
        }
        let paths = count(input, 6);
        let known = some_peers(input);
        let parallelism = config.parallelism;
        let most = parallelism.max(config.num_results).max(paths).get();
        let iterator = match kind {
            0 => PeersIterator::Fixed(FixedPeers::new(parallelism, known)),
            1 => PeersIterator::Disjoint(DisjointPeers::new(paths, config, target(), known)),
            _ => PeersIterator::Closest(ClosestPeers::new(config, target(), known)),
        };
        Self {
            iterator,
            fixed: kind == 0,
            most: if kind == 0 { parallelism.get() } else { most },
            now: Instant::from_nanos(1_000_000_000),
            asked: Vec::new(),
            answered: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        match input.byte() % 8 {
            0..=2 => {
                self.step();
            }
            3 | 4 => {
                let at = usize::from(input.byte());
                let closer = some_peers(input);
                if let Some(peer) = self.asked.get(at % self.asked.len().max(1)).copied() {
                    self.succeed(peer, closer);
                }
            }
            5 => {
                let at = usize::from(input.byte());
                if let Some(peer) = self.asked.get(at % self.asked.len().max(1)).copied() {
                    self.fail(peer);
                }
            }
            6 => {
                let who = peer(input.byte());
                let closer = some_peers(input);
                self.succeed(who, closer);
            }
            _ => self.now = self.now + Duration::from_secs((input.byte() % 16).into()),
        }
    }

    fn step(&mut self) -> Step {
        let was_finished = self.iterator.is_finished();
        let step = self.iterator.next(self.now);
        match step {
            Step::Ask(peer) => {
                assert!(!was_finished && !self.asked.contains(&peer), "asked twice");
                assert!(self.iterator.is_waiting_for(&peer) && self.iterator.contains(&peer));
                self.asked.push(peer);
                assert!(self.iterator.num_waiting() <= self.most);
            }
            Step::Wait => assert!(self.iterator.num_waiting() > 0 && !was_finished),
            Step::Finished => assert!(self.iterator.is_finished()),
        }
        step
    }

    fn succeed(&mut self, peer: PeerId, closer: Vec<PeerId>) {
        let finished = self.iterator.is_finished();
        if self.iterator.on_success(&peer, closer, self.now) {
            assert!(!finished && self.asked.contains(&peer) && !self.failed.contains(&peer));
            assert!(self.answered.insert(peer), "answered twice");
        }
    }

    fn fail(&mut self, peer: PeerId) {
        let finished = self.iterator.is_finished();
        if self.iterator.on_failure(&peer) {
            assert!(!finished && !self.answered.contains(&peer));
            assert!(self.failed.insert(peer), "failed twice");
        }
    }

    fn check(&self) {
        let result = self.iterator.result();
        assert!(result.iter().all(|peer| self.answered.contains(peer)));
        if self.fixed {
            assert!(result.iter().is_sorted_by(|one, other| one < other));
            assert_eq!(result.len(), self.answered.len());
        } else {
            assert!(
                result
                    .iter()
                    .is_sorted_by(|one, other| distance(one) < distance(other))
            );
        }
        assert!(!self.iterator.is_finished() || self.iterator.next_deadline().is_none());
    }

    /// Whoever is left does not answer.
    fn run_out(&mut self) {
        for _ in 0..2048 {
            match self.step() {
                Step::Ask(_) => {}
                Step::Wait if self.fixed => {
                    for peer in self.asked.clone() {
                        self.fail(peer);
                    }
                }
                Step::Wait => {
                    let deadline = self.iterator.next_deadline().unwrap();
                    assert!(deadline > self.now, "it waits for what is over");
                    self.now = deadline;
                }
                Step::Finished => return self.check(),
            }
        }
        panic!("it does not end");
    }
}
