//! Listeners, and attempts to connect to them.

use super::*;
use std::collections::BTreeSet;

fn outcome(stage: &Stage, attempt: ConnectId) -> Result<(), NetworkError> {
    let result = stage.attempts[&attempt].unwrap();
    result.map(|_| ())
}

#[test]
fn attempts_end_as_an_operating_system_would_end_them() {
    let link = Link::default().latency(ms(10));
    let mut stage = Stage::new(1, 2, link.clone());
    let cases = [
        ("10.0.0.2:4001", Ok(()), ms(20)),
        ("10.0.0.2:4002", Err(NetworkError::Refused), ms(20)),
        ("10.0.0.9:4001", Err(NetworkError::Unreachable), ms(10)),
        ("[2001:db8::1]:1", Err(NetworkError::Unreachable), ms(10)),
    ];
    stage.listen(1);
    for (remote, expected, after) in cases {
        let began = stage.now;
        let attempt = stage.dial_to(0, address(remote));
        stage.run_until(|stage| stage.attempts[&attempt].is_some());
        assert_eq!(outcome(&stage, attempt), expected, "{remote}");
        assert_eq!(stage.now - began, after, "{remote}");
    }
    stage.run();
    let faults = [
        ("refused", Err(NetworkError::Refused), Fault::RefusedConnect),
        ("black hole", Err(NetworkError::TimedOut), Fault::BlackHole),
        ("late", Ok(()), Fault::LateConnect),
    ];
    for (which, expected, fault) in faults {
        let of = |name| f64::from(u8::from(which == name));
        let link = Link {
            refusals: of("refused"),
            black_holes: of("black hole"),
            late_connects: of("late"),
            ..link.clone()
        };
        stage.net.set_default_link(link).unwrap();
        let began = stage.now;
        let attempt = stage.dial(0, 1);
        stage.run_until(|stage| stage.attempts[&attempt].is_some());
        assert_eq!(outcome(&stage, attempt), expected, "{which}");
        assert_eq!(stage.net.faults().of(fault), 1, "{which}");
        assert!(stage.now - began >= ms(20), "{which}");
        stage.run();
    }
    stage.assert_forgotten();
}

#[test]
fn an_attempt_can_be_given_up_at_any_time() {
    // The answer comes after 2 ms, the listener accepts after 3.
    for microseconds in (0..4000).step_by(250) {
        for permuted in [false, true] {
            let mut stage = Stage::new(microseconds, 2, Link::default());
            stage.net.permute_ties(permuted);
            let listener = stage.listen(1);
            let attempt = stage.dial(0, 1);
            stage.run_for(Duration::from_micros(microseconds));
            stage.net.cancel_connect(attempt);
            let was_told = stage.attempts[&attempt].is_some();
            assert_eq!(was_told, microseconds >= 2000);
            stage.run();
            assert_eq!(stage.attempts[&attempt].is_some(), was_told);
            assert_eq!(stage.accepted.len(), usize::from(was_told));
            stage.net.close_listener(stage.now, listener);
            stage.run();
            stage.assert_forgotten();
        }
    }
}

#[test]
fn given_up_where_answer_and_acceptance_are_at_one_instant_the_listener_sees_a_reset() {
    let mut resets = 0;
    for seed in 0..40 {
        let link = Link::default().latency(Duration::ZERO);
        let mut stage = Stage::new(seed, 2, link);
        stage.net.permute_ties(true);
        stage.plans[1].finish = false;
        stage.listen(1);
        let attempt = stage.dial(0, 1);
        // Until the listener has accepted, or else the dialer is told.
        stage.run_until(|stage| !stage.accepted.is_empty() || stage.attempts[&attempt].is_some());
        let told = stage.attempts[&attempt].is_some();
        stage.net.cancel_connect(attempt);
        stage.run();
        if let (Some((end, _)), false) = (stage.accepted.first(), told) {
            resets += 1;
            assert_eq!(stage.users[end].end, Some(Err(NetworkError::Reset)));
            stage.assert_forgotten();
        }
    }
    assert!(resets > 3, "{resets}");
}

#[test]
fn without_descriptors_nothing_is_opened_and_who_waits_is_accepted_later() {
    let mut stage = Stage::new(1, 2, Link::default());
    let listener = stage.listen(1);
    let (dialer, host) = (HostId(0), HostId(1));
    let until = Instant::ZERO + secs(5);
    stage.net.exhaust_descriptors(host, until);
    stage.net.exhaust_descriptors(dialer, Instant::ZERO + ms(1));
    let at = address("10.0.0.2:7");
    let none = NetworkError::OutOfDescriptors;
    assert_eq!(stage.net.listen(host, at).map(drop), Err(none));
    assert_eq!(stage.net.bind(host, at).map(drop), Err(none));
    let failed = stage.dial(0, 1);
    stage.run_for(ms(1));
    assert_eq!(outcome(&stage, failed), Err(none));
    let told = |stage: &Stage| {
        let of = |(_, _, signal): &&(_, _, Signal)| matches!(signal, Signal::Connected(..));
        stage.log.iter().filter(of).count()
    };
    assert_eq!(told(&stage), 1);
    let attempt = stage.dial(0, 1);
    stage.run_for(secs(4));
    assert_eq!(outcome(&stage, attempt), Ok(()));
    assert_eq!(stage.net.accept(stage.now, listener).map(drop), Err(none));
    assert!(stage.accepted.is_empty());
    // Only a signal makes the host look again.
    stage.run();
    assert_eq!(stage.accepted.len(), 1);
    assert_eq!(told(&stage), 2, "the first attempt went no further");
    assert_eq!(stage.net.faults().of(Fault::OutOfDescriptors), 2);
    stage.assert_forgotten();
}

