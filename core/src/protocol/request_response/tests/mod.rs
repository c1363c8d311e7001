//! The machine on a swarm whose connections are played by the test.
//!
//! What rust-libp2p tests of its request/response protocols, and what tests it here; files are named from this directory:
//!
//! | there | here |
//! |---|---|
//! | `is_response_outbound` | `is_answered_once` in `outbound.rs` |
//! | `ping_protocol` | `is_answered_once` in `outbound.rs`; `is_answered_once` in `inbound.rs`; `every_request_has_exactly_one_last_word` in `schedules.rs` |
//! | `ping_protocol_explicit_address` | `many_requests_make_one_dial_and_the_queue_has_a_number` in `outbound.rs`; `an_address_that_is_given_twice_is_tried_once` in `regressions.rs` |
//! | `emits_inbound_connection_closed_failure` | `a_connection_that_ends_takes_its_requests_along` in `inbound.rs` |
//! | `emits_inbound_connection_closed_if_channel_is_dropped` | `a_dropped_channel_ends_the_stream_at_once` in `inbound.rs`; `an_empty_response_means_omitted_to_a_codec_that_has_none` in `outbound.rs` |
//! | `concurrent_ping_protocol` | `many_requests_make_one_dial_and_the_queue_has_a_number` in `outbound.rs`; `every_request_has_exactly_one_last_word` in `schedules.rs` |
//! | `report_outbound_failure_on_read_response` | `an_invalid_response_fails` in `outbound.rs`; `every_end_of_a_stream_has_its_failure` in `outbound.rs` |
//! | `report_outbound_failure_on_write_request` | `what_cannot_be_said_is_refused_at_once` in `outbound.rs` |
//! | `report_outbound_failure_on_max_streams` | `at_the_limit_requests_wait_and_the_peers_requests_take_no_places` in `outbound.rs` |
//! | `report_outbound_timeout_on_read_response` | `one_deadline_covers_the_whole_life` in `outbound.rs` |
//! | `report_inbound_failure_on_read_request` | `what_is_no_request_is_refused_and_counted` in `inbound.rs` |
//! | `report_inbound_failure_on_write_response` | `a_response_that_cannot_be_sent_may_be_replaced` in `inbound.rs`; `a_peer_that_gives_up_is_noticed_at_once` in `inbound.rs` |
//! | `report_inbound_timeout_on_write_response` | `the_time_runs_out` in `inbound.rs`; `a_response_that_does_not_leave_in_time_has_failed` in `inbound.rs` |
//! | `dial_succeeds_after_adding_peers_address` | `what_waited_on_a_connection_that_ends_is_dialed_for` in `outbound.rs`; `a_failed_dial_fails_all_that_waited` in `outbound.rs` |
//! | `test_codec` of cbor | `cbor_on_the_wire` in `../values/tests.rs`; `at_the_limits` in `../values/tests/exchange.rs`; `too_large_is_told_as_such_by_who_reads` in `../values/tests/exchange.rs` |
//! | `test_codec` of json | `json_on_the_wire` in `../values/tests.rs`; `at_the_limits` in `../values/tests/exchange.rs`; `too_large_is_told_as_such_by_who_writes` in `../values/tests/exchange.rs` |
//! | `ping_protocol_throttled` | `everything_is_answered_within_the_budgets` in `../throttled/tests/pairs.rs`; `defect_9_credits_are_never_surfaced` in `../throttled/tests/defects.rs` |

mod inbound;
mod outbound;
mod regressions;
mod schedules;
mod service;

use super::*;
use crate::{
    connection::{
        ConnectionError, Direction, StreamEnd, StreamError, StreamId, ToConnectionMessage,
        ToSwarmMessage,
    },
    protocol::bench::{Bench, peer},
};
use core::time::Duration;
use std::{string::String, vec::Vec};

const ONE: ProtocolName = ProtocolName::from_static("/one/1");
const TWO: ProtocolName = ProtocolName::from_static("/two/1");
const REMOTE: &str = "/memory/1";

/// What the tests exchange: text that is not empty, in capitals under the name `/two/1`.
#[derive(Debug, Default)]
struct Text;

impl Text {
    fn encode(name: &ProtocolName, text: &str) -> Result<Bytes, CodecError> {
        if text == "unsayable" {
            return Err(CodecError::unencodable("no words for it"));
        }
        let text = if *name == TWO {
            text.to_uppercase()
        } else {
            String::from(text)
        };
        Ok(Bytes::from(text.into_bytes()))
    }

    fn decode(name: &ProtocolName, bytes: &Bytes) -> Result<String, CodecError> {
        if bytes.is_empty() {
            return Err(CodecError::UnexpectedEnd);
        }
        let text = String::from_utf8(bytes.to_vec());
        let text = text.map_err(|_| CodecError::malformed("not text"))?;
        Ok(if *name == TWO {
            text.to_lowercase()
        } else {
            text
        })
    }
}

impl Codec for Text {
    type Request = String;
    type Response = String;

    fn encode_request(&mut self, name: &ProtocolName, text: &String) -> Result<Bytes, CodecError> {
        Self::encode(name, text)
    }

    fn decode_request(&mut self, name: &ProtocolName, bytes: Bytes) -> Result<String, CodecError> {
        Self::decode(name, &bytes)
    }

    fn encode_response(&mut self, name: &ProtocolName, text: &String) -> Result<Bytes, CodecError> {
        Self::encode(name, text)
    }

    fn decode_response(&mut self, name: &ProtocolName, bytes: Bytes) -> Result<String, CodecError> {
        Self::decode(name, &bytes)
    }
}

