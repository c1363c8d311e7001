//! Requests and responses with budgets: a peer sends no more requests than it was given credit for.
//!
//! Source: rust-libp2p's `Throttled` (libp2p-request-response 0.3 to 0.23, `/t/1`), with whose peers it speaks. Each name has
//! `/t/1` in front of it on the wire, so that peers without budgets do not meet peers with them. The receiver of requests
//! grants credits; a credit travels as a request of its own, answered by an acknowledgement. Neither is ever told to the
//! host.
//!
//! A body is `uvarint(length of the header) || header || body of the inner codec`, to the half-close; a credit and its
//! acknowledgement have no inner body. The header says which of the four it is; at most [`MAX_HEADER_LEN`] bytes are read.
//!
//! # Requests to a peer
//!
//! | budget | input | next |
//! |---|---|---|
//! | 1 at first | | |
//! | `n > 0` | [`send_request`](Throttled::send_request) | `n - 1` |
//! | 0 | `send_request` | the request comes back: [`Refusal::NoBudget`] |
//! | any | a credit of `c`, newer than the last | `n + c`, at most 65535; from 0: [`ResumeSending`](ThrottledEvent::ResumeSending). Acknowledged |
//! | any | a credit that came before | as it was. Acknowledged |
//! | any | a request fails, and the peer has not seen it | `n + 1`; from 0: `ResumeSending` |
//! | any | a request fails, and the peer may not have counted it | as it was; it is in doubt |
//! | 0, requests in doubt, none under way | two [timeouts](Config::request_timeout) without a credit | 1: the peer would have given credit had it counted them. `ResumeSending` |
//! | any | the last connection ends | 1; from 0: `ResumeSending`. Of requests in the queue only the first stays there, the others fail |
//!
//! # Requests of a peer
//!
//! What a peer may still send (permits) and what it was not answered yet together never exceed its limit, but for the first
//! request on a connection after the last one ended, which each side takes for granted.
//!
//! | state | input | next |
//! |---|---|---|
//! | permits left | a request | surfaced; one permit less, one more unanswered |
//! | no permit | a request | [`TooManyInboundRequests`](ThrottledEvent::TooManyInboundRequests), and its channel is dropped |
//! | unanswered | answered, dropped or timed out | one less unanswered |
//! | unanswered | the peer gives it up, or its connection ends | one less unanswered, after a `request_timeout`: the application may be at work on it |
//! | no grant outstanding; limit - permits - unanswered is half of the limit | any of these | a grant of all that: so many permits more; a credit is sent |
//! | grant outstanding | acknowledged, or a request that needed it | no grant outstanding |
//! | grant outstanding | the credit fails | sent again after 1 s, 2 s, 4 s, and so on, at most [`MAX_CREDIT_ATTEMPTS`] times until the next request |
//! | grant outstanding | the peer does not support the protocol | no credits as long as it is connected |
//! | any | the last connection ends | one permit, no grant outstanding; unanswered as it was |
//! | one permit | the peer is back, and had credits before | a grant, if there is room for half of the limit |
//!
//! # What is bounded
//!
//! Peers that are not connected are remembered up to [`MAX_REMEMBERED_PEERS`]; with each one's free request, at most
//! [`MAX_DEBT`] requests beyond its limit are unanswered however often it comes back. A budget is that of a peer: many peers
//! behind one address are limited by the swarm's [limits](crate::swarm::Limits). Credits take places among the requests
//! under way, in both directions ([`Config::max_inbound`], [`Config::max_outbound`]).
//!
//! # Differences from rust-libp2p
//!
//! | there | here |
//! |---|---|
//! | a dropped channel never leads to a grant | it does, as an answer; so do requests that time out |
//! | a request that failed has used up budget | budget comes back if the peer has not seen the request; if nobody knows, once the peer's silence has shown it |
//! | the number of the last credit is remembered for ever, and peers count from 0 | it is forgotten with the last connection; a lower number on a newer connection is a new beginning; own numbers begin with the time of day, so that peers that remember them take those of this node's next life |
//! | budgets overflow | they stay at 65535 |
//! | a credit that failed is sent again at once, for ever | after pauses that double, a few times; never after `UnsupportedProtocols` |
//! | each reconnection gives a request beyond the limit | what is unanswered still counts after it |
//! | a grant when the budget is exactly 0 | when half of the limit can be granted, also at the first request |
//! | `can_send` and `send_request` differ for peers that are not connected | they never do |
//! | failed credits are surfaced (0.3 to 0.6) | never |
//! | a protocol for one direction has no way for its credits | credits travel in both directions under every name |
//! | the limit is that of requests between two grants, of which an answer to one is enough | also that of unanswered requests |
//!
//! A peer that restarts and is back before the end of its old connection was noticed may be sent what it does not remember
//! having allowed: it refuses that much once.
//!
//! # How it is built
//!
//! A [`RequestResponse`] with a codec of its own does everything but counting. It runs in a context that
//! [intercepts](Context::intercept) its events together with their places in the event queue, so that those the host is not
//! told give their places back, and the others are as safe as before.

