//! Hosts and the network between them, in virtual time.

mod application;
mod builder;
mod commands;
mod host;
mod machine;
mod node;
mod outside;
mod pipe;
mod run;
mod tasks;
mod watch;

pub use application::{Application, Events, HostContext};
pub use builder::Outcome;
pub use host::{Host, HostBuilder, PORT};
pub use tasks::Stopped;

pub(crate) use node::LOOKUP;
pub(crate) use outside::{Clock, Names};

use crate::{
    agenda::Agenda,
    chance::Chance,
    chronicle::{Chronicle, Moment},
    error::WorldError,
    fault::Fault,
    network::{HostId, Network, PartitionId},
    runtime::Shared,
    statistics::Statistics,
    trace::{Trace, TraceHash},
    violation::Violation,
};
use core::{fmt, ops::DerefMut, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    recording::SharedRecorder,
    seed::Seed,
    time::{Instant, UnixTime},
};
use machine::Machine;
use outside::{Outside, Patience};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use watch::Invariant;

/// When worlds begin, by their clocks.
const BEGINS: Instant = Instant::from_nanos(1_000_000_000);
/// 20 November 2026: when worlds begin, by their calendars.
const BEGINNING: UnixTime = UnixTime::from_secs(1_795_132_800);
/// Lines of the trace that are kept for reports.
const TRACE_LINES: usize = 200;
/// Wakes of one host in a row at one instant, before it is said to loop.
const MAX_WAKES: u32 = 1_000;

/// If everything is to be checked, hosts without a turn are too, so often, as long as no more such checks come in a row.
const CHECK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
const MAX_CHECKS: u32 = 600;

/// Something the world does at its time.
enum Job {
    /// The deadline of a host, if this is still it.
    Wake(HostId, Instant),
    Script(Box<dyn FnOnce(&mut World)>),
}

/// Makes a recorder for a host of this name.
type MakeRecorder = Box<dyn FnMut(&str) -> SharedRecorder>;

/// Makes a host's node anew: with its key, or with another one.
type Maker = Box<dyn FnMut(&mut World, HostId, bool) -> Result<Box<dyn Machine>, WorldError>>;

struct HostState {
    name: String,
    machine: Option<Box<dyn Machine>>,
    /// `None` while it is at work, and for hosts without a node.
    maker: Option<Maker>,
    address: Option<Multiaddr>,
    patience: Patience,
    clock: Clock,
    /// How likely its timers are late, and by how much at most.
    late_timers: (f64, Duration),
    /// When it is to be woken.
    armed: Option<Instant>,
    /// When the agenda has it woken: then, and at times that once counted, and may again.
    wakes: BTreeSet<Instant>,
    /// Wakes at one instant.
    woken: (Instant, u32),
}

/// A network of hosts in virtual time. All that happens follows from its seed and from what it is told.
///
/// ```
/// use core::time::Duration;
/// use drywire_sim::{HostBuilder, Link, World};
///
/// let mut world = World::new(7);
/// world.set_default_link(Link::default().latency(Duration::from_millis(40)).loss(0.01))?;
/// let alice = world.add(HostBuilder::standard("alice"))?;
/// let bob = world.add(HostBuilder::standard("bob"))?;
/// world.dial(alice, bob)?;
/// assert!(world.run_until(Duration::from_secs(5), |world| world.are_connected(alice, bob))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct World {
    number: u64,
    seed: Seed,
    now: Instant,
    unix_start: UnixTime,
    /// The network, and what tasks share with the world.
    shared: Arc<Shared>,
    hosts: Vec<HostState>,
    names: BTreeMap<String, HostId>,
    /// What parts hosts now.
    partitions: BTreeMap<PartitionId, Fault>,
    /// Who each host is and was; nobody for hosts without a node.
    identities: Vec<Vec<PeerId>>,
    agenda: Agenda<Job>,
    chance: Chance,
    trace: Trace,
    statistics: Statistics,
    chronicle: Option<Chronicle>,
    /// Hosts are checked after each so many steps; 0: never.
    check_every: u64,
    next_check: Instant,
    record_to: Option<MakeRecorder>,
    violation: Option<Violation>,
    /// What must hold after each step, besides what the world knows of.
    invariants: Vec<Invariant>,
    addresses_given: u32,
    /// Polls of tasks at one instant.
    polled: (Instant, u32),
}

