//! What peers do, to the loop over epoll and to the workers.

use crate::nodes::{
    Client, PATIENCE, Plan, Said, Server, SwarmEvent, Uploads, Workers, client, config, dial,
    serve, until,
};
use core::time::Duration;
use drywire::{
    connection::{Connection, ConnectionId, Event},
    protocol::Standard,
    swarm::{Config, DialOptions, TransportError},
    time::Instant,
};
use drywire_examples::{
    keypair,
    transfer::Upload,
    workers::{Application, Here, TO_SWARM, WorkerHost, to_connection},
};
use std::{
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
    thread::sleep,
};

const MIB: u64 = 1024 * 1024;

const fn plan(streams: u64, bytes: u64) -> Plan {
    Plan {
        streams,
        bytes,
        closes: true,
    }
}

fn until_done(said: &Receiver<Said>) -> ConnectionId {
    until(said, |said| match said {
        Said::Done(connection) => Some(connection),
        Said::Failed(error) => panic!("{error}"),
        _ => None,
    })
}

fn until_progress(said: &Receiver<Said>) {
    until(said, |said| matches!(said, Said::Progress(_)).then_some(()));
}

fn until_closed(events: &Receiver<SwarmEvent>) {
    let closed = |event| matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(());
    until(events, closed);
}

/// Both end in good order.
fn end<S: Server>(server: S, client: Client) {
    let waiting = client.waiting();
    assert!(waiting.to_swarm <= TO_SWARM, "{waiting:?}");
    assert!(
        waiting.to_connection <= to_connection(&config()),
        "{waiting:?}"
    );
    client.shutdown().unwrap();
    client.join().unwrap();
    server.on_swarm(|now, swarm| swarm.shutdown(now));
    server.join();
}

fn a_peer_that_vanishes<S: Server>() {
    let (server, address, events) = serve::<S>(config(), false);
    let (gone, said, _events) = client(config(), plan(4, 256 * MIB));
    dial(&gone, &address);
    until_progress(&said);
    drop(gone);
    until_closed(&events);
    // The server serves on.
    let (other, said, _events) = client(config(), plan(1, MIB));
    dial(&other, &address);
    until_done(&said);
    end(server, other);
}

/// It begins to read when the window is full.
fn a_slow_reader<S: Server>() {
    slow_reader::<S>(config());
}

/// The same, but before the window is full the connection holds all it may: its socket is not read.
fn a_slow_reader_over_its_memory<S: Server>() {
    let mut little = config();
    little.resources.connection = little.resources.initial;
    slow_reader::<S>(little);
}

fn slow_reader<S: Server>(config_of_server: Config) {
    let (server, address, _events) = serve::<S>(config_of_server, true);
    let (client, said, _swarm_events) = client(config(), plan(1, 8 * MIB));
    dial(&client, &address);
    let connection = until_established(&said);
    let last = sent_until_it_stops(&client, connection);
    // The window, and what a stream queues.
    assert!((256 * 1024..=MIB).contains(&last), "{last}");
    server.release();
    until_done(&said);
    end(server, client);
}

fn until_established(said: &Receiver<Said>) -> ConnectionId {
    until(said, |said| match said {
        Said::Established(connection) => Some(connection),
        _ => None,
    })
}

fn sent_until_it_stops(client: &Client, connection: ConnectionId) -> u64 {
    let mut last: u64 = 0;
    for _ in 0..200 {
        sleep(Duration::from_millis(20));
        let (tell, told) = channel();
        let visit = move |_, link: Option<Here<'_, Uploads>>| {
            let uploads = link.expect("the connection is there").application;
            let _ = tell.send(uploads.streams.values().map(Upload::sent).sum());
        };
        client.on_connection(connection, visit).unwrap();
        let sent = told.recv_timeout(PATIENCE).unwrap();
        if sent == last && last > 0 {
            return last;
        }
        last = sent;
    }
    panic!("it never stops: {last}");
}

fn a_thousand_streams<S: Server>() {
    let (server, address, _events) = serve::<S>(config(), false);
    let (client, said, _swarm_events) = client(config(), plan(1000, 10_000));
    dial(&client, &address);
    until_done(&said);
    end(server, client);
}

fn two_hundred_connections<S: Server>() {
    let (server, address, _events) = serve::<S>(config(), false);
    let stay = Plan {
        closes: false,
        ..plan(2, 64 * 1024)
    };
    let (client, said, _swarm_events) = client(config(), stay);
    let mut done = 0;
    // Dials of one address at a time would be one dial.
    for _ in 0..200 {
        dial(&client, &address);
        until(&said, |said| {
            done += u32::from(matches!(said, Said::Done(_)));
            matches!(said, Said::Established(_)).then_some(())
        });
    }
    while done < 200 {
        until_done(&said);
        done += 1;
    }
    end(server, client);
}

