//! Responses.

use super::{
    CLOSER_PEERS, ConnectionType, MessageType, PROVIDER_PEERS, RECORD, peer, record, request,
};
use crate::{identity::PeerId, protocol::kad::Record, time::UnixTime, wire::protobuf::Writer};
use alloc::vec::Vec;

/// Appends a response to a buffer, part by part, until a number of bytes is reached. The length in front is not part of
/// it. Nothing is allocated beyond what the buffer grows.
///
/// See the [module](super) for an example.
#[derive(Debug)]
pub struct ResponseWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    budget: usize,
    /// Peers that are still to come, this one included.
    expected: usize,
}

impl<'a> ResponseWriter<'a> {
    /// A response to a request of this type and key, in at most `budget` bytes. The type and the key are written in any
    /// case.
    ///
    /// The key is told where go-libp2p-kad-dht does: not in answers to [`MessageType::FindNode`] and
    /// [`MessageType::Ping`]. rust-libp2p does only for [`MessageType::PutValue`]; nobody needs it.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, budget: usize, kind: MessageType, key: &[u8]) -> Self {
        let start = out.len();
        let key = match kind {
            MessageType::FindNode | MessageType::Ping => &[],
            _ => key,
        };
        request::with_key(out, kind, key);
        Self {
            out,
            start,
            budget,
            expected: 1,
        }
    }

    /// From now on the response may have so many bytes in all.
    pub const fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// So many peers follow: each gets its share of what is left, so that the addresses of the first leave room for all.
    pub const fn expect_peers(&mut self, count: usize) {
        self.expected = count;
    }

    /// About so many bytes follow: the buffer grows once for all of them, as far as they are in the budget.
    pub fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes.min(self.remaining()));
    }

    /// How many bytes may still be added.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        let written = self.out.len().saturating_sub(self.start);
        self.budget.saturating_sub(written)
    }

    /// Adds the record found or, for [`MessageType::PutValue`], taken; what is told of it is as in
    /// [`put_value`](request::put_value). Returns false, and adds nothing, if it does not fit. Call it once.
    pub fn record(&mut self, record: &Record, now: UnixTime, publisher: Option<&PeerId>) -> bool {
        // First what can be told without writing: a value may be long.
        if record.value.len() > self.remaining() {
            return false;
        }
        let before = self.out.len();
        Writer::new(self.out).message(RECORD, |out| record::write(out, record, now, publisher));
        let fits = self.out.len().saturating_sub(self.start) <= self.budget;
        if !fits {
            self.out.truncate(before);
        }
        fits
    }

    /// Adds a peer that is closer to the key, with the first of its addresses that fit: at most
    /// [`MAX_ADDRESSES`](super::MAX_ADDRESSES), in at most [`MAX_PEER_BYTES`](super::MAX_PEER_BYTES). They are binary
    /// multiaddresses, without the peer's id at the end. Returns false, and adds nothing, if not even the id fits.
    pub fn closer_peer<A: AsRef<[u8]>>(
        &mut self,
        peer: &PeerId,
        addresses: impl IntoIterator<Item = A>,
        connection: ConnectionType,
    ) -> bool {
        self.peer(CLOSER_PEERS, peer, addresses, connection)
    }

    /// Adds a provider, as [`closer_peer`](Self::closer_peer) does.
    pub fn provider_peer<A: AsRef<[u8]>>(
        &mut self,
        peer: &PeerId,
        addresses: impl IntoIterator<Item = A>,
        connection: ConnectionType,
    ) -> bool {
        self.peer(PROVIDER_PEERS, peer, addresses, connection)
    }

    fn peer<A: AsRef<[u8]>>(
        &mut self,
        number: u32,
        peer: &PeerId,
        addresses: impl IntoIterator<Item = A>,
        connection: ConnectionType,
    ) -> bool {
        let room = self.remaining();
        let share = room.checked_div(self.expected).unwrap_or(room);
        self.expected = self.expected.saturating_sub(1).max(1);
        // The id at least, if there is room for that.
        let share = share.max(peer::least_len(peer)).min(room);
        let mut out = Writer::new(self.out);
        peer::write(&mut out, number, peer, addresses, connection, share)
    }
}
