//! Some nodes in one test, joined by pipes that carry everything at once, in virtual time.

use super::{Node, NodeAction, NodeEvent};
use crate::{
    connection::{ConnectedPoint, ConnectionId},
    identity::{Keypair, PeerId},
    multiaddr::{Multiaddr, Protocol as Component},
    seed::Seed,
    swarm::{
        Action, Config, DialId, DialOptions, Event, ListenerUpdate, Protocol, Swarm, TransportError,
    },
    time::{Instant, UnixTime, earliest},
};
use core::time::Duration;
use std::{collections::BTreeMap, format, vec::Vec};

/// One end of a pipe: which node, and its connection.
type End = (usize, ConnectionId);

pub(crate) struct Net<P: Protocol> {
    pub(crate) nodes: Vec<Node<P>>,
    pub(crate) now: Instant,
    /// Each end's other end.
    pipes: BTreeMap<End, End>,
    /// What is on its way to an end.
    on_the_way: BTreeMap<End, Vec<u8>>,
    /// Who listens at which address.
    listening: BTreeMap<Multiaddr, usize>,
    /// How many bytes a pipe carries at once.
    pub(crate) piece: usize,
    events: Vec<Vec<NodeEvent<P::Event>>>,
    /// Pipes that carry nothing, and tell nobody.
    pub(crate) silent: bool,
}

pub(crate) fn key(number: usize) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number as u64))
}

pub(crate) fn peer(number: usize) -> PeerId {
    key(number).peer_id()
}

/// Where node `number` listens, and how the others see it.
pub(crate) fn address(number: usize) -> Multiaddr {
    format!("/ip4/192.0.2.{}/tcp/4001", number + 1)
        .parse()
        .unwrap()
}

impl<P: Protocol> Net<P> {
    /// `count` nodes that listen.
    pub(crate) fn new(
        count: usize,
        config: &Config,
        mut protocols: impl FnMut(usize) -> P,
    ) -> Self {
        let now = Instant::ZERO;
        let unix = UnixTime::from_secs(1_800_000_000);
        let nodes = (0..count).map(|number| {
            let seed = Seed::for_tests(number as u64);
            Node::new(
                Swarm::new(
                    config.clone(),
                    key(number),
                    protocols(number),
                    seed,
                    now,
                    unix,
                )
                .unwrap(),
            )
        });
        let mut net = Self {
            nodes: nodes.collect(),
            now,
            pipes: BTreeMap::new(),
            on_the_way: BTreeMap::new(),
            listening: BTreeMap::new(),
            piece: usize::MAX,
            events: (0..count).map(|_| Vec::new()).collect(),
            silent: false,
        };
        for number in 0..count {
            net.nodes[number].listen(now, address(number)).unwrap();
        }
        net.settle();
        net.events.iter_mut().for_each(Vec::clear);
        net
    }

    pub(crate) fn dial(&mut self, from: usize, to: usize) -> DialId {
        let to = address(to).with_peer_id(peer(to)).unwrap();
        let dial = self.nodes[from]
            .dial(self.now, DialOptions::address(to))
            .unwrap();
        self.settle();
        dial
    }

    /// A connection between two nodes, and its names at both ends.
    pub(crate) fn connect(&mut self, from: usize, to: usize) -> (ConnectionId, ConnectionId) {
        let before = self.nodes[to].swarm().connections().count();
        self.dial(from, to);
        let ours = self.nodes[from]
            .swarm()
            .connections()
            .last()
            .expect("connected")
            .connection;
        assert_eq!(self.nodes[to].swarm().connections().count(), before + 1);
        (ours, self.pipes[&(from, ours)].1)
    }

