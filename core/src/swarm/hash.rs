//! Hash maps. Of keys a peer can choose: SipHash-1-3 keyed from the seed, so that nobody outside can make keys collide, and the
//! same seed gives the same map. Of numbers this node counts up itself: a multiplication.

use crate::seed::Seed;
use core::hash::{BuildHasher, BuildHasherDefault, Hasher};
use siphasher::sip::SipHasher13;

/// Builds the hashers of one swarm's maps, or one protocol's.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHash(u64, u64);

impl KeyedHash {
    pub(crate) fn new(seed: &Seed) -> Self {
        let (first, second) = seed.hash_keys();
        Self(first, second)
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A map that must not be iterated where the order could be seen.
pub(crate) type KeyedMap<K, V> = hashbrown::HashMap<K, V, KeyedHash>;

/// The hash of a number that is counted up: neighbours are far from each other in all bits that a table uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted(u64);

impl Hasher for Counted {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4).
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map by a number that this node counts up. It must not be iterated where the order could be seen.
pub(crate) type CountedMap<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<Counted>>;
