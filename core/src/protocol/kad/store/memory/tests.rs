//! What a store in memory promises: examples, floods, and random operations against a naive model.
#![allow(clippy::arithmetic_side_effects)]

mod model;

use super::super::{Origin, StoreError};
use super::*;
use crate::{
    multiaddr::Multiaddr,
    protocol::kad::validator::{AcceptAll, InvalidRecord, Validator},
};
use alloc::{format, sync::Arc, vec};
use core::{slice, time::Duration};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// The larger first byte is better; no value is empty.
#[derive(Debug)]
struct Largest;

impl Validator for Largest {
    fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        if value.is_empty() {
            Err(InvalidRecord::Refused("empty"))
        } else {
            Ok(())
        }
    }
    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        let first = |at: &usize| (values[*at].first(), usize::MAX - at);
        (0..values.len()).max_by_key(first).unwrap()
    }
}

fn peer(number: u32) -> PeerId {
    let mut bytes = [0; 34];
    (bytes[0], bytes[1]) = (0x12, 32);
    bytes[2..6].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

fn store(config: MemoryStoreConfig) -> MemoryStore {
    MemoryStore::new(&peer(u32::MAX), config)
}

fn put_as(
    store: &mut MemoryStore,
    record: Record,
    origin: Origin,
    validator: Arc<dyn Validator>,
) -> Result<(), StoreError> {
    match store.reply(
        StoreRequest::Put {
            record,
            origin,
            validator,
        },
        NOW,
    ) {
        StoreReply::Put(result) => result,
        other => panic!("{other:?}"),
    }
}

fn put(store: &mut MemoryStore, record: Record, origin: Origin) -> Result<(), StoreError> {
    put_as(store, record, origin, Arc::new(AcceptAll))
}

fn get(store: &mut MemoryStore, key: &str, now: UnixTime) -> Option<Record> {
    match store.reply(StoreRequest::Get { key: key.into() }, now) {
        StoreReply::Record(record) => record,
        other => panic!("{other:?}"),
    }
}

fn add(store: &mut MemoryStore, record: ProviderRecord, origin: Origin) -> Result<(), StoreError> {
    match store.reply(StoreRequest::AddProvider { record, origin }, NOW) {
        StoreReply::AddProvider(result) => result,
        other => panic!("{other:?}"),
    }
}

fn providers(store: &mut MemoryStore, key: &str) -> Vec<ProviderRecord> {
    match store.reply(StoreRequest::Providers { key: key.into() }, NOW) {
        StoreReply::Providers(providers) => providers,
        other => panic!("{other:?}"),
    }
}

fn provided(store: &mut MemoryStore) -> Vec<ProviderRecord> {
    match store.reply(
        StoreRequest::Provided {
            after: None,
            limit: usize::MAX,
        },
        NOW,
    ) {
        StoreReply::Provided(provided) => provided,
        other => panic!("{other:?}"),
    }
}

fn at(addresses: &[&str]) -> Vec<Multiaddr> {
    addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect()
}

fn provider(key: &str, number: u32, addresses: &[&str]) -> ProviderRecord {
    ProviderRecord::new(key, peer(number), at(addresses))
}

fn by(record: ProviderRecord) -> (ProviderRecord, Origin) {
    let origin = Origin::Peer(record.provider);
    (record, origin)
}

fn add_peer(store: &mut MemoryStore, record: ProviderRecord) -> Result<(), StoreError> {
    let (record, origin) = by(record);
    add(store, record, origin)
}

#[test]
fn a_record_is_put_read_and_removed() {
    let mut store = store(MemoryStoreConfig::default());
    let record = Record {
        publisher: Some(peer(3)),
        ..Record::new("key", "value")
    };
    assert_eq!(put(&mut store, record.clone(), Origin::Local), Ok(()));
    assert_eq!(get(&mut store, "key", NOW), Some(record));
    assert_eq!(
        store.reply(StoreRequest::Remove { key: "key".into() }, NOW),
        StoreReply::Removed(true)
    );
    assert_eq!(
        store.reply(StoreRequest::Remove { key: "key".into() }, NOW),
        StoreReply::Removed(false)
    );
    assert_eq!(get(&mut store, "key", NOW), None);
}

#[test]
fn only_what_is_there_for_this_node_is_removed() {
    let mut store = store(MemoryStoreConfig::default());
    put(
        &mut store,
        Record::new("key", "value"),
        Origin::Peer(peer(1)),
    )
    .unwrap();
    assert_eq!(
        store.reply(StoreRequest::Remove { key: "key".into() }, NOW),
        StoreReply::Removed(false)
    );
    assert!(get(&mut store, "key", NOW).is_some());
}

#[test]
fn a_provider_is_added_read_and_removed() {
    let mut store = store(MemoryStoreConfig::default());
    let own = provider("key", 9, &[]);
    assert_eq!(add(&mut store, own.clone(), Origin::Local), Ok(()));
    assert_eq!(providers(&mut store, "key"), slice::from_ref(&own));
    assert_eq!(provided(&mut store), [own]);
    for (number, removed) in [(8, false), (9, true), (9, false)] {
        let remove = StoreRequest::RemoveProvider {
            key: "key".into(),
            provider: peer(number),
        };
        assert_eq!(store.reply(remove, NOW), StoreReply::Removed(removed));
    }
    assert_eq!(providers(&mut store, "key"), []);
    assert_eq!(provided(&mut store), []);
}

#[test]
fn only_what_this_node_provides_is_provided() {
    let mut store = store(MemoryStoreConfig::default());
    add_peer(&mut store, provider("a", 1, &[])).unwrap();
    for key in ["b", "a"] {
        add(&mut store, provider(key, 9, &[]), Origin::Local).unwrap();
    }
    let keys: Vec<_> = provided(&mut store)
        .into_iter()
        .map(|own| own.key)
        .collect();
    assert_eq!(keys, ["a".into(), "b".into()]);
    assert_eq!(providers(&mut store, "a").len(), 2);
    assert_eq!(store.provided().count(), 2);
}

#[test]
fn a_provider_that_comes_again_is_replaced() {
    let mut store = store(MemoryStoreConfig::default());
    for address in ["/ip4/1.1.1.1/tcp/1", "/ip4/1.1.1.1/tcp/2"] {
        add_peer(&mut store, provider("key", 1, &[address])).unwrap();
        assert_eq!(
            providers(&mut store, "key"),
            [provider("key", 1, &[address])]
        );
    }
}

#[test]
fn what_this_node_provides_is_replaced_when_it_is_provided_again() {
    let mut store = store(MemoryStoreConfig::default());
    for address in ["/ip4/1.1.1.1/tcp/1", "/ip4/1.1.1.1/tcp/2"] {
        let record = ProviderRecord {
            expires: Some(NOW.saturating_add(Duration::from_secs(9))),
            ..provider("key", 9, &[address])
        };
        add(&mut store, record.clone(), Origin::Local).unwrap();
        assert_eq!(provided(&mut store), slice::from_ref(&record));
        assert_eq!(providers(&mut store, "key"), [record]);
    }
    // A peer that says it were this node changes nothing.
    add(
        &mut store,
        provider("key", 9, &["/ip4/6.6.6.6/tcp/6"]),
        Origin::Peer(peer(6)),
    )
    .unwrap();
    assert_eq!(providers(&mut store, "key").len(), 1);
    assert_eq!(
        provided(&mut store)[0].addresses,
        at(&["/ip4/1.1.1.1/tcp/2"])
    );
}

#[test]
fn a_key_has_as_many_providers_as_it_may_and_this_node_besides() {
    let mut store = store(MemoryStoreConfig::default());
    for number in 0..20 {
        add_peer(&mut store, provider("key", number, &[])).unwrap();
    }
    assert_eq!(
        add_peer(&mut store, provider("key", 20, &[])),
        Err(StoreError::MaxProviders)
    );
    assert_eq!(
        add_peer(&mut store, provider("key", 0, &["/ip4/1.1.1.1/tcp/1"])),
        Ok(())
    );
    assert_eq!(
        add(&mut store, provider("key", 99, &[]), Origin::Local),
        Ok(())
    );
    let all = providers(&mut store, "key");
    assert_eq!(all.len(), 21);
    assert_eq!(all[0].provider, peer(99));
}

#[test]
fn peers_provide_as_many_keys_as_they_may_and_this_node_besides() {
    let config = MemoryStoreConfig {
        max_own_provided_keys: 2,
        ..MemoryStoreConfig::default()
    };
    let mut store = MemoryStore::with_position(None, config.with_max_provided_keys(3));
    for number in 0..3 {
        add_peer(&mut store, provider(&format!("{number}"), number, &[])).unwrap();
    }
    assert_eq!(
        add_peer(&mut store, provider("3", 3, &[])),
        Err(StoreError::MaxProvidedKeys)
    );
    assert_eq!(add_peer(&mut store, provider("0", 3, &[])), Ok(()));
    for (key, result) in [
        ("0", Ok(())),
        ("x", Ok(())),
        ("0", Ok(())),
        ("y", Err(StoreError::MaxProvidedKeys)),
    ] {
        assert_eq!(
            add(&mut store, provider(key, 9, &[]), Origin::Local),
            result,
            "{key}"
        );
    }
}

#[test]
fn a_value_may_be_as_long_as_the_limit_says() {
    let mut store = store(MemoryStoreConfig::default());
    let of = |len: usize| Record::new("key", vec![0; len]);
    assert_eq!(put(&mut store, of(66_560), Origin::Peer(peer(1))), Ok(()));
    for origin in [Origin::Local, Origin::Peer(peer(1))] {
        assert_eq!(
            put(&mut store, of(66_561), origin),
            Err(StoreError::ValueTooLarge)
        );
    }
    assert_eq!(get(&mut store, "key", NOW).unwrap().value.len(), 66_560);
}

#[test]
fn without_a_position_a_full_store_refuses_and_overwriting_counts_once() {
    let mut store =
        MemoryStore::with_position(None, MemoryStoreConfig::default().with_max_records(2));
    for (key, result) in [
        ("a", Ok(())),
        ("b", Ok(())),
        ("b", Ok(())),
        ("c", Err(StoreError::MaxRecords)),
        ("a", Ok(())),
    ] {
        assert_eq!(
            put(&mut store, Record::new(key, "value"), Origin::Peer(peer(1))),
            result,
            "{key}"
        );
    }
    assert_eq!(store.bytes(), (12, 0));
}

#[test]
fn the_farthest_record_of_a_peer_gives_way_to_a_nearer_one_and_to_no_other() {
    let local = Key::of_peer(&peer(u32::MAX));
    let mut keys: Vec<_> = (0..40).map(|number| format!("{number}")).collect();
    keys.sort_by_key(|key| local.distance(&Key::of(key.as_bytes())));
    let mut store = store(MemoryStoreConfig::default().with_max_records(10));
    // The farthest of all is ours.
    put(
        &mut store,
        Record::new(keys[39].as_str(), "own"),
        Origin::Local,
    )
    .unwrap();
    for key in &keys[10..20] {
        put(
            &mut store,
            Record::new(key.as_str(), "far"),
            Origin::Peer(peer(1)),
        )
        .unwrap();
    }
    assert_eq!(
        put(
            &mut store,
            Record::new(keys[20].as_str(), "farther"),
            Origin::Peer(peer(2))
        ),
        Err(StoreError::MaxRecords)
    );
    for key in keys[..10].iter().rev() {
        put(
            &mut store,
            Record::new(key.as_str(), "near"),
            Origin::Peer(peer(2)),
        )
        .unwrap();
    }
    let mut left: Vec<_> = store.records().map(|stored| stored.record.key).collect();
    left.sort_by_key(|key| local.distance(&key.position()));
    let expected: Vec<RecordKey> = keys[..10]
        .iter()
        .chain(&keys[39..])
        .map(|key| key.as_str().into())
        .collect();
    assert_eq!(left, expected);
}

#[test]
fn who_stores_too_much_is_refused_and_nobody_else() {
    let mut store = store(MemoryStoreConfig::default());
    for number in 0..64 {
        put(
            &mut store,
            Record::new(format!("{number}").as_str(), "value"),
            Origin::Peer(peer(1)),
        )
        .unwrap();
    }
    assert_eq!(
        put(
            &mut store,
            Record::new("64", "value"),
            Origin::Peer(peer(1))
        ),
        Err(StoreError::MaxForPeer)
    );
    assert_eq!(
        put(&mut store, Record::new("0", "other"), Origin::Peer(peer(1))),
        Ok(())
    );
    assert_eq!(
        put(
            &mut store,
            Record::new("64", "value"),
            Origin::Peer(peer(2))
        ),
        Ok(())
    );
    // Renewed by another, it still counts for the first.
    assert_eq!(
        put(&mut store, Record::new("0", "third"), Origin::Peer(peer(2))),
        Ok(())
    );
    assert_eq!(
        put(
            &mut store,
            Record::new("65", "value"),
            Origin::Peer(peer(1))
        ),
        Err(StoreError::MaxForPeer)
    );
    assert_eq!(
        put(&mut store, Record::new("65", "value"), Origin::Local),
        Ok(())
    );
}

#[test]
fn the_better_record_stays_and_of_equals_the_newer() {
    let mut store = store(MemoryStoreConfig::default());
    let mut write = |value: &'static [u8], origin| {
        put_as(
            &mut store,
            Record::new("key", value),
            origin,
            Arc::new(Largest),
        )
    };
    assert_eq!(write(b"5 first", Origin::Peer(peer(1))), Ok(()));
    assert_eq!(write(b"4", Origin::Peer(peer(2))), Err(StoreError::Older));
    assert_eq!(write(b"4", Origin::Local), Err(StoreError::Older));
    assert_eq!(write(b"5 second", Origin::Peer(peer(2))), Ok(()));
    assert_eq!(get(&mut store, "key", NOW).unwrap().value, "5 second");
}

