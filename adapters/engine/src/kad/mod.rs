//! A DHT as futures and streams.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`KadHandle`]: queries, and what else the application wants |
//! | `progress.rs` | [`KadQuery`]: queries whose findings come one after another |
//! | `dual.rs` | [`DualHandle`]: the DHT of the internet and that of the local network |
//! | `ready.rs` | waiting for the routing table |
//! | `error.rs` | how these fail |

mod dual;
mod error;
mod progress;
mod ready;

pub use dual::{DualHandle, DualQuery};
pub use error::KadError;
pub use progress::KadQuery;

use crate::{
    host::Host,
    operations::{Operating, Operation, Operations},
};
use core::{
    fmt,
    future::poll_fn,
    num::NonZeroUsize,
    task::{Context, Poll},
};
use drywire::{
    identity::{PeerId, PublicKey},
    multiaddr::Multiaddr,
    protocol::kad::{
        AddProviderOk, BootstrapOk, Event, GetRecordOk, Kademlia, MemoryStore, Mode, PeerInfo,
        PeerRecord, PutRecordOk, QueryId, QueryOptions, QueryRefused, QueryResult, Quorum, Record,
        RecordKey, RecordStore, RoutingUpdate,
        table::{Entry, Removed},
    },
    swarm::{self, Part, Protocol},
};
use ready::TableTap;
use std::sync::Arc;

/// Results of a query that wait to be read at most: more than there are peers that are asked.
const RESULTS: usize = 4096;

/// What a command sees and does.
type Cx<'a> = swarm::Context<'a, Event>;

impl<S: RecordStore> Operating for Kademlia<S> {
    type Id = QueryId;

    fn operation(event: &Event) -> Option<(QueryId, bool)> {
        match event {
            Event::OutboundQueryProgressed { id, step, .. } => Some((*id, step.last)),
            _ => None,
        }
    }

    fn give_up(&mut self, id: QueryId, cx: &mut Cx<'_>) {
        Self::give_up(self, &id, cx);
    }
}

/// Asks a DHT, and stores things there, by one [`Kademlia`] of a host. Made by [`Host::kad`]. Clones share everything. It
/// does not keep the host running.
///
/// Every limit and deadline is the protocol's, see its [`Config`](drywire::protocol::kad::Config). Whoever drops a future or
/// a stream gives the query up; what it has given to peers by then stays with them.
///
/// ```
/// use drywire::{
///     multistream::ProtocolName,
///     protocol::{
///         identify::Identify,
///         kad::{Config, Kademlia, Mode, Quorum, Record},
///     },
///     protocols,
/// };
/// use drywire_engine::{Host, KadError, Runtime};
/// use drywire_sim::World;
///
/// const DHT: ProtocolName = ProtocolName::from_static("/my-app/kad/1.0.0");
///
/// protocols! {
///     /// What these nodes speak. Without identify nobody learns who is a server of the DHT.
///     pub struct Speech => SpeechEvent {
///         identify: Identify => Identify,
///         kad: Kademlia => Kad,
///     }
/// }
///
/// fn start(runtime: &impl Runtime) -> Result<Host<Speech>, Box<dyn core::error::Error>> {
///     let speech = Speech {
///         identify: Identify::default(),
///         // A node that has no external address would be a client, which nobody asks.
///         kad: Kademlia::new(Config::new(DHT)).with_mode(Mode::Server),
///     };
///     Ok(Host::builder(runtime.clone(), speech).start()?)
/// }
///
/// // A world of virtual time and pipes; with `drywire-tokio`, the real one.
/// let mut world = World::new(1);
/// let runtime = world.add_runtime("machine")?;
/// world.block_on(async {
///     let first = start(&runtime)?;
///     let bound = first.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
///
///     // The others know the first one, and find each other.
///     let mut others = Vec::new();
///     for _ in 0..4 {
///         let host = start(&runtime)?;
///         host.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
///         let kad = host.kad(Speech::Kad);
///         kad.add_address(first.peer_id(), &bound.address);
///         kad.bootstrap().await?;
///         others.push((host, kad));
///     }
///     let [(_, ada), (_, bob), (cleo, _), ..] = &others[..] else { unreachable!() };
///
///     ada.put(Record::new("the key", "the value"), Quorum::One).await?;
///     assert_eq!(bob.get("the key").await?.record.value, "the value");
///     assert!(matches!(bob.get("another key").await, Err(KadError::NotFound { .. })));
///
///     ada.provide("a file").await?;
///     let mut providers = bob.providers("a file")?;
///     while let Some(provider) = providers.next().await {
///         assert!(!provider?.addresses.is_empty());
///     }
///     assert_eq!(bob.find_peer(cleo.peer_id()).await?.peer, cleo.peer_id());
///     Ok::<_, Box<dyn core::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct KadHandle<P: Protocol, S: RecordStore = MemoryStore> {
    operations: Operations<P, Kademlia<S>>,
}

