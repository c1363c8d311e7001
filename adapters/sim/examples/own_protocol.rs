//! Tests a protocol of your own: a counter that many hosts count together, over faults, in many seeds.
//!
//! Every host counts for itself, and tells the others how much everybody has counted, as far as it knows. Who is told of a
//! larger number believes it. So all agree in the end, whatever is lost, late or told twice: that is what is tested.
//! A second version has a bug of a kind that is easily made, and only troubles bring to light.
//!
//! `cargo run -p drywire-sim --example own_protocol -- [SEEDS]`
#![allow(clippy::std_instead_of_alloc, reason = "a program, not a library")]

use bytes::Bytes;
use core::{cell::Cell, error::Error, time::Duration};
use drywire::{
    connection::{Accept, Slot, StreamKind},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::ping::Ping,
    protocols,
    swarm::{Context, DialOptions, Input, Protocol},
    time::Instant,
};
use drywire_sim::{
    Host, HostBuilder, Violation, World, WorldError,
    explore::{Campaign, Plan, Scenario, shrink},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    rc::Rc,
};

// The protocol. Nothing in it knows of simulations.

const TALLY: ProtocolName = ProtocolName::from_static("/tally/1.0.0");
const MESSAGE: StreamKind = StreamKind::Framed { max_len: 64 * 1024 };
const EVERY: Duration = Duration::from_millis(500);

/// Counts together with others.
#[derive(Debug)]
pub struct Tally {
    /// What each host has counted, as far as this one knows.
    counts: BTreeMap<PeerId, u64>,
    /// Where the others are.
    others: Vec<Multiaddr>,
    connected: BTreeSet<PeerId>,
    tick: Option<Instant>,
    /// The bug: nobody knows better than this host what it has counted itself.
    proud: bool,
}

impl Tally {
    fn new(others: Vec<Multiaddr>, proud: bool) -> Self {
        Self {
            counts: BTreeMap::new(),
            others,
            connected: BTreeSet::new(),
            tick: None,
            proud,
        }
    }

    /// Counts one.
    pub fn count(&mut self, cx: &mut Context<'_, u64>) {
        let own = self.counts.entry(cx.local_peer()).or_default();
        *own = own.saturating_add(1);
    }

    /// What all have counted, as far as this host knows.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Tells all neighbours, and looks for more of them.
    fn tell(&mut self, cx: &mut Context<'_, u64>) {
        let lines = self.counts.iter();
        let text: String = lines
            .map(|(peer, count)| format!("{peer} {count}\n"))
            .collect();
        for peer in &self.connected {
            let connection = cx.best_connection(peer);
            let stream = connection.map(|connection| cx.open(connection, &[TALLY], MESSAGE, false));
            // Where there is no room now, there will be next time.
            if let Some(Ok(stream)) = stream {
                let _ = cx.send(stream, Bytes::from(text.clone()));
                cx.finish(stream);
            }
        }
        if self.connected.len() < self.others.len() {
            self.others.rotate_left(1);
            if let Some(other) = self.others.first() {
                let _ = cx.dial(DialOptions::address(other.clone()));
            }
        }
    }

    fn hear(&mut self, text: &str, cx: &mut Context<'_, u64>) {
        let before = self.total();
        for line in text.lines() {
            let parsed = line.split_once(' ').and_then(|(peer, count)| {
                Some((peer.parse::<PeerId>().ok()?, count.parse::<u64>().ok()?))
            });
            let Some((peer, count)) = parsed else {
                continue;
            };
            if self.proud && peer == cx.local_peer() {
                continue;
            }
            let known = self.counts.entry(peer).or_default();
            *known = count.max(*known);
        }
        if self.total() > before {
            cx.emit(self.total());
        }
    }
}

impl Protocol for Tally {
    /// A larger total has become known.
    type Event = u64;

