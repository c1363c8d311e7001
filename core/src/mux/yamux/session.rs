//! The session: its streams and what the layer above does with them.

use super::{
    Error, INITIAL_WINDOW,
    flow::{Pardon, RoundTrips, Waste},
    receive::Decoding,
    remote_ids::RemoteIds,
    stream::{Metering, ReceiveState, SendState, StreamState},
    transmit::Outbox,
};
use crate::{
    buffer::{HeldMemory, Loan, SendMemory, SendQueue, release},
    time::Instant,
};
use alloc::collections::BTreeMap;
use bytes::Bytes;
use core::{fmt, time::Duration};
use slab::Slab;

/// Which end of the connection this is: the dialer's streams have odd ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dialed.
    Dialer,
    /// Accepted.
    Listener,
}

/// Limits of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Config {
    /// Streams the peer may have open at once; one more is reset. 256.
    pub max_inbound_streams: u32,
    /// Streams this side may have open at once. 256.
    pub max_outbound_streams: u32,
    /// Opened streams the peer has not acknowledged yet, at most. 256.
    pub max_unacknowledged: u32,
    /// The largest receive window of a stream, in bytes. 16 MiB.
    pub max_window: u32,
    /// Useless frames a peer may provoke at once. 1,000.
    pub waste_burst: u32,
    /// Useless frames per second it may provoke for ever. 100.
    pub waste_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_inbound_streams: 256,
            max_outbound_streams: 256,
            max_unacknowledged: 256,
            max_window: 16 * 1024 * 1024,
            waste_burst: 1000,
            waste_per_second: 100,
        }
    }
}

/// What GoAway tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoAway {
    /// No more streams, please.
    Normal,
    /// The other side broke the rules.
    ProtocolError,
    /// This side failed.
    InternalError,
    /// Something else.
    Other(u32),
}

impl GoAway {
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::ProtocolError => 1,
            Self::InternalError => 2,
            Self::Other(code) => code,
        }
    }

    pub(super) const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Normal,
            1 => Self::ProtocolError,
            2 => Self::InternalError,
            other => Self::Other(other),
        }
    }
}

/// Why no stream could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenRefused {
    /// Too many are open, or unacknowledged.
    TooManyStreams,
    /// The peer sent GoAway, or this side did.
    GoingAway,
    /// All 2^31 ids are used up.
    Exhausted,
}

impl fmt::Display for OpenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyStreams => "too many streams",
            Self::GoingAway => "the session is going away",
            Self::Exhausted => "all stream ids are used up",
        })
    }
}

impl core::error::Error for OpenRefused {}

/// One end of a yamux connection; `X` is what the layer above keeps with each stream.
#[derive(Debug)]
pub struct Session<X> {
    pub(super) config: Config,
    pub(super) role: Role,
    pub(super) streams: Slab<StreamState<X>>,
    /// Live streams by their number on the wire.
    pub(super) by_id: BTreeMap<u32, usize>,
    pub(super) next_id: Option<u32>,
    pub(super) remote_ids: RemoteIds,
    pub(super) inbound: u32,
    pub(super) outbound: u32,
    pub(super) unacknowledged: u32,
    pub(super) decoding: Decoding,
    pub(super) outbox: Outbox,
    pub(super) held: HeldMemory,
    pub(super) waste: Waste,
    pub(super) pardon: Pardon,
    /// Streams refused since the last call of `receive`, which counts them as waste.
    pub(super) refused: u32,
    pub(super) round_trips: RoundTrips,
    /// Windows grown above their start, all streams together, and how far that may go.
    pub(super) growth: u64,
    pub(super) growth_budget: u64,
    pub(super) growth_wanted: bool,
    pub(super) remote_going_away: bool,
    pub(super) going_away: bool,
    said_go_away: bool,
    /// The latest time told.
    pub(super) now: Instant,
    /// How the peer broke the rules, once it has.
    pub(super) failed: Option<Error>,
}

impl<X> Session<X> {
    /// A session without streams.
    #[must_use]
    pub fn new(role: Role, config: Config) -> Self {
        Self {
            waste: Waste::new(&config),
            config,
            role,
            streams: Slab::new(),
            by_id: BTreeMap::new(),
            next_id: Some(match role {
                Role::Dialer => 1,
                Role::Listener => 2,
            }),
            remote_ids: RemoteIds::default(),
            inbound: 0,
            outbound: 0,
            unacknowledged: 0,
            decoding: Decoding::default(),
            outbox: Outbox::default(),
            held: HeldMemory::default(),
            pardon: Pardon::default(),
            refused: 0,
            round_trips: RoundTrips::default(),
            growth: 0,
            growth_budget: 0,
            growth_wanted: false,
            remote_going_away: false,
            going_away: false,
            said_go_away: false,
            now: Instant::ZERO,
            failed: None,
        }
    }

