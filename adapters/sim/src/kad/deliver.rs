//! Messages, connections and deadlines.

use super::{
    Asker, KadWorld, Role, Step, TRACE_MESSAGE, WANTED,
    adversary::{Answer, Asked, View},
    operation::{Asks, Kind, Outcome},
};
use bytes::Bytes;
use core::time::Duration;
use drywire::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        Event, Key,
        dht::{Inbound, InboundId, Output, RpcFailure, RpcId},
        message::Message,
    },
};

impl KadWorld {
    pub(super) fn take_step(&mut self, step: Step) {
        match step {
            Step::Wake(number, life) => self.wake(number, life),
            Step::Request {
                from,
                to,
                lives,
                rpc,
                message,
                responds,
            } => {
                let (here, there) = (self.life(to), self.life(from));
                if (there, here) == lives && self.is_up(to) && !self.is_parted(from, to) {
                    self.request_arrives(from, to, rpc, message, responds);
                }
            }
            Step::Response {
                to,
                from,
                life,
                rpc,
                response,
            } => {
                if self.life(to) == life && !self.is_parted(from, to) {
                    self.response_arrives(to, from, rpc, response);
                }
            }
            Step::Sent { to, life, rpc } => {
                if self.life(to) == life {
                    self.with(to, |dht, at| dht.handle_sent(at, rpc));
                }
            }
            Step::Idle(one, other) => self.look_if_idle(one, other),
            Step::Lost(number, other) => {
                if self.links.remove(&pair(number, other)).is_some() {
                    self.disconnect(number, other);
                }
            }
            Step::Leave(number) => self.leave(number),
            Step::Return(number) => self.come_back(number),
            Step::Join(number) => self.join(number),
        }
    }

    pub(super) fn life(&self, number: u32) -> u32 {
        self.member(number).map_or(0, |member| member.life)
    }

    fn wake(&mut self, number: u32, life: u32) {
        let now = self.now;
        let Some(member) = self.member_mut(number).filter(|member| member.life == life) else {
            return;
        };
        if member.wake != Some(now) {
            return;
        }
        member.wake = None;
        let due = member.dht.as_ref().and_then(|dht| dht.poll_timeout());
        if due.is_some_and(|at| at <= now) {
            self.with(number, |dht, at| dht.handle_timeout(at));
        } else {
            self.plan_wake(number);
        }
    }

    /// Enters the next deadline of a node, if it is earlier than the one that is entered.
    fn plan_wake(&mut self, number: u32) {
        let now = self.now;
        let Some(member) = self.member_mut(number) else {
            return;
        };
        let Some(next) = member.dht.as_ref().and_then(|dht| dht.poll_timeout()) else {
            return;
        };
        let next = next.max(now);
        if member.wake.is_none_or(|wake| next < wake || wake < now) {
            member.wake = Some(next);
            let life = member.life;
            self.agenda.enter(next, Step::Wake(number, life));
        }
    }

    /// Does what a node wants.
    pub(super) fn settle(&mut self, number: u32) {
        loop {
            let dht = self
                .member_mut(number)
                .and_then(|member| member.dht.as_deref_mut());
            let Some(output) = dht.and_then(drywire::protocol::kad::Dht::poll_output) else {
                break;
            };
            match output {
                Output::Request {
                    rpc,
                    peer,
                    message,
                    responds,
                } => self.send_request(number, rpc, peer, message, responds),
                Output::Respond { to, message } => self.respond(number, to, Ok(message)),
                Output::Refuse { to } => self.respond(number, to, Err(RpcFailure::Interrupted)),
                Output::Event(event) => self.note(number, event),
                _ => {}
            }
        }
        let every = self.config.audit_every;
        self.settled += 1;
        if every > 0 && self.settled.is_multiple_of(every) {
            self.audit_one(number);
        }
        self.plan_wake(number);
    }

