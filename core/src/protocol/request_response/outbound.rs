//! Requests of this node.

use super::{
    Codec, CodecError, Cx, Deadline, EncodeError, Event, Message, OutboundFailure,
    OutboundRequestId, Refusal, RequestResponse, SendRequestError, Stage, Use,
    config::{Config, Framing},
    length,
};
use crate::{
    connection::{Accept, ConnectionId, StreamEnd, StreamError, StreamKind, code},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::{MAX_ROUNDS, ProtocolName},
    swarm::{EventPermit, OpenStreamError, SendError, StreamRef},
};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Streams beyond the limit that may be on a connection while they are being refused and counted.
const COUNTED_SURPLUS: u32 = 16;

/// How one request is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOptions {
    pub(super) addresses: Vec<Multiaddr>,
    timeout: Option<Duration>,
    pub(super) dial: bool,
    stream_response: bool,
    /// Only so many of the outbound names, the first ones, are offered.
    first_names: Option<usize>,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestOptions {
    /// As [`send_request`](RequestResponse::send_request) does: the peer is dialed if need be, the time is that of the
    /// settings, the response is collected.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            addresses: Vec::new(),
            timeout: None,
            dial: true,
            stream_response: false,
            first_names: None,
        }
    }

    /// More addresses to dial, besides those that are known.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// How long this request may take, in place of [`request_timeout`](super::Config::request_timeout).
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Refuses the request if the peer is neither connected nor being dialed for another one.
    #[must_use]
    pub const fn only_if_connected(mut self) -> Self {
        self.dial = false;
        self
    }

    /// Offers only so many names, the first ones: for a protocol on top of this one, which sends some requests under more
    /// names than others.
    pub(super) const fn first_names(mut self, count: usize) -> Self {
        self.first_names = Some(count);
        self
    }

    /// Whether the response is left to the host.
    pub(super) const fn streams_response(&self) -> bool {
        self.stream_response
    }

    /// Does not collect the response: as soon as it begins, its stream is given to the host, see
    /// [`Event::ResponseStream`]. The deadline covers the time until then; no limit of length applies.
    #[must_use]
    pub const fn stream_response(mut self) -> Self {
        self.stream_response = true;
        self
    }
}

/// How much of an exchange is the protocol's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// All of it.
    Whole,
    /// All but the response.
    StreamedResponse,
    /// The host writes the request and reads the response.
    Streamed,
    /// There is no response.
    OneWay,
}

/// A request of this node.
#[derive(Debug)]
pub(super) struct Outbound<Q> {
    peer: PeerId,
    mode: Mode,
    /// How many of the names are offered.
    names: usize,
    /// What is to be sent, or will have to be again if the stream turns out not to exist.
    body: Option<Bytes>,
    /// It has gone with the opening of the stream.
    sent: bool,
    /// To say it under another name than the preferred one, while that is not certain.
    request: Option<Q>,
    /// Bytes counted as held for the body.
    held: u64,
    /// Where it goes, once there is a connection.
    stream: Option<StreamRef>,
    /// The peer agreed, to the name with this number.
    name: Option<usize>,
    /// All of the request has left. Only one-way requests ask.
    left: bool,
    /// For the last word, while that is to come.
    permit: Option<EventPermit>,
}

impl<Q> Outbound<Q> {
    pub(super) const fn is_pending(&self) -> bool {
        self.permit.is_some()
    }
}

impl Config {
    /// How streams of peers' requests are taken.
    pub(super) const fn accept(&self) -> Accept {
        let kind = if self.stream_requests {
            StreamKind::Raw
        } else {
            self.framing.kind(self.max_request_len)
        };
        // A stream that is the host's is not seen here: only the connection can count those. Of the others it stops what is
        // clearly a flood, and leaves the counting to the protocol.
        let spare = if self.stream_requests {
            0
        } else {
            COUNTED_SURPLUS
        };
        Accept::new(kind).max_streams(self.max_inbound.saturating_add(spare))
    }
}

impl<C: Codec> RequestResponse<C> {
    /// Sends a request to a peer, dialing it if need be. [`Message::Response`] or [`Event::OutboundFailure`] follows, once.
    ///
    /// # Errors
    /// The request, with the reason why it was refused. Nothing follows then.
    pub fn send_request(
        &mut self,
        peer: &PeerId,
        request: C::Request,
        cx: &mut Cx<'_, C>,
    ) -> Result<OutboundRequestId, SendRequestError<C::Request>> {
        self.send_request_with(peer, request, RequestOptions::new(), cx)
    }

