//! What the host is told.

use super::{
    key::{Distance, RecordKey},
    query::{ProgressStep, QueryId, QueryStats},
    record::{PeerInfo, ProviderRecord, Record},
};
use crate::{connection::ConnectionId, identity::PeerId, multiaddr::Multiaddr};
use alloc::{collections::BTreeMap, vec::Vec};
use core::{fmt, num::NonZeroUsize};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer asked for something, and was or will be answered.
    InboundRequest {
        /// What it asked.
        request: InboundRequest,
    },
    /// A query has a result. One event of each query has `step.last` set, unless the query was
    /// [given up](super::Kademlia::give_up): the last one.
    OutboundQueryProgressed {
        /// The query.
        id: QueryId,
        /// What it found.
        result: QueryResult,
        /// What it did so far.
        stats: QueryStats,
        /// Which of its events this is.
        step: ProgressStep,
    },
    /// A peer came into the routing table, or one there has a new address.
    RoutingUpdated {
        /// The peer.
        peer: PeerId,
        /// Whether it was not there before.
        is_new_peer: bool,
        /// Its addresses.
        addresses: Vec<Multiaddr>,
        /// The distances that its k-bucket covers, both included.
        bucket_range: (Distance, Distance),
        /// Who had to leave for it.
        old_peer: Option<PeerId>,
    },
    /// A peer speaks the protocol, and no address of it is known; or none is credible: it has dialed this node from a network in
    /// which none of them is, see [`Config::diversity`](super::Config::diversity).
    UnroutablePeer {
        /// The peer.
        peer: PeerId,
    },
    /// A peer speaks the protocol, and was not inserted: by the settings, or because its k-bucket is full.
    RoutablePeer {
        /// The peer.
        peer: PeerId,
        /// Where it may be reached.
        address: Multiaddr,
    },
    /// A peer waits for a place in its k-bucket.
    PendingRoutablePeer {
        /// The peer.
        peer: PeerId,
        /// Where it may be reached.
        address: Multiaddr,
    },
    /// The node became a server or a client by itself.
    ModeChanged {
        /// What it is now.
        new_mode: Mode,
    },
}

/// Whether a node answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It only asks.
    Client,
    /// It answers, and stores records of others.
    Server,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// What a peer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboundRequest {
    /// The peers closest to a key.
    FindNode {
        /// How many it was told.
        num_closer_peers: usize,
    },
    /// Who provides a key.
    GetProvider {
        /// How many closer peers it was told.
        num_closer_peers: usize,
        /// How many providers it was told.
        num_provider_peers: usize,
    },
    /// To remember that it provides something.
    AddProvider {
        /// The record, if it is up to the application to store it, see
        /// [`StoreInserts::FilterBoth`](super::StoreInserts::FilterBoth).
        record: Option<ProviderRecord>,
    },
    /// A record.
    GetRecord {
        /// How many closer peers it was told.
        num_closer_peers: usize,
        /// Whether it was given the record.
        present_locally: bool,
    },
    /// To store a record.
    PutRecord {
        /// Who asked.
        source: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// The record, if it is up to the application to store it.
        record: Option<Record>,
    },
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryResult {
    /// Of [`bootstrap`](super::Kademlia::bootstrap): one for each lookup it consists of.
    Bootstrap(Result<BootstrapOk, BootstrapError>),
    /// Of [`get_closest_peers`](super::Kademlia::get_closest_peers).
    GetClosestPeers(Result<GetClosestPeersOk, GetClosestPeersError>),
    /// Of [`get_providers`](super::Kademlia::get_providers).
    GetProviders(Result<GetProvidersOk, GetProvidersError>),
    /// Of [`start_providing`](super::Kademlia::start_providing).
    StartProviding(Result<AddProviderOk, AddProviderError>),
    /// Of publishing a provider record again.
    RepublishProvider(Result<AddProviderOk, AddProviderError>),
    /// Of [`get_record`](super::Kademlia::get_record).
    GetRecord(Result<GetRecordOk, GetRecordError>),
    /// Of [`put_record`](super::Kademlia::put_record) and [`put_record_to`](super::Kademlia::put_record_to).
    PutRecord(Result<PutRecordOk, PutRecordError>),
    /// Of publishing a record again.
    RepublishRecord(Result<PutRecordOk, PutRecordError>),
}

impl QueryResult {
    /// Whether it is no failure.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        match self {
            Self::Bootstrap(result) => result.is_ok(),
            Self::GetClosestPeers(result) => result.is_ok(),
            Self::GetProviders(result) => result.is_ok(),
            Self::StartProviding(result) | Self::RepublishProvider(result) => result.is_ok(),
            Self::GetRecord(result) => result.is_ok(),
            Self::PutRecord(result) | Self::RepublishRecord(result) => result.is_ok(),
        }
    }
}

/// A lookup of a bootstrap is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOk {
    /// The peer id that was looked up: first the node's own, then random ones.
    pub peer: PeerId,
    /// How many lookups are to follow.
    pub num_remaining: u32,
}

/// A lookup of a bootstrap has found less than there is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootstrapError {
    /// It took too long.
    Timeout {
        /// The peer id that was looked up.
        peer: PeerId,
        /// How many lookups are to follow; `None` if none were planned, because the first one took too long.
        num_remaining: Option<u32>,
    },
}

/// The closest peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetClosestPeersOk {
    /// What was looked up.
    pub key: Vec<u8>,
    /// Those that answered, the closest first.
    pub peers: Vec<PeerInfo>,
}

