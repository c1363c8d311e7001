//! Every future of a host may be dropped at any time: nothing is lost, nothing is left behind.

use crate::common::{
    ECHO, TestHost, dial, echoes, give_up_after, give_up_in, host, host_with, listen, pair,
    serve_echo, world, world_with,
};
use bytes::Bytes;
use core::{future::Future, time::Duration};
use drywire::{
    multistream::ProtocolName,
    swarm::{Config, DialOptions},
};
use drywire_sim::{Link, SimRuntime};

const OTHER: ProtocolName = ProtocolName::from_static("/other/1.0.0");

/// Runs `attempt`, which drops its future after so many polls and says whether it had completed, with ever more polls
/// until it has.
fn at_every_await<F, Fut>(attempt: F)
where
    F: Fn(SimRuntime, usize) -> Fut,
    Fut: Future<Output = bool>,
{
    for polls in 0.. {
        assert!(polls < 1000, "it never completes");
        let (mut world, runtime) = world(polls as u64);
        let completed = world
            .block_on(attempt(runtime.clone(), polls))
            .unwrap_or_else(|_| panic!("stalled after {polls}"));
        // All handles are gone: nothing may be left running.
        world.run_for(Duration::from_secs(30)).unwrap();
        assert_eq!(
            world.tasks(),
            0,
            "left behind when dropped after {polls} polls"
        );
        if completed {
            assert!(polls > 1, "it had no await to be dropped at");
            return;
        }
    }
}

/// The hosts still do their work.
async fn still_works(client: &TestHost, server: &TestHost) {
    let stream = client.open_stream(server.peer_id(), ECHO).await.unwrap();
    echoes(stream, Bytes::from_static(b"still working")).await;
}

#[test]
fn dialing() {
    at_every_await(|runtime, polls| async move {
        let server = host(&runtime);
        let address = listen(&server).await;
        serve_echo(&runtime, &server, 16);
        let client = host(&runtime);
        client.add_address(server.peer_id(), &address);
        let dialed = give_up_after(polls, client.dial(DialOptions::address(address))).await;
        still_works(&client, &server).await;
        dialed.is_some()
    });
}

#[test]
fn a_dial_nobody_waits_for_is_given_up() {
    let link = Link::default().latency(Duration::from_secs(2));
    let (mut world, runtime) = world_with(1, link, false);
    let client = host(&runtime);
    let nobody = DialOptions::address("/ip4/127.0.0.1/tcp/1".parse().unwrap());
    let other = nobody.clone();
    let given_up = give_up_in(&runtime, Duration::from_secs(1), client.dial(nobody));
    assert!(world.block_on(given_up).unwrap().is_none());
    world.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(world.tasks(), 1, "only the swarm's task is left");
    // Unless another waits for the same.
    let given_up = give_up_in(&runtime, Duration::from_secs(1), client.dial(other.clone()));
    let both = async {
        let waits = client.dial(other);
        let (mut given_up, mut waits) = (core::pin::pin!(given_up), core::pin::pin!(waits));
        assert!(give_up_after(1, given_up.as_mut()).await.is_none());
        assert!(give_up_after(1, waits.as_mut()).await.is_none());
        assert!(given_up.await.is_none());
        waits.await.unwrap_err().to_string()
    };
    assert!(world.block_on(both).unwrap().contains("refused"));
}

#[test]
fn listening() {
    at_every_await(|runtime, polls| async move {
        let server = host(&runtime);
        let address = "/ip4/127.0.0.1/tcp/5000".parse().unwrap();
        let bound = give_up_after(polls, server.listen(address)).await;
        // Given up, the port is free again.
        let other = host(&runtime);
        runtime.sleep(Duration::from_millis(1)).await;
        let again = other
            .listen("/ip4/127.0.0.1/tcp/5000".parse().unwrap())
            .await;
        assert_eq!(again.is_ok(), bound.is_none());
        bound.is_some()
    });
}

#[test]
fn opening_a_stream() {
    at_every_await(|runtime, polls| async move {
        let (server, client, peer, _) = pair(&runtime, Config::default()).await;
        let opened = give_up_after(polls, client.open_stream(peer, ECHO)).await;
        still_works(&client, &server).await;
        opened.is_some()
    });
}

