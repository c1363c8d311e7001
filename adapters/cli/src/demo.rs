//! `drywire demo`: a few nodes of this program, in one process, talking over this machine's loopback interface.

mod dht;

use crate::{
    clients::{echo_checked, pattern, ping_once},
    executor,
    failure::Failure,
    keys,
    output::{Output, printable, rate},
    services,
    session::{
        ECHO, Host, Hosts, PING, ProtocolEvent, Protocols, Role, dial, not_connected, race,
        try_dial, within,
    },
};
use bytes::Bytes;
use core::{future::poll_fn, pin::Pin, task::Poll};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::identify::{self, Info},
    swarm::{AttemptError, Event, TransportError},
};
use drywire_engine::{ConnectError, Events, OpenStreamError};
use futures_core::Stream as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const CHAT: ProtocolName = ProtocolName::from_static("/drywire/demo-chat/1.0.0");
/// For each step; on one machine all of them are quick.
const TIMEOUT: Duration = Duration::from_secs(10);
const ECHOED: u64 = 64 << 20;
const PARALLEL: u64 = 100;
const ASKED: u64 = 1_000;
const ASKERS: u64 = 50;
const NAMES: [&str; 10] = [
    "ada", "bob", "cleo", "dan", "fay", "gus", "hal", "ida", "eve", "jon",
];
/// Those that the first one talks to before they all find each other.
const FRIENDS: usize = 3;

/// What a peer said of itself.
type Told = (PeerId, Arc<Info>);

struct Node {
    name: &'static str,
    host: Host,
    address: Multiaddr,
}

pub(crate) async fn run(hosts: &Hosts, output: &Output) -> Result<(), Failure> {
    let began = Instant::now();
    let (mut nodes, mut events) = (Vec::new(), Vec::new());
    for name in NAMES {
        let node = node(name, hosts, output).await?;
        events.push((name, node.host.events(256)));
        nodes.push(node);
    }
    // What ada is told comes to it by way of the watcher; the others are told by ada alone.
    let (tell_ada, told) = mpsc::channel(16);
    let mut trouble = None;
    let watched = async { trouble = Some(watch(events, &tell_ada).await) };
    match race(watched, steps(&nodes, told, output)).await {
        Some(result) => result?,
        None => return Err(trouble.unwrap_or_else(|| Failure::failed("a node ended"))),
    }

    tell(output, "all say goodbye")?;
    for node in nodes {
        node.host.shutdown().await;
    }
    let seconds = began.elapsed().as_secs_f64();
    output.say(
        &format!("done in {seconds:.1} s"),
        "done",
        &[("seconds", seconds.into())],
    )
}

async fn steps(nodes: &[Node], told: mpsc::Receiver<Told>, output: &Output) -> Result<(), Failure> {
    let [ada, bob, cleo, dan, ..] = nodes else {
        return Ok(());
    };
    tell(
        output,
        "ada dials bob, cleo and dan: TCP, Noise, yamux; each proves to own its peer id",
    )?;
    for other in [bob, cleo, dan] {
        let start = Instant::now();
        dial(&ada.host, &other.address, TIMEOUT).await?;
        let text = format!("connected to {} in {}", other.name, millis(start.elapsed()));
        output.say(
            &text,
            "connected",
            &[
                ("to", other.name.into()),
                ("ms", (start.elapsed().as_secs_f64() * 1e3).into()),
            ],
        )?;
    }
    identified(told, output).await?;
    pings(ada, bob, output).await?;
    chat(cleo, dan, output).await?;
    requests(ada, bob, output).await?;
    dht::run(nodes, output).await?;
    transfers(ada, bob, output).await?;
    unsupported(ada, dan, output).await?;
    wrong_peer(cleo, ada, output).await
}

