//! What a host has to be to be tested.

use crate::trouble::Trouble;
use bytes::Bytes;
use core::{fmt, future::Future, time::Duration};
use drywire::{identity::PeerId, multiaddr::Multiaddr, multistream::ProtocolName, swarm::Config};
use futures::{AsyncRead, AsyncWrite};

/// Why something failed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(pub String);

impl Failed {
    /// What an error says.
    pub fn of(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Failed {}

/// Where nodes live.
pub trait Place: Clone + Send + Sync + 'static {
    /// Its nodes.
    type Node: Node;

    /// A new node.
    fn node(&self, config: Config) -> Self::Node;

    /// Ends a node at once, as if the thread or the runtime it is on were gone: nobody says goodbye.
    fn kill(&self, node: &Self::Node);

    /// Lets some time pass.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static;

    /// Runs a task of the test in the background.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// The trouble it makes, and what of it is alive.
    fn trouble(&self) -> &Trouble;
}

/// A node, as the scenarios use it.
///
/// Clones are handles of the same node.
pub trait Node: Clone + Send + Sync + 'static {
    /// Its streams.
    type Stream: Stream;
    /// Streams that peers open under one name.
    type Incoming: Incoming<Stream = Self::Stream>;

    /// Its name.
    fn peer_id(&self) -> PeerId;

    /// Listens, and says where.
    fn listen(&self, address: Multiaddr) -> impl Future<Output = Result<Multiaddr, Failed>> + Send;

    /// Connects.
    fn dial(&self, address: Multiaddr) -> impl Future<Output = Result<PeerId, Failed>> + Send;

    /// Opens a stream to a connected peer, without waiting for the peer's answer.
    fn open(
        &self,
        peer: PeerId,
        name: ProtocolName,
    ) -> impl Future<Output = Result<Self::Stream, Failed>> + Send;

    /// Accepts streams under a name.
    fn accept(
        &self,
        name: ProtocolName,
    ) -> impl Future<Output = Result<Self::Incoming, Failed>> + Send;

    /// Sends a request that is answered with itself.
    fn request(
        &self,
        peer: PeerId,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, Failed>> + Send;

    /// Makes a peer known to the DHT.
    fn add_to_table(&self, peer: PeerId, address: Multiaddr) -> impl Future<Output = ()> + Send;

    /// Stores a record in the DHT.
    fn put(
        &self,
        key: &'static str,
        value: &'static str,
    ) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Gets a record from the DHT.
    fn get(&self, key: &'static str) -> impl Future<Output = Result<Vec<u8>, Failed>> + Send;

    /// How many connections are up.
    fn connections(&self) -> impl Future<Output = usize> + Send;

    /// How many times accepting has failed.
    fn accept_failures(&self) -> impl Future<Output = usize> + Send;

    /// Ends in good order.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// A stream, as the scenarios use it. Dropping it resets it, unless it was finished.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Aborts both directions.
    fn reset(self);
}

/// Streams that peers open.
pub trait Incoming: Send + 'static {
    /// Its streams.
    type Stream: Stream;

    /// The next one; `None` when the node has ended.
    fn next(&mut self) -> impl Future<Output = Option<(PeerId, Self::Stream)>> + Send;
}
