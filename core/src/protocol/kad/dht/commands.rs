//! What the application wants.

use super::{
    Deadline, Dht, Dials, Moment, Purpose,
    removals::{Own, Removals},
    storing::Awaiting,
};
use crate::{
    identity::PeerId,
    protocol::kad::{
        config::K_VALUE,
        event::Event,
        iterators::{ClosestConfig, ClosestPeers, DisjointPeers, FixedPeers, PeersIterator},
        key::{Key, RecordKey},
        message::request,
        query::{
            AddProviderContext, AddProviderPhase, ProgressStep, PutRecordContext, PutRecordPhase,
            Query, QueryId, QueryInfo, QueryOptions, QueryStats,
        },
        record::{ProviderRecord, Quorum, Record},
        store::{Origin, RecordStore, StoreError, StoreRequest},
        validator::InvalidRecord,
    },
    swarm::hash::KeyedMap,
};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use core::{fmt, num::NonZeroUsize};

/// Why a query was not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryRefused {
    /// Limit: as many run as may, see [`Config::max_queries`](super::super::Config::max_queries).
    TooManyQueries,
    /// The host does not collect events, and there is no room for this query's last one.
    EventsFull,
    /// There is nobody to ask: the routing table is empty.
    NoKnownPeers,
    /// The record is not valid.
    Invalid(InvalidRecord),
    /// The own store does not take it.
    Store(StoreError),
    /// The key is empty, or longer than allowed.
    KeyLength,
    /// The node is shutting down.
    ShuttingDown,
}

impl fmt::Display for QueryRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyQueries => f.write_str("too many queries are running"),
            Self::EventsFull => f.write_str("too many events wait to be collected"),
            Self::NoKnownPeers => f.write_str("no peer of the DHT is known"),
            Self::Invalid(error) => write!(f, "the record is not valid: {error}"),
            Self::Store(error) => write!(f, "the record was not stored: {error}"),
            Self::KeyLength => f.write_str("the key is empty or too long"),
            Self::ShuttingDown => f.write_str("this node is shutting down"),
        }
    }
}

impl core::error::Error for QueryRefused {}

/// A lookup begins with so many peers of the table, or as many as it is to find. Those beyond the closest are asked where the
/// closest are not there, as after many have left at once: who answers tells of the same few dead.
const SEEDS: usize = 2 * K_VALUE.get();

