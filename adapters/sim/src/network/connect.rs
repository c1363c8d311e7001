//! Listeners, and attempts to connect to them.

use super::{
    End, EndState, FIRST_PORT, Happening, HostId, Link, Network, NetworkError, Pipe,
    RETRANSMIT_AT_LEAST_EVERY, Signal,
    pipe::{Cut, Direction},
};
use crate::{chance::Chance, fault::Fault};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use drywire::time::Instant;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Connections that wait to be accepted; one more is not answered.
const BACKLOG: usize = 1024;
/// How often an unanswered attempt is tried again, at growing intervals.
const TRIES: u32 = 6;
/// How often an answer that does not get through is tried again, every second: in all as long as an attempt.
const ANSWER_TRIES: u32 = 127;

/// Names a listener. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(u64);

/// Names an attempt to connect. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectId(u64);

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) host: HostId,
    address: SocketAddr,
    backlog: VecDeque<End>,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) host: HostId,
    local: SocketAddr,
    remote: SocketAddr,
    /// All that is drawn for it, and for the pipe it makes, comes from here.
    chance: Chance,
}

/// Sockets of one kind, by their hosts and addresses.
pub(super) type Sockets<T> = BTreeMap<(HostId, SocketAddr), T>;

/// The socket of a host that an address leads to: the one that is there, or else at every address of the family.
pub(super) fn socket_at<T: Copy>(
    sockets: &Sockets<T>,
    host: HostId,
    address: SocketAddr,
) -> Option<T> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let exact = sockets.get(&(host, address));
    let any = || sockets.get(&(host, SocketAddr::new(any, address.port())));
    exact.or_else(any).copied()
}

/// A cut waiting for a pipe to be made.
#[derive(Debug)]
pub(super) struct PlannedCut {
    dialer: HostId,
    listener: HostId,
    /// Written by the listener.
    by_listener: bool,
    at: u64,
    cut: Cut,
}

impl Network {
    /// Listens at an address of a host, at an unspecified one (every address of the family), or at loopback. Port 0 means
    /// any. Returns the address with its port.
    ///
    /// # Errors
    /// As the operating system would say.
    pub fn listen(
        &mut self,
        host: HostId,
        address: SocketAddr,
    ) -> Result<(ListenerId, SocketAddr), NetworkError> {
        let address = self.claim(host, address, |network| &network.listening)?;
        let listener = ListenerId(self.next_number());
        self.listening.insert((host, address), listener);
        self.listeners.insert(
            listener,
            Listener {
                host,
                address,
                backlog: VecDeque::new(),
            },
        );
        Ok((listener, address))
    }

    /// Stops listening. Whoever waits to be accepted is reset.
    pub fn close_listener(&mut self, now: Instant, listener: ListenerId) {
        self.now = self.now.max(now);
        let Some(gone) = self.listeners.remove(&listener) else {
            return;
        };
        self.listening.remove(&(gone.host, gone.address));
        for end in gone.backlog {
            self.abort(end);
        }
    }

    /// Accepts one connection, if one waits; with the peer's address. Something may have arrived on it already.
    ///
    /// # Errors
    /// [`NetworkError::OutOfDescriptors`] while there are none and somebody waits; he goes on waiting, and
    /// [`Signal::Acceptable`] follows when there are some again.
    pub fn accept(
        &mut self,
        now: Instant,
        listener: ListenerId,
    ) -> Result<Option<(End, SocketAddr)>, NetworkError> {
        self.now = self.now.max(now);
        let waits = |of: &Listener| (of.host, of.backlog.is_empty());
        let Some((host, empty)) = self.listeners.get(&listener).map(waits) else {
            return Err(NetworkError::Closed);
        };
        if !empty && self.is_exhausted(host) {
            return Err(NetworkError::OutOfDescriptors);
        }
        while let Some(found) = self.listeners.get_mut(&listener)
            && let Some(end) = found.backlog.pop_front()
        {
            if let Some((_, remote)) = self.endpoint_addresses(end) {
                return Ok(Some((end, remote)));
            }
        }
        Ok(None)
    }

    /// Those who wait are told that there are descriptors again.
    pub(super) fn descriptors(&mut self, host: HostId) {
        if self.is_exhausted(host) {
            return;
        }
        let waiting =
            |(_, of): &(&ListenerId, &Listener)| of.host == host && !of.backlog.is_empty();
        let listeners: Vec<_> = self
            .listeners
            .iter()
            .filter(waiting)
            .map(|(listener, _)| *listener)
            .collect();
        for listener in listeners {
            self.signal(host, Signal::Acceptable(listener));
        }
    }

