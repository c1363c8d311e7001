//! The engine's [`Runtime`] on the hosts of a world: async code runs in virtual time, over the same network as all others.

mod executor;
mod sockets;
#[cfg(test)]
mod tests;

pub use sockets::{SimListener, SimPipe};

pub(crate) use executor::{Caller, Executor, Ready};

use crate::{
    chance::Chance,
    network::{HostId, Network, Signal},
    world::{Clock, LOOKUP, Names},
};
use core::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::{
    seed::Seed,
    time::{Instant, UnixTime},
};
use drywire_engine::{Runtime, Timer};
use rand_core::Rng as _;
use sockets::{Connect, Wakers};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// Locks, whether or not another holder panicked: what is kept under these locks is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a world and the tasks in it share. Where two locks are held at once, it is the network's first, then the wakers'.
pub(crate) struct Shared {
    network: Mutex<Network>,
    executor: Mutex<Executor>,
    wakers: Mutex<Wakers>,
    deeds: Mutex<Deeds>,
    names: Mutex<Names>,
    sites: Mutex<Vec<Arc<Site>>>,
    time: Arc<AtomicU64>,
    unix_start: UnixTime,
}

/// What a host is to the tasks on it.
struct Site {
    host: HostId,
    inner: Mutex<SiteState>,
}

struct SiteState {
    /// The host's lives so far: what belongs to an earlier one is dead.
    life: u64,
    clock: Clock,
    late_timers: (f64, Duration),
    chance: Chance,
    entropy: Seed,
}

/// What a task did, for the world's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Read,
    Write,
    Lost,
}

#[derive(Default)]
struct Deeds {
    entries: Vec<(HostId, Deed, usize)>,
    bytes: Vec<u8>,
}

impl Shared {
    pub(crate) fn new(network: Network, now: Instant, unix_start: UnixTime) -> Arc<Self> {
        Arc::new(Self {
            network: Mutex::new(network),
            executor: Mutex::default(),
            wakers: Mutex::default(),
            deeds: Mutex::default(),
            names: Mutex::default(),
            sites: Mutex::default(),
            time: Arc::new(AtomicU64::new(now.as_nanos())),
            unix_start,
        })
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        lock(&self.network)
    }

