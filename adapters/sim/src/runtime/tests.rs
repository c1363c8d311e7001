//! Tasks, timers and sockets of one world, without nodes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::{Fault, Link, Stopped, World, network::Pieces};
use bytes::BytesMut;
use core::future::{pending, poll_fn};
use drywire_engine::{Listener as _, Pipe as _};
use std::sync::atomic::AtomicUsize;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(runtime: &SimRuntime, port: u16) -> SocketAddr {
    SocketAddr::new(runtime.addresses()[0], port)
}

async fn write_all(pipe: &mut SimPipe, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let count = poll_fn(|cx| pipe.poll_write(cx, data)).await?;
        data = &data[count..];
    }
    poll_fn(|cx| pipe.poll_shutdown(cx)).await
}

async fn read_all(pipe: &mut SimPipe) -> io::Result<Vec<u8>> {
    let mut all = BytesMut::new();
    loop {
        poll_fn(|cx| pipe.poll_readable(cx)).await;
        if poll_fn(|cx| pipe.poll_read(cx, &mut all)).await? == 0 {
            return Ok(all.to_vec());
        }
    }
}

async fn accept(listener: &mut SimListener) -> io::Result<SimPipe> {
    Ok(poll_fn(|cx| listener.poll_accept(cx)).await?.0)
}

/// A pipe between tasks of two hosts.
async fn pipe(near: &SimRuntime, far: &SimRuntime) -> (SimPipe, SimPipe) {
    let mut listener = far.listen(at(far, 7)).unwrap();
    let near = near.connect(at(far, 7)).await.unwrap();
    let far = accept(&mut listener).await.unwrap();
    (near, far)
}

fn bad_link(seed: u64) -> Link {
    let buffer = 1 + (seed as usize * 997) % 5000;
    let link = Link::default().jitter(0.5).loss(0.05).buffer(buffer);
    match seed % 3 {
        0 => link,
        1 => link.biased_pieces(),
        _ => Link {
            pieces: Pieces::AtMost(10),
            partial_writes: 0.5,
            ..link
        },
    }
}

/// When each side was through, and the hash of everything.
fn transfer(seed: u64, shuffle: bool) -> (Vec<Instant>, crate::TraceHash) {
    let mut world = World::new(seed);
    world.set_default_link(bad_link(seed)).unwrap();
    world.shuffle_tasks(shuffle);
    let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
    let data: Arc<Vec<u8>> = Arc::new((0..50_000u32).map(|n| n as u8).collect());
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut listener = far.listen(at(&far, 1)).unwrap();
    for _ in 0..3 {
        let (runtime, remote) = (near.clone(), at(&far, 1));
        let (data, times) = (data.clone(), times.clone());
        near.spawn(async move {
            let mut pipe = runtime.connect(remote).await.unwrap();
            write_all(&mut pipe, &data).await.unwrap();
            assert_eq!(read_all(&mut pipe).await.unwrap(), b"thanks");
            lock(&times).push(runtime.now());
        });
    }
    far.spawn({
        let (runtime, data, times) = (far.clone(), data.clone(), times.clone());
        async move {
            for _ in 0..3 {
                let mut pipe = accept(&mut listener).await.unwrap();
                let (runtime, data, times) = (runtime.clone(), data.clone(), times.clone());
                runtime.clone().spawn(async move {
                    assert!(read_all(&mut pipe).await.unwrap() == *data);
                    lock(&times).push(runtime.now());
                    write_all(&mut pipe, b"thanks").await.unwrap();
                });
            }
        }
    });
    world
        .run_until(secs(100_000), |world| world.tasks() == 0)
        .unwrap();
    let times = core::mem::take(&mut *lock(&times));
    assert_eq!(times.len(), 6, "seed {seed}: all are through");
    world.run_for(secs(10)).unwrap();
    assert_eq!(world.network().pipe_count(), 0);
    (times, world.trace_hash())
}

