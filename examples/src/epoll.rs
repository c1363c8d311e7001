//! A hand-written loop over epoll: one thread, one [`Node`], any number of sockets.
//!
//! **When to choose it:** your program has one thread that waits for sockets, or can give one to the network. One thread moves
//! gigabytes per second and serves thousands of connections; where handshakes and encryption need more, see
//! [`workers`](crate::workers).
//!
//! **Edge-triggered, and why.** Each socket is registered once, for everything, and `epoll_ctl` is never called again. The
//! [`Wire`] remembers what was told. So back-pressure is simply not to read: with level-triggered readiness a socket that may
//! not be read would be reported again and again, and interest would have to be taken back and set anew. The price: whoever
//! stops before `WouldBlock` (on a budget, or for want of room) must remember to go on; here that is `ready`, respectively
//! `paused`.
//!
//! **Back-pressure:** `recv_buf` gives no buffer; the connection joins `paused`, which is looked at after every turn, because
//! the application may have read. Writing stops at `WouldBlock`; nothing more is transmitted before that is written.
//!
//! **Timers:** `epoll_wait` sleeps until [`Node::poll_timeout`] or the loop's own earliest deadline (sockets that linger,
//! listeners that rest).
//!
//! **The end of a connection:** its socket goes at once, but what it has brought can be read for 10 s more ([`Unread`]).
//!
//! **Shutdown:** [`Node::shutdown`], called by the application or through a [`Remote`]; [`Host::run`] returns when every
//! connection is closed, its last bytes are written and its socket is dropped. Dropping the host instead closes everything
//! at once, and peers see a reset.

use crate::socket::{LINGER, OfNode, SCRATCH, Unread, Wire, connect, connected, is_of_one_accept};
use core::time::Duration;
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    multiaddr::Multiaddr,
    node::{Node, NodeAction, NodeEvent},
    swarm::{
        Action, AttemptId, Event, ListenerId, ListenerUpdate, Protocol, Timers, TransportError,
    },
    time::{Instant, earliest},
};
use drywire_system::{interface_index, interfaces, now, tcp_socket, transport_error};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::Wake,
};

/// Connections accepted in one turn of a listener.
const ACCEPTS: usize = 32;
/// How long a listener rests after it failed.
const REST: Duration = Duration::from_millis(100);
/// How often the machine's addresses are looked at while a listener is bound to all of them.
const INTERFACES_EVERY: Duration = Duration::from_secs(30);
/// Readiness taken in by one call.
const EVENTS: usize = 256;
/// Commands that may wait.
const COMMANDS: usize = 64;
/// So that a deadline in the far future is one the operating system understands.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Something for the loop's thread to run.
type Command<P> = Box<dyn FnOnce(Instant, &mut Node<P>) + Send>;

/// What a token stands for. Tokens are never reused, so that readiness of what is gone means nobody.
#[derive(Clone, Copy)]
enum Source {
    Wake,
    Listener(ListenerId),
    Dial(AttemptId),
    Wire(ConnectionId),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A socket has outlived its connection for long enough.
    Linger(ConnectionId),
    /// A listener has rested.
    Accept(ListenerId),
    Interfaces,
}

struct Listening {
    socket: TcpListener,
    token: u64,
    readable: bool,
}

struct Dialing {
    socket: TcpStream,
    token: u64,
    address: Multiaddr,
}

struct Held {
    wire: Wire<TcpStream>,
    token: u64,
    /// When the connection ended; see [`Wire::linger`].
    ended: Option<Instant>,
}

/// The loop and all it owns.
pub struct Host<P: Protocol> {
    node: Node<P>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    sources: BTreeMap<u64, Source>,
    next_token: u64,
    listeners: BTreeMap<ListenerId, Listening>,
    dials: BTreeMap<AttemptId, Dialing>,
    wires: BTreeMap<ConnectionId, Held>,
    timers: Timers<Timer>,
    /// Tokens with something to do in the next turn.
    ready: BTreeSet<u64>,
    /// Connections that had no room for what their socket has.
    paused: BTreeSet<ConnectionId>,
    /// Connections that wait for nothing but their readers.
    unread: Unread,
    commands: Receiver<Command<P>>,
    sender: SyncSender<Command<P>>,
    scratch: Vec<u8>,
    spare: Vec<u8>,
    finished: bool,
}

