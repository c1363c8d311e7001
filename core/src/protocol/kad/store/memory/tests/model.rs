//! The naive store: lists, counted anew for each request.

use super::*;
use alloc::{collections::BTreeMap, string::String};
use proptest::{collection::vec, option, prelude::*};

#[derive(Default)]
struct Model {
    records: BTreeMap<RecordKey, (Record, Origin)>,
    own: BTreeMap<RecordKey, ProviderRecord>,
    peers: BTreeMap<(RecordKey, PeerId), (ProviderRecord, PeerId)>,
}

/// Small enough for every limit to be met.
fn limits() -> MemoryStoreConfig {
    MemoryStoreConfig {
        max_records: 5,
        max_value_bytes: 12,
        max_key_bytes: 2,
        max_bytes: 40,
        max_records_per_peer: 3,
        max_own_records: 3,
        max_own_bytes: 25,
        max_provided_keys: 3,
        max_own_provided_keys: 2,
        max_providers_per_key: 3,
        max_provider_keys_per_peer: 2,
        max_providers_per_network: 1,
        max_addresses_per_provider: 2,
        max_address_bytes: 20,
    }
}

fn local() -> Key {
    Key::of_peer(&peer(u32::MAX))
}

fn far(key: &RecordKey) -> crate::protocol::kad::key::Distance {
    local().distance(&key.position())
}

fn len(record: &Record) -> usize {
    record.key.as_bytes().len() + record.value.len()
}

fn networks(record: &ProviderRecord) -> Vec<[u8; 3]> {
    let octets = |address: &Multiaddr| match address.ip() {
        Some(core::net::IpAddr::V4(ip)) if address.is_global() => {
            Some([ip.octets()[0], ip.octets()[1], ip.octets()[2]])
        }
        _ => None,
    };
    record.addresses.iter().filter_map(octets).collect()
}

impl Model {
    fn sweep(&mut self, now: UnixTime) -> u64 {
        let before = self.records.len() + self.own.len() + self.peers.len();
        self.records
            .retain(|_, (record, _)| !record.is_expired(now));
        self.own.retain(|_, record| !record.is_expired(now));
        self.peers.retain(|_, (record, _)| !record.is_expired(now));
        (before - self.records.len() - self.own.len() - self.peers.len()) as u64
    }

    fn bytes(&self) -> (usize, usize) {
        let of = |own| {
            let all = self.records.values();
            all.filter(|(_, origin)| (*origin == Origin::Local) == own)
                .map(|(record, _)| len(record))
                .sum()
        };
        (of(false), of(true))
    }

    fn put(
        &mut self,
        mut record: Record,
        mut origin: Origin,
        validator: &dyn Validator,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let limits = limits();
        if record.value.len() > limits.max_value_bytes
            || record.key.as_bytes().len() > limits.max_key_bytes
        {
            return Err(StoreError::ValueTooLarge);
        }
        if record.is_expired(now) {
            return Ok(());
        }
        let old = self.records.get(&record.key).cloned();
        if let Some((old, whose)) = &old {
            let (values, swapped) = (
                [&old.value[..], &record.value[..]],
                [&record.value[..], &old.value[..]],
            );
            let asked = [
                validator.select(&old.key, &values) == 1,
                validator.select(&old.key, &swapped) == 0,
            ];
            let to_own = *whose == Origin::Local && origin != Origin::Local;
            let valid = validator.validate(&old.key, &old.value, now).is_ok();
            let wins = !valid
                || if to_own {
                    asked == [true; 2]
                } else {
                    asked != [false; 2]
                };
            if valid && old.value == record.value && origin != Origin::Local {
                let longer = if old.expires.is_none() || record.expires.is_none() {
                    None
                } else {
                    old.expires.max(record.expires)
                };
                let expires = if to_own { old.expires } else { longer };
                self.records.insert(
                    record.key,
                    (
                        Record {
                            expires,
                            ..old.clone()
                        },
                        *whose,
                    ),
                );
                return Ok(());
            }
            if !wins {
                return Err(StoreError::Older);
            }
            if origin != Origin::Local {
                origin = *whose;
            }
            if to_own {
                record.expires = old.expires;
            }
        }
        let mut after = self.records.clone();
        after.insert(record.key.clone(), (record.clone(), origin));
        let count = |all: &BTreeMap<RecordKey, (Record, Origin)>,
                     which: &dyn Fn(Origin) -> bool| {
            let those = all.values().filter(|(_, origin)| which(*origin));
            those.fold((0, 0), |(count, bytes), (record, _)| {
                (count + 1, bytes + len(record))
            })
        };
        let is_own = |origin| origin == Origin::Local;
        if is_own(origin) {
            let (own, bytes) = count(&after, &is_own);
            if own > limits.max_own_records || bytes > limits.max_own_bytes {
                return Err(StoreError::MaxRecords);
            }
        } else if count(&after, &|other| other == origin).0 > limits.max_records_per_peer {
            return Err(StoreError::MaxForPeer);
        }
        loop {
            let (others, bytes) = count(&after, &|origin| !is_own(origin));
            if is_own(origin) || others <= limits.max_records && bytes <= limits.max_bytes {
                break;
            }
            let candidates = after
                .iter()
                .filter(|(key, (_, origin))| !is_own(*origin) && far(key) > far(&record.key));
            let victim = candidates.map(|(key, _)| key.clone()).max_by_key(far);
            after.remove(&victim.ok_or(StoreError::MaxRecords)?);
        }
        self.records = after;
        Ok(())
    }

