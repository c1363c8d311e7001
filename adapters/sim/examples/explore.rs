//! Explores many seeds, shrinks the first failure to a small reproducer, and prints it as a test.
//!
//! `cargo run --release -p drywire-sim --example explore -- 0..1000`

use drywire_sim::explore::{Campaign, Plan, shrink};
use std::process::ExitCode;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "0..100".into());
    let bounds = argument
        .split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let Some((from, to)) = bounds else {
        eprintln!("usage: explore FROM..TO");
        return ExitCode::from(2);
    };
    // Panics are reported as violations: their own words are only in the way.
    std::panic::set_hook(Box::new(|_| {}));
    let summary = Campaign::new(from..to).run(1, |_| {});
    let hours = summary.host_time.as_secs_f64() / 3600.0;
    println!(
        "{} seeds passed, {} steps, {hours:.1} node-hours",
        summary.passed, summary.steps
    );
    let Some(failure) = summary.failures.into_iter().next() else {
        for missing in &summary.never_met {
            println!("never met: {missing}");
        }
        return ExitCode::SUCCESS;
    };
    println!("{failure}");
    let shrunk = shrink(
        failure,
        500,
        |plan: &Plan| plan.run().err().map(|failure| *failure),
        |plan| {
            eprintln!(
                "smaller: {} hosts, {} troubles, {} ms",
                plan.hosts,
                plan.troubles.len(),
                plan.storm_ms
            )
        },
    );
    let (planned, after) = (shrunk.original.storm_ms, shrunk.failure.time);
    let hosts = (shrunk.original.hosts, shrunk.failure.plan.hosts);
    println!("shrunk in {} runs, from", shrunk.runs);
    println!(
        "found: {} hosts, {} s planned, to",
        hosts.0,
        planned as f64 / 1000.0
    );
    println!("reproducer: {} hosts, {} s", hosts.1, after.as_secs_f64());
    println!("{}", shrunk.failure.violation);
    println!("{}", shrunk.to_test());
    ExitCode::FAILURE
}
