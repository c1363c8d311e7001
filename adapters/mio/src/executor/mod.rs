//! The engine's hosts in a loop over mio: futures, streams and handles on one thread.
//!
//! A [`Host`](crate::Host) needs no futures. But who wants none of the async runtimes, and would still rather wait for a
//! [request](drywire_engine::Requests) or a [record](drywire_engine::KadHandle) than keep track of events, can run the engine
//! on an executor of one thread. It has a poll of its own, which on Unix can be [polled](std::os::fd::AsRawFd) in its turn: a
//! loop around it sleeps no longer than [`poll_timeout`](Executor::poll_timeout), and calls [`turn`](Executor::turn) with no
//! time to sleep.
//!
//! ```
//! use drywire::{protocol::Standard, swarm::DialOptions};
//! use drywire_engine::Host;
//! use drywire_mio::executor::Executor;
//!
//! let mut executor = Executor::new()?;
//! let runtime = executor.runtime();
//! executor.block_on(async {
//!     let server = Host::builder(runtime.clone(), Standard::default()).start()?;
//!     let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//!     let client = Host::builder(runtime, Standard::default()).start()?;
//!     let dialed = client.dial(DialOptions::address(bound.address)).await?;
//!     assert_eq!(dialed.peer, server.peer_id());
//!     client.shutdown().await;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod sockets;
mod timer;

pub use sockets::{MioListener, MioPipe};
pub use timer::MioTimer;

use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    ops::Range,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::time::{Instant, UnixTime};
use drywire_engine::Runtime;
use mio::{Events, Registry, Token};
use slab::Slab;
use sockets::Readiness;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::ToSocketAddrs as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Wake,
    thread,
};

/// Events taken from the operating system at once.
const EVENTS: usize = 1024;
/// While tasks wake each other, sockets are looked at after so many rounds of them.
const ROUNDS: usize = 8;
/// Names that may be looked up at once, each on a thread of its own.
const LOOKUPS: usize = 32;

/// Whether or not another holder panicked: what is kept under these locks is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs tasks on the thread that calls it, and sleeps in a [`mio::Poll`] while there is nothing to run.
///
/// Dropping it drops its tasks; hosts on it end at once.
pub struct Executor {
    poll: mio::Poll,
    events: Events,
    shared: Arc<Shared>,
}

/// The executor as tasks know it, and as the engine's [`Runtime`].
///
/// It can be used from other threads; what it spawns runs on the executor's. Names are looked up on a thread each, 32 at once,
/// as the operating system has no other way; TXT records are not.
#[derive(Clone)]
pub struct MioRuntime(Arc<Shared>);

struct Shared {
    registry: Registry,
    waker: mio::Waker,
    /// The executor sleeps, or is about to: who has something for it must wake it.
    asleep: AtomicBool,
    /// The task of a caller was woken, which is not in the queue.
    caller_woken: AtomicBool,
    queue: Mutex<VecDeque<Arc<Task>>>,
    /// `None` once the executor is gone.
    tasks: Mutex<Option<Slab<Arc<Task>>>>,
    timers: Mutex<BTreeMap<(Instant, u64), Waker>>,
    timers_made: AtomicU64,
    sockets: Mutex<Slab<Arc<Readiness>>>,
    tokens: Range<usize>,
    /// Threads that look names up.
    lookups: AtomicUsize,
}

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    /// `None` while it runs, and when it has ended.
    future: Mutex<Option<BoxedTask>>,
    queued: AtomicBool,
    key: usize,
    shared: Weak<Shared>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(shared) = self.shared.upgrade()
        {
            lock(&shared.queue).push_back(self.clone());
            shared.alarm();
        }
    }
}

impl Shared {
    /// Ends the executor's sleep, if it sleeps.
    fn alarm(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Nobody here could help it.
            let _ = self.waker.wake();
        }
    }

    fn end(&self, task: &Task) {
        let ended = lock(&self.tasks)
            .as_mut()
            .and_then(|tasks| tasks.try_remove(task.key));
        drop(ended);
    }
}

