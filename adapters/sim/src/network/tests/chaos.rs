//! Anything at any time; and then a quiet end.

use super::*;
use std::collections::BTreeSet;

const HOSTS: u32 = 4;

struct Chaos {
    stage: Stage,
    chance: Chance,
    partitions: Vec<PartitionId>,
    /// Pipes a fault has touched: what was written need not arrive there.
    touched: BTreeSet<End>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(&Seed::for_tests(seed), "chaos");
        let mut stage = Stage::new(seed, HOSTS as u8, any_lossless_link(&mut chance));
        stage.net.permute_ties(seed.is_multiple_of(3));
        stage.net.set_pipe_timeout(secs(60));
        let mut chaos = Self {
            stage,
            chance,
            partitions: Vec::new(),
            touched: BTreeSet::new(),
        };
        for host in 0..HOSTS {
            chaos.stage.listen(host);
        }
        chaos
    }

    fn host(&mut self) -> HostId {
        HostId(self.chance.below(u64::from(HOSTS)) as u32)
    }

    fn end(&mut self) -> Option<End> {
        let open = |(_, user): &(&End, &User)| !user.closed;
        let ends: Vec<End> = self
            .stage
            .users
            .iter()
            .filter(open)
            .map(|(end, _)| *end)
            .collect();
        self.chance.pick(&ends).copied()
    }

    fn touch(&mut self, end: End) {
        self.touched.extend([end, end.other()]);
    }

    fn plan(&mut self) -> Plan {
        Plan {
            data: pattern(self.chance.below(3000) as usize),
            write: *self.chance.pick(&[1, 50, usize::MAX]).unwrap(),
            read: *self.chance.pick(&[1, 50, usize::MAX]).unwrap(),
            finish: self.chance.happens(0.5),
            deaf: self.chance.happens(0.1),
            close: self.chance.happens(0.8),
        }
    }

    fn act(&mut self) {
        let now = self.stage.now;
        match self.chance.below(40) {
            0..12 => {
                let (from, to) = (self.host(), self.host());
                self.stage.plans = [self.plan(), self.plan()];
                if self.stage.net.is_up(from) {
                    self.stage.dial(from.0, to.0);
                }
            }
            12..14 => {
                let waiting = |(_, result): &(&ConnectId, &Option<_>)| result.is_none();
                let attempts = self.stage.attempts.iter().filter(waiting);
                let attempts: Vec<ConnectId> = attempts.map(|(attempt, _)| *attempt).collect();
                if let Some(attempt) = self.chance.pick(&attempts) {
                    self.stage.net.cancel_connect(*attempt);
                }
            }
            14..18 => self.on_an_end(|chaos, end| chaos.stage.close(end)),
            18..20 => self.on_an_end(|chaos, end| chaos.stage.net.reset(now, end)),
            20 => self.on_an_end(|chaos, end| chaos.stage.net.silence(end)),
            21..23 => {
                let host = self.host();
                let silent = self.chance.happens(0.5);
                self.crash(host, silent);
            }
            23..26 => self.restart_one(),
            26..28 => {
                let some = (0..HOSTS).filter(|_| self.chance.happens(0.5)).map(HostId);
                let some = some.collect();
                let partition = match self.chance.below(3) {
                    0 => Partition::Apart(some),
                    1 => Partition::OneWay(some),
                    _ => Partition::Ring(1),
                };
                let id = self.stage.net.part(partition);
                self.partitions.push(id);
            }
            28..32 => {
                if let Some(id) = self.partitions.pop() {
                    assert!(self.stage.net.heal(id));
                }
            }
            32 => {
                let host = self.host();
                let until = now + self.chance.time(secs(20));
                self.stage.net.exhaust_descriptors(host, until);
            }
            33 => {
                let link = any_lossless_link(&mut self.chance);
                let (from, to) = (self.host(), self.host());
                self.stage.net.set_link(from, to, link).unwrap();
            }
            34 => {
                let (from, to) = (self.host(), self.host());
                let cut = *self
                    .chance
                    .pick(&[Cut::Reset, Cut::End, Cut::Silence])
                    .unwrap();
                let at = self.chance.below(2000);
                self.stage
                    .net
                    .cut_next(from, to, at.is_multiple_of(2), at, cut);
            }
            _ => {
                let time = self.chance.time(secs(30));
                self.stage.run_for(time);
            }
        }
        let time = self.chance.time(ms(300));
        self.stage.run_for(time);
        self.stage.assert_prefixes();
    }

    fn on_an_end(&mut self, act: impl Fn(&mut Self, End)) {
        if let Some(end) = self.end() {
            self.touch(end);
            act(self, end);
        }
    }

    fn crash(&mut self, host: HostId, silent: bool) {
        let mine: Vec<End> = self.stage.net.ends_of(host).collect();
        self.stage.net.crash(self.stage.now, host, silent);
        for end in mine {
            self.touch(end);
            if let Some(user) = self.stage.users.get_mut(&end) {
                user.closed = true;
            }
        }
    }

    fn restart_one(&mut self) {
        let down = (0..HOSTS).find(|host| !self.stage.net.is_up(HostId(*host)));
        if let Some(host) = down {
            self.stage.net.restart(HostId(host));
            self.stage.listen(host);
        }
    }

    /// Everything heals, and what can arrive does.
    fn heal(&mut self) {
        self.stage.net.heal_all();
        for _ in 0..HOSTS {
            self.restart_one();
        }
        self.stage.run();
        let timed_out = |user: &User| {
            let late = NetworkError::TimedOut;
            user.end == Some(Err(late)) || user.write_error == Some(late)
        };
        for (end, user) in &self.stage.users {
            let peer = self.stage.users.get(&end.other());
            let late = timed_out(user) || peer.is_some_and(timed_out);
            let cut = self
                .stage
                .net
                .pipe(*end)
                .is_some_and(|pipe| pipe.directions.iter().any(|direction| direction.silenced));
            let Some(peer) = peer.filter(|_| !late && !cut && !self.touched.contains(end)) else {
                continue;
            };
            if user.write_error.is_some() || matches!(user.end, Some(Err(_))) {
                // A cut that was planned, or the peer has closed with something unread.
                continue;
            }
            let moved = user.plan.deaf || user.received.len() == peer.written;
            assert!(moved || user.end == Some(Ok(())), "{end:?} {user:?}");
            let written = user.written == user.plan.data.len();
            assert!(written || peer.plan.deaf, "{end:?} {user:?}");
        }
    }

    /// Everybody closes, and nothing is left.
    fn end_all(&mut self) {
        while let Some(end) = self.end() {
            self.stage.close(end);
        }
        self.stage.run();
        self.stage.assert_prefixes();
        let listeners: Vec<ListenerId> = self.stage.net.listeners.keys().copied().collect();
        for listener in listeners {
            self.stage.net.close_listener(self.stage.now, listener);
        }
        self.stage.run();
        while let Some(end) = self.end() {
            self.stage.close(end);
        }
        self.stage.run();
        self.stage.assert_forgotten();
        assert!(self.stage.net.listening.is_empty());
    }
}

#[test]
fn whatever_happens_bytes_are_true_nobody_waits_in_vain_and_nothing_is_left() {
    let mut faults = FaultCounts::default();
    for seed in 0..300 {
        let mut chaos = Chaos::new(seed);
        (0..150).for_each(|_| chaos.act());
        chaos.heal();
        chaos.end_all();
        faults.add(chaos.stage.net.faults());
    }
    for fault in [
        Fault::Reset,
        Fault::Silence,
        Fault::OneWayEnd,
        Fault::PipeTimeout,
        Fault::Retransmission,
        Fault::PartialWrite,
        Fault::PartialRead,
        Fault::LateConnect,
    ] {
        assert!(faults.of(fault) > 50, "{fault}: {}", faults.of(fault));
    }
}