fn connections_that_are_refused<S: Server>() {
    let mut few = config();
    few.limits.inbound = 1;
    let (server, address, _events) = serve::<S>(few, false);
    let stays = Plan {
        closes: false,
        ..plan(1, MIB)
    };
    let (client, said, events) = client(config(), stays);
    dial(&client, &address);
    until_done(&said);
    let failed = |event| match event {
        SwarmEvent::DialFailed { error, .. } => Some(error),
        _ => None,
    };
    // The second is one too many.
    dial(&client, &address);
    until(&events, failed);
    // Nobody listens where somebody did.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    dial(
        &client,
        &format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(),
    );
    let error = until(&events, failed);
    let refused = format!("{:?}", TransportError::Refused);
    assert!(format!("{error:?}").contains(&refused), "{error:?}");
    // An address that no transport here knows.
    dial(&client, &"/ip4/127.0.0.1/udp/9/quic-v1".parse().unwrap());
    until(&events, failed);
    end(server, client);
}

fn a_server_that_shuts_down_while_transferring<S: Server>() {
    let (server, address, events) = serve::<S>(config(), false);
    let (client, said, _swarm_events) = client(config(), plan(4, 256 * MIB));
    dial(&client, &address);
    until_progress(&said);
    server.on_swarm(|now, swarm| swarm.shutdown(now));
    let complete = |event| matches!(event, SwarmEvent::ShutdownComplete).then_some(());
    until(&events, complete);
    server.join();
    until(&said, |said| matches!(said, Said::Failed(_)).then_some(()));
    client.shutdown().unwrap();
    client.join().unwrap();
}

fn a_client_that_shuts_down_while_transferring<S: Server>() {
    let (server, address, events) = serve::<S>(config(), false);
    let (client, said, _swarm_events) = client(config(), plan(4, 256 * MIB));
    dial(&client, &address);
    until_progress(&said);
    client.shutdown().unwrap();
    client.join().unwrap();
    until_closed(&events);
    server.on_swarm(|now, swarm| swarm.shutdown(now));
    server.join();
}

macro_rules! for_each_loop {
    ($($name:ident)*) => {
        mod workers {
            $(#[test] fn $name() { super::$name::<super::Workers>(); })*
        }
        #[cfg(target_os = "linux")]
        mod epoll {
            $(#[test] fn $name() { super::$name::<crate::nodes::EpollServer>(); })*
        }
    };
}

for_each_loop! {
    a_peer_that_vanishes
    a_slow_reader
    a_slow_reader_over_its_memory
    a_thousand_streams
    two_hundred_connections
    connections_that_are_refused
    a_server_that_shuts_down_while_transferring
    a_client_that_shuts_down_while_transferring
}

#[test]
fn a_connection_moves_from_worker_to_worker_while_it_runs() {
    let (server, address, _events) = serve::<Workers>(config(), false);
    let (client, said, _swarm_events) = client(config(), plan(20, 2 * MIB));
    dial(&client, &address);
    let connection = until_established(&said);
    let mut workers = std::collections::BTreeSet::new();
    for turn in 0..40 {
        // Both ends: the server's first connection is its number 0 too.
        client.move_connection(connection, turn % 2).unwrap();
        server.move_connection(connection, turn % 2).unwrap();
        let (tell, told) = channel();
        let visit = move |_, link: Option<Here<'_, Uploads>>| {
            let worker = std::thread::current().name().map(str::to_owned);
            let _ = tell.send(link.map(|_| worker));
        };
        client.on_connection(connection, visit).unwrap();
        if let Some(worker) = told.recv_timeout(PATIENCE).unwrap() {
            workers.insert(worker);
        }
    }
    until_done(&said);
    assert_eq!(workers.len(), 2, "{workers:?}");
    end(server, client);
}

#[test]
fn a_visit_to_a_connection_that_is_gone_is_told_so() {
    let (server, address, _events) = serve::<Workers>(config(), false);
    let (client, said, events) = client(config(), plan(1, MIB));
    let is_there = |connection| {
        let (tell, told) = channel();
        let visit = move |_, link: Option<Here<'_, Uploads>>| {
            let _ = tell.send(link.is_some());
        };
        client.on_connection(connection, visit).unwrap();
        told.recv_timeout(PATIENCE).unwrap()
    };
    assert!(!is_there(ConnectionId::new(7)));
    dial(&client, &address);
    let connection = until_done(&said);
    until_closed(&events);
    // Its socket may linger for a moment.
    assert!((0..500).any(|_| {
        sleep(Duration::from_millis(10));
        !is_there(connection)
    }));
    end(server, client);
}

struct Panics;

impl Application for Panics {
    fn handle_event(&mut self, _: Instant, _: &mut Connection, _: Event) {
        panic!("as the test wants it");
    }
}

/// Fails by never ending if the other threads do not hear of it.
#[test]
fn an_application_that_panics_ends_its_host() {
    let (server, address, events) = serve::<Workers>(config(), false);
    let (key, protocols) = (keypair().unwrap(), Standard::default());
    let host = WorkerHost::start(config(), key, protocols, 2, |_| Panics, |_, _, _| ()).unwrap();
    host.on_swarm(move |now, swarm| drop(swarm.dial(now, DialOptions::address(address))))
        .unwrap();
    assert!(host.join().is_err());
    until_closed(&events);
    server.shutdown().unwrap();
    server.join().unwrap();
}
