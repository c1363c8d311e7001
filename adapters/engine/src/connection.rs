//! One connection, as its driver and the handles of its streams share it.

use crate::{
    error::OpenStreamError,
    notify::{Notify, lock},
    router::Router,
    stream::Stream,
    streams::{End, StreamTable},
};
use core::task::{Context, Poll, Waker};
use drywire::{
    connection::{
        Connection, ConnectionError, ConnectionId, OpenError, OpenOptions, StreamError, StreamId,
        StreamKind, ToConnection, code,
    },
    identity::PeerId,
    multistream::ProtocolName,
    time::Instant,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock},
};

/// Streams of one connection that protocols gave to the host and the application has yet to take up.
const MAX_HANDED: usize = 64;

/// A connection shared by its driver, the swarm's driver and the application's streams.
///
/// Lock order: `state` first, then at most one of the small locks (`inbox`, the router's), each held for a few
/// instructions. Never this `state` together with another connection's or with the swarm. Nobody is woken, and no
/// stream is dropped, while `state` is held.
pub(crate) struct Shared {
    pub(crate) id: ConnectionId,
    pub(crate) router: Arc<Router>,
    /// Wakes the driver.
    pub(crate) notify: Notify,
    /// Known once established.
    pub(crate) peer: OnceLock<Arc<PeerId>>,
    /// From the swarm, in order. Bounded: the swarm keeps count of what is under way to each connection.
    inbox: Mutex<VecDeque<ToConnection>>,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) connection: Connection,
    pub(crate) phase: Phase,
    /// One entry for each stream handle alive.
    pub(crate) streams: StreamTable,
    /// Those who wait for the phase to change, or for room for one more stream.
    pub(crate) waiting: VecDeque<Waker>,
    /// Streams that protocols gave to the host and nobody has taken up.
    pub(crate) handed: Vec<StreamId>,
    /// The driver does not read because the connection had no room; whoever makes room must wake it.
    pub(crate) reading_paused: bool,
    /// When the driver wakes by itself at the latest; whoever causes an earlier deadline must wake it.
    pub(crate) wakes_at: Instant,
}

pub(crate) enum Phase {
    Starting,
    Established,
    Closed(ConnectionError),
}

