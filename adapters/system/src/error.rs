//! Errors of the operating system.

use drywire::{connection::StreamError, swarm::TransportError};
use std::io;

/// An operating system's error as the value the swarm understands.
#[must_use]
pub fn transport_error(error: &io::Error) -> TransportError {
    use io::ErrorKind as Kind;
    // Running out of descriptors has no kind of its own: EMFILE is 24 and ENFILE 23 on every Unix, 10024 on Windows.
    if cfg!(any(unix, windows)) && matches!(error.raw_os_error(), Some(23 | 24 | 10024)) {
        return TransportError::OutOfDescriptors;
    }
    match error.kind() {
        Kind::ConnectionRefused => TransportError::Refused,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            TransportError::Unreachable
        }
        Kind::TimedOut => TransportError::TimedOut,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => TransportError::Reset,
        Kind::AddrInUse => TransportError::AddressInUse,
        Kind::AddrNotAvailable => TransportError::AddressNotAvailable,
        Kind::PermissionDenied => TransportError::PermissionDenied,
        Kind::NotFound => TransportError::NameNotFound,
        Kind::Unsupported => TransportError::Unsupported,
        _ => TransportError::Other(error.to_string()),
    }
}

/// Whether an error of accepting concerns the peer that was to be accepted, and nobody else: the listener goes on at once.
#[must_use]
pub fn is_peers_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// The kind of [`io::Error`] as which an error of a stream shows to those who read and write it as a file.
#[must_use]
pub const fn stream_error_kind(error: &StreamError) -> io::ErrorKind {
    match error {
        StreamError::UnsupportedProtocol => io::ErrorKind::Unsupported,
        StreamError::NegotiationTimeout => io::ErrorKind::TimedOut,
        StreamError::Truncated => io::ErrorKind::UnexpectedEof,
        StreamError::MessageTooLong | StreamError::BadFrame | StreamError::Negotiation(_) => {
            io::ErrorKind::InvalidData
        }
        StreamError::ResourceLimitExceeded => io::ErrorKind::OutOfMemory,
        StreamError::Connection(_) => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::ConnectionReset,
    }
}
