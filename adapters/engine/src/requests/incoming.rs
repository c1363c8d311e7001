//! Requests of peers, and the way to answer them.

use super::{EventOf, RespondError, bodies};
use crate::{
    error::OpenStreamError,
    notify::{lock, replace_waker},
    operations::Operations,
    state::{Inner, Settled},
    stream::Stream,
    taps::Tap,
};
use bytes::Bytes;
use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::{
    connection::{ConnectionError, ConnectionId},
    identity::PeerId,
    multistream::ProtocolName,
    protocol::request_response::{
        Codec, Event, InboundFailure, InboundRequestId, Message, RequestResponse, ResponseChannel,
        SendResponseError,
    },
    swarm::{Part, Protocol},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

/// Requests of peers, the oldest first: a `futures` stream that ends when the host has shut down, or after
/// [`close`](Self::close).
///
/// What is not answered in time, and what the peer gives up, while it waits here, is not given out any more. Dropping this
/// drops what waits: those peers see at once that they get no response.
#[must_use = "further requests appear among the host's events once this is dropped"]
pub struct IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    inner: Arc<Inner<P>>,
    tap: Arc<RequestTap<P, C>>,
}

/// A request of a peer.
#[non_exhaustive]
pub struct IncomingRequest<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    /// From whom.
    pub peer: PeerId,
    /// On which connection.
    pub connection: ConnectionId,
    /// The name agreed on.
    pub protocol: ProtocolName,
    /// What is asked.
    pub request: C::Request,
    /// The way to answer.
    pub responder: Responder<P, C>,
}

/// The way to answer a request. Dropping it says that there will be no answer: the peer sees the end at once.
#[must_use = "dropping it tells the peer that there is no response"]
pub struct Responder<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    inner: Arc<Inner<P>>,
    tap: Arc<RequestTap<P, C>>,
    protocol: ProtocolName,
    id: InboundRequestId,
    /// `None` once it is used.
    channel: Option<ResponseChannel<C::Response>>,
}

struct RequestTap<P: Protocol, C: Codec> {
    part: Part<P, RequestResponse<C>>,
    capacity: usize,
    one_way: bool,
    table: Mutex<Table<C>>,
}

struct Table<C: Codec> {
    waiting: VecDeque<Waiting<C>>,
    dropped: u64,
    waker: Option<Waker>,
    /// Requests that were given out, or wait, and on which the last word is not said or not heard.
    open: BTreeMap<InboundRequestId, Open>,
    /// No more are taken.
    unwanted: bool,
    /// The host is gone.
    closed: bool,
}

struct Waiting<C: Codec> {
    peer: PeerId,
    connection: ConnectionId,
    id: InboundRequestId,
    protocol: ProtocolName,
    request: C::Request,
    channel: ResponseChannel<C::Response>,
}

#[derive(Default)]
struct Open {
    last: Option<Result<(), InboundFailure>>,
    /// Somebody may ask for the last word.
    held: bool,
    waker: Option<Waker>,
}

impl<C: Codec> Table<C> {
    /// Nobody asks for the last word on a request any more. `silent` tells that there will be none.
    fn let_go(&mut self, id: InboundRequestId, silent: bool) -> Option<Waker> {
        let open = self.open.get_mut(&id)?;
        open.held = false;
        let waker = open.waker.take();
        if silent || open.last.is_some() {
            self.open.remove(&id);
        }
        waker
    }
}

impl<P, C> RequestTap<P, C>
where
    P: Protocol,
    C: Codec,
{
    fn last_word(
        &self,
        id: InboundRequestId,
        last: Result<(), InboundFailure>,
        settled: &mut Settled,
    ) -> Option<Result<(), InboundFailure>> {
        let mut table = lock(&self.table);
        let Some(open) = table.open.get_mut(&id) else {
            return Some(last);
        };
        settled.wake_later(open.waker.take());
        if open.held {
            open.last = Some(last);
        } else {
            table.open.remove(&id);
        }
        None
    }
}

impl<P, C> Tap<P::Event> for RequestTap<P, C>
where
    P: Protocol,
    C: Codec + 'static,
    C::Request: Send,
    C::Response: Send,
{
    fn event(&self, event: P::Event, settled: &mut Settled) -> Option<P::Event> {
        let event: EventOf<C> = match self.part.event(event) {
            Ok(event) => event,
            Err(other) => return Some(other),
        };
        let passed_on = match event {
            Event::Message {
                peer,
                connection,
                message:
                    Message::Request {
                        request_id,
                        protocol,
                        request,
                        channel,
                    },
            } => self.request(
                Waiting {
                    peer,
                    connection,
                    id: request_id,
                    protocol,
                    request,
                    channel,
                },
                settled,
            ),
            Event::ResponseSent {
                peer,
                connection,
                request_id,
            } => {
                let passed_on = self.last_word(request_id, Ok(()), settled);
                passed_on.map(|_| Event::ResponseSent {
                    peer,
                    connection,
                    request_id,
                })
            }
            Event::InboundFailure {
                peer,
                connection,
                request_id,
                error,
            } => {
                let passed_on = self.last_word(request_id, Err(error), settled);
                passed_on
                    .and_then(Result::err)
                    .map(|error| Event::InboundFailure {
                        peer,
                        connection,
                        request_id,
                        error,
                    })
            }
            other => Some(other),
        };
        passed_on.map(|event| self.part.wrap(event))
    }

    fn is_idle(&self) -> bool {
        lock(&self.table).open.is_empty()
    }

    fn close(&self, settled: &mut Settled) {
        let mut table = lock(&self.table);
        table.closed = true;
        settled.wake_later(table.waker.take());
        for open in table.open.values_mut() {
            settled.wake_later(open.waker.take());
        }
    }
}

