//! What a request/response protocol tells its host, and the names of requests.

use super::{
    channel::ResponseChannel,
    error::{InboundFailure, OutboundFailure},
};
use crate::{
    connection::ConnectionId, identity::PeerId, multistream::ProtocolName, swarm::StreamRef,
};
use bytes::Bytes;
use core::fmt;

macro_rules! request_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(super) u64);

        impl $name {
            /// The number; they count from 1.
            #[must_use]
            pub const fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

request_id! {
    /// Names a request this node sends. Never reused; unique within one protocol of one swarm.
    OutboundRequestId
}
request_id! {
    /// Names a request of a peer. Never reused; unique within one protocol of one swarm.
    InboundRequestId
}

/// A request or a response.
#[derive(Debug)]
pub enum Message<Q, R> {
    /// A peer asks.
    Request {
        /// The request.
        request_id: InboundRequestId,
        /// The name agreed on.
        protocol: ProtocolName,
        /// What is asked.
        request: Q,
        /// The way to answer.
        channel: ResponseChannel<R>,
    },
    /// A peer answers. The last word on the request.
    Response {
        /// The request it answers.
        request_id: OutboundRequestId,
        /// What is answered.
        response: R,
    },
}

/// Something that happened.
///
/// For each request that was accepted by [`send_request`](super::RequestResponse::send_request) exactly one of
/// [`Message::Response`], [`OutboundFailure`](Self::OutboundFailure) and [`ResponseStream`](Self::ResponseStream) comes,
/// unless it is cancelled. For each [`Message::Request`] exactly one of [`ResponseSent`](Self::ResponseSent) and
/// [`InboundFailure`](Self::InboundFailure) comes, unless its stream is given to the host by
/// [`stream_response`](super::RequestResponse::stream_response); with [one-way](super::Config::one_way) protocols, also
/// unless the channel is dropped. Room for these is reserved: they are never lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<Q, R> {
    /// A request or a response came.
    Message {
        /// From whom.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// What.
        message: Message<Q, R>,
    },
    /// A request of this node failed. The last word on it.
    OutboundFailure {
        /// To whom it was.
        peer: PeerId,
        /// On which connection it was, unless it had none yet.
        connection: Option<ConnectionId>,
        /// The request.
        request_id: OutboundRequestId,
        /// Why.
        error: OutboundFailure,
    },
    /// A request of a peer could not be answered. The last word on it.
    InboundFailure {
        /// From whom it was.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// The request.
        request_id: InboundRequestId,
        /// Why.
        error: InboundFailure,
    },
    /// The whole response to a request of a peer has left for the network. The last word on it.
    ResponseSent {
        /// To whom.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// The request.
        request_id: InboundRequestId,
    },
    /// The response to a request that asked for [it in pieces](super::RequestOptions::stream_response) begins; or the peer
    /// agreed to a request that is [written in pieces](super::RequestResponse::open_request). The stream is the host's from
    /// now on, and the last word on the request.
    ResponseStream {
        /// To whom the request was.
        peer: PeerId,
        /// The request.
        request_id: OutboundRequestId,
        /// The name agreed on.
        protocol: ProtocolName,
        /// The stream, now the host's: it reads the response up to the end, and, where the request is written in pieces,
        /// writes that and finishes.
        stream: StreamRef,
        /// What of the response has come already, in front of what the stream will give.
        first: Bytes,
    },
    /// A peer opened a request, and [bodies are left to the host](super::Config::stream_requests): it reads the request to
    /// its end, writes the response, and finishes.
    InboundStream {
        /// From whom.
        peer: PeerId,
        /// The name agreed on.
        protocol: ProtocolName,
        /// The stream, now the host's.
        stream: StreamRef,
    },
}
