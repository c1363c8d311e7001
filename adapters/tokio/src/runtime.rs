//! tokio as the engine's runtime.

use bytes::BytesMut;
use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use drywire::time::{Instant, UnixTime};
use drywire_engine::{Listener, Pipe, Runtime, Timer};
#[cfg(feature = "dns")]
use drywire_system::dns::TextResolver;
#[cfg(feature = "dns")]
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::io;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::Sleep,
};

/// The tokio runtime the process, or a part of it, runs on.
///
/// ```
/// use drywire_tokio::TokioRuntime;
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let drywire = TokioRuntime::from_handle(runtime.handle().clone());
/// # let _ = drywire;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct TokioRuntime {
    handle: Handle,
    #[cfg(feature = "dns")]
    text: TextResolver<TokioRuntimeProvider>,
}

impl TokioRuntime {
    /// The runtime the caller runs in.
    ///
    /// # Errors
    /// If it runs in none.
    pub fn current() -> Result<Self, NoRuntime> {
        Handle::try_current()
            .map(Self::from_handle)
            .map_err(|_| NoRuntime)
    }

    /// The runtime behind `handle`; its I/O and time drivers must be enabled.
    #[must_use]
    pub fn from_handle(handle: Handle) -> Self {
        Self {
            handle,
            #[cfg(feature = "dns")]
            text: TextResolver::new(TokioRuntimeProvider::default(), []),
        }
    }

    /// Asks these name servers for TXT records, that is for `/dnsaddr`, instead of those the system is configured with.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.text = TextResolver::new(TokioRuntimeProvider::default(), servers);
        self
    }
}

impl fmt::Debug for TokioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokioRuntime")
    }
}

/// The caller runs in no tokio runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRuntime;

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no tokio runtime is running here")
    }
}

impl core::error::Error for NoRuntime {}

impl Runtime for TokioRuntime {
    type Listener = TokioListener;
    type Pipe = TokioPipe;
    type Timer = TokioTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.handle.spawn(task);
    }

    fn yield_now(&self, cx: &mut Context<'_>) {
        // Behind the future given to `block_on` too, which a current-thread runtime polls only when no task is left. It
        // completes at once where tokio cannot do so.
        if pin!(tokio::task::yield_now()).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn now(&self) -> Instant {
        drywire_system::now()
    }

    fn unix(&self) -> UnixTime {
        drywire_system::unix()
    }

    fn entropy(&self) -> io::Result<[u8; 32]> {
        drywire_system::entropy()
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer {
            handle: self.handle.clone(),
            sleep: None,
            armed: false,
        }
    }

    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn would borrow the runtime"
    )]
    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<TokioPipe>> + Send + 'static {
        async move {
            let stream = TcpStream::connect(remote).await?;
            stream.set_nodelay(true)?;
            Ok(TokioPipe { stream })
        }
    }

    fn listen(&self, local: SocketAddr) -> io::Result<TokioListener> {
        let _entered = self.handle.enter();
        Ok(TokioListener {
            listener: TcpListener::from_std(drywire_system::listen(local)?)?,
        })
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        let host = host.to_owned();
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
    }

    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static {
        #[cfg(feature = "dns")]
        return self.text.clone().lookup(name.to_owned());
        #[cfg(not(feature = "dns"))]
        {
            let message = format!("compiled without the feature `dns`: {name}");
            core::future::ready(Err(io::Error::new(io::ErrorKind::Unsupported, message)))
        }
    }

    fn interface_index(&self, name: &str) -> Option<u32> {
        drywire_system::interface_index(name)
    }

    fn interfaces(&self) -> Vec<IpAddr> {
        drywire_system::interfaces()
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct TokioPipe {
    stream: TcpStream,
}

impl Pipe for TokioPipe {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An error shows in the read.
        self.stream.poll_read_ready(cx).map(drop)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Reading through `AsyncRead` and not `try_read`: it takes a short read as "nothing more is there", which spares
        // the second system call per message. The future holds no state of its own between polls.
        pin!(self.stream.read_buf(buf)).poll(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }
}

/// A TCP listener.
#[derive(Debug)]
pub struct TokioListener {
    listener: TcpListener,
}

impl Listener for TokioListener {
    type Pipe = TokioPipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioPipe, SocketAddr)>> {
        let (stream, remote) = ready!(self.listener.poll_accept(cx))?;
        // It fails on a connection that is gone already, which shows soon.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((TokioPipe { stream }, remote)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A deadline on tokio's timer wheel; it allocates when first armed.
pub struct TokioTimer {
    handle: Handle,
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Timer for TokioTimer {
    fn arm(&mut self, deadline: Instant) {
        // One beyond what the platform can tell fires early; the engine arms again.
        let at = tokio::time::Instant::from_std(drywire_system::std_instant(deadline));
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => {
                let _entered = self.handle.enter();
                self.sleep = Some(Box::pin(tokio::time::sleep_until(at)));
            }
        }
        self.armed = true;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = self.sleep.as_mut().filter(|_| self.armed) else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(cx));
        self.armed = false;
        Poll::Ready(())
    }
}

impl fmt::Debug for TokioTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioTimer")
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}
