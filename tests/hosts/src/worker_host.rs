//! The example of a swarm's thread and workers that have connections.

use crate::{
    bridge::{
        Accepting, Answers, Caller, LineIncoming, LineStream, Lines, StreamOperations, wait_for,
    },
    mio_host::TroubledSocket,
    node::{Failed, Node, Place},
    protocols::{Counts, ProtocolEvent, Protocols},
    trouble::{Alive, Trouble},
};
use bytes::Bytes;
use core::{future::Future, net::SocketAddr, time::Duration};
use drywire::{
    connection::{Accept, Connection, ConnectionId, Event, OpenOptions, StreamId, StreamKind},
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::kad::Record,
    seed::Seed,
    swarm::{self, Config, DialOptions, Swarm},
    time::Instant,
};
use drywire_examples::{
    socket::Pipe,
    workers::{Accepted, Application, Here, NotTaken, Sockets, WorkerHost, WorkerSocket},
};
use futures::channel::oneshot;
use mio::net::{TcpListener, TcpStream};
use std::{
    io,
    sync::{Arc, Mutex, Weak},
    thread,
};

/// Nodes of a thread and two workers each, the tasks of the test on a tokio runtime.
#[derive(Clone, Default)]
pub struct WorkerPlace {
    trouble: Trouble,
}

impl Place for WorkerPlace {
    type Node = WorkerNode;

    fn node(&self, config: Config) -> WorkerNode {
        WorkerNode::start(config, &self.trouble)
    }

