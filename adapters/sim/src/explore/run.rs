//! One run of a plan.

use super::Plan;
use crate::{
    error::WorldError,
    network::{HostId, Link},
    statistics::Statistics,
    trace::TraceHash,
    violation::Violation,
    world::World,
};
use core::{fmt, panic::AssertUnwindSafe, time::Duration};
use drywire::seed::Seed;
use std::panic;

/// Within this time after being told to shut down, nothing is left of a node.
const SHUT_DOWN: Duration = Duration::from_secs(60);

/// What runs in a plan's world: hosts of your own, and what must hold once the storm is over.
pub trait Scenario {
    /// Adds the hosts.
    ///
    /// # Errors
    /// Why the world cannot be built.
    fn build(&mut self, world: &mut World, plan: &Plan) -> Result<(), WorldError>;

    /// Everything has healed: lets time pass, and checks that what ought to happen does.
    ///
    /// # Errors
    /// What does not, by [`World::fail`].
    fn calm(&mut self, world: &mut World, plan: &Plan) -> Result<(), Box<Violation>>;
}

/// A run in which nothing went wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Over everything hosts were given and gave.
    pub trace_hash: TraceHash,
    /// What happened.
    pub statistics: Statistics,
    /// How much virtual time passed.
    pub time: Duration,
}

/// A run in which something went wrong. Its `Display` is a report to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The plan that was run.
    pub plan: Plan,
    /// What was violated.
    pub violation: Violation,
    /// How much virtual time had passed.
    pub time: Duration,
    /// What had happened.
    pub statistics: Statistics,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violation)?;
        write!(f, "plan: {}", self.plan.to_source())
    }
}

impl core::error::Error for Failure {}

/// Runs a plan.
pub(super) fn run(plan: &Plan, scenario: &mut dyn Scenario) -> Result<Report, Box<Failure>> {
    let mut world = World::new(plan.seed);
    let begun = world.now();
    let result = panic::catch_unwind(AssertUnwindSafe(|| phases(plan, &mut world, scenario)));
    let violation = match result {
        Ok(Ok(())) => {
            return Ok(Report {
                trace_hash: world.trace_hash(),
                statistics: world.statistics(),
                time: world.now() - begun,
            });
        }
        Ok(Err(violation)) => violation,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let message = text.unwrap_or("panicked").to_owned();
            world.fail(None, "I1 no panic", message)
        }
    };
    Err(Box::new(Failure {
        plan: plan.clone(),
        violation: *violation,
        time: world.now() - begun,
        statistics: world.statistics(),
    }))
}

fn phases(
    plan: &Plan,
    world: &mut World,
    scenario: &mut dyn Scenario,
) -> Result<(), Box<Violation>> {
    let built = scenario
        .build(world, plan)
        .and_then(|()| set_up(plan, world));
    built.map_err(|error| world.fail(None, "the plan makes sense", error.to_string()))?;
    world.run_for(Duration::from_millis(plan.storm_ms))?;
    calm_down(world)?;
    scenario.calm(world, plan)?;
    end(world)
}

fn set_up(plan: &Plan, world: &mut World) -> Result<(), WorldError> {
    let seed = Seed::for_tests(plan.seed).derive("troubles");
    let until = world.now() + Duration::from_millis(plan.storm_ms);
    let mut link = Link::default().latency(Duration::from_millis(20));
    for trouble in &plan.troubles {
        trouble.bend(&mut link);
    }
    world.set_default_link(link)?;
    for trouble in &plan.troubles {
        trouble.schedule(world, &seed, until)?;
    }
    Ok(())
}

/// The storm is over: everything that can heal does.
fn calm_down(world: &mut World) -> Result<(), Box<Violation>> {
    world.heal_all();
    let hosts: Vec<HostId> = world.hosts().collect();
    for host in hosts {
        let healed = world
            .restart(host)
            .and_then(|()| world.make_timers_late(host, 0.0, Duration::ZERO));
        healed.map_err(|error| world.fail(Some(host), "hosts start again", error.to_string()))?;
        world.network().restart(host);
    }
    Ok(())
}

/// All nodes shut down, and nothing may be left of them.
fn end(world: &mut World) -> Result<(), Box<Violation>> {
    let hosts: Vec<HostId> = world.hosts().collect();
    for host in &hosts {
        // A host that is down has nothing to shut down.
        let _ = world.shut_down(*host);
    }
    let gone = |world: &mut World| hosts.iter().all(|host| world.connection_count(*host) == 0);
    let over = world.run_until(SHUT_DOWN, gone)?;
    if !over {
        let message = format!("connections are left {SHUT_DOWN:?} after shutting down");
        return Err(world.fail(None, "I9 nothing is left at the end", message));
    }
    // What is on its way arrives, deadlines that were left come.
    world.run_for(Duration::from_secs(5))?;
    world.check_end()?;
    let pipes = world.network().pipe_count();
    if pipes > 0 {
        let message = format!("{pipes} pipes are left");
        return Err(world.fail(None, "I9 nothing is left at the end", message));
    }
    Ok(())
}