    pub(crate) fn executor(&self) -> MutexGuard<'_, Executor> {
        lock(&self.executor)
    }

    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        lock(&self.names)
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        lock(&self.wakers)
    }

    /// The world's time.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.time.load(Ordering::Acquire))
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.time.store(now.as_nanos(), Ordering::Release);
    }

    /// A host was added to the network, whose number is the next.
    pub(crate) fn add_host(&self, host: HostId, seed: &Seed) {
        let state = SiteState {
            life: 0,
            clock: Clock::default(),
            late_timers: (0.0, Duration::ZERO),
            chance: Chance::new(seed, "timers"),
            entropy: seed.derive("entropy"),
        };
        let inner = Mutex::new(state);
        lock(&self.sites).push(Arc::new(Site { host, inner }));
    }

    /// The last host was never there. Returns the addresses it had.
    pub(crate) fn take_back_host(&self) -> Vec<IpAddr> {
        lock(&self.sites).pop();
        self.network().take_back_host()
    }

    fn site(&self, host: HostId) -> Option<Arc<Site>> {
        lock(&self.sites).get(host.number()).cloned()
    }

    fn change_site(&self, host: HostId, change: impl FnOnce(&mut SiteState)) {
        if let Some(site) = self.site(host) {
            change(&mut lock(&site.inner));
        }
    }

    /// A host's clock has jumped: its timers look again.
    pub(crate) fn set_clock(&self, host: HostId, clock: Clock) {
        self.change_site(host, |site| site.clock = clock);
        let timers = lock(&self.executor).take_timers(host);
        timers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn set_late_timers(&self, host: HostId, probability: f64, longest: Duration) {
        self.change_site(host, |site| site.late_timers = (probability, longest));
    }

    /// A host went down, and with it all that runs on it.
    pub(crate) fn crash(&self, host: HostId) {
        self.change_site(host, |site| site.life += 1);
        let tasks = lock(&self.executor).take_tasks(Some(host));
        tasks.iter().for_each(|task| task.cancel());
        let timers = lock(&self.executor).take_timers(host);
        drop(timers);
    }

    /// Wakes who waits for this.
    pub(crate) fn signal(&self, signal: Signal) {
        let waker = self.wakers().take(signal);
        waker.into_iter().for_each(Waker::wake);
    }

    fn note(&self, host: HostId, deed: Deed, bytes: &[u8]) {
        let mut deeds = lock(&self.deeds);
        deeds.entries.push((host, deed, bytes.len()));
        deeds.bytes.extend_from_slice(bytes);
    }

    /// Takes out what tasks did.
    pub(crate) fn take_deeds(&self, mut each: impl FnMut(HostId, Deed, &[u8])) {
        let mut deeds = lock(&self.deeds);
        let Deeds { entries, bytes } = &mut *deeds;
        let mut rest = bytes.as_slice();
        for (host, deed, length) in entries.drain(..) {
            let (these, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            each(host, deed, these);
            rest = behind;
        }
        bytes.clear();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Tasks hold wakers of each other: break the circles.
        let tasks = lock(&self.executor).take_tasks(None);
        tasks.iter().for_each(|task| task.cancel());
    }
}

/// The [`Runtime`] of one host of a [`World`](crate::World): an application's async code runs on it as it would on tokio, in
/// virtual time, with everything the network does to it decided by the world's seed.
///
/// Made by [`World::add_runtime`](crate::World::add_runtime), or [`World::runtime`](crate::World::runtime) for a host that
/// is there. It belongs to one life of its host: when that [crashes](crate::World::crash) its tasks are dropped and its
/// sockets are dead. After the world is gone its clock stands still and its input and output fails.
///
/// ```
/// use core::time::Duration;
/// use drywire::{protocol::Standard, swarm::DialOptions};
/// use drywire_engine::Host;
/// use drywire_sim::{HostBuilder, Link, World};
///
/// let mut world = World::new(5);
/// world.set_default_link(Link::default().latency(Duration::from_millis(60)).loss(0.02))?;
/// // Code that knows nothing of worlds, on a host of its own; and a host that is a machine.
/// let runtime = world.add_runtime("async")?;
/// let machine = world.add(HostBuilder::standard("machine"))?;
/// let address = world.address(machine)?;
/// let peer = world.block_on(async move {
///     let host = Host::builder(runtime, Standard::default()).start()?;
///     let dialed = host.dial(DialOptions::address(address)).await?;
///     Ok::<_, Box<dyn core::error::Error>>(dialed.peer)
/// })??;
/// assert_eq!(peer, world.peer_id(machine)?);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SimRuntime {
    shared: Weak<Shared>,
    time: Arc<AtomicU64>,
    site: Arc<Site>,
    life: u64,
    unix_start: UnixTime,
}

impl SimRuntime {
    /// The runtime of a host as it lives now.
    pub(crate) fn new(shared: &Arc<Shared>, host: HostId) -> Option<Self> {
        let site = shared.site(host)?;
        let life = lock(&site.inner).life;
        Some(Self {
            shared: Arc::downgrade(shared),
            time: shared.time.clone(),
            site,
            life,
            unix_start: shared.unix_start,
        })
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> HostId {
        self.site.host
    }

    /// The addresses of its host.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.anyway().map_or_else(Vec::new, |shared| {
            shared.network().addresses(self.host()).to_vec()
        })
    }

    /// Completes after `duration` by the host's clock.
    pub async fn sleep(&self, duration: Duration) {
        let mut timer = self.timer();
        timer.arm(self.now() + duration);
        core::future::poll_fn(|cx| timer.poll(cx)).await;
    }

    /// Lets every other task that can run do so first.
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

    /// Reaches into the world's network, for tests that break something in the middle of async code. Nothing else of the
    /// runtime may be used in there. `None` if the world is gone.
    pub fn with_network<R>(&self, act: impl FnOnce(&mut Network, Instant) -> R) -> Option<R> {
        let shared = self.anyway()?;
        let now = shared.now();
        Some(act(&mut shared.network(), now))
    }

    /// What it shares with the world, while the host lives.
    fn shared(&self) -> io::Result<Arc<Shared>> {
        let dead = |why| io::Error::new(io::ErrorKind::NotConnected, why);
        if lock(&self.site.inner).life != self.life {
            return Err(dead("the host has crashed"));
        }
        self.anyway().ok_or_else(|| dead("the world is gone"))
    }

    /// The same whether or not the host lives: sockets that are gone do no harm.
    fn anyway(&self) -> Option<Arc<Shared>> {
        self.shared.upgrade()
    }

    fn clock(&self) -> Clock {
        lock(&self.site.inner).clock
    }

    fn lookup_later<T: Send + 'static>(
        &self,
        name: &str,
        find: impl Fn(&Names, &str) -> Option<T> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send + 'static {
        let (runtime, name) = (self.clone(), name.to_owned());
        async move {
            runtime.sleep(LOOKUP).await;
            let shared = runtime.shared()?;
            let found = find(&shared.names(), &name);
            found.ok_or_else(|| {
                let why = format!("no such name: {name}");
                io::Error::new(io::ErrorKind::NotFound, why)
            })
        }
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimRuntime").field(&self.host()).finish()
    }
}

