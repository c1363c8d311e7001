//! What the application does with each set of protocols, and what a peer may do to it.

use crate::peers::Flood;
use bytes::Bytes;
use drywire::{
    connection::{Accept, Slot, StreamKind},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    mux::yamux::Flags,
    node::NodeEvent,
    protocol::{
        Standard,
        identify::{self, Identify},
        kad::{
            self, Dual, Kademlia, Mode, QueryOptions, Quorum, Record, RecordKey, Side,
            message::request,
        },
        ping::{self, Ping},
        request_response::{
            self, BytesCodec, Message, ProtocolSupport, RequestOptions, RequestResponse, Throttled,
            ThrottledEvent,
        },
        stream::{OpenOptions, Streams},
    },
    protocols,
    swarm::{self, Config, Context, Input, Protocol, SecurityConfig},
    time::{Instant, UnixTime},
};
use drywire_tests::{
    dice::Dice,
    hostile::{data, propose},
    net::{Host, Net, address, peer},
};
use std::{fmt::Debug, num::NonZeroU16};

/// A name the application serves.
pub const ECHO: ProtocolName = ProtocolName::from_static("/echo/1");
const KIB: usize = 1024;

/// A set of protocols, and an application that uses it.
pub trait Script: Protocol<Event: Debug> + Sized {
    /// Whether anything in it is drawn from its seed.
    const DRAWS: bool;
    /// Whether the application answers what it is told, and so moves messages at times that depend on what has come.
    const ANSWERS: bool = false;

    /// Whether it remembers something of a peer, for a while, after the last connection.
    const LINGERS: bool = false;

    fn fresh() -> Self;

    fn config() -> Config {
        Config::new(SecurityConfig::InsecurePlaintext)
    }

    /// What the application does once, when its node is new.
    fn set_up(&mut self, _: &mut Context<'_, Self::Event>) {}

    /// What it may do at any time.
    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice);

    /// What it does with what it is told.
    fn hear<H: Host<Protocol = Self>>(_: &mut H, _: Instant, _: NodeEvent<Self::Event>) {}

    /// What a peer may do without an end: frames, by a number that counts up.
    fn floods() -> Vec<Flood>;
}

/// A request of the host on any connection there is.
fn ask_for_echo<H: Host<Protocol: Script>>(net: &mut Net<H>, from: usize, dice: &mut Dice) {
    let connections = net.connections(from);
    if !connections.is_empty() {
        let length = dice.below(60 * KIB);
        let _ = net.request(from, *dice.pick(&connections), "/echo/1", length);
    }
}

fn wanted(to: usize) -> OpenOptions {
    OpenOptions::new(peer(to)).addresses([address(to)])
}

/// Node 7 does not exist.
const NOBODY: usize = 7;

impl Script for Standard {
    const DRAWS: bool = true;

    fn fresh() -> Self {
        Self::default()
    }

    fn config() -> Config {
        Config::default()
    }

    fn set_up(&mut self, cx: &mut Context<'_, Self::Event>) {
        let accept = Accept::new(StreamKind::Raw).max_streams(1 << 20);
        self.streams(cx, |streams, cx| streams.register_with(ECHO, accept, cx))
            .expect("a new name");
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let now = net.now;
        let connection = net.connections(from).first().copied();
        let kind = dice.below(4);
        net.hosts[from].command(now, |swarm| {
            swarm.with(now, |set, cx| match (kind, connection) {
                (0, _) => {
                    set.ping(cx, |ping, cx| ping.ping(&peer(to), cx));
                }
                (1, Some(connection)) => {
                    set.identify(cx, |identify, cx| identify.ask(connection, cx));
                }
                (2, _) => {
                    let _ = set.streams(cx, |streams, cx| streams.open(wanted(to), cx));
                }
                _ => {}
            });
        });
        if kind == 3 {
            ask_for_echo(net, from, dice);
        }
    }

    fn floods() -> Vec<Flood> {
        let all = [Ping::floods(), Identify::floods(), Streams::floods()];
        all.concat()
    }
}

impl Script for Ping {
    const DRAWS: bool = true;

