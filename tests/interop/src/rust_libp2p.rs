//! [`Peer`] with rust-libp2p: TCP (no delay), Noise, yamux, ping, identify, and [streams](Incoming).

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    str::FromStr,
    task::Poll,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm, SwarmBuilder,
    core::{transport::ListenerId, upgrade::Version},
    identify, identity,
    multiaddr::Protocol,
    noise, ping,
    swarm::{
        ConnectionId, DialError, NetworkBehaviour, SwarmEvent,
        behaviour::toggle::Toggle,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use tokio::sync::{mpsc, oneshot};

use crate::peer::{Error, Identified, Options, Peer, Transfer};

mod streams;

pub use streams::Incoming;

/// rust-libp2p panics when a connection's receive window (1 GiB) does not give 256 KiB to each stream.
const MOST_STREAMS: usize = 4096;

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: streams::Behaviour,
    ping: Toggle<ping::Behaviour>,
    identify: Toggle<identify::Behaviour>,
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

enum Command {
    Listen(Multiaddr, Reply<Multiaddr>),
    Dial(DialOpts, Reply<PeerId>),
    Ping(PeerId, Reply<Duration>),
    Identify(PeerId, Reply<Identified>),
    Disconnect(PeerId, Reply<()>),
}

/// A rust-libp2p node, run by a task of the tokio runtime in which it was started.
#[derive(Clone, Debug)]
pub struct Libp2pPeer {
    id: PeerId,
    control: streams::Control,
    commands: mpsc::Sender<Command>,
    accept_backlog: usize,
}

impl Libp2pPeer {
    /// Inbound streams that were reset because nobody took those before them.
    pub fn dropped_streams(&self) -> u64 {
        self.control.dropped()
    }

    async fn command<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Node("its task has ended".to_owned());
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Transfer for Stream {}

impl Peer for Libp2pPeer {
    const NAME: &'static str = "libp2p";
    type Id = PeerId;
    type Stream = Stream;
    type Incoming = Incoming;

    fn start(options: Options) -> Result<Self, Error> {
        let accept_backlog = options.accept_backlog;
        let swarm = build_swarm(options)?;
        let (commands, receiver) = mpsc::channel(64);
        let peer = Self {
            id: *swarm.local_peer_id(),
            control: swarm.behaviour().streams.control(),
            commands,
            accept_backlog,
        };
        tokio::spawn(Node::new(swarm).run(receiver));
        Ok(peer)
    }

    fn id(&self) -> PeerId {
        self.id
    }

    async fn listen(&self, address: &str) -> Result<String, Error> {
        let address = parse(address)?;
        let bound = self
            .command(|reply| Command::Listen(address, reply))
            .await?;
        Ok(bound.with(Protocol::P2p(self.id)).to_string())
    }

    async fn connect(&self, address: &str) -> Result<PeerId, Error> {
        let address = parse(address)?;
        let options = match address.iter().last() {
            Some(Protocol::P2p(peer)) => DialOpts::peer_id(peer)
                .addresses(vec![address])
                .condition(PeerCondition::Always)
                .build(),
            _ => DialOpts::unknown_peer_id().address(address).build(),
        };
        self.command(|reply| Command::Dial(options, reply)).await
    }

    fn open(
        &self,
        peer: &PeerId,
        name: &'static str,
    ) -> impl Future<Output = Result<Stream, Error>> + Send {
        self.control.open(peer, name)
    }

    fn accept(&self, name: &'static str) -> Result<Incoming, Error> {
        self.control.accept(name, self.accept_backlog)
    }

    async fn ping(&self, peer: &PeerId) -> Result<Duration, Error> {
        self.command(|reply| Command::Ping(*peer, reply)).await
    }

    async fn identify(&self, peer: &PeerId) -> Result<Identified, Error> {
        self.command(|reply| Command::Identify(*peer, reply)).await
    }

    async fn disconnect(&self, peer: &PeerId) -> Result<(), Error> {
        self.command(|reply| Command::Disconnect(*peer, reply))
            .await
    }
}

fn parse(address: &str) -> Result<Multiaddr, Error> {
    Multiaddr::from_str(address).map_err(|error| Error::Address(format!("{address}: {error}")))
}

fn build_swarm(options: Options) -> Result<Swarm<Behaviour>, Error> {
    swarm(&options, |keypair| {
        let ping = options.ping.then(|| {
            ping::Behaviour::new(ping::Config::new().with_interval(options.ping_interval))
        });
        let identify = options.identify.then(|| {
            let config = identify::Config::new("ipfs/0.1.0".to_owned(), keypair.public());
            identify::Behaviour::new(config.with_agent_version(options.agent.clone()))
        });
        Behaviour {
            streams: streams::Behaviour::default(),
            ping: ping.into(),
            identify: identify.into(),
        }
    })
}

/// A swarm with this behaviour, for the tokio runtime that polls it.
pub fn swarm<B: NetworkBehaviour>(
    options: &Options,
    behaviour: impl FnOnce(&identity::Keypair) -> B,
) -> Result<Swarm<B>, Error> {
    let node = |error: &dyn std::fmt::Display| Error::Node(error.to_string());
    let keypair = match options.secret {
        Some(secret) => {
            identity::Keypair::ed25519_from_bytes(secret).map_err(|error| node(&error))?
        }
        None => identity::Keypair::generate_ed25519(),
    };
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(options.max_streams.min(MOST_STREAMS));
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            || muxer,
        )
        .map_err(|error| node(&error))?
        .with_behaviour(|keypair| behaviour(keypair))
        .map_err(|error| node(&error))?
        .with_swarm_config(|config| {
            let config = config
                .with_idle_connection_timeout(options.idle_timeout)
                // Streams that come in a burst wait for their negotiation instead of holding up the muxer.
                .with_max_negotiating_inbound_streams(options.max_streams);
            if options.lazy_negotiation {
                config.with_substream_upgrade_protocol_override(Version::V1Lazy)
            } else {
                config
            }
        })
        .build();
    Ok(swarm)
}

/// The task that owns the swarm: carries out commands and answers them when the swarm says so.
struct Node {
    swarm: Swarm<Behaviour>,
    listening: HashMap<ListenerId, Reply<Multiaddr>>,
    dialing: HashMap<ConnectionId, Reply<PeerId>>,
    pinging: Vec<(PeerId, Reply<Duration>)>,
    identifying: Vec<(PeerId, Reply<Identified>)>,
    identified: HashMap<PeerId, Identified>,
    disconnecting: Vec<(PeerId, Reply<()>)>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "moved once; boxing would charge rust-libp2p an allocation per event"
)]
enum Turn {
    Command(Option<Command>),
    Event(SwarmEvent<BehaviourEvent>),
}

