mod telling;

use super::{message::*, *};
use crate::{
    connection::{StreamId, ToConnectionMessage},
    node::net::{Net, address as node_address, peer as node_peer},
    protocol::{
        Standard, StandardEvent,
        bench::{Bench, address, key, peer},
    },
    record::{PeerRecord, SignedEnvelope},
    swarm::{Config as SwarmConfig, SecurityConfig},
    wire::protobuf::Writer,
};
use proptest::prelude::*;
use std::{format, string::ToString, vec};

const REMOTE: &str = "/ip4/8.8.8.8/tcp/9";

/// A message that says `listen` and `names`, and has `more` at its end.
fn message(listen: &[&str], names: &[&str], more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut message = Vec::new();
    let mut writer = Writer::new(&mut message);
    for text in listen {
        writer.bytes(LISTEN_ADDRESSES, address(text).as_bytes());
    }
    for name in names {
        writer.string(PROTOCOLS, name);
    }
    more(&mut writer);
    message
}

fn record(signer: u64, sequence: u64, listen: &[&str]) -> Vec<u8> {
    let listen: Vec<_> = listen.iter().map(|text| address(text)).collect();
    PeerRecord::seal(&key(signer), sequence, &listen).unwrap()
}

struct Peer {
    bench: Bench<Identify>,
    connection: ConnectionId,
    /// The stream on which the peer was asked.
    asked: StreamId,
}

impl Peer {
    fn at(remote: &str) -> Self {
        Self::with(Config::default(), remote, Direction::Inbound)
    }

    fn with(config: Config, remote: &str, direction: Direction) -> Self {
        let mut bench = Bench::new(Identify::new(config));
        bench.listen("/ip4/127.0.0.1/tcp/4001");
        bench.listen("/ip4/192.0.2.99/tcp/4001");
        bench.listen("/ip6/2001:db8::99/tcp/4001");
        bench.wait(Duration::from_secs(1));
        let connection = bench.connect(1, remote, direction);
        let opened = bench.opened();
        assert_eq!(opened[0].2, PROTOCOL);
        Self {
            bench,
            connection,
            asked: opened[0].1,
        }
    }

    fn answers(&mut self, parts: &[Vec<u8>]) -> Vec<Event> {
        let asked = self.asked;
        self.says(asked, parts)
    }

    fn says(&mut self, stream: StreamId, parts: &[Vec<u8>]) -> Vec<Event> {
        for part in parts {
            self.bench.data(self.connection, stream, part);
        }
        self.bench.finish(self.connection, stream);
        self.bench
            .ended(self.connection, stream, StreamEnd::Finished);
        self.bench.events()
    }

    fn pushes(&mut self, parts: &[Vec<u8>]) -> Vec<Event> {
        let stream = self.bench.inbound(self.connection, PUSH_PROTOCOL);
        self.says(stream, parts)
    }

    /// Asks again; returns the stream.
    fn ask(&mut self) -> StreamId {
        let connection = self.connection;
        assert!(self.bench.run(|identify, cx| identify.ask(connection, cx)));
        self.bench.opened()[0].1
    }

