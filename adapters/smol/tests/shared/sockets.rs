//! What the engine is promised of sockets, timers and names.

use bytes::BytesMut;
use core::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire_engine::{Listener as _, Pipe as _, Runtime as _, Timer as _};
use drywire_smol::{AsyncIoPipe, AsyncIoRuntime, Spawn};
use smol::future;
use std::io;

/// Both ends of a connection.
async fn pair<S: Spawn>(runtime: &AsyncIoRuntime<S>) -> (AsyncIoPipe, AsyncIoPipe) {
    let mut listener = runtime.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let accept = poll_fn(|cx| listener.poll_accept(cx));
    let (near, far) = future::zip(runtime.connect(address), accept).await;
    (near.unwrap(), far.unwrap().0)
}

async fn read(pipe: &mut AsyncIoPipe, buf: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| pipe.poll_read(cx, buf)).await
}

async fn write(pipe: &mut AsyncIoPipe, data: &[u8]) -> usize {
    poll_fn(|cx| pipe.poll_write(cx, data)).await.unwrap()
}

/// Fails if a timer fires before its time by the runtime's clock, more than once, or without having been set.
pub(crate) async fn timers<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let mut idle = Context::from_waker(Waker::noop());
    let mut timer = runtime.timer();
    assert!(timer.poll(&mut idle).is_pending(), "not armed");
    for millis in [0, 1, 7, 30] {
        let deadline = runtime.now() + Duration::from_millis(millis);
        // Replaced before it came.
        timer.arm(deadline + Duration::from_secs(3600));
        assert!(timer.poll(&mut idle).is_pending());
        timer.arm(deadline);
        poll_fn(|cx| timer.poll(cx)).await;
        assert!(runtime.now() >= deadline);
        assert!(timer.poll(&mut idle).is_pending(), "no longer armed");
    }
    timer.arm(drywire::time::Instant::FAR_FUTURE);
    assert!(timer.poll(&mut idle).is_pending());
}

/// Fails if a socket is said to be readable after a short read, if what comes then is missed, or if its end is.
pub(crate) async fn readiness<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (mut near, mut far) = pair(&runtime).await;
    let mut buf = BytesMut::with_capacity(100);
    for round in 0..100u8 {
        assert_eq!(write(&mut near, &[round; 10]).await, 10);
        poll_fn(|cx| far.poll_readable(cx)).await;
        buf.clear();
        buf.reserve(100);
        assert_eq!(read(&mut far, &mut buf).await.unwrap(), 10);
        assert_eq!(buf[..], [round; 10]);
        let again = poll_fn(|cx| Poll::Ready(far.poll_readable(cx))).await;
        assert!(again.is_pending(), "the read was short");
    }
    // No more than there is room for; then there may be more.
    let mut small = BytesMut::with_capacity(16);
    let room = small.capacity();
    let sent = vec![5; room + 3];
    assert_eq!(write(&mut near, &sent).await, sent.len());
    assert_eq!(read(&mut far, &mut small).await.unwrap(), room);
    assert_eq!(small.capacity(), room, "it has not grown");
    let more = poll_fn(|cx| Poll::Ready(far.poll_readable(cx))).await;
    assert!(more.is_ready());
    buf.clear();
    assert_eq!(read(&mut far, &mut buf).await.unwrap(), 3);

    poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    assert_eq!(read(&mut far, &mut buf).await.unwrap(), 0, "its end");
    // The other direction stays open.
    assert_eq!(write(&mut far, b"still here").await, 10);
    buf.clear();
    assert_eq!(read(&mut near, &mut buf).await.unwrap(), 10);
    assert_eq!(near.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
}

/// Fails if a socket that takes no more is written to no more.
pub(crate) async fn full<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    const LENGTH: usize = 32 << 20;
    let (mut near, mut far) = pair(&runtime).await;
    let data = vec![3; 1 << 20];
    let send = async {
        let (mut left, mut blocked) = (LENGTH, 0);
        while left > 0 {
            let piece = &data[..left.min(data.len())];
            left -= poll_fn(|cx| {
                let polled = near.poll_write(cx, piece);
                blocked += usize::from(polled.is_pending());
                polled
            })
            .await
            .unwrap();
        }
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
        blocked
    };
    let receive = async {
        // The writer is to find it full.
        smol::Timer::after(Duration::from_millis(100)).await;
        let (mut buf, mut total) = (BytesMut::with_capacity(256 * 1024), 0);
        loop {
            match read(&mut far, &mut buf).await.unwrap() {
                0 => return total,
                count => total += count,
            }
            assert!(buf.iter().all(|byte| *byte == 3));
            buf.clear();
        }
    };
    let (blocked, received) = future::zip(send, receive).await;
    assert_eq!(received, LENGTH);
    assert!(blocked > 0, "it was never full");
}

pub(crate) async fn lookup<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let found = runtime.lookup("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert!(!found.is_empty());
    assert!(runtime.lookup("no-such-host.invalid").await.is_err());
}
