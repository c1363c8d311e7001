//! Which addresses a peer may be reached at, who says so, and for how long.
//!
//! The book is bounded in peers, in addresses of one peer, and in bytes. When it is full it forgets the peer whose
//! addresses were verified longest ago: strangers who report made-up peers push out each other's entries first, then
//! peers never met, and never a connected peer or one whose address the host gave.

use super::{config::AddressBookConfig, hash::KeyedHash};
use crate::{identity::PeerId, multiaddr::Multiaddr, time::Instant};
use alloc::{collections::BTreeSet, vec::Vec};
use core::{hash::BuildHasher, time::Duration};
use hashbrown::HashTable;
use slab::Slab;

/// Who says that a peer is reachable at an address. Later ones are more to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AddressSource {
    /// Somebody else, as by a lookup in a DHT. Kept 10 minutes.
    Discovered,
    /// The peer itself, unsigned. Kept while connected and 15 minutes longer.
    Identify,
    /// The peer itself, in a signed record. Kept while connected and 15 minutes longer.
    Certified,
    /// A connection with the peer was made there. Kept while connected and one hour longer.
    Dialed,
    /// The host. Kept until removed.
    Manual,
}

impl AddressSource {
    /// How long an address of this source is kept if nothing else is said; `None` is until something changes it.
    const fn time_to_live(self, connected: bool) -> Option<Duration> {
        match self {
            Self::Discovered => Some(Duration::from_secs(10 * 60)),
            Self::Identify | Self::Certified | Self::Dialed if connected => None,
            Self::Identify | Self::Certified => Some(Duration::from_secs(15 * 60)),
            Self::Dialed => Some(Duration::from_secs(60 * 60)),
            Self::Manual => None,
        }
    }

    /// Whether an address of this source is kept while the peer is connected.
    const fn follows_connection(self) -> bool {
        matches!(self, Self::Identify | Self::Certified | Self::Dialed)
    }
}

/// The longest address taken from others than the host, in bytes.
const MAX_FOREIGN_LEN: usize = 256;

/// Bytes of all addresses together.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What one address costs besides its own bytes.
const OVERHEAD: usize = 112;

#[derive(Debug)]
struct Known {
    address: Multiaddr,
    source: AddressSource,
    expires: Option<Instant>,
    verified: Option<Instant>,
}

/// Where a peer stands in the order of being forgotten: lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// 0 unverified, 1 verified once, 2 given by the host or connected.
    class: u8,
    verified: Instant,
    /// Counts peers as they come, so that the order is total.
    arrival: u64,
}

#[derive(Debug)]
struct PeerEntry {
    peer: PeerId,
    addresses: Vec<Known>,
    standing: Standing,
    connected: bool,
}

impl PeerEntry {
    fn place(&self, arrival: u64) -> Standing {
        let verified = self
            .addresses
            .iter()
            .filter_map(|known| known.verified)
            .max();
        let pinned = self.connected
            || self
                .addresses
                .iter()
                .any(|known| known.source == AddressSource::Manual);
        let class = match (pinned, verified) {
            (true, _) => 2,
            (false, Some(_)) => 1,
            (false, None) => 0,
        };
        Standing {
            class,
            verified: verified.unwrap_or(Instant::ZERO),
            arrival,
        }
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.addresses
            .iter()
            .filter_map(|known| known.expires)
            .min()
    }

    fn bytes(&self) -> usize {
        self.addresses
            .iter()
            .fold(0, |sum, known| sum.saturating_add(cost(&known.address)))
    }
}

fn cost(address: &Multiaddr) -> usize {
    address.as_bytes().len().saturating_add(OVERHEAD)
}

/// The addresses of other peers.
#[derive(Debug)]
pub(super) struct AddressBook {
    config: AddressBookConfig,
    entries: Slab<PeerEntry>,
    /// Where in `entries` each peer is, which is how all indices know it: a node may have met thousands. By the hash of the
    /// peer's name, which itself is in the entry.
    places: HashTable<usize>,
    hash: KeyedHash,
    order: BTreeSet<(Standing, usize)>,
    expiries: BTreeSet<(Instant, usize)>,
    arrivals: u64,
    bytes: usize,
}

impl AddressBook {
    pub(super) fn new(config: AddressBookConfig, hash: KeyedHash) -> Self {
        Self {
            config,
            entries: Slab::new(),
            places: HashTable::new(),
            hash,
            order: BTreeSet::new(),
            expiries: BTreeSet::new(),
            arrivals: 0,
            bytes: 0,
        }
    }

