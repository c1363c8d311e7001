//! The connection itself: its outside, its clock, and what it tells the swarm.

use super::{
    Event,
    clock::TRIM_AFTER,
    config::{Config, ConnectedPoint, ConnectionStart, Direction},
    error::ConnectionError,
    id::{ConnectionId, StreamId},
    message::{SecuredPeer, StreamEnd, ToSwarm},
    stream::Stream,
    streams::StreamExtra,
    table::InboundTable,
    upgrade::{MuxNegotiation, Upgrade},
};
#[cfg(feature = "recording")]
use super::{
    recorded::{ConnectionInput, ConnectionOutput},
    recorder::Tap,
};
use crate::{
    buffer::{Loan, ReceiveBuffer},
    identity::PeerId,
    mux::yamux::{self, Session},
    resource::Lease,
    security::{ReceiveCipher, SendCipher},
    time::Instant,
    wire::varint,
};
#[cfg(feature = "recording")]
use alloc::borrow::Cow;
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};
use bytes::BytesMut;
use core::time::Duration;

/// What may wait unprocessed before the peer is admitted, in bytes.
const MAX_BEFORE_ADMISSION: usize = 16 * 1024;
/// Of a turn that has sent a full message, a remainder below this many bytes waits for the next turn.
const HALF_MESSAGE: usize = 32 * 1024;

/// What [`Connection::poll_transmit`] leaves for the host to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Transmit {
    /// More waits; call again when what was appended is written.
    pub more: bool,
    /// Nothing follows, now or ever: write what was appended, then shut the pipe's write side and drop it. A socket of
    /// the operating system should be read until its end before (or for a few seconds): dropped with bytes unread it is
    /// reset, and a reset may overtake what was written. Without this flag a connection that is over has nothing to
    /// write.
    pub shutdown: bool,
}

#[derive(Debug)]
pub(super) enum Phase {
    Upgrading(Box<Upgrade>),
    /// Secured. The swarm is asked as soon as the muxer is agreed (by the dialer at once), and has not answered.
    AwaitingAdmission {
        asked: bool,
    },
    Established,
    /// Flushing what is owed.
    Closing,
    Closed,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) send: SendCipher,
    pub(super) receive: ReceiveCipher,
}

/// One connection to one peer: negotiates, secures, multiplexes.
///
/// Drive it with its verbs; any order of calls is legal. See the [module documentation](super).
#[derive(Debug)]
pub struct Connection {
    pub(super) id: ConnectionId,
    pub(super) point: ConnectedPoint,
    pub(super) config: Arc<Config>,
    pub(super) now: Instant,
    pub(super) phase: Phase,
    /// Why it ends, once it does.
    pub(super) error: Option<ConnectionError>,
    pub(super) peer: Option<PeerId>,
    pub(super) secured: Option<Box<SecuredPeer>>,
    pub(super) receive: ReceiveBuffer,
    /// The peer shut its side of the pipe.
    pub(super) ended: bool,
    /// The peer broke the rules: what it still sends is dropped.
    pub(super) deaf: bool,
    /// Bytes of the upgrade, as they go on the wire.
    pub(super) upgrade_out: Vec<u8>,
    pub(super) channel: Option<Channel>,
    pub(super) mux_negotiation: Option<Box<MuxNegotiation>>,
    pub(super) session: Session<StreamExtra>,
    pub(super) table: Arc<InboundTable>,
    /// Inbound streams open, by the table's entries.
    pub(super) inbound_counts: Vec<u32>,
    pub(super) events: VecDeque<Event>,
    pub(super) messages: VecDeque<ToSwarm>,
    /// The charges for data among `messages` whose stream is gone.
    pub(super) orphaned_loans: BTreeMap<StreamId, Loan>,
    /// Processing stopped because too many messages wait for the swarm.
    pub(super) held_back: bool,
    pub(super) scratch: Vec<u8>,

    pub(super) swarm_ids: BTreeMap<StreamId, usize>,
    pub(super) stream_deadlines: BTreeSet<(Instant, usize)>,
    pub(super) generation: u32,
    /// Inbound streams whose protocol is not agreed; streams that keep the connection open.
    pub(super) negotiating: u32,
    pub(super) foreground: u32,
    /// Writers that wait for the connection's send queue.
    pub(super) blocked: BTreeSet<usize>,
    /// Bytes of commands that wait for their stream's protocol to be agreed.
    pub(super) early_bytes: usize,
    /// How streams of protocols ended, as long as the swarm may not have heard of it.
    /// The oldest first.
    pub(super) unheard_ends: VecDeque<(StreamId, StreamEnd)>,
    pub(super) open_wanted: bool,
    pub(super) keep_alive: bool,
    pub(super) host_keep_alive: bool,

