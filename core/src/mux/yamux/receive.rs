//! From plaintext to notices.

use super::{
    Error, INITIAL_WINDOW, PONGS,
    frame::{Flags, Header, Kind},
    session::{GoAway, Role, Session},
    stream::{ReceiveState, StreamState},
    transmit::MAX_RESETS,
};
use crate::{buffer::Incoming, mux::code::RESOURCE_LIMIT_EXCEEDED, time::Instant};
use core::time::Duration;

/// What arrived. `usize` is the stream's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The peer opened a stream.
    Inbound(usize),
    /// The stream has more to read.
    Data(usize),
    /// The peer will send no more on the stream.
    Finished(usize),
    /// The peer aborted the stream; what was received can still be read. Forget it with [`Session::remove`].
    Reset(usize),
    /// The peer goes away.
    GoAway(GoAway),
    /// A round trip was measured.
    RoundTrip(Duration),
}

/// Where in a frame the decoder is.
#[derive(Debug)]
pub(super) enum Decoding {
    Header {
        bytes: [u8; Header::LEN],
        filled: usize,
    },
    /// Payload of the stream at `place`, or of nobody.
    Body {
        place: Option<usize>,
        remaining: u32,
        finish: bool,
    },
}

impl Default for Decoding {
    fn default() -> Self {
        Self::Header {
            bytes: [0; Header::LEN],
            filled: 0,
        }
    }
}

impl Decoding {
    /// The stream at `forgotten` is gone: the rest of its payload goes nowhere.
    pub(super) fn forget(&mut self, forgotten: usize) {
        if let Self::Body { place, .. } = self
            && *place == Some(forgotten)
        {
            *place = None;
        }
    }
}

