//! What was acknowledged outlives a loss of power: of what was not synced, each sector is there or not.
//!
//! `DRYWIRE_POWER_CUTS` says how often; 300 times if it is not set.

use crate::{
    common::{Disk, NOW, Numbers, local, next, waker},
    ledger::{Ask, Ledger, acknowledges},
};
use drywire::protocol::kad::store::{RecordStore, StoreRequestId};
use drywire_store_redb::{RedbStore, RedbStoreConfig};
use std::env;

#[test]
fn what_was_acknowledged_is_there_after_a_loss_of_power() {
    let cuts: u64 = env::var("DRYWIRE_POWER_CUTS").map_or(300, |cuts| cuts.parse().unwrap());
    let (disk, mut numbers, mut ledger) = (Disk::default(), Numbers(7), Ledger::default());
    let (mut number, mut during_opening) = (0, 0);
    for _ in 0..cuts {
        disk.cut_after(numbers.below(150));
        let opened = RedbStore::open_with(disk.opener(), &local(), RedbStoreConfig::default(), NOW);
        if let Ok(mut store) = opened {
            let mut waiting = 0;
            let mut works = true;
            while works || waiting > 0 {
                if works && waiting < 10 {
                    number += 1;
                    let ask = Ask::random(number, &mut numbers);
                    ledger.ask(ask);
                    assert_eq!(
                        store.submit(StoreRequestId(number), ask.request(), NOW, Some(&waker())),
                        None
                    );
                    waiting += 1;
                }
                while waiting >= 10 || (!works && waiting > 0) || store.has_reply() {
                    let (id, reply) = next(&mut store);
                    waiting -= 1;
                    if acknowledges(&reply) {
                        ledger.acknowledge(id.0);
                    } else {
                        works = false;
                    }
                }
            }
        } else {
            during_opening += 1;
        }
        disk.power_on(&mut numbers);
        ledger.check(&mut disk.store(RedbStoreConfig::default(), NOW));
    }
    println!(
        "{cuts} cuts, {during_opening} of them while opening, {number} requests, {} acknowledged, none lost",
        ledger.acknowledged
    );
    assert!(ledger.acknowledged > cuts && during_opening > 0);
}
