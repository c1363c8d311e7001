//! What requests and responses take of the heap: a million of them, and bodies of 1 GiB in pieces.
//!
//! Counted are the sizes asked of the allocator by each of two nodes, which are joined without a pipe: what one sends the
//! other takes at once.

use bytes::Bytes;
use drywire::{
    connection::{ConnectedPoint, ConnectionId, ReadError, WriteError},
    identity::{Keypair, PeerId},
    multistream::ProtocolName,
    node::{Node, NodeAction, NodeEvent},
    protocol::request_response::{
        BytesCodec, Config, Event, Message, ProtocolSupport, RequestOptions, RequestResponse,
    },
    seed::Seed,
    swarm::{self, Action, DialOptions, StreamRef, Swarm},
    time::{Instant, UnixTime},
};
use drywire_tests::heap::{self, Meter};
use std::time::Duration;

const NAME: ProtocolName = ProtocolName::from_static("/bytes/1");
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

type Bodies = RequestResponse<BytesCodec>;
type Happened = NodeEvent<Event<Bytes, Bytes>>;

/// Two nodes with one connection; the first one asks.
struct Two {
    nodes: [Node<Bodies>; 2],
    connections: [ConnectionId; 2],
    meters: [Meter; 2],
    answerer: PeerId,
    now: Instant,
    /// What each has sent, and how much of it the other has taken.
    sent: [(Vec<u8>, usize); 2],
    events: Vec<Happened>,
}

impl Two {
    fn new(config: &Config) -> Self {
        let now = Instant::ZERO;
        let unix = UnixTime::from_secs(1_800_000_000);
        let keys = [1, 2].map(|number| Keypair::ed25519_from_seed(&Seed::for_tests(number)));
        let answerer = keys[1].peer_id();
        let mut meters = [Meter::default(); 2];
        let mut number = 0;
        let mut nodes = keys.map(|key| {
            let protocol = Bodies::new([(NAME, ProtocolSupport::Full)], config.clone());
            let seed = Seed::for_tests(number as u64);
            let node = meters[number].run(|| {
                let config = swarm::Config::default();
                Node::new(Swarm::new(config, key, protocol, seed, now, unix).expect("valid"))
            });
            number += 1;
            node
        });
        let address = "/memory/1".parse().expect("an address");
        let to = DialOptions::peer(answerer).addresses([address]);
        nodes[0].dial(now, to).expect("nothing against it");
        let attempt = match nodes[0].poll_action() {
            Some(NodeAction::Swarm(Action::Dial { attempt, .. })) => attempt,
            other => panic!("{other:?}"),
        };
        let at = || "/memory/1".parse().expect("an address");
        let dialed = nodes[0]
            .handle_dialed(now, attempt, Ok(ConnectedPoint::dialed(at(), None)))
            .expect("still wanted");
        let accepted = nodes[1]
            .handle_accept(now, ConnectedPoint::accepted(at(), None))
            .expect("room for one");
        let mut two = Self {
            nodes,
            connections: [dialed, accepted],
            meters,
            answerer,
            now,
            sent: [0, 1].map(|_| (Vec::with_capacity(MIB), 0)),
            events: Vec::new(),
        };
        two.run();
        assert!(two.nodes[0].swarm().is_connected(&answerer));
        two
    }

    fn node<R>(&mut self, index: usize, act: impl FnOnce(&mut Node<Bodies>) -> R) -> R {
        self.meters[index].run(|| act(&mut self.nodes[index]))
    }

    /// Carries what there is once each way; whether there was anything. Requests are answered with themselves.
    fn turn(&mut self) -> bool {
        let mut progress = false;
        for index in [0, 1] {
            progress |= self.carry(index);
            progress |= self.hear(index);
        }
        progress
    }

    fn carry(&mut self, from: usize) -> bool {
        let (now, to) = (self.now, 1 - from);
        while let Some(action) = self.node(from, Node::poll_action) {
            let NodeAction::Transmit(_) = action else {
                continue;
            };
        }
        let (out, taken) = &mut self.sent[from];
        let connection = self.connections[from];
        if *taken == out.len() {
            out.clear();
            *taken = 0;
            if self.nodes[from].wants_transmit(connection) {
                self.meters[from].run(|| {
                    self.nodes[from].poll_transmit(now, connection, out, 256 * KIB);
                });
            }
        }
        // It may read no more for now.
        let (connection, rest) = (self.connections[to], &out[*taken..]);
        let more = self.meters[to].run(|| self.nodes[to].handle_input(now, connection, rest));
        *taken += more;
        more > 0
    }

