//! Who gets in, and what is left of those who do not.

use super::*;

fn refusal(node: &mut Node, connection: ConnectionId) -> ConnectionError {
    match node.told_to(connection).as_slice() {
        [ToConnectionMessage::Refuse(reason)] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proven_peer_is_admitted_before_anything_else_happens() {
    let mut node = Node::new();
    let connection = node.accept("/ip4/192.0.2.1/tcp/1").unwrap();
    let stream = inbound(0);
    node.say(
        connection,
        ToSwarmMessage::Inbound {
            stream,
            slot: Slot(0),
            name: NAME,
        },
    );
    assert_eq!(node.seen(), [], "nothing of a peer that is not admitted");
    node.told();
    node.secure(connection, 1);
    let admit = node.told();
    let [(to, ToConnectionMessage::Admit { table, lease })] = admit.as_slice() else {
        panic!("{admit:?}")
    };
    assert_eq!((*to, table.entries().len()), (connection, 1));
    assert!(lease.streams > 0 && lease.bytes > 0);
    assert_eq!(node.seen(), [Seen::Up(connection, peer(1), 1)]);
    node.secure(connection, 2);
    assert_eq!(
        (node.told(), node.seen()),
        (Vec::new(), Vec::new()),
        "identity is proven once"
    );
    let second = node.connect(1);
    assert_eq!(node.seen(), [Seen::Up(second, peer(1), 2)]);
    assert_eq!(node.swarm.connected_peers().len(), 1);
    node.told();
    node.close(connection, ConnectionError::ClosedByPeer);
    node.close(second, ConnectionError::Idle);
    assert_eq!(
        node.seen(),
        [
            Seen::Down(connection, ConnectionError::ClosedByPeer, 1),
            Seen::Down(second, ConnectionError::Idle, 0),
        ]
    );
    let counts: Vec<_> = node
        .events()
        .into_iter()
        .map(|event| match event {
            Event::ConnectionEstablished { connections, .. } => (true, connections),
            Event::ConnectionClosed { connections, .. } => (false, connections),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [(true, 1), (true, 2), (false, 1), (false, 0)]);
    node.assert_empty();
}

/// Dialing X and meeting Y: a typed error, no connection.
#[test]
fn another_peer_than_the_expected_one_is_refused() {
    let mut node = Node::new();
    let where_to = "/ip4/192.0.2.1/tcp/1";
    node.swarm
        .add_address(node.now, peer(1), &address(where_to));
    let dial = node
        .swarm
        .dial(node.now, DialOptions::peer(peer(1)))
        .unwrap();
    let attempts = node.attempts();
    let connection = node.dialed(attempts[0].0, where_to).unwrap();
    node.seen();
    node.secure(connection, 2);
    assert_eq!(refusal(&mut node, connection), ConnectionError::WrongPeer);
    let failures = node.events();
    let [
        Event::DialFailed {
            dial: failed,
            error,
            ..
        },
    ] = failures.as_slice()
    else {
        panic!("{failures:?}")
    };
    assert_eq!(
        (*failed, error.failures()[0].error.clone()),
        (dial, AttemptError::WrongPeer { obtained: peer(2) })
    );
    assert_eq!(
        node.swarm.addresses(&peer(1)),
        [],
        "that address is somebody else's"
    );
    node.close(connection, ConnectionError::WrongPeer);
    assert_eq!((node.seen(), node.events()), (Vec::new(), Vec::new()));
    node.assert_empty();
}

#[test]
fn self_denied_and_surplus_peers_are_refused_at_the_door() {
    let mut node = Node::new();
    let own = node.accept("/memory/1").unwrap();
    node.secure(own, SELF);
    assert_eq!(refusal(&mut node, own), ConnectionError::SelfDial);
    node.swarm.deny_peer(node.now, peer(3));
    let denied = node.accept("/memory/1").unwrap();
    node.secure(denied, 3);
    assert_eq!(refusal(&mut node, denied), ConnectionError::Denied);
    let mut all: Vec<_> = (0..4).map(|_| node.connect(4)).collect();
    node.told();
    let fifth = node.accept("/memory/1").unwrap();
    node.secure(fifth, 4);
    assert!(matches!(
        refusal(&mut node, fifth),
        ConnectionError::LimitReached(_)
    ));
    assert!(node.swarm.allow_peer(&peer(3)));
    all.push(node.connect(3));
    all.extend([own, denied, fifth]);
    node.events();
    for connection in all {
        node.close(connection, ConnectionError::Closed);
    }
    let failed = node.events();
    let failed = failed
        .iter()
        .filter(|event| matches!(event, Event::IncomingFailed { .. }))
        .count();
    assert_eq!(failed, 3);
    node.assert_empty();
}

#[test]
fn denying_a_peer_ends_its_connections_and_dials() {
    let mut node = Node::new();
    let connection = node.connect(1);
    let options = DialOptions::peer(peer(2)).addresses([address("/ip4/192.0.2.1/tcp/1")]);
    let dial = node.swarm.dial(node.now, options).unwrap();
    node.actions();
    node.events();
    node.swarm.deny_peer(node.now, peer(1));
    node.swarm.deny_peer(node.now, peer(2));
    let actions = node.actions();
    assert!(
        matches!(actions.as_slice(), [Action::CancelDial { .. }, Action::ToConnection(to, message)]
        if *to == connection && message.0 == ToConnectionMessage::Close(ConnectionError::Denied))
    );
    assert_eq!(
        node.events(),
        [Event::DialFailed {
            dial,
            peer: Some(peer(2)),
            error: DialError::Denied
        }]
    );
    assert_eq!(
        node.swarm.dial(node.now, DialOptions::peer(peer(2))),
        Err(DialError::Denied)
    );
    node.close(connection, ConnectionError::Denied);
    node.events();
    node.assert_empty();
}

#[test]
fn denied_networks_are_neither_accepted_nor_dialed() {
    let mut node = Node::new();
    node.swarm.deny_network("192.0.2.0".parse().unwrap(), 24);
    node.swarm.deny_network("2001:db8::".parse().unwrap(), 32);
    assert_eq!(node.accept("/ip4/192.0.2.77/tcp/1"), Err(Refused::Denied));
    assert_eq!(
        node.accept("/ip6/::ffff:192.0.2.77/tcp/1"),
        Err(Refused::Denied)
    );
    assert_eq!(
        node.accept("/ip6/2001:db8:ffff::1/tcp/1"),
        Err(Refused::Denied)
    );
    let near = node.accept("/ip4/192.0.3.1/tcp/1").unwrap();
    let options = DialOptions::address(address("/ip4/192.0.2.1/tcp/1"));
    node.swarm.dial(node.now, options).unwrap();
    assert_eq!(node.attempts(), []);
    node.swarm.allow_network("192.0.2.0".parse().unwrap(), 24);
    let again = node.accept("/ip4/192.0.2.77/tcp/1").unwrap();
    for connection in [near, again] {
        node.swarm.handle_closed(node.now, connection);
    }
    node.events();
    node.assert_empty();
}

#[test]
fn refused_sockets_leave_nothing() {
    let mut node = Node::with(|config| config.limits.pending = 20);
    let kept: Vec<_> = (0..8)
        .map(|_| node.accept("/ip4/192.0.2.1/tcp/1").unwrap())
        .collect();
    let before = format!("{:?}", node.swarm.state.sources);
    for _ in 0..100_000 {
        assert!(node.accept("/ip4/192.0.2.1/tcp/1").is_err());
    }
    assert_eq!(
        format!("{:?}", node.swarm.state.sources),
        before,
        "as if they had never come"
    );
    assert_eq!(
        (node.swarm.refusals(), node.swarm.connection_count()),
        (100_000, 8)
    );
    assert_eq!((node.told(), node.events()), (Vec::new(), Vec::new()));
    for connection in kept {
        node.close(connection, ConnectionError::EndOfInput);
    }
    node.events();
    node.assert_empty();
}

/// The same, refused only when their identity is known.
#[test]
fn refused_peers_leave_nothing() {
    let mut node = Node::new();
    node.swarm.deny_peer(node.now, peer(1));
    for _ in 0..100_000 {
        let connection = node.accept("/memory/1").unwrap();
        node.secure(connection, 1);
        node.told();
        node.close(connection, ConnectionError::Denied);
        node.events();
    }
    assert_eq!(node.seen(), []);
    node.assert_empty();
}

#[test]
fn accepting_pauses_while_there_are_too_many_handshakes() {
    let mut node = Node::new();
    let mut pending: Vec<_> = (0..64).map(|_| node.accept("/memory/1").unwrap()).collect();
    assert_eq!(node.actions(), [Action::PauseAccept]);
    assert_eq!(node.accept("/memory/1"), Err(Refused::TooManyPending));
    for _ in 0..15 {
        let connection = pending.pop().unwrap();
        node.close(connection, ConnectionError::HandshakeTimeout);
        assert_eq!(node.actions(), []);
    }
    let connection = pending.pop().unwrap();
    node.secure(connection, 1);
    let actions = node.actions();
    assert_eq!(actions[0], Action::ResumeAccept, "a quarter is free");
    pending.push(connection);
    for connection in pending {
        node.swarm.handle_closed(node.now, connection);
    }
    node.events();
    node.assert_empty();
}

#[test]
fn running_out_of_descriptors_pauses_accepting_for_a_second() {
    let mut node = Node::new();
    let listener = node
        .swarm
        .listen(node.now, address("/ip4/0.0.0.0/tcp/0"))
        .unwrap();
    node.actions();
    let update = ListenerUpdate::AcceptFailed(TransportError::OutOfDescriptors);
    node.swarm
        .handle_listener(node.now, listener, update.clone());
    assert_eq!(node.actions(), [Action::PauseAccept]);
    assert!(matches!(node.events()[..], [Event::AcceptFailed { .. }]));
    let until = node.now + Duration::from_millis(999);
    node.sleep_until(until);
    assert_eq!(node.actions(), []);
    node.wait(Duration::from_millis(1));
    assert_eq!(node.actions(), [Action::ResumeAccept]);
    // A connection that is gone gives its descriptor back.
    let connection = node.accept("/memory/1").unwrap();
    node.swarm.handle_listener(node.now, listener, update);
    assert_eq!(node.actions(), [Action::PauseAccept]);
    node.swarm.handle_closed(node.now, connection);
    assert_eq!(node.actions(), [Action::ResumeAccept]);
    node.events();
    node.assert_empty();
}

#[test]
fn inbound_connections_leave_room_for_own_dials() {
    let mut node = Node::with(|config| {
        (
            config.limits.connections,
            config.limits.inbound,
            config.limits.pending,
        ) = (10, 8, 100);
    });
    let mut all: Vec<_> = (0..8).map(|_| node.accept("/memory/1").unwrap()).collect();
    assert_eq!(node.accept("/memory/1"), Err(Refused::TooManyConnections));
    for number in 1..=3 {
        let options = DialOptions::address(address(&format!("/ip4/192.0.2.{number}/tcp/1")));
        node.swarm.dial(node.now, options).unwrap();
        let attempt = node.attempts()[0].0;
        let connection = node.dialed(attempt, "/ip4/192.0.2.1/tcp/1");
        assert_eq!(connection.is_some(), number < 3);
        all.extend(connection);
    }
    let events = node.events();
    let [Event::DialFailed { error, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(error.failures()[0].error, AttemptError::TooManyConnections);
    for connection in all {
        node.close(connection, ConnectionError::EndOfInput);
    }
    node.events();
    node.assert_empty();
}

#[test]
fn a_node_without_resources_refuses_and_one_with_few_shares_them() {
    let mut node = Node::with(|config| {
        config.resources.node = Lease::new(1024 * 1024, 100);
        config.resources.initial = Lease::new(1024 * 1024, 40);
    });
    let (first, second) = (node.connect(1), node.connect(2));
    let told = node.told();
    let leases: Vec<_> = told
        .iter()
        .map(|(_, message)| match message {
            ToConnectionMessage::Admit { lease, .. } => *lease,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(leases, [Lease::new(1024 * 1024, 40), Lease::new(0, 40)]);
    let third = node.accept("/memory/1").unwrap();
    node.secure(third, 3);
    assert!(matches!(
        refusal(&mut node, third),
        ConnectionError::LimitReached(_)
    ));
    node.say(second, ToSwarmMessage::NeedLease(Lease::new(10, 100)));
    assert_eq!(
        node.told_to(second),
        [ToConnectionMessage::Lease(Lease::new(0, 20))]
    );
    node.say(second, ToSwarmMessage::NeedLease(Lease::new(10, 0)));
    assert_eq!(
        node.told_to(second),
        [ToConnectionMessage::Lease(Lease::EMPTY)],
        "a refusal"
    );
    node.say(
        first,
        ToSwarmMessage::ReturnLease(Lease::new(512 * 1024, 0)),
    );
    node.say(second, ToSwarmMessage::NeedLease(Lease::new(10, 0)));
    assert_eq!(
        node.told_to(second),
        [ToConnectionMessage::Lease(Lease::new(256 * 1024, 0))],
        "a block"
    );
    // Giving back more than was lent is no way to riches.
    node.say(
        second,
        ToSwarmMessage::ReturnLease(Lease::new(u64::MAX, u32::MAX)),
    );
    let root = node.swarm.state.ledger.root();
    assert_eq!(
        node.swarm.state.ledger.used(root),
        Lease::new(512 * 1024, 40)
    );
    for connection in [first, second, third] {
        node.close(connection, ConnectionError::Closed);
    }
    node.events();
    node.assert_empty();
}

#[test]
fn a_host_that_collects_no_events_is_told_so() {
    let mut node = Node::with(|config| config.queues.events = 6);
    let first = node.accept("/memory/1").unwrap();
    let second = node.accept("/memory/1").unwrap();
    assert_eq!(node.accept("/memory/1"), Err(Refused::EventsFull));
    assert_eq!(
        node.swarm
            .listen(node.now, address("/memory/1"))
            .map(|_| ()),
        Ok(())
    );
    assert_eq!(
        node.swarm.listen(node.now, address("/memory/1")),
        Err(ListenError::EventsFull)
    );
    let options = DialOptions::address(address("/ip4/192.0.2.1/tcp/1"));
    assert_eq!(
        node.swarm.dial(node.now, options.clone()),
        Err(DialError::EventsFull)
    );
    node.run(|cx| {
        assert!(!cx.emit(7), "no room");
        assert!(cx.reserve_event().is_none());
    });
    assert_eq!(node.swarm.dropped_events(), 1);
    for connection in [first, second] {
        node.close(connection, ConnectionError::EndOfInput);
    }
    assert_eq!(node.events().len(), 2, "last words are never lost");
    node.run(|cx| {
        let permit = cx.reserve_event().unwrap();
        assert!(cx.emit(8) && cx.emit(9) && cx.emit(10));
        assert!(!cx.emit(11));
        cx.emit_reserved(permit, 12);
    });
    let expected = [8, 9, 10, 12].map(Event::Protocol);
    assert_eq!(node.events(), expected);
}

#[test]
fn listeners_are_independent_and_end_once() {
    let mut node = Node::with(|config| config.limits.listeners = 2);
    let first = node
        .swarm
        .listen(node.now, address("/ip4/0.0.0.0/tcp/0"))
        .unwrap();
    let second = node
        .swarm
        .listen(node.now, address("/ip4/127.0.0.1/tcp/9"))
        .unwrap();
    assert_eq!(
        node.swarm.listen(node.now, address("/memory/1")),
        Err(ListenError::TooManyListeners)
    );
    assert_eq!(node.actions().len(), 2);
    let closed = ListenerUpdate::Closed(Some(TransportError::AddressInUse));
    node.swarm.handle_listener(node.now, second, closed.clone());
    node.swarm.handle_listener(node.now, second, closed);
    let bound = address("/ip4/0.0.0.0/tcp/4001");
    node.swarm
        .handle_listener(node.now, first, ListenerUpdate::Bound(bound.clone()));
    node.swarm
        .handle_interfaces(node.now, std::vec!["127.0.0.1".parse().unwrap()]);
    assert_eq!(
        node.swarm.listen_addresses(),
        [address("/ip4/127.0.0.1/tcp/4001")]
    );
    assert_eq!(node.seen(), [Seen::Addresses], "told once, when it changed");
    assert!(node.swarm.stop_listening(node.now, first));
    assert!(node.swarm.stop_listening(node.now, first));
    assert_eq!(node.actions(), [Action::StopListen { listener: first }]);
    node.swarm
        .handle_listener(node.now, first, ListenerUpdate::Closed(None));
    assert_eq!(
        node.events(),
        [
            Event::ListenerClosed {
                listener: second,
                error: Some(TransportError::AddressInUse)
            },
            Event::Listening {
                listener: first,
                address: bound.clone()
            },
            Event::ListenAddressGone {
                listener: first,
                address: bound
            },
            Event::ListenerClosed {
                listener: first,
                error: None
            },
        ]
    );
    assert_eq!(node.seen(), [Seen::Addresses]);
    assert!(!node.swarm.stop_listening(node.now, first));
    node.assert_empty();
}

#[test]
fn shutdown_is_complete_when_everything_is_gone() {
    let mut node = Node::new();
    let listener = node
        .swarm
        .listen(node.now, address("/ip4/127.0.0.1/tcp/0"))
        .unwrap();
    let (up, pending) = (node.connect(1), node.accept("/memory/2").unwrap());
    let dial = node
        .swarm
        .dial(
            node.now,
            DialOptions::address(address("/ip4/192.0.2.1/tcp/1")),
        )
        .unwrap();
    let attempt = node.attempts()[0].0;
    node.events();
    node.swarm.shutdown(node.now);
    node.swarm.shutdown(node.now);
    assert_eq!(node.accept("/memory/1"), Err(Refused::ShuttingDown));
    assert_eq!(
        node.swarm.dial(node.now, DialOptions::peer(peer(2))),
        Err(DialError::ShuttingDown)
    );
    assert_eq!(
        node.swarm.listen(node.now, address("/memory/1")),
        Err(ListenError::ShuttingDown)
    );
    let actions = node.actions();
    assert_eq!(
        actions,
        [
            Action::StopListen { listener },
            Action::CancelDial { attempt },
            // Connections take turns, and the first was served last.
            Action::ToConnection(
                pending,
                ToConnection(ToConnectionMessage::Refuse(ConnectionError::Shutdown))
            ),
            Action::ToConnection(
                up,
                ToConnection(ToConnectionMessage::Close(ConnectionError::Shutdown))
            ),
        ]
    );
    assert_eq!(
        node.dialed(attempt, "/ip4/192.0.2.1/tcp/1"),
        None,
        "too late"
    );
    assert_eq!(
        node.events(),
        [Event::DialFailed {
            dial,
            peer: None,
            error: DialError::ShuttingDown
        }]
    );
    node.swarm
        .handle_listener(node.now, listener, ListenerUpdate::Closed(None));
    node.close(up, ConnectionError::Shutdown);
    assert!(!node.events().contains(&Event::ShutdownComplete));
    node.close(pending, ConnectionError::Shutdown);
    assert_eq!(node.events().last(), Some(&Event::ShutdownComplete));
    node.swarm.handle_closed(node.now, pending);
    assert_eq!(node.events(), []);
    node.assert_empty();
}

#[test]
fn shutting_down_an_idle_node_is_complete_at_once() {
    let mut node = Node::new();
    node.swarm.shutdown(node.now);
    assert_eq!(node.events(), [Event::ShutdownComplete]);
    node.assert_empty();
}
