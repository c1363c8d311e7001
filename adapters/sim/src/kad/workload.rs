//! Nodes that look things up, and how that went.

use super::{KadWorld, Kind, Operation, Outcome, Role, Traffic, WANTED};
use crate::{statistics::Latencies, trace::TraceHash, violation::Violation};
use core::time::Duration;
use drywire::{
    identity::PeerId,
    protocol::kad::{Quorum, Record, RecordKey, table::RoutingTable},
    time::Instant,
};

/// The longest a query takes, phases together, and some more.
const LAST_WORDS: Duration = Duration::from_secs(150);
/// Into so many parts the time is cut for the picture.
const PARTS: usize = 60;
/// Lookups over more hops are counted with these.
const MOST_HOPS: usize = 16;

/// What nodes drawn at random do, evenly over some time.
///
/// ```
/// use core::time::Duration;
/// use drywire_sim::kad::{KadConfig, KadWorld, Workload};
///
/// let mut world = KadWorld::new(7, KadConfig::nodes(60).known())?;
/// world.populate()?;
/// let report = Workload::new(20).over(Duration::from_secs(30)).run(&mut world, |_, _| true)?;
/// assert_eq!(report.lookups.succeeded, 20);
/// assert!(report.lookups.hops_mean() < 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Workload {
    lookups: usize,
    records: usize,
    provided: usize,
    length: Duration,
}

impl Workload {
    /// So many lookups of random keys over a minute; nothing is stored.
    #[must_use]
    pub const fn new(lookups: usize) -> Self {
        Self {
            lookups,
            records: 0,
            provided: 0,
            length: Duration::from_secs(60),
        }
    }

    /// And so many records: each is put once in the first half of the time, and looked for once in the other.
    #[must_use]
    pub const fn records(mut self, records: usize) -> Self {
        self.records = records;
        self
    }

    /// And so many keys that somebody provides, and somebody looks for.
    #[must_use]
    pub const fn provided(mut self, keys: usize) -> Self {
        self.provided = keys;
        self
    }

    /// Over this time.
    #[must_use]
    pub const fn over(mut self, length: Duration) -> Self {
        self.length = length;
        self
    }

    /// What is done, in its order.
    fn operations(&self, draw: &mut crate::chance::Chance) -> Vec<Operation> {
        let name = |number: usize, kind: &str| RecordKey::new(format!("{kind} {number}"));
        let mut early = Vec::new();
        let mut late = Vec::new();
        for number in 0..self.records {
            let record = Record::new(name(number, "record"), format!("value {number}"));
            early.push(Operation::Put(record, Quorum::Majority));
            late.push(Operation::Get(name(number, "record")));
        }
        for number in 0..self.provided {
            early.push(Operation::Provide(name(number, "provided")));
            late.push(Operation::Providers(name(number, "provided")));
        }
        for number in 0..self.lookups {
            let mut key = Vec::with_capacity(32);
            for _ in 0..4 {
                key.extend_from_slice(&draw.number().to_le_bytes());
            }
            let half = if number % 2 == 0 {
                &mut early
            } else {
                &mut late
            };
            half.push(Operation::Closest(key));
        }
        draw.shuffle(&mut early);
        draw.shuffle(&mut late);
        early.extend(late);
        early
    }

    /// Has a populated world do it, and waits for the last word of each. `progress` is told how many have begun, of how many;
    /// if it returns false, no more are begun.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run(
        &self,
        world: &mut KadWorld,
        mut progress: impl FnMut(u64, u64) -> bool,
    ) -> Result<Report, Box<Violation>> {
        let mut draw = world.draws("workload");
        let operations = self.operations(&mut draw);
        let count = operations.len() as u64;
        let (begin, before) = (world.now(), world.traffic());
        let mut report = Report::new(world, self.length);
        for (number, operation) in (0_u64..).zip(operations) {
            if !progress(number, count) {
                break;
            }
            let due = self.length.mul_f64(number as f64 / count as f64);
            world.run_for((begin + due).saturating_duration_since(world.now()))?;
            // Those that cannot begin are no lookups: the node knows nobody.
            let started = (0..20).any(|_| {
                let node = draw.below(u64::from(world.len())) as u32;
                world.start(node, operation.clone())
            });
            report.not_begun += u64::from(!started);
            report.take(world.take_outcomes());
        }
        if progress(count, count) {
            world.run_for((begin + self.length).saturating_duration_since(world.now()))?;
        }
        world.run_until_done(LAST_WORDS)?;
        report.take(world.take_outcomes());
        report.finish(world, before);
        Ok(report)
    }
}

