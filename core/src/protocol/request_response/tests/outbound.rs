//! Requests of this node: each row of the table, and what each limit does.

use super::*;
use crate::{
    connection::{StreamKind, code},
    swarm::DialError,
};

const ID: OutboundRequestId = OutboundRequestId(1);

/// A request on its way on one connection.
fn begun(texting: &mut Texting) -> (ConnectionId, StreamId) {
    let connection = texting.connect(1);
    assert_eq!(texting.send(1, "hello"), Ok(ID));
    let (on, stream, bytes) = texting.exchange();
    assert_eq!((on, &bytes[..]), (connection, &b"hello"[..]));
    (connection, stream)
}

#[test]
fn is_answered_once() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = begun(&mut texting);
    assert!(texting.machine().is_pending_outbound(&peer(1), ID));
    assert!(!texting.machine().is_pending_outbound(&peer(2), ID));
    texting.bench.agree(connection, stream, ONE);
    assert_eq!(texting.seen(), []);
    texting.body(connection, stream, "world");
    assert_eq!(texting.seen(), [Seen::Response(ID, "world".into())]);
    assert!(!texting.machine().is_pending_outbound(&peer(1), ID));
    texting.ended(connection, stream);
    texting.assert_idle();
}

#[test]
fn every_end_of_a_stream_has_its_failure() {
    use OutboundFailure as Failure;
    let reset = StreamError::ResetByPeer(7);
    let lost = ConnectionError::Lost("gone".into());
    for (end, failure) in [
        (
            StreamError::UnsupportedProtocol,
            Failure::UnsupportedProtocols,
        ),
        (
            StreamError::NegotiationTimeout,
            Failure::Timeout(Stage::Negotiating),
        ),
        (StreamError::MessageTooLong, Failure::ResponseTooLarge),
        (
            StreamError::Connection(lost.clone()),
            Failure::ConnectionClosed(lost),
        ),
        (reset.clone(), Failure::Stream(reset)),
        (
            StreamError::Truncated,
            Failure::Stream(StreamError::Truncated),
        ),
    ] {
        let mut texting = Texting::new(Config::default());
        let (connection, stream) = begun(&mut texting);
        texting.failed(connection, stream, end);
        assert_eq!(texting.seen(), [Seen::Failed(ID, failure)]);
        texting.assert_idle();
    }
}

/// Regression: rust-libp2p 6038, an end of the stream without a cause.
#[test]
fn an_empty_response_means_omitted_to_a_codec_that_has_none() {
    for framing in [Framing::ToEnd, Framing::LengthPrefixed] {
        let mut texting = Texting::new(Config::default().with_framing(framing));
        let (connection, stream) = begun(&mut texting);
        texting.bench.agree(connection, stream, ONE);
        if framing == Framing::ToEnd {
            texting.bench.data(connection, stream, b"");
        }
        texting.bench.finish(connection, stream);
        let omitted = Seen::Failed(ID, OutboundFailure::ResponseOmitted);
        assert_eq!(texting.seen(), [omitted]);
        texting.ended(connection, stream);
        texting.assert_idle();
    }
}

#[test]
fn an_empty_response_is_one_to_a_codec_that_has_it() {
    let mut bench = Bench::new(RequestResponse::<BytesCodec>::new(
        [(ONE, ProtocolSupport::Full)],
        Config::default(),
    ));
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    bench
        .run(|bytes, cx| bytes.send_request(&peer(1), Bytes::new(), cx))
        .unwrap();
    let (_, stream, body) = bench.exchanges().remove(0);
    assert!(body.is_empty());
    bench.data(connection, stream, b"");
    let events = bench.events();
    assert!(
        matches!(events.as_slice(), [Event::Message {
            message: Message::Response { response, .. }, ..
        }] if response.is_empty()),
        "{events:?}"
    );
}

