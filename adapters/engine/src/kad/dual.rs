//! Two DHTs at once, as futures and streams.

use super::{
    KadError, RESULTS,
    progress::{Findings, providers, records},
};
use crate::{
    host::Host,
    operations::{Operating, Operation, Operations},
};
use core::{
    fmt,
    future::poll_fn,
    num::NonZeroUsize,
    pin::Pin,
    task::{Context, Poll, ready},
};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        AddProviderOk, Dual, DualEvent, DualQueryId, DualResults, Kademlia, MemoryStore, PeerInfo,
        PeerRecord, PutRecordOk, QueryOptions, QueryRefused, QueryResult, Quorum, Record,
        RecordKey, RecordStore, RoutingUpdate, Side,
    },
    swarm::{self, Part, Protocol},
};
use std::collections::{BTreeSet, VecDeque};

/// What a command sees and does.
type Cx<'a> = swarm::Context<'a, DualEvent>;

impl<S: RecordStore> Operating for Dual<S> {
    type Id = DualQueryId;

    fn operation(event: &DualEvent) -> Option<(DualQueryId, bool)> {
        match event {
            DualEvent::Progressed { id, .. } => Some((*id, false)),
            DualEvent::Finished { id, .. } => Some((*id, true)),
            _ => None,
        }
    }

    fn give_up(&mut self, id: DualQueryId, cx: &mut Cx<'_>) {
        Self::give_up(self, &id, cx);
    }
}

/// Asks the DHT of the internet and that of the local network, and stores things in one of them, by one [`Dual`] of a host. Made
/// by [`Host::dual`]. Clones share everything. It does not keep the host running.
///
/// Whoever drops a future or a stream gives the query up.
///
/// ```
/// use drywire::{
///     protocol::{
///         identify::Identify,
///         kad::{Dual, Quorum, Record, Side, validator::AcceptAll},
///     },
///     protocols,
/// };
/// use drywire_engine::{Host, Runtime};
/// use drywire_sim::World;
/// use std::sync::Arc;
///
/// protocols! {
///     /// What these nodes speak.
///     pub struct Speech => SpeechEvent {
///         identify: Identify => Identify,
///         dual: Dual => Dual,
///     }
/// }
///
/// fn start(runtime: &impl Runtime) -> Result<Host<Speech>, Box<dyn core::error::Error>> {
///     let speech = Speech {
///         identify: Identify::default(),
///         // Without this, only public keys and IPNS records are taken.
///         dual: Dual::with_validator(Arc::new(AcceptAll)),
///     };
///     Ok(Host::builder(runtime.clone(), speech).start()?)
/// }
///
/// let mut world = World::new(1);
/// let runtime = world.add_runtime("machine")?;
/// world.block_on(async {
///     let first = start(&runtime)?;
///     let bound = first.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
///     let mut others = Vec::new();
///     for _ in 0..3 {
///         let host = start(&runtime)?;
///         host.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
///         let dual = host.dual(Speech::Dual);
///         // On this machine there is only the local network.
///         dual.add_address(Side::Lan, first.peer_id(), &bound.address);
///         dual.bootstrap().await?;
///         others.push((host, dual));
///     }
///     let [(_, ada), (_, bob), ..] = &others[..] else { unreachable!() };
///     assert_eq!(ada.writes_to(), Side::Lan);
///     ada.put(Record::new("the key", "the value"), Quorum::One).await?;
///     assert_eq!(bob.get("the key").await?.record.value, "the value");
///     Ok::<_, Box<dyn core::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct DualHandle<P: Protocol, S: RecordStore = MemoryStore> {
    operations: Operations<P, Dual<S>>,
}

impl<P> Host<P>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
{
    /// Two DHTs of the set as futures and streams: `host.dual(Set::Variant)`. Otherwise as [`kad`](Self::kad).
    pub fn dual<S>(&self, part: Part<P, Dual<S>>) -> DualHandle<P, S>
    where
        S: RecordStore + Send + 'static,
    {
        let operations = self.operations(part);
        DualHandle { operations }
    }
}