impl<P, C> RequestTap<P, C>
where
    P: Protocol,
    C: Codec + 'static,
    C::Request: Send,
    C::Response: Send,
{
    /// Keeps a request until it is taken; drops it, and counts, if the application has fallen behind; passes it on if the
    /// application takes none.
    fn request(&self, request: Waiting<C>, settled: &mut Settled) -> Option<EventOf<C>> {
        let mut table = lock(&self.table);
        if table.unwanted {
            let message = Message::Request {
                request_id: request.id,
                protocol: request.protocol,
                request: request.request,
                channel: request.channel,
            };
            return Some(Event::Message {
                peer: request.peer,
                connection: request.connection,
                message,
            });
        }
        let room = table.waiting.len() < self.capacity;
        if room || !self.one_way {
            let open = Open {
                held: room,
                ..Open::default()
            };
            table.open.insert(request.id, open);
        }
        if room {
            table.waiting.push_back(request);
            settled.wake_later(table.waker.take());
        } else {
            table.dropped = table.dropped.saturating_add(1);
            drop(table);
            // Its channel says that there will be no answer.
            settled.drop_later(request);
        }
        None
    }
}

impl<P, C> RequestTap<P, C>
where
    P: Protocol,
    C: Codec,
{
    /// Gives up requests that wait.
    fn drop_waiting(&self, waiting: VecDeque<Waiting<C>>) {
        for request in waiting {
            let waker = lock(&self.table).let_go(request.id, self.one_way);
            drop(waker);
        }
    }
}

impl<P, C> IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
    C: Codec + 'static,
    C::Request: Send,
    C::Response: Send,
{
    pub(super) fn new(operations: &Operations<P, RequestResponse<C>>, capacity: usize) -> Self {
        let (inner, part) = (operations.inner.clone(), operations.part);
        let now = inner.router.now();
        let one_way = inner.with(now, |state| {
            state.swarm.with(now, |set, cx| {
                part.with(set, cx, |machine, _| machine.config().one_way)
            })
        });
        let tap = Arc::new(RequestTap {
            part,
            capacity: capacity.max(1),
            one_way,
            table: Mutex::new(Table {
                waiting: VecDeque::new(),
                dropped: 0,
                waker: None,
                open: BTreeMap::new(),
                unwanted: false,
                closed: false,
            }),
        });
        inner.add_tap(tap.clone());
        Self { inner, tap }
    }
}

impl<P, C> IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    /// Waits for the next request; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<IncomingRequest<P, C>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Takes no more requests: those that wait are still given out, then this ends. Further ones go to the next that
    /// [takes them](super::Requests::incoming), or appear among the [host's events](crate::Host::events).
    pub fn close(&mut self) {
        lock(&self.tap.table).unwanted = true;
    }

    /// How many requests were dropped because this was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.tap.table).dropped
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<IncomingRequest<P, C>>> {
        loop {
            let mut table = lock(&self.tap.table);
            if table.closed {
                return Poll::Ready(None);
            }
            let Some(next) = table.waiting.pop_front() else {
                if table.unwanted {
                    return Poll::Ready(None);
                }
                let other = replace_waker(&mut table.waker, cx);
                drop(table);
                drop(other);
                return Poll::Pending;
            };
            drop(table);
            let responder = Responder {
                inner: self.inner.clone(),
                tap: self.tap.clone(),
                protocol: next.protocol.clone(),
                id: next.id,
                channel: Some(next.channel),
            };
            if responder.is_open() {
                return Poll::Ready(Some(IncomingRequest {
                    peer: next.peer,
                    connection: next.connection,
                    protocol: next.protocol,
                    request: next.request,
                    responder,
                }));
            }
        }
    }
}

impl<P, C> futures_core::Stream for IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    type Item = IncomingRequest<P, C>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<P, C> Unpin for IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
}

impl<P, C> Drop for IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn drop(&mut self) {
        let waiting = {
            let mut table = lock(&self.tap.table);
            table.unwanted = true;
            core::mem::take(&mut table.waiting)
        };
        self.tap.drop_waiting(waiting);
    }
}