#[test]
fn a_record_that_is_no_longer_valid_counts_as_not_there() {
    let mut store = store(MemoryStoreConfig::default());
    put(&mut store, Record::new("key", ""), Origin::Local).unwrap();
    assert_eq!(
        put_as(
            &mut store,
            Record::new("key", "1"),
            Origin::Local,
            Arc::new(Largest)
        ),
        Ok(())
    );
}

#[test]
fn no_peer_takes_the_place_of_an_own_record() {
    let mut store = store(MemoryStoreConfig::default());
    let own = Record {
        expires: Some(NOW.saturating_add(Duration::from_secs(100))),
        ..Record::new("key", "5 own")
    };
    put_as(&mut store, own.clone(), Origin::Local, Arc::new(Largest)).unwrap();
    let later = Some(NOW.saturating_add(Duration::from_secs(1)));
    let mut write = |value: &'static [u8], validator: Arc<dyn Validator>| {
        let record = Record {
            expires: later,
            ..Record::new("key", value)
        };
        put_as(&mut store, record, Origin::Peer(peer(1)), validator)
    };
    assert_eq!(
        write(b"other", Arc::new(AcceptAll)),
        Err(StoreError::Older),
        "as good is not better"
    );
    assert_eq!(
        write(b"5 theirs", Arc::new(Largest)),
        Err(StoreError::Older)
    );
    assert_eq!(write(b"5 own", Arc::new(Largest)), Ok(()), "the same");
    assert_eq!(get(&mut store, "key", NOW), Some(own.clone()));
    let mut write = |value: &'static [u8]| {
        let record = Record {
            expires: later,
            ..Record::new("key", value)
        };
        put_as(&mut store, record, Origin::Peer(peer(1)), Arc::new(Largest))
    };
    assert_eq!(write(b"6"), Ok(()), "better is better");
    let stored: Vec<_> = store.records().collect();
    let record = Record {
        value: "6".into(),
        ..own
    };
    assert_eq!(
        stored,
        [StoredRecord {
            record,
            local: true
        }],
        "and as long as this node wanted"
    );
}

