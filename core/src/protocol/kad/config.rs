//! What can be set, with the defaults of others.

use super::{
    iterators::Termination,
    scope::AddressScope,
    table::DiversityLimits,
    validator::{self, AcceptAll, Validator},
};
use crate::{multistream::ProtocolName, swarm::Rate};
use alloc::{sync::Arc, vec, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

/// How many peers a k-bucket holds, a record is stored at, and a response lists: 20.
pub const K_VALUE: NonZeroUsize = NonZeroUsize::new(20).unwrap();

/// How many peers a query asks at a time: 10, as the specification and go-libp2p have it (rust-libp2p: 3).
pub const ALPHA_VALUE: NonZeroUsize = NonZeroUsize::new(10).unwrap();

/// The name of the public DHT.
pub const PROTOCOL_NAME: ProtocolName = ProtocolName::from_static("/ipfs/kad/1.0.0");

/// The name that nodes of the public DHT use on local networks.
pub const LAN_PROTOCOL_NAME: ProtocolName = ProtocolName::from_static("/ipfs/lan/kad/1.0.0");

const HOUR: u64 = 3600;

/// How peers come into the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BucketInserts {
    /// A peer that says it speaks the protocol is asked first for the peers closest to itself, and inserted if it answers
    /// (go-libp2p's lookup check). A peer that answered a query needs no further proof.
    #[default]
    Checked,
    /// A peer is inserted as soon as it says that it speaks the protocol.
    OnConnected,
    /// Only by [`add_address`](super::Kademlia::add_address). Others appear as
    /// [`Event::RoutablePeer`](super::Event::RoutablePeer).
    Manual,
}

/// Whether records of peers are stored by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StoreInserts {
    /// Whatever is valid and has room is stored.
    #[default]
    Unfiltered,
    /// Nothing is: the application finds the records in [`Event::InboundRequest`](super::Event::InboundRequest), and stores
    /// those it likes.
    FilterBoth,
}

/// Whether a get remembers who should have had the record, and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caching {
    /// It does not.
    Disabled,
    /// The closest so many peers that answered without it.
    Enabled {
        /// How many.
        max_peers: u16,
    },
}

/// Settings of a [`Kademlia`](super::Kademlia).
///
/// | here | rust-libp2p | go-libp2p | specification |
/// |---|---|---|---|
/// | `parallelism` 10 | 3 | 10 | 10 |
/// | `replication_factor` 20 | 20 | 20 | 20 |
/// | `query_timeout` 60 s | 60 s for each phase | 60 s | |
/// | `peer_timeout` 5 s | 10 s, fixed | 10 s | 10 s |
/// | `record_ttl` 48 h | 48 h (its documentation: 36 h) | 48 h | 48 h |
/// | `replication_interval` 1 h, off for the public DHT | 1 h | none | none |
/// | `publication_interval` 22 h | 22 h (its documentation: 24 h) | by the application | 22 h |
/// | `provider_record_ttl` 48 h | 48 h | 48 h | 48 h |
/// | `provider_address_ttl` 24 h | 48 h | 24 h | 24 h |
/// | `provider_publication_interval` 22 h | 12 h | 22 h | 22 h |
/// | `periodic_bootstrap_interval` 10 min | 5 min | 10 min | 10 min |
/// | `max_request_len` 68 KiB, `max_response_len` 1 MiB | 16 KiB both | 4 MiB both | |
#[derive(Clone, Debug)]
pub struct Config {
    /// Under which names the protocol is spoken, the preferred one first.
    pub protocol_names: Vec<ProtocolName>,
    /// Which values are valid, and which is the best.
    pub validator: Arc<dyn Validator>,
    /// How many peers a query asks at a time, and how many disjoint paths there are.
    pub parallelism: NonZeroUsize,
    /// At how many peers a record is stored.
    pub replication_factor: NonZeroUsize,
    /// Whether queries go along paths that share no peer
    /// ([S/Kademlia](https://doi.org/10.1109/ICPADS.2007.4447808)), so that one liar cannot lead all of them astray.
    pub disjoint_query_paths: bool,
    /// When a lookup has found what there is.
    pub termination: Termination,
    /// After which time a query ends, all its phases together.
    pub query_timeout: Duration,
    /// After which time a query no longer waits for a peer before it asks another one. A later answer still counts.
    pub peer_timeout: Duration,
    /// After which time a request is given up.
    pub request_timeout: Duration,
    /// Queries that may run at once, those of the background included.
    pub max_queries: usize,
    /// Peers that a query remembers at most.
    pub max_candidates: usize,
    /// Peers without a connection that a query asks at most, in each of its phases: what peers say is no reason to dial the whole
    /// world.
    pub max_dials_per_query: usize,
    /// The same for peers of one network, as [`diversity`](Self::diversity) divides them. `None` is any number.
    pub max_dials_per_group: Option<usize>,
    /// Closer peers that are believed of one response at most.
    pub max_closer_peers: usize,

