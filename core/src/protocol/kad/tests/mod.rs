//! The machine among others of its kind.

mod bench;
mod budget;
mod dual;
mod finding;
mod nodes;
mod reference;
mod regressions;
mod schedules;
mod stores;
mod streams;
mod village;

use crate::protocol::kad::{
    Config, Event, GetClosestPeersOk, GetProvidersOk, GetRecordOk, Key, QueryOptions, QueryResult,
    Quorum, Record, RecordKey,
};
use core::time::Duration;
use std::{collections::BTreeSet, vec::Vec};
use village::{Village, peer};

fn config() -> Config {
    let mut config = Config::new(crate::multistream::ProtocolName::from_static("/test/kad/1"));
    config.periodic_bootstrap_interval = None;
    config.automatic_bootstrap_throttle = None;
    config
}

fn true_closest(count: usize, key: &[u8]) -> Vec<crate::identity::PeerId> {
    let target = Key::of(key);
    let mut all: Vec<_> = (0..count).map(peer).collect();
    all.sort_by_key(|peer| Key::of_peer(peer).distance(&target));
    all
}

#[test]
fn a_lookup_finds_the_closest_of_all() {
    let mut village = Village::new(100, &config());
    village.populate();
    let mut found = 0;
    for number in 0..20 {
        let key = std::format!("key {number}");
        let id = village
            .run(number, |dht, at| {
                dht.get_closest_peers(at, key.as_bytes(), QueryOptions::new())
            })
            .unwrap();
        village.run_for(Duration::from_secs(60));
        let Some(Event::OutboundQueryProgressed {
            result: QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })),
            ..
        }) = village.last(number, id)
        else {
            panic!("no result");
        };
        let expected: Vec<_> = true_closest(100, key.as_bytes())
            .into_iter()
            .filter(|other| *other != peer(number))
            .take(20)
            .collect();
        let got: Vec<_> = peers.iter().map(|info| info.peer).collect();
        found += expected.iter().filter(|peer| got.contains(peer)).count();
    }
    assert_eq!(found, 400, "of 400 closest peers");
}

#[test]
fn a_record_lands_on_the_closest_and_is_found_by_anybody() {
    let mut village = Village::new(60, &config());
    village.populate();
    let record = Record::new("the key", "the value");
    let id = village
        .run(3, |dht, at| {
            dht.put_record(at, record, Quorum::All, QueryOptions::new())
        })
        .unwrap();
    village.run_for(Duration::from_secs(60));
    let Some(Event::OutboundQueryProgressed {
        result: QueryResult::PutRecord(Ok(put)),
        ..
    }) = village.last(3, id)
    else {
        panic!("{:?}", village.events[3]);
    };
    let took: BTreeSet<_> = put.success.into_iter().collect();
    let expected: BTreeSet<_> = true_closest(60, b"the key")
        .into_iter()
        .filter(|other| *other != peer(3))
        .take(20)
        .collect();
    assert_eq!(took, expected);
    for number in [0, 30, 59] {
        let id = village
            .run(number, |dht, at| {
                dht.get_record(at, RecordKey::from("the key"), QueryOptions::new())
            })
            .unwrap();
        village.run_for(Duration::from_secs(60));
        let Some(Event::OutboundQueryProgressed {
            result:
                QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord { best, .. })),
            ..
        }) = village.last(number, id)
        else {
            panic!("not found: {:?}", village.last(number, id));
        };
        assert_eq!(best.record.value, "the value");
    }
}

#[test]
fn a_provider_is_found_with_its_addresses() {
    let mut village = Village::new(60, &config());
    village.populate();
    let key = RecordKey::from("provided");
    let id = village
        .run(7, |dht, at| dht.start_providing(at, key.clone()))
        .unwrap();
    village.run_for(Duration::from_secs(60));
    let ended = village.last(7, id);
    assert!(
        matches!(&ended, Some(Event::OutboundQueryProgressed { result: QueryResult::StartProviding(Ok(ok)), .. }) if ok.told == 20),
        "{ended:?}"
    );
    village
        .run(50, |dht, at| {
            dht.get_providers(at, key.clone(), QueryOptions::new())
        })
        .unwrap();
    village.run_for(Duration::from_secs(60));
    let mut found = Vec::new();
    for event in &village.events[50] {
        if let Event::OutboundQueryProgressed {
            result: QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
            ..
        } = event
        {
            found.extend(providers.clone());
        }
    }
    assert_eq!(found.len(), 1, "told once");
    assert_eq!(found[0].peer, peer(7));
    assert_eq!(found[0].addresses, [village::address(7)]);
}

