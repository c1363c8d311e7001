//! ECDSA over NIST P-256 with SHA-256 (feature `ecdsa`).
//!
//! Public keys are stored as SubjectPublicKeyInfo (RFC 5480) with an uncompressed point, private ones as
//! ECPrivateKey (RFC 5915). Signatures are DER; both possible `S` are accepted, as everywhere in the network.

use super::der::{self, INTEGER, SEQUENCE, element, only};
use super::{InvalidSignature, KeyError, KeyType};
use alloc::vec::Vec;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// All of a SubjectPublicKeyInfo before the 65 bytes of the point: id-ecPublicKey, prime256v1, BIT STRING.
const PUBLIC_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// All of an ECPrivateKey before the 32 bytes of the scalar.
const SECRET_HEAD: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
/// What follows the scalar, before the point: the curve prime256v1, and the tag of the public key.
const SECRET_MIDDLE: [u8; 17] = [
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42,
    0x00,
];
/// The tag of the scalar.
const OCTET_STRING: u8 = 0x04;
/// The optional parts of an ECPrivateKey: curve parameters and public key.
const PARAMETERS: u8 = 0xa0;
const PUBLIC_KEY: u8 = 0xa1;

const INVALID: KeyError = KeyError::Invalid(KeyType::Ecdsa);

/// A valid public key: an uncompressed point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Public([u8; 65]);

impl Public {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn from_stored(stored: &[u8]) -> Result<Self, KeyError> {
        let point = stored.strip_prefix(&PUBLIC_HEAD).ok_or(INVALID)?;
        let point = <[u8; 65]>::try_from(point).map_err(|_| INVALID)?;
        match (point, VerifyingKey::from_sec1_bytes(&point)) {
            ([4, ..], Ok(_)) => Ok(Self(point)),
            _ => Err(INVALID),
        }
    }

    fn from_key(key: &VerifyingKey) -> Option<Self> {
        key.to_sec1_point(false)
            .as_bytes()
            .try_into()
            .ok()
            .map(Self)
    }

    pub(crate) fn to_stored(self) -> Vec<u8> {
        [PUBLIC_HEAD.as_slice(), &self.0].concat()
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
            .ok_or(INVALID)
    }

    /// Reads an ECPrivateKey. Curve and public half may be missing; if there they must be right.
    pub(crate) fn from_stored(stored: &[u8]) -> Result<Self, KeyError> {
        let (scalar, options) = Self::split_stored(stored).ok_or(INVALID)?;
        let key = Self::from_bytes(scalar)?;
        let (curve, rest) = match options {
            [PARAMETERS, ..] => element(options, PARAMETERS).ok_or(INVALID)?,
            _ => (SECRET_MIDDLE.get(2..12).ok_or(INVALID)?, options),
        };
        if Some(curve) != SECRET_MIDDLE.get(2..12) {
            return Err(INVALID);
        }
        if rest.is_empty() {
            return Ok(key);
        }
        let public = only(rest, PUBLIC_KEY)
            .and_then(|bits| only(bits, der::BIT_STRING))
            .ok_or(INVALID)?;
        match public.split_first() {
            Some((0, point)) if point == key.public.0 => Ok(key),
            Some((0, _)) => Err(KeyError::Mismatch),
            _ => Err(INVALID),
        }
    }

    fn split_stored(stored: &[u8]) -> Option<(&[u8], &[u8])> {
        let (version, rest) = element(only(stored, SEQUENCE)?, INTEGER)?;
        let (scalar, options) = element(rest, OCTET_STRING)?;
        (version == [1]).then_some((scalar, options))
    }

    pub(crate) fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        // Fewer than one draw in 2^31 is not a valid scalar.
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            rng.fill_bytes(bytes.as_mut_slice());
            if let Ok(key) = Self::from_bytes(bytes.as_slice()) {
                return key;
            }
        }
    }

    pub(crate) fn to_stored(&self) -> Zeroizing<Vec<u8>> {
        let scalar = Zeroizing::new(self.key.to_bytes());
        Zeroizing::new(
            [
                SECRET_HEAD.as_slice(),
                scalar.as_slice(),
                &SECRET_MIDDLE,
                &self.public.0,
            ]
            .concat(),
        )
    }

    pub(crate) const fn public(&self) -> Public {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }
}
