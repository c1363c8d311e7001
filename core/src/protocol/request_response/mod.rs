//! Requests and responses: one stream for each request, on which one side asks and the other answers.
//!
//! A machine for any protocol of that shape: its names, its [`Codec`], its [`Config`]. For types that serde knows there are
//! ready codecs, `cbor` and `json`, with the features of these names. Several of them, with different
//! codecs, can be fields of one set made by [`protocols!`](crate::protocols). Source of the wire format: rust-libp2p's
//! [request-response](https://docs.rs/libp2p-request-response), which is a convention rather than a specification: the
//! requester opens a stream under one of the names it speaks, writes the request, and half-closes; the responder writes the
//! response and half-closes.
//!
//! # A request of this node
//!
//! | state | input | next state |
//! |---|---|---|
//! | (none) | [`send_request`](RequestResponse::send_request): no connection to the peer, or every one has as many requests as it may | queued; the peer is dialed if need be |
//! | (none), queued | there is a connection with room for one more | opening; the request is on its way if one name is offered |
//! | queued | every dial of this peer failed | failed: [`DialFailure`](OutboundFailure::DialFailure) |
//! | opening | the peer agrees to a name | waiting; the request is on its way |
//! | opening | the connection has no stream for it: it is about to end, or others use them all | queued |
//! | opening | it agrees to none | failed: [`UnsupportedProtocols`](OutboundFailure::UnsupportedProtocols) |
//! | opening, waiting | the whole response came | answered: [`Message::Response`] |
//! | opening, waiting | the stream's end, without a response | failed: [`ResponseOmitted`](OutboundFailure::ResponseOmitted) |
//! | opening, waiting | the stream failed, or its connection ended | failed: [`Stream`](OutboundFailure::Stream), [`ResponseTooLarge`](OutboundFailure::ResponseTooLarge), [`ConnectionClosed`](OutboundFailure::ConnectionClosed) |
//! | queued, opening, waiting | the time ran out | failed: [`Timeout`](OutboundFailure::Timeout); the stream is reset |
//! | queued, opening, waiting | [`cancel`](RequestResponse::cancel) | gone; the stream is reset |
//! | answered | the stream's end | gone, and the next one in the queue has its turn |
//! | answered | the time ran out: the peer does not finish the stream | gone; the stream is reset |
//!
//! Which connection: of those to the peer that are open and have room, a direct one before a relayed one, then the one with
//! the fewest requests of this protocol, then the newest. What was sent on one connection never moves to another: the peer
//! might handle it twice.
//!
//! # A request of a peer
//!
//! | state | input | next state |
//! |---|---|---|
//! | (none) | a stream is opened; there is room | receiving |
//! | (none) | a stream is opened; there is none | refused: reset and [counted](Statistics) |
//! | receiving | the whole request came | surfaced: [`Message::Request`] |
//! | receiving | it is too long, invalid, cut short, or late | refused: reset and counted. The application never hears of it |
//! | surfaced | [`send_response`](RequestResponse::send_response) | responding |
//! | surfaced | the [`ResponseChannel`] is dropped | [`ResponseOmission`](InboundFailure::ResponseOmission); the stream is finished, so that the peer knows at once |
//! | responding | all of it has left | [`Event::ResponseSent`] |
//! | surfaced, responding | the time ran out | [`Timeout`](InboundFailure::Timeout); the stream is reset |
//! | surfaced, responding | the peer resets the stream, or the connection ends | [`Stream`](InboundFailure::Stream), [`ConnectionClosed`](InboundFailure::ConnectionClosed) |
//!
//! # What is bounded, and what a slow application meets
//!
//! Every number is in [`Config`]. Requests of peers count against `max_inbound` from the opening of their stream to its end,
//! so an application that never answers holds so many per connection until their time runs out; more are reset. A peer that
//! sends slowly has `request_timeout` for the whole request, which is the lowest rate it can get away with, and holds up
//! nothing but its own places. Requests of this node have places of their own.
//!
//! # Differences from rust-libp2p
//!
//! - One deadline for the whole life of a request, in place of one for each part of it. A connection has its own for
//!   [negotiating](crate::connection::Config::negotiation_timeout) a stream, 10 s: a longer
//!   [time](RequestOptions::timeout) for a request does not extend that.
//! - Separate limits for the two directions, 64 each, where there is one of 100 for both together; a full one queues or
//!   refuses with a reason, and nothing is lost silently.
//! - A request of a peer beyond the limit is reset with
//!   [a code](crate::connection::code::RESOURCE_LIMIT_EXCEEDED), not dropped.
//! - The queue for a peer that is being dialed is bounded; the requests in it fail when the last dial for them has.
//! - Which connection: see above; there, by turns (`request_id % connections`).
//! - Too large is an error of its own, for writing too. A response may have 4 MiB; 10 MiB with the `config` of `cbor` and
//!   `json`, as there.
//! - An empty body is an answer to a codec that can read one, as [`BytesCodec`] does: with such a codec a peer that drops a
//!   request looks as if it had answered with nothing. One that cannot read it makes it
//!   [`ResponseOmitted`](OutboundFailure::ResponseOmitted); there, an `UnexpectedEof` of the codec.
//! - A peer that gives up a request is noticed at once, not when the response is written.
//! - One dial for all requests that wait for a peer.
//! - A codec turns values into bytes and back; it neither reads nor writes.
//! - One-way protocols are a [setting](Config::one_way), not a codec that does nothing.
//!
//! # Names in rust-libp2p
//!
//! In brackets, names of the versions 0.3 to 0.6.
//!
//! | there | here |
//! |---|---|
//! | `Behaviour` \[`RequestResponse`\] | [`RequestResponse`], [`Behaviour`] |
//! | `cbor::Behaviour`, `json::Behaviour` | the same, with the features `cbor` and `json` |
//! | `Codec` \[`RequestResponseCodec`\]: `read_request`, `read_response`, `write_request`, `write_response` | [`Codec`], [`RequestResponseCodec`]: [`decode_request`](Codec::decode_request), [`decode_response`](Codec::decode_response), [`encode_request`](Codec::encode_request), [`encode_response`](Codec::encode_response) |
//! | `Codec::Protocol` \[`ProtocolName`\] | [`ProtocolName`] |
//! | `ProtocolSupport::{Inbound, Outbound, Full}` | the same, [`ProtocolSupport`] |
//! | `Config` \[`RequestResponseConfig`\] | [`Config`], [`RequestResponseConfig`] |
//! | `with_request_timeout` \[`set_request_timeout`\] | [`with_request_timeout`](Config::with_request_timeout); for one request [`RequestOptions::timeout`] |
//! | `with_max_concurrent_streams` | [`with_max_concurrent_streams`](Config::with_max_concurrent_streams): so many for each direction |
//! | \[`set_connection_keep_alive`\] | the connection's [`idle_timeout`](crate::connection::Config::idle_timeout): requests under way keep it open, and nothing else of this protocol |
//! | `set_request_size_maximum`, `set_response_size_maximum` of the `cbor` and `json` codecs | [`with_max_request_len`](Config::with_max_request_len), [`with_max_response_len`](Config::with_max_response_len), for every codec |
//! | `OutboundRequestId`, `InboundRequestId` \[`RequestId`\] | [`OutboundRequestId`], [`InboundRequestId`] |
//! | `ResponseChannel`: `is_open` | the same, [`ResponseChannel`] |
//! | `Message::{Request, Response}` \[`RequestResponseMessage`\] | [`Message`], [`RequestResponseMessage`] |
//! | `Event::{Message, OutboundFailure, InboundFailure, ResponseSent}` \[`RequestResponseEvent`\] | [`Event`], [`RequestResponseEvent`] |
//! | `connection_id` of an event | `connection` |
//! | `new`, `with_codec` | [`new`](RequestResponse::new), [`with_codec`](RequestResponse::with_codec) |
//! | `send_request(&peer, request)` | [`send_request`](RequestResponse::send_request), which may refuse |
//! | `send_request_with_addresses` | [`send_request_with_addresses`](RequestResponse::send_request_with_addresses) |
//! | `send_response` | [`send_response`](RequestResponse::send_response); the response comes back in [`SendResponseError`] |
//! | `add_address`, `remove_address` | the address book: [`Swarm::add_address`](crate::swarm::Swarm::add_address), [`Swarm::remove_address`](crate::swarm::Swarm::remove_address), [`Context::add_address`] |
//! | `is_connected` | [`is_connected`](RequestResponse::is_connected) |
//! | `is_pending_outbound`, `is_pending_inbound` | [`is_pending_outbound`](RequestResponse::is_pending_outbound), [`is_pending_inbound`](RequestResponse::is_pending_inbound) |
//! | `OutboundFailure::DialFailure` | [`DialFailure`](OutboundFailure::DialFailure), with its cause; before any dial is made, [`Refusal::Dial`] |
//! | `OutboundFailure::{Timeout, ConnectionClosed, UnsupportedProtocols}` | [`Timeout`](OutboundFailure::Timeout) with its [`Stage`], [`ConnectionClosed`](OutboundFailure::ConnectionClosed) with its cause, [`UnsupportedProtocols`](OutboundFailure::UnsupportedProtocols) |
//! | `OutboundFailure::Io` | [`Stream`](OutboundFailure::Stream), [`ResponseOmitted`](OutboundFailure::ResponseOmitted), [`ResponseTooLarge`](OutboundFailure::ResponseTooLarge), [`Decode`](OutboundFailure::Decode), [`Encode`](OutboundFailure::Encode); at the limit of streams a request waits |
//! | `InboundFailure::{Timeout, ConnectionClosed, ResponseOmission}` | [`Timeout`](InboundFailure::Timeout), [`ConnectionClosed`](InboundFailure::ConnectionClosed), [`ResponseOmission`](InboundFailure::ResponseOmission) |
//! | `InboundFailure::Io` | [`Stream`](InboundFailure::Stream), [`UnexpectedData`](InboundFailure::UnexpectedData) |
//! | `InboundFailure::UnsupportedProtocols` | none: it never arises there either |
//! | \[`Throttled`, `RequestResponse::throttled`\] | [`Throttled`], [`RequestResponseThrottled`], [`RequestResponse::throttled`] |
//! | \[`Throttled`: `set_receive_limit`, `override_receive_limit`, `remove_override`, `can_send`\] | the same, [`Throttled`] |
//! | \[`throttled::Event::{Event, TooManyInboundRequests, ResumeSending}`\] | the same, [`ThrottledEvent`] |
//!
//! # Example
//!
//! ```
//! use bytes::Bytes;
//! use drywire::{
//!     multistream::ProtocolName,
//!     protocol::request_response::{self, BytesCodec, ProtocolSupport, RequestResponse},
//!     protocols,
//! };
//!
//! const SHOUT: ProtocolName = ProtocolName::from_static("/shout/1");
//!
//! protocols! {
//!     /// What this node speaks.
//!     pub struct Speech => SpeechEvent {
//!         shout: RequestResponse<BytesCodec> => Shout,
//!     }
//! }
//!
//! let protocols = Speech {
//!     shout: RequestResponse::new([(SHOUT, ProtocolSupport::Full)], request_response::Config::default()),
//! };
//! # let _ = protocols;
//! // To ask:    swarm.with(now, |set, cx| set.shout(cx, |shout, cx| shout.send_request(&peer, request, cx)))
//! // To answer: swarm.with(now, |set, cx| set.shout(cx, |shout, cx| shout.send_response(channel, response, cx)))
//! ```

