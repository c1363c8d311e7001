//! Streams that the protocol gives to the host: bodies in pieces.

use super::EventOf;
use crate::{
    connection::Shared,
    error::OpenStreamError,
    notify::{lock, replace_waker},
    operations::Operations,
    router::Router,
    state::Settled,
    stream::Stream,
    taps::Tap,
};
use bytes::Bytes;
use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::{
    identity::PeerId,
    multistream::ProtocolName,
    protocol::request_response::{Codec, Event, RequestResponse},
    swarm::{Part, Protocol, StreamRef},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// A stream that was handed over and has yet to arrive at the host's side of its connection. Dropped, it is reset.
struct Arriving {
    shared: Arc<Shared>,
    stream: StreamRef,
    protocol: ProtocolName,
    /// What came before, and was seen by the protocol.
    first: Bytes,
    arrived: bool,
    /// See [`Shared::poll_handed_over`].
    due: Option<u64>,
}

impl Arriving {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Stream, OpenStreamError>> {
        let arrived =
            self.shared
                .poll_handed_over(cx, self.stream.stream, &self.protocol, &mut self.due);
        arrived.map_ok(|stream| {
            self.arrived = true;
            stream.with_first(core::mem::take(&mut self.first))
        })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.arrived {
            self.shared.discard(self.stream.stream);
        }
    }
}

/// Takes up a stream that was handed over. Dropping the future resets it.
pub(super) async fn take(
    router: &Router,
    stream: StreamRef,
    protocol: ProtocolName,
    first: Bytes,
) -> Result<Stream, OpenStreamError> {
    let shared = router
        .connection(stream.connection)
        .ok_or(OpenStreamError::NotConnected)?;
    let mut arriving = Arriving {
        shared,
        stream,
        protocol,
        first,
        arrived: false,
        due: None,
    };
    poll_fn(|cx| arriving.poll(cx)).await
}

/// Requests of peers as streams: see [`Requests::incoming_bodies`](super::Requests::incoming_bodies). It ends when the host
/// has shut down. Dropping it resets those that wait.
#[must_use = "further requests appear among the host's events once this is dropped"]
pub struct IncomingBodies<P: Protocol, C: Codec> {
    router: Arc<Router>,
    tap: Arc<BodyTap<P, C>>,
    arriving: Option<(PeerId, Arriving)>,
}

struct BodyTap<P: Protocol, C: Codec> {
    part: Part<P, RequestResponse<C>>,
    capacity: usize,
    state: Mutex<BodyState>,
}

#[derive(Default)]
struct BodyState {
    waiting: VecDeque<(PeerId, ProtocolName, StreamRef)>,
    dropped: u64,
    waker: Option<Waker>,
    /// Nobody takes them any more.
    unwanted: bool,
    closed: bool,
}

impl<P, C> Tap<P::Event> for BodyTap<P, C>
where
    P: Protocol,
    C: Codec,
{
    fn event(&self, event: P::Event, settled: &mut Settled) -> Option<P::Event> {
        let event: EventOf<C> = match self.part.event(event) {
            Ok(event) => event,
            Err(other) => return Some(other),
        };
        let mut state = lock(&self.state);
        match event {
            Event::InboundStream {
                peer,
                protocol,
                stream,
            } if !state.unwanted => {
                if state.waiting.len() < self.capacity {
                    state.waiting.push_back((peer, protocol, stream));
                    settled.wake_later(state.waker.take());
                } else {
                    state.dropped = state.dropped.saturating_add(1);
                    settled.discard(Some(stream));
                }
                None
            }
            other => Some(self.part.wrap(other)),
        }
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn close(&self, settled: &mut Settled) {
        let mut state = lock(&self.state);
        state.closed = true;
        settled.wake_later(state.waker.take());
    }
}

impl<P, C> IncomingBodies<P, C>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    C: Codec + 'static,
{
    pub(super) fn new(operations: &Operations<P, RequestResponse<C>>, capacity: usize) -> Self {
        let tap = Arc::new(BodyTap {
            part: operations.part,
            capacity: capacity.max(1),
            state: Mutex::default(),
        });
        operations.inner.add_tap(tap.clone());
        Self {
            router: operations.inner.router.clone(),
            tap,
            arriving: None,
        }
    }
}

impl<P: Protocol, C: Codec> IncomingBodies<P, C> {
    /// Waits for the next request, and from whom it is; `None` when the host has shut down. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<(PeerId, Stream)> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// How many were reset because this was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.tap.state).dropped
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<(PeerId, Stream)>> {
        loop {
            if let Some((peer, arriving)) = &mut self.arriving {
                let (peer, arrived) = (*peer, core::task::ready!(arriving.poll(cx)));
                self.arriving = None;
                match arrived {
                    Ok(stream) => return Poll::Ready(Some((peer, stream))),
                    // Its connection has ended meanwhile, or had no room for it.
                    Err(_) => continue,
                }
            }
            let mut state = lock(&self.tap.state);
            let Some((peer, protocol, stream)) = state.waiting.pop_front() else {
                if state.closed {
                    return Poll::Ready(None);
                }
                let other = replace_waker(&mut state.waker, cx);
                drop(state);
                drop(other);
                return Poll::Pending;
            };
            drop(state);
            self.arriving = self.router.connection(stream.connection).map(|shared| {
                let arriving = Arriving {
                    shared,
                    stream,
                    protocol,
                    first: Bytes::new(),
                    arrived: false,
                    due: None,
                };
                (peer, arriving)
            });
        }
    }
}

impl<P: Protocol, C: Codec> futures_core::Stream for IncomingBodies<P, C> {
    type Item = (PeerId, Stream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<P: Protocol, C: Codec> Unpin for IncomingBodies<P, C> {}

impl<P: Protocol, C: Codec> Drop for IncomingBodies<P, C> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = lock(&self.tap.state);
            state.unwanted = true;
            core::mem::take(&mut state.waiting)
        };
        for (_, _, stream) in waiting {
            self.router.discard(stream);
        }
    }
}

impl<P: Protocol, C: Codec> fmt::Debug for IncomingBodies<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingBodies")
            .field("part", &self.tap.part)
            .finish_non_exhaustive()
    }
}
