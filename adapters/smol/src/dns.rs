//! The resolver's sockets and timers.

use crate::spawn::Spawn;
use core::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use hickory_resolver::net::runtime::{
    DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn as ResolverSpawn, Time,
};
use smol::{
    Async,
    future::FutureExt as _,
    io::{AsyncRead, AsyncWrite},
};
use std::{
    io,
    net::{TcpStream, UdpSocket},
};

/// For connections to a server, where the resolver sets no limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// smol as the resolver's runtime.
#[derive(Clone)]
pub(crate) struct Provider<S> {
    spawn: S,
}

impl<S> Provider<S> {
    pub(crate) const fn new(spawn: S) -> Self {
        Self { spawn }
    }
}

// Nothing of it is ever pinned.
impl<S> Unpin for Provider<S> {}

impl<S: Spawn> ResolverSpawn for Provider<S> {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn.spawn(future);
    }
}

impl<S: Spawn> RuntimeProvider for Provider<S> {
    type Handle = Self;
    type Tcp = Tcp;
    type Timer = Timers;
    type Udp = Udp;

    fn create_handle(&self) -> Self {
        self.clone()
    }

    /// The resolver asks for no address of this side, unless configured to.
    fn connect_tcp(
        &self,
        server_addr: SocketAddr,
        _: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Boxed<'static, io::Result<Tcp>> {
        Box::pin(async move {
            let connect = async move {
                let stream = Async::<TcpStream>::connect(server_addr).await?;
                stream.get_ref().set_nodelay(true)?;
                Ok(Tcp(stream))
            };
            Timers::timeout(timeout.unwrap_or(CONNECT_TIMEOUT), connect).await?
        })
    }

    fn bind_udp(&self, local_addr: SocketAddr, _: SocketAddr) -> Boxed<'static, io::Result<Udp>> {
        Box::pin(async move { Async::<UdpSocket>::bind(local_addr).map(Udp) })
    }
}

pub(crate) struct Timers;

impl Time for Timers {
    fn delay_for<'a>(duration: Duration) -> Boxed<'a, ()> {
        Box::pin(async move {
            smol::Timer::after(duration).await;
        })
    }

    fn timeout<'a, F>(duration: Duration, future: F) -> Boxed<'a, io::Result<F::Output>>
    where
        F: Future + Send + 'static + 'a,
    {
        Box::pin(async move {
            let late = async {
                smol::Timer::after(duration).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            async { Ok(future.await) }.or(late).await
        })
    }
}

pub(crate) struct Udp(Async<UdpSocket>);

impl DnsUdpSocket for Udp {
    type Time = Timers;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.0.poll_readable(cx))?;
        }
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.get_ref().send_to(buf, target) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.0.poll_writable(cx))?;
        }
    }
}

pub(crate) struct Tcp(Async<TcpStream>);

impl DnsTcpStream for Tcp {
    type Time = Timers;
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
