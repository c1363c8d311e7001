//! Many nodes that behave as in a public network: in regions, each with a few connections, calling each other, leaving
//! and coming back.
//!
//! ```
//! use core::time::Duration;
//! use drywire_sim::population::{Churn, Population, PopulationConfig};
//!
//! let mut config = PopulationConfig::default();
//! config.nodes = 10;
//! config.connections = 4;
//! config.churn = Some(Churn::measured().faster(60.0));
//! let mut population = Population::new(7, config)?;
//! population.world().run_for(Duration::from_secs(30))?;
//! assert!(population.echoes().succeeded > 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    chance::Chance,
    chronicle::Moment,
    error::WorldError,
    network::{HostId, Link, Partition, Region},
    workload::{Echo, EchoConfig, EchoResults},
    world::{Application, Host, HostBuilder, HostContext, World},
};
use core::time::Duration;
use drywire::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    node::NodeEvent,
    protocol::Standard,
    swarm::{AttemptError, DialError, DialId, DialOptions, Event, Protocol},
    time::{Instant, earliest},
};
use std::collections::{BTreeMap, VecDeque};

/// How many of a hundred nodes are where, as in public libp2p networks, roughly.
const WHERE: [(Region, u64); 6] = [
    (Region::Europe, 35),
    (Region::NorthAmerica, 30),
    (Region::Asia, 25),
    (Region::SouthAmerica, 4),
    (Region::Oceania, 4),
    (Region::Africa, 2),
];
/// A node tries about so often to have the connections it wants.
const DIAL_EVERY: Duration = Duration::from_secs(1);
/// Invariants of hosts are checked each so many steps: checking after each would take most of the time.
const CHECK_EVERY: u64 = 1_000;

/// What a [`Population`] is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PopulationConfig {
    /// How many nodes, at least 2. 100.
    pub nodes: usize,
    /// How many connections each node has: it dials half of them, and is dialed for the others. Fewer than there are
    /// nodes. 8.
    pub connections: usize,
    /// Time between the calls of a node, each an echo over any of its connections; `None`: no calls. 1 s.
    pub echo_every: Option<Duration>,
    /// The lengths of calls, in bytes, from which each is drawn. 100.
    pub echo_lengths: Vec<usize>,
    /// Without encryption. No.
    pub plaintext: bool,
    /// How long bytes travel one way between any two nodes. `None`: it follows from the regions nodes are in.
    pub latency: Option<Duration>,
    /// Everything else about the links. 10 % jitter, no faults.
    pub link: Link,
    /// How nodes leave and come back; `None`: they stay.
    pub churn: Option<Churn>,
    /// The mean time from one partition's end to the next one's beginning; `None`: there are none. A partition parts one
    /// tenth to one half of the nodes from the others, for 5 to 30 s; in one of three cases those are still heard by nobody
    /// but hear the others.
    pub partition_every: Option<Duration>,
}

impl Default for PopulationConfig {
    fn default() -> Self {
        Self {
            nodes: 100,
            connections: 8,
            echo_every: Some(Duration::from_secs(1)),
            echo_lengths: vec![100],
            plaintext: false,
            latency: None,
            link: Link::default().jitter(0.1),
            churn: None,
            partition_every: None,
        }
    }
}

/// How nodes leave and come back.
///
/// Session lengths follow Weibull's law with a shape of 0.61 and a scale of 3.66 h, as measured in public peer-to-peer
/// networks: 18 % end within 15 minutes, half within 2 hours, 4 % last longer than a day. Nodes that are there at the
/// beginning are in the midst of theirs. Times away follow an exponential law with a mean of 30 minutes. All times are
/// divided by [`speed`](Self::speed).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Churn {
    /// How many times faster than measured. 1.
    pub speed: f64,
    /// The share of departures of which nobody is told, as when the power fails; with the others the process dies and its
    /// peers see their sockets close. 0.5.
    pub silent: f64,
    /// The share of those who come back with another key and nothing remembered. 0.2.
    pub anew: f64,
}

impl Churn {
    /// As measured.
    #[must_use]
    pub const fn measured() -> Self {
        Self {
            speed: 1.0,
            silent: 0.5,
            anew: 0.2,
        }
    }

    /// So many times faster.
    #[must_use]
    pub const fn faster(mut self, speed: f64) -> Self {
        self.speed = speed;
        self
    }