#[test]
fn an_invalid_response_fails() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = begun(&mut texting);
    texting.bench.data(connection, stream, &[0xff, 0xfe]);
    let failure = OutboundFailure::Decode(CodecError::malformed("not text"));
    assert_eq!(texting.seen(), [Seen::Failed(ID, failure)]);
    texting.bench.finish(connection, stream);
    texting.ended(connection, stream);
    texting.assert_idle();
}

/// Regression: rust-libp2p counts neither queueing nor dialing nor negotiating, and polkadot-sdk 7222 saw requests hang
/// 20 s past their time.
#[test]
fn one_deadline_covers_the_whole_life() {
    let timeout = Config::default().request_timeout;
    // Queued, while dialing.
    let mut texting = Texting::new(Config::default());
    // An attempt at a private address has less time.
    let remote = "/ip4/192.0.2.1/tcp/1";
    let options = || RequestOptions::new().addresses([crate::protocol::bench::address(remote)]);
    texting.send_with(1, "hello", options()).unwrap();
    let attempt = texting.bench.attempts()[0];
    texting.bench.wait(timeout - Duration::from_nanos(1));
    assert_eq!(texting.seen(), []);
    texting.bench.wait(Duration::from_nanos(1));
    let late = |stage| Seen::Failed(ID, OutboundFailure::Timeout(stage));
    assert_eq!(texting.seen(), [late(Stage::Queued)]);
    texting.assert_idle();
    // Nobody else wanted that dial.
    assert!(texting.bench.connected(attempt, remote).is_none());

    // Of its time, five seconds went into dialing; then the peer says nothing.
    for agree in [false, true] {
        let mut texting = Texting::new(Config::default());
        texting.send_with(1, "hello", options()).unwrap();
        let attempt = texting.bench.attempts()[0];
        texting.bench.wait(Duration::from_millis(4500));
        let connection = texting.bench.connected(attempt, remote).unwrap();
        texting.bench.secure(connection, 1);
        let (_, stream, _) = texting.exchange();
        if agree {
            texting.bench.agree(connection, stream, ONE);
        }
        texting.bench.wait(Duration::from_millis(5499));
        assert_eq!(texting.seen(), []);
        texting.bench.wait(Duration::from_millis(1));
        let stage = if agree {
            Stage::Waiting
        } else {
            Stage::Negotiating
        };
        assert_eq!(texting.seen(), [late(stage)]);
        assert_eq!(texting.resets(), [(stream, code::NO_ERROR)]);
        texting.assert_idle();
    }
}

#[test]
fn a_request_may_have_a_time_of_its_own() {
    let mut texting = Texting::new(Config::default());
    texting.connect(1);
    let options = RequestOptions::new().timeout(seconds(1));
    texting.send_with(1, "hello", options).unwrap();
    texting.send(1, "patient").unwrap();
    texting.bench.wait(seconds(2));
    let late = OutboundFailure::Timeout(Stage::Negotiating);
    assert_eq!(texting.seen(), [Seen::Failed(ID, late)]);
    assert_eq!(texting.machine().pending_outbound(), 1);
}

#[test]
fn cancelling_says_nothing_and_leaves_nothing() {
    let mut texting = Texting::new(Config::default());
    let (_, stream) = begun(&mut texting);
    assert!(texting.bench.run(|texts, cx| texts.cancel(ID, cx)));
    assert_eq!(texting.resets(), [(stream, code::NO_ERROR)]);
    assert!(!texting.bench.run(|texts, cx| texts.cancel(ID, cx)));
    texting.assert_idle();
    // While queued: the dial has nobody left who wants it.
    let options = RequestOptions::new().addresses([crate::protocol::bench::address(REMOTE)]);
    let id = texting.send_with(2, "hello", options).unwrap();
    let attempt = texting.bench.attempts()[0];
    assert!(texting.bench.run(|texts, cx| texts.cancel(id, cx)));
    texting.assert_idle();
    assert!(texting.bench.connected(attempt, REMOTE).is_none());
}

