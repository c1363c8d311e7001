//! One test for each known defect of the implementation this protocol comes from.

use super::*;
use crate::{
    multiaddr::Multiaddr,
    swarm::{ConnectionInfo, TransportError},
};

fn nowhere() -> RequestOptions {
    let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
    RequestOptions::new().addresses([address])
}

/// A peer with `limit` permits, and none of them used.
fn granted(playing: &mut Playing, limit: u16) -> ConnectionId {
    let connection = playing.connect(1);
    let stream = playing.ask(connection);
    let id = request(playing);
    playing.respond(connection, stream, id);
    for (stream, _, ident) in playing.credits() {
        playing.acknowledge(connection, stream, ident);
    }
    for (stream, _, ident) in playing.credits() {
        playing.acknowledge(connection, stream, ident);
    }
    playing.seen();
    let permits = playing.machine().ledger.permits(&peer(1));
    assert!(permits > limit / 2 && permits <= limit, "{permits}");
    connection
}

/// The one request that came.
fn request(playing: &mut Playing) -> InboundRequestId {
    let seen = playing.seen();
    let [Seen::Request(id, _)] = seen[..] else {
        panic!("{seen:?}")
    };
    id
}

#[test]
fn defect_1_dropped_channels_lead_to_grants_too() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    for turn in 0..20 {
        playing.ask(connection);
        let id = request(&mut playing);
        assert_eq!(playing.credits(), [], "it is not done");
        let error = if turn % 2 == 0 {
            playing.drop_channel(id);
            InboundFailure::ResponseOmission
        } else {
            playing.bench.wait(seconds(10));
            InboundFailure::Timeout
        };
        assert_eq!(playing.seen(), [Seen::NotAnswered(id, error)]);
        let credits = playing.credits();
        let [(stream, 1, ident)] = credits[..] else {
            panic!("{credits:?}")
        };
        playing.acknowledge(connection, stream, ident);
    }
}

#[test]
fn defect_2_budget_comes_back_for_what_the_peer_has_not_seen() {
    let mut playing = Playing::new(1);
    let resumed = [Seen::Resume(peer(1))];
    // It cannot be dialed.
    let id = playing.send_with(1, nowhere()).unwrap();
    assert_eq!(playing.send_with(1, nowhere()), Err(Refusal::NoBudget));
    let attempt = playing.bench.attempts()[0];
    let now = playing.bench.now;
    playing
        .bench
        .swarm
        .handle_dialed(now, attempt, Err(TransportError::Refused));
    let seen = playing.seen();
    assert!(
        matches!(seen[0], Seen::Failed(failed, OutboundFailure::DialFailure(_)) if failed == id)
    );
    assert_eq!(seen[1..], resumed);
    // It waits in the queue until its time is over, or is given up there.
    playing.bench.wait(seconds(60));
    let late = playing.send_with(1, nowhere().timeout(seconds(1))).unwrap();
    playing.bench.wait(seconds(1));
    let failure = OutboundFailure::Timeout(Stage::Queued);
    assert_eq!(
        playing.seen(),
        [Seen::Failed(late, failure), Seen::Resume(peer(1))]
    );
    playing.bench.wait(seconds(60));
    let cancelled = playing.send_with(1, nowhere()).unwrap();
    assert!(
        playing
            .bench
            .run(|machine, cx| machine.cancel(cancelled, cx))
    );
    assert!(
        !playing
            .bench
            .run(|machine, cx| machine.cancel(cancelled, cx))
    );
    assert_eq!(playing.seen(), resumed);
    // The peer does not support it.
    let connection = playing.connect(1);
    for _ in 0..5 {
        let id = playing.send(1).unwrap();
        let stream = playing.bodies()[0].stream;
        playing.fail(connection, stream, StreamError::UnsupportedProtocol);
        let failure = OutboundFailure::UnsupportedProtocols;
        assert_eq!(
            playing.seen(),
            [Seen::Failed(id, failure), Seen::Resume(peer(1))]
        );
    }
    // It is refused at once: nothing was spent.
    let nobody = playing.send_with(2, RequestOptions::new().only_if_connected());
    assert_eq!(nobody, Err(Refusal::NotConnected));
    assert!(playing.machine().can_send(&peer(2)));
    playing.bench.swarm.audit().unwrap();
}

