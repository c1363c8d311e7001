//! Who comes into the routing table, and who leaves.

use super::{Deadline, Dht, Moment, Purpose, budget::Allowance};
use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        config::{BucketInserts, K_VALUE},
        event::Event,
        message::{Message, request},
        query::Query,
        store::RecordStore,
        table::{DiversityLimits, Group, Insert, Removed, Room, Status},
    },
};
use alloc::vec::Vec;

/// Newcomers that are checked at once.
const MAX_CHECKS: usize = 256;
/// Peers whose liveness is checked at once.
const PROBES_AT_ONCE: usize = 16;

/// A peer with a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// Where this node reached it, if it dialed.
    dialed: Option<Multiaddr>,
    /// The network it came from, if it dialed this node.
    came_from: Option<Group>,
    /// What it may still ask.
    pub(super) requests: Allowance,
}

/// A peer that would like to come into the table, and has been asked something first.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) addresses: Vec<Multiaddr>,
}

/// What became of an address, see [`Kademlia::add_address`](super::super::Kademlia::add_address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingUpdate {
    /// It is in the routing table.
    Success,
    /// The peer waits for a place in its k-bucket.
    Pending,
    /// It is not: it belongs to another peer, to this node, to a network with too many peers, or is out of scope; or there is no
    /// room.
    Failed,
}

impl<S: RecordStore> Dht<S> {
    /// A connection to a peer is up, the first or another one. `dialed` is where it was reached, if this node dialed.
    pub fn handle_connected(&mut self, at: Moment, peer: PeerId, dialed: Option<&Multiaddr>) {
        let member = self.members.entry(peer).or_default();
        let scope = self.config.address_scope;
        if let Some(address) = dialed.filter(|address| scope.allows(address)) {
            let address = address.without_peer_id();
            self.table.confirm_address(&peer, &address);
            member.dialed = Some(address);
        }
        self.table.set_status(at.now, &peer, Status::Connected);
        self.table_changed();
    }

    /// A peer has dialed this node from `remote`; in place of [`handle_connected`](Self::handle_connected), where that is known.
    /// With [diversity limits](super::super::Config::diversity) it comes into the table by what it tells of itself only if one of
    /// the addresses it tells is in the network it came from: else those who own one network could claim to be in many. Whoever
    /// this node reaches at an address need not.
    pub fn handle_accepted(&mut self, at: Moment, peer: PeerId, remote: &Multiaddr) {
        self.handle_connected(at, peer, None);
        let group = |limits: &DiversityLimits| limits.group(remote);
        let group = self.config.diversity.as_ref().and_then(group);
        if let Some(member) = self.members.get_mut(&peer) {
            member.came_from = group;
        }
    }

    /// Whether a peer may be where it says.
    fn is_credible(&self, peer: &PeerId, addresses: &[Multiaddr]) -> bool {
        let (Some(limits), Some(member)) = (&self.config.diversity, self.members.get(peer)) else {
            return true;
        };
        let Some(group) = member.came_from.filter(|_| member.dialed.is_none()) else {
            return true;
        };
        let mut addresses = addresses.iter();
        addresses.any(|address| limits.group(address) == Some(group))
    }

    /// The last connection to a peer is gone. Requests that were under way on it are still to be failed by
    /// [`handle_response`](Self::handle_response), or asked anew.
    pub fn handle_disconnected(&mut self, at: Moment, peer: &PeerId) {
        self.members.remove(peer);
        self.table.set_status(at.now, peer, Status::Disconnected);
        self.table_changed();
    }

