//! What the handles of a host and the swarm's driver share.

use crate::{
    connection::Shared,
    events::EventQueue,
    host::Dialed,
    notify::{lock, try_lock},
    router::{FromConnection, Router},
    taps::{Tap, Taps},
};
use core::{
    sync::atomic::AtomicUsize,
    task::{Context, Poll, Waker},
};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    swarm::{
        Action, DialError, DialId, Event, ListenerId, Protocol, StreamRef, Swarm, TransportError,
    },
    time::Instant,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

/// What the handles and the swarm's driver share.
pub(crate) struct Inner<P: Protocol> {
    pub(crate) router: Arc<Router>,
    pub(crate) state: Mutex<SwarmState<P>>,
    pub(crate) peer: PeerId,
    pub(crate) handles: AtomicUsize,
}

pub(crate) struct SwarmState<P: Protocol> {
    pub(crate) swarm: Swarm<P>,
    /// What the swarm's driver is to do, in order.
    pub(crate) actions: VecDeque<Action>,
    pub(crate) events: EventQueue<P::Event>,
    pub(crate) taps: Taps<P::Event>,
    pub(crate) dials: BTreeMap<DialId, Pending<Dialed, DialError>>,
    pub(crate) listens: BTreeMap<ListenerId, Pending<Multiaddr, TransportError>>,
    /// Who waits for the end.
    pub(crate) shutdown: Vec<Waker>,
    /// When the swarm's driver wakes by itself at the latest; whoever causes an earlier deadline must wake it.
    pub(crate) wakes_at: Instant,
    /// When the swarm is to be told the calendar again, if anything happens then at all.
    pub(crate) calendar_due: Instant,
    /// The swarm has said its last word.
    pub(crate) finished: bool,
    /// The swarm's task has ended.
    pub(crate) closed: bool,
}

/// Whom to wake after work on the swarm, once it is unlocked.
#[derive(Default)]
pub(crate) struct Settled {
    /// Connections that the swarm has told something.
    told: Vec<Arc<Shared>>,
    /// Tasks of the application.
    wakers: Vec<Waker>,
    /// Streams that protocols gave to the host and nobody will take up.
    discarded: Vec<StreamRef>,
    /// What nobody gets. It is of the application's types, which may do anything as they are dropped.
    dropped: Vec<Box<dyn Dropped>>,
    /// The swarm's driver has something to do.
    driver: bool,
    /// The connection whose driver this is was told something: no need to wake it, but it must look into its inbox.
    pub(crate) answered: bool,
}

/// Anything that can be dropped wherever that may be.
trait Dropped: Send {}

impl<T: Send> Dropped for T {}

/// What is kept of the lists of [`Settled`] for the next time.
const KEPT: usize = 16;

impl Settled {
    /// A connection's driver waits for the swarm to take its messages, and it has.
    pub(crate) fn tell(&mut self, shared: Arc<Shared>) {
        self.told.push(shared);
    }

    /// A task of the application.
    pub(crate) fn wake_later(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// A stream was handed over, and will not be taken up.
    pub(crate) fn discard(&mut self, stream: Option<StreamRef>) {
        self.discarded.extend(stream);
    }

    /// Drops a value once the swarm is unlocked.
    pub(crate) fn drop_later(&mut self, value: impl Send + 'static) {
        self.dropped.push(Box::new(value));
    }

    /// Wakes everybody but the swarm's driver; whether there were tasks of the application among them. The swarm is
    /// unlocked.
    pub(crate) fn wake_others(&mut self, router: &Router) -> bool {
        for stream in self.discarded.drain(..) {
            router.discard(stream);
        }
        self.told
            .drain(..)
            .for_each(|shared| shared.notify.notify());
        let woke = !self.wakers.is_empty();
        self.wakers.drain(..).for_each(Waker::wake);
        drop(core::mem::take(&mut self.dropped));
        self.told.shrink_to(KEPT);
        self.wakers.shrink_to(KEPT);
        woke
    }

    /// Wakes everybody; whether there were tasks of the application among them. The swarm is unlocked.
    pub(crate) fn wake(&mut self, router: &Router) -> bool {
        if core::mem::take(&mut self.driver) {
            router.swarm.notify();
        }
        self.wake_others(router)
    }
}

/// The swarm as the drivers of connections see it, whatever its protocols.
pub(crate) trait Port: Send + Sync {
    /// Gives the swarm messages of a connection, which is not locked. If nobody is at work on the swarm it takes them at
    /// once, after those that wait already, and all that comes of it is handed out; otherwise its driver will.
    fn take(
        &self,
        now: Instant,
        from: &Arc<Shared>,
        messages: &mut Vec<FromConnection>,
        settled: &mut Settled,
    ) -> Taken;
}

/// What became of messages for the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The swarm has taken them.
    AtOnce {
        /// It has said something to the same connection.
        answered: bool,
        /// Tasks of the application were woken.
        woke: bool,
    },
    /// They wait, and its driver was woken.
    Posted,
}

