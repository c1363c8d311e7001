//! Many seeds, and what they met.

use super::{Echoes, Failure, Plan, Report, Scenario};
use crate::fault::{Fault, FaultCounts};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
    thread,
};

/// Faults that hosts with pipes alone cannot meet.
const OF_DATAGRAMS: &[Fault] = &[
    Fault::DatagramLoss,
    Fault::Duplication,
    Fault::Reordering,
    Fault::TooLong,
];

/// Runs of many seeds. Each is a plan drawn from its seed, or made by a function of your own.
#[derive(Clone, Debug)]
pub struct Campaign {
    seeds: Range<u64>,
    threads: usize,
    plan: fn(u64) -> Plan,
    errors: Vec<&'static str>,
    stop: Arc<AtomicBool>,
}

/// What a campaign met.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Runs without a violation.
    pub passed: u64,
    /// Violations, by seed.
    pub failures: Vec<Failure>,
    /// Things that happened, in all runs.
    pub steps: u64,
    /// Virtual time, of all runs.
    pub time: Duration,
    /// Virtual time of all hosts.
    pub host_time: Duration,
    /// Faults met, in all runs.
    pub faults: FaultCounts,
    /// In how many runs each fault was met.
    pub runs_with: BTreeMap<Fault, u64>,
    /// How connections, dials and streams ended, in all runs.
    pub errors: BTreeMap<String, u64>,
    /// Hashes of the runs that passed, in the order of seeds.
    pub hashes: Vec<(u64, crate::TraceHash)>,
    /// Faults and errors that ought to be met and never were: with enough seeds, a campaign that misses one proves less
    /// than it says.
    pub never_met: Vec<String>,
}

impl Campaign {
    /// These seeds, with plans [drawn](Plan::draw) from them, on as many threads as there are cores.
    #[must_use]
    pub fn new(seeds: Range<u64>) -> Self {
        Self {
            seeds,
            threads: thread::available_parallelism().map_or(1, core::num::NonZero::get),
            plan: Plan::draw,
            errors: Vec::new(),
            stop: Arc::default(),
        }
    }

    /// Makes plans otherwise.
    #[must_use]
    pub fn plans(mut self, plan: fn(u64) -> Plan) -> Self {
        self.plan = plan;
        self
    }

    /// On so many threads; the outcome is the same.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Expects each of these errors to be met, besides every fault.
    #[must_use]
    pub fn expect_errors(mut self, errors: &[&'static str]) -> Self {
        self.errors = errors.to_vec();
        self
    }

    /// Begins no more runs once this is true.
    #[must_use]
    pub fn stop_on(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Runs them with hosts of the standard protocols that call each other, up to the seed with which `failures` of them have
    /// failed. `progress` is told how many are done.
    pub fn run(&self, failures: usize, progress: impl Fn(u64) + Sync) -> Summary {
        self.run_scenario(failures, Echoes::default, progress)
    }

    /// The same with hosts of your own: each run has a scenario that `make` makes for it.
    pub fn run_scenario<S: Scenario>(
        &self,
        failures: usize,
        make: impl Fn() -> S + Sync,
        progress: impl Fn(u64) + Sync,
    ) -> Summary {
        let next = AtomicU64::new(self.seeds.start);
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let results: Mutex<BTreeMap<u64, Result<Report, Box<Failure>>>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            return;
                        }
                        let result = (self.plan)(seed).run_scenario(&mut make());
                        let mut results = results
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner());
                        results.insert(seed, result);
                        let failed = results.values().filter(|result| result.is_err()).count();
                        stop.fetch_or(failed >= failures, Ordering::Relaxed);
                        drop(results);
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                });
            }
        });
        let results = results
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.sum_up(results, failures)
    }

    fn sum_up(
        &self,
        results: BTreeMap<u64, Result<Report, Box<Failure>>>,
        failures: usize,
    ) -> Summary {
        let mut summary = Summary::default();
        for (seed, result) in results {
            // What other threads ran of later seeds is left out: it depends on how fast they were.
            if summary.failures.len() >= failures.max(1) {
                break;
            }
            let hosts = (self.plan)(seed).hosts as u32;
            let (statistics, time) = match result {
                Ok(report) => {
                    summary.passed += 1;
                    summary.hashes.push((seed, report.trace_hash));
                    (report.statistics, report.time)
                }
                Err(failure) => {
                    let kept = (failure.statistics.clone(), failure.time);
                    summary.failures.push(*failure);
                    kept
                }
            };
            summary.steps += statistics.steps;
            summary.time += time;
            summary.host_time += time * hosts;
            summary.faults.add(&statistics.faults);
            for (fault, _) in statistics.faults.met() {
                *summary.runs_with.entry(fault).or_default() += 1;
            }
            for (error, count) in statistics.errors {
                *summary.errors.entry(error).or_default() += count;
            }
        }
        let faults = Fault::ALL
            .iter()
            .filter(|fault| !OF_DATAGRAMS.contains(fault));
        let faults = faults
            .filter(|fault| summary.faults.of(**fault) == 0)
            .map(|fault| fault.name().to_owned());
        let errors = self
            .errors
            .iter()
            .filter(|error| !summary.errors.contains_key(**error));
        summary.never_met = faults
            .chain(errors.map(|error| (*error).to_owned()))
            .collect();
        summary
    }
}
