//! Two peers over links that get worse: how long it takes to connect, and how long each call takes.
//!
//! `cargo run -p drywire-sim --example bad_link -- [SEED]`

use core::{error::Error, time::Duration};
use drywire_sim::{
    HostBuilder, Link, World,
    workload::{Echo, EchoConfig, EchoResults},
};
use std::io::Write;

/// Links by their names, each worse than the one before it.
fn links() -> Vec<(&'static str, Link)> {
    let home = Link::default().latency(Duration::from_millis(15));
    let ocean = Link::default()
        .latency(Duration::from_millis(90))
        .jitter(0.2);
    let phone = ocean.clone().bandwidth(40_000).loss(0.03);
    let mut tunnel = phone.clone();
    tunnel.stalls = 0.02;
    tunnel.longest_stall = Duration::from_secs(8);
    tunnel.resets = 0.02;
    vec![
        ("at home", home),
        ("over an ocean", ocean),
        ("on a phone", phone),
        ("in a tunnel", tunnel),
    ]
}

/// Alice calls bob once a second for two minutes: what she sends comes back.
fn call(seed: u64, link: Link) -> Result<(World, EchoResults), Box<dyn Error>> {
    let mut world = World::new(seed);
    world.set_default_link(link)?;
    let bob = world.add(HostBuilder::standard("bob").application(Echo::server()))?;
    let mut config = EchoConfig::default();
    config.every = Some(Duration::from_secs(1));
    config.lengths = vec![10_000];
    // As an application would: it dials again when the connection is lost.
    config.connections = 1;
    config.targets = vec![world.address(bob)?];
    let alice = world.add(HostBuilder::standard("alice").application(Echo::new(config)))?;
    world.run_for(Duration::from_secs(120))?;
    let results = world.application(alice).map(|echo| echo.results().clone());
    Ok((world, results.unwrap_or_default()))
}

/// Prints a line for each link.
///
/// # Errors
/// What went wrong in the world, or with `out`.
pub fn run(seed: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(
        out,
        "seed {seed}: calls of 10 kB, one a second, for two minutes\n"
    )?;
    writeln!(
        out,
        "{:14} {:>11} {:>8} {:>8} {:>8} {:>8}  faults met",
        "link", "connections", "answered", "failed", "median", "slowest"
    )?;
    for (name, link) in links() {
        let (world, calls) = call(seed, link)?;
        let statistics = world.statistics();
        let faults: Vec<String> = statistics
            .faults
            .met()
            .map(|(fault, count)| format!("{count} x {fault}"))
            .collect();
        writeln!(
            out,
            "{name:14} {:>11} {:>8} {:>8} {:>7.0?} {:>7.0?}  {}",
            statistics.handshakes,
            calls.succeeded,
            calls.failed,
            calls.latencies.quantile(0.5),
            calls.latencies.quantile(1.0),
            faults.join(", ")
        )?;
    }
    Ok(())
}

#[allow(dead_code, reason = "a test runs this file too")]
fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;
    run(seed, &mut std::io::stdout())
}
