//! The ready scenario: hosts of the standard protocols that call each other.

use super::{Plan, Scenario, Trouble};
use crate::{
    error::WorldError,
    network::{Link, Region},
    violation::Violation,
    workload::{Echo, EchoConfig, EchoResults},
    world::{Host, HostBuilder, World},
};
use core::time::Duration;
use drywire::{
    multiaddr::Multiaddr,
    protocol::Standard,
    swarm::{Config, DialOptions},
    time::Instant,
};

/// Within this time after the storm every two neighbours have met again.
const MEET: Duration = Duration::from_secs(120);
/// Within this time a call over a healthy connection is answered.
const ANSWER: Duration = Duration::from_secs(10);
/// Within this time a silent peer's connection is gone: three unanswered pings with their pauses, then closing; and more,
/// because a ping waits for a free stream where few are allowed.
const HALF_OPEN: Duration = Duration::from_secs(150);
/// So often a call may be refused at once, 50 ms apart: as long as calls of the storm may hold a peer's streams.
const MAX_REFUSALS: u32 = 600;
/// Calls made in the calm, in bytes: a small one, and one that needs more than one window each way.
const CALM_CALLS: [usize; 2] = [1_024, 700_000];

/// Hosts of the standard protocols that dial and call each other in the storm; in the calm after it, each must meet the
/// next one, and be answered.
#[derive(Debug, Default)]
pub struct Echoes {
    hosts: Vec<Host<Standard, Echo>>,
}

/// What a host still owes to its neighbour in the calm.
#[derive(Debug)]
struct Duty {
    from: Host<Standard, Echo>,
    to: Host<Standard, Echo>,
    calls: usize,
    /// The call under way: since when, and how many had succeeded and failed before.
    call: Option<(Instant, u64, u64)>,
    refused: u32,
    dial_at: Instant,
}

impl Echoes {
    /// How the calls went, all hosts together.
    pub fn results(&self, world: &mut World) -> EchoResults {
        let mut all = EchoResults::default();
        for host in &self.hosts {
            if let Some(echo) = world.application(*host) {
                all.merge(echo.results());
            }
        }
        all
    }

    fn host(&mut self, world: &mut World, plan: &Plan, number: usize) -> Result<(), WorldError> {
        let mut config = Config::default();
        let mut keep_alive = plan.keep_alive;
        let slow = plan.troubles.iter().find_map(|trouble| match trouble {
            Trouble::SlowReaders { bytes } => Some(*bytes),
            _ => None,
        });
        if plan.troubles.contains(&Trouble::TightLimits) {
            config.limits.connections = 4;
            config.limits.inbound = 3;
            config.limits.pending = 2;
            config.limits.per_peer = 1;
            // Not the same on both sides, so that each side's limit is the one that is met somewhere.
            config.connection.max_streams = if number.is_multiple_of(2) { 4 } else { 6 };
            // Connections that are kept for ever would keep others out for ever.
            keep_alive = false;
        }
        let echo = EchoConfig {
            every: Some(Duration::from_millis(plan.call_every_ms.max(1))),
            lengths: plan.lengths.clone(),
            connections: plan.connections,
            slow_reader: slow,
            keep_alive,
            ..EchoConfig::default()
        };
        let mut builder = HostBuilder::standard(format!("h{number}"))
            .application(Echo::new(echo))
            .config(config)
            .half_open_limit(HALF_OPEN);
        if plan.plaintext {
            builder = builder.plaintext();
        }
        if plan.troubles.contains(&Trouble::Regions) {
            let region = Region::ALL.get(number % Region::ALL.len());
            builder = builder.region(region.copied().unwrap_or(Region::Europe));
        }
        self.hosts.push(world.add(builder)?);
        Ok(())
    }

    /// Where everybody but one host listens, without peer ids: those may change.
    fn others(&self, world: &World, but: Host<Standard, Echo>) -> Vec<Multiaddr> {
        let others = self.hosts.iter().filter(|host| **host != but);
        let addresses = others.filter_map(|host| world.address(*host).ok());
        addresses.map(|address| address.without_peer_id()).collect()
    }

