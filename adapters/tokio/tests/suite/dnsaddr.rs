//! `/dnsaddr` against a name server on the loopback interface that says whatever a test wants.

use crate::common::{Nothing, host_on};
use drywire::swarm::{AttemptError, DialError, DialOptions, TransportError};
use drywire_engine::{ConnectError, Host, Runtime as _};
use drywire_tokio::TokioRuntime;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
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

/// A server for UDP and TCP; and how many questions it has been asked.
async fn server(
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let (answer, asked) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let (by_udp, count) = (answer.clone(), asked.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let query = &buffer[..len];
            let mut reply = reply(query, by_udp(&question(query).0));
            if let Some(reply) = reply.as_mut().filter(|reply| reply.len() > 1200) {
                // Truncated: the rest by TCP.
                reply.truncate(question(query).1);
                reply[2] |= 2;
                reply[6..8].fill(0);
            }
            if let Some(reply) = reply {
                let _ = udp.send_to(&reply, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = tcp.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                while let Ok(len) = socket.read_u16().await {
                    let mut query = vec![0; usize::from(len)];
                    socket.read_exact(&mut query).await?;
                    if let Some(reply) = reply(&query, answer(&question(&query).0)) {
                        socket
                            .write_u16(u16::try_from(reply.len()).unwrap())
                            .await?;
                        socket.write_all(&reply).await?;
                    }
                }
                Ok::<_, io::Error>(())
            });
        }
    });
    (address, asked)
}

fn runtime(server: SocketAddr) -> TokioRuntime {
    TokioRuntime::current().unwrap().name_servers([server])
}

fn host(server: SocketAddr) -> Host<Nothing> {
    host_on(runtime(server))
}

/// Fails if TXT records are not looked up, at each step of a chain, or if what follows the name does not choose among them.
#[tokio::test]
async fn a_chain_of_names_leads_to_the_peer() {
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let (near, far) = (host(nobody), host(nobody));
    let mut addresses = Vec::new();
    for host in [&near, &far] {
        let bound = host
            .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .await
            .unwrap();
        addresses.push(bound.address.with_peer_id(host.peer_id()).unwrap());
    }
    let (near_id, far_id) = (near.peer_id(), far.peer_id());
    let (address, asked) = server(move |name| match name {
        "_dnsaddr.first.test" => texts([
            "v=spf1 -all".to_owned(),
            format!("dnsaddr={}", addresses[0]),
            format!("dnsaddr=/dnsaddr/second.test/p2p/{far_id}"),
            "dnsaddr=/ip4/nonsense".to_owned(),
        ]),
        // In two strings.
        "_dnsaddr.second.test" => {
            let text = format!("dnsaddr={}", addresses[1]).into_bytes();
            let (one, two) = text.split_at(20);
            Answer::Records(vec![vec![one.to_vec(), two.to_vec()]])
        }
        _ => Answer::NoSuchName,
    })
    .await;
    let client = host(address);
    for id in [near_id, far_id] {
        let name = format!("/dnsaddr/first.test/p2p/{id}");
        let dialed = client
            .dial(DialOptions::address(name.parse().unwrap()))
            .await
            .unwrap();
        assert_eq!(dialed.peer, id);
    }
    // The second time the first name was known.
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// Fails if names may lead to names without end.
#[tokio::test]
async fn names_that_lead_in_circles_are_given_up() {
    let (address, asked) = server(|name| {
        let name = name.trim_start_matches("_dnsaddr.");
        texts((0..5).map(|n| format!("dnsaddr=/dnsaddr/{n}.{name}")))
    })
    .await;
    let client = host(address);
    let name = "/dnsaddr/round.test".parse().unwrap();
    let error = client.dial(DialOptions::address(name)).await.unwrap_err();
    let ConnectError::Dial(error) = error else {
        panic!("{error}");
    };
    let failures = error.failures();
    assert!(
        failures
            .iter()
            .all(|failure| failure.error == AttemptError::TooManyLookups),
        "{failures:?}"
    );
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=32).contains(&asked), "asked {asked} times");
}

/// Fails if an answer of any length is taken whole.
#[tokio::test]
async fn answers_are_taken_in_part() {
    let (address, _) = server(|_| {
        let mut records: Vec<Vec<Vec<u8>>> = vec![
            vec![vec![b'x'; 255]; 5],
            vec![vec![0xff, 0xfe]],
            vec![vec![]],
        ];
        records.extend((0..300).map(|n| vec![format!("dnsaddr=/ip4/192.0.2.1/tcp/{n}").into()]));
        Answer::Records(records)
    })
    .await;
    let found = runtime(address).lookup_txt("many.test").await.unwrap();
    assert_eq!(found.len(), 64);
    assert_eq!(found[0], "");
    assert_eq!(found[1], "dnsaddr=/ip4/192.0.2.1/tcp/0");
}

/// Fails if a failed lookup is reported as another kind of failure, or never.
#[tokio::test]
async fn bad_answers_and_none_are_told_apart() {
    let (address, _) = server(|name| {
        match name
            .trim_start_matches("_dnsaddr.")
            .split('.')
            .next()
            .unwrap()
        {
            "nothing" => texts([]),
            "missing" => Answer::NoSuchName,
            "short" => Answer::Garbage(vec![0x81]),
            "counts" => Answer::Garbage(vec![
                0x81, 0x80, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 12,
            ]),
            "circle" => Answer::Garbage(vec![
                0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 16, 0, 1, 0xc0, 12, 0, 16, 0, 1,
                0, 0, 0, 60, 0, 200, 255,
            ]),
            _ => Answer::Silence,
        }
    })
    .await;
    let runtime = runtime(address);
    let kind = async |name: &str| runtime.lookup_txt(name).await.unwrap_err().kind();
    let (nothing, missing) = (kind("nothing.test").await, kind("missing.test").await);
    assert_eq!([nothing, missing], [io::ErrorKind::NotFound; 2]);
    assert_eq!(kind("not a name..test").await, io::ErrorKind::Other);
    let [short, counts, circle, silence] =
        ["short.test", "counts.test", "circle.test", "silence.test"]
            .map(|name| tokio::spawn(runtime.lookup_txt(name)));
    for garbage in [short, counts, circle] {
        let error = garbage.await.unwrap().unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
    let silence = silence.await.unwrap().unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::TimedOut, "{silence}");
    let client = host(address);
    let name = "/dnsaddr/missing.test".parse().unwrap();
    let Err(ConnectError::Dial(error)) = client.dial(DialOptions::address(name)).await else {
        panic!("dialed");
    };
    assert!(matches!(error, DialError::AllFailed { .. }), "{error:?}");
    let [failure] = error.failures() else {
        panic!("{error:?}");
    };
    let not_found = AttemptError::Lookup(TransportError::NameNotFound);
    assert_eq!(failure.error, not_found);
}