#[test]
fn bytes_arrive_whole_on_any_link_and_the_same_seed_takes_the_same_times() {
    let mut seen = Vec::new();
    for seed in 0..30 {
        let shuffle = seed % 2 == 0;
        let first = transfer(seed, shuffle);
        assert_eq!(first, transfer(seed, shuffle));
        assert!(!seen.contains(&first.1));
        seen.push(first.1);
    }
}

#[test]
fn shuffled_tasks_run_in_another_order_and_all_of_them() {
    let order = |shuffle: Option<u64>| {
        let mut world = World::new(shuffle.unwrap_or(0));
        world.shuffle_tasks(shuffle.is_some());
        let runtime = world.add_runtime("one").unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..10 {
            let (order, other) = (order.clone(), runtime.clone());
            runtime.spawn(async move {
                lock(&order).push(number);
                other.yield_now().await;
                lock(&order).push(100 + number);
            });
        }
        world.run_for(secs(0)).unwrap();
        assert_eq!(world.tasks(), 0);
        core::mem::take(&mut *lock(&order))
    };
    let fair: Vec<u32> = (0..10).chain(100..110).collect();
    assert_eq!(order(None), fair);
    let mut shuffled = order(Some(1));
    assert_eq!(shuffled, order(Some(1)));
    assert_ne!(shuffled, order(Some(2)));
    assert_ne!(shuffled, fair);
    shuffled.sort_unstable();
    assert_eq!(shuffled, fair);
}

#[test]
fn a_future_nobody_can_wake_is_reported() {
    let mut world = World::new(0);
    assert!(matches!(
        world.block_on(pending::<()>()),
        Err(Stopped::Stalled)
    ));
    let runtime = world.add_runtime("clock").unwrap();
    let ticking = runtime.clone();
    runtime.spawn(async move {
        loop {
            ticking.sleep(secs(600)).await;
        }
    });
    let began = world.now();
    assert!(matches!(
        world.block_on(pending::<()>()),
        Err(Stopped::TooLong)
    ));
    assert!(world.now() - began >= secs(23 * 3600));
    // And what is ready in the end is not missed.
    let sleeper = runtime.clone();
    world
        .block_on(async move { sleeper.sleep(secs(60)).await })
        .unwrap();
}

