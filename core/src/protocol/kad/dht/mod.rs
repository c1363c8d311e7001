//! The machine itself, without streams: a node of a DHT that gives and takes whole messages.
//!
//! [`Kademlia`](super::Kademlia) binds it to streams of a swarm. On its own it is for simulations of many thousand nodes, in
//! which a message is one call.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`Dht`]: state, time, settings |
//! | `commands.rs` | what the application wants |
//! | `queries.rs` | who is asked next, and what the answers mean |
//! | `results.rs` | the ends of queries, and their further phases |
//! | `records.rs` | getting, putting and correcting records |
//! | `membership.rs` | who comes into the routing table, and who leaves |
//! | `budget.rs` | what peers may make this node do |
//! | `optimistic.rs` | announcing providers before a lookup is done |
//! | `responding.rs` | requests of peers |
//! | `storing.rs` | what was asked of the store |
//! | `removals.rs` | what the store is to forget |
//! | `background.rs` | bootstraps, republication, liveness, sweeping |

mod background;
mod budget;
mod commands;
mod membership;
mod optimistic;
mod queries;
mod records;
mod removals;
mod responding;
mod results;
mod storing;

pub(super) use budget::Dials;
pub use commands::QueryRefused;
pub use membership::RoutingUpdate;
pub use responding::Inbound;

use super::{
    bootstrap::BootstrapTimers,
    config::Config,
    estimate::NetworkSize,
    event::{Event, Mode},
    jobs::Jobs,
    key::Key,
    query::{Query, QueryId, QueryMut, QueryRef},
    store::{MemoryStore, RecordStore, StoreRequestId},
    table::{RoutingTable, TableConfig},
};
use crate::{
    buffer::pop_front,
    identity::PeerId,
    multiaddr::Multiaddr,
    seed::{Rng, Seed},
    swarm::{Timers, hash::KeyedHash},
    time::{Instant, UnixTime, earliest},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use bytes::Bytes;
use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};
use membership::{Candidate, Member};
use removals::Removals;
use storing::Awaiting;

/// Both times of one moment: the one that deadlines go by, and the one that records are valid by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time.
    pub now: Instant,
    /// The wall clock.
    pub unix: UnixTime,
}

/// Names a request to a peer. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId(u64);

/// Names a request of a peer. Chosen by the host of a [`Dht`], unique among those that have had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// Why a request to a peer had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RpcFailure {
    /// The peer could not be reached.
    Unreachable,
    /// The peer does not speak the protocol.
    Unsupported,
    /// The stream or its connection ended before the answer.
    Interrupted,
    /// The answer was longer than accepted.
    TooLarge,
    /// This node had no means to ask: too many streams or dials. It says nothing about the peer.
    Busy,
}

/// What the host of a [`Dht`] must do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "they live in one short queue; a box would be an allocation for each event"
)]
pub enum Output {
    /// Send a request to a peer, see [`Dht::handle_response`] and [`Dht::handle_sent`].
    Request {
        /// The request's name.
        rpc: RpcId,
        /// To whom. Where it may be reached: [`Dht::addresses_of`].
        peer: PeerId,
        /// The message.
        message: Bytes,
        /// Whether there will be a response. If not, it is over once it is sent.
        responds: bool,
    },
    /// A request is no longer wanted. Nothing more need be told of it.
    Cancel {
        /// The request's name.
        rpc: RpcId,
    },
    /// Answer a request of a peer.
    Respond {
        /// The request.
        to: InboundId,
        /// The message; `None` if this request has no response.
        message: Option<Bytes>,
    },
    /// Refuse a request of a peer: it is malformed, or there is no room for it.
    Refuse {
        /// The request.
        to: InboundId,
    },
    /// Be a server or a client from now on.
    Mode(Mode),
    /// Tell the application.
    Event(Event),
}

