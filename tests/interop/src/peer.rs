//! What a libp2p implementation has to offer to take part in the tests and benchmarks.

use std::{fmt, future::Future, io, str::FromStr, time::Duration};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Stream};

/// How to start a node. Everything that could differ between implementations by default is said here, so that two
/// implementations run under the same rules.
#[derive(Clone, Debug)]
pub struct Options {
    /// The 32-byte Ed25519 secret of the node's identity; a fresh one when absent.
    pub secret: Option<[u8; 32]>,
    /// Serve and send `/ipfs/ping/1.0.0`. Implementations that ping on a timer use [`Options::ping_interval`].
    pub ping: bool,
    /// The pause between two pings of an implementation that cannot ping on demand.
    pub ping_interval: Duration,
    /// Serve and ask `/ipfs/id/1.0.0`.
    pub identify: bool,
    /// The agent name that identify reports.
    pub agent: String,
    /// Streams at once on a connection, 4,096 at most: above that rust-libp2p's muxer panics.
    pub max_streams: usize,
    /// A connection without streams is closed after this time.
    pub idle_timeout: Duration,
    /// Send the stream's first data together with the proposal of its protocol even in [`Peer::open`]. Only for
    /// implementations where this is a property of the node (rust-libp2p's `V1Lazy`).
    pub lazy_negotiation: bool,
    /// Whose cryptography to use, where the implementation leaves the choice.
    pub crypto: Crypto,
    /// Streams of one protocol that wait to be taken from [`Peer::accept`]; more are reset.
    pub accept_backlog: usize,
}

/// Whose cryptography a node uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crypto {
    /// Whatever the implementation takes by itself.
    #[default]
    Default,
    /// AWS-LC.
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            secret: None,
            ping: true,
            ping_interval: Duration::from_millis(100),
            identify: true,
            agent: "drywire-interop/0.1.0".to_owned(),
            max_streams: 512,
            idle_timeout: Duration::from_secs(60),
            lazy_negotiation: false,
            crypto: Crypto::Default,
            accept_backlog: 4096,
        }
    }
}

impl Options {
    /// A node with nothing but its streams: what benchmarks compare.
    pub fn bare() -> Self {
        Self {
            ping: false,
            identify: false,
            max_streams: 4096,
            idle_timeout: Duration::from_secs(3600),
            ..Self::default()
        }
    }
}

/// What the peer said of itself with `/ipfs/id/1.0.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The peer id that belongs to the public key in the message, as text.
    pub peer: String,
    /// Its `protocolVersion`.
    pub protocol_version: String,
    /// Its `agentVersion`.
    pub agent_version: String,
    /// The addresses it listens on, as text.
    pub listen_addresses: Vec<String>,
    /// The protocols it serves.
    pub protocols: Vec<String>,
    /// The address under which it sees us.
    pub observed_address: String,
}

/// Why an operation failed.
#[derive(Debug)]
pub enum Error {
    /// The address is not a valid multiaddr for this operation.
    Address(String),
    /// The other end proved to be a peer that was not asked for.
    WrongPeer(String),
    /// The connection could not be made.
    Dial(String),
    /// There is no connection to that peer, or it ended.
    NotConnected,
    /// The peer does not serve that protocol.
    Unsupported,
    /// The protocol is served already.
    AlreadyAccepting,
    /// Not in time.
    Timeout,
    /// The node could not do it, for a reason of its own.
    Node(String),
    /// A stream failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(f, "bad address: {text}"),
            Self::WrongPeer(text) => write!(f, "the address belongs to another peer: {text}"),
            Self::Dial(text) => write!(f, "cannot connect: {text}"),
            Self::NotConnected => f.write_str("not connected"),
            Self::Unsupported => f.write_str("the peer does not serve this protocol"),
            Self::AlreadyAccepting => f.write_str("this protocol is being served already"),
            Self::Timeout => f.write_str("not answered in time"),
            Self::Node(text) => write!(f, "the node failed: {text}"),
            Self::Io(error) => write!(f, "stream failed: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A stream and how the programs move data over it: with `AsyncRead` and `AsyncWrite`, unless it has a better way.
pub trait Transfer: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Writes all of `data`.
    fn send(&mut self, data: Bytes) -> impl Future<Output = io::Result<()>> + Send {
        async move { self.write_all(&data).await }
    }

    /// Receives something, at most as much as `buffer` is long; how much it was, 0 at the end. What was received need
    /// not be in `buffer`.
    fn receive(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        async move { self.read(buffer).await }
    }
}

/// A running node of some libp2p implementation. Clones are handles of the same node; dropping the last one ends it.
///
/// All methods must be called inside a tokio runtime.
pub trait Peer: Clone + Send + Sync + 'static {
    /// The name of the implementation in reports.
    const NAME: &'static str;
    /// A peer id. Its text form is the base58 one.
    type Id: Clone
        + PartialEq
        + fmt::Debug
        + fmt::Display
        + FromStr<Err: fmt::Debug>
        + Send
        + Sync
        + 'static;
    /// A stream. Closing it ends our writing half; dropping it before that resets it.
    type Stream: Transfer;
    /// The inbound streams of one protocol. Dropping it stops serving the protocol.
    type Incoming: Stream<Item = (Self::Id, Self::Stream)> + Unpin + Send + 'static;

    /// Starts a node that listens nowhere yet.
    fn start(options: Options) -> Result<Self, Error>;

    /// The node's own id.
    fn id(&self) -> Self::Id;

    /// Listens on a multiaddr such as `/ip4/127.0.0.1/tcp/0` and returns what was bound, with `/p2p/<id>` at its end.
    fn listen(&self, address: &str) -> impl Future<Output = Result<String, Error>> + Send;

    /// Makes a new connection, whatever connections exist. With `/p2p/<id>` at the end of the address, no other
    /// peer will do.
    fn connect(&self, address: &str) -> impl Future<Output = Result<Self::Id, Error>> + Send;

    /// Opens a stream on the connection to that peer, and returns when the peer has agreed to the protocol (unless
    /// [`Options::lazy_negotiation`] says otherwise).
    fn open(
        &self,
        peer: &Self::Id,
        name: &'static str,
    ) -> impl Future<Output = Result<Self::Stream, Error>> + Send;

    /// Opens a stream without waiting for the peer's agreement, where the implementation can do so.
    fn open_optimistic(
        &self,
        peer: &Self::Id,
        name: &'static str,
    ) -> impl Future<Output = Result<Self::Stream, Error>> + Send {
        self.open(peer, name)
    }

    /// Serves a protocol until the returned value is dropped.
    fn accept(&self, name: &'static str) -> Result<Self::Incoming, Error>;

    /// The time of one round trip of `/ipfs/ping/1.0.0`.
    fn ping(&self, peer: &Self::Id) -> impl Future<Output = Result<Duration, Error>> + Send;

    /// What the peer says of itself.
    fn identify(&self, peer: &Self::Id) -> impl Future<Output = Result<Identified, Error>> + Send;

    /// Closes all connections to that peer and returns when they have ended on this side.
    fn disconnect(&self, peer: &Self::Id) -> impl Future<Output = Result<(), Error>> + Send;

    /// Resets a stream.
    fn reset(stream: Self::Stream) {
        drop(stream);
    }
}
