//! What the application wants.

use super::{Cx, Kademlia};
use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::kad::{
        config::{Config, K_VALUE},
        dht::{Dht, Moment, QueryRefused, RoutingUpdate, Statistics},
        event::Mode,
        key::{Key, RecordKey},
        query::{QueryId, QueryMut, QueryOptions, QueryRef},
        record::{PeerInfo, ProviderRecord, Quorum, Record},
        store::RecordStore,
        table::{BucketRef, Entry, Removed},
    },
    swarm::AcceptError,
};
use core::num::NonZeroUsize;

impl<S: RecordStore> Kademlia<S> {
    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        self.dht.config()
    }

    /// The names under which the protocol is spoken, the preferred one first.
    #[must_use]
    pub fn protocol_names(&self) -> &[ProtocolName] {
        &self.dht.config().protocol_names
    }

    /// The names under which peers should be answered and are not, because another protocol has them, or there are too many.
    #[must_use]
    pub fn refused_names(&self) -> &[AcceptError] {
        &self.refused_names
    }

    /// The machine, to look into.
    #[must_use]
    pub const fn dht(&self) -> &Dht<S> {
        &self.dht
    }

    /// Requests to peers that have had no answer.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.outbound.len()
    }

    /// What was refused and done so far.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        self.dht.statistics()
    }

    /// The store, to look into and to change by its own means.
    pub const fn store_mut(&mut self) -> &mut S {
        self.dht.store_mut()
    }

    // Queries

    /// The queries that run.
    pub fn iter_queries(&self) -> impl Iterator<Item = QueryRef<'_>> {
        self.dht.queries()
    }

    /// The queries that run, to end some.
    pub fn iter_queries_mut(&mut self) -> impl Iterator<Item = QueryMut<'_>> {
        self.dht.queries_mut()
    }

    /// A query, if it runs.
    #[must_use]
    pub fn query(&self, id: &QueryId) -> Option<QueryRef<'_>> {
        self.dht.query(id)
    }

    /// A query, if it runs, to end it.
    pub fn query_mut(&mut self, id: &QueryId) -> Option<QueryMut<'_>> {
        self.dht.query_mut(id)
    }

    /// Gives a query up: nothing more is told of it. What it has given to peers stays with them. Whether it ran.
    pub fn give_up(&mut self, id: &QueryId, cx: &mut Cx<'_>) -> bool {
        if let Some(permit) = self.permits.remove(id) {
            cx.release_event(permit);
        }
        self.with_dht(cx, |dht, _| dht.give_up(id))
    }

    /// Looks for the 20 peers closest to a key: any bytes, such as those of a [`PeerId`] or a [`RecordKey`]. They are told in
    /// [`QueryResult::GetClosestPeers`](super::super::QueryResult::GetClosestPeers).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_closest_peers(
        &mut self,
        key: impl AsRef<[u8]>,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.get_closest_peers_with(key, QueryOptions::new(), cx)
    }

    /// The same for so many peers, at most 20.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_n_closest_peers(
        &mut self,
        key: impl AsRef<[u8]>,
        num_results: NonZeroUsize,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        let options = QueryOptions::new().num_results(num_results);
        self.get_closest_peers_with(key, options, cx)
    }

    /// The same with options.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_closest_peers_with(
        &mut self,
        key: impl AsRef<[u8]>,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| {
            dht.get_closest_peers(at, key.as_ref(), options)
        })
    }

    /// Looks for where a peer may be reached, and ends as soon as that is known. It is told in
    /// [`QueryResult::GetClosestPeers`](super::super::QueryResult::GetClosestPeers), where the peer is the first one if it
    /// was found. What others say of its addresses is unproven until it is dialed.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn find_peer(&mut self, peer: PeerId, cx: &mut Cx<'_>) -> Result<QueryId, QueryRefused> {
        self.find_peer_with(peer, QueryOptions::new(), cx)
    }

    /// The same with options.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn find_peer_with(
        &mut self,
        peer: PeerId,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| dht.find_peer(at, peer, options))
    }

    /// Looks for a record, in the own store and at the peers closest to its key. Every valid value is told in
    /// [`GetRecordOk::FoundRecord`](super::super::GetRecordOk::FoundRecord), the best of them at the end.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_record(
        &mut self,
        key: impl Into<RecordKey>,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.get_record_with(key, QueryOptions::new(), cx)
    }

    /// The same with options, such as a [quorum](QueryOptions::quorum).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_record_with(
        &mut self,
        key: impl Into<RecordKey>,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| dht.get_record(at, key.into(), options))
    }

    /// Stores a record here, and at the peers closest to its key. It is published again from time to time until it expires or
    /// is [removed](Self::remove_record). The publisher is set to this node.
    ///
    /// One that does not say when it expires is kept here for ever, and by peers for
    /// [`Config::record_ttl`].
    ///
    /// # Errors
    /// See [`QueryRefused`]: the record must be valid, and better than the one that is here.
    pub fn put_record(
        &mut self,
        record: Record,
        quorum: Quorum,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.put_record_with(record, quorum, QueryOptions::new(), cx)
    }

    /// The same with options.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn put_record_with(
        &mut self,
        record: Record,
        quorum: Quorum,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| dht.put_record(at, record, quorum, options))
    }

    /// Stores a record at these peers, not here; for instance at those that a get has found without it.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn put_record_to(
        &mut self,
        record: Record,
        peers: impl IntoIterator<Item = PeerId>,
        quorum: Quorum,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| dht.put_record_to(at, record, peers, quorum))
    }

    /// Forgets a record that this node has put, so that it is not published any more. Peers keep it until it expires.
    pub fn remove_record(&mut self, key: impl Into<RecordKey>, cx: &mut Cx<'_>) {
        self.with_dht(cx, |dht, at| dht.remove_record(at, key.into()));
    }

    /// Tells the peers closest to a key that this node provides what it names, now and again from time to time until
    /// [`stop_providing`](Self::stop_providing).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn start_providing(
        &mut self,
        key: impl Into<RecordKey>,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| dht.start_providing(at, key.into()))
    }

    /// Tells it no more. Peers know it until that expires.
    pub fn stop_providing(&mut self, key: impl Into<RecordKey>, cx: &mut Cx<'_>) {
        self.with_dht(cx, |dht, at| dht.stop_providing(at, key.into()));
    }

    /// Looks for providers of a key, with their addresses.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_providers(
        &mut self,
        key: impl Into<RecordKey>,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.get_providers_with(key, QueryOptions::new(), cx)
    }

    /// The same with options, such as a [count](QueryOptions::count).
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn get_providers_with(
        &mut self,
        key: impl Into<RecordKey>,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<QueryId, QueryRefused> {
        self.begin(cx, |dht, at| dht.get_providers(at, key.into(), options))
    }

    /// Makes the node known to its neighbours, and fills its k-buckets: it looks itself up, and then a random peer in each bucket
    /// that may hold others than those it has found by that, unless it is full of peers that are alive. It happens by itself too, see
    /// [`Config::periodic_bootstrap_interval`] and [`Config::automatic_bootstrap_throttle`].
    ///
    /// # Errors
    /// [`QueryRefused::NoKnownPeers`] if the table is empty: [add an address](Self::add_address) first.
    pub fn bootstrap(&mut self, cx: &mut Cx<'_>) -> Result<QueryId, QueryRefused> {
        self.begin(cx, Dht::bootstrap)
    }

    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        run: impl FnOnce(&mut Dht<S>, Moment) -> Result<QueryId, QueryRefused>,
    ) -> Result<QueryId, QueryRefused> {
        let Some(permit) = cx.reserve_event() else {
            return Err(QueryRefused::EventsFull);
        };
        self.dht.set_waker(cx.waker());
        let begun = run(&mut self.dht, super::moment(cx));
        match &begun {
            Ok(id) => {
                self.permits.insert(*id, permit);
            }
            Err(_) => cx.release_event(permit),
        }
        self.carry_out(cx);
        begun
    }

    // The routing table

    /// Adds an address of a peer that is known to be a server of the DHT. One that leads to another peer fails, and so does one
    /// that is not within [`address_scope`](Config::address_scope).
    pub fn add_address(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        cx: &mut Cx<'_>,
    ) -> RoutingUpdate {
        self.with_dht(cx, |dht, at| dht.add_address(at, peer, address))
    }

    /// Removes an address of a peer; the peer too, if it was the last one. An address that is not there changes nothing.
    pub fn remove_address(
        &mut self,
        peer: &PeerId,
        address: &Multiaddr,
        cx: &mut Cx<'_>,
    ) -> Removed {
        self.with_dht(cx, |dht, _| dht.remove_address(peer, address))
    }

    /// Removes a peer, also one that waits for a place.
    pub fn remove_peer(&mut self, peer: &PeerId, cx: &mut Cx<'_>) -> Option<Entry> {
        self.with_dht(cx, |dht, _| dht.remove_peer(peer))
    }

    /// The k-buckets that are not empty, the closest first.
    pub fn kbuckets(&self) -> impl DoubleEndedIterator<Item = BucketRef<'_>> {
        let buckets = self.dht.table().buckets();
        buckets.filter(|bucket| !bucket.is_empty())
    }

    /// The k-bucket that a position belongs in; `None` for the own one.
    #[must_use]
    pub fn kbucket(&self, position: impl Into<Key>) -> Option<BucketRef<'_>> {
        self.dht.table().bucket(&position.into())
    }

    /// All peers of the routing table, the closest to a position first. Nobody is asked.
    pub fn get_closest_local_peers(
        &self,
        position: impl Into<Key>,
    ) -> impl Iterator<Item = PeerId> {
        let position = position.into();
        self.dht
            .table()
            .closest(&position)
            .map(|entry| *entry.peer())
    }

    /// The 20 peers of the routing table closest to a position, without `source`. A peer that asks is told of itself, too, if it
    /// is one of them.
    pub fn find_closest_local_peers(
        &self,
        position: impl Into<Key>,
        source: &PeerId,
    ) -> impl Iterator<Item = PeerInfo> {
        let closest = self.dht.table().closest(&position.into());
        closest
            .filter(move |entry| entry.peer() != source)
            .take(K_VALUE.get())
            .map(|entry| PeerInfo {
                peer: *entry.peer(),
                addresses: entry.addresses().to_vec(),
            })
    }

    // Others

    /// Makes the node a server or a client for good. `None` leaves it to the node: it is a server while it has an external
    /// address.
    pub fn set_mode(&mut self, mode: Option<Mode>, cx: &mut Cx<'_>) {
        self.with_dht(cx, |dht, _| dht.set_mode(mode));
    }

    /// The same before the node runs.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.dht.set_mode(Some(mode));
        self
    }

    /// Whether the node answers requests.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.dht.mode()
    }

    /// Stores a record of a peer that was left to the application, see
    /// [`StoreInserts::FilterBoth`](super::super::StoreInserts::FilterBoth).
    pub fn store_record(&mut self, record: Record, source: PeerId, cx: &mut Cx<'_>) {
        self.with_dht(cx, |dht, at| dht.store_record(at, record, source));
    }

    /// Stores a provider record that was left to the application.
    pub fn store_provider(&mut self, record: ProviderRecord, cx: &mut Cx<'_>) {
        self.with_dht(cx, |dht, at| dht.store_provider(at, record));
    }
}
