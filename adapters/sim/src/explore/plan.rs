//! A run as a value.

use super::{Echoes, Failure, Report, Scenario, Trouble, run};
use crate::chance::Chance;
use core::fmt::Write;
use drywire::seed::Seed;

/// Everything that decides a run. The same plan always runs the same.
///
/// ```
/// use drywire_sim::explore::{Plan, Trouble};
///
/// let plan = Plan::new(7).hosts(2).storm_ms(5_000).trouble(Trouble::Pieces);
/// let report = plan.run()?;
/// assert!(report.statistics.handshakes > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Of all that is drawn.
    pub seed: u64,
    /// How many hosts, at least 2.
    pub hosts: usize,
    /// Connections each host tries to have.
    pub connections: usize,
    /// Without encryption.
    pub plaintext: bool,
    /// Connections are kept open although they may be idle.
    pub keep_alive: bool,
    /// Milliseconds between calls of each host.
    pub call_every_ms: u64,
    /// Lengths of calls, in bytes.
    pub lengths: Vec<usize>,
    /// How long the troubles last, in milliseconds of virtual time.
    pub storm_ms: u64,
    /// What is wrong.
    pub troubles: Vec<Trouble>,
}

fn flip_bits(troubles: &[Trouble]) -> bool {
    let flips = |trouble: &Trouble| matches!(trouble, Trouble::BitFlips { .. });
    troubles.iter().any(flips)
}

impl Plan {
    /// Three hosts with two connections each, a call of 100 bytes a second, 10 s, and no trouble.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            hosts: 3,
            connections: 2,
            plaintext: false,
            keep_alive: false,
            call_every_ms: 1_000,
            lengths: vec![100],
            storm_ms: 10_000,
            troubles: Vec::new(),
        }
    }

    /// A plan drawn from its seed: one in four has a single trouble, the others any subset, so that faults are met alone
    /// and together.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(&Seed::for_tests(seed), "plan");
        let mut troubles = Trouble::draw_all(&mut chance);
        if seed.is_multiple_of(4) {
            // In turn, so that a few seeds meet each alone.
            let only = (seed / 4) as usize % troubles.len().max(1);
            troubles = troubles.get(only).into_iter().copied().collect();
        } else {
            let share = 0.1 + 0.5 * chance.fraction();
            troubles.retain(|_| chance.happens(share));
        }
        let lengths: &[&[usize]] = &[
            &[0, 1, 100],
            &[100, 1_000, 20_000],
            &[100, 700_000],
            &[1_000, 70_000, 300_000],
        ];
        Self {
            seed,
            hosts: chance.between(2, 6) as usize,
            connections: chance.between(1, 4) as usize,
            // What flips bits needs somebody to notice.
            plaintext: chance.happens(0.2) && !flip_bits(&troubles),
            keep_alive: chance.happens(0.5),
            call_every_ms: chance.between(3, 30) * 100,
            lengths: chance
                .pick(lengths)
                .map(|lengths| lengths.to_vec())
                .unwrap_or_default(),
            storm_ms: chance.between(200, 300) * 1_000,
            troubles,
        }
    }

    pub(super) fn flips_bits(&self) -> bool {
        flip_bits(&self.troubles)
    }

    /// The same with a storm of a twentieth: over soon, for running many.
    #[must_use]
    pub fn draw_short(seed: u64) -> Self {
        let plan = Self::draw(seed);
        let ms = plan.storm_ms / 20;
        plan.storm_ms(ms)
    }

    /// Sets the number of [`hosts`](Self::hosts).
    #[must_use]
    pub const fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// Sets the number of [`connections`](Self::connections).
    #[must_use]
    pub const fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Runs [without encryption](Self::plaintext).
    #[must_use]
    pub const fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// [Keeps connections open](Self::keep_alive).
    #[must_use]
    pub const fn keep_alive(mut self) -> Self {
        self.keep_alive = true;
        self
    }

    /// Sets the [time between calls](Self::call_every_ms).
    #[must_use]
    pub const fn call_every_ms(mut self, ms: u64) -> Self {
        self.call_every_ms = ms;
        self
    }

    /// Sets the [`lengths`](Self::lengths) of calls.
    #[must_use]
    pub fn lengths(mut self, lengths: &[usize]) -> Self {
        self.lengths = lengths.to_vec();
        self
    }

    /// Sets the [length of the storm](Self::storm_ms).
    #[must_use]
    pub const fn storm_ms(mut self, ms: u64) -> Self {
        self.storm_ms = ms;
        self
    }

    /// Adds a [trouble](Self::troubles).
    #[must_use]
    pub fn trouble(mut self, trouble: Trouble) -> Self {
        self.troubles.push(trouble);
        self
    }

    /// Runs it with hosts of the standard protocols that call each other.
    ///
    /// # Errors
    /// What went wrong, with what is needed to see it again.
    pub fn run(&self) -> Result<Report, Box<Failure>> {
        run(self, &mut Echoes::default())
    }

    /// Runs it with hosts of your own.
    ///
    /// # Errors
    /// What went wrong, with what is needed to see it again.
    pub fn run_scenario(&self, scenario: &mut dyn Scenario) -> Result<Report, Box<Failure>> {
        run(self, scenario)
    }

    /// The plan as source code.
    #[must_use]
    pub fn to_source(&self) -> String {
        let mut text = format!("Plan::new({})", self.seed);
        let default = Self::new(self.seed);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            ".hosts({}).connections({})",
            self.hosts, self.connections
        );
        if self.plaintext {
            text.push_str(".plaintext()");
        }
        if self.keep_alive {
            text.push_str(".keep_alive()");
        }
        if self.call_every_ms != default.call_every_ms {
            let _ = write!(text, ".call_every_ms({})", self.call_every_ms);
        }
        if self.lengths != default.lengths {
            let _ = write!(text, ".lengths(&{:?})", self.lengths);
        }
        let _ = write!(text, ".storm_ms({})", self.storm_ms);
        for trouble in &self.troubles {
            let _ = write!(text, "\n        .trouble(Trouble::{trouble:?})");
        }
        text
    }

    /// A test that runs the plan and fails as it does, to be pasted into a file.
    #[must_use]
    pub fn to_test(&self, name: &str) -> String {
        self.test_that(name, "run()")
    }

    /// The same for a scenario of your own, made by this expression: `"Counters::default()"`.
    #[must_use]
    pub fn to_scenario_test(&self, name: &str, scenario: &str) -> String {
        self.test_that(name, &format!("run_scenario(&mut {scenario})"))
    }

    fn test_that(&self, name: &str, runs: &str) -> String {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .collect();
        format!(
            "#[test]\nfn {name}() {{\n    #[allow(unused_imports)]\n    use drywire_sim::explore::{{Plan, Trouble}};\n\n    \
             let plan = {};\n    if let Err(failure) = plan.{runs} {{\n        panic!(\"{{failure}}\");\n    }}\n}}\n",
            self.to_source()
        )
    }
}