#[test]
fn a_replayed_record_does_not_expire_earlier() {
    let mut store = store(MemoryStoreConfig::default());
    let until = |secs| Record {
        expires: Some(NOW.saturating_add(Duration::from_secs(secs))),
        ..Record::new("key", "value")
    };
    for (secs, expires) in [(10, 10), (1, 10), (12, 12)] {
        put(&mut store, until(secs), Origin::Peer(peer(secs as u32))).unwrap();
        assert_eq!(get(&mut store, "key", NOW), Some(until(expires)));
    }
}

#[test]
fn what_has_expired_makes_room_and_is_swept() {
    let mut store =
        MemoryStore::with_position(None, MemoryStoreConfig::default().with_max_records(2));
    let until = |key: &str, secs| Record {
        expires: Some(NOW.saturating_add(Duration::from_secs(secs))),
        ..Record::new(key, "value")
    };
    let write = |record, now| StoreRequest::Put {
        record,
        origin: Origin::Peer(now),
        validator: Arc::new(AcceptAll),
    };
    for record in [until("a", 10), until("b", 20)] {
        put(&mut store, record, Origin::Peer(peer(1))).unwrap();
    }
    let later = NOW.saturating_add(Duration::from_secs(10));
    assert_eq!(get(&mut store, "a", later), None);
    assert!(get(&mut store, "b", later).is_some());
    assert_eq!(
        store.reply(write(until("c", 20), peer(1)), later),
        StoreReply::Put(Ok(()))
    );
    let end = NOW.saturating_add(Duration::from_secs(20));
    assert_eq!(store.reply(StoreRequest::Sweep, end), StoreReply::Swept(2));
    assert_eq!(store.reply(StoreRequest::Sweep, end), StoreReply::Swept(0));
    assert_eq!(store.bytes(), (0, 0));
}

