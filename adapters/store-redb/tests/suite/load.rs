//! Many requests at once, and disks that fail.

use crate::common::{
    Disk, Largest, NOW, Numbers, TempFile, call, get, local, next, open, peer, put, put_request,
    waker,
};
use core::time::Duration;
use drywire::{
    protocol::kad::{
        Record, RecordKey,
        store::{Origin, RecordStore, StoreError, StoreReply, StoreRequest, StoreRequestId},
        validator::{InvalidRecord, Validator},
    },
    time::UnixTime,
};
use drywire_store_redb::{RedbStore, RedbStoreConfig};
use std::{collections::BTreeMap, io::ErrorKind, sync::Arc, thread};

const UNAVAILABLE: StoreReply = StoreReply::Failed(StoreError::Unavailable);

/// Requests for 20 keys without order and without waiting; the replies must be those of a map.
#[test]
fn requests_for_one_key_take_effect_in_their_order() {
    let file = TempFile::new("order");
    let (mut store, mut numbers) = (open(&file.0), Numbers(1));
    let mut there: BTreeMap<u64, u64> = BTreeMap::new();
    let mut expected = BTreeMap::new();
    let check = |store: &mut RedbStore, expected: &mut BTreeMap<StoreRequestId, StoreReply>| {
        let (id, reply) = next(store);
        assert_eq!(Some(reply), expected.remove(&id));
    };
    for step in 0..20_000 {
        let key = numbers.below(20);
        let name = format!("{key}");
        let (request, reply) = match numbers.below(4) {
            0 | 1 => {
                there.insert(key, step);
                (
                    put_request(&name, step.to_be_bytes().to_vec(), Origin::Local),
                    StoreReply::Put(Ok(())),
                )
            }
            2 => {
                let value = there
                    .get(&key)
                    .map(|value| Record::new(name.as_str(), value.to_be_bytes().to_vec()));
                (
                    StoreRequest::Get {
                        key: name.as_str().into(),
                    },
                    StoreReply::Record(value),
                )
            }
            _ => (
                StoreRequest::Remove {
                    key: name.as_str().into(),
                },
                StoreReply::Removed(there.remove(&key).is_some()),
            ),
        };
        let id = StoreRequestId(step);
        expected.insert(id, reply);
        assert_eq!(store.submit(id, request, NOW, Some(&waker())), None);
        if expected.len() > 500 || numbers.below(50) == 0 {
            check(&mut store, &mut expected);
        }
    }
    while !expected.is_empty() {
        check(&mut store, &mut expected);
    }
    assert_eq!(store.poll_reply(), None);
    assert!(!store.has_reply());
    let commits = store.statistics().commits;
    assert!(
        commits > 10 && commits < 5000,
        "{commits} commits for 20,000 requests"
    );
}

#[test]
fn one_request_too_many_is_refused_at_once() {
    let disk = Disk::default();
    let mut store = disk.store(RedbStoreConfig::default().with_max_pending(10), NOW);
    for number in 0..10 {
        assert_eq!(
            store.submit(
                StoreRequestId(number),
                put_request("key", "value", Origin::Local),
                NOW,
                Some(&waker())
            ),
            None
        );
    }
    let one_more = |store: &mut RedbStore| {
        store.submit(StoreRequestId(10), StoreRequest::Sweep, NOW, Some(&waker()))
    };
    assert_eq!(one_more(&mut store), Some(UNAVAILABLE));
    assert_eq!(store.statistics().refused, 1);
    next(&mut store);
    assert_eq!(one_more(&mut store), None);
    let mut left: Vec<_> = (0..10).map(|_| next(&mut store).0.0).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

/// Blocks the worker until told to go on, and panics if told so.
#[derive(Debug)]
struct Gate(std::sync::Mutex<std::sync::mpsc::Receiver<bool>>);

impl Validator for Gate {
    fn validate(&self, _: &RecordKey, _: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        assert!(self.0.lock().unwrap().recv().unwrap(), "a panic, as wanted");
        Ok(())
    }
    fn select(&self, _: &RecordKey, _: &[&[u8]]) -> usize {
        0
    }
}

#[test]
fn bytes_that_wait_are_limited() {
    let disk = Disk::default();
    let mut config = RedbStoreConfig::default();
    config.max_pending_bytes = 1000;
    let mut store = disk.store(config, NOW);
    put(&mut store, Record::new("key", "value"), Origin::Local).unwrap();
    let (go_on, gate) = std::sync::mpsc::channel();
    let request = StoreRequest::Put {
        record: Record::new("key", "other"),
        origin: Origin::Local,
        validator: Arc::new(Gate(std::sync::Mutex::new(gate))),
    };
    assert_eq!(
        store.submit(StoreRequestId(0), request, NOW, Some(&waker())),
        None
    );
    thread::sleep(Duration::from_millis(100));
    let put = |number, len| {
        (
            StoreRequestId(number),
            put_request("k", vec![0; len], Origin::Local),
        )
    };
    let mut submit = |(id, request)| store.submit(id, request, NOW, Some(&waker()));
    assert_eq!(submit(put(1, 600)), None);
    assert_eq!(submit(put(2, 600)), Some(UNAVAILABLE));
    assert_eq!(submit(put(3, 300)), None);
    go_on.send(true).unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut store).1, StoreReply::Put(Ok(())));
    }
}

