//! Protocols: what a node does on its connections.
//!
//! Each is a [`Protocol`](crate::swarm::Protocol), and can be a field of a set made by
//! [`protocols!`](crate::protocols).
//!
//! | module | protocol | what it does |
//! |---|---|---|
//! | [`kad`] | `/ipfs/kad/1.0.0`, or any name | a distributed hash table of peers, records and providers |
//! | [`ping`] | `/ipfs/ping/1.0.0` | measures round trips, notices dead peers |
//! | [`identify`] | `/ipfs/id/1.0.0`, `/ipfs/id/push/1.0.0` | tells who one is, what one supports, where one can be reached |
//! | [`request_response`] | any names | requests and responses of any codec |
//! | [`stream`] | any name | plain streams for the application |
//!
//! [`Standard`] is the set of those that most nodes need.

pub mod identify;
pub mod kad;
pub mod ping;
pub mod request_response;
pub mod stream;

#[cfg(test)]
mod bench;

use crate::protocols;

protocols! {
    /// Ping, identify and plain streams: what most nodes need at least.
    #[derive(Debug, Default)]
    pub struct Standard => StandardEvent {
        /// Measures round trips.
        pub ping: ping::Ping => Ping,
        /// Tells peers of each other.
        pub identify: identify::Identify => Identify,
        /// Plain streams for the application.
        pub streams: stream::Streams => Stream,
    }
}
