//! The books of two sides, with everything that can happen between them.

use super::super::credits::{Ledger, Spent};
use super::*;
use proptest::prelude::*;
use std::vec;

/// Something that happens between a sender and a receiver. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Send,
    /// A request arrives.
    Arrive,
    /// One is lost, and its sender knows, or does not, that it was.
    Lose(bool),
    Finish,
    Issue,
    /// A copy of the credit arrives, perhaps one of many, perhaps late.
    Credit(usize),
    /// One is sent again.
    Again,
    Acknowledge,
    Limit(u16),
    /// Nothing is on its way, and nobody gives credit.
    Silence,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Send),
        6 => Just(Step::Arrive),
        1 => any::<bool>().prop_map(Step::Lose),
        6 => Just(Step::Finish),
        6 => Just(Step::Issue),
        5 => (0usize..8).prop_map(Step::Credit),
        1 => Just(Step::Again),
        4 => Just(Step::Acknowledge),
        1 => (1u16..12).prop_map(Step::Limit),
        1 => Just(Step::Silence),
        1 => Just(Step::Reconnect),
    ]
}

struct Both {
    sender: Ledger,
    receiver: Ledger,
    who: PeerId,
    connection: u64,
    /// Requests on their way.
    flying: u32,
    /// Requests that arrived and are not finished.
    working: u32,
    /// Lost ones that the sender cannot be sure of, and has not got back.
    lost: u32,
    /// Credits on their way, copies among them.
    credits: Vec<(u64, u16)>,
    /// Granted, and not taken by the sender.
    untaken: u16,
    last_taken: u64,
    idents: u64,
    highest: u16,
}

impl Both {
    fn new(limit: u16) -> Self {
        let who = peer(1);
        let (mut sender, mut receiver) = (Ledger::new(), Ledger::new());
        receiver.set_limit(number(limit));
        sender.connected(&who);
        receiver.connected(&who);
        Self {
            sender,
            receiver,
            who,
            connection: 1,
            flying: 0,
            working: 0,
            lost: 0,
            credits: Vec::new(),
            untaken: 0,
            last_taken: 0,
            idents: 0,
            highest: limit,
        }
    }

    fn step(&mut self, step: Step) {
        let who = self.who;
        match step {
            Step::Send if self.sender.can_send(&who) => {
                self.sender.spend(&who);
                self.flying += 1;
            }
            Step::Arrive if self.flying > 0 => {
                self.flying -= 1;
                assert!(self.receiver.admit(&who), "an honest sender was refused");
                self.working += 1;
                // The answer will come.
                self.sender.settle(&who, Spent::Counted);
            }
            Step::Lose(known) if self.flying > 0 => {
                self.flying -= 1;
                if known {
                    self.sender.settle(&who, Spent::Unseen);
                } else {
                    self.sender.settle(&who, Spent::Doubtful);
                    self.lost += 1;
                }
            }
            Step::Finish if self.working > 0 => {
                self.working -= 1;
                self.receiver.finished(&who);
            }
            Step::Issue => {
                self.idents += 1;
                if self.receiver.issue(&who, self.idents) {
                    let credit = self.receiver.grant(&who).unwrap().credit;
                    assert!(credit > 0 && self.untaken == 0);
                    self.untaken = credit;
                    self.credits.push((self.idents, credit));
                }
            }
            Step::Again => {
                if let Some(grant) = self.receiver.grant(&who) {
                    self.credits.push((grant.ident, grant.credit));
                }
            }
            Step::Credit(which) if !self.credits.is_empty() => {
                // A copy stays.
                let (ident, credit) = self.credits[which % self.credits.len()];
                let connection = ConnectionId::new(self.connection);
                let taken = self.sender.take(&who, connection, ident, credit).is_some();
                assert_eq!(taken, ident > self.last_taken);
                if taken {
                    self.last_taken = ident;
                    self.untaken = 0;
                }
            }
            Step::Acknowledge => {
                let outstanding = self.receiver.grant(&who);
                if outstanding.is_some_and(|grant| grant.ident <= self.last_taken) {
                    self.receiver.acknowledged(&who);
                }
            }
            Step::Limit(limit) => {
                self.receiver.override_limit(&who, number(limit));
                self.highest = self.highest.max(limit);
            }
            Step::Silence => self.silence(),
            Step::Reconnect => {
                // What is on its way is lost, and both know that it began anew.
                for _ in 0..self.flying {
                    self.sender.settle(&who, Spent::Doubtful);
                }
                for _ in 0..self.working {
                    self.receiver.finished(&who);
                }
                (self.flying, self.working, self.lost, self.untaken) = (0, 0, 0, 0);
                self.credits.clear();
                self.last_taken = 0;
                self.connection += 1;
                for ledger in [&mut self.sender, &mut self.receiver] {
                    ledger.disconnected(&who);
                    ledger.connected(&who);
                }
            }
            _ => {}
        }
    }

