//! The laws of swarms and nodes, and of protocols inside them.

use crate::{
    peers::Single,
    protocols::{Alone, Crowded, Script},
};
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    multiaddr::Multiaddr,
    node::{NodeAction, NodeEvent},
    resource::Lease,
    seed::Seed,
    swarm::{
        Action, Config, DialCondition, DialOptions, Event, ListenerUpdate, Protocol, Rate, Refused,
        Resolved, SecurityConfig,
    },
    time::{Instant, UnixTime},
};
use drywire_tests::{
    dice::Dice,
    heap,
    hostile::Hostile,
    net::{Apart, Host, Manner, Net, Trace, address, peer, swarm},
    pair::{Secure, Told},
    victim::Target,
};
use std::{fmt::Debug, time::Duration};

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);

fn net<H: Host<Protocol: Script>>(
    count: usize,
    config: &Config,
    seed: u64,
    manner: &Manner,
) -> Net<H> {
    let mut net = Net::<H>::new(count, config, seed, manner, H::Protocol::fresh);
    net.on_event = H::Protocol::hear::<H>;
    for number in 0..count {
        let now = net.now;
        net.hosts[number].command(now, |swarm| swarm.with(now, H::Protocol::set_up));
    }
    net
}

/// Three nodes, and what their applications and the network do in the run numbered `story`.
fn run<H: Host<Protocol: Script>>(story: u64, seed: u64, manner: &Manner) -> Vec<Trace> {
    run_with::<H>(&H::Protocol::config(), story, seed, manner)
}

fn run_with<H: Host<Protocol: Script>>(
    config: &Config,
    story: u64,
    seed: u64,
    manner: &Manner,
) -> Vec<Trace> {
    let mut net: Net<H> = net(3, config, seed, manner);
    tell(&mut net, story);
    net.run_for(SECOND * 40);
    net.traces
}

fn tell<H: Host<Protocol: Script>>(net: &mut Net<H>, story: u64) {
    let mut dice = Dice::new(story);
    let _ = net.dial(0, 1);
    for _ in 0..40 {
        let from = dice.below(3);
        let to = (from + 1 + dice.below(2)) % 3;
        let now = net.now;
        match dice.below(16) {
            0 | 1 => {
                let _ = net.dial(from, to);
            }
            2..=6 => net.run_for(Duration::from_millis(dice.below(200) as u64)),
            7 => net.run_for(Duration::from_millis(dice.below(20_000) as u64)),
            8..=12 => H::Protocol::act(net, from, to, &mut dice),
            13 => {
                net.hosts[from].command(now, |swarm| swarm.disconnect(now, &peer(to)));
            }
            14 => {
                if let Some(connection) = net.connections(from).first().copied() {
                    net.cut(from, connection);
                }
            }
            _ => {
                let unix = UnixTime::from_secs(1_800_000_000 + dice.below(100_000) as u64);
                let interfaces = vec![[10, 0, 0, dice.below(3) as u8].into()];
                net.hosts[from].command(now, |swarm| {
                    swarm.handle_wall_clock(now, unix);
                    swarm.handle_interfaces(now, interfaces);
                });
            }
        }
    }
}

/// Panics with the first difference.
fn assert_same(a: &[Trace], b: &[Trace], what: &dyn Debug) {
    for (number, (a, b)) in a.iter().zip(b).enumerate() {
        for (one, other) in a.events.iter().zip(&b.events) {
            assert_eq!(one, other, "node {number}, {what:?}");
        }
        assert_eq!(a.events.len(), b.events.len(), "node {number}, {what:?}");
        assert!(a == b, "node {number}, {what:?}: other bytes");
    }
}

/// Law 1. Fails if the swarm's clock follows a `now` that goes back.
pub fn any_order<H: Host<Protocol: Script>>() {
    for story in 0..12 {
        let calm = Manner {
            told: Told::Twice,
            ..Manner::default()
        };
        let calm = run::<H>(story, story, &calm);
        for (nosy, told) in [
            (Some(story), Told::Twice),
            (None, Told::Backwards),
            (Some(story), Told::Backwards),
        ] {
            let manner = Manner {
                nosy,
                told,
                ..Manner::default()
            };
            assert_same(&run::<H>(story, story, &manner), &calm, &(story, &manner));
        }
    }
}

