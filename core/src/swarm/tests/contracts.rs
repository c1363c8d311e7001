//! What protocols may count on.

use super::*;
use crate::connection::StreamError;

fn connection_lost() -> ConnectionError {
    ConnectionError::Lost("gone".into())
}

fn ended(reason: ConnectionError) -> StreamEnd {
    StreamEnd::Failed(StreamError::Connection(reason))
}

#[test]
fn every_stream_ends_once_and_then_the_connection() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let theirs = StreamRef {
        connection,
        stream: inbound(3),
    };
    node.say(
        connection,
        ToSwarmMessage::Inbound {
            stream: theirs.stream,
            slot: Slot(0),
            name: NAME,
        },
    );
    let ours = node
        .run(|cx| cx.open(connection, &[NAME], KIND, false))
        .unwrap();
    let failing = node
        .run(|cx| cx.open(connection, &[NAME], KIND, false))
        .unwrap();
    let given_up = node
        .run(|cx| cx.open(connection, &[NAME], KIND, false))
        .unwrap();
    let unsupported = StreamEnd::Failed(StreamError::UnsupportedProtocol);
    node.say(
        connection,
        ToSwarmMessage::Opened {
            stream: ours.stream,
            name: NAME,
        },
    );
    node.say(
        connection,
        ToSwarmMessage::Ended {
            stream: failing.stream,
            end: unsupported.clone(),
        },
    );
    node.say(
        connection,
        ToSwarmMessage::Ended {
            stream: failing.stream,
            end: unsupported.clone(),
        },
    );
    assert!(node.run(|cx| cx.reset(given_up, 7)) && !node.run(|cx| cx.reset(given_up, 7)));
    node.say(
        connection,
        ToSwarmMessage::Ended {
            stream: given_up.stream,
            end: unsupported.clone(),
        },
    );
    node.close(connection, connection_lost());
    node.close(connection, ConnectionError::Idle);
    node.say(
        connection,
        ToSwarmMessage::Opened {
            stream: ours.stream,
            name: NAME,
        },
    );
    assert_eq!(
        node.seen(),
        [
            Seen::Up(connection, peer(1), 1),
            Seen::Inbound(theirs),
            Seen::Opened(ours),
            Seen::Ended(failing, unsupported),
            Seen::Ended(theirs, ended(connection_lost())),
            Seen::Ended(ours, ended(connection_lost())),
            Seen::Down(connection, connection_lost(), 0),
        ]
    );
    node.events();
    node.assert_empty();
}

#[test]
fn dropping_a_connection_without_its_last_word_is_an_end_too() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let stream = node
        .run(|cx| cx.open(connection, &[NAME], KIND, false))
        .unwrap();
    node.seen();
    node.swarm.handle_closed(node.now, connection);
    node.swarm.handle_closed(node.now, connection);
    let seen = node.seen();
    assert!(
        matches!(seen.as_slice(), [Seen::Ended(ended, _), Seen::Down(..)] if *ended == stream),
        "{seen:?}"
    );
    node.events();
    node.assert_empty();
}

#[test]
fn commands_reach_the_connection_in_order() {
    let mut node = Node::new();
    let connection = node.connect(1);
    node.told();
    let stream = node.run(|cx| {
        let stream = cx.open(connection, &[NAME], KIND, true).unwrap();
        cx.send(stream, Bytes::from_static(b"one")).unwrap();
        assert!(cx.finish(stream) && !cx.finish(stream));
        assert_eq!(
            cx.send(stream, Bytes::from_static(b"two")),
            Err(SendError::Finished)
        );
        stream
    });
    let id = stream.stream;
    assert_eq!(
        node.told_to(connection),
        [
            ToConnectionMessage::Open {
                stream: id,
                slot: Slot(0),
                names: [NAME].into_iter().collect(),
                kind: KIND,
                background: true
            },
            ToConnectionMessage::Send {
                stream: id,
                bytes: Bytes::from_static(b"one")
            },
            ToConnectionMessage::Finish { stream: id },
        ]
    );
    node.run(|cx| {
        let second = cx.open(connection, &[NAME], KIND, false).unwrap();
        let unknown = StreamRef {
            connection,
            stream: inbound(9),
        };
        assert_eq!(cx.send(unknown, Bytes::new()), Err(SendError::NoStream));
        assert!(cx.hand_over(second) && !cx.hand_over(second));
        assert_eq!(
            cx.open(connection, &[], KIND, false),
            Err(OpenStreamError::NoProtocol)
        );
        cx.close(connection);
        assert_eq!(
            cx.open(connection, &[NAME], KIND, false),
            Err(OpenStreamError::NotConnected)
        );
    });
    let told = node.told_to(connection);
    assert!(
        matches!(
            told.as_slice(),
            [
                ToConnectionMessage::Open { .. },
                ToConnectionMessage::HandOver { .. },
                ToConnectionMessage::Close(ConnectionError::Closed),
            ]
        ),
        "{told:?}"
    );
}

