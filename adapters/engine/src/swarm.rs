//! Drives the swarm: the only code that listens, dials and looks names up. What connections have to say to the swarm, and it
//! to them, is carried by whoever works on it: mostly their own drivers, without a turn of this task.

use crate::{
    connection::Shared,
    driver::Driver,
    notify::{Notify, lock},
    router::Router,
    runtime::{Listener, Pipe, Runtime, Timer},
    state::{Inner, Settled, SwarmState},
};
use core::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use drywire::{
    connection::{ConnectedPoint, ConnectionStart},
    multiaddr::Multiaddr,
    swarm::{
        Action, AttemptId, ListenerId, ListenerUpdate, LookupKind, Protocol, ResolveId, Resolved,
        TransportError,
    },
    time::{Instant, earliest},
};
use drywire_system::{is_peers_own, tcp_socket, transport_error};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
};

/// Connections accepted in one turn before others get theirs.
const ACCEPT_BUDGET: usize = 32;
/// How long a listener rests after accepting failed, doubled with each failure in a row up to a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the machine's addresses are looked at, while a listener is bound to all of them.
const INTERFACES_EVERY: Duration = Duration::from_secs(30);
/// How often the swarm is told the wall clock, at most.
pub(crate) const WALL_CLOCK_EVERY: Duration = Duration::from_secs(60);

/// The task of the swarm.
pub(crate) struct SwarmDriver<R: Runtime, P: Protocol> {
    runtime: R,
    inner: Arc<Inner<P>>,
    timer: R::Timer,
    armed: Option<Instant>,
    /// When to look at the machine's addresses; never while no listener is bound to all of them.
    interfaces_due: Option<Instant>,
    listeners: Vec<Listening<R>>,
    paused: bool,
    /// Accepted in the same turn as the one that made the swarm pause. Bounded by the budget of a turn.
    kept: Vec<(R::Pipe, ConnectedPoint)>,
    dials: BTreeMap<AttemptId, Arc<Notify>>,
    /// What tasks of dials and lookups have found out. Bounded by how many the swarm lets run.
    done: Arc<Mutex<VecDeque<Done<R>>>>,
    /// What the last actions led to at once.
    reports: Vec<Report>,
}

struct Listening<R: Runtime> {
    id: ListenerId,
    listener: R::Listener,
    rest: Option<R::Timer>,
    failures: u32,
}

/// The end of a dial or a lookup.
enum Done<R: Runtime> {
    Dialed(AttemptId, Multiaddr, io::Result<R::Pipe>),
    Resolved(ResolveId, Result<Resolved, TransportError>),
}

enum Report {
    Listener(ListenerId, ListenerUpdate),
    Dialed(AttemptId, TransportError),
    Resolved(ResolveId, TransportError),
}

