//! A promise that was broken.

use crate::network::HostId;
use core::fmt;
use drywire::time::Instant;

/// An invariant that did not hold: which, where, when, and what led to it.
///
/// Its `Display` is a report to read: what was violated, how to get there again, and the last lines of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
    /// Where, if it concerns one host.
    pub host: Option<HostId>,
    /// The name of that host; empty if there is none.
    pub name: String,
    /// When.
    pub at: Instant,
    /// After how many steps.
    pub step: u64,
    /// The world's seed.
    pub seed: u64,
    /// The last lines of the trace.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "    {line}")?;
        }
        write!(f, "{}", self.invariant)?;
        if self.host.is_some() {
            write!(f, " at {}", self.name)?;
        }
        write!(
            f,
            ": {} (seed {}, step {}, {:?})",
            self.message, self.seed, self.step, self.at
        )
    }
}

impl core::error::Error for Violation {}
