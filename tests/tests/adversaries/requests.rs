//! Peers that mean harm to a node which asks and answers requests, over real connections.

use crate::{SECOND, address};
use bytes::Bytes;
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    identity::PeerId,
    multistream::ProtocolName,
    mux::yamux::{Flags, Header, Kind},
    node::{Node, NodeAction, NodeEvent},
    protocol::request_response::{
        BytesCodec, Config, Event, InboundFailure, InboundRequestId, Message, OutboundFailure,
        OutboundRequestId, ProtocolSupport, Refusal, RequestResponse, ResponseChannel, Statistics,
    },
    seed::Seed,
    swarm::{self, Swarm},
    time::{Instant, UnixTime},
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::Secure,
    site,
    victim::Target,
};
use std::{collections::BTreeMap, time::Duration};

const NAME: &str = "/ask/1";

type Bodies = RequestResponse<BytesCodec>;

/// A node that asks and is asked; its application answers what it is told to.
struct Office {
    node: Node<Bodies>,
    now: Instant,
    /// What each peer has been sent and has not looked at.
    sent: BTreeMap<ConnectionId, Vec<u8>>,
    closed: usize,
    asked: Vec<(InboundRequestId, Bytes, ResponseChannel<Bytes>)>,
    answers: Vec<(OutboundRequestId, Bytes)>,
    failures: Vec<(OutboundRequestId, OutboundFailure)>,
    unanswered: Vec<InboundFailure>,
}

impl Office {
    fn new(config: Config) -> Self {
        let (now, unix) = (Instant::ZERO, UnixTime::from_secs(1_800_000_000));
        let names = [(ProtocolName::from_static(NAME), ProtocolSupport::Full)];
        let (protocol, seed) = (Bodies::new(names, config), Seed::for_tests(5));
        let config = swarm::Config::default();
        let swarm = Swarm::new(config, site::key(), protocol, seed, now, unix);
        Self {
            node: Node::new(swarm.expect("ring works")),
            now,
            sent: BTreeMap::new(),
            closed: 0,
            asked: Vec::new(),
            answers: Vec::new(),
            failures: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// A peer from a host of its own, that can open streams.
    fn visitor(&mut self, number: u32) -> Visitor {
        let point = ConnectedPoint::accepted(address(number), None);
        let connection = self.node.handle_accept(self.now, point).expect("room");
        self.sent.insert(connection, Vec::new());
        self.turn();
        let mut door = Door {
            office: self,
            connection,
        };
        let hostile = Hostile::dial(&mut door, Secure::Noise, u64::from(number));
        Visitor {
            connection,
            peer: Hostile::identity(u64::from(number)).peer_id(),
            hostile,
            next: 1,
        }
    }

    fn turn(&mut self) {
        for _ in 0..10_000 {
            let mut busy = false;
            while let Some(event) = self.node.poll_event() {
                busy = true;
                self.note(event);
            }
            while let Some(action) = self.node.poll_action() {
                busy = true;
                match action {
                    NodeAction::Transmit(connection) => {
                        if let Some(sent) = self.sent.get_mut(&connection) {
                            self.node
                                .poll_transmit(self.now, connection, sent, 256 * 1024);
                        }
                    }
                    NodeAction::Close(connection) => {
                        self.closed += 1;
                        self.node.handle_closed(self.now, connection);
                    }
                    NodeAction::Swarm(other) => self.node.handle_unsupported(self.now, other),
                    other => unreachable!("{other:?}"),
                }
            }
            if !busy {
                return;
            }
        }
        panic!("never rests");
    }

    fn note(&mut self, event: NodeEvent<Event<Bytes, Bytes>>) {
        let NodeEvent::Swarm(swarm::Event::Protocol(event)) = event else {
            return;
        };
        match event {
            Event::Message { message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                    ..
                } => self.asked.push((request_id, request, channel)),
                Message::Response {
                    request_id,
                    response,
                } => self.answers.push((request_id, response)),
            },
            Event::OutboundFailure {
                request_id, error, ..
            } => self.failures.push((request_id, error)),
            Event::InboundFailure { error, .. } => self.unanswered.push(error),
            _ => {}
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        self.turn();
        for _ in 0..10_000 {
            let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            self.turn();
        }
        panic!("law 4: a deadline that stays");
    }

    fn ask(&mut self, peer: &PeerId, body: &'static str) -> Result<OutboundRequestId, Refusal> {
        let body = Bytes::from_static(body.as_bytes());
        let ask = |bodies: &mut Bodies, cx: &mut swarm::Context<'_, _>| {
            bodies.send_request(peer, body, cx)
        };
        let asked = self.node.with(self.now, ask);
        self.turn();
        asked.map_err(|error| error.reason)
    }

    /// Answers the oldest request that waits.
    fn answer(&mut self, body: &'static str) {
        let (_, _, channel) = self.asked.remove(0);
        let body = Bytes::from_static(body.as_bytes());
        let answered = self.node.with(self.now, |bodies, cx| {
            bodies.send_response(channel, body, cx)
        });
        answered.expect("still wanted");
        self.turn();
    }

    fn protocol(&self) -> &Bodies {
        self.node.swarm().protocols()
    }

    fn statistics(&self) -> Statistics {
        self.protocol().statistics()
    }
}

/// The far end of a connection.
struct Door<'a> {
    office: &'a mut Office,
    connection: ConnectionId,
}

