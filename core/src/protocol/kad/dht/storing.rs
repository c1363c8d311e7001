//! What was asked of the store, and why.

use super::{Dht, InboundId, Moment, QueryRefused, removals::Own};
use crate::{
    connection::ConnectionId,
    identity::PeerId,
    protocol::kad::{
        event::{AddProviderError, PutRecordError, QueryResult},
        key::RecordKey,
        query::{AddProviderContext, PutRecordContext, QueryId, QueryInfo},
        record::Record,
        store::{RecordStore, StoreError, StoreReply, StoreRequest, StoreRequestId},
    },
};
use alloc::vec::Vec;

/// What a reply of the store is for.
#[derive(Clone, Debug)]
pub(super) enum Awaiting {
    /// Nobody cares.
    Nothing,
    /// Something is to be forgotten.
    Removal {
        own: Own,
        number: u64,
    },
    /// A peer wants a record.
    Get {
        to: InboundId,
        from: PeerId,
        key: RecordKey,
    },
    /// A peer wants providers.
    Providers {
        to: InboundId,
        from: PeerId,
        key: RecordKey,
    },
    /// A peer wants a record kept.
    Put {
        to: InboundId,
        source: PeerId,
        connection: ConnectionId,
        record: Record,
    },
    /// A peer wants to be known as a provider.
    AddProvider {
        to: InboundId,
    },
    /// A query wants what this node itself has.
    OwnRecord(QueryId),
    OwnProviders(QueryId),
    /// A query can begin; or what was to be forgotten before still is.
    Stored {
        query: QueryId,
        forgotten: Option<Own>,
    },
    /// Records to publish or replicate.
    Records,
    /// Provider records to publish again.
    Provided,
    Sweep,
}

/// Something that is being stored.
#[derive(Debug)]
pub(super) struct Storing {
    reply: StoreRequestId,
    /// It was to be forgotten before.
    forgotten: Option<Own>,
}

impl Awaiting {
    /// Whether it is a peer that waits.
    const fn is_of_peer(&self) -> bool {
        matches!(
            self,
            Self::Get { .. } | Self::Providers { .. } | Self::Put { .. } | Self::AddProvider { .. }
        )
    }
}

impl<S: RecordStore> Dht<S> {
    /// Asks the store; the reply may be dealt with before this returns. Whether it was asked at all.
    pub(super) fn ask_store(
        &mut self,
        at: Moment,
        request: StoreRequest,
        awaiting: Awaiting,
    ) -> bool {
        let most = self.config.max_store_requests;
        // Peers leave some places to this node.
        let own = if awaiting.is_of_peer() { most / 8 } else { 0 };
        if self.awaiting.len() >= most.saturating_sub(own) {
            let failed = StoreReply::Failed(StoreError::Unavailable);
            self.store_replied(at, awaiting, failed);
            return false;
        }
        let (id, reply) = self.submit(at, request);
        match reply {
            Some(reply) => self.store_replied(at, awaiting, reply),
            None => {
                self.awaiting.insert(id, awaiting);
            }
        }
        true
    }

    fn submit(
        &mut self,
        at: Moment,
        request: StoreRequest,
    ) -> (StoreRequestId, Option<StoreReply>) {
        let id = StoreRequestId(self.asked_store);
        self.asked_store = self.asked_store.saturating_add(1);
        let waker = self.waker.as_ref();
        (id, self.store.submit(id, request, at.unix, waker))
    }

    /// Stores something of this node's own before a query about it begins: done, or the name of the reply to come. It is to be
    /// forgotten no more, unless the store refuses it.
    pub(super) fn store_own(
        &mut self,
        at: Moment,
        request: StoreRequest,
        own: Own,
    ) -> Result<Option<Storing>, QueryRefused> {
        let forgotten = self.suspend_removal(&own).then_some(own);
        match self.store_first(at, request) {
            Ok(reply) => Ok(reply.map(|reply| Storing { reply, forgotten })),
            Err(refused) => {
                if let Some(own) = forgotten {
                    self.remove_own(at, own);
                }
                Err(refused)
            }
        }
    }

    fn store_first(
        &mut self,
        at: Moment,
        request: StoreRequest,
    ) -> Result<Option<StoreRequestId>, QueryRefused> {
        if self.awaiting.len() >= self.config.max_store_requests {
            return Err(QueryRefused::Store(StoreError::Unavailable));
        }
        let (id, reply) = self.submit(at, request);
        let Some(reply) = reply else {
            return Ok(Some(id));
        };
        stored(&reply).map_err(QueryRefused::Store)?;
        Ok(None)
    }

