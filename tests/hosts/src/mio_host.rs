//! The host over `mio::Poll`, each on a thread of its own.

use crate::{
    bridge::{
        Accepting, Answers, Caller, LineIncoming, LineStream, Lines, StreamOperations, wait_for,
    },
    node::{Failed, Node, Place},
    protocols::{Counts, Protocols},
    trouble::{Alive, Dice, Trouble},
};
use bytes::Bytes;
use core::{future::Future, time::Duration};
use drywire::{
    connection::{Accept, ConnectionId, StreamKind},
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::kad::Record,
    swarm::{Config, DialOptions},
};
use drywire_mio::{Event, EventLoop, Host, Listener, Socket, Tcp, Transport};
use futures::channel::oneshot;
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, TcpStream},
};
use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

/// Nodes on threads, the tasks of the test on a tokio runtime.
#[derive(Clone, Default)]
pub struct MioPlace {
    trouble: Trouble,
}

impl Place for MioPlace {
    type Node = MioNode;

    fn node(&self, config: Config) -> MioNode {
        let builder = Host::builder(Protocols::default()).config(config);
        let transport = TroubledTcp(self.trouble.clone());
        let event_loop = builder.transport(transport).event_loop().unwrap();
        MioNode::start(event_loop, self.trouble.alive())
    }

    fn kill(&self, node: &MioNode) {
        node.0.tell(Box::new(|thread| thread.killed = true));
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

type Loop = EventLoop<Protocols, TroubledTcp>;
type Command = Box<dyn FnOnce(&mut Thread) + Send>;

/// What lives on the thread.
struct Thread {
    event_loop: Loop,
    lines: Lines,
    answers: Answers,
    /// Its last handle is gone.
    dropped: bool,
    /// It is to end at once.
    killed: bool,
}

/// A handle of a host on its thread.
#[derive(Clone)]
pub struct MioNode(Arc<Handle>);

struct Handle {
    peer: PeerId,
    commands: Mutex<Sender<Command>>,
    waker: Arc<mio::Waker>,
    accepting: Accepting,
    counts: Arc<Counts>,
}

impl Handle {
    fn tell(&self, command: Command) {
        // It has ended: whoever waits for an answer sees that.
        let _ = self.commands.lock().unwrap().send(command);
        let _ = self.waker.wake();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.tell(Box::new(|thread| {
            thread.dropped = true;
            thread.event_loop.host().shutdown();
        }));
    }
}

impl MioNode {
    fn start(mut event_loop: Loop, alive: Alive) -> Self {
        let (sender, commands) = channel::<Command>();
        let answers = Answers::default();
        let (waker, accepting) = (event_loop.waker(), Accepting::default());
        let handle = Arc::new(Handle {
            peer: event_loop.host().peer_id(),
            commands: Mutex::new(sender),
            waker,
            accepting: accepting.clone(),
            counts: answers.counts.clone(),
        });
        let weak = Arc::downgrade(&handle);
        let call: Caller = Arc::new(move |connection, stream| {
            if let Some(handle) = weak.upgrade() {
                handle.tell(Box::new(move |thread| thread.pump(connection, stream)));
            }
        });
        let thread = Thread {
            event_loop,
            lines: Lines::new(accepting, call),
            answers,
            dropped: false,
            killed: false,
        };
        let accepting = handle.accepting.clone();
        thread::spawn(move || {
            thread.run(&commands);
            accepting.lock().unwrap().clear();
            drop(alive);
        });
        Self(handle)
    }

    /// Runs a command there, and waits for its answer.
    async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Thread, oneshot::Sender<Result<T, Failed>>) + Send + 'static,
    ) -> Result<T, Failed> {
        let (sender, receiver) = oneshot::channel();
        self.0.tell(Box::new(|thread| command(thread, sender)));
        receiver
            .await
            .unwrap_or_else(|_| Err(Failed("the host has ended".to_owned())))
    }
}