impl<P> Host<P>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
{
    /// A DHT of the set as futures and streams: `host.kad(Set::Variant)`, or [`Part::whole`] if the host runs no other
    /// protocol.
    ///
    /// Events of queries that are begun in other ways, such as those of the background, are not concerned, and appear among
    /// [`events`](Self::events), as do all other events of the protocol. There may be several handles.
    pub fn kad<S>(&self, part: Part<P, Kademlia<S>>) -> KadHandle<P, S>
    where
        S: RecordStore + Send + 'static,
    {
        let operations = self.operations(part);
        KadHandle { operations }
    }
}

/// Finding, storing.
impl<P, S> KadHandle<P, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    /// Gets a record: the best, by the validator, of those that this node and the peers closest to the key have.
    ///
    /// All of these peers are asked, so that an old value does not win. Where any valid value will do,
    /// [a quorum](QueryOptions::quorum) of one is faster.
    ///
    /// # Errors
    /// [`KadError::NotFound`], [`KadError::Timeout`], and others.
    pub async fn get(&self, key: impl Into<RecordKey> + Send) -> Result<PeerRecord, KadError> {
        self.get_with(key, QueryOptions::new()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As there; [`KadError::TooFewAnswers`] if fewer peers than the quorum have one.
    pub async fn get_with(
        &self,
        key: impl Into<RecordKey> + Send,
        options: QueryOptions,
    ) -> Result<PeerRecord, KadError> {
        let key = key.into();
        let end = |result| match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                best,
                ..
            })) => Ok(best),
            QueryResult::GetRecord(Err(error)) => Err(error.into()),
            _ => Err(KadError::Other),
        };
        self.run(|kad, cx| kad.get_record_with(key, options, cx), end)
            .await
    }

    /// Gets all valid records of a key as they are found. The [best](KadQuery::best) of them is known at the end.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn get_all(
        &self,
        key: impl Into<RecordKey>,
    ) -> Result<KadQuery<P, PeerRecord, S>, KadError> {
        self.get_all_with(key, QueryOptions::new())
    }

    /// The same with options.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn get_all_with(
        &self,
        key: impl Into<RecordKey>,
        options: QueryOptions,
    ) -> Result<KadQuery<P, PeerRecord, S>, KadError> {
        let key = key.into();
        let operation = self.begin(RESULTS, |kad, cx| kad.get_record_with(key, options, cx))?;
        Ok(KadQuery::new(
            &self.operations,
            operation,
            progress::records,
        ))
    }

    /// Stores a record here and at the peers closest to its key, and waits until so many of them have taken it; the others are
    /// given it all the same, as long as the host runs. From then on it is published again from time to time, until it expires
    /// or is [removed](Self::remove_record): also if this fails, or the future is dropped.
    ///
    /// # Errors
    /// [`KadError::QuorumFailed`] if fewer peers than the quorum took it; [`KadError::Refused`] if it is not valid, or
    /// worse than one that is here; and others.
    pub async fn put(&self, record: Record, quorum: Quorum) -> Result<PutRecordOk, KadError> {
        self.put_with(record, quorum, QueryOptions::new()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As there.
    pub async fn put_with(
        &self,
        record: Record,
        quorum: Quorum,
        options: QueryOptions,
    ) -> Result<PutRecordOk, KadError> {
        self.put_by(|kad, cx| kad.put_record_with(record, quorum, options, cx))
            .await
    }

    /// Stores a record at these peers alone, not here.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub async fn put_to(
        &self,
        record: Record,
        peers: impl IntoIterator<Item = PeerId> + Send,
        quorum: Quorum,
    ) -> Result<PutRecordOk, KadError> {
        self.put_by(|kad, cx| kad.put_record_to(record, peers, quorum, cx))
            .await
    }

    /// Forgets a record that this node has put. Peers keep it until it expires.
    pub fn remove_record(&self, key: impl Into<RecordKey>) {
        self.with(|kad, cx| kad.remove_record(key, cx));
    }

    /// Tells the peers closest to a key that this node provides what it names, with the addresses that this node has. From
    /// then on it tells them again from time to time, until [`stop_providing`](Self::stop_providing): also if this fails,
    /// or the future is dropped.
    ///
    /// # Errors
    /// [`KadError::NobodyReached`], [`KadError::Timeout`], and others.
    pub async fn provide(
        &self,
        key: impl Into<RecordKey> + Send,
    ) -> Result<AddProviderOk, KadError> {
        let key = key.into();
        let end = |result| match result {
            QueryResult::StartProviding(result) => result.map_err(KadError::from),
            _ => Err(KadError::Other),
        };
        self.run(|kad, cx| kad.start_providing(key, cx), end).await
    }

    /// Tells it no more. Peers know it until that expires.
    pub fn stop_providing(&self, key: impl Into<RecordKey>) {
        self.with(|kad, cx| kad.stop_providing(key, cx));
    }

    /// Looks for providers of a key: each comes once, as soon as it is found, with the addresses it was told with.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn providers(
        &self,
        key: impl Into<RecordKey>,
    ) -> Result<KadQuery<P, PeerInfo, S>, KadError> {
        self.providers_with(key, QueryOptions::new())
    }

    /// The same with options, such as a [count](QueryOptions::count) after which it ends.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn providers_with(
        &self,
        key: impl Into<RecordKey>,
        options: QueryOptions,
    ) -> Result<KadQuery<P, PeerInfo, S>, KadError> {
        let key = key.into();
        let operation = self.begin(RESULTS, |kad, cx| kad.get_providers_with(key, options, cx))?;
        Ok(KadQuery::new(
            &self.operations,
            operation,
            progress::providers,
        ))
    }

    /// Looks for so many providers of a key, and ends as soon as it has them. There may be fewer, or none; if it takes too
    /// long, those that were found until then count.
    ///
    /// # Errors
    /// [`KadError::Timeout`] if none were found in time, and others.
    pub async fn find_providers(
        &self,
        key: impl Into<RecordKey> + Send,
        count: NonZeroUsize,
    ) -> Result<Vec<PeerInfo>, KadError> {
        let mut query = self.providers_with(key, QueryOptions::new().count(count))?;
        let mut providers = Vec::new();
        while let Some(found) = query.next().await {
            match found {
                Ok(provider) => providers.push(provider),
                Err(KadError::Timeout { .. }) if !providers.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        providers.truncate(count.get());
        Ok(providers)
    }

    /// Looks for the 20 peers closest to a key: any bytes, such as those of a [`PeerId`] or a [`RecordKey`].
    ///
    /// # Errors
    /// [`KadError::Timeout`] with those found until then, and others.
    pub async fn closest(&self, key: impl AsRef<[u8]> + Send) -> Result<Vec<PeerInfo>, KadError> {
        self.closest_with(key, QueryOptions::new()).await
    }

    /// The same with options, such as [how many](QueryOptions::num_results).
    ///
    /// # Errors
    /// As there.
    pub async fn closest_with(
        &self,
        key: impl AsRef<[u8]> + Send,
        options: QueryOptions,
    ) -> Result<Vec<PeerInfo>, KadError> {
        let command =
            |kad: &mut Kademlia<S>, cx: &mut Cx<'_>| kad.get_closest_peers_with(key, options, cx);
        self.run(command, closest_peers).await
    }

    /// Finds out where a peer may be reached: at once if it is connected, otherwise by asking, until somebody knows. What
    /// others say of it is unproven until it is dialed.
    ///
    /// # Errors
    /// [`KadError::NotFound`], [`KadError::Timeout`], and others.
    pub async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo, KadError> {
        self.find_peer_with(peer, QueryOptions::new()).await
    }

    /// The same with options, such as [disjoint paths](QueryOptions::disjoint_paths).
    ///
    /// # Errors
    /// As there.
    pub async fn find_peer_with(
        &self,
        peer: PeerId,
        options: QueryOptions,
    ) -> Result<PeerInfo, KadError> {
        let connected = self.with(|_, cx| cx.is_connected(&peer).then(|| cx.addresses(&peer)));
        if let Some(addresses) = connected.filter(|addresses| !addresses.is_empty()) {
            return Ok(PeerInfo { peer, addresses });
        }
        let found = |result| {
            let peers = closest_peers(result)?;
            let closest_peers = peers.iter().map(|info| info.peer).collect();
            let found = peers.into_iter().find(|info| info.peer == peer);
            found.ok_or(KadError::NotFound { closest_peers })
        };
        let command =
            |kad: &mut Kademlia<S>, cx: &mut Cx<'_>| kad.find_peer_with(peer, options, cx);
        self.run(command, found).await
    }

    /// The public key of a peer: out of its id, where it is in there; otherwise from the DHT, under
    /// [its own key](RecordKey::of_public_key). The network's validator must know these, as that of the public DHT does.
    ///
    /// # Errors
    /// [`KadError::NotFound`], [`KadError::Timeout`], and others; [`KadError::Other`] if it is not the peer's key that the
    /// network let pass.
    pub async fn public_key(&self, peer: PeerId) -> Result<PublicKey, KadError> {
        if let Some(key) = peer.public_key() {
            return Ok(key);
        }
        // There is only one valid value.
        let options = QueryOptions::new().quorum(NonZeroUsize::MIN);
        let found = self.get_with(RecordKey::of_public_key(&peer), options);
        let key = PublicKey::from_protobuf(&found.await?.record.value);
        key.ok()
            .filter(|key| peer.is_of(key))
            .ok_or(KadError::Other)
    }

    /// Makes this node known to its neighbours, and fills the routing table: lookups of this node itself, and of random
    /// peers. It also happens by itself, a moment after a sparse table gets a peer, and from time to time.
    ///
    /// # Errors
    /// [`QueryRefused::NoKnownPeers`] if the table is empty: [add an address](Self::add_address) first, or
    /// [wait](Self::wait_until_ready). [`KadError::Timeout`] if none of the lookups came to its end.
    pub async fn bootstrap(&self) -> Result<(), KadError> {
        let mut query = self.bootstrap_progress()?;
        let mut result = Ok(());
        let mut any = false;
        while let Some(lookup) = query.next().await {
            match lookup {
                Ok(_) => any = true,
                Err(error @ KadError::HostClosed) => return Err(error),
                Err(error) => result = Err(error),
            }
        }
        if any { Ok(()) } else { result }
    }

    /// The same; each of its lookups is told of.
    ///
    /// # Errors
    /// As there.
    pub fn bootstrap_progress(&self) -> Result<KadQuery<P, BootstrapOk, S>, KadError> {
        let operation = self.begin(RESULTS, |kad, cx| kad.bootstrap(cx))?;
        Ok(KadQuery::new(
            &self.operations,
            operation,
            progress::bootstraps,
        ))
    }

    fn begin(
        &self,
        capacity: usize,
        command: impl FnOnce(&mut Kademlia<S>, &mut Cx<'_>) -> Result<QueryId, QueryRefused>,
    ) -> Result<Operation<P, Kademlia<S>>, KadError> {
        Ok(self.operations.begin(capacity, command)?)
    }

    /// Runs a query of which only the end matters, and says what that means.
    async fn run<T>(
        &self,
        command: impl FnOnce(&mut Kademlia<S>, &mut Cx<'_>) -> Result<QueryId, QueryRefused>,
        end: impl FnOnce(QueryResult) -> Result<T, KadError>,
    ) -> Result<T, KadError> {
        let operation = self.begin(0, command)?;
        match operation.last().await {
            Some(Event::OutboundQueryProgressed { result, .. }) => {
                end(result).map_err(|error| error.or_closed(&self.operations))
            }
            Some(_) => Err(KadError::Other),
            None => Err(KadError::HostClosed),
        }
    }

    async fn put_by(
        &self,
        command: impl FnOnce(&mut Kademlia<S>, &mut Cx<'_>) -> Result<QueryId, QueryRefused>,
    ) -> Result<PutRecordOk, KadError> {
        let end = |result| match result {
            QueryResult::PutRecord(result) => result.map_err(KadError::from),
            _ => Err(KadError::Other),
        };
        self.run(command, end).await
    }
}

fn closest_peers(result: QueryResult) -> Result<Vec<PeerInfo>, KadError> {
    match result {
        QueryResult::GetClosestPeers(Ok(found)) => Ok(found.peers),
        QueryResult::GetClosestPeers(Err(error)) => Err(error.into()),
        _ => Err(KadError::Other),
    }
}

/// The node's own part.
impl<P, S> KadHandle<P, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    /// Adds an address of a peer that is known to be a server of the DHT: it comes into the routing table.
    pub fn add_address(&self, peer: PeerId, address: &Multiaddr) -> RoutingUpdate {
        self.with(|kad, cx| kad.add_address(peer, address, cx))
    }

    /// Removes an address of a peer from the routing table, with the last one the peer.
    pub fn remove_address(&self, peer: &PeerId, address: &Multiaddr) -> Removed {
        self.with(|kad, cx| kad.remove_address(peer, address, cx))
    }

    /// Removes a peer from the routing table; whether it was there.
    pub fn remove_peer(&self, peer: &PeerId) -> bool {
        self.with(|kad, cx| kad.remove_peer(peer, cx)).is_some()
    }

    /// The routing table as it is now, the closest first.
    #[must_use]
    pub fn table(&self) -> Vec<Entry> {
        self.with(|kad, _| {
            let table = kad.dht().table();
            let entries = table.closest(table.local());
            entries.cloned().collect()
        })
    }

    /// Waits until the routing table has a peer. A node that has just dialed somebody of the DHT knows only a moment later
    /// that it has; until then every query finds nothing.
    ///
    /// # Errors
    /// [`KadError::HostClosed`].
    pub async fn wait_until_ready(&self) -> Result<(), KadError> {
        let mut tap = None;
        poll_fn(|cx| self.poll_ready(&mut tap, cx)).await
    }

    fn poll_ready(
        &self,
        tap: &mut Option<Arc<TableTap<P, S>>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), KadError>> {
        let empty = || self.with(|kad, _| kad.dht().table().is_empty());
        if !empty() {
            return Poll::Ready(Ok(()));
        }
        let tap = tap.get_or_insert_with(|| {
            let tap = Arc::new(TableTap::new(self.operations.part));
            self.operations.inner.add_tap(tap.clone());
            tap
        });
        if tap.wait(cx) {
            return Poll::Ready(Err(KadError::HostClosed));
        }
        // It may have come before the tap could see it.
        if empty() {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether this node answers requests.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.with(|kad, _| kad.mode())
    }

    /// Makes this node a server or a client for good. `None` leaves it to the node: it is a server while it has an external
    /// address.
    pub fn set_mode(&self, mode: Option<Mode>) {
        self.with(|kad, cx| kad.set_mode(mode, cx));
    }

    /// Does anything else with the protocol. The swarm stands still meanwhile, as for [`Host::with`].
    pub fn with<R>(&self, command: impl FnOnce(&mut Kademlia<S>, &mut Cx<'_>) -> R) -> R {
        self.operations.with(command)
    }
}

impl<P: Protocol, S: RecordStore> Clone for KadHandle<P, S> {
    fn clone(&self) -> Self {
        Self {
            operations: self.operations.clone(),
        }
    }
}

impl<P: Protocol, S: RecordStore> fmt::Debug for KadHandle<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KadHandle")
            .field("part", &self.operations.part)
            .finish_non_exhaustive()
    }
}
