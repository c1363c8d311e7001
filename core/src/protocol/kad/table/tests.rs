//! The table against a plain model, and rule by rule.

mod model;
mod rules;

use super::*;
use std::{format, string::String, vec, vec::Vec};

const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn local() -> PeerId {
    peer(u16::MAX)
}

fn peer(number: u16) -> PeerId {
    let mut bytes = vec![0x12, 32];
    bytes.extend_from_slice(&[0; 30]);
    bytes.extend_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

fn address(text: impl Into<String>) -> Multiaddr {
    text.into().parse().unwrap()
}

/// An address in no group.
fn private(number: u8) -> Multiaddr {
    address(format!("/ip4/10.0.0.{number}/tcp/4001"))
}

fn table(config: TableConfig) -> RoutingTable {
    RoutingTable::new(Key::of_peer(&local()), config)
}

fn sized(bucket_size: usize) -> TableConfig {
    TableConfig {
        bucket_size: NonZeroUsize::new(bucket_size).unwrap(),
        ..TableConfig::default()
    }
}

/// Peers that belong in this bucket.
fn peers_of(bucket: u8) -> impl Iterator<Item = PeerId> {
    let all = (0..u16::MAX).map(peer);
    all.filter(move |peer| {
        Key::of_peer(&local()).distance(&Key::of_peer(peer)).ilog2() == Some(bucket)
    })
}

fn seconds(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}