    fn hear(&mut self, index: usize) -> bool {
        let mut progress = false;
        while let Some(event) = self.node(index, Node::poll_event) {
            progress = true;
            let now = self.now;
            match event {
                NodeEvent::Swarm(swarm::Event::Protocol(Event::Message {
                    message:
                        Message::Request {
                            request, channel, ..
                        },
                    ..
                })) if !request.is_empty() => self.node(index, |node| {
                    node.with(now, |bodies, cx| bodies.send_response(channel, request, cx))
                        .expect("in time");
                }),
                event => self.events.push(event),
            }
        }
        progress
    }

    fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.turn() {
                return;
            }
        }
        panic!("never quiet");
    }

    fn ask(&mut self, body: &Bytes, options: RequestOptions) {
        let (now, to) = (self.now, self.answerer);
        self.node(0, |node| {
            node.with(now, |bodies, cx| {
                bodies.send_request_with(&to, body.clone(), options, cx)
            })
            .expect("nothing against it");
        });
    }

    fn kept(&self) -> [isize; 2] {
        self.meters.map(|meter| meter.total.kept)
    }
}

/// Fails if anything of a request stays: in the protocol, the swarm, the connection or the muxer.
#[test]
fn a_million_requests_leave_the_heap_where_ten_left_it() {
    let count = std::env::var("DRYWIRE_REQUESTS").map_or(1_000_000, |text| {
        text.parse().expect("a number of requests")
    });
    let mut two = Two::new(&Config::default());
    let body = Bytes::from(vec![7; 32]);
    let mut answered = 0u32;
    let mut ask = |two: &mut Two, requests: u32| {
        for _ in 0..requests {
            two.ask(&body, RequestOptions::new());
        }
        two.run();
        let before = answered;
        for event in two.events.drain(..) {
            if let NodeEvent::Swarm(swarm::Event::Protocol(Event::Message {
                message: Message::Response { response, .. },
                ..
            })) = event
            {
                assert_eq!(response, body);
                answered += 1;
            }
        }
        assert_eq!(answered - before, requests);
        // Pings, and buffers that are given back, have their time too.
        two.now = two.now + Duration::from_millis(1);
        let now = two.now;
        for index in [0, 1] {
            two.node(index, |node| node.handle_timeout(now));
        }
        two.run();
        two.events.clear();
    };
    for _ in 0..10 {
        ask(&mut two, 10);
    }
    // Both nodes together: what one of them allocates the test may free.
    let (few, calls) = (heap::bytes(), two.meters.map(|meter| meter.total.calls));
    for _ in 0..count / 10 {
        ask(&mut two, 10);
    }
    let many = heap::bytes();
    let each =
        [0, 1].map(|side| (two.meters[side].total.calls - calls[side]) as f64 / f64::from(count));
    println!(
        "heap after 100 requests {few} B, after {count} more {many} B; allocations for each {each:?}"
    );
    assert!(many <= few + 1024, "{few} -> {many}");
}

/// Fails if a body is collected anywhere, or if a window grows for a reader that is the bottleneck.
#[test]
fn a_streamed_response_of_1_gib_takes_at_most_1_mib_on_each_side() {
    const LENGTH: usize = 1024 * MIB;
    for (slow, length) in [(false, LENGTH), (true, LENGTH / 16)] {
        let mut two = Two::new(&Config::default());
        let up = two.kept();
        two.ask(&Bytes::new(), RequestOptions::new().stream_response());
        two.run();
        let channel = two.events.iter().position(is_request).expect("it came");
        let NodeEvent::Swarm(swarm::Event::Protocol(Event::Message {
            message: Message::Request { channel, .. },
            ..
        })) = two.events.swap_remove(channel)
        else {
            panic!("a request")
        };
        let now = two.now;
        let writes = two
            .node(1, |node| {
                node.with(now, |bodies, cx| bodies.stream_response(channel, cx))
            })
            .expect("in time");
        let piece = vec![7; 64 * KIB];
        let (mut written, mut received) = (0, 0);
        let mut reads: Option<StreamRef> = None;
        let mut peaks = [0; 2];
        let mut ended = false;
        for turn in 0.. {
            assert!(
                turn < 50_000_000,
                "{received} of {length} after {turn} turns"
            );
            written += two.node(1, |node| write(node, writes, &piece, length - written));
            two.turn();
            if reads.is_none()
                && let Some((stream, first)) = begun(&mut two.events)
            {
                received += first;
                reads = Some(stream);
            }
            // A slow reader takes a little now and then.
            let most = if slow { 4 * KIB } else { usize::MAX };
            if let Some(stream) = reads.filter(|_| !slow || turn % 4 == 0) {
                let (read, end) = two.node(0, |node| read(node, stream, most));
                (received, ended) = (received + read, end);
            }
            for side in [0, 1] {
                peaks[side] = peaks[side].max(two.kept()[side] - up[side]);
            }
            two.now = two.now + Duration::from_micros(100);
            if ended {
                break;
            }
        }
        assert_eq!((written, received), (length, length));
        let peaks = peaks.map(|peak| peak / KIB as isize);
        println!(
            "{} MiB, slow reader: {slow}: at most {peaks:?} KiB more than before",
            length / MIB
        );
        assert!(peaks.iter().all(|peak| *peak <= 1024), "{peaks:?} KiB");
    }
}

