//! Whole nodes that ask each other, over real connections in virtual time.

use super::*;
use crate::{
    node::{
        Node,
        net::{Net, address, key, peer},
    },
    seed::Seed,
    swarm::{Config as SwarmConfig, SecurityConfig, Swarm},
    time::UnixTime,
};
use proptest::prelude::*;
use std::{collections::BTreeSet as Set, vec};

fn net(limits: [u16; 2]) -> Net<Machine> {
    let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    Net::new(2, &config, |number| machine(limits[number]))
}

/// Choices, as many as are wanted.
struct Dice(crate::seed::Rng);

impl Dice {
    fn roll(&mut self, sides: u8) -> u8 {
        (self.0.next_u64() % u64::from(sides)) as u8
    }
}

/// What one node does: asks the other so often, and answers it.
struct Side {
    number: usize,
    to_ask: u32,
    pending: Set<OutboundRequestId>,
    answers: u32,
    failures: Vec<OutboundFailure>,
    held: Vec<ResponseChannel<Bytes>>,
    /// It was refused, and waits to be told.
    waits: bool,
    most_held: usize,
    events: u32,
}

impl Side {
    fn new(number: usize, to_ask: u32) -> Self {
        Self {
            number,
            to_ask,
            pending: Set::new(),
            answers: 0,
            failures: Vec::new(),
            held: Vec::new(),
            waits: false,
            most_held: 0,
            events: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.to_ask == 0 && self.pending.is_empty()
    }

    /// Asks until it is refused. Whoever was refused does not try again before it is told.
    fn ask(&mut self, net: &mut Net<Machine>) -> bool {
        let (node, now) = (&mut net.nodes[self.number], net.now);
        let (to, at) = (peer(1 - self.number), address(1 - self.number));
        let mut asked = false;
        while self.to_ask > 0 && !self.waits {
            let can = node.swarm().protocols().can_send(&to);
            let body = Bytes::from(vec![7; (self.to_ask % 50) as usize]);
            let sent = node.with(now, |machine, cx| {
                machine.send_request_with_addresses(&to, body.clone(), [at.clone()], cx)
            });
            match sent {
                Ok(id) => {
                    assert!(can && self.pending.insert(id));
                    self.to_ask -= 1;
                    asked = true;
                }
                Err(error) => {
                    assert_eq!((can, error.reason), (false, Refusal::NoBudget));
                    assert_eq!(error.request, body);
                    self.waits = true;
                }
            }
        }
        asked
    }

    fn hear(&mut self, net: &mut Net<Machine>, dice: &mut Dice, overrides: bool) -> bool {
        let told = net.told(self.number);
        let heard = !told.is_empty();
        for event in told {
            self.events += 1;
            if overrides && self.events.is_multiple_of(31) {
                let limit = NonZeroU16::new(u16::from(dice.roll(10)) + 1).unwrap();
                let now = net.now;
                net.nodes[self.number].with(now, |machine, _| {
                    machine.override_receive_limit(&peer(1 - self.number), limit);
                });
            }
            match event {
                ThrottledEvent::Event(event) => self.event(event),
                ThrottledEvent::ResumeSending(to) => {
                    assert_eq!(to, peer(1 - self.number));
                    self.waits = false;
                }
                ThrottledEvent::TooManyInboundRequests(_) => panic!("more than was granted"),
            }
        }
        self.most_held = self.most_held.max(self.held.len());
        heard
    }

    fn event(&mut self, event: Event<Bytes, Bytes>) {
        match event {
            Event::Message { message, .. } => match message {
                Message::Request {
                    protocol, channel, ..
                } => {
                    assert_eq!(protocol, NAME);
                    self.held.push(channel);
                }
                Message::Response { request_id, .. } => {
                    assert!(self.pending.remove(&request_id));
                    self.answers += 1;
                }
            },
            Event::OutboundFailure {
                request_id, error, ..
            } => {
                assert!(self.pending.remove(&request_id), "{request_id}: {error}");
                self.failures.push(error);
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Answers what it has, or drops it, or leaves it for later.
    fn answer(&mut self, net: &mut Net<Machine>, dice: &mut Dice, drops: bool) {
        for channel in core::mem::take(&mut self.held) {
            match dice.roll(4) {
                0 => self.held.push(channel),
                1 if drops => drop(channel),
                _ => {
                    let now = net.now;
                    let _ = net.nodes[self.number].with(now, |machine, cx| {
                        machine.send_response(channel, Bytes::from_static(b"pong"), cx)
                    });
                }
            }
        }
    }
}

/// Lets both ask until they are done. Whatever `disturb` does happens in between.
fn run(
    net: &mut Net<Machine>,
    counts: [u32; 2],
    choices: u64,
    (overrides, drops): (bool, bool),
    mut disturb: impl FnMut(&mut Net<Machine>, &mut Dice),
) -> [Side; 2] {
    let mut dice = Dice(Seed::for_tests(choices).rng());
    let mut sides = [Side::new(0, counts[0]), Side::new(1, counts[1])];
    for turn in 0.. {
        assert!(turn < 60_000, "does not get on");
        let mut busy = false;
        for side in &mut sides {
            busy |= side.ask(net);
        }
        net.settle();
        for side in &mut sides {
            busy |= side.hear(net, &mut dice, overrides);
            side.answer(net, &mut dice, drops);
        }
        // What was dropped is noticed when the node is called.
        net.run_for(Duration::ZERO);
        disturb(net, &mut dice);
        if sides.iter().all(Side::is_done) {
            break;
        }
        if !busy {
            net.run_for(Duration::from_millis(100));
        }
    }
    sides
}

/// Nothing is left but connections.
fn assert_idle(net: &mut Net<Machine>) {
    net.run_for(seconds(11));
    for number in 0..2 {
        net.told(number);
    }
    for node in &net.nodes {
        let machine = node.swarm().protocols();
        assert_eq!(
            (machine.pending_inbound(), machine.pending_outbound()),
            (0, 0)
        );
        assert!(
            machine.silent.is_empty() && machine.credits.is_empty(),
            "{machine:?}"
        );
        assert!(machine.received.is_empty() && machine.intercepted.is_empty());
        assert_eq!(machine.held_bytes(), 0);
        node.swarm().audit().unwrap();
        // Its end, that of its listener, and those of its connections.
        let others = 2 + node.swarm().connection_count();
        assert_eq!(node.swarm().reserved_events(), others);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// rust-libp2p's `ping_protocol_throttled`: any limits from 1 to 10, with overrides at every 31st event or not, up to a
    /// thousand requests each way. Nobody exceeds a budget, everybody goes on, and the host sees nothing of credits.
    #[test]
    fn everything_is_answered_within_the_budgets(
        limits in [1u16..=10, 1u16..=10],
        counts in [100u32..1000, 0u32..1000],
        choices: u64,
        overrides: bool,
        drops: bool,
        piece in prop_oneof![Just(usize::MAX), 1usize..2000],
    ) {
        let mut net = net(limits);
        net.piece = piece;
        let sides = run(&mut net, counts, choices, (overrides, drops), |_, _| {});
        for (side, count) in sides.iter().zip(counts) {
            let omitted = side.failures.iter().all(|error| *error == OutboundFailure::ResponseOmitted);
            prop_assert!(omitted && (drops || side.failures.is_empty()), "{:?}", side.failures);
            prop_assert_eq!(side.answers + side.failures.len() as u32, count);
            let most = if overrides { 10 } else { usize::from(limits[side.number]) };
            prop_assert!(side.most_held <= most, "{} at once", side.most_held);
        }
        let statistics = net.nodes[1].swarm().protocols().throttled_statistics();
        prop_assert!(statistics.grants > 0 && statistics.too_many == 0);
        drop(sides);
        assert_idle(&mut net);
    }

    /// The same while connections break now and then: what was on its way fails, the rest goes on.
    #[test]
    fn connections_may_break(
        limits in [1u16..=10, 1u16..=10],
        counts in [50u32..300, 0u32..300],
        choices: u64,
        drops: bool,
    ) {
        let mut net = net(limits);
        let sides = run(&mut net, counts, choices, (true, drops), |net, dice| {
            if dice.roll(251) == 7 {
                let connection = net.nodes[0].swarm().connections().next();
                if let Some(connection) = connection.map(|info| info.connection) {
                    net.cut(0, connection);
                }
                // Nobody breaks them faster than the first request on each is free.
                net.run_for(seconds(1));
            }
        });
        for (side, count) in sides.iter().zip(counts) {
            prop_assert_eq!(side.answers + side.failures.len() as u32, count);
        }
        drop(sides);
        assert_idle(&mut net);
    }

    /// Either side loses its memory and comes back, with the same name and at a later time.
    #[test]
    fn either_side_may_restart(
        limits in [1u16..=10, 1u16..=10],
        counts in [50u32..200, 0u32..200],
        choices: u64,
        who in 0usize..2,
    ) {
        let mut net = net(limits);
        let other = 1 - who;
        // Only the one that stays counts on its answers.
        let mut counts = counts;
        counts[who] = 0;
        let mut restarts = 0;
        let sides = run(&mut net, counts, choices, (false, false), |net, dice| {
            if dice.roll(127) == 5 && restarts < 10 {
                restarts += 1;
                restart(net, who, limits[who]);
            }
        });
        prop_assert!(sides[other].is_done());
        // And it has not forgotten how to send to the one that stayed.
        counts[other] = 0;
        counts[who] = 100;
        restart(&mut net, who, limits[who]);
        let sides = run(&mut net, counts, choices, (false, false), |_, _| {});
        prop_assert_eq!(sides[who].answers, 100);
        drop(sides);
        assert_idle(&mut net);
    }
}

fn restart(net: &mut Net<Machine>, number: usize, limit: u16) {
    let connections = net.nodes[number].swarm().connections();
    let connections: Vec<_> = connections.map(|info| info.connection).collect();
    for connection in connections {
        net.cut(number, connection);
    }
    let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    let unix = UnixTime::from_secs(1_800_000_000).saturating_add(
        net.now.saturating_duration_since(Instant::ZERO) + Duration::from_millis(1),
    );
    let swarm = Swarm::new(
        config,
        key(number),
        machine(limit),
        Seed::for_tests(number as u64),
        net.now,
        unix,
    );
    net.nodes[number] = Node::new(swarm.unwrap());
    net.told(number);
    net.nodes[number].listen(net.now, address(number)).unwrap();
    net.settle();
}