#[test]
fn the_next_message_is_asked_for_when_one_was_handled() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let stream = StreamRef {
        connection,
        stream: inbound(0),
    };
    node.say(
        connection,
        ToSwarmMessage::Inbound {
            stream: stream.stream,
            slot: Slot(0),
            name: NAME,
        },
    );
    node.told();
    let data = |text: &'static str| ToSwarmMessage::Data {
        stream: inbound(0),
        bytes: Bytes::from_static(text.as_bytes()),
    };
    let consumed = [ToConnectionMessage::Consumed { stream: inbound(0) }];
    node.say(connection, data("one"));
    assert_eq!(node.told_to(connection), consumed);
    node.swarm.protocols.pausing = true;
    node.say(connection, data("two"));
    assert_eq!(node.told_to(connection), []);
    assert!(node.run(|cx| cx.resume(stream)));
    assert_eq!(node.told_to(connection), consumed);
    assert!(node.run(|cx| cx.resume(stream)));
    assert_eq!(node.told_to(connection), [], "asked for once");
    node.say(connection, data("three"));
    node.run(|cx| cx.reset(stream, 0));
    node.say(connection, data("four"));
    let seen = node.seen();
    assert_eq!(
        seen.last(),
        Some(&Seen::Message(stream, Bytes::from_static(b"three"))),
        "reset is the end"
    );
}

#[test]
fn a_busy_connection_takes_no_more_and_says_when_it_does() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let stream = node
        .run(|cx| cx.open(connection, &[NAME], KIND, false))
        .unwrap();
    node.told();
    node.seen();
    let message = Bytes::from(std::vec![0; 1000]);
    let mut sent = 0u32;
    let outcome = loop {
        match node.run(|cx| cx.send(stream, message.clone())) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(
        (outcome, sent),
        (SendError::Full, 255),
        "256 commands, the open included"
    );
    assert_eq!(
        node.run(|cx| cx.open(connection, &[NAME], KIND, false)),
        Err(OpenStreamError::Full)
    );
    assert_eq!(node.told().len(), 255);
    node.say(
        connection,
        ToSwarmMessage::Processed {
            commands: 100,
            bytes: 0,
        },
    );
    assert_eq!(node.seen(), [], "more than half is still under way");
    node.say(
        connection,
        ToSwarmMessage::Processed {
            commands: 156,
            bytes: 0,
        },
    );
    assert_eq!(node.seen(), [], "bytes count until they have left");
    node.say(
        connection,
        ToSwarmMessage::Processed {
            commands: 0,
            bytes: 130_000,
        },
    );
    assert_eq!(
        node.seen(),
        [Seen::StreamsAvailable(connection), Seen::Writable(stream)]
    );
    node.say(
        connection,
        ToSwarmMessage::Processed {
            commands: 0,
            bytes: 130_000,
        },
    );
    assert_eq!(node.seen(), [], "told once");
    node.run(|cx| cx.send(stream, message.clone())).unwrap();
}

#[test]
fn bytes_under_way_are_bounded() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let kind = StreamKind::Framed { max_len: 1_000_000 };
    let stream = node
        .run(|cx| cx.open(connection, &[NAME], kind, false))
        .unwrap();
    let message = Bytes::from(std::vec![0; 1_000_000]);
    node.run(|cx| cx.send(stream, message.clone())).unwrap();
    assert_eq!(
        node.run(|cx| cx.send(stream, message.clone())),
        Err(SendError::Full)
    );
    node.told();
    node.say(
        connection,
        ToSwarmMessage::Processed {
            commands: 2,
            bytes: 1_000_000,
        },
    );
    node.run(|cx| cx.send(stream, message)).unwrap();
}

/// A peer that opens streams faster than the connection works off what it is told of them.
#[test]
fn a_connection_with_too_much_to_do_is_given_up() {
    let mut node = Node::new();
    let connection = node.connect(1);
    node.told();
    for number in 0..3000 {
        let stream = inbound(number);
        node.say(
            connection,
            ToSwarmMessage::Inbound {
                stream,
                slot: Slot(0),
                name: NAME,
            },
        );
        node.run(|cx| cx.reset(StreamRef { connection, stream }, 0));
    }
    let told = node.told_to(connection);
    assert_eq!(
        told.last(),
        Some(&ToConnectionMessage::Close(ConnectionError::Flooding))
    );
    assert!(told.len() <= 256 * 8 + 1);
    node.close(connection, ConnectionError::Flooding);
    node.events();
    node.assert_empty();
}

