//! Dials, shared and single.

use super::*;

const A: &str = "/ip4/192.0.2.1/tcp/1";
const B: &str = "/ip4/192.0.2.2/tcp/2";
const C: &str = "/ip4/192.0.2.3/tcp/3";

fn public(number: u32) -> Multiaddr {
    address(&format!("/ip4/8.8.{}.{}/tcp/1", number / 256, number % 256))
}

fn to(number: u64, addresses: &[&str]) -> DialOptions {
    DialOptions::peer(peer(number)).addresses(addresses.iter().map(|text| address(text)))
}

fn outcomes(node: &mut Node) -> Vec<(DialId, Result<ConnectionId, DialError>)> {
    node.events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Dialed {
                dial, connection, ..
            } => Some((dial, Ok(connection))),
            Event::DialFailed { dial, error, .. } => Some((dial, Err(error))),
            _ => None,
        })
        .collect()
}

fn errors(outcome: &(DialId, Result<ConnectionId, DialError>)) -> Vec<AttemptError> {
    let Err(error) = &outcome.1 else {
        panic!("{outcome:?}")
    };
    error
        .failures()
        .iter()
        .map(|failure| failure.error.clone())
        .collect()
}

#[test]
fn many_callers_share_one_dial_and_each_has_its_outcome() {
    let mut node = Node::new();
    let dials: Vec<_> = (0..5)
        .map(|_| node.swarm.dial(node.now, to(1, &[A])).unwrap())
        .collect();
    let for_protocol = node.run(|cx| cx.dial(to(1, &[A]))).unwrap();
    let attempts = node.attempts();
    assert_eq!(attempts.len(), 1, "one address, one attempt");
    assert!(
        node.swarm.cancel_dial(node.now, dials[0]) && !node.swarm.cancel_dial(node.now, dials[0])
    );
    assert!(
        !node.swarm.cancel_dial(node.now, for_protocol),
        "not the host's"
    );
    assert_eq!(
        node.actions(),
        [],
        "cancelling one does not cancel the others"
    );
    let connection = node.dialed(attempts[0].0, A).unwrap();
    assert_eq!(outcomes(&mut node), [], "connected is not yet met");
    node.seen();
    node.secure(connection, 1);
    let expected: Vec<_> = dials[1..]
        .iter()
        .map(|dial| (*dial, Ok(connection)))
        .collect();
    assert_eq!(outcomes(&mut node), expected);
    assert_eq!(
        node.seen(),
        [
            Seen::Up(connection, peer(1), 1),
            Seen::Dialed(for_protocol, connection)
        ]
    );
    // An existing connection is the answer, unless a new one is wanted.
    let again = node.swarm.dial(node.now, to(1, &[])).unwrap();
    assert_eq!(outcomes(&mut node), [(again, Ok(connection))]);
    let other = node
        .swarm
        .dial(node.now, to(1, &[]).condition(DialCondition::Always))
        .unwrap();
    let attempts = node.attempts();
    assert_eq!(
        attempts[0].1, A,
        "it was verified, and is known from now on"
    );
    let second = node.dialed(attempts[0].0, A).unwrap();
    node.secure(second, 1);
    assert_eq!(outcomes(&mut node), [(other, Ok(second))]);
    for connection in [connection, second] {
        node.close(connection, ConnectionError::Idle);
    }
    node.events();
    node.swarm.remove_address(peer(1), &address(A));
    node.assert_empty();
}

