//! Who comes into the routing table, and who leaves.

use super::super::{
    bench::{Bench, SECOND, closer, kind, quiet, roomy},
    village::{address, peer},
};
use crate::{
    identity::PeerId,
    protocol::kad::{
        AddressScope, BucketInserts, Config, Event, Key, QueryOptions, RoutingUpdate,
        dht::RpcFailure,
        message::MessageType,
        table::{DiversityLimits, Removed},
    },
};
use core::num::NonZeroUsize;
use std::{format, vec, vec::Vec};

const FIND: MessageType = MessageType::FindNode;

fn inserts(how: BucketInserts) -> Config {
    let mut config = quiet();
    config.kbucket_inserts = how;
    config
}

/// So many peers of one bucket: the farthest half.
fn far(bench: &Bench, count: usize) -> Vec<usize> {
    let local = Key::of_peer(bench.dht.local_peer());
    let far = (1..).filter(|number| {
        let position = Key::of_peer(&peer(*number));
        position.distance(&local).ilog2() == Some(255)
    });
    far.take(count).collect()
}

fn is_known(bench: &Bench, number: usize) -> bool {
    bench.dht.table().contains(&peer(number))
}

fn ask(bench: &mut Bench) {
    bench
        .run(|dht, at| dht.get_closest_peers(at, b"target", QueryOptions::new()))
        .unwrap();
}

/// `manual_bucket_inserts`: also for those that answer queries.
#[test]
fn nobody_comes_in_by_itself_if_the_application_wants_to_choose() {
    let mut bench = Bench::new(inserts(BucketInserts::Manual));
    bench.connect(1);
    bench.identify(1);
    let told = Event::RoutablePeer {
        peer: peer(1),
        address: address(1),
    };
    assert_eq!(bench.events, [told]);
    assert!(!is_known(&bench, 1) && bench.asked.is_empty());
    bench.know([2]);
    ask(&mut bench);
    bench.answer(2, closer(FIND, &[3]));
    bench.answer(3, closer(FIND, &[]));
    assert!(!is_known(&bench, 3));
}

#[test]
fn who_speaks_the_protocol_comes_in_at_once_if_wanted() {
    let mut bench = Bench::new(inserts(BucketInserts::OnConnected));
    bench.connect(1);
    assert!(!is_known(&bench, 1), "it has not said so");
    bench.identify(1);
    let [
        Event::RoutingUpdated {
            peer: who,
            is_new_peer: true,
            addresses,
            bucket_range,
            old_peer: None,
        },
    ] = bench.events.as_slice()
    else {
        panic!("{:?}", bench.events)
    };
    assert_eq!((*who, addresses.as_slice()), (peer(1), &[address(1)][..]));
    let distance = Key::of_peer(who).distance(&Key::of_peer(bench.dht.local_peer()));
    assert!((bucket_range.0..=bucket_range.1).contains(&distance));
    bench.identify(1);
    assert_eq!(bench.events.len(), 1, "nothing is new");
}

/// Who dials this node and tells no address.
#[test]
fn a_peer_without_an_address_is_not_routable() {
    let mut bench = Bench::new(quiet());
    bench.run(|dht, at| dht.handle_connected(at, peer(1), None));
    bench.run(|dht, at| dht.handle_protocol(at, peer(1), true, &[]));
    assert_eq!(bench.events, [Event::UnroutablePeer { peer: peer(1) }]);
}

/// go's lookup check: who does not answer, or answers nonsense, stays out; one that knows nobody as well, once this node knows
/// enough.
#[test]
fn a_newcomer_is_asked_first() {
    for (known, answer, comes_in) in [
        (0, Some(closer(FIND, &[5])), true),
        (0, Some(closer(FIND, &[])), true),
        (0, Some(closer(MessageType::GetValue, &[5])), false),
        (0, Some("garbage".into()), false),
        (0, None, false),
        (20, Some(closer(FIND, &[5])), true),
        (20, Some(closer(FIND, &[])), false),
    ] {
        let mut bench = Bench::new(quiet());
        bench.know(100..100 + known);
        bench.connect(1);
        bench.identify(1);
        assert!(!is_known(&bench, 1));
        assert_eq!(kind(&bench.asked[0]), (FIND, peer(1).as_bytes().to_vec()));
        bench.identify(1);
        assert_eq!(bench.asked.len(), 1, "asked once");
        match answer {
            Some(answer) => bench.answer(1, answer),
            None => bench.pass(10 * SECOND),
        }
        assert_eq!(is_known(&bench, 1), comes_in);
        assert_eq!(bench.dht.statistics().failed_checks, u64::from(!comes_in));
        assert_eq!(bench.dht.leftovers(), [0; 3]);
    }
}