    /// Learns an address. Returns whether it was new. An address that is known keeps the better of both sources and
    /// the later of both expiries.
    pub(super) fn add(
        &mut self,
        now: Instant,
        peer: PeerId,
        address: &Multiaddr,
        source: AddressSource,
        time_to_live: Option<Duration>,
    ) -> bool {
        let Some(address) = acceptable(peer, address, source) else {
            return false;
        };
        let max = usize::try_from(self.config.max_addresses).unwrap_or(usize::MAX);
        let mut new = false;
        self.edit(peer, |entry| {
            let lifetime = time_to_live.or(source.time_to_live(entry.connected));
            let expires = lifetime.map(|lifetime| now + lifetime);
            if let Some(known) = entry
                .addresses
                .iter_mut()
                .find(|known| known.address == address)
            {
                known.expires = match (known.expires, expires) {
                    (Some(old), Some(new)) => Some(old.max(new)),
                    _ => None,
                };
                known.source = known.source.max(source);
                return;
            }
            new = entry.addresses.len() < max || make_room(&mut entry.addresses, source);
            if new {
                // Most peers have one or two.
                entry.addresses.reserve_exact(1);
                entry.addresses.push(Known {
                    address,
                    source,
                    expires,
                    verified: None,
                });
            }
        });
        self.enforce_caps();
        new && self.place_of(&peer).is_some()
    }

    /// Learns all addresses a source has to tell; what it told before and does not repeat is forgotten. Returns
    /// whether anything was new.
    pub(super) fn replace(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: &[Multiaddr],
        source: AddressSource,
    ) -> bool {
        self.edit_known(&peer, |entry| {
            entry
                .addresses
                .retain(|known| known.source != source || addresses.contains(&known.address));
        });
        let mut new = false;
        for address in addresses {
            new |= self.add(now, peer, address, source, None);
        }
        new
    }

    /// A connection with the peer was made at this address.
    pub(super) fn verified(&mut self, now: Instant, peer: PeerId, address: &Multiaddr) {
        self.add(now, peer, address, AddressSource::Dialed, None);
        let address = address.without_peer_id();
        self.edit_known(&peer, |entry| {
            if let Some(known) = entry
                .addresses
                .iter_mut()
                .find(|known| known.address == address)
            {
                known.verified = Some(now);
            }
        });
    }

    /// The first connection with the peer is up, or the last one is gone.
    pub(super) fn set_connected(&mut self, now: Instant, peer: PeerId, connected: bool) {
        self.edit_known(&peer, |entry| {
            entry.connected = connected;
            for known in &mut entry.addresses {
                if known.source.follows_connection() {
                    let lifetime = known.source.time_to_live(connected);
                    known.expires = lifetime.map(|lifetime| now + lifetime);
                }
            }
        });
    }

    /// Forgets one address.
    pub(super) fn remove(&mut self, peer: PeerId, address: &Multiaddr) {
        let address = address.without_peer_id();
        self.edit_known(&peer, |entry| {
            entry.addresses.retain(|known| known.address != address)
        });
    }

    /// An address did not lead to the peer. What was only heard of it is forgotten, unless nothing else is known.
    pub(super) fn failed(&mut self, peer: PeerId, address: &Multiaddr) {
        let address = address.without_peer_id();
        self.edit_known(&peer, |entry| {
            if entry.addresses.len() > 1 {
                entry.addresses.retain(|known| {
                    known.address != address
                        || known.source > AddressSource::Discovered
                        || known.verified.is_some()
                });
            }
        });
    }

