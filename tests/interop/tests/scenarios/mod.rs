//! What two libp2p nodes must be able to do with each other, written once for any two implementations: `A` dials, `B`
//! listens. Run for every pairing by `pairings!`.

use std::{future::Future, time::Duration};

use drywire_interop::{
    Error, Options, Peer,
    programs::{self, CHUNK, ECHO, PERF, SINK},
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};

/// No scenario may take longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(120);

/// Longer than anything on loopback takes, shorter than any idle or handshake timeout that would hide a hang.
const SOON: Duration = Duration::from_secs(8);

/// A protocol that the tests serve themselves.
const OWN: &str = "/interop-test/1.0.0";

/// Runs a scenario in a runtime of its own.
pub(crate) fn run<F: Future<Output = ()>>(scenario: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, scenario)
            .await
            .expect("the scenario hangs");
    });
    runtime.shutdown_background();
}

/// A connected pair; `b` serves all programs.
struct Pair<A: Peer, B: Peer> {
    a: A,
    b: B,
    /// `b` as `a` knows it.
    b_id: A::Id,
    /// `a` as `b` knows it.
    a_id: B::Id,
    address: String,
}

impl<A: Peer, B: Peer> Pair<A, B> {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let agent = |name: &str| Options {
            agent: format!("interop-{name}/1.2.3"),
            ..options.clone()
        };
        let a = A::start(agent("dialer")).unwrap();
        let b = B::start(agent("listener")).unwrap();
        programs::serve(&b).unwrap();
        let address = b.listen("/ip4/127.0.0.1/tcp/0").await.unwrap();
        let b_id = a.connect(&address).await.unwrap();
        let a_id = a.id().to_string().parse().unwrap();
        Self {
            a,
            b,
            b_id,
            a_id,
            address,
        }
    }

    /// A stream from `a` to `b` under [`OWN`], both ends.
    async fn stream(&self) -> (A::Stream, B::Stream) {
        let mut incoming = self.b.accept(OWN).unwrap();
        let mut near = self.a.open(&self.b_id, OWN).await.unwrap();
        // An opener may wait with its proposal for the first data.
        near.write_all(b"!").await.unwrap();
        near.flush().await.unwrap();
        let (from, mut far) = soon(incoming.next()).await.unwrap();
        assert_eq!(from, self.a_id);
        let mut first = [0; 1];
        far.read_exact(&mut first).await.unwrap();
        (near, far)
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("nothing happened")
}

/// TCP, Noise and yamux are agreed on; both ends know who the other is; streams go both ways on one connection.
pub(crate) async fn connects<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    assert_eq!(pair.b_id.to_string(), pair.b.id().to_string());
    assert!(pair.address.ends_with(&format!("/p2p/{}", pair.b.id())));

    let (mut near, mut far) = pair.stream().await;
    near.write_all(b"to the listener").await.unwrap();
    near.close().await.unwrap();
    let mut text = String::new();
    soon(far.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "to the listener");

    // The listener opens on the same connection: the dialer does not listen anywhere.
    let mut incoming = pair.a.accept("/interop-back/1.0.0").unwrap();
    let mut back = pair
        .b
        .open(&pair.a_id, "/interop-back/1.0.0")
        .await
        .unwrap();
    back.write_all(b"to the dialer").await.unwrap();
    back.close().await.unwrap();
    let (from, mut end) = soon(incoming.next()).await.unwrap();
    assert_eq!(from, pair.b_id);
    let mut text = String::new();
    soon(end.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "to the dialer");
}

/// Both ends ping, more than once.
pub(crate) async fn pings<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    for _ in 0..3 {
        let there = soon(pair.a.ping(&pair.b_id)).await.unwrap();
        let back = soon(pair.b.ping(&pair.a_id)).await.unwrap();
        assert!(there > Duration::ZERO && there < SOON, "{there:?}");
        assert!(back > Duration::ZERO && back < SOON, "{back:?}");
    }
}

/// Both ends learn who the other is, what it serves, and as whom they are seen.
pub(crate) async fn identifies<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    let b = soon(pair.a.identify(&pair.b_id)).await.unwrap();
    assert_eq!(b.peer, pair.b.id().to_string());
    assert_eq!(b.agent_version, "interop-listener/1.2.3");
    assert!(!b.protocol_version.is_empty());
    for name in [ECHO, PERF, "/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"] {
        assert!(
            b.protocols.iter().any(|served| served == name),
            "{name} is missing in {:?}",
            b.protocols
        );
    }
    // With or without the peer id at its end: implementations differ.
    let bare = pair.address.split("/p2p/").next().unwrap();
    assert!(
        b.listen_addresses
            .iter()
            .any(|address| address.split("/p2p/").next() == Some(bare)),
        "{bare} is missing in {:?}",
        b.listen_addresses
    );
    assert!(
        b.observed_address.starts_with("/ip4/127.0.0.1/tcp/"),
        "{}",
        b.observed_address
    );

    let a = soon(pair.b.identify(&pair.a_id)).await.unwrap();
    assert_eq!(a.peer, pair.a.id().to_string());
    assert_eq!(a.agent_version, "interop-dialer/1.2.3");
    assert!(
        a.observed_address.starts_with(bare),
        "{} is not {bare}",
        a.observed_address
    );
}