#[test]
fn opening_a_stream_to_a_peer_that_has_to_be_dialed() {
    at_every_await(|runtime, polls| async move {
        let server = host(&runtime);
        let address = listen(&server).await;
        serve_echo(&runtime, &server, 16);
        let client = host(&runtime);
        client.add_address(server.peer_id(), &address);
        let opened =
            give_up_after(polls, client.open_stream_optimistic(server.peer_id(), ECHO)).await;
        still_works(&client, &server).await;
        opened.is_some()
    });
}

#[test]
fn opening_a_stream_where_there_is_no_room() {
    at_every_await(|runtime, polls| async move {
        let server = host(&runtime);
        let address = listen(&server).await;
        serve_echo(&runtime, &server, 16);
        let mut config = Config::default();
        config.connection.max_streams = 1;
        let client = host_with(&runtime, config);
        let peer = dial(&client, &address).await.0;
        let first = client.open_stream(peer, ECHO).await.unwrap();
        let (second, third) = (
            client.open_stream(peer, ECHO),
            client.open_stream(peer, ECHO),
        );
        let mut second = Box::pin(second);
        assert!(give_up_after(1, second.as_mut()).await.is_none());
        // The third waits behind the second, which gives up when there is room.
        let opened = async {
            drop(first);
            let second = give_up_after(polls, second).await;
            let completed = second.is_some();
            drop(second);
            third.await.unwrap();
            completed
        };
        let completed = opened.await;
        still_works(&client, &server).await;
        completed
    });
}

#[test]
fn taking_incoming_streams_and_events() {
    at_every_await(|runtime, polls| async move {
        let server = host(&runtime);
        let address = listen(&server).await;
        serve_echo(&runtime, &server, 16);
        let mut events = server.events(16);
        let mut incoming = server.accept(OTHER, 4).unwrap();
        let client = host(&runtime);
        let event = give_up_after(polls, async {
            let dialed = dial(&client, &address);
            let ((peer, _), event) = (dialed.await, events.next().await);
            (peer, event.unwrap())
        })
        .await;
        let stream = give_up_after(polls, async {
            let mut near = client
                .open_stream_optimistic(server.peer_id(), OTHER)
                .await
                .ok()?;
            near.write_bytes(&mut Bytes::from_static(b"x")).await.ok()?;
            near.finish().ok()?;
            incoming.next().await
        })
        .await
        .flatten();
        client.add_address(server.peer_id(), &address);
        still_works(&client, &server).await;
        event.is_some() && stream.is_some()
    });
}

#[test]
fn reading_and_writing_lose_no_byte() {
    at_every_await(|runtime, polls| async move {
        let server = host(&runtime);
        let address = listen(&server).await;
        let mut incoming = server.accept(OTHER, 4).unwrap();
        let client = host(&runtime);
        let peer = dial(&client, &address).await.0;
        let mut near = client.open_stream(peer, OTHER).await.unwrap();
        let (_, mut far) = incoming.next().await.unwrap();
        let mut left = Bytes::from(vec![7; 2_000_000]);
        let mut got: usize = 0;
        let mut cancelled = false;
        // Alternately, each given up after so many polls, until all is through.
        while got < 2_000_000 {
            let pause = |n: usize| Duration::from_micros((1 + polls % n) as u64 * 300);
            if !left.is_empty() {
                let write = give_up_in(&runtime, pause(7), near.write_bytes(&mut left)).await;
                cancelled |= write.is_none();
            }
            match give_up_in(&runtime, pause(5), far.read_bytes(100_000)).await {
                Some(bytes) => got += bytes.unwrap().expect("not the end").len(),
                None => cancelled = true,
            }
        }
        assert!(cancelled);
        assert_eq!(got, 2_000_000);
        polls >= 35
    });
}

#[test]
fn shutting_down() {
    at_every_await(|runtime, polls| async move {
        let (server, client, peer, _) = pair(&runtime, Config::default()).await;
        let _stream = client.open_stream(peer, ECHO).await.unwrap();
        let done = give_up_after(polls, client.shutdown()).await;
        // Begun is begun, unless it was never polled.
        if polls > 0 {
            client.shutdown().await;
        }
        drop(server);
        done.is_some()
    });
}
