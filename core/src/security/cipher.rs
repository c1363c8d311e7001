//! The two directions of a secured channel.

use super::{Error, Limit, Misuse, Violation};
use crate::crypto::{self, AeadKey};
use alloc::vec::Vec;
use core::{fmt, ops::Range};
use zeroize::Zeroize;

/// Bytes of the length in front of a message, big-endian.
const LENGTH_LEN: usize = 2;

/// Encrypts one direction. Small, and separate from the other direction's, so that the two may run apart.
pub struct SendCipher(Half);

/// Decrypts one direction.
pub struct ReceiveCipher(Half);

enum Half {
    Noise {
        key: AeadKey,
        counter: u64,
    },
    Plaintext,
    /// Failed before, at this counter. The key is gone.
    Dead {
        error: Error,
        counter: u64,
    },
}

impl Half {
    /// Kills this direction for good; the counter stays where it was.
    fn die(&mut self, error: Error) -> Error {
        let counter = self.counter();
        *self = Self::Dead {
            error: error.clone(),
            counter,
        };
        error
    }

    const fn counter(&self) -> u64 {
        match self {
            Self::Noise { counter, .. } | Self::Dead { counter, .. } => *counter,
            Self::Plaintext => 0,
        }
    }
}

/// The nonce of message number `counter`: four zero bytes, then the number, little-endian (Noise specification, section
/// 12.3).
pub(super) fn nonce_bytes(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    let [_, _, _, _, number @ ..] = &mut nonce;
    *number = counter.to_le_bytes();
    nonce
}

/// The nonce of the next message, unless none is left: the highest number is reserved (section 5.1).
fn nonce(counter: u64) -> Result<[u8; 12], Error> {
    if counter == u64::MAX {
        return Err(Limit::Nonces.into());
    }
    Ok(nonce_bytes(counter))
}

impl SendCipher {
    /// The most bytes a message is longer than its plaintext: length and tag.
    pub const OVERHEAD: usize = LENGTH_LEN + AeadKey::TAG_LEN;
    /// The longest plaintext of one message: 65,535 bytes without the tag.
    pub const MAX_PLAINTEXT: usize = 65_519;

    pub(super) const fn noise(key: AeadKey) -> Self {
        Self(Half::Noise { key, counter: 0 })
    }

    pub(super) const fn plaintext() -> Self {
        Self(Half::Plaintext)
    }

    /// How many messages were sealed.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.0.counter()
    }

    /// Makes a message of what stands in `out` from `start`: two bytes of room for the length, whatever they hold, and
    /// the plaintext up to the end of `out`, at most [`Self::MAX_PLAINTEXT`] bytes. Encrypts in place, appends the tag
    /// and writes the length.
    ///
    /// With the insecure plaintext protocol, which knows no messages, the room for the length is taken out instead.
    ///
    /// # Errors
    /// [`Misuse::NoRoom`] or [`Misuse::PlaintextTooLong`], and `out` is as before. [`Limit::Nonces`] after 2^64 - 1
    /// messages, [`Error::Backend`]: fatal.
    pub fn seal_in_place(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), Error> {
        let message = out.get_mut(start..).ok_or(Misuse::NoRoom)?;
        let (length, plaintext) = message
            .split_first_chunk_mut::<LENGTH_LEN>()
            .ok_or(Misuse::NoRoom)?;
        if plaintext.len() > Self::MAX_PLAINTEXT {
            return Err(Misuse::PlaintextTooLong.into());
        }
        match &mut self.0 {
            Half::Noise { key, counter } => {
                let sealed = nonce(*counter).and_then(|nonce| {
                    key.seal_in_place(&nonce, &[], plaintext)
                        .map_err(|_| Error::Backend)
                });
                match sealed {
                    Ok(tag) => {
                        let total = plaintext.len().saturating_add(tag.len());
                        *length = u16::try_from(total).unwrap_or(u16::MAX).to_be_bytes();
                        *counter = counter.saturating_add(1);
                        out.extend_from_slice(&tag);
                        Ok(())
                    }
                    Err(error) => Err(self.0.die(error)),
                }
            }
            Half::Plaintext => {
                out.drain(start..start.saturating_add(LENGTH_LEN));
                Ok(())
            }
            Half::Dead { error, .. } => Err(error.clone()),
        }
    }
}

impl ReceiveCipher {
    pub(super) const fn noise(key: AeadKey) -> Self {
        Self(Half::Noise { key, counter: 0 })
    }

    pub(super) const fn plaintext() -> Self {
        Self(Half::Plaintext)
    }

    /// How many messages were opened.
    #[must_use]
    pub const fn counter(&self) -> u64 {
        self.0.counter()
    }

    /// Where the first message stands in `received`, without its length; what follows the end of that range is the
    /// next. `None` while it is not complete.
    ///
    /// With the insecure plaintext protocol, whatever was received is a message.
    ///
    /// # Errors
    /// [`Violation::BadLength`], as soon as the length is there, if it is shorter than a tag: then this direction opens
    /// nothing any more. Or the error that ended it before.
    pub fn next_message(&mut self, received: &[u8]) -> Result<Option<Range<usize>>, Error> {
        match &self.0 {
            Half::Noise { .. } => {
                let Some((length, rest)) = received.split_first_chunk() else {
                    return Ok(None);
                };
                let length = usize::from(u16::from_be_bytes(*length));
                if length < AeadKey::TAG_LEN {
                    return Err(self.0.die(Violation::BadLength.into()));
                }
                Ok((rest.len() >= length).then(|| LENGTH_LEN..LENGTH_LEN.saturating_add(length)))
            }
            Half::Plaintext => Ok((!received.is_empty()).then_some(0..received.len())),
            Half::Dead { error, .. } => Err(error.clone()),
        }
    }

    /// Opens one whole message, without its length, in place. The plaintext is at the beginning of `message`; its
    /// length is returned.
    ///
    /// # Errors
    /// [`Violation::DecryptFailed`], [`Violation::BadLength`] if it is shorter than a tag, [`Limit::Nonces`]. Then
    /// `message` is wiped, the counter has not moved, and this direction opens nothing any more.
    pub fn open_in_place(&mut self, message: &mut [u8]) -> Result<usize, Error> {
        let opened = match &mut self.0 {
            Half::Noise { .. } if message.len() < AeadKey::TAG_LEN => {
                Err(Violation::BadLength.into())
            }
            Half::Noise { key, counter } => nonce(*counter)
                .and_then(|nonce| key.open_in_place(&nonce, &[], message).map_err(open_error))
                .inspect(|_| *counter = counter.saturating_add(1)),
            Half::Plaintext => Ok(message.len()),
            Half::Dead { error, .. } => Err(error.clone()),
        };
        opened.map_err(|error| {
            message.zeroize();
            match self.0 {
                Half::Dead { .. } => error,
                _ => self.0.die(error),
            }
        })
    }
}

fn open_error(error: crypto::Error) -> Error {
    match error {
        crypto::Error::Authentication => Violation::DecryptFailed.into(),
        _ => Error::Backend,
    }
}

impl fmt::Debug for SendCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendCipher")
            .field("counter", &self.counter())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReceiveCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveCipher")
            .field("counter", &self.counter())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
#[path = "cipher_tests.rs"]
mod tests;
