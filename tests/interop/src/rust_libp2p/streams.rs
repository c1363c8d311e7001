//! Generic streams for rust-libp2p: a small behaviour with the use of `libp2p-stream` but without its one-slot queue,
//! which loses inbound streams when they come in bursts.
//!
//! A request to open a stream goes straight to the handler of the connection, not through the swarm, as in
//! `libp2p-stream`: the shortest way rust-libp2p offers, so that comparisons with it are fair.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use tokio::sync::{mpsc, oneshot};

use crate::peer::Error;

type Opened = oneshot::Sender<Result<Stream, Error>>;
type OpenRequest = (StreamProtocol, Opened);

/// Requests to open that one connection's handler holds at most; more wait.
const OPEN_QUEUE: usize = 1024;

/// The application's end: opens and accepts streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Inbound streams that were reset because nobody took those before them.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    accepting: BTreeMap<&'static str, mpsc::Sender<(PeerId, Stream)>>,
    /// The keys of `accepting`, ready for the handlers, which ask for them at every poll.
    names: Arc<[StreamProtocol]>,
    connections: HashMap<PeerId, Vec<(ConnectionId, mpsc::Sender<OpenRequest>)>>,
}

impl State {
    fn renew_names(&mut self) {
        self.names = self
            .accepting
            .keys()
            .map(|name| StreamProtocol::new(name))
            .collect();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Control {
    pub(crate) async fn open(&self, peer: &PeerId, name: &'static str) -> Result<Stream, Error> {
        let connection = {
            let state = self.shared.lock();
            let connections = state.connections.get(peer).ok_or(Error::NotConnected)?;
            connections.last().ok_or(Error::NotConnected)?.1.clone()
        };
        let (sender, receiver) = oneshot::channel();
        let request = (StreamProtocol::new(name), sender);
        connection
            .send(request)
            .await
            .map_err(|_| Error::NotConnected)?;
        receiver.await.map_err(|_| Error::NotConnected)?
    }

    pub(crate) fn accept(&self, name: &'static str, backlog: usize) -> Result<Incoming, Error> {
        if !name.starts_with('/') {
            return Err(Error::Node(format!(
                "rust-libp2p needs a leading slash: {name}"
            )));
        }
        let mut state = self.shared.lock();
        if state.accepting.contains_key(name) {
            return Err(Error::AlreadyAccepting);
        }
        let (sender, receiver) = mpsc::channel(backlog);
        state.accepting.insert(name, sender);
        state.renew_names();
        drop(state);
        Ok(Incoming {
            name,
            receiver,
            shared: self.shared.clone(),
        })
    }

    /// Inbound streams that were reset because nobody took those before them.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

/// The inbound streams of one protocol; the protocol is served until this is dropped.
#[derive(Debug)]
pub struct Incoming {
    name: &'static str,
    receiver: mpsc::Receiver<(PeerId, Stream)>,
    shared: Arc<Shared>,
}

impl futures::Stream for Incoming {
    type Item = (PeerId, Stream);

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.accepting.remove(self.name);
        state.renew_names();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Behaviour {
    shared: Arc<Shared>,
}

impl Behaviour {
    pub(crate) fn control(&self) -> Control {
        Control {
            shared: self.shared.clone(),
        }
    }

    fn handler(&self, connection: ConnectionId, peer: PeerId) -> Handler {
        let (sender, requests) = mpsc::channel(OPEN_QUEUE);
        self.shared
            .lock()
            .connections
            .entry(peer)
            .or_default()
            .push((connection, sender));
        Handler {
            peer,
            requests,
            shared: self.shared.clone(),
        }
    }

    fn forget(&self, connection: ConnectionId, peer: PeerId) {
        let mut state = self.shared.lock();
        if let Some(connections) = state.connections.get_mut(&peer) {
            connections.retain(|(id, _)| *id != connection);
            if connections.is_empty() {
                state.connections.remove(&peer);
            }
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.forget(closed.connection_id, closed.peer_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[derive(Debug)]
pub(crate) struct Handler {
    peer: PeerId,
    requests: mpsc::Receiver<OpenRequest>,
    shared: Arc<Shared>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyOf;
    type OutboundProtocol = Just;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyOf> {
        SubstreamProtocol::new(AnyOf(self.shared.lock().names.clone()), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Just, Opened, Infallible>> {
        match self.requests.poll_recv(cx) {
            Poll::Ready(Some((name, opened))) => {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(Just(name), opened),
                })
            }
            // The sender was dropped: the connection is about to end.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, AnyOf, Just, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, name),
                ..
            }) => {
                let sender = self.shared.lock().accepting.get(name.as_ref()).cloned();
                if sender.is_none_or(|sender| sender.try_send((self.peer, stream)).is_err()) {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            // If the receiver is gone, so is the wish for this stream: it drops here and is reset.
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => Error::Timeout,
                    StreamUpgradeError::NegotiationFailed => Error::Unsupported,
                    StreamUpgradeError::Io(error) => Error::Io(error),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.send(Err(error));
            }
            _ => {}
        }
    }
}

/// The inbound upgrade: whichever of these names the peer proposes.
#[derive(Debug)]
pub(crate) struct AnyOf(Arc<[StreamProtocol]>);

#[derive(Debug)]
pub(crate) struct Names {
    names: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for Names {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let name = self.names.get(self.next).cloned();
        self.next += 1;
        name
    }
}

impl upgrade::UpgradeInfo for AnyOf {
    type Info = StreamProtocol;
    type InfoIter = Names;

    fn protocol_info(&self) -> Names {
        Names {
            names: self.0.clone(),
            next: 0,
        }
    }
}

impl upgrade::InboundUpgrade<Stream> for AnyOf {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

/// The outbound upgrade: this name.
#[derive(Debug)]
pub(crate) struct Just(StreamProtocol);

impl upgrade::UpgradeInfo for Just {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0.clone())
    }
}

impl upgrade::OutboundUpgrade<Stream> for Just {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
