//! What the swarm tells the connection to do.

#[cfg(feature = "recording")]
use super::recorded::ConnectionInput;
use super::{
    Connection, Event,
    error::StreamError,
    id::StreamId,
    message::{StreamEnd, ToConnection, ToConnectionMessage, ToSwarmMessage},
    streams::OpenOptions,
    table::{Slot, StreamKind, StreamOwner},
};
use crate::{
    multistream::ProtocolName,
    mux::{
        code,
        yamux::{GoAway, SendState},
    },
    time::Instant,
    wire::varint,
};
#[cfg(feature = "recording")]
use alloc::borrow::Cow;
use bytes::Bytes;
use smallvec::SmallVec;

/// Ends of protocols' streams that are remembered until the swarm has heard of them, for hand-overs that come too late. There
/// is a message on its way for each, and fewer than that are on their way at once; without a swarm nobody hears of any.
const MAX_ENDS: usize = 1024;

impl Connection {
    /// Takes a message of the swarm.
    pub fn handle_message(&mut self, now: Instant, message: ToConnection) {
        use ToConnectionMessage as Message;
        self.advance_clock(now);
        when_recorded!(
            self,
            self.note(ConnectionInput::Message(Cow::Borrowed(&message)))
        );
        if self.is_closed() {
            return;
        }
        match message.0 {
            Message::Admit { table, lease } => self.admitted(table, lease),
            Message::Refuse(reason) | Message::Close(reason) => {
                self.close_with(reason, GoAway::Normal)
            }
            Message::Table(table) => {
                if table.version() > self.table.version() {
                    self.set_table(table);
                }
            }
            Message::Lease(lease) => self.leased(lease),
            Message::KeepAlive(keep_alive) => {
                self.keep_alive = keep_alive;
                self.check_idle();
            }
            Message::Open {
                stream,
                slot,
                names,
                kind,
                background,
            } => {
                self.open_for_swarm(stream, slot, names, kind, background);
                self.note_command();
            }
            Message::OpenWith {
                stream,
                slot,
                names,
                kind,
                background,
                bytes,
            } => {
                self.open_for_swarm(stream, slot, names, kind, background);
                self.send_for_swarm(stream, bytes);
                self.finish_for_swarm(stream);
            }
            Message::SendLast { stream, bytes } => {
                self.send_for_swarm(stream, bytes);
                self.finish_for_swarm(stream);
            }
            Message::ReportSent { stream } => {
                if let Some(place) = self.place_of(stream) {
                    self.report_sent(place);
                }
                self.note_command();
            }
            Message::Send { stream, bytes } => self.send_for_swarm(stream, bytes),
            Message::Finish { stream } => {
                self.finish_for_swarm(stream);
                self.note_command();
            }
            Message::Reset { stream, code } => {
                if let Some(place) = self.place_of(stream) {
                    self.session.abort(place, code);
                    self.forget(place);
                }
                self.note_command();
            }
            Message::Consumed { stream } => {
                self.consumed(stream);
                self.note_command();
            }
            Message::EndsHeard { streams } => {
                for stream in streams {
                    self.take_unheard_end(stream);
                }
                self.note_command();
            }
            Message::HandOver {
                stream,
                had_message,
            } => {
                match self.place_of(stream) {
                    Some(place) => self.hand_over(place, had_message),
                    None => self.hand_over_ended(stream),
                }
                self.note_command();
            }
        }
        self.note_freed();
        self.resume();
    }

    fn open_for_swarm(
        &mut self,
        stream: StreamId,
        slot: Slot,
        names: SmallVec<[ProtocolName; 1]>,
        kind: StreamKind,
        background: bool,
    ) {
        let options = OpenOptions {
            background,
            priority: None,
        };
        let owner = StreamOwner::Protocol(slot);
        if let Err(error) = self.open_stream(Some(stream), owner, names, kind, options) {
            let end = StreamEnd::Failed(StreamError::Open(error));
            self.tell_ended(stream, end);
        }
    }