    pub(crate) fn check(self) -> Result<(), WorldError> {
        if !self.speed.is_finite() || self.speed <= 0.0 {
            let (name, value) = ("speed of churn", self.speed);
            return Err(WorldError::BadRate { name, value });
        }
        for (name, value) in [
            ("silent departures", self.silent),
            ("restarts with nothing", self.anew),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(WorldError::BadRate { name, value });
            }
        }
        Ok(())
    }

    fn scaled(self, time: Duration) -> Duration {
        // Years are as good as never.
        Duration::try_from_secs_f64(time.as_secs_f64() / self.speed)
            .unwrap_or(Duration::MAX)
            .min(Duration::from_secs(100 * 365 * 24 * 3600))
    }

    pub(crate) fn session(self, chance: &mut Chance) -> Duration {
        self.scaled(chance.weibull(Duration::from_secs(13_176), 0.61))
    }

    /// What is left of a session met at some time: long ones are met more often.
    pub(crate) fn rest_of_session(self, chance: &mut Chance) -> Duration {
        let sessions: [Duration; 16] = core::array::from_fn(|_| self.session(chance));
        let mut place = chance.time(sessions.iter().sum());
        for session in sessions {
            match place.checked_sub(session) {
                Some(rest) => place = rest,
                // As likely to be at any place of it, so what is left is distributed as what is over.
                None => return place,
            }
        }
        place
    }

    fn away(self, chance: &mut Chance) -> Duration {
        self.scaled(chance.exponential(Duration::from_secs(1_800)))
    }
}

/// A world of many [`Standard`] nodes that [echo](Echo).
///
/// Who knows whom, who calls whom when, who leaves: all follows from the world's seed.
#[derive(Debug)]
pub struct Population {
    world: World,
    hosts: Vec<Host<Standard, Member>>,
}

impl Population {
    /// The nodes are up, and begin to dial in the first second of the world's time.
    ///
    /// Of the trace no lines are kept, as suits many nodes, see [`World::keep_trace`]; and invariants are checked after every
    /// thousandth step, see [`World::check_every`].
    ///
    /// # Errors
    /// [`WorldError`] names the first number that makes no sense.
    pub fn new(seed: u64, config: PopulationConfig) -> Result<Self, WorldError> {
        check(&config)?;
        let mut world = World::new(seed);
        world.keep_trace(0);
        world.check_every(CHECK_EVERY);
        let mut link = config.link.clone();
        if let Some(latency) = config.latency {
            link.latency = latency;
        }
        world.set_default_link(link)?;
        let mut chance = world.draws("population");
        let mut hosts = Vec::with_capacity(config.nodes);
        for number in 0..config.nodes {
            let echo = EchoConfig {
                every: config.echo_every,
                lengths: config.echo_lengths.clone(),
                keep_alive: true,
                ..EchoConfig::default()
            };
            let mut builder = HostBuilder::standard(format!("h{number}"));
            if config.plaintext {
                builder = builder.plaintext();
            }
            let region = somewhere(&mut chance);
            if config.latency.is_none() {
                builder = builder.region(region);
            }
            hosts.push(world.add(builder.application(Member::new(echo)))?);
        }
        let mut population = Self { world, hosts };
        population.introduce(config.connections, &mut chance)?;
        if let Some(churn) = config.churn {
            population.churn(churn);
        }
        if let Some(every) = config.partition_every {
            let chance = population.world.draws("partitions");
            part_later(&mut population.world, every, chance);
        }
        Ok(population)
    }

    /// The world, to let time pass and for everything else.
    #[must_use]
    pub const fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// The nodes.
    #[must_use]
    pub fn hosts(&self) -> &[Host<Standard, Member>] {
        &self.hosts
    }

    /// How the calls of all nodes went so far.
    #[must_use]
    pub fn echoes(&mut self) -> EchoResults {
        let mut all = EchoResults::default();
        for host in &self.hosts {
            if let Some(member) = self.world.application(*host) {
                all.merge(member.echo().results());
            }
        }
        all
    }

    /// The ends of connections that nodes have now, in whatever phase.
    #[must_use]
    pub fn connection_ends(&self) -> usize {
        let counts = self
            .hosts
            .iter()
            .map(|host| self.world.connection_count(*host));
        counts.sum()
    }

    /// Nodes that run now.
    #[must_use]
    pub fn running(&mut self) -> usize {
        let network = self.world.network();
        let up = self.hosts.iter().filter(|host| network.is_up(host.id()));
        up.count()
    }

