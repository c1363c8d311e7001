//! Requests of peers.

use super::{Dht, InboundId, Moment, Output, storing::Awaiting};
use crate::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        config::{K_VALUE, StoreInserts},
        event::{Event, InboundRequest},
        key::{Key, RecordKey},
        message::{ConnectionType, Message, MessageType, ResponseWriter},
        record::{ProviderRecord, Record},
        store::{Origin, RecordStore, StoreRequest},
        table::{Entry, Group, Status},
    },
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use core::time::Duration;
use smallvec::SmallVec;

/// What a request of a peer comes with.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    /// Its name, for the answer.
    pub id: InboundId,
    /// Who sent it.
    pub from: PeerId,
    /// On which connection.
    pub connection: ConnectionId,
}

impl<S: RecordStore> Dht<S> {
    /// A request of a peer. It is answered by [`Output::Respond`] or [`Output::Refuse`], at once or when the store has
    /// replied. `addresses_of` tells where a peer may be reached that is not in the routing table, as far as the host knows.
    pub fn handle_request(
        &mut self,
        at: Moment,
        inbound: Inbound,
        message: &Bytes,
        addresses_of: &dyn Fn(&PeerId) -> Vec<Multiaddr>,
    ) {
        let Inbound { id: to, from, .. } = inbound;
        let decoded = Message::decode(message);
        let Ok(request) = decoded else {
            return self.malformed(at, to, &from);
        };
        let small = self.config.response_budget;
        let long = message.len() > small && request.kind != MessageType::PutValue;
        let keyless = request.key.is_empty() && request.kind != MessageType::Ping;
        if long || keyless {
            return self.malformed(at, to, &from);
        }
        match request.kind {
            MessageType::FindNode => self.find_node(to, &from, request.key, addresses_of),
            MessageType::Ping => {
                let mut out = Vec::new();
                let _ = ResponseWriter::new(&mut out, small, MessageType::Ping, &[]);
                self.respond(to, Some(out.into()));
            }
            MessageType::GetValue => {
                let key = RecordKey::copy_from_slice(request.key);
                let get = StoreRequest::Get { key: key.clone() };
                self.ask_store(at, get, Awaiting::Get { to, from, key });
            }
            MessageType::GetProviders => {
                if request.key.len() > self.config.max_provider_key_len {
                    return self.malformed(at, to, &from);
                }
                let key = RecordKey::copy_from_slice(request.key);
                let get = StoreRequest::Providers { key: key.clone() };
                self.ask_store(at, get, Awaiting::Providers { to, from, key });
            }
            MessageType::PutValue => self.put_value(at, inbound, &request),
            MessageType::AddProvider => self.add_provider(at, inbound, message, &request),
        }
    }

    /// A request that is none: it costs the sender.
    fn malformed(&mut self, at: Moment, to: InboundId, from: &PeerId) {
        let count = &mut self.statistics.malformed_requests;
        *count = count.saturating_add(1);
        self.unreachable(at, from);
        self.outputs.push_back(Output::Refuse { to });
    }

    fn respond(&mut self, to: InboundId, message: Option<Bytes>) {
        self.statistics.answered = self.statistics.answered.saturating_add(1);
        self.outputs.push_back(Output::Respond { to, message });
    }

    pub(super) fn refused_by_store(&mut self, to: InboundId) {
        let count = &mut self.statistics.refused_by_store;
        *count = count.saturating_add(1);
        self.outputs.push_back(Output::Refuse { to });
    }

