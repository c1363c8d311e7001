//! Kademlia: a distributed hash table of peers, records and providers.

mod bootstrap;
mod config;
pub mod dht;
mod estimate;
mod event;
pub mod iterators;
mod jobs;
mod kademlia;
mod key;
pub mod message;
mod query;
mod record;
pub mod rfc3339;
pub mod store;
pub mod table;
#[cfg(test)]
mod tests;
pub mod validator;

pub use config::{
    ALPHA_VALUE, AddressScope, BucketInserts, Caching, Config, K_VALUE, LAN_PROTOCOL_NAME,
    PROTOCOL_NAME, StoreInserts,
};
pub use dht::{Dht, QueryRefused, RoutingUpdate};
pub use estimate::NetworkSize;
pub use event::{
    AddProviderError, AddProviderOk, BootstrapError, BootstrapOk, Event, GetClosestPeersError,
    GetClosestPeersOk, GetProvidersError, GetProvidersOk, GetRecordError, GetRecordOk,
    InboundRequest, Mode, PeerRecord, PutRecordError, PutRecordOk, QueryResult,
};
pub use kademlia::Kademlia;
pub use key::{Distance, Key, RecordKey};
pub use message::{ConnectionType, MessageError};
pub use query::{
    AddProviderContext, AddProviderPhase, ProgressStep, PutRecordContext, PutRecordPhase, QueryId,
    QueryInfo, QueryMut, QueryOptions, QueryRef, QueryStats,
};
pub use record::{PeerInfo, ProviderRecord, Quorum, Record};
pub use store::{MemoryStore, MemoryStoreConfig, RecordStore, StoreError};
pub use validator::{InvalidRecord, Validator};

/// The name rust-libp2p uses.
pub type Behaviour<S = MemoryStore> = Kademlia<S>;
