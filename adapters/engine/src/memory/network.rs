//! The listeners and pipes of a world.

use super::{Conditions, MemoryRuntime, MemoryTimer};
use crate::{
    notify::lock,
    runtime::{Listener, Pipe, Runtime, Timer},
};
use bytes::{Buf, Bytes, BytesMut};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll, Waker},
};
use drywire::{
    seed::{Rng, Seed},
    time::Instant,
};
use rand_core::Rng as _;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, Weak},
};

/// Connections that wait to be accepted at one listener before the next is refused.
const BACKLOG: usize = 1024;

pub(super) struct Network {
    conditions: Conditions,
    rng: Rng,
    next_port: u16,
    listeners: BTreeMap<SocketAddr, Arc<Mutex<Backlog>>>,
    pipes: Vec<(SocketAddr, Weak<Mutex<Link>>)>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    txt: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<(MemoryPipe, SocketAddr)>,
    waker: Option<Waker>,
}

/// Both directions of a pipe; end `n` writes into `directions[n]` and reads from the other.
struct Link {
    capacity: usize,
    max_read: Option<usize>,
    latency: core::time::Duration,
    rng: Rng,
    broken: bool,
    directions: [Direction; 2],
}

#[derive(Default)]
struct Direction {
    chunks: VecDeque<(Instant, Bytes)>,
    len: usize,
    /// The writer finished; nothing follows what is in flight.
    finished: Option<Instant>,
    /// The reader is gone.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Network {
    pub(super) fn new(seed: &Seed, conditions: Conditions) -> Self {
        Self {
            conditions,
            rng: seed.rng(),
            next_port: 40_000,
            listeners: BTreeMap::new(),
            pipes: Vec::new(),
            hosts: BTreeMap::new(),
            txt: BTreeMap::new(),
        }
    }

    pub(super) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub(super) fn set_host(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.hosts.insert(host.to_owned(), addresses);
    }

    pub(super) fn set_txt(&mut self, name: &str, records: Vec<String>) {
        self.txt.insert(name.to_owned(), records);
    }

    pub(super) fn host(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.hosts
            .get(host)
            .cloned()
            .ok_or_else(|| no_such_name(host))
    }

    pub(super) fn txt(&self, name: &str) -> io::Result<Vec<String>> {
        self.txt
            .get(name)
            .cloned()
            .ok_or_else(|| no_such_name(name))
    }

    pub(super) fn cut(&mut self, listener: SocketAddr) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.pipes.retain(|(address, link)| {
            let Some(link) = link.upgrade() else {
                return false;
            };
            if *address != listener {
                return true;
            }
            let mut link = lock(&link);
            link.broken = true;
            for direction in &mut link.directions {
                wakers.extend(
                    direction
                        .reader
                        .take()
                        .into_iter()
                        .chain(direction.writer.take()),
                );
            }
            false
        });
        wakers
    }

    fn port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(40_000);
        self.next_port
    }
}

fn no_such_name(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such name: {name}"))
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset")
}

pub(super) fn listen(runtime: &MemoryRuntime, local: SocketAddr) -> io::Result<MemoryListener> {
    let world = runtime.world()?;
    let mut network = lock(&world.network);
    let mut bound = local;
    if bound.port() == 0 {
        bound.set_port(network.port());
    }
    if network.listeners.contains_key(&bound) {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "address in use"));
    }
    let backlog = Arc::new(Mutex::new(Backlog::default()));
    network.listeners.insert(bound, backlog.clone());
    Ok(MemoryListener {
        runtime: runtime.clone(),
        bound,
        backlog,
    })
}

pub(super) fn connect(runtime: &MemoryRuntime, remote: SocketAddr) -> io::Result<MemoryPipe> {
    let world = runtime.world()?;
    let mut network = lock(&world.network);
    let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    let backlog = network
        .listeners
        .get(&remote)
        .cloned()
        .ok_or_else(refused)?;
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), network.port());
    let mut seed = [0; 8];
    network.rng.fill_bytes(&mut seed);
    let link = Arc::new(Mutex::new(Link {
        capacity: network.conditions.capacity.max(1),
        max_read: network.conditions.max_read,
        latency: network.conditions.latency,
        rng: Seed::for_tests(u64::from_le_bytes(seed)).rng(),
        broken: false,
        directions: [Direction::default(), Direction::default()],
    }));
    let end = |side, local| MemoryPipe {
        runtime: runtime.clone(),
        timer: runtime.timer(),
        link: link.clone(),
        side,
        local,
    };
    let mut queue = lock(&backlog);
    if queue.waiting.len() >= BACKLOG {
        return Err(refused());
    }
    queue.waiting.push_back((end(1, remote), local));
    let waker = queue.waker.take();
    drop(queue);
    network.pipes.retain(|(_, link)| link.strong_count() > 0);
    network.pipes.push((remote, Arc::downgrade(&link)));
    drop(network);
    waker.into_iter().for_each(Waker::wake);
    Ok(end(0, local))
}

