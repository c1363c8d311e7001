//! Streams of one node: what it sends, and how many peers may keep open.

use crate::{
    connection::{
        ConnectionId, Direction, StreamEnd, StreamError, StreamId, ToConnectionMessage, code,
    },
    multistream::ProtocolName,
    protocol::{
        bench::{Bench, peer},
        kad::{
            BucketInserts, Config, Event, Kademlia, Mode, QueryId, QueryResult, RoutingUpdate,
            message::{ConnectionType, Message, MessageType, ResponseWriter, request},
        },
    },
    time::Instant,
};
use bytes::Bytes;
use core::time::Duration;
use std::{collections::BTreeSet, vec::Vec};

const NAME: ProtocolName = ProtocolName::from_static("/test/kad/1");
const REMOTE: &str = "/ip4/192.0.2.7/tcp/4001";

fn server(change: impl FnOnce(&mut Config)) -> Bench<Kademlia> {
    let mut config = Config::new(NAME);
    config.automatic_bootstrap_throttle = None;
    config.periodic_bootstrap_interval = None;
    config.liveness_interval = None;
    change(&mut config);
    let kad = Kademlia::new(config).with_mode(Mode::Server);
    Bench::new(kad)
}

fn find_node(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    request::find_node(&mut out, key);
    out
}

/// The streams that were reset since it was asked last, with the codes.
fn resets(bench: &mut Bench<Kademlia>) -> Vec<(StreamId, u32)> {
    let told = bench.told().into_iter();
    told.filter_map(|(_, message)| match message {
        ToConnectionMessage::Reset { stream, code } => Some((stream, code)),
        _ => None,
    })
    .collect()
}

/// Regression: the specification wants it, rust-libp2p and go-libp2p send several requests on one stream.
#[test]
fn a_stream_carries_any_number_of_requests() {
    let mut bench = server(|_| {});
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let stream = bench.inbound(connection, NAME);
    for number in 0..5 {
        bench.data(connection, stream, &find_node(b"somewhere"));
        let sent = bench.sent(stream);
        assert_eq!(sent.len(), 1, "answer {number}");
        assert_eq!(
            Message::decode(&sent[0]).unwrap().kind,
            MessageType::FindNode
        );
        bench.processed(connection);
        bench.wait(Duration::from_secs(50));
    }
    assert_eq!(
        resets(&mut bench),
        [],
        "50 s between two requests are allowed"
    );
    bench.finish(connection, stream);
    let told = bench.told();
    assert!(
        told.iter().any(|(_, message)| matches!(message, ToConnectionMessage::Finish { stream: finished } if *finished == stream)),
        "{told:?}"
    );
}

/// Requests beyond the rate wait: none is lost, and none is answered before its time.
#[test]
fn requests_that_come_too_fast_are_answered_later() {
    let rate = crate::swarm::Rate::new(Duration::from_millis(100), 2);
    let mut bench = server(|config| config.request_rate = rate);
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let streams: Vec<_> = (0..4).map(|_| bench.inbound(connection, NAME)).collect();
    for stream in &streams {
        bench.data(connection, *stream, &find_node(b"x"));
        bench.finish(connection, *stream);
    }
    let answered = |bench: &mut Bench<Kademlia>| {
        let told = bench.told().into_iter();
        let sent = told.filter(|(_, message)| matches!(message, ToConnectionMessage::Send { .. }));
        sent.count()
    };
    assert_eq!(answered(&mut bench), 2);
    bench.wait(Duration::from_millis(99));
    assert_eq!(answered(&mut bench), 0);
    bench.wait(Duration::from_millis(1));
    assert_eq!(answered(&mut bench), 1);
    bench.wait(Duration::from_millis(100));
    assert_eq!(answered(&mut bench), 1);
    bench.wait(Duration::from_secs(5));
    assert_eq!(resets(&mut bench), []);
}

/// What has no response leaves its stream open for the next request.
#[test]
fn a_request_may_follow_one_without_a_response() {
    let mut bench = server(|_| {});
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let stream = bench.inbound(connection, NAME);
    let mut announcement = Vec::new();
    let address: crate::multiaddr::Multiaddr = REMOTE.parse().unwrap();
    let addresses = [address.as_bytes()];
    request::add_provider(&mut announcement, b"thing", &peer(1), addresses);
    for _ in 0..3 {
        bench.data(connection, stream, &announcement);
        assert_eq!(bench.sent(stream), [] as [Bytes; 0]);
        bench.processed(connection);
        let mut ask = Vec::new();
        request::get_providers(&mut ask, b"thing");
        bench.data(connection, stream, &ask);
        let sent = bench.sent(stream);
        let answer = Message::decode(&sent[0]).unwrap();
        assert_eq!(answer.kind, MessageType::GetProviders);
        bench.processed(connection);
    }
    assert_eq!(resets(&mut bench), []);
}

