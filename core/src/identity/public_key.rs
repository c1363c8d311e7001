//! Public keys of all types and their protobuf message.

#[cfg(feature = "ecdsa")]
use super::ecdsa;
#[cfg(feature = "rsa")]
use super::rsa;
#[cfg(feature = "secp256k1")]
use super::secp256k1;
use super::{InvalidSignature, KeyError, PeerId, ed25519};
use crate::wire::protobuf::{Reader, Writer};
use alloc::vec::Vec;
use core::fmt;

/// The type of a key, with its number in the key messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
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
    const fn number(self) -> u64 {
        match self {
            Self::Rsa => 0,
            Self::Ed25519 => 1,
            Self::Secp256k1 => 2,
            Self::Ecdsa => 3,
        }
    }

    const fn from_number(number: i32) -> Result<Self, KeyError> {
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
pub struct PublicKey(pub(super) Inner);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Inner {
    Ed25519(ed25519::Public),
    #[cfg(feature = "secp256k1")]
    Secp256k1(secp256k1::Public),
    #[cfg(feature = "ecdsa")]
    Ecdsa(ecdsa::Public),
    #[cfg(feature = "rsa")]
    Rsa(rsa::Public),
}

impl PublicKey {
    /// The Ed25519 key with these 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] if they are not a point of the curve, or one of small order.
    pub fn from_ed25519_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        ed25519::Public::from_bytes(bytes).map(|key| Self(Inner::Ed25519(key)))
    }

    /// Reads the key message (`PublicKey` of the
    /// [peer-ids specification](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md)).
    ///
    /// As protobuf parsers do, unknown fields are skipped and the last of repeated fields counts; the peer id is
    /// made from the canonical message, whichever was read.
    ///
    /// # Errors
    /// [`KeyError`]: a malformed message, an unknown or unsupported type, an invalid key.
    pub fn from_protobuf(message: &[u8]) -> Result<Self, KeyError> {
        let (kind, data) = read_key_message(message)?;
        let inner = match kind {
            KeyType::Ed25519 => Inner::Ed25519(ed25519::Public::from_bytes(data)?),
            #[cfg(feature = "secp256k1")]
            KeyType::Secp256k1 => Inner::Secp256k1(secp256k1::Public::from_bytes(data)?),
            #[cfg(feature = "ecdsa")]
            KeyType::Ecdsa => Inner::Ecdsa(ecdsa::Public::from_stored(data)?),
            #[cfg(feature = "rsa")]
            KeyType::Rsa => Inner::Rsa(rsa::Public::from_stored(data)?),
            #[cfg(not(all(feature = "secp256k1", feature = "ecdsa", feature = "rsa")))]
            other => return Err(KeyError::Unsupported(other)),
        };
        Ok(Self(inner))
    }

    /// The Ed25519 key in this message, if it is that of a peer that has proved to have it, and so was checked before; `None`
    /// for any other.
    pub(crate) fn of_authenticated(peer: &PeerId, message: &[u8]) -> Option<Self> {
        if PeerId::from_key_message(message) != *peer {
            return None;
        }
        let (kind, data) = read_key_message(message).ok()?;
        let bytes = <[u8; 32]>::try_from(data).ok()?;
        (kind == KeyType::Ed25519)
            .then(|| Self(Inner::Ed25519(ed25519::Public::checked_before(bytes))))
    }

    /// The key message: always the same bytes for the same key, since the peer id is made of them.
    #[must_use]
    pub fn to_protobuf(&self) -> Vec<u8> {
        match &self.0 {
            Inner::Ed25519(key) => write_key_message(KeyType::Ed25519, key.as_bytes()),
            #[cfg(feature = "secp256k1")]
            Inner::Secp256k1(key) => write_key_message(KeyType::Secp256k1, key.as_bytes()),
            #[cfg(feature = "ecdsa")]
            Inner::Ecdsa(key) => write_key_message(KeyType::Ecdsa, &key.to_stored()),
            #[cfg(feature = "rsa")]
            Inner::Rsa(key) => write_key_message(KeyType::Rsa, key.as_stored()),
        }
    }

    /// The type of the key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match &self.0 {
            Inner::Ed25519(_) => KeyType::Ed25519,
            #[cfg(feature = "secp256k1")]
            Inner::Secp256k1(_) => KeyType::Secp256k1,
            #[cfg(feature = "ecdsa")]
            Inner::Ecdsa(_) => KeyType::Ecdsa,
            #[cfg(feature = "rsa")]
            Inner::Rsa(_) => KeyType::Rsa,
        }
    }

    /// The 32 bytes of an Ed25519 key, `None` for other types.
    #[must_use]
    pub const fn ed25519_bytes(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Inner::Ed25519(key) => Some(key.as_bytes()),
            #[cfg(any(feature = "secp256k1", feature = "ecdsa", feature = "rsa"))]
            _ => None,
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
            #[cfg(feature = "secp256k1")]
            Inner::Secp256k1(key) => key.verify(message, signature),
            #[cfg(feature = "ecdsa")]
            Inner::Ecdsa(key) => key.verify(message, signature),
            #[cfg(feature = "rsa")]
            Inner::Rsa(key) => key.verify(message, signature),
        }
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
pub(super) fn read_key_message(message: &[u8]) -> Result<(KeyType, &[u8]), KeyError> {
    let (mut kind, mut data) = (None, None);
    for field in Reader::new(message) {
        let field = field?;
        match field.number {
            1 => kind = Some(field.as_i32()?),
            2 => data = Some(field.as_bytes()?),
            _ => {}
        }
    }
    let kind = KeyType::from_number(kind.ok_or(KeyError::MissingField)?)?;
    Ok((kind, data.ok_or(KeyError::MissingField)?))
}

/// Writes a public or private key message. The vector never grows, so no copy of a secret is left behind.
pub(super) fn write_key_message(kind: KeyType, data: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(data.len().saturating_add(16));
    Writer::new(&mut message)
        .uint64(1, kind.number())
        .bytes(2, data);
    message
}
