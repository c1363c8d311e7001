//! The node, its peer, and the pipes between them.

use super::{Both, BothEvent, NAMES, Own, RAW};
use core::time::Duration;
use drywire::{
    connection::{Accept, ConnectedPoint, ConnectionId, Event, OpenOptions, ReadError, StreamId},
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::{Node, NodeAction, NodeEvent},
    protocols,
    seed::Seed,
    swarm::{
        Action, AttemptId, Config, Context, DialCondition, DialOptions, SecurityConfig, Swarm,
        TransportError,
    },
    time::{Instant, UnixTime, earliest},
};
use std::collections::VecDeque;

/// Connections at a time.
const MAX_LINKS: usize = 3;
/// Streams of the peer that are still there.
const MAX_STREAMS: usize = 100;

protocols! {
    /// The peer has no protocols: its streams are the input's.
    pub(super) struct Nothing => NothingEvent {}
}

fn key(number: u64) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number))
}

/// Who the peer is.
pub(super) fn peer() -> PeerId {
    key(1).peer_id()
}

/// Where it is.
pub(super) fn address() -> Multiaddr {
    "/ip4/192.0.2.2/tcp/4001".parse().unwrap()
}

/// A connection: its names at the two ends, and what is on the way to each.
struct Link {
    ids: [ConnectionId; 2],
    pipes: [VecDeque<u8>; 2],
}

pub(super) struct World {
    node: Node<Both>,
    peer: Node<Nothing>,
    pub(super) now: Instant,
    links: Vec<Link>,
    /// Dials of the node that have no outcome yet.
    attempts: Vec<AttemptId>,
    /// The peer's streams, and those of the node's host.
    streams: Vec<(ConnectionId, StreamId)>,
    own: Vec<(ConnectionId, StreamId)>,
}

fn swarm<P: drywire::swarm::Protocol>(protocols: P, number: u64, events: u32) -> Swarm<P> {
    let mut config = Config::new(SecurityConfig::InsecurePlaintext);
    config.queues.events = events;
    let unix = UnixTime::from_secs(1_800_000_000);
    let seed = Seed::for_tests(number + 100);
    Swarm::new(config, key(number), protocols, seed, Instant::ZERO, unix).unwrap()
}

impl World {
    pub(super) fn new(protocols: Both, events: u32, names: &[ProtocolName]) -> Self {
        let mut peer = Node::new(swarm(Nothing {}, 1, 4096));
        for name in names.iter().take(names.len() - 1) {
            let accept = Accept::new(RAW).host_owned();
            peer.command(Instant::ZERO, |swarm| {
                swarm.accept(Instant::ZERO, name.clone(), accept).unwrap();
            });
        }
        Self {
            node: Node::new(swarm(protocols, 0, events)),
            peer,
            now: Instant::ZERO + Duration::from_secs(1),
            links: Vec::new(),
            attempts: Vec::new(),
            streams: Vec::new(),
            own: Vec::new(),
        }
    }

    pub(super) fn node(&self) -> &Both {
        self.node.swarm().protocols()
    }