impl Target for Door<'_> {
    fn input(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (node, now) = (&mut self.office.node, self.office.now);
            let taken = node.handle_input(now, self.connection, bytes);
            bytes = &bytes[taken..];
            self.office.turn();
            if taken == 0 {
                return;
            }
        }
    }

    fn sent(&mut self) -> Vec<u8> {
        self.office.turn();
        let sent = self.office.sent.get_mut(&self.connection);
        sent.map(std::mem::take).unwrap_or_default()
    }
}

struct Visitor {
    connection: ConnectionId,
    peer: PeerId,
    hostile: Hostile,
    next: u32,
}

impl Visitor {
    fn say(&mut self, office: &mut Office, flags: Flags, stream: u32, bytes: &[u8]) {
        let mut door = Door {
            office,
            connection: self.connection,
        };
        self.hostile
            .send(&mut door, &hostile::data(flags, stream, bytes));
    }

    /// Opens a stream and says so much of a request; all of it, if `whole`.
    fn begin(&mut self, office: &mut Office, body: &[u8], whole: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        let flags = if whole {
            Flags::SYN.with(Flags::FIN)
        } else {
            Flags::SYN
        };
        let said = [&hostile::propose(NAME), body].concat();
        self.say(office, flags, stream, &said);
        stream
    }

    fn frames(&mut self, office: &mut Office) -> Vec<(Header, Vec<u8>)> {
        let mut door = Door {
            office,
            connection: self.connection,
        };
        self.hostile.frames(&mut door)
    }

    /// The streams the node has reset since it was looked last.
    fn resets(&mut self, office: &mut Office) -> Vec<u32> {
        let frames = self.frames(office).into_iter();
        frames
            .filter(|(header, _)| header.flags.has(Flags::RST))
            .map(|(header, _)| header.stream)
            .collect()
    }

    /// What the node has said on its own streams since it was looked last.
    fn questions(&mut self, office: &mut Office) -> BTreeMap<u32, Vec<u8>> {
        let mut questions: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for (header, bytes) in self.frames(office) {
            if header.kind == Kind::Data && header.stream % 2 == 0 && header.stream > 0 {
                questions.entry(header.stream).or_default().extend(bytes);
            }
        }
        questions
    }

    /// Answers the one question the node has asked since it was looked last.
    fn answer(&mut self, office: &mut Office, question: &str, answer: &str) {
        let questions = self.questions(office);
        assert_eq!(questions.len(), 1, "{questions:?}");
        let (stream, said) = questions.into_iter().next().expect("one");
        assert!(said.ends_with(question.as_bytes()), "{said:?}");
        let said = [&hostile::propose(NAME), answer.as_bytes()].concat();
        self.say(office, Flags::ACK.with(Flags::FIN), stream, &said);
    }

    /// Asks, and is answered.
    fn is_served(&mut self, office: &mut Office) {
        let waiting = office.asked.len();
        let stream = self.begin(office, b"a fair question", true);
        assert_eq!(office.asked.len(), waiting + 1, "it is heard");
        let asked = office.asked.pop().expect("one");
        office.asked.insert(0, asked);
        office.answer("a fair answer");
        let mut door = Door {
            office,
            connection: self.connection,
        };
        let answer = self.hostile.data(&mut door, stream);
        assert!(answer.ends_with(b"a fair answer"), "{answer:?}");
    }
}

/// A peer holds all the places it may have with requests it does not finish. The node still asks it and is answered, other
/// peers are served, one more is reset, and when their time is over the places are free.
///
/// Fails if both directions share their places, if all peers do, and if one more is let in.
#[test]
fn half_sent_requests_take_only_the_peers_own_places() {
    let mut office = Office::new(Config::default());
    let (mut slow, mut fair) = (office.visitor(1), office.visitor(2));
    for _ in 0..64 {
        slow.begin(&mut office, b"h", false);
    }
    assert!(slow.resets(&mut office).is_empty());
    let surplus = slow.begin(&mut office, b"h", false);
    assert_eq!(slow.resets(&mut office), [surplus]);
    assert_eq!(office.statistics().refused_for_capacity, 1);
    let peer = slow.peer;
    let id = office.ask(&peer, "are you there?").expect("room");
    slow.answer(&mut office, "are you there?", "yes");
    assert_eq!(office.answers, [(id, Bytes::from_static(b"yes"))]);
    fair.is_served(&mut office);
    assert!(office.asked.is_empty() && office.failures.is_empty());

    office.wait(SECOND * 10);
    assert_eq!(office.statistics().late, 64);
    assert_eq!(slow.resets(&mut office).len(), 64);
    assert_eq!(office.closed, 0, "the connection goes on");
    slow.is_served(&mut office);
}

