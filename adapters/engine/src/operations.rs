//! Operations: what a protocol does on somebody's behalf, tells of by events, and gives up when nobody wants it any more.

use crate::{
    host::Host,
    notify::{lock, replace_waker},
    state::{Inner, Settled},
    taps::Tap,
};
use core::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use drywire::swarm::{self, Part, Protocol, StreamRef};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

/// A protocol whose commands begin operations: each has a name, tells of itself by events, of which one is the last, and
/// can be given up. With this, a [`Host`] turns operations into futures and streams, see [`Host::operations`].
///
/// The last event must come for every operation that is not given up, be it of a failure. Operations are therefore bounded
/// in number by the protocol, which begins one only if it has room for it.
pub trait Operating: Protocol {
    /// Names an operation. Never reused.
    type Id: Copy + Ord + Send + 'static;

    /// The operation an event is of, and whether it is the last of it. `None` for an event of no operation.
    fn operation(event: &Self::Event) -> Option<(Self::Id, bool)>;

    /// Gives an operation up, if it goes on: no more events of it come, not even a last one.
    fn give_up(&mut self, id: Self::Id, cx: &mut swarm::Context<'_, Self::Event>);

    /// The stream that was handed over to the host together with this event, if one was: it is reset if nobody gets the
    /// event.
    fn handed_over(event: &Self::Event) -> Option<StreamRef> {
        let _ = event;
        None
    }
}

/// Begins operations of one protocol of a host, see [`Host::operations`]. Clones share everything. It does not keep the host
/// running.
pub struct Operations<P: Protocol, F: Operating> {
    pub(crate) inner: Arc<Inner<P>>,
    pub(crate) part: Part<P, F>,
    tap: Arc<OperationTap<P, F>>,
}

/// An operation under way: the stream of its events, at most so many of which wait. Dropping it gives the operation up.
///
/// If it is not read fast enough the oldest events are dropped, and [counted](Self::dropped), but never the last one.
#[must_use = "the operation is given up once this is dropped"]
pub struct Operation<P: Protocol + Send + 'static, F: Operating + 'static> {
    operations: Operations<P, F>,
    id: F::Id,
    /// The last event was given out, or never comes.
    done: bool,
}

/// Why no operation was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginError<E> {
    /// The protocol refused.
    Refused(E),
    /// The host has shut down.
    HostClosed,
}