/// 64 MiB there and back at once, every byte in its place.
pub(crate) async fn echoes_64_mib<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    let stream = pair.a.open(&pair.b_id, ECHO).await.unwrap();
    programs::echo(stream, 64 << 20).await.unwrap();
}

/// A stream of no bytes at all, and small ones of every awkward size, also when the opener does not wait.
pub(crate) async fn echoes_small<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    for size in [
        0, 1, 2, 127, 128, 255, 256, 1023, 1024, 16_383, 16_384, 16_385, 65_519, 65_520, 262_144,
        262_145,
    ] {
        let stream = pair.a.open(&pair.b_id, ECHO).await.unwrap();
        soon(programs::echo(stream, size)).await.unwrap();
        let stream = pair.a.open_optimistic(&pair.b_id, ECHO).await.unwrap();
        soon(programs::echo(stream, size)).await.unwrap();
    }
}

/// 1,000 streams open at the same time on one connection, opened in one burst; each carries its own data.
pub(crate) async fn opens_1000_streams<A: Peer, B: Peer>() {
    let options = Options {
        max_streams: 2048,
        ..Options::default()
    };
    let pair = Pair::<A, B>::with(options).await;
    let opened = (0..1000_u32).map(|number| {
        let pair = &pair;
        async move {
            let mut stream = pair.a.open(&pair.b_id, ECHO).await.unwrap();
            let (data, mut answer) = (number.to_be_bytes(), [0; 4]);
            programs::echo_once(&mut stream, &data, &mut answer)
                .await
                .unwrap();
            assert_eq!(data, answer);
            stream
        }
    });
    let streams = future::join_all(opened).await;
    // All are open now. Each carries 4 KiB more, then ends.
    let finished = streams
        .into_iter()
        .map(|stream| programs::echo(stream, 4096));
    for result in future::join_all(finished).await {
        result.unwrap();
    }
}

/// The end of one half leaves the other half open, both ways.
pub(crate) async fn half_closes<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;

    let (mut near, mut far) = pair.stream().await;
    near.write_all(b"question").await.unwrap();
    near.close().await.unwrap();
    let mut text = String::new();
    soon(far.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "question");
    // Both at once: rust-libp2p grants credit for what was read only with the next read.
    let answer = async {
        programs::send(&mut far, 1 << 20, 10_000).await.unwrap();
        far.close().await.unwrap();
    };
    let (_, count) = soon(future::join(answer, programs::sink_input(&mut near))).await;
    assert_eq!(count.unwrap(), 1 << 20);

    // The accepting side ends first.
    let (mut near, mut far) = pair.stream().await;
    far.write_all(b"no more from here").await.unwrap();
    far.close().await.unwrap();
    let mut text = String::new();
    soon(near.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "no more from here");
    near.write_all(b"but from here").await.unwrap();
    near.close().await.unwrap();
    let mut text = String::new();
    soon(far.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "but from here");
}

/// A reset by either side ends both halves at the other, and touches no other stream.
pub(crate) async fn resets<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    let mut lasting = pair.a.open(&pair.b_id, ECHO).await.unwrap();
    programs::echo_once(&mut lasting, b"before", &mut [0; 6])
        .await
        .unwrap();

    let (near, far) = pair.stream().await;
    A::reset(near);
    ends_by_reset(far).await;

    let (near, far) = pair.stream().await;
    B::reset(far);
    ends_by_reset(near).await;

    // Data on its way does not change that, and neither does a reader that has stopped.
    let (mut near, far) = pair.stream().await;
    near.write_all(&[1; 50_000]).await.unwrap();
    near.flush().await.unwrap();
    B::reset(far);
    ends_by_reset(near).await;

    let mut answer = [0; 5];
    soon(programs::echo_once(&mut lasting, b"after", &mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"after");
}