/// A [`Listener`] of a world's network.
pub struct MemoryListener {
    runtime: MemoryRuntime,
    bound: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
}

impl Listener for MemoryListener {
    type Pipe = MemoryPipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(MemoryPipe, SocketAddr)>> {
        let mut backlog = lock(&self.backlog);
        if let Some(accepted) = backlog.waiting.pop_front() {
            return Poll::Ready(Ok(accepted));
        }
        backlog.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bound)
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        if let Ok(world) = self.runtime.world() {
            lock(&world.network).listeners.remove(&self.bound);
        }
        // Those who wait are dropped outside the lock: that wakes their other ends.
        let waiting = core::mem::take(&mut lock(&self.backlog).waiting);
        drop(waiting);
    }
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryListener").field(&self.bound).finish()
    }
}

/// A [`Pipe`] of a world's network.
pub struct MemoryPipe {
    runtime: MemoryRuntime,
    timer: MemoryTimer,
    link: Arc<Mutex<Link>>,
    side: usize,
    local: SocketAddr,
}

impl Link {
    /// The direction this side writes into, and the one it reads from.
    fn split(&mut self, side: usize) -> (&mut Direction, &mut Direction) {
        let [first, second] = &mut self.directions;
        if side == 0 {
            (first, second)
        } else {
            (second, first)
        }
    }
}

impl Pipe for MemoryPipe {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.runtime.now();
        let mut link = lock(&self.link);
        let broken = link.broken;
        let (_, direction) = link.split(self.side);
        let next = direction
            .chunks
            .front()
            .map(|(at, _)| *at)
            .or(direction.finished);
        if broken || next.is_some_and(|at| at <= now) {
            return Poll::Ready(());
        }
        direction.reader = Some(cx.waker().clone());
        drop(link);
        if let Some(at) = next {
            self.timer.arm(at);
            let _ = self.timer.poll(cx);
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let now = self.runtime.now();
        let mut link = lock(&self.link);
        if link.broken {
            return Poll::Ready(Err(broken()));
        }
        let mut limit = buf.capacity().saturating_sub(buf.len()).max(1);
        if let Some(max) = link.max_read {
            let cut = usize::try_from(link.rng.next_u64())
                .unwrap_or(0)
                .checked_rem(max.max(1))
                .unwrap_or(0);
            limit = limit.min(cut.saturating_add(1));
        }
        let (_, direction) = link.split(self.side);
        let mut total: usize = 0;
        while total < limit
            && let Some((at, chunk)) = direction.chunks.front_mut()
            && *at <= now
        {
            let n = chunk.len().min(limit.saturating_sub(total));
            buf.extend_from_slice(&chunk.split_to(n));
            total = total.saturating_add(n);
            if !chunk.has_remaining() {
                direction.chunks.pop_front();
            }
        }
        if total > 0 {
            direction.len = direction.len.saturating_sub(total);
            let writer = direction.writer.take();
            drop(link);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(total));
        }
        if direction.chunks.is_empty() && direction.finished.is_some_and(|at| at <= now) {
            return Poll::Ready(Ok(0));
        }
        drop(link);
        let _ = self.poll_readable(cx);
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let now = self.runtime.now();
        let mut link = lock(&self.link);
        let (capacity, at) = (link.capacity, now + link.latency);
        if link.broken {
            return Poll::Ready(Err(broken()));
        }
        let (direction, _) = link.split(self.side);
        if direction.closed || direction.finished.is_some() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "broken pipe",
            )));
        }
        let n = data.len().min(capacity.saturating_sub(direction.len));
        let Some(taken) = data.get(..n).filter(|taken| !taken.is_empty()) else {
            direction.writer = Some(cx.waker().clone());
            return Poll::Pending;
        };
        direction
            .chunks
            .push_back((at, Bytes::copy_from_slice(taken)));
        direction.len = direction.len.saturating_add(n);
        let reader = direction.reader.take();
        drop(link);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(n))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish(false);
        Poll::Ready(Ok(()))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local)
    }
}

impl MemoryPipe {
    fn finish(&self, gone: bool) {
        let now = self.runtime.now();
        let mut link = lock(&self.link);
        let at = now + link.latency;
        let (outgoing, incoming) = link.split(self.side);
        outgoing.finished.get_or_insert(at);
        let mut wakers: Vec<Waker> = outgoing.reader.take().into_iter().collect();
        if gone {
            incoming.closed = true;
            wakers.extend(incoming.writer.take());
            // As with TCP: what is in flight to a socket that is closed, or unread in it, resets the connection, and what
            // the other side has not read by then is lost.
            link.broken |= incoming.len > 0;
        }
        drop(link);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for MemoryPipe {
    fn drop(&mut self) {
        self.finish(true);
    }
}

impl fmt::Debug for MemoryPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPipe")
            .field("local", &self.local)
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}
