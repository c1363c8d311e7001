//! Making a host.

use crate::{
    error::StartError,
    host::Host,
    router::Router,
    runtime::Runtime,
    state::{Inner, SwarmState},
    swarm::{SwarmDriver, WALL_CLOCK_EVERY},
};
use core::{fmt, sync::atomic::AtomicUsize};
use drywire::{
    identity::Keypair,
    seed::Seed,
    swarm::{Config, Protocol, Swarm},
};
use std::sync::{Arc, Mutex};

/// What a host is made of.
#[must_use = "nothing runs until it is started"]
pub struct HostBuilder<R: Runtime, P: Protocol> {
    runtime: R,
    protocols: P,
    keypair: Option<Keypair>,
    config: Option<Config>,
    seed: Option<Seed>,
}

impl<R: Runtime, P: Protocol> fmt::Debug for HostBuilder<R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("config", &self.config)
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

impl<R: Runtime, P> HostBuilder<R, P>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
{
    pub(crate) fn new(runtime: R, protocols: P) -> Self {
        Self {
            runtime,
            protocols,
            keypair: None,
            config: None,
            seed: None,
        }
    }

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

    /// Draws all randomness from this seed instead of the runtime's entropy. Every key of every connection follows from
    /// it: for tests.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the node. It does not listen yet.
    ///
    /// # Errors
    /// If the runtime has no randomness to give.
    pub fn start(self) -> Result<Host<P>, StartError> {
        let Self {
            runtime,
            protocols,
            keypair,
            config,
            seed,
        } = self;
        let mut seed = match seed {
            Some(seed) => seed,
            None => Seed::from_entropy(
                runtime
                    .entropy()
                    .map_err(|error| StartError::Entropy(error.to_string()))?,
            ),
        };
        let keypair =
            keypair.unwrap_or_else(|| Keypair::ed25519_from_seed(&seed.next_child("identity")));
        let peer = keypair.peer_id();
        let config = config
            .or_else(default_config)
            .ok_or(StartError::NoCryptoBackend)?;
        let open_timeout = config.connection.negotiation_timeout;
        let now = runtime.now();
        let mut swarm = Swarm::new(config, keypair, protocols, seed, now, runtime.unix())
            .map_err(StartError::Security)?;
        let router = Router::new(open_timeout, {
            let runtime = runtime.clone();
            move || runtime.now()
        });
        swarm.set_waker(Some(router.clone().into()));
        let inner = Arc::new(Inner {
            router,
            state: Mutex::new(SwarmState::new(swarm, now + WALL_CLOCK_EVERY)),
            peer,
            handles: AtomicUsize::new(1),
        });
        runtime.spawn(SwarmDriver::new(runtime.clone(), inner.clone()));
        Ok(Host::of(inner))
    }
}