    /// How long a record is valid that does not say for how long; and at most. `None` is for ever.
    pub record_ttl: Option<Duration>,
    /// How often records of others are given to the peers closest to them. `None` is never.
    pub replication_interval: Option<Duration>,
    /// How often own records are published again. `None` is never.
    pub publication_interval: Option<Duration>,
    /// Whether records of peers are stored by themselves.
    pub record_filtering: StoreInserts,
    /// How long a provider record of a peer is valid. `None` is for ever.
    pub provider_record_ttl: Option<Duration>,
    /// For how long after a provider has announced itself it is told with its addresses; after that with those the routing
    /// table has of it, if it is there. `None`, or without a [`provider_record_ttl`](Self::provider_record_ttl), is as long as
    /// the announcement is valid.
    pub provider_address_ttl: Option<Duration>,
    /// How often own provider records are published again. `None` is never.
    pub provider_publication_interval: Option<Duration>,
    /// How often the store is told to throw away what has expired. `None` is never.
    pub sweep_interval: Option<Duration>,
    /// Whether a get remembers who should have had the record.
    pub caching: Caching,
    /// Whether a get gives the best value to those of the closest peers that had none or a worse one.
    pub entry_correction: bool,
    /// The longest value that is taken, in bytes.
    pub max_value_len: usize,
    /// The longest key of a provider record, in bytes.
    pub max_provider_key_len: usize,

    /// How peers come into the routing table.
    pub kbucket_inserts: BucketInserts,
    /// Peers in a k-bucket.
    pub kbucket_size: NonZeroUsize,
    /// For how long a newcomer waits for a place in a full k-bucket.
    pub kbucket_pending_timeout: Duration,
    /// Addresses that are kept of a peer.
    pub max_addresses: usize,
    /// After how many failures in a row a peer leaves the routing table.
    pub max_failures: u32,
    /// How many peers of one IP group may be in the table and in a bucket. `None` is any number.
    pub diversity: Option<DiversityLimits>,
    /// How many peers of one IP group are believed in one response: if there are more, all of that group are dropped. `None`
    /// is any number.
    pub max_response_peers_per_group: Option<usize>,
    /// Peers that have not answered for so long are asked whether they are still there. `None` is never.
    pub liveness_interval: Option<Duration>,
    /// Which addresses are told, believed and dialed.
    pub address_scope: AddressScope,

    /// How often the node looks itself up, and fills its buckets. `None` is never.
    pub periodic_bootstrap_interval: Option<Duration>,
    /// How long after a new peer in a sparse table the node does that by itself. `None` is never, zero at once.
    pub automatic_bootstrap_throttle: Option<Duration>,

    /// How often a peer may ask, on all its connections together. What it asks beyond that waits, and no more is read of that
    /// stream. A host of a [`Dht`](super::Dht) sees to it itself, by [`admit_request`](super::Dht::admit_request).
    pub request_rate: Rate,
    /// The longest request of a peer, in bytes.
    pub max_request_len: usize,
    /// The longest response of a peer that is accepted, in bytes.
    pub max_response_len: usize,
    /// The longest response that is sent to a request without a value, in bytes: rust-libp2p refuses more than 16 KiB.
    pub response_budget: usize,
    /// Streams that a peer may have open on one connection.
    pub max_inbound_streams: u32,
    /// Streams that a peer may have open on all its connections.
    pub max_inbound_streams_per_peer: u32,
    /// After which time a stream of a peer must have brought its first request.
    pub inbound_timeout: Duration,
    /// After which time a stream of a peer on which nothing happens is closed.
    pub inbound_idle_timeout: Duration,
    /// Requests that wait for the store at most.
    pub max_store_requests: usize,
    /// Whether announcing a provider returns early, by an estimate of the network's size, see
    /// [`NetworkSize`](super::NetworkSize).
    pub optimistic_provide: bool,
}

