//! What all drivers of a host share, apart from the swarm: who is connected, who accepts what, and the swarm's inbox.

use crate::{
    connection::Shared,
    incoming::Queue,
    notify::{Notify, lock},
    stream::Stream,
};
use core::time::Duration;
use drywire::{
    connection::{ConnectionId, ToSwarm},
    identity::PeerId,
    multistream::ProtocolName,
    swarm::StreamRef,
    time::Instant,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    task::Wake,
};

/// Output buffers kept for the next turn of any connection. Few are ever in use at once: a driver holds one only while it
/// writes, or while its socket is full.
const SPARE_BUFFERS: usize = 8;
/// Larger buffers are freed: nothing needs them but a turn that overshot its limit.
const LARGEST_SPARE: usize = 512 * 1024;

/// Something for the swarm, from a connection's driver.
pub(crate) enum FromConnection {
    Message(ToSwarm),
    /// The driver has ended and dropped the connection's socket.
    Closed,
}

pub(crate) struct Router {
    /// Wakes the swarm's driver.
    pub(crate) swarm: Notify,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    /// How long an open waits for room.
    open_timeout: Duration,
    /// Bounded: each connection has a bounded number of messages under way.
    inbox: Mutex<VecDeque<(Arc<Shared>, FromConnection)>>,
    directory: Mutex<Directory>,
    acceptors: Mutex<BTreeMap<ProtocolName, Arc<Queue>>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Directory {
    connections: BTreeMap<ConnectionId, Arc<Shared>>,
    /// Only established connections, oldest first.
    peers: BTreeMap<PeerId, Vec<Arc<Shared>>>,
}

/// The waker that the protocols get: the swarm's driver looks after what they were left word of.
impl Wake for Router {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.swarm.notify_unlocked();
    }
}

impl Router {
    pub(crate) fn new(
        open_timeout: Duration,
        clock: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            swarm: Notify::default(),
            clock: Box::new(clock),
            open_timeout,
            inbox: Mutex::default(),
            directory: Mutex::default(),
            acceptors: Mutex::default(),
            buffers: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// When an open that begins now gives up waiting for room.
    pub(crate) fn open_deadline(&self) -> Instant {
        self.now() + self.open_timeout
    }

    /// Queues messages of one connection for the swarm and wakes it.
    pub(crate) fn post(
        &self,
        shared: &Arc<Shared>,
        messages: impl ExactSizeIterator<Item = FromConnection>,
    ) {
        shared.messages_sent(messages.len());
        lock(&self.inbox).extend(messages.map(|message| (shared.clone(), message)));
        self.swarm.notify();
    }

    pub(crate) fn take_inbox(&self) -> VecDeque<(Arc<Shared>, FromConnection)> {
        core::mem::take(&mut *lock(&self.inbox))
    }

    /// Makes a connection known by its id.
    pub(crate) fn add(&self, shared: &Arc<Shared>) {
        lock(&self.directory)
            .connections
            .insert(shared.id, shared.clone());
    }

    /// Makes an established connection known as a way to its peer.
    pub(crate) fn add_peer(&self, peer: PeerId, shared: &Arc<Shared>) {
        lock(&self.directory)
            .peers
            .entry(peer)
            .or_default()
            .push(shared.clone());
    }

    /// Forgets a connection.
    pub(crate) fn remove(&self, shared: &Shared) {
        let mut directory = lock(&self.directory);
        let known = directory.connections.remove(&shared.id);
        if let Some(peer) = shared.peer.get()
            && let Some(connections) = directory.peers.get_mut(peer)
        {
            connections.retain(|other| other.id != shared.id);
            if connections.is_empty() {
                directory.peers.remove(peer);
            }
        }
        drop(directory);
        drop(known);
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> Option<Arc<Shared>> {
        lock(&self.directory).connections.get(&id).cloned()
    }

    /// Nobody will take up a stream that a protocol gave to the host. No connection is locked.
    pub(crate) fn discard(&self, stream: StreamRef) {
        if let Some(shared) = self.connection(stream.connection) {
            shared.discard(stream.stream);
        }
    }

    /// The `index`th connection to a peer, oldest first.
    pub(crate) fn connection_to(&self, peer: &PeerId, index: usize) -> Option<Arc<Shared>> {
        lock(&self.directory).peers.get(peer)?.get(index).cloned()
    }

    /// Registers who takes the streams of a name; false if somebody does already.
    pub(crate) fn register(&self, name: &ProtocolName, queue: &Arc<Queue>) -> bool {
        let mut acceptors = lock(&self.acceptors);
        if acceptors.contains_key(name) {
            return false;
        }
        acceptors.insert(name.clone(), queue.clone());
        true
    }

    pub(crate) fn deregister(&self, name: &ProtocolName) {
        let queue = lock(&self.acceptors).remove(name);
        drop(queue);
    }

    /// No more inbound streams come.
    pub(crate) fn close(&self) {
        let acceptors = core::mem::take(&mut *lock(&self.acceptors));
        acceptors.values().for_each(|queue| queue.close());
    }

    /// Hands an inbound stream to whoever accepts its name. Without one, or without room, it is dropped, hence reset.
    pub(crate) fn accept(&self, peer: PeerId, stream: Stream) {
        let queue = lock(&self.acceptors).get(stream.protocol()).cloned();
        if let Some(queue) = queue {
            queue.push(peer, stream);
        }
    }

    /// An empty output buffer, with whatever capacity the last user left in it.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    /// Gives an output buffer back.
    pub(crate) fn give_buffer(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > LARGEST_SPARE {
            return;
        }
        buffer.clear();
        let mut buffers = lock(&self.buffers);
        if buffers.len() < SPARE_BUFFERS {
            buffers.push(buffer);
        }
    }
}
