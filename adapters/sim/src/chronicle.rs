//! What a picture of a run shows.

use crate::{fault::Fault, network::HostId};
use drywire::time::Instant;

/// The most that is kept.
const KEPT: usize = 1_000_000;

/// Something to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// A host started.
    Up,
    /// A host went down.
    Down {
        /// Without a word to its peers.
        silently: bool,
    },
    /// A connection is up at this host.
    Connected {
        /// The host at its other end.
        peer: HostId,
        /// This host dialed.
        dialed: bool,
    },
    /// A connection that was up is gone.
    Disconnected {
        /// The host at its other end.
        peer: HostId,
        /// In good order: closed by either side, idle, or shut down.
        orderly: bool,
        /// Why, in words.
        why: String,
    },
    /// A dial failed.
    DialFailed {
        /// Why, in words.
        why: String,
    },
    /// A fault was injected here.
    Fault(Fault),
    /// A fault that lasts, here, is over.
    Healed(Fault),
    /// The application failed at something.
    Failed {
        /// At what, in words.
        what: String,
    },
    /// An invariant was violated here.
    Violation {
        /// Its name.
        invariant: &'static str,
    },
}

/// What happened where and when, in the order it did. Beyond a million entries the rest is counted only.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    entries: Vec<(Instant, Option<HostId>, Moment)>,
    dropped: u64,
}

impl Chronicle {
    pub(crate) fn note(&mut self, at: Instant, host: Option<HostId>, moment: Moment) {
        if self.entries.len() < KEPT {
            self.entries.push((at, host, moment));
        } else {
            self.dropped += 1;
        }
    }

    /// What happened: when, at which host (`None`: everywhere), and what.
    #[must_use]
    pub fn entries(&self) -> &[(Instant, Option<HostId>, Moment)] {
        &self.entries
    }

    /// What was not kept.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