    /// Tells each node whom to dial: so that all have as many connections, in no particular place of the world.
    fn introduce(&mut self, connections: usize, chance: &mut Chance) -> Result<(), WorldError> {
        let count = self.hosts.len();
        let mut circle: Vec<usize> = (0..count).collect();
        chance.shuffle(&mut circle);
        // In a circle, everybody dials those who are so many places on. No two of these distances add up to the whole
        // circle: nobody is dialed by whom he dials.
        // Of an odd number the last connection is dialed by one half of the nodes, right across.
        let across = (connections % 2 == 1).then_some(count / 2);
        let mut distances: Vec<usize> = (1..across.unwrap_or(count.div_ceil(2))).collect();
        chance.shuffle(&mut distances);
        distances.truncate(connections / 2);
        for (place, number) in circle.iter().copied().enumerate() {
            let across = across.filter(|_| place < count / 2);
            let to_dial = distances.iter().copied().chain(across);
            let mut known: Vec<usize> = to_dial
                .filter_map(|distance| circle.get((place + distance) % count).copied())
                .collect();
            let wanted = known.len();
            for _ in 0..2 * connections {
                let spare = chance.index(count);
                if spare != number && !known.contains(&spare) {
                    known.push(spare);
                }
            }
            let mut contacts = Vec::with_capacity(known.len());
            for number in known {
                if let Some(host) = self.hosts.get(number) {
                    contacts.push(Contact {
                        address: self.world.address(*host)?.without_peer_id(),
                        peer: self.world.peer_id(*host)?,
                    });
                }
            }
            if let Some(host) = self.hosts.get(number) {
                self.world.run_on(*host, |member, host| {
                    member.meet(contacts, wanted, host.now + host.chance.time(DIAL_EVERY));
                })?;
            }
        }
        Ok(())
    }

    fn churn(&mut self, churn: Churn) {
        for host in &self.hosts {
            let host = host.id();
            let mut chance = self.world.draws(&format!("churn of {host}"));
            let rest = churn.rest_of_session(&mut chance);
            leave_later(&mut self.world, host, rest, churn, chance);
        }
    }
}

fn check(config: &PopulationConfig) -> Result<(), WorldError> {
    let bad = |name, value: usize| {
        let value = value as f64;
        Err(WorldError::BadRate { name, value })
    };
    if config.nodes < 2 {
        return bad("number of nodes", config.nodes);
    }
    if config.connections == 0 || config.connections >= config.nodes {
        return bad("number of connections", config.connections);
    }
    for (name, time) in [
        ("time between calls", config.echo_every),
        ("time between partitions", config.partition_every),
    ] {
        if time.is_some_and(|time| time < Duration::from_millis(1)) {
            return Err(WorldError::BadRate { name, value: 0.0 });
        }
    }
    config.churn.map_or(Ok(()), Churn::check)
}

pub(crate) fn somewhere(chance: &mut Chance) -> Region {
    let mut place = chance.below(WHERE.iter().map(|(_, share)| share).sum());
    for (region, share) in WHERE {
        match place.checked_sub(share) {
            Some(rest) => place = rest,
            None => return region,
        }
    }
    Region::Europe
}

fn leave_later(world: &mut World, host: HostId, after: Duration, churn: Churn, chance: Chance) {
    let mut chance = chance;
    world.after(after, move |world| {
        // The host is one of this world, so it can crash.
        let _ = world.go_down(host, chance.happens(churn.silent));
        let away = churn.away(&mut chance);
        world.after(away, move |world| {
            if let Err(error) = world.come_up(host, chance.happens(churn.anew)) {
                let what = format!("cannot start again: {error}");
                world.moment(Some(host), Moment::Failed { what });
                return;
            }
            let session = churn.session(&mut chance);
            leave_later(world, host, session, churn, chance);
        });
    });
}

fn part_later(world: &mut World, every: Duration, chance: Chance) {
    let mut chance = chance;
    let after = chance.exponential(every);
    world.after(after, move |world| {
        let mut hosts: Vec<HostId> = world.hosts().collect();
        chance.shuffle(&mut hosts);
        let count = hosts.len() as u64;
        hosts.truncate(chance.between((count / 10).max(1), (count / 2).max(1)) as usize);
        let some = hosts.into_iter().collect();
        let partition = world.part(if chance.below(3) == 0 {
            Partition::OneWay(some)
        } else {
            Partition::Apart(some)
        });
        let lasts = chance.time_between(Duration::from_secs(5), Duration::from_secs(30));
        world.after(lasts, move |world| {
            world.heal(partition);
            part_later(world, every, chance);
        });
    });
}

#[derive(Debug)]
struct Contact {
    address: Multiaddr,
    /// Who was there last.
    peer: PeerId,
}

