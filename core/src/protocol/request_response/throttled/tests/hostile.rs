//! Peers that mean harm.

use super::*;
use crate::connection::code;

fn resets(playing: &mut Playing) -> Vec<u32> {
    let told = playing.bench.told().into_iter();
    told.filter_map(|(_, message)| match message {
        ToConnectionMessage::Reset { code, .. } => Some(code),
        _ => None,
    })
    .collect()
}

#[test]
fn bodies_with_other_headers_are_refused() {
    let mut playing = Playing::new(5);
    let connection = playing.connect(1);
    let bodies: [&[u8]; 9] = [
        b"",
        b"ping",
        &body(Header::Response, b"pong"),
        &body(Header::Ack { ident: 7 }, b""),
        &body(
            Header::Credit {
                credit: 1,
                ident: 1,
            },
            b"and more",
        ),
        &[0x05, 0xa1, 0x00, 0x82, 0x04, 0x80],
        &[0x05, 0xa1, 0x00, 0x82, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x09, 0xa3, 0x00, 0x82, 0x02, 0x80, 0x01, 0x20, 0x02, 0x07],
    ];
    for (count, body) in bodies.iter().enumerate() {
        playing.ask_raw(connection, body);
        assert_eq!(resets(&mut playing), [code::PROTOCOL_VIOLATION], "{body:?}");
        assert_eq!(playing.machine().statistics().malformed, count as u64 + 1);
        assert_eq!((playing.seen(), playing.budget()), (Vec::new(), 1));
    }
    playing.bench.swarm.audit().unwrap();
}

#[test]
fn answers_of_the_wrong_kind_are_failures() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    let wrong = [
        body(Header::Ack { ident: 1 }, b""),
        body(Header::Request, b"ping"),
        body(
            Header::Credit {
                credit: 5,
                ident: 5,
            },
            b"",
        ),
        b"pong".to_vec(),
    ];
    for (ident, wrong) in wrong.iter().enumerate() {
        let sent = playing.send(1).unwrap();
        let stream = playing.bodies()[0].stream;
        playing.bench.data(connection, stream, wrong);
        let seen = playing.seen();
        assert!(
            matches!(seen[..], [Seen::Failed(failed, OutboundFailure::Decode(_))] if failed == sent),
            "{seen:?}"
        );
        playing.bench.ended(connection, stream, StreamEnd::Finished);
        assert_eq!(playing.budget(), 0, "it may have been counted");
        playing.credit(connection, 1, ident as u64);
        assert_eq!(playing.seen(), [Seen::Resume(peer(1))]);
    }
}

#[test]
fn acknowledgements_that_are_none_leave_the_grant_outstanding() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    let stream = playing.ask(connection);
    let seen = playing.seen();
    let [Seen::Request(id, _)] = seen[..] else {
        panic!("{seen:?}")
    };
    playing.respond(connection, stream, id);
    playing.seen();
    let mut credits = playing.credits();
    for turn in 0..4u32 {
        let [(stream, 1, ident)] = credits[..] else {
            panic!("{credits:?}")
        };
        match turn {
            0 => playing.answer(connection, stream, Header::Response, b"pong"),
            1 => playing.acknowledge(connection, stream, ident + 1),
            2 => playing.bench.ended(connection, stream, StreamEnd::Finished),
            _ => playing.acknowledge(connection, stream, ident),
        }
        assert_eq!(playing.seen(), []);
        playing.bench.wait(seconds(8));
        credits = playing.credits();
    }
    assert_eq!(credits, []);
    let statistics = playing.machine().throttled_statistics();
    assert_eq!((statistics.credits_sent, statistics.acknowledged), (4, 1));
}

#[test]
fn one_more_than_was_granted_is_refused_and_the_rest_served() {
    for limit in [1u16, 2, 3, 7] {
        let mut playing = Playing::new(limit);
        let connection = playing.connect(1);
        let mut surfaced = 0;
        for _ in 0..50 {
            playing.ask(connection);
            for seen in playing.seen() {
                match seen {
                    Seen::Request(..) => surfaced += 1,
                    Seen::TooMany(from) => assert_eq!(from, peer(1)),
                    other => panic!("{other:?}"),
                }
            }
            for (stream, _, ident) in playing.credits() {
                playing.acknowledge(connection, stream, ident);
            }
        }
        assert_eq!(surfaced, u32::from(limit), "never answered");
        let many = playing.machine().throttled_statistics().too_many;
        // Of those that were dropped the streams are still there: the peer does not finish them.
        assert_eq!(many, 50 - u64::from(limit));
        playing.bench.wait(seconds(10));
        playing.seen();
        playing.ask(connection);
        let seen = playing.seen();
        assert!(matches!(seen[..], [Seen::Request(..)]), "{seen:?}");
        playing.bench.swarm.audit().unwrap();
    }
}

#[test]
fn a_flood_of_credits_costs_places_and_nothing_else() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    // None of them is finished: the places are those of requests.
    for ident in 0..200 {
        let header = Header::Credit { credit: 1, ident };
        playing.ask_raw(connection, &body(header, b""));
        playing.bodies();
    }
    assert_eq!(
        playing.machine().statistics().refused_for_capacity,
        200 - 64
    );
    assert_eq!(playing.budget(), 65);
    assert_eq!(playing.machine().pending_inbound(), 0);
    playing.bench.wait(seconds(10));
    assert!(playing.machine().silent.is_empty() && playing.machine().received.is_empty());
    // Events were not wasted on them.
    assert_eq!(playing.seen(), []);
    // Replays, and finished ones.
    for ident in 0..1000 {
        playing.credit(connection, 1, ident % 3);
    }
    assert_eq!(playing.budget(), 65);
    playing.bench.swarm.audit().unwrap();
    assert_eq!(playing.bench.swarm.reserved_events(), 2);
}

#[test]
fn a_credit_of_nothing_resumes_nothing() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    playing.send(1).unwrap();
    playing.bodies();
    playing.credit(connection, 0, 1);
    assert_eq!((playing.budget(), playing.seen()), (0, Vec::new()));
    playing.credit(connection, 1, 2);
    assert_eq!(
        (playing.budget(), playing.seen()),
        (1, Vec::from([Seen::Resume(peer(1))]))
    );
}

/// The host does not collect events: what must not be lost waits for room.
#[test]
fn to_resume_is_told_even_if_there_was_no_room() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    playing.send(1).unwrap();
    let stream = playing.bodies()[0].stream;
    // Fill the queue.
    while playing
        .bench
        .run(|_, cx| cx.emit(ThrottledEvent::ResumeSending(peer(9))))
    {}
    playing.fail(connection, stream, StreamError::UnsupportedProtocol);
    playing.bench.wait(seconds(3));
    let told = playing.seen();
    assert!(
        matches!(told.last(), Some(Seen::Failed(..))),
        "{:?}",
        told.last()
    );
    assert!(!told.contains(&Seen::Resume(peer(1))));
    playing.bench.wait(seconds(1));
    assert_eq!(playing.seen(), [Seen::Resume(peer(1))]);
    playing.bench.wait(seconds(5));
    assert_eq!(playing.seen(), []);
}
