//! Requests of peers.

use super::super::{
    bench::{Answer, Bench, HOUR, LOCAL, SECOND, by_distance, closer, named, quiet, roomy},
    village::{address, peer},
};
use crate::{
    multiaddr::Multiaddr,
    protocol::kad::{
        AddressScope, Event, InboundRequest, Mode, Record, StoreInserts,
        message::{Message, MessageType, request},
        store::Origin,
    },
};
use core::time::Duration;
use std::{format, vec, vec::Vec};

fn find(key: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    request::find_node(&mut message, key);
    message
}

fn get(key: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    request::get_value(&mut message, key);
    message
}

/// The 20 closest, whatever the replication factor; the one that asks is one of them if it is in the table.
#[test]
fn a_peer_is_told_of_the_closest() {
    let mut config = roomy();
    config.replication_factor = core::num::NonZeroUsize::MIN;
    let mut bench = Bench::new(config);
    bench.know(1..40);
    let closest = by_distance(1..40, b"key");
    let (told, _) = named(bench.request(closest[3], find(b"key")), 50);
    assert_eq!(told, closest[..20]);
    assert_eq!(
        bench.events.last(),
        Some(&Event::InboundRequest {
            request: InboundRequest::FindNode {
                num_closer_peers: 20
            },
        })
    );
    let (told, _) = named(bench.request(45, get(b"key")), 50);
    assert_eq!(told, closest[..20]);
    assert_eq!(bench.dht.statistics().answered, 2);
}

/// `FindPeer`: this node tells of itself, and of a client it has a connection to, who is in no table.
#[test]
fn who_is_looked_for_is_told_of_first() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    let own = find(peer(LOCAL).as_bytes());
    let (told, _) = named(bench.request(1, own.clone()), 50);
    assert_eq!((told[0], told.len()), (LOCAL, 5));
    let Some(Answer::Response(message)) = bench.request(1, own) else {
        panic!()
    };
    let own = Message::decode(&message)
        .unwrap()
        .closer_peers()
        .next()
        .unwrap();
    assert_eq!(own.to_info().addresses, [address(LOCAL)]);

    let knows = |who: &crate::identity::PeerId| -> Vec<Multiaddr> {
        if *who == peer(30) {
            vec![address(30)]
        } else {
            vec![]
        }
    };
    let (told, _) = named(bench.request_with(1, find(peer(30).as_bytes()), &knows), 50);
    assert_eq!((told[0], told.len()), (30, 5));
    // Not to itself, and not without an address.
    let (told, _) = named(
        bench.request_with(30, find(peer(30).as_bytes()), &knows),
        50,
    );
    assert_eq!(told.len(), 4);
    let (told, _) = named(bench.request_with(1, find(peer(31).as_bytes()), &knows), 50);
    assert_eq!(told.len(), 4);
    // One in the table is told of once.
    let (mut told, _) = named(
        bench.request_with(1, find(peer(3).as_bytes()), &|_| vec![address(3)]),
        50,
    );
    assert_eq!(told[0], 3);
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3, 4]);
}

/// `handlers_test`: what does not fit is left out, so that a rust-libp2p node takes it.
#[test]
fn no_response_is_longer_than_its_budget() {
    let mut bench = Bench::new(quiet());
    for number in 1..21 {
        for port in 0..16 {
            let host = "x".repeat(60);
            let far = format!("/dns4/{host}{number}.example/tcp/{}", 4001 + port);
            let far = far.parse().unwrap();
            let _ = bench.run(|dht, at| dht.add_address(at, peer(number), &far));
        }
    }
    bench.store(Record::new("key", vec![7; 60_000]), Origin::Local);
    for (message, budget) in [(find(b"key"), 16 * 1024), (get(b"key"), 16 * 1024 + 60_000)] {
        let answer = bench.request(1, message);
        let Some(Answer::Response(response)) = &answer else {
            panic!("{answer:?}")
        };
        assert!(response.len() <= budget, "{}", response.len());
        assert!(named(answer, 50).0.len() > 10);
    }
}

/// `BadProtoMessages`: it costs the sender its place in the table.
#[test]
fn what_is_no_request_is_refused_and_costs() {
    let unknown = [0x08, 0x09];
    let truncated = &find(b"key")[..3];
    let mut put = Vec::new();
    let now = crate::time::UnixTime::from_secs(0);
    request::put_value(&mut put, &Record::new("key", "value"), now, None);
    let mut mismatched = put.clone();
    mismatched.extend_from_slice(&find(b"other")[2..]);
    let keyless_put = {
        let mut put = Vec::new();
        request::put_value(&mut put, &Record::new("", "value"), now, None);
        put
    };
    let mut huge = Vec::new();
    request::put_value(
        &mut huge,
        &Record::new("key", vec![0; 65 * 1024 + 1]),
        now,
        None,
    );
    let cases: Vec<Vec<u8>> = vec![
        b"garbage".to_vec(),
        unknown.to_vec(),
        truncated.to_vec(),
        find(b""),
        get(b""),
        mismatched,
        keyless_put,
        huge,
        find(&[1; 17 * 1024]),
        // A put without a record.
        closer(MessageType::PutValue, &[]).to_vec(),
        closer(MessageType::AddProvider, &[]).to_vec(),
    ];
    for case in cases {
        let mut bench = Bench::new(quiet());
        bench.know([1]);
        assert_eq!(
            bench.request(1, case.clone()),
            Some(Answer::Refused),
            "{case:02x?}"
        );
        assert_eq!(bench.dht.statistics().malformed_requests, 1);
        assert!(bench.events.len() == 1, "{:?}", bench.events);
        bench.pass(SECOND);
        bench.request(1, case);
        assert!(!bench.dht.table().contains(&peer(1)));
    }
    // A message that is fine, to know that the above are not refused for another reason.
    let mut bench = Bench::new(quiet());
    assert!(matches!(bench.request(1, put), Some(Answer::Response(_))));
}

