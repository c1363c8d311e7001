//! What is done when the machine within tells something: requests are counted, credits given and taken.

use super::{
    Answer, Ask, Codec, Cx, Event, Frames, InboundFailure, InboundRequestId, OutboundFailure,
    OutboundRequestId, PeerId, RequestOptions, ResponseChannel, Spent, Stage, Throttled,
    ThrottledEvent, Told, Wake, count,
};
use crate::{
    connection::{ConnectionId, StreamError},
    multistream::ProtocolName,
    protocol::request_response::{CodecError, Message},
    swarm::EventPermit,
};
use core::time::Duration;

/// How often a credit is sent before a peer is taken not to want any. Its next request begins anew.
pub const MAX_CREDIT_ATTEMPTS: u32 = 8;

/// The pause before a credit is sent again. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The part of a grant's number that counts within a millisecond.
const IDENTS_PER_MILLISECOND: u64 = 1 << 20;

/// A request as the machine within tells it.
struct Asked<R> {
    peer: PeerId,
    connection: ConnectionId,
    id: InboundRequestId,
    wire: ProtocolName,
    channel: ResponseChannel<Answer<R>>,
}

impl<C: Codec> Throttled<C> {
    pub(super) fn told(&mut self, permit: EventPermit, event: Told<C>, cx: &mut Cx<'_, C>) {
        match event {
            Event::Message {
                peer,
                connection,
                message:
                    Message::Request {
                        request_id,
                        protocol,
                        request,
                        channel,
                    },
            } => {
                let asked = Asked {
                    peer,
                    connection,
                    id: request_id,
                    wire: protocol,
                    channel,
                };
                match request {
                    Ask::Request(request) => self.asked(asked, request, permit, cx),
                    Ask::Credit { credit, ident } => {
                        self.credited(asked, credit, ident, permit, cx);
                    }
                }
            }
            Event::Message {
                peer,
                connection,
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
            } => self.answered(peer, connection, request_id, response, permit, cx),
            Event::OutboundFailure {
                peer,
                connection,
                request_id,
                error,
            } => self.failed(peer, connection, request_id, error, permit, cx),
            Event::InboundFailure {
                peer,
                connection,
                request_id,
                error,
            } => {
                if self.silent.remove(&request_id) {
                    return cx.release_event(permit);
                }
                let given_up = !matches!(
                    error,
                    InboundFailure::Timeout | InboundFailure::ResponseOmission
                );
                let event = Event::InboundFailure {
                    peer,
                    connection,
                    request_id,
                    error,
                };
                cx.emit_reserved(permit, ThrottledEvent::Event(event));
                match self.received.get(&request_id) {
                    // The application may be at work on it.
                    Some(received) if given_up && received.until > cx.now() => {
                        self.timers.set(Wake::Forget(request_id), received.until);
                    }
                    _ => self.finished(request_id, cx),
                }
            }
            Event::ResponseSent {
                peer,
                connection,
                request_id,
            } => {
                if self.silent.remove(&request_id) {
                    return cx.release_event(permit);
                }
                let event = Event::ResponseSent {
                    peer,
                    connection,
                    request_id,
                };
                cx.emit_reserved(permit, ThrottledEvent::Event(event));
            }
            // Bodies are never left to the host.
            Event::ResponseStream { .. } | Event::InboundStream { .. } => {
                cx.release_event(permit);
            }
        }
    }

    // Requests of peers

    fn asked(
        &mut self,
        asked: Asked<C::Response>,
        request: C::Request,
        permit: EventPermit,
        cx: &mut Cx<'_, C>,
    ) {
        let peer = asked.peer;
        let name = self.inner.codec().name(&asked.wire);
        let name = name.filter(|name| name.support.inbound());
        let protocol = name.map(|name| name.inner.clone());
        let admitted = self.ledger.admit(&peer);
        match protocol {
            Some(protocol) if admitted => {
                let until = cx.now() + self.inner.config().request_timeout;
                let received = super::Received { peer, until };
                self.received.insert(asked.id, received);
                let message = Message::Request {
                    request_id: asked.id,
                    protocol,
                    request,
                    channel: asked.channel.retyped(),
                };
                let event = Event::Message {
                    peer,
                    connection: asked.connection,
                    message,
                };
                cx.emit_reserved(permit, ThrottledEvent::Event(event));
            }
            Some(_) => {
                count(&mut self.statistics.too_many);
                cx.emit_reserved(permit, ThrottledEvent::TooManyInboundRequests(peer));
                self.drop_silently(asked, cx);
            }
            None => {
                count(&mut self.statistics.wrong_direction);
                cx.release_event(permit);
                self.drop_silently(asked, cx);
                if admitted {
                    self.ledger.finished(&peer);
                }
            }
        }
        self.grant(&peer, cx);
        self.try_grant_again(&peer, cx);
    }

