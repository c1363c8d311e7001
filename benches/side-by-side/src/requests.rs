//! Requests and responses, as each implementation has them. A request says in its first four bytes how long its response is
//! to be. Bodies end with the stream, as those of rust-libp2p's ready codecs do, and are bytes at both ends.
//!
//! drywire's requests are futures, and those of its peers a stream; each of several in flight has a task. rust-libp2p has
//! commands and events, so who asks and who answers does so in the task that hears the events, the shortest way there is: no
//! channels, no other tasks. [`DrywireEvents`] does the same with drywire.
//!
//! Nothing of it runs in what tokio blocks on, which is polled only when no task wants to run, so that it would see each event
//! late.

use bytes::Bytes;
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::request_response::{
        BytesCodec, Config, Event as DrywireEvent, Message as DrywireMessage, ProtocolSupport,
        RequestResponse,
    },
    swarm::{DialOptions, Event, Part},
};
use drywire_engine::{Events, Host, Requests as Handle};
use drywire_interop::{Error, Options, Peer, drywire_peer, rust_libp2p};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm,
    request_response::{self, Event as Libp2pEvent, Message as Libp2pMessage},
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use std::{io, sync::Arc, time::Duration};

use crate::work::Requests;

const NAME: &str = "/side-by-side/request/1";
const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";
const LONGEST: u32 = 10 << 20;
/// Under way on a connection: more than any work has.
const MOST: u32 = 4096;
const TIMEOUT: Duration = Duration::from_secs(60);
/// Events that wait for the task that reads them.
const EVENTS: usize = 4096;

