//! How nodes come, leave and come back.

use super::{
    Join, KadWorld, Role, Step,
    member::{draw_address, draw_peer},
};
use crate::{chance::Chance, violation::Violation};
use core::time::Duration;
use drywire::{
    protocol::kad::{Dht, Key, MemoryStore, MemoryStoreConfig, Mode, QueryOptions},
    seed::Seed,
};

/// So long it takes the network to double.
const DOUBLING: Duration = Duration::from_secs(30);
/// After the last has joined.
const SETTLING: Duration = Duration::from_secs(90);
/// How many of the bootstrappers a node begins with.
const CONTACTS: usize = 3;
/// In so long the timers of nodes that were always there are spread.
const PAST: Duration = Duration::from_secs(600);

impl KadWorld {
    /// Lets all nodes come to know each other, as [`KadConfig::join`](super::KadConfig::join) says, and then churn begin.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn populate(&mut self) -> Result<(), Box<Violation>> {
        self.populate_with(|_, _| true)
    }

    /// The same, with a call each virtual second: how far it is, of how much. If it returns false, that is all.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn populate_with(
        &mut self,
        mut progress: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), Box<Violation>> {
        if self.config.join == Join::Known {
            self.everybody_knows_many();
        } else {
            let end = self.everybody_joins();
            for second in 0..end.as_secs() {
                if !progress(second, end.as_secs()) {
                    break;
                }
                self.run_for(Duration::from_secs(1))?;
            }
        }
        self.begin_churn();
        self.outcomes.clear();
        Ok(())
    }

    fn everybody_joins(&mut self) -> Duration {
        let first = self.config.bootstrappers;
        let mut last = Duration::ZERO;
        for number in 0..self.len() {
            if self.role(number) == Some(Role::Attacker) {
                continue;
            }
            let doublings = (number as f64 / first as f64).max(1.0).log2();
            let after = DOUBLING.mul_f64(doublings);
            last = last.max(after);
            self.agenda
                .enter(self.now.saturating_add(after), Step::Join(number));
        }
        last.saturating_add(SETTLING)
    }

    /// A node begins, knowing some of the bootstrappers.
    pub(super) fn join(&mut self, number: u32) {
        self.begin(number, self.now);
        let contacts = self.contacts(number);
        self.introduce(number, contacts);
        if self.config.join == Join::Lookup
            || self.config.node.automatic_bootstrap_throttle.is_none()
        {
            let Some(own) = self.peer(number) else { return };
            self.with(number, |dht, at| {
                let _ = dht.get_closest_peers(at, own.as_bytes(), QueryOptions::new());
            });
        }
    }

    fn contacts(&mut self, number: u32) -> Vec<u32> {
        let count = u64::try_from(self.config.bootstrappers).unwrap_or(u64::MAX);
        let Some(member) = self.member_mut(number) else {
            return Vec::new();
        };
        let mut contacts = Vec::new();
        for _ in 0..4 * CONTACTS {
            let contact = member.chance.below(count) as u32;
            if contacts.len() < CONTACTS && contact != number && !contacts.contains(&contact) {
                contacts.push(contact);
            }
        }
        contacts
    }

    /// A node learns where others are.
    pub(super) fn introduce(&mut self, number: u32, others: impl IntoIterator<Item = u32>) {
        for other in others {
            let Some(known) = self.member(other) else {
                continue;
            };
            let (peer, address) = (known.peer, known.address.clone());
            self.with(number, |dht, at| {
                let _ = dht.add_address(at, peer, &address);
            });
        }
    }

    /// A machine for a node.
    fn begin(&mut self, number: u32, since: drywire::time::Instant) {
        let mut config = self.config.node.clone();
        if self.config.join != Join::Bootstrap {
            config.automatic_bootstrap_throttle = None;
        }
        let mut at = self.moment();
        at.now = since;
        let Some(member) = self.member_mut(number) else {
            return;
        };
        let seed = Seed::for_tests(member.chance.number());
        let store = MemoryStore::new(&member.peer, MemoryStoreConfig::default());
        let mut dht = Dht::new(member.peer, config, store, &seed, at);
        if member.role == Role::Client {
            dht.set_mode(Some(Mode::Client));
        } else {
            dht.set_mode(Some(Mode::Server));
            let own = [member.address.clone()];
            dht.handle_local_addresses(at, &own, &own);
        }
        member.dht = Some(Box::new(dht));
        (member.up, member.since, member.wake) = (true, at.now, None);
        self.settle(number);
    }

    /// Fills all tables.
    fn everybody_knows_many(&mut self) {
        let begin = self.now;
        self.now = self.now.saturating_add(PAST);
        let mut chance = self.draws("who knows whom");
        for number in 0..self.len() {
            if self.role(number) != Some(Role::Attacker) {
                let since = begin.saturating_add(chance.time(PAST));
                self.begin(number, since);
            }
        }
        for number in 0..self.len() {
            let known = self.long_known(number, &mut chance);
            let peers: Vec<_> = known.iter().filter_map(|other| self.peer(*other)).collect();
            self.introduce(number, known);
            let at = self.moment();
            if let Some(dht) = self
                .member_mut(number)
                .and_then(|member| member.dht.as_mut())
            {
                for peer in &peers {
                    dht.handle_answer(at, peer);
                }
            }
        }
    }

    /// Whom a node knows that was always there: a bucket full of each distance, the farthest first.
    fn long_known(&self, number: u32, chance: &mut Chance) -> Vec<u32> {
        let size = self.config.node.kbucket_size.get();
        let Some(position) = self.member(number).map(|member| member.position) else {
            return Vec::new();
        };
        let mut known = Vec::new();
        for index in (0..=255_u8).rev() {
            let mut bucket: Vec<u32> = [&self.servers, &self.attackers]
                .into_iter()
                .flat_map(|all| all.bucket(&position, index))
                .map(|(_, other)| *other)
                .filter(|other| *other != number)
                .collect();
            // The first so many of a shuffle: some more, since not all may be let in.
            let wanted = bucket.len().min(size + 4);
            for at in 0..wanted {
                let other = at + chance.index(bucket.len() - at);
                bucket.swap(at, other);
            }
            known.extend(bucket.into_iter().take(wanted));
            if known.len() > 64 && index < 200 {
                break;
            }
        }
        known
    }

    fn begin_churn(&mut self) {
        let Some(churn) = self.config.churn else {
            return;
        };
        let first = u32::try_from(self.config.bootstrappers).unwrap_or(u32::MAX);
        for number in first..self.len() {
            if self.role(number) == Some(Role::Attacker) {
                continue;
            }
            let Some(member) = self.member_mut(number) else {
                continue;
            };
            if member.chance.happens(churn.away) {
                self.leave(number);
                continue;
            }
            let rest = churn.law.rest_of_session(&mut member.chance);
            let at = self.now.saturating_add(rest);
            self.agenda.enter(at, Step::Leave(number));
        }
    }

    /// A node goes away.
    pub fn leave(&mut self, number: u32) {
        let now = self.now;
        let churn = self.config.churn;
        let Some(member) = self.member_mut(number).filter(|member| member.up) else {
            return;
        };
        member.up = false;
        member.life += 1;
        member.dht = None;
        member.watched.clear();
        let links = core::mem::take(&mut member.links);
        let silent = churn.is_some_and(|churn| member.chance.happens(churn.law.silent));
        if let Some(churn) = churn {
            let mean = churn.mean_away();
            let away = member.chance.exponential(mean);
            let back = now.saturating_add(away);
            self.agenda.enter(back, Step::Return(number));
        }
        for other in links {
            // A silent departure is noticed when the connection has been idle, as far as this world goes.
            let after = if silent {
                self.config.idle_timeout
            } else {
                self.travel(number, other)
            };
            self.agenda
                .enter(self.now.saturating_add(after), Step::Lost(other, number));
        }
    }

    /// A node is there again.
    pub fn come_back(&mut self, number: u32) {
        let now = self.now;
        let churn = self.config.churn;
        let Some(member) = self.member_mut(number).filter(|member| !member.up) else {
            return;
        };
        let anew = churn.is_some_and(|churn| member.chance.happens(churn.law.anew));
        let session = churn.map(|churn| churn.law.session(&mut member.chance));
        if anew {
            let (old, before) = (member.peer, member.position);
            member.peer = draw_peer(&mut member.chance);
            member.address = draw_address(&mut member.chance);
            member.position = Key::of_peer(&member.peer);
            let (peer, position, is_server) = (member.peer, member.position, member.is_server());
            self.numbers.remove(&old);
            self.numbers.insert(peer, number);
            if is_server {
                self.servers.remove(before, number);
                self.servers.insert(position, number);
            }
        }
        self.begin(number, now);
        let contacts = self.contacts(number);
        self.introduce(number, contacts);
        self.with(number, |dht, at| {
            let _ = dht.bootstrap(at);
        });
        if let Some(session) = session {
            let end = self.now.saturating_add(session);
            self.agenda.enter(end, Step::Leave(number));
        }
    }
}