impl<S: RecordStore> Dht<S> {
    /// See [`Kademlia::get_closest_peers`](super::super::Kademlia::get_closest_peers).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_closest_peers(
        &mut self,
        at: Moment,
        key: &[u8],
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        self.check_key(key.len())?;
        self.search(at, key, None, options)
    }

    /// See [`Kademlia::find_peer`](super::super::Kademlia::find_peer).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn find_peer(
        &mut self,
        at: Moment,
        peer: PeerId,
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        self.search(at, peer.as_bytes(), Some(peer), options)
    }

    /// A search for the closest peers, or until the sought one is found.
    fn search(
        &mut self,
        at: Moment,
        key: &[u8],
        seeks: Option<PeerId>,
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        let num_results = options.num_results.unwrap_or(K_VALUE).min(K_VALUE);
        let info = QueryInfo::GetClosestPeers {
            key: key.to_vec(),
            step: ProgressStep::FIRST,
            num_results,
        };
        let options = options.num_results(num_results);
        let id = self.insert_query(at, info, key, request::find_node, options)?;
        if let Some(query) = self.queries.get_mut(&id) {
            query.seeks = seeks;
        }
        self.advance(at, id);
        Ok(id)
    }

    /// See [`Kademlia::get_record`](super::super::Kademlia::get_record).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_record(
        &mut self,
        at: Moment,
        key: RecordKey,
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        self.check_key(key.as_bytes().len())?;
        let info = QueryInfo::GetRecord {
            key: key.clone(),
            step: ProgressStep::FIRST,
            found: 0,
            cache_candidates: BTreeMap::new(),
        };
        let id = self.insert_query(at, info, key.as_bytes(), request::get_value, options)?;
        self.ask_own_store(at, id, StoreRequest::Get { key }, Awaiting::OwnRecord(id));
        Ok(id)
    }

    /// See [`Kademlia::get_providers`](super::super::Kademlia::get_providers).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_providers(
        &mut self,
        at: Moment,
        key: RecordKey,
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        self.check_key(key.as_bytes().len())?;
        let info = QueryInfo::GetProviders {
            key: key.clone(),
            providers_found: 0,
            step: ProgressStep::FIRST,
        };
        let id = self.insert_query(at, info, key.as_bytes(), request::get_providers, options)?;
        let get = StoreRequest::Providers { key };
        self.ask_own_store(at, id, get, Awaiting::OwnProviders(id));
        Ok(id)
    }

    /// See [`Kademlia::put_record`](super::super::Kademlia::put_record).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn put_record(
        &mut self,
        at: Moment,
        mut record: Record,
        quorum: Quorum,
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        self.check_key(record.key.as_bytes().len())?;
        self.check_value(at, &record)?;
        record.publisher = Some(self.local);
        let put = StoreRequest::Put {
            record: record.clone(),
            origin: Origin::Local,
            validator: self.config.validator.clone(),
        };
        self.room_for_query()?;
        let own = Own::Record(record.key.clone());
        let stored = self.store_own(at, put, own)?;
        let context = PutRecordContext::Publish;
        let id = self.insert_put(at, record, quorum, context, options)?;
        self.begin_once_stored(at, id, stored);
        Ok(id)
    }

    /// See [`Kademlia::put_record_to`](super::super::Kademlia::put_record_to).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn put_record_to(
        &mut self,
        at: Moment,
        record: Record,
        peers: impl IntoIterator<Item = PeerId>,
        quorum: Quorum,
    ) -> Result<QueryId, QueryRefused> {
        self.check_key(record.key.as_bytes().len())?;
        self.check_value(at, &record)?;
        let context = PutRecordContext::Custom;
        let id = self.insert_put(at, record, quorum, context, QueryOptions::new())?;
        let peers: Vec<PeerId> = peers.into_iter().collect();
        self.put_to(at, id, peers);
        Ok(id)
    }

    /// See [`Kademlia::remove_record`](super::super::Kademlia::remove_record).
    pub fn remove_record(&mut self, at: Moment, key: RecordKey) {
        self.remove_own(at, Own::Record(key));
    }

    /// See [`Kademlia::start_providing`](super::super::Kademlia::start_providing).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn start_providing(&mut self, at: Moment, key: RecordKey) -> Result<QueryId, QueryRefused> {
        let len = key.as_bytes().len();
        if len == 0 || len > self.config.max_provider_key_len {
            return Err(QueryRefused::KeyLength);
        }
        let record = ProviderRecord::new(key.clone(), self.local, Vec::new());
        let add = StoreRequest::AddProvider {
            record,
            origin: Origin::Local,
        };
        self.room_for_query()?;
        let own = Own::Provider(key.clone());
        let stored = self.store_own(at, add, own)?;
        let id = self.insert_announcement(at, key, AddProviderContext::Publish)?;
        self.begin_once_stored(at, id, stored);
        Ok(id)
    }

    /// See [`Kademlia::stop_providing`](super::super::Kademlia::stop_providing).
    pub fn stop_providing(&mut self, at: Moment, key: RecordKey) {
        self.remove_own(at, Own::Provider(key));
    }

    /// See [`Kademlia::bootstrap`](super::super::Kademlia::bootstrap).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn bootstrap(&mut self, at: Moment) -> Result<QueryId, QueryRefused> {
        if self.table.is_empty() {
            self.bootstraps.reset(at.now);
            return Err(QueryRefused::NoKnownPeers);
        }
        let info = QueryInfo::Bootstrap {
            peer: self.local,
            remaining: None,
            step: ProgressStep::FIRST,
        };
        let options = QueryOptions::new().num_results(K_VALUE);
        let own = self.local;
        let id = self.insert_query(at, info, own.as_bytes(), request::find_node, options)?;
        self.bootstraps.started(at.now);
        self.advance(at, id);
        Ok(id)
    }

    /// See [`Kademlia::give_up`](super::super::Kademlia::give_up).
    pub fn give_up(&mut self, id: &QueryId) -> bool {
        let Some(query) = self.queries.remove(id) else {
            return false;
        };
        if matches!(query.info, QueryInfo::Bootstrap { .. }) {
            self.bootstraps.given_up();
        }
        self.cancel_requests(&query);
        self.timers.clear(Deadline::Query(*id));
        self.timers.clear(Deadline::Step(*id));
        // There may be room for a query of the background.
        *self.ending.get_mut() |= self.jobs.is_ready();
        true
    }

    /// Does nothing any more, and has no deadlines: the node is shutting down. Every query ends with what it has found, as if
    /// it had taken too long.
    pub fn stop(&mut self, at: Moment) {
        self.stopped = true;
        while let Some((id, mut query)) = self.queries.pop_first() {
            if let QueryInfo::Bootstrap { remaining, .. } = &mut query.info {
                *remaining = None;
            }
            self.conclude(at, id, query, super::queries::End::TimedOut);
        }
        self.bootstraps.stop();
        self.timers = crate::swarm::Timers::new();
        for (rpc, _) in core::mem::take(&mut self.rpcs) {
            self.outputs.push_back(super::Output::Cancel { rpc });
        }
        self.awaiting.clear();
        self.removals = Removals::default();
        self.candidates.clear();
        *self.ending.get_mut() = false;
    }

    /// The application has found a record of a peer worth storing, see
    /// [`StoreInserts::FilterBoth`](super::super::StoreInserts::FilterBoth).
    pub fn store_record(&mut self, at: Moment, record: Record, source: PeerId) {
        let put = StoreRequest::Put {
            record,
            origin: Origin::Peer(source),
            validator: self.config.validator.clone(),
        };
        self.ask_store(at, put, Awaiting::Nothing);
    }

    /// The application has found a provider record worth storing.
    pub fn store_provider(&mut self, at: Moment, record: ProviderRecord) {
        let origin = Origin::Peer(record.provider);
        let add = StoreRequest::AddProvider { record, origin };
        self.ask_store(at, add, Awaiting::Nothing);
    }

    fn check_key(&self, len: usize) -> Result<(), QueryRefused> {
        if len == 0 || len > self.config.max_request_len / 2 {
            return Err(QueryRefused::KeyLength);
        }
        Ok(())
    }

    fn check_value(&self, at: Moment, record: &Record) -> Result<(), QueryRefused> {
        if record.value.len() > self.config.max_value_len {
            return Err(QueryRefused::Store(StoreError::ValueTooLarge));
        }
        self.config
            .validator
            .validate(&record.key, &record.value, at.unix)
            .map_err(QueryRefused::Invalid)
    }

    fn room_for_query(&self) -> Result<(), QueryRefused> {
        if self.stopped {
            return Err(QueryRefused::ShuttingDown);
        }
        if self.queries.len() >= self.config.max_queries {
            return Err(QueryRefused::TooManyQueries);
        }
        Ok(())
    }

    /// A lookup that begins when [`advance`](Self::advance) is called.
    pub(super) fn insert_query(
        &mut self,
        at: Moment,
        info: QueryInfo,
        key: &[u8],
        encode: fn(&mut Vec<u8>, &[u8]),
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        self.room_for_query()?;
        let target = Key::of(key);
        let mut request = Vec::new();
        encode(&mut request, key);
        let id = QueryId(self.queries_begun);
        self.queries_begun = self.queries_begun.saturating_add(1);
        let deadline = at.now.saturating_add(self.config.query_timeout);
        self.timers.set(Deadline::Query(id), deadline);
        let query = Query {
            info,
            options,
            target,
            request: Bytes::from(request),
            peers: self.iterator(target, &options),
            learnt: KeyedMap::with_hasher(self.hash.clone()),
            in_flight: Vec::new(),
            stats: QueryStats {
                start: Some(at.now),
                ..QueryStats::default()
            },
            deadline,
            ends_early: false,
            cut_short: false,
            asked: 0,
            best: None,
            answered: Vec::new(),
            told: alloc::collections::BTreeSet::new(),
            seeks: None,
            told_early: 0,
            early_open: 0,
            awaits_store: false,
            dials: Dials::default(),
        };
        self.queries.insert(id, Box::new(query));
        Ok(id)
    }

    /// Asks the peers that are the closest to a position, beginning with those of the table.
    pub(super) fn iterator(&self, target: Key, options: &QueryOptions) -> PeersIterator {
        let config = ClosestConfig {
            parallelism: options.parallelism.unwrap_or(self.config.parallelism),
            num_results: options
                .num_results
                .unwrap_or(self.config.replication_factor),
            peer_timeout: self.config.peer_timeout,
            max_candidates: self.config.max_candidates,
            termination: self.config.termination,
        };
        let known = self.table.closest(&target).map(|entry| *entry.peer());
        let known = known.take(SEEDS.max(config.num_results.get()));
        let disjoint = options
            .disjoint_paths
            .unwrap_or(self.config.disjoint_query_paths);
        if disjoint {
            PeersIterator::Disjoint(DisjointPeers::new(
                config.parallelism,
                config,
                target,
                known,
            ))
        } else {
            PeersIterator::Closest(ClosestPeers::new(config, target, known))
        }
    }

    pub(super) fn insert_put(
        &mut self,
        at: Moment,
        record: Record,
        quorum: Quorum,
        context: PutRecordContext,
        options: QueryOptions,
    ) -> Result<QueryId, QueryRefused> {
        let key = record.key.clone();
        let info = QueryInfo::PutRecord {
            record,
            quorum,
            phase: PutRecordPhase::Storing,
            context,
        };
        self.insert_query(at, info, key.as_bytes(), request::find_node, options)
    }

    /// Asks the store what this node itself has, and peers at the same time: the query does not end before both have replied.
    fn ask_own_store(
        &mut self,
        at: Moment,
        id: QueryId,
        request: StoreRequest,
        awaiting: Awaiting,
    ) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.awaits_store = true;
        }
        self.ask_store(at, request, awaiting);
        self.advance(at, id);
    }

    pub(super) fn insert_announcement(
        &mut self,
        at: Moment,
        key: RecordKey,
        context: AddProviderContext,
    ) -> Result<QueryId, QueryRefused> {
        let info = QueryInfo::AddProvider {
            key: key.clone(),
            phase: AddProviderPhase::Storing,
            context,
        };
        let options = QueryOptions::new();
        self.insert_query(at, info, key.as_bytes(), request::find_node, options)
    }

    /// Begins the lookup of a query whose record is stored.
    pub(super) fn begin_lookup(&mut self, at: Moment, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        match &mut query.info {
            QueryInfo::PutRecord { phase, .. } => *phase = PutRecordPhase::GetClosestPeers,
            QueryInfo::AddProvider { phase, .. } => *phase = AddProviderPhase::GetClosestPeers,
            _ => {}
        }
        self.advance(at, id);
    }

    /// Gives these peers what the query is about, all at once.
    pub(super) fn give_to(&mut self, at: Moment, id: QueryId, peers: Vec<PeerId>, message: Bytes) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let parallelism = NonZeroUsize::new(peers.len()).unwrap_or(NonZeroUsize::MIN);
        query.asked = peers
            .iter()
            .collect::<alloc::collections::BTreeSet<_>>()
            .len();
        query.peers = PeersIterator::Fixed(FixedPeers::new(parallelism, peers));
        query.request = message;
        self.timers.set(Deadline::Query(id), query.deadline);
        self.advance(at, id);
    }

    /// Everything a query waits for is no longer wanted.
    pub(super) fn cancel_requests(&mut self, query: &Query) {
        for flight in &query.in_flight {
            if self.take_rpc(flight.rpc).is_some() {
                self.outputs
                    .push_back(super::Output::Cancel { rpc: flight.rpc });
            }
        }
    }

    /// What a request was for is gone; its answer is welcome all the same.
    pub(super) fn detach_requests(&mut self, query: &Query) {
        for flight in &query.in_flight {
            if let Some(rpc) = self.rpcs.get_mut(&flight.rpc) {
                rpc.purpose = Purpose::Correction;
            }
        }
    }

    /// An event of a query.
    pub(super) fn progress(
        &mut self,
        at: Moment,
        id: QueryId,
        query: &mut Query,
        result: crate::protocol::kad::event::QueryResult,
        last: bool,
    ) {
        let step = query.take_step();
        let step = if last { step.last() } else { step };
        query.stats.end = Some(at.now);
        self.emit(Event::OutboundQueryProgressed {
            id,
            result,
            stats: query.stats,
            step,
        });
    }
}
