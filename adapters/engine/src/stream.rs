//! A stream in the application's hands.

use crate::{
    connection::{Phase, Shared, State},
    error::WriteError,
    streams::End,
};
use bytes::Bytes;
use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::{
    connection::{self, ConnectionId, ReadError, StreamError, StreamId},
    identity::PeerId,
    multistream::ProtocolName,
};
use std::{io, sync::Arc};

/// A bidirectional, ordered, flow-controlled byte stream to a peer.
///
/// It acts on its connection directly; nothing passes through the swarm. It implements the `AsyncRead` and `AsyncWrite`
/// traits of futures (and, with the feature `tokio`, tokio's), where closing finishes the sending direction only, and it
/// takes and gives [`Bytes`] without a copy.
///
/// Writing queues; what is queued is sent without further ado, many small writes together. So flushing does nothing,
/// and closing does not wait for the network.
///
/// Dropping a stream resets it, unless both sides have finished. Dropped after its sending direction was finished, it
/// still delivers what was written.
pub struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
    /// One value for all streams of the connection: a node may hold very many streams.
    peer: Arc<PeerId>,
    protocol: ProtocolName,
    /// Bytes to be read before all others. Few streams ever have any.
    first: Option<Box<Bytes>>,
}

impl Stream {
    /// A handle of a stream whose entry exists.
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: StreamId,
        peer: Arc<PeerId>,
        protocol: ProtocolName,
    ) -> Self {
        Self {
            shared,
            id,
            peer,
            protocol,
            first: None,
        }
    }

    /// The same stream, with bytes in front of what is to be read.
    pub(crate) fn with_first(mut self, first: Bytes) -> Self {
        self.first = (!first.is_empty()).then(|| Box::new(first));
        self
    }

    /// Some of the bytes to be read before all others, while there are any.
    fn take_first(&mut self, max: usize) -> Option<Bytes> {
        let first = self.first.as_deref_mut()?;
        let piece = first.split_to(max.min(first.len()));
        if first.is_empty() {
            self.first = None;
        }
        Some(piece)
    }

    /// The peer at the other end.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        *self.peer
    }

    /// The protocol the stream was opened for.
    #[must_use]
    pub fn protocol(&self) -> &ProtocolName {
        &self.protocol
    }

    /// The connection it belongs to.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.shared.id
    }

    /// Its name on that connection.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Reads what has arrived, at most `max` bytes, without copying it; `None` at the end.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// Once everything received was read: why the stream ended early.
    pub async fn read_bytes(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        poll_fn(|cx| self.poll_read_bytes(cx, max)).await
    }

    /// The form of [`read_bytes`](Self::read_bytes) for hand-written futures.
    ///
    /// # Errors
    /// As there.
    pub fn poll_read_bytes(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        if max > 0
            && let Some(first) = self.take_first(max)
        {
            return Poll::Ready(Ok(Some(first)));
        }
        self.poll_read_with(cx, None, |stream| stream.read(max))
    }

    /// Writes all of `data` without copying it. `data` is advanced over what was taken, so that dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// Why no more can be written.
    pub async fn write_bytes(&mut self, data: &mut Bytes) -> Result<(), WriteError> {
        while !data.is_empty() {
            poll_fn(|cx| self.poll_write_bytes(cx, data)).await?;
        }
        Ok(())
    }

    /// Writes some of `data` without copying it, and advances it over what was taken: how many bytes.
    ///
    /// # Errors
    /// Why no more can be written.
    pub fn poll_write_bytes(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
    ) -> Poll<Result<usize, WriteError>> {
        self.poll_write_with(cx, |stream| stream.write_bytes(data))
    }

    /// Finishes the sending direction: the peer sees the end after everything written before. Receiving goes on.
    ///
    /// # Errors
    /// If the stream has failed, or is finished already.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let id = self.id;
        self.shared.with(|state| match state.connection.stream(id) {
            Some(mut stream) => stream.finish().map_err(|error| match error {
                connection::WriteError::Stream(error) => WriteError::Stream(error),
                _ => WriteError::Finished,
            }),
            None => Err(state.write_end(id)),
        })
    }

    /// Aborts both directions at once. The peer is told `code`, see [`drywire::connection::code`].
    pub fn reset(self, code: u32) {
        self.shared.with(|state| {
            if let Some(mut stream) = state.connection.stream(self.id) {
                stream.reset(code);
            }
        });
    }

    /// Sets how the stream's data ranks among the connection's: higher goes first. 128 unless set.
    pub fn set_priority(&mut self, priority: u8) {
        self.shared.with(|state| {
            if let Some(mut stream) = state.connection.stream(self.id) {
                stream.set_priority(priority);
            }
        });
    }

    /// Ready when the peer has agreed to the protocol, or the stream has failed.
    pub(crate) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let id = self.id;
        self.shared.with(|state| {
            let closed = matches!(state.phase, Phase::Closed(_)).then(|| state.closed());
            let Some(entry) = state.streams.get_mut(id) else {
                return Poll::Ready(Err(state.closed()));
            };
            match (entry.end.as_deref(), closed) {
                (Some(End::Failed(error)), _) => Poll::Ready(Err(error.clone())),
                _ if entry.opened => Poll::Ready(Ok(())),
                (Some(End::Finished), _) => Poll::Ready(Ok(())),
                (None, Some(error)) => Poll::Ready(Err(error)),
                (None, None) => {
                    register(&mut entry.read, cx);
                    Poll::Pending
                }
            }
        })
    }

    fn poll_read_with<T>(
        &mut self,
        cx: &Context<'_>,
        end: T,
        read: impl FnOnce(&mut connection::Stream<'_>) -> Result<T, ReadError>,
    ) -> Poll<Result<T, StreamError>> {
        let id = self.id;
        self.shared.with(|state| {
            let result = match state.connection.stream(id) {
                Some(mut stream) => read(&mut stream),
                None => {
                    return Poll::Ready(match state.end(id) {
                        End::Finished => Ok(end),
                        End::Failed(error) => Err(error),
                    });
                }
            };
            match (result, &state.phase) {
                (Ok(value), _) => Poll::Ready(Ok(value)),
                (Err(ReadError::Stream(error)), _) => Poll::Ready(Err(error)),
                (Err(ReadError::Blocked), Phase::Starting | Phase::Established) => {
                    if let Some(entry) = state.streams.get_mut(id) {
                        register(&mut entry.read, cx);
                    }
                    Poll::Pending
                }
                (Err(_), _) => Poll::Ready(Err(state.closed())),
            }
        })
    }

    fn poll_write_with(
        &mut self,
        cx: &Context<'_>,
        write: impl FnOnce(&mut connection::Stream<'_>) -> Result<usize, connection::WriteError>,
    ) -> Poll<Result<usize, WriteError>> {
        let id = self.id;
        self.shared.with(|state| {
            let closed = matches!(state.phase, Phase::Closed(_));
            let Some(mut stream) = state.connection.stream(id) else {
                return Poll::Ready(Err(state.write_end(id)));
            };
            if closed {
                // The stream has not ended by itself: it goes down with its connection.
                return Poll::Ready(Err(WriteError::Stream(state.closed())));
            }
            match write(&mut stream) {
                Ok(count) => Poll::Ready(Ok(count)),
                Err(connection::WriteError::Blocked) => {
                    if let Some(entry) = state.streams.get_mut(id) {
                        register(&mut entry.write, cx);
                    }
                    Poll::Pending
                }
                Err(connection::WriteError::Stream(error)) => {
                    Poll::Ready(Err(WriteError::Stream(error)))
                }
                Err(_) => Poll::Ready(Err(WriteError::Finished)),
            }
        })
    }
}

/// Keeps the task's waker, unless it is there already.
fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        *slot = Some(cx.waker().clone());
    }
}

