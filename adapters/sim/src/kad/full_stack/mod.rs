//! Whole nodes with Kademlia and identify on real connections of a [`World`](crate::world::World): what a node and a lookup
//! cost, and how lookups go while nodes leave and come back.
//!
//! Over how many hops a lookup led is not told here: nobody outside of a node can know who told it of whom. The world of
//! [`KadWorld`](super::KadWorld) can.
//!
//! ```
//! use drywire_sim::kad::full_stack::{FullStack, run};
//!
//! let figures = run(&FullStack::new(8).lookups(4), |_| {})?;
//! assert_eq!((figures.bootstrapped, figures.ended), (7, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod run;

use super::{Health, KadChurn, config::node_config, workload::share};
use crate::{error::WorldError, statistics::Latencies, trace::TraceHash, violation::Violation};
use core::{fmt, time::Duration};
use drywire::{
    protocol::{
        identify::Identify,
        kad::{AddressScope, Config, Kademlia},
    },
    protocols,
};

pub use run::run;

protocols! {
    /// What every node runs.
    #[derive(Debug)]
    pub struct KadNode => KadNodeEvent {
        /// Tells peers of each other.
        pub identify: Identify => Identify,
        /// The DHT.
        pub kad: Kademlia => Kad,
    }
}

/// How much is to be done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FullStack {
    /// Nodes, at least 2.
    pub nodes: usize,
    /// Lookups of random keys, one after another.
    pub lookups: usize,
    /// The time from one lookup to the next, if it ends that soon. None: the next begins at once.
    pub every: Duration,
    /// How nodes leave and come back, from the first lookup on; `None`: they stay. Three nodes always do: those that come back
    /// know them, and bootstrap.
    pub churn: Option<KadChurn>,
    /// What everything follows from. 1.
    pub seed: u64,
    /// How long bytes travel one way. 1 ms.
    pub latency: Duration,
    /// The settings of every node: those of a private DHT, without background work.
    pub config: Config,
}

impl FullStack {
    /// So many nodes, and as many lookups.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let mut config = node_config();
        config.address_scope = AddressScope::Any;
        config.diversity = None;
        config.max_response_peers_per_group = None;
        config.automatic_bootstrap_throttle = None;
        config.periodic_bootstrap_interval = None;
        Self {
            nodes,
            lookups: nodes,
            every: Duration::ZERO,
            churn: None,
            seed: 1,
            latency: Duration::from_millis(1),
            config,
        }
    }

    /// So many lookups.
    #[must_use]
    pub const fn lookups(mut self, lookups: usize) -> Self {
        self.lookups = lookups;
        self
    }

    /// A lookup so often.
    #[must_use]
    pub const fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// With nodes that leave and come back, and bootstraps in the background as nodes have them.
    #[must_use]
    pub fn churn(mut self, churn: KadChurn) -> Self {
        let usual = node_config();
        self.config.automatic_bootstrap_throttle = usual.automatic_bootstrap_throttle;
        self.config.periodic_bootstrap_interval = usual.periodic_bootstrap_interval;
        self.churn = Some(churn);
        self
    }
}

/// What it cost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Figures {
    /// Nodes.
    pub nodes: usize,
    /// Bootstraps that ended: of all nodes but the first.
    pub bootstrapped: usize,
    /// Lookups that ended.
    pub ended: usize,
    /// Lookups that ended because there was no time left.
    pub timed_out: usize,
    /// Lookups whose node left meanwhile, or could not begin.
    pub lost: usize,
    /// Lookups that found all of the closest peers.
    pub complete: usize,
    /// Closest peers that were found, of [`wanted`](Self::wanted).
    pub found: usize,
    /// Closest peers that there were.
    pub wanted: usize,
    /// How long lookups took.
    pub latencies: Latencies,
    /// Requests of all lookups.
    pub requests: u64,
    /// How often a node left.
    pub departures: usize,
    /// Nodes that were there at the end.
    pub up: usize,
    /// What tables were like at the end.
    pub health: Health,
    /// CPU time from the first node to the last bootstrap, where the system tells.
    pub bootstrap_cpu: Option<Duration>,
    /// CPU time of all lookups.
    pub lookup_cpu: Option<Duration>,
    /// How much more memory the process has in use after the bootstraps, in bytes.
    pub resident: Option<u64>,
    /// Ends of connections after the bootstraps.
    pub connection_ends: usize,
    /// The hash of all that happened.
    pub hash: TraceHash,
}

impl Figures {
    /// CPU time of a node's start and bootstrap.
    #[must_use]
    pub fn cpu_per_node(&self) -> Option<Duration> {
        self.bootstrap_cpu?
            .checked_div(u32::try_from(self.nodes).ok()?)
    }

    /// CPU time of a lookup, of all nodes that take part.
    #[must_use]
    pub fn cpu_per_lookup(&self) -> Option<Duration> {
        self.lookup_cpu?
            .checked_div(u32::try_from(self.ended).ok()?)
    }

    /// The share of the closest peers that were found; 1 if there were none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.found as u64, self.wanted as u64)
    }

    /// Memory of a node, its connections included, in bytes.
    #[must_use]
    pub fn resident_per_node(&self) -> Option<u64> {
        self.resident?.checked_div(self.nodes as u64)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Option<Duration>| {
            time.map_or("unknown".to_owned(), |time| {
                format!("{:.2} ms", time.as_secs_f64() * 1e3)
            })
        };
        let kib = self
            .resident_per_node()
            .map_or("unknown".to_owned(), |bytes| {
                format!("{} KiB", bytes / 1024)
            });
        write!(
            f,
            "{} nodes, {} bootstraps: {} of CPU and {kib} resident for each node, {:.1} connections each\n\
             {} lookups ({} timed out, {} lost) found {} of {} closest peers, {} of them all: {} of CPU each\n\
             {:.1} requests, latency {:.3} s in the middle, {:.3} s at 95 of 100\n\
             {} departures, {} nodes at the end, {:.1} entries a table, {:.1} % of them dead, {} know all 20 closest\n\
             trace hash {}",
            self.nodes,
            self.bootstrapped,
            millis(self.cpu_per_node()),
            self.connection_ends as f64 / self.nodes.max(1) as f64,
            self.ended,
            self.timed_out,
            self.lost,
            self.found,
            self.wanted,
            self.complete,
            millis(self.cpu_per_lookup()),
            self.requests as f64 / self.ended.max(1) as f64,
            self.latencies.quantile(0.5).as_secs_f64(),
            self.latencies.quantile(0.95).as_secs_f64(),
            self.departures,
            self.up,
            self.health.entries_mean(),
            self.health.dead_share() * 100.0,
            self.health.know_all,
            self.hash
        )
    }
}

/// Why there are no figures.
#[derive(Debug)]
#[non_exhaustive]
pub enum FullStackError {
    /// The world could not be built.
    World(WorldError),
    /// An invariant did not hold.
    Violation(Box<Violation>),
}

impl fmt::Display for FullStackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(error) => error.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl core::error::Error for FullStackError {}

impl From<WorldError> for FullStackError {
    fn from(error: WorldError) -> Self {
        Self::World(error)
    }
}

impl From<Box<Violation>> for FullStackError {
    fn from(violation: Box<Violation>) -> Self {
        Self::Violation(violation)
    }
}
