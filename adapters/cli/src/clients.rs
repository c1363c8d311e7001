//! The one-shot clients: ping, identify, echo.

use crate::{
    args::{EchoOptions, IdentifyOptions, PingOptions},
    executor::{interrupted, sleep},
    failure::Failure,
    output::{Output, printable, rate},
    session::{ECHO, Hosts, PING, ProtocolEvent, Session, both, race, within},
};
use bytes::Bytes;
use drywire::{multiaddr::Multiaddr, protocol::identify, swarm::Event};
use drywire_engine::Stream;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CHUNK: usize = 64 * 1024;

/// `drywire ping`
pub(crate) async fn ping(
    options: PingOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let PingOptions {
        peer,
        count,
        interval,
    } = options;
    let mut stop = core::pin::pin!(interrupted());
    let begin = async {
        let session = Session::connect(&peer, hosts, output).await?;
        let stream = session.open(PING).await?;
        Ok((session, stream))
    };
    let Some(begun) = race(stop.as_mut(), begin).await else {
        return Err(Failure::interrupted("the peer was reached"));
    };
    let (session, mut stream) = begun?;
    let name = session.peer().to_base58();
    let mut times = Vec::new();
    let mut number: u64 = 0;
    loop {
        number = number.saturating_add(1);
        let round = within(peer.timeout, "no answer to a ping", ping_once(&mut stream));
        let Some(round_trip) = race(stop.as_mut(), round).await.transpose()? else {
            break;
        };
        times.push(round_trip);
        let millis = round_trip.as_secs_f64() * 1e3;
        let text = format!("{name}: ping {number}, {millis:.3} ms");
        output.say(
            &text,
            "ping",
            &[
                ("peer", name.as_str().into()),
                ("number", number.into()),
                ("rtt_ms", millis.into()),
            ],
        )?;
        if number == count || race(stop.as_mut(), sleep(interval)).await.is_none() {
            break;
        }
    }
    drop(stream);
    session.close().await;
    summary(&times, output)
}

fn summary(times: &[Duration], output: &Output) -> Result<(), Failure> {
    let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else {
        return Err(Failure::interrupted("the peer answered"));
    };
    let total: Duration = times.iter().sum();
    let average = total
        .checked_div(u32::try_from(times.len()).unwrap_or(u32::MAX))
        .unwrap_or_default();
    let millis = |time: &Duration| time.as_secs_f64() * 1e3;
    let (min, average, max) = (millis(min), millis(&average), millis(max));
    let text = format!(
        "{} pings, round trip min/avg/max {min:.3}/{average:.3}/{max:.3} ms",
        times.len()
    );
    let fields = [
        ("count", times.len().into()),
        ("min_ms", min.into()),
        ("avg_ms", average.into()),
        ("max_ms", max.into()),
    ];
    output.say(&text, "ping_summary", &fields)
}

/// Sends 32 random bytes and waits for them to come back.
pub(crate) async fn ping_once(stream: &mut Stream) -> Result<Duration, Failure> {
    let mut sent = [0; 32];
    getrandom::fill(&mut sent)
        .map_err(|error| Failure::failed(format!("no randomness: {error}")))?;
    let start = Instant::now();
    let failed = |error| Failure::failed(format!("the ping failed: {error}"));
    stream.write_all(&sent).await.map_err(failed)?;
    let mut received = [0; 32];
    stream.read_exact(&mut received).await.map_err(failed)?;
    if received != sent {
        return Err(Failure::failed(
            "the peer sent back other bytes than it was sent",
        ));
    }
    Ok(start.elapsed())
}

