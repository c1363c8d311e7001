//! A [`Runtime`] without threads, sockets or real time: for tests of the engine and of programs built on it.
//!
//! A [`World`] is an executor, a clock and a network in one. Its clock stands still while any task can run and jumps to
//! the next deadline when none can, so that a test of a 30 s timeout takes no time, and a run that can never go on is
//! reported instead of hanging. Everything is decided by the seed: the order in which runnable tasks run, and how
//! the bytes of a pipe are cut.
//!
//! ```
//! use drywire_engine::{Runtime, Timer, memory::World};
//! use core::{future::poll_fn, time::Duration};
//!
//! let world = World::new(1);
//! let runtime = world.runtime();
//! let waited = world
//!     .block_on(async move {
//!         let start = runtime.now();
//!         let mut timer = runtime.timer();
//!         timer.arm(start + Duration::from_secs(3600));
//!         poll_fn(|cx| timer.poll(cx)).await;
//!         runtime.now() - start
//!     })
//!     .expect("the timer fires");
//! assert_eq!(waited, Duration::from_secs(3600));
//! ```

mod executor;
mod network;

pub use network::{MemoryListener, MemoryPipe};

use crate::runtime::{Runtime, Timer};
use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::{
    seed::Seed,
    time::{Instant, UnixTime},
};
use executor::{Caller, Executor, Turn};
use network::Network;
use std::{
    io,
    sync::{Arc, Mutex, Weak},
};

use crate::notify::lock;

/// How a [`World`] behaves.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// How long bytes, and connection attempts, travel. 1 ms.
    pub latency: Duration,
    /// The most bytes in flight in one direction of a pipe. 256 KiB.
    pub capacity: usize,
    /// The most bytes one read returns; each read is cut at random below it. `None`: all there is.
    pub max_read: Option<usize>,
    /// Runs tasks in random order instead of the order they became runnable in.
    pub shuffle: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            capacity: 256 * 1024,
            max_read: None,
            shuffle: false,
        }
    }
}

/// Nothing in the world can ever run again, and the future waited for has not completed: a lost wake-up, or a deadlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no task can run and no timer is armed")
    }
}

impl core::error::Error for Stalled {}

/// An executor, a clock and a network. Dropping it drops every task.
pub struct World {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    executor: Mutex<Executor>,
    network: Mutex<Network>,
    seed: Mutex<Seed>,
}

