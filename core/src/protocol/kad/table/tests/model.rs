//! What the table does, as simply as it can be said.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq)]
struct Known {
    peer: PeerId,
    confirmed: Vec<Multiaddr>,
    others: Vec<Multiaddr>,
    status: Status,
    last_success: Option<Instant>,
    failures: u32,
    last_failure: Option<Instant>,
}

impl Known {
    fn addresses(&self) -> Vec<Multiaddr> {
        self.confirmed.iter().chain(&self.others).cloned().collect()
    }

    fn has(&self, address: &Multiaddr) -> bool {
        self.addresses().contains(address)
    }

    fn drop_one(&mut self, may_be_first: bool) -> bool {
        if self.others.pop().is_some() {
            return true;
        }
        let may = self.confirmed.len() > 1 || may_be_first;
        may && self.confirmed.pop().is_some()
    }

    fn add(&mut self, address: Multiaddr, max: usize) -> bool {
        if self.has(&address) || (self.addresses().len() >= max && !self.drop_one(false)) {
            return false;
        }
        self.others.insert(0, address);
        true
    }

    fn confirm(&mut self, address: Multiaddr, max: usize) -> bool {
        let new = !self.has(&address);
        if new && self.addresses().len() >= max {
            self.drop_one(true);
        }
        self.forget(&address);
        self.confirmed.insert(0, address);
        new
    }

    fn forget(&mut self, address: &Multiaddr) {
        self.confirmed.retain(|other| other != address);
        self.others.retain(|other| other != address);
    }

    fn is_live(&self, now: Instant, liveness: Duration) -> bool {
        self.status == Status::Connected
            || (self.failures == 0 && self.last_success.is_some_and(|at| now - at < liveness))
    }
}

#[derive(Clone, Debug)]
struct Waiting {
    known: Known,
    probe: PeerId,
    since: Instant,
}

#[derive(Default)]
struct ModelBucket {
    disconnected: Vec<Known>,
    connected: Vec<Known>,
    waiting: Option<Waiting>,
}

impl ModelBucket {
    fn all(&self) -> impl Iterator<Item = &Known> {
        self.disconnected.iter().chain(&self.connected)
    }

    fn place(&mut self, known: Known) {
        match known.status {
            Status::Connected => self.connected.push(known),
            Status::Disconnected => self.disconnected.push(known),
        }
    }

    fn take(&mut self, peer: &PeerId) -> Option<Known> {
        for list in [&mut self.disconnected, &mut self.connected] {
            if let Some(at) = list.iter().position(|known| known.peer == *peer) {
                return Some(list.remove(at));
            }
        }
        None
    }
}

struct Model {
    config: TableConfig,
    buckets: BTreeMap<u8, ModelBucket>,
}

fn index(peer: &PeerId) -> Option<u8> {
    Key::of_peer(&local()).distance(&Key::of_peer(peer)).ilog2()
}

/// The group of the addresses below, by their text.
fn group(address: &Multiaddr) -> Option<String> {
    let text = format!("{address}");
    if text.contains("p2p-circuit") {
        return None;
    }
    ["/ip4/8.8.", "/ip4/8.9.", "/ip4/12.", "/ip6/2a00:1450:"]
        .into_iter()
        .find(|head| text.starts_with(head))
        .map(String::from)
}

/// An address as the table keeps it.
fn kept(peer: &PeerId, address: &Multiaddr) -> Option<Multiaddr> {
    match address.peer_id() {
        None => Some(address.clone()),
        Some(other) if other == *peer => Some(address.without_peer_id()),
        Some(_) => None,
    }
}

impl Model {
    fn max(&self) -> usize {
        self.config.max_addresses.max(1)
    }

    fn groups_of(known: &Known) -> BTreeSet<String> {
        known.addresses().iter().filter_map(group).collect()
    }

