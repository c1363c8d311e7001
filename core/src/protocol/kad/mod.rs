//! Kademlia: a distributed hash table of peers, records and providers.

pub mod iterators;
mod key;
pub mod message;
mod record;
pub mod rfc3339;

pub use iterators::{
    ClosestConfig, ClosestPeers, DisjointPeers, FixedPeers, PeersIterator, Step, Termination,
};
pub use key::{Distance, Key, RecordKey};
pub use record::{PeerInfo, ProviderRecord, Quorum, Record};
pub use table::{
    Applied, BucketRef, DiversityLimits, Entry, Insert, Removed, RoutingTable, Status, TableConfig,
};
