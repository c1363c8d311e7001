//! Drives one connection: the only code that touches its socket.
//!
//! A turn has two halves. The first takes the swarm's messages, fires the timer, reads, and hands out what happened: to the
//! swarm right here, unless somebody else is at work on it. If that woke anybody, the driver lets them run before the second
//! half, so that their answers travel in the same message; the second half transmits, hands out again (transmitting makes room to write), and writes to the socket.
//!
//! Whenever [`Driver::poll`] returns pending, something is armed that will call it again: the socket's readiness to read (or
//! a reader that makes room and notifies), its readiness to write if output is left, the timer, the notification flag, or
//! the task has woken itself because it stopped on a budget.

use crate::{
    connection::{Phase, Shared, State},
    notify::lock,
    router::FromConnection,
    runtime::{Pipe, Runtime, Timer},
    state::{Port, Settled, Taken},
    stream::Stream,
    streams::End,
};
use bytes::BytesMut;
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::{
    connection::{ConnectionError, Event, StreamId},
    multistream::ProtocolName,
    time::{Instant, earliest},
};
use std::sync::Arc;

/// Bytes read in one turn before others get theirs.
const READ_BUDGET: usize = 256 * 1024;
/// Bytes transmitted in one turn; soft by one message.
const TRANSMIT_LIMIT: usize = 256 * 1024;

/// After the end of a connection: for what is left to write, and then for the peer's own end.
const LINGER_UNWRITTEN: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(1);
/// Reads in one turn of that.
const LINGER_READS: usize = 16;

/// The task of one connection.
pub(crate) struct Driver<R: Runtime> {
    runtime: R,
    shared: Arc<Shared>,
    port: Arc<dyn Port>,
    pipe: R::Pipe,
    timer: R::Timer,
    /// What the timer is set to. It is moved only when the deadline gets earlier: most deadlines move away before they
    /// come, and a spurious timeout costs less than re-arming for every message.
    armed: Option<Instant>,
    /// Output not yet written, from `written` on. Borrowed from the router; without capacity while there is none.
    out: Vec<u8>,
    written: usize,
    found: Found,
    settled: Settled,
    reasons: Reasons,
    flags: Flags,
    /// Times to let others run before the second half; `None` in the first half.
    yields: Option<u8>,
    /// How often this turn has let others run for a reason of its own.
    rounds: u8,
    /// Writing failed: what was received before is still taken in, then the connection is lost for this reason.
    lost: Option<String>,
}

#[derive(Default)]
struct Flags {
    /// Reading stopped on its budget: there is no armed readiness.
    read_more: bool,
    /// The peer's end or an error was seen: there is nothing more to read.
    read_closed: bool,
    /// After what is in `out`, the sending direction is to be shut down.
    shutdown_wanted: bool,
    shutdown_done: bool,
    ended: bool,
    /// Ended, but for the socket.
    lingering: bool,
}

/// What a half turn found, to be acted on once the connection is unlocked.
#[derive(Default)]
struct Found {
    wakers: Vec<Waker>,
    inbound: Vec<(StreamId, ProtocolName)>,
    messages: Vec<FromConnection>,
    /// The peer was admitted. Whoever dialed it is told by the swarm.
    established: bool,
}

/// Why others should run before this turn transmits.
#[derive(Default)]
struct Reasons {
    /// There is an inbound stream for the application.
    inbound: bool,
    /// The peer was admitted.
    established: bool,
    /// Tasks were woken, or the swarm's is to take messages.
    woken: bool,
}

/// In one turn, others are let run for so many reasons before it transmits: for what the peer sent, and for what the swarm
/// said to that.
const MAX_ROUNDS: u8 = 2;
/// In a row, the swarm is told so often what the connection has to say to its answers. The rest waits for the next turn.
const MAX_ANSWERS: u8 = 4;
/// What is kept of the lists of [`Found`] between turns.
const KEPT: usize = 16;

impl Reasons {
    /// How often others should run before this turn transmits: a task that is woken answers at once, while an inbound
    /// stream is usually passed on to a task of its own, which comes a round later.
    const fn yields(&self) -> Option<u8> {
        if self.inbound {
            Some(1)
        } else if self.established || self.woken {
            Some(0)
        } else {
            None
        }
    }
}

impl Found {
    fn trim(&mut self) {
        self.wakers.shrink_to(KEPT);
        self.inbound.shrink_to(KEPT);
        self.messages.shrink_to(KEPT);
    }
}

enum Written {
    All,
    /// The socket is full, and its readiness armed.
    Blocked,
    Failed,
}

