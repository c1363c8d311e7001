//! How these fail.

use crate::operations::{BeginError, Operating, Operations};
use core::{fmt, num::NonZeroUsize};
use drywire::{
    identity::PeerId,
    protocol::kad::{
        AddProviderError, BootstrapError, GetClosestPeersError, GetProvidersError, GetRecordError,
        PeerInfo, PeerRecord, PutRecordError, QueryRefused, StoreError,
    },
    swarm::Protocol,
};

/// Why a query of a DHT did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KadError {
    /// The query was not begun. Nobody has been asked.
    Refused(QueryRefused),
    /// Nobody who was asked has it, or knows the peer.
    NotFound {
        /// The closest peers that answered; none, if nobody could be asked.
        closest_peers: Vec<PeerId>,
    },
    /// A record was given by fewer peers than demanded.
    TooFewAnswers {
        /// The best that was found.
        best: Box<PeerRecord>,
        /// How many gave a valid value.
        found: usize,
        /// How many were demanded.
        quorum: NonZeroUsize,
    },
    /// A record was taken by fewer peers than demanded. This node keeps it, and will publish it again.
    QuorumFailed {
        /// Those that took it.
        success: Vec<PeerId>,
        /// How many were demanded.
        quorum: NonZeroUsize,
        /// How many were asked to.
        asked: usize,
    },
    /// Nobody could be told that this node provides something. It will be announced again.
    NobodyReached,
    /// The own store did not take it.
    Store(StoreError),
    /// It took too long, see [`Config::query_timeout`](drywire::protocol::kad::Config::query_timeout).
    Timeout {
        /// Of a get: the best record until then.
        best: Option<Box<PeerRecord>>,
        /// Of a lookup: the closest peers that answered until then. Of a put: the peers that took the record. Otherwise
        /// none.
        peers: Vec<PeerInfo>,
    },
    /// The host has shut down.
    HostClosed,
    /// It ended in a way that this crate does not know.
    Other,
}

impl KadError {
    /// It took too long, and there is nothing to show for it.
    const LATE: Self = Self::Timeout {
        best: None,
        peers: Vec::new(),
    };

    /// It ends badly because its host does, if that is so.
    pub(super) fn or_closed<P, F>(self, operations: &Operations<P, F>) -> Self
    where
        P: Protocol + Send + 'static,
        F: Operating + 'static,
    {
        if operations.is_closing() {
            return Self::HostClosed;
        }
        self
    }
}

impl fmt::Display for KadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => reason.fmt(f),
            Self::NotFound { closest_peers } if closest_peers.is_empty() => {
                f.write_str("not found: no peer of the DHT could be asked")
            }
            Self::NotFound { closest_peers } => match closest_peers.len() {
                1 => f.write_str("not found at the only peer that answered"),
                count => write!(f, "not found at any of the {count} closest peers"),
            },
            Self::TooFewAnswers { found, quorum, .. } => {
                write!(f, "found at {found} peers, and {quorum} are demanded")
            }
            Self::QuorumFailed {
                success,
                quorum,
                asked,
            } => {
                let stored = success.len();
                write!(
                    f,
                    "stored at {stored} of {asked} peers, and {quorum} are demanded"
                )
            }
            Self::NobodyReached => f.write_str("no peer of the DHT could be told"),
            Self::Store(error) => write!(f, "not stored: {error}"),
            Self::Timeout { .. } => f.write_str("the query took too long"),
            Self::HostClosed => f.write_str("the host has shut down"),
            Self::Other => f.write_str("the query ended in an unknown way"),
        }
    }
}

impl core::error::Error for KadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused(reason) => Some(reason),
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BeginError<QueryRefused>> for KadError {
    fn from(error: BeginError<QueryRefused>) -> Self {
        match error {
            BeginError::Refused(reason) => Self::Refused(reason),
            BeginError::HostClosed => Self::HostClosed,
        }
    }
}

impl From<GetRecordError> for KadError {
    fn from(error: GetRecordError) -> Self {
        match error {
            GetRecordError::NotFound { closest_peers, .. } => Self::NotFound { closest_peers },
            GetRecordError::QuorumFailed {
                best,
                found,
                quorum,
                ..
            } => Self::TooFewAnswers {
                best: Box::new(best),
                found,
                quorum,
            },
            GetRecordError::Timeout { best, .. } => Self::Timeout {
                best: best.map(Box::new),
                peers: Vec::new(),
            },
            _ => Self::Other,
        }
    }
}

impl From<PutRecordError> for KadError {
    fn from(error: PutRecordError) -> Self {
        match error {
            PutRecordError::QuorumFailed {
                success,
                quorum,
                asked,
                ..
            } => Self::QuorumFailed {
                success,
                quorum,
                asked,
            },
            PutRecordError::Timeout { success, .. } => Self::Timeout {
                best: None,
                peers: without_addresses(success),
            },
            PutRecordError::Store { error, .. } => Self::Store(error),
            _ => Self::Other,
        }
    }
}

impl From<AddProviderError> for KadError {
    fn from(error: AddProviderError) -> Self {
        match error {
            AddProviderError::Timeout { .. } => Self::LATE,
            AddProviderError::NobodyReached { .. } => Self::NobodyReached,
            AddProviderError::Store { error, .. } => Self::Store(error),
            _ => Self::Other,
        }
    }
}

impl From<GetClosestPeersError> for KadError {
    fn from(error: GetClosestPeersError) -> Self {
        match error {
            GetClosestPeersError::Timeout { peers, .. } => Self::Timeout { best: None, peers },
            _ => Self::Other,
        }
    }
}

impl From<GetProvidersError> for KadError {
    fn from(error: GetProvidersError) -> Self {
        match error {
            GetProvidersError::Timeout { closest_peers, .. } => Self::Timeout {
                best: None,
                peers: without_addresses(closest_peers),
            },
            _ => Self::Other,
        }
    }
}

impl From<BootstrapError> for KadError {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Timeout { .. } => Self::LATE,
            _ => Self::Other,
        }
    }
}

/// Peers without addresses.
fn without_addresses(peers: Vec<PeerId>) -> Vec<PeerInfo> {
    let peers = peers.into_iter();
    let peers = peers.map(|peer| PeerInfo {
        peer,
        addresses: Vec::new(),
    });
    peers.collect()
}
