//! X25519 with keys of one's own.

use super::{Backend, Error};
use core::fmt;
#[cfg(any(feature = "ring", feature = "rustcrypto"))]
use curve25519_dalek::MontgomeryPoint;
use zeroize::Zeroizing;

/// An X25519 key pair ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748)). The secret half is wiped when dropped.
pub struct X25519Secret {
    secret: Inner,
    public: [u8; 32],
}

enum Inner {
    #[cfg(any(feature = "ring", feature = "rustcrypto"))]
    Dalek(Zeroizing<[u8; 32]>),
    #[cfg(feature = "aws-lc-rs")]
    AwsLc(aws_lc_rs::agreement::PrivateKey),
}

impl X25519Secret {
    pub(super) fn new(backend: Backend, secret: [u8; 32]) -> Result<Self, Error> {
        let secret = Zeroizing::new(secret);
        match backend {
            #[cfg(feature = "ring")]
            Backend::Ring => Ok(Self::dalek(secret)),
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLc => aws_lc::pair(&secret),
            #[cfg(feature = "rustcrypto")]
            Backend::RustCrypto => Ok(Self::dalek(secret)),
        }
    }

    #[cfg(any(feature = "ring", feature = "rustcrypto"))]
    fn dalek(secret: Zeroizing<[u8; 32]>) -> Self {
        let public = MontgomeryPoint::mul_base_clamped(*secret).to_bytes();
        Self {
            secret: Inner::Dalek(secret),
            public,
        }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret shared with the owner of `their_public`. Constant time in the secret.
    ///
    /// # Errors
    /// [`Error::LowOrderPoint`] if `their_public` has small order, so that the shared secret would be zero.
    pub fn diffie_hellman(&self, their_public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Error> {
        if is_low_order(their_public) {
            return Err(Error::LowOrderPoint);
        }
        let shared: Zeroizing<[u8; 32]> = match self.secret {
            #[cfg(any(feature = "ring", feature = "rustcrypto"))]
            Inner::Dalek(ref secret) => dalek_shared(secret, their_public),
            #[cfg(feature = "aws-lc-rs")]
            Inner::AwsLc(ref secret) => aws_lc::shared(secret, their_public)?,
        };
        // The list above is complete; this holds even if it were not.
        if shared.iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(Error::LowOrderPoint);
        }
        Ok(shared)
    }
}

impl fmt::Debug for X25519Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X25519Secret(..)")
    }
}

/// The scalar multiplication by way of the Edwards form, where x86-64 has vector code: a quarter faster than the
/// Montgomery ladder, conversions included. Points of the curve's twist have no Edwards form here and take the ladder;
/// which way is taken depends on the public key only.
#[cfg(any(feature = "ring", feature = "rustcrypto"))]
fn dalek_shared(secret: &[u8; 32], their_public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let point = MontgomeryPoint(*their_public);
    #[cfg(target_arch = "x86_64")]
    // The sign chosen here does not matter: a point and its negative have the same u-coordinate.
    if let Some(edwards) = point.to_edwards(0) {
        return Zeroizing::new(edwards.mul_clamped(*secret).to_montgomery().to_bytes());
    }
    Zeroizing::new(point.mul_clamped(*secret).to_bytes())
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use super::{Error, Inner, X25519Secret};
    use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
    use zeroize::Zeroizing;

    pub(super) fn pair(secret: &[u8; 32]) -> Result<X25519Secret, Error> {
        let secret = PrivateKey::from_private_key(&X25519, secret).map_err(|_| Error::Backend)?;
        let public = secret.compute_public_key().map_err(|_| Error::Backend)?;
        let public = public.as_ref().try_into().map_err(|_| Error::Backend)?;
        Ok(X25519Secret {
            secret: Inner::AwsLc(secret),
            public,
        })
    }

    pub(super) fn shared(
        secret: &PrivateKey,
        their_public: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, Error> {
        let theirs = UnparsedPublicKey::new(&X25519, their_public);
        agree(secret, theirs, Error::LowOrderPoint, |shared| {
            <[u8; 32]>::try_from(shared)
                .map(Zeroizing::new)
                .map_err(|_| Error::Backend)
        })
    }
}

/// The u-coordinates, below 2^255, of the points whose order divides 8, on the curve and its twist: 0, 1, the two of
/// order 8, p - 1, and the other spellings p and p + 1 of 0 and 1.
const LOW_ORDER: [[u8; 32]; 7] = [
    low_order(0, 0, 0),
    low_order(1, 0, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    low_order(0xec, 0xff, 0x7f),
    low_order(0xed, 0xff, 0x7f),
    low_order(0xee, 0xff, 0x7f),
];

/// A number of 32 bytes, little-endian, by its first byte, the 30 in the middle and its last.
pub(super) const fn low_order(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [low, .., high] = &mut bytes;
    *low = first;
    *high = last;
    bytes
}

/// Whether a public key has small order, in any spelling (RFC 7748 ignores the top bit).
pub(crate) fn is_low_order(public: &[u8; 32]) -> bool {
    let mut masked = *public;
    let [.., high] = &mut masked;
    *high &= 0x7f;
    LOW_ORDER.contains(&masked)
}
