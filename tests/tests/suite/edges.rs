//! Corners of the connection's contract where two of its rules meet: each was once wrong.

use drywire::{
    connection::{
        Config, ConnectionError, Event, OpenOptions, StreamError, StreamId, StreamKind, WriteError,
        code,
    },
    multistream::ProtocolName,
    mux::yamux::{Flags, Kind},
    resource::Lease,
    time::Instant,
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::{Pair, Secure, Setup},
    victim::Victim,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const KIB: usize = 1024;

fn count(pair: &Pair, side: usize, matches: impl Fn(&Event) -> bool) -> usize {
    pair.sides[side]
        .events
        .iter()
        .filter(|(_, event)| matches(event))
        .count()
}

fn open(pair: &mut Pair, names: &[&'static str]) -> StreamId {
    let names: Vec<_> = names.iter().map(|n| ProtocolName::from_static(n)).collect();
    let options = OpenOptions::default();
    pair.sides[0]
        .connection
        .open(pair.now, &names, StreamKind::Raw, options)
        .unwrap()
}

/// Fails if stopping discards the peer's answer to the negotiation.
#[test]
fn a_stream_stopped_at_once_is_still_negotiated() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"listen only");
    pair.sides[0].connection.stream(stream).unwrap().stop();
    pair.settle_for(SECOND);
    assert_eq!(count(&pair, 0, |e| matches!(e, Event::Opened { .. })), 1);
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound), (b"listen only".to_vec(), Ok(false)));
    // More than a window: what is discarded returns its credit.
    for _ in 0..10 {
        assert_eq!(pair.write(1, inbound, &[1; 100 * KIB]), 100 * KIB);
        pair.settle_for(SECOND);
    }
    pair.finish(1, inbound);
    pair.finish(0, stream);
    pair.settle_for(SECOND);
    assert_eq!(pair.read(1, inbound).1, Ok(true));
    pair.settle_for(SECOND);
    for (side, stream) in [(0, stream), (1, inbound)] {
        assert!(pair.sides[side].connection.stream(stream).is_none());
        assert_eq!(count(&pair, side, |e| *e == Event::Finished { stream }), 1);
    }
}

/// Fails if a released stream stops reading before its protocol is agreed: then the peer's early FIN looks like a refusal,
/// and what is owed is thrown away.
#[test]
fn a_released_stream_sends_what_it_owes_although_the_peer_finished_first() {
    let mut config = Config::default();
    config.stream_send_queue = 1024 * KIB;
    let mut pair = Setup {
        config,
        ..Setup::default()
    }
    .established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    // More than the window: when the peer's FIN comes, much still waits for credit.
    let body = vec![7; 600 * KIB];
    assert_eq!(pair.write(0, stream, &body), body.len());
    pair.finish(0, stream);
    pair.sides[0].connection.stream(stream).unwrap().release();
    let mut received = Vec::new();
    let mut finished = false;
    let arrived = pair.run_until(|pair| {
        let Some(inbound) = pair.inbound(1).first().copied() else {
            return false;
        };
        if !finished {
            pair.finish(1, inbound);
            finished = true;
        }
        let (bytes, end) = pair.read(1, inbound);
        received.extend(bytes);
        end.unwrap()
    });
    assert!(arrived);
    assert!(received == body);
    pair.settle_for(SECOND);
    assert!(pair.sides[0].connection.stream(stream).is_none());
}

/// Fails if the agreement takes a released stream's deadline away.
#[test]
fn a_released_stream_is_given_up_if_the_peer_never_finishes() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"bye");
    pair.finish(0, stream);
    pair.sides[0].connection.stream(stream).unwrap().release();
    pair.settle_for(SECOND);
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound), (b"bye".to_vec(), Ok(true)));
    assert!(pair.sides[0].connection.stream(stream).is_some());
    pair.settle_for(Config::default().negotiation_timeout + SECOND);
    assert!(pair.sides[0].connection.stream(stream).is_none());
    assert_eq!(
        pair.read(1, inbound).1,
        Ok(true),
        "what had come stays read"
    );
    assert_eq!(count(&pair, 1, |e| matches!(e, Event::Reset { .. })), 1);
}

