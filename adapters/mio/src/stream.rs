//! A stream in the hands of the application.

use bytes::Bytes;
use core::fmt;
use drywire::{
    connection::{self, ReadError, StreamError, StreamId, WriteError},
    multistream::ProtocolName,
};
use std::io::{self, Read, Write};

/// A short-lived view of a stream, from [`Host::stream`](crate::Host::stream).
///
/// It reads and writes as any non-blocking socket does: [`WouldBlock`](io::ErrorKind::WouldBlock) says that an
/// [`Event::Readable`](connection::Event::Readable) or [`Writable`](connection::Event::Writable) follows. What is written
/// travels once the host's events are drained, together with what else was written until then, so that [`Write::flush`] has
/// nothing to do.
///
/// An error of a stream is an [`io::Error`] around a [`StreamError`].
pub struct Stream<'a>(pub(crate) connection::Stream<'a>);

impl Stream<'_> {
    /// The stream's name.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.0.id()
    }

    /// The agreed protocol; `None` while it is negotiated.
    #[must_use]
    pub fn protocol(&self) -> Option<&ProtocolName> {
        self.0.protocol()
    }

    /// The next chunk of at most `max` bytes, without a copy where it can be; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError::Blocked`] if nothing is there yet, or why the stream failed.
    pub fn read_bytes(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        self.0.read(max)
    }

    /// Takes from the front of `data` what there is room for, without a copy.
    ///
    /// # Errors
    /// [`WriteError::Blocked`] if there is no room, or why writing is no longer possible.
    pub fn write_bytes(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        self.0.write_bytes(data)
    }

    /// Half-closes: the peer reads the end after what was written. Reading goes on. Doing it twice does nothing.
    ///
    /// # Errors
    /// Why the stream failed, if it has.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.0.finish()
    }

    /// Stops reading: what still arrives is discarded.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Aborts both directions, telling the peer `code` (see [`code`](connection::code)), and forgets the stream. No event
    /// follows.
    pub fn reset(&mut self, code: u32) {
        self.0.reset(code);
    }

    /// Lets go of the stream. If this side has finished, what it wrote is still sent and the peer may finish in its own time;
    /// otherwise the stream is reset. No event follows.
    pub fn release(&mut self) {
        self.0.release();
    }

    /// Sets the priority: streams of a higher one send first. 128 is the middle.
    pub fn set_priority(&mut self, priority: u8) {
        self.0.set_priority(priority);
    }

    /// Whether nothing that was written still waits to be sent.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.0.is_flushed()
    }
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.0.id())
            .finish_non_exhaustive()
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_into(buffer).map_err(|error| match error {
            ReadError::Stream(error) => stream_error(error),
            error => io::Error::new(io::ErrorKind::WouldBlock, error),
        })
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data).map_err(|error| match error {
            WriteError::Stream(error) => stream_error(error),
            error @ WriteError::Finished => io::Error::new(io::ErrorKind::BrokenPipe, error),
            error => io::Error::new(io::ErrorKind::WouldBlock, error),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stream_error(error: StreamError) -> io::Error {
    let kind = drywire_system::stream_error_kind(&error);
    io::Error::new(kind, error)
}
