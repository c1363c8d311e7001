//! What an operating system would say.

use core::fmt;
use drywire::swarm::TransportError;
use std::io;

/// How connecting, listening, reading or writing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NetworkError {
    /// Nobody listens there.
    Refused,
    /// There is no such host.
    Unreachable,
    /// Nothing was heard for too long.
    TimedOut,
    /// The pipe was reset.
    Reset,
    /// Written to after it was shut down.
    BrokenPipe,
    /// The port is in use.
    AddressInUse,
    /// The address is not this host's.
    AddressNotAvailable,
    /// The host has no file descriptors left.
    OutOfDescriptors,
    /// There is no such pipe, listener or socket (any more).
    Closed,
}

impl From<NetworkError> for TransportError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Refused => Self::Refused,
            NetworkError::Unreachable => Self::Unreachable,
            NetworkError::TimedOut => Self::TimedOut,
            NetworkError::Reset => Self::Reset,
            NetworkError::AddressInUse => Self::AddressInUse,
            NetworkError::AddressNotAvailable => Self::AddressNotAvailable,
            NetworkError::OutOfDescriptors => Self::OutOfDescriptors,
            NetworkError::BrokenPipe | NetworkError::Closed => Self::Other(error.to_string()),
        }
    }
}

impl From<NetworkError> for io::Error {
    fn from(error: NetworkError) -> Self {
        let kind = match error {
            NetworkError::Refused => io::ErrorKind::ConnectionRefused,
            NetworkError::Unreachable => io::ErrorKind::HostUnreachable,
            NetworkError::TimedOut => io::ErrorKind::TimedOut,
            NetworkError::Reset => io::ErrorKind::ConnectionReset,
            NetworkError::BrokenPipe => io::ErrorKind::BrokenPipe,
            NetworkError::AddressInUse => io::ErrorKind::AddrInUse,
            NetworkError::AddressNotAvailable => io::ErrorKind::AddrNotAvailable,
            // EMFILE of the common platforms, which hosts look for.
            NetworkError::OutOfDescriptors => return Self::from_raw_os_error(24),
            NetworkError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "host unreachable",
            Self::TimedOut => "timed out",
            Self::Reset => "connection reset",
            Self::BrokenPipe => "broken pipe",
            Self::AddressInUse => "address in use",
            Self::AddressNotAvailable => "address not available",
            Self::OutOfDescriptors => "out of file descriptors",
            Self::Closed => "closed",
        })
    }
}

impl core::error::Error for NetworkError {}