/// Fails if FIN goes out with the first of several proposals: the second could not be made.
#[test]
fn finishing_before_one_of_several_names_is_agreed_waits_for_it() {
    let mut pair = Setup::default().established();
    let stream = open(&mut pair, &["/none", "/nor-this", "/raw"]);
    pair.finish(0, stream);
    let mut view = pair.sides[0].connection.stream(stream).unwrap();
    assert_eq!(view.write(b"x"), Err(WriteError::Finished));
    pair.settle_for(SECOND);
    assert_eq!(count(&pair, 0, |e| matches!(e, Event::Opened { .. })), 1);
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound), (vec![], Ok(true)));
}

/// A queue shared by all streams is emptied by the peer's resets: nothing is left to send, and yet the writer that was held
/// back must hear of it. Fails if only sending wakes writers.
#[test]
fn a_blocked_writer_is_told_when_resets_empty_the_queue() {
    let mut config = Config::default();
    config.connection_send_queue = 64 * KIB;
    for peer_resets in [true, false] {
        let mut pair = Setup {
            config: config.clone(),
            ..Setup::default()
        }
        .established();
        let other = pair.open(0, "/raw", StreamKind::Raw);
        pair.write(0, other, b"x");
        let full = pair.open(0, "/raw", StreamKind::Raw);
        // The peer's window, then the queue.
        while pair.write(0, full, &[0; 64 * KIB]) > 0 {
            pair.settle_for(SECOND);
        }
        let mut view = pair.sides[0].connection.stream(other).unwrap();
        assert_eq!(view.write(b"y"), Err(WriteError::Blocked));
        pair.settle_for(SECOND);
        let writable = Event::Writable { stream: other };
        assert_eq!(count(&pair, 0, |e| *e == writable), 0);
        if peer_resets {
            let inbound = pair.inbound(1)[1];
            pair.sides[1].connection.stream(inbound).unwrap().reset(0);
        } else {
            pair.sides[0].connection.stream(full).unwrap().reset(0);
        }
        pair.settle_for(SECOND);
        assert_eq!(count(&pair, 0, |e| *e == writable), 1);
        assert_eq!(pair.write(0, other, b"y"), 1);
    }
}

/// Streams that were never sent vanish without a frame on the wire. Fails if only sending wakes writers.
#[test]
fn a_blocked_writer_is_told_when_unsent_streams_are_given_up() {
    let mut config = Config::default();
    config.connection_send_queue = 64 * KIB;
    let mut pair = Setup {
        config,
        ..Setup::default()
    }
    .established();
    let other = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, other, b"x");
    pair.settle_for(SECOND);
    let unsent = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, unsent, &[0; 64 * KIB]);
    let mut view = pair.sides[0].connection.stream(other).unwrap();
    assert_eq!(view.write(b"y"), Err(WriteError::Blocked));
    pair.sides[0].connection.stream(unsent).unwrap().reset(0);
    pair.settle_for(SECOND);
    let writable = Event::Writable { stream: other };
    assert_eq!(count(&pair, 0, |e| *e == writable), 1);
}

/// Over its lease a connection processes nothing until there is room again, however it comes about. Fails if only reading
/// makes it go on: then it is closed for a slow reader, with the peer's bytes undelivered.
#[test]
fn giving_a_stream_up_makes_room_as_reading_does() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum How {
        Stop,
        Reset,
        Release,
        Read,
    }
    let sizes = (90..200).step_by(10);
    let cases = sizes.flat_map(|size| {
        [How::Read, How::Stop, How::Reset, How::Release].map(|how| (how, size * KIB))
    });
    for (how, size) in cases {
        let mut pair = Setup {
            lease: Lease::new(64 * 1024, 256),
            ..Setup::default()
        }
        .established();
        // The receive buffer grows, so that all that follows fits in it.
        let warm = pair.open(0, "/raw", StreamKind::Raw);
        for _ in 0..20 {
            pair.write(0, warm, &[1; 60 * KIB]);
            pair.settle_for(Duration::from_millis(100));
            let inbound = pair.inbound(1)[0];
            pair.read(1, inbound).1.unwrap();
        }
        let fat = pair.open(0, "/raw", StreamKind::Raw);
        pair.write(0, fat, &vec![1; size]);
        let thin = pair.open(0, "/raw", StreamKind::Raw);
        pair.write(0, thin, b"behind all that");
        pair.settle_for(SECOND);
        assert!(pair.sides[1].connection.recv_buf().is_none(), "{how:?}");
        let inbound = pair.inbound(1)[1];
        let mut view = pair.sides[1].connection.stream(inbound).unwrap();
        match how {
            How::Stop => view.stop(),
            How::Reset => view.reset(code::NO_ERROR),
            How::Release => view.release(),
            How::Read => {
                let mut read = 0;
                pair.run_until(|pair| {
                    read += pair.read(1, inbound).0.len();
                    read == size
                });
            }
        }
        pair.settle_for(Duration::from_secs(60));
        assert!(pair.sides[1].connection.is_open(), "{how:?}");
        let second = pair.inbound(1)[2];
        assert_eq!(pair.read(1, second).0, b"behind all that", "{how:?}");
    }
}

