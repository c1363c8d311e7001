//! What happened to each host, in the pixels it is drawn with.

use crate::{chronicle::Moment, fault::Fault};
use core::time::Duration;
use drywire::time::Instant;
use std::collections::BTreeMap;

/// Kinds of marks, in the order of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Handshake,
    Crash,
    PowerLoss,
    Anew,
    Fault,
    DialFailed,
    Lost,
    Failed,
    Violation,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Handshake,
        Self::Crash,
        Self::PowerLoss,
        Self::Anew,
        Self::Fault,
        Self::DialFailed,
        Self::Lost,
        Self::Failed,
        Self::Violation,
    ];

    /// For the legend.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake done",
            Self::Crash => "process crash",
            Self::PowerLoss => "power loss",
            Self::Anew => "back with another key",
            Self::Fault => "other fault",
            Self::DialFailed => "dial failed",
            Self::Lost => "connection lost",
            Self::Failed => "application failed",
            Self::Violation => "invariant violated",
        }
    }

    pub(super) const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::DialFailed | Self::Lost | Self::Failed | Self::Violation
        )
    }

    /// What is to be marked, and its words.
    pub(super) fn of(moment: &Moment) -> Option<(Self, String)> {
        Some(match moment {
            Moment::Connected { dialed: true, .. } => (Self::Handshake, String::new()),
            Moment::Down { silently: false } => (Self::Crash, "process crash".into()),
            Moment::Down { silently: true } => (Self::PowerLoss, "power loss".into()),
            Moment::Fault(Fault::RestartAnew) => (Self::Anew, "back with another key".into()),
            // Those show as the host goes down or comes up.
            Moment::Fault(Fault::Crash | Fault::PowerLoss | Fault::Restart) => return None,
            Moment::Fault(fault) => (Self::Fault, fault.name().into()),
            Moment::DialFailed { why } => (Self::DialFailed, format!("dial failed: {why}")),
            Moment::Disconnected {
                peer,
                orderly: false,
                why,
            } => (Self::Lost, format!("connection to {peer} lost: {why}")),
            Moment::Failed { what } => (Self::Failed, what.clone()),
            Moment::Violation { invariant } => (Self::Violation, format!("violated: {invariant}")),
            _ => return None,
        })
    }
}

/// Marks of one kind so close together that they are drawn as one.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) at: Instant,
    pub(super) count: u64,
    /// Of the first.
    pub(super) words: String,
}

/// What a host was for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not there yet.
    Absent,
    /// Up, with so many connections.
    Up(u32),
    Down {
        silently: bool,
    },
}

/// From here on it was this.
pub(super) type Span = (f64, State);

/// From time to pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) begin: Instant,
    pub(super) end: Instant,
    pub(super) left: f64,
    pub(super) width: f64,
}

impl Scale {
    pub(super) fn x(&self, at: Instant) -> f64 {
        let all = (self.end - self.begin).as_secs_f64();
        let passed = (at.clamp(self.begin, self.end) - self.begin).as_secs_f64();
        self.left + self.width * passed / all
    }

    /// The time that so many pixels stand for.
    pub(super) fn time(&self, pixels: f64) -> Duration {
        let all = (self.end - self.begin).as_secs_f64();
        Duration::try_from_secs_f64(all * pixels / self.width).unwrap_or_default()
    }
}

/// What happened to one host.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it was, in order; each until the next.
    pub(super) spans: Vec<Span>,
    pub(super) marks: BTreeMap<(Kind, i64), Mark>,
    /// How often each kind happened.
    pub(super) counts: BTreeMap<Kind, u64>,
    state: State,
}

impl Row {
    pub(super) fn new(left: f64) -> Self {
        Self {
            spans: vec![(left, State::Absent)],
            marks: BTreeMap::new(),
            counts: BTreeMap::new(),
            state: State::Absent,
        }
    }

    pub(super) const fn connections(&self) -> u32 {
        match self.state {
            State::Up(count) => count,
            _ => 0,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Something happened at this place. Marks within `merge` pixels are one.
    pub(super) fn note(&mut self, x: f64, at: Instant, moment: &Moment, merge: f64) {
        self.state = match (moment, self.state) {
            (Moment::Up, _) => State::Up(0),
            (Moment::Down { silently }, _) => State::Down {
                silently: *silently,
            },
            (Moment::Connected { .. }, State::Up(count)) => State::Up(count + 1),
            (Moment::Disconnected { .. }, State::Up(count)) => State::Up(count.saturating_sub(1)),
            (_, state) => state,
        };
        self.span(x);
        let Some((kind, words)) = Kind::of(moment) else {
            return;
        };
        *self.counts.entry(kind).or_default() += 1;
        let place = (x / merge).floor() as i64;
        let mark = self.marks.entry((kind, place)).or_insert_with(|| Mark {
            x,
            at,
            count: 0,
            words,
        });
        mark.count += 1;
    }

    fn span(&mut self, x: f64) {
        let Some((since, state)) = self.spans.last_mut() else {
            return;
        };
        if *state == self.state {
            return;
        }
        // What lasted for less than a pixel is not to be seen.
        if x - *since < 1.0 {
            *state = self.state;
        } else {
            self.spans.push((x, self.state));
        }
    }
}