#[test]
fn a_stream_without_a_request_is_reset_in_time() {
    let mut bench = server(|_| {});
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let silent = bench.inbound(connection, NAME);
    bench.wait(Duration::from_secs(9));
    assert_eq!(resets(&mut bench), []);
    bench.wait(Duration::from_secs(1));
    assert_eq!(resets(&mut bench), [(silent, code::NO_ERROR)]);
    let idle = bench.inbound(connection, NAME);
    bench.data(connection, idle, &find_node(b"x"));
    bench.wait(Duration::from_secs(59));
    assert_eq!(resets(&mut bench), []);
    bench.wait(Duration::from_secs(2));
    assert_eq!(resets(&mut bench), [(idle, code::NO_ERROR)]);
}

/// Regression: rust-libp2p 5981, 3048, 3236: streams that nobody ends fill all places for ever.
#[test]
fn an_idle_stream_makes_room_for_a_new_one_and_a_busy_one_does_not() {
    let mut bench = server(|config| config.max_inbound_streams = 2);
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let first = bench.inbound(connection, NAME);
    let second = bench.inbound(connection, NAME);
    // Neither has had a request: they are not idle, and it is the third that goes.
    let third = bench.inbound(connection, NAME);
    assert_eq!(resets(&mut bench), [(third, code::RESOURCE_LIMIT_EXCEEDED)]);
    bench.data(connection, second, &find_node(b"x"));
    bench.processed(connection);
    let fourth = bench.inbound(connection, NAME);
    assert_eq!(
        resets(&mut bench),
        [(second, code::RESOURCE_LIMIT_EXCEEDED)]
    );
    bench.data(connection, fourth, &find_node(b"x"));
    bench.data(connection, first, &find_node(b"x"));
    assert_eq!(bench.told().len(), 2, "both are answered");
}

/// The limit of a connection alone would be no limit: a peer may have several.
#[test]
fn a_peer_with_several_connections_has_one_limit_for_all() {
    let mut bench = server(|config| {
        config.max_inbound_streams = 4;
        config.max_inbound_streams_per_peer = 5;
    });
    let one = bench.connect(1, REMOTE, Direction::Inbound);
    let two = bench.connect(1, "/ip4/192.0.2.7/tcp/4002", Direction::Inbound);
    for _ in 0..3 {
        bench.inbound(one, NAME);
    }
    for _ in 0..2 {
        bench.inbound(two, NAME);
    }
    assert_eq!(resets(&mut bench), []);
    let last = bench.inbound(two, NAME);
    assert_eq!(resets(&mut bench), [(last, code::RESOURCE_LIMIT_EXCEEDED)]);
    // Another peer has places of its own.
    let other = bench.connect(2, "/ip4/192.0.2.8/tcp/4001", Direction::Inbound);
    bench.inbound(other, NAME);
    assert_eq!(resets(&mut bench), []);
    // And places come back.
    bench.close(one);
    bench.inbound(two, NAME);
    assert_eq!(resets(&mut bench), []);
}

#[test]
fn a_malformed_request_costs_its_stream() {
    let mut bench = server(|_| {});
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let mut put_of_another_key = Vec::new();
    let record = crate::protocol::kad::Record::new("key", "value");
    let now = crate::time::UnixTime::from_secs(1_800_000_000);
    request::put_value(&mut put_of_another_key, &record, now, None);
    let at = put_of_another_key
        .iter()
        .position(|byte| *byte == b'k')
        .unwrap();
    put_of_another_key[at] = b'K';
    let mut for_another = Vec::new();
    request::add_provider(
        &mut for_another,
        b"key",
        &peer(2),
        core::iter::empty::<&[u8]>(),
    );
    let mut long_key = Vec::new();
    request::get_providers(&mut long_key, &[7; 81]);
    for bytes in [
        &[0xff, 0xff][..],
        &find_node(b""),
        &put_of_another_key,
        &for_another,
        &long_key,
        &[],
    ] {
        let stream = bench.inbound(connection, NAME);
        bench.data(connection, stream, bytes);
        assert_eq!(
            resets(&mut bench),
            [(stream, code::PROTOCOL_VIOLATION)],
            "{bytes:?}"
        );
    }
    assert_eq!(bench.swarm.protocols().statistics().malformed_requests, 6);
}

