//! Servers in both loops, and a client to try them with.

use core::time::Duration;
use drywire::{
    connection::{
        Accept, Connection, ConnectionError, ConnectionId, Event, OpenOptions, StreamId, StreamKind,
    },
    multiaddr::Multiaddr,
    protocol::{Standard, StandardEvent},
    swarm::{self, Config, DialCondition, DialOptions, Swarm},
    time::Instant,
};
use drywire_examples::{
    keypair,
    socket::Machine,
    transfer::{ECHO, Echo, Upload},
    workers::{Application, Here, WorkerHost},
};
use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, Sender, channel},
};

pub(crate) type SwarmEvent = swarm::Event<StandardEvent>;
/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    // All connections are between two peers.
    config.limits.per_peer = 256;
    config.resources.peer = config.resources.node;
    config
}

/// Echoes; but if told to be slow, touches no stream before it is released.
#[derive(Default)]
pub(crate) struct SlowEcho {
    echo: Echo,
    slow: bool,
    held: Vec<Event>,
}

impl SlowEcho {
    pub(crate) fn new(slow: bool) -> Self {
        Self {
            slow,
            ..Self::default()
        }
    }

    pub(crate) fn handle(&mut self, machine: &mut impl Machine, event: Event) {
        if self.slow {
            self.held.push(event);
        } else {
            self.echo.handle_event(machine, &event);
        }
    }

    pub(crate) fn release(&mut self, machine: &mut impl Machine) {
        self.slow = false;
        for event in std::mem::take(&mut self.held) {
            self.echo.handle_event(machine, &event);
        }
    }
}

impl Application for SlowEcho {
    fn handle_event(&mut self, _: Instant, connection: &mut Connection, event: Event) {
        self.handle(connection, event);
    }
}

/// A server in one of the loops.
pub(crate) trait Server: Sized {
    fn start(config: Config, slow: bool, events: Sender<SwarmEvent>) -> Self;
    /// Runs a command on the swarm.
    fn on_swarm(&self, run: impl FnOnce(Instant, &mut Swarm<Standard>) + Send + 'static);
    /// Has the first connection go on.
    fn release(&self);
    /// Waits for the end.
    fn join(self);
}

/// On two workers.
pub(crate) type Workers = WorkerHost<Standard, SlowEcho>;

impl Server for Workers {
    fn start(config: Config, slow: bool, events: Sender<SwarmEvent>) -> Self {
        WorkerHost::start(
            config,
            keypair().unwrap(),
            Standard::default(),
            2,
            move |_| SlowEcho::new(slow),
            move |_, _, event| drop(events.send(event)),
        )
        .unwrap()
    }

    fn on_swarm(&self, run: impl FnOnce(Instant, &mut Swarm<Standard>) + Send + 'static) {
        self.on_swarm(run).unwrap();
    }

    fn release(&self) {
        let release = |_, here: Option<Here<'_, SlowEcho>>| {
            let here = here.expect("the connection is there");
            here.application.release(here.connection);
        };
        self.on_connection(ConnectionId::new(0), release).unwrap();
    }