#[test]
fn the_last_caller_to_leave_cancels_the_dial() {
    let mut node = Node::new();
    let dials = [0; 2].map(|_| node.swarm.dial(node.now, to(1, &[A, B])).unwrap());
    let attempts = node.attempts();
    assert_eq!(attempts.len(), 1, "the second address is not due yet");
    node.wait(Duration::from_millis(250));
    let later = node.attempts();
    let connection = node.dialed(later[0].0, B).unwrap();
    node.swarm.cancel_dial(node.now, dials[0]);
    assert_eq!(node.actions(), []);
    node.swarm.cancel_dial(node.now, dials[1]);
    let actions = node.actions();
    assert_eq!(
        actions[0],
        Action::CancelDial {
            attempt: attempts[0].0
        }
    );
    assert!(matches!(&actions[1], Action::ToConnection(closed, _) if *closed == connection));
    assert_eq!(node.dialed(attempts[0].0, A), None, "too late");
    node.secure(connection, 1);
    node.close(connection, ConnectionError::Closed);
    assert_eq!((node.events(), node.seen()), (Vec::new(), Vec::new()));
    // A new dial starts afresh.
    node.swarm.dial(node.now, to(1, &[A])).unwrap();
    assert_eq!(node.attempts().len(), 1);
    node.swarm.shutdown(node.now);
    node.events();
    node.actions();
    node.assert_empty();
}

#[test]
fn a_dial_cancelled_before_the_host_has_heard_of_it_leaves_no_action() {
    let mut node = Node::new();
    for _ in 0..100 {
        let dial = node
            .swarm
            .dial(node.now, to(1, &[A, "/dns4/example.org/tcp/1"]))
            .unwrap();
        node.swarm.cancel_dial(node.now, dial);
    }
    assert_eq!(node.actions(), []);
    node.assert_empty();
}

#[test]
fn every_address_tells_how_it_failed() {
    let mut node = Node::new();
    let other_peer = format!("{C}/p2p/{}", peer(7));
    let dial = node
        .swarm
        .dial(node.now, to(1, &[A, B, &other_peer, A]))
        .unwrap();
    let first = node.attempts();
    node.dial_failed(first[0].0, TransportError::Refused);
    let second = node.attempts();
    assert_eq!(second[0].1, B, "nothing is under way: the next at once");
    let connection = node.dialed(second[0].0, B).unwrap();
    node.close(connection, ConnectionError::EndOfInput);
    let outcome = outcomes(&mut node);
    assert_eq!(outcome[0].0, dial);
    assert_eq!(
        errors(&outcome[0]),
        [
            AttemptError::OtherPeer,
            AttemptError::Transport(TransportError::Refused),
            AttemptError::Connection(ConnectionError::EndOfInput),
        ]
    );
    let text = format!("{}", outcome[0].1.as_ref().unwrap_err());
    assert!(
        text.contains(A) && text.contains("connection refused"),
        "{text}"
    );
    node.assert_empty();
}

#[test]
fn addresses_that_cannot_be_dialed_are_not() {
    let mut node = Node::new();
    let listener = node
        .swarm
        .listen(node.now, address("/ip4/0.0.0.0/tcp/4001"))
        .unwrap();
    node.swarm.handle_listener(
        node.now,
        listener,
        ListenerUpdate::Bound(address("/ip4/0.0.0.0/tcp/4001")),
    );
    node.actions();
    let bad = [
        "/ip4/0.0.0.0/tcp/1",
        "/ip6/::/tcp/1",
        "/ip4/192.0.2.1/tcp/0",
        "/ip4/224.0.0.1/tcp/1",
        "/ip4/255.255.255.255/tcp/1",
        "/ip4/127.0.0.1/tcp/4001",
    ];
    node.swarm.dial(node.now, to(1, &bad)).unwrap();
    assert_eq!(node.attempts(), []);
    let outcome = outcomes(&mut node);
    let mut errors = errors(&outcome[0]);
    errors.retain(|error| *error != AttemptError::Undialable);
    assert_eq!(errors, [AttemptError::OwnAddress]);
    let own = DialOptions::address(address(&format!("{A}/p2p/{}", peer(SELF))));
    assert_eq!(node.swarm.dial(node.now, own), Err(DialError::SelfDial));
    assert_eq!(
        node.swarm.dial(node.now, DialOptions::peer(peer(SELF))),
        Err(DialError::SelfDial)
    );
    assert_eq!(
        node.swarm.dial(node.now, DialOptions::peer(peer(5))),
        Err(DialError::NoAddresses)
    );
}

