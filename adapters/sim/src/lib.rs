//! A deterministic network.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// Nothing here is counted or measured by a peer: numbers come from the test's author, and overflow is checked in tests.
#![allow(clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation)]
// A tool with a clock and threads of its own, if only pretended: it needs std.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod agenda;
pub mod chance;
mod error;
mod fault;
pub mod network;

pub use error::WorldError;
pub use fault::{Fault, FaultCounts};
pub use network::{HostId, Link, Region};