#[test]
fn a_cancelled_answer_is_not_told() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = begun(&mut texting);
    texting.bench.run(|texts, cx| texts.cancel(ID, cx));
    texting.body(connection, stream, "too late");
    texting.ended(connection, stream);
    texting.assert_idle();
}

/// Regression: rust-libp2p queues without a bound while it dials, and makes one dial for each request.
#[test]
fn many_requests_make_one_dial_and_the_queue_has_a_number() {
    let config = Config {
        max_queued_per_peer: 3,
        max_queued: 4,
        ..Config::default()
    };
    let mut texting = Texting::new(config);
    let options = || RequestOptions::new().addresses([crate::protocol::bench::address(REMOTE)]);
    texting.send_with(1, "1", options()).unwrap();
    texting.send(1, "2").unwrap();
    texting.send(1, "3").unwrap();
    assert_eq!(texting.send(1, "4"), Err(Refusal::QueueFull));
    texting.send_with(2, "1", options()).unwrap();
    let full = texting.send_with(3, "1", options());
    assert_eq!(full, Err(Refusal::QueueFull), "of all peers together");
    let attempts = texting.bench.attempts();
    assert_eq!(attempts.len(), 2, "one for each peer");
    let connection = texting.bench.connected(attempts[0], REMOTE).unwrap();
    texting.bench.secure(connection, 1);
    let sent: Vec<Bytes> = texting
        .bench
        .exchanges()
        .into_iter()
        .map(|(_, _, bytes)| bytes)
        .collect();
    assert_eq!(sent, ["1", "2", "3"], "in order");
}

#[test]
fn a_failed_dial_fails_all_that_waited() {
    let mut texting = Texting::new(Config::default());
    assert_eq!(
        texting.send(1, "1"),
        Err(Refusal::Dial(DialError::NoAddresses))
    );
    let me = texting.bench.swarm.local_peer_id();
    let own = texting
        .bench
        .run(|texts, cx| texts.send_request(&me, "1".into(), cx))
        .unwrap_err();
    assert_eq!(own.reason, Refusal::Dial(DialError::SelfDial));
    let idle = RequestOptions::new().only_if_connected();
    assert_eq!(
        texting.send_with(1, "1", idle.clone()),
        Err(Refusal::NotConnected)
    );
    texting.assert_idle();

    let options = RequestOptions::new().addresses([crate::protocol::bench::address(REMOTE)]);
    let first = texting.send_with(1, "1", options).unwrap();
    let second = texting.send_with(1, "2", idle).unwrap();
    let attempt = texting.bench.attempts()[0];
    let refused = crate::swarm::TransportError::Refused;
    let now = texting.bench.now;
    texting
        .bench
        .swarm
        .handle_dialed(now, attempt, Err(refused));
    let seen = texting.seen();
    let failed = |seen: &Seen, id| matches!(seen, Seen::Failed(failed, OutboundFailure::DialFailure(DialError::AllFailed { .. })) if *failed == id);
    assert!(
        seen.len() == 2 && failed(&seen[0], first) && failed(&seen[1], second),
        "{seen:?}"
    );
    texting.assert_idle();
}

/// Regression: in rust-libp2p a failed dial fails the requests that wait for another one.
#[test]
fn as_long_as_one_dial_is_left_requests_wait() {
    let mut texting = Texting::new(Config::default());
    let options = |text| RequestOptions::new().addresses([crate::protocol::bench::address(text)]);
    texting.send_with(1, "1", options("/memory/1")).unwrap();
    let first = texting.bench.attempts()[0];
    texting.send_with(1, "2", options("/memory/2")).unwrap();
    let refused = crate::swarm::TransportError::Refused;
    let now = texting.bench.now;
    texting.bench.swarm.handle_dialed(now, first, Err(refused));
    assert_eq!(texting.seen(), []);
    let second = texting.bench.attempts();
    let connection = texting.bench.connected(second[0], "/memory/2").unwrap();
    texting.bench.secure(connection, 1);
    assert_eq!(texting.bench.exchanges().len(), 2);
}

