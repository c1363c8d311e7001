//! Records: put, got, judged and corrected.

use super::super::{
    bench::{
        Answer, Bench, HOUR, LOCAL, SECOND, by_distance, closer, echo, greatest, key, kind, quiet,
        roomy, value,
    },
    village::{Village, peer},
};
use crate::{
    identity::PeerId,
    protocol::kad::{
        Event, GetRecordError, GetRecordOk, InboundRequest, InvalidRecord, PutRecordError,
        PutRecordOk, QueryId, QueryOptions, QueryRefused, QueryResult, Quorum, Record, RecordKey,
        StoreError, StoreInserts,
        dht::RpcFailure,
        message::{Message, MessageType, request},
        store::Origin,
    },
};
use core::{num::NonZeroUsize, time::Duration};
use std::{collections::BTreeSet, string::String, vec, vec::Vec};

const FIND: MessageType = MessageType::FindNode;

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn get(bench: &mut Bench, options: QueryOptions) -> QueryId {
    bench
        .run(|dht, at| dht.get_record(at, "record".into(), options))
        .unwrap()
}

fn put(bench: &mut Bench, text: &'static str, quorum: Quorum) -> Result<QueryId, QueryRefused> {
    let record = Record::new("record", text);
    bench.run(|dht, at| dht.put_record(at, record, quorum, QueryOptions::new()))
}

fn put_message(bench: &Bench, record: &Record, publisher: Option<&PeerId>) -> Vec<u8> {
    let mut message = Vec::new();
    request::put_value(&mut message, record, bench.at().unix, publisher);
    message
}

/// The best value that a get ended with, and whom it says should have it.
fn best(bench: &Bench, query: QueryId) -> (&'static str, Vec<PeerId>) {
    let QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
        best,
        cache_candidates,
    })) = bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    let text = String::from_utf8(best.record.value.to_vec()).unwrap();
    (text.leak(), cache_candidates.into_values().collect())
}

fn corrected(bench: &Bench) -> BTreeSet<PeerId> {
    let puts = bench
        .asked
        .iter()
        .filter(|asked| kind(asked).0 == MessageType::PutValue);
    puts.map(|asked| asked.peer).collect()
}

/// `get_record_not_found`.
#[test]
fn a_record_that_nobody_has_is_not_found() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    let query = get(&mut bench, QueryOptions::new());
    bench.answer(1, closer(MessageType::GetValue, &[2]));
    bench.answer(2, closer(MessageType::GetValue, &[]));
    let closest_peers = by_distance([1, 2], b"record")
        .into_iter()
        .map(peer)
        .collect();
    let key = "record".into();
    assert_eq!(
        bench.results(query),
        [(
            QueryResult::GetRecord(Err(GetRecordError::NotFound { key, closest_peers })),
            true
        )]
    );
}

/// `get_record`: with the closest that should have had it.
#[test]
fn a_record_is_found_and_told_who_should_have_it() {
    let mut bench = Bench::new(quiet());
    let order = by_distance(1..4, b"record");
    bench.know([order[2]]);
    let query = get(&mut bench, QueryOptions::new());
    bench.answer(
        order[2],
        closer(MessageType::GetValue, &[order[0], order[1]]),
    );
    bench.answer(order[1], value("record", "value", &[]));
    let results = bench.results(query);
    let [(QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))), false)] = results.as_slice()
    else {
        panic!("{results:?}")
    };
    assert_eq!(found.peer, Some(peer(order[1])));
    bench.answer(order[0], closer(MessageType::GetValue, &[]));
    assert_eq!(best(&bench, query), ("value", vec![peer(order[0])]));
    let steps = bench.events.iter().filter_map(|event| match event {
        Event::OutboundQueryProgressed { step, .. } => Some((step.count.get(), step.last)),
        _ => None,
    });
    assert_eq!(steps.collect::<Vec<_>>(), [(1, false), (2, true)]);
}