mod channel;
mod codec;
mod config;
mod error;
mod event;
mod inbound;
mod outbound;
mod peers;
mod service;
#[cfg(test)]
mod tests;
pub mod throttled;
#[cfg(any(feature = "cbor", feature = "json"))]
mod values;

pub use channel::ResponseChannel;
/// The name rust-libp2p used up to 0.23.
pub use codec::Codec as RequestResponseCodec;
pub use codec::{BytesCodec, Codec, CodecError, OneWayBytesCodec};
pub use config::{Config, Framing, ProtocolSupport};
pub use error::{
    EncodeError, InboundFailure, OutboundFailure, Refusal, SendRequestError, SendResponseError,
    Stage,
};
pub use event::{Event, InboundRequestId, Message, OutboundRequestId};
pub use outbound::RequestOptions;
pub use service::Service;
pub use throttled::{Throttled, ThrottledEvent};
#[cfg(feature = "cbor")]
#[cfg_attr(docsrs, doc(cfg(feature = "cbor")))]
pub use values::cbor;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use values::json;

use crate::{
    connection::{ConnectionId, OpenError, Slot, StreamEnd, StreamError},
    identity::PeerId,
    multistream::ProtocolName,
    swarm::{AcceptError, Context, DialId, Input, OpenStreamError, Protocol, StreamRef, Timers},
    time::Instant,
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use channel::Drops;
use core::{fmt, sync::atomic::Ordering};
use inbound::Inbound;
use outbound::Outbound;
use peers::{Link, Peer};

/// The name rust-libp2p uses.
pub type Behaviour<C> = RequestResponse<C>;

/// The name rust-libp2p used up to 0.23.
pub type RequestResponseConfig = Config;

/// The name rust-libp2p used up to 0.23.
pub type RequestResponseEvent<Q, R> = Event<Q, R>;

/// The name rust-libp2p used up to 0.23.
pub type RequestResponseMessage<Q, R> = Message<Q, R>;

/// The name that says whose it is.
pub type RequestResponseThrottled<C> = Throttled<C>;

/// What a protocol sees and does here.
type Cx<'a, C> = Context<'a, Event<<C as Codec>::Request, <C as Codec>::Response>>;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Outbound(OutboundRequestId),
    Inbound(InboundRequestId),
    Retry(ConnectionId),
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Outbound(OutboundRequestId),
    Inbound(InboundRequestId),
}

