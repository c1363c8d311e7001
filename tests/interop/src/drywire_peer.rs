//! [`Peer`] with drywire on tokio: TCP (no delay), Noise, yamux, ping, identify, and streams.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use drywire::{
    connection::Slot,
    crypto::Provider,
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{identify, ping},
    protocols,
    resource::Lease,
    swarm::{
        AttemptError, Config, Context, DialCondition, DialError, DialOptions, Event, Input,
        Protocol, Rate, SecurityConfig,
    },
    time::Instant,
};
use drywire_engine::{
    AcceptError, AcceptOptions, ConnectError, Events, Host, IncomingStreams, OpenStreamError,
    Stream,
};
use drywire_tokio::TokioRuntime;
use tokio::sync::oneshot;

use crate::peer::{Crypto, Error, Identified, Options, Peer, Transfer};

/// Events that wait for the task that reads them.
const EVENTS: usize = 4096;

/// A protocol that a node may do without.
#[derive(Debug, Default)]
pub struct Maybe<P>(Option<P>);

impl<P: Protocol> Protocol for Maybe<P> {
    type Event = P::Event;

    const SLOTS: u16 = P::SLOTS;

    fn start(&mut self, cx: &mut Context<'_, P::Event>) {
        if let Some(protocol) = &mut self.0 {
            protocol.start(cx);
        }
    }

    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Context<'_, P::Event>) {
        if let Some(protocol) = &mut self.0 {
            protocol.handle(slot, input, cx);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.as_ref().and_then(Protocol::poll_timeout)
    }
}

protocols! {
    /// What a node may serve beside its streams.
    #[derive(Debug)]
    pub struct Protocols => ProtocolsEvent {
        ping: Maybe<ping::Ping> => Ping,
        identify: Maybe<identify::Identify> => Identify,
    }
}

/// A drywire node on the tokio runtime in which it was started.
#[derive(Clone, Debug)]
pub struct DrywirePeer {
    host: Host<Protocols>,
    asked: Arc<Mutex<Asked>>,
    accept: AcceptOptions,
}

/// Who waits for an event, and what is known already.
#[derive(Debug, Default)]
struct Asked {
    pinging: Vec<(PeerId, Reply<Duration>)>,
    identifying: Vec<(PeerId, Reply<Identified>)>,
    identified: Vec<(PeerId, Identified)>,
    disconnecting: Vec<(PeerId, Reply<()>)>,
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

impl DrywirePeer {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        lock(&self.asked)
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.host.with(|_, cx| cx.is_connected(peer))
    }
}

impl Transfer for Stream {}

impl Peer for DrywirePeer {
    const NAME: &'static str = "drywire";
    type Id = PeerId;
    type Stream = Stream;
    type Incoming = IncomingStreams;

    fn start(options: Options) -> Result<Self, Error> {
        let protocols = Protocols {
            ping: Maybe(options.ping.then(ping_on_demand)),
            identify: Maybe(options.identify.then(|| {
                let mut config = identify::Config::default();
                config.agent_version.clone_from(&options.agent);
                identify::Identify::new(config)
            })),
        };
        let host = start(&options, protocols)?;
        let asked = Arc::new(Mutex::new(Asked::default()));
        tokio::spawn(answer_by(host.events(EVENTS), asked.clone()));
        let accept = AcceptOptions::new(options.accept_backlog).max_streams(count(&options));
        Ok(Self {
            host,
            asked,
            accept,
        })
    }

    fn id(&self) -> PeerId {
        self.host.peer_id()
    }

    async fn listen(&self, address: &str) -> Result<String, Error> {
        let bound = self.host.listen(parse(address)?).await.map_err(node)?;
        let address = bound.address.with_peer_id(self.id()).map_err(node)?;
        Ok(address.to_string())
    }

    async fn connect(&self, address: &str) -> Result<PeerId, Error> {
        let options = DialOptions::address(parse(address)?)
            .without_address_book()
            .condition(DialCondition::Always)
            .ignore_backoff();
        let dialed = self.host.dial(options).await.map_err(dial_error)?;
        Ok(dialed.peer)
    }

    async fn open(&self, peer: &PeerId, name: &'static str) -> Result<Stream, Error> {
        let name = ProtocolName::from_static(name);
        let opened = self.host.open_stream(*peer, name).await;
        opened.map_err(open_error)
    }

