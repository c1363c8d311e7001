//! Bytes through pipes: writing, travelling, reading, ending.

use super::{
    End, Happening, Network, NetworkError, RETRANSMIT_AFTER, RETRANSMIT_AT_LEAST_EVERY, Signal,
    pipe::{Cut, Segment},
};
use crate::fault::Fault;
use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;
use drywire::time::Instant;

/// The most that travels as one piece.
const LONGEST_PIECE: usize = 64 * 1024;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes were appended; there may be more.
    Bytes(usize),
    /// The peer has finished.
    End,
    /// Nothing now; [`Signal::Readable`] follows.
    Blocked,
}

impl Network {
    /// Writes some of `data` and returns how much; 0 if there is no room now, [`Signal::Writable`] follows then.
    ///
    /// # Errors
    /// As the operating system would say.
    pub fn write(&mut self, now: Instant, end: End, data: &[u8]) -> Result<usize, NetworkError> {
        self.now = self.now.max(now);
        let Some((state, out, _)) = self.parts(end) else {
            return Err(NetworkError::Closed);
        };
        if let Some(error) = state.error {
            return Err(error);
        }
        if out.shut {
            return Err(NetworkError::BrokenPipe);
        }
        let partial_writes = out.link.partial_writes;
        let mut room = out.room().min(data.len());
        if self.chance.happens(partial_writes) && room > 0 {
            self.faults.count(Fault::PartialWrite);
            room = self.chance.between(0, room as u64) as usize;
            if room == 0 {
                // There is room, so nobody else would tell.
                self.enter(Duration::from_millis(1), Happening::Room(end));
                return Ok(0);
            }
        }
        if room < data.len()
            && let Some((_, out, _)) = self.parts(end)
        {
            out.writer_waits = true;
        }
        let taken = data.get(..room).unwrap_or(data);
        for piece in taken.chunks(LONGEST_PIECE) {
            self.send(end, piece);
        }
        self.bytes += taken.len() as u64;
        Ok(taken.len())
    }

