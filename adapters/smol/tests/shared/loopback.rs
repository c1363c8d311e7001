//! Hosts with each other.

use super::{Nothing, host};
use core::time::Duration;
use drywire::{
    connection::ConnectionError,
    multiaddr::{Multiaddr, Protocol as Part},
    multistream::ProtocolName,
    swarm::{AttemptError, DialOptions, TransportError},
};
use drywire_engine::{ConnectError, Host, ListenError, Runtime as _, Stream};
use drywire_smol::{AsyncIoRuntime, Spawn};
use smol::{
    future::{self, FutureExt as _},
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

async fn listening<S: Spawn>(
    runtime: &AsyncIoRuntime<S>,
    address: &str,
) -> (Host<Nothing>, Multiaddr) {
    let host = host(runtime);
    let bound = host.listen(address.parse().unwrap()).await.unwrap();
    let address = bound.address.with_peer_id(host.peer_id()).unwrap();
    (host, address)
}

fn serve_echo<S: Spawn>(runtime: &AsyncIoRuntime<S>, host: &Host<Nothing>) {
    let mut incoming = host.accept(ECHO, 64).unwrap();
    let tasks = runtime.clone();
    runtime.spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tasks.spawn(echo(stream));
        }
    });
}

pub(crate) async fn echo(mut stream: Stream) {
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    let _ = stream.close().await;
}

/// Sends bytes, and gets them back meanwhile.
pub(crate) async fn there_and_back(stream: Stream, length: usize) {
    let (mut reader, mut writer) = smol::io::split(stream);
    let data: Vec<u8> = (0..length).map(|n| (n / 7) as u8).collect();
    let send = async {
        writer.write_all(&data).await.unwrap();
        writer.close().await.unwrap();
    };
    let mut received = Vec::new();
    let (read, ()) = future::zip(reader.read_to_end(&mut received), send).await;
    read.unwrap();
    assert!(received == data);
}

async fn dialed<S: Spawn>(
    runtime: &AsyncIoRuntime<S>,
    address: &Multiaddr,
) -> (Host<Nothing>, Stream) {
    let client = host(runtime);
    let options = DialOptions::address(address.clone());
    let peer = client.dial(options).await.unwrap().peer;
    let stream = client.open_stream_optimistic(peer, ECHO).await.unwrap();
    (client, stream)
}

pub(crate) async fn transfer<S: Spawn>(runtime: AsyncIoRuntime<S>, address: &str) {
    let (server, address) = listening(&runtime, address).await;
    serve_echo(&runtime, &server);
    let (client, stream) = dialed(&runtime, &address).await;
    there_and_back(stream, 10_000_000).await;
    client.shutdown().await;
    server.shutdown().await;
}

/// Fails if the end of one direction ends the other.
pub(crate) async fn half_close<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (server, address) = listening(&runtime, "/ip4/127.0.0.1/tcp/0").await;
    let mut incoming = server.accept(ECHO, 64).unwrap();
    let (_client, mut stream) = dialed(&runtime, &address).await;
    let serve = async {
        let (_, mut stream) = incoming.next().await.unwrap();
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        stream.write_all(&vec![7; 500_000]).await.unwrap();
        stream.close().await.unwrap();
        question
    };
    let ask = async {
        stream.write_all(b"how many?").await.unwrap();
        stream.close().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (question, answer) = future::zip(serve, ask).await;
    assert_eq!(question, "how many?");
    assert!(answer == vec![7; 500_000]);
}

/// Fails if a host takes in what nobody reads, or does not go on when somebody does.
pub(crate) async fn slow_reader<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    const LENGTH: usize = 8_000_000;
    let (server, address) = listening(&runtime, "/ip4/127.0.0.1/tcp/0").await;
    let mut incoming = server.accept(ECHO, 64).unwrap();
    let (_client, mut stream) = dialed(&runtime, &address).await;
    let data = vec![1; LENGTH];
    let mut write = Box::pin(async {
        stream.write_all(&data).await.unwrap();
        stream.close().await.unwrap();
    });
    let accept = async { incoming.next().await.map(|(_, stream)| stream) };
    let done = async {
        write.as_mut().await;
        None
    };
    let mut accepted = accept.or(done).await.expect("nobody has read");
    let early = async {
        write.as_mut().await;
        true
    };
    let waited = async {
        smol::Timer::after(Duration::from_millis(300)).await;
        false
    };
    assert!(!early.or(waited).await, "nobody has read");
    let mut received = Vec::new();
    let (read, ()) = future::zip(accepted.read_to_end(&mut received), write).await;
    assert_eq!(read.unwrap(), LENGTH);
}

/// Fails if one connection's event is taken for another's, or lost among many.
pub(crate) async fn many_connections<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (server, address) = listening(&runtime, "/ip4/127.0.0.1/tcp/0").await;
    serve_echo(&runtime, &server);
    let (told, done) = smol::channel::bounded(64);
    for number in 0..64 {
        let (runtime, told, address) = (runtime.clone(), told.clone(), address.clone());
        let tasks = runtime.clone();
        tasks.spawn(async move {
            let (client, mut stream) = dialed(&runtime, &address).await;
            for round in 0..100 {
                let sent = [number, round];
                stream.write_all(&sent).await.unwrap();
                let mut got = [0; 2];
                stream.read_exact(&mut got).await.unwrap();
                assert_eq!(got, sent);
            }
            client.shutdown().await;
            told.send(()).await.unwrap();
        });
    }
    drop(told);
    for number in 0..64 {
        assert!(done.recv().await.is_ok(), "{number} were done");
    }
}

