//! A loop of its own, for programs that have none.

use crate::{
    builder::HostBuilder,
    error::StartError,
    host::{Event, Host},
    transport::{Tcp, Transport},
};
use core::{fmt, ops::ControlFlow, task::Waker, time::Duration};
use drywire::swarm::Protocol;
use mio::{Events, Poll, Token};
use std::{io, sync::Arc, task::Wake};

/// Events taken from the operating system at once.
const EVENTS: usize = 1024;

/// A [`Host`] with a poll of its own, which blocks the thread while nothing happens.
///
/// ```
/// use core::ops::ControlFlow;
/// use drywire::{protocol::Standard, swarm};
/// use drywire_mio::{Event, Host};
///
/// let mut server = Host::builder(Standard::default()).event_loop()?;
/// server.host().listen("/ip4/127.0.0.1/tcp/0".parse()?)?;
/// let address = server.run(|_, event| match event {
///     Event::Swarm(swarm::Event::Listening { address, .. }) => ControlFlow::Break(address),
///     _ => ControlFlow::Continue(()),
/// })?;
/// println!("listening on {address}");
/// server.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EventLoop<P: Protocol, T: Transport = Tcp> {
    poll: Poll,
    events: Events,
    host: Host<P, T>,
    waker: Arc<mio::Waker>,
}

/// Ends the sleep of a loop.
struct Alarm(Arc<mio::Waker>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever wakes cannot help it.
        let _ = self.0.wake();
    }
}

impl<P: Protocol, T: Transport> EventLoop<P, T> {
    pub(crate) fn new(mut builder: HostBuilder<P, T>) -> Result<Self, StartError> {
        let poll = Poll::new()?;
        // One token of the caller's is for the waker.
        let token = Token(builder.tokens.start);
        builder.tokens.start = builder.tokens.start.saturating_add(1);
        let waker = Arc::new(mio::Waker::new(poll.registry(), token)?);
        let mut host = builder.start(poll.registry())?;
        host.set_waker(Some(Waker::from(Arc::new(Alarm(waker.clone())))));
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            host,
            waker,
        })
    }

    /// The host.
    pub const fn host(&mut self) -> &mut Host<P, T> {
        &mut self.host
    }

    /// Ends the sleep of [`turn`](Self::turn), from any thread: for those that have put work for this one somewhere.
    #[must_use]
    pub fn waker(&self) -> Arc<mio::Waker> {
        self.waker.clone()
    }

    /// Sleeps until something happens, a deadline comes, somebody [wakes](Self::waker) it, or `timeout` has passed; then takes
    /// in what there is. What came of that tells [`Host::poll_event`].
    ///
    /// # Errors
    /// If the operating system cannot poll.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let due = self.host.poll_timeout();
        let sleep = match (timeout, due) {
            (Some(timeout), Some(due)) => Some(timeout.min(due)),
            (timeout, due) => timeout.or(due),
        };
        match self.poll.poll(&mut self.events, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            // The events of the last turn are gone all the same.
            _ => {}
        }
        self.host.handle_events(&self.events);
        Ok(())
    }

    /// Runs until `handle` breaks, giving it one event after the other.
    ///
    /// # Errors
    /// If the operating system cannot poll.
    pub fn run<R>(
        &mut self,
        mut handle: impl FnMut(&mut Host<P, T>, Event<P::Event>) -> ControlFlow<R>,
    ) -> io::Result<R> {
        loop {
            while let Some(event) = self.host.poll_event() {
                if let ControlFlow::Break(result) = handle(&mut self.host, event) {
                    return Ok(result);
                }
            }
            self.turn(None)?;
        }
    }

    /// Says goodbye to all peers, closes everything, and blocks until that is done: not longer than the configured closing timeout
    /// and a few seconds. What happens meanwhile is not told.
    ///
    /// # Errors
    /// If the operating system cannot poll.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.host.shutdown();
        loop {
            while self.host.poll_event().is_some() {}
            if self.host.is_shut_down() {
                return Ok(());
            }
            self.turn(None)?;
        }
    }
}

impl<P: Protocol, T: Transport> fmt::Debug for EventLoop<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
