//! The simulator from outside: worlds, campaigns, pictures, and the examples.
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

mod cuts;
mod examples;
mod explore;
mod kad;
mod kad_attacks;
mod population;
mod requests;
mod runtime;
mod timeline;
mod world;