    fn fits(&self, bucket: u8, wanted: &BTreeSet<String>, without: &[PeerId]) -> bool {
        let Some(limits) = self.config.diversity else {
            return true;
        };
        let count = |in_bucket: bool, group: &String| {
            let buckets = self
                .buckets
                .iter()
                .filter(|(index, _)| !in_bucket || **index == bucket);
            let all = buckets.flat_map(|(_, bucket)| bucket.all());
            let all = all.filter(|known| !without.contains(&known.peer));
            all.filter(|known| Self::groups_of(known).contains(group))
                .count()
        };
        wanted.iter().all(|group| {
            count(false, group) < limits.per_table && count(true, group) < limits.per_bucket
        })
    }

    fn known(&mut self, peer: &PeerId) -> Option<&mut Known> {
        let bucket = self.buckets.get_mut(&index(peer)?)?;
        let waiting = bucket.waiting.as_mut().map(|waiting| &mut waiting.known);
        let mut all = bucket
            .disconnected
            .iter_mut()
            .chain(&mut bucket.connected)
            .chain(waiting);
        all.find(|known| known.peer == *peer)
    }

    fn is_in(&self, peer: &PeerId) -> bool {
        self.buckets
            .values()
            .any(|bucket| bucket.all().any(|known| known.peer == *peer))
    }

    fn insert(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: &[Multiaddr],
        status: Status,
    ) -> Insert {
        let Some(index) = index(&peer) else {
            return Insert::Own;
        };
        if self.known(&peer).is_some() {
            let mut new_address = false;
            for (at, address) in addresses.iter().enumerate() {
                new_address |= self.learn(&peer, address, at == 0 && status == Status::Connected);
            }
            if status == Status::Connected {
                self.set_status(&peer, status);
            }
            let probe = self.buckets[&index]
                .waiting
                .as_ref()
                .map(|waiting| waiting.probe);
            return match (self.is_in(&peer), probe) {
                (false, Some(probe)) => Insert::Pending { probe },
                _ => Insert::Updated { new_address },
            };
        }
        let mut list: Vec<Multiaddr> = Vec::new();
        for address in addresses.iter().filter_map(|address| kept(&peer, address)) {
            if !list.contains(&address) && list.len() < self.max() {
                list.push(address);
            }
        }
        if list.is_empty() {
            return Insert::NoAddress;
        }
        // The first one given is that of the connection, if it may be kept.
        let first = addresses
            .first()
            .is_some_and(|first| kept(&peer, first).is_some());
        let others = list.split_off(usize::from(status == Status::Connected && first));
        let known = Known {
            peer,
            confirmed: list,
            others,
            status,
            last_success: None,
            failures: 0,
            last_failure: None,
        };
        self.admit(now, index, known)
    }

    fn admit(&mut self, now: Instant, index: u8, known: Known) -> Insert {
        let groups = Self::groups_of(&known);
        let bucket = self.buckets.entry(index).or_default();
        if bucket.all().count() < self.config.bucket_size.get() {
            if !self.fits(index, &groups, &[]) {
                return Insert::TooMany;
            }
            self.buckets.get_mut(&index).unwrap().place(known);
            return Insert::Added;
        }
        let liveness = self.config.liveness;
        let probe = bucket
            .disconnected
            .iter()
            .find(|known| !known.is_live(now, liveness));
        let (None, Status::Connected, Some(probe)) = (&bucket.waiting, known.status, probe) else {
            return Insert::Full;
        };
        let probe = probe.peer;
        if !self.fits(index, &groups, &[probe]) {
            return Insert::TooMany;
        }
        let since = now;
        self.buckets.get_mut(&index).unwrap().waiting = Some(Waiting {
            known,
            probe,
            since,
        });
        Insert::Pending { probe }
    }

    fn may_learn(&mut self, peer: &PeerId, address: &Multiaddr) -> Option<Multiaddr> {
        let address = kept(peer, address)?;
        let known = self.known(peer)?.clone();
        if self.is_in(peer) {
            let groups: BTreeSet<_> = group(&address).into_iter().collect();
            let new: BTreeSet<_> = groups
                .difference(&Self::groups_of(&known))
                .cloned()
                .collect();
            if !self.fits(index(peer)?, &new, &[]) {
                return None;
            }
        }
        Some(address)
    }

