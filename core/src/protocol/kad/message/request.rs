//! Requests: each function appends one message to `out`, without the length in front.
//!
//! All of them set the cluster level that rust-libp2p sets, which nobody uses.

use super::{
    CLUSTER_LEVEL, ConnectionType, KEY, MessageType, PROVIDER_PEERS, RECORD, TYPE, peer, record,
};
use crate::{identity::PeerId, protocol::kad::Record, time::UnixTime, wire::protobuf::Writer};
use alloc::vec::Vec;

/// Coral's level 9, plus one so that it is not 0.
const LEVEL: u64 = 10;

/// Asks for the peers closest to the position of `key`: a peer id's bytes, if it is a peer that is looked for.
pub fn find_node(out: &mut Vec<u8>, key: &[u8]) {
    with_key(out, MessageType::FindNode, key).uint64(CLUSTER_LEVEL, LEVEL);
}

/// Asks for the record under `key`.
pub fn get_value(out: &mut Vec<u8>, key: &[u8]) {
    with_key(out, MessageType::GetValue, key).uint64(CLUSTER_LEVEL, LEVEL);
}

/// Asks for the providers of what `key` names.
pub fn get_providers(out: &mut Vec<u8>, key: &[u8]) {
    with_key(out, MessageType::GetProviders, key).uint64(CLUSTER_LEVEL, LEVEL);
}

/// Asks to keep a record. The message has its key, too: go-libp2p-kad-dht compares both.
///
/// When the record expires is told in seconds from `now` on, and `publisher` if there is one (the record's own is never):
/// fields of rust-libp2p, unknown to others and so passed over by them. An expired record is sent as one with a second
/// left.
pub fn put_value(out: &mut Vec<u8>, record: &Record, now: UnixTime, publisher: Option<&PeerId>) {
    with_key(out, MessageType::PutValue, record.key.as_bytes())
        .message(RECORD, |out| record::write(out, record, now, publisher))
        .uint64(CLUSTER_LEVEL, LEVEL);
}

/// Tells that `peer`, which must be the sender, provides what `key` names, and where it may be reached: at most
/// [`MAX_ADDRESSES`](super::MAX_ADDRESSES), in at most [`MAX_PEER_BYTES`](super::MAX_PEER_BYTES), the first ones.
pub fn add_provider<A: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    key: &[u8],
    peer: &PeerId,
    addresses: impl IntoIterator<Item = A>,
) {
    let mut message = with_key(out, MessageType::AddProvider, key);
    let (number, connection) = (PROVIDER_PEERS, ConnectionType::Connected);
    peer::write(
        &mut message,
        number,
        peer,
        addresses,
        connection,
        usize::MAX,
    );
    message.uint64(CLUSTER_LEVEL, LEVEL);
}

/// Asks for an answer.
pub fn ping(out: &mut Vec<u8>) {
    with_key(out, MessageType::Ping, &[]).uint64(CLUSTER_LEVEL, LEVEL);
}

pub(super) fn with_key<'a>(out: &'a mut Vec<u8>, kind: MessageType, key: &[u8]) -> Writer<'a> {
    let mut message = Writer::new(out);
    if kind != MessageType::PutValue {
        message.uint64(TYPE, kind as u64);
    }
    if !key.is_empty() {
        message.bytes(KEY, key);
    }
    message
}