#[test]
fn public_addresses_start_one_after_the_other_private_ones_at_once() {
    let mut node = Node::new();
    let mixed = [
        "/ip4/8.8.8.8/tcp/1",
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/8.8.4.4/tcp/1",
    ];
    node.swarm.dial(node.now, to(1, &mixed)).unwrap();
    let addresses = |attempts: Vec<(AttemptId, String)>| {
        attempts.into_iter().map(|(_, a)| a).collect::<Vec<_>>()
    };
    assert_eq!(addresses(node.attempts()), [mixed[1], mixed[2], mixed[0]]);
    assert_eq!(
        node.swarm.poll_timeout(),
        Some(node.now + Duration::from_millis(250))
    );
    node.wait(Duration::from_millis(249));
    assert_eq!(node.attempts(), []);
    node.wait(Duration::from_millis(1));
    assert_eq!(addresses(node.attempts()), [mixed[3]]);
    // Private ones have 5 s, public ones 15 s.
    let mut cancelled = Vec::new();
    let start = node.now;
    while node.swarm.state.attempts.len() > 0 {
        node.now = node.swarm.poll_timeout().unwrap();
        node.swarm.handle_timeout(node.now);
        let actions = node.actions();
        cancelled.extend(actions.iter().map(|_| (node.now - start).as_millis()));
    }
    assert_eq!(cancelled, [4750, 4750, 14750, 15000]);
    assert_eq!(
        errors(&outcomes(&mut node)[0]),
        [
            AttemptError::TimedOut,
            AttemptError::TimedOut,
            AttemptError::TimedOut,
            AttemptError::TimedOut
        ]
    );
    node.assert_empty();
}

#[test]
fn a_caller_gives_up_in_its_own_time() {
    let mut node = Node::new();
    let patient = node.swarm.dial(node.now, to(1, &[A])).unwrap();
    let hasty = node
        .swarm
        .dial(node.now, to(1, &[B]).timeout(Duration::from_secs(3)))
        .unwrap();
    let attempts = node.attempts();
    node.dial_failed(attempts[0].0, TransportError::Unreachable);
    node.sleep_until(Instant::ZERO + Duration::from_secs(3));
    let outcome = outcomes(&mut node);
    let failures = std::vec![AddressFailure {
        address: address(A),
        error: AttemptError::Transport(TransportError::Unreachable),
    }];
    assert_eq!(outcome, [(hasty, Err(DialError::TimedOut { failures }))]);
    let connection = node.dialed(attempts[1].0, B).unwrap();
    node.secure(connection, 1);
    assert_eq!(outcomes(&mut node), [(patient, Ok(connection))]);
    node.close(connection, ConnectionError::Idle);
    node.events();
    node.assert_empty();
}

