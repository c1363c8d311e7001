//! A server and a client in one process: 64 MiB go over a TCP connection, come back, and are compared.
//!
//! `cargo run --release -p drywire-smol --example smol_echo`
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    reason = "a program, not a library"
)]

use drywire::{multistream::ProtocolName, protocol::Standard, swarm::DialOptions};
use drywire_smol::{Host, SmolRuntime, Stream};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::{error::Error, io};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
const LENGTH: usize = 64 * 1024 * 1024;

#[allow(dead_code, reason = "a test runs this file too")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", smol::block_on(run())?);
    Ok(())
}

pub(crate) async fn run() -> Result<String, Box<dyn Error>> {
    // A node that serves: it listens, and takes in up to 16 streams at once under this name.
    let server = Host::builder(SmolRuntime::global(), Standard::default()).start()?;
    let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
    let mut incoming = server.accept(ECHO, 16)?;
    let serving = smol::spawn(async move {
        // Ends with the node.
        while let Some((_peer, stream)) = incoming.next().await {
            // An error is the end of that stream alone.
            smol::spawn(echo(stream)).detach();
        }
    });

    // A node that asks. Who answers has proven to be this peer.
    let client = Host::builder(SmolRuntime::global(), Standard::default()).start()?;
    let address = bound.address.with_peer_id(server.peer_id())?;
    let peer = client.dial(DialOptions::address(address)).await?.peer;
    let stream = client.open_stream(peer, ECHO).await?;

    // Writing waits while the other side does not read, and here that side waits for this one to read: both at once.
    let (mut reader, mut writer) = smol::io::split(stream);
    let sending = smol::spawn(async move {
        let mut sent = Checksum::default();
        let mut left = LENGTH;
        while left > 0 {
            let block: Vec<u8> = (0..left.min(65_521))
                .map(|at| (at * 31 + left) as u8)
                .collect();
            writer.write_all(&block).await?;
            sent.add(&block);
            left -= block.len();
        }
        // The end of what is sent; the other direction stays open.
        writer.close().await?;
        Ok::<_, io::Error>(sent)
    });
    let mut received = Checksum::default();
    let mut buffer = vec![0; 65_536];
    loop {
        match reader.read(&mut buffer).await? {
            0 => break,
            count => received.add(&buffer[..count]),
        }
    }
    if sending.await? != received {
        return Err("other bytes came back than were sent".into());
    }

    // Peers are told, and what is under way is sent before the sockets are closed.
    client.shutdown().await;
    server.shutdown().await;
    serving.await;
    Ok(format!(
        "{} bytes there and back, all of them right",
        received.length
    ))
}

/// Sends back what comes, until its end.
async fn echo(mut stream: Stream) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.close().await,
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

/// FNV-1a, and how many bytes it is of.
#[derive(Debug, PartialEq)]
struct Checksum {
    hash: u64,
    length: usize,
}

impl Default for Checksum {
    fn default() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            length: 0,
        }
    }
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.length += bytes.len();
    }
}