/// Until a node cannot go on: why. A dialer would learn of it only by waiting in vain. The first node's peers are told of.
async fn watch(
    mut nodes: Vec<(&'static str, Events<Protocols>)>,
    told: &mpsc::Sender<Told>,
) -> Failure {
    poll_fn(|cx| {
        for (index, (name, events)) in nodes.iter_mut().enumerate() {
            while let Poll::Ready(event) = Pin::new(&mut *events).poll_next(cx) {
                match event {
                    Some(Event::AcceptFailed {
                        error: error @ TransportError::OutOfDescriptors,
                        ..
                    }) => {
                        return Poll::Ready(Failure::failed(format!(
                            "{name} cannot accept a connection: {error}"
                        )));
                    }
                    Some(Event::Protocol(ProtocolEvent::Identify(identify::Event::Received {
                        peer,
                        info,
                        ..
                    }))) if index == 0 => {
                        // If there is no room, nobody waits for it any more.
                        let _ = told.try_send((peer, info));
                    }
                    Some(_) => {}
                    // It has said goodbye.
                    None => break,
                }
            }
        }
        Poll::Pending
    })
    .await
}

async fn node(name: &'static str, hosts: &Hosts, output: &Output) -> Result<Node, Failure> {
    let host = hosts.start(
        keys::generate()?,
        Role::Peer(TIMEOUT, Box::new(dht::config())),
    )?;
    let any = "/ip4/127.0.0.1/tcp/0".parse().map_err(Failure::failed)?;
    let bound = host
        .listen(any)
        .await
        .map_err(|error| Failure::failed(format!("{name} cannot listen: {error}")))?;
    let address = bound
        .address
        .with_peer_id(host.peer_id())
        .map_err(Failure::failed)?;
    services::serve_echo(&host).map_err(Failure::failed)?;
    services::serve_perf(&host).map_err(Failure::failed)?;
    output.say(
        &format!("{name} listens on {address}"),
        "listen",
        &[
            ("node", name.into()),
            ("address", address.to_string().into()),
        ],
    )?;
    Ok(Node {
        name,
        host,
        address,
    })
}

fn tell(output: &Output, text: &str) -> Result<(), Failure> {
    output.say(&format!("\n{text}"), "step", &[("text", text.into())])
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Waits until ada's peers have said who they are.
async fn identified(mut told: mpsc::Receiver<Told>, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "identify: each peer says what it is and what it supports",
    )?;
    let wait = async {
        for _ in 0..FRIENDS {
            let Some((peer, info)) = told.recv().await else {
                return Err(Failure::failed("the node ended"));
            };
            let names: Vec<String> = info.protocols.iter().map(ToString::to_string).collect();
            let text = format!(
                "{}: {}, supports {}",
                peer.short(),
                printable(&info.agent_version),
                printable(&names.join(" "))
            );
            let fields = [
                ("peer", peer.to_base58().into()),
                ("protocols", names.into()),
            ];
            output.say(&text, "identified", &fields)?;
        }
        Ok(())
    };
    within(TIMEOUT, "not everybody said who they are", wait).await
}

async fn pings(ada: &Node, bob: &Node, output: &Output) -> Result<(), Failure> {
    tell(output, "ping: ada to bob, 5 times on one stream")?;
    let mut stream = ada
        .host
        .open_stream(bob.host.peer_id(), PING)
        .await
        .map_err(Failure::failed)?;
    for number in 1..=5u32 {
        let time = within(TIMEOUT, "no answer to a ping", ping_once(&mut stream)).await?;
        let fields = [
            ("number", number.into()),
            ("rtt_ms", (time.as_secs_f64() * 1e3).into()),
        ];
        output.say(&format!("ping {number}: {}", millis(time)), "ping", &fields)?;
    }
    Ok(())
}

/// Cleo dials dan by herself and talks to him, half-closing when she has said all.
async fn chat(cleo: &Node, dan: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "a stream of an own protocol: cleo to dan, who are not connected yet; it waits for the dial",
    )?;
    let mut incoming = dan.host.accept(CHAT, 4).map_err(Failure::failed)?;
    let failed =
        |error: &dyn core::fmt::Display| Failure::failed(format!("the chat failed: {error}"));
    cleo.host.add_address(dan.host.peer_id(), &dan.address);
    let mut stream = cleo
        .host
        .open_stream_optimistic(dan.host.peer_id(), CHAT)
        .await
        .map_err(|error| failed(&error))?;
    stream
        .write_bytes(&mut "hello dan, do you hear me?".into())
        .await
        .map_err(|error| failed(&error))?;
    stream.finish().map_err(|error| failed(&error))?;
    let answer = async {
        let Some((_, mut stream)) = incoming.next().await else {
            return Err(Failure::failed("the node ended"));
        };
        let mut heard = Vec::new();
        while let Some(bytes) = stream
            .read_bytes(1024)
            .await
            .map_err(|error| failed(&error))?
        {
            heard.extend_from_slice(&bytes);
        }
        let heard = String::from_utf8_lossy(&heard);
        output.say(
            &format!("dan hears: {}", printable(&heard)),
            "chat",
            &[("to", "dan".into()), ("text", heard.as_ref().into())],
        )?;
        stream
            .write_bytes(&mut "loud and clear, cleo".into())
            .await
            .map_err(|error| failed(&error))?;
        stream.finish().map_err(|error| failed(&error))?;
        let said = within(TIMEOUT, "no answer", async {
            Ok(stream_text(&mut stream).await)
        });
        said.await.map(drop)
    };
    within(TIMEOUT, "dan hears nothing", answer).await?;
    let heard = stream_text(&mut stream).await;
    output.say(
        &format!("cleo hears: {}", printable(&heard)),
        "chat",
        &[("to", "cleo".into()), ("text", heard.clone().into())],
    )?;
    Ok(())
}