/// What was refused, and what was done without being asked, since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Requests of peers that were answered, or acknowledged.
    pub answered: u64,
    /// Requests of peers that were malformed.
    pub malformed_requests: u64,
    /// Responses of peers that were malformed, or were of another type or about another key than the request.
    pub malformed_responses: u64,
    /// How often a request of a peer had to wait, for it asks more often than it [may](Config::request_rate).
    pub delayed_requests: u64,
    /// Values from peers that are not valid.
    pub invalid_values: u64,
    /// Records and provider records of peers that the store did not take.
    pub refused_by_store: u64,
    /// Peers in responses that were passed over: too many, too many of one network, or without a usable address; and those a
    /// query did not ask, for it had dialed as many as it [may](Config::max_dials_per_query).
    pub passed_over: u64,
    /// Requests that were sent to peers.
    pub requests: u64,
    /// Peers that left the routing table because they did not answer, or no longer speak the protocol.
    pub evicted: u64,
    /// Newcomers that did not pass the check.
    pub failed_checks: u64,
    /// Entries that the store threw away because they had expired.
    pub swept: u64,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    /// A query has taken too long, or was told to end.
    Query(QueryId),
    /// A query need not wait for a peer any more.
    Step(QueryId),
    /// A request has taken too long.
    Rpc(RpcId),
    /// Somebody has waited long enough for a place in a bucket.
    Pending,
    /// Peers should be asked whether they are still there.
    Liveness,
    /// The store should throw away what has expired.
    Sweep,
    /// Records are due.
    Records,
    /// Provider records are due.
    Providers,
    /// The store may be able to forget again.
    Removals,
}

/// Why a peer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A query wants it.
    Query(QueryId),
    /// It wants to come into the table.
    Check,
    /// A query tells it something before it is done looking.
    Announce(QueryId),
    /// Is it still there?
    Probe,
    /// It should have a better value.
    Correction,
}

/// A request to a peer that has had no answer.
#[derive(Clone, Copy, Debug)]
struct Rpc {
    peer: PeerId,
    purpose: Purpose,
    responds: bool,
}

/// A node of a DHT, as a machine of messages, see the [module](self).
pub struct Dht<S = MemoryStore> {
    local: PeerId,
    position: Key,
    config: Config,
    table: RoutingTable,
    store: S,
    queries: BTreeMap<QueryId, Box<Query>>,
    rpcs: BTreeMap<RpcId, Rpc>,
    awaiting: BTreeMap<StoreRequestId, Awaiting>,
    members: BTreeMap<PeerId, Member>,
    candidates: BTreeMap<PeerId, Candidate>,
    timers: Timers<Deadline>,
    bootstraps: BootstrapTimers,
    jobs: Jobs,
    size: NetworkSize,
    /// Some query was told to end.
    ending: AtomicBool,
    outputs: VecDeque<Output>,
    rng: Rng,
    /// Peers can choose their names.
    hash: KeyedHash,
    mode: Mode,
    pinned: bool,
    /// Who was evicted last because it did not answer: where all are gone, it may have been this node that was.
    fallen: VecDeque<(PeerId, Vec<Multiaddr>)>,
    /// The node is shutting down.
    stopped: bool,
    listen: Vec<Multiaddr>,
    external: Vec<Multiaddr>,
    queries_begun: u64,
    rpcs_begun: u64,
    asked_store: u64,
    removals: Removals,
    waker: Option<Waker>,
    statistics: Statistics,
    /// Kept for their capacity.
    peers: Vec<PeerId>,
    addresses: Vec<Multiaddr>,
}

impl<S: RecordStore> Dht<S> {
    /// A node of this identity.
    #[must_use]
    pub fn new(local: PeerId, config: Config, mut store: S, seed: &Seed, at: Moment) -> Self {
        let config = config.with_sane_intervals();
        store.begin(&local);
        let position = Key::of_peer(&local);
        let table = RoutingTable::new(
            position,
            TableConfig {
                bucket_size: config.kbucket_size,
                pending_timeout: config.kbucket_pending_timeout,
                max_addresses: config.max_addresses,
                max_failures: config.max_failures,
                diversity: config.diversity,
                address_scope: config.address_scope,
                ..TableConfig::default()
            },
        );
        let bootstraps = BootstrapTimers::new(
            config.periodic_bootstrap_interval,
            config.automatic_bootstrap_throttle,
            at.now,
        );
        let mut dht = Self {
            local,
            position,
            jobs: Jobs::new(&config, store.is_durable(), at.now),
            config,
            table,
            store,
            queries: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            members: BTreeMap::new(),
            candidates: BTreeMap::new(),
            timers: Timers::new(),
            bootstraps,
            size: NetworkSize::new(),
            ending: AtomicBool::new(false),
            outputs: VecDeque::new(),
            rng: seed.rng(),
            hash: KeyedHash::new(seed),
            mode: Mode::Client,
            pinned: false,
            fallen: VecDeque::new(),
            stopped: false,
            listen: Vec::new(),
            external: Vec::new(),
            queries_begun: 0,
            rpcs_begun: 0,
            asked_store: 0,
            removals: Removals::default(),
            waker: None,
            statistics: Statistics::default(),
            peers: Vec::new(),
            addresses: Vec::new(),
        };
        dht.begin_background(at);
        dht
    }

