//! Waiting for room for one more stream: not for ever, and not everybody.

use crate::{
    connection::{Phase, Shared, State},
    error::OpenStreamError,
    stream::Stream,
};
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::{
    connection::{OpenError, OpenOptions, StreamId, StreamKind},
    multistream::ProtocolName,
    time::Instant,
};
use std::{collections::BTreeMap, sync::Arc};

/// Opens that may wait on one connection; one more is refused.
const MAX_WAITING: usize = 1024;

/// A place in the queue: the earliest deadline is first.
type Ticket = (Instant, u64);

/// Those who wait to open a stream on one connection.
#[derive(Default)]
pub(crate) struct Openers {
    waiting: BTreeMap<Ticket, Waker>,
    tickets: u64,
}

impl Openers {
    /// When the first of them gives up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes those whose time is up: they will see that themselves.
    pub(crate) fn wake_expired(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            wakers.push(first.remove());
        }
    }

    /// Takes everybody: there may be room, or never will be.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(core::mem::take(&mut self.waiting).into_values());
    }

    /// Waits, in the old place if there is one; false if too many do.
    fn wait(&mut self, ticket: &mut Option<Ticket>, deadline: Instant, cx: &Context<'_>) -> bool {
        if self.waiting.len() >= MAX_WAITING
            && !ticket.is_some_and(|ticket| self.waiting.contains_key(&ticket))
        {
            return false;
        }
        let ticket = *ticket.get_or_insert_with(|| {
            self.tickets = self.tickets.wrapping_add(1);
            (deadline, self.tickets)
        });
        self.waiting.insert(ticket, cx.waker().clone());
        true
    }
}

/// Opens a stream of the application's as soon as there is room for one more.
pub(crate) struct Open<'a> {
    shared: &'a Arc<Shared>,
    name: &'a ProtocolName,
    /// When to give up.
    deadline: Instant,
    ticket: Option<Ticket>,
}

impl<'a> Open<'a> {
    pub(crate) const fn new(
        shared: &'a Arc<Shared>,
        name: &'a ProtocolName,
        deadline: Instant,
    ) -> Self {
        Self {
            shared,
            name,
            deadline,
            ticket: None,
        }
    }

    /// `None` if there is no room yet.
    fn try_open(
        state: &mut State,
        now: Instant,
        name: &ProtocolName,
    ) -> Option<Result<StreamId, OpenStreamError>> {
        match &state.phase {
            Phase::Starting => return None,
            Phase::Closed(_) => return Some(Err(OpenStreamError::NotConnected)),
            Phase::Established => {}
        }
        let names = core::slice::from_ref(name);
        let opened = state
            .connection
            .open(now, names, StreamKind::Raw, OpenOptions::default());
        match opened {
            Ok(id) => {
                state.streams.insert(id, false);
                Some(Ok(id))
            }
            Err(OpenError::TooManyStreams) => None,
            Err(OpenError::NotConnected | OpenError::GoingAway | OpenError::Exhausted) => {
                Some(Err(OpenStreamError::NotConnected))
            }
            Err(error) => Some(Err(OpenStreamError::Open(error))),
        }
    }
}

impl Future for Open<'_> {
    type Output = Result<Stream, OpenStreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let now = this.shared.router.now();
        let opened = this.shared.with(|state| {
            if let Some(opened) = Self::try_open(state, now, this.name) {
                return Some(opened);
            }
            if now >= this.deadline {
                return Some(Err(OpenStreamError::TimedOut));
            }
            let waits = state.openers.wait(&mut this.ticket, this.deadline, cx);
            (!waits).then_some(Err(OpenStreamError::Open(OpenError::TooManyStreams)))
        });
        match opened {
            None => Poll::Pending,
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(id)) => {
                let shared = this.shared.clone();
                // Established, so the peer is known.
                let peer = shared.peer.get().cloned();
                Poll::Ready(peer.map_or(Err(OpenStreamError::NotConnected), |peer| {
                    Ok(Stream::new(shared, id, peer, this.name.clone()))
                }))
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // The waker is dropped outside the lock.
            let waker = self
                .shared
                .with(|state| state.openers.waiting.remove(&ticket));
            drop(waker);
        }
    }
}