    /// Begins to connect. [`Signal::Connected`] follows, once.
    pub fn connect(&mut self, now: Instant, host: HostId, remote: SocketAddr) -> ConnectId {
        self.now = self.now.max(now);
        let attempt = ConnectId(self.next_number());
        if !self.is_up(host) {
            return attempt;
        }
        let local = self.source(host, remote);
        let target = self.owner(host, remote.ip());
        let mut chance = self.attempt_chance(host, target);
        let (after, what) = match (local, target) {
            _ if self.is_exhausted(host) => {
                let failed = Happening::Connected(attempt, Err(NetworkError::OutOfDescriptors));
                (Duration::ZERO, failed)
            }
            (Some(_), Some(target)) => {
                let link = self.way_link(host, target);
                self.begin(attempt, &link, &mut chance)
            }
            (None, _) | (_, None) => {
                let failed = Happening::Connected(attempt, Err(NetworkError::Unreachable));
                (self.link.latency, failed)
            }
        };
        self.attempts.insert(
            attempt,
            Attempt {
                host,
                local: local.unwrap_or(remote),
                remote,
                chance,
            },
        );
        self.enter(after, what);
        attempt
    }

    /// What becomes of an attempt, and when.
    fn begin(
        &mut self,
        attempt: ConnectId,
        link: &Link,
        chance: &mut Chance,
    ) -> (Duration, Happening) {
        let mut travel = link.travel(chance).0;
        if chance.happens(link.refusals) {
            self.faults.count(Fault::RefusedConnect);
            let failed = Happening::Connected(attempt, Err(NetworkError::Refused));
            return (travel * 2, failed);
        }
        if chance.happens(link.black_holes) {
            self.faults.count(Fault::BlackHole);
            let failed = Happening::Connected(attempt, Err(NetworkError::TimedOut));
            return (Duration::from_secs(127), failed);
        }
        if chance.happens(link.late_connects) {
            self.faults.count(Fault::LateConnect);
            travel += chance.time(Duration::from_secs(20));
        }
        (travel, Happening::Syn(attempt, 0))
    }

    /// Gives an attempt up. No signal follows.
    pub fn cancel_connect(&mut self, attempt: ConnectId) {
        self.attempts.remove(&attempt);
    }

    /// Of the next pipe between these hosts that one of them makes by dialing, the direction written by the dialer (or
    /// the listener) is cut after so many bytes.
    pub fn cut_next(
        &mut self,
        dialer: HostId,
        listener: HostId,
        by_listener: bool,
        at: u64,
        cut: Cut,
    ) {
        self.planned_cuts.push(PlannedCut {
            dialer,
            listener,
            by_listener,
            at,
            cut,
        });
    }

    /// A request to connect arrives.
    pub(super) fn syn(&mut self, attempt: ConnectId, tries: u32) {
        let Some(found) = self.attempts.get(&attempt) else {
            return;
        };
        let (host, remote) = (found.host, found.remote);
        let Some(target) = self.owner(host, remote.ip()) else {
            return;
        };
        let listener = socket_at(&self.listening, target, remote);
        let full = listener.is_some_and(|id| {
            let listener = self.listeners.get(&id);
            listener.is_none_or(|listener| listener.backlog.len() >= BACKLOG)
        });
        if !self.passes(host, target) || !self.passes(target, host) || full {
            let again = match tries {
                TRIES.. => Happening::Connected(attempt, Err(NetworkError::TimedOut)),
                _ => Happening::Syn(attempt, tries + 1),
            };
            self.enter(Duration::from_secs(1 << tries.min(TRIES)), again);
            return;
        }
        let there = self.way_link(host, target);
        let back = self.way_link(target, host);
        let Some(found) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let returns = back.travel(&mut found.chance).0;
        let Some(listener) = listener else {
            let refused = Happening::Connected(attempt, Err(NetworkError::Refused));
            self.enter(returns, refused);
            return;
        };
        let accepted = returns + there.travel(&mut found.chance).0;
        let (local, chances) = (found.local, [found.chance.child(), found.chance.child()]);
        let states = [(host, local), (target, remote)].map(|(host, address)| EndState {
            host,
            address,
            open: true,
            forgotten: false,
            error: None,
        });
        // What the dialer writes cannot overtake its own acknowledgement, nor the listener's the acceptance.
        let opens = [self.now + accepted, self.now + returns];
        let end = self.add_pipe(states, [there, back], chances, opens);
        self.enter(returns, Happening::Answered(attempt, end, 0));
        self.enter(accepted, Happening::Accept(listener, end.other(), 0));
    }

    /// Returns the dialer's end.
    fn add_pipe(
        &mut self,
        ends: [EndState; 2],
        [there, back]: [Arc<Link>; 2],
        [dialer, listener]: [Chance; 2],
        [accepted, returned]: [Instant; 2],
    ) -> End {
        let [from, to] = ends.each_ref().map(|state| state.host);
        let mut cuts = [None, None];
        let planned = |cut: &mut PlannedCut| cut.dialer == from && cut.listener == to;
        for cut in self.planned_cuts.extract_if(.., planned) {
            let [first, second] = &mut cuts;
            *(if cut.by_listener { second } else { first }) = Some((cut.at, cut.cut));
        }
        let [first, second] = cuts;
        let mut directions = [
            Direction::new(there, dialer, first, accepted),
            Direction::new(back, listener, second, returned),
        ];
        for direction in &mut directions {
            direction.cut_at_once(self.now, &mut self.faults);
        }
        self.generation = self.generation.wrapping_add(1);
        let pipe = Pipe {
            generation: self.generation,
            ends,
            directions,
        };
        let end = End {
            pipe: self.pipes.insert(pipe) as u32,
            generation: self.generation,
            side: 0,
        };
        self.schedule(end);
        self.schedule(end.other());
        end
    }

