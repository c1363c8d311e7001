//! Which records are kept: keys, sizes and times, without saying where the values are.

use super::{MemoryStoreConfig, Origin, StoreError};
use crate::{
    identity::PeerId,
    protocol::kad::{
        key::{Distance, Key, RecordKey},
        record::Record,
        validator::Validator,
    },
    time::UnixTime,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bytes::Bytes;
use core::ops::Bound;

/// What decides in a store which records are kept, for whoever writes one: all limits of a [`MemoryStoreConfig`] but those of
/// providers, and no more about the value of a record than `V`, by which the store finds it.
#[derive(Debug)]
pub struct RecordTable<V> {
    local: Option<Key>,
    config: MemoryStoreConfig,
    entries: BTreeMap<RecordKey, RecordEntry<V>>,
    /// Of peers alone: who has to go first is the last.
    by_distance: BTreeSet<(Distance, RecordKey)>,
    by_expiry: BTreeSet<(UnixTime, RecordKey)>,
    per_peer: BTreeMap<PeerId, usize>,
    bytes: usize,
    own_bytes: usize,
}

/// A record in a [`RecordTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEntry<V> {
    /// Where the value is.
    pub value: V,
    /// The length of the value, in bytes.
    pub value_len: usize,
    /// As in [`Record::publisher`].
    pub publisher: Option<PeerId>,
    /// As in [`Record::expires`].
    pub expires: Option<UnixTime>,
    /// For whom it is there: the peer that stored it first, however often others have renewed it since.
    pub origin: Origin,
}

impl<V> RecordEntry<V> {
    /// Whether it is no longer valid.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Whether it is there for this node itself.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.origin == Origin::Local
    }
}

/// What is to be done with a record that may be kept.
enum Outcome {
    /// What is there stays, and lasts until then.
    Prolong(Option<UnixTime>),
    /// It is written, for whom and until when.
    Write(Origin, Option<UnixTime>),
}

impl<V: From<Bytes>> RecordTable<V> {
    /// An empty table of the node at `local`. Without a position no record is nearer than another, and a full table refuses.
    #[must_use]
    pub fn new(local: Option<Key>, config: MemoryStoreConfig) -> Self {
        Self {
            local,
            config,
            entries: BTreeMap::new(),
            by_distance: BTreeSet::new(),
            by_expiry: BTreeSet::new(),
            per_peer: BTreeMap::new(),
            bytes: 0,
            own_bytes: 0,
        }
    }

    /// How many records there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values: of peers, and of this node.
    #[must_use]
    pub const fn bytes(&self) -> (usize, usize) {
        (self.bytes, self.own_bytes)
    }

    /// What is there under a key, even if it has expired.
    #[must_use]
    pub fn get(&self, key: &RecordKey) -> Option<&RecordEntry<V>> {
        self.entries.get(key)
    }

