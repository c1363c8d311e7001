//! The key space: positions, and the distance between them.

use crate::identity::PeerId;
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;
use sha2::{Digest, Sha256};

/// A position in the key space: the SHA-256 of a peer id's bytes, or of a record's key
/// ([kad-dht specification](https://github.com/libp2p/specs/blob/master/kad-dht/README.md)).
///
/// ```
/// use drywire::protocol::kad::{Key, RecordKey};
///
/// let (one, other) = (Key::of(b"one"), RecordKey::from("other").position());
/// assert_eq!(one.distance(&other), other.distance(&one));
/// assert!(one.distance(&one).is_zero());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u64; 4]);

impl Key {
    /// The position of whatever these bytes name.
    #[must_use]
    pub fn of(preimage: &[u8]) -> Self {
        Self::from_bytes(&Sha256::digest(preimage).into())
    }

    /// The position of a peer.
    #[must_use]
    pub fn of_peer(peer: &PeerId) -> Self {
        Self::of(peer.as_bytes())
    }

    /// The position with these 32 bytes, the highest first. Nothing is hashed.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(words(bytes))
    }

    /// The 32 bytes of the position, the highest first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        bytes(self.0)
    }

    /// How far another position is: the exclusive or of both, as a number.
    #[must_use]
    pub const fn distance(&self, other: &Self) -> Distance {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Distance([a ^ e, b ^ f, c ^ g, d ^ h])
    }

    /// The one position at this distance.
    #[must_use]
    pub const fn at_distance(&self, distance: &Distance) -> Self {
        Self(self.distance(&Self(distance.0)).0)
    }
}

impl From<PeerId> for Key {
    fn from(peer: PeerId) -> Self {
        Self::of_peer(&peer)
    }
}

impl From<&RecordKey> for Key {
    fn from(key: &RecordKey) -> Self {
        key.position()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// In hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

/// The distance between two [`Key`]s: a number of 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Distance([u64; 4]);

impl Distance {
    /// No distance.
    pub const ZERO: Self = Self([0; 4]);
    /// The greatest distance.
    pub const MAX: Self = Self([u64::MAX; 4]);

    /// From 32 bytes, the highest first.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(words(bytes))
    }

    /// As 32 bytes, the highest first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        bytes(self.0)
    }

    /// Whether the two positions are the same.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// How many of the highest bits are 0, at most 256: the length of the prefix the two positions have in common.
    #[must_use]
    pub fn leading_zeros(&self) -> u32 {
        let mut zeros: u32 = 0;
        for word in self.0 {
            zeros = zeros.saturating_add(word.leading_zeros());
            if word != 0 {
                break;
            }
        }
        zeros
    }

    /// The number of the highest bit that is 1, from 0 to 255: which k-bucket a peer at this distance belongs in. `None`
    /// for no distance.
    #[must_use]
    pub fn ilog2(&self) -> Option<u8> {
        u8::try_from(255_u32.checked_sub(self.leading_zeros())?).ok()
    }

    /// The distance as a fraction of the whole key space, from 0 to 1. Only as exact as an `f64`.
    #[must_use]
    pub fn as_fraction(&self) -> f64 {
        let [high, next, ..] = self.0;
        // Powers of floating point numbers are not part of `core`.
        const WORD: f64 = 1.0 / 18_446_744_073_709_551_616.0;
        (next as f64 * WORD + high as f64) * WORD
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distance({})", Key(self.0))
    }
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    let mut all = [0; 4];
    for (word, bytes) in all.iter_mut().zip(words) {
        *word = u64::from_be_bytes(*bytes);
    }
    all
}

fn bytes(words: [u64; 4]) -> [u8; 32] {
    let mut all = [0; 32];
    let (chunks, _) = all.as_chunks_mut::<8>();
    for (bytes, word) in chunks.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    all
}

/// What a record, or a provider record, is found by: any bytes. Clones share them.
///
/// Keys of providers are multihashes by convention, not CIDs; those of records begin with a namespace (`/pk/`, `/ipns/`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordKey(Bytes);

impl RecordKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// A key of a copy of these bytes.
    #[must_use]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// The key of a peer's public key: `/pk/` and the peer id's bytes.
    #[must_use]
    pub fn of_public_key(peer: &PeerId) -> Self {
        Self::in_namespace("pk", peer.as_bytes())
    }

    /// The key of the [IPNS](https://specs.ipfs.tech/ipns/ipns-record/) record of a name: `/ipns/` and the peer id's bytes.
    #[must_use]
    pub fn of_ipns_name(name: &PeerId) -> Self {
        Self::in_namespace("ipns", name.as_bytes())
    }

    /// `/namespace/` and the rest.
    #[must_use]
    pub fn in_namespace(namespace: &str, rest: &[u8]) -> Self {
        let parts = [b"/", namespace.as_bytes(), b"/", rest];
        Self(parts.concat().into())
    }

    /// The namespace and the rest of a key of the form `/namespace/rest`, both not empty.
    #[must_use]
    pub fn namespace(&self) -> Option<(&[u8], &[u8])> {
        let rest = self.0.strip_prefix(b"/")?;
        let mut parts = rest.splitn(2, |byte| *byte == b'/');
        let (namespace, rest) = (parts.next()?, parts.next()?);
        (!namespace.is_empty() && !rest.is_empty()).then_some((namespace, rest))
    }

    /// Where in the key space it is.
    #[must_use]
    pub fn position(&self) -> Key {
        Key::of(&self.0)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, shared.
    #[must_use]
    pub fn to_shared(&self) -> Bytes {
        self.0.clone()
    }
}

