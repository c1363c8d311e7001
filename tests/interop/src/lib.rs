//! Real peers for drywire's interoperability tests and side-by-side benchmarks.
//!
//! [`Peer`] is what a libp2p implementation has to offer to take part: listen, connect, open and accept streams,
//! ping, identify. [`Libp2pPeer`] implements it with rust-libp2p. Scenarios and workloads are written once,
//! generic over two peers, and run for every pairing of implementations.
//!
//! [`programs`] holds the stream programs that both sides speak (`/echo/1.0.0`, `/perf/1.0.0`, ..), server and client.

pub mod drywire_bytes;
pub mod drywire_peer;
pub mod kad;
pub mod peer;
pub mod programs;
pub mod requests;
pub mod rust_libp2p;

pub use drywire_bytes::DrywireBytesPeer;
pub use drywire_peer::DrywirePeer;
pub use peer::{Crypto, Error, Identified, Options, Peer, Transfer};
pub use rust_libp2p::Libp2pPeer;
