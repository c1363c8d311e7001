//! Hosts of the engine, on whatever runtime.

use crate::{
    node::{Failed, Incoming, Node, Place, Stream},
    protocols::{Counts, Protocols},
    trouble::{Alive, Dice, Trouble},
};
use bytes::{Bytes, BytesMut};
use core::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::kad::{Quorum, Record},
    swarm::{Config, DialOptions},
    time::{Instant, UnixTime},
};
use drywire_engine::{Host, IncomingStreams, Listener, Pipe, Runtime, Timer};
use std::{
    io,
    sync::{Arc, Mutex},
};

/// A runtime as a place of nodes.
#[derive(Clone)]
pub struct EnginePlace<R: Runtime> {
    runtime: Troubled<R>,
}

impl<R: Runtime> EnginePlace<R> {
    /// Nodes on this runtime.
    pub fn new(runtime: R) -> Self {
        Self {
            runtime: Troubled {
                runtime,
                trouble: Trouble::default(),
                kill: Arc::default(),
            },
        }
    }
}

impl<R: Runtime> Place for EnginePlace<R> {
    type Node = EngineNode;

    fn node(&self, config: Config) -> EngineNode {
        let mut runtime = self.runtime.clone();
        runtime.kill = Arc::default();
        let kill = runtime.kill.clone();
        let builder = Host::builder(runtime, Protocols::default());
        let host = builder.config(config).start().unwrap();
        let counts = Arc::new(Counts::default());
        let (mut events, counting) = (host.events(8192), counts.clone());
        self.runtime.spawn(async move {
            while let Some(event) = events.next().await {
                counting.count(&event);
            }
        });
        EngineNode { host, counts, kill }
    }

    fn kill(&self, node: &EngineNode) {
        let tasks = {
            let mut kill = node.kill.lock().unwrap();
            kill.done = true;
            core::mem::take(&mut kill.tasks)
        };
        tasks.into_iter().for_each(Waker::wake);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        // Of the runtime itself: what the test waits for is not counted among what is alive.
        let mut timer = self.runtime.runtime.timer();
        timer.arm(self.runtime.now() + duration);
        async move { poll_fn(|cx| timer.poll(cx)).await }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.runtime.spawn(task);
    }

    fn trouble(&self) -> &Trouble {
        &self.runtime.trouble
    }
}

/// A host of the engine.
#[derive(Clone)]
pub struct EngineNode {
    host: Host<Protocols>,
    counts: Arc<Counts>,
    kill: Arc<Mutex<Kill>>,
}

/// Ends all tasks of a node.
#[derive(Default)]
struct Kill {
    done: bool,
    /// One for each task that ever ran.
    tasks: Vec<Waker>,
}

/// A task that can be ended from outside.
struct Mortal<F> {
    task: Option<Pin<Box<F>>>,
    kill: Arc<Mutex<Kill>>,
    is_known: bool,
}

