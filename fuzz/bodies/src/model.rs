//! Target of two connections over a sound pipe, compared with the model that the property tests use.

use crate::input::Input;
use drywire::recording::ConnectionsOnly;
use drywire_tests::{
    model::{self, Limits, Offer, Op, Plan},
    tape::{self, Tape},
};

/// Operations of one run; the rest of the input is not looked at.
const MAX_OPS: usize = 150;

/// Two connections whose hosts do what the input says: everything told, delivered and refused is what the model says, and
/// the same when it is done again, and recorded, and run from that.
pub fn connection_model(data: &[u8]) {
    let (plan, ops) = decode(data);
    let first = model::run(&plan, &ops);
    let tape = Tape::default();
    let plan = Plan {
        recorder: Some(tape.recorder(0)),
        ..plan
    };
    // Not `assert_eq`: traces are long.
    assert!(model::run(&plan, &ops) == first, "another outcome");
    let report = tape::replay(&tape.lines(), ConnectionsOnly);
    assert!(report.is_ok(), "{report:?}");
}

fn decode(data: &[u8]) -> (Plan, Vec<Op>) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let limits = match choice & 3 {
        0 | 1 => Limits::Ample,
        2 => Limits::Few,
        _ => Limits::Tight,
    };
    let plan = Plan {
        limits,
        nosy: choice & 4 != 0,
        ..Plan::default()
    };
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < MAX_OPS {
        let op = operation(&mut input);
        // The model follows a close to its end, and no more.
        let last = matches!(op, Op::Close(_));
        ops.push(op);
        if last {
            break;
        }
    }
    (plan, ops)
}

fn operation(input: &mut Input<'_>) -> Op {
    let choice = input.byte();
    let (side, what) = (usize::from(choice & 1), choice >> 1);
    let mut stream = || usize::from(input.byte());
    match what % 40 {
        0..5 => {
            let choice = input.byte();
            let offer = match choice >> 4 {
                0..12 => Offer::One,
                12 | 13 => Offer::Second,
                _ => Offer::Unknown,
            };
            Op::Open(side, choice & 3, offer)
        }
        5..13 => Op::Write(side, stream(), input.size(), what & 0x40 != 0),
        13..19 => Op::Read(side, stream(), input.size()),
        19..21 => Op::ReadInto(side, stream(), input.size()),
        21..24 => Op::Finish(side, stream()),
        24 => Op::Stop(side, stream()),
        25 => Op::Reset(side, stream(), u32::from(input.byte())),
        26 => Op::Release(side, stream()),
        27 => Op::Priority(side, stream(), input.byte()),
        28..31 => Op::Wait(u16::from(input.byte())),
        31 => Op::Wait(u16::from(input.byte()) * 50),
        32..36 => Op::Turn,
        36 => {
            let count = input.byte() % 4;
            Op::Pieces((0..count).map(|_| input.size().max(1)).collect())
        }
        37 => Op::Limit(input.size().max(1)),
        38 => Op::Stall(side, input.byte() & 1 == 1),
        _ => Op::Close(side),
    }
}