    async fn open_optimistic(&self, peer: &PeerId, name: &'static str) -> Result<Stream, Error> {
        let name = ProtocolName::from_static(name);
        let opened = self.host.open_stream_optimistic(*peer, name).await;
        opened.map_err(open_error)
    }

    fn accept(&self, name: &'static str) -> Result<IncomingStreams, Error> {
        let name = ProtocolName::from_static(name);
        let accepted = self.host.accept_with(name, self.accept);
        accepted.map_err(|error| match error {
            AcceptError::AlreadyRegistered(_) => Error::AlreadyAccepting,
            other => node(other),
        })
    }

    async fn ping(&self, peer: &PeerId) -> Result<Duration, Error> {
        let (reply, answer) = oneshot::channel();
        self.asked().pinging.push((*peer, reply));
        let asked = self.host.with(|protocols, cx| {
            protocols.ping(cx, |ping, cx| {
                ping.0.as_mut().map_or(0, |ping| ping.ping(peer, cx))
            })
        });
        match asked {
            0 => Err(Error::NotConnected),
            _ => gone(answer.await),
        }
    }

    async fn identify(&self, peer: &PeerId) -> Result<Identified, Error> {
        let answer = {
            let mut asked = self.asked();
            let known = asked.identified.iter().find(|(of, _)| of == peer);
            if let Some((_, info)) = known {
                return Ok(info.clone());
            }
            let (reply, answer) = oneshot::channel();
            asked.identifying.push((*peer, reply));
            answer
        };
        match self.is_connected(peer) {
            true => gone(answer.await),
            false => Err(Error::NotConnected),
        }
    }

