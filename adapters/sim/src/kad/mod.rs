//! Thousands of Kademlia nodes at the level of messages: a message is one call, no byte is framed, no stream opened.
//!
//! A [`KadWorld`] holds many machines of [`drywire::protocol::kad::Dht`] in virtual time. Messages take the time that the
//! regions of their nodes are apart; a first message has to dial; connections close when they are idle; nodes identify each
//! other when they meet; nodes leave and come back as measured in the public DHT. Everything follows from one seed.
//!
//! ```
//! use core::time::Duration;
//! use drywire_sim::kad::{KadConfig, KadWorld, Operation};
//!
//! let mut world = KadWorld::new(7, KadConfig::nodes(50))?;
//! world.populate()?;
//! world.start(12, Operation::Closest(b"some key".to_vec()));
//! world.run_for(Duration::from_secs(60))?;
//! let outcome = world.take_outcomes().pop().ok_or("it has ended")?;
//! // Of the twenty closest of all nodes, so many were found.
//! assert_eq!((outcome.found, outcome.wanted), (20, 20));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Workload`] has nodes look things up and gathers a [`Report`]; [`attacks`] are experiments with nodes that lie.
//! [`full_stack`] is the other way to look at it: whole nodes on real connections, some hundred of them.
//!
//! What is checked while it runs, of every node: I36 to I39, by [`Dht::audit`](drywire::protocol::kad::Dht::audit) and by
//! looking at each message and each result.

mod adversary;
pub mod attacks;
mod config;
mod deliver;
pub mod full_stack;
mod join;
mod member;
mod operation;
mod picture;
mod truth;
mod workload;

pub use adversary::{Adversary, Answer, Asked, View, echo, response};
pub use config::{Join, KadChurn, KadConfig, node_config};
pub use member::Role;
pub use operation::{Kind, Operation, Outcome};
pub use workload::{Health, Report, Tally, Workload, confidence};

use crate::{
    agenda::Agenda,
    chance::Chance,
    error::WorldError,
    network::{HostId, Region},
    trace::{Trace, TraceHash},
    violation::Violation,
};
use bytes::Bytes;
use core::{fmt, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        Dht, Key, QueryOptions,
        dht::{Moment, RpcFailure, RpcId},
    },
    seed::Seed,
    time::{Instant, UnixTime},
};
use member::Member;
use operation::Watch;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use truth::Truth;

/// How many peers a lookup should find.
const WANTED: usize = 20;
/// The wall clock when the world begins.
const EPOCH: UnixTime = UnixTime::from_secs(1_800_000_000);
/// The trace hash tells these from what a [`World`](crate::World) does.
const TRACE_MESSAGE: u8 = 16;

/// What is to happen.
#[derive(Debug)]
enum Step {
    Request {
        from: u32,
        to: u32,
        lives: (u32, u32),
        rpc: Option<RpcId>,
        message: Bytes,
        responds: bool,
    },
    Response {
        to: u32,
        from: u32,
        life: u32,
        rpc: RpcId,
        response: Result<Bytes, RpcFailure>,
    },
    Sent {
        to: u32,
        life: u32,
        rpc: RpcId,
    },
    Wake(u32, u32),
    Idle(u32, u32),
    /// A connection of the first ended because the second has gone.
    Lost(u32, u32),
    Leave(u32),
    Return(u32),
    Join(u32),
}

/// What is to happen, in the order of its time. The agenda holds numbers: it moves its entries about a lot, and messages are
/// large.
#[derive(Debug)]
struct Plans {
    agenda: Agenda<usize>,
    steps: Slab<Step>,
}

impl Plans {
    fn enter(&mut self, at: Instant, step: Step) {
        let key = self.steps.insert(step);
        self.agenda.enter(at, key);
    }

    fn next(&self) -> Option<Instant> {
        self.agenda.next()
    }

