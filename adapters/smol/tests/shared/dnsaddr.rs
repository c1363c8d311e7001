//! `/dnsaddr` against a name server on the loopback interface that says whatever a test wants.

use super::host;
use drywire::swarm::{AttemptError, DialError, DialOptions, TransportError};
use drywire_engine::{ConnectError, Runtime as _};
use drywire_smol::{AsyncIoRuntime, Spawn};
use smol::future;
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What the server does with a question.
enum Answer {
    /// TXT records, each of some strings.
    Records(Vec<Vec<Vec<u8>>>),
    NoSuchName,
    /// These bytes behind the number of the question.
    Garbage(Vec<u8>),
    Silence,
}

fn texts(texts: impl IntoIterator<Item = String>) -> Answer {
    Answer::Records(
        texts
            .into_iter()
            .map(|text| vec![text.into_bytes()])
            .collect(),
    )
}

/// The name that is asked for, and where the question ends.
fn question(query: &[u8]) -> (String, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    (labels.join(".").to_lowercase(), at + 5)
}

fn reply(query: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let (_, end) = question(query);
    let header = |code: u8, records: usize| {
        let mut reply = query[..2].to_vec();
        reply.extend([0x81, 0x80 | code, 0, 1]);
        reply.extend(u16::try_from(records).unwrap().to_be_bytes());
        reply.extend([0; 4]);
        reply.extend(&query[12..end]);
        reply
    };
    match answer {
        Answer::Silence => None,
        Answer::NoSuchName => Some(header(3, 0)),
        Answer::Garbage(garbage) => Some([&query[..2], &garbage].concat()),
        Answer::Records(records) => {
            let mut reply = header(0, records.len());
            for strings in records {
                let length: usize = strings.iter().map(|string| string.len() + 1).sum();
                // The name asked for, TXT, IN, a minute.
                reply.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
                reply.extend(u16::try_from(length).unwrap().to_be_bytes());
                for string in strings {
                    reply.push(u8::try_from(string.len()).unwrap());
                    reply.extend(string);
                }
            }
            Some(reply)
        }
    }
}

/// A server for UDP and TCP, on threads that end with the tests; and how many questions it has been asked by UDP, by TCP.
fn server(
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> (SocketAddr, Arc<[AtomicUsize; 2]>) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let (answer, asked) = (
        Arc::new(answer),
        Arc::new([const { AtomicUsize::new(0) }; 2]),
    );
    let (by_udp, count) = (answer.clone(), asked.clone());
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            count[0].fetch_add(1, Ordering::Relaxed);
            let query = &buffer[..len];
            let mut reply = reply(query, by_udp(&question(query).0));
            if let Some(reply) = reply.as_mut().filter(|reply| reply.len() > 1200) {
                // Truncated: the rest by TCP.
                reply.truncate(question(query).1);
                reply[2] |= 2;
                reply[6..8].fill(0);
            }
            if let Some(reply) = reply {
                let _ = udp.send_to(&reply, from);
            }
        }
    });
    let count = asked.clone();
    thread::spawn(move || {
        while let Ok((mut socket, _)) = tcp.accept() {
            let (answer, count) = (answer.clone(), count.clone());
            thread::spawn(move || {
                let mut length = [0; 2];
                while socket.read_exact(&mut length).is_ok() {
                    count[1].fetch_add(1, Ordering::Relaxed);
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    socket.read_exact(&mut query)?;
                    if let Some(reply) = reply(&query, answer(&question(&query).0)) {
                        socket.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes())?;
                        socket.write_all(&reply)?;
                    }
                }
                Ok::<_, io::Error>(())
            });
        }
    });
    (address, asked)
}

/// Fails if TXT records are not looked up, at each step of a chain, or if what follows the name does not choose among them.
pub(crate) async fn chain<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (near, far) = (host(&runtime), host(&runtime));
    let mut addresses = Vec::new();
    for host in [&near, &far] {
        let bound = host.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap());
        let address = bound.await.unwrap().address;
        addresses.push(address.with_peer_id(host.peer_id()).unwrap());
    }
    let (near_id, far_id) = (near.peer_id(), far.peer_id());
    let (address, asked) = server(move |name| match name {
        "_dnsaddr.first.test" => texts([
            "v=spf1 -all".to_owned(),
            format!("dnsaddr={}", addresses[0]),
            format!("dnsaddr=/dnsaddr/second.test/p2p/{far_id}"),
            "dnsaddr=/ip4/nonsense".to_owned(),
        ]),
        "_dnsaddr.second.test" => texts([format!("dnsaddr={}", addresses[1])]),
        _ => Answer::NoSuchName,
    });
    let client = host(&runtime.name_servers([address]));
    for id in [near_id, far_id] {
        let name = format!("/dnsaddr/first.test/p2p/{id}");
        let options = DialOptions::address(name.parse().unwrap());
        assert_eq!(client.dial(options).await.unwrap().peer, id);
    }
    // The second time the first name was known.
    assert_eq!(asked[0].load(Ordering::Relaxed), 2);
}

/// Fails if an answer of any length is taken whole, or if one that does not fit a datagram is not asked for by TCP.
pub(crate) async fn large<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (address, asked) = server(|_| {
        let mut records: Vec<Vec<Vec<u8>>> = vec![vec![vec![b'x'; 255]; 5], vec![vec![]]];
        records.extend((0..300).map(|n| vec![format!("dnsaddr=/ip4/192.0.2.1/tcp/{n}").into()]));
        Answer::Records(records)
    });
    let runtime = runtime.name_servers([address]);
    let found = runtime.lookup_txt("many.test").await.unwrap();
    assert_eq!(found.len(), 64);
    assert_eq!(found[..2], ["", "dnsaddr=/ip4/192.0.2.1/tcp/0"]);
    assert_eq!(asked[1].load(Ordering::Relaxed), 1);
}

/// Fails if a failed lookup is reported as another kind of failure, or never.
pub(crate) async fn bad<S: Spawn>(runtime: AsyncIoRuntime<S>) {
    let (address, _) = server(|name| {
        let name = name.trim_start_matches("_dnsaddr.");
        match name.split('.').next().unwrap() {
            "missing" => Answer::NoSuchName,
            "short" => Answer::Garbage(vec![0x81]),
            _ => Answer::Silence,
        }
    });
    let runtime = runtime.name_servers([address]);
    let kind = async |name: &str| runtime.lookup_txt(name).await.unwrap_err().kind();
    assert_eq!(kind("missing.test").await, io::ErrorKind::NotFound);
    assert_eq!(kind("not a name..test").await, io::ErrorKind::Other);
    let (short, silence) = future::zip(kind("short.test"), kind("silence.test")).await;
    assert_ne!(short, io::ErrorKind::NotFound);
    assert_eq!(silence, io::ErrorKind::TimedOut);
    let client = host(&runtime);
    let name = "/dnsaddr/missing.test".parse().unwrap();
    let Err(ConnectError::Dial(error)) = client.dial(DialOptions::address(name)).await else {
        panic!("dialed");
    };
    assert!(matches!(error, DialError::AllFailed { .. }), "{error:?}");
    let not_found = AttemptError::Lookup(TransportError::NameNotFound);
    assert_eq!(error.failures()[0].error, not_found);
}