/// The closest peers are not known for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetClosestPeersError {
    /// It took too long.
    Timeout {
        /// What was looked up.
        key: Vec<u8>,
        /// Those that answered until then, the closest first.
        peers: Vec<PeerInfo>,
    },
}

/// Providers, or the end of looking for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetProvidersOk {
    /// Some more.
    FoundProviders {
        /// Of what.
        key: RecordKey,
        /// Providers that were not told before, with the addresses they were told with.
        providers: Vec<PeerInfo>,
    },
    /// There are no more.
    FinishedWithNoAdditionalRecord {
        /// The closest peers that answered.
        closest_peers: Vec<PeerId>,
    },
}

/// There may be more providers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetProvidersError {
    /// It took too long.
    Timeout {
        /// Of what.
        key: RecordKey,
        /// The closest peers that answered until then.
        closest_peers: Vec<PeerId>,
    },
}

/// A record, or the end of looking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetRecordOk {
    /// A valid record. There may be better ones.
    FoundRecord(PeerRecord),
    /// There are no more.
    FinishedWithNoAdditionalRecord {
        /// The best of those found, by the [`Validator`](super::validator::Validator).
        best: PeerRecord,
        /// The closest peers that should have had it and had not, by their distance to it.
        cache_candidates: BTreeMap<Distance, PeerId>,
    },
}

/// A record, and who had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who had it; `None` is this node.
    pub peer: Option<PeerId>,
    /// The record.
    pub record: Record,
}

/// No record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetRecordError {
    /// Nobody has it.
    NotFound {
        /// Its key.
        key: RecordKey,
        /// The closest peers that answered.
        closest_peers: Vec<PeerId>,
    },
    /// Fewer answers came than were demanded.
    QuorumFailed {
        /// Its key.
        key: RecordKey,
        /// The best of those found.
        best: PeerRecord,
        /// How many gave a valid value.
        found: usize,
        /// How many were demanded.
        quorum: NonZeroUsize,
    },
    /// It took too long.
    Timeout {
        /// Its key.
        key: RecordKey,
        /// The best of those found until then.
        best: Option<PeerRecord>,
    },
}

/// A record was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRecordOk {
    /// Its key.
    pub key: RecordKey,
    /// By whom.
    pub success: Vec<PeerId>,
}

/// A record was not stored by as many as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutRecordError {
    /// Fewer did than the quorum.
    QuorumFailed {
        /// Its key.
        key: RecordKey,
        /// Those that did.
        success: Vec<PeerId>,
        /// How many were demanded.
        quorum: NonZeroUsize,
        /// How many were asked to.
        asked: usize,
    },
    /// It took too long.
    Timeout {
        /// Its key.
        key: RecordKey,
        /// Those that did until then.
        success: Vec<PeerId>,
        /// How many were demanded.
        quorum: NonZeroUsize,
    },
    /// The own store did not take it.
    Store {
        /// Its key.
        key: RecordKey,
        /// Why.
        error: super::store::StoreError,
    },
}

/// Peers were told that this node provides something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddProviderOk {
    /// What.
    pub key: RecordKey,
    /// How many were told.
    pub told: usize,
}

/// Not enough peers were told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddProviderError {
    /// It took too long.
    Timeout {
        /// What.
        key: RecordKey,
        /// How many were told until then.
        told: usize,
    },
    /// Nobody could be told.
    NobodyReached {
        /// What.
        key: RecordKey,
    },
    /// The own store did not take it.
    Store {
        /// What.
        key: RecordKey,
        /// Why.
        error: super::store::StoreError,
    },
}

impl fmt::Display for BootstrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Timeout { peer, .. } = self;
        write!(f, "looking up {peer} took too long")
    }
}

impl core::error::Error for BootstrapError {}

impl fmt::Display for GetClosestPeersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Timeout { peers, .. } = self;
        let found = peers.len();
        write!(f, "the search took too long; {found} peers answered")
    }
}

impl core::error::Error for GetClosestPeersError {}

impl fmt::Display for GetProvidersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Timeout { key, .. } = self;
        write!(f, "looking for providers of {key} took too long")
    }
}

impl core::error::Error for GetProvidersError {}

impl fmt::Display for GetRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { key, closest_peers } => {
                let asked = closest_peers.len();
                write!(
                    f,
                    "no record of {key}: none of the {asked} closest peers has one"
                )
            }
            Self::QuorumFailed {
                key, found, quorum, ..
            } => write!(f, "{found} of {quorum} values of {key} were found"),
            Self::Timeout { key, .. } => write!(f, "looking for {key} took too long"),
        }
    }
}

impl core::error::Error for GetRecordError {}

impl fmt::Display for PutRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QuorumFailed {
                key,
                success,
                quorum,
                asked,
            } => {
                let took = success.len();
                write!(f, "{took} of {asked} peers took {key}, not {quorum}")
            }
            Self::Timeout {
                key,
                success,
                quorum,
            } => {
                let took = success.len();
                write!(
                    f,
                    "storing {key} took too long: {took} of {quorum} peers took it"
                )
            }
            Self::Store { key, error } => write!(f, "{key} was not stored here: {error}"),
        }
    }
}

impl core::error::Error for PutRecordError {}

impl fmt::Display for AddProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { key, told } => {
                write!(f, "announcing {key} took too long; {told} peers were told")
            }
            Self::NobodyReached { key } => write!(f, "nobody could be told of {key}"),
            Self::Store { key, error } => write!(f, "{key} was not stored here: {error}"),
        }
    }
}

impl core::error::Error for AddProviderError {}
