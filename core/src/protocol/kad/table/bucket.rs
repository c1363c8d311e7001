//! The peers at one order of distance.

use super::entry::{Entry, Status};
use crate::{
    identity::PeerId,
    protocol::kad::{Distance, Key},
    time::Instant,
};
use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;
use rand_core::Rng;

/// A bucket with something in it.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) index: u8,
    /// Those disconnected, the least recently so first; then those connected, likewise.
    pub(super) entries: Vec<Entry>,
    pub(super) pending: Option<Box<Pending>>,
}

/// A peer for which there is no room yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    /// Who must go, unless it shows that it is alive.
    pub(super) probe: PeerId,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
}

impl Bucket {
    pub(super) const fn new(index: u8) -> Self {
        Self {
            index,
            entries: Vec::new(),
            pending: None,
        }
    }

    pub(super) fn position(&self, peer: &PeerId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.peer() == peer)
    }

    pub(super) fn pending_mut(&mut self, peer: &PeerId) -> Option<&mut Pending> {
        self.pending
            .as_deref_mut()
            .filter(|pending| pending.entry.peer() == peer)
    }

    pub(super) fn is_pending(&self, peer: &PeerId) -> bool {
        let pending = self.pending.as_deref();
        pending.is_some_and(|pending| pending.entry.peer() == peer)
    }

    /// Whether a newcomer waits for the place of this peer.
    pub(super) fn probes(&self, peer: &PeerId) -> bool {
        let pending = self.pending.as_deref();
        pending.is_some_and(|pending| pending.probe == *peer)
    }

    /// Puts an entry where its status says, as the most recent of its kind. There must be room.
    pub(super) fn push(&mut self, entry: Entry, size: usize) {
        if self.entries.len() == self.entries.capacity() {
            // No more than will ever be needed.
            let more = self.entries.len().max(4);
            let room = size.saturating_sub(self.entries.len());
            self.entries.reserve_exact(more.min(room));
        }
        let at = match entry.status {
            Status::Connected => self.entries.len(),
            Status::Disconnected => self.entries.partition_point(|other| !other.is_connected()),
        };
        self.entries.insert(at, entry);
    }

    /// The least recently disconnected of those that are not alive.
    pub(super) fn replaceable(&self, now: Instant, liveness: Duration) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| !is_live(entry, now, liveness))
    }

    pub(super) fn is_unused(&self) -> bool {
        self.entries.is_empty() && self.pending.is_none()
    }
}

/// Whether an entry is connected, or has answered a shorter time ago than that and not failed since.
pub(super) fn is_live(entry: &Entry, now: Instant, liveness: Duration) -> bool {
    let answered = entry.last_success.filter(|_| entry.failures == 0);
    entry.is_connected() || answered.is_some_and(|at| now - at < liveness)
}

/// A look at the bucket of one order of distance.
#[derive(Clone, Copy, Debug)]
pub struct BucketRef<'a> {
    pub(super) index: u8,
    pub(super) local: &'a Key,
    pub(super) bucket: Option<&'a Bucket>,
}

impl<'a> BucketRef<'a> {
    /// Its number: the logarithm of the distances in it. 0 holds but one position, 255 half of the key space.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// The least and the greatest distance from the own position of what belongs in here.
    #[must_use]
    pub fn range(&self) -> (Distance, Distance) {
        let (mut least, mut greatest) = ([0; 32], [0; 32]);
        self.fill(&mut least, 0);
        self.fill(&mut greatest, 0xff);
        (
            Distance::from_bytes(&least),
            Distance::from_bytes(&greatest),
        )
    }

    /// Sets the bit that makes the bucket, clears those above, and makes the lower ones those of `low`.
    fn fill(&self, bytes: &mut [u8; 32], low: u8) {
        bytes.fill(low);
        self.narrow(bytes);
    }

    /// Changes the highest bits so that the distance is in this bucket.
    fn narrow(&self, bytes: &mut [u8; 32]) {
        let highest = 31_usize.saturating_sub(usize::from(self.index >> 3));
        let bit = 1_u8 << (self.index & 7);
        for (at, byte) in bytes.iter_mut().enumerate() {
            if at < highest {
                *byte = 0;
            } else if at == highest {
                *byte = (*byte & bit.wrapping_sub(1)) | bit;
            }
        }
    }

    /// Whether a peer at this distance belongs in here.
    #[must_use]
    pub fn contains(&self, distance: &Distance) -> bool {
        distance.ilog2() == Some(self.index)
    }

    /// Any distance that belongs in here, all with the same probability.
    #[must_use]
    pub fn random_distance(&self, rng: &mut impl Rng) -> Distance {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        self.narrow(&mut bytes);
        Distance::from_bytes(&bytes)
    }

    /// Any position that belongs in here, all with the same probability.
    #[must_use]
    pub fn random_key(&self, rng: &mut impl Rng) -> Key {
        self.local.at_distance(&self.random_distance(rng))
    }

    /// How many peers are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bucket.map_or(0, |bucket| bucket.entries.len())
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a peer waits for room.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.pending().is_some()
    }

    /// The peer that waits for room.
    #[must_use]
    pub fn pending(&self) -> Option<&'a Entry> {
        Some(&self.bucket?.pending.as_ref()?.entry)
    }

    /// Its peers: those disconnected, the least recently so first; then those connected, likewise.
    pub fn iter(&self) -> core::slice::Iter<'a, Entry> {
        let entries: &'a [Entry] = self.bucket.map_or(&[], |bucket| &bucket.entries);
        entries.iter()
    }
}

impl<'a> IntoIterator for &BucketRef<'a> {
    type Item = &'a Entry;
    type IntoIter = core::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