/// How an implementation sends requests and answers them.
pub(crate) trait Requester: Send + Sized + 'static {
    /// Answers requests for ever, once it has said where it listens.
    fn serve(
        options: Options,
        listening: impl FnOnce(&str) + Send + 'static,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Connects.
    fn connect(options: Options, address: &str)
    -> impl Future<Output = Result<Self, Error>> + Send;

    /// Sends so many requests and waits for their responses.
    fn ask(
        &mut self,
        requests: Requests,
        count: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

fn request(requests: Requests) -> Bytes {
    let mut body = vec![7; requests.request];
    body[..4].copy_from_slice(&requests.response.to_be_bytes());
    body.into()
}

/// What responses are cut from.
fn material() -> Bytes {
    vec![7; LONGEST as usize].into()
}

fn response(material: &Bytes, request: &[u8]) -> Result<Bytes, Error> {
    let length = request.first_chunk().map(|head| u32::from_be_bytes(*head));
    let length = length.filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| node(&"a strange request"))?;
    Ok(material.slice(..length as usize))
}

fn check(requests: Requests, response: &[u8]) -> Result<(), Error> {
    match response.len() == requests.response as usize {
        true => Ok(()),
        false => Err(node(&"a strange response")),
    }
}

fn node(error: &dyn std::fmt::Debug) -> Error {
    Error::Node(format!("{error:?}"))
}

type Protocol = RequestResponse<BytesCodec>;

fn start(options: &Options) -> Result<Host<Protocol>, Error> {
    let config = Config::default()
        .with_request_timeout(TIMEOUT)
        .with_max_concurrent_streams(MOST)
        .with_max_response_len(LONGEST);
    let name = ProtocolName::from_static(NAME);
    let protocol = RequestResponse::new([(name, ProtocolSupport::Full)], config);
    drywire_peer::start(options, protocol)
}

async fn listen(host: &Host<Protocol>) -> Result<String, Error> {
    let address: Multiaddr = LOOPBACK.parse().map_err(|error| node(&error))?;
    let bound = host.listen(address).await.map_err(|error| node(&error))?;
    let address = bound.address.with_peer_id(host.peer_id());
    Ok(address.map_err(|error| node(&error))?.to_string())
}

async fn dial(host: &Host<Protocol>, address: &str) -> Result<PeerId, Error> {
    let address: Multiaddr = address.parse().map_err(|error| node(&error))?;
    let dialed = host.dial(DialOptions::address(address)).await;
    Ok(dialed.map_err(|error| node(&error))?.peer)
}

/// drywire's.
pub(crate) struct Drywire {
    // Its handles do not keep it running.
    _host: Host<Protocol>,
    handle: Arc<Handle<Protocol, BytesCodec>>,
    peer: PeerId,
}

impl Requester for Drywire {
    async fn serve(
        options: Options,
        listening: impl FnOnce(&str) + Send + 'static,
    ) -> Result<(), Error> {
        let host = start(&options)?;
        let mut incoming = host.requests(Part::whole()).incoming(EVENTS);
        listening(&listen(&host).await?);
        let material = material();
        while let Some(asked) = incoming.next().await {
            let response = response(&material, &asked.request)?;
            let sent = asked.responder.respond(response);
            sent.map_err(|error| node(&error))?;
        }
        Ok(())
    }

    async fn connect(options: Options, address: &str) -> Result<Self, Error> {
        let host = start(&options)?;
        let peer = dial(&host, address).await?;
        Ok(Self {
            handle: Arc::new(host.requests(Part::whole())),
            _host: host,
            peer,
        })
    }

    async fn ask(&mut self, requests: Requests, count: u64) -> Result<(), Error> {
        let request = request(requests);
        let each = count.div_ceil(requests.in_flight);
        let tasks: Vec<_> = (0..requests.in_flight)
            .map(|_| {
                let (handle, peer, request) = (self.handle.clone(), self.peer, request.clone());
                tokio::spawn(async move {
                    for _ in 0..each {
                        let response = handle.request(peer, request.clone()).await;
                        check(requests, &response.map_err(|error| node(&error))?)?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.map_err(|error| node(&error))??;
        }
        Ok(())
    }
}

/// drywire's, by commands and events.
pub(crate) struct DrywireEvents {
    host: Host<Protocol>,
    events: Events<Protocol>,
    peer: PeerId,
}

impl DrywireEvents {
    fn send(&self, request: &Bytes) -> Result<(), Error> {
        let sent = self
            .host
            .with(|protocol, cx| protocol.send_request(&self.peer, request.clone(), cx));
        sent.map(drop).map_err(|error| node(&error.reason))
    }
}

impl Requester for DrywireEvents {
    async fn serve(
        options: Options,
        listening: impl FnOnce(&str) + Send + 'static,
    ) -> Result<(), Error> {
        let host = start(&options)?;
        let mut events = host.events(EVENTS);
        listening(&listen(&host).await?);
        let material = material();
        while let Some(event) = events.next().await {
            if let Event::Protocol(DrywireEvent::Message {
                message:
                    DrywireMessage::Request {
                        request, channel, ..
                    },
                ..
            }) = event
            {
                let response = response(&material, &request)?;
                let sent = host.with(|protocol, cx| protocol.send_response(channel, response, cx));
                sent.map_err(|error| node(&error))?;
            }
        }
        Ok(())
    }

    async fn connect(options: Options, address: &str) -> Result<Self, Error> {
        let host = start(&options)?;
        let events = host.events(EVENTS);
        let peer = dial(&host, address).await?;
        Ok(Self { host, events, peer })
    }

    async fn ask(&mut self, requests: Requests, count: u64) -> Result<(), Error> {
        let request = request(requests);
        let mut sent = requests.in_flight.min(count);
        for _ in 0..sent {
            self.send(&request)?;
        }
        let mut answered = 0;
        while answered < count {
            let event = self.events.next().await;
            match event.ok_or_else(|| node(&"it has shut down"))? {
                Event::Protocol(DrywireEvent::Message {
                    message: DrywireMessage::Response { response, .. },
                    ..
                }) => {
                    check(requests, &response)?;
                    answered += 1;
                    if sent < count {
                        self.send(&request)?;
                        sent += 1;
                    }
                }
                Event::Protocol(DrywireEvent::OutboundFailure { error, .. }) => {
                    return Err(node(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Bytes up to the end of the stream, as rust-libp2p's ready codecs read and write them.
#[derive(Clone, Default)]
pub(crate) struct ToEnd;

async fn read_to_end<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Bytes> {
    let mut body = Vec::new();
    io.take(u64::from(LONGEST)).read_to_end(&mut body).await?;
    Ok(body.into())
}

impl request_response::Codec for ToEnd {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_to_end(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_to_end(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&response).await
    }
}

/// rust-libp2p's.
pub(crate) struct Libp2p {
    swarm: Swarm<request_response::Behaviour<ToEnd>>,
    peer: libp2p::PeerId,
}

impl Libp2p {
    fn start(options: &Options) -> Result<Swarm<request_response::Behaviour<ToEnd>>, Error> {
        let name = StreamProtocol::new(NAME);
        let config = request_response::Config::default()
            .with_request_timeout(TIMEOUT)
            .with_max_concurrent_streams(MOST as usize);
        rust_libp2p::swarm(options, |_| {
            let names = [(name, request_response::ProtocolSupport::Full)];
            request_response::Behaviour::new(names, config)
        })
    }
}

impl Requester for Libp2p {
    async fn serve(
        options: Options,
        listening: impl FnOnce(&str) + Send + 'static,
    ) -> Result<(), Error> {
        let mut swarm = Self::start(&options)?;
        let address = LOOPBACK.parse().map_err(|error| node(&error))?;
        swarm.listen_on(address).map_err(|error| node(&error))?;
        let mut listening = Some(listening);
        let material = material();
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => {
                    let peer = libp2p::multiaddr::Protocol::P2p(*swarm.local_peer_id());
                    if let Some(listening) = listening.take() {
                        listening(&address.with(peer).to_string());
                    }
                }
                SwarmEvent::Behaviour(Libp2pEvent::Message {
                    message:
                        Libp2pMessage::Request {
                            request, channel, ..
                        },
                    ..
                }) => {
                    let response = response(&material, &request)?;
                    let sent = swarm.behaviour_mut().send_response(channel, response);
                    sent.map_err(|_| node(&"the requester has gone"))?;
                }
                _ => {}
            }
        }
    }

    async fn connect(options: Options, address: &str) -> Result<Self, Error> {
        let mut swarm = Self::start(&options)?;
        let address: libp2p::Multiaddr = address.parse().map_err(|error| node(&error))?;
        let dial = DialOpts::unknown_peer_id().address(address).build();
        swarm.dial(dial).map_err(|error| node(&error))?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id: peer, .. } => {
                    return Ok(Self { swarm, peer });
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(node(&error)),
                _ => {}
            }
        }
    }

    async fn ask(&mut self, requests: Requests, count: u64) -> Result<(), Error> {
        let request = request(requests);
        let mut sent = requests.in_flight.min(count);
        for _ in 0..sent {
            let behaviour = self.swarm.behaviour_mut();
            behaviour.send_request(&self.peer, request.clone());
        }
        let mut answered = 0;
        while answered < count {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(Libp2pEvent::Message {
                    message: Libp2pMessage::Response { response, .. },
                    ..
                }) => {
                    check(requests, &response)?;
                    answered += 1;
                    if sent < count {
                        let behaviour = self.swarm.behaviour_mut();
                        behaviour.send_request(&self.peer, request.clone());
                        sent += 1;
                    }
                }
                SwarmEvent::Behaviour(Libp2pEvent::OutboundFailure { error, .. }) => {
                    return Err(node(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Without a protocol for it: each request on a stream of any peer.
pub(crate) struct Streams<P: Peer> {
    peer: P,
    server: P::Id,
}

impl<P: Peer> Requester for Streams<P> {
    async fn serve(
        options: Options,
        listening: impl FnOnce(&str) + Send + 'static,
    ) -> Result<(), Error> {
        let peer = P::start(options)?;
        let mut incoming = peer.accept(NAME)?;
        listening(&peer.listen(LOOPBACK).await?);
        let material = material();
        while let Some((_, mut stream)) = incoming.next().await {
            let material = material.clone();
            tokio::spawn(async move {
                let request = read_to_end(&mut stream).await?;
                stream.write_all(&response(&material, &request)?).await?;
                stream.close().await?;
                Ok::<_, Error>(())
            });
        }
        Ok(())
    }

    async fn connect(options: Options, address: &str) -> Result<Self, Error> {
        let peer = P::start(options)?;
        let server = peer.connect(address).await?;
        Ok(Self { peer, server })
    }

    async fn ask(&mut self, requests: Requests, count: u64) -> Result<(), Error> {
        let request = request(requests);
        let asking = (0..count).map(|_| async {
            let mut stream = self.peer.open_optimistic(&self.server, NAME).await?;
            stream.write_all(&request).await?;
            stream.close().await?;
            check(requests, &read_to_end(&mut stream).await?)
        });
        let mut answers =
            futures::stream::iter(asking).buffer_unordered(requests.in_flight as usize);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }
}
