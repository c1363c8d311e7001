//! Worlds do what they are told, and the same each time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::time::Duration;
use drywire::{node::NodeEvent, protocol::StandardEvent, swarm::Event};
use drywire_sim::{HostBuilder, Link, TraceHash, World, WorldError};

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
    let stranger = World::new(2).add(HostBuilder::standard("x")).unwrap();
    let mut empty = World::new(3);
    assert_eq!(
        empty.crash(stranger).unwrap_err(),
        WorldError::UnknownHost(stranger.id())
    );
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
