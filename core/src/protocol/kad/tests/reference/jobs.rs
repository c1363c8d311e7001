//! Publishing again.

use super::super::{
    bench::{Bench, HOUR, SECOND, closer, echo, key, kind, quiet},
    stores::SlowStore,
    village::peer,
};
use crate::protocol::kad::{
    Config, Event, QueryOptions, QueryResult, Quorum, Record, RecordKey,
    dht::RpcFailure,
    message::{MessageType, request},
    store::{Origin, StoreReply, StoreRequest},
};
use core::time::Duration;
use std::{collections::BTreeMap, vec, vec::Vec};

const FIND: MessageType = MessageType::FindNode;
const PUT: MessageType = MessageType::PutValue;
const MINUTE: Duration = Duration::from_secs(60);

fn jobs(replication: Option<Duration>, publication: Option<Duration>) -> Config {
    let mut config = quiet();
    config.replication_interval = replication;
    config.publication_interval = publication;
    config
}

/// Lets time pass with a peer that takes everything. How often each key was put or announced.
fn serve(bench: &mut Bench, duration: Duration) -> BTreeMap<Vec<u8>, usize> {
    let mut given = BTreeMap::new();
    let end = bench.now + duration;
    loop {
        bench.serve(|asked| match kind(asked) {
            (PUT, key) => {
                *given.entry(key).or_default() += 1;
                Some(echo(&asked.message))
            }
            _ => Some(closer(FIND, &[])),
        });
        let next = bench.dht.poll_timeout().filter(|next| *next <= end);
        let Some(next) = next else { break };
        bench.pass(next - bench.now);
    }
    bench.now = end;
    given
}

fn own(bench: &mut Bench, numbers: core::ops::Range<usize>) {
    for number in numbers {
        bench.store(Record::new(key(number), "value"), Origin::Local);
    }
}

/// `new_job_not_running`, `run_put_record_job`: all that have not expired, once, one interval after the beginning and no
/// sooner.
#[test]
fn all_records_are_given_once_in_each_run() {
    let mut bench = Bench::new(jobs(Some(HOUR), Some(HOUR)));
    bench.know([1]);
    own(&mut bench, 0..300);
    for number in 300..340 {
        let mut record = Record::new(key(number), "value");
        let long = number % 2 == 0;
        let left = if long { 10 * HOUR } else { MINUTE };
        record.expires = Some(bench.at().unix.saturating_add(left));
        bench.store(record, Origin::Peer(peer(number)));
    }
    let early = serve(&mut bench, HOUR - Duration::from_nanos(1));
    assert!(early.is_empty());
    for _ in 0..3 {
        let given = serve(&mut bench, HOUR);
        assert_eq!(given.len(), 320);
        assert!(given.values().all(|times| *times == 1), "{given:?}");
    }
    let own = bench.events.iter().filter(|event| {
        matches!(
            event,
            Event::OutboundQueryProgressed {
                result: QueryResult::RepublishRecord(Ok(_)),
                ..
            }
        )
    });
    assert_eq!(own.count(), 900, "replication is silent");
    assert_eq!(bench.dht.queries().count(), 0);
}

/// A run that waits for room, when every query ends at once.
#[test]
fn a_run_under_way_ends_with_the_node() {
    let mut bench = Bench::new(jobs(Some(HOUR), Some(HOUR)));
    bench.know([1]);
    own(&mut bench, 0..300);
    bench.pass(HOUR);
    assert_eq!(bench.dht.queries().count(), 100);
    bench.events.clear();
    bench.run(|dht, at| dht.stop(at));
    assert_eq!(bench.dht.queries().count(), 0);
    assert_eq!(bench.events.len(), 100);
    assert_eq!(bench.dht.poll_timeout(), None);
}

/// `exceed_jobs_max_queries`, rust-libp2p 1290: never more than a hundred at once, and queries of the application besides.
#[test]
fn no_more_than_a_hundred_run_at_once() {
    let mut bench = Bench::new(jobs(None, Some(HOUR)));
    bench.know([1]);
    own(&mut bench, 0..500);
    for number in 0..150 {
        let key = key(number);
        bench
            .run(|dht, at| dht.get_record(at, key, QueryOptions::new()))
            .unwrap();
    }
    let mut most = 0;
    bench.pass(HOUR);
    for number in 0..150 {
        let key = key(number);
        bench
            .run(|dht, at| dht.get_record(at, key, QueryOptions::new()))
            .unwrap();
    }
    let mut given = 0;
    while !bench.asked.is_empty() {
        most = most.max(bench.dht.queries().count());
        let asked = bench.asked.remove(0);
        let answer = match kind(&asked).0 {
            PUT => {
                given += 1;
                echo(&asked.message)
            }
            FIND => closer(FIND, &[]),
            kind => closer(kind, &[]),
        };
        bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(answer)));
    }
    assert_eq!((given, most), (500, 250));
}