    /// Finishes writing; reading goes on.
    ///
    /// # Errors
    /// As the operating system would say.
    pub fn shutdown(&mut self, now: Instant, end: End) -> Result<(), NetworkError> {
        self.now = self.now.max(now);
        let Some((state, out, _)) = self.parts(end) else {
            return Err(NetworkError::Closed);
        };
        if let Some(error) = state.error {
            return Err(error);
        }
        if !core::mem::replace(&mut out.shut, true) {
            self.depart(end, Segment::End, Duration::ZERO);
        }
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
        let there = {
            let Some((state, _, input)) = self.parts(end) else {
                return Err(NetworkError::Closed);
            };
            if input.arrived_bytes == 0 {
                return match state.error {
                    Some(error) => Err(error),
                    None if input.ended => Ok(Read::End),
                    None => Ok(Read::Blocked),
                };
            }
            input.arrived_bytes.min(room)
        };
        if there == 0 {
            return Ok(Read::Blocked);
        }
        let pieces = self.parts(end).map(|(_, _, input)| input.link.pieces);
        let size = pieces.map_or(there, |pieces| pieces.next(there, &mut self.chance));
        if size < there {
            self.faults.count(Fault::PartialRead);
        }
        let Some((_, _, input)) = self.parts(end) else {
            return Err(NetworkError::Closed);
        };
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

    /// Drops an end. The peer sees the end after what was written; or a reset, if something was unread.
    pub fn close(&mut self, now: Instant, end: End) {
        self.now = self.now.max(now);
        let Some((state, out, input)) = self.parts(end) else {
            return;
        };
        if !core::mem::replace(&mut state.open, false) {
            return;
        }
        let unread = input.arrived_bytes > 0;
        input.forget();
        let (dead, shut) = (
            state.error.is_some(),
            core::mem::replace(&mut out.shut, true),
        );
        if !dead && unread {
            self.send_reset(end);
        } else if !dead && !shut {
            self.depart(end, Segment::End, Duration::ZERO);
        }
        self.collect(end);
    }

    /// Drops an end, and nobody is told.
    pub(super) fn vanish(&mut self, end: End) {
        if let Some((state, out, input)) = self.parts(end) {
            state.open = false;
            out.forget();
            input.forget();
        }
        self.collect(end);
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

    /// A piece is written: whatever may happen to it on its way is decided now.
    fn send(&mut self, end: End, piece: &[u8]) {
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        let (link, start, planned) = (out.link.clone(), out.written, out.cut);
        out.written += piece.len() as u64;
        if out.silenced {
            return;
        }
        let planned = planned.and_then(|(at, cut)| {
            let into = at.saturating_sub(start);
            (into <= piece.len() as u64).then_some((into as usize, cut))
        });
        let cut = planned.or_else(|| self.draw_cut(&link, piece.len()));
        let passes = cut.map_or(piece.len(), |(at, _)| at);
        if passes > 0 {
            let mut bytes = Vec::from(piece.get(..passes).unwrap_or(piece));
            if self.chance.happens(link.corruption) {
                self.faults.count(Fault::Corruption);
                let bit = self.chance.index(bytes.len().saturating_mul(8));
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            let late = self.draw_delays(end, &link);
            self.depart(end, Segment::Bytes(Bytes::from(bytes)), late);
        }
        match cut {
            None => {}
            Some((_, Cut::Reset)) => self.reset(self.now, end),
            Some((_, Cut::End)) => {
                self.faults.count(Fault::OneWayEnd);
                self.depart(end, Segment::End, Duration::ZERO);
                self.mute(end);
            }
            Some((_, Cut::Silence)) => {
                self.faults.count(Fault::Silence);
                self.mute(end);
            }
        }
    }

    fn mute(&mut self, end: End) {
        if let Some((_, out, _)) = self.parts(end) {
            out.silenced = true;
        }
    }

    fn draw_cut(&mut self, link: &super::Link, length: usize) -> Option<(usize, Cut)> {
        let cuts = [
            (link.resets, Cut::Reset),
            (link.one_way_ends, Cut::End),
            (link.silences, Cut::Silence),
        ];
        let (_, cut) = cuts
            .into_iter()
            .find(|(probability, _)| self.chance.happens(*probability))?;
        Some((self.chance.between(0, length as u64) as usize, cut))
    }

    /// Times a piece loses by being sent again, and by stalls.
    fn draw_delays(&mut self, end: End, link: &super::Link) -> Duration {
        let mut late = Duration::ZERO;
        let in_burst = self.parts(end).is_some_and(|(_, out, _)| out.in_burst);
        let lost = self.chance.happens(loss_now(link, in_burst));
        if let Some((_, out, _)) = self.parts(end) {
            out.in_burst = lost;
        }
        if lost {
            let mut after = RETRANSMIT_AFTER.max(link.latency * 2);
            for _ in 0..6 {
                self.faults.count(Fault::Retransmission);
                late += after;
                after *= 2;
                if !self.chance.happens(link.loss) {
                    break;
                }
            }
        }
        if self.chance.happens(link.stalls) {
            self.faults.count(Fault::Stall);
            late += self.chance.time(link.longest_stall);
        }
        late
    }

    /// A segment goes on its way.
    fn depart(&mut self, end: End, segment: Segment, late: Duration) {
        let now = self.now;
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        if out.silenced {
            return;
        }
        let length = match &segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::End => 0,
        };
        let link = out.link.clone();
        let (travel, spike) = link.travel(&mut self.chance);
        if spike {
            self.faults.count(Fault::Spike);
        }
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        out.line_free = out.line_free.max(now) + link.occupation(length);
        let arrival = (out.line_free + travel + late).max(out.last_arrival);
        out.last_arrival = arrival;
        out.flight.push_back((arrival, segment));
        out.flight_bytes += length;
        if !core::mem::replace(&mut out.scheduled, true) {
            self.agenda.enter(arrival, Happening::Arrival(end));
        }
    }

    /// The first segment that `end` has in flight is there, if the way is free.
    pub(super) fn arrival(&mut self, end: End) {
        let Some(pipe) = self.pipe(end) else {
            return;
        };
        let [dialer, listener] = pipe.ends.each_ref().map(|state| state.host);
        let (from, to) = if end.side == 0 {
            (dialer, listener)
        } else {
            (listener, dialer)
        };
        let now = self.now;
        if !self.passes(from, to) {
            self.retransmit(end);
            return;
        }
        let Some((reader, _, input)) = self.parts(end.other()) else {
            return;
        };
        input.scheduled = false;
        input.blocked_since = None;
        input.retries = 0;
        let (open, failed) = (reader.open, reader.error.is_some());
        let mut arrived = false;
        let mut ended = false;
        while let Some((at, _)) = input.flight.front()
            && *at <= now
            && let Some((_, segment)) = input.flight.pop_front()
        {
            arrived = true;
            match segment {
                Segment::Bytes(bytes) => {
                    input.flight_bytes -= bytes.len();
                    if open && !input.ended {
                        input.arrived_bytes += bytes.len();
                        input.arrived.push_back(bytes);
                    }
                }
                Segment::End => {
                    ended = true;
                    input.ended = true;
                }
            }
        }
        if let Some((at, _)) = input.flight.front() {
            input.scheduled = true;
            let at = *at;
            self.agenda.enter(at, Happening::Arrival(end));
        }
        if open && arrived {
            self.signal(to, Signal::Readable(end.other()));
        } else if arrived && !failed && !ended {
            // Nobody there has a pipe for these bytes.
            self.send_reset(end.other());
        }
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
            self.faults.count(Fault::PipeTimeout);
            self.fail(end, NetworkError::TimedOut);
            return;
        }
        out.retries += 1;
        let after = RETRANSMIT_AFTER
            .saturating_mul(1 << out.retries.min(4))
            .min(RETRANSMIT_AT_LEAST_EVERY);
        self.enter(after, Happening::Arrival(end));
    }

    /// This end tells the other one that it knows of no such pipe.
    fn send_reset(&mut self, end: End) {
        let Some((_, out, _)) = self.parts(end) else {
            return;
        };
        out.flight.clear();
        out.flight_bytes = 0;
        let latency = out.link.latency;
        self.enter(latency, Happening::Reset(end.other(), NetworkError::Reset));
    }

    /// An end learns that its pipe is broken.
    pub(super) fn fail(&mut self, end: End, error: NetworkError) {
        let Some((state, out, input)) = self.parts(end) else {
            return;
        };
        if !state.open || state.error.is_some() {
            return;
        }
        state.error = Some(error);
        let host = state.host;
        out.flight.clear();
        out.flight_bytes = 0;
        input.flight.clear();
        input.flight_bytes = 0;
        self.signal(host, Signal::Readable(end));
        self.signal(host, Signal::Writable(end));
    }

    pub(super) fn signal_writer(&mut self, end: End) {
        let Some((state, out, _)) = self.parts(end) else {
            return;
        };
        out.writer_waits = false;
        if state.open {
            let host = state.host;
            self.signal(host, Signal::Writable(end));
        }
    }

    /// Forgets a pipe that nobody holds.
    fn collect(&mut self, end: End) {
        let unused = self
            .pipe(end)
            .is_some_and(|pipe| pipe.ends.iter().all(|end| !end.open));
        if unused {
            self.pipes.remove(end.pipe as usize);
        }
    }
}

/// The probability of a loss, after a loss or not: losses come in bursts of a mean length, and are as rare as they should
/// be on the whole (the model of Gilbert and Elliott).
pub(super) fn loss_now(link: &super::Link, in_burst: bool) -> f64 {
    let burst = link.loss_burst.max(1.0);
    if link.loss <= 0.0 || link.loss >= 1.0 || burst <= 1.0 {
        return link.loss;
    }
    let stay = 1.0 - 1.0 / burst;
    if in_burst {
        stay
    } else {
        (link.loss * (1.0 - stay) / (1.0 - link.loss)).min(1.0)
    }
}
