//! What can be wrong with an address.

use crate::identity::PeerIdError;
use alloc::string::String;
use core::fmt;

/// Why bytes or text are not an address, or an address cannot be extended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No component at all.
    Empty,
    /// The address would exceed [`Multiaddr::MAX_LEN`](super::Multiaddr::MAX_LEN) bytes.
    TooLong,
    /// The bytes end within a component.
    Truncated,
    /// A code or length is not a minimal unsigned varint.
    Varint,
    /// A protocol code that is not known here.
    UnknownCode(u64),
    /// A protocol name that is not known here (its first 32 characters).
    UnknownName(String),
    /// The text does not start with `/`.
    NoLeadingSlash,
    /// The text ends where the named protocol needs a value.
    MissingValue(&'static str),
    /// The value does not suit the named protocol.
    InvalidValue(&'static str),
    /// The value of a `p2p` component is not a peer id.
    PeerId(PeerIdError),
    /// Something follows a `unix` path, which must be the last component.
    AfterPath,
    /// The address already ends with the id of another peer.
    OtherPeer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty address"),
            Self::TooLong => f.write_str("address is too long"),
            Self::Truncated => f.write_str("address is truncated"),
            Self::Varint => f.write_str("address holds an invalid varint"),
            Self::UnknownCode(code) => write!(f, "unknown protocol code {code} in address"),
            Self::UnknownName(name) => write!(f, "unknown protocol {name:?} in address"),
            Self::NoLeadingSlash => f.write_str("address does not start with '/'"),
            Self::MissingValue(name) => write!(f, "address ends where /{name} needs a value"),
            Self::InvalidValue(name) => write!(f, "invalid value for /{name} in address"),
            Self::PeerId(error) => write!(f, "invalid value for /p2p in address: {error}"),
            Self::AfterPath => f.write_str("a component follows the /unix path of the address"),
            Self::OtherPeer => f.write_str("address ends with the id of another peer"),
        }
    }
}

impl core::error::Error for Error {}

impl From<PeerIdError> for Error {
    fn from(error: PeerIdError) -> Self {
        Self::PeerId(error)
    }
}