type Texts = RequestResponse<Text>;

/// An event, without what cannot be compared.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(InboundRequestId, String),
    Response(OutboundRequestId, String),
    Failed(OutboundRequestId, OutboundFailure),
    NotAnswered(InboundRequestId, InboundFailure),
    Sent(InboundRequestId),
    Stream(OutboundRequestId, StreamRef, Bytes),
    InboundStream(StreamRef),
}

struct Texting {
    bench: Bench<Texts>,
    channels: BTreeMap<InboundRequestId, ResponseChannel<String>>,
}

impl Texting {
    fn new(config: Config) -> Self {
        Self::speaking([(ONE, ProtocolSupport::Full)], config)
    }

    fn speaking(
        names: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
        config: Config,
    ) -> Self {
        Self {
            bench: Bench::new(Texts::new(names, config)),
            channels: BTreeMap::new(),
        }
    }

    /// Events since it was asked last; channels are put aside.
    fn seen(&mut self) -> Vec<Seen> {
        let events = self.bench.events().into_iter();
        events
            .map(|event| match event {
                Event::Message { message, .. } => match message {
                    Message::Request {
                        request_id,
                        request,
                        channel,
                        ..
                    } => {
                        self.channels.insert(request_id, channel);
                        Seen::Request(request_id, request)
                    }
                    Message::Response {
                        request_id,
                        response,
                    } => Seen::Response(request_id, response),
                },
                Event::OutboundFailure {
                    request_id, error, ..
                } => Seen::Failed(request_id, error),
                Event::InboundFailure {
                    request_id, error, ..
                } => Seen::NotAnswered(request_id, error),
                Event::ResponseSent { request_id, .. } => Seen::Sent(request_id),
                Event::ResponseStream {
                    request_id,
                    stream,
                    first,
                    ..
                } => Seen::Stream(request_id, stream, first),
                Event::InboundStream { stream, .. } => Seen::InboundStream(stream),
            })
            .collect()
    }

    fn connect(&mut self, number: u64) -> ConnectionId {
        self.bench.connect(number, REMOTE, Direction::Inbound)
    }

    fn send(&mut self, number: u64, text: &str) -> Result<OutboundRequestId, Refusal> {
        self.send_with(number, text, RequestOptions::new())
    }

    fn send_with(
        &mut self,
        number: u64,
        text: &str,
        options: RequestOptions,
    ) -> Result<OutboundRequestId, Refusal> {
        let sent = self.bench.run(|texts, cx| {
            texts.send_request_with(&peer(number), String::from(text), options, cx)
        });
        sent.map_err(|error| {
            assert_eq!(error.request, text, "given back");
            error.reason
        })
    }

    fn respond(&mut self, id: InboundRequestId, text: &str) -> bool {
        let channel = self.channels.remove(&id).unwrap();
        let text = String::from(text);
        self.bench
            .run(|texts, cx| texts.send_response(channel, text, cx))
            .is_ok()
    }

    fn machine(&self) -> &Texts {
        self.bench.swarm.protocols()
    }

    /// Fails if anything is left of requests.
    fn assert_idle(&mut self) {
        assert_eq!(self.seen(), []);
        let machine = self.machine();
        assert!(
            machine.outbound.is_empty() && machine.inbound.is_empty(),
            "{machine:?}"
        );
        assert!(machine.streams.is_empty() && machine.timers.is_empty());
        assert!(machine.dials.is_empty() && machine.queued == 0 && machine.held_bytes == 0);
        let mut links = machine.links.values();
        assert!(links.all(|link| link.outbound == 0 && link.inbound == 0));
        assert!(machine.peers.values().all(|peer| peer.queue.is_empty()));
        assert!(machine.links.len() >= machine.peers.len());
        self.bench.swarm.audit().unwrap();
        // One for the end of the swarm, and one for the end of each connection.
        let others = 1 + self.bench.swarm.connection_count();
        assert_eq!(self.bench.swarm.reserved_events(), others);
    }

    /// A whole body of the peer's, and the end of its side.
    fn body(&mut self, connection: ConnectionId, stream: StreamId, text: &str) {
        self.bench.data(connection, stream, text.as_bytes());
        self.bench.finish(connection, stream);
    }

    fn ended(&mut self, connection: ConnectionId, stream: StreamId) {
        self.bench.ended(connection, stream, StreamEnd::Finished);
    }

    fn failed(&mut self, connection: ConnectionId, stream: StreamId, error: StreamError) {
        self.bench
            .ended(connection, stream, StreamEnd::Failed(error));
    }

    /// The only body sent since it was asked last, and where.
    fn exchange(&mut self) -> (ConnectionId, StreamId, Bytes) {
        let all = self.bench.exchanges();
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap()
    }

    /// Streams that were reset since it was asked last, with their codes.
    fn resets(&mut self) -> Vec<(StreamId, u32)> {
        let told = self.bench.told().into_iter();
        told.filter_map(|(_, message)| match message {
            ToConnectionMessage::Reset { stream, code } => Some((stream, code)),
            _ => None,
        })
        .collect()
    }
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// The table above is true about the tests it names.
#[test]
fn every_reference_test_has_one_that_exists() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/protocol/request_response/tests");
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap();
    let table = read("mod.rs");
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    let mut references = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").split_once("| ").unwrap().1;
        for test in tests.split("; ") {
            let (name, file) = test.trim_matches('`').split_once("` in `").unwrap();
            let found = read(file).contains(&std::format!("fn {name}("));
            assert!(found, "there is no {name} in {file}");
        }
        references += 1;
    }
    assert_eq!(references, 17);
}
