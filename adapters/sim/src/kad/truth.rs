//! Who is the closest to a position in truth: what lookups should find.

use drywire::protocol::kad::{Distance, Key};

/// All positions, sorted: the brute force that lookups are measured by.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    all: Vec<(Key, u32)>,
}

impl Truth {
    pub(super) fn of(mut all: Vec<(Key, u32)>) -> Self {
        all.sort_unstable();
        Self { all }
    }

    pub(super) fn insert(&mut self, position: Key, number: u32) {
        let entry = (position, number);
        if let Err(at) = self.all.binary_search(&entry) {
            self.all.insert(at, entry);
        }
    }

    pub(super) fn remove(&mut self, position: Key, number: u32) {
        if let Ok(at) = self.all.binary_search(&(position, number)) {
            self.all.remove(at);
        }
    }

    /// The `count` nodes closest to a position among those that `counts` accepts, the closest first.
    pub(super) fn closest(
        &self,
        target: &Key,
        count: usize,
        mut counts: impl FnMut(u32) -> bool,
    ) -> Vec<u32> {
        let mut found = Vec::with_capacity(count);
        walk(&self.all, 0, target, count, &mut counts, &mut found);
        found
    }

    /// All within the bucket `index` of the table of a node at `local`: a range of the sorted positions.
    pub(super) fn bucket(&self, local: &Key, index: u8) -> &[(Key, u32)] {
        let mut least = [0; 32];
        let mut greatest = [0; 32];
        let bytes = local.to_bytes();
        let bit = 255_usize - usize::from(index);
        for at in 0..256 {
            let own = bit_of(&bytes, at);
            let (low, high) = match at.cmp(&bit) {
                core::cmp::Ordering::Less => (own, own),
                core::cmp::Ordering::Equal => (!own, !own),
                core::cmp::Ordering::Greater => (false, true),
            };
            set_bit(&mut least, at, low);
            set_bit(&mut greatest, at, high);
        }
        let (least, greatest) = (Key::from_bytes(&least), Key::from_bytes(&greatest));
        let from = self.all.partition_point(|(key, _)| *key < least);
        let to = self.all.partition_point(|(key, _)| *key <= greatest);
        self.all.get(from..to).unwrap_or_default()
    }
}

/// Walks the tree of positions towards the target, from the near side outwards.
fn walk(
    all: &[(Key, u32)],
    bit: usize,
    target: &Key,
    count: usize,
    counts: &mut impl FnMut(u32) -> bool,
    found: &mut Vec<u32>,
) {
    if found.len() >= count {
        return;
    }
    if all.len() <= 8 || bit > 255 {
        let mut few: Vec<(Distance, u32)> = all
            .iter()
            .map(|(key, number)| (key.distance(target), *number))
            .collect();
        few.sort_unstable();
        for (_, number) in few {
            if found.len() < count && counts(number) {
                found.push(number);
            }
        }
        return;
    }
    let middle = all.partition_point(|(key, _)| !bit_of(&key.to_bytes(), bit));
    let (zeros, ones) = all.split_at(middle);
    let (near, far) = if bit_of(&target.to_bytes(), bit) {
        (ones, zeros)
    } else {
        (zeros, ones)
    };
    walk(near, bit + 1, target, count, counts, found);
    walk(far, bit + 1, target, count, counts, found);
}

fn bit_of(bytes: &[u8; 32], at: usize) -> bool {
    bytes
        .get(at / 8)
        .is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

fn set_bit(bytes: &mut [u8; 32], at: usize, on: bool) {
    if let Some(byte) = bytes.get_mut(at / 8).filter(|_| on) {
        *byte |= 0x80 >> (at % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(count: u32) -> Vec<(Key, u32)> {
        (0..count)
            .map(|number| (Key::of(&number.to_le_bytes()), number))
            .collect()
    }

    #[test]
    fn the_walk_finds_what_sorting_all_by_distance_finds() {
        let all = positions(500);
        let truth = Truth::of(all.clone());
        for target in 0..50_u32 {
            let target = Key::of(&(target + 10_000).to_le_bytes());
            let mut sorted = all.clone();
            sorted.sort_by_key(|(key, _)| key.distance(&target));
            let expected: Vec<u32> = sorted
                .iter()
                .map(|(_, number)| *number)
                .filter(|number| number % 3 != 0)
                .take(20)
                .collect();
            assert_eq!(
                truth.closest(&target, 20, |number| number % 3 != 0),
                expected
            );
        }
    }

    #[test]
    fn buckets_are_those_of_a_routing_table() {
        let all = positions(300);
        let mut truth = Truth::of(all.clone());
        let (local, own) = (Key::of(b"here"), 1_000);
        truth.insert(local, own);
        let mut seen = 0;
        for index in 0..=255 {
            let bucket = truth.bucket(&local, index);
            assert!(
                bucket
                    .iter()
                    .all(|(key, _)| key.distance(&local).ilog2() == Some(index))
            );
            seen += bucket.len();
        }
        assert_eq!(seen, 300);
        truth.remove(local, own);
        assert_eq!(truth.closest(&local, 1_000, |_| true).len(), 300);
    }
}
