//! What the swarm tells its host.

use super::{
    action::{ListenerId, TransportError},
    dial::{DialError, DialId},
};
use crate::{
    connection::{ConnectedPoint, ConnectionError, ConnectionId},
    identity::PeerId,
    multiaddr::Multiaddr,
};

/// Something that happened. `E` is the event type of the protocol set.
///
/// The queue behind [`Swarm::poll_event`](super::Swarm::poll_event) is bounded. Room for the last word on each
/// connection, dial and listener is reserved when it starts, so those are never lost; others are dropped and
/// [counted](super::Swarm::dropped_events) while the queue is full.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<E> {
    /// A protocol says something.
    Protocol(E),
    /// A connection is up.
    ConnectionEstablished {
        /// The connection.
        connection: ConnectionId,
        /// Who it leads to, proven.
        peer: PeerId,
        /// Its two ends.
        point: ConnectedPoint,
        /// Connections to this peer, this one included.
        connections: u32,
    },
    /// A connection that was up is gone. Follows its [`ConnectionEstablished`](Self::ConnectionEstablished), once.
    ConnectionClosed {
        /// The connection.
        connection: ConnectionId,
        /// Who it led to.
        peer: PeerId,
        /// Why it ended.
        reason: ConnectionError,
        /// Connections to this peer that are left.
        connections: u32,
    },
    /// An accepted connection ended before it was up.
    IncomingFailed {
        /// The connection.
        connection: ConnectionId,
        /// Whence it came.
        remote: Multiaddr,
        /// Why it ended.
        error: ConnectionError,
    },
    /// A dial of the host led to a connection, new or already there.
    Dialed {
        /// The dial.
        dial: DialId,
        /// The connection to use.
        connection: ConnectionId,
        /// The peer met.
        peer: PeerId,
    },
    /// A dial of the host failed.
    DialFailed {
        /// The dial.
        dial: DialId,
        /// The peer that was to be met, if it was named.
        peer: Option<PeerId>,
        /// What happened, address by address.
        error: DialError,
    },
    /// A listener is bound to an address.
    Listening {
        /// The listener.
        listener: ListenerId,
        /// The address, its port resolved. It may be unspecified (`0.0.0.0`).
        address: Multiaddr,
    },
    /// A listener is no longer bound to an address.
    ListenAddressGone {
        /// The listener.
        listener: ListenerId,
        /// The address.
        address: Multiaddr,
    },
    /// A listener could not accept a connection, and goes on.
    AcceptFailed {
        /// The listener.
        listener: ListenerId,
        /// What the operating system said.
        error: TransportError,
    },
    /// A listener is gone. Comes once for each.
    ListenerClosed {
        /// The listener.
        listener: ListenerId,
        /// Why, unless it was stopped on request.
        error: Option<TransportError>,
    },
    /// This node may be reachable at this address; nothing has proven it.
    ExternalCandidate {
        /// The address.
        address: Multiaddr,
    },
    /// This node is reachable at this address.
    ExternalConfirmed {
        /// The address.
        address: Multiaddr,
    },
    /// This node is no longer reachable at this address.
    ExternalExpired {
        /// The address.
        address: Multiaddr,
    },
    /// After [`Swarm::shutdown`](super::Swarm::shutdown): every listener, dial and connection is gone.
    ShutdownComplete,
}