    /// Lets everything happen that can happen now.
    pub(crate) fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 100_000, "never rests");
            let busy = (0..self.nodes.len()).any(|number| self.turn(number));
            if !busy && !self.deliver() {
                return;
            }
        }
    }

    /// Lets time pass, and everything happen in it.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let next = self
                .nodes
                .iter()
                .fold(None, |next, node| earliest(next, node.poll_timeout()));
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
        }
        self.now = end;
        for node in &mut self.nodes {
            node.handle_timeout(end);
        }
        self.settle();
    }

    /// What a node has told since it was asked last.
    pub(crate) fn events(&mut self, number: usize) -> Vec<NodeEvent<P::Event>> {
        core::mem::take(&mut self.events[number])
    }

    /// What a node's protocols have told since it was asked last; the rest is lost.
    pub(crate) fn told(&mut self, number: usize) -> Vec<P::Event> {
        let events = self.events(number).into_iter();
        events
            .filter_map(|event| match event {
                NodeEvent::Swarm(Event::Protocol(event)) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// Loses a pipe, both ends of it.
    pub(crate) fn cut(&mut self, number: usize, connection: ConnectionId) {
        let Some((other, theirs)) = self.pipes.get(&(number, connection)).copied() else {
            return;
        };
        self.nodes[number].handle_lost(self.now, connection, "cut".into());
        self.nodes[other].handle_lost(self.now, theirs, "cut".into());
        self.settle();
    }

    fn turn(&mut self, number: usize) -> bool {
        let mut busy = false;
        while let Some(event) = self.nodes[number].poll_event() {
            self.events[number].push(event);
            busy = true;
        }
        while let Some(action) = self.nodes[number].poll_action() {
            self.act(number, action);
            busy = true;
        }
        busy
    }

    fn act(&mut self, number: usize, action: NodeAction) {
        let now = self.now;
        match action {
            NodeAction::Swarm(Action::Listen { listener, address }) => {
                self.listening.insert(address.clone(), number);
                self.nodes[number].handle_listener(now, listener, ListenerUpdate::Bound(address));
            }
            NodeAction::Swarm(Action::StopListen { listener }) => {
                self.listening.retain(|_, who| *who != number);
                self.nodes[number].handle_listener(now, listener, ListenerUpdate::Closed(None));
            }
            NodeAction::Swarm(Action::Dial {
                attempt,
                address: to,
            }) => {
                let other = self.listening.get(&to).copied();
                let mut source = address(number);
                source.pop();
                source
                    .push(Component::Tcp(50_000 + self.pipes.len() as u16))
                    .unwrap();
                let theirs = other.and_then(|other| {
                    let point = ConnectedPoint::accepted(source, Some(to.clone()));
                    Some((other, self.nodes[other].handle_accept(now, point).ok()?))
                });
                let result = match theirs {
                    Some(_) => Ok(ConnectedPoint::dialed(to, None)),
                    None => Err(TransportError::Refused),
                };
                let ours = self.nodes[number].handle_dialed(now, attempt, result);
                match (ours, theirs) {
                    (Some(ours), Some(theirs)) => {
                        self.pipes.insert((number, ours), theirs);
                        self.pipes.insert(theirs, (number, ours));
                    }
                    (None, Some((other, theirs))) => {
                        self.nodes[other].handle_lost(now, theirs, "not wanted".into());
                    }
                    _ => {}
                }
            }
            NodeAction::Transmit(connection) => {
                let mut out = Vec::new();
                self.nodes[number].poll_transmit(now, connection, &mut out, 64 * 1024);
                let other = self.pipes.get(&(number, connection)).copied();
                if let Some(other) = other.filter(|_| !self.silent) {
                    self.on_the_way.entry(other).or_default().extend(out);
                }
            }
            NodeAction::Close(connection) => {
                // What is on its way arrives first.
                while self.deliver() {}
                if let Some(other) = self.pipes.remove(&(number, connection)) {
                    self.pipes.remove(&other);
                    if !self.silent {
                        self.nodes[other.0].handle_eof(now, other.1);
                    }
                }
                self.nodes[number].handle_closed(now, connection);
            }
            NodeAction::Swarm(other) => self.nodes[number].handle_unsupported(now, other),
        }
    }

    fn deliver(&mut self) -> bool {
        let mut moved = false;
        for ((number, connection), bytes) in core::mem::take(&mut self.on_the_way) {
            let piece = &bytes[..bytes.len().min(self.piece)];
            let taken = self.nodes[number].handle_input(self.now, connection, piece);
            moved |= taken > 0;
            if taken < bytes.len() && self.pipes.contains_key(&(number, connection)) {
                self.on_the_way
                    .insert((number, connection), bytes[taken..].to_vec());
            }
        }
        moved
    }
}
