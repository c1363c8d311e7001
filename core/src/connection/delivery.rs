//! From a stream's bytes to what its owner sees: chunks, framed messages, whole bodies.

use super::{
    Connection, Event,
    error::StreamError,
    id::StreamId,
    message::ToSwarmMessage,
    streams::Lent,
    table::{StreamKind, StreamOwner},
};
use crate::{
    mux::{code, yamux},
    wire::varint,
};
use alloc::boxed::Box;
use bytes::Bytes;

/// The longest chunk of a raw stream given to a protocol at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// The longest length prefix of a framed message: 32 bits.
const LENGTH_PREFIX: usize = 5;

/// What a stream has for its reader.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A chunk or a whole message.
    Bytes(Bytes),
    /// Not yet.
    Nothing,
    /// The peer finished and everything was read.
    End,
}

/// What of a stream's memory its owner could free by reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    Nothing,
    /// There is something for the owner to take, an error included: so many bytes.
    Readable(usize),
    /// Part of a message, of so many bytes.
    Incomplete(usize),
}

impl Connection {
    /// What a stream has for its owner, without taking it.
    pub(super) fn holding(&mut self, place: usize) -> Holding {
        let Some(stream) = self.session.stream(place) else {
            return Holding::Nothing;
        };
        if let Some(lent) = &stream.extra.lent {
            return Holding::Readable(lent.loan.len());
        }
        let readable = stream.readable();
        if readable == 0 || stream.extra.is_negotiating() {
            return Holding::Nothing;
        }
        let finished = stream.receive_state() == yamux::ReceiveState::FinReceived;
        if finished || stream.extra.error.is_some() {
            return Holding::Readable(readable);
        }
        let complete = match stream.extra.kind {
            StreamKind::Raw => true,
            StreamKind::ToEnd { max_len } => u32::try_from(readable).is_ok_and(|len| len > max_len),
            StreamKind::Framed { max_len } => match self.length_prefix(place, max_len) {
                Ok(Some((len, used))) => readable.saturating_sub(used) >= len,
                Ok(None) => false,
                Err(_) => true,
            },
        };
        if complete {
            Holding::Readable(readable)
        } else {
            Holding::Incomplete(readable)
        }
    }

    /// The next chunk (of at most `max` bytes) or message of a stream.
    pub(super) fn next_bytes(&mut self, place: usize, max: usize) -> Result<Next, StreamError> {
        let Some(stream) = self.session.stream(place) else {
            return Ok(Next::Nothing);
        };
        let finished = stream.receive_state() == yamux::ReceiveState::FinReceived;
        let readable = stream.readable();
        let nothing = if finished { Next::End } else { Next::Nothing };
        match stream.extra.kind {
            StreamKind::Raw => Ok(self
                .take_out(place, max, false)
                .map_or(nothing, Next::Bytes)),
            StreamKind::Framed { max_len } => {
                if readable == 0 {
                    return Ok(nothing);
                }
                let Some((len, used)) = self.length_prefix(place, max_len)? else {
                    return if finished {
                        Err(StreamError::Truncated)
                    } else {
                        Ok(Next::Nothing)
                    };
                };
                if readable.saturating_sub(used) < len {
                    if finished {
                        return Err(StreamError::Truncated);
                    }
                    self.gather(place, len);
                    return Ok(Next::Nothing);
                }
                self.session.consume(place, used);
                Ok(self
                    .take_out(place, len, true)
                    .map_or(Next::Nothing, Next::Bytes))
            }
            StreamKind::ToEnd { max_len } => {
                let max_len = usize::try_from(max_len).unwrap_or(usize::MAX);
                if readable > max_len {
                    return Err(StreamError::MessageTooLong);
                }
                if !finished {
                    self.gather(place, max_len);
                    return Ok(Next::Nothing);
                }
                if stream.extra.end_seen {
                    return Ok(Next::End);
                }
                let whole = self.take_out(place, readable, true).unwrap_or_default();
                if let Some(stream) = self.session.stream_mut(place) {
                    stream.extra.end_seen = true;
                }
                Ok(Next::Bytes(whole))
            }
        }
    }

    /// The length of the framed message that is next, and that of its prefix; `None` if the prefix is incomplete.
    fn length_prefix(
        &mut self,
        place: usize,
        max_len: u32,
    ) -> Result<Option<(usize, usize)>, StreamError> {
        let prefix = self.session.peek(place, LENGTH_PREFIX);
        let prefix = prefix.get(..LENGTH_PREFIX).unwrap_or(prefix);
        match varint::decode(prefix).map_err(|_| StreamError::BadFrame)? {
            Some((len, used)) if len <= u64::from(max_len) => {
                let len = usize::try_from(len).map_err(|_| StreamError::MessageTooLong)?;
                Ok(Some((len, used)))
            }
            None if prefix.len() < LENGTH_PREFIX => Ok(None),
            _ => Err(StreamError::MessageTooLong),
        }
    }