/// The rest of the second defect: nobody knows whether the peer has counted what was lost on the way.
#[test]
fn defect_2_doubts_are_resolved_by_the_peers_silence() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    playing.credit(connection, 1, 1);
    playing.seen();
    for _ in 0..2 {
        playing.send(1).unwrap();
        let stream = playing.bodies()[0].stream;
        playing.fail(connection, stream, StreamError::ResetByPeer(0));
    }
    assert_eq!((playing.budget(), playing.seen().len()), (0, 2));
    // It was not counted: there is no credit.
    playing.bench.wait(seconds(19));
    assert_eq!(playing.seen(), []);
    playing.bench.wait(seconds(1));
    assert_eq!(
        (playing.budget(), playing.seen()),
        (1, Vec::from([Seen::Resume(peer(1))]))
    );
    playing.send(1).unwrap();
    let stream = playing.bodies()[0].stream;
    // Now it was, and a credit says so.
    playing.answer(connection, stream, Header::Response, b"");
    playing.credit(connection, 2, 2);
    assert_eq!(playing.budget(), 2);
    for _ in 0..2 {
        playing.send(1).unwrap();
        let stream = playing.bodies()[0].stream;
        playing.answer(connection, stream, Header::Response, b"");
    }
    playing.seen();
    // The second one is still in doubt. Then none is.
    for resumed in [1, 0] {
        playing.bench.wait(seconds(100));
        assert_eq!(
            (playing.budget(), playing.seen().len()),
            (resumed, usize::from(resumed))
        );
        if playing.send(1).is_ok() {
            let stream = playing.bodies()[0].stream;
            playing.answer(connection, stream, Header::Response, b"");
            playing.seen();
        }
    }
    assert_eq!(playing.machine().throttled_statistics().doubts_resolved, 2);
}

#[test]
fn defect_3_a_peer_that_restarts_is_believed() {
    let mut playing = Playing::new(1);
    let first = playing.connect(1);
    playing.credit(first, 3, 100);
    playing.credit(first, 3, 100);
    playing.credit(first, 3, 99);
    assert_eq!(
        (
            playing.budget(),
            playing.machine().throttled_statistics().credits_ignored
        ),
        (4, 2)
    );
    playing.close(first, &[]);
    assert_eq!(playing.budget(), 1);
    // It counts as it likes now: there is nothing to compare with.
    let again = playing.connect(1);
    playing.credit(again, 3, 100);
    assert_eq!(playing.budget(), 4);
    playing.close(again, &[]);
    let second = playing.connect(1);
    playing.credit(second, 3, 0);
    playing.credit(second, 3, 1);
    assert_eq!(playing.budget(), 7);
    // And again, before the end of its old connection is noticed.
    let third = playing.connect(1);
    playing.credit(third, 3, 0);
    playing.credit(third, 3, 0);
    playing.credit(third, 3, 1);
    assert_eq!(playing.budget(), 13);
    // A grant that is said again on another connection is the same.
    playing.credit(second, 3, 1);
    assert_eq!(playing.budget(), 13);
}

#[test]
fn defect_3_own_grants_count_on_after_a_restart() {
    let mut last = 0;
    for life in 0..3u64 {
        let mut playing = Playing::new(1);
        let unix = crate::time::UnixTime::from_nanos(1_800_000_000_000_000_000 + life * 1_000_000);
        playing.bench.swarm.handle_wall_clock(Instant::ZERO, unix);
        let connection = playing.connect(1);
        for _ in 0..50 {
            let stream = playing.ask(connection);
            let id = request(&mut playing);
            playing.respond(connection, stream, id);
            playing.seen();
            let credits = playing.credits();
            let [(stream, 1, ident)] = credits[..] else {
                panic!("{credits:?}")
            };
            assert!(ident > last, "{ident} after {last}");
            last = ident;
            playing.acknowledge(connection, stream, ident);
        }
    }
}