    /// The closest peers of the table, the one that asks included if it is one of them
    /// ([IPFS specification](https://specs.ipfs.tech/routing/kad-dht/)); and in front of them the one that is looked for, if
    /// its addresses are known: this node itself, or a client.
    fn find_node(
        &mut self,
        to: InboundId,
        from: &PeerId,
        key: &[u8],
        addresses_of: &dyn Fn(&PeerId) -> Vec<Multiaddr>,
    ) {
        let mut out = Vec::new();
        let budget = self.config.response_budget;
        let mut response = ResponseWriter::new(&mut out, budget, MessageType::FindNode, key);
        let mut told: usize = 0;
        let target = PeerId::from_bytes(key).ok();
        if target == Some(self.local) {
            let own = self.own_addresses().map(Multiaddr::as_bytes);
            let added = response.closer_peer(&self.local, own, ConnectionType::Connected);
            told = usize::from(added);
        } else if let Some(target) = target.filter(|target| target != from)
            && !self.table.contains(&target)
        {
            let scope = self.config.address_scope;
            let mut addresses = addresses_of(&target);
            addresses.retain(|address| scope.allows(address));
            if !addresses.is_empty() {
                let connection = self.connection_type(&target);
                let addresses = addresses.iter().map(Multiaddr::as_bytes);
                told = usize::from(response.closer_peer(&target, addresses, connection));
            }
        }
        let told = told.saturating_add(self.closer_peers(&mut response, &Key::of(key)));
        self.respond(to, Some(out.into()));
        self.emit(Event::InboundRequest {
            request: InboundRequest::FindNode {
                num_closer_peers: told,
            },
        });
    }

    /// Adds the closest peers of the table to a response; how many.
    fn closer_peers(&self, response: &mut ResponseWriter<'_>, target: &Key) -> usize {
        let mut told: usize = 0;
        let closest = self.table.closest(target).take(K_VALUE.get());
        let closest: SmallVec<[&Entry; K_VALUE.get()]> = closest.collect();
        response.expect_peers(closest.len());
        response.reserve(closest.iter().map(|entry| told_len(entry)).sum());
        for entry in closest {
            let connection = match entry.status() {
                Status::Connected => ConnectionType::Connected,
                Status::Disconnected => ConnectionType::NotConnected,
            };
            let addresses = entry.addresses().iter().map(Multiaddr::as_bytes);
            if !response.closer_peer(entry.peer(), addresses, connection) {
                break;
            }
            told = told.saturating_add(1);
        }
        told
    }

