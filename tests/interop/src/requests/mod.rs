//! Requests and responses: what an implementation must offer to take part in their tests.
//!
//! [`Requester`] is to requests what [`Peer`](crate::Peer) is to streams. Both implementations say the same [`Body`] in the same
//! [`Format`], and tell their failures in the same words, so that scenarios are written once.

mod body;
mod drywire;
mod libp2p;

pub use body::{Body, Format, Kind};
pub use drywire::DrywireRequester;
pub use libp2p::Libp2pRequester;

use crate::Error;
use std::{fmt, future::Future, time::Duration};

/// How to start a node that asks and answers.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// How bodies are said.
    pub format: Format,
    /// The names, the preferred ones first. Requests are sent and answered under each.
    pub names: Vec<&'static str>,
    /// How long a request may take.
    pub timeout: Duration,
    /// The longest request in bytes, sent (where the implementation looks) or received.
    pub max_request: u32,
    /// The longest response.
    pub max_response: u32,
    /// Requests under way on a connection, in each direction where the implementation keeps them apart.
    pub max_streams: u32,
}

impl RequestOptions {
    /// One name, generous limits.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            names: vec!["/interop-request/1"],
            timeout: Duration::from_secs(60),
            max_request: 1 << 20,
            max_response: 10 << 20,
            max_streams: 1000,
        }
    }
}

/// Why a request failed, in words for every implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The time was over.
    Timeout,
    /// The connection ended.
    ConnectionClosed,
    /// The peer speaks none of the names.
    Unsupported,
    /// The peer gave no answer. What rust-libp2p's ready codecs also say of a body that is cut short.
    Omitted,
    /// The request or its response is too large.
    TooLarge,
    /// Anything else that befell the stream.
    Stream(String),
}

/// The last word on a request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response has left.
    Sent,
    /// The channel was dropped.
    Omitted,
    /// The time was over.
    Timeout,
    /// The connection ended.
    ConnectionClosed,
    /// The stream failed.
    Stream,
}

/// Why a response was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not wanted any more.
    Closed,
    /// It is too large.
    TooLarge,
}

/// A request that came.
#[derive(Debug)]
pub struct Asked<C> {
    /// From whom, as text.
    pub from: String,
    /// Under which name, where the implementation says so.
    pub name: Option<String>,
    /// What.
    pub body: Body,
    /// The way to answer. Dropping it says that there is no answer.
    pub channel: C,
}

/// A running node. Clones are handles of the same one; dropping the last one ends it. Peers are named by text.
pub trait Requester: Clone + Send + Sync + 'static {
    /// The name of the implementation.
    const NAME: &'static str;
    /// Whether it looks at the length of what it writes, and tells too long bodies from broken ones.
    const TELLS_TOO_LARGE: bool;
    /// The way to answer.
    type Channel: fmt::Debug + Send + 'static;

    /// Starts a node that listens nowhere yet.
    fn start(options: RequestOptions) -> Result<Self, Error>;

    /// The node's own name.
    fn id(&self) -> String;

    /// Listens on loopback and returns the address, with `/p2p/<id>` at its end.
    fn listen(&self) -> impl Future<Output = Result<String, Error>> + Send;

    /// Connects, and returns who is there.
    fn connect(&self, address: &str) -> impl Future<Output = Result<String, Error>> + Send;

    /// Sends a request and waits for the response.
    fn ask(&self, peer: &str, body: Body) -> impl Future<Output = Result<Body, Failure>> + Send;

    /// The next request that comes.
    fn asked(&self) -> impl Future<Output = Asked<Self::Channel>> + Send;

    /// Answers a request.
    fn answer(
        &self,
        channel: Self::Channel,
        body: Body,
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// The next last word on a request that came.
    fn outcome(&self) -> impl Future<Output = Outcome> + Send;

    /// Closes all connections to that peer.
    fn disconnect(&self, peer: &str) -> impl Future<Output = ()> + Send;
}