#[test]
fn defect_4_budgets_do_not_overflow() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    for ident in 0..3 {
        playing.credit(connection, u16::MAX, ident);
    }
    assert_eq!(playing.budget(), u16::MAX);
    // Refunds do not either.
    playing.send(1).unwrap();
    let stream = playing.bodies()[0].stream;
    playing.credit(connection, 1, 3);
    playing.fail(connection, stream, StreamError::UnsupportedProtocol);
    assert_eq!(playing.budget(), u16::MAX);
}

#[test]
fn defect_5_failed_credits_pause_and_end() {
    let mut playing = Playing::new(1);
    let connection = playing.connect(1);
    let stream = playing.ask(connection);
    let id = request(&mut playing);
    playing.respond(connection, stream, id);
    playing.seen();
    let mut credits = playing.credits();
    let (_, _, same) = credits[0];
    for failures in 0..MAX_CREDIT_ATTEMPTS {
        let [(stream, 1, ident)] = credits[..] else {
            panic!("{credits:?}")
        };
        assert_eq!(ident, same, "the same grant");
        playing.fail(connection, stream, StreamError::ResetByPeer(0));
        let pause = Duration::from_secs(1 << failures);
        playing.bench.wait(pause - Duration::from_millis(1));
        assert_eq!(playing.credits(), [], "a pause of {pause:?}");
        playing.bench.wait(Duration::from_millis(1));
        credits = playing.credits();
    }
    assert_eq!(credits, [], "given up");
    playing.bench.wait(seconds(100_000));
    assert_eq!(playing.credits(), []);
    assert_eq!(playing.machine().throttled_statistics().given_up, 1);
    // Its next request, which it has after all, shows that it lives; that acknowledges the grant.
    playing.ask(connection);
    let id = request(&mut playing);
    playing.drop_channel(id);
    let credits = playing.credits();
    let [(stream, 1, ident)] = credits[..] else {
        panic!("{credits:?}")
    };
    assert!(ident > same);
    playing.seen();
    // Never again, once it does not support the protocol.
    playing.fail(connection, stream, StreamError::UnsupportedProtocol);
    playing.ask(connection);
    let id = request(&mut playing);
    playing.drop_channel(id);
    playing.bench.wait(seconds(100_000));
    assert_eq!(playing.credits(), []);
    // Until it comes back.
    playing.close(connection, &[]);
    let connection = playing.connect(1);
    playing.seen();
    playing.ask(connection);
    let id = request(&mut playing);
    playing.drop_channel(id);
    assert_eq!(playing.credits().len(), 1);
}

#[test]
fn defect_5_a_grant_that_seemed_lost_is_tried_again_for_a_peer_that_asks() {
    let mut playing = Playing::new(10);
    let connection = granted(&mut playing, 10);
    for _ in 0..4 {
        let stream = playing.ask(connection);
        let id = request(&mut playing);
        playing.respond(connection, stream, id);
        playing.seen();
    }
    let mut given = None;
    for failures in 0..MAX_CREDIT_ATTEMPTS {
        let credits = playing.credits();
        let [(stream, 5, ident)] = credits[..] else {
            panic!("{credits:?}")
        };
        given = Some(ident);
        playing.fail(connection, stream, StreamError::ResetByPeer(0));
        playing.bench.wait(seconds(1 << failures));
    }
    assert_eq!(playing.credits(), []);
    // With what it had before it shows that it lives, but not that it has the grant.
    playing.ask(connection);
    let credits = playing.credits();
    let [(stream, 5, ident)] = credits[..] else {
        panic!("{credits:?}")
    };
    assert_eq!(Some(ident), given);
    playing.acknowledge(connection, stream, ident);
    assert_eq!(playing.credits(), []);
    playing.bench.swarm.audit().unwrap();
}

