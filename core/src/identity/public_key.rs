//! Public keys of all types and their protobuf message.

use super::codec::{read_prefixed, read_varint, write_varint};
use super::{InvalidSignature, KeyError, PeerId, ed25519};
use alloc::vec::Vec;
use core::fmt;

/// The type of a key, with its number in the key messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// RSA with PKCS #1 v1.5 signatures over SHA-256; number 0.
    Rsa = 0,
    /// Ed25519; number 1.
    Ed25519 = 1,
    /// ECDSA over secp256k1 with SHA-256; number 2.
    Secp256k1 = 2,
    /// ECDSA over NIST P-256 with SHA-256; number 3.
    Ecdsa = 3,
}

impl KeyType {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Rsa => 0,
            Self::Ed25519 => 1,
            Self::Secp256k1 => 2,
            Self::Ecdsa => 3,
        }
    }

    pub(crate) const fn from_number(number: u64) -> Result<Self, KeyError> {
        match number {
            0 => Ok(Self::Rsa),
            1 => Ok(Self::Ed25519),
            2 => Ok(Self::Secp256k1),
            3 => Ok(Self::Ecdsa),
            other => Err(KeyError::UnknownType(other)),
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
            Self::Secp256k1 => "Secp256k1",
            Self::Ecdsa => "ECDSA",
        })
    }
}

/// A peer's public key: checked to be valid for its type.
///
/// ```
/// use drywire::identity::{Keypair, PublicKey};
/// use drywire::seed::Seed;
///
/// let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(1));
/// let key = PublicKey::from_protobuf(&keypair.public().to_protobuf())?;
/// let signature = keypair.sign(b"hello");
/// assert!(key.verify(b"hello", &signature).is_ok());
/// assert!(key.verify(b"hullo", &signature).is_err());
/// assert_eq!(key.peer_id(), keypair.peer_id());
/// # Ok::<(), drywire::identity::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Inner);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Inner {
    Ed25519(ed25519::Public),
}

impl PublicKey {
    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] if they are not a point of the curve, or one of small order.
    pub fn from_ed25519_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        ed25519::Public::from_bytes(bytes).map(Self::from)
    }

    /// Reads the key message (`PublicKey` of the peer-ids specification).
    ///
    /// As protobuf parsers do, unknown fields are skipped and the last of repeated fields counts.
    ///
    /// # Errors
    /// [`KeyError`]: a malformed message, an unknown or unsupported type, an invalid key.
    pub fn from_protobuf(message: &[u8]) -> Result<Self, KeyError> {
        let (kind, data) = read_key_message(message)?;
        match kind {
            KeyType::Ed25519 => ed25519::Public::from_bytes(data).map(Self::from),
            other => Err(KeyError::Unsupported(other)),
        }
    }

    /// The key message: always the same bytes for the same key, since the peer id is made of them.
    #[must_use]
    pub fn to_protobuf(&self) -> Vec<u8> {
        match &self.0 {
            Inner::Ed25519(key) => write_key_message(KeyType::Ed25519, key.as_bytes()),
        }
    }

    /// The type of the key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match &self.0 {
            Inner::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// The 32 bytes of an Ed25519 key, `None` for other types.
    #[must_use]
    pub const fn ed25519_bytes(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Inner::Ed25519(key) => Some(key.as_bytes()),
        }
    }

    /// The id of the peer that owns this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_public_key(self)
    }

    /// Checks that `signature` was made over `message` by the owner of this key.
    ///
    /// # Errors
    /// [`InvalidSignature`] if not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        match &self.0 {
            Inner::Ed25519(key) => key.verify(message, signature),
        }
    }
}

impl From<ed25519::Public> for PublicKey {
    fn from(key: ed25519::Public) -> Self {
        Self(Inner::Ed25519(key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({}, {})",
            self.key_type(),
            self.peer_id().short()
        )
    }
}

/// Reads type and data of a public or private key message.
pub(crate) fn read_key_message(message: &[u8]) -> Result<(KeyType, &[u8]), KeyError> {
    let (mut kind, mut data) = (None, None);
    let mut rest = message;
    while !rest.is_empty() {
        let (tag, value) = read_varint(rest).ok_or(KeyError::Malformed)?;
        rest = match tag {
            0x08 => {
                let (number, after) = read_varint(value).ok_or(KeyError::Malformed)?;
                kind = Some(number);
                after
            }
            0x12 => {
                let (bytes, after) = read_prefixed(value).ok_or(KeyError::Malformed)?;
                data = Some(bytes);
                after
            }
            _ => return Err(KeyError::Malformed),
        };
    }
    let kind = KeyType::from_number(kind.ok_or(KeyError::MissingField)?)?;
    Ok((kind, data.ok_or(KeyError::MissingField)?))
}

/// Writes a public or private key message.
pub(crate) fn write_key_message(kind: KeyType, data: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(data.len().saturating_add(8));
    message.extend_from_slice(&[0x08, kind.number(), 0x12]);
    write_varint(&mut message, u64::try_from(data.len()).unwrap_or(u64::MAX));
    message.extend_from_slice(data);
    message
}
