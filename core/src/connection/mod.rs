//! One connection to one peer.

mod config;
mod error;
mod id;
mod message;
mod table;

pub use config::{Config, ConnectedPoint, ConnectionStart, Direction, Security};
pub use error::{ConnectionError, OpenError, StreamError};
pub use crate::mux::code;
pub use id::{ConnectionId, StreamId};
pub use message::{StreamEnd, ToConnection, ToSwarm};
pub(crate) use message::{SecuredPeer, ToConnectionMessage, ToSwarmMessage};
pub use table::{Accept, InboundEntry, InboundTable, Slot, StreamKind, StreamOwner};
