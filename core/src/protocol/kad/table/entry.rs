//! A peer in the table, and its addresses.

use super::TableConfig;
use crate::{identity::PeerId, multiaddr::Multiaddr, protocol::kad::Key, time::Instant};
use alloc::vec::Vec;
use core::borrow::Borrow;

/// Whether there is a connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// There is.
    Connected,
    /// There is none.
    Disconnected,
}

/// A peer in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    peer: PeerId,
    position: Key,
    addresses: Addresses,
    pub(super) status: Status,
    pub(super) status_since: Instant,
    pub(super) last_success: Option<Instant>,
    added: Instant,
    pub(super) failures: u32,
    /// When it failed the last time, if it did.
    pub(super) last_failure: Instant,
}

impl Entry {
    pub(super) const fn new(
        peer: PeerId,
        position: Key,
        addresses: Addresses,
        status: Status,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            position,
            addresses,
            status,
            status_since: now,
            last_success: None,
            added: now,
            failures: 0,
            last_failure: now,
        }
    }

    /// Who.
    #[must_use]
    pub const fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// Where in the key space.
    #[must_use]
    pub const fn position(&self) -> &Key {
        &self.position
    }

    /// Where the peer may be reached: at least one address, each once, none with a final `/p2p`. Those confirmed by a
    /// connection come first, the last confirmed at the very first; then the others, the newest first.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses.all
    }

    /// Whether there is a connection.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Since when.
    #[must_use]
    pub const fn status_since(&self) -> Instant {
        self.status_since
    }

    /// When it last answered; `None` if it never did.
    #[must_use]
    pub const fn last_success(&self) -> Option<Instant> {
        self.last_success
    }

    /// When it was first put into the table, or before it.
    #[must_use]
    pub const fn added(&self) -> Instant {
        self.added
    }

    /// How often in a row it has failed to answer.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.status, Status::Connected)
    }

    /// Since when nothing has been heard from it.
    pub(super) fn silent_since(&self) -> Instant {
        self.last_success
            .map_or(self.added, |at| at.max(self.added))
    }

    pub(super) const fn addresses_mut(&mut self) -> &mut Addresses {
        &mut self.addresses
    }
}

/// The addresses of one peer: not empty in the table.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Addresses {
    all: Vec<Multiaddr>,
    /// How many, from the first, were confirmed by a connection.
    confirmed: usize,
}

impl Addresses {
    /// The first that may be kept, in this order, the first of them confirmed or not.
    pub(super) fn new(
        peer: &PeerId,
        addresses: impl IntoIterator<Item = impl Borrow<Multiaddr>>,
        confirmed: bool,
        config: &TableConfig,
    ) -> Self {
        let (mut all, mut first) = (Vec::new(), false);
        for (place, address) in addresses.into_iter().enumerate() {
            if all.len() >= config.max_addresses.max(1) {
                break;
            }
            if let Some(address) = clean(peer, address.borrow())
                && config.address_scope.allows(&address)
                && !all.contains(&address)
            {
                all.push(address);
                first |= place == 0;
            }
        }
        let confirmed = usize::from(confirmed && first);
        Self { all, confirmed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn as_slice(&self) -> &[Multiaddr] {
        &self.all
    }

    /// Adds a clean address that nobody has confirmed; if there are `max`, in place of the least recently confirmed,
    /// which is never the first. Whether it is new and was added.
    pub(super) fn add(&mut self, address: Multiaddr, max: usize) -> bool {
        if self.all.contains(&address) || !self.make_room(max) {
            return false;
        }
        self.all.insert(self.confirmed.min(self.all.len()), address);
        true
    }

    /// A connection has confirmed a clean address. Whether it is new.
    pub(super) fn confirm(&mut self, address: Multiaddr, max: usize) -> bool {
        let known = self.all.iter().position(|other| *other == address);
        if let Some(at) = known {
            self.take_out(at);
        } else if !self.make_room(max) {
            self.all.pop();
            self.confirmed = 0;
        }
        self.all.insert(0, address);
        self.confirmed = self.confirmed.saturating_add(1);
        known.is_none()
    }

    /// Sees to it that there are fewer than `max`.
    fn make_room(&mut self, max: usize) -> bool {
        if self.all.len() < max.max(1) {
            return true;
        }
        if self.all.len() == 1 && self.confirmed > 0 {
            return false;
        }
        self.all.pop();
        self.confirmed = self.confirmed.min(self.all.len());
        true
    }

    /// Puts a clean address in the place of another one. Whether that one was there.
    pub(super) fn replace(&mut self, old: &Multiaddr, new: Multiaddr) -> bool {
        let Some(at) = self.all.iter().position(|other| other == old) else {
            return false;
        };
        match self.all.iter().position(|other| *other == new) {
            Some(same) if same == at => return false,
            Some(_) => self.take_out(at),
            None => {
                if let Some(place) = self.all.get_mut(at) {
                    *place = new;
                }
            }
        }
        true
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, address: &Multiaddr) -> bool {
        let at = self.all.iter().position(|other| other == address);
        if let Some(at) = at {
            self.take_out(at);
        }
        at.is_some()
    }

    fn take_out(&mut self, at: usize) {
        self.all.remove(at);
        if at < self.confirmed {
            self.confirmed = self.confirmed.saturating_sub(1);
        }
    }
}

/// An address as it is kept: without a final `/p2p`, and in memory of its own, for it may be part of a whole message.
/// `None` if it leads to another peer, or is nothing but a peer id.
pub(super) fn clean(peer: &PeerId, address: &Multiaddr) -> Option<Multiaddr> {
    if address.peer_id().is_some_and(|other| other != *peer) {
        return None;
    }
    let address = address.without_peer_id();
    if address.peer_id().is_some() {
        return None;
    }
    Multiaddr::from_bytes(address.as_bytes()).ok()
}
