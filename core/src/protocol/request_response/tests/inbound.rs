//! Requests of peers: each row of the table, and what each limit does.

use super::*;
use crate::connection::code;

const ID: InboundRequestId = InboundRequestId(1);

/// A request of a peer that the application has been told of.
fn asked(texting: &mut Texting) -> (ConnectionId, StreamId) {
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    texting.body(connection, stream, "hello");
    assert_eq!(texting.seen(), [Seen::Request(ID, "hello".into())]);
    (connection, stream)
}

#[test]
fn is_answered_once() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = asked(&mut texting);
    assert!(texting.machine().is_pending_inbound(&peer(1), ID));
    assert!(!texting.machine().is_pending_inbound(&peer(2), ID));
    assert_eq!(texting.machine().held_bytes(), 5);
    assert!(texting.channels[&ID].is_open());
    assert_eq!(texting.channels[&ID].request_id(), ID);
    assert!(texting.respond(ID, "world"));
    let (_, on, bytes) = texting.exchange();
    assert_eq!((on, &bytes[..]), (stream, &b"world"[..]));
    assert_eq!(texting.seen(), [], "not gone yet");
    texting.ended(connection, stream);
    assert_eq!(texting.seen(), [Seen::Sent(ID)]);
    texting.assert_idle();
}

/// Regression: rust-libp2p PR 1987: the peer waits for its timeout.
#[test]
fn a_dropped_channel_ends_the_stream_at_once() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = asked(&mut texting);
    texting.bench.told();
    let before = texting.bench.swarm.poll_timeout().unwrap();
    assert!(before > texting.bench.now);
    texting.channels.clear();
    assert!(texting.bench.swarm.poll_timeout().unwrap() <= texting.bench.now);
    texting.bench.wait(Duration::ZERO);
    let omission = InboundFailure::ResponseOmission;
    assert_eq!(texting.seen(), [Seen::NotAnswered(ID, omission)]);
    let told = texting.bench.told();
    assert!(
        matches!(told.as_slice(), [(_, ToConnectionMessage::Finish { stream: finished })] if *finished == stream),
        "{told:?}"
    );
    texting.ended(connection, stream);
    texting.assert_idle();
}

