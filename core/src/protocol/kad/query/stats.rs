//! What queries did.

use crate::time::Instant;
use core::time::Duration;

/// Requests that a query made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    pub(in super::super) requests: u32,
    pub(in super::super) successes: u32,
    pub(in super::super) failures: u32,
    pub(in super::super) start: Option<Instant>,
    pub(in super::super) end: Option<Instant>,
}

impl QueryStats {
    /// How many there were.
    #[must_use]
    pub const fn num_requests(&self) -> u32 {
        self.requests
    }

    /// How many were answered.
    #[must_use]
    pub const fn num_successes(&self) -> u32 {
        self.successes
    }

    /// How many failed.
    #[must_use]
    pub const fn num_failures(&self) -> u32 {
        self.failures
    }

    /// How many have had no outcome.
    #[must_use]
    pub const fn num_pending(&self) -> u32 {
        let had = self.successes.saturating_add(self.failures);
        self.requests.saturating_sub(had)
    }

    /// From its beginning to its end, or to the event this came with. `None` if it has not begun.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        Some(self.end? - self.start?)
    }

    /// Both together: the sums, from the first beginning to the last end.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let start = match (self.start, other.start) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            requests: self.requests.saturating_add(other.requests),
            successes: self.successes.saturating_add(other.successes),
            failures: self.failures.saturating_add(other.failures),
            start,
            end: self.end.max(other.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_statistics_are_those_of_both() {
        let at = |nanos| Some(Instant::from_nanos(nanos));
        let one = QueryStats {
            requests: 5,
            successes: 3,
            failures: 1,
            start: at(10),
            end: at(20),
        };
        let other = QueryStats {
            requests: 2,
            successes: 2,
            failures: 0,
            start: at(20),
            end: at(50),
        };
        for both in [one.merge(other), other.merge(one)] {
            assert_eq!(both.num_requests(), 7);
            assert_eq!(both.num_pending(), 1);
            assert_eq!(both.duration(), Some(Duration::from_nanos(40)));
        }
        assert_eq!(QueryStats::default().merge(one), one);
        assert_eq!(QueryStats::default().duration(), None);
    }
}