    fn learn(&mut self, peer: &PeerId, address: &Multiaddr, confirmed: bool) -> bool {
        let max = self.max();
        let Some(address) = self.may_learn(peer, address) else {
            return false;
        };
        let known = self.known(peer).unwrap();
        if confirmed {
            known.confirm(address, max)
        } else {
            known.add(address, max)
        }
    }

    fn replace(&mut self, peer: &PeerId, old: &Multiaddr, new: &Multiaddr) -> bool {
        let (Some(old), Some(new)) = (kept(peer, old), self.may_learn(peer, new)) else {
            return false;
        };
        let known = self.known(peer).unwrap();
        if !known.has(&old) || old == new {
            return false;
        }
        if known.has(&new) {
            known.forget(&old);
        } else {
            for address in known.confirmed.iter_mut().chain(&mut known.others) {
                if *address == old {
                    *address = new.clone();
                }
            }
        }
        true
    }

    fn set_status(&mut self, peer: &PeerId, status: Status) {
        let in_table = self.is_in(peer);
        let Some(known) = self.known(peer).filter(|known| known.status != status) else {
            return;
        };
        known.status = status;
        if !in_table {
            return;
        }
        let bucket = self.buckets.get_mut(&index(peer).unwrap()).unwrap();
        let known = bucket.take(peer).unwrap();
        bucket.place(known);
        if status == Status::Connected
            && bucket
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.probe == *peer)
        {
            bucket.waiting = None;
        }
    }

    fn remove(&mut self, peer: &PeerId) -> bool {
        let Some(bucket) = index(peer).and_then(|index| self.buckets.get_mut(&index)) else {
            return false;
        };
        let waits = bucket
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.known.peer == *peer);
        if waits {
            bucket.waiting = None;
        }
        waits || bucket.take(peer).is_some()
    }

    fn failed(&mut self, peer: &PeerId, now: Instant) -> bool {
        let max = self.config.max_failures;
        let Some(known) = self.known(peer) else {
            return false;
        };
        if known.failures == 0 || known.last_failure != Some(now) {
            known.failures += 1;
        }
        known.last_failure = Some(now);
        known.failures >= max && self.remove(peer)
    }

    /// Everyone whose time has come, and who had to go.
    fn apply(&mut self, now: Instant) -> Vec<(PeerId, Option<PeerId>)> {
        let mut applied = Vec::new();
        let indices: Vec<u8> = self.buckets.keys().copied().collect();
        for index in indices {
            let bucket = self.buckets.get_mut(&index).unwrap();
            let timeout = self.config.pending_timeout;
            let Some(waiting) = bucket
                .waiting
                .take_if(|waiting| now >= waiting.since + timeout)
            else {
                continue;
            };
            let full = bucket.all().count() >= self.config.bucket_size.get();
            let probe = bucket.all().find(|known| known.peer == waiting.probe);
            let answered = |known: &Known| {
                known.failures == 0 && known.last_success.is_some_and(|at| at >= waiting.since)
            };
            let goes = probe
                .is_some_and(|known| !known.is_live(now, self.config.liveness) && !answered(known));
            let evicted = full.then_some(waiting.probe);
            if full && !goes {
                continue;
            }
            if self.fits(index, &Self::groups_of(&waiting.known), evicted.as_slice()) {
                let bucket = self.buckets.get_mut(&index).unwrap();
                if let Some(evicted) = &evicted {
                    bucket.take(evicted);
                }
                applied.push((waiting.known.peer, evicted));
                bucket.place(waiting.known);
            }
        }
        applied
    }
}

const ADDRESSES: usize = 18;

