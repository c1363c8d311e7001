//! Against the muxer: what a proven peer can do with frames.

use crate::{KIB, SECOND, attacked, peak_of, quiet, yamux_error};
use drywire::{
    buffer::Incoming,
    connection::{
        Config, ConnectionError, Event, OpenOptions, ReadError, StreamId, StreamKind, code,
    },
    multistream::ProtocolName,
    mux::yamux::{self, Flags, INITIAL_WINDOW, Kind, Notice, PONGS, Session},
    time::Instant,
};
use drywire_tests::{
    heap, hostile,
    pair::Secure,
    victim::{Target, Victim},
};

fn inbound(victim: &Victim) -> Vec<StreamId> {
    let events = victim.side.events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::Inbound { stream, .. } => Some(*stream),
            _ => None,
        })
        .collect()
}

/// T1 (CVE-2024-32984): a peer pings and never reads. It may do so for ever at the rate of useless frames, and what waits to
/// be said to it stays at four answers; the rest is never answered. Reading goes on, for it must not depend on writing.
///
/// Fails if [`PONGS`] does not bound the answers.
#[test]
fn a_million_pings_never_read_leave_four_answers() {
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    victim.side.connection.set_keep_alive(true);
    victim.peer_reads = false;
    victim.wait(SECOND * 5);
    let before = quiet(&mut victim);
    let mut value = 0;
    let rate = Config::default().yamux.waste_per_second;
    for _ in 0..1_000_000 / rate {
        let pings = (0..rate).flat_map(|_| {
            value += 1;
            hostile::ping(value)
        });
        let pings: Vec<u8> = pings.collect();
        hostile.send(&mut victim, &pings);
        assert_eq!(victim.waiting(), 0);
        victim.wait(SECOND);
    }
    assert!(victim.side.connection.is_open());
    let grown = peak_of(&victim) - before;
    assert!(grown <= 8 * KIB as isize, "{grown}");
    victim.peer_reads = true;
    let answers = hostile.frames(&mut victim);
    let values: Vec<u32> = answers.iter().map(|(header, _)| header.length).collect();
    assert_eq!(values, [1, 2, 3, 4]);
    assert_eq!(values.len(), PONGS);
    hostile.send(&mut victim, &hostile::ping(7));
    let [(answer, _)] = &hostile.frames(&mut victim)[..] else {
        panic!("answers again")
    };
    assert_eq!((answer.kind, answer.length), (Kind::Ping, 7));
}

/// T1: faster than that it is thrown out, and costs nothing on the way.
///
/// Fails if pings do not count as useless frames.
#[test]
fn a_flood_of_pings_ends_the_connection() {
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    victim.peer_reads = false;
    let before = quiet(&mut victim);
    let flight: Vec<u8> = (0..1000).flat_map(hostile::ping).collect();
    let mut taken = 0;
    while victim.side.connection.error().is_none() && taken < 1_000_000 {
        hostile.send(&mut victim, &flight);
        taken += 1000;
    }
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::Flooding)
    );
    assert!(taken <= 2000, "{taken}");
    for _ in 0..1000 {
        hostile.send(&mut victim, &flight);
    }
    assert_eq!(victim.waiting(), 0, "what it still sends is dropped");
    let (grown, config) = (peak_of(&victim) - before, Config::default());
    let bound = config.max_receive_buffer + 8 * KIB;
    assert!(grown <= bound as isize, "{grown}");
    victim.wait(config.close_timeout);
    assert!(victim.side.connection.is_closed());
}

const BOUNDARIES: [u32; 10] = [
    0,
    1,
    2,
    INITIAL_WINDOW - 1,
    INITIAL_WINDOW,
    u32::MAX - INITIAL_WINDOW,
    u32::MAX - INITIAL_WINDOW + 1,
    0xFFFF_0000,
    u32::MAX - 1,
    u32::MAX,
];

