//! RSA signatures, PKCS #1 v1.5 with SHA-256, verification only (feature `rsa`).
//!
//! Keys are SubjectPublicKeyInfo (RFC 3279). Their size is judged by the length of the modulus before any of it is
//! computed with: a huge key would otherwise cost its reader seconds (CVE-2023-39533).

use super::der::{BIT_STRING, INTEGER, SEQUENCE, element, only};
use super::{InvalidSignature, KeyError, KeyType};
use alloc::boxed::Box;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// AlgorithmIdentifier: rsaEncryption, NULL.
const ALGORITHM: [u8; 13] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
const BITS: core::ops::RangeInclusive<usize> = 2048..=8192;
/// The longest exponent the verifier takes: below 2^33.
const MAX_EXPONENT_BYTES: usize = 5;

/// A public key of allowed size, as its SubjectPublicKeyInfo.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Public(Box<[u8]>);

impl Public {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn from_stored(stored: &[u8]) -> Result<Self, KeyError> {
        let invalid = KeyError::Invalid(KeyType::Rsa);
        let (modulus, exponent) = rsa_public_key(stored)
            .and_then(numbers)
            .ok_or_else(|| invalid.clone())?;
        let bits = bit_len(modulus);
        if !BITS.contains(&bits) {
            return Err(KeyError::RsaBits(bits));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !odd(modulus) || !odd(exponent) || exponent == [1] || exponent.len() > MAX_EXPONENT_BYTES
        {
            return Err(invalid);
        }
        Ok(Self(stored.into()))
    }

    pub(crate) fn as_stored(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = rsa_public_key(&self.0).ok_or(InvalidSignature)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }
}

/// The RSAPublicKey (RFC 8017) within a SubjectPublicKeyInfo.
fn rsa_public_key(stored: &[u8]) -> Option<&[u8]> {
    let (algorithm, rest) = element(only(stored, SEQUENCE)?, SEQUENCE)?;
    match only(rest, BIT_STRING)?.split_first()? {
        (0, key) if algorithm == ALGORITHM => Some(key),
        _ => None,
    }
}

/// Modulus and exponent without sign bytes.
fn numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (modulus, rest) = element(only(key, SEQUENCE)?, INTEGER)?;
    Some((positive(modulus)?, positive(only(rest, INTEGER)?)?))
}

/// A positive integer in its shortest form, without its sign byte.
fn positive(content: &[u8]) -> Option<&[u8]> {
    match content {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest),
        [1..=0x7f, ..] => Some(content),
        _ => None,
    }
}

fn bit_len(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros());
    number
        .len()
        .saturating_mul(8)
        .saturating_sub(usize::try_from(unused).unwrap_or(0))
}