    /// The same, with more addresses of the peer to dial.
    ///
    /// # Errors
    /// As there.
    pub fn send_request_with_addresses(
        &mut self,
        peer: &PeerId,
        request: C::Request,
        addresses: impl IntoIterator<Item = Multiaddr>,
        cx: &mut Cx<'_, C>,
    ) -> Result<OutboundRequestId, SendRequestError<C::Request>> {
        let options = RequestOptions::new().addresses(addresses);
        self.send_request_with(peer, request, options, cx)
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As there.
    pub fn send_request_with(
        &mut self,
        peer: &PeerId,
        request: C::Request,
        options: RequestOptions,
        cx: &mut Cx<'_, C>,
    ) -> Result<OutboundRequestId, SendRequestError<C::Request>> {
        let Some(preferred) = self.outbound_names.first() else {
            let reason = Refusal::NoOutboundProtocol;
            return Err(SendRequestError { request, reason });
        };
        let body = self.codec.encode_request(preferred, &request);
        match self.submit_body(peer, body, options, cx) {
            Ok(id) => {
                self.keep_request(id, request);
                Ok(id)
            }
            Err(reason) => Err(SendRequestError { request, reason }),
        }
    }

    /// Sends a request of which only the body, as it is under the preferred name, is at hand.
    pub(super) fn submit_body(
        &mut self,
        peer: &PeerId,
        body: Result<Bytes, CodecError>,
        options: RequestOptions,
        cx: &mut Cx<'_, C>,
    ) -> Result<OutboundRequestId, Refusal> {
        let mode = match (self.config.one_way, options.stream_response) {
            (true, _) => Mode::OneWay,
            (false, true) => Mode::StreamedResponse,
            (false, false) => Mode::Whole,
        };
        let body = encoded(body, self.config.max_request_len).map_err(Refusal::Encode)?;
        self.submit(peer, mode, Some(body), options, cx)
    }

    /// Keeps a request that was sent, to say it under another name, if the peer may choose one.
    pub(super) fn keep_request(&mut self, id: OutboundRequestId, request: C::Request) {
        if let Some(entry) = self.outbound.get_mut(&id)
            && entry.names > 1
        {
            entry.request = Some(request);
        }
    }

    /// Opens a request whose body the host writes: when the peer has agreed, [`Event::ResponseStream`] gives the stream to
    /// the host, which writes the request, finishes, and reads the response. Or [`Event::OutboundFailure`] comes. The
    /// deadline covers the time until then; no limit of length applies.
    ///
    /// # Errors
    /// Why it was refused. Nothing follows then.
    pub fn open_request(
        &mut self,
        peer: &PeerId,
        options: RequestOptions,
        cx: &mut Cx<'_, C>,
    ) -> Result<OutboundRequestId, Refusal> {
        self.submit(peer, Mode::Streamed, None, options, cx)
    }

    /// Gives a request up: nothing more is said about it, and the peer sees its stream reset. Returns whether its last word
    /// was still to come.
    pub fn cancel(&mut self, id: OutboundRequestId, cx: &mut Cx<'_, C>) -> bool {
        let Some(permit) = self.take_permit(id) else {
            return false;
        };
        cx.release_event(permit);
        self.drop_request(id, code::NO_ERROR, cx);
        true
    }

    /// Whether the last word on a request to this peer is still to come; also while it is queued.
    #[must_use]
    pub fn is_pending_outbound(&self, peer: &PeerId, id: OutboundRequestId) -> bool {
        self.outbound
            .get(&id)
            .is_some_and(|request| request.peer == *peer && request.is_pending())
    }

    fn submit(
        &mut self,
        peer: &PeerId,
        mode: Mode,
        body: Option<Bytes>,
        mut options: RequestOptions,
        cx: &mut Cx<'_, C>,
    ) -> Result<OutboundRequestId, Refusal> {
        if self.outbound_names.is_empty() {
            return Err(Refusal::NoOutboundProtocol);
        }
        if self.outbound_names.len() > MAX_ROUNDS {
            return Err(Refusal::TooManyProtocols);
        }
        let streamed = matches!(mode, Mode::Streamed | Mode::StreamedResponse);
        if streamed && self.config.framing != Framing::ToEnd {
            return Err(Refusal::NotStreamable);
        }
        let permit = cx.reserve_event().ok_or(Refusal::EventsFull)?;
        let id = OutboundRequestId(self.sent.saturating_add(1));
        let all = self.outbound_names.len();
        let mut request = Outbound {
            peer: *peer,
            mode,
            names: options.first_names.map_or(all, |first| first.min(all)),
            body,
            sent: false,
            request: None,
            held: 0,
            stream: None,
            name: None,
            left: false,
            permit: Some(permit),
        };
        let timeout = options.timeout.unwrap_or(self.config.request_timeout);
        if let Err(reason) = self.begin_or_queue(id, &mut request, &mut options, cx) {
            if let Some(permit) = request.permit {
                cx.release_event(permit);
            }
            return Err(reason);
        }
        self.sent = id.0;
        self.outbound.insert(id, request);
        self.timers.set(Deadline::Outbound(id), cx.now() + timeout);
        Ok(id)
    }

    fn begin_or_queue(
        &mut self,
        id: OutboundRequestId,
        request: &mut Outbound<C::Request>,
        options: &mut RequestOptions,
        cx: &mut Cx<'_, C>,
    ) -> Result<(), Refusal> {
        let peer = request.peer;
        let bytes = request.body.clone().unwrap_or_default();
        if !self.hold(&bytes, &mut request.held) {
            return Err(Refusal::TooManyBytes);
        }
        let waits = self.peers.get(&peer);
        let first = waits.is_none_or(|peer| peer.queue.is_empty());
        while first && let Some(connection) = self.choose(&peer) {
            match self.begin(id, request, connection, cx) {
                Ok(()) => return Ok(()),
                Err(error) => self.refused_by(connection, error),
            }
        }
        if let Err(reason) = self.find_a_way(&peer, options, cx) {
            let_go(&mut self.held_bytes, &mut request.held);
            return Err(reason);
        }
        self.enqueue(&peer, id);
        Ok(())
    }

    /// Opens the stream of a request, and sends it along if the name it goes under is certain.
    pub(super) fn begin(
        &mut self,
        id: OutboundRequestId,
        request: &mut Outbound<C::Request>,
        connection: ConnectionId,
        cx: &mut Cx<'_, C>,
    ) -> Result<(), OpenStreamError> {
        let names = self.outbound_names.get(..request.names);
        let names = names.unwrap_or(&self.outbound_names);
        let kind = match request.mode {
            Mode::Whole | Mode::OneWay => self.config.framing.kind(self.config.max_response_len),
            Mode::Streamed | Mode::StreamedResponse => StreamKind::Raw,
        };
        let stream = match &request.body {
            Some(body) if names.len() == 1 => {
                cx.open_with(connection, names, kind, false, body.clone())?
            }
            _ => cx.open(connection, names, kind, false)?,
        };
        request.sent = names.len() == 1;
        if request.mode == Mode::OneWay {
            cx.report_sent(stream);
        }
        request.stream = Some(stream);
        self.streams.insert(stream, Use::Outbound(id));
        if let Some(link) = self.links.get_mut(&connection) {
            link.outbound = link.outbound.saturating_add(1);
        }
        Ok(())
    }

    /// The peer agreed to a name.
    pub(super) fn agreed(
        &mut self,
        id: OutboundRequestId,
        stream: StreamRef,
        name: &ProtocolName,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.outbound.get_mut(&id) else {
            return;
        };
        let number = self.outbound_names.iter().position(|known| known == name);
        request.name = number;
        if request.sent {
            request.body = None;
        }
        if request.mode == Mode::Streamed {
            return self.give_to_host(id, stream, Bytes::new(), cx);
        }
        if let Some(value) = request.request.take()
            && number != Some(0)
        {
            let bytes = self.codec.encode_request(name, &value);
            // What it is under the preferred name is not needed any more.
            let_go(&mut self.held_bytes, &mut request.held);
            match encoded(bytes, self.config.max_request_len) {
                Ok(bytes) => {
                    // Soft by one request: it was let in by the length it had under the preferred name.
                    request.held = length(&bytes);
                    self.held_bytes = self.held_bytes.saturating_add(request.held);
                    request.body = Some(bytes);
                }
                Err(error) => {
                    return self.fail_and_reset(id, OutboundFailure::Encode(error), cx);
                }
            }
        }
        self.send_body(id, stream, cx);
        self.one_way_done(id, cx);
    }

    /// Sends the body that waited for the name, or for room.
    pub(super) fn send_body(
        &mut self,
        id: OutboundRequestId,
        stream: StreamRef,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.outbound.get_mut(&id) else {
            return;
        };
        let Some(body) = &request.body else {
            return;
        };
        match cx.send_last(stream, body.clone()) {
            Err(SendError::Full) => {}
            Ok(()) | Err(_) => request.body = None,
        }
    }

    /// All of a one-way request has left.
    pub(super) fn request_left(&mut self, id: OutboundRequestId, cx: &mut Cx<'_, C>) {
        if let Some(request) = self.outbound.get_mut(&id) {
            request.left = true;
            self.one_way_done(id, cx);
        }
    }

    /// A one-way request has succeeded when the peer has agreed to the name and all of it has left.
    fn one_way_done(&mut self, id: OutboundRequestId, cx: &mut Cx<'_, C>) {
        let Some(request) = self.outbound.get(&id) else {
            return;
        };
        if request.mode == Mode::OneWay && request.left && request.name.is_some() {
            self.answer(id, Bytes::new(), cx);
        }
    }

    /// A response came, whole; or a piece of one.
    pub(super) fn response(
        &mut self,
        id: OutboundRequestId,
        stream: StreamRef,
        bytes: Bytes,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.outbound.get(&id) else {
            return;
        };
        match request.mode {
            Mode::Whole if request.is_pending() => self.answer(id, bytes, cx),
            Mode::Streamed | Mode::StreamedResponse => self.give_to_host(id, stream, bytes, cx),
            // An empty body stands for none.
            Mode::OneWay if bytes.is_empty() => {}
            // More than was asked for.
            Mode::Whole | Mode::OneWay => self.drop_request(id, code::PROTOCOL_VIOLATION, cx),
        }
    }

    /// The last word on a request, with a response.
    fn answer(&mut self, id: OutboundRequestId, bytes: Bytes, cx: &mut Cx<'_, C>) {
        let Some(request) = self.outbound.get_mut(&id) else {
            return;
        };
        let name = self.outbound_names.get(request.name.unwrap_or_default());
        let (Some(stream), Some(name)) = (request.stream, name) else {
            return;
        };
        let Some(permit) = request.permit.take() else {
            return;
        };
        let one_way = request.mode == Mode::OneWay;
        let (omitted, peer, connection) = (
            bytes.is_empty() && !one_way,
            request.peer,
            stream.connection,
        );
        // What was answered has left.
        let_go(&mut self.held_bytes, &mut request.held);
        let decoded = if one_way {
            self.codec.no_response(name)
        } else {
            self.codec.decode_response(name, bytes)
        };
        let event = match decoded {
            Ok(response) => Event::Message {
                peer,
                connection,
                message: Message::Response {
                    request_id: id,
                    response,
                },
            },
            Err(error) => Event::OutboundFailure {
                peer,
                connection: Some(connection),
                request_id: id,
                error: if omitted {
                    OutboundFailure::ResponseOmitted
                } else {
                    OutboundFailure::Decode(error)
                },
            },
        };
        cx.emit_reserved(permit, event);
    }

    /// The peer will send no more.
    pub(super) fn responder_finished(
        &mut self,
        id: OutboundRequestId,
        stream: StreamRef,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.outbound.get(&id) else {
            return;
        };
        match request.mode {
            Mode::Whole if request.is_pending() => {
                self.fail_and_reset(id, OutboundFailure::ResponseOmitted, cx);
            }
            Mode::Streamed | Mode::StreamedResponse => {
                self.give_to_host(id, stream, Bytes::new(), cx);
            }
            Mode::Whole | Mode::OneWay => {}
        }
    }

    /// The rest of the exchange is the host's.
    fn give_to_host(
        &mut self,
        id: OutboundRequestId,
        stream: StreamRef,
        first: Bytes,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.outbound.get(&id) else {
            return;
        };
        let name = request.name.unwrap_or_default();
        let (peer, protocol) = (request.peer, self.outbound_names.get(name).cloned());
        let (Some(permit), Some(protocol)) = (self.take_permit(id), protocol) else {
            return;
        };
        cx.hand_over(stream);
        let event = Event::ResponseStream {
            peer,
            request_id: id,
            protocol,
            stream,
            first,
        };
        cx.emit_reserved(permit, event);
        self.forget_outbound(id);
        self.release_stream(stream, cx);
    }

    /// The stream of a request is over.
    pub(super) fn outbound_ended(
        &mut self,
        id: OutboundRequestId,
        end: &StreamEnd,
        cx: &mut Cx<'_, C>,
    ) {
        if let StreamEnd::Failed(StreamError::Open(_)) = end
            && self.put_back(id)
        {
            return;
        }
        let Some(request) = self.outbound.get(&id) else {
            return;
        };
        if request.mode == Mode::OneWay && *end == StreamEnd::Finished {
            // It has left, and the peer has taken it.
            self.answer(id, Bytes::new(), cx);
        }
        let failure = match end {
            StreamEnd::Finished => OutboundFailure::ResponseOmitted,
            StreamEnd::Failed(error) => match error {
                StreamError::UnsupportedProtocol => OutboundFailure::UnsupportedProtocols,
                StreamError::NegotiationTimeout => OutboundFailure::Timeout(Stage::Negotiating),
                StreamError::Connection(error) => OutboundFailure::ConnectionClosed(error.clone()),
                StreamError::MessageTooLong => OutboundFailure::ResponseTooLarge,
                error => OutboundFailure::Stream(error.clone()),
            },
        };
        self.fail_outbound(id, failure, cx);
        self.forget_outbound(id);
    }

    /// The connection had no stream for it, and nothing has been sent: the request waits again, if there is room.
    fn put_back(&mut self, id: OutboundRequestId) -> bool {
        let Some(request) = self.outbound.get(&id) else {
            return false;
        };
        let peer = request.peer;
        if !request.is_pending() || self.queue_is_full(&peer) {
            return false;
        }
        if let Some(request) = self.outbound.get_mut(&id) {
            request.stream = None;
        }
        self.enqueue(&peer, id);
        true
    }

    /// The time of a request is over.
    pub(super) fn outbound_late(&mut self, id: OutboundRequestId, cx: &mut Cx<'_, C>) {
        let Some(request) = self.outbound.get(&id) else {
            return;
        };
        let stage = match (request.stream, request.name) {
            (None, _) => Stage::Queued,
            (Some(_), None) => Stage::Negotiating,
            (Some(_), Some(_)) => Stage::Waiting,
        };
        self.fail_and_reset(id, OutboundFailure::Timeout(stage), cx);
    }

    /// Says that a request failed, unless its last word is said. Its stream is not touched; without one, it is forgotten.
    pub(super) fn fail_outbound(
        &mut self,
        id: OutboundRequestId,
        error: OutboundFailure,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.outbound.get_mut(&id) else {
            return;
        };
        let stream = request.stream;
        if let Some(permit) = request.permit.take() {
            let event = Event::OutboundFailure {
                peer: request.peer,
                connection: stream.map(|stream| stream.connection),
                request_id: id,
                error,
            };
            cx.emit_reserved(permit, event);
        }
        if stream.is_none() {
            self.forget_outbound(id);
        }
    }

    fn fail_and_reset(
        &mut self,
        id: OutboundRequestId,
        error: OutboundFailure,
        cx: &mut Cx<'_, C>,
    ) {
        if let Some(peer) = self.waiting_for(id) {
            self.abandon(&peer, id, cx);
        }
        self.fail_outbound(id, error, cx);
        self.drop_request(id, code::NO_ERROR, cx);
    }

    /// The peer whose queue a request is in.
    pub(super) fn waiting_for(&self, id: OutboundRequestId) -> Option<PeerId> {
        let request = self.outbound.get(&id)?;
        request.stream.is_none().then_some(request.peer)
    }

    fn take_permit(&mut self, id: OutboundRequestId) -> Option<EventPermit> {
        self.outbound.get_mut(&id)?.permit.take()
    }

    /// Forgets a request and resets its stream. Its last word is said, or not wanted.
    fn drop_request(&mut self, id: OutboundRequestId, code: u32, cx: &mut Cx<'_, C>) {
        if let Some(peer) = self.waiting_for(id) {
            self.abandon(&peer, id, cx);
        }
        let stream = self.outbound.get(&id).and_then(|request| request.stream);
        self.forget_outbound(id);
        if let Some(stream) = stream {
            cx.reset(stream, code);
            self.release_stream(stream, cx);
        }
    }

    fn forget_outbound(&mut self, id: OutboundRequestId) {
        if let Some(mut request) = self.outbound.remove(&id) {
            let_go(&mut self.held_bytes, &mut request.held);
            self.timers.clear(Deadline::Outbound(id));
        }
    }
}

/// Bytes counted as held are so no more.
pub(super) fn let_go(all: &mut u64, held: &mut u64) {
    *all = all.saturating_sub(core::mem::take(held));
}

/// Says a message in bytes, if it may be so long.
pub(super) fn encoded(bytes: Result<Bytes, CodecError>, max: u32) -> Result<Bytes, EncodeError> {
    let bytes = bytes.map_err(|error| match error {
        CodecError::TooLarge { len } => EncodeError::TooLarge { len, max },
        error => EncodeError::Codec(error),
    })?;
    let len = bytes.len();
    if u32::try_from(len).is_ok_and(|len| len <= max) {
        Ok(bytes)
    } else {
        Err(EncodeError::TooLarge { len, max })
    }
}
