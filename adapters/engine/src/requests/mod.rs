//! Requests and responses as futures and streams.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`Requests`]: asking |
//! | `incoming.rs` | [`IncomingRequests`], [`Responder`]: answering |
//! | `bodies.rs` | streams that the protocol gives to the host: bodies in pieces |
//! | `error.rs` | how these fail |

mod bodies;
mod error;
mod incoming;

pub use bodies::IncomingBodies;
pub use error::{RequestError, RespondError};
pub use incoming::{IncomingRequest, IncomingRequests, Responder};

use crate::{
    host::Host,
    operations::{Operating, Operations},
    stream::Stream,
};
use core::fmt;
use drywire::{
    identity::PeerId,
    protocol::request_response::{
        Codec, Event, Message, OutboundRequestId, RequestOptions, RequestResponse,
    },
    swarm::{self, Part, Protocol, StreamRef},
};

/// The events of a request/response protocol.
type EventOf<C> = Event<<C as Codec>::Request, <C as Codec>::Response>;

impl<C: Codec> Operating for RequestResponse<C> {
    type Id = OutboundRequestId;

    fn operation(event: &Self::Event) -> Option<(OutboundRequestId, bool)> {
        match event {
            Event::Message {
                message: Message::Response { request_id, .. },
                ..
            }
            | Event::OutboundFailure { request_id, .. }
            | Event::ResponseStream { request_id, .. } => Some((*request_id, true)),
            _ => None,
        }
    }

    fn give_up(&mut self, id: OutboundRequestId, cx: &mut swarm::Context<'_, Self::Event>) {
        self.cancel(id, cx);
    }

    fn handed_over(event: &Self::Event) -> Option<StreamRef> {
        match event {
            Event::ResponseStream { stream, .. } | Event::InboundStream { stream, .. } => {
                Some(*stream)
            }
            _ => None,
        }
    }
}

/// Asks peers, and answers what they ask, by one [`RequestResponse`] of a host. Made by [`Host::requests`]. Clones share
/// everything. It does not keep the host running.
///
/// Every limit and deadline is the protocol's, see its
/// [`Config`](drywire::protocol::request_response::Config).
///
/// ```
/// use bytes::Bytes;
/// use drywire::{
///     multistream::ProtocolName,
///     protocol::request_response::{BytesCodec, Config, ProtocolSupport, RequestResponse},
///     protocols,
///     swarm::DialOptions,
/// };
/// use drywire_engine::{Host, RequestError};
/// use drywire_sim::World;
///
/// const SHOUT: ProtocolName = ProtocolName::from_static("/shout/1");
///
/// protocols! {
///     /// What this node speaks.
///     pub struct Speech => SpeechEvent {
///         shout: RequestResponse<BytesCodec> => Shout,
///     }
/// }
///
/// fn speech() -> Speech {
///     let shout = RequestResponse::new([(SHOUT, ProtocolSupport::Full)], Config::default());
///     Speech { shout }
/// }
///
/// // A world of virtual time and pipes; with `drywire-tokio`, the real one.
/// let mut world = World::new(1);
/// let runtime = world.add_runtime("machine")?;
/// let heard = world.block_on(async {
///     // One node answers. Its task ends when the host does.
///     let server = Host::builder(runtime.clone(), speech()).start()?;
///     let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
///     let mut incoming = server.requests(Speech::Shout).incoming(16);
///     runtime.spawn(async move {
///         while let Some(asked) = incoming.next().await {
///             let answer = asked.request.to_ascii_uppercase();
///             // It may be late: the peer may have gone.
///             let _ = asked.responder.respond(answer.into());
///         }
///     });
///
///     // The other one asks. Dropping the future gives the request up.
///     let client = Host::builder(runtime.clone(), speech()).start()?;
///     let requests = client.requests(Speech::Shout);
///     let peer = client.dial(DialOptions::address(bound.address)).await?.peer;
///     let heard = requests.request(peer, Bytes::from_static(b"hello")).await?;
///
///     // In good order: what is being said is said to its end.
///     server.shutdown().await;
///     let unheard = requests.request(peer, Bytes::from_static(b"anybody?")).await;
///     assert!(matches!(unheard, Err(RequestError::Failed(_) | RequestError::Refused(_))));
///     Ok::<_, Box<dyn core::error::Error>>(heard)
/// })??;
/// assert_eq!(heard, "HELLO");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Bodies in pieces
///
/// A request or a response may be larger than memory: then it is a [`Stream`], written and read as it goes, and the peer's
/// reading holds up this node's writing.
///
/// | | the request is a value | the request is a stream |
/// |---|---|---|
/// | asking, the response is a value | [`request`](Self::request) | |
/// | asking, the response is a stream | [`request_streamed`](Self::request_streamed) | [`open`](Self::open) |
/// | answering, the response is a value | [`Responder::respond`] | |
/// | answering, the response is a stream | [`Responder::stream`] | [`incoming_bodies`](Self::incoming_bodies) |
///
/// On the wire they are all the same, so that the two sides need not agree on how each treats a body.
pub struct Requests<P: Protocol, C: Codec> {
    operations: Operations<P, RequestResponse<C>>,
}

