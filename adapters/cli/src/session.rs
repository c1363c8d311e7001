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
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{
        identify::Identify,
        ping::{self, Ping},
    },
    swarm::DialOptions,
};
use drywire_engine::{ConnectError, Dialed, Events, Stream};
use drywire_tokio::TokioRuntime;

pub(crate) use drywire::protocol::ping::PROTOCOL as PING;
pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
pub(crate) const PERF: ProtocolName = ProtocolName::from_static("/perf/1.0.0");

drywire::protocols! {
    /// What nodes of this program do besides streams.
    #[derive(Debug, Default)]
    pub(crate) struct Protocols => ProtocolEvent {
        pub(crate) ping: Ping => Ping,
        pub(crate) identify: Identify => Identify,
    }
}

/// A node of this program.
pub(crate) type Host = drywire_engine::Host<Protocols>;

/// A node with this identity. One that only asks something does not ping by itself.
pub(crate) fn start(keypair: Keypair, pings: bool) -> Result<Host, Failure> {
    let runtime = TokioRuntime::current().map_err(Failure::failed)?;
    let mut config = ping::Config::default();
    config.automatic = pings;
    let protocols = Protocols {
        ping: Ping::new(config),
        identify: Identify::default(),
    };
    Host::builder(runtime, protocols)
        .keypair(keypair)
        .start()
        .map_err(Failure::failed)
}

/// A connection to the peer a command is about.
#[derive(Debug)]
pub(crate) struct Session {
    host: Host,
    events: Events<Protocols>,
    peer: PeerId,
    timeout: Duration,
}

impl Session {
    /// Connects; the peer must be the one its address names, if it names one.
    pub(crate) async fn connect(options: &PeerOptions) -> Result<Self, Failure> {
        let host = start(keys::load(options.key.as_ref())?, false)?;
        let events = host.events(64);
        let dialed = dial(&host, &options.address, options.timeout).await?;
        Ok(Self {
            host,
            events,
            peer: dialed.peer,
            timeout: options.timeout,
        })
    }

    pub(crate) const fn events(&mut self) -> &mut Events<Protocols> {
        &mut self.events
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

/// Connects to an address, and says in one sentence why not.
pub(crate) async fn dial(
    host: &Host,
    address: &Multiaddr,
    timeout: Duration,
) -> Result<Dialed, Failure> {
    let dialed = host
        .dial(DialOptions::address(address.clone()).timeout(timeout))
        .await;
    dialed.map_err(|error| {
        let reason = match &error {
            // The only address that was tried is the one just named.
            ConnectError::Dial(dial) => match dial.failures() {
                [only] => only.error.to_string(),
                _ => error.to_string(),
            },
            _ => error.to_string(),
        };
        Failure::failed(format!("cannot connect to {address}: {reason}"))
    })
}

/// Waits for `future` no longer than `timeout`.
pub(crate) async fn within<T>(
    timeout: Duration,
    late: &str,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, future).await {
        Ok(result) => result,
        Err(_) => Err(Failure::failed(format!(
            "{late} within {} s",
            timeout.as_secs_f64()
        ))),
    }
}

/// What `future` gives, or `None` if `stop` is done first.
pub(crate) async fn race<T>(
    stop: impl Future<Output = ()>,
    future: impl Future<Output = T>,
) -> Option<T> {
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
        if one_done && other_done {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Ready when the user, or the system, tells the program to stop.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
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