    fn pop_due(&mut self, now: Instant) -> Option<Step> {
        let key = self.agenda.pop_due(now)?;
        self.steps.try_remove(key)
    }
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            agenda: Agenda::new(None),
            steps: Slab::new(),
        }
    }
}

/// Who is to have an answer.
#[derive(Clone, Copy, Debug)]
struct Asker {
    number: u32,
    life: u32,
    rpc: Option<RpcId>,
}

/// What went between nodes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Things that happened: arrivals, deadlines, departures.
    pub steps: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Responses that arrived.
    pub responses: u64,
    /// Bytes of requests and responses.
    pub bytes: u64,
    /// Connections that were dialed.
    pub dials: u64,
    /// Dials of nobody: the peer is away, or is not where it is said to be.
    pub dials_failed: u64,
    /// Addresses that were dialed in vain, if [addresses are checked](KadConfig::check_addresses).
    pub addresses_wasted: u64,
    /// Addresses that were dialed, if they are checked.
    pub addresses_dialed: u64,
}

/// Many nodes of a DHT, see the [module](self).
pub struct KadWorld {
    config: KadConfig,
    seed: u64,
    now: Instant,
    agenda: Plans,
    members: Vec<Member>,
    numbers: HashMap<PeerId, u32>,
    /// When the last message went over a connection.
    links: HashMap<(u32, u32), Instant>,
    answering: HashMap<u64, Asker>,
    answered: u64,
    settled: u64,
    servers: Truth,
    attackers: Truth,
    adversary: Option<Box<dyn Adversary>>,
    parted: Option<Vec<bool>>,
    chance: Chance,
    trace: Trace,
    traffic: Traffic,
    outcomes: VecDeque<Outcome>,
    violation: Option<Box<Violation>>,
}

impl KadWorld {
    /// The nodes are there, and none knows another: see [`populate`](Self::populate).
    ///
    /// # Errors
    /// [`WorldError`] names the first number that makes no sense.
    pub fn new(seed: u64, config: KadConfig) -> Result<Self, WorldError> {
        config.check()?;
        let root = Seed::for_tests(seed);
        let mut world = Self {
            config,
            seed,
            now: Instant::ZERO + Duration::from_secs(1),
            agenda: Plans::default(),
            members: Vec::new(),
            numbers: HashMap::new(),
            links: HashMap::new(),
            answering: HashMap::new(),
            answered: 0,
            settled: 0,
            servers: Truth::default(),
            attackers: Truth::default(),
            adversary: None,
            parted: None,
            chance: Chance::new(&root, "messages"),
            trace: Trace::new(0),
            traffic: Traffic::default(),
            outcomes: VecDeque::new(),
            violation: None,
        };
        let mut chance = Chance::new(&root, "nodes");
        let mut positions = Vec::with_capacity(world.config.nodes);
        for number in 0..world.config.nodes {
            let is_client =
                number >= world.config.bootstrappers && chance.happens(world.config.clients);
            let role = if is_client {
                Role::Client
            } else {
                Role::Server
            };
            let (peer, address) = (
                member::draw_peer(&mut chance),
                member::draw_address(&mut chance),
            );
            let number = world.enlist(peer, address, role, &mut chance);
            if !is_client {
                positions.push((Key::of_peer(&peer), number));
            }
        }
        world.servers = Truth::of(positions);
        Ok(world)
    }

    fn enlist(&mut self, peer: PeerId, address: Multiaddr, role: Role, chance: &mut Chance) -> u32 {
        let number = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.members.push(Member {
            peer,
            position: Key::of_peer(&peer),
            address,
            others: Vec::new(),
            region: crate::population::somewhere(chance),
            role,
            dht: None,
            up: false,
            life: 0,
            since: self.now,
            wake: None,
            links: Vec::new(),
            watched: Vec::new(),
            chance: chance.child(),
        });
        self.numbers.insert(peer, number);
        number
    }

