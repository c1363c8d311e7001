//! Provider records.

use super::super::{
    bench::{
        Answer, Bench, HOUR, LOCAL, SECOND, by_distance, closer, key, kind, named, providers,
        quiet, roomy,
    },
    village::{Village, address, peer},
};
use crate::protocol::kad::{
    AddProviderError, AddProviderOk, Event, GetProvidersError, GetProvidersOk, InboundRequest,
    ProviderRecord, QueryId, QueryOptions, QueryRefused, QueryResult, RecordKey, StoreInserts,
    dht::RpcFailure,
    message::{Message, MessageType, request},
    store::{StoreReply, StoreRequest},
};
use core::{num::NonZeroUsize, time::Duration};
use std::{collections::BTreeSet, format, vec, vec::Vec};

const FIND: MessageType = MessageType::FindNode;
const PROVIDERS: MessageType = MessageType::GetProviders;

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn look_for(bench: &mut Bench, options: QueryOptions) -> QueryId {
    bench
        .run(|dht, at| dht.get_providers(at, "thing".into(), options))
        .unwrap()
}

/// Who was found, event by event.
fn found(bench: &Bench, query: QueryId) -> Vec<Vec<usize>> {
    let results = bench.results(query).into_iter();
    let found = results.filter_map(|(result, _)| match result {
        QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
            let all = (0..200).chain([LOCAL]);
            let number = |id| all.clone().find(|number| peer(*number) == id).unwrap();
            Some(
                providers
                    .into_iter()
                    .map(|info| number(info.peer))
                    .collect(),
            )
        }
        _ => None,
    });
    found.collect()
}

fn add_message(key: &str, provider: usize, addresses: &[usize]) -> Vec<u8> {
    let mut message = Vec::new();
    let addresses: Vec<_> = addresses.iter().map(|number| address(*number)).collect();
    let addresses = addresses.iter().map(|address| address.as_bytes());
    request::add_provider(&mut message, key.as_bytes(), &peer(provider), addresses);
    message
}

fn kept(bench: &mut Bench, key: &str) -> Vec<ProviderRecord> {
    let key = key.into();
    match bench.submit(StoreRequest::Providers { key }) {
        StoreReply::Providers(records) => records,
        reply => panic!("{reply:?}"),
    }
}

fn ask_providers(key: &str) -> Vec<u8> {
    let mut message = Vec::new();
    request::get_providers(&mut message, key.as_bytes());
    message
}

/// `add_provider`: exactly as many of the closest are told, and again after the interval.
#[test]
fn as_many_of_the_closest_are_told_as_it_should_be_and_told_again() {
    for (replication, disjoint) in [(1, false), (5, true), (20, false)] {
        let mut config = quiet();
        config.replication_factor = count(replication);
        config.disjoint_query_paths = disjoint;
        config.provider_publication_interval = Some(HOUR);
        config.provider_record_ttl = Some(HOUR / 2);
        let mut village = Village::new(30, &config);
        village.populate();
        let thing = RecordKey::from("thing");
        let query = village
            .run(3, |dht, at| dht.start_providing(at, thing.clone()))
            .unwrap();
        village.run_for(60 * SECOND);
        let Some(Event::OutboundQueryProgressed {
            result: QueryResult::StartProviding(Ok(AddProviderOk { told, .. })),
            ..
        }) = village.last(3, query)
        else {
            panic!("{:?}", village.last(3, query))
        };
        let closest = by_distance((0..30).filter(|number| *number != 3), b"thing");
        let closest: BTreeSet<_> = closest.into_iter().take(replication).collect();
        let know = |village: &mut Village| -> BTreeSet<usize> {
            let others = (0..30).filter(|number| *number != 3);
            others
                .filter(|number| village.provides(*number, &thing))
                .collect()
        };
        assert_eq!(know(&mut village).len(), told);
        assert!(know(&mut village).is_superset(&closest) && (disjoint || told == replication));
        village.run_for(HOUR / 2);
        assert_eq!(know(&mut village).len(), 0, "expired");
        village.run_for(HOUR / 2);
        assert!(know(&mut village).is_superset(&closest), "not told again");
        village.run(3, |dht, at| dht.stop_providing(at, thing.clone()));
        village.run_for(2 * HOUR);
        assert_eq!(know(&mut village).len(), 0, "told though it stopped");
    }
}

