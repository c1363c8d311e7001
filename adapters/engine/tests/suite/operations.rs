//! Operations of protocols as futures and streams of events.

use crate::common::{both, give_up_in, world_with};
use core::time::Duration;
use drywire::{
    connection::Slot,
    swarm::{Context, Event, Input, Part, Protocol, Timers},
    time::Instant,
};
use drywire_engine::{BeginError, Host, Operating, Operation, Operations};
use drywire_sim::{Link, SimRuntime};
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);
/// As many as there is room for.
const MAX: usize = 100;

/// Counts down, a step a second. The last one is 0.
#[derive(Default)]
struct Countdown {
    begun: u64,
    running: BTreeMap<u64, u32>,
    given_up: Vec<u64>,
    timers: Timers<u64>,
}

type Step = (u64, u32);

impl Countdown {
    fn begin(&mut self, from: u32, cx: &Context<'_, Step>) -> Result<u64, &'static str> {
        if self.running.len() >= MAX {
            return Err("too many");
        }
        self.begun += 1;
        self.running.insert(self.begun, from);
        self.timers.set(self.begun, cx.now() + SECOND);
        Ok(self.begun)
    }
}

impl Protocol for Countdown {
    type Event = Step;

    fn start(&mut self, _: &mut Context<'_, Step>) {}

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, Step>) {
        if !matches!(input, Input::Timeout) {
            return;
        }
        while let Some(id) = self.timers.pop_due(cx.now()) {
            let at = self.running[&id] - 1;
            cx.emit((id, at));
            if at == 0 {
                self.running.remove(&id);
            } else {
                self.running.insert(id, at);
                self.timers.set(id, cx.now() + SECOND);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Operating for Countdown {
    type Id = u64;

    fn operation((id, at): &Step) -> Option<(u64, bool)> {
        Some((*id, *at == 0))
    }

    fn give_up(&mut self, id: u64, _: &mut Context<'_, Step>) {
        self.running.remove(&id);
        self.timers.clear(id);
        self.given_up.push(id);
    }
}

type Count = Operation<Countdown, Countdown>;

struct Counter {
    host: Host<Countdown>,
    counts: Operations<Countdown, Countdown>,
}

impl Counter {
    fn new(runtime: &SimRuntime) -> Self {
        let host = Host::builder(runtime.clone(), Countdown::default());
        let host = host.start().unwrap();
        let counts = host.operations(Part::whole());
        Self { host, counts }
    }

    fn begin(&self, capacity: usize, from: u32) -> Count {
        let begin =
            |countdown: &mut Countdown, cx: &mut Context<'_, Step>| countdown.begin(from, cx);
        self.counts.begin(capacity, begin).unwrap()
    }

    fn running(&self) -> usize {
        self.host.with(|countdown, _| countdown.running.len())
    }

    fn given_up(&self) -> Vec<u64> {
        self.host.with(|countdown, _| countdown.given_up.clone())
    }
}

async fn steps(mut count: Count) -> Vec<u32> {
    let id = count.id();
    let mut steps = Vec::new();
    while let Some((of, at)) = count.next().await {
        assert_eq!(of, id);
        steps.push(at);
    }
    assert!(count.next().await.is_none(), "after the end");
    steps
}

fn run<F: Future>(seed: u64, test: impl FnOnce(SimRuntime, Counter) -> F) -> F::Output {
    let (mut world, runtime) = world_with(seed, Link::default(), seed > 0);
    let counter = Counter::new(&runtime);
    world.block_on(test(runtime, counter)).unwrap()
}

#[test]
fn each_operation_has_its_own_events() {
    for seed in 0..10 {
        run(seed, async |_, counter| {
            // Another handle of the same protocol.
            let other = Counter {
                host: counter.host.clone(),
                counts: counter.host.operations(Part::whole()),
            };
            let mut events = counter.host.events(64);
            let lost = counter
                .host
                .with(|countdown, cx| countdown.begin(2, cx))
                .unwrap();
            let (five, three) = (counter.begin(8, 5), other.begin(8, 3));
            let last = counter.begin(0, 4);
            both(
                async {
                    assert_eq!(steps(five).await, [4, 3, 2, 1, 0]);
                    assert_eq!(steps(three).await, [2, 1, 0]);
                },
                async { assert_eq!(last.last().await.map(|(_, at)| at), Some(0)) },
            )
            .await;
            assert_eq!((counter.running(), counter.given_up()), (0, vec![]));
            // What was begun without a handle is among the host's events, and nothing else is.
            counter.host.shutdown().await;
            let mut told = Vec::new();
            while let Some(event) = events.next().await {
                if let Event::Protocol(event) = event {
                    told.push(event);
                }
            }
            assert_eq!(told, [(lost, 1), (lost, 0)]);
        });
    }
}

/// Who does not read keeps the newest events, and the last one in any case; and knows how many were lost.
///
/// Fails if the last event counts as one of the others.
#[test]
fn events_that_are_not_read_are_bounded() {
    run(1, async |runtime, counter| {
        for (capacity, kept) in [(0, &[0][..]), (1, &[1, 0]), (3, &[3, 2, 1, 0])] {
            let count = counter.begin(capacity, 10);
            runtime.sleep(9 * SECOND / 2).await;
            assert_eq!(count.dropped(), 4 - capacity as u64);
            runtime.sleep(10 * SECOND).await;
            assert_eq!(count.dropped(), 9 - capacity as u64);
            assert_eq!(steps(count).await, kept);
        }
    });
}

/// Fails if a dropped operation goes on, or if one that is over is given up.
#[test]
fn a_dropped_operation_is_given_up() {
    for seed in 0..10 {
        run(seed, async |runtime, counter| {
            let mut events = counter.host.events(64);
            let all: Vec<Count> = (0..MAX).map(|_| counter.begin(8, 3)).collect();
            let refused = counter
                .counts
                .begin(8, |countdown, cx| countdown.begin(3, cx));
            assert_eq!(refused.err(), Some(BeginError::Refused("too many")));
            runtime.sleep(3 * SECOND / 2).await;
            let mut ids = Vec::new();
            for (number, mut count) in all.into_iter().enumerate() {
                match number % 3 {
                    // Before its first event is read, and after.
                    0 => ids.push(count.id()),
                    1 => {
                        assert_eq!(count.next().await.map(|(_, at)| at), Some(2));
                        ids.push(count.id());
                    }
                    // While it waits for the second.
                    _ => {
                        count.next().await;
                        let id = count.id();
                        let waits = async move { count.next().await };
                        assert!(give_up_in(&runtime, SECOND / 1000, waits).await.is_none());
                        ids.push(id);
                    }
                }
            }
            assert_eq!((counter.running(), counter.given_up()), (0, ids));
            // One that is over, whether its last event was read or not.
            for read in [false, true] {
                let mut count = counter.begin(1, 1);
                runtime.sleep(2 * SECOND).await;
                if read {
                    assert!(count.next().await.is_some());
                }
            }
            assert_eq!(counter.given_up().len(), MAX);
            counter.host.shutdown().await;
            while let Some(event) = events.next().await {
                assert!(!matches!(event, Event::Protocol(_)), "{event:?}");
            }
        });
    }
}

#[test]
fn operations_end_with_their_host() {
    for seed in 0..10 {
        run(seed, async |runtime, counter| {
            let (mut idle, waiting) = (counter.begin(8, 100), counter.begin(8, 100));
            both(
                async { assert_eq!(steps(waiting).await, [99, 98]) },
                async {
                    runtime.sleep(5 * SECOND / 2).await;
                    counter.host.shutdown().await;
                },
            )
            .await;
            // What has come is still there.
            assert_eq!(idle.next().await.map(|(_, at)| at), Some(99));
            assert!(idle.last().await.is_none());
            let late = counter
                .counts
                .begin(8, |countdown, cx| countdown.begin(3, cx));
            assert_eq!(late.err(), Some(BeginError::HostClosed));
        });
    }
}

/// Says three things at once.
struct Talker;

/// Looks at its host when it is dropped.
#[derive(Debug)]
struct Word(Host<Talker>);

impl Drop for Word {
    fn drop(&mut self) {
        self.0.with(|_, _| ());
    }
}

impl Protocol for Talker {
    type Event = Word;

    fn start(&mut self, _: &mut Context<'_, Word>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, _: &mut Context<'_, Word>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl Operating for Talker {
    type Id = u64;

    fn operation(_: &Word) -> Option<(u64, bool)> {
        Some((1, false))
    }

    fn give_up(&mut self, _: u64, _: &mut Context<'_, Word>) {}
}

/// An event that nobody gets is the application's, and is dropped where it may do anything.
///
/// Hangs if it is dropped while the swarm is locked.
#[test]
fn events_that_nobody_gets_are_dropped_outside_the_lock() {
    let (mut world, runtime) = world_with(1, Link::default(), false);
    world
        .block_on(async {
            let host = Host::builder(runtime, Talker).start().unwrap();
            let operations = host.operations(Part::whole());
            let mut talk = operations
                .begin(1, |_: &mut Talker, cx| {
                    for _ in 0..3 {
                        cx.emit(Word(host.clone()));
                    }
                    Ok::<_, ()>(1)
                })
                .unwrap();
            assert_eq!(talk.dropped(), 2);
            drop(talk.next().await.unwrap());
        })
        .unwrap();
}