/// What a node told, those of one time in alphabetical order, and without the numbers of streams: of what happens at the
/// same time, on streams that have nothing to do with each other, the order is chance where nodes poll their connections
/// by themselves, and so is which number is free.
fn unordered(trace: &Trace) -> Vec<String> {
    let nameless = |event: &String| {
        let mut text = String::new();
        let mut parts = event.split("stream: s");
        text.extend(parts.next());
        for part in parts {
            text.push_str("stream: ");
            text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
        }
        text
    };
    let mut events: Vec<String> = trace.events.iter().map(nameless).collect();
    events.sort();
    events
}

/// Law 2. A host that carries messages polls at the same points however the bytes are cut, so all is the same. A node that
/// carries them by itself does so after each piece; and without Noise there are no messages but as they come. Then what
/// each stream delivers is the same. Fails if a connection drops the beginning of a message that has not come whole.
pub fn chunking<H: Host<Protocol: Script>>() {
    for noise in [true, false] {
        let mut config = Config::default();
        if !noise {
            config.security = SecurityConfig::InsecurePlaintext;
        }
        for story in 0..8 {
            let whole = run_with::<H>(&config, story, story, &Manner::default());
            let mut dice = Dice::new(story);
            for pieces in [vec![1], dice.pieces(), dice.pieces()] {
                let manner = Manner {
                    pieces,
                    ..Manner::default()
                };
                let cut = run_with::<H>(&config, story, story, &manner);
                if noise && H::CARRIES_ONLY_WHEN_POLLED && !H::Protocol::ANSWERS {
                    assert_same(&cut, &whole, &(story, &manner));
                }
                for (number, (cut, whole)) in cut.iter().zip(&whole).enumerate() {
                    let (a, b) = (unordered(cut), unordered(whole));
                    for (one, other) in a.iter().zip(&b) {
                        assert_eq!(one, other, "node {number}, {:?}", (story, &manner));
                    }
                    assert_eq!((a.len(), cut.received), (b.len(), whole.received));
                }
            }
        }
    }
}

/// Law 3. Fails if handshakes draw from a generator of the process, or protocols from one of the node.
pub fn same_seed<H: Host<Protocol: Script>>() {
    let mut differ = 0;
    for story in 0..8 {
        let manner = Manner::default();
        let once = run::<H>(story, 1, &manner);
        assert_same(&run::<H>(story, 1, &manner), &once, &story);
        let other = run::<H>(story, 2, &manner);
        let wires = |traces: &[Trace]| traces.iter().map(|t| t.wire.clone()).collect::<Vec<_>>();
        differ += u32::from(wires(&once) != wires(&other));
    }
    // Some draw at every opportunity, others only when there is something to choose.
    assert_eq!(differ > 0, H::Protocol::DRAWS, "{differ} stories differ");
    nobody_shifts_anothers_draws();
}

/// The same pings, whoever else draws in the same node. Fails if all protocols of a set draw from one generator.
fn nobody_shifts_anothers_draws() {
    fn pings<P: Protocol<Event: Debug> + Default>() -> Vec<Vec<u8>> {
        let config = Config::new(SecurityConfig::InsecurePlaintext);
        let mut net = Net::<Apart<P>>::new(2, &config, 1, &Manner::default(), P::default);
        net.dial(0, 1).expect("may dial");
        net.run_for(SECOND);
        for (number, connection) in [0, 1].map(|n| (n, net.connections(n)[0])) {
            let now = net.now;
            net.hosts[number].set_keep_alive(now, connection, true);
        }
        net.run_for(SECOND * 60);
        net.traces.into_iter().map(|trace| trace.wire).collect()
    }
    let alone = pings::<Alone>();
    assert!(alone[0].len() > 4 * 32, "there were pings");
    assert!(pings::<Crowded>() == alone);
}

