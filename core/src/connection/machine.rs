//! The connection itself: its outside, its clock, and what it tells the swarm.

use super::{
    Event,
    config::{Config, ConnectedPoint, ConnectionStart, Direction},
    error::ConnectionError,
    id::{ConnectionId, StreamId},
    message::{BYTES_AT_ONCE, COMMANDS_AT_ONCE, SecuredPeer, ToSwarm, ToSwarmMessage},
    stream::Stream,
    streams::StreamExtra,
    table::{InboundTable, StreamKind},
    upgrade::{MuxNegotiation, Step, Upgrade},
};
use crate::{
    buffer::{Incoming, ReceiveBuffer},
    identity::PeerId,
    mux::yamux::{self, GoAway, Notice, Session},
    resource::Lease,
    security::{ReceiveCipher, Secured, SendCipher},
    time::{Instant, earliest},
    wire::varint,
};
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
/// Messages with less plaintext are read without cutting them out of the buffer.
const CUT_OUT_FROM: usize = 1024;
/// Of a turn that has sent a full message, a remainder below this many bytes waits for the next turn.
const HALF_MESSAGE: usize = 32 * 1024;
/// Spare memory is given back after this long without traffic.
const TRIM_AFTER: Duration = Duration::from_secs(1);
/// Bytes asked of the swarm at once.
const LEASE_BLOCK: u64 = 1024 * 1024;
/// A refused lease is asked for again after this long.
const LEASE_RETRY: Duration = Duration::from_secs(1);

/// What [`Connection::poll_transmit`] leaves for the host to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Transmit {
    /// More waits; call again when what was appended is written.
    pub more: bool,
    /// Nothing follows: write what was appended, then shut the pipe's write side and drop it.
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
struct Channel {
    send: SendCipher,
    receive: ReceiveCipher,
}

/// One connection to one peer: negotiates, secures, multiplexes.
///
/// Drive it with its verbs; any order of calls is legal. See the [module documentation](super).
#[derive(Debug)]
pub struct Connection {
    pub(super) id: ConnectionId,
    point: ConnectedPoint,
    pub(super) config: Arc<Config>,
    pub(super) now: Instant,
    pub(super) phase: Phase,
    /// Why it ends, once it does.
    pub(super) error: Option<ConnectionError>,
    peer: Option<PeerId>,
    secured: Option<Box<SecuredPeer>>,
    receive: ReceiveBuffer,
    /// The peer shut its side of the pipe.
    ended: bool,
    /// Bytes of the upgrade, as they go on the wire.
    upgrade_out: Vec<u8>,
    channel: Option<Channel>,
    mux_negotiation: Option<Box<MuxNegotiation>>,
    pub(super) session: Session<StreamExtra>,
    pub(super) table: Arc<InboundTable>,
    pub(super) events: VecDeque<Event>,
    messages: VecDeque<ToSwarm>,
    pub(super) scratch: Vec<u8>,

    pub(super) swarm_ids: BTreeMap<StreamId, usize>,
    pub(super) stream_deadlines: BTreeSet<(Instant, usize)>,
    pub(super) generation: u32,
    /// Inbound streams whose protocol is not agreed; streams that keep the connection open.
    pub(super) negotiating: u32,
    pub(super) foreground: u32,
    /// Writers that wait for the connection's send queue.
    pub(super) blocked: BTreeSet<usize>,
    pub(super) open_wanted: bool,
    pub(super) keep_alive: bool,
    host_keep_alive: bool,

    lease: Lease,
    first_lease: Lease,
    lease_asked: bool,
    lease_refused: Option<Instant>,
    commands_handled: u32,
    bytes_accepted: u64,
    bytes_reported: u64,
    round_trip: Option<Duration>,

    phase_deadline: Option<Instant>,
    idle_deadline: Option<Instant>,
    slow_reader_deadline: Option<Instant>,
    trim_at: Option<Instant>,
    last_traffic: Instant,
}