    /// Everything arrives and is done, and every grant that is due is given: then silence means what it says.
    fn silence(&mut self) {
        self.settle();
        if self.sender.is_in_doubt(&self.who) {
            assert!(self.sender.resolve_doubt(&self.who));
            self.lost -= 1;
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.step(Step::Arrive);
            self.step(Step::Finish);
            self.step(Step::Issue);
            self.step(Step::Again);
            let last = self.credits.len().saturating_sub(1);
            self.step(Step::Credit(last));
            self.step(Step::Acknowledge);
            self.credits.drain(..self.credits.len().saturating_sub(8));
        }
    }

    fn check(&self) {
        let permits = u32::from(self.receiver.permits(&self.who));
        let budget = u32::from(self.sender.budget(&self.who));
        let untaken = u32::from(self.untaken);
        assert_eq!(
            permits,
            budget + self.flying + untaken + self.lost,
            "the books differ"
        );
        let unanswered = self.receiver.unanswered(&self.who);
        assert_eq!(unanswered, self.working);
        assert!(permits + unanswered <= u32::from(self.highest).max(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The two books never differ: what one side thinks it may send is what the other one takes, whatever is lost, repeated
    /// or overtaken. And sending always goes on.
    #[test]
    fn the_books_agree_and_nobody_stalls(limit in 1u16..12, steps in prop::collection::vec(step(), 0..400)) {
        let mut both = Both::new(limit);
        for step in steps {
            both.step(step);
            both.check();
        }
        for _ in 0..50 {
            // Until everything that was lost has come back, or does not hinder.
            both.silence();
            both.check();
            prop_assert!(both.sender.can_send(&both.who), "stalled");
            while both.sender.can_send(&both.who) {
                both.step(Step::Send);
            }
        }
    }

    /// Any calls at all, of any peers: bounded, and nothing overflows.
    #[test]
    fn any_calls(calls in prop::collection::vec((0u8..12, 0u64..6, any::<u16>(), 0u64..20), 0..300)) {
        let mut ledger = Ledger::new();
        for (call, who, amount, ident) in calls {
            let who = peer(who);
            match call {
                0 => ledger.connected(&who),
                1 => drop(ledger.disconnected(&who)),
                2 if ledger.can_send(&who) => ledger.spend(&who),
                3 => drop(ledger.settle(&who, Spent::Unseen)),
                4 => drop(ledger.settle(&who, Spent::Doubtful)),
                5 => drop(ledger.take(&who, ConnectionId::new(ident), ident, amount)),
                6 => drop(ledger.admit(&who)),
                7 => ledger.finished(&who),
                8 => drop(ledger.issue(&who, ident)),
                9 => ledger.acknowledged(&who),
                10 => ledger.override_limit(&who, NonZeroU16::new(amount).unwrap_or(NonZeroU16::MIN)),
                _ => drop(ledger.resolve_doubt(&who)),
            }
            prop_assert!(ledger.len() <= 6);
        }
    }
}

#[test]
fn so_many_peers_are_remembered_and_the_connected_ones_always() {
    let mut ledger = Ledger::new();
    let mut key = [0; 38];
    key[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    let peer = |number: u32| {
        let mut bytes = key;
        bytes[6..10].copy_from_slice(&number.to_be_bytes());
        PeerId::from_bytes(&bytes).unwrap()
    };
    let stays = peer(u32::MAX);
    ledger.connected(&stays);
    ledger.take(&stays, ConnectionId::new(1), 1, 7);
    let met = |ledger: &mut Ledger, number: u32| {
        let who = peer(number);
        ledger.connected(&who);
        assert!(ledger.admit(&who));
        ledger.disconnected(&who);
    };
    let max = MAX_REMEMBERED_PEERS as u32;
    for number in 0..max + 100 {
        met(&mut ledger, number);
    }
    assert_eq!(ledger.len(), MAX_REMEMBERED_PEERS + 1);
    assert_eq!(ledger.budget(&stays), 8);
    // Those that were not met for the longest are forgotten.
    assert_eq!(
        (ledger.unanswered(&peer(99)), ledger.unanswered(&peer(100))),
        (0, 1)
    );
    // One that is met again is not.
    met(&mut ledger, 100);
    met(&mut ledger, max + 100);
    assert_eq!(
        (ledger.unanswered(&peer(100)), ledger.unanswered(&peer(101))),
        (2, 0)
    );
    // Who was only there leaves nothing.
    let before = ledger.len();
    ledger.connected(&peer(5));
    ledger.disconnected(&peer(5));
    assert_eq!(ledger.len(), before);
    // A request that waits for a dial is not forgotten.
    ledger.spend(&peer(7));
    for number in 0..max + 100 {
        met(&mut ledger, number + 20_000);
    }
    assert_eq!(ledger.budget(&peer(7)), 0);
    assert!(ledger.settle(&peer(7), Spent::Unseen));
    assert_eq!(ledger.len(), MAX_REMEMBERED_PEERS + 1);
}