impl World {
    /// A world without hosts, decided by this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let number = seed;
        let seed = Seed::for_tests(seed).derive("world");
        let network = Network::new(&seed.derive("network"));
        Self {
            number,
            now: BEGINS,
            unix_start: BEGINNING,
            shared: Shared::new(network, BEGINS, BEGINNING),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            partitions: BTreeMap::new(),
            identities: Vec::new(),
            agenda: Agenda::new(None),
            chance: Chance::new(&seed, "world"),
            trace: Trace::new(TRACE_LINES),
            statistics: Statistics::default(),
            chronicle: None,
            check_every: 1,
            next_check: Instant::ZERO,
            record_to: None,
            violation: None,
            invariants: Vec::new(),
            addresses_given: 0,
            polled: (Instant::ZERO, 0),
            seed,
        }
    }

    /// The seed it was made with.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.number
    }

    /// Virtual time. A world begins at one second, so that there is a time before it.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// How long the world has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - BEGINS
    }

    /// The network, to look at, and for sockets that no node owns. Async code must not run while this is held.
    #[must_use]
    pub fn network(&mut self) -> impl DerefMut<Target = Network> + use<'_> {
        self.shared.network()
    }

    /// Draws for scripts, from the world's seed.
    #[must_use]
    pub const fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// A stream of draws of its own for a script, from the world's seed and this label. Draws of others do not shift it.
    #[must_use]
    pub fn draws(&self, label: &str) -> Chance {
        Chance::new(&self.seed.derive("scripts"), label)
    }

    /// A hash over everything hosts were given and gave so far. The same seed and the same script give the same hash, at
    /// every optimisation level.
    #[must_use]
    pub fn trace_hash(&self) -> TraceHash {
        self.trace.value()
    }

    /// The last lines of the trace: what happened, for people.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.trace.lines().collect()
    }

    /// How many lines of the trace to keep: 200 by default. Without any, large worlds are a good deal faster.
    pub fn keep_trace(&mut self, lines: usize) {
        self.trace.keep(lines);
    }

    /// Checks invariants after every so many steps. 1 by default; 0 is never.
    pub const fn check_every(&mut self, steps: u64) {
        self.check_every = steps;
    }

    /// Keeps from now on what a picture of the run needs. Of before it tells only which hosts are up.
    pub fn keep_chronicle(&mut self) {
        if self.chronicle.is_some() {
            return;
        }
        self.chronicle = Some(Chronicle::default());
        for host in self.hosts() {
            if self.network().is_up(host) {
                self.moment(Some(host), Moment::Up);
            }
        }
    }

    /// What happened when and where, if it was [kept](Self::keep_chronicle).
    #[must_use]
    pub const fn chronicle(&self) -> Option<&Chronicle> {
        self.chronicle.as_ref()
    }

    /// How many things have happened: [`Statistics::steps`], at no cost.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.statistics.steps
    }

    /// Counts of what happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let mut all = self.statistics.clone();
        let network = self.shared.network();
        all.bytes = network.bytes();
        all.faults.add(network.faults());
        all
    }

    /// The first invariant that did not hold, if any.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The hosts, in the order they were added.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len()).map(|number| HostId(number as u32))
    }

    /// The name of a host.
    #[must_use]
    pub fn name(&self, host: impl Into<HostId>) -> &str {
        let host = self.hosts.get(host.into().number());
        host.map_or("", |host| host.name.as_str())
    }

    /// The host of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<HostId> {
        self.names.get(name).copied()
    }

    fn host_mut(&mut self, host: HostId) -> Result<&mut HostState, WorldError> {
        let found = self.hosts.get_mut(host.number());
        found.ok_or(WorldError::UnknownHost(host))
    }

    /// Gives a host a turn, with everything around it.
    fn turn<R>(
        &mut self,
        host: HostId,
        run: impl FnOnce(&mut dyn Machine, &mut Outside<'_>) -> R,
    ) -> Option<R> {
        let due = self.is_check_due();
        let state = self.hosts.get_mut(host.number())?;
        let machine = state.machine.as_mut()?;
        let mut network = self.shared.network();
        let names = self.shared.names();
        let mut outside = Outside {
            host,
            name: &state.name,
            now: self.now,
            clock: state.clock,
            unix_start: self.unix_start,
            network: &mut network,
            trace: &mut self.trace,
            statistics: &mut self.statistics,
            chronicle: self.chronicle.as_mut(),
            names: &names,
            identities: &self.identities,
            // Several timers in a row may each be late.
            patience: state.patience.and(state.late_timers.1 * 3),
            checks: self.check_every == 1,
            seed: self.number,
            violation: &mut self.violation,
        };
        let result = run(machine.as_mut(), &mut outside);
        if due {
            machine.check(&mut outside);
        }
        drop((network, names));
        self.arm(host);
        Some(result)
    }

    /// Sees to it that a host is woken when it wants to be.
    fn arm(&mut self, host: HostId) {
        let Some(state) = self.hosts.get_mut(host.number()) else {
            return;
        };
        let wanted = state
            .machine
            .as_ref()
            .and_then(|machine| machine.deadline());
        let Some(wanted) = wanted else {
            state.armed = None;
            return;
        };
        let ahead = u64::try_from(state.clock.ahead.as_nanos()).unwrap_or(u64::MAX);
        let at = Instant::from_nanos(wanted.as_nanos().saturating_sub(ahead)).max(self.now);
        if state.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        let (probability, longest) = state.late_timers;
        let late = if self.chance.happens(probability) {
            self.statistics.faults.count(Fault::LateTimer);
            self.chance.time(longest)
        } else {
            Duration::ZERO
        };
        let at = at + late;
        state.armed = Some(at);
        if state.wakes.insert(at) {
            self.agenda.enter(at, Job::Wake(host, at));
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.number)
            .field("now", &self.now)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}