impl<R: Runtime> Driver<R> {
    pub(crate) fn new(runtime: R, shared: Arc<Shared>, pipe: R::Pipe, port: Arc<dyn Port>) -> Self {
        let timer = runtime.timer();
        Self {
            runtime,
            shared,
            port,
            pipe,
            timer,
            armed: None,
            out: Vec::new(),
            written: 0,
            found: Found::default(),
            settled: Settled::default(),
            reasons: Reasons::default(),
            flags: Flags::default(),
            yields: None,
            rounds: 0,
            lost: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let same_task = self.shared.notify.take(cx);
        if self.flags.lingering {
            return self.linger(cx);
        }
        if !same_task {
            // The timer would wake another task. The socket is asked in every turn anyway.
            let _ = self.timer.poll(cx);
        }
        match self.yields {
            None => {
                let now = self.runtime.now();
                self.rounds = 0;
                self.input(now, cx);
                if self.let_others_run(now, cx) {
                    return Poll::Pending;
                }
                self.output(now, cx, false)
            }
            Some(0) => {
                self.yields = None;
                let now = self.runtime.now();
                // What the others did may be an answer of the swarm, which wakes others in turn: an admission, the task
                // that dialed.
                if self.answers(now) && self.let_others_run(now, cx) {
                    return Poll::Pending;
                }
                self.output(now, cx, true)
            }
            Some(left) => {
                self.yields = Some(left.saturating_sub(1));
                self.run_again(cx)
            }
        }
    }

    /// Hands out what was found, and what the swarm's answers lead to; whether others are to run before this turn
    /// transmits. While the socket is full there is nothing to wait for.
    fn let_others_run(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        self.reasons = Reasons::default();
        for _ in 0..MAX_ANSWERS {
            if !(self.hand_out(now) && self.answers(now)) {
                break;
            }
        }
        let yields = self.reasons.yields();
        self.yields = yields.filter(|_| self.out.is_empty() && self.rounds < MAX_ROUNDS);
        self.rounds = self.rounds.saturating_add(1);
        if self.yields.is_none() {
            return false;
        }
        self.shared.notify.mark();
        if self.reasons.established {
            // Who dialed may be the runtime's main task; what it says first saves a message, which is worth waiting longer.
            self.runtime.yield_now(cx);
        } else {
            cx.waker().wake_by_ref();
        }
        true
    }

    /// Takes in what the swarm has said since; whether it has said anything.
    fn answers(&mut self, now: Instant) -> bool {
        let messages = self.shared.take_inbox();
        if messages.is_empty() {
            return false;
        }
        let shared = self.shared.clone();
        let mut state = lock(&shared.state);
        state.handle_messages(now, messages);
        self.drain(&mut state);
        true
    }

    /// The first half: takes in what has come.
    fn input(&mut self, now: Instant, cx: &mut Context<'_>) {
        let shared = self.shared.clone();
        let mut state = lock(&shared.state);
        self.take_messages(now, &mut state);
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
            state.connection.handle_timeout(now);
        }
        state.openers.wake_expired(now, &mut self.found.wakers);
        self.read(now, cx, &mut state);
        self.drain(&mut state);
    }

    fn take_messages(&self, now: Instant, state: &mut State) {
        state.handle_messages(now, self.shared.take_inbox());
    }

