//! Chance that repeats: the choices of randomised tests.

/// A stream of numbers that follow from a seed (SplitMix64). Of no use for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers that follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, and zero if that is zero.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % (limit.max(1) as u64)) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `items`.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Changes `bytes` in one of the ways in which bytes are changed by those who look for faults.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len());
        match self.below(8) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.roll() as u8,
            2 => bytes[at] = *self.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 => bytes.truncate(at),
            4 => bytes.insert(at, self.roll() as u8),
            5 => {
                bytes.remove(at);
            }
            6 => {
                // A piece comes twice.
                let end = (at + 1 + self.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                // A number becomes a great one.
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
        }
    }

    /// Sizes of pieces in which to cut something; many small ones, some great.
    pub fn pieces(&mut self) -> Vec<usize> {
        let count = 1 + self.below(4);
        (0..count)
            .map(|_| match self.below(3) {
                0 => 1 + self.below(3),
                1 => 1 + self.below(100),
                _ => 1 + self.below(5000),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_they_vary() {
        let (mut a, mut b, mut c) = (Dice::new(1), Dice::new(1), Dice::new(2));
        let rolls = |dice: &mut Dice| (0..100).map(|_| dice.below(10)).collect::<Vec<_>>();
        let first = rolls(&mut a);
        assert_eq!(first, rolls(&mut b));
        assert_ne!(first, rolls(&mut c));
        assert!((0..10).all(|number| first.contains(&number)));
    }
}