    /// Takes bytes out of a stream's queue: a piece of at most `count`, or exactly so many if `whole`. What a protocol gets
    /// stays charged to the connection until the swarm says that it was consumed.
    fn take_out(&mut self, place: usize, count: usize, whole: bool) -> Option<Bytes> {
        let owner = self.session.stream(place)?.extra.owner;
        if let StreamOwner::Host = owner {
            return if whole {
                self.session.take(place, count)
            } else {
                self.session.pop(place, count)
            };
        }
        let (piece, loan) = self.session.lend(place, count, whole)?;
        self.end_loan(place);
        if let Some(stream) = self.session.stream_mut(place) {
            let bytes = piece.clone();
            stream.extra.lent = Some(Box::new(Lent { bytes, loan }));
        }
        Some(piece)
    }

    /// What a protocol was given of a stream is not charged any more.
    pub(super) fn end_loan(&mut self, place: usize) {
        if let Some(lent) = self
            .session
            .stream_mut(place)
            .and_then(|stream| stream.extra.lent.take())
        {
            self.session.end_loan(lent.loan);
        }
    }

    /// A message of `len` bytes is incomplete: a long one needs more credit than the window gives.
    fn gather(&mut self, place: usize, len: usize) {
        let window = usize::try_from(yamux::INITIAL_WINDOW).unwrap_or(usize::MAX);
        if len >= window / 2 {
            self.session.credit_unread(place);
        }
    }

    /// Something new can be read on a stream whose protocol is agreed, or its end was reached: its owner hears of it.
    pub(super) fn deliver(&mut self, place: usize) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        if stream.extra.detached {
            return self.settle(place);
        }
        let StreamOwner::Protocol(_) = stream.extra.owner else {
            if stream.readable() == 0 && stream.receive_state() == yamux::ReceiveState::Open {
                return;
            }
            if let StreamKind::Framed { .. } | StreamKind::ToEnd { .. } = stream.extra.kind {
                self.gather_for_host(place);
            }
            return self.notify_readable(place);
        };
        if stream.extra.lent.is_some() || stream.extra.remote_end_reported {
            return self.settle(place);
        }
        let id = stream.extra.id;
        match self.next_bytes(place, CHUNK) {
            Ok(Next::Bytes(bytes)) => {
                self.tell_swarm(ToSwarmMessage::Data { stream: id, bytes });
            }
            Ok(Next::Nothing) => {}
            Ok(Next::End) => {
                if let Some(stream) = self.session.stream_mut(place) {
                    stream.extra.remote_end_reported = true;
                }
                self.tell_swarm(ToSwarmMessage::RemoteFinished { stream: id });
                self.settle(place);
            }
            Err(error) => self.fail_stream(place, error, code::PROTOCOL_VIOLATION),
        }
    }

    /// The swarm has taken the last message of a stream.
    pub(super) fn consumed(&mut self, id: StreamId) {
        let Some(place) = self.place_of(id) else {
            return;
        };
        self.end_loan(place);
        self.deliver(place);
        // For the clock of a slow reader, that was a read.
        self.note_read();
    }

    /// A host-owned stream of messages gathers long ones without waiting for the reader.
    fn gather_for_host(&mut self, place: usize) {
        let Some(stream) = self.session.stream(place) else {
            return;
        };
        if let StreamKind::Framed { max_len } | StreamKind::ToEnd { max_len } = stream.extra.kind
            && stream.readable()
                <= usize::try_from(max_len)
                    .unwrap_or(usize::MAX)
                    .saturating_add(LENGTH_PREFIX)
        {
            self.gather(place, usize::try_from(max_len).unwrap_or(usize::MAX));
        }
    }

    pub(super) fn notify_readable(&mut self, place: usize) {
        if let Some(stream) = self.session.stream_mut(place)
            && core::mem::take(&mut stream.extra.read_interest)
            && !core::mem::replace(&mut stream.extra.readable_queued, true)
        {
            self.events.push_back(Event::Readable {
                stream: stream.extra.id,
            });
        }
    }

    pub(super) fn notify_writable(&mut self, place: usize) {
        if let Some(stream) = self.session.stream_mut(place)
            && !stream.extra.detached
            && stream.extra.error.is_none()
            && !core::mem::replace(&mut stream.extra.writable_queued, true)
        {
            self.events.push_back(Event::Writable {
                stream: stream.extra.id,
            });
        }
    }
}