    async fn disconnect(&self, peer: &PeerId) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.asked().disconnecting.push((*peer, reply));
        if !self.is_connected(peer) {
            return Err(Error::NotConnected);
        }
        self.host.disconnect(*peer);
        gone(answer.await)
    }

    fn reset(stream: Stream) {
        stream.reset(0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn node(error: impl std::fmt::Display) -> Error {
    Error::Node(error.to_string())
}

fn gone<T>(answer: Result<Result<T, Error>, oneshot::error::RecvError>) -> Result<T, Error> {
    answer.map_err(|_| node("it has shut down"))?
}

fn parse(address: &str) -> Result<Multiaddr, Error> {
    address
        .parse()
        .map_err(|error| Error::Address(format!("{address}: {error}")))
}

fn dial_error(error: ConnectError) -> Error {
    let failures = match &error {
        ConnectError::Dial(error) => error.failures(),
        _ => &[],
    };
    let wrong = failures.iter().find_map(|failure| match failure.error {
        AttemptError::WrongPeer { obtained } => Some(obtained),
        _ => None,
    });
    match wrong {
        Some(obtained) => Error::WrongPeer(obtained.to_string()),
        None => Error::Dial(error.to_string()),
    }
}

fn open_error(error: OpenStreamError) -> Error {
    match error {
        OpenStreamError::UnsupportedProtocol(_) => Error::Unsupported,
        OpenStreamError::NotConnected
        | OpenStreamError::Connection(_)
        | OpenStreamError::Dial(DialError::NoAddresses) => Error::NotConnected,
        OpenStreamError::Dial(error) => Error::Dial(error.to_string()),
        OpenStreamError::Stream(error) => Error::Io(std::io::Error::other(error)),
        other => node(other),
    }
}

/// A host of these protocols on the tokio runtime that this runs in.
pub fn start<P>(options: &Options, protocols: P) -> Result<Host<P>, Error>
where
    P: Protocol<Event: Send> + Send + 'static,
{
    let runtime = TokioRuntime::current().map_err(node)?;
    let builder = Host::builder(runtime, protocols).config(config(options));
    let builder = match &options.secret {
        Some(secret) => builder.keypair(Keypair::from_ed25519_secret(secret)),
        None => builder,
    };
    builder.start().map_err(node)
}

/// Pings that come in between would be answers to nobody.
fn ping_on_demand() -> ping::Ping {
    let mut config = ping::Config::default();
    config.automatic = false;
    ping::Ping::new(config)
}

fn count(options: &Options) -> u32 {
    u32::try_from(options.max_streams).unwrap_or(u32::MAX)
}

/// Tests and benchmarks have many nodes on one machine, and more streams than a node of the public network would allow.
fn config(options: &Options) -> Config {
    const CONNECTIONS: u32 = 4096;
    let crypto = match options.crypto {
        Crypto::Default => Provider::default(),
        #[cfg(feature = "aws-lc-rs")]
        Crypto::AwsLc => Provider::aws_lc_rs(),
    };
    let streams = count(options);
    let mut config = Config::new(SecurityConfig::Noise(crypto));
    let connection = &mut config.connection;
    connection.idle_timeout = options.idle_timeout;
    connection.max_streams = streams;
    connection.max_negotiating_streams = streams;
    connection.yamux.max_inbound_streams = streams;
    connection.yamux.max_outbound_streams = streams;
    let limits = &mut config.limits;
    limits.connections = CONNECTIONS;
    limits.inbound = CONNECTIONS;
    limits.per_peer = 64;
    limits.rate_per_address = Rate::UNLIMITED;
    limits.rate_per_site = Rate::UNLIMITED;
    let resources = &mut config.resources;
    resources.connection.streams = 2 * streams;
    resources.peer = Lease::new(resources.peer.bytes, 4 * streams);
    let all = CONNECTIONS * resources.initial.streams;
    resources.node = Lease::new(1 << 30, all + resources.peer.streams);
    config
}

/// The task that hears the node's events and answers who waits for them. It ends with the node.
async fn answer_by(mut events: Events<Protocols>, asked: Arc<Mutex<Asked>>) {
    while let Some(event) = events.next().await {
        let mut asked = lock(&asked);
        match event {
            Event::Protocol(ProtocolsEvent::Ping(event)) => {
                answer_all(&mut asked.pinging, event.peer, || match &event.result {
                    Ok(time) => Ok(*time),
                    Err(ping::Failure::Unsupported) => Err(Error::Unsupported),
                    Err(ping::Failure::Timeout) => Err(Error::Timeout),
                    Err(other) => Err(node(other)),
                });
            }
            Event::Protocol(ProtocolsEvent::Identify(event)) => asked.identify(event),
            Event::ConnectionClosed {
                peer,
                connections: 0,
                ..
            } => {
                asked.identified.retain(|(of, _)| *of != peer);
                answer_all(&mut asked.pinging, peer, || Err(Error::NotConnected));
                answer_all(&mut asked.identifying, peer, || Err(Error::NotConnected));
                answer_all(&mut asked.disconnecting, peer, || Ok(()));
            }
            _ => {}
        }
    }
    // Nobody will be answered any more.
    drop(mem::take(&mut *lock(&asked)));
}

impl Asked {
    fn identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer, info, .. } => {
                let info = identified(peer, &info);
                answer_all(&mut self.identifying, peer, || Ok(info.clone()));
                self.identified.retain(|(of, _)| *of != peer);
                self.identified.push((peer, info));
            }
            identify::Event::Failed { peer, error, .. } => {
                answer_all(&mut self.identifying, peer, || Err(node(&error)));
            }
            _ => {}
        }
    }
}

fn identified(peer: PeerId, info: &identify::Info) -> Identified {
    let texts = |list: &[Multiaddr]| list.iter().map(ToString::to_string).collect();
    let observed = info.observed_address.as_ref();
    Identified {
        peer: info
            .public_key
            .as_ref()
            .map_or(peer, PeerId::from_public_key)
            .to_string(),
        protocol_version: info.protocol_version.clone(),
        agent_version: info.agent_version.clone(),
        listen_addresses: texts(&info.listen_addresses),
        protocols: info.protocols.iter().map(ToString::to_string).collect(),
        observed_address: observed.map(ToString::to_string).unwrap_or_default(),
    }
}

fn answer_all<T>(
    waiting: &mut Vec<(PeerId, Reply<T>)>,
    peer: PeerId,
    mut result: impl FnMut() -> Result<T, Error>,
) {
    for (_, reply) in waiting.extract_if(.., |(waits_for, _)| *waits_for == peer) {
        // Who no longer waits does not need the answer.
        let _ = reply.send(result());
    }
}