    /// Where a provider may be reached: as it said, if that is not too long ago.
    pub(super) fn addresses_of_provider<'a>(
        &'a self,
        at: Moment,
        record: &'a ProviderRecord,
    ) -> &'a [Multiaddr] {
        let config = &self.config;
        let limits = (config.provider_record_ttl, config.provider_address_ttl);
        if let ((Some(ttl), Some(fresh)), Some(expires)) = (limits, record.expires)
            && at.unix.saturating_add(ttl.saturating_sub(fresh)) >= expires
        {
            let entry = self.table.get(&record.provider);
            return entry.map_or(&[], |entry| entry.addresses());
        }
        &record.addresses
    }

    fn connection_type(&self, peer: &PeerId) -> ConnectionType {
        if self.members.contains_key(peer) {
            ConnectionType::Connected
        } else {
            ConnectionType::NotConnected
        }
    }

    /// A peer wants a record, and this is what the store has.
    pub(super) fn answer_get(
        &mut self,
        at: Moment,
        to: InboundId,
        _from: &PeerId,
        key: &RecordKey,
        record: Option<Record>,
    ) {
        let record = record.filter(|record| !record.is_expired(at.unix));
        let mut out = Vec::new();
        let value = record.as_ref().map_or(0, |record| record.value.len());
        let budget = self.config.response_budget.saturating_add(value);
        let kind = MessageType::GetValue;
        let mut response = ResponseWriter::new(&mut out, budget, kind, key.as_bytes());
        let present_locally = record
            .is_some_and(|record| response.record(&record, at.unix, record.publisher.as_ref()));
        let num_closer_peers = self.closer_peers(&mut response, &key.position());
        self.respond(to, Some(out.into()));
        self.emit(Event::InboundRequest {
            request: InboundRequest::GetRecord {
                num_closer_peers,
                present_locally,
            },
        });
    }

    /// A peer wants providers, and these are the ones the store has.
    pub(super) fn answer_providers(
        &mut self,
        at: Moment,
        (to, from): (InboundId, &PeerId),
        key: &RecordKey,
        providers: &[ProviderRecord],
    ) {
        let mut out = Vec::new();
        let kind = MessageType::GetProviders;
        let budget = self.config.response_budget;
        // Half of it is for providers: peers with many addresses must not crowd them out.
        let mut response = ResponseWriter::new(&mut out, budget / 2, kind, key.as_bytes());
        let mut num_provider_peers: usize = 0;
        response.expect_peers(providers.len());
        for record in providers.iter().filter(|record| record.provider != *from) {
            let connection = self.connection_type(&record.provider);
            let added = if record.provider == self.local {
                let own = self.own_addresses().map(Multiaddr::as_bytes);
                response.provider_peer(&self.local, own, ConnectionType::Connected)
            } else {
                let scope = self.config.address_scope;
                let addresses = self.addresses_of_provider(at, record).iter();
                let addresses = addresses.filter(|address| scope.allows(address));
                let addresses = addresses.map(Multiaddr::as_bytes);
                response.provider_peer(&record.provider, addresses, connection)
            };
            if !added {
                break;
            }
            num_provider_peers = num_provider_peers.saturating_add(1);
        }
        response.set_budget(budget);
        let num_closer_peers = self.closer_peers(&mut response, &key.position());
        self.respond(to, Some(out.into()));
        self.emit(Event::InboundRequest {
            request: InboundRequest::GetProvider {
                num_closer_peers,
                num_provider_peers,
            },
        });
    }

    /// A peer wants a record kept.
    fn put_value(&mut self, at: Moment, inbound: Inbound, request: &Message<'_>) {
        let Inbound {
            id: to,
            from,
            connection,
        } = inbound;
        let Some(view) = request.record.as_ref() else {
            return self.malformed(at, to, &from);
        };
        if view.key != request.key || view.value.len() > self.config.max_value_len {
            return self.malformed(at, to, &from);
        }
        let mut record = view.to_record(at.unix);
        let validator = self.config.validator.clone();
        if validator
            .validate(&record.key, &record.value, at.unix)
            .is_err()
        {
            let count = &mut self.statistics.invalid_values;
            *count = count.saturating_add(1);
            self.unreachable(at, &from);
            return self.outputs.push_back(Output::Refuse { to });
        }
        record.expires = self.expiry(at, &record);
        if record.is_expired(at.unix) {
            return self.echo(at, to, &record);
        }
        if self.config.record_filtering == StoreInserts::FilterBoth {
            self.echo(at, to, &record);
            return self.emit(Event::InboundRequest {
                request: InboundRequest::PutRecord {
                    source: from,
                    connection,
                    record: Some(record),
                },
            });
        }
        let put = StoreRequest::Put {
            record: record.clone(),
            origin: Origin::Peer(from),
            validator,
        };
        let awaiting = Awaiting::Put {
            to,
            source: from,
            connection,
            record,
        };
        self.ask_store(at, put, awaiting);
    }

    /// Until when a record of a peer is kept: not longer than it says, nor than allowed; and the shorter, the more peers are
    /// known to be closer to it.
    fn expiry(&self, at: Moment, record: &Record) -> Option<crate::time::UnixTime> {
        let Some(ttl) = self.config.record_ttl else {
            return record.expires;
        };
        let closer = self.table.count_between(&record.key.position());
        let beyond = closer.saturating_sub(self.config.replication_factor.get());
        let halvings = u32::try_from(beyond).unwrap_or(u32::MAX);
        let secs = ttl.as_secs().checked_shr(halvings).unwrap_or(0);
        let latest = at.unix.saturating_add(Duration::from_secs(secs));
        Some(record.expires.map_or(latest, |expires| expires.min(latest)))
    }

    /// A record is kept: the peer hears that, and the application.
    pub(super) fn acknowledge_put(
        &mut self,
        at: Moment,
        to: InboundId,
        source: PeerId,
        connection: ConnectionId,
        record: &Record,
    ) {
        self.jobs.just_received(&record.key);
        self.echo(at, to, record);
        self.emit(Event::InboundRequest {
            request: InboundRequest::PutRecord {
                source,
                connection,
                record: None,
            },
        });
    }

    /// The response to a put: the same key and value.
    fn echo(&mut self, at: Moment, to: InboundId, record: &Record) {
        let mut out = Vec::new();
        let kind = MessageType::PutValue;
        let key = record.key.as_bytes();
        let mut response = ResponseWriter::new(&mut out, usize::MAX, kind, key);
        let plain = Record::new(record.key.clone(), record.value.clone());
        response.record(&plain, at.unix, None);
        self.respond(to, Some(out.into()));
    }

    /// A peer says that it provides something.
    fn add_provider(&mut self, at: Moment, inbound: Inbound, bytes: &Bytes, request: &Message<'_>) {
        let Inbound { id: to, from, .. } = inbound;
        if request.key.len() > self.config.max_provider_key_len {
            return self.malformed(at, to, &from);
        }
        let mut told = request.provider_peers();
        let Some(told) = told.find(|told| told.peer == from) else {
            return self.malformed(at, to, &from);
        };
        let addresses = self.usable(bytes, &told).unwrap_or_default();
        let ttl = self.config.provider_record_ttl;
        let record = ProviderRecord {
            key: RecordKey::copy_from_slice(request.key),
            provider: from,
            expires: ttl.map(|ttl| at.unix.saturating_add(ttl)),
            addresses: addresses.iter().map(unshared).collect(),
        };
        if self.config.record_filtering == StoreInserts::FilterBoth {
            self.respond(to, None);
            let record = Some(record);
            return self.emit(Event::InboundRequest {
                request: InboundRequest::AddProvider { record },
            });
        }
        let origin = Origin::Peer(from);
        let add = StoreRequest::AddProvider { record, origin };
        self.ask_store(at, add, Awaiting::AddProvider { to });
    }

    /// A provider record is kept.
    pub(super) fn provider_added(&mut self, to: InboundId) {
        self.respond(to, None);
        self.emit(Event::InboundRequest {
            request: InboundRequest::AddProvider { record: None },
        });
    }

    /// Which networks a response has too many peers of, of those that it tells of and how they may be reached.
    pub(super) fn response_groups(&self, told: &[(PeerId, Vec<Multiaddr>)]) -> ResponseGroups {
        let mut groups = ResponseGroups::default();
        let (Some(max), limits) = (
            self.config.max_response_peers_per_group,
            self.config.diversity.unwrap_or_default(),
        ) else {
            return groups;
        };
        groups.max = max;
        for (_, addresses) in told {
            let of_peer = limits.groups(addresses);
            for group in &of_peer {
                let count: &mut usize = groups.counts.entry(*group).or_default();
                *count = count.saturating_add(1);
            }
            groups.of_peers.push(of_peer);
        }
        groups
    }
}

/// About how long it is in a response.
fn told_len(entry: &Entry) -> usize {
    const FIELD: usize = 3;
    let addresses = entry.addresses().iter();
    let addresses = addresses.map(|address| address.as_bytes().len().saturating_add(FIELD));
    addresses.fold(
        entry.peer().as_bytes().len().saturating_add(4 * FIELD),
        usize::saturating_add,
    )
}

/// A copy that keeps no message alive.
pub(super) fn unshared(address: &Multiaddr) -> Multiaddr {
    Multiaddr::from_bytes(address.as_bytes()).unwrap_or_else(|_| address.clone())
}

/// How many peers of each network a response tells of.
#[derive(Debug, Default)]
pub(super) struct ResponseGroups {
    max: usize,
    counts: BTreeMap<Group, usize>,
    of_peers: Vec<SmallVec<[Group; 4]>>,
}

impl ResponseGroups {
    /// Whether a peer, by its place in the response, is in no network of which there are too many.
    pub(super) fn allow(&self, place: usize) -> bool {
        let groups = self.of_peers.get(place).map_or(&[][..], |groups| groups);
        groups.iter().all(|group| {
            self.counts
                .get(group)
                .is_none_or(|count| *count <= self.max)
        })
    }
}
