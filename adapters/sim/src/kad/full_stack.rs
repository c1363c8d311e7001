//! Whole nodes with Kademlia and identify on real connections of a [`World`]: what a node and a lookup cost.
//!
//! ```
//! use drywire_sim::kad::full_stack::{FullStack, run};
//!
//! let figures = run(&FullStack::new(8).lookups(4), |_| {})?;
//! assert_eq!((figures.bootstrapped, figures.ended), (7, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{config::node_config, truth::Truth};
use crate::{
    error::WorldError,
    network::Link,
    trace::TraceHash,
    violation::Violation,
    world::{Application, Host, HostBuilder, HostContext, World},
};
use core::{fmt, time::Duration};
use drywire::{
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    node::NodeEvent,
    protocol::{
        identify::Identify,
        kad::{
            AddressScope, Config, Event, GetClosestPeersOk, Kademlia, Key, Mode, QueryId,
            QueryResult,
        },
    },
    protocols,
    seed::Seed,
    swarm,
    time::Instant,
};
use std::{collections::BTreeMap, fs};

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
    /// Closest peers that were found, of [`wanted`](Self::wanted).
    pub found: usize,
    /// Closest peers that there were.
    pub wanted: usize,
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
             {} lookups found {} of {} closest peers: {} of CPU each\ntrace hash {}",
            self.nodes,
            self.bootstrapped,
            millis(self.cpu_per_node()),
            self.connection_ends as f64 / self.nodes.max(1) as f64,
            self.ended,
            self.found,
            self.wanted,
            millis(self.cpu_per_lookup()),
            self.hash
        )
    }
}

/// Keeps the last words of queries, and nothing else.
#[derive(Debug, Default)]
struct Listener {
    ended: BTreeMap<QueryId, Vec<PeerId>>,
}