    /// Opens a stream; SYN travels with its first frame.
    ///
    /// # Errors
    ///
    /// A limit is reached, one of the sides goes away, or the ids are used up.
    pub fn open(&mut self, now: Instant, extra: X) -> Result<usize, OpenRefused> {
        self.may_open()?;
        let Some(id) = self.next_id else {
            return Err(OpenRefused::Exhausted);
        };
        self.next_id = id.checked_add(2);
        let now = self.advance_clock(now);
        let place = self.streams.insert(StreamState::new(id, true, now, extra));
        self.by_id.insert(id, place);
        self.outbound = self.outbound.saturating_add(1);
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.list_data(place);
        Ok(place)
    }

    /// The time to go by: a `now` below the last one counts as the last one.
    pub(super) fn advance_clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Whether [`open`](Self::open) would succeed.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn may_open(&self) -> Result<(), OpenRefused> {
        if self.remote_going_away || self.going_away {
            return Err(OpenRefused::GoingAway);
        }
        if self.outbound >= self.config.max_outbound_streams
            || self.unacknowledged >= self.config.max_unacknowledged
        {
            return Err(OpenRefused::TooManyStreams);
        }
        self.next_id.map(|_| ()).ok_or(OpenRefused::Exhausted)
    }

    /// The stream at `place`.
    #[must_use]
    pub fn stream(&self, place: usize) -> Option<&StreamState<X>> {
        self.streams.get(place)
    }

    /// The stream at `place`, to change what the layer above keeps with it.
    pub fn stream_mut(&mut self, place: usize) -> Option<&mut StreamState<X>> {
        self.streams.get_mut(place)
    }

