//! What the connection keeps with each stream, and how a stream comes to its protocol.

#[cfg(feature = "recording")]
use super::recorded::{ConnectionInput, ConnectionOutput};
use super::{
    Connection, Event,
    error::{ConnectionError, OpenError, StreamError},
    id::StreamId,
    message::{StreamEnd, ToSwarmMessage},
    table::{InboundTable, StreamKind, StreamOwner},
};
use crate::{
    buffer::Loan,
    multistream::{self, Dialer, Listener, MAX_LINE_LEN, ProtocolName, Supported},
    mux::{
        code,
        yamux::{OpenRefused, ReceiveState, SendState, StreamState},
    },
    time::Instant,
};
#[cfg(feature = "recording")]
use alloc::borrow::Cow;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use bytes::Bytes;
use smallvec::SmallVec;

/// A whole line and its length prefix.
const LINE: usize = MAX_LINE_LEN + 2;

/// How a stream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct OpenOptions {
    /// The stream does not keep an otherwise idle connection open.
    pub background: bool,
    /// Higher goes first; `None` is the middle, 128.
    pub priority: Option<u8>,
}

impl OpenOptions {
    /// Marks the stream as background traffic.
    #[must_use]
    pub const fn background(mut self) -> Self {
        self.background = true;
        self
    }
}

/// Where a stream stands with its protocol.
#[derive(Debug, Default)]
pub(super) enum Negotiation {
    /// Agreed.
    #[default]
    Done,
    Dialing(Box<Dialing>),
    Listening(Box<Listener>),
}

