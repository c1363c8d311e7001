//! A rust-libp2p node as a program: the other end for interoperability tests across processes.

use std::{
    io::{Read, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use drywire_interop::{
    Error, Libp2pPeer, Options, Peer,
    programs::{self, ECHO, PERF},
};

const USAGE: &str = "\
A rust-libp2p node. Results are one JSON object a line on stdout; exit status 0 done, 1 failed, 2 bad usage.

libp2p-peer node [--listen MULTIADDR] [--until-eof]
    serves ping, identify, /echo/1.0.0, /perf/1.0.0, /sink/1.0.0 and /hold/1.0.0;
    prints LISTEN <multiaddr>/p2p/<id> when ready; --until-eof ends it when its standard input ends
libp2p-peer ping MULTIADDR [--count N]
libp2p-peer identify MULTIADDR
libp2p-peer echo MULTIADDR [--size BYTES]
libp2p-peer perf MULTIADDR [--upload BYTES] [--download BYTES]

Of all commands:
    --secret HEX        the 32-byte Ed25519 secret of the identity; a fresh one otherwise
    --max-streams N     streams at once on a connection, 512 otherwise, 4096 at most
    --timeout SECONDS   for the whole operation, 60 otherwise (not of node)
    --lazy              send a stream's first data with the proposal of its protocol (V1Lazy)";

enum Failure {
    Usage(String),
    Operation(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Operation(error)
    }
}

/// What the command line said.
struct Arguments {
    command: String,
    address: Option<String>,
    options: Options,
    listen: String,
    until_eof: bool,
    count: u64,
    size: u64,
    upload: u64,
    download: u64,
    timeout: Duration,
}

fn main() -> ExitCode {
    let result = parse(std::env::args().skip(1)).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Operation(error.into()))?;
        let result = runtime.block_on(run(arguments));
        // The node's tasks need not end before the program does.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Operation(error)) => {
            eprintln!("libp2p-peer: {error}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            eprintln!("libp2p-peer: {message}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Failure> {
    let usage = |message: &str| Failure::Usage(message.to_owned());
    let mut arguments = Arguments {
        command: words.next().ok_or_else(|| usage("a command is needed"))?,
        address: None,
        options: Options {
            agent: concat!("libp2p-peer/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Options::default()
        },
        listen: "/ip4/127.0.0.1/tcp/0".to_owned(),
        until_eof: false,
        count: 1,
        size: 1024,
        upload: 0,
        download: 0,
        timeout: Duration::from_secs(60),
    };
    if !["node", "ping", "identify", "echo", "perf"].contains(&arguments.command.as_str()) {
        return Err(usage(&format!("unknown command {}", arguments.command)));
    }
    while let Some(word) = words.next() {
        if word == "--until-eof" {
            arguments.until_eof = true;
        } else if word == "--lazy" {
            arguments.options.lazy_negotiation = true;
        } else if word.starts_with("--") {
            let value = words
                .next()
                .ok_or_else(|| usage(&format!("{word} needs a value")))?;
            let number = || {
                value
                    .parse()
                    .map_err(|_| usage(&format!("{word} needs a number, not {value}")))
            };
            match word.as_str() {
                "--listen" => arguments.listen = value,
                "--secret" => {
                    let secret = parse_secret(&value)
                        .ok_or_else(|| usage("--secret needs 64 hexadecimal digits"))?;
                    arguments.options.secret = Some(secret);
                }
                "--max-streams" => arguments.options.max_streams = number()? as usize,
                "--count" => arguments.count = number()?,
                "--size" => arguments.size = number()?,
                "--upload" => arguments.upload = number()?,
                "--download" => arguments.download = number()?,
                "--timeout" => arguments.timeout = Duration::from_secs(number()?),
                _ => return Err(usage(&format!("unknown option {word}"))),
            }
        } else if arguments.command != "node" && arguments.address.is_none() {
            arguments.address = Some(word);
        } else {
            return Err(usage(&format!("unexpected argument {word}")));
        }
    }
    Ok(arguments)
}

fn parse_secret(text: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(secret)
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let peer = Libp2pPeer::start(arguments.options.clone())?;
    if arguments.command == "node" {
        return run_node(&peer, &arguments).await;
    }
    let Some(address) = &arguments.address else {
        return Err(Failure::Usage(format!(
            "{} needs a multiaddr",
            arguments.command
        )));
    };
    tokio::time::timeout(arguments.timeout, run_client(&peer, address, &arguments))
        .await
        .map_err(|_| Error::Timeout)?
}

async fn run_node(peer: &Libp2pPeer, arguments: &Arguments) -> Result<(), Failure> {
    programs::serve(peer)?;
    let address = peer.listen(&arguments.listen).await?;
    print_line(&format!("LISTEN {address}"));
    if arguments.until_eof {
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await;
        return Ok(());
    }
    std::future::pending().await
}

async fn run_client(
    peer: &Libp2pPeer,
    address: &str,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let server = peer.connect(address).await?;
    match arguments.command.as_str() {
        "ping" => {
            for sequence in 1..=arguments.count {
                let micros = peer.ping(&server).await?.as_micros();
                print_line(&format!(
                    r#"{{"event":"ping","peer":"{server}","sequence":{sequence},"rtt_us":{micros}}}"#
                ));
            }
        }
        "identify" => {
            let info = peer.identify(&server).await?;
            print_line(&format!(
                r#"{{"event":"identify","peer":{},"protocol_version":{},"agent_version":{},"listen_addresses":{},"protocols":{},"observed_address":{}}}"#,
                json_text(&info.peer),
                json_text(&info.protocol_version),
                json_text(&info.agent_version),
                json_list(&info.listen_addresses),
                json_list(&info.protocols),
                json_text(&info.observed_address),
            ));
        }
        "echo" => {
            let start = Instant::now();
            let stream = peer.open(&server, ECHO).await?;
            let checksum = programs::echo(stream, arguments.size).await?;
            print_line(&format!(
                r#"{{"event":"echo","peer":"{server}","bytes":{},"checksum":"{checksum:016x}","seconds":{:.6}}}"#,
                arguments.size,
                start.elapsed().as_secs_f64(),
            ));
        }
        _ => {
            let stream = peer.open(&server, PERF).await?;
            let times = programs::perf(
                stream,
                arguments.upload,
                arguments.download,
                programs::CHUNK,
            )
            .await?;
            print_line(&format!(
                r#"{{"event":"perf","peer":"{server}","upload_bytes":{},"upload_seconds":{:.6},"download_bytes":{},"download_seconds":{:.6}}}"#,
                arguments.upload,
                times.upload.as_secs_f64(),
                arguments.download,
                times.download.as_secs_f64(),
            ));
        }
    }
    peer.disconnect(&server).await?;
    Ok(())
}

/// Prints a line at once, and ends the program quietly if nobody reads it any more.
fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

fn json_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| json_text(text)).collect();
    format!("[{}]", texts.join(","))
}

fn json_text(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
