//! Bytes through pipes: writing, travelling, reading, ending.

use super::{
    End, Happening, Network, NetworkError, RETRANSMIT_AFTER, RETRANSMIT_AT_LEAST_EVERY, Signal,
    pipe::Segment,
};
use crate::fault::Fault;
use bytes::{Buf, BytesMut};
use core::time::Duration;
use drywire::time::Instant;

/// The most that travels as one piece.
const LONGEST_PIECE: usize = 64 * 1024;
/// After a write that took less than there was room for, how soon the writer is told to go on.
const WRITABLE_AGAIN: Duration = Duration::from_millis(1);

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes were appended; there may be more, and no signal tells of those.
    Bytes(usize),
    /// The peer has finished.
    End,
    /// Nothing now; [`Signal::Readable`] follows.
    Blocked,
}

impl Network {
    /// Writes some of `data` and returns how much. After anything less than all of it, [`Signal::Writable`] follows once
    /// there is room.
    ///
    /// # Errors
    /// As the operating system would say.
    pub fn write(&mut self, now: Instant, end: End, data: &[u8]) -> Result<usize, NetworkError> {
        self.now = self.now.max(now);
        let now = self.now;
        let Some((pipe, faults)) = self.pipe_and_faults(end) else {
            return Err(NetworkError::Closed);
        };
        let (state, out, _) = pipe.parts(end.side);
        state.check()?;
        if out.shut {
            return Err(NetworkError::BrokenPipe);
        }
        let granted = out.grant(data.len(), faults);
        let taken = data.get(..granted.unwrap_or(0)).unwrap_or(data);
        for piece in taken.chunks(LONGEST_PIECE) {
            out.send(now, piece, faults);
        }
        let less = taken.len() < data.len();
        out.writer_waits |= less;
        let has_room = out.room() > 0;
        self.bytes += taken.len() as u64;
        if less && has_room {
            // No read need make room, so nobody else would tell.
            self.enter(WRITABLE_AGAIN, Happening::Room(end));
        }
        self.schedule(end);
        Ok(taken.len())
    }

    /// Finishes writing; reading goes on.
    ///
    /// # Errors
    /// As the operating system would say.
    pub fn shutdown(&mut self, now: Instant, end: End) -> Result<(), NetworkError> {
        self.now = self.now.max(now);
        let now = self.now;
        let Some((pipe, faults)) = self.pipe_and_faults(end) else {
            return Err(NetworkError::Closed);
        };
        let (state, out, _) = pipe.parts(end.side);
        state.check()?;
        if !core::mem::replace(&mut out.shut, true) {
            out.send_mark(now, Segment::End, faults);
        }
        self.schedule(end);
        Ok(())
    }

    /// Appends what has arrived to `into`, at most `room` bytes.
    ///
    /// # Errors
    /// As the operating system would say. What had arrived before comes first.
    pub fn read(
        &mut self,
        now: Instant,
        end: End,
        room: usize,
        into: &mut BytesMut,
    ) -> Result<Read, NetworkError> {
        self.now = self.now.max(now);
        let Some((pipe, faults)) = self.pipe_and_faults(end) else {
            return Err(NetworkError::Closed);
        };
        let (state, _, input) = pipe.parts(end.side);
        if input.arrived_bytes == 0 {
            state.check()?;
            return Ok(if input.ended {
                Read::End
            } else {
                Read::Blocked
            });
        }
        if room == 0 {
            return Ok(Read::Bytes(0));
        }
        let size = input.next_piece(room, faults);
        let mut left = size;
        while left > 0
            && let Some(front) = input.arrived.front_mut()
        {
            let take = left.min(front.len());
            into.extend_from_slice(front.get(..take).unwrap_or(front));
            front.advance(take);
            left -= take;
            if front.is_empty() {
                input.arrived.pop_front();
            }
        }
        input.arrived_bytes -= size;
        if input.writer_waits && input.has_good_room() {
            self.signal_writer(end.other());
        }
        Ok(Read::Bytes(size))
    }