/// Law 4. The net checks that nothing waits unannounced and that no deadline stays; and who sleeps as told sees the same, at
/// the same times, as who looks every 7 ms. Fails if the timers of protocols are left out of `poll_timeout`, or
/// if a node forgets the actions that wait.
pub fn deadlines<H: Host<Protocol: Script>>() {
    for story in 0..6 {
        let asleep = run::<H>(story, story, &Manner::default());
        let manner = Manner {
            restless: Some(Duration::from_millis(7)),
            ..Manner::default()
        };
        let restless = run::<H>(story, story, &manner);
        assert_same(&restless, &asleep, &story);
    }
    // For a day nothing is asked of two connected nodes: few wakes, and none without a reason.
    let mut net: Net<H> = net(2, &H::Protocol::config(), 1, &Manner::default());
    net.dial(0, 1).expect("may dial");
    net.run_for(SECOND);
    let connections = [0, 1].map(|number| net.connections(number)[0]);
    for (number, connection) in connections.into_iter().enumerate() {
        let now = net.now;
        net.hosts[number].set_keep_alive(now, connection, true);
    }
    net.run_for(SECOND * 60);
    let before = net.wakes;
    net.run_for(SECOND * 3600 * 24);
    let wakes = net.wakes - before;
    assert!(
        net.connections(0) == [connections[0]],
        "law 4: lost while idle"
    );
    // A ping each way every 15 s, each with deadlines, deliveries and memory to give back.
    assert!(wakes <= 24 * 240 * 16, "{wakes} wakes");
    // And when nobody wants it, it is closed, and nothing wakes anybody for ever.
    for (number, connection) in connections.into_iter().enumerate() {
        let now = net.now;
        net.hosts[number].set_keep_alive(now, connection, false);
    }
    net.run_for(SECOND * 60);
    assert!(net.connections(0).is_empty(), "law 4: never woken to close");
    net.run_for(SECOND * 3600 * 24);
    let before = net.wakes;
    net.run_for(SECOND * 3600 * 24);
    assert_eq!(net.wakes, before, "law 4: wakes for nothing");
}

/// Limits that do not stand in the way.
fn generous<P: Script>() -> Config {
    let mut config = P::config();
    let limits = &mut config.limits;
    limits.connections = 10_000;
    limits.inbound = 10_000;
    limits.per_peer = 10_000;
    limits.pending = 10_000;
    limits.pending_per_address = 10_000;
    limits.per_address = 10_000;
    limits.rate_per_address = Rate::UNLIMITED;
    limits.rate_per_site = Rate::UNLIMITED;
    let plenty = Lease::new(1 << 36, 1 << 30);
    config.resources.node = plenty;
    config.resources.peer = plenty;
    config.resources.connection = plenty;
    config.connection.max_streams = 1 << 20;
    config.connection.yamux.max_inbound_streams = 1 << 20;
    config.connection.yamux.max_outbound_streams = 1 << 20;
    config.connection.yamux.max_unacknowledged = 1 << 20;
    config
}

/// Two nodes with so many connections between them, and so many streams of the host on the first of them.
fn crowd<H: Host<Protocol: Script>>(connections: usize, streams: usize) -> Net<H> {
    let config = generous::<H::Protocol>();
    let mut net: Net<H> = net(2, &config, 1, &Manner::default());
    for _ in 0..connections {
        let to = address(1).with_peer_id(peer(1)).expect("no peer yet");
        let options = DialOptions::address(to).condition(DialCondition::Always);
        let now = net.now;
        let dial = net.hosts[0].command(now, |swarm| swarm.dial(now, options));
        dial.expect("may dial");
        net.run_for(SECOND);
        for number in [0, 1] {
            let now = net.now;
            let newest = *net.connections(number).last().expect("connected");
            net.hosts[number].set_keep_alive(now, newest, true);
        }
    }
    assert_eq!(net.connections(1).len(), connections);
    let first = net.connections(0)[0];
    let mut opened = 0;
    while opened < streams {
        for _ in 0..(streams - opened).min(32) {
            let now = net.now;
            let kind = drywire::connection::StreamKind::Raw;
            let stream = net.hosts[0].open(now, first, &[crate::protocols::ECHO], kind);
            let stream = stream.expect("may open");
            let mut view = net.hosts[0].stream(first, stream).expect("opened");
            assert_eq!(view.write(b"hello"), Ok(5));
            let _ = view.read(1);
            opened += 1;
        }
        net.run_for(Duration::from_millis(50));
    }
    let received = net
        .traces
        .iter()
        .map(|trace| trace.received)
        .collect::<Vec<_>>();
    assert_eq!(received, [5 * streams; 2], "echoes");
    net.run_for(SECOND * 5);
    net
}

