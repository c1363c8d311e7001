//! Finding where a peer may be reached.

use super::{
    config,
    village::{Village, address, peer},
};
use crate::protocol::kad::{
    Event, GetClosestPeersOk, PeerInfo, QueryId, QueryOptions, QueryResult,
};
use core::time::Duration;
use std::vec::Vec;

fn found(village: &mut Village, number: usize, query: QueryId) -> (Vec<PeerInfo>, u32) {
    match village.last(number, query) {
        Some(Event::OutboundQueryProgressed {
            result: QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })),
            stats,
            ..
        }) => (peers, stats.num_requests()),
        other => panic!("{other:?}"),
    }
}

/// Fails if the lookup goes on to its end.
#[test]
fn a_peer_is_found_as_soon_as_somebody_knows_it() {
    let mut village = Village::new(80, &config());
    village.populate();
    let (mut of_find, mut of_whole, mut by_hearsay) = (0, 0, 0);
    for number in 0..20 {
        let sought = peer(79 - number);
        let known = village.nodes[number].table().contains(&sought);
        let whole = village
            .run(number, |dht, at| {
                dht.get_closest_peers(at, sought.as_bytes(), QueryOptions::new())
            })
            .unwrap();
        village.run_for(Duration::from_secs(60));
        of_whole += found(&mut village, number, whole).1;
        let id = village
            .run(number, |dht, at| {
                dht.find_peer(at, sought, QueryOptions::new())
            })
            .unwrap();
        village.run_for(Duration::from_secs(60));
        let (peers, requests) = found(&mut village, number, id);
        of_find += requests;
        assert_eq!(peers[0].peer, sought);
        assert_eq!(peers[0].addresses, [address(79 - number)]);
        assert!(peers.iter().skip(1).all(|info| info.peer != sought), "once");
        by_hearsay += usize::from(!known);
    }
    assert!(of_find * 3 < of_whole * 2, "{of_find}, {of_whole}");
    assert!(by_hearsay > 0, "all of them were known before");
}

#[test]
fn a_peer_that_nobody_knows_is_not_found() {
    let mut village = Village::new(30, &config());
    village.populate();
    let stranger = peer(1000);
    let id = village
        .run(3, |dht, at| {
            dht.find_peer(at, stranger, QueryOptions::new())
        })
        .unwrap();
    village.run_for(Duration::from_secs(60));
    let (peers, _) = found(&mut village, 3, id);
    assert_eq!(peers.len(), 20);
    assert!(peers.iter().all(|info| info.peer != stranger));
}
