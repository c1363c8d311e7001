//! The thread that has connections, their sockets and their applications.

use super::{Application, Here, Shared, Visit, WAKE, mailbox::Mailbox, sockets::WorkerSocket};
use crate::socket::{LINGER, SCRATCH, UNREAD, Wire};
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use drywire::{
    connection::{Connection, ConnectionId, ConnectionStart, ToConnection, ToSwarm},
    swarm::Timers,
    time::{Instant, earliest},
};
use drywire_system::now;
use mio::{Events, Interest, Poll, Token};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::Arc,
    thread,
};

const EVENTS: usize = 256;

/// What goes between the swarm's thread and one worker.
pub(super) struct Desk<A> {
    pub(super) orders: Mailbox<Order<A>>,
    pub(super) to_swarm: Mailbox<Report<A>>,
}

/// From the swarm to a worker.
pub(super) enum Order<A> {
    Start {
        start: ConnectionStart,
        socket: Box<dyn WorkerSocket>,
        under_way: Arc<AtomicUsize>,
    },
    Message(ConnectionId, ToConnection),
    Visit(ConnectionId, Visit<A>),
    /// Give the connection back, to be moved.
    Give(ConnectionId),
    Adopt(Box<Link<A>>),
    /// The connection has let too much wait.
    Drop(ConnectionId),
}

/// From a worker to the swarm.
pub(super) enum Report<A> {
    Message(ConnectionId, ToSwarm),
    /// The connection and its socket are no more.
    Closed(ConnectionId),
    Given(Box<Link<A>>),
}

/// A connection with all that belongs to it.
pub(super) struct Link<A> {
    pub(super) connection: Connection,
    application: A,
    /// `None`: the connection is over, and waits for nothing but its readers.
    wire: Option<Wire<Box<dyn WorkerSocket>>>,
    /// Messages of the swarm on their way to it.
    under_way: Arc<AtomicUsize>,
    /// When the connection ended; see [`Wire::linger`].
    ended: Option<Instant>,
}

/// What a turn of a link ends with.
#[derive(Default)]
struct Turned {
    /// There is more to do at once.
    again: bool,
    /// There was no room for what it has to say to the swarm.
    held_up: bool,
    /// Its socket is to be dropped.
    closed: bool,
    /// It is to be dropped.
    over: bool,
    deadline: Option<Instant>,
}

/// What all links of a worker share.
struct Tools {
    scratch: Vec<u8>,
    spare: Vec<u8>,
    /// The node shuts down: nobody is waited for.
    shuts_down: bool,
}

impl<A: Application> Link<A> {
    /// Timers, reading, events and messages, writing, events and messages again: writing makes room for streams to write.
    fn turn(&mut self, now: Instant, tools: &mut Tools, to_swarm: &Mailbox<Report<A>>) -> Turned {
        if let Some(ended) = self.ended {
            return self.linger(now, ended, tools);
        }
        let Some(wire) = &mut self.wire else {
            return Turned::default();
        };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.connection.poll_timeout()) {
            self.connection.handle_timeout(now);
        }
        if due(self.application.poll_timeout()) {
            self.application.handle_timeout(now, &mut self.connection);
        }
        let mut turned = Turned::default();
        turned.again |= wire.read(now, &mut self.connection, &mut tools.scratch);
        hand_out(now, &mut self.connection, &mut self.application, to_swarm);
        turned.again |= wire.write(now, &mut self.connection, &mut tools.spare);
        turned.held_up = !hand_out(now, &mut self.connection, &mut self.application, to_swarm);
        turned.again |= wire.writable && self.connection.wants_transmit();
        turned.again |= wire.paused && self.connection.recv_buf().is_some();
        if turned.held_up {
            // Its deadline is now, for the messages it could not send. It is the swarm that is waited for.
            return turned;
        }
        if self.connection.is_closed() {
            self.ended = Some(now);
            turned.again = true;
        }
        turned.deadline = earliest(
            self.connection.poll_timeout(),
            self.application.poll_timeout(),
        );
        turned
    }

    /// After the end: the socket's last words, and what the application has yet to read, which is in the connection.
    fn linger(&mut self, now: Instant, ended: Instant, tools: &mut Tools) -> Turned {
        let (closes, reads) = (ended + LINGER, ended + UNREAD);
        let scratch = &mut tools.scratch;
        let mut wire = self.wire.as_mut();
        let open = wire.take_if(|wire| now < closes && !wire.linger(scratch));
        let waits = !tools.shuts_down && now < reads && self.connection.is_unread();
        Turned {
            closed: open.is_none(),
            over: open.is_none() && !waits,
            deadline: Some(if open.is_some() { closes } else { reads }),
            again: open.is_some_and(|wire| wire.lingers_on()),
            held_up: false,
        }
    }
}

