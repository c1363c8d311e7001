//! Peers in messages.

use super::{
    ConnectionType, MAX_ADDRESSES, MAX_PEER_BYTES, MAX_PEER_FIELDS, PEER_ADDRESSES,
    PEER_CONNECTION, PEER_ID,
};
use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::PeerInfo,
    wire::{
        protobuf::{Reader, Writer},
        varint,
    },
};
use core::iter::FusedIterator;

/// The peers in a message, in its order. See [`Message::closer_peers`](super::Message::closer_peers).
#[derive(Clone, Debug)]
pub struct Peers<'a> {
    fields: Reader<'a>,
    number: u32,
}

impl<'a> Peers<'a> {
    pub(super) const fn new(frame: &'a [u8], number: u32) -> Self {
        Self {
            fields: Reader::new(frame),
            number,
        }
    }
}

impl<'a> Iterator for Peers<'a> {
    type Item = PeerView<'a>;

    fn next(&mut self) -> Option<PeerView<'a>> {
        let number = self.number;
        self.fields.find_map(|field| {
            let field = field.ok().filter(|field| field.number == number)?;
            PeerView::decode(field.as_bytes().ok()?)
        })
    }
}

impl FusedIterator for Peers<'_> {}

/// A peer in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerView<'a> {
    /// Who.
    pub peer: PeerId,
    /// What the sender says of its connection to the peer.
    pub connection: ConnectionType,
    message: &'a [u8],
}

impl<'a> PeerView<'a> {
    /// `None` without a valid id, with an unknown kind of connection, and above [`MAX_PEER_FIELDS`].
    fn decode(message: &'a [u8]) -> Option<Self> {
        let (mut peer, mut connection) = (None, 0);
        for (count, field) in Reader::new(message).enumerate() {
            let field = field.ok().filter(|_| count < MAX_PEER_FIELDS)?;
            match field.number {
                PEER_ID => peer = Some(field.as_bytes().ok()?),
                PEER_ADDRESSES => drop(field.as_bytes().ok()?),
                PEER_CONNECTION => connection = field.as_i32().ok()?,
                _ => {}
            }
        }
        Some(Self {
            peer: PeerId::from_bytes(peer?).ok()?,
            connection: ConnectionType::from_wire(connection)?,
            message,
        })
    }

    /// Its addresses as binary multiaddresses, all valid, at most [`MAX_ADDRESSES`] of those that are in the first
    /// [`MAX_PEER_BYTES`].
    ///
    /// What is no address, is longer than [`Multiaddr::MAX_LEN`] or ends with the id of another peer is passed over. The
    /// peer's own id at the end is cut off.
    #[must_use]
    pub const fn addresses(&self) -> Addresses<'a> {
        Addresses {
            fields: Reader::new(self.message),
            peer: self.peer,
            room: None,
            left: MAX_ADDRESSES,
        }
    }

    /// A copy of it.
    #[must_use]
    pub fn to_info(&self) -> PeerInfo {
        let addresses = self.addresses();
        PeerInfo {
            peer: self.peer,
            addresses: addresses
                .filter_map(|address| Multiaddr::from_bytes(address).ok())
                .collect(),
        }
    }
}

/// The addresses of a peer in a message. See [`PeerView::addresses`].
#[derive(Clone, Debug)]
pub struct Addresses<'a> {
    fields: Reader<'a>,
    peer: PeerId,
    /// `None` before the first.
    room: Option<usize>,
    left: usize,
}

impl<'a> Iterator for Addresses<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let left = self.left.checked_sub(1)?;
        let mut room = self.room.unwrap_or_else(|| room_for_addresses(&self.peer));
        for field in self.fields.by_ref() {
            let Ok(field) = field else { break };
            let Some(address) = field
                .as_bytes()
                .ok()
                .filter(|_| field.number == PEER_ADDRESSES)
            else {
                continue;
            };
            let Some(after) = room.checked_sub(field_len(address.len())) else {
                break;
            };
            room = after;
            if let Some(address) = without_peer_id(address, &self.peer) {
                (self.left, self.room) = (left, Some(room));
                return Some(address);
            }
        }
        self.left = 0;
        None
    }
}

impl FusedIterator for Addresses<'_> {}

/// An address without `peer` at its end. `None` if it is none, leads to another peer, or says nothing but peers.
fn without_peer_id<'a>(bytes: &'a [u8], peer: &PeerId) -> Option<&'a [u8]> {
    let rest = match Multiaddr::split_peer_id(bytes).ok()? {
        (address, None) => return Some(address),
        (rest, Some(named)) if named == *peer => rest,
        (_, Some(_)) => return None,
    };
    matches!(Multiaddr::split_peer_id(rest), Ok((_, None))).then_some(rest)
}

/// How many bytes of addresses, as fields, a peer's message may have.
fn room_for_addresses(peer: &PeerId) -> usize {
    MAX_PEER_BYTES.saturating_sub(base_len(peer))
}

/// The length of a peer's message without addresses.
fn base_len(peer: &PeerId) -> usize {
    // The kind of connection takes two bytes, and none if it is 0; the limits do not depend on it.
    field_len(peer.as_bytes().len()).saturating_add(2)
}

/// The length of a bytes field with a number below 16.
pub(super) fn field_len(len: usize) -> usize {
    varint::encoded_len(len as u64)
        .saturating_add(1)
        .saturating_add(len)
}

/// What a peer without addresses takes.
pub(super) fn least_len(peer: &PeerId) -> usize {
    field_len(base_len(peer))
}

/// Appends a peer as a field to a message, in at most `budget` bytes. Where the addresses do not all fit, the first ones
/// are taken. Returns false, and appends nothing, if not even the id fits.
pub(super) fn write<A: AsRef<[u8]>>(
    out: &mut Writer<'_>,
    number: u32,
    peer: &PeerId,
    addresses: impl IntoIterator<Item = A>,
    connection: ConnectionType,
    budget: usize,
) -> bool {
    let mut len = base_len(peer);
    if field_len(len) > budget {
        return false;
    }
    out.message(number, |out| {
        out.bytes(PEER_ID, peer.as_bytes());
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let address = address.as_ref();
            len = len.saturating_add(field_len(address.len()));
            if len > MAX_PEER_BYTES || field_len(len) > budget {
                break;
            }
            out.bytes(PEER_ADDRESSES, address);
        }
        if connection != ConnectionType::NotConnected {
            out.uint64(PEER_CONNECTION, connection as u64);
        }
    });
    true
}