#[test]
fn attempts_are_bounded_for_one_peer_and_for_all() {
    let mut node = Node::with(|config| {
        (config.dial.max_attempts, config.dial.max_attempts_per_peer) = (10, 4);
        config.dial.stagger = Duration::ZERO;
    });
    for number in 1..=4 {
        let addresses = (0..8).map(|index| public(number as u32 * 100 + index));
        node.swarm
            .dial(
                node.now,
                DialOptions::peer(peer(number)).addresses(addresses),
            )
            .unwrap();
    }
    let mut running = node.attempts();
    let mut tried = running.clone();
    assert_eq!(running.len(), 10);
    while let Some((attempt, _)) = running.pop() {
        node.dial_failed(attempt, TransportError::Refused);
        let more = node.attempts();
        tried.extend(more.clone());
        running.extend(more);
        assert!(running.len() <= 10);
    }
    let mut addresses: Vec<_> = tried.iter().map(|(_, address)| address.clone()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!((tried.len(), addresses.len()), (32, 32), "each once");
    let outcome = outcomes(&mut node);
    assert_eq!(outcome.len(), 4);
    node.assert_empty();
}

#[test]
fn an_address_that_failed_rests_for_that_peer_alone() {
    let mut node = Node::new();
    let fail = |node: &mut Node, number: u64| {
        node.swarm.dial(node.now, to(number, &[A])).unwrap();
        let attempts = node.attempts();
        if let Some((attempt, _)) = attempts.first() {
            node.dial_failed(*attempt, TransportError::Refused);
        }
        errors(&outcomes(node)[0])
    };
    let refused = AttemptError::Transport(TransportError::Refused);
    assert_eq!(fail(&mut node, 1), core::slice::from_ref(&refused));
    assert_eq!(
        fail(&mut node, 1),
        [AttemptError::Backoff(Duration::from_secs(5))]
    );
    assert_eq!(
        fail(&mut node, 2),
        core::slice::from_ref(&refused),
        "another peer"
    );
    node.wait(Duration::from_secs(5));
    assert_eq!(fail(&mut node, 1), core::slice::from_ref(&refused));
    node.wait(Duration::from_secs(5));
    assert_eq!(
        fail(&mut node, 1),
        [AttemptError::Backoff(Duration::from_secs(1))]
    );
    node.swarm
        .dial(node.now, to(1, &[A]).ignore_backoff())
        .unwrap();
    let attempts = node.attempts();
    node.dial_failed(attempts[0].0, TransportError::Refused);
    outcomes(&mut node);
    // Any connection with the peer forgets it.
    let connection = node.connect(1);
    node.close(connection, ConnectionError::Idle);
    node.told();
    node.events();
    assert_eq!(fail(&mut node, 1), [refused]);
    node.assert_empty();
}

#[test]
fn a_connection_from_the_peer_answers_those_who_dial_it() {
    let mut node = Node::new();
    let any = node.swarm.dial(node.now, to(1, &[A, B])).unwrap();
    let new = node
        .swarm
        .dial(node.now, to(1, &[A]).condition(DialCondition::Always))
        .unwrap();
    node.wait(Duration::from_millis(250));
    let attempts = node.attempts();
    let upgrading = node.dialed(attempts[0].0, A).unwrap();
    let inbound = node.connect(1);
    assert_eq!(outcomes(&mut node), [(any, Ok(inbound))]);
    node.secure(upgrading, 1);
    assert_eq!(outcomes(&mut node), [(new, Ok(upgrading))]);
    let actions = node.actions();
    assert!(actions.contains(&Action::CancelDial {
        attempt: attempts[1].0
    }));
    for connection in [upgrading, inbound] {
        node.close(connection, ConnectionError::Idle);
    }
    node.events();
    node.assert_empty();
}

/// Both dial each other at once: each is answered by the other's connection, and neither kills the one that the other
/// counts on.
#[test]
fn simultaneous_dials_keep_both_connections() {
    let mut node = Node::new();
    let dial = node.swarm.dial(node.now, to(1, &[A])).unwrap();
    let attempts = node.attempts();
    let ours = node.dialed(attempts[0].0, A).unwrap();
    let theirs = node.connect(1);
    assert_eq!(outcomes(&mut node), [(dial, Ok(theirs))]);
    node.secure(ours, 1);
    let told = node.told();
    assert_eq!(told.len(), 2);
    assert!(
        told.iter()
            .all(|(_, message)| matches!(message, ToConnectionMessage::Admit { .. })),
        "{told:?}"
    );
    for connection in [ours, theirs] {
        node.close(connection, ConnectionError::Idle);
    }
    node.events();
    node.assert_empty();
}

#[test]
fn the_first_connection_wins_and_the_others_are_given_up() {
    let mut node = Node::with(|config| config.dial.stagger = Duration::ZERO);
    let dial = node.swarm.dial(node.now, to(1, &[A, B, C])).unwrap();
    let attempts = node.attempts();
    let slow = node.dialed(attempts[0].0, A).unwrap();
    let fast = node.dialed(attempts[1].0, B).unwrap();
    node.secure(fast, 1);
    assert_eq!(outcomes(&mut node), [(dial, Ok(fast))]);
    let actions = node.actions();
    assert!(actions.contains(&Action::CancelDial {
        attempt: attempts[2].0
    }));
    node.secure(slow, 1);
    assert_eq!(node.swarm.connections().count(), 1);
    for connection in [slow, fast] {
        node.close(connection, ConnectionError::Closed);
    }
    node.events();
    node.assert_empty();
}

#[test]
fn an_address_without_a_peer_leads_to_whoever_is_there() {
    let mut node = Node::new();
    let dials = [0; 2].map(|_| {
        node.swarm
            .dial(node.now, DialOptions::address(address(A)))
            .unwrap()
    });
    let waiting_for_peer = node.swarm.dial(node.now, to(1, &[B])).unwrap();
    let attempts = node.attempts();
    assert_eq!(attempts.len(), 2, "one for the address, one for the peer");
    let connection = node.dialed(attempts[0].0, A).unwrap();
    node.secure(connection, 1);
    let expected: Vec<_> = dials
        .into_iter()
        .chain([waiting_for_peer])
        .map(|dial| (dial, Ok(connection)))
        .collect();
    assert_eq!(outcomes(&mut node), expected);
    node.close(connection, ConnectionError::Idle);
    node.actions();
    node.events();
    node.assert_empty();
}

/// I32: an address is tried once at a time, be it for a peer or for whoever is there; the connection is everybody's, and a
/// failure leaves the next his turn. Fails if each job tries its addresses whatever others do.
#[test]
fn one_address_is_not_tried_twice_at_once() {
    for peer_first in [true, false] {
        let mut node = Node::new();
        let mut dial = |for_peer: bool| {
            let options = if for_peer {
                to(1, &[A])
            } else {
                DialOptions::address(address(A))
            };
            node.swarm.dial(node.now, options).unwrap()
        };
        let dials = [dial(peer_first), dial(!peer_first)];
        let attempts = node.attempts();
        assert_eq!(attempts.len(), 1);
        let connection = node.dialed(attempts[0].0, A).unwrap();
        node.secure(connection, 1);
        assert_eq!(
            outcomes(&mut node),
            dials.map(|dial| (dial, Ok(connection)))
        );
        assert_eq!(node.attempts(), []);
        node.close(connection, ConnectionError::Idle);
        node.events();
        node.assert_empty();
    }
    // The first fails, or is given up, or meets another peer: then the second tries.
    for how in 0..3 {
        let mut node = Node::new();
        let bare = node
            .swarm
            .dial(node.now, DialOptions::address(address(A)))
            .unwrap();
        let first = node.attempts()[0].0;
        let named = node.swarm.dial(node.now, to(1, &[A, B])).unwrap();
        assert_eq!(node.attempts().len(), 1, "the other address");
        let met = match how {
            0 => {
                node.dial_failed(first, TransportError::Refused);
                None
            }
            1 => {
                assert!(node.swarm.cancel_dial(node.now, bare));
                None
            }
            _ => {
                let connection = node.dialed(first, A).unwrap();
                node.secure(connection, 2);
                Some(connection)
            }
        };
        let again = node.attempts();
        assert_eq!(again.len(), 1, "{how}");
        assert_eq!(again[0].1, A);
        let connection = node.dialed(again[0].0, A).unwrap();
        node.secure(connection, 1);
        assert_eq!(outcomes(&mut node).last(), Some(&(named, Ok(connection))));
        for connection in met.into_iter().chain([connection]) {
            node.close(connection, ConnectionError::Idle);
        }
        node.actions();
        node.events();
        node.assert_empty();
    }
}

/// Fails if the addresses a name leads to are not judged: who tells a name of his own could have nodes dial into their networks.
#[test]
fn names_of_others_lead_to_public_addresses_only() {
    for public_only in [true, false] {
        let mut node = Node::new();
        let mut options = to(1, &["/dns4/example.org/tcp/22", "/dnsaddr/example.org"]);
        if public_only {
            options = options.names_lead_to_public();
        }
        node.swarm.dial(node.now, options).unwrap();
        let mut tried = Vec::new();
        loop {
            let actions = node.actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                let answer = match action {
                    Action::Resolve {
                        lookup,
                        kind: LookupKind::Text,
                        ..
                    } => {
                        let records = [
                            "/ip4/127.0.0.1/tcp/1",
                            "/ip4/8.8.8.8/tcp/2",
                            "/dns4/2.example.org/tcp/3",
                        ];
                        let records = records.map(|record| format!("dnsaddr={record}"));
                        (lookup, Resolved::Text(records.into()))
                    }
                    Action::Resolve { lookup, .. } => {
                        let ips = ["169.254.169.254", "10.0.0.1", "8.8.4.4"];
                        (
                            lookup,
                            Resolved::Addresses(ips.map(|ip| ip.parse().unwrap()).into()),
                        )
                    }
                    Action::Dial { attempt, address } => {
                        tried.push(address);
                        node.dial_failed(attempt, TransportError::Refused);
                        continue;
                    }
                    _ => continue,
                };
                let (lookup, answer) = answer;
                node.swarm.handle_resolved(node.now, lookup, Ok(answer));
            }
            node.wait(Duration::from_secs(1));
        }
        tried.sort_by_key(std::string::ToString::to_string);
        let public = [
            "/ip4/8.8.4.4/tcp/22",
            "/ip4/8.8.4.4/tcp/3",
            "/ip4/8.8.8.8/tcp/2",
        ]
        .map(address);
        if public_only {
            assert_eq!(tried, public);
        } else {
            assert!(
                public.iter().all(|address| tried.contains(address)) && tried.len() == 8,
                "{tried:?}"
            );
        }
    }
}

