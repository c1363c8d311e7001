//! What swarms and their protocols cost, with connections and without, and no sockets.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drywire::{
    connection::{ConnectedPoint, Slot},
    crypto::Provider,
    multiaddr::Multiaddr,
    protocol::{Standard, identify::Identify},
    swarm::{Action, Context, DialOptions, Input, Protocol, SecurityConfig, Swarm, TransportError},
    time::Instant,
};
use drywire_micro_benches::hosts::{Hosts, address, swarm};

const SECURITIES: [(&str, SecurityConfig); 2] = [
    ("plaintext", SecurityConfig::InsecurePlaintext),
    ("noise", SecurityConfig::Noise(Provider::AVAILABLE[0])),
];

/// No protocol at all: what is left is the swarm's own work.
#[derive(Debug, Default)]
struct Nothing;

impl Protocol for Nothing {
    type Event = ();

    fn start(&mut self, _: &mut Context<'_, ()>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, ()>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A connection from its dial to its end, both ends of it: dialed, accepted, secured, admitted, closed.
fn churn(c: &mut Criterion) {
    fn bench<P: Protocol + Default>(c: &mut Criterion, protocols: &str) {
        let mut group = c.benchmark_group("swarm/connect-and-close");
        for (name, security) in SECURITIES {
            let mut hosts = Hosts::<P>::new(security);
            group.bench_function(format!("{protocols}/{name}"), |b| {
                b.iter(|| {
                    let connection = hosts.connect();
                    hosts.close(connection);
                });
            });
            assert_eq!(hosts.connections(), 0);
        }
    }
    bench::<Nothing>(c, "no-protocols");
    bench::<Standard>(c, "standard");
}

/// All there is to do now, done by a host that ignores it.
fn drain(swarm: &mut Swarm<Nothing>) {
    while swarm.poll_action().is_some() {}
    while swarm.poll_event().is_some() {}
}

/// What a swarm does without any connection: sockets that come and go, dials that lead nowhere.
fn alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("swarm");
    let now = Instant::ZERO;
    let mut swarm = swarm(SecurityConfig::InsecurePlaintext, Nothing, 0);
    let from = |text: &str| text.parse::<Multiaddr>().expect("sound");
    let socket = ConnectedPoint::accepted(address(1), None);
    group.bench_function("accept-and-drop", |b| {
        b.iter(|| {
            let start = swarm.handle_accept(now, socket.clone()).expect("room");
            swarm.handle_closed(now, start.id());
            drain(&mut swarm);
        });
    });
    let stranger = ConnectedPoint::accepted(from("/ip4/192.0.2.1/tcp/4001"), None);
    while swarm.handle_accept(now, stranger.clone()).is_ok() {}
    group.bench_function("refuse", |b| {
        b.iter(|| swarm.handle_accept(now, stranger.clone()).is_err());
    });
    let dial = |swarm: &mut Swarm<Nothing>| {
        let options = DialOptions::address(address(1)).ignore_backoff();
        let dial = swarm.dial(now, options).expect("may dial");
        let Some(Action::Dial { attempt, .. }) = swarm.poll_action() else {
            panic!("nothing is dialed");
        };
        (dial, attempt)
    };
    drain(&mut swarm);
    group.bench_function("dial-and-cancel", |b| {
        b.iter(|| {
            let (dial, _) = dial(&mut swarm);
            assert!(swarm.cancel_dial(now, dial));
            drain(&mut swarm);
        });
    });
    group.bench_function("dial-and-fail", |b| {
        b.iter(|| {
            let (_, attempt) = dial(&mut swarm);
            swarm.handle_dialed(now, attempt, Err(TransportError::Refused));
            assert!(swarm.poll_event().is_some());
            drain(&mut swarm);
        });
    });
}

/// What a host asks in every turn, and a timeout before its time, of a node that has nothing to do.
fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("swarm/idle");
    for count in [1, 512] {
        let mut hosts = Hosts::<Standard>::new(SecurityConfig::InsecurePlaintext);
        for _ in 0..count {
            hosts.connect();
        }
        assert_eq!(hosts.connections(), count);
        let (node, now) = hosts.node(1);
        group.bench_function(BenchmarkId::new("polls", count), |b| {
            b.iter(|| {
                assert!(node.poll_action().is_none() && node.poll_event().is_none());
                node.poll_timeout()
            });
        });
        group.bench_function(BenchmarkId::new("early-timeout", count), |b| {
            b.iter(|| node.handle_timeout(now));
        });
    }
}

/// A peer is asked who it is, and answers: the stream, the message, its signed record.
fn identify(c: &mut Criterion) {
    let mut group = c.benchmark_group("identify");
    for (name, security) in SECURITIES {
        for changes in [false, true] {
            let mut hosts = Hosts::<Identify>::new(security);
            let connection = hosts.connect();
            let external = "/ip4/127.0.0.2/tcp/4001".parse().expect("sound");
            let mut ask = |round: u64| {
                if changes {
                    // A new record is signed, for the new address or without it.
                    let (node, now) = hosts.node(1);
                    node.command(now, |swarm| match round % 2 {
                        0 => swarm.add_external_address(now, &external),
                        _ => swarm.remove_external_address(now, &external),
                    });
                }
                let (node, now) = hosts.node(0);
                assert!(node.with(now, |identify, cx| identify.ask(connection, cx)));
                let (carried, told) = hosts.settle();
                assert_eq!(told, 2, "sent and received");
                carried
            };
            let mut round = 0;
            group.throughput(Throughput::Bytes(ask(round) as u64));
            let what = if changes { "ask-after-change" } else { "ask" };
            group.bench_function(format!("{what}/{name}"), |b| {
                b.iter(|| {
                    round += 1;
                    ask(round)
                });
            });
        }
    }
}

criterion_group!(benches, churn, alone, idle, identify);
criterion_main!(benches);