    /// It became known whether a peer is a server of this DHT, and where it says that it may be reached.
    pub fn handle_protocol(
        &mut self,
        at: Moment,
        peer: PeerId,
        is_server: bool,
        addresses: &[Multiaddr],
    ) {
        if !is_server {
            return self.demote(&peer);
        }
        let addresses = self.with_dialed(&peer, addresses);
        if self.table.contains(&peer) {
            self.update_addresses(at, &peer, &addresses);
            return;
        }
        let first = addresses.first().cloned();
        let Some(address) = first.filter(|_| self.is_credible(&peer, &addresses)) else {
            return self.emit(Event::UnroutablePeer { peer });
        };
        match self.config.kbucket_inserts {
            BucketInserts::Manual => self.emit(Event::RoutablePeer { peer, address }),
            BucketInserts::OnConnected => self.route(at, peer, addresses, true),
            BucketInserts::Checked => self.check(at, peer, addresses),
        }
    }

    /// Usable addresses of a peer, the one it was reached at first.
    fn with_dialed(&self, peer: &PeerId, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let scope = self.config.address_scope;
        let dialed = self
            .members
            .get(peer)
            .and_then(|member| member.dialed.as_ref());
        let mut all: Vec<Multiaddr> = Vec::new();
        for address in dialed.into_iter().chain(addresses) {
            if address.peer_id().is_some_and(|other| other != *peer) || !scope.allows(address) {
                continue;
            }
            let address = address.without_peer_id();
            if all.len() < self.config.max_addresses && !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    /// Asks a newcomer for the peers closest to itself.
    fn check(&mut self, at: Moment, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.candidates.contains_key(&peer) || self.candidates.len() >= MAX_CHECKS {
            return;
        }
        // Asking costs both sides a message: only if the answer can make a difference.
        let status = self.status(&peer);
        match self.table.has_room_for(at.now, &peer, &addresses, status) {
            Room::Yes => {}
            Room::Full => {
                if let Some(address) = addresses.first().cloned() {
                    self.emit(Event::RoutablePeer { peer, address });
                }
                return;
            }
            Room::No => return,
        }
        self.candidates.insert(peer, Candidate { addresses });
        let mut message = Vec::new();
        request::find_node(&mut message, peer.as_bytes());
        self.request(at, peer, message.into(), true, Purpose::Check);
    }

    /// A newcomer answered, or did not. One that knows nobody is of no use, unless this node knows few.
    pub(super) fn check_answered(
        &mut self,
        at: Moment,
        peer: &PeerId,
        answer: Option<Message<'_>>,
    ) {
        let Some(candidate) = self.candidates.remove(peer) else {
            return;
        };
        let sparse = self.table.len() < K_VALUE.get();
        let passed =
            answer.is_some_and(|message| sparse || message.closer_peers().next().is_some());
        if passed {
            self.route(at, *peer, candidate.addresses, true);
            self.table.succeeded(peer, at.now);
        } else {
            let count = &mut self.statistics.failed_checks;
            *count = count.saturating_add(1);
        }
    }

    /// A peer answered something outside of this protocol, or long ago: it counts as if it had answered a request now.
    pub fn handle_answer(&mut self, at: Moment, peer: &PeerId) {
        self.answers(at, peer);
    }

    /// A peer answered something: it is alive, and a server.
    pub(super) fn answers(&mut self, at: Moment, peer: &PeerId) {
        self.table.succeeded(peer, at.now);
    }

    /// A peer answered a query: that is the proof that it belongs in the table.
    pub(super) fn answers_query(&mut self, at: Moment, peer: &PeerId, query: &Query) {
        if self.table.contains(peer) {
            return self.table.succeeded(peer, at.now);
        }
        let learnt = query.learnt.get(peer).map_or(&[][..], Vec::as_slice);
        let addresses = self.with_dialed(peer, learnt);
        if addresses.is_empty() {
            return;
        }
        if self.config.kbucket_inserts != BucketInserts::Manual
            && self.is_credible(peer, &addresses)
        {
            self.route(at, *peer, addresses, false);
            self.table.succeeded(peer, at.now);
        }
    }

    /// Takes a peer into the table, if there is room for it. `tell` says whether the application hears of one that found
    /// none.
    fn route(&mut self, at: Moment, peer: PeerId, addresses: Vec<Multiaddr>, tell: bool) {
        let status = self.status(&peer);
        let address = addresses.first().cloned();
        match self.table.insert(at.now, peer, &addresses, status) {
            Insert::Added => self.routed(at, peer, true, None),
            Insert::Updated { new_address: true } => self.routed(at, peer, false, None),
            Insert::Pending { probe } => {
                if let Some(address) = address.filter(|_| tell) {
                    self.emit(Event::PendingRoutablePeer { peer, address });
                }
                self.probe(at, probe);
            }
            Insert::Full => {
                if let Some(address) = address.filter(|_| tell) {
                    self.emit(Event::RoutablePeer { peer, address });
                }
            }
            _ => {}
        }
        self.table_changed();
    }

    /// A peer came into the table, or got a new address there.
    fn routed(&mut self, at: Moment, peer: PeerId, is_new_peer: bool, old_peer: Option<PeerId>) {
        let Some(entry) = self.table.get(&peer) else {
            return;
        };
        let addresses = entry.addresses().to_vec();
        let Some(bucket) = self.table.bucket(entry.position()) else {
            return;
        };
        let bucket_range = bucket.range();
        if is_new_peer && old_peer.is_none() && self.table.len() < K_VALUE.get() {
            self.bootstraps.trigger(at.now);
        }
        self.emit(Event::RoutingUpdated {
            peer,
            is_new_peer,
            addresses,
            bucket_range,
            old_peer,
        });
    }

    fn status(&self, peer: &PeerId) -> Status {
        if self.members.contains_key(peer) {
            Status::Connected
        } else {
            Status::Disconnected
        }
    }

    fn update_addresses(&mut self, at: Moment, peer: &PeerId, addresses: &[Multiaddr]) {
        let before = self
            .table
            .get(peer)
            .map_or(0, |entry| entry.addresses().len());
        for address in addresses {
            self.table.add_address(peer, address);
        }
        let after = self
            .table
            .get(peer)
            .map_or(0, |entry| entry.addresses().len());
        if after > before {
            self.routed(at, *peer, false, None);
        }
    }

    /// A peer did not answer, or cannot be reached.
    pub(super) fn unreachable(&mut self, at: Moment, peer: &PeerId) {
        let Some(entry) = self.table.failed(peer, at.now) else {
            return;
        };
        self.statistics.evicted = self.statistics.evicted.saturating_add(1);
        self.fallen.retain(|(other, _)| other != peer);
        if self.fallen.len() >= K_VALUE.get() {
            self.fallen.pop_front();
        }
        self.fallen.push_back((*peer, entry.addresses().to_vec()));
        self.table_changed();
    }

    /// Nobody is in the table any more. Perhaps it was this node that was not there: those who left it last get another chance.
    pub(super) fn take_back_fallen(&mut self, at: Moment) {
        if !self.table.is_empty() || self.config.kbucket_inserts == BucketInserts::Manual {
            return;
        }
        for (peer, addresses) in core::mem::take(&mut self.fallen) {
            self.route(at, peer, addresses, false);
        }
    }

    /// A peer is no server of this DHT, or no longer.
    pub(super) fn demote(&mut self, peer: &PeerId) {
        self.candidates.remove(peer);
        if self.table.remove(peer).is_some() {
            self.statistics.evicted = self.statistics.evicted.saturating_add(1);
            self.table_changed();
        }
    }

    /// Is a peer of the table still there?
    fn probe(&mut self, at: Moment, peer: PeerId) {
        let asked = self
            .rpcs
            .values()
            .any(|rpc| rpc.peer == peer && rpc.purpose == Purpose::Probe);
        if asked {
            return;
        }
        let mut message = Vec::new();
        request::find_node(&mut message, peer.as_bytes());
        self.request(at, peer, message.into(), true, Purpose::Probe);
    }

    /// Asks some of those that have not been heard of for a while.
    pub(super) fn check_liveness(&mut self, at: Moment) {
        let Some(interval) = self.config.liveness_interval else {
            return;
        };
        // Several rounds in one interval, so that a large table is not asked all at once.
        self.timers.set(
            Deadline::Liveness,
            at.now
                .saturating_add(interval.checked_div(8).unwrap_or_default()),
        );
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let Some(before) = at.now.as_nanos().checked_sub(nanos) else {
            return;
        };
        let before = crate::time::Instant::from_nanos(before);
        let silent: Vec<PeerId> = self.table.least_recently_seen(before).collect();
        for peer in silent.into_iter().take(PROBES_AT_ONCE) {
            self.probe(at, peer);
        }
    }

    /// Those that waited long enough for a place get it.
    pub(super) fn apply_pending(&mut self, at: Moment) {
        while let Some(applied) = self.table.apply_pending(at.now) {
            let old_peer = applied.evicted.map(|entry| *entry.peer());
            self.routed(at, applied.inserted, true, old_peer);
        }
        self.table_changed();
    }

    /// The table may have another deadline.
    fn table_changed(&mut self) {
        match self.table.next_deadline().filter(|_| !self.stopped) {
            Some(next) => self.timers.set(Deadline::Pending, next),
            None => self.timers.clear(Deadline::Pending),
        }
    }

    /// See [`Kademlia::add_address`](super::super::Kademlia::add_address).
    pub fn add_address(&mut self, at: Moment, peer: PeerId, address: &Multiaddr) -> RoutingUpdate {
        if address.peer_id().is_some_and(|other| other != peer) {
            return RoutingUpdate::Failed;
        }
        let address = address.without_peer_id();
        let is_in = self.table.contains(&peer);
        if is_in || self.table.pending(&peer).is_some() {
            if self.table.add_address(&peer, &address) && is_in {
                self.routed(at, peer, false, None);
            }
            let entry = self.table.get(&peer).or(self.table.pending(&peer));
            return match entry.filter(|entry| entry.addresses().contains(&address)) {
                None => RoutingUpdate::Failed,
                Some(_) if is_in => RoutingUpdate::Success,
                Some(_) => RoutingUpdate::Pending,
            };
        }
        let status = self.status(&peer);
        let update = match self.table.insert(at.now, peer, [&address], status) {
            Insert::Added => {
                self.routed(at, peer, true, None);
                RoutingUpdate::Success
            }
            Insert::Pending { probe } => {
                self.probe(at, probe);
                RoutingUpdate::Pending
            }
            _ => RoutingUpdate::Failed,
        };
        self.table_changed();
        update
    }

    /// See [`Kademlia::remove_address`](super::super::Kademlia::remove_address).
    pub fn remove_address(&mut self, peer: &PeerId, address: &Multiaddr) -> Removed {
        let removed = self.table.remove_address(peer, &address.without_peer_id());
        self.table_changed();
        removed
    }

    /// See [`Kademlia::remove_peer`](super::super::Kademlia::remove_peer).
    pub fn remove_peer(&mut self, peer: &PeerId) -> Option<super::super::table::Entry> {
        let entry = self.table.remove(peer);
        self.table_changed();
        entry
    }

    /// An address did not lead to a peer: it leaves the routing table, unless it is the last one.
    pub fn handle_address_failed(&mut self, peer: &PeerId, address: &Multiaddr) {
        self.table.address_failed(peer, address);
    }

    /// A peer's address has changed on a connection that goes on.
    pub fn handle_address_change(&mut self, peer: &PeerId, old: &Multiaddr, new: &Multiaddr) {
        let (old, new) = (old.without_peer_id(), new.without_peer_id());
        self.table.replace_address(peer, &old, &new);
        for query in self.queries.values_mut() {
            let learnt = query.learnt.get_mut(peer);
            for address in learnt.into_iter().flatten().filter(|known| **known == old) {
                *address = new.clone();
            }
        }
    }
}