/// `get_record_many`: a step for each.
#[test]
fn each_record_found_is_a_step() {
    let mut bench = Bench::new(quiet());
    bench.know(1..11);
    bench.store(Record::new("record", "own"), Origin::Local);
    let query = get(&mut bench, QueryOptions::new());
    bench.serve(|_| Some(value("record", "value", &[])));
    let results = bench.results(query);
    assert_eq!(results.len(), 12);
    assert!(
        matches!(&results[0].0, QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) if found.peer.is_none())
    );
}

/// `put_record` with some replications, on disjoint paths or not, with and without a filter that drops everything: it lands on
/// exactly as many of the closest, and is republished with its expiry.
#[test]
fn a_record_lands_on_as_many_of_the_closest_as_it_should_and_is_republished() {
    for (replication, disjoint, filter) in [
        (1, false, false),
        (4, true, false),
        (20, false, false),
        (7, false, true),
    ] {
        let mut config = quiet();
        config.replication_factor = count(replication);
        config.disjoint_query_paths = disjoint;
        config.publication_interval = Some(HOUR);
        if filter {
            config.record_filtering = StoreInserts::FilterBoth;
        }
        let mut village = Village::new(30, &config);
        village.populate();
        let expires = village.at().unix.saturating_add(10 * HOUR);
        let mut record = Record::new("record", "value");
        record.expires = Some(expires);
        let options = QueryOptions::new();
        let query = village
            .run(3, |dht, at| {
                dht.put_record(at, record.clone(), Quorum::All, options)
            })
            .unwrap();
        village.run_for(60 * SECOND);
        let Some(Event::OutboundQueryProgressed {
            result: QueryResult::PutRecord(Ok(PutRecordOk { success, .. })),
            ..
        }) = village.last(3, query)
        else {
            panic!("{:?}", village.last(3, query))
        };
        let others = (0..30).filter(|number| *number != 3);
        let closest = by_distance(others, b"record").into_iter().take(replication);
        let closest: BTreeSet<_> = closest.collect();
        let success: BTreeSet<_> = success.into_iter().collect();
        // On disjoint paths there may be more: whose result is a liar's cannot be told.
        let wanted: BTreeSet<_> = closest.iter().copied().map(peer).collect();
        assert!(wanted.is_subset(&success) && (disjoint || wanted.len() == success.len()));
        let holds = |village: &mut Village| -> BTreeSet<usize> {
            let others = (0..30).filter(|number| *number != 3);
            others
                .filter(|number| village.holds(*number, "record").is_some())
                .collect()
        };
        if filter {
            assert!(holds(&mut village).is_empty());
            let told = |number: &usize| {
                village.events[*number].iter().any(|event| matches!(event,
                Event::InboundRequest { request: InboundRequest::PutRecord { record: Some(record), .. } } if record.value == "value"))
            };
            assert_eq!((0..30).filter(told).collect::<BTreeSet<_>>(), closest);
            continue;
        }
        assert!(holds(&mut village).is_superset(&closest));
        for number in &closest {
            let kept = village.holds(*number, "record").unwrap();
            let left = expires.saturating_duration_since(kept.expires.unwrap());
            assert!(
                kept.expires <= Some(expires) && left <= 2 * SECOND,
                "{left:?}"
            );
            village.forget(*number);
        }
        village.events.iter_mut().for_each(Vec::clear);
        village.run_for(HOUR);
        assert!(holds(&mut village).is_superset(&closest), "not republished");
        assert!(village.events[3].iter().any(|event| matches!(event,
            Event::OutboundQueryProgressed { result: QueryResult::RepublishRecord(Ok(ok)), .. } if ok.success.len() >= replication)));
    }
}

