//! [`Requester`] with rust-libp2p.

use super::{Asked, Body, Failure, Format, Outcome, Refused, RequestOptions, Requester};
use crate::{Error, Options, rust_libp2p};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm,
    multiaddr::Protocol,
    request_response::{
        Behaviour, Codec, Config, Event, InboundFailure, Message, OutboundFailure,
        OutboundRequestId, ProtocolSupport, ResponseChannel, cbor, json,
    },
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use std::{collections::HashMap, io, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Says bodies in the format of the node: its ready codecs, or one of ours.
#[derive(Clone)]
struct AnyCodec {
    format: Format,
    cbor: cbor::codec::Codec<Body, Body>,
    json: json::codec::Codec<Body, Body>,
    max_request: u64,
    max_response: u64,
}

/// Bytes to the end of the stream, or after their length.
async fn read<T>(io: &mut T, format: Format, max: u64) -> io::Result<Body>
where
    T: AsyncRead + Unpin + Send,
{
    let too_large = || io::Error::new(io::ErrorKind::InvalidData, "too large");
    let mut bytes = Vec::new();
    if format == Format::Prefixed {
        let (mut len, mut shift, mut byte) = (0_u64, 0_u32, [0x80]);
        while byte[0] & 0x80 != 0 && shift < 63 {
            io.read_exact(&mut byte).await?;
            len |= u64::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        if len > max {
            return Err(too_large());
        }
        bytes.resize(len as usize, 0);
        io.read_exact(&mut bytes).await?;
    } else {
        io.take(max + 1).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 > max {
            return Err(too_large());
        }
    }
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(Body::text(text))
}

async fn write<T>(io: &mut T, format: Format, body: &Body) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    if format == Format::Prefixed {
        let (mut len, mut prefix) = (body.text.len(), Vec::new());
        while len >= 0x80 {
            prefix.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        prefix.push(len as u8);
        io.write_all(&prefix).await?;
    }
    io.write_all(body.text.as_bytes()).await
}

impl Codec for AnyCodec {
    type Protocol = StreamProtocol;
    type Request = Body;
    type Response = Body;

    async fn read_request<T>(&mut self, name: &StreamProtocol, io: &mut T) -> io::Result<Body>
    where
        T: AsyncRead + Unpin + Send,
    {
        match self.format {
            Format::Cbor => self.cbor.read_request(name, io).await,
            Format::Json => self.json.read_request(name, io).await,
            format => read(io, format, self.max_request).await,
        }
    }

    async fn read_response<T>(&mut self, name: &StreamProtocol, io: &mut T) -> io::Result<Body>
    where
        T: AsyncRead + Unpin + Send,
    {
        match self.format {
            Format::Cbor => self.cbor.read_response(name, io).await,
            Format::Json => self.json.read_response(name, io).await,
            format => read(io, format, self.max_response).await,
        }
    }

    async fn write_request<T>(
        &mut self,
        name: &StreamProtocol,
        io: &mut T,
        body: Body,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match self.format {
            Format::Cbor => self.cbor.write_request(name, io, body).await,
            Format::Json => self.json.write_request(name, io, body).await,
            format => write(io, format, &body).await,
        }
    }

    async fn write_response<T>(
        &mut self,
        name: &StreamProtocol,
        io: &mut T,
        body: Body,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match self.format {
            Format::Cbor => self.cbor.write_response(name, io, body).await,
            Format::Json => self.json.write_response(name, io, body).await,
            format => write(io, format, &body).await,
        }
    }
}

type Channel = ResponseChannel<Body>;
type Reply<T> = oneshot::Sender<T>;

enum Command {
    Listen(Reply<String>),
    Connect(Multiaddr, Reply<Result<String, Error>>),
    Ask(PeerId, Body, Reply<Result<Body, Failure>>),
    Answer(Channel, Body, Reply<Result<(), Refused>>),
    Disconnect(PeerId),
}

/// A rust-libp2p node, run by a task of its own.
#[derive(Clone, Debug)]
pub struct Libp2pRequester {
    id: PeerId,
    commands: mpsc::UnboundedSender<Command>,
    asked: Queue<Asked<Channel>>,
    outcomes: Queue<Outcome>,
}

type Queue<T> = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<T>>>;

impl Libp2pRequester {
    async fn command<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Node("its task has ended".into());
        let command = self.commands.send(command(reply));
        command.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// The task that owns the swarm.
struct Node {
    swarm: Swarm<Behaviour<AnyCodec>>,
    listening: Option<Reply<String>>,
    connecting: Option<Reply<Result<String, Error>>>,
    asking: HashMap<OutboundRequestId, Reply<Result<Body, Failure>>>,
    asked: mpsc::UnboundedSender<Asked<Channel>>,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

impl Node {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // All handles are gone.
                    None => return,
                },
                event = self.swarm.select_next_some() => self.hear(event),
            }
        }
    }

    // Who no longer waits does not need the answer, here and below.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Listen(reply) => {
                let loopback = Multiaddr::from(std::net::Ipv4Addr::LOCALHOST);
                if self
                    .swarm
                    .listen_on(loopback.with(Protocol::Tcp(0)))
                    .is_ok()
                {
                    self.listening = Some(reply);
                }
            }
            Command::Connect(address, reply) => {
                let dial = DialOpts::unknown_peer_id().address(address).build();
                match self.swarm.dial(dial) {
                    Ok(()) => self.connecting = Some(reply),
                    Err(error) => {
                        let _ = reply.send(Err(Error::Dial(error.to_string())));
                    }
                }
            }
            Command::Ask(peer, body, reply) => {
                let id = self.swarm.behaviour_mut().send_request(&peer, body);
                self.asking.insert(id, reply);
            }
            Command::Answer(channel, body, reply) => {
                let sent = self.swarm.behaviour_mut().send_response(channel, body);
                let _ = reply.send(sent.map_err(|_| Refused::Closed));
            }
            Command::Disconnect(peer) => {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn hear(&mut self, event: SwarmEvent<Event<Body, Body>>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = address.with(Protocol::P2p(*self.swarm.local_peer_id()));
                if let Some(reply) = self.listening.take() {
                    let _ = reply.send(address.to_string());
                }
            }
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } if endpoint.is_dialer() => {
                if let Some(reply) = self.connecting.take() {
                    let _ = reply.send(Ok(peer_id.to_string()));
                }
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => {
                if let Some(reply) = self.connecting.take() {
                    let _ = reply.send(Err(Error::Dial(error.to_string())));
                }
            }
            SwarmEvent::Behaviour(event) => self.hear_request(event),
            _ => {}
        }
    }

    fn hear_request(&mut self, event: Event<Body, Body>) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request, channel, ..
                } => {
                    let _ = self.asked.send(Asked {
                        from: peer.to_string(),
                        name: None,
                        body: request,
                        channel,
                    });
                }
                Message::Response {
                    request_id,
                    response,
                } => self.answered(request_id, Ok(response)),
            },
            Event::OutboundFailure {
                request_id, error, ..
            } => self.answered(request_id, Err(failure(error))),
            Event::InboundFailure { error, .. } => {
                let _ = self.outcomes.send(match error {
                    InboundFailure::Timeout => Outcome::Timeout,
                    InboundFailure::ConnectionClosed => Outcome::ConnectionClosed,
                    InboundFailure::ResponseOmission => Outcome::Omitted,
                    InboundFailure::UnsupportedProtocols | InboundFailure::Io(_) => Outcome::Stream,
                });
            }
            Event::ResponseSent { .. } => {
                let _ = self.outcomes.send(Outcome::Sent);
            }
        }
    }

    fn answered(&mut self, id: OutboundRequestId, answer: Result<Body, Failure>) {
        if let Some(reply) = self.asking.remove(&id) {
            let _ = reply.send(answer);
        }
    }
}