/// Fails if windows that grow while sending put the connection over its lease without anybody's clock running: it would
/// neither read its pipe nor be closed.
#[test]
fn whoever_stops_reading_the_pipe_has_a_clock_running() {
    let mut stuck = 0;
    for lease in (550..900).step_by(50) {
        let mut pair = Setup {
            lease: Lease::new(lease * 1024, 256),
            ..Setup::default()
        }
        .established();
        // Some 512 KiB are held for good.
        for _ in 0..2 {
            let stream = pair.open(0, "/raw", StreamKind::Raw);
            while pair.write(0, stream, &[0; 64 * KIB]) > 0 {
                pair.settle_for(Duration::from_millis(50));
            }
        }
        // A third stream is read eagerly, so that its window grows, by 256 KiB at first.
        let eager = pair.open(0, "/raw", StreamKind::Raw);
        for _ in 0..400 {
            pair.write(0, eager, &[0; 64 * KIB]);
            if let Some(inbound) = pair.inbound(1).get(2).copied() {
                pair.read(1, inbound).1.unwrap();
            }
            pair.settle_for(Duration::from_millis(1));
        }
        let reads = pair.sides[1].connection.recv_buf().is_some();
        pair.settle_for(Duration::from_secs(40));
        let error = pair.sides[1].connection.error();
        let slow = error == Some(&ConnectionError::SlowReader);
        assert!(reads || slow, "{lease} KiB: {error:?}");
        stuck += usize::from(!reads);
    }
    assert!(stuck > 0);
}

/// Fails if the end of a stream, read after the connection's, is still told.
#[test]
fn nothing_is_told_after_closed() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"last words");
    pair.finish(0, stream);
    pair.settle_for(SECOND);
    let inbound = pair.inbound(1)[0];
    pair.finish(1, inbound);
    pair.sides[0]
        .connection
        .close(pair.now, ConnectionError::Closed);
    pair.settle_for(SECOND * 10);
    assert!(pair.sides[1].connection.is_closed());
    assert_eq!(pair.read(1, inbound), (b"last words".to_vec(), Ok(true)));
    pair.settle_for(SECOND);
    pair.sides[1].connection.stream(inbound).unwrap().release();
    pair.settle_for(SECOND);
    assert!(pair.sides[1].connection.stream(inbound).is_none());
    let last = pair.sides[1].events.last().map(|(_, event)| event);
    assert!(matches!(last, Some(Event::Closed { .. })), "{last:?}");
}

/// Fails if a measured round trip is told after the end, or waits without [`poll_timeout`] saying so.
///
/// [`poll_timeout`]: drywire::connection::Connection::poll_timeout
#[test]
fn closed_is_the_last_message() {
    let mut victim = Victim::new(&Setup::default(), 1);
    let mut hostile = Hostile::dial(&mut victim, Secure::Noise, 1);
    hostile.send(
        &mut victim,
        &hostile::data(Flags::SYN, 1, &hostile::propose("/raw")),
    );
    // Enough that the victim, reading it, grants credit and measures the round trip.
    for _ in 0..3 {
        hostile.send(&mut victim, &hostile::data(Flags::NONE, 1, &[0; 60 * KIB]));
    }
    let stream = victim
        .side
        .events
        .iter()
        .find_map(|(_, event)| match event {
            Event::Inbound { stream, .. } => Some(*stream),
            _ => None,
        });
    let mut view = victim.side.connection.stream(stream.unwrap()).unwrap();
    while view.read(usize::MAX).is_ok() {}
    let frames = hostile.frames(&mut victim);
    let ping = frames.iter().find(|(header, _)| header.kind == Kind::Ping);
    let value = ping.expect("measures").0.length;
    victim.now = victim.now + Duration::from_millis(50);
    let pong = hostile.seal(&hostile::header(Kind::Ping, Flags::ACK, 0, value));
    let connection = &mut victim.side.connection;
    assert_eq!(connection.handle_input(victim.now, &pong), pong.len());
    assert_eq!(
        connection.round_trip(),
        Some(Duration::from_millis(50)),
        "measured"
    );
    assert_eq!(
        connection.poll_timeout(),
        Some(victim.now),
        "there is something to take"
    );
    connection.handle_lost(victim.now, "gone".into());
    let messages: Vec<_> = std::iter::from_fn(|| connection.poll_message()).collect();
    let last = format!("{:?}", messages.last());
    assert!(last.contains("Closed"), "{messages:?}");
}

