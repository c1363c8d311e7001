//! Every host of drywire and rust-libp2p, each as the one who dials and as the one who listens.

use drywire::{multiaddr::Multiaddr, multistream::ProtocolName};
use drywire_host_tests::{
    Incoming as _, Node as _, Place, config, engine::EnginePlace, mio_host::MioPlace,
    worker_host::WorkerPlace,
};
use drywire_interop::{
    Libp2pPeer, Options, Peer as _,
    programs::{ECHO, echo, echo_server, serve},
};
use std::{sync::Arc, time::Duration};

const NAME: ProtocolName = ProtocolName::from_static(ECHO);
/// Beyond every window.
const BYTES: u64 = 3_000_000;

/// A runtime for rust-libp2p, whatever the other side runs on.
fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn meet<L: Place>(place: L) {
    let patience = place.sleep(Duration::from_secs(60));
    let meeting = Box::pin(async move {
        let libp2p = Libp2pPeer::start(Options::default()).unwrap();
        serve(&libp2p).unwrap();
        let theirs: Multiaddr = libp2p
            .listen("/ip4/127.0.0.1/tcp/0")
            .await
            .unwrap()
            .parse()
            .unwrap();
        let node = place.node(config());
        let mut incoming = node.accept(NAME).await.unwrap();
        let serving = place.clone();
        place.spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                serving.spawn(async move { echo_server(stream).await.unwrap() });
            }
        });

        let peer = node.dial(theirs).await.unwrap();
        assert_eq!(peer.to_string(), libp2p.id().to_string());
        for size in [0, 1000, BYTES] {
            let stream = node.open(peer, NAME).await.unwrap();
            echo(stream, size).await.unwrap();
        }
        node.shutdown().await;

        // The other way round.
        let node = place.node(config());
        let mut incoming = node.accept(NAME).await.unwrap();
        let serving = place.clone();
        place.spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                serving.spawn(async move { echo_server(stream).await.unwrap() });
            }
        });
        let ours = node.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
        let ours = ours.unwrap().with_peer_id(node.peer_id()).unwrap();
        let peer = libp2p.connect(&ours.to_string()).await.unwrap();
        for size in [0, 1000, BYTES] {
            let stream = libp2p.open(&peer, ECHO).await.unwrap();
            echo(stream, size).await.unwrap();
        }
        node.shutdown().await;
    });
    let patience = Box::pin(patience);
    match futures::future::select(meeting, patience).await {
        futures::future::Either::Left(_) => {}
        futures::future::Either::Right(_) => panic!("it takes longer than a minute"),
    }
}

#[test]
fn tokio_multi_thread() {
    tokio_runtime().block_on(async {
        meet(EnginePlace::new(
            drywire_tokio::TokioRuntime::current().unwrap(),
        ))
        .await;
    });
}

#[test]
fn tokio_current_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        meet(EnginePlace::new(
            drywire_tokio::TokioRuntime::current().unwrap(),
        ))
        .await;
    });
}

#[test]
fn async_std() {
    let libp2p = tokio_runtime();
    let _entered = libp2p.enter();
    let runtime = drywire_async_std::AsyncStdRuntime::default();
    smol::block_on(meet(EnginePlace::new(runtime)));
}

#[test]
fn smol_executor() {
    let libp2p = tokio_runtime();
    let _entered = libp2p.enter();
    let executor = Arc::new(smol::Executor::new());
    let runtime = drywire_smol::SmolRuntime::on(&executor);
    smol::block_on(executor.run(meet(EnginePlace::new(runtime))));
}

#[test]
fn mio() {
    tokio_runtime().block_on(meet(MioPlace::default()));
}

#[test]
fn engine_over_mio() {
    let libp2p = tokio_runtime();
    let _entered = libp2p.enter();
    let mut executor = drywire_mio::executor::Executor::new().unwrap();
    let runtime = executor.runtime();
    executor.block_on(meet(EnginePlace::new(runtime))).unwrap();
}

#[test]
fn workers() {
    tokio_runtime().block_on(meet(WorkerPlace::default()));
}