fn nth_address(number: usize, of: &PeerId) -> Multiaddr {
    let plain = [
        "/ip4/8.8.1.1/tcp/1",
        "/ip4/8.8.2.2/tcp/1",
        "/ip4/8.9.1.1/udp/1/quic-v1",
        "/ip4/12.1.1.1/tcp/1",
        "/ip4/12.200.1.1/tcp/1",
        "/ip6/2a00:1450:1::1/tcp/1",
        "/ip6/2a00:1450:2::1/tcp/1",
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/dns4/libp2p.io/tcp/443",
        "/ip4/192.168.1.1/tcp/1",
    ];
    let relay = peer(7777);
    match number {
        11 => address(format!("/ip4/8.8.9.9/tcp/1/p2p/{relay}/p2p-circuit")),
        12 => address(format!("/ip4/8.8.1.1/tcp/1/p2p/{of}")),
        13 => address(format!("/ip4/10.0.0.1/tcp/1/p2p/{of}")),
        14 => address(format!("/ip4/10.0.0.7/tcp/1/p2p/{relay}")),
        number => address(plain.get(number).map_or_else(
            || format!("/ip4/10.0.1.{number}/tcp/1"),
            |text| (*text).into(),
        )),
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16, Vec<usize>, bool),
    Status(u16, bool),
    Add(u16, usize),
    Confirm(u16, usize),
    Replace(u16, usize, usize),
    RemoveAddress(u16, usize),
    AddressFailed(u16, usize),
    Remove(u16),
    Success(u16),
    Failure(u16),
    Time(u64),
    Apply,
}

const PEERS: u16 = 24;

fn op() -> impl Strategy<Value = Op> {
    // The last is the node itself.
    let peer = || (0..=PEERS).prop_map(|number| if number == PEERS { u16::MAX } else { number });
    let address = || 0..ADDRESSES;
    prop_oneof![
        8 => (peer(), prop::collection::vec(address(), 0..4), any::<bool>()).prop_map(|(a, b, c)| Op::Insert(a, b, c)),
        4 => (peer(), any::<bool>()).prop_map(|(a, b)| Op::Status(a, b)),
        1 => (peer(), address()).prop_map(|(a, b)| Op::Add(a, b)),
        1 => (peer(), address()).prop_map(|(a, b)| Op::Confirm(a, b)),
        1 => (peer(), address(), address()).prop_map(|(a, b, c)| Op::Replace(a, b, c)),
        1 => (peer(), address()).prop_map(|(a, b)| Op::RemoveAddress(a, b)),
        1 => (peer(), address()).prop_map(|(a, b)| Op::AddressFailed(a, b)),
        1 => peer().prop_map(Op::Remove),
        2 => peer().prop_map(Op::Success),
        2 => peer().prop_map(Op::Failure),
        2 => (0..40_u64).prop_map(Op::Time),
        3 => Just(Op::Apply),
    ]
}

fn status(connected: bool) -> Status {
    if connected {
        Status::Connected
    } else {
        Status::Disconnected
    }
}