fn idle_polls_are_free<H: Host<Protocol: Script>>(net: &mut Net<H>, what: &dyn Debug) {
    let now = net.now;
    for host in &mut net.hosts {
        let connections: Vec<ConnectionId> =
            host.swarm().connections().map(|c| c.connection).collect();
        let mut out = Vec::with_capacity(64 * KIB);
        let (used, ()) = heap::measure(|| {
            for _ in 0..20 {
                assert!(host.poll_event().is_none() && host.poll_action().is_none());
                assert!(host.poll_timeout().is_none_or(|at| at > now));
                host.handle_timeout(now);
                for connection in connections.iter().take(3) {
                    assert!(!host.wants_transmit(*connection));
                    assert_eq!(host.handle_input(now, *connection, &[]), 0);
                    host.poll_transmit(now, *connection, &mut out, 64 * KIB);
                }
            }
        });
        assert_eq!((used.calls, out.len()), (0, 0), "{what:?}");
    }
}

/// Law 5, with ten thousand streams on a connection and with many connections. Fails if the connections are
/// gathered in a list at every poll.
pub fn idle<H: Host<Protocol: Script>>() {
    for streams in [1, 10_000] {
        idle_polls_are_free(&mut crowd::<H>(1, streams), &streams);
    }
    idle_polls_are_free(&mut crowd::<H>(300, 0), &"connections");
}

/// Law 5 for protocols that open streams of their own: with one connection and with hundreds. Fails as above.
pub fn idle_protocol<H: Host<Protocol: Script>>() {
    for connections in [1, 300] {
        idle_polls_are_free(&mut crowd::<H>(connections, 0), &connections);
    }
}

/// Law 6: a peer does what it can without an end, and reads nothing; the application does nothing. What the node holds for
/// it stays within its lease and a constant. Fails if a connection over its lease goes on reading.
pub fn bounded<H: Host<Protocol: Script>>() {
    let mut config = H::Protocol::config();
    config.security = SecurityConfig::InsecurePlaintext;
    config.resources.connection = Lease::new(1 << 20, 512);
    for (number, flood) in H::Protocol::floods().into_iter().enumerate() {
        for collects in [true, false] {
            let mut single: Single<H> = Single::new(&config, 1, 1, false);
            let mut hostile = Hostile::dial(&mut single, Secure::Plaintext, 5);
            (single.peer_reads, single.collects) = (false, collects);
            for n in 0..20_000 {
                let frames = flood(n);
                hostile.send(&mut single, &frames);
                if single.closed || single.waiting() > 0 {
                    break;
                }
                if n % 100 == 0 {
                    single.wait(Duration::from_millis(200));
                }
            }
            let peak = single.meter.total.peak;
            assert!(
                peak <= 3 << 20,
                "flood {number}, collects: {collects}: {peak}"
            );
            single.collects = true;
            single.assert_gone();
        }
    }
}

/// Law 6 for what needs no connection: sockets without an end, listeners, dials, addresses and names from a resolver; and
/// nobody collects events. Fails without the limits on connections, or without that on dials.
pub fn bounded_outside<H: Host<Protocol: Script>>() {
    for collects in [false, true] {
        flood_from_outside::<H>(collects);
    }
}