    fn add(
        &mut self,
        mut record: ProviderRecord,
        origin: Origin,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let (limits, key, provider) = (limits(), record.key.clone(), record.provider);
        if key.as_bytes().len() > limits.max_key_bytes {
            return Err(StoreError::ValueTooLarge);
        }
        if record.is_expired(now) {
            return Ok(());
        }
        let Origin::Peer(mut counted) = origin else {
            if !self.own.contains_key(&key) && self.own.len() == limits.max_own_provided_keys {
                return Err(StoreError::MaxProvidedKeys);
            }
            self.peers.remove(&(key.clone(), provider));
            self.own.insert(key, record);
            return Ok(());
        };
        if self
            .own
            .get(&key)
            .is_some_and(|own| own.provider == provider)
        {
            return Ok(());
        }
        let slot = (key.clone(), provider);
        let others: Vec<_> = self
            .peers
            .iter()
            .filter(|((other, peer), _)| *other == key && *peer != provider)
            .collect();
        if let Some((_, before)) = self.peers.get(&slot) {
            counted = *before;
        } else if others.len() >= limits.max_providers_per_key {
            return Err(StoreError::MaxProviders);
        } else if self.peers.values().filter(|(_, by)| *by == counted).count()
            >= limits.max_provider_keys_per_peer
        {
            return Err(StoreError::MaxForPeer);
        }
        let crowded = |address: &Multiaddr| {
            let network = networks(&ProviderRecord::new("", provider, vec![address.clone()]));
            network.first().is_some_and(|network| {
                others
                    .iter()
                    .any(|(_, (other, _))| networks(other).contains(network))
            })
        };
        let any_crowded = record.addresses.iter().any(crowded);
        record.addresses.retain(|address| !crowded(address));
        // Each of the addresses here has 8 bytes: 20 bytes are two.
        record.addresses.truncate(2);
        if any_crowded && record.addresses.is_empty() {
            return Err(StoreError::MaxProviders);
        }
        let keys: alloc::collections::BTreeSet<_> =
            self.peers.keys().map(|(key, _)| key.clone()).collect();
        if !keys.contains(&key) && keys.len() >= limits.max_provided_keys {
            let victim = keys
                .into_iter()
                .max_by_key(far)
                .filter(|victim| far(victim) > far(&key));
            let victim = victim.ok_or(StoreError::MaxProvidedKeys)?;
            self.peers.retain(|(other, _), _| *other != victim);
        }
        self.peers.insert(slot, (record, counted));
        Ok(())
    }

