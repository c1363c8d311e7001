//! The socket of one connection, as its host keeps it.

use super::outside::Outside;
use crate::network::End;
use drywire::time::Instant;

pub(super) struct Pipe {
    pub(super) end: End,
    /// To be written, from `written` on.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    /// Shut the pipe down when all is written.
    pub(super) shutdown: bool,
    /// The network has no room now.
    pub(super) blocked: bool,
    /// The connection does not take what has arrived.
    pub(super) paused: bool,
    /// Its end was seen: nothing more is to be read.
    pub(super) ended: bool,
    pub(super) since: Instant,
    pub(super) phase: PipePhase,
    /// Since when the other end is known to be gone.
    dead_since: Option<Instant>,
}

/// How far a connection is, as its host knows from events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipePhase {
    Handshake,
    Up,
    Closing(Instant),
}

impl Pipe {
    pub(super) const fn new(end: End, since: Instant) -> Self {
        Self {
            end,
            out: Vec::new(),
            written: 0,
            shutdown: false,
            blocked: false,
            paused: false,
            ended: false,
            since,
            phase: PipePhase::Handshake,
            dead_since: None,
        }
    }

    /// What should have happened by now, and has not.
    pub(super) fn overdue(&mut self, outside: &Outside<'_>) -> Option<(&'static str, String)> {
        let (now, patience) = (outside.now, outside.patience);
        match self.phase {
            PipePhase::Handshake if now - self.since > patience.handshake => {
                let message = format!("in its handshake since {:?}", self.since);
                return Some(("I16 handshakes end in time", message));
            }
            PipePhase::Closing(since) if now - since > patience.closing => {
                let message = format!("closing since {since:?}");
                return Some(("I7 the end is quiet", message));
            }
            _ => {}
        }
        if outside.network.is_whole(self.end) {
            self.dead_since = None;
            return None;
        }
        let since = *self.dead_since.get_or_insert(now);
        if patience.half_open.is_some_and(|limit| now - since > limit) {
            let message = format!("its other end is gone since {since:?}");
            return Some(("I47 no stuck half-open", message));
        }
        None
    }
}