fn flood_from_outside<H: Host<Protocol: Script>>(collects: bool) {
    let config = H::Protocol::config();
    let mut host = H::new(swarm(&config, H::Protocol::fresh(), 0, 1));
    let mut dice = Dice::new(1);
    let mut now = Instant::ZERO;
    let mut meter = heap::Meter::default();
    let mut dropped: Vec<ConnectionId> = Vec::new();
    for round in 0..40_000_u32 {
        let text = format!(
            "/ip4/{}.{}.{}.1/tcp/1",
            1 + dice.below(200),
            dice.below(250),
            dice.below(250)
        );
        let remote: Multiaddr = text.parse().expect("valid");
        let peer_id =
            drywire::identity::Keypair::ed25519_from_seed(&Seed::for_tests(u64::from(round % 500)))
                .peer_id();
        meter.run(|| {
            if let Ok(id) = host.handle_accept(now, ConnectedPoint::accepted(remote.clone(), None))
            {
                dropped.push(id);
            }
            let options = DialOptions::peer(peer_id).addresses([remote.clone()]);
            host.command(now, |swarm| {
                swarm.add_address(now, peer_id, &remote);
                swarm.add_external_address(now, &remote);
                let _ = (
                    swarm.dial(now, options).is_ok(),
                    swarm.listen(now, remote.clone()).is_ok(),
                );
            });
            while let Some(action) = host.poll_action() {
                match action {
                    NodeAction::Swarm(Action::Listen { listener, .. }) => {
                        let update = ListenerUpdate::Bound(remote.clone());
                        host.command(now, |swarm| swarm.handle_listener(now, listener, update));
                    }
                    NodeAction::Close(id) => host.handle_closed(now, id),
                    NodeAction::Transmit(id) => {
                        host.poll_transmit(now, id, &mut Vec::new(), KIB);
                    }
                    _ => {}
                }
            }
            dropped.clear();
            while collects && host.poll_event().is_some() {}
        });
        if round % 100 == 0 {
            now = now + Duration::from_millis(10);
        }
    }
    let peak = meter.total.peak;
    println!("a flood of sockets, dials and addresses, collects {collects}: {peak} B");
    // 1024 dials with their addresses, 448 connections in their handshake, 500 peers in the address book, and events.
    assert!(peak <= 17 << 18, "{peak}");
    assert!(host.swarm().refusals() > 30_000);
}

/// What node `from` of two says to the other, in a run of a few seconds in which only its application acts.
fn transcript<H: Host<Protocol: Script>>(config: &Config, from: usize) -> Vec<Vec<u8>> {
    let mut net: Net<H> = net(2, config, 1, &Manner::default());
    net.dial(0, 1).expect("may dial");
    let mut dice = Dice::new(3);
    net.run_for(SECOND);
    for _ in 0..8 {
        H::Protocol::act(&mut net, from, 1 - from, &mut dice);
        net.run_for(SECOND / 4);
    }
    let Trace { wire, flights, .. } = &net.traces[from];
    let mut rest = &wire[..];
    let flights = flights.iter().map(|length| {
        let (flight, after) = rest.split_at(*length);
        rest = after;
        flight.to_vec()
    });
    flights.collect()
}

