//! Hosts from outside, over the in-memory runtime.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod bodies;
mod cancel;
mod common;
mod dual;
mod exchange;
mod handover;
mod host;
mod kad;
mod limits;
mod operations;
#[cfg(feature = "recording")]
mod recording;
mod requests;
mod starved;
mod waker;
