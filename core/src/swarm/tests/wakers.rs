//! Values outside the swarm that give it something to do.

use super::*;
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
};
use std::{
    sync::{Arc, Mutex},
    task::Wake,
};

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

#[derive(Debug, Default)]
struct Office {
    given: u32,
    dropped: Arc<Mutex<Vec<u32>>>,
}

impl Office {
    fn ticket<E>(&mut self, cx: &Context<'_, E>) -> Ticket {
        self.given += 1;
        Ticket {
            number: self.given,
            dropped: self.dropped.clone(),
            waker: cx.waker().cloned(),
        }
    }
}

impl Protocol for Office {
    type Event = u32;

    fn start(&mut self, cx: &mut Context<'_, u32>) {
        assert!(cx.waker().is_none(), "nobody can have set one yet");
    }

    fn handle(&mut self, _: Slot, _: Input<'_>, cx: &mut Context<'_, u32>) {
        for number in core::mem::take(&mut *self.dropped.lock().unwrap()) {
            cx.emit(number);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.dropped.lock().unwrap().is_empty()).then_some(Instant::ZERO)
    }
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn office() -> Swarm<Office> {
    let config = Config::new(SecurityConfig::InsecurePlaintext);
    Swarm::new(
        config,
        key(SELF),
        Office::default(),
        Seed::for_tests(5),
        Instant::ZERO,
        UnixTime::EPOCH,
    )
    .unwrap()
}

fn events(swarm: &mut Swarm<Office>) -> Vec<u32> {
    core::iter::from_fn(|| swarm.poll_event())
        .filter_map(|event| match event {
            Event::Protocol(number) => Some(number),
            _ => None,
        })
        .collect()
}

/// With and without a waker the swarm does the same; with one, the host is called, once the word is there to be found.
#[test]
fn a_dropped_value_calls_the_host_and_is_due_now() {
    let now = Instant::from_nanos(1_000);
    for with_waker in [false, true] {
        let calls = Arc::new(Calls::default());
        let mut swarm = office();
        swarm.set_waker(with_waker.then(|| Waker::from(calls.clone())));
        let (one, other) = swarm.with(now, |office, cx| (office.ticket(cx), office.ticket(cx)));
        assert_eq!(
            (swarm.poll_timeout(), calls.0.load(Ordering::Relaxed)),
            (None, 0)
        );
        drop(other);
        assert_eq!(calls.0.load(Ordering::Relaxed), usize::from(with_waker));
        assert!(swarm.poll_timeout().is_some_and(|at| at <= now));
        assert_eq!(events(&mut swarm), [0_u32; 0], "nobody has asked yet");
        swarm.handle_timeout(now);
        assert_eq!(events(&mut swarm), [2]);
        assert_eq!(swarm.poll_timeout(), None);
        // Those given out keep their waker; no more are given out.
        swarm.set_waker(None);
        let last = swarm.with(now, |office, cx| office.ticket(cx));
        drop((one, last));
        assert_eq!(calls.0.load(Ordering::Relaxed), 2 * usize::from(with_waker));
        swarm.handle_timeout(now);
        assert_eq!(events(&mut swarm), [1, 3]);
    }
}

/// Text that depended on where things lie in memory would make two runs differ.
#[test]
fn a_waker_leaves_no_addresses_in_debug_output() {
    let text = || {
        let mut swarm = office();
        swarm.set_waker(Some(Waker::from(Arc::new(Calls::default()))));
        format!("{swarm:?}")
    };
    let (one, other) = (text(), text());
    assert!(one.contains("HostWaker(true)") && one == other, "{one}");
}
