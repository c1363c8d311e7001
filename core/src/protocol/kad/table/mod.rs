//! The routing table: who is known, by the distance from the own position.
//!
//! Peers are in up to 256 k-buckets of limited size. A full bucket takes a newcomer in only for a peer that is not
//! alive: the newcomer has to wait, while the peer in question is to be asked whether it is there. Positions follow
//! connections, not answers.
//!
//! The table keeps no time of its own and asks nobody. Its owner calls [`RoutingTable::apply_pending`] at
//! [`RoutingTable::next_deadline`], and reports who is connected, who answers and who does not.

mod audit;
mod bucket;
mod closest;
mod diversity;
mod entry;
#[cfg(test)]
mod tests;

pub use bucket::BucketRef;
pub use closest::Closest;
pub use diversity::DiversityLimits;
pub(super) use diversity::Group;
pub use entry::{Entry, Status};

use super::{Key, scope::AddressScope};
use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    time::{Instant, earliest},
};
use alloc::{boxed::Box, vec::Vec};
use bucket::{Bucket, Pending, is_live};
use closest::has_bit;
use core::{borrow::Borrow, num::NonZeroUsize, time::Duration};
use diversity::Groups;
use entry::{Addresses, clean};

/// What a routing table may hold, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableConfig {
    /// Peers in a bucket (k): 20.
    pub bucket_size: NonZeroUsize,
    /// How long a newcomer waits for a peer of a full bucket to show that it is alive: 60 s.
    pub pending_timeout: Duration,
    /// How long after an answer a peer counts as alive even without a connection, so that no newcomer takes its
    /// place: 15 min. More than the time between two checks of a peer. A failure ends it.
    pub liveness: Duration,
    /// Addresses of a peer: 16. At least 1.
    pub max_addresses: usize,
    /// After how many failures in a row a peer is removed: 2. At least 1.
    pub max_failures: u32,
    /// How many peers of one network there may be; `None` is any number.
    pub diversity: Option<DiversityLimits>,
    /// Which addresses are kept; a peer with none of them is not.
    pub address_scope: AddressScope,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            bucket_size: NonZeroUsize::MIN.saturating_add(19),
            pending_timeout: Duration::from_secs(60),
            liveness: Duration::from_mins(15),
            max_addresses: 16,
            max_failures: 2,
            diversity: Some(DiversityLimits::default()),
            address_scope: AddressScope::Any,
        }
    }
}

/// What became of a peer for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Insert {
    /// It is in the table now.
    Added,
    /// It was in the table.
    Updated {
        /// Whether one of the addresses is new.
        new_address: bool,
    },
    /// Its bucket is full; it waits for the place of a peer that may be gone.
    Pending {
        /// Who that is: to be asked for a sign of life, unless it was.
        probe: PeerId,
    },
    /// Its bucket is full and stays so.
    Full,
    /// There are enough peers of one of its networks, see [`DiversityLimits`].
    TooMany,
    /// It is this node.
    Own,
    /// It has no address that may be kept.
    NoAddress,
}

/// Whether there is room for a newcomer, see [`RoutingTable::has_room_for`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Room {
    /// There is.
    Yes,
    /// Its bucket is full of peers that are alive, or somebody else waits for a place.
    Full,
    /// It is this node, or of networks of which there are enough peers.
    No,
}

/// What became of an address that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was not there.
    Nothing,
    /// It was removed.
    Address,
    /// It was the last one, and the peer was removed with it. Boxed, for it is large and rare.
    Peer(Box<Entry>),
}

/// A newcomer whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Who is in the table now.
    pub inserted: PeerId,
    /// Who is no longer, in its favour.
    pub evicted: Option<Entry>,
}

/// Peers and their addresses, by the distance from the own position.
///
/// ```
/// use drywire::{protocol::kad::{Key, table::{Insert, RoutingTable, Status, TableConfig}}, time::Instant};
///
/// let mut table = RoutingTable::new(Key::of(b"this node"), TableConfig::default());
/// let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
/// let address = "/ip4/192.0.2.1/tcp/4001".parse()?;
/// let inserted = table.insert(Instant::ZERO, peer, [&address], Status::Connected);
/// assert_eq!(inserted, Insert::Added);
/// assert_eq!(table.closest(&Key::of(b"anything")).next().unwrap().addresses(), [address]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RoutingTable {
    local: Key,
    config: TableConfig,
    /// By index; those with nothing in them are left out.
    buckets: Vec<Bucket>,
    groups: Groups,
    len: usize,
}

