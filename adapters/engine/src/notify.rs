//! Waking a driver without losing or repeating a wake-up.

use core::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
};
use std::sync::{Mutex, PoisonError, TryLockError};

/// Locks, whether or not another holder panicked: every value kept under these locks is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, if nobody holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<std::sync::MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Keeps the task's waker in place of another one; that one, to be dropped without a lock held, for it may be all there is
/// left of its task.
pub(crate) fn replace_waker(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    let same = slot
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()));
    if same {
        None
    } else {
        slot.replace(cx.waker().clone())
    }
}

/// A flag that wakes the task watching it.
///
/// The rule that makes it lossless: the watcher calls [`take`](Self::take) *before* it looks at the shared state, the
/// others change the state *before* they call [`notify`](Self::notify). The flag keeps a burst of notifications at one
/// wake-up. Never notify while holding a lock the watcher takes.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    notified: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Notify {
    /// Registers the watcher and clears the flag; whether it is the task that was registered before.
    pub(crate) fn take(&self, cx: &Context<'_>) -> bool {
        let same = {
            let mut waker = lock(&self.waker);
            let same = waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if !same {
                *waker = Some(cx.waker().clone());
            }
            same
        };
        // Ordered after the registration and before the look at the state: a notification from now on wakes again.
        self.notified.swap(false, Ordering::AcqRel);
        same
    }

    /// The same for a watcher that only wants to know whether it was notified.
    pub(crate) fn take_notified(&self, cx: &Context<'_>) -> bool {
        *lock(&self.waker) = Some(cx.waker().clone());
        self.notified.swap(false, Ordering::AcqRel)
    }

    /// Tells everybody that the watcher will look anyway, because it has just woken itself.
    pub(crate) fn mark(&self) {
        self.notified.store(true, Ordering::Release);
    }

    /// Wakes the watcher unless it was told already and has not looked since.
    pub(crate) fn notify(&self) {
        // Seeing the flag set means that the watcher has yet to clear it, and to look after that: the look takes a lock
        // this thread has just released, so an older flag cannot be what is seen here.
        if self.notified.load(Ordering::Relaxed) || self.notified.swap(true, Ordering::AcqRel) {
            return;
        }
        self.wake();
    }

    /// The same for those who have changed something under no lock that the watcher takes: here only the exchange orders
    /// their change before the watcher's look.
    pub(crate) fn notify_unlocked(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        let waker = lock(&self.waker).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