/// Gives events to the application and messages to the swarm; false if there was no room for all of these.
fn hand_out<A: Application>(
    now: Instant,
    connection: &mut Connection,
    application: &mut A,
    to_swarm: &Mailbox<Report<A>>,
) -> bool {
    while let Some(event) = connection.poll_event() {
        application.handle_event(now, connection, event);
    }
    let id = connection.id();
    for _ in 0..to_swarm.room() {
        let Some(message) = connection.poll_message() else {
            return true;
        };
        // There is room, and nobody else takes it.
        let _ = to_swarm.send(Report::Message(id, message));
    }
    // There was room for no more; whether there is more shows in its deadline, which is now. If it is now for another
    // reason, the worst of it is one more turn.
    let deadline = connection.poll_timeout();
    deadline.is_none_or(|deadline| deadline > now)
}

pub(super) struct Worker<A: Application> {
    poll: Poll,
    desk: Arc<Desk<A>>,
    make: Arc<dyn Fn(ConnectionId) -> A + Send + Sync>,
    shared: Arc<Shared>,
    links: BTreeMap<ConnectionId, Box<Link<A>>>,
    timers: Timers<ConnectionId>,
    /// Links with something to do in the next turn.
    ready: BTreeSet<ConnectionId>,
    /// Links that wait for room on the way to the swarm; what waits for it of links that are gone from here.
    held_up: BTreeSet<ConnectionId>,
    parting: VecDeque<Report<A>>,
    tools: Tools,
}

impl<A: Application> Worker<A> {
    pub(super) fn new(
        poll: Poll,
        desk: Arc<Desk<A>>,
        make: Arc<dyn Fn(ConnectionId) -> A + Send + Sync>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            poll,
            desk,
            make,
            shared,
            links: BTreeMap::new(),
            timers: Timers::new(),
            ready: BTreeSet::new(),
            held_up: BTreeSet::new(),
            parting: VecDeque::new(),
            tools: Tools {
                scratch: vec![0; SCRATCH],
                spare: Vec::new(),
                shuts_down: false,
            },
        }
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut orders = VecDeque::new();
        while !self.shared.stop.load(Ordering::SeqCst) {
            self.wait(&mut events)?;
            let now = now();
            self.desk.orders.take(&mut orders);
            for order in orders.drain(..) {
                self.take(now, order);
            }
            if !self.tools.shuts_down && self.shared.shuts_down.load(Ordering::SeqCst) {
                self.tools.shuts_down = true;
                self.ready.extend(self.links.keys());
            }
            while let Some(id) = self.timers.pop_due(now) {
                self.ready.insert(id);
            }
            if self.desk.to_swarm.room() > 0 {
                self.part();
                self.ready.append(&mut self.held_up);
            }
            for id in core::mem::take(&mut self.ready) {
                self.serve(now, id);
            }
            self.part();
            let waits = !self.held_up.is_empty() || !self.parting.is_empty();
            if waits && self.desk.to_swarm.wait_for_room() {
                self.ready.append(&mut self.held_up);
                self.part();
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let deadline = self.timers.next().map(|deadline| deadline - now());
        let timeout = if self.ready.is_empty() {
            deadline
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        for event in events.iter().filter(|event| event.token() != WAKE) {
            let id = connection(event.token());
            let link = self.links.get_mut(&id);
            if let Some(wire) = link.and_then(|link| link.wire.as_mut()) {
                // Errors and hang-ups show in the next read or write.
                let failed = event.is_error();
                wire.readable |= event.is_readable() || event.is_read_closed() || failed;
                wire.writable |= event.is_writable() || event.is_write_closed() || failed;
                self.ready.insert(id);
            }
        }
        Ok(())
    }

    fn take(&mut self, now: Instant, order: Order<A>) {
        match order {
            Order::Start {
                start,
                socket,
                under_way,
            } => {
                let application = (self.make)(start.id());
                self.adopt(
                    now,
                    Box::new(Link {
                        connection: start.start(now),
                        application,
                        wire: Some(Wire::new(socket)),
                        under_way,
                        ended: None,
                    }),
                );
            }
            Order::Adopt(link) => self.adopt(now, link),
            Order::Message(id, message) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.under_way.fetch_sub(1, Ordering::Relaxed);
                    link.connection.handle_message(now, message);
                    self.ready.insert(id);
                }
            }
            Order::Visit(id, visit) => {
                self.shared.visits.fetch_sub(1, Ordering::SeqCst);
                let here = self.links.get_mut(&id).map(|link| Here {
                    connection: &mut link.connection,
                    application: &mut link.application,
                });
                visit(now, here);
                self.ready.insert(id);
            }
            Order::Give(id) => {
                if let Some(link) = self.remove(id) {
                    self.parting.push_back(Report::Given(link));
                }
            }
            Order::Drop(id) => {
                if self.remove(id).is_some() {
                    self.parting.push_back(Report::Closed(id));
                }
            }
        }
    }

