//! The books, the header, one machine against a played peer, and whole nodes against each other.

mod defects;
mod header;
mod hostile;
mod ledger;
mod old_peer;
mod pairs;

use super::*;
use crate::{
    connection::{
        ConnectionError, ConnectionId, Direction, StreamEnd, StreamError, StreamId,
        ToConnectionMessage,
    },
    protocol::{
        bench::{Bench, peer},
        request_response::{BytesCodec, Message},
    },
};
use bytes::Bytes;
use core::time::Duration;

const NAME: ProtocolName = ProtocolName::from_static("/ping/1");
const WIRE: ProtocolName = ProtocolName::from_static("/t/1/ping/1");
const REMOTE: &str = "/memory/1";

type Machine = Throttled<BytesCodec>;

fn machine(limit: u16) -> Machine {
    let mut machine = Machine::new([(NAME, ProtocolSupport::Full)], Config::default());
    machine.set_receive_limit(number(limit));
    machine
}

fn number(limit: u16) -> NonZeroU16 {
    NonZeroU16::new(limit).unwrap()
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// An event, without what cannot be compared.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(InboundRequestId, Bytes),
    Response(OutboundRequestId, Bytes),
    Failed(OutboundRequestId, OutboundFailure),
    NotAnswered(InboundRequestId, InboundFailure),
    Sent(InboundRequestId),
    TooMany(PeerId),
    Resume(PeerId),
}

/// A body that was sent.
#[derive(Clone, Debug, PartialEq)]
struct Body {
    connection: ConnectionId,
    stream: StreamId,
    header: Header,
    rest: Bytes,
}

/// A machine whose connections are played.
struct Playing {
    bench: Bench<Machine>,
    channels: BTreeMap<InboundRequestId, ResponseChannel<Bytes>>,
}

impl Playing {
    fn new(limit: u16) -> Self {
        Self::with(machine(limit))
    }

    fn with(machine: Machine) -> Self {
        Self {
            bench: Bench::new(machine),
            channels: BTreeMap::new(),
        }
    }

    fn connect(&mut self, number: u64) -> ConnectionId {
        self.bench.connect(number, REMOTE, Direction::Inbound)
    }

    fn machine(&self) -> &Machine {
        self.bench.swarm.protocols()
    }

    fn send(&mut self, number: u64) -> Result<OutboundRequestId, Refusal> {
        self.send_with(number, RequestOptions::new())
    }

    fn send_with(
        &mut self,
        number: u64,
        options: RequestOptions,
    ) -> Result<OutboundRequestId, Refusal> {
        let can = self.machine().can_send(&peer(number));
        let body = Bytes::from_static(b"ping");
        let sent = self
            .bench
            .run(|machine, cx| machine.send_request_with(&peer(number), body.clone(), options, cx));
        let sent = sent.map_err(|error| {
            assert_eq!(error.request, body, "given back");
            error.reason
        });
        assert_eq!(can, sent != Err(Refusal::NoBudget), "{sent:?}");
        sent
    }

