//! Hosts over real sockets.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub
)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "dns")]
mod dnsaddr;
mod examples;
mod loopback;
#[cfg(feature = "recording")]
mod recording;
mod requests;
