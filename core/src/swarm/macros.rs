//! The `protocols!` macro.

/// Makes a set of protocols: a struct, the enum of its events, and its [`Protocol`](crate::swarm::Protocol)
/// implementation. The same type may occur several times, and a set may be a field of another set.
///
/// `field: Type => Variant` gives the struct a field and the enum a variant that holds the field's events. Each field
/// has its own slots and its own seed, which follows from the field's name; so adding a field does not change what the
/// others do. Fields are started, and told things, in the order they are written.
///
/// For every field there is also a method of the same name that runs a closure on the field with the field's context,
/// for commands: `swarm.with(now, |set, cx| set.field(cx, |field, cx| field.command(cx)))`. And there is a constant named
/// like the variant, `Set::Variant`, a [`Part`](crate::swarm::Part): that is the field as a value, for code that works on
/// one protocol of whatever set.
///
/// ```
/// use drywire::{
///     connection::Slot,
///     protocols,
///     swarm::{Context, Input, Protocol},
///     time::Instant,
/// };
///
/// /// Counts what it is told.
/// #[derive(Debug, Default)]
/// pub struct Count(u64);
///
/// impl Protocol for Count {
///     type Event = u64;
///
///     fn start(&mut self, _: &mut Context<'_, u64>) {}
///
///     fn handle(&mut self, _: Slot, _: Input<'_>, cx: &mut Context<'_, u64>) {
///         self.0 += 1;
///         cx.emit(self.0);
///     }
///
///     fn poll_timeout(&self) -> Option<Instant> {
///         None
///     }
/// }
///
/// protocols! {
///     /// Two counters.
///     #[derive(Debug, Default)]
///     pub struct Counters => CountersEvent {
///         /// The first.
///         pub left: Count => Left,
///         right: Count => Right,
///     }
/// }
///
/// assert_eq!(Counters::SLOTS, 2);
/// let event = CountersEvent::Left(1);
/// assert!(matches!(event, CountersEvent::Left(1)));
/// ```
#[macro_export]
macro_rules! protocols {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident => $event:ident {
            $(
                $(#[$field_attribute:meta])*
                $field_visibility:vis $field:ident : $type:ty => $variant:ident
            ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $(
                $(#[$field_attribute])*
                $field_visibility $field: $type,
            )*
        }

        #[doc = concat!("What the protocols of [`", stringify!($name), "`] tell the host.")]
        #[derive(Debug)]
        #[allow(dead_code, reason = "not every host looks into every event")]
        #[allow(clippy::large_enum_variant, reason = "protocols differ, and events wait in one queue")]
        $visibility enum $event {
            $(
                #[doc = concat!("Of `", stringify!($field), "`.")]
                $variant(<$type as $crate::swarm::Protocol>::Event),
            )*
        }

        #[allow(dead_code, reason = "one such method for every field, wanted or not")]
        impl $name {
            $(
                #[doc = concat!("Runs a command of `", stringify!($field), "` with its context.")]
                $visibility fn $field<R>(
                    &mut self,
                    cx: &mut $crate::swarm::Context<'_, $event>,
                    run: impl FnOnce(
                        &mut $type,
                        &mut $crate::swarm::Context<'_, <$type as $crate::swarm::Protocol>::Event>,
                    ) -> R,
                ) -> R {
                    Self::$variant.with(self, cx, run)
                }
            )*
        }

        #[allow(dead_code, reason = "one such constant for every field, wanted or not")]
        #[allow(non_upper_case_globals, reason = "named like the variants of the events")]
        #[allow(clippy::result_large_err, reason = "an event that is given back is no error")]
        impl $name {
            $(
                #[doc = concat!("`", stringify!($field), "` as a part of the set.")]
                $visibility const $variant: $crate::swarm::Part<$name, $type> =
                    $crate::swarm::Part::of_set(
                        stringify!($field),
                        |set| &mut set.$field,
                        $event::$variant,
                        |event| match event {
                            $event::$variant(event) => Ok(event),
                            #[allow(unreachable_patterns, reason = "it may be the only one")]
                            other => Err(other),
                        },
                    );
            )*
        }

        impl $crate::swarm::ProtocolSet for $name {
            const FIELDS: &'static [(&'static str, u16)] =
                &[$( (stringify!($field), <$type as $crate::swarm::Protocol>::SLOTS) ),*];
        }

        impl $crate::swarm::Protocol for $name {
            type Event = $event;

            const SLOTS: u16 = 0u16 $( .saturating_add(<$type as $crate::swarm::Protocol>::SLOTS) )*;

            #[allow(unused_variables, unused_mut, unused_assignments, reason = "a set may be empty")]
            fn start(&mut self, cx: &mut $crate::swarm::Context<'_, $event>) {
                let mut first = 0u16;
                $(
                    let field = &mut self.$field;
                    cx.scoped(first, stringify!($field), $event::$variant, |cx| {
                        $crate::swarm::Protocol::start(field, cx)
                    });
                    first = first.saturating_add(<$type as $crate::swarm::Protocol>::SLOTS);
                )*
            }

            #[allow(unused_variables, unused_mut, unused_assignments, reason = "a set may be empty")]
            fn handle(
                &mut self,
                slot: $crate::connection::Slot,
                input: $crate::swarm::Input<'_>,
                cx: &mut $crate::swarm::Context<'_, $event>,
            ) {
                let mut first = 0u16;
                $(
                    let next = first.saturating_add(<$type as $crate::swarm::Protocol>::SLOTS);
                    if slot.0 < next {
                        let field = &mut self.$field;
                        let slot = $crate::connection::Slot(slot.0.saturating_sub(first));
                        return cx.scoped(first, stringify!($field), $event::$variant, |cx| {
                            $crate::swarm::Protocol::handle(field, slot, input, cx)
                        });
                    }
                    first = next;
                )*
            }

            fn poll_timeout(&self) -> Option<$crate::time::Instant> {
                let earliest: Option<$crate::time::Instant> = None;
                $(
                    let field = $crate::swarm::Protocol::poll_timeout(&self.$field);
                    let earliest = $crate::time::earliest(earliest, field);
                )*
                earliest
            }
        }
    };
}

/// What [`protocols!`](crate::protocols) knows of the fields of a set.
pub trait ProtocolSet: crate::swarm::Protocol {
    /// The name of each field and how many slots it takes, in order.
    const FIELDS: &'static [(&'static str, u16)];

    /// The first slot of a field, counted within the set; that after the last one for a field that is not there.
    #[must_use]
    fn first_slot(field: &str) -> u16 {
        first_slot(Self::FIELDS, field)
    }
}

/// The first slot of the field of this name.
pub(super) const fn first_slot(fields: &[(&str, u16)], field: &str) -> u16 {
    let (mut fields, mut first) = (fields, 0u16);
    while let [(name, slots), rest @ ..] = fields {
        if is_same(name.as_bytes(), field.as_bytes()) {
            break;
        }
        first = first.saturating_add(*slots);
        fields = rest;
    }
    first
}

/// Slices cannot be compared by `==` in constants yet.
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (mut one, mut other) = (one, other);
    while let ([a, rest_of_one @ ..], [b, rest_of_other @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        (one, other) = (rest_of_one, rest_of_other);
    }
    one.is_empty() && other.is_empty()
}
