//! Sockets, as far as a host needs to know them.

use mio::{
    event::Source,
    net::{TcpListener, TcpStream},
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
};

/// Makes sockets. [`Tcp`] is what a host uses unless it is given another: one that goes through a proxy, or that makes
/// trouble in tests.
///
/// Nothing here may block.
pub trait Transport {
    /// A connection.
    type Socket: Socket;
    /// A listener.
    type Listener: Listener<Socket = Self::Socket>;

    /// Begins to connect.
    ///
    /// # Errors
    /// If that fails at once.
    fn connect(&mut self, remote: SocketAddr) -> io::Result<Self::Socket>;

    /// Binds a listener.
    ///
    /// # Errors
    /// As the operating system says: the port is in use, the address is not this machine's, and so on.
    fn listen(&mut self, local: SocketAddr) -> io::Result<Self::Listener>;
}

/// A reliable, ordered byte stream that does not block.
///
/// Readiness is told by edges, as [`mio`] says: whoever answers [`WouldBlock`](io::ErrorKind::WouldBlock) sees to it that an
/// event follows once that is no longer so.
pub trait Socket: Read + Write + Source {
    /// Whether connecting has succeeded; asked whenever there was an event.
    ///
    /// # Errors
    /// Why it has failed.
    fn is_connected(&mut self) -> io::Result<bool>;

    /// Finishes the sending direction; the receiving one stays open.
    ///
    /// # Errors
    /// As the operating system says.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// This side's address, where known.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// Whether a read that has not filled its buffer has taken all there was, and a write that has not emptied its own has
    /// filled all the room, so that an event will tell of more. It saves
    /// a system call for each message.
    fn short_is_last(&self) -> bool {
        false
    }
}

/// A bound listener that does not block.
pub trait Listener: Source {
    /// What it accepts.
    type Socket: Socket;

    /// Accepts one connection.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none. Any other concerns this attempt, not the listener.
    fn accept(&mut self) -> io::Result<(Self::Socket, SocketAddr)>;

    /// Where it listens, the port chosen by the system included.
    ///
    /// # Errors
    /// If the system does not tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// TCP with Nagle's algorithm off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp;

impl Transport for Tcp {
    type Listener = TcpListener;
    type Socket = TcpStream;

    fn connect(&mut self, remote: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(remote)
    }

    fn listen(&mut self, local: SocketAddr) -> io::Result<TcpListener> {
        drywire_system::listen(local).map(TcpListener::from_std)
    }
}

impl Socket for TcpStream {
    fn is_connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        match self.peer_addr() {
            Ok(_) => {
                // Not before: some systems refuse it on a socket that is not connected.
                self.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok()
    }

    fn short_is_last(&self) -> bool {
        // Where mio stands on epoll or kqueue. Elsewhere it arms itself only after a read that would block.
        cfg!(any(
            target_os = "linux",
            target_os = "android",
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly"
        ))
    }
}

impl Listener for TcpListener {
    type Socket = TcpStream;

    fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, remote) = Self::accept(self)?;
        // It fails on a connection that is gone already, which shows soon.
        let _ = socket.set_nodelay(true);
        Ok((socket, remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}