/// Law 7: what one node said, changed, is said to the other. Over the insecure protocol, so that it gets far. Fails if
/// identify takes for granted that a message can be read.
pub fn no_panic<H: Host<Protocol: Script>>() {
    let mut config = H::Protocol::config();
    config.security = SecurityConfig::InsecurePlaintext;
    let wires = [0, 1].map(|from| transcript::<H>(&config, from));
    let (mut dice, mut survived) = (Dice::new(1), 0);
    for case in 0..600 {
        let number = case % 2;
        let mut wrong = wires[1 - number].clone();
        for _ in 0..dice.below(4) {
            let at = dice.below(wrong.len());
            dice.mutate(&mut wrong[at]);
        }
        let mut single: Single<H> = Single::new(&config, number, 1, number == 0);
        for flight in wrong {
            for piece in flight.chunks(200 + dice.below(4000)) {
                single.input(piece);
            }
            single.wait(Duration::from_millis(20));
        }
        survived += usize::from(!single.closed);
        single.wait(SECOND * dice.below(100) as u32);
        single.assert_gone();
    }
    assert!(survived > 50, "{survived}: hardly anything gets far");
    // And what the host's own world may say.
    let mut net: Net<H> = net(1, &config, 1, &Manner::default());
    let now = net.now;
    let mut text =
        b"dnsaddr=/ip4/1.2.3.4/tcp/1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
            .to_vec();
    for _ in 0..300 {
        let name: Multiaddr = "/dnsaddr/example.org".parse().expect("valid");
        let name = name.with_peer_id(peer(3)).expect("no peer yet");
        let host = &mut net.hosts[0];
        let _ = host.command(now, |swarm| {
            swarm.dial(now, DialOptions::address(name).ignore_backoff())
        });
        dice.mutate(&mut text);
        while let Some(action) = host.poll_action() {
            if let NodeAction::Swarm(Action::Resolve { lookup, .. }) = action {
                let answer = vec![String::from_utf8_lossy(&text).into_owned(); dice.below(40)];
                host.command(now, |swarm| {
                    swarm.handle_resolved(now, lookup, Ok(Resolved::Text(answer)))
                });
            }
        }
        while host.poll_event().is_some() {}
    }
}

/// Law 8. The first reason for which a connection ends is the one that is told, once, whatever follows. Fails if losing the
/// pipe replaces it.
pub fn errors<H: Host<Protocol: Script>>() {
    let ends: [fn(&mut H, Instant, ConnectionId); 4] = [
        |host, now, id| host.command(now, |swarm| swarm.close(now, id)),
        |host, now, id| host.handle_lost(now, id, "first".into()),
        |host, now, id| host.handle_eof(now, id),
        |host, now, id| {
            host.handle_input(now, id, &[0; 64]);
        },
    ];
    for first in 0..ends.len() {
        for second in 0..ends.len() {
            let mut reasons = Vec::new();
            // With the second end, and without it.
            for again in [false, true] {
                let mut net: Net<H> = net(2, &H::Protocol::config(), 1, &Manner::default());
                net.dial(0, 1).expect("may dial");
                net.run_for(SECOND);
                let (now, id) = (net.now, net.connections(0)[0]);
                let mut told = Vec::new();
                let mut drain = |host: &mut H| {
                    // Nothing is written: that a socket wants to may be said again and again.
                    for _ in 0..100 {
                        host.poll_action();
                    }
                    while let Some(event) = host.poll_event() {
                        if let NodeEvent::Swarm(Event::ConnectionClosed { reason, .. }) = event {
                            told.push(reason);
                        }
                    }
                };
                ends[first](&mut net.hosts[0], now, id);
                drain(&mut net.hosts[0]);
                if again {
                    ends[second](&mut net.hosts[0], now, id);
                    drain(&mut net.hosts[0]);
                }
                net.hosts[0].handle_lost(now, id, "at last".into());
                drain(&mut net.hosts[0]);
                net.hosts[0].handle_closed(now, id);
                drain(&mut net.hosts[0]);
                assert_eq!(told.len(), 1, "{first}, {second}: {told:?}");
                reasons.extend(told);
            }
            assert_eq!(reasons[0], reasons[1], "{first}, {second}");
            assert!(!reasons[0].to_string().is_empty());
        }
    }
}

