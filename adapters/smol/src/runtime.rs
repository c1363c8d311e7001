//! smol's reactor and an executor as the engine's runtime.

#[cfg(feature = "dns")]
use crate::dns::Provider;
use crate::{
    socket::{AsyncIoListener, AsyncIoPipe},
    spawn::{GlobalExecutor, OwnExecutor, Spawn},
};
use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};
use drywire::time::{Instant, UnixTime};
use drywire_engine::{Runtime, Timer};
#[cfg(feature = "dns")]
use drywire_system::dns::TextResolver;
use smol::Async;
use std::{
    io,
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
};

/// The reactor of smol and async-std, with the tasks on an executor of choice.
#[derive(Clone)]
pub struct AsyncIoRuntime<S: Spawn> {
    spawn: S,
    #[cfg(feature = "dns")]
    text: TextResolver<Provider<S>>,
}

/// smol, with its [own executor](GlobalExecutor) or [another](OwnExecutor).
pub type SmolRuntime<S = GlobalExecutor> = AsyncIoRuntime<S>;

impl AsyncIoRuntime<GlobalExecutor> {
    /// Runs tasks on smol's own executor.
    #[must_use]
    pub fn global() -> Self {
        Self::new(GlobalExecutor)
    }
}

impl AsyncIoRuntime<OwnExecutor> {
    /// Runs tasks on `executor`, which the caller runs, and keeps for as long as there are hosts on it.
    #[must_use]
    pub fn on(executor: &Arc<smol::Executor<'static>>) -> Self {
        Self::new(OwnExecutor::new(executor))
    }
}

impl<S: Spawn> AsyncIoRuntime<S> {
    /// Runs tasks where `spawn` says.
    #[must_use]
    pub fn new(spawn: S) -> Self {
        Self {
            #[cfg(feature = "dns")]
            text: TextResolver::new(Provider::new(spawn.clone()), []),
            spawn,
        }
    }

    /// Asks these name servers for TXT records, that is for `/dnsaddr`, instead of those the system is configured with.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.text = TextResolver::new(Provider::new(self.spawn.clone()), servers);
        self
    }
}

impl<S: Spawn + Default> Default for AsyncIoRuntime<S> {
    fn default() -> Self {
        Self::new(S::default())
    }
}

impl<S: Spawn> fmt::Debug for AsyncIoRuntime<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncIoRuntime")
    }
}

impl<S: Spawn> Runtime for AsyncIoRuntime<S> {
    type Listener = AsyncIoListener;
    type Pipe = AsyncIoPipe;
    type Timer = AsyncIoTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn.spawn(task);
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

    fn timer(&self) -> AsyncIoTimer {
        AsyncIoTimer {
            timer: smol::Timer::never(),
        }
    }

    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn would borrow the runtime"
    )]
    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<AsyncIoPipe>> + Send + 'static {
        async move { AsyncIoPipe::new(Async::<TcpStream>::connect(remote).await?) }
    }

    fn listen(&self, local: SocketAddr) -> io::Result<AsyncIoListener> {
        AsyncIoListener::new(drywire_system::listen(local)?)
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        let host = host.to_owned();
        smol::unblock(move || {
            let found = (host, 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        })
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

/// A deadline with smol's reactor, which learns of it when it is first polled.
pub struct AsyncIoTimer {
    timer: smol::Timer,
}

impl Timer for AsyncIoTimer {
    fn arm(&mut self, deadline: Instant) {
        // One beyond what the platform can tell fires early; the engine arms again.
        self.timer.set_at(drywire_system::std_instant(deadline));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Pending for ever once it has fired, until it is set again.
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}

impl fmt::Debug for AsyncIoTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncIoTimer")
            .field("armed", &self.timer.will_fire())
            .finish_non_exhaustive()
    }
}
