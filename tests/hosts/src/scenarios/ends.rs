//! The end of a node.

use super::{ECHO, Pair, pattern, until};
use crate::node::{Incoming as _, Node as _, Place};
use drywire::multistream::ProtocolName;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, future::join_all};

const SINK: ProtocolName = ProtocolName::from_static("/suite/sink/1.0.0");

/// What was written and finished before arrives, although the writer has gone and the reader comes late.
pub async fn shutting_down_delivers_what_was_finished<L: Place>(place: L) {
    let pair = Pair::new(&place).await;
    let mut incoming = pair.server.accept(SINK).await.unwrap();
    let mut stream = pair.client.open(pair.peer(), SINK).await.unwrap();
    let data = pattern(1, 150_000);
    stream.write_all(&data).await.unwrap();
    stream.close().await.unwrap();
    let (_, mut theirs) = incoming.next().await.unwrap();
    pair.client.shutdown().await;
    drop(stream);
    until(&place, "the connection is gone", || async {
        pair.server.connections().await == 0
    })
    .await;
    // Piece by piece, and after the last of them the end.
    let (mut read, mut piece) = (Vec::new(), vec![0; 50_000]);
    for _ in 0..data.len() {
        let count = theirs.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        read.extend_from_slice(&piece[..count]);
        if read.len() + 20_000 > data.len() {
            place.sleep(core::time::Duration::from_millis(20)).await;
        }
    }
    assert!(read == data, "{}", read.len());
    assert_eq!(theirs.read(&mut piece).await.unwrap(), 0);
    pair.end().await;
}

/// Transfers and dials are under way: all of them end, and so does the node.
pub async fn shutting_down_in_the_middle_of_everything<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut tasks = Vec::new();
    for number in 0..10 {
        let (client, peer, address) = (pair.client.clone(), pair.peer(), pair.address.clone());
        let endless = async move {
            let Ok(mut stream) = client.open(peer, ECHO).await else {
                return;
            };
            let (data, mut back) = (pattern(number, 10_000), vec![0; 10_000]);
            while stream.write_all(&data).await.is_ok()
                && stream.read_exact(&mut back).await.is_ok()
            {
                assert!(data == back);
                let _ = client.dial(address.clone()).await;
            }
        };
        let (run, task) = endless.remote_handle();
        place.spawn(run);
        tasks.push(task);
    }
    place.sleep(core::time::Duration::from_millis(100)).await;
    pair.server.shutdown().await;
    join_all(tasks).await;
    assert!(pair.client.dial(pair.address.clone()).await.is_err());
    pair.client.shutdown().await;
}

/// A node whose thread is gone says no goodbye: its peers notice all the same, and nobody waits for ever, there or here.
pub async fn ending_at_once<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut incoming = pair.server.accept(SINK).await.unwrap();
    let (mut stream, data) = (pair.open().await, pattern(2, 10_000));
    stream.write_all(&data).await.unwrap();
    let mut back = vec![0; 10_000];
    stream.read_exact(&mut back).await.unwrap();
    assert!(back == data);
    place.kill(&pair.server);
    // What was read before was right; now there is an error or an end, and soon.
    while let Ok(1..) = stream.read(&mut back).await {}
    until(&place, "the client knows", || async {
        pair.client.connections().await == 0
    })
    .await;
    assert!(pair.client.dial(pair.address.clone()).await.is_err());
    assert!(incoming.next().await.is_none());
    assert!(pair.server.listen(super::anywhere()).await.is_err());
    drop((stream, incoming));

    // The other way round, and with another server.
    let server = place.node(crate::config());
    let address = server.listen(super::anywhere()).await.unwrap();
    pair.client.dial(address).await.unwrap();
    until(&place, "the server knows of the connection", || async {
        server.connections().await == 1
    })
    .await;
    place.kill(&pair.client);
    until(&place, "the server knows of the end", || async {
        server.connections().await == 0
    })
    .await;
    server.shutdown().await;
}

/// Nobody has shut it down, and its peer hears of the end all the same.
pub async fn a_dropped_node_ends_by_itself<L: Place>(place: L) {
    let Pair { client, server, .. } = Pair::new(&place).await;
    drop(client);
    until(&place, "the peer knows", || async {
        server.connections().await == 0
    })
    .await;
    drop(server);
}
