//! A loop with a clock of its own, as games have: the network gets a slice of each tick.
//!
//! **When to choose it:** your program wakes at a fixed rate anyway, and what the network brings is only looked at then. There
//! is no poller and nothing but `std::net`: each tick simply tries every socket.
//!
//! **What a tick costs.** What arrives waits for the next tick, 8 ms on average at 60 Hz and 17 at worst, on each side: a question
//! and its answer take two ticks where a poller would take none. Each tick makes one system call that says `WouldBlock` for each
//! idle socket, about a microsecond: fine for a hundred connections, not for ten thousand.
//!
//! **Bulk transfers** are fast all the same, if a tick does not stop after one round: [`Host::tick`] goes on while bytes
//! move and time is left. In one round a socket moves at most [`BUDGET`](crate::socket::BUDGET) each way, so one connection
//! cannot take the slice from the others; who was served last in a slice that ended early comes last in the next. What bounds
//! the speed then is what fits on the way between two ticks: the stream's window, which grows to twice what the round trip
//! needs, and the sockets' buffers.
//!
//! **Back-pressure:** nothing to remember. A connection without room is asked again in the next round, like every other.
//!
//! **Timers:** `handle_timeout` once in each tick; a deadline is met at most one tick late, which all of them can bear.
//!
//! **The end of a connection:** its socket goes at once, but what it has brought can be read for 10 s more ([`Unread`]).
//!
//! **Shutdown:** [`Node::shutdown`], and tick on until [`Host::is_finished`]. A game that wants to end within one frame drops
//! the host instead; its peers see a reset.

use crate::socket::{LINGER, OfNode, SCRATCH, Unread, Wire, connect, connected, is_of_one_accept};
use core::{ops::Bound, time::Duration};
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    multiaddr::Multiaddr,
    node::{Node, NodeAction, NodeEvent},
    swarm::{
        Action, AttemptId, Event, ListenerId, ListenerUpdate, Protocol, Timers, TransportError,
    },
    time::Instant,
};
use drywire_system::{interface_index, interfaces, now, tcp_socket, transport_error};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{TcpListener, TcpStream},
};

/// Connections accepted in one tick.
const ACCEPTS: usize = 16;

struct Held {
    wire: Wire<TcpStream>,
    /// When the connection ended; see [`Wire::linger`].
    ended: Option<Instant>,
}

/// A node and its sockets.
pub struct Host<P: Protocol> {
    node: Node<P>,
    listeners: BTreeMap<ListenerId, TcpListener>,
    dials: BTreeMap<AttemptId, (TcpStream, Multiaddr)>,
    wires: BTreeMap<ConnectionId, Held>,
    /// When sockets that outlive their connections are dropped.
    lingering: Timers<ConnectionId>,
    /// Connections that wait for nothing but their readers.
    unread: Unread,
    /// Who was served last.
    last: Option<ConnectionId>,
    finished: bool,
    scratch: Vec<u8>,
    spare: Vec<u8>,
}

impl<P: Protocol> Host<P> {
    /// A host of this node.
    pub fn new(node: Node<P>) -> Self {
        Self {
            node,
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            wires: BTreeMap::new(),
            lingering: Timers::new(),
            unread: Unread::new(),
            last: None,
            finished: false,
            scratch: vec![0; SCRATCH],
            spare: Vec::new(),
        }
    }

    /// The node: to listen, dial, open streams, shut down. What comes of it goes out with the next tick.
    pub const fn node(&mut self) -> &mut Node<P> {
        &mut self.node
    }

    /// Whether the node was shut down and everything is closed.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// The network's part of a tick: all that is due, then rounds over the sockets while bytes move and `slice` lasts.
    /// `handle` is the application.
    pub fn tick(
        &mut self,
        slice: Duration,
        mut handle: impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) {
        let start = now();
        self.node.handle_timeout(start);
        while let Some(id) = self.lingering.pop_due(start) {
            self.drop_wire(id);
        }
        self.settle(start, &mut handle);
        self.accept(start);
        self.finish_dials(start);
        let end = start + slice;
        while self.round(end, &mut handle) {}
        let now = now();
        while self.unread.check(now, &mut self.node) {
            self.settle(now, &mut handle);
        }
    }

    /// Serves each socket once, or as many as the time allows; whether bytes moved and there is time for another round.
    fn round(
        &mut self,
        end: Instant,
        handle: &mut impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) -> bool {
        let mut moved = false;
        for _ in 0..self.wires.len() {
            let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
            let mut others = self.wires.range((after, Bound::Unbounded));
            let next = others.next().or_else(|| self.wires.first_key_value());
            let Some(id) = next.map(|(id, _)| *id) else {
                return false;
            };
            self.last = Some(id);
            let now = now();
            moved |= self.serve(now, id, handle);
            if now >= end {
                return false;
            }
        }
        moved
    }

    /// One turn of a socket; whether it moved any bytes.
    fn serve(
        &mut self,
        now: Instant,
        id: ConnectionId,
        handle: &mut impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) -> bool {
        let Some(held) = self.wires.get_mut(&id) else {
            return false;
        };
        let before = held.wire.moved;
        // Nobody tells, so both are tried.
        (held.wire.readable, held.wire.writable) = (true, true);
        if held.ended.is_some() {
            if held.wire.linger(&mut self.scratch) {
                self.drop_wire(id);
            }
            return false;
        }
        let mut machine = OfNode(&mut self.node, id);
        held.wire.read(now, &mut machine, &mut self.scratch);
        // What the application answers joins what is transmitted below.
        self.settle(now, handle);
        let Some(held) = self.wires.get_mut(&id).filter(|held| held.ended.is_none()) else {
            return true;
        };
        let mut machine = OfNode(&mut self.node, id);
        held.wire.write(now, &mut machine, &mut self.spare);
        let moved = held.wire.moved > before;
        self.settle(now, handle);
        moved
    }

