//! What the tests share.

use core::time::Duration;
use drywire::{
    connection::{self, ConnectionId, StreamId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{self, DialOptions},
};
use drywire_mio::{Event, Host, Transport};
use std::{
    convert::Infallible,
    io::{ErrorKind, Read, Write},
    time::Instant,
};

pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

pub(crate) fn anywhere() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// Hosts in one loop, and what they have told.
pub(crate) struct Loop<T: Transport> {
    pub(crate) poll: mio::Poll,
    pub(crate) events: mio::Events,
    pub(crate) hosts: Vec<Host<(), T>>,
    pub(crate) told: Vec<Vec<Event<Infallible>>>,
    pub(crate) turns: usize,
}

impl<T: Transport> Loop<T> {
    pub(crate) fn new() -> Self {
        Self {
            poll: mio::Poll::new().unwrap(),
            events: mio::Events::with_capacity(64),
            hosts: Vec::new(),
            told: Vec::new(),
            turns: 0,
        }
    }

    pub(crate) fn add(&mut self, host: Host<(), T>) -> usize {
        self.hosts.push(host);
        self.told.push(Vec::new());
        self.hosts.len() - 1
    }

    /// One turn of all hosts. Echoes are sent back at once.
    pub(crate) fn turn(&mut self, most: Duration) {
        self.turns += 1;
        let due = self.hosts.iter().filter_map(Host::poll_timeout).min();
        let sleep = due.map_or(most, |due| due.min(most));
        self.poll.poll(&mut self.events, Some(sleep)).unwrap();
        for (host, told) in self.hosts.iter_mut().zip(&mut self.told) {
            host.handle_events(&self.events);
            while let Some(event) = host.poll_event() {
                if let Some((connection, stream)) = to_be_echoed(&event) {
                    echo(host, connection, stream);
                }
                told.push(event);
            }
        }
    }

    /// Turns until something was found among what a host has told.
    pub(crate) fn until<R>(
        &mut self,
        number: usize,
        mut find: impl FnMut(&Event<Infallible>) -> Option<R>,
    ) -> R {
        let end = Instant::now() + Duration::from_secs(20);
        let mut seen = 0;
        while Instant::now() < end {
            for event in &self.told[number][seen..] {
                if let Some(found) = find(event) {
                    return found;
                }
            }
            seen = self.told[number].len();
            self.turn(Duration::from_millis(100));
        }
        panic!("it has not come to that: {:?}", self.told[number]);
    }

    pub(crate) fn listen(&mut self, number: usize) -> Multiaddr {
        self.hosts[number].accept(ECHO).unwrap();
        self.hosts[number].listen(anywhere()).unwrap();
        self.until(number, |event| match event {
            Event::Swarm(swarm::Event::Listening { address, .. }) => Some(address.clone()),
            _ => None,
        })
    }

    pub(crate) fn dial(&mut self, number: usize, address: Multiaddr) -> ConnectionId {
        let dial = self.hosts[number]
            .dial(DialOptions::address(address))
            .unwrap();
        self.until(number, |event| match event {
            Event::Swarm(swarm::Event::Dialed {
                dial: dialed,
                connection,
                ..
            }) if *dialed == dial => Some(*connection),
            Event::Swarm(swarm::Event::DialFailed { error, .. }) => panic!("{error}"),
            _ => None,
        })
    }
}

/// What a peer has opened, or written on such a stream.
fn to_be_echoed(event: &Event<Infallible>) -> Option<(ConnectionId, StreamId)> {
    match event {
        Event::Connection(
            connection,
            connection::Event::Inbound { stream, .. }
            | connection::Event::Readable { stream }
            | connection::Event::Writable { stream },
        ) => Some((*connection, *stream)),
        _ => None,
    }
}

/// Only streams that the peer has opened: others are the test's.
fn echo<T: Transport>(host: &mut Host<(), T>, connection: ConnectionId, stream: StreamId) {
    let inbound = host
        .connection(connection)
        .is_some_and(|held| held.point().direction == connection::Direction::Inbound);
    let Some(mut stream) = host.stream(connection, stream).filter(|_| inbound) else {
        return;
    };
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => {
                stream.finish().unwrap();
                return;
            }
            // Tests that do not read write little.
            Ok(count) => stream.write_all(&buffer[..count]).unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return;
            }
        }
    }
}

/// Asks for an echo, and waits for it.
pub(crate) fn ask<T: Transport>(hosts: &mut Loop<T>, number: usize, connection: ConnectionId) {
    let host = &mut hosts.hosts[number];
    let id = host.open(connection, &[ECHO]).unwrap();
    let mut stream = host.stream(connection, id).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.finish().unwrap();
    let mut heard = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < end, "no answer");
        let mut stream = hosts.hosts[number].stream(connection, id).unwrap();
        match stream.read_to_end(&mut heard) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        hosts.turn(Duration::from_millis(100));
    }
    assert_eq!(heard, b"hello");
}
