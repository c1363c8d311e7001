//! Messages as they are on the wire
//! ([kad-dht specification](https://github.com/libp2p/specs/blob/master/kad-dht/README.md#rpc-messages)).
//!
//! A [`Message`] is a view: it borrows the frame, and reading it allocates nothing, however many peers it names. The
//! functions of [`request`] and a [`ResponseWriter`] append to a buffer, without the length in front, which is the
//! stream's business.
//!
//! ```
//! use drywire::protocol::kad::message::{ConnectionType, Message, MessageType, ResponseWriter, request};
//! # let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
//! # let address: drywire::multiaddr::Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse()?;
//!
//! let mut frame = Vec::new();
//! request::find_node(&mut frame, b"where");
//! let message = Message::decode(&frame)?;
//! assert_eq!((message.kind, message.key), (MessageType::FindNode, &b"where"[..]));
//!
//! let mut frame = Vec::new();
//! let mut response = ResponseWriter::new(&mut frame, 16 * 1024, MessageType::FindNode, b"where");
//! assert!(response.closer_peer(&peer, [&address], ConnectionType::Connected));
//! let closer = Message::decode(&frame)?.closer_peers().next().ok_or("none")?;
//! assert_eq!((closer.peer, closer.to_info().addresses), (peer, vec![address]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod peer;
mod record;
pub mod request;
mod response;

pub use peer::{Addresses, PeerView, Peers};
pub use record::RecordView;
pub use response::ResponseWriter;

use crate::wire::protobuf::{self, Reader};
use core::fmt;

const TYPE: u32 = 1;
const KEY: u32 = 2;
const RECORD: u32 = 3;
const CLOSER_PEERS: u32 = 8;
const PROVIDER_PEERS: u32 = 9;
const CLUSTER_LEVEL: u32 = 10;

const PEER_ID: u32 = 1;
const PEER_ADDRESSES: u32 = 2;
const PEER_CONNECTION: u32 = 3;

const RECORD_KEY: u32 = 1;
const RECORD_VALUE: u32 = 2;
const RECORD_TIME_RECEIVED: u32 = 5;
const RECORD_PUBLISHER: u32 = 666;
const RECORD_TTL: u32 = 777;

/// Closer peers a message may have: an honest one has some 20.
pub const MAX_CLOSER_PEERS: usize = 1024;
/// Provider peers a message may have. go-libp2p-kad-dht fills up to 4 MiB with them.
pub const MAX_PROVIDER_PEERS: usize = 16_384;
/// Other fields a message may have, unknown and repeated ones included.
pub const MAX_OTHER_FIELDS: usize = 256;
/// Fields a peer may have. One with more is passed over.
pub const MAX_PEER_FIELDS: usize = 1024;
/// Addresses read and written for each peer; the rest is passed over.
pub const MAX_ADDRESSES: usize = 32;
/// Bytes of a peer's message: of its addresses only those are read and written that fit in with the id. As in
/// go-libp2p-kad-dht.
pub const MAX_PEER_BYTES: usize = 8 * 1024;

/// What a message asks for, or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// Keep a record.
    PutValue = 0,
    /// The record under a key, and closer peers.
    GetValue = 1,
    /// Keep that the sender provides what a key names. There is no response.
    AddProvider = 2,
    /// Who provides what a key names, and closer peers.
    GetProviders = 3,
    /// The peers closest to a key.
    FindNode = 4,
    /// Nothing. Deprecated: there is a protocol of that name.
    Ping = 5,
}

impl MessageType {
    const fn from_wire(value: i32) -> Option<Self> {
        Some(match value {
            0 => Self::PutValue,
            1 => Self::GetValue,
            2 => Self::AddProvider,
            3 => Self::GetProviders,
            4 => Self::FindNode,
            5 => Self::Ping,
            _ => return None,
        })
    }
}

