//! The thread that has the swarm, its listeners and its dials, and knows which worker has which connection.

use super::{
    Command, Shared, WAKE,
    mailbox::Mailbox,
    sockets::{Sockets, Tcp, WorkerSocket},
    worker::{Desk, Link, Order, Report},
};
use crate::{
    socket::{connect, connected, is_of_one_accept},
    workers::Application,
};
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use drywire::{
    connection::{ConnectedPoint, ConnectionId, ConnectionStart, ToConnection},
    multiaddr::Multiaddr,
    swarm::{
        Action, AttemptId, Event, ListenerId, ListenerUpdate, Protocol, Swarm, Timers,
        TransportError,
    },
    time::{Instant, earliest},
};
use drywire_system::{interface_index, interfaces, now, tcp_socket, transport_error};
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, ErrorKind},
    sync::Arc,
    task::Wake,
};

/// Connections accepted in one turn of a listener.
const ACCEPTS: usize = 32;
/// How long a listener rests after it failed.
const REST: Duration = Duration::from_millis(100);
/// How often the machine's addresses are looked at while a listener is bound to all of them.
const INTERFACES_EVERY: Duration = Duration::from_secs(30);
const EVENTS: usize = 256;

/// Tokens are never reused, so that readiness of what is gone means nobody.
#[derive(Clone, Copy)]
enum Source {
    Listener(ListenerId),
    Dial(AttemptId),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A listener has rested.
    Accept(ListenerId),
    Interfaces,
}

struct Listening {
    socket: TcpListener,
    token: Token,
    readable: bool,
}

struct Dialing {
    socket: TcpStream,
    token: Token,
    address: Multiaddr,
}

/// Where a connection is.
struct Place<A> {
    worker: usize,
    under_way: Arc<AtomicUsize>,
    /// It is between two workers: where it goes, and what is to go there after it.
    moving: Option<(usize, VecDeque<Order<A>>)>,
    /// It has let too much wait.
    dropped: bool,
}

/// What protocols gave to the application may wake the swarm, see [`Swarm::set_waker`].
struct OfSwarm(Arc<Waker>);

impl Wake for OfSwarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = self.0.wake();
    }
}

pub(super) struct Office<P: Protocol, A> {
    poll: Poll,
    swarm: Swarm<P>,
    commands: Arc<Mailbox<Command<P, A>>>,
    desks: Vec<Arc<Desk<A>>>,
    shared: Arc<Shared>,
    /// Messages that may wait for one connection.
    limit: usize,
    places: BTreeMap<ConnectionId, Place<A>>,
    /// Connections of each worker.
    loads: Vec<usize>,
    sources: BTreeMap<Token, Source>,
    next_token: usize,
    listeners: BTreeMap<ListenerId, Listening>,
    dials: BTreeMap<AttemptId, Dialing>,
    timers: Timers<Timer>,
    /// Sources with something to do in the next turn.
    ready: BTreeSet<Token>,
    finished: bool,
    sockets: Box<dyn Sockets>,
}

impl<P: Protocol, A: Application> Office<P, A> {
    pub(super) fn new(
        poll: Poll,
        waker: Arc<Waker>,
        mut swarm: Swarm<P>,
        commands: Arc<Mailbox<Command<P, A>>>,
        desks: Vec<Arc<Desk<A>>>,
        shared: Arc<Shared>,
        limit: usize,
    ) -> Self {
        swarm.set_waker(Some(Arc::new(OfSwarm(waker)).into()));
        Self {
            poll,
            swarm,
            commands,
            loads: vec![0; desks.len()],
            desks,
            shared,
            limit,
            places: BTreeMap::new(),
            sources: BTreeMap::new(),
            next_token: WAKE.0 + 1,
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            timers: Timers::new(),
            ready: BTreeSet::new(),
            finished: false,
            sockets: Box::new(Tcp),
        }
    }

    /// The same with sockets of another kind.
    pub(super) fn over(mut self, sockets: Box<dyn Sockets>) -> Self {
        self.sockets = sockets;
        self
    }

