//! What is done with a batch of requests.

use crate::{
    OpenError, RedbStoreConfig, Statistics,
    disk::{Broken, Changes, Disk, Dropped, Opener, Tables},
    entry::Value,
};
use core::task::Waker;
use drywire::{
    protocol::kad::{
        Key, Record, RecordKey,
        store::{
            Origin, ProviderSlot, RecordEntry, StoreError, StoreReply, StoreRequest,
            StoreRequestId, StoredRecord,
        },
        validator::Validator,
    },
    time::UnixTime,
};
use std::time::Instant;

/// A request that waits for its turn.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: StoreRequestId,
    pub(crate) request: StoreRequest,
    pub(crate) now: UnixTime,
    pub(crate) waker: Option<Waker>,
}

/// Replies, in the order of the requests.
pub(crate) type Replies = Vec<(StoreRequestId, StoreReply)>;

pub(crate) struct Engine {
    local: Key,
    config: RedbStoreConfig,
    opener: Opener,
    /// None while the disk does not work.
    disk: Option<Disk>,
    tried: Option<Instant>,
    tables: Tables,
    statistics: Statistics,
}

impl Engine {
    pub(crate) fn open(
        local: Key,
        config: RedbStoreConfig,
        opener: Opener,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        let tables = Tables::new(local, &config);
        let mut engine = Self {
            local,
            config,
            opener,
            disk: None,
            tried: None,
            tables,
            statistics: Statistics::default(),
        };
        engine.try_to_open(now)?;
        Ok(engine)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            records: u64::try_from(self.tables.records.len()).unwrap_or(u64::MAX),
            provider_records: u64::try_from(self.tables.providers.len()).unwrap_or(u64::MAX),
            is_available: self.disk.is_some(),
            ..self.statistics
        }
    }

    fn try_to_open(&mut self, now: UnixTime) -> Result<(), OpenError> {
        self.tables = Tables::new(self.local, &self.config);
        let (disk, dropped) = Disk::open((self.opener)()?, &mut self.tables, now)?;
        let Dropped {
            expired,
            corrupt,
            over_limit,
        } = dropped;
        let sum = &mut self.statistics;
        sum.dropped_expired = sum.dropped_expired.saturating_add(expired);
        sum.dropped_corrupt = sum.dropped_corrupt.saturating_add(corrupt);
        sum.dropped_over_limit = sum.dropped_over_limit.saturating_add(over_limit);
        self.disk = Some(disk);
        Ok(())
    }

    /// Nothing is known of what is on the disk any more.
    pub(crate) fn give_up(&mut self) {
        self.disk = None;
        self.tables = Tables::new(self.local, &self.config);
        self.statistics.disk_failures = self.statistics.disk_failures.saturating_add(1);
    }

    /// Opens the file again if the disk did not work, at most once in a while: what cannot be read may be asked for often.
    fn is_ready(&mut self, now: UnixTime) -> bool {
        if self.disk.is_some() {
            return true;
        }
        if self
            .tried
            .is_some_and(|tried| tried.elapsed() < self.config.retry_interval)
        {
            return false;
        }
        self.tried = Some(Instant::now());
        self.try_to_open(now).is_ok()
    }

    /// Does what a batch asks, in its order, and commits it. `deliver` gets what does not wait for that, then the rest.
    pub(crate) fn run(&mut self, batch: Vec<Job>, deliver: &mut dyn FnMut(Replies, Statistics)) {
        let ready = batch.last().is_some_and(|job| self.is_ready(job.now));
        let (mut changes, mut at_once, mut later, mut failed) =
            (Changes::default(), Vec::new(), Vec::new(), !ready);
        for job in batch {
            let reads = match &job.request {
                StoreRequest::Get { key } | StoreRequest::Providers { key } => Some(key.clone()),
                _ => None,
            };
            let reply = if failed {
                Err(Broken)
            } else {
                self.apply(job.request, job.now, &mut changes)
            };
            let Ok(reply) = reply else {
                failed = true;
                later.push((job.id, StoreReply::Failed(StoreError::Unavailable)));
                continue;
            };
            let is_settled = reads.is_some_and(|key| {
                !changes.records.contains(&key) && !changes.has_providers_of(&key)
            });
            if is_settled || changes.is_empty() {
                at_once.push((job.id, reply));
            } else {
                later.push((job.id, reply));
            }
        }
        if !at_once.is_empty() && !changes.is_empty() {
            deliver(core::mem::take(&mut at_once), self.statistics());
        }
        if ready && (failed || self.commit(&changes).is_err()) {
            self.give_up();
            for (_, reply) in &mut later {
                *reply = StoreReply::Failed(StoreError::Unavailable);
            }
        }
        at_once.extend(later);
        deliver(at_once, self.statistics());
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), Broken> {
        if changes.is_empty() {
            return Ok(());
        }
        self.disk
            .as_ref()
            .ok_or(Broken)?
            .commit(changes, &self.tables)?;
        self.statistics.commits = self.statistics.commits.saturating_add(1);
        for key in &changes.records {
            if let Some(value) = self.tables.records.value_mut(key) {
                *value = Value(None);
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        request: StoreRequest,
        now: UnixTime,
        changes: &mut Changes,
    ) -> Result<StoreReply, Broken> {
        Ok(match request {
            StoreRequest::Get { key } => StoreReply::Record(self.get(&key, now, changes)?),
            StoreRequest::Put {
                record,
                origin,
                validator,
            } => StoreReply::Put(self.put(&record, origin, &*validator, now, changes)?),
            StoreRequest::Remove { key } => {
                self.sweep(now, changes);
                let is_own = self
                    .tables
                    .records
                    .get(&key)
                    .is_some_and(RecordEntry::is_local);
                if is_own {
                    self.tables.records.remove(&key);
                    changes.records.insert(key);
                }
                StoreReply::Removed(is_own)
            }
            StoreRequest::Records { after, limit } => {
                StoreReply::Records(self.records(after.as_ref(), limit, now, changes)?)
            }
            StoreRequest::AddProvider { record, origin } => {
                self.sweep(now, changes);
                let added = self.tables.providers.add(record, origin, now);
                StoreReply::AddProvider(
                    added
                        .map(|(slot, gone)| changes.providers.extend(slot.into_iter().chain(gone))),
                )
            }
            StoreRequest::Providers { key } => {
                let live = self
                    .tables
                    .providers
                    .providers(&key)
                    .filter(|record| !record.is_expired(now));
                StoreReply::Providers(live.cloned().collect())
            }
            StoreRequest::Provided { after, limit } => {
                let own = self.tables.providers.own_after(after.as_ref());
                let live = own.filter(|record| !record.is_expired(now));
                StoreReply::Provided(live.take(limit).cloned().collect())
            }
            StoreRequest::RemoveProvider { key, provider } => {
                self.sweep(now, changes);
                let slot = ProviderSlot::Own(key);
                let is_own = self
                    .tables
                    .providers
                    .get(&slot)
                    .is_some_and(|(own, _)| own.provider == provider);
                if is_own {
                    self.tables.providers.remove(&slot);
                    changes.providers.insert(slot);
                }
                StoreReply::Removed(is_own)
            }
            StoreRequest::Sweep => StoreReply::Swept(self.sweep(now, changes)),
            // What is asked of newer stores.
            _ => StoreReply::Failed(StoreError::Unavailable),
        })
    }

    fn get(
        &mut self,
        key: &RecordKey,
        now: UnixTime,
        changes: &mut Changes,
    ) -> Result<Option<Record>, Broken> {
        let Some(entry) = self
            .tables
            .records
            .get(key)
            .filter(|entry| !entry.is_expired(now))
        else {
            return Ok(None);
        };
        let record = read(self.disk.as_ref(), key, entry)?;
        if record.is_none() {
            self.drop_corrupt(key, changes);
        }
        Ok(record)
    }

    fn records(
        &mut self,
        after: Option<&RecordKey>,
        limit: usize,
        now: UnixTime,
        changes: &mut Changes,
    ) -> Result<Vec<StoredRecord>, Broken> {
        let (mut found, mut corrupt) = (Vec::new(), Vec::new());
        for (key, entry) in self
            .tables
            .records
            .iter_after(after)
            .filter(|(_, entry)| !entry.is_expired(now))
        {
            if found.len() >= limit {
                break;
            }
            match read(self.disk.as_ref(), key, entry)? {
                Some(record) => found.push(StoredRecord {
                    record,
                    local: entry.is_local(),
                }),
                None => corrupt.push(key.clone()),
            }
        }
        for key in corrupt {
            self.drop_corrupt(&key, changes);
        }
        Ok(found)
    }

    fn put(
        &mut self,
        record: &Record,
        origin: Origin,
        validator: &dyn Validator,
        now: UnixTime,
        changes: &mut Changes,
    ) -> Result<Result<(), StoreError>, Broken> {
        self.sweep(now, changes);
        let (disk, key) = (self.disk.as_ref(), &record.key);
        let (mut broken, mut is_corrupt) = (false, false);
        let put = self
            .tables
            .records
            .put(record, origin, validator, now, |value| {
                let read = disk
                    .ok_or(Broken)
                    .and_then(|disk| Ok(disk.value(key, value)?));
                let read = read.map_err(|Broken| {
                    broken = true;
                    StoreError::Unavailable
                })?;
                is_corrupt = read.is_none();
                Ok(read)
            });
        if broken {
            return Err(Broken);
        }
        if is_corrupt {
            if put.is_err() {
                self.tables.records.remove(key);
            }
            self.statistics.dropped_corrupt = self.statistics.dropped_corrupt.saturating_add(1);
            changes
                .records
                .insert(RecordKey::copy_from_slice(key.as_bytes()));
        }
        Ok(put.map(|gone| {
            changes.records.extend(gone);
            changes
                .records
                .insert(RecordKey::copy_from_slice(key.as_bytes()));
        }))
    }

    /// Forgets what has expired. How many entries that was.
    fn sweep(&mut self, now: UnixTime, changes: &mut Changes) -> u64 {
        let (records, providers) = (
            self.tables.records.remove_expired(now),
            self.tables.providers.remove_expired(now),
        );
        let count =
            u64::try_from(records.len().saturating_add(providers.len())).unwrap_or(u64::MAX);
        changes.records.extend(records);
        changes.providers.extend(providers);
        self.statistics.dropped_expired = self.statistics.dropped_expired.saturating_add(count);
        count
    }

    fn drop_corrupt(&mut self, key: &RecordKey, changes: &mut Changes) {
        self.tables.records.remove(key);
        changes.records.insert(key.clone());
        self.statistics.dropped_corrupt = self.statistics.dropped_corrupt.saturating_add(1);
    }
}

/// A record with its value; none if what is there is not what was written.
fn read(
    disk: Option<&Disk>,
    key: &RecordKey,
    entry: &RecordEntry<Value>,
) -> Result<Option<Record>, Broken> {
    let value = disk.ok_or(Broken)?.value(key, &entry.value)?;
    let value = value.filter(|value| value.len() == entry.value_len);
    Ok(value.map(|value| Record {
        key: key.clone(),
        value,
        publisher: entry.publisher,
        expires: entry.expires,
    }))
}