/// `get_providers_single` (rust-libp2p 1526): of two nodes one provides, and finds itself.
#[test]
fn a_node_finds_what_it_provides_itself() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    let query = bench
        .run(|dht, at| dht.start_providing(at, "thing".into()))
        .unwrap();
    bench.answer(1, closer(FIND, &[]));
    bench.sent(1);
    assert!(bench.end(query).is_ok());
    let query = look_for(&mut bench, QueryOptions::new());
    bench.answer(1, providers("thing", &[LOCAL], &[]));
    assert_eq!(found(&bench, query), [[LOCAL]]);
    assert_eq!(bench.results(query).len(), 2);
}

/// `get_providers_limit_1`, `_2`, `_5`.
#[test]
fn a_search_ends_when_as_many_were_found_as_wanted() {
    for limit in [1, 2, 5] {
        let mut bench = Bench::new(quiet());
        bench.know(1..11);
        let query = look_for(&mut bench, QueryOptions::new().count(count(limit)));
        for number in 1..=limit {
            assert!(!bench.is_over(query));
            bench.answer(number, providers("thing", &[100 + number], &[]));
        }
        assert!(bench.is_over(query), "{limit}");
        assert_eq!(found(&bench, query).concat().len(), limit);
        assert_eq!(bench.cancelled.len(), 10 - limit);
    }
}

#[test]
fn what_this_node_knows_may_be_enough() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    bench.request(7, add_message("thing", 7, &[7]));
    let query = look_for(&mut bench, QueryOptions::new().count(count(1)));
    assert_eq!(found(&bench, query), [[7]]);
    assert!(bench.is_over(query) && bench.asked.is_empty());
}

/// Each provider is told once, and an answer without a new one is no event.
#[test]
fn a_provider_is_told_once() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    bench.request(7, add_message("thing", 7, &[7]));
    let query = look_for(&mut bench, QueryOptions::new());
    bench.answer(1, providers("thing", &[7, 8, 8, LOCAL], &[]));
    bench.answer(2, providers("thing", &[8, 7], &[]));
    bench.answer(3, providers("thing", &[9, 8], &[]));
    bench.answer(4, closer(PROVIDERS, &[]));
    assert_eq!(found(&bench, query), [vec![7], vec![8], vec![9]]);
    let QueryResult::GetProviders(Ok(GetProvidersOk::FinishedWithNoAdditionalRecord {
        closest_peers,
    })) = bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!(closest_peers.len(), 4);
}

/// (rust-libp2p asks providers, too, though they need not be of the DHT.)
#[test]
fn providers_are_not_asked() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    let query = look_for(&mut bench, QueryOptions::new());
    bench.answer(1, providers("thing", &[50], &[2]));
    assert!(bench.is_asked(2) && !bench.is_asked(50));
    bench.answer(2, closer(PROVIDERS, &[]));
    assert!(bench.is_over(query));
}

#[test]
fn a_search_that_takes_too_long_tells_who_answered() {
    let mut config = quiet();
    config.query_timeout = 4 * SECOND;
    let mut bench = Bench::new(config);
    bench.know([1, 2]);
    let query = look_for(&mut bench, QueryOptions::new());
    bench.answer(1, closer(PROVIDERS, &[]));
    bench.pass(4 * SECOND);
    let (key, closest_peers) = ("thing".into(), vec![peer(1)]);
    let expected = GetProvidersError::Timeout { key, closest_peers };
    assert_eq!(bench.end(query), QueryResult::GetProviders(Err(expected)));
}

