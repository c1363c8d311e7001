//! The connection, two at a time, over a pipe that does what pipes do.

mod limits;

use drywire::{
    connection::{
        Config, ConnectionError, Event, OpenError, OpenOptions, ReadError, StreamError, StreamId,
        StreamKind, WriteError, code,
    },
    multistream::ProtocolName,
    resource::Lease,
    time::Instant,
};
use drywire_tests::pair::{Cut, Pair, Secure, Setup};
use std::time::Duration;

const D: Duration = Duration::from_millis(10);

fn times(count: u32) -> Instant {
    Instant::ZERO + D * count
}

/// Opens a stream, sends `request`, echoes it on the other side; what came back.
fn echo(pair: &mut Pair, request: &[u8]) -> Vec<u8> {
    let before = pair.inbound(1).len();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    let (mut written, mut back, mut returned, mut ended) = (0, Vec::new(), Vec::new(), false);
    let done = pair.run_until(|pair| {
        written += pair.write(0, stream, &request[written..]);
        if written == request.len() && pair.sides[0].connection.stream(stream).is_some() {
            pair.finish(0, stream);
        }
        if let Some(inbound) = pair.inbound(1).get(before).copied()
            && !ended
        {
            let (bytes, end) = pair.read(1, inbound);
            back.extend(bytes);
            let count = pair.write(1, inbound, &back);
            back.drain(..count);
            ended = end.unwrap() && back.is_empty();
            if ended {
                pair.finish(1, inbound);
            }
        }
        let (bytes, end) = pair.read(0, stream);
        returned.extend(bytes);
        end.unwrap() && written == request.len()
    });
    assert!(done);
    returned
}

/// The round trips of the protocol, counted: with one offered security protocol and the muxer agreed inside the handshake,
/// the dialer is up after one round trip, and the answer to the first request is there after two.
#[test]
fn a_connection_takes_two_round_trips_to_its_first_answer() {
    let mut pair = Setup::default().pair();
    assert!(pair.run_until(|pair| pair.sides[0].connection.is_open()));
    assert_eq!(pair.now, times(2));
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"hello");
    assert!(pair.run_until(|pair| !pair.inbound(1).is_empty()));
    assert_eq!(
        pair.now,
        times(3),
        "the request travels with the last handshake message"
    );
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound), (b"hello".to_vec(), Ok(false)));
    pair.write(1, inbound, b"world");
    assert!(pair.run_until(|pair| pair.read(0, stream).0 == b"world"));
    assert_eq!(pair.now, times(4));
    assert_eq!(pair.sides.each_ref().map(|side| side.sends), [2, 2]);
    let opened = |event: &Event| matches!(event, Event::Opened { .. });
    assert_eq!(pair.time_of(0, opened), Some(times(4)));
}

#[test]
fn one_packet_each_way_for_a_sequential_exchange() {
    let mut pair = Setup::default().established();
    echo(&mut pair, b"warm up");
    pair.settle_for(Duration::from_secs(2));
    let before = pair.sides.each_ref().map(|side| side.sends);
    assert_eq!(
        echo(&mut pair, b"0123456789abcdef0123456789abcdef"),
        b"0123456789abcdef0123456789abcdef"
    );
    pair.settle_for(Duration::from_secs(2));
    let after = pair.sides.each_ref().map(|side| side.sends);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 1]);
}

#[test]
fn bytes_arrive_whole_in_any_pieces_and_both_securities() {
    let request: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    for secure in [Secure::Noise, Secure::Plaintext] {
        for pieces in [vec![], vec![1, 2, 11, 12, 13], vec![1460], vec![100_000]] {
            let mut pair = Setup {
                secure,
                pieces,
                ..Setup::default()
            }
            .established();
            assert_eq!(echo(&mut pair, &request), request);
        }
    }
}

