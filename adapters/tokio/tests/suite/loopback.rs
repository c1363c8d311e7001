//! Hosts over real sockets on the loopback interface.

use crate::common::{Nothing, host};
use core::time::Duration;
use drywire::{
    connection::ConnectionError,
    multiaddr::{Multiaddr, Protocol as Part},
    multistream::ProtocolName,
    swarm::{AttemptError, DialOptions, TransportError},
};
use drywire_engine::{ConnectError, Host, ListenError, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

async fn listening(address: &str) -> (Host<Nothing>, Multiaddr) {
    let host = host();
    let bound = host.listen(address.parse().unwrap()).await.unwrap();
    let address = bound.address.with_peer_id(host.peer_id()).unwrap();
    (host, address)
}

fn serve_echo(host: &Host<Nothing>) {
    let mut incoming = host.accept(ECHO, 64).unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(echo(stream));
        }
    });
}

async fn echo(mut stream: Stream) {
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
    let _ = stream.shutdown().await;
}

async fn transfer(address: &str) {
    let (server, address) = listening(address).await;
    serve_echo(&server);
    let client = host();
    let peer = client
        .dial(DialOptions::address(address))
        .await
        .unwrap()
        .peer;
    let stream = client.open_stream_optimistic(peer, ECHO).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let data: Vec<u8> = (0..10_000_000u32).map(|n| (n / 7) as u8).collect();
    let expected = data.clone();
    let sender = tokio::spawn(async move {
        writer.write_all(&data).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    sender.await.unwrap();
    assert!(received == expected);
    client.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn bytes_echo_on_one_thread_over_ip4() {
    transfer("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bytes_echo_on_many_threads_over_ip6() {
    transfer("/ip6/::1/tcp/0").await;
}

#[tokio::test]
async fn troubles_are_told_apart() {
    let (server, address) = listening("/ip4/127.0.0.1/tcp/0").await;
    let plain = address.without_peer_id();
    let other = host();
    assert_eq!(
        other.listen(plain.clone()).await,
        Err(ListenError::Transport(TransportError::AddressInUse))
    );
    let foreign = other.listen("/ip4/192.0.2.1/tcp/0".parse().unwrap()).await;
    assert_eq!(
        foreign,
        Err(ListenError::Transport(TransportError::AddressNotAvailable))
    );
    let unknown = other.listen("/ip4/127.0.0.1/udp/0".parse().unwrap()).await;
    assert_eq!(
        unknown,
        Err(ListenError::Transport(TransportError::Unsupported))
    );

    let wrong = plain.with_peer_id(host().peer_id()).unwrap();
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
#[tokio::test]
async fn zones_have_names() {
    let (server, client) = (host(), host());
    serve_echo(&server);
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

#[tokio::test]
async fn dropping_the_last_handle_ends_the_node() {
    let (server, address) = listening("/ip4/127.0.0.1/tcp/0").await;
    let client = host();
    let peer = client
        .dial(DialOptions::address(address.clone()))
        .await
        .unwrap()
        .peer;
    serve_echo(&server);
    let mut stream = client.open_stream(peer, ECHO).await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(ended.unwrap().is_err(), "the stream was cut short");
    assert!(
        client.dial(DialOptions::address(address)).await.is_err(),
        "nobody listens any more"
    );
}

/// Fails if the runtime does not tell the machine's interfaces.
#[tokio::test]
async fn a_listener_everywhere_tells_where_it_can_be_dialed() {
    let server = host();
    serve_echo(&server);
    let everywhere = server
        .listen("/ip4/0.0.0.0/tcp/0".parse().unwrap())
        .await
        .unwrap();
    let port = everywhere
        .address
        .iter()
        .find_map(|part| match part {
            Part::Tcp(port) => Some(port),
            _ => None,
        })
        .unwrap();
    let loopback: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let mut known = server.listen_addresses();
    for _ in 0..1000 {
        if known.contains(&loopback) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        known = server.listen_addresses();
    }
    assert!(known.contains(&loopback), "{known:?}");
    assert!(!known.contains(&everywhere.address), "{known:?}");
    let client = host();
    let dialed = client.dial(DialOptions::address(loopback)).await.unwrap();
    assert_eq!(dialed.peer, server.peer_id());
}
