//! Lookups and bootstraps.

use super::super::{
    bench::{Bench, LOCAL, SECOND, by_distance, closer, key, kind, quiet, roomy, value},
    village::{Village, address, peer},
};
use crate::protocol::kad::{
    Event, GetClosestPeersError, GetClosestPeersOk, GetRecordOk, QueryId, QueryInfo, QueryOptions,
    QueryResult, dht::RpcFailure, message::MessageType,
};
use core::{num::NonZeroUsize, time::Duration};
use std::{vec, vec::Vec};

const FIND: MessageType = MessageType::FindNode;

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn look_up(bench: &mut Bench, options: QueryOptions) -> QueryId {
    bench
        .run(|dht, at| dht.get_closest_peers(at, b"target", options))
        .unwrap()
}

fn found(bench: &Bench, query: QueryId) -> Vec<crate::identity::PeerId> {
    let QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, key })) = bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!(key, b"target");
    peers.into_iter().map(|info| info.peer).collect()
}

/// Fails if a lookup knows only the 20 of its table that are the closest to begin with: those who answer tell of each other, and
/// of who has left with the others.
#[test]
fn where_many_have_left_at_once_others_of_the_table_are_found() {
    let all = by_distance(1..=80, b"target");
    for left in 0..20 {
        let mut bench = Bench::new(roomy());
        bench.know(1..=80);
        let query = look_up(&mut bench, QueryOptions::new());
        bench.serve(|asked| {
            let is_there = !all[..left].iter().any(|number| peer(*number) == asked.peer);
            is_there.then(|| closer(FIND, &all[..20]))
        });
        let expected: Vec<_> = all[left..left + 20]
            .iter()
            .map(|number| peer(*number))
            .collect();
        assert_eq!(found(&bench, query), expected, "{left}");
    }
}

/// `bootstrap`.
#[test]
fn a_bootstrap_finds_everybody_in_a_small_network() {
    let mut village = Village::new(15, &quiet());
    for number in 1..15 {
        village.introduce(number, number - 1);
    }
    for number in (0..15).rev() {
        let _ = village.run(number, |dht, at| dht.bootstrap(at));
        village.run_for(20 * SECOND);
    }
    for number in 1..15 {
        let id = village.run(number, |dht, at| dht.bootstrap(at)).unwrap();
        village.run_for(30 * SECOND);
        assert_eq!(village.nodes[number].table().len(), 14, "{number}");
        assert!(village.last(number, id).is_some_and(|last| matches!(last,
            Event::OutboundQueryProgressed { result: QueryResult::Bootstrap(Ok(ok)), .. } if ok.num_remaining == 0)));
    }
}

/// In which bucket the farthest of the 20 closest peers of the table is: nearer ones are complete when these are found.
fn farthest_of_the_closest(bench: &Bench) -> usize {
    let local = crate::protocol::kad::Key::of_peer(&peer(LOCAL));
    let closest = bench.dht.table().closest(&local).take(20);
    let farthest = closest.last().unwrap().position().distance(&local);
    usize::from(farthest.ilog2().unwrap())
}

