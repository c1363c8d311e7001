use super::{
    net::{Net, address, peer},
    *,
};
use crate::{
    connection::{Event as ConnectionEvent, ReadError},
    protocol::{Standard, StandardEvent, ping, stream},
    swarm::{Config, SecurityConfig},
};
use bytes::Bytes;
use core::time::Duration;
use std::vec::Vec;

fn net(count: usize) -> Net<Standard> {
    Net::new(
        count,
        &Config::new(SecurityConfig::InsecurePlaintext),
        |_| Standard::default(),
    )
}

const CHAT: ProtocolName = ProtocolName::from_static("/chat/1");

fn connection_events(net: &mut Net<Standard>, number: usize) -> Vec<ConnectionEvent> {
    let events = net.events(number).into_iter();
    events
        .filter_map(|event| match event {
            NodeEvent::Connection(_, event) => Some(event),
            NodeEvent::Swarm(_) => None,
        })
        .collect()
}

#[test]
fn nodes_meet_identify_and_ping_however_the_bytes_are_cut() {
    for (security, piece) in [
        (SecurityConfig::InsecurePlaintext, 1),
        #[cfg(feature = "ring")]
        (
            SecurityConfig::Noise(crate::crypto::Provider::ring()),
            usize::MAX,
        ),
        #[cfg(feature = "ring")]
        (SecurityConfig::Noise(crate::crypto::Provider::ring()), 7),
    ] {
        let mut net = Net::new(2, &Config::new(security), |_| Standard::default());
        net.piece = piece;
        net.connect(0, 1);
        for number in 0..2 {
            let told = net.told(number);
            let pinged = told.iter().any(|event| {
                matches!(
                    event,
                    StandardEvent::Ping(ping::Event { result: Ok(_), .. })
                )
            });
            assert!(pinged, "{told:?}");
            let known = net.nodes[number]
                .swarm()
                .peer_protocols(&peer(1 - number))
                .unwrap();
            assert!(known.contains(&ping::PROTOCOL), "{known:?}");
        }
        assert_eq!(
            net.nodes[1].swarm().addresses(&peer(0)),
            [address(0)],
            "told by identify"
        );
    }
}

#[test]
fn a_stream_of_the_host_carries_data_both_ways_and_ends() {
    let mut net = net(2);
    net.nodes[1]
        .with(net.now, |set, cx| {
            set.streams(cx, |streams, cx| streams.register(CHAT, cx))
        })
        .unwrap();
    let (ours, theirs) = net.connect(0, 1);
    net.events(0);
    net.events(1);
    let now = net.now;
    let stream = net.nodes[0]
        .open(now, ours, &[CHAT], StreamKind::Raw, OpenOptions::default())
        .unwrap();
    let body = std::vec![7; 1_000_000];
    let (mut sent, mut received, mut inbound) = (0, Vec::new(), None);
    while received.len() < body.len() {
        if let Some(mut stream) = net.nodes[0].stream(ours, stream) {
            sent += stream.write(&body[sent..]).unwrap_or(0);
            if sent == body.len() {
                let _ = stream.finish();
            }
        }
        net.settle();
        for event in connection_events(&mut net, 1) {
            if let ConnectionEvent::Inbound { stream, protocol } = event {
                assert_eq!(protocol, CHAT);
                inbound = Some(stream);
            }
        }
        let mut stream = net.nodes[1].stream(theirs, inbound.unwrap()).unwrap();
        while let Ok(Some(bytes)) = stream.read(usize::MAX) {
            received.extend_from_slice(&bytes);
        }
        net.settle();
    }
    assert_eq!(received, body);
    let mut answer = net.nodes[1].stream(theirs, inbound.unwrap()).unwrap();
    assert_eq!(answer.read(1), Ok(None));
    assert_eq!(
        answer.write_bytes(&mut Bytes::from_static(b"thanks")),
        Ok(6)
    );
    answer.finish().unwrap();
    net.settle();
    let mut stream = net.nodes[0].stream(ours, stream).unwrap();
    assert_eq!(stream.read(100), Ok(Some(Bytes::from_static(b"thanks"))));
    assert_eq!(stream.read(100), Ok(None));
    net.settle();
    let events = connection_events(&mut net, 0);
    assert!(
        matches!(events.last(), Some(ConnectionEvent::Finished { .. })),
        "{events:?}"
    );
}

#[test]
fn an_idle_connection_closes_and_a_claim_keeps_it() {
    let mut net = net(2);
    let (ours, _) = net.connect(0, 1);
    net.nodes[0].set_keep_alive(net.now, ours, true);
    net.run_for(Duration::from_secs(29));
    assert!(net.nodes[0].swarm().is_connected(&peer(1)));
    net.run_for(Duration::from_secs(2));
    assert!(
        !net.nodes[0].swarm().is_connected(&peer(1)),
        "the other side claims nothing"
    );
    let closed = net.events(1).into_iter().find_map(|event| match event {
        NodeEvent::Swarm(Event::ConnectionClosed { reason, .. }) => Some(reason),
        _ => None,
    });
    assert_eq!(closed, Some(ConnectionError::Idle));
    assert_eq!(
        (
            net.nodes[0].connections.len(),
            net.nodes[1].connections.len()
        ),
        (0, 0)
    );
}

