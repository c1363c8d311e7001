//! What a host is made of.

use crate::{
    error::StartError,
    event_loop::EventLoop,
    host::Host,
    transport::{Tcp, Transport},
};
use core::{fmt, ops::Range};
use drywire::{
    identity::Keypair,
    node::Node,
    seed::Seed,
    swarm::{Config, Protocol, Swarm},
};
use mio::Registry;

/// Makes a [`Host`]; from [`Host::builder`].
#[must_use = "nothing runs until it is started"]
pub struct HostBuilder<P: Protocol, T: Transport = Tcp> {
    protocols: P,
    transport: T,
    keypair: Option<Keypair>,
    config: Option<Config>,
    seed: Option<Seed>,
    pub(crate) tokens: Range<usize>,
}

impl<P: Protocol, T: Transport> fmt::Debug for HostBuilder<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("config", &self.config)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

/// The core's default, if a crypto backend is compiled in.
#[allow(clippy::unnecessary_wraps, reason = "without a backend there is none")]
fn default_config() -> Option<Config> {
    #[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
    return Some(Config::default());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto")))]
    None
}

impl<P: Protocol> HostBuilder<P> {
    pub(crate) const fn new(protocols: P) -> Self {
        Self {
            protocols,
            transport: Tcp,
            keypair: None,
            config: None,
            seed: None,
            // The last one is mio's own on some systems.
            tokens: 0..usize::MAX,
        }
    }
}

impl<P: Protocol, T: Transport> HostBuilder<P, T> {
    /// Uses this identity; a new one is made otherwise.
    pub fn keypair(mut self, keypair: Keypair) -> Self {
        self.keypair = Some(keypair);
        self
    }

    /// Uses these limits and timeouts instead of the defaults.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Draws all randomness from this seed instead of the operating system. Every key of every connection follows from it:
    /// for tests.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Registers sockets under these tokens alone, so that others are free for the rest of the program. One is needed for
    /// each listener, connection and attempt to connect; a host that has none left refuses what is new. All by default.
    pub fn tokens(mut self, tokens: Range<usize>) -> Self {
        self.tokens = tokens;
        self
    }

    /// Uses sockets of another kind than TCP's.
    pub fn transport<U: Transport>(self, transport: U) -> HostBuilder<P, U> {
        let Self {
            protocols,
            keypair,
            config,
            seed,
            tokens,
            ..
        } = self;
        HostBuilder {
            protocols,
            transport,
            keypair,
            config,
            seed,
            tokens,
        }
    }

    /// Starts the node in a loop of the caller's, whose poll this is the registry of. It does not listen yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(self, registry: &Registry) -> Result<Host<P, T>, StartError> {
        let config = self
            .config
            .or_else(default_config)
            .ok_or(StartError::NoCryptoBackend)?;
        let mut seed = match self.seed {
            Some(seed) => seed,
            None => Seed::from_entropy(drywire_system::entropy()?),
        };
        let keypair = self
            .keypair
            .unwrap_or_else(|| Keypair::ed25519_from_seed(&seed.next_child("identity")));
        let (now, unix) = (drywire_system::now(), drywire_system::unix());
        let swarm = Swarm::new(config, keypair, self.protocols, seed, now, unix)
            .map_err(StartError::Security)?;
        let registry = registry.try_clone()?;
        Ok(Host::of(
            Node::new(swarm),
            registry,
            self.transport,
            self.tokens,
        ))
    }

    /// Starts the node in a loop of its own. It does not listen yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn event_loop(self) -> Result<EventLoop<P, T>, StartError> {
        EventLoop::new(self)
    }
}