mod credits;
mod event;
mod frames;
mod grants;
mod header;
#[cfg(test)]
mod tests;

pub use credits::{MAX_DEBT, MAX_REMEMBERED_PEERS};
pub use event::{ThrottledEvent, ThrottledStatistics};
pub use grants::MAX_CREDIT_ATTEMPTS;
pub use header::{Header, MAX_HEADER_LEN};

use super::{
    Codec, Config, Event, Framing, InboundFailure, InboundRequestId, OutboundFailure,
    OutboundRequestId, ProtocolSupport, Refusal, RequestOptions, RequestResponse, ResponseChannel,
    SendRequestError, SendResponseError, Stage, Statistics,
};
use crate::{
    connection::{ConnectionError, Slot},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{AcceptError, Context, EventPermit, Input, Protocol, Timers},
    time::{Instant, earliest},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::{fmt, num::NonZeroU16};
use credits::{Ledger, Spent};
use frames::{Answer, Ask, Frames};

/// What the host sees.
type Cx<'a, C> = Context<'a, ThrottledEvent<<C as Codec>::Request, <C as Codec>::Response>>;

/// What the machine within tells.
type Told<C> = Event<Ask<<C as Codec>::Request>, Answer<<C as Codec>::Response>>;

/// The shortest bodies that must be allowed, for credits to pass.
const MIN_BODY_LEN: u32 = 64;

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    /// A credit is sent again.
    Grant(PeerId),
    /// A peer's silence has lasted long enough.
    Doubt(PeerId),
    /// The host is to be told, but there was no room.
    Resume(PeerId),
    /// Nobody works on a request any more that its peer gave up.
    Forget(InboundRequestId),
}

/// A request of a peer that counts as unanswered.
#[derive(Clone, Copy, Debug)]
struct Received {
    peer: PeerId,
    /// When it does not any more, if the peer gives it up.
    until: Instant,
}

/// A request/response protocol with budgets, see the [module](self).
pub struct Throttled<C: Codec> {
    inner: RequestResponse<Frames<C>>,
    /// So many of the names, the first ones, are for requests of this node.
    outbound_names: usize,
    ledger: Ledger,
    /// Requests of this node whose last word is still to come.
    sent: BTreeMap<OutboundRequestId, PeerId>,
    /// Credits on their way, with their numbers.
    credits: BTreeMap<OutboundRequestId, (PeerId, u64)>,
    received: BTreeMap<InboundRequestId, Received>,
    /// Of these the host does not know: credits, and requests beyond the budget.
    silent: BTreeSet<InboundRequestId>,
    intercepted: VecDeque<(EventPermit, Told<C>)>,
    timers: Timers<Wake>,
    last_ident: u64,
    statistics: ThrottledStatistics,
}

impl<C: Codec> Throttled<C> {
    /// Speaks these protocols, the preferred ones first, with a codec of default settings. See
    /// [`with_codec`](Self::with_codec).
    #[must_use]
    pub fn new(
        protocols: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
        config: Config,
    ) -> Self
    where
        C: Default,
    {
        Self::with_codec(C::default(), protocols, config)
    }