impl Thread {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            while let Ok(command) = commands.try_recv() {
                command(&mut self);
            }
            if self.killed {
                return;
            }
            while let Some(event) = self.event_loop.host().poll_event() {
                self.handle(event);
            }
            if self.event_loop.host().is_shut_down() {
                self.answers.shut_down();
                if self.dropped {
                    return;
                }
            }
            self.event_loop.turn(None).unwrap();
        }
    }

    fn handle(&mut self, event: Event<crate::ProtocolEvent>) {
        match event {
            Event::Swarm(event) => self.answers.handle(event),
            Event::Connection(connection, event) => {
                let held = self.event_loop.host().connection(connection);
                let peer = held.and_then(drywire::connection::Connection::peer);
                for stream in self.lines.concerned(connection, peer, &event) {
                    self.pump(connection, stream);
                }
            }
            _ => {}
        }
    }

    fn pump(&mut self, connection: ConnectionId, stream: drywire::connection::StreamId) {
        let mut operations = self.event_loop.host().stream(connection, stream);
        let operations = operations
            .as_mut()
            .map(|stream| stream as &mut dyn StreamOperations);
        self.lines.pump(connection, stream, operations);
    }
}

impl Node for MioNode {
    type Incoming = LineIncoming;
    type Stream = LineStream;

    fn peer_id(&self) -> PeerId {
        self.0.peer
    }

    async fn listen(&self, address: Multiaddr) -> Result<Multiaddr, Failed> {
        self.ask(
            |thread, answer| match thread.event_loop.host().listen(address) {
                Ok(listener) => drop(thread.answers.listens.insert(listener, answer)),
                Err(error) => drop(answer.send(Err(Failed::of(error)))),
            },
        )
        .await
    }

    async fn dial(&self, address: Multiaddr) -> Result<PeerId, Failed> {
        let dialed = self.ask(|thread, answer| {
            match thread.event_loop.host().dial(DialOptions::address(address)) {
                Ok(dial) => drop(thread.answers.dials.insert(dial, answer)),
                Err(error) => drop(answer.send(Err(Failed::of(error)))),
            }
        });
        dialed.await.map(|(peer, _)| peer)
    }

    async fn open(&self, peer: PeerId, name: ProtocolName) -> Result<LineStream, Failed> {
        self.ask(move |thread, answer| {
            let host = thread.event_loop.host();
            let opened = match host.swarm().best_connection(&peer) {
                Some(connection) => host
                    .open(connection, &[name])
                    .map(|stream| (connection, stream))
                    .map_err(Failed::of),
                None => Err(Failed("not connected".to_owned())),
            };
            let opened = opened.map(|(connection, stream)| thread.lines.add(connection, stream));
            let _ = answer.send(opened);
        })
        .await
    }

    async fn accept(&self, name: ProtocolName) -> Result<LineIncoming, Failed> {
        let incoming = wait_for(&self.0.accepting, name.clone());
        self.ask(|thread, answer| {
            let accept = Accept::new(StreamKind::Raw).max_streams(2048);
            let accepted = thread.event_loop.host().accept_with(name, accept);
            let _ = answer.send(accepted.map_err(Failed::of));
        })
        .await?;
        Ok(incoming)
    }

    async fn request(&self, peer: PeerId, body: Bytes) -> Result<Bytes, Failed> {
        self.ask(move |thread, answer| {
            let answers = &mut thread.answers;
            thread
                .event_loop
                .host()
                .with(|set, cx| answers.request(set, cx, peer, body, answer));
        })
        .await
    }

    async fn add_to_table(&self, peer: PeerId, address: Multiaddr) {
        let added: Result<(), Failed> = self
            .ask(move |thread, answer| {
                thread.event_loop.host().with(|set, cx| {
                    Protocols::Kad.with(set, cx, |kad, cx| kad.add_address(peer, &address, cx))
                });
                let _ = answer.send(Ok(()));
            })
            .await;
        added.unwrap();
    }

