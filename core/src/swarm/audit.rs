//! The swarm's books, recomputed from what is there: for tests and simulations.

use super::{
    connections::Phase,
    state::{Running, State},
};
use crate::connection::Direction;
use alloc::{collections::BTreeMap, format, string::String};

impl State {
    /// Whether every count and reservation is what the connections there are account for, and within its limit.
    pub(super) fn audit(&self) -> Result<(), String> {
        let limits = &self.config.limits;
        let (mut inbound, mut pending, mut up, mut reserved) = (0u32, 0u32, 0usize, 0usize);
        let mut sources: BTreeMap<_, (u32, u32)> = BTreeMap::new();
        for (id, entry) in self.connections.iter() {
            reserved = reserved.saturating_add(entry.reserved);
            let handshake = entry.phase == Phase::Handshake;
            if entry.point.direction == Direction::Inbound {
                inbound = inbound.saturating_add(1);
                pending = pending.saturating_add(u32::from(handshake));
            }
            for network in entry.source.iter().flat_map(|source| source.networks()) {
                let (all, pending) = sources.entry(network).or_default();
                *all = all.saturating_add(1);
                *pending = pending.saturating_add(u32::from(handshake));
            }
            if let Phase::Up { peer, .. } = &entry.phase {
                up = up.saturating_add(1);
                let known = self.peers.get(peer);
                if !known.is_some_and(|known| known.connections.contains(&id)) {
                    return Err(format!(
                        "{id} leads to {peer}, whose entry does not know it"
                    ));
                }
            }
        }
        equal("accepted connections", self.inbound, inbound)?;
        equal("handshakes of accepted connections", self.pending, pending)?;
        self.sources.audit(&sources, limits)?;
        let known: usize = self.peers.values().map(|peer| peer.connections.len()).sum();
        equal("connections of peers", known, up)?;
        let scopes = up.saturating_add(self.peers.len());
        equal("scopes of the ledger", self.ledger.scopes(), scopes)?;
        self.ledger.audit()?;
        at_most(
            "connections",
            self.connections.len(),
            limits.connections as usize,
        )?;
        at_most("accepted connections", inbound, limits.inbound)?;
        at_most(
            "handshakes of accepted connections",
            pending,
            limits.pending,
        )?;
        for peer in self.peers.values() {
            at_most(
                "connections of a peer",
                peer.connections.len(),
                limits.per_peer as usize,
            )?;
        }
        self.attempts.audit()?;
        // Protocols may hold places of their own, so there may be more.
        let last = usize::from(self.running != Running::Complete);
        let least = [
            reserved,
            self.jobs.host_callers(),
            self.listeners.len(),
            last,
        ];
        let least = least.into_iter().fold(0usize, usize::saturating_add);
        at_most(
            "places owed in the event queue",
            least,
            self.events.reserved(),
        )
    }
}

fn equal<T: PartialEq + core::fmt::Display>(
    what: &str,
    counted: T,
    there: T,
) -> Result<(), String> {
    if counted == there {
        return Ok(());
    }
    Err(format!("{what}: {counted} counted, {there} there"))
}

pub(super) fn at_most<T: PartialOrd + core::fmt::Display>(
    what: &str,
    there: T,
    limit: T,
) -> Result<(), String> {
    if there <= limit {
        return Ok(());
    }
    Err(format!("{what}: {there}, at most {limit} allowed"))
}