/// Told when sent, not when queued; nobody told is an error.
#[test]
fn an_announcement_counts_those_that_were_told() {
    let mut bench = Bench::new(quiet());
    bench.know(1..4);
    let provide = |bench: &mut Bench| {
        let query = bench
            .run(|dht, at| dht.start_providing(at, "thing".into()))
            .unwrap();
        for number in 1..4 {
            bench.answer(number, closer(FIND, &[]));
        }
        query
    };
    let query = provide(&mut bench);
    bench.sent(1);
    bench.fail(2, RpcFailure::Interrupted);
    assert!(!bench.is_over(query));
    bench.sent(3);
    let key: RecordKey = "thing".into();
    let told = AddProviderOk {
        key: key.clone(),
        told: 2,
    };
    assert_eq!(bench.end(query), QueryResult::StartProviding(Ok(told)));
    let query = provide(&mut bench);
    for number in 1..4 {
        bench.fail(number, RpcFailure::Busy);
    }
    let nobody = AddProviderError::NobodyReached { key };
    assert_eq!(bench.end(query), QueryResult::StartProviding(Err(nobody)));
}

#[test]
fn an_announcement_has_one_deadline_for_all_its_phases() {
    let mut config = quiet();
    (config.query_timeout, config.request_timeout) = (8 * SECOND, 100 * SECOND);
    let mut bench = Bench::new(config);
    bench.know(1..4);
    let query = bench
        .run(|dht, at| dht.start_providing(at, "thing".into()))
        .unwrap();
    bench.pass(4 * SECOND);
    for number in 1..4 {
        bench.answer(number, closer(FIND, &[]));
    }
    bench.sent(1);
    bench.pass(4 * SECOND - Duration::from_nanos(1));
    assert!(!bench.is_over(query));
    bench.pass(Duration::from_nanos(1));
    let (key, told) = ("thing".into(), 1);
    let late = AddProviderError::Timeout { key, told };
    assert_eq!(bench.end(query), QueryResult::StartProviding(Err(late)));
    // The others are told all the same.
    bench.sent(2);
    bench.sent(3);
    assert_eq!(bench.dht.leftovers(), [0; 3]);
}

/// Where this node listens, even without an external address: others refuse an empty list.
#[test]
fn an_announcement_says_where_this_node_may_be_reached() {
    let mut bench = Bench::new(quiet());
    bench.run(|dht, at| dht.handle_local_addresses(at, &[address(90), address(91)], &[]));
    bench.know([1]);
    bench
        .run(|dht, at| dht.start_providing(at, "thing".into()))
        .unwrap();
    bench.answer(1, closer(FIND, &[]));
    let asked = bench.take(1);
    let message = Message::decode(&asked.message).unwrap();
    let told: Vec<_> = message
        .provider_peers()
        .map(|told| told.to_info())
        .collect();
    assert_eq!((told.len(), told[0].peer), (1, peer(LOCAL)));
    assert_eq!(told[0].addresses, [address(90), address(91)]);
}

/// Only of oneself, and with a key of a usual length.
#[test]
fn a_peer_provides_only_itself() {
    let mut bench = Bench::new(quiet());
    assert_eq!(
        bench.request(2, add_message("thing", 3, &[3])),
        Some(Answer::Refused)
    );
    let long = "k".repeat(81);
    assert_eq!(
        bench.request(2, add_message(&long, 2, &[2])),
        Some(Answer::Refused)
    );
    assert_eq!(
        bench.request(2, ask_providers(&long)),
        Some(Answer::Refused)
    );
    assert!(kept(&mut bench, "thing").is_empty() && bench.events.is_empty());
    assert_eq!(bench.dht.statistics().malformed_requests, 3);
    // Somebody else in front does not matter.
    let mut message = add_message("thing", 3, &[3]);
    message.extend_from_slice(&add_message("thing", 2, &[2]));
    assert_eq!(bench.request(2, message), Some(Answer::Taken));
    let records = kept(&mut bench, "thing");
    assert_eq!((records.len(), records[0].provider), (1, peer(2)));
    assert_eq!(records[0].addresses, [address(2)]);
    assert_eq!(
        records[0].expires,
        Some(bench.at().unix.saturating_add(48 * HOUR))
    );
    let own = bench.run(|dht, at| dht.start_providing(at, long.as_str().into()));
    assert_eq!(own, Err(QueryRefused::KeyLength));
}

