//! When records are published again, and how far that is.

use super::{config::Config, key::RecordKey, query::PutRecordContext};
use crate::time::Instant;
use alloc::collections::BTreeSet;
use core::time::Duration;

/// Keys that came from peers since the last run, and need not be given to others in the next one: whoever sent them has.
const MAX_SKIPPED: usize = 1024;

/// When what a durable store has from an earlier life is published.
const FIRST: Duration = Duration::from_secs(60);

/// A run through the store.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Run {
    /// None is under way.
    Idle,
    /// The part after this key comes next.
    Ready(Option<RecordKey>),
    /// A part was asked of the store.
    Asked(Option<RecordKey>),
    /// The store could not tell the part after this key: it is asked again when it is time.
    Paused(Option<RecordKey>),
}

/// The two jobs, reference tests `new_job_not_running`, `run_put_record_job`, `run_add_provider_job`. The first run is one
/// interval after the beginning, or a minute where the store may have something from before; the next one an interval after the
/// last record of the one before had its turn.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    replication: Option<Duration>,
    publication: Option<Duration>,
    announcement: Option<Duration>,
    next_records: Option<Instant>,
    next_publication: Option<Instant>,
    next_providers: Option<Instant>,
    records: Run,
    providers: Run,
    /// The run is one in which own records are published.
    publishes: bool,
    /// The run is the first of a store that had records from the beginning: only own ones are published.
    revives: bool,
    skipped: BTreeSet<RecordKey>,
}

impl Jobs {
    pub(super) fn new(config: &Config, is_durable: bool, now: Instant) -> Self {
        let after = |interval: Option<Duration>| Some(now.saturating_add(interval?));
        let replication = config.replication_interval;
        let publication = config.publication_interval;
        let announcement = config.provider_publication_interval;
        // What a life before this one has stored.
        let first = |interval: Option<Duration>| {
            let first = interval
                .filter(|_| is_durable)
                .map(|interval| interval.min(FIRST));
            after(first.or(interval))
        };
        let revives = is_durable && publication.is_some();
        let next_records = if revives {
            first(publication)
        } else {
            after(replication.or(publication))
        };
        Self {
            replication,
            publication,
            announcement,
            next_records,
            next_publication: first(publication),
            next_providers: first(announcement),
            revives,
            records: Run::Idle,
            providers: Run::Idle,
            publishes: false,
            skipped: BTreeSet::new(),
        }
    }

    /// When the next run through the records begins; `None` while one is under way.
    pub(super) fn next_records(&self) -> Option<Instant> {
        self.next_records.filter(|_| self.records == Run::Idle)
    }

    /// When the next run through the provider records begins.
    pub(super) fn next_providers(&self) -> Option<Instant> {
        self.next_providers.filter(|_| self.providers == Run::Idle)
    }

    /// A record came from a peer.
    pub(super) fn just_received(&mut self, key: &RecordKey) {
        if self.skipped.len() < MAX_SKIPPED && self.replication.is_some() {
            self.skipped.insert(key.clone());
        }
    }

    /// It is time for a run, or to go on with one.
    pub(super) fn begin_records(&mut self, now: Instant) {
        resume(&mut self.records);
        if self.records != Run::Idle {
            return;
        }
        self.publishes = self.next_publication.is_some_and(|next| next <= now);
        self.records = Run::Ready(None);
    }

    /// The same of provider records.
    pub(super) fn begin_providers(&mut self) {
        resume(&mut self.providers);
        if self.providers == Run::Idle {
            self.providers = Run::Ready(None);
        }
    }

    /// The store could not tell the part that was asked for.
    pub(super) fn records_paused(&mut self) {
        pause(&mut self.records);
    }

    /// The same of provider records.
    pub(super) fn providers_paused(&mut self) {
        pause(&mut self.providers);
    }

    /// Whether a part of the records may be asked for, and of the provider records.
    pub(super) const fn are_ready(&self) -> (bool, bool) {
        (
            matches!(self.records, Run::Ready(_)),
            matches!(self.providers, Run::Ready(_)),
        )
    }

    /// Whether a part of either may be asked for.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.are_ready(), (true, _) | (_, true))
    }

    /// The part of the records to ask the store for, if there is room for any.
    pub(super) fn records_page(&mut self, room: usize) -> Option<Option<RecordKey>> {
        page(&mut self.records, room)
    }

    /// The part of the provider records to ask the store for.
    pub(super) fn providers_page(&mut self, room: usize) -> Option<Option<RecordKey>> {
        page(&mut self.providers, room)
    }

    /// Why a record is given to peers in this run, if it is.
    pub(super) fn context(&self, key: &RecordKey, local: bool) -> Option<PutRecordContext> {
        if local {
            return self.publishes.then_some(PutRecordContext::Republish);
        }
        let wanted = self.replication.is_some() && !self.revives && !self.skipped.contains(key);
        wanted.then_some(PutRecordContext::Replicate)
    }

    /// A part has had its turn, up to this key; `None` if there was nothing left.
    pub(super) fn records_published(&mut self, last: Option<RecordKey>, now: Instant) {
        if let Some(last) = last {
            self.records = Run::Ready(Some(last));
            return;
        }
        self.records = Run::Idle;
        self.revives = false;
        self.skipped.clear();
        let interval = self.replication.or(self.publication);
        self.next_records = interval.map(|interval| now.saturating_add(interval));
        if self.publishes {
            self.next_publication = self
                .publication
                .map(|interval| now.saturating_add(interval));
        }
    }

    /// A part had its turn only up to this key, or not at all: the rest of it comes next.
    pub(super) fn records_interrupted(&mut self, last: Option<RecordKey>) {
        interrupt(&mut self.records, last);
    }

    /// The same of provider records.
    pub(super) fn providers_interrupted(&mut self, last: Option<RecordKey>) {
        interrupt(&mut self.providers, last);
    }

    /// A part of the provider records has had its turn, as [`records_published`](Self::records_published).
    pub(super) fn providers_published(&mut self, last: Option<RecordKey>, now: Instant) {
        if let Some(last) = last {
            self.providers = Run::Ready(Some(last));
            return;
        }
        self.providers = Run::Idle;
        self.next_providers = self
            .announcement
            .map(|interval| now.saturating_add(interval));
    }
}

fn interrupt(run: &mut Run, last: Option<RecordKey>) {
    if let Run::Asked(after) = run {
        let after = last.or_else(|| after.take());
        *run = Run::Ready(after);
    }
}

fn pause(run: &mut Run) {
    if let Run::Asked(after) = run {
        *run = Run::Paused(after.take());
    }
}

/// Goes on with a run that was paused.
fn resume(run: &mut Run) {
    if let Run::Paused(after) = run {
        *run = Run::Ready(after.take());
    }
}

fn page(run: &mut Run, room: usize) -> Option<Option<RecordKey>> {
    let Run::Ready(after) = run else { return None };
    if room == 0 {
        return None;
    }
    let after = after.take();
    *run = Run::Asked(after.clone());
    Some(after)
}