#[test]
fn a_panic_of_a_validator_fails_its_requests_and_nothing_else() {
    let disk = Disk::default();
    let mut store = disk.store(
        RedbStoreConfig::default().with_retry_interval(Duration::ZERO),
        NOW,
    );
    put(&mut store, Record::new("key", "value"), Origin::Local).unwrap();
    let (go_on, gate) = std::sync::mpsc::channel();
    go_on.send(false).unwrap();
    let validator = Arc::new(Gate(std::sync::Mutex::new(gate)));
    let request = StoreRequest::Put {
        record: Record::new("key", "other"),
        origin: Origin::Local,
        validator,
    };
    assert_eq!(call(&mut store, request), UNAVAILABLE);
    assert_eq!(get(&mut store, "key"), Some(Record::new("key", "value")));
}

#[test]
fn while_the_disk_fails_nothing_is_acknowledged_and_then_all_is_as_before() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let disk = Disk::default();
        let config = RedbStoreConfig::default().with_retry_interval(Duration::ZERO);
        let mut store = disk.store(config.clone(), NOW);
        put(&mut store, Record::new("before", "value"), Origin::Local).unwrap();
        for round in 0..5 {
            disk.fail(Some(kind));
            for number in 0..5 {
                let request = put_request(
                    &format!("{round} {number}"),
                    vec![0; 60_000],
                    Origin::Peer(peer(number)),
                );
                assert_eq!(call(&mut store, request), UNAVAILABLE);
                assert!(!store.statistics().is_available);
            }
            disk.fail(None);
            assert_eq!(
                get(&mut store, "before"),
                Some(Record::new("before", "value"))
            );
            put(
                &mut store,
                Record::new(format!("after {round}").as_str(), "value"),
                Origin::Local,
            )
            .unwrap();
            assert!(store.statistics().is_available);
        }
        // Once a round for the disk that failed, not for each request that found it so.
        assert_eq!(store.statistics().disk_failures, 5);
        drop(store);
        let store = disk.store(config, NOW);
        assert_eq!(store.statistics().records, 6);
    }
}

#[test]
fn a_full_disk_says_so_wherever_it_fills_up() {
    let probe = Disk::default();
    let work = |store: &mut RedbStore| {
        (0..20)
            .map(|number| {
                call(
                    store,
                    put_request(
                        &format!("{number}"),
                        vec![number as u8; 3000],
                        Origin::Local,
                    ),
                )
            })
            .collect::<Vec<_>>()
    };
    drop(probe.store(RedbStoreConfig::default(), NOW));
    let before = probe.steps();
    work(&mut probe.store(RedbStoreConfig::default(), NOW));
    let steps = probe.steps() - before;
    assert!(steps > 40, "{steps}");
    let mut failed = 0;
    for at in (0..steps).step_by(3) {
        let disk = Disk::default();
        drop(disk.store(RedbStoreConfig::default(), NOW));
        disk.cut_after(at);
        let Ok(mut store) =
            RedbStore::open_with(disk.opener(), &local(), RedbStoreConfig::default(), NOW)
        else {
            continue;
        };
        let replies = work(&mut store);
        drop(store);
        disk.cut_after(u64::MAX);
        let mut store = disk.store(RedbStoreConfig::default(), NOW);
        for (number, reply) in replies.into_iter().enumerate() {
            let there = get(&mut store, &format!("{number}"));
            match reply {
                StoreReply::Put(Ok(())) => {
                    assert_eq!(there.unwrap().value, vec![number as u8; 3000])
                }
                other => {
                    assert_eq!(other, UNAVAILABLE);
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn the_better_record_stays_on_disk_too() {
    let file = TempFile::new("better");
    let mut store = open(&file.0);
    let mut write = |number: u64, origin| {
        let record = Record::new("key", number.to_be_bytes().to_vec());
        call(
            &mut store,
            StoreRequest::Put {
                record,
                origin,
                validator: Arc::new(Largest),
            },
        )
    };
    assert_eq!(write(5, Origin::Peer(peer(1))), StoreReply::Put(Ok(())));
    assert_eq!(
        write(4, Origin::Peer(peer(2))),
        StoreReply::Put(Err(StoreError::Older))
    );
    assert_eq!(write(6, Origin::Local), StoreReply::Put(Ok(())));
    assert_eq!(
        write(5, Origin::Local),
        StoreReply::Put(Err(StoreError::Older))
    );
    assert_eq!(
        get(&mut store, "key").unwrap().value,
        6_u64.to_be_bytes().to_vec()
    );
}