impl World {
    /// A world decided by `seed`, under the default conditions.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_conditions(seed, Conditions::default())
    }

    /// A world decided by `seed` and `conditions`.
    #[must_use]
    pub fn with_conditions(seed: u64, conditions: Conditions) -> Self {
        let seed = Seed::for_tests(seed);
        let executor = Executor::new(&seed.derive("executor"), conditions.shuffle);
        let network = Network::new(&seed.derive("network"), conditions);
        let shared = Shared {
            executor: Mutex::new(executor),
            network: Mutex::new(network),
            seed: Mutex::new(seed.derive("entropy")),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The runtime to build hosts with. All hosts of a world share its network.
    #[must_use]
    pub fn runtime(&self) -> MemoryRuntime {
        MemoryRuntime {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// The world's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        lock(&self.shared.executor).now()
    }

    /// Makes `host` resolve to `addresses` from now on.
    pub fn set_host(&self, host: &str, addresses: Vec<IpAddr>) {
        lock(&self.shared.network).set_host(host, addresses);
    }

    /// Makes `name` have these TXT records from now on.
    pub fn set_txt(&self, name: &str, records: Vec<String>) {
        lock(&self.shared.network).set_txt(name, records);
    }

    /// Breaks every pipe that was accepted at `listener`: both ends get an error at their next read or write.
    pub fn cut(&self, listener: SocketAddr) {
        let wakers = lock(&self.shared.network).cut(listener);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Runs the world until `future` completes.
    ///
    /// # Errors
    /// [`Stalled`] if that can never happen.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        self.run(future, None).map_err(|_| Stalled)
    }

    /// Runs the world for `duration` of its own time.
    pub fn run_for(&self, duration: Duration) {
        let deadline = self.now() + duration;
        let _ = self.run(core::future::pending::<()>(), Some(deadline));
    }

    /// Tasks alive: spawned and not completed.
    #[must_use]
    pub fn tasks(&self) -> usize {
        lock(&self.shared.executor).alive()
    }

    fn run<F: Future>(&self, future: F, until: Option<Instant>) -> Result<F::Output, ()> {
        let mut future = pin!(future);
        let caller = Caller::new(&self.shared);
        let waker = Waker::from(caller.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            let turn = lock(&self.shared.executor).turn(until);
            match turn {
                Turn::Run(task) => task.run(),
                Turn::Caller => {
                    caller.running();
                    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                        return Ok(output);
                    }
                }
                Turn::Fire(wakers) => wakers.into_iter().for_each(Waker::wake),
                Turn::Stop => return Err(()),
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Tasks hold wakers of each other through pipes and listeners: break the circles.
        let tasks = lock(&self.shared.executor).take_all();
        for task in tasks {
            task.cancel();
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

/// The [`Runtime`] of a [`World`]. After the world is gone its clock stands still and all its I/O fails.
#[derive(Clone)]
pub struct MemoryRuntime {
    shared: Weak<Shared>,
}

impl MemoryRuntime {
    fn world(&self) -> io::Result<Arc<Shared>> {
        self.shared
            .upgrade()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the world is gone"))
    }

    /// Completes after `duration` of the world's time.
    pub async fn sleep(&self, duration: Duration) {
        let mut timer = self.timer();
        timer.arm(self.now() + duration);
        core::future::poll_fn(|cx| timer.poll(cx)).await;
    }

    /// Lets every other runnable task run first.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        core::future::poll_fn(|cx| {
            if core::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for MemoryRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryRuntime")
    }
}

impl Runtime for MemoryRuntime {
    type Listener = MemoryListener;
    type Pipe = MemoryPipe;
    type Timer = MemoryTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Ok(world) = self.world() {
            executor::spawn(&world, Box::pin(task));
        }
    }

    fn now(&self) -> Instant {
        self.world()
            .map_or(Instant::ZERO, |world| lock(&world.executor).now())
    }

    fn unix(&self) -> UnixTime {
        // The world begins on 20 November 2026.
        UnixTime::from_secs(1_795_132_800).saturating_add(self.now() - Instant::ZERO)
    }

    fn entropy(&self) -> io::Result<[u8; 32]> {
        use rand_core::Rng as _;
        let mut bytes = [0; 32];
        lock(&self.world()?.seed)
            .next_child("host")
            .rng()
            .fill_bytes(&mut bytes);
        Ok(bytes)
    }

    fn timer(&self) -> MemoryTimer {
        MemoryTimer {
            runtime: self.clone(),
            deadline: None,
            key: None,
        }
    }

    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<MemoryPipe>> + Send + 'static {
        let runtime = self.clone();
        async move {
            let latency = lock(&runtime.world()?.network).conditions().latency;
            runtime.sleep(latency).await;
            network::connect(&runtime, remote)
        }
    }

    fn listen(&self, local: SocketAddr) -> io::Result<MemoryListener> {
        network::listen(self, local)
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        let answer = self
            .world()
            .and_then(|world| lock(&world.network).host(host));
        core::future::ready(answer)
    }

    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static {
        let answer = self
            .world()
            .and_then(|world| lock(&world.network).txt(name));
        core::future::ready(answer)
    }
}

/// A [`Timer`] on a world's clock.
#[derive(Debug)]
pub struct MemoryTimer {
    runtime: MemoryRuntime,
    deadline: Option<Instant>,
    key: Option<(Instant, u64)>,
}

impl Timer for MemoryTimer {
    fn arm(&mut self, deadline: Instant) {
        self.disarm();
        self.deadline = Some(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(deadline), Ok(world)) = (self.deadline, self.runtime.world()) else {
            return Poll::Pending;
        };
        let mut executor = lock(&world.executor);
        if executor.now() >= deadline {
            drop(executor);
            self.disarm();
            return Poll::Ready(());
        }
        self.key = Some(executor.wake_at(self.key, deadline, cx.waker()));
        Poll::Pending
    }
}

impl MemoryTimer {
    fn disarm(&mut self) {
        self.deadline = None;
        if let Some(key) = self.key.take()
            && let Ok(world) = self.runtime.world()
        {
            lock(&world.executor).forget(key);
        }
    }
}

impl Drop for MemoryTimer {
    fn drop(&mut self) {
        self.disarm();
    }
}

#[cfg(test)]
mod tests;