    /// The attempt has failed.
    pub(super) fn connected(&mut self, attempt: ConnectId, result: Result<End, NetworkError>) {
        if let Some(found) = self.attempts.remove(&attempt) {
            self.signal(found.host, Signal::Connected(attempt, result));
        }
    }

    /// The listener's answer has reached the dialer, if the way is free.
    pub(super) fn answered(&mut self, attempt: ConnectId, end: End, tries: u32) {
        if !self.attempts.contains_key(&attempt) {
            // Given up in the meantime.
            self.abort(end);
        } else if self.reaches_peer(end.other()) {
            self.connected(attempt, Ok(end));
        } else if tries < ANSWER_TRIES {
            let again = Happening::Answered(attempt, end, tries + 1);
            self.enter(RETRANSMIT_AT_LEAST_EVERY, again);
        } else {
            self.vanish(end);
            self.connected(attempt, Err(NetworkError::TimedOut));
        }
    }

    /// The dialer's last word has reached the listener, if the way is free.
    pub(super) fn accepted(&mut self, listener: ListenerId, end: End, tries: u32) {
        let dialer = self.pipe(end).map(|pipe| {
            let [dialer, _] = &pipe.ends;
            (dialer.host, dialer.forgotten)
        });
        let Some((dialer, false)) = dialer else {
            // The dialer has gone before the listener heard of him.
            self.vanish(end);
            return;
        };
        if !self.reaches_peer(end.other()) {
            if tries < ANSWER_TRIES && self.is_up(dialer) {
                let again = Happening::Accept(listener, end, tries + 1);
                self.enter(RETRANSMIT_AT_LEAST_EVERY, again);
            } else {
                self.vanish(end);
            }
            return;
        }
        match self.listeners.get_mut(&listener) {
            Some(found) if found.backlog.len() < BACKLOG => {
                found.backlog.push_back(end);
                let host = found.host;
                self.signal(host, Signal::Acceptable(listener));
            }
            _ => self.abort(end),
        }
    }

    /// The address, with its port, at which a host can have a new socket, besides those of its kind there are.
    pub(super) fn claim<T>(
        &mut self,
        host: HostId,
        address: SocketAddr,
        taken: impl Fn(&Self) -> &Sockets<T>,
    ) -> Result<SocketAddr, NetworkError> {
        if !self.is_up(host) {
            return Err(NetworkError::Closed);
        }
        if self.is_exhausted(host) {
            return Err(NetworkError::OutOfDescriptors);
        }
        let ip = address.ip();
        if !(ip.is_unspecified() || ip.is_loopback() || self.addresses(host).contains(&ip)) {
            return Err(NetworkError::AddressNotAvailable);
        }
        let free = |network: &Self, port| {
            let address = SocketAddr::new(ip, port);
            !taken(network).contains_key(&(host, address))
        };
        let port = match address.port() {
            0 => self.free_port(host, free),
            port => Some(port).filter(|port| free(self, *port)),
        };
        let port = port.ok_or(NetworkError::AddressInUse)?;
        Ok(SocketAddr::new(ip, port))
    }

    /// Who has an address, as seen from a host.
    pub(super) fn owner(&self, from: HostId, address: IpAddr) -> Option<HostId> {
        if address.is_loopback() {
            return Some(from);
        }
        self.by_address.get(&address).copied()
    }

    /// The address and port from which a host reaches another; `None` if it has no address of the family.
    fn source(&mut self, host: HostId, remote: SocketAddr) -> Option<SocketAddr> {
        let ip = self.source_address(host, remote.ip())?;
        let port = self.free_port(host, |_, _| true)?;
        Some(SocketAddr::new(ip, port))
    }

    /// The address from which a host reaches another.
    pub(super) fn source_address(&self, host: HostId, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_loopback() {
            return Some(remote);
        }
        let same = |ip: &&IpAddr| ip.is_ipv4() == remote.is_ipv4();
        self.addresses(host).iter().find(same).copied()
    }

    /// The next port that is `free`.
    pub(super) fn free_port(
        &mut self,
        host: HostId,
        free: impl Fn(&Self, u16) -> bool,
    ) -> Option<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let of = self.hosts.get_mut(host.number())?;
            of.next_port = of.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            let port = of.next_port;
            if free(self, port) {
                return Some(port);
            }
        }
        None
    }
}
