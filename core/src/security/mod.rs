//! Secure channels: from a bare pipe to a peer whose identity is proven.
//!
//! | module | protocol | for |
//! |---|---|---|
//! | [`noise`] | `/noise` | real use: authenticated and encrypted |
//! | [`plaintext`] | `/plaintext/2.0.0` | **simulation and fuzzing only**: neither authenticated nor encrypted |
//!
//! A handshake is fed what the pipe delivers and appends what must be sent. Both protocols end in the same [`Secured`]:
//! who the peer is, and one cipher per direction. What follows needs no case for each protocol:
//!
//! - To send, leave room for the length, append the plaintext, and call [`SendCipher::seal_in_place`].
//! - To receive, ask [`ReceiveCipher::next_message`] where the next message stands in what was received, and call
//!   [`ReceiveCipher::open_in_place`] on it.
//!
//! The first error is fatal; the channel must be closed.

mod cipher;
mod error;
pub mod noise;
pub mod plaintext;

pub use cipher::{ReceiveCipher, SendCipher};
pub use error::{Error, Limit, Misuse, Violation};

use crate::{
    identity::{PeerId, PublicKey},
    multistream::ProtocolName,
};
use alloc::{boxed::Box, vec::Vec};

/// Which part a side plays in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that speaks first: the dialer.
    Initiator,
    /// The side that answers: the listener.
    Responder,
}

/// What a finished handshake gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Secured {
    /// The peer's identity key.
    pub public_key: PublicKey,
    /// The peer id of that key.
    pub peer: PeerId,
    /// The muxer both sides agreed on within the handshake. `None` if the peer or this side offered none there: then it
    /// is negotiated inside the channel.
    pub muxer: Option<ProtocolName>,
    /// Multihashes of the certificates the peer may use for WebTransport, as it says; at most
    /// [`noise::MAX_CERTHASHES`].
    pub webtransport_certhashes: Vec<Box<[u8]>>,
    /// Encrypts what is sent.
    pub send: SendCipher,
    /// Decrypts what is received.
    pub receive: ReceiveCipher,
}
