//! ECDSA over secp256k1 with SHA-256 (feature `secp256k1`).
//!
//! Signatures are DER. As with libp2p-identity 0.3, only those with the lower of the two possible `S` are accepted, so
//! nobody can turn a signature into another valid one; k256 sees to that.

use super::{InvalidSignature, KeyError, KeyType};
use alloc::vec::Vec;
use k256::ecdsa::signature::{Signer, Verifier};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// A valid public key, compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Public([u8; 33]);

impl Public {
    /// Reads a compressed (33 bytes) or uncompressed (65 bytes) point.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes {
            [2..=4, ..] => VerifyingKey::from_sec1_bytes(bytes).ok(),
            _ => None,
        }
        .and_then(|key| Self::from_key(&key))
        .ok_or(KeyError::Invalid(KeyType::Secp256k1))
    }

    fn from_key(key: &VerifyingKey) -> Option<Self> {
        key.to_sec1_point(true).as_bytes().try_into().ok().map(Self)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        VerifyingKey::from_sec1_bytes(&self.0)
            .and_then(|key| key.verify(message, &signature))
            .map_err(|_| InvalidSignature)
    }
}

/// A private key and its public half. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct Secret {
    key: SigningKey,
    public: Public,
}

impl Secret {
    /// Reads a scalar of 32 bytes, big-endian, neither zero nor above the group order.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        <&[u8; 32]>::try_from(bytes)
            .ok()
            .and_then(|bytes| SigningKey::from_slice(bytes).ok())
            .and_then(|key| {
                Public::from_key(key.verifying_key()).map(|public| Self { key, public })
            })
            .ok_or(KeyError::Invalid(KeyType::Secp256k1))
    }

    pub(crate) fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        // Fewer than one draw in 2^127 is not a valid scalar.
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            rng.fill_bytes(bytes.as_mut_slice());
            if let Ok(key) = Self::from_bytes(bytes.as_slice()) {
                return key;
            }
        }
    }

    pub(crate) fn to_stored(&self) -> Zeroizing<[u8; 32]> {
        let scalar = Zeroizing::new(self.key.to_bytes());
        Zeroizing::new((*scalar).into())
    }

    pub(crate) const fn public(&self) -> Public {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }
}
