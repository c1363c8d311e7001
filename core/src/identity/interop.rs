//! Conversions to and from the types of `libp2p-identity` 0.3 (feature `interop`).
//!
//! Peer ids of ours always convert. The other way is checked, for that crate also takes peer ids with a SHA-256 digest
//! of another length than 32 bytes, or an empty inlined key. Keys convert by their protobuf messages.

use super::{KeyError, Keypair, PeerId, PeerIdError, PublicKey};
use zeroize::Zeroizing;

impl From<PeerId> for libp2p_identity::PeerId {
    #[expect(
        clippy::expect_used,
        reason = "our rules for peer ids are a subset of that crate's; tests compare them"
    )]
    fn from(peer: PeerId) -> Self {
        Self::from_bytes(peer.as_bytes()).expect("a valid peer id")
    }
}

impl TryFrom<libp2p_identity::PeerId> for PeerId {
    type Error = PeerIdError;

    fn try_from(peer: libp2p_identity::PeerId) -> Result<Self, PeerIdError> {
        Self::from_bytes(&peer.to_bytes())
    }
}

impl From<&PublicKey> for libp2p_identity::PublicKey {
    #[expect(
        clippy::expect_used,
        reason = "our rules for keys are a subset of that crate's; tests compare them"
    )]
    fn from(key: &PublicKey) -> Self {
        Self::try_decode_protobuf(&key.to_protobuf())
            .expect("a valid key of a type enabled there too")
    }
}

impl TryFrom<&libp2p_identity::PublicKey> for PublicKey {
    type Error = KeyError;

    fn try_from(key: &libp2p_identity::PublicKey) -> Result<Self, KeyError> {
        Self::from_protobuf(&key.encode_protobuf())
    }
}

impl From<&Keypair> for libp2p_identity::Keypair {
    #[expect(
        clippy::expect_used,
        reason = "our rules for keys are a subset of that crate's; tests compare them"
    )]
    fn from(keypair: &Keypair) -> Self {
        Self::from_protobuf_encoding(&keypair.to_protobuf())
            .expect("a valid key of a type enabled there too")
    }
}

impl TryFrom<&libp2p_identity::Keypair> for Keypair {
    type Error = KeyError;

    /// RSA keypairs are [`KeyError::Unsupported`].
    fn try_from(keypair: &libp2p_identity::Keypair) -> Result<Self, KeyError> {
        match keypair.to_protobuf_encoding().map(Zeroizing::new) {
            Ok(message) => Self::from_protobuf(&message),
            Err(_) => Err(KeyError::Unsupported(super::KeyType::Rsa)),
        }
    }
}