    pub(super) fn begin_once_stored(
        &mut self,
        at: Moment,
        query: QueryId,
        stored: Option<Storing>,
    ) {
        match stored {
            Some(Storing { reply, forgotten }) => {
                self.awaiting
                    .insert(reply, Awaiting::Stored { query, forgotten });
            }
            None => self.begin_lookup(at, query),
        }
    }

    pub(super) fn take_store_replies(&mut self, at: Moment) {
        while let Some((id, reply)) = self.store.poll_reply() {
            if let Some(awaiting) = self.awaiting.remove(&id) {
                self.store_replied(at, awaiting, reply);
            }
        }
    }

    fn store_replied(&mut self, at: Moment, awaiting: Awaiting, reply: StoreReply) {
        match (awaiting, reply) {
            (Awaiting::Get { to, from, key }, reply) => {
                let record = match reply {
                    StoreReply::Record(record) => record,
                    _ => None,
                };
                self.answer_get(at, to, &from, &key, record);
            }
            (Awaiting::Providers { to, from, key }, reply) => {
                let providers = match reply {
                    StoreReply::Providers(providers) => providers,
                    _ => Vec::new(),
                };
                self.answer_providers(at, (to, &from), &key, &providers);
            }
            (
                Awaiting::Put {
                    to,
                    source,
                    connection,
                    record,
                },
                reply,
            ) => match stored(&reply) {
                Ok(()) => self.acknowledge_put(at, to, source, connection, &record),
                Err(_) => self.refused_by_store(to),
            },
            (Awaiting::AddProvider { to }, reply) => match stored(&reply) {
                Ok(()) => self.provider_added(to),
                Err(_) => self.refused_by_store(to),
            },
            (Awaiting::OwnRecord(id), reply) => {
                if let StoreReply::Record(record) = reply {
                    self.own_record(at, id, record);
                }
                self.own_store_replied(at, id);
            }
            (Awaiting::OwnProviders(id), reply) => {
                if let StoreReply::Providers(providers) = reply {
                    self.own_providers(at, id, providers);
                }
                self.own_store_replied(at, id);
            }
            (Awaiting::Stored { query, forgotten }, reply) => match stored(&reply) {
                Ok(()) => self.begin_lookup(at, query),
                Err(error) => {
                    if let Some(own) = forgotten {
                        self.remove_own(at, own);
                    }
                    self.not_stored(at, query, error);
                }
            },
            (Awaiting::Removal { own, number }, reply) => {
                self.removal_over(at, &own, number, &reply);
            }
            (Awaiting::Records, StoreReply::Records(records)) => self.publish_records(at, records),
            (Awaiting::Records, _) => self.records_unavailable(at),
            (Awaiting::Provided, StoreReply::Provided(records)) => {
                self.publish_providers(at, records);
            }
            (Awaiting::Provided, _) => self.providers_unavailable(at),
            (Awaiting::Sweep, StoreReply::Swept(count)) => {
                self.statistics.swept = self.statistics.swept.saturating_add(count);
            }
            _ => {}
        }
    }

    /// The store has said what this node itself has, or that it cannot tell.
    fn own_store_replied(&mut self, at: Moment, id: QueryId) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.awaits_store = false;
            self.advance(at, id);
        }
    }

    /// The own store did not take what a query is about.
    fn not_stored(&mut self, at: Moment, id: QueryId, error: StoreError) {
        let Some(mut query) = self.take_query(id) else {
            return;
        };
        let result = match &query.info {
            QueryInfo::PutRecord {
                record, context, ..
            } => {
                let key = record.key.clone();
                let failed = Err(PutRecordError::Store { key, error });
                match context {
                    PutRecordContext::Republish => QueryResult::RepublishRecord(failed),
                    _ => QueryResult::PutRecord(failed),
                }
            }
            QueryInfo::AddProvider { key, context, .. } => {
                let key = key.clone();
                let failed = Err(AddProviderError::Store { key, error });
                match context {
                    AddProviderContext::Publish => QueryResult::StartProviding(failed),
                    AddProviderContext::Republish => QueryResult::RepublishProvider(failed),
                }
            }
            _ => return,
        };
        self.progress(at, id, &mut query, result, true);
        self.go_on_publishing(at);
    }
}

/// Whether a reply says that something was stored.
fn stored(reply: &StoreReply) -> Result<(), StoreError> {
    match reply {
        StoreReply::Put(result) | StoreReply::AddProvider(result) => result.clone(),
        StoreReply::Failed(error) => Err(error.clone()),
        _ => Err(StoreError::Unavailable),
    }
}
