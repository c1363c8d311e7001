//! tokio as the engine's runtime.

#[cfg(feature = "dns")]
use crate::dns::TextResolver;
use bytes::BytesMut;
use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use drywire::time::{Instant, UnixTime};
use drywire_engine::{Listener, Pipe, Runtime, Timer};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    sync::OnceLock,
    time::{Instant as StdInstant, SystemTime},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::Sleep,
};

/// Connections the operating system keeps waiting to be accepted.
const BACKLOG: i32 = 1024;

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
    text: TextResolver,
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
            text: TextResolver::new([]),
        }
    }

    /// Asks these name servers for TXT records, that is for `/dnsaddr`, instead of those the system is configured with.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.text = TextResolver::new(servers);
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

/// The process's epoch: all drywire instants of a process are comparable.
fn epoch() -> StdInstant {
    static EPOCH: OnceLock<StdInstant> = OnceLock::new();
    // One hour back, so that the first instants of a process are not zero.
    *EPOCH.get_or_init(|| {
        let now = StdInstant::now();
        now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
    })
}

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
        Instant::from_nanos(u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn unix(&self) -> UnixTime {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        UnixTime::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn entropy(&self) -> io::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(bytes)
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
        let socket = Socket::new(
            Domain::for_address(local),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A port whose last connections are still in TIME_WAIT can be bound again. On Windows the option means something else.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        socket.listen(BACKLOG)?;
        Ok(TokioListener {
            listener: TcpListener::from_std(socket.into())?,
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
        let interfaces = if_addrs::get_if_addrs().ok()?;
        let named = interfaces
            .into_iter()
            .find(|interface| interface.name == name)?;
        named.index
    }

    fn interfaces(&self) -> Vec<IpAddr> {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses = interfaces.iter().map(if_addrs::Interface::ip);
        // Nobody can dial a link-local address without knowing the interface on which to look for it.
        addresses
            .filter(|address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()))
            .collect()
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
        stream.set_nodelay(true)?;
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
        let after = Duration::from_nanos(deadline.as_nanos());
        // A deadline beyond what the platform can tell is as good as a year away; the engine arms again.
        let at = epoch()
            .checked_add(after)
            .or_else(|| StdInstant::now().checked_add(Duration::from_secs(31_536_000)))
            .unwrap_or_else(StdInstant::now);
        let at = tokio::time::Instant::from_std(at);
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