impl Node {
    fn new(swarm: Swarm<Behaviour>) -> Self {
        Self {
            swarm,
            listening: HashMap::new(),
            dialing: HashMap::new(),
            pinging: Vec::new(),
            identifying: Vec::new(),
            identified: HashMap::new(),
            disconnecting: Vec::new(),
        }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let turn = poll_fn(|cx| {
                if let Poll::Ready(command) = commands.poll_recv(cx) {
                    return Poll::Ready(Turn::Command(command));
                }
                match self.swarm.poll_next_unpin(cx) {
                    Poll::Ready(Some(event)) => Poll::Ready(Turn::Event(event)),
                    Poll::Ready(None) => Poll::Ready(Turn::Command(None)),
                    Poll::Pending => Poll::Pending,
                }
            });
            match turn.await {
                Turn::Command(Some(command)) => self.handle_command(command),
                Turn::Event(event) => self.handle_event(event),
                // All handles are gone.
                Turn::Command(None) => return,
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Listen(address, reply) => match self.swarm.listen_on(address) {
                Ok(listener) => {
                    self.listening.insert(listener, reply);
                }
                Err(error) => answer(reply, Err(Error::Node(error.to_string()))),
            },
            Command::Dial(options, reply) => {
                let connection = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => {
                        self.dialing.insert(connection, reply);
                    }
                    Err(error) => answer(reply, Err(dial_error(&error))),
                }
            }
            Command::Ping(peer, reply) => match self.swarm.is_connected(&peer) {
                true => self.pinging.push((peer, reply)),
                false => answer(reply, Err(Error::NotConnected)),
            },
            Command::Identify(peer, reply) => match self.identified.get(&peer) {
                Some(info) => answer(reply, Ok(info.clone())),
                None if self.swarm.is_connected(&peer) => self.identifying.push((peer, reply)),
                None => answer(reply, Err(Error::NotConnected)),
            },
            Command::Disconnect(peer, reply) => match self.swarm.disconnect_peer_id(peer) {
                Ok(()) => self.disconnecting.push((peer, reply)),
                Err(()) => answer(reply, Err(Error::NotConnected)),
            },
        }
    }

    fn handle_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                if let Some(reply) = self.listening.remove(&listener_id) {
                    answer(reply, Ok(address));
                }
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                if let Some(reply) = self.listening.remove(&listener_id) {
                    answer(
                        reply,
                        Err(Error::Node(format!("cannot listen: {reason:?}"))),
                    );
                }
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            } => {
                if let Some(reply) = self.dialing.remove(&connection_id) {
                    answer(reply, Ok(peer_id));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                if let Some(reply) = self.dialing.remove(&connection_id) {
                    answer(reply, Err(dial_error(&error)));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.identified.remove(&peer_id);
                answer_all(&mut self.pinging, peer_id, || Err(Error::NotConnected));
                answer_all(&mut self.identifying, peer_id, || Err(Error::NotConnected));
                answer_all(&mut self.disconnecting, peer_id, || Ok(()));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => {
                answer_all(&mut self.pinging, event.peer, || match &event.result {
                    Ok(time) => Ok(*time),
                    Err(ping::Failure::Unsupported) => Err(Error::Unsupported),
                    Err(ping::Failure::Timeout) => Err(Error::Timeout),
                    Err(other) => Err(Error::Node(other.to_string())),
                });
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.handle_identify(event),
            _ => {}
        }
    }

    fn handle_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } => {
                let info = Identified {
                    peer: info.public_key.to_peer_id().to_string(),
                    protocol_version: info.protocol_version,
                    agent_version: info.agent_version,
                    listen_addresses: info.listen_addrs.iter().map(Multiaddr::to_string).collect(),
                    protocols: info.protocols.iter().map(ToString::to_string).collect(),
                    observed_address: info.observed_addr.to_string(),
                };
                answer_all(&mut self.identifying, peer_id, || Ok(info.clone()));
                self.identified.insert(peer_id, info);
            }
            identify::Event::Error { peer_id, error, .. } => {
                answer_all(&mut self.identifying, peer_id, || {
                    Err(Error::Node(error.to_string()))
                });
            }
            _ => {}
        }
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, Error>) {
    // Who no longer waits does not need the answer.
    let _ = reply.send(result);
}

fn answer_all<T>(
    waiting: &mut Vec<(PeerId, Reply<T>)>,
    peer: PeerId,
    mut result: impl FnMut() -> Result<T, Error>,
) {
    for (_, reply) in waiting.extract_if(.., |(waits_for, _)| *waits_for == peer) {
        answer(reply, result());
    }
}

fn dial_error(error: &DialError) -> Error {
    match error {
        DialError::WrongPeerId { obtained, .. } => Error::WrongPeer(obtained.to_string()),
        other => Error::Dial(other.to_string()),
    }
}
