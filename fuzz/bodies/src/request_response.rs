//! Target of requests and responses: a node with two such protocols, one of them with budgets, and a peer that is the
//! input's.
//!
//! The peer has a connection, and nothing else that is honest: it opens streams under the node's names, takes those that
//! the node opens, writes whole bodies or any bytes in any pieces, finishes, resets, or does nothing. The node's application
//! asks, answers, drops, cancels, gives streams away, and collects events or does not. Pipes deliver as much as the input
//! says, dials succeed or fail, connections break, time passes.

mod world;

use crate::input::Input;
use bytes::Bytes;
use core::{num::NonZeroU16, time::Duration};
use drywire::{
    connection::StreamKind,
    multistream::ProtocolName,
    protocol::request_response::{
        Codec, CodecError, Config, Event, Framing, InboundRequestId, Message, OutboundRequestId,
        ProtocolSupport, Refusal, RequestOptions, RequestResponse, ResponseChannel,
        SendResponseError, Throttled, ThrottledEvent,
        throttled::{Header, MAX_DEBT},
    },
    protocols,
    swarm::{Context, StreamRef},
};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};
use world::{World, address, peer};

/// Operations of one run; the rest of the input is not looked at.
const MAX_OPS: usize = 200;
/// The highest limit of the peer's requests under budgets.
const MAX_LIMIT: u16 = 10;

const NAMES: [ProtocolName; 5] = [
    ProtocolName::from_static("/one/1"),
    ProtocolName::from_static("/two/1"),
    ProtocolName::from_static("/t/1/ping/1"),
    ProtocolName::from_static("/t/1/pong/1"),
    // Nobody knows it.
    ProtocolName::from_static("/other/1"),
];

protocols! {
    /// What the node speaks.
    pub(crate) struct Both => BothEvent {
        plain: RequestResponse<Text> => Plain,
        throttled: Throttled<Text> => Throttled,
    }
}

/// Bodies of bytes: none that is empty or begins with 255, and none of 99 bytes under the second name.
#[derive(Debug, Default)]
pub(crate) struct Text;

impl Text {
    fn encode(name: &ProtocolName, bytes: &Bytes) -> Result<Bytes, CodecError> {
        if bytes.len() == 99 && name.as_str() == "/two/1" {
            return Err(CodecError::unencodable("not 99"));
        }
        Ok(bytes.clone())
    }

    fn decode(bytes: Bytes) -> Result<Bytes, CodecError> {
        match bytes.first() {
            None => Err(CodecError::UnexpectedEnd),
            Some(0xff) => Err(CodecError::malformed("not 255")),
            Some(_) => Ok(bytes),
        }
    }
}

impl Codec for Text {
    type Request = Bytes;
    type Response = Bytes;

    fn encode_request(&mut self, name: &ProtocolName, bytes: &Bytes) -> Result<Bytes, CodecError> {
        Self::encode(name, bytes)
    }

    fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Self::decode(bytes)
    }

    fn encode_response(&mut self, name: &ProtocolName, bytes: &Bytes) -> Result<Bytes, CodecError> {
        Self::encode(name, bytes)
    }

    fn decode_response(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Self::decode(bytes)
    }
}

/// Any schedule: each request that was accepted or surfaced has exactly one last word; nothing is held and no place is
/// reserved at the end; the swarm's books are right; and the same calls have the same outcome.
pub fn request_response(data: &[u8]) {
    assert_eq!(run(data), run(data), "another outcome");
}

/// How the protocols are set up.
struct Choice(u8);

impl Choice {
    fn config(&self) -> Config {
        let mut config = Config::default();
        if self.0 & 1 != 0 {
            config = config.with_framing(Framing::LengthPrefixed);
        }
        if self.0 & 2 != 0 {
            config = config.with_max_concurrent_streams(2);
            config.max_queued_per_peer = 2;
            config.max_held_bytes = 300;
        }
        if self.0 & 4 != 0 {
            config = config.one_way();
        }
        if self.0 & 8 != 0 {
            config = config.stream_requests();
        }
        config
            .with_max_request_len(1000)
            .with_max_response_len(2000)
    }

    fn names(&self) -> usize {
        if self.0 & 16 != 0 { 2 } else { 1 }
    }

