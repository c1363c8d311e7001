//! Protocols of the core over the host.

use super::{Pair, anywhere, pattern};
use crate::{
    node::{Node as _, Place},
    protocols::config,
};
use bytes::Bytes;
use futures::future::join_all;

/// Small and large ones, one after the other and at once; and to a peer who is not there.
pub async fn requests_and_responses<L: Place>(place: L) {
    let pair = Pair::new(&place).await;
    let bodies = [0, 1, 1000, 500_000].map(|len| Bytes::from(pattern(3, len)));
    for body in &bodies {
        let response = pair.client.request(pair.peer(), body.clone()).await;
        assert!(response.unwrap() == *body);
    }
    let at_once = (0..50).map(|number| {
        let (from, to) = match number % 2 {
            0 => (&pair.client, pair.server.peer_id()),
            _ => (&pair.server, pair.client.peer_id()),
        };
        let body = Bytes::from(pattern(number, 2000));
        async move { from.request(to, body.clone()).await.unwrap() == body }
    });
    assert!(join_all(at_once).await.into_iter().all(|right| right));
    let stranger = place.node(config());
    let nobody = stranger.peer_id();
    assert!(pair.client.request(nobody, "?".into()).await.is_err());
    stranger.shutdown().await;
    pair.end().await;
}

/// Five nodes, each knowing the next: what one stores another finds.
pub async fn records_of_a_dht<L: Place>(place: L) {
    let nodes: Vec<_> = (0..5).map(|_| place.node(config())).collect();
    let listening = nodes.iter().map(|node| node.listen(anywhere()));
    let addresses: Vec<_> = join_all(listening).await;
    for (number, node) in nodes.iter().enumerate() {
        let next = (number + 1) % nodes.len();
        let address = addresses[next].clone().unwrap();
        node.add_to_table(nodes[next].peer_id(), address).await;
    }
    nodes[0].put("the key", "the value").await.unwrap();
    for node in &nodes {
        assert_eq!(node.get("the key").await.unwrap(), b"the value");
    }
    assert!(nodes[2].get("another key").await.is_err());
    join_all(nodes.iter().map(|node| node.shutdown())).await;
}
