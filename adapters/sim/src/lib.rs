//! A deterministic network.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// Nothing here is counted or measured by a peer: numbers come from the test's author, and overflow is checked in tests.
#![allow(clippy::arithmetic_side_effects)]
// A tool with a clock and tasks of its own, if only pretended: it needs std.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod agenda;
pub mod chance;
mod chronicle;
mod error;
pub mod explore;
mod fault;
pub mod network;
pub mod population;
mod runtime;
mod statistics;
pub mod timeline;
mod trace;
mod violation;
pub mod workload;
mod world;

pub use chronicle::{Chronicle, Moment};
pub use error::WorldError;
pub use fault::{Fault, FaultCounts};
pub use network::{HostId, Link, Region};
pub use runtime::{SimListener, SimPipe, SimRuntime, SimTimer};
pub use statistics::{Latencies, Statistics};
pub use trace::TraceHash;
pub use violation::Violation;
pub use world::{
    Application, Events, Host, HostBuilder, HostContext, Outcome, PORT, Stopped, World,
};
