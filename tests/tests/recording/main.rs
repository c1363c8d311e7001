//! What is recorded runs again exactly so; and recording changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod buffers;
mod connections;
mod swarms;
