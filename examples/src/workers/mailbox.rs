//! A bounded channel whose reader sleeps in a poller.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use mio::Waker;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Nothing here can be left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue with a number. Whoever sends never waits: where it could be full there is somewhere to leave things.
pub(super) struct Mailbox<T> {
    queue: Mutex<VecDeque<T>>,
    capacity: usize,
    /// The most that ever waited.
    most: AtomicUsize,
    /// A sender has something left to send.
    wanted: AtomicBool,
    waker: Arc<Waker>,
}

impl<T> Mailbox<T> {
    pub(super) fn new(capacity: usize, waker: Arc<Waker>) -> Self {
        Self {
            queue: Mutex::default(),
            capacity,
            most: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            waker,
        }
    }

    /// Puts something in and wakes the reader; gives it back if there is no room.
    pub(super) fn send(&self, item: T) -> Result<(), T> {
        let mut queue = lock(&self.queue);
        if queue.len() >= self.capacity {
            return Err(item);
        }
        let was_empty = queue.is_empty();
        queue.push_back(item);
        self.most.fetch_max(queue.len(), Ordering::Relaxed);
        drop(queue);
        // The reader takes all there is: it was woken for what is there already.
        if was_empty {
            self.wake();
        }
        Ok(())
    }

    /// For how many there is room. With one sender, it does not get less by itself.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(lock(&self.queue).len())
    }

    /// The sender has something left: it is to be woken when there is room. Whether there is already.
    pub(super) fn wait_for_room(&self) -> bool {
        self.wanted.store(true, Ordering::SeqCst);
        self.room() > 0
    }

    /// Takes everything into `items`, which is empty; whether the sender is to be woken.
    pub(super) fn take(&self, items: &mut VecDeque<T>) -> bool {
        core::mem::swap(&mut *lock(&self.queue), items);
        self.wanted.swap(false, Ordering::SeqCst)
    }

    /// Wakes the reader.
    pub(super) fn wake(&self) {
        // It fails only if the poller is gone, and then nobody reads any more.
        let _ = self.waker.wake();
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }
}
