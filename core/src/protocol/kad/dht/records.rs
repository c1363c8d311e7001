//! Getting, putting and correcting records.

use super::{Dht, Moment, Purpose};
use crate::{
    identity::PeerId,
    protocol::kad::{
        config::Caching,
        event::{GetProvidersOk, GetRecordOk, PeerRecord, QueryResult},
        iterators::PeersIterator,
        key::Key,
        message::{Message, request},
        query::{Answered, PutRecordPhase, Query, QueryId, QueryInfo},
        record::{PeerInfo, ProviderRecord, Record},
        store::RecordStore,
    },
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;

/// So many providers that were not told before are believed of one response: a single peer must not use up the room for all.
const MAX_PROVIDERS_TOLD: usize = 100;

impl<S: RecordStore> Dht<S> {
    /// A peer answered a get, with a value or without.
    pub(super) fn value_answered(
        &mut self,
        at: Moment,
        id: QueryId,
        query: &mut Box<Query>,
        peer: PeerId,
        message: &Message<'_>,
    ) {
        let record = message
            .record
            .as_ref()
            .map(|record| record.to_record(at.unix))
            .filter(|record| !record.is_expired(at.unix));
        let valid = record.filter(|record| {
            let valid = self
                .config
                .validator
                .validate(&record.key, &record.value, at.unix);
            if valid.is_err() || record.value.len() > self.config.max_value_len {
                let count = &mut self.statistics.invalid_values;
                *count = count.saturating_add(1);
                return false;
            }
            true
        });
        let value = valid.as_ref().map(|record| record.value.clone());
        query.answered.push(Answered { peer, value });
        let Some(record) = valid else {
            let Caching::Enabled { max_peers } = self.config.caching else {
                return;
            };
            let target = query.target;
            if let QueryInfo::GetRecord {
                cache_candidates, ..
            } = &mut query.info
            {
                // The closest of those that do not have it.
                cache_candidates.insert(Key::of_peer(&peer).distance(&target), peer);
                while cache_candidates.len() > usize::from(max_peers) {
                    cache_candidates.pop_last();
                }
            }
            return;
        };
        self.found(at, id, query, Some(peer), record);
    }

    /// What this node itself has of a record.
    pub(super) fn own_record(&mut self, at: Moment, id: QueryId, record: Option<Record>) {
        let Some(record) = record else { return };
        let Some(mut query) = self.queries.remove(&id) else {
            return;
        };
        let valid = self
            .config
            .validator
            .validate(&record.key, &record.value, at.unix);
        if valid.is_ok() && !record.is_expired(at.unix) {
            self.found(at, id, &mut query, None, record);
        }
        *self.ending.get_mut() |= query.ends_early;
        self.queries.insert(id, query);
    }

    /// A valid value.
    fn found(
        &mut self,
        at: Moment,
        id: QueryId,
        query: &mut Box<Query>,
        peer: Option<PeerId>,
        record: Record,
    ) {
        let new = PeerRecord { peer, record };
        let better = query.best.as_ref().is_none_or(|best| {
            let values = [&*best.record.value, &*new.record.value];
            best.record.value != new.record.value
                && self.config.validator.select(&new.record.key, &values) == 1
        });
        if better {
            query.best = Some(new.clone());
        }
        if let QueryInfo::GetRecord { found, .. } = &mut query.info {
            *found = found.saturating_add(1);
            let quorum = query.options.quorum;
            if quorum.is_some_and(|quorum| *found >= quorum.get()) {
                query.ends_early |= Self::finish_paths(query);
            }
        }
        let result = QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(new)));
        self.progress(at, id, query, result, false);
    }

    /// Ends the paths on which values were found, or the only path. Whether there is no other.
    fn finish_paths(query: &mut Query) -> bool {
        query.cut_short = true;
        if !matches!(query.peers, PeersIterator::Disjoint(_)) {
            return true;
        }
        let answered = query.answered.iter();
        let with_value = answered.filter(|answered| answered.value.is_some());
        query
            .peers
            .finish_paths(with_value.map(|answered| &answered.peer))
    }

    /// Gives the best value to those of the closest peers that had none or another one.
    pub(super) fn correct(&mut self, at: Moment, query: &Query, best: &Record) {
        // Those who have answered when a lookup is cut short are not yet the closest.
        if !self.config.entry_correction || !query.is_whole() {
            return;
        }
        let closest = query.peers.result();
        let outdated = query.answered.iter().filter(|answered| {
            answered.value.as_ref() != Some(&best.value) && closest.contains(&answered.peer)
        });
        let peers: Vec<PeerId> = outdated.map(|answered| answered.peer).collect();
        if peers.is_empty() {
            return;
        }
        let message = self.put_message(at, best.clone());
        for peer in peers {
            self.request(at, peer, message.clone(), true, Purpose::Correction);
        }
    }

    /// The request by which a record is given to a peer.
    pub(super) fn put_message(&self, at: Moment, mut record: Record) -> Bytes {
        self.limit_life(at, &mut record);
        let mut message = Vec::new();
        request::put_value(&mut message, &record, at.unix, record.publisher.as_ref());
        message.into()
    }

    /// A record that does not say for how long it is valid is for others as long as records are.
    pub(super) fn limit_life(&self, at: Moment, record: &mut Record) {
        let ttl = self.config.record_ttl;
        record.expires = record
            .expires
            .or_else(|| ttl.map(|ttl| at.unix.saturating_add(ttl)));
    }

    /// A peer took a record.
    pub(super) fn put_answered(&self, query: &mut Query, peer: PeerId) {
        if let QueryInfo::PutRecord {
            phase: PutRecordPhase::PutRecord { success },
            ..
        } = &mut query.info
        {
            success.push(peer);
        }
        if self.has_quorum(query) {
            query.ends_early = true;
        }
    }

    /// A peer told of providers.
    pub(super) fn providers_answered(
        &mut self,
        at: Moment,
        id: QueryId,
        query: &mut Box<Query>,
        bytes: &Bytes,
        message: &Message<'_>,
    ) {
        let mut providers = Vec::new();
        for told in message.provider_peers() {
            if query.told.len() >= self.config.max_candidates
                || providers.len() >= MAX_PROVIDERS_TOLD
            {
                break;
            }
            let addresses = self.usable(bytes, &told).unwrap_or_default();
            if told.peer != self.local && query.told.insert(told.peer) {
                let peer = told.peer;
                providers.push(PeerInfo { peer, addresses });
            }
        }
        self.found_providers(at, id, query, providers);
    }

    /// What this node itself knows of providers.
    pub(super) fn own_providers(&mut self, at: Moment, id: QueryId, records: Vec<ProviderRecord>) {
        let Some(mut query) = self.queries.remove(&id) else {
            return;
        };
        let records = records
            .into_iter()
            .filter(|record| !record.is_expired(at.unix) && query.told.insert(record.provider));
        let providers = records
            .map(|record| {
                let own = record.provider == self.local;
                let addresses = if own {
                    self.own_addresses().cloned().collect()
                } else {
                    self.addresses_of_provider(at, &record).to_vec()
                };
                PeerInfo {
                    peer: record.provider,
                    addresses,
                }
            })
            .collect();
        self.found_providers(at, id, &mut query, providers);
        *self.ending.get_mut() |= query.ends_early;
        self.queries.insert(id, query);
    }

    fn found_providers(
        &mut self,
        at: Moment,
        id: QueryId,
        query: &mut Box<Query>,
        providers: Vec<PeerInfo>,
    ) {
        let QueryInfo::GetProviders {
            key,
            providers_found,
            ..
        } = &mut query.info
        else {
            return;
        };
        if providers.is_empty() {
            return;
        }
        *providers_found = query.told.len();
        let key = key.clone();
        let enough = query.options.count;
        if enough.is_some_and(|count| query.told.len() >= count.get()) {
            query.ends_early = true;
        }
        let found = GetProvidersOk::FoundProviders { key, providers };
        self.progress(at, id, query, QueryResult::GetProviders(Ok(found)), false);
    }
}