/// Without an estimate an announcement is an ordinary one; with one it needs fewer requests and reaches nearly the same peers.
#[test]
fn an_optimistic_announcement_is_shorter_and_lands_where_it_should() {
    let announce = |optimistic: bool| {
        let mut config = config();
        config.optimistic_provide = optimistic;
        let mut village = Village::new(200, &config);
        village.populate();
        for number in 0..10 {
            let key = std::format!("lookup {number}");
            village
                .run(0, |dht, at| {
                    dht.get_closest_peers(at, key.as_bytes(), QueryOptions::new())
                })
                .unwrap();
            village.run_for(Duration::from_secs(20));
        }
        let size = village.nodes[0].network_size().estimate(village.now);
        let size = size.expect("ten lookups");
        assert!((100.0..400.0).contains(&size), "{size}");
        let (mut told, mut right, mut took) = (0, 0, Duration::ZERO);
        for number in 0..10 {
            let key = std::format!("thing {number}");
            let id = village
                .run(0, |dht, at| {
                    dht.start_providing(at, RecordKey::from(key.as_str()))
                })
                .unwrap();
            village.run_for(Duration::from_secs(20));
            let ended = village.last(0, id);
            let Some(Event::OutboundQueryProgressed {
                result: QueryResult::StartProviding(Ok(_)),
                stats,
                ..
            }) = ended
            else {
                panic!("{ended:?}")
            };
            took += stats.duration().unwrap();
            let closest = true_closest(200, key.as_bytes());
            let closest: BTreeSet<_> = closest
                .into_iter()
                .filter(|other| *other != peer(0))
                .take(20)
                .collect();
            for other in 1..200 {
                if village.provides(other, &RecordKey::from(key.as_str())) {
                    told += 1;
                    right += usize::from(closest.contains(&peer(other)));
                }
            }
        }
        (told, right, took)
    };
    let (classic_told, classic_right, classic_took) = announce(false);
    assert_eq!((classic_told, classic_right), (200, 200));
    let (told, right, took) = announce(true);
    assert!(told >= 195 && right >= 160, "{right} of {told}");
    assert!(took < classic_took, "{took:?} and {classic_took:?}");
}

#[test]
fn a_newcomer_without_a_chance_is_not_asked_anything() {
    let mut config = config();
    config.kbucket_size = core::num::NonZeroUsize::MIN;
    let mut village = Village::new(1, &config);
    let own = Key::of_peer(&peer(0));
    let far = |number: &usize| {
        let distance = Key::of_peer(&peer(*number)).distance(&own);
        distance.ilog2() == Some(255)
    };
    let mut others = (1..200).filter(far);
    let mut connect = |village: &mut Village, lives: bool| {
        let number = others.next().unwrap();
        village.run(0, |dht, at| {
            if lives {
                dht.handle_connected(at, peer(number), None);
            }
            dht.handle_protocol(at, peer(number), true, &[village::address(number)]);
        });
    };
    connect(&mut village, true);
    assert_eq!(village.requests, 1, "there is room");
    let number = (1..200).find(far).unwrap();
    village.introduce(0, number);
    connect(&mut village, true);
    connect(&mut village, false);
    assert_eq!(
        village.requests, 1,
        "the bucket is full of a peer that is there"
    );
    let told = village.events[0].iter();
    let told = told.filter(|event| matches!(event, Event::RoutablePeer { .. }));
    assert_eq!(told.count(), 2);
}

/// A connection keeps the address it was dialed at, and that must not keep the message that told it.
#[test]
fn an_address_to_dial_is_in_memory_of_its_own() {
    use crate::{
        protocol::kad::{
            Dht, MemoryStore, MemoryStoreConfig,
            dht::{Moment, Output},
            message::{ConnectionType, MessageType, ResponseWriter},
        },
        seed::Seed,
        time::{Instant, UnixTime},
    };
    let at = Moment {
        now: Instant::from_nanos(1),
        unix: UnixTime::EPOCH,
    };
    let store = MemoryStore::new(&peer(0), MemoryStoreConfig::default());
    let mut dht = Dht::new(peer(0), config(), store, &Seed::for_tests(1), at);
    let address = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
    let _ = dht.add_address(at, peer(1), &address);
    dht.get_closest_peers(at, b"key", QueryOptions::new())
        .unwrap();
    let asked = core::iter::from_fn(|| dht.poll_output()).find_map(|output| match output {
        Output::Request { rpc, .. } => Some(rpc),
        _ => None,
    });
    let mut response = Vec::new();
    let mut writer = ResponseWriter::new(&mut response, 1000, MessageType::FindNode, b"key");
    assert!(writer.closer_peer(&peer(2), [&address], ConnectionType::Connected));
    let response = bytes::Bytes::from(response);
    dht.handle_response(at, asked.unwrap(), Ok(response.clone()));
    let told = dht.addresses_of(&peer(2));
    assert_eq!(told, [address]);
    let message = response.as_ptr_range();
    assert!(!message.contains(&told[0].as_bytes().as_ptr()));
}
