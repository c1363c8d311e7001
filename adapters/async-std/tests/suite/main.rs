//! The tests of drywire-smol on async-std's executor.
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
#[path = "../../../smol/tests/shared/mod.rs"]
mod shared;

use drywire_async_std::{AsyncStdExecutor, AsyncStdRuntime};

struct AsyncStd;

impl shared::Environment for AsyncStd {
    type Spawn = AsyncStdExecutor;

    fn run(test: impl AsyncFnOnce(AsyncStdRuntime)) {
        async_std::task::block_on(test(AsyncStdRuntime::default()));
    }
}

shared::in_environments! {
    hosts: crate::AsyncStd,
}