/// Finding, storing.
impl<P, S> DualHandle<P, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    /// Gets a record from both: the internet's, unless only the local network has one.
    ///
    /// # Errors
    /// [`KadError::NotFound`], [`KadError::Timeout`], and others.
    pub async fn get(&self, key: impl Into<RecordKey> + Send) -> Result<PeerRecord, KadError> {
        self.get_with(key, QueryOptions::new()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As there.
    pub async fn get_with(
        &self,
        key: impl Into<RecordKey> + Send,
        options: QueryOptions,
    ) -> Result<PeerRecord, KadError> {
        let key = key.into();
        let results = self
            .run(|dual, cx| dual.get_record(&key, options, cx))
            .await?;
        if let Some(best) = results.record() {
            return Ok(best.clone());
        }
        // What one has found of it says more than that the other has nothing.
        let sides = [results.wan.as_deref(), results.lan.as_deref()];
        let errors = sides
            .into_iter()
            .flatten()
            .filter_map(|result| match result {
                QueryResult::GetRecord(Err(error)) => Some(KadError::from(error.clone())),
                _ => None,
            });
        let error = errors.reduce(|one, other| match one {
            KadError::NotFound { .. } => other,
            one => one,
        });
        Err(error.unwrap_or(KadError::Other))
    }

    /// Gets all valid records of a key as they are found in either.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn get_all(
        &self,
        key: impl Into<RecordKey>,
    ) -> Result<DualQuery<P, PeerRecord, S>, KadError> {
        let key = key.into();
        let command =
            |dual: &mut Dual<S>, cx: &mut Cx<'_>| dual.get_record(&key, QueryOptions::new(), cx);
        self.begin(command, records)
    }

    /// Stores a record where [`writes_to`](Self::writes_to) says, and waits until so many peers have taken it.
    ///
    /// # Errors
    /// As [`KadHandle::put`](super::KadHandle::put).
    pub async fn put(&self, record: Record, quorum: Quorum) -> Result<PutRecordOk, KadError> {
        let results = self.run(|dual, cx| dual.put_record(&record, quorum, cx));
        stored(&results.await?)
    }

    /// Stores a record at these peers of one side alone, not here.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub async fn put_to(
        &self,
        side: Side,
        record: Record,
        peers: &[PeerId],
        quorum: Quorum,
    ) -> Result<PutRecordOk, KadError> {
        let results = self.run(|dual, cx| dual.put_record_to(side, &record, peers, quorum, cx));
        stored(&results.await?)
    }

    /// Forgets a record that this node has put. Peers keep it until it expires.
    pub fn remove_record(&self, key: impl Into<RecordKey>) {
        let key = key.into();
        self.with(|dual, cx| dual.remove_record(&key, cx));
    }

    /// Tells peers, where [`writes_to`](Self::writes_to) says, that this node provides something, from time to time.
    ///
    /// # Errors
    /// As [`KadHandle::provide`](super::KadHandle::provide).
    pub async fn provide(
        &self,
        key: impl Into<RecordKey> + Send,
    ) -> Result<AddProviderOk, KadError> {
        let key = key.into();
        let results = self.run(|dual, cx| dual.start_providing(&key, cx)).await?;
        match preferred(&results) {
            Some(QueryResult::StartProviding(result)) => result.clone().map_err(KadError::from),
            _ => Err(KadError::Other),
        }
    }

    /// Tells it no more.
    pub fn stop_providing(&self, key: impl Into<RecordKey>) {
        let key = key.into();
        self.with(|dual, cx| dual.stop_providing(&key, cx));
    }

    /// Looks for providers of a key in both. One that is found in both comes twice, with the addresses it has in each.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn providers(
        &self,
        key: impl Into<RecordKey>,
    ) -> Result<DualQuery<P, PeerInfo, S>, KadError> {
        self.providers_with(key, QueryOptions::new())
    }

    /// The same with options, such as a [count](QueryOptions::count) after which each of the two ends.
    ///
    /// # Errors
    /// [`KadError::Refused`].
    pub fn providers_with(
        &self,
        key: impl Into<RecordKey>,
        options: QueryOptions,
    ) -> Result<DualQuery<P, PeerInfo, S>, KadError> {
        let key = key.into();
        let command = |dual: &mut Dual<S>, cx: &mut Cx<'_>| dual.get_providers(&key, options, cx);
        self.begin(command, providers)
    }

    /// Looks for so many different providers of a key, and ends as soon as it has them. There may be fewer, or none.
    ///
    /// # Errors
    /// [`KadError::Timeout`] if none were found in time, and others.
    pub async fn find_providers(
        &self,
        key: impl Into<RecordKey> + Send,
        count: NonZeroUsize,
    ) -> Result<Vec<PeerInfo>, KadError> {
        let mut query = self.providers_with(key, QueryOptions::new().count(count))?;
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        while found.len() < count.get() {
            match query.next().await {
                Some(Ok((_, provider))) if seen.insert(provider.peer) => found.push(provider),
                Some(Err(KadError::Timeout { .. })) if !found.is_empty() => {}
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(found)
    }

    /// Looks for the peers closest to a key in both, those of the internet first.
    ///
    /// # Errors
    /// [`KadError::Timeout`] if both took too long, with those found until then by the one that is preferred; and others.
    pub async fn closest(&self, key: impl AsRef<[u8]> + Send) -> Result<Vec<PeerInfo>, KadError> {
        let results = self
            .run(|dual, cx| dual.get_closest_peers(key.as_ref(), cx))
            .await?;
        match preferred(&results) {
            Some(QueryResult::GetClosestPeers(Ok(_))) => {
                Ok(results.closest_peers().cloned().collect())
            }
            Some(QueryResult::GetClosestPeers(Err(error))) => Err(error.clone().into()),
            _ => Err(KadError::Other),
        }
    }

    /// Finds out where a peer may be reached: at once if it is connected, otherwise by asking both.
    ///
    /// # Errors
    /// [`KadError::NotFound`], [`KadError::Timeout`], and others.
    pub async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo, KadError> {
        let connected = self.with(|_, cx| cx.is_connected(&peer).then(|| cx.addresses(&peer)));
        if let Some(addresses) = connected.filter(|addresses| !addresses.is_empty()) {
            return Ok(PeerInfo { peer, addresses });
        }
        let results = self
            .run(|dual, cx| dual.find_peer(peer, QueryOptions::new(), cx))
            .await?;
        if let Some(found) = results.closest_peers().find(|info| info.peer == peer) {
            return Ok(found.clone());
        }
        match preferred(&results) {
            Some(QueryResult::GetClosestPeers(Err(error))) => Err(error.clone().into()),
            _ => {
                let closest_peers = results.closest_peers().map(|info| info.peer).collect();
                Err(KadError::NotFound { closest_peers })
            }
        }
    }

    /// Makes this node known to its neighbours in both, and fills the routing tables.
    ///
    /// # Errors
    /// [`QueryRefused::NoKnownPeers`] if both tables are empty. [`KadError::Timeout`] if the last lookup was too slow in both.
    pub async fn bootstrap(&self) -> Result<(), KadError> {
        let results = self.run(Dual::bootstrap).await?;
        match preferred(&results) {
            Some(QueryResult::Bootstrap(Ok(_))) => Ok(()),
            Some(QueryResult::Bootstrap(Err(error))) => Err(error.clone().into()),
            _ => Err(KadError::Other),
        }
    }

    fn begin<T>(
        &self,
        command: impl FnOnce(&mut Dual<S>, &mut Cx<'_>) -> Result<DualQueryId, QueryRefused>,
        findings: fn(QueryResult) -> Findings<T>,
    ) -> Result<DualQuery<P, T, S>, KadError> {
        let operation = self.operations.begin(RESULTS, command)?;
        Ok(DualQuery {
            operation,
            operations: self.operations.clone(),
            findings,
            found: VecDeque::new(),
            results: None,
            over: false,
        })
    }

    /// Runs a query of which only the ends matter.
    async fn run(
        &self,
        command: impl FnOnce(&mut Dual<S>, &mut Cx<'_>) -> Result<DualQueryId, QueryRefused>,
    ) -> Result<DualResults, KadError> {
        let operation = self.operations.begin(0, command).map_err(KadError::from)?;
        match operation.last().await {
            Some(DualEvent::Finished { results, .. }) => {
                if results
                    .preferred()
                    .is_none_or(|(_, result)| !result.is_ok())
                    && self.operations.is_closing()
                {
                    return Err(KadError::HostClosed);
                }
                Ok(results)
            }
            Some(_) => Err(KadError::Other),
            None => Err(KadError::HostClosed),
        }
    }
}

fn preferred(results: &DualResults) -> Option<&QueryResult> {
    results.preferred().map(|(_, result)| result)
}

fn stored(results: &DualResults) -> Result<PutRecordOk, KadError> {
    match preferred(results) {
        Some(QueryResult::PutRecord(result)) => result.clone().map_err(KadError::from),
        _ => Err(KadError::Other),
    }
}

/// The node's own part.
impl<P, S> DualHandle<P, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    /// Which of the two takes what is stored: the internet's, once it knows a peer.
    #[must_use]
    pub fn writes_to(&self) -> Side {
        self.with(|dual, _| dual.writes_to())
    }

    /// Adds an address of a peer that is known to be a server of one of the two. It must be within the scope of that one:
    /// public on the internet, private on the local network.
    pub fn add_address(&self, side: Side, peer: PeerId, address: &Multiaddr) -> RoutingUpdate {
        self.with_side(side, |kad, cx| kad.add_address(peer, address, cx))
    }

    /// Does anything else with one of the two. The swarm stands still meanwhile, as for [`Host::with`].
    pub fn with_side<R>(
        &self,
        side: Side,
        command: impl FnOnce(&mut Kademlia<S>, &mut super::Cx<'_>) -> R,
    ) -> R {
        self.with(|dual, cx| dual.with_side(side, cx, command))
    }

    /// Does anything else with both. The swarm stands still meanwhile, as for [`Host::with`].
    pub fn with<R>(&self, command: impl FnOnce(&mut Dual<S>, &mut Cx<'_>) -> R) -> R {
        self.operations.with(command)
    }
}

impl<P: Protocol, S: RecordStore> Clone for DualHandle<P, S> {
    fn clone(&self) -> Self {
        Self {
            operations: self.operations.clone(),
        }
    }
}

impl<P: Protocol, S: RecordStore> fmt::Debug for DualHandle<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DualHandle")
            .field("part", &self.operations.part)
            .finish_non_exhaustive()
    }
}

/// A query of two DHTs under way: the stream of what each finds, which ends when both have ended. Dropping it gives the query
/// up. It fails, at the end, only if no side has ended well.
#[must_use = "the query is given up once this is dropped"]
pub struct DualQuery<P, T, S = MemoryStore>
where
    P: Protocol + Send + 'static,
    S: RecordStore + 'static,
{
    operation: Operation<P, Dual<S>>,
    operations: Operations<P, Dual<S>>,
    findings: fn(QueryResult) -> Findings<T>,
    found: VecDeque<Result<(Side, T), KadError>>,
    results: Option<DualResults>,
    over: bool,
}

impl<P, T, S> DualQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    /// Its name.
    #[must_use]
    pub fn id(&self) -> DualQueryId {
        self.operation.id()
    }

    /// How each of the two ended, once both have.
    #[must_use]
    pub const fn results(&self) -> Option<&DualResults> {
        self.results.as_ref()
    }

    /// How many results were dropped because this was not read.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.operation.dropped()
    }

    /// Waits for the next finding, and where it was found; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<(Side, T), KadError>> {
        poll_fn(|cx| self.poll_found(cx)).await
    }

    fn poll_found(&mut self, cx: &Context<'_>) -> Poll<Option<Result<(Side, T), KadError>>> {
        loop {
            if let Some(found) = self.found.pop_front() {
                let found = found.map_err(|error| error.or_closed(&self.operations));
                return Poll::Ready(Some(found));
            }
            if self.over {
                return Poll::Ready(None);
            }
            match ready!(self.operation.poll(cx)) {
                None => {
                    self.over = true;
                    return Poll::Ready(Some(Err(KadError::HostClosed)));
                }
                Some((DualEvent::Progressed { side, result, .. }, _)) => self.find(side, result),
                Some((DualEvent::Finished { results, .. }, _)) => {
                    self.over = true;
                    if let Some((side, result)) = results.preferred()
                        && !result.is_ok()
                    {
                        self.find(side, result.clone());
                    }
                    self.results = Some(results);
                }
                Some(_) => {}
            }
        }
    }

    fn find(&mut self, side: Side, result: QueryResult) {
        let findings = (self.findings)(result).into_iter();
        self.found
            .extend(findings.map(|found| found.map(|found| (side, found))));
    }
}

impl<P, T, S> futures_core::Stream for DualQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    type Item = Result<(Side, T), KadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_found(cx)
    }
}

/// Nothing of a query is pinned.
impl<P, T, S> Unpin for DualQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    S: RecordStore + 'static,
{
}

impl<P, T, S> fmt::Debug for DualQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    S: RecordStore + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DualQuery")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}