    /// Begins anew, with nothing but the store and what the node was told to be: for a machine that was made before its
    /// host knew the time.
    pub(super) fn begin(&mut self, local: PeerId, seed: &Seed, at: Moment)
    where
        S: RecordStore,
    {
        (self.local, self.position) = (local, Key::of_peer(&local));
        self.store.begin(&local);
        self.table = RoutingTable::new(self.position, self.table.config().clone());
        self.rng = seed.rng();
        self.hash = KeyedHash::new(seed);
        self.timers = Timers::new();
        self.jobs = Jobs::new(&self.config, self.store.is_durable(), at.now);
        self.bootstraps = BootstrapTimers::new(
            self.config.periodic_bootstrap_interval,
            self.config.automatic_bootstrap_throttle,
            at.now,
        );
        self.begin_background(at);
    }

    /// Its identity.
    #[must_use]
    pub const fn local_peer(&self) -> &PeerId {
        &self.local
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The routing table.
    #[must_use]
    pub const fn table(&self) -> &RoutingTable {
        &self.table
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The store, to look into and to change by its own means.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// What was refused and done so far.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The estimate of the network's size.
    #[must_use]
    pub const fn network_size(&self) -> &NetworkSize {
        &self.size
    }

    /// Whether it is a server or a client.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes it a server or a client for good; `None` leaves it to whether the node has an external address.
    pub fn set_mode(&mut self, mode: Option<Mode>) {
        self.pinned = mode.is_some();
        match mode {
            Some(mode) => self.become_mode(mode),
            None => self.choose_mode(),
        }
    }

    fn become_mode(&mut self, mode: Mode) {
        if self.mode != mode {
            self.mode = mode;
            self.outputs.push_back(Output::Mode(mode));
        }
    }

    fn choose_mode(&mut self) {
        let scope = self.config.address_scope;
        let mode = if self.external.iter().any(|address| scope.allows(address)) {
            Mode::Server
        } else {
            Mode::Client
        };
        if !self.pinned && mode != self.mode {
            self.become_mode(mode);
            self.emit(Event::ModeChanged { new_mode: mode });
        }
    }

    /// The addresses of this node are these now: those it listens on, and those it is known to be reachable under.
    pub fn handle_local_addresses(
        &mut self,
        at: Moment,
        listen: &[Multiaddr],
        external: &[Multiaddr],
    ) {
        let new = listen.iter().any(|address| !self.listen.contains(address));
        self.listen = listen.to_vec();
        self.external = external.to_vec();
        if new && self.members.is_empty() {
            self.bootstraps.listening(at.now);
        }
        self.choose_mode();
    }

    /// Where this node may be reached, as it tells peers.
    fn own_addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        let scope = self.config.address_scope;
        let listen = self.listen.iter();
        let listen = listen.filter(|address| !self.external.contains(address));
        let all = self.external.iter().chain(listen);
        all.filter(move |address| scope.allows(address))
            .take(self.config.max_addresses)
    }

    /// Woken when a store that answers later has a reply.
    pub fn set_waker(&mut self, waker: Option<&Waker>) {
        let same = match (&self.waker, waker) {
            (Some(old), Some(new)) => old.will_wake(new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.waker = waker.cloned();
        }
    }

    /// The queries that run.
    pub fn queries(&self) -> impl Iterator<Item = QueryRef<'_>> {
        self.queries
            .iter()
            .map(|(id, query)| QueryRef { id: *id, query })
    }

    /// The queries that run, to end some.
    pub fn queries_mut(&mut self) -> impl Iterator<Item = QueryMut<'_>> {
        self.queries.iter_mut().map(|(id, query)| QueryMut {
            id: *id,
            query,
            ending: &self.ending,
        })
    }