#[test]
fn records_are_paged_in_the_order_of_their_keys() {
    let mut store = store(MemoryStoreConfig::default());
    for number in [3, 1, 2, 5, 4] {
        let origin = if number % 2 == 0 {
            Origin::Local
        } else {
            Origin::Peer(peer(number))
        };
        put(
            &mut store,
            Record::new(format!("{number}").as_str(), "value"),
            origin,
        )
        .unwrap();
    }
    let (mut after, mut all) = (None, Vec::new());
    while let StoreReply::Records(page) = store.reply(
        StoreRequest::Records {
            after: after.clone(),
            limit: 2,
        },
        NOW,
    ) {
        let Some(last) = page.last() else { break };
        after = Some(last.record.key.clone());
        all.extend(
            page.into_iter()
                .map(|stored| (stored.record.key, stored.local)),
        );
    }
    let expected: Vec<(RecordKey, _)> = [
        ("1", false),
        ("2", true),
        ("3", false),
        ("4", true),
        ("5", false),
    ]
    .map(|(key, local)| (key.into(), local))
    .into();
    assert_eq!(all, expected);
    store.retain(|stored| stored.local);
    assert_eq!(store.records().count(), 2);
    assert_eq!(store.bytes(), (0, 12));
}

#[test]
fn two_providers_of_a_key_are_in_one_network_and_the_third_is_left_out() {
    let mut store = store(MemoryStoreConfig::default());
    for (number, addresses, result) in [
        (1, &["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.9/tcp/1"][..], Ok(())),
        (2, &["/ip4/1.2.3.5/udp/1/quic-v1"], Ok(())),
        (3, &["/ip4/1.2.3.6/tcp/1"], Err(StoreError::MaxProviders)),
        (2, &["/ip4/1.2.3.7/tcp/1"], Ok(())),
        (
            4,
            &["/ip4/1.2.4.1/tcp/1", "/ip6/2606:4700:1:200::1/tcp/1"],
            Ok(()),
        ),
        (5, &["/ip6/2606:4700:1:2ff::1/tcp/1"], Ok(())),
        (
            6,
            &["/ip6/2606:4700:1:234::1/tcp/1"],
            Err(StoreError::MaxProviders),
        ),
        (
            7,
            &["/ip6/2606:4700:1:300::1/tcp/1", "/ip4/1.2.3.1/tcp/1"],
            Ok(()),
        ),
        (8, &["/ip4/192.168.1.1/tcp/1"], Ok(())),
        (9, &["/ip4/192.168.1.2/tcp/1"], Ok(())),
        (10, &["/ip4/192.168.1.3/tcp/1"], Ok(())),
        (11, &[], Ok(())),
    ] {
        assert_eq!(
            add_peer(&mut store, provider("key", number, addresses)),
            result,
            "{number}"
        );
    }
    let all = providers(&mut store, "key");
    let seventh = all
        .iter()
        .find(|record| record.provider == peer(7))
        .unwrap();
    assert_eq!(seventh.addresses, at(&["/ip6/2606:4700:1:300::1/tcp/1"]));
    assert_eq!(
        add(
            &mut store,
            provider("key", 99, &["/ip4/1.2.3.3/tcp/1"]),
            Origin::Local
        ),
        Ok(())
    );
}

