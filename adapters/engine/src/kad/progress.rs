//! Queries whose findings come one after another.

use super::KadError;
use crate::operations::{Operation, Operations};
use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};
use drywire::{
    identity::PeerId,
    protocol::kad::{
        BootstrapOk, Distance, Event, GetProvidersOk, GetRecordOk, Kademlia, MemoryStore, PeerInfo,
        PeerRecord, QueryId, QueryResult, QueryStats, RecordStore,
    },
    swarm::Protocol,
};
use std::collections::{BTreeMap, VecDeque};

/// What a result of a query tells of.
pub(super) type Findings<T> = VecDeque<Result<T, KadError>>;

/// A query under way: the stream of what it finds, which ends with the query. Dropping it gives the query up.
///
/// What goes wrong is among the findings, and need not be the last of them.
#[must_use = "the query is given up once this is dropped"]
pub struct KadQuery<P, T, S = MemoryStore>
where
    P: Protocol + Send + 'static,
    S: RecordStore + 'static,
{
    operation: Operation<P, Kademlia<S>>,
    operations: Operations<P, Kademlia<S>>,
    findings: fn(QueryResult) -> Findings<T>,
    found: Findings<T>,
    best: Option<PeerRecord>,
    cache_candidates: BTreeMap<Distance, PeerId>,
    stats: QueryStats,
    over: bool,
}

impl<P, T, S> KadQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    pub(super) fn new(
        operations: &Operations<P, Kademlia<S>>,
        operation: Operation<P, Kademlia<S>>,
        findings: fn(QueryResult) -> Findings<T>,
    ) -> Self {
        Self {
            operation,
            operations: operations.clone(),
            findings,
            found: VecDeque::new(),
            best: None,
            cache_candidates: BTreeMap::new(),
            stats: QueryStats::default(),
            over: false,
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> QueryId {
        self.operation.id()
    }

    /// What it did until the last finding: requests, answers, time.
    #[must_use]
    pub const fn stats(&self) -> &QueryStats {
        &self.stats
    }

    /// Of a get that has ended: the best record, by the validator.
    #[must_use]
    pub const fn best(&self) -> Option<&PeerRecord> {
        self.best.as_ref()
    }

    /// Of a get that has ended: the closest peers that should have had the record and had not, by their distance to it. The
    /// [best](Self::best) can be [put to](super::KadHandle::put_to) them, so that it is found sooner; the first alone is
    /// what the paper of Kademlia has in mind.
    #[must_use]
    pub const fn cache_candidates(&self) -> &BTreeMap<Distance, PeerId> {
        &self.cache_candidates
    }

    /// How many results were dropped because this was not read.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.operation.dropped()
    }

    /// Ends the query with what it has found; that still comes. Of a bootstrap it ends one of its lookups.
    pub fn finish(&self) {
        let id = self.id();
        self.operations.with(|kad, _| {
            if let Some(mut query) = kad.query_mut(&id) {
                query.finish();
            }
        });
    }

    /// Waits for the next finding; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<T, KadError>> {
        poll_fn(|cx| self.poll_found(cx)).await
    }

    fn poll_found(&mut self, cx: &Context<'_>) -> Poll<Option<Result<T, KadError>>> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Poll::Ready(Some(
                    found.map_err(|error| error.or_closed(&self.operations)),
                ));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let Some((event, last)) = ready!(self.operation.poll(cx)) else {
                self.over = true;
                return Poll::Ready(Some(Err(KadError::HostClosed)));
            };
            self.over = last;
            if let Event::OutboundQueryProgressed { result, stats, .. } = event {
                self.stats = stats;
                if let QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                    best,
                    cache_candidates,
                    ..
                })) = &result
                {
                    self.best = Some(best.clone());
                    self.cache_candidates.clone_from(cache_candidates);
                }
                self.found = (self.findings)(result);
            }
        }
    }
}

pub(super) fn records(result: QueryResult) -> Findings<PeerRecord> {
    let found = match result {
        QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => Ok(found),
        QueryResult::GetRecord(Ok(_)) => return VecDeque::new(),
        QueryResult::GetRecord(Err(error)) => Err(error.into()),
        _ => Err(KadError::Other),
    };
    VecDeque::from([found])
}

pub(super) fn providers(result: QueryResult) -> Findings<PeerInfo> {
    let error = match result {
        QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
            return providers.into_iter().map(Ok).collect();
        }
        QueryResult::GetProviders(Ok(_)) => return VecDeque::new(),
        QueryResult::GetProviders(Err(error)) => error.into(),
        _ => KadError::Other,
    };
    VecDeque::from([Err(error)])
}

pub(super) fn bootstraps(result: QueryResult) -> Findings<BootstrapOk> {
    VecDeque::from([match result {
        QueryResult::Bootstrap(result) => result.map_err(KadError::from),
        _ => Err(KadError::Other),
    }])
}

impl<P, T, S> futures_core::Stream for KadQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    S: RecordStore + Send + 'static,
{
    type Item = Result<T, KadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_found(cx)
    }
}

/// Nothing of a query is pinned.
impl<P, T, S> Unpin for KadQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    S: RecordStore + 'static,
{
}

impl<P, T, S> fmt::Debug for KadQuery<P, T, S>
where
    P: Protocol + Send + 'static,
    S: RecordStore + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KadQuery")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}
