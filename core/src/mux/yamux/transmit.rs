//! From queues to frames, as late as possible.

use super::{
    INITIAL_WINDOW, MAX_SENT_PAYLOAD, PONGS,
    frame::{Flags, Header, Kind},
    session::{GoAway, Session},
    stream::{Metering, SendState, StreamState},
};
use crate::{buffer::SendMemory, time::Instant};
use alloc::{collections::VecDeque, vec::Vec};
use smallvec::SmallVec;

/// Resets that may wait to be sent beyond one for each stream that may be open.
pub(super) const MAX_RESETS: usize = 256;
/// A data frame shorter than this is not begun at the end of a message, unless it is all there is.
const WORTHWHILE: usize = 512;
/// What a stream may send in its turn, in bytes: one full frame.
const TURN: u16 = 16 * 1024;

/// What sending has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SentNotice {
    /// The queue of the stream that asked for it is at most half full.
    Space(usize),
    /// FIN went out.
    Finished(usize),
}

/// Everything that waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) go_away: Option<GoAway>,
    pub(super) pongs: SmallVec<[u32; PONGS]>,
    /// Resets of streams already forgotten. What a peer provokes of them counts as waste, and at [`MAX_RESETS`] beyond the
    /// streams there may be, the session ends: the peer does not read.
    pub(super) resets: VecDeque<(u32, u32)>,
    /// Streams with a grant or an ACK to send.
    pub(super) control: VecDeque<usize>,
    /// Streams with data to send, by priority, the highest first.
    lanes: SmallVec<[Lane; 1]>,
    pub(super) listed: usize,
    /// Bytes in all send queues, in those of metered streams, and in those of streams that are left aside.
    pub(super) queued: usize,
    pub(super) metered: usize,
    pub(super) aside: usize,
    notices: VecDeque<SentNotice>,
    /// What empty send queues do not need.
    pub(super) memory: SendMemory,
}

#[derive(Debug)]
struct Lane {
    priority: u8,
    places: VecDeque<usize>,
}

impl Outbox {
    pub(super) fn list(&mut self, place: usize, priority: u8) {
        self.listed = self.listed.saturating_add(1);
        match self
            .lanes
            .binary_search_by(|lane| priority.cmp(&lane.priority))
        {
            Ok(at) => {
                if let Some(lane) = self.lanes.get_mut(at) {
                    lane.places.push_back(place);
                }
            }
            Err(at) => self.lanes.insert(
                at,
                Lane {
                    priority,
                    places: VecDeque::from([place]),
                },
            ),
        }
    }

    pub(super) fn unlist(&mut self, place: usize, priority: u8) {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.priority == priority) else {
            return;
        };
        if let Some(at) = lane.places.iter().position(|listed| *listed == place) {
            lane.places.remove(at);
            self.listed = self.listed.saturating_sub(1);
        }
    }

    /// Takes off the lists of data whatever has none.
    pub(super) fn unlist_unless(&mut self, mut has_data: impl FnMut(usize) -> bool) {
        self.listed = 0;
        for lane in &mut self.lanes {
            lane.places.retain(|place| has_data(*place));
            self.listed = self.listed.saturating_add(lane.places.len());
        }
    }

    /// `count` bytes came into a send queue.
    pub(super) const fn come(&mut self, count: usize, metering: Metering) {
        self.queued = self.queued.saturating_add(count);
        match metering {
            Metering::Plain => {}
            Metering::Metered => self.metered = self.metered.saturating_add(count),
            Metering::Aside => self.aside = self.aside.saturating_add(count),
        }
    }

    /// `count` bytes left a send queue.
    pub(super) const fn gone(&mut self, count: usize, metering: Metering) {
        self.queued = self.queued.saturating_sub(count);
        match metering {
            Metering::Plain => {}
            Metering::Metered => self.metered = self.metered.saturating_sub(count),
            Metering::Aside => self.aside = self.aside.saturating_sub(count),
        }
    }

    /// Takes a stream that is being forgotten off every list.
    pub(super) fn forget<X>(&mut self, place: usize, stream: &StreamState<X>) {
        self.gone(stream.send.len(), stream.metering);
        if stream.data_listed {
            self.unlist(place, stream.priority);
        }
        if stream.control_listed {
            self.control.retain(|listed| *listed != place);
        }
        if !self.notices.is_empty() {
            self.notices.retain(|notice| !matches!(notice, SentNotice::Space(at) | SentNotice::Finished(at) if *at == place));
        }
    }

    pub(super) fn trim(&mut self) {
        self.memory.trim();
        if self.listed == 0 {
            self.lanes = SmallVec::new();
        }
        if self.control.is_empty() {
            self.control = VecDeque::new();
        }
        if self.resets.is_empty() {
            self.resets = VecDeque::new();
        }
        if self.notices.is_empty() {
            self.notices = VecDeque::new();
        }
    }

    fn front(&mut self) -> Option<&mut VecDeque<usize>> {
        if self.listed == 0 {
            return None;
        }
        self.lanes
            .iter_mut()
            .map(|lane| &mut lane.places)
            .find(|places| !places.is_empty())
    }

    fn drop_front(&mut self) {
        if let Some(places) = self.front() {
            places.pop_front();
            self.listed = self.listed.saturating_sub(1);
        }
    }

    fn rotate_front(&mut self) {
        if let Some(places) = self.front() {
            places.rotate_left(1);
        }
    }
}