/// The own id first, then one random peer for each bucket that may hold others than those that were found by that, the nearest
/// first, one after another under one name.
#[test]
fn a_bootstrap_looks_itself_up_and_then_each_farther_bucket() {
    let mut bench = Bench::new(roomy());
    bench.know(1..30);
    let local = crate::protocol::kad::Key::of_peer(&peer(LOCAL));
    let first = farthest_of_the_closest(&bench);
    let query = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
    assert_eq!(
        kind(&bench.asked[0]),
        (FIND, peer(LOCAL).as_bytes().to_vec())
    );
    let mut targets = Vec::new();
    bench.serve(|asked| {
        let (_, key) = kind(asked);
        if targets.last() != Some(&key) {
            targets.push(key);
        }
        Some(closer(FIND, &[]))
    });
    let results = bench.results(query);
    assert_eq!(
        results.len(),
        1 + 256 - first,
        "one for itself, one for each farther bucket"
    );
    assert_eq!(targets.len(), results.len());
    for (number, (target, (result, _))) in targets.iter().zip(&results).enumerate() {
        let QueryResult::Bootstrap(Ok(ok)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(ok.peer.as_bytes(), target);
        assert_eq!(ok.num_remaining as usize, results.len() - 1 - number);
        let index = crate::protocol::kad::Key::of(target)
            .distance(&local)
            .ilog2();
        // Nearer ones than the farthest ten are a matter of luck.
        if number > 0 && first + number > 247 {
            assert_eq!(index, u8::try_from(first + number - 1).ok());
        }
    }
}

/// Nobody could come into a bucket full of peers that are alive. One that is gone, and has not answered before, makes room.
#[test]
fn a_bootstrap_leaves_out_the_buckets_that_are_settled() {
    let mut config = quiet();
    config.kbucket_size = count(4);
    for gone in [None, Some(255)] {
        let mut bench = Bench::new(config.clone());
        for number in 1..400 {
            bench.connect(number);
            // There is no room for most of them.
            let _ = bench.run(|dht, at| dht.add_address(at, peer(number), &address(number)));
        }
        let first = farthest_of_the_closest(&bench);
        if let Some(bucket) = gone {
            let mut buckets = bench.dht.table().buckets();
            let gone = *buckets.nth(bucket).unwrap().iter().next().unwrap().peer();
            drop(buckets);
            bench.run(|dht, at| dht.handle_disconnected(at, &gone));
        }
        let query = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
        bench.serve(|_| Some(closer(FIND, &[])));
        let farther = bench.dht.table().buckets().skip(first);
        let with_room = farther.filter(|bucket| bucket.len() < 4).count();
        let looked_up = with_room + usize::from(gone.is_some());
        assert_eq!(bench.results(query).len(), 1 + looked_up);
        assert!(looked_up < 256 - first, "some are settled");
    }
}

/// `QueryMut::finish` of a bootstrap.
#[test]
fn finishing_a_bootstrap_ends_only_the_lookup_under_way() {
    let mut bench = Bench::new(quiet());
    bench.know(1..8);
    let query = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
    let own = bench.asked.clone();
    bench.run(|dht, _| dht.query_mut(&query).unwrap().finish());
    bench.pass(Duration::ZERO);
    let results = bench.results(query);
    assert_eq!(results.len(), 1);
    assert!(!results[0].1 && results[0].0.is_ok());
    assert_eq!(bench.cancelled.len(), own.len());
    assert_ne!(
        kind(&bench.asked[0]).1,
        peer(LOCAL).as_bytes(),
        "the next one runs"
    );
    bench.serve(|_| Some(closer(FIND, &[])));
    assert!(bench.is_over(query));
    // Who is the closest is not known then: each farther bucket is looked up.
    let nearest = bench
        .dht
        .table()
        .buckets()
        .position(|bucket| !bucket.is_empty());
    assert_eq!(bench.results(query).len(), 256 - nearest.unwrap());
}

/// A lookup of a bootstrap that takes too long does not end it, but the first one does.
#[test]
fn a_bootstrap_goes_on_after_a_slow_lookup_unless_it_is_the_first() {
    let mut config = quiet();
    (config.request_timeout, config.peer_timeout) = (100 * SECOND, 100 * SECOND);
    config.query_timeout = 30 * SECOND;
    let mut bench = Bench::new(config.clone());
    bench.know(1..8);
    let query = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
    bench.pass(31 * SECOND);
    let results = bench.results(query);
    assert!(
        matches!(results.as_slice(), [(QueryResult::Bootstrap(Err(_)), true)]),
        "{results:?}"
    );

    let mut bench = Bench::new(config);
    bench.know(1..8);
    let query = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
    for number in 1..8 {
        bench.answer(number, closer(FIND, &[]));
    }
    assert_eq!(bench.results(query).len(), 1);
    bench.pass(31 * SECOND);
    let results = bench.results(query);
    assert!(results.len() >= 2 && !results[1].0.is_ok(), "{results:?}");
    assert!(!results[1].1 || results.len() == 2);
}

/// `query_iter`.
#[test]
fn a_query_is_seen_while_it_runs_and_its_result_is_sorted() {
    let mut bench = Bench::new(quiet());
    bench.know(1..6);
    let query = look_up(&mut bench, QueryOptions::new());
    let seen: Vec<_> = bench.dht.queries().map(|query| query.id()).collect();
    assert_eq!(seen, [query]);
    let running = bench.dht.query(&query).unwrap();
    assert!(matches!(running.info(), QueryInfo::GetClosestPeers { key, .. } if key == b"target"));
    assert_eq!(
        (
            running.stats().num_requests(),
            running.stats().num_pending()
        ),
        (5, 5)
    );
    for number in [3, 1, 2, 5, 4] {
        bench.answer(number, closer(FIND, &[1, 2, 3, 4, 5, 6]));
    }
    bench.answer(6, closer(FIND, &[]));
    assert!(bench.dht.query(&query).is_none() && bench.dht.queries().next().is_none());
    let sorted: Vec<_> = by_distance(1..7, b"target").into_iter().map(peer).collect();
    assert_eq!(found(&bench, query), sorted);
}

/// `unresponsive_not_returned_direct`.
#[test]
fn who_cannot_be_reached_is_not_found() {
    let mut bench = Bench::new(quiet());
    bench.know(1..10);
    let query = look_up(&mut bench, QueryOptions::new());
    bench.serve(|_| None);
    assert_eq!(found(&bench, query), []);
}

/// `unresponsive_not_returned_indirect`.
#[test]
fn who_is_only_told_of_is_not_found() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    let query = look_up(&mut bench, QueryOptions::new());
    bench.answer(1, closer(FIND, &[2, 3]));
    bench.fail(2, RpcFailure::Unreachable);
    bench.pass(11 * SECOND);
    assert_eq!(found(&bench, query), [peer(1)]);
}

