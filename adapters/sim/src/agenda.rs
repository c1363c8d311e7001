//! What is to happen, in the order of its time.

use crate::chance::Chance;
use core::cmp::Reverse;
use drywire::time::Instant;
use std::collections::BinaryHeap;

/// What is to happen. Of things at the same instant the one entered first comes first, or any if ties are permuted.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    entered: u64,
    ties: Option<Chance>,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    rank: u64,
    number: u64,
    what: T,
}

impl<T> Agenda<T> {
    /// An empty agenda. With `ties`, things of one instant come in an order drawn from there.
    pub(crate) const fn new(ties: Option<Chance>) -> Self {
        Self {
            entries: BinaryHeap::new(),
            entered: 0,
            ties,
        }
    }

    pub(crate) fn permute_ties(&mut self, ties: Option<Chance>) {
        self.ties = ties;
    }

    pub(crate) fn enter(&mut self, at: Instant, what: T) {
        self.entered += 1;
        let rank = self.ties.as_mut().map_or(0, Chance::number);
        self.entries.push(Reverse(Entry {
            at,
            rank,
            number: self.entered,
            what,
        }));
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes out the next thing if its time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        self.next().filter(|at| *at <= now)?;
        self.entries.pop().map(|Reverse(entry)| entry.what)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<T> Entry<T> {
    const fn key(&self) -> (Instant, u64, u64) {
        (self.at, self.rank, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire::seed::Seed;

    fn drain(agenda: &mut Agenda<u32>) -> Vec<u32> {
        core::iter::from_fn(|| agenda.pop_due(Instant::FAR_FUTURE)).collect()
    }

    #[test]
    fn things_come_in_the_order_of_time_then_of_entry_unless_ties_are_permuted() {
        let ties = Chance::new(&Seed::for_tests(1), "ties");
        for (ties, in_order) in [(None, true), (Some(ties), false)] {
            let mut agenda = Agenda::new(ties);
            for what in 0..20 {
                agenda.enter(Instant::from_nanos(5), what);
            }
            agenda.enter(Instant::from_nanos(4), 100);
            assert_eq!(agenda.pop_due(Instant::from_nanos(3)), None);
            let mut order = drain(&mut agenda);
            assert_eq!(order.first(), Some(&100));
            order.remove(0);
            assert_eq!(order.is_sorted(), in_order);
            order.sort_unstable();
            assert_eq!(order, (0..20).collect::<Vec<_>>());
        }
    }
}