/// T2 (CVE-2026-31814): credit of any size, twice, on a stream in any state, adds up or is refused by name.
///
/// Fails if the credit is added without a check.
#[test]
fn any_credit_is_added_or_refused() {
    for first in BOUNDARIES {
        for second in BOUNDARIES {
            for state in 0..5 {
                let (mut victim, mut hostile) = attacked(Secure::Plaintext);
                let proposal = hostile::propose("/raw");
                hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, &proposal));
                let said = hostile.data(&mut victim, 1).len() as u64;
                let stream = inbound(&victim)[0];
                let mut view = victim.side.connection.stream(stream).unwrap();
                let mut known = true;
                match state {
                    0 => {}
                    1 => view.finish().unwrap(),
                    2 => view.stop(),
                    3 => {
                        // The peer has finished.
                        hostile.send(&mut victim, &hostile::data(Flags::FIN, 1, b""));
                    }
                    _ => {
                        view.reset(0);
                        known = false;
                    }
                }
                let credit = u64::from(INITIAL_WINDOW) - said;
                for delta in [first, second] {
                    hostile.send(&mut victim, &hostile::window(Flags::NONE, 1, delta));
                }
                let sum = [first, second].iter().try_fold(credit, |sum, delta| {
                    Some(sum + u64::from(*delta)).filter(|sum| *sum <= u64::from(u32::MAX))
                });
                let expected = (known && sum.is_none()).then_some(yamux::Error::WindowOverflow(1));
                let what = format!("{first} {second} in state {state}");
                assert_eq!(yamux_error(&victim), expected, "{what}");
            }
        }
    }
}

/// T3 (CVE-2026-32314): the first frame of a stream is longer than its window. The connection ends by name, and nobody hears of the
/// stream.
///
/// Fails if the length is not checked before the stream is made.
#[test]
fn an_oversize_first_frame_opens_nothing() {
    for flags in 0..16u16 {
        for length in [INITIAL_WINDOW + 1, INITIAL_WINDOW * 2, u32::MAX] {
            let (mut victim, mut hostile) = attacked(Secure::Plaintext);
            let flags = Flags::from_bits(flags).with(Flags::SYN);
            let header = hostile::header(Kind::Data, flags, 1, length);
            hostile.send(&mut victim, &header);
            assert_eq!(
                yamux_error(&victim),
                Some(yamux::Error::WindowExceeded(1)),
                "{flags:?} {length}"
            );
            victim.wait(SECOND * 10);
            assert!(inbound(&victim).is_empty());
            assert!(victim.side.connection.is_closed());
        }
    }
}

/// T4 (CVE-2026-73568): a frame announces more than any window can be, and its body never comes. The connection ends with
/// the header, whatever stream it names: one that is open, new, over, or never was.
///
/// Fails if the length of frames for streams that are gone is not checked: the connection would swallow 4 GiB.
#[test]
fn a_length_beyond_every_window_ends_the_connection_at_once() {
    for case in ["open", "new", "reset", "never"] {
        let (mut victim, mut hostile) = attacked(Secure::Noise);
        victim.wait(SECOND * 5);
        let proposal = hostile::propose("/raw");
        hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, &proposal));
        let stream = inbound(&victim)[0];
        let (id, flags) = match case {
            "open" => (1, Flags::NONE),
            "new" => (3, Flags::SYN),
            "reset" => {
                let mut view = victim.side.connection.stream(stream).unwrap();
                view.reset(code::NO_ERROR);
                (1, Flags::NONE)
            }
            _ => (5, Flags::NONE),
        };
        let before = quiet(&mut victim);
        let header = hostile::header(Kind::Data, flags, id, u32::MAX);
        hostile.send(&mut victim, &header);
        assert_eq!(
            yamux_error(&victim),
            Some(yamux::Error::WindowExceeded(id)),
            "{case}"
        );
        let grown = peak_of(&victim) - before;
        assert!(grown <= 8 * KIB as isize, "{case}: {grown}");
    }
}

/// How a stream, or all of it, ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Finish,
    Reset,
    Stop,
    Release,
    Close,
    Eof,
    Lost,
}

