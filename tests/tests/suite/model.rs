//! Any list of operations on two connections gives what the model says; see [`drywire_tests::model`].

use drywire_tests::{
    model::{self, Limits, Offer, Op, Plan},
    pair::Secure,
};
use proptest::prelude::*;

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..40,
        3 => 0usize..3000,
        1 => 0usize..70_000,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let side = || 0usize..2;
    let stream = || 0usize..8;
    let offer = prop_oneof![
        6 => Just(Offer::One),
        1 => Just(Offer::Second),
        1 => Just(Offer::Unknown),
    ];
    prop_oneof![
        8 => (side(), 0u8..3, offer).prop_map(|(s, k, o)| Op::Open(s, k, o)),
        20 => (side(), stream(), len(), any::<bool>()).prop_map(|(s, n, l, c)| Op::Write(s, n, l, c)),
        14 => (side(), stream(), len()).prop_map(|(s, n, l)| Op::Read(s, n, l)),
        5 => (side(), stream(), len()).prop_map(|(s, n, l)| Op::ReadInto(s, n, l)),
        5 => (side(), stream()).prop_map(|(s, n)| Op::Finish(s, n)),
        2 => (side(), stream()).prop_map(|(s, n)| Op::Stop(s, n)),
        2 => (side(), stream(), any::<u32>()).prop_map(|(s, n, c)| Op::Reset(s, n, c)),
        2 => (side(), stream()).prop_map(|(s, n)| Op::Release(s, n)),
        2 => (side(), stream(), any::<u8>()).prop_map(|(s, n, p)| Op::Priority(s, n, p)),
        10 => prop_oneof![0u16..50, 0u16..4000].prop_map(Op::Wait),
        8 => Just(Op::Turn),
        2 => prop::collection::vec(1usize..3000, 0..4).prop_map(Op::Pieces),
        1 => prop_oneof![1usize..100, 1usize..300_000].prop_map(Op::Limit),
        3 => (side(), any::<bool>()).prop_map(|(s, b)| Op::Stall(s, b)),
        2 => Just(Op::Nosy),
    ]
}

fn ops(count: usize) -> impl Strategy<Value = Vec<Op>> {
    let close = prop_oneof![6 => Just(None), 1 => (0usize..2).prop_map(Some)];
    (prop::collection::vec(op(), 0..count), close).prop_map(|(mut ops, close)| {
        ops.extend(close.map(Op::Close));
        ops
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![Just(Limits::Ample), Just(Limits::Few), Just(Limits::Tight)]
}

/// As many cases, times the environment variable `MODEL_TIMES`.
fn cases(cases: u32) -> ProptestConfig {
    let times = std::env::var("MODEL_TIMES")
        .ok()
        .and_then(|times| times.parse().ok());
    ProptestConfig {
        cases: cases * times.unwrap_or(1),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn two_connections_are_what_the_model_says(limits in limits(), ops in ops(80)) {
        model::run(&Plan { limits, ..Plan::default() }, &ops);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn with_noise_too(limits in limits(), seed in any::<u64>(), ops in ops(120)) {
        model::run(&Plan { secure: Secure::Noise, limits, seed, ..Plan::default() }, &ops);
    }
}
