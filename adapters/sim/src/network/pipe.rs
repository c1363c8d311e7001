//! One direction of a pipe: what was written, is on its way, and has arrived; and what is drawn for it.

use super::{Link, RETRANSMIT_AFTER};
use crate::{
    chance::Chance,
    fault::{Fault, FaultCounts},
};
use bytes::Bytes;
use core::time::Duration;
use drywire::time::Instant;
use std::{collections::VecDeque, sync::Arc};

/// What ends a direction at a place in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Both directions are reset, once the bytes before have arrived.
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
    /// Something on the way has reset the pipe.
    Reset,
    /// The writer asks whether anybody is there.
    Probe,
}

#[derive(Debug)]
pub(super) struct Direction {
    pub(super) link: Arc<Link>,
    /// Its own, so that what happens on one pipe does not shift what happens on another.
    chance: Chance,
    /// On its way, with the time of arrival; in order.
    pub(super) flight: VecDeque<(Instant, Segment)>,
    pub(super) flight_bytes: usize,
    /// Arrived and not read.
    pub(super) arrived: VecDeque<Bytes>,
    pub(super) arrived_bytes: usize,
    /// Written into silence: no one acknowledges them, so they take up room for ever.
    lost_bytes: usize,
    /// Something was written into silence.
    pub(super) unanswered: bool,
    /// The writer gives up at a time that is in the agenda.
    pub(super) doomed: bool,
    /// The reader has been told of the end, or may be.
    pub(super) ended: bool,
    /// The writer has shut it down.
    pub(super) shut: bool,
    /// When the line is free for the next byte, and when the last segment arrives.
    line_free: Instant,
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
    cut: Option<(u64, Cut)>,
    /// The packet before was lost.
    in_burst: bool,
}

impl Direction {
    /// Nothing arrives before the pipe `opens` at the reader.
    pub(super) const fn new(
        link: Arc<Link>,
        chance: Chance,
        cut: Option<(u64, Cut)>,
        opens: Instant,
    ) -> Self {
        Self {
            link,
            chance,
            flight: VecDeque::new(),
            flight_bytes: 0,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            lost_bytes: 0,
            unanswered: false,
            doomed: false,
            ended: false,
            shut: false,
            line_free: Instant::ZERO,
            last_arrival: opens,
            scheduled: false,
            blocked_since: None,
            retries: 0,
            writer_waits: false,
            silenced: false,
            written: 0,
            cut,
            in_burst: false,
        }
    }

    /// Room for writing.
    pub(super) fn room(&self) -> usize {
        let used = self.flight_bytes + self.arrived_bytes + self.lost_bytes;
        self.link.buffer.saturating_sub(used)
    }

    /// Whether it makes sense to tell the writer: a quarter is free, as operating systems do.
    pub(super) fn has_good_room(&self) -> bool {
        self.room() >= (self.link.buffer / 4).max(1)
    }

    /// How much of `wanted` a write takes. `None`: there was room, and yet nothing is taken now.
    pub(super) fn grant(&mut self, wanted: usize, faults: &mut FaultCounts) -> Option<usize> {
        let room = self.room().min(wanted);
        if room == 0 || !self.chance.happens(self.link.partial_writes) {
            return Some(room);
        }
        faults.count(Fault::PartialWrite);
        let part = self.chance.between(0, room as u64) as usize;
        (part > 0).then_some(part)
    }

    /// How much the next read returns of what has arrived, at least 1 byte.
    pub(super) fn next_piece(&mut self, room: usize, faults: &mut FaultCounts) -> usize {
        let there = self.arrived_bytes.min(room);
        let size = self.link.pieces.next(there, &mut self.chance);
        if size < there {
            faults.count(Fault::PartialRead);
        }
        size
    }

    /// Something is sent that is no byte of the stream.
    pub(super) fn send_mark(&mut self, now: Instant, mark: Segment, faults: &mut FaultCounts) {
        self.depart(now, mark, Duration::ZERO, faults);
    }

