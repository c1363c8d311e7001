//! Names, and addresses of the machine.

use crate::common::{Loop, ask};
use core::net::IpAddr;
use drywire::{
    multiaddr::Multiaddr,
    swarm::{self, DialOptions, Resolved, TransportError},
};
use drywire_mio::{Event, Host, Tcp};

fn pair() -> (Loop<Tcp>, Multiaddr) {
    let mut hosts = Loop::new();
    for number in 0..2 {
        let builder = Host::builder(()).tokens(number * 10..(number + 1) * 10);
        let host = builder.start(hosts.poll.registry()).unwrap();
        hosts.add(host);
    }
    let address = hosts.listen(0);
    (hosts, address)
}

fn named(address: &Multiaddr, name: &str) -> Multiaddr {
    let (_, port, _) = address.socket_addr().unwrap();
    format!("/dns4/{name}/tcp/{port}").parse().unwrap()
}

#[test]
fn names_are_the_applications_to_look_up() {
    let (mut hosts, address) = pair();
    let name = "a.name.that.only.the.test.knows";
    let dial = DialOptions::address(named(&address, name));
    hosts.hosts[1].dial(dial).unwrap();
    let (lookup, asked) = hosts.until(1, |event| match event {
        Event::Resolve { lookup, name, .. } => Some((*lookup, name.clone())),
        _ => None,
    });
    assert_eq!(asked, name);
    let answer = Resolved::Addresses(vec![IpAddr::from([127, 0, 0, 1])]);
    hosts.hosts[1].handle_resolved(lookup, Ok(answer));
    let connection = hosts.until(1, |event| match event {
        Event::Swarm(swarm::Event::Dialed { connection, .. }) => Some(*connection),
        _ => None,
    });
    ask(&mut hosts, 1, connection);
}

#[test]
fn the_systems_resolver_can_be_asked_and_knows_no_text() {
    let (mut hosts, address) = pair();
    let dial = DialOptions::address(named(&address, "localhost"));
    hosts.hosts[1].dial(dial).unwrap();
    let resolve = |event: &Event<_>| match event {
        Event::Resolve { lookup, name, kind } => Some((*lookup, name.clone(), *kind)),
        _ => None,
    };
    let (lookup, name, kind) = hosts.until(1, resolve);
    hosts.hosts[1].resolve_blocking(lookup, &name, kind);
    hosts.until(1, |event| match event {
        Event::Swarm(swarm::Event::Dialed { .. }) => Some(()),
        _ => None,
    });
    hosts.told[1].clear();
    let text: Multiaddr = "/dnsaddr/localhost".parse().unwrap();
    hosts.hosts[1].dial(DialOptions::address(text)).unwrap();
    let (lookup, name, kind) = hosts.until(1, resolve);
    hosts.hosts[1].resolve_blocking(lookup, &name, kind);
    let error = hosts.until(1, |event| match event {
        Event::Swarm(swarm::Event::DialFailed { error, .. }) => Some(error.clone()),
        _ => None,
    });
    let said = error.to_string();
    assert!(
        said.contains(&TransportError::Unsupported.to_string()),
        "{said}"
    );
}

#[test]
fn a_listener_on_all_addresses_tells_each_of_them() {
    let (mut hosts, _) = pair();
    let all = hosts.hosts[1].listen("/ip4/0.0.0.0/tcp/0".parse().unwrap());
    let listener = all.unwrap();
    let port = hosts.until(1, |event| match event {
        Event::Swarm(swarm::Event::Listening {
            listener: of,
            address,
        }) if *of == listener => Some(address.socket_addr().unwrap().1),
        _ => None,
    });
    let loopback: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    for _ in 0..100 {
        if hosts.hosts[1]
            .swarm()
            .listen_addresses()
            .contains(&loopback)
        {
            return;
        }
        hosts.turn(core::time::Duration::from_millis(10));
    }
    panic!("{:?}", hosts.hosts[1].swarm().listen_addresses());
}