impl<P, C> fmt::Debug for IncomingRequests<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRequests")
            .field("part", &self.tap.part)
            .finish_non_exhaustive()
    }
}

impl<P, C> fmt::Debug for IncomingRequest<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRequest")
            .field("peer", &self.peer)
            .field("connection", &self.connection)
            .field("protocol", &self.protocol)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl<P, C> Responder<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    /// The request this answers.
    #[must_use]
    pub const fn request_id(&self) -> InboundRequestId {
        self.id
    }

    /// Whether a response is still wanted: neither has the time run out nor has the peer gone.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.channel.as_ref().is_some_and(ResponseChannel::is_open)
    }

    /// Answers. The response travels in the background, see [`respond_and_wait`](Self::respond_and_wait).
    ///
    /// # Errors
    /// The response, if it is not wanted any more, or cannot be sent.
    pub fn respond(self, response: C::Response) -> Result<(), RespondError<P, C>> {
        self.answer(response).map(drop)
    }

    /// Answers, and waits until all of the response has left for the network, or never will: for those who have something to
    /// do after that.
    ///
    /// # Errors
    /// As for [`respond`](Self::respond); [`RespondError::Failed`] if it was taken and could not be sent to its end.
    pub async fn respond_and_wait(self, response: C::Response) -> Result<(), RespondError<P, C>> {
        let answered = self.answer(response)?;
        let last = poll_fn(|cx| answered.poll_last(cx)).await;
        // Without a last word the host has come to its end, and with it the connection.
        let failure = InboundFailure::ConnectionClosed(ConnectionError::Closed);
        last.unwrap_or(Err(failure)).map_err(RespondError::Failed)
    }

    /// Waits until no response is wanted any more: for work that is done for nothing then. Dropping the future loses nothing.
    pub async fn closed(&mut self) {
        poll_fn(|cx| self.poll_last(cx)).await;
    }

    /// Answers with a body that is written piece by piece: write it to the stream, and [`finish`](Stream::finish). No limit
    /// of length or time applies. Dropping the future, or the stream, resets it.
    ///
    /// # Errors
    /// If the response is not wanted any more, or its framing wants it whole.
    pub async fn stream(mut self) -> Result<Stream, OpenStreamError> {
        let now = self.inner.router.now();
        let channel = self.channel.take().ok_or(OpenStreamError::NotConnected)?;
        let part = self.tap.part;
        let stream = self.inner.with(now, |state| {
            state.swarm.with(now, |set, cx| {
                part.with(set, cx, |machine, cx| machine.stream_response(channel, cx))
            })
        });
        if stream.is_some() || self.tap.one_way {
            // The protocol says no more about it.
            let waker = lock(&self.tap.table).let_go(self.id, true);
            drop(waker);
        }
        let stream = stream.ok_or(OpenStreamError::NotConnected)?;
        let protocol = self.protocol.clone();
        bodies::take(&self.inner.router, stream, protocol, Bytes::new()).await
    }

    fn answer(mut self, response: C::Response) -> Result<Self, RespondError<P, C>> {
        let Some(channel) = self.channel.take() else {
            return Err(RespondError::Closed(response));
        };
        let (now, part) = (self.inner.router.now(), self.tap.part);
        let answered = self.inner.with(now, |state| {
            state.swarm.with(now, |set, cx| {
                part.with(set, cx, |machine, cx| {
                    machine.send_response(channel, response, cx)
                })
            })
        });
        match answered {
            Ok(()) => Ok(self),
            Err(SendResponseError::Encode {
                channel,
                response,
                error,
            }) => {
                self.channel = Some(channel);
                Err(RespondError::Encode {
                    responder: self,
                    response,
                    error,
                })
            }
            Err(SendResponseError::Closed(response)) => Err(RespondError::Closed(response)),
            Err(_) => Err(RespondError::Refused),
        }
    }

    /// Ready with the last word on the request, `None` if there will be none.
    fn poll_last(&self, cx: &Context<'_>) -> Poll<Option<Result<(), InboundFailure>>> {
        let mut table = lock(&self.tap.table);
        let closed = table.closed;
        let Some(open) = table.open.get_mut(&self.id) else {
            return Poll::Ready(None);
        };
        if let Some(last) = &open.last {
            return Poll::Ready(Some(last.clone()));
        }
        if closed {
            return Poll::Ready(None);
        }
        let other = replace_waker(&mut open.waker, cx);
        drop(table);
        drop(other);
        Poll::Pending
    }
}

impl<P, C> Drop for Responder<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn drop(&mut self) {
        // Nothing more is said of a request that has no answer and is dropped.
        let silent = self.tap.one_way && self.channel.is_some();
        let waker = lock(&self.tap.table).let_go(self.id, silent);
        drop(waker);
        // Now the channel, if it is still there, says that there will be no answer.
    }
}

impl<P, C> fmt::Debug for Responder<P, C>
where
    P: Protocol + Send + 'static,
    C: Codec + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("request", &self.id)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
