//! Why the swarm does not do what it is asked.

use crate::multistream::ProtocolName;
use core::fmt;

/// Why a connection was not accepted. Nothing is kept of it: close the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The node is shutting down.
    ShuttingDown,
    /// The address is denied.
    Denied,
    /// Limit: connections of the node, or inbound ones.
    TooManyConnections,
    /// Limit: connections that are still in their handshake.
    TooManyPending,
    /// Limit: connections in their handshake from this IPv4 address or IPv6 /56.
    TooManyPendingFromAddress,
    /// Limit: connections from this IPv4 address, IPv6 /56 or IPv6 /48.
    TooManyFromAddress,
    /// Limit: new connections in a short time from this IPv4 address, IPv6 /56 or IPv6 /48.
    TooFast,
    /// Own misuse: the host does not collect events, and there is no room for this connection's.
    EventsFull,
    /// Own misuse: the connection point says that this node dialed.
    NotInbound,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "this node is shutting down",
            Self::Denied => "the address is denied",
            Self::TooManyConnections => "too many connections",
            Self::TooManyPending => "too many handshakes at once",
            Self::TooManyPendingFromAddress => "too many handshakes at once from this address",
            Self::TooManyFromAddress => "too many connections from this address",
            Self::TooFast => "too many new connections from this address in a short time",
            Self::EventsFull => "events are not collected",
            Self::NotInbound => "not an inbound connection",
        })
    }
}

impl core::error::Error for Refused {}

/// Why no listener was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// The node is shutting down.
    ShuttingDown,
    /// Limit: listeners of the node.
    TooManyListeners,
    /// Own misuse: the host does not collect events, and there is no room for this listener's.
    EventsFull,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "this node is shutting down",
            Self::TooManyListeners => "too many listeners",
            Self::EventsFull => "events are not collected",
        })
    }
}

impl core::error::Error for ListenError {}

/// Why a name was not added to those accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError {
    /// Own misuse: the name is already accepted, by this protocol or another.
    AlreadyRegistered(ProtocolName),
    /// Limit: names accepted by this node.
    TooManyNames,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered(name) => write!(f, "{name} is already registered"),
            Self::TooManyNames => f.write_str("too many protocol names"),
        }
    }
}

impl core::error::Error for AcceptError {}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection has as much to do as is allowed; [`Input::Writable`](super::Input::Writable) follows.
    Full,
    /// Own misuse: the own side of the stream is already finished.
    Finished,
    /// There is no such stream (any more), or it is not owned by this protocol.
    NoStream,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the connection is busy",
            Self::Finished => "the stream is finished",
            Self::NoStream => "no such stream",
        })
    }
}

impl core::error::Error for SendError {}

/// Why no stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenStreamError {
    /// There is no such connection, or it is closing.
    NotConnected,
    /// Own misuse: no name was given, or too many.
    NoProtocol,
    /// Limit: streams opened by this side on this connection.
    /// [`Input::StreamsAvailable`](super::Input::StreamsAvailable) follows.
    TooManyStreams,
    /// The connection has as much to do as is allowed. [`Input::StreamsAvailable`](super::Input::StreamsAvailable)
    /// follows.
    Full,
}

impl fmt::Display for OpenStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "not connected",
            Self::NoProtocol => "no protocol name was given",
            Self::TooManyStreams => "too many streams",
            Self::Full => "the connection is busy",
        })
    }
}

impl core::error::Error for OpenStreamError {}
