//! What the adapter keeps of the streams of a connection.
//!
//! A node may have very many streams, most of them idle, so this is packed: the entries lie in a slab, found through a
//! hash table of their places, which costs five bytes a place where a map of entries would leave whole entries empty.

use core::task::Waker;
use drywire::connection::{StreamError, StreamId};
use hashbrown::HashTable;
use slab::Slab;

/// Room for so many entries is kept while there are none.
const KEPT: usize = 64;

/// What the adapter keeps of a stream.
#[derive(Debug)]
pub(crate) struct Entry {
    id: StreamId,
    /// Who waits to read, or for the answer to an open.
    pub(crate) read: Option<Waker>,
    /// Who waits to write.
    pub(crate) write: Option<Waker>,
    /// The peer agreed to the protocol.
    pub(crate) opened: bool,
    /// The core has forgotten the stream, or is about to; this is its last word.
    pub(crate) end: Option<Box<End>>,
}

/// How a stream ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Finished,
    Failed(StreamError),
}

/// One [`Entry`] for each stream handle alive.
#[derive(Debug, Default)]
pub(crate) struct StreamTable {
    entries: Slab<Entry>,
    /// Places in `entries`, by the hash of the stream's id.
    places: HashTable<u32>,
}

impl StreamTable {
    fn place_of(&self, id: StreamId) -> Option<usize> {
        let is_it = |place: &u32| is_at(&self.entries, *place, id);
        self.places
            .find(hash(id), is_it)
            .map(|place| *place as usize)
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Entry> {
        self.entries.get(self.place_of(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Entry> {
        self.entries.get_mut(self.place_of(id)?)
    }

    /// Makes an entry for a stream, if it has none.
    pub(crate) fn insert(&mut self, id: StreamId, opened: bool) {
        if self.get(id).is_some() {
            return;
        }
        let place = self.entries.insert(Entry {
            id,
            read: None,
            write: None,
            opened,
            end: None,
        });
        let entries = &self.entries;
        // Stream counts are capped far below 2^32.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.places.insert_unique(hash(id), place, |place| {
            entries
                .get(*place as usize)
                .map_or(0, |entry| hash(entry.id))
        });
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Entry> {
        let is_it = |place: &u32| is_at(&self.entries, *place, id);
        let (place, _) = self.places.find_entry(hash(id), is_it).ok()?.remove();
        let entry = self.entries.try_remove(place as usize);
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            *self = Self::default();
        }
        entry
    }

    /// All entries, in the same order in every run.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }
}

fn is_at(entries: &Slab<Entry>, place: u32, id: StreamId) -> bool {
    entries
        .get(place as usize)
        .is_some_and(|entry| entry.id == id)
}

/// Mixes a stream id, which only this side chooses: no peer can aim at collisions.
const fn hash(id: StreamId) -> u64 {
    // Fibonacci hashing; the rotation brings the well-mixed high bits to where the table looks.
    id.number()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(26)
}
