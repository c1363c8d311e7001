//! Where tasks run.

use core::{fmt, future::Future};
use smol::Executor;
use std::sync::{Arc, Weak};

/// An executor: it runs the tasks of hosts.
///
/// ```
/// use drywire_smol::{AsyncIoRuntime, Spawn};
/// use std::future::Future;
///
/// /// The executor of a program that has one for as long as it runs.
/// #[derive(Clone)]
/// struct Everywhere;
///
/// static EXECUTOR: smol::Executor<'static> = smol::Executor::new();
///
/// impl Spawn for Everywhere {
///     fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
///         EXECUTOR.spawn(task).detach();
///     }
/// }
///
/// let runtime = AsyncIoRuntime::new(Everywhere);
/// # let _ = runtime;
/// ```
pub trait Spawn: Clone + Send + Sync + 'static {
    /// Runs `task` in the background until it completes.
    ///
    /// An executor that will never run it drops it, at the latest when the executor itself is dropped; then what the task
    /// was for ends.
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// smol's own executor, as of [`smol::spawn`]: one thread in the background, or as many as the environment variable
/// `SMOL_THREADS` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalExecutor;

impl Spawn for GlobalExecutor {
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        smol::spawn(task).detach();
    }
}

/// An executor of the caller's, who runs it and keeps it: with the last [`Arc`] go the tasks of its hosts, and their
/// sockets.
#[derive(Clone)]
pub struct OwnExecutor {
    // The tasks hold this, and the executor the tasks: strong, neither would ever end.
    executor: Weak<Executor<'static>>,
}

impl OwnExecutor {
    /// Runs tasks on `executor`, for as long as there is one.
    #[must_use]
    pub fn new(executor: &Arc<Executor<'static>>) -> Self {
        Self {
            executor: Arc::downgrade(executor),
        }
    }
}

impl Spawn for OwnExecutor {
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

impl fmt::Debug for OwnExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnExecutor")
    }
}
