//! The name of a peer: a multihash of its public key.

use super::{PeerIdError, PublicKey, multibase};
use crate::wire::varint;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Keys whose message is at most this many bytes are put into the peer id as they are.
const MAX_INLINE_KEY: usize = 42;
const HASH_IDENTITY: u8 = 0x00;
const HASH_SHA2_256: u8 = 0x12;
const CID_VERSION: u8 = 1;
const CID_LIBP2P_KEY: u8 = 0x72;
/// 44 bytes need at most 61 base 58 digits.
const MAX_BASE58: usize = 64;

/// Identifies a peer: the multihash of its public key's protobuf message
/// ([peer-ids specification](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md)).
///
/// A message of at most 42 bytes (Ed25519, Secp256k1) is inlined by the identity hash, a longer one is hashed with
/// SHA-256. The value is 44 bytes, copied freely, and ordered by its multihash bytes.
///
/// ```
/// use drywire::identity::PeerId;
///
/// let peer: PeerId = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
/// assert_eq!(PeerId::from_bytes(peer.as_bytes())?, peer);
/// assert_eq!(peer.to_cid().parse::<PeerId>()?, peer);
/// assert_eq!(peer.short().to_string(), "12*AJU5SA");
/// assert!(peer.public_key().is_some());
/// # Ok::<(), drywire::identity::PeerIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId {
    // Hash code, digest length (both below 0x80, so one byte each), digest, zeros. The zeros are never part of the
    // value: two ids differ within their lengths or in the length byte.
    multihash: [u8; Self::MAX_LEN],
}

impl PeerId {
    /// The most bytes of a peer id's multihash.
    pub const MAX_LEN: usize = 44;

    /// The id of the peer that owns `key`.
    #[must_use]
    pub fn from_public_key(key: &PublicKey) -> Self {
        Self::from_key_message(&key.to_protobuf())
    }

    /// The id of the peer that owns the key in this message, which is not checked to be one.
    pub(crate) fn from_key_message(message: &[u8]) -> Self {
        if message.len() <= MAX_INLINE_KEY {
            Self::assemble(HASH_IDENTITY, message)
        } else {
            Self::assemble(HASH_SHA2_256, &Sha256::digest(message))
        }
    }

    /// Reads the multihash bytes of a peer id, which must be exactly `bytes`.
    ///
    /// # Errors
    /// [`PeerIdError`] tells what is wrong; nothing but identity digests of 1 to 42 bytes and SHA-256 digests of
    /// 32 bytes is taken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let (code, rest) = number(bytes)?;
        let (len, digest) = number(rest)?;
        let hash = match code {
            0x00 if (1..=42).contains(&len) => HASH_IDENTITY,
            0x12 if len == 32 => HASH_SHA2_256,
            0x00 | 0x12 => return Err(PeerIdError::DigestLength(len)),
            other => return Err(PeerIdError::UnsupportedHash(other)),
        };
        match u64::try_from(digest.len()) {
            Ok(got) if got == len => Ok(Self::assemble(hash, digest)),
            Ok(got) if got < len => Err(PeerIdError::Truncated),
            _ => Err(PeerIdError::TrailingBytes),
        }
    }

    /// The multihash bytes, 3 to 44.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = usize::from(self.multihash[1]).saturating_add(2);
        self.multihash.get(..len).unwrap_or(&self.multihash)
    }

    /// The multihash bytes in a vector of their own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// The usual text: the multihash in base58btc, `12D3KooW..` for Ed25519 and `Qm..` for hashed keys.
    #[must_use]
    pub fn to_base58(&self) -> String {
        bs58::encode(self.as_bytes()).into_string()
    }

    /// The newer text: a CIDv1 of type `libp2p-key` in base 32, `bafz..`.
    #[must_use]
    pub fn to_cid(&self) -> String {
        let mut bytes = alloc::vec![CID_VERSION, CID_LIBP2P_KEY];
        bytes.extend_from_slice(self.as_bytes());
        let mut text = String::from("b");
        text.push_str(&BASE32_NOPAD.encode(&bytes));
        text.make_ascii_lowercase();
        text
    }

    /// A form for logs: the first two and the last six characters of the text, as go-libp2p prints it.
    #[must_use]
    pub fn short(&self) -> impl fmt::Display + fmt::Debug + use<> {
        Short(*self)
    }

    /// The public key, if the id holds it: always for Ed25519 and Secp256k1, never for ECDSA and RSA.
    ///
    /// `None` too if the inlined bytes are no supported key, or not the canonical message of one.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        match self.as_bytes() {
            [HASH_IDENTITY, _, message @ ..] => PublicKey::from_protobuf(message)
                .ok()
                .filter(|key| Self::from_public_key(key) == *self),
            _ => None,
        }
    }

    /// Whether this is the id of the peer that owns `key`.
    #[must_use]
    pub fn is_of(&self, key: &PublicKey) -> bool {
        Self::from_public_key(key) == *self
    }

    /// The caller has checked that `digest` is at most 42 bytes.
    fn assemble(hash: u8, digest: &[u8]) -> Self {
        let mut multihash = [0; Self::MAX_LEN];
        let [code, len, room @ ..] = &mut multihash;
        *code = hash;
        *len = u8::try_from(digest.len()).unwrap_or(u8::MAX);
        for (place, byte) in room.iter_mut().zip(digest) {
            *place = *byte;
        }
        Self { multihash }
    }

    fn base58<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        let mut buffer = [0; MAX_BASE58];
        let len = bs58::encode(self.as_bytes())
            .onto(buffer.as_mut_slice())
            .unwrap_or(0);
        let text = buffer
            .get(..len)
            .and_then(|text| core::str::from_utf8(text).ok());
        with(text.unwrap_or_default())
    }
}

fn number(input: &[u8]) -> Result<(u64, &[u8]), PeerIdError> {
    varint::split(input)
        .map_err(|_| PeerIdError::Varint)?
        .ok_or(PeerIdError::Truncated)
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    /// Reads either text form. Other multibase encodings of the CID are taken too (base 16, 36, 58, 64).
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        if text.starts_with('1') || text.starts_with("Qm") {
            let mut buffer = [0; Self::MAX_LEN];
            let len = bs58::decode(text)
                .onto(buffer.as_mut_slice())
                .map_err(|_| PeerIdError::Text)?;
            return Self::from_bytes(buffer.get(..len).unwrap_or_default());
        }
        let bytes = multibase::decode(text)?;
        let (version, rest) = number(&bytes)?;
        if version != u64::from(CID_VERSION) {
            return Err(PeerIdError::CidVersion(version));
        }
        let (codec, multihash) = number(rest)?;
        if codec != u64::from(CID_LIBP2P_KEY) {
            return Err(PeerIdError::CidCodec(codec));
        }
        Self::from_bytes(multihash)
    }
}

impl TryFrom<&[u8]> for PeerId {
    type Error = PeerIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, PeerIdError> {
        Self::from_bytes(bytes)
    }
}

impl From<&PublicKey> for PeerId {
    fn from(key: &PublicKey) -> Self {
        Self::from_public_key(key)
    }
}

impl AsRef<[u8]> for PeerId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl core::hash::Hash for PeerId {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base58(|text| f.pad(text))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", Short(*self))
    }
}

struct Short(PeerId);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.base58(|text| {
            let tail = text.len().checked_sub(6).filter(|at| *at > 2);
            match (text.get(..2), tail.and_then(|at| text.get(at..))) {
                (Some(head), Some(tail)) => write!(f, "{head}*{tail}"),
                _ => f.write_str(text),
            }
        })
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
