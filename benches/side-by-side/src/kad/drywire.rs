//! drywire's nodes.

use super::{IDLE, NAME, Network, PATIENCE, world::World};
use drywire::{
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::Node,
    protocol::{
        identify::Identify,
        kad::{
            Config, Event, GetClosestPeersError, GetClosestPeersOk, Kademlia, Mode, QueryId,
            QueryResult,
        },
    },
    protocols,
    seed::Seed,
    swarm::{self, Rate, SecurityConfig, Swarm},
    time::UnixTime,
};
use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

protocols! {
    /// What a node speaks.
    pub struct Protocols => ProtocolsEvent {
        identify: Identify => Identify,
        kad: Kademlia => Kad,
    }
}

/// Nodes of drywire.
pub(crate) struct Town {
    world: World<Protocols>,
    peers: Vec<PeerId>,
}

fn address(node: usize) -> Option<Multiaddr> {
    let [.., high, low] = node.to_be_bytes();
    format!("/ip4/10.0.{high}.{low}/tcp/4001").parse().ok()
}

fn failed(what: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{what:?}"))
}

fn node(number: usize) -> io::Result<Node<Protocols>> {
    let seed = Seed::for_tests(number as u64);
    let keypair = Keypair::ed25519_from_seed(&seed);
    let kad = Config::new(ProtocolName::from_static(NAME));
    let kad = Kademlia::new(kad).with_mode(Mode::Server);
    let protocols = Protocols {
        identify: Identify::default(),
        kad,
    };
    let mut config = swarm::Config::new(SecurityConfig::InsecurePlaintext);
    config.connection.idle_timeout = IDLE;
    // rust-libp2p has none by default.
    config.limits.connections = 4096;
    config.limits.inbound = 4096;
    config.limits.pending = 4096;
    config.limits.rate_per_address = Rate::UNLIMITED;
    config.limits.rate_per_site = Rate::UNLIMITED;
    let (now, unix) = (
        drywire::time::Instant::ZERO,
        UnixTime::from_secs(1_800_000_000),
    );
    let swarm = Swarm::new(config, keypair, protocols, seed, now, unix).map_err(failed)?;
    let mut node = Node::new(swarm);
    let address = address(number).ok_or_else(|| failed("no address"))?;
    node.listen(now, address).map_err(failed)?;
    Ok(node)
}

impl Town {
    /// Waits for the last events of these queries, which it returns with the requests they took.
    fn wait(&mut self, queries: BTreeSet<(usize, QueryId)>) -> io::Result<Vec<(QueryResult, u32)>> {
        let (mut queries, mut results) = (queries, Vec::new());
        let deadline = Instant::now() + PATIENCE;
        while !queries.is_empty() {
            if !self.world.settle() {
                self.world.rest(Duration::from_millis(50));
            }
            while let Some((node, event)) = self.world.events.pop_front() {
                let ProtocolsEvent::Kad(Event::OutboundQueryProgressed {
                    id,
                    result,
                    stats,
                    step,
                }) = event
                else {
                    continue;
                };
                if step.last && queries.remove(&(node, id)) {
                    results.push((result, stats.num_requests()));
                }
            }
            if Instant::now() > deadline {
                return Err(failed("a query hangs"));
            }
        }
        Ok(results)
    }
}

impl Network for Town {
    fn new(nodes: usize) -> io::Result<Self> {
        let nodes: io::Result<Vec<_>> = (0..nodes).map(node).collect();
        let mut world = World::new(nodes?);
        world.settle();
        let peers = world.nodes.iter().map(|node| node.swarm().local_peer_id());
        let peers = peers.collect();
        Ok(Self { world, peers })
    }

    fn peers(&self) -> Vec<PeerId> {
        self.peers.clone()
    }

    fn join(&mut self, nodes: &[(usize, usize)]) -> io::Result<()> {
        let mut queries = BTreeSet::new();
        for (node, known) in nodes {
            let now = self.world.now();
            let address = address(*known).ok_or_else(|| failed("no address"))?;
            let begun = self.world.nodes[*node].with(now, |protocols, cx| {
                protocols.kad(cx, |kad, cx| {
                    let _ = kad.add_address(self.peers[*known], &address, cx);
                    kad.bootstrap(cx)
                })
            });
            queries.insert((*node, begun.map_err(failed)?));
            self.world.touch(*node);
        }
        self.wait(queries).map(drop)
    }

    fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if !self.world.settle() {
                self.world
                    .rest(end.saturating_duration_since(Instant::now()));
            }
            self.world.events.clear();
        }
    }

    fn closest(&mut self, node: usize, key: &[u8]) -> io::Result<(Vec<PeerId>, u32)> {
        let now = self.world.now();
        let begun = self.world.nodes[node].with(now, |protocols, cx| {
            protocols.kad(cx, |kad, cx| kad.get_closest_peers(key, cx))
        });
        self.world.touch(node);
        let query = (node, begun.map_err(failed)?);
        match self.wait(BTreeSet::from([query]))?.pop() {
            Some((
                QueryResult::GetClosestPeers(
                    Ok(GetClosestPeersOk { peers, .. })
                    | Err(GetClosestPeersError::Timeout { peers, .. }),
                ),
                requests,
            )) => Ok((peers.iter().map(|info| info.peer).collect(), requests)),
            other => Err(failed(other)),
        }
    }
}
