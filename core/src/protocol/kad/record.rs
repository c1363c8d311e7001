//! What a DHT holds.

use super::key::RecordKey;
use crate::{identity::PeerId, multiaddr::Multiaddr, time::UnixTime};
use alloc::vec::Vec;
use bytes::Bytes;
use core::num::NonZeroUsize;

/// A value under a key.
///
/// Validity is a matter of the wall clock: records go to disk and to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: RecordKey,
    /// The value.
    pub value: Bytes,
    /// Who put it there first, as the sender says: unproven. Not part of the specification, only rust-libp2p sends it.
    pub publisher: Option<PeerId>,
    /// When it is no longer valid. `None` is never.
    pub expires: Option<UnixTime>,
}

impl Record {
    /// A record without a publisher that never expires.
    #[must_use]
    pub fn new(key: impl Into<RecordKey>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            publisher: None,
            expires: None,
        }
    }

    /// Whether it is no longer valid.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// That a peer provides what a key names.
///
/// ```
/// # use drywire::protocol::kad::ProviderRecord;
/// # let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
/// let record = ProviderRecord::new("key", peer, vec!["/ip4/192.0.2.1/tcp/4001".parse()?]);
/// assert_eq!(record.expires, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRecord {
    /// What is provided: by convention a multihash.
    pub key: RecordKey,
    /// Who provides it.
    pub provider: PeerId,
    /// When this is no longer valid. `None` is never.
    pub expires: Option<UnixTime>,
    /// Where the provider may be reached.
    pub addresses: Vec<Multiaddr>,
}

impl ProviderRecord {
    /// A provider record that never expires.
    #[must_use]
    pub fn new(key: impl Into<RecordKey>, provider: PeerId, addresses: Vec<Multiaddr>) -> Self {
        Self {
            key: key.into(),
            provider,
            expires: None,
            addresses,
        }
    }

    /// Whether it is no longer valid.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// A peer, and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// Where, without the `/p2p` part. May be empty.
    pub addresses: Vec<Multiaddr>,
}

/// How many peers must have taken a record for putting it to have succeeded.
///
/// What the number is compared with: the replication factor for [`put_record`](super), the number of
/// peers for [`put_record_to`](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Quorum {
    /// One.
    #[default]
    One,
    /// More than half of the replication factor, even if the network has fewer peers.
    Majority,
    /// As many as the replication factor, even if the network has fewer peers.
    All,
    /// All that were found, at least one: in a network with fewer peers than the replication factor, `All` must fail.
    AllFound,
    /// So many.
    N(NonZeroUsize),
}

impl Quorum {
    /// How many of `total` that is, when `found` were found.
    #[must_use]
    pub fn eval(self, total: NonZeroUsize, found: usize) -> NonZeroUsize {
        match self {
            Self::One => NonZeroUsize::MIN,
            Self::Majority => NonZeroUsize::MIN.saturating_add(total.get() / 2),
            Self::All => total,
            Self::AllFound => {
                NonZeroUsize::new(found.min(total.get())).unwrap_or(NonZeroUsize::MIN)
            }
            Self::N(count) => count.min(total),
        }
    }
}