impl Negotiation {
    /// Bytes of the owner that wait for the agreement.
    fn early_bytes(&self) -> usize {
        match self {
            Self::Dialing(dialing) => dialing.early.messages.iter().map(Bytes::len).sum(),
            Self::Done | Self::Listening(_) => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Dialing {
    machine: Dialer,
    names: SmallVec<[ProtocolName; 1]>,
    /// What the owner did before the peer had agreed, and the peer must not see amid the negotiation.
    early: Early,
}

/// Done as soon as a protocol is agreed.
#[derive(Debug, Default)]
struct Early {
    /// Messages (or chunks) to send. Only of protocols: a host is held back instead. Bounded by the swarm's budget.
    messages: Vec<Bytes>,
    finish: bool,
    stop: bool,
}

/// A message on its way to a protocol: should the stream be handed over meanwhile, the host gets it.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) bytes: Bytes,
    pub(super) loan: Loan,
}

/// What the connection keeps with each stream. Kept small: a node may have very many of them, and most are idle.
#[derive(Debug)]
pub(super) struct StreamExtra {
    pub(super) id: StreamId,
    pub(super) owner: StreamOwner,
    pub(super) kind: StreamKind,
    pub(super) negotiation: Negotiation,
    /// Once agreed.
    pub(super) protocol: Option<ProtocolName>,
    /// The entry of the table of accepted names under which it is counted.
    pub(super) entry: Option<u32>,
    /// The stream is given up then, unless its negotiation (or its orderly end) is through; the far future for never.
    deadline: Instant,
    /// Why it failed, once it has.
    pub(super) error: Option<Box<StreamError>>,
    pub(super) background: bool,
    /// The owner waits for something to read / for the agreement, to write.
    pub(super) read_interest: bool,
    pub(super) write_interest: bool,
    pub(super) readable_queued: bool,
    pub(super) writable_queued: bool,
    /// The owner has read the end.
    pub(super) end_seen: bool,
    /// The owner is gone: only the orderly end is awaited.
    pub(super) detached: bool,
    /// The message that is on its way to the swarm and not yet consumed.
    pub(super) lent: Option<Box<Lent>>,
    pub(super) remote_end_reported: bool,
    /// The protocol wants to be told when all it sent has left.
    pub(super) sent_interest: bool,
}

// A node may hold 10,000 idle streams: what few of them need belongs into a box.
const _: () = assert!(size_of::<StreamState<StreamExtra>>() <= 184);

impl Default for StreamExtra {
    /// A stream the peer just opened.
    fn default() -> Self {
        Self {
            id: StreamId::by_connection(u32::MAX, 0),
            owner: StreamOwner::Host,
            kind: StreamKind::Raw,
            negotiation: Negotiation::Listening(Box::default()),
            protocol: None,
            entry: None,
            deadline: Instant::FAR_FUTURE,
            error: None,
            background: false,
            read_interest: true,
            write_interest: false,
            readable_queued: false,
            writable_queued: false,
            end_seen: false,
            detached: false,
            lent: None,
            remote_end_reported: false,
            sent_interest: false,
        }
    }
}

impl StreamExtra {
    /// Counts the stream under an entry of the table of accepted names.
    fn set_entry(&mut self, entry: Option<usize>) {
        self.entry = entry.and_then(|entry| u32::try_from(entry).ok());
    }

    pub(super) const fn is_negotiating(&self) -> bool {
        !matches!(self.negotiation, Negotiation::Done)
    }

    /// Whether the application may write before the peer has agreed: only when one name was offered.
    pub(super) fn may_write(&self) -> bool {
        match &self.negotiation {
            Negotiation::Done => true,
            Negotiation::Dialing(dialing) => dialing.names.len() == 1,
            Negotiation::Listening(_) => false,
        }
    }

    /// Whether the owner has finished, or will have as soon as the protocol is agreed.
    pub(super) fn finishes_early(&self) -> bool {
        matches!(&self.negotiation, Negotiation::Dialing(dialing) if dialing.early.finish)
    }
}

impl Connection {
    /// Opens a stream that this host owns, offering `names` in the order of preference.
    ///
    /// The stream can be written at once if it offers one name: the negotiation then travels with the first data.
    /// [`Event::Opened`] or [`Event::Failed`] follows.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. After [`OpenError::TooManyStreams`] an [`Event::StreamsAvailable`] follows.
    pub fn open(
        &mut self,
        now: Instant,
        names: &[ProtocolName],
        kind: StreamKind,
        options: OpenOptions,
    ) -> Result<StreamId, OpenError> {
        self.advance_clock(now);
        when_recorded!(
            self,
            self.note(ConnectionInput::Open {
                names: Cow::Borrowed(names),
                kind,
                options
            })
        );
        let opened = self.open_stream(None, StreamOwner::Host, names.into(), kind, options);
        let opened = opened.and_then(|place| {
            let id = self.session.stream(place).map(|stream| stream.extra.id);
            id.ok_or(OpenError::NotConnected)
        });
        when_recorded!(
            self,
            self.note_output(ConnectionOutput::Opened(opened.clone()))
        );
        opened
    }

    pub(super) fn open_stream(
        &mut self,
        id: Option<StreamId>,
        owner: StreamOwner,
        names: SmallVec<[ProtocolName; 1]>,
        kind: StreamKind,
        options: OpenOptions,
    ) -> Result<usize, OpenError> {
        if !self.is_open() {
            return Err(OpenError::NotConnected);
        }
        self.session.may_open().map_err(|refused| match refused {
            OpenRefused::TooManyStreams => {
                self.open_wanted = true;
                OpenError::TooManyStreams
            }
            OpenRefused::GoingAway => OpenError::GoingAway,
            OpenRefused::Exhausted => OpenError::Exhausted,
        })?;
        self.scratch.clear();
        let machine =
            Dialer::start(&names, &mut self.scratch).map_err(|_| OpenError::NoProtocol)?;
        let extra = StreamExtra {
            owner,
            kind,
            negotiation: Negotiation::Dialing(Box::new(Dialing {
                machine,
                names,
                early: Early::default(),
            })),
            background: options.background,
            ..StreamExtra::default()
        };
        let place = self
            .session
            .open(self.now, extra)
            .map_err(|_| OpenError::TooManyStreams)?;
        self.adopt(place, id);
        if let Some(priority) = options.priority {
            self.session.set_priority(place, priority);
        }
        self.session.set_metered(place, owner != StreamOwner::Host);
        self.session.write_copy(place, &self.scratch);
        Ok(place)
    }

    /// Names a new stream, starts its negotiation clock and counts it.
    pub(super) fn adopt(&mut self, place: usize, id: Option<StreamId>) {
        let deadline = self.now + self.config.negotiation_timeout;
        self.generation = self.generation.wrapping_add(1);
        let place_number = u32::try_from(place).unwrap_or(u32::MAX);
        let id = id.unwrap_or_else(|| StreamId::by_connection(place_number, self.generation));
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        stream.extra.id = id;
        stream.extra.deadline = deadline;
        let background = stream.extra.background;
        if id.is_by_swarm() {
            self.swarm_ids.insert(id, place);
        }
        self.stream_deadlines.insert((deadline, place));
        if !background {
            self.foreground = self.foreground.saturating_add(1);
        }
        self.check_idle();
    }

    /// Forgets a stream entirely. It must be over, or have been aborted.
    pub(super) fn forget(&mut self, place: usize) {
        let Some(extra) = self.session.remove(place) else {
            return;
        };
        self.stream_deadlines.remove(&(extra.deadline, place));
        self.blocked.remove(&place);
        if let Some(lent) = extra.lent {
            self.outlived_by_message(extra.id, lent.loan);
        }
        let early = extra.negotiation.early_bytes();
        self.early_bytes = self.early_bytes.saturating_sub(early);
        if extra.id.is_by_swarm() {
            self.swarm_ids.remove(&extra.id);
        }
        if matches!(extra.negotiation, Negotiation::Listening(_)) {
            self.negotiating = self.negotiating.saturating_sub(1);
        }
        if let Some(open) = extra
            .entry
            .and_then(|entry| self.inbound_counts.get_mut(usize::try_from(entry).ok()?))
        {
            *open = open.saturating_sub(1);
        }
        if !extra.background {
            self.foreground = self.foreground.saturating_sub(1);
        }
        self.check_idle();
        self.check_drained();
    }

    /// Takes a newer table of accepted names, and counts the inbound streams by its entries.
    pub(super) fn set_table(&mut self, table: Arc<InboundTable>) {
        self.table = table;
        self.inbound_counts.clear();
        self.inbound_counts.resize(self.table.entries().len(), 0);
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        for place in places {
            let Some(stream) = self
                .session
                .stream_mut(place)
                .filter(|stream| !stream.is_outbound())
            else {
                continue;
            };
            let name = stream.extra.protocol.as_ref();
            let entry = name.and_then(|name| self.table.find(name.as_str()));
            stream.extra.set_entry(entry);
            if let Some(open) = entry.and_then(|entry| self.inbound_counts.get_mut(entry)) {
                *open = open.saturating_add(1);
            }
        }
    }

    /// The place of a stream by its id.
    pub(super) fn place_of(&self, id: StreamId) -> Option<usize> {
        if id.is_by_swarm() {
            return self.swarm_ids.get(&id).copied();
        }
        let place = usize::try_from(id.place()).ok()?;
        self.session
            .stream(place)
            .filter(|stream| stream.extra.id == id)
            .map(|_| place)
    }

    /// The peer opened a stream.
    pub(super) fn on_inbound(&mut self, place: usize) {
        if self.negotiating >= self.config.max_negotiating_streams {
            self.session.refuse(place, code::RESOURCE_LIMIT_EXCEEDED);
            self.session.remove(place);
            return;
        }
        self.negotiating = self.negotiating.saturating_add(1);
        self.adopt(place, None);
    }

    /// Something came, or the peer finished, on a stream whose protocol is not agreed.
    pub(super) fn negotiate(&mut self, place: usize) {
        loop {
            let Some(stream) = self.session.stream_mut(place) else {
                return;
            };
            let ended = stream.receive_state() == ReceiveState::FinReceived;
            let mut negotiation = core::mem::take(&mut stream.extra.negotiation);
            let input = self.session.peek(place, LINE);
            self.scratch.clear();
            let progress = match &mut negotiation {
                Negotiation::Done => return,
                Negotiation::Dialing(dialing) => {
                    dialing
                        .machine
                        .advance(&dialing.names, input, &mut self.scratch)
                }
                Negotiation::Listening(machine) => {
                    machine.advance(&*self.table, input, &mut self.scratch)
                }
            };
            if !self.scratch.is_empty() {
                self.session.write_copy(place, &self.scratch);
            }
            let (consumed, outcome) = match progress {
                Ok(progress) => {
                    self.session.consume(place, progress.consumed);
                    (progress.consumed, progress.outcome)
                }
                Err(error) => {
                    self.put_negotiation(place, negotiation);
                    return self.fail_negotiation(place, error);
                }
            };
            match (outcome, negotiation) {
                (Some(index), Negotiation::Dialing(dialing)) => {
                    return self.agreed_outbound(place, *dialing, index);
                }
                (Some(index), Negotiation::Listening(_)) => {
                    return self.agreed_inbound(place, index);
                }
                (_, negotiation) => self.put_negotiation(place, negotiation),
            }
            if consumed == 0 {
                if ended {
                    self.fail_negotiation(place, multistream::Error::Unsupported);
                }
                return;
            }
        }
    }

    fn put_negotiation(&mut self, place: usize, negotiation: Negotiation) {
        if let Some(stream) = self.session.stream_mut(place) {
            stream.extra.negotiation = negotiation;
        }
    }

    fn fail_negotiation(&mut self, place: usize, error: multistream::Error) {
        let error = match error {
            multistream::Error::Unsupported => StreamError::UnsupportedProtocol,
            other => StreamError::Negotiation(other),
        };
        let inbound = self.session.stream(place).is_some_and(|s| !s.is_outbound());
        if inbound && error == StreamError::UnsupportedProtocol {
            return self.decline(place);
        }
        if inbound {
            self.session
                .refuse(place, code::PROTOCOL_NEGOTIATION_FAILED);
        }
        self.fail_stream(place, error, code::PROTOCOL_NEGOTIATION_FAILED);
    }

    /// The peer wants nothing there is. It has been told so, and must hear it: a reset would overtake the answer. What it
    /// has said in advance to whom it wanted is discarded.
    fn decline(&mut self, place: usize) {
        self.clear_deadline(place);
        self.negotiating = self.negotiating.saturating_sub(1);
        if let Some(stream) = self.session.stream_mut(place) {
            stream.extra.negotiation = Negotiation::Done;
            stream.extra.detached = true;
        }
        self.session.decline(place);
        self.limit_detached(place);
        self.settle(place);
    }

    fn agreed_outbound(&mut self, place: usize, dialing: Dialing, index: usize) {
        self.clear_deadline(place);
        let early = dialing.early;
        let Some(name) = dialing.names.into_iter().nth(index) else {
            return;
        };
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        stream.extra.protocol = Some(name.clone());
        let (id, owner) = (stream.extra.id, stream.extra.owner);
        let wants_write = core::mem::take(&mut stream.extra.write_interest);
        match owner {
            StreamOwner::Host if stream.extra.detached => {}
            StreamOwner::Host => {
                self.events.push_back(Event::Opened {
                    stream: id,
                    protocol: name,
                });
                if wants_write {
                    self.notify_writable(place);
                }
            }
            StreamOwner::Protocol(_) => {
                self.tell_swarm(ToSwarmMessage::Opened { stream: id, name })
            }
        }
        for message in early.messages {
            self.early_bytes = self.early_bytes.saturating_sub(message.len());
            let before = self.session.metered_bytes();
            let len = message.len();
            self.write_or_keep(place, message);
            let after = self.session.metered_bytes();
            self.note_prefix(after.saturating_sub(before).saturating_sub(len));
        }
        if early.finish {
            self.session.finish(place);
            self.set_last_aside(place);
        }
        if early.stop {
            self.session.stop(place);
        }
        self.limit_detached(place);
        self.deliver(place);
        self.settle(place);
    }

    /// Queues one message of the stream's owner, or keeps it until the protocol is agreed.
    pub(super) fn write_or_keep(&mut self, place: usize, message: Bytes) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        if !stream.extra.may_write() {
            if let Negotiation::Dialing(dialing) = &mut stream.extra.negotiation {
                self.early_bytes = self.early_bytes.saturating_add(message.len());
                dialing.early.messages.push(message);
            }
            return;
        }
        if let StreamKind::Framed { .. } = stream.extra.kind {
            self.write_length_prefix(place, message.len());
        }
        self.session.write_shared(place, message);
    }

    /// Half-closes, as soon as the protocol is agreed if it matters which one it is.
    pub(super) fn finish_stream(&mut self, place: usize) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        match &mut stream.extra.negotiation {
            Negotiation::Dialing(dialing) if dialing.names.len() > 1 => {
                dialing.early.finish = true;
            }
            _ => self.session.finish(place),
        }
    }

