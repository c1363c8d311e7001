//! Waiting for the routing table.

use crate::{
    notify::{lock, replace_waker},
    state::Settled,
    taps::Tap,
};
use core::task::{Context, Waker};
use drywire::{
    protocol::kad::{Event, Kademlia, RecordStore},
    swarm::{Part, Protocol},
};
use std::sync::Mutex;

/// Looks at events on their way, for those that tell of the routing table.
pub(super) struct TableTap<P: Protocol, S: RecordStore> {
    part: Part<P, Kademlia<S>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    closed: bool,
}

impl<P: Protocol, S: RecordStore> TableTap<P, S> {
    pub(super) fn new(part: Part<P, Kademlia<S>>) -> Self {
        Self {
            part,
            state: Mutex::default(),
        }
    }

    /// Wakes the task when the table has changed, or the host is gone. Whether the latter has happened.
    pub(super) fn wait(&self, cx: &Context<'_>) -> bool {
        let mut state = lock(&self.state);
        let other = replace_waker(&mut state.waker, cx);
        let closed = state.closed;
        drop(state);
        drop(other);
        closed
    }
}

impl<P: Protocol, S: RecordStore> Tap<P::Event> for TableTap<P, S> {
    fn event(&self, event: P::Event, settled: &mut Settled) -> Option<P::Event> {
        let event = match self.part.event(event) {
            Ok(event) => event,
            Err(other) => return Some(other),
        };
        if matches!(event, Event::RoutingUpdated { .. }) {
            settled.wake_later(lock(&self.state).waker.take());
        }
        Some(self.part.wrap(event))
    }

    fn is_idle(&self) -> bool {
        // Whoever waits has a share in it.
        true
    }

    fn close(&self, settled: &mut Settled) {
        let mut state = lock(&self.state);
        state.closed = true;
        settled.wake_later(state.waker.take());
    }
}
