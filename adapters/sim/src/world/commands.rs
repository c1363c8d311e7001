//! What tests do to hosts, and ask of them.

use super::{
    Application, Events, Host, HostContext, World,
    machine::{Machine, Remains},
    node::NodeHost,
    outside::Outside,
};
use crate::{
    chance::Chance,
    chronicle::Moment,
    error::WorldError,
    fault::Fault,
    network::{HostId, Link, Partition, PartitionId},
    violation::Violation,
};
use core::{any::Any, net::IpAddr, time::Duration};
use drywire::{
    connection::ConnectionId,
    node::{Node, NodeEvent},
    swarm::{Context, DialId, DialOptions, Protocol},
    time::Instant,
};

impl World {
    // Hosts

    /// Runs a command on a host: on its node, and on its application.
    ///
    /// # Errors
    /// [`WorldError::HostDown`] if it does not run now, [`WorldError::UnknownHost`] if it is another world's.
    pub fn run_on<P: Protocol + 'static, A: Application<P>, R>(
        &mut self,
        host: Host<P, A>,
        run: impl FnOnce(&mut A, &mut HostContext<'_, P>) -> R,
    ) -> Result<R, WorldError> {
        self.typed(host, |node, outside| node.command(outside, run))
    }

    /// Runs a command on a host's protocols, see [`Swarm::with`](drywire::swarm::Swarm::with).
    ///
    /// # Errors
    /// [`WorldError::HostDown`] if it does not run now, [`WorldError::UnknownHost`] if it is another world's.
    pub fn with<P: Protocol + 'static, A: Application<P>, R>(
        &mut self,
        host: Host<P, A>,
        run: impl FnOnce(&mut P, &mut Context<'_, P::Event>) -> R,
    ) -> Result<R, WorldError> {
        self.run_on(host, |_, host| {
            let now = host.now;
            host.node.with(now, run)
        })
    }