    fn send_request(
        &mut self,
        from: u32,
        rpc: RpcId,
        peer: PeerId,
        message: Bytes,
        responds: bool,
    ) {
        self.traffic.requests += 1;
        self.traffic.bytes += message.len() as u64;
        let mut wrong = None;
        if let Some(member) = self.member_mut(from) {
            // Of several about the same key, the first that has not asked this peer.
            for watch in &mut member.watched {
                match watch.asks(rpc, peer, &message) {
                    Asks::Other => {}
                    Asks::New => {
                        wrong = None;
                        break;
                    }
                    Asks::Again => wrong = Some(format!("{} asks {peer} twice", watch.id)),
                }
            }
        }
        if let Some(wrong) = wrong {
            self.violate(from, "I38 no peer is asked twice", wrong);
        }
        let to = self.number(&peer);
        let linked = to.is_some_and(|to| self.links.contains_key(&pair(from, to)));
        let life = self.life(from);
        let Some(to) = to.filter(|to| linked || self.dials(from, *to, &peer)) else {
            if !linked {
                self.traffic.dials_failed += 1;
            }
            // Half of the addresses at which nobody is say so, the others nothing.
            let silent = self.config.churn.map_or(0.5, |churn| churn.law.silent);
            if !self.chance.happens(silent) {
                let after = to.map_or(Duration::from_millis(150), |to| {
                    self.travel(from, to) + self.travel(to, from)
                });
                let step = Step::Response {
                    to: from,
                    from,
                    life,
                    rpc,
                    response: Err(RpcFailure::Unreachable),
                };
                self.agenda.enter(self.now.saturating_add(after), step);
            }
            return;
        };
        let mut after = self.travel(from, to);
        if !linked {
            self.traffic.dials += 1;
            after += self.base_latency(from, to) * 2 * self.config.dial_round_trips;
        }
        self.enter_request(from, to, Some(rpc), message, responds, after);
    }

    fn enter_request(
        &mut self,
        from: u32,
        to: u32,
        rpc: Option<RpcId>,
        message: Bytes,
        responds: bool,
        after: Duration,
    ) {
        let lives = (self.life(from), self.life(to));
        let step = Step::Request {
            from,
            to,
            lives,
            rpc,
            message,
            responds,
        };
        self.agenda.enter(self.now.saturating_add(after), step);
    }

    /// An attacker sends a request, or any other bytes.
    pub fn send_from_attacker(&mut self, attacker: u32, to: u32, message: Vec<u8>) {
        let after = self.travel(attacker, to);
        self.enter_request(attacker, to, None, message.into(), true, after);
    }

    /// Whether a dial succeeds.
    fn dials(&mut self, from: u32, to: u32, peer: &PeerId) -> bool {
        if self.config.check_addresses {
            let known = self
                .dht(from)
                .map(|dht| dht.addresses_of(peer))
                .unwrap_or_default();
            let at = known
                .iter()
                .position(|address| Some(address) == self.address(to));
            // Addresses are dialed in their order until one answers.
            let in_vain = at.unwrap_or(known.len());
            self.traffic.addresses_wasted += in_vain as u64;
            self.traffic.addresses_dialed += in_vain as u64 + u64::from(at.is_some());
            if at.is_none() {
                return false;
            }
        }
        let there = self.member(to);
        there.is_some_and(|there| there.up && there.is_server())
    }

    fn request_arrives(
        &mut self,
        from: u32,
        to: u32,
        rpc: Option<RpcId>,
        message: Bytes,
        responds: bool,
    ) {
        self.hash(from, to, &message);
        self.meet(from, to);
        let life = self.life(from);
        if let (false, Some(rpc)) = (responds, rpc) {
            let after = self.travel(to, from);
            let at = self.now.saturating_add(after);
            self.agenda.enter(
                at,
                Step::Sent {
                    to: from,
                    life,
                    rpc,
                },
            );
        }
        let asker = Asker {
            number: from,
            life,
            rpc: rpc.filter(|_| responds),
        };
        if self.role(to) == Some(Role::Attacker) {
            return self.ask_attacker(to, asker, &message);
        }
        self.answered += 1;
        let id = InboundId(self.answered);
        self.answering.insert(id.0, asker);
        let Some(peer) = self.peer(from) else { return };
        let inbound = Inbound {
            id,
            from: peer,
            connection: ConnectionId::new(u64::from(from)),
        };
        self.with(to, |dht, at| {
            dht.handle_request(at, inbound, &message, &|_| Vec::new());
        });
    }

