//! Kademlia: what an implementation must offer to take part in its tests.
//!
//! [`KadNode`] is to the DHT what [`Requester`](crate::requests::Requester) is to requests: a node with identify and Kademlia, told
//! in the same words for every implementation. Keys and values are bytes; peers and addresses are text.

mod drywire;
mod js;
mod libp2p;

pub use drywire::DrywireKad;
pub use js::JsKad;
pub use libp2p::Libp2pKad;

use crate::Error;
use std::{collections::BTreeSet, future::Future, time::Duration};

/// How to start a node.
#[derive(Clone, Debug)]
pub struct KadOptions {
    /// The name of the protocol.
    pub name: &'static str,
    /// Whether it answers requests.
    pub server: bool,
    /// Whether only public keys and IPNS records are valid, where the implementation looks at values at all.
    pub public: bool,
    /// Whether records of peers are left to the application.
    pub filter: bool,
    /// Whether messages may be longer than rust-libp2p allows by default, 16 KiB.
    pub roomy: bool,
}

impl KadOptions {
    /// A server of a DHT where every value is valid.
    pub fn new() -> Self {
        Self {
            name: "/interop/kad/1.0.0",
            server: true,
            public: false,
            filter: false,
            roomy: false,
        }
    }

    /// The same as a client.
    pub fn client() -> Self {
        Self {
            server: false,
            ..Self::new()
        }
    }

    /// The same where values must be public keys or IPNS records.
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }
}

impl Default for KadOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The secret of a fresh identity.
fn secret() -> [u8; 32] {
    let secret = ::libp2p::identity::ed25519::SecretKey::generate();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(secret.as_ref());
    bytes
}

/// A peer, and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who.
    pub peer: String,
    /// Where, as far as the implementation says so.
    pub addresses: Vec<String>,
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its value.
    pub value: Vec<u8>,
    /// Who put it there first, where that is told.
    pub publisher: Option<String>,
    /// For how long it is still valid, where that is told.
    pub ttl: Option<Duration>,
}

/// What became of putting a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Whether as many took it as should.
    pub enough: bool,
    /// Who did.
    pub by: BTreeSet<String>,
}

/// A running node. Clones are handles of the same one; dropping the last one ends it.
pub trait KadNode: Clone + Send + Sync + 'static {
    /// The name of the implementation.
    const NAME: &'static str;

    /// Starts a node, and listens on loopback.
    fn start(options: KadOptions) -> impl Future<Output = Result<Self, Error>> + Send;

    /// The node's own name.
    fn id(&self) -> String;

    /// Where it listens, without its name.
    fn address(&self) -> String;

    /// Connects.
    fn connect(&self, peer: &str, address: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Puts a peer into the routing table, unasked.
    fn introduce(
        &self,
        peer: &str,
        address: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Who is in the routing table, and not known to be gone.
    fn table(&self) -> impl Future<Output = Result<BTreeSet<String>, Error>> + Send;

    /// The peers closest to a key, those that have answered.
    fn closest(&self, key: &[u8]) -> impl Future<Output = Result<Vec<Told>, Error>> + Send;

    /// Stores a record at the closest peers, so many of which must take it.
    fn put(
        &self,
        key: &[u8],
        value: &[u8],
        quorum: usize,
        ttl: Option<Duration>,
    ) -> impl Future<Output = Result<Put, Error>> + Send;

    /// Looks for a record.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Found>, Error>> + Send;

    /// Says that it provides a key, which is a multihash.
    fn provide(&self, key: &[u8]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Who provides a key.
    fn providers(&self, key: &[u8]) -> impl Future<Output = Result<Vec<Told>, Error>> + Send;

    /// Joins the network through those in the routing table.
    fn bootstrap(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Answers requests from now on, or no longer.
    fn serve(&self, server: bool) -> impl Future<Output = Result<(), Error>> + Send;

    /// The value in the node's own store.
    fn stored(&self, key: &[u8]) -> impl Future<Output = Result<Option<Vec<u8>>, Error>> + Send;

    /// The next record that was left to the application, by key and value.
    fn offered(&self) -> impl Future<Output = Result<(Vec<u8>, Vec<u8>), Error>> + Send;
}
