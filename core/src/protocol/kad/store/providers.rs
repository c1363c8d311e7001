//! Who is kept as a provider of what.

use super::{MemoryStoreConfig, Origin, StoreError, records::release};
use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        key::{Distance, Key, RecordKey},
        record::ProviderRecord,
    },
    time::UnixTime,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use bytes::Bytes;
use core::{net::IpAddr, ops::Bound};

/// What decides in a store which provider records are kept, for whoever writes one: the limits of a [`MemoryStoreConfig`] that
/// concern providers.
#[derive(Debug)]
pub struct ProviderTable {
    local: Option<Key>,
    config: MemoryStoreConfig,
    own: BTreeMap<RecordKey, ProviderRecord>,
    /// The provider record, and the peer it counts for.
    peers: BTreeMap<RecordKey, BTreeMap<PeerId, (ProviderRecord, PeerId)>>,
    /// Of the keys of `peers`: which has to go first is the last.
    by_distance: BTreeSet<(Distance, RecordKey)>,
    by_expiry: BTreeSet<(UnixTime, ProviderSlot)>,
    per_peer: BTreeMap<PeerId, usize>,
}

/// Where in a [`ProviderTable`] there is a provider record, or may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderSlot {
    /// That this node provides a key.
    Own(RecordKey),
    /// That a peer does.
    Peer(RecordKey, PeerId),
}

/// What is the same for hosts of one network: of an IPv4 address 24 bits, of an IPv6 address 56.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    V4([u8; 3]),
    V6([u8; 7]),
}

impl Network {
    /// Of an address that counts.
    fn of(address: &Multiaddr) -> Option<Self> {
        if !address.is_global() || address.is_relayed() {
            return None;
        }
        match address.ip()?.to_canonical() {
            IpAddr::V4(ip) => ip.octets().first_chunk().copied().map(Self::V4),
            IpAddr::V6(ip) => ip.octets().first_chunk().copied().map(Self::V6),
        }
    }
}

impl ProviderTable {
    /// An empty table of the node at `local`. Without a position no key is nearer than another, and a full table refuses.
    #[must_use]
    pub fn new(local: Option<Key>, config: MemoryStoreConfig) -> Self {
        Self {
            local,
            config,
            own: BTreeMap::new(),
            peers: BTreeMap::new(),
            by_distance: BTreeSet::new(),
            by_expiry: BTreeSet::new(),
            per_peer: BTreeMap::new(),
        }
    }

