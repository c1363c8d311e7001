//! Whether a socket may be read or written, without asking the operating system for what is known.
//!
//! The reactor watches a socket only when told to, once each time, and every time costs a system call. So a direction is
//! handed to it only when the socket has nothing more to give, and then left there, whichever task polls it and how often.
//! The reactor wakes a waker of this module's, which notes that it has fired before it wakes the task: nothing else tells
//! reliably, for the reactor takes an event for an old one if it was already waiting when the socket was handed to it.
//!
//! Nothing is missed: what is handed to the reactor is watched by level, so that what came before counts.

use core::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    task::Wake,
};

/// One direction of a socket.
#[derive(Debug)]
pub(crate) struct Readiness {
    /// Nothing says that there is nothing.
    ready: bool,
    /// With the reactor, which has not fired as far as this side knows.
    armed: bool,
    /// Made when the reactor is first needed: many sockets can always be written.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    watcher: Arc<Watcher>,
    /// The same, as the reactor knows it.
    waker: Waker,
}

/// What the reactor wakes.
#[derive(Debug, Default)]
struct Watcher {
    fired: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Watcher {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the look at the task: who registers one looks at this afterwards.
        self.fired.store(true, Ordering::Release);
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Watcher {
    fn register(&self, cx: &Context<'_>) {
        let before = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            let same = task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
            if same {
                None
            } else {
                task.replace(cx.waker().clone())
            }
        };
        // Without the lock: it may be all there is left of a task.
        drop(before);
    }
}

impl Watch {
    fn new() -> Self {
        let watcher: Arc<Watcher> = Arc::default();
        Self {
            waker: watcher.clone().into(),
            watcher,
        }
    }
}

impl Readiness {
    /// Ready until an attempt shows otherwise.
    pub(crate) const fn new() -> Self {
        Self {
            ready: true,
            armed: false,
            watch: None,
        }
    }

    /// An attempt has shown that there is nothing more, until the reactor says otherwise.
    pub(crate) const fn clear(&mut self) {
        self.ready = false;
    }

    /// Ready when it is worth trying; `arm` hands this direction to the reactor with the waker it is given. An error is
    /// the reactor's.
    pub(crate) fn poll(
        &mut self,
        cx: &Context<'_>,
        mut arm: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        let watch = self.watch.get_or_insert_with(Watch::new);
        watch.watcher.register(cx);
        if self.armed {
            if !watch.watcher.fired.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            self.armed = false;
            self.ready = true;
            return Poll::Ready(Ok(()));
        }
        let mut own = Context::from_waker(&watch.waker);
        // The first answer may be about the event that was noted above; it was acted on since.
        for _ in 0..2 {
            match arm(&mut own) {
                Poll::Pending => {
                    self.armed = true;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;

    /// A reactor that is told to watch by being given a waker, and how often it was.
    #[derive(Default)]
    struct Reactor {
        waker: Option<Waker>,
        /// It reports the last event once more.
        repeats: bool,
        watched: usize,
    }

    impl Reactor {
        fn arm(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
            if core::mem::take(&mut self.repeats) {
                return Poll::Ready(Ok(()));
            }
            self.waker = Some(cx.waker().clone());
            self.watched += 1;
            Poll::Pending
        }

        fn fire(&mut self) {
            self.waker.take().unwrap().wake();
            self.repeats = true;
        }
    }

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Fails if a direction is handed to the reactor more than once for one event, or not after it.
    #[test]
    fn the_reactor_is_asked_once_for_each_event() {
        let (mut reactor, mut readiness) = (Reactor::default(), Readiness::new());
        let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
        let wakers = tasks.clone().map(Waker::from);
        for event in 0..3 {
            let poll = |task: usize, reactor: &mut Reactor, readiness: &mut Readiness| {
                let cx = Context::from_waker(&wakers[task]);
                readiness.poll(&cx, |own| reactor.arm(own)).is_ready()
            };
            for _ in 0..2 {
                assert!(poll(0, &mut reactor, &mut readiness), "as long as it lasts");
            }
            readiness.clear();
            for _ in 0..2 {
                for task in [1, 0] {
                    assert!(!poll(task, &mut reactor, &mut readiness));
                }
            }
            assert_eq!(reactor.watched, event + 1);
            reactor.fire();
            let woken = tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed));
            assert_eq!(woken, [event + 1, 0], "the one that polled last");
        }
    }

    /// Fails if an event is lost that comes between two polls by different tasks.
    #[test]
    fn another_task_finds_what_its_predecessor_was_woken_for() {
        let (mut reactor, mut readiness) = (Reactor::default(), Readiness::new());
        let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
        let [first, second] = tasks.map(Waker::from);
        readiness.clear();
        let pending = readiness.poll(&Context::from_waker(&first), |own| reactor.arm(own));
        assert!(pending.is_pending());
        reactor.fire();
        let found = readiness.poll(&Context::from_waker(&second), |own| reactor.arm(own));
        assert!(matches!(found, Poll::Ready(Ok(()))));
        assert_eq!(reactor.watched, 1);
    }

    /// Fails if an error of the reactor's is forgotten, or taken for readiness without end.
    #[test]
    fn an_error_of_the_reactor_is_told_each_time() {
        let mut readiness = Readiness::new();
        readiness.clear();
        for _ in 0..2 {
            let error = || io::Error::from(io::ErrorKind::OutOfMemory);
            let told = readiness.poll(&Context::from_waker(Waker::noop()), |_| {
                Poll::Ready(Err(error()))
            });
            assert!(matches!(told, Poll::Ready(Err(_))));
        }
    }
}