/// `get_closest_with_different_num_results`, `get_closest_peers_should_return_up_to_k_peers`: whatever the replication.
#[test]
fn as_many_are_found_as_are_wanted_up_to_20() {
    for (wanted, expected) in [
        (None, 20),
        (Some(1), 1),
        (Some(7), 7),
        (Some(20), 20),
        (Some(25), 20),
    ] {
        let mut config = roomy();
        config.replication_factor = count(5);
        let mut bench = Bench::new(config);
        bench.know(1..60);
        let mut options = QueryOptions::new();
        options.num_results = wanted.map(count);
        let query = look_up(&mut bench, options);
        let all: Vec<_> = (1..60).collect();
        bench.serve(|_| Some(closer(FIND, &by_distance(all.clone(), b"target")[..20])));
        let sorted = by_distance(all, b"target");
        let sorted: Vec<_> = sorted.into_iter().take(expected).map(peer).collect();
        assert_eq!(found(&bench, query), sorted, "{wanted:?}");
    }
}

#[test]
fn each_query_may_ask_as_many_at_a_time_as_it_wants() {
    for parallelism in [1, 3, 10] {
        let mut bench = Bench::new(quiet());
        bench.know(1..20);
        let options = QueryOptions::new().parallelism(count(parallelism));
        look_up(&mut bench, options);
        assert_eq!(bench.asked.len(), parallelism);
    }
}

/// `disjoint_query_does_not_finish_before_all_paths_did`.
#[test]
fn a_query_on_disjoint_paths_ends_when_all_have() {
    let mut bench = Bench::new(quiet());
    bench.know([1, 2]);
    let options = QueryOptions::new()
        .disjoint_paths(true)
        .parallelism(count(2));
    let query = bench
        .run(|dht, at| dht.get_record(at, "record".into(), options))
        .unwrap();
    bench.answer(1, value("record", "of the liar", &[]));
    assert_eq!(bench.results(query).len(), 1);
    assert!(!bench.is_over(query));
    bench.answer(2, value("record", "true", &[]));
    let results = bench.results(query);
    assert_eq!(results.len(), 3);
    assert!(
        matches!(&results[1].0, QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) if found.record.value == "true")
    );
}

