//! What the tests of hosts share.

pub(crate) mod sites;

use bytes::Bytes;
use core::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::{
    connection::{ConnectionId, Slot},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{self, Config, DialOptions, Input, Protocol},
    time::Instant,
};
use drywire_engine::{Host, Runtime, Stream};
use drywire_sim::{Link, SimRuntime, World};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// A node without protocols of its own, that counts connections.
#[derive(Debug, Default)]
pub(crate) struct Nothing {
    pub(crate) up: u32,
    pub(crate) down: u32,
}

impl Protocol for Nothing {
    type Event = ();

    fn start(&mut self, _: &mut swarm::Context<'_, ()>) {}

    fn handle(&mut self, _: Slot, input: Input<'_>, _: &mut swarm::Context<'_, ()>) {
        match input {
            Input::ConnectionUp { .. } => self.up += 1,
            Input::ConnectionDown { .. } => self.down += 1,
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A world with a runtime, on which all hosts of a test are; they are 1 ms apart.
pub(crate) fn world(seed: u64) -> (World, SimRuntime) {
    world_with(seed, Link::default(), false)
}

/// The same with a link between the hosts, and with tasks run in any order or as they were woken.
pub(crate) fn world_with(seed: u64, link: Link, shuffle: bool) -> (World, SimRuntime) {
    let mut world = World::new(seed);
    world.shuffle_tasks(shuffle);
    let runtime = world.add_runtime("machine").unwrap();
    world
        .set_link(runtime.host(), runtime.host(), link)
        .unwrap();
    (world, runtime)
}

/// Resets every pipe that was accepted there.
pub(crate) fn cut(runtime: &SimRuntime, listener: &Multiaddr) {
    let (ip, port, _) = listener.socket_addr().unwrap();
    let listener = SocketAddr::new(ip, port);
    runtime.with_network(|network, now| {
        let ends: Vec<_> = network.ends_of(runtime.host()).collect();
        for end in ends {
            let addresses = network.endpoint_addresses(end);
            if addresses.is_some_and(|(local, _)| local == listener) {
                network.reset(now, end);
            }
        }
    });
}

pub(crate) type TestHost = Host<Nothing>;

pub(crate) fn host(runtime: &SimRuntime) -> TestHost {
    host_with(runtime, Config::default())
}

pub(crate) fn host_with(runtime: &SimRuntime, config: Config) -> TestHost {
    Host::builder(runtime.clone(), Nothing::default())
        .config(config)
        .start()
        .unwrap()
}

pub(crate) async fn listen(host: &TestHost) -> Multiaddr {
    let bound = host
        .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .await
        .unwrap();
    bound.address.with_peer_id(host.peer_id()).unwrap()
}

/// A server that echoes, a client, and the connection between them.
pub(crate) async fn pair(
    runtime: &SimRuntime,
    config: Config,
) -> (TestHost, TestHost, PeerId, Multiaddr) {
    let server = host_with(runtime, config.clone());
    let address = listen(&server).await;
    serve_echo(runtime, &server, 1024);
    let client = host_with(runtime, config);
    let peer = dial(&client, &address).await.0;
    (server, client, peer, address)
}

pub(crate) async fn dial(client: &TestHost, address: &Multiaddr) -> (PeerId, ConnectionId) {
    let dialed = client
        .dial(DialOptions::address(address.clone()))
        .await
        .unwrap();
    (dialed.peer, dialed.connection)
}

pub(crate) fn serve_echo(runtime: &SimRuntime, host: &TestHost, capacity: usize) {
    let options = drywire_engine::AcceptOptions::new(capacity).max_streams(4096);
    let mut incoming = host.accept_with(ECHO, options).unwrap();
    let runtime = runtime.clone();
    runtime.clone().spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            runtime.spawn(echo(stream));
        }
    });
}

pub(crate) async fn echo(mut stream: Stream) {
    while let Ok(Some(mut bytes)) = stream.read_bytes(65_536).await {
        if stream.write_bytes(&mut bytes).await.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

/// Sends `data` on a stream and checks that it comes back; both at once, so that no window fills up.
pub(crate) async fn echoes(stream: Stream, data: Bytes) {
    let stream = Arc::new(Mutex::new(stream));
    let send = async {
        let mut left = data.clone();
        while !left.is_empty() {
            core::future::poll_fn(|cx| stream.lock().unwrap().poll_write_bytes(cx, &mut left))
                .await
                .unwrap();
        }
        stream.lock().unwrap().finish().unwrap();
    };
    let receive = async {
        let mut got = Vec::new();
        while let Some(bytes) =
            core::future::poll_fn(|cx| stream.lock().unwrap().poll_read_bytes(cx, 10_000))
                .await
                .unwrap()
        {
            got.extend_from_slice(&bytes);
        }
        assert!(
            got == data,
            "{} bytes came back for {}",
            got.len(),
            data.len()
        );
    };
    both(send, receive).await;
}

pub(crate) type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Waits for both in one task.
pub(crate) async fn both(
    one: impl Future<Output = ()> + Send,
    other: impl Future<Output = ()> + Send,
) {
    together(vec![Box::pin(one) as Task<'_>, Box::pin(other)]).await;
}

/// Waits for all in one task, and polls each whenever one is woken.
pub(crate) async fn together(mut futures: Vec<Task<'_>>) {
    core::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Waits for all, each in a task of its own.
pub(crate) async fn all(runtime: &SimRuntime, futures: Vec<Task<'static>>) {
    let left = Arc::new((AtomicUsize::new(futures.len()), Mutex::new(None::<Waker>)));
    for future in futures {
        let left = left.clone();
        runtime.spawn(async move {
            future.await;
            if left.0.fetch_sub(1, Ordering::Relaxed) == 1
                && let Some(waker) = left.1.lock().unwrap().take()
            {
                waker.wake();
            }
        });
    }
    core::future::poll_fn(|cx| {
        if left.0.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(());
        }
        *left.1.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Polls `future` at most `polls` times, then drops it.
pub(crate) async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    core::future::poll_fn(|cx: &mut Context<'_>| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            // Dropped without another wake-up: the moment does not matter, only that it is dropped pending.
            return Poll::Ready(None);
        }
        polled
    })
    .await
}

/// Drops `future` when so much time has passed.
pub(crate) async fn give_up_in<F: Future>(
    runtime: &SimRuntime,
    time: Duration,
    future: F,
) -> Option<F::Output> {
    let (mut future, mut sleep) = (pin!(future), pin!(runtime.sleep(time)));
    core::future::poll_fn(|cx| {
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
