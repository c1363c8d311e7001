//! What a connection has brought can be read after its peer has gone, as late as a slow application comes to it.

use crate::nodes::PATIENCE;
use core::time::Duration;
use drywire::{
    connection::{Accept, ConnectionId, Event, OpenOptions, ReadError, StreamId, StreamKind},
    multiaddr::Multiaddr,
    node::{Node, NodeEvent},
    protocol::{Standard, StandardEvent},
    swarm::{self, Config, DialOptions},
    time::Instant,
};
use drywire_examples::{
    game_tick,
    socket::{LINGER, Machine, OfNode, UNREAD},
    swarm,
    transfer::{Checksum, ECHO},
};
use drywire_system::now;
use std::{
    sync::mpsc::{Sender, channel},
    thread::sleep,
};

/// Less than a stream's first window: all of it arrives though nobody reads.
const TOTAL: usize = 200_000;
const SLICE: Duration = Duration::from_millis(8);

type Of = NodeEvent<StandardEvent>;

fn node() -> Node<Standard> {
    Node::new(swarm(Config::default(), Standard::default()).unwrap())
}

fn server() -> Node<Standard> {
    let mut node = node();
    let accept =
        |swarm: &mut swarm::Swarm<_>| swarm.accept(now(), ECHO, Accept::new(StreamKind::Raw));
    node.command(now(), accept).unwrap();
    let address = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    node.listen(now(), address).unwrap();
    node
}

fn pattern() -> Vec<u8> {
    (0..TOTAL).map(|at| (at % 251) as u8).collect()
}

fn checksum(bytes: &[u8]) -> Checksum {
    let mut checksum = Checksum::default();
    checksum.update(bytes);
    checksum
}

/// Sends everything, closes the connection, and is gone.
struct Sends {
    host: game_tick::Host<Standard>,
    stream: Option<StreamId>,
    left: Vec<u8>,
}

impl Sends {
    fn to(address: Multiaddr) -> Self {
        let mut host = game_tick::Host::new(node());
        let dialed = host.node().dial(now(), DialOptions::address(address));
        dialed.unwrap();
        Self {
            host,
            stream: None,
            left: pattern(),
        }
    }

    /// Whether it goes on.
    fn tick(&mut self) -> bool {
        let (stream, left) = (&mut self.stream, &mut self.left);
        self.host.tick(SLICE, |now, node, event| match event {
            NodeEvent::Connection(id, event) => {
                if let Event::Established { .. } = event {
                    let options = OpenOptions::default();
                    let opened = node.open(now, id, &[ECHO], StreamKind::Raw, options);
                    *stream = Some(opened.unwrap());
                }
                send(now, node, id, *stream, left);
            }
            NodeEvent::Swarm(swarm::Event::ConnectionClosed { .. }) => node.shutdown(now),
            _ => {}
        });
        !self.host.is_finished()
    }
}

fn send(
    now: Instant,
    node: &mut Node<Standard>,
    id: ConnectionId,
    stream: Option<StreamId>,
    left: &mut Vec<u8>,
) {
    let Some(mut stream) = stream.and_then(|stream| node.stream(id, stream)) else {
        return;
    };
    while !left.is_empty() {
        let Ok(count) = stream.write(left) else {
            return;
        };
        left.drain(..count);
    }
    if stream.finish().is_ok() {
        node.close(now, id);
    }
}

/// Reads nothing before it is told to.
#[derive(Default)]
struct Slow {
    stream: Option<(ConnectionId, StreamId)>,
    read: Vec<u8>,
}

impl Slow {
    fn handle(&mut self, event: &Of) {
        if let NodeEvent::Connection(id, event) = event {
            self.handle_of(*id, event);
        }
    }

    fn handle_of(&mut self, id: ConnectionId, event: &Event) {
        if let Event::Inbound { stream, .. } = event {
            self.stream = Some((id, *stream));
        }
    }

    /// Reads a little; false at the end. The connection goes with the last byte, and the streams with it.
    fn read(&mut self, node: &mut Node<Standard>) -> bool {
        let (id, _) = self.stream.expect("a stream has come");
        self.read_of(&mut OfNode(node, id))
    }

    fn read_of(&mut self, machine: &mut impl Machine) -> bool {
        let (_, stream) = self.stream.expect("a stream has come");
        let Some(mut stream) = machine.stream(stream) else {
            return false;
        };
        match stream.read(10_000) {
            Ok(Some(bytes)) => self.read.extend_from_slice(&bytes),
            Ok(None) => return false,
            Err(ReadError::Blocked) => panic!("everything has arrived"),
            Err(error) => panic!("{error} after {} bytes", self.read.len()),
        }
        true
    }