impl<X> Session<X> {
    /// Whether [`fill`](Self::fill) has something to write.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        let outbox = &self.outbox;
        outbox.go_away.is_some()
            || outbox.listed > 0
            || !outbox.control.is_empty()
            || !outbox.pongs.is_empty()
            || !outbox.resets.is_empty()
            || self.round_trips.wanted
    }

    /// Appends frames to `out`, at most `room` bytes. `space_at` is the queue length at which a blocked writer is told.
    pub fn fill(&mut self, now: Instant, out: &mut Vec<u8>, room: usize, space_at: usize) {
        let now = self.advance_clock(now);
        let end = out.len().saturating_add(room);
        self.fill_session_frames(now, out, end);
        self.fill_control(now, out, end);
        self.fill_data(out, end, space_at);
    }

    /// What sending has brought about, one at a time.
    pub fn poll_sent(&mut self) -> Option<SentNotice> {
        self.outbox.notices.pop_front()
    }

    fn fill_session_frames(&mut self, now: Instant, out: &mut Vec<u8>, end: usize) {
        if let Some(reason) = self.outbox.go_away
            && put(out, end, Kind::GoAway, Flags::NONE, 0, reason.code())
        {
            self.outbox.go_away = None;
        }
        while let Some(value) = self.outbox.pongs.first().copied() {
            if !put(out, end, Kind::Ping, Flags::ACK, 0, value) {
                return;
            }
            self.outbox.pongs.remove(0);
        }
        if self.round_trips.wanted && fits(out, end, Header::LEN) {
            let value = self.round_trips.start(now);
            put(out, end, Kind::Ping, Flags::SYN, 0, value);
        }
        while let Some((stream, code)) = self.outbox.resets.front().copied() {
            if !put(out, end, Kind::WindowUpdate, Flags::RST, stream, code) {
                return;
            }
            self.outbox.resets.pop_front();
        }
    }

    fn fill_control(&mut self, now: Instant, out: &mut Vec<u8>, end: usize) {
        while fits(out, end, Header::LEN) {
            let Some(place) = self.outbox.control.pop_front() else {
                return;
            };
            if let Some(stream) = self.streams.get_mut(place) {
                stream.control_listed = false;
            }
            let grant = self.grant(now, place);
            let Some(stream) = self.streams.get_mut(place) else {
                continue;
            };
            let rides_on_data = stream.data_listed && stream.has_data_to_send();
            if stream.reset.is_none() && (grant > 0 || (stream.ack_pending && !rides_on_data)) {
                let flags = stream.take_opening_flags();
                put(out, end, Kind::WindowUpdate, flags, stream.id, grant);
            }
        }
    }

    fn fill_data(&mut self, out: &mut Vec<u8>, end: usize, space_at: usize) {
        while let Some(place) = self
            .outbox
            .front()
            .and_then(|places| places.front().copied())
        {
            let Some(stream) = self
                .streams
                .get_mut(place)
                .filter(|stream| stream.has_data_to_send())
            else {
                self.unlist_front(place);
                continue;
            };
            let room = end.saturating_sub(out.len());
            let sendable = stream
                .send
                .len()
                .min(usize::try_from(stream.send_credit).unwrap_or(usize::MAX));
            if room < Header::LEN.saturating_add(sendable.min(WORTHWHILE)) {
                return;
            }
            if stream.turn_left == 0 {
                stream.turn_left = TURN;
            }
            let count = sendable
                .min(room.saturating_sub(Header::LEN))
                .min(usize::from(stream.turn_left));
            // In a frame of its own, as others send it: js-libp2p takes the flags of a frame before its data, and drops
            // the data of a stream that has ended.
            let finishes = stream.send_state == SendState::FinQueued && stream.send.is_empty();
            let mut flags = stream.take_opening_flags();
            if finishes {
                flags = flags.with(Flags::FIN);
                stream.send_state = SendState::FinSent;
            }
            let length = u32::try_from(count).unwrap_or(u32::MAX);
            put(out, end, Kind::Data, flags, stream.id, length);
            stream.send.take_into(count, out, &mut self.outbox.memory);
            stream.answered = true;
            stream.send_credit = stream.send_credit.saturating_sub(length);
            stream.uncredited = stream.uncredited.saturating_add(length);
            stream.turn_left = stream
                .turn_left
                .saturating_sub(u16::try_from(count).unwrap_or(u16::MAX));
            self.outbox.gone(count, stream.metering);
            if stream.wants_space && stream.send.len() <= space_at {
                stream.wants_space = false;
                self.outbox.notices.push_back(SentNotice::Space(place));
            }
            if finishes {
                self.outbox.notices.push_back(SentNotice::Finished(place));
            }
            if !stream.has_data_to_send() {
                self.unlist_front(place);
            } else if stream.turn_left == 0 {
                self.outbox.rotate_front();
            }
        }
    }

    fn unlist_front(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place) {
            stream.data_listed = false;
            stream.turn_left = 0;
        }
        self.outbox.drop_front();
    }
}

impl<X> StreamState<X> {
    /// SYN or ACK, once.
    fn take_opening_flags(&mut self) -> Flags {
        let mut flags = Flags::NONE;
        if core::mem::take(&mut self.syn_pending) {
            flags = flags.with(Flags::SYN);
        }
        if core::mem::take(&mut self.ack_pending) {
            flags = flags.with(Flags::ACK);
        }
        flags
    }
}

fn fits(out: &[u8], end: usize, len: usize) -> bool {
    end.saturating_sub(out.len()) >= len
}

/// Appends a header if there is room for it.
fn put(out: &mut Vec<u8>, end: usize, kind: Kind, flags: Flags, stream: u32, length: u32) -> bool {
    let room = fits(out, end, Header::LEN);
    if room {
        out.extend_from_slice(
            &Header {
                kind,
                flags,
                stream,
                length,
            }
            .encode(),
        );
    }
    room
}

const _: () =
    assert!(MAX_SENT_PAYLOAD < INITIAL_WINDOW as usize && TURN as usize == MAX_SENT_PAYLOAD);