    fn known(&self) -> Vec<String> {
        self.bench
            .swarm
            .addresses(&peer(1))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn info(&self) -> Info {
        self.bench
            .swarm
            .protocols()
            .info(self.connection)
            .unwrap()
            .clone()
    }

    /// What this node tells the peer.
    fn told(&mut self) -> (Bytes, Info) {
        let stream = self.bench.inbound(self.connection, PROTOCOL);
        let sent = self.bench.sent(stream);
        assert_eq!(sent.len(), 1);
        let (info, _) = read(&sent[0], self.bench.swarm.local_peer_id(), None, |_| None).unwrap();
        (sent[0].clone(), info)
    }
}

fn received(events: &[Event]) -> Info {
    match events {
        [Event::Received { info, .. }] => (**info).clone(),
        other => panic!("{other:?}"),
    }
}

fn failure(events: &[Event]) -> Error {
    match events {
        [Event::Failed { error, .. }] => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_learn_of_each_other_and_hear_of_changes() {
    let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    let mut net = Net::new(3, &config, |_| Standard::default());
    net.run_for(Duration::from_secs(1));
    net.connect(0, 1);
    net.connect(2, 1);
    for (number, other) in [(0, 1), (1, 0), (1, 2)] {
        let swarm = net.nodes[number].swarm();
        assert_eq!(
            swarm.peer_protocols(&node_peer(other)).map(<[_]>::len),
            Some(3)
        );
        assert_eq!(swarm.addresses(&node_peer(other)), [node_address(other)]);
    }
    net.run_for(Duration::from_secs(1));
    net.told(0);
    let chat = ProtocolName::from_static("/chat/1");
    let now = net.now;
    net.nodes[1].with(now, |set, cx| {
        set.streams(cx, |streams, cx| {
            streams.register(chat.clone(), cx).unwrap();
            streams
                .register(ProtocolName::from_static("/chat/2"), cx)
                .unwrap();
        });
    });
    net.settle();
    assert_eq!(net.told(0).len(), 0, "not at once: more may change");
    net.run_for(Duration::from_millis(200));
    let told = net.told(0);
    let pushed = told
        .iter()
        .filter(|event| matches!(event, StandardEvent::Identify(Event::Received { .. })));
    assert_eq!(pushed.count(), 1, "all changes together: {told:?}");
    assert!(
        net.nodes[0]
            .swarm()
            .peer_protocols(&node_peer(1))
            .unwrap()
            .contains(&chat)
    );
    assert!(
        net.nodes[2]
            .swarm()
            .peer_protocols(&node_peer(1))
            .unwrap()
            .contains(&chat)
    );
    let pushes = net
        .told(1)
        .into_iter()
        .filter(|event| matches!(event, StandardEvent::Identify(Event::Pushed { .. })));
    assert_eq!(pushes.count(), 2);
}

#[test]
fn parts_are_merged_however_they_are_cut() {
    let whole = message(
        &["/ip4/8.8.4.4/tcp/1", "/ip4/1.1.1.1/tcp/1"],
        &["/a", "/b", "/c"],
        |writer| {
            writer.bytes(PUBLIC_KEY, &key(1).public().to_protobuf());
            writer.string(AGENT_VERSION, "tester/1");
            writer.bytes(SIGNED_PEER_RECORD, &record(1, 5, &["/ip4/8.8.4.4/tcp/1"]));
        },
    );
    let expected = received(&Peer::at(REMOTE).answers(std::slice::from_ref(&whole)));
    assert_eq!(
        (
            expected.protocols.len(),
            expected.certified,
            expected.agent_version.as_str()
        ),
        (3, true, "tester/1")
    );
    assert_eq!(expected.public_key, Some(key(1).public()));
    for cut in 0..=whole.len() {
        let (head, tail) = whole.split_at(cut);
        let parts = [head.to_vec(), tail.to_vec()];
        assert_eq!(
            received(&Peer::at(REMOTE).answers(&parts)),
            expected,
            "cut at {cut}"
        );
    }
}

#[test]
fn what_a_peer_says_is_bounded() {
    let mut peer_ = Peer::at(REMOTE);
    let parts: Vec<_> = (0..10)
        .map(|part| {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            for number in 0..180 {
                writer.string(PROTOCOLS, &format!("/protocol/{part}/{number}"));
                writer.bytes(
                    LISTEN_ADDRESSES,
                    address(&format!("/ip4/8.{part}.1.{number}/tcp/1")).as_bytes(),
                );
            }
            writer.string(AGENT_VERSION, &"x".repeat(1000));
            assert!(bytes.len() <= MAX_PART as usize);
            bytes
        })
        .collect();
    let info = received(&peer_.answers(&parts));
    assert_eq!(
        (
            info.protocols.len(),
            info.listen_addresses.len(),
            info.agent_version.len()
        ),
        (128, 64, 256)
    );
    assert_eq!(
        (
            peer_.known().len(),
            peer_.bench.swarm.peer_protocols(&peer(1)).unwrap().len()
        ),
        (64, 128)
    );
    assert_eq!(peer_.bench.swarm.protocols().waiting, 0);
    let again = peer_.ask();
    let mut eleven = parts;
    eleven.push(Vec::new());
    for part in &eleven {
        peer_.bench.data(peer_.connection, again, part);
    }
    assert_eq!(failure(&peer_.bench.events()), Error::TooManyParts);
    assert!(
        matches!(peer_.bench.told().as_slice(), [(_, ToConnectionMessage::Reset { stream, .. })] if *stream == again)
    );
    assert_eq!(
        (
            peer_.bench.swarm.protocols().waiting,
            peer_.bench.swarm.protocols().exchanges.len()
        ),
        (0, 0)
    );
}

#[test]
fn unfinished_messages_of_all_peers_together_are_bounded() {
    let mut bench = Bench::new(Identify::default());
    let part = vec![0x0a; 8 * 1024];
    let mut failed = 0;
    for number in 0..60 {
        let connection = bench.connect(number, "/memory/1", Direction::Inbound);
        let (_, asked, _) = bench.opened()[0].clone();
        for _ in 0..10 {
            bench.data(connection, asked, &part);
        }
        bench.told();
        failed += bench.events().len();
        assert!(bench.swarm.protocols().waiting <= MAX_WAITING);
    }
    assert_eq!(failed, 60 - MAX_WAITING / (80 * 1024));
    bench.wait(Duration::from_secs(10));
    assert_eq!(
        (
            bench.swarm.protocols().waiting,
            bench.swarm.protocols().exchanges.len()
        ),
        (0, 0)
    );
}

#[test]
fn a_key_that_is_not_the_peers_voids_the_message() {
    for (other, expected) in [
        (key(2).public().to_protobuf(), MessageError::OtherKey),
        (
            vec![8, 99, 18, 0],
            MessageError::Key(crate::identity::KeyError::UnknownType(99)),
        ),
    ] {
        let mut peer_ = Peer::at(REMOTE);
        let bytes = message(&["/ip4/8.8.4.4/tcp/1"], &["/a"], |writer| {
            writer.bytes(PUBLIC_KEY, &other);
        });
        assert_eq!(failure(&peer_.answers(&[bytes])), Error::Message(expected));
        assert_eq!(
            (peer_.known(), peer_.bench.swarm.peer_protocols(&peer(1))),
            (vec![], None)
        );
    }
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let mut peer_ = Peer::at(REMOTE);
    let named = format!("/ip4/8.8.4.4/tcp/2/p2p/{}", peer(1));
    let other = format!("/ip4/8.8.4.4/tcp/3/p2p/{}", peer(2));
    let bytes = message(
        &["/ip4/8.8.4.4/tcp/1", &named, &other],
        &["/a", "no name", "/a"],
        |writer| {
            writer.bytes(LISTEN_ADDRESSES, &[0xff; 5]);
            writer.bytes(PROTOCOLS, &[0xff; 5]);
            writer.bytes(OBSERVED_ADDRESS, b"nonsense");
            writer.uint64(77, 1);
        },
    );
    let info = received(&peer_.answers(&[bytes]));
    assert_eq!(info.protocols, [ProtocolName::from_static("/a")]);
    assert_eq!(peer_.known(), ["/ip4/8.8.4.4/tcp/1", "/ip4/8.8.4.4/tcp/2"]);
    assert_eq!(info.observed_address, None);
    let again = peer_.ask();
    assert!(matches!(
        failure(&peer_.says(again, &[vec![0x0a, 0xff]])),
        Error::Message(MessageError::Malformed(_))
    ));
    let again = peer_.ask();
    assert_eq!(failure(&peer_.says(again, &[])), Error::Empty);
}

/// A record counts if the peer signed it about itself; one by or about another voids all addresses; one that cannot be
/// checked is as none.
#[test]
fn records_are_bound_to_the_peer() {
    let unsigned = ["/ip4/8.8.4.4/tcp/1"];
    let with = |record: &[u8]| {
        message(&unsigned, &["/a"], |writer| {
            writer.bytes(SIGNED_PEER_RECORD, record);
        })
    };
    let certified = ["/ip4/1.1.1.1/tcp/1"];
    let mut forged = record(1, 5, &certified);
    *forged.last_mut().unwrap() ^= 1;
    let legacy = {
        let mut payload = Vec::new();
        let mut writer = Writer::new(&mut payload);
        writer.bytes(1, peer(1).as_bytes()).uint64(2, 5);
        writer.message(3, |writer| {
            writer.bytes(1, address(certified[0]).as_bytes());
        });
        let kind = b"/libp2p/routing-state-record";
        SignedEnvelope::seal(&key(1), "libp2p-routing-state", kind, &payload).to_protobuf()
    };
    let about_another = {
        let mut payload = Vec::new();
        Writer::new(&mut payload)
            .bytes(1, peer(2).as_bytes())
            .uint64(2, 5);
        SignedEnvelope::seal(&key(1), "libp2p-peer-record", &[3, 1], &payload).to_protobuf()
    };
    let table: [(&str, Vec<u8>, &[&str], bool); 6] = [
        ("own", record(1, 5, &certified), &certified, true),
        ("own, legacy domain", legacy, &certified, true),
        ("of another peer", record(2, 5, &certified), &[], false),
        ("about another peer", about_another, &[], false),
        ("forged", forged, &unsigned, false),
        ("garbage", vec![1, 2, 3], &unsigned, false),
    ];
    for (what, record, expected, certified) in table {
        let mut peer_ = Peer::at(REMOTE);
        let info = received(&peer_.answers(&[with(&record)]));
        assert_eq!(
            (peer_.known(), info.certified),
            (
                expected.iter().map(ToString::to_string).collect(),
                certified
            ),
            "{what}"
        );
    }
}

/// A signature adds nothing to what the peer has said beside it on a connection of its own.
#[test]
fn a_record_that_says_the_same_as_the_list_is_taken_as_it_is() {
    let listen = ["/ip4/8.8.4.4/tcp/1", "/ip4/1.1.1.1/tcp/1"];
    let mut unsigned = record(1, 5, &listen);
    *unsigned.last_mut().unwrap() ^= 1;
    let of_another = record(2, 5, &listen);
    for (record, certified) in [
        (record(1, 5, &listen), true),
        (unsigned, true),
        (of_another, false),
    ] {
        let mut peer_ = Peer::at(REMOTE);
        let info = received(&peer_.answers(&[message(&listen, &["/a"], |writer| {
            writer.bytes(SIGNED_PEER_RECORD, &record);
        })]));
        assert_eq!(
            (info.certified, peer_.known().len()),
            (certified, if certified { 2 } else { 0 })
        );
    }
}

/// Records of made-up peers are stored nowhere, however many come.
#[test]
fn foreign_records_are_not_stored() {
    let mut peer_ = Peer::at(REMOTE);
    for number in 0..1000 {
        let foreign = record(2 + number, 5, &["/ip4/1.1.1.1/tcp/1"]);
        let bytes = message(&[], &[], |writer| {
            writer.bytes(SIGNED_PEER_RECORD, &foreign);
        });
        peer_.bench.wait(PUSH_INTERVAL);
        peer_.pushes(&[bytes]);
        peer_.bench.told();
    }
    assert_eq!(peer_.bench.swarm.known_peers(), 0);
}

#[test]
fn an_older_record_does_not_replace_a_newer_one() {
    let mut peer_ = Peer::at(REMOTE);
    let with = |sequence, listen: &str| {
        let record = record(1, sequence, &[listen]);
        message(&[], &[], |writer| {
            writer.bytes(SIGNED_PEER_RECORD, &record);
        })
    };
    peer_.answers(&[with(5, "/ip4/1.1.1.1/tcp/5")]);
    peer_.pushes(&[with(4, "/ip4/1.1.1.1/tcp/4")]);
    assert_eq!(peer_.known(), ["/ip4/1.1.1.1/tcp/5"]);
    peer_.pushes(&[with(6, "/ip4/1.1.1.1/tcp/6")]);
    assert_eq!(
        peer_.known(),
        ["/ip4/1.1.1.1/tcp/6"],
        "the old ones are forgotten"
    );
}

#[test]
fn only_addresses_that_make_sense_from_here_are_kept() {
    let all = [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/1.1.1.1/tcp/1",
    ];
    for (remote, expected) in [
        ("/ip4/127.0.0.1/tcp/9", &all[..]),
        ("/ip4/10.0.0.9/tcp/9", &all[1..]),
        (REMOTE, &all[2..]),
    ] {
        let mut peer_ = Peer::at(remote);
        peer_.answers(&[message(&all, &[], |_| {})]);
        assert_eq!(peer_.known(), expected, "over {remote}");
    }
}

#[test]
fn a_push_says_what_has_changed_and_the_rest_stays() {
    let mut peer_ = Peer::at(REMOTE);
    peer_.answers(&[message(&["/ip4/1.1.1.1/tcp/1"], &["/a"], |writer| {
        writer.string(AGENT_VERSION, "one");
    })]);
    let info = received(&peer_.pushes(&[message(&[], &["/b"], |_| {})]));
    assert_eq!(
        (info.agent_version.as_str(), info.listen_addresses.len()),
        ("one", 1)
    );
    assert_eq!(info.protocols, [ProtocolName::from_static("/b")]);
    assert_eq!((peer_.known().len(), peer_.info()), (1, info));
    let info = received(&peer_.pushes(&[message(&["/ip4/1.1.1.1/tcp/2"], &[], |_| {})]));
    assert_eq!(info.protocols, [ProtocolName::from_static("/b")]);
    assert_eq!(peer_.known(), ["/ip4/1.1.1.1/tcp/2"]);
    // An answer says it all.
    let again = peer_.ask();
    let info = received(&peer_.says(
        again,
        &[message(&[], &[], |writer| {
            writer.string(AGENT_VERSION, "two");
        })],
    ));
    assert_eq!((info.protocols.len(), info.listen_addresses.len()), (0, 0));
}

#[test]
fn pushes_of_a_peer_are_limited_in_number() {
    let mut peer_ = Peer::at(REMOTE);
    peer_.answers(&[message(&[], &["/a"], |_| {})]);
    let push = |peer_: &mut Peer| peer_.pushes(&[message(&[], &["/a"], |_| {})]).len();
    let taken: usize = (0..50).map(|_| push(&mut peer_)).sum();
    assert_eq!(taken, 10);
    let told = peer_.bench.told();
    let limited = |message: &ToConnectionMessage| {
        matches!(
            message,
            ToConnectionMessage::Reset {
                code: code::RATE_LIMITED,
                ..
            }
        )
    };
    assert_eq!(
        told.iter().filter(|(_, message)| limited(message)).count(),
        40
    );
    peer_.bench.wait(PUSH_INTERVAL * 2);
    let taken: usize = (0..50).map(|_| push(&mut peer_)).sum();
    assert_eq!(taken, 2);
}

#[test]
fn the_address_a_peer_sees_becomes_a_candidate_once() {
    let observing = |text: &str| {
        message(&[], &["/a"], |writer| {
            writer.bytes(OBSERVED_ADDRESS, address(text).as_bytes());
        })
    };
    let table = [
        // On a connection this node dialed the port is translated to that of a listener.
        (
            Direction::Outbound,
            "/ip4/203.0.113.1/tcp/55555",
            Some("/ip4/203.0.113.1/tcp/4001"),
        ),
        (
            Direction::Outbound,
            "/ip6/2001:db8::5/tcp/55555",
            Some("/ip6/2001:db8::5/tcp/4001"),
        ),
        (
            Direction::Outbound,
            "/ip4/203.0.113.1/udp/55555/quic-v1",
            None,
        ),
        (
            Direction::Inbound,
            "/ip4/203.0.113.1/tcp/4001",
            Some("/ip4/203.0.113.1/tcp/4001"),
        ),
        (Direction::Inbound, "/ip4/192.0.2.99/tcp/4001", None),
        (Direction::Inbound, "/ip4/127.0.0.1/tcp/1", None),
        (Direction::Inbound, "/ip4/0.0.0.0/tcp/1", None),
        (Direction::Inbound, "/ip4/203.0.113.1/tcp/0", None),
        (Direction::Inbound, "/dns4/example.org/tcp/1", None),
    ];
    for (direction, seen, expected) in table {
        let mut peer_ = Peer::with(Config::default(), REMOTE, direction);
        let mut candidates = Vec::new();
        for text in [seen, "/ip4/203.0.113.77/tcp/1"] {
            let asked = peer_.ask();
            peer_.bench.data(peer_.connection, asked, &observing(text));
            peer_.bench.finish(peer_.connection, asked);
            while let Some(event) = peer_.bench.swarm.poll_event() {
                if let crate::swarm::Event::ExternalCandidate { address } = event {
                    candidates.push(address.to_string());
                }
            }
            if expected.is_none() {
                break;
            }
        }
        assert_eq!(
            candidates,
            expected.into_iter().collect::<Vec<_>>(),
            "{direction:?} {seen}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok((info, _)) = read(&bytes, peer(1), None, |_| None) {
            prop_assert!(info.protocols.len() <= MAX_PROTOCOLS && info.listen_addresses.len() <= 64);
        }
    }
}

#[test]
fn a_peer_is_asked_again_after_the_interval() {
    let mut peer_ = Peer::at(REMOTE);
    peer_.answers(&[message(&[], &["/a"], |_| {})]);
    peer_.bench.wait(Duration::from_secs(299));
    assert_eq!(peer_.bench.opened(), []);
    peer_.bench.wait(Duration::from_secs(1));
    assert_eq!(peer_.bench.opened().len(), 1);
    peer_.bench.close(peer_.connection);
    let identify = peer_.bench.swarm.protocols();
    assert!(
        identify.timers.is_empty()
            && identify.exchanges.is_empty()
            && identify.connections.is_empty()
    );
    let once = Config {
        interval: None,
        ..Config::default()
    };
    let mut peer_ = Peer::with(once, REMOTE, Direction::Inbound);
    peer_.answers(&[message(&[], &["/a"], |_| {})]);
    peer_.bench.wait(Duration::from_secs(3000));
    assert_eq!(peer_.bench.opened(), []);
}

#[test]
fn exchanges_that_hang_or_break_are_failures() {
    let mut peer_ = Peer::at(REMOTE);
    peer_.bench.data(
        peer_.connection,
        peer_.asked,
        &message(&[], &["/a"], |_| {}),
    );
    peer_.bench.wait(Duration::from_secs(10));
    assert_eq!(failure(&peer_.bench.events()), Error::Timeout);
    assert_eq!(peer_.bench.swarm.protocols().waiting, 0);
    peer_.bench.told();
    let asked = peer_.ask();
    peer_.bench.ended(
        peer_.connection,
        asked,
        StreamEnd::Failed(StreamError::ResetByPeer(3)),
    );
    assert_eq!(
        failure(&peer_.bench.events()),
        Error::Stream(StreamError::ResetByPeer(3))
    );
    let asked = peer_.ask();
    peer_.bench.ended(
        peer_.connection,
        asked,
        StreamEnd::Failed(StreamError::UnsupportedProtocol),
    );
    assert_eq!(failure(&peer_.bench.events()), Error::Unsupported);
    peer_.bench.wait(Duration::from_secs(1000));
    assert_eq!(peer_.bench.opened(), [], "it will not learn it");
    // A peer that pushes and never ends.
    let stream = peer_.bench.inbound(peer_.connection, PUSH_PROTOCOL);
    peer_.bench.data(peer_.connection, stream, b"x");
    peer_.bench.wait(Duration::from_secs(10));
    assert_eq!(failure(&peer_.bench.events()), Error::Timeout);
}

/// rust-libp2p drops the stream when it has read the answer, before its end.
#[test]
fn a_peer_that_has_the_whole_answer_may_drop_the_stream() {
    let mut asker = Peer::at("/ip4/198.51.100.1/tcp/1");
    let reset = StreamEnd::Failed(StreamError::ResetByPeer(0));
    let stream = asker.bench.inbound(asker.connection, PROTOCOL);
    assert_eq!(asker.bench.sent(stream).len(), 1);
    asker.bench.events();
    asker.bench.ended(asker.connection, stream, reset.clone());
    assert_eq!(asker.bench.events(), []);
    assert!(
        !asker
            .bench
            .swarm
            .protocols()
            .exchanges
            .keys()
            .any(|of| of.stream == stream)
    );
    // One that drops the stream it was to answer on has not said who it is.
    asker.bench.ended(asker.connection, asker.asked, reset);
    failure(&asker.bench.events());
}

/// A peer that registers the protocol of pushes later is told what has changed until then.
#[test]
fn a_peer_that_could_not_be_pushed_to_is_told_once_it_can_be() {
    let mut peer_ = Peer::at(REMOTE);
    let asked = peer_.bench.inbound(peer_.connection, PROTOCOL);
    assert_eq!(peer_.bench.sent(asked).len(), 1);
    peer_.answers(&[message(&[], &["/a"], |_| {})]);
    peer_.bench.listen("/ip4/203.0.113.7/tcp/1");
    peer_.bench.wait(Duration::from_secs(5));
    let pushed = |peer_: &mut Peer| {
        let opened = peer_.bench.opened().into_iter();
        opened.filter(|(_, _, name)| *name == PUSH_PROTOCOL).count()
    };
    assert_eq!(pushed(&mut peer_), 0);
    peer_.pushes(&[message(&[], &["/a", "/ipfs/id/push/1.0.0"], |_| {})]);
    assert_eq!(pushed(&mut peer_), 1);
}