#[test]
fn a_backlog_has_an_end_and_whoever_waits_in_it_is_reset_when_the_listener_closes() {
    let mut stage = Stage::new(1, 2, Link::default());
    let listener = stage.listen(1);
    // Nobody accepts.
    stage
        .net
        .exhaust_descriptors(HostId(1), Instant::ZERO + secs(1000));
    for _ in 0..1024 {
        stage.dial(0, 1);
    }
    stage.run_for(ms(10));
    assert_eq!(stage.users.len(), 1024);
    let late = stage.dial(0, 1);
    stage.run_for(secs(60));
    assert_eq!(stage.attempts[&late], None);
    stage.run_for(secs(80));
    assert_eq!(outcome(&stage, late), Err(NetworkError::TimedOut));
    stage.net.close_listener(stage.now, listener);
    stage.net.close_listener(stage.now, listener);
    stage.run_for(secs(1));
    let reset = |user: &User| user.end == Some(Err(NetworkError::Reset));
    assert!(stage.users.values().all(reset));
    let refused = stage.dial(0, 1);
    stage.run();
    assert_eq!(outcome(&stage, refused), Err(NetworkError::Refused));
    assert_eq!(
        stage.net.accept(stage.now, listener).map(drop),
        Err(NetworkError::Closed)
    );
    stage.assert_forgotten();
}

#[test]
fn more_at_once_than_a_backlog_holds_are_reset() {
    let mut stage = Stage::new(1, 2, Link::default());
    let until = Instant::ZERO + secs(1);
    stage.listen(1);
    stage.net.exhaust_descriptors(HostId(1), until);
    for _ in 0..1100 {
        stage.dial(0, 1);
    }
    stage.run();
    let reset = |user: &&User| user.end == Some(Err(NetworkError::Reset));
    assert_eq!(stage.users.values().filter(reset).count(), 1100 - 1024);
    assert_eq!(stage.accepted.len(), 1024);
    stage.assert_forgotten();
}

#[test]
fn a_listener_that_closes_before_the_last_word_is_there_resets_the_dialer() {
    let mut stage = Stage::new(1, 2, Link::default());
    stage.plans[0].finish = false;
    let listener = stage.listen(1);
    let attempt = stage.dial(0, 1);
    stage.run_for(Duration::from_micros(2500));
    assert_eq!(outcome(&stage, attempt), Ok(()));
    stage.net.close_listener(stage.now, listener);
    stage.run();
    let [user] = stage.users.values().collect::<Vec<_>>()[..] else {
        panic!("nobody accepts");
    };
    assert_eq!(user.end, Some(Err(NetworkError::Reset)));
    stage.assert_forgotten();
}

#[test]
fn addresses_and_ports_are_those_of_the_host() {
    let mut stage = Stage::new(1, 1, Link::default());
    let addresses = ["10.0.0.9", "2001:db8::9"].map(|ip| ip.parse().unwrap());
    let host = stage.net.add_host(addresses.to_vec(), None).unwrap();
    let duplicate = stage.net.add_host(vec![addresses[1]], None);
    assert_eq!(duplicate, Err(WorldError::DuplicateAddress(addresses[1])));
    let listen = |stage: &mut Stage, at: &str| {
        let bound = stage.net.listen(host, address(at));
        bound.map(|(_, address)| address.to_string())
    };
    let at = |text: &str| Ok(text.to_owned());
    assert_eq!(listen(&mut stage, "10.0.0.9:1"), at("10.0.0.9:1"));
    assert_eq!(
        listen(&mut stage, "10.0.0.9:1"),
        Err(NetworkError::AddressInUse)
    );
    assert_eq!(listen(&mut stage, "[2001:db8::9]:1"), at("[2001:db8::9]:1"));
    assert_eq!(listen(&mut stage, "0.0.0.0:1"), at("0.0.0.0:1"));
    assert_eq!(listen(&mut stage, "[::]:2"), at("[::]:2"));
    assert_eq!(
        listen(&mut stage, "10.0.0.1:1"),
        Err(NetworkError::AddressNotAvailable)
    );
    let mut ports = BTreeSet::new();
    for _ in 0..50 {
        let bound: SocketAddr = listen(&mut stage, "10.0.0.9:0").unwrap().parse().unwrap();
        assert!(bound.port() >= FIRST_PORT && ports.insert(bound.port()));
    }
    // Once around: ports in use are passed over.
    for _ in 0..40_000 {
        let (listener, bound) = stage.net.listen(host, address("10.0.0.9:0")).unwrap();
        assert!(!ports.contains(&bound.port()));
        stage.net.close_listener(stage.now, listener);
    }
    for (remote, expected) in [
        ("10.0.0.9:1", Ok(())),
        ("10.0.0.9:2", Err(NetworkError::Refused)),
        ("[2001:db8::9]:2", Err(NetworkError::Unreachable)),
    ] {
        let attempt = stage.dial_to(0, address(remote));
        stage.run();
        assert_eq!(outcome(&stage, attempt), expected, "{remote}");
    }
}

