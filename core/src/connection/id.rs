//! Names of connections and streams.

use core::fmt;

/// Names one connection of a swarm. Never reused while the swarm lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The connection numbered `number`; numbers are given out by the swarm, in order.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names one stream of a connection. Never reused within its connection.
///
/// Both the connection and the swarm give out stream ids; the top bit tells whose number it is, so that the swarm can
/// name a stream it asks for before the connection has heard of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct StreamId(u64);

impl StreamId {
    const BY_SWARM: u64 = 1 << 63;

    /// The `number`th stream the swarm asked for on a connection.
    #[must_use]
    pub(crate) const fn by_swarm(number: u64) -> Self {
        Self(number | Self::BY_SWARM)
    }

    /// A stream named by the connection: the place of its state and the generation of that place.
    #[must_use]
    pub(crate) const fn by_connection(place: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32 | place as u64) & !Self::BY_SWARM)
    }

    /// Whether the swarm named this stream.
    #[must_use]
    pub(crate) const fn is_by_swarm(self) -> bool {
        self.0 & Self::BY_SWARM != 0
    }

    /// The place part of a connection-given id.
    #[must_use]
    pub(crate) const fn place(self) -> u32 {
        self.0 as u32
    }

    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0 & !Self::BY_SWARM;
        if self.is_by_swarm() {
            write!(f, "s{number}")
        } else {
            write!(f, "s{}.{}", number as u32, number >> 32)
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