impl Config {
    /// Defaults for a DHT of this name. For [`PROTOCOL_NAME`], values must be public keys or IPNS records, and records of
    /// others are not replicated; for any other name, every value is valid until a
    /// [`validator`](Self::validator) is set.
    #[must_use]
    pub fn new(protocol_name: ProtocolName) -> Self {
        let public = protocol_name == PROTOCOL_NAME || protocol_name == LAN_PROTOCOL_NAME;
        let validator: Arc<dyn Validator> = if public {
            Arc::new(validator::public_dht())
        } else {
            Arc::new(AcceptAll)
        };
        Self {
            protocol_names: vec![protocol_name],
            validator,
            parallelism: ALPHA_VALUE,
            replication_factor: K_VALUE,
            disjoint_query_paths: false,
            termination: Termination::AllAnswered,
            query_timeout: Duration::from_secs(60),
            peer_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            max_queries: 1024,
            max_candidates: 1024,
            max_dials_per_query: 256,
            max_dials_per_group: public.then_some(16),
            max_closer_peers: K_VALUE.get().saturating_mul(2),
            record_ttl: Some(Duration::from_secs(48 * HOUR)),
            replication_interval: (!public).then_some(Duration::from_secs(HOUR)),
            publication_interval: Some(Duration::from_secs(22 * HOUR)),
            record_filtering: StoreInserts::Unfiltered,
            provider_record_ttl: Some(Duration::from_secs(48 * HOUR)),
            provider_address_ttl: Some(Duration::from_secs(24 * HOUR)),
            provider_publication_interval: Some(Duration::from_secs(22 * HOUR)),
            sweep_interval: Some(Duration::from_secs(HOUR)),
            caching: Caching::Enabled { max_peers: 1 },
            entry_correction: public,
            max_value_len: 65 * 1024,
            max_provider_key_len: 80,
            kbucket_inserts: BucketInserts::Checked,
            kbucket_size: K_VALUE,
            kbucket_pending_timeout: Duration::from_secs(60),
            max_addresses: 16,
            max_failures: 2,
            diversity: public.then(DiversityLimits::default),
            max_response_peers_per_group: public.then_some(3),
            liveness_interval: Some(Duration::from_secs(600)),
            address_scope: AddressScope::Any,
            periodic_bootstrap_interval: Some(Duration::from_secs(600)),
            automatic_bootstrap_throttle: Some(Duration::from_millis(500)),
            request_rate: Rate::new(Duration::from_millis(10), 1000),
            max_request_len: 68 * 1024,
            max_response_len: 1024 * 1024,
            response_budget: 16 * 1024,
            max_inbound_streams: 32,
            max_inbound_streams_per_peer: 64,
            inbound_timeout: Duration::from_millis(9500),
            inbound_idle_timeout: Duration::from_secs(60),
            max_store_requests: 1024,
            optimistic_provide: false,
        }
    }

    /// Defaults for the public DHT seen from the internet: [`PROTOCOL_NAME`], and public addresses only.
    #[must_use]
    pub fn public_dht() -> Self {
        let mut config = Self::new(PROTOCOL_NAME);
        config.address_scope = AddressScope::Public;
        config
    }

    /// Defaults for the same protocol on a local network: [`LAN_PROTOCOL_NAME`], private addresses only, and no limits on peers
    /// of one network.
    #[must_use]
    pub fn local_dht() -> Self {
        let mut config = Self::new(LAN_PROTOCOL_NAME);
        config.address_scope = AddressScope::Private;
        config.diversity = None;
        config.max_dials_per_group = None;
        config.max_response_peers_per_group = None;
        config
    }

    /// What happens by itself happens at most once in a millisecond: an interval of zero would never come to an end.
    pub(super) fn with_sane_intervals(mut self) -> Self {
        const LEAST: Duration = Duration::from_millis(1);
        let intervals = [
            &mut self.replication_interval,
            &mut self.publication_interval,
            &mut self.provider_publication_interval,
            &mut self.sweep_interval,
            &mut self.liveness_interval,
            &mut self.periodic_bootstrap_interval,
        ];
        for interval in intervals.into_iter().flatten() {
            *interval = (*interval).max(LEAST);
        }
        self
    }
}

/// [`PROTOCOL_NAME`], with any addresses.
impl Default for Config {
    fn default() -> Self {
        Self::new(PROTOCOL_NAME)
    }
}
