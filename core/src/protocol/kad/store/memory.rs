//! A store in memory.

use super::{
    MemoryStoreConfig, ProviderSlot, ProviderTable, RecordStore, RecordTable, StoreReply,
    StoreRequest, StoreRequestId, StoredRecord, records::RecordEntry,
};
use crate::{
    identity::PeerId,
    protocol::kad::{
        key::{Key, RecordKey},
        record::{ProviderRecord, Record},
    },
    time::UnixTime,
};
use alloc::vec::Vec;
use bytes::Bytes;
use core::task::Waker;

/// Keeps everything in memory, and replies at once. What it holds is gone with it.
///
/// When it is full of records, or of provided keys, of peers, the one farthest from this node gives way to a nearer one: it is
/// for the nearest nodes to keep it, and others look for it there.
#[derive(Debug)]
pub struct MemoryStore {
    records: RecordTable<Bytes>,
    providers: ProviderTable,
}

/// With the default limits.
impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_position(None, MemoryStoreConfig::default())
    }
}

impl MemoryStore {
    /// An empty store with these limits. Until it is told [whose](RecordStore::begin) it is, no record is nearer than another,
    /// and when it is full it refuses.
    #[must_use]
    pub fn with_config(config: MemoryStoreConfig) -> Self {
        Self::with_position(None, config)
    }

    /// An empty store of the node `local`.
    #[must_use]
    pub fn new(local: &PeerId, config: MemoryStoreConfig) -> Self {
        Self::with_position(Some(Key::of_peer(local)), config)
    }

    fn with_position(local: Option<Key>, config: MemoryStoreConfig) -> Self {
        Self {
            records: RecordTable::new(local, config.clone()),
            providers: ProviderTable::new(local, config),
        }
    }

    /// All records in the order of their keys, with those that have expired since the last [`StoreRequest::Sweep`].
    pub fn records(&self) -> impl Iterator<Item = StoredRecord> {
        self.records.iter_after(None).map(stored)
    }

    /// All that this node provides in the order of the keys, with what has expired since the last [`StoreRequest::Sweep`].
    pub fn provided(&self) -> impl Iterator<Item = &ProviderRecord> {
        self.providers.own_after(None)
    }

    /// Forgets the records for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&StoredRecord) -> bool) {
        let gone: Vec<RecordKey> = self
            .records()
            .filter(|record| !keep(record))
            .map(|stored| stored.record.key)
            .collect();
        for key in gone {
            self.records.remove(&key);
        }
    }

    /// Bytes of keys and values of all records: of peers, and of this node.
    #[must_use]
    pub const fn bytes(&self) -> (usize, usize) {
        self.records.bytes()
    }

    /// Forgets what has expired. How many entries that was.
    fn sweep(&mut self, now: UnixTime) -> u64 {
        let (records, providers) = (
            self.records.remove_expired(now),
            self.providers.remove_expired(now),
        );
        u64::try_from(records.len().saturating_add(providers.len())).unwrap_or(u64::MAX)
    }

    fn reply(&mut self, request: StoreRequest, now: UnixTime) -> StoreReply {
        match request {
            StoreRequest::Get { key } => {
                let entry = self
                    .records
                    .get(&key)
                    .filter(|entry| !entry.is_expired(now));
                StoreReply::Record(entry.map(|entry| record(&key, entry)))
            }
            StoreRequest::Put {
                record,
                origin,
                validator,
            } => {
                self.sweep(now);
                let read = |value: &Bytes| Ok(Some(value.clone()));
                let put = self.records.put(&record, origin, &*validator, now, read);
                StoreReply::Put(put.map(drop))
            }
            StoreRequest::Remove { key } => {
                self.sweep(now);
                let is_own = self.records.get(&key).is_some_and(RecordEntry::is_local);
                StoreReply::Removed(is_own && self.records.remove(&key).is_some())
            }
            StoreRequest::Records { after, limit } => {
                let all = self.records.iter_after(after.as_ref());
                let live = all.filter(|(_, entry)| !entry.is_expired(now));
                StoreReply::Records(live.take(limit).map(stored).collect())
            }
            StoreRequest::AddProvider { record, origin } => {
                self.sweep(now);
                StoreReply::AddProvider(self.providers.add(record, origin, now).map(drop))
            }
            StoreRequest::Providers { key } => {
                let live = self
                    .providers
                    .providers(&key)
                    .filter(|record| !record.is_expired(now));
                StoreReply::Providers(live.cloned().collect())
            }
            StoreRequest::Provided { after, limit } => {
                let all = self.providers.own_after(after.as_ref());
                let live = all.filter(|record| !record.is_expired(now));
                StoreReply::Provided(live.take(limit).cloned().collect())
            }
            StoreRequest::RemoveProvider { key, provider } => {
                self.sweep(now);
                let slot = ProviderSlot::Own(key);
                let is_own = self
                    .providers
                    .get(&slot)
                    .is_some_and(|(own, _)| own.provider == provider);
                StoreReply::Removed(is_own && self.providers.remove(&slot).is_some())
            }
            StoreRequest::Sweep => StoreReply::Swept(self.sweep(now)),
        }
    }
}

impl RecordStore for MemoryStore {
    fn begin(&mut self, local: &PeerId) {
        let position = Key::of_peer(local);
        self.records.set_local(position);
        self.providers.set_local(position);
    }

    fn submit(
        &mut self,
        _: StoreRequestId,
        request: StoreRequest,
        now: UnixTime,
        _: Option<&Waker>,
    ) -> Option<StoreReply> {
        Some(self.reply(request, now))
    }
}

fn record(key: &RecordKey, entry: &RecordEntry<Bytes>) -> Record {
    Record {
        key: key.clone(),
        value: entry.value.clone(),
        publisher: entry.publisher,
        expires: entry.expires,
    }
}

fn stored((key, entry): (&RecordKey, &RecordEntry<Bytes>)) -> StoredRecord {
    StoredRecord {
        record: record(key, entry),
        local: entry.is_local(),
    }
}

#[cfg(test)]
mod tests;