/// Queries of the application take all the room there is: the run waits, and goes on when they are over.
#[test]
fn a_run_without_room_goes_on_when_there_is_some() {
    for given_up in [false, true] {
        let mut config = jobs(None, Some(HOUR));
        config.provider_publication_interval = Some(HOUR);
        config.max_queries = 5;
        (config.query_timeout, config.request_timeout) = (10 * HOUR, 10 * HOUR);
        let mut bench = Bench::new(config);
        bench.know([1]);
        own(&mut bench, 0..20);
        bench
            .run(|dht, at| dht.start_providing(at, key(1)))
            .unwrap();
        serve(&mut bench, SECOND);
        let mut queries = Vec::new();
        for number in 0..5 {
            let key = key(number);
            let query =
                bench.run(|dht, at| dht.get_closest_peers(at, key.as_bytes(), QueryOptions::new()));
            queries.push(query.unwrap());
        }
        let refused = bench.run(|dht, at| dht.get_record(at, key(9), QueryOptions::new()));
        assert_eq!(
            refused,
            Err(crate::protocol::kad::QueryRefused::TooManyQueries)
        );
        bench.pass(HOUR);
        assert_eq!(bench.asked.len(), 5);
        if given_up {
            for query in queries {
                bench.run(|dht, _| dht.give_up(&query));
            }
        }
        bench.events.clear();
        let given = serve(&mut bench, SECOND);
        assert_eq!(given.len(), 20, "{given_up}");
        assert!(bench.events.iter().any(|event| matches!(
            event,
            Event::OutboundQueryProgressed {
                result: QueryResult::RepublishProvider(Ok(_)),
                ..
            }
        )));
    }
}

/// As many records as a store may have of its own, and nobody to give them to.
#[test]
fn a_run_of_a_full_store_in_an_empty_network_is_not_too_deep() {
    let mut bench = Bench::new(jobs(Some(HOUR), Some(24 * HOUR)));
    let all = 16 * 1024;
    own(&mut bench, 0..all);
    for number in 0..all {
        let add = StoreRequest::AddProvider {
            record: crate::protocol::kad::ProviderRecord::new(
                key(number),
                peer(super::super::bench::LOCAL),
                Vec::new(),
            ),
            origin: Origin::Local,
        };
        assert_eq!(bench.submit(add), StoreReply::AddProvider(Ok(())));
    }
    // A run in which none is published, and one that waits for somebody.
    bench.pass(2 * HOUR);
    bench.pass(24 * HOUR);
    assert!(bench.events.is_empty() && bench.asked.is_empty());
    // All that are under way fail at once, and the others wait for the next one.
    bench.know([1]);
    for _ in 0..30 {
        if bench.asked.is_empty() {
            bench.pass(SECOND);
        }
    }
    assert_eq!(bench.asked.len(), 100);
    for _ in 0..100 {
        bench.fail(1, RpcFailure::Unsupported);
    }
    assert_eq!(bench.events.len(), 101);
    assert!(bench.asked.is_empty() && bench.dht.table().is_empty());
    bench.know([2]);
    bench.events.clear();
    let given = serve(&mut bench, HOUR);
    assert_eq!(given.len(), all - 100);
}

/// What a peer has just put, this peer has given to others as well.
#[test]
fn what_was_just_received_is_not_replicated_in_the_next_run() {
    let mut bench = Bench::new(jobs(Some(HOUR), None));
    bench.know([1]);
    for number in 0..2 {
        bench.store(Record::new(key(number), "value"), Origin::Peer(peer(7)));
    }
    bench.pass(HOUR / 2);
    let mut message = Vec::new();
    let record = Record::new(key(0), "value");
    request::put_value(&mut message, &record, bench.at().unix, None);
    bench.request(7, message);
    let text = |number: usize| -> Vec<u8> { key(number).as_bytes().to_vec() };
    let given = serve(&mut bench, HOUR / 2);
    assert_eq!(given.into_keys().collect::<Vec<_>>(), [text(1)]);
    let given = serve(&mut bench, HOUR);
    assert_eq!(given.into_keys().collect::<Vec<_>>(), [text(0), text(1)]);
}