/// One node's application: it [echoes](Echo), and dials whom it knows while it has too few connections.
///
/// Contacts are dialed in order; one that cannot be reached goes to the end. If somebody else answers where a contact was,
/// that one is the contact from now on.
#[derive(Debug)]
pub struct Member {
    echo: Echo,
    contacts: Vec<Contact>,
    /// Indices of contacts: those first to be dialed come first.
    order: VecDeque<usize>,
    /// How many connections to keep up.
    wanted: usize,
    kept: BTreeMap<ConnectionId, usize>,
    dialing: BTreeMap<DialId, usize>,
    next_dial: Option<Instant>,
}

impl Member {
    fn new(echo: EchoConfig) -> Self {
        Self {
            echo: Echo::new(echo),
            contacts: Vec::new(),
            order: VecDeque::new(),
            wanted: 0,
            kept: BTreeMap::new(),
            dialing: BTreeMap::new(),
            next_dial: None,
        }
    }

    /// Its calls.
    #[must_use]
    pub const fn echo(&self) -> &Echo {
        &self.echo
    }

    /// Connections it has dialed and that are up.
    #[must_use]
    pub fn dialed(&self) -> usize {
        self.kept.len()
    }

    /// Connections it wants to dial.
    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.wanted
    }

    fn meet(&mut self, contacts: Vec<Contact>, wanted: usize, dial_at: Instant) {
        self.order = (0..contacts.len()).collect();
        self.contacts = contacts;
        self.wanted = wanted;
        self.next_dial = Some(dial_at);
    }

    fn dial_missing<P: Protocol>(&mut self, host: &mut HostContext<'_, P>) {
        let mut missing = self
            .wanted
            .saturating_sub(self.kept.len() + self.dialing.len());
        for index in &self.order {
            if missing == 0 {
                return;
            }
            let Some(contact) = self.contacts.get(*index) else {
                continue;
            };
            let busy = self.dialing.values().any(|other| other == index);
            if busy || host.node.swarm().is_connected(&contact.peer) {
                continue;
            }
            let Ok(address) = contact.address.with_peer_id(contact.peer) else {
                continue;
            };
            if let Ok(dial) = host.dial(DialOptions::address(address)) {
                self.dialing.insert(dial, *index);
                missing -= 1;
            }
        }
    }

    fn dial_failed(&mut self, dial: DialId, error: &DialError) {
        let Some(index) = self.dialing.remove(&dial) else {
            return;
        };
        self.order.retain(|other| *other != index);
        self.order.push_back(index);
        for failure in error.failures() {
            if let AttemptError::WrongPeer { obtained } = failure.error
                && let Some(contact) = self.contacts.get_mut(index)
            {
                contact.peer = obtained;
            }
        }
    }

    /// Plans to dial if connections are missing.
    fn plan<P: Protocol>(&mut self, host: &mut HostContext<'_, P>) {
        if self.next_dial.is_none() && self.kept.len() + self.dialing.len() < self.wanted {
            let wait = host.chance.time_between(DIAL_EVERY / 2, DIAL_EVERY * 3 / 2);
            self.next_dial = Some(host.now + wait);
        }
    }
}

impl<P: Protocol> Application<P> for Member {
    fn start(&mut self, host: &mut HostContext<'_, P>) {
        self.kept.clear();
        self.dialing.clear();
        self.next_dial = None;
        self.plan(host);
        self.echo.start(host);
    }

    fn handle(&mut self, event: NodeEvent<P::Event>, host: &mut HostContext<'_, P>) {
        if let NodeEvent::Swarm(event) = &event {
            match event {
                Event::Dialed {
                    dial, connection, ..
                } => {
                    if let Some(index) = self.dialing.remove(dial) {
                        self.kept.insert(*connection, index);
                    }
                }
                Event::DialFailed { dial, error, .. } => self.dial_failed(*dial, error),
                Event::ConnectionClosed { connection, .. } => {
                    self.kept.remove(connection);
                }
                _ => {}
            }
            self.plan(host);
        }
        self.echo.handle(event, host);
    }

    fn handle_timeout(&mut self, host: &mut HostContext<'_, P>) {
        if self.next_dial.is_some_and(|at| at <= host.now) {
            self.next_dial = None;
            self.dial_missing(host);
            self.plan(host);
        }
        self.echo.handle_timeout(host);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let echo = Application::<P>::poll_timeout(&self.echo);
        earliest(self.next_dial, echo)
    }
}