/// `ValueSetInvalid`, `InvalidKeys`.
#[test]
fn an_invalid_record_is_not_put() {
    let mut bench = Bench::new(greatest());
    bench.know([1]);
    let refused = put(&mut bench, "no number", Quorum::One);
    assert_eq!(
        refused,
        Err(QueryRefused::Invalid(InvalidRecord::Refused("no number")))
    );
    let given = Record::new("record", "no number");
    let refused = bench.run(|dht, at| dht.put_record_to(at, given, [peer(1)], Quorum::One));
    assert!(matches!(refused, Err(QueryRefused::Invalid(_))));
    let nameless = Record::new("", "5");
    let refused =
        bench.run(|dht, at| dht.put_record(at, nameless, Quorum::One, QueryOptions::new()));
    assert_eq!(refused, Err(QueryRefused::KeyLength));
    let none = bench.run(|dht, at| dht.get_record(at, "".into(), QueryOptions::new()));
    assert_eq!(none, Err(QueryRefused::KeyLength));
    assert!(bench.asked.is_empty() && bench.stored("record").is_none());
}

/// `ValueGetInvalid`, `GetValueRejectsInvalidRecordFromPeer`.
#[test]
fn an_invalid_value_of_a_peer_is_none() {
    let mut bench = Bench::new(greatest());
    bench.know([1, 2]);
    let query = get(&mut bench, QueryOptions::new());
    bench.answer(1, value("record", "no number", &[]));
    bench.answer(2, value("record", "", &[]));
    assert!(matches!(
        bench.end(query),
        QueryResult::GetRecord(Err(GetRecordError::NotFound { .. }))
    ));
    assert_eq!(bench.results(query).len(), 1);
    assert_eq!(bench.dht.statistics().invalid_values, 2);
}

/// `SearchValue`, `LayeredGet`: the best of all wins, whoever comes first, also from somebody who had to be found.
#[test]
fn the_best_value_wins_in_every_order() {
    for order in [[1, 2, 3], [2, 3, 1], [3, 2, 1], [1, 3, 2]] {
        let mut bench = Bench::new(greatest());
        bench.know(1..4);
        let query = get(&mut bench, QueryOptions::new());
        for number in order {
            let text = ["", "7", "30", "4"][number];
            bench.answer(
                number,
                value("record", text, if number == 1 { &[4] } else { &[] }),
            );
        }
        bench.answer(4, value("record", "29", &[]));
        assert_eq!(best(&bench, query), ("30", vec![]));
        assert_eq!(bench.results(query).len(), 5);
    }
}

/// `SearchValueLocalInvalid`: what this node has and is no longer valid.
#[test]
fn an_own_value_is_judged_as_well() {
    let mut bench = Bench::new(greatest());
    bench.know([1]);
    bench.store(Record::new("record", "no number"), Origin::Local);
    let query = get(&mut bench, QueryOptions::new());
    bench.answer(1, value("record", "5", &[]));
    assert_eq!(bench.results(query).len(), 2);
    assert_eq!(best(&bench, query).0, "5");
}

/// `AtomicPut`: a better record that is there stays, whoever comes.
#[test]
fn a_worse_record_takes_the_place_of_no_better_one() {
    let mut bench = Bench::new(greatest());
    bench.know([1]);
    put(&mut bench, "5", Quorum::One).unwrap();
    assert_eq!(
        put(&mut bench, "4", Quorum::One),
        Err(QueryRefused::Store(StoreError::Older))
    );
    let worse = put_message(&bench, &Record::new("record", "3"), None);
    assert_eq!(bench.request(1, worse), Some(Answer::Refused));
    assert_eq!(bench.dht.statistics().refused_by_store, 1);
    let better = put_message(&bench, &Record::new("record", "6"), None);
    assert!(matches!(
        bench.request(1, better),
        Some(Answer::Response(_))
    ));
    assert_eq!(bench.stored("record").unwrap().value, "6");
}

#[test]
fn an_invalid_record_of_a_peer_is_not_kept() {
    let mut bench = Bench::new(greatest());
    let invalid = put_message(&bench, &Record::new("record", "no number"), None);
    assert_eq!(bench.request(1, invalid), Some(Answer::Refused));
    assert!(bench.stored("record").is_none() && bench.events.is_empty());
}