impl<E: fmt::Display> fmt::Display for BeginError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::HostClosed => f.write_str("the host has shut down"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for BeginError<E> {}

struct OperationTap<P: Protocol, F: Operating> {
    part: Part<P, F>,
    table: Mutex<Table<F::Id, F::Event>>,
}

/// The operations somebody waits for.
struct Table<I, E> {
    waiting: BTreeMap<I, Slot<E>>,
    /// The host is gone.
    closed: bool,
}

/// What has come of an operation. An operation of a single event costs no memory but this.
struct Slot<E> {
    events: VecDeque<E>,
    capacity: usize,
    dropped: u64,
    last: Option<E>,
    waker: Option<Waker>,
}

impl<E> Slot<E> {
    /// Keeps an event; what had to go for it.
    fn push(&mut self, event: E, last: bool) -> Option<E> {
        if last {
            return self.last.replace(event);
        }
        let room = self.events.len() < self.capacity;
        let oldest = if room { None } else { self.events.pop_front() };
        if !room {
            self.dropped = self.dropped.saturating_add(1);
        }
        if self.capacity == 0 {
            return Some(event);
        }
        self.events.push_back(event);
        oldest
    }
}

impl<P, F> Tap<P::Event> for OperationTap<P, F>
where
    P: Protocol,
    F: Operating + 'static,
    F::Event: Send,
{
    fn event(&self, event: P::Event, settled: &mut Settled) -> Option<P::Event> {
        let event = match self.part.event(event) {
            Ok(event) => event,
            Err(other) => return Some(other),
        };
        let Some((id, last)) = F::operation(&event) else {
            return Some(self.part.wrap(event));
        };
        let mut table = lock(&self.table);
        let Some(slot) = table.waiting.get_mut(&id) else {
            return Some(self.part.wrap(event));
        };
        settled.wake_later(slot.waker.take());
        let gone = slot.push(event, last);
        drop(table);
        if let Some(gone) = gone {
            settled.discard(F::handed_over(&gone));
            settled.drop_later(gone);
        }
        None
    }

    fn is_idle(&self) -> bool {
        // Whoever waits has a share in it.
        true
    }

    fn close(&self, settled: &mut Settled) {
        let mut table = lock(&self.table);
        table.closed = true;
        for slot in table.waiting.values_mut() {
            settled.wake_later(slot.waker.take());
        }
    }
}

impl<P> Host<P>
where
    P: Protocol + Send + 'static,
    P::Event: Send,
{
    /// Operations of one protocol of the set as futures and streams. Events of operations that are begun in other ways are
    /// not concerned, and appear among [`events`](Self::events).
    ///
    /// ```
    /// use drywire::{
    ///     connection::Slot,
    ///     swarm::{Context, Input, Part, Protocol},
    ///     time::Instant,
    /// };
    /// use drywire_engine::{Host, Operating};
    ///
    /// /// Counts down, a step at a time.
    /// #[derive(Default)]
    /// struct Countdown {
    ///     begun: u64,
    ///     running: Vec<(u64, u32)>,
    /// }
    ///
    /// impl Countdown {
    ///     fn begin(&mut self, from: u32) -> Result<u64, String> {
    ///         if self.running.len() >= 100 {
    ///             return Err("too many".to_owned());
    ///         }
    ///         self.begun += 1;
    ///         self.running.push((self.begun, from));
    ///         Ok(self.begun)
    ///     }
    /// }
    ///
    /// impl Protocol for Countdown {
    ///     /// Which one, and where it is.
    ///     type Event = (u64, u32);
    ///
    ///     fn start(&mut self, _: &mut Context<'_, Self::Event>) {}
    ///
    ///     fn handle(&mut self, _: Slot, _: Input<'_>, cx: &mut Context<'_, Self::Event>) {
    ///         for (id, at) in &mut self.running {
    ///             cx.emit((*id, *at));
    ///             *at = at.saturating_sub(1);
    ///         }
    ///         self.running.retain(|(_, at)| *at > 0);
    ///     }
    ///
    ///     fn poll_timeout(&self) -> Option<Instant> {
    ///         (!self.running.is_empty()).then_some(Instant::ZERO)
    ///     }
    /// }
    ///
    /// impl Operating for Countdown {
    ///     type Id = u64;
    ///
    ///     fn operation((id, at): &Self::Event) -> Option<(u64, bool)> {
    ///         Some((*id, *at == 1))
    ///     }
    ///
    ///     fn give_up(&mut self, id: u64, _: &mut Context<'_, Self::Event>) {
    ///         self.running.retain(|(running, _)| *running != id);
    ///     }
    /// }
    ///
    /// let mut world = drywire_sim::World::new(1);
    /// let runtime = world.add_runtime("machine")?;
    /// let steps = world.block_on(async {
    ///     let host = Host::builder(runtime, Countdown::default()).start()?;
    ///     let countdowns = host.operations(Part::whole());
    ///     let mut countdown = countdowns.begin(16, |protocol, _| protocol.begin(3))?;
    ///     let mut steps = Vec::new();
    ///     while let Some((_, at)) = countdown.next().await {
    ///         steps.push(at);
    ///     }
    ///     Ok::<_, Box<dyn core::error::Error>>(steps)
    /// })??;
    /// assert_eq!(steps, [3, 2, 1]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn operations<F>(&self, part: Part<P, F>) -> Operations<P, F>
    where
        F: Operating + 'static,
        F::Event: Send,
    {
        let tap = Arc::new(OperationTap {
            part,
            table: Mutex::new(Table {
                waiting: BTreeMap::new(),
                closed: false,
            }),
        });
        let inner = self.inner.clone();
        inner.add_tap(tap.clone());
        Operations { inner, part, tap }
    }
}

impl<P, F> Operations<P, F>
where
    P: Protocol + Send + 'static,
    F: Operating + 'static,
{
    /// Runs a command that begins an operation. At most `capacity` of its events will wait, besides the last one; 0 is enough
    /// for operations of which only the end matters.
    ///
    /// The swarm stands still meanwhile, as for [`Host::with`].
    ///
    /// # Errors
    /// What the command says; or that the host has shut down.
    pub fn begin<E>(
        &self,
        capacity: usize,
        command: impl FnOnce(&mut F, &mut swarm::Context<'_, F::Event>) -> Result<F::Id, E>,
    ) -> Result<Operation<P, F>, BeginError<E>> {
        let now = self.inner.router.now();
        let id = self.inner.with(now, |state| {
            if state.closed {
                return Err(BeginError::HostClosed);
            }
            let begun = state
                .swarm
                .with(now, |set, cx| self.part.with(set, cx, command));
            let id = begun.map_err(BeginError::Refused)?;
            let slot = Slot {
                events: VecDeque::new(),
                capacity,
                dropped: 0,
                last: None,
                waker: None,
            };
            // Before anything that happens now is handed out.
            lock(&self.tap.table).waiting.insert(id, slot);
            Ok(id)
        })?;
        Ok(Operation {
            operations: self.clone(),
            id,
            done: false,
        })
    }

    /// Whether the host has been told to shut down: what fails from then on fails for that.
    pub(crate) fn is_closing(&self) -> bool {
        let state = lock(&self.inner.state);
        state.closed || state.swarm.is_shutting_down()
    }

    /// Runs a command that begins no operation. The swarm stands still meanwhile, as for [`Host::with`].
    pub fn with<R>(
        &self,
        command: impl FnOnce(&mut F, &mut swarm::Context<'_, F::Event>) -> R,
    ) -> R {
        let now = self.inner.router.now();
        self.inner.with(now, |state| {
            let swarm = &mut state.swarm;
            swarm.with(now, |set, cx| self.part.with(set, cx, command))
        })
    }
}

impl<P, F> Operation<P, F>
where
    P: Protocol + Send + 'static,
    F: Operating + 'static,
{
    /// Its name.
    #[must_use]
    pub fn id(&self) -> F::Id {
        self.id
    }

    /// Waits for the next event; `None` after the last one, or if the host has shut down. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<F::Event> {
        poll_fn(|cx| self.poll(cx)).await.map(|(event, _)| event)
    }

    /// Waits for the last event, and passes over the others; `None` if the host has shut down. Dropping the future gives the
    /// operation up.
    pub async fn last(mut self) -> Option<F::Event> {
        loop {
            match poll_fn(|cx| self.poll(cx)).await? {
                (event, true) => return Some(event),
                (passed_over, false) => {
                    if let Some(stream) = F::handed_over(&passed_over) {
                        self.operations.inner.router.discard(stream);
                    }
                }
            }
        }
    }

    /// How many events were dropped because this was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let table = lock(&self.operations.tap.table);
        table.waiting.get(&self.id).map_or(0, |slot| slot.dropped)
    }

    /// The next event, and whether it is the last one.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<(F::Event, bool)>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut table = lock(&self.operations.tap.table);
        let closed = table.closed;
        let Some(slot) = table.waiting.get_mut(&self.id) else {
            return Poll::Ready(None);
        };
        if let Some(event) = slot.events.pop_front() {
            return Poll::Ready(Some((event, false)));
        }
        let last = slot.last.take();
        if last.is_some() || closed {
            self.done = true;
            let slot = table.waiting.remove(&self.id);
            drop(table);
            drop(slot);
            return Poll::Ready(last.map(|event| (event, true)));
        }
        let other = replace_waker(&mut slot.waker, cx);
        drop(table);
        drop(other);
        Poll::Pending
    }
}

