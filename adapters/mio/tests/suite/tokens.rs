//! Tokens are the caller's.

use crate::common::{Loop, ask};
use core::time::Duration;
use drywire::swarm::{self, DialOptions};
use drywire_mio::{Event, Host};
use mio::{Interest, Token};
use std::time::Instant;

#[test]
fn a_host_leaves_the_tokens_of_others_alone() {
    let mut hosts = Loop::new();
    // Someone else's sockets, on both sides of the hosts' tokens.
    let mut socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let registry = hosts.poll.registry();
    registry
        .register(&mut socket, Token(0), Interest::READABLE)
        .unwrap();
    let mut other = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    registry
        .register(&mut other, Token(usize::MAX - 1), Interest::READABLE)
        .unwrap();
    for number in 0..2 {
        let builder = Host::builder(()).tokens(1 + number * 5..1 + (number + 1) * 5);
        let host = builder.start(hosts.poll.registry()).unwrap();
        hosts.add(host);
    }
    let address = hosts.listen(0);
    let connection = hosts.dial(1, address);
    socket
        .send_to(b"hello", other.local_addr().unwrap())
        .unwrap();
    ask(&mut hosts, 1, connection);
    let mut seen = false;
    for _ in 0..100 {
        hosts.turn(Duration::from_millis(10));
        seen |= other.recv(&mut [0; 5]).is_ok();
    }
    assert!(seen);
}

#[test]
fn a_host_without_a_token_left_refuses_and_goes_on() {
    let mut hosts = Loop::new();
    // A listener and one connection.
    let builder = Host::builder(()).tokens(0..2);
    let server = builder.start(hosts.poll.registry()).unwrap();
    hosts.add(server);
    for number in 1..3 {
        let builder = Host::builder(()).tokens(number * 10..(number + 1) * 10);
        let client = builder.start(hosts.poll.registry()).unwrap();
        hosts.add(client);
    }
    let (address, other) = (hosts.listen(0), hosts.listen(1));
    let connection = hosts.dial(1, address.clone());
    ask(&mut hosts, 1, connection);
    // The second waits, and its own dials fail for the same reason.
    hosts.hosts[2]
        .dial(DialOptions::address(address.clone()))
        .unwrap();
    let starved = |event: &Event<_>| match event {
        Event::Swarm(swarm::Event::AcceptFailed { error, .. }) => {
            assert!(error.to_string().contains("token"), "{error}");
            Some(())
        }
        _ => None,
    };
    hosts.until(0, starved);
    // That is told once, and not asked again and again.
    hosts.told[0].clear();
    hosts.turns = 0;
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        hosts.turn(Duration::from_millis(100));
    }
    assert!(!hosts.told[0].iter().any(|event| starved(event).is_some()));
    assert!(hosts.turns < 50, "{} turns", hosts.turns);
    let own = hosts.hosts[0].dial(DialOptions::address(other)).unwrap();
    hosts.until(0, |event| match event {
        Event::Swarm(swarm::Event::DialFailed { dial, error, .. }) if *dial == own => {
            assert!(error.to_string().contains("token"), "{error}");
            Some(())
        }
        _ => None,
    });
    ask(&mut hosts, 1, connection);
    // Once there is a token again, whoever waits is served.
    hosts.hosts[1].close(connection);
    let connection = hosts.until(2, |event| match event {
        Event::Swarm(swarm::Event::Dialed { connection, .. }) => Some(*connection),
        _ => None,
    });
    ask(&mut hosts, 2, connection);
}