/// Regression: rust-libp2p 4773, 4870, 4898, and PR 6601: requests given to a connection that another behaviour denies are lost.
#[test]
fn requests_wait_until_a_connection_is_established() {
    let mut texting = Texting::new(Config::default());
    let options = RequestOptions::new().addresses([crate::protocol::bench::address(REMOTE)]);
    texting.send_with(1, "1", options).unwrap();
    let attempt = texting.bench.attempts()[0];
    let connection = texting.bench.connected(attempt, REMOTE).unwrap();
    // Whoever answers there is denied.
    let now = texting.bench.now;
    texting.bench.swarm.deny_peer(now, peer(1));
    texting.bench.secure(connection, 1);
    texting.bench.close(connection);
    let seen = texting.seen();
    assert!(
        matches!(
            seen.as_slice(),
            [Seen::Failed(ID, OutboundFailure::DialFailure(_))]
        ),
        "{seen:?}"
    );
    assert!(!texting.machine().is_connected(&peer(1)));
    texting.assert_idle();
}

/// Regression: rust-libp2p 5417: at the limit, requests are lost or fail; and 16 of our list: inbound streams take the
/// places of outbound ones.
#[test]
fn at_the_limit_requests_wait_and_the_peers_requests_take_no_places() {
    let config = Config {
        max_outbound: 2,
        max_inbound: 1,
        ..Config::default()
    };
    let mut texting = Texting::new(config);
    let connection = texting.connect(1);
    // The peer holds what it may.
    texting.bench.inbound(connection, ONE);
    let refused = texting.bench.inbound(connection, ONE);
    assert_eq!(texting.resets(), [(refused, code::RESOURCE_LIMIT_EXCEEDED)]);
    assert_eq!(texting.machine().statistics().refused_for_capacity, 1);
    for text in ["1", "2", "3", "4"] {
        texting.send(1, text).unwrap();
    }
    let sent = texting.bench.exchanges();
    assert_eq!(sent.len(), 2);
    texting.body(connection, sent[1].1, "answer");
    assert!(
        texting.bench.exchanges().is_empty(),
        "its stream is still there"
    );
    texting.ended(connection, sent[1].1);
    let (_, stream, bytes) = texting.exchange();
    assert_eq!(bytes, "3");
    texting.failed(connection, stream, StreamError::ResetByPeer(0));
    assert_eq!(texting.exchange().2, "4");
}

#[test]
fn requests_spread_over_connections() {
    let mut texting = Texting::new(Config::default().with_max_concurrent_streams(2));
    let (first, second) = (texting.connect(1), texting.connect(1));
    texting.send(1, "1").unwrap();
    let mut sent = texting.bench.exchanges();
    assert_eq!(sent[0].0, second, "the newest first");
    for text in ["2", "3", "4", "5"] {
        texting.send(1, text).unwrap();
    }
    sent.extend(texting.bench.exchanges());
    let on = |connection| sent.iter().filter(|sent| sent.0 == connection).count();
    assert_eq!((on(first), on(second)), (2, 2));
    // One that closes takes its own along, and nothing else. What waited goes on the other as soon as there is room.
    for (connection, stream, _) in sent.iter().filter(|sent| sent.0 == second) {
        let closed = StreamError::Connection(ConnectionError::ClosedByPeer);
        texting.failed(*connection, *stream, closed);
    }
    texting.bench.close(second);
    let lost = ConnectionError::ClosedByPeer;
    let seen = texting.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|seen| matches!(
        seen, Seen::Failed(_, OutboundFailure::ConnectionClosed(error)) if *error == lost)));
}

