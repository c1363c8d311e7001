//! Counts of what happened in a world.

use crate::fault::FaultCounts;
use core::fmt;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Times, for their percentiles. Kept in microseconds with three digits, up to an hour.
#[derive(Clone)]
pub struct Latencies {
    /// `None` until the first time: most of a histogram's memory is taken at once.
    histogram: Option<Histogram<u32>>,
}

impl Latencies {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { histogram: None }
    }

    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let histogram = match &mut self.histogram {
            Some(histogram) => histogram,
            // The bounds are constants that fit.
            empty => match Histogram::new_with_max(3_600_000_000, 3) {
                Ok(new) => empty.insert(new),
                Err(_) => return,
            },
        };
        histogram.saturating_record(micros);
    }

    /// The time below which this share (0 to 1) of them are; zero if there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let value = self
            .histogram
            .as_ref()
            .map_or(0, |all| all.value_at_quantile(share));
        Duration::from_micros(value)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.histogram, &other.histogram) {
            // Both have the same bounds.
            (Some(own), Some(more)) => {
                let _ = own.add(more);
            }
            (own @ None, Some(more)) => *own = Some(more.clone()),
            (_, None) => {}
        }
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .finish()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// What happened in a world so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Things that happened: arrivals, deadlines, scripted actions.
    pub steps: u64,
    /// Dials the hosts' users began.
    pub dials: u64,
    /// Those of them that led to a connection.
    pub dials_succeeded: u64,
    /// Those of them that failed.
    pub dials_failed: u64,
    /// Handshakes done: each makes two ends.
    pub handshakes: u64,
    /// From asking for a socket to being admitted, at the dialer.
    pub handshake_latencies: Latencies,
    /// Accepted connections that ended before they were up.
    pub incoming_failed: u64,
    /// Accepted sockets that were refused at once.
    pub refused: u64,
    /// Ends of connections that were up and are gone.
    pub closed: u64,
    /// Streams that peers opened and applications got.
    pub streams: u64,
    /// Events of protocols.
    pub protocol_events: u64,
    /// Bytes written to pipes.
    pub bytes: u64,
    /// Faults met.
    pub faults: FaultCounts,
    /// How connections, dials and streams ended: names of the errors, and how often.
    pub errors: BTreeMap<String, u64>,
}

impl Statistics {
    /// Counts an error by the name of its variant, and that of the reason inside, if there is one.
    pub(crate) fn error(&mut self, of: &str, error: &impl fmt::Debug) {
        let text = format!("{error:?}");
        let name = text
            .split(['"', '[', ' '])
            .next()
            .unwrap_or_default()
            .trim_end_matches(['(', ')', '{']);
        let open = name.matches('(').count();
        let name = format!("{name}{:)<open$}", "");
        *self.errors.entry(format!("{of} {name}")).or_default() += 1;
    }
}