/// Own records are published in every 22nd run of an hour; those of others are replicated in each, or never.
#[test]
fn own_records_are_published_and_those_of_others_replicated() {
    for replication in [Some(HOUR), None] {
        let mut bench = Bench::new(jobs(replication, Some(22 * HOUR)));
        bench.know([1]);
        own(&mut bench, 0..1);
        bench.store(Record::new(key(1), "value"), Origin::Peer(peer(7)));
        let (mut published, mut replicated) = (Vec::new(), 0);
        for hour in 0..50 {
            let given = serve(&mut bench, HOUR);
            if given.contains_key(key(0).as_bytes()) {
                published.push(hour);
            }
            replicated += usize::from(given.contains_key(key(1).as_bytes()));
        }
        assert_eq!(published.len(), 2, "{published:?}");
        assert!((21..=22).contains(&published[0]), "{published:?}");
        match replication {
            Some(_) => assert!(replicated >= 49, "{replicated}"),
            None => assert_eq!(replicated, 0),
        }
    }
}

/// A record with an expiry keeps it, one without is given away for as long as records are valid.
#[test]
fn publishing_again_keeps_the_expiry() {
    let mut bench = Bench::new(jobs(None, Some(HOUR)));
    bench.know([1]);
    let mut limited = Record::new(key(0), "value");
    limited.expires = Some(bench.at().unix.saturating_add(3 * HOUR));
    bench.store(limited, Origin::Local);
    own(&mut bench, 1..2);
    let mut left: BTreeMap<RecordKey, u64> = BTreeMap::new();
    bench.pass(HOUR);
    bench.serve(|asked| {
        if kind(asked).0 == FIND {
            return Some(closer(FIND, &[]));
        }
        let message = crate::protocol::kad::message::Message::decode(&asked.message).unwrap();
        let ttl = message.record.unwrap().ttl;
        left.insert(RecordKey::copy_from_slice(message.key), ttl.into());
        Some(echo(&asked.message))
    });
    assert_eq!(
        left.into_values().collect::<Vec<_>>(),
        [2 * 3600, 48 * 3600]
    );
}

/// A network with fewer peers than the replication factor does not fail for ever.
#[test]
fn publishing_again_succeeds_in_a_small_network() {
    let mut bench = Bench::new(jobs(None, Some(HOUR)));
    bench.know([1, 2]);
    let options = QueryOptions::new();
    bench
        .run(|dht, at| dht.put_record(at, Record::new(key(0), "value"), Quorum::One, options))
        .unwrap();
    serve(&mut bench, 3 * HOUR);
    let results: Vec<_> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::OutboundQueryProgressed {
                result: QueryResult::RepublishRecord(result),
                ..
            } => Some(result.is_ok()),
            _ => None,
        })
        .collect();
    assert_eq!(results, [true; 3]);
}

/// Nobody is given anything by a node that knows nobody: the run waits for the first peer, and not for another day.
#[test]
fn a_run_waits_until_somebody_is_known() {
    let mut config = jobs(None, Some(22 * HOUR));
    config.provider_publication_interval = Some(22 * HOUR);
    let mut bench = Bench::new(config);
    own(&mut bench, 0..3);
    assert_eq!(serve(&mut bench, 30 * HOUR).len(), 0);
    let told = bench.events.len();
    assert_eq!(told, 0, "{:?}", bench.events);
    bench.know([1]);
    let given = serve(&mut bench, MINUTE);
    assert_eq!(given.into_values().collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(serve(&mut bench, 21 * HOUR).len(), 0);
}

/// A node that never lives for a whole interval publishes what it has all the same, and nothing of others for that.
#[test]
fn what_was_stored_in_an_earlier_life_is_published_soon() {
    let mut config = jobs(Some(HOUR), Some(22 * HOUR));
    config.provider_publication_interval = Some(22 * HOUR);
    let mut before = Bench::new(config.clone());
    own(&mut before, 0..2);
    before.store(Record::new(key(7), "value"), Origin::Peer(peer(7)));
    let mut provided = Bench::new(config.clone());
    provided
        .run(|dht, at| dht.start_providing(at, key(9)))
        .unwrap();
    for (from, expected) in [(before, vec![key(0), key(1)]), (provided, vec![key(9)])] {
        let mut from = from;
        let store = SlowStore::durable(core::mem::take(from.dht.store_mut()));
        let mut bench = Bench::with_store(config.clone(), store);
        bench.know([1]);
        let mut given = Vec::new();
        for _ in 0..2 {
            bench.pass(MINUTE - SECOND);
            assert!(bench.asked.is_empty());
            bench.pass(2 * SECOND);
            while let Some(asked) = bench.asked.pop() {
                match kind(&asked) {
                    (FIND, _) => {
                        let rpc = asked.rpc;
                        let none = closer(FIND, &[]);
                        bench.run(|dht, at| dht.handle_response(at, rpc, Ok(none)));
                    }
                    (_, key) => {
                        given.push(RecordKey::copy_from_slice(&key));
                        let (rpc, failed) = (asked.rpc, RpcFailure::Busy);
                        bench.run(|dht, at| dht.handle_response(at, rpc, Err(failed)));
                    }
                }
            }
        }
        given.sort();
        assert_eq!(given, expected);
    }
}