#[test]
fn tasks_that_never_rest_are_a_violation() {
    for outside in [false, true] {
        let mut world = World::new(0);
        let runtime = world.add_runtime("busy").unwrap();
        let spin = poll_fn::<(), _>(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let stopped = if outside {
            world.block_on(spin).unwrap_err()
        } else {
            runtime.spawn(spin);
            world.block_on(pending::<()>()).unwrap_err()
        };
        let Stopped::Violation(violation) = stopped else {
            panic!("{stopped}");
        };
        assert_eq!(violation.host.is_some(), !outside);
        assert!(violation.to_string().contains("never rest"));
    }
}

#[test]
fn connecting_fails_as_it_should_and_can_be_given_up_at_any_time() {
    let mut world = World::new(0);
    world
        .set_default_link(Link::default().latency(secs(1)))
        .unwrap();
    let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
    let refused = world.block_on(near.connect(at(&far, 7))).unwrap();
    assert_eq!(
        refused.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    let listener = far.listen(at(&far, 7)).unwrap();
    let taken = far.listen(at(&far, 7)).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let foreign = far.listen(at(&near, 7)).unwrap_err();
    assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
    assert_eq!(listener.local_addr().unwrap(), at(&far, 7));
    for milliseconds in (0..4000).step_by(250) {
        // Past two seconds it has succeeded, and nobody has looked.
        let mut attempt = Box::pin(near.connect(at(&far, 7)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(attempt.as_mut().poll(&mut cx).is_pending());
        let time = Duration::from_millis(milliseconds);
        world.run_for(time).unwrap();
        drop(attempt);
    }
    drop(listener);
    world.run_for(secs(300)).unwrap();
    assert_eq!(world.network().pipe_count(), 0);
    assert_eq!(world.next_step(), None);
}

#[test]
fn without_descriptors_accepting_fails_and_goes_on_later() {
    let mut world = World::new(0);
    let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
    let mut listener = far.listen(at(&far, 7)).unwrap();
    world.exhaust_descriptors(far.host(), secs(60)).unwrap();
    let pipe = world.block_on(near.connect(at(&far, 7))).unwrap();
    world.run_for(secs(1)).unwrap();
    let error = world.block_on(accept(&mut listener)).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(24));
    world.run_for(secs(60)).unwrap();
    let accepted = world.block_on(accept(&mut listener)).unwrap().unwrap();
    assert_eq!(accepted.local_addr(), Some(at(&far, 7)));
    assert!(pipe.unwrap().local_addr().unwrap().ip() == near.addresses()[0]);
}

#[test]
fn a_reset_reaches_both_ends() {
    let mut world = World::new(0);
    let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
    let (mut here, mut there) = world.block_on(pipe(&near, &far)).unwrap();
    near.with_network(|network, now| network.reset(now, here.end()))
        .unwrap();
    for pipe in [&mut here, &mut there] {
        let error = world.block_on(read_all(pipe)).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = world.block_on(write_all(pipe, b"x")).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// Counts how many are alive.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn spawn_held(runtime: &SimRuntime, held: &Arc<AtomicUsize>) {
    let (clock, held) = (runtime.clone(), Held::new(held));
    runtime.spawn(async move {
        clock.sleep(secs(1)).await;
        clock.sleep(secs(100_000)).await;
        drop(held);
    });
}

#[test]
fn a_crash_drops_tasks_and_sockets_and_a_new_life_begins_with_none() {
    for silently in [false, true] {
        let mut world = World::new(0);
        let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
        let (mut here, there) = world.block_on(pipe(&near, &far)).unwrap();
        let held = Arc::new(AtomicUsize::new(0));
        for runtime in [&near, &far, &far] {
            spawn_held(runtime, &held);
        }
        let inside = Held::new(&held);
        far.spawn(async move {
            // Dropped with the task, and no business of the network's any more.
            let _both = (there, inside);
            pending::<()>().await;
        });
        world.run_for(secs(10)).unwrap();
        assert_eq!((world.tasks(), world.tasks_of(far.host())), (4, 3));
        world.go_down(far.host(), silently).unwrap();
        assert_eq!((world.tasks(), world.tasks_of(far.host())), (1, 0));
        assert_eq!(held.load(Ordering::Relaxed), 1);
        assert!(world.runtime(far.host()).is_err());
        far.spawn(async {});
        assert_eq!(world.tasks(), 1, "the dead begin nothing");

        if !silently {
            assert_eq!(world.block_on(read_all(&mut here)).unwrap().unwrap(), b"");
        }
        world.restart(far.host()).unwrap();
        let dead = far.listen(at(&near, 9)).unwrap_err();
        assert_eq!(dead.kind(), io::ErrorKind::NotConnected);
        let dead = world.block_on(far.connect(at(&near, 9))).unwrap();
        assert_eq!(dead.unwrap_err().kind(), io::ErrorKind::NotConnected);

        let again = world.runtime(far.host()).unwrap();
        if silently {
            let told = async {
                write_all(&mut here, b"anybody?").await?;
                read_all(&mut here).await
            };
            let error = world.block_on(told).unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        assert_ne!(again.entropy().unwrap(), far.entropy().unwrap());
        drop(here);
        let (here, there) = world.block_on(pipe(&near, &again)).unwrap();
        drop((here, there));
        world.run_for(secs(1)).unwrap();
        assert_eq!(world.network().pipe_count(), 0);
    }
}

#[test]
fn dropping_the_world_drops_its_tasks_and_leaves_the_rest_harmless() {
    let mut world = World::new(0);
    let runtime = world.add_runtime("one").unwrap();
    let (mut here, there) = world.block_on(pipe(&runtime, &runtime)).unwrap();
    let listener = runtime.listen(at(&runtime, 9)).unwrap();
    let held = Arc::new(AtomicUsize::new(0));
    // Two that hold each other's wakers.
    let slots: Arc<Mutex<Vec<Waker>>> = Arc::default();
    for _ in 0..2 {
        let (slots, held) = (slots.clone(), Held::new(&held));
        runtime.spawn(poll_fn(move |cx| {
            let _ = &held;
            lock(&slots).push(cx.waker().clone());
            Poll::Pending
        }));
    }
    drop(slots);
    spawn_held(&runtime, &held);
    world.run_for(secs(2)).unwrap();
    let now = world.now();
    drop(world);
    assert_eq!(held.load(Ordering::Relaxed), 0);
    assert_eq!(runtime.now(), now);
    let mut timer = runtime.timer();
    timer.arm(Instant::ZERO);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(timer.poll(&mut cx).is_pending());
    let read = here.poll_read(&mut cx, &mut BytesMut::with_capacity(9));
    assert!(matches!(read, Poll::Ready(Err(_))));
    assert!(runtime.listen(at_any()).is_err());
    assert!(runtime.addresses().is_empty());
    drop((here, there, listener));
}

fn at_any() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

#[test]
fn timers_follow_the_clock_of_their_host() {
    let mut world = World::new(0);
    let [one, other] = ["one", "other"].map(|name| world.add_runtime(name).unwrap());
    let fired = Arc::new(Mutex::new(Vec::new()));
    for runtime in [&one, &other] {
        let (clock, fired) = (runtime.clone(), fired.clone());
        runtime.spawn(async move {
            clock.sleep(secs(100)).await;
            lock(&fired).push((clock.host(), clock.now()));
        });
    }
    let began = world.now();
    world.run_for(secs(10)).unwrap();
    world.jump_clock(one.host(), secs(80)).unwrap();
    assert_eq!(one.now(), began + secs(90));
    assert_eq!(other.now(), began + secs(10));
    world.run_for(secs(9)).unwrap();
    assert!(lock(&fired).is_empty());
    world.run_for(secs(1)).unwrap();
    assert_eq!(*lock(&fired), [(one.host(), began + secs(100))]);
    world.run_for(secs(79)).unwrap();
    assert_eq!(lock(&fired).len(), 1);
    world.run_for(secs(1)).unwrap();
    assert_eq!(lock(&fired)[1], (other.host(), began + secs(100)));
    // Past its deadline at a stroke.
    let clock = one.clone();
    one.spawn(async move { clock.sleep(secs(50)).await });
    world.run_for(secs(1)).unwrap();
    world.jump_clock(one.host(), secs(500)).unwrap();
    world.run_for(secs(0)).unwrap();
    assert_eq!(world.tasks(), 0);
}

#[test]
fn calendars_go_with_the_clock_and_can_be_set() {
    let mut world = World::new(0);
    let runtime = world.add_runtime("one").unwrap();
    let before = runtime.unix();
    world.run_for(secs(5)).unwrap();
    world.jump_clock(runtime.host(), secs(7)).unwrap();
    assert_eq!(runtime.unix(), before.saturating_add(secs(12)));
    let (ahead, behind) = (secs(0), secs(3600));
    world.set_calendar(runtime.host(), ahead, behind).unwrap();
    let passed = before.saturating_duration_since(runtime.unix());
    assert_eq!(passed, secs(3600 - 12));
}

#[test]
fn late_timers_are_late_and_never_early() {
    let mut world = World::new(3);
    let runtime = world.add_runtime("one").unwrap();
    let host = runtime.host();
    world.make_timers_late(host, 0.5, secs(10)).unwrap();
    let mut late = 0;
    for _ in 0..100 {
        let began = world.now();
        world.block_on(runtime.sleep(secs(1))).unwrap();
        let took = world.now() - began;
        assert!(took >= secs(1) && took <= secs(11));
        late += u32::from(took > secs(1));
    }
    assert!((30..70).contains(&late), "{late}");
    assert_eq!(
        u64::from(late),
        world.statistics().faults.of(Fault::LateTimer)
    );
}

#[test]
fn a_timer_can_be_armed_again_and_one_at_the_end_of_time_never_fires() {
    let mut world = World::new(0);
    let runtime = world.add_runtime("one").unwrap();
    let mut timer = runtime.timer();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(timer.poll(&mut cx).is_pending(), "it is not armed");
    timer.arm(runtime.now() + secs(5));
    assert!(timer.poll(&mut cx).is_pending());
    timer.arm(runtime.now() + secs(50));
    assert!(timer.poll(&mut cx).is_pending());
    assert_eq!(world.next_step(), Some(world.now() + secs(50)));
    world.block_on(poll_fn(|cx| timer.poll(cx))).unwrap();
    assert!(timer.poll(&mut cx).is_pending(), "it has fired");
    timer.arm(Instant::ZERO);
    assert!(timer.poll(&mut cx).is_ready(), "that has passed");
    timer.arm(Instant::FAR_FUTURE);
    let never = world.block_on(poll_fn(|cx| timer.poll(cx)));
    assert!(matches!(never, Err(Stopped::Stalled)));
    timer.arm(runtime.now() + secs(5));
    assert!(timer.poll(&mut cx).is_pending());
    drop(timer);
    assert_eq!(world.next_step(), None);
}

#[test]
fn names_are_those_of_the_world() {
    let mut world = World::new(0);
    let runtime = world.add_runtime("one").unwrap();
    let addresses = vec![IpAddr::from([10, 1, 1, 1])];
    world.set_name("example.com", addresses.clone());
    world.set_text("_dnsaddr.example.com", vec!["dnsaddr=/ip4".into()]);
    let found = world.block_on(runtime.lookup("example.com")).unwrap();
    assert_eq!(found.unwrap(), addresses);
    let text = world.block_on(runtime.lookup_txt("_dnsaddr.example.com"));
    assert_eq!(text.unwrap().unwrap(), ["dnsaddr=/ip4"]);
    let unknown = world.block_on(runtime.lookup("example.org")).unwrap();
    assert_eq!(unknown.unwrap_err().kind(), io::ErrorKind::NotFound);
    let unknown = world.block_on(runtime.lookup_txt("example.com")).unwrap();
    assert_eq!(unknown.unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(runtime.interfaces(), runtime.addresses());
}

#[test]
fn entropy_follows_from_the_seed_and_never_comes_twice() {
    let draw = |seed| {
        let mut world = World::new(seed);
        let hosts = ["one", "other"].map(|name| world.add_runtime(name).unwrap());
        hosts.map(|host| [(); 2].map(|()| host.entropy().unwrap()))
    };
    assert_eq!(draw(1), draw(1));
    let all: std::collections::BTreeSet<_> =
        [draw(1), draw(2)].into_iter().flatten().flatten().collect();
    assert_eq!(all.len(), 8);
}

#[test]
fn the_hash_covers_what_tasks_read_and_write() {
    let hash = |data: &'static [u8]| {
        let mut world = World::new(1);
        let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
        let (mut here, mut there) = world.block_on(pipe(&near, &far)).unwrap();
        world.block_on(write_all(&mut here, data)).unwrap().unwrap();
        let read = world.block_on(read_all(&mut there)).unwrap().unwrap();
        assert_eq!(read, data);
        let lines = world.trace();
        assert!(lines.iter().any(|line| line.contains("Write: 5 bytes")));
        world.trace_hash()
    };
    assert_eq!(hash(b"hello"), hash(b"hello"));
    assert_ne!(hash(b"hello"), hash(b"hallo"));
}