    pub(super) fn with<R>(
        &mut self,
        run: impl FnOnce(&mut Both, &mut Context<'_, BothEvent>) -> R,
    ) -> R {
        self.node.with(self.now, run)
    }

    /// The peer comes.
    pub(super) fn connect(&mut self) {
        if self.links.len() >= MAX_LINKS {
            return;
        }
        let at: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let point = ConnectedPoint::accepted(address(), Some(at.clone()));
        let Ok(ours) = self.node.handle_accept(self.now, point) else {
            return;
        };
        let to = at.with_peer_id(key(0).peer_id()).unwrap();
        let options = DialOptions::address(to.clone()).condition(DialCondition::Always);
        self.peer.dial(self.now, options).unwrap();
        let mut attempt = None;
        while let Some(action) = self.peer.poll_action() {
            attempt = attempt.or(self.peer_action(action));
        }
        let theirs = attempt.and_then(|attempt| {
            let point = ConnectedPoint::dialed(to, None);
            self.peer.handle_dialed(self.now, attempt, Ok(point))
        });
        match theirs {
            Some(theirs) => self.link(ours, theirs),
            None => self.node.handle_lost(self.now, ours, "not wanted".into()),
        }
    }

    fn link(&mut self, ours: ConnectionId, theirs: ConnectionId) {
        self.links.push(Link {
            ids: [ours, theirs],
            pipes: Default::default(),
        });
    }

    /// A dial of the node ends.
    pub(super) fn dial_over(&mut self, which: u8, succeeds: bool) {
        self.turn();
        let Some(at) = super::pick(&self.attempts, which) else {
            return;
        };
        let attempt = self.attempts.remove(at);
        let remote =
            ConnectedPoint::accepted("/ip4/192.0.2.1/tcp/5".parse().unwrap(), Some(address()));
        let theirs = (succeeds && self.links.len() < MAX_LINKS)
            .then(|| self.peer.handle_accept(self.now, remote).ok())
            .flatten();
        let result = match theirs {
            Some(_) => Ok(ConnectedPoint::dialed(address(), None)),
            None => Err(TransportError::Refused),
        };
        match (self.node.handle_dialed(self.now, attempt, result), theirs) {
            (Some(ours), Some(theirs)) => self.link(ours, theirs),
            (None, Some(theirs)) => self.peer.handle_lost(self.now, theirs, "not wanted".into()),
            (Some(ours), None) => self.node.handle_lost(self.now, ours, "nobody".into()),
            (None, None) => {}
        }
    }

    pub(super) fn refuse_dials(&mut self) {
        self.turn();
        while !self.attempts.is_empty() {
            self.dial_over(0, false);
        }
    }

    /// Both do what they have to do; what they send is on its way then.
    pub(super) fn turn(&mut self) -> bool {
        let mut busy = false;
        while let Some(action) = self.node.poll_action() {
            busy = true;
            match action {
                NodeAction::Swarm(Action::Dial { attempt, .. }) => self.attempts.push(attempt),
                NodeAction::Swarm(Action::CancelDial { attempt }) => {
                    self.attempts.retain(|other| *other != attempt);
                }
                NodeAction::Transmit(id) => {
                    let mut out = Vec::new();
                    self.node.poll_transmit(self.now, id, &mut out, 64 * 1024);
                    self.put(0, id, &out);
                }
                NodeAction::Close(id) => {
                    self.node.handle_closed(self.now, id);
                    self.lost(0, id);
                }
                _ => {}
            }
        }
        while let Some(action) = self.peer.poll_action() {
            busy = true;
            self.peer_action(action);
        }
        while let Some(event) = self.peer.poll_event() {
            busy = true;
            self.peer_event(event);
        }
        busy
    }

    /// The peer does something; the attempt, if it wants to dial.
    fn peer_action(&mut self, action: NodeAction) -> Option<AttemptId> {
        match action {
            NodeAction::Transmit(id) => {
                let mut out = Vec::new();
                self.peer.poll_transmit(self.now, id, &mut out, 64 * 1024);
                self.put(1, id, &out);
            }
            NodeAction::Close(id) => {
                self.peer.handle_closed(self.now, id);
                self.lost(1, id);
            }
            NodeAction::Swarm(Action::Dial { attempt, .. }) => return Some(attempt),
            _ => {}
        }
        None
    }

    fn put(&mut self, side: usize, id: ConnectionId, bytes: &[u8]) {
        let link = self.links.iter_mut().find(|link| link.ids[side] == id);
        if let Some(link) = link {
            link.pipes[1 - side].extend(bytes);
        }
    }

    /// One end is gone: the other one notices, after what is on its way.
    fn lost(&mut self, side: usize, id: ConnectionId) {
        let Some(at) = self.links.iter().position(|link| link.ids[side] == id) else {
            return;
        };
        self.deliver(at, side == 1, usize::MAX);
        let link = self.links.remove(at);
        if side == 0 {
            self.peer.handle_eof(self.now, link.ids[1]);
        } else {
            self.node.handle_eof(self.now, link.ids[0]);
        }
    }

    fn peer_event(&mut self, event: NodeEvent<NothingEvent>) {
        let NodeEvent::Connection(connection, event) = event else {
            return;
        };
        match event {
            Event::Inbound { stream, .. } => self.streams.push((connection, stream)),
            Event::Failed { stream, .. } | Event::Reset { stream, .. } => {
                if let Some(mut view) = self.peer.stream(connection, stream) {
                    view.release();
                }
                self.streams.retain(|known| *known != (connection, stream));
            }
            Event::Finished { stream } => {
                self.streams.retain(|known| *known != (connection, stream));
            }
            Event::Closed { .. } => self.streams.retain(|(on, _)| *on != connection),
            _ => {}
        }
    }

    /// Something that the node tells its host.
    pub(super) fn event(&mut self) -> Option<BothEvent> {
        while let Some(event) = self.node.poll_event() {
            match event {
                NodeEvent::Swarm(drywire::swarm::Event::Protocol(event)) => return Some(event),
                NodeEvent::Connection(connection, event) => self.own_event(connection, &event),
                _ => {}
            }
        }
        None
    }

    fn own_event(&mut self, connection: ConnectionId, event: &Event) {
        match event {
            Event::Failed { stream, .. } | Event::Reset { stream, .. } => {
                if let Some(mut view) = self.node.stream(connection, *stream) {
                    view.release();
                }
                self.own.retain(|known| *known != (connection, *stream));
            }
            Event::Finished { stream } => {
                self.own.retain(|known| *known != (connection, *stream));
            }
            Event::Closed { .. } => self.own.retain(|(on, _)| *on != connection),
            _ => {}
        }
    }

    /// A stream is the node's host's from now on.
    pub(super) fn own(&mut self, stream: Own) {
        self.own.push((stream.connection, stream.stream));
    }

    /// The host reads such a stream, and finishes or resets it.
    pub(super) fn host_stream(&mut self, which: u8) {
        let Some(at) = super::pick(&self.own, which >> 2) else {
            return;
        };
        let (connection, stream) = self.own[at];
        let Some(mut view) = self.node.stream(connection, stream) else {
            return;
        };
        while let Ok(Some(_)) = view.read(4096) {}
        match which & 3 {
            0 => drop(view.write(b"hello")),
            1 | 2 => drop(view.finish()),
            _ => {
                view.reset(5);
                view.release();
                self.own.swap_remove(at);
            }
        }
    }

    // The peer

    pub(super) fn peer_opens(&mut self, name: &ProtocolName) {
        let Some(link) = self.links.last() else {
            return;
        };
        if self.streams.len() >= MAX_STREAMS {
            return;
        }
        let (id, names) = (link.ids[1], [name.clone()]);
        let opened = self
            .peer
            .open(self.now, id, &names, RAW, OpenOptions::default());
        if let Ok(stream) = opened {
            self.streams.push((id, stream));
        }
    }

    fn on_stream(&mut self, which: u8, act: impl FnOnce(&mut drywire::connection::Stream<'_>)) {
        // The latest ones first: an input can say which it means.
        let Some(at) = super::pick(&self.streams, which) else {
            return;
        };
        let (connection, stream) = self.streams[self.streams.len() - 1 - at];
        if let Some(mut view) = self.peer.stream(connection, stream) {
            act(&mut view);
        }
    }

    pub(super) fn peer_writes(&mut self, which: u8, bytes: &[u8]) {
        self.on_stream(which, |stream| drop(stream.write(bytes)));
    }

    pub(super) fn peer_finishes(&mut self, which: u8) {
        self.on_stream(which, |stream| drop(stream.finish()));
    }

    pub(super) fn peer_resets(&mut self, which: u8) {
        self.on_stream(which, |stream| {
            stream.reset(1);
        });
    }

    pub(super) fn peer_stops(&mut self, which: u8) {
        self.on_stream(which, |stream| {
            stream.stop();
        });
    }

    pub(super) fn peer_reads(&mut self, which: u8) {
        self.on_stream(which, |stream| while let Ok(Some(_)) = stream.read(1000) {});
    }

    /// The peer answers all that it was asked with what it was asked: bodies come back, and finished ones are finished.
    pub(super) fn peer_answers(&mut self) {
        for (connection, stream) in self.streams.clone() {
            let Some(mut view) = self.peer.stream(connection, stream) else {
                continue;
            };
            loop {
                match view.read(4096) {
                    // A response has another kind than the request.
                    Ok(Some(bytes)) => {
                        let mut bytes = bytes.to_vec();
                        if let [5, 0xa1, 0, 0x82, kind, ..] = &mut bytes[..] {
                            *kind = 1;
                        }
                        if let [_, 0xa3, 0, 0x82, 2, 0x80, 1, _, 2, ident @ ..] = &bytes[..] {
                            let mut ack =
                                vec![4 + 2 + ident.len() as u8, 0xa2, 0, 0x82, 3, 0x80, 2];
                            ack.extend(ident);
                            ack[0] = (ack.len() - 1) as u8;
                            bytes = ack;
                        }
                        drop(view.write(&bytes));
                    }
                    Ok(None) => {
                        drop(view.finish());
                        break;
                    }
                    Err(ReadError::Blocked) => break,
                    Err(_) => break,
                }
            }
        }
    }

    // The pipes

    /// Delivers so many bytes; `to_node`, or to the peer.
    pub(super) fn deliver(&mut self, which: usize, to_node: bool, count: usize) -> bool {
        if self.links.is_empty() {
            return false;
        }
        let at = which % self.links.len();
        let side = usize::from(!to_node);
        let link = &mut self.links[at];
        let count = count.min(link.pipes[side].len());
        let bytes: Vec<u8> = link.pipes[side].iter().take(count).copied().collect();
        if bytes.is_empty() {
            return false;
        }
        let id = link.ids[side];
        let taken = if to_node {
            self.node.handle_input(self.now, id, &bytes)
        } else {
            self.peer.handle_input(self.now, id, &bytes)
        };
        link.pipes[side].drain(..taken);
        taken > 0
    }

    /// Everything that is on its way arrives, and what comes of it.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut busy = self.turn();
            for at in 0..self.links.len() {
                busy |= self.deliver(at, true, usize::MAX);
                busy |= self.deliver(at, false, usize::MAX);
            }
            if !busy {
                return;
            }
        }
        panic!("never rests");
    }