    fn assert_all(&self) {
        assert_eq!(self.read.len(), TOTAL);
        assert_eq!(checksum(&self.read), checksum(&pattern()));
    }
}

fn closed(event: &Of) -> bool {
    matches!(
        event,
        NodeEvent::Swarm(swarm::Event::ConnectionClosed { .. })
    )
}

/// A game whose peer has sent everything and gone, its socket with it.
fn a_game_without_its_peer() -> (game_tick::Host<Standard>, Slow) {
    let mut host = game_tick::Host::new(server());
    let (mut slow, mut sends, mut is_closed) = (Slow::default(), None, false);
    let patience = now() + PATIENCE;
    let goes_on = |sends: &mut Option<Sends>| sends.as_mut().is_none_or(Sends::tick);
    while goes_on(&mut sends) || !is_closed {
        host.tick(SLICE, |_, _, event| {
            slow.handle(&event);
            is_closed |= closed(&event);
            if let NodeEvent::Swarm(swarm::Event::Listening { address, .. }) = event {
                sends = Some(Sends::to(address));
            }
        });
        assert!(now() < patience);
        sleep(Duration::from_millis(1));
    }
    // Both ends were seen: its socket goes in these ticks.
    for _ in 0..10 {
        host.tick(SLICE, |_, _, _| ());
    }
    (host, slow)
}

#[test]
fn a_slow_game_reads_everything_although_its_peer_has_gone() {
    let (mut host, mut slow) = a_game_without_its_peer();
    while slow.read(host.node()) {
        host.tick(SLICE, |_, _, _| ());
    }
    slow.assert_all();
    // Nothing keeps it any longer.
    host.tick(SLICE, |_, _, _| ());
    let (id, _) = slow.stream.unwrap();
    assert!(host.node().connection(id).is_none());
}

#[test]
fn a_game_that_shuts_down_does_not_wait_for_readers() {
    let (mut host, slow) = a_game_without_its_peer();
    let (id, _) = slow.stream.unwrap();
    assert!(host.node().connection(id).is_some());
    host.node().shutdown(now());
    host.tick(SLICE, |_, _, _| ());
    assert!(host.is_finished());
}

#[cfg(target_os = "linux")]
mod epoll {
    use super::*;
    use drywire_examples::epoll::{Host, Remote};
    use std::{
        sync::{Arc, Mutex},
        thread::{JoinHandle, spawn},
    };

    struct Server {
        remote: Remote<Standard>,
        slow: Arc<Mutex<Slow>>,
        thread: JoinHandle<()>,
    }

    impl Server {
        /// Runs something on its thread, and waits for what it returns.
        fn ask<T: Send + 'static>(
            &self,
            run: impl FnOnce(&mut Slow, &mut Node<Standard>) -> T + Send + 'static,
        ) -> T {
            let (slow, (tell, told)) = (self.slow.clone(), channel());
            assert!(self.remote.run(move |_, node| {
                let _ = tell.send(run(&mut slow.lock().unwrap(), node));
            }));
            told.recv_timeout(PATIENCE).unwrap()
        }

        fn knows_the_connection(&self) -> bool {
            self.ask(|slow, node| {
                let (id, _) = slow.stream.expect("a stream has come");
                node.connection(id).is_some()
            })
        }

