//! Any schedule at all: each request has exactly one last word, and nothing is left behind.

use super::*;
use crate::swarm::TransportError;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap as Map, BTreeSet as Set},
    vec,
};

/// Something that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Connect(u64),
    Close(usize),
    Send { to: u64, times_out: u64 },
    Cancel(usize),
    Ask(usize),
    Body(usize, bool),
    Finish(usize),
    End(usize, u8),
    Agree(usize, bool),
    Sent(usize),
    Respond(usize, bool),
    Drop(usize),
    Dial(usize, bool),
    Processed(usize),
    Wait(u64),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0usize..16;
    prop_oneof![
        2 => (0u64..3).prop_map(Step::Connect),
        1 => which().prop_map(Step::Close),
        6 => (0u64..3, 1u64..20).prop_map(|(to, times_out)| Step::Send { to, times_out }),
        1 => which().prop_map(Step::Cancel),
        4 => which().prop_map(Step::Ask),
        6 => (which(), any::<bool>()).prop_map(|(which, valid)| Step::Body(which, valid)),
        3 => which().prop_map(Step::Finish),
        4 => (which(), 0u8..3).prop_map(|(which, how)| Step::End(which, how)),
        4 => (which(), any::<bool>()).prop_map(|(which, first)| Step::Agree(which, first)),
        2 => which().prop_map(Step::Sent),
        4 => (which(), any::<bool>()).prop_map(|(which, fits)| Step::Respond(which, fits)),
        2 => which().prop_map(Step::Drop),
        3 => (which(), any::<bool>()).prop_map(|(which, up)| Step::Dial(which, up)),
        2 => which().prop_map(Step::Processed),
        2 => (0u64..4000).prop_map(Step::Wait),
        2 => Just(Step::Collect),
    ]
}

/// What a played connection may still say of a stream.
#[derive(Default)]
struct Played {
    /// From the swarm's side: opened or accepted, and not reset or handed over.
    streams: Map<(ConnectionId, StreamId), Stream>,
    connections: Vec<ConnectionId>,
    attempts: Vec<crate::swarm::AttemptId>,
}

#[derive(Default)]
struct Stream {
    agreed: bool,
    bodies: u32,
    finished: bool,
}

impl Played {
    fn pick(&self, which: usize) -> Option<(ConnectionId, StreamId)> {
        let count = self.streams.len().max(1);
        self.streams.keys().nth(which % count).copied()
    }

    /// Takes in what the connections were told.
    fn told(&mut self, texting: &mut Texting) {
        for action in core::iter::from_fn(|| texting.bench.swarm.poll_action()) {
            let (connection, message) = match action {
                crate::swarm::Action::ToConnection(connection, message) => (connection, message.0),
                crate::swarm::Action::Dial { attempt, .. } => {
                    self.attempts.push(attempt);
                    continue;
                }
                crate::swarm::Action::CancelDial { attempt } => {
                    self.attempts.retain(|other| *other != attempt);
                    continue;
                }
                _ => continue,
            };
            match message {
                ToConnectionMessage::Open { stream, .. }
                | ToConnectionMessage::OpenWith { stream, .. } => {
                    self.streams.insert((connection, stream), Stream::default());
                }
                ToConnectionMessage::Reset { stream, .. }
                | ToConnectionMessage::HandOver { stream, .. } => {
                    self.streams.remove(&(connection, stream));
                }
                _ => {}
            }
        }
    }

    fn close(&mut self, texting: &mut Texting, which: usize) {
        if self.connections.is_empty() {
            return;
        }
        let connection = self.connections.remove(which % self.connections.len());
        let streams = self.streams.keys().filter(|(on, _)| *on == connection);
        for (_, stream) in streams.copied().collect::<Vec<_>>() {
            let error = StreamError::Connection(ConnectionError::ClosedByPeer);
            texting.failed(connection, stream, error);
        }
        self.streams.retain(|(on, _), _| *on != connection);
        texting.bench.close(connection);
    }
}

/// Counts last words.
#[derive(Default)]
struct Words {
    outbound: Set<OutboundRequestId>,
    inbound: Set<InboundRequestId>,
}

