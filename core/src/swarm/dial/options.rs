//! What a caller asks for, and how it can fail.

use crate::{
    connection::ConnectionError, identity::PeerId, multiaddr::Multiaddr, swarm::TransportError,
};
use alloc::vec::Vec;
use core::{fmt, time::Duration};

/// Names one dial: a caller's wish. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct DialId(pub(in crate::swarm) u64);

impl DialId {
    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

/// Names one try of one address. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct AttemptId(pub(in crate::swarm) u64);

impl AttemptId {
    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// Whether a connection that is already there will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum DialCondition {
    /// An existing connection to the peer is the answer.
    #[default]
    IfDisconnected,
    /// A new connection is wanted even if the peer is connected.
    Always,
}

/// Whom to dial, and how.
///
/// ```
/// use core::time::Duration;
/// use drywire::{multiaddr::Multiaddr, swarm::DialOptions};
///
/// let address: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse()?;
/// let options = DialOptions::address(address).timeout(Duration::from_secs(5));
/// # let _ = options;
/// # Ok::<(), drywire::multiaddr::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct DialOptions {
    pub(in crate::swarm) peer: Option<PeerId>,
    pub(in crate::swarm) addresses: Vec<Multiaddr>,
    pub(in crate::swarm) address_book: bool,
    pub(in crate::swarm) public_only: bool,
    pub(in crate::swarm) condition: DialCondition,
    pub(in crate::swarm) timeout: Option<Duration>,
    pub(in crate::swarm) ignore_backoff: bool,
}

impl DialOptions {
    const fn new(peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> Self {
        Self {
            peer,
            addresses,
            address_book: true,
            public_only: false,
            condition: DialCondition::IfDisconnected,
            timeout: None,
            ignore_backoff: false,
        }
    }

    /// Reach this peer, at the addresses the address book knows.
    #[must_use]
    pub const fn peer(peer: PeerId) -> Self {
        Self::new(Some(peer), Vec::new())
    }

    /// Reach whoever is at this address. If it ends with `/p2p/..`, that peer and no other.
    #[must_use]
    pub fn address(address: Multiaddr) -> Self {
        Self::new(address.peer_id(), alloc::vec![address])
    }

    /// More addresses to try, besides those of the address book. One that names another peer fails as
    /// [`AttemptError::OtherPeer`]. At most 100 addresses are tried for one peer at a time.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// Tries only the addresses given here, none of the address book.
    #[must_use]
    pub const fn without_address_book(mut self) -> Self {
        self.address_book = false;
        self
    }

    /// Names must lead to addresses that can be reached from the whole internet; others they lead to are passed over. For
    /// names that somebody else has told: they may lead into the own network. Addresses given without a name are not judged.
    #[must_use]
    pub const fn names_lead_to_public(mut self) -> Self {
        self.public_only = true;
        self
    }

    /// Sets whether an existing connection will do.
    #[must_use]
    pub const fn condition(mut self, condition: DialCondition) -> Self {
        self.condition = condition;
        self
    }

    /// Sets when this caller gives up; 60 s unless the swarm is configured otherwise. Other callers who share the
    /// job have their own time.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Tries addresses even if they failed a short while ago.
    #[must_use]
    pub const fn ignore_backoff(mut self) -> Self {
        self.ignore_backoff = true;
        self
    }
}

/// How one address failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFailure {
    /// The address.
    pub address: Multiaddr,
    /// What happened.
    pub error: AttemptError,
}

impl fmt::Display for AddressFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}

/// Why an address did not lead to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// Connecting failed.
    Transport(TransportError),
    /// Looking up its name failed.
    Lookup(TransportError),
    /// Connected, but the handshake failed or the connection was not admitted.
    Connection(ConnectionError),
    /// Somebody else answered.
    WrongPeer {
        /// Who.
        obtained: PeerId,
    },
    /// It took too long.
    TimedOut,
    /// It failed a short while ago and is not tried again before this time has passed.
    Backoff(Duration),
    /// The address ends with the id of another peer than the one to be dialed.
    OtherPeer,
    /// The address is of this very node.
    OwnAddress,
    /// The address cannot be dialed by its nature: unspecified, multicast or broadcast, or port 0.
    Undialable,
    /// Limit: names of this address lead through too many other names, or to too many.
    TooManyLookups,
    /// Limit: connections of the node.
    TooManyConnections,
}

impl AttemptError {
    /// Whether it speaks against the address, not against this node's means.
    pub(crate) const fn blames_address(&self) -> bool {
        match self {
            // That there is no way there may be this node's own network.
            Self::Transport(error) => {
                matches!(error, TransportError::Refused | TransportError::TimedOut)
            }
            Self::WrongPeer { .. } | Self::TimedOut | Self::OtherPeer | Self::OwnAddress => true,
            _ => false,
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => fmt::Display::fmt(error, f),
            Self::Lookup(error) => write!(f, "name lookup failed: {error}"),
            Self::Connection(error) => fmt::Display::fmt(error, f),
            Self::WrongPeer { obtained } => write!(f, "another peer answered: {obtained}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Backoff(left) => write!(f, "failed recently, not tried again for {left:?}"),
            Self::OtherPeer => f.write_str("the address is of another peer"),
            Self::OwnAddress => f.write_str("the address is of this node itself"),
            Self::Undialable => f.write_str("not an address to dial"),
            Self::TooManyLookups => f.write_str("too many names to look up"),
            Self::TooManyConnections => f.write_str("too many connections"),
        }
    }
}

impl core::error::Error for AttemptError {}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// The peer is this very node.
    SelfDial,
    /// No address was given, and the address book knows none.
    NoAddresses,
    /// The peer is denied.
    Denied,
    /// The node is shutting down.
    ShuttingDown,
    /// Limit: dials under way.
    TooManyDials,
    /// Own misuse: the host does not collect events, and there is no room for this dial's.
    EventsFull,
    /// The caller's time is over.
    TimedOut {
        /// What had failed by then, at most 32 of them.
        failures: Vec<AddressFailure>,
    },
    /// Every address failed.
    AllFailed {
        /// How, at most 32 of them.
        failures: Vec<AddressFailure>,
    },
}

impl DialError {
    /// How single addresses failed.
    #[must_use]
    pub fn failures(&self) -> &[AddressFailure] {
        match self {
            Self::TimedOut { failures } | Self::AllFailed { failures } => failures,
            _ => &[],
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfDial => "cannot dial this node itself",
            Self::NoAddresses => "no addresses",
            Self::Denied => "the peer is denied",
            Self::ShuttingDown => "this node is shutting down",
            Self::TooManyDials => "too many dials at once",
            Self::EventsFull => "events are not collected",
            Self::TimedOut { .. } => "timed out",
            Self::AllFailed { .. } => "every address failed",
        })?;
        self.failures()
            .iter()
            .enumerate()
            .try_for_each(|(index, failure)| {
                f.write_str(if index == 0 { ": " } else { "; " })?;
                fmt::Display::fmt(failure, f)
            })
    }
}

impl core::error::Error for DialError {}