/// What a peer that is back may send is granted at once, not only when its first request is there.
#[test]
fn who_had_credit_before_has_it_again() {
    let mut playing = Playing::new(10);
    let connection = granted(&mut playing, 10);
    playing.close(connection, &[]);
    let connection = playing.connect(1);
    let credits = playing.credits();
    let [(stream, 9, ident)] = credits[..] else {
        panic!("{credits:?}")
    };
    playing.acknowledge(connection, stream, ident);
    // The others did not ask for anything, and get nothing.
    playing.connect(2);
    assert_eq!(playing.credits(), []);
}

#[test]
fn defect_6_reconnecting_does_not_beat_the_limit() {
    let limit = 3;
    let mut playing = Playing::new(limit);
    let mut admitted = 0;
    for _ in 0..100 {
        let connection = playing.connect(1);
        let stream = playing.ask(connection);
        let surfaced = playing.seen();
        match surfaced[..] {
            [Seen::Request(..)] => admitted += 1,
            [Seen::TooMany(from)] => assert_eq!(from, peer(1)),
            ref other => panic!("{other:?}"),
        }
        let mut open = Vec::from([stream]);
        open.extend(playing.credits().iter().map(|(stream, ..)| *stream));
        playing.close(connection, &open);
        playing.seen();
        playing.bench.wait(Duration::from_millis(10));
    }
    assert_eq!(admitted, u32::from(limit) + MAX_DEBT);
    assert_eq!(playing.machine().ledger.unanswered(&peer(1)), admitted);
    // What the application may have worked on is done by then.
    playing.bench.wait(seconds(10));
    assert_eq!(playing.machine().ledger.unanswered(&peer(1)), 0);
    let connection = playing.connect(1);
    playing.ask(connection);
    request(&mut playing);
}

/// The same without reconnecting: giving requests up and asking anew.
#[test]
fn defect_6_giving_up_does_not_beat_the_limit() {
    let mut playing = Playing::new(4);
    let connection = granted(&mut playing, 4);
    let mut admitted = 0;
    loop {
        let stream = playing.ask(connection);
        for (stream, _, ident) in playing.credits() {
            playing.acknowledge(connection, stream, ident);
        }
        match playing.seen()[..] {
            [Seen::Request(..)] => admitted += 1,
            [Seen::TooMany(_)] => break,
            ref other => panic!("{other:?}"),
        }
        playing.fail(connection, stream, StreamError::ResetByPeer(0));
        playing.seen();
        assert!(admitted < 100);
    }
    // One more would not have been half of the limit.
    assert_eq!(admitted, 3);
    playing.bench.wait(seconds(10));
    let given: u16 = playing.credits().iter().map(|(_, credit, _)| *credit).sum();
    assert!((2..=4).contains(&given), "{given}");
}

#[test]
fn defect_7_grants_come_at_half() {
    let mut playing = Playing::new(10);
    let connection = granted(&mut playing, 10);
    let mut permits = playing.machine().ledger.permits(&peer(1));
    let mut grants = 0;
    for _ in 0..200 {
        assert!(permits > 0, "never has to wait");
        let stream = playing.ask(connection);
        permits -= 1;
        let id = request(&mut playing);
        playing.respond(connection, stream, id);
        playing.seen();
        for (stream, credit, ident) in playing.credits() {
            assert!(permits > 0 && credit >= 5, "{permits} left, {credit} more");
            permits += credit;
            grants += 1;
            playing.acknowledge(connection, stream, ident);
        }
        assert_eq!(permits, playing.machine().ledger.permits(&peer(1)));
    }
    assert!((30..=40).contains(&grants), "{grants}");
}

#[test]
fn defect_8_can_send_tells_the_truth_of_peers_that_are_not_connected() {
    // `send` compares the two each time.
    let mut playing = Playing::new(1);
    assert!(playing.machine().can_send(&peer(1)));
    playing.send_with(1, nowhere()).unwrap();
    assert!(!playing.machine().can_send(&peer(1)));
    assert_eq!(playing.send_with(1, nowhere()), Err(Refusal::NoBudget));
    let connection = playing.connect(1);
    assert_eq!(playing.send(1), Err(Refusal::NoBudget));
    let stream = playing.bodies()[0].stream;
    assert_eq!(playing.send(1), Err(Refusal::NoBudget));
    // Gone with budget 0: known, not connected, and there is one again.
    playing.close(connection, &[stream]);
    let seen = playing.seen();
    assert!(
        matches!(seen[..], [Seen::Failed(..), Seen::Resume(_)]),
        "{seen:?}"
    );
    assert!(playing.machine().can_send(&peer(1)));
    playing.send_with(1, nowhere()).unwrap();
}