#[test]
fn a_provider_has_as_many_addresses_as_it_may() {
    let mut store = store(MemoryStoreConfig::default());
    let addresses: Vec<Multiaddr> = (0..1000)
        .map(|port| format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap())
        .collect();
    add_peer(
        &mut store,
        ProviderRecord::new("key", peer(1), addresses.clone()),
    )
    .unwrap();
    assert_eq!(providers(&mut store, "key")[0].addresses, addresses[..16]);
    let name = format!("/dns4/{}/tcp/1", "a".repeat(400))
        .parse::<Multiaddr>()
        .unwrap();
    add_peer(
        &mut store,
        ProviderRecord::new("key", peer(1), vec![name; 16]),
    )
    .unwrap();
    assert_eq!(
        providers(&mut store, "key")[0].addresses.len(),
        5,
        "of 2 KiB"
    );
}

/// D6.
#[test]
fn a_flood_of_providers_passes_no_limit_and_displaces_nobody_who_is_near() {
    let mut store = store(MemoryStoreConfig::default());
    let local = Key::of_peer(&peer(u32::MAX));
    let candidates = (0..5000).map(|number| format!("honest {number}"));
    let near = candidates
        .min_by_key(|key| local.distance(&Key::of(key.as_bytes())))
        .unwrap();
    add_peer(&mut store, provider(&near, 0, &["/ip4/9.9.9.9/tcp/1"])).unwrap();
    add(&mut store, provider("own", 1, &[]), Origin::Local).unwrap();
    for number in 2..50_000 {
        let key = format!("{number}");
        let address = format!(
            "/ip4/{}.{}.{}.1/tcp/1",
            11 + number % 100,
            number / 100 % 250,
            number / 25_000
        );
        let _ = add_peer(&mut store, provider(&near, number, &[&address]));
        let _ = add_peer(&mut store, provider(&key, number, &[&address]));
        let _ = add_peer(&mut store, provider(&key, 7, &[&address]));
    }
    assert_eq!(store.providers.provided_keys(), 1024);
    assert!(store.providers.len() <= 1023 + 64 + 20 + 1);
    let all = providers(&mut store, &near);
    assert_eq!(all.len(), 20);
    assert!(all.iter().any(|record| record.provider == peer(0)));
    assert_eq!(provided(&mut store).len(), 1);
}