/// What was refused without the application hearing of it: streams of peers, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Limit: [`max_inbound`](Config::max_inbound) requests of the peer were under way on the connection.
    pub refused_for_capacity: u64,
    /// Limit: [`max_held_bytes`](Config::max_held_bytes).
    pub refused_for_bytes: u64,
    /// The host did not collect events, and there was no room for this request's.
    pub refused_for_events: u64,
    /// The request was longer than [`max_request_len`](Config::max_request_len).
    pub too_large: u64,
    /// The codec did not know it, or the stream's rules were broken.
    pub malformed: u64,
    /// It was not there in time.
    pub late: u64,
    /// The peer gave up before it had sent all of it, or the connection ended.
    pub given_up: u64,
}

/// A request/response protocol, see the [module](self).
pub struct RequestResponse<C: Codec> {
    codec: C,
    config: Config,
    inbound_names: Vec<ProtocolName>,
    outbound_names: Vec<ProtocolName>,
    refused_names: Vec<AcceptError>,
    peers: BTreeMap<PeerId, Peer>,
    links: BTreeMap<ConnectionId, Link>,
    dials: BTreeMap<DialId, PeerId>,
    outbound: BTreeMap<OutboundRequestId, Outbound<C::Request>>,
    inbound: BTreeMap<InboundRequestId, Inbound>,
    streams: BTreeMap<StreamRef, Use>,
    timers: Timers<Deadline>,
    sent: u64,
    received: u64,
    /// Requests in the queues of peers.
    queued: u32,
    held_bytes: u64,
    drops: Drops,
    drops_seen: usize,
    statistics: Statistics,
}