pub(crate) async fn troubles<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (server, address) = listening(&runtime, "/ip4/127.0.0.1/tcp/0").await;
    let plain = address.without_peer_id();
    let other = host(&runtime);
    let in_use = ListenError::Transport(TransportError::AddressInUse);
    assert_eq!(other.listen(plain.clone()).await, Err(in_use));
    let foreign = other.listen("/ip4/192.0.2.1/tcp/0".parse().unwrap()).await;
    let not_here = ListenError::Transport(TransportError::AddressNotAvailable);
    assert_eq!(foreign, Err(not_here));

    let wrong = plain.with_peer_id(host(&runtime).peer_id()).unwrap();
    let error = other.dial(DialOptions::address(wrong)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Dial(_)), "{error}");
    let refused = failure(&other, "/ip4/127.0.0.1/tcp/1").await;
    assert_eq!(refused, AttemptError::Transport(TransportError::Refused));
    drop(server);

    // Somebody accepts and resets.
    let rude = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = rude.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (socket, _) = rude.accept().unwrap();
        socket2::SockRef::from(&socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let reset = failure(&other, &format!("/ip4/127.0.0.1/tcp/{port}")).await;
    assert!(
        matches!(
            reset,
            AttemptError::Connection(ConnectionError::Lost(_))
                | AttemptError::Transport(TransportError::Reset)
        ),
        "{reset:?}"
    );
    thread.join().unwrap();
}

/// Why the only address of a dial did not lead to a connection.
async fn failure(host: &Host<Nothing>, address: &str) -> AttemptError {
    let options = DialOptions::address(address.parse().unwrap());
    let Err(ConnectError::Dial(error)) = host.dial(options).await else {
        panic!("dialed {address}");
    };
    error.failures()[0].error.clone()
}

/// Fails if a zone can only be given by its number.
#[cfg(target_os = "linux")]
pub(crate) async fn zones<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (server, client) = (host(&runtime), host(&runtime));
    let listen = |zone: &str| format!("/ip6zone/{zone}/ip6/::1/tcp/0").parse().unwrap();
    let bound = server.listen(listen("lo")).await.unwrap();
    let nowhere = server.listen(listen("nowhere0")).await;
    let unsupported = ListenError::Transport(TransportError::Unsupported);
    assert_eq!(nowhere, Err(unsupported));
    let Some(Part::Tcp(port)) = bound.address.iter().last() else {
        panic!("{}", bound.address);
    };
    let address = format!("/ip6zone/lo/ip6/::1/tcp/{port}").parse().unwrap();
    let dialed = client.dial(DialOptions::address(address)).await.unwrap();
    assert_eq!(dialed.peer, server.peer_id());
}

/// Fails if a host that is shut down leaves its peers without a word, or its port taken.
pub(crate) async fn shutdown<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (server, address) = listening(&runtime, "/ip4/127.0.0.1/tcp/0").await;
    serve_echo(&runtime, &server);
    let (client, mut stream) = dialed(&runtime, &address).await;
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    server.shutdown().await;
    assert!(stream.read(&mut [0]).await.is_err(), "it was cut short");
    let again = host(&runtime);
    let bound = again.listen(address.without_peer_id()).await;
    assert_eq!(bound.unwrap().address, address.without_peer_id());
    client.shutdown().await;
}

pub(crate) async fn last_handle<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (server, address) = listening(&runtime, "/ip4/127.0.0.1/tcp/0").await;
    serve_echo(&runtime, &server);
    let (client, mut stream) = dialed(&runtime, &address).await;
    drop(server);
    let mut rest = Vec::new();
    let late = async {
        smol::Timer::after(Duration::from_secs(10)).await;
        panic!("the stream does not end");
    };
    let ended = stream.read_to_end(&mut rest).or(late).await;
    assert!(ended.is_err(), "the stream was cut short");
    assert!(
        client.dial(DialOptions::address(address)).await.is_err(),
        "nobody listens any more"
    );
}

/// Fails if the runtime does not tell the machine's interfaces.
pub(crate) async fn everywhere<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let server = host(&runtime);
    let everywhere = server.listen("/ip4/0.0.0.0/tcp/0".parse().unwrap());
    let everywhere = everywhere.await.unwrap().address;
    let Some(Part::Tcp(port)) = everywhere.iter().last() else {
        panic!("{everywhere}");
    };
    let loopback: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let mut known = server.listen_addresses();
    for _ in 0..1000 {
        if known.contains(&loopback) {
            break;
        }
        smol::Timer::after(Duration::from_millis(5)).await;
        known = server.listen_addresses();
    }
    assert!(known.contains(&loopback), "{known:?}");
    assert!(!known.contains(&everywhere), "{known:?}");
    let client = host(&runtime);
    let dialed = client.dial(DialOptions::address(loopback)).await.unwrap();
    assert_eq!(dialed.peer, server.peer_id());
}
