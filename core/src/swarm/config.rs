//! The swarm's numbers. Every one is finite by default.

#[cfg(feature = "recording")]
use crate::connection::SharedRecorder;
use crate::{connection, crypto::Provider, resource};
use core::time::Duration;

/// How the connections of a node are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecurityConfig {
    /// `/noise`, with this backend's ciphers.
    Noise(Provider),
    /// `/plaintext/2.0.0`, neither authenticated nor encrypted: for simulation and fuzzing only.
    InsecurePlaintext,
}

/// Limits and timeouts of a swarm.
///
/// `Config::default()` exists if a crypto backend is compiled in, and takes the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Config {
    /// How connections are secured.
    #[cfg_attr(feature = "recording", serde(with = "security"))]
    pub security: SecurityConfig,
    /// Of each connection.
    pub connection: connection::Config,
    /// How many connections, and from where.
    pub limits: ConnectionLimits,
    /// Dialing.
    pub dial: DialConfig,
    /// The address book.
    pub address_book: AddressBookConfig,
    /// What all connections share.
    pub resources: resource::Limits,
    /// Queues between the swarm and others.
    pub queues: QueueConfig,
    /// Who is told of all that goes in and out of the swarm and its connections. Nobody.
    #[cfg(feature = "recording")]
    #[cfg_attr(docsrs, doc(cfg(feature = "recording")))]
    #[serde(skip)]
    pub recorder: Option<SharedRecorder>,
}

/// In a recording there is no backend: any of them computes the same.
#[cfg(feature = "recording")]
mod security {
    use super::{Provider, SecurityConfig};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        security: &SecurityConfig,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        matches!(security, SecurityConfig::Noise(_)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SecurityConfig, D::Error> {
        if !bool::deserialize(deserializer)? {
            return Ok(SecurityConfig::InsecurePlaintext);
        }
        let provider = Provider::AVAILABLE.first();
        let provider = provider.ok_or_else(|| de::Error::custom("no crypto backend"));
        provider.map(|provider| SecurityConfig::Noise(*provider))
    }
}

impl Config {
    /// The default of everything but security.
    #[must_use]
    pub fn new(security: SecurityConfig) -> Self {
        Self {
            security,
            connection: connection::Config::default(),
            limits: ConnectionLimits::default(),
            dial: DialConfig::default(),
            address_book: AddressBookConfig::default(),
            resources: resource::Limits::default(),
            queues: QueueConfig::default(),
            #[cfg(feature = "recording")]
            recorder: None,
        }
    }
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
impl Default for Config {
    fn default() -> Self {
        Self::new(SecurityConfig::Noise(Provider::default()))
    }
}

/// How many connections there may be.
///
/// Counts and rates per address concern accepted connections, and neither loopback nor addresses without an IP address.
/// An IPv4 address mapped into IPv6 counts as what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections in all. 512. For more than that, raise what they share, too: the streams and bytes of
    /// [`resource::Limits::node`], of which each has [`initial`](resource::Limits::initial) from the start; and for more than
    /// 2,000, [`QueueConfig::events`].
    pub connections: u32,
    /// Accepted connections; fewer than all, so that strangers cannot take every place. 448.
    pub inbound: u32,
    /// Connections to one peer, of both directions. 4.
    pub per_peer: u32,
    /// Accepted connections still in their handshake. At this number accepting pauses until a quarter is free. 64.
    pub pending: u32,
    /// Accepted connections still in their handshake from one IPv4 address or IPv6 /56. 8.
    pub pending_per_address: u32,
    /// Accepted connections from one IPv4 address or IPv6 /56. 8.
    pub per_address: u32,
    /// Accepted connections from one IPv6 /48. 64.
    pub per_site: u32,
    /// New connections from one IPv4 address or IPv6 /56: one every 5 s, and 16 at once.
    pub rate_per_address: Rate,
    /// New connections from one IPv6 /48: one every 2 s, and 80 at once.
    pub rate_per_site: Rate,
    /// Listeners. 64.
    pub listeners: u32,
    /// Protocol names accepted. 128.
    pub protocol_names: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            inbound: 448,
            per_peer: 4,
            pending: 64,
            pending_per_address: 8,
            per_address: 8,
            per_site: 64,
            rate_per_address: Rate::new(Duration::from_secs(5), 16),
            rate_per_site: Rate::new(Duration::from_secs(2), 80),
            listeners: 64,
            protocol_names: 128,
        }
    }
}

/// At most `burst` at once, and one more for every `interval` that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Rate {
    /// The time that earns one more. Zero: no limit.
    pub interval: Duration,
    /// The most that can be earned.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self::new(Duration::ZERO, u32::MAX);

    /// One for every `interval`, at most `burst` at once.
    #[must_use]
    pub const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst }
    }
}

/// Dialing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DialConfig {
    /// How long a caller waits unless it says otherwise. 60 s.
    pub timeout: Duration,
    /// For one address: connecting, and being admitted. 15 s.
    pub attempt_timeout: Duration,
    /// The same for loopback and private addresses. 5 s.
    pub private_attempt_timeout: Duration,
    /// Between the starts of attempts at public addresses. 250 ms.
    pub stagger: Duration,
    /// Dials under way, callers counted. 1024.
    pub max_dials: u32,
    /// Addresses being tried at once, of all peers. 160.
    pub max_attempts: u32,
    /// Addresses being tried or looked up at once for one peer. 8.
    pub max_attempts_per_peer: u32,
    /// Addresses tried for one peer in one job, after lookups. 100.
    pub max_addresses: u32,
    /// Name lookups in one job. 32.
    pub max_lookups: u32,
    /// How many `/dnsaddr` may lead to one another. 3.
    pub max_lookup_depth: u32,
    /// The first pause before an address is tried again for a peer. 5 s.
    pub backoff_base: Duration,
    /// The longest. 300 s.
    pub backoff_max: Duration,
}

impl Default for DialConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            attempt_timeout: Duration::from_secs(15),
            private_attempt_timeout: Duration::from_secs(5),
            stagger: Duration::from_millis(250),
            max_dials: 1024,
            max_attempts: 160,
            max_attempts_per_peer: 8,
            max_addresses: 100,
            max_lookups: 32,
            max_lookup_depth: 3,
            backoff_base: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
        }
    }
}

/// The address book.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct AddressBookConfig {
    /// Peers remembered; beyond, the one whose addresses were verified longest ago is forgotten. 16,384.
    pub max_peers: u32,
    /// Addresses remembered of one peer. 64.
    pub max_addresses: u32,
}

impl Default for AddressBookConfig {
    fn default() -> Self {
        Self {
            max_peers: 16_384,
            max_addresses: 64,
        }
    }
}

/// Queues between the swarm and its connections and host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct QueueConfig {
    /// Events waiting for [`poll_event`](super::Swarm::poll_event), with the room reserved for those to come. 4096.
    /// Each connection reserves two.
    pub events: u32,
    /// Messages under way to one connection before protocols are told [`Full`](super::SendError::Full). Messages that
    /// cannot be refused (resets, acknowledgements) may take it to eight times as much, beyond which the connection is
    /// closed. 256, at least 64.
    pub commands: u32,
    /// Bytes of protocols' messages under way to one connection, counted until they have left for the network; soft by
    /// one message. 256 KiB, and not less.
    pub command_bytes: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            events: 4096,
            commands: 256,
            command_bytes: 256 * 1024,
        }
    }
}
