//! Hash maps whose keys a peer can choose: SipHash-1-3 keyed from the seed, so that nobody outside can make keys
//! collide, and the same seed gives the same map.

use crate::seed::Seed;
use core::hash::BuildHasher;
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
