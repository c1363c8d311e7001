//! The program from outside, each time in a process of its own.
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
#[cfg(unix)]
mod kad;
mod program;
mod runtimes;
mod sim;