/// What the sender says of its connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ConnectionType {
    /// None now; nothing else is known.
    #[default]
    NotConnected = 0,
    /// There is one.
    Connected = 1,
    /// There was one recently.
    CanConnect = 2,
    /// Connecting failed recently, several times.
    CannotConnect = 3,
}

impl ConnectionType {
    const fn from_wire(value: i32) -> Option<Self> {
        Some(match value {
            0 => Self::NotConnected,
            1 => Self::Connected,
            2 => Self::CanConnect,
            3 => Self::CannotConnect,
            _ => return None,
        })
    }
}

/// The peer sent something that is no message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// Not a message of protocol buffers, or one of another schema.
    Malformed(protobuf::Error),
    /// A type that is not known.
    UnknownType(i32),
    /// More elements of one kind than any honest node sends.
    TooMany {
        /// How many are taken: [`MAX_CLOSER_PEERS`], [`MAX_PROVIDER_PEERS`] or [`MAX_OTHER_FIELDS`].
        max: usize,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed message: {error}"),
            Self::UnknownType(kind) => write!(f, "unknown message type {kind}"),
            Self::TooMany { max } => write!(f, "more than {max} elements of a kind"),
        }
    }
}

impl core::error::Error for MessageError {}

impl From<protobuf::Error> for MessageError {
    fn from(error: protobuf::Error) -> Self {
        Self::Malformed(error)
    }
}

/// A message, as a view of the frame it came in.
///
/// Fields it does not have are empty. Of fields that occur twice the last one counts, records are merged field by field,
/// as protocol buffers say. The lengths of key and value are for the caller to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// What it asks for, or answers.
    pub kind: MessageType,
    /// The key, of a record or provider record, or what the position looked for is the hash of. May be empty.
    pub key: &'a [u8],
    /// The record put or found.
    pub record: Option<RecordView<'a>>,
    frame: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a frame. Peers are looked at when they are asked for.
    ///
    /// # Errors
    ///
    /// [`MessageError`] tells what is wrong. The first element too many ends the reading.
    pub fn decode(frame: &'a [u8]) -> Result<Self, MessageError> {
        let (mut kind, mut key, mut record) = (0, &[][..], None);
        let mut closer = Countdown::from(MAX_CLOSER_PEERS);
        let mut providers = Countdown::from(MAX_PROVIDER_PEERS);
        let mut others = Countdown::from(MAX_OTHER_FIELDS);
        for field in Reader::new(frame) {
            let field = field?;
            match field.number {
                CLOSER_PEERS => closer.step()?,
                PROVIDER_PEERS => providers.step()?,
                _ => others.step()?,
            }
            match field.number {
                TYPE => kind = field.as_i32()?,
                KEY => key = field.as_bytes()?,
                RECORD => record
                    .get_or_insert_with(RecordView::default)
                    .merge(field.as_bytes()?, &mut others)?,
                CLOSER_PEERS | PROVIDER_PEERS => drop(field.as_bytes()?),
                _ => {}
            }
        }
        Ok(Self {
            kind: MessageType::from_wire(kind).ok_or(MessageError::UnknownType(kind))?,
            key,
            record,
            frame,
        })
    }

    /// The peers it names as closer to the key, without those that cannot be read.
    #[must_use]
    pub const fn closer_peers(&self) -> Peers<'a> {
        Peers::new(self.frame, CLOSER_PEERS)
    }

    /// The peers it names as providers, without those that cannot be read.
    #[must_use]
    pub const fn provider_peers(&self) -> Peers<'a> {
        Peers::new(self.frame, PROVIDER_PEERS)
    }
}

/// How many elements of a kind may still come.
struct Countdown {
    left: usize,
    max: usize,
}

impl Countdown {
    const fn from(max: usize) -> Self {
        Self { left: max, max }
    }

    fn step(&mut self) -> Result<(), MessageError> {
        let too_many = MessageError::TooMany { max: self.max };
        self.left = self.left.checked_sub(1).ok_or(too_many)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