    /// Adds a node that does as the [adversary](Self::set_adversary) wants. It is there at once, and known to those who come
    /// to know their peers later.
    pub fn add_attacker(&mut self, peer: PeerId, address: Multiaddr) -> u32 {
        let mut chance = Chance::new(&Seed::for_tests(self.seed), "attackers");
        for _ in 0..self.members.len() % 64 {
            chance.number();
        }
        let number = self.enlist(peer, address, Role::Attacker, &mut chance);
        if let Some(member) = self.members.get_mut(number as usize) {
            member.up = true;
            self.attackers.insert(member.position, number);
        }
        number
    }

    /// A node says, to those it meets from now on, that it may be reached at these addresses, too.
    pub fn claim(&mut self, number: u32, addresses: Vec<Multiaddr>) {
        if let Some(member) = self.member_mut(number) {
            member.others = addresses;
        }
    }

    /// Who decides what attackers answer.
    pub fn set_adversary(&mut self, adversary: impl Adversary + 'static) {
        self.adversary = Some(Box::new(adversary));
    }

    /// A stream of draws of its own, named `label`.
    #[must_use]
    pub fn draws(&self, label: &str) -> Chance {
        Chance::new(&Seed::for_tests(self.seed), label)
    }

    /// Its settings.
    #[must_use]
    pub const fn config(&self) -> &KadConfig {
        &self.config
    }