fn end(victim: &mut Victim, stream: StreamId, ending: Ending) {
    let now = victim.now;
    let connection = &mut victim.side.connection;
    match ending {
        Ending::Close => connection.close(now, ConnectionError::Closed),
        Ending::Eof => connection.handle_eof(now),
        Ending::Lost => connection.handle_lost(now, String::from("reset")),
        _ => {
            let mut view = connection.stream(stream).unwrap();
            match ending {
                // The peer may have aborted it before.
                Ending::Finish => drop(view.finish()),
                Ending::Reset => view.reset(code::NO_ERROR),
                Ending::Stop => view.stop(),
                _ => view.release(),
            }
        }
    }
    victim.turn();
}

/// T5 (rust-yamux 0.13.3 to 0.13.8): every ending meets a frame of which any number of bytes has come: data, FIN, a reset, a
/// window update, a ping. What follows is understood, the end is told once, and no memory stays.
///
/// Fails if a stream that is forgotten amid its frame does not take the rest of the frame with it.
#[test]
fn endings_race_with_half_a_frame() {
    use Ending::{Close, Eof, Finish, Lost, Release, Reset, Stop};
    let frames = [
        hostile::data(Flags::NONE, 1, b"0123456789"),
        hostile::data(Flags::FIN, 1, b"0123456789"),
        hostile::data(Flags::FIN, 1, b""),
        hostile::window(Flags::RST, 1, 5),
        hostile::window(Flags::NONE, 1, 100),
        hostile::ping(9),
    ];
    for secure in [Secure::Plaintext, Secure::Noise] {
        for ending in [Finish, Reset, Stop, Release, Close, Eof, Lost] {
            for frame in &frames {
                race(secure, ending, frame);
            }
        }
    }
}

fn race(secure: Secure, ending: Ending, frame: &[u8]) {
    use Ending::{Close, Eof, Lost};
    let before = heap::bytes();
    let overhead = if secure == Secure::Noise { 18 } else { 0 };
    for cut in 0..=frame.len() + overhead {
        let what = format!("{secure:?} {ending:?} {frame:?} cut at {cut}");
        let (mut victim, mut hostile) = attacked(secure);
        let proposal = hostile::propose("/raw");
        hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, &proposal));
        let stream = inbound(&victim)[0];
        let mut view = victim.side.connection.stream(stream).unwrap();
        view.write(&[7; 1000]).unwrap();
        let message = match secure {
            Secure::Noise => hostile.seal(frame),
            Secure::Plaintext => frame.to_vec(),
        };
        victim.input(&message[..cut]);
        end(&mut victim, stream, ending);
        let alive = !matches!(ending, Close | Eof | Lost);
        let names = [ProtocolName::from_static("/raw")];
        let now = victim.now;
        // It takes the place of the stream, where that is gone.
        let (kind, options) = (StreamKind::Raw, OpenOptions::default());
        let other = victim.side.connection.open(now, &names, kind, options);
        assert_eq!(other.is_ok(), alive, "{what}");
        victim.input(&message[cut..]);
        if let Ok(other) = other {
            let mut view = victim.side.connection.stream(other).unwrap();
            let nothing = view.read(1);
            assert_eq!(
                nothing,
                Err(ReadError::Blocked),
                "{what}: of another stream"
            );
        }
        if alive {
            // The next frames are taken for what they are.
            hostile.send(&mut victim, &hostile::data(Flags::SYN, 3, &proposal));
            assert!(victim.side.connection.is_open(), "{what}");
            assert_eq!(inbound(&victim).len(), 2, "{what}");
            let sent = hostile.frames(&mut victim);
            assert!(sent.iter().any(|(header, _)| header.stream == 3), "{what}");
        }
        let now = victim.now;
        victim.side.connection.close(now, ConnectionError::Closed);
        victim.side.connection.handle_eof(now);
        victim.wait(SECOND * 20);
        assert!(victim.side.connection.is_closed(), "{what}");
        assert_eq!(
            victim.count(|event| matches!(event, Event::Closed { .. })),
            1,
            "{what}"
        );
        let of_stream = |event: &Event| matches!(event, Event::Finished { stream: of } | Event::Reset { stream: of, .. } if *of == stream);
        assert!(victim.count(of_stream) <= 1, "{what}");
    }
    assert_eq!(heap::bytes(), before, "{secure:?} {ending:?} {frame:?}");
}