    /// Speaks these protocols, the preferred ones first. Names are given without the `/t/1` they have on the wire; one that
    /// would be too long with it is left out.
    ///
    /// Credits need answers, and whole bodies: [`one_way`](Config::one_way), [`stream_requests`](Config::stream_requests) and
    /// [`framing`](Config::framing) have no effect. The limits of length are for bodies with their headers, which here take 6
    /// bytes, and never are less than 64.
    #[must_use]
    pub fn with_codec(
        codec: C,
        protocols: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
        mut config: Config,
    ) -> Self {
        config.framing = Framing::ToEnd;
        (config.one_way, config.stream_requests) = (false, false);
        config.max_request_len = config.max_request_len.max(MIN_BODY_LEN);
        config.max_response_len = config.max_response_len.max(MIN_BODY_LEN);
        let frames = Frames::new(codec, protocols);
        let (names, outbound_names) = (frames.wire_names(), frames.outbound_names());
        Self {
            inner: RequestResponse::with_codec(frames, names, config),
            outbound_names,
            ledger: Ledger::new(),
            sent: BTreeMap::new(),
            credits: BTreeMap::new(),
            received: BTreeMap::new(),
            silent: BTreeSet::new(),
            intercepted: VecDeque::new(),
            timers: Timers::new(),
            last_ident: 0,
            statistics: ThrottledStatistics::default(),
        }
    }

    // Limits

    /// How many requests a peer may have under way here, for peers that are met from now on. 1 if not set.
    pub const fn set_receive_limit(&mut self, limit: NonZeroU16) {
        self.ledger.set_limit(limit);
    }

    /// The same for one peer, whether it is connected or not. It takes effect with the next grant, and stays until
    /// [removed](Self::remove_override).
    pub fn override_receive_limit(&mut self, peer: &PeerId, limit: NonZeroU16) {
        self.ledger.override_limit(peer, limit);
    }

    /// Takes an override away: a peer that is not remembered gets the general limit again. One that is keeps the limit it
    /// has. Returns whether there was one.
    pub fn remove_override(&mut self, peer: &PeerId) -> bool {
        self.ledger.remove_override(peer)
    }

    /// The limit of a peer's requests.
    #[must_use]
    pub fn receive_limit(&self, peer: &PeerId) -> NonZeroU16 {
        self.ledger.limit(peer)
    }

    /// Whether there is budget for a request to a peer, connected or not. If so, [`send_request`](Self::send_request) does
    /// not refuse one for want of it.
    #[must_use]
    pub fn can_send(&self, peer: &PeerId) -> bool {
        self.ledger.can_send(peer)
    }

    /// How many requests can be sent to a peer before it gives credit again.
    #[must_use]
    pub fn send_budget(&self, peer: &PeerId) -> u16 {
        self.ledger.budget(peer)
    }

    // Requests

    /// Sends a request to a peer, dialing it if need be. A response or a failure follows, once.
    ///
    /// # Errors
    /// The request, with the reason why it was refused: [`Refusal::NoBudget`], after which
    /// [`ResumeSending`](ThrottledEvent::ResumeSending) follows, or what
    /// [`RequestResponse::send_request`] has.
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