    /// Everything the host is told; channels are put aside.
    fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for event in self.bench.events() {
            seen.push(match event {
                ThrottledEvent::TooManyInboundRequests(peer) => Seen::TooMany(peer),
                ThrottledEvent::ResumeSending(peer) => Seen::Resume(peer),
                ThrottledEvent::Event(event) => self.event(event),
            });
        }
        seen
    }

    fn event(&mut self, event: Event<Bytes, Bytes>) -> Seen {
        match event {
            Event::Message { message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                    protocol,
                } => {
                    assert_eq!(protocol, NAME);
                    self.channels.insert(request_id, channel);
                    Seen::Request(request_id, request)
                }
                Message::Response {
                    request_id,
                    response,
                } => Seen::Response(request_id, response),
            },
            Event::OutboundFailure {
                request_id, error, ..
            } => Seen::Failed(request_id, error),
            Event::InboundFailure {
                request_id, error, ..
            } => Seen::NotAnswered(request_id, error),
            Event::ResponseSent { request_id, .. } => Seen::Sent(request_id),
            other => panic!("{other:?}"),
        }
    }

    /// What was sent as a whole body since it was asked last.
    fn bodies(&mut self) -> Vec<Body> {
        let exchanges = self.bench.exchanges();
        for (connection, _, _) in &exchanges {
            self.bench.processed(*connection);
        }
        let bodies = exchanges.into_iter();
        bodies
            .map(|(connection, stream, bytes)| {
                let (header, used) = Header::decode(&bytes).unwrap();
                Body {
                    connection,
                    stream,
                    header,
                    rest: bytes.slice(used..),
                }
            })
            .collect()
    }

    /// The credits among them.
    fn credits(&mut self) -> Vec<(StreamId, u16, u64)> {
        let bodies = self.bodies().into_iter();
        bodies
            .filter_map(|body| match body.header {
                Header::Credit { credit, ident } => Some((body.stream, credit, ident)),
                _ => None,
            })
            .collect()
    }

    /// The peer asks, with these bytes.
    fn ask_raw(&mut self, connection: ConnectionId, body: &[u8]) -> StreamId {
        let stream = self.bench.inbound(connection, WIRE);
        self.bench.data(connection, stream, body);
        self.bench.finish(connection, stream);
        stream
    }

    fn ask(&mut self, connection: ConnectionId) -> StreamId {
        self.ask_raw(connection, &body(Header::Request, b"ping"))
    }

    /// The peer gives credit. Its stream ends with the acknowledgement.
    fn credit(&mut self, connection: ConnectionId, credit: u16, ident: u64) {
        let header = Header::Credit { credit, ident };
        let stream = self.ask_raw(connection, &body(header, b""));
        let bodies = self.bodies();
        let answer = bodies.iter().find(|body| body.stream == stream);
        assert_eq!(answer.unwrap().header, Header::Ack { ident });
        self.bench.ended(connection, stream, StreamEnd::Finished);
    }

    /// The peer answers what was asked, with these bytes.
    fn answer(&mut self, connection: ConnectionId, stream: StreamId, header: Header, rest: &[u8]) {
        self.bench.data(connection, stream, &body(header, rest));
        self.bench.finish(connection, stream);
        self.bench.ended(connection, stream, StreamEnd::Finished);
    }

    fn acknowledge(&mut self, connection: ConnectionId, stream: StreamId, ident: u64) {
        self.answer(connection, stream, Header::Ack { ident }, b"");
    }

    fn fail(&mut self, connection: ConnectionId, stream: StreamId, error: StreamError) {
        self.bench
            .ended(connection, stream, StreamEnd::Failed(error));
    }

    /// The application answers, and the response leaves.
    fn respond(&mut self, connection: ConnectionId, stream: StreamId, id: InboundRequestId) {
        let channel = self.channels.remove(&id).unwrap();
        let body = Bytes::from_static(b"pong");
        self.bench
            .run(|machine, cx| machine.send_response(channel, body, cx))
            .unwrap();
        self.bench.ended(connection, stream, StreamEnd::Finished);
    }

    /// Drops a channel, and lets the host come by.
    fn drop_channel(&mut self, id: InboundRequestId) {
        drop(self.channels.remove(&id).unwrap());
        self.bench.wait(Duration::ZERO);
    }

    /// The last connection ends, and with it each of these streams.
    fn close(&mut self, connection: ConnectionId, streams: &[StreamId]) {
        for stream in streams {
            let error = StreamError::Connection(ConnectionError::ClosedByPeer);
            self.fail(connection, *stream, error);
        }
        self.bench.close(connection);
    }

    fn budget(&self) -> u16 {
        self.machine().send_budget(&peer(1))
    }
}

fn body(header: Header, rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    header.encode(&mut body);
    body.extend_from_slice(rest);
    body
}