#[test]
fn a_ping_is_answered() {
    let mut bench = Bench::new(quiet());
    let mut ping = Vec::new();
    request::ping(&mut ping);
    let Some(Answer::Response(pong)) = bench.request(1, ping) else {
        panic!()
    };
    assert_eq!(Message::decode(&pong).unwrap().kind, MessageType::Ping);
}

/// A record that has expired is not given, and is swept.
#[test]
fn an_expired_record_is_not_given() {
    let mut config = quiet();
    config.sweep_interval = Some(HOUR);
    let mut bench = Bench::new(config);
    let mut record = Record::new("key", "value");
    record.expires = Some(bench.at().unix.saturating_add(60 * SECOND));
    bench.store(record, Origin::Peer(peer(5)));
    let told = |bench: &mut Bench| {
        bench.request(1, get(b"key"));
        matches!(
            bench.events.last(),
            Some(Event::InboundRequest {
                request: InboundRequest::GetRecord {
                    present_locally: true,
                    ..
                },
            })
        )
    };
    assert!(told(&mut bench));
    bench.pass(60 * SECOND - Duration::from_nanos(1));
    assert!(told(&mut bench));
    bench.pass(Duration::from_nanos(1));
    assert!(!told(&mut bench));
    bench.pass(HOUR);
    assert_eq!(bench.dht.statistics().swept, 1);
}

/// `put_record` with a filter: the application gets the record, nothing is stored until it says so.
#[test]
fn with_a_filter_the_application_decides_about_records() {
    let mut config = quiet();
    config.record_filtering = StoreInserts::FilterBoth;
    let mut bench = Bench::new(config);
    let mut put = Vec::new();
    let now = bench.at().unix;
    request::put_value(&mut put, &Record::new("key", "value"), now, None);
    assert!(matches!(bench.request(1, put), Some(Answer::Response(_))));
    assert!(bench.stored("key").is_none());
    let Some(Event::InboundRequest {
        request:
            InboundRequest::PutRecord {
                source,
                record: Some(record),
                ..
            },
    }) = bench.events.pop()
    else {
        panic!("{:?}", bench.events)
    };
    assert_eq!(source, peer(1));
    bench.run(|dht, at| dht.store_record(at, record, source));
    assert_eq!(bench.stored("key").unwrap().value, "value");
}

/// Addresses of another network are not told.
#[test]
fn only_addresses_of_the_own_network_are_told() {
    let mut config = quiet();
    config.address_scope = AddressScope::Public;
    let mut bench = Bench::new(config);
    let home: Multiaddr = "/ip4/192.168.1.7/tcp/4001".parse().unwrap();
    let both = [home.clone(), address(LOCAL)];
    bench.run(|dht, at| dht.handle_local_addresses(at, &both, &[]));
    let _ = bench.run(|dht, at| dht.add_address(at, peer(1), &home));
    let _ = bench.run(|dht, at| dht.add_address(at, peer(1), &address(1)));
    let Some(Answer::Response(message)) = bench.request(2, find(peer(LOCAL).as_bytes())) else {
        panic!()
    };
    let message = Message::decode(&message).unwrap();
    let told: Vec<_> = message
        .closer_peers()
        .map(|told| told.to_info().addresses)
        .collect();
    assert_eq!(told, [[address(LOCAL)], [address(1)]]);
}

/// `ModeChange`, `DynamicModeSwitching`: by external addresses, unless it was told what to be.
#[test]
fn external_addresses_make_a_server() {
    let mut bench = Bench::new(quiet());
    let set = |bench: &mut Bench, mode| bench.run(|dht, _| dht.set_mode(mode));
    let addresses = |bench: &mut Bench, external: &[Multiaddr]| {
        bench.run(|dht, at| dht.handle_local_addresses(at, &[address(1)], external));
    };
    bench.modes.clear();
    addresses(&mut bench, &[]);
    assert_eq!(bench.dht.mode(), Mode::Server, "it was told to be one");
    set(&mut bench, None);
    set(&mut bench, None);
    addresses(&mut bench, &[address(2)]);
    addresses(&mut bench, &[address(3)]);
    set(&mut bench, Some(Mode::Client));
    addresses(&mut bench, &[]);
    set(&mut bench, None);
    let (server, client) = (Mode::Server, Mode::Client);
    assert_eq!(bench.modes, [client, server, client]);
    let told: Vec<_> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ModeChanged { new_mode } => Some(*new_mode),
            _ => None,
        })
        .collect();
    assert_eq!(told, [client, server], "what it was told to be is no news");
}
