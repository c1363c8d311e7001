//! The key type every peer has.

use super::{InvalidSignature, KeyError, KeyType};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use zeroize::Zeroizing;

/// A valid, not weak, public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Public([u8; 32]);

impl Public {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let invalid = KeyError::Invalid(KeyType::Ed25519);
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| invalid.clone())?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(invalid),
        }
    }

    /// A key that was checked before.
    pub(crate) const fn checked_before(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let signature = Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify(message, &signature))
            .map_err(|_| InvalidSignature)
    }
}

/// A private key and its public half. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct Secret(SigningKey);

impl Secret {
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// Reads the stored form: private and public half, the public one perhaps twice (an old habit).
    pub(crate) fn from_stored(stored: &[u8]) -> Result<Self, KeyError> {
        let (stored, again) = match stored.len() {
            64 => (stored, None),
            96 => stored
                .split_at_checked(64)
                .map_or((stored, None), |(pair, again)| (pair, Some(again))),
            _ => return Err(KeyError::Invalid(KeyType::Ed25519)),
        };
        let (secret, public) = stored
            .split_first_chunk::<32>()
            .ok_or(KeyError::Invalid(KeyType::Ed25519))?;
        let key = Self::from_bytes(secret);
        if key.public().as_bytes() != public || again.is_some_and(|again| again != public) {
            return Err(KeyError::Mismatch);
        }
        Ok(key)
    }

    pub(crate) fn to_stored(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.to_keypair_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn public(&self) -> Public {
        Public(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}
