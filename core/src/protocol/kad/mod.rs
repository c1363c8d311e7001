//! Kademlia: a distributed hash table of peers, records and providers.

mod key;
pub mod message;
mod record;
pub mod rfc3339;
pub mod validator;

pub use key::{Distance, Key, RecordKey};
pub use message::{ConnectionType, MessageError};
pub use record::{PeerInfo, ProviderRecord, Quorum, Record};
pub use validator::{InvalidRecord, Validator};
