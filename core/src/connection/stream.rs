//! A stream in the hands of its host.

#[cfg(feature = "recording")]
use super::recorded::{ConnectionInput, StreamInput, count};
use super::{
    Connection, delivery::Next, error::StreamError, id::StreamId, streams::StreamExtra,
    table::StreamKind,
};
use crate::{
    multistream::ProtocolName,
    mux::{
        code,
        yamux::{SendState, StreamState},
    },
};
use bytes::Bytes;
use core::fmt;

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing has arrived; an [`Event::Readable`](super::Event::Readable) follows.
    Blocked,
    /// The stream failed.
    Stream(StreamError),
}

/// Why nothing could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WriteError {
    /// The send queue is full; an [`Event::Writable`](super::Event::Writable) follows.
    Blocked,
    /// The stream was finished by this side: own misuse.
    Finished,
    /// The stream failed.
    Stream(StreamError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("nothing to read yet"),
            Self::Stream(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReadError {}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("the send queue is full"),
            Self::Finished => f.write_str("the stream was finished"),
            Self::Stream(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for WriteError {}

/// Writes down what is done to a stream that is there.
macro_rules! note {
    ($stream:ident, $input:expr) => {
        #[cfg(feature = "recording")]
        if $stream.connection.tap.is_on() && $stream.state().is_some() {
            let (stream, input) = ($stream.id, $input);
            $stream
                .connection
                .note(ConnectionInput::Stream { stream, input });
        }
    };
}

macro_rules! note_read {
    ($stream:ident, $read:expr) => {
        #[cfg(feature = "recording")]
        if $stream.connection.tap.is_on() {
            $stream.connection.note_read_result($read);
        }
    };
}

macro_rules! note_written {
    ($stream:ident, $written:expr, $offered:expr) => {
        #[cfg(feature = "recording")]
        if $stream.connection.tap.is_on() {
            let (written, offered) = ($written, $offered);
            $stream.connection.note_written(written, offered);
        }
    };
}

/// A short-lived view of one stream of a connection, from [`Connection::stream`].
///
/// After [`Event::Failed`](super::Event::Failed) or [`Event::Reset`](super::Event::Reset), what had arrived can still be
/// read, then the error shows; [`release`](Self::release) the stream when done with it.
#[derive(Debug)]
pub struct Stream<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) place: usize,
    pub(super) id: StreamId,
}

impl Stream<'_> {
    /// The stream's name.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Its state; `None` once it is gone, which may come of what was done through this very view.
    fn state(&self) -> Option<&StreamState<StreamExtra>> {
        self.connection
            .session
            .stream(self.place)
            .filter(|stream| stream.extra.id == self.id)
    }

    /// The agreed protocol; `None` while it is negotiated.
    #[must_use]
    pub fn protocol(&self) -> Option<&ProtocolName> {
        self.state()?.extra.protocol.as_ref()
    }

    /// The next chunk of at most `max` bytes (raw streams) or the next whole message, without a copy where it can be;
    /// `Ok(None)` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Blocked`] if nothing is there yet, or why the stream failed.
    pub fn read(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        if self.state().is_none() {
            return Ok(None);
        }
        note!(self, StreamInput::Read(count(max)));
        let read = self.next(max);
        note_read!(self, read.as_ref().map(Option::as_deref));
        read
    }

    fn next(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        self.check_readable()?;
        match self.connection.next_bytes(self.place, max.max(1)) {
            Ok(Next::Bytes(bytes)) => {
                self.connection.note_read();
                Ok(Some(bytes))
            }
            Ok(Next::End) => {
                self.end_seen();
                Ok(None)
            }
            Ok(Next::Nothing) => Err(self.nothing_to_read()),
            Err(error) => {
                self.connection
                    .fail_stream(self.place, error.clone(), code::PROTOCOL_VIOLATION);
                self.connection.note_write();
                Err(ReadError::Stream(error))
            }
        }
    }

    /// Copies what has arrived into `buffer` and returns how much; `Ok(0)` at the end, if `buffer` is not empty. For raw
    /// streams; on others it reads bytes across message borders.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn read_into(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if self.state().is_none() {
            return Ok(0);
        }
        note!(self, StreamInput::ReadInto(count(buffer.len())));
        self.fill(buffer)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let read = self.copy_into(buffer);
        note_read!(
            self,
            read.as_ref()
                .map(|count| buffer.get(..*count).filter(|bytes| !bytes.is_empty()))
        );
        read
    }

    fn copy_into(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.check_readable()?;
        let count = self.connection.session.read_into(self.place, buffer);
        if count > 0 || buffer.is_empty() {
            self.connection.note_read();
            return Ok(count);
        }
        if self.connection.is_at_end(self.place) {
            self.end_seen();
            return Ok(0);
        }
        Err(self.nothing_to_read())
    }

    /// Queues a copy of as much of `data` as there is room for; returns how much that was. On a framed stream, `data`
    /// is one whole message and is queued entirely. Less than all is no reason to wait for an event: write the rest
    /// until that is [`Blocked`](WriteError::Blocked).
    ///
    /// # Errors
    ///
    /// [`WriteError::Blocked`] if there is no room, or why writing is no longer possible.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        note!(self, StreamInput::Write(data));
        let written = self.room_for(data.len()).inspect(|&count| {
            self.write_prefix(count);
            self.connection
                .session
                .write_copy(self.place, data.get(..count).unwrap_or(data));
            self.connection.note_write();
        });
        note_written!(self, &written, data.len());
        written
    }

    /// The same without a copy: takes from the front of `data` what there is room for.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn write_bytes(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        note!(self, StreamInput::WriteBytes(data));
        let offered = data.len();
        let written = self.room_for(offered).inspect(|&count| {
            self.write_prefix(count);
            self.connection
                .session
                .write_shared(self.place, data.split_to(count));
            self.connection.note_write();
        });
        note_written!(self, &written, offered);
        written
    }

    /// Half-closes: the peer reads the end after what is queued. Reading goes on. Doing it twice does nothing.
    ///
    /// # Errors
    ///
    /// Why the stream failed, if it has.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        note!(self, StreamInput::Finish);
        let finished = self.check_alive().map(|()| {
            self.connection.finish_stream(self.place);
            self.connection.note_write();
        });
        note_written!(self, &finished.clone().map(|()| 0), 0);
        finished
    }

    /// Stops reading: what still arrives is discarded. Yamux cannot tell the peer; credit goes on being returned, so that
    /// the peer is not stalled.
    pub fn stop(&mut self) {
        if self.state().is_some() {
            note!(self, StreamInput::Stop);
            self.connection.stop_stream(self.place);
            self.end_seen();
            self.connection.note_write();
        }
    }

    /// Aborts both directions, telling the peer `code` (see [`code`]), and forgets the stream. No event follows.
    pub fn reset(&mut self, code: u32) {
        if self.state().is_some() {
            note!(self, StreamInput::Reset(code));
            self.connection.session.abort(self.place, code);
            self.connection.forget(self.place);
            self.connection.note_write();
        }
    }

    /// Lets go of the stream. If this side has finished, what it wrote is still sent and the peer may finish in its own
    /// time; otherwise the stream is reset. No event follows.
    pub fn release(&mut self) {
        if self.state().is_some() {
            note!(self, StreamInput::Release);
            self.connection.release(self.place);
            self.connection.note_write();
        }
    }

    /// Sets the priority: streams of a higher one send first. 128 is the middle.
    pub fn set_priority(&mut self, priority: u8) {
        if self.state().is_some() {
            note!(self, StreamInput::Priority(priority));
            self.connection.session.set_priority(self.place, priority);
        }
    }

    /// Whether nothing that was written still waits to be sent.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.state().is_none_or(|stream| stream.queued() == 0)
    }

    /// [`read_into`](Self::read_into) a buffer of `len` bytes, which need not exist: what is there fits in less.
    #[cfg(feature = "recording")]
    pub(super) fn replay_read_into(&mut self, len: usize) {
        let waiting = self.state().map_or(0, StreamState::readable);
        note!(self, StreamInput::ReadInto(count(len)));
        let mut buffer = alloc::vec![0; len.min(waiting.max(1))];
        let _ = self.fill(&mut buffer);
    }

    fn check_readable(&mut self) -> Result<(), ReadError> {
        let Some(stream) = self.state() else {
            return Err(ReadError::Blocked);
        };
        match &stream.extra.error {
            Some(error) if stream.readable() == 0 && !self.connection.is_at_end(self.place) => {
                Err(ReadError::Stream((**error).clone()))
            }
            _ if stream.extra.is_negotiating() => Err(self.nothing_to_read()),
            _ => Ok(()),
        }
    }

    fn nothing_to_read(&mut self) -> ReadError {
        let Some(stream) = self.connection.session.stream_mut(self.place) else {
            return ReadError::Blocked;
        };
        if let Some(error) = &stream.extra.error {
            return ReadError::Stream((**error).clone());
        }
        stream.extra.read_interest = true;
        ReadError::Blocked
    }

    fn end_seen(&mut self) {
        if let Some(stream) = self.connection.session.stream_mut(self.place) {
            stream.extra.end_seen = true;
            self.connection.settle(self.place);
        }
    }

    fn check_alive(&self) -> Result<(), WriteError> {
        let Some(stream) = self.state() else {
            return Err(WriteError::Finished);
        };
        match (&stream.extra.error, &self.connection.error) {
            (Some(error), _) => Err(WriteError::Stream((**error).clone())),
            // The connection is closing, and sends only what was finished before.
            (None, Some(error)) if stream.send_state() == SendState::Silenced => {
                let error = StreamError::Connection(error.clone());
                Err(WriteError::Stream(error))
            }
            (None, _) => Ok(()),
        }
    }

    fn room_for(&mut self, len: usize) -> Result<usize, WriteError> {
        self.check_alive()?;
        let (config, session) = (&self.connection.config, &mut self.connection.session);
        let queued_by_all = session.queued_bytes().saturating_sub(session.bytes_aside());
        let Some(stream) = session.stream_mut(self.place) else {
            return Err(WriteError::Finished);
        };
        if stream.send_state() != SendState::Open || stream.extra.finishes_early() {
            return Err(WriteError::Finished);
        }
        let own = config.stream_send_queue.saturating_sub(stream.queued());
        let all = config.connection_send_queue.saturating_sub(queued_by_all);
        let room = own.min(all);
        let whole = match stream.extra.kind {
            StreamKind::Framed { .. } | StreamKind::ToEnd { .. } => true,
            StreamKind::Raw => false,
        };
        if !stream.extra.may_write() {
            stream.extra.write_interest = true;
            return Err(WriteError::Blocked);
        }
        if room == 0 && len > 0 {
            if own == 0 {
                session.want_space(self.place);
            } else if all == 0 {
                self.connection.blocked.insert(self.place);
            }
            return Err(WriteError::Blocked);
        }
        Ok(if whole { len } else { len.min(room) })
    }

    fn write_prefix(&mut self, len: usize) {
        let framed = |stream: &StreamState<StreamExtra>| {
            matches!(stream.extra.kind, StreamKind::Framed { .. })
        };
        if self.state().is_some_and(framed) {
            self.connection.write_length_prefix(self.place, len);
        }
    }
}
