//! What the swarm reports, on its way to the application.

use crate::{notify::lock, state::Inner};
use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::swarm::{Event, Protocol};
use std::{collections::VecDeque, sync::Arc};

/// The events of a host, oldest first: a `futures` stream that ends when the host has shut down, or when another one
/// takes its place.
///
/// If it is not read fast enough the oldest events are dropped, and [counted](Self::dropped): a host never waits for its
/// application, and never holds more than it was told to.
#[must_use = "events go nowhere once this is dropped"]
pub struct Events<P: Protocol> {
    pub(crate) inner: Arc<Inner<P>>,
    /// Which subscription this is; only the latest gets events.
    pub(crate) number: u64,
}

/// The queue behind [`Events`].
pub(crate) struct EventQueue<E> {
    pub(crate) number: u64,
    capacity: usize,
    events: VecDeque<Event<E>>,
    dropped: u64,
    waker: Option<Waker>,
}

impl<E> EventQueue<E> {
    /// A queue nobody reads.
    pub(crate) fn new() -> Self {
        Self {
            number: 0,
            capacity: 0,
            events: VecDeque::new(),
            dropped: 0,
            waker: None,
        }
    }

    /// Starts the next subscription; its number, and whom to wake because theirs is over.
    pub(crate) fn subscribe(&mut self, capacity: usize) -> (u64, Option<Waker>) {
        self.number = self.number.wrapping_add(1);
        self.capacity = capacity.max(1);
        self.dropped = 0;
        self.events.clear();
        (self.number, self.waker.take())
    }

    pub(crate) fn push(&mut self, event: Event<E>, wakers: &mut Vec<Waker>) {
        if self.capacity == 0 {
            return;
        }
        if self.events.len() >= self.capacity {
            self.events.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.events.push_back(event);
        wakers.extend(self.waker.take());
    }

    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

impl<P: Protocol> Events<P> {
    /// Waits for the next event; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<P::Event>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// How many events were dropped because this was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let state = lock(&self.inner.state);
        if state.events.number == self.number {
            state.events.dropped
        } else {
            0
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<Event<P::Event>>> {
        let mut state = lock(&self.inner.state);
        if state.events.number != self.number {
            return Poll::Ready(None);
        }
        if let Some(event) = state.events.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.events.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<P: Protocol> futures_core::Stream for Events<P> {
    type Item = Event<P::Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<P: Protocol> Drop for Events<P> {
    fn drop(&mut self) {
        let mut state = lock(&self.inner.state);
        if state.events.number == self.number {
            state.events.capacity = 0;
            let events = core::mem::take(&mut state.events.events);
            drop(state);
            drop(events);
        }
    }
}

impl<P: Protocol> fmt::Debug for Events<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