#[test]
fn a_client_refuses_and_ends_what_is_open() {
    let mut bench = server(|_| {});
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let stream = bench.inbound(connection, NAME);
    bench.run(|kad, cx| kad.set_mode(Some(Mode::Client), cx));
    assert_eq!(
        resets(&mut bench),
        [(stream, code::PROTOCOL_NEGOTIATION_FAILED)]
    );
    assert_eq!(bench.run(|_, cx| cx.protocols().count()), 0);
}

/// The requests that were sent since it was asked last.
fn asked(bench: &mut Bench<Kademlia>) -> Vec<(ConnectionId, StreamId, Bytes)> {
    let told = bench.told().into_iter();
    told.filter_map(|(connection, message)| match message {
        ToConnectionMessage::Send { stream, bytes } => Some((connection, stream, bytes)),
        _ => None,
    })
    .collect()
}

/// Makes the node know a peer, and look for something.
fn looking(bench: &mut Bench<Kademlia>) -> (ConnectionId, QueryId) {
    let connection = bench.connect(1, REMOTE, Direction::Outbound);
    bench.told();
    let added = bench.run(|kad, cx| kad.add_address(peer(1), &REMOTE.parse().unwrap(), cx));
    assert_eq!(added, RoutingUpdate::Success);
    let query = bench
        .run(|kad, cx| kad.get_closest_peers(b"x", cx))
        .unwrap();
    (connection, query)
}

fn closest(bench: &mut Bench<Kademlia>, query: QueryId) -> Option<usize> {
    bench.events().into_iter().find_map(|event| match event {
        Event::OutboundQueryProgressed {
            id,
            result: QueryResult::GetClosestPeers(Ok(found)),
            ..
        } if id == query => Some(found.peers.len()),
        _ => None,
    })
}

fn response(kind: MessageType) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = ResponseWriter::new(&mut out, 1000, kind, b"x");
    out
}

/// Regression: js-libp2p loses what comes together with the end of a stream it has not agreed to yet.
#[test]
fn a_stream_ends_once_the_peer_has_agreed_to_it() {
    let mut bench = server(|_| {});
    let (connection, _) = looking(&mut bench);
    let finishes = |told: &[(ConnectionId, ToConnectionMessage)]| {
        let finish =
            |message: &ToConnectionMessage| matches!(message, ToConnectionMessage::Finish { .. });
        told.iter().filter(|(_, message)| finish(message)).count()
    };
    let told = bench.told();
    assert_eq!(finishes(&told), 0, "{told:?}");
    let stream = told.iter().find_map(|(_, message)| match message {
        ToConnectionMessage::Send { stream, .. } => Some(*stream),
        _ => None,
    });
    bench.agree(connection, stream.expect("asked at once"), NAME);
    let told = bench.told();
    assert_eq!(finishes(&told), 1, "{told:?}");
}

