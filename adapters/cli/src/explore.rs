//! `drywire explore`: many small networks in trouble, and what is left of the first that fails.

use crate::{
    args::{ExploreOptions, SeedRange},
    executor::interrupted,
    failure::Failure,
    output::Output,
    session::stoppable,
};
use drywire_sim::explore::{Campaign, Plan, Shrunk, Summary, shrink};
use std::{
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Runs spent on making a failure small.
const SHRINKING_RUNS: u32 = 500;

/// `drywire explore`
pub(crate) async fn run(options: ExploreOptions, output: &Output) -> Result<(), Failure> {
    let output = *output;
    stoppable(interrupted(), move |stop| {
        explore(options.seeds, stop, &output)
    })
    .await
}

fn explore(seeds: SeedRange, stop: &Arc<AtomicBool>, output: &Output) -> Result<(), Failure> {
    // Panics are violations here, and told as such: what they print themselves is in the way.
    panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let asked = seeds.end.saturating_sub(seeds.start);
    let bar = output.progress_steps(asked);
    let campaign = Campaign::new(seeds.start..seeds.end).stop_on(stop.clone());
    let summary = campaign.run(1, |done| bar.at(done, "seeds".to_owned()));
    drop(bar);
    tell(&summary, begun.elapsed(), output)?;
    match summary.failures.into_iter().next() {
        Some(failure) => {
            output.log(&failure.to_string());
            let shrunk = shrink(
                failure,
                SHRINKING_RUNS,
                |plan: &Plan| {
                    let stopped = stop.load(Ordering::Relaxed);
                    (!stopped)
                        .then(|| plan.run().err())
                        .flatten()
                        .map(|found| *found)
                },
                |plan| {
                    let troubles = plan.troubles.len();
                    output.log(&format!(
                        "smaller: {} hosts, {troubles} troubles",
                        plan.hosts
                    ));
                },
            );
            reproducer(&shrunk, output)?;
            let violation = &shrunk.failure.violation;
            Err(Failure::failed(format!(
                "seed {} violates {}",
                shrunk.original.seed, violation.invariant
            )))
        }
        None if summary.passed < asked => Err(Failure::interrupted("all seeds were run")),
        None => Ok(()),
    }
}

/// What was run and met.
fn tell(summary: &Summary, took: Duration, output: &Output) -> Result<(), Failure> {
    let hours = summary.host_time.as_secs_f64() / 3600.0;
    let faults: u64 = summary.faults.total();
    let text = format!(
        "{} seeds passed in {:.1} s: {hours:.1} node-hours, {} events, {faults} faults of {} kinds",
        summary.passed,
        took.as_secs_f64(),
        summary.steps,
        summary.runs_with.len(),
    );
    let kinds = summary
        .faults
        .met()
        .map(|(fault, count)| (fault.name().to_owned(), count.into()));
    let ends = summary
        .errors
        .iter()
        .map(|(name, count)| (name.clone(), (*count).into()));
    let fields = [
        ("passed", summary.passed.into()),
        ("failed", summary.failures.len().into()),
        ("seconds", took.as_secs_f64().into()),
        ("node_hours", hours.into()),
        ("events", summary.steps.into()),
        ("faults", serde_json::Value::Object(kinds.collect())),
        ("ends", serde_json::Value::Object(ends.collect())),
        ("never_met", summary.never_met.clone().into()),
    ];
    output.say(&text, "explored", &fields)?;
    if !summary.never_met.is_empty() && summary.failures.is_empty() {
        output.log(&format!("never met: {}", summary.never_met.join(", ")));
    }
    Ok(())
}

/// The smallest failing plan, as a test.
fn reproducer(shrunk: &Shrunk, output: &Output) -> Result<(), Failure> {
    let (test, plan) = (shrunk.to_test(), &shrunk.failure.plan);
    let text = format!(
        "from {} hosts and {} s to {} hosts and {:.1} s, in {} runs:\n\n{test}",
        shrunk.original.hosts,
        shrunk.original.storm_ms / 1000,
        plan.hosts,
        shrunk.failure.time.as_secs_f64(),
        shrunk.runs,
    );
    let fields = [
        ("seed", shrunk.original.seed.into()),
        ("invariant", shrunk.failure.violation.invariant.into()),
        ("message", shrunk.failure.violation.message.clone().into()),
        ("hosts", plan.hosts.into()),
        ("virtual_seconds", shrunk.failure.time.as_secs_f64().into()),
        ("runs", shrunk.runs.into()),
        ("test", test.into()),
    ];
    output.say(&text, "reproducer", &fields)
}