/// How operations of one kind went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// How many ended.
    pub ended: u64,
    /// How many of them [succeeded](Outcome::succeeded).
    pub succeeded: u64,
    /// How many had no time left.
    pub timed_out: u64,
    /// Of lookups: how many found all of the closest nodes.
    pub complete: u64,
    /// Of lookups: closest nodes that were found, of [`wanted`](Self::wanted).
    pub found: u64,
    /// Of lookups: closest nodes that there were.
    pub wanted: u64,
    /// How long they took.
    pub latencies: Latencies,
    /// Messages that they sent.
    pub requests: u64,
    /// Of lookups: how many led over so many hops.
    pub hops: [u64; MOST_HOPS],
}

impl Tally {
    fn take(&mut self, outcome: &Outcome) {
        self.ended += 1;
        self.succeeded += u64::from(outcome.succeeded);
        self.timed_out += u64::from(outcome.timed_out);
        self.found += outcome.found as u64;
        self.wanted += outcome.wanted as u64;
        self.complete += u64::from(outcome.wanted > 0 && outcome.found == outcome.wanted);
        self.latencies.add(outcome.took);
        self.requests += u64::from(outcome.requests);
        if let Some(hops) = outcome.hops {
            let at = (hops as usize).min(MOST_HOPS - 1);
            if let Some(count) = self.hops.get_mut(at) {
                *count += 1;
            }
        }
    }

    /// The share that succeeded; 1 if there were none.
    #[must_use]
    pub fn success(&self) -> f64 {
        share(self.succeeded, self.ended)
    }

    /// The share of the closest nodes that were found.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.found, self.wanted)
    }

    /// The share of lookups that found all of the closest nodes.
    #[must_use]
    pub fn completeness(&self) -> f64 {
        share(self.complete, self.ended)
    }

    /// Messages of each, on average.
    #[must_use]
    pub fn requests_mean(&self) -> f64 {
        self.requests as f64 / self.ended.max(1) as f64
    }

    /// Hops of each, on average.
    #[must_use]
    pub fn hops_mean(&self) -> f64 {
        let all: u64 = self.hops.iter().sum();
        let sum: u64 = (0..).zip(self.hops).map(|(hops, count)| hops * count).sum();
        sum as f64 / all.max(1) as f64
    }
}

/// The 95 % confidence interval of a share (Wilson's).
#[must_use]
pub fn confidence(succeeded: u64, of: u64) -> (f64, f64) {
    const Z: f64 = 1.96;
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (of as f64, succeeded as f64 / of as f64);
    let middle = p + Z * Z / (2.0 * n);
    let around = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let all = 1.0 + Z * Z / n;
    (
        ((middle - around) / all).max(0.0),
        ((middle + around) / all).min(1.0),
    )
}

pub(super) fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        return 1.0;
    }
    part as f64 / of as f64
}

/// What tables are like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Nodes with a table that were looked at: the servers that are there.
    pub tables: u64,
    /// Entries of all.
    pub entries: u64,
    /// Entries of peers that are not there.
    pub dead: u64,
    /// Nodes that know all of the 20 nodes closest to them.
    pub know_all: u64,
    /// Nodes that know fewer than 18 of them.
    pub know_few: u64,
}

impl Health {
    /// Looks into all tables.
    #[must_use]
    pub fn of(world: &KadWorld) -> Self {
        let mut health = Self::default();
        for number in 0..world.len() {
            if world.role(number) != Some(Role::Server) {
                continue;
            }
            let Some(dht) = world.dht(number) else {
                continue;
            };
            let near = world.closest(dht.table().local(), WANTED + 1);
            let near = near.into_iter().filter(|other| *other != number);
            let near = near.take(WANTED).filter_map(|other| world.peer(other));
            health.add(dht.table(), near, |peer| {
                let number = world.number(peer);
                number.is_some_and(|number| world.is_up(number))
            });
        }
        health
    }

    /// Looks into the table of one node: whom it should know, and who is there.
    pub(super) fn add(
        &mut self,
        table: &RoutingTable,
        near: impl Iterator<Item = PeerId>,
        is_there: impl Fn(&PeerId) -> bool,
    ) {
        self.tables += 1;
        for entry in table.iter() {
            self.entries += 1;
            self.dead += u64::from(!is_there(entry.peer()));
        }
        let (mut wanted, mut known) = (0, 0);
        for peer in near {
            wanted += 1;
            known += u64::from(table.contains(&peer));
        }
        self.know_all += u64::from(known == wanted);
        self.know_few += u64::from(known + 2 < wanted);
    }

