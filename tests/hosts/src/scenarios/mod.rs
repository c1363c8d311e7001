//! What every host has to do.

mod ends;
mod failures;
mod protocols;
mod recordings;
mod streams;

pub use ends::{
    a_dropped_node_ends_by_itself, ending_at_once, shutting_down_delivers_what_was_finished,
    shutting_down_in_the_middle_of_everything,
};
pub use failures::{
    a_listener_that_does_not_accept, accepting_goes_on_after_failures, dial_storms,
    errors_anywhere, no_listener_where_there_is_one, peers_that_are_none,
};
pub use protocols::{records_of_a_dht, requests_and_responses};
pub use recordings::recordings_are_replayed;
pub use streams::{
    a_dropped_stream_is_reset, a_slow_reader_stops_its_writer_and_no_other, a_slow_writer,
    futures_cancelled_at_every_await, half_close, reset, thousand_streams,
    transfers_both_ways_at_once,
};

use crate::{
    node::{Failed, Incoming as _, Node, Place},
    protocols::config,
    trouble::PATIENCE,
};
use core::{future::Future, time::Duration};
use drywire::{identity::PeerId, multiaddr::Multiaddr, multistream::ProtocolName};
use futures::{
    AsyncReadExt as _, AsyncWriteExt as _,
    future::{Either, select},
};
use std::pin::pin;

/// Bytes back until the end.
pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/suite/echo/1.0.0");

/// The longest a scenario may take.
const LONGEST: Duration = Duration::from_secs(120);

/// Runs a scenario, and sees to it that nothing is left of it.
pub async fn run<L: Place>(place: L, scenario: impl Future<Output = ()>) {
    within(&place, LONGEST, scenario).await;
    let trouble = place.trouble().clone();
    for _ in 0..PATIENCE.as_millis() / 20 {
        if trouble.count() == 0 {
            return;
        }
        place.sleep(Duration::from_millis(20)).await;
    }
    panic!("still alive afterwards: {}", trouble.count());
}

/// Waits, but not for ever.
pub(crate) async fn within<L: Place, T>(
    place: &L,
    duration: Duration,
    future: impl Future<Output = T>,
) -> T {
    match select(pin!(future), pin!(place.sleep(duration))).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("it takes longer than {duration:?}"),
    }
}

/// Waits until something is so, but not for ever.
pub(crate) async fn until<L: Place, F: Future<Output = bool>>(
    place: &L,
    what: &str,
    mut is_so: impl FnMut() -> F,
) {
    for _ in 0..2000 {
        if is_so().await {
            return;
        }
        place.sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: it has not come to that");
}

pub(crate) fn anywhere() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A client, a server, and the server's address. They are connected.
pub(crate) struct Pair<N> {
    pub(crate) client: N,
    pub(crate) server: N,
    pub(crate) address: Multiaddr,
}

impl<N: Node> Pair<N> {
    pub(crate) async fn new<L: Place<Node = N>>(place: &L) -> Self {
        let (client, server) = (place.node(config()), place.node(config()));
        let address = server.listen(anywhere()).await.unwrap();
        let peer = client.dial(address.clone()).await.unwrap();
        assert_eq!(peer, server.peer_id());
        Self {
            client,
            server,
            address,
        }
    }

    pub(crate) async fn with_echo<L: Place<Node = N>>(place: &L) -> Self {
        let pair = Self::new(place).await;
        serve_echo(place, &pair.server).await;
        pair
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.server.peer_id()
    }

    pub(crate) async fn open(&self) -> N::Stream {
        self.client.open(self.peer(), ECHO).await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.client.shutdown().await;
        self.server.shutdown().await;
    }
}

/// Sends everything back. Its tasks are counted among what is alive.
pub(crate) async fn serve_echo<L: Place>(place: &L, node: &L::Node) {
    let (mut incoming, spawning) = (node.accept(ECHO).await.unwrap(), place.clone());
    let alive = place.trouble().alive();
    place.spawn(async move {
        let _alive = alive;
        while let Some((_, mut stream)) = incoming.next().await {
            spawning.spawn(async move {
                let mut buffer = vec![0; 8 * 1024];
                loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) => break,
                        Ok(count) if stream.write_all(&buffer[..count]).await.is_ok() => {}
                        _ => return,
                    }
                }
                let _ = stream.close().await;
            });
        }
    });
}

/// Writes all of it, finishes, reads until the end at the same time, and gives back what came.
pub(crate) async fn exchange<S: crate::Stream>(
    stream: S,
    data: Vec<u8>,
) -> Result<Vec<u8>, Failed> {
    let (mut reading, mut writing) = stream.split();
    let write = async {
        for piece in data.chunks(10_000) {
            writing.write_all(piece).await?;
        }
        writing.close().await
    };
    let mut back = Vec::new();
    let read = reading.read_to_end(&mut back);
    let (written, read) = futures::join!(write, read);
    written.map_err(Failed::of)?;
    read.map_err(Failed::of)?;
    Ok(back)
}

/// Bytes of which each place shows, different for each number.
pub(crate) fn pattern(number: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 7 + at / 251 + number * 13) as u8)
        .collect()
}
