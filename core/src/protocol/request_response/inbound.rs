//! Requests of peers.

use super::{
    Codec, CodecError, Cx, Deadline, EncodeError, Event, InboundFailure, InboundRequestId, Message,
    RequestResponse, ResponseChannel, SendResponseError, Use,
    channel::Shared,
    config::Framing,
    length,
    outbound::{encoded, let_go},
};
use crate::{
    connection::{StreamEnd, StreamError, code},
    identity::PeerId,
    multistream::ProtocolName,
    swarm::{EventPermit, SendError, StreamRef},
};
use alloc::{sync::Arc, vec::Vec};
use bytes::Bytes;
use core::sync::atomic::Ordering;

/// Where a request of a peer stands.
#[derive(Debug)]
enum Phase {
    /// Not all of it is there.
    Receiving,
    /// The application has it, and has not answered.
    Surfaced(Arc<Shared>),
    /// Answered; not all of the answer has left.
    Responding {
        /// What there was no room for yet.
        rest: Option<Bytes>,
    },
    /// The last word is said; only the stream is still there.
    Done,
}

/// A request of a peer.
#[derive(Debug)]
pub(super) struct Inbound {
    peer: PeerId,
    name: ProtocolName,
    stream: StreamRef,
    phase: Phase,
    /// Bytes counted as held for the request or the response.
    held: u64,
    /// For the last word, while that is to come and wanted.
    permit: Option<EventPermit>,
}

impl Inbound {
    pub(super) const fn is_pending(&self) -> bool {
        self.permit.is_some()
    }
}

/// Why a request was refused before the application heard of it.
#[derive(Clone, Copy)]
enum Refused {
    Capacity,
    Bytes,
    Events,
    TooLarge,
    Malformed,
    Late,
    GivenUp,
}

impl<C: Codec> RequestResponse<C> {
    /// Answers a request. [`Event::ResponseSent`] or [`Event::InboundFailure`] follows.
    ///
    /// # Errors
    /// The response, if it is not wanted any more, or cannot be sent.
    pub fn send_response(
        &mut self,
        channel: ResponseChannel<C::Response>,
        response: C::Response,
        cx: &mut Cx<'_, C>,
    ) -> Result<(), SendResponseError<C::Response>> {
        let encode = |codec: &mut C, name: &ProtocolName| codec.encode_response(name, &response);
        match self.respond(&channel, encode, cx) {
            Ok(()) => Ok(()),
            Err(None) => Err(SendResponseError::Closed(response)),
            Err(Some(error)) => Err(SendResponseError::Encode {
                channel,
                response,
                error,
            }),
        }
    }

    /// Answers a request with a body, unless that is not wanted any more (`None`) or cannot be sent.
    pub(super) fn respond<R>(
        &mut self,
        channel: &ResponseChannel<R>,
        encode: impl FnOnce(&mut C, &ProtocolName) -> Result<Bytes, CodecError>,
        cx: &mut Cx<'_, C>,
    ) -> Result<(), Option<EncodeError>> {
        let request = surfaced(&mut self.inbound, channel).ok_or(None)?;
        let bytes = encode(&mut self.codec, &request.name);
        let bytes = encoded(bytes, self.config.max_response_len).map_err(Some)?;
        channel.shared().close();
        let_go(&mut self.held_bytes, &mut request.held);
        let stream = request.stream;
        let mut rest = None;
        if self.config.one_way {
            cx.finish(stream);
        } else {
            // Soft by one response: the application has made it in any case.
            request.held = length(&bytes);
            self.held_bytes = self.held_bytes.saturating_add(request.held);
            if cx.send_last(stream, bytes.clone()) == Err(SendError::Full) {
                rest = Some(bytes);
            }
        }
        request.phase = Phase::Responding { rest };
        if self.config.framing == Framing::LengthPrefixed {
            // The peer may leave its side open until it has read the response.
            cx.report_sent(stream);
        }
        Ok(())
    }