    /// All streams, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &StreamState<X>)> {
        self.streams.iter()
    }

    /// Streams that exist, of both directions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is no stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Streams the peer opened.
    #[must_use]
    pub const fn inbound_streams(&self) -> u32 {
        self.inbound
    }

    /// Changes how many streams the peer may have open; those above the new limit stay.
    pub const fn set_max_inbound_streams(&mut self, max: u32) {
        self.config.max_inbound_streams = max;
    }

    /// Memory held by data that was received and not read, in bytes.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Bytes by which windows are grown above their start.
    #[must_use]
    pub const fn growth(&self) -> u64 {
        self.growth
    }

    /// How far windows may grow, all streams together, in bytes.
    pub const fn set_growth_budget(&mut self, bytes: u64) {
        self.growth_budget = bytes;
    }

    /// Whether a window would have grown but for the budget, since the last time this was asked.
    pub const fn take_growth_wanted(&mut self) -> bool {
        core::mem::replace(&mut self.growth_wanted, false)
    }

    /// Bytes written and not sent, over all streams.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.outbox.queued
    }

    /// Whether any stream has something to send now: data, or its FIN.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        self.outbox.listed > 0
    }

    /// Bytes written and not sent, over the streams marked with [`set_metered`](Self::set_metered).
    #[must_use]
    pub const fn metered_bytes(&self) -> usize {
        self.outbox.metered
    }

    /// Bytes written and not sent, over the streams that were [set aside](Self::set_aside).
    #[must_use]
    pub const fn bytes_aside(&self) -> usize {
        self.outbox.aside
    }

    /// Counts the stream's queued bytes in [`metered_bytes`](Self::metered_bytes) from now on, or no longer.
    pub fn set_metered(&mut self, place: usize, metered: bool) {
        let metering = if metered {
            Metering::Metered
        } else {
            Metering::Plain
        };
        self.meter(place, metering);
    }

    /// Counts the stream's queued bytes in [`bytes_aside`](Self::bytes_aside) from now on, if they are more than the peer has
    /// room for.
    pub fn set_aside(&mut self, place: usize) {
        let waits = |stream: &StreamState<X>| {
            let credit = usize::try_from(stream.send_credit).unwrap_or(usize::MAX);
            stream.send.len() > credit
        };
        if self.streams.get(place).is_some_and(waits) {
            self.meter(place, Metering::Aside);
        }
    }

    fn meter(&mut self, place: usize, metering: Metering) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        let queued = stream.send.len();
        self.outbox.gone(queued, stream.metering);
        stream.metering = metering;
        self.outbox.come(queued, metering);
    }

    /// The smallest recent round-trip time.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trips.smallest()
    }

    /// Whether the peer sent GoAway.
    #[must_use]
    pub const fn is_remote_going_away(&self) -> bool {
        self.remote_going_away
    }

    /// Queues a copy of `data`; the caller checks the queue's limit. False if the direction is closed.
    pub fn write_copy(&mut self, place: usize, data: &[u8]) -> bool {
        self.write(place, data.len(), |send, memory| {
            send.push_copy(data, memory);
        })
    }

    /// Queues `data` without a copy; the caller checks the queue's limit. False if the direction is closed.
    pub fn write_shared(&mut self, place: usize, data: Bytes) -> bool {
        self.write(place, data.len(), |send, memory| {
            send.push_shared(data, memory);
        })
    }

    fn write(
        &mut self,
        place: usize,
        len: usize,
        push: impl FnOnce(&mut SendQueue, &mut SendMemory),
    ) -> bool {
        let Some(stream) = self.streams.get_mut(place) else {
            return false;
        };
        if stream.send_state != SendState::Open || stream.reset.is_some() {
            return false;
        }
        push(&mut stream.send, &mut self.outbox.memory);
        self.outbox.come(len, stream.metering);
        self.list_data(place);
        true
    }

    /// Asks for [`SentNotice::Space`](super::SentNotice::Space) once the send queue is at most half of `limit`.
    pub fn want_space(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place) {
            stream.wants_space = true;
        }
    }

    /// Half-closes after what is queued.
    pub fn finish(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place)
            && stream.send_state == SendState::Open
            && stream.reset.is_none()
        {
            stream.send_state = SendState::FinQueued;
            self.list_data(place);
        }
    }

    /// From now on discards what arrives, and keeps returning credit for it.
    pub fn stop(&mut self, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        stream.stopped = true;
        let unread = stream.queue.len();
        stream.queue.clear(&mut self.held);
        self.consumed(place, unread);
    }

    /// Aborts the stream and forgets it. Tells the peer, unless the peer never heard of it or has aborted it itself.
    pub fn reset(&mut self, place: usize, code: u32) -> Option<X> {
        self.abort(place, code);
        self.remove(place)
    }

    /// Aborts a stream that the peer should not have opened: it counts as useless work.
    pub fn refuse(&mut self, place: usize, code: u32) {
        self.refused = self.refused.saturating_add(1);
        self.abort(place, code);
    }

    /// Ends a stream that the peer should not have opened in good order: what was written is sent, what still comes is
    /// discarded. It counts as useless work.
    pub fn decline(&mut self, place: usize) {
        self.refused = self.refused.saturating_add(1);
        self.finish(place);
        self.stop(place);
    }

    /// Aborts the stream but keeps its state, with nothing in it, until [`remove`](Self::remove).
    pub fn abort(&mut self, place: usize, code: u32) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        if stream.reset.is_none() && !stream.syn_pending && !stream.is_finished() {
            self.outbox.resets.push_back((stream.id, code));
        }
        if stream.reset.is_none() {
            self.pardon.stream(stream);
            stream.reset = Some(code);
            self.by_id.remove(&stream.id);
        }
        let unsent = stream.send.len();
        stream.send.clear(&mut self.outbox.memory);
        stream.queue.clear(&mut self.held);
        let metering = stream.metering;
        self.outbox.gone(unsent, metering);
        self.decoding.forget(place);
    }

    /// Forgets the stream without telling the peer. For streams that are finished or were reset by the peer.
    pub fn remove(&mut self, place: usize) -> Option<X> {
        let mut stream = self.streams.try_remove(place)?;
        if stream.reset.is_none() {
            self.pardon.stream(&stream);
        }
        if self.by_id.get(&stream.id) == Some(&place) {
            self.by_id.remove(&stream.id);
        }
        if stream.outbound {
            self.outbound = self.outbound.saturating_sub(1);
            if !stream.acknowledged {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
            }
        } else {
            self.inbound = self.inbound.saturating_sub(1);
        }
        stream.queue.clear(&mut self.held);
        self.growth = self
            .growth
            .saturating_sub(u64::from(stream.window.saturating_sub(INITIAL_WINDOW)));
        self.outbox.forget(place, &stream);
        if self.streams.is_empty() {
            self.held.without_streams();
            self.outbox.memory.without_streams();
        }
        self.decoding.forget(place);
        Some(stream.extra)
    }

    /// The next piece of at most `max` bytes of what the stream received, without a copy.
    pub fn pop(&mut self, place: usize, max: usize) -> Option<Bytes> {
        let piece = self
            .streams
            .get_mut(place)?
            .queue
            .pop(max, &mut self.held)?;
        self.consumed(place, piece.len());
        Some(piece)
    }

    /// Copies what fits into `out`; returns how much that was.
    pub fn read_into(&mut self, place: usize, out: &mut [u8]) -> usize {
        let Some(stream) = self.streams.get_mut(place) else {
            return 0;
        };
        let count = stream.queue.read_into(out, &mut self.held);
        self.consumed(place, count);
        count
    }

    /// The next `count` bytes as one piece; `None` if fewer wait.
    pub fn take(&mut self, place: usize, count: usize) -> Option<Bytes> {
        let whole = self
            .streams
            .get_mut(place)?
            .queue
            .take(count, &mut self.held)?;
        self.consumed(place, count);
        Some(whole)
    }

    /// As [`pop`](Self::pop), or as [`take`](Self::take) if `whole`; but the piece stays charged until
    /// [`end_loan`](Self::end_loan).
    pub fn lend(&mut self, place: usize, count: usize, whole: bool) -> Option<(Bytes, Loan)> {
        let queue = &mut self.streams.get_mut(place)?.queue;
        let lent = if whole {
            queue.lend_whole(count, &mut self.held)
        } else {
            queue.lend(count, &mut self.held)
        };
        let (piece, loan) = lent?;
        self.consumed(place, piece.len());
        Some((piece, loan))
    }

    /// Makes what was lent the first to be read again, behind `prefix`, which was part of the stream before it.
    pub fn put_back(&mut self, place: usize, prefix: &[u8], bytes: Bytes, loan: Loan) {
        let Some(stream) = self.streams.get_mut(place) else {
            return self.held.end_loan(loan);
        };
        let count = prefix.len().saturating_add(bytes.len());
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // It was read once, and will be again.
        stream.credited = stream.credited.saturating_add(count);
        stream.queue.put_back(prefix, bytes, loan, &mut self.held);
    }

    /// What was lent is not held any more.
    pub fn end_loan(&mut self, loan: Loan) {
        self.held.end_loan(loan);
    }

    /// The front of what the stream received: at least `min(wanted, readable)` bytes.
    pub fn peek(&mut self, place: usize, wanted: usize) -> &[u8] {
        match self.streams.get_mut(place) {
            Some(stream) => stream.queue.peek(wanted, &mut self.held),
            None => &[],
        }
    }

    /// Drops the next `count` bytes.
    pub fn consume(&mut self, place: usize, count: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        let count = count.min(stream.queue.len());
        stream.queue.consume(count, &mut self.held);
        self.consumed(place, count);
    }

    /// Stops opening and accepting streams, without telling the peer yet.
    pub const fn refuse_new(&mut self) {
        self.going_away = true;
    }

    /// Whether [`go_away`](Self::go_away) was called.
    #[must_use]
    pub const fn has_said_go_away(&self) -> bool {
        self.said_go_away
    }

    /// Drops what a stream has queued to send, without telling the peer: the session ends anyway. What was received stays.
    pub fn silence(&mut self, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        if stream.send_state != SendState::FinSent {
            stream.send_state = SendState::Silenced;
        }
        (stream.syn_pending, stream.ack_pending) = (false, false);
        let unsent = stream.send.len();
        stream.send.clear(&mut self.outbox.memory);
        let metering = stream.metering;
        self.outbox.gone(unsent, metering);
    }

    /// Drops everything that waits to be sent but the streams' own data: nothing of it matters to a session that ends.
    pub fn drop_control(&mut self) {
        let streams = &mut self.streams;
        self.outbox.unlist_unless(|place| {
            let Some(stream) = streams.get_mut(place) else {
                return false;
            };
            stream.data_listed = stream.has_data_to_send();
            stream.data_listed
        });
        self.outbox.pongs.clear();
        self.outbox.resets.clear();
        self.round_trips.wanted = false;
    }

    /// Stops opening and accepting streams; GoAway goes out ahead of everything else.
    pub const fn go_away(&mut self, reason: GoAway) {
        self.going_away = true;
        self.said_go_away = true;
        self.outbox.go_away = Some(reason);
    }

    /// Frees what idle streams and the idle session do not need.
    pub fn trim(&mut self) {
        self.held.trim();
        self.outbox.trim();
        release(&mut self.by_id);
        if self.streams.is_empty() {
            self.streams = Slab::new();
        }
    }

    /// Sets the priority of a stream: higher goes first, 128 is where streams start.
    pub fn set_priority(&mut self, place: usize, priority: u8) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        if stream.data_listed {
            self.outbox.unlist(place, stream.priority);
            stream.data_listed = false;
        }
        stream.priority = priority;
        self.list_data(place);
    }

    pub(super) fn list_data(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place)
            && !stream.data_listed
            && stream.has_data_to_send()
        {
            stream.data_listed = true;
            self.outbox.list(place, stream.priority);
        }
    }

    pub(super) fn list_control(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place)
            && !stream.control_listed
        {
            stream.control_listed = true;
            self.outbox.control.push_back(place);
        }
    }

    pub(super) fn waste(&mut self, now: Instant, frames: u32) -> Result<(), Error> {
        if self.waste.add(now, frames) {
            Ok(())
        } else {
            Err(Error::Flooding)
        }
    }

    pub(super) fn is_receiving(stream: &StreamState<X>) -> bool {
        stream.receive_state == ReceiveState::Open && stream.reset.is_none()
    }
}
