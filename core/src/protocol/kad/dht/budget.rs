//! What peers may make this node do: dial others, and answer.

use super::{Dht, Moment};
use crate::{
    identity::PeerId,
    protocol::kad::{query::Query, store::RecordStore, table::Group},
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
        let Some(most) = self.config.max_dials_per_group else {
            query.dials.count = query.dials.count.saturating_add(1);
            return true;
        };
        let limits = self.config.diversity.unwrap_or_default();
        let known = self
            .table
            .get(peer)
            .map_or(&[][..], |entry| entry.addresses());
        let Query { learnt, dials, .. } = query;
        let mut others = learnt.get_mut(peer);
        if let Some(learnt) = &mut others {
            let before = learnt.len();
            // What is told of an honest peer besides must not keep it from being asked.
            learnt.retain(|address| {
                let count = limits
                    .group(address)
                    .and_then(|group| dials.groups.get(&group));
                count.is_none_or(|count| *count < most)
            });
            if learnt.is_empty() && before > 0 && known.is_empty() {
                return false;
            }
        }
        for group in limits.groups(
            known
                .iter()
                .chain(others.into_iter().flatten().map(|a| &*a)),
        ) {
            let count = dials.groups.entry(group).or_default();
            *count = count.saturating_add(1);
        }
        dials.count = dials.count.saturating_add(1);
        true
    }

    /// Whether a request of a peer may be dealt with now; then it counts. Otherwise the time at which it may: hosts let it wait,
    /// and read no more of that stream. Peers without a connection are not limited.
    ///
    /// # Errors
    /// That time.
    pub fn admit_request(&mut self, at: Moment, from: &PeerId) -> Result<(), Instant> {
        let rate = self.config.request_rate;
        let Some(member) = self.members.get_mut(from) else {
            return Ok(());
        };
        let admitted = member.requests.take(at.now, rate);
        if admitted.is_err() {
            let count = &mut self.statistics.delayed_requests;
            *count = count.saturating_add(1);
        }
        admitted
    }
}

/// What a peer may still ask: the time at which it has earned all again (generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    full_at: Instant,
}

impl Allowance {
    /// Takes one, if there is one; or when there will be.
    fn take(&mut self, now: Instant, rate: Rate) -> Result<(), Instant> {
        let after = self.full_at.max(now) + rate.interval;
        let most = rate.interval.saturating_mul(rate.burst);
        let ahead = after - now;
        if ahead > most {
            return Err(now + ahead.saturating_sub(most));
        }
        self.full_at = after;
        Ok(())
    }
}
