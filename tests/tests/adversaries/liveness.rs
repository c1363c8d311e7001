//! Nobody attacks, but the network does what it can.

use drywire::{
    connection::{StreamId, StreamKind},
    seed::Seed,
};
use drywire_tests::pair::{Pair, Secure, Setup};
use std::time::Duration;

/// A number that follows from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = Seed::for_tests(self.0).derive("roll").hash_keys().0;
        self.0 % below
    }
}

/// One stream, both directions: what is to be written, has been, and was read.
struct Exchange {
    ids: [Option<StreamId>; 2],
    wanted: [usize; 2],
    written: [usize; 2],
    read: [usize; 2],
    ended: [bool; 2],
    finished: [bool; 2],
}

/// The byte at a place of what one side writes on one stream.
fn byte(stream: usize, side: usize, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (stream * 7 + side)) as u8
}

impl Exchange {
    fn new(dice: &mut Dice) -> Self {
        let mut wanted = || match dice.roll(3) {
            0 => dice.roll(100) as usize,
            1 => dice.roll(20_000) as usize,
            // More than a window.
            _ => dice.roll(700_000) as usize,
        };
        Self {
            ids: [None; 2],
            wanted: [wanted(), wanted()],
            written: [0; 2],
            read: [0; 2],
            ended: [false; 2],
            finished: [false; 2],
        }
    }

    fn is_over(&self) -> bool {
        self.ended == [true; 2] && self.finished == [true; 2]
    }

    /// The application of one side does what it can.
    fn act(&mut self, pair: &mut Pair, stream: usize, side: usize) {
        let Some(id) = self.ids[side] else { return };
        if !self.finished[side] {
            let (from, to) = (self.written[side], self.wanted[side]);
            let piece: Vec<u8> = (from..to.min(from + 30_000))
                .map(|at| byte(stream, side, at))
                .collect();
            self.written[side] += pair.write(side, id, &piece);
            if self.written[side] == self.wanted[side] {
                pair.finish(side, id);
                self.finished[side] = true;
            }
        }
        if !self.ended[side] {
            let (bytes, end) = pair.read(side, id);
            for byte_read in bytes {
                assert_eq!(byte_read, byte(stream, 1 - side, self.read[side]));
                self.read[side] += 1;
            }
            self.ended[side] = end.expect("no error without a reason");
            if self.ended[side] {
                assert_eq!(self.read[side], self.wanted[1 - side], "cut short");
            }
        }
    }
}

/// T11 (kubo#3651, rust-libp2p#306, #5410): many streams both ways over a pipe that delays by any time, cuts into any pieces,
/// stalls one way or both for up to 20 s and sends as little as it likes at once. Every byte that was written is read, in
/// order, and every end is heard, within two minutes after the last stall.
///
/// Fails if credit is returned only when more than a window was read.
#[test]
fn every_byte_arrives_through_delays_and_stalls() {
    const SEEDS: u64 = 60;
    let mut bytes = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let secure = [Secure::Noise, Secure::Plaintext][dice.roll(2) as usize];
        let pieces = (0..dice.roll(6))
            .map(|_| match dice.roll(3) {
                0 => 1 + dice.roll(16) as usize,
                1 => 1 + dice.roll(1500) as usize,
                _ => 1 + dice.roll(100_000) as usize,
            })
            .collect();
        let mut setup = Setup {
            secure,
            seed,
            delay: Duration::from_millis(dice.roll(400)),
            pieces,
            ..Setup::default()
        };
        // The stalls are longer than these.
        setup.config.idle_timeout = Duration::from_secs(1000);
        setup.config.negotiation_timeout = Duration::from_secs(1000);
        let mut pair = setup.established();
        pair.limit = 1 + dice.roll(200_000) as usize;
        let mut exchanges: Vec<Exchange> = (0..1 + dice.roll(12))
            .map(|_| Exchange::new(&mut dice))
            .collect();
        for exchange in &mut exchanges {
            exchange.ids[0] = Some(pair.open(0, "/raw", StreamKind::Raw));
        }
        for _ in 0..dice.roll(20) {
            let stalls = dice.roll(4);
            pair.stall(0, stalls & 1 == 1);
            pair.stall(1, stalls & 2 == 2);
            turn(&mut pair, &mut exchanges, dice.roll(10) + 1, &mut dice);
            pair.settle_for(Duration::from_millis(dice.roll(20_000)));
        }
        pair.stall(0, false);
        pair.stall(1, false);
        let healed = pair.now;
        while exchanges.iter().any(|exchange| !exchange.is_over()) {
            turn(&mut pair, &mut exchanges, 1, &mut dice);
            pair.settle_for(Duration::from_millis(50));
            assert!(
                pair.now - healed <= Duration::from_secs(120),
                "seed {seed}: stuck, {:?}",
                pair.sides.each_ref().map(|side| side.connection.error())
            );
        }
        bytes += exchanges
            .iter()
            .map(|exchange| exchange.read.iter().sum::<usize>())
            .sum::<usize>();
    }
    println!("{bytes} bytes through {SEEDS} networks");
}

fn turn(pair: &mut Pair, exchanges: &mut [Exchange], times: u64, dice: &mut Dice) {
    for _ in 0..times {
        let inbound = pair.inbound(1);
        for (stream, exchange) in exchanges.iter_mut().enumerate() {
            exchange.ids[1] = inbound.get(stream).copied();
            let first = dice.roll(2) as usize;
            exchange.act(pair, stream, first);
            exchange.act(pair, stream, 1 - first);
        }
    }
}