/// T6 (go-yamux#29, jvm-libp2p#291): a million streams opened, used and ended in every way leave what ten of them leave.
///
/// Fails if a stream that is removed stays in the table of numbers.
#[test]
fn a_million_streams_leave_nothing_in_the_session() {
    const ROUNDS: u32 = 1_000_000;
    let config = || yamux::Config::default();
    let mut dialer: Session<()> = Session::new(yamux::Role::Dialer, config());
    let mut other: Session<()> = Session::new(yamux::Role::Listener, config());
    let (mut out, mut now) = (Vec::with_capacity(64 * KIB), Instant::ZERO);
    let mut carry = |from: &mut Session<()>, to: &mut Session<()>, now: Instant| {
        out.clear();
        from.fill(now, &mut out, usize::MAX, 1);
        let mut input = Incoming::Borrowed(&out);
        let mut place = None;
        while let Some(notice) = to.receive(now, &mut input).expect("both keep the rules") {
            if let Notice::Inbound(at) = notice {
                place = Some(at);
            }
        }
        while from.poll_sent().is_some() {}
        place
    };
    let mut first = 0;
    for round in 0..ROUNDS {
        now = now + core::time::Duration::from_millis(50);
        let mine = dialer.open(now, ()).expect("below the limit");
        dialer.write_copy(mine, b"ping");
        let theirs = carry(&mut dialer, &mut other, now).expect("opened");
        match round % 3 {
            0 => {
                dialer.finish(mine);
                other.finish(theirs);
            }
            1 => drop(dialer.reset(mine, 5)),
            _ => drop(other.reset(theirs, 5)),
        }
        carry(&mut other, &mut dialer, now);
        carry(&mut dialer, &mut other, now);
        other.pop(theirs, 10);
        dialer.remove(mine);
        other.remove(theirs);
        if round == 9 || round == ROUNDS - 1 {
            dialer.trim();
            other.trim();
            assert!(dialer.is_empty() && other.is_empty());
            if round == 9 {
                first = heap::bytes();
            }
        }
    }
    assert_eq!(heap::bytes(), first);
}

/// T6, on a whole connection with its negotiation and its application: a hundred thousand streams leave nothing.
///
/// Fails if a stream that is removed stays in the table of numbers.
#[test]
fn streams_leave_nothing_in_the_connection() {
    const AT_ONCE: u32 = 32;
    const ROUNDS: u32 = 100_000 / AT_ONCE;
    let (mut victim, mut hostile) = attacked(Secure::Plaintext);
    victim.side.connection.set_keep_alive(true);
    let proposal = hostile::propose("/raw");
    let (mut id, mut first) = (1, 0);
    for round in 0..ROUNDS {
        let mut flight = Vec::new();
        for n in 0..AT_ONCE {
            let flags = match n % 2 {
                0 => Flags::SYN.with(Flags::FIN),
                _ => Flags::SYN,
            };
            flight.extend(hostile::data(flags, id + 2 * n, &proposal));
        }
        // One more says nothing but its header, and is given up when that is answered.
        let silent = id + 2 * AT_ONCE;
        flight.extend(hostile::data(Flags::SYN, silent, &proposal[..20]));
        hostile.send(&mut victim, &flight);
        victim.sent();
        hostile.send(&mut victim, &hostile::window(Flags::RST, silent, 0));
        let streams = inbound(&victim);
        assert_eq!(streams.len(), AT_ONCE as usize);
        let connection = &mut victim.side.connection;
        victim.meter.run(|| {
            for stream in &streams {
                let mut view = connection.stream(*stream).unwrap();
                if view.read(1) == Ok(None) {
                    view.finish().unwrap();
                } else {
                    view.reset(code::NO_ERROR);
                }
            }
        });
        victim.sent();
        victim.side.events.clear();
        id += 2 * AT_ONCE + 2;
        if round == 9 || round == ROUNDS - 1 {
            victim.wait(SECOND * 5);
            if round == 9 {
                first = victim.meter.total.kept;
            }
        }
    }
    assert!(victim.side.connection.is_open());
    assert_eq!(victim.meter.total.kept, first);
}

