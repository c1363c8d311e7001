//! Adding hosts, and starting their nodes again.

use super::{
    Application, Clock, Host, HostBuilder, HostState, Job, Maker, World, machine::Machine,
    node::NodeHost, outside::Patience,
};
use crate::{
    chance::Chance,
    chronicle::Moment,
    error::WorldError,
    fault::Fault,
    network::{HostId, PartitionId, Region},
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use drywire::{
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    node::Node,
    recording::SharedRecorder,
    swarm::{Config, Protocol, SecurityConfig, Swarm},
    time::Instant,
};
use std::collections::BTreeSet;

/// What a script gives back: nothing, a partition's name, or a result.
pub trait Outcome {
    /// What went wrong, in words.
    fn into_error(self) -> Option<String>;
}

impl Outcome for () {
    fn into_error(self) -> Option<String> {
        None
    }
}

impl Outcome for PartitionId {
    fn into_error(self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Display> Outcome for Result<T, E> {
    fn into_error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

impl World {
    /// Adds a host, and starts it.
    ///
    /// # Errors
    /// [`WorldError`] says what is wrong with it; nothing was added.
    pub fn add<P: Protocol + 'static, A: Application<P>>(
        &mut self,
        builder: HostBuilder<P, A>,
    ) -> Result<Host<P, A>, WorldError> {
        let mut config = builder.config.unwrap_or_else(default_config);
        if builder.plaintext {
            config.security = SecurityConfig::InsecurePlaintext;
        }
        let id = self.add_bare(builder.name, builder.addresses, builder.region)?;
        let seed = self.seed.derive(&format!("host {}", id.0));
        let mut keypair = builder
            .keypair
            .unwrap_or_else(|| Keypair::ed25519_from_seed(&seed.derive("key")));
        let ip = self.shared.network().addresses(id).first().copied();
        let socket = ip.zip(builder.listen).map(SocketAddr::from);
        let address = socket.map(Multiaddr::from_tcp);
        let slack = Duration::from_secs(5);
        let patience = Patience {
            handshake: config.connection.handshake_timeout.saturating_add(slack),
            closing: config.connection.close_timeout.saturating_add(slack),
            half_open: builder.half_open_limit,
            encrypted: matches!(config.security, SecurityConfig::Noise(_)),
        };
        let mut protocols = builder.protocols;
        let mut application = Some(builder.application);
        let mut starts = 0u64;
        let maker: Maker = Box::new(move |world, id, anew| {
            starts += 1;
            let seed = seed.derive(&format!("start {starts}"));
            if anew {
                keypair = Keypair::ed25519_from_seed(&seed.derive("key"));
            }
            let (now, unix) = world.clocks(id);
            let mut config = config.clone();
            config.recorder = world.recorder_of(id, config.recorder.take());
            let swarm = Swarm::new(
                config,
                keypair.clone(),
                protocols(),
                seed.derive("swarm"),
                now,
                unix,
            );
            let mut node = Node::new(swarm.map_err(WorldError::Keys)?);
            let interfaces = world.shared.network().addresses(id).to_vec();
            node.command(now, |swarm| swarm.handle_interfaces(now, interfaces));
            if let Some(socket) = socket {
                let listening = node.listen(now, Multiaddr::from_tcp(socket));
                listening.map_err(|error| WorldError::Refused(error.to_string()))?;
            }
            let peer = node.swarm().local_peer_id();
            if let Some(known) = world.identities.get_mut(id.number())
                && known.last() != Some(&peer)
            {
                known.push(peer);
            }
            // The application outlives a crash: it stands for whoever uses the host, and is told of the new start.
            let application = match application.take() {
                Some(first) => Some(first),
                None => world.take_application(id),
            };
            let application = application.ok_or(WorldError::HostDown(id))?;
            let chance = Chance::new(&seed, "application");
            Ok(Box::new(NodeHost::new(node, application, chance)) as Box<dyn Machine>)
        });
        if let Some(state) = self.hosts.get_mut(id.number()) {
            state.maker = Some(maker);
            state.address = address;
            state.patience = patience;
        }
        if let Err(error) = self.boot(id, false) {
            self.take_back();
            return Err(error);
        }
        Ok(Host::new(id))
    }

    /// Adds a host without a node, for async code: see [`runtime`](Self::runtime). Without addresses it is given one. Where
    /// neither addresses nor a region matter, [`add_runtime`](Self::add_runtime) is shorter.
    ///
    /// # Errors
    /// [`WorldError`] says what is wrong with it; nothing was added.
    pub fn add_bare(
        &mut self,
        name: impl Into<String>,
        mut addresses: Vec<IpAddr>,
        region: Option<Region>,
    ) -> Result<HostId, WorldError> {
        let name = name.into();
        if self.names.contains_key(&name) {
            return Err(WorldError::DuplicateName(name));
        }
        if addresses.is_empty() {
            addresses.push(self.next_address()?);
        }
        let id = self.shared.network().add_host(addresses.clone(), region)?;
        let mut names = self.shared.names();
        names.addresses.entry(name.clone()).or_insert(addresses);
        drop(names);
        let seed = self.seed.derive(&format!("tasks of {id}"));
        self.shared.add_host(id, &seed);
        self.names.insert(name.clone(), id);
        self.identities.push(Vec::new());
        self.hosts.push(HostState {
            name,
            machine: None,
            maker: None,
            address: None,
            patience: Patience::default(),
            clock: Clock::default(),
            late_timers: (0.0, Duration::ZERO),
            armed: None,
            wakes: BTreeSet::new(),
            woken: (Instant::ZERO, 0),
        });
        Ok(id)
    }

    /// The host that was added last was never there.
    fn take_back(&mut self) {
        let Some(state) = self.hosts.pop() else {
            return;
        };
        self.identities.pop();
        self.names.remove(&state.name);
        let addresses = self.shared.take_back_host();
        let mut names = self.shared.names();
        // Unless the name was made to mean others.
        if names.addresses.get(&state.name) == Some(&addresses) {
            names.addresses.remove(&state.name);
        }
    }

    /// Addresses of 198.18.0.0/15, which is set aside for tests of networks: each host its own, in order, but for those
    /// that a host was given by name.
    fn next_address(&mut self) -> Result<IpAddr, WorldError> {
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        let limit = u32::from(Ipv4Addr::new(198, 19, 255, 255));
        loop {
            let next = base + self.addresses_given + 1;
            if next >= limit {
                return Err(WorldError::OutOfAddresses);
            }
            self.addresses_given += 1;
            let address = Ipv4Addr::from(next).into();
            if !self.shared.network().is_address(address) {
                return Ok(address);
            }
        }
    }

    /// Starts the node of a host.
    pub(super) fn boot(&mut self, host: HostId, anew: bool) -> Result<(), WorldError> {
        let mut maker = self
            .host_mut(host)?
            .maker
            .take()
            .ok_or(WorldError::UnknownHost(host))?;
        let machine = maker(self, host, anew);
        let state = self.host_mut(host)?;
        state.maker = Some(maker);
        state.machine = Some(machine?);
        state.armed = None;
        self.moment(Some(host), Moment::Up);
        self.turn(host, |machine, outside| machine.start(outside));
        Ok(())
    }

    /// What a host's machines write down goes into the hash; to where the world is recorded, or to its own recorder.
    fn recorder_of(&mut self, host: HostId, own: Option<SharedRecorder>) -> Option<SharedRecorder> {
        let name = self.name(host).to_owned();
        let next = self.record_to.as_mut().map(|record| record(&name));
        Some(self.trace.recorder(host.0, own.or(next)))
    }

    /// Records the nodes of hosts that start from now on, with what makes a recorder for each start of a host of this name.
    /// A [`FileRecorder`](drywire_engine::recording::FileRecorder) has them: `|name| file.host(name)`.
    pub fn record_to(&mut self, record: impl FnMut(&str) -> SharedRecorder + 'static) {
        self.record_to = Some(Box::new(record));
    }

    /// What a host takes for the time.
    pub(super) fn clocks(&mut self, host: HostId) -> (Instant, drywire::time::UnixTime) {
        let clock = self
            .hosts
            .get(host.number())
            .map(|host| host.clock)
            .unwrap_or_default();
        let now = self.now + clock.ahead;
        (now, clock.unix(self.unix_start, now))
    }

    /// The address at which a host listens, with its peer id.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NoNode`], [`WorldError::NoListener`].
    pub fn address(&self, host: impl Into<HostId>) -> Result<Multiaddr, WorldError> {
        let host = host.into();
        let unknown = || WorldError::UnknownHost(host);
        let state = self.hosts.get(host.number()).ok_or_else(unknown)?;
        let peer = self.peer_id(host)?;
        let no_listener = || WorldError::NoListener(state.name.clone());
        let address = state.address.as_ref().ok_or_else(no_listener)?;
        address.with_peer_id(peer).map_err(|_| no_listener())
    }

    /// Who a host is, or was when it ran last.
    ///
    /// # Errors
    /// [`WorldError::UnknownHost`], [`WorldError::NoNode`].
    pub fn peer_id(&self, host: impl Into<HostId>) -> Result<PeerId, WorldError> {
        let host = host.into();
        let known = self.identities.get(host.number());
        let known = known.ok_or(WorldError::UnknownHost(host))?.last().copied();
        known.ok_or_else(|| WorldError::NoNode(self.name(host).to_owned()))
    }

    /// Does something at a time, which may have passed: then at once.
    ///
    /// A script that gives back an error ends the run with a [`Violation`](crate::Violation), so that no test passes because
    /// its script did nothing.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use drywire_sim::{HostBuilder, World};
    /// # let mut world = World::new(1);
    /// let alice = world.add(HostBuilder::standard("alice"))?;
    /// world.after(Duration::from_secs(2), move |world| world.crash(alice));
    /// world.after(Duration::from_secs(3), move |world| world.restart(alice));
    /// world.run_for(Duration::from_secs(5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at<O: Outcome>(&mut self, time: Instant, script: impl FnOnce(&mut Self) -> O + 'static) {
        let script = |world: &mut Self| {
            if let Some(error) = script(world).into_error() {
                world.fail(None, "the script can be carried out", error);
            }
        };
        self.agenda
            .enter(time.max(self.now), Job::Script(Box::new(script)));
    }

    /// Does something after a time, see [`at`](Self::at).
    pub fn after<O: Outcome>(
        &mut self,
        time: Duration,
        script: impl FnOnce(&mut Self) -> O + 'static,
    ) {
        self.at(self.now + time, script);
    }

    /// Notes something for the picture of the run.
    pub fn moment(&mut self, host: Option<HostId>, moment: Moment) {
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.note(self.now, host, moment);
        }
    }

    /// Counts a fault, for the statistics and the picture.
    pub(crate) fn fault(&mut self, host: Option<HostId>, fault: Fault) {
        self.statistics.faults.count(fault);
        let name = host.map(|host| self.name(host).to_owned());
        self.trace.note(self.now, || match name {
            Some(name) => format!("{name} fault: {fault}"),
            None => format!("fault: {fault}"),
        });
        self.moment(host, Moment::Fault(fault));
    }
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
fn default_config() -> Config {
    Config::default()
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto")))]
fn default_config() -> Config {
    Config::new(SecurityConfig::InsecurePlaintext)
}
