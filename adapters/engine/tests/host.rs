//! Hosts over the in-memory runtime.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]

use core::time::Duration;
use drywire::{
    connection::Slot,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{Config, Context, DialOptions, Input, Protocol},
    time::Instant,
};
use drywire_engine::{
    Host, OpenStreamError, Stream,
    memory::{Conditions, MemoryRuntime, World},
};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// A node without protocols of its own.
struct Nothing;

impl Protocol for Nothing {
    type Event = ();

    fn start(&mut self, _: &mut Context<'_, ()>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, ()>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

fn host(runtime: &MemoryRuntime) -> Host<Nothing> {
    Host::builder(runtime.clone(), Nothing)
        .config(Config::default())
        .start()
        .unwrap()
}

async fn listening(runtime: &MemoryRuntime) -> (Host<Nothing>, Multiaddr) {
    let host = host(runtime);
    let bound = host
        .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .await
        .unwrap();
    let address = bound.address.with_peer_id(host.peer_id()).unwrap();
    (host, address)
}

fn serve_echo(runtime: &MemoryRuntime, host: &Host<Nothing>) {
    let mut incoming = host.accept(ECHO, 64).unwrap();
    let runtime = runtime.clone();
    runtime.clone().spawn_task(async move {
        while let Some((_, stream)) = incoming.next().await {
            runtime.spawn_task(async move { echo(stream).await });
        }
    });
}

async fn echo(mut stream: Stream) {
    while let Ok(Some(mut bytes)) = stream.read_bytes(65_536).await {
        if stream.write_bytes(&mut bytes).await.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

trait SpawnTask {
    fn spawn_task(&self, task: impl Future<Output = ()> + Send + 'static);
}

impl SpawnTask for MemoryRuntime {
    fn spawn_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        drywire_engine::Runtime::spawn(self, task);
    }
}

#[test]
fn a_stream_echoes() {
    let world = World::with_conditions(1, Conditions::default());
    let runtime = world.runtime();
    world
        .block_on(async {
            let (server, address) = listening(&runtime).await;
            serve_echo(&runtime, &server);
            let client = host(&runtime);
            let dialed = client.dial(DialOptions::address(address)).await.unwrap();
            assert_eq!(dialed.peer, server.peer_id());
            let mut stream = client.open_stream(dialed.peer, ECHO).await.unwrap();
            let mut data = bytes::Bytes::from_static(b"hello");
            stream.write_bytes(&mut data).await.unwrap();
            stream.finish().unwrap();
            let mut all = Vec::new();
            while let Some(bytes) = stream.read_bytes(1000).await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            assert_eq!(all, b"hello");
            let error = client
                .open_stream(dialed.peer, ProtocolName::from_static("/other"))
                .await
                .unwrap_err();
            assert_eq!(
                error,
                OpenStreamError::UnsupportedProtocol(ProtocolName::from_static("/other"))
            );
            client.shutdown().await;
            server.shutdown().await;
        })
        .unwrap();
    world.run_for(Duration::from_secs(100));
    assert_eq!(world.tasks(), 0);
}