impl RoutingTable {
    /// An empty table for the node at this position.
    #[must_use]
    pub const fn new(local: Key, config: TableConfig) -> Self {
        Self {
            local,
            groups: Groups::new(config.diversity),
            config,
            buckets: Vec::new(),
            len: 0,
        }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &TableConfig {
        &self.config
    }

    /// The own position.
    #[must_use]
    pub const fn local(&self) -> &Key {
        &self.local
    }

    /// Takes a peer in, or learns more addresses of it. Addresses that lead to another peer or are out of
    /// [scope](TableConfig::address_scope) are left out.
    ///
    /// If it is [`Status::Connected`] the first address is the one of the connection; then a peer that is in the table
    /// or waits becomes connected, while [`Status::Disconnected`] does not change it. A disconnected peer gets no
    /// place that is not free.
    pub fn insert(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: impl IntoIterator<Item = impl Borrow<Multiaddr>>,
        status: Status,
    ) -> Insert {
        let position = Key::of_peer(&peer);
        let Some(index) = self.local.distance(&position).ilog2() else {
            return Insert::Own;
        };
        let known = self.bucket_of(&peer);
        if let Some(bucket) = known {
            if bucket.position(&peer).is_some() {
                let new_address = self.update(now, &peer, addresses, status);
                return Insert::Updated { new_address };
            }
            if bucket.is_pending(&peer) {
                self.update(now, &peer, addresses, status);
                let pending = self
                    .bucket_of(&peer)
                    .and_then(|bucket| bucket.pending.as_deref());
                return pending.map_or(Insert::Full, |pending| Insert::Pending {
                    probe: pending.probe,
                });
            }
        }
        let confirmed = status == Status::Connected;
        let addresses = Addresses::new(&peer, addresses, confirmed, &self.config);
        if addresses.is_empty() {
            return Insert::NoAddress;
        }
        self.admit(
            now,
            index,
            Entry::new(peer, position, addresses, status, now),
        )
    }

    /// Whether a peer with these addresses that is not known has a chance to come in now: there is room in its bucket, or
    /// a peer in it that is not alive; and its networks are not too many there.
    pub fn has_room_for(
        &self,
        now: Instant,
        peer: &PeerId,
        addresses: &[Multiaddr],
        status: Status,
    ) -> Room {
        let Some(index) = self.index(peer) else {
            return Room::No;
        };
        let bucket = self.stored(index);
        let entries = bucket.map_or(&[][..], |bucket| &bucket.entries);
        let is_full = entries.len() >= self.config.bucket_size.get();
        let full = bucket.filter(|_| is_full);
        let leaving = full.and_then(|bucket| bucket.replaceable(now, self.config.liveness));
        let is_taken = full.is_some_and(|bucket| bucket.pending.is_some());
        if is_full && (leaving.is_none() || is_taken || status == Status::Disconnected) {
            return Room::Full;
        }
        let of_first = addresses.iter().take(self.config.max_addresses.max(1));
        if self.groups.allow(of_first, entries, leaving, None) {
            Room::Yes
        } else {
            Room::No
        }
    }

    /// Finds a place for a peer that has none.
    fn admit(&mut self, now: Instant, index: u8, entry: Entry) -> Insert {
        let bucket = self.stored(index);
        let entries = bucket.map_or(&[][..], |bucket| &bucket.entries);
        let size = self.config.bucket_size.get();
        if entries.len() < size {
            if !self.groups.allow(entry.addresses(), entries, None, None) {
                return Insert::TooMany;
            }
            self.place(index, entry);
            return Insert::Added;
        }
        let full = bucket.filter(|bucket| bucket.pending.is_none() && entry.is_connected());
        let replaceable = full.and_then(|bucket| bucket.replaceable(now, self.config.liveness));
        let Some(leaving) = replaceable else {
            return Insert::Full;
        };
        let probe = *leaving.peer();
        let addresses = entry.addresses();
        if !self.groups.allow(addresses, entries, Some(leaving), None) {
            return Insert::TooMany;
        }
        let pending = Pending {
            entry,
            probe,
            since: now,
            deadline: now + self.config.pending_timeout,
        };
        if let Some(bucket) = self.stored_mut(index) {
            bucket.pending = Some(Box::new(pending));
        }
        Insert::Pending { probe }
    }

    /// Puts an entry into its bucket, where there is room.
    fn place(&mut self, index: u8, entry: Entry) {
        self.groups.count(&entry);
        self.len = self.len.saturating_add(1);
        let size = self.config.bucket_size.get();
        let at = self.search(index).unwrap_or_else(|at| {
            self.buckets.insert(at, Bucket::new(index));
            at
        });
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.push(entry, size);
        }
    }

