//! Tasks and timers, in virtual time.

use super::{Shared, lock};
use crate::{chance::Chance, network::HostId};
use core::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
};
use drywire::time::Instant;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, Weak},
    task::Wake,
};

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When a wake-up is due, and its number.
pub(super) type Key = (Instant, u64);

/// A spawned future. It is queued at most once at a time.
pub(crate) struct Task {
    shared: Weak<Shared>,
    number: u64,
    host: HostId,
    queued: AtomicBool,
    future: Mutex<Option<BoxFuture>>,
}

impl Task {
    /// The host it runs on.
    pub(crate) const fn host(&self) -> HostId {
        self.host
    }

    /// Polls the future once.
    pub(crate) fn run(self: Arc<Self>) {
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
            if let Some(shared) = self.shared.upgrade() {
                lock(&shared.executor).tasks.remove(&self.number);
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
            && let Some(shared) = self.shared.upgrade()
        {
            lock(&shared.executor).ready.push_back(Ready::Task(self));
        }
    }
}

/// The future that somebody outside waits for.
pub(crate) struct Caller {
    shared: Weak<Shared>,
    queued: AtomicBool,
    turn: AtomicBool,
}

impl Caller {
    /// Queued for its first turn.
    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let caller = Arc::new(Self {
            shared: Arc::downgrade(shared),
            queued: AtomicBool::new(false),
            turn: AtomicBool::new(false),
        });
        caller.clone().wake();
        caller
    }

    pub(crate) fn give_turn(&self) {
        self.turn.store(true, Ordering::Release);
    }

    /// Whether it is to be polled now.
    pub(crate) fn take_turn(&self) -> bool {
        let turn = self.turn.swap(false, Ordering::AcqRel);
        if turn {
            self.queued.store(false, Ordering::Release);
        }
        turn
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(shared) = self.shared.upgrade()
        {
            lock(&shared.executor).ready.push_back(Ready::Caller(self));
        }
    }
}

/// Who is to be polled.
pub(crate) enum Ready {
    Task(Arc<Task>),
    Caller(Arc<Caller>),
}

/// The tasks and timers of all hosts.
#[derive(Default)]
pub(crate) struct Executor {
    ready: VecDeque<Ready>,
    tasks: BTreeMap<u64, Arc<Task>>,
    timers: BTreeMap<Key, (HostId, Waker)>,
    number: u64,
    shuffle: Option<Chance>,
}

impl Executor {
    /// Lets tasks that can run do so in an order drawn from there, instead of that in which they were woken.
    pub(crate) fn shuffle(&mut self, chance: Option<Chance>) {
        self.shuffle = chance;
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes out who is to be polled next.
    pub(crate) fn pop_ready(&mut self) -> Option<Ready> {
        match &mut self.shuffle {
            Some(chance) if self.ready.len() > 1 => {
                let at = chance.index(self.ready.len());
                self.ready.remove(at)
            }
            _ => self.ready.pop_front(),
        }
    }

    /// Tasks alive, of one host or of all.
    pub(crate) fn alive(&self, of: Option<HostId>) -> usize {
        let counted = |task: &&Arc<Task>| of.is_none_or(|host| task.host == host);
        self.tasks.values().filter(counted).count()
    }

    /// When the next timer fires.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out a timer whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let entry = self.timers.first_entry()?;
        let (at, _) = *entry.key();
        (at <= now).then(|| entry.remove().1)
    }

    /// Takes out the timers of a host.
    pub(super) fn take_timers(&mut self, host: HostId) -> Vec<Waker> {
        let of = self.timers.extract_if(.., |_, (of, _)| *of == host);
        of.map(|(_, (_, waker))| waker).collect()
    }

    pub(super) fn wake_at(&mut self, at: Instant, host: HostId, waker: &Waker) -> Key {
        self.number += 1;
        let key = (at, self.number);
        self.timers.insert(key, (host, waker.clone()));
        key
    }

    /// Puts another waker in the place of one that has not fired. Returns whether there was one.
    pub(super) fn replace(&mut self, key: Key, waker: &Waker) -> bool {
        let Some((_, old)) = self.timers.get_mut(&key) else {
            return false;
        };
        old.clone_from(waker);
        true
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.timers.remove(&key);
    }

    /// Takes out the tasks of a host, or all, so that their futures can be dropped outside the lock.
    pub(super) fn take_tasks(&mut self, of: Option<HostId>) -> Vec<Arc<Task>> {
        let taken = |_: &u64, task: &mut Arc<Task>| of.is_none_or(|host| task.host == host);
        let tasks = self.tasks.extract_if(.., taken);
        tasks.map(|(_, task)| task).collect()
    }
}

/// Adds a task.
pub(super) fn spawn(shared: &Arc<Shared>, host: HostId, future: BoxFuture) {
    let mut executor = lock(&shared.executor);
    executor.number += 1;
    let number = executor.number;
    let task = Arc::new(Task {
        shared: Arc::downgrade(shared),
        number,
        host,
        queued: AtomicBool::new(true),
        future: Mutex::new(Some(future)),
    });
    executor.tasks.insert(number, task.clone());
    executor.ready.push_back(Ready::Task(task));
}