    fn ask_attacker(&mut self, attacker: u32, asker: Asker, message: &Bytes) {
        let Ok(request) = Message::decode(message) else {
            return;
        };
        let Some(mut adversary) = self.adversary.take() else {
            return;
        };
        let view = View {
            now: self.now,
            members: &self.members,
            attackers: &self.attackers,
            servers: &self.servers,
        };
        let asked = Asked {
            attacker,
            from: asker.number,
            request: &request,
        };
        let answer = adversary.answer(&asked, &view);
        self.adversary = Some(adversary);
        let (late, response) = match answer {
            Answer::Message(bytes) => (Duration::ZERO, Ok(Bytes::from(bytes))),
            Answer::Late(late, bytes) => (late, Ok(Bytes::from(bytes))),
            Answer::Refuse => (Duration::ZERO, Err(RpcFailure::Interrupted)),
            Answer::Nothing => return,
        };
        self.send_response(attacker, asker, response, late);
    }

    fn respond(&mut self, number: u32, to: InboundId, response: Result<Option<Bytes>, RpcFailure>) {
        let Some(asker) = self.answering.remove(&to.0) else {
            return;
        };
        match response {
            Ok(Some(message)) => self.send_response(number, asker, Ok(message), Duration::ZERO),
            Ok(None) => {}
            Err(failure) => self.send_response(number, asker, Err(failure), Duration::ZERO),
        }
    }

    fn send_response(
        &mut self,
        from: u32,
        asker: Asker,
        response: Result<Bytes, RpcFailure>,
        late: Duration,
    ) {
        let Some(rpc) = asker.rpc else {
            return;
        };
        let after = self.travel(from, asker.number) + late;
        let step = Step::Response {
            to: asker.number,
            from,
            life: asker.life,
            rpc,
            response,
        };
        self.agenda.enter(self.now.saturating_add(after), step);
    }

    fn response_arrives(
        &mut self,
        to: u32,
        from: u32,
        rpc: RpcId,
        response: Result<Bytes, RpcFailure>,
    ) {
        if let Ok(message) = &response {
            self.traffic.responses += 1;
            self.traffic.bytes += message.len() as u64;
            self.hash(from, to, message);
            if let Some(last) = self.links.get_mut(&pair(from, to)) {
                *last = self.now;
            }
        } else {
            self.hash(from, to, b"failed");
        }
        let teller = self.peer(from);
        if let (Some(member), Some(teller)) = (self.member_mut(to), teller) {
            for watch in &mut member.watched {
                if watch.is_answered_by(rpc)
                    && let Ok(message) = &response
                    && let Ok(message) = Message::decode(message)
                {
                    watch.learns(&teller, message.closer_peers().map(|told| told.peer));
                }
            }
        }
        self.with(to, |dht, at| dht.handle_response(at, rpc, response));
    }

    /// A connection between two nodes, with identify on it, if there was none.
    pub fn meet(&mut self, from: u32, to: u32) {
        let now = self.now;
        if let Some(last) = self.links.get_mut(&pair(from, to)) {
            *last = now;
            return;
        }
        self.links.insert(pair(from, to), now);
        for (one, other) in [(from, to), (to, from)] {
            if let Some(member) = self.member_mut(one) {
                member.links.push(other);
            }
        }
        let idle = self.now.saturating_add(self.config.idle_timeout);
        self.agenda.enter(idle, Step::Idle(from, to));
        let (Some(dialer), Some(dialed)) = (self.identified(from), self.identified(to)) else {
            return;
        };
        let (peer, is_server, addresses) = dialed;
        self.with(from, |dht, at| {
            dht.handle_connected(at, peer, addresses.first());
            dht.handle_protocol(at, peer, is_server, &addresses);
        });
        let (peer, is_server, addresses) = dialer;
        self.with(to, |dht, at| {
            match addresses.first() {
                Some(remote) => dht.handle_accepted(at, peer, remote),
                None => dht.handle_connected(at, peer, None),
            }
            dht.handle_protocol(at, peer, is_server, &addresses);
        });
    }

    /// What a node tells of itself.
    fn identified(&self, number: u32) -> Option<(PeerId, bool, Vec<Multiaddr>)> {
        let member = self.member(number)?;
        let is_server = member.is_server();
        let addresses = if is_server {
            let own = core::iter::once(&member.address);
            own.chain(&member.others).cloned().collect()
        } else {
            Vec::new()
        };
        Some((member.peer, is_server, addresses))
    }

