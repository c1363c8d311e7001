//! Two connections, or two nodes, that pass bytes by hand: no socket, no task, no virtual network between what is measured.

pub mod hosts;
pub mod kad;

use bytes::Bytes;
use drywire::{
    connection::{
        Accept, Config, ConnectedPoint, Connection, ConnectionId, ConnectionStart, Event,
        InboundEntry, InboundTable, OpenOptions, Security, StreamId, StreamKind, StreamOwner,
        ToConnection, WriteError,
    },
    crypto::Provider,
    identity::Keypair,
    multistream::ProtocolName,
    resource::Lease,
    security::{noise, plaintext},
    seed::Seed,
    time::Instant,
};
use std::{sync::Arc, time::Duration};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
/// As much as hosts ask for at once.
const TRANSMIT_LIMIT: usize = 256 * 1024;

/// What both nodes keep from one connection to the next: keys, tables, limits.
pub struct Nodes {
    security: [Security; 2],
    config: Arc<Config>,
    table: Arc<InboundTable>,
    seed: Seed,
    made: u64,
}

impl Nodes {
    /// Two nodes that speak Noise by this backend.
    ///
    /// # Panics
    ///
    /// If the backend cannot make keys.
    pub fn noise(provider: Provider) -> Self {
        Self::new(|keypair, seed| {
            Security::Noise(noise::Local::new(provider, keypair, seed).expect("keys can be made"))
        })
    }

    /// Two nodes without encryption: what is left is drywire's own work.
    pub fn plaintext() -> Self {
        Self::new(|keypair, _| {
            Security::InsecurePlaintext(plaintext::Local::new(&keypair.public()))
        })
    }

    fn new(security: impl Fn(&Keypair, &Seed) -> Security) -> Self {
        let node = |number| {
            let seed = Seed::for_tests(number);
            security(&Keypair::ed25519_from_seed(&seed), &seed)
        };
        let mut config = Config::default();
        config.max_streams = 1 << 20;
        config.max_negotiating_streams = 1 << 20;
        config.yamux.max_inbound_streams = 1 << 20;
        config.yamux.max_outbound_streams = 1 << 20;
        config.yamux.max_unacknowledged = 1 << 20;
        let entry = InboundEntry {
            name: ECHO,
            accept: Accept::new(StreamKind::Raw)
                .max_streams(1 << 20)
                .host_owned(),
            owner: StreamOwner::Host,
        };
        Self {
            security: [node(1), node(2)],
            config: Arc::new(config),
            table: Arc::new(InboundTable::new(1, vec![entry])),
            seed: Seed::for_tests(3),
            made: 0,
        }
    }

    /// A new connection between them; nothing has been sent yet.
    ///
    /// # Panics
    ///
    /// Never: the address is sound.
    pub fn connect(&mut self) -> Ends {
        self.made += 1;
        let remote = || "/memory/1".parse().expect("sound");
        let points = [
            ConnectedPoint::dialed(remote(), None),
            ConnectedPoint::accepted(remote(), None),
        ];
        let mut number = self.made * 2;
        let connections = points.map(|point| {
            number += 1;
            ConnectionStart::new(
                ConnectionId::new(number),
                point,
                self.config.clone(),
                self.security[usize::from(number.is_multiple_of(2))].clone(),
                self.seed.next_child("connection"),
            )
            .start(Instant::ZERO)
        });
        Ends {
            connections,
            table: self.table.clone(),
            wire: Vec::with_capacity(TRANSMIT_LIMIT + 65_536),
            buffer: vec![0; 65_536],
            now: Instant::ZERO,
        }
    }

    /// A connection that is up, with all its first messages sent.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn connected(&mut self) -> Ends {
        let mut ends = self.connect();
        ends.establish();
        ends
    }
}

/// A connection with its two ends: 0 dialed, 1 listened.
pub struct Ends {
    /// The ends.
    pub connections: [Connection; 2],
    table: Arc<InboundTable>,
    wire: Vec<u8>,
    buffer: Vec<u8>,
    now: Instant,
}

impl Ends {
    /// Runs the handshake to its end on both sides.
    ///
    /// # Panics
    ///
    /// If that takes more than ten turns.
    pub fn establish(&mut self) {
        for _ in 0..10 {
            for from in [0, 1] {
                self.carry(from);
                let to = &mut self.connections[1 - from];
                while let Some(message) = to.poll_message() {
                    if message.secured_peer().is_some() {
                        let lease = Lease::new(1 << 30, 1 << 20);
                        let admit = ToConnection::admit(self.table.clone(), lease);
                        to.handle_message(self.now, admit);
                    }
                }
                while to.poll_event().is_some() {}
            }
            if self
                .connections
                .iter()
                .all(|end| end.is_open() && !end.wants_transmit())
            {
                return;
            }
        }
        panic!(
            "not established: {:?}",
            self.connections.each_ref().map(Connection::error)
        );
    }

    /// Moves everything one end wants to send to the other; how many bytes that was. Copies once, as a kernel would.
    pub fn carry(&mut self, from: usize) -> usize {
        let mut carried = 0;
        while self.connections[from].wants_transmit() {
            self.now = self.now + Duration::from_micros(10);
            self.wire.clear();
            let transmit =
                self.connections[from].poll_transmit(self.now, &mut self.wire, TRANSMIT_LIMIT);
            if self.wire.is_empty() {
                break;
            }
            carried += self.wire.len();
            let taken = self.connections[1 - from].handle_input(self.now, &self.wire);
            assert_eq!(taken, self.wire.len(), "the reader keeps up");
            if !transmit.more {
                break;
            }
        }
        carried
    }

