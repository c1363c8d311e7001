//! [`Requester`] with drywire.

use super::{Asked, Body, Failure, Format, Outcome, Refused, RequestOptions, Requester};
use crate::{Error, Options, drywire_peer};
use bytes::Bytes;
use drywire::{
    identity::PeerId,
    multistream::ProtocolName,
    protocol::request_response::{
        self, Codec, CodecError, Config, EncodeError, Event, Framing, InboundFailure, Message,
        OutboundFailure, OutboundRequestId, ProtocolSupport, Refusal, RequestResponse,
        ResponseChannel, SendResponseError, cbor, json,
    },
    swarm::{self, DialOptions, StreamRef},
};
use drywire_engine::{Events, Host, Stream};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot};

/// Events that wait for the task that reads them.
const EVENTS: usize = 4096;

/// Says bodies in the format of the node.
#[derive(Debug)]
struct AnyCodec {
    format: Format,
    cbor: cbor::Codec<Body, Body>,
    json: json::Codec<Body, Body>,
}

fn text(bytes: &[u8]) -> Result<Body, CodecError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CodecError::malformed("no text"))?;
    Ok(Body::text(text))
}

impl Codec for AnyCodec {
    type Request = Body;
    type Response = Body;

    fn set_limits(&mut self, max_request_len: u32, max_response_len: u32) {
        self.cbor.set_limits(max_request_len, max_response_len);
        self.json.set_limits(max_request_len, max_response_len);
    }

    fn encode_request(&mut self, name: &ProtocolName, body: &Body) -> Result<Bytes, CodecError> {
        match self.format {
            Format::Cbor => self.cbor.encode_request(name, body),
            Format::Json => self.json.encode_request(name, body),
            Format::Bytes | Format::Prefixed => Ok(body.text.clone().into()),
        }
    }

    fn decode_request(&mut self, name: &ProtocolName, bytes: Bytes) -> Result<Body, CodecError> {
        match self.format {
            Format::Cbor => self.cbor.decode_request(name, bytes),
            Format::Json => self.json.decode_request(name, bytes),
            Format::Bytes | Format::Prefixed => text(&bytes),
        }
    }

    fn encode_response(&mut self, name: &ProtocolName, body: &Body) -> Result<Bytes, CodecError> {
        match self.format {
            Format::Cbor => self.cbor.encode_response(name, body),
            Format::Json => self.json.encode_response(name, body),
            Format::Bytes | Format::Prefixed => Ok(body.text.clone().into()),
        }
    }

    fn decode_response(&mut self, name: &ProtocolName, bytes: Bytes) -> Result<Body, CodecError> {
        match self.format {
            Format::Cbor => self.cbor.decode_response(name, bytes),
            Format::Json => self.json.decode_response(name, bytes),
            Format::Bytes | Format::Prefixed => text(&bytes),
        }
    }
}

type Protocol = RequestResponse<AnyCodec>;
type Channel = ResponseChannel<Body>;

/// What became of a request of ours.
#[derive(Debug)]
enum Answer {
    Body(Body),
    Failure(OutboundFailure),
    /// The stream is the host's, and this came in front of it.
    Stream(StreamRef, ProtocolName, Bytes),
}

/// A drywire node.
#[derive(Clone, Debug)]
pub struct DrywireRequester {
    host: Host<Protocol>,
    waiting: Waiting,
    asked: Queue<Asked<Channel>>,
    outcomes: Queue<Outcome>,
    inbound: Queue<(StreamRef, ProtocolName)>,
}