    /// Discards what the peer sends on the stream from now on, but for its answer to the negotiation.
    pub(super) fn stop_stream(&mut self, place: usize) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        match &mut stream.extra.negotiation {
            Negotiation::Dialing(dialing) => dialing.early.stop = true,
            _ => self.session.stop(place),
        }
    }

    /// The peer may take its time to finish a stream whose owner is gone, but not for ever.
    fn limit_detached(&mut self, place: usize) {
        let deadline = self.now + self.config.negotiation_timeout;
        if let Some(stream) = self.session.stream_mut(place)
            && stream.extra.detached
            && stream.extra.deadline == Instant::FAR_FUTURE
        {
            stream.extra.deadline = deadline;
            self.stream_deadlines.insert((deadline, place));
        }
    }

    fn agreed_inbound(&mut self, place: usize, index: usize) {
        self.negotiating = self.negotiating.saturating_sub(1);
        self.clear_deadline(place);
        let table = self.table.clone();
        let Some(entry) = table.entries().get(index) else {
            return;
        };
        let open = self.inbound_counts.get(index).copied().unwrap_or_default();
        if open >= entry.accept.max_streams {
            self.session.refuse(place, code::RESOURCE_LIMIT_EXCEEDED);
            return self.forget(place);
        }
        if let Some(open) = self.inbound_counts.get_mut(index) {
            *open = open.saturating_add(1);
        }
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        let extra = &mut stream.extra;
        extra.protocol = Some(entry.name.clone());
        extra.set_entry(Some(index));
        extra.owner = entry.owner;
        extra.kind = entry.accept.kind;
        extra.background = entry.accept.background;
        let id = extra.id;
        if entry.accept.background {
            self.foreground = self.foreground.saturating_sub(1);
            self.check_idle();
        }
        self.session
            .set_metered(place, entry.owner != StreamOwner::Host);
        match entry.owner {
            StreamOwner::Host => {
                self.events.push_back(Event::Inbound {
                    stream: id,
                    protocol: entry.name.clone(),
                });
            }
            StreamOwner::Protocol(slot) => {
                self.tell_swarm(ToSwarmMessage::Inbound {
                    stream: id,
                    slot,
                    name: entry.name.clone(),
                });
            }
        }
        self.deliver(place);
    }

    pub(super) fn clear_deadline(&mut self, place: usize) {
        if let Some(stream) = self.session.stream_mut(place)
            && stream.extra.deadline != Instant::FAR_FUTURE
        {
            let deadline = core::mem::replace(&mut stream.extra.deadline, Instant::FAR_FUTURE);
            self.stream_deadlines.remove(&(deadline, place));
        }
    }

    /// Ends a stream because of what the peer did or did not do on it.
    pub(super) fn fail_stream(&mut self, place: usize, error: StreamError, code: u32) {
        self.session.abort(place, code);
        self.stream_failed(place, error);
    }

    /// The stream is dead on the wire: tells its owner.
    pub(super) fn stream_failed(&mut self, place: usize, error: StreamError) {
        self.clear_deadline(place);
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        let extra = &mut stream.extra;
        let opening = matches!(extra.negotiation, Negotiation::Dialing(_));
        let unheard_of = matches!(extra.negotiation, Negotiation::Listening(_));
        match extra.owner {
            _ if unheard_of || extra.detached => self.forget(place),
            StreamOwner::Protocol(_) => {
                let stream = extra.id;
                self.tell_ended(stream, StreamEnd::Failed(error));
                self.forget(place);
            }
            StreamOwner::Host if extra.error.is_none() => {
                extra.error = Some(Box::new(error.clone()));
                let negotiation = core::mem::take(&mut extra.negotiation);
                self.early_bytes = self.early_bytes.saturating_sub(negotiation.early_bytes());
                let stream = extra.id;
                self.events.push_back(if opening {
                    Event::Failed { stream, error }
                } else {
                    Event::Reset { stream, error }
                });
            }
            StreamOwner::Host => {}
        }
    }

    /// The peer aborted a stream.
    pub(super) fn on_reset(&mut self, place: usize) {
        let Some(stream) = self.session.stream(place) else {
            return;
        };
        let code = stream.reset_code().unwrap_or_default();
        if let StreamOwner::Protocol(_) = stream.extra.owner
            && !stream.extra.is_negotiating()
        {
            // What arrived before the reset is delivered first, as far as it can be at once.
            self.deliver(place);
        }
        self.stream_failed(place, StreamError::ResetByPeer(code));
    }

    /// Streams whose time is up.
    pub(super) fn expire_streams(&mut self) {
        while let Some((deadline, place)) = self.stream_deadlines.first().copied() {
            if deadline > self.now {
                return;
            }
            self.stream_deadlines.remove(&(deadline, place));
            if let Some(stream) = self.session.stream_mut(place) {
                stream.extra.deadline = Instant::FAR_FUTURE;
                self.fail_stream(
                    place,
                    StreamError::NegotiationTimeout,
                    code::PROTOCOL_NEGOTIATION_FAILED,
                );
            }
        }
    }

    /// The host no longer wants the stream. What it wrote and finished is still sent; otherwise the stream is reset.
    pub(super) fn release(&mut self, place: usize) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        let over = stream.extra.error.is_some() || stream.reset_code().is_some();
        let finishes = stream.send_state() != SendState::Open || stream.extra.finishes_early();
        let orderly = finishes && self.error.is_none();
        stream.extra.detached = true;
        if over || stream.is_finished() {
            return self.forget(place);
        }
        if !orderly {
            self.session.abort(place, code::NO_ERROR);
            return self.forget(place);
        }
        self.limit_detached(place);
        self.stop_stream(place);
        self.settle(place);
    }

    /// Forgets the stream if it is over in good order and its owner knows all of it.
    pub(super) fn settle(&mut self, place: usize) {
        let Some(stream) = self.session.stream(place) else {
            return;
        };
        if !stream.is_finished() || stream.extra.is_negotiating() {
            return;
        }
        let extra = &stream.extra;
        let id = extra.id;
        match extra.owner {
            _ if extra.detached => self.forget(place),
            // A stream that has failed, with its connection or alone, has had its last word: the host lets go of it.
            StreamOwner::Host if extra.end_seen && extra.error.is_none() => {
                self.events.push_back(Event::Finished { stream: id });
                self.forget(place);
            }
            StreamOwner::Protocol(_) if extra.remote_end_reported => {
                self.tell_ended(id, StreamEnd::Finished);
                self.forget(place);
            }
            _ => {}
        }
    }

    /// The connection is over: every stream is.
    pub(super) fn end_streams(&mut self, error: &ConnectionError) {
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        for place in places {
            let Some(stream) = self.session.stream_mut(place) else {
                continue;
            };
            match stream.extra.owner {
                StreamOwner::Host
                    if !stream.extra.detached
                        && !matches!(stream.extra.negotiation, Negotiation::Listening(_)) =>
                {
                    // What has arrived stays readable until the host lets go of the stream.
                    stream
                        .extra
                        .error
                        .get_or_insert_with(|| Box::new(StreamError::Connection(error.clone())));
                    self.clear_deadline(place);
                }
                _ => self.stream_failed(place, StreamError::Connection(error.clone())),
            }
        }
    }
}
