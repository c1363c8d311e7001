//! The laws of machines that are functions of slices: the negotiation, the handshakes, the ciphers.

use drywire_tests::{
    dice::Dice,
    heap::{self, Meter},
};
use std::{error::Error, fmt::Debug};

/// Conversations tried for each machine. Which one is had follows from the seed.
pub const SEEDS: u64 = 6;
/// What no output of one conversation exceeds.
const MAX_OUT: usize = 64 * 1024;

/// A machine that is a function of slices.
pub trait Slices: Sized {
    type Error: Error + Clone + PartialEq + Debug;
    /// What it may allocate, whatever the peer sends, in bytes.
    const MEMORY: isize;

    /// A machine, and what it says before it has heard anything. Which of several roles or cases it plays follows from
    /// the seed.
    fn start(seed: u64, out: &mut Vec<u8>) -> Self;
    /// Takes bytes; how many.
    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Self::Error>;
    /// Whether it has come to its end.
    fn is_done(&self) -> bool;
    /// What it has come to.
    fn end(self) -> Result<String, Self::Error>;
    /// What an honest peer says to the machine of this seed, and a little of what follows.
    fn honest(seed: u64) -> Vec<u8>;
    /// What dishonest ones might say for ever.
    fn floods() -> Vec<Vec<u8>>;
}

/// All that can be seen of one conversation.
#[derive(Debug, PartialEq)]
struct Trace<E> {
    out: Vec<u8>,
    unread: Vec<u8>,
    end: Result<String, E>,
    done: bool,
}

/// Feeds `input` in pieces of the given sizes, used in turn, as a host does that keeps what is not taken. `before` each
/// piece may do what should change nothing.
fn converse<M: Slices>(
    seed: u64,
    input: &[u8],
    pieces: &[usize],
    mut before: impl FnMut(&mut M),
) -> Trace<M::Error> {
    let mut out = Vec::new();
    let mut machine = M::start(seed, &mut out);
    let (mut unread, mut at, mut failed) = (Vec::new(), 0, None);
    for turn in 0.. {
        before(&mut machine);
        if at == input.len() || failed.is_some() {
            break;
        }
        let size = pieces.get(turn % pieces.len().max(1)).copied();
        let end = at
            .saturating_add(size.unwrap_or(usize::MAX))
            .min(input.len());
        unread.extend_from_slice(&input[at..end]);
        at = end;
        match machine.advance(&unread, &mut out) {
            Ok(taken) => {
                unread.drain(..taken);
            }
            Err(error) => failed = Some(error),
        }
    }
    unread.extend_from_slice(&input[at..]);
    let done = machine.is_done();
    let end = machine.end();
    if let Some(error) = &failed {
        assert_eq!(end.as_ref(), Err(error), "law 8: another error at the end");
    }
    if failed.is_some() {
        // When it was noticed depends on what had come; so does what of it was taken.
        unread.clear();
    }
    Trace {
        out,
        unread,
        end,
        done,
    }
}

fn calm<M: Slices>(seed: u64, input: &[u8]) -> Trace<M::Error> {
    converse::<M>(seed, input, &[], |_| {})
}

/// Law 1. Fails if the listener counts a call that brings no whole line as a round.
pub fn any_order<M: Slices>() {
    for seed in 0..SEEDS {
        let input = M::honest(seed);
        let expected = calm::<M>(seed, &input);
        for case in 0..20 {
            let mut dice = Dice::new(seed << 8 | case);
            let pieces = dice.pieces();
            let nosy = converse::<M>(seed, &input, &pieces, |machine| {
                for _ in 0..dice.below(100) {
                    let mut out = Vec::new();
                    let taken = machine.advance(&[], &mut out);
                    assert!(matches!(taken, Ok(0) | Err(_)) && out.is_empty());
                }
            });
            assert_eq!(nosy, expected, "seed {seed}, case {case}");
        }
    }
}

/// Law 2. Fails if the handshake forgets the beginning of a message that has not come whole.
pub fn chunking<M: Slices>() {
    for seed in 0..SEEDS {
        let input = M::honest(seed);
        let whole = calm::<M>(seed, &input);
        let check = |pieces: &[usize]| {
            let cut = converse::<M>(seed, &input, pieces, |_| {});
            assert_eq!(cut, whole, "seed {seed}, cut {pieces:?}");
        };
        check(&[1]);
        for at in 1..input.len() {
            check(&[at, usize::MAX]);
        }
        let mut dice = Dice::new(seed);
        for _ in 0..20 {
            check(&dice.pieces());
        }
        // And what goes wrong goes wrong in the same way.
        for _ in 0..50 {
            let mut wrong = input.clone();
            dice.mutate(&mut wrong);
            let whole = calm::<M>(seed, &wrong);
            for pieces in [vec![1], dice.pieces(), dice.pieces()] {
                let cut = converse::<M>(seed, &wrong, &pieces, |_| {});
                assert_eq!(cut, whole, "seed {seed}, cut {pieces:?}: {wrong:x?}");
            }
        }
    }
}

/// Law 3. Fails if the ephemeral key is drawn from anywhere but the given generator.
pub fn same_seed<M: Slices>() {
    for seed in 0..SEEDS {
        let input = M::honest(seed);
        let trace = calm::<M>(seed, &input);
        assert!(trace.done || !trace.out.is_empty());
        assert_eq!(trace, calm::<M>(seed, &input));
        // Seeds of the same remainder play the same case.
        let other = calm::<M>(seed + SEEDS, &M::honest(seed + SEEDS));
        assert_ne!(trace.out, other.out, "nothing is random in it");
    }
}