#[test]
fn with_a_filter_the_application_decides_about_providers() {
    let mut config = quiet();
    config.record_filtering = StoreInserts::FilterBoth;
    let mut bench = Bench::new(config);
    assert_eq!(
        bench.request(2, add_message("thing", 2, &[2])),
        Some(Answer::Taken)
    );
    assert!(kept(&mut bench, "thing").is_empty());
    let Some(Event::InboundRequest {
        request: InboundRequest::AddProvider {
            record: Some(record),
        },
    }) = bench.events.pop()
    else {
        panic!("{:?}", bench.events)
    };
    bench.run(|dht, at| dht.store_provider(at, record));
    assert_eq!(kept(&mut bench, "thing").len(), 1);
}

/// With the addresses this node has now; the one that asks is not told of itself.
#[test]
fn who_asks_for_providers_is_told_of_others() {
    let mut bench = Bench::new(quiet());
    for number in [2, 3] {
        bench.request(number, add_message("thing", number, &[number]));
    }
    bench
        .run(|dht, at| dht.start_providing(at, "thing".into()))
        .unwrap();
    bench.know([5]);
    let (closer, mut told) = named(bench.request(2, ask_providers("thing")), 10);
    told.sort_unstable();
    assert_eq!((closer, told), (vec![5], vec![3, LOCAL]));
    let Some(Event::InboundRequest {
        request:
            InboundRequest::GetProvider {
                num_closer_peers: 1,
                num_provider_peers: 2,
            },
    }) = bench.events.last()
    else {
        panic!("{:?}", bench.events.last())
    };
    bench.pass(48 * HOUR);
    let (_, told) = named(bench.request(2, ask_providers("thing")), 10);
    assert_eq!(told, [LOCAL], "expired ones are told");
}

/// After a day providers are told with the addresses of the routing table only.
#[test]
fn addresses_of_providers_are_told_for_a_day() {
    let mut bench = Bench::new(quiet());
    for number in [2, 3] {
        bench.request(
            number,
            add_message("thing", number, &[number, 100 + number]),
        );
    }
    bench.know([3]);
    let told = |bench: &mut Bench| {
        let Some(Answer::Response(answer)) = bench.request(9, ask_providers("thing")) else {
            panic!()
        };
        let message = Message::decode(&answer).unwrap();
        let peers = message.provider_peers();
        let mut told: Vec<_> = peers
            .map(|told| (told.peer, told.addresses().count()))
            .collect();
        let order = [peer(2), peer(3)];
        told.sort_by_key(|(who, _)| order.iter().position(|other| other == who));
        told
    };
    bench.pass(24 * HOUR - SECOND);
    assert_eq!(told(&mut bench), [(peer(2), 2), (peer(3), 2)]);
    bench.pass(SECOND);
    assert_eq!(told(&mut bench), [(peer(2), 0), (peer(3), 1)]);
    // So is the application.
    let query = look_for(&mut bench, QueryOptions::new());
    let Some((QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })), _)) =
        bench.results(query).into_iter().next()
    else {
        panic!()
    };
    let mut counts: Vec<_> = providers.iter().map(|info| info.addresses.len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 1]);
}