    async fn put(&self, key: &'static str, value: &'static str) -> Result<(), Failed> {
        self.ask(move |thread, answer| {
            let (answers, record) = (&mut thread.answers, Record::new(key, value));
            thread
                .event_loop
                .host()
                .with(|set, cx| answers.put(set, cx, record, answer));
        })
        .await
    }

    async fn get(&self, key: &'static str) -> Result<Vec<u8>, Failed> {
        self.ask(move |thread, answer| {
            let answers = &mut thread.answers;
            thread
                .event_loop
                .host()
                .with(|set, cx| answers.get(set, cx, key, answer));
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
        self.0.tell(Box::new(|thread| {
            thread.answers.wait_for_shutdown(sender);
            thread.event_loop.host().shutdown();
        }));
        let _ = receiver.await;
    }
}

/// TCP that misbehaves within what the traits allow, and is counted.
pub struct TroubledTcp(Trouble);

impl Transport for TroubledTcp {
    type Listener = TroubledListener;
    type Socket = TroubledSocket;

    fn connect(&mut self, remote: SocketAddr) -> io::Result<TroubledSocket> {
        Ok(TroubledSocket::new(Tcp.connect(remote)?, &self.0))
    }

    fn listen(&mut self, local: SocketAddr) -> io::Result<TroubledListener> {
        Ok(TroubledListener {
            listener: Tcp.listen(local)?,
            trouble: self.0.clone(),
            _alive: self.0.alive(),
        })
    }
}

/// A listener that fails when it is told to.
pub struct TroubledListener {
    listener: TcpListener,
    trouble: Trouble,
    _alive: Alive,
}

impl Listener for TroubledListener {
    type Socket = TroubledSocket;

    fn accept(&mut self) -> io::Result<(TroubledSocket, SocketAddr)> {
        if let Some(error) = self.trouble.accept_failure() {
            return Err(error);
        }
        let (socket, remote) = Listener::accept(&mut self.listener)?;
        Ok((TroubledSocket::new(socket, &self.trouble), remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket that would block when it need not, and so on.
pub struct TroubledSocket {
    socket: TcpStream,
    dice: Dice,
    /// How it is registered, to have its readiness told again.
    registered: Option<(Registry, Token, Interest)>,
    _alive: Alive,
}

impl TroubledSocket {
    pub(crate) fn finish_sending(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    pub(crate) fn new(socket: TcpStream, trouble: &Trouble) -> Self {
        Self {
            socket,
            dice: trouble.dice(),
            registered: None,
            _alive: trouble.alive(),
        }
    }

    /// Would block, and is ready again at once.
    fn later<T>(&mut self) -> io::Result<T> {
        if let Some((registry, token, interest)) = &self.registered {
            registry.reregister(&mut self.socket, *token, *interest)?;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Socket for TroubledSocket {
    fn is_connected(&mut self) -> io::Result<bool> {
        Socket::is_connected(&mut self.socket)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Socket::shutdown_write(&mut self.socket)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Socket::local_addr(&self.socket)
    }

    fn short_is_last(&self) -> bool {
        !self.dice.is_on() && self.socket.short_is_last()
    }
}

impl Read for TroubledSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.dice.moved(0)?;
        if self.dice.would_block() {
            return self.later();
        }
        let most = self.dice.cut(buffer.len());
        let count = self.socket.read(&mut buffer[..most])?;
        self.dice.moved(count)?;
        Ok(count)
    }
}

impl Write for TroubledSocket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.dice.moved(0)?;
        if self.dice.would_block() {
            return self.later();
        }
        let most = self.dice.cut(data.len());
        let count = self.socket.write(&data[..most])?;
        self.dice.moved(count)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for TroubledSocket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.registered = Some((registry.try_clone()?, token, interests));
        self.socket.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.registered = Some((registry.try_clone()?, token, interests));
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registered = None;
        self.socket.deregister(registry)
    }
}

impl Source for TroubledListener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.listener.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.listener.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}