type Waiting = Arc<Mutex<BTreeMap<OutboundRequestId, oneshot::Sender<Answer>>>>;
type Queue<T> = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<T>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, BTreeMap<OutboundRequestId, oneshot::Sender<Answer>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DrywireRequester {
    /// The same, with the rest of its settings changed.
    pub fn start_with(
        options: RequestOptions,
        change: impl FnOnce(Config) -> Config,
    ) -> Result<Self, Error> {
        let framing = match options.format {
            Format::Prefixed => Framing::LengthPrefixed,
            _ => Framing::ToEnd,
        };
        let config = Config::default()
            .with_request_timeout(options.timeout)
            .with_max_concurrent_streams(options.max_streams)
            .with_max_request_len(options.max_request)
            .with_max_response_len(options.max_response)
            .with_framing(framing);
        let codec = AnyCodec {
            format: options.format,
            cbor: cbor::Codec::default(),
            json: json::Codec::default(),
        };
        let names = options.names.into_iter();
        let names = names.map(|name| (ProtocolName::from_static(name), ProtocolSupport::Full));
        let protocol = RequestResponse::with_codec(codec, names, change(config));
        let host = drywire_peer::start(&Options::bare(), protocol)?;
        let waiting = Waiting::default();
        let (tell_asked, asked) = mpsc::unbounded_channel();
        let (tell_outcome, outcomes) = mpsc::unbounded_channel();
        let (tell_inbound, inbound) = mpsc::unbounded_channel();
        let hearing = Hearing {
            waiting: waiting.clone(),
            asked: tell_asked,
            outcomes: tell_outcome,
            inbound: tell_inbound,
        };
        tokio::spawn(hearing.run(host.events(EVENTS)));
        let queue = |receiver| Arc::new(tokio::sync::Mutex::new(receiver));
        Ok(Self {
            host,
            waiting,
            asked: queue(asked),
            outcomes: Arc::new(tokio::sync::Mutex::new(outcomes)),
            inbound: Arc::new(tokio::sync::Mutex::new(inbound)),
        })
    }

    async fn begin(
        &self,
        begin: impl FnOnce(
            &mut Protocol,
            &mut swarm::Context<'_, <Protocol as swarm::Protocol>::Event>,
        ) -> Result<OutboundRequestId, Refusal>,
    ) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        {
            // The task that hears the answer waits for this.
            let mut waiting = lock(&self.waiting);
            let id = self.host.with(begin).map_err(|reason| match reason {
                Refusal::Encode(EncodeError::TooLarge { .. }) => Failure::TooLarge,
                other => Failure::Stream(other.to_string()),
            })?;
            waiting.insert(id, reply);
        }
        let answer = answer.await;
        answer.map_err(|_| Failure::Stream("it has shut down".into()))
    }

    async fn take(&self, stream: StreamRef, name: ProtocolName) -> Result<Stream, Error> {
        let (connection, stream) = (stream.connection, stream.stream);
        let taken = self.host.take_stream(connection, stream, name).await;
        taken.map_err(|error| Error::Node(error.to_string()))
    }

    /// Sends a request and gives its response as a stream, with what came in front of it.
    pub async fn ask_for_stream(&self, peer: &str, body: Body) -> Result<(Bytes, Stream), Error> {
        let peer = id(peer)?;
        let options = request_response::RequestOptions::new().stream_response();
        let answer = self.begin(|protocol, cx| {
            let sent = protocol.send_request_with(&peer, body, options, cx);
            sent.map_err(|error| error.reason)
        });
        self.stream_of(answer.await).await
    }

    /// Opens a request whose body is written to the stream.
    pub async fn open_request(&self, peer: &str) -> Result<Stream, Error> {
        let peer = id(peer)?;
        let options = request_response::RequestOptions::new();
        let answer = self.begin(|protocol, cx| protocol.open_request(&peer, options, cx));
        let (first, stream) = self.stream_of(answer.await).await?;
        assert!(first.is_empty(), "nothing has been asked");
        Ok(stream)
    }

    async fn stream_of(&self, answer: Result<Answer, Failure>) -> Result<(Bytes, Stream), Error> {
        match answer {
            Ok(Answer::Stream(stream, name, first)) => Ok((first, self.take(stream, name).await?)),
            Ok(Answer::Body(body)) => Err(Error::Node(format!("no stream but {body:?}"))),
            Ok(Answer::Failure(error)) => Err(Error::Node(error.to_string())),
            Err(failure) => Err(Error::Node(format!("{failure:?}"))),
        }
    }

    /// Answers a request with what is written to the stream.
    pub async fn answer_by_stream(&self, channel: Channel) -> Result<Stream, Error> {
        let name = ProtocolName::from_static("/answer");
        let stream = self
            .host
            .with(|protocol, cx| protocol.stream_response(channel, cx));
        match stream {
            Some(stream) => self.take(stream, name).await,
            None => Err(Error::NotConnected),
        }
    }

    /// The next request whose body is left to the host.
    pub async fn inbound_stream(&self) -> Result<Stream, Error> {
        let next = self.inbound.lock().await.recv().await;
        let (stream, name) = next.ok_or(Error::NotConnected)?;
        self.take(stream, name).await
    }
}

fn id(peer: &str) -> Result<PeerId, Error> {
    peer.parse().map_err(|_| Error::Address(peer.to_owned()))
}

/// The task that hears the node's events. It ends with the node.
struct Hearing {
    waiting: Waiting,
    asked: mpsc::UnboundedSender<Asked<Channel>>,
    outcomes: mpsc::UnboundedSender<Outcome>,
    inbound: mpsc::UnboundedSender<(StreamRef, ProtocolName)>,
}

impl Hearing {
    async fn run(self, mut events: Events<Protocol>) {
        while let Some(event) = events.next().await {
            if let swarm::Event::Protocol(event) = event {
                self.hear(event);
            }
        }
    }