    fn fresh() -> Self {
        Self::default()
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let (now, times) = (net.now, 1 + dice.below(3));
        net.hosts[from].command(now, |swarm| {
            for _ in 0..times {
                swarm.with(now, |ping, cx| ping.ping(&peer(to), cx));
            }
        });
    }

    fn floods() -> Vec<Flood> {
        vec![
            |n| data(Flags::SYN, 2 * n + 1, &propose("/ipfs/ping/1.0.0")),
            // The answers are never read.
            |n| match n {
                0 => data(Flags::SYN, 1, &propose("/ipfs/ping/1.0.0")),
                _ => data(Flags::NONE, 1, &[n as u8; 32]),
            },
            |n| match n {
                0 => data(Flags::SYN, 1, &propose("/ipfs/ping/1.0.0")),
                _ => data(Flags::NONE, 1, &[n as u8]),
            },
            |n| {
                let mut said = propose("/ipfs/ping/1.0.0");
                said.resize(8 * KIB, 7);
                data(Flags::SYN.with(Flags::FIN), 2 * n + 1, &said)
            },
        ]
    }
}

impl Script for Identify {
    const DRAWS: bool = false;

    fn fresh() -> Self {
        Self::new(identify::Config::default())
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, _: usize, dice: &mut Dice) {
        let now = net.now;
        let connections = net.connections(from);
        let external: Multiaddr = format!("/ip4/198.51.100.{}/tcp/1", dice.below(4))
            .parse()
            .expect("valid");
        let kind = dice.below(3);
        net.hosts[from].command(now, |swarm| match (kind, connections.last()) {
            (0, Some(connection)) => {
                swarm.with(now, |identify, cx| identify.ask(*connection, cx));
            }
            (1, _) => swarm.add_external_address(now, &external),
            _ => swarm.remove_external_address(now, &external),
        });
    }

    fn floods() -> Vec<Flood> {
        vec![
            // Asks and asks, and never reads.
            |n| {
                data(
                    Flags::SYN.with(Flags::FIN),
                    2 * n + 1,
                    &propose("/ipfs/id/1.0.0"),
                )
            },
            // Pushes that never end.
            |n| {
                let mut said = propose("/ipfs/id/push/1.0.0");
                // A part of 8 KiB less two bytes, of which one is missing.
                said.extend([0xfe, 0x3f]);
                said.resize(said.len() + 8189, 0x7a);
                data(Flags::SYN, 2 * n + 1, &said)
            },
            // Pushes of many parts: unknown fields, each whole.
            |n| match n {
                0 => data(Flags::SYN, 1, &propose("/ipfs/id/push/1.0.0")),
                _ => data(Flags::NONE, 1, &[3, 0x7a, 1, 0].repeat(100)),
            },
            // Whole pushes, with ever other names.
            |n| {
                let mut said = propose("/ipfs/id/push/1.0.0");
                let name = format!("/name/{n:08}");
                let mut message = Vec::new();
                for _ in 0..100 {
                    message.extend([0x1a, name.len() as u8]);
                    message.extend_from_slice(name.as_bytes());
                }
                let length = message.len() as u16;
                said.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
                said.extend(message);
                data(Flags::SYN.with(Flags::FIN), 2 * n + 1, &said)
            },
        ]
    }
}

impl Script for Streams {
    const DRAWS: bool = false;

    fn fresh() -> Self {
        Self::new()
    }

    fn set_up(&mut self, cx: &mut Context<'_, Self::Event>) {
        let accept = Accept::new(StreamKind::Raw).max_streams(1 << 20);
        self.register_with(ECHO, accept, cx).expect("a new name");
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let now = net.now;
        let kind = dice.below(5);
        net.hosts[from].command(now, |swarm| {
            swarm.with(now, |streams, cx| match kind {
                0 | 1 => {
                    let _ = streams.open(wanted(to), cx);
                }
                2 => {
                    let given_up = streams.open(wanted(NOBODY), cx);
                    if let Ok(request) = given_up {
                        streams.cancel(request, cx);
                    }
                    let _ = streams.open(wanted(NOBODY), cx);
                }
                3 => {
                    let name = ProtocolName::from_static("/now/and/then");
                    if streams.register(name.clone(), cx).is_err() {
                        streams.deregister(&name, cx);
                    }
                }
                _ => {}
            });
        });
        if kind == 4 {
            ask_for_echo(net, from, dice);
        }
    }