    /// The same, with options. A response cannot be left to the host.
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
        let refusal = if self.outbound_names == 0 {
            Some(Refusal::NoOutboundProtocol)
        } else if options.streams_response() {
            Some(Refusal::NotStreamable)
        } else if !self.ledger.can_send(peer) {
            Some(Refusal::NoBudget)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return Err(SendRequestError { request, reason });
        }
        let options = options.first_names(self.outbound_names);
        let body = self.inner.codec.encode_preferred(&request);
        let outcome = self.drive(cx, |inner, cx| inner.submit_body(peer, body, options, cx));
        let outcome = match outcome {
            Ok(id) => {
                self.inner.keep_request(id, Ask::Request(request));
                self.sent.insert(id, *peer);
                self.ledger.spend(peer);
                Ok(id)
            }
            Err(reason) => Err(SendRequestError { request, reason }),
        };
        self.work_off(cx);
        outcome
    }

    /// Gives a request up: nothing more is said about it, and the peer sees its stream reset. Returns whether its last word
    /// was still to come.
    pub fn cancel(&mut self, id: OutboundRequestId, cx: &mut Cx<'_, C>) -> bool {
        let Some(peer) = self.sent.remove(&id) else {
            return false;
        };
        let spent = if self.inner.waiting_for(id).is_some() {
            Spent::Unseen
        } else {
            Spent::Doubtful
        };
        let pending = self.drive(cx, |inner, cx| inner.cancel(id, cx));
        self.settle(&peer, spent, cx);
        self.work_off(cx);
        pending
    }

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
        let outcome = self.drive(cx, |inner, cx| {
            let encode = |frames: &mut Frames<C>, wire: &ProtocolName| {
                frames.encode_own_response(wire, &response)
            };
            inner.respond(&channel, encode, cx)
        });
        if outcome.is_ok() {
            self.finished(channel.request_id(), cx);
        }
        self.work_off(cx);
        match outcome {
            Ok(()) => Ok(()),
            Err(None) => Err(SendResponseError::Closed(response)),
            Err(Some(error)) => Err(SendResponseError::Encode {
                channel,
                response,
                error,
            }),
        }
    }

    // Queries

    /// Whether the last word on a request to this peer is still to come; also while it is queued.
    #[must_use]
    pub fn is_pending_outbound(&self, peer: &PeerId, id: OutboundRequestId) -> bool {
        self.inner.is_pending_outbound(peer, id)
    }

    /// Whether the last word on a request of this peer is still to come.
    #[must_use]
    pub fn is_pending_inbound(&self, peer: &PeerId, id: InboundRequestId) -> bool {
        !self.silent.contains(&id) && self.inner.is_pending_inbound(peer, id)
    }

    /// Requests of this node whose last word has not been said, queued ones included.
    #[must_use]
    pub fn pending_outbound(&self) -> usize {
        self.sent.len()
    }

    /// Requests of peers that the application has been told of, and whose last word has not been said.
    #[must_use]
    pub fn pending_inbound(&self) -> usize {
        self.inner
            .pending_inbound()
            .saturating_sub(self.silent.len())
    }

    /// Whether a peer has a connection that is up.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.inner.is_connected(peer)
    }

    /// Bytes held now, of those that [`max_held_bytes`](Config::max_held_bytes) limits.
    #[must_use]
    pub const fn held_bytes(&self) -> u64 {
        self.inner.held_bytes()
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        self.inner.config()
    }

    /// The codec.
    #[must_use]
    pub const fn codec(&self) -> &C {
        &self.inner.codec().codec
    }

    /// The names under which nothing of peers can be taken, because another protocol has them, or there are too many.
    #[must_use]
    pub fn refused_names(&self) -> &[AcceptError] {
        self.inner.refused_names()
    }

    /// What was refused so far, credits included.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        self.inner.statistics()
    }

    /// What was done for the credits.
    #[must_use]
    pub const fn throttled_statistics(&self) -> ThrottledStatistics {
        self.statistics
    }

    /// Peers there are books of, connected or remembered.
    #[must_use]
    pub fn known_peers(&self) -> usize {
        self.ledger.len()
    }

    // Within

    /// Lets the machine within do something; what it tells waits for [`work_off`](Self::work_off).
    fn drive<R>(
        &mut self,
        cx: &mut Cx<'_, C>,
        run: impl FnOnce(&mut RequestResponse<Frames<C>>, &mut Context<'_, Told<C>>) -> R,
    ) -> R {
        let inner = &mut self.inner;
        let (result, events) = cx.intercept(|cx| run(inner, cx));
        self.intercepted.extend(events);
        result
    }

    fn work_off(&mut self, cx: &mut Cx<'_, C>) {
        while let Some((permit, event)) = self.intercepted.pop_front() {
            self.told(permit, event, cx);
        }
    }

    /// Tells the host that it may send again; later, if there is no room now.
    fn resume(&mut self, peer: PeerId, permit: Option<EventPermit>, cx: &mut Cx<'_, C>) {
        match permit.or_else(|| cx.reserve_event()) {
            Some(permit) => {
                self.timers.clear(Wake::Resume(peer));
                cx.emit_reserved(permit, ThrottledEvent::ResumeSending(peer));
            }
            None => self.timers.set(Wake::Resume(peer), cx.now() + RESUME_PAUSE),
        }
    }

    fn woken(&mut self, wake: Wake, cx: &mut Cx<'_, C>) {
        match wake {
            Wake::Grant(peer) => self.send_credit(&peer, cx),
            Wake::Doubt(peer) => {
                if self.ledger.resolve_doubt(&peer) {
                    count(&mut self.statistics.doubts_resolved);
                    self.resume(peer, None, cx);
                }
            }
            Wake::Resume(peer) => {
                if self.ledger.can_send(&peer) {
                    self.resume(peer, None, cx);
                }
            }
            Wake::Forget(id) => self.finished(id, cx),
        }
    }

    /// The last connection to a peer is gone, which the machine within has not heard yet.
    fn going(&mut self, peer: &PeerId, reason: &ConnectionError, cx: &mut Cx<'_, C>) {
        // No peer is dialed for a credit.
        let credits = self.credits.iter();
        let credits: Vec<OutboundRequestId> = credits
            .filter(|(_, (to, _))| to == peer)
            .map(|(id, _)| *id)
            .collect();
        for id in credits {
            self.credits.remove(&id);
            self.drive(cx, |inner, cx| inner.cancel(id, cx));
        }
        let failure = OutboundFailure::ConnectionClosed(reason.clone());
        self.drive(cx, |inner, cx| {
            inner.fail_queue_beyond(1, peer, &failure, cx);
        });
    }

    fn gone(&mut self, peer: PeerId, cx: &mut Cx<'_, C>) {
        self.timers.clear(Wake::Grant(peer));
        self.timers.clear(Wake::Doubt(peer));
        if self.ledger.disconnected(&peer) {
            self.resume(peer, None, cx);
        }
    }
}

