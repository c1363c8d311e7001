//! What the application answers a request with.

use super::InboundRequestId;
use alloc::sync::Arc;
use core::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
    task::Waker,
};

const OPEN: u8 = 0;
/// The protocol expects nothing of it any more.
const CLOSED: u8 = 1;
/// The application has dropped it.
const DROPPED: u8 = 2;

/// Counts the channels that the application has dropped, for one protocol.
pub(super) type Drops = Arc<AtomicUsize>;

/// What a channel and the protocol share.
#[derive(Debug)]
pub(super) struct Shared {
    state: AtomicU8,
    drops: Drops,
    waker: Option<Waker>,
}

impl Shared {
    pub(super) fn new(drops: &Drops, waker: Option<Waker>) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(OPEN),
            drops: drops.clone(),
            waker,
        })
    }

    pub(super) fn close(&self) {
        // A drop that came first has been counted, and will be looked for in vain.
        self.state.store(CLOSED, Ordering::Release);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.state.load(Ordering::Acquire) == DROPPED
    }
}

/// The way to answer one request: give it to [`send_response`](super::RequestResponse::send_response).
///
/// Dropping it says that there will be no answer: the peer sees the end of the stream at once, and the application gets
/// [`ResponseOmission`](super::InboundFailure::ResponseOmission). A machine cannot act by itself: the drop takes effect
/// when the host calls the swarm next, and its `poll_timeout` says now. A host that sleeps elsewhere gives the swarm a
/// [waker](crate::swarm::Swarm::set_waker).
#[must_use = "dropping it tells the peer that there is no response"]
pub struct ResponseChannel<R> {
    ticket: Ticket,
    response: PhantomData<fn(R)>,
}

/// A channel, whatever is answered.
struct Ticket {
    request: InboundRequestId,
    shared: Arc<Shared>,
}

impl<R> ResponseChannel<R> {
    pub(super) const fn new(request: InboundRequestId, shared: Arc<Shared>) -> Self {
        Self {
            ticket: Ticket { request, shared },
            response: PhantomData,
        }
    }

    /// The same, for a protocol whose responses wrap those of another one, or are wrapped by them.
    pub(super) fn retyped<S>(self) -> ResponseChannel<S> {
        ResponseChannel {
            ticket: self.ticket,
            response: PhantomData,
        }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.ticket.shared
    }

    /// Whether a response is still wanted: neither has the time run out nor has the peer gone.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared().state.load(Ordering::Acquire) == OPEN
    }

    /// The request this answers.
    #[must_use]
    pub const fn request_id(&self) -> InboundRequestId {
        self.ticket.request
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (shared, order) = (&self.shared, Ordering::AcqRel);
        let was_open = shared
            .state
            .compare_exchange(OPEN, DROPPED, order, Ordering::Acquire);
        if was_open.is_ok() {
            shared.drops.fetch_add(1, Ordering::Release);
            if let Some(waker) = &shared.waker {
                waker.wake_by_ref();
            }
        }
    }
}

impl<R> fmt::Debug for ResponseChannel<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The same in every run: recordings keep what events look like.
        f.debug_struct("ResponseChannel")
            .field("request", &self.ticket.request)
            .finish_non_exhaustive()
    }
}