    /// Opens a stream from the dialer's end.
    ///
    /// # Panics
    ///
    /// If that is refused.
    pub fn open(&mut self) -> StreamId {
        self.connections[0]
            .open(self.now, &[ECHO], StreamKind::Raw, OpenOptions::default())
            .expect("may open")
    }

    /// Writes as much of `data` as there is room for.
    ///
    /// # Panics
    ///
    /// If the stream is gone.
    pub fn write(&mut self, end: usize, stream: StreamId, data: &[u8]) -> usize {
        let mut stream = self.connections[end].stream(stream).expect("exists");
        match stream.write(data) {
            Ok(count) => count,
            Err(WriteError::Blocked) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads all there is into a buffer, as `AsyncRead` does; how many bytes that was.
    pub fn read(&mut self, end: usize, stream: StreamId) -> usize {
        let mut count = 0;
        while let Some(mut stream) = self.connections[end].stream(stream)
            && let Ok(read) = stream.read_into(&mut self.buffer)
            && read > 0
        {
            count += read;
        }
        count
    }

    /// Takes all there is as chunks, without copying them; how many bytes that was.
    pub fn take(&mut self, end: usize, stream: StreamId) -> usize {
        let mut count = 0;
        while let Some(mut stream) = self.connections[end].stream(stream)
            && let Ok(Some(bytes)) = stream.read(usize::MAX)
        {
            count += bytes.len();
        }
        count
    }

    /// The listener sends back what has arrived, and finishes what the dialer has finished.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub fn echo(&mut self) {
        let listener = &mut self.connections[1];
        while let Some(event) = listener.poll_event() {
            let (Event::Inbound { stream, .. } | Event::Readable { stream }) = event else {
                continue;
            };
            let Some(mut stream) = listener.stream(stream) else {
                continue;
            };
            loop {
                match stream.read_into(&mut self.buffer) {
                    Ok(0) => break stream.finish().expect("alive"),
                    Ok(count) => {
                        let count_back = stream.write(&self.buffer[..count]).expect("room");
                        assert_eq!(count_back, count, "room for all of it");
                    }
                    Err(_) => break,
                }
            }
        }
    }

    /// What the dialer's end was told since, read and dropped; how many bytes arrived.
    pub fn drain(&mut self) -> usize {
        let mut count = 0;
        while let Some(event) = self.connections[0].poll_event() {
            if let Event::Opened { stream, .. } | Event::Readable { stream } = event {
                count += self.read(0, stream);
            }
        }
        count
    }

    /// A new stream, `message` there and back on it, and its orderly end.
    ///
    /// # Panics
    ///
    /// If the echo is not complete after one round trip.
    pub fn echo_on_new_stream(&mut self, message: &[u8]) {
        let stream = self.open();
        self.write(0, stream, message);
        let _ = self.connections[0].stream(stream).expect("exists").finish();
        self.carry(0);
        self.echo();
        self.carry(1);
        assert_eq!(self.drain(), message.len());
        self.carry(0);
    }

    /// Opens streams that stay; each has carried one message there and back.
    pub fn lasting(&mut self, count: usize) -> Vec<StreamId> {
        let streams: Vec<StreamId> = (0..count).map(|_| self.open()).collect();
        self.echo_on(&streams, &[7; 32]);
        streams
    }

    /// `message` there and back on each of `streams`, all in one turn.
    ///
    /// # Panics
    ///
    /// If an echo is not complete after one round trip.
    pub fn echo_on(&mut self, streams: &[StreamId], message: &[u8]) {
        for stream in streams {
            self.write(0, *stream, message);
        }
        self.carry(0);
        self.echo();
        self.carry(1);
        assert_eq!(self.drain(), message.len() * streams.len());
    }

    /// `total` bytes from the dialer to the listener on one stream, written in pieces of `piece` and read into a buffer.
    ///
    /// # Panics
    ///
    /// If nothing moves any more.
    pub fn bulk(&mut self, stream: StreamId, total: usize, piece: &[u8]) {
        self.transfer(total, Self::read, |ends, left| {
            ends.write(0, stream, &piece[..piece.len().min(left)])
        });
    }

    /// The same with chunks that are shared instead of copied, at both ends.
    ///
    /// # Panics
    ///
    /// If nothing moves any more.
    pub fn bulk_shared(&mut self, stream: StreamId, total: usize, piece: &Bytes) {
        self.transfer(total, Self::take, |ends, left| {
            let mut piece = piece.slice(..piece.len().min(left));
            let mut stream = ends.connections[0].stream(stream).expect("exists");
            match stream.write_bytes(&mut piece) {
                Ok(count) => count,
                Err(WriteError::Blocked) => 0,
                Err(error) => panic!("{error}"),
            }
        });
    }

    fn transfer(
        &mut self,
        total: usize,
        read: fn(&mut Self, usize, StreamId) -> usize,
        mut write: impl FnMut(&mut Self, usize) -> usize,
    ) {
        let (mut written, mut received) = (0, 0);
        while received < total {
            let before = written + received;
            while written < total {
                let count = write(self, total - written);
                if count == 0 {
                    break;
                }
                written += count;
            }
            self.carry(0);
            while let Some(event) = self.connections[1].poll_event() {
                if let Event::Inbound { stream, .. } | Event::Readable { stream } = event {
                    received += read(self, 1, stream);
                }
            }
            self.carry(1);
            while self.connections[0].poll_event().is_some() {}
            assert!(written + received > before, "nothing moves");
        }
    }
}

/// The backends to measure, or with the feature `all-backends` all there are.
pub fn providers() -> &'static [Provider] {
    Provider::AVAILABLE
}
