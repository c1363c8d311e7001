//! The tasks and timers of a world.

use super::Shared;
use crate::notify::lock;
use core::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
};
use drywire::{
    seed::{Rng, Seed},
    time::Instant,
};
use rand_core::Rng as _;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, Weak},
    task::Wake,
};

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A spawned future. It is queued at most once at a time.
pub(super) struct Task {
    world: Weak<Shared>,
    number: u64,
    queued: AtomicBool,
    future: Mutex<Option<BoxFuture>>,
}

impl Task {
    /// Polls the future once.
    pub(super) fn run(self: Arc<Self>) {
        self.queued.store(false, Ordering::Release);
        let waker = Waker::from(self.clone());
        let mut future = lock(&self.future);
        let Some(running) = future.as_mut() else {
            return;
        };
        if running
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            let done = future.take();
            drop(future);
            drop(done);
            if let Some(world) = self.world.upgrade() {
                lock(&world.executor).tasks.remove(&self.number);
            }
        }
    }

    /// Drops the future without running it.
    pub(super) fn cancel(&self) {
        let future = lock(&self.future).take();
        drop(future);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(world) = self.world.upgrade()
        {
            lock(&world.executor).ready.push_back(Entry::Task(self));
        }
    }
}

/// Adds a task to the world.
pub(super) fn spawn(world: &Arc<Shared>, future: BoxFuture) {
    let mut executor = lock(&world.executor);
    let number = executor.next_number();
    let task = Arc::new(Task {
        world: Arc::downgrade(world),
        number,
        queued: AtomicBool::new(true),
        future: Mutex::new(Some(future)),
    });
    executor.tasks.insert(number, task.clone());
    executor.ready.push_back(Entry::Task(task));
}

/// The waker of the future the caller of the world waits for.
pub(super) struct Caller {
    world: Weak<Shared>,
    queued: AtomicBool,
}

impl Caller {
    pub(super) fn new(world: &Arc<Shared>) -> Arc<Self> {
        let caller = Arc::new(Self {
            world: Arc::downgrade(world),
            queued: AtomicBool::new(false),
        });
        caller.clone().wake();
        caller
    }

    /// To be called before each poll.
    pub(super) fn running(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(world) = self.world.upgrade()
        {
            lock(&world.executor).ready.push_back(Entry::Caller);
        }
    }
}

enum Entry {
    Task(Arc<Task>),
    /// The caller may have given up waiting since; then this is another caller's, and polls the present one in vain.
    Caller,
}

/// What the world does next.
pub(super) enum Turn {
    /// Poll this task.
    Run(Arc<Task>),
    /// Poll the future the caller waits for.
    Caller,
    /// The clock has moved: wake these.
    Fire(Vec<Waker>),
    /// Nothing can run (before the given end).
    Stop,
}

pub(super) struct Executor {
    now: Instant,
    ready: VecDeque<Entry>,
    tasks: BTreeMap<u64, Arc<Task>>,
    timers: BTreeMap<(Instant, u64), Waker>,
    number: u64,
    shuffle: Option<Rng>,
}

impl Executor {
    pub(super) fn new(seed: &Seed, shuffle: bool) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            ready: VecDeque::new(),
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            number: 0,
            shuffle: shuffle.then(|| seed.rng()),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn alive(&self) -> usize {
        self.tasks.len()
    }

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Registers a wake-up, in place of the one at `old`.
    pub(super) fn wake_at(
        &mut self,
        old: Option<(Instant, u64)>,
        deadline: Instant,
        waker: &Waker,
    ) -> (Instant, u64) {
        let key = old.unwrap_or_else(|| (deadline, self.next_number()));
        self.timers.insert(key, waker.clone());
        key
    }

    pub(super) fn forget(&mut self, key: (Instant, u64)) {
        self.timers.remove(&key);
    }

    /// Takes every task, so that their futures can be dropped outside the lock.
    pub(super) fn take_all(&mut self) -> Vec<Arc<Task>> {
        self.ready.clear();
        self.timers.clear();
        core::mem::take(&mut self.tasks).into_values().collect()
    }

    /// Chooses what runs next.
    pub(super) fn turn(&mut self, until: Option<Instant>) -> Turn {
        let entry = match &mut self.shuffle {
            Some(rng) if self.ready.len() > 1 => {
                // The bias, below 2^-32, does not matter here.
                let draw = usize::try_from(rng.next_u64()).unwrap_or(0);
                self.ready
                    .remove(draw.checked_rem(self.ready.len()).unwrap_or(0))
            }
            _ => self.ready.pop_front(),
        };
        match entry {
            Some(Entry::Task(task)) => Turn::Run(task),
            Some(Entry::Caller) => Turn::Caller,
            None => self.advance(until),
        }
    }

    fn advance(&mut self, until: Option<Instant>) -> Turn {
        let next = self
            .timers
            .first_key_value()
            .map(|((deadline, _), _)| *deadline);
        let Some(next) = next.filter(|next| until.is_none_or(|until| *next <= until)) else {
            self.now = self.now.max(until.unwrap_or(self.now));
            return Turn::Stop;
        };
        self.now = self.now.max(next);
        let mut due = Vec::new();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            due.push(entry.remove());
        }
        Turn::Fire(due)
    }
}
