//! What the swarm asks its host to do, and what the host answers.

use super::dial::AttemptId;
use crate::{
    connection::{ConnectionId, ToConnection},
    multiaddr::Multiaddr,
};
use alloc::{string::String, vec::Vec};
use core::{fmt, net::IpAddr};

/// Names a listener. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct ListenerId(pub(super) u64);

impl ListenerId {
    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l{}", self.0)
    }
}

/// Names one name lookup. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct ResolveId(pub(super) u64);

impl ResolveId {
    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What to look up. Limits on depth and number are the swarm's; the host only asks its resolver once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LookupKind {
    /// IPv4 and IPv6 addresses (A and AAAA records).
    Ip,
    /// IPv4 addresses.
    Ip4,
    /// IPv6 addresses.
    Ip6,
    /// TXT records.
    Text,
}

/// A resolver's answer. What is beyond the first 16 entries is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Resolved {
    /// Answers [`LookupKind::Ip`], [`LookupKind::Ip4`] and [`LookupKind::Ip6`].
    Addresses(Vec<IpAddr>),
    /// Answers [`LookupKind::Text`]: one string for each record.
    Text(Vec<String>),
}

/// Something the host is to do. Do them in the order given.
///
/// A host hands what it does not know to [`Swarm::handle_unsupported`](super::Swarm::handle_unsupported), which
/// fails the operation behind it with a typed error.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Connect to this address, then call [`Swarm::handle_dialed`](super::Swarm::handle_dialed). The address names no
    /// peer, and no name to look up. The swarm keeps the time: it cancels an attempt that takes too long.
    Dial {
        /// To be given back with the result.
        attempt: AttemptId,
        /// Where to connect to.
        address: Multiaddr,
    },
    /// Give up an attempt. No answer is expected; one that comes is ignored, and a socket it brought is to be closed.
    CancelDial {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Listen on this address, and report through [`Swarm::handle_listener`](super::Swarm::handle_listener).
    Listen {
        /// To be given with each report.
        listener: ListenerId,
        /// Where to listen. The port may be 0, the address unspecified.
        address: Multiaddr,
    },
    /// Stop a listener; report [`ListenerUpdate::Closed`] when it is gone.
    StopListen {
        /// The listener.
        listener: ListenerId,
    },
    /// Look a name up, then call [`Swarm::handle_resolved`](super::Swarm::handle_resolved).
    Resolve {
        /// To be given back with the answer.
        lookup: ResolveId,
        /// The name.
        name: String,
        /// The kind of records.
        kind: LookupKind,
    },
    /// Hand this message to a connection, by `Connection::handle_message`. Messages to one connection keep their
    /// order. Drop it if the connection is gone.
    ToConnection(ConnectionId, ToConnection),
    /// Accept no connection from any listener until [`ResumeAccept`](Self::ResumeAccept). Peers wait in the backlog of
    /// the operating system.
    PauseAccept,
    /// Accept again.
    ResumeAccept,
}

/// What became of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ListenerUpdate {
    /// The listener is bound to this address, its port resolved. A listener may be bound to several.
    Bound(Multiaddr),
    /// The listener is no longer bound to this address.
    Unbound(Multiaddr),
    /// Accepting failed, and the listener goes on. For [`TransportError::OutOfDescriptors`] accepting pauses for a
    /// second. After any other failure it is the host that lets the listener rest.
    AcceptFailed(TransportError),
    /// The listener is gone: it could not be started, it was stopped (`None`), or it broke.
    Closed(Option<TransportError>),
}

/// How connecting, listening or looking up failed: an operating system's error as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TransportError {
    /// The host has no transport for this address, or does not know this action.
    Unsupported,
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The other side hung up at once.
    Reset,
    /// The port is in use.
    AddressInUse,
    /// The address does not belong to this machine.
    AddressNotAvailable,
    /// The operating system does not permit it.
    PermissionDenied,
    /// The process has no file descriptors left.
    OutOfDescriptors,
    /// The name does not exist, or has no such records.
    NameNotFound,
    /// Anything else, in the host's words.
    Other(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "not supported",
            Self::Refused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Reset => "connection reset",
            Self::AddressInUse => "address in use",
            Self::AddressNotAvailable => "address not available",
            Self::PermissionDenied => "permission denied",
            Self::OutOfDescriptors => "out of file descriptors",
            Self::NameNotFound => "name not found",
            Self::Other(text) => text,
        })
    }
}

impl core::error::Error for TransportError {}