    pub(super) fn cut(&mut self, which: u8) {
        if let Some(at) = super::pick(&self.links, which) {
            let link = self.links.remove(at);
            self.node.handle_lost(self.now, link.ids[0], "cut".into());
            self.peer.handle_lost(self.now, link.ids[1], "cut".into());
            self.turn();
        }
    }

    pub(super) fn cut_all(&mut self) {
        while !self.links.is_empty() {
            self.cut(0);
        }
    }

    pub(super) fn close(&mut self, which: u8, by_node: bool) {
        if let Some(at) = super::pick(&self.links, which) {
            let ids = self.links[at].ids;
            if by_node {
                self.node.close(self.now, ids[0]);
            } else {
                self.peer.close(self.now, ids[1]);
            }
        }
    }

    // Time

    /// Goes on to the next deadline, if that is not after `end`; otherwise to `end`, and there is no more.
    pub(super) fn advance(&mut self, end: Instant) -> bool {
        self.settle();
        let due = earliest(self.node.poll_timeout(), self.peer.poll_timeout());
        let next = due.filter(|at| *at <= end);
        self.now = self.now.max(next.unwrap_or(end));
        self.node.handle_timeout(self.now);
        self.peer.handle_timeout(self.now);
        self.settle();
        next.is_some()
    }

    /// What there still is to do.
    pub(super) fn why(&self) -> String {
        let due = (self.node.poll_timeout(), self.peer.poll_timeout());
        let links = self
            .links
            .iter()
            .map(|link| link.pipes.each_ref().map(VecDeque::len));
        format!("at {:?} {due:?}, {:?}", self.now, links.collect::<Vec<_>>())
    }

    // The books

    pub(super) fn audit(&self) {
        self.node.swarm().audit().unwrap();
        assert!(self.links.len() <= MAX_LINKS && NAMES.len() == 5);
    }

    pub(super) fn audit_end(&self) {
        self.audit();
        self.node.audit_connections().unwrap();
        assert_eq!(self.node.swarm().connection_count(), 0);
        // That of the swarm's end.
        assert_eq!(self.node.swarm().reserved_events(), 1);
    }
}
