//! One protocol of a set, as a value.

use super::{Context, Protocol, ProtocolSet, macros::first_slot};
use core::fmt;

/// Takes an event of `F` out of one of `P`, or gives that back.
type TakeEvent<P, F> =
    fn(<P as Protocol>::Event) -> Result<<F as Protocol>::Event, <P as Protocol>::Event>;

/// Where in a set `P` of protocols the protocol `F` is: how to reach it, with its own context, and which of the set's
/// events are its own.
///
/// [`protocols!`](crate::protocols) makes one for each field, as a constant named like the field's variant. Code that works
/// on one protocol takes a `Part`, and so runs with every set that has that protocol, once or several times; with
/// [`Part::whole`] it runs where that protocol is all there is.
///
/// ```
/// use drywire::{
///     connection::Slot,
///     protocols,
///     swarm::{Context, Input, Part, Protocol},
///     time::Instant,
/// };
///
/// /// Counts, and tells.
/// #[derive(Debug, Default)]
/// pub struct Count(u64);
///
/// impl Count {
///     fn add(&mut self, cx: &mut Context<'_, u64>) -> u64 {
///         self.0 += 1;
///         cx.emit(self.0);
///         self.0
///     }
/// }
/// # impl Protocol for Count {
/// #     type Event = u64;
/// #     fn start(&mut self, _: &mut Context<'_, u64>) {}
/// #     fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, u64>) {}
/// #     fn poll_timeout(&self) -> Option<Instant> { None }
/// # }
///
/// protocols! {
///     /// Two counters.
///     #[derive(Debug, Default)]
///     pub struct Counters => CountersEvent {
///         left: Count => Left,
///         right: Count => Right,
///     }
/// }
///
/// /// Works for both, and for sets not yet written.
/// fn add_two<P: Protocol>(count: Part<P, Count>, set: &mut P, cx: &mut Context<'_, P::Event>) -> u64 {
///     count.with(set, cx, |count, cx| count.add(cx));
///     count.with(set, cx, |count, cx| count.add(cx))
/// }
///
/// # use drywire::{identity::Keypair, seed::Seed, swarm::{Config, Event, SecurityConfig, Swarm}, time::UnixTime};
/// # let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(1));
/// # let config = Config::new(SecurityConfig::InsecurePlaintext);
/// # let (now, unix) = (Instant::ZERO, UnixTime::EPOCH);
/// # let mut swarm = Swarm::new(config, keypair, Counters::default(), Seed::for_tests(2), now, unix)?;
/// let right = swarm.with(now, |set, cx| add_two(Counters::Right, set, cx));
/// assert_eq!(right, 2);
///
/// let Some(Event::Protocol(event)) = swarm.poll_event() else { unreachable!() };
/// let event = Counters::Left.event(event).expect_err("it is the other one's");
/// assert_eq!(Counters::Right.event(event).ok(), Some(1));
/// # Ok::<(), drywire::security::Error>(())
/// ```
pub struct Part<P: Protocol, F: Protocol> {
    /// The field's first slot, counted within the set.
    first: u16,
    name: &'static str,
    field: fn(&mut P) -> &mut F,
    wrap: fn(F::Event) -> P::Event,
    event: TakeEvent<P, F>,
}

impl<P: Protocol> Part<P, P> {
    /// All there is: for a host that runs a single protocol.
    #[must_use]
    pub const fn whole() -> Self {
        Self {
            first: 0,
            name: "",
            field: |whole| whole,
            wrap: |event| event,
            event: Ok,
        }
    }
}

impl<P: Protocol, F: Protocol> Part<P, F> {
    /// The field called `name`: what [`protocols!`](crate::protocols) calls.
    #[doc(hidden)]
    #[must_use]
    pub const fn of_set(
        name: &'static str,
        field: fn(&mut P) -> &mut F,
        wrap: fn(F::Event) -> P::Event,
        event: TakeEvent<P, F>,
    ) -> Self
    where
        P: ProtocolSet,
    {
        Self {
            first: first_slot(P::FIELDS, name),
            name,
            field,
            wrap,
            event,
        }
    }

    /// A part of this part, which is a set itself. Where it is must be said once more, as plain functions cannot be made
    /// out of others: `field` leads from the outer set to the inner protocol, `wrap` makes events of the outer set out of
    /// the inner protocol's, and `event` takes them out again.
    ///
    /// ```
    /// # use drywire::{connection::Slot, protocols, swarm::{Context, Input, Part, Protocol}, time::Instant};
    /// # #[derive(Debug, Default)]
    /// # pub struct Count;
    /// # impl Protocol for Count {
    /// #     type Event = u64;
    /// #     fn start(&mut self, _: &mut Context<'_, u64>) {}
    /// #     fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, u64>) {}
    /// #     fn poll_timeout(&self) -> Option<Instant> { None }
    /// # }
    /// protocols! {
    ///     pub struct Inner => InnerEvent { count: Count => Count }
    /// }
    /// protocols! {
    ///     pub struct Outer => OuterEvent { first: Count => First, inner: Inner => Inner }
    /// }
    ///
    /// const COUNT: Part<Outer, Count> = Outer::Inner.nested(
    ///     Inner::Count,
    ///     |outer| &mut outer.inner.count,
    ///     |event| OuterEvent::Inner(InnerEvent::Count(event)),
    ///     |event| match event {
    ///         OuterEvent::Inner(InnerEvent::Count(event)) => Ok(event),
    ///         other => Err(other),
    ///     },
    /// );
    /// assert!(COUNT.event(OuterEvent::Inner(InnerEvent::Count(7))).is_ok());
    /// assert!(COUNT.event(OuterEvent::First(7)).is_err());
    /// ```
    #[must_use]
    pub const fn nested<G: Protocol>(
        self,
        inner: Part<F, G>,
        field: fn(&mut P) -> &mut G,
        wrap: fn(G::Event) -> P::Event,
        event: TakeEvent<P, G>,
    ) -> Part<P, G> {
        Part {
            first: self.first.saturating_add(inner.first),
            name: inner.name,
            field,
            wrap,
            event,
        }
    }

    /// Runs a command of the protocol, with its own context.
    pub fn with<R>(
        &self,
        set: &mut P,
        cx: &mut Context<'_, P::Event>,
        run: impl FnOnce(&mut F, &mut Context<'_, F::Event>) -> R,
    ) -> R {
        let field = (self.field)(set);
        cx.scoped(self.first, self.name, self.wrap, |cx| run(field, cx))
    }

    /// The protocol's event, out of one of the set.
    ///
    /// # Errors
    /// The set's event, if it is another protocol's.
    pub fn event(&self, event: P::Event) -> Result<F::Event, P::Event> {
        (self.event)(event)
    }

    /// The set's event that holds one of the protocol: what [`event`](Self::event) takes apart.
    #[must_use]
    pub fn wrap(&self, event: F::Event) -> P::Event {
        (self.wrap)(event)
    }
}

impl<P: Protocol, F: Protocol> Clone for Part<P, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Protocol, F: Protocol> Copy for Part<P, F> {}

impl<P: Protocol, F: Protocol> fmt::Debug for Part<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("first", &self.first)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