    /// Answers a request with a body that the host writes: its stream is the host's from now on, which writes the response
    /// and finishes. This protocol says no more about the request; no limit of length or time applies. `None` if the
    /// response is not wanted any more, or [length-prefixed](Framing::LengthPrefixed) and therefore to be whole.
    pub fn stream_response(
        &mut self,
        channel: ResponseChannel<C::Response>,
        cx: &mut Cx<'_, C>,
    ) -> Option<StreamRef> {
        if self.config.framing != Framing::ToEnd {
            return None;
        }
        let stream = surfaced(&mut self.inbound, &channel)?.stream;
        channel.shared().close();
        self.release_permit(channel.request_id(), cx);
        cx.hand_over(stream);
        self.forget_inbound(channel.request_id());
        self.release_stream(stream, cx);
        Some(stream)
    }

    /// Whether the last word on a request of this peer is still to come.
    #[must_use]
    pub fn is_pending_inbound(&self, peer: &PeerId, id: InboundRequestId) -> bool {
        self.inbound
            .get(&id)
            .is_some_and(|request| request.peer == *peer && request.is_pending())
    }

    pub(super) fn opened_by_peer(
        &mut self,
        stream: StreamRef,
        peer: PeerId,
        name: &ProtocolName,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(link) = self.links.get_mut(&stream.connection) else {
            return;
        };
        if self.config.stream_requests {
            return self.give_inbound_to_host(stream, peer, name, cx);
        }
        if link.inbound >= self.config.max_inbound {
            cx.reset(stream, code::RESOURCE_LIMIT_EXCEEDED);
            return self.count(Refused::Capacity);
        }
        link.inbound = link.inbound.saturating_add(1);
        self.received = self.received.saturating_add(1);
        let id = InboundRequestId(self.received);
        let request = Inbound {
            peer,
            name: name.clone(),
            stream,
            phase: Phase::Receiving,
            held: 0,
            permit: None,
        };
        self.inbound.insert(id, request);
        self.streams.insert(stream, Use::Inbound(id));
        let deadline = cx.now() + self.config.request_timeout;
        self.timers.set(Deadline::Inbound(id), deadline);
    }

    fn give_inbound_to_host(
        &mut self,
        stream: StreamRef,
        peer: PeerId,
        name: &ProtocolName,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(permit) = cx.reserve_event() else {
            cx.reset(stream, code::RESOURCE_LIMIT_EXCEEDED);
            return self.count(Refused::Events);
        };
        cx.hand_over(stream);
        let event = Event::InboundStream {
            peer,
            protocol: name.clone(),
            stream,
        };
        cx.emit_reserved(permit, event);
    }

    /// A request came, whole.
    pub(super) fn request(
        &mut self,
        id: InboundRequestId,
        stream: StreamRef,
        bytes: Bytes,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.inbound.get_mut(&id) else {
            return;
        };
        if !matches!(request.phase, Phase::Receiving) {
            self.fail_inbound(id, InboundFailure::UnexpectedData, cx);
            return self.drop_inbound(id, code::PROTOCOL_VIOLATION, cx);
        }
        let len = length(&bytes);
        let held = self.held_bytes.saturating_add(len);
        if held > self.config.max_held_bytes {
            return self.refuse(id, Refused::Bytes, cx);
        }
        let Ok(body) = self.codec.decode_request(&request.name, bytes) else {
            return self.refuse(id, Refused::Malformed, cx);
        };
        let (Some(first), Some(last)) = reserve_two(cx) else {
            return self.refuse(id, Refused::Events, cx);
        };
        self.held_bytes = held;
        request.held = len;
        let shared = Shared::new(&self.drops, cx.waker().cloned());
        request.phase = Phase::Surfaced(shared.clone());
        request.permit = Some(last);
        let message = Message::Request {
            request_id: id,
            protocol: request.name.clone(),
            request: body,
            channel: ResponseChannel::new(id, shared),
        };
        let event = Event::Message {
            peer: request.peer,
            connection: stream.connection,
            message,
        };
        cx.emit_reserved(first, event);
    }

