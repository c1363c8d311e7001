//! Plain streams for the application: names it accepts, and streams it opens to peers.
//!
//! The streams themselves are owned by the host: they appear on their connection, and are read and written there. This
//! protocol keeps what spans connections: which names are accepted, and requests for a stream to a peer, which may have
//! to be dialed first.
//!
//! [`open`](Streams::open) answers with [`Event::Ready`], naming a connection on which the host opens the stream, or with
//! [`Event::Failed`], saying why there is none; one of the two, once, unless the request is cancelled. A stream the peer
//! opens is an event of its connection; when the application does not take such streams fast enough it is the host that
//! drops and counts them, since it is the host that queues them.

#[cfg(test)]
mod tests;

use crate::{
    connection::{Accept, ConnectionId, Slot, StreamKind},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{AcceptError, Context, DialError, DialId, DialOptions, EventPermit, Input, Protocol},
    time::Instant,
};
use alloc::collections::{BTreeMap, BTreeSet};
use core::{fmt, time::Duration};

/// Requests that may wait at once.
const MAX_REQUESTS: usize = 1024;

/// Names one request for a stream. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The number, for logs.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is a connection: open the stream on it.
    Ready {
        /// The request.
        request: RequestId,
        /// The connection.
        connection: ConnectionId,
        /// The peer at its other end.
        peer: PeerId,
    },
    /// There is none.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        error: OpenError,
    },
}

/// Why there is no connection for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer could not be dialed.
    Dial(DialError),
    /// Limit: requests that wait.
    TooManyRequests,
    /// Own misuse: the host does not collect events, and there is no room for this request's.
    EventsFull,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => write!(f, "not connected: {error}"),
            Self::TooManyRequests => f.write_str("too many requests for streams"),
            Self::EventsFull => f.write_str("events are not collected"),
        }
    }
}

impl core::error::Error for OpenError {}

/// To whom a stream is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    dial: DialOptions,
    peer: PeerId,
}

impl OpenOptions {
    /// A stream to this peer: on a connection that is there, or else on one dialed at the addresses that are known.
    #[must_use]
    pub const fn new(peer: PeerId) -> Self {
        Self {
            dial: DialOptions::peer(peer),
            peer,
        }
    }

    /// More addresses to dial.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.dial = self.dial.addresses(addresses);
        self
    }

    /// Sets how long to wait for a connection.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.dial = self.dial.timeout(timeout);
        self
    }
}

#[derive(Debug)]
struct Request {
    dial: DialId,
    permit: EventPermit,
}

/// Plain streams, see the [module](self).
#[derive(Debug, Default)]
pub struct Streams {
    registered: BTreeSet<ProtocolName>,
    requests: BTreeMap<RequestId, Request>,
    by_dial: BTreeMap<DialId, RequestId>,
    created: u64,
}

impl Streams {
    /// No names, no requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts streams of this name, at most 256 at once on a connection.
    ///
    /// # Errors
    /// [`AcceptError::AlreadyRegistered`] if the name is accepted already, here or by another protocol.
    pub fn register(
        &mut self,
        name: ProtocolName,
        cx: &mut Context<'_, Event>,
    ) -> Result<(), AcceptError> {
        self.register_with(name, Accept::new(StreamKind::Raw), cx)
    }

    /// As [`register`](Self::register), with limits of one's own. The streams belong to the host, whatever `accept`
    /// says.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_with(
        &mut self,
        name: ProtocolName,
        accept: Accept,
        cx: &mut Context<'_, Event>,
    ) -> Result<(), AcceptError> {
        cx.accept(name.clone(), accept.host_owned())?;
        self.registered.insert(name);
        Ok(())
    }

    /// Accepts the name no more: a peer that asks for it is told that it is not supported. Streams that are open stay.
    /// Returns whether it was registered here.
    pub fn deregister(&mut self, name: &ProtocolName, cx: &mut Context<'_, Event>) -> bool {
        self.registered.remove(name) && cx.unaccept(name)
    }

    /// The names registered here.
    pub fn registered(&self) -> impl Iterator<Item = &ProtocolName> {
        self.registered.iter()
    }

    /// Asks for a connection to open a stream on. [`Event::Ready`] or [`Event::Failed`] follows, once.
    ///
    /// # Errors
    /// [`OpenError`] tells why nothing was begun; no event follows then.
    pub fn open(
        &mut self,
        options: OpenOptions,
        cx: &mut Context<'_, Event>,
    ) -> Result<RequestId, OpenError> {
        if self.requests.len() >= MAX_REQUESTS {
            return Err(OpenError::TooManyRequests);
        }
        let permit = cx.reserve_event().ok_or(OpenError::EventsFull)?;
        let request = RequestId(self.created);
        self.created = self.created.saturating_add(1);
        let peer = options.peer;
        if let Some(connection) = cx.best_connection(&peer) {
            cx.emit_reserved(
                permit,
                Event::Ready {
                    request,
                    connection,
                    peer,
                },
            );
            return Ok(request);
        }
        match cx.dial(options.dial) {
            Ok(dial) => {
                self.requests.insert(request, Request { dial, permit });
                self.by_dial.insert(dial, request);
                Ok(request)
            }
            Err(error) => {
                cx.release_event(permit);
                Err(OpenError::Dial(error))
            }
        }
    }

    /// Gives a request up; no event follows. Returns whether it was waiting.
    pub fn cancel(&mut self, request: RequestId, cx: &mut Context<'_, Event>) -> bool {
        let Some(Request { dial, permit }) = self.requests.remove(&request) else {
            return false;
        };
        self.by_dial.remove(&dial);
        cx.cancel_dial(dial);
        cx.release_event(permit);
        true
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    fn finish(
        &mut self,
        dial: DialId,
        cx: &mut Context<'_, Event>,
        event: impl FnOnce(RequestId) -> Event,
    ) {
        if let Some(request) = self.by_dial.remove(&dial)
            && let Some(Request { permit, .. }) = self.requests.remove(&request)
        {
            cx.emit_reserved(permit, event(request));
        }
    }
}

impl Protocol for Streams {
    type Event = Event;

    fn start(&mut self, _: &mut Context<'_, Event>) {}

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, Event>) {
        match input {
            Input::Dialed {
                dial,
                connection,
                peer,
                ..
            } => {
                self.finish(dial, cx, |request| Event::Ready {
                    request,
                    connection,
                    peer,
                });
            }
            Input::DialFailed { dial, error, .. } => {
                let error = OpenError::Dial(error.clone());
                self.finish(dial, cx, |request| Event::Failed { request, error });
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