    fn drop_silently(&mut self, asked: Asked<C::Response>, cx: &mut Cx<'_, C>) {
        self.silent.insert(asked.id);
        drop(asked.channel);
        self.drive(cx, |inner, cx| inner.notice_drops(cx));
    }

    /// Nobody works on a request of a peer any more.
    pub(super) fn finished(&mut self, id: InboundRequestId, cx: &mut Cx<'_, C>) {
        self.timers.clear(Wake::Forget(id));
        if let Some(received) = self.received.remove(&id) {
            self.ledger.finished(&received.peer);
            self.grant(&received.peer, cx);
        }
    }

    // Credits for peers

    /// Grants a peer what its limit leaves, if that is enough.
    pub(super) fn grant(&mut self, peer: &PeerId, cx: &mut Cx<'_, C>) {
        // A node that starts again goes on where time is, which is beyond what it gave out before.
        let milliseconds = cx.unix().as_nanos() / 1_000_000;
        let epoch = milliseconds.saturating_mul(IDENTS_PER_MILLISECOND);
        let ident = self.last_ident.saturating_add(1).max(epoch);
        if self.ledger.issue(peer, ident) {
            self.last_ident = ident;
            count(&mut self.statistics.grants);
            self.send_credit(peer, cx);
        }
    }

    /// A peer that seemed to take no credits has shown that it lives.
    fn try_grant_again(&mut self, peer: &PeerId, cx: &mut Cx<'_, C>) {
        let unsupported = self.ledger.is_unsupported(peer);
        if let Some(grant) = self.ledger.grant_mut(peer)
            && grant.failures >= MAX_CREDIT_ATTEMPTS
            && !unsupported
        {
            grant.failures = 0;
            self.send_credit(peer, cx);
        }
    }

    /// Sends the credit of the grant that is outstanding, unless it is on its way.
    pub(super) fn send_credit(&mut self, peer: &PeerId, cx: &mut Cx<'_, C>) {
        let Some(grant) = self.ledger.grant(peer) else {
            return;
        };
        if grant.request.is_some() {
            return;
        }
        let (credit, ident) = (grant.credit, grant.ident);
        let ask = Ask::Credit { credit, ident };
        let options = RequestOptions::new().only_if_connected();
        let sent = self.drive(cx, |inner, cx| {
            inner.send_request_with(peer, ask, options, cx)
        });
        match sent {
            Ok(id) => {
                count(&mut self.statistics.credits_sent);
                self.credits.insert(id, (*peer, ident));
                if let Some(grant) = self.ledger.grant_mut(peer) {
                    grant.request = Some(id);
                }
            }
            Err(_) => self.credit_failed(peer, cx),
        }
    }

    /// The credit of the grant that is outstanding has failed.
    fn credit_failed(&mut self, peer: &PeerId, cx: &mut Cx<'_, C>) {
        let unsupported = self.ledger.is_unsupported(peer);
        let Some(grant) = self.ledger.grant_mut(peer) else {
            return;
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << grant.failures.min(MAX_CREDIT_ATTEMPTS));
        grant.request = None;
        grant.failures = grant.failures.saturating_add(1);
        if unsupported || grant.failures >= MAX_CREDIT_ATTEMPTS {
            count(&mut self.statistics.given_up);
        } else {
            self.timers.set(Wake::Grant(*peer), cx.now() + pause);
        }
    }

    /// A credit that was sent has its answer, or has failed. Whether it is that of the grant that is outstanding.
    fn credit_over(&mut self, peer: &PeerId, id: OutboundRequestId) -> bool {
        self.credits.remove(&id);
        let grant = self.ledger.grant(peer);
        grant.is_some_and(|grant| grant.request == Some(id))
    }

    // Credits of peers

