//! What a peer's bytes cost: in bytes sent back, and in memory.

use crate::{KIB, SECOND, attacked, peak_of, quiet};
use drywire::{
    connection::Event,
    multistream::{Dialer, ProtocolName},
    mux::yamux::Flags,
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::{Secure, Setup},
    victim::{Target, Victim},
};

/// What an attack needs: numbers for its streams.
struct Attack<'a> {
    hostile: &'a mut Hostile,
    victim: &'a mut Victim,
    next: u32,
}

impl Attack<'_> {
    fn id(&mut self) -> u32 {
        self.next += 2;
        self.next
    }

    /// Several frames in one message.
    fn say(&mut self, frames: &[Vec<u8>]) {
        self.hostile.send(self.victim, &frames.concat());
    }

    /// The application reads what there is, and lets go of what is over.
    fn read(&mut self) {
        let events = std::mem::take(&mut self.victim.side.events);
        let connection = &mut self.victim.side.connection;
        for (_, event) in events {
            if let Event::Inbound { stream, .. } | Event::Readable { stream } = event
                && let Some(mut view) = connection.stream(stream)
            {
                while let Ok(Some(_)) = view.read(usize::MAX) {}
                if view.read(1) == Ok(None) {
                    let _ = view.finish();
                }
            }
        }
        self.victim.turn();
    }
}

