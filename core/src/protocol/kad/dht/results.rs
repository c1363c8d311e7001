//! The ends of queries, and their further phases.

use super::{Dht, Dials, Moment, queries::End};
use crate::{
    identity::PeerId,
    protocol::kad::{
        config::K_VALUE,
        event::{
            AddProviderError, AddProviderOk, BootstrapError, BootstrapOk, GetClosestPeersError,
            GetClosestPeersOk, GetProvidersError, GetProvidersOk, GetRecordError, GetRecordOk,
            PutRecordError, PutRecordOk, QueryResult,
        },
        iterators::Termination,
        key::{Key, RecordKey},
        message::request,
        query::{
            AddProviderContext, AddProviderPhase, PutRecordContext, PutRecordPhase, Query, QueryId,
            QueryInfo,
        },
        record::Quorum,
        store::RecordStore,
    },
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;
use core::num::NonZeroUsize;

impl<S: RecordStore> Dht<S> {
    /// A query, or a phase of it, has come to its end: there may be room for others.
    pub(super) fn conclude(&mut self, at: Moment, id: QueryId, query: Box<Query>, end: End) {
        self.conclude_phase(at, id, query, end);
        self.go_on_publishing(at);
    }

    fn conclude_phase(&mut self, at: Moment, id: QueryId, mut query: Box<Query>, end: End) {
        self.forget(id, &query);
        query.in_flight.clear();
        match &mut query.info {
            QueryInfo::Bootstrap { .. } => self.conclude_bootstrap(at, id, query, end),
            QueryInfo::GetClosestPeers { key, .. } => {
                let key = core::mem::take(key);
                self.conclude_closest(at, id, query, key, end);
            }
            QueryInfo::GetProviders { key, .. } => {
                let key = core::mem::take(key);
                let closest_peers = query.peers.result();
                let result = QueryResult::GetProviders(match end {
                    End::Complete => {
                        Ok(GetProvidersOk::FinishedWithNoAdditionalRecord { closest_peers })
                    }
                    End::TimedOut => Err(GetProvidersError::Timeout { key, closest_peers }),
                });
                self.progress(at, id, &mut query, result, true);
            }
            QueryInfo::GetRecord { .. } => self.conclude_get(at, id, query, end),
            QueryInfo::PutRecord { phase, .. } => {
                if end == End::Complete && *phase == PutRecordPhase::GetClosestPeers {
                    let peers = query.peers.result();
                    self.queries.insert(id, query);
                    return self.put_to(at, id, peers);
                }
                self.conclude_put(at, id, query, end);
            }
            QueryInfo::AddProvider { phase, .. } => {
                if end == End::Complete && *phase == AddProviderPhase::GetClosestPeers {
                    return self.announce_to_closest(at, id, query);
                }
                self.conclude_announcement(at, id, query, end);
            }
        }
    }

    fn conclude_closest(
        &mut self,
        at: Moment,
        id: QueryId,
        mut query: Box<Query>,
        key: Vec<u8>,
        end: End,
    ) {
        let peers = query.closest(|peer| self.addresses_of(peer));
        let result = QueryResult::GetClosestPeers(match end {
            End::Complete => {
                self.measure_network(at, &query);
                Ok(GetClosestPeersOk { key, peers })
            }
            End::TimedOut => Err(GetClosestPeersError::Timeout { key, peers }),
        });
        self.progress(at, id, &mut query, result, true);
    }

    /// A whole lookup tells how large the network is; one that was cut short does not.
    pub(super) fn measure_network(&mut self, at: Moment, query: &Query) {
        if !query.is_whole() {
            return;
        }
        let target = query.target;
        let peers = query.peers.result();
        let distances = peers
            .iter()
            .map(|peer| Key::of_peer(peer).distance(&target));
        self.size.observe(at.now, distances);
    }

    fn bootstrapped(&mut self, at: Moment) {
        let sparse = self.table.len() < K_VALUE.get();
        self.bootstraps.finished(at.now, sparse);
    }

    /// A lookup of a bootstrap is over: the next one, if there is one.
    fn conclude_bootstrap(&mut self, at: Moment, id: QueryId, mut query: Box<Query>, end: End) {
        let QueryInfo::Bootstrap {
            peer, remaining, ..
        } = &mut query.info
        else {
            return;
        };
        let (peer, first) = (*peer, remaining.is_none());
        let mut targets = match remaining.take() {
            Some(targets) => targets,
            None if end == End::TimedOut => {
                let num_remaining = None;
                let failed = BootstrapError::Timeout {
                    peer,
                    num_remaining,
                };
                self.bootstrapped(at);
                let result = QueryResult::Bootstrap(Err(failed));
                return self.progress(at, id, &mut query, result, true);
            }
            None => {
                let all_answered = self.config.termination == Termination::AllAnswered;
                let are_closest = all_answered && query.is_whole();
                let found = query.peers.result();
                self.bootstrap_targets(if are_closest { &found } else { &[] })
            }
        };
        if first && end == End::Complete {
            self.measure_network(at, &query);
        }
        // Where there is nothing to be filled by now, that is left out.
        while targets
            .last()
            .is_some_and(|next| self.table.is_settled(at.now, &Key::of_peer(next)))
        {
            targets.pop();
        }
        let num_remaining = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        let result = QueryResult::Bootstrap(match end {
            End::Complete => Ok(BootstrapOk {
                peer,
                num_remaining,
            }),
            End::TimedOut => Err(BootstrapError::Timeout {
                peer,
                num_remaining: Some(num_remaining),
            }),
        });
        let next = targets.pop();
        self.progress(at, id, &mut query, result, next.is_none());
        let Some(next) = next else {
            return self.bootstrapped(at);
        };
        if let QueryInfo::Bootstrap {
            peer, remaining, ..
        } = &mut query.info
        {
            (*peer, *remaining) = (next, Some(targets));
        }
        self.look_up_next(at, id, query, &next);
    }

    /// The same query, about another peer.
    fn look_up_next(&mut self, at: Moment, id: QueryId, mut query: Box<Query>, next: &PeerId) {
        let mut message = Vec::new();
        request::find_node(&mut message, next.as_bytes());
        query.request = message.into();
        query.target = Key::of_peer(next);
        query.peers = self.iterator(query.target, &query.options);
        query.learnt.clear();
        query.dials = Dials::default();
        let deadline = at.now.saturating_add(self.config.query_timeout);
        query.deadline = deadline;
        self.timers.set(super::Deadline::Query(id), deadline);
        self.queries.insert(id, query);
        self.advance(at, id);
    }

    fn conclude_get(&mut self, at: Moment, id: QueryId, mut query: Box<Query>, end: End) {
        let QueryInfo::GetRecord {
            key,
            found,
            cache_candidates,
            ..
        } = &mut query.info
        else {
            return;
        };
        let (key, found) = (key.clone(), *found);
        let cache_candidates = core::mem::take(cache_candidates);
        let best = query.best.take();
        let quorum = query.options.quorum;
        let result = match (best, end) {
            (best, End::TimedOut) => Err(GetRecordError::Timeout { key, best }),
            (None, End::Complete) => Err(GetRecordError::NotFound {
                key,
                closest_peers: query.peers.result(),
            }),
            (Some(best), End::Complete) => {
                self.correct(at, &query, &best.record);
                match quorum.filter(|quorum| found < quorum.get()) {
                    Some(quorum) => Err(GetRecordError::QuorumFailed {
                        key,
                        best,
                        found,
                        quorum,
                    }),
                    None => Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                        best,
                        cache_candidates,
                    }),
                }
            }
        };
        self.progress(at, id, &mut query, QueryResult::GetRecord(result), true);
    }

    /// The peers that are to have a record are known.
    pub(super) fn put_to(&mut self, at: Moment, id: QueryId, peers: Vec<PeerId>) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let QueryInfo::PutRecord { record, phase, .. } = &mut query.info else {
            return;
        };
        *phase = PutRecordPhase::PutRecord {
            success: Vec::new(),
        };
        let record = record.clone();
        let message = self.put_message(at, record);
        self.give_to(at, id, peers, message);
    }

    fn conclude_put(&mut self, at: Moment, id: QueryId, mut query: Box<Query>, end: End) {
        let QueryInfo::PutRecord {
            record,
            quorum,
            phase,
            context,
        } = &mut query.info
        else {
            return;
        };
        let (key, context) = (record.key.clone(), *context);
        let success = match phase {
            PutRecordPhase::PutRecord { success } => core::mem::take(success),
            _ => Vec::new(),
        };
        let quorum = self.peers_needed(*quorum, context, query.asked);
        let result = if success.len() >= quorum.get() {
            Ok(PutRecordOk { key, success })
        } else if end == End::TimedOut {
            Err(PutRecordError::Timeout {
                key,
                success,
                quorum,
            })
        } else {
            Err(PutRecordError::QuorumFailed {
                key,
                success,
                quorum,
                asked: query.asked,
            })
        };
        let result = match context {
            PutRecordContext::Publish | PutRecordContext::Custom => QueryResult::PutRecord(result),
            PutRecordContext::Republish => QueryResult::RepublishRecord(result),
            PutRecordContext::Replicate => return,
        };
        self.progress(at, id, &mut query, result, true);
    }

    /// The peers that are to know of a provider are known.
    fn announce_to_closest(&mut self, at: Moment, id: QueryId, mut query: Box<Query>) {
        let peers = match self.not_told_early(&query) {
            Some(peers) => peers,
            None => {
                self.measure_network(at, &query);
                query.peers.result()
            }
        };
        let mut message = Bytes::new();
        let told = query.told_early;
        if let QueryInfo::AddProvider { key, phase, .. } = &mut query.info {
            *phase = AddProviderPhase::AddProvider { told };
            message = self.announcement(key);
        }
        self.queries.insert(id, query);
        self.give_to(at, id, peers, message);
    }

    /// That this node provides a key.
    pub(super) fn announcement(&self, key: &RecordKey) -> Bytes {
        let mut message = Vec::new();
        let addresses = self.own_addresses().map(|address| address.as_bytes());
        request::add_provider(&mut message, key.as_bytes(), &self.local, addresses);
        message.into()
    }

    fn conclude_announcement(&mut self, at: Moment, id: QueryId, mut query: Box<Query>, end: End) {
        let QueryInfo::AddProvider {
            key,
            phase,
            context,
        } = &query.info
        else {
            return;
        };
        let (key, context) = (key.clone(), *context);
        let told = match phase {
            AddProviderPhase::AddProvider { told } => *told,
            _ => 0,
        };
        let result = match end {
            End::TimedOut => Err(AddProviderError::Timeout { key, told }),
            End::Complete if told == 0 => Err(AddProviderError::NobodyReached { key }),
            End::Complete => Ok(AddProviderOk { key, told }),
        };
        let result = match context {
            AddProviderContext::Publish => QueryResult::StartProviding(result),
            AddProviderContext::Republish => QueryResult::RepublishProvider(result),
        };
        self.progress(at, id, &mut query, result, true);
    }

    /// Whether a put has been taken by enough peers.
    pub(super) fn has_quorum(&self, query: &Query) -> bool {
        let QueryInfo::PutRecord {
            quorum,
            phase: PutRecordPhase::PutRecord { success },
            context,
            ..
        } = &query.info
        else {
            return false;
        };
        // Of those that were found: all have been asked by then, so nothing is gained by ending before the last answer.
        *quorum != Quorum::AllFound
            && success.len() >= self.peers_needed(*quorum, *context, query.asked).get()
    }

    /// How many peers must take a record that `asked` peers were asked to take.
    fn peers_needed(
        &self,
        quorum: Quorum,
        context: PutRecordContext,
        asked: usize,
    ) -> NonZeroUsize {
        let total = match context {
            PutRecordContext::Custom => NonZeroUsize::new(asked).unwrap_or(NonZeroUsize::MIN),
            _ => self.config.replication_factor,
        };
        quorum.eval(total, asked)
    }

    /// The peers that buckets are filled by looking up, when those closest to this node are found. All peers of the nearest
    /// buckets are among these; so it begins with the bucket of the farthest of them, or beyond that of the closest neighbour.
    /// None are `found` if it is not certain that they are the closest.
    fn bootstrap_targets(&mut self, found: &[PeerId]) -> Vec<PeerId> {
        let index = |peer: &PeerId| Key::of_peer(peer).distance(&self.position).ilog2();
        let closest = self
            .table
            .buckets()
            .find(|bucket| !bucket.is_empty())
            .map(|bucket| bucket.index());
        // Nobody is left: there is nobody to ask for farther ones either.
        let Some(closest) = closest else {
            return Vec::new();
        };
        let complete = found.iter().filter_map(index).max();
        let first = u16::from(closest).saturating_add(1);
        let first = first.max(complete.map_or(0, u16::from));
        let mut targets: Vec<PeerId> = (first..256)
            .filter_map(|index| self.random_peer(u8::try_from(index).ok()?))
            .collect();
        // The last one is looked up first: the closest.
        targets.reverse();
        targets
    }

    /// A peer id whose position is in a bucket, or near that.
    fn random_peer(&mut self, bucket: u8) -> Option<PeerId> {
        /// SHA-256 in 32 bytes, as a multihash.
        const SHA2_256: [u8; 2] = [0x12, 0x20];
        /// So many tries find one in the farthest ten buckets nearly always, and cost less than a millisecond.
        const TRIES: u32 = 4096;
        let mut best: Option<(u8, PeerId)> = None;
        let mut multihash = [0; 34];
        let (head, _) = multihash.split_at_mut(2);
        head.copy_from_slice(&SHA2_256);
        for _ in 0..TRIES {
            let (_, digest) = multihash.split_at_mut(2);
            rand_core::Rng::fill_bytes(&mut self.rng, digest);
            let peer = PeerId::from_bytes(&multihash).ok()?;
            let index = Key::of_peer(&peer).distance(&self.position).ilog2()?;
            let off = index.abs_diff(bucket);
            if best.is_none_or(|(least, _)| off < least) {
                best = Some((off, peer));
            }
            if off == 0 {
                break;
            }
        }
        best.map(|(_, peer)| peer)
    }
}
