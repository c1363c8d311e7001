//! Which protocol names a connection accepts, and what becomes of their streams.

use crate::multistream::{ProtocolName, Supported};
use alloc::vec::Vec;

/// How a stream's bytes are cut into what its owner sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StreamKind {
    /// Chunks as they arrive, under credit.
    Raw,
    /// Messages, each preceded by its length as an unsigned varint.
    Framed {
        /// Longest body accepted from the peer, in bytes. What this side sends is its own affair.
        max_len: u32,
    },
    /// One message each way: everything up to the half-close.
    ToEnd {
        /// Longest body accepted from the peer, in bytes. What this side sends is its own affair.
        max_len: u32,
    },
}

/// Numbers a protocol of a set. `protocols!` gives each field its own run of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct Slot(pub u16);

/// Who owns a stream: exactly one of the two, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StreamOwner {
    /// A protocol of the swarm: its messages reach `Protocol::handle`.
    Protocol(Slot),
    /// The host: it appears as an event on its connection and is read and written there.
    Host,
}

/// How streams of one accepted name are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Accept {
    /// How bytes are cut.
    pub kind: StreamKind,
    /// Streams of this name that may be open at once on one connection; one more is reset.
    pub max_streams: u32,
    /// Streams of this name do not keep an otherwise idle connection open (ping, identify).
    pub background: bool,
    /// The host owns these streams, not the protocol that registered the name.
    pub host_owned: bool,
}

impl Accept {
    /// Streams of the given kind, at most 256 at once on a connection, owned by the protocol that registers the name.
    #[must_use]
    pub const fn new(kind: StreamKind) -> Self {
        Self {
            kind,
            max_streams: 256,
            background: false,
            host_owned: false,
        }
    }

    /// Sets [`max_streams`](Self::max_streams).
    #[must_use]
    pub const fn max_streams(mut self, max_streams: u32) -> Self {
        self.max_streams = max_streams;
        self
    }

    /// Marks the name as background traffic.
    #[must_use]
    pub const fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// Gives the streams to the host.
    #[must_use]
    pub const fn host_owned(mut self) -> Self {
        self.host_owned = true;
        self
    }
}

/// One accepted name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct InboundEntry {
    /// The name, as negotiated.
    pub name: ProtocolName,
    /// How its streams are treated.
    pub accept: Accept,
    /// Who gets them.
    pub owner: StreamOwner,
}

/// All names accepted from a peer, in the order they were registered. Immutable: an edit makes a new table with the
/// next version, and connections keep the newest they were given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct InboundTable {
    version: u64,
    entries: Vec<InboundEntry>,
}

impl InboundTable {
    /// A table of the given entries.
    #[must_use]
    pub fn new(version: u64, entries: Vec<InboundEntry>) -> Self {
        Self { version, entries }
    }

    /// Counts edits.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The entries, in the order of registration.
    #[must_use]
    pub fn entries(&self) -> &[InboundEntry] {
        &self.entries
    }
}

impl Supported for InboundTable {
    fn find(&self, name: &str) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.name.as_ref() == name)
    }

    fn count(&self) -> usize {
        self.entries.len()
    }

    fn name(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(|entry| entry.name.as_ref())
    }
}