#[test]
fn own_streams_are_bounded() {
    let mut node = Node::with(|config| config.queues.commands = 10_000);
    let connection = node.connect(1);
    let streams: Vec<_> = (0..256)
        .map(|_| {
            node.run(|cx| cx.open(connection, &[NAME], KIND, false))
                .unwrap()
        })
        .collect();
    let open = |node: &mut Node| node.run(|cx| cx.open(connection, &[NAME], KIND, false));
    assert_eq!(open(&mut node), Err(OpenStreamError::TooManyStreams));
    node.say(
        connection,
        ToSwarmMessage::Ended {
            stream: streams[0].stream,
            end: StreamEnd::Finished,
        },
    );
    node.run(|cx| cx.reset(streams[1], 0));
    assert!(open(&mut node).is_ok() && open(&mut node).is_ok());
    assert_eq!(open(&mut node), Err(OpenStreamError::TooManyStreams));
}

#[test]
fn names_are_accepted_once_and_reach_every_connection() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let other = ProtocolName::from_static("/other/1");
    node.told();
    node.seen();
    node.run(|cx| {
        assert_eq!(
            cx.accept(NAME, Accept::new(KIND)),
            Err(AcceptError::AlreadyRegistered(NAME))
        );
        cx.accept(other.clone(), Accept::new(KIND)).unwrap();
        assert!(cx.unaccept(&NAME) && !cx.unaccept(&NAME));
        assert_eq!(cx.protocols().collect::<Vec<_>>(), [&other]);
    });
    let told = node.told_to(connection);
    let [ToConnectionMessage::Table(table)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (table.version(), table.entries().len()),
        (3, 1),
        "only the newest"
    );
    assert_eq!(node.seen(), [Seen::Names]);
    // The peer agreed on a name that is gone by now.
    node.say(
        connection,
        ToSwarmMessage::Inbound {
            stream: inbound(0),
            slot: Slot(0),
            name: NAME,
        },
    );
    let told = node.told_to(connection);
    assert!(
        matches!(told.as_slice(), [ToConnectionMessage::Reset { .. }]),
        "{told:?}"
    );
    assert_eq!(node.seen(), []);
    for number in 0..127 {
        let name = ProtocolName::try_from(format!("/more/{number}")).unwrap();
        node.run(|cx| cx.accept(name, Accept::new(KIND))).unwrap();
    }
    assert_eq!(
        node.run(|cx| cx.accept(NAME, Accept::new(KIND))),
        Err(AcceptError::TooManyNames)
    );
}

#[test]
fn a_claim_keeps_a_connection_until_it_is_given_up() {
    let mut node = Node::new();
    let connection = node.connect(1);
    node.told();
    node.run(|cx| assert!(cx.keep_alive(connection, true) && cx.keep_alive(connection, true)));
    assert_eq!(
        node.told_to(connection),
        [ToConnectionMessage::KeepAlive(true)]
    );
    node.run(|cx| assert!(cx.keep_alive(connection, false) && cx.keep_alive(connection, false)));
    assert_eq!(
        node.told_to(connection),
        [ToConnectionMessage::KeepAlive(false)]
    );
    node.run(|cx| assert!(!cx.keep_alive(ConnectionId::new(99), true)));
}

#[test]
fn what_peers_support_is_told_when_it_changes() {
    let mut node = Node::new();
    let connection = node.connect(1);
    node.seen();
    node.run(|cx| {
        cx.set_peer_protocols(peer(1), std::vec![NAME]);
        cx.set_peer_protocols(peer(1), std::vec![NAME]);
        cx.set_peer_protocols(peer(2), std::vec![NAME]);
    });
    assert_eq!(node.seen().len(), 1);
    assert_eq!(node.swarm.peer_protocols(&peer(1)), Some(&[NAME][..]));
    node.close(connection, ConnectionError::Idle);
    assert_eq!(node.swarm.peer_protocols(&peer(1)), None);
}

/// Fails if a peer that refused what it said it supports cannot say it again.
#[test]
fn what_a_peer_refuses_it_does_not_support_until_it_says_so_again() {
    let mut node = Node::new();
    node.connect(1);
    node.seen();
    let (other, both) = (ProtocolName::from_static("/other"), || {
        std::vec![NAME, ProtocolName::from_static("/other")]
    });
    node.run(|cx| cx.peer_refused(peer(1), &[NAME]));
    assert_eq!(
        node.swarm.peer_protocols(&peer(1)),
        None,
        "nothing is known"
    );
    node.run(|cx| cx.set_peer_protocols(peer(1), both()));
    assert_eq!(node.seen().len(), 1);
    for _ in 0..2 {
        node.run(|cx| cx.peer_refused(peer(1), &[NAME]));
        assert_eq!(
            node.swarm.peer_protocols(&peer(1)),
            Some(&[other.clone()][..])
        );
    }
    node.run(|cx| cx.peer_refused(peer(2), &[NAME]));
    assert_eq!(node.seen().len(), 1, "once, and of nobody else");
    node.run(|cx| cx.set_peer_protocols(peer(1), both()));
    assert_eq!(node.seen().len(), 1);
    assert_eq!(node.swarm.peer_protocols(&peer(1)), Some(&both()[..]));
}