/// Closer peers with many long addresses leave room for providers.
#[test]
fn closer_peers_do_not_crowd_providers_out() {
    let mut config = quiet();
    config.response_budget = 16 * 1024;
    let mut bench = Bench::new(config);
    for number in 1..21 {
        for port in 0..16 {
            let host = "x".repeat(100);
            let address = format!("/dns4/{host}{number}.example/tcp/{}", 4001 + port);
            let address = address.parse().unwrap();
            let _ = bench.run(|dht, at| dht.add_address(at, peer(number), &address));
        }
    }
    assert_eq!(bench.dht.table().len(), 20);
    for number in 30..50 {
        // Each in a network of its own.
        bench.request(number, add_message("thing", number, &[number * 256]));
    }
    let answer = bench.request(2, ask_providers("thing"));
    let Some(Answer::Response(message)) = &answer else {
        panic!("{answer:?}")
    };
    assert!(message.len() <= 16 * 1024, "{}", message.len());
    let (closer, providers) = named(answer, 60);
    assert_eq!(providers.len(), 20);
    assert!(closer.len() >= 4, "{}", closer.len());
}

/// Optimistic provide: those told early that fail are not counted, and others are told in their place.
#[test]
fn an_optimistic_announcement_reaches_enough_though_peers_fail() {
    let mut config = quiet();
    config.optimistic_provide = true;
    let mut village = Village::new(150, &config);
    village.populate();
    for number in 0..10 {
        let target = key(number);
        village
            .run(0, |dht, at| {
                dht.get_closest_peers(at, target.as_bytes(), QueryOptions::new())
            })
            .unwrap();
        village.run_for(20 * SECOND);
    }
    assert!(
        village.nodes[0]
            .network_size()
            .estimate(village.now)
            .is_some()
    );
    // A third has left, without anybody knowing.
    village
        .gone
        .extend((1..150).filter(|number| number % 3 == 0));
    for number in 0..5 {
        let thing = RecordKey::from(format!("thing {number}").as_str());
        let query = village
            .run(0, |dht, at| dht.start_providing(at, thing.clone()))
            .unwrap();
        village.run_for(60 * SECOND);
        let Some(Event::OutboundQueryProgressed {
            result: QueryResult::StartProviding(Ok(ok)),
            ..
        }) = village.last(0, query)
        else {
            panic!("{:?}", village.last(0, query))
        };
        let know = (1..150)
            .filter(|other| village.provides(*other, &thing))
            .count();
        assert!(know >= ok.told, "{know} of {}", ok.told);
        assert!(know >= 10, "{know}");
        assert_eq!(village.nodes[0].leftovers()[0], 0);
    }
}

/// All those told early fail: the rest is told, or it is an error; the query ends in any case.
#[test]
fn an_optimistic_announcement_ends_though_everybody_fails() {
    let mut config = roomy();
    config.optimistic_provide = true;
    let mut bench = Bench::new(config);
    bench.know(1..120);
    for number in 0..6 {
        let target = key(number);
        bench
            .run(|dht, at| dht.get_closest_peers(at, target.as_bytes(), QueryOptions::new()))
            .unwrap();
        let nearest = by_distance(1..120, target.as_bytes());
        bench.serve(|_| Some(closer(FIND, &nearest[..20])));
    }
    assert!(bench.dht.network_size().estimate(bench.now).is_some());
    let query = bench
        .run(|dht, at| dht.start_providing(at, "thing".into()))
        .unwrap();
    let nearest = by_distance(1..120, b"thing");
    let (mut early, mut asked_early) = (0, 0);
    while let Some(asked) = (!bench.asked.is_empty()).then(|| bench.asked.remove(0)) {
        if kind(&asked).0 == FIND {
            let told = closer(FIND, &nearest[..20]);
            bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(told)));
            asked_early += 1;
        } else {
            early += usize::from(asked_early < 20);
            bench.run(|dht, at| dht.handle_response(at, asked.rpc, Err(RpcFailure::Unreachable)));
        }
    }
    assert!(early > 0, "nobody was told early");
    assert!(matches!(
        bench.end(query),
        QueryResult::StartProviding(Err(AddProviderError::NobodyReached { .. }))
    ));
    assert_eq!(bench.dht.leftovers(), [0; 3]);
    let own = bench.submit(StoreRequest::Providers {
        key: "thing".into(),
    });
    assert!(matches!(own, StoreReply::Providers(own) if own.len() == 1));
}