    fn kill(&self, node: &WorkerNode) {
        node.0.end(drop);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(duration)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

/// The streams of one connection, on its worker.
struct Bridged(Lines);

impl Bridged {
    fn pump(&mut self, connection: &mut Connection, stream: StreamId) {
        let id = connection.id();
        let mut operations = connection.stream(stream);
        let operations = operations
            .as_mut()
            .map(|stream| stream as &mut dyn StreamOperations);
        self.0.pump(id, stream, operations);
    }
}

impl Application for Bridged {
    fn handle_event(&mut self, _: Instant, connection: &mut Connection, event: Event) {
        let (id, peer) = (connection.id(), connection.peer());
        for stream in self.0.concerned(id, peer, &event) {
            self.pump(connection, stream);
        }
    }
}

/// A handle of such a host.
#[derive(Clone)]
pub struct WorkerNode(Arc<Handle>);

struct Handle {
    peer: PeerId,
    host: Mutex<Option<Arc<WorkerHost<Protocols, Bridged>>>>,
    accepting: Accepting,
    answers: Arc<Mutex<Answers>>,
    counts: Arc<Counts>,
    alive: Mutex<Option<Alive>>,
}

impl Handle {
    /// Tries until there is room for one more command. Nothing happens once it has ended.
    fn tell(
        &self,
        mut command: impl FnMut(&WorkerHost<Protocols, Bridged>) -> Result<(), NotTaken>,
    ) {
        let host = self.host.lock().unwrap().clone();
        if let Some(host) = host {
            while command(&host) == Err(NotTaken::Full) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Ends it on another thread, as whoever calls this may be one of its own.
    fn end(&self, end: impl FnOnce(WorkerHost<Protocols, Bridged>) + Send + 'static) {
        let host = self.host.lock().unwrap().take();
        let alive = self.alive.lock().unwrap().take();
        self.accepting.lock().unwrap().clear();
        let Some(mut host) = host else { return };
        thread::spawn(move || {
            // Somebody may be telling it something.
            let host = loop {
                match Arc::try_unwrap(host) {
                    Ok(host) => break host,
                    Err(shared) => host = shared,
                }
                thread::sleep(Duration::from_millis(1));
            };
            end(host);
            drop(alive);
        });
    }

    fn pump(&self, connection: ConnectionId, stream: StreamId) {
        self.tell(|host| {
            host.on_connection(connection, move |_, here| {
                if let Some(Here {
                    connection,
                    application,
                }) = here
                {
                    application.pump(connection, stream);
                }
            })
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end(|host| {
            let _ = host.shutdown();
            host.join().unwrap();
        });
    }
}

impl WorkerNode {
    fn start(config: Config, trouble: &Trouble) -> Self {
        let seed = Seed::from_entropy(drywire_system::entropy().unwrap());
        let keypair = Keypair::ed25519_from_seed(&seed.derive("identity"));
        let (answers, accepting) = (Answers::default(), Accepting::default());
        let handle = Arc::new(Handle {
            peer: keypair.peer_id(),
            host: Mutex::default(),
            accepting: accepting.clone(),
            counts: answers.counts.clone(),
            answers: Arc::new(Mutex::new(answers)),
            alive: Mutex::new(Some(trouble.alive())),
        });
        let weak: Weak<Handle> = Arc::downgrade(&handle);
        let call: Caller = Arc::new(move |connection, stream| {
            if let Some(handle) = weak.upgrade() {
                handle.pump(connection, stream);
            }
        });
        let answers = handle.answers.clone();
        let (now, unix) = (drywire_system::now(), drywire_system::unix());
        let protocols = Protocols::default();
        let swarm = Swarm::new(config.clone(), keypair, protocols, seed, now, unix).unwrap();
        let host = WorkerHost::start_over(
            TroubledSockets(trouble.clone()),
            &config,
            swarm,
            2,
            move |_| Bridged(Lines::new(accepting.clone(), call.clone())),
            move |_, _, event: swarm::Event<ProtocolEvent>| {
                let mut answers = answers.lock().unwrap();
                if matches!(event, swarm::Event::ShutdownComplete) {
                    answers.shut_down();
                }
                answers.handle(event);
            },
        );
        *handle.host.lock().unwrap() = Some(Arc::new(host.unwrap()));
        Self(handle)
    }

    /// Runs something on the swarm's thread, and waits for its answer.
    async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(
            Instant,
            &mut Swarm<Protocols>,
            &mut Answers,
            oneshot::Sender<Result<T, Failed>>,
        ) + Send
        + 'static,
    ) -> Result<T, Failed> {
        let (sender, receiver) = oneshot::channel();
        let answers = self.0.answers.clone();
        let command = Arc::new(Mutex::new(Some((command, sender))));
        self.0.tell(|host| {
            let (command, answers) = (command.clone(), answers.clone());
            host.on_swarm(move |now, swarm| {
                if let Some((command, sender)) = command.lock().unwrap().take() {
                    command(now, swarm, &mut answers.lock().unwrap(), sender);
                }
            })
        });
        drop(command);
        receiver
            .await
            .unwrap_or_else(|_| Err(Failed("the host has ended".to_owned())))
    }
}

impl Node for WorkerNode {
    type Incoming = LineIncoming;
    type Stream = LineStream;

    fn peer_id(&self) -> PeerId {
        self.0.peer
    }

    async fn listen(&self, address: Multiaddr) -> Result<Multiaddr, Failed> {
        self.ask(
            |now, swarm, answers, answer| match swarm.listen(now, address) {
                Ok(listener) => drop(answers.listens.insert(listener, answer)),
                Err(error) => drop(answer.send(Err(Failed::of(error)))),
            },
        )
        .await
    }

    async fn dial(&self, address: Multiaddr) -> Result<PeerId, Failed> {
        let dialed = self.ask(|now, swarm, answers, answer| {
            match swarm.dial(now, DialOptions::address(address)) {
                Ok(dial) => drop(answers.dials.insert(dial, answer)),
                Err(error) => drop(answer.send(Err(Failed::of(error)))),
            }
        });
        dialed.await.map(|(peer, _)| peer)
    }

    async fn open(&self, peer: PeerId, name: ProtocolName) -> Result<LineStream, Failed> {
        let best = self.ask(move |_, swarm, _, answer| {
            let best = swarm.best_connection(&peer);
            let _ = answer.send(best.ok_or_else(|| Failed("not connected".to_owned())));
        });
        let connection = best.await?;
        let (sender, receiver) = oneshot::channel();
        let sender = Arc::new(Mutex::new(Some(sender)));
        self.0.tell(|host| {
            let (name, sender) = (name.clone(), sender.clone());
            host.on_connection(connection, move |now, here| {
                let opened = here.ok_or_else(|| Failed("it is gone".to_owned()));
                let opened = opened.and_then(|here| {
                    let (connection, lines) = (here.connection, &mut here.application.0);
                    let (kind, options) = (StreamKind::Raw, OpenOptions::default());
                    let stream = connection.open(now, &[name], kind, options);
                    let stream = stream.map_err(Failed::of)?;
                    Ok(lines.add(connection.id(), stream))
                });
                if let Some(sender) = sender.lock().unwrap().take() {
                    let _ = sender.send(opened);
                }
            })
        });
        drop(sender);
        receiver
            .await
            .unwrap_or_else(|_| Err(Failed("the host has ended".to_owned())))
    }

    async fn accept(&self, name: ProtocolName) -> Result<LineIncoming, Failed> {
        let incoming = wait_for(&self.0.accepting, name.clone());
        self.ask(|now, swarm, _, answer| {
            let accept = Accept::new(StreamKind::Raw).host_owned();
            let accepted = swarm.accept(now, name, accept.max_streams(2048));
            let _ = answer.send(accepted.map_err(Failed::of));
        })
        .await?;
        Ok(incoming)
    }

    async fn request(&self, peer: PeerId, body: Bytes) -> Result<Bytes, Failed> {
        self.ask(move |now, swarm, answers, answer| {
            swarm.with(now, |set, cx| answers.request(set, cx, peer, body, answer));
        })
        .await
    }

    async fn add_to_table(&self, peer: PeerId, address: Multiaddr) {
        let added: Result<(), Failed> = self
            .ask(move |now, swarm, _, answer| {
                swarm.with(now, |set, cx| {
                    Protocols::Kad.with(set, cx, |kad, cx| kad.add_address(peer, &address, cx))
                });
                let _ = answer.send(Ok(()));
            })
            .await;
        added.unwrap();
    }

    async fn put(&self, key: &'static str, value: &'static str) -> Result<(), Failed> {
        self.ask(move |now, swarm, answers, answer| {
            let record = Record::new(key, value);
            swarm.with(now, |set, cx| answers.put(set, cx, record, answer));
        })
        .await
    }

    async fn get(&self, key: &'static str) -> Result<Vec<u8>, Failed> {
        self.ask(move |now, swarm, answers, answer| {
            swarm.with(now, |set, cx| answers.get(set, cx, key, answer));
        })
        .await
    }

    async fn connections(&self) -> usize {
        self.0.counts.connections()
    }

    async fn accept_failures(&self) -> usize {
        self.0.counts.accept_failures()
    }

    async fn shutdown(&self) {
        let (sender, receiver) = oneshot::channel();
        let (sender, answers) = (Arc::new(Mutex::new(Some(sender))), self.0.answers.clone());
        self.0.tell(|host| {
            let (sender, answers) = (sender.clone(), answers.clone());
            host.on_swarm(move |now, swarm| {
                if let Some(sender) = sender.lock().unwrap().take() {
                    answers.lock().unwrap().wait_for_shutdown(sender);
                }
                swarm.shutdown(now);
            })
        });
        drop(sender);
        // An error: it has ended before.
        let _ = receiver.await;
    }
}

/// Sockets that misbehave.
struct TroubledSockets(Trouble);

impl Sockets for TroubledSockets {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<Accepted> {
        if let Some(error) = self.0.accept_failure() {
            return Err(error);
        }
        let (socket, remote) = listener.accept()?;
        socket.set_nodelay(true)?;
        let local: Option<SocketAddr> = socket.local_addr().ok();
        Ok((self.connected(socket), local, remote))
    }

    fn connected(&mut self, socket: TcpStream) -> Box<dyn WorkerSocket> {
        Box::new(TroubledSocket::new(socket, &self.0))
    }
}

impl Pipe for TroubledSocket {
    fn finish(&self) -> io::Result<()> {
        self.finish_sending()
    }
}
