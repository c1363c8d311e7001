//! What peers may make a node do: dial others (F4 of the known attacks), and answer (F5).

use super::{
    bench::{Bench, SECOND, closer, quiet},
    village::peer,
};
use crate::{
    multiaddr::Multiaddr,
    protocol::kad::{
        Config, ConnectionType, QueryOptions, QueryResult,
        message::{MessageType, ResponseWriter},
    },
    swarm::Rate,
};
use bytes::Bytes;
use core::time::Duration;
use std::{collections::BTreeSet, format, vec::Vec};

const FIND: MessageType = MessageType::FindNode;

/// Peers that are each told to be in another network, but for those that `shared` says are in one.
fn told(numbers: impl IntoIterator<Item = usize>, shared: impl Fn(usize) -> bool) -> Bytes {
    let mut out = Vec::new();
    let mut response = ResponseWriter::new(&mut out, usize::MAX, FIND, b"");
    for number in numbers {
        let (high, low) = (number / 250, number % 250);
        let text = if shared(number) {
            format!("/ip4/7.7.{high}.{low}/tcp/80")
        } else {
            format!("/ip4/{}.{low}.7.7/tcp/4001", 60 + high)
        };
        let address: Multiaddr = text.parse().unwrap();
        assert!(response.closer_peer(&peer(number), [address], ConnectionType::Connected));
    }
    out.into()
}

/// Asks on and on, with peers that each tell of others; whom it asked, until the query ended.
fn asked(bench: &mut Bench, mut answer: impl FnMut(usize) -> Bytes) -> BTreeSet<usize> {
    let query = bench
        .run(|dht, at| dht.get_closest_peers(at, b"target", QueryOptions::new()))
        .unwrap();
    let mut asked = BTreeSet::new();
    while let Some(next) = bench.asked.pop() {
        let number = (0..2000).find(|number| peer(*number) == next.peer).unwrap();
        assert!(asked.insert(number), "asked twice");
        let response = answer(number);
        bench.run(|dht, at| dht.handle_response(at, next.rpc, Ok(response)));
    }
    assert!(matches!(
        bench.end(query),
        QueryResult::GetClosestPeers(Ok(_))
    ));
    asked
}

/// Regression: liars tell of ever closer peers, and a lookup dialed all of them.
#[test]
fn a_lookup_dials_no_more_than_it_may() {
    for (most, connected, expected) in [
        (30, false, 20..31),
        (30, true, 60..2000),
        (1000, false, 60..1001),
    ] {
        let mut config = quiet();
        config.max_dials_per_query = most;
        let mut bench = Bench::new(config);
        bench.know([1]);
        if connected {
            (1..1000).for_each(|number| bench.connect(number));
        }
        // Everybody tells of 20 others that nobody else has told of, the closest first.
        let order = super::bench::by_distance(2..1000, b"target");
        let mut far = order.into_iter().rev();
        let asked = asked(&mut bench, |_| {
            let next: Vec<_> = far.by_ref().take(20).collect();
            closer(FIND, &next)
        });
        assert!(
            expected.contains(&asked.len()),
            "{most} {connected}: {}",
            asked.len()
        );
    }
}

/// Regression: each response names a few peers of one network, and all of them together are a flood for it.
#[test]
fn many_responses_do_not_point_at_one_network() {
    for most in [Some(4), None] {
        let mut config = Config::public_dht();
        config.max_dials_per_group = most;
        config.automatic_bootstrap_throttle = None;
        let mut bench = Bench::new(config);
        bench.know([1]);
        let shared = |number: usize| number % 7 < 2;
        let mut next = 2;
        let asked = asked(&mut bench, |_| {
            let numbers = next..next + 7;
            next += 7;
            told(numbers.filter(|number| *number < 1000), shared)
        });
        let at_victim = asked
            .iter()
            .filter(|number| **number > 1 && shared(**number))
            .count();
        match most {
            // Those that a liar names beside a peer's own address are not dialed either.
            Some(most) => assert_eq!(at_victim, most),
            None => assert!(at_victim > 4, "{at_victim}"),
        }
        assert!(asked.len() > 20);
    }
}

/// Regression: a peer that asks without end was answered without end. It has to wait, and others need not.
#[test]
fn who_asks_too_often_has_to_wait() {
    let mut config = quiet();
    config.request_rate = Rate::new(Duration::from_millis(100), 5);
    let mut bench = Bench::new(config);
    bench.connect(1);
    bench.connect(2);
    let admit =
        |bench: &mut Bench, from: usize| bench.run(|dht, at| dht.admit_request(at, &peer(from)));
    for round in 0..3 {
        let next = bench.now + Duration::from_millis(100);
        for number in 0..8 {
            let expected = if number < 5 { Ok(()) } else { Err(next) };
            assert_eq!(admit(&mut bench, 1), expected, "{round} {number}");
        }
        assert_eq!(admit(&mut bench, 2), Ok(()), "another peer");
        assert_eq!(admit(&mut bench, 3), Ok(()), "one without a connection");
        bench.pass(Duration::from_millis(100));
        assert_eq!(admit(&mut bench, 1), Ok(()));
        assert!(admit(&mut bench, 1).is_err());
        bench.pass(SECOND);
    }
    assert_eq!(bench.dht.statistics().delayed_requests, 12);
}