    fn start(&mut self, cx: &mut Context<'_, u64>) {
        // The name is this protocol's alone.
        let _ = cx.accept(TALLY, Accept::new(MESSAGE));
        self.tick = Some(cx.now());
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, u64>) {
        match input {
            Input::ConnectionUp { peer, .. } => {
                self.connected.insert(peer);
            }
            Input::ConnectionDown {
                peer,
                connections: 0,
                ..
            } => {
                self.connected.remove(&peer);
            }
            Input::Message { stream, bytes } => {
                self.hear(&String::from_utf8_lossy(&bytes), cx);
                cx.finish(stream);
            }
            Input::Timeout if self.tick.is_some_and(|tick| tick <= cx.now()) => {
                self.tick = Some(cx.now() + EVERY);
                self.tell(cx);
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.tick
    }
}

protocols! {
    /// What the hosts run.
    #[derive(Debug)]
    pub struct Counting => CountingEvent {
        ping: Ping => Ping,
        tally: Tally => Tally,
    }
}

// The test.

/// Hosts that count in the storm, and must agree in the calm.
#[derive(Debug, Default)]
pub struct Together {
    hosts: Vec<Host<Counting>>,
    /// Runs the version with the bug.
    pub proud: bool,
}

/// Has every host count from now until then, and notes how much was counted.
fn count_on(world: &mut World, hosts: Vec<Host<Counting>>, truth: Rc<Cell<u64>>, until: Instant) {
    world.after(Duration::from_millis(700), move |world| {
        if world.now() >= until {
            return;
        }
        for host in &hosts {
            // A host that is down does not count.
            let counted = world.with(*host, |all, cx| all.tally(cx, Tally::count));
            truth.set(truth.get().saturating_add(u64::from(counted.is_ok())));
        }
        count_on(world, hosts, truth, until);
    });
}

fn totals(world: &World, hosts: &[Host<Counting>]) -> Vec<u64> {
    let nodes = hosts.iter().filter_map(|host| world.node(*host));
    nodes
        .map(|node| node.swarm().protocols().tally.total())
        .collect()
}

impl Scenario for Together {
    fn build(&mut self, world: &mut World, plan: &Plan) -> Result<(), WorldError> {
        for number in 0..plan.hosts {
            // Names of hosts resolve, so addresses can be written down before the hosts are there.
            let others = (0..plan.hosts).filter(|other| *other != number);
            let others: Vec<Multiaddr> = others
                .filter_map(|other| format!("/dns4/h{other}/tcp/4001").parse().ok())
                .collect();
            let proud = self.proud;
            let builder = HostBuilder::new(format!("h{number}"), move || Counting {
                ping: Ping::default(),
                tally: Tally::new(others.clone(), proud),
            });
            self.hosts.push(world.add(builder)?);
        }
        let truth = Rc::new(Cell::new(0));
        let until = world.now() + Duration::from_millis(plan.storm_ms);
        count_on(world, self.hosts.clone(), truth.clone(), until);
        // What a host forgets in a crash may be missing. Nothing may ever be counted twice.
        let hosts = self.hosts.clone();
        world.add_invariant("nothing is counted twice", move |world| {
            match totals(world, &hosts).into_iter().max() {
                Some(most) if most > truth.get() => {
                    Err(format!("{most} are known of, {} were counted", truth.get()))
                }
                _ => Ok(()),
            }
        });
        Ok(())
    }

    fn calm(&mut self, world: &mut World, _: &Plan) -> Result<(), Box<Violation>> {
        let hosts = self.hosts.clone();
        let agree = |world: &mut World| {
            let totals = totals(world, &hosts);
            totals.iter().min() == totals.iter().max()
        };
        // A connection whose other end is gone is noticed by ping within 90 s; then there is a new one.
        if world.run_until(Duration::from_secs(150), agree)? {
            return Ok(());
        }
        let message = format!("their totals are {:?}", totals(world, &hosts));
        Err(world.fail(None, "all agree in the end", message))
    }
}

/// Any troubles, for half a minute.
fn plan(seed: u64) -> Plan {
    Plan::draw(seed).storm_ms(30_000)
}

/// Explores so many seeds with the good version, then looks for the bug of the other one, and makes what it finds small.
///
/// # Errors
/// What was found in the good version, or nothing in the other; what went wrong with `out`.
pub fn run(seeds: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let campaign = Campaign::new(0..seeds).plans(plan);
    let summary = campaign.run_scenario(1, Together::default, |_| {});
    if let Some(failure) = summary.failures.into_iter().next() {
        writeln!(out, "{failure}")?;
        return Err("the good version fails".into());
    }
    writeln!(
        out,
        "{} seeds passed: {} kinds of faults, {:.1} hours of hosts",
        summary.passed,
        summary.runs_with.len(),
        summary.host_time.as_secs_f64() / 3600.0
    )?;

    let proud = || Together {
        proud: true,
        ..Together::default()
    };
    let summary = campaign.run_scenario(1, proud, |_| {});
    let failure = summary.failures.into_iter().next();
    let failure = failure.ok_or("the bug was not found")?;
    writeln!(out, "with the bug, seed {} fails:", failure.plan.seed)?;
    let violation = &failure.violation;
    writeln!(out, "    {}: {}", violation.invariant, violation.message)?;

    let again = |plan: &Plan| plan.run_scenario(&mut proud()).err().map(|found| *found);
    let shrunk = shrink(failure, 250, again, |_| {});
    let (planned, after) = (shrunk.original.storm_ms, shrunk.failure.time);
    writeln!(
        out,
        "made small in {} runs, from a plan of {planned} ms to {after:.1?}:\n",
        shrunk.runs
    )?;
    let test = shrunk.to_scenario_test("Together { proud: true, ..Together::default() }");
    write!(out, "{test}")?;
    Ok(())
}

#[allow(dead_code, reason = "a test runs this file too")]
fn main() -> Result<(), Box<dyn Error>> {
    let seeds = std::env::args()
        .nth(1)
        .map_or(Ok(60), |seeds| seeds.parse())?;
    run(seeds, &mut std::io::stdout())
}
