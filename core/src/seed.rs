//! The only door through which randomness enters.
//!
//! A [`Seed`] is 32 bytes given by the host. Machines never share a generator: each derives its own seed by a
//! label, so the draws of one component do not shift another's, and a parent ratchets one way when it hands a
//! seed to a child, so that a later leak of the parent does not open the child's past.

use chacha20::ChaCha20Rng;
use core::fmt;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// The generator drawn from a [`Seed`]: ChaCha20, the same bytes on every platform.
pub type Rng = ChaCha20Rng;

/// 32 bytes from which all of a machine's randomness is derived. Wiped when dropped.
///
/// ```
/// use drywire::seed::Seed;
///
/// let mut root = Seed::for_tests(7);
/// let first = root.next_child("connection");
/// let second = root.next_child("connection");
/// assert_ne!(first, second);
/// assert_eq!(Seed::for_tests(7).next_child("connection"), first);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed for real use: 32 bytes from the operating system's generator.
    ///
    /// Everything secret (keys of handshakes, nonces) follows from these bytes.
    #[must_use]
    pub const fn from_entropy(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A predictable seed for tests and simulations. Never use it where secrecy matters.
    #[must_use]
    pub fn for_tests(number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"drywire seed for tests");
        hash.update(number.to_le_bytes());
        Self(hash.finalize().into())
    }

    /// The seed of the component named `label`. Two labels give independent seeds; `self` is unchanged.
    #[must_use]
    pub fn derive(&self, label: &str) -> Self {
        self.hash_with(b"derive", label)
    }

    /// Hands out the seed of one more child and replaces `self` by its one-way successor.
    #[must_use]
    pub fn next_child(&mut self, label: &str) -> Self {
        let child = self.hash_with(b"child", label);
        let next = self.hash_with(b"ratchet", "");
        self.0.zeroize();
        self.0.copy_from_slice(&next.0);
        child
    }

    /// The bytes, all secret.
    #[cfg(feature = "recording")]
    pub(crate) const fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// A generator started from this seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        ChaCha20Rng::from_seed(self.0)
    }

    /// The two keys of a SipHash, for hash maps whose keys a peer can choose.
    #[must_use]
    pub fn hash_keys(&self) -> (u64, u64) {
        let derived = self.hash_with(b"derive", "hash keys");
        let word = |at: usize| {
            derived
                .0
                .iter()
                .skip(at)
                .take(8)
                .fold(0u64, |word, byte| (word << 8) | u64::from(*byte))
        };
        (word(0), word(8))
    }

    fn hash_with(&self, purpose: &[u8], label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(purpose);
        hash.update([0]);
        hash.update(label.as_bytes());
        hash.update([0]);
        hash.update(self.0);
        Self(hash.finalize().into())
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng as _;

    #[test]
    fn children_and_labels_are_independent_and_reproducible() {
        let mut a = Seed::for_tests(1);
        let mut b = Seed::for_tests(1);
        assert_eq!(a.derive("x"), b.derive("x"));
        assert_ne!(a.derive("x"), a.derive("y"));
        let before = a.derive("x");
        assert_eq!(a.next_child("c"), b.next_child("c"));
        assert_ne!(a.derive("x"), before, "the parent has moved on");
        assert_eq!(a.rng().next_u64(), b.rng().next_u64());
        assert_ne!(a.hash_keys().0, a.hash_keys().1);
    }

    #[test]
    fn a_seed_does_not_print_its_bytes() {
        assert_eq!(std::format!("{:?}", Seed::for_tests(1)), "Seed(..)");
    }
}
