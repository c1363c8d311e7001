//! Letting time pass.

use super::{CHECK_AT_LEAST_EVERY, Job, MAX_CHECKS, MAX_WAKES, World};
use crate::trace::kind;
use crate::violation::Violation;
use core::{task::Waker, time::Duration};
use drywire::time::{Instant, earliest};

impl World {
    /// Does the next thing that is to happen, and lets the time pass until then. Returns whether there was one.
    ///
    /// # Errors
    /// The first [`Violation`] of an invariant; the world goes no further.
    pub fn step(&mut self) -> Result<bool, Box<Violation>> {
        self.step_until(Instant::FAR_FUTURE)
    }

    /// Lets time pass, and everything happen in it.
    ///
    /// # Errors
    /// The first [`Violation`] of an invariant; the world goes no further.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Box<Violation>> {
        let end = self.now + time;
        while self.step_until(end)? {}
        self.advance(end);
        Ok(())
    }

    /// Lets time pass until something is the case, at most so long. Returns whether it is.
    ///
    /// # Errors
    /// The first [`Violation`] of an invariant; the world goes no further.
    pub fn run_until(
        &mut self,
        longest: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<bool, Box<Violation>> {
        let end = self.now + longest;
        loop {
            if done(self) {
                return Ok(true);
            }
            if !self.step_until(end)? {
                self.advance(end);
                return Ok(done(self));
            }
        }
    }

    /// When the next thing happens; `None` if nothing ever will.
    #[must_use]
    pub fn next_step(&self) -> Option<Instant> {
        let executor = self.shared.executor();
        if executor.has_ready() {
            return Some(self.now);
        }
        let tasks = executor.next();
        drop(executor);
        let network = self.shared.network().poll_timeout();
        earliest(earliest(network, tasks), self.agenda.next())
    }

    pub(super) fn step_until(&mut self, end: Instant) -> Result<bool, Box<Violation>> {
        self.verdict()?;
        let next = self.next_step().filter(|next| *next <= end);
        self.check_all(next.unwrap_or(end));
        self.verdict()?;
        let Some(next) = next else {
            return Ok(false);
        };
        self.advance(next);
        self.statistics.steps += 1;
        // The network first: what has arrived is there before a deadline of the same instant.
        if !self.pass_signal()
            && !self.run_task()
            && !self.network_step()
            && !self.fire_timer()
            && let Some(job) = self.agenda.pop_due(self.now)
        {
            self.job(job);
        }
        self.check_invariants();
        self.verdict().map(|()| true)
    }

    /// The first violation, if there is one.
    pub(super) fn verdict(&self) -> Result<(), Box<Violation>> {
        match &self.violation {
            Some(violation) => Err(Box::new(violation.clone())),
            None => Ok(()),
        }
    }

    /// Whether this is a step after which everything is checked.
    pub(super) const fn is_check_due(&self) -> bool {
        self.check_every != 0 && self.statistics.steps.is_multiple_of(self.check_every)
    }

    /// Checks hosts that have no turn, for what should have happened to them: every second until then, but not for ever.
    fn check_all(&mut self, until: Instant) {
        for _ in 0..MAX_CHECKS {
            if self.check_every != 1 || self.next_check > until || self.violation.is_some() {
                return;
            }
            self.advance(self.next_check);
            self.next_check = self.now + CHECK_AT_LEAST_EVERY;
            for host in self.hosts() {
                self.turn(host, |_, _| ());
            }
        }
        self.next_check = until;
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        self.shared.set_now(self.now);
    }

    /// Tells a host what the network has for it. Returns whether there was something.
    fn pass_signal(&mut self) -> bool {
        let signal = self.shared.network().poll_signal();
        let Some((host, signal)) = signal else {
            return false;
        };
        self.shared.signal(signal);
        self.turn(host, |machine, outside| machine.signal(signal, outside));
        true
    }

    /// Lets the next thing happen on the network, and tells the first host concerned. Returns whether there was one.
    fn network_step(&mut self) -> bool {
        let happened = self.shared.network().handle_timeout(self.now);
        happened && {
            self.pass_signal();
            true
        }
    }

    /// Wakes the task whose timer is due. Returns whether there was one.
    fn fire_timer(&self) -> bool {
        let due = self.shared.executor().pop_due(self.now);
        due.map(Waker::wake).is_some()
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Script(script) => script(self),
            Job::Wake(host, at) => {
                let now = self.now;
                let Some(state) = self.hosts.get_mut(host.number()) else {
                    return;
                };
                state.wakes.remove(&at);
                if state.armed != Some(at) {
                    return;
                }
                state.armed = None;
                state.woken = if state.woken.0 == now {
                    (now, state.woken.1 + 1)
                } else {
                    (now, 1)
                };
                let loops = state.woken.1 > MAX_WAKES;
                self.trace.hash(now, host.0, kind::WAKE, &[]);
                self.turn(host, |machine, outside| {
                    if loops {
                        let message = "its deadline stays after it was met".into();
                        outside.violation("I6 no deadline without delay", message);
                    }
                    machine.wake(outside);
                });
            }
        }
    }
}