    fn protocols(&self) -> Both {
        let full = |name: &'static str| (ProtocolName::from_static(name), ProtocolSupport::Full);
        let count = self.names();
        let plain = ["/one/1", "/two/1"].map(full).into_iter().take(count);
        let throttled = ["/ping/1", "/pong/1"].map(full).into_iter().take(count);
        let mut both = Both {
            plain: RequestResponse::new(plain, self.config()),
            throttled: Throttled::new(throttled, self.config()),
        };
        both.throttled
            .set_receive_limit(NonZeroU16::new(3).unwrap());
        both
    }

    /// Room for so many events.
    fn events(&self) -> u32 {
        if self.0 & 32 != 0 { 24 } else { 4096 }
    }

    fn one_way(&self) -> bool {
        self.0 & 4 != 0
    }
}

type Channel = ResponseChannel<Bytes>;

struct Run {
    world: World,
    choice: Choice,
    /// Of each protocol: requests whose last word is still to come.
    outbound: BTreeSet<(bool, OutboundRequestId)>,
    inbound: BTreeSet<(bool, InboundRequestId)>,
    channels: Vec<(bool, Channel)>,
    /// Of everything that was told, in order.
    hasher: DefaultHasher,
}

fn run(data: &[u8]) -> u64 {
    let mut input = Input::new(data);
    let choice = Choice(input.byte());
    let world = World::new(choice.protocols(), choice.events(), &NAMES);
    let mut run = Run {
        world,
        choice,
        outbound: BTreeSet::new(),
        inbound: BTreeSet::new(),
        channels: Vec::new(),
        hasher: DefaultHasher::new(),
    };
    if run.choice.0 & 64 == 0 {
        // Without that, short inputs would not get far.
        run.world.connect();
        run.world.settle();
    }
    let mut ops = 0;
    while !input.is_empty() && ops < MAX_OPS {
        run.operation(&mut input);
        run.check();
        ops += 1;
    }
    run.wind_up();
    run.hasher.finish()
}

fn pick<T>(from: &[T], which: u8) -> Option<usize> {
    (!from.is_empty()).then(|| usize::from(which) % from.len())
}

impl Run {
    fn operation(&mut self, input: &mut Input<'_>) {
        match input.byte() % 64 {
            0..8 => self.send(input),
            8 => self.open_request(),
            9 => self.cancel(input.byte()),
            10..14 => self.respond(input),
            14 => self.stream_response(input.byte()),
            15 | 16 => self.drop_channel(input.byte()),
            17 | 18 => self.collect(),
            19 => self.pass(Duration::from_millis(u64::from(input.byte()))),
            20 => self.pass(Duration::from_millis(u64::from(input.byte()) * 100)),
            21..25 => self
                .world
                .peer_opens(&NAMES[usize::from(input.byte()) % NAMES.len()]),
            25..31 => {
                let which = input.byte();
                let body = body(input);
                self.world.peer_writes(which, &body);
            }
            31..34 => {
                let which = input.byte();
                let count = usize::from(input.byte() % 32);
                let bytes: Vec<u8> = (0..count).map(|_| input.byte()).collect();
                self.world.peer_writes(which, &bytes);
            }
            34..39 => self.world.peer_finishes(input.byte()),
            39 | 40 => self.world.peer_resets(input.byte()),
            41 => self.world.peer_stops(input.byte()),
            42..44 => self.world.peer_reads(input.byte()),
            44..48 => {
                let (link, count) = (input.byte(), input.size());
                self.world
                    .deliver(usize::from(link >> 1), link & 1 == 0, count);
            }
            48..54 => self.world.settle(),
            54 | 55 => self.world.connect(),
            56 | 57 => self.world.dial_over(input.byte(), input.byte() & 1 == 0),
            58 => self.world.cut(input.byte()),
            59 => self.world.close(input.byte(), input.byte() & 1 == 0),
            60 | 61 => self.world.host_stream(input.byte()),
            62 => self.override_limit(input.byte()),
            _ => self.world.peer_answers(),
        }
    }

    fn note(&mut self, what: impl std::fmt::Debug) {
        format!("{what:?}").hash(&mut self.hasher);
    }

