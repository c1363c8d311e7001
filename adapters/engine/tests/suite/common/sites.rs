//! Two hosts that exchange requests and responses.

use super::world_with;
use bytes::Bytes;
use core::time::Duration;
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::request_response::{
        Codec, CodecError, Config, OutboundFailure, ProtocolSupport, RequestResponse,
    },
    protocols,
    swarm::DialOptions,
};
use drywire_engine::{Host, RequestError, Requests};
use drywire_sim::{Link, SimRuntime};

pub(crate) const LEFT: ProtocolName = ProtocolName::from_static("/left/1");
pub(crate) const RIGHT: ProtocolName = ProtocolName::from_static("/right/1");
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Bytes, but never none: an empty response is none.
#[derive(Debug, Default)]
pub(crate) struct Words;

impl Words {
    fn decode(bytes: Bytes) -> Result<Bytes, CodecError> {
        if bytes.is_empty() {
            return Err(CodecError::UnexpectedEnd);
        }
        Ok(bytes)
    }
}

impl Codec for Words {
    type Request = Bytes;
    type Response = Bytes;

    fn encode_request(&mut self, _: &ProtocolName, request: &Bytes) -> Result<Bytes, CodecError> {
        Ok(request.clone())
    }

    fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Self::decode(bytes)
    }

    fn encode_response(&mut self, _: &ProtocolName, response: &Bytes) -> Result<Bytes, CodecError> {
        Ok(response.clone())
    }

    fn decode_response(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Bytes, CodecError> {
        Self::decode(bytes)
    }
}

pub(crate) type Machine = RequestResponse<Words>;

protocols! {
    /// Two of a kind.
    pub(crate) struct Two => TwoEvent {
        pub(crate) left: Machine => Left,
        right: Machine => Right,
    }
}

pub(crate) fn machine(name: ProtocolName, config: Config) -> Machine {
    RequestResponse::new([(name, ProtocolSupport::Full)], config)
}

pub(crate) fn two(config: Config) -> Two {
    Two {
        left: machine(LEFT, config.clone()),
        right: machine(RIGHT, config),
    }
}

/// A host, its handle for the left protocol, and where it listens.
pub(crate) struct Site {
    pub(crate) host: Host<Two>,
    pub(crate) requests: Requests<Two, Words>,
    pub(crate) address: Multiaddr,
}

pub(crate) async fn site(runtime: &SimRuntime, config: Config) -> Site {
    let host = Host::builder(runtime.clone(), two(config)).start().unwrap();
    let bound = host
        .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .await
        .unwrap();
    let address = bound.address.with_peer_id(host.peer_id()).unwrap();
    let requests = host.requests(Two::Left);
    Site {
        host,
        requests,
        address,
    }
}

impl Site {
    pub(crate) fn peer(&self) -> PeerId {
        self.host.peer_id()
    }

    /// Requests under way, of this node and of peers.
    pub(crate) fn pending(&self) -> (usize, usize) {
        self.host.with(|two, _| {
            let left = &two.left;
            (left.pending_outbound(), left.pending_inbound())
        })
    }

    pub(crate) async fn connect(&self, server: &Site) {
        let options = DialOptions::address(server.address.clone());
        self.host.dial(options).await.unwrap();
    }

    pub(crate) async fn ask(
        &self,
        server: &Site,
        question: &'static str,
    ) -> Result<Bytes, RequestError> {
        let question = Bytes::from_static(question.as_bytes());
        self.requests.request(server.peer(), question).await
    }
}

/// A server and a client that is connected to it.
pub(crate) async fn sites(runtime: &SimRuntime, config: Config) -> (Site, Site) {
    let (server, client) = (
        site(runtime, config.clone()).await,
        site(runtime, config).await,
    );
    client.connect(&server).await;
    (server, client)
}

pub(crate) fn run<F: Future>(seed: u64, test: impl FnOnce(SimRuntime) -> F) -> F::Output {
    let (mut world, runtime) = world_with(seed, Link::default(), seed > 0);
    world.block_on(test(runtime)).unwrap()
}

pub(crate) fn failed(failure: OutboundFailure) -> Result<Bytes, RequestError> {
    Err(RequestError::Failed(failure))
}

pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}