    /// A query, if it runs.
    #[must_use]
    pub fn query(&self, id: &QueryId) -> Option<QueryRef<'_>> {
        let query = self.queries.get(id)?;
        Some(QueryRef { id: *id, query })
    }

    /// A query, if it runs, to end it.
    pub fn query_mut(&mut self, id: &QueryId) -> Option<QueryMut<'_>> {
        let query = self.queries.get_mut(id)?;
        Some(QueryMut {
            id: *id,
            query,
            ending: &self.ending,
        })
    }

    /// What the host must do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        pop_front(&mut self.outputs)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted. [`Instant::ZERO`] is at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = !self.outputs.is_empty() || (self.store.has_reply() && !self.stopped);
        if waits || self.ending.load(Ordering::Relaxed) {
            return Some(Instant::ZERO);
        }
        earliest(self.timers.next(), self.bootstraps.next())
    }

    /// Time has come to that, or something is to be looked after.
    pub fn handle_timeout(&mut self, at: Moment) {
        self.take_store_replies(at);
        self.end_early(at);
        self.go_on_publishing(at);
        while let Some(deadline) = self.timers.pop_due(at.now) {
            match deadline {
                Deadline::Query(id) => self.query_late(at, id),
                Deadline::Step(id) => self.advance(at, id),
                Deadline::Rpc(rpc) => self.rpc_late(at, rpc),
                Deadline::Pending => self.apply_pending(at),
                Deadline::Liveness => self.check_liveness(at),
                Deadline::Sweep => self.sweep(at),
                Deadline::Records => self.records_due(at),
                Deadline::Providers => self.providers_due(at),
                Deadline::Removals => self.removals_due(at),
            }
        }
        if self.bootstraps.is_due(at.now) {
            self.bootstrap_by_itself(at);
        }
    }

    /// Where a peer may be reached, as far as the routing table and the queries know. Each address is in memory of its own:
    /// whoever is dialed keeps it as long as the connection.
    #[must_use]
    pub fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut all: Vec<Multiaddr> = Vec::new();
        let table = self.table.get(peer).map(|entry| entry.addresses());
        let candidate = self.candidates.get(peer);
        let learnt = self
            .queries
            .values()
            .filter_map(|query| query.learnt.get(peer));
        let others = learnt.chain(candidate.map(|candidate| &candidate.addresses));
        for address in table.into_iter().flatten().chain(others.flatten()) {
            if all.len() < self.config.max_addresses && !all.contains(address) {
                all.push(responding::unshared(address));
            }
        }
        all
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Asks a peer something.
    fn request(
        &mut self,
        at: Moment,
        peer: PeerId,
        message: Bytes,
        responds: bool,
        purpose: Purpose,
    ) -> RpcId {
        let rpc = RpcId(self.rpcs_begun);
        self.rpcs_begun = self.rpcs_begun.saturating_add(1);
        self.statistics.requests = self.statistics.requests.saturating_add(1);
        let about = Rpc {
            peer,
            purpose,
            responds,
        };
        self.rpcs.insert(rpc, about);
        let late = at.now.saturating_add(self.config.request_timeout);
        self.timers.set(Deadline::Rpc(rpc), late);
        self.outputs.push_back(Output::Request {
            rpc,
            peer,
            message,
            responds,
        });
        rpc
    }

    /// A request is over, one way or another.
    fn take_rpc(&mut self, rpc: RpcId) -> Option<Rpc> {
        let about = self.rpcs.remove(&rpc)?;
        self.timers.clear(Deadline::Rpc(rpc));
        Some(about)
    }

    fn rpc_late(&mut self, at: Moment, rpc: RpcId) {
        self.outputs.push_back(Output::Cancel { rpc });
        self.handle_response(at, rpc, Err(RpcFailure::Interrupted));
    }

    /// How many requests to peers and to the store have had no answer, and how many deadlines there are.
    #[cfg(test)]
    pub(super) fn leftovers(&self) -> [usize; 3] {
        [self.rpcs.len(), self.awaiting.len(), self.timers.len()]
    }

    /// Every promise this machine makes about itself, checked. For tests and simulations.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn audit(&self) -> Result<(), String> {
        self.table.audit()?;
        let check = |holds: bool, what: &str| {
            if holds {
                Ok(())
            } else {
                Err(String::from(what))
            }
        };
        check(
            self.queries.len() <= self.config.max_queries,
            "more queries than allowed",
        )?;
        for (id, query) in &self.queries {
            let deadline = self.timers.get(Deadline::Query(*id));
            check(deadline.is_some(), "a query without a deadline")?;
            let asked = query.in_flight.iter().all(|flight| {
                self.rpcs
                    .get(&flight.rpc)
                    .is_some_and(|rpc| rpc.peer == flight.peer)
            });
            check(asked, "a query waits for an answer that cannot come")?;
        }
        for (id, rpc) in &self.rpcs {
            let deadline = self.timers.get(Deadline::Rpc(*id));
            check(deadline.is_some(), "a request without a deadline")?;
            check(rpc.peer != self.local, "asks itself")?;
        }
        check(
            self.awaiting.len() <= self.config.max_store_requests,
            "asks the store for more than allowed",
        )
    }
}

impl<S> fmt::Debug for Dht<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dht")
            .field("local", &self.local)
            .field("mode", &self.mode)
            .field("peers", &self.table.len())
            .field("queries", &self.queries.len())
            .field("statistics", &self.statistics)
            .finish_non_exhaustive()
    }
}
