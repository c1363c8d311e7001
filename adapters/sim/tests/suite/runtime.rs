//! The engine's hosts in a world: async code on bad links, in virtual time.

use bytes::Bytes;
use core::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::{Standard, StandardEvent},
    swarm::{DialOptions, Event},
    time::Instant,
};
use drywire_engine::{AcceptOptions, Host, Runtime, Stream};
use drywire_sim::{
    HostBuilder, Link, SimRuntime, TraceHash, World,
    workload::{ECHO, Echo, EchoConfig},
};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};

type AsyncHost = Host<Standard>;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bad_link() -> Link {
    Link::default()
        .latency(Duration::from_millis(40))
        .jitter(0.3)
        .loss(0.01)
        .biased_pieces()
}

fn start(runtime: &SimRuntime) -> AsyncHost {
    Host::builder(runtime.clone(), Standard::default())
        .start()
        .unwrap()
}

async fn listen(runtime: &SimRuntime, host: &AsyncHost) -> Multiaddr {
    let ip = runtime.addresses()[0];
    let address = format!("/ip4/{ip}/tcp/4001").parse().unwrap();
    let bound = host.listen(address).await.unwrap();
    bound.address.with_peer_id(host.peer_id()).unwrap()
}

/// Sends back whatever comes, for ever.
fn serve_echo(runtime: &SimRuntime, host: &AsyncHost) {
    let mut incoming = host.accept_with(ECHO, AcceptOptions::new(64)).unwrap();
    let runtime = runtime.clone();
    runtime.clone().spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            runtime.spawn(echo(stream));
        }
    });
}

