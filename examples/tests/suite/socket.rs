//! What a socket's errors and its emptiness mean to the machine behind it.

use bytes::BytesMut;
use drywire::{
    connection::{Stream, StreamId, Transmit},
    time::Instant,
};
use drywire_examples::socket::{Machine, Pipe, Wire};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
};

/// Notes what it is told.
#[derive(Default)]
struct Notes {
    buffer: BytesMut,
    to_send: usize,
    received: usize,
    /// Calls of `handle_recv` that brought nothing.
    empty: u32,
    lost: Option<usize>,
}

impl Machine for Notes {
    fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        self.buffer.reserve(1000);
        Some(&mut self.buffer)
    }

    fn handle_recv(&mut self, _: Instant) {
        let count = self.buffer.len();
        self.empty += u32::from(count == 0);
        self.received += count;
        self.buffer.clear();
    }

    fn handle_eof(&mut self, _: Instant) {}

    fn handle_lost(&mut self, _: Instant, _: String) {
        self.lost.get_or_insert(self.received);
    }

    fn wants_transmit(&self) -> bool {
        self.to_send > 0
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut Vec<u8>, _: usize) -> Transmit {
        out.resize(self.to_send, 0);
        self.to_send = 0;
        Transmit::default()
    }

    fn stream(&mut self, _: StreamId) -> Option<Stream<'_>> {
        None
    }
}

/// Has this much to read, and cannot be written.
struct Gone {
    left: VecDeque<u8>,
}

impl Read for Gone {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.left.read(buffer)
    }
}

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe for Gone {
    fn finish(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_socket_has_is_read_before_a_failed_write_ends_its_connection() {
    let left: VecDeque<u8> = vec![7; 700_000].into();
    let mut wire = Wire::new(Gone { left });
    // It was empty when it was last read, and nobody has told otherwise.
    wire.readable = false;
    let mut machine = Notes {
        to_send: 10,
        ..Notes::default()
    };
    assert!(!wire.write(Instant::ZERO, &mut machine, &mut Vec::new()));
    assert_eq!(machine.lost, Some(700_000));
}

#[test]
fn a_machine_hears_of_an_empty_socket_for_which_it_made_room() {
    let left: VecDeque<u8> = vec![7; 10].into();
    let mut wire = Wire::new(Gone { left });
    let mut machine = Notes::default();
    assert!(!wire.read(Instant::ZERO, &mut machine, &mut [0; 64]));
    assert_eq!((machine.received, machine.empty), (10, 1));
    assert!(!wire.readable);
}