    fn reply(&mut self, request: StoreRequest, now: UnixTime) -> StoreReply {
        match request {
            StoreRequest::Get { key } => {
                let record = self.records.get(&key).map(|(record, _)| record.clone());
                StoreReply::Record(record.filter(|record| !record.is_expired(now)))
            }
            StoreRequest::Put {
                record,
                origin,
                validator,
            } => {
                self.sweep(now);
                StoreReply::Put(self.put(record, origin, &*validator, now))
            }
            StoreRequest::Remove { key } => {
                self.sweep(now);
                let own = self
                    .records
                    .get(&key)
                    .is_some_and(|(_, origin)| *origin == Origin::Local);
                StoreReply::Removed(own && self.records.remove(&key).is_some())
            }
            StoreRequest::Records { after, limit } => {
                let all = self.records.values().filter(|(record, _)| {
                    !record.is_expired(now)
                        && after.as_ref().is_none_or(|after| record.key > *after)
                });
                let stored = |(record, origin): &(Record, Origin)| StoredRecord {
                    record: record.clone(),
                    local: *origin == Origin::Local,
                };
                StoreReply::Records(all.map(stored).take(limit).collect())
            }
            StoreRequest::AddProvider { record, origin } => {
                self.sweep(now);
                StoreReply::AddProvider(self.add(record, origin, now))
            }
            StoreRequest::Providers { key } => {
                let peers = self
                    .peers
                    .values()
                    .map(|(record, _)| record)
                    .filter(|record| record.key == key);
                let all = self.own.get(&key).into_iter().chain(peers);
                StoreReply::Providers(
                    all.filter(|record| !record.is_expired(now))
                        .cloned()
                        .collect(),
                )
            }
            StoreRequest::Provided { after, limit } => {
                let all = self.own.values().filter(|record| {
                    !record.is_expired(now)
                        && after.as_ref().is_none_or(|after| record.key > *after)
                });
                StoreReply::Provided(all.take(limit).cloned().collect())
            }
            StoreRequest::RemoveProvider { key, provider } => {
                self.sweep(now);
                let own = self
                    .own
                    .get(&key)
                    .is_some_and(|own| own.provider == provider);
                StoreReply::Removed(own && self.own.remove(&key).is_some())
            }
            StoreRequest::Sweep => StoreReply::Swept(self.sweep(now)),
        }
    }
}

fn keys() -> impl Strategy<Value = RecordKey> {
    prop_oneof![8 => "[a-h]", 1 => "[a-c]{2,3}"]
        .prop_map(|key: String| RecordKey::from(key.as_str()))
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Local),
        (0_u32..4).prop_map(|number| Origin::Peer(peer(number))),
        (0_u32..4).prop_map(|number| Origin::Peer(peer(number)))
    ]
}

fn times() -> impl Strategy<Value = Option<UnixTime>> {
    option::of((0_u64..100).prop_map(UnixTime::from_secs))
}

fn validators() -> impl Strategy<Value = Arc<dyn Validator>> {
    prop_oneof![
        Just(Arc::new(AcceptAll) as Arc<dyn Validator>),
        Just(Arc::new(Largest) as Arc<dyn Validator>)
    ]
}

fn requests() -> impl Strategy<Value = StoreRequest> {
    let value = (0_u8..4, 0_usize..15).prop_map(|(first, len)| vec![first; len]);
    let put = (
        keys(),
        value,
        option::of((0_u32..4).prop_map(peer)),
        times(),
        origins(),
        validators(),
    )
        .prop_map(
            |(key, value, publisher, expires, origin, validator)| StoreRequest::Put {
                record: Record {
                    key,
                    value: value.into(),
                    publisher,
                    expires,
                },
                origin,
                validator,
            },
        );
    let address = (
        prop_oneof![Just("1.2.3"), Just("1.2.4"), Just("10.0.0"), Just("8.8.8")],
        0_u8..3,
    );
    let address =
        address.prop_map(|(network, host)| format!("/ip4/{network}.{host}/tcp/1").parse().unwrap());
    let add = (keys(), 0_u32..6, vec(address, 0..4), times(), origins()).prop_map(
        |(key, number, addresses, expires, origin)| {
            let record = ProviderRecord {
                key,
                provider: peer(number),
                expires,
                addresses,
            };
            StoreRequest::AddProvider { record, origin }
        },
    );
    let page = || (option::of(keys()), 0_usize..6);
    prop_oneof![
        8 => put,
        8 => add,
        2 => keys().prop_map(|key| StoreRequest::Get { key }),
        2 => keys().prop_map(|key| StoreRequest::Providers { key }),
        1 => keys().prop_map(|key| StoreRequest::Remove { key }),
        1 => (keys(), 0_u32..6).prop_map(|(key, number)| StoreRequest::RemoveProvider { key, provider: peer(number) }),
        1 => page().prop_map(|(after, limit)| StoreRequest::Records { after, limit }),
        1 => page().prop_map(|(after, limit)| StoreRequest::Provided { after, limit }),
        1 => Just(StoreRequest::Sweep),
    ]
}

