//! Async code in the world: hosts for it, and waiting for it.

use super::World;
use crate::{
    chance::Chance,
    error::WorldError,
    network::HostId,
    runtime::{Caller, Deed, Ready, SimRuntime},
    trace::kind,
    violation::Violation,
};
use core::{
    fmt,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The longest that [`World::block_on`] waits.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Polls of tasks at one instant, before they are said never to rest.
const MAX_POLLS: u32 = 1_000_000;

/// Why something was waited for in vain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stopped {
    /// No task can run, no timer is armed, and nothing else will ever happen: a lost wake-up, or a deadlock.
    Stalled,
    /// The world went on for a day of its time.
    TooLong,
    /// What was waited for did not happen in time; what happened instead.
    Missing(String),
    /// An invariant did not hold.
    Violation(Box<Violation>),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("no task can run, and nothing else will ever happen"),
            Self::TooLong => f.write_str("the future is not ready after a day of virtual time"),
            Self::Missing(instead) => f.write_str(instead),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl core::error::Error for Stopped {}

impl From<Box<Violation>> for Stopped {
    fn from(violation: Box<Violation>) -> Self {
        Self::Violation(violation)
    }
}

impl World {
    /// Adds a host with an address of its own, for async code.
    ///
    /// # Errors
    /// [`WorldError`] says what is wrong with it; nothing was added.
    pub fn add_runtime(&mut self, name: impl Into<String>) -> Result<SimRuntime, WorldError> {
        let host = self.add_bare(name, Vec::new(), None)?;
        self.runtime(host)
    }

    /// The runtime of a host: tasks and sockets on it. After a crash it is dead; a host that runs again has a new one.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::HostDown`].
    pub fn runtime(&self, host: impl Into<HostId>) -> Result<SimRuntime, WorldError> {
        let host = host.into();
        let runtime = SimRuntime::new(&self.shared, host).ok_or(WorldError::UnknownHost(host))?;
        if self.shared.network().is_up(host) {
            Ok(runtime)
        } else {
            Err(WorldError::HostDown(host))
        }
    }

    /// Runs the world until `future` completes: its hosts, its tasks, and the future itself, which belongs to no host.
    ///
    /// # Errors
    /// [`Stopped`] if that can never happen, or takes more than a day of the world's time.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Stopped> {
        let mut future = pin!(future);
        let caller = Caller::new(&self.shared);
        let waker = Waker::from(caller.clone());
        let mut cx = Context::from_waker(&waker);
        let end = self.now + LONGEST_WAIT;
        loop {
            if caller.take_turn()
                && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
            {
                self.note_deeds();
                return Ok(output);
            }
            if self.next_step().is_none() {
                return Err(Stopped::Stalled);
            }
            match self.step_until(end) {
                Ok(true) => {}
                Ok(false) => return Err(Stopped::TooLong),
                Err(violation) => return Err(Stopped::Violation(violation)),
            }
        }
    }

    /// Tasks alive: spawned and not completed.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.executor().alive(None)
    }

    /// Tasks alive on a host.
    #[must_use]
    pub fn tasks_of(&self, host: impl Into<HostId>) -> usize {
        self.shared.executor().alive(Some(host.into()))
    }

    /// Tasks that can run at one instant do so in an order drawn from the seed, instead of that in which they were woken.
    pub fn shuffle_tasks(&mut self, shuffle: bool) {
        let chance = shuffle.then(|| Chance::new(&self.seed, "tasks"));
        self.shared.executor().shuffle(chance);
    }

    /// Polls the task whose turn it is. Returns whether there was one.
    pub(super) fn run_task(&mut self) -> bool {
        let ready = self.shared.executor().pop_ready();
        let host = match &ready {
            None => return false,
            Some(Ready::Caller(_)) => None,
            Some(Ready::Task(task)) => Some(task.host()),
        };
        self.polled = if self.polled.0 == self.now {
            (self.now, self.polled.1 + 1)
        } else {
            (self.now, 1)
        };
        if self.polled.1 > MAX_POLLS && self.violation.is_none() {
            self.fail(host, "I5 each turn ends", "tasks never rest".into());
            return true;
        }
        let (task, host) = match ready {
            Some(Ready::Task(task)) => (task.clone(), task.host()),
            Some(Ready::Caller(caller)) => {
                caller.give_turn();
                return true;
            }
            None => return false,
        };
        self.trace.hash(self.now, host.0, kind::TASK, &[]);
        task.run();
        self.note_deeds();
        true
    }

    /// Notes what tasks have read and written.
    fn note_deeds(&mut self) {
        let (now, trace, hosts) = (self.now, &mut self.trace, &self.hosts);
        self.shared.take_deeds(|host, deed, bytes| {
            let kind = match deed {
                Deed::Read => kind::READ,
                Deed::Write => kind::WRITE,
                Deed::Lost => kind::LOST,
            };
            trace.hash(now, host.0, kind, bytes);
            trace.note(now, || {
                let host = hosts.get(host.number());
                let name = host.map_or("", |host| host.name.as_str());
                format!("{name} task {deed:?}: {} bytes", bytes.len())
            });
        });
    }
}