/// Entry correction: those of the closest that had no value or a worse one are given the best; nobody else.
#[test]
fn the_best_value_is_given_to_those_that_had_it_not() {
    let mut config = greatest();
    config.entry_correction = true;
    let mut bench = Bench::new(config);
    bench.know(1..6);
    let query = get(&mut bench, QueryOptions::new());
    bench.answer(1, value("record", "5", &[]));
    bench.answer(2, value("record", "4", &[]));
    bench.answer(3, value("record", "no number", &[]));
    bench.answer(4, closer(MessageType::GetValue, &[]));
    bench.fail(5, RpcFailure::Unreachable);
    assert_eq!(best(&bench, query).0, "5");
    assert_eq!(corrected(&bench), [2, 3, 4].map(peer).into());
    for number in [2, 3, 4] {
        let asked = bench.take(number);
        let message = Message::decode(&asked.message).unwrap();
        let record = message.record.unwrap();
        assert_eq!((message.key, record.value), (&b"record"[..], &b"5"[..]));
        // It is not for ever.
        let unix = bench.at().unix;
        let expires = record.to_record(unix).expires;
        assert_eq!(expires, Some(unix.saturating_add(48 * HOUR)));
        bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(echo(&asked.message))));
    }
    assert_eq!(bench.dht.leftovers(), [0; 3]);
}

/// Nobody is corrected by a get that was cut short: who has answered by then is not one of the closest.
#[test]
fn only_a_whole_lookup_corrects() {
    let mut config = greatest();
    config.entry_correction = true;
    for short in [false, true] {
        let mut bench = Bench::new(config.clone());
        bench.know(1..4);
        let mut options = QueryOptions::new();
        if short {
            options = options.quorum(count(1));
        }
        let query = get(&mut bench, options);
        bench.answer(1, closer(MessageType::GetValue, &[]));
        bench.answer(2, value("record", "5", &[]));
        if !short {
            bench.run(|dht, _| dht.query_mut(&query).unwrap().finish());
            bench.pass(Duration::ZERO);
        }
        assert_eq!(best(&bench, query).0, "5");
        assert!(corrected(&bench).is_empty(), "{short}");
    }
}

/// A quorum of answers, the own one included.
#[test]
fn a_get_ends_when_as_many_values_were_found_as_wanted() {
    let mut bench = Bench::new(quiet());
    bench.know(1..6);
    bench.store(Record::new("record", "value"), Origin::Local);
    let query = get(&mut bench, QueryOptions::new().quorum(count(3)));
    bench.answer(1, closer(MessageType::GetValue, &[]));
    bench.answer(2, value("record", "value", &[]));
    assert!(!bench.is_over(query));
    bench.answer(3, value("record", "value", &[]));
    assert_eq!(best(&bench, query).0, "value");
    assert_eq!(bench.cancelled.len(), 2);
    // And too few are an error, with what was found.
    let query = get(&mut bench, QueryOptions::new().quorum(count(3)));
    bench.serve(|_| Some(closer(MessageType::GetValue, &[])));
    let QueryResult::GetRecord(Err(GetRecordError::QuorumFailed { best, found, .. })) =
        bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!((best.peer, found), (None, 1));
}

/// What this node has is enough for a quorum of one: nobody need be waited for.
#[test]
fn an_own_record_may_be_enough() {
    let mut bench = Bench::new(quiet());
    bench.know(1..6);
    bench.store(Record::new("record", "value"), Origin::Local);
    let query = get(&mut bench, QueryOptions::new().quorum(count(1)));
    assert_eq!(best(&bench, query).0, "value");
    assert!(bench.asked.is_empty());
}

/// With what was found until then.
#[test]
fn a_get_that_takes_too_long_tells_the_best_of_it() {
    let mut config = greatest();
    config.query_timeout = 4 * SECOND;
    let mut bench = Bench::new(config);
    bench.know(1..4);
    let query = get(&mut bench, QueryOptions::new());
    bench.answer(1, value("record", "5", &[]));
    bench.answer(2, value("record", "4", &[]));
    bench.pass(4 * SECOND);
    let QueryResult::GetRecord(Err(GetRecordError::Timeout {
        best: Some(best), ..
    })) = bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!(best.record.value, "5");
}

