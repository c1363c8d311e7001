//! libp2p as pure state machines.
//!
//! drywire turns bytes, time and commands into bytes, deadlines, actions and events. It owns no socket,
//! clock, thread or source of randomness, so the same stack runs on tokio, inside your own event loop,
//! under a fuzzer, and a thousand nodes at a time in a deterministic simulation.
//!
//! Every machine is driven by the same five verbs:
//!
//! | verb | meaning |
//! |---|---|
//! | `handle_*(now, input)` | something arrived: bytes, a command, a message from another machine |
//! | `poll_transmit(now, out, limit)` | append bytes to send to the caller's buffer |
//! | `poll_event()`, `poll_action()`, `poll_message()` | what happened, what to do, what to carry; one at a time until `None` |
//! | `poll_timeout()` | when to call back |
//! | `handle_timeout(now)` | that time has come |
//!
//! # Embedding
//!
//! | you have | take |
//! |---|---|
//! | an async runtime | the crates `drywire-tokio`, `drywire-smol` and `drywire-async-std` |
//! | a loop over mio, or one thread and no loop yet | the crate `drywire-mio` |
//! | any other loop on one thread | [`node::Node`]; its module tells the [loop](node#embedding) step by step, with code |
//! | connections on several threads | [`swarm::Swarm`] and [`connection::Connection`]; the host carries their messages |
//! | a test, a simulation | the crate `drywire-sim` |
//!
//! For hosts on std, clocks, entropy and listening sockets are in the crate `drywire-system`. Complete programs are in
//! the repository, under `examples`.
//!
//! # Modules
//!
//! Modules are floors of one house; each imports only floors below its own.
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 6 | [`node`] | a swarm and its connections in one object, for single-threaded hosts |
//! | 6 | `recording` | with that feature: entries of what goes in and out of machines, and running them again |
//! | 5 | [`protocol`] | ping, identify, streams, requests and responses, Kademlia |
//! | 4 | [`swarm`] | peers, address book, dials, listeners, admission; the `Protocol` trait |
//! | 3 | [`connection`] | one peer connection: negotiate, secure, multiplex, streams |
//! | 2 | [`multistream`], [`security`], [`mux`], [`resource`] | the layer machines |
//! | 1 | [`wire`], [`identity`], [`multiaddr`], [`record`], [`crypto`] | values and codecs |
//! | 0 | [`time`], [`seed`], [`buffer`] | time, seeds, buffers |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::std_instead_of_core,
        clippy::std_instead_of_alloc
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod buffer;
pub mod connection;
pub mod crypto;
pub mod identity;
pub mod multiaddr;
pub mod multistream;
pub mod mux;
pub mod node;
pub mod protocol;
pub mod record;
#[cfg(feature = "recording")]
#[cfg_attr(docsrs, doc(cfg(feature = "recording")))]
pub mod recording;
pub mod resource;
pub mod security;
pub mod seed;
pub mod swarm;
pub mod time;
pub mod wire;
