//! The application's handle.

use crate::{
    builder::HostBuilder,
    error::{AcceptError, ConnectError, ListenError, OpenStreamError},
    events::Events,
    incoming::{IncomingStreams, Queue},
    notify::lock,
    opening::Open,
    runtime::Runtime,
    state::{Inner, Pending},
    stream::Stream,
};
use core::{fmt, future::poll_fn, sync::atomic::Ordering, task::Poll};
use drywire::{
    connection::{Accept, ConnectionError, ConnectionId, StreamError, StreamId, StreamKind},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{self, DialId, DialOptions, ListenerId, Protocol},
};
use std::sync::Arc;

/// A node on an async runtime: a swarm, its connections, and the tasks that drive them.
///
/// Clones are handles of the same node. When the last one is dropped the node shuts down in the background, saying goodbye
/// to its peers; [`shutdown`](Self::shutdown) does the same and waits for it.
pub struct Host<P: Protocol> {
    pub(crate) inner: Arc<Inner<P>>,
}

/// A listener that is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// Its name, to stop it with.
    pub listener: ListenerId,
    /// Where it is bound, the port resolved. The address may be unspecified (`0.0.0.0`).
    pub address: Multiaddr,
}

/// How streams of an accepted name are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptOptions {
    /// Streams that wait to be taken; one more is reset and counted.
    pub capacity: usize,
    /// Streams of this name that may be open at once on one connection. 256.
    pub max_streams: u32,
    /// The streams do not keep an otherwise idle connection open.
    pub background: bool,
}

impl AcceptOptions {
    /// At most `capacity` wait to be taken.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            max_streams: 256,
            background: false,
        }
    }

    /// Sets how many may be open at once on one connection.
    #[must_use]
    pub const fn max_streams(mut self, max_streams: u32) -> Self {
        self.max_streams = max_streams;
        self
    }

    /// Marks the name as background traffic.
    #[must_use]
    pub const fn background(mut self) -> Self {
        self.background = true;
        self
    }
}

/// A connection that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dialed {
    /// The connection.
    pub connection: ConnectionId,
    /// Who is at its other end, proven.
    pub peer: PeerId,
}

impl<P> Host<P>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
{
    /// Begins a host that runs `protocols` on `runtime`.
    pub fn builder<R: Runtime>(runtime: R, protocols: P) -> HostBuilder<R, P> {
        HostBuilder::new(runtime, protocols)
    }

    /// The first handle.
    pub(crate) fn of(inner: Arc<Inner<P>>) -> Self {
        Self { inner }
    }

