//! Hosts over the in-memory runtime.

use crate::common::{
    ECHO, Task, TestHost, all, cut, dial, echo, echoes, host, host_with, listen, pair, serve_echo,
    together, world, world_with,
};
use bytes::Bytes;
use core::{
    future::{Future as _, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};
use drywire::{
    connection::{ConnectionError, StreamError},
    multistream::ProtocolName,
    swarm::{Config, DialOptions, Event},
};
use drywire_engine::{AcceptError, ConnectError, OpenStreamError, Runtime, WriteError};
use drywire_sim::{Link, network::Pieces};

const OTHER: ProtocolName = ProtocolName::from_static("/other/1.0.0");

fn data(len: usize) -> Bytes {
    (0..len)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// A link on which nothing takes time: what needs the clock to go on has lost a wake-up.
fn timeless(seed: u64) -> Link {
    let mut link = Link::default()
        .latency(Duration::ZERO)
        .buffer(64 << (seed % 12));
    link.pieces = match seed % 3 {
        0 => Pieces::Whole,
        1 => Pieces::AtMost(1 << (seed % 13)),
        _ => Pieces::Biased,
    };
    link
}

#[test]
fn no_wake_up_is_lost_under_any_schedule() {
    for seed in 0..60 {
        let (mut world, runtime) = world_with(seed, timeless(seed), true);
        let began = runtime.now();
        world
            .block_on(async {
                let (_server, client, peer, _) = pair(&runtime, Config::default()).await;
                let streams = (0..20usize).map(|number| {
                    let client = client.clone();
                    let task: Task<'static> = Box::pin(async move {
                        let stream = match number % 2 {
                            0 => client.open_stream(peer, ECHO).await.unwrap(),
                            _ => client.open_stream_optimistic(peer, ECHO).await.unwrap(),
                        };
                        echoes(stream, data(1 << number.min(17))).await;
                    });
                    task
                });
                together(streams.collect()).await;
            })
            .unwrap_or_else(|_| panic!("seed {seed} stalled"));
        assert_eq!(runtime.now(), began, "seed {seed} needed a timer to go on");
    }
}

#[test]
fn no_wake_up_is_lost_between_tasks_of_one_stream_each() {
    for seed in 0..60 {
        let (mut world, runtime) = world_with(seed, timeless(seed), true);
        let began = runtime.now();
        world
            .block_on(async {
                let (_server, client, peer, _) = pair(&runtime, Config::default()).await;
                let tasks = (0..30usize).map(|number| {
                    let client = client.clone();
                    let task: Task<'static> = Box::pin(async move {
                        for round in 0..5 {
                            let stream = client.open_stream_optimistic(peer, ECHO).await.unwrap();
                            echoes(stream, data(number * 97 * round)).await;
                        }
                    });
                    task
                });
                all(&runtime, tasks.collect()).await;
            })
            .unwrap_or_else(|_| panic!("seed {seed} stalled"));
        assert_eq!(runtime.now(), began, "seed {seed} needed a timer to go on");
    }
}

#[test]
fn a_driver_that_stops_on_its_budget_goes_on_by_itself() {
    for seed in 0..10 {
        let link = Link::default().latency(Duration::ZERO).buffer(4 << 20);
        let (mut world, runtime) = world_with(seed, link, true);
        let began = runtime.now();
        world
            .block_on(async {
                let server = host(&runtime);
                let address = listen(&server).await;
                serve_echo(&runtime, &server, 16);
                let mut incoming = server.accept(OTHER, 16).unwrap();
                let client = host(&runtime);
                let peer = dial(&client, &address).await.0;
                let mut held = Vec::new();
                for _ in 0..6 {
                    let mut near = client.open_stream(peer, OTHER).await.unwrap();
                    held.push(incoming.next().await.unwrap().1);
                    // As much as fits into the window, which nobody reads, so that nobody wakes the server's driver.
                    near.write_bytes(&mut data(256 * 1024)).await.unwrap();
                    held.push(near);
                }
                let stream = client.open_stream(peer, ECHO).await.unwrap();
                echoes(stream, data(100)).await;
            })
            .unwrap_or_else(|_| panic!("seed {seed} stalled"));
        assert_eq!(runtime.now(), began, "seed {seed} needed a timer to go on");
    }
}

