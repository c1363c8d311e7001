//! What the commands share: a host, a connection to one peer, waiting.

use crate::{args::PeerOptions, failure::Failure, keys};
use core::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};
use drywire::{
    identity::{Keypair, PeerId},
    multistream::ProtocolName,
    swarm::DialOptions,
};
use drywire_engine::Stream;
use drywire_tokio::TokioRuntime;

pub(crate) const PING: ProtocolName = ProtocolName::from_static("/ipfs/ping/1.0.0");
pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
pub(crate) const PERF: ProtocolName = ProtocolName::from_static("/perf/1.0.0");

/// A node with this identity.
pub(crate) fn start(keypair: Keypair) -> Result<Host, Failure> {
    let runtime = TokioRuntime::current().map_err(Failure::failed)?;
    Host::builder(runtime, Protocols::default()).keypair(keypair).start().map_err(Failure::failed)
}

/// A connection to the peer a command is about.
#[derive(Debug)]
pub(crate) struct Session {
    host: Host,
    peer: PeerId,
    timeout: Duration,
}

impl Session {
    /// Connects; the peer must be the one its address names, if it names one.
    pub(crate) async fn connect(options: &PeerOptions) -> Result<Self, Failure> {
        let host = start(keys::load(options.key.as_ref())?)?;
        let address = &options.address;
        let dial = DialOptions::address(address.clone()).timeout(options.timeout);
        let dialed = host.dial(dial).await;
        let dialed = dialed.map_err(|error| Failure::failed(format!("cannot connect to {address}: {error}")))?;
        Ok(Self { host, peer: dialed.peer, timeout: options.timeout })
    }

    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) const fn peer(&self) -> PeerId {
        self.peer
    }

    pub(crate) async fn open(&self, name: ProtocolName) -> Result<Stream, Failure> {
        let open = async {
            let opened = self.host.open_stream(self.peer, name.clone()).await;
            opened.map_err(|error| Failure::failed(format!("cannot open {name}: {error}")))
        };
        within(self.timeout, "no answer to the opening of a stream", open).await
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.host.shutdown().await;
    }
}

/// Waits for `future` no longer than `timeout`.
pub(crate) async fn within<T>(
    timeout: Duration,
    late: &str,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, future).await {
        Ok(result) => result,
        Err(_) => Err(Failure::failed(format!("{late} within {} s", timeout.as_secs_f64()))),
    }
}

/// What `future` gives, or `None` if `stop` is done first.
pub(crate) async fn race<T>(stop: impl Future<Output = ()>, future: impl Future<Output = T>) -> Option<T> {
    let (mut stop, mut future) = (pin!(stop), pin!(future));
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Waits for both, or for the first failure.
pub(crate) async fn both(
    one: impl Future<Output = Result<(), Failure>>,
    other: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    poll_fn(|cx| {
        if !one_done && let Poll::Ready(result) = one.as_mut().poll(cx) {
            result?;
            one_done = true;
        }
        if !other_done && let Poll::Ready(result) = other.as_mut().poll(cx) {
            result?;
            other_done = true;
        }
        if one_done && other_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// Ready when the user, or the system, tells the program to stop.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return core::future::pending().await;
        };
        poll_fn(|cx| {
            if interrupt.poll_recv(cx).is_ready() || terminate.poll_recv(cx).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        core::future::pending::<()>().await;
    }
}
