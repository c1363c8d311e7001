//! Ready codecs for any type that serde knows: one value is one whole body.

#[cfg(feature = "json")]
mod budget;
#[cfg(feature = "cbor")]
pub mod cbor;
#[cfg(feature = "json")]
pub mod json;
#[cfg(test)]
#[cfg(all(feature = "cbor", feature = "json"))]
mod tests;

use super::{CodecError, Config};
use alloc::string::String;
use core::fmt::{self, Display, Write};

/// What is kept of a library's reason: it may quote the peer at any length.
const MAX_REASON_LEN: usize = 200;

/// Text up to a length.
struct Brief(String);

impl Write for Brief {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len().saturating_add(character.len_utf8()) > MAX_REASON_LEN {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}

fn brief(reason: impl Display) -> String {
    let mut text = Brief(String::new());
    // It fails where it is cut.
    let _ = write!(text, "{reason}");
    text.0
}

fn malformed(reason: impl Display) -> CodecError {
    CodecError::malformed(brief(reason))
}

fn unencodable(reason: impl Display) -> CodecError {
    CodecError::unencodable(brief(reason))
}

/// rust-libp2p's limits for these codecs.
fn default_config() -> Config {
    Config::default()
        .with_max_request_len(1024 * 1024)
        .with_max_response_len(10 * 1024 * 1024)
}

/// The codec of a module that has functions `encode(value, max_len)` and `decode(bytes)`.
macro_rules! codec {
    ($(#[$documentation:meta])*) => {
        $(#[$documentation])*
        pub struct Codec<Q, R> {
            max_request_len: usize,
            max_response_len: usize,
            types: core::marker::PhantomData<fn() -> (Q, R)>,
        }

        impl<Q, R> Default for Codec<Q, R> {
            fn default() -> Self {
                Self {
                    max_request_len: usize::MAX,
                    max_response_len: usize::MAX,
                    types: core::marker::PhantomData,
                }
            }
        }

        impl<Q, R> Clone for Codec<Q, R> {
            fn clone(&self) -> Self {
                Self { ..*self }
            }
        }

        impl<Q, R> core::fmt::Debug for Codec<Q, R> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct("Codec")
                    .field("max_request_len", &self.max_request_len)
                    .field("max_response_len", &self.max_response_len)
                    .finish()
            }
        }

        impl<Q, R> crate::protocol::request_response::Codec for Codec<Q, R>
        where
            Q: serde::Serialize + serde::de::DeserializeOwned + core::fmt::Debug,
            R: serde::Serialize + serde::de::DeserializeOwned + core::fmt::Debug,
        {
            type Request = Q;
            type Response = R;

            fn set_limits(&mut self, max_request_len: u32, max_response_len: u32) {
                self.max_request_len = usize::try_from(max_request_len).unwrap_or(usize::MAX);
                self.max_response_len = usize::try_from(max_response_len).unwrap_or(usize::MAX);
            }

            fn encode_request(
                &mut self,
                _: &crate::multistream::ProtocolName,
                request: &Q,
            ) -> Result<bytes::Bytes, CodecError> {
                encode(request, self.max_request_len).map(bytes::Bytes::from)
            }

            fn decode_request(
                &mut self,
                _: &crate::multistream::ProtocolName,
                bytes: bytes::Bytes,
            ) -> Result<Q, CodecError> {
                decode(&bytes)
            }

            fn encode_response(
                &mut self,
                _: &crate::multistream::ProtocolName,
                response: &R,
            ) -> Result<bytes::Bytes, CodecError> {
                encode(response, self.max_response_len).map(bytes::Bytes::from)
            }

            fn decode_response(
                &mut self,
                _: &crate::multistream::ProtocolName,
                bytes: bytes::Bytes,
            ) -> Result<R, CodecError> {
                decode(&bytes)
            }

            /// Nothing, as `()` or an `Option` says it.
            fn no_response(
                &mut self,
                _: &crate::multistream::ProtocolName,
            ) -> Result<R, CodecError> {
                decode(&encode(&(), usize::MAX)?)
            }
        }
    };
}
use codec;