/// Law 9. After the end nothing is said or kept. Fails if ping keeps the timer of a connection that is gone.
pub fn quiet_end<H: Host<Protocol: Script>>() {
    // What is made once in a process.
    run::<H>(0, 0, &Manner::default());
    for story in 0..6 {
        let (used, ()) = heap::measure(|| {
            let mut net: Net<H> = net(3, &H::Protocol::config(), 1, &Manner::default());
            tell(&mut net, story);
            for number in 0..3 {
                let now = net.now;
                net.hosts[number].command(now, |swarm| swarm.shutdown(now));
            }
            // Longer than closing takes, and shorter than any protocol rests.
            net.run_for(SECOND * 7);
            for (host, trace) in net.hosts.iter_mut().zip(&net.traces) {
                let last = trace.events.last();
                let complete = last.is_some_and(|event| event.ends_with("Swarm(ShutdownComplete)"));
                assert!(complete, "{last:?}");
                assert_eq!(host.swarm().connection_count(), 0);
                assert_eq!(
                    host.swarm().protocols().poll_timeout(),
                    None,
                    "a timer of the protocols"
                );
            }
            // What outlives it (rates, pauses) does so for a while only, and says nothing.
            let told: Vec<usize> = net.traces.iter().map(|trace| trace.events.len()).collect();
            net.run_for(SECOND * 100_000);
            for (number, host) in net.hosts.iter_mut().enumerate() {
                assert_eq!(net.traces[number].events.len(), told[number]);
                assert_eq!(host.poll_timeout(), None);
                host.handle_timeout(Instant::FAR_FUTURE);
                assert!(host.poll_event().is_none() && host.poll_action().is_none());
                let now = Instant::FAR_FUTURE;
                let point = ConnectedPoint::accepted(address(2), None);
                assert_eq!(host.handle_accept(now, point), Err(Refused::ShuttingDown));
                let options = DialOptions::address(address(2));
                assert!(host.command(now, |swarm| swarm.dial(now, options)).is_err());
                assert!(host.poll_event().is_none() && host.poll_action().is_none());
                assert_eq!(host.poll_timeout(), None);
            }
        });
        assert_eq!(used.kept, 0, "story {story}: something is kept");
    }
    refused_leaves_nothing::<H>();
    connections_leave_nothing::<H>();
}

/// Refused means as if it had never come.
fn refused_leaves_nothing<H: Host<Protocol: Script>>() {
    let mut config = H::Protocol::config();
    config.limits.inbound = 1;
    let mut host = H::new(swarm(&config, H::Protocol::fresh(), 0, 1));
    let now = Instant::ZERO + SECOND;
    let remote = |n: usize| -> Multiaddr {
        format!("/ip4/198.51.{}.{}/tcp/1", n / 250, n % 250)
            .parse()
            .expect("valid")
    };
    let first = host.handle_accept(now, ConnectedPoint::accepted(remote(0), None));
    first.expect("one may come");
    while host.poll_event().is_some() || host.poll_action().is_some() {}
    let (deadline, before) = (host.poll_timeout(), heap::bytes());
    for n in 1..1000 {
        let point = ConnectedPoint::accepted(remote(n), None);
        assert_eq!(
            host.handle_accept(now, point),
            Err(Refused::TooManyConnections)
        );
        assert!(host.poll_event().is_none() && host.poll_action().is_none());
        assert_eq!(host.poll_timeout(), deadline);
    }
    assert_eq!(heap::bytes(), before, "refused, and remembered");
}

/// What one connection after the other leaves does not add up.
fn connections_leave_nothing<H: Host<Protocol: Script>>() {
    let mut net: Net<H> = net(2, &H::Protocol::config(), 1, &Manner::default());
    let mut dice = Dice::new(1);
    let mut kept = Vec::with_capacity(150);
    for _ in 0..150 {
        net.dial(0, 1).expect("may dial");
        net.run_for(SECOND);
        H::Protocol::act(&mut net, 0, 1, &mut dice);
        net.run_for(SECOND);
        let now = net.now;
        net.hosts[0].command(now, |swarm| swarm.disconnect(now, &peer(1)));
        net.run_for(SECOND * 1000);
        assert_eq!(net.hosts[1].swarm().connection_count(), 0);
        for trace in &mut net.traces {
            *trace = Trace::default();
        }
        kept.push(heap::bytes());
    }
    // In time all there is to remember has been seen.
    let (early, late) = (kept[50], kept[149]);
    assert!(late <= early + 256, "it adds up: {:?}", &kept[50..]);
}