async fn echo(mut stream: Stream) {
    while let Ok(Some(mut bytes)) = stream.read_bytes(65_536).await {
        if stream.write_bytes(&mut bytes).await.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

async fn dial(host: &AsyncHost, address: &Multiaddr) -> PeerId {
    let options = DialOptions::address(address.clone());
    host.dial(options).await.unwrap().peer
}

fn data(len: usize) -> Bytes {
    (0..len as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect::<Vec<_>>()
        .into()
}

/// Sends these on a stream, and returns the hash of what comes back.
async fn round_trip(stream: Stream, data: Bytes) -> [u8; 32] {
    let stream = Arc::new(Mutex::new(stream));
    let mut hash = Sha256::new();
    let send = async {
        let mut left = data;
        while !left.is_empty() {
            poll_fn(|cx| stream.lock().unwrap().poll_write_bytes(cx, &mut left))
                .await
                .unwrap();
        }
        stream.lock().unwrap().finish().unwrap();
    };
    let receive = async {
        let read = || poll_fn(|cx| stream.lock().unwrap().poll_read_bytes(cx, 10_000));
        while let Some(bytes) = read().await.unwrap() {
            hash.update(&bytes);
        }
    };
    let (mut send, mut receive) = (pin!(send), pin!(receive));
    let (mut sent, mut received) = (false, false);
    poll_fn(|cx| {
        sent = sent || send.as_mut().poll(cx).is_ready();
        received = received || receive.as_mut().poll(cx).is_ready();
        match received {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    hash.finalize().into()
}

/// A world with a server that echoes and a client. What happened when, and the hash of everything.
fn conversation(seed: u64, shuffle: bool) -> (Vec<(&'static str, Instant)>, TraceHash) {
    let mut world = World::new(seed);
    world.set_default_link(bad_link()).unwrap();
    world.shuffle_tasks(shuffle);
    let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
    let mut times = Vec::new();
    let talk = async {
        let server = start(&far);
        let address = listen(&far, &server).await;
        serve_echo(&far, &server);
        let client = start(&near);
        let peer = dial(&client, &address).await;
        assert_eq!(peer, server.peer_id());
        times.push(("dialed", near.now()));
        let data = data(1024 * 1024);
        let expected: [u8; 32] = Sha256::digest(&data).into();
        let stream = client.open_stream(peer, ECHO).await.unwrap();
        times.push(("opened", near.now()));
        assert_eq!(round_trip(stream, data).await, expected);
        times.push(("returned", near.now()));
        client.shutdown().await;
        server.shutdown().await;
        times.push(("shut down", near.now()));
    };
    world.block_on(talk).unwrap();
    world.run_for(secs(10)).unwrap();
    assert_eq!(world.tasks(), 0);
    assert_eq!(world.network().pipe_count(), 0);
    assert_eq!(world.next_step(), None, "nothing is left to happen");
    (times, world.trace_hash())
}

#[test]
fn a_mebibyte_comes_back_over_a_bad_link_at_the_same_times_for_the_same_seed() {
    let first = conversation(1, false);
    assert_eq!(first, conversation(1, false));
    assert_ne!(first, conversation(2, false));
    let shuffled = conversation(1, true);
    assert_eq!(shuffled, conversation(1, true));
    assert_ne!(shuffled.1, first.1);
}

#[test]
fn an_async_host_serves_a_machine_that_checks_every_byte() {
    let mut world = World::new(4);
    world.set_default_link(bad_link()).unwrap();
    let runtime = world.add_runtime("async").unwrap();
    let server = start(&runtime);
    let address = world.block_on(listen(&runtime, &server)).unwrap();
    serve_echo(&runtime, &server);
    let mut config = EchoConfig::default();
    config.every = Some(secs(1));
    config.lengths = vec![10, 1000, 100_000];
    config.connections = 1;
    config.targets = vec![address];
    let machine = HostBuilder::standard("machine").application(Echo::new(config));
    let machine = world.add(machine).unwrap();
    world.run_for(secs(300)).unwrap();
    let results = world.application(machine).unwrap().results().clone();
    assert!(results.succeeded > 200, "{results:?}");
    assert_eq!(results.failed, 0);
}

#[test]
fn an_async_host_pings_a_machine_and_sees_it_crash_and_come_back() {
    let mut world = World::new(5);
    world.set_default_link(bad_link()).unwrap();
    let runtime = world.add_runtime("async").unwrap();
    let machine = world.add(HostBuilder::standard("machine")).unwrap();
    let (address, peer) = (
        world.address(machine).unwrap(),
        world.peer_id(machine).unwrap(),
    );
    let host = start(&runtime);
    let mut events = host.events(1000);
    assert_eq!(world.block_on(dial(&host, &address)).unwrap(), peer);
    let pinged = async {
        loop {
            if let Event::Protocol(StandardEvent::Ping(ping)) = events.next().await.unwrap() {
                return ping.result;
            }
        }
    };
    assert!(world.block_on(pinged).unwrap().is_ok());
    world.crash(machine).unwrap();
    let closed =
        async { while !matches!(events.next().await.unwrap(), Event::ConnectionClosed { .. }) {} };
    world.block_on(closed).unwrap();
    let refused = host.dial(DialOptions::address(address.clone()));
    assert!(world.block_on(refused).unwrap().is_err());
    world.restart(machine).unwrap();
    world.run_for(secs(600)).unwrap();
    assert_eq!(world.block_on(dial(&host, &address)).unwrap(), peer);
}

#[test]
fn given_up_at_any_time_a_dial_leaves_nothing_behind() {
    let mut completed = 0;
    for step in 0..40 {
        let mut world = World::new(step);
        world.set_default_link(bad_link()).unwrap();
        let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
        let server = start(&far);
        let address = world.block_on(listen(&far, &server)).unwrap();
        let client = start(&near);
        let given_up = async {
            let mut dial = pin!(client.dial(DialOptions::address(address)));
            let mut sleep = pin!(near.sleep(Duration::from_millis(20 * step)));
            poll_fn(|cx| match dial.as_mut().poll(cx) {
                Poll::Ready(dialed) => Poll::Ready(dialed.is_ok()),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| false),
            })
            .await
        };
        completed += u32::from(world.block_on(given_up).unwrap());
        // A connection that nobody uses is closed.
        world.run_for(secs(120)).unwrap();
        assert_eq!(world.network().pipe_count(), 0, "{step}");
        assert_eq!(world.tasks(), 2, "only those of the swarms are left");
        drop((client, server));
        world.run_for(secs(60)).unwrap();
        assert_eq!(world.tasks(), 0);
        assert_eq!(world.next_step(), None);
    }
    assert!((5..35).contains(&completed), "{completed}");
}

#[test]
fn a_crash_takes_a_host_with_all_its_tasks_and_its_next_life_can_serve_again() {
    for silently in [false, true] {
        let mut world = World::new(6);
        world.set_default_link(bad_link()).unwrap();
        let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
        let server = start(&far);
        let address = world.block_on(listen(&far, &server)).unwrap();
        serve_echo(&far, &server);
        let client = start(&near);
        let peer = world.block_on(dial(&client, &address)).unwrap();
        let mut stream = world
            .block_on(client.open_stream(peer, ECHO))
            .unwrap()
            .unwrap();
        let down = if silently {
            world.lose_power(far.host())
        } else {
            world.crash(far.host())
        };
        down.unwrap();
        assert_eq!(world.tasks_of(far.host()), 0);
        let lost = async {
            let mut data = data(100_000);
            while !data.is_empty() {
                stream.write_bytes(&mut data).await.map_err(drop)?;
            }
            while stream.read_bytes(1000).await.map_err(drop)?.is_some() {}
            Ok::<_, ()>(())
        };
        assert!(world.block_on(lost).unwrap().is_err(), "{silently}");

        world.restart(far.host()).unwrap();
        let again = world.runtime(far.host()).unwrap();
        let server = start(&again);
        let address = world.block_on(listen(&again, &server)).unwrap();
        serve_echo(&again, &server);
        let returned = async {
            let peer = dial(&client, &address).await;
            let stream = client.open_stream(peer, ECHO).await.unwrap();
            round_trip(stream, data(5000)).await
        };
        let expected: [u8; 32] = Sha256::digest(data(5000)).into();
        assert_eq!(world.block_on(returned).unwrap(), expected);
    }
}

#[test]
fn async_code_meets_a_partition_that_heals() {
    let mut world = World::new(7);
    world.set_default_link(bad_link()).unwrap();
    let [near, far] = ["near", "far"].map(|name| world.add_runtime(name).unwrap());
    let server = start(&far);
    let address = world.block_on(listen(&far, &server)).unwrap();
    serve_echo(&far, &server);
    let client = start(&near);
    let peer = world.block_on(dial(&client, &address)).unwrap();
    let stream = world
        .block_on(client.open_stream(peer, ECHO))
        .unwrap()
        .unwrap();
    let parted = world.isolate([near.host()]);
    world.after(secs(8), move |world| world.heal(parted));
    let began = world.now();
    let expected: [u8; 32] = Sha256::digest(data(5000)).into();
    let returned = world.block_on(round_trip(stream, data(5000))).unwrap();
    assert_eq!(returned, expected);
    assert!(world.now() - began >= secs(8));
}