#[test]
fn an_exchange_with_its_bytes() {
    let mut playing = Playing::new(3);
    let names: Vec<_> = playing.bench.swarm.accepted_names().cloned().collect();
    assert_eq!(names, [WIRE]);
    let connection = playing.connect(1);
    let sent = playing.send(1).unwrap();
    let exchanges = playing.bench.told();
    let [
        (
            _,
            ToConnectionMessage::OpenWith {
                stream,
                names,
                bytes,
                ..
            },
        ),
    ] = exchanges.as_slice()
    else {
        panic!("{exchanges:?}")
    };
    assert_eq!(
        (names.as_slice(), bytes.as_ref()),
        (&[WIRE][..], &b"\x05\xa1\x00\x82\x00\x80ping"[..])
    );
    playing.answer(connection, *stream, Header::Response, b"pong");
    assert_eq!(
        playing.seen(),
        [Seen::Response(sent, Bytes::from_static(b"pong"))]
    );
    // The other way: a request, its response, and the credit it leads to.
    let stream = playing.ask_raw(connection, b"\x05\xa1\x00\x82\x00\x80ping");
    let seen = playing.seen();
    let [Seen::Request(id, request)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(request.as_ref(), b"ping");
    let credits = playing.credits();
    let [(credit_stream, 2, ident)] = credits[..] else {
        panic!("{credits:?}")
    };
    playing.acknowledge(connection, credit_stream, ident);
    playing.respond(connection, stream, *id);
    let bodies = playing.bodies();
    assert_eq!(bodies[0].stream, stream);
    assert_eq!(
        (bodies[0].header, bodies[0].rest.as_ref()),
        (Header::Response, &b"pong"[..])
    );
    assert_eq!(playing.seen(), [Seen::Sent(*id)]);
    // A credit of the peer's: acknowledged, and said only by what it allows.
    playing.credit(connection, 5, 7);
    assert_eq!(
        (playing.budget(), playing.seen()),
        (5, Vec::from([Seen::Resume(peer(1))]))
    );
    playing.bench.swarm.audit().unwrap();
}

#[test]
fn a_protocol_for_one_direction_has_its_credits_in_both() {
    let inbound = ProtocolName::from_static("/in/1");
    let outbound = ProtocolName::from_static("/out/1");
    let names = [
        (inbound, ProtocolSupport::Inbound),
        (outbound, ProtocolSupport::Outbound),
    ];
    let mut playing = Playing::with(Machine::new(names, Config::default()));
    let connection = playing.connect(1);
    playing.bench.told();
    playing.send(1).unwrap();
    let opened: Vec<_> = playing.bench.told();
    let names = |message: &ToConnectionMessage| match message {
        ToConnectionMessage::Open { names, .. } | ToConnectionMessage::OpenWith { names, .. } => {
            names
                .iter()
                .map(|name| name.as_str().len())
                .collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    // `/t/1/out/1` for the request, and both for a credit.
    assert_eq!(names(&opened[0].1), [10]);
    let stream = playing
        .bench
        .inbound(connection, "/t/1/in/1".parse().unwrap());
    playing
        .bench
        .data(connection, stream, &body(Header::Request, b""));
    let events = playing.bench.events();
    assert!(matches!(
        &events[..],
        [ThrottledEvent::Event(Event::Message { message: Message::Request { protocol, .. }, .. })]
            if protocol.as_str() == "/in/1"
    ));
    drop(events);
    playing.bench.wait(Duration::ZERO);
    let told = playing.bench.told();
    assert!(
        told.iter().any(|(_, message)| names(message) == [10, 9]),
        "{told:?}"
    );
    // A request under the name that is only for this node's own is not surfaced, and costs its sender nothing for good.
    let wrong = playing
        .bench
        .inbound(connection, "/t/1/out/1".parse().unwrap());
    playing.bench.events();
    playing
        .bench
        .data(connection, wrong, &body(Header::Request, b""));
    assert_eq!(playing.seen(), []);
    assert_eq!(playing.machine().throttled_statistics().wrong_direction, 1);
    let none = Machine::new([(NAME, ProtocolSupport::Inbound)], Config::default());
    let mut playing = Playing::with(none);
    assert_eq!(playing.send(1), Err(Refusal::NoOutboundProtocol));
}

#[test]
fn limits_of_peers() {
    let mut playing = Playing::new(4);
    let limit = |playing: &Playing, of: u64| playing.machine().receive_limit(&peer(of)).get();
    playing.connect(1);
    playing.bench.run(|machine, _| {
        // For those that come later.
        machine.set_receive_limit(number(6));
        machine.override_receive_limit(&peer(2), number(9));
    });
    playing.connect(2);
    playing.connect(3);
    assert_eq!([1, 2, 3].map(|of| limit(&playing, of)), [4, 9, 6]);
    playing.bench.run(|machine, _| {
        machine.override_receive_limit(&peer(1), number(2));
        assert!(machine.remove_override(&peer(2)) && !machine.remove_override(&peer(2)));
    });
    assert_eq!([1, 2, 3].map(|of| limit(&playing, of)), [2, 9, 6]);
    let throttled = RequestResponse::<BytesCodec>::throttled(
        BytesCodec,
        [(NAME, ProtocolSupport::Full)],
        Config::default().one_way(),
    );
    assert!(!throttled.config().one_way);
    let plain =
        RequestResponse::<BytesCodec>::new([(NAME, ProtocolSupport::Full)], Config::default());
    let playing = Playing::with(Throttled::from(plain));
    assert_eq!(playing.bench.swarm.accepted_names().next(), Some(&WIRE));
    assert_eq!(playing.machine().receive_limit(&peer(1)).get(), 1);
}