/// Law 2 and law 3: the same seed and the same calls give the same bytes, however what arrives is cut.
#[test]
fn neither_chunking_nor_chance_shows_on_the_wire() {
    let run = |pieces: Vec<usize>, seed| {
        let mut pair = Setup {
            pieces,
            seed,
            ..Setup::default()
        }
        .established();
        echo(&mut pair, &[7; 1000]);
        echo(&mut pair, b"again");
        pair.settle_for(Duration::from_secs(60));
        assert!(pair.sides.iter().all(|side| side.connection.is_closed()));
        let events = pair.sides.each_ref().map(|side| side.events.clone());
        (pair.sides.map(|side| side.wire), events)
    };
    let whole = run(vec![], 1);
    assert_eq!(run(vec![], 1), whole);
    assert_ne!(run(vec![], 2).0, whole.0);
    for pieces in [vec![1], vec![2], vec![3, 1, 7], vec![64], vec![1000, 1]] {
        assert_eq!(run(pieces, 1), whole);
    }
}

/// Half-closes a stream, unless the connection has failed meanwhile.
fn finish_if_alive(pair: &mut Pair, side: usize, stream: StreamId) {
    if let Some(mut stream) = pair.sides[side].connection.stream(stream) {
        let _ = stream.finish();
    }
}

/// Every ending at every byte of the handshake and the first exchange, from both sides: one terminal event each, in time,
/// and nothing left to do afterwards.
#[test]
fn the_pipe_may_end_at_any_byte() {
    let whole = {
        let mut pair = Setup::default().established();
        echo(&mut pair, b"hi");
        pair.sides.each_ref().map(|side| side.bytes_sent)
    };
    for from in [0, 1] {
        for at in 0..=whole[from] {
            for cut in [Cut::Fin, Cut::Reset, Cut::Stall] {
                let mut pair = Setup::default().pair();
                pair.cut(from, at, cut);
                let (mut stream, mut answered) = (None, false);
                pair.run_until(|pair| {
                    if stream.is_none() && pair.sides[0].connection.is_open() {
                        let id = pair.open(0, "/raw", StreamKind::Raw);
                        pair.write(0, id, b"hi");
                        finish_if_alive(pair, 0, id);
                        stream = Some(id);
                    }
                    if let Some(inbound) = pair.inbound(1).first().copied() {
                        let (bytes, end) = pair.read(1, inbound);
                        if !bytes.is_empty() && pair.sides[1].connection.is_open() {
                            pair.write(1, inbound, &bytes);
                        }
                        if matches!(end, Ok(true)) && !answered {
                            finish_if_alive(pair, 1, inbound);
                            answered = true;
                        }
                    }
                    if let Some(stream) = stream {
                        let _ = pair.read(0, stream);
                    }
                    pair.now > Instant::ZERO + Duration::from_secs(100)
                });
                for (index, side) in pair.sides.iter().enumerate() {
                    let closed = side
                        .events
                        .iter()
                        .filter(|(_, event)| matches!(event, Event::Closed { .. }))
                        .count();
                    let what = format!(
                        "{cut:?} after {at} bytes from side {from}, side {index}: {:?}",
                        side.events
                    );
                    // A stream left open by both ends keeps a silent pipe: TCP's keep-alive is the host's affair.
                    let waits = cut == Cut::Stall && side.connection.is_open();
                    assert!(closed == 1 || waits, "{what}");
                    assert_eq!(side.connection.is_closed(), !waits, "{what}");
                    assert!(waits || side.connection.poll_timeout().is_none(), "{what}");
                    assert!(!side.connection.wants_transmit(), "{what}");
                    let last_is_closed =
                        matches!(side.events.last(), Some((_, Event::Closed { .. })));
                    assert!(waits || last_is_closed, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_silent_dialer_is_dropped_at_the_deadline() {
    let mut pair = Setup::default().pair();
    pair.stall(0, true);
    pair.settle_for(Duration::from_secs(60));
    for side in &pair.sides {
        assert_eq!(
            side.connection.error(),
            Some(&ConnectionError::HandshakeTimeout)
        );
    }
    let closed = |event: &Event| matches!(event, Event::Closed { .. });
    assert_eq!(
        pair.time_of(1, closed),
        Some(Instant::ZERO + Config::default().handshake_timeout)
    );
}

#[test]
fn without_admission_nothing_is_delivered() {
    let mut pair = Setup::default().pair();
    pair.sides[1].admits = false;
    pair.run_until(|pair| pair.sides[0].connection.is_open());
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, &[1; 200_000]);
    pair.settle_for(Duration::from_secs(5));
    assert!(pair.sides[1].events.is_empty());
    pair.settle_for(Duration::from_secs(10));
    assert_eq!(
        pair.sides[1].connection.error(),
        Some(&ConnectionError::HandshakeTimeout)
    );
}

#[test]
fn an_unknown_protocol_fails_the_stream_and_not_the_connection() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/nobody/has/this", StreamKind::Raw);
    assert_eq!(pair.write(0, stream, b"optimism"), 8);
    pair.settle_for(Duration::from_secs(1));
    let failed = Event::Failed {
        stream,
        error: StreamError::UnsupportedProtocol,
    };
    assert_eq!(
        pair.sides[0]
            .events
            .iter()
            .filter(|(_, event)| *event == failed)
            .count(),
        1
    );
    assert_eq!(
        pair.read(0, stream).1,
        Err(ReadError::Stream(StreamError::UnsupportedProtocol))
    );
    pair.sides[0].connection.stream(stream).unwrap().release();
    assert!(pair.sides[0].connection.stream(stream).is_none());
    assert!(pair.inbound(1).is_empty());
    assert_eq!(echo(&mut pair, b"still here"), b"still here");
}

#[test]
fn the_first_supported_of_several_names_is_agreed() {
    let mut pair = Setup::default().established();
    let names = ["/none", "/raw", "/framed"].map(ProtocolName::from_static);
    let stream = pair.sides[0]
        .connection
        .open(pair.now, &names, StreamKind::Raw, OpenOptions::default())
        .unwrap();
    let blocked = pair.sides[0]
        .connection
        .stream(stream)
        .unwrap()
        .write(b"early");
    assert_eq!(
        blocked,
        Err(WriteError::Blocked),
        "with several names nobody knows yet what would be written"
    );
    pair.settle_for(Duration::from_secs(1));
    let events: Vec<_> = pair.sides[0]
        .events
        .iter()
        .map(|(_, event)| event.clone())
        .collect();
    assert!(events.contains(&Event::Opened {
        stream,
        protocol: names[1].clone()
    }));
    assert!(events.contains(&Event::Writable { stream }));
    assert_eq!(pair.write(0, stream, b"now"), 3);
}

#[test]
fn half_close_is_one_way_and_ends_are_told_once() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"question");
    pair.finish(0, stream);
    assert_eq!(
        pair.sides[0].connection.stream(stream).unwrap().write(b"x"),
        Err(WriteError::Finished)
    );
    pair.settle_for(D * 3);
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound), (b"question".to_vec(), Ok(true)));
    pair.write(1, inbound, b"long ");
    pair.settle_for(D * 3);
    pair.write(1, inbound, b"answer");
    pair.finish(1, inbound);
    pair.settle_for(D * 3);
    assert_eq!(pair.read(0, stream), (b"long answer".to_vec(), Ok(true)));
    pair.settle_for(D * 3);
    for (index, stream) in [(0, stream), (1, inbound)] {
        let finished = pair.sides[index]
            .events
            .iter()
            .filter(|(_, event)| *event == Event::Finished { stream });
        assert_eq!(finished.count(), 1);
        assert!(pair.sides[index].connection.stream(stream).is_none());
    }
}