#[test]
fn what_waited_on_a_connection_that_ends_is_dialed_for() {
    let mut texting = Texting::new(Config::default().with_max_concurrent_streams(1));
    let listener = crate::protocol::bench::address("/memory/9");
    let now = texting.bench.now;
    texting.bench.swarm.add_address(now, peer(1), &listener);
    let connection = texting.connect(1);
    texting.send(1, "1").unwrap();
    texting.send(1, "2").unwrap();
    texting.exchange();
    texting.bench.close(connection);
    let attempts = texting.bench.attempts();
    assert_eq!(attempts.len(), 1, "the second one was never sent");
    let connection = texting.bench.connected(attempts[0], "/memory/9").unwrap();
    texting.bench.secure(connection, 1);
    assert_eq!(texting.exchange().2, "2");
}

/// The swarm hears a little later than the connection itself that it ends.
#[test]
fn what_a_connection_had_no_stream_for_waits_for_the_next_one() {
    use crate::connection::OpenError;
    let mut texting = Texting::new(Config::default());
    let now = texting.bench.now;
    let next = crate::protocol::bench::address("/memory/9");
    texting.bench.swarm.add_address(now, peer(1), &next);
    let (connection, stream) = begun(&mut texting);
    texting.failed(
        connection,
        stream,
        StreamError::Open(OpenError::NotConnected),
    );
    assert_eq!(texting.seen(), []);
    let attempts = texting.bench.attempts();
    assert_eq!(attempts.len(), 1, "not there again");
    assert_eq!(texting.machine().held_bytes(), 5);
    texting.bench.close(connection);
    let attempt = attempts[0];
    let connection = texting.bench.connected(attempt, "/memory/9").unwrap();
    texting.bench.secure(connection, 1);
    let (_, stream, bytes) = texting.exchange();
    assert_eq!(bytes, "hello");
    texting.bench.agree(connection, stream, ONE);
    texting.body(connection, stream, "world");
    assert_eq!(texting.seen(), [Seen::Response(ID, "world".into())]);
    texting.ended(connection, stream);
    texting.assert_idle();
    // Where others use all streams, it is asked again.
    let id = texting.send(1, "hello").unwrap();
    let (_, stream, _) = texting.exchange();
    let full = StreamError::Open(OpenError::TooManyStreams);
    texting.failed(connection, stream, full);
    assert_eq!(texting.seen(), []);
    texting.bench.wait(Duration::from_millis(99));
    assert!(texting.bench.exchanges().is_empty());
    texting.bench.wait(Duration::from_millis(1));
    let (_, stream, bytes) = texting.exchange();
    assert_eq!(bytes, "hello");
    texting.body(connection, stream, "world");
    assert_eq!(texting.seen(), [Seen::Response(id, "world".into())]);
    texting.ended(connection, stream);
    texting.assert_idle();
}

/// A peer that has said GoAway keeps the connection as long as its last stream. Fails if requests wait for that.
#[test]
fn a_connection_that_takes_no_more_streams_is_not_waited_for() {
    use crate::connection::OpenError;
    let mut texting = Texting::new(Config::default());
    let now = texting.bench.now;
    let next = crate::protocol::bench::address("/memory/9");
    texting.bench.swarm.add_address(now, peer(1), &next);
    let (old, stream) = begun(&mut texting);
    texting.failed(old, stream, StreamError::Open(OpenError::GoingAway));
    // It is there still, and a second request must not go there either.
    let attempt = texting.bench.attempts()[0];
    let second = texting.send(1, "second").unwrap();
    assert!(texting.bench.told().is_empty(), "one dial is enough");
    let new = texting.bench.connected(attempt, "/memory/9").unwrap();
    texting.bench.secure(new, 1);
    let sent = texting.bench.exchanges();
    assert_eq!(sent.len(), 2);
    for ((on, stream, _), id) in sent.into_iter().zip([ID, second]) {
        assert_eq!(on, new);
        texting.body(new, stream, "answer");
        assert_eq!(texting.seen(), [Seen::Response(id, "answer".into())]);
        texting.ended(new, stream);
    }
    texting.assert_idle();
}