impl<F: Future<Output = ()>> Future for Mortal<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let done = {
            let mut kill = self.kill.lock().unwrap();
            if !self.is_known {
                kill.tasks.push(cx.waker().clone());
            }
            kill.done
        };
        self.is_known = true;
        if done {
            self.task = None;
        }
        match &mut self.task {
            Some(task) => task.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Node for EngineNode {
    type Incoming = IncomingStreams;
    type Stream = drywire_engine::Stream;

    fn peer_id(&self) -> PeerId {
        self.host.peer_id()
    }

    async fn listen(&self, address: Multiaddr) -> Result<Multiaddr, Failed> {
        let bound = self.host.listen(address).await.map_err(Failed::of)?;
        Ok(bound.address)
    }

    async fn dial(&self, address: Multiaddr) -> Result<PeerId, Failed> {
        let dialed = self.host.dial(DialOptions::address(address)).await;
        Ok(dialed.map_err(Failed::of)?.peer)
    }

    async fn open(
        &self,
        peer: PeerId,
        name: ProtocolName,
    ) -> Result<drywire_engine::Stream, Failed> {
        let stream = self.host.open_stream_optimistic(peer, name).await;
        stream.map_err(Failed::of)
    }

    async fn accept(&self, name: ProtocolName) -> Result<IncomingStreams, Failed> {
        let options = drywire_engine::AcceptOptions::new(2048).max_streams(2048);
        self.host.accept_with(name, options).map_err(Failed::of)
    }

    async fn request(&self, peer: PeerId, body: Bytes) -> Result<Bytes, Failed> {
        let requests = self.host.requests(Protocols::Asking);
        requests.request(peer, body).await.map_err(Failed::of)
    }

    async fn add_to_table(&self, peer: PeerId, address: Multiaddr) {
        self.host.kad(Protocols::Kad).add_address(peer, &address);
    }

    async fn put(&self, key: &'static str, value: &'static str) -> Result<(), Failed> {
        let kad = self.host.kad(Protocols::Kad);
        let put = kad.put(Record::new(key, value), Quorum::One).await;
        put.map(|_| ()).map_err(Failed::of)
    }

    async fn get(&self, key: &'static str) -> Result<Vec<u8>, Failed> {
        let kad = self.host.kad(Protocols::Kad);
        let found = kad.get(key).await.map_err(Failed::of)?;
        Ok(found.record.value.to_vec())
    }

    async fn connections(&self) -> usize {
        self.counts.connections()
    }

    async fn accept_failures(&self) -> usize {
        self.counts.accept_failures()
    }

    async fn shutdown(&self) {
        self.host.shutdown().await;
    }
}

impl Stream for drywire_engine::Stream {
    fn reset(self) {
        Self::reset(self, 0);
    }
}

impl Incoming for IncomingStreams {
    type Stream = drywire_engine::Stream;

    async fn next(&mut self) -> Option<(PeerId, drywire_engine::Stream)> {
        Self::next(self).await
    }
}

/// A runtime that makes trouble and counts what it has given out.
#[derive(Clone)]
pub struct Troubled<R> {
    runtime: R,
    trouble: Trouble,
    kill: Arc<Mutex<Kill>>,
}

impl<R: Runtime> Runtime for Troubled<R> {
    type Listener = TroubledListener<R::Listener>;
    type Pipe = TroubledPipe<R::Pipe>;
    type Timer = TroubledTimer<R::Timer>;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alive = self.trouble.alive();
        let task = Mortal {
            task: Some(Box::pin(task)),
            kill: self.kill.clone(),
            is_known: false,
        };
        self.runtime.spawn(async move {
            task.await;
            drop(alive);
        });
    }

    fn yield_now(&self, cx: &mut Context<'_>) {
        self.runtime.yield_now(cx);
    }

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn unix(&self) -> UnixTime {
        self.runtime.unix()
    }

    fn entropy(&self) -> io::Result<[u8; 32]> {
        self.runtime.entropy()
    }

    fn timer(&self) -> Self::Timer {
        TroubledTimer(self.runtime.timer(), self.trouble.alive())
    }

    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Pipe>> + Send + 'static {
        let (connect, trouble) = (self.runtime.connect(remote), self.trouble.clone());
        async move { Ok(TroubledPipe::new(connect.await?, &trouble)) }
    }

    fn listen(&self, local: SocketAddr) -> io::Result<Self::Listener> {
        Ok(TroubledListener {
            listener: self.runtime.listen(local)?,
            trouble: self.trouble.clone(),
            _alive: self.trouble.alive(),
        })
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        self.runtime.lookup(host)
    }

    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static {
        self.runtime.lookup_txt(name)
    }
}

/// A timer that is counted.
pub struct TroubledTimer<T>(T, #[allow(dead_code, reason = "counted")] Alive);

impl<T: Timer> Timer for TroubledTimer<T> {
    fn arm(&mut self, deadline: Instant) {
        self.0.arm(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

/// A listener that fails when it is told to.
pub struct TroubledListener<L> {
    listener: L,
    trouble: Trouble,
    _alive: Alive,
}

impl<L: Listener> Listener for TroubledListener<L> {
    type Pipe = TroubledPipe<L::Pipe>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Pipe, SocketAddr)>> {
        if let Some(error) = self.trouble.accept_failure() {
            return Poll::Ready(Err(error));
        }
        self.listener.poll_accept(cx).map(|accepted| {
            let (pipe, remote) = accepted?;
            Ok((TroubledPipe::new(pipe, &self.trouble), remote))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A pipe that misbehaves within what the trait allows.
pub struct TroubledPipe<I> {
    pipe: I,
    dice: Dice,
    _alive: Alive,
}

impl<I> TroubledPipe<I> {
    fn new(pipe: I, trouble: &Trouble) -> Self {
        Self {
            pipe,
            dice: trouble.dice(),
            _alive: trouble.alive(),
        }
    }
}

fn later<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<I: Pipe> Pipe for TroubledPipe<I> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.dice.is_spurious() {
            return Poll::Ready(());
        }
        if self.dice.would_block() {
            return later(cx);
        }
        self.pipe.poll_readable(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.dice.moved(0)?;
        if self.dice.would_block() {
            return later(cx);
        }
        let room = buf.capacity() - buf.len();
        let most = self.dice.cut(room);
        if most == room {
            let read = self.pipe.poll_read(cx, buf);
            if let Poll::Ready(Ok(count)) = read {
                self.dice.moved(count)?;
            }
            return read;
        }
        let mut part = BytesMut::with_capacity(most);
        let most = part.capacity().min(room);
        let mut part = part.split_off(part.capacity() - most);
        match self.pipe.poll_read(cx, &mut part) {
            Poll::Ready(Ok(count)) => {
                buf.extend_from_slice(&part);
                self.dice.moved(count)?;
                Poll::Ready(Ok(count))
            }
            other => other,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.dice.moved(0)?;
        if self.dice.would_block() {
            return later(cx);
        }
        let most = self.dice.cut(data.len());
        let written = self.pipe.poll_write(cx, &data[..most]);
        if let Poll::Ready(Ok(count)) = written {
            self.dice.moved(count)?;
        }
        written
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dice.would_block() {
            return later(cx);
        }
        self.pipe.poll_shutdown(cx)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.pipe.local_addr()
    }
}
