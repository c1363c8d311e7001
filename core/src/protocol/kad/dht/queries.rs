//! Who is asked next, and what the answers mean.

use super::{Deadline, Dht, Moment, Purpose, RpcFailure, RpcId};
use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        iterators::{PeersIterator, Step},
        message::{Message, MessageType, PeerView},
        query::{AddProviderPhase, InFlight, PutRecordPhase, Query, QueryId, QueryInfo},
        store::RecordStore,
    },
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;

/// Responses up to this size are kept alive by the addresses in them; those in longer ones are copied.
const SHARED_RESPONSE: usize = 16 * 1024;

/// How a query ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has found what there is, or was told to end.
    Complete,
    /// It has taken too long.
    TimedOut,
}

impl<S: RecordStore> Dht<S> {
    /// A response to a request, or why there is none.
    pub fn handle_response(&mut self, at: Moment, rpc: RpcId, response: Result<Bytes, RpcFailure>) {
        let Some(about) = self.take_rpc(rpc) else {
            return;
        };
        let peer = about.peer;
        let answered = match &response {
            Ok(bytes) => Message::decode(bytes).ok().map(|message| (bytes, message)),
            Err(_) => None,
        };
        let answered = answered.filter(|(_, message)| is_expected(about.purpose, message.kind));
        match &response {
            Ok(_) if answered.is_none() => {
                let count = &mut self.statistics.malformed_responses;
                *count = count.saturating_add(1);
                self.unreachable(at, &peer);
            }
            Ok(_) => {}
            Err(RpcFailure::Unsupported) => self.demote(&peer),
            // That says nothing of the peer, or that it is there; and so does refusing what it is given.
            Err(RpcFailure::Busy | RpcFailure::TooLarge) => {}
            Err(RpcFailure::Interrupted) if self.gives(about.purpose) => {}
            Err(_) => self.unreachable(at, &peer),
        }
        match about.purpose {
            Purpose::Query(id) => {
                let Some(mut query) = self.queries.remove(&id) else {
                    return;
                };
                query.in_flight.retain(|flight| flight.rpc != rpc);
                match answered {
                    Some((bytes, message)) => {
                        self.answered(at, id, &mut query, peer, bytes, &message)
                    }
                    None => failed(&mut query, &peer),
                }
                // This node had no room to ask: others may be closer than those it will find.
                query.cut_short |= matches!(response, Err(RpcFailure::Busy));
                self.queries.insert(id, query);
                self.advance(at, id);
            }
            Purpose::Check => self.check_answered(at, &peer, answered.map(|(_, message)| message)),
            Purpose::Announce(id) => self.early_over(at, id, false),
            Purpose::Probe | Purpose::Correction => {
                if answered.is_some() {
                    self.answers(at, &peer);
                }
            }
        }
    }

