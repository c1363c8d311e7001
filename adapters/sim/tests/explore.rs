//! Swarm testing: many seeds hold, meet everything there is to meet, and run the same each time.
//!
//! How many is told by `DRYWIRE_SEEDS` (200 without it) and `DRYWIRE_SEEDS_TWICE` (100).
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use drywire_sim::explore::{Campaign, Plan};
use std::env;

/// How connections, dials and streams must have ended somewhere, lest the campaign prove less than it says.
const ERRORS: &[&str] = &[
    "attempt Connection(EndOfInput)",
    "attempt Connection(HandshakeTimeout)",
    "attempt Connection(LimitReached)",
    "attempt Connection(Lost)",
    "attempt Connection(Security(PeerMisbehaved(DecryptFailed)))",
    "attempt TimedOut",
    "attempt TooManyConnections",
    "attempt Transport(OutOfDescriptors)",
    "attempt Transport(Refused)",
    "connection Closed",
    "connection ClosedByPeer",
    "connection Idle",
    "connection Lost",
    "connection Security(PeerMisbehaved(DecryptFailed))",
    "connection Shutdown",
    "dial AllFailed",
    "dial ShuttingDown",
    "incoming EndOfInput",
    "incoming HandshakeTimeout",
    "incoming LimitReached",
    "incoming Lost",
    "refused TooManyConnections",
    "stream NegotiationTimeout",
    "stream ResetByPeer(1)",
];

fn count(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number of seeds"))
}

/// A plan that is over soon.
fn short(seed: u64) -> Plan {
    let plan = Plan::draw(seed);
    let ms = plan.storm_ms / 20;
    plan.storm_ms(ms)
}

#[test]
fn every_promise_holds_in_every_seed_and_every_fault_is_met() {
    let seeds = count("DRYWIRE_SEEDS", 200);
    let summary = Campaign::new(0..seeds).expect_errors(ERRORS).run(3, |_| {});
    for failure in &summary.failures {
        eprintln!("{failure}\n{}", failure.plan.to_test("reproducer"));
    }
    let hours = summary.host_time.as_secs_f64() / 3600.0;
    println!(
        "{} seeds, {} steps, {hours:.1} node-hours",
        summary.passed, summary.steps
    );
    for (fault, runs) in &summary.runs_with {
        println!("{fault}: {} in {runs} runs", summary.faults.of(*fault));
    }
    println!("{:#?}", summary.errors);
    assert!(summary.failures.is_empty());
    if seeds >= 200 {
        assert_eq!(summary.never_met, Vec::<String>::new(), "met nowhere");
    }
}

#[test]
fn the_same_seed_runs_the_same_twice_on_one_thread_or_two() {
    let seeds = count("DRYWIRE_SEEDS_TWICE", 100);
    let once = Campaign::new(0..seeds)
        .plans(short)
        .threads(2)
        .run(1, |_| {});
    let again = Campaign::new(0..seeds)
        .plans(short)
        .threads(1)
        .run(1, |_| {});
    assert!(once.failures.is_empty(), "{}", once.failures[0]);
    assert_eq!(once.hashes, again.hashes);
    let mut different = once.hashes.clone();
    different.sort_by_key(|(_, hash)| *hash);
    different.dedup_by_key(|(_, hash)| *hash);
    assert_eq!(
        different.len(),
        once.hashes.len(),
        "each seed is a run of its own"
    );
}
