//! Values of a protocol that the application holds.

use crate::common::{world, world_with};
use core::{task::Waker, time::Duration};
use drywire::{
    connection::Slot,
    swarm::{self, Event, Input, Protocol},
    time::Instant,
};
use drywire_engine::Host;
use drywire_sim::Link;
use std::sync::{Arc, Mutex};

/// What the application holds: its drop is an event of the protocol.
struct Ticket {
    number: u32,
    dropped: Arc<Mutex<Vec<u32>>>,
    waker: Option<Waker>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.dropped.lock().unwrap().push(self.number);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[derive(Default)]
struct Office {
    dropped: Arc<Mutex<Vec<u32>>>,
}

impl Office {
    fn ticket(&self, number: u32, cx: &swarm::Context<'_, u32>) -> Ticket {
        Ticket {
            number,
            dropped: self.dropped.clone(),
            waker: cx.waker().cloned(),
        }
    }
}

impl Protocol for Office {
    type Event = u32;

    fn start(&mut self, _: &mut swarm::Context<'_, u32>) {}

    fn handle(&mut self, _: Slot, _: Input<'_>, cx: &mut swarm::Context<'_, u32>) {
        for number in core::mem::take(&mut *self.dropped.lock().unwrap()) {
            cx.emit(number);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.dropped.lock().unwrap().is_empty()).then_some(Instant::ZERO)
    }
}

/// Nothing else happens on this host: without the waker nobody would look, and the world would stop.
#[test]
fn a_dropped_value_is_noticed() {
    for seed in 0..20 {
        let (mut world, runtime) = world_with(seed, Link::default(), true);
        world
            .block_on(async {
                let host = Host::builder(runtime.clone(), Office::default())
                    .start()
                    .unwrap();
                let mut events = host.events(16);
                for number in 0..10 {
                    let ticket = host.with(|office, cx| office.ticket(number, cx));
                    // The swarm's driver has seen that there is nothing to do.
                    runtime.sleep(Duration::from_secs(1)).await;
                    drop(ticket);
                    assert!(
                        matches!(events.next().await, Some(Event::Protocol(it)) if it == number)
                    );
                }
            })
            .unwrap();
    }
}

/// It may even be dropped while the swarm is locked.
#[test]
fn a_value_dropped_within_a_command_is_noticed() {
    let (mut world, runtime) = world(1);
    world
        .block_on(async {
            let host = Host::builder(runtime.clone(), Office::default())
                .start()
                .unwrap();
            let mut events = host.events(16);
            host.with(|office, cx| drop(office.ticket(7, cx)));
            assert!(matches!(events.next().await, Some(Event::Protocol(7))));
        })
        .unwrap();
}