/// Counts a thread that looks a name up.
struct Lookup(Arc<Shared>);

impl Lookup {
    fn begin(shared: &Arc<Shared>) -> io::Result<Self> {
        let more = |count: usize| (count < LOOKUPS).then_some(count.saturating_add(1));
        let counted = shared
            .lookups
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        let message = "too many names are looked up at once";
        counted
            .map(|_| Self(shared.clone()))
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, message))
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.0.lookups.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The task of [`Executor::block_on`]: it is polled by its caller.
struct Main {
    woken: AtomicBool,
    shared: Weak<Shared>,
}

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if let Some(shared) = self.shared.upgrade() {
            shared.caller_woken.store(true, Ordering::SeqCst);
            shared.alarm();
        }
    }
}

impl Executor {
    /// An executor with a poll of its own.
    ///
    /// # Errors
    /// If the operating system has no poll to give.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), Token(0))?;
        let shared = Shared {
            registry: poll.registry().try_clone()?,
            waker,
            asleep: AtomicBool::new(false),
            caller_woken: AtomicBool::new(false),
            queue: Mutex::default(),
            tasks: Mutex::new(Some(Slab::new())),
            lookups: AtomicUsize::new(0),
            timers: Mutex::default(),
            timers_made: AtomicU64::new(0),
            sockets: Mutex::default(),
            tokens: 1..usize::MAX,
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            shared: Arc::new(shared),
        })
    }

    /// For [`Host::builder`](drywire_engine::Host::builder).
    #[must_use]
    pub fn runtime(&self) -> MioRuntime {
        MioRuntime(self.shared.clone())
    }

    /// Runs the tasks that can run, then sleeps until something happens or `timeout` has passed, whichever is first. It does not
    /// sleep while there is more to run.
    ///
    /// # Errors
    /// If the operating system cannot poll.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        for _ in 0..ROUNDS {
            if !self.run_tasks() {
                break;
            }
        }
        self.look_outside(timeout)
    }

    /// How long nothing will happen by itself: zero while there are tasks to run, `None` for ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if !lock(&self.shared.queue).is_empty() {
            return Some(Duration::ZERO);
        }
        let timers = lock(&self.shared.timers);
        let ((at, _), _) = timers.first_key_value()?;
        Some(*at - drywire_system::now())
    }

    /// Sleeps, unless there is something to run, and tells tasks what has happened.
    fn look_outside(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sleep(timeout)?;
        self.tell_sockets();
        self.tell_timers();
        Ok(())
    }

    /// Runs until this future is done, and everything else meanwhile.
    ///
    /// # Errors
    /// If the operating system cannot poll.
    pub fn block_on<F: Future>(&mut self, future: F) -> io::Result<F::Output> {
        let mut future = pin!(future);
        let main = Arc::new(Main {
            woken: AtomicBool::new(true),
            shared: Arc::downgrade(&self.shared),
        });
        let waker = Waker::from(main.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            // After each round of the others, so that whoever yields comes after it.
            for _ in 0..ROUNDS {
                if main.woken.swap(false, Ordering::AcqRel)
                    && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
                {
                    return Ok(output);
                }
                if !self.run_tasks() && !main.woken.load(Ordering::Acquire) {
                    break;
                }
            }
            self.look_outside(None)?;
        }
    }

    /// Runs each task that is queued once; whether others are queued since.
    fn run_tasks(&self) -> bool {
        let queued = lock(&self.shared.queue).len();
        for _ in 0..queued {
            let Some(task) = lock(&self.shared.queue).pop_front() else {
                return false;
            };
            // From now on who wakes it has it run again.
            task.queued.store(false, Ordering::Release);
            let future = lock(&task.future).take();
            let Some(mut future) = future else { continue };
            let waker = Waker::from(task.clone());
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => *lock(&task.future) = Some(future),
                Poll::Ready(()) => self.shared.end(&task),
            }
        }
        !lock(&self.shared.queue).is_empty()
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.asleep.store(true, Ordering::SeqCst);
        let due = lock(&self.shared.timers)
            .first_key_value()
            .map(|((at, _), _)| *at - drywire_system::now());
        let mut sleep = match (timeout, due) {
            (Some(timeout), Some(due)) => Some(timeout.min(due)),
            (timeout, due) => timeout.or(due),
        };
        let called = self.shared.caller_woken.swap(false, Ordering::SeqCst);
        if called || !lock(&self.shared.queue).is_empty() {
            sleep = Some(Duration::ZERO);
        }
        let polled = self.poll.poll(&mut self.events, sleep);
        self.shared.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn tell_sockets(&self) {
        for event in &self.events {
            let key = event.token().0.checked_sub(self.shared.tokens.start);
            let socket = key.and_then(|key| lock(&self.shared.sockets).get(key).cloned());
            if let Some(socket) = socket {
                socket.tell(event);
            }
        }
    }

    fn tell_timers(&self) {
        let now = drywire_system::now();
        loop {
            let due = {
                let mut timers = lock(&self.shared.timers);
                let first = timers.first_entry();
                first
                    .filter(|entry| entry.key().0 <= now)
                    .map(|entry| entry.remove())
            };
            match due {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Tasks hold on to the executor: this is the end of both. What is dropped may spawn others, which are not kept.
        let tasks = lock(&self.shared.tasks).take();
        for (_, task) in tasks.into_iter().flatten() {
            let future = lock(&task.future).take();
            drop(future);
        }
        lock(&self.shared.queue).clear();
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Executor {
    /// Readable when there is something for [`turn`](Self::turn).
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.poll.as_raw_fd()
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

impl fmt::Debug for MioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MioRuntime")
    }
}

impl Runtime for MioRuntime {
    type Listener = MioListener;
    type Pipe = MioPipe;
    type Timer = MioTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = {
            let mut tasks = lock(&self.0.tasks);
            // Where nothing is run any more, the task is dropped, after the lock.
            let Some(tasks) = tasks.as_mut() else { return };
            let entry = tasks.vacant_entry();
            let task = Arc::new(Task {
                future: Mutex::new(Some(Box::pin(task))),
                queued: AtomicBool::new(false),
                key: entry.key(),
                shared: Arc::downgrade(&self.0),
            });
            entry.insert(task).clone()
        };
        task.wake();
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

    fn timer(&self) -> MioTimer {
        MioTimer::new(self.0.clone())
    }

    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<MioPipe>> + Send + 'static {
        MioPipe::connect(self.0.clone(), remote)
    }

    fn listen(&self, local: SocketAddr) -> io::Result<MioListener> {
        MioListener::bind(self.0.clone(), local)
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        let answer = Arc::new(Mutex::new((None, None::<Waker>)));
        let (host, telling) = (host.to_owned(), answer.clone());
        let asking = Lookup::begin(&self.0).and_then(|counted| {
            thread::Builder::new().spawn(move || {
                let found = (host.as_str(), 0).to_socket_addrs();
                let found = found.map(|found| found.map(|address| address.ip()).collect());
                let waker = {
                    let mut answer = lock(&telling);
                    answer.0 = Some(found);
                    answer.1.take()
                };
                drop(counted);
                if let Some(waker) = waker {
                    waker.wake();
                }
            })
        });
        async move {
            asking?;
            core::future::poll_fn(|cx| {
                let mut answer = lock(&answer);
                let found = answer.0.take();
                found.map_or_else(
                    || {
                        answer.1 = Some(cx.waker().clone());
                        Poll::Pending
                    },
                    Poll::Ready,
                )
            })
            .await
        }
    }

    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static {
        let message = format!("nobody here knows TXT records: {name}");
        core::future::ready(Err(io::Error::new(io::ErrorKind::Unsupported, message)))
    }

    fn interface_index(&self, name: &str) -> Option<u32> {
        drywire_system::interface_index(name)
    }

    fn interfaces(&self) -> Vec<IpAddr> {
        drywire_system::interfaces()
    }
}
