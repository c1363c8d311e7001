//! What this node says of itself.

use super::{
    Config, Event,
    message::{
        AGENT_VERSION, LISTEN_ADDRESSES, MAX_PROTOCOLS, MAX_VERSION, OBSERVED_ADDRESS,
        PROTOCOL_VERSION, PROTOCOLS, PUBLIC_KEY, SIGNED_PEER_RECORD,
    },
};
use crate::{
    connection::ConnectedPoint, multiaddr::Multiaddr, record::PeerRecord, swarm::Context,
    wire::protobuf::Writer,
};
use alloc::vec::Vec;
use bytes::Bytes;

/// The longest message sent, in bytes: what every implementation reads.
pub(super) const MAX_MESSAGE: usize = 4096;

/// What a signed record takes besides its addresses: at most two keys of 91 bytes, a signature of 72, and headers.
const RECORD_OVERHEAD: usize = 320;

/// Addresses told at most.
const MAX_ADDRESSES: usize = 32;

/// A record, and of what it was made.
#[derive(Debug)]
struct Record {
    addresses: Vec<Multiaddr>,
    sealed: Vec<u8>,
}

/// Counts changes, and keeps the signed records, which are costly.
#[derive(Debug, Default)]
pub(super) struct Local {
    version: u64,
    /// The records as told on loopback connections, and on others.
    records: [Option<Record>; 2],
    /// The number of the newest record.
    sequence: u64,
}

impl Local {
    /// Counts what could be told: a peer that was told under a lower number does not know it all.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) const fn changed(&mut self) {
        self.version = self.version.saturating_add(1);
    }

    /// The message for the peer at the other end of `point`, at most [`MAX_MESSAGE`] bytes. Addresses get half of the
    /// room, and what protocols leave of theirs; the last ones of both are left out where there is too much.
    pub(super) fn message(
        &mut self,
        config: &Config,
        point: &ConnectedPoint,
        cx: &Context<'_, Event>,
    ) -> Bytes {
        let fixed = write(config, point, cx, &[], 0, &[]).len();
        let room = MAX_MESSAGE
            .saturating_sub(fixed)
            .saturating_sub(RECORD_OVERHEAD);
        let names = || {
            cx.protocols()
                .take(MAX_PROTOCOLS)
                .map(|name| field_len(name.as_str().len()))
        };
        let for_addresses = room.saturating_sub(names().sum()).max(room / 2);
        let mut addresses = own_addresses(config, point, cx);
        // Each is told twice, in the record with one more header.
        let costs = addresses.iter().map(|address| {
            let told = field_len(address.as_bytes().len());
            told.saturating_add(field_len(told))
        });
        let (count, used) = fit(costs, for_addresses);
        addresses.truncate(count);
        let (protocols, _) = fit(names(), room.saturating_sub(used));
        let record = self.record(point, &addresses, cx);
        write(config, point, cx, &addresses, protocols, record).into()
    }

    /// The signed record of these addresses; made anew only if they are others than before.
    fn record(
        &mut self,
        point: &ConnectedPoint,
        addresses: &[Multiaddr],
        cx: &Context<'_, Event>,
    ) -> &[u8] {
        let place = usize::from(point.remote.is_loopback());
        let sequence = cx.unix().as_nanos().max(self.sequence.saturating_add(1));
        let [other, loopback] = &mut self.records;
        let kept = if place == 0 { other } else { loopback };
        let current = kept
            .as_ref()
            .is_some_and(|record| record.addresses == addresses);
        if !current {
            self.sequence = sequence;
            let sealed = PeerRecord::seal(cx.keypair(), sequence, addresses).unwrap_or_default();
            *kept = Some(Record {
                addresses: addresses.to_vec(),
                sealed,
            });
        }
        kept.as_ref().map_or(&[], |record| &record.sealed)
    }
}

/// How many of the first items fit into `room`, and what they take of it.
fn fit(costs: impl Iterator<Item = usize>, room: usize) -> (usize, usize) {
    let mut used = 0usize;
    let mut count = 0usize;
    for cost in costs {
        let after = used.saturating_add(cost);
        if after > room {
            break;
        }
        (used, count) = (after, count.saturating_add(1));
    }
    (count, used)
}

/// Bytes of a field whose value has `len` bytes: both are below 2^14.
const fn field_len(len: usize) -> usize {
    len.saturating_add(3)
}

fn own_addresses(
    config: &Config,
    point: &ConnectedPoint,
    cx: &Context<'_, Event>,
) -> Vec<Multiaddr> {
    let listening = cx
        .listen_addresses()
        .iter()
        .filter(|_| !config.hide_listen_addresses);
    let mut addresses: Vec<Multiaddr> = Vec::new();
    for address in cx.external_addresses().iter().chain(listening) {
        let hidden = address.is_loopback() && !point.remote.is_loopback();
        if !hidden && !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    // What can be reached from outside is of most use, and goes last when there is too much.
    addresses.sort_by_key(|address| !address.is_global());
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn write(
    config: &Config,
    point: &ConnectedPoint,
    cx: &Context<'_, Event>,
    addresses: &[Multiaddr],
    protocols: usize,
    record: &[u8],
) -> Vec<u8> {
    let mut message = Vec::with_capacity(1024);
    let mut writer = Writer::new(&mut message);
    writer.bytes(PUBLIC_KEY, &cx.keypair().public().to_protobuf());
    for address in addresses {
        writer.bytes(LISTEN_ADDRESSES, address.as_bytes());
    }
    for name in cx.protocols().take(protocols) {
        writer.string(PROTOCOLS, name.as_str());
    }
    writer.bytes(OBSERVED_ADDRESS, point.remote.as_bytes());
    writer.string(PROTOCOL_VERSION, clipped(&config.protocol_version));
    writer.string(AGENT_VERSION, clipped(&config.agent_version));
    if !record.is_empty() {
        writer.bytes(SIGNED_PEER_RECORD, record);
    }
    message
}

/// At most [`MAX_VERSION`] bytes of a text.
fn clipped(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_VERSION))
        .unwrap_or_default()
}
