//! When a node looks itself up.

use crate::time::{Instant, earliest};
use core::time::Duration;

/// The timers of bootstrapping (rust-libp2p's rules, reference tests `bootstrap_status`): a periodic one, and one that runs
/// a while after the table got its first peers, set back by each further one. Neither fires while a bootstrap runs.
///
/// Beyond that: a bootstrap that leaves the table sparse is repeated a few times, after ever longer waits. Nodes that begin
/// together have nothing to tell each other yet.
#[derive(Clone, Debug)]
pub(super) struct BootstrapTimers {
    interval: Option<Duration>,
    throttle: Option<Duration>,
    periodic: Option<Instant>,
    automatic: Option<Instant>,
    /// The automatic one is wanted because the node began to listen somewhere: one that ran meanwhile may have been in vain.
    listens_anew: bool,
    running: u32,
    /// Bootstraps in a row that left the table sparse.
    sparse: u32,
}

/// How long after a bootstrap that left the table sparse the next one is tried, the first time; then twice as long.
const RETRY: Duration = Duration::from_secs(10);
/// How often that is done.
const MAX_RETRIES: u32 = 5;

impl BootstrapTimers {
    pub(super) fn new(
        interval: Option<Duration>,
        throttle: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            interval,
            throttle,
            periodic: interval.map(|interval| now.saturating_add(interval)),
            automatic: None,
            listens_anew: false,
            running: 0,
            sparse: 0,
        }
    }

    /// The node began to listen, and is connected to nobody.
    pub(super) fn listening(&mut self, now: Instant) {
        self.trigger(now);
        self.listens_anew = true;
    }

    /// A new peer came into a sparse table.
    pub(super) fn trigger(&mut self, now: Instant) {
        self.automatic = self.throttle.map(|throttle| now.saturating_add(throttle));
    }

    /// A bootstrap began, whoever wanted it.
    pub(super) fn started(&mut self, now: Instant) {
        self.running = self.running.saturating_add(1);
        self.reset(now);
    }

    /// There will be no more.
    pub(super) fn stop(&mut self) {
        *self = Self::new(None, None, Instant::ZERO);
    }

    /// One is given up.
    pub(super) const fn given_up(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// It is over, and has left the table sparse or not.
    pub(super) fn finished(&mut self, now: Instant, sparse: bool) {
        self.given_up();
        if !sparse {
            self.sparse = 0;
            if !self.listens_anew {
                // Whoever came in meanwhile came in by it, and needs no other one.
                self.automatic = None;
            }
            return;
        }
        let wanted = self.throttle.is_some() && self.automatic.is_none();
        if wanted && self.sparse < MAX_RETRIES {
            let wait = RETRY.saturating_mul(1_u32.checked_shl(self.sparse).unwrap_or(u32::MAX));
            self.automatic = Some(now.saturating_add(wait));
            self.sparse = self.sparse.saturating_add(1);
        }
    }

    /// There was nobody to ask.
    pub(super) fn reset(&mut self, now: Instant) {
        self.periodic = self.interval.map(|interval| now.saturating_add(interval));
        self.automatic = None;
        self.listens_anew = false;
    }

    /// Whether a bootstrap should begin.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next().is_some_and(|next| next <= now)
    }

    /// When one should.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.running > 0 {
            return None;
        }
        earliest(self.periodic, self.automatic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn the_automatic_one_comes_before_the_periodic_one() {
        let mut timers = BootstrapTimers::new(Some(MINUTE), Some(SECOND), at(0));
        timers.trigger(at(100));
        assert_eq!(timers.next(), Some(at(1100)));
        assert!(!timers.is_due(at(1099)) && timers.is_due(at(1100)));
    }

    #[test]
    fn without_a_throttle_it_is_at_once() {
        let mut timers = BootstrapTimers::new(None, Some(Duration::ZERO), at(0));
        assert_eq!(timers.next(), None);
        timers.trigger(at(7));
        assert!(timers.is_due(at(7)));
    }

    #[test]
    fn several_new_peers_set_it_back() {
        let mut timers = BootstrapTimers::new(Some(MINUTE), Some(SECOND), at(0));
        for millis in [0, 900, 1800] {
            timers.trigger(at(millis));
            assert!(!timers.is_due(at(millis + 999)));
        }
        assert!(timers.is_due(at(2800)));
    }

    #[test]
    fn without_new_peers_only_the_periodic_one_comes() {
        let timers = BootstrapTimers::new(Some(MINUTE), None, at(0));
        assert_eq!(timers.next(), Some(at(60_000)));
        let mut never = BootstrapTimers::new(Some(MINUTE), None, at(0));
        never.trigger(at(1));
        assert_eq!(never.next(), Some(at(60_000)));
    }

    #[test]
    fn one_that_runs_prevents_others_until_the_next_interval() {
        let mut timers = BootstrapTimers::new(Some(MINUTE), Some(SECOND), at(0));
        timers.trigger(at(0));
        timers.started(at(500));
        assert_eq!(timers.next(), None);
        timers.trigger(at(600));
        assert!(!timers.is_due(at(100_000)));
        // One that was wanted meanwhile is not forgotten, unless nothing is left to be wished for.
        let mut filled = timers.clone();
        filled.finished(at(700), false);
        assert_eq!(filled.next(), Some(at(60_500)));
        let mut elsewhere = timers.clone();
        elsewhere.listening(at(650));
        elsewhere.finished(at(700), false);
        assert_eq!(elsewhere.next(), Some(at(1650)));
        timers.finished(at(700), true);
        assert_eq!(timers.next(), Some(at(1600)));
        let mut quiet = BootstrapTimers::new(Some(MINUTE), Some(SECOND), at(0));
        quiet.started(at(500));
        quiet.finished(at(700), false);
        assert_eq!(quiet.next(), Some(at(60_500)));
    }

    #[test]
    fn several_that_run_prevent_others_until_the_last_is_over() {
        let mut timers = BootstrapTimers::new(Some(MINUTE), None, at(0));
        timers.started(at(0));
        timers.started(at(0));
        timers.finished(at(700), false);
        assert_eq!(timers.next(), None);
        timers.finished(at(700), false);
        assert_eq!(timers.next(), Some(at(60_000)));
    }

    #[test]
    fn one_that_leaves_the_table_sparse_is_repeated_a_few_times() {
        let mut timers = BootstrapTimers::new(None, Some(SECOND), at(0));
        let mut now = at(0);
        for wait in [10, 20, 40, 80, 160] {
            timers.started(now);
            timers.finished(now, true);
            assert_eq!(timers.next(), Some(now + SECOND * wait));
            now = now + SECOND * wait;
        }
        timers.started(now);
        timers.finished(now, true);
        assert_eq!(timers.next(), None);
        // One that finds enough forgets that.
        timers.finished(now, false);
        timers.finished(now, true);
        assert_eq!(timers.next(), Some(now + SECOND * 10));
        // Who wants none by itself gets none.
        let mut never = BootstrapTimers::new(None, None, at(0));
        never.started(at(0));
        never.finished(at(0), true);
        assert_eq!(never.next(), None);
    }

    #[test]
    fn with_nobody_to_ask_the_timers_begin_anew() {
        let mut timers = BootstrapTimers::new(Some(MINUTE), Some(SECOND), at(0));
        timers.trigger(at(0));
        timers.reset(at(1000));
        assert_eq!(timers.next(), Some(at(61_000)));
    }
}
