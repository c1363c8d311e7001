//! A real run over real sockets, on several threads, and the same once more without any of them.

use core::time::Duration;
use drywire::{
    multistream::ProtocolName,
    protocol::{Standard, StandardEvent, identify},
    recording::{ConnectionsOnly, Script},
    swarm::{Config, DialOptions, Event},
};
use drywire_engine::{
    Events, Host, Stream,
    recording::{FileRecorder, RecordingFile},
};
use drywire_tokio::TokioRuntime;
use std::{fs, path::PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// A file that is gone in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let name = format!("drywire-tokio-{}-{name}", std::process::id());
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

fn host(recorder: &FileRecorder, name: &str) -> Host<Standard> {
    let mut config = Config::default();
    config.recorder = Some(recorder.host(name));
    let runtime = TokioRuntime::current().unwrap();
    let host = Host::builder(runtime, Standard::default()).config(config);
    host.start().unwrap()
}

async fn echo(mut stream: Stream) {
    let mut buffer = vec![0; 10_000];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// Sends bytes, and gets them back.
async fn transfer(client: &Host<Standard>, peer: drywire::identity::PeerId, length: usize) {
    let stream = client.open_stream_optimistic(peer, ECHO).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let data: Vec<u8> = (0..length).map(|n| (n / 7) as u8).collect();
    let expected = data.clone();
    let sender = tokio::spawn(async move {
        writer.write_all(&data).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    sender.await.unwrap();
    assert!(received == expected);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_run_runs_again() {
    let file = Temporary::new("real");
    let recorder = FileRecorder::create(&file.0).unwrap();
    let server = host(&recorder, "server");
    let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap());
    let address = bound.await.unwrap().address;
    let mut incoming = server.accept(ECHO, 64).unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(echo(stream));
        }
    });
    let clients = ["one", "two"].map(|name| host(&recorder, name));
    let mut running = Vec::new();
    for client in clients.clone() {
        let address = address.clone();
        running.push(tokio::spawn(async move {
            let events = client.events(64);
            let options = DialOptions::address(address).timeout(Duration::from_secs(60));
            let peer = client.dial(options).await.unwrap().peer;
            tokio::join!(
                met(events),
                transfer(&client, peer, 1_000_000),
                transfer(&client, peer, 300_000),
                transfer(&client, peer, 1)
            );
            // Given up in the middle.
            let mut stream = client.open_stream(peer, ECHO).await.unwrap();
            stream.write_all(&[1; 50_000]).await.unwrap();
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    for client in clients {
        client.shutdown().await;
    }
    server.shutdown().await;
    drop(server);
    recorder.finish().unwrap();

    let mut recording = RecordingFile::open(&file.0).unwrap();
    assert_eq!(recording.hosts(), ["server", "one", "two"]);
    let report = recording.replay(Standards).unwrap();
    assert_eq!(report.entries, recording.entries());
    assert_eq!((report.swarms, report.swarms_left_out), (3, 0));
    assert_eq!(report.connections, 4);
    let report = recording.replay(ConnectionsOnly).unwrap();
    assert_eq!((report.connections, report.swarms), (4, 0));
    assert!(report.outputs > 200, "{report:?}");
}
