//! Making a failing plan small.

use super::{Failure, Plan};

/// The smallest failing plan that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shrunk {
    /// Its failure.
    pub failure: Failure,
    /// The plan that failed first.
    pub original: Plan,
    /// Runs it took to find.
    pub runs: u32,
}

impl Shrunk {
    /// A test that fails as the plan does.
    #[must_use]
    pub fn to_test(&self) -> String {
        self.failure.plan.to_test(&self.name())
    }

    /// The same for a scenario of your own, made by this expression: `"Counters::default()"`.
    #[must_use]
    pub fn to_scenario_test(&self, scenario: &str) -> String {
        self.failure.plan.to_scenario_test(&self.name(), scenario)
    }

    fn name(&self) -> String {
        let Failure {
            plan, violation, ..
        } = &self.failure;
        format!("seed_{}_{}", plan.seed, violation.invariant)
    }
}

/// Narrows hosts, troubles and duration for as long as the plan still violates the same invariant, in at most `runs` runs.
/// `progress` is told of each smaller plan.
pub fn shrink(
    failure: Failure,
    runs: u32,
    mut run: impl FnMut(&Plan) -> Option<Failure>,
    mut progress: impl FnMut(&Plan),
) -> Shrunk {
    let original = failure.plan.clone();
    let mut best = failure;
    let mut left = runs;
    // Cheap wins first: nothing after the violation matters.
    loop {
        let mut smaller = false;
        for candidate in candidates(&best) {
            if left == 0 {
                break;
            }
            left -= 1;
            let Some(found) = run(&candidate) else {
                continue;
            };
            if found.violation.invariant == best.violation.invariant && size(&found) < size(&best) {
                best = found;
                progress(&best.plan);
                smaller = true;
                break;
            }
        }
        if !smaller {
            break;
        }
    }
    Shrunk {
        original,
        failure: best,
        runs: runs - left,
    }
}

/// How much there is to read and to wait for, in seconds of virtual time: a host less is worth five of them.
fn size(failure: &Failure) -> f64 {
    let plan = &failure.plan;
    let lengths: usize = plan.lengths.iter().sum();
    let small = plan.connections + usize::from(!plan.plaintext) + usize::from(plan.keep_alive);
    failure.time.as_secs_f64()
        + 5.0 * plan.hosts as f64
        + 2.0 * plan.troubles.len() as f64
        + 0.2 * small as f64
        + 1e-6 * lengths as f64
        + 1e-5 * plan.storm_ms as f64
}

/// Plans somewhat smaller than this one, the boldest first.
fn candidates(failure: &Failure) -> Vec<Plan> {
    let plan = &failure.plan;
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan {
            all.push(smaller);
        }
    };
    add(&|plan| plan.troubles.clear());
    for hosts in [2, 3, plan.hosts / 2, plan.hosts.saturating_sub(1)] {
        if hosts >= 2 && hosts < plan.hosts {
            add(&|plan| plan.hosts = hosts);
            // Another seed may fail sooner in the smaller world; it is the kind of failure that matters.
            for seed in 0..4 {
                add(&|plan| {
                    plan.hosts = hosts;
                    plan.seed = seed;
                });
            }
        }
    }
    let half = plan.troubles.len() / 2;
    if half > 0 {
        add(&|plan| plan.troubles.truncate(half));
        add(&|plan| {
            plan.troubles.drain(..half);
        });
    }
    for at in 0..plan.troubles.len() {
        add(&|plan| {
            plan.troubles.remove(at);
        });
    }
    let seen = u64::try_from(failure.time.as_millis()).unwrap_or(u64::MAX);
    for ms in [
        100,
        500,
        1_000,
        2_000,
        5_000,
        10_000,
        plan.storm_ms / 8,
        plan.storm_ms / 4,
        plan.storm_ms / 2,
        seen,
        plan.storm_ms * 3 / 4,
    ] {
        if ms < plan.storm_ms {
            add(&|plan| plan.storm_ms = ms);
        }
    }
    for connections in [1, plan.connections.saturating_sub(1)] {
        if connections >= 1 && connections < plan.connections {
            add(&|plan| plan.connections = connections);
        }
    }
    // What flips bits needs somebody to notice: otherwise another failure would be taken for this one.
    if !plan.flips_bits() {
        add(&|plan| plan.plaintext = true);
    }
    add(&|plan| plan.keep_alive = false);
    add(&|plan| plan.lengths = vec![100]);
    for at in 0..plan.troubles.len() {
        add(&|plan| {
            if let Some(trouble) = plan.troubles.get_mut(at) {
                *trouble = trouble.stronger();
            }
        });
    }
    for seed in 0..12 {
        add(&|plan| plan.seed = seed);
    }
    add(&|plan| plan.call_every_ms = 100);
    all
}
