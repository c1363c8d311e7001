//! Against protocol negotiation: lines that never end, never agree, or are none.

use crate::{KIB, SECOND, attacked, quiet};
use drywire::{
    connection::{Config, ConnectionError, Event, code},
    multistream::{self, MAX_ROUNDS, MAX_TOTAL_LEN},
    mux::yamux::Flags,
    time::Instant,
};
use drywire_tests::{
    hostile,
    pair::{Secure, Setup},
    victim::{Target, Victim},
};
use std::time::Duration;

const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";

fn after_header(tail: &[u8]) -> Vec<u8> {
    [HEADER, tail].concat()
}

/// What a peer may say instead of a proposal, and what it is called.
fn garbage() -> Vec<(&'static str, Vec<u8>, multistream::Error)> {
    use multistream::Error::{
        InvalidProposal, LineTooLong, MissingNewline, NonMinimalLength, NotMultistream,
        TooManyRounds,
    };
    let too_many = MAX_ROUNDS + 1;
    vec![
        ("no header", b"GET / HTTP/1.1\r\n".to_vec(), NotMultistream),
        (
            "endless refusals",
            after_header(&b"\x03/a\n".repeat(too_many)),
            TooManyRounds,
        ),
        (
            "a second list",
            after_header(&b"\x03ls\n".repeat(2)),
            TooManyRounds,
        ),
        (
            "a length in two bytes that fits in one",
            after_header(b"\x83\x00/a\n"),
            NonMinimalLength,
        ),
        (
            "a length that never ends",
            after_header(&[0xff; 20]),
            LineTooLong,
        ),
        (
            "a line of 1025 bytes",
            after_header(b"\x81\x08"),
            LineTooLong,
        ),
        ("no newline", after_header(b"\x03/ab"), MissingNewline),
        ("an empty line", after_header(b"\x01\n"), InvalidProposal),
        (
            "nothing, not even a newline",
            after_header(b"\x00"),
            MissingNewline,
        ),
        ("no text", after_header(b"\x03/\xff\n"), InvalidProposal),
        ("no slash", after_header(b"\x02a\n"), InvalidProposal),
    ]
}

/// T10: garbage in place of the connection's first lines ends it by name, whole or byte by byte.
///
/// Fails if rounds are not counted: the negotiation then goes on.
#[test]
fn garbage_instead_of_the_first_lines_ends_the_connection() {
    for (what, bytes, expected) in garbage() {
        for piece in [1, bytes.len()] {
            let mut victim = Victim::new(&Setup::default(), 1);
            for piece in bytes.chunks(piece) {
                victim.input(piece);
            }
            let error = victim.side.connection.error();
            // After a refusal, what is no line may be the refused protocol's: an honest end.
            assert_eq!(
                error,
                Some(&ConnectionError::Negotiation(expected)),
                "{what} in pieces of {piece}"
            );
            assert!(victim.side.connection.is_closed(), "{what}");
            assert!(victim.sent().len() <= MAX_TOTAL_LEN);
        }
    }
}

/// T10: the same on a stream costs the stream, and nobody hears of it.
///
/// Fails if rounds are not counted.
#[test]
fn garbage_on_a_stream_costs_the_stream() {
    for (what, bytes, _) in garbage() {
        let (mut victim, mut hostile) = attacked(Secure::Noise);
        let said = hostile::data(Flags::SYN, 1, &bytes);
        hostile.send(&mut victim, &said);
        let sent = hostile.frames(&mut victim);
        let reset = sent.iter().find(|(header, _)| header.flags.has(Flags::RST));
        let (reset, _) = reset.unwrap_or_else(|| panic!("{what}: {sent:?}"));
        assert_eq!(
            (reset.stream, reset.length),
            (1, code::PROTOCOL_NEGOTIATION_FAILED),
            "{what}"
        );
        assert_eq!(
            victim.count(|event| matches!(event, Event::Inbound { .. })),
            0
        );
        assert!(victim.side.connection.is_open(), "{what}");
    }
}

/// T10: streams that never come to a protocol end at their deadline, all of them, and their memory with them.
///
/// Fails if the deadline of a negotiation is not armed.
#[test]
fn a_negotiation_that_never_ends_is_ended() {
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    victim.side.connection.set_keep_alive(true);
    victim.wait(SECOND * 5);
    let config = Config::default();
    let before = quiet(&mut victim);
    for n in 0..config.max_negotiating_streams {
        // A header, then part of a line.
        let said = hostile::data(Flags::SYN, 2 * n + 1, &after_header(b"\x20/almost"));
        hostile.send(&mut victim, &said);
    }
    victim.wait(config.negotiation_timeout);
    let resets = hostile.frames(&mut victim);
    let resets = resets
        .iter()
        .filter(|(header, _)| header.flags.has(Flags::RST));
    assert_eq!(resets.count(), config.max_negotiating_streams as usize);
    assert!(victim.side.connection.is_open());
    victim.wait(SECOND * 5);
    let kept = victim.meter.total.kept - before;
    assert!(kept <= KIB as isize, "{kept}");
}

/// T10: one byte every tenth of a second is progress, and buys no time: the handshake ends at its deadline, and so does the
/// negotiation of a stream.
///
/// Fails if what arrives moves the deadline.
#[test]
fn dripping_bytes_buy_no_time() {
    let config = Config::default();
    let start = Instant::ZERO;
    let tenth = Duration::from_millis(100);
    let mut victim = Victim::new(&Setup::default(), 1);
    let said = [HEADER, b"\x07/noise\n\x00\x20", &[9; 400]].concat();
    let mut drops = said.chunks(1);
    while !victim.side.connection.is_closed() {
        victim.input(drops.next().expect("ends before that"));
        victim.wait(tenth);
    }
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::HandshakeTimeout)
    );
    let closed = victim.side.events.last().expect("told").0;
    assert_eq!(closed, start + config.handshake_timeout);

    let (mut victim, mut hostile) = attacked(Secure::Noise);
    hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, &[]));
    let mut name = after_header(b"\xff\x07/");
    name.resize(1000, b'x');
    let mut waited = Duration::ZERO;
    for drop in name.chunks(1) {
        hostile.send(&mut victim, &hostile::data(Flags::NONE, 1, drop));
        victim.wait(tenth);
        waited += tenth;
        let frames = hostile.frames(&mut victim);
        if frames
            .iter()
            .any(|(header, _)| header.flags.has(Flags::RST))
        {
            break;
        }
    }
    assert_eq!(waited, config.negotiation_timeout);
    assert!(victim.side.connection.is_open());
}