impl<R: Runtime, P: Protocol + Send + 'static> SwarmDriver<R, P>
where
    P::Event: Send,
{
    pub(crate) fn new(runtime: R, inner: Arc<Inner<P>>) -> Self {
        let timer = runtime.timer();
        Self {
            runtime,
            inner,
            timer,
            armed: None,
            interfaces_due: None,
            listeners: Vec::new(),
            paused: false,
            kept: Vec::new(),
            dials: BTreeMap::new(),
            done: Arc::default(),
            reports: Vec::new(),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = self.inner.clone();
        inner.router.swarm.take(cx);
        let now = self.runtime.now();
        let (accepted, mut again) = self.accept(now, cx);
        if self.timer.poll(cx).is_ready() {
            self.armed = None;
        }
        let interfaces = self.interfaces(now);
        let mut started = Vec::new();
        let mut settled = Settled::default();
        let (actions, deadline, finished) = {
            let mut state = lock(&inner.state);
            if let Some(interfaces) = interfaces {
                state.swarm.handle_interfaces(now, interfaces);
            }
            self.input(now, &mut state, accepted, &mut started, &mut settled);
            state.settle(&inner.router, None, now, &mut settled);
            let actions = core::mem::take(&mut state.actions);
            let deadline = earliest(state.swarm.poll_timeout(), self.interfaces_due);
            // What the timer is, or is about to be, armed for.
            state.wakes_at = earliest(self.armed, deadline).unwrap_or(Instant::FAR_FUTURE);
            (actions, deadline, state.finished)
        };
        for (shared, pipe) in started {
            let driver = Driver::new(self.runtime.clone(), shared, pipe, inner.clone());
            self.runtime.spawn(driver);
        }
        settled.wake_others(&inner.router);
        for action in actions {
            self.act(action);
        }
        if finished && self.listeners.is_empty() {
            self.inner.close();
            return Poll::Ready(());
        }
        again |= !self.reports.is_empty();
        again |= self.arm(deadline, cx);
        if again {
            inner.router.swarm.mark();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The addresses of the machine, if they matter and were not asked for lately.
    fn interfaces(&mut self, now: Instant) -> Option<Vec<IpAddr>> {
        let due = self.interfaces_due.filter(|due| *due <= now)?;
        self.interfaces_due = Some(due.max(now) + INTERFACES_EVERY);
        Some(self.runtime.interfaces())
    }

    /// Tells the swarm what has happened.
    fn input(
        &mut self,
        now: Instant,
        state: &mut SwarmState<P>,
        accepted: Vec<(R::Pipe, ConnectedPoint)>,
        started: &mut Vec<(Arc<Shared>, R::Pipe)>,
        settled: &mut Settled,
    ) {
        if now >= state.calendar_due {
            state.calendar_due = now + WALL_CLOCK_EVERY;
            state.swarm.handle_wall_clock(now, self.runtime.unix());
        }
        let swarm = &mut state.swarm;
        for report in self.reports.drain(..) {
            match report {
                Report::Listener(listener, update) => swarm.handle_listener(now, listener, update),
                Report::Resolved(lookup, error) => swarm.handle_resolved(now, lookup, Err(error)),
                Report::Dialed(attempt, error) => {
                    swarm.handle_dialed(now, attempt, Err(error));
                }
            }
        }
        state.take_inbox(&self.inner.router, now, settled);
        let swarm = &mut state.swarm;
        let done = core::mem::take(&mut *lock(&self.done));
        for done in done {
            match done {
                Done::Resolved(lookup, result) => swarm.handle_resolved(now, lookup, result),
                Done::Dialed(attempt, address, result) => {
                    self.dials.remove(&attempt);
                    match result {
                        Err(error) => {
                            swarm.handle_dialed(now, attempt, Err(transport_error(&error)));
                        }
                        Ok(pipe) => {
                            let local = pipe.local_addr().map(Multiaddr::from_tcp);
                            let point = ConnectedPoint::dialed(address, local);
                            if let Some(start) = swarm.handle_dialed(now, attempt, Ok(point)) {
                                started.push((register(&self.inner.router, now, start), pipe));
                            }
                        }
                    }
                }
            }
        }
        for (pipe, point) in accepted {
            if !swarm.is_accepting() {
                self.kept.push((pipe, point));
                continue;
            }
            // Refused means as if it had never come: the socket closes, and the swarm counts.
            if let Ok(start) = swarm.handle_accept(now, point) {
                started.push((register(&self.inner.router, now, start), pipe));
            }
        }
        swarm.handle_timeout(now);
    }

    /// Accepts what waits at the listeners, unless paused; and whether it stopped on its budget.
    fn accept(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> (Vec<(R::Pipe, ConnectedPoint)>, bool) {
        let mut accepted = Vec::new();
        if self.paused {
            return (accepted, false);
        }
        accepted.append(&mut self.kept);
        let mut attempts: usize = 0;
        for listening in &mut self.listeners {
            if let Some(rest) = &mut listening.rest {
                if rest.poll(cx).is_pending() {
                    continue;
                }
                listening.rest = None;
            }
            loop {
                if accepted.len() >= ACCEPT_BUDGET || attempts >= ACCEPT_BUDGET {
                    return (accepted, true);
                }
                attempts = attempts.saturating_add(1);
                match listening.listener.poll_accept(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok((pipe, remote))) => {
                        listening.failures = 0;
                        let local = pipe.local_addr().map(Multiaddr::from_tcp);
                        accepted.push((
                            pipe,
                            ConnectedPoint::accepted(Multiaddr::from_tcp(remote), local),
                        ));
                    }
                    // Whoever it was has gone again. That is no failure of the listener.
                    Poll::Ready(Err(error)) if is_peers_own(&error) => {}
                    Poll::Ready(Err(error)) => {
                        let pause = ACCEPT_PAUSE
                            .saturating_mul(1 << listening.failures.min(5))
                            .min(Duration::from_secs(1));
                        listening.failures = listening.failures.saturating_add(1);
                        let mut rest = self.runtime.timer();
                        rest.arm(now + pause);
                        // It is in the future, so this arms it and no more.
                        let _ = rest.poll(cx);
                        listening.rest = Some(rest);
                        let update = ListenerUpdate::AcceptFailed(transport_error(&error));
                        self.reports.push(Report::Listener(listening.id, update));
                        break;
                    }
                }
            }
        }
        (accepted, false)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { attempt, address } => self.dial(attempt, address),
            Action::CancelDial { attempt } => {
                if let Some(cancel) = self.dials.remove(&attempt) {
                    cancel.notify();
                }
            }
            Action::Listen { listener, address } => self.listen(listener, &address),
            Action::StopListen { listener } => {
                self.listeners.retain(|listening| listening.id != listener);
                self.reports
                    .push(Report::Listener(listener, ListenerUpdate::Closed(None)));
            }
            Action::Resolve { lookup, name, kind } => self.resolve(lookup, &name, kind),
            Action::PauseAccept => self.paused = true,
            Action::ResumeAccept => {
                self.paused = false;
                // To poll the listeners again.
                self.inner.router.swarm.notify();
            }
            unknown => {
                let now = self.runtime.now();
                lock(&self.inner.state)
                    .swarm
                    .handle_unsupported(now, unknown);
                self.inner.router.swarm.notify();
            }
        }
    }

    fn listen(&mut self, id: ListenerId, address: &Multiaddr) {
        let bound = tcp_socket(address, |name| self.runtime.interface_index(name))
            .ok_or(TransportError::Unsupported)
            .and_then(|socket| {
                let listener = self
                    .runtime
                    .listen(socket)
                    .map_err(|error| transport_error(&error))?;
                let local = listener
                    .local_addr()
                    .map_err(|error| transport_error(&error))?;
                Ok((listener, Multiaddr::from_tcp(local)))
            });
        let update = match bound {
            Ok((listener, bound)) => {
                if bound.is_unspecified() {
                    self.interfaces_due = Some(Instant::ZERO);
                }
                self.listeners.push(Listening {
                    id,
                    listener,
                    rest: None,
                    failures: 0,
                });
                ListenerUpdate::Bound(bound)
            }
            Err(error) => ListenerUpdate::Closed(Some(error)),
        };
        self.reports.push(Report::Listener(id, update));
    }

    fn dial(&mut self, attempt: AttemptId, address: Multiaddr) {
        let interface = |name: &str| self.runtime.interface_index(name);
        let Some(socket) = tcp_socket(&address, interface) else {
            self.reports
                .push(Report::Dialed(attempt, TransportError::Unsupported));
            return;
        };
        let cancel = Arc::new(Notify::default());
        self.dials.insert(attempt, cancel.clone());
        let (connect, done, router) = (
            self.runtime.connect(socket),
            self.done.clone(),
            self.inner.router.clone(),
        );
        self.runtime.spawn(async move {
            let mut connect = pin!(connect);
            let result = poll_fn(|cx| {
                if cancel.take_notified(cx) {
                    return Poll::Ready(None);
                }
                connect.as_mut().poll(cx).map(Some)
            });
            if let Some(result) = result.await {
                lock(&done).push_back(Done::Dialed(attempt, address, result));
                router.swarm.notify();
            }
        });
    }

    fn resolve(&mut self, lookup: ResolveId, name: &str, kind: LookupKind) {
        let family: fn(&IpAddr) -> bool = match kind {
            LookupKind::Ip => |_| true,
            LookupKind::Ip4 => IpAddr::is_ipv4,
            LookupKind::Ip6 => IpAddr::is_ipv6,
            LookupKind::Text => {
                let query = self.runtime.lookup_txt(name);
                return self.look_up(lookup, async { query.await.map(Resolved::Text) });
            }
            _ => {
                self.reports
                    .push(Report::Resolved(lookup, TransportError::Unsupported));
                return;
            }
        };
        let query = self.runtime.lookup(name);
        self.look_up(lookup, async move {
            let mut addresses = query.await?;
            addresses.retain(family);
            Ok(Resolved::Addresses(addresses))
        });
    }

    fn look_up(
        &self,
        lookup: ResolveId,
        query: impl Future<Output = io::Result<Resolved>> + Send + 'static,
    ) {
        let (done, router) = (self.done.clone(), self.inner.router.clone());
        self.runtime.spawn(async move {
            let result = query.await.map_err(|error| transport_error(&error));
            lock(&done).push_back(Done::Resolved(lookup, result));
            router.swarm.notify();
        });
    }

    /// Sees to it that the timer fires at `deadline` or before; whether it has fired by now.
    fn arm(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) =
            deadline.filter(|deadline| self.armed.is_none_or(|armed| *deadline < armed))
        else {
            return false;
        };
        self.timer.arm(deadline);
        self.armed = Some(deadline);
        let fired = self.timer.poll(cx).is_ready();
        if fired {
            self.armed = None;
        }
        fired
    }
}

/// Makes a connection known, at once: the swarm's next word may be a message to it.
fn register(router: &Arc<Router>, now: Instant, start: ConnectionStart) -> Arc<Shared> {
    let shared = Shared::new(router.clone(), start.start(now));
    router.add(&shared);
    shared
}

impl<R: Runtime, P: Protocol> Unpin for SwarmDriver<R, P> {}

impl<R: Runtime, P: Protocol + Send + 'static> Future for SwarmDriver<R, P>
where
    P::Event: Send,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turn(cx)
    }
}

impl<R: Runtime, P: Protocol> Drop for SwarmDriver<R, P> {
    fn drop(&mut self) {
        // Reached early if the runtime drops its tasks: nobody may wait for ever because of that.
        self.inner.close();
    }
}