#[test]
fn names_are_looked_up_within_limits() {
    let mut node = Node::new();
    let dial = node
        .swarm
        .dial(node.now, to(1, &["/dnsaddr/example.org"]))
        .unwrap();
    let mut lookups = 0;
    let mut texts = 0;
    let mut tried = Vec::new();
    loop {
        let actions = node.actions();
        if actions.is_empty() {
            break;
        }
        for action in actions {
            match action {
                Action::Resolve {
                    lookup,
                    kind: LookupKind::Text,
                    name,
                } => {
                    assert!(name.starts_with("_dnsaddr."));
                    (lookups, texts) = (lookups + 1, texts + 1);
                    // Each name leads to twenty more.
                    let records = (0..20)
                        .map(|number| format!("dnsaddr=/dnsaddr/{lookups}-{number}.example.org"));
                    let records = records.chain([format!(
                        "dnsaddr=/dns4/{lookups}.example.org/tcp/1/p2p/{}",
                        peer(1)
                    )]);
                    let mut records: Vec<_> = records.collect();
                    records.rotate_right(1);
                    node.swarm
                        .handle_resolved(node.now, lookup, Ok(Resolved::Text(records)));
                    node.swarm
                        .handle_resolved(node.now, lookup, Ok(Resolved::Text(Vec::new())));
                }
                Action::Resolve {
                    lookup,
                    kind: LookupKind::Ip4,
                    ..
                } => {
                    lookups += 1;
                    let ip = format!("10.0.0.{lookups}").parse().unwrap();
                    node.swarm.handle_resolved(
                        node.now,
                        lookup,
                        Ok(Resolved::Addresses(std::vec![ip])),
                    );
                }
                Action::Dial { attempt, address } => {
                    tried.push(format!("{address}"));
                    node.dial_failed(attempt, TransportError::Refused);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(
        lookups <= 32 && texts > 3 && !tried.is_empty(),
        "{lookups} {texts} {tried:?}"
    );
    let outcome = outcomes(&mut node);
    assert_eq!(outcome[0].0, dial);
    assert!(errors(&outcome[0]).contains(&AttemptError::TooManyLookups));
    node.assert_empty();
}

#[test]
fn names_may_not_lead_on_for_ever() {
    let mut node = Node::new();
    node.swarm
        .dial(node.now, to(1, &["/dnsaddr/a.org"]))
        .unwrap();
    let mut names = Vec::new();
    while let Some(Action::Resolve { lookup, name, .. }) = node.swarm.poll_action() {
        let next = format!("dnsaddr=/dnsaddr/x{name}");
        names.push(name);
        node.swarm
            .handle_resolved(node.now, lookup, Ok(Resolved::Text(std::vec![next])));
    }
    assert_eq!(names.len(), 3);
    assert_eq!(
        errors(&outcomes(&mut node)[0]),
        [AttemptError::TooManyLookups]
    );
    node.assert_empty();
}

#[test]
fn a_lookup_that_fails_or_hangs_fails_its_address() {
    let mut node = Node::new();
    node.swarm
        .dial(
            node.now,
            to(
                1,
                &["/dns4/a.org/tcp/1", "/dns6/b.org/tcp/1", "/dns/c.org/tcp/1"],
            ),
        )
        .unwrap();
    let lookups: Vec<_> = node
        .actions()
        .into_iter()
        .map(|action| match action {
            Action::Resolve { lookup, .. } => lookup,
            other => panic!("{other:?}"),
        })
        .collect();
    node.swarm
        .handle_resolved(node.now, lookups[0], Err(TransportError::NameNotFound));
    let wrong_family = std::vec!["192.0.2.1".parse().unwrap()];
    node.swarm
        .handle_resolved(node.now, lookups[1], Ok(Resolved::Addresses(wrong_family)));
    node.sleep_until(Instant::ZERO + Duration::from_secs(15));
    assert_eq!(
        errors(&outcomes(&mut node)[0]),
        [
            AttemptError::Lookup(TransportError::NameNotFound),
            AttemptError::Lookup(TransportError::NameNotFound),
            AttemptError::Lookup(TransportError::TimedOut),
        ]
    );
    node.swarm
        .handle_resolved(node.now, lookups[2], Err(TransportError::TimedOut));
    node.assert_empty();
}

#[test]
fn what_the_host_does_not_know_fails() {
    let mut node = Node::new();
    let dial = node
        .swarm
        .dial(node.now, to(1, &["/dns4/a.org/tcp/1", A]))
        .unwrap();
    let listener = node.swarm.listen(node.now, address("/memory/1")).unwrap();
    while let Some(action) = node.swarm.poll_action() {
        node.swarm.handle_unsupported(node.now, action);
    }
    let events = node.events();
    assert!(events.contains(&Event::ListenerClosed {
        listener,
        error: Some(TransportError::Unsupported)
    }));
    let failed = events.iter().find_map(|event| match event {
        Event::DialFailed {
            dial: failed,
            error,
            ..
        } if *failed == dial => Some(error.failures()),
        _ => None,
    });
    let mut errors: Vec<_> = failed
        .unwrap()
        .iter()
        .map(|failure| format!("{}", failure.error))
        .collect();
    errors.sort();
    assert_eq!(
        errors,
        ["name lookup failed: not supported", "not supported"]
    );
    node.assert_empty();
}

#[test]
fn dials_and_their_reports_are_bounded() {
    let mut node = Node::with(|config| config.dial.max_dials = 3);
    let addresses: Vec<_> = (0..200).map(public).collect();
    let options = DialOptions::peer(peer(1)).addresses(addresses);
    for _ in 0..3 {
        node.swarm.dial(node.now, options.clone()).unwrap();
    }
    assert_eq!(
        node.swarm.dial(node.now, options),
        Err(DialError::TooManyDials)
    );
    let mut tried = 0;
    loop {
        let attempts = node.attempts();
        if attempts.is_empty() {
            break;
        }
        for (attempt, _) in attempts {
            tried += 1;
            node.dial_failed(attempt, TransportError::Refused);
        }
    }
    assert_eq!(tried, 100);
    let outcome = outcomes(&mut node);
    assert_eq!((outcome.len(), errors(&outcome[0]).len()), (3, 32));
    node.assert_empty();
}
