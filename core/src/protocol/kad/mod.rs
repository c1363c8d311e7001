//! Kademlia: a distributed hash table of peers, records and providers.
//!
//! Every node is at a position in a key space of 256 bits, the SHA-256 of its peer id. It keeps some peers of each order of
//! distance in a routing table of k-buckets, so that whoever is closest to any key is found in a few steps. Records are kept by
//! the 20 nodes closest to their keys; so is who provides what. Sources:
//! [kad-dht](https://github.com/libp2p/specs/blob/master/kad-dht/README.md), the
//! [Amino DHT](https://specs.ipfs.tech/routing/kad-dht/), [IPNS](https://specs.ipfs.tech/ipns/ipns-record/),
//! [Kademlia](https://doi.org/10.1007/3-540-45748-8_5), [S/Kademlia](https://doi.org/10.1109/ICPADS.2007.4447808).
//!
//! [`Kademlia`] is the protocol for a [`Swarm`](crate::swarm::Swarm); [`Dual`] is two of them, for the internet and the local
//! network. Below it is [`Dht`], the same machine without streams, which simulations run by the thousand. Commands begin
//! queries; what these find is told by [`Event::OutboundQueryProgressed`].
//!
//! | module | what lives there |
//! |---|---|
//! | [`dht`] | the machine: commands and messages in, messages and events out |
//! | [`table`] | the routing table: k-buckets, addresses, limits on peers of one network |
//! | [`iterators`] | whom a query asks next |
//! | [`message`] | the wire format, as views that allocate nothing |
//! | [`store`] | what a store of records is asked; one in memory |
//! | [`validator`] | which values are valid, and which is the best: `/pk`, `/ipns`, one's own |
//!
//! # A query
//!
//! | state | input | next state |
//! |---|---|---|
//! | (none) | a command; there is room for a query and its last event | storing, for a [put](Kademlia::put_record) or [provide](Kademlia::start_providing) with a store that answers later; else looking |
//! | storing | the store has it | looking |
//! | storing | the store refuses | over: `Store` |
//! | looking | a peer of those asked answers | looking: its closer peers are candidates; at most [`parallelism`](Config::parallelism) are asked at once, the closest first |
//! | looking | a peer fails, or does not answer for [`peer_timeout`](Config::peer_timeout) | looking: the next candidate is asked. A late answer still counts |
//! | looking | the [`num_results`](QueryOptions::num_results) closest have answered; nobody is left to ask; [`finish`](QueryMut::finish) | over, or giving |
//! | looking | a get has its [`quorum`](QueryOptions::quorum), a search for providers its [`count`](QueryOptions::count) | over |
//! | giving | everybody found was given the record and has answered or failed; a put has its [`Quorum`] | over |
//! | any | [`query_timeout`](Config::query_timeout) is over | over: `Timeout`, with what was found |
//! | any | [`give_up`](Kademlia::give_up) | gone, without an event |
//!
//! Requests that are under way when a lookup ends are cancelled; records on their way to peers are not. A bootstrap is a lookup of
//! the own peer id, then one in each k-bucket farther than that of the closest neighbour, one after another.
//!
//! # A peer and the routing table
//!
//! | state | input | next state |
//! |---|---|---|
//! | stranger | identify tells that it speaks the protocol, and where it is reached | checked: it is asked for the peers closest to itself |
//! | stranger | it answers a query | in the table, if its k-bucket and its [networks](table::DiversityLimits) have room |
//! | stranger | [`add_address`](Kademlia::add_address) | the same |
//! | checked | it answers, and knows somebody (or this node knows fewer than 20) | the same |
//! | checked | it does not | stranger |
//! | in the table | it answers | in the table; its failures are forgotten |
//! | in the table | an address did not lead to it, and another one did | in the table, without the first |
//! | in the table | it has not answered for [`liveness_interval`](Config::liveness_interval) | asked whether it is there |
//! | in the table | [`max_failures`](Config::max_failures) requests in a row fail | stranger |
//! | in the table | identify tells that it no longer speaks the protocol, or a stream of it is refused | stranger |
//! | in the table, disconnected the longest | another one wants into the full k-bucket | asked whether it is there; replaced after [`kbucket_pending_timeout`](Config::kbucket_pending_timeout) if it is not |
//!
//! # What is bounded, and what bad input gets
//!
//! Numbers are in [`Config`], [`table::TableConfig`] and [`MemoryStoreConfig`]; besides, at most 256 newcomers are checked, 16 peers
//! probed and 100 queries of the background run at once, and of one response at most 100 providers are believed. Requests of
//! peers count against limits for a connection and for a peer, and against [a rate](Config::request_rate), and have deadlines. What
//! peers tell makes a query dial [so many](Config::max_dials_per_query), and [no more](Config::max_dials_per_group) in one network. A message that is malformed, of another
//! type than asked, or about another key is dropped, its stream reset, and counted against the peer's place in the table; so is
//! a value to keep that is not valid. One that is too long is dropped. Of a response at most 40 closer peers are believed, of a
//! peer at most 8 KiB of addresses. Peers are never dialed because of an inbound message alone: only queries and checks of peers
//! that are connected dial.
//!
//! # Differences from rust-libp2p
//!
//! - Peers come into the table by themselves: by identify, after a [check](BucketInserts::Checked), and by answering queries. There,
//!   only those that were dialed do. Peers that stop answering leave it; there, only an address goes.
//! - A bootstrap begins, after the node itself, with the bucket of the farthest of the 20 closest peers: all that are nearer are
//!   known then. It leaves out the buckets that are full of peers that are alive, and what came in while one ran is no reason
//!   for another one, unless the table is still sparse.
//! - With [diversity limits](Config::diversity), who has dialed this node comes in by what it tells of itself only if one of its
//!   addresses is in the network it came from. go-libp2p counts the addresses of connections.
//! - Where everybody has left the table because nobody answered, those who left last are asked again at each periodic bootstrap.
//! - An inbound ADD_PROVIDER for a key with too many providers, and a PUT_VALUE without a record, are refused by a reset;
//!   rust-libp2p ignores the one and takes the other.
//! - A lookup begins with the 40 closest peers of the table; there and in go-libp2p, with 20. Those beyond are asked where the
//!   closest do not answer: after many have left at once, whoever does answer tells of the same ones.
//! - A lookup that stands still asks nobody who could be among the closest only if more than α others should fail; there, 20
//!   requests are kept under way until its end.
//! - The time at which a record was received is neither kept nor told (`timeReceived`, which go-libp2p writes and nobody reads from
//!   others): a stored record has the time at which it ends.
//! - Time, randomness and the wall clock come from the host. Records expire by the wall clock, so that it can be tested and
//!   survives a restart.
//! - Values are [validated](validator::Validator), on every way in. A stored record is replaced only by one that is not worse.
//!   The publisher a peer claims is believed for nothing.
//! - Streams of peers carry any number of requests, with deadlines. A second answer, one of another type or about another key
//!   fails the request.
//! - [`FoundProviders`](GetProvidersOk::FoundProviders) comes with addresses, tells each provider once, and is not sent when there is
//!   none. Providers are not asked as if they were closer peers.
//! - `all` of [`Quorum`] needs 20 peers, as there; [`Quorum::AllFound`] is for smaller networks, and is what republication uses.
//! - Announcing a provider succeeds when peers were sent it, not when it was queued, and tells listen addresses too if there
//!   are no external ones.
//! - A run of publication waits while the table is empty, and goes on when the store does. What a
//!   [durable store](RecordStore::is_durable) has of this node's own is published a minute after the beginning, for no life of a node may
//!   last a whole interval.
//! - Providers are told [for a day](Config::provider_address_ttl) with the addresses they announced, and then with those of the table.
//! - An address that is not within [`address_scope`](Config::address_scope) does not come into the table, not even by
//!   [`add_address`](Kademlia::add_address).
//! - A timeout ends a query with what it has found, the best record included; it is for all phases of a query together.
//! - Limits on peers of one network, address scopes, liveness checks and optimistic announcements are go-libp2p-kad-dht's.
//!
//! # Names in rust-libp2p
//!
//! | there | here |
//! |---|---|
//! | `Behaviour<TStore>`: `new`, `with_config` | [`Kademlia`], [`Behaviour`]: [`new`](Kademlia::new), [`with_store`](Kademlia::with_store), which need no peer id |
//! | `Config::set_*` | fields of [`Config`]: `set_query_timeout` is [`query_timeout`](Config::query_timeout), `set_substreams_timeout` is [`request_timeout`](Config::request_timeout), `set_max_packet_size` is [`max_request_len`](Config::max_request_len) and [`max_response_len`](Config::max_response_len) |
//! | `K_VALUE`, `ALPHA_VALUE`, `PROTOCOL_NAME` | the same |
//! | `protocol_names`, `iter_queries`, `iter_queries_mut`, `query`, `query_mut` | the same |
//! | `QueryRef`, `QueryMut`, `QueryInfo`, `QueryStats`, `ProgressStep`, `QueryId` | the same |
//! | `add_address`, `remove_address`, `remove_peer` -> `RoutingUpdate`, `EntryView` | the same, [`RoutingUpdate`], [`Entry`](table::Entry) |
//! | `kbuckets`, `kbucket`, `KBucketRef` | the same, [`BucketRef`](table::BucketRef) |
//! | `get_closest_peers`, `get_n_closest_peers`, `get_closest_local_peers`, `find_closest_local_peers` | the same |
//! | `get_record`, `put_record`, `put_record_to`, `remove_record` | the same |
//! | `start_providing`, `stop_providing`, `get_providers` | the same |
//! | `bootstrap`, `NoKnownPeers` | the same, [`QueryRefused::NoKnownPeers`] |
//! | `store_mut` | the same; for [`StoreInserts::FilterBoth`] also [`store_record`](Kademlia::store_record), [`store_provider`](Kademlia::store_provider) |
//! | `set_mode`, `mode` | the same |
//! | `RecordStore`, `MemoryStore`, `MemoryStoreConfig`, `store::Error` | [`RecordStore`], of requests and replies; the same; [`StoreError`] |
//! | `Record`, `ProviderRecord`, `RecordKey`, `Quorum`, `PeerInfo`, `Mode`, `Caching`, `BucketInserts`, `StoreInserts` | the same |
//! | `Event`, `QueryResult`, `InboundRequest` and the results | the same |
//! | `kbucket::Key`, `Distance` | [`Key`], [`Distance`] |
//!
//! # Example
//!
//! ```
//! use drywire::{
//!     multistream::ProtocolName,
//!     protocol::{identify::Identify, kad::{Config, Kademlia}},
//!     protocols,
//! };
//!
//! protocols! {
//!     /// What this node speaks: identify tells it who else is in the DHT.
//!     pub struct Town => TownEvent {
//!         identify: Identify => Identify,
//!         kad: Kademlia => Kad,
//!     }
//! }
//!
//! let config = Config::new(ProtocolName::from_static("/town/kad/1.0.0"));
//! let protocols = Town {
//!     identify: Identify::default(),
//!     kad: Kademlia::new(config),
//! };
//! # let _ = protocols;
//! // To join:  swarm.with(now, |set, cx| set.kad(cx, |kad, cx| kad.add_address(peer, &address, cx)))
//! // To look:  swarm.with(now, |set, cx| set.kad(cx, |kad, cx| kad.get_record("key", cx)))
//! ```