    /// Carries events to the application, and does what the node asks for, until there is nothing more.
    fn settle(
        &mut self,
        now: Instant,
        handle: &mut impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) {
        loop {
            if let Some(event) = self.node.poll_event() {
                self.finished |= matches!(event, NodeEvent::Swarm(Event::ShutdownComplete));
                handle(now, &mut self.node, event);
            } else if let Some(action) = self.node.poll_action() {
                self.act(now, action);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, now: Instant, action: NodeAction) {
        match action {
            // Each round tries to.
            NodeAction::Transmit(_) => {}
            NodeAction::Close(id) => match self.wires.get_mut(&id) {
                Some(held) => {
                    held.ended = Some(now);
                    self.lingering.set(id, now + LINGER);
                }
                None => self.unread.insert(id, now),
            },
            NodeAction::Swarm(Action::Dial { attempt, address }) => match dial(&address) {
                Ok(socket) => drop(self.dials.insert(attempt, (socket, address))),
                Err(error) => drop(self.node.handle_dialed(now, attempt, Err(error))),
            },
            NodeAction::Swarm(Action::CancelDial { attempt }) => {
                self.dials.remove(&attempt);
            }
            NodeAction::Swarm(Action::Listen { listener, address }) => {
                let update = match self.listen(now, listener, &address) {
                    Ok(bound) => ListenerUpdate::Bound(bound),
                    Err(error) => ListenerUpdate::Closed(Some(error)),
                };
                self.node.handle_listener(now, listener, update);
            }
            NodeAction::Swarm(Action::StopListen { listener }) => {
                self.listeners.remove(&listener);
                let update = ListenerUpdate::Closed(None);
                self.node.handle_listener(now, listener, update);
            }
            // The swarm is asked before each.
            NodeAction::Swarm(Action::PauseAccept | Action::ResumeAccept) => {}
            NodeAction::Swarm(other) => self.node.handle_unsupported(now, other),
            // Of a later version of the core.
            _ => {}
        }
    }

    fn listen(
        &mut self,
        now: Instant,
        id: ListenerId,
        address: &Multiaddr,
    ) -> Result<Multiaddr, TransportError> {
        let failed = |error: io::Error| transport_error(&error);
        let local = tcp_socket(address, interface_index).ok_or(TransportError::Unsupported)?;
        let socket = drywire_system::listen(local).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        self.listeners.insert(id, socket);
        if bound.ip().is_unspecified() {
            // A program that lives as long as its interfaces change asks again from time to time.
            self.node
                .command(now, |swarm| swarm.handle_interfaces(now, interfaces()));
        }
        Ok(Multiaddr::from_tcp(bound))
    }

    fn accept(&mut self, now: Instant) {
        for (id, listener) in &self.listeners {
            for _ in 0..ACCEPTS {
                if !self.node.swarm().is_accepting() {
                    return;
                }
                let (socket, remote) = match listener.accept() {
                    Ok(accepted) => accepted,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_of_one_accept(&error) => continue,
                    // No descriptors left, no memory. The next tick comes soon enough.
                    Err(error) => {
                        let update = ListenerUpdate::AcceptFailed(transport_error(&error));
                        self.node.handle_listener(now, *id, update);
                        break;
                    }
                };
                let point = ConnectedPoint::accepted(
                    Multiaddr::from_tcp(remote),
                    socket.local_addr().ok().map(Multiaddr::from_tcp),
                );
                // If it fails, messages may wait for each other a little.
                let _ = socket.set_nodelay(true);
                // Refused, or broken already: the socket closes, and it is as if it had never come.
                if socket.set_nonblocking(true).is_ok()
                    && let Ok(id) = self.node.handle_accept(now, point)
                {
                    self.wires.insert(id, held(socket));
                }
            }
        }
    }

    fn finish_dials(&mut self, now: Instant) {
        let (node, wires) = (&mut self.node, &mut self.wires);
        let finished = |attempt: &AttemptId, (socket, _): &mut (TcpStream, Multiaddr)| {
            let result = connected(socket);
            (!matches!(result, Ok(false))).then_some((*attempt, result))
        };
        let finished: Vec<_> = self
            .dials
            .iter_mut()
            .filter_map(|(attempt, dial)| finished(attempt, dial))
            .collect();
        for (attempt, result) in finished {
            let Some((socket, address)) = self.dials.remove(&attempt) else {
                continue;
            };
            let local = socket.local_addr().ok().map(Multiaddr::from_tcp);
            let result = match result {
                Ok(_) => Ok(ConnectedPoint::dialed(address, local)),
                Err(error) => Err(transport_error(&error)),
            };
            if let Some(id) = node.handle_dialed(now, attempt, result) {
                wires.insert(id, held(socket));
            }
        }
    }

    fn drop_wire(&mut self, id: ConnectionId) {
        self.lingering.clear(id);
        if let Some(held) = self.wires.remove(&id) {
            self.unread.insert(id, held.ended.unwrap_or(Instant::ZERO));
        }
    }
}

const fn held(socket: TcpStream) -> Held {
    Held {
        wire: Wire::new(socket),
        ended: None,
    }
}

fn dial(address: &Multiaddr) -> Result<TcpStream, TransportError> {
    let remote = tcp_socket(address, interface_index).ok_or(TransportError::Unsupported)?;
    connect(remote).map_err(|error| transport_error(&error))
}