#[test]
fn a_request_is_one_message_on_a_stream_of_its_own() {
    let mut bench = server(|_| {});
    let (connection, query) = looking(&mut bench);
    let sent = asked(&mut bench);
    let [(on, stream, message)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(*on, connection);
    let message = Message::decode(message).unwrap();
    assert_eq!(
        (message.kind, message.key),
        (MessageType::FindNode, &b"x"[..])
    );
    bench.data(connection, *stream, &response(MessageType::FindNode));
    assert_eq!(closest(&mut bench, query), Some(1));
    // A second answer changes nothing; a peer that does not finish its stream loses it.
    bench.data(connection, *stream, &response(MessageType::FindNode));
    bench.wait(Duration::from_secs(5));
    assert_eq!(resets(&mut bench), [(*stream, code::NO_ERROR)]);
}

/// Regression: rust-libp2p: the type of a response is never compared with that of the request.
#[test]
fn a_response_of_another_type_is_none() {
    let mut bench = server(|_| {});
    let (connection, query) = looking(&mut bench);
    let (_, stream, _) = asked(&mut bench)[0].clone();
    bench.data(connection, stream, &response(MessageType::GetProviders));
    assert_eq!(closest(&mut bench, query), Some(0), "nobody answered");
    assert_eq!(bench.swarm.protocols().statistics().malformed_responses, 1);
}

#[test]
fn a_peer_that_refuses_the_protocol_leaves_the_table() {
    let mut bench = server(|_| {});
    let (connection, query) = looking(&mut bench);
    let (_, stream, _) = asked(&mut bench)[0].clone();
    let end = StreamEnd::Failed(StreamError::UnsupportedProtocol);
    bench.ended(connection, stream, end);
    assert_eq!(closest(&mut bench, query), Some(0));
    assert!(bench.swarm.protocols().dht().table().is_empty());
}

/// Regression: a peer that is no server for a moment tells of that only once it is one again: it says what it said before.
/// Fails if a peer that says the same after a refusal is not heard.
#[test]
fn a_peer_that_refused_the_protocol_comes_back_when_it_says_that_it_serves() {
    let mut bench = server(|config| config.kbucket_inserts = BucketInserts::OnConnected);
    let in_table = |bench: &Bench<Kademlia>| !bench.swarm.protocols().dht().table().is_empty();
    let serves = |bench: &mut Bench<Kademlia>| {
        bench.run(|_, cx| cx.set_peer_protocols(peer(1), std::vec![NAME]));
    };
    let (connection, query) = looking(&mut bench);
    serves(&mut bench);
    assert!(in_table(&bench));
    let (_, stream, _) = asked(&mut bench)[0].clone();
    let end = StreamEnd::Failed(StreamError::UnsupportedProtocol);
    bench.ended(connection, stream, end);
    assert_eq!(closest(&mut bench, query), Some(0));
    assert!(!in_table(&bench));
    serves(&mut bench);
    assert!(in_table(&bench));
}

/// A silent peer costs a query its time, and no more: stream and request are gone afterwards.
#[test]
fn a_silent_peer_is_given_up() {
    let mut bench = server(|_| {});
    let (_, query) = looking(&mut bench);
    let (_, stream, _) = asked(&mut bench)[0].clone();
    let before = bench.now;
    let mut ended = None;
    for _ in 0..20 {
        bench.wait(Duration::from_secs(1));
        if closest(&mut bench, query).is_some() {
            ended = Some(bench.now);
            break;
        }
    }
    let took = ended.expect("it ends") - before;
    assert!(took <= Duration::from_secs(11), "{took:?}");
    assert!(resets(&mut bench).iter().any(|(reset, _)| *reset == stream));
    assert_eq!(bench.swarm.protocols().open_requests(), 0);
    assert_eq!(bench.now.max(Instant::ZERO), bench.now);
}

/// Giving a query up takes back what was asked, and nothing more is told.
#[test]
fn a_query_that_is_given_up_asks_nobody_any_more() {
    let mut bench = server(|_| {});
    let (_, query) = looking(&mut bench);
    let (_, stream, _) = asked(&mut bench)[0].clone();
    assert!(bench.run(|kad, cx| kad.give_up(&query, cx)));
    assert_eq!(resets(&mut bench), [(stream, code::NO_ERROR)]);
    bench.wait(Duration::from_secs(100));
    assert_eq!(closest(&mut bench, query), None);
    assert_eq!(bench.swarm.protocols().open_requests(), 0);
}

/// Requests to a peer that is dialed wait for it; all of them go out once it is there.
#[test]
fn one_dial_serves_all_requests_to_a_peer() {
    let mut bench = server(|_| {});
    let added = bench.run(|kad, cx| kad.add_address(peer(1), &REMOTE.parse().unwrap(), cx));
    assert_eq!(added, RoutingUpdate::Success);
    for key in [b"a", b"b", b"c"] {
        bench.run(|kad, cx| kad.get_closest_peers(key, cx)).unwrap();
    }
    let attempts = bench.attempts();
    assert_eq!(attempts.len(), 1);
    let connection = bench.connected(attempts[0], REMOTE).unwrap();
    bench.secure(connection, 1);
    let keys: BTreeSet<Vec<u8>> = asked(&mut bench)
        .iter()
        .map(|(_, _, message)| Message::decode(message).unwrap().key.to_vec())
        .collect();
    assert_eq!(keys.len(), 3);
}

/// What a peer is told about others: at most 20, within the budget that every implementation reads.
#[test]
fn an_answer_keeps_to_its_budget() {
    let mut bench = server(|_| {});
    for number in 0..40 {
        for port in 1..=16 {
            let text = std::format!("/dns4/{}{number}.example.com/tcp/{port}", "x".repeat(60));
            let address = text.parse().unwrap();
            let _ = bench.run(|kad, cx| kad.add_address(peer(number), &address, cx));
        }
    }
    let connection = bench.connect(100, REMOTE, Direction::Inbound);
    let stream = bench.inbound(connection, NAME);
    bench.data(connection, stream, &find_node(b"x"));
    let sent = bench.sent(stream);
    assert!(sent[0].len() <= 16 * 1024, "{}", sent[0].len());
    let message = Message::decode(&sent[0]).unwrap();
    let told: Vec<_> = message.closer_peers().collect();
    assert!(told.len() >= 8, "{}", told.len());
    assert!(
        told.iter()
            .all(|told| told.connection == ConnectionType::NotConnected)
    );
}