    /// The same, to change where its value is.
    pub fn value_mut(&mut self, key: &RecordKey) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// What is there in the order of the keys, those after `after`, expired ones included.
    pub fn iter_after(
        &self,
        after: Option<&RecordKey>,
    ) -> impl Iterator<Item = (&RecordKey, &RecordEntry<V>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded))
    }

    /// Forgets what has expired. Costs what it forgets. To be called before [`put`](Self::put).
    pub fn remove_expired(&mut self, now: UnixTime) -> Vec<RecordKey> {
        let mut gone = Vec::new();
        while let Some((expires, key)) = self.by_expiry.first() {
            if *expires > now {
                break;
            }
            let key = key.clone();
            self.remove(&key);
            gone.push(key);
        }
        gone
    }

    /// Keeps a record, if the limits allow and the validator does not prefer what is there; otherwise nothing changes. Gives
    /// the keys of those that had to go for it. One that has expired already is not kept.
    ///
    /// - A value that is there already only lasts longer, never shorter, if a peer sends it again: nobody can make a record
    ///   expire by replaying it.
    /// - A record of this node stays one when a peer brings a better value, and lasts as long as this node wanted. It does not
    ///   give way to one that is only as good.
    ///
    /// `read` gives the value of what is there, `None` if that is lost.
    ///
    /// # Errors
    /// The limit that it is over, [`StoreError::Older`], or what `read` says.
    pub fn put(
        &mut self,
        record: &Record,
        origin: Origin,
        validator: &dyn Validator,
        now: UnixTime,
        read: impl FnOnce(&V) -> Result<Option<Bytes>, StoreError>,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let key = &record.key;
        if record.value.len() > self.config.max_value_bytes
            || key.as_bytes().len() > self.config.max_key_bytes
        {
            return Err(StoreError::ValueTooLarge);
        }
        if record.is_expired(now) {
            return Ok(Vec::new());
        }
        let old = self.entries.get(key).filter(|old| !old.is_expired(now));
        let outcome = match old {
            None => Outcome::Write(origin, record.expires),
            Some(old) => {
                let value =
                    read(&old.value)?.filter(|value| validator.validate(key, value, now).is_ok());
                decide(old, value.as_deref(), record, origin, validator)?
            }
        };
        match outcome {
            Outcome::Prolong(expires) => {
                self.prolong(key, expires);
                Ok(Vec::new())
            }
            // Copies, lest they keep the buffer of the message alive that brought them.
            Outcome::Write(origin, expires) => self.insert(
                RecordKey::copy_from_slice(key.as_bytes()),
                RecordEntry {
                    value: V::from(Bytes::copy_from_slice(&record.value)),
                    value_len: record.value.len(),
                    publisher: record.publisher,
                    expires,
                    origin,
                },
            ),
        }
    }

    /// Puts an entry in its place, whatever is there, if the limits allow; otherwise nothing changes. Gives the keys of those
    /// that had to go for it.
    ///
    /// # Errors
    /// The limit that it is over.
    pub fn insert(
        &mut self,
        key: RecordKey,
        entry: RecordEntry<V>,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let victims = self.make_room(&key, &entry)?;
        for victim in &victims {
            self.remove(victim);
        }
        self.remove(&key);
        let bytes = size(&key, &entry);
        match entry.origin {
            Origin::Local => self.own_bytes = self.own_bytes.saturating_add(bytes),
            Origin::Peer(peer) => {
                self.bytes = self.bytes.saturating_add(bytes);
                let count = self.per_peer.entry(peer).or_default();
                *count = count.saturating_add(1);
                self.by_distance.insert((self.distance(&key), key.clone()));
            }
        }
        if let Some(expires) = entry.expires {
            self.by_expiry.insert((expires, key.clone()));
        }
        self.entries.insert(key, entry);
        Ok(victims)
    }

    /// Forgets what is there under a key.
    pub fn remove(&mut self, key: &RecordKey) -> Option<RecordEntry<V>> {
        let (key, entry) = self.entries.remove_entry(key)?;
        let bytes = size(&key, &entry);
        if let Some(expires) = entry.expires {
            self.by_expiry.remove(&(expires, key.clone()));
        }
        match entry.origin {
            Origin::Local => self.own_bytes = self.own_bytes.saturating_sub(bytes),
            Origin::Peer(peer) => {
                self.bytes = self.bytes.saturating_sub(bytes);
                release(&mut self.per_peer, &peer);
                self.by_distance.remove(&(self.distance(&key), key));
            }
        }
        Some(entry)
    }

    fn prolong(&mut self, key: &RecordKey, expires: Option<UnixTime>) {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return;
        };
        if let Some(before) = entry.expires {
            self.by_expiry.remove(&(before, key.clone()));
        }
        if let Some(expires) = expires {
            self.by_expiry.insert((expires, key.clone()));
        }
        self.entries.insert(key, RecordEntry { expires, ..entry });
    }

    /// Which records have to go for this one.
    fn make_room(
        &self,
        key: &RecordKey,
        new: &RecordEntry<V>,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let old = self.entries.get(key);
        // What the old one no longer takes, if it is in the same pool.
        let freed = old.filter(|old| old.is_local() == new.is_local());
        let freed = freed.map_or((0, 0), |old| (1, size(key, old)));
        let after = |(count, bytes): (usize, usize)| {
            let count = count.saturating_sub(freed.0).saturating_add(1);
            let bytes = bytes.saturating_sub(freed.1).saturating_add(size(key, new));
            (count, bytes)
        };
        let peer = match new.origin {
            Origin::Local => {
                let own = self.entries.len().saturating_sub(self.by_distance.len());
                let (count, bytes) = after((own, self.own_bytes));
                let fits =
                    count <= self.config.max_own_records && bytes <= self.config.max_own_bytes;
                return fits.then(Vec::new).ok_or(StoreError::MaxRecords);
            }
            Origin::Peer(peer) => peer,
        };
        let is_of_peer = old.is_some_and(|old| old.origin == new.origin);
        if !is_of_peer
            && self
                .per_peer
                .get(&peer)
                .is_some_and(|count| *count >= self.config.max_records_per_peer)
        {
            return Err(StoreError::MaxForPeer);
        }
        let (mut count, mut bytes) = after((self.by_distance.len(), self.bytes));
        let (mut victims, distance) = (Vec::new(), self.distance(key));
        let mut farthest = self
            .by_distance
            .iter()
            .rev()
            .filter(|(_, other)| other != key);
        while count > self.config.max_records || bytes > self.config.max_bytes {
            let (_, victim) = farthest
                .next()
                .filter(|(far, _)| *far > distance)
                .ok_or(StoreError::MaxRecords)?;
            count = count.saturating_sub(1);
            bytes = bytes.saturating_sub(
                self.entries
                    .get(victim)
                    .map_or(0, |entry| size(victim, entry)),
            );
            victims.push(victim.clone());
        }
        Ok(victims)
    }

    /// The node is at this position.
    pub(super) fn set_local(&mut self, local: Key) {
        self.local = Some(local);
        let keys = core::mem::take(&mut self.by_distance).into_iter();
        self.by_distance = keys.map(|(_, key)| (self.distance(&key), key)).collect();
    }

    fn distance(&self, key: &RecordKey) -> Distance {
        self.local
            .map_or(Distance::ZERO, |local| local.distance(&key.position()))
    }
}