/// What holds whatever a model says.
fn check(store: &MemoryStore, model: &Model) {
    let limits = limits();
    let all: Vec<_> = store.records().collect();
    let (own, peers): (Vec<_>, Vec<_>) = all.iter().partition(|stored| stored.local);
    assert!(own.len() <= limits.max_own_records && peers.len() <= limits.max_records);
    let of = |those: &[&StoredRecord]| {
        those
            .iter()
            .map(|stored| len(&stored.record))
            .sum::<usize>()
    };
    assert_eq!(store.bytes(), (of(&peers), of(&own)));
    assert_eq!(store.bytes(), model.bytes());
    assert!(store.bytes().0 <= limits.max_bytes && store.bytes().1 <= limits.max_own_bytes);
    assert!(store.providers.provided_keys() <= limits.max_provided_keys);
    assert!(store.provided().count() <= limits.max_own_provided_keys);
    assert_eq!(store.providers.len(), model.own.len() + model.peers.len());
    let mut shares: BTreeMap<PeerId, usize> = BTreeMap::new();
    for (_, entry) in store.records.iter_after(None) {
        if let Origin::Peer(peer) = entry.origin {
            *shares.entry(peer).or_default() += 1;
        }
    }
    assert!(
        shares
            .values()
            .all(|count| *count <= limits.max_records_per_peer)
    );
}

/// What this node stores, and a peer must leave.
fn own(store: &MemoryStore, now: UnixTime) -> (Vec<RecordKey>, Vec<ProviderRecord>) {
    let records = store
        .records()
        .filter(|stored| stored.local && !stored.record.is_expired(now));
    let provided = store.provided().filter(|record| !record.is_expired(now));
    (
        records.map(|stored| stored.record.key).collect(),
        provided.cloned().collect(),
    )
}

fn is_of_peer(request: &StoreRequest) -> bool {
    matches!(
        request,
        StoreRequest::Put {
            origin: Origin::Peer(_),
            ..
        } | StoreRequest::AddProvider {
            origin: Origin::Peer(_),
            ..
        }
    )
}

fn is_live(reply: &StoreReply, now: UnixTime) -> bool {
    match reply {
        StoreReply::Record(record) => record.iter().all(|record| !record.is_expired(now)),
        StoreReply::Records(all) => all.iter().all(|stored| !stored.record.is_expired(now)),
        StoreReply::Providers(all) | StoreReply::Provided(all) => {
            all.iter().all(|record| !record.is_expired(now))
        }
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_store_does_what_the_naive_one_does(steps in vec((requests(), 0_u64..3, prop::bool::weighted(0.03)), 1..120)) {
        let (mut store, mut model) = (store(limits()), Model::default());
        let mut secs = 0_u64;
        for (request, passed, jumps_back) in steps {
            secs = if jumps_back { secs / 2 } else { secs + passed };
            let now = UnixTime::from_secs(secs);
            let before = is_of_peer(&request).then(|| own(&store, now));
            let (expected, reply) = (model.reply(request.clone(), now), store.reply(request.clone(), now));
            prop_assert_eq!(&reply, &expected, "{:?}", request);
            prop_assert!(is_live(&reply, now));
            if let Some(before) = before {
                prop_assert_eq!(own(&store, now), before);
            }
            check(&store, &model);
        }
    }
}