/// T7 (CVE-2023-44487, RUSTSEC-2024-0003): streams opened and reset before anything could be said on them.
///
/// Fails if a reset of an unanswered stream does not count as a useless frame.
#[test]
fn opening_and_resetting_in_a_loop_ends_the_connection() {
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    let (proposal, limit) = (
        hostile::propose("/raw"),
        Config::default().yamux.waste_burst,
    );
    let (mut rounds, mut spawned) = (0, 0);
    while victim.side.connection.error().is_none() {
        let id = rounds * 2 + 1;
        let mut pair = hostile::data(Flags::SYN, id, &proposal);
        pair.extend(hostile::window(Flags::RST, id, 0));
        hostile.send(&mut victim, &pair);
        for stream in inbound(&victim) {
            spawned += 1;
            if let Some(mut view) = victim.side.connection.stream(stream) {
                view.release();
            }
        }
        victim.side.events.clear();
        rounds += 1;
        assert!(rounds < 1_000_000);
    }
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::Flooding)
    );
    assert!(spawned <= limit + 1, "{spawned}");
}

/// T7: if the application does not let go of them, streams that were reset keep their places: there are never more than the
/// limit, and those beyond are refused until the connection ends.
///
/// Fails if refused streams do not count as useless frames.
#[test]
fn reset_streams_hold_their_places_until_they_are_let_go() {
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    let proposal = hostile::propose("/raw");
    let config = Config::default();
    let mut id = 1;
    while victim.side.connection.error().is_none() {
        hostile.send(&mut victim, &hostile::data(Flags::SYN, id, &proposal));
        // The answer is awaited, so that the reset is an ordinary one.
        victim.sent();
        hostile.send(&mut victim, &hostile::window(Flags::RST, id, 0));
        id += 2;
        assert!(inbound(&victim).len() <= config.max_streams as usize);
        assert!(id < 10_000);
    }
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::Flooding)
    );
    assert_eq!(inbound(&victim).len(), config.max_streams as usize);
}

/// T8 (RUSTSEC-2026-0258): frames of data without data, and window updates without credit, use no window up. A million at
/// the rate of useless frames keep no byte.
///
/// Fails, in its second half, if they do not count as useless, or flags excuse them.
#[test]
fn a_million_empty_frames_keep_nothing() {
    let (ack, fin) = (Flags::ACK, Flags::FIN);
    for frame in [
        hostile::data(Flags::NONE, 1, b""),
        hostile::window(Flags::NONE, 1, 0),
        // The same with flags that say nothing new.
        hostile::data(ack, 1, b""),
        hostile::window(ack, 1, 0),
        hostile::data(fin, 1, b""),
        hostile::window(fin.with(ack), 1, 0),
    ] {
        let (mut victim, mut hostile) = attacked(Secure::Noise);
        let proposal = hostile::propose("/raw");
        hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, &proposal));
        // The first of those that finish is news.
        hostile.send(&mut victim, &frame);
        victim.sent();
        victim.wait(SECOND * 5);
        let before = quiet(&mut victim);
        let events = victim.side.events.len();
        let flight = frame.repeat(100);
        for _ in 0..10_000 {
            hostile.send(&mut victim, &flight);
            victim.wait(SECOND);
        }
        assert!(victim.side.connection.is_open());
        assert_eq!(victim.side.events.len(), events, "nobody was woken");
        victim.wait(SECOND * 5);
        assert_eq!(victim.meter.total.kept, before);
        let grown = peak_of(&victim) - before;
        assert!(grown <= 8 * KIB as isize, "{grown}");
        let mut flights = 0;
        while victim.side.connection.error().is_none() {
            hostile.send(&mut victim, &flight);
            flights += 1;
            assert!(flights < 10_000);
        }
        assert_eq!(
            victim.side.connection.error(),
            Some(&ConnectionError::Flooding)
        );
        assert!(flights <= 11, "{flights}");
    }
}
