//! The cryptographic primitives under the secure channels, from a backend the host chooses by value.
//!
//! A [`Provider`] is copied into configurations. Each backend comes with a feature of the crate; a feature only makes
//! its constructor available and never changes what another backend, or a value made earlier, does. All backends
//! compute the same functions with the same bytes, and accept and refuse the same inputs.
//!
//! | primitive | `ring` | `aws-lc-rs` | `rustcrypto` |
//! |---|---|---|---|
//! | ChaCha20-Poly1305 ([RFC 8439](https://www.rfc-editor.org/rfc/rfc8439)) | ring | AWS-LC | chacha20poly1305 |
//! | X25519 ([RFC 7748](https://www.rfc-editor.org/rfc/rfc7748)) | curve25519-dalek | AWS-LC | curve25519-dalek |
//! | Ed25519 ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)) | ed25519-dalek | AWS-LC | ed25519-dalek |
//! | SHA-256 (FIPS 180-4) | sha2 | sha2 | sha2 |
//!
//! ring has no X25519 with a key of one's own, and its Ed25519 is slower than dalek's. `sha2` finds the processor's
//! SHA instructions by itself and is in the crate anyway, so every backend uses it.
//!
//! Which to take: `ring` is small and fast everywhere; `aws-lc-rs` halves the cost of a handshake, needs `std` and a C
//! compiler; `rustcrypto` is pure Rust for any target, at half the speed or less on small messages.

#![cfg_attr(
    not(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto")),
    allow(
        dead_code,
        unreachable_code,
        unused_imports,
        unused_variables,
        reason = "without a backend there is no provider, and nothing here can be called"
    )
)]

mod aead;
mod ed25519;
mod x25519;

#[cfg(test)]
#[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
mod tests;

pub use aead::AeadKey;
pub use x25519::X25519Secret;
pub(crate) use x25519::is_low_order;

use core::fmt;
use sha2::Digest;

/// A choice of backend: one byte, copied freely.
///
/// ```
/// # #[cfg(feature = "ring")] {
/// use drywire::crypto::Provider;
///
/// let provider = Provider::ring();
/// let (alice, bob) = (provider.x25519([1; 32])?, provider.x25519([2; 32])?);
/// let shared = alice.diffie_hellman(bob.public())?;
/// assert_eq!(shared, bob.diffie_hellman(alice.public())?);
///
/// let key = provider.aead_key(&shared)?;
/// let mut message = *b"hello................";
/// let (text, tag) = message.split_at_mut(5);
/// tag.copy_from_slice(&key.seal_in_place(&[0; 12], b"", text)?);
/// assert_eq!(key.open_in_place(&[0; 12], b"", &mut message)?, 5);
/// assert_eq!(&message[..5], b"hello");
/// # }
/// # Ok::<(), drywire::crypto::Error>(())
/// ```
///
/// `Provider::default()` exists if at least one backend is compiled in: ring before aws-lc-rs before rustcrypto.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Provider(Backend);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Backend {
    #[cfg(feature = "ring")]
    Ring,
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
    #[cfg(feature = "rustcrypto")]
    RustCrypto,
}

impl Provider {
    /// The backends compiled in, in the order in which [`Provider::default`] prefers them.
    pub const AVAILABLE: &'static [Self] = &[
        #[cfg(feature = "ring")]
        Self(Backend::Ring),
        #[cfg(feature = "aws-lc-rs")]
        Self(Backend::AwsLc),
        #[cfg(feature = "rustcrypto")]
        Self(Backend::RustCrypto),
    ];

    /// ring's ciphers, dalek's curves.
    #[cfg(feature = "ring")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ring")))]
    #[must_use]
    pub const fn ring() -> Self {
        Self(Backend::Ring)
    }

    /// AWS-LC: the fastest handshakes.
    #[cfg(feature = "aws-lc-rs")]
    #[cfg_attr(docsrs, doc(cfg(feature = "aws-lc-rs")))]
    #[must_use]
    pub const fn aws_lc_rs() -> Self {
        Self(Backend::AwsLc)
    }

    /// RustCrypto's ciphers and dalek's curves: pure Rust, any target.
    #[cfg(feature = "rustcrypto")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustcrypto")))]
    #[must_use]
    pub const fn rustcrypto() -> Self {
        Self(Backend::RustCrypto)
    }

    /// The backend's name, which is that of its feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(feature = "ring")]
            Backend::Ring => "ring",
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLc => "aws-lc-rs",
            #[cfg(feature = "rustcrypto")]
            Backend::RustCrypto => "rustcrypto",
        }
    }

    /// A key for ChaCha20-Poly1305.
    ///
    /// # Errors
    /// [`Error::Backend`] if the backend cannot hold one more key.
    pub fn aead_key(self, key: &[u8; 32]) -> Result<AeadKey, Error> {
        AeadKey::new(self.0, key)
    }

    /// An X25519 key pair from 32 secret bytes, clamped as RFC 7748 says. Costs one scalar multiplication.
    ///
    /// # Errors
    /// [`Error::Backend`] if the backend cannot hold one more key.
    pub fn x25519(self, secret: [u8; 32]) -> Result<X25519Secret, Error> {
        X25519Secret::new(self.0, secret)
    }

    /// Signs `message` with the Ed25519 key whose RFC 8032 seed is `secret`. Deterministic.
    ///
    /// # Errors
    /// [`Error::Backend`] if the backend cannot hold one more key.
    pub fn ed25519_sign(self, secret: &[u8; 32], message: &[u8]) -> Result<[u8; 64], Error> {
        ed25519::sign(self.0, secret, message)
    }

    /// Checks an Ed25519 signature: without cofactor, `S` below the group order, and `R` compared byte by byte, as
    /// go-libp2p and rust-libp2p do. A public key of small order, for which anybody could sign, is refused.
    ///
    /// # Errors
    /// [`Error::Signature`] if `signature` is not the signature of `public`'s owner over `message`.
    pub fn ed25519_verify(
        self,
        public: &[u8; 32],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        ed25519::verify(self.0, public, message, signature)
    }

    /// A SHA-256 hash to be fed piece by piece.
    #[must_use]
    pub fn sha256(self) -> Sha256 {
        Sha256(sha2::Sha256::new())
    }
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
impl Default for Provider {
    /// The first of [`Provider::AVAILABLE`].
    fn default() -> Self {
        #[cfg(feature = "ring")]
        return Self::ring();
        #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
        return Self::aws_lc_rs();
        #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
        return Self::rustcrypto();
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.name())
    }
}

/// A SHA-256 computation.
#[derive(Clone)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Appends to what is hashed.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash of all that was given; the computation starts anew.
    pub fn finish(&mut self) -> [u8; 32] {
        self.0.finalize_reset().into()
    }

    /// Forgets what was given.
    pub fn reset(&mut self) {
        Digest::reset(&mut self.0);
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// Why a primitive gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// The peer's: the tag does not fit key, nonce and message.
    Authentication,
    /// The peer's: a public key of small order, with which the shared secret would be known to everybody.
    LowOrderPoint,
    /// The peer's: the signature is not that key's over that message.
    Signature,
    /// Our own misuse: the data is longer than the cipher may encrypt under one nonce.
    TooLong,
    /// The backend failed, for example because it got no memory.
    Backend,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => "message does not authenticate",
            Self::LowOrderPoint => "public key of small order",
            Self::Signature => "invalid signature",
            Self::TooLong => "message is too long for the cipher",
            Self::Backend => "the crypto backend failed",
        })
    }
}

impl core::error::Error for Error {}