#[test]
fn shutdown_leaves_nothing() {
    let mut net = net(3);
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        net.connect(from, to);
    }
    net.nodes[0]
        .with(net.now, |set, cx| {
            set.streams(cx, |streams, cx| {
                let wanted = stream::OpenOptions::new(peer(7)).addresses([address(7)]);
                streams.open(wanted, cx)
            })
        })
        .unwrap();
    for node in &mut net.nodes {
        node.shutdown(net.now);
    }
    net.settle();
    for number in 0..3 {
        let events = net.events(number);
        let over = events
            .iter()
            .any(|event| matches!(event, NodeEvent::Swarm(Event::ShutdownComplete)));
        assert!(over, "{events:?}");
        let node = &net.nodes[number];
        assert_eq!(
            (node.connections.len(), node.swarm().connection_count()),
            (0, 0)
        );
        assert!(node.timers.is_empty() && node.touched.is_empty() && node.sending.is_empty());
    }
}

#[test]
fn a_peer_that_falls_silent_is_noticed_by_its_pings() {
    let mut net = net(2);
    let (ours, _) = net.connect(0, 1);
    net.nodes[0].set_keep_alive(net.now, ours, true);
    net.events(0);
    net.silent = true;
    net.run_for(Duration::from_secs(15 + 20 + 21));
    let failures = net.told(0);
    let timeouts = failures.iter().filter(|event| {
        matches!(
            event,
            StandardEvent::Ping(ping::Event {
                result: Err(ping::Failure::Timeout),
                ..
            })
        )
    });
    assert_eq!(
        timeouts.count(),
        1,
        "the first is retried and not reported: {failures:?}"
    );
}

#[test]
fn what_is_gone_answers_nothing() {
    let mut net = net(2);
    let (ours, _) = net.connect(0, 1);
    net.cut(0, ours);
    let (now, node) = (net.now, &mut net.nodes[0]);
    node.handle_closed(now, ours);
    assert!(node.recv_buf(ours).is_none() && !node.wants_transmit(ours));
    assert_eq!(node.handle_input(now, ours, b"late"), 4);
    assert_eq!(
        node.poll_transmit(now, ours, &mut Vec::new(), 10),
        Transmit::default()
    );
    let opened = node.open(now, ours, &[CHAT], StreamKind::Raw, OpenOptions::default());
    assert_eq!(opened, Err(OpenError::NotConnected));
    node.handle_recv(now, ours);
    node.handle_eof(now, ours);
    node.close(now, ours);
    assert_eq!(
        (node.poll_event().is_none(), node.poll_action()),
        (true, None)
    );
    let _ = ReadError::Blocked;
}

/// A host that sleeps exactly until the deadline loses nothing and never spins.
#[test]
fn deadlines_tell_the_whole_truth() {
    let mut net = net(2);
    let (ours, _) = net.connect(0, 1);
    net.nodes[0].set_keep_alive(net.now, ours, true);
    net.settle();
    let mut wakes = 0;
    let end = net.now + Duration::from_secs(25);
    while let Some(at) = net
        .nodes
        .iter()
        .filter_map(Node::poll_timeout)
        .min()
        .filter(|at| *at <= end)
    {
        assert!(at > net.now || wakes == 0, "it spins");
        net.now = at;
        for node in &mut net.nodes {
            node.handle_timeout(at);
        }
        net.settle();
        wakes += 1;
    }
    assert!(wakes < 40, "{wakes}");
    let pings = net
        .told(0)
        .into_iter()
        .filter(|event| matches!(event, StandardEvent::Ping(_)))
        .count();
    assert_eq!(pings, 2, "at once, and after 15 s");
}

#[test]
fn swarms_connections_and_nodes_can_move_to_other_threads() {
    const fn is_send<T: Send>() {}
    is_send::<Swarm<Standard>>();
    is_send::<Connection>();
    is_send::<Node<Standard>>();
}

#[test]
fn a_connection_is_to_be_closed_once_its_last_event_was_told() {
    let mut net = net(2);
    net.connect(0, 1);
    let (now, node) = (net.now, &mut net.nodes[0]);
    let (connection, _) = node.swarm().connected().next().unwrap();
    while node.poll_event().is_some() {}
    node.handle_lost(now, connection, "cut".into());
    let closes = |action: &NodeAction| matches!(action, NodeAction::Close(_));
    let early: Vec<_> = core::iter::from_fn(|| node.poll_action()).collect();
    assert!(!early.iter().any(closes), "{early:?}");
    // Whoever sleeps now is told not to.
    assert!(node.poll_timeout().is_some_and(|at| at <= now));
    let mut told = false;
    while let Some(event) = node.poll_event() {
        let lost = ConnectionError::Lost("cut".into());
        told |= matches!(
            event,
            NodeEvent::Connection(of, ConnectionEvent::Closed { error }) if of == connection && error == lost
        );
    }
    assert!(told);
    assert_eq!(node.poll_action(), Some(NodeAction::Close(connection)));
}
