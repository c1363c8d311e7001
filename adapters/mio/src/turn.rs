//! The work of a turn: taking in what sockets have, and doing what the machines want.
//!
//! Each turn looks after each ready socket once, with a budget for each and one for all; what is left over waits for the next
//! turn, behind the others, and [`Host::poll_timeout`] is zero meanwhile.

use crate::{
    host::{Host, Timer},
    socket::{Dialing, Kind, Link, Listening, READ_BUDGET, Slot, TRANSMIT_LIMIT, Written},
    transport::{Listener, Socket, Transport},
};
use core::time::Duration;
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    multiaddr::Multiaddr,
    node::NodeAction,
    swarm::{Action, AttemptId, ListenerId, ListenerUpdate, Protocol, TransportError},
    time::Instant,
};
use mio::{Interest, Token};
use std::io::{self, Read as _};

/// Connections accepted from one listener in one turn.
const ACCEPT_BUDGET: usize = 32;
/// How long a listener rests after accepting failed, doubled with each failure in a row up to a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the machine's addresses are looked at, while a listener is bound to all of them.
const INTERFACES_EVERY: Duration = Duration::from_secs(30);
/// How often the swarm is told the wall clock, at most.
const WALL_CLOCK_EVERY: Duration = Duration::from_secs(60);
/// After the end of a connection: for what is left to write, and then for the peer's own end.
const LINGER_UNWRITTEN: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(1);
/// Reads in one turn of that, and bytes of each.
const LINGER_READS: usize = 16;
const LINGER_READ: usize = 4096;
/// How long what a closed connection has left may stay unread, since somebody read some of it.
const UNREAD: Duration = Duration::from_secs(30);
/// What a buffer for output may hold on to while it is not used.
const SPARE: usize = 512 * 1024;

fn no_tokens() -> TransportError {
    TransportError::Other("the host has no token left".to_owned())
}