fn size<V>(key: &RecordKey, entry: &RecordEntry<V>) -> usize {
    key.as_bytes().len().saturating_add(entry.value_len)
}

/// One less for this peer.
pub(super) fn release(per_peer: &mut BTreeMap<PeerId, usize>, peer: &PeerId) {
    if let Some(count) = per_peer.get_mut(peer) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            per_peer.remove(peer);
        }
    }
}

/// What to do with a record, while another is there, with this value if it is valid.
fn decide<V>(
    old: &RecordEntry<V>,
    value: Option<&[u8]>,
    record: &Record,
    origin: Origin,
    validator: &dyn Validator,
) -> Result<Outcome, StoreError> {
    let by_peer_to_own = old.is_local() && origin != Origin::Local;
    let expires = if by_peer_to_own {
        old.expires
    } else {
        record.expires
    };
    let keeps_origin = origin != Origin::Local;
    let write = Outcome::Write(if keeps_origin { old.origin } else { origin }, expires);
    let Some(value) = value else {
        return Ok(write);
    };
    if *value == *record.value {
        return Ok(match (origin, old.expires, record.expires) {
            (Origin::Local, ..) => write,
            (Origin::Peer(_), before, _) if by_peer_to_own => Outcome::Prolong(before),
            (Origin::Peer(_), Some(before), Some(after)) => {
                Outcome::Prolong(Some(before.max(after)))
            }
            (Origin::Peer(_), ..) => Outcome::Prolong(None),
        });
    }
    // Asked in both orders: where both are equally good, a validator may take the first as well as the last.
    let prefers_new_last = validator.select(&record.key, &[value, &record.value]) == 1;
    let prefers_new_first = validator.select(&record.key, &[&record.value, value]) == 0;
    let wins = if by_peer_to_own {
        prefers_new_last && prefers_new_first
    } else {
        prefers_new_last || prefers_new_first
    };
    wins.then_some(write).ok_or(StoreError::Older)
}