impl Application<KadNode> for Listener {
    fn handle(&mut self, event: NodeEvent<KadNodeEvent>, _: &mut HostContext<'_, KadNode>) {
        let NodeEvent::Swarm(swarm::Event::Protocol(KadNodeEvent::Kad(
            Event::OutboundQueryProgressed {
                id, result, step, ..
            },
        ))) = event
        else {
            return;
        };
        if step.last {
            let peers = match result {
                QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })) => {
                    peers.into_iter().map(|info| info.peer).collect()
                }
                _ => Vec::new(),
            };
            self.ended.insert(id, peers);
        }
    }

    fn handle_timeout(&mut self, _: &mut HostContext<'_, KadNode>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
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

/// A node of the run.
#[derive(Clone, Debug)]
struct Running {
    host: Host<KadNode, Listener>,
    peer: PeerId,
    address: Multiaddr,
}

/// Starts all nodes, in plaintext; each but the first knows one before it and bootstraps. Then nodes drawn at random look up
/// random keys. `progress` is told what is being done.
///
/// # Errors
/// [`FullStackError`], if something is wrong with this program.
pub fn run(plan: &FullStack, mut progress: impl FnMut(&str)) -> Result<Figures, FullStackError> {
    let (cpu, memory) = (thread_cpu(), resident());
    let mut world = World::new(plan.seed);
    world.keep_trace(0);
    world.check_every(100_000);
    world.set_default_link(Link::default().latency(plan.latency))?;
    let mut nodes = Vec::with_capacity(plan.nodes);
    for number in 0..plan.nodes {
        nodes.push(start(&mut world, plan, number)?);
    }
    let mut draw = world.draws("full stack");
    let mut bootstraps = Vec::new();
    for (number, node) in nodes.iter().enumerate().skip(1) {
        if number % 50 == 0 {
            progress(&format!("{number} of {} nodes", plan.nodes));
        }
        let Some(known) = nodes.get(draw.index(number)) else {
            continue;
        };
        let begun = world.with(node.host, |protocols, cx| {
            protocols.kad(cx, |kad, cx| {
                let _ = kad.add_address(known.peer, &known.address, cx);
                kad.bootstrap(cx)
            })
        })?;
        bootstraps.extend(begun.ok().map(|id| (node.host, id)));
        world.run_for(Duration::from_millis(100))?;
    }
    world.run_for(Duration::from_secs(20))?;
    let bootstrapped = bootstraps
        .iter()
        .filter(|(host, id)| ended(&mut world, *host, *id).is_some())
        .count();
    let connection_ends = nodes
        .iter()
        .map(|node| world.connection_count(node.host))
        .sum();
    let after = (thread_cpu(), resident());
    let positions = nodes.iter().zip(0..);
    let truth = Truth::of(
        positions
            .map(|(node, number)| (Key::of_peer(&node.peer), number))
            .collect(),
    );
    let mut figures = Figures {
        nodes: plan.nodes,
        bootstrapped,
        ended: 0,
        found: 0,
        wanted: 0,
        bootstrap_cpu: between(cpu, after.0),
        lookup_cpu: None,
        resident: memory
            .zip(after.1)
            .map(|(before, after)| after.saturating_sub(before)),
        connection_ends,
        hash: world.trace_hash(),
    };
    for number in 0..plan.lookups {
        if number % 50 == 0 {
            progress(&format!("{number} of {} lookups", plan.lookups));
        }
        let at = draw.index(nodes.len());
        let Some(node) = nodes.get(at) else { continue };
        let key = draw.number().to_le_bytes();
        look_up(
            &mut world,
            node,
            at as u32,
            &key,
            &truth,
            &nodes,
            &mut figures,
        )?;
    }
    figures.lookup_cpu = between(after.0, thread_cpu());
    figures.hash = world.trace_hash();
    Ok(figures)
}

fn start(world: &mut World, plan: &FullStack, number: usize) -> Result<Running, FullStackError> {
    let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(
        plan.seed.wrapping_mul(1 << 32).wrapping_add(number as u64),
    ));
    let (peer, config) = (keypair.peer_id(), plan.config.clone());
    let builder = HostBuilder::new(format!("n{number}"), move || KadNode {
        identify: Identify::default(),
        kad: Kademlia::new(config.clone()).with_mode(Mode::Server),
    });
    let builder = builder.keypair(keypair).plaintext();
    let host = world.add(builder.application(Listener::default()))?;
    let address = world.address(host)?.without_peer_id();
    Ok(Running {
        host,
        peer,
        address,
    })
}

fn ended(world: &mut World, host: Host<KadNode, Listener>, id: QueryId) -> Option<Vec<PeerId>> {
    world.application(host)?.ended.remove(&id)
}

fn look_up(
    world: &mut World,
    node: &Running,
    at: u32,
    key: &[u8],
    truth: &Truth,
    nodes: &[Running],
    figures: &mut Figures,
) -> Result<(), FullStackError> {
    let begun = world.with(node.host, |protocols, cx| {
        protocols.kad(cx, |kad, cx| kad.get_closest_peers(key, cx))
    })?;
    let Ok(id) = begun else { return Ok(()) };
    let mut peers = None;
    for _ in 0..1_000 {
        world.run_for(Duration::from_millis(10))?;
        peers = ended(world, node.host, id);
        if peers.is_some() {
            break;
        }
    }
    let Some(peers) = peers else { return Ok(()) };
    let closest = truth.closest(&Key::of(key), 20, |number| number != at);
    figures.ended += 1;
    figures.wanted += closest.len();
    let is_found = |number: &u32| {
        let node = nodes.get(*number as usize);
        node.is_some_and(|node| peers.contains(&node.peer))
    };
    figures.found += closest.iter().filter(|number| is_found(number)).count();
    Ok(())
}

fn between(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before))
}

/// The time this thread has had a core: Linux tells.
fn thread_cpu() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// The memory this process has in use, in bytes: Linux tells.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}