    /// Whether reading finds something: bytes, the end, or an error.
    #[must_use]
    pub fn is_readable(&self, end: End) -> bool {
        self.pipe(end).is_none_or(|pipe| {
            let state = pipe.ends.get(usize::from(end.side));
            let input = pipe.directions.get(usize::from(end.other().side));
            state.is_none_or(|state| state.check().is_err())
                || input.is_none_or(|input| input.arrived_bytes > 0 || input.ended)
        })
    }

    /// Drops an end. The peer sees the end after what was written; or a reset, if something was unread.
    pub fn close(&mut self, now: Instant, end: End) {
        self.now = self.now.max(now);
        let now = self.now;
        let Some((pipe, faults)) = self.pipe_and_faults(end) else {
            return;
        };
        let (state, out, input) = pipe.parts(end.side);
        if !core::mem::replace(&mut state.open, false) {
            return;
        }
        let unread = input.arrived_bytes > 0;
        input.drop_arrived();
        let shut = core::mem::replace(&mut out.shut, true);
        if state.error.is_some() {
            // Nobody is told by a socket that is broken.
        } else if unread {
            self.answer_with_reset(end);
        } else if !shut {
            out.send_mark(now, Segment::End, faults);
        }
        self.schedule(end);
        self.collect(end);
    }

    /// Drops an end, whose peer sees a reset.
    pub(super) fn abort(&mut self, end: End) {
        if self.forget_end(end) {
            self.answer_with_reset(end);
        }
        self.collect(end);
    }

    /// Drops an end, and nobody is told: what is on its way from there is lost.
    pub(super) fn vanish(&mut self, end: End) {
        let now = self.now;
        if self.forget_end(end)
            && let Some((pipe, faults)) = self.pipe_and_faults(end)
        {
            let (_, out, input) = pipe.parts(end.side);
            out.drop_flight();
            if input.writer_waits && input.flight.is_empty() {
                // Whoever waits for room asks in time, and hears nothing or that there is no such pipe.
                input.send_mark(now, Segment::Probe, faults);
            }
            self.schedule(end.other());
        }
        self.collect(end);
    }

    /// Returns whether it was open.
    fn forget_end(&mut self, end: End) -> bool {
        let Some(pipe) = self.pipe_mut(end) else {
            return false;
        };
        let (state, out, input) = pipe.parts(end.side);
        state.forgotten = true;
        out.shut = true;
        input.drop_arrived();
        core::mem::replace(&mut state.open, false)
    }

    /// Resets a pipe now, both ends, as a box on the way may.
    pub fn reset(&mut self, now: Instant, end: End) {
        self.now = self.now.max(now);
        self.faults.count(Fault::Reset);
        self.fail(end, NetworkError::Reset);
        self.fail(end.other(), NetworkError::Reset);
    }

    /// From now on nothing gets through in either direction, without a word.
    pub fn silence(&mut self, end: End) {
        self.faults.count(Fault::Silence);
        if let Some(pipe) = self.pipe_mut(end) {
            pipe.directions
                .iter_mut()
                .for_each(|direction| direction.silenced = true);
        }
    }

    /// Enters what is to happen to what `end` has written.
    pub(super) fn schedule(&mut self, end: End) {
        let timeout = self.pipe_timeout;
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        let gives_up = out.unanswered && !core::mem::replace(&mut out.doomed, out.unanswered);
        if let Some((at, _)) = out.flight.front()
            && !core::mem::replace(&mut out.scheduled, true)
        {
            let at = *at;
            self.agenda.enter(at, Happening::Arrival(end));
        }
        if gives_up {
            self.enter(timeout, Happening::GiveUp(end));
        }
    }

