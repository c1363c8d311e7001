//! A process that runs out of file descriptors. In a program of its own, because the limit is the whole process's.
#![cfg(unix)]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use common::{Nothing, host};
use drywire::{
    multistream::ProtocolName,
    swarm::{AttemptError, DialOptions, Event, TransportError},
};
use drywire_engine::{ConnectError, Host, Stream};
use std::{fs::File, net::TcpStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
/// Descriptors of the process, from now on.
const LIMIT: u64 = 256;

fn serve_echo(host: &Host<Nothing>) {
    let mut incoming = host.accept(ECHO, 16).unwrap();
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.unwrap();
                }
            });
        }
    });
}

async fn echoes(stream: &mut Stream, data: &[u8]) {
    stream.write_all(data).await.unwrap();
    let mut heard = vec![0; data.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, data);
}

/// Opens files until there are no descriptors left.
fn use_up() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert!(!files.is_empty(), "{error}");
                return files;
            }
        }
    }
}

/// Fails if a failure to accept ends the listener or goes unreported, if the node stops serving those it has, or if running
/// out of descriptors is told as something else.
#[tokio::test]
async fn a_node_without_descriptors_serves_whom_it_has_and_comes_back() {
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(LIMIT, hard).unwrap();
    let (server, client) = (host(), host());
    serve_echo(&server);
    let bound = server
        .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .await
        .unwrap();
    let (ip, port) = ("127.0.0.1", bound.address.to_string());
    let port: u16 = port.rsplit('/').next().unwrap().parse().unwrap();
    let options = DialOptions::address(bound.address.clone());
    let peer = client.dial(options.clone()).await.unwrap().peer;
    let mut stream = client.open_stream(peer, ECHO).await.unwrap();
    echoes(&mut stream, b"before").await;
    let mut events = server.events(64);

    let mut files = use_up();
    // Dialing fails, and says why.
    let stranger = host();
    let Err(ConnectError::Dial(error)) = stranger.dial(options.clone()).await else {
        panic!("dialed without a descriptor");
    };
    let out = TransportError::OutOfDescriptors;
    assert_eq!(
        error.failures()[0].error,
        AttemptError::Transport(out.clone())
    );

    // So does accepting: the one descriptor left is the caller's.
    files.pop();
    let caller = TcpStream::connect((ip, port)).unwrap();
    loop {
        match events.next().await.unwrap() {
            Event::AcceptFailed { listener, error } => {
                assert_eq!((listener, error), (bound.listener, out));
                break;
            }
            Event::ListenerClosed { .. } => panic!("the listener is gone"),
            _ => {}
        }
    }
    echoes(&mut stream, b"meanwhile").await;
    let another = client.open_stream(peer, ECHO).await;
    echoes(&mut another.unwrap(), b"on another stream").await;

    // When there are descriptors again, the listener accepts again: the caller, and others.
    drop(files);
    let met = stranger.dial(options).await.unwrap().peer;
    assert_eq!(met, peer);
    drop(caller);
    echoes(&mut stream, b"after").await;
}
