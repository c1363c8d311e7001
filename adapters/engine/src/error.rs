//! How asking a host for something can fail.

use core::fmt;
use drywire::{
    connection::{ConnectionError, OpenError, StreamError},
    multistream::ProtocolName,
    security,
    swarm::{self, DialError, TransportError},
};
use std::io;

/// Why no stream was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenStreamError {
    /// The peer does not support the protocol.
    UnsupportedProtocol(ProtocolName),
    /// There was no connection to the peer, and none could be made.
    Dial(DialError),
    /// The connection ended before the peer answered.
    Connection(ConnectionError),
    /// There is no such connection (any more).
    NotConnected,
    /// The stream could not be asked for.
    Open(OpenError),
    /// The connection had no room for one more stream, for as long as negotiating one may take.
    TimedOut,
    /// The stream failed before the peer agreed, or before it was taken up.
    Stream(StreamError),
    /// The host has shut down.
    HostClosed,
}

impl fmt::Display for OpenStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedProtocol(name) => write!(f, "the peer does not support {name}"),
            Self::Dial(error) => fmt::Display::fmt(error, f),
            Self::Connection(error) => fmt::Display::fmt(error, f),
            Self::NotConnected => f.write_str("not connected"),
            Self::Open(error) => fmt::Display::fmt(error, f),
            Self::TimedOut => f.write_str("no room for one more stream in time"),
            Self::Stream(error) => fmt::Display::fmt(error, f),
            Self::HostClosed => f.write_str("the host has shut down"),
        }
    }
}

impl core::error::Error for OpenStreamError {}

impl From<ConnectError> for OpenStreamError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Dial(error) => Self::Dial(error),
            ConnectError::Connection(error) => Self::Connection(error),
            ConnectError::HostClosed => Self::HostClosed,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The dial failed.
    Dial(DialError),
    /// The connection was made, and ended before it could be used.
    Connection(ConnectionError),
    /// The host has shut down.
    HostClosed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => fmt::Display::fmt(error, f),
            Self::Connection(error) => fmt::Display::fmt(error, f),
            Self::HostClosed => f.write_str("the host has shut down"),
        }
    }
}

impl core::error::Error for ConnectError {}

/// Why a host could not start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The runtime had no randomness to give, in its words.
    Entropy(String),
    /// Own misuse: no configuration was given, and without a crypto backend compiled in there is no default one.
    NoCryptoBackend,
    /// The crypto backend cannot make this node's keys.
    Security(security::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entropy(reason) => write!(f, "no randomness: {reason}"),
            Self::NoCryptoBackend => {
                f.write_str("no crypto backend is compiled in, and no configuration was given")
            }
            Self::Security(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for StartError {}

/// Why nothing more can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// Own misuse: the sending direction is finished.
    Finished,
    /// The stream has failed.
    Stream(StreamError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("written to after it was finished"),
            Self::Stream(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for WriteError {}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Finished => io::ErrorKind::BrokenPipe,
            WriteError::Stream(error) => drywire_system::stream_error_kind(error),
        };
        Self::new(kind, error)
    }
}

/// Why a name was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError {
    /// Somebody accepts this name already.
    AlreadyRegistered(ProtocolName),
    /// Limit: names accepted by this node.
    TooManyNames,
    /// The host has shut down.
    HostClosed,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered(name) => write!(f, "{name} is accepted already"),
            Self::TooManyNames => f.write_str("too many protocol names are accepted"),
            Self::HostClosed => f.write_str("the host has shut down"),
        }
    }
}

impl core::error::Error for AcceptError {}

/// Why a host does not listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// The swarm refused.
    Refused(swarm::ListenError),
    /// The operating system refused, or there is no transport for the address.
    Transport(TransportError),
    /// The host has shut down.
    HostClosed,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => fmt::Display::fmt(error, f),
            Self::Transport(error) => fmt::Display::fmt(error, f),
            Self::HostClosed => f.write_str("the host has shut down"),
        }
    }
}

impl core::error::Error for ListenError {}
