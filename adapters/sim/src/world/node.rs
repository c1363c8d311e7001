//! A host that runs a node: what an operating system's event loop would do.

use super::{
    application::{Application, HostContext},
    machine::{Machine, Remains},
    outside::Outside,
    pipe::{Pipe, PipePhase},
};
use crate::{
    chance::Chance,
    chronicle::Moment,
    network::{self, ConnectId, End, HostId, NetworkError, Read, Signal},
};
use core::{net::SocketAddr, time::Duration};
use drywire::{
    connection::{self, ConnectedPoint, ConnectionError, ConnectionId},
    identity::PeerId,
    multiaddr::{Multiaddr, Protocol as Component},
    node::{Node, NodeAction, NodeEvent},
    swarm::{
        Action, AttemptId, DialId, Event, ListenerId, ListenerUpdate, Protocol, ResolveId,
        Resolved, TransportError,
    },
    time::{Instant, earliest},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Turns of one host at one instant, before it is said never to rest.
const MAX_TURNS: usize = 10_000;
/// What one call to transmit may yield.
const TRANSMIT: usize = 64 * 1024;
/// How long an answer to a name lookup takes.
pub(crate) const LOOKUP: Duration = Duration::from_millis(5);
/// Dials that are remembered after they ended, to notice one that ends again.
const ENDED_DIALS: usize = 1_024;
/// How long accepting pauses when there are no descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

struct Dialing {
    attempt: AttemptId,
    address: Multiaddr,
    since: Instant,
}

pub(crate) struct NodeHost<P: Protocol, A> {
    pub(super) node: Node<P>,
    pub(super) application: A,
    chance: Chance,
    pipes: BTreeMap<ConnectionId, Pipe>,
    by_end: BTreeMap<End, ConnectionId>,
    /// Where connections lead that are up: some are gone from `pipes` before it is told that they closed.
    peers: BTreeMap<ConnectionId, HostId>,
    /// Some pipe may be paused.
    paused: bool,
    dialing: BTreeMap<ConnectId, Dialing>,
    /// When the sockets of connections under way were asked for.
    dialed: BTreeMap<ConnectionId, Instant>,
    /// Dials the world began, whose end it waits for.
    dials: BTreeSet<DialId>,
    /// The last dials that ended.
    ended_dials: BTreeSet<DialId>,
    listeners: BTreeMap<network::ListenerId, ListenerId>,
    accepting: bool,
    accept_again: Option<Instant>,
    answers: VecDeque<(Instant, ResolveId, Result<Resolved, TransportError>)>,
    misdeeds: Vec<(&'static str, String)>,
}

/// `/ip4/../tcp/..` or `/ip6/../tcp/..`, with or without the peer.
fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut components = address.iter();
    let ip = match components.next()? {
        Component::Ip4(ip) => ip.into(),
        Component::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Component::Tcp(port) = components.next()? else {
        return None;
    };
    let ends = matches!(components.next(), None | Some(Component::P2p(_)));
    ends.then_some(SocketAddr::new(ip, port))
}

impl<P: Protocol + 'static, A: Application<P>> NodeHost<P, A> {
    pub(super) fn new(node: Node<P>, application: A, chance: Chance) -> Self {
        Self {
            node,
            application,
            chance,
            pipes: BTreeMap::new(),
            by_end: BTreeMap::new(),
            peers: BTreeMap::new(),
            paused: false,
            dialing: BTreeMap::new(),
            dialed: BTreeMap::new(),
            dials: BTreeSet::new(),
            ended_dials: BTreeSet::new(),
            listeners: BTreeMap::new(),
            accepting: true,
            accept_again: None,
            answers: VecDeque::new(),
            misdeeds: Vec::new(),
        }
    }

    /// Gives the application a turn.
    fn apply<R>(
        &mut self,
        outside: &mut Outside<'_>,
        run: impl FnOnce(&mut A, &mut HostContext<'_, P>) -> R,
    ) -> R {
        let mut context = HostContext {
            node: &mut self.node,
            now: outside.host_now(),
            unix: outside.unix(),
            host: outside.host,
            chance: &mut self.chance,
            misdeeds: &mut self.misdeeds,
            dials: &mut self.dials,
            statistics: &mut *outside.statistics,
        };
        run(&mut self.application, &mut context)
    }

    /// Runs a command from outside.
    pub(super) fn command<R>(
        &mut self,
        outside: &mut Outside<'_>,
        run: impl FnOnce(&mut A, &mut HostContext<'_, P>) -> R,
    ) -> R {
        let result = self.apply(outside, run);
        self.settle(outside);
        result
    }

    /// Does what there is to do, until nothing is left.
    fn settle(&mut self, outside: &mut Outside<'_>) {
        for _ in 0..MAX_TURNS {
            let mut busy = false;
            while let Some(event) = self.node.poll_event() {
                busy = true;
                self.event(event, outside);
            }
            while let Some(action) = self.node.poll_action() {
                busy = true;
                self.action(action, outside);
            }
            for (invariant, message) in core::mem::take(&mut self.misdeeds) {
                outside.violation(invariant, message);
            }
            if !(self.resume(outside) | busy) {
                return;
            }
        }
        outside.violation("I5 each turn ends", format!("{} never rests", outside.name));
    }

    /// Reads on where the connection has room again.
    fn resume(&mut self, outside: &mut Outside<'_>) -> bool {
        if !core::mem::take(&mut self.paused) {
            return false;
        }
        let paused = self.pipes.iter().filter(|(_, pipe)| pipe.paused);
        let paused: Vec<ConnectionId> = paused.map(|(id, _)| *id).collect();
        self.paused = !paused.is_empty();
        let mut busy = false;
        for id in paused {
            if self.node.recv_buf(id).is_some() {
                self.read(id, outside);
                busy = true;
            }
        }
        busy
    }

    fn event(&mut self, event: NodeEvent<P::Event>, outside: &mut Outside<'_>) {
        outside.note(|| format!("event {event:?}"));
        match &event {
            NodeEvent::Swarm(event) => self.swarm_event(event, outside),
            NodeEvent::Connection(_, event) => connection_event(event, outside),
            _ => {}
        }
        self.apply(outside, |application, host| application.handle(event, host));
    }

    fn swarm_event(&mut self, event: &Event<P::Event>, outside: &mut Outside<'_>) {
        match event {
            Event::Protocol(_) => outside.statistics.protocol_events += 1,
            Event::ConnectionEstablished {
                connection,
                peer,
                point,
                ..
            } => {
                if let Some(pipe) = self.pipes.get_mut(connection) {
                    pipe.phase = PipePhase::Up;
                }
                let dialed = point.direction == connection::Direction::Outbound;
                if dialed {
                    outside.statistics.handshakes += 1;
                }
                if let Some(since) = self.dialed.remove(connection) {
                    let took = outside.now - since;
                    outside.statistics.handshake_latencies.add(took);
                }
                let end = self.pipes.get(connection).map(|pipe| pipe.end);
                let Some((there, _)) = end.and_then(|end| outside.network.peer_of(end)) else {
                    return;
                };
                self.peers.insert(*connection, there);
                if !outside.was(there, peer) {
                    let message = format!("{connection} leads to {there}, which never was {peer}");
                    outside.violation("I18 both ends know each other", message);
                }
                if *peer == self.node.swarm().local_peer_id() {
                    let message = format!("{connection} leads to the node itself");
                    outside.violation("I33 no connection to the own id", message);
                }
                outside.chronicle(Moment::Connected {
                    peer: there,
                    dialed,
                });
            }
            Event::ConnectionClosed {
                connection, reason, ..
            } => {
                if let Some(pipe) = self.pipes.get_mut(connection) {
                    pipe.phase = PipePhase::Closing(outside.now);
                }
                outside.statistics.closed += 1;
                outside.statistics.error("connection", reason);
                let Some(peer) = self.peers.remove(connection) else {
                    return;
                };
                let orderly = matches!(
                    reason,
                    ConnectionError::Closed
                        | ConnectionError::ClosedByPeer
                        | ConnectionError::Idle
                        | ConnectionError::Shutdown
                );
                outside.chronicle(Moment::Disconnected {
                    peer,
                    orderly,
                    why: reason.to_string(),
                });
            }
            Event::IncomingFailed { error, .. } => {
                outside.statistics.incoming_failed += 1;
                outside.statistics.error("incoming", error);
            }
            Event::Dialed { dial, .. } => {
                let ours = self.dial_over(*dial, outside);
                outside.statistics.dials_succeeded += u64::from(ours);
            }
            Event::DialFailed { dial, error, .. } => {
                let ours = self.dial_over(*dial, outside);
                outside.statistics.dials_failed += u64::from(ours);
                outside.statistics.error("dial", error);
                for failure in error.failures() {
                    outside.statistics.error("attempt", &failure.error);
                }
                outside.chronicle(Moment::DialFailed {
                    why: error.to_string(),
                });
            }
            _ => {}
        }
    }

    /// A dial has its terminal event. Returns whether the world began it.
    fn dial_over(&mut self, dial: DialId, outside: &mut Outside<'_>) -> bool {
        if !self.ended_dials.insert(dial) {
            let message = format!("{dial:?} ended twice");
            outside.violation("I32 each dial ends once", message);
        }
        if self.ended_dials.len() > ENDED_DIALS {
            // Later dials have greater names.
            self.ended_dials.pop_first();
        }
        self.dials.remove(&dial)
    }

    fn action(&mut self, action: NodeAction, outside: &mut Outside<'_>) {
        match action {
            NodeAction::Swarm(action) => self.swarm_action(action, outside),
            NodeAction::Transmit(id) => self.transmit(id, outside),
            NodeAction::Close(id) => self.close(id, outside),
            _ => {}
        }
    }

    fn swarm_action(&mut self, action: Action, outside: &mut Outside<'_>) {
        let now = outside.host_now();
        match action {
            Action::Dial { attempt, address } => self.dial(attempt, address, outside),
            Action::CancelDial { attempt } => {
                let found = self
                    .dialing
                    .iter()
                    .find(|(_, dialing)| dialing.attempt == attempt);
                if let Some(connect) = found.map(|(connect, _)| *connect) {
                    self.dialing.remove(&connect);
                    outside.network.cancel_connect(connect);
                }
            }
            Action::Listen { listener, address } => {
                let update = match socket_address(&address) {
                    None => ListenerUpdate::Closed(Some(TransportError::Unsupported)),
                    Some(wanted) => match outside.network.listen(outside.host, wanted) {
                        Ok((socket, bound)) => {
                            self.listeners.insert(socket, listener);
                            ListenerUpdate::Bound(Multiaddr::from_tcp(bound))
                        }
                        Err(error) => ListenerUpdate::Closed(Some(error.into())),
                    },
                };
                self.node.handle_listener(now, listener, update);
            }
            Action::StopListen { listener } => {
                let of = self.listeners.extract_if(.., |_, id| *id == listener);
                for (socket, _) in of {
                    outside.network.close_listener(outside.now, socket);
                }
                self.node
                    .handle_listener(now, listener, ListenerUpdate::Closed(None));
            }
            Action::Resolve { lookup, name, kind } => {
                let answer = outside.lookup(&name, kind);
                self.answers.push_back((now + LOOKUP, lookup, answer));
            }
            Action::PauseAccept => self.accepting = false,
            Action::ResumeAccept => {
                self.accepting = true;
                self.accept_all(outside);
            }
            other => self.node.handle_unsupported(now, other),
        }
    }

    fn dial(&mut self, attempt: AttemptId, address: Multiaddr, outside: &mut Outside<'_>) {
        outside.note(|| format!("connects to {address}"));
        let Some(remote) = socket_address(&address) else {
            let unsupported = Action::Dial { attempt, address };
            self.node
                .handle_unsupported(outside.host_now(), unsupported);
            return;
        };
        let connect = outside.network.connect(outside.now, outside.host, remote);
        let since = outside.now;
        self.dialing.insert(
            connect,
            Dialing {
                attempt,
                address,
                since,
            },
        );
    }

    fn connected(
        &mut self,
        connect: ConnectId,
        result: Result<End, NetworkError>,
        outside: &mut Outside<'_>,
    ) {
        let Some(dialing) = self.dialing.remove(&connect) else {
            // Given up between the network's word and now.
            if let Ok(end) = result {
                outside.network.close(outside.now, end);
            }
            return;
        };
        let local = result
            .ok()
            .and_then(|end| outside.network.endpoint_addresses(end));
        let local = local.map(|(local, _)| Multiaddr::from_tcp(local));
        let point = match result {
            Ok(_) => Ok(ConnectedPoint::dialed(dialing.address, local)),
            Err(error) => Err(error.into()),
        };
        let id = self
            .node
            .handle_dialed(outside.host_now(), dialing.attempt, point);
        match (id, result) {
            (Some(id), Ok(end)) => {
                self.dialed.insert(id, dialing.since);
                self.add_pipe(id, end, outside.now);
            }
            (_, Ok(end)) => outside.network.close(outside.now, end),
            (_, Err(_)) => {}
        }
    }

    fn add_pipe(&mut self, id: ConnectionId, end: End, since: Instant) {
        self.by_end.insert(end, id);
        self.pipes.insert(id, Pipe::new(end, since));
    }

    fn accept_all(&mut self, outside: &mut Outside<'_>) {
        let sockets: Vec<_> = self.listeners.keys().copied().collect();
        for socket in sockets {
            self.accept(socket, outside);
        }
    }

    fn accept(&mut self, socket: network::ListenerId, outside: &mut Outside<'_>) {
        while self.accepting {
            let Some(listener) = self.listeners.get(&socket).copied() else {
                return;
            };
            let now = outside.host_now();
            match outside.network.accept(outside.now, socket) {
                Ok(None) | Err(NetworkError::Closed) => return,
                Ok(Some((end, remote))) => {
                    let local = outside.network.endpoint_addresses(end);
                    let local = local.map(|(local, _)| Multiaddr::from_tcp(local));
                    let point = ConnectedPoint::accepted(Multiaddr::from_tcp(remote), local);
                    match self.node.handle_accept(now, point) {
                        Ok(id) => self.add_pipe(id, end, outside.now),
                        Err(refused) => {
                            outside.statistics.refused += 1;
                            outside.statistics.error("refused", &refused);
                            outside.network.close(outside.now, end);
                        }
                    }
                    self.read_end(end, outside);
                }
                Err(error) => {
                    let update = ListenerUpdate::AcceptFailed(error.into());
                    self.node.handle_listener(now, listener, update);
                    self.accept_again = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    fn read_end(&mut self, end: End, outside: &mut Outside<'_>) {
        if let Some(id) = self.by_end.get(&end).copied() {
            self.read(id, outside);
        }
    }

    /// Reads what has arrived, as far as the connection takes it.
    fn read(&mut self, id: ConnectionId, outside: &mut Outside<'_>) {
        loop {
            let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| !pipe.ended) else {
                return;
            };
            // Where there is nothing, no memory is needed for it.
            if !outside.network.is_readable(pipe.end) {
                return;
            }
            let now = outside.host_now();
            let Some(room) = self.node.recv_buf(id) else {
                pipe.paused = true;
                self.paused = true;
                return;
            };
            pipe.paused = false;
            let before = room.len();
            let space = room.capacity().saturating_sub(before);
            let found = outside.network.read(outside.now, pipe.end, space, room);
            match found {
                Ok(Read::Bytes(count)) => {
                    outside.note(|| format!("{id} reads {count} bytes"));
                    self.node.handle_recv(now, id);
                }
                Ok(Read::Blocked) => return,
                Ok(Read::End) => {
                    pipe.ended = true;
                    self.node.handle_eof(now, id);
                }
                Err(error) => {
                    pipe.ended = true;
                    self.node.handle_lost(now, id, error.to_string());
                }
            }
        }
    }

    /// Takes what a connection has to send, and writes it.
    fn transmit(&mut self, id: ConnectionId, outside: &mut Outside<'_>) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        // What is not written is not added to: the connection decides as late as it can what to send.
        if pipe.blocked || pipe.shutdown {
            return;
        }
        let transmit = self
            .node
            .poll_transmit(outside.host_now(), id, &mut pipe.out, TRANSMIT);
        pipe.shutdown |= transmit.shutdown;
        self.write(id, outside);
    }

    fn write(&mut self, id: ConnectionId, outside: &mut Outside<'_>) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        while pipe.written < pipe.out.len() {
            let rest = pipe.out.get(pipe.written..).unwrap_or_default();
            match outside.network.write(outside.now, pipe.end, rest) {
                Ok(0) => {
                    pipe.blocked = true;
                    return;
                }
                Ok(count) => {
                    let sent = rest.get(..count).unwrap_or(rest);
                    if outside.checks && outside.patience.encrypted && shows_streams(sent) {
                        let message = format!("{id}: the name of a stream's protocol on the wire");
                        outside.violation("I17 no byte before authentication", message);
                    }
                    outside.note(|| format!("{id} writes {count} bytes"));
                    pipe.written += count;
                }
                Err(error) => {
                    pipe.ended = true;
                    pipe.out.clear();
                    pipe.written = 0;
                    self.node
                        .handle_lost(outside.host_now(), id, error.to_string());
                    return;
                }
            }
        }
        pipe.out.clear();
        pipe.written = 0;
        if pipe.out.capacity() > TRANSMIT {
            pipe.out = Vec::new();
        }
        if pipe.shutdown {
            // A pipe that is broken says so when it is read.
            let _ = outside.network.shutdown(outside.now, pipe.end);
        }
    }

    /// A connection is over: its pipe goes.
    fn close(&mut self, id: ConnectionId, outside: &mut Outside<'_>) {
        self.dialed.remove(&id);
        if let Some(pipe) = self.pipes.remove(&id) {
            self.by_end.remove(&pipe.end);
            // What a full network did not take is lost with the socket, as with any host that does not linger.
            outside.network.close(outside.now, pipe.end);
        }
        self.node.handle_closed(outside.host_now(), id);
    }
}

/// Whether bytes of a connection show what only encrypted ones may hold: the name of a stream's protocol.
fn shows_streams(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == b"/ipfs/")
}

fn connection_event(event: &connection::Event, outside: &mut Outside<'_>) {
    match event {
        connection::Event::Inbound { .. } => outside.statistics.streams += 1,
        connection::Event::Failed { error, .. } | connection::Event::Reset { error, .. } => {
            outside.statistics.error("stream", error);
        }
        _ => {}
    }
}

impl<P: Protocol + 'static, A: Application<P>> Machine for NodeHost<P, A> {
    fn start(&mut self, outside: &mut Outside<'_>) {
        self.apply(outside, |application, host| application.start(host));
        self.settle(outside);
    }

    fn signal(&mut self, signal: Signal, outside: &mut Outside<'_>) {
        match signal {
            Signal::Readable(end) => self.read_end(end, outside),
            Signal::Writable(end) => {
                if let Some(id) = self.by_end.get(&end).copied() {
                    if let Some(pipe) = self.pipes.get_mut(&id) {
                        pipe.blocked = false;
                    }
                    self.write(id, outside);
                    if self.node.wants_transmit(id) {
                        self.transmit(id, outside);
                    }
                }
            }
            Signal::Connected(connect, result) => self.connected(connect, result, outside),
            Signal::Acceptable(socket) => self.accept(socket, outside),
            Signal::Datagram(_) => {}
        }
        self.settle(outside);
    }

    fn wake(&mut self, outside: &mut Outside<'_>) {
        let now = outside.host_now();
        self.node.handle_timeout(now);
        while let Some((at, _, _)) = self.answers.front()
            && *at <= now
            && let Some((_, lookup, answer)) = self.answers.pop_front()
        {
            self.node
                .command(now, |swarm| swarm.handle_resolved(now, lookup, answer));
        }
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.accept_all(outside);
        }
        if self.application.poll_timeout().is_some_and(|at| at <= now) {
            self.apply(outside, |application, host| {
                application.handle_timeout(host)
            });
        }
        self.settle(outside);
    }

    fn deadline(&self) -> Option<Instant> {
        let answer = self.answers.front().map(|(at, _, _)| *at);
        let own = earliest(answer, self.accept_again);
        let application = self.application.poll_timeout();
        earliest(earliest(self.node.poll_timeout(), own), application)
    }

    fn check(&mut self, outside: &mut Outside<'_>) {
        if let Err(message) = self.node.swarm().audit() {
            outside.violation("I31 what is reserved adds up", message);
        }
        if let Err(message) = self.node.audit_connections() {
            outside.violation("I28 streams are within their limits", message);
        }
        for (id, pipe) in &mut self.pipes {
            if let Some((invariant, message)) = pipe.overdue(outside) {
                outside.violation(invariant, format!("{id}: {message}"));
            }
        }
    }

    fn check_end(&self, outside: &mut Outside<'_>) {
        let swarm = self.node.swarm();
        let left = [
            ("connections", swarm.connection_count()),
            ("pipes", self.pipes.len()),
            ("attempts to connect", self.dialing.len()),
            ("dials without an end", self.dials.len()),
            ("listeners", self.listeners.len()),
            ("leases", usize::from(!swarm.leased().is_empty())),
        ];
        for (what, count) in left {
            if count > 0 {
                let message = format!("{count} {what} left after shutting down");
                outside.violation("I9 nothing is left at the end", message);
            }
        }
    }

    fn shut_down(&mut self, outside: &mut Outside<'_>) {
        self.node.shutdown(outside.host_now());
        self.settle(outside);
    }

    fn ends(&self) -> Vec<(ConnectionId, End)> {
        self.pipes
            .iter()
            .map(|(id, pipe)| (*id, pipe.end))
            .collect()
    }

    fn connection_at(&self, end: End) -> Option<(ConnectionId, bool)> {
        let id = self.by_end.get(&end).copied()?;
        Some((id, self.node.swarm().connection(id).is_some()))
    }

    fn connections_to(&self, peers: &[PeerId]) -> Vec<(ConnectionId, End)> {
        let of = self.node.swarm().connected();
        let of = of.filter(|(_, peer)| peers.contains(peer));
        of.filter_map(|(id, _)| Some((id, self.pipes.get(&id)?.end)))
            .collect()
    }

    fn hang_up(&mut self, chance: &mut Chance, outside: &mut Outside<'_>) {
        let all: Vec<ConnectionId> = self.pipes.keys().copied().collect();
        if let Some(id) = chance.pick(&all).copied() {
            self.node.close(outside.host_now(), id);
            self.settle(outside);
        }
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.node.swarm().is_connected(peer)
    }

    fn set_calendar(&mut self, outside: &mut Outside<'_>) {
        let (now, unix) = (outside.host_now(), outside.unix());
        self.node
            .command(now, |swarm| swarm.handle_wall_clock(now, unix));
        self.settle(outside);
    }

    fn bury(self: Box<Self>) -> Box<dyn Machine> {
        Box::new(Remains::<P, A>::new(self.application))
    }
}
