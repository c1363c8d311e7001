//! Requests and responses as [CBOR](https://www.rfc-editor.org/rfc/rfc8949): the bytes rust-libp2p's `cbor` writes.
//!
//! Both sides must give their types the same shape, as their `Serialize` and `Deserialize` make it. On the wire a struct is a
//! map from the names of its fields, `()` an empty array, `None` a null and `Some(value)` the value, so that
//! `Some(None)` comes back as `None`; a variant is its name, or a map from its name to what it holds. Bytes are an array of
//! numbers unless the type asks for bytes, as those of the crate `serde_bytes` do.
//!
//! A body is one value and nothing after it. Differences from rust-libp2p, which
//! - ignores what comes after the value; here that is [malformed](CodecError::Malformed);
//! - cuts off what is longer than the limit, and fails to decode the rest; here it is
//!   [too large](crate::protocol::request_response::OutboundFailure::ResponseTooLarge);
//! - writes values of any length; here the limits hold for both sides, and the writer stops where one is reached.
//!
//! Values nested more than about 250 deep are malformed. An empty body is [no value](CodecError::UnexpectedEnd): it is how a
//! peer says that it has no answer.
//!
//! ```
//! use drywire::{
//!     multistream::ProtocolName,
//!     protocol::request_response::{ProtocolSupport, cbor},
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Greet {
//!     name: String,
//! }
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Greeting {
//!     message: String,
//! }
//!
//! const GREET: ProtocolName = ProtocolName::from_static("/my-cbor-protocol");
//!
//! let greet = cbor::RequestResponse::<Greet, Greeting>::new([(GREET, ProtocolSupport::Full)], cbor::config());
//! # let _ = greet;
//! ```

use super::{CodecError, Config, default_config, malformed, unencodable};
use alloc::vec::Vec;
use cbor4ii::{
    core::{
        dec::{Error as Fault, Read as _},
        enc::{Error as WriteError, Write},
        utils::SliceReader,
    },
    serde::{DecodeError, Deserializer, EncodeError, Serializer},
};
use core::fmt;
use serde::{Serialize, de::DeserializeOwned};

/// A request/response protocol that speaks CBOR.
pub type RequestResponse<Q, R> = crate::protocol::request_response::RequestResponse<Codec<Q, R>>;

/// The name rust-libp2p uses.
pub type Behaviour<Q, R> = RequestResponse<Q, R>;

/// The default settings, with the limits of rust-libp2p's `cbor`: requests of 1 MiB, responses of 10 MiB.
#[must_use]
pub fn config() -> Config {
    default_config()
}

super::codec! {
    /// Says requests `Q` and responses `R` in CBOR, see the [module](self).
}

/// Bytes up to a length.
struct Capped {
    bytes: Vec<u8>,
    max_len: usize,
}

/// It would be as long as this, at least.
#[derive(Debug)]
struct TooLarge(usize);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too large: {} bytes", self.0)
    }
}

impl core::error::Error for TooLarge {}

impl Write for Capped {
    type Error = TooLarge;

    fn push(&mut self, input: &[u8]) -> Result<(), TooLarge> {
        let len = self.bytes.len().saturating_add(input.len());
        if len > self.max_len {
            return Err(TooLarge(len));
        }
        self.bytes.extend_from_slice(input);
        Ok(())
    }
}

fn encode(value: &impl Serialize, max_len: usize) -> Result<Vec<u8>, CodecError> {
    let bytes = Vec::new();
    let mut serializer = Serializer::new(Capped { bytes, max_len });
    match value.serialize(&mut serializer) {
        Ok(()) => Ok(serializer.into_inner().bytes),
        Err(EncodeError::Core(WriteError::Write(TooLarge(len)))) => {
            Err(CodecError::TooLarge { len })
        }
        Err(EncodeError::Core(error)) => Err(unencodable(error)),
        Err(EncodeError::Custom(reason)) => Err(unencodable(reason)),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut deserializer = Deserializer::new(SliceReader::new(bytes));
    let value = T::deserialize(&mut deserializer).map_err(|error| match error {
        DecodeError::Core(Fault::Eof { .. }) => CodecError::UnexpectedEnd,
        DecodeError::Core(fault) => malformed(fault),
        DecodeError::Custom(reason) => malformed(reason),
    })?;
    match deserializer.into_inner().fill(1) {
        Ok(rest) if rest.as_ref().is_empty() => Ok(value),
        Ok(_) => Err(CodecError::malformed("more than one value")),
        Err(never) => match never {},
    }
}