#[test]
fn dropping_a_channel_wakes_the_host() {
    struct Count(core::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = std::sync::Arc::new(Count(0.into()));
    let mut texting = Texting::new(Config::default());
    let waker = std::task::Waker::from(count.clone());
    texting.bench.swarm.set_waker(Some(waker));
    asked(&mut texting);
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    texting.channels.clear();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    texting.bench.wait(Duration::ZERO);
    assert_eq!(texting.seen().len(), 1);
    // A channel that was used, or is not wanted any more, wakes nobody.
    let connection = texting.bench.swarm.connected().next().unwrap().0;
    for answered in [true, false] {
        let stream = texting.bench.inbound(connection, ONE);
        texting.body(connection, stream, "again");
        texting.seen();
        let id = *texting.channels.keys().next().unwrap();
        if answered {
            assert!(texting.respond(id, "answer"));
        } else {
            texting.failed(connection, stream, StreamError::ResetByPeer(0));
        }
        texting.channels.clear();
    }
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[test]
fn the_time_runs_out() {
    let mut texting = Texting::new(Config::default());
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    texting.bench.wait(seconds(4));
    texting.body(connection, stream, "hello");
    assert_eq!(texting.seen(), [Seen::Request(ID, "hello".into())]);
    texting.bench.wait(Duration::from_millis(5999));
    assert_eq!(texting.seen(), []);
    texting.bench.wait(Duration::from_millis(1));
    let late = Seen::NotAnswered(ID, InboundFailure::Timeout);
    assert_eq!(
        texting.seen(),
        [late],
        "counted from the opening of the stream"
    );
    assert_eq!(texting.resets(), [(stream, code::NO_ERROR)]);
    assert!(!texting.channels[&ID].is_open());
    assert!(!texting.respond(ID, "too late"));
    texting.assert_idle();
}

#[test]
fn a_response_that_does_not_leave_in_time_has_failed() {
    let mut texting = Texting::new(Config::default());
    let (_, stream) = asked(&mut texting);
    assert!(texting.respond(ID, "world"));
    texting.bench.wait(seconds(10));
    let late = Seen::NotAnswered(ID, InboundFailure::Timeout);
    assert_eq!(texting.seen(), [late]);
    assert_eq!(texting.resets(), [(stream, code::NO_ERROR)]);
    texting.assert_idle();
}

/// Regression: rust-libp2p PR 1886: an inbound request without an end.
#[test]
fn a_connection_that_ends_takes_its_requests_along() {
    let lost = ConnectionError::ClosedByPeer;
    for responded in [false, true] {
        let mut texting = Texting::new(Config::default());
        let (connection, stream) = asked(&mut texting);
        if responded {
            assert!(texting.respond(ID, "world"));
        }
        texting.failed(connection, stream, StreamError::Connection(lost.clone()));
        let failure = InboundFailure::ConnectionClosed(lost.clone());
        assert_eq!(texting.seen(), [Seen::NotAnswered(ID, failure)]);
        texting.bench.close(connection);
        texting.assert_idle();
        assert!(texting.machine().peers.is_empty() && texting.machine().links.is_empty());
        if !responded {
            assert!(!texting.respond(ID, "too late"));
        }
    }
}

#[test]
fn a_peer_that_gives_up_is_noticed_at_once() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = asked(&mut texting);
    texting.failed(connection, stream, StreamError::ResetByPeer(0));
    let failure = InboundFailure::Stream(StreamError::ResetByPeer(0));
    assert_eq!(texting.seen(), [Seen::NotAnswered(ID, failure)]);
    assert!(!texting.channels[&ID].is_open());
    texting.assert_idle();
}

/// As in rust-libp2p, the application hears nothing of a request that cannot be read; here it is counted.
#[test]
fn what_is_no_request_is_refused_and_counted() {
    let mut texting = Texting::new(Config::default());
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    texting.bench.data(connection, stream, &[0xff]);
    assert_eq!(texting.resets(), [(stream, code::PROTOCOL_VIOLATION)]);
    for (end, count) in [
        (StreamError::MessageTooLong, 1),
        (StreamError::Truncated, 2),
        (StreamError::BadFrame, 3),
        (StreamError::ResetByPeer(0), 1),
        (StreamError::Connection(ConnectionError::Closed), 2),
    ] {
        let stream = texting.bench.inbound(connection, ONE);
        texting.failed(connection, stream, end.clone());
        let statistics = texting.machine().statistics();
        let counter = match end {
            StreamError::MessageTooLong => statistics.too_large,
            StreamError::Truncated | StreamError::BadFrame => statistics.malformed,
            _ => statistics.given_up,
        };
        assert_eq!(counter, count, "{end:?}");
    }
    let late = texting.bench.inbound(connection, ONE);
    texting.bench.wait(seconds(10));
    assert_eq!(texting.resets(), [(late, code::NO_ERROR)]);
    assert_eq!(texting.machine().statistics().late, 1);
    texting.assert_idle();
}

#[test]
fn a_response_that_cannot_be_sent_may_be_replaced() {
    let mut texting = Texting::new(Config::default().with_max_response_len(5));
    asked(&mut texting);
    let channel = texting.channels.remove(&ID).unwrap();
    let refused = texting
        .bench
        .run(|texts, cx| texts.send_response(channel, "123456".into(), cx));
    let Err(SendResponseError::Encode {
        channel,
        response,
        error,
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (&response[..], error),
        ("123456", EncodeError::TooLarge { len: 6, max: 5 })
    );
    assert!(channel.is_open());
    texting.channels.insert(ID, channel);
    assert!(texting.respond(ID, "12345"));
    assert_eq!(texting.exchange().2, "12345");
}

#[test]
fn a_channel_of_another_protocol_answers_nothing() {
    let mut texting = Texting::new(Config::default());
    asked(&mut texting);
    let mut other = Texting::new(Config::default());
    asked(&mut other);
    let channel = other.channels.remove(&ID).unwrap();
    let answered = texting
        .bench
        .run(|texts, cx| texts.send_response(channel, "world".into(), cx));
    assert!(matches!(answered, Err(SendResponseError::Closed(_))));
    assert!(texting.respond(ID, "world"));
}

#[test]
fn what_the_application_has_not_answered_is_counted() {
    let config = Config {
        max_held_bytes: 10,
        ..Config::default()
    };
    let mut texting = Texting::new(config);
    asked(&mut texting);
    let connection = texting.bench.swarm.connected().next().unwrap().0;
    let stream = texting.bench.inbound(connection, ONE);
    texting.bench.data(connection, stream, b"123456");
    assert_eq!(texting.resets(), [(stream, code::RESOURCE_LIMIT_EXCEEDED)]);
    assert_eq!(texting.machine().statistics().refused_for_bytes, 1);
    assert_eq!(texting.seen(), []);
    assert!(texting.respond(ID, "world"));
    assert_eq!(texting.machine().held_bytes(), 5, "until it has left");
    let (_, answered, _) = texting.exchange();
    texting.ended(connection, answered);
    assert_eq!(texting.seen(), [Seen::Sent(ID)]);
    let stream = texting.bench.inbound(connection, ONE);
    texting.body(connection, stream, "0123456789");
    assert_eq!(texting.seen().len(), 1);
}

#[test]
fn while_events_are_not_collected_requests_are_refused() {
    let mut texting = Texting::new(Config::default().with_max_concurrent_streams(10_000));
    let connection = texting.connect(1);
    let mut let_in = 0;
    while texting.machine().statistics().refused_for_events == 0 {
        let stream = texting.bench.inbound(connection, ONE);
        texting.bench.data(connection, stream, b"hello");
        texting.bench.processed(connection);
        let_in += 1;
    }
    assert!(let_in > 2000, "two places for each: {let_in}");
    let refused = texting.resets();
    assert!(matches!(
        refused.as_slice(),
        [(_, code::RESOURCE_LIMIT_EXCEEDED)]
    ));
    assert_eq!(texting.seen().len(), let_in - 1);
    // Each has its last word still.
    texting.channels.clear();
    texting.bench.wait(Duration::ZERO);
    assert_eq!(texting.seen().len(), let_in - 1);
}

#[test]
fn more_than_one_request_is_a_violation() {
    let mut texting = Texting::new(Config::default().with_framing(Framing::LengthPrefixed));
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    texting.bench.data(connection, stream, b"one");
    texting.bench.data(connection, stream, b"two");
    let violation = Seen::NotAnswered(ID, InboundFailure::UnexpectedData);
    assert_eq!(texting.seen(), [Seen::Request(ID, "one".into()), violation]);
    assert_eq!(texting.resets(), [(stream, code::PROTOCOL_VIOLATION)]);
    texting.assert_idle();
}

/// Peers that speak length-prefixed messages may leave their side open until they have read the answer.
#[test]
fn a_length_prefixed_response_has_gone_when_it_has() {
    let mut texting = Texting::new(Config::default().with_framing(Framing::LengthPrefixed));
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    texting.bench.data(connection, stream, b"hello");
    assert_eq!(texting.seen().len(), 1);
    assert!(texting.respond(ID, "world"));
    let told = texting.bench.told();
    assert!(
        matches!(
            told.as_slice(),
            [
                (_, ToConnectionMessage::SendLast { .. }),
                (_, ToConnectionMessage::ReportSent { .. })
            ]
        ),
        "{told:?}"
    );
    texting
        .bench
        .say(connection, ToSwarmMessage::Sent { stream });
    assert_eq!(texting.seen(), [Seen::Sent(ID)]);
    // litep2p ends an answered request with a reset.
    texting.failed(connection, stream, StreamError::ResetByPeer(0));
    texting.assert_idle();
}

#[test]
fn a_length_prefixed_request_that_never_comes_is_counted() {
    let mut texting = Texting::new(Config::default().with_framing(Framing::LengthPrefixed));
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    texting.bench.finish(connection, stream);
    assert_eq!(texting.resets(), [(stream, code::NO_ERROR)]);
    assert_eq!(texting.machine().statistics().given_up, 1);
    texting.assert_idle();
}

#[test]
fn a_response_that_finds_no_room_waits_for_it() {
    let mut texting = Texting::new(Config::default().with_max_concurrent_streams(1000));
    let connection = texting.connect(1);
    for _ in 0..300 {
        let stream = texting.bench.inbound(connection, ONE);
        texting.body(connection, stream, "hello");
    }
    assert_eq!(texting.seen().len(), 300);
    texting.bench.processed(connection);
    texting.bench.told();
    texting.bench.processed(connection);
    for id in 1..=300 {
        assert!(texting.respond(InboundRequestId(id), "world"));
    }
    assert_eq!(
        texting.machine().held_bytes(),
        300 * 5,
        "until they have left"
    );
    let first = texting.bench.exchanges().len();
    texting.bench.processed(connection);
    let rest = texting.bench.exchanges().len();
    assert_eq!((first, rest), (256, 44));
}

#[test]
fn a_one_way_request_may_be_left_unanswered() {
    for answered in [false, true] {
        let mut bench = Bench::new(RequestResponse::<OneWayBytesCodec>::new(
            [(ONE, ProtocolSupport::Full)],
            Config::default().one_way(),
        ));
        let connection = bench.connect(1, REMOTE, Direction::Inbound);
        let stream = bench.inbound(connection, ONE);
        bench.data(connection, stream, b"news");
        bench.finish(connection, stream);
        let mut events = bench.events();
        let Some(Event::Message {
            message: Message::Request { channel, .. },
            ..
        }) = events.pop()
        else {
            panic!("{events:?}")
        };
        if answered {
            bench
                .run(|bytes, cx| bytes.send_response(channel, (), cx))
                .unwrap();
        } else {
            drop(channel);
        }
        bench.wait(Duration::ZERO);
        let told = bench.told();
        assert!(
            matches!(told.as_slice(), [(_, ToConnectionMessage::Finish { .. })]),
            "{told:?}"
        );
        bench.ended(connection, stream, StreamEnd::Finished);
        let events = bench.events();
        assert_eq!(events.len(), usize::from(answered), "{events:?}");
        assert!(bench.swarm.protocols().inbound.is_empty());
        assert_eq!(bench.swarm.reserved_events(), 2);
    }
}

#[test]
fn a_response_may_be_left_to_the_host() {
    let mut texting = Texting::new(Config::default());
    let (connection, stream) = asked(&mut texting);
    let channel = texting.channels.remove(&ID).unwrap();
    let given = texting
        .bench
        .run(|texts, cx| texts.stream_response(channel, cx));
    assert_eq!(given, Some(StreamRef { connection, stream }));
    let told = texting.bench.told();
    assert!(
        matches!(told.as_slice(), [(_, ToConnectionMessage::HandOver { .. })]),
        "{told:?}"
    );
    texting.assert_idle();
    // Not if the time has run out meanwhile.
    let stream = texting.bench.inbound(connection, ONE);
    texting.body(connection, stream, "hello");
    texting.seen();
    texting.bench.wait(seconds(10));
    texting.seen();
    let channel = texting.channels.pop_first().unwrap().1;
    let given = texting
        .bench
        .run(|texts, cx| texts.stream_response(channel, cx));
    assert_eq!(given, None);
}

#[test]
fn requests_may_be_left_to_the_host() {
    let mut texting = Texting::new(Config::default().stream_requests());
    let connection = texting.connect(1);
    let stream = texting.bench.inbound(connection, ONE);
    let at = StreamRef { connection, stream };
    assert_eq!(texting.seen(), [Seen::InboundStream(at)]);
    assert!(matches!(
        texting.bench.told().as_slice(),
        [(_, ToConnectionMessage::HandOver { .. })]
    ));
    texting.assert_idle();
}

#[test]
fn a_name_that_is_taken_is_reported() {
    crate::protocols! {
        #[derive(Debug)]
        struct Both => BothEvent {
            first: Texts => First,
            second: Texts => Second,
        }
    }
    let texts = || Texts::new([(ONE, ProtocolSupport::Full)], Config::default());
    let both = Both {
        first: texts(),
        second: texts(),
    };
    let bench = Bench::new(both);
    let both = bench.swarm.protocols();
    assert_eq!(both.first.refused_names(), []);
    assert_eq!(
        both.second.refused_names(),
        [AcceptError::AlreadyRegistered(ONE)]
    );
}

#[test]
fn a_dropped_channel_prints_the_same_in_every_run() {
    let mut texting = Texting::new(Config::default());
    asked(&mut texting);
    let channel = std::format!("{:?}", texting.channels[&ID]);
    assert_eq!(
        channel,
        "ResponseChannel { request: InboundRequestId(1), .. }"
    );
}
