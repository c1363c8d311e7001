//! Sockets.

use crate::readiness::Readiness;
use bytes::BytesMut;
use core::{
    cell::RefCell,
    net::SocketAddr,
    task::{Context, Poll, ready},
};
use drywire_engine::{Listener, Pipe};
use smol::Async;
use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
};

/// The most that one system call reads: what a connection's buffer grows to.
const SCRATCH: usize = 256 * 1024;

std::thread_local! {
    /// Sockets are read into this and copied from here: without unsafe code a system call reads into initialised memory
    /// alone, and the room in a connection's buffer is not. One for each thread that runs connections, made at its first.
    static SCRATCHES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends what `stream` has, at most as much as `buf` has room for; and whether that may have been all.
fn read(mut stream: &TcpStream, buf: &mut BytesMut) -> io::Result<(usize, bool)> {
    let room = buf.capacity().saturating_sub(buf.len());
    let read = SCRATCHES.try_with(|scratch| {
        let mut scratch = scratch.borrow_mut();
        if scratch.is_empty() {
            // Memory that is zero already, and taken only as far as it is used.
            *scratch = vec![0; SCRATCH];
        }
        let asked = room.min(SCRATCH);
        let count = stream.read(scratch.get_mut(..asked).unwrap_or_default())?;
        buf.extend_from_slice(scratch.get(..count).unwrap_or_default());
        Ok((count, count < asked))
    });
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A TCP connection.
#[derive(Debug)]
pub struct AsyncIoPipe {
    stream: Async<TcpStream>,
    reading: Readiness,
    writing: Readiness,
}

impl AsyncIoPipe {
    /// Turns off Nagle's algorithm.
    pub(crate) fn new(stream: Async<TcpStream>) -> io::Result<Self> {
        stream.get_ref().set_nodelay(true)?;
        Ok(Self {
            stream,
            reading: Readiness::new(),
            writing: Readiness::new(),
        })
    }
}

impl Pipe for AsyncIoPipe {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = &self.stream;
        // An error shows in the read.
        self.reading
            .poll(cx, |cx| stream.poll_readable(cx))
            .map(drop)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let stream = &self.stream;
        loop {
            ready!(self.reading.poll(cx, |cx| stream.poll_readable(cx)))?;
            match read(stream.get_ref(), buf) {
                Ok((count, all)) => {
                    if all {
                        self.reading.clear();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.reading.clear(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let stream = &self.stream;
        loop {
            ready!(self.writing.poll(cx, |cx| stream.poll_writable(cx)))?;
            match stream.get_ref().write(data) {
                Ok(count) => {
                    // What was not taken would not be now.
                    if count < data.len() {
                        self.writing.clear();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.writing.clear(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.get_ref().local_addr().ok()
    }
}

/// A TCP listener.
#[derive(Debug)]
pub struct AsyncIoListener {
    listener: Async<TcpListener>,
    accepting: Readiness,
}

impl AsyncIoListener {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self {
            listener: Async::new(listener)?,
            accepting: Readiness::new(),
        })
    }
}

impl Listener for AsyncIoListener {
    type Pipe = AsyncIoPipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(AsyncIoPipe, SocketAddr)>> {
        let listener = &self.listener;
        loop {
            ready!(self.accepting.poll(cx, |cx| listener.poll_readable(cx)))?;
            match listener.get_ref().accept() {
                Ok((stream, remote)) => {
                    let pipe = Async::new(stream).and_then(AsyncIoPipe::new)?;
                    return Poll::Ready(Ok((pipe, remote)));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accepting.clear(),
                    io::ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.get_ref().local_addr()
    }
}