#[test]
fn defect_9_credits_are_never_surfaced() {
    let errors = [
        StreamError::UnsupportedProtocol,
        StreamError::NegotiationTimeout,
        StreamError::ResetByPeer(1),
        StreamError::MessageTooLong,
        StreamError::Connection(ConnectionError::ClosedByPeer),
    ];
    for error in errors {
        let mut playing = Playing::new(1);
        let connection = playing.connect(1);
        let stream = playing.ask(connection);
        let id = request(&mut playing);
        playing.respond(connection, stream, id);
        let (stream, ..) = playing.credits()[0];
        assert_eq!(playing.machine().pending_outbound(), 0);
        playing.fail(connection, stream, error);
        playing.bench.wait(seconds(2));
        playing.close(connection, &[]);
        playing.bench.wait(seconds(20));
        assert_eq!(playing.seen(), [Seen::Sent(id)]);
        assert_eq!(
            playing.bench.attempts(),
            [],
            "nobody is dialed for a credit"
        );
        playing.bench.swarm.audit().unwrap();
        assert_eq!(playing.bench.swarm.reserved_events(), 1);
    }
    // One that waits for its turn when the last connection ends, too.
    let config = Config::default().with_max_concurrent_streams(1);
    let mut machine = Machine::new([(NAME, ProtocolSupport::Full)], config);
    machine.set_receive_limit(number(1));
    let mut playing = Playing::with(machine);
    let connection = playing.connect(1);
    let sent = playing.send(1).unwrap();
    let stream = playing.bodies()[0].stream;
    let asked = playing.ask(connection);
    let id = request(&mut playing);
    playing.respond(connection, asked, id);
    assert_eq!(playing.credits(), [], "it waits");
    playing.close(connection, &[stream]);
    assert_eq!(playing.bench.attempts(), [], "nobody is dialed for it");
    let seen = playing.seen();
    assert!(
        matches!(seen[..], [Seen::Sent(_), Seen::Failed(failed, _), Seen::Resume(_)] if failed == sent),
        "{seen:?}"
    );
    assert_eq!(playing.bench.swarm.reserved_events(), 1);
}

/// What waits for its turn on a connection was accepted under that connection's budget. The first of them may wait for the
/// next connection, whose first request it is.
#[test]
fn a_queue_does_not_outlive_its_budget() {
    let config = Config::default().with_max_concurrent_streams(1);
    let machine = Machine::new([(NAME, ProtocolSupport::Full)], config);
    let mut playing = Playing::with(machine);
    let connection = playing.connect(1);
    playing.credit(connection, 4, 1);
    playing.seen();
    let sent: Vec<_> = (0..5)
        .map(|_| playing.send_with(1, nowhere()).unwrap())
        .collect();
    let stream = playing.bodies()[0].stream;
    let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
    let now = playing.bench.now;
    playing.bench.swarm.add_address(now, peer(1), &address);
    playing.close(connection, &[stream]);
    let closed = || OutboundFailure::ConnectionClosed(ConnectionError::ClosedByPeer);
    let expected: Vec<_> = [0, 2, 3, 4]
        .iter()
        .map(|at| Seen::Failed(sent[*at], closed()))
        .collect();
    assert_eq!((playing.seen(), playing.budget()), (expected, 0));
    let attempt = playing.bench.attempts()[0];
    let connection = playing
        .bench
        .connected(attempt, "/ip4/192.0.2.1/tcp/1")
        .unwrap();
    playing.bench.secure(connection, 1);
    assert_eq!(playing.bodies().len(), 1);
    assert_eq!(playing.send(1), Err(Refusal::NoBudget));
    let infos: Vec<ConnectionInfo> = playing.bench.swarm.connections().collect();
    assert_eq!(infos.len(), 1);
}