/// The same with a quorum: a liar ends its own path.
#[test]
fn a_quorum_ends_only_the_paths_it_was_found_on() {
    let mut bench = Bench::new(quiet());
    bench.know([1, 2]);
    let options = QueryOptions::new()
        .disjoint_paths(true)
        .parallelism(count(2));
    let options = options.quorum(count(1));
    let query = bench
        .run(|dht, at| dht.get_record(at, "record".into(), options))
        .unwrap();
    bench.answer(1, value("record", "of the liar", &[3, 4]));
    assert!(!bench.is_over(query), "one liar has ended it");
    assert!(!bench.is_asked(3) && !bench.is_asked(4), "its path goes on");
    bench.answer(2, value("record", "true", &[5]));
    assert!(bench.is_over(query));
}

/// What was found until then is in the error.
#[test]
fn a_lookup_that_takes_too_long_tells_what_it_has_found() {
    let mut config = quiet();
    config.query_timeout = 4 * SECOND;
    let mut bench = Bench::new(config);
    bench.know(1..4);
    let query = look_up(&mut bench, QueryOptions::new());
    bench.answer(2, closer(FIND, &[]));
    bench.pass(4 * SECOND);
    let QueryResult::GetClosestPeers(Err(GetClosestPeersError::Timeout { peers, .. })) =
        bench.end(query)
    else {
        panic!("{:?}", bench.end(query))
    };
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].peer, peer(2));
    assert_eq!(bench.cancelled.len(), 2);
    assert!(bench.asked.is_empty());
}

/// A peer that is late makes room for another, and its answer counts all the same.
#[test]
fn a_late_answer_counts() {
    let mut bench = Bench::new(quiet());
    bench.know([1, 2]);
    let options = QueryOptions::new().parallelism(count(1));
    let query = look_up(&mut bench, options);
    let first = by_distance([1, 2], b"target")[0];
    assert!(bench.is_asked(first) && !bench.is_asked(3 - first));
    bench.pass(Duration::from_secs(5));
    assert!(bench.is_asked(3 - first), "still waits");
    bench.answer(first, closer(FIND, &[]));
    bench.answer(3 - first, closer(FIND, &[]));
    assert_eq!(found(&bench, query), [peer(first), peer(3 - first)]);
}

/// One answer names one peer a thousand times, or a thousand peers.
#[test]
fn no_more_peers_are_believed_than_may_be() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    look_up(&mut bench, QueryOptions::new().parallelism(count(100)));
    let many: Vec<_> = vec![2; 30].into_iter().chain(100..900).collect();
    bench.answer(1, closer(FIND, &many));
    assert!(bench.asked.len() <= 40, "{}", bench.asked.len());
    assert!(bench.dht.statistics().passed_over >= 760);
}

#[test]
fn giving_a_query_up_cancels_what_it_asked_and_tells_nothing() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    let query = look_up(&mut bench, QueryOptions::new());
    assert!(bench.run(|dht, _| dht.give_up(&query)));
    assert_eq!((bench.asked.len(), bench.cancelled.len()), (0, 4));
    assert!(!bench.run(|dht, _| dht.give_up(&query)), "twice");
    let bootstrap = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
    bench.run(|dht, _| dht.give_up(&bootstrap));
    let put = bench
        .run(|dht, at| dht.start_providing(at, key(1)))
        .unwrap();
    bench.run(|dht, _| dht.give_up(&put));
    bench.pass(100 * SECOND);
    assert!(bench.results(query).is_empty() && bench.results(bootstrap).is_empty());
    assert!(bench.results(put).is_empty());
    assert_eq!(bench.dht.leftovers(), [0; 3]);
}

/// A bootstrap that was given up does not keep others from running.
#[test]
fn the_next_bootstrap_comes_after_one_that_was_given_up() {
    let mut config = quiet();
    config.periodic_bootstrap_interval = Some(60 * SECOND);
    let mut bench = Bench::new(config);
    bench.know(1..3);
    let bootstrap = bench.run(|dht, at| dht.bootstrap(at)).unwrap();
    bench.run(|dht, _| dht.give_up(&bootstrap));
    bench.pass(60 * SECOND);
    assert!(!bench.asked.is_empty());
}

