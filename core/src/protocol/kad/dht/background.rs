//! What a node does without being asked: bootstraps, republication, liveness, sweeping.

use super::{Deadline, Dht, Moment, removals::Own, storing::Awaiting};
use crate::protocol::kad::{
    query::{AddProviderContext, PutRecordContext, QueryInfo, QueryOptions},
    record::{ProviderRecord, Quorum},
    store::{RecordStore, StoreRequest, StoredRecord},
};
use alloc::vec::Vec;
use core::time::Duration;

/// Queries of the background that run at once.
const JOBS_MAX_QUERIES: usize = 100;
/// Records that are asked of the store at a time.
const PAGE: usize = 10;
/// After which time a store that could not reply is asked again, and a node that was alone looks whether it still is.
const RETRY: Duration = Duration::from_secs(30);

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
        self.take_back_fallen(at);
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
        if self.stopped {
            return 0;
        }
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
        if self.is_alone(at, Deadline::Records) {
            return;
        }
        self.jobs.begin_records(at.now);
        self.next_records(at);
    }

    /// It is time to publish provider records.
    pub(super) fn providers_due(&mut self, at: Moment) {
        if self.is_alone(at, Deadline::Providers) {
            return;
        }
        self.jobs.begin_providers();
        self.next_providers(at);
    }

    /// A query is over, or the store has replied: there may be room for others of the background.
    pub(super) fn go_on_publishing(&mut self, at: Moment) {
        let (records, providers) = self.jobs.are_ready();
        if records {
            self.next_records(at);
        }
        if providers {
            self.next_providers(at);
        }
    }

    /// Whether there is nobody to give anything to. Then it is looked again after a while.
    fn is_alone(&mut self, at: Moment, run: Deadline) -> bool {
        let alone = self.table.is_empty();
        if alone && !self.stopped {
            self.timers.set(run, at.now.saturating_add(RETRY));
        }
        alone
    }

    /// Part after part, as long as the store replies at once and there is room: not each from within the one before, for a
    /// store may have thousands of them.
    fn next_records(&mut self, at: Moment) {
        while !self.is_alone(at, Deadline::Records) {
            let limit = self.room_for_jobs().min(PAGE);
            let Some(after) = self.jobs.records_page(limit) else {
                return;
            };
            let page = StoreRequest::Records { after, limit };
            self.ask_store(at, page, Awaiting::Records);
        }
    }

    fn next_providers(&mut self, at: Moment) {
        while !self.is_alone(at, Deadline::Providers) {
            let limit = self.room_for_jobs().min(PAGE);
            let Some(after) = self.jobs.providers_page(limit) else {
                return;
            };
            let page = StoreRequest::Provided { after, limit };
            self.ask_store(at, page, Awaiting::Provided);
        }
    }

    /// A part of the records of the store: gives those to peers that are due.
    pub(super) fn publish_records(&mut self, at: Moment, records: Vec<StoredRecord>) {
        let mut last = None;
        for StoredRecord { mut record, local } in records {
            let key = record.key.clone();
            if record.is_expired(at.unix) {
                last = Some(key);
                continue;
            }
            let validator = &self.config.validator;
            // What was valid when it came need not be now: peers would refuse it.
            let is_valid = || validator.validate(&key, &record.value, at.unix).is_ok();
            let unwanted = local && self.is_unwanted(&Own::Record(key.clone()));
            let context = self.jobs.context(&key, local);
            let context = context.filter(|_| !unwanted && is_valid());
            let Some(context) = context else {
                last = Some(key);
                continue;
            };
            if context == PutRecordContext::Republish {
                self.limit_life(at, &mut record);
            }
            let options = QueryOptions::new();
            // Not all: a network with fewer peers than the replication factor would fail for ever.
            let quorum = Quorum::AllFound;
            let Ok(id) = self.insert_put(at, record, quorum, context, options) else {
                // There is no room any more: the rest when there is some.
                return self.jobs.records_interrupted(last);
            };
            last = Some(key);
            self.begin_lookup(at, id);
        }
        self.jobs.records_published(last, at.now);
        if let Some(next) = self.jobs.next_records() {
            self.timers.set(Deadline::Records, next);
        }
    }

    /// The store could not tell its records: the run goes on later.
    pub(super) fn records_unavailable(&mut self, at: Moment) {
        self.jobs.records_paused();
        self.timers
            .set(Deadline::Records, at.now.saturating_add(RETRY));
    }

    /// The store could not tell what is provided: the run goes on later.
    pub(super) fn providers_unavailable(&mut self, at: Moment) {
        self.jobs.providers_paused();
        self.timers
            .set(Deadline::Providers, at.now.saturating_add(RETRY));
    }

    /// A part of what this node provides: announces it again.
    pub(super) fn publish_providers(&mut self, at: Moment, records: Vec<ProviderRecord>) {
        let mut last = None;
        for ProviderRecord { key, .. } in records {
            if self.is_unwanted(&Own::Provider(key.clone())) {
                last = Some(key);
                continue;
            }
            let context = AddProviderContext::Republish;
            let Ok(id) = self.insert_announcement(at, key.clone(), context) else {
                return self.jobs.providers_interrupted(last);
            };
            last = Some(key);
            self.begin_lookup(at, id);
        }
        self.jobs.providers_published(last, at.now);
        if let Some(next) = self.jobs.next_providers() {
            self.timers.set(Deadline::Providers, next);
        }
    }
}