fn failure(error: OutboundFailure) -> Failure {
    match error {
        OutboundFailure::Timeout => Failure::Timeout,
        OutboundFailure::ConnectionClosed => Failure::ConnectionClosed,
        OutboundFailure::UnsupportedProtocols => Failure::Unsupported,
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Failure::Omitted
        }
        other => Failure::Stream(other.to_string()),
    }
}

impl Requester for Libp2pRequester {
    const NAME: &'static str = "libp2p";
    const TELLS_TOO_LARGE: bool = false;
    type Channel = Channel;

    fn start(options: RequestOptions) -> Result<Self, Error> {
        let (max_request, max_response) = (
            u64::from(options.max_request),
            u64::from(options.max_response),
        );
        let codec = AnyCodec {
            format: options.format,
            cbor: cbor::codec::Codec::default()
                .set_request_size_maximum(max_request)
                .set_response_size_maximum(max_response),
            json: json::codec::Codec::default()
                .set_request_size_maximum(max_request)
                .set_response_size_maximum(max_response),
            max_request,
            max_response,
        };
        let config = Config::default()
            .with_request_timeout(options.timeout)
            .with_max_concurrent_streams(options.max_streams as usize);
        let names = options.names.into_iter();
        let names = names.map(|name| (StreamProtocol::new(name), ProtocolSupport::Full));
        let behaviour = Behaviour::with_codec(codec, names, config);
        let swarm = rust_libp2p::swarm(&Options::bare(), |_| behaviour)?;
        let id = *swarm.local_peer_id();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (tell_asked, asked) = mpsc::unbounded_channel();
        let (tell_outcome, outcomes) = mpsc::unbounded_channel();
        let node = Node {
            swarm,
            listening: None,
            connecting: None,
            asking: HashMap::new(),
            asked: tell_asked,
            outcomes: tell_outcome,
        };
        tokio::spawn(node.run(receiver));
        Ok(Self {
            id,
            commands,
            asked: Arc::new(tokio::sync::Mutex::new(asked)),
            outcomes: Arc::new(tokio::sync::Mutex::new(outcomes)),
        })
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    async fn listen(&self) -> Result<String, Error> {
        self.command(Command::Listen).await
    }

    async fn connect(&self, address: &str) -> Result<String, Error> {
        let bad = |_| Error::Address(address.to_owned());
        let address = address.parse().map_err(bad)?;
        self.command(|reply| Command::Connect(address, reply))
            .await?
    }

    async fn ask(&self, peer: &str, body: Body) -> Result<Body, Failure> {
        let stream = |error: &dyn std::fmt::Display| Failure::Stream(error.to_string());
        let peer = peer.parse().map_err(|error| stream(&error))?;
        let answer = self.command(|reply| Command::Ask(peer, body, reply)).await;
        answer.map_err(|error| stream(&error))?
    }

    async fn asked(&self) -> Asked<Channel> {
        let next = self.asked.lock().await.recv().await;
        next.unwrap_or_else(|| unreachable!("the node lives as long as its handle"))
    }

    async fn answer(&self, channel: Channel, body: Body) -> Result<(), Refused> {
        let answer = self.command(|reply| Command::Answer(channel, body, reply));
        answer.await.map_err(|_| Refused::Closed)?
    }

    async fn outcome(&self) -> Outcome {
        let next = self.outcomes.lock().await.recv().await;
        next.unwrap_or_else(|| unreachable!("the node lives as long as its handle"))
    }

    async fn disconnect(&self, peer: &str) {
        if let Ok(peer) = peer.parse() {
            // A node that has ended has no connections.
            let _ = self.commands.send(Command::Disconnect(peer));
        }
    }
}
