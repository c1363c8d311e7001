//! Requests and responses as [JSON](https://www.rfc-editor.org/rfc/rfc8259): the text rust-libp2p's `json` writes.
//!
//! Both sides must give their types the same shape, as their `Serialize` and `Deserialize` make it.
//!
//! A body is one value, with nothing but white space around it. Differences from rust-libp2p, which
//! - cuts off what is longer than the limit, and fails to decode the rest; here it is
//!   [too large](crate::protocol::request_response::OutboundFailure::ResponseTooLarge);
//! - writes values of any length; here the limits hold for both sides, and writing stops where one is reached.
//!
//! Values nested 128 deep or deeper are malformed. An empty body is [no value](CodecError::UnexpectedEnd): it is how a peer
//! says that it has no answer.
//!
//! ```
//! use drywire::{
//!     multistream::ProtocolName,
//!     protocol::request_response::{ProtocolSupport, json},
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
//! const GREET: ProtocolName = ProtocolName::from_static("/my-json-protocol");
//!
//! let greet = json::RequestResponse::<Greet, Greeting>::new([(GREET, ProtocolSupport::Full)], json::config());
//! # let _ = greet;
//! ```

use super::{CodecError, Config, budget::Budget, default_config, malformed, unencodable};
use alloc::vec::Vec;
use serde::{Serialize, de::DeserializeOwned};

/// A request/response protocol that speaks JSON.
pub type RequestResponse<Q, R> = crate::protocol::request_response::RequestResponse<Codec<Q, R>>;

/// The name rust-libp2p uses.
pub type Behaviour<Q, R> = RequestResponse<Q, R>;

/// The default settings, with the limits of rust-libp2p's `json`: requests of 1 MiB, responses of 10 MiB.
#[must_use]
pub fn config() -> Config {
    default_config()
}

super::codec! {
    /// Says requests `Q` and responses `R` in JSON, see the [module](self).
}

fn encode(value: &impl Serialize, max_len: usize) -> Result<Vec<u8>, CodecError> {
    let budget = Budget::new(max_len);
    // Where std is missing, the library has no writer of ours: what it is about to write is counted instead.
    let written = serde_json::to_vec(&budget.limit(value));
    match written {
        _ if budget.is_exceeded() => Err(CodecError::TooLarge {
            len: budget.spent(),
        }),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(unencodable(error)),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_eof() {
            CodecError::UnexpectedEnd
        } else {
            malformed(error)
        }
    })
}