impl<C: Codec> RequestResponse<C> {
    /// Speaks these protocols, the preferred ones first, with a codec of default settings.
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

    /// Speaks these protocols, the preferred ones first.
    ///
    /// All names for requests of this node are offered in one negotiation, in this order, and the request goes under the
    /// first one the peer accepts. With a single name it travels together with the negotiation, which saves a round trip.
    #[must_use]
    pub fn with_codec(
        mut codec: C,
        protocols: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
        config: Config,
    ) -> Self {
        codec.set_limits(config.max_request_len, config.max_response_len);
        let (inbound_names, outbound_names) = config::split(protocols);
        Self {
            codec,
            config,
            inbound_names,
            outbound_names,
            refused_names: Vec::new(),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            streams: BTreeMap::new(),
            timers: Timers::new(),
            sent: 0,
            received: 0,
            queued: 0,
            held_bytes: 0,
            drops: Drops::default(),
            drops_seen: 0,
            statistics: Statistics::default(),
        }
    }

    /// Speaks these protocols with budgets, see [`throttled`].
    #[must_use]
    pub fn throttled(
        codec: C,
        protocols: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
        config: Config,
    ) -> Throttled<C> {
        Throttled::with_codec(codec, protocols, config)
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The codec.
    #[must_use]
    pub const fn codec(&self) -> &C {
        &self.codec
    }

    /// The names under which requests of peers should be answered and are not, because another protocol has them, or there
    /// are too many. Known once the swarm has started.
    #[must_use]
    pub fn refused_names(&self) -> &[AcceptError] {
        &self.refused_names
    }

    /// What was refused so far.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Whether a peer has a connection that is up.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|peer| !peer.links.is_empty())
    }

    /// Requests of this node whose last word has not been said, queued ones included.
    #[must_use]
    pub fn pending_outbound(&self) -> usize {
        self.outbound
            .values()
            .filter(|request| request.is_pending())
            .count()
    }

    /// Requests of peers that the application has been told of, and whose last word has not been said.
    #[must_use]
    pub fn pending_inbound(&self) -> usize {
        self.inbound
            .values()
            .filter(|request| request.is_pending())
            .count()
    }

    /// Bytes held now, of those that [`max_held_bytes`](Config::max_held_bytes) limits.
    #[must_use]
    pub const fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Counts bytes about to be held, if there is room for them.
    fn hold(&mut self, bytes: &Bytes, by_it: &mut u64) -> bool {
        let all = self.held_bytes.saturating_add(length(bytes));
        let room = all <= self.config.max_held_bytes;
        if room {
            (self.held_bytes, *by_it) = (all, length(bytes));
        }
        room
    }

