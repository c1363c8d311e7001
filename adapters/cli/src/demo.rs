//! `drywire demo`: a few nodes of this program, in one process, talking over this machine's loopback interface.

use crate::{
    clients::{echo_checked, pattern, ping_once},
    failure::Failure,
    keys,
    output::{Output, rate},
    services,
    session::{ECHO, Host, PING, ProtocolEvent, Protocols, dial, start, within},
};
use drywire::{multiaddr::Multiaddr, multistream::ProtocolName, protocol::identify, swarm::Event};
use drywire_engine::{Events, OpenStreamError};
use std::time::{Duration, Instant};

const CHAT: ProtocolName = ProtocolName::from_static("/drywire/demo-chat/1.0.0");
/// For each step; on one machine all of them are quick.
const TIMEOUT: Duration = Duration::from_secs(10);
const ECHOED: u64 = 64 << 20;
const PARALLEL: u64 = 100;
const NAMES: [&str; 4] = ["ada", "bob", "cleo", "dan"];

struct Node {
    name: &'static str,
    host: Host,
    events: Events<Protocols>,
    address: Multiaddr,
}

pub(crate) async fn run(output: &Output) -> Result<(), Failure> {
    let began = Instant::now();
    let mut nodes = Vec::new();
    for name in NAMES {
        nodes.push(node(name, output).await?);
    }
    let [ada, bob, cleo, dan] = nodes.as_mut_slice() else {
        return Ok(());
    };

    tell(
        output,
        "ada dials everybody: TCP, Noise, yamux; each proves to own its peer id",
    );
    for other in [&*bob, &*cleo, &*dan] {
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
        );
    }
    identified(ada, output).await?;
    pings(ada, bob, output).await?;
    chat(cleo, dan, output).await?;
    transfers(ada, bob, output).await?;
    unsupported(ada, dan, output).await?;
    wrong_peer(cleo, ada, bob, output).await?;

    tell(output, "all say goodbye");
    for node in nodes {
        node.host.shutdown().await;
    }
    let seconds = began.elapsed().as_secs_f64();
    output.say(
        &format!("done in {seconds:.1} s"),
        "done",
        &[("seconds", seconds.into())],
    );
    Ok(())
}

async fn node(name: &'static str, output: &Output) -> Result<Node, Failure> {
    let host = start(keys::generate()?, false)?;
    let events = host.events(256);
    let any = "/ip4/127.0.0.1/tcp/0".parse().map_err(Failure::failed)?;
    let bound = host
        .listen(any)
        .await
        .map_err(|error| Failure::failed(format!("cannot listen: {error}")))?;
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
    );
    Ok(Node {
        name,
        host,
        events,
        address,
    })
}

fn tell(output: &Output, text: &str) {
    output.say(&format!("\n{text}"), "step", &[("text", text.into())]);
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Waits until ada's peers have said who they are.
async fn identified(ada: &mut Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "identify: each peer says what it is and what it supports",
    );
    let wait = async {
        let mut left = NAMES.len().saturating_sub(1);
        while left > 0 {
            match ada.events.next().await {
                Some(Event::Protocol(ProtocolEvent::Identify(identify::Event::Received {
                    peer,
                    info,
                    ..
                }))) => {
                    left = left.saturating_sub(1);
                    let names: Vec<String> =
                        info.protocols.iter().map(ToString::to_string).collect();
                    let text = format!(
                        "{}: {}, supports {}",
                        peer.short(),
                        info.agent_version,
                        names.join(" ")
                    );
                    let fields = [
                        ("peer", peer.to_base58().into()),
                        ("protocols", names.into()),
                    ];
                    output.say(&text, "identified", &fields);
                }
                Some(_) => {}
                None => return Err(Failure::failed("the node ended")),
            }
        }
        Ok(())
    };
    within(TIMEOUT, "not everybody said who they are", wait).await
}

async fn pings(ada: &Node, bob: &Node, output: &Output) -> Result<(), Failure> {
    tell(output, "ping: ada to bob, 5 times on one stream");
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
        output.say(&format!("ping {number}: {}", millis(time)), "ping", &fields);
    }
    Ok(())
}

/// Cleo dials dan by herself and talks to him, half-closing when she has said all.
async fn chat(cleo: &Node, dan: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "a stream of an own protocol: cleo to dan, who are not connected yet; it waits for the dial",
    );
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
        output.say(
            &format!("dan hears: {}", String::from_utf8_lossy(&heard)),
            "chat",
            &[
                ("to", "dan".into()),
                ("text", String::from_utf8_lossy(&heard).into_owned().into()),
            ],
        );
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
        &format!("cleo hears: {heard}"),
        "chat",
        &[("to", "cleo".into()), ("text", heard.clone().into())],
    );
    Ok(())
}

async fn stream_text(stream: &mut drywire_engine::Stream) -> String {
    let mut heard = Vec::new();
    while let Ok(Some(bytes)) = stream.read_bytes(1024).await {
        heard.extend_from_slice(&bytes);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

async fn transfers(ada: &Node, bob: &Node, output: &Output) -> Result<(), Failure> {
    let peer = bob.host.peer_id();
    tell(
        output,
        "bytes: ada sends 64 MiB to bob's echo, and checks every byte that comes back",
    );
    let block = pattern();
    let bar = output.progress("echo", ECHOED);
    let stream = ada
        .host
        .open_stream(peer, ECHO)
        .await
        .map_err(Failure::failed)?;
    let start = Instant::now();
    echo_checked(stream, &block, ECHOED, TIMEOUT, |count| bar.inc(count)).await?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let text = format!(
        "64 MiB there and back in {seconds:.2} s ({})",
        rate(ECHOED, seconds)
    );
    output.say(
        &text,
        "echo",
        &[("bytes", ECHOED.into()), ("seconds", seconds.into())],
    );

    tell(
        output,
        "streams: 100 at once on the same connection, 64 KiB there and back on each",
    );
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..PARALLEL {
        let (host, block) = (ada.host.clone(), block.clone());
        tasks.push(tokio::spawn(async move {
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
    );
    Ok(())
}

async fn unsupported(ada: &Node, dan: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "errors have types: ada asks dan for a protocol he does not have",
    );
    let unknown = ProtocolName::from_static("/no/such/protocol");
    match ada.host.open_stream(dan.host.peer_id(), unknown).await {
        Err(error @ OpenStreamError::UnsupportedProtocol(_)) => {
            output.say(
                &format!("refused, as it should be: {error}"),
                "refused",
                &[("error", error.to_string().into())],
            );
            Ok(())
        }
        Err(other) => Err(Failure::failed(format!("expected a refusal, not: {other}"))),
        Ok(_) => Err(Failure::failed("a protocol nobody has was agreed on")),
    }
}

/// Cleo dials ada's socket under bob's name.
async fn wrong_peer(cleo: &Node, ada: &Node, bob: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "nobody can pretend: cleo dials ada's port expecting bob",
    );
    let false_address = ada
        .address
        .without_peer_id()
        .with_peer_id(bob.host.peer_id())
        .map_err(Failure::failed)?;
    match dial(&cleo.host, &false_address, TIMEOUT).await {
        Err(failure) => {
            output.say(
                &format!("refused, as it should be: {failure}"),
                "refused",
                &[("error", failure.to_string().into())],
            );
            Ok(())
        }
        Ok(_) => Err(Failure::failed("a peer was taken for another")),
    }
}