impl Runtime for SimRuntime {
    type Listener = SimListener;
    type Pipe = SimPipe;
    type Timer = SimTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Ok(shared) = self.shared() {
            executor::spawn(&shared, self.host(), Box::pin(task));
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.time.load(Ordering::Acquire)) + self.clock().ahead
    }

    fn unix(&self) -> UnixTime {
        self.clock().unix(self.unix_start, self.now())
    }

    fn entropy(&self) -> io::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        let mut site = lock(&self.site.inner);
        let seed = site.entropy.next_child("entropy");
        seed.rng().fill_bytes(&mut bytes);
        Ok(bytes)
    }

    fn timer(&self) -> SimTimer {
        SimTimer {
            runtime: self.clone(),
            deadline: None,
            waits: None,
        }
    }

    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<SimPipe>> + Send + 'static {
        Connect::new(self.clone(), remote)
    }

    fn listen(&self, local: SocketAddr) -> io::Result<SimListener> {
        let bound = self.shared()?.network().listen(self.host(), local)?;
        Ok(SimListener::new(self.clone(), bound))
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        self.lookup_later(host, |names, name| names.addresses.get(name).cloned())
    }

    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static {
        self.lookup_later(name, |names, name| names.text.get(name).cloned())
    }

    fn interfaces(&self) -> Vec<IpAddr> {
        self.addresses()
    }
}

/// A [`Timer`] on a host's clock.
#[derive(Debug)]
pub struct SimTimer {
    runtime: SimRuntime,
    deadline: Option<Instant>,
    waits: Option<executor::Key>,
}

impl Timer for SimTimer {
    fn arm(&mut self, deadline: Instant) {
        self.disarm();
        self.deadline = Some(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.filter(|at| *at < Instant::FAR_FUTURE);
        let (Some(deadline), Ok(shared)) = (deadline, self.runtime.shared()) else {
            return Poll::Pending;
        };
        if self.runtime.now() >= deadline {
            self.disarm();
            return Poll::Ready(());
        }
        let replaced = |key| lock(&shared.executor).replace(key, cx.waker());
        if self.waits.is_some_and(replaced) {
            return Poll::Pending;
        }
        let (ahead, late) = {
            let mut site = lock(&self.runtime.site.inner);
            let (probability, longest) = site.late_timers;
            let late = site.chance.happens(probability);
            let late = late.then(|| site.chance.time(longest));
            (site.clock.ahead, late)
        };
        if late.is_some() {
            let mut network = shared.network();
            network.faults_mut().count(crate::Fault::LateTimer);
        }
        let left = deadline - (shared.now() + ahead);
        let at = shared.now() + left + late.unwrap_or_default();
        let host = self.runtime.host();
        self.waits = Some(lock(&shared.executor).wake_at(at, host, cx.waker()));
        Poll::Pending
    }
}

impl SimTimer {
    fn disarm(&mut self) {
        self.deadline = None;
        if let Some(key) = self.waits.take()
            && let Some(shared) = self.runtime.anyway()
        {
            lock(&shared.executor).forget(key);
        }
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        self.disarm();
    }
}