    /// What is known, best first: where a connection was made before (the latest first), then by source, then in the
    /// order of arrival.
    pub(super) fn addresses(&self, now: Instant, peer: &PeerId) -> Vec<Multiaddr> {
        let place = self.place_of(peer);
        let Some(entry) = place.and_then(|place| self.entries.get(place)) else {
            return Vec::new();
        };
        let mut known: Vec<&Known> = entry
            .addresses
            .iter()
            .filter(|known| known.expires.is_none_or(|expires| expires > now))
            .collect();
        known.sort_by_key(|known| core::cmp::Reverse((known.verified, known.source)));
        known
            .into_iter()
            .map(|known| known.address.clone())
            .collect()
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Forgets what has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, place)) = self.expiries.first().copied() {
            if at > now {
                break;
            }
            self.expiries.pop_first();
            self.edit_at(place, |entry| {
                entry
                    .addresses
                    .retain(|known| known.expires.is_none_or(|expires| expires > now));
            });
        }
    }

    /// Peers remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn place_of(&self, peer: &PeerId) -> Option<usize> {
        let is_there = |place: &usize| {
            let entry = self.entries.get(*place);
            entry.is_some_and(|entry| entry.peer == *peer)
        };
        self.places
            .find(self.hash.hash_one(peer), is_there)
            .copied()
    }

    /// Changes one peer's entry, made if need be and forgotten if nothing is left, and keeps the indices in step.
    fn edit(&mut self, peer: PeerId, change: impl FnOnce(&mut PeerEntry)) {
        let place = self.place_of(&peer);
        let place = place.unwrap_or_else(|| self.insert(peer));
        self.edit_at(place, change);
    }

    /// Changes the entry of a peer that has one.
    fn edit_known(&mut self, peer: &PeerId, change: impl FnOnce(&mut PeerEntry)) {
        if let Some(place) = self.place_of(peer) {
            self.edit_at(place, change);
        }
    }

    /// A new entry, with nothing in it yet.
    fn insert(&mut self, peer: PeerId) -> usize {
        self.arrivals = self.arrivals.saturating_add(1);
        let standing = Standing {
            class: 0,
            verified: Instant::ZERO,
            arrival: self.arrivals,
        };
        let place = self.entries.insert(PeerEntry {
            peer,
            addresses: Vec::new(),
            standing,
            connected: false,
        });
        let (entries, hash) = (&self.entries, &self.hash);
        self.places
            .insert_unique(hash.hash_one(peer), place, |place| {
                let entry = entries.get(*place);
                entry.map_or(0, |entry| hash.hash_one(entry.peer))
            });
        self.order.insert((standing, place));
        place
    }

    fn edit_at(&mut self, place: usize, change: impl FnOnce(&mut PeerEntry)) {
        let Some(entry) = self.entries.get_mut(place) else {
            return;
        };
        let (standing, expiry, bytes) = (entry.standing, entry.next_expiry(), entry.bytes());
        change(entry);
        if entry.addresses.len() < entry.addresses.capacity() / 2 {
            // What is no longer there must not go on to take room that is not counted.
            entry.addresses.shrink_to_fit();
        }
        entry.standing = entry.place(standing.arrival);
        let (new_standing, new_expiry) = (entry.standing, entry.next_expiry());
        let others = self.bytes.saturating_sub(bytes);
        self.bytes = others.saturating_add(entry.bytes());
        if new_expiry != expiry {
            if let Some(at) = expiry {
                self.expiries.remove(&(at, place));
            }
            if let Some(at) = new_expiry {
                self.expiries.insert((at, place));
            }
        }
        if new_standing != standing {
            self.order.remove(&(standing, place));
            self.order.insert((new_standing, place));
        }
        if entry.addresses.is_empty() {
            self.forget(place);
        }
    }

    fn forget(&mut self, place: usize) {
        let Some(entry) = self.entries.try_remove(place) else {
            return;
        };
        let hash = self.hash.hash_one(entry.peer);
        if let Ok(found) = self.places.find_entry(hash, |other| *other == place) {
            found.remove();
        }
        self.order.remove(&(entry.standing, place));
        if let Some(at) = entry.next_expiry() {
            self.expiries.remove(&(at, place));
        }
        self.bytes = self.bytes.saturating_sub(entry.bytes());
    }

    fn enforce_caps(&mut self) {
        let max_peers = usize::try_from(self.config.max_peers).unwrap_or(usize::MAX);
        while self.entries.len() > max_peers || self.bytes > MAX_BYTES {
            let Some((_, place)) = self.order.first().copied() else {
                return;
            };
            self.forget(place);
        }
    }
}

/// The address as it is kept: without the peer's own id; `None` if it is not to be kept.
fn acceptable(peer: PeerId, address: &Multiaddr, source: AddressSource) -> Option<Multiaddr> {
    let foreign = source != AddressSource::Manual;
    let too_long = foreign && address.as_bytes().len() > MAX_FOREIGN_LEN;
    let of_other = address.peer_id().is_some_and(|named| named != peer);
    (!too_long && !of_other).then(|| {
        let kept = address.without_peer_id();
        // A slice of a message would keep the whole message alive.
        Multiaddr::from_bytes(kept.as_bytes()).unwrap_or(kept)
    })
}

