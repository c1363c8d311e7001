//! What the application answers on another thread goes out at once.

use crate::nodes::{PATIENCE, config, until};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
    time::Duration,
};
use drywire::{
    connection::Slot,
    node::{Node, NodeEvent},
    swarm::{self, Context, Input, Protocol},
    time::Instant,
};
use drywire_examples::{epoll::Host, keypair, swarm_with};
use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{sleep, spawn},
};

/// Gives its waker away once, and tells of each answer.
struct Answered {
    answer: Arc<AtomicBool>,
    waker: Option<Sender<Option<Waker>>>,
}

impl Protocol for Answered {
    type Event = ();

    fn start(&mut self, _: &mut Context<'_, ()>) {}

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, ()>) {
        if !matches!(input, Input::Timeout) {
            return;
        }
        if let Some(give) = self.waker.take() {
            give.send(cx.waker().cloned()).unwrap();
        }
        if self.answer.swap(false, Ordering::SeqCst) {
            cx.emit(());
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.waker.is_some() || self.answer.load(Ordering::SeqCst);
        due.then_some(Instant::ZERO)
    }
}

#[test]
fn an_answer_on_another_thread_wakes_the_loop_over_epoll() {
    let ((give, given), (tell, events)) = (channel(), channel());
    let answer = Arc::<AtomicBool>::default();
    let protocol = Answered {
        answer: answer.clone(),
        waker: Some(give),
    };
    let swarm = swarm_with(config(), keypair().unwrap(), protocol).unwrap();
    let host = Host::new(Node::new(swarm)).unwrap();
    let remote = host.remote();
    let thread = spawn(move || host.run(|_, _, event| drop(tell.send(event))));
    let waker = given.recv_timeout(PATIENCE).unwrap();
    let waker = waker.expect("the loop has set a waker");
    for _ in 0..3 {
        // By now it sleeps, for long: it has nothing else to do.
        sleep(Duration::from_millis(50));
        answer.store(true, Ordering::SeqCst);
        waker.wake_by_ref();
        let answered = |event| matches!(event, NodeEvent::Swarm(swarm::Event::Protocol(())));
        until(&events, |event| answered(event).then_some(()));
    }
    assert!(remote.run(|now, node| node.shutdown(now)));
    thread.join().unwrap().unwrap();
}
