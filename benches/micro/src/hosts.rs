//! Two nodes, each a swarm with its connections, that pass bytes by hand.

use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    identity::Keypair,
    multiaddr::Multiaddr,
    node::{Node, NodeAction, NodeEvent},
    resource::Lease,
    seed::Seed,
    swarm::{
        Action, Config, DialCondition, DialOptions, Event, ListenerUpdate, Protocol,
        SecurityConfig, Swarm,
    },
    time::{Instant, UnixTime},
};
use std::{collections::BTreeMap, time::Duration};

use super::TRANSMIT_LIMIT;

/// Where a node listens.
///
/// # Panics
///
/// Never: the address is sound.
pub fn address(node: usize) -> Multiaddr {
    let text = format!("/ip4/127.0.0.1/tcp/{}", 4001 + node);
    text.parse().expect("sound")
}

/// A swarm with room for many connections from one peer.
///
/// # Panics
///
/// If the backend cannot make keys.
pub fn swarm<P: Protocol>(security: SecurityConfig, protocols: P, number: usize) -> Swarm<P> {
    let mut config = Config::new(security);
    config.limits.connections = 1 << 20;
    config.limits.inbound = 1 << 20;
    config.limits.per_peer = 1 << 20;
    config.resources.node = Lease::new(1 << 40, 1 << 30);
    config.resources.peer = config.resources.node;
    let seed = Seed::for_tests(number as u64);
    let keypair = Keypair::ed25519_from_seed(&seed);
    let unix = UnixTime::from_secs(1_800_000_000);
    Swarm::new(config, keypair, protocols, seed, Instant::ZERO, unix).expect("keys can be made")
}

/// A node that dials, 0, and one that listens, 1.
#[derive(Debug)]
pub struct Hosts<P: Protocol> {
    nodes: [Node<P>; 2],
    /// For each connection of a node, the other node's end of it.
    links: [BTreeMap<ConnectionId, ConnectionId>; 2],
    wire: Vec<u8>,
    now: Instant,
    carried: usize,
    told: usize,
}

impl<P: Protocol + Default> Hosts<P> {
    /// Two nodes that listen; nobody is connected.
    ///
    /// # Panics
    ///
    /// If the backend cannot make keys.
    pub fn new(security: SecurityConfig) -> Self {
        let mut hosts = Self {
            nodes: [0, 1].map(|number| Node::new(swarm(security, P::default(), number))),
            links: Default::default(),
            wire: Vec::with_capacity(TRANSMIT_LIMIT + 65_536),
            now: Instant::ZERO,
            carried: 0,
            told: 0,
        };
        for (number, node) in hosts.nodes.iter_mut().enumerate() {
            node.listen(hosts.now, address(number)).expect("may listen");
        }
        hosts.settle();
        hosts
    }
}

impl<P: Protocol> Hosts<P> {
    /// A node, and what time it is.
    pub const fn node(&mut self, number: usize) -> (&mut Node<P>, Instant) {
        (&mut self.nodes[number], self.now)
    }

    /// Connections that are up at both ends.
    pub fn connections(&self) -> usize {
        let counts = self
            .nodes
            .each_ref()
            .map(|node| node.swarm().connections().count());
        counts[0].min(counts[1])
    }

    /// One more connection: dialed, accepted, secured, admitted. Its name at the dialer's end.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn connect(&mut self) -> ConnectionId {
        let peer = self.nodes[1].swarm().local_peer_id();
        let to = address(1).with_peer_id(peer).expect("no other peer");
        let options = DialOptions::address(to).condition(DialCondition::Always);
        self.nodes[0].dial(self.now, options).expect("may dial");
        self.settle();
        let (connection, _) = self.links[0].last_key_value().expect("dialed");
        assert!(self.nodes[0].swarm().connection(*connection).is_some());
        *connection
    }

    /// Closes a connection of the dialer's in good order, at both ends.
    ///
    /// # Panics
    ///
    /// If anything is left of it.
    pub fn close(&mut self, connection: ConnectionId) {
        self.nodes[0].close(self.now, connection);
        self.settle();
        assert!(!self.links[0].contains_key(&connection));
    }

    /// Lets everything happen that can happen now; how many bytes were carried, and how much protocols have told.
    ///
    /// # Panics
    ///
    /// If a reader does not keep up.
    pub fn settle(&mut self) -> (usize, usize) {
        (self.carried, self.told) = (0, 0);
        let mut busy = true;
        while busy {
            busy = false;
            for number in [0, 1] {
                while let Some(event) = self.nodes[number].poll_event() {
                    let by_protocol = matches!(event, NodeEvent::Swarm(Event::Protocol(_)));
                    self.told += usize::from(by_protocol);
                }
                while let Some(action) = self.nodes[number].poll_action() {
                    self.act(number, action);
                    busy = true;
                }
            }
        }
        (self.carried, self.told)
    }

    fn act(&mut self, number: usize, action: NodeAction) {
        self.now = self.now + Duration::from_micros(1);
        let now = self.now;
        let [one, two] = &mut self.nodes;
        let (this, other) = if number == 0 { (one, two) } else { (two, one) };
        match action {
            NodeAction::Swarm(Action::Listen { listener, address }) => {
                this.handle_listener(now, listener, ListenerUpdate::Bound(address));
            }
            NodeAction::Swarm(Action::Dial {
                attempt,
                address: to,
            }) => {
                let source = ConnectedPoint::accepted(address(1000), None);
                let theirs = other.handle_accept(now, source).expect("accepted");
                let point = ConnectedPoint::dialed(to, None);
                let ours = this.handle_dialed(now, attempt, Ok(point)).expect("wanted");
                self.links[number].insert(ours, theirs);
                self.links[1 - number].insert(theirs, ours);
            }
            NodeAction::Swarm(action) => this.handle_unsupported(now, action),
            NodeAction::Transmit(connection) => {
                self.wire.clear();
                this.poll_transmit(now, connection, &mut self.wire, TRANSMIT_LIMIT);
                self.carried += self.wire.len();
                if let Some(theirs) = self.links[number].get(&connection) {
                    let taken = other.handle_input(now, *theirs, &self.wire);
                    assert_eq!(taken, self.wire.len(), "the reader keeps up");
                }
            }
            NodeAction::Close(connection) => {
                if let Some(theirs) = self.links[number].remove(&connection) {
                    self.links[1 - number].remove(&theirs);
                    other.handle_eof(now, theirs);
                }
                this.handle_closed(now, connection);
            }
            _ => {}
        }
    }
}
