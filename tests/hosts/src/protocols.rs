//! What every node of the suite runs besides streams.

use bytes::Bytes;
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use drywire::{
    identity::PeerId,
    multistream::ProtocolName,
    protocol::{
        identify::{self, Identify},
        kad::{self, Kademlia, Mode},
        request_response::{self, BytesCodec, Framing, ProtocolSupport, RequestResponse, Service},
    },
    swarm::{Config, Event},
};

/// Requests that are answered with themselves.
pub const ECHO_REQUEST: ProtocolName = ProtocolName::from_static("/suite/echo-request/1.0.0");
const KAD: ProtocolName = ProtocolName::from_static("/suite/kad/1.0.0");

/// Answers requests with themselves.
pub type EchoRequests = Service<BytesCodec, fn(PeerId, Bytes) -> Option<Bytes>>;

drywire::protocols! {
    /// Requests, a DHT, and identify, which the DHT lives on.
    #[derive(Debug)]
    pub struct Protocols => ProtocolEvent {
        /// Who is who.
        pub identify: Identify => Identify,
        /// Answers.
        pub answering: EchoRequests => Answering,
        /// Asks.
        pub asking: RequestResponse<BytesCodec> => Asking,
        /// The DHT.
        pub kad: Kademlia => Kad,
    }
}

impl Default for Protocols {
    fn default() -> Self {
        let requests = || request_response::Config::default().with_framing(Framing::ToEnd);
        let asks = [(ECHO_REQUEST, ProtocolSupport::Outbound)];
        Self {
            identify: Identify::new(identify::Config::default()),
            answering: Service::new(BytesCodec, Some(ECHO_REQUEST), requests(), |_, request| {
                Some(request)
            }),
            asking: RequestResponse::new(asks, requests()),
            kad: Kademlia::new(kad::Config::new(KAD)).with_mode(Mode::Server),
        }
    }
}

/// The configuration of a node, unless a scenario is about another.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.connection.close_timeout = Duration::from_secs(2);
    config
}

/// What a node's events add up to.
#[derive(Debug, Default)]
pub struct Counts {
    connections: AtomicUsize,
    accept_failures: AtomicUsize,
}

impl Counts {
    /// Counts an event.
    pub fn count(&self, event: &Event<ProtocolEvent>) {
        match event {
            Event::ConnectionEstablished { .. } => {
                self.connections.fetch_add(1, Ordering::SeqCst);
            }
            Event::ConnectionClosed { .. } => {
                self.connections.fetch_sub(1, Ordering::SeqCst);
            }
            Event::AcceptFailed { .. } => {
                self.accept_failures.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }

    /// Connections that are up.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many times accepting has failed.
    #[must_use]
    pub fn accept_failures(&self) -> usize {
        self.accept_failures.load(Ordering::SeqCst)
    }
}