/// Implementations report a reset differently to readers (rust-libp2p: as the end of the stream), but reading must
/// end, and so must writing.
async fn ends_by_reset<S: futures::AsyncRead + futures::AsyncWrite + Unpin>(mut stream: S) {
    let mut buffer = [0; 1024];
    soon(async { while matches!(stream.read(&mut buffer).await, Ok(count) if count > 0) {} }).await;
    soon(async {
        loop {
            if stream.write_all(&[0; 1024]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    })
    .await;
}

/// `/perf/1.0.0` moves what was asked, in both directions, also in turn on many streams.
pub(crate) async fn performs<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    for (upload, download) in [
        (0, 0),
        (1, 0),
        (0, 1),
        (8 << 20, 0),
        (0, 8 << 20),
        (3_000_000, 5_000_000),
    ] {
        let stream = pair.a.open(&pair.b_id, PERF).await.unwrap();
        programs::perf(stream, upload, download, CHUNK)
            .await
            .unwrap();
    }
    let parallel = (0..10).map(|_| async {
        let stream = pair.a.open(&pair.b_id, PERF).await.unwrap();
        programs::perf(stream, 1 << 20, 1 << 20, 1000)
            .await
            .unwrap();
    });
    future::join_all(parallel).await;
}

/// Another peer at the address is not accepted, and said to be the reason; the right one is reached afterwards.
pub(crate) async fn refuses_the_wrong_peer<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    let a = A::start(Options::default()).unwrap();
    let bare = pair.address.split("/p2p/").next().unwrap();
    let wrong = format!("{bare}/p2p/{}", pair.a.id());
    let error = soon(a.connect(&wrong)).await.unwrap_err();
    assert!(matches!(error, Error::WrongPeer(_)), "{error:?}");
    assert!(matches!(
        a.open(&pair.b_id, ECHO).await,
        Err(Error::NotConnected)
    ));

    // Whoever is there, if the address does not say.
    let found = soon(a.connect(bare)).await.unwrap();
    assert_eq!(found.to_string(), pair.b.id().to_string());
    let stream = a.open(&found, ECHO).await.unwrap();
    programs::echo(stream, 1000).await.unwrap();
}

/// A protocol nobody serves is a typed error that touches nothing else; the same after serving has ended.
pub(crate) async fn refuses_unknown_protocols<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    let error = soon(pair.a.open(&pair.b_id, "/nobody/serves/this"))
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::Unsupported), "{error:?}");

    let served = pair.b.accept(OWN).unwrap();
    assert!(matches!(
        pair.b.accept(OWN).map(drop),
        Err(Error::AlreadyAccepting)
    ));
    soon(pair.a.open(&pair.b_id, OWN)).await.unwrap();
    drop(served);
    let error = soon(pair.a.open(&pair.b_id, OWN))
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::Unsupported), "{error:?}");

    let stream = pair.a.open(&pair.b_id, ECHO).await.unwrap();
    programs::echo(stream, 1000).await.unwrap();
}

/// A reader that does not read stops its writer, and nobody else; what was written arrives when it reads again.
pub(crate) async fn slows_down_for_a_slow_reader<A: Peer, B: Peer>() {
    const TOTAL: u64 = 24 << 20;
    let pair = Pair::<A, B>::new().await;
    let (mut near, mut far) = pair.stream().await;
    let writer = tokio::spawn(async move {
        programs::send(&mut near, TOTAL, CHUNK).await.unwrap();
        near.close().await.unwrap();
        near
    });
    // Others go on, whatever the stopped stream has in its way.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stream = pair.a.open(&pair.b_id, ECHO).await.unwrap();
        soon(programs::echo(stream, 300_000)).await.unwrap();
    }
    assert!(
        !writer.is_finished(),
        "24 MiB went to a reader that does not read"
    );
    assert_eq!(programs::sink_input(&mut far).await.unwrap(), TOTAL);
    soon(writer).await.unwrap();
}

/// Closing a connection ends its streams on both sides, and a new connection can follow, many times.
pub(crate) async fn reconnects<A: Peer, B: Peer>() {
    let pair = Pair::<A, B>::new().await;
    for round in 0..20 {
        let mut stream = pair.a.open(&pair.b_id, ECHO).await.unwrap();
        programs::echo_once(&mut stream, b"hello", &mut [0; 5])
            .await
            .unwrap();
        if round % 2 == 0 {
            soon(pair.a.disconnect(&pair.b_id)).await.unwrap();
        } else {
            soon(pair.b.disconnect(&pair.a_id)).await.unwrap();
        }
        ends_by_reset(stream).await;
        soon(pair.a.connect(&pair.address)).await.unwrap();
    }
    let stream = pair.a.open(&pair.b_id, SINK).await.unwrap();
    programs::perf(stream, 1000, 0, CHUNK).await.unwrap();
}

/// Makes a module of tests that runs every scenario with this dialer and this listener.
macro_rules! pairings {
    ($($module:ident: $dialer:ty => $listener:ty;)*) => { $(
        mod $module {
            use super::*;

            pairings!(@tests $dialer, $listener:
                connects pings identifies echoes_64_mib echoes_small opens_1000_streams half_closes resets performs
                refuses_the_wrong_peer refuses_unknown_protocols slows_down_for_a_slow_reader reconnects);
        }
    )* };
    (@tests $dialer:ty, $listener:ty: $($scenario:ident)*) => { $(
        #[test]
        fn $scenario() {
            crate::scenarios::run(crate::scenarios::$scenario::<$dialer, $listener>());
        }
    )* };
}
