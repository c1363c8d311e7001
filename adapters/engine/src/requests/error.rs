//! How requests and answers fail.

use super::Responder;
use crate::{error::OpenStreamError, operations::BeginError};
use core::fmt;
use drywire::{
    protocol::request_response::{Codec, EncodeError, InboundFailure, OutboundFailure, Refusal},
    swarm::Protocol,
};

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The protocol did not take it. The peer has seen nothing of it.
    Refused(Refusal),
    /// It failed on the way.
    Failed(OutboundFailure),
    /// The connection ended as the body was about to begin.
    Body(OpenStreamError),
    /// Own misuse: the response was asked for in pieces, by a method that returns it whole.
    Streamed,
    /// The host has shut down.
    HostClosed,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => reason.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
            Self::Streamed => f.write_str("the response was asked for in pieces"),
            Self::HostClosed => f.write_str("the host has shut down"),
        }
    }
}

impl core::error::Error for RequestError {}

impl From<BeginError<Refusal>> for RequestError {
    fn from(error: BeginError<Refusal>) -> Self {
        match error {
            BeginError::Refused(reason) => Self::Refused(reason),
            BeginError::HostClosed => Self::HostClosed,
        }
    }
}

/// A response that was not taken, or did not leave.
#[non_exhaustive]
pub enum RespondError<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    /// It is not wanted any more: the time has run out, the peer has gone, or the host has shut down. The response, back.
    Closed(C::Response),
    /// It cannot be sent. Another one may be.
    Encode {
        /// The way to answer, back.
        responder: Responder<P, C>,
        /// The response, back.
        response: C::Response,
        /// Why.
        error: EncodeError,
    },
    /// It was taken, and could not be sent to its end.
    Failed(InboundFailure),
    /// The protocol refused it, for a reason that this crate does not know.
    Refused,
}

impl<P, C> fmt::Debug for RespondError<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(response) => f.debug_tuple("Closed").field(response).finish(),
            Self::Encode {
                response, error, ..
            } => f
                .debug_struct("Encode")
                .field("response", response)
                .field("error", error)
                .finish_non_exhaustive(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Refused => f.write_str("Refused"),
        }
    }
}

impl<P, C> fmt::Display for RespondError<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the response is not wanted any more"),
            Self::Encode { error, .. } => error.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Refused => f.write_str("the response was refused"),
        }
    }
}

impl<P, C> core::error::Error for RespondError<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
}
