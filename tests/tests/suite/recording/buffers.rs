//! Hosts that do with the receive buffer, and with what they read, all that they may.

use bytes::{Bytes, BytesMut};
use drywire::{
    connection::{Config, Event, OpenOptions, StreamId, StreamKind},
    multistream::ProtocolName,
    recording::ConnectionsOnly,
    resource::Lease,
    time::Instant,
};
use drywire_tests::{
    dice::Dice,
    pair::{Secure, Setup, Side},
    tape::{Tape, replay},
};
use std::{collections::VecDeque, time::Duration};

const RAW: ProtocolName = ProtocolName::from_static("/raw");

/// Two sides, and what is on its way to each.
struct Hosts {
    sides: [Side; 2],
    arriving: [BytesMut; 2],
    streams: [Vec<StreamId>; 2],
    /// Kept for a while: chunks read, which keep what they were cut from.
    kept: VecDeque<Bytes>,
    now: Instant,
    dice: Dice,
}

impl Hosts {
    fn new(seed: u64, tape: Option<&Tape>) -> Self {
        let mut config = Config::default();
        config.max_receive_buffer = 32 * 1024;
        let setup = Setup {
            secure: [Secure::Noise, Secure::Plaintext][(seed % 2) as usize],
            seed,
            config,
            lease: Lease::new(8 * 1024, 64),
            recorder: tape.map(|tape| tape.recorder(0)),
            ..Setup::default()
        };
        let mut sides = [setup.side(0), setup.side(1)];
        for side in &mut sides {
            side.lends = Some(Lease::new(64 * 1024, 64));
        }
        Self {
            sides,
            arriving: Default::default(),
            streams: Default::default(),
            kept: VecDeque::new(),
            now: Instant::ZERO,
            dice: Dice::new(seed),
        }
    }

    /// Gives a side some of what arrives for it, one way or another.
    fn receive(&mut self, to: usize) {
        let [first, second] = &mut self.arriving;
        let (arriving, leaving) = if to == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let dice = &mut self.dice;
        let connection = &mut self.sides[to].connection;
        for _ in 0..1 + dice.below(3) {
            let Some(buffer) = connection.recv_buf() else {
                break;
            };
            if dice.once_in(8) {
                // More room than there was need for.
                buffer.reserve(1 + dice.below(100_000));
            }
            let room = match dice.below(4) {
                0 => dice.below(3000),
                // More than there is room for.
                1 if dice.once_in(4) => buffer.capacity() - buffer.len() + dice.below(5000),
                _ => buffer.capacity() - buffer.len(),
            };
            let count = room.min(arriving.len());
            let mut piece = arriving.split_to(count);
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(1 + dice.below(4000)));
                buffer.extend_from_slice(&part);
            }
            match dice.below(6) {
                // It is found before it is announced.
                0 => connection.handle_timeout(self.now),
                1 => {
                    let mut out = Vec::new();
                    connection.poll_transmit(self.now, &mut out, 1000);
                    leaving.extend_from_slice(&out);
                }
                2 => connection.set_keep_alive(true),
                _ => {}
            }
        }
        if !dice.once_in(4) {
            connection.handle_recv(self.now);
        }
    }

    fn act(&mut self, index: usize) {
        let (now, dice) = (self.now, &mut self.dice);
        let side = &mut self.sides[index];
        let connection = &mut side.connection;
        if dice.once_in(4)
            && let Ok(stream) =
                connection.open(now, &[RAW], StreamKind::Raw, OpenOptions::default())
        {
            self.streams[index].push(stream);
        }
        for stream in &self.streams[index] {
            let Some(mut view) = connection.stream(*stream) else {
                continue;
            };
            if dice.once_in(2) {
                let mut data = Bytes::from(vec![7; dice.below(30_000)]);
                let _ = view.write_bytes(&mut data);
            }
            while dice.below(3) > 0
                && let Ok(Some(bytes)) = view.read(1 + dice.below(20_000))
            {
                self.kept.push_back(bytes);
            }
        }
        while self.kept.len() > dice.below(40) {
            self.kept.pop_front();
        }
        let mut out = Vec::new();
        connection.poll_transmit(now, &mut out, 1 + dice.below(100_000));
        self.arriving[1 - index].extend_from_slice(&out);
        let seen = side.events.len();
        side.drain(now);
        for (_, event) in &side.events[seen..] {
            if let Event::Inbound { stream, .. } = event {
                self.streams[index].push(*stream);
            }
        }
    }

    fn run(mut self) -> [(Vec<(Instant, Event)>, usize); 2] {
        for _ in 0..400 {
            let side = self.dice.below(2);
            self.receive(side);
            self.act(side);
            self.now = self.now + Duration::from_micros(self.dice.below(20_000) as u64);
            let connection = &mut self.sides[side].connection;
            if connection.poll_timeout().is_some_and(|at| at <= self.now) {
                connection.handle_timeout(self.now);
            }
        }
        assert!(self.sides.iter().all(|side| side.connection.is_open()));
        self.sides.map(|side| (side.events, side.carried))
    }
}

/// Fails if replay makes room as memory happens to allow instead of as it was made: it keeps nothing of what it reads, so that
/// old buffers are free for it sooner.
#[test]
fn how_hosts_fill_buffers_and_what_they_keep_of_them_is_no_matter() {
    for seed in 0..60 {
        let tape = Tape::default();
        let recorded = Hosts::new(seed, Some(&tape)).run();
        assert!(Hosts::new(seed, None).run() == recorded, "seed {seed}");
        let report = replay(&tape.lines(), ConnectionsOnly);
        let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", tape.text()));
        assert_eq!(report.connections, 2);
        assert!(report.outputs > 200, "seed {seed}: {report:?}");
    }
}