/// Gives up the least trusted address, the oldest of them, for one that is trusted at least as much.
fn make_room(addresses: &mut Vec<Known>, source: AddressSource) -> bool {
    let worst = addresses
        .iter()
        .enumerate()
        .min_by_key(|(index, known)| (known.source, known.verified, *index))
        .map(|(index, known)| (index, known.source));
    match worst {
        Some((index, worst)) if worst <= source && worst != AddressSource::Manual => {
            addresses.remove(index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::Keypair, seed::Seed};
    use proptest::prelude::*;
    use std::format;

    fn peer(number: u64) -> PeerId {
        Keypair::ed25519_from_seed(&Seed::for_tests(number)).peer_id()
    }

    fn address(number: u64) -> Multiaddr {
        format!("/ip4/10.0.{}.{}/tcp/4001", number / 256 % 256, number % 256)
            .parse()
            .unwrap()
    }

    fn book(max_peers: u32, max_addresses: u32) -> AddressBook {
        let config = AddressBookConfig {
            max_peers,
            max_addresses,
        };
        AddressBook::new(config, KeyedHash::new(&Seed::for_tests(0)))
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn hearsay_that_leads_nowhere_is_forgotten_unless_it_is_all() {
        let (mut book, who) = (book(10, 10), peer(1));
        for (number, source) in [
            (1, AddressSource::Discovered),
            (2, AddressSource::Identify),
            (3, AddressSource::Discovered),
        ] {
            book.add(at(0), who, &address(number), source, None);
        }
        book.verified(at(0), who, &address(3));
        for number in 1..=3 {
            book.failed(who, &address(number));
        }
        assert_eq!(book.addresses(at(0), &who), [address(3), address(2)]);
        let other = peer(2);
        book.add(at(0), other, &address(1), AddressSource::Discovered, None);
        book.failed(other, &address(1));
        assert_eq!(book.addresses(at(0), &other), [address(1)]);
    }

    #[test]
    fn addresses_expire_by_their_source() {
        let (mut book, who) = (book(10, 10), peer(1));
        book.add(at(0), who, &address(1), AddressSource::Discovered, None);
        book.add(at(0), who, &address(2), AddressSource::Dialed, None);
        book.add(at(0), who, &address(3), AddressSource::Manual, None);
        book.add(
            at(0),
            who,
            &address(4),
            AddressSource::Discovered,
            Some(Duration::from_secs(5)),
        );
        assert_eq!(book.addresses(at(0), &who).len(), 4);
        assert_eq!(book.next_expiry(), Some(at(5)));
        assert_eq!(
            book.addresses(at(5), &who).len(),
            3,
            "expired is not returned even before it is swept"
        );
        book.expire(at(600));
        assert_eq!(book.addresses(at(600), &who), [address(3), address(2)]);
        book.expire(at(3600));
        assert_eq!(book.addresses(at(3600), &who), [address(3)]);
        assert_eq!(book.next_expiry(), None);
        book.remove(who, &address(3));
        assert_eq!((book.len(), book.bytes, book.order.len()), (0, 0, 0));
    }

    #[test]
    fn what_a_peer_says_lasts_with_its_connection() {
        let (mut book, who) = (book(10, 10), peer(1));
        book.add(at(0), who, &address(9), AddressSource::Dialed, None);
        book.set_connected(at(0), who, true);
        book.replace(
            at(0),
            who,
            &[address(1), address(2)],
            AddressSource::Identify,
        );
        book.expire(at(10_000));
        assert_eq!(book.addresses(at(10_000), &who).len(), 3);
        assert!(!book.replace(at(10_000), who, &[address(2)], AddressSource::Identify));
        assert_eq!(book.addresses(at(10_000), &who), [address(9), address(2)]);
        book.set_connected(at(10_000), who, false);
        book.expire(at(10_899));
        assert_eq!(book.addresses(at(10_899), &who).len(), 2);
        book.expire(at(10_900));
        assert_eq!(book.addresses(at(10_900), &who), [address(9)]);
        book.expire(at(13_600));
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn verified_addresses_come_first_and_names_of_others_are_refused() {
        let (mut book, who) = (book(10, 10), peer(1));
        book.add(at(0), who, &address(1), AddressSource::Certified, None);
        book.verified(at(1), who, &address(2).with_peer_id(who).unwrap());
        book.verified(at(2), who, &address(3));
        assert!(!book.add(
            at(3),
            who,
            &address(4).with_peer_id(peer(2)).unwrap(),
            AddressSource::Manual,
            None
        ));
        assert_eq!(
            book.addresses(at(3), &who),
            [address(3), address(2), address(1)]
        );
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let mut book = book(4, 4);
        book.add(at(0), peer(1), &address(1), AddressSource::Manual, None);
        book.verified(at(1), peer(2), &address(2));
        book.add(at(2), peer(3), &address(3), AddressSource::Identify, None);
        book.set_connected(at(2), peer(3), true);
        for number in 10..60 {
            book.add(
                at(3),
                peer(number),
                &address(number),
                AddressSource::Discovered,
                None,
            );
            assert!(book.len() <= 4);
        }
        for number in 1..4 {
            assert_eq!(
                book.addresses(at(4), &peer(number)).len(),
                1,
                "peer {number}"
            );
        }
        assert_eq!(
            book.addresses(at(4), &peer(59)).len(),
            1,
            "the latest stranger is there"
        );
        // A full table of better peers takes no stranger, and says so.
        book.verified(at(5), peer(4), &address(4));
        assert!(!book.add(
            at(6),
            peer(70),
            &address(70),
            AddressSource::Discovered,
            None
        ));
    }

    #[test]
    fn less_trusted_addresses_make_room_for_more_trusted_ones() {
        let (mut book, who) = (book(1, 3), peer(1));
        book.add(at(0), who, &address(1), AddressSource::Identify, None);
        book.add(at(0), who, &address(2), AddressSource::Discovered, None);
        book.add(at(0), who, &address(3), AddressSource::Discovered, None);
        assert!(book.add(at(1), who, &address(4), AddressSource::Discovered, None));
        assert_eq!(
            book.addresses(at(1), &who),
            [address(1), address(3), address(4)]
        );
        for number in 10..20 {
            assert!(
                book.add(at(1), who, &address(number), AddressSource::Manual, None)
                    == (number < 13)
            );
        }
        assert!(!book.add(at(1), who, &address(30), AddressSource::Identify, None));
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Add(u64, u64, u8),
        Replace(u64, Vec<u64>),
        Verified(u64, u64),
        Connected(u64, bool),
        Remove(u64, u64),
        Wait(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (0u64..12, 0u64..12, 0u8..5).prop_map(|(p, a, s)| Operation::Add(p, a, s)),
            (0u64..12, prop::collection::vec(0u64..12, 0..6))
                .prop_map(|(p, a)| Operation::Replace(p, a)),
            (0u64..12, 0u64..12).prop_map(|(p, a)| Operation::Verified(p, a)),
            (0u64..12, any::<bool>()).prop_map(|(p, c)| Operation::Connected(p, c)),
            (0u64..12, 0u64..12).prop_map(|(p, a)| Operation::Remove(p, a)),
            (0u64..2000).prop_map(Operation::Wait),
        ]
    }

    proptest! {
        #[test]
        fn stays_within_its_caps_and_its_indices_agree(operations in prop::collection::vec(operation(), 0..120)) {
            let mut book = book(5, 4);
            let peers: Vec<PeerId> = (0..12).map(peer).collect();
            let sources = [
                AddressSource::Discovered, AddressSource::Identify, AddressSource::Certified,
                AddressSource::Dialed, AddressSource::Manual,
            ];
            let mut now = Instant::ZERO;
            for operation in operations {
                match operation {
                    Operation::Add(p, a, s) => {
                        book.add(now, peers[p as usize], &address(a), sources[s as usize], None);
                    }
                    Operation::Replace(p, a) => {
                        let list: Vec<_> = a.into_iter().map(address).collect();
                        book.replace(now, peers[p as usize], &list, AddressSource::Certified);
                    }
                    Operation::Verified(p, a) => book.verified(now, peers[p as usize], &address(a)),
                    Operation::Connected(p, c) => book.set_connected(now, peers[p as usize], c),
                    Operation::Remove(p, a) => book.remove(peers[p as usize], &address(a)),
                    Operation::Wait(seconds) => {
                        now = now + Duration::from_secs(seconds);
                        book.expire(now);
                        prop_assert!(book.next_expiry().is_none_or(|at| at > now));
                    }
                }
                prop_assert!(book.places.len() <= 5);
                prop_assert_eq!(book.order.len(), book.places.len());
                prop_assert_eq!(book.entries.len(), book.places.len());
                let (mut bytes, mut expiries) = (0, 0);
                for peer in &peers {
                    if let Some(place) = book.place_of(peer) {
                        let entry = &book.entries[place];
                        prop_assert_eq!(entry.peer, *peer);
                        prop_assert!(!entry.addresses.is_empty() && entry.addresses.len() <= 4);
                        prop_assert!(book.order.contains(&(entry.standing, place)));
                        bytes += entry.bytes();
                        prop_assert!(entry.addresses.capacity() <= 2 * entry.addresses.len() + 1);
                        expiries += usize::from(entry.next_expiry().is_some());
                    }
                }
                prop_assert_eq!(book.bytes, bytes);
                prop_assert_eq!(book.expiries.len(), expiries);
            }
        }
    }
}