/// One byte of a request now and then keeps its place for `request_timeout` and no longer.
///
/// Fails if what arrives puts the deadline off.
#[test]
fn a_request_that_trickles_in_is_ended_at_its_deadline() {
    let mut config = Config::default();
    config.max_inbound = 1;
    let mut office = Office::new(config);
    let mut slow = office.visitor(1);
    let stream = slow.begin(&mut office, b"h", false);
    for _ in 0..9 {
        office.wait(SECOND);
        slow.say(&mut office, Flags::NONE, stream, b"m");
    }
    office.wait(SECOND - Duration::from_nanos(1));
    assert!(slow.resets(&mut office).is_empty());
    let surplus = slow.begin(&mut office, b"h", true);
    assert_eq!(slow.resets(&mut office), [surplus], "its place is taken");
    assert_eq!(office.statistics().refused_for_capacity, 1);
    office.wait(Duration::from_nanos(1));
    assert_eq!(slow.resets(&mut office), [stream]);
    assert_eq!(office.statistics().late, 1);
    assert!(office.asked.is_empty() && office.unanswered.is_empty());
    // More of it is of no use.
    slow.say(&mut office, Flags::FIN, stream, b"m");
    assert!(office.asked.is_empty());
    slow.is_served(&mut office);
}

/// Requests that the application has not answered hold no more bytes than they may, of all peers together; and when one is
/// answered there is room again.
#[test]
fn unanswered_requests_hold_so_many_bytes() {
    let mut config = Config::default();
    config.max_held_bytes = 1000;
    let mut office = Office::new(config);
    let (mut first, mut second) = (office.visitor(1), office.visitor(2));
    first.begin(&mut office, &[7; 400], true);
    second.begin(&mut office, &[7; 600], true);
    assert_eq!(office.protocol().held_bytes(), 1000);
    let surplus = second.begin(&mut office, b"h", true);
    assert_eq!(second.resets(&mut office), [surplus]);
    assert_eq!(office.statistics().refused_for_bytes, 1);
    assert_eq!(office.asked.len(), 2);
    office.answer("no");
    assert!(office.protocol().held_bytes() <= 602);
    second.begin(&mut office, &[7; 100], true);
    assert_eq!(office.asked.len(), 2);
    // Those the application forgets are let go when their time is over.
    office.wait(SECOND * 10);
    assert_eq!(office.protocol().held_bytes(), 0);
    assert_eq!(office.unanswered, [const { InboundFailure::Timeout }; 2]);
}

/// A request that is longer than it may be is reset before it is whole, and its place is free.
#[test]
fn a_request_that_is_too_long_costs_its_stream() {
    let mut config = Config::default().with_max_request_len(1000);
    config.max_inbound = 1;
    let mut office = Office::new(config);
    let mut verbose = office.visitor(1);
    verbose.begin(&mut office, &[7; 1000], true);
    assert_eq!(office.asked.len(), 1, "so long it may be");
    office.answer("yes");
    verbose.frames(&mut office);
    let stream = verbose.begin(&mut office, &[7; 1001], false);
    assert_eq!(verbose.resets(&mut office), [stream]);
    assert_eq!(office.statistics().too_large, 1);
    verbose.is_served(&mut office);
    assert_eq!(office.closed, 0);
}

/// A peer that answers nothing is asked so much at once, so much waits, and more is refused at once. Each request has its one
/// failure when its time is over; other peers are asked all the while.
#[test]
fn a_peer_that_never_answers_holds_up_so_many_requests() {
    let mut config = Config::default();
    config.max_outbound = 2;
    config.max_queued_per_peer = 3;
    let mut office = Office::new(config);
    let (mut silent, mut fair) = (office.visitor(1), office.visitor(2));
    let peer = silent.peer;
    let asked: Vec<OutboundRequestId> = (0..5)
        .map(|_| office.ask(&peer, "well?").expect("room"))
        .collect();
    assert_eq!(office.ask(&peer, "well?"), Err(Refusal::QueueFull));
    assert_eq!(silent.questions(&mut office).len(), 2);
    let peer = fair.peer;
    let id = office.ask(&peer, "and you?").expect("room");
    fair.answer(&mut office, "and you?", "fine");
    assert_eq!(office.answers, [(id, Bytes::from_static(b"fine"))]);
    assert!(office.failures.is_empty());

    office.wait(SECOND * 10);
    let late = |failure| matches!(failure, &OutboundFailure::Timeout(_));
    assert!(office.failures.iter().all(|(_, failure)| late(failure)));
    let mut failed: Vec<OutboundRequestId> = office.failures.iter().map(|(id, _)| *id).collect();
    failed.sort_unstable();
    assert_eq!(failed, asked, "once each");
    assert_eq!(office.protocol().pending_outbound(), 0);
    assert_eq!(office.protocol().held_bytes(), 0);
}