/// Fails if a connection that is over still looks for memory to give back, and tells the swarm so.
#[test]
fn nothing_is_given_back_after_the_end() {
    let setup = Setup {
        lease: Lease::new(100 * KIB as u64, 256),
        ..Setup::default()
    };
    let mut pair = setup.established();
    pair.sides[1].lends = Some(Lease::new(1 << 20, 0));
    let stream = open(&mut pair, &["/raw"]);
    pair.write(0, stream, &[1; 200 * KIB]);
    pair.settle_for(SECOND / 4);
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound).0.len(), 200 * KIB);
    let connection = &mut pair.sides[1].connection;
    connection.handle_lost(pair.now, "gone".into());
    while connection.poll_message().is_some() {}
    connection.stream(inbound).unwrap().release();
    connection.handle_recv(pair.now);
    connection.handle_timeout(Instant::FAR_FUTURE);
    assert!(connection.poll_message().is_none());
}

/// Frames may be as small as the peer likes; those on their way when this side resets their stream are no fault of it.
/// Fails if each of them counts as useless.
#[test]
fn a_reset_amid_small_frames_does_not_cost_the_connection() {
    let mut victim = Victim::new(&Setup::default(), 1);
    let mut hostile = Hostile::dial(&mut victim, Secure::Noise, 1);
    let mut id = 1;
    for round in 0..10 {
        let proposal = hostile::propose("/raw");
        let mut credit = 256 * KIB - proposal.len();
        hostile.send(&mut victim, &hostile::data(Flags::SYN, id, &proposal));
        let stream = victim.side.events.iter().rev().find_map(|(_, e)| match e {
            Event::Inbound { stream, .. } => Some(*stream),
            _ => None,
        });
        let mut view = victim.side.connection.stream(stream.unwrap()).unwrap();
        view.reset(code::RATE_LIMITED);
        // A whole window in frames of 16 bytes, then the end.
        while credit > 0 {
            let mut flight = Vec::new();
            while flight.len() < 32 * KIB && credit > 0 {
                let piece = credit.min(16);
                flight.extend(hostile::data(Flags::NONE, id, &vec![0; piece]));
                credit -= piece;
            }
            hostile.send(&mut victim, &flight);
        }
        hostile.send(&mut victim, &hostile::data(Flags::FIN, id, &[]));
        assert!(
            victim.side.connection.is_open(),
            "round {round}: {:?}",
            victim.side.connection.error()
        );
        id += 2;
    }
    // What goes on for ever is no longer on its way.
    let flood: Vec<u8> = (0..2000)
        .flat_map(|_| hostile::data(Flags::NONE, 1, &[0; 1]))
        .collect();
    hostile.send(&mut victim, &flood);
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::Flooding)
    );
}

