//! drywire's nodes in one thread, their connections joined in memory: bytes that one has for its socket are another's input at
//! once.

use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    multiaddr::Multiaddr,
    node::{Node, NodeAction, NodeEvent},
    swarm::{Action, AttemptId, ListenerUpdate, Protocol, TransportError},
    time::Instant,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

/// Bytes that are taken from a connection at a time.
const PIECE: usize = 64 * 1024;

/// One end of a pipe: which node, and its connection.
type End = (usize, ConnectionId);

/// Nodes, and the pipes between them.
pub(crate) struct World<P: Protocol> {
    pub(crate) nodes: Vec<Node<P>>,
    /// What nodes told, of their protocols.
    pub(crate) events: VecDeque<(usize, P::Event)>,
    start: std::time::Instant,
    /// Nodes that may have something to do.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
    deadlines: BTreeSet<(Instant, usize)>,
    deadline: Vec<Option<Instant>>,
    pipes: HashMap<End, End>,
    /// What a connection did not take yet, as long as it is not admitted.
    waiting: BTreeMap<End, Vec<u8>>,
    listening: HashMap<Multiaddr, usize>,
    buffer: Vec<u8>,
}

impl<P: Protocol> World<P> {
    pub(crate) fn new(nodes: Vec<Node<P>>) -> Self {
        let count = nodes.len();
        Self {
            nodes,
            events: VecDeque::new(),
            start: std::time::Instant::now(),
            ready: (0..count).collect(),
            is_ready: vec![true; count],
            deadlines: BTreeSet::new(),
            deadline: vec![None; count],
            pipes: HashMap::new(),
            waiting: BTreeMap::new(),
            listening: HashMap::new(),
            buffer: Vec::with_capacity(PIECE),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// A node was told something from outside.
    pub(crate) fn touch(&mut self, node: usize) {
        if !self.is_ready[node] {
            self.is_ready[node] = true;
            self.ready.push_back(node);
        }
    }

    /// Lets everything happen that can happen now. Whether there was anything.
    pub(crate) fn settle(&mut self) -> bool {
        let now = self.now();
        while let Some((at, node)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.deadline[node] = None;
            self.nodes[node].handle_timeout(now);
            self.touch(node);
        }
        let busy = !self.ready.is_empty();
        while let Some(node) = self.ready.pop_front() {
            self.is_ready[node] = false;
            self.turn(node);
        }
        busy
    }

    /// Sleeps until a deadline, or for so long.
    pub(crate) fn rest(&self, most: Duration) {
        let next = self.deadlines.first().map(|(at, _)| *at);
        let until = next.map_or(most, |at| at.saturating_duration_since(self.now()));
        std::thread::sleep(until.min(most));
    }

    fn turn(&mut self, node: usize) {
        loop {
            let mut busy = false;
            while let Some(event) = self.nodes[node].poll_event() {
                busy = true;
                if let NodeEvent::Swarm(drywire::swarm::Event::Protocol(event)) = event {
                    self.events.push_back((node, event));
                }
            }
            while let Some(action) = self.nodes[node].poll_action() {
                busy = true;
                self.act(node, action);
            }
            if !self.waiting.is_empty() {
                busy |= self.offer_again(node);
            }
            if !busy {
                break;
            }
        }
        let due = self.nodes[node].poll_timeout();
        if due != self.deadline[node] {
            if let Some(at) = self.deadline[node].take() {
                self.deadlines.remove(&(at, node));
            }
            if let Some(at) = due {
                self.deadlines.insert((at, node));
            }
            self.deadline[node] = due;
        }
    }

    fn act(&mut self, node: usize, action: NodeAction) {
        match action {
            NodeAction::Transmit(connection) => self.transmit((node, connection)),
            NodeAction::Close(connection) => {
                if let Some(other) = self.pipes.remove(&(node, connection)) {
                    self.pipes.remove(&other);
                    let now = self.now();
                    self.nodes[other.0].handle_eof(now, other.1);
                    self.touch(other.0);
                }
                self.waiting.remove(&(node, connection));
                let now = self.now();
                self.nodes[node].handle_closed(now, connection);
            }
            NodeAction::Swarm(action) => self.act_for_swarm(node, action),
            _ => {}
        }
    }

    fn act_for_swarm(&mut self, node: usize, action: Action) {
        let now = self.now();
        match action {
            Action::Listen { listener, address } => {
                self.listening.insert(address.clone(), node);
                let update = ListenerUpdate::Bound(address);
                self.nodes[node].handle_listener(now, listener, update);
            }
            Action::Dial { attempt, address } => self.connect(node, attempt, address),
            other => self.nodes[node].handle_unsupported(now, other),
        }
    }

    fn connect(&mut self, node: usize, attempt: AttemptId, to: Multiaddr) {
        let now = self.now();
        let source = self.nodes[node].swarm().listen_addresses().first().cloned();
        let theirs = self.listening.get(&to).copied().and_then(|other| {
            let point = ConnectedPoint::accepted(source?, Some(to.clone()));
            let accepted = self.nodes[other].handle_accept(now, point);
            Some((other, accepted.ok()?))
        });
        let result = match theirs {
            Some(_) => Ok(ConnectedPoint::dialed(to, None)),
            None => Err(TransportError::Refused),
        };
        let ours = self.nodes[node].handle_dialed(now, attempt, result);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                self.pipes.insert((node, ours), theirs);
                self.pipes.insert(theirs, (node, ours));
            }
            (None, Some((other, theirs))) => {
                self.nodes[other].handle_lost(now, theirs, "not wanted".to_owned());
            }
            _ => {}
        }
        if let Some((other, _)) = theirs {
            self.touch(other);
        }
    }

    /// How many of these bytes a connection takes.
    fn offer(&mut self, end: End, bytes: &[u8]) -> usize {
        let (now, mut taken) = (self.now(), 0);
        while taken < bytes.len() {
            match self.nodes[end.0].handle_input(now, end.1, &bytes[taken..]) {
                0 => break,
                more => taken += more,
            }
        }
        taken
    }

    /// Whether a connection of this node takes more of what it did not take before.
    fn offer_again(&mut self, node: usize) -> bool {
        let mut busy = false;
        let ends = (node, ConnectionId::new(0))..=(node, ConnectionId::new(u64::MAX));
        let ends: Vec<End> = self.waiting.range(ends).map(|(end, _)| *end).collect();
        for end in ends {
            let Some(bytes) = self.waiting.remove(&end) else {
                continue;
            };
            let taken = self.offer(end, &bytes);
            if taken < bytes.len() {
                self.waiting.insert(end, bytes[taken..].to_vec());
            }
            busy |= taken > 0;
        }
        busy
    }

    /// Moves what a connection has to the other end of its pipe.
    fn transmit(&mut self, end: End) {
        let mut bytes = std::mem::take(&mut self.buffer);
        loop {
            let now = self.now();
            bytes.clear();
            let (node, connection) = end;
            let transmit = self.nodes[node].poll_transmit(now, connection, &mut bytes, PIECE);
            let Some(other) = self.pipes.get(&end).copied() else {
                break;
            };
            if let Some(waiting) = self.waiting.get_mut(&other) {
                waiting.extend_from_slice(&bytes);
            } else {
                let taken = self.offer(other, &bytes);
                if taken < bytes.len() {
                    self.waiting.insert(other, bytes[taken..].to_vec());
                }
            }
            if transmit.shutdown {
                self.nodes[other.0].handle_eof(now, other.1);
            }
            self.touch(other.0);
            if transmit.shutdown || !transmit.more {
                break;
            }
        }
        self.buffer = bytes;
    }
}
