//! Waiting for what ought to happen, and watching for what must not.

use super::{Application, Events, Host, Stopped, World};
use crate::network::HostId;
use core::{fmt::Write, time::Duration};
use drywire::{node::NodeEvent, swarm::Protocol};
use std::collections::VecDeque;

/// How long [`World::connect`] waits.
const CONNECT: Duration = Duration::from_secs(60);
/// Events that are told when something was waited for in vain.
const TOLD: usize = 20;

/// Says what is wrong, if something is.
type Holds = dyn FnMut(&mut World) -> Result<(), String>;

/// What must hold, by its name.
pub(super) struct Invariant {
    name: &'static str,
    holds: Box<Holds>,
}

impl World {
    /// Dials, and lets time pass until both hosts are connected to each other, for a minute at most.
    ///
    /// ```
    /// # use drywire_sim::{HostBuilder, World};
    /// # let mut world = World::new(1);
    /// # let alice = world.add(HostBuilder::standard("alice"))?;
    /// # let bob = world.add(HostBuilder::standard("bob"))?;
    /// world.connect(alice, bob)?;
    /// assert!(world.are_connected(alice, bob));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped`] if the dial is refused, or they do not meet.
    pub fn connect<P: Protocol + 'static, A: Application<P>>(
        &mut self,
        from: Host<P, A>,
        to: impl Into<HostId>,
    ) -> Result<(), Stopped> {
        let to = to.into();
        let begun = self.dial(from, to);
        begun.map_err(|error| Stopped::Missing(error.to_string()))?;
        if self.run_until(CONNECT, |world| world.are_connected(from, to))? {
            return Ok(());
        }
        let (from, to) = (self.name(from), self.name(to));
        let mut message =
            format!("{from} and {to} did not connect within {CONNECT:?}; the last that happened:");
        let skipped = self.trace().len().saturating_sub(TOLD);
        for line in self.trace().into_iter().skip(skipped) {
            // Writing to a string does not fail.
            let _ = write!(message, "\n    {line}");
        }
        Err(Stopped::Missing(message))
    }

    /// Lets time pass until a host has an event for which `find` gives something, at most so long. Events are taken out in
    /// their order: those before the one that is found are gone, those after it are still there.
    ///
    /// ```
    /// # use core::time::Duration;
    /// use drywire::{node::NodeEvent, swarm::Event};
    /// # use drywire_sim::{HostBuilder, World};
    /// # let mut world = World::new(1);
    /// # let alice = world.add(HostBuilder::standard("alice"))?;
    /// # let bob = world.add(HostBuilder::standard("bob"))?;
    /// world.dial(alice, bob)?;
    /// let peer = world.wait_for(bob, Duration::from_secs(5), |event| match event {
    ///     NodeEvent::Swarm(Event::ConnectionEstablished { peer, .. }) => Some(*peer),
    ///     _ => None,
    /// })?;
    /// assert_eq!(peer, world.peer_id(alice)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Stopped::Missing`] tells the events that came instead.
    pub fn wait_for<P: Protocol + 'static, R>(
        &mut self,
        host: Host<P, Events<P>>,
        longest: Duration,
        mut find: impl FnMut(&NodeEvent<P::Event>) -> Option<R>,
    ) -> Result<R, Stopped> {
        let end = self.now + longest;
        let mut seen = VecDeque::new();
        loop {
            while let Some((at, event)) = self.application(host).and_then(Events::pop) {
                if let Some(found) = find(&event) {
                    return Ok(found);
                }
                if seen.len() == TOLD {
                    seen.pop_front();
                }
                seen.push_back(format!("{at:?} {event:?}"));
            }
            if !self.step_until(end)? {
                break;
            }
        }
        self.run_for(end - self.now)?;
        let name = self.name(host);
        let mut message = format!("what was waited for did not happen at {name} in {longest:?}");
        message.push_str(if seen.is_empty() {
            ", nor anything else"
        } else {
            "; instead:"
        });
        for line in seen {
            // Writing to a string does not fail.
            let _ = write!(message, "\n    {line}");
        }
        Err(Stopped::Missing(message))
    }

    /// From now on this must hold after every step, or as often as [`check_every`](Self::check_every) says. If it gives back
    /// an error, that is a [`Violation`](crate::Violation) of this name, and the run is over.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use drywire_sim::{HostBuilder, World};
    /// # let mut world = World::new(1);
    /// # let alice = world.add(HostBuilder::standard("alice"))?;
    /// # let bob = world.add(HostBuilder::standard("bob"))?;
    /// world.add_invariant("nobody is popular", move |world| {
    ///     let connections = world.connection_count(bob);
    ///     if connections > 0 {
    ///         return Err(format!("bob has {connections} connections"));
    ///     }
    ///     Ok(())
    /// });
    /// world.dial(alice, bob)?;
    /// let violation = world.run_for(Duration::from_secs(1)).unwrap_err();
    /// assert_eq!(violation.invariant, "nobody is popular");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_invariant(
        &mut self,
        name: &'static str,
        holds: impl FnMut(&mut Self) -> Result<(), String> + 'static,
    ) {
        let holds = Box::new(holds);
        self.invariants.push(Invariant { name, holds });
    }

    /// Checks what was added, if a check is due.
    pub(super) fn check_invariants(&mut self) {
        if !self.is_check_due() || self.invariants.is_empty() || self.violation.is_some() {
            return;
        }
        let mut all = core::mem::take(&mut self.invariants);
        for invariant in &mut all {
            if let Err(message) = (invariant.holds)(self) {
                self.fail(None, invariant.name, message);
            }
        }
        // One may have been added by another.
        all.append(&mut self.invariants);
        self.invariants = all;
    }
}