impl Shared {
    pub(crate) fn new(router: Arc<Router>, connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            id: connection.id(),
            router,
            notify: Notify::default(),
            peer: OnceLock::new(),
            inbox: Mutex::new(VecDeque::new()),
            state: Mutex::new(State {
                connection,
                phase: Phase::Starting,
                streams: StreamTable::default(),
                waiting: VecDeque::new(),
                handed: Vec::new(),
                reading_paused: false,
                wakes_at: Instant::FAR_FUTURE,
            }),
        })
    }

    /// Puts a message from the swarm into the inbox. Notify the driver once the swarm is unlocked.
    pub(crate) fn deliver(&self, message: ToConnection) {
        lock(&self.inbox).push_back(message);
    }

    /// Takes the inbox; it costs nothing while empty.
    pub(crate) fn take_inbox(&self) -> VecDeque<ToConnection> {
        core::mem::take(&mut *lock(&self.inbox))
    }

    /// Works on the state, then wakes the driver if it has something to do now.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let (result, wake) = {
            let mut state = lock(&self.state);
            let result = f(&mut state);
            (result, state.wants_driver())
        };
        if wake {
            self.notify.notify();
        }
        result
    }

    /// Opens a stream of the application's, as soon as there is room for one more.
    pub(crate) fn poll_open(
        self: &Arc<Self>,
        cx: &Context<'_>,
        name: &ProtocolName,
    ) -> Poll<Result<Stream, OpenStreamError>> {
        let now = self.router.now();
        let opened = self.with(|state| match &state.phase {
            Phase::Starting => {
                state.wait(cx);
                Poll::Pending
            }
            Phase::Closed(_) => Poll::Ready(Err(OpenStreamError::NotConnected)),
            Phase::Established => {
                let names = core::slice::from_ref(name);
                match state
                    .connection
                    .open(now, names, StreamKind::Raw, OpenOptions::default())
                {
                    Ok(id) => {
                        state.streams.insert(id, false);
                        Poll::Ready(Ok(id))
                    }
                    Err(OpenError::TooManyStreams) => {
                        state.wait(cx);
                        Poll::Pending
                    }
                    Err(OpenError::NotConnected | OpenError::GoingAway | OpenError::Exhausted) => {
                        Poll::Ready(Err(OpenStreamError::NotConnected))
                    }
                    Err(error) => Poll::Ready(Err(OpenStreamError::Open(error))),
                }
            }
        });
        opened
            .map_ok(|id| {
                let peer = self.peer.get().cloned();
                // Established, so the peer is known.
                peer.map_or(Err(OpenStreamError::NotConnected), |peer| {
                    Ok(Stream::new(self.clone(), id, peer, name.clone()))
                })
            })
            .map(|result| result.and_then(|result| result))
    }

    /// Ready when a protocol has handed over `stream`, or the connection is closed.
    pub(crate) fn poll_handed_over(
        self: &Arc<Self>,
        cx: &Context<'_>,
        stream: StreamId,
        protocol: &ProtocolName,
    ) -> Poll<Result<Stream, OpenStreamError>> {
        let mut state = lock(&self.state);
        if let Some(place) = state.handed.iter().position(|handed| *handed == stream)
            && let Some(peer) = self.peer.get().cloned()
        {
            state.handed.remove(place);
            state.streams.insert(stream, true);
            drop(state);
            return Poll::Ready(Ok(Stream::new(
                self.clone(),
                stream,
                peer,
                protocol.clone(),
            )));
        }
        if let Phase::Closed(error) = &state.phase {
            return Poll::Ready(Err(OpenStreamError::Connection(error.clone())));
        }
        state.wait(cx);
        Poll::Pending
    }

    /// Ready when the connection is established, or will never be.
    pub(crate) fn poll_established(&self, cx: &Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let mut state = lock(&self.state);
        match &state.phase {
            Phase::Starting => {
                state.wait(cx);
                Poll::Pending
            }
            Phase::Established => Poll::Ready(Ok(())),
            Phase::Closed(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

impl State {
    /// Whether there is something to send, room to read, or something to hand out: what waits is always due, so that the
    /// deadline tells.
    fn wants_driver(&self) -> bool {
        self.reading_paused
            || self.connection.wants_transmit()
            || self
                .connection
                .poll_timeout()
                .is_some_and(|deadline| deadline < self.wakes_at)
    }

    /// Keeps a stream's last word for its handle.
    pub(crate) fn ended(&mut self, stream: StreamId, end: End, wakers: &mut Vec<Waker>) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.end = Some(Box::new(end));
            wakers.extend(entry.read.take().into_iter().chain(entry.write.take()));
        }
    }

    /// Keeps a stream until somebody takes it up; resets it if nobody takes up any.
    pub(crate) fn handed_over(&mut self, stream: StreamId) {
        if self.handed.len() < MAX_HANDED {
            self.handed.push(stream);
        } else if let Some(mut stream) = self.connection.stream(stream) {
            stream.reset(code::RESOURCE_LIMIT_EXCEEDED);
        }
    }

    /// Registers a task that waits for the phase to change or for room. Once, however often it is polled.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push_back(cx.waker().clone());
        }
    }

    /// Takes everybody who waits, for whatever reason.
    pub(crate) fn take_wakers(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.waiting.drain(..));
        for entry in self.streams.iter_mut() {
            wakers.extend(entry.read.take().into_iter().chain(entry.write.take()));
        }
    }

    /// The error every stream reports that the core has forgotten without a last word of its own.
    pub(crate) fn closed(&self) -> StreamError {
        StreamError::Connection(match &self.phase {
            Phase::Closed(error) => error.clone(),
            Phase::Starting | Phase::Established => ConnectionError::Closed,
        })
    }
}
