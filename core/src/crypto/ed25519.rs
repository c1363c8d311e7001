//! Ed25519 with one acceptance set for all backends.

use super::x25519::low_order;
use super::{Backend, Error};

pub(super) fn sign(backend: Backend, secret: &[u8; 32], message: &[u8]) -> Result<[u8; 64], Error> {
    match backend {
        #[cfg(feature = "ring")]
        Backend::Ring => Ok(dalek::sign(secret, message)),
        #[cfg(feature = "aws-lc-rs")]
        Backend::AwsLc => aws_lc::sign(secret, message),
        #[cfg(feature = "rustcrypto")]
        Backend::RustCrypto => Ok(dalek::sign(secret, message)),
    }
}

pub(super) fn verify(
    backend: Backend,
    public: &[u8; 32],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    if is_weak(public) {
        return Err(Error::Signature);
    }
    match backend {
        #[cfg(feature = "ring")]
        Backend::Ring => dalek::verify(public, message, signature),
        #[cfg(feature = "aws-lc-rs")]
        Backend::AwsLc => aws_lc::verify(public, message, signature),
        #[cfg(feature = "rustcrypto")]
        Backend::RustCrypto => dalek::verify(public, message, signature),
    }
}

#[cfg(any(feature = "ring", feature = "rustcrypto"))]
mod dalek {
    use super::Error;
    use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

    pub(super) fn sign(secret: &[u8; 32], message: &[u8]) -> [u8; 64] {
        SigningKey::from_bytes(secret).sign(message).to_bytes()
    }

    pub(super) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let signature = Signature::from_slice(signature).map_err(|_| Error::Signature)?;
        VerifyingKey::from_bytes(public)
            .and_then(|key| key.verify(message, &signature))
            .map_err(|_| Error::Signature)
    }
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use super::Error;
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

    pub(super) fn sign(secret: &[u8; 32], message: &[u8]) -> Result<[u8; 64], Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|_| Error::Backend)?;
        let signature = pair.sign(message);
        signature.as_ref().try_into().map_err(|_| Error::Backend)
    }

    pub(super) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        UnparsedPublicKey::new(&ED25519, public)
            .verify(message, signature)
            .map_err(|_| Error::Signature)
    }
}

/// The y-coordinates, below 2^255, of the points whose order divides 8: 0, 1, p - 1, two for the four of order 8, and
/// the other spellings p and p + 1 of 0 and 1.
const WEAK: [[u8; 32]; 7] = [
    low_order(0, 0, 0),
    low_order(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    low_order(0xec, 0xff, 0x7f),
    low_order(0xed, 0xff, 0x7f),
    low_order(0xee, 0xff, 0x7f),
];

/// Whether a public key has small order, in any spelling and with either sign.
fn is_weak(public: &[u8; 32]) -> bool {
    let mut masked = *public;
    let [.., high] = &mut masked;
    *high &= 0x7f;
    WEAK.contains(&masked)
}
