//! One node with one peer, which is in the hands of the test.

use crate::protocols::Script;
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    node::NodeAction,
    swarm::{Action, Config, DialOptions, Protocol, TransportError},
    time::Instant,
};
use drywire_tests::{
    heap::Meter,
    net::{self, Host, address, peer},
    victim::Target,
};
use std::time::Duration;

/// Frames a peer may send without an end: the `n`th of them.
pub type Flood = fn(u32) -> Vec<u8>;

/// A node with a careful host, whose application does nothing by itself, and one connection.
pub struct Single<H: Host> {
    pub host: H,
    pub now: Instant,
    pub connection: ConnectionId,
    /// What the node does to the heap since it was made.
    pub meter: Meter,
    /// Whether the peer takes what is sent.
    pub peer_reads: bool,
    /// Whether the host collects events.
    pub collects: bool,
    /// The node wants its socket closed, and it is.
    pub closed: bool,
    /// Events collected.
    pub events: usize,
    waiting: Vec<u8>,
    sent: Vec<u8>,
    out: Vec<u8>,
}

impl<H: Host<Protocol: Script>> Single<H> {
    /// Node `number` of a net with `seed`, as it is there: with a connection it dialed to the other of two nodes, or
    /// accepted from it.
    pub fn new(config: &Config, number: usize, seed: u64, dials: bool) -> Self {
        let mut host = H::new(net::swarm(config, H::Protocol::fresh(), number, seed));
        let now = Instant::ZERO + Duration::from_secs(1);
        host.command(now, |swarm| swarm.with(now, H::Protocol::set_up));
        let mut meter = Meter::default();
        let (other, mut connection) = (1 - number, None);
        meter.run(|| {
            if !dials {
                let source = "/ip4/192.0.2.99/tcp/20001".parse().expect("valid");
                let point = ConnectedPoint::accepted(source, Some(address(number)));
                connection = host.handle_accept(now, point).ok();
                return;
            }
            let to = address(other)
                .with_peer_id(peer(other))
                .expect("no peer yet");
            let options = DialOptions::address(to);
            host.command(now, |swarm| swarm.dial(now, options))
                .expect("may dial");
            while connection.is_none()
                && let Some(action) = host.poll_action()
            {
                if let NodeAction::Swarm(Action::Dial { attempt, address }) = action {
                    let point = ConnectedPoint::dialed(address, None);
                    connection = host.handle_dialed(now, attempt, Ok(point));
                }
            }
        });
        let mut single = Self {
            host,
            now,
            connection: connection.expect("may connect"),
            meter,
            peer_reads: true,
            collects: true,
            closed: false,
            events: 0,
            waiting: Vec::new(),
            sent: Vec::new(),
            out: Vec::with_capacity(1 << 20),
        };
        single.turn();
        single
    }

    /// Everything a host does when it is woken.
    pub fn turn(&mut self) {
        for _ in 0..100_000 {
            let mut busy = self.collect();
            if !self.waiting.is_empty() && !self.closed {
                let (host, now, id) = (&mut self.host, self.now, self.connection);
                let waiting = &self.waiting;
                let taken = self.meter.run(|| host.handle_input(now, id, waiting));
                self.waiting.drain(..taken);
                busy |= taken > 0;
            }
            busy |= self.act();
            if !busy {
                return;
            }
        }
        panic!("law 4: never rests");
    }

    fn collect(&mut self) -> bool {
        let (host, before) = (&mut self.host, self.events);
        if self.collects {
            // Taken and dropped: both are the node's.
            while self.meter.run(|| host.poll_event().is_some()) {
                self.events += 1;
            }
        }
        self.events > before
    }

    fn act(&mut self) -> bool {
        let (host, now) = (&mut self.host, self.now);
        let action = self.meter.run(|| host.poll_action());
        let Some(action) = action else {
            // What was not sent for want of a reader is asked for again.
            return self.transmit();
        };
        match action {
            NodeAction::Transmit(_) => return self.transmit(),
            NodeAction::Close(id) => {
                self.closed |= id == self.connection;
                self.meter.run(|| host.handle_closed(now, id));
            }
            NodeAction::Swarm(Action::Dial { attempt, .. }) => {
                let refused = Err(TransportError::Refused);
                self.meter.run(|| host.handle_dialed(now, attempt, refused));
            }
            NodeAction::Swarm(other) => {
                self.meter
                    .run(|| host.command(now, |swarm| swarm.handle_unsupported(now, other)));
            }
            other => panic!("{other:?}"),
        }
        true
    }

    fn transmit(&mut self) -> bool {
        let (host, now, id) = (&mut self.host, self.now, self.connection);
        if !self.peer_reads || !host.wants_transmit(id) {
            return false;
        }
        self.out.clear();
        let out = &mut self.out;
        self.meter
            .run(|| host.poll_transmit(now, id, out, 256 * 1024));
        self.sent.extend_from_slice(&self.out);
        !self.out.is_empty()
    }

    /// Lets time pass, with a turn at every deadline.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.host.poll_timeout().filter(|at| *at <= end) {
            // Events that nobody collects, and bytes that nobody takes, have a deadline that stays.
            turns = if at > self.now { 0 } else { turns + 1 };
            if turns > 10 {
                break;
            }
            self.now = self.now.max(at);
            let (host, now) = (&mut self.host, self.now);
            self.meter.run(|| host.handle_timeout(now));
            self.turn();
        }
        self.now = end;
        let host = &mut self.host;
        self.meter.run(|| host.handle_timeout(end));
        self.turn();
    }

    /// Bytes that the node does not take now.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Asserts that the connection, whatever became of it, has left nothing.
    pub fn assert_gone(&mut self) {
        let (now, id) = (self.now, self.connection);
        self.host.handle_lost(now, id, "the end of the test".into());
        self.turn();
        assert!(self.closed, "never closed");
        let swarm = self.host.swarm();
        assert_eq!(
            (swarm.connection_count(), swarm.connections().count()),
            (0, 0)
        );
        assert!(
            swarm.protocols().poll_timeout().is_none() || H::Protocol::LINGERS,
            "a timer of the protocol is left"
        );
        // Whatever it is that the protocol remembers, not for ever.
        self.wait(Duration::from_secs(60));
        let left = self.host.swarm().protocols().poll_timeout();
        assert_eq!(left, None, "a timer of the protocol is left");
    }
}

impl<H: Host<Protocol: Script>> Target for Single<H> {
    fn input(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.turn();
    }

    fn sent(&mut self) -> Vec<u8> {
        self.turn();
        std::mem::take(&mut self.sent)
    }
}