/// A peer returns credit for what it reads of a response, whose stream this side may have forgotten by then. Fails if that
/// counts as useless: a busy server would throw out its best clients.
#[test]
fn credit_for_finished_streams_does_not_cost_the_connection() {
    let mut victim = Victim::new(
        &Setup {
            secure: Secure::Plaintext,
            ..Setup::default()
        },
        1,
    );
    let mut hostile = Hostile::dial(&mut victim, Secure::Plaintext, 1);
    for round in 0..2000u32 {
        let id = round * 2 + 1;
        let request = hostile::data(Flags::SYN.with(Flags::FIN), id, &hostile::propose("/raw"));
        hostile.send(&mut victim, &request);
        let stream = victim.side.events.iter().rev().find_map(|(_, e)| match e {
            Event::Inbound { stream, .. } => Some(*stream),
            _ => None,
        });
        victim.side.events.clear();
        let connection = &mut victim.side.connection;
        let mut view = connection.stream(stream.unwrap()).unwrap();
        assert_eq!(view.read(1), Ok(None));
        assert_eq!(view.write(&[0; 150 * KIB]), Ok(150 * KIB));
        view.finish().unwrap();
        let sent = hostile.frames(&mut victim);
        assert!(sent.iter().any(|(h, _)| h.flags.has(Flags::FIN)));
        let connection = &mut victim.side.connection;
        assert!(connection.stream(stream.unwrap()).is_none(), "forgotten");
        // As a reader does that takes half a window at a time.
        hostile.send(&mut victim, &hostile::window(Flags::NONE, id, 140_000));
        assert!(victim.side.connection.is_open(), "round {round}");
    }
}

/// Fails if a connection that has ended with a violation goes on to parse what follows it.
#[test]
fn after_a_violation_nothing_more_is_believed() {
    let mut victim = Victim::new(&Setup::default(), 1);
    let mut hostile = Hostile::dial(&mut victim, Secure::Noise, 1);
    hostile.send(
        &mut victim,
        &hostile::data(Flags::SYN, 1, &hostile::propose("/raw")),
    );
    // The peer does not take the GoAway, so that the end hangs.
    victim.peer_reads = false;
    hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, b""));
    let error = victim.side.connection.error().cloned();
    assert!(
        matches!(error, Some(ConnectionError::Muxer(_))),
        "{error:?}"
    );
    let before = victim.side.events.len();
    hostile.send(&mut victim, &hostile::data(Flags::NONE, 1, b"more"));
    hostile.send(
        &mut victim,
        &hostile::data(Flags::SYN, 3, &hostile::propose("/raw")),
    );
    assert_eq!(victim.side.events.len(), before);
    victim.wait(SECOND * 10);
    assert_eq!(victim.side.events.len(), before + 1);
    assert_eq!(victim.side.connection.error(), error.as_ref());
}

/// Fails if a frame is taken for a stream of which the peer cannot know yet.
#[test]
fn a_frame_for_a_stream_not_yet_told_of_is_a_violation() {
    let mut victim = Victim::new(&Setup::default(), 0);
    let mut hostile = Hostile::accept(&mut victim, Secure::Noise, 1);
    let names = [ProtocolName::from_static("/raw")];
    let now = victim.now;
    victim
        .side
        .connection
        .open(now, &names, StreamKind::Raw, OpenOptions::default())
        .unwrap();
    let guess = hostile.seal(&hostile::data(Flags::ACK, 1, b"I knew"));
    victim.side.connection.handle_input(now, &guess);
    assert!(matches!(
        victim.side.connection.error(),
        Some(ConnectionError::Muxer(_))
    ));
}

/// A dialer that settles the muxer by the book may put the proposal and its first 64 KiB into one message. Fails if what
/// waits before admission is capped below a message.
#[test]
fn the_longest_message_fits_before_admission() {
    use drywire::{
        connection::Security,
        multistream::Dialer,
        mux::yamux::PROTOCOL_NAME,
        security::{Role, SendCipher, noise},
        seed::Seed,
    };
    use drywire_tests::victim::Target;
    let mut victim = Victim::new(&Setup::default(), 1);
    let seed = Seed::for_tests(7);
    let Security::Noise(local) = Secure::Noise.security(&seed) else {
        unreachable!()
    };
    // No muxer is offered in the handshake.
    let mut handshake =
        noise::Handshake::new(&local, Role::Initiator, &[], seed.derive("e").rng()).unwrap();
    let mut out = Vec::new();
    let mut dialer = Dialer::start(&[noise::PROTOCOL], &mut out).unwrap();
    handshake.advance(&[], &mut out).unwrap();
    victim.input(&out);
    let answer = victim.sent();
    let used = dialer
        .advance(&[noise::PROTOCOL], &answer, &mut Vec::new())
        .unwrap()
        .consumed;
    out.clear();
    handshake.advance(&answer[used..], &mut out).unwrap();
    victim.input(&out);
    let mut secured = handshake.finish().unwrap();
    let mut plain = vec![0, 0];
    Dialer::start(&[ProtocolName::from_static(PROTOCOL_NAME)], &mut plain).unwrap();
    plain.extend(hostile::data(Flags::SYN, 1, &hostile::propose("/raw")));
    let room = SendCipher::MAX_PLAINTEXT + 2 - plain.len() - 12;
    plain.extend(hostile::data(Flags::NONE, 1, &vec![9; room]));
    secured.send.seal_in_place(&mut plain, 0).unwrap();
    victim.input(&plain);
    assert_eq!(victim.waiting(), 0);
    assert!(victim.side.connection.is_open());
    assert_eq!(victim.count(|e| matches!(e, Event::Inbound { .. })), 1);
}

