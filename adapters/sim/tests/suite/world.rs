//! Worlds do what they are told, and the same each time.

use bytes::BytesMut;
use core::cell::RefCell;
use core::{
    cell::Cell,
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use drywire::{
    node::NodeEvent,
    protocol::{Standard, StandardEvent},
    swarm::{Config, DialOptions, Event},
};
use drywire_engine::{Host as AsyncHost, Runtime};
use drywire_sim::{Host, HostBuilder, HostContext, Link, PORT, TraceHash, World, WorldError};
use std::{rc::Rc, sync::Arc};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn two(seed: u64, link: Link) -> (World, TraceHash) {
    let mut world = World::new(seed);
    world.set_default_link(link).unwrap();
    let alice = world.add(HostBuilder::standard("alice")).unwrap();
    let bob = world.add(HostBuilder::standard("bob")).unwrap();
    world.dial(alice, bob).unwrap();
    assert!(
        world
            .run_until(Duration::from_secs(30), |world| world
                .are_connected(alice, bob))
            .unwrap()
    );
    world.run_for(Duration::from_secs(60)).unwrap();
    let events = world.events(alice);
    let pings = events.iter().filter(|(_, event)| {
        matches!(event, NodeEvent::Swarm(Event::Protocol(StandardEvent::Ping(ping))) if ping.result.is_ok())
    });
    assert!(pings.count() > 0, "{events:?}");
    let hash = world.trace_hash();
    (world, hash)
}

#[test]
fn two_hosts_meet_over_a_bad_link_and_the_same_seed_gives_the_same_run() {
    let bad = Link::default()
        .latency(Duration::from_millis(80))
        .jitter(0.3)
        .loss(0.05)
        .biased_pieces();
    let (world, first) = two(1, bad.clone());
    assert!(world.statistics().faults.total() > 0);
    let (_, again) = two(1, bad.clone());
    let (_, other) = two(2, bad);
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_world_that_cannot_be_built_says_why() {
    let mut world = World::new(1);
    let alice = world.add(HostBuilder::standard("alice")).unwrap();
    assert_eq!(
        world.add(HostBuilder::standard("alice")).unwrap_err(),
        WorldError::DuplicateName("alice".into())
    );
    let ip = world.network().addresses(alice.id())[0];
    assert_eq!(
        world
            .add(HostBuilder::standard("bob").address(ip))
            .unwrap_err(),
        WorldError::DuplicateAddress(ip)
    );
    let error = world
        .set_default_link(Link::default().loss(-0.5))
        .unwrap_err();
    assert_eq!(error.to_string(), "loss cannot be -0.5");
    for (link, name) in [
        (Link::default().jitter(f64::NAN), "jitter cannot be NaN"),
        (Link::default().jitter(100.0), "jitter cannot be 100"),
        (
            Link::default().latency(secs(90_000)),
            "latency cannot be 90000",
        ),
        (Link::default().latency(Duration::MAX), "latency cannot be"),
        (Link::default().buffer(0), "buffer cannot be 0"),
        (Link::default().bandwidth(0), "bandwidth cannot be 0"),
    ] {
        let error = world.set_link(alice, alice, link).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let stranger = World::new(2).add(HostBuilder::standard("x")).unwrap();
    let mut empty = World::new(3);
    assert_eq!(
        empty.crash(stranger).unwrap_err(),
        WorldError::UnknownHost(stranger.id())
    );
}

#[test]
fn a_host_that_cannot_be_added_was_never_there() {
    let add = |world: &mut World, listeners| {
        let mut config = Config::default();
        config.limits.listeners = listeners;
        world.add(HostBuilder::standard("bob").config(config))
    };
    let run = |refused: bool| {
        let mut world = World::new(1);
        let alice = world.add(HostBuilder::standard("alice")).unwrap();
        if refused {
            let error = add(&mut world, 0).unwrap_err();
            assert_eq!(error, WorldError::Refused("too many listeners".into()));
            assert_eq!((world.hosts().count(), world.find("bob")), (1, None));
        }
        let bob = add(&mut world, 1).unwrap();
        let address = world.address(bob).unwrap();
        world.connect(alice, bob).unwrap();
        (bob.id(), world.peer_id(bob).unwrap(), address)
    };
    let (id, peer, _) = run(true);
    let (other, same, _) = run(false);
    assert_eq!((id, peer), (other, same));
}

#[test]
fn addresses_are_given_until_there_are_no_more_and_never_twice() {
    let mut world = World::new(1);
    let second = Ipv4Addr::new(198, 18, 0, 2);
    let own = world.add_bare("own", vec![second.into()], None).unwrap();
    let mut last = own;
    for number in 1.. {
        match world.add_bare(number.to_string(), Vec::new(), None) {
            Ok(host) => last = host,
            Err(error) => {
                assert_eq!(error, WorldError::OutOfAddresses);
                break;
            }
        }
    }
    // All of 198.18.0.0/15 but its first and its last.
    assert_eq!(world.hosts().count(), (1 << 17) - 2);
    let highest = Ipv4Addr::new(198, 19, 255, 254);
    assert_eq!(world.network().addresses(last), [highest]);
    assert_eq!(world.network().addresses(own), [second]);
}

#[test]
fn of_the_trace_the_last_lines_are_kept() {
    let (mut world, _) = two(1, Link::default());
    let all = world.trace();
    world.keep_trace(5);
    assert_eq!(world.trace(), all[all.len() - 5..]);
}

#[test]
fn a_crashed_host_is_missed_and_comes_back() {
    for silently in [false, true] {
        let mut world = World::new(5);
        let alice = world.add(HostBuilder::standard("alice")).unwrap();
        let bob = world.add(HostBuilder::standard("bob")).unwrap();
        world.dial(alice, bob).unwrap();
        assert!(
            world
                .run_until(Duration::from_secs(5), |world| world
                    .are_connected(alice, bob))
                .unwrap()
        );
        let down = if silently {
            world.lose_power(bob)
        } else {
            world.crash(bob)
        };
        down.unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(world.has_connection(alice, bob), silently);
        let noticed = world.run_until(Duration::from_secs(120), |world| {
            !world.has_connection(alice, bob)
        });
        assert!(noticed.unwrap(), "keep-alive finds out");
        world.restart(bob).unwrap();
        world.run_for(Duration::from_secs(600)).unwrap();
        world.dial(alice, bob).unwrap();
        assert!(
            world
                .run_until(Duration::from_secs(10), |world| world
                    .are_connected(alice, bob))
                .unwrap()
        );
    }
}

#[test]
fn what_is_waited_for_in_vain_is_told_with_what_came_instead() {
    let mut world = World::new(1);
    let alice = world.add(HostBuilder::standard("alice")).unwrap();
    let bob = world.add(HostBuilder::standard("bob")).unwrap();
    let closed = |event: &NodeEvent<StandardEvent>| {
        matches!(event, NodeEvent::Swarm(Event::ConnectionClosed { .. })).then_some(())
    };
    world.dial(alice, bob).unwrap();
    let begun = world.now();
    let error = world.wait_for(bob, secs(5), closed).unwrap_err();
    assert_eq!(world.now(), begun + secs(5));
    assert!(
        error.to_string().contains("ConnectionEstablished"),
        "{error}"
    );
    assert!(world.events(bob).is_empty(), "they were taken out");
    world.crash(alice).unwrap();
    world.wait_for(bob, secs(5), closed).unwrap();
    assert!(
        world.now() < begun + secs(6),
        "it waits no longer than it must"
    );
    // What was found was taken out, and what a host collected before it went down can still be waited for.
    assert!(world.wait_for(bob, secs(5), closed).is_err());
    let dialed = |event: &NodeEvent<StandardEvent>| {
        matches!(event, NodeEvent::Swarm(Event::Dialed { .. })).then_some(())
    };
    world.wait_for(alice, Duration::ZERO, dialed).unwrap();

    world.isolate([alice]);
    world.restart(alice).unwrap();
    let error = world.connect(alice, bob).unwrap_err().to_string();
    assert!(
        error.contains("alice and bob did not connect within 60s"),
        "{error}"
    );
    assert!(error.contains("alice connects to"), "{error}");
}

#[test]
fn a_script_that_cannot_be_carried_out_ends_the_run() {
    let mut world = World::new(1);
    let alice = world.add(HostBuilder::standard("alice")).unwrap();
    let deaf = world
        .add(HostBuilder::standard("deaf").dial_only())
        .unwrap();
    let bare = world.add_runtime("bare").unwrap().host();
    world.after(secs(1), move |world| world.crash(alice));
    world.after(secs(2), move |world| world.dial(deaf, alice));
    world.after(secs(3), move |world| world.isolate([deaf]));
    world.run_for(secs(4)).unwrap();
    for (to, why) in [
        (deaf.id(), "deaf does not listen"),
        (bare, "bare runs no node"),
    ] {
        assert_eq!(world.address(to).unwrap_err().to_string(), why);
    }
    world.after(secs(1), move |world| world.dial(deaf, bare));
    let violation = world.run_for(secs(2)).unwrap_err();
    assert_eq!(violation.message, "bare runs no node");
    assert_eq!(violation.at, world.now());
    assert!(world.run_for(secs(1)).is_err(), "it stays over");
}

#[test]
fn invariants_of_ones_own_are_checked_after_every_step_or_now_and_then() {
    let steps = |every: u64| {
        let mut world = World::new(1);
        world.check_every(every);
        let checked = Rc::new(Cell::new(0));
        let count = checked.clone();
        world.add_invariant("counted", move |_| {
            count.set(count.get() + 1);
            Ok(())
        });
        let alice = world.add(HostBuilder::standard("alice")).unwrap();
        let bob = world.add(HostBuilder::standard("bob")).unwrap();
        world.dial(alice, bob).unwrap();
        world.run_for(secs(60)).unwrap();
        (world.steps(), checked.get())
    };
    let (all, checked) = steps(1);
    assert_eq!(checked, all);
    let (all, checked) = steps(10);
    assert_eq!(checked, all / 10);
    assert_eq!(steps(0).1, 0);

    let mut world = World::new(1);
    world.add_invariant("never", |world| match world.elapsed() {
        time if time < secs(3) => Ok(()),
        _ => Err("too late".into()),
    });
    world.add_invariant("never either", |_| Ok(()));
    world.after(secs(2), |_| ());
    world.after(secs(3), |_| ());
    world.after(secs(4), |_| ());
    let violation = world.run_for(secs(10)).unwrap_err();
    assert_eq!((violation.invariant, world.elapsed()), ("never", secs(3)));
}

#[test]
fn names_of_hosts_resolve() {
    let mut world = World::new(1);
    let alice = world.add(HostBuilder::standard("alice")).unwrap();
    world.set_name("carol", vec![Ipv4Addr::new(10, 0, 0, 9).into()]);
    for (name, ip) in [("bob", None), ("carol", Some(Ipv4Addr::new(10, 0, 0, 7)))] {
        let mut builder = HostBuilder::standard(name);
        if let Some(ip) = ip {
            builder = builder.address(ip.into());
        }
        let host = world.add(builder).unwrap();
        let address = format!("/dns4/{name}/tcp/4001").parse().unwrap();
        world
            .dial_with(alice, DialOptions::address(address))
            .unwrap();
        world.run_for(secs(5)).unwrap();
        // What was said about a name before goes before.
        assert_eq!(world.are_connected(alice, host), ip.is_none());
    }
}

#[test]
fn hosts_of_all_kinds_live_in_one_world_and_may_come_late() {
    let mut world = World::new(3);
    world.set_default_link(Link::default().jitter(0.2)).unwrap();
    // A closure is an application.
    let met = Rc::new(Cell::new(0));
    let count = met.clone();
    let popular = HostBuilder::standard("popular").application(
        move |event: NodeEvent<StandardEvent>, _: &mut HostContext<'_, Standard>| {
            if let NodeEvent::Swarm(Event::ConnectionEstablished { .. }) = event {
                count.set(count.get() + 1);
            }
        },
    );
    let popular = world.add(popular).unwrap();
    // Many machines of the same kind.
    let many: Result<Vec<Host<Standard>>, WorldError> = (0..10)
        .map(|number| world.add(HostBuilder::standard(format!("guest {number}"))))
        .collect();
    for guest in many.unwrap() {
        world.dial(guest, popular).unwrap();
    }
    // Async code.
    let runtime = world.add_runtime("async").unwrap();
    runtime.spawn({
        let runtime = runtime.clone();
        async move {
            let host = AsyncHost::builder(runtime.clone(), Standard::default())
                .start()
                .unwrap();
            let address = "/dns4/popular/tcp/4001".parse().unwrap();
            host.dial(DialOptions::address(address)).await.unwrap();
            runtime.sleep(secs(1_000)).await;
        }
    });
    // A peer that breaks the rules.
    let mallory = world.add_runtime("mallory").unwrap();
    let address = world.network().addresses(popular.id())[0];
    let refused = Arc::new(AtomicU64::new(0));
    mallory.spawn({
        let (runtime, refused) = (mallory.clone(), refused.clone());
        async move {
            loop {
                let mut pipe = runtime.connect((address, PORT).into()).await.unwrap();
                pipe.write_all(&[0xff; 100]).await.unwrap();
                let mut answer = BytesMut::with_capacity(100);
                while pipe.read(&mut answer).await.is_ok_and(|count| count > 0) {}
                refused.fetch_add(1, Ordering::Relaxed);
                runtime.sleep(Duration::from_millis(500)).await;
            }
        }
    });
    // One that comes late, and knows nothing but a name.
    world.after(secs(5), |world| {
        let late = world.add(HostBuilder::standard("late"))?;
        let popular = world.find("popular").map(|host| world.address(host));
        world.dial_with(late, DialOptions::address(popular.expect("it is there")?))
    });
    world.run_for(secs(10)).unwrap();
    assert_eq!(met.get(), 12);
    assert!((15..=20).contains(&refused.load(Ordering::Relaxed)));
    // Some are not even let in: many have come from one address within a short time.
    let statistics = world.statistics();
    assert_eq!(
        statistics.incoming_failed + statistics.refused,
        refused.load(Ordering::Relaxed),
        "{:?}",
        statistics.errors
    );

    // Names of one world are no names of another.
    let error = World::new(1).run_on(popular, |_, _| ()).unwrap_err();
    assert_eq!(error, WorldError::UnknownHost(popular.id()));
    world.crash(popular).unwrap();
    let error = world.run_on(popular, |_, _| ()).unwrap_err();
    assert_eq!(error, WorldError::HostDown(popular.id()));
}

/// Fails if only what is on the network is permuted.
#[test]
fn deadlines_of_one_instant_come_in_any_order_if_ties_are_permuted() {
    for permuted in [false, true] {
        let mut world = World::new(1);
        world.permute_ties(permuted);
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in 0..20 {
            let order = order.clone();
            world.after(Duration::from_secs(1), move |_| {
                order.borrow_mut().push(number)
            });
        }
        world.run_for(Duration::from_secs(2)).unwrap();
        let mut order = order.take();
        assert_eq!(order.is_sorted(), !permuted);
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}
