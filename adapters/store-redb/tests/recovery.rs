//! How long it takes to open a large store that was not closed. In a program of its own, because the time on processors is
//! the whole process's.
//!
//! `DRYWIRE_RECOVERY_RECORDS` says how large; 2000 records if it is not set.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    unreachable_pub
)]

mod common;

use common::{NOW, TempFile, local, next, peer, put_request, waker};
use core::time::Duration;
use drywire::protocol::kad::{
    Record,
    store::{MemoryStoreConfig, Origin, RecordStore, StoreReply, StoreRequestId},
};
use drywire_store_redb::{RedbStore, RedbStoreConfig};
use std::{env, fs, time::Instant};

/// The time this process has had on processors, if the system says so; a tick is 10 ms.
fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (user, system): (u64, u64) = (fields.nth(11)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * 10))
}

fn fill(path: &std::path::Path, config: &RedbStoreConfig, count: u64) {
    let mut store = RedbStore::open_at(path, &local(), config.clone(), NOW).unwrap();
    let (mut sent, mut taken) = (0, 0);
    while taken < count {
        if sent < count && sent - taken < 1000 {
            let origin = if sent.is_multiple_of(2) {
                Origin::Local
            } else {
                Origin::Peer(peer((sent % 5000) as u32))
            };
            let request = put_request(&format!("/ns/{sent:060}"), vec![sent as u8; 256], origin);
            assert_eq!(
                store.submit(StoreRequestId(sent), request, NOW, Some(&waker())),
                None
            );
            sent += 1;
        } else {
            assert_eq!(next(&mut store).1, StoreReply::Put(Ok(())));
            taken += 1;
        }
    }
}

#[test]
fn a_large_store_is_opened_soon() {
    let count: u64 =
        env::var("DRYWIRE_RECOVERY_RECORDS").map_or(2000, |count| count.parse().unwrap());
    let mut limits = MemoryStoreConfig::default();
    (limits.max_records, limits.max_own_records) = (1 << 20, 1 << 20);
    (limits.max_bytes, limits.max_own_bytes) = (1 << 30, 1 << 30);
    let config = RedbStoreConfig::default().with_limits(limits);
    let (file, copy) = (TempFile::new("recovery"), TempFile::new("recovery-copy"));
    let start = Instant::now();
    fill(&file.0, &config, count);
    println!("{count} records written in {:?}", start.elapsed());
    let measure = |path: &std::path::Path, how: &str| {
        let (wall, processor) = (Instant::now(), processor_time());
        let mut store = RedbStore::open_at(path, &local(), config.clone(), NOW).unwrap();
        let took = processor
            .zip(processor_time())
            .map(|(before, after)| after - before);
        println!(
            "opening {how}: {:?}, {took:?} of them on processors",
            wall.elapsed()
        );
        assert_eq!(store.statistics().records, count);
        assert!(took.is_none_or(|took| took < Duration::from_secs(5)));
        let wall = Instant::now();
        for number in 0..20 {
            common::put(
                &mut store,
                Record::new(format!("/ns/{:060}", 0).as_str(), vec![number]),
                Origin::Local,
            )
            .unwrap();
        }
        println!(
            "each of 20 records, one after the other: {:?}",
            wall.elapsed() / 20
        );
        // As it is while it is open, so as a crash leaves it.
        fs::copy(path, &copy.0).unwrap();
    };
    measure(&file.0, "after a clean end");
    let crashed = TempFile::new("recovery-crashed");
    fs::copy(&copy.0, &crashed.0).unwrap();
    measure(&crashed.0, "after a crash");
}