#[test]
fn a_reset_carries_its_code_and_spares_what_had_arrived() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"before");
    pair.settle_for(D * 3);
    pair.sides[0]
        .connection
        .stream(stream)
        .unwrap()
        .reset(code::RATE_LIMITED);
    pair.settle_for(D * 3);
    let inbound = pair.inbound(1)[0];
    let error = StreamError::ResetByPeer(code::RATE_LIMITED);
    let (bytes, end) = pair.read(1, inbound);
    assert_eq!(bytes, b"before");
    assert_eq!(end, Err(ReadError::Stream(error.clone())));
    assert_eq!(
        pair.sides[1]
            .connection
            .stream(inbound)
            .unwrap()
            .write(b"x"),
        Err(WriteError::Stream(error))
    );
    assert!(pair.sides[0].connection.stream(stream).is_none());
    assert_eq!(echo(&mut pair, b"others live"), b"others live");
}

#[test]
fn letting_go_of_a_finished_stream_still_sends_and_of_an_unfinished_one_resets() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"fire and forget");
    pair.finish(0, stream);
    pair.sides[0].connection.stream(stream).unwrap().release();
    pair.settle_for(D * 3);
    let inbound = pair.inbound(1)[0];
    assert_eq!(
        pair.read(1, inbound),
        (b"fire and forget".to_vec(), Ok(true))
    );
    pair.finish(1, inbound);
    pair.settle_for(D * 3);
    assert!(
        pair.sides[0].connection.stream(stream).is_none(),
        "gone once the peer has finished too"
    );

    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, stream, b"half a thought");
    pair.settle_for(D * 3);
    pair.sides[0].connection.stream(stream).unwrap().release();
    pair.settle_for(D * 3);
    let inbound = pair.inbound(1)[1];
    assert_eq!(
        pair.read(1, inbound).1,
        Err(ReadError::Stream(StreamError::ResetByPeer(0)))
    );
}