/// A peer that asks for much and reads nothing, as rust-libp2p does with a response above its cap, holds up that response
/// alone. Fails if what it does not read counts against what this node may have under way on the connection.
#[test]
fn a_response_that_is_not_read_holds_up_nothing_else() {
    const LENGTH: usize = 3 * MIB;
    let mut two = Two::new(&Config::default());
    let mut unread = Vec::new();
    for _ in 0..8 {
        two.ask(&Bytes::new(), RequestOptions::new().stream_response());
        two.run();
        let asked = two.events.iter().position(is_request).expect("it came");
        let NodeEvent::Swarm(swarm::Event::Protocol(Event::Message {
            message: Message::Request { channel, .. },
            ..
        })) = two.events.swap_remove(asked)
        else {
            panic!("a request")
        };
        let (now, body) = (two.now, Bytes::from(vec![7; LENGTH]));
        two.node(1, |node| {
            node.with(now, |bodies, cx| bodies.send_response(channel, body, cx))
                .expect("in time");
        });
        two.run();
        unread.push(begun(&mut two.events).expect("it has begun"));
    }
    // The other way round, and on.
    let asker = two.nodes[0].swarm().local_peer_id();
    let body = Bytes::from(vec![9; 10 * KIB]);
    for number in 0..100 {
        let now = two.now;
        two.node(1, |node| {
            node.with(now, |bodies, cx| {
                bodies.send_request(&asker, body.clone(), cx)
            })
            .expect("nothing against it");
        });
        two.ask(&body, RequestOptions::new());
        two.run();
        let answered = two.events.drain(..).filter(|event| {
            matches!(event, NodeEvent::Swarm(swarm::Event::Protocol(Event::Message {
                message: Message::Response { response, .. },
                ..
            })) if *response == body)
        });
        assert_eq!(answered.count(), 2, "round {number}");
    }
    // And whoever reads at last gets all of it.
    for (stream, mut received) in unread {
        for _ in 0..1000 {
            let (read, end) = two.node(0, |node| read(node, stream, usize::MAX));
            received += read;
            two.run();
            if end {
                break;
            }
        }
        assert_eq!(received, LENGTH);
    }
    assert!(
        two.nodes
            .iter()
            .all(|node| node.audit_connections().is_ok())
    );
}

fn is_request(event: &Happened) -> bool {
    matches!(
        event,
        NodeEvent::Swarm(swarm::Event::Protocol(Event::Message {
            message: Message::Request { .. },
            ..
        }))
    )
}

/// The stream of the response that has begun, and how many bytes came with it.
fn begun(events: &mut Vec<Happened>) -> Option<(StreamRef, usize)> {
    events.drain(..).find_map(|event| match event {
        NodeEvent::Swarm(swarm::Event::Protocol(Event::ResponseStream {
            stream, first, ..
        })) => Some((stream, first.len())),
        _ => None,
    })
}

/// Writes as much as there is room for, and finishes after the last byte; returns how much that was.
fn write(node: &mut Node<Bodies>, to: StreamRef, piece: &[u8], left: usize) -> usize {
    let Some(mut stream) = node.stream(to.connection, to.stream) else {
        return 0;
    };
    let mut written = 0;
    while written < left {
        // Copied, so that what waits is counted.
        match stream.write(&piece[..piece.len().min(left - written)]) {
            Ok(count) => written += count,
            Err(WriteError::Blocked) => return written,
            Err(error) => panic!("{error}"),
        }
    }
    stream.finish().expect("all written");
    written
}

/// Reads what there is, at most so much; and whether that was the end.
fn read(node: &mut Node<Bodies>, from: StreamRef, most: usize) -> (usize, bool) {
    let Some(mut stream) = node.stream(from.connection, from.stream) else {
        return (0, true);
    };
    let mut count = 0;
    while count < most {
        match stream.read((most - count).min(64 * KIB)) {
            Ok(Some(bytes)) => {
                assert!(bytes.iter().all(|byte| *byte == 7));
                count += bytes.len();
            }
            Ok(None) => return (count, true),
            Err(ReadError::Blocked) => break,
            Err(error) => panic!("{error}"),
        }
    }
    (count, false)
}