    fn floods() -> Vec<Flood> {
        vec![
            |n| data(Flags::SYN, 2 * n + 1, &propose("/echo/1")),
            |n| data(Flags::SYN.with(Flags::FIN), 2 * n + 1, &propose("/echo/1")),
            |n| {
                let mut said = propose("/echo/1");
                said.resize(16 * KIB, 7);
                data(Flags::SYN, 2 * n + 1, &said)
            },
            |n| data(Flags::SYN, 2 * n + 1, &propose("/unknown")),
        ]
    }
}

/// Requests and responses of bytes.
pub type Bodies = RequestResponse<BytesCodec>;

impl Script for Bodies {
    const DRAWS: bool = false;
    const ANSWERS: bool = true;

    fn fresh() -> Self {
        let name = ProtocolName::from_static("/bytes/1");
        Self::new(
            [(name, ProtocolSupport::Full)],
            request_response::Config::default(),
        )
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let now = net.now;
        let (kind, length) = (dice.below(5), dice.below(60 * KIB));
        net.hosts[from].command(now, |swarm| {
            swarm.with(now, |bodies, cx| {
                let to = if kind == 3 { NOBODY } else { to };
                let times = if kind == 4 { 20 } else { 1 };
                let length = if kind == 0 { length } else { length % 100 };
                for _ in 0..times {
                    let options = RequestOptions::new().addresses([address(to)]);
                    let body = Bytes::from(vec![7; length]);
                    let sent = bodies.send_request_with(&peer(to), body, options, cx);
                    if let (1, Ok(id)) = (kind, sent) {
                        bodies.cancel(id, cx);
                    }
                }
            });
        });
    }

    fn hear<H: Host<Protocol = Self>>(host: &mut H, now: Instant, event: NodeEvent<Self::Event>) {
        if let NodeEvent::Swarm(swarm::Event::Protocol(request_response::Event::Message {
            message: Message::Request {
                request, channel, ..
            },
            ..
        })) = event
        {
            host.command(now, |swarm| {
                // Too late is as good as an answer.
                let _ = swarm.with(now, |bodies, cx| bodies.send_response(channel, request, cx));
            });
        }
    }

    fn floods() -> Vec<Flood> {
        vec![
            |n| data(Flags::SYN, 2 * n + 1, &propose("/bytes/1")),
            |n| data(Flags::SYN.with(Flags::FIN), 2 * n + 1, &propose("/bytes/1")),
            |n| {
                let mut said = propose("/bytes/1");
                said.resize(16 * KIB, 7);
                data(Flags::SYN, 2 * n + 1, &said)
            },
            // Whole requests, which the application never answers.
            |n| {
                let mut said = propose("/bytes/1");
                said.resize(16 * KIB, 7);
                data(Flags::SYN.with(Flags::FIN), 2 * n + 1, &said)
            },
            // One that never ends.
            |n| match n {
                0 => data(Flags::SYN, 1, &propose("/bytes/1")),
                _ => data(Flags::NONE, 1, &[7; 16 * KIB]),
            },
        ]
    }
}

/// The same with budgets.
pub type Budgeted = Throttled<BytesCodec>;

impl Script for Budgeted {
    const DRAWS: bool = false;
    const ANSWERS: bool = true;
    /// Requests that a peer has given up count for a while yet.
    const LINGERS: bool = true;

    fn fresh() -> Self {
        let name = ProtocolName::from_static("/bytes/1");
        let config = request_response::Config::default();
        let mut fresh = Self::new([(name, ProtocolSupport::Full)], config);
        fresh.set_receive_limit(NonZeroU16::new(5).unwrap_or(NonZeroU16::MIN));
        fresh
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let now = net.now;
        let (kind, length) = (dice.below(4), dice.below(4 * KIB));
        net.hosts[from].command(now, |swarm| {
            swarm.with(now, |budgeted, cx| {
                let to = if kind == 3 { NOBODY } else { to };
                for _ in 0..=kind {
                    let body = Bytes::from(vec![7; length]);
                    // Without a budget it comes back.
                    let _ =
                        budgeted.send_request_with_addresses(&peer(to), body, [address(to)], cx);
                }
            });
        });
    }