    /// What [`insert`](Self::insert) does for a peer that is known. Whether an address is new.
    fn update(
        &mut self,
        now: Instant,
        peer: &PeerId,
        addresses: impl IntoIterator<Item = impl Borrow<Multiaddr>>,
        status: Status,
    ) -> bool {
        let mut new = false;
        for (at, address) in addresses.into_iter().enumerate() {
            new |= if at == 0 && status == Status::Connected {
                self.confirm_address(peer, address.borrow())
            } else {
                self.add_address(peer, address.borrow())
            };
        }
        if status == Status::Connected {
            self.set_status(now, peer, status);
        }
        new
    }

    /// A peer has connected or disconnected, which makes it the most recent that did. Should a newcomer wait for its
    /// place, that is over when it connects.
    pub fn set_status(&mut self, now: Instant, peer: &PeerId, status: Status) {
        let size = self.config.bucket_size.get();
        let Some(bucket) = self.bucket_of_mut(peer) else {
            return;
        };
        let set = |entry: &mut Entry| {
            let changes = entry.status != status;
            if changes {
                entry.status = status;
                entry.status_since = now;
            }
            changes
        };
        if let Some(pending) = bucket.pending_mut(peer) {
            set(&mut pending.entry);
            return;
        }
        let Some(at) = bucket.position(peer) else {
            return;
        };
        if !bucket.entries.get_mut(at).is_some_and(set) {
            return;
        }
        let entry = bucket.entries.remove(at);
        bucket.push(entry, size);
        if status == Status::Connected && bucket.probes(peer) {
            bucket.pending = None;
        }
    }

    /// Learns an address of a peer in the table, or of one that waits for a place. Above the limit it replaces the
    /// address that was confirmed the longest time ago or never. Whether it is new and was taken.
    pub fn add_address(&mut self, peer: &PeerId, address: &Multiaddr) -> bool {
        let max = self.config.max_addresses;
        self.change(peer, address, |addresses, address| {
            addresses.add(address, max)
        })
    }

    /// An address has led to the peer: it is kept before others. Whether it is new and was taken.
    pub fn confirm_address(&mut self, peer: &PeerId, address: &Multiaddr) -> bool {
        let max = self.config.max_addresses;
        self.change(peer, address, |addresses, address| {
            addresses.confirm(address, max)
        })
    }

    /// The address of a connection has changed. Whether the old one was there, and the new one was taken.
    pub fn replace_address(&mut self, peer: &PeerId, old: &Multiaddr, new: &Multiaddr) -> bool {
        let Some(old) = clean(peer, old) else {
            return false;
        };
        self.change(peer, new, |addresses, new| addresses.replace(&old, new))
    }

    /// An address did not lead to the peer: it is removed if there is another one. Whether it was removed.
    pub fn address_failed(&mut self, peer: &PeerId, address: &Multiaddr) -> bool {
        let address = clean(peer, address);
        let remove = |addresses: &mut Addresses| match &address {
            Some(address) if addresses.as_slice().len() > 1 => addresses.remove(address),
            _ => false,
        };
        self.change_addresses(peer, remove).unwrap_or(false)
    }

    /// Removes an address of a peer in the table, or of one that waits for a place; with the last address the peer.
    pub fn remove_address(&mut self, peer: &PeerId, address: &Multiaddr) -> Removed {
        let Some(entry) = self.known(peer) else {
            return Removed::Nothing;
        };
        match clean(peer, address) {
            Some(address) if entry.addresses() == [address.clone()] => self
                .remove(peer)
                .map_or(Removed::Nothing, |entry| Removed::Peer(Box::new(entry))),
            Some(address) if entry.addresses().contains(&address) => {
                self.change_addresses(peer, |addresses| addresses.remove(&address));
                Removed::Address
            }
            _ => Removed::Nothing,
        }
    }

    /// Brings in an address that a peer may have.
    fn change(
        &mut self,
        peer: &PeerId,
        address: &Multiaddr,
        change: impl FnOnce(&mut Addresses, Multiaddr) -> bool,
    ) -> bool {
        let Some(bucket) = self.bucket_of(peer) else {
            return false;
        };
        let place = bucket.position(peer);
        if place.is_none() && !bucket.is_pending(peer) {
            return false;
        }
        let Some(address) = clean(peer, address).filter(|address| self.in_scope(address)) else {
            return false;
        };
        if let Some(at) = place {
            let entry = bucket.entries.get(at);
            if !self.groups.allow([&address], &bucket.entries, None, entry) {
                return false;
            }
        }
        self.change_addresses(peer, |addresses| change(addresses, address))
            .unwrap_or(false)
    }

