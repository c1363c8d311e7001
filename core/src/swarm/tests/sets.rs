//! Sets of protocols.

use super::*;
use rand_core::Rng as _;

/// Tells what it drew at its start, and every input it gets, with its own mark.
#[derive(Debug, Default)]
pub(super) struct Drawer {
    drawn: u64,
    told: u32,
}

impl Protocol for Drawer {
    type Event = (u64, u32);

    fn start(&mut self, cx: &mut Context<'_, (u64, u32)>) {
        self.drawn = cx.rng().next_u64();
    }

    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Context<'_, (u64, u32)>) {
        assert_eq!(slot, Slot(0));
        if let Input::Message { .. } | Input::ConnectionUp { .. } = input {
            self.told += 1;
            cx.emit((self.drawn, self.told));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.told > 0).then_some(Instant::FAR_FUTURE)
    }
}

/// A protocol of some type of its own.
#[derive(Debug)]
struct Generic<T>(T);

impl<T: core::fmt::Debug + Clone> Protocol for Generic<T> {
    type Event = T;

    fn start(&mut self, _: &mut Context<'_, T>) {}

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, T>) {
        if let Input::ConnectionUp { .. } = input {
            cx.emit(self.0.clone());
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

crate::protocols! {
    /// Two of a kind.
    #[derive(Debug, Default)]
    pub(super) struct Inner => InnerEvent {
        /// The left one.
        pub(super) left: Drawer => Left,
        right: Drawer => Right,
    }
}

crate::protocols! {
    #[derive(Debug)]
    struct Outer => OuterEvent {
        first: Drawer => First,
        inner: Inner => Inner,
        words: Generic<Vec<&'static str>> => Words,
        last: Drawer => Last,
    }
}

crate::protocols! {
    #[derive(Debug)]
    pub(super) struct Reordered => ReorderedEvent {
        last: Drawer => Last,
        inner: Inner => Inner,
    }
}

crate::protocols! {
    #[derive(Debug)]
    struct Empty => EmptyEvent {}
}

fn swarm<P: Protocol>(protocols: P) -> Swarm<P> {
    let config = Config::new(SecurityConfig::InsecurePlaintext);
    let unix = UnixTime::EPOCH;
    Swarm::new(
        config,
        key(SELF),
        protocols,
        Seed::for_tests(5),
        Instant::ZERO,
        unix,
    )
    .unwrap()
}

fn outer() -> Swarm<Outer> {
    swarm(Outer {
        first: Drawer::default(),
        inner: Inner::default(),
        words: Generic(std::vec!["a"]),
        last: Drawer::default(),
    })
}

fn connect<P: Protocol>(swarm: &mut Swarm<P>) -> ConnectionId {
    let point = ConnectedPoint::accepted(address("/memory/1"), None);
    let connection = swarm.handle_accept(Instant::ZERO, point).unwrap().id();
    let secured = SecuredPeer {
        peer: peer(1),
        public_key: key(1).public(),
    };
    let message = ToSwarm(ToSwarmMessage::Secured(Box::new(secured)));
    swarm.handle_message(Instant::ZERO, connection, message);
    connection
}

#[test]
fn slots_are_summed_and_inputs_reach_each_field_in_order() {
    assert_eq!(
        (Empty::SLOTS, Inner::SLOTS, Outer::SLOTS, Reordered::SLOTS),
        (0, 2, 5, 3)
    );
    assert_eq!(
        ["first", "inner", "words", "last"].map(Outer::first_slot),
        [0, 1, 3, 4]
    );
    let mut swarm = outer();
    connect(&mut swarm);
    let events: Vec<String> = core::iter::from_fn(|| swarm.poll_event())
        .filter_map(|event| match event {
            Event::Protocol(OuterEvent::First((_, told))) => Some(format!("first {told}")),
            Event::Protocol(OuterEvent::Inner(InnerEvent::Left((_, told)))) => {
                Some(format!("left {told}"))
            }
            Event::Protocol(OuterEvent::Inner(InnerEvent::Right((_, told)))) => {
                Some(format!("right {told}"))
            }
            Event::Protocol(OuterEvent::Words(words)) => Some(words.join(" ")),
            Event::Protocol(OuterEvent::Last((_, told))) => Some(format!("last {told}")),
            _ => None,
        })
        .collect();
    assert_eq!(events, ["first 1", "left 1", "right 1", "a", "last 1"]);
    while swarm.poll_action().is_some() {}
    assert_eq!(swarm.poll_timeout(), Some(Instant::FAR_FUTURE));
}

#[test]
fn a_field_draws_by_its_name_wherever_it_stands() {
    let (one, other) = (
        outer(),
        swarm(Reordered {
            last: Drawer::default(),
            inner: Inner::default(),
        }),
    );
    let (one, other) = (one.protocols(), other.protocols());
    assert_eq!(one.last.drawn, other.last.drawn);
    assert_eq!(one.inner.left.drawn, other.inner.left.drawn);
    let all = [
        one.first.drawn,
        one.last.drawn,
        one.inner.left.drawn,
        one.inner.right.drawn,
    ];
    for (index, drawn) in all.iter().enumerate() {
        assert!(!all[..index].contains(drawn), "two fields draw alike");
    }
}

#[test]
fn a_message_reaches_the_field_that_opened_the_stream() {
    let mut swarm = outer();
    let connection = connect(&mut swarm);
    while swarm.poll_event().is_some() {}
    let stream = swarm.with(Instant::ZERO, |set, cx| {
        set.inner(cx, |inner, cx| {
            inner.right(cx, |_, cx| cx.open(connection, &[NAME], KIND, false))
        })
    });
    let stream = stream.unwrap();
    // No other field can touch it.
    let stolen = swarm.with(Instant::ZERO, |set, cx| {
        let first = set.first(cx, |_, cx| cx.reset(stream, 0));
        first || set.inner(cx, |inner, cx| inner.left(cx, |_, cx| cx.finish(stream)))
    });
    assert!(!stolen);
    let data = ToSwarmMessage::Data {
        stream: stream.stream,
        bytes: Bytes::from_static(b"x"),
    };
    swarm.handle_message(Instant::ZERO, connection, ToSwarm(data));
    let event = swarm.poll_event();
    assert!(
        matches!(
            event,
            Some(Event::Protocol(OuterEvent::Inner(InnerEvent::Right((
                _,
                2
            )))))
        ),
        "{event:?}"
    );
    assert!(swarm.poll_event().is_none());
}

#[test]
fn an_empty_set_is_a_set() {
    let mut swarm = swarm(Empty {});
    connect(&mut swarm);
    assert!(matches!(
        swarm.poll_event(),
        Some(Event::ConnectionEstablished { .. })
    ));
    swarm.with(Instant::ZERO, |_, cx| cx.rng().next_u64());
}

const NESTED_RIGHT: Part<Outer, Drawer> = Outer::Inner.nested(
    Inner::Right,
    |outer| &mut outer.inner.right,
    |event| OuterEvent::Inner(InnerEvent::Right(event)),
    |event| match event {
        OuterEvent::Inner(InnerEvent::Right(event)) => Ok(event),
        other => Err(other),
    },
);

/// Every place of a protocol of one type in a set of sets.
const DRAWERS: [Part<Outer, Drawer>; 4] = [
    Outer::First,
    Outer::Inner.nested(
        Inner::Left,
        |outer| &mut outer.inner.left,
        |event| OuterEvent::Inner(InnerEvent::Left(event)),
        |event| match event {
            OuterEvent::Inner(InnerEvent::Left(event)) => Ok(event),
            other => Err(other),
        },
    ),
    NESTED_RIGHT,
    Outer::Last,
];

#[test]
fn a_part_has_its_own_field_context_and_events() {
    let mut swarm = outer();
    let connection = connect(&mut swarm);
    while swarm.poll_event().is_some() {}
    for (index, part) in DRAWERS.iter().enumerate() {
        // The field: each knows what it drew at its start, and its generator goes on from there.
        let (drawn, next) = swarm.with(Instant::ZERO, |set, cx| {
            part.with(set, cx, |drawer, cx| (drawer.drawn, cx.rng().next_u64()))
        });
        let protocols = swarm.protocols();
        let all = [
            &protocols.first,
            &protocols.inner.left,
            &protocols.inner.right,
            &protocols.last,
        ];
        assert_eq!(drawn, all[index].drawn);
        // The context: only its own streams, and a message comes back to it.
        let stream = swarm.with(Instant::ZERO, |set, cx| {
            part.with(set, cx, |_, cx| {
                cx.open(connection, &[NAME], KIND, false).unwrap()
            })
        });
        for (other, part) in DRAWERS.iter().enumerate() {
            let found = swarm.with(Instant::ZERO, |set, cx| {
                part.with(set, cx, |_, cx| cx.pause(stream) && cx.resume(stream))
            });
            assert_eq!(found, other == index);
        }
        let data = ToSwarmMessage::Data {
            stream: stream.stream,
            bytes: Bytes::from_static(b"x"),
        };
        swarm.handle_message(Instant::ZERO, connection, ToSwarm(data));
        // The events: nobody else takes it, and it stays whole while it is passed around.
        let Some(Event::Protocol(mut event)) = swarm.poll_event() else {
            panic!("no event")
        };
        for (other, part) in DRAWERS.iter().enumerate() {
            if other != index {
                event = part.event(event).expect_err("not its own");
            }
        }
        event = part.wrap(part.event(event).unwrap());
        assert_eq!(part.event(event).ok(), Some((drawn, 2)));
        // Each draws from its own generator: the same set, run again, draws alike whichever part is asked.
        let mut again = outer();
        let draws = again.with(Instant::ZERO, |set, cx| {
            part.with(set, cx, |_, cx| cx.rng().next_u64())
        });
        assert_eq!(draws, next);
    }
}

#[test]
fn the_whole_is_a_part() {
    let mut swarm = swarm(Drawer::default());
    let connection = connect(&mut swarm);
    while swarm.poll_event().is_some() {}
    let whole = Part::<Drawer, Drawer>::whole();
    let stream = swarm.with(Instant::ZERO, |set, cx| {
        whole.with(set, cx, |drawer, cx| {
            drawer.told += 10;
            cx.emit((drawer.drawn, drawer.told));
            cx.open(connection, &[NAME], KIND, false)
        })
    });
    assert!(stream.is_ok());
    let Some(Event::Protocol(event)) = swarm.poll_event() else {
        panic!("no event")
    };
    assert_eq!(whole.event(event).map(|(_, told)| told), Ok(11));
}

#[test]
fn parts_know_their_slots() {
    let first = |part: &dyn core::fmt::Debug| format!("{part:?}");
    assert_eq!(
        first(&Outer::First),
        "Part { first: 0, name: \"first\", .. }"
    );
    assert_eq!(
        first(&NESTED_RIGHT),
        "Part { first: 2, name: \"right\", .. }"
    );
    assert_eq!(
        first(&Outer::Words),
        "Part { first: 3, name: \"words\", .. }"
    );
    assert_eq!(
        first(&Reordered::Inner),
        "Part { first: 1, name: \"inner\", .. }"
    );
}
