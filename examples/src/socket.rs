//! One socket of one connection: what has to be right however its readiness is learnt.
//!
//! A [`Wire`] is non-blocking and remembers what its socket is ready for, as edge-triggered pollers want it: told once, it
//! counts as ready until the operating system says [`WouldBlock`](io::ErrorKind::WouldBlock). Whoever polls without being
//! told (a fixed tick) says so before each turn.

use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use drywire::{
    connection::{Connection, ConnectionId, Stream, StreamId, Transmit},
    node::Node,
    swarm::Protocol,
    time::Instant,
};
use socket2::{Domain, Protocol as Transport, Socket, Type};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};

/// Bytes read and bytes transmitted in one turn of one socket, before others get theirs.
pub const BUDGET: usize = 256 * 1024;
/// Bytes read by one call.
pub const SCRATCH: usize = 64 * 1024;
/// How long a socket outlives its connection, for what is left to write and for the peer's own end.
pub const LINGER: Duration = Duration::from_secs(3);
/// How long what a connection has brought can be read after its end.
pub const UNREAD: Duration = Duration::from_secs(10);
/// How often [`BUDGET`] is read of a socket that can no longer be written: more than a socket holds.
const LAST_READS: usize = 64;

/// A connection as its host sees it: a [`Connection`], or one of a [`Node`]'s.
pub trait Machine {
    /// See [`Connection::recv_buf`].
    fn recv_buf(&mut self) -> Option<&mut BytesMut>;
    /// See [`Connection::handle_recv`].
    fn handle_recv(&mut self, now: Instant);
    /// See [`Connection::handle_eof`].
    fn handle_eof(&mut self, now: Instant);
    /// See [`Connection::handle_lost`].
    fn handle_lost(&mut self, now: Instant, reason: String);
    /// See [`Connection::wants_transmit`].
    fn wants_transmit(&self) -> bool;
    /// See [`Connection::poll_transmit`].
    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>, limit: usize) -> Transmit;
    /// See [`Connection::stream`].
    fn stream(&mut self, stream: StreamId) -> Option<Stream<'_>>;
}

impl Machine for Connection {
    fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        self.recv_buf()
    }

    fn handle_recv(&mut self, now: Instant) {
        self.handle_recv(now);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.handle_eof(now);
    }

    fn handle_lost(&mut self, now: Instant, reason: String) {
        self.handle_lost(now, reason);
    }

    fn wants_transmit(&self) -> bool {
        self.wants_transmit()
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>, limit: usize) -> Transmit {
        self.poll_transmit(now, out, limit)
    }

    fn stream(&mut self, stream: StreamId) -> Option<Stream<'_>> {
        self.stream(stream)
    }
}

/// One of a node's connections.
#[derive(Debug)]
pub struct OfNode<'a, P: Protocol>(pub &'a mut Node<P>, pub ConnectionId);

impl<P: Protocol> Machine for OfNode<'_, P> {
    fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        self.0.recv_buf(self.1)
    }

    fn handle_recv(&mut self, now: Instant) {
        self.0.handle_recv(now, self.1);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.0.handle_eof(now, self.1);
    }

    fn handle_lost(&mut self, now: Instant, reason: String) {
        self.0.handle_lost(now, self.1, reason);
    }

    fn wants_transmit(&self) -> bool {
        self.0.wants_transmit(self.1)
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>, limit: usize) -> Transmit {
        self.0.poll_transmit(now, self.1, out, limit)
    }

    fn stream(&mut self, stream: StreamId) -> Option<Stream<'_>> {
        self.0.stream(self.1, stream)
    }
}

/// What a [`Wire`] needs of a socket.
pub trait Pipe: Read + Write {
    /// Finishes the sending direction.
    ///
    /// # Errors
    /// If the connection is gone.
    fn finish(&self) -> io::Result<()>;
}