impl<P> Host<P>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
{
    /// Requests and responses of one protocol of the set, as futures and streams: `host.requests(Set::Variant)`, or
    /// [`Part::whole`] if the host runs no other.
    ///
    /// Events of requests that are sent or received in other ways are not concerned, and appear among
    /// [`events`](Self::events). There may be several handles.
    pub fn requests<C>(&self, part: Part<P, RequestResponse<C>>) -> Requests<P, C>
    where
        C: Codec + 'static,
        C::Request: Send,
        C::Response: Send,
    {
        let operations = self.operations(part);
        Requests { operations }
    }
}

impl<P, C> Requests<P, C>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    C: Codec + 'static,
    C::Request: Send,
    C::Response: Send,
{
    /// Sends a request to a peer, dialing it if need be, and waits for the response. Dropping the future gives the request
    /// up: the peer sees its stream reset.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(
        &self,
        peer: PeerId,
        request: C::Request,
    ) -> Result<C::Response, RequestError> {
        self.request_with(peer, request, RequestOptions::new())
            .await
    }

    /// The same with options: more addresses, another deadline, without dialing.
    ///
    /// # Errors
    /// As there; [`RequestError::Streamed`] if the options ask for the response in pieces.
    pub async fn request_with(
        &self,
        peer: PeerId,
        request: C::Request,
        options: RequestOptions,
    ) -> Result<C::Response, RequestError> {
        match self.last_word(peer, request, options).await? {
            Event::Message {
                message: Message::Response { response, .. },
                ..
            } => Ok(response),
            other => {
                if let Some(stream) = RequestResponse::<C>::handed_over(&other) {
                    self.operations.inner.router.discard(stream);
                }
                Err(RequestError::Streamed)
            }
        }
    }

    /// Sends a request, and gives the response as a stream as soon as it begins: for bodies that are large, or take long to
    /// come. The deadline covers the time until then, and no limit of length applies. Dropping the future gives the request
    /// up; dropping the stream early does, too.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use drywire::{identity::PeerId, multistream::ProtocolName, swarm::Protocol};
    /// # use drywire::protocol::request_response::{BytesCodec, RequestOptions};
    /// use drywire_engine::{RequestError, Requests};
    ///
    /// async fn length<P>(
    ///     requests: &Requests<P, BytesCodec>,
    ///     peer: PeerId,
    ///     name: Bytes,
    /// ) -> Result<usize, Box<dyn core::error::Error>>
    /// # where P: Protocol + Send + 'static, P::Event: Send
    /// {
    ///     let mut body = requests.request_streamed(peer, name, RequestOptions::new()).await?;
    ///     let mut length = 0;
    ///     // What is not read here is not sent there.
    ///     while let Some(piece) = body.read_bytes(65_536).await? {
    ///         length += piece.len();
    ///     }
    ///     Ok(length)
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`request`](Self::request).
    pub async fn request_streamed(
        &self,
        peer: PeerId,
        request: C::Request,
        options: RequestOptions,
    ) -> Result<Stream, RequestError> {
        let options = options.stream_response();
        let event = self.last_word(peer, request, options).await?;
        self.body(event).await
    }

    /// Opens a request whose body is written piece by piece: the stream, once the peer has agreed to the protocol. Write the
    /// request, [`finish`](Stream::finish), and read the response to its end. The deadline covers the time until the peer
    /// has agreed, and no limit of length applies. Dropping the future, or the stream, gives the request up.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use drywire::{identity::PeerId, multistream::ProtocolName, swarm::Protocol};
    /// # use drywire::protocol::request_response::{BytesCodec, RequestOptions};
    /// use drywire_engine::{RequestError, Requests};
    ///
    /// async fn upload<P>(
    ///     requests: &Requests<P, BytesCodec>,
    ///     peer: PeerId,
    ///     pieces: impl Iterator<Item = Bytes>,
    /// ) -> Result<Option<Bytes>, Box<dyn core::error::Error>>
    /// # where P: Protocol + Send + 'static, P::Event: Send
    /// {
    ///     let mut body = requests.open(peer, RequestOptions::new()).await?;
    ///     for mut piece in pieces {
    ///         // Waits while the peer reads more slowly than this node writes.
    ///         body.write_bytes(&mut piece).await?;
    ///     }
    ///     body.finish()?;
    ///     Ok(body.read_bytes(65_536).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`request`](Self::request).
    pub async fn open(
        &self,
        peer: PeerId,
        options: RequestOptions,
    ) -> Result<Stream, RequestError> {
        let operation = self
            .operations
            .begin(0, |machine, cx| machine.open_request(&peer, options, cx))?;
        let event = operation.last().await.ok_or(RequestError::HostClosed)?;
        self.body(event).await
    }

    /// The requests of peers from now on; at most `capacity` of them wait to be taken. One more is dropped, which tells the
    /// peer at once that it gets no response, and [counted](IncomingRequests::dropped).
    ///
    /// While several exist the oldest one gets them. Without any they appear among [`Host::events`].
    pub fn incoming(&self, capacity: usize) -> IncomingRequests<P, C> {
        IncomingRequests::new(&self.operations, capacity)
    }

    /// The requests of peers, where the protocol leaves [their bodies to the
    /// host](drywire::protocol::request_response::Config::stream_requests): each is a stream to read the request from, up to
    /// its end, and to write the response to. At most `capacity` of them wait to be taken; one more is reset, and
    /// [counted](IncomingBodies::dropped).
    pub fn incoming_bodies(&self, capacity: usize) -> IncomingBodies<P, C> {
        IncomingBodies::new(&self.operations, capacity)
    }

    /// Sends a request and waits for the last word on it, failures aside.
    async fn last_word(
        &self,
        peer: PeerId,
        request: C::Request,
        options: RequestOptions,
    ) -> Result<EventOf<C>, RequestError> {
        let operation = self.operations.begin(0, |machine, cx| {
            machine
                .send_request_with(&peer, request, options, cx)
                .map_err(|refused| refused.reason)
        })?;
        match operation.last().await {
            None => Err(RequestError::HostClosed),
            Some(Event::OutboundFailure { error, .. }) => Err(RequestError::Failed(error)),
            Some(event) => Ok(event),
        }
    }

    /// The stream that is the last word on a request.
    async fn body(&self, event: EventOf<C>) -> Result<Stream, RequestError> {
        match event {
            Event::ResponseStream {
                protocol,
                stream,
                first,
                ..
            } => bodies::take(&self.operations.inner.router, stream, protocol, first)
                .await
                .map_err(RequestError::Body),
            Event::OutboundFailure { error, .. } => Err(RequestError::Failed(error)),
            _ => Err(RequestError::Streamed),
        }
    }
}

impl<P: Protocol, C: Codec> Clone for Requests<P, C> {
    fn clone(&self) -> Self {
        Self {
            operations: self.operations.clone(),
        }
    }
}

impl<P: Protocol, C: Codec> fmt::Debug for Requests<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("part", &self.operations.part)
            .finish_non_exhaustive()
    }
}
