//! What peers may make this node do: dial others, and answer.

use super::{Dht, InboundId, Moment, Output};
use crate::{
    identity::PeerId,
    protocol::kad::{
        query::Query,
        store::RecordStore,
        table::{DiversityLimits, Group},
    },
    swarm::Rate,
    time::Instant,
};
use alloc::collections::BTreeMap;

/// Whom a lookup has asked that was not connected: peers say where others are, and may mean somebody else's machines.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Dials {
    count: usize,
    groups: BTreeMap<Group, usize>,
}

impl<S: RecordStore> Dht<S> {
    /// Whether a query may still ask a peer: always, if that needs no dial. It counts.
    pub(super) fn may_ask(&self, query: &mut Query, peer: &PeerId) -> bool {
        // Whom something is given was chosen, by a lookup or by the application.
        if query.is_giving() || self.members.contains_key(peer) {
            return true;
        }
        if query.dials.count >= self.config.max_dials_per_query {
            return false;
        }
        query.dials.count = query.dials.count.saturating_add(1);
        let Some(most) = self.config.max_dials_per_group else {
            return true;
        };
        let limits = self.config.diversity.unwrap_or_default();
        let groups = self.groups_of(query, peer, &limits);
        let full = |group: &Group| {
            query
                .dials
                .groups
                .get(group)
                .is_some_and(|count| *count >= most)
        };
        if groups.iter().any(full) {
            return false;
        }
        for group in groups {
            let count = query.dials.groups.entry(group).or_default();
            *count = count.saturating_add(1);
        }
        true
    }

    /// The networks in which a peer would be dialed.
    fn groups_of(
        &self,
        query: &Query,
        peer: &PeerId,
        limits: &DiversityLimits,
    ) -> smallvec::SmallVec<[Group; 4]> {
        let learnt = query.learnt.get(peer).into_iter().flatten();
        let known = self.table.get(peer).map(|entry| entry.addresses());
        limits.groups(known.into_iter().flatten().chain(learnt))
    }

    /// Whether a peer has asked more than it may. Then the request is refused.
    pub(super) fn asks_too_much(&mut self, at: Moment, to: InboundId, from: &PeerId) -> bool {
        let rate = self.config.request_rate;
        let Some(member) = self.members.get_mut(from) else {
            return false;
        };
        if member.requests.take(at.now, rate) {
            return false;
        }
        let count = &mut self.statistics.too_many_requests;
        *count = count.saturating_add(1);
        self.outputs.push_back(Output::Refuse { to });
        true
    }
}

/// What a peer may still ask: the time at which it has earned all again (generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    full_at: Instant,
}

impl Allowance {
    /// Takes one, if there is one.
    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let after = self.full_at.max(now) + rate.interval;
        let allowed = after - now <= rate.interval.saturating_mul(rate.burst);
        if allowed {
            self.full_at = after;
        }
        allowed
    }
}
