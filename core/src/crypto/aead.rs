//! ChaCha20-Poly1305 in place.

use super::{Backend, Error};
use core::fmt;
use zeroize::Zeroize;

/// A key of ChaCha20-Poly1305 ([RFC 8439](https://www.rfc-editor.org/rfc/rfc8439)), with the backend that uses it.
///
/// At most 40 bytes, and nothing is allocated per message. The expanded form of ring's keys would be 544 bytes, while
/// expanding one takes about a tenth of the time of the smallest message: so only the 32 bytes are kept. AWS-LC keeps
/// about 600 bytes per key in its own heap.
pub struct AeadKey(Inner);

enum Inner {
    #[cfg(feature = "ring")]
    Ring(Secret),
    #[cfg(feature = "aws-lc-rs")]
    AwsLc(aws_lc_rs::aead::LessSafeKey),
    #[cfg(feature = "rustcrypto")]
    RustCrypto(Secret),
}

/// Key bytes, wiped when dropped.
#[cfg(any(feature = "ring", feature = "rustcrypto"))]
struct Secret([u8; 32]);

#[cfg(any(feature = "ring", feature = "rustcrypto"))]
impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl AeadKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;
    /// Bytes of a tag.
    pub const TAG_LEN: usize = 16;

    pub(super) fn new(backend: Backend, key: &[u8; 32]) -> Result<Self, Error> {
        match backend {
            #[cfg(feature = "ring")]
            Backend::Ring => Ok(Self(Inner::Ring(Secret(*key)))),
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLc => Ok(Self(Inner::AwsLc(aws_lc::key(key)?))),
            #[cfg(feature = "rustcrypto")]
            Backend::RustCrypto => Ok(Self(Inner::RustCrypto(Secret(*key)))),
        }
    }

    /// Encrypts `data` in place and returns the tag over it and `aad`.
    ///
    /// A nonce must never be used twice with one key.
    ///
    /// # Errors
    /// [`Error::TooLong`] above about 256 GiB; `data` is then unspecified.
    pub fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; Self::TAG_LEN], Error> {
        match self.0 {
            #[cfg(feature = "ring")]
            Inner::Ring(ref key) => ring_backend::seal(&key.0, nonce, aad, data),
            #[cfg(feature = "aws-lc-rs")]
            Inner::AwsLc(ref key) => aws_lc::seal(key, nonce, aad, data),
            #[cfg(feature = "rustcrypto")]
            Inner::RustCrypto(ref key) => rustcrypto::seal(&key.0, nonce, aad, data),
        }
    }

    /// Decrypts in place a ciphertext followed by its tag, and returns the length of the plaintext, which stands at
    /// the beginning of `data`.
    ///
    /// # Errors
    /// [`Error::Authentication`] if the tag does not fit or `data` is shorter than a tag. `data` is then wiped: no
    /// byte of an unauthenticated plaintext can be read.
    pub fn open_in_place(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<usize, Error> {
        let opened: Result<usize, Error> = match self.0 {
            #[cfg(feature = "ring")]
            Inner::Ring(ref key) => ring_backend::open(&key.0, nonce, aad, data),
            #[cfg(feature = "aws-lc-rs")]
            Inner::AwsLc(ref key) => aws_lc::open(key, nonce, aad, data),
            #[cfg(feature = "rustcrypto")]
            Inner::RustCrypto(ref key) => rustcrypto::open(&key.0, nonce, aad, data),
        };
        if opened.is_err() {
            data.zeroize();
        }
        opened
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

#[cfg(feature = "ring")]
mod ring_backend {
    use super::Error;
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    fn expand(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
        UnboundKey::new(&CHACHA20_POLY1305, key)
            .map(LessSafeKey::new)
            .map_err(|_| Error::Backend)
    }

    pub(super) fn seal(
        key: &[u8; 32],
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; 16], Error> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = expand(key)?
            .seal_in_place_separate_tag(nonce, Aad::from(aad), data)
            .map_err(|_| Error::TooLong)?;
        tag.as_ref().try_into().map_err(|_| Error::Backend)
    }

    pub(super) fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<usize, Error> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        expand(key)?
            .open_in_place(nonce, Aad::from(aad), data)
            .map(|plaintext| plaintext.len())
            .map_err(|_| Error::Authentication)
    }
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use super::Error;
    use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    pub(super) fn key(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
        UnboundKey::new(&CHACHA20_POLY1305, key)
            .map(LessSafeKey::new)
            .map_err(|_| Error::Backend)
    }

    pub(super) fn seal(
        key: &LessSafeKey,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; 16], Error> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), data)
            .map_err(|_| Error::TooLong)?;
        tag.as_ref().try_into().map_err(|_| Error::Backend)
    }

    pub(super) fn open(
        key: &LessSafeKey,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<usize, Error> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        key.open_in_place(nonce, Aad::from(aad), data)
            .map(|plaintext| plaintext.len())
            .map_err(|_| Error::Authentication)
    }
}

#[cfg(feature = "rustcrypto")]
mod rustcrypto {
    use super::Error;
    use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};

    pub(super) fn seal(
        key: &[u8; 32],
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; 16], Error> {
        ChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(nonce.into(), aad, data.into())
            .map(Into::into)
            .map_err(|_| Error::TooLong)
    }

    pub(super) fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<usize, Error> {
        let (ciphertext, tag) = data
            .split_last_chunk_mut::<16>()
            .ok_or(Error::Authentication)?;
        let length = ciphertext.len();
        ChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(nonce.into(), aad, ciphertext.into(), (&*tag).into())
            .map(|()| length)
            .map_err(|_| Error::Authentication)
    }
}
