//! One connection to one peer.
//!
//! A [`Connection`] has two faces. Outside is the pipe: [`recv_buf`](Connection::recv_buf) and
//! [`handle_recv`](Connection::handle_recv) take what it delivers, [`poll_transmit`](Connection::poll_transmit) gives what
//! it must carry. Inside are the streams: [`open`](Connection::open), [`stream`](Connection::stream) and the
//! [`Event`]s. Beside them runs the conversation with the swarm, as opaque messages the host carries.
//!
//! # Phases
//!
//! | phase | what may happen | leaves it |
//! |---|---|---|
//! | upgrading | security is negotiated and the handshake runs, under one deadline | secured; any error; the deadline |
//! | awaiting admission | the peer is known; at most 16 KiB wait unprocessed | `Admit`, `Refuse`, the deadline |
//! | established | streams | `close`, idle for too long, GoAway with the last stream gone, a violation, the pipe's end |
//! | closing | finished streams' bytes, then GoAway, within the closing deadline | all sent; the deadline; the pipe's end |
//! | closed | nothing is sent or received; what had arrived can still be read | |
//!
//! # A host's turn
//!
//! Append what the pipe has to `recv_buf` (while it gives a buffer), `handle_recv`, drain `poll_event` and `poll_message`,
//! let the application act, `poll_transmit` and write; then sleep until the pipe is readable (while `recv_buf` gives a
//! buffer), writable (if `wants_transmit`), or `poll_timeout` has come.
//!
//! Who asked for a buffer and found nothing to append calls `handle_recv` all the same: then the buffer is taken back
//! when nothing comes. In detail, with code, this is in [`node`](crate::node#embedding).

#[macro_use]
mod tap;

mod admission;
mod clock;
mod closing;
#[cfg(feature = "recording")]
mod codec;
mod commands;
mod config;
mod delivery;
mod error;
mod event;
mod id;
mod lease;
mod machine;
mod message;
mod receiving;
#[cfg(feature = "recording")]
pub(crate) mod recorded;
#[cfg(feature = "recording")]
pub(crate) mod recorder;
mod stream;
mod streams;
mod table;
mod upgrade;

pub use crate::mux::code;
#[cfg(feature = "recording")]
pub(crate) use codec::Secret;
pub use config::{Config, ConnectedPoint, ConnectionStart, Direction, Security};
pub use error::{ConnectionError, OpenError, StreamError};
pub use event::Event;
pub use id::{ConnectionId, StreamId};
pub use machine::{Connection, Transmit};
pub(crate) use message::{
    BYTES_AT_ONCE, COMMANDS_AT_ONCE, ENDS_AT_ONCE, SecuredPeer, ToConnectionMessage, ToSwarmMessage,
};
pub use message::{StreamEnd, ToConnection, ToSwarm};
#[cfg(feature = "recording")]
pub(crate) use recorder::{Digest, Machine, SharedRecorder, Tap};
pub use stream::{ReadError, Stream, WriteError};
pub use streams::OpenOptions;
pub use table::{Accept, InboundEntry, InboundTable, Slot, StreamKind, StreamOwner};
pub(crate) use tap::when_recorded;
