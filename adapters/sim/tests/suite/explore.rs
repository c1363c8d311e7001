//! Swarm testing: many seeds hold, meet everything there is to meet, and run the same each time.
//!
//! How many is told by `DRYWIRE_SEEDS` (200 without it) and `DRYWIRE_SEEDS_TWICE` (100).

use drywire_sim::{
    HostBuilder, Violation, World, WorldError,
    explore::{Campaign, Plan, Scenario, Trouble, shrink},
};
use std::{collections::BTreeSet, env};

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
        .plans(Plan::draw_short)
        .threads(2)
        .run(1, |_| {});
    let again = Campaign::new(0..seeds)
        .plans(Plan::draw_short)
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

/// One host alone, and seeds that are said to fail.
struct Alone;

impl Scenario for Alone {
    fn build(&mut self, world: &mut World, _: &Plan) -> Result<(), WorldError> {
        world.add(HostBuilder::standard("alone")).map(drop)
    }

    fn calm(&mut self, world: &mut World, plan: &Plan) -> Result<(), Box<Violation>> {
        match plan.seed % 7 {
            3 => Err(world.fail(None, "not the third of seven", String::new())),
            _ => Ok(()),
        }
    }
}

#[test]
fn what_a_failing_campaign_tells_does_not_depend_on_its_threads() {
    let told = |threads| {
        let campaign = Campaign::new(0..60)
            .plans(Plan::draw_short)
            .threads(threads);
        let summary = campaign.run_scenario(2, || Alone, |_| {});
        let failures: Vec<u64> = summary.failures.iter().map(|of| of.plan.seed).collect();
        assert_eq!(failures, [3, 10]);
        (summary.passed, summary.steps, summary.hashes)
    };
    let alone = told(1);
    assert_eq!(alone.0, 9);
    let all: BTreeSet<_> = (0..5).map(|_| told(4)).collect();
    assert_eq!(all, BTreeSet::from([alone]));
}

#[test]
fn a_plan_that_makes_no_sense_is_not_run() {
    let late = |probability| Trouble::LateTimers {
        probability,
        longest_ms: 100,
    };
    for (trouble, name) in [
        (late(-0.5), "probability of late timers cannot be -0.5"),
        (late(1.5), "probability of late timers cannot be 1.5"),
        (late(f64::NAN), "probability of late timers cannot be NaN"),
        (Trouble::Loss { probability: 2.0 }, "loss cannot be 2"),
        (Trouble::Jitter { sigma: f64::NAN }, "jitter cannot be NaN"),
        (Trouble::SmallBuffers { bytes: 0 }, "buffer cannot be 0"),
    ] {
        let failure = Plan::new(1).trouble(trouble).run().unwrap_err();
        assert_eq!(failure.violation.message, name);
        assert_eq!(failure.statistics.steps, 0);
    }
}

/// Fails wherever bits are flipped.
struct Flips;

impl Scenario for Flips {
    fn build(&mut self, world: &mut World, _: &Plan) -> Result<(), WorldError> {
        world.add(HostBuilder::standard("alone")).map(drop)
    }

    fn calm(&mut self, world: &mut World, plan: &Plan) -> Result<(), Box<Violation>> {
        let flips = |trouble: &Trouble| matches!(trouble, Trouble::BitFlips { .. });
        match plan.troubles.iter().any(flips) {
            true => Err(world.fail(None, "no bit is flipped", String::new())),
            false => Ok(()),
        }
    }
}

#[test]
fn a_reproducer_has_no_flipped_bits_that_nobody_could_notice() {
    let run = |plan: &Plan| plan.run_scenario(&mut Flips).err().map(|failure| *failure);
    let plan = Plan::new(1)
        .hosts(4)
        .storm_ms(1_000)
        .trouble(Trouble::Pieces)
        .trouble(Trouble::BitFlips { probability: 0.1 });
    let shrunk = shrink(run(&plan).unwrap(), 300, run, |_| {});
    let small = shrunk.failure.plan;
    assert_eq!((small.hosts, small.troubles.len()), (2, 1));
    assert!(!small.plaintext, "without encryption any flipped bit fails");
}
