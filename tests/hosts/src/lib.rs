//! One suite for every host of drywire.
//!
//! The machines do not care who drives them, and here is the proof: each [scenario](scenarios) is written once, for a
//! [`Place`] in which [`Node`]s live, and runs at every one there is. Those of the engine are the same code on different
//! runtimes ([`engine`]); the others have no futures of their own, and are reached through a [`bridge`].
//!
//! A place can make [trouble](Trouble), from a seed: reads and writes that are cut short, wake-ups for nothing, sockets that would
//! block at any time, that break, and accepts that fail. It counts what is alive, too: after each scenario there must be no
//! task, timer, socket or listener left.
//!
//! To put another host under test, implement [`Place`] and add a line to `tests/suite/main.rs`.
// Whoever cannot go on in a test panics.
#![allow(
    clippy::missing_panics_doc,
    reason = "a failed expectation is a failed test"
)]

pub mod bridge;
pub mod engine;
pub mod mio_host;
mod node;
mod protocols;
pub mod scenarios;
mod trouble;
pub mod worker_host;

pub use node::{Failed, Incoming, Node, Place, Stream};
pub use protocols::{Counts, ECHO_REQUEST, ProtocolEvent, Protocols, config};
pub use trouble::{Alive, Dice, Trouble};