#[test]
fn every_port_taken_is_no_endless_search() {
    let mut stage = Stage::new(1, 1, Link::default());
    for _ in FIRST_PORT..=u16::MAX {
        stage.net.listen(HostId(0), address("10.0.0.1:0")).unwrap();
        stage.net.bind(HostId(0), address("10.0.0.1:0")).unwrap();
    }
    let full = Err(NetworkError::AddressInUse);
    let at = address("10.0.0.1:0");
    assert_eq!(stage.net.listen(HostId(0), at).map(drop), full);
    assert_eq!(stage.net.bind(HostId(0), at).map(drop), full);
}

#[test]
fn loopback_and_unspecified_listeners_reach_whom_they_should() {
    let mut stage = Stage::new(1, 2, Link::default().latency(secs(1)));
    let local = address("127.0.0.1:1");
    let any = address("0.0.0.0:2");
    stage.net.listen(HostId(1), local).unwrap();
    stage.net.listen(HostId(1), any).unwrap();
    for (from, remote, expected) in [
        (1, "127.0.0.1:1", Ok("127.0.0.1")),
        (1, "10.0.0.2:1", Err(NetworkError::Refused)),
        (0, "127.0.0.1:1", Err(NetworkError::Refused)),
        (0, "10.0.0.2:2", Ok("10.0.0.1")),
        (1, "127.0.0.1:2", Ok("127.0.0.1")),
        (1, "10.0.0.2:2", Ok("10.0.0.2")),
    ] {
        let began = stage.now;
        let attempt = stage.dial_to(from, address(remote));
        stage.run();
        let quick = stage.now - began < secs(1);
        assert_eq!(quick, from == 1 || remote.starts_with("127"), "{remote}");
        match (stage.attempts[&attempt].unwrap(), expected) {
            (Ok(_), Ok(ip)) => {
                let (_, seen) = stage.accepted.pop().unwrap();
                assert_eq!(seen.ip().to_string(), ip, "{remote}");
            }
            (result, expected) => {
                assert_eq!(result.map(|_| ""), expected, "{from} {remote}");
            }
        }
    }
    // What is said of the way to oneself counts.
    let slow = Link::default().latency(secs(7));
    stage.net.set_link(HostId(1), HostId(1), slow).unwrap();
    let began = stage.now;
    stage.dial_to(1, local);
    stage.run();
    assert!(stage.now - began >= secs(14));
    stage.assert_forgotten();
}

#[test]
fn both_ends_know_the_same_addresses() {
    let (mut stage, [dialer, listener]) =
        Stage::pipe(1, Link::default(), [Plan::default(), Plan::default()]);
    let (near, far) = stage.net.endpoint_addresses(dialer).unwrap();
    assert_eq!(stage.net.endpoint_addresses(listener), Some((far, near)));
    assert_eq!(stage.accepted, [(listener, near)]);
    assert_eq!(far, address("10.0.0.2:4001"));
    assert_eq!(stage.net.opposite(dialer), listener);
    assert_eq!(stage.net.peer_of(dialer), Some((HostId(1), true)));
    stage.close(listener);
    assert_eq!(stage.net.peer_of(dialer), Some((HostId(1), false)));
}

#[test]
fn nothing_arrives_before_the_pipe_is_there() {
    for seed in 0..200 {
        let link = Link::default().jitter(1.5);
        let plan = Plan {
            finish: false,
            ..Plan::sends(10)
        };
        let (mut stage, [dialer, listener]) = Stage::pipe(seed, link, [plan.clone(), plan]);
        stage.run();
        for end in [dialer, listener] {
            let about = |signal: &Signal| match signal {
                Signal::Readable(of) | Signal::Writable(of) => *of == end,
                Signal::Connected(_, Ok(of)) => *of == end,
                Signal::Acceptable(_) => end == listener,
                _ => false,
            };
            let mut signals = stage.log.iter().map(|(_, _, signal)| *signal);
            let first = signals.find(about).unwrap();
            let begins = matches!(first, Signal::Connected(..) | Signal::Acceptable(_));
            assert!(begins, "seed {seed}: {first:?}");
        }
    }
}
