//! What a network of Kademlia nodes is to be.

use crate::{error::WorldError, network::Link, population::Churn};
use core::time::Duration;
use drywire::{
    multistream::ProtocolName,
    protocol::kad::{AddressScope, Config, table::DiversityLimits},
};

/// The protocol of the simulated network.
const PROTOCOL: ProtocolName = ProtocolName::from_static("/sim/kad/1.0.0");

/// What a [`KadWorld`](super::KadWorld) is to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KadConfig {
    /// How many nodes, at least 2. 1,000.
    pub nodes: usize,
    /// The share of them that only ask. 0.
    pub clients: f64,
    /// The settings of every node: [`node_config`] unless changed.
    pub node: Config,
    /// How the nodes came to know each other.
    pub join: Join,
    /// The first so many nodes are those that everybody begins with; they never leave. 8.
    pub bootstrappers: usize,
    /// Everything about the ways of messages but the latency, which follows from regions: [`Link::jitter`] and
    /// [`Link::spikes`] are used. 10 % jitter.
    pub link: Link,
    /// How long a message travels one way between any two nodes. `None`: it follows from the regions nodes are in.
    pub latency: Option<Duration>,
    /// Round trips before the first message on a new connection arrives. 1, as with QUIC.
    pub dial_round_trips: u32,
    /// After which time without a message a connection is closed. 30 s.
    pub idle_timeout: Duration,
    /// How nodes leave and come back; `None`: they stay.
    pub churn: Option<KadChurn>,
    /// Whether a peer is reached only if one of the addresses that the asking node knows is the true one. Costs time. No.
    pub check_addresses: bool,
    /// A node is [audited](drywire::protocol::kad::Dht::audit) each time so many calls of nodes have been made; 0 is never.
    /// 64.
    pub audit_every: u64,
}

impl Default for KadConfig {
    fn default() -> Self {
        Self {
            nodes: 1_000,
            clients: 0.0,
            node: node_config(),
            join: Join::Bootstrap,
            bootstrappers: 8,
            link: Link::default().jitter(0.1),
            latency: None,
            dial_round_trips: 1,
            idle_timeout: Duration::from_secs(30),
            churn: None,
            check_addresses: false,
            audit_every: 64,
        }
    }
}

impl KadConfig {
    /// With so many nodes.
    #[must_use]
    pub fn nodes(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// With tables as [`Join::Known`] has them.
    #[must_use]
    pub const fn known(mut self) -> Self {
        self.join = Join::Known;
        self
    }

    pub(super) fn check(&self) -> Result<(), WorldError> {
        let bad = |name, value| Err(WorldError::BadRate { name, value });
        if self.nodes < 2 || self.nodes > 1_000_000 {
            return bad("number of nodes", self.nodes as f64);
        }
        if !(0.0..1.0).contains(&self.clients) {
            return bad("share of clients", self.clients);
        }
        if self.bootstrappers == 0 || self.bootstrappers > self.nodes {
            return bad("number of bootstrappers", self.bootstrappers as f64);
        }
        if let Some(churn) = self.churn {
            churn.law.check()?;
            if !(0.0..0.95).contains(&churn.away) {
                return bad("share of nodes away", churn.away);
            }
        }
        self.link.check()
    }
}

/// How the nodes of a [`KadWorld`](super::KadWorld) came to know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Join {
    /// One after another, each through three of the bootstrappers, by the bootstrap of the protocol: a lookup of itself,
    /// then one for each bucket. The network doubles every 30 s.
    Bootstrap,
    /// The same, but each only looks itself up: several times faster.
    Lookup,
    /// Nobody joined: every table is filled with whom a long-running node would know, up to a full k-bucket for each
    /// distance, drawn at random from all nodes there ever were, also those that are away.
    Known,
}

/// How nodes leave and come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KadChurn {
    /// The lengths of sessions, and what leaving is like. Times away are those of [`away`](Self::away).
    pub law: Churn,
    /// The share of nodes that are away at any time. 0.26: of the peers found in the public DHT, 26 % could not be reached.
    pub away: f64,
}

impl KadChurn {
    /// As measured in the public DHT.
    #[must_use]
    pub const fn measured() -> Self {
        Self {
            law: Churn::measured(),
            away: 0.26,
        }
    }

    /// How long nodes are away on average, so that as many are at a time.
    pub(super) fn mean_away(self) -> Duration {
        /// The mean of Weibull's law with a shape of 0.61, for a scale of 1.
        const MEAN: f64 = 1.472;
        let session = 3.66 * 3600.0 * MEAN / self.law.speed;
        Duration::from_secs_f64(session * self.away / (1.0 - self.away))
    }
}

/// The settings of simulated nodes: those of the public DHT, with every defence; under a name of their own, so that any value
/// is valid.
#[must_use]
pub fn node_config() -> Config {
    let mut config = Config::new(PROTOCOL);
    config.address_scope = AddressScope::Public;
    config.diversity = Some(DiversityLimits::default());
    config.max_response_peers_per_group = Some(3);
    config.entry_correction = true;
    config.replication_interval = None;
    config
}
