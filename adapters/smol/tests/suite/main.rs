//! Hosts over real sockets, on each kind of executor.
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

mod examples;
mod executors;
#[path = "../shared/mod.rs"]
mod shared;

shared::in_environments! {
    global: crate::executors::Global,
    own: crate::executors::Own<1>,
    own_on_many_threads: crate::executors::Own<4>,
}
