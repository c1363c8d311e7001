//! Statements a peer signs so that others can pass them on: envelopes, and the record of its own addresses.
//!
//! A [`SignedEnvelope`] ([RFC 0002](https://github.com/libp2p/specs/blob/master/RFC/0002-signed-envelopes.md)) holds
//! any payload, its type, the signer's key and a signature bound to a purpose, the domain. A [`PeerRecord`]
//! ([RFC 0003](https://github.com/libp2p/specs/blob/master/RFC/0003-routing-records.md)) is the payload that lists a
//! peer's addresses; only the peer itself can sign it.

mod envelope;
mod peer_record;
#[cfg(test)]
mod tests;

pub use envelope::{EnvelopeError, SignedEnvelope};
pub use peer_record::{PeerRecord, PeerRecordError};
