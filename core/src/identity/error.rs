//! What can be wrong with keys, signatures and peer ids.

use super::KeyType;
use crate::wire::protobuf;
use core::fmt;

/// Why bytes are not a usable key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum KeyError {
    /// The key message is not valid protobuf, or a field has the wrong type.
    Malformed(protobuf::Error),
    /// The key message lacks its type or its data.
    MissingField,
    /// The key type number is none that libp2p defines.
    UnknownType(i32),
    /// The key type is defined, but this build does not include it (or not for private keys).
    Unsupported(KeyType),
    /// The data is not a valid key of its type: wrong length, not on the curve, or a weak point.
    Invalid(KeyType),
    /// The stored public half does not belong to the private half.
    Mismatch,
    /// An RSA modulus outside 2048..=8192 bits; the number is what was declared.
    RsaBits(usize),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed key message: {error}"),
            Self::MissingField => f.write_str("key message lacks its type or data"),
            Self::UnknownType(number) => write!(f, "unknown key type {number}"),
            Self::Unsupported(kind) => write!(f, "unsupported key type {kind}"),
            Self::Invalid(kind) => write!(f, "invalid {kind} key"),
            Self::Mismatch => f.write_str("public key does not belong to the private key"),
            Self::RsaBits(bits) => write!(f, "RSA key of {bits} bits, outside 2048..=8192"),
        }
    }
}

impl core::error::Error for KeyError {}

impl From<protobuf::Error> for KeyError {
    fn from(error: protobuf::Error) -> Self {
        Self::Malformed(error)
    }
}

/// A signature that is not the given key's over the given message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSignature;

impl fmt::Display for InvalidSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid signature")
    }
}

impl core::error::Error for InvalidSignature {}

/// Why bytes or text are not a peer id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerIdError {
    /// Shorter than the multihash says.
    Truncated,
    /// Longer than the multihash says.
    TrailingBytes,
    /// A code or length is not a minimal unsigned varint.
    Varint,
    /// The multihash is neither identity (0) nor sha2-256 (0x12).
    UnsupportedHash(u64),
    /// A sha2-256 digest that is not 32 bytes, or an inlined key outside 1..=42 bytes.
    DigestLength(u64),
    /// The text is not valid in its base, or too long to be a peer id.
    Text,
    /// The text starts with a multibase prefix that is not supported here.
    UnsupportedBase(char),
    /// A CID of another version than 1.
    CidVersion(u64),
    /// A CID whose content type is not `libp2p-key` (0x72).
    CidCodec(u64),
}

impl fmt::Display for PeerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("peer id is truncated"),
            Self::TrailingBytes => f.write_str("bytes after the end of the peer id"),
            Self::Varint => f.write_str("peer id holds an invalid varint"),
            Self::UnsupportedHash(code) => write!(f, "peer id with unsupported hash {code:#x}"),
            Self::DigestLength(len) => write!(f, "peer id with a digest of {len} bytes"),
            Self::Text => f.write_str("text is not a peer id"),
            Self::UnsupportedBase(prefix) => write!(f, "unsupported multibase prefix {prefix:?}"),
            Self::CidVersion(version) => write!(f, "CID version {version} where 1 is needed"),
            Self::CidCodec(codec) => write!(f, "CID of type {codec:#x}, not a libp2p key"),
        }
    }
}

impl core::error::Error for PeerIdError {}
