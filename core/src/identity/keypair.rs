//! A node's own key.

#[cfg(feature = "ecdsa")]
use super::ecdsa;
use super::public_key::{Inner as Public, read_key_message, write_key_message};
#[cfg(feature = "secp256k1")]
use super::secp256k1;
use super::{KeyError, KeyType, PeerId, PublicKey, ed25519};
use crate::seed::Seed;
use alloc::vec::Vec;
use core::fmt;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// A private key with its public half: a node's identity.
///
/// Secrets are wiped from memory when dropped, and `Debug` prints the public key only. There are no RSA keypairs:
/// RSA is for verifying what old peers sign.
///
/// ```
/// use drywire::identity::Keypair;
/// use drywire::seed::Seed;
///
/// // A real node draws 32 bytes from the operating system: Seed::from_entropy(bytes).
/// let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(1));
/// let stored = keypair.to_protobuf();
/// let restored = Keypair::from_protobuf(&stored)?;
/// assert_eq!(restored.peer_id(), keypair.peer_id());
/// # Ok::<(), drywire::identity::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Keypair(Inner);

#[derive(Clone)]
enum Inner {
    Ed25519(ed25519::Secret),
    #[cfg(feature = "secp256k1")]
    Secp256k1(secp256k1::Secret),
    #[cfg(feature = "ecdsa")]
    Ecdsa(ecdsa::Secret),
}

impl Keypair {
    /// The Ed25519 key that follows from `seed`: the same seed, the same key.
    #[must_use]
    pub fn ed25519_from_seed(seed: &Seed) -> Self {
        Self::generate_ed25519(&mut seed.derive("identity").rng())
    }

    /// A new Ed25519 key of 32 bytes drawn from `rng`.
    #[must_use]
    pub fn generate_ed25519<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        Self::from_ed25519_secret(&secret)
    }

    /// A new Secp256k1 key drawn from `rng`.
    #[cfg(feature = "secp256k1")]
    #[must_use]
    pub fn generate_secp256k1<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(Inner::Secp256k1(secp256k1::Secret::generate(rng)))
    }

    /// A new ECDSA (P-256) key drawn from `rng`.
    #[cfg(feature = "ecdsa")]
    #[must_use]
    pub fn generate_ecdsa<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(Inner::Ecdsa(ecdsa::Secret::generate(rng)))
    }

    /// The Ed25519 key with this secret (the 32-byte seed of RFC 8032). The caller wipes its own copy.
    #[must_use]
    pub fn from_ed25519_secret(secret: &[u8; 32]) -> Self {
        Self(Inner::Ed25519(ed25519::Secret::from_bytes(secret)))
    }

    /// Reads the ecosystem's private key message, as found in key files (`PrivateKey` of the
    /// [peer-ids specification](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md)). The caller wipes
    /// `message`.
    ///
    /// # Errors
    /// [`KeyError`]: a malformed message, an unknown or unsupported type, an invalid key, or a public half that
    /// does not belong to the private one.
    pub fn from_protobuf(message: &[u8]) -> Result<Self, KeyError> {
        let (kind, data) = read_key_message(message)?;
        let inner = match kind {
            KeyType::Ed25519 => Inner::Ed25519(ed25519::Secret::from_stored(data)?),
            #[cfg(feature = "secp256k1")]
            KeyType::Secp256k1 => Inner::Secp256k1(secp256k1::Secret::from_bytes(data)?),
            #[cfg(feature = "ecdsa")]
            KeyType::Ecdsa => Inner::Ecdsa(ecdsa::Secret::from_stored(data)?),
            other => return Err(KeyError::Unsupported(other)),
        };
        Ok(Self(inner))
    }

    /// The private key message, to be kept secret; it is wiped when dropped.
    #[must_use]
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match &self.0 {
            Inner::Ed25519(key) => write_key_message(KeyType::Ed25519, key.to_stored().as_slice()),
            #[cfg(feature = "secp256k1")]
            Inner::Secp256k1(key) => {
                write_key_message(KeyType::Secp256k1, key.to_stored().as_slice())
            }
            #[cfg(feature = "ecdsa")]
            Inner::Ecdsa(key) => write_key_message(KeyType::Ecdsa, &key.to_stored()),
        })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Inner::Ed25519(key) => Public::Ed25519(key.public()),
            #[cfg(feature = "secp256k1")]
            Inner::Secp256k1(key) => Public::Secp256k1(key.public()),
            #[cfg(feature = "ecdsa")]
            Inner::Ecdsa(key) => Public::Ecdsa(key.public()),
        })
    }

    /// The id of the peer that owns this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.public().peer_id()
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
        }
    }

    /// The 32 secret bytes of an Ed25519 key (the seed of RFC 8032), for a crypto backend that signs with it; `None`
    /// for other types.
    #[must_use]
    pub fn ed25519_secret(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Inner::Ed25519(key) => Some(key.as_bytes()),
            #[cfg(any(feature = "secp256k1", feature = "ecdsa"))]
            _ => None,
        }
    }

    /// Signs `message`. Signatures are deterministic (RFC 8032, RFC 6979): the same key and message give the same
    /// bytes. Ed25519 signatures are 64 bytes, the others DER of varying length.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Inner::Ed25519(key) => key.sign(message).to_vec(),
            #[cfg(feature = "secp256k1")]
            Inner::Secp256k1(key) => key.sign(message),
            #[cfg(feature = "ecdsa")]
            Inner::Ecdsa(key) => key.sign(message),
        }
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Keypair({}, {})",
            self.key_type(),
            self.peer_id().short()
        )
    }
}
