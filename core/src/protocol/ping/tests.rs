use super::*;
use crate::{
    connection::{Direction, ToConnectionMessage},
    protocol::bench::{Bench, peer},
};
use proptest::prelude::*;
use std::vec;

const REMOTE: &str = "/memory/1";

/// A connection on which the first ping was sent, its stream and the bytes.
fn begun(bench: &mut Bench<Ping>) -> (ConnectionId, crate::connection::StreamId, Bytes) {
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let told = bench.told();
    let [
        (
            _,
            ToConnectionMessage::Open {
                stream,
                background: true,
                ..
            },
        ),
        (_, ToConnectionMessage::Send { bytes, .. }),
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!(bytes.len(), 32);
    (connection, *stream, bytes.clone())
}

fn results(bench: &mut Bench<Ping>) -> Vec<Result<Duration, Failure>> {
    bench
        .events()
        .into_iter()
        .map(|event| event.result)
        .collect()
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn pings_at_once_and_at_every_interval_on_one_stream() {
    let mut bench = Bench::new(Ping::default());
    let (connection, stream, mut bytes) = begun(&mut bench);
    for round in 0..3 {
        bench.wait(Duration::from_millis(30));
        bench.data(connection, stream, &bytes[..5]);
        assert_eq!(results(&mut bench), []);
        bench.data(connection, stream, &bytes[5..]);
        assert_eq!(results(&mut bench), [Ok(Duration::from_millis(30))]);
        bench.wait(seconds(15) - Duration::from_nanos(1));
        assert_eq!(bench.told(), [], "round {round}");
        bench.wait(Duration::from_nanos(1));
        let sent = bench.sent(stream);
        assert_ne!(sent[0], bytes, "new bytes each time");
        bytes = sent[0].clone();
    }
    bench.close(connection);
    assert!(
        bench.swarm.protocols().connections.is_empty() && bench.swarm.protocols().timers.is_empty()
    );
}

#[test]
fn the_first_failure_is_tried_again_silently_and_the_second_reported() {
    let mut bench = Bench::new(Ping::default());
    let (connection, stream, _) = begun(&mut bench);
    bench.wait(seconds(20));
    let told = bench.told();
    assert!(
        matches!(told.as_slice(), [
            (_, ToConnectionMessage::Reset { stream: reset, .. }),
            (_, ToConnectionMessage::Open { .. }),
            (_, ToConnectionMessage::Send { .. }),
        ] if *reset == stream),
        "{told:?}"
    );
    assert_eq!(results(&mut bench), []);
    bench.wait(seconds(20));
    assert_eq!(results(&mut bench), [Err(Failure::Timeout)]);
    bench.told();
    bench.wait(seconds(15));
    let told = bench.told();
    let [
        (_, ToConnectionMessage::Open { stream, .. }),
        (_, ToConnectionMessage::Send { bytes, .. }),
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    bench.data(connection, *stream, bytes);
    assert_eq!(results(&mut bench), [Ok(Duration::ZERO)]);
    // After a success the next failure is the first one again.
    bench.wait(seconds(15 + 20));
    assert_eq!(results(&mut bench), []);
}

/// Fails without the call that closes.
#[test]
fn a_peer_that_no_longer_answers_is_closed_after_three_failures_within_90_seconds() {
    for (max_failures, closes) in [(3, true), (0, false)] {
        let config = Config {
            max_failures,
            ..Config::default()
        };
        let mut bench = Bench::new(Ping::new(config));
        let (connection, ..) = begun(&mut bench);
        let mut closed = None;
        for second in 0..300 {
            bench.wait(seconds(1));
            let told = bench.told();
            let close = told.iter().any(|(id, message)| {
                *id == connection && matches!(message, ToConnectionMessage::Close(_))
            });
            if close {
                closed.get_or_insert(second + 1);
            }
        }
        assert_eq!(closed, closes.then_some(75));
    }
}

/// Fails if only unanswered pings count.
#[test]
fn a_peer_that_did_not_answer_and_cannot_be_asked_again_is_closed() {
    let mut bench = Bench::new(Ping::default());
    let (connection, ..) = begun(&mut bench);
    let mut closed = None;
    for second in 0..120 {
        bench.wait(seconds(1));
        for (id, message) in bench.told() {
            match message {
                ToConnectionMessage::Close(_) if id == connection => {
                    closed.get_or_insert(second + 1);
                }
                ToConnectionMessage::Open { stream, .. } => {
                    // Every stream is taken.
                    let error = StreamError::Open(OpenError::TooManyStreams);
                    bench.ended(connection, stream, StreamEnd::Failed(error));
                }
                _ => {}
            }
        }
    }
    // Unanswered after 20 s, refused a second later, and again when the interval of 15 s is over.
    assert_eq!(closed, Some(36));
}

#[test]
fn a_peer_without_ping_is_reported_once_and_left_alone_until_asked_for() {
    let mut bench = Bench::new(Ping::default());
    let (connection, stream, _) = begun(&mut bench);
    let unsupported = StreamEnd::Failed(StreamError::UnsupportedProtocol);
    bench.ended(connection, stream, unsupported.clone());
    assert_eq!(results(&mut bench), [Err(Failure::Unsupported)]);
    bench.wait(seconds(1000));
    assert_eq!((bench.told(), results(&mut bench)), (vec![], vec![]));
    assert_eq!(bench.run(|ping, cx| ping.ping(&peer(1), cx)), 1);
    let opened = bench.opened();
    bench.ended(connection, opened[0].1, unsupported);
    assert_eq!(results(&mut bench), [Err(Failure::Unsupported)]);
    assert_eq!(bench.run(|ping, cx| ping.ping(&peer(2), cx)), 0);
}

#[test]
fn wrong_answers_and_ended_streams_are_failures() {
    let ways: [fn(&mut Bench<Ping>, ConnectionId, crate::connection::StreamId); 4] = [
        |bench, connection, stream| bench.data(connection, stream, &[0; 32]),
        |bench, connection, stream| bench.data(connection, stream, &[0; 1000]),
        |bench, connection, stream| bench.finish(connection, stream),
        |bench, connection, stream| {
            bench.ended(
                connection,
                stream,
                StreamEnd::Failed(StreamError::ResetByPeer(0)),
            );
        },
    ];
    let expected = [
        Failure::WrongAnswer,
        Failure::WrongAnswer,
        Failure::Finished,
        Failure::Stream(StreamError::ResetByPeer(0)),
    ];
    for (way, expected) in ways.into_iter().zip(expected) {
        let mut bench = Bench::new(Ping::default());
        let (connection, stream, _) = begun(&mut bench);
        way(&mut bench, connection, stream);
        let again = bench.opened();
        assert_eq!(
            (again.len(), results(&mut bench)),
            (1, vec![]),
            "{expected:?}"
        );
        way(&mut bench, connection, again[0].1);
        assert_eq!(results(&mut bench), [Err(expected)]);
    }
}

/// Fails when only the end of the connection itself is taken so.
#[test]
fn a_connection_that_is_ending_is_no_failure_of_a_ping() {
    let mut bench = Bench::new(Ping::default());
    let (connection, stream, _) = begun(&mut bench);
    let ending = StreamEnd::Failed(StreamError::Open(OpenError::NotConnected));
    bench.ended(connection, stream, ending);
    assert_eq!((bench.told(), results(&mut bench)), (vec![], vec![]));
    bench.close(connection);
    bench.wait(seconds(1000));
    assert_eq!((bench.told(), results(&mut bench)), (vec![], vec![]));
}

#[test]
fn an_answer_with_more_than_was_sent_is_wrong() {
    let mut bench = Bench::new(Ping::default());
    let (connection, stream, bytes) = begun(&mut bench);
    bench.data(connection, stream, &bytes);
    assert_eq!(results(&mut bench).len(), 1);
    // Nobody asked: the stream is given up, which is no failure of a ping.
    bench.data(connection, stream, b"more");
    assert!(matches!(
        bench.told().as_slice(),
        [(_, ToConnectionMessage::Reset { .. })]
    ));
    assert_eq!(results(&mut bench), []);
    bench.wait(seconds(15));
    assert_eq!(bench.opened().len(), 1);
}

#[test]
fn a_ping_asked_for_is_sent_now_or_right_after_the_one_under_way() {
    let config = Config {
        automatic: false,
        ..Config::default()
    };
    let mut bench = Bench::new(Ping::new(config));
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    bench.wait(seconds(100));
    assert_eq!(bench.told(), []);
    let ask = |bench: &mut Bench<Ping>| bench.run(|ping, cx| ping.ping(&peer(1), cx));
    assert_eq!(ask(&mut bench), 1);
    let told = bench.told();
    let [
        (_, ToConnectionMessage::Open { stream, .. }),
        (_, ToConnectionMessage::Send { bytes, .. }),
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    ask(&mut bench);
    ask(&mut bench);
    assert_eq!(bench.told(), []);
    bench.data(connection, *stream, bytes);
    let sent = bench.sent(*stream);
    assert_eq!((sent.len(), results(&mut bench).len()), (1, 1));
    bench.data(connection, *stream, &sent[0]);
    assert_eq!((bench.told(), results(&mut bench).len()), (vec![], 1));
    bench.wait(seconds(100));
    assert_eq!(bench.told(), []);
}

#[test]
fn a_busy_connection_delays_the_ping() {
    let mut bench = Bench::new(Ping::default());
    let (connection, stream, bytes) = begun(&mut bench);
    bench.data(connection, stream, &bytes);
    results(&mut bench);
    // Answers to the peer's pings fill what may be under way to the connection.
    let theirs = bench.inbound(connection, PROTOCOL);
    let large = vec![0; 64 * 1024];
    for _ in 0..5 {
        bench.data(connection, theirs, &large);
    }
    let echoed: usize = bench.sent(theirs).iter().map(Bytes::len).sum();
    assert!(echoed < 5 * large.len(), "bounded");
    bench.wait(seconds(15));
    assert_eq!(bench.sent(stream).len(), 0, "blocked");
    bench.wait(seconds(1));
    bench.processed(connection);
    let told = bench.told();
    let sent: Vec<_> = told
        .iter()
        .filter_map(|(_, message)| match message {
            ToConnectionMessage::Send { stream: on, bytes } if *on == stream => Some(bytes.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(sent.len(), 1);
    bench.wait(seconds(1));
    bench.data(connection, stream, &sent[0]);
    assert_eq!(
        results(&mut bench),
        [Ok(seconds(1))],
        "measured from when it was sent"
    );
}

#[test]
fn a_finished_stream_of_the_peer_is_finished() {
    let mut bench = Bench::new(Ping::default());
    let (connection, _, _) = begun(&mut bench);
    let theirs = bench.inbound(connection, PROTOCOL);
    bench.finish(connection, theirs);
    assert!(matches!(
        bench.told().as_slice(),
        [(_, ToConnectionMessage::Finish { .. })]
    ));
    bench.ended(connection, theirs, StreamEnd::Finished);
    assert!(bench.swarm.protocols().inbound.is_empty());
    bench.inbound(connection, PROTOCOL);
    bench.close(connection);
    assert!(bench.swarm.protocols().inbound.is_empty());
}

proptest! {
    /// What a peer sends comes back, byte for byte, however it is cut and however busy the connection is.
    #[test]
    fn what_a_peer_sends_comes_back(pieces in prop::collection::vec((1usize..70_000, any::<bool>()), 1..20)) {
        let mut bench = Bench::new(Ping::new(Config { automatic: false, ..Config::default() }));
        let connection = bench.connect(1, REMOTE, Direction::Inbound);
        let theirs = bench.inbound(connection, PROTOCOL);
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for (number, (len, process)) in pieces.into_iter().enumerate() {
            let piece = vec![number as u8; len];
            // A connection gives the next piece when the one before was taken.
            loop {
                received.extend(bench.sent(theirs).concat());
                if received.len() == sent.len() || bench.swarm.protocols().inbound[&StreamRef { connection, stream: theirs }].is_none() {
                    break;
                }
                bench.processed(connection);
            }
            bench.data(connection, theirs, &piece);
            sent.extend(piece);
            if process {
                bench.processed(connection);
            }
        }
        bench.processed(connection);
        received.extend(bench.sent(theirs).concat());
        bench.processed(connection);
        received.extend(bench.sent(theirs).concat());
        prop_assert!(received == sent);
    }
}