#[test]
fn more_names_than_can_be_offered_are_refused() {
    let names = (0..100).map(|number| {
        let name = std::format!("/name/{number}");
        (name.parse().unwrap(), ProtocolSupport::Full)
    });
    let mut texting = Texting::speaking(names, Config::default());
    texting.connect(1);
    assert_eq!(texting.send(1, "hello"), Err(Refusal::TooManyProtocols));
    texting.assert_idle();
}

#[test]
fn a_connection_with_as_many_streams_as_it_may_have_is_waited_for() {
    let mut texting = Texting::new(Config::default().with_max_concurrent_streams(1000));
    let connection = texting.connect(1);
    for number in 0..300 {
        texting.send(1, &std::format!("{number}")).unwrap();
    }
    let first = texting.bench.exchanges();
    assert_eq!(first.len(), 256);
    texting.bench.processed(connection);
    assert!(texting.bench.exchanges().is_empty());
    texting.ended(connection, first[7].1);
    assert_eq!(texting.exchange().2, "256", "in order");
}

#[test]
fn a_busy_connection_is_waited_for() {
    let config = Config::default()
        .one_way()
        .with_max_concurrent_streams(1000);
    let mut texting = Texting::new(config);
    let connection = texting.connect(1);
    for number in 0..200 {
        texting.send(1, &std::format!("{number}")).unwrap();
    }
    let first = texting.bench.exchanges();
    assert_eq!(first.len(), 128, "256 commands, two for each");
    texting.bench.processed(connection);
    let rest = texting.bench.exchanges();
    assert_eq!((rest.len(), &rest[0].2[..]), (72, &b"128"[..]), "in order");
}

#[test]
fn bodies_that_wait_are_counted() {
    let config = Config {
        max_held_bytes: 10,
        ..Config::default()
    };
    let mut texting = Texting::new(config);
    let options = RequestOptions::new().addresses([crate::protocol::bench::address(REMOTE)]);
    texting.send_with(1, "12345678", options).unwrap();
    assert_eq!(texting.machine().held_bytes(), 8);
    assert_eq!(texting.send(1, "123"), Err(Refusal::TooManyBytes));
    texting.send(1, "12").unwrap();
    let attempt = texting.bench.attempts()[0];
    let connection = texting.bench.connected(attempt, REMOTE).unwrap();
    texting.bench.secure(connection, 1);
    let full = texting.send(1, "3");
    assert_eq!(full, Err(Refusal::TooManyBytes), "they may not have left");
    for (connection, stream, _) in texting.bench.exchanges() {
        texting.body(connection, stream, "answer");
        texting.ended(connection, stream);
    }
    assert_eq!(texting.seen().len(), 2);
    texting.assert_idle();
}

#[test]
fn what_cannot_be_said_is_refused_at_once() {
    let config = Config::default().with_max_request_len(5);
    let mut texting = Texting::new(config);
    texting.connect(1);
    texting.send(1, "12345").unwrap();
    let too_large = EncodeError::TooLarge { len: 6, max: 5 };
    assert_eq!(texting.send(1, "123456"), Err(Refusal::Encode(too_large)));
    let unsayable = EncodeError::Codec(CodecError::unencodable("no words for it"));
    assert_eq!(
        texting.send(1, "unsayable"),
        Err(Refusal::Encode(unsayable))
    );
    let mut deaf = Texting::speaking([(ONE, ProtocolSupport::Inbound)], Config::default());
    assert_eq!(deaf.send(1, "1"), Err(Refusal::NoOutboundProtocol));
}

#[test]
fn without_room_for_its_last_word_a_request_is_refused() {
    let mut texting = Texting::new(Config::default());
    texting.connect(1);
    let mut sent = 0u32;
    let refusal = loop {
        // Nobody collects events.
        let id = match texting
            .bench
            .run(|texts, cx| texts.send_request(&peer(1), "1".into(), cx))
        {
            Ok(id) => id,
            Err(error) => break error.reason,
        };
        let (connection, stream, _) = texting.exchange();
        texting.body(connection, stream, "answer");
        texting.ended(connection, stream);
        assert!(!texting.machine().is_pending_outbound(&peer(1), id));
        texting.bench.processed(connection);
        sent += 1;
    };
    assert_eq!(refusal, Refusal::EventsFull);
    assert!(sent > 4000, "{sent}");
    assert_eq!(texting.seen().len(), usize::try_from(sent).unwrap());
    texting.assert_idle();
}