#[test]
fn reading_makes_room_for_a_connection_that_holds_too_much() {
    let (mut world, runtime) = world_with(2, timeless(0), true);
    let mut config = Config::default();
    config.resources.initial.bytes = 40 * 1024;
    config.resources.connection.bytes = 40 * 1024;
    let began = runtime.now();
    world
        .block_on(async {
            let server = host_with(&runtime, config);
            let address = listen(&server).await;
            let mut incoming = server.accept(OTHER, 16).unwrap();
            let client = host(&runtime);
            let peer = dial(&client, &address).await.0;
            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            let mut far = incoming.next().await.unwrap().1;
            near.write_bytes(&mut data(200_000)).await.unwrap();
            near.finish().unwrap();
            // The server's side comes to a stop long before all has arrived.
            for _ in 0..1000 {
                runtime.yield_now().await;
            }
            let mut got = 0;
            while let Some(bytes) = far.read_bytes(1000).await.unwrap() {
                got += bytes.len();
            }
            assert_eq!(got, 200_000);
        })
        .unwrap();
    assert_eq!(runtime.now(), began, "it needed a timer to go on");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let link = Link::default().biased_pieces();
        let (mut world, runtime) = world_with(seed, link, true);
        world
            .block_on(async {
                let (_server, client, peer, address) = pair(&runtime, Config::default()).await;
                let stream = client.open_stream(peer, ECHO).await.unwrap();
                echoes(stream, data(300_000)).await;
                address
            })
            .map(|address| (address, runtime.now()))
            .unwrap()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

#[test]
fn a_thousand_streams_at_once() {
    let (mut world, runtime) = world(3);
    let mut config = Config::default();
    config.connection.max_streams = 2048;
    config.connection.yamux.max_inbound_streams = 2048;
    config.connection.yamux.max_outbound_streams = 2048;
    world
        .block_on(async {
            let (_server, client, peer, _) = pair(&runtime, config).await;
            let streams = (0..1000usize).map(|number| {
                let client = client.clone();
                let task: Task<'static> = Box::pin(async move {
                    let stream = client.open_stream(peer, ECHO).await.unwrap();
                    echoes(stream, data(number * 7)).await;
                });
                task
            });
            all(&runtime, streams.collect()).await;
        })
        .unwrap();
}

#[test]
fn opening_waits_for_room_and_goes_on_when_there_is_some() {
    let (mut world, runtime) = world(4);
    let mut config = Config::default();
    config.connection.max_streams = 8;
    world
        .block_on(async {
            let (_server, client, peer, _) = pair(&runtime, config).await;
            let streams = (0..100usize).map(|_| {
                let client = client.clone();
                let task: Task<'static> = Box::pin(async move {
                    let stream = client.open_stream(peer, ECHO).await.unwrap();
                    echoes(stream, data(1000)).await;
                });
                task
            });
            all(&runtime, streams.collect()).await;
        })
        .unwrap();
}