    fn hear<H: Host<Protocol = Self>>(host: &mut H, now: Instant, event: NodeEvent<Self::Event>) {
        if let NodeEvent::Swarm(swarm::Event::Protocol(ThrottledEvent::Event(
            request_response::Event::Message {
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            },
        ))) = event
        {
            host.command(now, |swarm| {
                // Too late is as good as an answer.
                let _ = swarm.with(now, |budgeted, cx| {
                    budgeted.send_response(channel, request, cx)
                });
            });
        }
    }

    fn floods() -> Vec<Flood> {
        /// A header, and a body.
        fn said(header: &[u8], body: usize) -> Vec<u8> {
            let mut said = propose("/t/1/bytes/1");
            said.extend_from_slice(header);
            said.resize(said.len() + body, 7);
            said
        }
        const REQUEST: [u8; 6] = [0x05, 0xA1, 0x00, 0x82, 0x00, 0x80];
        const CREDIT: [u8; 10] = [0x09, 0xA3, 0x00, 0x82, 0x02, 0x80, 0x01, 0x05, 0x02, 0x07];
        const DONE: Flags = Flags::SYN.with(Flags::FIN);
        vec![
            // Requests without a budget, credits again and again, and what is neither.
            |n| data(DONE, 2 * n + 1, &said(&REQUEST, 1000)),
            |n| data(DONE, 2 * n + 1, &said(&CREDIT, 0)),
            |n| data(DONE, 2 * n + 1, &said(&[0xff; 8], 1000)),
            |n| data(Flags::SYN, 2 * n + 1, &said(&REQUEST, 10 * KIB)),
        ]
    }
}

/// A DHT that does nothing by itself: what comes again and again, wanted or not, has a timer that is never over.
fn quiet(name: &'static str) -> kad::Config {
    let mut config = kad::Config::new(ProtocolName::from_static(name));
    config.periodic_bootstrap_interval = None;
    config.liveness_interval = None;
    config.sweep_interval = None;
    config.replication_interval = None;
    config.publication_interval = None;
    config.provider_publication_interval = None;
    config
}

impl Script for Kademlia {
    const DRAWS: bool = true;
    /// Peers that have gone stay in the table for a while, and are looked for.
    const LINGERS: bool = true;

    fn fresh() -> Self {
        Self::new(quiet("/town/kad/1")).with_mode(Mode::Server)
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let now = net.now;
        let (kind, number) = (dice.below(8), dice.below(4));
        net.hosts[from].command(now, |swarm| {
            swarm.with(now, |kad, cx| {
                let key = format!("key {number}");
                let key = key.as_str();
                // Those that are refused are as good as those that fail.
                let begun = match kind {
                    0 | 1 => {
                        let _ = kad.add_address(peer(to), &address(to), cx);
                        kad.bootstrap(cx)
                    }
                    2 => {
                        let _ = kad.add_address(peer(NOBODY), &address(NOBODY), cx);
                        kad.get_closest_peers(key, cx)
                    }
                    // One of each is there soon, so that what is kept does not grow.
                    3 => kad.put_record(Record::new("key 1", vec![7; 100]), Quorum::One, cx),
                    4 => kad.get_record(key, cx),
                    5 => kad.start_providing("key 1", cx),
                    6 => kad.get_providers(key, cx),
                    _ => {
                        kad.remove_peer(&peer(to), cx);
                        kad.bootstrap(cx)
                    }
                };
                if let (Ok(id), 0) = (begun, number) {
                    kad.give_up(&id, cx);
                }
            });
        });
    }