/// No more than 256 are asked at once.
#[test]
fn a_flood_of_newcomers_is_not_asked_all_at_once() {
    let mut bench = Bench::new(quiet());
    for number in 1..400 {
        bench.connect(number);
        bench.identify(number);
    }
    assert!(bench.asked.len() <= 256);
    bench.pass(11 * SECOND);
    assert_eq!(bench.dht.leftovers(), [0; 3]);
}

/// `RTAdditionOnSuccessfulQuery`.
#[test]
fn who_answers_a_query_comes_into_the_table() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    ask(&mut bench);
    bench.answer(1, closer(FIND, &[2, 3]));
    assert!(!is_known(&bench, 2), "it was only told of");
    bench.answer(2, closer(FIND, &[]));
    bench.fail(3, RpcFailure::Unreachable);
    assert!(is_known(&bench, 2) && !is_known(&bench, 3));
}

/// `RTEvictionOnFailedQuery`: after two failures at different times, and at once if it does not speak the protocol.
#[test]
fn who_fails_leaves_the_table() {
    let mut bench = Bench::new(quiet());
    bench.know(1..5);
    for round in 0..2 {
        ask(&mut bench);
        bench.fail(1, RpcFailure::Unreachable);
        if round == 0 {
            bench.fail(2, RpcFailure::Unsupported);
            assert!(is_known(&bench, 1) && !is_known(&bench, 2));
        }
        bench.answer(3, closer(FIND, &[]));
        // This node's own want is no failure of the peer.
        bench.fail(4, RpcFailure::Busy);
        bench.pass(SECOND);
    }
    assert!(!is_known(&bench, 1) && is_known(&bench, 3) && is_known(&bench, 4));
    assert_eq!(bench.dht.statistics().evicted, 2);
}

/// A connection that ends takes all its requests with it, and is one failure.
#[test]
fn a_lost_connection_fails_every_request_once() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    bench.connect(1);
    for _ in 0..3 {
        ask(&mut bench);
    }
    assert_eq!(bench.asked.len(), 3);
    bench.asked.clear();
    bench.run(|dht, at| dht.handle_disconnected(at, &peer(1)));
    bench.run(|dht, at| dht.handle_unreachable(at, &peer(1)));
    assert_eq!(bench.dht.queries().count(), 0);
    assert_eq!(bench.dht.leftovers(), [0; 3]);
    assert!(is_known(&bench, 1));
}

/// rust-libp2p 4639.
#[test]
fn who_becomes_a_client_leaves_the_table() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    bench.run(|dht, at| dht.handle_protocol(at, peer(1), false, &[address(1)]));
    assert!(!is_known(&bench, 1));
    // Also while it is being asked.
    bench.connect(2);
    bench.identify(2);
    bench.run(|dht, at| dht.handle_protocol(at, peer(2), false, &[address(2)]));
    bench.answer(2, closer(FIND, &[1]));
    assert!(!is_known(&bench, 2));
}

/// `network_behaviour_on_address_change`: in the table, and in the queries that run.
#[test]
fn an_address_that_changes_is_replaced() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    ask(&mut bench);
    bench.answer(1, closer(FIND, &[2]));
    for number in [1, 2] {
        assert_eq!(bench.dht.addresses_of(&peer(number)), [address(number)]);
        let new = address(number + 50);
        bench.run(|dht, _| dht.handle_address_change(&peer(number), &address(number), &new));
        assert_eq!(bench.dht.addresses_of(&peer(number)), [new]);
    }
}