/// Does the same to both, and checks that both say the same.
fn step(op: &Op, table: &mut RoutingTable, model: &mut Model, now: &mut Instant) {
    let at = |number: &usize, of: &u16| nth_address(*number, &peer(*of));
    match op {
        Op::Insert(who, addresses, connected) => {
            let addresses: Vec<_> = addresses.iter().map(|number| at(number, who)).collect();
            let expected = model.insert(*now, peer(*who), &addresses, status(*connected));
            assert_eq!(
                table.insert(*now, peer(*who), &addresses, status(*connected)),
                expected
            );
        }
        Op::Status(who, connected) => {
            model.set_status(&peer(*who), status(*connected));
            table.set_status(*now, &peer(*who), status(*connected));
        }
        Op::Add(who, address) => {
            let (who, address) = (peer(*who), at(address, who));
            assert_eq!(
                table.add_address(&who, &address),
                model.learn(&who, &address, false)
            );
        }
        Op::Confirm(who, address) => {
            let (who, address) = (peer(*who), at(address, who));
            assert_eq!(
                table.confirm_address(&who, &address),
                model.learn(&who, &address, true)
            );
        }
        Op::Replace(who, old, new) => {
            let (who, old, new) = (peer(*who), at(old, who), at(new, who));
            assert_eq!(
                table.replace_address(&who, &old, &new),
                model.replace(&who, &old, &new)
            );
        }
        Op::RemoveAddress(who, address) => {
            let (who, address) = (peer(*who), kept(&peer(*who), &at(address, who)));
            let addresses = model
                .known(&who)
                .map_or_else(Vec::new, |known| known.addresses());
            let removed = table.remove_address(&who, address.as_ref().unwrap_or(&private(99)));
            match address {
                Some(address) if addresses == [address.clone()] => {
                    assert!(matches!(removed, Removed::Peer(entry) if *entry.peer() == who));
                    model.remove(&who);
                }
                Some(address) if addresses.contains(&address) => {
                    assert_eq!(removed, Removed::Address);
                    model.known(&who).unwrap().forget(&address);
                }
                _ => assert_eq!(removed, Removed::Nothing),
            }
        }
        Op::AddressFailed(who, address) => {
            let (who, address) = (peer(*who), at(address, who));
            let removed = table.address_failed(&who, &address);
            let address = kept(&who, &address);
            let known = model
                .known(&who)
                .filter(|known| known.addresses().len() > 1);
            let goes = known
                .and_then(|known| Some((address.filter(|address| known.has(address))?, known)));
            assert_eq!(removed, goes.is_some());
            if let Some((address, known)) = goes {
                known.forget(&address);
            }
        }
        Op::Remove(who) => assert_eq!(
            table.remove(&peer(*who)).is_some(),
            model.remove(&peer(*who))
        ),
        Op::Success(who) => {
            table.succeeded(&peer(*who), *now);
            if let Some(known) = model.known(&peer(*who)) {
                (known.last_success, known.failures) = (Some(*now), 0);
            }
        }
        Op::Failure(who) => {
            let evicted = table.failed(&peer(*who), *now).map(|entry| *entry.peer());
            assert_eq!(
                evicted,
                model.failed(&peer(*who), *now).then_some(peer(*who))
            );
        }
        Op::Time(by) => *now = *now + Duration::from_secs(*by),
        Op::Apply => {
            let applied = core::iter::from_fn(|| table.apply_pending(*now));
            let applied: Vec<_> = applied
                .map(|applied| (applied.inserted, applied.evicted.map(|entry| *entry.peer())))
                .collect();
            assert_eq!(applied, model.apply(*now));
        }
    }
}

fn assert_same(table: &RoutingTable, model: &Model) {
    let look = |entry: &Entry| {
        (
            *entry.peer(),
            entry.addresses().to_vec(),
            entry.status(),
            entry.last_success(),
            entry.failures(),
        )
    };
    let expect = |known: &Known| {
        (
            known.peer,
            known.addresses(),
            known.status,
            known.last_success,
            known.failures,
        )
    };
    for view in table.buckets() {
        let entries: Vec<_> = view.iter().map(look).collect();
        let bucket = model.buckets.get(&view.index());
        let expected: Vec<_> = bucket
            .into_iter()
            .flat_map(ModelBucket::all)
            .map(expect)
            .collect();
        assert_eq!(entries, expected, "bucket {}", view.index());
        let waiting = bucket.and_then(|bucket| bucket.waiting.as_ref());
        assert_eq!(
            view.pending().map(look),
            waiting.map(|waiting| expect(&waiting.known))
        );
        assert_eq!(
            (view.len(), view.is_empty(), view.has_pending()),
            (entries.len(), entries.is_empty(), waiting.is_some())
        );
    }
    let waiting = model
        .buckets
        .values()
        .filter_map(|bucket| bucket.waiting.as_ref());
    let deadline = waiting
        .map(|waiting| waiting.since + model.config.pending_timeout)
        .min();
    assert_eq!(table.next_deadline(), deadline);
}