/// Law 5. Fails if the dialer gathers its names in a list at every call.
pub fn idle<M: Slices>() {
    for seed in 0..SEEDS {
        let input = M::honest(seed);
        let mut out = Vec::with_capacity(MAX_OUT);
        let mut machine = M::start(seed, &mut out);
        let mut unread = Vec::with_capacity(input.len());
        for byte in input {
            let polls = heap::measure(|| {
                for _ in 0..3 {
                    assert_eq!(machine.advance(&[], &mut out), Ok(0));
                }
            });
            assert_eq!(polls.0.calls, 0, "an idle call allocates");
            unread.push(byte);
            let taken = machine.advance(&unread, &mut out).expect("honest");
            unread.drain(..taken);
        }
    }
}

/// Law 6. Fails if the plaintext exchange keeps all it is given until a message is whole.
pub fn bounded<M: Slices>() {
    for seed in 0..SEEDS {
        for (number, flood) in M::floods().into_iter().enumerate() {
            for piece in [1, 100, 5000, flood.len()] {
                let mut out = Vec::with_capacity(4 * MAX_OUT);
                // What machines share is made first, and is not theirs.
                drop(M::start(seed, &mut Vec::new()));
                let mut meter = Meter::default();
                let mut machine = meter.run(|| M::start(seed, &mut out));
                // The host holds what was not taken; no machine asks for more than 64 KiB of it.
                let mut unread = Vec::new();
                for piece in flood.chunks(piece) {
                    unread.extend_from_slice(piece);
                    match meter.run(|| machine.advance(&unread, &mut out)) {
                        Ok(taken) => unread.drain(..taken),
                        Err(_) => break,
                    };
                    if machine.is_done() || unread.len() > MAX_OUT + 5000 {
                        break;
                    }
                }
                assert!(out.len() <= MAX_OUT, "flood {number}: says {}", out.len());
                let peak = meter.total.peak;
                assert!(peak <= M::MEMORY, "flood {number} in {piece}: {peak}");
            }
        }
    }
}

/// Law 7. Fails if the exchange takes for granted that the peer's key can be read.
pub fn no_panic<M: Slices>() {
    for seed in 0..SEEDS {
        let honest = M::honest(seed);
        let mut dice = Dice::new(seed);
        let mut failed = 0;
        for case in 0..500 {
            let mut input = honest.clone();
            if case % 5 == 0 {
                // Any bytes, after a beginning that is as it should be.
                input.truncate(dice.below(honest.len()));
                input.extend((0..dice.below(300)).map(|_| dice.roll() as u8));
            }
            for _ in 0..dice.below(4) {
                dice.mutate(&mut input);
            }
            let trace = converse::<M>(seed, &input, &dice.pieces(), |_| {});
            if let Err(error) = trace.end {
                assert!(!trace.done && !error.to_string().is_empty());
                failed += 1;
            }
        }
        assert!(failed > 50, "only {failed} were noticed");
    }
}

/// Law 8. Fails if the dialer goes on after its error, or if a cipher forgets that a length was too short.
pub fn errors<M: Slices>() {
    for seed in 0..SEEDS {
        let honest = M::honest(seed);
        let mut dice = Dice::new(seed);
        let mut failed = 0;
        let floods = M::floods().into_iter();
        let mutants = (0..100).map(|_| {
            let mut input = honest.clone();
            dice.mutate(&mut input);
            input
        });
        for input in mutants.chain(floods) {
            let mut machine = M::start(seed, &mut Vec::new());
            let Err(first) = machine.advance(&input, &mut Vec::new()) else {
                continue;
            };
            failed += 1;
            let mut out = Vec::new();
            for again in [&[][..], &honest, &input, &[0], &[0xff; 100]] {
                assert_eq!(machine.advance(again, &mut out), Err(first.clone()));
            }
            assert!(out.is_empty() && !machine.is_done());
            assert_eq!(machine.end(), Err(first));
        }
        assert!(failed > 10, "only {failed} were noticed");
    }
}

/// Law 9. Fails if the agreed listener still takes lines.
pub fn quiet_end<M: Slices>() {
    for seed in 0..SEEDS {
        let honest = M::honest(seed);
        let mut dice = Dice::new(seed);
        drop(M::start(seed, &mut Vec::new()));
        for case in 0..50 {
            let mut input = honest.clone();
            if case > 0 {
                dice.mutate(&mut input);
            }
            let mut out = Vec::with_capacity(2 * MAX_OUT);
            let (used, ()) = heap::measure(|| {
                let mut machine = M::start(seed, &mut out);
                let failed = machine.advance(&input, &mut out).is_err();
                assert!(case > 0 || !failed, "what follows the end is not its own");
                let ended = failed || machine.is_done();
                let said = out.len();
                for more in [&[][..], &honest, &[0xff; 100]] {
                    if ended {
                        assert!(!matches!(machine.advance(more, &mut out), Ok(1..)));
                        assert_eq!(out.len(), said, "says more after the end");
                    }
                }
            });
            assert_eq!(used.kept, 0, "something is kept");
        }
    }
}
