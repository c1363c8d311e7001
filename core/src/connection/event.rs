//! What a connection tells its host.

use super::{
    error::{ConnectionError, StreamError},
    id::StreamId,
};
use crate::{identity::PeerId, multistream::ProtocolName};

/// What happened on a connection, about itself and the streams its host owns.
///
/// Each such stream ends with exactly one of [`Failed`](Self::Failed), [`Finished`](Self::Finished),
/// [`Reset`](Self::Reset) or the connection's own [`Closed`](Self::Closed), unless the host reset or released it before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// The peer was admitted by the swarm: streams may be opened. Precedes every event of a stream.
    Established {
        /// Who it is.
        peer: PeerId,
    },
    /// The peer agreed to a protocol on a stream this host opened.
    Opened {
        /// The stream.
        stream: StreamId,
        /// The agreed name.
        protocol: ProtocolName,
    },
    /// A stream this host opened could not be had. Release it.
    Failed {
        /// The stream.
        stream: StreamId,
        /// Why.
        error: StreamError,
    },
    /// The peer opened a stream for a name the host owns.
    Inbound {
        /// The stream.
        stream: StreamId,
        /// The agreed name.
        protocol: ProtocolName,
    },
    /// A protocol gave a stream to the host, with what was unread.
    HandedOver {
        /// The stream.
        stream: StreamId,
    },
    /// There is something to read, or the end: once after a read was [blocked](super::ReadError::Blocked), and once for
    /// the first that comes. Read until it is blocked again.
    Readable {
        /// The stream.
        stream: StreamId,
    },
    /// There is room to write: once after a write was [blocked](super::WriteError::Blocked). One that took less than
    /// all was not.
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// Both sides finished and everything was read, the end included; the stream is gone.
    Finished {
        /// The stream.
        stream: StreamId,
    },
    /// The stream was aborted. What had arrived can still be read. Release it.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        error: StreamError,
    },
    /// Streams can be opened again, after one was refused for too many.
    StreamsAvailable,
    /// The last event: the connection is over.
    Closed {
        /// Why.
        error: ConnectionError,
    },
}