/// Both phases of a put together have the time of a query.
#[test]
fn a_put_has_one_deadline_for_all_its_phases() {
    let mut config = quiet();
    (config.query_timeout, config.request_timeout) = (8 * SECOND, 100 * SECOND);
    let mut bench = Bench::new(config);
    bench.know(1..4);
    let query = put(&mut bench, "value", Quorum::All).unwrap();
    bench.pass(4 * SECOND);
    for number in 1..4 {
        bench.answer(number, closer(FIND, &[]));
    }
    let asked = bench.take(1);
    bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(echo(&asked.message))));
    bench.pass(4 * SECOND - Duration::from_nanos(1));
    assert!(!bench.is_over(query));
    bench.pass(Duration::from_nanos(1));
    let QueryResult::PutRecord(Err(PutRecordError::Timeout {
        success, quorum, ..
    })) = bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!((success, quorum), (vec![peer(1)], count(20)));
    // What peers are being given is not taken back.
    assert_eq!((bench.cancelled.len(), bench.asked.len()), (0, 2));
}

/// An answer is not more than an echo: another value, or none, is no success.
#[test]
fn only_an_echo_acknowledges_a_put() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    let query = put(&mut bench, "value", Quorum::One).unwrap();
    for number in 1..5 {
        bench.answer(number, closer(FIND, &[]));
    }
    bench.answer(1, closer(MessageType::PutValue, &[]));
    bench.answer(2, closer(FIND, &[]));
    let other = Record::new("record", "other");
    bench.answer(
        3,
        super::super::bench::response(MessageType::PutValue, b"record", Some(&other), &[], &[]),
    );
    bench.fail(4, RpcFailure::Interrupted);
    let QueryResult::PutRecord(Err(PutRecordError::QuorumFailed { success, asked, .. })) =
        bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!((success, asked), (vec![], 4));
    assert_eq!(bench.dht.statistics().malformed_responses, 3);
}

/// `All` is of the replication factor, `AllFound` of those that there are.
#[test]
fn all_found_is_what_a_small_network_can_do() {
    for (quorum, enough) in [
        (Quorum::One, true),
        (Quorum::Majority, false),
        (Quorum::All, false),
        (Quorum::AllFound, true),
        (Quorum::N(count(4)), true),
        (Quorum::N(count(5)), false),
    ] {
        let mut bench = Bench::new(quiet());
        bench.know(1..5);
        let query = put(&mut bench, "value", quorum).unwrap();
        bench.serve(|asked| match kind(asked).0 {
            FIND => Some(closer(FIND, &[])),
            _ => Some(echo(&asked.message)),
        });
        assert_eq!(bench.end(query).is_ok(), enough, "{quorum:?}");
    }
}

#[test]
fn a_record_given_to_some_peers_is_for_them_alone() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    let record = Record::new("record", "value");
    let peers = [peer(7), peer(8), peer(7), peer(LOCAL)];
    let query = bench
        .run(|dht, at| dht.put_record_to(at, record.clone(), peers, Quorum::N(count(2))))
        .unwrap();
    assert_eq!(corrected(&bench), [peer(7), peer(8)].into());
    assert_eq!(bench.asked.len(), 2, "one twice, or itself");
    bench.serve(|asked| Some(echo(&asked.message)));
    assert!(bench.end(query).is_ok());
    assert!(bench.stored("record").is_none());
    let query = bench.run(|dht, at| dht.put_record_to(at, record, [], Quorum::All));
    assert!(!bench.end(query.unwrap()).is_ok(), "nobody took it");
}

