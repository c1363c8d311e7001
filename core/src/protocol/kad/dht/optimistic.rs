//! Announcing providers before a lookup is done: optimistic provide
//! ([measured](https://probelab.io/blog/optimistic-provide/), go-libp2p-kad-dht's `lookup_optim.go`).
//!
//! With an estimate of the network's size it can be told how likely a peer at some distance is one of the 20 closest. Those that
//! are so with a probability of 0.9 are told as soon as they are known; once the 20 closest known are together as close as 20
//! peers of a network of that size should be, the search ends, and the rest of them are told. The query is over when 15 have
//! been; the others are told in the background. Without an estimate it is an ordinary announcement.

use super::{Dht, Moment, Purpose};
use crate::{
    identity::PeerId,
    protocol::kad::{
        config::K_VALUE,
        iterators::PeersIterator,
        key::Distance,
        query::{AddProviderPhase, Query, QueryId, QueryInfo},
        store::RecordStore,
    },
};
use alloc::vec::Vec;

/// A peer is one of the 20 closest with a probability of 0.9 if so many others are expected to be closer: where the regularized
/// lower incomplete gamma function P(20, x) is 0.1.
const ONE_IS_CLOSE: f64 = 14.525;
/// Twenty peers are close enough if so many are expected within their average distance: where P(11, x) is 0.9.
const ALL_ARE_CLOSE: f64 = 15.407;
/// So many peers told are enough to go on with something else.
const TOLD_ENOUGH: usize = 15;

impl<S: RecordStore> Dht<S> {
    /// The closest known peers of an announcement that may be made early, with how many others are expected to be closer.
    fn expected(&self, at: Moment, query: &Query) -> Option<Vec<(f64, PeerId)>> {
        let wanted = self.config.optimistic_provide && self.config.replication_factor == K_VALUE;
        let looking = matches!(
            query.info,
            QueryInfo::AddProvider {
                phase: AddProviderPhase::GetClosestPeers,
                ..
            }
        );
        let PeersIterator::Closest(search) = &query.peers else {
            return None;
        };
        if !wanted || !looking {
            return None;
        }
        let size = self.size.estimate(at.now)?;
        let known = search.closest_known();
        let expected = |(distance, peer): (Distance, PeerId)| (distance.as_fraction() * size, peer);
        Some(known.map(expected).collect())
    }

    /// After each answer of the search for whom to tell.
    pub(super) fn announce_early(&mut self, at: Moment, id: QueryId, query: &mut Query) {
        let Some(known) = self.expected(at, query) else {
            return;
        };
        let QueryInfo::AddProvider { key, .. } = &query.info else {
            return;
        };
        let mut message = None;
        for (closer, peer) in &known {
            if *closer < ONE_IS_CLOSE && *peer != self.local && query.told.insert(*peer) {
                query.stats.requests = query.stats.requests.saturating_add(1);
                query.early_open = query.early_open.saturating_add(1);
                let message = message
                    .get_or_insert_with(|| self.announcement(key))
                    .clone();
                self.request(at, *peer, message, false, Purpose::Announce(id));
            }
        }
        let sum: f64 = known.iter().map(|(closer, _)| closer).sum();
        if known.len() == K_VALUE.get() && sum < ALL_ARE_CLOSE * known.len() as f64 {
            query.ends_early = true;
        }
    }

    /// Those of the closest known that were not told early; `None` if nobody was.
    pub(super) fn not_told_early(&self, query: &Query) -> Option<Vec<PeerId>> {
        let PeersIterator::Closest(search) = &query.peers else {
            return None;
        };
        if query.told.is_empty() {
            return None;
        }
        let known = search.closest_known().map(|(_, peer)| peer);
        Some(known.filter(|peer| !query.told.contains(peer)).collect())
    }

    /// A peer has been told early, or cannot be.
    pub(super) fn early_over(&mut self, at: Moment, id: QueryId, told_it: bool) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.early_open = query.early_open.saturating_sub(1);
        if told_it {
            query.told_early = query.told_early.saturating_add(1);
            query.stats.successes = query.stats.successes.saturating_add(1);
            query.count_told();
        } else {
            query.stats.failures = query.stats.failures.saturating_add(1);
        }
        if query.is_giving() {
            query.ends_early |= query.is_told_enough();
            self.advance(at, id);
        }
    }
}

impl Query {
    /// One more peer has been told of a provider.
    pub(super) fn count_told(&mut self) {
        if let QueryInfo::AddProvider {
            phase: AddProviderPhase::AddProvider { told },
            ..
        } = &mut self.info
        {
            *told = told.saturating_add(1);
        }
    }

    /// Whether an announcement that was made early need not wait for the rest.
    pub(super) fn is_told_enough(&self) -> bool {
        let QueryInfo::AddProvider {
            phase: AddProviderPhase::AddProvider { told },
            ..
        } = self.info
        else {
            return false;
        };
        !self.told.is_empty() && told >= TOLD_ENOUGH
    }
}