    /// The peer will send no more.
    pub(super) fn requester_finished(
        &mut self,
        id: InboundRequestId,
        _: StreamRef,
        cx: &mut Cx<'_, C>,
    ) {
        let request = self.inbound.get(&id);
        if request.is_some_and(|request| matches!(request.phase, Phase::Receiving)) {
            self.refuse(id, Refused::GivenUp, cx);
        }
    }

    /// There is room for the rest of a response.
    pub(super) fn send_rest(
        &mut self,
        id: InboundRequestId,
        stream: StreamRef,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.inbound.get_mut(&id) else {
            return;
        };
        if let Phase::Responding { rest } = &mut request.phase
            && let Some(bytes) = rest.clone()
            && cx.send_last(stream, bytes) != Err(SendError::Full)
        {
            *rest = None;
        }
    }

    /// All of a response has left, though the peer has not finished.
    pub(super) fn response_left(&mut self, id: InboundRequestId, cx: &mut Cx<'_, C>) {
        let Some(request) = self.inbound.get_mut(&id) else {
            return;
        };
        if !matches!(request.phase, Phase::Responding { .. }) {
            return;
        }
        request.phase = Phase::Done;
        let_go(&mut self.held_bytes, &mut request.held);
        if let Some(permit) = request.permit.take() {
            let event = Event::ResponseSent {
                peer: request.peer,
                connection: request.stream.connection,
                request_id: id,
            };
            cx.emit_reserved(permit, event);
        }
    }

    /// The stream of a request is over.
    pub(super) fn inbound_ended(
        &mut self,
        id: InboundRequestId,
        end: &StreamEnd,
        cx: &mut Cx<'_, C>,
    ) {
        let Some(request) = self.inbound.get(&id) else {
            return;
        };
        match (&request.phase, end) {
            (Phase::Receiving, StreamEnd::Failed(StreamError::MessageTooLong)) => {
                self.count(Refused::TooLarge);
            }
            (
                Phase::Receiving,
                StreamEnd::Failed(StreamError::Truncated | StreamError::BadFrame),
            ) => self.count(Refused::Malformed),
            (Phase::Receiving, _) => self.count(Refused::GivenUp),
            (Phase::Responding { rest: None }, StreamEnd::Finished) => self.response_left(id, cx),
            (_, StreamEnd::Failed(StreamError::Connection(error))) => {
                self.fail_inbound(id, InboundFailure::ConnectionClosed(error.clone()), cx);
            }
            (_, StreamEnd::Failed(StreamError::MessageTooLong)) => {
                self.fail_inbound(id, InboundFailure::UnexpectedData, cx);
            }
            (_, StreamEnd::Failed(error)) => {
                self.fail_inbound(id, InboundFailure::Stream(error.clone()), cx);
            }
            (_, StreamEnd::Finished) => self.fail_inbound(id, InboundFailure::ResponseOmission, cx),
        }
        self.forget_inbound(id);
    }

    /// The time of a request is over.
    pub(super) fn inbound_late(&mut self, id: InboundRequestId, cx: &mut Cx<'_, C>) {
        let request = self.inbound.get(&id);
        if request.is_some_and(|request| matches!(request.phase, Phase::Receiving)) {
            return self.refuse(id, Refused::Late, cx);
        }
        self.fail_inbound(id, InboundFailure::Timeout, cx);
        self.drop_inbound(id, code::NO_ERROR, cx);
    }

    /// Channels that the application has dropped are answered with the end of their stream.
    pub(super) fn notice_drops(&mut self, cx: &mut Cx<'_, C>) {
        let drops = self.drops.load(Ordering::Acquire);
        if drops == self.drops_seen {
            return;
        }
        self.drops_seen = drops;
        let is_dropped = |request: &Inbound| match &request.phase {
            Phase::Surfaced(shared) => shared.is_dropped(),
            _ => false,
        };
        let dropped: Vec<InboundRequestId> = self
            .inbound
            .iter()
            .filter(|(_, request)| is_dropped(request))
            .map(|(id, _)| *id)
            .collect();
        for id in dropped {
            if let Some(request) = self.inbound.get(&id) {
                cx.finish(request.stream);
            }
            if self.config.one_way {
                self.release_permit(id, cx);
            } else {
                self.fail_inbound(id, InboundFailure::ResponseOmission, cx);
            }
            if let Some(request) = self.inbound.get_mut(&id) {
                request.phase = Phase::Done;
                let_go(&mut self.held_bytes, &mut request.held);
            }
        }
    }

