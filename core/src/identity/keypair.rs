//! A node's own key.

use super::public_key::{read_key_message, write_key_message};
use super::{KeyError, KeyType, PeerId, PublicKey, ed25519};
use crate::seed::Seed;
use alloc::vec::Vec;
use core::fmt;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// A private key with its public half: a node's identity.
///
/// Secrets are wiped from memory when dropped, and `Debug` prints the public key only.
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

    /// The Ed25519 key with this secret (the 32-byte seed of RFC 8032). The caller wipes its own copy.
    #[must_use]
    pub fn from_ed25519_secret(secret: &[u8; 32]) -> Self {
        Self(Inner::Ed25519(ed25519::Secret::from_bytes(secret)))
    }

    /// Reads the ecosystem's private key message, as found in key files (`PrivateKey` of the peer-ids
    /// specification). The caller wipes `message`.
    ///
    /// # Errors
    /// [`KeyError`]: a malformed message, an unknown or unsupported type, an invalid key, or a public half that
    /// does not belong to the private one.
    pub fn from_protobuf(message: &[u8]) -> Result<Self, KeyError> {
        let (kind, data) = read_key_message(message)?;
        match kind {
            KeyType::Ed25519 => {
                ed25519::Secret::from_stored(data).map(|key| Self(Inner::Ed25519(key)))
            }
            other => Err(KeyError::Unsupported(other)),
        }
    }

    /// The private key message, to be kept secret; it is wiped when dropped.
    #[must_use]
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match &self.0 {
            Inner::Ed25519(key) => write_key_message(KeyType::Ed25519, key.to_stored().as_slice()),
        })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Inner::Ed25519(key) => key.public().into(),
        }
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
        }
    }

    /// The 32 secret bytes of an Ed25519 key (the seed of RFC 8032), for a crypto backend that signs with it; `None`
    /// for other types.
    #[must_use]
    pub fn ed25519_secret(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Inner::Ed25519(key) => Some(key.as_bytes()),
        }
    }

    /// Signs `message`. Signatures are deterministic: the same key and message give the same bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Inner::Ed25519(key) => key.sign(message).to_vec(),
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