    fn plain<R>(
        &mut self,
        run: impl FnOnce(&mut RequestResponse<Text>, &mut Context<'_, Event<Bytes, Bytes>>) -> R,
    ) -> R {
        self.world.with(|both, cx| both.plain(cx, run))
    }

    fn throttled<R>(
        &mut self,
        run: impl FnOnce(&mut Throttled<Text>, &mut Context<'_, ThrottledEvent<Bytes, Bytes>>) -> R,
    ) -> R {
        self.world.with(|both, cx| both.throttled(cx, run))
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let (choice, len) = (input.byte(), input.size());
        let mut options = RequestOptions::new();
        if choice & 2 != 0 {
            options = options.addresses([address()]);
        }
        if choice & 4 != 0 {
            options = options.timeout(Duration::from_secs(u64::from(choice >> 5)));
        }
        if choice & 24 == 8 {
            options = options.only_if_connected();
        }
        if choice & 24 == 16 {
            options = options.stream_response();
        }
        let body = Bytes::from(vec![7; len]);
        let throttled = choice & 1 != 0;
        let sent = if throttled {
            let can = self.world.node().throttled.can_send(&peer());
            let sent = self.throttled(|throttled, cx| {
                throttled.send_request_with(&peer(), body.clone(), options, cx)
            });
            let refused = matches!(&sent, Err(error) if error.reason == Refusal::NoBudget);
            assert!(
                if can { !refused } else { sent.is_err() },
                "{can}, {sent:?}"
            );
            sent
        } else {
            self.plain(|plain, cx| plain.send_request_with(&peer(), body.clone(), options, cx))
        };
        match sent {
            Ok(id) => assert!(self.outbound.insert((throttled, id)), "a name used twice"),
            Err(error) => {
                assert_eq!(error.request, body, "given back");
                self.note(error.reason);
            }
        }
    }

    fn open_request(&mut self) {
        let options = RequestOptions::new().addresses([address()]);
        if let Ok(id) = self.plain(|plain, cx| plain.open_request(&peer(), options, cx)) {
            assert!(self.outbound.insert((false, id)), "a name used twice");
        }
    }

    fn cancel(&mut self, which: u8) {
        let all: Vec<_> = self.outbound.iter().copied().collect();
        let Some(at) = pick(&all, which) else {
            return;
        };
        let (throttled, id) = all[at];
        let was_pending = if throttled {
            self.throttled(|throttled, cx| throttled.cancel(id, cx))
        } else {
            self.plain(|plain, cx| plain.cancel(id, cx))
        };
        if was_pending {
            self.outbound.remove(&(throttled, id));
        }
    }

    fn respond(&mut self, input: &mut Input<'_>) {
        let (which, len) = (input.byte(), input.size());
        let Some(at) = pick(&self.channels, which) else {
            return;
        };
        let (throttled, channel) = self.channels.remove(at);
        let (open, body) = (channel.is_open(), Bytes::from(vec![8; len]));
        let sent = if throttled {
            self.throttled(|throttled, cx| throttled.send_response(channel, body, cx))
        } else {
            self.plain(|plain, cx| plain.send_response(channel, body, cx))
        };
        match sent {
            Ok(()) => assert!(open),
            Err(SendResponseError::Closed(_)) => assert!(!open),
            Err(SendResponseError::Encode { channel, .. }) => {
                assert!(open);
                self.channels.push((throttled, channel));
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn stream_response(&mut self, which: u8) {
        let Some(at) = pick(&self.channels, which).filter(|at| !self.channels[*at].0) else {
            return;
        };
        let (_, channel) = self.channels.remove(at);
        let (id, open) = (channel.request_id(), channel.is_open());
        let stream = self.plain(|plain, cx| plain.stream_response(channel, cx));
        if let Some(stream) = stream {
            assert!(open && self.inbound.remove(&(false, id)));
            self.world.own(stream);
        } else if open && self.choice.one_way() {
            self.inbound.remove(&(false, id));
        }
    }

    fn drop_channel(&mut self, which: u8) {
        if let Some(at) = pick(&self.channels, which) {
            let (throttled, channel) = self.channels.remove(at);
            if !throttled && self.choice.one_way() && channel.is_open() {
                // Dropping it is no failure, and there is no last word.
                self.inbound.remove(&(false, channel.request_id()));
            }
        }
    }

    fn override_limit(&mut self, limit: u8) {
        let limit = NonZeroU16::new(u16::from(limit) % MAX_LIMIT + 1).unwrap();
        self.throttled(|throttled, _| throttled.override_receive_limit(&peer(), limit));
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.world.now + duration;
        for turn in 0.. {
            assert!(turn < 100_000, "never rests: {}", self.world.why());
            self.collect();
            if !self.world.advance(end) {
                break;
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(event) = self.world.event() {
            self.note(&event);
            match event {
                BothEvent::Plain(event) => self.told(false, event),
                BothEvent::Throttled(ThrottledEvent::Event(event)) => self.told(true, event),
                BothEvent::Throttled(
                    ThrottledEvent::TooManyInboundRequests(from)
                    | ThrottledEvent::ResumeSending(from),
                ) => assert_eq!(from, peer()),
                BothEvent::Throttled(other) => panic!("{other:?}"),
            }
        }
    }

    fn told(&mut self, throttled: bool, event: Event<Bytes, Bytes>) {
        let outbound_over = |run: &mut Self, id| {
            assert!(run.outbound.remove(&(throttled, id)), "a second last word");
        };
        let inbound_over = |run: &mut Self, id| {
            assert!(run.inbound.remove(&(throttled, id)), "a second last word");
        };
        match event {
            Event::Message { message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                    ..
                } => {
                    assert!(!request.is_empty() && request.len() <= 1000);
                    assert_eq!(request_id, channel.request_id());
                    assert!(self.inbound.insert((throttled, request_id)));
                    self.channels.push((throttled, channel));
                }
                Message::Response {
                    request_id,
                    response,
                } => {
                    assert!(response.len() <= 2000);
                    outbound_over(self, request_id);
                }
            },
            Event::OutboundFailure { request_id, .. } => outbound_over(self, request_id),
            Event::InboundFailure { request_id, .. } | Event::ResponseSent { request_id, .. } => {
                inbound_over(self, request_id);
            }
            Event::ResponseStream {
                request_id, stream, ..
            } => {
                assert!(!throttled);
                outbound_over(self, request_id);
                self.world.own(stream);
            }
            Event::InboundStream { stream, .. } => {
                assert!(!throttled);
                self.world.own(stream);
            }
            other => panic!("{other:?}"),
        }
    }

    fn check(&self) {
        let both = self.world.node();
        let unanswered = self
            .channels
            .iter()
            .filter(|(throttled, channel)| *throttled && channel.is_open());
        assert!(unanswered.count() <= usize::from(MAX_LIMIT) + MAX_DEBT as usize);
        assert!(both.plain.held_bytes() <= both.plain.config().max_held_bytes + 70_000 * 64);
        self.world.audit();
    }

    /// The application drops what it has, and time passes: every last word is said. Then connections end: nothing is left.
    fn wind_up(&mut self) {
        self.collect();
        while !self.channels.is_empty() {
            self.drop_channel(0);
        }
        self.world.refuse_dials();
        self.pass(Duration::from_secs(40));
        while !self.channels.is_empty() {
            self.drop_channel(0);
        }
        self.pass(Duration::from_secs(40));
        assert!(
            self.outbound.is_empty(),
            "no last word on {:?}",
            self.outbound
        );
        assert!(
            self.inbound.is_empty(),
            "no last word on {:?}",
            self.inbound
        );
        self.world.cut_all();
        self.pass(Duration::from_secs(100));
        let both = self.world.node();
        assert_eq!(
            (both.plain.held_bytes(), both.throttled.held_bytes()),
            (0, 0)
        );
        assert_eq!(
            (both.plain.pending_outbound(), both.plain.pending_inbound()),
            (0, 0)
        );
        let throttled = &both.throttled;
        assert_eq!(
            (throttled.pending_outbound(), throttled.pending_inbound()),
            (0, 0)
        );
        assert!(throttled.can_send(&peer()) && throttled.send_budget(&peer()) == 1);
        assert!(!both.plain.is_connected(&peer()) && !throttled.is_connected(&peer()));
        self.world.audit_end();
    }
}

/// A whole body, as one side or the other would send it.
fn body(input: &mut Input<'_>) -> Vec<u8> {
    let (choice, number) = (input.byte(), input.byte());
    let mut body = Vec::new();
    let (credit, ident) = (u16::from(number & 15), u64::from(number >> 4));
    match choice % 8 {
        0 | 1 => {}
        2 => Header::Request.encode(&mut body),
        3 => Header::Response.encode(&mut body),
        4 => Header::Credit { credit, ident }.encode(&mut body),
        // That of the node's first grant, or one near it.
        5 => Header::Ack {
            ident: (1_800_000_000_000 << 20) + u64::from(number),
        }
        .encode(&mut body),
        6 => body.push(number % 100),
        _ => {
            let credit = u16::MAX;
            Header::Credit { credit, ident }.encode(&mut body);
        }
    }
    if !matches!(choice % 8, 4 | 5 | 7) {
        body.extend(vec![choice; usize::from(number)]);
    }
    body
}

/// How the peer's streams are opened and taken.
const RAW: StreamKind = StreamKind::Raw;

/// A stream of the node's host.
type Own = StreamRef;