    /// Says that a request could not be answered, unless its last word is said.
    fn fail_inbound(&mut self, id: InboundRequestId, error: InboundFailure, cx: &mut Cx<'_, C>) {
        let Some(request) = self.inbound.get_mut(&id) else {
            return;
        };
        if let Phase::Surfaced(shared) = &request.phase {
            shared.close();
        }
        if let Some(permit) = request.permit.take() {
            let event = Event::InboundFailure {
                peer: request.peer,
                connection: request.stream.connection,
                request_id: id,
                error,
            };
            cx.emit_reserved(permit, event);
        }
    }

    fn release_permit(&mut self, id: InboundRequestId, cx: &mut Cx<'_, C>) {
        let request = self.inbound.get_mut(&id);
        if let Some(permit) = request.and_then(|request| request.permit.take()) {
            cx.release_event(permit);
        }
    }

    /// Refuses a request that the application has not heard of.
    fn refuse(&mut self, id: InboundRequestId, why: Refused, cx: &mut Cx<'_, C>) {
        self.count(why);
        let code = match why {
            Refused::Bytes | Refused::Events | Refused::Capacity => code::RESOURCE_LIMIT_EXCEEDED,
            Refused::TooLarge | Refused::Malformed => code::PROTOCOL_VIOLATION,
            Refused::Late | Refused::GivenUp => code::NO_ERROR,
        };
        self.drop_inbound(id, code, cx);
    }

    /// Forgets a request and resets its stream. Its last word is said, or not wanted.
    fn drop_inbound(&mut self, id: InboundRequestId, code: u32, cx: &mut Cx<'_, C>) {
        let stream = self.inbound.get(&id).map(|request| request.stream);
        self.forget_inbound(id);
        if let Some(stream) = stream {
            cx.reset(stream, code);
            self.release_stream(stream, cx);
        }
    }

    fn forget_inbound(&mut self, id: InboundRequestId) {
        if let Some(mut request) = self.inbound.remove(&id) {
            let_go(&mut self.held_bytes, &mut request.held);
            self.timers.clear(Deadline::Inbound(id));
        }
    }

    fn count(&mut self, why: Refused) {
        let statistics = &mut self.statistics;
        let counter = match why {
            Refused::Capacity => &mut statistics.refused_for_capacity,
            Refused::Bytes => &mut statistics.refused_for_bytes,
            Refused::Events => &mut statistics.refused_for_events,
            Refused::TooLarge => &mut statistics.too_large,
            Refused::Malformed => &mut statistics.malformed,
            Refused::Late => &mut statistics.late,
            Refused::GivenUp => &mut statistics.given_up,
        };
        *counter = counter.saturating_add(1);
    }
}

/// The request a channel is of, if it still waits for an answer.
fn surfaced<'a, R>(
    inbound: &'a mut alloc::collections::BTreeMap<InboundRequestId, Inbound>,
    channel: &ResponseChannel<R>,
) -> Option<&'a mut Inbound> {
    let request = inbound.get_mut(&channel.request_id())?;
    // Another protocol counts its requests too.
    let own =
        matches!(&request.phase, Phase::Surfaced(shared) if Arc::ptr_eq(shared, channel.shared()));
    own.then_some(request)
}

/// Places for the first and the last word on a request: both or none.
fn reserve_two<E>(
    cx: &mut crate::swarm::Context<'_, E>,
) -> (Option<EventPermit>, Option<EventPermit>) {
    let Some(first) = cx.reserve_event() else {
        return (None, None);
    };
    match cx.reserve_event() {
        Some(last) => (Some(first), Some(last)),
        None => {
            cx.release_event(first);
            (None, None)
        }
    }
}