impl From<Bytes> for RecordKey {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for RecordKey {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for RecordKey {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for RecordKey {
    fn from(text: &str) -> Self {
        Self::copy_from_slice(text.as_bytes())
    }
}

impl From<PeerId> for RecordKey {
    fn from(peer: PeerId) -> Self {
        Self::copy_from_slice(peer.as_bytes())
    }
}

impl AsRef<[u8]> for RecordKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({self})")
    }
}

/// As text, where bytes that are no printable ASCII are escaped.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Key> {
        any::<[u8; 32]>().prop_map(|bytes| Key::from_bytes(&bytes))
    }

    /// The sum of two distances; `None` if it does not fit.
    fn sum(a: Distance, b: Distance) -> Option<Distance> {
        let mut all = [0_u64; 4];
        let mut carry = false;
        for at in (0..4).rev() {
            let (part, first) = a.0[at].overflowing_add(b.0[at]);
            let (part, second) = part.overflowing_add(u64::from(carry));
            (all[at], carry) = (part, first || second);
        }
        (!carry).then_some(Distance(all))
    }

    proptest! {
        #[test]
        fn the_distance_is_a_metric(a in position(), b in position(), c in position()) {
            prop_assert!(a.distance(&a).is_zero());
            prop_assert_eq!(a.distance(&b), b.distance(&a));
            prop_assert_eq!(a == b, a.distance(&b).is_zero());
            if let Some(detour) = sum(a.distance(&b), b.distance(&c)) {
                prop_assert!(a.distance(&c) <= detour);
            }
        }

        #[test]
        fn one_position_is_at_each_distance(a in position(), bytes in any::<[u8; 32]>()) {
            let distance = Distance::from_bytes(&bytes);
            prop_assert_eq!(a.distance(&a.at_distance(&distance)), distance);
            prop_assert_eq!(distance.to_bytes(), bytes);
        }

        #[test]
        fn the_logarithm_is_that_of_the_number(bit in 0_usize..256, low in any::<[u8; 32]>()) {
            let mut bytes = low;
            for above in bit..256 {
                bytes[31 - above / 8] &= !(1 << (above % 8));
            }
            bytes[31 - bit / 8] |= 1 << (bit % 8);
            let distance = Distance::from_bytes(&bytes);
            prop_assert_eq!(distance.ilog2(), Some(bit as u8));
            prop_assert_eq!(distance.leading_zeros(), 255 - bit as u32);
        }
    }

    #[test]
    fn nothing_is_nowhere() {
        assert_eq!(Distance::ZERO.ilog2(), None);
        assert_eq!(Distance::ZERO.leading_zeros(), 256);
        assert_eq!(Distance::MAX.ilog2(), Some(255));
        assert!((Distance::MAX.as_fraction() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn each_bit_is_twice_the_fraction_of_the_next() {
        let mut expected = 0.5;
        for bit in 0..256 {
            let mut bytes = [0; 32];
            bytes[bit / 8] = 0x80 >> (bit % 8);
            let fraction = Distance::from_bytes(&bytes).as_fraction();
            // What lies below the second word is too small to tell.
            assert_eq!(fraction, if bit < 128 { expected } else { 0.0 }, "{bit}");
            expected /= 2.0;
        }
    }

    /// Those of <https://specs.ipfs.tech/routing/kad-dht/>.
    #[test]
    fn positions_are_those_that_others_compute() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let peer = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS";
        let peer: PeerId = peer.parse().unwrap();
        let multihash = "1220e536c7f88d731f374dccb568aff6f56e838a19382e488039b1ca8ad2599e82fe";
        let bytes = "0024080112209e3b433cbd31c2b8a6ebbdca998bd0f4c2141c9c9af5422e976051b1e63af14d";
        assert_eq!(peer.to_bytes(), hex(bytes));
        for (key, position) in [
            (
                Key::of_peer(&peer),
                "e43d28f0996557c0d5571d75c62a57a59d7ac1d30a51ecedcdb9d5e4afa56100",
            ),
            (
                RecordKey::new(hex(multihash)).position(),
                "d623250f3f660ab4c3a53d3c97b3f6a0194c548053488d093520206248253bcb",
            ),
        ] {
            assert_eq!(std::format!("{key}"), position);
            assert_eq!(key.to_bytes(), hex(position)[..]);
        }
    }

    #[test]
    fn keys_have_a_namespace_or_none() {
        let key = |text: &str| RecordKey::from(text);
        assert_eq!(key("/pk/x/y").namespace(), Some((&b"pk"[..], &b"x/y"[..])));
        for none in ["", "/", "pk/x", "//x", "/pk", "/pk/"] {
            assert_eq!(key(none).namespace(), None, "{none}");
        }
    }
}
