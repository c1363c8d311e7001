//! The records of a DHT on disk, for the Kademlia of [drywire]: a [`RedbStore`] keeps them in a [redb](https://www.redb.org)
//! database.
//!
//! What it has acknowledged is there after a crash, a kill or a loss of power: a reply comes when the transaction is
//! committed, that is, synced. A thread of its own waits for the disk, so that the swarm does not.
//!
//! ```
//! use drywire::{
//!     protocol::kad::{Record, store::{Origin, RecordStore, StoreReply, StoreRequest, StoreRequestId}, validator::AcceptAll},
//!     time::UnixTime,
//! };
//! use drywire_store_redb::{RedbStore, RedbStoreConfig};
//! use std::{sync::Arc, thread, time::Duration};
//!
//! # let path = std::env::temp_dir().join(format!("drywire-store-doc-{}.redb", std::process::id()));
//! # let local = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
//! let mut store = RedbStore::open(&path, &local, RedbStoreConfig::default())?;
//! let record = Record::new("key", "value");
//! let put = StoreRequest::Put { record, origin: Origin::Local, validator: Arc::new(AcceptAll) };
//! let now = UnixTime::from_secs(1_800_000_000);
//! assert_eq!(store.submit(StoreRequestId(0), put, now, None), None);
//! let reply = loop {
//!     // A swarm gives a waker instead.
//!     match store.poll_reply() {
//!         Some(reply) => break reply,
//!         None => thread::sleep(Duration::from_millis(1)),
//!     }
//! };
//! assert_eq!(reply, (StoreRequestId(0), StoreReply::Put(Ok(()))));
//! # drop(store);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What it keeps
//!
//! As much as a [`MemoryStore`](drywire::protocol::kad::store::MemoryStore) of the same limits, chosen by the same code. Keys,
//! times and provider records are in memory too; values are read when they are asked for.
//!
//! # What goes wrong
//!
//! | what | then |
//! |---|---|
//! | the disk is full, or fails | the requests of that moment, those that read too, are replied to with [`StoreReply::Failed`], [`StoreError::Unavailable`]; nothing that was acknowledged is lost. The file is opened again with the next request, at most once in [`RedbStoreConfig::retry_interval`], and everything works as before as soon as the disk does |
//! | an entry is not what was written, though its page is | it is thrown away, never given out, and counted: [`Statistics::dropped_corrupt`] |
//! | the file is not as it was when it was closed | [`OpenError::Corrupt`]: every page has a checksum, which is checked at opening. The file stays as it is |
//! | more is asked than the disk can do | the request is refused at once with [`StoreError::Unavailable`]: [`Statistics::refused`] |
//! | the clock jumps ahead | what has expired by then is thrown away, and does not come back |
//!
//! A failed request may have been done, for instance if the disk failed after it had written everything: a record that was not
//! acknowledged may be there or not.
//!
//! [`StoreError::Unavailable`]: drywire::protocol::kad::store::StoreError::Unavailable
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;

mod disk;
mod engine;
mod entry;
mod error;
mod worker;

pub use error::OpenError;

use alloc::sync::Arc;
use core::{fmt, panic::AssertUnwindSafe, task::Waker, time::Duration};
use disk::Opener;
use drywire::{
    identity::PeerId,
    protocol::kad::{
        Key,
        store::{
            MemoryStoreConfig, RecordStore, StoreError, StoreReply, StoreRequest, StoreRequestId,
        },
    },
    time::UnixTime,
};
use engine::{Engine, Job};
use redb::{Database, DatabaseError};
use std::{
    panic::catch_unwind,
    path::Path,
    thread::{self, JoinHandle},
    time::SystemTime,
};
use worker::Shared;

/// Settings of a [`RedbStore`], with the defaults named here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedbStoreConfig {
    /// How much is kept. When a store is opened with lower limits than before, what is over them is thrown away.
    pub limits: MemoryStoreConfig,
    /// Requests whose replies have not been taken; one more is refused. 1024.
    pub max_pending: usize,
    /// Bytes of what is to be stored by requests that wait for their turn; a request beyond that is refused. 16 MiB.
    pub max_pending_bytes: usize,
    /// Requests that are committed together. 256.
    pub max_batch: usize,
    /// Bytes of the file that redb may keep in memory. 16 MiB.
    pub cache_bytes: usize,
    /// After a failure of the disk the file is opened again, at once, but not more often than this. 1 s.
    pub retry_interval: Duration,
}

impl Default for RedbStoreConfig {
    fn default() -> Self {
        Self {
            limits: MemoryStoreConfig::default(),
            max_pending: 1024,
            max_pending_bytes: 16 * 1024 * 1024,
            max_batch: 256,
            cache_bytes: 16 * 1024 * 1024,
            retry_interval: Duration::from_secs(1),
        }
    }
}