type Provoke = fn(&mut Attack<'_>, u32);

/// Every kind of answer that frames can provoke, with what provokes it: so many of them in one message.
const PROVOCATIONS: [(&str, Provoke); 8] = [
    ("pongs", |attack, count| {
        let pings: Vec<_> = (0..count).map(hostile::ping).collect();
        attack.say(&pings);
    }),
    ("acknowledgements", |attack, count| {
        let opens: Vec<_> = (0..count)
            .map(|_| hostile::window(Flags::SYN, attack.id(), 0))
            .collect();
        attack.say(&opens);
    }),
    ("resets of streams without a protocol", |attack, count| {
        let opens: Vec<_> = (0..count)
            .map(|_| hostile::data(Flags::SYN, attack.id(), b"?"))
            .collect();
        attack.say(&opens);
    }),
    ("refused names", |attack, count| {
        let said = [&hostile::propose("/a")[..20], &b"\x03/a\n".repeat(60)].concat();
        let opens: Vec<_> = (0..count)
            .map(|_| hostile::data(Flags::SYN, attack.id(), &said))
            .collect();
        attack.say(&opens);
    }),
    ("lists of names", |attack, count| {
        let said = [&hostile::propose("/a")[..20], &b"\x03ls\n".repeat(60)].concat();
        let opens: Vec<_> = (0..count)
            .map(|_| hostile::data(Flags::SYN, attack.id(), &said))
            .collect();
        attack.say(&opens);
    }),
    ("one list of names on each stream", |attack, count| {
        let said = [&hostile::propose("/a")[..20], &b"\x03ls\n"[..]].concat();
        let opens: Vec<_> = (0..count)
            .map(|_| hostile::data(Flags::SYN, attack.id(), &said))
            .collect();
        attack.say(&opens);
    }),
    ("accepted names", |attack, count| {
        let opens: Vec<_> = (0..count)
            .map(|_| {
                let flags = Flags::SYN.with(Flags::FIN);
                hostile::data(flags, attack.id(), &hostile::propose("/raw"))
            })
            .collect();
        attack.say(&opens);
    }),
    ("window updates", |attack, _| {
        let id = attack.id();
        attack.say(&[hostile::data(Flags::SYN, id, &hostile::propose("/raw"))]);
        attack.read();
        for _ in 0..10 {
            attack.say(&[hostile::data(Flags::NONE, id, &[0; 16 * KIB])]);
            attack.read();
        }
        attack.say(&[hostile::window(Flags::RST, id, 0)]);
    }),
];

/// I14, R7: whatever a proven peer sends, it is sent back at most four times as much, and 8 KiB.
///
/// Fails if `ls` is answered as often as it is asked.
#[test]
fn answers_are_at_most_four_times_what_provoked_them() {
    for secure in [Secure::Noise, Secure::Plaintext] {
        for (what, provoke) in PROVOCATIONS {
            for count in [1, 10, 60] {
                let (mut victim, mut hostile) = attacked(secure);
                victim.side.connection.set_keep_alive(true);
                let (before, mut sent, mut next) = (victim.taken, 0, 1);
                for _ in 0..200 {
                    let mut attack = Attack {
                        hostile: &mut hostile,
                        victim: &mut victim,
                        next,
                    };
                    provoke(&mut attack, count);
                    attack.read();
                    next = attack.next;
                    // Long enough for the deadlines of what was opened.
                    victim.wait(SECOND * 11);
                    sent += victim.sent().len();
                    if victim.side.connection.is_closed() {
                        break;
                    }
                }
                let received = victim.taken - before;
                let ratio = sent as f64 / received as f64;
                println!(
                    "{what}, {count} at once, {secure:?}: {sent} bytes for {received}, {ratio:.2}"
                );
                assert!(sent <= 4 * received + 8 * KIB, "{what}: {ratio}");
            }
        }
    }
}

/// What somebody may send who has proven nothing.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    let mut proposal = Vec::new();
    Dialer::start(&[ProtocolName::from_static("/noise")], &mut proposal).expect("one name");
    let (header, noise) = proposal.split_at(20);
    let long = |mut bytes: Vec<u8>| {
        bytes.resize(64 * KIB, 7);
        bytes
    };
    vec![
        ("zeros", vec![0; 64 * KIB]),
        ("ones", vec![0xff; 64 * KIB]),
        (
            "refused names",
            [header, &b"\x03/a\n".repeat(1000)].concat(),
        ),
        (
            "lists of names",
            [header, &b"\x03ls\n".repeat(1000)].concat(),
        ),
        ("a long name", long([header, &[0xff, 7, b'/'][..]].concat())),
        (
            "a key, and no more",
            [header, noise, &[0, 32], &[9; 32]].concat(),
        ),
        ("a short message", [header, noise, &[0, 1]].concat()),
        (
            "a long message",
            long([header, noise, &[0xff, 0xff]].concat()),
        ),
        (
            "a key, then a long message",
            long([header, noise, &[0, 32], &[9; 32], &[0x10, 0]].concat()),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".repeat(1000)),
    ]
}

/// I14, R7: whoever has proven nothing is answered with at most four times as much, and makes the heap grow by at most four
/// times what it has sent, and 8 KiB: after every byte.
///
/// Fails if receive buffers start at 64 KiB.
#[test]
fn a_stranger_costs_what_it_sends() {
    let mut highest = 0;
    for (what, bytes) in strangers() {
        for piece in [1, 7, 1000, bytes.len()] {
            for role in [0, 1] {
                for reads in [true, false] {
                    let mut victim = Victim::new(&Setup::default(), role);
                    victim.peer_reads = reads;
                    let started = quiet(&mut victim);
                    let (mut sent, mut received) = (0, 0);
                    for piece in bytes.chunks(piece).take(3000) {
                        victim.input(piece);
                        sent += victim.sent().len();
                        received += piece.len();
                        let grown = peak_of(&victim) - started;
                        highest = highest.max(grown);
                        let bound = 4 * received + 8 * KIB;
                        assert!(grown <= bound as isize, "{what}: {grown} for {received}");
                        assert!(sent <= bound, "{what}: {sent} for {received}");
                        if victim.side.connection.is_closed() || victim.waiting() > 0 {
                            break;
                        }
                    }
                }
            }
        }
    }
    println!("at most {highest} bytes");
}

/// I14, R7: data that is not read pins at most four times what was sent, however it is cut: one byte at a time, as much as
/// is worth no copy, once a second so that each piece comes in a buffer of its own.
///
/// Fails if small payloads pin the buffer they came in.
#[test]
fn unread_data_takes_at_most_four_times_its_size() {
    for (size, pause) in [
        (1, false),
        (100, false),
        (100, true),
        (1000, false),
        (1000, true),
        (1100, true),
        (1500, true),
        (5000, true),
        (16 * KIB, false),
    ] {
        let (mut victim, mut hostile) = attacked(Secure::Noise);
        victim.wait(SECOND * 5);
        let proposal = hostile::propose("/raw");
        hostile.send(&mut victim, &hostile::data(Flags::SYN, 1, &proposal));
        let (before, started) = (victim.taken, quiet(&mut victim));
        let mut left = 120 * KIB;
        while left >= size {
            let sound = hostile::data(Flags::NONE, 1, &vec![3; size]);
            hostile.send(&mut victim, &sound);
            left -= size;
            if pause {
                victim.wait(SECOND * 3 / 2);
            }
            if victim.waiting() > 0 {
                break;
            }
        }
        let received = victim.taken - before;
        let grown = victim.meter.total.kept - started;
        println!("pieces of {size}: {grown} bytes for {received}");
        let bound = (4 * received + 8 * KIB) as isize;
        assert!(grown <= bound, "pieces of {size}: {grown} for {received}");
    }
}
