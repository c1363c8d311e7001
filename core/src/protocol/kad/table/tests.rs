use super::*;
use alloc::{format, vec};

const START: Instant = Instant::from_nanos(1_000_000_000);

fn peer(number: u32) -> PeerId {
    let mut bytes = vec![0x12, 32];
    bytes.extend_from_slice(&[0; 28]);
    bytes.extend_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

fn address(number: u8) -> Multiaddr {
    format!("/ip4/192.0.2.{number}/tcp/4001").parse().unwrap()
}

#[test]
fn the_entry_is_no_more_than_256_bytes() {
    assert!(size_of::<Entry>() <= 256, "{}", size_of::<Entry>());
    assert!(size_of::<RoutingTable>() <= 1024);
}

#[test]
fn an_inserted_peer_is_found() {
    let mut table = RoutingTable::new(Key::of(b"own"), TableConfig::default());
    for number in 0..100 {
        let _ = table.insert(START, peer(number), [address(1)], Status::Disconnected);
    }
    assert_eq!(table.closest(&Key::of(b"x")).count(), table.len());
    assert!(table.contains(&peer(0)));
    assert_eq!(
        table.remove(&peer(0)).map(|entry| *entry.peer()),
        Some(peer(0))
    );
    assert!(!table.contains(&peer(0)));
}
