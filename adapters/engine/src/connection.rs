//! One connection, as its driver and the handles of its streams share it.

use crate::{
    error::OpenStreamError,
    notify::{Notify, lock},
    opening::Openers,
    router::Router,
    stream::Stream,
    streams::{End, StreamTable},
};
use core::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};
use drywire::{
    connection::{
        Connection, ConnectionError, ConnectionId, StreamError, StreamId, ToConnection, code,
    },
    identity::PeerId,
    multistream::ProtocolName,
    time::Instant,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, OnceLock},
};

/// Streams of one connection that were over when protocols gave them to the host, and that the application has yet to take
/// up. Those that are not over need no limit of their own: they are counted among the connection's streams.
const MAX_HANDED_OVER_ENDED: usize = 1024;
/// Messages of one connection on their way to the swarm. Beyond, they wait in the connection, which then stops reading its
/// socket.
const MAX_UNDER_WAY: usize = 1024;

/// A connection shared by its driver, the swarm's driver and the application's streams.
///
/// Lock order: `state` first, then at most one of the small locks (`inbox`, the router's), each held for a few
/// instructions. Never this `state` together with another connection's or with the swarm. Nobody is woken, and no
/// stream is dropped, while `state` is held.
pub(crate) struct Shared {
    pub(crate) id: ConnectionId,
    pub(crate) router: Arc<Router>,
    /// Wakes the driver.
    pub(crate) notify: Notify,
    /// Known once established.
    pub(crate) peer: OnceLock<Arc<PeerId>>,
    /// From the swarm, in order. Bounded: the swarm keeps count of what is under way to each connection.
    inbox: Mutex<Inbox>,
    /// Messages on their way to the swarm.
    under_way: AtomicUsize,
    /// The driver waits for the swarm to take some of them.
    held_up: AtomicBool,
    pub(crate) state: Mutex<State>,
}

/// Messages from the swarm that the connection has yet to handle.
#[derive(Default)]
struct Inbox {
    messages: VecDeque<ToConnection>,
    /// How many have ever been put in.
    delivered: u64,
}

pub(crate) struct State {
    pub(crate) connection: Connection,
    pub(crate) phase: Phase,
    /// One entry for each stream handle alive.
    pub(crate) streams: StreamTable,
    /// Those who wait for the phase to change.
    pub(crate) waiting: VecDeque<Waker>,
    /// Those who wait for room for one more stream.
    pub(crate) openers: Openers,
    /// Streams that protocols gave to the host and nobody has taken up, and how they have ended since, unless the core
    /// remembers that.
    handed: BTreeMap<StreamId, Option<Box<End>>>,
    /// How many of those had ended before.
    handed_ended: usize,
    /// Streams that will be given to the host and that nobody wants, and by which message of the swarm they are at the latest.
    unwanted: BTreeMap<StreamId, u64>,
    /// How many messages of the swarm were handled.
    handled: u64,
    /// At how many those who wait for it were woken last.
    woken_at: u64,
    /// The driver does not read because the connection had no room; whoever makes room must wake it.
    pub(crate) reading_paused: bool,
    /// When the driver wakes by itself at the latest; whoever causes an earlier deadline must wake it.
    pub(crate) wakes_at: Instant,
}

pub(crate) enum Phase {
    Starting,
    Established,
    Closed(ConnectionError),
}