/// Telcoin 4816 and `remove_address`.
#[test]
fn an_address_is_removed_and_with_the_last_one_the_peer() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    let _ = bench.run(|dht, at| dht.add_address(at, peer(1), &address(2)));
    let removed = |bench: &mut Bench, number| {
        bench.run(|dht, _| dht.remove_address(&peer(1), &address(number)))
    };
    assert_eq!(removed(&mut bench, 9), Removed::Nothing);
    assert_eq!(removed(&mut bench, 1), Removed::Address);
    assert!(is_known(&bench, 1));
    assert!(matches!(removed(&mut bench, 2), Removed::Peer(_)));
    assert!(!is_known(&bench, 1));
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    let mut bench = Bench::new(quiet());
    let other = format!("{}/p2p/{}", address(1), peer(2)).parse().unwrap();
    let add = |bench: &mut Bench, who: PeerId, address: &crate::multiaddr::Multiaddr| {
        bench.run(|dht, at| dht.add_address(at, who, address))
    };
    assert_eq!(add(&mut bench, peer(1), &other), RoutingUpdate::Failed);
    let own = *bench.dht.local_peer();
    assert_eq!(add(&mut bench, own, &address(1)), RoutingUpdate::Failed);
    assert_eq!(add(&mut bench, peer(2), &other), RoutingUpdate::Success);
    assert_eq!(bench.dht.addresses_of(&peer(2)), [address(1)]);
    assert_eq!(
        add(&mut bench, peer(2), &address(3)),
        RoutingUpdate::Success
    );
    let told: Vec<_> = bench
        .events
        .iter()
        .map(|event| match event {
            Event::RoutingUpdated { is_new_peer, .. } => *is_new_peer,
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(told, [true, false]);
}

/// A newcomer to a full bucket waits while the one that was away the longest is asked whether it is there.
#[test]
fn a_newcomer_takes_the_place_of_one_that_does_not_answer() {
    for alive in [true, false] {
        let mut config = inserts(BucketInserts::OnConnected);
        config.kbucket_size = NonZeroUsize::new(3).unwrap();
        let mut bench = Bench::new(config);
        let numbers = far(&bench, 5);
        bench.know(numbers[..3].to_vec());
        bench.events.clear();
        bench.connect(numbers[3]);
        bench.identify(numbers[3]);
        let pending = Event::PendingRoutablePeer {
            peer: peer(numbers[3]),
            address: address(numbers[3]),
        };
        assert_eq!(bench.events, [pending]);
        let probed = numbers[0];
        assert_eq!(
            kind(&bench.asked[0]),
            (FIND, peer(probed).as_bytes().to_vec())
        );
        assert_eq!((bench.asked.len(), bench.asked[0].peer), (1, peer(probed)));
        // There is one place to wait.
        bench.connect(numbers[4]);
        bench.identify(numbers[4]);
        assert!(matches!(bench.events[1], Event::RoutablePeer { .. }));
        if alive {
            bench.answer(probed, closer(FIND, &[]));
        } else {
            bench.fail(probed, RpcFailure::Unreachable);
        }
        bench.events.clear();
        bench.pass(60 * SECOND);
        assert_eq!(is_known(&bench, probed), alive);
        assert_eq!(is_known(&bench, numbers[3]), !alive);
        assert!(!is_known(&bench, numbers[4]));
        let replaced = matches!(bench.events.as_slice(),
            [Event::RoutingUpdated { is_new_peer: true, old_peer: Some(old), .. }] if *old == peer(probed));
        assert_eq!(replaced, !alive, "{:?}", bench.events);
        assert_eq!(bench.dht.leftovers(), [0; 3]);
    }
}

/// It was silent, but is connected when the time is over.
#[test]
fn who_comes_back_keeps_its_place() {
    let mut config = inserts(BucketInserts::OnConnected);
    config.kbucket_size = NonZeroUsize::MIN;
    let mut bench = Bench::new(config);
    let numbers = far(&bench, 2);
    bench.know([numbers[0]]);
    bench.connect(numbers[1]);
    bench.identify(numbers[1]);
    bench.connect(numbers[0]);
    bench.pass(120 * SECOND);
    assert!(is_known(&bench, numbers[0]) && !is_known(&bench, numbers[1]));
}

/// Those that have been silent are asked, not all at once, and leave if they do not answer.
#[test]
fn silent_peers_are_asked_and_leave_if_they_are_gone() {
    let mut config = roomy();
    config.liveness_interval = Some(600 * SECOND);
    let mut bench = Bench::new(config);
    bench.know(1..41);
    let alive = |number: usize| number.is_multiple_of(2);
    let mut most = 0;
    for _ in 0..200 {
        bench.pass(15 * SECOND);
        most = most.max(bench.asked.len());
        bench.serve(|asked| {
            let number = (1..41).find(|number| peer(*number) == asked.peer).unwrap();
            alive(number).then(|| closer(FIND, &[]))
        });
    }
    let left: Vec<_> = (1..41).filter(|number| is_known(&bench, *number)).collect();
    assert_eq!(
        left,
        (1..41).filter(|number| alive(*number)).collect::<Vec<_>>()
    );
    assert!((1..=16).contains(&most), "{most}");
    // Each of those alive was asked some five times in fifty minutes.
    let asked = bench.dht.statistics().requests;
    assert!((100..200).contains(&asked), "{asked}");
}

/// `AddrFilter`, `RoutingFilter`: what is of another network is not believed, dialed, told or taken into the table.
#[test]
fn only_addresses_of_the_own_network_count() {
    let mut config = inserts(BucketInserts::OnConnected);
    config.address_scope = AddressScope::Private;
    let mut bench = Bench::new(config);
    // The addresses of the tests are public.
    bench.connect(1);
    bench.identify(1);
    assert!(!is_known(&bench, 1));
    assert_eq!(bench.events, [Event::UnroutablePeer { peer: peer(1) }]);
    let home = "/ip4/192.168.1.7/tcp/4001".parse().unwrap();
    let both = [address(2), home];
    bench.run(|dht, at| dht.handle_protocol(at, peer(2), true, &both));
    assert_eq!(bench.dht.addresses_of(&peer(2)), both[1..]);
    ask(&mut bench);
    bench.answer(2, closer(FIND, &[3, 4]));
    assert!(bench.asked.is_empty(), "{:?}", bench.asked);
    assert_eq!(bench.dht.statistics().passed_over, 2);
}

/// `rt_diversity_filter`, and the same for responses: of a network with too many peers in one, nobody is believed.
#[test]
fn a_response_full_of_one_network_is_not_believed() {
    let mut config = quiet();
    config.max_response_peers_per_group = Some(3);
    config.diversity = Some(DiversityLimits::default());
    let mut bench = Bench::new(config);
    // Village addresses are all in 100.0.0.0/16 below 65536, and in 101.0 from 16777216 on.
    bench.know([1]);
    ask(&mut bench);
    let other = 16_777_216;
    bench.answer(1, closer(FIND, &[2, 3, 4, 5, other, other + 1]));
    let asked: Vec<_> = bench.asked.iter().map(|asked| asked.peer).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.contains(&peer(other)));
}

