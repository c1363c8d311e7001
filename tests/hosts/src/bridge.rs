//! Futures for hosts that have none.
//!
//! A [`Line`] is a stream with one end in the host's thread and the other in a task of the test: two short queues and two
//! wakers. The host's thread [pumps](Lines::pump) between it and the stream whenever the stream has something to say, or the task
//! has [called](Caller).

use crate::{
    node::{Failed, Incoming, Stream},
    protocols::{Counts, ProtocolEvent, Protocols},
};
use bytes::Bytes;
use core::{
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::{
    connection::{self, ConnectionId, ReadError, StreamId, WriteError},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{
        kad::{self, QueryId, QueryResult, Record},
        request_response::{self, Message, OutboundRequestId},
    },
    swarm::{Context as SwarmContext, DialId, Event, ListenerId},
};
use futures::{
    AsyncRead, AsyncWrite, StreamExt,
    channel::{mpsc, oneshot},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

/// Bytes that wait in a line, each way; soft by one chunk.
const ROOM: usize = 16 * 1024;

/// What the host's thread can do to a stream.
pub trait StreamOperations {
    /// As [`connection::Stream::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&mut self, max: usize) -> Result<Option<Bytes>, ReadError>;
    /// As [`connection::Stream::write_bytes`].
    ///
    /// # Errors
    /// As there.
    fn write(&mut self, data: &mut Bytes) -> Result<usize, WriteError>;
    /// As [`connection::Stream::finish`].
    fn finish(&mut self);
    /// As [`connection::Stream::reset`].
    fn reset(&mut self);
    /// As [`connection::Stream::release`].
    fn release(&mut self);
}

macro_rules! stream_operations {
    ($stream:ty, $read:ident) => {
        impl StreamOperations for $stream {
            fn read(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
                self.$read(max)
            }

            fn write(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
                self.write_bytes(data)
            }

            fn finish(&mut self) {
                let _ = Self::finish(self);
            }

            fn reset(&mut self) {
                Self::reset(self, 0);
            }

            fn release(&mut self) {
                Self::release(self);
            }
        }
    };
}

stream_operations!(connection::Stream<'_>, read);
stream_operations!(drywire_mio::Stream<'_>, read_bytes);

/// Has the host's thread pump a line.
pub type Caller = Arc<dyn Fn(ConnectionId, StreamId) + Send + Sync>;

#[derive(Default)]
struct Queues {
    /// From the stream.
    read: VecDeque<Bytes>,
    read_len: usize,
    read_end: bool,
    /// To the stream.
    write: VecDeque<Bytes>,
    write_len: usize,
    finished: bool,
    finish_passed: bool,
    error: Option<String>,
    reading: Option<Waker>,
    writing: Option<Waker>,
    /// The task has let go of it; and whether by a reset.
    gone: Option<bool>,
}

/// What both ends of a stream share.
#[derive(Default)]
pub struct Line(Mutex<Queues>);

impl Line {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap()
    }

    /// Moves what can be moved; whether the line is done with.
    fn pump(&self, stream: Option<&mut dyn StreamOperations>) -> bool {
        let mut queues = self.lock();
        let Some(stream) = stream else {
            // Both sides finished and its end was read, or it was lost with its connection.
            if !queues.read_end || !queues.finish_passed {
                queues.error.get_or_insert("the stream is gone".to_owned());
            }
            return Self::wake(queues, true);
        };
        if let Some(reset) = queues.gone {
            // What was written and finished before is still passed on.
            if reset || !queues.finished {
                stream.reset();
                return Self::wake(queues, true);
            }
        }
        Self::pump_writes(&mut queues, stream);
        if queues.gone.is_some() {
            if queues.finish_passed || queues.error.is_some() {
                stream.release();
                return Self::wake(queues, true);
            }
            return Self::wake(queues, false);
        }
        while queues.read_len < ROOM && !queues.read_end && queues.error.is_none() {
            match stream.read(ROOM) {
                Ok(Some(bytes)) => {
                    queues.read_len += bytes.len();
                    queues.read.push_back(bytes);
                }
                Ok(None) => queues.read_end = true,
                Err(ReadError::Stream(error)) => queues.error = Some(error.to_string()),
                Err(_) => break,
            }
        }
        Self::wake(queues, false)
    }

    fn pump_writes(queues: &mut Queues, stream: &mut dyn StreamOperations) {
        while let Some(first) = queues.write.front_mut() {
            match stream.write(first) {
                Ok(count) => {
                    let empty = first.is_empty();
                    queues.write_len -= count;
                    if empty {
                        queues.write.pop_front();
                    }
                }
                Err(WriteError::Blocked) => return,
                Err(error) => {
                    queues.error.get_or_insert(error.to_string());
                    queues.write.clear();
                    queues.write_len = 0;
                }
            }
        }
        if queues.finished && !queues.finish_passed {
            stream.finish();
            queues.finish_passed = true;
        }
    }

    /// Wakes the task if it can go on.
    fn wake(mut queues: MutexGuard<'_, Queues>, done: bool) -> bool {
        let over = queues.error.is_some();
        let mut wakers = Vec::new();
        if over || queues.read_len > 0 || queues.read_end {
            wakers.extend(queues.reading.take());
        }
        if over || queues.write_len < ROOM {
            wakers.extend(queues.writing.take());
        }
        drop(queues);
        wakers.into_iter().for_each(Waker::wake);
        done
    }
}

/// The task's end of a stream.
pub struct LineStream {
    line: Arc<Line>,
    connection: ConnectionId,
    stream: StreamId,
    call: Caller,
}

impl LineStream {
    fn call(&self) {
        (self.call)(self.connection, self.stream);
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        self.line.lock().gone.get_or_insert(false);
        self.call();
    }
}

impl Stream for LineStream {
    fn reset(self) {
        self.line.lock().gone = Some(true);
    }
}

impl AsyncRead for LineStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut queues = self.line.lock();
        let was_full = queues.read_len >= ROOM;
        if let Some(first) = queues.read.front_mut() {
            let count = first.len().min(buf.len());
            buf[..count].copy_from_slice(&first.split_to(count));
            if first.is_empty() {
                queues.read.pop_front();
            }
            queues.read_len -= count;
            let call = was_full && queues.read_len < ROOM;
            drop(queues);
            if call {
                self.call();
            }
            return Poll::Ready(Ok(count));
        }
        if queues.read_end {
            return Poll::Ready(Ok(0));
        }
        if let Some(error) = &queues.error {
            return Poll::Ready(Err(io::Error::other(error.clone())));
        }
        queues.reading = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut queues = self.line.lock();
        if let Some(error) = &queues.error {
            return Poll::Ready(Err(io::Error::other(error.clone())));
        }
        if queues.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = data.len().min(ROOM.saturating_sub(queues.write_len));
        if count == 0 {
            queues.writing = Some(cx.waker().clone());
            return Poll::Pending;
        }
        queues
            .write
            .push_back(Bytes::copy_from_slice(&data[..count]));
        queues.write_len += count;
        drop(queues);
        self.call();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.lock().finished = true;
        self.call();
        Poll::Ready(Ok(()))
    }
}

/// Streams that peers open under one name.
pub struct LineIncoming(mpsc::UnboundedReceiver<(PeerId, LineStream)>);

impl Incoming for LineIncoming {
    type Stream = LineStream;

    async fn next(&mut self) -> Option<(PeerId, LineStream)> {
        StreamExt::next(&mut self.0).await
    }
}

/// The host's ends of its streams, and who waits for those that peers open. One for each thread with connections.
pub struct Lines {
    lines: BTreeMap<(ConnectionId, StreamId), Arc<Line>>,
    accepting: Accepting,
    call: Caller,
}

/// Who waits for streams of each name; of all threads of a host.
pub type Accepting =
    Arc<Mutex<BTreeMap<ProtocolName, mpsc::UnboundedSender<(PeerId, LineStream)>>>>;

/// Waits for streams under a name.
#[must_use]
pub fn wait_for(accepting: &Accepting, name: ProtocolName) -> LineIncoming {
    let (sender, receiver) = mpsc::unbounded();
    accepting.lock().unwrap().insert(name, sender);
    LineIncoming(receiver)
}

impl Lines {
    /// None yet. `call` brings the thread to [`pump`](Self::pump).
    #[must_use]
    pub const fn new(accepting: Accepting, call: Caller) -> Self {
        Self {
            lines: BTreeMap::new(),
            accepting,
            call,
        }
    }

    /// A stream was opened.
    pub fn add(&mut self, connection: ConnectionId, stream: StreamId) -> LineStream {
        let line = Arc::new(Line::default());
        self.lines.insert((connection, stream), line.clone());
        LineStream {
            line,
            connection,
            stream,
            call: self.call.clone(),
        }
    }

    /// Moves what can be moved between a stream and its task.
    pub fn pump(
        &mut self,
        connection: ConnectionId,
        stream: StreamId,
        operations: Option<&mut dyn StreamOperations>,
    ) {
        let key = (connection, stream);
        if let Some(line) = self.lines.get(&key)
            && line.pump(operations)
        {
            self.lines.remove(&key);
        }
    }

    /// Which streams are to be pumped because of an event. An inbound stream is given to who waits for it.
    pub fn concerned(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        event: &connection::Event,
    ) -> Vec<StreamId> {
        match event {
            connection::Event::Inbound { stream, protocol } => {
                let line = self.add(connection, *stream);
                let accepting = self.accepting.lock().unwrap();
                if let (Some(sender), Some(peer)) = (accepting.get(protocol), peer) {
                    // Whom nobody wants is dropped, and so reset.
                    let _ = sender.unbounded_send((peer, line));
                }
                vec![*stream]
            }
            connection::Event::Opened { stream, .. }
            | connection::Event::Failed { stream, .. }
            | connection::Event::Readable { stream }
            | connection::Event::Writable { stream }
            | connection::Event::Finished { stream }
            | connection::Event::Reset { stream, .. } => vec![*stream],
            connection::Event::Closed { .. } => {
                let own = self.lines.keys().filter(|(id, _)| *id == connection);
                own.map(|(_, stream)| *stream).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Drop for Lines {
    /// With the host's end, or the connection's, they are all lost.
    fn drop(&mut self) {
        for line in self.lines.values() {
            line.pump(None);
        }
    }
}

type Answer<T> = oneshot::Sender<Result<T, Failed>>;

/// Who waits for what the swarm will say.
#[derive(Default)]
pub struct Answers {
    /// Dials.
    pub dials: BTreeMap<DialId, Answer<(PeerId, ConnectionId)>>,
    /// Listeners.
    pub listens: BTreeMap<ListenerId, Answer<Multiaddr>>,
    requests: BTreeMap<OutboundRequestId, Answer<Bytes>>,
    puts: BTreeMap<QueryId, Answer<()>>,
    gets: BTreeMap<QueryId, Answer<Vec<u8>>>,
    shutdowns: Vec<oneshot::Sender<()>>,
    /// What the events add up to.
    pub counts: Arc<Counts>,
}

impl Answers {
    /// Sends a request.
    pub fn request(
        &mut self,
        set: &mut Protocols,
        cx: &mut SwarmContext<'_, ProtocolEvent>,
        peer: PeerId,
        body: Bytes,
        answer: Answer<Bytes>,
    ) {
        let sent =
            Protocols::Asking.with(set, cx, |asking, cx| asking.send_request(&peer, body, cx));
        match sent {
            Ok(id) => drop(self.requests.insert(id, answer)),
            Err(error) => drop(answer.send(Err(Failed(format!("{:?}", error.reason))))),
        }
    }

    /// Stores a record.
    pub fn put(
        &mut self,
        set: &mut Protocols,
        cx: &mut SwarmContext<'_, ProtocolEvent>,
        record: Record,
        answer: Answer<()>,
    ) {
        let begun = Protocols::Kad.with(set, cx, |kad, cx| {
            kad.put_record(record, kad::Quorum::One, cx)
        });
        match begun {
            Ok(id) => drop(self.puts.insert(id, answer)),
            Err(error) => drop(answer.send(Err(Failed(format!("{error:?}"))))),
        }
    }

    /// Gets a record.
    pub fn get(
        &mut self,
        set: &mut Protocols,
        cx: &mut SwarmContext<'_, ProtocolEvent>,
        key: &'static str,
        answer: Answer<Vec<u8>>,
    ) {
        match Protocols::Kad.with(set, cx, |kad, cx| kad.get_record(key, cx)) {
            Ok(id) => drop(self.gets.insert(id, answer)),
            Err(error) => drop(answer.send(Err(Failed(format!("{error:?}"))))),
        }
    }

    /// Told when the swarm has shut down.
    pub fn wait_for_shutdown(&mut self, answer: oneshot::Sender<()>) {
        self.shutdowns.push(answer);
    }

    /// The host has ended.
    pub fn shut_down(&mut self) {
        for answer in self.shutdowns.drain(..) {
            let _ = answer.send(());
        }
    }

    /// What the swarm says.
    pub fn handle(&mut self, event: Event<ProtocolEvent>) {
        self.counts.count(&event);
        match event {
            Event::Dialed {
                dial,
                connection,
                peer,
            } => {
                if let Some(answer) = self.dials.remove(&dial) {
                    let _ = answer.send(Ok((peer, connection)));
                }
            }
            Event::DialFailed { dial, error, .. } => {
                if let Some(answer) = self.dials.remove(&dial) {
                    let _ = answer.send(Err(Failed::of(error)));
                }
            }
            Event::Listening { listener, address } => {
                if let Some(answer) = self.listens.remove(&listener) {
                    let _ = answer.send(Ok(address));
                }
            }
            Event::ListenerClosed { listener, error } => {
                if let Some(answer) = self.listens.remove(&listener) {
                    let _ = answer.send(Err(Failed(format!("{error:?}"))));
                }
            }
            Event::Protocol(ProtocolEvent::Asking(event)) => self.handle_response(event),
            Event::Protocol(ProtocolEvent::Kad(event)) => self.handle_query(event),
            _ => {}
        }
    }

    fn handle_response(&mut self, event: request_response::Event<Bytes, Bytes>) {
        match event {
            request_response::Event::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                if let Some(answer) = self.requests.remove(&request_id) {
                    let _ = answer.send(Ok(response));
                }
            }
            request_response::Event::OutboundFailure {
                request_id, error, ..
            } => {
                if let Some(answer) = self.requests.remove(&request_id) {
                    let _ = answer.send(Err(Failed::of(error)));
                }
            }
            _ => {}
        }
    }

    fn handle_query(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed {
            id, result, step, ..
        } = event
        else {
            return;
        };
        match result {
            QueryResult::PutRecord(result) if step.last => {
                if let Some(answer) = self.puts.remove(&id) {
                    let result = result.map(|_| ());
                    let _ = answer.send(result.map_err(|error| Failed(format!("{error:?}"))));
                }
            }
            QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                if let Some(answer) = self.gets.remove(&id) {
                    let _ = answer.send(Ok(found.record.value.to_vec()));
                }
            }
            QueryResult::GetRecord(result) if step.last => {
                if let Some(answer) = self.gets.remove(&id) {
                    let _ = answer.send(Err(Failed(format!("{result:?}"))));
                }
            }
            _ => {}
        }
    }
}
