//! How requests fail, as values.

use super::{channel::ResponseChannel, codec::CodecError};
use crate::{
    connection::{ConnectionError, StreamError},
    swarm::DialError,
};
use core::fmt;

/// Where a request stood when its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// It waited for a connection, or its turn on one. The peer has seen nothing of it.
    Queued,
    /// It waited for the peer to agree to the protocol. The peer may have seen it.
    Negotiating,
    /// It waited for the response.
    Waiting,
}

/// Why a request of this node failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboundFailure {
    /// The peer could not be dialed. It has seen nothing of the request.
    DialFailure(DialError),
    /// The time ran out.
    Timeout(Stage),
    /// The connection ended. Whether the peer has handled the request is unknown; it is not sent again.
    ConnectionClosed(ConnectionError),
    /// The peer supports none of the names.
    UnsupportedProtocols,
    /// The peer ended the stream without an answer: the application there dropped the request.
    ResponseOmitted,
    /// Violation: the response is longer than [`max_response_len`](super::Config::max_response_len).
    ResponseTooLarge,
    /// Violation: the response is not what it should be.
    Decode(CodecError),
    /// The request cannot be said under the name the peer agreed to.
    Encode(EncodeError),
    /// The stream failed: the peer reset it, or broke its rules.
    Stream(StreamError),
}

impl fmt::Display for OutboundFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DialFailure(error) => write!(f, "the peer could not be dialed: {error}"),
            Self::Timeout(Stage::Queued) => f.write_str("timed out while waiting for a connection"),
            Self::Timeout(Stage::Negotiating) => {
                f.write_str("timed out while agreeing on the protocol")
            }
            Self::Timeout(Stage::Waiting) => {
                f.write_str("timed out while waiting for the response")
            }
            Self::ConnectionClosed(error) => write!(f, "the connection ended: {error}"),
            Self::UnsupportedProtocols => f.write_str("the peer supports none of the protocols"),
            Self::ResponseOmitted => f.write_str("the peer dropped the request"),
            Self::ResponseTooLarge => f.write_str("the response is too large"),
            Self::Decode(error) => write!(f, "the response is invalid: {error}"),
            Self::Encode(error) => write!(f, "the request is invalid: {error}"),
            Self::Stream(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for OutboundFailure {}

/// Why a request of a peer could not be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboundFailure {
    /// The time ran out before the response had left.
    Timeout,
    /// The connection ended.
    ConnectionClosed(ConnectionError),
    /// The application dropped the [`ResponseChannel`].
    ResponseOmission,
    /// Violation: the peer sent more than one request on the stream.
    UnexpectedData,
    /// The stream failed: the peer gave the request up.
    Stream(StreamError),
}

impl fmt::Display for InboundFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out before the response was sent"),
            Self::ConnectionClosed(error) => write!(f, "the connection ended: {error}"),
            Self::ResponseOmission => f.write_str("no response was given"),
            Self::UnexpectedData => f.write_str("the peer sent more than one request on a stream"),
            Self::Stream(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InboundFailure {}

/// Why a body was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// It is longer than allowed.
    TooLarge {
        /// Its length in bytes; or how many there were when the codec [stopped](CodecError::TooLarge).
        len: usize,
        /// The most allowed.
        max: u32,
    },
    /// The codec cannot say it.
    Codec(CodecError),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max } => {
                write!(f, "{len} bytes are too many: at most {max} are allowed")
            }
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Why a request was refused at once. No event follows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Own misuse: requests are sent under no name of this protocol.
    NoOutboundProtocol,
    /// Own misuse: more names than can be offered in one negotiation, [`MAX_ROUNDS`](crate::multistream::MAX_ROUNDS).
    TooManyProtocols,
    /// Own misuse: bodies in pieces end with the stream, so they cannot be length-prefixed.
    NotStreamable,
    /// The request cannot be sent.
    Encode(EncodeError),
    /// The peer is not connected, and was not to be dialed.
    NotConnected,
    /// Limit of the peer: it takes no more requests until it gives [credit](super::throttled).
    NoBudget,
    /// The peer could not even begin to be dialed.
    Dial(DialError),
    /// Limit: [`max_queued_per_peer`](super::Config::max_queued_per_peer) or [`max_queued`](super::Config::max_queued).
    QueueFull,
    /// Limit: [`max_held_bytes`](super::Config::max_held_bytes).
    TooManyBytes,
    /// Own misuse: the host does not collect events, and there is no room for this request's.
    EventsFull,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOutboundProtocol => f.write_str("no protocol to send requests under"),
            Self::TooManyProtocols => f.write_str("too many protocols to offer"),
            Self::NotStreamable => f.write_str("length-prefixed bodies cannot be streamed"),
            Self::Encode(error) => error.fmt(f),
            Self::NotConnected => f.write_str("not connected"),
            Self::NoBudget => f.write_str("the peer takes no more requests for now"),
            Self::Dial(error) => write!(f, "the peer could not be dialed: {error}"),
            Self::QueueFull => f.write_str("too many requests wait"),
            Self::TooManyBytes => f.write_str("too many bytes of requests wait"),
            Self::EventsFull => f.write_str("events are not collected"),
        }
    }
}

impl core::error::Error for Refusal {}

/// A request that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRequestError<Q> {
    /// The request, back.
    pub request: Q,
    /// Why.
    pub reason: Refusal,
}

impl<Q> fmt::Display for SendRequestError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<Q: fmt::Debug> core::error::Error for SendRequestError<Q> {}

/// A response that was not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendResponseError<R> {
    /// It is not wanted any more: the time has run out, the peer has gone, or the channel is of another protocol. The
    /// [`InboundFailure`] has been reported.
    Closed(R),
    /// It cannot be sent. Another one may be.
    Encode {
        /// The channel, back.
        channel: ResponseChannel<R>,
        /// The response, back.
        response: R,
        /// Why.
        error: EncodeError,
    },
}

impl<R> fmt::Display for SendResponseError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the response is not wanted any more"),
            Self::Encode { error, .. } => error.fmt(f),
        }
    }
}

impl<R: fmt::Debug> core::error::Error for SendResponseError<R> {}