    pub(super) lease: Lease,
    pub(super) first_lease: Lease,
    /// What more was asked for, until the answer.
    pub(super) lease_asked: Option<Lease>,
    /// Since when nothing more is to be had, and whether bytes and streams were among what was refused.
    pub(super) lease_refused: Option<Instant>,
    pub(super) bytes_refused: bool,
    pub(super) streams_refused: bool,
    pub(super) commands_handled: u32,
    pub(super) bytes_accepted: u64,
    pub(super) bytes_reported: u64,
    pub(super) round_trip: Option<Duration>,

    pub(super) phase_deadline: Option<Instant>,
    pub(super) idle_deadline: Option<Instant>,
    pub(super) slow_reader_deadline: Option<Instant>,
    pub(super) trim_at: Option<Instant>,
    pub(super) last_traffic: Instant,

    #[cfg(feature = "recording")]
    pub(super) tap: Tap,
}

impl Connection {
    pub(super) fn new(start: ConnectionStart, now: Instant) -> Self {
        #[cfg(feature = "recording")]
        let mut start = start;
        when_recorded!(start, start.note(now));
        let ConnectionStart {
            id,
            point,
            config,
            security,
            seed,
            #[cfg(feature = "recording")]
            tap,
        } = start;
        let role = match point.direction {
            Direction::Outbound => yamux::Role::Dialer,
            Direction::Inbound => yamux::Role::Listener,
        };
        let mut yamux = config.yamux.clone();
        yamux.max_outbound_streams = yamux.max_outbound_streams.min(config.max_streams);
        yamux.max_inbound_streams = yamux.max_inbound_streams.min(config.max_streams);
        let mut upgrade_out = Vec::new();
        let upgrade = Upgrade::start(point.direction, security, seed, &mut upgrade_out);
        let mut connection = Self {
            id,
            point,
            now,
            phase: Phase::Established,
            error: None,
            peer: None,
            secured: None,
            receive: ReceiveBuffer::new(config.max_receive_buffer),
            ended: false,
            deaf: false,
            upgrade_out,
            channel: None,
            mux_negotiation: None,
            session: Session::new(role, yamux),
            table: Arc::default(),
            inbound_counts: Vec::new(),
            events: VecDeque::new(),
            messages: VecDeque::new(),
            orphaned_loans: BTreeMap::new(),
            held_back: false,
            scratch: Vec::new(),
            swarm_ids: BTreeMap::new(),
            stream_deadlines: BTreeSet::new(),
            generation: 0,
            negotiating: 0,
            foreground: 0,
            blocked: BTreeSet::new(),
            early_bytes: 0,
            unheard_ends: VecDeque::new(),
            open_wanted: false,
            keep_alive: false,
            host_keep_alive: false,
            lease: Lease::EMPTY,
            first_lease: Lease::EMPTY,
            lease_asked: None,
            lease_refused: None,
            bytes_refused: false,
            streams_refused: false,
            commands_handled: 0,
            bytes_accepted: 0,
            bytes_reported: 0,
            round_trip: None,
            phase_deadline: Some(now + config.handshake_timeout),
            idle_deadline: None,
            slow_reader_deadline: None,
            trim_at: None,
            last_traffic: now,
            #[cfg(feature = "recording")]
            tap,
            config,
        };
        match upgrade {
            Ok(upgrade) => connection.phase = Phase::Upgrading(Box::new(upgrade)),
            Err(error) => connection.end(error),
        }
        connection
    }

    /// The connection's name.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The two ends of its pipe.
    #[must_use]
    pub const fn point(&self) -> &ConnectedPoint {
        &self.point
    }