impl RedbStoreConfig {
    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: MemoryStoreConfig) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`max_pending`](Self::max_pending).
    #[must_use]
    pub const fn with_max_pending(mut self, max: usize) -> Self {
        self.max_pending = max;
        self
    }

    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub const fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets [`retry_interval`](Self::retry_interval).
    #[must_use]
    pub const fn with_retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }
}

/// What a store holds, and what it has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Records that are there, expired ones included.
    pub records: u64,
    /// Provider records that are there, expired ones included.
    pub provider_records: u64,
    /// Whether the disk works, as far as is known.
    pub is_available: bool,
    /// Transactions that were committed for requests. Fewer than requests: those that wait together are committed together.
    pub commits: u64,
    /// Entries thrown away because they had expired, at opening and later.
    pub dropped_expired: u64,
    /// Entries thrown away because they were not what had been written.
    pub dropped_corrupt: u64,
    /// Entries thrown away at opening because of lower limits.
    pub dropped_over_limit: u64,
    /// How often a batch of requests failed because the disk did.
    pub disk_failures: u64,
    /// Requests refused because too many waited.
    pub refused: u64,
}

/// Keeps records in a file.
///
/// When it is dropped it does what it has been asked, commits that, and closes the file.
pub struct RedbStore {
    shared: Arc<Shared>,
    config: RedbStoreConfig,
    worker: Option<JoinHandle<()>>,
}

impl RedbStore {
    /// Opens the file, or makes it, for the node `local`. What has expired by the system's clock is thrown away.
    ///
    /// Reads and checks the whole file.
    ///
    /// # Errors
    /// Why it cannot be used; [`OpenError::Locked`] if another store has it open, in this process or another.
    pub fn open(
        path: impl AsRef<Path>,
        local: &PeerId,
        config: RedbStoreConfig,
    ) -> Result<Self, OpenError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self::open_at(path, local, config, UnixTime::EPOCH.saturating_add(now))
    }

    /// The same at a time that is given, where the clock of the node is not the system's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at(
        path: impl AsRef<Path>,
        local: &PeerId,
        config: RedbStoreConfig,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        let (path, cache) = (path.as_ref().to_owned(), config.cache_bytes);
        let opener = move || {
            let mut builder = Database::builder();
            // Where redb trusts a file that is not as it was written, it may panic, even while it unwinds.
            builder
                .set_cache_size(cache)
                .set_check_integrity_on_open(true);
            builder.create(&path)
        };
        Self::open_with(opener, local, config, now)
    }

    /// Keeps records wherever `opener` says: in the databases it makes, each with what the ones before it have committed. It is
    /// called at once, and again whenever the last one has failed. For tests of what a failing disk does.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        opener: impl FnMut() -> Result<Database, DatabaseError> + Send + 'static,
        local: &PeerId,
        config: RedbStoreConfig,
        now: UnixTime,
    ) -> Result<Self, OpenError> {
        let (opener, local): (Opener, _) = (Box::new(opener), Key::of_peer(local));
        let settings = config.clone();
        // redb may panic where a file is not what it has written.
        let engine = catch_unwind(AssertUnwindSafe(|| {
            Engine::open(local, settings, opener, now)
        }))
        .unwrap_or_else(|_| Err(OpenError::Corrupt("redb gave up".to_owned())))?;
        let shared = Arc::new(Shared::default());
        shared.set_statistics(engine.statistics());
        let (for_worker, settings) = (Arc::clone(&shared), config.clone());
        let worker = thread::Builder::new()
            .name("drywire-store".to_owned())
            .spawn(move || worker::work(&for_worker, engine, &settings))
            .map_err(|error| OpenError::Io(error.kind()))?;
        Ok(Self {
            shared,
            config,
            worker: Some(worker),
        })
    }

    /// What it holds, and has done.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics()
    }
}

impl RecordStore for RedbStore {
    fn is_durable(&self) -> bool {
        true
    }

    fn submit(
        &mut self,
        id: StoreRequestId,
        request: StoreRequest,
        now: UnixTime,
        waker: Option<&Waker>,
    ) -> Option<StoreReply> {
        let job = Job {
            id,
            request,
            now,
            waker: waker.cloned(),
        };
        let taken = self.shared.submit(job, &self.config);
        (!taken).then_some(StoreReply::Failed(StoreError::Unavailable))
    }

    fn poll_reply(&mut self) -> Option<(StoreRequestId, StoreReply)> {
        self.shared.poll_reply()
    }

    fn has_reply(&self) -> bool {
        self.shared.has_reply()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(worker) = self.worker.take() {
            // It catches what panics, and has nothing to say.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore")
            .field("config", &self.config)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