impl Words {
    fn hear(&mut self, texting: &mut Texting) {
        for seen in texting.seen() {
            match seen {
                Seen::Request(id, _) => assert!(self.inbound.insert(id), "{id} asked twice"),
                Seen::Response(id, _) | Seen::Failed(id, _) | Seen::Stream(id, ..) => {
                    assert!(self.outbound.remove(&id), "a second last word on {id}");
                }
                Seen::NotAnswered(id, _) | Seen::Sent(id) => {
                    assert!(self.inbound.remove(&id), "a second last word on {id}");
                }
                Seen::InboundStream(_) => {}
            }
        }
    }
}

fn config(framing: bool, small: bool) -> Config {
    let framing = if framing {
        Framing::ToEnd
    } else {
        Framing::LengthPrefixed
    };
    let mut config = Config::default().with_framing(framing);
    if small {
        config = config.with_max_concurrent_streams(2);
        config.max_queued_per_peer = 3;
        config.max_held_bytes = 40;
        config.max_response_len = 8;
    }
    config
}

#[allow(clippy::too_many_lines, reason = "one arm for each step")]
fn take(step: Step, texting: &mut Texting, played: &mut Played, words: &mut Words, streamed: bool) {
    match step {
        Step::Connect(to) if played.connections.len() < 6 => {
            let point = crate::connection::ConnectedPoint::accepted(
                crate::protocol::bench::address(REMOTE),
                None,
            );
            let now = texting.bench.now;
            let start = texting.bench.swarm.handle_accept(now, point).unwrap();
            texting.bench.secure(start.id(), to);
            played.connections.push(start.id());
        }
        Step::Connect(_) => {}
        Step::Close(which) => played.close(texting, which),
        Step::Send { to, times_out } => {
            let mut options = RequestOptions::new()
                .addresses([crate::protocol::bench::address("/memory/7")])
                .timeout(seconds(times_out));
            if streamed && times_out % 3 == 0 {
                options = options.stream_response();
            }
            if let Ok(id) = texting.send_with(to, "question", options) {
                assert!(words.outbound.insert(id), "a name used twice");
            }
        }
        Step::Cancel(which) => {
            let count = words.outbound.len().max(1);
            if let Some(id) = words.outbound.iter().nth(which % count).copied()
                && texting.bench.run(|texts, cx| texts.cancel(id, cx))
            {
                words.outbound.remove(&id);
            }
        }
        Step::Ask(which) => {
            let count = played.connections.len().max(1);
            if let Some(connection) = played.connections.get(which % count).copied() {
                let stream = texting.bench.inbound(connection, ONE);
                let agreed = Stream {
                    agreed: true,
                    ..Stream::default()
                };
                played.streams.insert((connection, stream), agreed);
            }
        }
        Step::Agree(which, first) => {
            if let Some((connection, stream)) = played.pick(which)
                && let Some(known) = played.streams.get_mut(&(connection, stream))
                && !core::mem::replace(&mut known.agreed, true)
            {
                let name = if first { ONE } else { TWO };
                texting.bench.agree(connection, stream, name);
            }
        }
        Step::Body(which, valid) => {
            if let Some((connection, stream)) = played.pick(which)
                && let Some(known) = played.streams.get_mut(&(connection, stream))
                && known.agreed
                && !known.finished
            {
                known.bodies += 1;
                let body: &[u8] = if valid { b"answer" } else { &[0xff] };
                texting.bench.data(connection, stream, body);
            }
        }
        Step::Finish(which) => {
            if let Some((connection, stream)) = played.pick(which)
                && let Some(known) = played.streams.get_mut(&(connection, stream))
                && known.agreed
                && !core::mem::replace(&mut known.finished, true)
            {
                texting.bench.finish(connection, stream);
            }
        }
        Step::Sent(which) => {
            if let Some((connection, stream)) = played.pick(which) {
                texting
                    .bench
                    .say(connection, ToSwarmMessage::Sent { stream });
            }
        }
        Step::End(which, how) => {
            if let Some((connection, stream)) = played.pick(which) {
                let known = played.streams.remove(&(connection, stream));
                match how {
                    0 => texting.ended(connection, stream),
                    1 if known.is_some_and(|known| !known.agreed) => {
                        let error = StreamError::Open(OpenError::NotConnected);
                        texting.failed(connection, stream, error);
                    }
                    _ => texting.failed(connection, stream, StreamError::ResetByPeer(1)),
                }
            }
        }
        Step::Respond(which, fits) => {
            let count = texting.channels.len().max(1);
            if let Some(id) = texting.channels.keys().nth(which % count).copied() {
                texting.respond(id, if fits { "reply" } else { "much too long" });
            }
        }
        Step::Drop(which) => {
            let count = texting.channels.len().max(1);
            if let Some(id) = texting.channels.keys().nth(which % count).copied() {
                texting.channels.remove(&id);
            }
        }
        Step::Dial(which, up) => {
            if played.attempts.is_empty() {
                return;
            }
            let attempt = played.attempts.remove(which % played.attempts.len());
            if up && played.connections.len() < 6 {
                if let Some(connection) = texting.bench.connected(attempt, "/memory/7") {
                    // Whoever was dialed is there, or somebody else.
                    texting.bench.secure(connection, 0);
                    let refused = texting.bench.swarm.connection(connection).is_none();
                    if refused {
                        texting.bench.close(connection);
                    } else {
                        played.connections.push(connection);
                    }
                }
            } else {
                let now = texting.bench.now;
                let refused = Err(TransportError::Refused);
                texting.bench.swarm.handle_dialed(now, attempt, refused);
            }
        }
        Step::Processed(which) => {
            let count = played.connections.len().max(1);
            if let Some(connection) = played.connections.get(which % count).copied() {
                texting.bench.processed(connection);
            }
        }
        Step::Wait(milliseconds) => texting.bench.wait(Duration::from_millis(milliseconds)),
        Step::Collect => words.hear(texting),
    }
}

