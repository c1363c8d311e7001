//! What the tests over real sockets share.
#![allow(dead_code, reason = "each test program uses a part")]

use drywire::{
    connection::Slot,
    swarm::{Context, Input, Protocol},
    time::Instant,
};
use drywire_engine::Host;
use drywire_tokio::TokioRuntime;

/// A node without protocols of its own.
pub(crate) struct Nothing;

impl Protocol for Nothing {
    type Event = ();

    fn start(&mut self, _: &mut Context<'_, ()>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, ()>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

pub(crate) fn host() -> Host<Nothing> {
    host_on(TokioRuntime::current().unwrap())
}

pub(crate) fn host_on(runtime: TokioRuntime) -> Host<Nothing> {
    Host::builder(runtime, Nothing).start().unwrap()
}
