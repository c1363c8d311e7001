//! The peers of the table by their distance from a position.

use super::{Entry, bucket::Bucket};
use crate::protocol::kad::{Distance, Key};
use smallvec::SmallVec;

/// The peers of a table, the closest to a position first. One bucket after the other is looked at, when it is needed.
///
/// Let the distance from the own position to the target be d. A peer in bucket i has the bits of d above bit i, and the
/// opposite of bit i, in its distance to the target. So the buckets where d has a 1 hold who is closer than d, the
/// highest such bucket the closest; and those where d has a 0 who is farther, the highest the farthest.
#[derive(Clone, Debug)]
pub struct Closest<'a> {
    target: Key,
    buckets: &'a [Bucket],
    /// The distance from the own position.
    own: Distance,
    /// How many buckets were not looked at on the way in, to be looked at from the last; and on the way out how many
    /// were, from the first.
    way: Way,
    /// Of one bucket, the farthest first.
    scratch: SmallVec<[(Distance, &'a Entry); 20]>,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    In(usize),
    Out(usize),
}

impl<'a> Closest<'a> {
    pub(super) fn new(local: &Key, target: Key, buckets: &'a [Bucket]) -> Self {
        Self {
            target,
            buckets,
            own: local.distance(&target),
            way: Way::In(buckets.len()),
            scratch: SmallVec::new(),
        }
    }

    fn next_bucket(&mut self) -> Option<&'a Bucket> {
        loop {
            let (at, inwards) = match self.way {
                Way::In(0) => {
                    self.way = Way::Out(0);
                    continue;
                }
                Way::In(left) => {
                    let at = left.saturating_sub(1);
                    self.way = Way::In(at);
                    (at, true)
                }
                Way::Out(at) => {
                    self.way = Way::Out(at.saturating_add(1));
                    (at, false)
                }
            };
            let bucket = self.buckets.get(at)?;
            if has_bit(&self.own, bucket.index) == inwards {
                return Some(bucket);
            }
        }
    }
}

impl<'a> Iterator for Closest<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        while self.scratch.is_empty() {
            let bucket = self.next_bucket()?;
            let target = self.target;
            let entries = bucket.entries.iter();
            self.scratch
                .extend(entries.map(|entry| (entry.position().distance(&target), entry)));
            self.scratch
                .sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        }
        self.scratch.pop().map(|(_, entry)| entry)
    }
}

impl core::iter::FusedIterator for Closest<'_> {}

/// Whether a bit of a distance is 1.
pub(super) fn has_bit(distance: &Distance, bit: u8) -> bool {
    let at = 31_usize.saturating_sub(usize::from(bit >> 3));
    let byte = distance.to_bytes().get(at).copied().unwrap_or(0);
    byte & (1 << (bit & 7)) != 0
}