/// D6, for one key.
#[test]
fn an_honest_provider_of_a_flooded_key_is_still_given() {
    let mut store = store(MemoryStoreConfig::default());
    add_peer(&mut store, provider("one", 0, &["/ip4/9.9.9.9/tcp/1"])).unwrap();
    let refused = (1..50_000).filter(|number| {
        let address = format!("/ip4/66.6.6.{}/tcp/{}", number % 256, number / 256);
        add_peer(&mut store, provider("one", *number, &[&address])).is_err()
    });
    assert_eq!(refused.count(), 49_999 - 2);
    assert_eq!(providers(&mut store, "one")[0].provider, peer(0));
}

/// D7.
#[test]
fn a_flood_of_records_passes_no_limit() {
    let mut store = store(MemoryStoreConfig::default());
    let value = Bytes::from(vec![7; 65 * 1024]);
    put(&mut store, Record::new("own", value.clone()), Origin::Local).unwrap();
    for number in 0..3000_u32 {
        let record = Record::new(format!("{number}").as_str(), value.clone());
        let _ = put(&mut store, record, Origin::Peer(peer(number % 40)));
        let (bytes, own) = store.bytes();
        assert!(bytes <= 64 << 20 && own == 3 + 65 * 1024);
    }
    let count = store.records().count();
    assert!((1000..=1024).contains(&count), "{count}");
    assert!(get(&mut store, "own", NOW).is_some());
}