/// The publisher that a record names is unproven: nothing depends on it. (rust-libp2p drops a record that names the receiver.)
#[test]
fn a_record_that_names_this_node_as_publisher_is_a_record_of_a_peer() {
    let mut bench = Bench::new(quiet());
    let local = peer(LOCAL);
    let record = Record::new("record", "value");
    let message = put_message(&bench, &record, Some(&local));
    assert!(matches!(
        bench.request(1, message),
        Some(Answer::Response(_))
    ));
    assert_eq!(bench.stored("record").unwrap().value, "value");
    bench.run(|dht, at| dht.remove_record(at, "record".into()));
    assert!(bench.stored("record").is_some(), "it is not this node's");
}

/// The response to a put has the key and the value and nothing else.
#[test]
fn the_echo_of_a_put_is_stripped() {
    let mut bench = Bench::new(quiet());
    let mut record = Record::new("record", "value");
    record.expires = Some(bench.at().unix.saturating_add(HOUR));
    let mut message = put_message(&bench, &record, Some(&peer(5)));
    // Smuggled peers.
    message.extend_from_slice(&closer(FIND, &[6, 7])[2..]);
    let Some(Answer::Response(echo)) = bench.request(1, message) else {
        panic!("{:?}", bench.answers)
    };
    let echo = Message::decode(&echo).unwrap();
    assert_eq!(
        echo.closer_peers().count() + echo.provider_peers().count(),
        0
    );
    let record = echo.record.unwrap();
    assert_eq!(
        (record.value, record.ttl, record.publisher),
        (&b"value"[..], 0, None)
    );
}

/// `exp_decr_expiration_overflow`, and the halving before that: the more peers are known that are closer, the shorter.
#[test]
fn a_record_far_from_here_is_kept_for_half_as_long_for_each_peer_beyond_the_replication() {
    let mut config = roomy();
    config.replication_factor = count(2);
    config.record_ttl = Some(Duration::from_secs(1 << 20));
    let mut bench = Bench::new(config);
    bench.know(1..200);
    let (mut seen, mut gone) = (BTreeSet::new(), 0);
    for number in 0..40 {
        let key: RecordKey = key(number);
        let closer = bench.dht.table().count_between(&key.position());
        let beyond = u32::try_from(closer.saturating_sub(2)).unwrap();
        let message = put_message(&bench, &Record::new(key.clone(), "value"), None);
        let answer = bench.request(1, message);
        assert!(
            matches!(answer, Some(Answer::Response(_))),
            "acknowledged in any case"
        );
        let text = core::str::from_utf8(key.as_bytes()).unwrap();
        let kept = bench.stored(text).map(|record| {
            record
                .expires
                .unwrap()
                .saturating_duration_since(bench.at().unix)
                .as_secs()
        });
        let ttl = (1_u64 << 20).checked_shr(beyond).unwrap_or(0);
        assert_eq!(kept, (ttl > 0).then_some(ttl), "{closer}");
        seen.insert(kept);
        gone += usize::from(beyond >= 64);
    }
    assert!(seen.len() > 2 && gone > 0, "{seen:?} {gone}");
    // A record that says less is kept for less.
    let near = (0..)
        .map(key)
        .find(|key| bench.dht.table().count_between(&key.position()) <= 2);
    let mut short = Record::new(near.unwrap(), "short");
    short.expires = Some(bench.at().unix.saturating_add(30 * SECOND));
    let message = put_message(&bench, &short, None);
    bench.request(1, message);
    let text = core::str::from_utf8(short.key.as_bytes()).unwrap();
    assert_eq!(bench.stored(text).unwrap().expires, short.expires);
}

/// Without a given expiry the own copy never expires, but those of others do.
#[test]
fn an_own_record_is_kept_for_ever_and_given_away_for_a_while() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    put(&mut bench, "value", Quorum::One).unwrap();
    bench.answer(1, closer(FIND, &[]));
    let asked = bench.take(1);
    let message = Message::decode(&asked.message).unwrap();
    assert_eq!(u64::from(message.record.unwrap().ttl), 48 * 3600);
    assert_eq!(bench.stored("record").unwrap().expires, None);
    bench.run(|dht, at| dht.remove_record(at, "record".into()));
    assert!(bench.stored("record").is_none());
}