/// Reaches a running [`Host`] from other threads.
pub struct Remote<P: Protocol> {
    sender: SyncSender<Command<P>>,
    wake: Arc<OwnedFd>,
}

impl<P: Protocol> Clone for Remote<P> {
    fn clone(&self) -> Self {
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        Self { sender, wake }
    }
}

impl<P: Protocol> Remote<P> {
    /// Runs `command` on the loop's thread; whether it was taken. It is not if the host is gone or too many wait.
    pub fn run(&self, command: impl FnOnce(Instant, &mut Node<P>) + Send + 'static) -> bool {
        let taken = self.sender.try_send(Box::new(command)).is_ok();
        wake(&self.wake);
        taken
    }
}

/// Ends the loop's sleep.
fn wake(descriptor: &OwnedFd) {
    // It fails only if the counter is full, and then the loop is about to wake.
    let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
}

/// What protocols gave to the application may wake the loop, see [`Swarm::set_waker`](drywire::swarm::Swarm::set_waker).
struct OfSwarm(Arc<OwnedFd>);

impl Wake for OfSwarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake(&self.0);
    }
}

impl<P: Protocol> Host<P> {
    /// A loop around a node.
    ///
    /// # Errors
    /// If the operating system has no descriptors left.
    pub fn new(mut node: Node<P>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, commands) = sync_channel(COMMANDS);
        let of_swarm = Arc::new(OfSwarm(wake.clone()));
        node.command(now(), |swarm| swarm.set_waker(Some(of_swarm.into())));
        let mut host = Self {
            node,
            epoll,
            wake: wake.clone(),
            sources: BTreeMap::new(),
            next_token: 0,
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            wires: BTreeMap::new(),
            timers: Timers::new(),
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            unread: Unread::new(),
            commands,
            sender,
            scratch: vec![0; SCRATCH],
            spare: Vec::new(),
            finished: false,
        };
        let token = host.register(&*wake)?;
        host.sources.insert(token, Source::Wake);
        Ok(host)
    }

    /// The node, to listen and dial before the loop runs.
    pub const fn node(&mut self) -> &mut Node<P> {
        &mut self.node
    }

    /// To reach the loop while it runs.
    pub fn remote(&self) -> Remote<P> {
        let (sender, wake) = (self.sender.clone(), self.wake.clone());
        Remote { sender, wake }
    }

    /// Runs until the node was shut down and everything is closed. `handle` is the application.
    ///
    /// # Errors
    /// If epoll itself fails.
    pub fn run(
        mut self,
        mut handle: impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        self.settle(now(), &mut handle);
        while !self.finished {
            self.wait(&mut events)?;
            self.turn(now(), &mut handle);
        }
        Ok(())
    }

    /// Sleeps until something is ready or due, and notes what is ready.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let deadline = earliest(self.node.poll_timeout(), self.timers.next());
        let deadline = earliest(deadline, self.unread.next());
        let sleep = match deadline {
            _ if !self.ready.is_empty() => Duration::ZERO,
            Some(deadline) => (deadline - now()).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        };
        let sleep = Timespec::try_from(sleep).map_err(io::Error::other)?;
        events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(events),
            Some(&sleep),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            let (token, flags) = (event.data.u64(), event.flags);
            // Errors and hang-ups show in the next read or write.
            let failed = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            let ends = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            let readable = failed || flags.intersects(ends);
            let writable = failed || flags.contains(epoll::EventFlags::OUT);
            match self.sources.get(&token) {
                Some(Source::Wire(id)) => {
                    if let Some(held) = self.wires.get_mut(id) {
                        held.wire.readable |= readable;
                        held.wire.writable |= writable;
                    }
                }
                Some(Source::Listener(id)) => {
                    if let Some(listening) = self.listeners.get_mut(id) {
                        listening.readable = true;
                    }
                }
                Some(Source::Dial(_) | Source::Wake) => {}
                None => continue,
            }
            self.ready.insert(token);
        }
        Ok(())
    }

    /// One turn of everything that is ready or due. Each gets its budget, and who has more to do comes again.
    fn turn(
        &mut self,
        now: Instant,
        handle: &mut impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) {
        self.node.handle_timeout(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.fire(now, timer);
        }
        for token in core::mem::take(&mut self.ready) {
            match self.sources.get(&token) {
                Some(Source::Wake) => self.take_commands(now),
                Some(Source::Listener(id)) => self.accept(now, *id),
                Some(Source::Dial(id)) => self.finish_dial(now, *id),
                Some(Source::Wire(id)) => self.serve(now, *id, handle),
                None => {}
            }
            self.settle(now, handle);
        }
        self.settle(now, handle);
        while self.unread.check(now, &mut self.node) {
            self.settle(now, handle);
        }
        // Whatever was done may have made room for what waits in a socket.
        let (node, ready, wires) = (&mut self.node, &mut self.ready, &self.wires);
        self.paused.retain(|id| {
            let Some(held) = wires.get(id).filter(|held| held.ended.is_none()) else {
                return false;
            };
            let has_room = node.recv_buf(*id).is_some();
            if has_room {
                ready.insert(held.token);
            }
            !has_room
        });
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

    /// One turn of a socket.
    fn serve(
        &mut self,
        now: Instant,
        id: ConnectionId,
        handle: &mut impl FnMut(Instant, &mut Node<P>, NodeEvent<P::Event>),
    ) {
        let Some(held) = self.wires.get_mut(&id) else {
            return;
        };
        if held.ended.is_some() {
            if held.wire.linger(&mut self.scratch) {
                return self.drop_wire(id);
            }
            if held.wire.lingers_on() {
                self.ready.insert(held.token);
            }
            return;
        }
        let mut machine = OfNode(&mut self.node, id);
        let mut again = held.wire.read(now, &mut machine, &mut self.scratch);
        // What the application answers joins what is transmitted below.
        self.settle(now, handle);
        let Some(held) = self.wires.get_mut(&id).filter(|held| held.ended.is_none()) else {
            return;
        };
        let mut machine = OfNode(&mut self.node, id);
        again |= held.wire.write(now, &mut machine, &mut self.spare);
        if again {
            self.ready.insert(held.token);
        }
        if held.wire.paused {
            self.paused.insert(id);
        }
    }

    fn act(&mut self, now: Instant, action: NodeAction) {
        match action {
            NodeAction::Transmit(id) => {
                if let Some(held) = self.wires.get(&id).filter(|held| held.wire.writable) {
                    self.ready.insert(held.token);
                }
            }
            NodeAction::Close(id) => match self.wires.get_mut(&id) {
                Some(held) => {
                    held.ended = Some(now);
                    self.ready.insert(held.token);
                    self.timers.set(Timer::Linger(id), now + LINGER);
                }
                None => self.unread.insert(id, now),
            },
            NodeAction::Swarm(Action::Dial { attempt, address }) => {
                if let Err(error) = self.dial(attempt, &address) {
                    self.node.handle_dialed(now, attempt, Err(error));
                }
            }
            NodeAction::Swarm(Action::CancelDial { attempt }) => {
                if let Some(dialing) = self.dials.remove(&attempt) {
                    self.sources.remove(&dialing.token);
                }
            }
            NodeAction::Swarm(Action::Listen { listener, address }) => {
                let update = match self.listen(listener, &address) {
                    Ok(bound) => ListenerUpdate::Bound(bound),
                    Err(error) => ListenerUpdate::Closed(Some(error)),
                };
                self.node.handle_listener(now, listener, update);
            }
            NodeAction::Swarm(Action::StopListen { listener }) => {
                if let Some(listening) = self.listeners.remove(&listener) {
                    self.sources.remove(&listening.token);
                    self.timers.clear(Timer::Accept(listener));
                }
                let update = ListenerUpdate::Closed(None);
                self.node.handle_listener(now, listener, update);
            }
            // The swarm is asked before each.
            NodeAction::Swarm(Action::PauseAccept) => {}
            NodeAction::Swarm(Action::ResumeAccept) => {
                let tokens = self.listeners.values().map(|listening| listening.token);
                self.ready.extend(tokens);
            }
            NodeAction::Swarm(other) => self.node.handle_unsupported(now, other),
            // Of a later version of the core.
            _ => {}
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Linger(id) => self.drop_wire(id),
            Timer::Accept(id) => {
                let token = self.listeners.get(&id).map(|listening| listening.token);
                self.ready.extend(token);
            }
            Timer::Interfaces => {
                self.timers.set(timer, now + INTERFACES_EVERY);
                let own = interfaces();
                self.node
                    .command(now, |swarm| swarm.handle_interfaces(now, own));
            }
        }
    }

    fn take_commands(&mut self, now: Instant) {
        // Emptied first: whoever sends a command after it was looked for wakes the loop again.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        for _ in 0..COMMANDS {
            let Ok(command) = self.commands.try_recv() else {
                return;
            };
            command(now, &mut self.node);
        }
    }

    /// Registers a descriptor for good. Closing it, when its socket is dropped, is all it takes to end that.
    fn register(&mut self, descriptor: impl AsFd) -> io::Result<u64> {
        let token = self.next_token;
        self.next_token += 1;
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(
            &self.epoll,
            descriptor,
            epoll::EventData::new_u64(token),
            flags,
        )?;
        Ok(token)
    }

    fn listen(&mut self, id: ListenerId, address: &Multiaddr) -> Result<Multiaddr, TransportError> {
        let local = tcp_socket(address, interface_index).ok_or(TransportError::Unsupported)?;
        let socket = drywire_system::listen(local).map_err(|error| transport_error(&error))?;
        let bound = socket
            .local_addr()
            .map_err(|error| transport_error(&error))?;
        let token = self
            .register(&socket)
            .map_err(|error| transport_error(&error))?;
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
            if !listening.readable || !self.node.swarm().is_accepting() || rests {
                return;
            }
            match listening.socket.accept() {
                Ok((socket, remote)) => {
                    let point = ConnectedPoint::accepted(
                        Multiaddr::from_tcp(remote),
                        socket.local_addr().ok().map(Multiaddr::from_tcp),
                    );
                    // Should any of it fail, the socket closes and the swarm never hears of it.
                    let _ = self.accepted(now, socket, point);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listening.readable = false,
                Err(error) if is_of_one_accept(&error) => {}
                Err(error) => {
                    self.timers.set(Timer::Accept(id), now + REST);
                    let update = ListenerUpdate::AcceptFailed(transport_error(&error));
                    self.node.handle_listener(now, id, update);
                }
            }
        }
        // There may be more.
        let token = self.listeners.get(&id).map(|listening| listening.token);
        self.ready.extend(token);
    }

    fn accepted(
        &mut self,
        now: Instant,
        socket: TcpStream,
        point: ConnectedPoint,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        // If it fails, messages may wait for each other a little.
        let _ = socket.set_nodelay(true);
        let token = self.register(&socket)?;
        if let Ok(id) = self.node.handle_accept(now, point) {
            self.add_wire(id, socket, token);
        }
        Ok(())
    }

    fn dial(&mut self, attempt: AttemptId, address: &Multiaddr) -> Result<(), TransportError> {
        let remote = tcp_socket(address, interface_index).ok_or(TransportError::Unsupported)?;
        let socket = connect(remote).map_err(|error| transport_error(&error))?;
        let token = self
            .register(&socket)
            .map_err(|error| transport_error(&error))?;
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
        let Some(dialing) = self.dials.remove(&attempt) else {
            return;
        };
        self.sources.remove(&dialing.token);
        let local = dialing.socket.local_addr().ok().map(Multiaddr::from_tcp);
        let result = match result {
            Ok(_) => Ok(ConnectedPoint::dialed(dialing.address, local)),
            Err(error) => Err(transport_error(&error)),
        };
        if let Some(id) = self.node.handle_dialed(now, attempt, result) {
            self.add_wire(id, dialing.socket, dialing.token);
        }
    }

    fn add_wire(&mut self, id: ConnectionId, socket: TcpStream, token: u64) {
        self.sources.insert(token, Source::Wire(id));
        let held = Held {
            wire: Wire::new(socket),
            token,
            ended: None,
        };
        self.wires.insert(id, held);
        self.ready.insert(token);
    }

    fn drop_wire(&mut self, id: ConnectionId) {
        self.timers.clear(Timer::Linger(id));
        if let Some(held) = self.wires.remove(&id) {
            self.sources.remove(&held.token);
            self.unread.insert(id, held.ended.unwrap_or(Instant::ZERO));
        }
    }
}
