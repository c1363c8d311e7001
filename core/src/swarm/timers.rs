//! The swarm's own deadlines: at most one for each key.

use super::dial::{AttemptId, DialId};
use crate::{swarm::ResolveId, time::Instant};
use alloc::collections::{BTreeMap, BTreeSet};

/// What a deadline is for. Deadlines of the same instant fire in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next address of a dial job is due.
    Job(u64),
    /// An attempt has taken too long.
    Attempt(AttemptId),
    /// A name lookup has taken too long.
    Lookup(ResolveId),
    /// A caller gives up.
    Caller(DialId),
    /// Accepting may go on after the process ran out of descriptors.
    Accept,
    /// Something in the address book expires.
    AddressBook,
    /// Accept rates are forgotten.
    Rates,
    /// A failed address is forgotten.
    Backoff,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    by_key: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Sets the deadline of `timer`, replacing the one it had.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(old) = self.by_key.insert(timer, at) {
            self.by_time.remove(&(old, timer));
        }
        self.by_time.insert((at, timer));
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(old) = self.by_key.remove(&timer) {
            self.by_time.remove(&(old, timer));
        }
    }

    /// Sets the deadline, or clears it.
    pub(super) fn set_or_clear(&mut self, timer: Timer, at: Option<Instant>) {
        match at {
            Some(at) => self.set(timer, at),
            None => self.clear(timer),
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one timer whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&timer);
        Some(timer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_sorted_list(operations in prop::collection::vec((0u64..8, 0u64..50, 0u8..3), 0..100)) {
            let mut timers = Timers::default();
            let mut model: Vec<(Instant, Timer)> = Vec::new();
            for (key, at, what) in operations {
                let (timer, at) = (Timer::Job(key), Instant::from_nanos(at));
                match what {
                    0 => {
                        timers.set(timer, at);
                        model.retain(|(_, other)| *other != timer);
                        model.push((at, timer));
                    }
                    1 => {
                        timers.clear(timer);
                        model.retain(|(_, other)| *other != timer);
                    }
                    _ => {
                        let due = timers.pop_due(at);
                        model.sort();
                        let expected = model.first().copied().filter(|(time, _)| *time <= at);
                        prop_assert_eq!(due, expected.map(|(_, timer)| timer));
                        if expected.is_some() {
                            model.remove(0);
                        }
                    }
                }
                model.sort();
                prop_assert_eq!(timers.next(), model.first().map(|(at, _)| *at));
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
    use std::vec::Vec;
}
