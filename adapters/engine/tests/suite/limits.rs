//! What waits does not wait for ever, and not without number.

use crate::common::{
    ECHO, Task, TestHost, dial, give_up_after, give_up_in, host, host_with, listen, serve_echo,
    together, world,
};
use core::time::Duration;
use drywire::{connection::OpenError, identity::PeerId, swarm::Config};
use drywire_engine::{OpenStreamError, Runtime as _, Stream};
use drywire_sim::SimRuntime;
use std::sync::{Arc, Mutex};

/// Opens that may wait on one connection.
const MAX_WAITING: usize = 1024;

fn two_streams() -> Config {
    let mut config = Config::default();
    config.connection.max_streams = 2;
    config.connection.negotiation_timeout = Duration::from_secs(4);
    config
}

/// A server with room for all, and a client with room for two streams on their connection.
async fn connected(runtime: &SimRuntime) -> (TestHost, TestHost, PeerId) {
    let server = host(runtime);
    let address = listen(&server).await;
    serve_echo(runtime, &server, 16);
    let client = host_with(runtime, two_streams());
    let peer = dial(&client, &address).await.0;
    (server, client, peer)
}

async fn take_all(client: &TestHost, peer: PeerId) -> [Stream; 2] {
    let first = client.open_stream(peer, ECHO).await.unwrap();
    [first, client.open_stream(peer, ECHO).await.unwrap()]
}

/// Fails if nothing but a stream's end ends the wait for room.
#[test]
fn an_open_waits_for_room_until_its_deadline() {
    let (mut world, runtime) = world(1);
    world
        .block_on(async {
            let (_server, client, peer) = connected(&runtime).await;
            let [one, _other] = take_all(&client, peer).await;
            let began = runtime.now();
            let waited = client.open_stream(peer, ECHO).await;
            assert_eq!(waited.map(drop), Err(OpenStreamError::TimedOut));
            assert_eq!(runtime.now() - began, Duration::from_secs(4));
            // Two that began at different times give up at different times, unless there is room.
            let room = async {
                runtime.sleep(Duration::from_secs(5)).await;
                drop(one);
            };
            let early = async {
                let waited = client.open_stream_optimistic(peer, ECHO).await;
                assert_eq!(waited.map(drop), Err(OpenStreamError::TimedOut));
            };
            let late = async {
                runtime.sleep(Duration::from_secs(2)).await;
                client.open_stream(peer, ECHO).await.unwrap();
            };
            let tasks: Vec<Task<'_>> = vec![Box::pin(room), Box::pin(early), Box::pin(late)];
            together(tasks).await;
        })
        .expect("never stalls");
}

/// Fails if any number of opens may wait, or if one that was dropped keeps its place.
#[test]
fn a_bounded_number_of_opens_waits() {
    let (mut world, runtime) = world(2);
    world
        .block_on(async {
            let (_server, client, peer) = connected(&runtime).await;
            let _held = take_all(&client, peer).await;
            // Dropped ones leave room.
            for _ in 0..MAX_WAITING + 10 {
                let given_up = give_up_after(1, client.open_stream(peer, ECHO)).await;
                assert!(given_up.is_none());
            }
            let outcomes = Arc::new(Mutex::new(Vec::new()));
            let waiting = (0..MAX_WAITING + 1).map(|_| {
                let (client, outcomes) = (client.clone(), outcomes.clone());
                let task: Task<'_> = Box::pin(async move {
                    let result = client.open_stream(peer, ECHO).await.map(drop);
                    outcomes.lock().unwrap().push(result);
                });
                task
            });
            let all = together(waiting.collect());
            assert!(
                give_up_in(&runtime, Duration::from_secs(1), all)
                    .await
                    .is_none()
            );
            let refused = OpenStreamError::Open(OpenError::TooManyStreams);
            assert_eq!(*outcomes.lock().unwrap(), [Err(refused)]);
        })
        .expect("never stalls");
}