    /// A piece is written: whatever may happen to it on its way is decided now.
    pub(super) fn send(&mut self, now: Instant, piece: &[u8], faults: &mut FaultCounts) {
        let start = self.written;
        self.written += piece.len() as u64;
        let planned = self.cut.and_then(|(at, cut)| {
            let into = at.saturating_sub(start);
            (into <= piece.len() as u64).then_some((into as usize, cut))
        });
        let cut = match planned {
            _ if self.silenced => Some((0, Cut::Silence)),
            Some(planned) => Some(planned),
            None => self.draw_cut(piece.len()),
        };
        let passes = cut.map_or(piece.len(), |(at, _)| at);
        if passes > 0 {
            let bytes = self.travelling(piece.get(..passes).unwrap_or(piece), faults);
            let late = self.draw_delays(faults);
            self.depart(now, Segment::Bytes(bytes), late, faults);
        }
        if let Some((_, cut)) = cut {
            self.cut_here(now, cut, faults);
            self.lost_bytes += piece.len() - passes;
            self.unanswered |= passes < piece.len();
        }
    }

    /// Carries out a planned cut for which nothing need be written.
    pub(super) fn cut_at_once(&mut self, now: Instant, faults: &mut FaultCounts) {
        if let Some((0, cut)) = self.cut {
            self.cut_here(now, cut, faults);
        }
    }

    fn cut_here(&mut self, now: Instant, cut: Cut, faults: &mut FaultCounts) {
        if self.silenced {
            return;
        }
        match cut {
            Cut::Reset => {
                faults.count(Fault::Reset);
                self.depart(now, Segment::Reset, Duration::ZERO, faults);
            }
            Cut::End => {
                faults.count(Fault::OneWayEnd);
                self.depart(now, Segment::End, Duration::ZERO, faults);
            }
            Cut::Silence => faults.count(Fault::Silence),
        }
        self.silenced = true;
    }

    fn draw_cut(&mut self, length: usize) -> Option<(usize, Cut)> {
        let cuts = [
            (self.link.resets, Cut::Reset),
            (self.link.one_way_ends, Cut::End),
            (self.link.silences, Cut::Silence),
        ];
        let (_, cut) = cuts
            .into_iter()
            .find(|(probability, _)| self.chance.happens(*probability))?;
        Some((self.chance.between(0, length as u64) as usize, cut))
    }

    fn travelling(&mut self, piece: &[u8], faults: &mut FaultCounts) -> Bytes {
        if !self.chance.happens(self.link.corruption) {
            return Bytes::copy_from_slice(piece);
        }
        faults.count(Fault::Corruption);
        let mut bytes = piece.to_vec();
        self.chance.flip_bit(&mut bytes);
        bytes.into()
    }

    /// Times a piece loses by being sent again, and by stalls.
    fn draw_delays(&mut self, faults: &mut FaultCounts) -> Duration {
        let mut late = Duration::ZERO;
        self.in_burst = self.chance.happens(self.link.loss_now(self.in_burst));
        if self.in_burst {
            let mut after = RETRANSMIT_AFTER.max(self.link.latency * 2);
            for _ in 0..6 {
                faults.count(Fault::Retransmission);
                late += after;
                after *= 2;
                if !self.chance.happens(self.link.loss) {
                    break;
                }
            }
        }
        if self.chance.happens(self.link.stalls) {
            faults.count(Fault::Stall);
            late += self.chance.time(self.link.longest_stall);
        }
        late
    }

    /// A segment goes on its way.
    fn depart(&mut self, now: Instant, segment: Segment, late: Duration, faults: &mut FaultCounts) {
        if self.silenced {
            self.unanswered = true;
            return;
        }
        let length = match &segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::End | Segment::Reset | Segment::Probe => 0,
        };
        let (travel, spike) = self.link.travel(&mut self.chance);
        if spike {
            faults.count(Fault::Spike);
        }
        self.line_free = self.line_free.max(now) + self.link.occupation(length);
        let arrival = (self.line_free + travel + late).max(self.last_arrival);
        self.last_arrival = arrival;
        self.flight.push_back((arrival, segment));
        self.flight_bytes += length;
    }

    /// What is on its way never arrives.
    pub(super) fn drop_flight(&mut self) {
        self.flight.clear();
        self.flight_bytes = 0;
    }

    /// Nobody reads what has arrived.
    pub(super) fn drop_arrived(&mut self) {
        self.arrived.clear();
        self.arrived_bytes = 0;
    }
}