impl Shared {
    pub(crate) fn new(router: Arc<Router>, connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            id: connection.id(),
            router,
            notify: Notify::default(),
            peer: OnceLock::new(),
            inbox: Mutex::default(),
            under_way: AtomicUsize::new(0),
            held_up: AtomicBool::new(false),
            state: Mutex::new(State {
                connection,
                phase: Phase::Starting,
                streams: StreamTable::default(),
                waiting: VecDeque::new(),
                openers: Openers::default(),
                handed: BTreeMap::new(),
                handed_ended: 0,
                unwanted: BTreeMap::new(),
                handled: 0,
                woken_at: 0,
                reading_paused: false,
                wakes_at: Instant::FAR_FUTURE,
            }),
        })
    }

    /// Puts a message from the swarm into the inbox. Notify the driver once the swarm is unlocked.
    pub(crate) fn deliver(&self, message: ToConnection) {
        let mut inbox = lock(&self.inbox);
        inbox.delivered = inbox.delivered.saturating_add(1);
        inbox.messages.push_back(message);
    }

    /// Takes the inbox; it costs nothing while empty.
    pub(crate) fn take_inbox(&self) -> VecDeque<ToConnection> {
        core::mem::take(&mut lock(&self.inbox).messages)
    }

    /// Whether more than `count` further messages may be sent on their way to the swarm.
    pub(crate) fn has_room_beyond(&self, count: usize) -> bool {
        self.under_way.load(Ordering::SeqCst).saturating_add(count) < MAX_UNDER_WAY
    }

    /// So many messages are sent on their way to the swarm.
    pub(crate) fn messages_sent(&self, count: usize) {
        self.under_way.fetch_add(count, Ordering::SeqCst);
    }

    /// The driver has no room for more: it is notified when there is some, unless there is already.
    pub(crate) fn wait_for_room(&self) -> bool {
        self.held_up.store(true, Ordering::SeqCst);
        self.has_room_beyond(0)
    }

    /// The swarm has taken a message; whether the driver waits for that, and is to be notified.
    pub(crate) fn message_taken(&self) -> bool {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.held_up.swap(false, Ordering::SeqCst)
    }

    /// Works on the state, then wakes the driver if it has something to do now.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let (result, wake) = {
            let mut state = lock(&self.state);
            let result = f(&mut state);
            (result, state.wants_driver())
        };
        if wake {
            self.notify.notify();
        }
        result
    }

    /// Ready when a protocol has handed over `stream`, or it is not to be had: the connection is closed, or there was no room
    /// for it. `due` is for this alone, and none at first.
    ///
    /// Whoever knows the stream's name was told after the connection was: what the swarm has said so far decides.
    pub(crate) fn poll_handed_over(
        self: &Arc<Self>,
        cx: &Context<'_>,
        stream: StreamId,
        protocol: &ProtocolName,
        due: &mut Option<u64>,
    ) -> Poll<Result<Stream, OpenStreamError>> {
        let mut state = lock(&self.state);
        if let Some(peer) = self.peer.get().cloned()
            && let Some(end) = state.take_handed(stream)
        {
            state.streams.insert(stream, true);
            if let Some(entry) = state.streams.get_mut(stream) {
                entry.end = end;
            }
            drop(state);
            return Poll::Ready(Ok(Stream::new(
                self.clone(),
                stream,
                peer,
                protocol.clone(),
            )));
        }
        if let Phase::Closed(error) = &state.phase {
            return Poll::Ready(Err(OpenStreamError::Connection(error.clone())));
        }
        let due = *due.get_or_insert_with(|| lock(&self.inbox).delivered);
        if state.handled >= due {
            let error = StreamError::Reset(code::RESOURCE_LIMIT_EXCEEDED);
            return Poll::Ready(Err(OpenStreamError::Stream(error)));
        }
        state.wait(cx);
        Poll::Pending
    }

    /// Nobody will take a stream up: it is reset, now or when it is handed over.
    pub(crate) fn discard(&self, stream: StreamId) {
        self.with(|state| {
            let due = lock(&self.inbox).delivered;
            state.discard(stream, due);
        });
    }

    /// Ready when the connection is established, or will never be.
    pub(crate) fn poll_established(&self, cx: &Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let mut state = lock(&self.state);
        match &state.phase {
            Phase::Starting => {
                state.wait(cx);
                Poll::Pending
            }
            Phase::Established => Poll::Ready(Ok(())),
            Phase::Closed(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

impl State {
    /// Whether there is something to send, room to read, or something to hand out: what waits is always due, so that the
    /// deadline tells.
    fn wants_driver(&self) -> bool {
        self.reading_paused
            || self.connection.wants_transmit()
            || self
                .openers
                .deadline()
                .is_some_and(|deadline| deadline < self.wakes_at)
            || self
                .connection
                .poll_timeout()
                .is_some_and(|deadline| deadline < self.wakes_at)
    }

    /// Keeps a stream's last word for its handle.
    pub(crate) fn ended(&mut self, stream: StreamId, end: End, wakers: &mut Vec<Waker>) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.end = Some(Box::new(end));
            wakers.extend(entry.read.take().into_iter().chain(entry.write.take()));
        } else if self.handed.contains_key(&stream) {
            self.handed_over_ended(stream, end);
        }
    }

    /// The stream's last word comes before anybody has taken it up.
    fn handed_over_ended(&mut self, stream: StreamId, end: End) {
        if self.handed_ended >= MAX_HANDED_OVER_ENDED {
            // One that has failed is still there, and counted.
            self.handed.remove(&stream);
            self.reset(stream, code::RESOURCE_LIMIT_EXCEEDED);
        } else if let Some(kept) = self.handed.get_mut(&stream)
            && kept.replace(Box::new(end)).is_none()
        {
            self.handed_ended = self.handed_ended.saturating_add(1);
        }
    }

    /// Gives out a stream that was handed over.
    fn take_handed(&mut self, stream: StreamId) -> Option<Option<Box<End>>> {
        let end = self.handed.remove(&stream)?;
        if end.is_some() {
            self.handed_ended = self.handed_ended.saturating_sub(1);
        }
        Some(end)
    }

    /// Keeps a stream until somebody takes it up; resets it if nobody wants it.
    pub(crate) fn handed_over(&mut self, stream: StreamId) {
        if self.unwanted.remove(&stream).is_some() {
            self.reset(stream, code::NO_ERROR);
        } else {
            self.handed.insert(stream, None);
        }
    }

    /// Takes in messages of the swarm. What comes of them is to be handed out before the state is unlocked.
    pub(crate) fn handle_messages(&mut self, now: Instant, messages: VecDeque<ToConnection>) {
        for message in messages {
            self.handled = self.handled.saturating_add(1);
            self.connection.handle_message(now, message);
        }
    }

    /// What the swarm said was handled, and what came of it handed out.
    pub(crate) fn messages_handled(&mut self, wakers: &mut Vec<Waker>) {
        let handled = self.handled;
        if core::mem::replace(&mut self.woken_at, handled) == handled {
            return;
        }
        self.unwanted.retain(|_, due| *due > handled);
        wakers.extend(self.waiting.drain(..));
    }

    /// See [`Shared::discard`]; the messages up to `due` decide.
    fn discard(&mut self, stream: StreamId, due: u64) {
        if self.take_handed(stream).is_some() {
            self.reset(stream, code::NO_ERROR);
        } else if self.handled < due && !matches!(self.phase, Phase::Closed(_)) {
            // Bounded: by what is in the inbox.
            self.unwanted.insert(stream, due);
        }
    }

    fn reset(&mut self, stream: StreamId, code: u32) {
        if let Some(mut stream) = self.connection.stream(stream) {
            stream.reset(code);
        }
    }

    /// Registers a task that waits for the phase to change or for room. Once, however often it is polled.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push_back(cx.waker().clone());
        }
    }

    /// Takes everybody who waits, for whatever reason.
    pub(crate) fn take_wakers(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.waiting.drain(..));
        self.openers.wake_all(wakers);
        for entry in self.streams.iter_mut() {
            wakers.extend(entry.read.take().into_iter().chain(entry.write.take()));
        }
    }

    /// The error every stream reports that the core has forgotten without a last word of its own.
    pub(crate) fn closed(&self) -> StreamError {
        StreamError::Connection(match &self.phase {
            Phase::Closed(error) => error.clone(),
            Phase::Starting | Phase::Established => ConnectionError::Closed,
        })
    }
}
