//! Pipes, listeners and attempts to connect, for tasks.

use super::{Deed, Shared, SimRuntime};
use crate::network::{ConnectId, End, ListenerId, NetworkError, Read, Signal};
use bytes::BytesMut;
use core::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire_engine::{Listener, Pipe};
use std::{collections::BTreeMap, io};

/// Who is to be woken by which signal.
#[derive(Default)]
pub(crate) struct Wakers {
    readers: BTreeMap<End, Waker>,
    writers: BTreeMap<End, Waker>,
    acceptors: BTreeMap<ListenerId, Waker>,
    connects: BTreeMap<ConnectId, Connecting>,
}

#[derive(Default)]
struct Connecting {
    waker: Option<Waker>,
    result: Option<Result<End, NetworkError>>,
}

impl Wakers {
    /// Who waits for this signal.
    pub(super) fn take(&mut self, signal: Signal) -> Option<Waker> {
        match signal {
            Signal::Readable(end) => self.readers.remove(&end),
            Signal::Writable(end) => self.writers.remove(&end),
            Signal::Acceptable(listener) => self.acceptors.remove(&listener),
            Signal::Connected(attempt, result) => {
                let connecting = self.connects.get_mut(&attempt)?;
                connecting.result = Some(result);
                connecting.waker.take()
            }
            Signal::Datagram(_) => None,
        }
    }
}

/// An attempt to connect. Dropping it gives the attempt up.
pub(super) struct Connect {
    runtime: SimRuntime,
    remote: SocketAddr,
    attempt: Option<ConnectId>,
}

impl Connect {
    pub(super) const fn new(runtime: SimRuntime, remote: SocketAddr) -> Self {
        Self {
            runtime,
            remote,
            attempt: None,
        }
    }
}

impl Future for Connect {
    type Output = io::Result<SimPipe>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.runtime.shared()?;
        let mut network = shared.network();
        let attempt = match self.attempt {
            Some(attempt) => attempt,
            None => {
                let (host, remote) = (self.runtime.host(), self.remote);
                let attempt = network.connect(shared.now(), host, remote);
                *self.attempt.insert(attempt)
            }
        };
        let mut wakers = shared.wakers();
        let connecting = wakers.connects.entry(attempt).or_default();
        let Some(result) = connecting.result else {
            connecting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        wakers.connects.remove(&attempt);
        self.attempt = None;
        let pipe = result.map(|end| {
            let addresses = network.endpoint_addresses(end);
            SimPipe {
                runtime: self.runtime.clone(),
                end,
                local: addresses.map(|(local, _)| local),
            }
        });
        Poll::Ready(pipe.map_err(Into::into))
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        let Some((attempt, shared)) = self.attempt.zip(self.runtime.anyway()) else {
            return;
        };
        let mut network = shared.network();
        network.cancel_connect(attempt);
        let connecting = shared.wakers().connects.remove(&attempt);
        if let Some(Ok(end)) = connecting.and_then(|connecting| connecting.result) {
            network.close(shared.now(), end);
        }
    }
}

/// A [`Listener`] of a host of the world. Dropping it closes it.
pub struct SimListener {
    runtime: SimRuntime,
    listener: ListenerId,
    local: SocketAddr,
}

impl SimListener {
    pub(super) const fn new(
        runtime: SimRuntime,
        (listener, local): (ListenerId, SocketAddr),
    ) -> Self {
        Self {
            runtime,
            listener,
            local,
        }
    }
}

impl Listener for SimListener {
    type Pipe = SimPipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(SimPipe, SocketAddr)>> {
        let shared = self.runtime.shared()?;
        let mut network = shared.network();
        let Some((end, remote)) = network.accept(shared.now(), self.listener)? else {
            let waker = cx.waker().clone();
            shared.wakers().acceptors.insert(self.listener, waker);
            return Poll::Pending;
        };
        let addresses = network.endpoint_addresses(end);
        let pipe = SimPipe {
            runtime: self.runtime.clone(),
            end,
            local: addresses.map(|(local, _)| local),
        };
        Poll::Ready(Ok((pipe, remote)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if let Some(shared) = self.runtime.anyway() {
            shared.network().close_listener(shared.now(), self.listener);
            let waker = shared.wakers().acceptors.remove(&self.listener);
            drop(waker);
        }
    }
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimListener").field(&self.local).finish()
    }
}

/// A [`Pipe`] of a host of the world. Dropping it closes it: the peer sees the end, or a reset if something was unread.
pub struct SimPipe {
    runtime: SimRuntime,
    end: End,
    local: Option<SocketAddr>,
}

impl SimPipe {
    /// The end of the network's pipe that it is.
    #[must_use]
    pub const fn end(&self) -> End {
        self.end
    }

    /// Reads what has arrived, and waits for something if there is nothing: at most as much as `buf` has room for, or one
    /// byte; 0 means the peer finished. For raw sockets of your own, such as a peer that breaks the rules.
    ///
    /// # Errors
    /// As the operating system would say: the pipe was reset, timed out, and so on.
    pub async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        core::future::poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// As the operating system would say: the pipe was reset, timed out, and so on.
    pub async fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = core::future::poll_fn(|cx| self.poll_write(cx, data)).await?;
            data = data.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Finishes this direction; the other one stays open.
    ///
    /// # Errors
    /// As the operating system would say.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        core::future::poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    fn wait_to_read(&self, shared: &Shared, cx: &Context<'_>) {
        shared.wakers().readers.insert(self.end, cx.waker().clone());
    }
}

impl Pipe for SimPipe {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(shared) = self.runtime.shared() else {
            return Poll::Ready(());
        };
        let network = shared.network();
        if network.is_readable(self.end) {
            return Poll::Ready(());
        }
        self.wait_to_read(&shared, cx);
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let shared = self.runtime.shared()?;
        let mut network = shared.network();
        let before = buf.len();
        let room = buf.capacity().saturating_sub(before).max(1);
        let count = match network.read(shared.now(), self.end, room, buf) {
            Ok(Read::Blocked) => {
                self.wait_to_read(&shared, cx);
                return Poll::Pending;
            }
            Ok(Read::Bytes(count)) => count,
            Ok(Read::End) => 0,
            Err(error) => {
                shared.note(
                    self.runtime.host(),
                    Deed::Lost,
                    error.to_string().as_bytes(),
                );
                return Poll::Ready(Err(error.into()));
            }
        };
        let new = buf.get(before..).unwrap_or_default();
        shared.note(self.runtime.host(), Deed::Read, new);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let shared = self.runtime.shared()?;
        let mut network = shared.network();
        match network.write(shared.now(), self.end, data)? {
            0 if !data.is_empty() => {
                let waker = cx.waker().clone();
                shared.wakers().writers.insert(self.end, waker);
                Poll::Pending
            }
            count => {
                let taken = data.get(..count).unwrap_or(data);
                shared.note(self.runtime.host(), Deed::Write, taken);
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = self.runtime.shared()?;
        shared.network().shutdown(shared.now(), self.end)?;
        Poll::Ready(Ok(()))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }
}

impl Drop for SimPipe {
    fn drop(&mut self) {
        if let Some(shared) = self.runtime.anyway() {
            shared.network().close(shared.now(), self.end);
            let mut wakers = shared.wakers();
            let gone = (
                wakers.readers.remove(&self.end),
                wakers.writers.remove(&self.end),
            );
            drop(wakers);
            drop(gone);
        }
    }
}

impl fmt::Debug for SimPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimPipe").field(&self.end).finish()
    }
}
