//! What a node does without being asked: bootstraps, republication, liveness, sweeping.

use super::{Deadline, Dht, Moment, storing::Awaiting};
use crate::protocol::kad::{
    query::{AddProviderContext, PutRecordContext, QueryInfo, QueryOptions},
    record::{ProviderRecord, Quorum},
    store::{RecordStore, StoreRequest, StoredRecord},
};
use alloc::vec::Vec;

/// Queries of the background that run at once.
const JOBS_MAX_QUERIES: usize = 100;
/// Records that are asked of the store at a time.
const PAGE: usize = 10;

impl<S: RecordStore> Dht<S> {
    pub(super) fn begin_background(&mut self, at: Moment) {
        if let Some(interval) = self.config.liveness_interval {
            let first = at.now.saturating_add(interval);
            self.timers.set(Deadline::Liveness, first);
        }
        if let Some(interval) = self.config.sweep_interval {
            self.timers
                .set(Deadline::Sweep, at.now.saturating_add(interval));
        }
        if let Some(next) = self.jobs.next_records() {
            self.timers.set(Deadline::Records, next);
        }
        if let Some(next) = self.jobs.next_providers() {
            self.timers.set(Deadline::Providers, next);
        }
    }

    pub(super) fn bootstrap_by_itself(&mut self, at: Moment) {
        if self.bootstrap(at).is_err() {
            self.bootstraps.reset(at.now);
        }
    }

    pub(super) fn sweep(&mut self, at: Moment) {
        if let Some(interval) = self.config.sweep_interval {
            self.timers
                .set(Deadline::Sweep, at.now.saturating_add(interval));
            self.ask_store(at, StoreRequest::Sweep, Awaiting::Sweep);
        }
    }

    /// How many more queries of the background may run.
    fn room_for_jobs(&self) -> usize {
        let running = self.queries.values().filter(|query| {
            matches!(
                query.info,
                QueryInfo::PutRecord {
                    context: PutRecordContext::Republish | PutRecordContext::Replicate,
                    ..
                } | QueryInfo::AddProvider {
                    context: AddProviderContext::Republish,
                    ..
                }
            )
        });
        let most = JOBS_MAX_QUERIES.min(self.config.max_queries.saturating_sub(self.queries.len()));
        most.saturating_sub(running.count())
    }

    /// It is time to publish records.
    pub(super) fn records_due(&mut self, at: Moment) {
        self.jobs.begin_records(at.now);
        self.next_records(at);
    }

    /// It is time to publish provider records.
    pub(super) fn providers_due(&mut self, at: Moment) {
        self.jobs.begin_providers();
        self.next_providers(at);
    }

    /// A query is over: there may be room for others of the background.
    pub(super) fn go_on_publishing(&mut self, at: Moment) {
        self.next_records(at);
        self.next_providers(at);
    }

    fn next_records(&mut self, at: Moment) {
        if !self.jobs.records_wait() {
            return;
        }
        let limit = self.room_for_jobs().min(PAGE);
        if let Some(after) = self.jobs.records_page(limit) {
            let page = StoreRequest::Records { after, limit };
            self.ask_store(at, page, Awaiting::Records);
        }
    }

    fn next_providers(&mut self, at: Moment) {
        if !self.jobs.providers_wait() {
            return;
        }
        let limit = self.room_for_jobs().min(PAGE);
        if let Some(after) = self.jobs.providers_page(limit) {
            let page = StoreRequest::Provided { after, limit };
            self.ask_store(at, page, Awaiting::Provided);
        }
    }

    /// A part of the records of the store: gives those to peers that are due.
    pub(super) fn publish_records(&mut self, at: Moment, records: Vec<StoredRecord>) {
        let last = records.last().map(|stored| stored.record.key.clone());
        for StoredRecord { mut record, local } in records {
            if record.is_expired(at.unix) {
                continue;
            }
            let Some(context) = self.jobs.context(&record.key, local) else {
                continue;
            };
            if context == PutRecordContext::Republish {
                let ttl = self.config.record_ttl;
                record.expires = record
                    .expires
                    .or_else(|| ttl.map(|ttl| at.unix.saturating_add(ttl)));
            }
            let options = QueryOptions::new();
            // Not all: a network with fewer peers than the replication factor would fail for ever.
            let quorum = Quorum::AllFound;
            if let Ok(id) = self.insert_put(at, record, quorum, context, options) {
                self.begin_lookup(at, id);
            }
        }
        if self.jobs.records_published(last, at.now) {
            self.next_records(at);
        }
        if let Some(next) = self.jobs.next_records() {
            self.timers.set(Deadline::Records, next);
        }
    }

    /// A part of what this node provides: announces it again.
    pub(super) fn publish_providers(&mut self, at: Moment, records: Vec<ProviderRecord>) {
        let last = records.last().map(|record| record.key.clone());
        for record in records {
            let context = AddProviderContext::Republish;
            if let Ok(id) = self.insert_announcement(at, record.key, context) {
                self.begin_lookup(at, id);
            }
        }
        if self.jobs.providers_published(last, at.now) {
            self.next_providers(at);
        }
        if let Some(next) = self.jobs.next_providers() {
            self.timers.set(Deadline::Providers, next);
        }
    }
}
