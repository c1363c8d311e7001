//! Sockets of tasks.

use super::{Shared, lock};
use crate::transport::{Socket as _, Tcp, Transport as _};
use bytes::BytesMut;
use core::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};
use drywire_engine::{Listener, Pipe};
use mio::{
    Interest, Token,
    event::{Event, Source},
    net::{TcpListener, TcpStream},
};
use std::{
    io::{self, Read as _, Write as _},
    sync::{Arc, Mutex},
};

/// Bytes read at once.
const SCRATCH: usize = 256 * 1024;

thread_local! {
    /// Where sockets are read into: with memory that was never written, reading needs unsafe code.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// What the poll has told of a socket.
#[derive(Default)]
pub(super) struct Readiness {
    read: Direction,
    write: Direction,
    /// There was an event that tells of the end: no other follows.
    ending: AtomicBool,
}

#[derive(Default)]
struct Direction {
    ready: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Direction {
    /// Ready when it is worth trying.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.ready.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let before = lock(&self.waker).replace(cx.waker().clone());
        drop(before);
        // It may have been told in between.
        if self.ready.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn tell(&self) {
        self.ready.store(true, Ordering::Release);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tries until it would block; the edge that follows is awaited then. `is_last` says of a success that the next attempt
    /// would block.
    fn try_io<T>(
        &self,
        cx: &Context<'_>,
        mut attempt: impl FnMut() -> io::Result<T>,
        is_last: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Before the attempt: what is told from now on is not forgotten.
            self.ready.store(false, Ordering::Release);
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.ready.store(true, Ordering::Release);
                }
                result => {
                    if !result.as_ref().is_ok_and(&is_last) {
                        self.ready.store(true, Ordering::Release);
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl Readiness {
    pub(super) fn tell(&self, event: &Event) {
        if event.is_read_closed() || event.is_error() {
            self.ending.store(true, Ordering::Release);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read.tell();
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            self.write.tell();
        }
    }
}

/// A socket that is registered, until it is dropped.
struct Registered<S: Source> {
    socket: S,
    key: usize,
    readiness: Arc<Readiness>,
    shared: Arc<Shared>,
}

impl<S: Source> Registered<S> {
    fn new(shared: Arc<Shared>, mut socket: S, interest: Interest) -> io::Result<Self> {
        let readiness = Arc::new(Readiness::default());
        let key = lock(&shared.sockets).insert(readiness.clone());
        let token = shared.tokens.start.saturating_add(key);
        let registered = shared
            .registry
            .register(&mut socket, Token(token), interest);
        if let Err(error) = registered {
            let _ = lock(&shared.sockets).try_remove(key);
            return Err(error);
        }
        Ok(Self {
            socket,
            key,
            readiness,
            shared,
        })
    }
}

impl<S: Source> Drop for Registered<S> {
    fn drop(&mut self) {
        let readiness = lock(&self.shared.sockets).try_remove(self.key);
        drop(readiness);
        // Closing it does the same where this cannot be done.
        let _ = self.shared.registry.deregister(&mut self.socket);
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A TCP connection on an [`Executor`](super::Executor).
pub struct MioPipe(Registered<TcpStream>);

impl MioPipe {
    pub(super) async fn connect(shared: Arc<Shared>, remote: SocketAddr) -> io::Result<Self> {
        let mut connecting = Registered::new(shared, Tcp.connect(remote)?, BOTH)?;
        poll_fn(|cx| {
            let readiness = connecting.readiness.clone();
            let attempt = || {
                if connecting.socket.is_connected()? {
                    Ok(())
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            };
            readiness.write.try_io(cx, attempt, |()| false)
        })
        .await?;
        Ok(Self(connecting))
    }
}

impl Pipe for MioPipe {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.readiness.read.poll(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = buf.capacity().saturating_sub(buf.len()).min(SCRATCH);
        let (readiness, socket) = (&self.0.readiness, &mut self.0.socket);
        let short_is_last = socket.short_is_last();
        BUFFER.with_borrow_mut(|scratch| {
            let scratch = scratch.get_mut(..room).unwrap_or_default();
            let attempt = || {
                let count = socket.read(scratch)?;
                buf.extend_from_slice(scratch.get(..count).unwrap_or_default());
                Ok(count)
            };
            // Once the end was told, reading goes on until it is read.
            readiness.read.try_io(cx, attempt, |count| {
                short_is_last && *count < room && !readiness.ending.load(Ordering::Acquire)
            })
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let (readiness, socket) = (&self.0.readiness, &mut self.0.socket);
        let short_is_last = socket.short_is_last();
        let is_last = |count: &usize| short_is_last && *count < data.len();
        readiness.write.try_io(cx, || socket.write(data), is_last)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.socket.shutdown_write())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        crate::transport::Socket::local_addr(&self.0.socket)
    }
}

/// A TCP listener on an [`Executor`](super::Executor).
pub struct MioListener(Registered<TcpListener>);

impl MioListener {
    pub(super) fn bind(shared: Arc<Shared>, local: SocketAddr) -> io::Result<Self> {
        let listener = Tcp.listen(local)?;
        Ok(Self(Registered::new(shared, listener, Interest::READABLE)?))
    }
}

impl Listener for MioListener {
    type Pipe = MioPipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(MioPipe, SocketAddr)>> {
        let (readiness, listener) = (&self.0.readiness, &mut self.0.socket);
        let shared = &self.0.shared;
        readiness
            .read
            .try_io(
                cx,
                || crate::transport::Listener::accept(listener),
                |_| false,
            )
            .map(|accepted| {
                let (socket, remote) = accepted?;
                let socket = Registered::new(shared.clone(), socket, BOTH)?;
                // It can be written until it shows otherwise.
                socket.readiness.write.tell();
                Ok((MioPipe(socket), remote))
            })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.local_addr()
    }
}

impl fmt::Debug for MioPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.socket.fmt(f)
    }
}

impl fmt::Debug for MioListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.socket.fmt(f)
    }
}