#[test]
fn what_is_kept_does_not_hold_the_message_it_came_in() {
    let mut store = store(MemoryStoreConfig::default());
    let message = Bytes::from(vec![b'a'; 100_000]);
    let record = Record::new(RecordKey::new(message.slice(..3)), message.slice(3..5));
    put(&mut store, record, Origin::Peer(peer(1))).unwrap();
    add(
        &mut store,
        ProviderRecord::new(RecordKey::new(message.slice(..3)), peer(1), Vec::new()),
        Origin::Peer(peer(1)),
    )
    .unwrap();
    assert!(message.is_unique());
}

/// Fails if what was kept before is not put in order anew.
#[test]
fn a_store_that_learns_late_whose_it_is_does_the_same_as_one_that_always_knew() {
    let config = || {
        MemoryStoreConfig::default()
            .with_max_records(8)
            .with_max_provided_keys(8)
    };
    let mut knew = store(config());
    let mut late = MemoryStore::with_config(config());
    let mut elsewhere = MemoryStore::new(&peer(77), config());
    let fill = |store: &mut MemoryStore, numbers: core::ops::Range<u32>| {
        for number in numbers {
            let key = format!("key {number}");
            let from = Origin::Peer(peer(number));
            let _ = put(store, Record::new(&*key, "value"), from);
            let _ = add_peer(store, provider(&key, number, &[]));
        }
    };
    for store in [&mut knew, &mut late, &mut elsewhere] {
        fill(store, 0..8);
        store.begin(&peer(u32::MAX));
        fill(store, 8..200);
    }
    let keys = |store: &mut MemoryStore| -> (Vec<_>, Vec<_>) {
        let records = store.records().map(|stored| stored.record.key).collect();
        let provided = (0..200).map(|number| format!("key {number}"));
        let provided = provided
            .filter(|key| !providers(store, key).is_empty())
            .collect();
        (records, provided)
    };
    let expected = keys(&mut knew);
    assert_eq!((expected.0.len(), expected.1.len()), (8, 8));
    assert_eq!(keys(&mut late), expected);
    assert_eq!(keys(&mut elsewhere), expected);
}