impl<P, F> Drop for Operation<P, F>
where
    P: Protocol + Send + 'static,
    F: Operating + 'static,
{
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let Operations { inner, part, tap } = &self.operations;
        let now = inner.router.now();
        // Under the swarm's lock, so that no event comes after that.
        let slot = inner.with(now, |state| {
            let slot = lock(&tap.table).waiting.remove(&self.id);
            if slot.as_ref().is_some_and(|slot| slot.last.is_none()) {
                state.swarm.with(now, |set, cx| {
                    part.with(set, cx, |field, cx| field.give_up(self.id, cx));
                });
            }
            slot
        });
        let Some(slot) = slot else {
            return;
        };
        for event in slot.events.iter().chain(&slot.last) {
            if let Some(stream) = F::handed_over(event) {
                inner.router.discard(stream);
            }
        }
    }
}

impl<P, F> futures_core::Stream for Operation<P, F>
where
    P: Protocol + Send + 'static,
    F: Operating + 'static,
{
    type Item = F::Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|next| next.map(|(event, _)| event))
    }
}

/// Nothing of an operation is pinned.
impl<P: Protocol + Send + 'static, F: Operating + 'static> Unpin for Operation<P, F> {}

impl<P: Protocol, F: Operating> Clone for Operations<P, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            part: self.part,
            tap: self.tap.clone(),
        }
    }
}

impl<P: Protocol, F: Operating> fmt::Debug for Operations<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl<P, F> fmt::Debug for Operation<P, F>
where
    P: Protocol + Send + 'static,
    F: Operating + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("part", &self.operations.part)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
