//! What was asked of a store and acknowledged, and whether what is there after a crash agrees.

use crate::common::{NOW, Numbers, call, local, peer};
use core::time::Duration;
use drywire::{
    protocol::kad::{
        ProviderRecord, Record,
        store::{Origin, StoreReply, StoreRequest},
        validator::AcceptAll,
    },
    time::UnixTime,
};
use drywire_store_redb::RedbStore;
use std::{collections::BTreeMap, sync::Arc};

/// Keys of records and of providers.
pub const KEYS: u64 = 150;

/// One thing asked: what is there afterwards is decided by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub number: u64,
    pub key: u64,
    /// It is about a provider record, not a record.
    pub provides: bool,
    /// It removes.
    pub removes: bool,
}

fn origin(key: u64) -> Origin {
    if key.is_multiple_of(2) {
        Origin::Local
    } else {
        Origin::Peer(peer((key % 10) as u32))
    }
}

fn name(key: u64) -> String {
    format!("key {key}")
}

fn record(key: u64, number: u64) -> Record {
    let mut numbers = Numbers(number);
    let len = if numbers.below(20) == 0 {
        65_000
    } else {
        numbers.below(3000)
    };
    let mut value = number.to_be_bytes().to_vec();
    value.resize(8 + len as usize, numbers.next() as u8);
    Record {
        publisher: Some(peer(number as u32)),
        ..Record::new(name(key).as_str(), value)
    }
}

/// The number is in the time.
fn provider(key: u64, number: u64) -> ProviderRecord {
    let expires = NOW.saturating_add(Duration::from_secs(1_000_000 + number));
    let address = format!("/ip4/8.8.8.8/tcp/{}", number % 65_536);
    let addresses = vec![address.parse().unwrap()];
    ProviderRecord {
        expires: Some(expires),
        ..ProviderRecord::new(name(key).as_str(), local(), addresses)
    }
}

fn number_of(expires: Option<UnixTime>) -> u64 {
    expires.unwrap().as_secs() - NOW.as_secs() - 1_000_000
}

impl Ask {
    pub fn random(number: u64, numbers: &mut Numbers) -> Self {
        let (key, provides) = (numbers.below(KEYS), numbers.below(4) == 0);
        // What is there for a peer is not removed.
        let removes = numbers.below(4) == 0 && (provides || key.is_multiple_of(2));
        Self {
            number,
            key,
            provides,
            removes,
        }
    }

    pub fn request(&self) -> StoreRequest {
        let Self {
            number,
            key,
            provides,
            removes,
        } = *self;
        match (provides, removes) {
            (false, false) => StoreRequest::Put {
                record: record(key, number),
                origin: origin(key),
                validator: Arc::new(AcceptAll),
            },
            (false, true) => StoreRequest::Remove {
                key: name(key).as_str().into(),
            },
            (true, false) => StoreRequest::AddProvider {
                record: provider(key, number),
                origin: Origin::Local,
            },
            (true, true) => StoreRequest::RemoveProvider {
                key: name(key).as_str().into(),
                provider: local(),
            },
        }
    }
}

/// Whether a reply acknowledges what was asked.
pub fn acknowledges(reply: &StoreReply) -> bool {
    matches!(
        reply,
        StoreReply::Put(Ok(())) | StoreReply::AddProvider(Ok(())) | StoreReply::Removed(_)
    )
}

/// Of one record, or provider record: what may be there, from what was acknowledged last to what was asked last.
#[derive(Clone, Debug)]
struct May(Vec<(u64, Option<u64>)>);

#[derive(Debug, Default)]
pub struct Ledger {
    may: BTreeMap<(bool, u64), May>,
    asked: BTreeMap<u64, Ask>,
    pub acknowledged: u64,
}

impl Ledger {
    pub fn ask(&mut self, ask: Ask) {
        let may = self
            .may
            .entry((ask.provides, ask.key))
            .or_insert_with(|| May(vec![(0, None)]));
        may.0
            .push((ask.number, (!ask.removes).then_some(ask.number)));
        self.asked.insert(ask.number, ask);
    }

    pub fn acknowledge(&mut self, number: u64) {
        let ask = self.asked.remove(&number).unwrap();
        let may = self.may.get_mut(&(ask.provides, ask.key)).unwrap();
        let at = may.0.iter().position(|(of, _)| *of == number).unwrap();
        may.0.drain(..at);
        self.acknowledged += 1;
    }

    /// After a crash: what is there is one of what may be, and from now on that.
    pub fn check(&mut self, store: &mut RedbStore) {
        for ((provides, key), may) in &mut self.may {
            let found = if *provides {
                provided_by(store, *key)
            } else {
                put_by(store, *key)
            };
            assert!(
                may.0.iter().any(|(_, number)| *number == found),
                "key {key}: found {found:?}, not one of {:?}",
                may.0
            );
            may.0 = vec![(0, found)];
        }
        self.asked.clear();
        assert_eq!(store.statistics().dropped_corrupt, 0);
    }
}

fn put_by(store: &mut RedbStore, key: u64) -> Option<u64> {
    let found = match call(
        store,
        StoreRequest::Get {
            key: name(key).as_str().into(),
        },
    ) {
        StoreReply::Record(found) => found?,
        other => panic!("{other:?}"),
    };
    let number = u64::from_be_bytes(*found.value.first_chunk().unwrap());
    assert_eq!(found, record(key, number), "whole");
    Some(number)
}

fn provided_by(store: &mut RedbStore, key: u64) -> Option<u64> {
    let found = match call(
        store,
        StoreRequest::Providers {
            key: name(key).as_str().into(),
        },
    ) {
        StoreReply::Providers(found) => found,
        other => panic!("{other:?}"),
    };
    assert!(found.len() <= 1);
    let number = number_of(found.first()?.expires);
    assert_eq!(found, [provider(key, number)], "whole");
    Some(number)
}
