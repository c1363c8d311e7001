//! Which stream ids the peer has used.

use alloc::collections::BTreeMap;

/// Ranges of skipped ids kept. Peers skip few: only streams whose first frames overtake each other.
const MAX_RANGES: usize = 256;

/// Tells a new id from one used before, in bounded memory.
///
/// Ids must not be reused, but they need not arrive in order: rust-yamux numbers a stream when it is opened and sends SYN
/// with its first data, so a later stream may be heard of first.
#[derive(Debug, Default)]
pub(super) struct RemoteIds {
    highest: u32,
    /// Skipped ids below `highest`, as first -> last; the forgotten ones count as used.
    skipped: BTreeMap<u32, u32>,
}

impl RemoteIds {
    /// Marks `id` as used; false if it was used before. All ids have the same parity.
    pub(super) fn claim(&mut self, id: u32) -> bool {
        if id > self.highest {
            let first = if self.highest == 0 {
                2u32.saturating_sub(id & 1)
            } else {
                self.highest.saturating_add(2)
            };
            if first < id {
                self.skipped.insert(first, id.saturating_sub(2));
                if self.skipped.len() > MAX_RANGES {
                    self.skipped.pop_first();
                }
            }
            self.highest = id;
            return true;
        }
        let Some((&first, &last)) = self.skipped.range(..=id).next_back() else {
            return false;
        };
        if id > last {
            return false;
        }
        self.skipped.remove(&first);
        if first < id {
            self.skipped.insert(first, id.saturating_sub(2));
        }
        if id < last {
            self.skipped.insert(id.saturating_add(2), last);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_can_be_claimed_once(parity in 0u32..2, ids in prop::collection::vec(0u32..300, 0..400)) {
            let (mut ids_seen, mut model) = (RemoteIds::default(), BTreeSet::new());
            for id in ids {
                let id = id * 2 + 2 - parity;
                prop_assert_eq!(ids_seen.claim(id), model.insert(id), "id {}", id);
            }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_skipped() {
        let mut ids = RemoteIds::default();
        for n in 1..10_000u32 {
            assert!(ids.claim(n * 200 + 1));
            assert!(ids.skipped.len() <= MAX_RANGES);
        }
        assert!(ids.claim(u32::MAX));
        assert!(!ids.claim(u32::MAX));
    }
}