    /// Whether a request is one by which a peer is given something to keep.
    fn gives(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Query(id) => self.queries.get(&id).is_some_and(|query| query.is_giving()),
            Purpose::Correction => true,
            _ => false,
        }
    }

    /// A request that has no response is sent.
    pub fn handle_sent(&mut self, at: Moment, rpc: RpcId) {
        if self.rpcs.get(&rpc).is_none_or(|about| about.responds) {
            return;
        }
        let Some(about) = self.take_rpc(rpc) else {
            return;
        };
        let (Purpose::Query(id) | Purpose::Announce(id)) = about.purpose else {
            return;
        };
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if matches!(about.purpose, Purpose::Announce(_)) {
            return self.early_over(at, id, true);
        }
        query.in_flight.retain(|flight| flight.rpc != rpc);
        query.stats.successes = query.stats.successes.saturating_add(1);
        query.count_told();
        query.ends_early |= query.is_told_enough();
        query.peers.on_success(&about.peer, [], at.now);
        self.advance(at, id);
    }

    /// A peer answered a query.
    fn answered(
        &mut self,
        at: Moment,
        id: QueryId,
        query: &mut Box<Query>,
        peer: PeerId,
        bytes: &Bytes,
        message: &Message<'_>,
    ) {
        if !self.answers_the_question(query, message) {
            let count = &mut self.statistics.malformed_responses;
            *count = count.saturating_add(1);
            self.unreachable(at, &peer);
            return failed(query, &peer);
        }
        self.answers_query(at, &peer, query);
        query.stats.successes = query.stats.successes.saturating_add(1);
        query.ends_early |= query.seeks == Some(peer);
        let mut closer = core::mem::take(&mut self.peers);
        closer.clear();
        self.collect_closer(bytes, message, query, &mut closer);
        query
            .peers
            .on_success(&peer, closer.iter().copied(), at.now);
        self.peers = closer;
        match &query.info {
            QueryInfo::GetRecord { .. } => self.value_answered(at, id, query, peer, message),
            QueryInfo::GetProviders { .. } => {
                self.providers_answered(at, id, query, bytes, message)
            }
            QueryInfo::AddProvider { .. } => self.announce_early(at, id, query),
            QueryInfo::PutRecord { .. } => self.put_answered(query, peer),
            _ => {}
        }
    }

    /// Whether a response is of the type, and about the key, that the request was.
    fn answers_the_question(&self, query: &Query, message: &Message<'_>) -> bool {
        match &query.info {
            QueryInfo::GetRecord { key, .. } => {
                let record = message.record.as_ref();
                message.kind == MessageType::GetValue
                    && record.is_none_or(|record| record.key == key.as_bytes())
            }
            QueryInfo::GetProviders { .. } => message.kind == MessageType::GetProviders,
            QueryInfo::PutRecord {
                record,
                phase: PutRecordPhase::PutRecord { .. },
                ..
            } => {
                let echo = message.record.as_ref();
                message.kind == MessageType::PutValue
                    && echo.is_some_and(|echo| {
                        echo.key == record.key.as_bytes() && echo.value == &*record.value
                    })
            }
            _ => message.kind == MessageType::FindNode,
        }
    }

    /// The peers that a response tells of and that are worth asking; where they may be reached is remembered.
    fn collect_closer(
        &mut self,
        bytes: &Bytes,
        message: &Message<'_>,
        query: &mut Query,
        closer: &mut Vec<PeerId>,
    ) {
        if self.config.max_response_peers_per_group.is_some() {
            return self.collect_closer_by_network(bytes, message, query, closer);
        }
        let mut addresses = core::mem::take(&mut self.addresses);
        // Of most a search has been told before. A path of several may not have heard of them yet.
        let anew = matches!(query.peers, PeersIterator::Disjoint(_));
        let mut believed: usize = 0;
        for told in message.closer_peers() {
            let room = believed < self.config.max_closer_peers;
            if told.peer == self.local {
                continue;
            }
            addresses.clear();
            let known = query.learnt.get(&told.peer);
            let is_new = known.is_none();
            let known = known.map_or(&[][..], Vec::as_slice);
            if !(room && self.collect_usable(bytes, &told, known, &mut addresses)) {
                self.statistics.passed_over = self.statistics.passed_over.saturating_add(1);
                continue;
            }
            let (new, old) = (!addresses.is_empty(), !known.is_empty());
            query.ends_early |= query.seeks == Some(told.peer) && (new || old);
            if new || !old {
                self.remember(query, told.peer, &mut addresses);
            }
            believed = believed.saturating_add(1);
            if is_new || anew {
                closer.push(told.peer);
            }
        }
        addresses.clear();
        self.addresses = addresses;
    }

    /// The same, without the peers of networks of which there are too many.
    fn collect_closer_by_network(
        &mut self,
        bytes: &Bytes,
        message: &Message<'_>,
        query: &mut Query,
        closer: &mut Vec<PeerId>,
    ) {
        let mut told = Vec::new();
        let mut passed_over: u64 = 0;
        for peer in message.closer_peers() {
            if peer.peer == self.local {
                continue;
            }
            let room = told.len() < self.config.max_closer_peers;
            match room.then(|| self.usable(bytes, &peer)).flatten() {
                Some(addresses) => told.push((peer.peer, addresses)),
                None => passed_over = passed_over.saturating_add(1),
            }
        }
        let groups = self.response_groups(&told);
        for (place, (peer, mut addresses)) in told.into_iter().enumerate() {
            if groups.allow(place) {
                query.ends_early |= query.seeks == Some(peer) && !addresses.is_empty();
                self.remember(query, peer, &mut addresses);
                closer.push(peer);
            } else {
                passed_over = passed_over.saturating_add(1);
            }
        }
        let count = &mut self.statistics.passed_over;
        *count = count.saturating_add(passed_over);
    }

    /// Adds addresses to those that a query knows of a peer: what was learnt first stays.
    fn remember(&self, query: &mut Query, peer: PeerId, addresses: &mut Vec<Multiaddr>) {
        let max_peers = self.config.max_candidates.saturating_mul(2);
        if query.learnt.len() >= max_peers && !query.learnt.contains_key(&peer) {
            return;
        }
        let known = query.learnt.entry(peer).or_default();
        if known.is_empty() {
            known.reserve_exact(addresses.len());
        }
        for address in addresses.drain(..) {
            if known.len() < self.config.max_addresses && !known.contains(&address) {
                known.push(address);
            }
        }
    }

    /// The addresses of a peer that may be dialed; `None` if it has some, and none of them may be.
    pub(super) fn usable(&self, bytes: &Bytes, told: &PeerView<'_>) -> Option<Vec<Multiaddr>> {
        let mut addresses = Vec::new();
        self.collect_usable(bytes, told, &[], &mut addresses)
            .then_some(addresses)
    }

    /// Appends the addresses of a peer that may be dialed and are not known yet; false if it has some, and none of them may
    /// be.
    fn collect_usable(
        &self,
        bytes: &Bytes,
        told: &PeerView<'_>,
        known: &[Multiaddr],
        addresses: &mut Vec<Multiaddr>,
    ) -> bool {
        let (mut any, mut old) = (false, false);
        for address in told.addresses() {
            any = true;
            // Most of what a search is told it has been told before: that need not be read again.
            if known.iter().any(|known| known.as_bytes() == address) {
                old = true;
                continue;
            }
            let address = if bytes.len() > SHARED_RESPONSE {
                Multiaddr::from_bytes(address)
            } else {
                Multiaddr::from_shared(bytes.slice_ref(address))
            };
            let Ok(address) = address else { continue };
            if addresses.len() < self.config.max_addresses
                && self.config.address_scope.allows(&address)
            {
                addresses.push(address);
            }
        }
        !any || old || !addresses.is_empty()
    }

    /// Lets a query ask whomever it wants to ask now.
    pub(super) fn advance(&mut self, at: Moment, id: QueryId) {
        let Some(mut query) = self.queries.remove(&id) else {
            return;
        };
        if query.is_storing() {
            self.queries.insert(id, query);
            return;
        }
        let responds = !matches!(
            query.info,
            QueryInfo::AddProvider {
                phase: AddProviderPhase::AddProvider { .. },
                ..
            }
        );
        while !query.ends_early {
            match query.peers.next(at.now) {
                Step::Ask(peer) if peer == self.local => {
                    query.peers.on_failure(&peer);
                }
                Step::Ask(peer) if !self.may_ask(&mut query, &peer) => {
                    // It may have been closer than those that will be found.
                    query.cut_short = true;
                    self.statistics.passed_over = self.statistics.passed_over.saturating_add(1);
                    query.peers.on_failure(&peer);
                }
                Step::Ask(peer) => {
                    query.stats.requests = query.stats.requests.saturating_add(1);
                    let message = query.request.clone();
                    let purpose = Purpose::Query(id);
                    let rpc = self.request(at, peer, message, responds, purpose);
                    query.in_flight.push(InFlight { rpc, peer });
                }
                Step::Wait => {
                    match query.peers.next_deadline() {
                        Some(next) => self.timers.set(Deadline::Step(id), next),
                        None => self.timers.clear(Deadline::Step(id)),
                    }
                    self.queries.insert(id, query);
                    return;
                }
                Step::Finished
                    if query.awaits_store || (query.early_open > 0 && query.is_giving()) =>
                {
                    self.queries.insert(id, query);
                    return;
                }
                Step::Finished => break,
            }
        }
        query.ends_early = false;
        self.conclude(at, id, query, End::Complete);
    }

    /// A query has taken too long.
    pub(super) fn query_late(&mut self, at: Moment, id: QueryId) {
        if let Some(query) = self.queries.remove(&id) {
            self.conclude(at, id, query, End::TimedOut);
        }
    }

    /// Queries that were told to end do.
    pub(super) fn end_early(&mut self, at: Moment) {
        if !core::mem::take(self.ending.get_mut()) {
            return;
        }
        while let Some(id) = self
            .queries
            .iter()
            .find_map(|(id, query)| query.ends_early.then_some(*id))
        {
            let Some(mut query) = self.queries.remove(&id) else {
                return;
            };
            query.ends_early = false;
            self.conclude(at, id, query, End::Complete);
        }
    }

    /// A query that is over; what it waited for is no longer wanted.
    pub(super) fn take_query(&mut self, id: QueryId) -> Option<Box<Query>> {
        let query = self.queries.remove(&id)?;
        self.forget(id, &query);
        Some(query)
    }

    pub(super) fn forget(&mut self, id: QueryId, query: &Query) {
        self.timers.clear(Deadline::Query(id));
        self.timers.clear(Deadline::Step(id));
        if query.is_giving() {
            self.detach_requests(query);
        } else {
            self.cancel_requests(query);
        }
    }

    /// A peer cannot be asked any more: all its connections are gone, or it could not be dialed. Its open requests fail.
    pub fn handle_unreachable(&mut self, at: Moment, peer: &PeerId) {
        let open: Vec<RpcId> = self
            .rpcs
            .iter()
            .filter_map(|(rpc, about)| (about.peer == *peer).then_some(*rpc))
            .collect();
        for rpc in open {
            self.handle_response(at, rpc, Err(RpcFailure::Unreachable));
        }
    }
}