impl Pipe for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Pipe for mio::net::TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A socket, and what is on its way out.
#[derive(Debug)]
pub struct Wire<S> {
    /// The socket.
    pub socket: S,
    /// The socket may have something to read.
    pub readable: bool,
    /// The socket may take something.
    pub writable: bool,
    /// There was no room for what the socket has: ask again when the application has read.
    pub paused: bool,
    /// Bytes read and written so far.
    pub moved: u64,
    /// Transmitted and not yet written, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// The peer's end, or an error, was seen.
    read_closed: bool,
    /// After `out`, the sending direction is to be shut down; has been.
    finish_wanted: bool,
    finished: bool,
    broken: bool,
}

impl<S: Pipe> Wire<S> {
    /// A connected, non-blocking socket. It counts as ready until it says otherwise.
    pub const fn new(socket: S) -> Self {
        Self {
            socket,
            readable: true,
            writable: true,
            paused: false,
            moved: 0,
            out: Vec::new(),
            written: 0,
            read_closed: false,
            finish_wanted: false,
            finished: false,
            broken: false,
        }
    }

    /// Reads until the socket is empty, the machine has no room, or the budget is spent; then there may be more, and it
    /// returns true.
    ///
    /// A reserve of initialised memory, `scratch`, is the price of neither unsafe code nor zeroing a buffer per read.
    pub fn read(&mut self, now: Instant, machine: &mut impl Machine, scratch: &mut [u8]) -> bool {
        self.paused = false;
        let mut budget = BUDGET;
        while self.readable && !self.read_closed {
            if budget == 0 {
                return true;
            }
            let Some(buffer) = machine.recv_buf() else {
                self.paused = true;
                return false;
            };
            let room = (buffer.capacity() - buffer.len())
                .min(scratch.len())
                .min(budget);
            match self.socket.read(&mut scratch[..room]) {
                Ok(0) => {
                    self.read_closed = true;
                    machine.handle_eof(now);
                }
                Ok(count) => {
                    buffer.extend_from_slice(&scratch[..count]);
                    machine.handle_recv(now);
                    budget -= count;
                    self.count(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    // So that a node's timers learn when to take back the room it has made.
                    machine.handle_recv(now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.lose(now, machine, &error),
            }
        }
        false
    }

    /// Transmits and writes until there is nothing more, the socket is full, or the budget is spent; then there is more,
    /// and it returns true. `spare` is an empty buffer that all sockets share: each holds one only while it is full.
    pub fn write(&mut self, now: Instant, machine: &mut impl Machine, spare: &mut Vec<u8>) -> bool {
        if self.out.is_empty() {
            self.out = core::mem::take(spare);
        }
        let more = self.write_some(now, machine);
        if self.out.is_empty() {
            // Others may have left theirs meanwhile: one is enough.
            let own = core::mem::take(&mut self.out);
            if own.capacity() > spare.capacity() {
                *spare = own;
            }
        }
        more
    }

    fn write_some(&mut self, now: Instant, machine: &mut impl Machine) -> bool {
        let mut budget = BUDGET;
        loop {
            if self.out.is_empty() && !self.finish_wanted {
                if !machine.wants_transmit() {
                    break;
                }
                if budget == 0 {
                    return true;
                }
                let transmit = machine.poll_transmit(now, &mut self.out, budget);
                self.finish_wanted = transmit.shutdown;
                budget = budget.saturating_sub(self.out.len());
                if self.out.is_empty() && !self.finish_wanted {
                    break;
                }
            }
            match self.flush() {
                Ok(true) if self.finish_wanted => break,
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // What the peer had sent before it went is taken in first, whether or not its readiness was told.
                    self.readable = true;
                    let mut last = [0; 4096];
                    for _ in 0..LAST_READS {
                        if !self.read(now, machine, &mut last) {
                            break;
                        }
                    }
                    self.lose(now, machine, &error);
                    break;
                }
            }
        }
        false
    }

    /// After the connection's end: writes what is left, then waits for the peer's end, because a socket that is closed with
    /// bytes unread is reset, and a reset may overtake the last words. Returns whether all is done; drop the socket then, or
    /// after [`LINGER`].
    pub fn linger(&mut self, scratch: &mut [u8]) -> bool {
        if self.broken || !self.finish_wanted || self.flush().is_err() {
            return true;
        }
        // Bounded: what is discarded here need not be waited for.
        for _ in 0..16 {
            if !self.readable || self.read_closed {
                break;
            }
            match self.socket.read(scratch) {
                Ok(0) => self.read_closed = true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        self.finished && self.read_closed
    }

    /// Whether [`linger`](Self::linger) stopped on its bound.
    pub const fn lingers_on(&self) -> bool {
        self.readable && !self.read_closed
    }

    /// Writes what was transmitted; whether all of it is written.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            if !self.writable {
                return Ok(false);
            }
            match self.socket.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.count(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.out.clear();
        if self.finish_wanted && !self.finished {
            self.finished = true;
            // An error shows in the next read.
            let _ = self.socket.finish();
        }
        Ok(true)
    }

    fn count(&mut self, bytes: usize) {
        self.moved += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    fn lose(&mut self, now: Instant, machine: &mut impl Machine, error: &io::Error) {
        self.broken = true;
        self.read_closed = true;
        machine.handle_lost(now, error.to_string());
    }
}

/// Connections that are over and whose sockets are gone, but whose streams may hold what nobody has read yet: a peer that has
/// said everything may go before it is heard.
#[derive(Debug, Default)]
pub struct Unread(BTreeMap<ConnectionId, Instant>);

impl Unread {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The socket of this connection is gone. At the next [`check`](Self::check) it is closed, or for [`UNREAD`] after its
    /// end waits for its readers.
    pub fn insert(&mut self, id: ConnectionId, ended: Instant) {
        self.0.insert(id, ended + UNREAD);
    }

    /// When to [`check`](Self::check), if nobody reads before.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// To be asked after the application has had its turn: closes those that were read, those that nobody has read in
    /// time, and all if the node shuts down. Whether there were any: the node has something to say then.
    pub fn check<P: Protocol>(&mut self, now: Instant, node: &mut Node<P>) -> bool {
        let before = self.0.len();
        let shuts_down = node.swarm().is_shutting_down();
        self.0.retain(|id, until| {
            let unread = node.connection(*id).is_some_and(Connection::is_unread);
            let waits = unread && !shuts_down && now < *until;
            if !waits {
                node.handle_closed(now, *id);
            }
            waits
        });
        self.0.len() < before
    }
}

/// Whether an error of `accept` concerns that one connection alone, which went before it was accepted: the next can be tried
/// at once. At any other (no descriptors left, no memory) that would only fail again.
#[must_use]
pub fn is_of_one_accept(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

/// Begins to connect, without waiting: the socket is writable when [`connected`] can tell what came of it.
///
/// # Errors
/// If it cannot even be begun.
pub fn connect(remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::STREAM,
        Some(Transport::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&remote.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    // EINPROGRESS has no stable kind of its own. It is 115 on Linux and 36 on the BSDs and macOS.
    let code = if cfg!(any(target_os = "linux", target_os = "android")) {
        115
    } else {
        36
    };
    error.kind() == ErrorKind::WouldBlock || cfg!(unix) && error.raw_os_error() == Some(code)
}

/// Whether a socket that was connecting has connected. `Ok(false)`: not yet.
///
/// # Errors
/// Why it never will.
pub fn connected(socket: &impl Connecting) -> io::Result<bool> {
    if let Some(error) = socket.error()? {
        return Err(error);
    }
    match socket.peer() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// What [`connected`] asks a socket.
pub trait Connecting {
    /// What went wrong.
    ///
    /// # Errors
    /// If the operating system does not tell.
    fn error(&self) -> io::Result<Option<io::Error>>;

    /// Who is at the other end.
    ///
    /// # Errors
    /// Nobody yet.
    fn peer(&self) -> io::Result<SocketAddr>;
}

impl Connecting for TcpStream {
    fn error(&self) -> io::Result<Option<io::Error>> {
        self.take_error()
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

impl Connecting for mio::net::TcpStream {
    fn error(&self) -> io::Result<Option<io::Error>> {
        self.take_error()
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}