#[test]
fn framed_streams_deliver_whole_messages_also_beyond_the_window() {
    for pieces in [vec![], vec![1, 5, 4096]] {
        let mut pair = Setup {
            pieces,
            lease: Lease::new(8 << 20, 256),
            ..Setup::default()
        }
        .established();
        let stream = pair.open(0, "/framed", StreamKind::Framed { max_len: 1 << 20 });
        let messages: Vec<Vec<u8>> = [0, 1, 127, 128, 70_000, 1 << 20, 3]
            .iter()
            .map(|len| vec![*len as u8; *len])
            .collect();
        let (mut next, mut received) = (0, Vec::new());
        let arrived = pair.run_until(|pair| {
            if let Some(message) = messages.get(next) {
                let mut bytes = message.clone().into();
                match pair.sides[0]
                    .connection
                    .stream(stream)
                    .unwrap()
                    .write_bytes(&mut bytes)
                {
                    Ok(_) => next += 1,
                    Err(error) => assert_eq!(error, WriteError::Blocked),
                }
            }
            if let Some(inbound) = pair.inbound(1).first().copied() {
                while let Ok(Some(message)) =
                    pair.sides[1].connection.stream(inbound).unwrap().read(1)
                {
                    received.push(message.to_vec());
                }
            }
            received.len() == messages.len()
        });
        let errors = pair.sides.each_ref().map(|side| side.connection.error());
        assert!(
            arrived,
            "{} of {next} messages at {:?}: {errors:?}",
            received.len(),
            pair.now
        );
        assert!(received == messages);
    }
}

#[test]
fn a_whole_body_is_delivered_at_its_end() {
    let mut pair = Setup {
        lease: Lease::new(8 << 20, 256),
        ..Setup::default()
    }
    .established();
    let kind = StreamKind::ToEnd { max_len: 1 << 20 };
    for len in [0usize, 1, 500_000, 1 << 20] {
        let stream = pair.open(0, "/to-end", kind);
        let count = pair.inbound(1).len();
        let mut bytes = vec![5; len].into();
        pair.sides[0]
            .connection
            .stream(stream)
            .unwrap()
            .write_bytes(&mut bytes)
            .unwrap();
        pair.settle_for(Duration::from_secs(2));
        let inbound = pair.inbound(1)[count];
        assert_eq!(
            pair.sides[1].connection.stream(inbound).unwrap().read(1),
            Err(ReadError::Blocked)
        );
        pair.finish(0, stream);
        pair.settle_for(Duration::from_secs(2));
        let mut view = pair.sides[1].connection.stream(inbound).unwrap();
        assert_eq!(view.read(1).unwrap().unwrap().len(), len);
        assert_eq!(view.read(1), Ok(None));
    }
    let stream = pair.open(0, "/to-end", kind);
    // The cap is on what comes: a peer may allow more than this side does.
    let mut bytes = bytes::Bytes::from(vec![0; (1 << 20) + 1]);
    let mut view = pair.sides[0].connection.stream(stream).unwrap();
    assert_eq!(view.write_bytes(&mut bytes), Ok((1 << 20) + 1));
    pair.finish(0, stream);
    pair.settle_for(Duration::from_secs(2));
    let inbound = *pair.inbound(1).last().unwrap();
    assert_eq!(
        pair.sides[1].connection.stream(inbound).unwrap().read(1),
        Err(ReadError::Stream(StreamError::MessageTooLong))
    );
}