    /// Reads until pending, out of room, or over budget.
    fn read(&mut self, now: Instant, cx: &mut Context<'_>, state: &mut State) {
        state.reading_paused = false;
        self.flags.read_more = false;
        let mut total: usize = 0;
        while !self.flags.read_closed {
            if total >= READ_BUDGET {
                self.flags.read_more = true;
                return;
            }
            // Asked before a buffer is reserved, so that an idle connection holds none.
            if self.pipe.poll_readable(cx).is_pending() {
                break;
            }
            let Some(buf) = state.connection.recv_buf() else {
                state.reading_paused = true;
                break;
            };
            match self.pipe.poll_read(cx, buf) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => {
                    self.flags.read_closed = true;
                    state.connection.handle_eof(now);
                }
                Poll::Ready(Ok(count)) => {
                    total = total.saturating_add(count);
                    // What the swarm was told before the peer sent these bytes holds for them.
                    self.take_messages(now, state);
                    state.connection.handle_recv(now);
                }
                Poll::Ready(Err(error)) => {
                    self.flags.read_closed = true;
                    state.connection.handle_lost(now, error.to_string());
                }
            }
        }
        if let Some(reason) = self.lost.take() {
            self.flags.read_closed = true;
            state.connection.handle_lost(now, reason);
        }
    }

    /// The second half: sends what there is to send, and arms whatever calls the next turn. `yielded` tells that the first
    /// half ran in an earlier poll, so that what it armed may have fired since.
    fn output(&mut self, now: Instant, cx: &mut Context<'_>, yielded: bool) -> Poll<()> {
        let mut written = self.write(cx);
        let mut again = self.flags.read_more;
        let mut more = false;
        let shared = self.shared.clone();
        let (deadline, held_up, closed) = {
            let mut state = lock(&shared.state);
            self.take_messages(now, &mut state);
            if matches!(written, Written::All) && state.connection.wants_transmit() {
                self.out = shared.router.take_buffer();
                let transmit = state
                    .connection
                    .poll_transmit(now, &mut self.out, TRANSMIT_LIMIT);
                more = transmit.more;
                self.flags.shutdown_wanted |= transmit.shutdown;
            }
            self.drain(&mut state);
            // The room that was missing may have been made by transmitting, or by the swarm.
            if state.reading_paused && !self.flags.read_closed {
                again |= state.connection.recv_buf().is_some();
            } else if yielded && !self.flags.read_closed && !self.flags.read_more {
                again |= self.pipe.poll_readable(cx).is_ready();
            }
            // While messages wait for the swarm, it is the swarm that is waited for.
            let held_up = !self.has_room(&state);
            let deadline = state.connection.poll_timeout().filter(|_| !held_up);
            let deadline = earliest(deadline, state.openers.deadline());
            again |= self.armed.is_some_and(|armed| armed <= now);
            // What the timer is, or is about to be, armed for.
            state.wakes_at = earliest(self.armed, deadline).unwrap_or(Instant::FAR_FUTURE);
            (deadline, held_up, state.connection.is_closed())
        };
        again |= self.hand_out(now);
        again |= held_up && self.shared.wait_for_room();
        if matches!(written, Written::All) {
            written = self.write(cx);
        }
        if closed {
            return self.begin_lingering(now, cx);
        }
        again |= match written {
            Written::All => more,
            Written::Blocked => false,
            Written::Failed => true,
        };
        again |= self.arm(now, deadline, cx);
        if again {
            self.run_again(cx)
        } else {
            Poll::Pending
        }
    }

    /// The connection is over. If it ended in good order, what is left to write is written, then the peer's own end is
    /// awaited for a moment: a socket closed with bytes unread, or to which more are sent, is reset, and a reset may
    /// overtake the last words.
    fn begin_lingering(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.end();
        if !self.flags.shutdown_wanted {
            return Poll::Ready(());
        }
        self.flags.lingering = true;
        let time = if self.flags.shutdown_done {
            LINGER
        } else {
            LINGER_UNWRITTEN
        };
        self.timer.arm(now + time);
        self.linger(cx)
    }

    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let was_done = self.flags.shutdown_done;
        if matches!(self.write(cx), Written::Failed) {
            return Poll::Ready(());
        }
        if self.flags.shutdown_done && self.flags.read_closed {
            return Poll::Ready(());
        }
        if self.flags.shutdown_done && !was_done {
            self.timer.arm(self.runtime.now() + LINGER);
        }
        let mut discarded = BytesMut::new();
        for _ in 0..LINGER_READS {
            if self.flags.read_closed || self.pipe.poll_readable(cx).is_pending() {
                return self.timer.poll(cx);
            }
            discarded.clear();
            discarded.reserve(4096);
            match self.pipe.poll_read(cx, &mut discarded) {
                Poll::Pending => return self.timer.poll(cx),
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_)) => {
                    self.flags.read_closed = true;
                    if self.flags.shutdown_done {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            }
        }
        if self.timer.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.run_again(cx)
    }

    /// Empties what the connection has to say into `found`.
    fn drain(&mut self, state: &mut State) {
        while let Some(event) = state.connection.poll_event() {
            self.handle_event(event, state);
        }
        state.messages_handled(&mut self.found.wakers);
        // The swarm wakes this task when it has taken some of those that are under way.
        while self.has_room(state)
            && let Some(message) = state.connection.poll_message()
        {
            self.found.messages.push(FromConnection::Message(message));
        }
    }

    /// Whether one more message may be sent to the swarm. The last ones always may: there are no more than streams.
    fn has_room(&self, state: &State) -> bool {
        state.connection.is_closed() || self.shared.has_room_beyond(self.found.messages.len())
    }

    fn handle_event(&mut self, event: Event, state: &mut State) {
        let wakers = &mut self.found.wakers;
        match event {
            Event::Established { peer } => {
                let _ = self.shared.peer.set(Arc::new(peer));
                self.shared.router.add_peer(peer, &self.shared);
                state.phase = Phase::Established;
                self.found.established = true;
                wakers.extend(state.waiting.drain(..));
                state.openers.wake_all(wakers);
            }
            Event::Opened { stream, .. } => {
                if let Some(entry) = state.streams.get_mut(stream) {
                    entry.opened = true;
                    wakers.extend(entry.read.take());
                }
            }
            Event::Inbound { stream, protocol } => {
                state.streams.insert(stream, true);
                self.found.inbound.push((stream, protocol));
            }
            Event::Readable { stream } => {
                wakers.extend(
                    state
                        .streams
                        .get_mut(stream)
                        .and_then(|entry| entry.read.take()),
                );
            }
            Event::Writable { stream } => {
                wakers.extend(
                    state
                        .streams
                        .get_mut(stream)
                        .and_then(|entry| entry.write.take()),
                );
            }
            Event::Finished { stream } => state.ended(stream, End::Finished, wakers),
            Event::Failed { stream, error } | Event::Reset { stream, error } => {
                state.ended(stream, End::Failed(error), wakers);
            }
            Event::HandedOver { stream } => {
                state.handed_over(stream);
                wakers.extend(state.waiting.drain(..));
            }
            Event::StreamsAvailable => state.openers.wake_all(wakers),
            Event::Closed { error } => {
                state.phase = Phase::Closed(error);
                state.take_wakers(wakers);
            }
            _ => {}
        }
    }

    /// Acts on what was found; whether the swarm has answered. The connection is unlocked.
    fn hand_out(&mut self, now: Instant) -> bool {
        let mut found = core::mem::take(&mut self.found);
        let mut answered = false;
        self.reasons.established |= core::mem::take(&mut found.established);
        self.reasons.woken |= !found.wakers.is_empty();
        self.reasons.inbound |= !found.inbound.is_empty();
        if !found.messages.is_empty() {
            let (messages, settled) = (&mut found.messages, &mut self.settled);
            match self.port.take(now, &self.shared, messages, settled) {
                Taken::AtOnce {
                    answered: any,
                    woke,
                } => {
                    answered = any;
                    self.reasons.woken |= woke;
                }
                Taken::Posted => self.reasons.woken = true,
            }
        }
        if let Some(peer) = self.shared.peer.get() {
            for (id, protocol) in found.inbound.drain(..) {
                self.shared.router.accept(
                    **peer,
                    Stream::new(self.shared.clone(), id, peer.clone(), protocol),
                );
            }
        }
        found.wakers.drain(..).for_each(Waker::wake);
        found.trim();
        self.found = found;
        answered
    }

    /// Writes until all is written or the socket is full.
    fn write(&mut self, cx: &mut Context<'_>) -> Written {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let error = match self.pipe.poll_write(cx, rest) {
                Poll::Pending => return Written::Blocked,
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.written = self.written.saturating_add(count);
                    continue;
                }
                Poll::Ready(Ok(_)) => "nothing more can be written".to_owned(),
                Poll::Ready(Err(error)) => error.to_string(),
            };
            self.lost.get_or_insert(error);
            self.give_buffer();
            return Written::Failed;
        }
        self.give_buffer();
        if self.flags.shutdown_wanted && !self.flags.shutdown_done {
            // An error shows in the next read.
            if self.pipe.poll_shutdown(cx).is_pending() {
                return Written::Blocked;
            }
            self.flags.shutdown_done = true;
        }
        Written::All
    }

    fn give_buffer(&mut self) {
        self.written = 0;
        if self.out.capacity() > 0 {
            self.shared
                .router
                .give_buffer(core::mem::take(&mut self.out));
        }
    }

    /// Sees to it that the timer fires at `deadline` or before; whether that has come already.
    fn arm(&mut self, now: Instant, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let earlier = deadline.filter(|deadline| self.armed.is_none_or(|armed| *deadline < armed));
        let Some(deadline) = earlier else {
            return false;
        };
        self.armed = Some(deadline);
        if deadline <= now {
            return true;
        }
        self.timer.arm(deadline);
        self.timer.poll(cx).is_ready()
    }

    fn run_again(&self, cx: &Context<'_>) -> Poll<()> {
        self.shared.notify.mark();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells everybody that the connection is no more.
    fn end(&mut self) {
        if core::mem::replace(&mut self.flags.ended, true) {
            return;
        }
        {
            let shared = self.shared.clone();
            let mut state = lock(&shared.state);
            if !matches!(state.phase, Phase::Closed(_)) {
                state.phase = Phase::Closed(ConnectionError::Lost(
                    "the connection's task was dropped".to_owned(),
                ));
            }
            state.take_wakers(&mut self.found.wakers);
        }
        self.found.messages.push(FromConnection::Closed);
        self.shared.router.remove(&self.shared);
        self.hand_out(self.runtime.now());
    }
}

/// Nothing of a driver is pinned.
impl<R: Runtime> Unpin for Driver<R> {}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turn(cx)
    }
}

impl<R: Runtime> Drop for Driver<R> {
    fn drop(&mut self) {
        // Reached without an end if the runtime drops its tasks: nobody may wait for ever because of that.
        self.end();
    }
}
