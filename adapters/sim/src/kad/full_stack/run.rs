//! A run: nodes join, and look keys up while others leave and come back.

use super::{
    super::{Health, WANTED, truth::Truth},
    Figures, FullStack, FullStackError, KadNode, KadNodeEvent,
};
use crate::{
    chance::Chance,
    network::Link,
    statistics::Latencies,
    usage::{resident, thread_cpu},
    world::{Application, Host, HostBuilder, HostContext, World},
};
use core::time::Duration;
use drywire::{
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    node::NodeEvent,
    protocol::{
        identify::Identify,
        kad::{
            Event, GetClosestPeersError, GetClosestPeersOk, Kademlia, Key, Mode, QueryId,
            QueryResult,
        },
    },
    seed::Seed,
    swarm,
    time::Instant,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Nodes that never leave.
const STAYING: usize = 3;
/// A lookup is looked after so often.
const STEP: Duration = Duration::from_millis(10);
/// The longest a lookup takes, and some more.
const LAST_WORDS: Duration = Duration::from_secs(150);

/// A query, and on which node.
type Begun = (Host<KadNode, Listener>, QueryId);

/// The last word of a lookup.
#[derive(Debug, Default)]
struct Ended {
    peers: Vec<PeerId>,
    requests: u32,
    timed_out: bool,
}

/// Keeps the last words of queries, and nothing else.
#[derive(Debug, Default)]
struct Listener {
    ended: BTreeMap<QueryId, Ended>,
}

impl Application<KadNode> for Listener {
    fn handle(&mut self, event: NodeEvent<KadNodeEvent>, _: &mut HostContext<'_, KadNode>) {
        let NodeEvent::Swarm(swarm::Event::Protocol(KadNodeEvent::Kad(
            Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            },
        ))) = event
        else {
            return;
        };
        if !step.last {
            return;
        }
        let timed_out = matches!(
            result,
            QueryResult::GetClosestPeers(Err(GetClosestPeersError::Timeout { .. }))
        );
        let peers = match result {
            QueryResult::GetClosestPeers(
                Ok(GetClosestPeersOk { peers, .. })
                | Err(GetClosestPeersError::Timeout { peers, .. }),
            ) => peers.into_iter().map(|info| info.peer).collect(),
            _ => Vec::new(),
        };
        let requests = stats.num_requests();
        self.ended.insert(
            id,
            Ended {
                peers,
                requests,
                timed_out,
            },
        );
    }

    fn handle_timeout(&mut self, _: &mut HostContext<'_, KadNode>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A node of the run.
#[derive(Clone, Debug)]
struct Running {
    host: Host<KadNode, Listener>,
    peer: PeerId,
    address: Multiaddr,
    up: bool,
}

/// Starts all nodes, in plaintext; each but the first knows one before it and bootstraps. Then nodes drawn at random look up
/// random keys. `progress` is told what is being done.
///
/// # Errors
/// [`FullStackError`], if something is wrong with this program.
pub fn run(plan: &FullStack, mut progress: impl FnMut(&str)) -> Result<Figures, FullStackError> {
    let before = Meter::now();
    let mut run = Run::new(plan)?;
    let bootstrapped = run.join(&mut progress)?;
    let after = Meter::now();
    let nodes = &run.nodes;
    let ends = nodes
        .iter()
        .map(|node| run.world.connection_count(node.host));
    let connection_ends = ends.sum();
    let mut figures = Figures {
        nodes: plan.nodes,
        bootstrapped,
        ended: 0,
        timed_out: 0,
        lost: 0,
        complete: 0,
        found: 0,
        wanted: 0,
        latencies: Latencies::new(),
        requests: 0,
        departures: 0,
        up: 0,
        health: Health::default(),
        bootstrap_cpu: after.cpu_since(&before),
        lookup_cpu: None,
        resident: after.resident_since(&before),
        connection_ends,
        hash: run.world.trace_hash(),
    };
    run.begin_churn()?;
    for number in 0..plan.lookups {
        if number % 50 == 0 {
            progress(&format!("{number} of {} lookups", plan.lookups));
        }
        let next = run.world.now() + plan.every;
        run.look_up(&mut figures)?;
        run.advance_to(next)?;
    }
    figures.lookup_cpu = Meter::now().cpu_since(&after);
    figures.departures = run.departures;
    figures.up = run.nodes.iter().filter(|node| node.up).count();
    figures.health = run.health();
    figures.hash = run.world.trace_hash();
    Ok(figures)
}

struct Run<'a> {
    plan: &'a FullStack,
    world: World,
    nodes: Vec<Running>,
    chance: Chance,
    /// The positions of those that are there.
    truth: Truth,
    /// When nodes leave that are there, and come back that are not.
    agenda: BTreeSet<(Instant, usize)>,
    departures: usize,
}

impl<'a> Run<'a> {
    fn new(plan: &'a FullStack) -> Result<Self, FullStackError> {
        let mut world = World::new(plan.seed);
        world.keep_trace(0);
        world.check_every(100_000);
        world.set_default_link(Link::default().latency(plan.latency))?;
        let mut nodes = Vec::with_capacity(plan.nodes);
        for number in 0..plan.nodes {
            nodes.push(start(&mut world, plan, number)?);
        }
        let positions = nodes.iter().zip(0..);
        let truth = Truth::of(
            positions
                .map(|(node, number)| (Key::of_peer(&node.peer), number))
                .collect(),
        );
        Ok(Self {
            plan,
            chance: world.draws("full stack"),
            world,
            nodes,
            truth,
            agenda: BTreeSet::new(),
            departures: 0,
        })
    }

    /// One after another bootstraps through one before it. Returns how many have done so.
    fn join(&mut self, progress: &mut impl FnMut(&str)) -> Result<usize, FullStackError> {
        let mut bootstraps = Vec::new();
        for number in 1..self.nodes.len() {
            if number % 50 == 0 {
                progress(&format!("{number} of {} nodes", self.plan.nodes));
            }
            let known = self.chance.index(number);
            bootstraps.extend(self.bootstrap(number, &[known])?);
            self.world.run_for(Duration::from_millis(100))?;
        }
        self.world.run_for(Duration::from_secs(20))?;
        let is_over = |(host, id): &Begun| {
            let listener = self.world.application(*host);
            listener.is_some_and(|listener| listener.ended.remove(id).is_some())
        };
        Ok(bootstraps.into_iter().filter(is_over).count())
    }

    fn bootstrap(
        &mut self,
        number: usize,
        known: &[usize],
    ) -> Result<Option<Begun>, FullStackError> {
        let Some(host) = self.nodes.get(number).map(|node| node.host) else {
            return Ok(None);
        };
        let known: Vec<_> = known
            .iter()
            .filter_map(|known| self.nodes.get(*known))
            .map(|known| (known.peer, known.address.clone()))
            .collect();
        let begun = self.world.with(host, |protocols, cx| {
            protocols.kad(cx, |kad, cx| {
                for (peer, address) in &known {
                    let _ = kad.add_address(*peer, address, cx);
                }
                kad.bootstrap(cx)
            })
        })?;
        Ok(begun.ok().map(|id| (host, id)))
    }

    /// As many are away as there will be at any time, and the others are in the midst of their sessions.
    fn begin_churn(&mut self) -> Result<(), FullStackError> {
        let Some(churn) = self.plan.churn else {
            return Ok(());
        };
        for number in STAYING..self.nodes.len() {
            if self.chance.happens(churn.away) {
                self.leave(number)?;
            } else {
                let rest = churn.law.rest_of_session(&mut self.chance);
                self.agenda.insert((self.world.now() + rest, number));
            }
        }
        Ok(())
    }

    /// Lets time pass, in which nodes leave and come back.
    fn advance_to(&mut self, end: Instant) -> Result<(), FullStackError> {
        while let Some((at, number)) = self.agenda.first().copied().filter(|(at, _)| *at <= end) {
            self.agenda.pop_first();
            self.world
                .run_for(at.saturating_duration_since(self.world.now()))?;
            if self.nodes.get(number).is_some_and(|node| node.up) {
                self.leave(number)?;
            } else {
                self.come_back(number)?;
            }
        }
        self.world
            .run_for(end.saturating_duration_since(self.world.now()))?;
        Ok(())
    }

    fn leave(&mut self, number: usize) -> Result<(), FullStackError> {
        let (Some(churn), Some(node)) = (self.plan.churn, self.nodes.get_mut(number)) else {
            return Ok(());
        };
        node.up = false;
        self.departures += 1;
        self.truth.remove(Key::of_peer(&node.peer), number as u32);
        if self.chance.happens(churn.law.silent) {
            self.world.lose_power(node.host)?;
        } else {
            self.world.crash(node.host)?;
        }
        let away = self.chance.exponential(churn.mean_away());
        self.agenda.insert((self.world.now() + away, number));
        Ok(())
    }

    fn come_back(&mut self, number: usize) -> Result<(), FullStackError> {
        let (Some(churn), Some(node)) = (self.plan.churn, self.nodes.get_mut(number)) else {
            return Ok(());
        };
        if self.chance.happens(churn.law.anew) {
            self.world.restart_anew(node.host)?;
        } else {
            self.world.restart(node.host)?;
        }
        node.up = true;
        node.peer = self.world.peer_id(node.host)?;
        node.address = self.world.address(node.host)?.without_peer_id();
        self.truth.insert(Key::of_peer(&node.peer), number as u32);
        let session = churn.law.session(&mut self.chance);
        self.agenda.insert((self.world.now() + session, number));
        let known: Vec<usize> = (0..STAYING.min(self.nodes.len())).collect();
        self.bootstrap(number, &known)?;
        Ok(())
    }

    /// A node that is there, drawn at random, looks up a random key.
    fn look_up(&mut self, figures: &mut Figures) -> Result<(), FullStackError> {
        let at = self.chance.index(self.nodes.len());
        let key = self.chance.number().to_le_bytes();
        let up = (at..self.nodes.len()).chain(0..at);
        let at = up
            .into_iter()
            .find(|number| self.nodes.get(*number).is_some_and(|node| node.up));
        let Some((at, host)) = at.and_then(|at| Some((at, self.nodes.get(at)?.host))) else {
            return Ok(());
        };
        let begun = self.world.with(host, |protocols, cx| {
            protocols.kad(cx, |kad, cx| kad.get_closest_peers(key, cx))
        })?;
        let Ok(id) = begun else {
            figures.lost += 1;
            return Ok(());
        };
        let start = self.world.now();
        let closest = self
            .truth
            .closest(&Key::of(&key), WANTED, |number| number as usize != at);
        let closest: Vec<PeerId> = closest
            .into_iter()
            .filter_map(|number| Some(self.nodes.get(number as usize)?.peer))
            .collect();
        let mut last = None;
        while last.is_none() && self.world.now() - start < LAST_WORDS {
            self.advance_to(self.world.now() + STEP)?;
            let is_there = self.nodes.get(at).is_some_and(|node| node.up);
            let listener = self.world.application(host).filter(|_| is_there);
            let Some(listener) = listener else { break };
            last = listener.ended.remove(&id);
        }
        let Some(ended) = last else {
            figures.lost += 1;
            return Ok(());
        };
        figures.ended += 1;
        figures.timed_out += usize::from(ended.timed_out);
        figures.requests += u64::from(ended.requests);
        figures.latencies.add(self.world.now() - start);
        let found = closest.iter().filter(|peer| ended.peers.contains(peer));
        let found = found.count();
        figures.wanted += closest.len();
        figures.found += found;
        figures.complete += usize::from(found == closest.len());
        Ok(())
    }

    /// Looks into the tables of all that are there.
    fn health(&self) -> Health {
        let up = self.nodes.iter().enumerate().filter(|(_, node)| node.up);
        let numbers: HashMap<PeerId, usize> =
            up.map(|(number, node)| (node.peer, number)).collect();
        let mut health = Health::default();
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(node) = self.world.node(node.host) else {
                continue;
            };
            let table = node.swarm().protocols().kad.dht().table();
            let near = self
                .truth
                .closest(table.local(), WANTED, |other| other as usize != number);
            let near = near
                .into_iter()
                .filter_map(|other| Some(self.nodes.get(other as usize)?.peer));
            health.add(table, near, |peer| numbers.contains_key(peer));
        }
        health
    }
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
        up: true,
    })
}

/// What this process has used, where the system tells.
struct Meter {
    cpu: Option<Duration>,
    resident: Option<u64>,
}

impl Meter {
    fn now() -> Self {
        Self {
            cpu: thread_cpu(),
            resident: resident(),
        }
    }

    fn cpu_since(&self, before: &Self) -> Option<Duration> {
        Some(self.cpu?.saturating_sub(before.cpu?))
    }

    fn resident_since(&self, before: &Self) -> Option<u64> {
        Some(self.resident?.saturating_sub(before.resident?))
    }
}
