//! A partition that heals: who notices what, and when.
//!
//! Three hosts are connected. Carol is cut off twice: for ten seconds, and for three minutes. Nobody is told; what the
//! hosts know, they know from ping.
//!
//! `cargo run -p drywire-sim --example partition -- [SEED]`

use core::{error::Error, time::Duration};
use drywire::{
    node::NodeEvent,
    protocol::StandardEvent,
    swarm::{Config, Event},
    time::Instant,
};
use drywire_sim::{Host, HostBuilder, Link, World};
use std::io::Write;

/// What an event says to people, if it says something.
fn describe(world: &World, event: &NodeEvent<StandardEvent>) -> Option<String> {
    let name = |peer| {
        let host = world
            .hosts()
            .find(|host| world.peer_id(*host) == Ok(peer))?;
        Some(world.name(host))
    };
    match event {
        NodeEvent::Swarm(Event::ConnectionEstablished { peer, .. }) => {
            Some(format!("is connected to {}", name(*peer)?))
        }
        NodeEvent::Swarm(Event::ConnectionClosed { peer, reason, .. }) => {
            Some(format!("loses {}: {reason}", name(*peer)?))
        }
        NodeEvent::Swarm(Event::Protocol(StandardEvent::Ping(ping))) => {
            let peer = name(ping.peer)?;
            match &ping.result {
                Ok(time) if *time < Duration::from_secs(1) => None,
                Ok(time) => Some(format!("has an answer from {peer} after {time:.1?}")),
                Err(failure) => Some(format!("pings {peer}: {failure}")),
            }
        }
        _ => None,
    }
}

/// Lets time pass, and prints what the hosts have to say about it.
fn pass(
    world: &mut World,
    hosts: &[Host<drywire::protocol::Standard>],
    time: Duration,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    world.run_for(time)?;
    let mut lines: Vec<(Instant, String)> = Vec::new();
    for host in hosts {
        for (at, event) in world.events(*host) {
            if let Some(text) = describe(world, &event) {
                lines.push((at, format!("{:6} {text}", world.name(*host))));
            }
        }
    }
    lines.sort();
    for (at, line) in lines {
        writeln!(out, "{:>7.1} s  {line}", seconds(at))?;
    }
    Ok(())
}

/// Since the world began, at one second.
fn seconds(at: Instant) -> f64 {
    (at - Instant::ZERO).as_secs_f64() - 1.0
}

/// Prints what happens.
///
/// # Errors
/// What went wrong in the world, or with `out`.
pub fn run(seed: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut world = World::new(seed);
    world.set_default_link(
        Link::default()
            .latency(Duration::from_millis(40))
            .jitter(0.1),
    )?;
    // By default a connection without streams ends after 30 s; these hosts keep theirs.
    let mut config = Config::default();
    config.connection.idle_timeout = Duration::from_secs(3_600);
    let [alice, bob, carol] =
        ["alice", "bob", "carol"].map(|name| HostBuilder::standard(name).config(config.clone()));
    let (alice, bob, carol) = (world.add(alice)?, world.add(bob)?, world.add(carol)?);
    let all = [alice, bob, carol];
    world.dial(alice, bob)?;
    world.dial(alice, carol)?;
    world.dial(bob, carol)?;
    pass(&mut world, &all, Duration::from_secs(10), out)?;

    for long in [Duration::from_secs(10), Duration::from_secs(180)] {
        let parted = world.isolate([carol]);
        writeln!(out, "--- carol is cut off for {long:?}")?;
        pass(&mut world, &all, long, out)?;
        world.heal(parted);
        writeln!(out, "--- healed")?;
        pass(&mut world, &all, Duration::from_secs(60), out)?;
    }

    writeln!(out, "--- alice dials carol again")?;
    world.dial(alice, carol)?;
    pass(&mut world, &all, Duration::from_secs(10), out)
}

#[allow(dead_code, reason = "a test runs this file too")]
fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;
    run(seed, &mut std::io::stdout())
}
