//! A node over `std::net`: the host of the examples.
//!
//! It lives on one thread, which sleeps on a bounded channel until the node's next deadline. A thread for each socket reads
//! it, and one for each listener accepts. Connecting and writing block the node; a real host would not let them.

use core::{net::SocketAddr, time::Duration};
use drywire::{
    connection::{ConnectedPoint, ConnectionId},
    identity::Keypair,
    multiaddr::Multiaddr,
    node::{Node, NodeAction, NodeEvent},
    seed::Seed,
    swarm::{Action, Config, Event, ListenerUpdate, Protocol, Swarm, TransportError},
    time::{Instant, UnixTime},
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{collections::HashMap, fs::File, sync::LazyLock, thread, time::SystemTime};

enum News {
    Accepted(TcpStream, SocketAddr),
    /// No bytes: the end.
    Received(ConnectionId, Vec<u8>),
}

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

pub(crate) fn now() -> Instant {
    Instant::ZERO + START.elapsed()
}

pub(crate) struct Host<P: Protocol> {
    pub(crate) node: Node<P>,
    /// Each socket, and how its reader gets back what the connection could not take yet.
    sockets: HashMap<ConnectionId, (TcpStream, SyncSender<Vec<u8>>)>,
    sender: SyncSender<News>,
    news: Receiver<News>,
}

impl<P: Protocol> Host<P> {
    pub(crate) fn new(protocols: P) -> Self {
        let (mut entropy, mut source) = ([0; 32], File::open("/dev/urandom").unwrap());
        source.read_exact(&mut entropy).unwrap();
        let seed = Seed::from_entropy(entropy);
        let keypair = Keypair::ed25519_from_seed(&seed.derive("this node"));
        let config = Config::default();
        let unix = UnixTime::EPOCH.saturating_add(SystemTime::UNIX_EPOCH.elapsed().unwrap());
        let node = Node::new(Swarm::new(config, keypair, protocols, seed, now(), unix).unwrap());
        let sockets = HashMap::new();
        let (sender, news) = sync_channel(64);
        Self {
            node,
            sockets,
            sender,
            news,
        }
    }

    /// Runs the node until `done` says so of one of its events.
    pub(crate) fn run(&mut self, mut done: impl FnMut(&mut Node<P>, Event<P::Event>) -> bool) {
        loop {
            while let Some(event) = self.node.poll_event() {
                if let NodeEvent::Swarm(event) = event
                    && done(&mut self.node, event)
                {
                    return;
                }
            }
            while let Some(action) = self.node.poll_action() {
                self.act(action);
            }
            let deadline = self.node.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
            match self.news.recv_timeout(deadline - now()) {
                Ok(News::Accepted(socket, remote)) => {
                    let point = ConnectedPoint::accepted(Multiaddr::from_tcp(remote), None);
                    if let Ok(connection) = self.node.handle_accept(now(), point) {
                        self.add(connection, socket);
                    }
                }
                Ok(News::Received(connection, bytes)) if bytes.is_empty() => {
                    self.node.handle_eof(now(), connection);
                }
                Ok(News::Received(connection, mut bytes)) => {
                    let taken = self.node.handle_input(now(), connection, &bytes);
                    if let Some((_, go_on)) = self.sockets.get(&connection) {
                        let _ = go_on.try_send(bytes.split_off(taken));
                    }
                }
                Err(_) => self.node.handle_timeout(now()),
            }
        }
    }

    fn act(&mut self, action: NodeAction) {
        let node = &mut self.node;
        match action {
            NodeAction::Swarm(Action::Dial { attempt, address }) => {
                let (ip, port, _) = address.socket_addr().unwrap();
                let socket = TcpStream::connect((ip, port));
                let result = match &socket {
                    Ok(_) => Ok(ConnectedPoint::dialed(address, None)),
                    Err(error) => Err(TransportError::Other(error.to_string())),
                };
                let connection = node.handle_dialed(now(), attempt, result);
                if let (Some(connection), Ok(socket)) = (connection, socket) {
                    self.add(connection, socket);
                }
            }
            NodeAction::Swarm(Action::Listen { listener, address }) => {
                let (ip, port, _) = address.socket_addr().unwrap();
                let socket = TcpListener::bind((ip, port)).unwrap();
                let bound = Multiaddr::from_tcp(socket.local_addr().unwrap());
                node.handle_listener(now(), listener, ListenerUpdate::Bound(bound));
                let sender = self.sender.clone();
                thread::spawn(move || {
                    while let Ok((socket, remote)) = socket.accept() {
                        let _ = sender.send(News::Accepted(socket, remote));
                    }
                });
            }
            NodeAction::Transmit(connection) => {
                let mut out = Vec::new();
                node.poll_transmit(now(), connection, &mut out, 256 * 1024);
                let socket = self.sockets.get_mut(&connection);
                let _ = socket.map(|(socket, _)| socket.write_all(&out));
            }
            NodeAction::Close(connection) => {
                let socket = self.sockets.remove(&connection);
                let _ = socket.map(|(socket, _)| socket.shutdown(Shutdown::Both));
                node.handle_closed(now(), connection);
            }
            NodeAction::Swarm(other) => node.handle_unsupported(now(), other),
            other => println!("not understood: {other:?}"),
        }
    }

    /// Reads a socket on a thread of its own, one piece after the other.
    fn add(&mut self, connection: ConnectionId, mut socket: TcpStream) {
        let (go_on, wait) = sync_channel(1);
        let (sender, writer) = (self.sender.clone(), socket.try_clone().unwrap());
        self.sockets.insert(connection, (writer, go_on));
        thread::spawn(move || {
            let (mut buffer, mut bytes) = ([0; 16 * 1024], Vec::new());
            loop {
                if bytes.is_empty() {
                    let count = socket.read(&mut buffer).unwrap_or(0);
                    bytes.extend_from_slice(&buffer[..count]);
                } else {
                    thread::sleep(Duration::from_millis(1));
                }
                let end = bytes.is_empty();
                let sent = sender.send(News::Received(connection, bytes));
                bytes = match wait.recv() {
                    Ok(left) if sent.is_ok() && !end => left,
                    _ => return,
                };
            }
        });
    }
}

impl<P: Protocol> Host<P> {
    /// Listens on this machine alone; where, with the peer id.
    pub(crate) fn listen(&mut self) -> Multiaddr {
        let anywhere = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        self.node.listen(now(), anywhere).unwrap();
        let mut bound = None;
        self.run(|node, event| {
            if let Event::Listening { address, .. } = event {
                bound = address.with_peer_id(node.swarm().local_peer_id()).ok();
            }
            bound.is_some()
        });
        bound.unwrap()
    }
}