#[test]
fn a_family_is_offered_in_the_order_of_preference() {
    let names = [
        (ONE, ProtocolSupport::Outbound),
        (TWO, ProtocolSupport::Full),
    ];
    let mut texting = Texting::speaking(names, Config::default());
    let connection = texting.connect(1);
    assert_eq!(
        texting.bench.swarm.accepted_names().collect::<Vec<_>>(),
        [&TWO]
    );
    texting.send(1, "hello").unwrap();
    let told = texting.bench.told();
    let [
        (
            _,
            ToConnectionMessage::Open {
                stream,
                names,
                kind,
                ..
            },
        ),
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!(names.as_slice(), [ONE, TWO]);
    assert_eq!(*kind, StreamKind::ToEnd { max_len: 4 << 20 });
    assert_eq!(texting.machine().held_bytes(), 5, "until it is answered");
    texting.bench.agree(connection, *stream, TWO);
    assert_eq!(texting.exchange().2, "HELLO", "as the name wants it");
    texting.body(connection, *stream, "WORLD");
    assert_eq!(texting.seen(), [Seen::Response(ID, "world".into())]);
    texting.ended(connection, *stream);
    texting.assert_idle();
}

#[test]
fn a_body_that_finds_no_room_waits_for_it() {
    let names = [(ONE, ProtocolSupport::Full), (TWO, ProtocolSupport::Full)];
    let mut texting = Texting::speaking(names, Config::default().with_max_concurrent_streams(1000));
    let connection = texting.connect(1);
    let streams: Vec<StreamId> = (0..200)
        .map(|_| {
            texting.send(1, "hello").unwrap();
            texting.bench.opened()[0].1
        })
        .collect();
    for stream in &streams {
        texting.bench.agree(connection, *stream, ONE);
    }
    assert_eq!(
        texting.bench.exchanges().len(),
        56,
        "256 commands, 200 of them opens"
    );
    texting.bench.processed(connection);
    assert_eq!(texting.bench.exchanges().len(), 144);
}

#[test]
fn more_than_one_response_is_a_violation() {
    let config = Config::default().with_framing(Framing::LengthPrefixed);
    let mut texting = Texting::new(config);
    let (connection, stream) = begun(&mut texting);
    texting.bench.data(connection, stream, b"one");
    texting.bench.data(connection, stream, b"two");
    assert_eq!(texting.seen(), [Seen::Response(ID, "one".into())]);
    assert_eq!(texting.resets(), [(stream, code::PROTOCOL_VIOLATION)]);
    texting.assert_idle();
}

#[test]
fn a_peer_that_does_not_finish_is_not_waited_for() {
    let config = Config::default().with_framing(Framing::LengthPrefixed);
    let mut texting = Texting::new(config);
    let (connection, stream) = begun(&mut texting);
    texting.bench.data(connection, stream, b"one");
    assert_eq!(texting.seen(), [Seen::Response(ID, "one".into())]);
    texting.bench.wait(seconds(10));
    assert_eq!(texting.resets(), [(stream, code::NO_ERROR)]);
    texting.assert_idle();
}

#[test]
fn one_way_succeeds_when_agreed_and_gone() {
    for agreed_first in [false, true] {
        let mut bench = Bench::new(RequestResponse::<OneWayBytesCodec>::new(
            [(ONE, ProtocolSupport::Full)],
            Config::default().one_way(),
        ));
        let connection = bench.connect(1, REMOTE, Direction::Inbound);
        bench
            .run(|bytes, cx| bytes.send_request(&peer(1), Bytes::from_static(b"news"), cx))
            .unwrap();
        let told = bench.told();
        let [
            (_, ToConnectionMessage::OpenWith { stream, .. }),
            (_, ToConnectionMessage::ReportSent { .. }),
        ] = told.as_slice()
        else {
            panic!("{told:?}")
        };
        let stream = *stream;
        let sent = ToSwarmMessage::Sent { stream };
        if agreed_first {
            bench.agree(connection, stream, ONE);
        } else {
            bench.say(connection, sent.clone());
        }
        assert!(bench.events().is_empty());
        if agreed_first {
            bench.say(connection, sent);
        } else {
            bench.agree(connection, stream, ONE);
        }
        let events = bench.events();
        assert!(
            matches!(
                events.as_slice(),
                [Event::Message {
                    message: Message::Response { response: (), .. },
                    ..
                }]
            ),
            "{events:?}"
        );
        bench.data(connection, stream, b"");
        bench.finish(connection, stream);
        bench.ended(connection, stream, StreamEnd::Finished);
        assert!(bench.events().is_empty() && bench.swarm.protocols().outbound.is_empty());
    }
}

#[test]
fn a_streamed_response_is_given_to_the_host_as_it_begins() {
    let mut texting = Texting::new(Config::default().with_max_response_len(3));
    let connection = texting.connect(1);
    let options = RequestOptions::new().stream_response();
    texting.send_with(1, "hello", options.clone()).unwrap();
    let (_, stream, _) = texting.exchange();
    texting.bench.agree(connection, stream, ONE);
    assert_eq!(texting.seen(), []);
    texting.bench.data(connection, stream, b"beginning");
    let at = StreamRef { connection, stream };
    let first = Bytes::from_static(b"beginning");
    assert_eq!(texting.seen(), [Seen::Stream(ID, at, first)]);
    let told = texting.bench.told();
    assert!(
        matches!(told.as_slice(), [(_, ToConnectionMessage::HandOver { stream: given, had_message: true })] if *given == stream),
        "{told:?}"
    );
    texting.assert_idle();

    let mut framed = Texting::new(Config::default().with_framing(Framing::LengthPrefixed));
    framed.connect(1);
    assert_eq!(
        framed.send_with(1, "hello", options),
        Err(Refusal::NotStreamable)
    );
    framed.assert_idle();
}

#[test]
fn an_empty_streamed_response_is_given_to_the_host_too() {
    let mut texting = Texting::new(Config::default());
    let connection = texting.connect(1);
    let options = RequestOptions::new().stream_response();
    texting.send_with(1, "hello", options).unwrap();
    let (_, stream, _) = texting.exchange();
    texting.bench.agree(connection, stream, ONE);
    texting.bench.finish(connection, stream);
    let at = StreamRef { connection, stream };
    assert_eq!(texting.seen(), [Seen::Stream(ID, at, Bytes::new())]);
    texting.assert_idle();
}

#[test]
fn a_streamed_request_is_given_to_the_host_when_the_peer_agrees() {
    let mut texting = Texting::new(Config::default());
    let connection = texting.connect(1);
    let id = texting
        .bench
        .run(|texts, cx| texts.open_request(&peer(1), RequestOptions::new(), cx))
        .unwrap();
    let (_, stream, name) = texting.bench.opened().remove(0);
    assert_eq!(name, ONE);
    texting.bench.agree(connection, stream, ONE);
    let at = StreamRef { connection, stream };
    assert_eq!(texting.seen(), [Seen::Stream(id, at, Bytes::new())]);
    texting.assert_idle();
    let refused = texting
        .bench
        .run(|texts, cx| texts.open_request(&peer(1), RequestOptions::new(), cx))
        .unwrap();
    let (_, stream, _) = texting.bench.opened().remove(0);
    texting.failed(connection, stream, StreamError::UnsupportedProtocol);
    let failure = OutboundFailure::UnsupportedProtocols;
    assert_eq!(texting.seen(), [Seen::Failed(refused, failure)]);
    texting.assert_idle();
}