fn check_limits(texting: &Texting, config: &Config) {
    let machine = texting.machine();
    let links = machine.links.values();
    for link in links {
        assert!(link.outbound <= config.max_outbound && link.inbound <= config.max_inbound);
    }
    let queues = machine.peers.values().map(|peer| peer.queue.len());
    let queued: usize = queues.clone().sum();
    assert_eq!(queued, usize::try_from(machine.queued).unwrap());
    let max = usize::try_from(config.max_queued_per_peer).unwrap();
    assert!(queues.max().unwrap_or_default() <= max);
    assert!(texting.bench.swarm.audit().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// I21 to I24 of any schedule: one last word, never two; limits hold at every step; refusals are explicit; at the end
    /// nothing is left.
    #[test]
    fn every_request_has_exactly_one_last_word(
        steps in prop::collection::vec(step(), 0..160),
        to_end: bool, small: bool, family: bool, streamed: bool,
    ) {
        let config = config(to_end, small);
        let mut names = std::vec![(ONE, ProtocolSupport::Full)];
        if family {
            names.push((TWO, ProtocolSupport::Full));
        }
        let mut texting = Texting::speaking(names, config.clone());
        let (mut played, mut words) = (Played::default(), Words::default());
        for step in steps {
            take(step, &mut texting, &mut played, &mut words, streamed && to_end);
            played.told(&mut texting);
            check_limits(&texting, &config);
        }
        // After their time nothing is pending, whatever the peers do not do.
        texting.bench.wait(seconds(40));
        words.hear(&mut texting);
        prop_assert!(words.outbound.is_empty(), "no last word on {:?}", words.outbound);
        prop_assert!(words.inbound.is_empty(), "no last word on {:?}", words.inbound);
        played.told(&mut texting);
        while !played.connections.is_empty() {
            played.close(&mut texting, 0);
            played.told(&mut texting);
        }
        texting.channels.clear();
        texting.bench.wait(seconds(40));
        let machine = texting.machine();
        prop_assert!(machine.outbound.is_empty() && machine.inbound.is_empty());
        prop_assert!(machine.streams.is_empty() && machine.timers.is_empty());
        prop_assert!(machine.peers.is_empty() && machine.links.is_empty() && machine.dials.is_empty());
        prop_assert_eq!(machine.held_bytes(), 0);
        texting.bench.swarm.audit().unwrap();
        prop_assert_eq!(texting.bench.swarm.reserved_events(), 1);
    }
}