    /// Who the peer has proven to be.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// The smallest recent round-trip time, measured while data arrives.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.session.round_trip()
    }

    /// Why it ends, once it does.
    #[must_use]
    pub const fn error(&self) -> Option<&ConnectionError> {
        self.error.as_ref()
    }

    /// Whether it is over: nothing will be sent or received any more. Drop the pipe, and the object once its events,
    /// messages and the streams still held are dealt with.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether streams may be opened.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// Whether streams of the host have bytes, or the peer's end, that were not read. They can be read after the end of the
    /// connection, too: while there are any, a host that still has somebody to read them keeps the object. The cost grows with
    /// the number of streams.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.session.iter().any(|(place, stream)| {
            let extra = &stream.extra;
            let of_host = matches!(extra.owner, super::table::StreamOwner::Host) && !extra.detached;
            of_host && (stream.readable() > 0 || (self.is_at_end(place) && !extra.end_seen))
        })
    }

    /// Bytes that have arrived on its streams and were not read.
    #[must_use]
    pub const fn unread_bytes(&self) -> usize {
        self.session.held_bytes()
    }

    /// Checks the books: whether every count of streams is what the streams there account for, and within its limit. For
    /// tests and simulations; the cost grows with the number of streams.
    ///
    /// # Errors
    /// What does not add up, in words. It would be a bug in this crate.
    pub fn audit(&self) -> Result<(), String> {
        self.session.audit()?;
        let (config, inbound) = (&self.config, self.session.inbound_streams());
        let limits = [
            ("accepted streams", inbound, config.max_streams),
            (
                "streams that negotiate",
                self.negotiating,
                config.max_negotiating_streams,
            ),
        ];
        let broken = limits.into_iter().find(|(_, there, limit)| there > limit);
        broken.map_or(Ok(()), |(what, there, limit)| {
            Err(alloc::format!("{what}: {there}, at most {limit} allowed"))
        })
    }

    /// Keeps the connection open although nothing uses it, or no longer.
    pub fn set_keep_alive(&mut self, keep_alive: bool) {
        when_recorded!(self, self.note(ConnectionInput::KeepAlive(keep_alive)));
        self.host_keep_alive = keep_alive;
        self.check_idle();
    }

    // ---- outside: the pipe ----

    /// Where received bytes are to be appended; room is reserved. `None` asks not to read the pipe now: too much waits
    /// already, or the end was told. Ask again after reading from streams and after every turn. Call
    /// [`handle_recv`](Self::handle_recv) after appending, or after finding that there was nothing.
    pub fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        when_recorded!(self, self.note_appended());
        if self.ended || self.is_closed() {
            return None;
        }
        let waiting = self.receive.as_slice();
        let missing = match &self.channel {
            Some(_) => match waiting.split_first_chunk::<2>() {
                Some((length, rest)) => {
                    usize::from(u16::from_be_bytes(*length)).saturating_sub(rest.len())
                }
                None => 1,
            },
            None => 1,
        };
        let stuck = match self.phase {
            Phase::Upgrading(_) | Phase::AwaitingAdmission { asked: true } => {
                waiting.len() >= MAX_BEFORE_ADMISSION
            }
            // Whole messages are taken at once, and one may be longer than that.
            Phase::AwaitingAdmission { asked: false } => false,
            Phase::Closing if self.deaf => false,
            _ => self.is_held_up(),
        };
        if stuck {
            return None;
        }
        // Should nothing come after all, the buffer is not kept for ever.
        let was_quiet = self.trim_at.is_none();
        if was_quiet {
            self.trim_at = Some(self.now + TRIM_AFTER);
        }
        #[cfg(feature = "recording")]
        if self.tap.is_on() {
            return Some(self.prepare_noting(missing.max(1), was_quiet));
        }
        Some(self.receive.prepare(missing.max(1)))
    }

    /// Processes what was appended to [`recv_buf`](Self::recv_buf).
    pub fn handle_recv(&mut self, now: Instant) {
        self.advance_clock(now);
        when_recorded!(self, self.note_received());
        if self.receive.adapt() {
            self.note_traffic();
        }
        self.process();
    }

    /// For hosts that read into a slice of their own: copies and processes `input`; returns how much was taken. Less than
    /// all is back-pressure: give the rest again after reading from the streams.
    pub fn handle_input(&mut self, now: Instant, input: &[u8]) -> usize {
        let mut taken = 0usize;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            let Some(buffer) = self.recv_buf() else { break };
            let room = buffer.capacity().saturating_sub(buffer.len());
            let piece = rest.get(..room.min(rest.len())).unwrap_or_default();
            buffer.extend_from_slice(piece);
            taken = taken.saturating_add(piece.len());
            self.handle_recv(now);
        }
        taken
    }

    /// The peer shut its side of the pipe: nothing more will be received.
    pub fn handle_eof(&mut self, now: Instant) {
        self.advance_clock(now);
        when_recorded!(self, self.note(ConnectionInput::EndOfInput));
        self.ended = true;
        self.process();
    }

    /// The pipe failed; `reason` in the host's words. Nothing can be sent any more. Where only writing failed, read
    /// what the pipe still has before.
    pub fn handle_lost(&mut self, now: Instant, reason: String) {
        self.advance_clock(now);
        when_recorded!(self, self.note(ConnectionInput::Lost { reason: &reason }));
        if self.is_open() {
            self.process();
        }
        self.ended = true;
        self.end(ConnectionError::Lost(reason));
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to append.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        match self.phase {
            Phase::Closed => false,
            Phase::Closing => self.session.wants_transmit() || self.session.queued_bytes() == 0,
            Phase::Established => !self.upgrade_out.is_empty() || self.session.wants_transmit(),
            Phase::Upgrading(_) | Phase::AwaitingAdmission { .. } => !self.upgrade_out.is_empty(),
        }
    }

    /// Appends bytes to send to `out`: about `limit`, at most one message (64 KiB) more.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>, limit: usize) -> Transmit {
        self.advance_clock(now);
        if self.is_closed() {
            return Transmit::default();
        }
        #[cfg(feature = "recording")]
        let before = self
            .tap
            .is_on()
            .then(|| self.before_transmit(out.len(), limit));
        let transmit = self.transmit(out, limit);
        #[cfg(feature = "recording")]
        if let Some(before) = before {
            self.note_transmit(before, out, transmit);
        }
        transmit
    }

    fn transmit(&mut self, out: &mut Vec<u8>, limit: usize) -> Transmit {
        let start = out.len();
        out.append(&mut self.upgrade_out);
        if matches!(self.phase, Phase::Established | Phase::Closing) {
            let end = start.saturating_add(limit);
            self.transmit_frames(out, end);
            // What was listed had nothing to send any more, and thereby GoAway has become due.
            if out.len() == start && matches!(self.phase, Phase::Closing) {
                self.transmit_frames(out, end);
            }
        }
        if out.len() > start {
            self.note_traffic();
        }
        let mut shutdown = false;
        if matches!(self.phase, Phase::Closing)
            && !self.session.wants_transmit()
            && self.session.queued_bytes() == 0
        {
            self.finish_closing();
            shutdown = true;
        }
        Transmit {
            more: self.wants_transmit(),
            shutdown,
        }
    }

    pub(super) fn transmit_frames(&mut self, out: &mut Vec<u8>, end: usize) {
        let Some(mut channel) = self.channel.take() else {
            return;
        };
        let mut full = false;
        while self.session.wants_transmit() && out.len() < end {
            let begin = out.len();
            if full
                && self.session.queued_bytes() < HALF_MESSAGE
                && !matches!(self.phase, Phase::Closing)
            {
                break;
            }
            out.extend_from_slice(&[0, 0]);
            let plaintext = out.len();
            self.session.fill(
                self.now,
                out,
                SendCipher::MAX_PLAINTEXT,
                self.config.stream_send_queue / 2,
            );
            let filled = out.len().saturating_sub(plaintext);
            if filled == 0 {
                out.truncate(begin);
                break;
            }
            full = filled > SendCipher::MAX_PLAINTEXT.saturating_sub(yamux::MAX_SENT_PAYLOAD);
            if let Err(error) = channel.send.seal_in_place(out, begin) {
                out.truncate(begin);
                self.channel = Some(channel);
                return self.end(ConnectionError::Security(error));
            }
        }
        self.channel = Some(channel);
        self.after_sending();
    }

    // ---- inside: events and streams ----

    /// What happened, one at a time.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        when_recorded!(
            self,
            self.note_output(ConnectionOutput::Event(Cow::Borrowed(&event)))
        );
        if let Event::Readable { stream } | Event::Writable { stream } = &event
            && let Some(place) = self.place_of(*stream)
            && let Some(stream) = self.session.stream_mut(place)
        {
            match event {
                Event::Readable { .. } => stream.extra.readable_queued = false,
                _ => stream.extra.writable_queued = false,
            }
        }
        Some(event)
    }

    /// Whether [`poll_event`](Self::poll_event) has something to say.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// A stream, to read and write it; `None` if there is no such stream (any more).
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        let place = self.place_of(id)?;
        Some(Stream {
            connection: self,
            place,
            id,
        })
    }

    pub(super) fn is_at_end(&self, place: usize) -> bool {
        self.session.stream(place).is_some_and(|stream| {
            stream.readable() == 0 && stream.receive_state() == yamux::ReceiveState::FinReceived
        })
    }

    /// The application has read something: processing may go on.
    pub(super) fn note_read(&mut self) {
        if self.slow_reader_deadline.take().is_some() {
            self.process();
        }
    }

    /// The application has written, or given something up: what that freed may let others go on.
    pub(super) fn note_write(&mut self) {
        self.check_drained();
        self.note_freed();
        self.resume();
    }

    /// Goes on with what was received, if that had to wait and need not any more.
    pub(super) fn resume(&mut self) {
        if self.may_resume() {
            self.slow_reader_deadline = None;
            self.process();
        }
    }

    /// Whether what was received had to wait, for memory or for the swarm to take messages, and need not any more.
    pub(super) fn may_resume(&self) -> bool {
        (self.held_back || self.slow_reader_deadline.is_some()) && !self.is_held_up()
    }

    pub(super) fn write_length_prefix(&mut self, place: usize, len: usize) {
        self.scratch.clear();
        varint::encode(u64::try_from(len).unwrap_or(u64::MAX), &mut self.scratch);
        self.session.write_copy(place, &self.scratch);
    }
}