    /// The first segment that `end` has in flight is there, if the way is free.
    pub(super) fn arrival(&mut self, end: End) {
        if !self.reaches_peer(end) {
            self.retransmit(end);
            return;
        }
        let now = self.now;
        let Some((reader, _, input)) = self.parts(end.other()) else {
            return;
        };
        input.scheduled = false;
        input.blocked_since = None;
        input.retries = 0;
        let (host, usable) = (reader.host, reader.check().is_ok());
        // A socket that was closed in good order takes the peer's end, and nothing else.
        let takes_end = usable || !(reader.forgotten || reader.error.is_some());
        let (mut told, mut strange, mut reset) = (false, false, false);
        while let Some((at, _)) = input.flight.front()
            && *at <= now
            && let Some((_, segment)) = input.flight.pop_front()
        {
            match segment {
                Segment::Bytes(bytes) => {
                    input.flight_bytes -= bytes.len();
                    if usable {
                        input.arrived_bytes += bytes.len();
                        input.arrived.push_back(bytes);
                    }
                    told |= usable;
                    strange |= !usable;
                }
                Segment::End => {
                    input.ended = true;
                    told |= usable;
                    strange |= !takes_end;
                }
                Segment::Reset => reset = true,
                Segment::Probe => strange |= !usable,
            }
        }
        if told {
            self.signal(host, Signal::Readable(end.other()));
        }
        if reset {
            self.answer_with_reset(end.other());
            self.fail(end.other(), NetworkError::Reset);
        } else if strange {
            self.answer_with_reset(end.other());
        }
        self.schedule(end);
        self.collect(end);
    }

    /// Nothing gets through: try again, or give up.
    fn retransmit(&mut self, end: End) {
        let (now, timeout) = (self.now, self.pipe_timeout);
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        let since = *out.blocked_since.get_or_insert(now);
        if now - since >= timeout {
            out.scheduled = false;
            out.drop_flight();
            self.give_up(end);
            return;
        }
        out.retries += 1;
        let after = RETRANSMIT_AFTER
            .saturating_mul(1 << out.retries.min(4))
            .min(RETRANSMIT_AT_LEAST_EVERY);
        self.enter(after, Happening::Arrival(end));
    }

    /// Nothing was heard for too long.
    pub(super) fn give_up(&mut self, end: End) {
        let waits = |pipe: &super::Pipe| {
            let state = pipe.ends.get(usize::from(end.side));
            state.is_some_and(|state| state.check().is_ok())
        };
        if self.pipe(end).is_some_and(waits) {
            self.faults.count(Fault::PipeTimeout);
            self.fail(end, NetworkError::TimedOut);
        }
    }

    /// This end tells the other one that it knows of no such pipe, or none any more. What it had written is not sent.
    fn answer_with_reset(&mut self, end: End) {
        let timeout = self.pipe_timeout;
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        out.drop_flight();
        if out.silenced {
            self.enter(timeout, Happening::GiveUp(end.other()));
            return;
        }
        let latency = out.link.latency;
        let reset = Happening::Reset {
            end: end.other(),
            sent: self.now,
        };
        self.enter(latency, reset);
    }

    /// A reset reaches this end, if the way is free; else whatever this end sends is answered by another.
    pub(super) fn reset_arrives(&mut self, end: End, sent: Instant) {
        if self.reaches_peer(end.other()) {
            self.fail(end, NetworkError::Reset);
        } else if self.now - sent >= self.pipe_timeout {
            self.give_up(end);
        } else if self.pipe(end).is_some() {
            let again = Happening::Reset { end, sent };
            self.enter(RETRANSMIT_AT_LEAST_EVERY, again);
        }
    }

    /// Whether what `end` sends gets to the other end's machine now.
    pub(super) fn reaches_peer(&self, end: End) -> bool {
        self.way_of(end)
            .is_some_and(|(from, to)| self.passes(from, to))
    }

    /// An end learns that its pipe is broken.
    fn fail(&mut self, end: End, error: NetworkError) {
        let Some((state, out, _)) = self.parts(end) else {
            return;
        };
        if state.check().is_err() {
            return;
        }
        state.error = Some(error);
        let host = state.host;
        out.drop_flight();
        out.writer_waits = false;
        self.signal(host, Signal::Readable(end));
        self.signal(host, Signal::Writable(end));
    }

    /// There may be room again.
    pub(super) fn signal_writer(&mut self, end: End) {
        let Some((state, out, _)) = self.parts(end) else {
            return;
        };
        if core::mem::replace(&mut out.writer_waits, false) && state.open {
            let host = state.host;
            self.signal(host, Signal::Writable(end));
        }
    }

    /// Forgets a pipe that nobody holds.
    pub(super) fn collect(&mut self, end: End) {
        let unused = self
            .pipe(end)
            .is_some_and(|pipe| pipe.ends.iter().all(|end| !end.open));
        if unused {
            self.pipes.remove(end.pipe as usize);
        }
    }
}