#[test]
fn the_best_connection_is_direct_and_new() {
    let mut node = Node::new();
    let relay = format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit", peer(9));
    let (first, second) = (node.connect(1), node.connect(1));
    let relayed = node.accept(&relay).unwrap();
    node.secure(relayed, 1);
    assert_eq!(node.run(|cx| cx.best_connection(&peer(1))), Some(second));
    node.swarm.close(node.now, second);
    assert_eq!(node.run(|cx| cx.best_connection(&peer(1))), Some(first));
    node.swarm.close(node.now, first);
    assert_eq!(node.run(|cx| cx.best_connection(&peer(1))), Some(relayed));
    assert_eq!(node.swarm.disconnect(node.now, &peer(1)), 3);
    assert_eq!(node.run(|cx| cx.best_connection(&peer(1))), None);
    assert!(
        node.run(|cx| cx.is_connected(&peer(1))),
        "until they are gone"
    );
}

#[test]
fn waiting_output_is_a_deadline_that_has_come() {
    let mut node = Node::new();
    assert_eq!(node.swarm.poll_timeout(), None);
    node.now = node.now + Duration::from_secs(5);
    let connection = node.accept("/memory/1").unwrap();
    assert_eq!(node.swarm.poll_timeout(), None);
    node.secure(connection, 1);
    assert_eq!(node.swarm.poll_timeout(), Some(node.now));
    node.told();
    assert_eq!(node.swarm.poll_timeout(), Some(node.now), "an event waits");
    node.events();
    assert_eq!(node.swarm.poll_timeout(), None);
    assert_eq!(
        (node.swarm.poll_action(), node.swarm.poll_event()),
        (None, None)
    );
    node.swarm.protocols.timeout = Some(Instant::from_nanos(u64::MAX / 2));
    assert_eq!(
        node.swarm.poll_timeout(),
        Some(Instant::from_nanos(u64::MAX / 2))
    );
    node.seen();
    node.swarm.handle_timeout(node.now);
    assert_eq!(node.seen(), [], "spurious");
    node.swarm.handle_timeout(Instant::from_nanos(u64::MAX / 2));
    assert_eq!(node.seen(), [Seen::Other("timeout".into())]);
    // Time never goes back.
    node.swarm.protocols.timeout = Some(Instant::from_nanos(u64::MAX / 2));
    node.swarm.handle_timeout(Instant::ZERO);
    assert_eq!(node.seen(), [Seen::Other("timeout".into())]);
}

#[test]
fn the_calendar_runs_on_from_what_the_host_said() {
    let mut node = Node::new();
    assert_eq!(node.run(|cx| cx.unix()), UnixTime::from_secs(1_800_000_000));
    node.wait(Duration::from_secs(7));
    assert_eq!(node.run(|cx| cx.unix()), UnixTime::from_secs(1_800_000_007));
    node.swarm
        .handle_wall_clock(node.now, UnixTime::from_secs(5));
    node.wait(Duration::from_secs(1));
    assert_eq!(node.run(|cx| cx.unix()), UnixTime::from_secs(6));
}

#[test]
fn external_addresses_are_candidates_until_confirmed() {
    let mut node = Node::new();
    let seen_at = address("/ip4/198.51.100.1/tcp/1");
    node.run(|cx| {
        cx.report_observed(&seen_at);
        cx.report_observed(&seen_at);
    });
    assert_eq!(
        node.events(),
        [Event::ExternalCandidate {
            address: seen_at.clone()
        }]
    );
    assert_eq!(node.seen().len(), 1);
    node.swarm.add_external_address(node.now, &seen_at);
    node.swarm.add_external_address(node.now, &seen_at);
    assert_eq!(
        node.swarm.external_addresses(),
        core::slice::from_ref(&seen_at)
    );
    node.swarm.remove_external_address(node.now, &seen_at);
    node.swarm.remove_external_address(node.now, &seen_at);
    assert_eq!(
        node.events(),
        [
            Event::ExternalConfirmed {
                address: seen_at.clone()
            },
            Event::ExternalExpired { address: seen_at },
        ]
    );
    assert_eq!(node.seen(), [Seen::Addresses, Seen::Addresses]);
}
