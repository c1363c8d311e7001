//! A peer with the rules of rust-libp2p's `Throttled`, played.

use super::*;
use crate::seed::{Rng, Seed};
use proptest::prelude::*;
use rand_core::Rng as _;
use std::collections::BTreeMap as Map;

/// What such a peer remembers of this node, and does.
struct OldPeer {
    send_budget: u32,
    receive_budget: u32,
    max_receive: u32,
    next_max: u32,
    /// Granted and not acknowledged.
    grant: Option<(u64, u16)>,
    grant_stream: Option<StreamId>,
    last_given: u64,
    last_taken: u64,
    /// Streams it opened for requests, and that were opened for requests to it.
    asked: Vec<StreamId>,
    to_answer: Vec<StreamId>,
    answered: u32,
    sent: u32,
    connection: ConnectionId,
}

impl OldPeer {
    fn ask(&mut self, playing: &mut Playing) -> bool {
        let may = self.send_budget > 0;
        if may {
            self.send_budget -= 1;
            self.sent += 1;
            let stream = playing.ask(self.connection);
            self.asked.push(stream);
        }
        may
    }

    /// It answers a request; at the end of its budget it grants all of its limit.
    fn answer(&mut self, playing: &mut Playing, which: usize) {
        let stream = self.to_answer.swap_remove(which % self.to_answer.len());
        if self.receive_budget == 0 {
            self.max_receive = self.next_max;
            self.receive_budget = self.max_receive;
            self.give(playing, self.max_receive as u16);
        }
        playing.answer(self.connection, stream, Header::Response, b"pong");
    }

    fn give(&mut self, playing: &mut Playing, credit: u16) {
        self.last_given += 1;
        self.grant = Some((self.last_given, credit));
        self.send_grant(playing);
    }

    fn send_grant(&mut self, playing: &mut Playing) {
        if let Some((ident, credit)) = self.grant {
            let header = Header::Credit { credit, ident };
            self.grant_stream = Some(playing.ask_raw(self.connection, &body(header, b"")));
        }
    }

    /// What this node has sent.
    fn take(&mut self, playing: &mut Playing) {
        for Body {
            stream,
            header,
            connection,
            ..
        } in playing.bodies()
        {
            assert_eq!(connection, self.connection);
            match header {
                Header::Request => {
                    assert!(self.receive_budget > 0, "more than was granted");
                    self.receive_budget -= 1;
                    self.grant = None;
                    self.to_answer.push(stream);
                }
                Header::Credit { credit, ident } => {
                    if ident > self.last_taken {
                        self.last_taken = ident;
                        self.send_budget += u32::from(credit);
                    }
                    playing.acknowledge(connection, stream, ident);
                }
                Header::Response => {
                    self.asked.retain(|asked| *asked != stream);
                    self.answered += 1;
                    playing.bench.ended(connection, stream, StreamEnd::Finished);
                }
                Header::Ack { ident } => {
                    assert_eq!(self.grant_stream.take(), Some(stream));
                    if self.grant.is_some_and(|(granted, _)| granted == ident) {
                        self.grant = None;
                    }
                    playing.bench.ended(connection, stream, StreamEnd::Finished);
                }
            }
        }
    }

    fn reconnect(&mut self, playing: &mut Playing) {
        let mut open = core::mem::take(&mut self.asked);
        open.append(&mut self.to_answer);
        open.extend(self.grant_stream.take());
        playing.close(self.connection, &open);
        self.send_budget = 1;
        self.receive_budget = self.receive_budget.max(1);
        self.grant = None;
        playing.bench.wait(seconds(1));
        self.connection = playing.connect(1);
        if self.receive_budget > 1 {
            self.give(playing, (self.receive_budget - 1) as u16);
        }
    }
}

fn roll(rng: &mut Rng, sides: u64) -> u64 {
    rng.next_u64() % sides
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Neither side ever exceeds what the other has granted, and both go on: any limits, answers in any order, dropped
    /// channels here, connections that break.
    #[test]
    fn speaks_with_peers_of_its_time(ours in 1u16..=10, theirs in 1u32..=10, choices: u64, breaks: bool) {
        let mut rng = Seed::for_tests(choices).rng();
        let mut playing = Playing::new(ours);
        let connection = playing.connect(1);
        let mut old = OldPeer {
            send_budget: 1,
            receive_budget: 1,
            max_receive: 1,
            next_max: theirs,
            grant: None,
            grant_stream: None,
            last_given: 0,
            last_taken: 0,
            asked: Vec::new(),
            to_answer: Vec::new(),
            answered: 0,
            sent: 0,
            connection,
        };
        let (mut responses, mut sent, mut idle) = (0u32, 0u32, 0);
        let mut held: Map<InboundRequestId, StreamId> = Map::new();
        let mut failed = 0u32;
        for turn in 0..2000 {
            idle += 1;
            prop_assert!(idle < 400, "does not get on at turn {turn}");
            match roll(&mut rng, 8) {
                0 | 1 => {
                    let asked = old.ask(&mut playing);
                    idle = if asked { 0 } else { idle };
                }
                2 | 3 => {
                    let accepted = playing.send(1).is_ok();
                    sent += u32::from(accepted);
                    idle = if accepted { 0 } else { idle };
                }
                4 if !old.to_answer.is_empty() => {
                    let which = roll(&mut rng, 10) as usize;
                    old.answer(&mut playing, which);
                }
                5 | 6 => {
                    let which = roll(&mut rng, 10) as usize;
                    if let Some(id) = held.keys().nth(which % held.len().max(1)).copied() {
                        let stream = held.remove(&id).unwrap();
                        let channel = playing.channels.remove(&id).unwrap();
                        if roll(&mut rng, 4) > 0 {
                            let pong = Bytes::from_static(b"pong");
                            let _ = playing.bench.run(|machine, cx| machine.send_response(channel, pong, cx));
                        } else {
                            drop(channel);
                            playing.bench.wait(Duration::ZERO);
                            old.asked.retain(|asked| *asked != stream);
                            playing.bench.ended(old.connection, stream, StreamEnd::Finished);
                        }
                    }
                }
                _ if breaks && roll(&mut rng, 200) == 0 => {
                    old.reconnect(&mut playing);
                    held.clear();
                }
                _ => {}
            }
            playing.bench.wait(Duration::from_millis(10));
            old.take(&mut playing);
            for seen in playing.seen() {
                match seen {
                    Seen::Request(id, _) => {
                        let stream = *old.asked.last().unwrap();
                        held.insert(id, stream);
                    }
                    Seen::Response(..) => responses += 1,
                    Seen::Failed(..) => failed += 1,
                    Seen::TooMany(_) => prop_assert!(false, "its budget is not what it thinks"),
                    Seen::NotAnswered(id, _) => {
                        drop(playing.channels.remove(&id));
                        if let Some(stream) = held.remove(&id) {
                            old.asked.retain(|asked| *asked != stream);
                        }
                    }
                    Seen::Sent(_) | Seen::Resume(_) => {}
                }
            }
            let most = u32::from(ours) + if breaks { MAX_DEBT } else { 0 };
            prop_assert!(playing.machine().ledger.unanswered(&peer(1)) <= most);
        }
        // With a limit of one, each connection that breaks costs a while.
        prop_assert!(sent > 20 && old.sent > 20 && responses + failed <= sent, "{sent} {}", old.sent);
        prop_assert!(old.answered > 0);
        playing.bench.swarm.audit().unwrap();
    }
}