    fn in_scope(&self, address: &Multiaddr) -> bool {
        self.config.address_scope.allows(address)
    }

    /// Changes the addresses of a peer in the table or of one that waits for a place.
    fn change_addresses<R>(
        &mut self,
        peer: &PeerId,
        change: impl FnOnce(&mut Addresses) -> R,
    ) -> Option<R> {
        let at = self.search(self.index(peer)?).ok()?;
        let bucket = self.buckets.get_mut(at)?;
        if let Some(pending) = bucket.pending_mut(peer) {
            return Some(change(pending.entry.addresses_mut()));
        }
        let place = bucket.position(peer)?;
        let entry = bucket.entries.get_mut(place)?;
        self.groups.forget(entry);
        let result = change(entry.addresses_mut());
        self.groups.count(entry);
        Some(result)
    }

    /// Removes a peer from the table, or one that waits for a place.
    pub fn remove(&mut self, peer: &PeerId) -> Option<Entry> {
        let at = self.search(self.index(peer)?).ok()?;
        let bucket = self.buckets.get_mut(at)?;
        let entry = if bucket.is_pending(peer) {
            bucket.pending.take()?.entry
        } else {
            let place = bucket.position(peer)?;
            let entry = bucket.entries.remove(place);
            self.groups.forget(&entry);
            self.len = self.len.saturating_sub(1);
            entry
        };
        if bucket.is_unused() {
            self.buckets.remove(at);
        }
        Some(entry)
    }

    /// A peer has answered a request.
    pub fn succeeded(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.known_mut(peer) {
            entry.last_success = Some(now);
            entry.failures = 0;
        }
    }

    /// A peer has not answered a request, or could not be reached. Several failures at one instant count as one: a
    /// connection that ends takes all its requests with it. The peer, if that was once too often: it has been removed
    /// from the table, or waits no longer for a place.
    pub fn failed(&mut self, peer: &PeerId, now: Instant) -> Option<Entry> {
        let max = self.config.max_failures;
        let entry = self.known_mut(peer)?;
        if entry.failures == 0 || entry.last_failure != now {
            entry.failures = entry.failures.saturating_add(1);
            entry.last_failure = now;
        }
        if entry.failures >= max {
            return self.remove(peer);
        }
        None
    }

    /// Gives one newcomer whose time has come its place. Call it at [`next_deadline`](Self::next_deadline), and again
    /// until there is `None`.
    ///
    /// If no place is free by then it is that of the peer that was to be probed, unless this one has connected, has
    /// answered since or a short time before, or is gone while another has come in its place: then the newcomer is
    /// forgotten.
    pub fn apply_pending(&mut self, now: Instant) -> Option<Applied> {
        loop {
            let due = |bucket: &Bucket| {
                let pending = bucket.pending.as_deref();
                pending.is_some_and(|pending| pending.deadline <= now)
            };
            let at = self.buckets.iter().position(due)?;
            let bucket = self.buckets.get_mut(at)?;
            let (pending, index) = (bucket.pending.take()?, bucket.index);
            if let Some(applied) = self.apply(now, index, *pending) {
                return Some(applied);
            }
            if self.buckets.get(at).is_some_and(Bucket::is_unused) {
                self.buckets.remove(at);
            }
        }
    }

    fn apply(&mut self, now: Instant, index: u8, pending: Pending) -> Option<Applied> {
        let Pending {
            entry,
            probe,
            since,
            ..
        } = pending;
        let bucket = self.stored(index)?;
        let is_full = bucket.entries.len() >= self.config.bucket_size.get();
        let leaving = if is_full {
            let probed = bucket.entries.get(bucket.position(&probe)?)?;
            let waited = now - since;
            // An answer at the very instant counts.
            let liveness = waited.saturating_add(Duration::from_nanos(1));
            if is_live(probed, now, liveness.max(self.config.liveness)) {
                return None;
            }
            Some(probed)
        } else {
            None
        };
        let addresses = entry.addresses();
        if !self.groups.allow(addresses, &bucket.entries, leaving, None) {
            return None;
        }
        let evicted = if leaving.is_some() {
            self.remove(&probe)
        } else {
            None
        };
        let inserted = *entry.peer();
        self.place(index, entry);
        Some(Applied { inserted, evicted })
    }

