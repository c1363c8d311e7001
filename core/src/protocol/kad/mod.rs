//! Kademlia: a distributed hash table of peers, records and providers.

pub mod iterators;
mod key;
mod record;

pub use iterators::{
    ClosestConfig, ClosestPeers, DisjointPeers, FixedPeers, PeersIterator, Step, Termination,
};
pub use key::{Distance, Key, RecordKey};
pub use record::{PeerInfo, ProviderRecord, Quorum, Record};
