//! A handshake, a question, an answer, and a good end.

use alloc::{sync::Arc, vec, vec::Vec};
use core::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use drywire::{
    connection::{
        Accept, Config, ConnectedPoint, Connection, ConnectionError, ConnectionId, ConnectionStart,
        Event, InboundEntry, InboundTable, OpenOptions, Security, StreamId, StreamKind,
        StreamOwner, ToConnection,
    },
    crypto::Provider,
    identity::Keypair,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    recording::{Entry, Machine, Recorder, SharedRecorder},
    resource::Lease,
    security::noise,
    seed::Seed,
    time::Instant,
};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
const MESSAGE: &[u8] = b"said without std";

/// Each step that can go wrong has a number.
pub(crate) fn run() -> Result<(), i32> {
    let remote: Multiaddr = "/memory/1".parse().map_err(|_| 1)?;
    let mut dialer = connection(1, ConnectedPoint::dialed(remote.clone(), None)).ok_or(2)?;
    let mut listener = connection(2, ConnectedPoint::accepted(remote, None)).ok_or(3)?;
    let mut now = Instant::ZERO;
    let mut asked: Option<StreamId> = None;
    let mut answer = Vec::new();
    for _ in 0..100 {
        now = now + Duration::from_millis(1);
        carry(now, &mut dialer, &mut listener);
        carry(now, &mut listener, &mut dialer);
        if dialer.is_closed() && listener.is_closed() {
            return if answer == MESSAGE {
                recorded()
            } else {
                Err(4)
            };
        }

        admit(now, &mut dialer);
        while let Some(event) = dialer.poll_event() {
            match event {
                Event::Established { .. } => {
                    let stream = dialer.open(now, &[ECHO], StreamKind::Raw, OpenOptions::default());
                    let stream = stream.map_err(|_| 5)?;
                    let mut writer = dialer.stream(stream).ok_or(6)?;
                    writer.write(MESSAGE).map_err(|_| 7)?;
                    writer.finish().map_err(|_| 8)?;
                    asked = Some(stream);
                }
                Event::Finished { .. } => dialer.close(now, ConnectionError::Closed),
                _ => {}
            }
        }
        if let Some(mut stream) = asked.and_then(|stream| dialer.stream(stream)) {
            while let Ok(Some(bytes)) = stream.read(usize::MAX) {
                answer.extend_from_slice(&bytes);
            }
        }

        admit(now, &mut listener);
        while let Some(event) = listener.poll_event() {
            if let Event::Inbound { stream, .. } | Event::Readable { stream } = event {
                echo(&mut listener, stream).ok_or(9)?;
            }
        }
    }
    Err(10)
}

fn connection(number: u64, point: ConnectedPoint) -> Option<Connection> {
    let seed = Seed::for_tests(number);
    let keypair = Keypair::ed25519_from_seed(&seed);
    let local = noise::Local::new(Provider::rustcrypto(), &keypair, &seed).ok()?;
    let start = ConnectionStart::new(
        ConnectionId::new(number),
        point,
        Arc::new(Config::default()),
        Security::Noise(local),
        seed.derive("connection"),
    );
    let start = start.recorded_by(SharedRecorder::new(Counter));
    Some(start.start(Instant::ZERO))
}

/// Entries that were recorded and can be read.
static ENTRIES: AtomicU32 = AtomicU32::new(0);

struct Counter;

impl Recorder for Counter {
    fn record(&self, machine: Machine, entry: &[u8]) {
        if Entry::decode(machine, entry).is_ok() {
            ENTRIES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn recorded() -> Result<(), i32> {
    if ENTRIES.load(Ordering::Relaxed) > 20 {
        Ok(())
    } else {
        Err(11)
    }
}

fn carry(now: Instant, from: &mut Connection, to: &mut Connection) {
    let mut wire = Vec::new();
    let transmit = from.poll_transmit(now, &mut wire, usize::MAX);
    to.handle_input(now, &wire);
    if transmit.shutdown || from.is_closed() {
        to.handle_eof(now);
    }
}

fn admit(now: Instant, connection: &mut Connection) {
    while let Some(message) = connection.poll_message() {
        if message.secured_peer().is_some() {
            let entry = InboundEntry {
                name: ECHO,
                accept: Accept::new(StreamKind::Raw),
                owner: StreamOwner::Host,
            };
            let table = Arc::new(InboundTable::new(1, vec![entry]));
            let lease = Lease::new(1 << 20, 16);
            connection.handle_message(now, ToConnection::admit(table, lease));
        }
    }
}

/// Sends back what has arrived; `None` if that cannot be done.
fn echo(connection: &mut Connection, stream: StreamId) -> Option<()> {
    let mut stream = connection.stream(stream)?;
    loop {
        match stream.read(usize::MAX) {
            Ok(Some(bytes)) => {
                stream.write(&bytes).ok()?;
            }
            Ok(None) => return stream.finish().ok(),
            Err(_) => return Some(()),
        }
    }
}