/// How long an event waits for room in the queue before it is tried again.
const RESUME_PAUSE: core::time::Duration = core::time::Duration::from_secs(1);

const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl<C: Codec> Protocol for Throttled<C> {
    type Event = ThrottledEvent<C::Request, C::Response>;

    fn start(&mut self, cx: &mut Cx<'_, C>) {
        self.drive(cx, |inner, cx| inner.start(cx));
        self.work_off(cx);
    }

    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Cx<'_, C>) {
        let (mut back, mut lost) = (None, None);
        let timeout = matches!(input, Input::Timeout);
        match &input {
            Input::ConnectionUp { peer, .. } => {
                self.ledger.connected(peer);
                back = Some(*peer);
            }
            Input::ConnectionDown {
                peer,
                reason,
                connections: 0,
                ..
            } => {
                self.going(peer, reason, cx);
                lost = Some(*peer);
            }
            _ => {}
        }
        self.drive(cx, |inner, cx| inner.handle(slot, input, cx));
        self.work_off(cx);
        if let Some(peer) = lost {
            self.gone(peer, cx);
        }
        if let Some(peer) = back.filter(|peer| self.ledger.was_granted(peer)) {
            self.grant(&peer, cx);
        }
        if timeout {
            while let Some(wake) = self.timers.pop_due(cx.now()) {
                self.woken(wake, cx);
            }
        }
        self.work_off(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.inner.poll_timeout(), self.timers.next())
    }
}

impl<C: Codec> From<RequestResponse<C>> for Throttled<C> {
    /// Takes the codec, the names and the settings of a protocol that has not been started.
    fn from(protocol: RequestResponse<C>) -> Self {
        let (inbound, outbound) = (&protocol.inbound_names, &protocol.outbound_names);
        let sent = outbound.iter().map(|name| {
            let support = if inbound.contains(name) {
                ProtocolSupport::Full
            } else {
                ProtocolSupport::Outbound
            };
            (name.clone(), support)
        });
        let only_received = inbound.iter().filter(|name| !outbound.contains(name));
        let received = only_received.map(|name| (name.clone(), ProtocolSupport::Inbound));
        let names: Vec<_> = sent.chain(received).collect();
        Self::with_codec(protocol.codec, names, protocol.config)
    }
}

impl<C: Codec + fmt::Debug> fmt::Debug for Throttled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttled")
            .field("inner", &self.inner)
            .field("known_peers", &self.ledger.len())
            .field("statistics", &self.statistics)
            .finish_non_exhaustive()
    }
}