/// Each stream a view looks at may go by what is done through the view, and another take its place.
#[test]
fn a_view_never_shows_another_stream() {
    let mut pair = Setup {
        lease: Lease::new(100 * 1024, 256),
        ..Setup::default()
    }
    .established();
    let fat = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, fat, &[1; 150 * KIB]);
    pair.settle_for(SECOND);
    let inbound = pair.inbound(1)[0];
    pair.finish(1, inbound);
    pair.finish(0, fat);
    pair.settle_for(SECOND);
    let thin = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, thin, b"another");
    pair.settle_for(SECOND);
    assert!(pair.sides[1].connection.recv_buf().is_none());
    let mut view = pair.sides[1].connection.stream(inbound).unwrap();
    view.stop();
    let _ = view.write(b"into whose stream?");
    view.reset(code::NO_ERROR);
    assert_eq!(view.read(1), Ok(None));
    pair.settle_for(SECOND);
    let other = pair.inbound(1)[1];
    assert_eq!(pair.read(1, other), (b"another".to_vec(), Ok(false)));
    assert_eq!(pair.read(0, thin), (vec![], Ok(false)));
}

/// An unsupported protocol costs its stream, and many of them nothing more; but refusals are not free for ever, see the
/// adversaries.
#[test]
fn a_peer_may_try_many_protocols() {
    let mut pair = Setup::default().established();
    for _ in 0..300 {
        let stream = open(&mut pair, &["/nobody/has/this"]);
        pair.settle_for(Duration::from_millis(50));
        pair.sides[0].connection.stream(stream).unwrap().release();
    }
    assert!(pair.sides[1].connection.is_open());
    let unsupported = StreamError::UnsupportedProtocol;
    let failed = |e: &Event| matches!(e, Event::Failed { error, .. } if *error == unsupported);
    assert_eq!(count(&pair, 0, failed), 300);
    assert!(pair.now < Instant::ZERO + Duration::from_secs(60));
}

/// What is sent in advance to a protocol that the peer does not have must not hide the refusal. Fails if the listener resets
/// the stream at what follows the proposal: the reset overtakes the answer.
#[test]
fn bytes_in_advance_of_a_refusal_do_not_hide_it() {
    for (body, finishes) in [
        (&b"hello"[..], true),
        (&b"hello"[..], false),
        (&[0xff; 100 * KIB], true),
        (&[0; 3], true),
        (&b""[..], true),
    ] {
        let mut pair = Setup::default().established();
        let stream = pair.open(0, "/nobody/has/this", StreamKind::Raw);
        pair.write(0, stream, body);
        if finishes {
            pair.finish(0, stream);
        }
        pair.settle_for(SECOND);
        let error = StreamError::UnsupportedProtocol;
        let failed = |event: &Event| {
            *event
                == Event::Failed {
                    stream,
                    error: error.clone(),
                }
        };
        assert_eq!(
            count(&pair, 0, failed),
            1,
            "{} bytes, finish: {finishes}",
            body.len()
        );
        pair.sides[0].connection.stream(stream).unwrap().release();
        // Who does not finish is not waited for.
        pair.settle_for(SECOND * 11);
        for side in &mut pair.sides {
            assert!(side.connection.audit().is_ok() && side.connection.stream(stream).is_none());
        }
        let again = pair.open(0, "/raw", StreamKind::Raw);
        pair.write(0, again, b"and on");
        pair.settle_for(SECOND);
        assert_eq!(pair.inbound(1).len(), 1);
    }
}