    /// This node's name.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer
    }

    /// Listens on an address, `/ip4/../tcp/..` or `/ip6/../tcp/..`; port 0 lets the system choose one. It goes on until
    /// [`stop_listening`](Self::stop_listening) or the end of the host. Dropping the future before it completes stops it.
    ///
    /// # Errors
    /// If the address is of another kind, in use, not this machine's, and so on.
    pub async fn listen(&self, address: Multiaddr) -> Result<Bound, ListenError> {
        let now = self.inner.router.now();
        let listener = self.inner.with(now, |state| {
            if state.closed {
                return Err(ListenError::HostClosed);
            }
            let listener = state
                .swarm
                .listen(now, address)
                .map_err(ListenError::Refused)?;
            state.listens.insert(listener, Pending::default());
            Ok(listener)
        })?;
        let mut guard = ListenGuard {
            inner: &self.inner,
            listener,
            armed: true,
        };
        let answer = poll_fn(|cx| {
            let mut state = lock(&self.inner.state);
            let closed = state.closed;
            match state
                .listens
                .get_mut(&listener)
                .map(|pending| pending.poll(cx))
            {
                Some(Poll::Ready(answer)) => Poll::Ready(answer.map_err(ListenError::Transport)),
                Some(Poll::Pending) if !closed => Poll::Pending,
                _ => Poll::Ready(Err(ListenError::HostClosed)),
            }
        });
        let address = answer.await?;
        guard.armed = false;
        Ok(Bound { listener, address })
    }

    /// Stops a listener. Its connections go on. Unknown ones are ignored.
    pub fn stop_listening(&self, listener: ListenerId) {
        let now = self.inner.router.now();
        self.inner.with(now, |state| {
            state.swarm.stop_listening(now, listener);
        });
    }

    /// Where this node listens: unspecified addresses are replaced by those of the machine's interfaces, where the runtime
    /// can tell them.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        lock(&self.inner.state).swarm.listen_addresses().to_vec()
    }

    /// Makes a connection, or finds one that is there, and waits until streams can be opened on it. Dropping the future
    /// gives the dial up, unless others wait for the same peer.
    ///
    /// # Errors
    /// What became of every address tried.
    pub async fn dial(&self, options: DialOptions) -> Result<Dialed, ConnectError> {
        let now = self.inner.router.now();
        let dial = self.inner.with(now, |state| {
            if state.closed {
                return Err(ConnectError::HostClosed);
            }
            let dial = state.swarm.dial(now, options).map_err(ConnectError::Dial)?;
            state.dials.insert(dial, Pending::default());
            Ok(dial)
        })?;
        let guard = DialGuard {
            inner: &self.inner,
            dial,
        };
        let answer = poll_fn(|cx| {
            let mut state = lock(&self.inner.state);
            let closed = state.closed;
            match state.dials.get_mut(&dial).map(|pending| pending.poll(cx)) {
                Some(Poll::Ready(answer)) => {
                    state.dials.remove(&dial);
                    Poll::Ready(answer.map_err(ConnectError::Dial))
                }
                Some(Poll::Pending) if !closed => Poll::Pending,
                _ => Poll::Ready(Err(ConnectError::HostClosed)),
            }
        });
        let dialed = answer.await?;
        drop(guard);
        // The swarm has admitted it; the connection itself hears of that a moment later.
        let gone = ConnectError::Connection(ConnectionError::Closed);
        let shared = self
            .inner
            .router
            .connection(dialed.connection)
            .ok_or(gone)?;
        poll_fn(|cx| shared.poll_established(cx))
            .await
            .map_err(ConnectError::Connection)?;
        Ok(dialed)
    }

    /// Remembers an address of a peer, until it is told otherwise, for opening streams and dialing by peer id. Returns
    /// whether it is new.
    pub fn add_address(&self, peer: PeerId, address: &Multiaddr) -> bool {
        let now = self.inner.router.now();
        self.inner
            .with(now, |state| state.swarm.add_address(now, peer, address))
    }

    /// Closes every connection to a peer, in good order.
    pub fn disconnect(&self, peer: PeerId) {
        let now = self.inner.router.now();
        self.inner.with(now, |state| {
            state.swarm.disconnect(now, &peer);
        });
    }

    /// Opens a stream to a peer, dialing it if needed, and waits until the peer has agreed to the protocol.
    ///
    /// On a connected peer this never touches the swarm. While the connection has as many streams as it may, or as many
    /// that the peer has not acknowledged, this waits for one to end, but not longer than the configured timeout for
    /// negotiating a stream. Dropping the future resets the stream.
    ///
    /// # Errors
    /// See [`OpenStreamError`].
    pub async fn open_stream(
        &self,
        peer: PeerId,
        name: ProtocolName,
    ) -> Result<Stream, OpenStreamError> {
        let stream = self.open(peer, name).await?;
        answered(stream).await
    }

    /// Opens a stream to a peer, dialing it if needed, without waiting for the peer's answer: it can be written at once,
    /// which saves a round trip. If the peer does not support the protocol, the first read fails.
    ///
    /// # Errors
    /// If there is no connection and none can be made, or no stream could be asked for.
    pub async fn open_stream_optimistic(
        &self,
        peer: PeerId,
        name: ProtocolName,
    ) -> Result<Stream, OpenStreamError> {
        self.open(peer, name).await
    }

    /// Opens a stream on one particular connection, and waits until the peer has agreed to the protocol.
    ///
    /// # Errors
    /// See [`OpenStreamError`].
    pub async fn open_stream_on(
        &self,
        connection: ConnectionId,
        name: ProtocolName,
    ) -> Result<Stream, OpenStreamError> {
        let stream = self.open_on(connection, &name).await?;
        answered(stream).await
    }

    /// Opens a stream on one particular connection without waiting for the peer's answer, see
    /// [`open_stream_optimistic`](Self::open_stream_optimistic).
    ///
    /// # Errors
    /// If the connection is not there, or no stream could be asked for.
    pub async fn open_stream_optimistic_on(
        &self,
        connection: ConnectionId,
        name: ProtocolName,
    ) -> Result<Stream, OpenStreamError> {
        self.open_on(connection, &name).await
    }

    async fn open(&self, peer: PeerId, name: ProtocolName) -> Result<Stream, OpenStreamError> {
        let router = &self.inner.router;
        let mut index: usize = 0;
        let deadline = router.open_deadline();
        while let Some(shared) = router.connection_to(&peer, index) {
            match Open::new(&shared, &name, deadline).await {
                // It is on its way out, or used up: another one may do.
                Err(OpenStreamError::NotConnected) => index = index.saturating_add(1),
                result => return result,
            }
        }
        let dialed = self.dial(DialOptions::peer(peer)).await?;
        self.open_on(dialed.connection, &name).await
    }

    async fn open_on(
        &self,
        connection: ConnectionId,
        name: &ProtocolName,
    ) -> Result<Stream, OpenStreamError> {
        let shared = self
            .inner
            .router
            .connection(connection)
            .ok_or(OpenStreamError::NotConnected)?;
        Open::new(&shared, name, self.inner.router.open_deadline()).await
    }

    /// Takes up a stream that a protocol has handed over to the host. `protocol` is what [`Stream::protocol`] will say.
    ///
    /// # Errors
    /// If the connection has ended, or no such stream was handed over and is still to be had.
    pub async fn take_stream(
        &self,
        connection: ConnectionId,
        stream: StreamId,
        protocol: ProtocolName,
    ) -> Result<Stream, OpenStreamError> {
        let shared = self
            .inner
            .router
            .connection(connection)
            .ok_or(OpenStreamError::NotConnected)?;
        let mut due = None;
        poll_fn(|cx| shared.poll_handed_over(cx, stream, &protocol, &mut due)).await
    }

    /// Accepts streams that peers open under `name`, and keeps up to `capacity` until they are taken; one more is reset,
    /// and [counted](IncomingStreams::dropped).
    ///
    /// # Errors
    /// If the name is accepted already, by another call or by a protocol.
    pub fn accept(
        &self,
        name: ProtocolName,
        capacity: usize,
    ) -> Result<IncomingStreams, AcceptError> {
        self.accept_with(name, AcceptOptions::new(capacity))
    }

    /// The same with other limits than the defaults.
    ///
    /// # Errors
    /// As there.
    pub fn accept_with(
        &self,
        name: ProtocolName,
        options: AcceptOptions,
    ) -> Result<IncomingStreams, AcceptError> {
        let inner = &self.inner;
        let queue = Queue::new(options.capacity);
        if !inner.router.register(&name, &queue) {
            return Err(AcceptError::AlreadyRegistered(name));
        }
        let mut accept = Accept::new(StreamKind::Raw)
            .host_owned()
            .max_streams(options.max_streams);
        if options.background {
            accept = accept.background();
        }
        let now = inner.router.now();
        let accepted = inner.with(now, |state| {
            if state.closed {
                return Err(AcceptError::HostClosed);
            }
            let result = state.swarm.accept(now, name.clone(), accept);
            result.map_err(|error| match error {
                swarm::AcceptError::AlreadyRegistered(name) => AcceptError::AlreadyRegistered(name),
                _ => AcceptError::TooManyNames,
            })
        });
        if let Err(error) = accepted {
            inner.router.deregister(&name);
            return Err(error);
        }
        let (weak, own_name) = (Arc::downgrade(inner), name.clone());
        let unaccept = move || {
            if let Some(inner) = weak.upgrade() {
                let now = inner.router.now();
                inner.with(now, |state| state.swarm.unaccept(now, &own_name));
            }
        };
        Ok(IncomingStreams::new(
            queue,
            inner.router.clone(),
            name,
            Box::new(unaccept),
        ))
    }

    /// Runs a command on the protocols.
    ///
    /// The swarm stands still meanwhile; do nothing slow, and do not call the host.
    pub fn with<T>(&self, f: impl FnOnce(&mut P, &mut swarm::Context<'_, P::Event>) -> T) -> T {
        let now = self.inner.router.now();
        self.inner.with(now, |state| state.swarm.with(now, f))
    }

    /// The events of this node from now on; at most `capacity` wait. A second call takes over from the first.
    pub fn events(&self, capacity: usize) -> Events<P> {
        let (number, waker) = lock(&self.inner.state).events.subscribe(capacity);
        if let Some(waker) = waker {
            waker.wake();
        }
        Events {
            inner: self.inner.clone(),
            number,
        }
    }

    /// Says goodbye to all peers, closes everything, and waits until that is done: not longer than the configured
    /// closing timeout.
    pub async fn shutdown(&self) {
        self.inner.begin_shutdown();
        poll_fn(|cx| {
            let mut state = lock(&self.inner.state);
            if state.closed {
                return Poll::Ready(());
            }
            if !state
                .shutdown
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                state.shutdown.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Waits for the peer's answer to an open.
async fn answered(mut stream: Stream) -> Result<Stream, OpenStreamError> {
    match poll_fn(|cx| stream.poll_opened(cx)).await {
        Ok(()) => Ok(stream),
        Err(StreamError::UnsupportedProtocol) => Err(OpenStreamError::UnsupportedProtocol(
            stream.protocol().clone(),
        )),
        Err(StreamError::Connection(error)) => Err(OpenStreamError::Connection(error)),
        Err(error) => Err(OpenStreamError::Stream(error)),
    }
}

struct ListenGuard<'a, P: Protocol> {
    inner: &'a Inner<P>,
    listener: ListenerId,
    /// Nobody will know the listener's name.
    armed: bool,
}

impl<P: Protocol> Drop for ListenGuard<'_, P> {
    fn drop(&mut self) {
        let now = self.inner.router.now();
        self.inner.with(now, |state| {
            state.listens.remove(&self.listener);
            if self.armed {
                state.swarm.stop_listening(now, self.listener);
            }
        });
    }
}

struct DialGuard<'a, P: Protocol> {
    inner: &'a Inner<P>,
    dial: DialId,
}

impl<P: Protocol> Drop for DialGuard<'_, P> {
    fn drop(&mut self) {
        let now = self.inner.router.now();
        self.inner.with(now, |state| {
            // Still there: the caller has gone before the answer.
            if state.dials.remove(&self.dial).is_some() {
                state.swarm.cancel_dial(now, self.dial);
            }
        });
    }
}

impl<P: Protocol> Clone for Host<P> {
    fn clone(&self) -> Self {
        self.inner.handles.fetch_add(1, Ordering::Relaxed);
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<P: Protocol> Drop for Host<P> {
    fn drop(&mut self) {
        if self.inner.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.begin_shutdown();
        }
    }
}

impl<P: Protocol> fmt::Debug for Host<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("peer", &self.inner.peer)
            .finish_non_exhaustive()
    }
}
