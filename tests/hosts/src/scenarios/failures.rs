//! What goes wrong outside.

use super::{ECHO, Pair, anywhere, exchange, pattern, serve_echo, until};
use crate::{
    node::{Node as _, Place},
    protocols::config,
};
use core::time::Duration;
use drywire::multiaddr::Multiaddr;
use futures::future::join_all;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};

/// Two cannot listen at one place; the second is told, and the first goes on.
pub async fn no_listener_where_there_is_one<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let second = place.node(config());
    assert!(second.listen(pair.address.clone()).await.is_err());
    let nowhere: Multiaddr = "/ip4/127.0.0.1/udp/1".parse().unwrap();
    assert!(second.listen(nowhere).await.is_err());
    let bound = second.listen(anywhere()).await.unwrap();
    assert_ne!(bound, pair.address);
    let data = pattern(1, 1000);
    let stream = pair.open().await;
    assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    second.shutdown().await;
    pair.end().await;
}

/// A process that has no descriptors left cannot accept. It says so, rests, and accepts when it can: who waits is not lost.
pub async fn accepting_goes_on_after_failures<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    place.trouble().fail_accepts(3);
    let newcomer = place.node(config());
    // The socket is connected by the operating system before it is accepted.
    let peer = newcomer.dial(pair.address.clone()).await.unwrap();
    until(&place, "three failures are told", || async {
        pair.server.accept_failures().await == 3
    })
    .await;
    let stream = newcomer.open(peer, ECHO).await.unwrap();
    let data = pattern(2, 1000);
    assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    newcomer.shutdown().await;
    pair.end().await;
}

/// Many dials at once, to one peer and to nobody: each has its answer, and what is left is a few connections.
pub async fn dial_storms<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let gone = place.node(config());
    let nobody = gone.listen(anywhere()).await.unwrap();
    gone.shutdown().await;
    let dials = (0..100).map(|number| {
        let (client, to) = (&pair.client, &pair.address);
        let nobody = nobody.clone();
        async move {
            match number % 2 {
                0 => client.dial(to.clone()).await.is_ok(),
                _ => client.dial(nobody).await.is_err(),
            }
        }
    });
    let right = join_all(dials).await.into_iter().filter(|right| *right);
    // Beyond what may be dialed at once, some are refused.
    assert!(right.count() >= 80);
    let clients: Vec<_> = (0..20).map(|_| place.node(config())).collect();
    let storms = clients.iter().map(|client| async {
        let peer = client.dial(pair.address.clone()).await.unwrap();
        let stream = client.open(peer, ECHO).await.unwrap();
        let data = pattern(1, 100);
        assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    });
    join_all(storms).await;
    join_all(clients.iter().map(|client| client.shutdown())).await;
    until(&place, "only the first is left", || async {
        pair.server.connections().await <= pair.client.connections().await
    })
    .await;
    assert!(pair.client.connections().await <= 8);
    pair.end().await;
}

/// A listener that never asks who came: connecting to it succeeds, and then nothing happens. Whoever dials it is told in time, and
/// is served once it asks.
pub async fn a_listener_that_does_not_accept<L: Place>(place: L) {
    let mut impatient = config();
    impatient.connection.handshake_timeout = Duration::from_millis(300);
    let server = place.node(config());
    let address = server.listen(anywhere()).await.unwrap();
    serve_echo(&place, &server).await;
    let client = place.node(impatient);
    place.trouble().fail_accepts(usize::MAX);
    let late = client.dial(address.clone()).await;
    assert!(late.is_err(), "nobody has accepted it");
    place.trouble().fail_accepts(0);
    until(&place, "the server accepts again", || async {
        client.dial(address.clone()).await.is_ok()
    })
    .await;
    let stream = client.open(server.peer_id(), ECHO).await.unwrap();
    let data = pattern(5, 5000);
    assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    client.shutdown().await;
    server.shutdown().await;
}

/// Who connects and says nothing, or nonsense, or goes at once, is let go in time, and disturbs nobody. For hosts with sockets of
/// the operating system: nobody else can connect to a simulated one.
pub async fn peers_that_are_none<L: Place>(place: L) {
    let mut impatient = config();
    impatient.connection.handshake_timeout = Duration::from_millis(500);
    let server = place.node(impatient);
    let address = server.listen(anywhere()).await.unwrap();
    serve_echo(&place, &server).await;
    let (ip, port, _) = address.socket_addr().unwrap();
    let before = place.trouble().count();
    let connect = || TcpStream::connect((ip, port)).unwrap();
    let mut others = vec![connect(), connect(), connect()];
    // One says nothing. Another something else:
    others[1].write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // And one begins well.
    others[2]
        .write_all(b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff")
        .unwrap();
    drop(connect());
    let client = place.node(config());
    let peer = client.dial(address).await.unwrap();
    let stream = client.open(peer, ECHO).await.unwrap();
    let data = pattern(5, 5000);
    assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    client.shutdown().await;
    drop(client);
    until(&place, "they are let go", || async {
        place.trouble().count() <= before
    })
    .await;
    // They hear of it, too.
    for mut other in others {
        other
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut said = Vec::new();
        let end = other.read_to_end(&mut said);
        assert!(
            !matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock),
            "{end:?}"
        );
    }
    server.shutdown().await;
}

/// Sockets break anywhere: in handshakes, in the middle of messages. Every wait has an end, right or wrong; what comes is right as
/// far as it comes.
pub async fn errors_anywhere<L: Place>(place: L) {
    let server = place.node(config());
    let address = server.listen(anywhere()).await.unwrap();
    serve_echo(&place, &server).await;
    let (mut whole, mut broken) = (0, 0);
    for round in 0..40_u64 {
        // From the handshake's first bytes up to all of it.
        place.trouble().break_after(1 + round * round * 200);
        let client = place.node(config());
        let work = async {
            let peer = client.dial(address.clone()).await?;
            let stream = client.open(peer, ECHO).await?;
            let data = pattern(9, 60_000);
            let back = exchange(stream, data.clone()).await?;
            assert!(back == data);
            client.request(peer, "a request".into()).await
        };
        match super::within(&place, Duration::from_secs(60), work).await {
            Ok(_) => whole += 1,
            Err(_) => broken += 1,
        }
        client.shutdown().await;
    }
    assert!(whole > 0 && broken > 0, "{whole} whole, {broken} broken");
    place.trouble().break_after(0);
    // The server has survived all of that.
    let client = place.node(config());
    let peer = client.dial(address).await.unwrap();
    let stream = client.open(peer, ECHO).await.unwrap();
    let data = pattern(6, 5000);
    assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    client.shutdown().await;
    server.shutdown().await;
}