        fn shut_down(&self) {
            assert!(self.remote.run(|now, node| node.shutdown(now)));
        }
    }

    fn serve(events: Sender<Of>) -> Server {
        let host = Host::new(server()).unwrap();
        let (remote, slow) = (host.remote(), Arc::<Mutex<Slow>>::default());
        let shared = slow.clone();
        let thread = spawn(move || {
            let handle = |_, _: &mut Node<_>, event| {
                shared.lock().unwrap().handle(&event);
                let _ = events.send(event);
            };
            host.run(handle).unwrap();
        });
        Server {
            remote,
            slow,
            thread,
        }
    }

    /// A server whose peer has sent everything and gone, its socket with it.
    fn a_server_without_its_peer() -> Server {
        let (tell, events) = channel();
        let server = serve(tell);
        let address = crate::nodes::until(&events, |event| match event {
            NodeEvent::Swarm(swarm::Event::Listening { address, .. }) => Some(address),
            _ => None,
        });
        let (mut sends, patience) = (Sends::to(address), now() + PATIENCE);
        while sends.tick() {
            assert!(now() < patience);
            sleep(Duration::from_millis(1));
        }
        crate::nodes::until(&events, |event| closed(&event).then_some(()));
        // Both ends were seen: its socket goes in these turns.
        for _ in 0..10 {
            sleep(Duration::from_millis(1));
            server.ask(|_, _| ());
        }
        server
    }

    #[test]
    fn a_slow_server_reads_everything_although_its_peer_has_gone() {
        let server = a_server_without_its_peer();
        while server.ask(Slow::read) {}
        server.slow.lock().unwrap().assert_all();
        // Nothing keeps it any longer.
        assert!((0..500).any(|_| {
            sleep(Duration::from_millis(1));
            !server.knows_the_connection()
        }));
        server.shut_down();
        server.thread.join().unwrap();
    }

    #[test]
    fn a_server_that_shuts_down_does_not_wait_for_readers() {
        let server = a_server_without_its_peer();
        assert!(server.knows_the_connection());
        let start = now();
        server.shut_down();
        server.thread.join().unwrap();
        // Otherwise it would have been as long as what is unread may wait.
        assert!(now() - start < UNREAD - LINGER);
    }
}

mod workers {
    use super::*;
    use crate::nodes::{config, until};
    use drywire::connection::Connection;
    use drywire_examples::{
        keypair,
        workers::{Application, Here, WorkerHost},
    };

    impl Application for Slow {
        fn handle_event(&mut self, _: Instant, connection: &mut Connection, event: Event) {
            self.handle_of(connection.id(), &event);
        }
    }

    type Server = WorkerHost<Standard, Slow>;

    /// Runs something where the server's connection is, and waits for what it returns; `None` if it is gone.
    fn ask<T: Send + 'static>(
        server: &Server,
        run: impl FnOnce(Here<'_, Slow>) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = channel();
        let visit = move |_, here: Option<Here<'_, Slow>>| {
            let _ = tell.send(here.map(run));
        };
        server.on_connection(ConnectionId::new(0), visit).unwrap();
        told.recv_timeout(PATIENCE).unwrap()
    }

    /// A server whose peer has sent everything and gone, its socket with it.
    fn a_server_without_its_peer() -> Server {
        let (tell, events) = channel();
        let (key, protocols) = (keypair().unwrap(), Standard::default());
        let tell = move |_, _: &mut swarm::Swarm<_>, event| drop(tell.send(event));
        let server =
            WorkerHost::start(config(), key, protocols, 2, |_| Slow::default(), tell).unwrap();
        let listen = |now, swarm: &mut swarm::Swarm<Standard>| {
            let accept = Accept::new(StreamKind::Raw);
            swarm.accept(now, ECHO, accept).unwrap();
            let address = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
            swarm.listen(now, address).unwrap();
        };
        server.on_swarm(listen).unwrap();
        let address = until(&events, |event| match event {
            swarm::Event::Listening { address, .. } => Some(address),
            _ => None,
        });
        let (mut sends, patience) = (Sends::to(address), now() + PATIENCE);
        while sends.tick() {
            assert!(now() < patience);
            sleep(Duration::from_millis(1));
        }
        let closed = |event| matches!(event, swarm::Event::ConnectionClosed { .. }).then_some(());
        until(&events, closed);
        server
    }

    #[test]
    fn a_slow_application_reads_everything_although_its_peer_has_gone() {
        let server = a_server_without_its_peer();
        // It goes with the end, so that is where it is asked.
        let read = |here: Here<'_, Slow>| {
            here.application.read_of(here.connection);
            let all = !here.connection.is_unread();
            if all {
                here.application.assert_all();
            }
            all
        };
        while !ask(&server, read).expect("it waits for its reader") {}
        assert!((0..500).any(|_| {
            sleep(Duration::from_millis(1));
            ask(&server, |_| ()).is_none()
        }));
        server.shutdown().unwrap();
        server.join().unwrap();
    }

    #[test]
    fn workers_that_shut_down_do_not_wait_for_readers() {
        let server = a_server_without_its_peer();
        assert!(ask(&server, |_| ()).is_some());
        let start = now();
        server.shutdown().unwrap();
        server.join().unwrap();
        // Otherwise it would have been as long as what is unread may wait.
        assert!(now() - start < UNREAD - LINGER);
    }
}
