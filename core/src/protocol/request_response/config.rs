//! How a request/response protocol behaves.

use crate::{connection::StreamKind, multistream::ProtocolName};
use core::time::Duration;

/// In which directions a protocol of a family is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolSupport {
    /// Requests of peers are answered under this name.
    Inbound,
    /// Requests are sent under this name.
    Outbound,
    /// Both.
    Full,
}

impl ProtocolSupport {
    /// Whether requests of peers are answered.
    #[must_use]
    pub const fn inbound(self) -> bool {
        matches!(self, Self::Inbound | Self::Full)
    }

    /// Whether requests are sent.
    #[must_use]
    pub const fn outbound(self) -> bool {
        matches!(self, Self::Outbound | Self::Full)
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Framing {
    /// At the half-close. What rust-libp2p's ready codecs (CBOR, JSON) do.
    #[default]
    ToEnd,
    /// After its length, an unsigned varint in front of it.
    LengthPrefixed,
}

impl Framing {
    pub(super) const fn kind(self, max_len: u32) -> StreamKind {
        match self {
            Self::ToEnd => StreamKind::ToEnd { max_len },
            Self::LengthPrefixed => StreamKind::Framed { max_len },
        }
    }
}

/// Settings of one [`RequestResponse`](super::RequestResponse), with the defaults named here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long a request may take in all: queued, dialing, negotiating, sending and waiting, until the whole response is
    /// there; and on the other side from the opening of the stream until the response has left. 10 s.
    ///
    /// rust-libp2p counts neither queueing nor dialing nor negotiating.
    pub request_timeout: Duration,
    /// Requests of this node under way on one connection. More wait for their turn. 64.
    ///
    /// rust-libp2p has one limit for both directions together, so that a peer which holds streams open keeps this node from
    /// asking it anything.
    pub max_outbound: u32,
    /// Requests of the peer under way on one connection, unfinished and unanswered ones included; one more is reset, and
    /// [counted](super::Statistics). (Of a flood, what comes while 16 are being refused is reset by the connection, which
    /// ends if that goes on.) 64.
    pub max_inbound: u32,
    /// Requests that wait for a connection to, or a turn on one to, the same peer; one more is refused. 256.
    pub max_queued_per_peer: u32,
    /// The same, to all peers together. 1024.
    pub max_queued: u32,
    /// Bytes of bodies held for all peers together: of requests of this node until they are answered, of requests of peers
    /// until the application has answered them, and of responses until they have left. Beyond it requests are refused, in
    /// both directions. Responses are not, for the application has made them: they may exceed it by as much as is answered
    /// of what was let in before. 64 MiB.
    ///
    /// What is being received is counted by the connections, against the node's
    /// [resources](crate::resource::Limits).
    pub max_held_bytes: u64,
    /// The longest request, sent or received, in bytes. 1 MiB.
    pub max_request_len: u32,
    /// The longest response, sent or received, in bytes. 4 MiB.
    pub max_response_len: u32,
    /// Where bodies end. To the half-close.
    pub framing: Framing,
    /// There are no responses: a request has succeeded as soon as the peer has agreed to the protocol and the request has
    /// left, and a [`ResponseChannel`](super::ResponseChannel) may be dropped. No.
    pub one_way: bool,
    /// Requests of peers are not collected and decoded: their streams are given to the host, which reads the request and
    /// writes the response as they come, see [`Event::InboundStream`](super::Event::InboundStream). No.
    pub stream_requests: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            max_outbound: 64,
            max_inbound: 64,
            max_queued_per_peer: 256,
            max_queued: 1024,
            max_held_bytes: 64 * 1024 * 1024,
            max_request_len: 1024 * 1024,
            max_response_len: 4 * 1024 * 1024,
            framing: Framing::ToEnd,
            one_way: false,
            stream_requests: false,
        }
    }
}

impl Config {
    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub const fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets both [`max_outbound`](Self::max_outbound) and [`max_inbound`](Self::max_inbound): each direction gets so many
    /// for itself.
    #[must_use]
    pub const fn with_max_concurrent_streams(mut self, max: u32) -> Self {
        (self.max_outbound, self.max_inbound) = (max, max);
        self
    }

    /// Sets [`max_request_len`](Self::max_request_len), in bytes.
    #[must_use]
    pub const fn with_max_request_len(mut self, len: u32) -> Self {
        self.max_request_len = len;
        self
    }

    /// Sets [`max_response_len`](Self::max_response_len), in bytes.
    #[must_use]
    pub const fn with_max_response_len(mut self, len: u32) -> Self {
        self.max_response_len = len;
        self
    }

    /// Sets [`framing`](Self::framing).
    #[must_use]
    pub const fn with_framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Makes the protocol [one-way](Self::one_way).
    #[must_use]
    pub const fn one_way(mut self) -> Self {
        self.one_way = true;
        self
    }

    /// Leaves the bodies of peers' requests to the host, see [`stream_requests`](Self::stream_requests).
    #[must_use]
    pub const fn stream_requests(mut self) -> Self {
        self.stream_requests = true;
        self
    }
}

/// The names of a family in the order of preference, those for each direction.
pub(super) fn split(
    protocols: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
) -> (alloc::vec::Vec<ProtocolName>, alloc::vec::Vec<ProtocolName>) {
    let (mut inbound, mut outbound) = (alloc::vec::Vec::new(), alloc::vec::Vec::new());
    for (name, support) in protocols {
        if support.inbound() {
            inbound.push(name.clone());
        }
        if support.outbound() {
            outbound.push(name);
        }
    }
    (inbound, outbound)
}
