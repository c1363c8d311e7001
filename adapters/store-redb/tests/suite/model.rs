//! Random requests and restarts, and a store in memory that is asked the same.

use crate::common::{self, Disk, Largest, local, next, peer, waker};
use drywire::{
    protocol::kad::{
        MemoryStore, ProviderRecord, Record, RecordKey, RecordStore,
        store::{MemoryStoreConfig, Origin, StoreReply, StoreRequest, StoreRequestId},
        validator::{AcceptAll, Validator},
    },
    time::UnixTime,
};
use drywire_store_redb::{RedbStore, RedbStoreConfig};
use proptest::{collection::vec, option, prelude::*};
use std::{collections::BTreeMap, sync::Arc};

/// Small enough for every limit to be met.
fn limits() -> MemoryStoreConfig {
    let mut limits = MemoryStoreConfig::default();
    (
        limits.max_records,
        limits.max_records_per_peer,
        limits.max_bytes,
    ) = (5, 3, 60);
    (
        limits.max_own_records,
        limits.max_own_bytes,
        limits.max_value_bytes,
    ) = (3, 40, 16);
    (limits.max_provided_keys, limits.max_own_provided_keys) = (3, 2);
    (
        limits.max_providers_per_key,
        limits.max_provider_keys_per_peer,
    ) = (3, 2);
    limits.max_providers_per_network = 1;
    limits
}

fn keys() -> impl Strategy<Value = RecordKey> {
    "[a-h]".prop_map(|key: String| RecordKey::from(key.as_str()))
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![1 => Just(Origin::Local), 2 => (0_u32..4).prop_map(|number| Origin::Peer(peer(number)))]
}

fn times() -> impl Strategy<Value = Option<UnixTime>> {
    option::of((0_u64..60).prop_map(UnixTime::from_secs))
}

fn requests() -> impl Strategy<Value = StoreRequest> {
    let validators = prop_oneof![
        Just(Arc::new(AcceptAll) as Arc<dyn Validator>),
        Just(Arc::new(Largest) as Arc<dyn Validator>)
    ];
    let put = (
        keys(),
        0_u8..4,
        6_usize..18,
        option::of((0_u32..4).prop_map(peer)),
        times(),
        origins(),
        validators,
    )
        .prop_map(|(key, fill, len, publisher, expires, origin, validator)| {
            StoreRequest::Put {
                record: Record {
                    key,
                    value: vec![fill; len].into(),
                    publisher,
                    expires,
                },
                origin,
                validator,
            }
        });
    let address = (0_u8..4, 0_u8..3)
        .prop_map(|(network, host)| format!("/ip4/1.2.{network}.{host}/tcp/1").parse().unwrap());
    let add = (keys(), 0_u32..6, vec(address, 0..3), times(), origins()).prop_map(
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
    prop_oneof![
        8 => put,
        8 => add,
        3 => keys().prop_map(|key| StoreRequest::Get { key }),
        3 => keys().prop_map(|key| StoreRequest::Providers { key }),
        2 => keys().prop_map(|key| StoreRequest::Remove { key }),
        2 => (keys(), 0_u32..6).prop_map(|(key, number)| StoreRequest::RemoveProvider { key, provider: peer(number) }),
        1 => (option::of(keys()), 0_usize..6).prop_map(|(after, limit)| StoreRequest::Records { after, limit }),
        1 => (option::of(keys()), 0_usize..6).prop_map(|(after, limit)| StoreRequest::Provided { after, limit }),
        1 => Just(StoreRequest::Sweep),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Ask(StoreRequest),
    Pass(u64),
    Settle,
    Restart,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => requests().prop_map(Step::Ask),
        5 => (0_u64..4).prop_map(Step::Pass),
        3 => Just(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

/// Waits for all that was asked.
fn settle(store: &mut RedbStore, asked: &mut BTreeMap<StoreRequestId, StoreReply>) {
    while !asked.is_empty() {
        let (id, reply) = next(store);
        assert_eq!(Some(reply), asked.remove(&id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_store_on_disk_does_what_one_in_memory_does(steps in vec(steps(), 1..200)) {
        let disk = Disk::default();
        let config = RedbStoreConfig::default().with_limits(limits());
        let mut memory = MemoryStore::new(&local(), limits());
        let (mut secs, mut asked, mut id) = (0, BTreeMap::new(), 0);
        let mut store = disk.store(config.clone(), UnixTime::EPOCH);
        for step in steps {
            let now = UnixTime::from_secs(secs);
            match step {
                Step::Pass(passed) => secs += passed,
                Step::Ask(request) => {
                    id += 1;
                    asked.insert(StoreRequestId(id), memory.submit(StoreRequestId(id), request.clone(), now, None).unwrap());
                    prop_assert_eq!(store.submit(StoreRequestId(id), request, now, Some(&waker())), None);
                }
                Step::Settle => settle(&mut store, &mut asked),
                Step::Restart => {
                    settle(&mut store, &mut asked);
                    drop(store);
                    // At opening, what has expired is thrown away.
                    memory.submit(StoreRequestId(0), StoreRequest::Sweep, now, None);
                    store = disk.store(config.clone(), now);
                    prop_assert_eq!(store.statistics().dropped_over_limit + store.statistics().dropped_corrupt, 0);
                    let all = StoreRequest::Records { after: None, limit: usize::MAX };
                    let expected = memory.submit(StoreRequestId(0), all.clone(), now, None);
                    prop_assert_eq!(Some(common::call_at(&mut store, all, now)), expected);
                }
            }
        }
        settle(&mut store, &mut asked);
    }
}
