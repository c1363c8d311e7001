//! One thread for the swarm, and any number for connections.
//!
//! **When to choose it:** one core is not enough. Handshakes, encryption and what the application does with its streams run on
//! the worker that has the connection; the swarm's thread only decides: who is admitted, what is dialed, what the protocols
//! say. A stream's bytes never visit it.
//!
//! ```text
//!            listeners, dials                         sockets, timers
//!          ┌──────────────────┐   ToConnection   ┌─────────────────────┐
//! host ──> │ swarm's thread   │ ───────────────> │ worker 0 .. n-1     │
//!          │ Swarm            │ <─────────────── │ Connection + A each │
//!          └──────────────────┘     ToSwarm      └─────────────────────┘
//! ```
//!
//! The swarm makes a `ConnectionStart`, which is cheap; the worker calls `start`, so that the handshake's work is done there. A
//! `Connection` is `Send`, so it can also go to another worker while it runs, with its socket and its application:
//! [`WorkerHost::move_connection`].
//!
//! # The channels, their sizes, and why they neither block nor overflow
//!
//! | channel | bound | what if it is reached |
//! |---|---|---|
//! | worker to swarm, one for each worker | [`TO_SWARM`] | the worker leaves messages in their connections. A connection with 512 of them processes no more of what its peer sends, so its socket is not read. The swarm wakes the worker when it has taken what was there |
//! | swarm to worker: messages to one connection | [`to_connection`]: eight times `config.queues.commands`, and a few settings | the core closes a connection that lets so much wait. Would there be more, the worker is told to drop it |
//! | host to swarm | [`COMMANDS`] | the caller is told [`NotTaken::Full`] |
//!
//! The second is the one that must not be refused, since the swarm has nowhere to keep what it has said. It need not be: each
//! message that a protocol sends is counted against a budget until the connection has handled it (`cx.send` answers `Full`
//! beyond `queues.commands`), and what cannot be refused (acknowledgements, resets) is counted too, up to eight times as much,
//! where the swarm gives the connection up. What is not counted (admission, the table of names, leases, keep-alive, the end)
//! waits in the swarm as its latest value only. [`Waiting`] tells the most that ever waited.
//!
//! **Back-pressure from the application:** as in every loop, `recv_buf` gives no buffer; a worker asks again at the end of each
//! turn of that connection, since nobody else touches it.
//!
//! **Timers:** each thread sleeps in its poller until the earliest deadline: of the swarm and of its listeners, respectively of
//! the connections it has, which are kept in a [`Timers`](drywire::swarm::Timers).
//!
//! **Shutdown:** [`WorkerHost::shutdown`], then [`WorkerHost::join`]: every connection says goodbye, its last bytes are
//! written, its socket is closed; then the threads end. Dropping the host closes everything at once and waits for the threads.
//!
//! **The end of a connection:** its socket goes at once, but what it has brought can be read for 10 s more, unless the node
//! shuts down.

mod mailbox;
mod office;
mod sockets;
mod worker;

pub use sockets::{Accepted, Sockets, Tcp, WorkerSocket};

use crate::swarm_with;
use core::{
    error::Error,
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use drywire::{
    connection::{self, Connection, ConnectionId},
    identity::Keypair,
    swarm::{Config, Event, Protocol, Swarm},
    time::Instant,
};
use mailbox::Mailbox;
use mio::{Poll, Token, Waker};
use office::Office;
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};
use worker::{Desk, Worker};

/// Messages that may wait on their way from one worker to the swarm.
pub const TO_SWARM: usize = 64;
/// Commands of the host that may wait to be run.
pub const COMMANDS: usize = 1024;
/// Settings and the end, of which the swarm keeps the latest alone: some may be on their way when the next is said.
const SETTINGS: usize = 64;
const WAKE: Token = Token(0);

/// Messages that may wait on their way to one connection.
#[must_use]
pub fn to_connection(config: &Config) -> usize {
    let commands = usize::try_from(config.queues.commands).unwrap_or(usize::MAX);
    commands.saturating_mul(8).saturating_add(SETTINGS)
}