impl Connection {
    pub(super) fn new(start: ConnectionStart, now: Instant) -> Self {
        let ConnectionStart {
            id,
            point,
            config,
            security,
            seed,
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
            upgrade_out,
            channel: None,
            mux_negotiation: None,
            session: Session::new(role, yamux),
            table: Arc::default(),
            events: VecDeque::new(),
            messages: VecDeque::new(),
            scratch: Vec::new(),
            swarm_ids: BTreeMap::new(),
            stream_deadlines: BTreeSet::new(),
            generation: 0,
            negotiating: 0,
            foreground: 0,
            blocked: BTreeSet::new(),
            open_wanted: false,
            keep_alive: false,
            host_keep_alive: false,
            lease: Lease::EMPTY,
            first_lease: Lease::EMPTY,
            lease_asked: false,
            lease_refused: None,
            commands_handled: 0,
            bytes_accepted: 0,
            bytes_reported: 0,
            round_trip: None,
            phase_deadline: Some(now + config.handshake_timeout),
            idle_deadline: None,
            slow_reader_deadline: None,
            trim_at: None,
            last_traffic: now,
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

    /// Keeps the connection open although nothing uses it, or no longer.
    pub fn set_keep_alive(&mut self, keep_alive: bool) {
        self.host_keep_alive = keep_alive;
        self.check_idle();
    }

    // ---- outside: the pipe ----

    /// Where received bytes are to be appended; room is reserved. `None` asks not to read the pipe now: too much waits
    /// already. Call [`handle_recv`](Self::handle_recv) after appending.
    pub fn recv_buf(&mut self) -> Option<&mut BytesMut> {
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
            Phase::Upgrading(_) | Phase::AwaitingAdmission { .. } => {
                waiting.len() >= MAX_BEFORE_ADMISSION
            }
            _ => self.is_over_lease(),
        };
        if stuck {
            None
        } else {
            Some(self.receive.prepare(missing.max(1)))
        }
    }

    /// Processes what was appended to [`recv_buf`](Self::recv_buf).
    pub fn handle_recv(&mut self, now: Instant) {
        self.advance_clock(now);
        self.receive.adapt();
        self.note_traffic();
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
        self.ended = true;
        self.process();
    }

    /// The pipe failed; `reason` in the host's words. Nothing can be sent any more.
    pub fn handle_lost(&mut self, now: Instant, reason: String) {
        self.advance_clock(now);
        self.ended = true;
        if matches!(self.phase, Phase::Established) {
            self.process();
        }
        self.end(ConnectionError::Lost(reason));
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to append.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        match self.phase {
            Phase::Closed => false,
            Phase::Closing => true,
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
        let start = out.len();
        out.append(&mut self.upgrade_out);
        if matches!(self.phase, Phase::Established | Phase::Closing) {
            self.transmit_frames(out, start.saturating_add(limit));
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

    fn transmit_frames(&mut self, out: &mut Vec<u8>, end: usize) {
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

    // ---- time ----

    /// When to call [`handle_timeout`](Self::handle_timeout). Not later than the last `now` while an event or a message
    /// waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.events.is_empty() || !self.messages.is_empty() {
            return Some(self.now);
        }
        if self.is_closed() {
            return None;
        }
        let streams = self.stream_deadlines.first().map(|(deadline, _)| *deadline);
        let phase = earliest(self.phase_deadline, self.idle_deadline);
        let memory = earliest(self.slow_reader_deadline, self.trim_at);
        earliest(
            earliest(streams, phase),
            earliest(memory, self.lease_refused.map(|at| at + LEASE_RETRY)),
        )
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance_clock(now);
        let now = self.now;
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.phase_deadline) {
            let error = if matches!(self.phase, Phase::Closing) {
                ConnectionError::CloseTimeout
            } else {
                ConnectionError::HandshakeTimeout
            };
            return self.end(error);
        }
        if due(self.slow_reader_deadline) {
            self.slow_reader_deadline = None;
            return self.close_with(ConnectionError::SlowReader, GoAway::Normal);
        }
        if due(self.idle_deadline) {
            self.idle_deadline = None;
            return self.close_with(ConnectionError::Idle, GoAway::Normal);
        }
        if due(self.lease_refused.map(|at| at + LEASE_RETRY)) {
            self.lease_refused = None;
            self.check_lease();
        }
        self.expire_streams();
        if due(self.trim_at) {
            self.trim();
        }
    }

    pub(super) fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn note_traffic(&mut self) {
        self.last_traffic = self.now;
        if self.trim_at.is_none() {
            self.trim_at = Some(self.now + TRIM_AFTER);
        }
    }

    /// Gives back what an idle connection does not need, or looks again later if it was not idle.
    fn trim(&mut self) {
        let quiet_at = self.last_traffic + TRIM_AFTER;
        if quiet_at > self.now && !self.is_closed() {
            self.trim_at = Some(quiet_at);
            return;
        }
        self.trim_at = None;
        self.receive.trim();
        self.session.trim();
        self.scratch = Vec::new();
        self.upgrade_out = core::mem::take(&mut self.upgrade_out);
        if self.upgrade_out.is_empty() {
            self.upgrade_out = Vec::new();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        let spare = self.lease.bytes.saturating_sub(self.first_lease.bytes);
        if spare > 0
            && self.session.growth() == 0
            && self.session.held_bytes() == 0
            && !self.lease_asked
        {
            let back = Lease::new(spare, 0);
            self.lease = self.lease.minus(back);
            self.apply_lease();
            self.tell_swarm(ToSwarmMessage::ReturnLease(back));
        }
    }

    // ---- events and streams ----

    /// What happened, one at a time.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
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

    /// A stream, to read and write it; `None` if there is no such stream (any more).
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        let place = self.place_of(id)?;
        Some(Stream {
            connection: self,
            place,
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

    /// The application has written something.
    pub(super) fn note_write(&mut self) {
        self.check_drained();
    }

    pub(super) fn write_length_prefix(&mut self, place: usize, len: usize) {
        self.scratch.clear();
        varint::encode(u64::try_from(len).unwrap_or(u64::MAX), &mut self.scratch);
        self.session.write_copy(place, &self.scratch);
    }

    // ---- receiving ----

    /// Does all that can be done with what was received.
    pub(super) fn process(&mut self) {
        // The buffer leaves the connection for the while, so that what is cut from it can be given to the streams.
        let mut receive = core::mem::replace(&mut self.receive, ReceiveBuffer::new(0));
        while self.process_once(&mut receive) {}
        self.receive = receive;
        self.check_lease();
        if self.ended
            && !self.is_over_lease()
            && !matches!(self.phase, Phase::AwaitingAdmission { .. })
        {
            match self.phase {
                Phase::Upgrading(_) => self.end(ConnectionError::EndOfInput),
                Phase::Established => {
                    self.close_with(ConnectionError::ClosedByPeer, GoAway::Normal)
                }
                _ => {}
            }
        }
    }

    fn process_once(&mut self, receive: &mut ReceiveBuffer) -> bool {
        let result = match &mut self.phase {
            Phase::Upgrading(upgrade) => {
                match upgrade.advance(receive.as_slice(), &mut self.upgrade_out) {
                    Ok(Step::Consumed(0)) => return false,
                    Ok(Step::Consumed(count)) => {
                        receive.consume(count);
                        Ok(true)
                    }
                    Ok(Step::Secured(count, secured)) => {
                        receive.consume(count);
                        self.secured(*secured).map(|()| true)
                    }
                    Err(error) => Err(error),
                }
            }
            Phase::AwaitingAdmission { asked: true } | Phase::Closed => return false,
            Phase::AwaitingAdmission { asked: false } | Phase::Established | Phase::Closing => {
                if self.is_over_lease() {
                    return false;
                }
                self.process_message(receive)
            }
        };
        match result {
            Ok(more) => more,
            Err(error) => {
                self.fail(error);
                false
            }
        }
    }

    fn process_message(&mut self, receive: &mut ReceiveBuffer) -> Result<bool, ConnectionError> {
        let Some(channel) = &mut self.channel else {
            return Ok(false);
        };
        let Some(range) = channel
            .receive
            .next_message(receive.as_slice())
            .map_err(ConnectionError::Security)?
        else {
            return Ok(false);
        };
        let end = range.end;
        let message = receive
            .as_mut_slice()
            .get_mut(range.clone())
            .unwrap_or_default();
        let plain = channel
            .receive
            .open_in_place(message)
            .map_err(ConnectionError::Security)?;
        let plain_end = range.start.saturating_add(plain);
        if self.mux_negotiation.is_some() {
            let plaintext = receive
                .as_slice()
                .get(range.start..plain_end)
                .unwrap_or_default();
            let result = self.negotiate_muxer(plaintext);
            receive.consume(end);
            return result.map(|()| true);
        }
        if plain < CUT_OUT_FROM {
            let plaintext = receive
                .as_slice()
                .get(range.start..plain_end)
                .unwrap_or_default();
            let result = self.receive_frames(&mut Incoming::Borrowed(plaintext));
            receive.consume(end);
            result?;
        } else {
            receive.consume(range.start);
            let mut incoming = receive.split(plain);
            receive.consume(end.saturating_sub(plain_end));
            self.receive_frames(&mut incoming)?;
        }
        Ok(true)
    }

    fn receive_frames(&mut self, incoming: &mut Incoming<'_>) -> Result<(), ConnectionError> {
        loop {
            let notice = self
                .session
                .receive(self.now, incoming)
                .map_err(|error| match error {
                    yamux::Error::Flooding => ConnectionError::Flooding,
                    other => ConnectionError::Muxer(other),
                })?;
            let Some(notice) = notice else { return Ok(()) };
            match notice {
                Notice::Inbound(place) => self.on_inbound(place),
                Notice::Data(place) | Notice::Finished(place) => match self.session.stream(place) {
                    Some(stream) if stream.extra.is_negotiating() => self.negotiate(place),
                    _ => {
                        self.deliver(place);
                        self.settle(place);
                    }
                },
                Notice::Reset(place) => self.on_reset(place),
                Notice::RoundTrip(round_trip) => self.round_trip = Some(round_trip),
                Notice::GoAway(GoAway::Normal) => self.check_drained(),
                Notice::GoAway(reason) => {
                    let code = match reason {
                        GoAway::ProtocolError => 1,
                        GoAway::InternalError => 2,
                        GoAway::Other(code) => code,
                        GoAway::Normal => 0,
                    };
                    self.close_with(ConnectionError::ReportedByPeer(code), GoAway::Normal);
                    return Ok(());
                }
            }
            if self.is_closed() {
                return Ok(());
            }
        }
    }

    // ---- the upgrade's end ----

    fn secured(&mut self, secured: Secured) -> Result<(), ConnectionError> {
        let Secured {
            public_key,
            peer,
            muxer,
            send,
            receive,
            ..
        } = secured;
        self.peer = Some(peer);
        self.channel = Some(Channel { send, receive });
        self.phase = Phase::AwaitingAdmission { asked: false };
        self.secured = Some(Box::new(SecuredPeer { peer, public_key }));
        if muxer.is_some() {
            self.ask_for_admission();
            return Ok(());
        }
        let mut plaintext = Vec::new();
        let negotiation = MuxNegotiation::start(self.point.direction, &mut plaintext)
            .map_err(ConnectionError::Negotiation)?;
        self.mux_negotiation = Some(Box::new(negotiation));
        self.seal_upgrade(&plaintext)?;
        if self.point.direction == Direction::Outbound {
            self.ask_for_admission();
        }
        Ok(())
    }

    fn ask_for_admission(&mut self) {
        if let (Phase::AwaitingAdmission { asked }, Some(secured)) =
            (&mut self.phase, self.secured.take())
        {
            *asked = true;
            self.tell_swarm(ToSwarmMessage::Secured(secured));
        }
    }

    fn negotiate_muxer(&mut self, plaintext: &[u8]) -> Result<(), ConnectionError> {
        let Some(mut negotiation) = self.mux_negotiation.take() else {
            return Ok(());
        };
        let mut answer = Vec::new();
        let agreed = negotiation
            .advance(plaintext, &mut answer)
            .map_err(ConnectionError::Negotiation)?;
        self.seal_upgrade(&answer)?;
        if agreed && self.is_open() {
            let rest = negotiation.into_rest();
            return self.receive_frames(&mut Incoming::Borrowed(&rest));
        }
        self.mux_negotiation = Some(negotiation);
        if agreed {
            self.ask_for_admission();
        }
        Ok(())
    }

    fn seal_upgrade(&mut self, plaintext: &[u8]) -> Result<(), ConnectionError> {
        let Some(channel) = self.channel.as_mut().filter(|_| !plaintext.is_empty()) else {
            return Ok(());
        };
        let begin = self.upgrade_out.len();
        self.upgrade_out.extend_from_slice(&[0, 0]);
        self.upgrade_out.extend_from_slice(plaintext);
        channel
            .send
            .seal_in_place(&mut self.upgrade_out, begin)
            .map_err(ConnectionError::Security)
    }

    pub(super) fn admitted(&mut self, table: Arc<InboundTable>, lease: Lease) {
        let (Phase::AwaitingAdmission { asked: true }, Some(peer)) = (&self.phase, self.peer)
        else {
            return;
        };
        self.phase = Phase::Established;
        self.phase_deadline = None;
        self.table = table;
        self.lease = lease;
        self.first_lease = lease;
        self.apply_lease();
        self.events.push_back(Event::Established { peer });
        self.check_idle();
        // The listener has agreed on the muxer by now, and may hold what came behind the agreement.
        if self.point.direction == Direction::Inbound
            && let Some(negotiation) = self.mux_negotiation.take()
        {
            let rest = negotiation.into_rest();
            if let Err(error) = self.receive_frames(&mut Incoming::Borrowed(&rest)) {
                self.fail(error);
            }
        }
        self.process();
    }

    // ---- the end ----

    /// Closes in good order: what finished streams still owe is sent, then GoAway. The first reason is kept.
    pub fn close(&mut self, now: Instant, reason: ConnectionError) {
        self.advance_clock(now);
        self.close_with(reason, GoAway::Normal);
    }

    /// The peer broke the rules, or a layer below failed.
    fn fail(&mut self, error: ConnectionError) {
        match error {
            ConnectionError::Muxer(_) | ConnectionError::Flooding => {
                self.close_with(error, GoAway::ProtocolError)
            }
            other => self.end(other),
        }
    }

    pub(super) fn close_with(&mut self, error: ConnectionError, go_away: GoAway) {
        match self.phase {
            Phase::Closing | Phase::Closed => return,
            Phase::Established => {}
            // Refused before it was established: the muxer is agreed, so that the peer can be told.
            Phase::AwaitingAdmission { asked: true } if self.channel.is_some() => {}
            Phase::Upgrading(_) | Phase::AwaitingAdmission { .. } => return self.end(error),
        }
        let orderly =
            go_away == GoAway::Normal && !matches!(error, ConnectionError::ReportedByPeer(_));
        self.error = Some(error);
        self.phase = Phase::Closing;
        self.phase_deadline = Some(self.now + self.config.close_timeout);
        self.idle_deadline = None;
        self.session.drop_control();
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        for place in places {
            let Some(stream) = self.session.stream(place) else {
                continue;
            };
            let owes = stream.queued() > 0 && stream.send_state() == yamux::SendState::FinQueued;
            if !orderly || !owes {
                self.session.silence(place);
            }
        }
        self.session.refuse_new();
        if self.session.queued_bytes() == 0 {
            self.session.go_away(go_away);
        }
    }

    /// Ends at once, without telling the peer anything.
    pub(super) fn end(&mut self, error: ConnectionError) {
        if self.is_closed() {
            return;
        }
        self.error.get_or_insert(error);
        self.finish_closing();
    }

    fn finish_closing(&mut self) {
        let error = self.error.clone().unwrap_or(ConnectionError::Closed);
        self.phase = Phase::Closed;
        self.end_streams(&error);
        self.upgrade_out = Vec::new();
        self.receive = ReceiveBuffer::new(0);
        self.mux_negotiation = None;
        self.channel = None;
        self.blocked = BTreeSet::new();
        self.stream_deadlines = BTreeSet::new();
        self.phase_deadline = None;
        self.idle_deadline = None;
        self.slow_reader_deadline = None;
        self.lease_refused = None;
        self.trim_at = None;
        self.events.push_back(Event::Closed {
            error: error.clone(),
        });
        self.messages
            .push_back(ToSwarm(ToSwarmMessage::Closed(error)));
    }

    /// After sending, and whenever a stream is gone: a peer that goes away is let go with its last stream, and a closing
    /// connection says GoAway when the last byte is sent.
    pub(super) fn check_drained(&mut self) {
        match self.phase {
            Phase::Established
                if self.session.is_remote_going_away() && self.session.is_empty() =>
            {
                self.close_with(ConnectionError::ClosedByPeer, GoAway::Normal);
            }
            Phase::Closing if self.session.queued_bytes() == 0 => self.say_go_away_once(),
            _ => {}
        }
        if self.open_wanted && self.is_open() && self.session.may_open().is_ok() {
            self.open_wanted = false;
            self.events.push_back(Event::StreamsAvailable);
        }
    }

    fn say_go_away_once(&mut self) {
        if !self.session.has_said_go_away() {
            self.session.go_away(GoAway::Normal);
        }
    }

    fn after_sending(&mut self) {
        while let Some(notice) = self.session.poll_sent() {
            match notice {
                yamux::SentNotice::Space(place) => self.notify_writable(place),
                yamux::SentNotice::Finished(place) => self.settle(place),
            }
        }
        if !self.blocked.is_empty()
            && self.session.queued_bytes() <= self.config.connection_send_queue / 2
        {
            for place in core::mem::take(&mut self.blocked) {
                self.notify_writable(place);
            }
        }
        self.check_drained();
        self.report_processed();
    }

    pub(super) fn check_idle(&mut self) {
        let idle =
            self.is_open() && self.foreground == 0 && !self.keep_alive && !self.host_keep_alive;
        if !idle {
            self.idle_deadline = None;
        } else if self.idle_deadline.is_none() {
            self.idle_deadline = Some(self.now + self.config.idle_timeout);
        }
    }

    // ---- leases and messages ----

    /// Whether more memory is held than the swarm has leased. Then nothing is processed until the application reads.
    fn is_over_lease(&self) -> bool {
        let held = u64::try_from(self.session.held_bytes()).unwrap_or(u64::MAX);
        held > 0 && held.saturating_add(self.session.growth()) > self.lease.bytes
    }

    fn check_lease(&mut self) {
        if !self.is_open() {
            return;
        }
        let over = self.is_over_lease();
        if !over {
            self.slow_reader_deadline = None;
        } else if self.slow_reader_deadline.is_none() {
            self.slow_reader_deadline = Some(self.now + self.config.slow_reader_timeout);
        }
        let streams_short = self.session.inbound_streams() > self.lease.streams / 2
            && self.lease.streams < self.config.max_streams;
        let bytes_short = self.session.take_growth_wanted() || over;
        if (bytes_short || streams_short) && !self.lease_asked && self.lease_refused.is_none() {
            let bytes = if bytes_short {
                LEASE_BLOCK.max(u64::from(self.config.yamux.max_window) / 4)
            } else {
                0
            };
            let streams = if streams_short {
                self.config.max_streams.saturating_sub(self.lease.streams)
            } else {
                0
            };
            self.lease_asked = true;
            self.tell_swarm(ToSwarmMessage::NeedLease(Lease::new(bytes, streams)));
        }
    }

    pub(super) fn leased(&mut self, more: Lease) {
        self.lease_asked = false;
        if more.is_empty() {
            self.lease_refused = Some(self.now);
            return;
        }
        self.lease = self.lease.plus(more);
        self.apply_lease();
        self.process();
    }

    fn apply_lease(&mut self) {
        self.session.set_growth_budget(self.lease.bytes / 2);
        let streams = self
            .lease
            .streams
            .min(self.config.max_streams)
            .min(self.config.yamux.max_inbound_streams);
        self.session.set_max_inbound_streams(streams);
    }

    pub(super) fn tell_swarm(&mut self, message: ToSwarmMessage) {
        self.messages.push_back(ToSwarm(message));
    }

    /// What to carry to the swarm, one at a time, in order.
    pub fn poll_message(&mut self) -> Option<ToSwarm> {
        if let Some(message) = self.messages.pop_front() {
            return Some(message);
        }
        self.round_trip
            .take()
            .map(|round_trip| ToSwarm(ToSwarmMessage::RoundTrip(round_trip)))
    }

    pub(super) fn note_command(&mut self) {
        self.commands_handled = self.commands_handled.saturating_add(1);
        self.report_processed();
    }

    /// A command brought `len` bytes, which the swarm counts, of which `queued` now wait in a stream's queue.
    pub(super) fn note_sent(&mut self, len: usize, queued: usize) {
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_accepted = self.bytes_accepted.saturating_add(count(len.max(queued)));
        // A length prefix is not the swarm's: it is reported as if it had gone before.
        self.bytes_reported = self
            .bytes_reported
            .saturating_add(count(queued.saturating_sub(len)));
        self.note_command();
    }

    /// Tells the swarm what left its budget, in batches.
    pub(super) fn report_processed(&mut self) {
        let queued = u64::try_from(self.session.metered_bytes()).unwrap_or(u64::MAX);
        let gone = self
            .bytes_accepted
            .saturating_sub(queued)
            .saturating_sub(self.bytes_reported);
        let enough = gone >= BYTES_AT_ONCE / 4 || self.commands_handled >= COMMANDS_AT_ONCE / 4;
        if enough && !self.is_closed() {
            self.bytes_reported = self.bytes_reported.saturating_add(gone);
            let commands = core::mem::take(&mut self.commands_handled);
            self.tell_swarm(ToSwarmMessage::Processed {
                commands,
                bytes: gone,
            });
        }
    }

    pub(super) fn kind_of(&self, place: usize) -> Option<StreamKind> {
        self.session.stream(place).map(|stream| stream.extra.kind)
    }
}