/// `InvalidRemotePeers`: who is told of without a usable address, or is this node.
#[test]
fn who_cannot_be_dialed_is_not_asked() {
    let mut bench = Bench::new(quiet());
    bench.know([1]);
    ask(&mut bench);
    let bad = |text: &str| -> crate::multiaddr::Multiaddr { text.parse().unwrap() };
    let mut out = Vec::new();
    let mut response =
        crate::protocol::kad::message::ResponseWriter::new(&mut out, usize::MAX, FIND, b"");
    let connection = crate::protocol::kad::ConnectionType::Connected;
    response.closer_peer(&peer(2), [bad("/ip4/0.0.0.0/tcp/4001")], connection);
    response.closer_peer(&peer(3), [bad("/ip4/224.0.0.1/udp/4001")], connection);
    response.closer_peer(&peer(4), [bad("/ip4/1.2.3.4/tcp/0")], connection);
    response.closer_peer(bench.dht.local_peer(), [address(5)], connection);
    // Somebody may know where this one is.
    response.closer_peer::<&[u8]>(&peer(6), [], connection);
    response.closer_peer(&peer(7), [b"garbage"], connection);
    let asked = bench.take(1);
    bench.run(|dht, at| dht.handle_response(at, asked.rpc, Ok(out.into())));
    let mut asked: Vec<_> = bench.asked.iter().map(|asked| asked.peer).collect();
    asked.sort_unstable();
    let mut expected = vec![peer(6), peer(7)];
    expected.sort_unstable();
    assert_eq!(asked, expected);
}

/// What the application adds is judged like what peers say.
#[test]
fn an_address_out_of_scope_is_not_added() {
    let mut config = inserts(BucketInserts::OnConnected);
    config.address_scope = AddressScope::Public;
    let mut bench = Bench::new(config);
    let home = "/ip4/192.168.1.7/tcp/4001".parse().unwrap();
    let added = bench.run(|dht, at| dht.add_address(at, peer(1), &home));
    assert_eq!(added, RoutingUpdate::Failed);
    assert!(bench.dht.table().is_empty());
    bench.know([1]);
    let added = bench.run(|dht, at| dht.add_address(at, peer(1), &home));
    assert_eq!(added, RoutingUpdate::Failed);
    let added = bench.run(|dht, at| dht.add_address(at, peer(1), &address(1)));
    assert_eq!(added, RoutingUpdate::Success, "it is there");
    assert_eq!(bench.dht.addresses_of(&peer(1)), [address(1)]);
}

/// An address that is not taken, for there are as many as may be, is not said to be there.
#[test]
fn an_address_there_is_no_room_for_is_not_added() {
    let mut config = inserts(BucketInserts::OnConnected);
    config.max_addresses = 1;
    let mut bench = Bench::new(config);
    bench.connect(1);
    bench.identify(1);
    let added = bench.run(|dht, at| dht.add_address(at, peer(1), &address(2)));
    assert_eq!(added, RoutingUpdate::Failed);
    assert_eq!(bench.dht.addresses_of(&peer(1)), [address(1)]);
}

/// Who answers something else than what it was asked does not show that it is there.
#[test]
fn a_sign_of_life_is_an_answer_to_the_question() {
    for right in [true, false] {
        let mut config = quiet();
        config.liveness_interval = Some(600 * SECOND);
        let mut bench = Bench::new(config);
        bench.know([1]);
        for _ in 0..200 {
            bench.pass(15 * SECOND);
            let kind = if right { FIND } else { MessageType::Ping };
            bench.serve(|_| Some(closer(kind, &[])));
        }
        assert_eq!(is_known(&bench, 1), right);
    }
}