impl Query {
    /// The own store has not replied yet.
    const fn is_storing(&self) -> bool {
        matches!(
            self.info,
            QueryInfo::PutRecord {
                phase: PutRecordPhase::Storing,
                ..
            } | QueryInfo::AddProvider {
                phase: AddProviderPhase::Storing,
                ..
            }
        )
    }

    /// Peers are being given something: that is not taken back.
    pub(super) const fn is_giving(&self) -> bool {
        matches!(
            self.info,
            QueryInfo::PutRecord {
                phase: PutRecordPhase::PutRecord { .. },
                ..
            } | QueryInfo::AddProvider {
                phase: AddProviderPhase::AddProvider { .. },
                ..
            }
        )
    }
}

/// Whether a response may be of this type. What those of queries must be depends on more.
const fn is_expected(purpose: Purpose, kind: MessageType) -> bool {
    match purpose {
        Purpose::Query(_) | Purpose::Announce(_) => true,
        Purpose::Check | Purpose::Probe => matches!(kind, MessageType::FindNode),
        Purpose::Correction => matches!(kind, MessageType::PutValue),
    }
}

/// A peer did not answer a query.
fn failed(query: &mut Query, peer: &PeerId) {
    query.stats.failures = query.stats.failures.saturating_add(1);
    query.peers.on_failure(peer);
}