    /// When the next newcomer gets a place: call [`apply_pending`](Self::apply_pending) then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let pending = self.buckets.iter().map(|bucket| bucket.pending.as_deref());
        pending
            .map(|pending| pending.map(|pending| pending.deadline))
            .fold(None, earliest)
    }

    /// A peer in the table. One that waits for a place is not.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Entry> {
        let bucket = self.bucket_of(peer)?;
        bucket.entries.get(bucket.position(peer)?)
    }

    /// A peer that waits for a place.
    #[must_use]
    pub fn pending(&self, peer: &PeerId) -> Option<&Entry> {
        let bucket = self
            .bucket_of(peer)
            .filter(|bucket| bucket.is_pending(peer));
        bucket?.pending.as_deref().map(|pending| &pending.entry)
    }

    /// Whether a peer is in the table.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.get(peer).is_some()
    }

    /// How many peers are in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is in the table.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The peers in the table by bucket, in the order of [`BucketRef::iter`].
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// All peers in the table, the closest to a position first. Only as much is sorted as is taken.
    #[must_use]
    pub fn closest(&self, target: &Key) -> Closest<'_> {
        Closest::new(&self.local, *target, &self.buckets)
    }

    /// How many of the peers in the table are closer to a position than this node.
    #[must_use]
    pub fn count_between(&self, target: &Key) -> usize {
        let own = self.local.distance(target);
        let closer = self
            .buckets
            .iter()
            .filter(|bucket| has_bit(&own, bucket.index));
        closer.map(|bucket| bucket.entries.len()).sum()
    }

    /// All 256 buckets, also the empty ones, that of the closest peers first.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = BucketRef<'_>> {
        (0..=u8::MAX).map(|index| self.view(index))
    }

    /// The bucket that a position belongs in; `None` for the own one.
    #[must_use]
    pub fn bucket(&self, position: &Key) -> Option<BucketRef<'_>> {
        let index = self.local.distance(position).ilog2()?;
        Some(self.view(index))
    }

    /// Whether the bucket of a position is full of peers that are alive: nobody else could come in.
    #[must_use]
    pub fn is_settled(&self, now: Instant, position: &Key) -> bool {
        let index = self.local.distance(position).ilog2();
        let bucket = index.and_then(|index| self.stored(index));
        bucket.is_some_and(|bucket| {
            bucket.entries.len() >= self.config.bucket_size.get()
                && bucket.replaceable(now, self.config.liveness).is_none()
        })
    }

    fn view(&self, index: u8) -> BucketRef<'_> {
        BucketRef {
            index,
            local: &self.local,
            bucket: self.stored(index),
        }
    }

    /// Those that came before `before` and have not answered since: to be asked for a sign of life. Who has been
    /// silent for the longest time is first.
    pub fn least_recently_seen(&self, before: Instant) -> impl Iterator<Item = PeerId> + use<> {
        let silent = self.iter().filter(|entry| entry.silent_since() < before);
        let mut silent: Vec<_> = silent
            .map(|entry| (entry.silent_since(), *entry.peer()))
            .collect();
        silent.sort_unstable();
        silent.into_iter().map(|(_, peer)| peer)
    }

    fn index(&self, peer: &PeerId) -> Option<u8> {
        self.local.distance(&Key::of_peer(peer)).ilog2()
    }

    fn search(&self, index: u8) -> Result<usize, usize> {
        self.buckets
            .binary_search_by_key(&index, |bucket| bucket.index)
    }

    fn stored(&self, index: u8) -> Option<&Bucket> {
        self.buckets.get(self.search(index).ok()?)
    }

    fn stored_mut(&mut self, index: u8) -> Option<&mut Bucket> {
        let at = self.search(index).ok()?;
        self.buckets.get_mut(at)
    }

    fn bucket_of(&self, peer: &PeerId) -> Option<&Bucket> {
        self.stored(self.index(peer)?)
    }

    fn bucket_of_mut(&mut self, peer: &PeerId) -> Option<&mut Bucket> {
        self.stored_mut(self.index(peer)?)
    }

    /// A peer in the table, or one that waits for a place.
    fn known(&self, peer: &PeerId) -> Option<&Entry> {
        self.get(peer).or_else(|| self.pending(peer))
    }

    fn known_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        let bucket = self.bucket_of_mut(peer)?;
        if let Some(at) = bucket.position(peer) {
            return bucket.entries.get_mut(at);
        }
        bucket.pending_mut(peer).map(|pending| &mut pending.entry)
    }
}