/// `RefreshBelowMinRTThreshold`, `BootStrapWhenRTIsEmpty`: a sparse table looks around soon after it gets a peer.
#[test]
fn a_first_peer_makes_an_idle_node_look_around() {
    let mut config = quiet();
    config.automatic_bootstrap_throttle = Some(Duration::from_millis(500));
    let mut bench = Bench::new(config);
    bench.pass(SECOND);
    bench.know([1]);
    bench.pass(Duration::from_millis(499));
    assert!(bench.asked.is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(kind(&bench.take(1)).1, peer(LOCAL).as_bytes());
}

/// The statistics of a query are those of all its phases, and of its last event.
#[test]
fn statistics_count_every_request_of_all_phases() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    let query = bench
        .run(|dht, at| dht.start_providing(at, key(1)))
        .unwrap();
    bench.pass(SECOND);
    bench.fail(1, RpcFailure::Unreachable);
    for number in 2..5 {
        bench.answer(number, closer(FIND, &[]));
    }
    bench.pass(SECOND);
    bench.fail(2, RpcFailure::Interrupted);
    bench.sent(3);
    bench.sent(4);
    let stats = bench.events.iter().find_map(|event| match event {
        Event::OutboundQueryProgressed { id, stats, .. } if *id == query => Some(*stats),
        _ => None,
    });
    let stats = stats.unwrap();
    assert_eq!(
        (
            stats.num_requests(),
            stats.num_successes(),
            stats.num_failures(),
            stats.num_pending()
        ),
        (7, 5, 2, 0)
    );
    assert_eq!(stats.duration(), Some(2 * SECOND));
    assert_eq!(bench.dht.statistics().requests, 7);
}

/// Regression of this machine: a lookup that was cut short tells nothing of the network's size.
#[test]
fn only_whole_lookups_measure_the_network() {
    let mut bench = Bench::new(roomy());
    bench.know(1..60);
    for whole in [false, true] {
        for number in 0..5 {
            let target = key(number);
            let query = bench
                .run(|dht, at| dht.get_closest_peers(at, target.as_bytes(), QueryOptions::new()))
                .unwrap();
            let mut farthest = by_distance(1..60, target.as_bytes());
            farthest.reverse();
            // All but the closest two answer, so that twenty have.
            let late = [farthest[57], farthest[58]];
            for _ in 0..60 {
                let Some(at) = bench
                    .asked
                    .iter()
                    .position(|a| !late.map(peer).contains(&a.peer))
                else {
                    break;
                };
                let asked = bench.asked.remove(at);
                let told = closer(FIND, &farthest[30..]);
                bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(told)));
            }
            if whole {
                bench.serve(|_| Some(closer(FIND, &[])));
            } else {
                bench.run(|dht, _| dht.query_mut(&query).unwrap().finish());
                bench.pass(Duration::ZERO);
            }
            assert!(bench.is_over(query));
        }
        let estimate = bench.dht.network_size().estimate(bench.now);
        assert_eq!(estimate.is_some(), whole, "{estimate:?}");
    }
}

/// A node that begins to listen while nobody is connected looks around; one that has connections need not.
#[test]
fn a_lonely_node_that_listens_looks_around() {
    for connected in [false, true] {
        let mut config = quiet();
        config.automatic_bootstrap_throttle = Some(SECOND / 2);
        let mut bench = Bench::new(config);
        bench.know([1]);
        bench.pass(SECOND);
        bench.serve(|_| Some(closer(FIND, &[])));
        bench.pass(SECOND);
        assert!(bench.asked.is_empty());
        if connected {
            bench.connect(1);
        }
        let more = [address(LOCAL), address(LOCAL + 1)];
        bench.run(|dht, at| dht.handle_local_addresses(at, &more, &more[..1]));
        bench.pass(SECOND / 4);
        assert!(bench.asked.is_empty());
        bench.pass(SECOND / 2);
        assert_eq!(bench.is_asked(1), !connected);
    }
}