    fn adopt(&mut self, now: Instant, mut link: Box<Link<A>>) {
        let id = link.connection.id();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Some(wire) = &mut link.wire {
            if let Err(error) = registry.register(&mut wire.socket, token(id), interest) {
                link.connection.handle_lost(now, error.to_string());
            }
            // Readiness told elsewhere is told here no more.
            (wire.readable, wire.writable) = (true, true);
        }
        self.links.insert(id, link);
        self.ready.insert(id);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Box<Link<A>>> {
        self.timers.clear(id);
        self.ready.remove(&id);
        self.held_up.remove(&id);
        let mut link = self.links.remove(&id)?;
        if let Some(wire) = &mut link.wire {
            let _ = self.poll.registry().deregister(&mut wire.socket);
        }
        Some(link)
    }

    fn serve(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let turned = link.turn(now, &mut self.tools, &self.desk.to_swarm);
        if turned.over {
            self.remove(id);
            self.parting.push_back(Report::Closed(id));
            return;
        }
        if turned.closed
            && let Some(mut wire) = link.wire.take()
        {
            let _ = self.poll.registry().deregister(&mut wire.socket);
        }
        self.timers.set_or_clear(id, turned.deadline);
        if turned.again {
            self.ready.insert(id);
        }
        if turned.held_up {
            self.held_up.insert(id);
        }
    }

    /// Tells the swarm who is gone from here, as far as there is room. At most one word for each connection.
    fn part(&mut self) {
        while let Some(report) = self.parting.pop_front() {
            if let Err(report) = self.desk.to_swarm.send(report) {
                return self.parting.push_front(report);
            }
        }
    }
}

impl<A: Application> Drop for Worker<A> {
    fn drop(&mut self) {
        // If the application has panicked, or the poller failed, nobody else would ever hear of it.
        if thread::panicking() || !self.links.is_empty() {
            self.shared.stop.store(true, Ordering::SeqCst);
            self.desk.to_swarm.wake();
        }
    }
}

/// Numbers of connections are never reused, so that readiness of one that is gone means nobody.
fn token(id: ConnectionId) -> Token {
    Token(
        usize::try_from(id.number())
            .unwrap_or(usize::MAX)
            .saturating_add(1),
    )
}

fn connection(token: Token) -> ConnectionId {
    let number = u64::try_from(token.0.saturating_sub(1));
    ConnectionId::new(number.unwrap_or(u64::MAX))
}
