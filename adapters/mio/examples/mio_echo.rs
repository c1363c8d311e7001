//! 64 MiB to a server and back, both in one loop of this program's own, without async and without a second thread.
//!
//! ```sh
//! cargo run --release -p drywire-mio --example mio_echo
//! ```
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "an example is short"
)]

use drywire::{
    connection::{self, ConnectionId, StreamId},
    multistream::ProtocolName,
    protocol::{Standard, StandardEvent},
    swarm::{self, DialOptions},
};
use drywire_mio::{Event, Host};
use mio::{Events, Poll};
use std::{
    collections::BTreeMap,
    error::Error,
    io::{ErrorKind, Read, Write},
    time::Instant,
};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
const TOTAL: u64 = 64 * 1024 * 1024;

/// What both sides of a stream do: FNV-1a of everything.
#[derive(Clone, Copy, PartialEq)]
struct Checksum(u64);

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The server's end of a stream: what was read and could not be written back yet.
type Echoes = BTreeMap<(ConnectionId, StreamId), Vec<u8>>;

/// Sends back what there is, and reads no more than it could send: that is all of the back-pressure.
fn echo(host: &mut Host<Standard>, echoes: &mut Echoes, key: (ConnectionId, StreamId)) {
    let Some(mut stream) = host.stream(key.0, key.1) else {
        echoes.remove(&key);
        return;
    };
    let rest = echoes.entry(key).or_default();
    let mut buffer = [0; 64 * 1024];
    loop {
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => drop(rest.drain(..count)),
                // A `Writable` or `Reset` event follows.
                Err(_) => return,
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => {
                // The end was read, and is sent back as well.
                let _ = stream.finish();
                stream.release();
                echoes.remove(&key);
                return;
            }
            Ok(count) => rest.extend_from_slice(&buffer[..count]),
            Err(_) => return,
        }
    }
}

/// The client's end.
struct Upload {
    connection: ConnectionId,
    stream: StreamId,
    left: u64,
    sent: Checksum,
    received: u64,
    back: Checksum,
}

impl Upload {
    fn write(&mut self, host: &mut Host<Standard>) -> Result<(), Box<dyn Error>> {
        let Some(mut stream) = host.stream(self.connection, self.stream) else {
            return Ok(());
        };
        while self.left > 0 {
            let mut piece = [0; 16 * 1024];
            let from = TOTAL - self.left;
            for (at, byte) in (from..).zip(&mut piece) {
                *byte = (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
            }
            let len = piece.len().min(usize::try_from(self.left)?);
            match stream.write(&piece[..len]) {
                Ok(count) => {
                    self.sent.add(&piece[..count]);
                    self.left -= count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(stream.finish()?)
    }

    /// Whether all has come back.
    fn read(&mut self, host: &mut Host<Standard>) -> Result<bool, Box<dyn Error>> {
        let mut buffer = [0; 64 * 1024];
        let stream = host.stream(self.connection, self.stream);
        let mut stream = stream.ok_or("the stream is lost")?;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    self.received += count as u64;
                    self.back.add(&buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[allow(dead_code, reason = "a test runs the rest")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run()?);
    Ok(())
}

/// All of it; what there is to say about it.
pub(crate) fn run() -> Result<String, Box<dyn Error>> {
    let mut said = String::new();
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    // Other tokens are free for the rest of the program.
    let server = Host::builder(Standard::default()).tokens(0..1000);
    let client = Host::builder(Standard::default()).tokens(1000..2000);
    let mut server = server.start(poll.registry())?;
    let mut client = client.start(poll.registry())?;
    server.accept(ECHO)?;
    server.listen("/ip4/127.0.0.1/tcp/0".parse()?)?;

    let (mut echoes, mut upload, start) = (Echoes::new(), None, Instant::now());
    while !(client.is_shut_down() && server.is_shut_down()) {
        while let Some(event) = server.poll_event() {
            match event {
                Event::Swarm(swarm::Event::Listening { address, .. }) => {
                    client.dial(DialOptions::address(address))?;
                }
                Event::Connection(
                    connection,
                    connection::Event::Inbound { stream, .. }
                    | connection::Event::Readable { stream }
                    | connection::Event::Writable { stream },
                ) => echo(&mut server, &mut echoes, (connection, stream)),
                _ => {}
            }
        }
        while let Some(event) = client.poll_event() {
            if handle(&mut client, event, &mut upload)? {
                if let Some(Upload {
                    sent,
                    back,
                    received,
                    ..
                }) = &upload
                {
                    assert!(sent == back && *received == TOTAL);
                    said = format!("{received} bytes there and back in {:?}", start.elapsed());
                }
                // Both say goodbye, and the loop goes on until the last socket is closed.
                client.shutdown();
                server.shutdown();
            }
        }
        let due = [client.poll_timeout(), server.poll_timeout()];
        match poll.poll(&mut events, due.into_iter().flatten().min()) {
            // A signal.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        client.handle_events(&events);
        server.handle_events(&events);
    }
    Ok(said)
}

/// What happens at the client; whether it is done.
fn handle(
    client: &mut Host<Standard>,
    event: Event<StandardEvent>,
    upload: &mut Option<Upload>,
) -> Result<bool, Box<dyn Error>> {
    match event {
        Event::Swarm(swarm::Event::Dialed { connection, .. }) => {
            let stream = client.open(connection, &[ECHO])?;
            let begun = upload.insert(Upload {
                connection,
                stream,
                left: TOTAL,
                sent: Checksum(0xcbf2_9ce4_8422_2325),
                received: 0,
                back: Checksum(0xcbf2_9ce4_8422_2325),
            });
            begun.write(client)?;
        }
        Event::Swarm(swarm::Event::DialFailed { error, .. }) => return Err(error.into()),
        Event::Connection(_, connection::Event::Failed { error, .. }) => return Err(error.into()),
        Event::Connection(_, connection::Event::Writable { .. }) => {
            if let Some(upload) = upload {
                upload.write(client)?;
            }
        }
        Event::Connection(_, connection::Event::Readable { .. }) => {
            if let Some(upload) = upload {
                return upload.read(client);
            }
        }
        _ => {}
    }
    Ok(false)
}
