//! What a host knows of each of its sockets.

use crate::transport::{Socket, Transport};
use drywire::{
    connection::ConnectionId,
    multiaddr::Multiaddr,
    swarm::{AttemptId, ListenerId},
};
use std::io;

/// Bytes read from one socket in one turn before others get theirs.
pub(crate) const READ_BUDGET: usize = 256 * 1024;
/// Bytes transmitted for one connection in one turn; soft by one message.
pub(crate) const TRANSMIT_LIMIT: usize = 256 * 1024;
/// Bytes moved in one turn for all connections together, each way; soft by one connection's.
const TURN_BYTES: usize = 4 * 1024 * 1024;
/// Sockets looked after in one turn.
const TURN_VISITS: usize = 512;

/// What is left of the work of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    pub(crate) visits: usize,
    pub(crate) read: usize,
    pub(crate) written: usize,
}

impl Turn {
    pub(crate) fn next(self) -> Self {
        Self {
            number: self.number.wrapping_add(1),
            visits: TURN_VISITS,
            read: TURN_BYTES,
            written: TURN_BYTES,
        }
    }
}

/// A socket under a token.
pub(crate) struct Slot<T: Transport> {
    /// It is in the queue of those with something to do.
    pub(crate) queued: bool,
    /// Nothing said yet that there is nothing to read, or to accept.
    pub(crate) readable: bool,
    /// There was an event that tells of the end: what is read is read to it, for no other event follows.
    pub(crate) ending: bool,
    /// Nothing said yet that there is no room to write.
    pub(crate) writable: bool,
    pub(crate) kind: Kind<T>,
}

pub(crate) enum Kind<T: Transport> {
    Listener(Listening<T::Listener>),
    Dial(Dialing<T::Socket>),
    Link(Box<Link<T::Socket>>),
}

pub(crate) struct Listening<L> {
    pub(crate) id: ListenerId,
    pub(crate) listener: L,
    /// Accepting has failed lately, so often in a row.
    pub(crate) failures: u32,
    pub(crate) resting: bool,
    /// It waits for a token.
    pub(crate) starved: bool,
    /// It is bound to all addresses of the machine.
    pub(crate) unspecified: bool,
}

pub(crate) struct Dialing<S> {
    pub(crate) attempt: AttemptId,
    pub(crate) address: Multiaddr,
    pub(crate) socket: S,
}

/// A connection's socket.
pub(crate) struct Link<S> {
    pub(crate) connection: ConnectionId,
    pub(crate) socket: S,
    /// Output not yet written, from `written` on. Without capacity while there is none.
    pub(crate) out: Vec<u8>,
    pub(crate) written: usize,
    /// The turn in which it has had its share of sending.
    pub(crate) sent_in: u64,
    /// Writing failed: what was received before is still taken in, then the connection is lost for this reason.
    pub(crate) lost: Option<String>,
    /// The peer's end or an error was seen: there is nothing more to read.
    pub(crate) read_closed: bool,
    /// After what is in `out`, the sending direction is to be shut down.
    pub(crate) shutdown_wanted: bool,
    pub(crate) shutdown_done: bool,
    /// The connection is over, but for the socket.
    pub(crate) lingering: bool,
}

pub(crate) enum Written {
    All,
    Blocked,
    Failed(String),
}

impl<S: Socket> Link<S> {
    pub(crate) const fn new(connection: ConnectionId, socket: S) -> Self {
        Self {
            connection,
            socket,
            out: Vec::new(),
            written: 0,
            sent_in: u64::MAX,
            lost: None,
            read_closed: false,
            shutdown_wanted: false,
            shutdown_done: false,
            lingering: false,
        }
    }

    pub(crate) const fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// Writes until all is written or the socket is full.
    pub(crate) fn write(&mut self) -> Written {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            let offered = rest.len();
            match self.socket.write(rest) {
                Ok(0) => return Written::Failed("nothing more can be written".to_owned()),
                Ok(count) => {
                    self.written = self.written.saturating_add(count);
                    if count < offered && self.socket.short_is_last() {
                        return Written::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                Err(error) => return Written::Failed(error.to_string()),
            }
        }
        if self.shutdown_wanted && !self.shutdown_done {
            // An error shows in the next read.
            let _ = self.socket.shutdown_write();
            self.shutdown_done = true;
        }
        Written::All
    }

    /// Takes the buffer, once what was in it is written or of no use.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.written = 0;
        let mut buffer = core::mem::take(&mut self.out);
        buffer.clear();
        buffer
    }
}
