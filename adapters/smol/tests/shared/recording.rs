//! A real run over real sockets, and the same once more without any of them.

use super::loopback::{echo, there_and_back};
use core::time::Duration;
use drywire::{
    multistream::ProtocolName,
    protocol::{Standard, StandardEvent, identify},
    recording::{ConnectionsOnly, Script},
    swarm::{Config, DialOptions, Event},
};
use drywire_engine::{
    Events, Host, Runtime as _,
    recording::{FileRecorder, RecordingFile},
};
use drywire_smol::{AsyncIoRuntime, Spawn};
use smol::{future, io::AsyncWriteExt as _};
use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// A file that is gone in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", env!("CARGO_PKG_NAME"), std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

struct Standards;

impl Script for Standards {
    type Protocols = Standard;

    fn protocols(&mut self, _: u32) -> Option<Standard> {
        Some(Standard::default())
    }
}

fn host<S: Spawn>(
    runtime: &AsyncIoRuntime<S>,
    recorder: &FileRecorder,
    name: &str,
) -> Host<Standard> {
    let mut config = Config::default();
    config.recorder = Some(recorder.host(name));
    let host = Host::builder(runtime.clone(), Standard::default()).config(config);
    host.start().unwrap()
}

/// Until the peer was pinged and has said who it is.
async fn met(mut events: Events<Standard>) {
    let (mut pinged, mut identified) = (false, false);
    while !(pinged && identified) {
        match events.next().await.unwrap() {
            Event::Protocol(StandardEvent::Ping(ping)) => pinged |= ping.result.is_ok(),
            Event::Protocol(StandardEvent::Identify(identify::Event::Received { .. })) => {
                identified = true;
            }
            _ => {}
        }
    }
}

/// Fails if anything that decides what a host does is not recorded.
pub(crate) async fn real_run<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let file = Temporary::new();
    let recorder = FileRecorder::create(&file.0).unwrap();
    let server = host(&runtime, &recorder, "server");
    let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap());
    let address = bound.await.unwrap().address;
    let mut incoming = server.accept(ECHO, 64).unwrap();
    let tasks = runtime.clone();
    runtime.spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tasks.spawn(echo(stream));
        }
    });
    let clients = ["one", "two"].map(|name| host(&runtime, &recorder, name));
    let work = async |client: &Host<Standard>| {
        let events = client.events(64);
        let options = DialOptions::address(address.clone()).timeout(Duration::from_secs(60));
        let peer = client.dial(options).await.unwrap().peer;
        let transfer = async |length| {
            let stream = client.open_stream_optimistic(peer, ECHO).await.unwrap();
            there_and_back(stream, length).await;
        };
        let transfers = future::zip(transfer(1_000_000), transfer(300_000));
        future::zip(met(events), transfers).await;
        // Given up in the middle.
        let mut stream = client.open_stream(peer, ECHO).await.unwrap();
        stream.write_all(&[1; 50_000]).await.unwrap();
    };
    future::zip(work(&clients[0]), work(&clients[1])).await;
    for client in &clients {
        client.shutdown().await;
    }
    server.shutdown().await;
    drop((server, clients));
    recorder.finish().unwrap();

    let mut recording = RecordingFile::open(&file.0).unwrap();
    assert_eq!(recording.hosts(), ["server", "one", "two"]);
    let report = recording.replay(Standards).unwrap();
    assert_eq!(report.entries, recording.entries());
    assert_eq!((report.swarms, report.swarms_left_out), (3, 0));
    assert_eq!(report.connections, 4);
    let report = recording.replay(ConnectionsOnly).unwrap();
    assert_eq!((report.connections, report.swarms), (4, 0));
    assert!(report.outputs > 100, "{report:?}");
}