/// What uses the streams of one connection, on the worker that has it. It goes with the connection when that is moved.
pub trait Application: Send + 'static {
    /// Something happened on the connection, whose streams can be used right here. `Event::Closed` is the last.
    fn handle_event(&mut self, now: Instant, connection: &mut Connection, event: connection::Event);

    /// When to call [`handle_timeout`](Self::handle_timeout).
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// That time has come.
    fn handle_timeout(&mut self, now: Instant, connection: &mut Connection) {
        let _ = (now, connection);
    }
}

/// A connection and what uses it, where they are.
#[derive(Debug)]
pub struct Here<'a, A> {
    /// The connection.
    pub connection: &'a mut Connection,
    /// What uses it.
    pub application: &'a mut A,
}

type Visit<A> = Box<dyn FnOnce(Instant, Option<Here<'_, A>>) + Send>;
type OnSwarm<P> = Box<dyn FnOnce(Instant, &mut Swarm<P>) + Send>;

enum Command<P: Protocol, A> {
    Swarm(OnSwarm<P>),
    Visit(ConnectionId, Visit<A>),
    Move(ConnectionId, usize),
}

/// Why a command will not be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// [`COMMANDS`] of them wait.
    Full,
    /// The host has ended.
    Ended,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many commands wait",
            Self::Ended => "the host has ended",
        })
    }
}

impl Error for NotTaken {}

/// The most that ever waited in the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// On the way from one worker to the swarm.
    pub to_swarm: usize,
    /// On the way from the swarm to one connection.
    pub to_connection: usize,
}

/// What all threads share.
struct Shared {
    /// The node shuts down in good order.
    shuts_down: AtomicBool,
    /// Everything is to end at once.
    stop: AtomicBool,
    /// The swarm's thread has ended.
    ended: AtomicBool,
    /// Visits that were accepted and not yet run.
    visits: AtomicUsize,
    /// The most messages that ever waited for one connection.
    most: AtomicUsize,
}

