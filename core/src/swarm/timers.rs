//! Deadlines, at most one for each key.

use super::dial::{AttemptId, DialId};
use crate::{swarm::ResolveId, time::Instant};
use alloc::collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut};
use core::cmp::Reverse;

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

/// Deadlines of a machine, at most one for each key. What [`Protocol::poll_timeout`](super::Protocol::poll_timeout) and
/// [`Input::Timeout`](super::Input::Timeout) need.
///
/// ```
/// use core::time::Duration;
/// use drywire::{swarm::Timers, time::Instant};
///
/// let mut timers = Timers::default();
/// let start = Instant::ZERO;
/// timers.set("late", start + Duration::from_secs(2));
/// timers.set("soon", start + Duration::from_secs(1));
/// timers.set("late", start + Duration::from_secs(3));
/// assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
/// assert_eq!(timers.pop_due(start + Duration::from_secs(2)), Some("soon"));
/// assert_eq!(timers.pop_due(start + Duration::from_secs(2)), None);
/// ```
///
/// Most deadlines are put off again and again and never come. Putting one off changes one number: it stays where it is queued
/// until it is the first there.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Deadline>,
    /// Each key at the time it is queued at, and what is left of those that were cleared, or queued again at an earlier time.
    /// The first is always a key at its deadline.
    queue: BinaryHeap<Reverse<(Instant, K)>>,
}

/// When a key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline {
    at: Instant,
    /// Where it is in the queue: no later.
    queued: Instant,
}

impl<K: Ord> Timers<K> {
    /// No deadlines.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            by_key: BTreeMap::new(),
            queue: BinaryHeap::new(),
        }
    }
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Up to so many are few.
const LEFT_OVER: usize = 8;

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of `key`, in place of the one it had. One at [`Instant::FAR_FUTURE`] never comes: it is none, even
    /// when that is the time.
    pub fn set(&mut self, key: K, at: Instant) {
        if at == Instant::FAR_FUTURE {
            return self.clear(key);
        }
        let new = Deadline { at, queued: at };
        let Some(deadline) = self.by_key.get_mut(&key) else {
            self.by_key.insert(key, new);
            self.queue.push(Reverse((at, key)));
            return self.limit();
        };
        if deadline.queued <= at {
            deadline.at = at;
            self.changed(key);
        } else {
            *deadline = new;
            self.queue.push(Reverse((at, key)));
            self.limit();
        }
    }

    /// Takes the deadline of `key` away.
    pub fn clear(&mut self, key: K) {
        if self.by_key.remove(&key).is_some() {
            self.changed(key);
            self.limit();
        }
    }

    /// A key is due later than it was, or not at all: sees to it that what is first in the queue is due first.
    fn changed(&mut self, key: K) {
        if self
            .queue
            .peek()
            .is_none_or(|Reverse((_, first))| *first != key)
        {
            return;
        }
        while let Some(mut first) = self.queue.peek_mut() {
            let Reverse((queued, key)) = *first;
            match self.by_key.get_mut(&key) {
                Some(deadline) if deadline.queued == queued => {
                    if deadline.at == queued {
                        break;
                    }
                    deadline.queued = deadline.at;
                    *first = Reverse((deadline.at, key));
                }
                _ => {
                    PeekMut::pop(first);
                }
            }
        }
    }

    /// Sees to it that not too much is left over in the queue, nor memory for more than there was for long.
    fn limit(&mut self) {
        let room = self.by_key.len().saturating_add(LEFT_OVER);
        let is_crowded = self.queue.len() > room.saturating_mul(2);
        if !is_crowded && self.queue.capacity() <= room.saturating_mul(8) {
            return;
        }
        let mut anew = core::mem::take(&mut self.queue).into_vec();
        anew.clear();
        anew.shrink_to(room.saturating_mul(4));
        anew.extend(self.by_key.iter_mut().map(|(key, deadline)| {
            deadline.queued = deadline.at;
            Reverse((deadline.at, *key))
        }));
        self.queue = anew.into();
    }

    /// Sets the deadline, or takes it away.
    pub fn set_or_clear(&mut self, key: K, at: Option<Instant>) {
        match at {
            Some(at) => self.set(key, at),
            None => self.clear(key),
        }
    }

    /// The deadline of `key`.
    #[must_use]
    pub fn get(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).map(|deadline| deadline.at)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out one key whose deadline has come: the earliest, and of several the lowest key.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let Reverse((at, key)) = *self.queue.peek()?;
        if at > now {
            return None;
        }
        self.clear(key);
        Some(key)
    }

    /// How many deadlines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is no deadline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    /// Fails if such a deadline is kept: who sets it anew when it comes never gets out again, for there is no later time.
    #[test]
    fn at_the_end_of_time_nothing_is_due_again() {
        let mut timers = Timers::new();
        timers.set(1, Instant::ZERO);
        let mut fired = 0;
        while let Some(key) = timers.pop_due(Instant::FAR_FUTURE).filter(|_| fired < 10) {
            fired += 1;
            timers.set(key, Instant::FAR_FUTURE + Duration::from_secs(1));
        }
        assert_eq!((fired, timers.next(), timers.get(1)), (1, None, None));
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_list(operations in prop::collection::vec((0u64..8, 0u64..50, 0u8..3), 0..300)) {
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
                let room = timers.len() + LEFT_OVER;
                prop_assert!(timers.queue.len() <= 2 * room && timers.queue.capacity() <= 8 * room);
                for key in 0..8 {
                    let at = model.iter().find(|(_, timer)| *timer == Timer::Job(key));
                    prop_assert_eq!(timers.get(Timer::Job(key)), at.map(|(at, _)| *at));
                }
            }
        }
    }
    use std::vec::Vec;
}
