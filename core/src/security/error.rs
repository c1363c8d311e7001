//! How a secure channel fails.

use crate::identity::{KeyError, KeyType};
use core::fmt;

/// Why a handshake or a channel is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Error {
    /// The peer, or somebody on the way, broke the protocol.
    PeerMisbehaved(Violation),
    /// The peer's identity key is of a type this build does not verify.
    UnsupportedKey(KeyType),
    /// Both sides offered muxers within the handshake, and none is common.
    NoCommonMuxer,
    /// A limit of this side is reached.
    Limit(Limit),
    /// This side called what it must not.
    Misuse(Misuse),
    /// The crypto backend failed.
    Backend,
}

/// How a peer broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Violation {
    /// A message is shorter, or otherwise longer, than it can be at this point.
    BadLength,
    /// A message does not authenticate: altered, replayed, out of order or sealed with another key.
    DecryptFailed,
    /// An ephemeral or static key has small order: the shared secret would be known to everybody.
    LowOrderKey,
    /// The handshake's payload is not the protobuf message it must be.
    BadPayload,
    /// The handshake's payload lacks the identity key, or the proof that belongs to it.
    MissingPayload,
    /// The identity key cannot be read.
    BadKey(KeyError),
    /// The identity key did not sign this channel's static key.
    BadSignature,
    /// The peer id is not that of the key beside it.
    KeyMismatch,
}

/// A limit of this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Limit {
    /// A handshake message is longer than this side reads.
    HandshakeMessage,
    /// The peer names more, or longer, WebTransport certificates than this side keeps.
    CertHashes,
    /// All nonces of a direction are used up (2^64 - 1 messages).
    Nonces,
}

/// A call that must not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Misuse {
    /// The handshake is not finished.
    NotFinished,
    /// The muxers' names do not fit in the handshake's payload.
    TooManyMuxers,
    /// The plaintext is longer than [`SendCipher::MAX_PLAINTEXT`](super::SendCipher::MAX_PLAINTEXT).
    PlaintextTooLong,
    /// There is no room for the length in front of the plaintext.
    NoRoom,
}

impl Error {
    /// Whether the peer broke the protocol, rather than being incompatible, over a limit, or without fault.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        matches!(self, Self::PeerMisbehaved(_))
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::PeerMisbehaved(violation)
    }
}

impl From<Limit> for Error {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unsupported(kind) => Self::UnsupportedKey(kind),
            other => Violation::BadKey(other).into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerMisbehaved(violation) => violation.fmt(f),
            Self::UnsupportedKey(kind) => write!(
                f,
                "the peer's identity key is of type {kind}, not supported here"
            ),
            Self::NoCommonMuxer => f.write_str("no muxer that both sides support"),
            Self::Limit(limit) => limit.fmt(f),
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::Backend => f.write_str("the crypto backend failed"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLength => f.write_str("message of a wrong length"),
            Self::DecryptFailed => f.write_str("message does not authenticate"),
            Self::LowOrderKey => f.write_str("key of small order"),
            Self::BadPayload => f.write_str("malformed handshake payload"),
            Self::MissingPayload => f.write_str("handshake payload without proof of identity"),
            Self::BadKey(error) => write!(f, "unusable identity key: {error}"),
            Self::BadSignature => f.write_str("identity key did not sign this channel"),
            Self::KeyMismatch => f.write_str("peer id of another key"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandshakeMessage => "handshake message over the limit",
            Self::CertHashes => "too many certificate hashes",
            Self::Nonces => "all nonces are used up",
        })
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFinished => "the handshake is not finished",
            Self::TooManyMuxers => "too many muxers for the handshake payload",
            Self::PlaintextTooLong => "plaintext over the size of one message",
            Self::NoRoom => "no room for the length of the message",
        })
    }
}

impl core::error::Error for Error {}
impl core::error::Error for Violation {}
impl core::error::Error for Limit {}
impl core::error::Error for Misuse {}