/// The threads of a node.
pub struct WorkerHost<P: Protocol, A: Application> {
    commands: Arc<Mailbox<Command<P, A>>>,
    desks: Vec<Arc<Desk<A>>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl<P, A> WorkerHost<P, A>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    A: Application,
{
    /// Starts the threads: one for the swarm, and `workers` (at least one) for connections.
    ///
    /// `application` makes what uses the streams of a connection, on its worker. `events` is told what happens in the swarm,
    /// on the swarm's thread.
    ///
    /// # Errors
    /// If the operating system has no threads or descriptors left, or no entropy to give.
    pub fn start(
        config: Config,
        keypair: Keypair,
        protocols: P,
        workers: usize,
        application: impl Fn(ConnectionId) -> A + Send + Sync + 'static,
        events: impl FnMut(Instant, &mut Swarm<P>, Event<P::Event>) + Send + 'static,
    ) -> io::Result<Self> {
        let swarm = swarm_with(config.clone(), keypair, protocols).map_err(io::Error::other)?;
        Self::start_over(Tcp, &config, swarm, workers, application, events)
    }

    /// The same for a swarm that is there already, made with this configuration, and with sockets of another kind.
    ///
    /// # Errors
    /// As there.
    pub fn start_over(
        sockets: impl Sockets,
        config: &Config,
        swarm: Swarm<P>,
        workers: usize,
        application: impl Fn(ConnectionId) -> A + Send + Sync + 'static,
        events: impl FnMut(Instant, &mut Swarm<P>, Event<P::Event>) + Send + 'static,
    ) -> io::Result<Self> {
        let limit = to_connection(config);
        let connections = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
        // The messages, and for each connection its start and its moves.
        let orders = connections.saturating_mul(limit.saturating_add(4));
        let (poll, waker) = poller()?;
        let commands = Arc::new(Mailbox::new(COMMANDS, waker.clone()));
        let shared = Arc::new(Shared {
            shuts_down: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            visits: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let application: Arc<dyn Fn(ConnectionId) -> A + Send + Sync> = Arc::new(application);
        let mut host = Self {
            commands: commands.clone(),
            desks: Vec::new(),
            shared: shared.clone(),
            threads: Vec::new(),
        };
        for number in 0..workers.max(1) {
            let (poll, own_waker) = poller()?;
            let desk = Arc::new(Desk {
                orders: Mailbox::new(orders.saturating_add(COMMANDS), own_waker),
                to_swarm: Mailbox::new(TO_SWARM, waker.clone()),
            });
            host.desks.push(desk.clone());
            let worker = Worker::new(poll, desk, application.clone(), shared.clone());
            let thread = thread::Builder::new().name(format!("worker {number}"));
            host.threads.push(thread.spawn(move || worker.run())?);
        }
        let office = Office::new(
            poll,
            waker,
            swarm,
            commands,
            host.desks.clone(),
            shared,
            limit,
        );
        let office = office.over(Box::new(sockets));
        let thread = thread::Builder::new().name("swarm".into());
        host.threads.push(thread.spawn(move || office.run(events))?);
        Ok(host)
    }

    /// Runs something on a connection's worker, followed by whatever the connection wants then. If the connection is gone, it
    /// is run all the same, with `None`. It is dropped without being run only if the host ends before.
    ///
    /// # Errors
    /// [`NotTaken`] says why it will not be run.
    pub fn on_connection(
        &self,
        id: ConnectionId,
        visit: impl FnOnce(Instant, Option<Here<'_, A>>) + Send + 'static,
    ) -> Result<(), NotTaken> {
        if self.shared.visits.fetch_add(1, Ordering::SeqCst) >= COMMANDS {
            self.shared.visits.fetch_sub(1, Ordering::SeqCst);
            return Err(NotTaken::Full);
        }
        let sent = self.send(Command::Visit(id, Box::new(visit)));
        if sent.is_err() {
            self.shared.visits.fetch_sub(1, Ordering::SeqCst);
        }
        sent
    }

    /// Runs something on the swarm's thread.
    ///
    /// # Errors
    /// [`NotTaken`] says why it will not be run.
    pub fn on_swarm(
        &self,
        run: impl FnOnce(Instant, &mut Swarm<P>) + Send + 'static,
    ) -> Result<(), NotTaken> {
        self.send(Command::Swarm(Box::new(run)))
    }

    /// Moves a connection to another worker, with its socket and its application, while it runs. Nothing happens if the
    /// connection is gone, or there already.
    ///
    /// # Errors
    /// [`NotTaken`] says why it will not be moved.
    pub fn move_connection(&self, id: ConnectionId, to: usize) -> Result<(), NotTaken> {
        let to = to.checked_rem(self.desks.len()).unwrap_or_default();
        self.send(Command::Move(id, to))
    }

    /// Ends everything in good order; then [`join`](Self::join).
    ///
    /// # Errors
    /// [`NotTaken`] if it has to be said again, or has ended.
    pub fn shutdown(&self) -> Result<(), NotTaken> {
        self.on_swarm(|now, swarm| swarm.shutdown(now))
    }

    /// How many workers there are.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.desks.len()
    }

    /// The most that ever waited in the channels.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let most = self.desks.iter().map(|desk| desk.to_swarm.most()).max();
        Waiting {
            to_swarm: most.unwrap_or_default(),
            to_connection: self.shared.most.load(Ordering::Relaxed),
        }
    }

    fn send(&self, command: Command<P, A>) -> Result<(), NotTaken> {
        if self.shared.ended.load(Ordering::SeqCst) {
            return Err(NotTaken::Ended);
        }
        self.commands.send(command).map_err(|_| NotTaken::Full)
    }
}

impl<P: Protocol, A: Application> WorkerHost<P, A> {
    /// Waits until the node was shut down, everything is closed and the threads have ended. Not to be called on one of them.
    ///
    /// # Errors
    /// If a thread has panicked, or a poller failed.
    pub fn join(mut self) -> io::Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            result = result.and(thread.join().unwrap_or_else(panicked));
        }
        result
    }
}

impl<P: Protocol, A: Application> Drop for WorkerHost<P, A> {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.shared.stop.store(true, Ordering::SeqCst);
        self.commands.wake();
        self.desks.iter().for_each(|desk| desk.orders.wake());
        let _ = self.wait();
    }
}

fn poller() -> io::Result<(Poll, Arc<Waker>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    Ok((poll, waker))
}