    fn credited(
        &mut self,
        asked: Asked<C::Response>,
        credit: u16,
        ident: u64,
        permit: EventPermit,
        cx: &mut Cx<'_, C>,
    ) {
        let peer = asked.peer;
        let taken = self.ledger.take(&peer, asked.connection, ident, credit);
        count(match taken {
            Some(_) => &mut self.statistics.credits_taken,
            None => &mut self.statistics.credits_ignored,
        });
        if taken == Some(true) {
            self.resume(peer, Some(permit), cx);
        } else {
            cx.release_event(permit);
        }
        self.watch_doubt(&peer, cx);
        self.silent.insert(asked.id);
        let channel = asked.channel;
        // One that is not wanted any more has been given up by the peer, which asks again.
        let _ = self.drive(cx, |inner, cx| {
            let ack = |_: &mut Frames<C>, _: &ProtocolName| Ok(super::frames::ack(ident));
            inner.respond(&channel, ack, cx)
        });
    }

    // Requests of this node

    fn answered(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        id: OutboundRequestId,
        response: Answer<C::Response>,
        permit: EventPermit,
        cx: &mut Cx<'_, C>,
    ) {
        if let Some((_, expected)) = self.credits.get(&id).copied() {
            cx.release_event(permit);
            if !self.credit_over(&peer, id) {
                return;
            }
            return match response {
                Answer::Ack { ident } if ident == expected => {
                    count(&mut self.statistics.acknowledged);
                    self.ledger.acknowledged(&peer);
                    self.grant(&peer, cx);
                }
                _ => self.credit_failed(&peer, cx),
            };
        }
        self.sent.remove(&id);
        let event = match response {
            Answer::Response(response) => Event::Message {
                peer,
                connection,
                message: Message::Response {
                    request_id: id,
                    response,
                },
            },
            Answer::Ack { .. } => Event::OutboundFailure {
                peer,
                connection: Some(connection),
                request_id: id,
                error: OutboundFailure::Decode(CodecError::malformed(
                    "an acknowledgement in place of a response",
                )),
            },
        };
        cx.emit_reserved(permit, ThrottledEvent::Event(event));
        self.settle(&peer, Spent::Counted, cx);
    }

    fn failed(
        &mut self,
        peer: PeerId,
        connection: Option<ConnectionId>,
        id: OutboundRequestId,
        error: OutboundFailure,
        permit: EventPermit,
        cx: &mut Cx<'_, C>,
    ) {
        if self.credits.contains_key(&id) {
            cx.release_event(permit);
            if self.credit_over(&peer, id) {
                if error == OutboundFailure::UnsupportedProtocols {
                    self.ledger.unsupported(&peer);
                }
                self.credit_failed(&peer, cx);
            }
            return;
        }
        self.sent.remove(&id);
        let spent = self.spent(connection, &error);
        let event = Event::OutboundFailure {
            peer,
            connection,
            request_id: id,
            error,
        };
        cx.emit_reserved(permit, ThrottledEvent::Event(event));
        self.settle(&peer, spent, cx);
    }

    /// What a failure says of whether the peer has counted the request.
    fn spent(&self, connection: Option<ConnectionId>, error: &OutboundFailure) -> Spent {
        match error {
            OutboundFailure::DialFailure(_)
            | OutboundFailure::Stream(StreamError::Open(_))
            | OutboundFailure::UnsupportedProtocols
            | OutboundFailure::Encode(_)
            | OutboundFailure::Timeout(Stage::Queued) => Spent::Unseen,
            // With several names to choose from it is sent when that is done.
            OutboundFailure::Timeout(Stage::Negotiating) if self.outbound_names > 1 => {
                Spent::Unseen
            }
            // It waited for the next connection: what there is then does not depend on it.
            OutboundFailure::ConnectionClosed(_) if connection.is_none() => Spent::Counted,
            OutboundFailure::Timeout(_)
            | OutboundFailure::ConnectionClosed(_)
            | OutboundFailure::Stream(_) => Spent::Doubtful,
            OutboundFailure::ResponseOmitted
            | OutboundFailure::ResponseTooLarge
            | OutboundFailure::Decode(_) => Spent::Counted,
        }
    }

    /// The last word on a request to a peer is said.
    pub(super) fn settle(&mut self, peer: &PeerId, spent: Spent, cx: &mut Cx<'_, C>) {
        if self.ledger.settle(peer, spent) {
            self.resume(*peer, None, cx);
        }
        self.watch_doubt(peer, cx);
    }

    /// Waits for a peer's credit while there is a doubt whether it will come.
    fn watch_doubt(&mut self, peer: &PeerId, cx: &mut Cx<'_, C>) {
        let wake = Wake::Doubt(*peer);
        if !self.ledger.is_in_doubt(peer) {
            self.timers.clear(wake);
        } else if self.timers.get(wake).is_none() {
            let long = self.inner.config().request_timeout.saturating_mul(2);
            self.timers.set(wake, cx.now() + long);
        }
    }
}