    pub(super) fn run(
        mut self,
        mut handle: impl FnMut(Instant, &mut Swarm<P>, Event<P::Event>),
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let (mut commands, mut reports) = (VecDeque::new(), VecDeque::new());
        while !(self.finished && self.places.is_empty()) {
            self.wait(&mut events)?;
            if self.shared.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let now = now();
            self.commands.take(&mut commands);
            for command in commands.drain(..) {
                self.command(now, command);
            }
            for desk in self.desks.clone() {
                if desk.to_swarm.take(&mut reports) {
                    desk.orders.wake();
                }
                for report in reports.drain(..) {
                    self.report(now, report);
                    // What the swarm has to say waits in it only as long as it must.
                    self.settle(now, &mut handle);
                }
            }
            self.swarm.handle_timeout(now);
            while let Some(timer) = self.timers.pop_due(now) {
                self.fire(now, timer);
            }
            for token in core::mem::take(&mut self.ready) {
                match self.sources.get(&token) {
                    Some(Source::Listener(id)) => self.accept(now, *id),
                    Some(Source::Dial(id)) => self.finish_dial(now, *id),
                    None => {}
                }
            }
            self.settle(now, &mut handle);
            self.tell_shutdown();
        }
        Ok(())
    }

    /// What is over waits for its readers no longer; the swarm has nothing to say to it any more.
    fn tell_shutdown(&self) {
        let shuts_down = self.swarm.is_shutting_down();
        if shuts_down && !self.shared.shuts_down.swap(true, Ordering::SeqCst) {
            self.desks.iter().for_each(|desk| desk.orders.wake());
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let deadline = earliest(self.swarm.poll_timeout(), self.timers.next());
        let timeout = if self.ready.is_empty() {
            deadline.map(|deadline| deadline - now())
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        for event in events.iter() {
            if let Some(Source::Listener(id)) = self.sources.get(&event.token())
                && let Some(listening) = self.listeners.get_mut(id)
            {
                listening.readable = true;
            }
            self.ready.insert(event.token());
        }
        self.ready.remove(&WAKE);
        Ok(())
    }

    /// Carries messages and events away, and does what the swarm asks for, until there is nothing more.
    fn settle(
        &mut self,
        now: Instant,
        handle: &mut impl FnMut(Instant, &mut Swarm<P>, Event<P::Event>),
    ) {
        loop {
            if let Some(action) = self.swarm.poll_action() {
                self.act(now, action);
            } else if let Some(event) = self.swarm.poll_event() {
                self.finished |= matches!(event, Event::ShutdownComplete);
                handle(now, &mut self.swarm, event);
            } else {
                return;
            }
        }
    }

    fn command(&mut self, now: Instant, command: Command<P, A>) {
        match command {
            Command::Swarm(run) => run(now, &mut self.swarm),
            Command::Visit(id, visit) => self.order(id, Order::Visit(id, visit)),
            Command::Move(id, to) => {
                let Some(place) = self.places.get_mut(&id) else {
                    return;
                };
                match &mut place.moving {
                    Some((goal, _)) => *goal = to,
                    None if place.worker == to || place.dropped => {}
                    None => {
                        self.order(id, Order::Give(id));
                        if let Some(place) = self.places.get_mut(&id) {
                            place.moving = Some((to, VecDeque::new()));
                        }
                    }
                }
            }
        }
    }

    fn report(&mut self, now: Instant, report: Report<A>) {
        match report {
            Report::Message(id, message) => self.swarm.handle_message(now, id, message),
            Report::Given(link) => self.moved(link),
            Report::Closed(id) => {
                if let Some(place) = self.places.remove(&id) {
                    self.leaves(place.worker);
                    // It ended before it could be moved: what waited for it is told so.
                    let held = place.moving.map(|(_, held)| held);
                    for order in held.into_iter().flatten() {
                        self.order(id, order);
                    }
                }
                self.swarm.handle_closed(now, id);
            }
        }
    }

    fn moved(&mut self, link: Box<Link<A>>) {
        let id = link.connection.id();
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        let Some((to, held)) = place.moving.take() else {
            return;
        };
        let from = core::mem::replace(&mut place.worker, to);
        self.leaves(from);
        self.joins(to);
        self.order(id, Order::Adopt(link));
        for order in held {
            self.order(id, order);
        }
    }

    fn joins(&mut self, worker: usize) {
        if let Some(load) = self.loads.get_mut(worker) {
            *load += 1;
        }
    }

    fn leaves(&mut self, worker: usize) {
        if let Some(load) = self.loads.get_mut(worker) {
            *load = load.saturating_sub(1);
        }
    }

    /// Sends an order to where its connection is. Orders about one connection keep their order.
    fn order(&mut self, id: ConnectionId, order: Order<A>) {
        let place = self.places.get_mut(&id);
        let worker = place.as_ref().map_or(0, |place| place.worker);
        if let Some((_, held)) = place.and_then(|place| place.moving.as_mut()) {
            return held.push_back(order);
        }
        if let Some(desk) = self.desks.get(worker) {
            // There is room for all that every connection may have waiting.
            let sent = desk.orders.send(order);
            debug_assert!(sent.is_ok(), "{} orders wait", desk.orders.capacity());
        }
    }

    /// Sends a message, unless more wait for that connection than ever should.
    fn deliver(&mut self, id: ConnectionId, message: ToConnection) {
        let Some(place) = self.places.get_mut(&id).filter(|place| !place.dropped) else {
            return;
        };
        let waiting = place.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        if waiting > self.limit {
            place.dropped = true;
            return self.order(id, Order::Drop(id));
        }
        self.shared.most.fetch_max(waiting, Ordering::Relaxed);
        self.order(id, Order::Message(id, message));
    }

    /// Gives a connection to the worker that has the fewest.
    fn begin(&mut self, start: ConnectionStart, socket: Box<dyn WorkerSocket>) {
        let id = start.id();
        let fewest = self.loads.iter().enumerate().min_by_key(|(_, load)| **load);
        let worker = fewest.map_or(0, |(worker, _)| worker);
        let under_way = Arc::<AtomicUsize>::default();
        let place = Place {
            worker,
            under_way: under_way.clone(),
            moving: None,
            dropped: false,
        };
        self.places.insert(id, place);
        self.joins(worker);
        let order = Order::Start {
            start,
            socket,
            under_way,
        };
        self.order(id, order);
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::ToConnection(id, message) => self.deliver(id, message),
            Action::Dial { attempt, address } => {
                if let Err(error) = self.dial(attempt, &address) {
                    self.swarm.handle_dialed(now, attempt, Err(error));
                }
            }
            Action::CancelDial { attempt } => {
                if let Some(dialing) = self.dials.remove(&attempt) {
                    self.sources.remove(&dialing.token);
                }
            }
            Action::Listen { listener, address } => {
                let update = match self.listen(listener, &address) {
                    Ok(bound) => ListenerUpdate::Bound(bound),
                    Err(error) => ListenerUpdate::Closed(Some(error)),
                };
                self.swarm.handle_listener(now, listener, update);
            }
            Action::StopListen { listener } => {
                if let Some(listening) = self.listeners.remove(&listener) {
                    self.sources.remove(&listening.token);
                    self.timers.clear(Timer::Accept(listener));
                }
                let update = ListenerUpdate::Closed(None);
                self.swarm.handle_listener(now, listener, update);
            }
            // The swarm is asked before each.
            Action::PauseAccept => {}
            Action::ResumeAccept => {
                let tokens = self.listeners.values().map(|listening| listening.token);
                self.ready.extend(tokens);
            }
            other => self.swarm.handle_unsupported(now, other),
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Accept(id) => {
                let token = self.listeners.get(&id).map(|listening| listening.token);
                self.ready.extend(token);
            }
            Timer::Interfaces => {
                self.timers.set(timer, now + INTERFACES_EVERY);
                self.swarm.handle_interfaces(now, interfaces());
            }
        }
    }

    fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn listen(&mut self, id: ListenerId, address: &Multiaddr) -> Result<Multiaddr, TransportError> {
        let failed = |error: io::Error| transport_error(&error);
        let local = tcp_socket(address, interface_index).ok_or(TransportError::Unsupported)?;
        let mut socket = TcpListener::from_std(drywire_system::listen(local).map_err(failed)?);
        let bound = socket.local_addr().map_err(failed)?;
        let token = self.token();
        let registry = self.poll.registry();
        registry
            .register(&mut socket, token, Interest::READABLE)
            .map_err(failed)?;
        self.sources.insert(token, Source::Listener(id));
        let readable = true;
        let listening = Listening {
            socket,
            token,
            readable,
        };
        self.listeners.insert(id, listening);
        if bound.ip().is_unspecified() {
            self.timers.set(Timer::Interfaces, Instant::ZERO);
        }
        Ok(Multiaddr::from_tcp(bound))
    }

    fn accept(&mut self, now: Instant, id: ListenerId) {
        for _ in 0..ACCEPTS {
            let Some(listening) = self.listeners.get_mut(&id) else {
                return;
            };
            let rests = self.timers.get(Timer::Accept(id)).is_some();
            if !listening.readable || !self.swarm.is_accepting() || rests {
                return;
            }
            match self.sockets.accept(&listening.socket) {
                Ok((socket, local, remote)) => {
                    let point = ConnectedPoint::accepted(
                        Multiaddr::from_tcp(remote),
                        local.map(Multiaddr::from_tcp),
                    );
                    // Refused: the socket closes, and it is as if it had never come.
                    if let Ok(start) = self.swarm.handle_accept(now, point) {
                        self.begin(start, socket);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listening.readable = false,
                Err(error) if is_of_one_accept(&error) => {}
                Err(error) => {
                    self.timers.set(Timer::Accept(id), now + REST);
                    let update = ListenerUpdate::AcceptFailed(transport_error(&error));
                    self.swarm.handle_listener(now, id, update);
                }
            }
        }
        // There may be more.
        let token = self.listeners.get(&id).map(|listening| listening.token);
        self.ready.extend(token);
    }

    fn dial(&mut self, attempt: AttemptId, address: &Multiaddr) -> Result<(), TransportError> {
        let failed = |error: io::Error| transport_error(&error);
        let remote = tcp_socket(address, interface_index).ok_or(TransportError::Unsupported)?;
        let mut socket = TcpStream::from_std(connect(remote).map_err(failed)?);
        let token = self.token();
        let registry = self.poll.registry();
        registry
            .register(&mut socket, token, Interest::WRITABLE)
            .map_err(failed)?;
        self.sources.insert(token, Source::Dial(attempt));
        let address = address.clone();
        let dialing = Dialing {
            socket,
            token,
            address,
        };
        self.dials.insert(attempt, dialing);
        Ok(())
    }

    fn finish_dial(&mut self, now: Instant, attempt: AttemptId) {
        let Some(dialing) = self.dials.get(&attempt) else {
            return;
        };
        let result = connected(&dialing.socket);
        if matches!(result, Ok(false)) {
            return;
        }
        let Some(mut dialing) = self.dials.remove(&attempt) else {
            return;
        };
        self.sources.remove(&dialing.token);
        // A worker's poller is to have it.
        let result = result.and(self.poll.registry().deregister(&mut dialing.socket));
        let local = dialing.socket.local_addr().ok().map(Multiaddr::from_tcp);
        let result = match result {
            Ok(()) => Ok(ConnectedPoint::dialed(dialing.address, local)),
            Err(error) => Err(transport_error(&error)),
        };
        if let Some(start) = self.swarm.handle_dialed(now, attempt, result) {
            let socket = self.sockets.connected(dialing.socket);
            self.begin(start, socket);
        }
    }
}

impl<P: Protocol, A> Drop for Office<P, A> {
    /// However the swarm ends, the workers end after it.
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.stop.store(true, Ordering::SeqCst);
        self.desks.iter().for_each(|desk| desk.orders.wake());
    }
}