    /// What it was begun with.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Both clocks of all nodes.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            unix: EPOCH.saturating_add(self.now - Instant::ZERO),
        }
    }

    /// A hash over all messages that arrived so far, and when. Equal runs have equal hashes.
    #[must_use]
    pub fn trace_hash(&self) -> TraceHash {
        self.trace.value()
    }

    /// What went between nodes so far.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How many nodes there are, attackers included.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is no node. There always are some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who a node is.
    #[must_use]
    pub fn peer(&self, number: u32) -> Option<PeerId> {
        self.member(number).map(|member| member.peer)
    }

    /// The node of a peer.
    #[must_use]
    pub fn number(&self, peer: &PeerId) -> Option<u32> {
        self.numbers.get(peer).copied()
    }

    /// Where a node may be reached.
    #[must_use]
    pub fn address(&self, number: u32) -> Option<&Multiaddr> {
        self.member(number).map(|member| &member.address)
    }

    /// What a node is there for.
    #[must_use]
    pub fn role(&self, number: u32) -> Option<Role> {
        self.member(number).map(|member| member.role)
    }

    /// Whether a node is there.
    #[must_use]
    pub fn is_up(&self, number: u32) -> bool {
        self.member(number).is_some_and(|member| member.up)
    }

    /// The machine of a node; `None` while it is away, and of attackers.
    #[must_use]
    pub fn dht(&self, number: u32) -> Option<&Dht> {
        self.member(number)?.dht.as_deref()
    }

    /// Does something with the machine of a node, and then what it wants.
    pub fn with<R>(&mut self, number: u32, run: impl FnOnce(&mut Dht, Moment) -> R) -> Option<R> {
        let at = self.moment();
        let dht = self.member_mut(number)?.dht.as_deref_mut()?;
        let result = run(dht, at);
        self.settle(number);
        Some(result)
    }

    fn member(&self, number: u32) -> Option<&Member> {
        self.members.get(number as usize)
    }

    fn member_mut(&mut self, number: u32) -> Option<&mut Member> {
        self.members.get_mut(number as usize)
    }

    /// Tells a node to do something; whether it can. What becomes of it is among the
    /// [outcomes](Self::take_outcomes) once it is over.
    pub fn start(&mut self, number: u32, operation: Operation) -> bool {
        self.start_with(number, operation, QueryOptions::new())
    }

    /// The same, with options for its lookup.
    pub fn start_with(&mut self, number: u32, operation: Operation, options: QueryOptions) -> bool {
        let (at, now) = (self.moment(), self.now);
        let Some(member) = self.member_mut(number) else {
            return false;
        };
        let Some(dht) = member.dht.as_deref_mut() else {
            return false;
        };
        let begun = match operation.clone() {
            Operation::Closest(key) => dht.get_closest_peers(at, &key, options),
            Operation::Put(record, quorum) => dht.put_record(at, record, quorum, options),
            Operation::Get(key) => dht.get_record(at, key, options),
            Operation::Provide(key) => dht.start_providing(at, key),
            Operation::Providers(key) => dht.get_providers(at, key, options),
        };
        let is_begun = begun.is_ok();
        if let Ok(id) = begun {
            member.watched.push(Watch::new(id, &operation, now));
        }
        self.settle(number);
        is_begun
    }

    /// What has ended since the last call.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        self.outcomes.drain(..).collect()
    }

    /// Operations that are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.members.iter().map(|member| member.watched.len()).sum()
    }

    /// The servers closest to a position that are there, the closest first: what a lookup should find.
    #[must_use]
    pub fn closest(&self, target: &Key, count: usize) -> Vec<u32> {
        self.servers
            .closest(target, count, |number| self.is_up(number))
    }

    /// Parts the nodes of which this is true from all others: what they send each other is lost.
    pub fn part(&mut self, side: impl Fn(u32) -> bool) {
        self.parted = Some((0..self.len()).map(side).collect());
    }

    /// Undoes [`part`](Self::part).
    pub fn heal(&mut self) {
        self.parted = None;
    }

    fn is_parted(&self, one: u32, other: u32) -> bool {
        let Some(sides) = &self.parted else {
            return false;
        };
        sides.get(one as usize) != sides.get(other as usize)
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Box<Violation>> {
        let end = self.now.saturating_add(time);
        while let Some(at) = self.agenda.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            if let Some(step) = self.agenda.pop_due(self.now) {
                self.traffic.steps += 1;
                self.take_step(step);
            }
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = end;
        Ok(())
    }

    /// Lets time pass until no operation is under way, at most so long.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run_until_done(&mut self, longest: Duration) -> Result<(), Box<Violation>> {
        let end = self.now.saturating_add(longest);
        while self.under_way() > 0 && self.now < end {
            self.run_for(Duration::from_secs(1).min(end - self.now))?;
        }
        Ok(())
    }

    /// Checks what every machine promises about itself.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn audit(&mut self) -> Result<(), Box<Violation>> {
        for number in 0..self.len() {
            self.audit_one(number);
        }
        self.violation.take().map_or(Ok(()), Err)
    }

    fn audit_one(&mut self, number: u32) {
        let Some(dht) = self.dht(number) else {
            return;
        };
        if let Err(message) = dht.audit() {
            self.violate(number, "I36 the table is what it should be", message);
        }
    }

    fn violate(&mut self, number: u32, invariant: &'static str, message: String) {
        if self.violation.is_none() {
            let name = HostId(number).to_string();
            self.violation = Some(Box::new(Violation {
                invariant,
                message,
                host: Some(HostId(number)),
                name,
                at: self.now,
                step: self.traffic.steps,
                seed: self.seed,
                trace: self.trace.lines().collect(),
            }));
        }
    }

    fn base_latency(&self, one: u32, other: u32) -> Duration {
        self.config.latency.unwrap_or_else(|| {
            let region = |number| self.member(number).map_or(Region::Europe, |m| m.region);
            region(one).round_trip(region(other)) / 2
        })
    }

    /// How long a message travels.
    fn travel(&mut self, one: u32, other: u32) -> Duration {
        let mut time = self.base_latency(one, other);
        let (jitter, spikes) = (self.config.link.jitter, self.config.link.spikes);
        if jitter > 0.0 {
            time = time.mul_f64(self.chance.log_normal(jitter));
        }
        if self.chance.happens(spikes) {
            time += self
                .chance
                .pareto(Duration::from_millis(100), 1.5, Duration::from_secs(5));
        }
        time
    }
}

impl fmt::Debug for KadWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KadWorld")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("nodes", &self.members.len())
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
