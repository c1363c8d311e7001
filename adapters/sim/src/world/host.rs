//! What a host is to be, and how tests speak of it.

use super::application::{Application, Events};
use crate::network::{HostId, Region};
use core::{fmt, marker::PhantomData, net::IpAddr, time::Duration};
use drywire::{
    identity::Keypair,
    protocol::Standard,
    swarm::{Config, Protocol},
};

/// The port on which hosts listen unless told otherwise.
pub const PORT: u16 = 4001;

/// A host of a world, with protocols `P` and application `A`. A name, to be copied freely.
pub struct Host<P, A = Events<P>> {
    pub(crate) id: HostId,
    kind: PhantomData<fn() -> (P, A)>,
}

impl<P, A> Host<P, A> {
    pub(crate) const fn new(id: HostId) -> Self {
        Self {
            id,
            kind: PhantomData,
        }
    }

    /// The host without its types.
    #[must_use]
    pub const fn id(self) -> HostId {
        self.id
    }
}

impl<P, A> Clone for Host<P, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, A> Copy for Host<P, A> {}

impl<P, A> PartialEq for Host<P, A> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<P, A> Eq for Host<P, A> {}

impl<P, A> fmt::Debug for Host<P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.id, f)
    }
}

impl<P, A> From<Host<P, A>> for HostId {
    fn from(host: Host<P, A>) -> Self {
        host.id
    }
}

/// What a host is to be: made by [`HostBuilder::new`], given to [`World::add`](crate::World::add).
///
/// By default it has one IPv4 address nobody else has, listens on TCP port 4001 of it, speaks Noise with the limits of
/// [`Config::default()`], has a key that follows from the world's seed, and collects its events.
pub struct HostBuilder<P: Protocol, A = Events<P>> {
    pub(super) name: String,
    pub(super) protocols: Box<dyn FnMut() -> P>,
    pub(super) application: A,
    pub(super) config: Option<Config>,
    pub(super) plaintext: bool,
    pub(super) keypair: Option<Keypair>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) region: Option<Region>,
    pub(super) listen: Option<u16>,
    pub(super) half_open_limit: Option<Duration>,
}

impl HostBuilder<Standard> {
    /// A host of the standard protocols: ping, identify, plain streams.
    #[must_use]
    pub fn standard(name: impl Into<String>) -> Self {
        Self::new(name, Standard::default)
    }
}

impl<P: Protocol + 'static> HostBuilder<P> {
    /// A host with protocols of its own. They are made at each start: again when the host restarts after a crash.
    #[must_use]
    pub fn new(name: impl Into<String>, protocols: impl FnMut() -> P + 'static) -> Self {
        Self {
            name: name.into(),
            protocols: Box::new(protocols),
            application: Events::default(),
            config: None,
            plaintext: false,
            keypair: None,
            addresses: Vec::new(),
            region: None,
            listen: Some(PORT),
            half_open_limit: None,
        }
    }
}

impl<P: Protocol + 'static, A> HostBuilder<P, A> {
    /// Runs this on the host, instead of collecting its events.
    #[must_use]
    pub fn application<B: Application<P>>(self, application: B) -> HostBuilder<P, B> {
        HostBuilder {
            name: self.name,
            protocols: self.protocols,
            application,
            config: self.config,
            plaintext: self.plaintext,
            keypair: self.keypair,
            addresses: self.addresses,
            region: self.region,
            listen: self.listen,
            half_open_limit: self.half_open_limit,
        }
    }

    /// With these limits and timeouts.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Without encryption: handshakes cost nothing. Two hosts connect only if both are so.
    #[must_use]
    pub const fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// With this key.
    #[must_use]
    pub fn keypair(mut self, keypair: Keypair) -> Self {
        self.keypair = Some(keypair);
        self
    }

    /// With one more address.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Somewhere: latencies to other hosts that are somewhere follow from it.
    #[must_use]
    pub const fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// Listens on this TCP port.
    #[must_use]
    pub const fn listen(mut self, port: u16) -> Self {
        self.listen = Some(port);
        self
    }

    /// A connection whose other end is gone must be noticed within this time: the world checks it. Which time is right
    /// depends on the protocols: with ping as it is by default, 95 s.
    #[must_use]
    pub const fn half_open_limit(mut self, limit: Duration) -> Self {
        self.half_open_limit = Some(limit);
        self
    }

    /// Does not listen.
    #[must_use]
    pub const fn dial_only(mut self) -> Self {
        self.listen = None;
        self
    }
}

impl<P: Protocol, A> fmt::Debug for HostBuilder<P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}
