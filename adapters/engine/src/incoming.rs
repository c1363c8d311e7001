//! Streams that peers open, on their way to the application.

use crate::{notify::lock, router::Router, stream::Stream};
use core::{
    fmt,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use drywire::{identity::PeerId, multistream::ProtocolName};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// A bounded queue of streams under one name.
pub(crate) struct Queue {
    capacity: usize,
    dropped: AtomicU64,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    streams: VecDeque<(PeerId, Stream)>,
    waker: Option<Waker>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            dropped: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    /// Queues a stream; drops it, and counts, if the application has fallen behind.
    pub(crate) fn push(&self, peer: PeerId, stream: Stream) {
        let (waker, refused) = {
            let mut state = lock(&self.state);
            if state.closed || state.streams.len() >= self.capacity {
                (None, Some(stream))
            } else {
                state.streams.push_back((peer, stream));
                (state.waker.take(), None)
            }
        };
        if refused.is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        // Outside the lock: this resets the stream, which locks its connection.
        drop(refused);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No more streams come; those queued are dropped.
    pub(crate) fn close(&self) {
        let (streams, waker) = {
            let mut state = lock(&self.state);
            state.closed = true;
            (core::mem::take(&mut state.streams), state.waker.take())
        };
        drop(streams);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<(PeerId, Stream)>> {
        let mut state = lock(&self.state);
        if let Some(next) = state.streams.pop_front() {
            return Poll::Ready(Some(next));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The streams peers open under one name: a `futures` stream of the peer and the stream. It ends when the host shuts
/// down.
///
/// Dropping it takes the name off the list of supported protocols: later opens by peers fail their negotiation, and
/// streams not yet taken are reset.
#[must_use = "the name is no longer accepted once this is dropped"]
pub struct IncomingStreams {
    queue: Arc<Queue>,
    router: Arc<Router>,
    name: ProtocolName,
    /// Tells the swarm that the name is no longer accepted.
    unaccept: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl IncomingStreams {
    pub(crate) fn new(
        queue: Arc<Queue>,
        router: Arc<Router>,
        name: ProtocolName,
        unaccept: Box<dyn FnOnce() + Send + Sync>,
    ) -> Self {
        Self {
            queue,
            router,
            name,
            unaccept: Some(unaccept),
        }
    }

    /// The name accepted.
    #[must_use]
    pub fn protocol(&self) -> &ProtocolName {
        &self.name
    }

    /// Waits for the next stream; `None` once the host shuts down. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(PeerId, Stream)> {
        core::future::poll_fn(|cx| self.queue.poll_next(cx)).await
    }

    /// How many streams were dropped because this was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }
}

impl futures_core::Stream for IncomingStreams {
    type Item = (PeerId, Stream);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_next(cx)
    }
}

impl Drop for IncomingStreams {
    fn drop(&mut self) {
        // First the swarm, so that no stream is agreed on that nobody takes.
        if let Some(unaccept) = self.unaccept.take() {
            unaccept();
        }
        self.router.deregister(&self.name);
        self.queue.close();
    }
}

impl fmt::Debug for IncomingStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingStreams")
            .field("protocol", &self.name)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
