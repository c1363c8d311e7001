//! Streams.

use super::{ECHO, Pair, exchange, pattern, within};
use crate::{
    Stream as _,
    node::{Incoming as _, Node as _, Place},
};
use core::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use drywire::multistream::ProtocolName;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, future::join_all};
use std::sync::Arc;

const SINK: ProtocolName = ProtocolName::from_static("/suite/sink/1.0.0");

/// Megabytes there and back at the same time, on four streams of two connections.
pub async fn transfers_both_ways_at_once<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    super::serve_echo(&place, &pair.client).await;
    super::until(&place, "the server knows of the connection", || async {
        pair.server.connections().await > 0
    })
    .await;
    let len = 700_000;
    let to_server = [0, 1].map(|number| (pair.client.clone(), pair.server.peer_id(), number));
    let to_client = [2, 3].map(|number| (pair.server.clone(), pair.client.peer_id(), number));
    let exchanges = to_server.into_iter().chain(to_client);
    let exchanges = exchanges.map(|(from, to, number)| async move {
        let stream = from.open(to, ECHO).await.unwrap();
        let back = exchange(stream, pattern(number, len)).await.unwrap();
        assert!(back == pattern(number, len), "{number}: other bytes");
    });
    join_all(exchanges).await;
    pair.end().await;
}

/// A thousand at the same time on one connection, beyond what may wait for the peer's acknowledgement.
pub async fn thousand_streams<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut done = 0;
    // A peer acknowledges 256 streams at a time, and hosts without futures do not wait for that by themselves.
    while done < 1000 {
        let streams = join_all((0..200).map(|_| pair.open())).await;
        let exchanges = streams.into_iter().enumerate();
        let exchanges = exchanges.map(|(number, stream)| async move {
            let data = pattern(number, 300);
            assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
        });
        done += join_all(exchanges).await.len();
    }
    pair.end().await;
}

/// Each side can finish and still be answered.
pub async fn half_close<L: Place>(place: L) {
    let pair = Pair::new(&place).await;
    let mut incoming = pair.server.accept(SINK).await.unwrap();
    let mut stream = pair.client.open(pair.peer(), SINK).await.unwrap();
    stream.write_all(b"the question").await.unwrap();
    stream.close().await.unwrap();
    let (peer, mut theirs) = incoming.next().await.unwrap();
    assert_eq!(peer, pair.client.peer_id());
    let mut question = Vec::new();
    theirs.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"the question");
    // Long after its end was seen.
    place.sleep(Duration::from_millis(50)).await;
    theirs.write_all(b"the answer").await.unwrap();
    theirs.close().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"the answer");
    assert!(stream.write_all(b"more").await.is_err());
    pair.end().await;
}

/// A stream that is reset fails at the other side, in both directions; others do not notice.
pub async fn reset<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut incoming = pair.server.accept(SINK).await.unwrap();
    let bystander = pair.open().await;
    let mut stream = pair.client.open(pair.peer(), SINK).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let (_, mut theirs) = incoming.next().await.unwrap();
    let mut hello = [0; 5];
    theirs.read_exact(&mut hello).await.unwrap();
    stream.reset();
    assert!(theirs.read(&mut hello).await.is_err());
    assert!(theirs.write_all(&hello).await.is_err());
    let data = pattern(1, 10_000);
    assert_eq!(exchange(bystander, data.clone()).await.unwrap(), data);
    pair.end().await;
}

/// The same for one that is dropped with something unfinished.
pub async fn a_dropped_stream_is_reset<L: Place>(place: L) {
    let pair = Pair::new(&place).await;
    let mut incoming = pair.server.accept(SINK).await.unwrap();
    let mut stream = pair.client.open(pair.peer(), SINK).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let (_, mut theirs) = incoming.next().await.unwrap();
    let mut hello = [0; 5];
    theirs.read_exact(&mut hello).await.unwrap();
    drop(stream);
    assert!(theirs.read(&mut hello).await.is_err());
    pair.end().await;
}

/// Nothing is lost or stuck, wherever a task stops waiting and lets go of what it had.
pub async fn futures_cancelled_at_every_await<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut complete = false;
    for polls in 1.. {
        assert!(polls < 500, "it never completes");
        let work = async {
            let third = place.node(crate::config());
            let peer = third.dial(pair.address.clone()).await.unwrap();
            let stream = third.open(peer, ECHO).await.unwrap();
            let data = pattern(polls, 3000);
            assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
            let body = pair.client.request(pair.peer(), "a request".into());
            assert_eq!(body.await.unwrap(), "a request");
            third.shutdown().await;
        };
        let patient = within(&place, Duration::from_secs(20), Polled::new(work, polls));
        complete = patient.await;
        if complete {
            break;
        }
    }
    assert!(complete);
    // Those who stayed are as they were.
    let data = pattern(7, 50_000);
    let stream = pair.open().await;
    assert_eq!(exchange(stream, data.clone()).await.unwrap(), data);
    pair.end().await;
}

/// Is dropped after so many polls.
struct Polled<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Polled<F> {
    fn new(future: F, left: usize) -> Self {
        Self {
            future: Box::pin(future),
            left,
        }
    }
}

impl<F: Future> Future for Polled<F> {
    /// Whether it has completed.
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        if self.left == 0 {
            return Poll::Ready(false);
        }
        self.left -= 1;
        match self.future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if self.left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Who does not read stops who writes, after no more than the windows and queues hold; other streams of the same connection go
/// on; and once it is read, everything comes.
pub async fn a_slow_reader_stops_its_writer_and_no_other<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut incoming = pair.server.accept(SINK).await.unwrap();
    let (len, written) = (4_000_000, Arc::new(AtomicUsize::new(0)));
    let mut stream = pair.client.open(pair.peer(), SINK).await.unwrap();
    let counting = written.clone();
    let write = async move {
        for piece in pattern(3, len).chunks(10_000) {
            stream.write_all(piece).await.unwrap();
            counting.fetch_add(piece.len(), Ordering::SeqCst);
        }
        stream.close().await.unwrap();
        // It is let go of when it was read.
        let mut end = Vec::new();
        stream.read_to_end(&mut end).await.unwrap();
    };
    let (write, writer) = write.remote_handle();
    place.spawn(write);
    let (_, mut theirs) = incoming.next().await.unwrap();
    let mut before = usize::MAX;
    // Until nothing has moved for a while.
    while core::mem::replace(&mut before, written.load(Ordering::SeqCst)) != before || before == 0 {
        place.sleep(Duration::from_millis(150)).await;
    }
    assert!(before < 2_500_000, "{before} bytes wait somewhere");
    let data = pattern(4, 300_000);
    let bystander = pair.open().await;
    assert!(exchange(bystander, data.clone()).await.unwrap() == data);
    let mut read = Vec::new();
    theirs.read_to_end(&mut read).await.unwrap();
    assert!(read == pattern(3, len));
    theirs.close().await.unwrap();
    writer.await;
    pair.end().await;
}

/// Bytes one by one, with pauses, arrive one by one.
pub async fn a_slow_writer<L: Place>(place: L) {
    let pair = Pair::with_echo(&place).await;
    let mut stream = pair.open().await;
    for number in 0..20_u8 {
        stream.write_all(&[number]).await.unwrap();
        let mut back = [0];
        {
            let read = pin!(stream.read_exact(&mut back));
            within(&place, Duration::from_secs(20), read).await.unwrap();
        }
        assert_eq!(back, [number]);
        place.sleep(Duration::from_millis(2)).await;
    }
    stream.close().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    pair.end().await;
}
