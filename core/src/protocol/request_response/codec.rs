//! What requests and responses are on the wire.

use crate::multistream::ProtocolName;
use alloc::borrow::Cow;
use bytes::Bytes;
use core::fmt;

/// Turns requests and responses into whole bodies of bytes, and back. Without input or output: framing, limits and
/// deadlines are the protocol's work.
///
/// Each method is told the name agreed on, so that one codec can serve a family of protocols.
///
/// ```
/// use bytes::Bytes;
/// use drywire::{
///     multistream::ProtocolName,
///     protocol::request_response::{Codec, CodecError},
/// };
///
/// /// Asks for the square of a number.
/// #[derive(Debug, Default)]
/// struct Squares;
///
/// fn number(bytes: &[u8]) -> Result<u64, CodecError> {
///     let bytes = bytes.try_into().map_err(|_| CodecError::malformed("not eight bytes"))?;
///     Ok(u64::from_be_bytes(bytes))
/// }
///
/// impl Codec for Squares {
///     type Request = u64;
///     type Response = u64;
///
///     fn encode_request(&mut self, _: &ProtocolName, request: &u64) -> Result<Bytes, CodecError> {
///         Ok(Bytes::copy_from_slice(&request.to_be_bytes()))
///     }
///
///     fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<u64, CodecError> {
///         number(&bytes)
///     }
///
///     fn encode_response(&mut self, _: &ProtocolName, response: &u64) -> Result<Bytes, CodecError> {
///         Ok(Bytes::copy_from_slice(&response.to_be_bytes()))
///     }
///
///     fn decode_response(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<u64, CodecError> {
///         number(&bytes)
///     }
/// }
/// ```
pub trait Codec {
    /// What is asked.
    type Request: fmt::Debug;
    /// What is answered. `()` for a [one-way](super::Config::one_way) protocol.
    type Response: fmt::Debug;

    /// Told once, when the protocol is made: the longest bodies in bytes, [`max_request_len`](super::Config::max_request_len)
    /// and [`max_response_len`](super::Config::max_response_len).
    ///
    /// Longer ones are refused whatever the codec does. One whose values can become much longer than they are in memory
    /// should remember these, and stop with [`CodecError::TooLarge`].
    fn set_limits(&mut self, max_request_len: u32, max_response_len: u32) {
        let _ = (max_request_len, max_response_len);
    }

    /// The body of a request.
    ///
    /// # Errors
    /// If the request cannot be said under this name.
    fn encode_request(
        &mut self,
        protocol: &ProtocolName,
        request: &Self::Request,
    ) -> Result<Bytes, CodecError>;

    /// A request from its whole body, of at most [`max_request_len`](super::Config::max_request_len) bytes.
    ///
    /// # Errors
    /// If the body is no request. The stream is reset then, and the application hears nothing of it.
    fn decode_request(
        &mut self,
        protocol: &ProtocolName,
        bytes: Bytes,
    ) -> Result<Self::Request, CodecError>;

    /// The body of a response.
    ///
    /// # Errors
    /// If the response cannot be said under this name.
    fn encode_response(
        &mut self,
        protocol: &ProtocolName,
        response: &Self::Response,
    ) -> Result<Bytes, CodecError>;

    /// A response from its whole body, of at most [`max_response_len`](super::Config::max_response_len) bytes.
    ///
    /// A peer that drops the request leaves an empty body: a codec whose responses are never empty should return
    /// [`CodecError::UnexpectedEnd`] for it, which is reported as
    /// [`ResponseOmitted`](super::OutboundFailure::ResponseOmitted).
    ///
    /// # Errors
    /// If the body is no response.
    fn decode_response(
        &mut self,
        protocol: &ProtocolName,
        bytes: Bytes,
    ) -> Result<Self::Response, CodecError>;

    /// What is reported as the response of a [one-way](super::Config::one_way) request, which has none. Unless it is said
    /// otherwise, what an empty body means.
    ///
    /// # Errors
    /// If there is no such value. Requests that have succeeded are reported as
    /// [`Decode`](super::OutboundFailure::Decode) failures then: the codec is none for one-way protocols.
    fn no_response(&mut self, protocol: &ProtocolName) -> Result<Self::Response, CodecError> {
        self.decode_response(protocol, Bytes::new())
    }
}

/// Why a body could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The body ends too early.
    UnexpectedEnd,
    /// The body is not what it should be.
    Malformed(Cow<'static, str>),
    /// The value makes a longer body than is allowed.
    TooLarge {
        /// How many bytes it had when the codec stopped: more than allowed, and not more than there would have been.
        len: usize,
    },
    /// The value cannot be encoded.
    Unencodable(Cow<'static, str>),
}

impl CodecError {
    /// The body is not what it should be, for this reason.
    pub fn malformed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(reason.into())
    }

    /// The value cannot be encoded, for this reason.
    pub fn unencodable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unencodable(reason.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd => f.write_str("the message ends too early"),
            Self::Malformed(reason) => write!(f, "malformed message: {reason}"),
            Self::TooLarge { len } => write!(f, "the message is too long: {len} bytes or more"),
            Self::Unencodable(reason) => write!(f, "the message cannot be encoded: {reason}"),
        }
    }
}

impl core::error::Error for CodecError {}

/// Bytes as they are: requests and responses are whole bodies, an empty one included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Request = Bytes;
    type Response = Bytes;

    fn encode_request(&mut self, _: &ProtocolName, request: &Bytes) -> Result<Bytes, CodecError> {
        Ok(request.clone())
    }

    fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes)
    }

    fn encode_response(&mut self, _: &ProtocolName, response: &Bytes) -> Result<Bytes, CodecError> {
        Ok(response.clone())
    }

    fn decode_response(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes)
    }
}

/// Bytes without an answer, for [one-way](super::Config::one_way) protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OneWayBytesCodec;

impl Codec for OneWayBytesCodec {
    type Request = Bytes;
    type Response = ();

    fn encode_request(&mut self, _: &ProtocolName, request: &Bytes) -> Result<Bytes, CodecError> {
        Ok(request.clone())
    }

    fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes)
    }

    fn encode_response(&mut self, _: &ProtocolName, (): &()) -> Result<Bytes, CodecError> {
        Ok(Bytes::new())
    }

    fn decode_response(&mut self, _: &ProtocolName, _: Bytes) -> Result<(), CodecError> {
        Ok(())
    }
}
