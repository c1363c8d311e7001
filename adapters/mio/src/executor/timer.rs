//! Deadlines of tasks.

use super::{Shared, lock};
use core::{
    fmt,
    sync::atomic::Ordering,
    task::{Context, Poll},
};
use drywire::time::Instant;
use drywire_engine::Timer;
use std::sync::Arc;

/// A deadline of a task.
pub struct MioTimer {
    shared: Arc<Shared>,
    number: u64,
    armed: Option<Instant>,
    /// Where its waker is.
    waiting: Option<Instant>,
}

impl MioTimer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let number = shared.timers_made.fetch_add(1, Ordering::Relaxed);
        Self {
            shared,
            number,
            armed: None,
            waiting: None,
        }
    }

    fn stop_waiting(&mut self) {
        if let Some(at) = self.waiting.take() {
            let waker = lock(&self.shared.timers).remove(&(at, self.number));
            // Without the lock: it may be all there is left of a task.
            drop(waker);
        }
    }
}

impl Timer for MioTimer {
    fn arm(&mut self, deadline: Instant) {
        self.stop_waiting();
        self.armed = Some(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.armed else {
            return Poll::Pending;
        };
        if drywire_system::now() >= deadline {
            self.stop_waiting();
            self.armed = None;
            return Poll::Ready(());
        }
        let key = (deadline, self.number);
        self.waiting = Some(deadline);
        let before = {
            let mut timers = lock(&self.shared.timers);
            let same = timers
                .get(&key)
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if same {
                None
            } else {
                timers.insert(key, cx.waker().clone())
            }
        };
        drop(before);
        // Set from another thread, it may be earlier than what the executor sleeps for.
        self.shared.alarm();
        Poll::Pending
    }
}

impl Drop for MioTimer {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl fmt::Debug for MioTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MioTimer")
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}
