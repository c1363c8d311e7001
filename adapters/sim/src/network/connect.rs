//! Listeners, and attempts to connect to them.

use super::{
    End, EndState, Happening, HostId, Network, NetworkError, Pipe, Signal,
    pipe::{Cut, Direction},
};
use crate::fault::Fault;
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use drywire::time::Instant;
use std::collections::VecDeque;

/// Connections that wait to be accepted; one more is not answered.
const BACKLOG: usize = 1024;
/// How often an unanswered attempt is tried again, at growing intervals.
const TRIES: u32 = 6;

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
        if !self.is_up(host) {
            return Err(NetworkError::Closed);
        }
        if self.is_exhausted(host) {
            return Err(NetworkError::OutOfDescriptors);
        }
        let ip = address.ip();
        let own = ip.is_unspecified() || ip.is_loopback() || self.addresses(host).contains(&ip);
        if !own {
            return Err(NetworkError::AddressNotAvailable);
        }
        let port = match address.port() {
            0 => self.free_port(host).ok_or(NetworkError::AddressInUse)?,
            port => port,
        };
        let address = SocketAddr::new(ip, port);
        if self.listening.contains_key(&(host, address)) {
            return Err(NetworkError::AddressInUse);
        }
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
        let Some(gone) = self.listeners.remove(&listener) else {
            return;
        };
        self.listening.remove(&(gone.host, gone.address));
        for end in gone.backlog {
            self.close(now, end);
            self.fail(end.other(), NetworkError::Reset);
        }
    }

    /// Accepts one connection, if one waits; with the peer's address.
    ///
    /// # Errors
    /// [`NetworkError::OutOfDescriptors`]; the connection goes on waiting.
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
            // Somebody waits: the listener is ready again when there are descriptors.
            return Err(NetworkError::OutOfDescriptors);
        }
        let next = self.listeners.get_mut(&listener);
        let Some(end) = next.and_then(|listener| listener.backlog.pop_front()) else {
            return Ok(None);
        };
        let remote = self.endpoint_addresses(end).map(|(_, remote)| remote);
        Ok(remote.map(|remote| (end, remote)))
    }

    /// Begins to connect. [`Signal::Connected`] follows, once.
    pub fn connect(&mut self, now: Instant, host: HostId, remote: SocketAddr) -> ConnectId {
        self.now = self.now.max(now);
        let attempt = ConnectId(self.next_number());
        if self.is_exhausted(host) {
            let failed = Happening::Connected(attempt, Err(NetworkError::OutOfDescriptors));
            self.enter(Duration::ZERO, failed);
        }
        let local = self.source(host, remote);
        self.attempts.insert(
            attempt,
            Attempt {
                host,
                local,
                remote,
            },
        );
        let Some(target) = self.owner(host, remote.ip()) else {
            let latency = self.link.latency;
            let failed = Happening::Connected(attempt, Err(NetworkError::Unreachable));
            self.enter(latency, failed);
            return attempt;
        };
        let link = self.link(host, target);
        let mut travel = link.travel(&mut self.chance).0;
        if self.chance.happens(link.refusals) {
            self.faults.count(Fault::RefusedConnect);
            let failed = Happening::Connected(attempt, Err(NetworkError::Refused));
            self.enter(travel * 2, failed);
            return attempt;
        }
        if self.chance.happens(link.black_holes) {
            self.faults.count(Fault::BlackHole);
            let failed = Happening::Connected(attempt, Err(NetworkError::TimedOut));
            self.enter(Duration::from_secs(127), failed);
            return attempt;
        }
        if self.chance.happens(link.late_connects) {
            self.faults.count(Fault::LateConnect);
            travel += self.chance.time(Duration::from_secs(20));
        }
        self.enter(travel, Happening::Syn(attempt, 0));
        attempt
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
        let Some(Attempt {
            host,
            remote,
            local,
        }) = self.attempts.get(&attempt)
        else {
            return;
        };
        let (host, local, remote) = (*host, *local, *remote);
        let Some(target) = self.owner(host, remote.ip()) else {
            return;
        };
        let listener = self.listener_at(target, remote);
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
        let there = self.link(host, target);
        let back = self.link(target, host);
        let returns = back.travel(&mut self.chance).0;
        let Some(listener) = listener else {
            self.enter(
                returns,
                Happening::Connected(attempt, Err(NetworkError::Refused)),
            );
            return;
        };
        let accepted = returns + there.travel(&mut self.chance).0;
        self.generation = self.generation.wrapping_add(1);
        let state = |host, address| EndState {
            host,
            address,
            open: true,
            error: None,
        };
        // What the dialer writes cannot overtake its own acknowledgement, nor the listener's the acceptance.
        let mut pipe = Pipe {
            generation: self.generation,
            ends: [state(host, local), state(target, remote)],
            directions: [
                Direction::new(there, self.now + accepted),
                Direction::new(back, self.now + returns),
            ],
        };
        let planned = |cut: &PlannedCut| cut.dialer == host && cut.listener == target;
        for cut in self.planned_cuts.extract_if(.., |cut| planned(cut)) {
            let [first, second] = &mut pipe.directions;
            let direction = if cut.by_listener { second } else { first };
            direction.cut = Some((cut.at, cut.cut));
        }
        let end = End {
            pipe: self.pipes.insert(pipe) as u32,
            generation: self.generation,
            side: 0,
        };
        self.enter(returns, Happening::Connected(attempt, Ok(end)));
        self.enter(accepted, Happening::Accept(listener, end.other()));
    }

    /// The answer has reached the dialer.
    pub(super) fn connected(&mut self, attempt: ConnectId, result: Result<End, NetworkError>) {
        match (self.attempts.remove(&attempt), result) {
            (Some(attempt_of), result) => {
                self.signal(attempt_of.host, Signal::Connected(attempt, result));
            }
            (None, Ok(end)) => {
                // Given up in the meantime: the listener never hears of it.
                self.pipes.remove(end.pipe as usize);
            }
            (None, Err(_)) => {}
        }
    }

    /// The dialer's last word has reached the listener.
    pub(super) fn accepted(&mut self, listener: ListenerId, end: End) {
        if self.pipe(end).is_none() {
            return;
        }
        match self.listeners.get_mut(&listener) {
            Some(found) => {
                found.backlog.push_back(end);
                let host = found.host;
                self.signal(host, Signal::Acceptable(listener));
            }
            None => {
                self.close(self.now, end);
                self.fail(end.other(), NetworkError::Reset);
            }
        }
    }

    fn listener_at(&self, host: HostId, address: SocketAddr) -> Option<ListenerId> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let exact = self.listening.get(&(host, address));
        let any = || {
            self.listening
                .get(&(host, SocketAddr::new(any, address.port())))
        };
        exact.or_else(any).copied()
    }

    /// Who has an address, as seen from a host.
    pub(super) fn owner(&self, from: HostId, address: IpAddr) -> Option<HostId> {
        if address.is_loopback() {
            return Some(from);
        }
        self.by_address.get(&address).copied()
    }

    /// The address and port from which a host reaches another.
    fn source(&mut self, host: HostId, remote: SocketAddr) -> SocketAddr {
        let port = self.free_port(host).unwrap_or(u16::MAX);
        let same = |ip: &&IpAddr| ip.is_ipv4() == remote.is_ipv4();
        let own = self.addresses(host).iter().find(same).copied();
        let ip = match own {
            Some(ip) if !remote.ip().is_loopback() => ip,
            _ => remote.ip(),
        };
        SocketAddr::new(ip, port)
    }

    pub(super) fn free_port(&mut self, host: HostId) -> Option<u16> {
        let host = self.hosts.get_mut(host.number())?;
        host.next_port = host.next_port.checked_add(1).unwrap_or(49_152);
        Some(host.next_port)
    }
}
