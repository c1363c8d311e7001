//! The host over mio by itself: tokens, turns, sleep, names. What every host has to do is tested by the suite of hosts.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;
mod examples;
mod names;
mod tokens;
mod turns;
