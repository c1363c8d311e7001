//! What a connection is told before it starts.

#[cfg(feature = "recording")]
use super::recorder::{Machine, SharedRecorder, Tap};
use super::{Connection, id::ConnectionId};
use crate::{
    multiaddr::Multiaddr,
    mux::yamux,
    security::{noise, plaintext},
    seed::Seed,
    time::Instant,
};
use alloc::sync::Arc;
use core::time::Duration;

/// Who started a connection or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// The two ends of a connected pipe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ConnectedPoint {
    /// Who dialed.
    pub direction: Direction,
    /// The peer's address: as dialed, or as seen by the listener.
    pub remote: Multiaddr,
    /// This side's address of the pipe, where the host knows it.
    pub local: Option<Multiaddr>,
}

impl ConnectedPoint {
    /// A pipe this node dialed.
    #[must_use]
    pub const fn dialed(remote: Multiaddr, local: Option<Multiaddr>) -> Self {
        Self {
            direction: Direction::Outbound,
            remote,
            local,
        }
    }

    /// A pipe a listener of this node accepted.
    #[must_use]
    pub const fn accepted(remote: Multiaddr, local: Option<Multiaddr>) -> Self {
        Self {
            direction: Direction::Inbound,
            remote,
            local,
        }
    }
}

/// Limits and timeouts of one connection. Every field has a finite default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Config {
    /// For negotiating, securing and being admitted, all together. 10 s.
    pub handshake_timeout: Duration,
    /// For negotiating the protocol of one stream. 10 s.
    pub negotiation_timeout: Duration,
    /// For flushing what is owed when closing. 5 s.
    pub close_timeout: Duration,
    /// How long a connection without streams and keep-alive claims stays open. 30 s.
    pub idle_timeout: Duration,
    /// How long the connection may be over its byte cap without the application reading anything. 30 s.
    pub slow_reader_timeout: Duration,
    /// Inbound streams that may be negotiating their protocol at once. 64.
    pub max_negotiating_streams: u32,
    /// Streams of both directions that may be open at once. 256 from each side.
    pub max_streams: u32,
    /// Bytes a stream queues for sending before writes block. 256 KiB.
    pub stream_send_queue: usize,
    /// Bytes all streams together queue for sending before writes block. 1 MiB.
    pub connection_send_queue: usize,
    /// The largest receive buffer, in bytes; it starts at 4 KiB and doubles when reads fill it. 256 KiB.
    pub max_receive_buffer: usize,
    /// The muxer's own limits.
    pub yamux: yamux::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            negotiation_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            slow_reader_timeout: Duration::from_secs(30),
            max_negotiating_streams: 64,
            max_streams: 256,
            stream_send_queue: 256 * 1024,
            connection_send_queue: 1024 * 1024,
            max_receive_buffer: 256 * 1024,
            yamux: yamux::Config::default(),
        }
    }
}

/// How connections of a node are secured.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Security {
    /// `/noise`, authenticated and encrypted.
    Noise(noise::Local),
    /// `/plaintext/2.0.0`, neither authenticated nor encrypted: for simulation and fuzzing only.
    InsecurePlaintext(plaintext::Local),
}

/// Everything a connection needs to begin; made cheaply by the swarm, started where the connection is to run.
#[derive(Debug)]
pub struct ConnectionStart {
    pub(crate) id: ConnectionId,
    pub(crate) point: ConnectedPoint,
    pub(crate) config: Arc<Config>,
    pub(crate) security: Security,
    pub(crate) seed: Seed,
    #[cfg(feature = "recording")]
    pub(crate) tap: Tap,
}

impl ConnectionStart {
    /// A connection of its own, without a swarm: what tests and benchmarks of the connection alone use.
    #[must_use]
    pub const fn new(
        id: ConnectionId,
        point: ConnectedPoint,
        config: Arc<Config>,
        security: Security,
        seed: Seed,
    ) -> Self {
        Self {
            id,
            point,
            config,
            security,
            seed,
            #[cfg(feature = "recording")]
            tap: Tap::off(),
        }
    }

    /// Has the connection write down what goes in and out of it. For connections without a swarm, whose configuration says so
    /// for all of them.
    #[cfg(feature = "recording")]
    #[cfg_attr(docsrs, doc(cfg(feature = "recording")))]
    #[must_use]
    pub fn recorded_by(mut self, recorder: SharedRecorder) -> Self {
        self.tap = Tap::new(Some(recorder), Machine::Connection(self.id));
        self
    }

    /// The connection's name.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The pipe's two ends.
    #[must_use]
    pub const fn point(&self) -> &ConnectedPoint {
        &self.point
    }

    /// Starts the connection. The cryptographic work happens in the connection's own calls, not here.
    #[must_use]
    pub fn start(self, now: Instant) -> Connection {
        Connection::new(self, now)
    }
}
