//! rust-libp2p's nodes: a task for each of them.

use super::{IDLE, NAME, Network, PATIENCE};
use drywire::identity::PeerId as Name;
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, Transport as _,
    core::{transport::MemoryTransport, upgrade::Version},
    identify, identity,
    kad::{
        self, Event, GetClosestPeersError, GetClosestPeersOk, Mode, QueryId, QueryResult,
        store::MemoryStore,
    },
    plaintext,
    swarm::{NetworkBehaviour, SwarmEvent},
    yamux,
};
use std::{collections::HashMap, io, time::Duration};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

/// The last result of a query, and how many requests it took.
type Reply = oneshot::Sender<(QueryResult, u32)>;

enum Command {
    Join(PeerId, Multiaddr, Reply),
    Closest(Vec<u8>, Reply),
}

/// Nodes of rust-libp2p.
pub(crate) struct Town {
    runtime: Runtime,
    nodes: Vec<(PeerId, Multiaddr, mpsc::UnboundedSender<Command>)>,
}

fn failed(what: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{what:?}"))
}

fn swarm() -> io::Result<Swarm<Behaviour>> {
    let keypair = identity::Keypair::generate_ed25519();
    let Ok(built) = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_other_transport(|keypair| {
            MemoryTransport::default()
                .upgrade(Version::V1)
                .authenticate(plaintext::Config::new(keypair))
                .multiplex(yamux::Config::default())
        });
    let Ok(built) = built.with_behaviour(|keypair| {
        let local = keypair.public().to_peer_id();
        let config = kad::Config::new(StreamProtocol::new(NAME));
        let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
        kad.set_mode(Some(Mode::Server));
        let identify = identify::Config::new("/bench/1.0.0".to_owned(), keypair.public());
        Behaviour {
            identify: identify::Behaviour::new(identify),
            kad,
        }
    });
    let swarm = built.with_swarm_config(|config| config.with_idle_connection_timeout(IDLE));
    Ok(swarm.build())
}

/// The task of a node.
async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut asking: HashMap<QueryId, Reply> = HashMap::new();
    loop {
        let event = tokio::select! {
            command = commands.recv() => {
                let kad = &mut swarm.behaviour_mut().kad;
                match command {
                    Some(Command::Join(peer, address, reply)) => {
                        kad.add_address(&peer, address);
                        if let Ok(id) = kad.bootstrap() {
                            asking.insert(id, reply);
                        }
                    }
                    Some(Command::Closest(key, reply)) => {
                        asking.insert(kad.get_closest_peers(key), reply);
                    }
                    None => return,
                }
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                // As its documentation demands.
                for address in info.listen_addrs {
                    swarm.behaviour_mut().kad.add_address(&peer_id, address);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            })) if step.last => {
                if let Some(reply) = asking.remove(&id) {
                    // Who no longer waits does not need the answer.
                    let _ = reply.send((result, stats.num_requests()));
                }
            }
            _ => {}
        }
    }
}

impl Town {
    fn ask(
        &self,
        node: usize,
        command: impl FnOnce(Reply) -> Command,
    ) -> io::Result<oneshot::Receiver<(QueryResult, u32)>> {
        let (reply, answer) = oneshot::channel();
        self.nodes[node]
            .2
            .send(command(reply))
            .map_err(failed_send)?;
        Ok(answer)
    }
}

fn failed_send<T>(_: mpsc::error::SendError<T>) -> io::Error {
    failed("a node has ended")
}

impl Network for Town {
    fn new(nodes: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let started = runtime.block_on(async {
            let mut started = Vec::new();
            for _ in 0..nodes {
                let mut swarm = swarm()?;
                let address = "/memory/0".parse().map_err(failed)?;
                swarm.listen_on(address).map_err(failed)?;
                let address = loop {
                    if let SwarmEvent::NewListenAddr { address, .. } =
                        swarm.select_next_some().await
                    {
                        break address;
                    }
                };
                let peer = *swarm.local_peer_id();
                let (commands, receiver) = mpsc::unbounded_channel();
                tokio::spawn(run(swarm, receiver));
                started.push((peer, address, commands));
            }
            io::Result::Ok(started)
        });
        Ok(Self {
            nodes: started?,
            runtime,
        })
    }

    fn peers(&self) -> Vec<Name> {
        let names = self.nodes.iter().map(|(peer, ..)| peer.to_string().parse());
        names.flatten().collect()
    }

    fn join(&mut self, nodes: &[(usize, usize)]) -> io::Result<()> {
        let mut answers = Vec::new();
        for (node, known) in nodes {
            let (peer, address, _) = self.nodes[*known].clone();
            answers.push(self.ask(*node, |reply| Command::Join(peer, address, reply))?);
        }
        self.runtime.block_on(async {
            let all = futures::future::join_all(answers);
            let all = tokio::time::timeout(PATIENCE, all).await;
            let all = all.map_err(failed)?;
            let all: Result<Vec<_>, _> = all.into_iter().collect();
            all.map(drop).map_err(failed)
        })
    }

    fn run_for(&mut self, time: Duration) {
        // A timer needs the runtime from its making on.
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    fn closest(&mut self, node: usize, key: &[u8]) -> io::Result<(Vec<Name>, u32)> {
        let key = key.to_vec();
        let answer = self.ask(node, |reply| Command::Closest(key, reply))?;
        let answer = self.runtime.block_on(async {
            let answer = tokio::time::timeout(PATIENCE, answer).await;
            answer.map_err(failed)?.map_err(failed)
        })?;
        match answer {
            (
                QueryResult::GetClosestPeers(
                    Ok(GetClosestPeersOk { peers, .. })
                    | Err(GetClosestPeersError::Timeout { peers, .. }),
                ),
                requests,
            ) => {
                let names = peers.iter().map(|info| info.peer_id.to_string().parse());
                Ok((names.flatten().collect(), requests))
            }
            other => Err(failed(other)),
        }
    }
}