    /// The share of entries that are dead.
    #[must_use]
    pub fn dead_share(&self) -> f64 {
        self.dead as f64 / self.entries.max(1) as f64
    }

    /// Entries of each table, on average.
    #[must_use]
    pub fn entries_mean(&self) -> f64 {
        self.entries as f64 / self.tables.max(1) as f64
    }
}

/// A part of the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) lookups: u64,
    pub(super) succeeded: u64,
    pub(super) complete: u64,
    pub(super) hops: u64,
    pub(super) latencies: Latencies,
}

/// How a workload went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What the world was begun with.
    pub seed: u64,
    /// Nodes there are.
    pub nodes: u32,
    /// Nodes that are there at the end.
    pub up: u32,
    /// Clients among all.
    pub clients: u32,
    /// Lookups of random keys.
    pub lookups: Tally,
    /// Records that were stored.
    pub puts: Tally,
    /// Records that were looked for.
    pub gets: Tally,
    /// Announcements of providers.
    pub provides: Tally,
    /// Searches for providers.
    pub providers: Tally,
    /// Operations that nobody could begin.
    pub not_begun: u64,
    /// What went between nodes meanwhile.
    pub traffic: Traffic,
    /// What tables are like at the end.
    pub health: Health,
    /// The hash over all since the world began.
    pub hash: TraceHash,
    /// From the world's beginning to the end.
    pub time: Duration,
    pub(super) begin: Instant,
    pub(super) length: Duration,
    pub(super) parts: Vec<Part>,
}

impl Report {
    fn new(world: &KadWorld, length: Duration) -> Self {
        Self {
            seed: world.seed(),
            nodes: world.len(),
            up: 0,
            clients: 0,
            lookups: Tally::default(),
            puts: Tally::default(),
            gets: Tally::default(),
            provides: Tally::default(),
            providers: Tally::default(),
            not_begun: 0,
            traffic: Traffic::default(),
            health: Health::default(),
            hash: world.trace_hash(),
            time: Duration::ZERO,
            begin: world.now(),
            length,
            parts: (0..PARTS).map(|_| Part::default()).collect(),
        }
    }

    fn take(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            if outcome.began < self.begin {
                continue;
            }
            let tally = match outcome.kind {
                Kind::Closest => &mut self.lookups,
                Kind::Put => &mut self.puts,
                Kind::Get => &mut self.gets,
                Kind::Provide => &mut self.provides,
                Kind::Providers => &mut self.providers,
            };
            tally.take(&outcome);
            if outcome.kind == Kind::Closest {
                self.draw(&outcome);
            }
        }
    }

    fn draw(&mut self, outcome: &Outcome) {
        let passed = (outcome.began - self.begin).as_secs_f64();
        let at = passed / self.length.as_secs_f64().max(1e-9) * PARTS as f64;
        let Some(part) = self.parts.get_mut((at as usize).min(PARTS - 1)) else {
            return;
        };
        part.lookups += 1;
        part.succeeded += u64::from(outcome.succeeded);
        part.complete += u64::from(outcome.found == outcome.wanted);
        part.hops += u64::from(outcome.hops.unwrap_or(0));
        part.latencies.add(outcome.took);
    }

    fn finish(&mut self, world: &KadWorld, before: Traffic) {
        let all = world.traffic();
        self.traffic = Traffic {
            steps: all.steps - before.steps,
            requests: all.requests - before.requests,
            responses: all.responses - before.responses,
            bytes: all.bytes - before.bytes,
            dials: all.dials - before.dials,
            dials_failed: all.dials_failed - before.dials_failed,
            addresses_wasted: all.addresses_wasted - before.addresses_wasted,
            addresses_dialed: all.addresses_dialed - before.addresses_dialed,
        };
        let count = |is: &dyn Fn(u32) -> bool| {
            u32::try_from((0..world.len()).filter(|number| is(*number)).count()).unwrap_or(0)
        };
        self.up = count(&|number| world.is_up(number));
        self.clients = count(&|number| world.role(number) == Some(Role::Client));
        self.health = Health::of(world);
        self.hash = world.trace_hash();
        self.time = world.now() - Instant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_narrows_with_more_lookups_and_holds_the_share() {
        let (low, high) = confidence(990, 1_000);
        assert!(
            low < 0.99 && 0.99 < high && high - low < 0.02,
            "{low} {high}"
        );
        let (few_low, few_high) = confidence(99, 100);
        assert!(few_high - few_low > high - low);
        assert_eq!(confidence(0, 0), (0.0, 1.0));
        assert!(confidence(10, 10).1 <= 1.0 && confidence(10, 10).0 > 0.6);
    }
}
