//! The store from outside: restarts, crashes, load, and disks that fail.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub
)]

#[path = "../common/mod.rs"]
mod common;
mod examples;
mod kill;
mod ledger;
mod load;
mod model;
mod power;
mod restart;