    /// How many provider records there are, expired ones included. Costs as many steps as peers provide keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers
            .values()
            .map(BTreeMap::len)
            .fold(self.own.len(), usize::saturating_add)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.peers.is_empty()
    }

    /// How many keys peers provide.
    #[must_use]
    pub fn provided_keys(&self) -> usize {
        self.peers.len()
    }

    /// What is there, even if it has expired, and for whom.
    #[must_use]
    pub fn get(&self, slot: &ProviderSlot) -> Option<(&ProviderRecord, Origin)> {
        match slot {
            ProviderSlot::Own(key) => self.own.get(key).map(|record| (record, Origin::Local)),
            ProviderSlot::Peer(key, peer) => {
                let (record, counted) = self.peers.get(key)?.get(peer)?;
                Some((record, Origin::Peer(*counted)))
            }
        }
    }

    /// Who provides a key: first this node, then peers in the order of their ids, expired ones included.
    pub fn providers(&self, key: &RecordKey) -> impl Iterator<Item = &ProviderRecord> {
        let peers = self.peers.get(key).into_iter().flat_map(BTreeMap::values);
        self.own
            .get(key)
            .into_iter()
            .chain(peers.map(|(record, _)| record))
    }

    /// What this node provides in the order of the keys, those after `after`, expired ones included.
    pub fn own_after(&self, after: Option<&RecordKey>) -> impl Iterator<Item = &ProviderRecord> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.own
            .range((from, Bound::Unbounded))
            .map(|(_, record)| record)
    }

    /// Forgets what has expired. Costs what it forgets. To be called before [`add`](Self::add).
    pub fn remove_expired(&mut self, now: UnixTime) -> Vec<ProviderSlot> {
        let mut gone = Vec::new();
        while let Some((expires, slot)) = self.by_expiry.first() {
            if *expires > now {
                break;
            }
            let slot = slot.clone();
            self.remove(&slot);
            gone.push(slot);
        }
        gone
    }

    /// Keeps that a peer provides a key, if the limits allow; otherwise nothing changes. Gives the place where it is, and those
    /// that had to go for it. One that has expired already is not kept, nor one of a peer who says it were this node.
    ///
    /// This node has one entry for a key: another one, even for another peer id, takes its place.
    ///
    /// # Errors
    /// The limit that it is over.
    pub fn add(
        &mut self,
        record: ProviderRecord,
        origin: Origin,
        now: UnixTime,
    ) -> Result<(Option<ProviderSlot>, Vec<ProviderSlot>), StoreError> {
        if record.key.as_bytes().len() > self.config.max_key_bytes {
            return Err(StoreError::ValueTooLarge);
        }
        let own = self.own.get(&record.key);
        let is_own = own.is_some_and(|own| own.provider == record.provider && !own.is_expired(now));
        if record.is_expired(now) || (is_own && origin != Origin::Local) {
            return Ok((None, Vec::new()));
        }
        match origin {
            Origin::Local => self.add_own(record),
            Origin::Peer(peer) => self.add_peer(&record, peer),
        }
    }

    fn add_own(
        &mut self,
        record: ProviderRecord,
    ) -> Result<(Option<ProviderSlot>, Vec<ProviderSlot>), StoreError> {
        if !self.own.contains_key(&record.key)
            && self.own.len() >= self.config.max_own_provided_keys
        {
            return Err(StoreError::MaxProvidedKeys);
        }
        let slot = ProviderSlot::Own(record.key.clone());
        let double = ProviderSlot::Peer(record.key.clone(), record.provider);
        let gone = self.remove(&double).map(|_| double).into_iter().collect();
        self.remove(&slot);
        if let Some(expires) = record.expires {
            self.by_expiry.insert((expires, slot.clone()));
        }
        self.own.insert(record.key.clone(), record);
        Ok((Some(slot), gone))
    }

    fn add_peer(
        &mut self,
        record: &ProviderRecord,
        counted: PeerId,
    ) -> Result<(Option<ProviderSlot>, Vec<ProviderSlot>), StoreError> {
        let slot = ProviderSlot::Peer(
            RecordKey::copy_from_slice(record.key.as_bytes()),
            record.provider,
        );
        let before = self.get(&slot).map(|(_, origin)| origin);
        let providers = self.peers.get(&record.key);
        if before.is_none() {
            if providers
                .is_some_and(|providers| providers.len() >= self.config.max_providers_per_key)
                || self.config.max_providers_per_key == 0
            {
                return Err(StoreError::MaxProviders);
            }
            if self
                .per_peer
                .get(&counted)
                .is_some_and(|count| *count >= self.config.max_provider_keys_per_peer)
            {
                return Err(StoreError::MaxForPeer);
            }
        }
        let addresses = self.admissible(record).ok_or(StoreError::MaxProviders)?;
        let victims = if providers.is_none() {
            self.make_room(&record.key)?
        } else {
            Vec::new()
        };
        for victim in &victims {
            self.remove(victim);
        }
        self.remove(&slot);
        let counted = match before {
            Some(Origin::Peer(before)) => before,
            _ => counted,
        };
        let ProviderSlot::Peer(key, _) = &slot else {
            return Ok((None, victims));
        };
        let record = ProviderRecord {
            key: key.clone(),
            provider: record.provider,
            expires: record.expires,
            addresses,
        };
        let count = self.per_peer.entry(counted).or_default();
        *count = count.saturating_add(1);
        if let Some(expires) = record.expires {
            self.by_expiry.insert((expires, slot.clone()));
        }
        self.by_distance.insert((self.distance(key), key.clone()));
        self.peers
            .entry(key.clone())
            .or_default()
            .insert(record.provider, (record, counted));
        Ok((Some(slot), victims))
    }

    /// Forgets what is there.
    pub fn remove(&mut self, slot: &ProviderSlot) -> Option<ProviderRecord> {
        let record = match slot {
            ProviderSlot::Own(key) => self.own.remove(key)?,
            ProviderSlot::Peer(key, peer) => {
                let providers = self.peers.get_mut(key)?;
                let (record, counted) = providers.remove(peer)?;
                if providers.is_empty() {
                    self.peers.remove(key);
                    self.by_distance.remove(&(self.distance(key), key.clone()));
                }
                release(&mut self.per_peer, &counted);
                record
            }
        };
        if let Some(expires) = record.expires {
            self.by_expiry.remove(&(expires, slot.clone()));
        }
        Some(record)
    }

    /// The addresses that may be kept; `None` if it had some, and may have none for the networks they are in.
    fn admissible(&self, record: &ProviderRecord) -> Option<Vec<Multiaddr>> {
        let mut taken: BTreeMap<Network, usize> = BTreeMap::new();
        let others = self.peers.get(&record.key).into_iter().flatten();
        for (_, (other, _)) in others.filter(|(peer, _)| **peer != record.provider) {
            let networks: BTreeSet<_> = other.addresses.iter().filter_map(Network::of).collect();
            for network in networks {
                let count = taken.entry(network).or_default();
                *count = count.saturating_add(1);
            }
        }
        let (mut kept, mut bytes, mut crowded) = (Vec::new(), 0_usize, false);
        for address in &record.addresses {
            let network = Network::of(address);
            let count = network
                .and_then(|network| taken.get(&network))
                .copied()
                .unwrap_or(0);
            let with = bytes.saturating_add(address.as_bytes().len());
            if count >= self.config.max_providers_per_network && Network::of(address).is_some() {
                crowded = true;
            } else if kept.len() < self.config.max_addresses_per_provider
                && with <= self.config.max_address_bytes
            {
                bytes = with;
                // A copy, lest it keep the buffer of the message alive that brought it.
                kept.extend(Multiaddr::from_shared(Bytes::copy_from_slice(
                    address.as_bytes(),
                )));
            }
        }
        (!kept.is_empty() || !crowded).then_some(kept)
    }

    /// Which provider records have to go for a key that peers do not provide yet.
    fn make_room(&self, key: &RecordKey) -> Result<Vec<ProviderSlot>, StoreError> {
        if self.peers.len() < self.config.max_provided_keys {
            return Ok(Vec::new());
        }
        let farthest = self
            .by_distance
            .last()
            .filter(|(far, _)| *far > self.distance(key));
        let (_, victim) = farthest.ok_or(StoreError::MaxProvidedKeys)?;
        let providers = self.peers.get(victim).into_iter().flat_map(BTreeMap::keys);
        Ok(providers
            .map(|peer| ProviderSlot::Peer(victim.clone(), *peer))
            .collect())
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