mod bootstrap;
mod config;
pub mod dht;
mod dual;
mod estimate;
mod event;
pub mod iterators;
mod jobs;
mod kademlia;
mod key;
pub mod message;
mod query;
mod record;
pub mod rfc3339;
mod scope;
pub mod store;
pub mod table;
#[cfg(test)]
mod tests;
pub mod validator;

pub use config::{
    ALPHA_VALUE, BucketInserts, Caching, Config, K_VALUE, LAN_PROTOCOL_NAME, PROTOCOL_NAME,
    StoreInserts,
};
pub use dht::{Dht, QueryRefused, RoutingUpdate};
pub use dual::{Dual, DualEvent, DualQueryId, DualResults, Side};
pub use estimate::NetworkSize;
pub use event::{
    AddProviderError, AddProviderOk, BootstrapError, BootstrapOk, Event, GetClosestPeersError,
    GetClosestPeersOk, GetProvidersError, GetProvidersOk, GetRecordError, GetRecordOk,
    InboundRequest, Mode, PeerRecord, PutRecordError, PutRecordOk, QueryResult,
};
pub use kademlia::Kademlia;
pub use key::{Distance, Key, RecordKey};
pub use message::{ConnectionType, MessageError};
pub use query::{
    AddProviderContext, AddProviderPhase, ProgressStep, PutRecordContext, PutRecordPhase, QueryId,
    QueryInfo, QueryMut, QueryOptions, QueryRef, QueryStats,
};
pub use record::{PeerInfo, ProviderRecord, Quorum, Record};
pub use scope::AddressScope;
pub use store::{MemoryStore, MemoryStoreConfig, RecordStore, StoreError};
pub use validator::{InvalidRecord, Validator};

/// The name rust-libp2p uses.
pub type Behaviour<S = MemoryStore> = Kademlia<S>;
