//! smol's own executor, and others.

use crate::shared::{Environment, host};
use core::time::Duration;
use drywire::swarm::{DialOptions, Event};
use drywire_smol::{AsyncIoRuntime, GlobalExecutor, OwnExecutor, SmolRuntime};
use smol::{Executor, future};
use std::{sync::Arc, thread};

pub(crate) struct Global;

impl Environment for Global {
    type Spawn = GlobalExecutor;

    fn run(test: impl AsyncFnOnce(AsyncIoRuntime<GlobalExecutor>)) {
        smol::block_on(test(SmolRuntime::global()));
    }
}

/// An executor on so many threads.
pub(crate) struct Own<const THREADS: usize>;

impl<const THREADS: usize> Environment for Own<THREADS> {
    type Spawn = OwnExecutor;

    fn run(test: impl AsyncFnOnce(AsyncIoRuntime<OwnExecutor>)) {
        let executor = Arc::new(Executor::new());
        let runtime = SmolRuntime::on(&executor);
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 1..THREADS {
                scope.spawn(|| smol::block_on(executor.run(stopped.recv())));
            }
            // Dropped with the test, should it panic.
            let stop = stop;
            smol::block_on(executor.run(test(runtime)));
            drop(stop);
        });
    }
}

/// Fails if tasks keep their executor: then nothing would ever end them, nor close their sockets.
#[test]
fn the_end_of_an_executor_is_the_end_of_its_hosts() {
    let server = host(&SmolRuntime::global());
    let mut events = server.events(16);
    let executor = Arc::new(Executor::new());
    let client = smol::block_on(executor.run(async {
        let client = host(&SmolRuntime::on(&executor));
        let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap());
        let address = bound.await.unwrap().address;
        client.dial(DialOptions::address(address)).await.unwrap();
        client
    }));
    let ended = Arc::downgrade(&executor);
    drop(executor);
    assert!(ended.upgrade().is_none());
    let late = async || {
        smol::Timer::after(Duration::from_secs(10)).await;
        panic!("nobody says so");
    };
    let gone = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::ConnectionClosed { .. }) {
                return;
            }
        }
        panic!("the server ended");
    };
    smol::block_on(future::or(gone, late()));
    // What is left of it says so instead of waiting for ever.
    let dial = async {
        let nowhere = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        client
            .dial(DialOptions::address(nowhere))
            .await
            .unwrap_err();
    };
    smol::block_on(future::or(dial, late()));
}
