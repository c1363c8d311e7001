//! Queries: what they are about, what they did, how far they are.

mod stats;

pub use stats::QueryStats;

use super::{
    event::PeerRecord,
    iterators::PeersIterator,
    key::{Distance, Key, RecordKey},
    record::{PeerInfo, Quorum, Record},
};
use crate::{identity::PeerId, multiaddr::Multiaddr, swarm::hash::KeyedMap, time::Instant};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bytes::Bytes;
use core::{
    fmt,
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, Ordering},
};

/// Names a query. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(super) u64);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query {}", self.0)
    }
}

/// Which event of a query it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressStep {
    /// Its number, from 1.
    pub count: NonZeroUsize,
    /// Whether it is the last one.
    pub last: bool,
}

impl ProgressStep {
    pub(super) const FIRST: Self = Self {
        count: NonZeroUsize::MIN,
        last: false,
    };

    /// The step after this one.
    pub(super) const fn next(self) -> Self {
        Self {
            count: self.count.saturating_add(1),
            last: false,
        }
    }

    pub(super) const fn last(self) -> Self {
        Self { last: true, ..self }
    }
}

/// Settings of one query, in place of those of the [`Config`](super::Config).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryOptions {
    /// How many peers are asked at a time.
    pub parallelism: Option<NonZeroUsize>,
    /// Whether it goes along disjoint paths.
    pub disjoint_paths: Option<bool>,
    /// How many closest peers are looked for, at most 20.
    pub num_results: Option<NonZeroUsize>,
    /// For a get: it ends when so many valid values were found, this node's included. Without, it asks all the closest peers.
    pub quorum: Option<NonZeroUsize>,
    /// For providers: it ends when so many were found.
    pub count: Option<NonZeroUsize>,
}

impl QueryOptions {
    /// As the configuration says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks so many peers at a time.
    #[must_use]
    pub const fn parallelism(mut self, parallelism: NonZeroUsize) -> Self {
        self.parallelism = Some(parallelism);
        self
    }

    /// Goes along disjoint paths, or not.
    #[must_use]
    pub const fn disjoint_paths(mut self, disjoint: bool) -> Self {
        self.disjoint_paths = Some(disjoint);
        self
    }

    /// Looks for so many closest peers, at most 20.
    #[must_use]
    pub const fn num_results(mut self, number: NonZeroUsize) -> Self {
        self.num_results = Some(number);
        self
    }

    /// Ends when so many valid values were found.
    #[must_use]
    pub const fn quorum(mut self, quorum: NonZeroUsize) -> Self {
        self.quorum = Some(quorum);
        self
    }

    /// Ends when so many providers were found.
    #[must_use]
    pub const fn count(mut self, count: NonZeroUsize) -> Self {
        self.count = Some(count);
        self
    }
}

/// What a query is about, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryInfo {
    /// Of [`bootstrap`](super::Kademlia::bootstrap).
    Bootstrap {
        /// The peer id that is looked up now.
        peer: PeerId,
        /// Those that are looked up afterwards; `None` while the node looks itself up.
        remaining: Option<Vec<PeerId>>,
        /// The event that comes next.
        step: ProgressStep,
    },
    /// Of [`get_closest_peers`](super::Kademlia::get_closest_peers).
    GetClosestPeers {
        /// What is looked up.
        key: Vec<u8>,
        /// The event that comes next.
        step: ProgressStep,
        /// How many peers are looked for.
        num_results: NonZeroUsize,
    },
    /// Of [`get_providers`](super::Kademlia::get_providers).
    GetProviders {
        /// Of what.
        key: RecordKey,
        /// How many were found.
        providers_found: usize,
        /// The event that comes next.
        step: ProgressStep,
    },
    /// Of [`get_record`](super::Kademlia::get_record).
    GetRecord {
        /// The record's key.
        key: RecordKey,
        /// The event that comes next.
        step: ProgressStep,
        /// How many valid values were found.
        found: usize,
        /// The closest peers that had no record.
        cache_candidates: BTreeMap<Distance, PeerId>,
    },
    /// Of [`put_record`](super::Kademlia::put_record) and [`put_record_to`](super::Kademlia::put_record_to).
    PutRecord {
        /// The record.
        record: Record,
        /// How many must take it.
        quorum: Quorum,
        /// What is done now.
        phase: PutRecordPhase,
        /// Why.
        context: PutRecordContext,
    },
    /// Of [`start_providing`](super::Kademlia::start_providing).
    AddProvider {
        /// What is provided.
        key: RecordKey,
        /// What is done now.
        phase: AddProviderPhase,
        /// Why.
        context: AddProviderContext,
    },
}

/// How far putting a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutRecordPhase {
    /// The own store has not replied.
    Storing,
    /// The closest peers are looked for.
    GetClosestPeers,
    /// They are given the record.
    PutRecord {
        /// Those that took it.
        success: Vec<PeerId>,
    },
}

/// Why a record is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutRecordContext {
    /// By [`put_record`](super::Kademlia::put_record).
    Publish,
    /// It is time to publish it again.
    Republish,
    /// It is a record of others.
    Replicate,
    /// By [`put_record_to`](super::Kademlia::put_record_to).
    Custom,
}

