//! What is there after a restart, and what is not.

use crate::common::{
    self, Disk, NOW, TempFile, add, call, call_at, get, local, open, peer, providers, put,
};
use core::time::Duration;
use drywire::{
    protocol::kad::{
        ProviderRecord, Record,
        store::{
            MemoryStoreConfig, Origin, RecordStore, StoreReply, StoreRequest, StoreRequestId,
            StoredRecord,
        },
    },
    time::UnixTime,
};
use drywire_store_redb::{OpenError, RedbStore, RedbStoreConfig};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const PEERS: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("providers");

fn after(secs: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(secs))
}

fn all(store: &mut RedbStore) -> Vec<StoredRecord> {
    match call(
        store,
        StoreRequest::Records {
            after: None,
            limit: usize::MAX,
        },
    ) {
        StoreReply::Records(all) => all,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let file = TempFile::new("restart");
    let record = Record {
        publisher: Some(peer(3)),
        expires: Some(after(10)),
        ..Record::new("peer's", vec![7; 66_560])
    };
    let own = Record::new("own", "");
    let address = "/ip4/1.2.3.4/udp/4001/quic-v1".parse().unwrap();
    let provider = ProviderRecord {
        expires: Some(after(20)),
        ..ProviderRecord::new("key", peer(1), vec![address])
    };
    let provided = ProviderRecord::new("key", local(), Vec::new());
    {
        let mut store = open(&file.0);
        put(&mut store, record.clone(), Origin::Peer(peer(1))).unwrap();
        put(&mut store, own.clone(), Origin::Local).unwrap();
        put(&mut store, Record::new("gone", "value"), Origin::Local).unwrap();
        assert_eq!(
            call(&mut store, StoreRequest::Remove { key: "gone".into() }),
            StoreReply::Removed(true)
        );
        add(&mut store, provider.clone(), Origin::Peer(peer(1))).unwrap();
        add(&mut store, provided.clone(), Origin::Local).unwrap();
        add(
            &mut store,
            ProviderRecord::new("gone", local(), Vec::new()),
            Origin::Local,
        )
        .unwrap();
        let remove = StoreRequest::RemoveProvider {
            key: "gone".into(),
            provider: local(),
        };
        assert_eq!(call(&mut store, remove), StoreReply::Removed(true));
    }
    let mut store = open(&file.0);
    let stored = |record: &Record, local| StoredRecord {
        record: record.clone(),
        local,
    };
    assert_eq!(
        all(&mut store),
        [stored(&own, true), stored(&record, false)]
    );
    assert_eq!(providers(&mut store, "key"), [provided, provider]);
    assert_eq!(providers(&mut store, "gone"), []);
    let statistics = store.statistics();
    assert_eq!(
        (
            statistics.records,
            statistics.provider_records,
            statistics.commits
        ),
        (2, 2, 0)
    );
    assert_eq!(
        (
            statistics.dropped_expired,
            statistics.dropped_corrupt,
            statistics.dropped_over_limit
        ),
        (0, 0, 0)
    );
    // Expiry is a matter of the wall clock.
    assert_eq!(
        call_at(
            &mut store,
            StoreRequest::Get {
                key: "peer's".into()
            },
            after(10)
        ),
        StoreReply::Record(None)
    );
}

#[test]
fn a_store_that_is_dropped_has_done_what_it_was_asked() {
    let file = TempFile::new("dropped");
    {
        let mut store = open(&file.0);
        for number in 0..500 {
            let request = common::put_request(&format!("{number}"), "value", Origin::Local);
            assert_eq!(
                store.submit(StoreRequestId(number), request, NOW, None),
                None
            );
        }
    }
    assert_eq!(open(&file.0).statistics().records, 500);
}

#[test]
fn what_has_expired_is_dropped_at_opening_and_by_a_sweep_and_counted() {
    let file = TempFile::new("expired");
    let until = |key: &str, secs| Record {
        expires: Some(after(secs)),
        ..Record::new(key, "value")
    };
    {
        let mut store = open(&file.0);
        for (key, secs) in [("a", 10), ("b", 20), ("c", 30)] {
            put(&mut store, until(key, secs), Origin::Peer(peer(1))).unwrap();
            let record = ProviderRecord {
                expires: Some(after(secs)),
                ..ProviderRecord::new(key, peer(1), Vec::new())
            };
            add(&mut store, record, Origin::Peer(peer(1))).unwrap();
        }
        assert_eq!(
            call_at(&mut store, StoreRequest::Sweep, after(10)),
            StoreReply::Swept(2)
        );
        assert_eq!(store.statistics().dropped_expired, 2);
    }
    let mut store =
        RedbStore::open_at(&file.0, &local(), RedbStoreConfig::default(), after(20)).unwrap();
    assert_eq!(
        (
            store.statistics().dropped_expired,
            store.statistics().records
        ),
        (2, 1)
    );
    assert_eq!(
        call_at(&mut store, StoreRequest::Sweep, after(29)),
        StoreReply::Swept(0)
    );
    assert_eq!(
        call_at(&mut store, StoreRequest::Sweep, after(30)),
        StoreReply::Swept(2)
    );
    drop(store);
    let database = Database::open(&file.0).unwrap();
    let reads = database.begin_read().unwrap();
    assert_eq!(reads.open_table(VALUES).unwrap().iter().unwrap().count(), 0);
    assert_eq!(reads.open_table(PEERS).unwrap().iter().unwrap().count(), 0);
}

/// Changes entries behind the store's back.
fn tamper(
    file: &TempFile,
    table: TableDefinition<'_, &'static [u8], &'static [u8]>,
    key: &str,
    change: impl FnOnce(&mut Vec<u8>),
) {
    let database = Database::open(&file.0).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(table).unwrap();
        let mut entry = table.get(key.as_bytes()).unwrap().unwrap().value().to_vec();
        change(&mut entry);
        table.insert(key.as_bytes(), &entry[..]).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn corrupt_entries_are_dropped_with_a_count_and_never_given_out() {
    let file = TempFile::new("corrupt");
    {
        let mut store = open(&file.0);
        for key in ["a", "b", "c", "d", "e", "f"] {
            put(
                &mut store,
                Record::new(key, format!("value of {key}")),
                Origin::Peer(peer(1)),
            )
            .unwrap();
            add(
                &mut store,
                ProviderRecord::new(key, peer(1), Vec::new()),
                Origin::Peer(peer(1)),
            )
            .unwrap();
        }
    }
    tamper(&file, RECORDS, "a", |entry| entry[5] ^= 1);
    tamper(&file, RECORDS, "b", Vec::clear);
    tamper(&file, VALUES, "c", |entry| entry[3] ^= 0x80);
    tamper(&file, VALUES, "d", |entry| entry.truncate(4));
    tamper(&file, VALUES, "e", |entry| *entry.last_mut().unwrap() ^= 1);
    {
        let database = Database::open(&file.0).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(PEERS)
            .unwrap()
            .insert((&b"f"[..], peer(1).as_bytes()), &b"nonsense"[..])
            .unwrap();
        transaction.commit().unwrap();
    }
    let mut store = open(&file.0);
    assert_eq!(
        (
            store.statistics().records,
            store.statistics().dropped_corrupt
        ),
        (4, 3)
    );
    assert_eq!(get(&mut store, "c"), None);
    assert_eq!(store.statistics().dropped_corrupt, 4);
    // The one is replaced, the other met in a list.
    put(&mut store, Record::new("d", "new"), Origin::Peer(peer(1))).unwrap();
    assert_eq!(store.statistics().dropped_corrupt, 5);
    let left: Vec<_> = all(&mut store)
        .into_iter()
        .map(|stored| stored.record)
        .collect();
    assert_eq!(
        left,
        [Record::new("d", "new"), Record::new("f", "value of f")]
    );
    assert_eq!(store.statistics().dropped_corrupt, 6);
    assert_eq!(providers(&mut store, "f"), []);
    assert_eq!(providers(&mut store, "e").len(), 1);
    drop(store);
    let store = open(&file.0);
    assert_eq!(
        (
            store.statistics().records,
            store.statistics().dropped_corrupt
        ),
        (2, 0),
        "gone for good"
    );
    drop(store);
    let database = Database::open(&file.0).unwrap();
    let reads = database.begin_read().unwrap();
    assert_eq!(
        reads.open_table(VALUES).unwrap().iter().unwrap().count(),
        2,
        "no value without a record"
    );
}

/// Of a file that was closed, or of one that was not.
fn flipped(is_closed: bool, rounds: u64) {
    let mut outcomes = [0; 3];
    let original = Disk::default();
    let record = |number: u32| Record::new(format!("{number}").as_str(), vec![number as u8; 900]);
    {
        let mut store = original.store(RedbStoreConfig::default(), NOW);
        for number in 0..50 {
            put(&mut store, record(number), Origin::Peer(peer(number))).unwrap();
        }
        if !is_closed {
            original.fail(Some(std::io::ErrorKind::Other));
        }
    }
    let mut numbers = common::Numbers(rounds);
    for _ in 0..rounds {
        let disk = original.copy();
        disk.flip(numbers.next());
        let opened = RedbStore::open_with(disk.opener(), &local(), RedbStoreConfig::default(), NOW);
        let Ok(mut store) = opened else {
            outcomes[0] += 1;
            continue;
        };
        let mut lost = 0;
        for number in 0..50 {
            match call(
                &mut store,
                StoreRequest::Get {
                    key: format!("{number}").as_str().into(),
                },
            ) {
                StoreReply::Record(Some(found)) => assert_eq!(found, record(number)),
                _ => lost += 1,
            }
        }
        outcomes[if lost > 0 { 1 } else { 2 }] += 1;
    }
    println!("{outcomes:?} not opened, records lost, nothing lost");
    // What is opened is whole: the bits that do not matter are those of pages that are free.
    assert!(outcomes[0] > 0 && outcomes[1] == 0, "{outcomes:?}");
}

#[test]
fn no_bit_that_turned_round_on_the_disk_is_given_out() {
    let rounds = std::env::var("DRYWIRE_BIT_FLIPS").map_or(300, |rounds| rounds.parse().unwrap());
    flipped(true, rounds);
    flipped(false, rounds / 3);
}

#[test]
fn lower_limits_hold_after_a_restart() {
    let file = TempFile::new("limits");
    {
        let mut store = open(&file.0);
        for number in 0..60 {
            put(
                &mut store,
                Record::new(format!("{number}").as_str(), "value"),
                Origin::Peer(peer(1)),
            )
            .unwrap();
            add(
                &mut store,
                ProviderRecord::new("key", peer(number), Vec::new()),
                Origin::Peer(peer(number)),
            )
            .err();
        }
        put(&mut store, Record::new("own", "value"), Origin::Local).unwrap();
    }
    let limits = MemoryStoreConfig::default()
        .with_max_records(10)
        .with_max_providers_per_key(5);
    let config = RedbStoreConfig::default().with_limits(limits);
    for dropped in [65, 0] {
        let mut store = RedbStore::open_at(&file.0, &local(), config.clone(), NOW).unwrap();
        assert_eq!(
            (
                store.statistics().records,
                store.statistics().dropped_over_limit
            ),
            (11, dropped)
        );
        assert_eq!(all(&mut store).len(), 11);
        assert_eq!(providers(&mut store, "key").len(), 5);
    }
}

#[test]
fn a_file_is_opened_once_at_a_time() {
    let file = TempFile::new("locked");
    let store = open(&file.0);
    let again = RedbStore::open(&file.0, &local(), RedbStoreConfig::default());
    assert_eq!(again.map(drop), Err(OpenError::Locked));
    drop(store);
    RedbStore::open(&file.0, &local(), RedbStoreConfig::default()).unwrap();
}

#[test]
fn files_of_others_are_left_as_they_are() {
    let file = TempFile::new("foreign");
    std::fs::write(&file.0, "a letter").unwrap();
    let opened = RedbStore::open(&file.0, &local(), RedbStoreConfig::default());
    assert!(matches!(opened, Err(OpenError::Corrupt(_))), "{opened:?}");
    assert_eq!(std::fs::read(&file.0).unwrap(), b"a letter");
    std::fs::remove_file(&file.0).unwrap();
    {
        drop(open(&file.0));
        let database = Database::open(&file.0).unwrap();
        let transaction = database.begin_write().unwrap();
        let formats: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
        transaction
            .open_table(formats)
            .unwrap()
            .insert("drywire-store-redb", 2)
            .unwrap();
        transaction.commit().unwrap();
    }
    let opened = RedbStore::open(&file.0, &local(), RedbStoreConfig::default());
    assert_eq!(opened.map(drop), Err(OpenError::UnknownFormat(2)));
    let nowhere = RedbStore::open(file.0.join("nowhere"), &local(), RedbStoreConfig::default());
    assert!(matches!(nowhere, Err(OpenError::Io(_))), "{nowhere:?}");
}