impl<P: Protocol, T: Transport> Host<P, T> {
    /// The events of the poll: takes in what the sockets have, and lets time pass. Call it after every poll, whether or not
    /// there were events, then [`poll_event`](Self::poll_event) until there is nothing more. Events under tokens that are not
    /// this host's are left alone.
    pub fn handle_events<'a>(&mut self, events: impl IntoIterator<Item = &'a mio::event::Event>) {
        for event in events {
            let key = event.token().0.checked_sub(self.tokens.start);
            let slot = key.and_then(|key| Some((key, self.slots.get_mut(key)?)));
            if let Some((key, slot)) = slot {
                slot.ending |= event.is_read_closed() || event.is_error();
                slot.readable |= event.is_readable() || slot.ending;
                slot.writable |= event.is_writable() || event.is_write_closed() || slot.ending;
                self.enqueue(key);
            }
        }
        self.turn = self.turn.next();
        let now = drywire_system::now();
        if now >= self.calendar_due {
            self.calendar_due = now + WALL_CLOCK_EVERY;
            let unix = drywire_system::unix();
            self.node
                .command(now, |swarm| swarm.handle_wall_clock(now, unix));
        }
        self.node.handle_timeout(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.handle_timer(now, timer);
        }
        // Those that come to be ready meanwhile are for the next turn.
        for _ in 0..self.ready.len().min(self.turn.visits) {
            if self.turn.read == 0 {
                break;
            }
            if let Some(key) = self.ready.pop_front() {
                self.visit(now, key);
            }
        }
    }

    fn handle_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Interfaces => self.look_at_interfaces(now),
            Timer::Unread(connection) => self.give_up_unread(now, connection),
            Timer::Slot(key) => match self.slots.get_mut(key).map(|slot| &mut slot.kind) {
                Some(Kind::Listener(listening)) => {
                    listening.resting = false;
                    self.enqueue(key);
                }
                Some(Kind::Link(_)) => self.remove(key),
                _ => {}
            },
        }
    }

    /// To be looked after in the next turn, or later in this one if it has yet to come to that.
    fn enqueue(&mut self, key: usize) {
        if let Some(slot) = self.slots.get_mut(key)
            && !core::mem::replace(&mut slot.queued, true)
        {
            self.ready.push_back(key);
        }
    }

    fn visit(&mut self, now: Instant, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.queued = false;
        match &slot.kind {
            Kind::Listener(_) => self.accept_from(now, key),
            Kind::Dial(_) => self.check_dial(now, key),
            Kind::Link(link) if link.lingering => self.linger(now, key),
            Kind::Link(link) => {
                let connection = link.connection;
                self.write(key);
                self.read(now, key);
                if self.node.wants_transmit(connection) {
                    self.to_send.push_back(key);
                }
            }
        }
    }

    // Sockets come and go

    fn add(&mut self, kind: Kind<T>) -> Result<usize, TransportError> {
        let entry = self.slots.vacant_entry();
        let key = entry.key();
        let token = self.tokens.start.checked_add(key);
        let token = token.filter(|token| *token < self.tokens.end);
        let token = Token(token.ok_or_else(no_tokens)?);
        let both = Interest::READABLE | Interest::WRITABLE;
        let slot = entry.insert(Slot {
            queued: false,
            readable: false,
            ending: false,
            writable: false,
            kind,
        });
        let registered = match &mut slot.kind {
            Kind::Listener(listening) => {
                let listener = &mut listening.listener;
                self.registry.register(listener, token, Interest::READABLE)
            }
            Kind::Dial(dial) => self.registry.register(&mut dial.socket, token, both),
            Kind::Link(link) => self.registry.register(&mut link.socket, token, both),
        };
        registered.map(|()| key).map_err(|error| {
            self.slots.remove(key);
            drywire_system::transport_error(&error)
        })
    }

    fn remove(&mut self, key: usize) {
        self.timers.clear(Timer::Slot(key));
        self.full.remove(&key);
        let was_full = self.slots.len() >= self.tokens.len();
        let Some(slot) = self.slots.try_remove(key) else {
            return;
        };
        if was_full {
            self.feed_listeners();
        }
        // Closing it does the same where it cannot be done.
        let _ = match slot.kind {
            Kind::Listener(mut listening) => self.registry.deregister(&mut listening.listener),
            Kind::Dial(mut dial) => self.registry.deregister(&mut dial.socket),
            Kind::Link(mut link) => self.registry.deregister(&mut link.socket),
        };
    }

    // Listeners

    fn accept_from(&mut self, now: Instant, key: usize) {
        for _ in 0..ACCEPT_BUDGET {
            let full = self.slots.len() >= self.tokens.len();
            let Some((slot, listening)) = self.slots.get_mut(key).and_then(listening) else {
                return;
            };
            // The swarm pauses in the middle of a batch, too.
            if !self.node.swarm().is_accepting() || listening.resting || !*slot {
                return;
            }
            if full {
                return self.accept_starved(now, key);
            }
            match listening.listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *slot = false;
                    return;
                }
                // Whoever it was has gone again. That is no failure of the listener.
                Err(error) if drywire_system::is_peers_own(&error) => {}
                Ok((socket, remote)) => {
                    listening.failures = 0;
                    let local = socket.local_addr().map(Multiaddr::from_tcp);
                    let point = ConnectedPoint::accepted(Multiaddr::from_tcp(remote), local);
                    // Refused means as if it had never come: the socket closes, and the swarm counts.
                    if let Ok(connection) = self.node.handle_accept(now, point) {
                        self.connect(now, connection, socket);
                    }
                }
                Err(error) => {
                    let error = drywire_system::transport_error(&error);
                    return self.accept_failed(now, key, error);
                }
            }
        }
        self.enqueue(key);
    }

    /// There is no token for whoever may wait to be accepted. The next one that is free is an occasion to look.
    fn accept_starved(&mut self, now: Instant, key: usize) {
        if let Some((_, listening)) = self.slots.get_mut(key).and_then(listening)
            && !core::mem::replace(&mut listening.starved, true)
        {
            let update = ListenerUpdate::AcceptFailed(no_tokens());
            self.node.handle_listener(now, listening.id, update);
        }
    }

    /// Those that found no token look again.
    fn feed_listeners(&mut self) {
        let keys: Vec<usize> = self.listeners.values().copied().collect();
        for key in keys {
            if let Some((_, listening)) = self.slots.get_mut(key).and_then(listening)
                && core::mem::take(&mut listening.starved)
            {
                self.enqueue(key);
            }
        }
    }

    /// The listener rests a little. What waits to be accepted has told its edge: it is asked again.
    fn accept_failed(&mut self, now: Instant, key: usize, error: TransportError) {
        if let Some((_, listening)) = self.slots.get_mut(key).and_then(listening) {
            let pause = ACCEPT_PAUSE
                .saturating_mul(1 << listening.failures.min(5))
                .min(Duration::from_secs(1));
            listening.failures = listening.failures.saturating_add(1);
            listening.resting = true;
            let id = listening.id;
            self.timers.set(Timer::Slot(key), now + pause);
            let update = ListenerUpdate::AcceptFailed(error);
            self.node.handle_listener(now, id, update);
        }
    }

    fn listen_on(&mut self, now: Instant, id: ListenerId, address: &Multiaddr) {
        let bound = self.bind(id, address);
        let update = match bound {
            Ok(bound) => {
                if bound.is_unspecified() {
                    self.timers.set(Timer::Interfaces, now);
                }
                ListenerUpdate::Bound(bound)
            }
            Err(error) => ListenerUpdate::Closed(Some(error)),
        };
        self.node.handle_listener(now, id, update);
    }

    fn bind(&mut self, id: ListenerId, address: &Multiaddr) -> Result<Multiaddr, TransportError> {
        let socket = drywire_system::tcp_socket(address, drywire_system::interface_index);
        let socket = socket.ok_or(TransportError::Unsupported)?;
        let said = |error: io::Error| drywire_system::transport_error(&error);
        let listener = self.transport.listen(socket).map_err(said)?;
        let bound = Multiaddr::from_tcp(listener.local_addr().map_err(said)?);
        let key = self.add(Kind::Listener(Listening {
            id,
            listener,
            failures: 0,
            resting: false,
            starved: false,
            unspecified: bound.is_unspecified(),
        }))?;
        self.listeners.insert(id, key);
        Ok(bound)
    }

    fn look_at_interfaces(&mut self, now: Instant) {
        let unspecified = |key: &usize| {
            let slot = self.slots.get(*key).map(|slot| &slot.kind);
            matches!(slot, Some(Kind::Listener(listening)) if listening.unspecified)
        };
        if self.listeners.values().any(unspecified) {
            self.timers.set(Timer::Interfaces, now + INTERFACES_EVERY);
            let interfaces = drywire_system::interfaces();
            self.node
                .command(now, |swarm| swarm.handle_interfaces(now, interfaces));
        }
    }

    // Dials

    fn dial_to(&mut self, now: Instant, attempt: AttemptId, address: Multiaddr) {
        let socket = drywire_system::tcp_socket(&address, drywire_system::interface_index);
        let socket = socket.ok_or(TransportError::Unsupported);
        let connecting = socket.and_then(|socket| {
            let connecting = self.transport.connect(socket);
            connecting.map_err(|error| drywire_system::transport_error(&error))
        });
        let added = connecting.and_then(|socket| {
            self.add(Kind::Dial(Dialing {
                attempt,
                address,
                socket,
            }))
        });
        match added {
            Ok(key) => {
                self.dials.insert(attempt, key);
            }
            Err(error) => {
                self.node.handle_dialed(now, attempt, Err(error));
            }
        }
    }

    fn check_dial(&mut self, now: Instant, key: usize) {
        let Some(Kind::Dial(dial)) = self.slots.get_mut(key).map(|slot| &mut slot.kind) else {
            return;
        };
        let connected = dial.socket.is_connected();
        let attempt = dial.attempt;
        match connected {
            Ok(false) => {}
            Ok(true) => {
                self.dials.remove(&attempt);
                let local = dial.socket.local_addr().map(Multiaddr::from_tcp);
                let point = ConnectedPoint::dialed(dial.address.clone(), local);
                match self.node.handle_dialed(now, attempt, Ok(point)) {
                    Some(connection) => self.dialed(key, connection),
                    None => self.remove(key),
                }
            }
            Err(error) => {
                self.dials.remove(&attempt);
                self.remove(key);
                let error = drywire_system::transport_error(&error);
                self.node.handle_dialed(now, attempt, Err(error));
            }
        }
    }

    /// The socket of a dial becomes that of a connection, under the same token.
    fn dialed(&mut self, key: usize, connection: ConnectionId) {
        let Some(slot) = self.slots.try_remove(key) else {
            return;
        };
        let Kind::Dial(dial) = slot.kind else { return };
        // The place that was just freed is the first to be given out.
        let key = self.slots.insert(Slot {
            queued: false,
            readable: slot.readable,
            ending: slot.ending,
            writable: true,
            kind: Kind::Link(Box::new(Link::new(connection, dial.socket))),
        });
        self.links.insert(connection, key);
        self.enqueue(key);
    }

    // Connections

    fn connect(&mut self, now: Instant, connection: ConnectionId, socket: T::Socket) {
        let link = Link::new(connection, socket);
        match self.add(Kind::Link(Box::new(link))) {
            Ok(key) => {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.writable = true;
                }
                self.links.insert(connection, key);
            }
            Err(error) => {
                self.node.handle_lost(now, connection, error.to_string());
            }
        }
    }

    /// Reads until the socket is empty, there is no room, or the budget is used up.
    fn read(&mut self, now: Instant, key: usize) {
        let mut budget = READ_BUDGET.min(self.turn.read);
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Kind::Link(link) = &mut slot.kind else {
            return;
        };
        self.full.remove(&key);
        while slot.readable && !link.read_closed {
            if budget == 0 {
                break;
            }
            let Some(buffer) = self.node.recv_buf(link.connection) else {
                self.full.insert(key);
                break;
            };
            let room = buffer.capacity().saturating_sub(buffer.len());
            let room = room.min(self.scratch.len());
            let Some(scratch) = self.scratch.get_mut(..room) else {
                break;
            };
            match link.socket.read(scratch) {
                Ok(0) => {
                    link.read_closed = true;
                    self.node.handle_eof(now, link.connection);
                }
                Ok(count) => {
                    let read = scratch.get(..count).unwrap_or(scratch);
                    buffer.extend_from_slice(read);
                    budget = budget.saturating_sub(count);
                    self.turn.read = self.turn.read.saturating_sub(count);
                    self.node.handle_recv(now, link.connection);
                    if count < room && !slot.ending && link.socket.short_is_last() {
                        slot.readable = false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.readable = false;
                    // So that the node knows when to take back the room it has made.
                    self.node.handle_recv(now, link.connection);
                }
                Err(error) => {
                    link.read_closed = true;
                    self.node
                        .handle_lost(now, link.connection, error.to_string());
                }
            }
        }
        let again = budget == 0 && slot.readable && !link.read_closed;
        if !again && let Some(reason) = link.lost.take() {
            link.read_closed = true;
            self.node.handle_lost(now, link.connection, reason);
        }
        if again {
            self.enqueue(key);
        }
    }

    /// Writes what is left of the output; whether there is room for more.
    fn write(&mut self, key: usize) -> bool {
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        let Kind::Link(link) = &mut slot.kind else {
            return false;
        };
        if !slot.writable {
            return false;
        }
        match link.write() {
            Written::Blocked => {
                slot.writable = false;
                return false;
            }
            Written::All => {}
            Written::Failed(reason) => {
                link.lost.get_or_insert(reason);
                // Reading tells the end.
                slot.readable = true;
                let buffer = link.take_buffer();
                self.give_buffer(buffer);
                self.enqueue(key);
                return false;
            }
        }
        let buffer = link.take_buffer();
        self.give_buffer(buffer);
        true
    }

    fn give_buffer(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= SPARE {
            self.spare = buffer;
        }
    }

    /// Sends what a connection has to send, if it is its turn; whether anything came of it.
    fn send(&mut self, now: Instant, key: usize) -> bool {
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        let Kind::Link(link) = &mut slot.kind else {
            return false;
        };
        // An event follows when there is room, or it is lost already.
        if !slot.writable || link.has_output() || link.lingering || link.lost.is_some() {
            return false;
        }
        if link.sent_in == self.turn.number || self.turn.written == 0 {
            self.enqueue(key);
            return false;
        }
        link.sent_in = self.turn.number;
        let mut out = core::mem::take(&mut self.spare);
        let connection = link.connection;
        let transmit = self
            .node
            .poll_transmit(now, connection, &mut out, TRANSMIT_LIMIT);
        link.shutdown_wanted |= transmit.shutdown;
        self.turn.written = self.turn.written.saturating_sub(out.len());
        link.out = out;
        self.write(key);
        true
    }

    /// The connection is over. If it ended in good order, what is left to write is written, then the peer's own end is awaited
    /// for a moment: a socket closed with bytes unread, or to which more are sent, is reset, and a reset may overtake the last
    /// words.
    fn close_link(&mut self, now: Instant, connection: ConnectionId) {
        if let Some(left) = self.unread(connection) {
            self.unread.insert(connection, left);
            self.timers.set(Timer::Unread(connection), now + UNREAD);
        } else {
            self.node.handle_closed(now, connection);
        }
        let Some(key) = self.links.remove(&connection) else {
            return;
        };
        let Some(Kind::Link(link)) = self.slots.get_mut(key).map(|slot| &mut slot.kind) else {
            return;
        };
        self.full.remove(&key);
        if !link.shutdown_wanted {
            return self.remove(key);
        }
        link.lingering = true;
        let time = if link.shutdown_done {
            LINGER
        } else {
            LINGER_UNWRITTEN
        };
        self.timers.set(Timer::Slot(key), now + time);
        self.linger(now, key);
    }

    fn linger(&mut self, now: Instant, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Kind::Link(link) = &mut slot.kind else {
            return;
        };
        let was_done = link.shutdown_done;
        if slot.writable {
            match link.write() {
                Written::All => {}
                Written::Blocked => slot.writable = false,
                Written::Failed(_) => return self.remove(key),
            }
        }
        for _ in 0..LINGER_READS {
            if !slot.readable || link.read_closed {
                break;
            }
            let Some(scratch) = self.scratch.get_mut(..LINGER_READ) else {
                break;
            };
            match link.socket.read(scratch) {
                Ok(0) => link.read_closed = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => slot.readable = false,
                Err(_) => return self.remove(key),
            }
        }
        if link.shutdown_done && link.read_closed {
            return self.remove(key);
        }
        if link.shutdown_done && !was_done {
            self.timers.set(Timer::Slot(key), now + LINGER);
        }
        if slot.readable && !link.read_closed {
            self.enqueue(key);
        }
    }

    // What the machines want

    /// Does what the node wants done; whether that may have led to events.
    pub(crate) fn act(&mut self) -> bool {
        let now = drywire_system::now();
        let mut acted = false;
        while let Some(key) = self.to_send.pop_front() {
            acted |= self.send(now, key);
        }
        while let Some(action) = self.node.poll_action() {
            match action {
                NodeAction::Transmit(connection) => {
                    if let Some(key) = self.links.get(&connection).copied() {
                        acted |= self.send(now, key);
                    }
                }
                NodeAction::Close(connection) => {
                    self.close_link(now, connection);
                    acted = true;
                }
                NodeAction::Swarm(action) => {
                    self.act_for_swarm(now, action);
                    acted = true;
                }
                _ => {}
            }
        }
        acted
    }

    fn act_for_swarm(&mut self, now: Instant, action: Action) {
        match action {
            Action::Dial { attempt, address } => self.dial_to(now, attempt, address),
            Action::CancelDial { attempt } => {
                if let Some(key) = self.dials.remove(&attempt) {
                    self.remove(key);
                }
            }
            Action::Listen { listener, address } => self.listen_on(now, listener, &address),
            Action::StopListen { listener } => {
                if let Some(key) = self.listeners.remove(&listener) {
                    self.remove(key);
                }
                self.node
                    .handle_listener(now, listener, ListenerUpdate::Closed(None));
            }
            Action::Resolve { lookup, name, kind } => {
                self.lookups.push_back((lookup, name, kind));
            }
            // It is asked before each.
            Action::PauseAccept => {}
            Action::ResumeAccept => {
                let keys: Vec<usize> = self.listeners.values().copied().collect();
                for key in keys {
                    self.enqueue(key);
                }
            }
            unknown => self.node.handle_unsupported(now, unknown),
        }
    }

    /// After a turn: whether those have room now that had none, and whether everything was read that a closed connection had
    /// left.
    pub(crate) fn look_again(&mut self) {
        if !self.full.is_empty() {
            let full: Vec<usize> = self.full.iter().copied().collect();
            for key in full {
                let slot = self.slots.get(key).map(|slot| &slot.kind);
                if let Some(Kind::Link(link)) = slot
                    && self.node.recv_buf(link.connection).is_some()
                {
                    self.full.remove(&key);
                    self.enqueue(key);
                }
            }
        }
        if !self.unread.is_empty() {
            let unread: Vec<ConnectionId> = self.unread.keys().copied().collect();
            let now = drywire_system::now();
            for connection in unread {
                self.check_unread(now, connection);
            }
        }
    }

    fn check_unread(&mut self, now: Instant, connection: ConnectionId) {
        match self.unread(connection) {
            None => self.give_up_unread(now, connection),
            Some(left) if self.unread.insert(connection, left) != Some(left) => {
                self.timers.set(Timer::Unread(connection), now + UNREAD);
            }
            Some(_) => {}
        }
    }

    /// How many bytes a connection has that may still be read; with none left, perhaps an end.
    fn unread(&self, connection: ConnectionId) -> Option<usize> {
        let held = self.node.connection(connection)?;
        let waits = held.is_unread() && !self.swarm().is_shutting_down();
        waits.then(|| held.unread_bytes())
    }

    fn give_up_unread(&mut self, now: Instant, connection: ConnectionId) {
        self.timers.clear(Timer::Unread(connection));
        if self.unread.remove(&connection).is_some() {
            self.node.handle_closed(now, connection);
        }
    }
}

/// Whether a listener has something to accept, and the listener.
fn listening<T: Transport>(slot: &mut Slot<T>) -> Option<(&mut bool, &mut Listening<T::Listener>)> {
    match &mut slot.kind {
        Kind::Listener(listening) => Some((&mut slot.readable, listening)),
        _ => None,
    }
}