    fn look_if_idle(&mut self, one: u32, other: u32) {
        let Some(last) = self.links.get(&pair(one, other)) else {
            return;
        };
        let until = last.saturating_add(self.config.idle_timeout);
        if until > self.now {
            self.agenda.enter(until, Step::Idle(one, other));
            return;
        }
        self.links.remove(&pair(one, other));
        self.disconnect(one, other);
        self.disconnect(other, one);
    }

    /// A node's side of a connection is gone.
    pub(super) fn disconnect(&mut self, number: u32, other: u32) {
        let Some(peer) = self.peer(other) else { return };
        let Some(member) = self.member_mut(number) else {
            return;
        };
        if let Some(at) = member.links.iter().position(|link| *link == other) {
            member.links.swap_remove(at);
        }
        self.with(number, |dht, at| dht.handle_disconnected(at, &peer));
    }

    fn hash(&self, from: u32, to: u32, message: &[u8]) {
        // A message is folded into a word first: hashing all bytes would take longer than the nodes do.
        let mut word = message.len() as u64;
        let (chunks, rest) = message.as_chunks::<8>();
        for chunk in chunks {
            word = fold(word, u64::from_le_bytes(*chunk));
        }
        for byte in rest {
            word = fold(word, u64::from(*byte));
        }
        let mut bytes = [0; 12];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&to.to_le_bytes());
        tail.copy_from_slice(&word.to_le_bytes());
        self.trace.hash(self.now, from, TRACE_MESSAGE, &bytes);
    }

    fn note(&mut self, number: u32, event: Event) {
        let Event::OutboundQueryProgressed {
            id,
            result,
            stats,
            step,
        } = event
        else {
            return;
        };
        let now = self.now;
        let Some(member) = self.member_mut(number) else {
            return;
        };
        let Some(at) = member.watched.iter().position(|watch| watch.id == id) else {
            return;
        };
        if !step.last {
            if let Some(watch) = member.watch_of(id) {
                watch.progresses(&result);
            }
            return;
        }
        let watch = member.watched.swap_remove(at);
        let (mut outcome, watch) = watch.ends(number, now, result, &stats);
        if outcome.kind == Kind::Closest {
            self.judge(&mut outcome, &watch.target, |peer| watch.depth(peer));
            let contacted = outcome.peers.iter().all(|peer| watch.has_asked(peer));
            let sorted = outcome.peers.is_sorted_by(|one, other| {
                Key::of_peer(one).distance(&watch.target)
                    < Key::of_peer(other).distance(&watch.target)
            });
            if !contacted || !sorted {
                let message = format!("{:?}", outcome.peers);
                self.violate(number, "I39 results are sorted and were asked", message);
            }
        }
        let longest = self.config.node.query_timeout * 2 + Duration::from_secs(1);
        if outcome.took > longest {
            let message = format!("{:?} took {:?}", outcome.kind, outcome.took);
            self.violate(number, "I38 queries end in time", message);
        }
        self.outcomes.push_back(outcome);
    }

    /// Compares what a lookup found with the truth.
    fn judge(&self, outcome: &mut Outcome, target: &Key, depth: impl Fn(&PeerId) -> Option<u32>) {
        let steady = |number: u32| {
            let member = self.member(number);
            number != outcome.node
                && !self.is_parted(number, outcome.node)
                && member.is_some_and(|member| member.up && member.since <= outcome.began)
        };
        let truth = self.servers.closest(target, WANTED, steady);
        let is_found = |number: &u32| {
            self.peer(*number)
                .is_some_and(|peer| outcome.peers.contains(&peer))
        };
        outcome.wanted = truth.len();
        outcome.found = truth.iter().filter(|number| is_found(number)).count();
        outcome.succeeded = truth.first().is_some_and(is_found);
        let nearest = truth.first().and_then(|number| self.peer(*number));
        outcome.hops = nearest
            .filter(|_| outcome.succeeded)
            .and_then(|peer| depth(&peer));
    }
}

pub(super) const fn pair(one: u32, other: u32) -> (u32, u32) {
    if one < other {
        (one, other)
    } else {
        (other, one)
    }
}

const fn fold(word: u64, more: u64) -> u64 {
    (word.rotate_left(23) ^ more).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
