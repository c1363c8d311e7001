//! Both codecs in two nodes.

use super::{super::json, *};
use crate::{
    connection::StreamError,
    node::net::{Net, peer},
    protocol::request_response::{
        EncodeError, Event, Message, OutboundFailure, ProtocolSupport, Refusal, RequestResponse,
        SendRequestError, SendResponseError,
    },
    swarm::{Config as SwarmConfig, SecurityConfig},
};

/// Limits of what is said at each end, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    request: u32,
    response: u32,
}

const SMALL: Limits = Limits {
    request: 100,
    response: 100,
};
const LARGE: Limits = Limits {
    request: 200,
    response: 200,
};

struct Pair<C: Codec<Request = String, Response = String>>(Net<RequestResponse<C>>);

type Told = Event<String, String>;

impl<C: Codec<Request = String, Response = String> + Default> Pair<C> {
    /// The first asks, the second answers.
    fn new(asks: Limits, answers: Limits) -> Self {
        let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
        let mut net = Net::new(2, &config, |number| {
            let limits = if number == 0 { asks } else { answers };
            let config = Config::default()
                .with_max_request_len(limits.request)
                .with_max_response_len(limits.response);
            RequestResponse::new([(NAME, ProtocolSupport::Full)], config)
        });
        net.connect(0, 1);
        Self(net)
    }

    fn ask(&mut self, request: String) -> Result<(), SendRequestError<String>> {
        let now = self.0.now;
        let sent = self.0.nodes[0].with(now, |asks, cx| asks.send_request(&peer(1), request, cx));
        self.0.settle();
        sent.map(|_| ())
    }

    /// Answers what the second node was asked, and returns it.
    fn answer(&mut self, response: &str) -> Vec<Result<String, SendResponseError<String>>> {
        let asked = self.0.told(1).into_iter();
        let (now, node) = (self.0.now, &mut self.0.nodes[1]);
        let asked = asked.filter_map(|event| match event {
            Event::Message {
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => Some(
                node.with(now, |answers, cx| {
                    answers.send_response(channel, response.into(), cx)
                })
                .map(|()| request),
            ),
            _ => None,
        });
        let asked = asked.collect();
        self.0.settle();
        asked
    }

    /// What the one who asked was told; once.
    fn outcome(&mut self) -> Result<String, OutboundFailure> {
        let told: [Told; 1] = self.0.told(0).try_into().unwrap();
        match told {
            [
                Event::Message {
                    message: Message::Response { response, .. },
                    ..
                },
            ] => Ok(response),
            [Event::OutboundFailure { error, .. }] => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

/// A text of which the body has this length.
fn text<C: Codec<Request = String> + Default>(len: usize) -> String {
    let body = |text: &String| C::default().encode_request(&NAME, text).unwrap().len();
    (0..=len)
        .map(|letters| "x".repeat(letters))
        .find(|text| body(text) == len)
        .unwrap()
}

fn sizes<C: Codec<Request = String, Response = String> + Default>() {
    for request in [text::<C>(99), text::<C>(100)] {
        for response in [text::<C>(99), text::<C>(100)] {
            let mut pair = Pair::<C>::new(SMALL, SMALL);
            pair.ask(request.clone()).unwrap();
            assert_eq!(pair.answer(&response).pop().unwrap().unwrap(), request);
            assert_eq!(pair.outcome(), Ok(response));
        }
    }
}

fn too_large_to_write<C: Codec<Request = String, Response = String> + Default>() {
    let too_long = text::<C>(101);
    let refused = EncodeError::TooLarge { len: 101, max: 100 };
    let mut pair = Pair::<C>::new(SMALL, SMALL);
    assert_eq!(
        pair.ask(too_long.clone()),
        Err(SendRequestError {
            request: too_long.clone(),
            reason: Refusal::Encode(refused.clone()),
        })
    );
    pair.ask(String::new()).unwrap();
    let answered = pair.answer(&too_long).pop().unwrap();
    let Err(SendResponseError::Encode { error, channel, .. }) = answered else {
        panic!("{answered:?}");
    };
    assert_eq!(error, refused);
    drop(channel);
    pair.0.run_for(core::time::Duration::from_millis(1));
    assert_eq!(pair.outcome(), Err(OutboundFailure::ResponseOmitted));
}

fn too_large_to_read<C: Codec<Request = String, Response = String> + Default>() {
    let too_long = text::<C>(101);
    let mut pair = Pair::<C>::new(LARGE, SMALL);
    pair.ask(too_long.clone()).unwrap();
    assert!(pair.answer("").is_empty());
    assert_eq!(
        pair.0.nodes[1].swarm().protocols().statistics().too_large,
        1
    );
    let failure = pair.outcome().unwrap_err();
    assert!(matches!(
        failure,
        OutboundFailure::Stream(StreamError::ResetByPeer(_))
    ));

    let mut pair = Pair::<C>::new(SMALL, LARGE);
    pair.ask(String::new()).unwrap();
    assert!(pair.answer(&too_long).pop().unwrap().is_ok());
    assert_eq!(pair.outcome(), Err(OutboundFailure::ResponseTooLarge));
}

#[test]
fn at_the_limits() {
    sizes::<cbor::Codec<_, _>>();
    sizes::<json::Codec<_, _>>();
}

#[test]
fn too_large_is_told_as_such_by_who_writes() {
    too_large_to_write::<cbor::Codec<_, _>>();
    too_large_to_write::<json::Codec<_, _>>();
}

#[test]
fn too_large_is_told_as_such_by_who_reads() {
    too_large_to_read::<cbor::Codec<_, _>>();
    too_large_to_read::<json::Codec<_, _>>();
}

/// A codec knows the limits of the settings.
fn stops_early<C: Codec<Request = Verbose, Response = Verbose> + Default>() {
    let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    let mut net = Net::new(2, &config, |_| {
        let config = Config::default().with_max_request_len(1_000);
        RequestResponse::<C>::new([(NAME, ProtocolSupport::Full)], config)
    });
    net.connect(0, 1);
    ASKED.set(0);
    let now = net.now;
    let refused = net.nodes[0].with(now, |asks, cx| asks.send_request(&peer(1), Verbose, cx));
    let reason = refused.unwrap_err().reason;
    assert!(
        matches!(reason, Refusal::Encode(EncodeError::TooLarge { len, max: 1_000 }) if len < 1_020)
    );
    assert!(ASKED.get() < 100);
}

#[test]
fn limits_stop_writing() {
    stops_early::<cbor::Codec<_, _>>();
    stops_early::<json::Codec<_, _>>();
}

#[test]
fn one_way_requests_of_ready_codecs_succeed() {
    let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    let mut net = Net::new(2, &config, |_| {
        RequestResponse::<cbor::Codec<String, ()>>::new(
            [(NAME, ProtocolSupport::Full)],
            Config::default().one_way(),
        )
    });
    net.connect(0, 1);
    let now = net.now;
    net.nodes[0]
        .with(now, |asks, cx| {
            asks.send_request(&peer(1), "news".into(), cx)
        })
        .unwrap();
    net.settle();
    let told = net.told(0);
    assert!(
        matches!(
            told.as_slice(),
            [Event::Message {
                message: Message::Response { response: (), .. },
                ..
            }]
        ),
        "{told:?}"
    );
    assert_eq!(net.told(1).len(), 1);
}