impl State {
    /// How a stream ended that the core has forgotten. Without a last word the event that says so is still on its way to
    /// the driver, and it can only say one thing: a stream that failed is kept until its handle lets go of it.
    fn end(&self, id: StreamId) -> End {
        let known = self.streams.get(id).and_then(|entry| entry.end.as_deref());
        known.cloned().unwrap_or(End::Finished)
    }

    /// The same, to whom wants to write.
    fn write_end(&self, id: StreamId) -> WriteError {
        match self.end(id) {
            End::Finished => WriteError::Finished,
            End::Failed(error) => WriteError::Stream(error),
        }
    }
}

impl futures_io::AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Some(first) = self.take_first(buf.len()) {
            let room = buf.get_mut(..first.len()).unwrap_or_default();
            room.copy_from_slice(&first);
            return Poll::Ready(Ok(first.len()));
        }
        self.poll_read_with(cx, 0, |stream| stream.read_into(buf))
            .map_err(read_error)
    }
}

impl futures_io::AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |stream| stream.write(data))
            .map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.close_once())
    }
}

impl Stream {
    /// Closing twice is no error to the traits.
    fn close_once(&mut self) -> io::Result<()> {
        match self.finish() {
            Ok(()) | Err(WriteError::Finished) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(feature = "tokio")]
mod tokio_traits {
    use super::{Context, Pin, Poll, Stream, io, read_error};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    impl AsyncRead for Stream {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.first.is_none() && buf.initialized().len() == buf.capacity() {
                let read = self
                    .poll_read_with(cx, 0, |stream| stream.read_into(buf.initialize_unfilled()));
                return read.map_ok(|count| buf.advance(count)).map_err(read_error);
            }
            // Copying a chunk into uninitialised memory beats zeroing that memory first.
            let max = buf.remaining();
            let read = self.poll_read_bytes(cx, max);
            read.map_ok(|bytes| bytes.iter().for_each(|bytes| buf.put_slice(bytes)))
                .map_err(read_error)
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            futures_io::AsyncWrite::poll_write(self, cx, data)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.close_once())
        }
    }
}

fn read_error(error: StreamError) -> io::Error {
    WriteError::Stream(error).into()
}

impl Drop for Stream {
    fn drop(&mut self) {
        let entry = self.shared.with(|state| {
            if let Some(mut stream) = state.connection.stream(self.id) {
                stream.release();
            }
            state.streams.remove(self.id)
        });
        // Outside the lock: dropping a waker may drop a task.
        drop(entry);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer", &self.peer)
            .field("protocol", &self.protocol)
            .field("connection", &self.shared.id)
            .field("id", &self.id)
            .finish()
    }
}