    /// Moves one duty on. Returns whether it is done.
    fn follow(&self, world: &mut World, duty: &mut Duty) -> Result<bool, Box<Violation>> {
        let now = world.now();
        let (from, to) = (duty.from, duty.to);
        if let Some((since, succeeded, failed)) = duty.call {
            let results = world
                .application(from)
                .map(|echo| echo.results().clone())
                .unwrap_or_default();
            if results.succeeded > succeeded {
                duty.call = None;
                duty.calls += 1;
                return Ok(duty.calls == CALM_CALLS.len());
            }
            if results.failed > failed && now - since < ANSWER {
                // Refused: calls of the storm may still hold every stream that is allowed. It is tried again.
                duty.refused += 1;
                duty.call = None;
            }
            if now - since > ANSWER || duty.refused > MAX_REFUSALS {
                let length = CALM_CALLS.get(duty.calls).copied().unwrap_or(0);
                let message = format!(
                    "a call of {length} bytes to {} over a healthy connection was not answered in {ANSWER:?}",
                    world.name(to)
                );
                return Err(world.fail(Some(from.id()), "I45 healthy pairs are answered", message));
            }
            return Ok(false);
        }
        if let Some(connection) = world.healthy_connection(from.id(), to.id()) {
            let length = CALM_CALLS.get(duty.calls).copied().unwrap_or(0);
            let begun = world.run_on(from, |echo, host| {
                let results = echo.results();
                let before = (host.now, results.succeeded, results.failed);
                echo.call(host, connection, length).then_some(before)
            });
            duty.call = begun
                .ok()
                .flatten()
                .map(|(_, succeeded, failed)| (now, succeeded, failed));
        } else if duty.dial_at <= now {
            // Not in step with the other one: where only one connection is allowed, two that dial each other at the same
            // time refuse each other's.
            duty.dial_at = now + world.chance().time_between(MEET / 60, MEET / 15);
            if let Ok(address) = world.address(to) {
                // A refusal is as good as a failure: it is tried again.
                let _ = world.dial_with(from, DialOptions::address(address).ignore_backoff());
            }
        }
        Ok(false)
    }
}

impl Scenario for Echoes {
    fn build(&mut self, world: &mut World, plan: &Plan) -> Result<(), WorldError> {
        for number in 0..plan.hosts.max(2) {
            self.host(world, plan, number)?;
        }
        for host in self.hosts.clone() {
            let targets = self.others(world, host);
            if let Some(echo) = world.application(host) {
                echo.config().targets = targets;
            }
        }
        Ok(())
    }

    fn calm(&mut self, world: &mut World, _: &Plan) -> Result<(), Box<Violation>> {
        for host in self.hosts.clone() {
            if let Some(echo) = world.application(host) {
                // Only what is asked for from now on; what was begun may end as it likes.
                let config = echo.config();
                (config.every, config.connections, config.slow_reader) = (None, 0, None);
            }
        }
        world
            .set_default_link(Link::default())
            .map_err(|error| world.fail(None, "the plan makes sense", error.to_string()))?;
        // Calls of the storm end or time out first, so that what is counted then is what is asked for.
        let quiet = |world: &mut World| {
            self.hosts.iter().all(|host| {
                world
                    .application(*host)
                    .is_none_or(|echo| echo.running() == 0)
            })
        };
        let longest = EchoConfig::default().timeout + Duration::from_secs(10);
        if !world.run_until(longest, quiet)? {
            let message = "calls of the storm never end".into();
            return Err(world.fail(None, "I45 calls end in time", message));
        }
        let next = self.hosts.iter().cycle().skip(1);
        let mut duties: Vec<Duty> = self
            .hosts
            .iter()
            .zip(next)
            .map(|(from, to)| Duty {
                from: *from,
                to: *to,
                calls: 0,
                call: None,
                refused: 0,
                dial_at: world.now(),
            })
            .collect();
        let end = world.now() + MEET;
        while !duties.is_empty() {
            let mut left = Vec::new();
            for mut duty in duties {
                if !self.follow(world, &mut duty)? {
                    left.push(duty);
                }
            }
            duties = left;
            if let Some(duty) = duties.first().filter(|_| world.now() >= end) {
                let message = format!("it does not meet {} within {MEET:?} of calm", duty.to.id());
                let from = duty.from.id();
                return Err(world.fail(Some(from), "I45 nodes meet again", message));
            }
            if !duties.is_empty() {
                world.run_for(Duration::from_millis(50))?;
            }
        }
        Ok(())
    }
}
