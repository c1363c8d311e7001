//! Node-wide resources, leased to connections in blocks.
//!
//! Nothing is shared between a connection and its swarm but messages, so limits that span connections cannot be shared
//! counters. The swarm's [`Ledger`] owns the totals; each connection works within the [`Lease`] it holds, asks for more,
//! and gives back what it does not use. Being refused is normal: a window does not grow, a stream is reset.

/// An amount of the resources that are shared by all connections of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lease {
    /// Bytes that may be held: received and unread, or promised by windows grown above their start.
    pub bytes: u64,
    /// Streams that may be open.
    pub streams: u32,
}

impl Lease {
    /// Nothing.
    pub const EMPTY: Self = Self {
        bytes: 0,
        streams: 0,
    };

    /// The given amounts.
    #[must_use]
    pub const fn new(bytes: u64, streams: u32) -> Self {
        Self { bytes, streams }
    }

    /// Whether this is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// Both together, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            streams: self.streams.saturating_add(other.streams),
        }
    }

    /// What is left after taking `other`, saturating at nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            streams: self.streams.saturating_sub(other.streams),
        }
    }
}