/// I36 of the reliability demands, and what a table must be besides.
fn assert_sound(table: &RoutingTable) {
    let own = Key::of_peer(&local());
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let config = &table.config;
    let limits = config.diversity;
    for bucket in table.buckets() {
        assert!(bucket.len() <= config.bucket_size.get());
        let mut in_bucket: BTreeMap<String, usize> = BTreeMap::new();
        let mut connected = false;
        for entry in &bucket {
            assert_eq!(
                own.distance(&Key::of_peer(entry.peer())).ilog2(),
                Some(bucket.index())
            );
            assert!(
                entry.status() == Status::Connected || !connected,
                "disconnected ones come first"
            );
            connected = entry.status() == Status::Connected;
            let addresses = entry.addresses();
            assert!(!addresses.is_empty() && addresses.len() <= config.max_addresses.max(1));
            let distinct: BTreeSet<_> = addresses.iter().collect();
            assert_eq!(distinct.len(), addresses.len());
            assert!(addresses.iter().all(|address| address.peer_id().is_none()));
            let own_groups: BTreeSet<_> = addresses.iter().filter_map(group).collect();
            for group in own_groups {
                *in_bucket.entry(group.clone()).or_default() += 1;
                *groups.entry(group).or_default() += 1;
            }
        }
        if let Some(limits) = limits {
            assert!(in_bucket.values().all(|count| *count <= limits.per_bucket));
        }
    }
    if let Some(limits) = limits {
        assert!(groups.values().all(|count| *count <= limits.per_table));
        let counted: usize = table.groups.counts().values().sum();
        assert_eq!(counted, groups.values().sum::<usize>());
        assert_eq!(table.groups.counts().len(), groups.len());
    }
    assert!(table.buckets.iter().all(|bucket| !bucket.is_unused()));
    assert_eq!(table.len(), table.iter().count());
    assert_eq!(table.is_empty(), table.iter().next().is_none());
    assert!(!table.contains(&local()) && table.pending(&local()).is_none());
}

fn assert_sorted(table: &RoutingTable, target: &Key) {
    let mut all: Vec<&Entry> = table.iter().collect();
    all.sort_by_key(|entry| entry.position().distance(target));
    let own = table.local().distance(target);
    let closer = all
        .iter()
        .filter(|entry| entry.position().distance(target) < own);
    assert_eq!(table.count_between(target), closer.count());
    assert!(table.closest(target).eq(all));
}

fn any_config() -> impl Strategy<Value = TableConfig> {
    let diversity = prop::option::weighted(0.6, (1..4_usize, 1..3_usize));
    (1..5_usize, 0..60_u64, 0..5_usize, 0..4_u32, diversity).prop_map(
        |(size, liveness, max_addresses, max_failures, diversity)| TableConfig {
            liveness: Duration::from_secs(liveness),
            max_addresses,
            max_failures,
            diversity: diversity.map(|(per_table, per_bucket)| DiversityLimits {
                per_table,
                per_bucket,
                ..DiversityLimits::default()
            }),
            ..sized(size)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn every_operation_does_what_it_does_to_the_model(
        config in any_config(),
        ops in prop::collection::vec(op(), 0..150),
        target in any::<[u8; 32]>(),
    ) {
        let mut table = table(config.clone());
        let mut model = Model { config: config.clone(), buckets: BTreeMap::new() };
        let mut now = START;
        for op in &ops {
            let before = table.clone();
            step(op, &mut table, &mut model, &mut now);
            assert_same(&table, &model);
            assert_sound(&table);
            // I37: a newcomer takes nobody's place who is alive.
            let explicit = matches!(op, Op::Remove(_) | Op::Failure(_) | Op::RemoveAddress(..));
            for gone in before.iter().filter(|entry| !table.contains(entry.peer())) {
                let live = is_live(gone, now, config.liveness);
                prop_assert!(explicit || (matches!(op, Op::Apply) && !live));
            }
        }
        assert_sorted(&table, &Key::from_bytes(&target));
        assert_sorted(&table, table.local());
    }
}
