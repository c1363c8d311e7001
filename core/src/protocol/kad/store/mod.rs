//! Where records are kept: requests and replies, so that no store holds up a swarm.
//!
//! [`Kademlia`](super) gives its store a [`StoreRequest`] at a time. A store that has everything at hand, as
//! [`MemoryStore`], answers in place; one that waits for a disk takes the request to a thread of its own and answers later, as
//! `drywire-store-redb` does. A peer's request is answered, and a record acknowledged, once the store has replied.
//!
//! ```
//! use drywire::{
//!     protocol::kad::{Record, store::{MemoryStore, Origin, RecordStore, StoreReply, StoreRequest, StoreRequestId}, validator::AcceptAll},
//!     time::UnixTime,
//! };
//! use std::sync::Arc;
//!
//! let (mut store, now) = (MemoryStore::default(), UnixTime::from_secs(1_800_000_000));
//! let (id, record) = (StoreRequestId(0), Record::new("key", "value"));
//! let put = StoreRequest::Put { record: record.clone(), origin: Origin::Local, validator: Arc::new(AcceptAll) };
//! assert_eq!(store.submit(id, put, now, None), Some(StoreReply::Put(Ok(()))));
//! let get = StoreRequest::Get { key: "key".into() };
//! assert_eq!(store.submit(id, get, now, None), Some(StoreReply::Record(Some(record))));
//! ```

mod config;
mod memory;
mod providers;
mod records;

pub use config::MemoryStoreConfig;
pub use memory::MemoryStore;
pub use providers::{ProviderSlot, ProviderTable};
pub use records::{RecordEntry, RecordTable};

use super::{
    key::RecordKey,
    record::{ProviderRecord, Record},
    validator::Validator,
};
use crate::{identity::PeerId, time::UnixTime};
use alloc::{sync::Arc, vec::Vec};
use core::{fmt, task::Waker};

/// Names a request to a store, so that its reply is known. Unique among those of one [`Kademlia`](super) that have had no
/// reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreRequestId(pub u64);

/// Keeps records and provider records.
///
/// # Rules
/// - Every request gets exactly one reply, in place or by [`poll_reply`](Self::poll_reply). Requests for one key take effect
///   in the order they came; replies may come in any order.
/// - What has expired is never given out, and need not be kept.
/// - Everything is bounded: what does not fit is refused with a [`StoreError`]. What peers store never takes the place of what
///   this node stores for itself.
/// - A reply of [`StoreReply::Put`] or [`StoreReply::AddProvider`] that is `Ok` means that it is kept as safely as the store
///   keeps anything.
pub trait RecordStore {
    /// Whose records it keeps: called before anything else. A store that prefers what is near this node needs to know it.
    fn begin(&mut self, local: &PeerId) {
        let _ = local;
    }

    /// Whether it may hold what this node stored in an earlier life: that is published a minute after the beginning, and not
    /// only after a whole interval, which no life may last.
    fn is_durable(&self) -> bool {
        false
    }

    /// Takes in a request. The reply, if it is known at once; otherwise it comes from [`poll_reply`](Self::poll_reply), after
    /// `waker`, if there is one, has been woken.
    fn submit(
        &mut self,
        id: StoreRequestId,
        request: StoreRequest,
        now: UnixTime,
        waker: Option<&Waker>,
    ) -> Option<StoreReply>;

    /// A reply that was not known at once.
    fn poll_reply(&mut self) -> Option<(StoreRequestId, StoreReply)> {
        None
    }

    /// Whether [`poll_reply`](Self::poll_reply) has one. Cheap: asked whenever the host asks for its deadline.
    fn has_reply(&self) -> bool {
        false
    }
}

/// For whom something is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// For this node: it is kept until removed, published again, and never displaced.
    Local,
    /// For this peer, whose share is limited.
    Peer(PeerId),
}

/// What a store is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreRequest {
    /// The record of a key. Reply: [`StoreReply::Record`].
    Get {
        /// The key.
        key: RecordKey,
    },
    /// Keep a record, in place of the one under the same key, if there is one and the validator does not prefer that one.
    /// Reply: [`StoreReply::Put`].
    Put {
        /// The record, which is valid.
        record: Record,
        /// For whom.
        origin: Origin,
        /// Chooses between the record and the one that is there: the new one if both are equally good. One that is there and
        /// is no longer valid counts as not there.
        validator: Arc<dyn Validator>,
    },
    /// Forget the record of a key, if it is there for this node. Reply: [`StoreReply::Removed`].
    Remove {
        /// The key.
        key: RecordKey,
    },
    /// Some records in the order of their keys. Reply: [`StoreReply::Records`].
    Records {
        /// The last key of the part before, none for the first part.
        after: Option<RecordKey>,
        /// How many at most.
        limit: usize,
    },
    /// Keep that a peer provides a key; an entry of the same key and peer is replaced. Reply: [`StoreReply::AddProvider`].
    AddProvider {
        /// The record.
        record: ProviderRecord,
        /// For whom.
        origin: Origin,
    },
    /// Who provides a key. Reply: [`StoreReply::Providers`].
    Providers {
        /// The key.
        key: RecordKey,
    },
    /// Some of what is kept by [`AddProvider`](Self::AddProvider) for this node, in the order of the keys. Reply:
    /// [`StoreReply::Provided`].
    Provided {
        /// The last key of the part before, none for the first part.
        after: Option<RecordKey>,
        /// How many at most.
        limit: usize,
    },
    /// Forget that this node provides a key. Reply: [`StoreReply::Removed`].
    RemoveProvider {
        /// The key.
        key: RecordKey,
        /// The peer, which is this node.
        provider: PeerId,
    },
    /// Throw away what has expired. Reply: [`StoreReply::Swept`].
    Sweep,
}

/// What a store replies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreReply {
    /// The record, if there is one that has not expired.
    Record(Option<Record>),
    /// Whether the record was kept.
    Put(Result<(), StoreError>),
    /// Whether there was anything to forget.
    Removed(bool),
    /// Records that have not expired, in the order of their keys.
    Records(Vec<StoredRecord>),
    /// Whether the provider record was kept.
    AddProvider(Result<(), StoreError>),
    /// Provider records of the key that have not expired.
    Providers(Vec<ProviderRecord>),
    /// Provider records of this node, in the order of their keys.
    Provided(Vec<ProviderRecord>),
    /// How many entries were thrown away.
    Swept(u64),
    /// The store did not do what it was asked, and may never.
    Failed(StoreError),
}

/// A record in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The record.
    pub record: Record,
    /// Whether it is there for this node itself.
    pub local: bool,
}

/// Why a store keeps something not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// Limit: there are as many records as may be, or as many bytes.
    MaxRecords,
    /// Limit: as many keys have providers as may.
    MaxProvidedKeys,
    /// Limit: the key has as many providers as it may.
    MaxProviders,
    /// Limit: as much is kept for this peer as may be.
    MaxForPeer,
    /// The value is longer than values may be.
    ValueTooLarge,
    /// The validator prefers the record that is there.
    Older,
    /// The store itself does not work: its disk, its thread.
    Unavailable,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxRecords => "the store is full",
            Self::MaxProvidedKeys => "the store has providers of as many keys as it may",
            Self::MaxProviders => "the key has as many providers as it may",
            Self::MaxForPeer => "the store keeps as much for this peer as it may",
            Self::ValueTooLarge => "the value is too large",
            Self::Older => "a better record is already there",
            Self::Unavailable => "the store does not work",
        })
    }
}

impl core::error::Error for StoreError {}
