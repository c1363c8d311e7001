//! What the handles of a host and the swarm's driver share.

use crate::{connection::Shared, events::EventQueue, host::Dialed, notify::lock, router::Router};
use core::{
    sync::atomic::AtomicUsize,
    task::{Context, Poll, Waker},
};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    swarm::{Action, DialError, DialId, Event, ListenerId, Protocol, Swarm, TransportError},
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
    pub(crate) dials: BTreeMap<DialId, Pending<Dialed, DialError>>,
    pub(crate) listens: BTreeMap<ListenerId, Pending<Multiaddr, TransportError>>,
    /// Who waits for the end.
    pub(crate) shutdown: Vec<Waker>,
    /// The swarm has said its last word.
    pub(crate) finished: bool,
    /// The swarm's task has ended.
    pub(crate) closed: bool,
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
    pub(crate) fn new(swarm: Swarm<P>) -> Self {
        Self {
            swarm,
            actions: VecDeque::new(),
            events: EventQueue::new(),
            dials: BTreeMap::new(),
            listens: BTreeMap::new(),
            shutdown: Vec::new(),
            finished: false,
            closed: false,
        }
    }

    /// Puts the swarm's messages into the inboxes of their connections, and its other actions where its driver finds
    /// them; whom to notify once the swarm is unlocked.
    ///
    /// It happens under the lock, so that messages keep their order whoever carries them.
    pub(crate) fn carry(&mut self, router: &Router) -> Vec<Arc<Shared>> {
        let mut told = Vec::new();
        while let Some(action) = self.swarm.poll_action() {
            match action {
                Action::ToConnection(id, message) => {
                    if let Some(shared) = router.connection(id) {
                        shared.deliver(message);
                        told.push(shared);
                    }
                }
                other => self.actions.push_back(other),
            }
        }
        told
    }

    /// Answers those who wait for the event, then passes it on.
    pub(crate) fn handle_event(&mut self, event: Event<P::Event>, wakers: &mut Vec<Waker>) {
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
    /// Works on the swarm, hands its messages to the connections, and wakes the drivers. What was said to the swarm holds
    /// for everything that connections receive after this has returned.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut SwarmState<P>) -> T) -> T {
        let (result, told) = {
            let mut state = lock(&self.state);
            let result = f(&mut state);
            (result, state.carry(&self.router))
        };
        told.iter().for_each(|shared| shared.notify.notify());
        self.router.swarm.notify();
        result
    }

    /// The swarm's task is gone: nothing that waits for it will be answered.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.state);
            state.closed = true;
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
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn begin_shutdown(&self) {
        let now = self.router.now();
        self.with(|state| state.swarm.shutdown(now));
    }
}