    fn finish_for_swarm(&mut self, stream: StreamId) {
        if let Some(place) = self.place_of(stream) {
            self.finish_stream(place);
            self.set_last_aside(place);
            self.settle(place);
        }
    }

    /// What a protocol sends last on a stream may be more than the peer has room for. It is not counted against what the
    /// protocols may have under way then: no more follows on this stream, and others must not wait for its reader.
    pub(super) fn set_last_aside(&mut self, place: usize) {
        let stream = self.session.stream(place);
        let last = stream.is_some_and(|stream| {
            stream.send_state() == SendState::FinQueued
                && matches!(stream.extra.owner, StreamOwner::Protocol(_))
        });
        if last {
            self.session.set_aside(place);
        }
    }

    /// The protocol wants to know when everything it sent has left.
    fn report_sent(&mut self, place: usize) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        if stream.send_state() == SendState::FinSent {
            let stream = stream.extra.id;
            return self.tell_swarm(ToSwarmMessage::Sent { stream });
        }
        stream.extra.sent_interest = true;
    }

    fn send_for_swarm(&mut self, stream: StreamId, bytes: Bytes) {
        let len = bytes.len();
        let mut queued = 0;
        if let Some(place) = self.place_of(stream) {
            let before = self
                .session
                .metered_bytes()
                .saturating_add(self.early_bytes);
            self.write_or_keep(place, bytes);
            let after = self.session.metered_bytes();
            queued = after
                .saturating_add(self.early_bytes)
                .saturating_sub(before);
        }
        self.note_sent(len, queued);
    }

    /// The stream ended while word of the hand-over was on its way: the host hears of both.
    fn hand_over_ended(&mut self, stream: StreamId) {
        self.events.push_back(Event::HandedOver { stream });
        let end = match self.take_unheard_end(stream) {
            Some(StreamEnd::Finished) => Event::Finished { stream },
            Some(StreamEnd::Failed(error)) => Event::Reset { stream, error },
            None => Event::Reset {
                stream,
                error: StreamError::Reset(code::NO_ERROR),
            },
        };
        self.events.push_back(end);
    }

    /// Tells the swarm that a stream of a protocol is over.
    pub(super) fn tell_ended(&mut self, stream: StreamId, end: StreamEnd) {
        if self.unheard_ends.len() >= MAX_ENDS {
            self.unheard_ends.pop_front();
        }
        self.unheard_ends.push_back((stream, end.clone()));
        self.tell_swarm(ToSwarmMessage::Ended { stream, end });
    }

    /// The swarm hears of ends in the order in which it is told of them: the first is mostly the one.
    fn take_unheard_end(&mut self, stream: StreamId) -> Option<StreamEnd> {
        let mut ends = self.unheard_ends.iter();
        let at = ends.position(|(ended, _)| *ended == stream)?;
        self.unheard_ends.remove(at).map(|(_, end)| end)
    }

    /// The host gets the stream with all bytes that its protocol has not had: the message on its way, too.
    fn hand_over(&mut self, place: usize, had_message: bool) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        let extra = &mut stream.extra;
        let (id, kind) = (extra.id, extra.kind);
        extra.owner = StreamOwner::Host;
        extra.kind = StreamKind::Raw;
        extra.read_interest = true;
        if let Some(lent) = extra.lent.take() {
            if had_message {
                self.session.end_loan(lent.loan);
            } else {
                if let StreamKind::ToEnd { .. } = kind {
                    extra.end_seen = false;
                }
                self.scratch.clear();
                if let StreamKind::Framed { .. } = kind {
                    let len = u64::try_from(lent.bytes.len()).unwrap_or(u64::MAX);
                    varint::encode(len, &mut self.scratch);
                }
                self.messages.retain(|message| !message.is_data_of(id));
                self.session
                    .put_back(place, &self.scratch, lent.bytes, lent.loan);
            }
        }
        self.session.set_metered(place, false);
        self.events.push_back(Event::HandedOver { stream: id });
        self.deliver(place);
    }
}