#[test]
fn messages_over_the_cap_or_cut_short_fail_their_stream_alone() {
    // A raw writer plays the peer that lies in its frames.
    let cases: [(&[u8], bool, StreamError); 4] = [
        (
            &[0x81, 0x80, 0x80, 0x01],
            false,
            StreamError::MessageTooLong,
        ),
        (
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
            false,
            StreamError::MessageTooLong,
        ),
        (&[0x80, 0x00], false, StreamError::BadFrame),
        (&[5, 1, 2], true, StreamError::Truncated),
    ];
    let mut pair = Setup::default().established();
    for (bytes, finish, expected) in cases {
        let count = pair.inbound(1).len();
        let stream = pair.open(0, "/framed", StreamKind::Raw);
        pair.write(0, stream, bytes);
        if finish {
            pair.finish(0, stream);
        }
        pair.settle_for(Duration::from_secs(1));
        let inbound = pair.inbound(1)[count];
        let read = pair.sides[1].connection.stream(inbound).unwrap().read(1);
        assert_eq!(read, Err(ReadError::Stream(expected)));
    }
    assert_eq!(echo(&mut pair, b"alive"), b"alive");
}

#[test]
fn an_idle_connection_closes_and_a_used_one_does_not() {
    let mut pair = Setup::default().established();
    let idle = Config::default().idle_timeout;
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    pair.settle_for(idle * 3);
    assert!(pair.sides[0].connection.is_open());
    pair.sides[0].connection.stream(stream).unwrap().reset(0);
    pair.sides[1].connection.set_keep_alive(true);
    let background = OpenOptions::default().background();
    pair.sides[0]
        .connection
        .open(
            pair.now,
            &[ProtocolName::from_static("/raw")],
            StreamKind::Raw,
            background,
        )
        .unwrap();
    pair.settle_for(idle + Duration::from_secs(1));
    assert_eq!(
        pair.sides[0].connection.error(),
        Some(&ConnectionError::Idle)
    );
    assert_eq!(
        pair.sides[1].connection.error(),
        Some(&ConnectionError::ClosedByPeer)
    );
    for side in &pair.sides {
        assert!(side.connection.is_closed());
        assert_eq!(side.connection.poll_timeout(), None);
    }
}

#[test]
fn closing_sends_what_finished_streams_owe() {
    let mut pair = Setup::default().established();
    let done = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, done, &[1; 100_000]);
    pair.finish(0, done);
    let open = pair.open(0, "/raw", StreamKind::Raw);
    pair.write(0, open, b"never finished");
    pair.sides[0]
        .connection
        .close(pair.now, ConnectionError::Closed);
    assert!(matches!(
        pair.sides[0].connection.open(
            pair.now,
            &[ProtocolName::from_static("/raw")],
            StreamKind::Raw,
            OpenOptions::default()
        ),
        Err(OpenError::NotConnected)
    ));
    pair.settle_for(Duration::from_secs(20));
    let inbound = pair.inbound(1)[0];
    assert_eq!(pair.read(1, inbound), (vec![1; 100_000], Ok(true)));
    assert_eq!(
        pair.sides[0].connection.error(),
        Some(&ConnectionError::Closed)
    );
    assert_eq!(
        pair.sides[1].connection.error(),
        Some(&ConnectionError::ClosedByPeer)
    );
}

#[test]
fn a_peer_that_takes_nothing_does_not_hold_up_the_close() {
    let mut pair = Setup::default().established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    // More than the window: the rest cannot be sent until the peer reads, which it never does.
    pair.write(0, stream, &[1; 200_000]);
    pair.settle_for(D * 3);
    pair.write(0, stream, &[1; 200_000]);
    pair.finish(0, stream);
    let start = pair.now;
    pair.sides[0]
        .connection
        .close(pair.now, ConnectionError::Shutdown);
    pair.settle_for(Duration::from_secs(20));
    let closed = pair
        .time_of(0, |event| matches!(event, Event::Closed { .. }))
        .unwrap();
    assert_eq!(closed - start, Config::default().close_timeout);
    assert_eq!(
        pair.sides[0].connection.error(),
        Some(&ConnectionError::Shutdown),
        "the first reason is kept"
    );
}
