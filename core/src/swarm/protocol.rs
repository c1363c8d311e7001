//! What a protocol is to the swarm.

use super::{
    context::Context,
    dial::{AddressFailure, DialError, DialId},
};
use crate::{
    connection::{ConnectedPoint, ConnectionError, ConnectionId, Slot, StreamEnd, StreamId},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    time::Instant,
};
use bytes::Bytes;
use core::fmt;

/// Names a stream that a protocol owns: the connection, and the stream on it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamRef {
    /// The connection.
    pub connection: ConnectionId,
    /// The stream on it.
    pub stream: StreamId,
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connection, self.stream)
    }
}

/// A protocol, or a set of them made by [`protocols!`](crate::protocols): a machine that turns [`Input`]s into calls of
/// its [`Context`].
///
/// The swarm calls [`start`](Self::start) once, then [`handle`](Self::handle) with one input at a time. What a protocol
/// does through its context may cause further inputs, which come after the present call has returned. Everything is
/// deterministic: time is [`Context::now`], randomness is [`Context::rng`].
///
/// Commands (`get this key`, `send this request`) are ordinary methods of the protocol that take the context; a host
/// reaches them through [`Swarm::with`](super::Swarm::with).
pub trait Protocol {
    /// What the protocol tells the host.
    type Event: fmt::Debug;

    /// How many slots the protocol takes: 1, or for a set the sum of its fields'.
    const SLOTS: u16 = 1;

    /// Called once, before anything else: register the names to accept.
    fn start(&mut self, cx: &mut Context<'_, Self::Event>);

    /// Takes in one thing that happened. `slot` counts from 0 within this protocol; for a protocol with one slot it is
    /// always 0.
    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Context<'_, Self::Event>);

    /// When [`Input::Timeout`] is wanted, the earliest. A time that has passed means now.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// Something a protocol is told.
///
/// For each connection: one [`ConnectionUp`](Self::ConnectionUp), then anything about its streams, then exactly one
/// terminal input for every stream still open, then one [`ConnectionDown`](Self::ConnectionDown).
///
/// For each stream, opened by either side: [`StreamEnded`](Self::StreamEnded) exactly once and last, unless the
/// protocol itself ended its part by [`Context::reset`] or [`Context::hand_over`], after which nothing comes.
///
/// For each dial that [`Context::dial`] accepted: exactly one of [`Dialed`](Self::Dialed) and
/// [`DialFailed`](Self::DialFailed), unless cancelled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A connection is admitted; streams can be opened on it.
    ConnectionUp {
        /// The connection.
        connection: ConnectionId,
        /// Who it leads to, proven.
        peer: PeerId,
        /// Its two ends.
        point: &'a ConnectedPoint,
        /// Connections to this peer that are up, this one included.
        connections: u32,
    },
    /// A connection is gone. Every stream on it has had its terminal input.
    ConnectionDown {
        /// The connection.
        connection: ConnectionId,
        /// Who it led to.
        peer: PeerId,
        /// Why it ended.
        reason: &'a ConnectionError,
        /// Connections to this peer that are still up.
        connections: u32,
    },
    /// A dial of this protocol led to a connection, new or already there.
    Dialed {
        /// The dial.
        dial: DialId,
        /// The connection to use.
        connection: ConnectionId,
        /// The peer met.
        peer: PeerId,
        /// Addresses that were tried before, in vain.
        failures: &'a [AddressFailure],
    },
    /// A dial of this protocol failed.
    DialFailed {
        /// The dial.
        dial: DialId,
        /// The peer that was to be met, if it was named.
        peer: Option<PeerId>,
        /// What happened, address by address.
        error: &'a DialError,
    },
    /// A peer opened a stream under a name this protocol accepts.
    Inbound {
        /// The stream, now owned by this protocol.
        stream: StreamRef,
        /// Who opened it.
        peer: PeerId,
        /// The name agreed on.
        name: &'a ProtocolName,
    },
    /// The peer agreed to a stream this protocol opened. Messages may have been sent before.
    Opened {
        /// The stream.
        stream: StreamRef,
        /// The name agreed on.
        name: &'a ProtocolName,
    },
    /// One whole message, or on a raw stream one chunk. The next comes after this call, unless the stream is
    /// [paused](Context::pause).
    Message {
        /// The stream.
        stream: StreamRef,
        /// The bytes, without their length prefix.
        bytes: Bytes,
    },
    /// The peer finished its side: no more messages come. The own side may go on sending.
    RemoteFinished {
        /// The stream.
        stream: StreamRef,
    },
    /// There is room again after [`SendError::Full`](super::SendError::Full).
    Writable {
        /// The stream.
        stream: StreamRef,
    },
    /// Everything sent on the stream, its finish included, has left for the network, as
    /// [`Context::report_sent`] asked to be told.
    Sent {
        /// The stream.
        stream: StreamRef,
    },
    /// Streams can be opened again on a connection, after [`OpenStreamError::Full`](super::OpenStreamError::Full) or
    /// [`OpenStreamError::TooManyStreams`](super::OpenStreamError::TooManyStreams). Others may be faster.
    StreamsAvailable {
        /// The connection.
        connection: ConnectionId,
    },
    /// The stream is over, or could not be opened. Terminal.
    StreamEnded {
        /// The stream that was.
        stream: StreamRef,
        /// How it ended.
        end: &'a StreamEnd,
    },
    /// Time has reached what [`Protocol::poll_timeout`] asked for. May come early or twice.
    Timeout,
    /// The names this node accepts have changed, see [`Context::protocols`].
    LocalProtocolsChanged,
    /// The listen or external addresses of this node have changed, see [`Context::listen_addresses`] and
    /// [`Context::external_addresses`].
    LocalAddressesChanged,
    /// An address under which this node may be reachable was reported, by [`Context::report_observed`] or the host.
    ExternalCandidate {
        /// The address.
        address: &'a Multiaddr,
    },
    /// It became known what a peer supports, or that changed.
    PeerProtocols {
        /// The peer.
        peer: PeerId,
        /// All names it accepts.
        names: &'a [ProtocolName],
    },
    /// The address book learnt new addresses of a peer, see [`Context::addresses`].
    PeerAddresses {
        /// The peer.
        peer: PeerId,
    },
}

/// No protocol: for nodes that only open and accept streams.
impl Protocol for () {
    type Event = core::convert::Infallible;

    fn start(&mut self, _: &mut Context<'_, Self::Event>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, Self::Event>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