    fn join(self) {
        self.join().unwrap();
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::EpollServer;

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use drywire::node::{Node, NodeEvent};
    use drywire_examples::{
        epoll::{Host, Remote},
        socket::OfNode,
        swarm_with,
    };
    use std::{
        sync::{Arc, Mutex},
        thread::{JoinHandle, spawn},
    };

    /// In the loop over epoll.
    pub(crate) struct EpollServer {
        remote: Remote<Standard>,
        echoes: Arc<Mutex<BTreeMap<ConnectionId, SlowEcho>>>,
        thread: JoinHandle<()>,
    }

    impl Server for EpollServer {
        fn start(config: Config, slow: bool, events: Sender<SwarmEvent>) -> Self {
            let swarm = swarm_with(config, keypair().unwrap(), Standard::default());
            let host = Host::new(Node::new(swarm.unwrap())).unwrap();
            let remote = host.remote();
            let echoes = Arc::<Mutex<BTreeMap<ConnectionId, SlowEcho>>>::default();
            let shared = echoes.clone();
            let thread = spawn(move || {
                host.run(|_, node, event| match event {
                    NodeEvent::Swarm(event) => drop(events.send(event)),
                    NodeEvent::Connection(id, event) => {
                        let ends = matches!(event, Event::Closed { .. });
                        let mut echoes = shared.lock().unwrap();
                        let echo = echoes.entry(id).or_insert_with(|| SlowEcho::new(slow));
                        echo.handle(&mut OfNode(node, id), event);
                        if ends {
                            echoes.remove(&id);
                        }
                    }
                    _ => {}
                })
                .unwrap();
                let left = shared.lock().unwrap().len();
                assert_eq!(left, 0, "every connection has said its last word");
            });
            Self {
                remote,
                echoes,
                thread,
            }
        }

        fn release(&self) {
            let echoes = self.echoes.clone();
            assert!(self.remote.run(move |_, node| {
                for (id, echo) in echoes.lock().unwrap().iter_mut() {
                    echo.release(&mut OfNode(node, *id));
                }
            }));
        }

        fn on_swarm(&self, run: impl FnOnce(Instant, &mut Swarm<Standard>) + Send + 'static) {
            let command = move |now, node: &mut Node<Standard>| {
                node.command(now, |swarm| run(now, swarm));
            };
            assert!(self.remote.run(command));
        }

        fn join(self) {
            self.thread.join().unwrap();
        }
    }
}

/// Starts a server that listens; where, and what happens in its swarm.
pub(crate) fn serve<S: Server>(config: Config, slow: bool) -> (S, Multiaddr, Receiver<SwarmEvent>) {
    let (sender, events) = channel();
    let server = S::start(config, slow, sender);
    server.on_swarm(|now, swarm| {
        swarm
            .accept(now, ECHO, Accept::new(StreamKind::Raw))
            .unwrap();
        swarm
            .listen(now, "/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .unwrap();
    });
    let address = until(&events, |event| match event {
        SwarmEvent::Listening { address, .. } => Some(address),
        _ => None,
    });
    (server, address, events)
}

/// Waits for an event.
pub(crate) fn until<E, T>(events: &Receiver<E>, mut found: impl FnMut(E) -> Option<T>) -> T {
    loop {
        if let Some(found) = found(events.recv_timeout(PATIENCE).expect("an event")) {
            return found;
        }
    }
}

/// What a client does on each connection.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) streams: u64,
    pub(crate) bytes: u64,
    /// Close the connection when all have come back.
    pub(crate) closes: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Established(ConnectionId),
    /// So many bytes have come back on all streams.
    Progress(u64),
    /// Every stream has come back whole.
    Done(ConnectionId),
    Failed(String),
}

/// The client's end of one connection.
pub(crate) struct Uploads {
    plan: Plan,
    left: u64,
    pub(crate) streams: BTreeMap<StreamId, Upload>,
    done: u64,
    received: u64,
    says: Sender<Said>,
}

pub(crate) type Client = WorkerHost<Standard, Uploads>;

/// Starts a client on two workers.
pub(crate) fn client(config: Config, plan: Plan) -> (Client, Receiver<Said>, Receiver<SwarmEvent>) {
    let ((says, said), (sender, events)) = (channel(), channel());
    let application = move |_| Uploads {
        plan,
        left: plan.streams,
        streams: BTreeMap::new(),
        done: 0,
        received: 0,
        says: says.clone(),
    };
    let events_of = move |_, _: &mut Swarm<_>, event| drop(sender.send(event));
    let key = keypair().unwrap();
    let client = WorkerHost::start(config, key, Standard::default(), 2, application, events_of);
    (client.unwrap(), said, events)
}

pub(crate) fn dial(client: &Client, address: &Multiaddr) {
    let options = DialOptions::address(address.clone()).condition(DialCondition::Always);
    client
        .on_swarm(move |now, swarm| assert!(swarm.dial(now, options).is_ok()))
        .unwrap();
}

impl Uploads {
    /// Opens what is wanted, as many at once as the peer lets.
    pub(crate) fn open(&mut self, now: Instant, connection: &mut Connection) {
        while self.left > 0 && self.streams.len() < 100 {
            let opened = connection.open(now, &[ECHO], StreamKind::Raw, OpenOptions::default());
            let Ok(stream) = opened else {
                return;
            };
            self.left -= 1;
            let upload = Upload::start(connection, stream, self.plan.bytes);
            self.streams.insert(stream, upload);
        }
    }

    fn say(&self, said: Said) {
        let _ = self.says.send(said);
    }
}

impl Application for Uploads {
    fn handle_event(&mut self, now: Instant, connection: &mut Connection, event: Event) {
        let id = match &event {
            Event::Established { .. } => {
                self.say(Said::Established(connection.id()));
                return self.open(now, connection);
            }
            Event::StreamsAvailable => return self.open(now, connection),
            Event::Closed { error } => {
                if self.done < self.plan.streams {
                    self.say(Said::Failed(error.to_string()));
                }
                return;
            }
            Event::Opened { stream, .. }
            | Event::Readable { stream }
            | Event::Writable { stream }
            | Event::Failed { stream, .. }
            | Event::Reset { stream, .. } => *stream,
            _ => return,
        };
        let Some(upload) = self.streams.get_mut(&id) else {
            return;
        };
        let before = upload.received();
        upload.handle_event(connection, &event);
        let outcome = upload.outcome().cloned();
        let got = upload.received() - before;
        if self.received / 0x10_0000 != (self.received + got) / 0x10_0000 {
            self.say(Said::Progress(self.received + got));
        }
        self.received += got;
        let Some(outcome) = outcome else {
            return;
        };
        self.streams.remove(&id);
        match outcome {
            Ok(_) => self.done += 1,
            Err(error) => self.say(Said::Failed(error)),
        }
        self.open(now, connection);
        if self.done == self.plan.streams {
            self.say(Said::Done(connection.id()));
            if self.plan.closes {
                connection.close(now, ConnectionError::Closed);
            }
        }
    }
}