impl<P: Protocol + Send> Port for Inner<P>
where
    P::Event: Send,
{
    fn take(
        &self,
        now: Instant,
        from: &Arc<Shared>,
        messages: &mut Vec<FromConnection>,
        settled: &mut Settled,
    ) -> Taken {
        let Some(mut state) = try_lock(&self.state) else {
            self.router.post(from, messages.drain(..));
            return Taken::Posted;
        };
        state.take_inbox(&self.router, now, settled);
        for message in messages.drain(..) {
            state.take(now, from, message);
        }
        settled.answered = false;
        state.settle(&self.router, Some(from), now, settled);
        drop(state);
        Taken::AtOnce {
            answered: settled.answered,
            woke: settled.wake(&self.router),
        }
    }
}

/// An answer somebody waits for.
pub(crate) struct Pending<T, E> {
    answer: Option<Result<T, E>>,
    waker: Option<Waker>,
}

impl<T, E> Default for Pending<T, E> {
    fn default() -> Self {
        Self {
            answer: None,
            waker: None,
        }
    }
}

impl<T, E> Pending<T, E> {
    fn answer(&mut self, answer: Result<T, E>, wakers: &mut Vec<Waker>) {
        self.answer = Some(answer);
        wakers.extend(self.waker.take());
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<T, E>> {
        if let Some(answer) = self.answer.take() {
            return Poll::Ready(answer);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<P: Protocol> SwarmState<P> {
    pub(crate) fn new(swarm: Swarm<P>, calendar_due: Instant) -> Self {
        Self {
            swarm,
            actions: VecDeque::new(),
            events: EventQueue::new(),
            taps: Taps::default(),
            dials: BTreeMap::new(),
            listens: BTreeMap::new(),
            shutdown: Vec::new(),
            // The driver's first turn is still to come.
            wakes_at: Instant::ZERO,
            calendar_due,
            finished: false,
            closed: false,
        }
    }

    /// The swarm takes everything that waits for it in the inbox.
    pub(crate) fn take_inbox(&mut self, router: &Router, now: Instant, settled: &mut Settled) {
        for (shared, message) in router.take_inbox() {
            self.take(now, &shared, message);
            if shared.message_taken() {
                settled.tell(shared);
            }
        }
    }

    fn take(&mut self, now: Instant, from: &Shared, message: FromConnection) {
        match message {
            FromConnection::Message(message) => self.swarm.handle_message(now, from.id, message),
            FromConnection::Closed => self.swarm.handle_closed(now, from.id),
        }
    }

    /// Carries what the swarm has to say after it was worked on: its messages into the inboxes of their connections, its
    /// events to those who wait for them, its other actions to where its driver finds them. `own` is the connection whose
    /// driver this is, if it is one: that one is told by [`Settled::answered`].
    ///
    /// It happens under the lock, so that messages and events keep their order whoever carries them.
    pub(crate) fn settle(
        &mut self,
        router: &Router,
        own: Option<&Shared>,
        now: Instant,
        settled: &mut Settled,
    ) {
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::ToConnection(id, message) => {
                    if let Some(own) = own.filter(|own| own.id == id) {
                        own.deliver(message);
                        settled.answered = true;
                    } else if let Some(last) = settled.told.last().filter(|last| last.id == id) {
                        last.deliver(message);
                    } else if let Some(shared) = router.connection(id) {
                        shared.deliver(message);
                        settled.told.push(shared);
                    }
                }
                other => self.actions.push_back(other),
            }
        }
        while let Some(event) = self.swarm.poll_event() {
            self.handle_event(event, settled);
        }
        settled.driver = self.wants_driver(now);
    }

    /// Whether the swarm's driver has something to do that nobody else can.
    fn wants_driver(&self, now: Instant) -> bool {
        !self.actions.is_empty()
            || self.finished
            || now >= self.calendar_due
            || self
                .swarm
                .poll_timeout()
                .is_some_and(|deadline| deadline < self.wakes_at)
    }

    /// Answers those who wait for the event, then passes it on.
    pub(crate) fn handle_event(&mut self, event: Event<P::Event>, settled: &mut Settled) {
        let event = match event {
            Event::Protocol(event) => match self.taps.offer(event, settled) {
                Some(event) => Event::Protocol(event),
                None => return,
            },
            event => event,
        };
        let wakers = &mut settled.wakers;
        match &event {
            Event::Dialed {
                dial,
                connection,
                peer,
            } => {
                if let Some(pending) = self.dials.get_mut(dial) {
                    let (connection, peer) = (*connection, *peer);
                    pending.answer(Ok(Dialed { connection, peer }), wakers);
                    return;
                }
            }
            Event::DialFailed { dial, error, .. } => {
                if let Some(pending) = self.dials.get_mut(dial) {
                    pending.answer(Err(error.clone()), wakers);
                    return;
                }
            }
            Event::Listening { listener, address } => {
                if let Some(pending) = self.listens.get_mut(listener) {
                    pending.answer(Ok(address.clone()), wakers);
                }
            }
            Event::ListenerClosed { listener, error } => {
                if let Some(pending) = self.listens.get_mut(listener) {
                    let error = error
                        .clone()
                        .unwrap_or_else(|| TransportError::Other("stopped".to_owned()));
                    pending.answer(Err(error), wakers);
                }
            }
            Event::ShutdownComplete => self.finished = true,
            _ => {}
        }
        self.events.push(event, wakers);
    }
}

impl<P: Protocol> Inner<P> {
    /// Works on the swarm, hands out what it has to say, and wakes who is concerned. What was said to the swarm holds for
    /// everything that connections receive after this has returned.
    pub(crate) fn with<T>(&self, now: Instant, f: impl FnOnce(&mut SwarmState<P>) -> T) -> T {
        let mut settled = Settled::default();
        let result = {
            let mut state = lock(&self.state);
            let result = f(&mut state);
            state.settle(&self.router, None, now, &mut settled);
            result
        };
        settled.wake(&self.router);
        result
    }

    /// The swarm's task is gone: nothing that waits for it will be answered.
    pub(crate) fn close(&self) {
        let mut settled = Settled::default();
        {
            let mut state = lock(&self.state);
            state.closed = true;
            state.taps.close(&mut settled);
            let wakers = &mut settled.wakers;
            state
                .dials
                .values_mut()
                .for_each(|pending| wakers.extend(pending.waker.take()));
            state
                .listens
                .values_mut()
                .for_each(|pending| wakers.extend(pending.waker.take()));
            wakers.extend(state.events.take_waker());
            wakers.append(&mut state.shutdown);
        }
        self.router.close();
        settled.wake_others(&self.router);
    }

    /// From now on, events of the protocols pass by `tap` first.
    pub(crate) fn add_tap(&self, tap: Arc<dyn Tap<P::Event>>) {
        let mut settled = Settled::default();
        {
            let mut state = lock(&self.state);
            if state.closed {
                tap.close(&mut settled);
            } else {
                state.taps.add(tap);
            }
        }
        settled.wake_others(&self.router);
    }

    pub(crate) fn begin_shutdown(&self) {
        let now = self.router.now();
        self.with(now, |state| state.swarm.shutdown(now));
    }
}