    /// A host's node, to look at; `None` while it is down.
    #[must_use]
    pub fn node<P: Protocol + 'static, A: Application<P>>(
        &self,
        host: Host<P, A>,
    ) -> Option<&Node<P>> {
        let machine = self.hosts.get(host.id.number())?.machine.as_ref()?;
        let machine: &dyn Any = machine.as_ref();
        machine
            .downcast_ref::<NodeHost<P, A>>()
            .map(|host| &host.node)
    }

    /// A host's application, to look at and to change, also while the host is down; `None` if there is no such host.
    pub fn application<P: Protocol + 'static, A: Application<P>>(
        &mut self,
        host: Host<P, A>,
    ) -> Option<&mut A> {
        let machine = self.hosts.get_mut(host.id.number())?.machine.as_mut()?;
        let machine: &mut dyn Any = machine.as_mut();
        if machine.is::<NodeHost<P, A>>() {
            let host = machine.downcast_mut::<NodeHost<P, A>>();
            return host.map(|host| &mut host.application);
        }
        let remains = machine.downcast_mut::<Remains<P, A>>();
        remains.map(|remains| &mut remains.application)
    }

    /// Takes out the events of a host that collects them: with the host's time, the oldest first.
    pub fn events<P: Protocol + 'static>(
        &mut self,
        host: Host<P, Events<P>>,
    ) -> Vec<(Instant, NodeEvent<P::Event>)> {
        self.application(host).map(Events::take).unwrap_or_default()
    }

    /// The application of a host that is down, or about to start again.
    pub(super) fn take_application<P: Protocol + 'static, A: Application<P>>(
        &mut self,
        host: HostId,
    ) -> Option<A> {
        let machine = self.hosts.get_mut(host.number())?.machine.take()?;
        let machine: Box<dyn Any> = machine;
        let machine = machine.downcast::<Remains<P, A>>().ok()?;
        Some(machine.application)
    }

    fn typed<P: Protocol + 'static, A: Application<P>, R>(
        &mut self,
        host: Host<P, A>,
        run: impl FnOnce(&mut NodeHost<P, A>, &mut Outside<'_>) -> R,
    ) -> Result<R, WorldError> {
        let result = self.turn(host.id, |machine, outside| {
            let machine: &mut dyn Any = machine;
            let machine = machine.downcast_mut::<NodeHost<P, A>>()?;
            Some(run(machine, outside))
        });
        let known = self.host_mut(host.id).map(|_| ());
        result
            .flatten()
            .ok_or_else(|| known.err().unwrap_or(WorldError::HostDown(host.id)))
    }

    /// Dials from one host to where another listens. Its terminal event is counted, and missed if it does not come.
    ///
    /// # Errors
    /// [`WorldError`] if one of them does not exist, the dialer is down, or refuses; its words.
    pub fn dial<P: Protocol + 'static, A: Application<P>>(
        &mut self,
        from: Host<P, A>,
        to: impl Into<HostId>,
    ) -> Result<DialId, WorldError> {
        let options = DialOptions::address(self.address(to)?);
        self.dial_with(from, options)
    }

    /// Dials with all options.
    ///
    /// # Errors
    /// [`WorldError`] if the host is down, or refuses; its words.
    pub fn dial_with<P: Protocol + 'static, A: Application<P>>(
        &mut self,
        from: Host<P, A>,
        options: DialOptions,
    ) -> Result<DialId, WorldError> {
        self.run_on(from, |_, host| host.dial(options))?
            .map_err(|error| WorldError::Refused(error.to_string()))
    }

    /// Whether each of two hosts has a connection to the other that is up. Hosts without a node never have one.
    #[must_use]
    pub fn are_connected(&self, one: impl Into<HostId>, other: impl Into<HostId>) -> bool {
        let (one, other) = (one.into(), other.into());
        self.has_connection(one, other) && self.has_connection(other, one)
    }

    /// Whether a host has a connection to another that is up, as far as it knows.
    #[must_use]
    pub fn has_connection(&self, from: impl Into<HostId>, to: impl Into<HostId>) -> bool {
        let (from, to) = (from.into(), to.into());
        let Some(known) = self.identities.get(to.number()) else {
            return false;
        };
        let machine = self
            .hosts
            .get(from.number())
            .and_then(|host| host.machine.as_ref());
        machine.is_some_and(|machine| known.iter().any(|peer| machine.is_connected(peer)))
    }

    /// A connection from one host to another that is up at both ends, over a pipe with which nothing is wrong.
    #[must_use]
    pub fn healthy_connection(
        &self,
        from: impl Into<HostId>,
        to: impl Into<HostId>,
    ) -> Option<ConnectionId> {
        let (from, to) = (from.into(), to.into());
        let peers = self.identities.get(to.number())?;
        let [from, to] = [from, to].map(|host| {
            let state = self.hosts.get(host.number())?;
            state.machine.as_ref()
        });
        let (from, to) = (from?, to?);
        let mut all = from.connections_to(peers).into_iter();
        all.find(|(_, end)| {
            let there = to.connection_at(self.shared.network().opposite(*end));
            there.is_some_and(|(_, up)| up) && self.shared.network().is_healthy(*end)
        })
        .map(|(connection, _)| connection)
    }

    /// A host closes one of its connections.
    pub fn hang_up(&mut self, host: impl Into<HostId>, chance: &mut Chance) {
        self.turn(host.into(), |machine, outside| {
            machine.hang_up(chance, outside)
        });
    }

    /// Checks that nothing is left of nodes that have shut down.
    ///
    /// # Errors
    /// What is left, as a [`Violation`].
    pub fn check_end(&mut self) -> Result<(), Box<Violation>> {
        for host in self.hosts() {
            self.turn(host, |machine, outside| machine.check_end(outside));
        }
        self.verdict()
    }

    /// Reports that something is not as it should be: a [`Violation`] with the trace so far. The first one stands.
    pub fn fail(
        &mut self,
        host: Option<HostId>,
        invariant: &'static str,
        message: String,
    ) -> Box<Violation> {
        self.moment(host, Moment::Violation { invariant });
        let name = host.map_or_else(String::new, |host| self.name(host).to_owned());
        let violation = self.violation.get_or_insert_with(|| Violation {
            invariant,
            message,
            host,
            name,
            at: self.now,
            step: self.statistics.steps,
            seed: self.number,
            trace: self.trace.lines().collect(),
        });
        Box::new(violation.clone())
    }

    /// The connections a host has, in whatever phase.
    #[must_use]
    pub fn connection_count(&self, host: impl Into<HostId>) -> usize {
        let state = self.hosts.get(host.into().number());
        let machine = state.and_then(|state| state.machine.as_ref());
        machine.map_or(0, |machine| machine.ends().len())
    }

    /// Ends a host's node in good order; the host goes on without listening.
    ///
    /// # Errors
    /// [`WorldError::HostDown`] if it does not run now.
    pub fn shut_down(&mut self, host: impl Into<HostId>) -> Result<(), WorldError> {
        let host = host.into();
        let done = self.turn(host, |machine, outside| machine.shut_down(outside));
        done.ok_or(WorldError::HostDown(host))
    }

    // Links

    /// How all ways behave for which nothing else is said, see [`Network::set_default_link`](crate::network::Network::set_default_link).
    ///
    /// # Errors
    /// [`WorldError::BadRate`] if a number makes no sense.
    pub fn set_default_link(&mut self, link: Link) -> Result<(), WorldError> {
        self.shared.network().set_default_link(link)
    }

    /// How both ways between two hosts behave.
    ///
    /// # Errors
    /// [`WorldError::BadRate`] if a number makes no sense, [`WorldError::UnknownHost`].
    pub fn set_link(
        &mut self,
        one: impl Into<HostId>,
        other: impl Into<HostId>,
        link: Link,
    ) -> Result<(), WorldError> {
        let (one, other) = (one.into(), other.into());
        let mut network = self.shared.network();
        network.set_link(one, other, link.clone())?;
        network.set_link(other, one, link)
    }

    /// Things of one instant, arrivals and deadlines alike, happen in an order drawn from the seed, instead of that in which
    /// they were caused.
    pub fn permute_ties(&mut self, permute: bool) {
        let ties = permute.then(|| Chance::new(&self.seed, "ties"));
        self.agenda.permute_ties(ties);
        self.shared.network().permute_ties(permute);
    }

    /// Parts hosts from each other.
    pub fn part(&mut self, partition: Partition) -> PartitionId {
        let fault = partition.fault();
        self.moment(None, Moment::Fault(fault));
        self.trace
            .note(self.now, || format!("parted: {partition:?}"));
        let id = self.shared.network().part(partition);
        self.partitions.insert(id, fault);
        id
    }

    /// Parts these hosts from all others.
    pub fn isolate(&mut self, hosts: impl IntoIterator<Item = impl Into<HostId>>) -> PartitionId {
        let hosts = hosts.into_iter().map(Into::into).collect();
        self.part(Partition::Apart(hosts))
    }

    /// Takes a partition away.
    pub fn heal(&mut self, partition: PartitionId) {
        if self.shared.network().heal(partition) {
            self.trace.note(self.now, || "healed".into());
            if let Some(fault) = self.partitions.remove(&partition) {
                self.moment(None, Moment::Healed(fault));
            }
        }
    }

    /// Takes all partitions away.
    pub fn heal_all(&mut self) {
        self.shared.network().heal_all();
        self.trace.note(self.now, || "all healed".into());
        for fault in core::mem::take(&mut self.partitions).into_values() {
            self.moment(None, Moment::Healed(fault));
        }
    }

    /// Makes a name resolve to these addresses, on every host. The name of a host resolves to its own addresses, unless it
    /// is made to mean others: `/dns4/bob/tcp/4001` is where bob listens.
    pub fn set_name(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.shared.names().addresses.insert(name.into(), addresses);
    }

    /// Makes a name have these TXT records, on every host.
    pub fn set_text(&mut self, name: &str, records: Vec<String>) {
        self.shared.names().text.insert(name.into(), records);
    }

    // Failures

    /// A host's process dies. Its sockets are closed by the operating system, so its peers are told.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn crash(&mut self, host: impl Into<HostId>) -> Result<(), WorldError> {
        self.go_down(host.into(), false)
    }

    /// A host's machine vanishes, as when its power fails or its cable is cut for good. Nobody is told.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn lose_power(&mut self, host: impl Into<HostId>) -> Result<(), WorldError> {
        self.go_down(host.into(), true)
    }

    /// Either, for draws.
    pub(crate) fn go_down(&mut self, host: HostId, silently: bool) -> Result<(), WorldError> {
        let now = self.now;
        let state = self.host_mut(host)?;
        let remains = state.machine.take().map(Machine::bury);
        state.machine = remains;
        state.armed = None;
        self.shared.network().crash(now, host, silently);
        self.shared.crash(host);
        let fault = if silently {
            Fault::PowerLoss
        } else {
            Fault::Crash
        };
        self.fault(Some(host), fault);
        self.moment(Some(host), Moment::Down { silently });
        Ok(())
    }

    /// A host that is down starts again, with the key it had. Its protocols are made anew; its application, which stands
    /// for its user, goes on. Nothing happens to a host that is up.
    ///
    /// # Errors
    /// [`WorldError`] if there is no such host, or it cannot start.
    pub fn restart(&mut self, host: impl Into<HostId>) -> Result<(), WorldError> {
        self.come_up(host.into(), false)
    }

    /// A host that is down starts again at the same address, with another key, as somebody else. Nothing happens to a host
    /// that is up.
    ///
    /// # Errors
    /// [`WorldError`] if there is no such host, or it cannot start.
    pub fn restart_anew(&mut self, host: impl Into<HostId>) -> Result<(), WorldError> {
        self.come_up(host.into(), true)
    }

    /// Either, for draws.
    pub(crate) fn come_up(&mut self, host: HostId, anew: bool) -> Result<(), WorldError> {
        if self.shared.network().is_up(host) {
            return Ok(());
        }
        self.shared.network().restart(host);
        let fault = if anew {
            Fault::RestartAnew
        } else {
            Fault::Restart
        };
        self.fault(Some(host), fault);
        if self.host_mut(host)?.maker.is_none() {
            // No node is to be started: what runs there comes by a new runtime.
            return Ok(());
        }
        self.boot(host, anew)
    }

    /// A host's clock jumps forward, as after a suspension.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn jump_clock(&mut self, host: impl Into<HostId>, by: Duration) -> Result<(), WorldError> {
        let host = host.into();
        let clock = &mut self.host_mut(host)?.clock;
        clock.ahead = clock.ahead.saturating_add(by);
        let clock = *clock;
        self.shared.set_clock(host, clock);
        self.fault(Some(host), Fault::ClockJump);
        self.host_mut(host)?.armed = None;
        self.arm(host);
        Ok(())
    }

    /// A host's calendar is set forward or back; its monotonic clock is not concerned.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn set_calendar(
        &mut self,
        host: impl Into<HostId>,
        ahead: Duration,
        behind: Duration,
    ) -> Result<(), WorldError> {
        let host = host.into();
        let clock = &mut self.host_mut(host)?.clock;
        clock.calendar_ahead = ahead;
        clock.calendar_behind = behind;
        let clock = *clock;
        self.shared.set_clock(host, clock);
        self.fault(Some(host), Fault::WallClockJump);
        self.turn(host, |machine, outside| machine.set_calendar(outside));
        Ok(())
    }

    /// With this probability a host's timer fires late, by up to so much.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::BadRate`].
    pub fn make_timers_late(
        &mut self,
        host: impl Into<HostId>,
        probability: f64,
        longest: Duration,
    ) -> Result<(), WorldError> {
        if !(0.0..=1.0).contains(&probability) {
            let name = "probability of late timers";
            return Err(WorldError::BadRate {
                name,
                value: probability,
            });
        }
        let host = host.into();
        self.host_mut(host)?.late_timers = (probability, longest);
        self.shared.set_late_timers(host, probability, longest);
        Ok(())
    }

    /// A host has no file descriptors for new sockets, for a time.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`].
    pub fn exhaust_descriptors(
        &mut self,
        host: impl Into<HostId>,
        time: Duration,
    ) -> Result<(), WorldError> {
        let host = host.into();
        self.host_mut(host)?;
        let until = self.now + time;
        self.shared.network().exhaust_descriptors(host, until);
        self.moment(Some(host), Moment::Fault(Fault::OutOfDescriptors));
        Ok(())
    }
}