async fn stream_text(stream: &mut drywire_engine::Stream) -> String {
    let mut heard = Vec::new();
    while let Ok(Some(bytes)) = stream.read_bytes(1024).await {
        heard.extend_from_slice(&bytes);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Ada asks bob many things at once.
async fn requests(ada: &Node, bob: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "requests: ada asks bob 1,000 times, 50 at once; each answer is compared with its question",
    )?;
    let (host, peer) = (&ada.host, bob.host.peer_id());
    let start = Instant::now();
    let mut tasks = Vec::new();
    for asker in 0..ASKERS {
        let requests = host.requests(Protocols::Asking);
        tasks.push(executor::spawn(async move {
            for number in 0..ASKED / ASKERS {
                let question = Bytes::from(format!("question {number} of {asker}"));
                let answer = requests.request(peer, question.clone()).await;
                if answer.map_err(Failure::failed)? != question {
                    return Err(Failure::failed("bob answers something else"));
                }
            }
            Ok(())
        }));
    }
    for task in tasks {
        task.await.map_err(Failure::failed)??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let text = format!(
        "{ASKED} answers in {:.1} ms ({:.0} a second)",
        seconds * 1e3,
        ASKED as f64 / seconds
    );
    output.say(
        &text,
        "requests",
        &[("answers", ASKED.into()), ("seconds", seconds.into())],
    )
}

async fn transfers(ada: &Node, bob: &Node, output: &Output) -> Result<(), Failure> {
    let peer = bob.host.peer_id();
    tell(
        output,
        "bytes: ada sends 64 MiB to bob's echo, and checks every byte that comes back",
    )?;
    let block = pattern();
    let bar = output.progress("echo", ECHOED);
    let stream = ada
        .host
        .open_stream(peer, ECHO)
        .await
        .map_err(Failure::failed)?;
    let start = Instant::now();
    echo_checked(stream, &block, ECHOED, TIMEOUT, |count| bar.add(count)).await?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    let text = format!(
        "64 MiB there and back in {seconds:.2} s ({})",
        rate(ECHOED, seconds)
    );
    output.say(
        &text,
        "echo",
        &[("bytes", ECHOED.into()), ("seconds", seconds.into())],
    )?;

    tell(
        output,
        "streams: 100 at once on the same connection, 64 KiB there and back on each",
    )?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..PARALLEL {
        let (host, block) = (ada.host.clone(), block.clone());
        tasks.push(executor::spawn(async move {
            let stream = host
                .open_stream_optimistic(peer, ECHO)
                .await
                .map_err(Failure::failed)?;
            echo_checked(stream, &block, 64 << 10, TIMEOUT, |_| {}).await
        }));
    }
    for task in tasks {
        task.await.map_err(Failure::failed)??;
    }
    let time = start.elapsed();
    output.say(
        &format!("100 streams in {}", millis(time)),
        "streams",
        &[
            ("streams", PARALLEL.into()),
            ("ms", (time.as_secs_f64() * 1e3).into()),
        ],
    )?;
    Ok(())
}

async fn unsupported(ada: &Node, dan: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "errors have types: ada asks dan for a protocol he does not have",
    )?;
    let unknown = ProtocolName::from_static("/no/such/protocol");
    match ada.host.open_stream(dan.host.peer_id(), unknown).await {
        Err(error @ OpenStreamError::UnsupportedProtocol(_)) => {
            output.say(
                &format!("refused, as it should be: {error}"),
                "refused",
                &[("error", error.to_string().into())],
            )?;
            Ok(())
        }
        Err(other) => Err(Failure::failed(format!("expected a refusal, not: {other}"))),
        Ok(_) => Err(Failure::failed("a protocol nobody has was agreed on")),
    }
}

/// Cleo dials ada's socket under another name: one that she is not connected to, as she is to all others.
async fn wrong_peer(cleo: &Node, ada: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "nobody can pretend: cleo dials ada's port expecting somebody else",
    )?;
    let false_address = ada
        .address
        .without_peer_id()
        .with_peer_id(keys::generate()?.peer_id())
        .map_err(Failure::failed)?;
    let Err(error) = try_dial(&cleo.host, &false_address, TIMEOUT).await else {
        return Err(Failure::failed("a peer was taken for another"));
    };
    let failure = not_connected(&false_address, TIMEOUT, &error);
    let noticed = match &error {
        ConnectError::Dial(dial) => dial.failures(),
        _ => &[],
    };
    if !noticed
        .iter()
        .any(|failure| matches!(failure.error, AttemptError::WrongPeer { .. }))
    {
        return Err(failure);
    }
    output.say(
        &format!("refused, as it should be: {failure}"),
        "refused",
        &[("error", failure.to_string().into())],
    )
}