/// How far announcing a provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddProviderPhase {
    /// The own store has not replied.
    Storing,
    /// The closest peers are looked for.
    GetClosestPeers,
    /// They are told.
    AddProvider {
        /// How many were told.
        told: usize,
    },
}

/// Why a provider is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddProviderContext {
    /// By [`start_providing`](super::Kademlia::start_providing).
    Publish,
    /// It is time to do it again.
    Republish,
}

/// A query that runs, seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct QueryRef<'a> {
    pub(super) id: QueryId,
    pub(super) query: &'a Query,
}

impl<'a> QueryRef<'a> {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> QueryId {
        self.id
    }

    /// What it is about.
    #[must_use]
    pub const fn info(&self) -> &'a QueryInfo {
        &self.query.info
    }

    /// What it did so far.
    #[must_use]
    pub const fn stats(&self) -> &'a QueryStats {
        &self.query.stats
    }
}

/// A query that runs.
#[derive(Debug)]
pub struct QueryMut<'a> {
    pub(super) id: QueryId,
    pub(super) query: &'a mut Query,
    /// That some query was told to end.
    pub(super) ending: &'a AtomicBool,
}

impl QueryMut<'_> {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> QueryId {
        self.id
    }

    /// What it is about.
    #[must_use]
    pub const fn info(&self) -> &QueryInfo {
        &self.query.info
    }

    /// What it did so far.
    #[must_use]
    pub const fn stats(&self) -> &QueryStats {
        &self.query.stats
    }

    /// Ends it as soon as possible, with what it has found. Its last event still comes. Of a bootstrap it ends the lookup that
    /// is under way, and the next one begins.
    pub fn finish(&mut self) {
        self.query.ends_early = true;
        self.ending.store(true, Ordering::Relaxed);
    }
}

/// A request of a query that has had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) rpc: super::dht::RpcId,
    pub(super) peer: PeerId,
}

/// What a peer answered a get with, as far as correcting it needs.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) peer: PeerId,
    pub(super) value: Option<Bytes>,
}

/// A query that runs.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) info: QueryInfo,
    pub(super) options: QueryOptions,
    pub(super) target: Key,
    /// What is sent to each peer.
    pub(super) request: Bytes,
    pub(super) peers: PeersIterator,
    /// Addresses that were learnt on the way.
    pub(super) learnt: KeyedMap<PeerId, Vec<Multiaddr>>,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) stats: QueryStats,
    /// For all its phases together; of a bootstrap, for each lookup.
    pub(super) deadline: Instant,
    /// Somebody has had enough.
    pub(super) ends_early: bool,
    /// Some of its paths were ended before they had found what there is.
    pub(super) cut_short: bool,
    /// The number of peers that the present phase gives something to.
    pub(super) asked: usize,
    /// Of a get: the best value so far, and who answered what.
    pub(super) best: Option<PeerRecord>,
    pub(super) answered: Vec<Answered>,
    /// Of a get of providers: those found. Of an announcement: those told early.
    pub(super) told: BTreeSet<PeerId>,
    /// The peer that is looked for: once it is known where it may be reached, the query ends.
    pub(super) seeks: Option<PeerId>,
    /// Of an announcement: how many of those told early have been sent it.
    pub(super) told_early: usize,
    /// How many of them have not been sent it yet.
    pub(super) early_open: usize,
    /// The store has not said yet what this node itself has.
    pub(super) awaits_store: bool,
    /// Whom its present phase has dialed.
    pub(super) dials: super::dht::Dials,
}

impl Query {
    /// Whether its lookup came to its own end: only then those that answered are the closest.
    pub(super) fn is_whole(&self) -> bool {
        self.peers.is_finished() && !self.cut_short
    }

    /// What was found, with addresses.
    pub(super) fn closest(&self, known: impl Fn(&PeerId) -> Vec<Multiaddr>) -> Vec<PeerInfo> {
        let mut peers = self.peers.result();
        // Whoever is looked for need not have been asked.
        if let Some(sought) = self.seeks.filter(|sought| self.learnt.contains_key(sought))
            && !peers.contains(&sought)
        {
            peers.insert(0, sought);
        }
        peers
            .into_iter()
            .map(|peer| {
                let learnt = self.learnt.get(&peer).filter(|learnt| !learnt.is_empty());
                let addresses = learnt.cloned().unwrap_or_else(|| known(&peer));
                PeerInfo { peer, addresses }
            })
            .collect()
    }

    /// The step of the event that comes next, which becomes the one after it.
    pub(super) const fn take_step(&mut self) -> ProgressStep {
        match &mut self.info {
            QueryInfo::Bootstrap { step, .. }
            | QueryInfo::GetClosestPeers { step, .. }
            | QueryInfo::GetProviders { step, .. }
            | QueryInfo::GetRecord { step, .. } => {
                let now = *step;
                *step = now.next();
                now
            }
            _ => ProgressStep::FIRST,
        }
    }
}
