//! Kademlia: a distributed hash table of peers, records and providers.

mod key;
mod record;
pub mod store;
pub mod validator;

pub use key::{Distance, Key, RecordKey};
pub use record::{PeerInfo, ProviderRecord, Quorum, Record};
pub use store::{MemoryStore, RecordStore, StoreError};