#[test]
fn streams_beyond_the_capacity_are_reset_and_counted() {
    let (mut world, runtime) = world(5);
    world
        .block_on(async {
            let server = host(&runtime);
            let address = listen(&server).await;
            let mut incoming = server.accept(ECHO, 4).unwrap();
            let client = host(&runtime);
            let peer = dial(&client, &address).await.0;
            let mut streams = Vec::new();
            for _ in 0..10 {
                let mut stream = client.open_stream_optimistic(peer, ECHO).await.unwrap();
                stream
                    .write_bytes(&mut Bytes::from_static(b"x"))
                    .await
                    .unwrap();
                streams.push(stream);
            }
            runtime.sleep(Duration::from_millis(100)).await;
            assert_eq!(incoming.dropped(), 6);
            for _ in 0..4 {
                let (_, stream) = incoming.next().await.unwrap();
                runtime.spawn(echo(stream));
            }
            let mut echoed = 0;
            for mut stream in streams {
                match stream.read_bytes(10).await {
                    Ok(Some(bytes)) if bytes == "x" => echoed += 1,
                    Err(StreamError::ResetByPeer(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(echoed, 4);
        })
        .unwrap();
}

#[test]
fn a_name_is_accepted_once_and_no_more_after_the_drop() {
    let (mut world, runtime) = world(6);
    world
        .block_on(async {
            let (server, client, peer, _) = pair(&runtime, Config::default()).await;
            assert_eq!(
                server.accept(ECHO, 1).unwrap_err(),
                AcceptError::AlreadyRegistered(ECHO)
            );
            let unsupported = OpenStreamError::UnsupportedProtocol(OTHER);
            assert_eq!(
                client.open_stream(peer, OTHER).await.unwrap_err(),
                unsupported
            );
            let incoming = server.accept(OTHER, 1).unwrap();
            runtime.sleep(Duration::from_millis(10)).await;
            let stream = client.open_stream(peer, OTHER).await.unwrap();
            assert_eq!((stream.peer(), stream.protocol()), (peer, &OTHER));
            drop(incoming);
            runtime.sleep(Duration::from_millis(10)).await;
            assert_eq!(
                client.open_stream(peer, OTHER).await.unwrap_err(),
                unsupported
            );
            // An optimistic one hears of it at its first read.
            let mut stream = client.open_stream_optimistic(peer, OTHER).await.unwrap();
            stream
                .write_bytes(&mut Bytes::from_static(b"hello"))
                .await
                .unwrap();
            assert_eq!(
                stream.read_bytes(1).await,
                Err(StreamError::UnsupportedProtocol)
            );
            // And the name can be accepted again.
            let _incoming = server.accept(OTHER, 1).unwrap();
            runtime.sleep(Duration::from_millis(10)).await;
            client.open_stream(peer, OTHER).await.unwrap();
        })
        .unwrap();
}

#[test]
fn both_directions_end_on_their_own_and_resets_carry_their_code() {
    let (mut world, runtime) = world(7);
    world
        .block_on(async {
            let server = host(&runtime);
            let address = listen(&server).await;
            let mut incoming = server.accept(OTHER, 4).unwrap();
            let client = host(&runtime);
            let peer = dial(&client, &address).await.0;

            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            let (_, mut far) = incoming.next().await.unwrap();
            near.finish().unwrap();
            let again = near.write_bytes(&mut Bytes::from_static(b"x")).await;
            assert_eq!(again, Err(WriteError::Finished));
            assert_eq!(far.read_bytes(10).await, Ok(None));
            // The other direction lives on.
            far.write_bytes(&mut Bytes::from_static(b"still here"))
                .await
                .unwrap();
            assert_eq!(
                near.read_bytes(100).await,
                Ok(Some(Bytes::from_static(b"still here")))
            );
            far.finish().unwrap();
            assert_eq!(near.read_bytes(100).await, Ok(None));
            assert_eq!(
                near.read_bytes(100).await,
                Ok(None),
                "the end stays the end"
            );

            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            let (_, far) = incoming.next().await.unwrap();
            far.reset(77);
            assert_eq!(near.read_bytes(1).await, Err(StreamError::ResetByPeer(77)));
            let written = near.write_bytes(&mut Bytes::from_static(b"x")).await;
            assert_eq!(
                written,
                Err(WriteError::Stream(StreamError::ResetByPeer(77)))
            );

            // Dropped before the end: reset. Dropped after finishing: what was written still arrives.
            let near = client.open_stream(peer, OTHER).await.unwrap();
            let (_, mut far) = incoming.next().await.unwrap();
            drop(near);
            assert!(matches!(
                far.read_bytes(1).await,
                Err(StreamError::ResetByPeer(_))
            ));
            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            let (_, mut far) = incoming.next().await.unwrap();
            near.write_bytes(&mut data(200_000)).await.unwrap();
            near.finish().unwrap();
            drop(near);
            let mut got = 0;
            while let Some(bytes) = far.read_bytes(65_536).await.unwrap() {
                got += bytes.len();
            }
            assert_eq!(got, 200_000);
        })
        .unwrap();
}

#[test]
fn a_writer_waits_for_its_reader_and_for_nobody_elses() {
    let (mut world, runtime) = world(8);
    world
        .block_on(async {
            let server = host(&runtime);
            let address = listen(&server).await;
            serve_echo(&runtime, &server, 16);
            let mut incoming = server.accept(OTHER, 4).unwrap();
            let client = host(&runtime);
            let peer = dial(&client, &address).await.0;
            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            let (_, mut far) = incoming.next().await.unwrap();
            let total = 5_000_000;
            let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            runtime.spawn({
                let written = written.clone();
                async move {
                    let mut left = data(total);
                    while !left.is_empty() {
                        let count = poll_fn(|cx| near.poll_write_bytes(cx, &mut left))
                            .await
                            .unwrap();
                        written.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                    }
                    near.finish().unwrap();
                }
            });
            runtime.sleep(Duration::from_secs(1)).await;
            let stuck = written.load(std::sync::atomic::Ordering::Relaxed);
            assert!(
                (256 * 1024..2_000_000).contains(&stuck),
                "{stuck} bytes were taken unread"
            );
            // Others are not concerned.
            echoes(client.open_stream(peer, ECHO).await.unwrap(), data(100_000)).await;
            let mut got = 0;
            while let Some(bytes) = far.read_bytes(65_536).await.unwrap() {
                got += bytes.len();
            }
            assert_eq!(got, total);
        })
        .unwrap();
}

#[test]
fn a_cut_connection_ends_its_streams_with_a_reason_and_the_next_open_dials_again() {
    let (mut world, runtime) = world(9);
    world
        .block_on(async {
            let (server, client, peer, address) = pair(&runtime, Config::default()).await;
            client.add_address(peer, &address);
            let mut events = client.events(16);
            let mut stream = client.open_stream(peer, ECHO).await.unwrap();
            stream.write_bytes(&mut Bytes::from_static(b"before")).await.unwrap();
            runtime.sleep(Duration::from_millis(50)).await;
            cut(&runtime, &address);
            // What had arrived is not lost.
            assert_eq!(stream.read_bytes(100).await, Ok(Some(Bytes::from_static(b"before"))));
            let error = stream.read_bytes(100).await.unwrap_err();
            assert!(
                matches!(&error, StreamError::Connection(ConnectionError::Lost(reason)) if reason.contains("reset")),
                "{error:?}"
            );
            // A writer hears the same reason, and not that it had finished.
            let error = stream.write_bytes(&mut Bytes::from_static(b"after")).await.unwrap_err();
            assert!(
                matches!(&error, WriteError::Stream(StreamError::Connection(ConnectionError::Lost(_)))),
                "{error:?}"
            );
            assert!(matches!(
                events.next().await,
                Some(Event::ConnectionClosed { reason: ConnectionError::Lost(_), connections: 0, .. })
            ));
            runtime.sleep(Duration::from_millis(50)).await;
            assert_eq!(server.with(|nothing, _| (nothing.up, nothing.down)), (1, 1));
            echoes(client.open_stream(peer, ECHO).await.unwrap(), data(1000)).await;
        })
        .unwrap();
}

/// Fails if a writer is told that it had finished itself.
#[test]
fn a_writer_held_back_when_its_connection_is_cut_is_told_why() {
    let (mut world, runtime) = world(11);
    world
        .block_on(async {
            let (server, client, peer, address) = pair(&runtime, Config::default()).await;
            // Nobody reads what comes.
            let mut incoming = server
                .accept(ProtocolName::from_static("/hold/1.0.0"), 1)
                .unwrap();
            let name = ProtocolName::from_static("/hold/1.0.0");
            let mut stream = client.open_stream(peer, name).await.unwrap();
            let held = incoming.next().await;
            assert!(held.is_some());
            let mut data = Bytes::from(vec![7; 2_000_000]);
            let error = {
                let mut writing = pin!(stream.write_bytes(&mut data));
                for _ in 0..2 {
                    poll_fn(|cx| {
                        assert!(writing.as_mut().poll(cx).is_pending());
                        Poll::Ready(())
                    })
                    .await;
                    runtime.sleep(Duration::from_secs(1)).await;
                }
                cut(&runtime, &address);
                writing.await.unwrap_err()
            };
            assert!(!data.is_empty(), "it was held back");
            assert!(
                matches!(
                    &error,
                    WriteError::Stream(StreamError::Connection(ConnectionError::Lost(_)))
                ),
                "{error:?}"
            );
        })
        .unwrap();
}

#[test]
fn many_who_want_an_unconnected_peer_share_one_dial() {
    let (mut world, runtime) = world(10);
    world
        .block_on(async {
            let server = host(&runtime);
            let address = listen(&server).await;
            serve_echo(&runtime, &server, 1024);
            let client = host(&runtime);
            let peer = server.peer_id();
            let unknown = client.open_stream(peer, ECHO).await.unwrap_err();
            assert!(matches!(unknown, OpenStreamError::Dial(_)), "{unknown:?}");
            client.add_address(peer, &address);
            let streams = (0..100usize).map(|number| {
                let client = client.clone();
                let task: Task<'static> = Box::pin(async move {
                    let stream = client.open_stream(peer, ECHO).await.unwrap();
                    echoes(stream, data(number)).await;
                });
                task
            });
            all(&runtime, streams.collect()).await;
            assert_eq!(server.with(|nothing, _| nothing.up), 1);
            let itself = client
                .open_stream(client.peer_id(), ECHO)
                .await
                .unwrap_err();
            assert!(matches!(itself, OpenStreamError::Dial(_)), "{itself:?}");
        })
        .unwrap();
}

#[test]
fn names_are_looked_up() {
    let (mut world, runtime) = world(11);
    let server = host(&runtime);
    let address = world.block_on(listen(&server)).unwrap();
    let port = address.socket_addr().unwrap().1;
    world.set_name(
        "node.test",
        vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()],
    );
    world.set_text(
        "_dnsaddr.node.test",
        vec![format!("dnsaddr={address}"), "unrelated".to_owned()],
    );
    world
        .block_on(async {
            for name in [
                format!("/dns4/node.test/tcp/{port}"),
                format!("/dns/node.test/tcp/{port}"),
                format!("/dnsaddr/node.test/p2p/{}", server.peer_id()),
            ] {
                let client = host(&runtime);
                let dialed = client
                    .dial(DialOptions::address(name.parse().unwrap()))
                    .await;
                assert_eq!(
                    dialed
                        .unwrap_or_else(|error| panic!("{name}: {error}"))
                        .peer,
                    server.peer_id()
                );
            }
            let client = host(&runtime);
            let missing = client
                .dial(DialOptions::address(
                    "/dns6/nowhere.test/tcp/1".parse().unwrap(),
                ))
                .await;
            assert!(
                missing
                    .unwrap_err()
                    .to_string()
                    .contains("name lookup failed")
            );
        })
        .unwrap();
}

async fn shut_down(server: TestHost, client: TestHost, gracefully: bool) {
    if gracefully {
        client.shutdown().await;
        server.shutdown().await;
    } else {
        drop((server, client));
    }
}

#[test]
fn after_the_end_nothing_is_left_and_everybody_waiting_is_told() {
    for gracefully in [true, false] {
        let (mut world, runtime) = world(12);
        world
            .block_on(async {
                let (server, client, peer, address) = pair(&runtime, Config::default()).await;
                let mut stream = client.open_stream(peer, ECHO).await.unwrap();
                let mut events = server.events(16);
                let mut incoming = server.accept(OTHER, 1).unwrap();
                shut_down(server, client, gracefully).await;
                assert!(matches!(
                    stream.read_bytes(1).await,
                    Err(StreamError::Connection(_))
                ));
                assert!(incoming.next().await.is_none());
                while events.next().await.is_some() {}
                let late = host(&runtime);
                let refused = late.dial(DialOptions::address(address)).await.unwrap_err();
                assert!(refused.to_string().contains("refused"), "{refused}");
            })
            .unwrap();
        // Within the closing timeout, at the latest.
        world.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(world.tasks(), 0, "gracefully: {gracefully}");
    }
}

#[test]
fn a_host_that_was_shut_down_refuses_everything() {
    let (mut world, runtime) = world(13);
    world
        .block_on(async {
            let (_server, client, peer, address) = pair(&runtime, Config::default()).await;
            client.shutdown().await;
            client.shutdown().await;
            let dialed = client.dial(DialOptions::address(address)).await;
            assert_eq!(dialed.unwrap_err(), ConnectError::HostClosed);
            assert!(client.open_stream(peer, ECHO).await.is_err());
            assert_eq!(
                client.accept(OTHER, 1).unwrap_err(),
                AcceptError::HostClosed
            );
            let listening = client.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
            assert!(listening.is_err());
            assert!(client.events(1).next().await.is_none());
        })
        .unwrap();
}

#[test]
fn a_goodbye_is_heard_even_while_the_other_side_is_sending() {
    let (mut world, runtime) = world(17);
    world
        .block_on(async {
            let server = host(&runtime);
            let address = listen(&server).await;
            let mut events = server.events(16);
            let mut incoming = server.accept(OTHER, 4).unwrap();
            let client = host(&runtime);
            let peer = dial(&client, &address).await.0;
            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            let (_, mut far) = incoming.next().await.unwrap();
            runtime.spawn(async move { while far.write_bytes(&mut data(10_000)).await.is_ok() {} });
            for _ in 0..20 {
                near.read_bytes(50_000).await.unwrap();
            }
            client.shutdown().await;
            let reason = loop {
                if let Some(Event::ConnectionClosed { reason, .. }) = events.next().await {
                    break reason;
                }
            };
            assert_eq!(reason, ConnectionError::ClosedByPeer);
        })
        .unwrap();
}

#[test]
fn who_waits_for_room_is_told_when_the_connection_ends() {
    let (mut world, runtime) = world(18);
    world
        .block_on(async {
            let mut config = Config::default();
            config.connection.max_streams = 1;
            let (server, client, peer, _) = pair(&runtime, config).await;
            let _first = client.open_stream(peer, ECHO).await.unwrap();
            // A task of its own: nothing but the connection's end can wake the one that waits.
            runtime.spawn({
                let runtime = runtime.clone();
                async move {
                    runtime.sleep(Duration::from_secs(1)).await;
                    drop(server);
                }
            });
            assert!(client.open_stream(peer, ECHO).await.is_err());
            assert!(runtime.now() < drywire::time::Instant::ZERO + Duration::from_secs(5));
        })
        .unwrap();
}

#[test]
fn a_shutdown_delivers_what_was_finished() {
    let (mut world, runtime) = world(14);
    world
        .block_on(async {
            let server = host(&runtime);
            let address = listen(&server).await;
            let mut incoming = server.accept(OTHER, 4).unwrap();
            let client = host(&runtime);
            let peer = dial(&client, &address).await.0;
            let mut near = client.open_stream(peer, OTHER).await.unwrap();
            near.write_bytes(&mut data(150_000)).await.unwrap();
            near.finish().unwrap();
            let (_, mut far) = incoming.next().await.unwrap();
            client.shutdown().await;
            drop(near);
            let mut got = 0;
            while let Some(bytes) = far.read_bytes(65_536).await.unwrap() {
                got += bytes.len();
            }
            assert_eq!(got, 150_000);
        })
        .unwrap();
}

#[test]
fn idle_connections_close_by_themselves() {
    let (mut world, runtime) = world(15);
    world
        .block_on(async {
            let (server, client, _, _) = pair(&runtime, Config::default()).await;
            runtime.sleep(Duration::from_secs(20)).await;
            assert_eq!(server.with(|nothing, _| nothing.down), 0);
            runtime.sleep(Duration::from_secs(20)).await;
            assert_eq!(server.with(|nothing, _| nothing.down), 1);
            assert_eq!(client.with(|nothing, _| nothing.down), 1);
        })
        .unwrap();
}

#[test]
fn events_that_are_not_read_are_dropped_oldest_first_and_counted() {
    let (mut world, runtime) = world(16);
    world
        .block_on(async {
            let server = host_with(&runtime, Config::default());
            let address = listen(&server).await;
            let mut first = server.events(2);
            for _ in 0..5 {
                let client = host(&runtime);
                dial(&client, &address).await;
                client.shutdown().await;
            }
            runtime.sleep(Duration::from_secs(10)).await;
            assert_eq!(first.dropped(), 8);
            assert!(matches!(
                first.next().await,
                Some(Event::ConnectionEstablished { .. })
            ));
            assert!(matches!(
                first.next().await,
                Some(Event::ConnectionClosed { .. })
            ));
            let second = server.events(2);
            assert!(first.next().await.is_none(), "the second has taken over");
            assert_eq!(second.dropped(), 0);
        })
        .unwrap();
}
