//! The sockets of connections, as far as a worker needs to know them.

use crate::socket::Pipe;
use core::net::SocketAddr;
use mio::{
    event::Source,
    net::{TcpListener, TcpStream},
};
use std::io;

/// A socket of a connection, on its worker.
pub trait WorkerSocket: Pipe + Source + Send {}

impl<S: Pipe + Source + Send> WorkerSocket for S {}

impl Pipe for Box<dyn WorkerSocket> {
    fn finish(&self) -> io::Result<()> {
        (**self).finish()
    }
}

/// Makes them. [`Tcp`] is what a host uses, unless it is given another: for sockets that count, or that make trouble in
/// tests.
pub trait Sockets: Send + 'static {
    /// Accepts one; with its own address, and the peer's.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none. After any that does not concern this attempt alone (see
    /// [`is_of_one_accept`](crate::socket::is_of_one_accept)), the listener rests.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<Accepted>;

    /// This one is connected.
    fn connected(&mut self, socket: TcpStream) -> Box<dyn WorkerSocket>;
}

/// A socket, its own address where known, and the peer's.
pub type Accepted = (Box<dyn WorkerSocket>, Option<SocketAddr>, SocketAddr);

/// TCP, with Nagle's algorithm off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Sockets for Tcp {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<Accepted> {
        let (socket, remote) = listener.accept()?;
        // If it fails, messages may wait for each other a little.
        let _ = socket.set_nodelay(true);
        let local = socket.local_addr().ok();
        Ok((Box::new(socket), local, remote))
    }

    fn connected(&mut self, socket: TcpStream) -> Box<dyn WorkerSocket> {
        Box::new(socket)
    }
}