    fn floods() -> Vec<Flood> {
        /// Messages on one stream.
        fn said(messages: &[Vec<u8>]) -> Vec<u8> {
            let mut said = propose("/town/kad/1");
            for message in messages {
                drywire::wire::framing::encode(message, &mut said);
            }
            said
        }
        fn find_node(number: u32) -> Vec<u8> {
            let mut message = Vec::new();
            request::find_node(&mut message, &number.to_be_bytes());
            message
        }
        const DONE: Flags = Flags::SYN.with(Flags::FIN);
        vec![
            // Streams without a request, requests without an end, and answers that are never read.
            |n| data(Flags::SYN, 2 * n + 1, &said(&[])),
            |n| data(DONE, 2 * n + 1, &said(&[find_node(n)])),
            |n| match n {
                0 => data(Flags::SYN, 1, &said(&[])),
                _ => {
                    let mut framed = Vec::new();
                    drywire::wire::framing::encode(&find_node(n), &mut framed);
                    data(Flags::NONE, 1, &framed)
                }
            },
            // Records and providers of ever other keys, and what is neither.
            |n| {
                let mut put = Vec::new();
                let record = Record::new(format!("key {n}").as_str(), vec![7; 10 * KIB]);
                request::put_value(&mut put, &record, UnixTime::EPOCH, None);
                data(DONE, 2 * n + 1, &said(&[put]))
            },
            |n| data(DONE, 2 * n + 1, &said(&[vec![0xff; 100]])),
            |n| {
                let mut half = said(&[]);
                half.extend([0xff, 0x7f]);
                half.resize(8 * KIB, 7);
                data(Flags::SYN, 2 * n + 1, &half)
            },
        ]
    }
}

/// Two of them.
impl Script for Dual {
    const DRAWS: bool = true;
    const LINGERS: bool = true;

    fn fresh() -> Self {
        let node = |name: &'static str| Kademlia::new(quiet(name)).with_mode(Mode::Server);
        Self::of(node("/town/kad/1"), node("/town/lan/kad/1"))
    }

    fn act<H: Host<Protocol = Self>>(net: &mut Net<H>, from: usize, to: usize, dice: &mut Dice) {
        let now = net.now;
        let (kind, number) = (dice.below(6), dice.below(4));
        net.hosts[from].command(now, |swarm| {
            swarm.with(now, |dual, cx| {
                let key = RecordKey::from(format!("key {number}").as_str());
                let side = if number == 0 { Side::Lan } else { Side::Wan };
                let begun = match kind {
                    0 | 1 => {
                        dual.with_side(side, cx, |kad, cx| {
                            let _ = kad.add_address(peer(to), &address(to), cx);
                        });
                        dual.bootstrap(cx)
                    }
                    2 => dual.get_closest_peers(key.as_bytes(), cx),
                    3 => dual.put_record(&Record::new(key, "value"), Quorum::One, cx),
                    4 => dual.get_record(&key, QueryOptions::new(), cx),
                    _ => dual.get_providers(&key, QueryOptions::new(), cx),
                };
                if let (Ok(id), 0) = (begun, number) {
                    dual.give_up(&id, cx);
                }
            });
        });
    }

    fn floods() -> Vec<Flood> {
        Kademlia::floods()
    }
}

/// Draws at every opportunity, and does nothing else.
#[derive(Debug, Default)]
pub struct Greedy;

impl Protocol for Greedy {
    type Event = ();

    fn start(&mut self, cx: &mut Context<'_, ()>) {
        let _ = cx.next_seed("more");
    }

    fn handle(&mut self, _: Slot, _: Input<'_>, cx: &mut Context<'_, ()>) {
        for _ in 0..3 {
            let _ = cx.next_seed("more");
            // As drawing does.
            let rng = cx.rng();
            rng.set_word_pos(rng.get_word_pos().wrapping_add(16));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

protocols! {
    /// Ping alone.
    #[derive(Debug, Default)]
    pub struct Alone => AloneEvent {
        pub ping: ping::Ping => Ping,
    }
}

protocols! {
    /// Ping, and others that draw before and after it.
    #[derive(Debug, Default)]
    pub struct Crowded => CrowdedEvent {
        pub before: Greedy => Before,
        pub ping: ping::Ping => Ping,
        pub after: Greedy => After,
    }
}