impl<X: Default> Session<X> {
    /// Takes bytes from `input` until something is to be told or nothing is left. Call until it returns `None`.
    ///
    /// Payload that arrives in pieces is delivered in pieces: how the input is cut changes nothing in what a stream reads.
    ///
    /// # Errors
    ///
    /// The peer broke the rules; the session is of no more use but for [`go_away`](Session::go_away), and the error stays.
    pub fn receive(
        &mut self,
        now: Instant,
        input: &mut Incoming<'_>,
    ) -> Result<Option<Notice>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let now = self.advance_clock(now);
        let notice = self.decode(now, input);
        if let Err(error) = &notice {
            self.failed = Some(error.clone());
        }
        notice
    }

    fn decode(&mut self, now: Instant, input: &mut Incoming<'_>) -> Result<Option<Notice>, Error> {
        self.check_provoked(now)?;
        loop {
            let notice = match &mut self.decoding {
                Decoding::Header { filled: 0, .. } if input.as_slice().len() >= Header::LEN => {
                    // Most headers come whole.
                    let bytes = input.as_slice().first_chunk().copied();
                    let header = Header::decode(bytes.unwrap_or_default())?;
                    input.advance(Header::LEN);
                    self.handle_header(now, header)?
                }
                Decoding::Header { bytes, filled } => {
                    let wanted = Header::LEN.saturating_sub(*filled);
                    let available = input.as_slice();
                    let count = wanted.min(available.len());
                    if let (Some(to), Some(from)) = (
                        bytes.get_mut(*filled..filled.saturating_add(count)),
                        available.get(..count),
                    ) {
                        to.copy_from_slice(from);
                    }
                    *filled = filled.saturating_add(count);
                    if *filled < Header::LEN {
                        input.advance(count);
                        return Ok(None);
                    }
                    let header = Header::decode(*bytes)?;
                    input.advance(count);
                    self.decoding = Decoding::default();
                    self.handle_header(now, header)?
                }
                Decoding::Body {
                    remaining: 0,
                    place,
                    finish,
                } => {
                    let finished = place.take_if(|_| *finish);
                    self.decoding = Decoding::default();
                    finished.and_then(|place| self.handle_fin(place))
                }
                Decoding::Body {
                    place,
                    remaining,
                    finish,
                } => {
                    let count = usize::try_from(*remaining)
                        .unwrap_or(usize::MAX)
                        .min(input.len());
                    if count == 0 {
                        return Ok(None);
                    }
                    *remaining = remaining.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                    let (place, done) = (*place, *remaining == 0 && !*finish);
                    if done {
                        self.decoding = Decoding::default();
                    }
                    self.handle_payload(place, input, count)
                }
            };
            if notice.is_some() {
                return Ok(notice);
            }
        }
    }

    fn handle_header(&mut self, now: Instant, header: Header) -> Result<Option<Notice>, Error> {
        match header.kind {
            Kind::Data => self.handle_data(now, header),
            Kind::WindowUpdate => self.handle_window_update(now, header),
            Kind::Ping => self.handle_ping(now, header),
            Kind::GoAway => {
                self.remote_going_away = true;
                Ok(Some(Notice::GoAway(GoAway::from_code(header.length))))
            }
        }
    }

    fn handle_data(&mut self, now: Instant, header: Header) -> Result<Option<Notice>, Error> {
        let finish = header.flags.has(Flags::FIN);
        if header.flags.has(Flags::SYN) {
            if header.length > INITIAL_WINDOW {
                return Err(Error::WindowExceeded(header.stream));
            }
            let place = self.open_inbound(now, header)?;
            if let Some(stream) = place.and_then(|place| self.streams.get_mut(place)) {
                stream.receive_credit = stream.receive_credit.saturating_sub(header.length);
            }
            self.decoding = Decoding::Body {
                place,
                remaining: header.length,
                finish,
            };
            return Ok(place.map(Notice::Inbound));
        }
        let Some(place) = self.find(now, header)? else {
            // No stream ever had so much credit: this was not on its way when the stream was forgotten.
            if header.length > self.config.max_window.max(INITIAL_WINDOW) {
                return Err(Error::WindowExceeded(header.stream));
            }
            self.decoding = Decoding::Body {
                place: None,
                remaining: header.length,
                finish: false,
            };
            return Ok(None);
        };
        let Some(stream) = self.streams.get_mut(place) else {
            return Ok(None);
        };
        if header.length > 0 && stream.receive_state == ReceiveState::FinReceived {
            return Err(Error::DataAfterFinish(header.stream));
        }
        let Some(credit) = stream.receive_credit.checked_sub(header.length) else {
            return Err(Error::WindowExceeded(header.stream));
        };
        stream.receive_credit = credit;
        let useless = header.length == 0 && !stream.is_news(header.flags);
        self.acknowledge(place, header.flags);
        if header.flags.has(Flags::RST) {
            self.decoding = Decoding::Body {
                place: None,
                remaining: header.length,
                finish: false,
            };
            return self.handle_reset(now, place, 0);
        }
        if useless {
            self.waste(now, 1)?;
        }
        self.decoding = Decoding::Body {
            place: Some(place),
            remaining: header.length,
            finish,
        };
        Ok(None)
    }

    fn handle_window_update(
        &mut self,
        now: Instant,
        header: Header,
    ) -> Result<Option<Notice>, Error> {
        let finish = header.flags.has(Flags::FIN);
        if header.flags.has(Flags::SYN) {
            if INITIAL_WINDOW.checked_add(header.length).is_none() {
                return Err(Error::WindowOverflow(header.stream));
            }
            let place = self.open_inbound(now, header)?;
            if let Some(stream) = place.and_then(|place| self.streams.get_mut(place)) {
                stream.send_credit = stream.send_credit.saturating_add(header.length);
            }
            self.decoding = Decoding::Body {
                place,
                remaining: 0,
                finish,
            };
            return Ok(place.map(Notice::Inbound));
        }
        let Some(place) = self.find(now, header)? else {
            return Ok(None);
        };
        if header.flags.has(Flags::RST) {
            self.acknowledge(place, header.flags);
            return self.handle_reset(now, place, header.length);
        }
        let Some(stream) = self.streams.get_mut(place) else {
            return Ok(None);
        };
        let Some(credit) = stream.send_credit.checked_add(header.length) else {
            return Err(Error::WindowOverflow(header.stream));
        };
        stream.send_credit = credit;
        stream.uncredited = stream.uncredited.saturating_sub(header.length);
        let useless = header.length == 0 && !stream.is_news(header.flags);
        self.acknowledge(place, header.flags);
        if useless {
            self.waste(now, 1)?;
        }
        self.list_data(place);
        self.decoding = Decoding::Body {
            place: Some(place),
            remaining: 0,
            finish,
        };
        Ok(None)
    }

    fn handle_ping(&mut self, now: Instant, header: Header) -> Result<Option<Notice>, Error> {
        if header.flags.has(Flags::SYN) {
            self.waste(now, 1)?;
            if self.outbox.pongs.len() < PONGS {
                self.outbox.pongs.push(header.length);
            }
            return Ok(None);
        }
        match self.round_trips.answered(now, header.length) {
            Some(sample) => Ok(Some(Notice::RoundTrip(sample))),
            None => self.waste(now, 1).map(|()| None),
        }
    }

    fn handle_payload(
        &mut self,
        place: Option<usize>,
        input: &mut Incoming<'_>,
        count: usize,
    ) -> Option<Notice> {
        let Some((place, stream)) =
            place.and_then(|place| Some((place, self.streams.get_mut(place)?)))
        else {
            input.advance(count);
            return None;
        };
        if stream.stopped {
            input.advance(count);
            self.consumed(place, count);
            return None;
        }
        stream.queue.push(input, count, &mut self.held);
        Some(Notice::Data(place))
    }

    fn handle_fin(&mut self, place: usize) -> Option<Notice> {
        let stream = self.streams.get_mut(place)?;
        if stream.receive_state == ReceiveState::FinReceived {
            return None;
        }
        stream.receive_state = ReceiveState::FinReceived;
        Some(Notice::Finished(place))
    }

    fn handle_reset(
        &mut self,
        now: Instant,
        place: usize,
        code: u32,
    ) -> Result<Option<Notice>, Error> {
        let Some(stream) = self.streams.get_mut(place) else {
            return Ok(None);
        };
        stream.reset = Some(code);
        let unsent = stream.send.len();
        stream.send.clear(&mut self.outbox.memory);
        self.outbox.gone(unsent, stream.metering);
        let (id, wasted) = (stream.id, !stream.outbound && !stream.answered);
        self.by_id.remove(&id);
        if wasted {
            self.waste(now, 1)?;
        }
        Ok(Some(Notice::Reset(place)))
    }

    /// The live stream a frame is about; `None` if it was forgotten.
    fn find(&mut self, now: Instant, header: Header) -> Result<Option<usize>, Error> {
        if let Some(place) = self.by_id.get(&header.stream).copied() {
            // A stream of which the peer has not heard yet.
            if self.streams.get(place).is_some_and(|s| s.syn_pending) {
                return Err(Error::WrongSide(header.stream));
            }
            return Ok(Some(place));
        }
        if self.is_ours(header.stream) && self.next_id.is_some_and(|next| header.stream >= next) {
            return Err(Error::WrongSide(header.stream));
        }
        if self.pardon.covers(header) {
            return Ok(None);
        }
        self.waste(now, 1).map(|()| None)
    }

    /// What the peer provoked since the last call: refused streams, and resets it does not take.
    fn check_provoked(&mut self, now: Instant) -> Result<(), Error> {
        let refused = core::mem::take(&mut self.refused);
        if refused > 0 {
            self.waste(now, refused)?;
        }
        let streams = self
            .config
            .max_inbound_streams
            .saturating_add(self.config.max_outbound_streams);
        let limit = usize::try_from(streams)
            .unwrap_or(usize::MAX)
            .saturating_add(MAX_RESETS);
        if self.outbox.resets.len() > limit {
            return Err(Error::Flooding);
        }
        Ok(())
    }

    fn open_inbound(&mut self, now: Instant, header: Header) -> Result<Option<usize>, Error> {
        let id = header.stream;
        if self.is_ours(id) {
            return Err(Error::WrongSide(id));
        }
        if self.by_id.contains_key(&id) {
            return Err(Error::AlreadyOpen(id));
        }
        if !self.remote_ids.claim(id) {
            return Err(Error::IdUsedBefore(id));
        }
        if header.flags.has(Flags::RST) {
            return self.waste(now, 1).map(|()| None);
        }
        if self.inbound >= self.config.max_inbound_streams || self.going_away {
            self.waste(now, 1)?;
            self.pardon.refused();
            self.outbox.resets.push_back((id, RESOURCE_LIMIT_EXCEEDED));
            return Ok(None);
        }
        let place = self
            .streams
            .insert(StreamState::new(id, false, now, X::default()));
        self.by_id.insert(id, place);
        self.inbound = self.inbound.saturating_add(1);
        self.list_control(place);
        Ok(Some(place))
    }

    fn acknowledge(&mut self, place: usize, flags: Flags) {
        if let Some(stream) = self.streams.get_mut(place)
            && !stream.acknowledged
            && (flags.has(Flags::ACK) || flags.has(Flags::RST))
        {
            stream.acknowledged = true;
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
    }

    const fn is_ours(&self, id: u32) -> bool {
        match self.role {
            Role::Dialer => id & 1 == 1,
            Role::Listener => id & 1 == 0,
        }
    }
}
