//! Connections, by the operations of [`drywire_tests::model`].

use drywire::recording::ConnectionsOnly;
use drywire_tests::{
    dice::Dice,
    model::{self, Limits, Offer, Op, Plan},
    pair::{Secure, Told},
    tape::{Tape, replay},
};

/// What applications, hosts and the network do in the run numbered `seed`.
fn ops(seed: u64) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let ops = (0..80).map(|_| {
        let (side, stream, size) = (dice.below(2), dice.below(8), dice.below(4));
        let len = dice.below([40, 40, 3000, 60 * 1024][size]);
        match dice.below(26) {
            0..=2 => {
                let offers = [Offer::One, Offer::One, Offer::Second, Offer::Unknown];
                Op::Open(side, dice.below(3) as u8, *dice.pick(&offers))
            }
            3..=8 => Op::Write(side, stream, len, dice.once_in(2)),
            9 | 10 => Op::Read(side, stream, len),
            11 | 12 => Op::ReadInto(side, stream, len),
            13 => Op::Finish(side, stream),
            14 => Op::Stop(side, stream),
            15 => Op::Reset(side, stream, len as u32),
            16 => Op::Release(side, stream),
            17 => Op::Priority(side, stream, len as u8),
            18 => Op::Stall(side, dice.once_in(3)),
            19 => Op::Limit(1 + len),
            20 | 21 => Op::Wait(len.min(4000) as u16),
            22 => Op::Nosy,
            23 => Op::Pieces(dice.pieces()),
            _ => Op::Turn,
        }
    });
    let mut ops: Vec<Op> = ops.collect();
    if dice.once_in(3) {
        ops.push(Op::Close(dice.below(2)));
    }
    ops
}

fn plan(seed: u64, tape: &Tape) -> Plan {
    Plan {
        secure: [Secure::Noise, Secure::Plaintext][(seed % 2) as usize],
        seed,
        limits: [Limits::Ample, Limits::Few, Limits::Tight][(seed % 3) as usize],
        nosy: seed.is_multiple_of(5),
        told: [Told::Plainly, Told::Twice, Told::Backwards][(seed / 2 % 3) as usize],
        recorder: Some(tape.recorder(0)),
        ..Plan::default()
    }
}

#[test]
fn any_operations_run_again_and_recording_them_changes_nothing() {
    let (mut outputs, mut entries) = (0, 0);
    for seed in 0..150 {
        let (ops, tape) = (ops(seed), Tape::default());
        let plan = plan(seed, &tape);
        let recorded = model::run(&plan, &ops);
        let plain = Plan {
            recorder: None,
            ..plan
        };
        assert!(model::run(&plain, &ops) == recorded, "seed {seed}");
        let lines = tape.lines();
        match replay(&lines, ConnectionsOnly) {
            Ok(report) => {
                assert_eq!(report.connections, 2, "seed {seed}");
                assert_eq!(report.entries, lines.len() as u64, "seed {seed}");
                outputs += report.outputs;
                entries += report.entries;
            }
            Err(error) => panic!("seed {seed}: {error}\n{}", tape.text()),
        }
    }
    println!("{entries} entries, {outputs} outputs");
}
