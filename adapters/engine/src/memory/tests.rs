use super::*;
use crate::runtime::{Listener as _, Pipe as _};
use bytes::BytesMut;
use core::future::poll_fn;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn write_all(pipe: &mut MemoryPipe, mut data: &[u8]) {
    while !data.is_empty() {
        let n = poll_fn(|cx| pipe.poll_write(cx, data)).await.unwrap();
        data = &data[n..];
    }
    poll_fn(|cx| pipe.poll_shutdown(cx)).await.unwrap();
}

async fn read_all(pipe: &mut MemoryPipe) -> Vec<u8> {
    let mut all = BytesMut::new();
    while poll_fn(|cx| pipe.poll_read(cx, &mut all)).await.unwrap() > 0 {}
    all.to_vec()
}

fn transfer(seed: u64, conditions: Conditions) -> (Instant, usize) {
    let world = World::with_conditions(seed, conditions);
    let runtime = world.runtime();
    let data: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let expected = data.clone();
    let mut listener = runtime.listen(address(0)).unwrap();
    let bound = listener.local_addr().unwrap();
    runtime.spawn({
        let runtime = runtime.clone();
        async move {
            let mut pipe = runtime.connect(bound).await.unwrap();
            write_all(&mut pipe, &data).await;
            assert!(read_all(&mut pipe).await.is_empty());
        }
    });
    let received = world
        .block_on(async move {
            let (mut pipe, _) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            read_all(&mut pipe).await
        })
        .unwrap();
    assert_eq!(received, expected);
    (world.now(), received.len())
}

#[test]
fn bytes_arrive_whole_under_every_condition_and_the_same_seed_takes_the_same_time() {
    for seed in 0..20 {
        let conditions = Conditions {
            capacity: 1 + (seed as usize * 997) % 5000,
            max_read: Some(1 + seed as usize * 50),
            shuffle: true,
            ..Conditions::default()
        };
        assert_eq!(
            transfer(seed, conditions.clone()),
            transfer(seed, conditions)
        );
    }
}

#[test]
fn a_future_nobody_can_wake_is_reported() {
    let world = World::new(0);
    assert_eq!(world.block_on(core::future::pending::<()>()), Err(Stalled));
}

#[test]
fn connecting_to_nobody_is_refused_and_a_cut_reaches_both_ends() {
    let world = World::new(0);
    let runtime = world.runtime();
    let refused = world
        .block_on(runtime.connect(address(7)))
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    let mut listener = runtime.listen(address(7)).unwrap();
    assert_eq!(
        runtime.listen(address(7)).unwrap_err().kind(),
        io::ErrorKind::AddrInUse
    );
    let mut near = world
        .block_on(runtime.connect(address(7)))
        .unwrap()
        .unwrap();
    let (mut far, _) = world
        .block_on(poll_fn(|cx| listener.poll_accept(cx)))
        .unwrap()
        .unwrap();
    world.cut(address(7));
    for pipe in [&mut near, &mut far] {
        let mut buf = BytesMut::new();
        let error = world
            .block_on(poll_fn(|cx| pipe.poll_read(cx, &mut buf)))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn dropping_the_world_drops_its_tasks() {
    let world = World::new(0);
    let runtime = world.runtime();
    let held = Arc::new(());
    let seen = Arc::downgrade(&held);
    runtime.spawn({
        let runtime = runtime.clone();
        async move {
            runtime.sleep(Duration::from_secs(1)).await;
            runtime.sleep(Duration::from_secs(1000)).await;
            drop(held);
        }
    });
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.tasks(), 1);
    drop(world);
    assert!(seen.upgrade().is_none());
}