/// `drywire identify`
pub(crate) async fn identify(
    options: IdentifyOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let mut session = Session::connect(&options.peer, hosts, output).await?;
    let peer = session.peer();
    let answer = async {
        while let Some(event) = session.events().next().await {
            match event {
                Event::Protocol(ProtocolEvent::Identify(identify::Event::Received {
                    peer: from,
                    info,
                    ..
                })) if from == peer => {
                    return Ok(info);
                }
                Event::Protocol(ProtocolEvent::Identify(identify::Event::Failed {
                    error, ..
                })) => {
                    return Err(Failure::failed(format!(
                        "the peer does not say who it is: {error}"
                    )));
                }
                Event::ConnectionClosed { reason, .. } => {
                    return Err(Failure::failed(format!("the connection ended: {reason}")));
                }
                _ => {}
            }
        }
        Err(Failure::failed("the node ended"))
    };
    let info = within(
        options.peer.timeout,
        "the peer did not say who it is",
        answer,
    )
    .await?;
    let texts = |list: &[Multiaddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let addresses = texts(&info.listen_addresses);
    let protocols: Vec<String> = info.protocols.iter().map(ToString::to_string).collect();
    let observed = info.observed_address.as_ref().map(ToString::to_string);
    let mut text = format!(
        "peer      {peer}\nagent     {}\nprotocol  {}",
        printable(&info.agent_version),
        printable(&info.protocol_version)
    );
    for address in &addresses {
        text.push_str(&format!("\nlistens   {}", printable(address)));
    }
    for protocol in &protocols {
        text.push_str(&format!("\nsupports  {}", printable(protocol)));
    }
    if let Some(observed) = &observed {
        text.push_str(&format!("\nsees us   {}", printable(observed)));
    }
    let fields = [
        ("peer", peer.to_base58().into()),
        ("agent", info.agent_version.as_str().into()),
        ("protocol_version", info.protocol_version.as_str().into()),
        ("listen_addresses", addresses.into()),
        ("protocols", protocols.into()),
        ("observed_address", observed.into()),
        ("certified", info.certified.into()),
    ];
    session.close().await;
    output.say(&text, "identify", &fields)
}

/// `drywire echo`
pub(crate) async fn echo(
    options: EchoOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let EchoOptions { peer, data, size } = options;
    let session = Session::connect(&peer, hosts, output).await?;
    let stream = session.open(ECHO).await?;
    let result = match size {
        None => {
            let text = data.unwrap_or_else(|| "hello from drywire".to_owned());
            echo_text(stream, &text, peer.timeout, output).await
        }
        Some(size) => echo_bytes(stream, size, peer.timeout, output).await,
    };
    session.close().await;
    result
}

async fn echo_text(
    mut stream: Stream,
    text: &str,
    timeout: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("the echo failed: {error}"));
    let exchange = async {
        stream.write_all(text.as_bytes()).await.map_err(failed)?;
        stream.shutdown().await.map_err(failed)?;
        let mut answer = Vec::new();
        let limit = (text.len() as u64).saturating_add(1);
        (&mut stream)
            .take(limit)
            .read_to_end(&mut answer)
            .await
            .map_err(failed)?;
        Ok(answer)
    };
    let answer = within(timeout, "no echo", exchange).await?;
    if answer != text.as_bytes() {
        return Err(Failure::failed(
            "the peer sent back other bytes than it was sent",
        ));
    }
    output.say(
        text,
        "echo",
        &[("data", text.into()), ("bytes", text.len().into())],
    )
}

/// What is sent: a block whose length is prime, again and again, so that no shift, loss or repetition goes unseen.
pub(crate) fn pattern() -> Bytes {
    let mut state: u32 = 0x9E37_79B9;
    let block = (0..65_521).map(|_| {
        // xorshift32
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    });
    block.collect()
}

/// Sends `size` bytes, and checks what comes back meanwhile.
async fn echo_bytes(
    stream: Stream,
    size: u64,
    timeout: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let block = pattern();
    let bar = output.progress("echo", size);
    let start = Instant::now();
    echo_checked(stream, &block, size, timeout, |count| bar.add(count)).await?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    let text = format!(
        "{size} bytes there and back in {seconds:.3} s ({}), all of them right",
        rate(size, seconds)
    );
    output.say(
        &text,
        "echo",
        &[("bytes", size.into()), ("seconds", seconds.into())],
    )
}

/// Sends `size` bytes made of `block` and checks that they come back; `seen` is told the progress.
pub(crate) async fn echo_checked(
    stream: Stream,
    block: &Bytes,
    size: u64,
    timeout: Duration,
    mut seen: impl FnMut(u64),
) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("the echo failed: {error}"));
    let (mut reader, mut writer) = tokio::io::split(stream);
    let send = async {
        let mut left = size;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            writer
                .write_all(&block.slice(..count))
                .await
                .map_err(failed)?;
            left = left.saturating_sub(count as u64);
        }
        writer.shutdown().await.map_err(failed)
    };
    let receive = async {
        let mut buffer = vec![0; CHUNK];
        let mut at: u64 = 0;
        loop {
            let read = async { reader.read(&mut buffer).await.map_err(failed) };
            let count = within(timeout, "no more echo comes", read).await?;
            let got = buffer.get(..count).unwrap_or_default();
            if got.is_empty() {
                break;
            }
            check(block, at, got)?;
            at = at.saturating_add(count as u64);
            seen(count as u64);
        }
        if at == size {
            Ok(())
        } else {
            Err(Failure::failed(format!(
                "sent {size} bytes and got {at} back"
            )))
        }
    };
    both(send, receive).await
}

/// Compares what came back from the `at`th byte on.
fn check(block: &[u8], at: u64, mut got: &[u8]) -> Result<(), Failure> {
    let length = (block.len() as u64).max(1);
    let mut offset = usize::try_from(at.checked_rem(length).unwrap_or(0)).unwrap_or(0);
    while !got.is_empty() {
        let expected = block.get(offset..).unwrap_or_default();
        let count = expected.len().min(got.len());
        if count == 0 || expected.get(..count) != got.get(..count) {
            return Err(Failure::failed(
                "the peer sent back other bytes than it was sent",
            ));
        }
        got = got.get(count..).unwrap_or_default();
        offset = 0;
    }
    Ok(())
}