    /// A stream is over, or no longer this protocol's: whoever waits for its place has a turn.
    fn release_stream(&mut self, stream: StreamRef, cx: &mut Cx<'_, C>) {
        let Some(used) = self.streams.remove(&stream) else {
            return;
        };
        let Some(link) = self.links.get_mut(&stream.connection) else {
            return;
        };
        match used {
            Use::Outbound(_) => {
                link.outbound = link.outbound.saturating_sub(1);
                let peer = link.peer;
                self.flush(&peer, cx);
            }
            Use::Inbound(_) => link.inbound = link.inbound.saturating_sub(1),
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl<C: Codec> Protocol for RequestResponse<C> {
    type Event = Event<C::Request, C::Response>;

    fn start(&mut self, cx: &mut Cx<'_, C>) {
        for name in &self.inbound_names {
            if let Err(error) = cx.accept(name.clone(), self.config.accept()) {
                self.refused_names.push(error);
            }
        }
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Cx<'_, C>) {
        self.notice_drops(cx);
        match input {
            Input::ConnectionUp {
                connection,
                peer,
                point,
                ..
            } => self.connected(connection, peer, point.remote.is_relayed(), cx),
            Input::ConnectionDown {
                connection, reason, ..
            } => self.disconnected(connection, reason, cx),
            Input::Dialed { dial, .. } => self.dialed(dial, cx),
            Input::DialFailed { dial, error, .. } => self.dial_failed(dial, error, cx),
            Input::StreamsAvailable { connection } => self.streams_available(connection, cx),
            Input::Inbound { stream, peer, name } => self.opened_by_peer(stream, peer, name, cx),
            Input::Timeout => {
                while let Some(deadline) = self.timers.pop_due(cx.now()) {
                    match deadline {
                        Deadline::Outbound(id) => self.outbound_late(id, cx),
                        Deadline::Inbound(id) => self.inbound_late(id, cx),
                        Deadline::Retry(connection) => self.streams_available(connection, cx),
                    }
                }
            }
            Input::Opened { stream, name } => {
                if let Some(Use::Outbound(id)) = self.streams.get(&stream) {
                    self.agreed(*id, stream, name, cx);
                }
            }
            Input::Message { stream, bytes } => match self.streams.get(&stream) {
                Some(Use::Outbound(id)) => self.response(*id, stream, bytes, cx),
                Some(Use::Inbound(id)) => self.request(*id, stream, bytes, cx),
                None => {}
            },
            Input::RemoteFinished { stream } => match self.streams.get(&stream) {
                Some(Use::Outbound(id)) => self.responder_finished(*id, stream, cx),
                Some(Use::Inbound(id)) => self.requester_finished(*id, stream, cx),
                None => {}
            },
            Input::Writable { stream } => match self.streams.get(&stream) {
                Some(Use::Outbound(id)) => self.send_body(*id, stream, cx),
                Some(Use::Inbound(id)) => self.send_rest(*id, stream, cx),
                None => {}
            },
            Input::Sent { stream } => match self.streams.get(&stream) {
                Some(Use::Outbound(id)) => self.request_left(*id, cx),
                Some(Use::Inbound(id)) => self.response_left(*id, cx),
                None => {}
            },
            Input::StreamEnded { stream, end } => {
                // Before what waits is put there too.
                match end {
                    StreamEnd::Failed(StreamError::Open(OpenError::TooManyStreams)) => {
                        self.used_up(stream.connection, cx);
                    }
                    StreamEnd::Failed(StreamError::Connection(_) | StreamError::Open(_)) => {
                        self.refused_by(stream.connection, OpenStreamError::NotConnected);
                    }
                    _ => {}
                }
                match self.streams.get(&stream) {
                    Some(Use::Outbound(id)) => self.outbound_ended(*id, end, cx),
                    Some(Use::Inbound(id)) => self.inbound_ended(*id, end, cx),
                    None => {}
                }
                self.release_stream(stream, cx);
                self.find_another_way(stream.connection, cx);
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.drops.load(Ordering::Acquire) != self.drops_seen {
            return Some(Instant::ZERO);
        }
        self.timers.next()
    }
}

impl<C: Codec + fmt::Debug> fmt::Debug for RequestResponse<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestResponse")
            .field("codec", &self.codec)
            .field("inbound", &self.inbound_names)
            .field("outbound", &self.outbound_names)
            .field("pending_outbound", &self.outbound.len())
            .field("pending_inbound", &self.inbound.len())
            .field("statistics", &self.statistics)
            .finish_non_exhaustive()
    }
}