    // Who has gone does not need what is sent.
    fn hear(&self, event: Event<Body, Body>) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    protocol,
                    request,
                    channel,
                    ..
                } => {
                    let _ = self.asked.send(Asked {
                        from: peer.to_string(),
                        name: Some(protocol.to_string()),
                        body: request,
                        channel,
                    });
                }
                Message::Response {
                    request_id,
                    response,
                } => self.answered(request_id, Answer::Body(response)),
            },
            Event::OutboundFailure {
                request_id, error, ..
            } => self.answered(request_id, Answer::Failure(error)),
            Event::ResponseStream {
                request_id,
                protocol,
                stream,
                first,
                ..
            } => self.answered(request_id, Answer::Stream(stream, protocol, first)),
            Event::InboundStream {
                protocol, stream, ..
            } => {
                let _ = self.inbound.send((stream, protocol));
            }
            Event::ResponseSent { .. } => {
                let _ = self.outcomes.send(Outcome::Sent);
            }
            Event::InboundFailure { error, .. } => {
                let _ = self.outcomes.send(match error {
                    InboundFailure::Timeout => Outcome::Timeout,
                    InboundFailure::ResponseOmission => Outcome::Omitted,
                    InboundFailure::ConnectionClosed(_) => Outcome::ConnectionClosed,
                    _ => Outcome::Stream,
                });
            }
            _ => {}
        }
    }

    fn answered(&self, id: OutboundRequestId, answer: Answer) {
        if let Some(reply) = lock(&self.waiting).remove(&id) {
            let _ = reply.send(answer);
        }
    }
}

impl Requester for DrywireRequester {
    const NAME: &'static str = "drywire";
    const TELLS_TOO_LARGE: bool = true;
    type Channel = Channel;

    fn start(options: RequestOptions) -> Result<Self, Error> {
        Self::start_with(options, |config| config)
    }

    fn id(&self) -> String {
        self.host.peer_id().to_string()
    }

    async fn listen(&self) -> Result<String, Error> {
        let node = |error: String| Error::Node(error);
        let address = "/ip4/127.0.0.1/tcp/0"
            .parse()
            .map_err(|_| node("loopback".into()))?;
        let bound = self.host.listen(address).await;
        let address = bound.map_err(|error| node(error.to_string()))?.address;
        let address = address.with_peer_id(self.host.peer_id());
        Ok(address
            .map_err(|error| node(error.to_string()))?
            .to_string())
    }

    async fn connect(&self, address: &str) -> Result<String, Error> {
        let bad = |_| Error::Address(address.to_owned());
        let options = DialOptions::address(address.parse().map_err(bad)?).without_address_book();
        let dialed = self.host.dial(options).await;
        let dialed = dialed.map_err(|error| Error::Dial(error.to_string()))?;
        Ok(dialed.peer.to_string())
    }

    async fn ask(&self, peer: &str, body: Body) -> Result<Body, Failure> {
        let peer = id(peer).map_err(|error| Failure::Stream(error.to_string()))?;
        let answer = self.begin(|protocol, cx| {
            let sent = protocol.send_request(&peer, body, cx);
            sent.map_err(|error| error.reason)
        });
        match answer.await? {
            Answer::Body(body) => Ok(body),
            Answer::Stream(..) => Err(Failure::Stream("a stream nobody asked for".into())),
            Answer::Failure(error) => Err(match error {
                OutboundFailure::Timeout(_) => Failure::Timeout,
                OutboundFailure::ConnectionClosed(_) => Failure::ConnectionClosed,
                OutboundFailure::UnsupportedProtocols => Failure::Unsupported,
                OutboundFailure::ResponseOmitted => Failure::Omitted,
                OutboundFailure::ResponseTooLarge => Failure::TooLarge,
                other => Failure::Stream(other.to_string()),
            }),
        }
    }

    async fn asked(&self) -> Asked<Channel> {
        let next = self.asked.lock().await.recv().await;
        next.unwrap_or_else(|| unreachable!("the node lives as long as its handle"))
    }

    async fn answer(&self, channel: Channel, body: Body) -> Result<(), Refused> {
        self.host.with(|protocol, cx| {
            let sent = protocol.send_response(channel, body, cx);
            sent.map_err(|error| match error {
                SendResponseError::Encode {
                    error: EncodeError::TooLarge { .. },
                    ..
                } => Refused::TooLarge,
                _ => Refused::Closed,
            })
        })
    }

    async fn outcome(&self) -> Outcome {
        let next = self.outcomes.lock().await.recv().await;
        next.unwrap_or_else(|| unreachable!("the node lives as long as its handle"))
    }

    async fn disconnect(&self, peer: &str) {
        if let Ok(peer) = id(peer) {
            self.host.disconnect(peer);
        }
    }
}
