//! One direction of a pipe: what was written, is on its way, and has arrived.

use super::link::Link;
use bytes::Bytes;
use drywire::time::Instant;
use std::collections::VecDeque;

/// What ends a direction at a place in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Both directions are reset.
    Reset,
    /// The reader sees the end; the other direction goes on.
    End,
    /// Nothing more comes, without a word.
    Silence,
}

/// What arrives.
#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Bytes),
    End,
}

#[derive(Debug)]
pub(super) struct Direction {
    pub(super) link: Link,
    /// On its way, with the time of arrival; in order.
    pub(super) flight: VecDeque<(Instant, Segment)>,
    pub(super) flight_bytes: usize,
    /// Arrived and not read.
    pub(super) arrived: VecDeque<Bytes>,
    pub(super) arrived_bytes: usize,
    /// The reader has been told of the end, or may be.
    pub(super) ended: bool,
    /// The writer has shut it down.
    pub(super) shut: bool,
    /// When the line is free for the next byte, and when the last segment arrives.
    pub(super) line_free: Instant,
    pub(super) last_arrival: Instant,
    /// An arrival is in the agenda.
    pub(super) scheduled: bool,
    /// The first in flight cannot pass now.
    pub(super) blocked_since: Option<Instant>,
    /// How often it was tried to be sent again.
    pub(super) retries: u32,
    /// A write was refused for want of room.
    pub(super) writer_waits: bool,
    /// Everything written from now on is lost without a word.
    pub(super) silenced: bool,
    /// Bytes written so far, and where to cut them.
    pub(super) written: u64,
    pub(super) cut: Option<(u64, Cut)>,
    /// The packet before was lost.
    pub(super) in_burst: bool,
}

impl Direction {
    pub(super) const fn new(link: Link, opens: Instant) -> Self {
        Self {
            link,
            flight: VecDeque::new(),
            flight_bytes: 0,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            ended: false,
            shut: false,
            line_free: opens,
            last_arrival: opens,
            scheduled: false,
            blocked_since: None,
            retries: 0,
            writer_waits: false,
            silenced: false,
            written: 0,
            cut: None,
            in_burst: false,
        }
    }

    /// Room for writing.
    pub(super) const fn room(&self) -> usize {
        let used = self.flight_bytes.saturating_add(self.arrived_bytes);
        self.link.buffer.saturating_sub(used)
    }

    /// Whether it makes sense to tell the writer: a quarter is free, as operating systems do.
    pub(super) const fn has_good_room(&self) -> bool {
        let quarter = self.link.buffer / 4;
        let least = if quarter == 0 { 1 } else { quarter };
        self.room() >= least
    }

    /// Nothing waits for the reader, now or later.
    pub(super) fn forget(&mut self) {
        self.flight.clear();
        self.arrived.clear();
        (self.flight_bytes, self.arrived_bytes) = (0, 0);
    }
}
