//! Hosts with addresses, pipes and datagrams between them: a machine like all others.
//!
//! A [`Network`] is told the time and what hosts do with their sockets; it keeps what is on its way, and gives
//! [`Signal`]s: which host is to look at which of its sockets. It plays the part of operating systems and everything
//! between them, and knows nothing of what the bytes mean.
//!
//! Pipes behave as TCP does: ordered and reliable while both sides live, with a bounded number of bytes between writer
//! and reader; closing with unread bytes resets the peer; bytes for a pipe that its host has forgotten are answered by a
//! reset; bytes for a host that is gone are sent again until the pipe times out, and nobody tells.

mod connect;
mod datagram;
mod error;
mod link;
mod partition;
mod pipe;
mod transfer;

pub use connect::{ConnectId, ListenerId};
pub use datagram::SocketId;
pub use error::NetworkError;
pub use link::{Link, Pieces, Region};
pub use partition::{Partition, PartitionId};
pub use pipe::Cut;
pub use transfer::Read;

use crate::{
    agenda::Agenda,
    chance::Chance,
    error::WorldError,
    fault::{Fault, FaultCounts},
};
use connect::{Attempt, Listener, PlannedCut};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use datagram::Socket;
use drywire::{seed::Seed, time::Instant};
use pipe::Direction;
use slab::Slab;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The shortest time after which a lost piece is sent again.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);
/// The longest: shorter than in the real world, so that what has healed shows soon.
const RETRANSMIT_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Ports that hosts choose themselves begin here.
const FIRST_PORT: u16 = 49_152;

/// Names a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

impl HostId {
    /// Its number: the first host is 0.
    #[must_use]
    pub const fn number(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// Names one end of a pipe. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    pipe: u32,
    /// Of the place in the slab.
    generation: u32,
    /// 0 dialed, 1 listened.
    side: u8,
}

impl End {
    const fn other(self) -> Self {
        Self {
            side: 1 - self.side,
            ..self
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == 0 { "dialer" } else { "listener" };
        write!(f, "pipe {}.{} {side}", self.pipe, self.generation)
    }
}

/// Something a host is to look at. A signal may come without need, or for a socket the host has dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// There may be something to read: bytes, the end, or an error.
    Readable(End),
    /// There may be room to write, or an error.
    Writable(End),
    /// An attempt to connect is over. A pipe may be written to at once, and something may have arrived on it already.
    Connected(ConnectId, Result<End, NetworkError>),
    /// A listener may have something to accept.
    Acceptable(ListenerId),
    /// A datagram socket may have something to receive.
    Datagram(SocketId),
}

#[derive(Debug)]
enum Happening {
    /// The first segment in flight, written by this end, arrives.
    Arrival(End),
    /// A reset reaches this end.
    Reset {
        end: End,
        sent: Instant,
    },
    /// This end may try to write again.
    Room(End),
    /// What this end wrote was never answered.
    GiveUp(End),
    /// A request to connect arrives, after so many in vain.
    Syn(ConnectId, u32),
    /// The listener's answer arrives, after so many in vain.
    Answered(ConnectId, End, u32),
    /// The dialer's last word arrives at the listener, after so many in vain.
    Accept(ListenerId, End, u32),
    Connected(ConnectId, Result<End, NetworkError>),
    /// There are descriptors again.
    Descriptors(HostId),
    Datagram(Box<datagram::Flight>),
}

#[derive(Debug)]
struct Host {
    addresses: Vec<IpAddr>,
    region: Option<Region>,
    /// The process runs.
    up: bool,
    /// The machine is there: it answers for sockets that are gone.
    there: bool,
    next_port: u16,
    /// Until when there are no file descriptors.
    exhausted: Option<Instant>,
}

/// From one host to another.
#[derive(Debug, Default)]
struct Way {
    /// Looked up once.
    link: Option<Arc<Link>>,
    /// Attempts to connect so far.
    attempts: u64,
    datagrams: Option<Chance>,
    /// The last datagram was lost.
    in_burst: bool,
}

#[derive(Debug)]
struct Pipe {
    generation: u32,
    ends: [EndState; 2],
    /// Written by the end of the same index.
    directions: [Direction; 2],
}

#[derive(Debug)]
struct EndState {
    host: HostId,
    address: SocketAddr,
    open: bool,
    /// Its host knows of no such pipe: whatever comes is answered by a reset.
    forgotten: bool,
    error: Option<NetworkError>,
}

impl EndState {
    /// Whether it is open and well.
    fn check(&self) -> Result<(), NetworkError> {
        match self.error {
            _ if !self.open => Err(NetworkError::Closed),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Pipe {
    /// An end's state with the directions it writes and reads.
    const fn parts(&mut self, side: u8) -> (&mut EndState, &mut Direction, &mut Direction) {
        let [first, second] = &mut self.directions;
        let [dialer, listener] = &mut self.ends;
        if side == 0 {
            (dialer, first, second)
        } else {
            (listener, second, first)
        }
    }
}

/// Hosts, and everything between them. See the [module](self).
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    by_address: BTreeMap<IpAddr, HostId>,
    pipes: Slab<Pipe>,
    generation: u32,
    listeners: BTreeMap<ListenerId, Listener>,
    listening: BTreeMap<(HostId, SocketAddr), ListenerId>,
    attempts: BTreeMap<ConnectId, Attempt>,
    sockets: BTreeMap<SocketId, Socket>,
    bound: BTreeMap<(HostId, SocketAddr), SocketId>,
    numbers: u64,
    planned_cuts: Vec<PlannedCut>,
    partitions: BTreeMap<PartitionId, Partition>,
    /// For whoever no other link is set.
    link: Arc<Link>,
    links: BTreeMap<(HostId, HostId), Arc<Link>>,
    ways: BTreeMap<(HostId, HostId), Way>,
    seed: Seed,
    agenda: Agenda<Happening>,
    signals: VecDeque<(HostId, Signal)>,
    faults: FaultCounts,
    /// A pipe on which nothing gets through for so long is given up.
    pipe_timeout: Duration,
    bytes: u64,
    now: Instant,
}

impl Network {
    /// No hosts yet. Without any other word links are [`Link::default()`].
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self {
            hosts: Vec::new(),
            by_address: BTreeMap::new(),
            pipes: Slab::new(),
            generation: 0,
            listeners: BTreeMap::new(),
            listening: BTreeMap::new(),
            attempts: BTreeMap::new(),
            sockets: BTreeMap::new(),
            bound: BTreeMap::new(),
            numbers: 0,
            planned_cuts: Vec::new(),
            partitions: BTreeMap::new(),
            link: Arc::default(),
            links: BTreeMap::new(),
            ways: BTreeMap::new(),
            seed: seed.clone(),
            agenda: Agenda::new(None),
            signals: VecDeque::new(),
            faults: FaultCounts::default(),
            pipe_timeout: Duration::from_secs(15 * 60),
            bytes: 0,
            now: Instant::ZERO,
        }
    }

    // Hosts

    /// A host with these addresses. With a region, its latency to other hosts that have one follows from where they are,
    /// times a factor of each way whose logarithm is normal with a deviation of 0.25.
    ///
    /// # Errors
    /// [`WorldError::DuplicateAddress`] if another host has one of the addresses.
    pub fn add_host(
        &mut self,
        addresses: Vec<IpAddr>,
        region: Option<Region>,
    ) -> Result<HostId, WorldError> {
        for address in &addresses {
            if self.by_address.contains_key(address) {
                return Err(WorldError::DuplicateAddress(*address));
            }
        }
        let host = HostId(u32::try_from(self.hosts.len()).map_err(|_| WorldError::OutOfAddresses)?);
        for address in &addresses {
            self.by_address.insert(*address, host);
        }
        self.hosts.push(Host {
            addresses,
            region,
            up: true,
            there: true,
            next_port: FIRST_PORT - 1,
            exhausted: None,
        });
        Ok(host)
    }

    /// The last host was never there: nothing but adding was done to it. Returns the addresses it had.
    pub(crate) fn take_back_host(&mut self) -> Vec<IpAddr> {
        let gone = self.hosts.pop().map(|host| host.addresses);
        let addresses = gone.unwrap_or_default();
        for address in &addresses {
            self.by_address.remove(address);
        }
        addresses
    }

    /// The addresses of a host; empty if there is none.
    #[must_use]
    pub fn addresses(&self, host: HostId) -> &[IpAddr] {
        self.hosts
            .get(host.number())
            .map_or(&[], |host| &host.addresses)
    }

    /// Whether a host has this address.
    pub(crate) fn is_address(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Whether a host's process runs.
    #[must_use]
    pub fn is_up(&self, host: HostId) -> bool {
        self.hosts.get(host.number()).is_some_and(|host| host.up)
    }

    fn is_there(&self, host: HostId) -> bool {
        self.hosts.get(host.number()).is_some_and(|host| host.there)
    }

    /// How many hosts there are, running or not.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// A host goes down and loses its sockets. If only the process died, the machine tells its peers: resets and ends
    /// arrive, and whoever connects is refused. With `silent` the machine vanishes and nobody is told.
    pub fn crash(&mut self, now: Instant, host: HostId, silent: bool) {
        self.now = self.now.max(now);
        let ends: Vec<End> = self.ends_of(host).collect();
        for end in ends {
            if silent {
                self.vanish(end);
            } else {
                self.close(now, end);
            }
        }
        self.attempts.retain(|_, attempt| attempt.host != host);
        self.listeners.retain(|_, listener| listener.host != host);
        self.listening.retain(|(of, _), _| *of != host);
        self.sockets.retain(|_, socket| socket.host != host);
        self.bound.retain(|(of, _), _| *of != host);
        self.signals.retain(|(of, _)| *of != host);
        if let Some(host) = self.hosts.get_mut(host.number()) {
            host.up = false;
            host.there &= !silent;
        }
    }

    /// A host that was down runs again, without sockets.
    pub fn restart(&mut self, host: HostId) {
        if let Some(host) = self.hosts.get_mut(host.number()) {
            (host.up, host.there) = (true, true);
            host.exhausted = None;
        }
    }

    /// A host has no file descriptors for new sockets until then. Its listeners are told when it has some again.
    pub fn exhaust_descriptors(&mut self, host: HostId, until: Instant) {
        if let Some(of) = self.hosts.get_mut(host.number()) {
            of.exhausted = Some(until);
            self.faults.count(Fault::OutOfDescriptors);
            self.agenda.enter(until, Happening::Descriptors(host));
        }
    }

    fn is_exhausted(&self, host: HostId) -> bool {
        let until = self
            .hosts
            .get(host.number())
            .and_then(|host| host.exhausted);
        until.is_some_and(|until| self.now < until)
    }

    /// The ends of pipes that a host has open.
    pub fn ends_of(&self, host: HostId) -> impl Iterator<Item = End> {
        let open = move |end: &End| {
            self.pipe(*end)
                .and_then(|pipe| pipe.ends.get(usize::from(end.side)))
                .is_some_and(|state| state.host == host && state.open)
        };
        self.pipes.iter().flat_map(ends_of_pipe).filter(open)
    }

    // Links

    /// How all ways behave for which nothing else is said, also pipes that are there. Without regions the latency is the
    /// link's; between hosts with regions it follows from those.
    ///
    /// # Errors
    /// [`WorldError::BadRate`] if a number makes no sense.
    pub fn set_default_link(&mut self, link: Link) -> Result<(), WorldError> {
        link.check()?;
        self.link = Arc::new(link);
        self.relink(|_| true);
        Ok(())
    }

    /// How the way from one host to another behaves, also for pipes that are there. The way back is not concerned.
    ///
    /// # Errors
    /// [`WorldError::BadRate`] if a number makes no sense, [`WorldError::UnknownHost`].
    pub fn set_link(&mut self, from: HostId, to: HostId, link: Link) -> Result<(), WorldError> {
        link.check()?;
        for host in [from, to] {
            if host.number() >= self.hosts.len() {
                return Err(WorldError::UnknownHost(host));
            }
        }
        self.links.insert((from, to), Arc::new(link));
        self.relink(|way| way == (from, to));
        Ok(())
    }

    /// The link from one host to another. From a host to itself, if nothing else was said: a clean one of 50 us.
    pub fn link(&mut self, from: HostId, to: HostId) -> Link {
        Link::clone(&self.way_link(from, to))
    }

    fn way_link(&mut self, from: HostId, to: HostId) -> Arc<Link> {
        if let Some(link) = self.ways.get(&(from, to)).and_then(|way| way.link.as_ref()) {
            return link.clone();
        }
        let region = |host: HostId| self.hosts.get(host.number()).and_then(|host| host.region);
        let link = match (self.links.get(&(from, to)), region(from), region(to)) {
            (Some(link), _, _) => link.clone(),
            _ if from == to => Arc::new(Link::default().latency(Duration::from_micros(50))),
            (None, Some(here), Some(there)) => {
                let mut chance = Chance::new(&self.seed, &format!("way {from} {to}"));
                let mut link = Link::clone(&self.link);
                link.latency = link::scale(here.round_trip(there) / 2, chance.log_normal(0.25));
                Arc::new(link)
            }
            _ => self.link.clone(),
        };
        self.ways.entry((from, to)).or_default().link = Some(link.clone());
        link
    }

    /// Looks the links of some ways up anew.
    fn relink(&mut self, concerned: impl Fn((HostId, HostId)) -> bool) {
        let ways = self.ways.iter_mut().filter(|(way, _)| concerned(**way));
        ways.for_each(|(_, way)| way.link = None);
        let ends: Vec<_> = self.pipes.iter().flat_map(ends_of_pipe).collect();
        for end in ends {
            let Some((from, to)) = self.way_of(end).filter(|way| concerned(*way)) else {
                continue;
            };
            let link = self.way_link(from, to);
            let Some((_, out, _)) = self.parts(end) else {
                continue;
            };
            out.link = link;
            if out.writer_waits && out.has_good_room() {
                // A larger buffer makes room without a read.
                self.enter(Duration::ZERO, Happening::Room(end));
            }
        }
    }

    /// What is drawn for the next attempt on this way.
    fn attempt_chance(&mut self, from: HostId, to: Option<HostId>) -> Chance {
        let Some(to) = to else {
            return Chance::new(&self.seed, "nowhere");
        };
        let way = self.ways.entry((from, to)).or_default();
        way.attempts += 1;
        let label = format!("attempt {from} {to} {}", way.attempts);
        Chance::new(&self.seed, &label)
    }

    /// How long a pipe lives on which nothing gets through. 15 minutes.
    pub const fn set_pipe_timeout(&mut self, timeout: Duration) {
        self.pipe_timeout = timeout;
    }

    /// Things of one instant happen in an order drawn from the seed, instead of that in which they were caused.
    pub fn permute_ties(&mut self, permute: bool) {
        let ties = permute.then(|| Chance::new(&self.seed, "ties"));
        if permute {
            self.faults.count(Fault::PermutedTies);
        }
        self.agenda.permute_ties(ties);
    }

    // Time

    /// When something happens next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.signals.is_empty() {
            return Some(self.now);
        }
        self.agenda.next()
    }

    /// Lets the next thing happen whose time has come. Returns whether there was one.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.now = self.now.max(now);
        let Some(happening) = self.agenda.pop_due(self.now) else {
            return false;
        };
        match happening {
            Happening::Arrival(end) => self.arrival(end),
            Happening::Reset { end, sent } => self.reset_arrives(end, sent),
            Happening::Room(end) => self.signal_writer(end),
            Happening::GiveUp(end) => self.give_up(end),
            Happening::Syn(attempt, tries) => self.syn(attempt, tries),
            Happening::Answered(attempt, end, tries) => self.answered(attempt, end, tries),
            Happening::Accept(listener, end, tries) => self.accepted(listener, end, tries),
            Happening::Connected(attempt, result) => self.connected(attempt, result),
            Happening::Descriptors(host) => self.descriptors(host),
            Happening::Datagram(flight) => self.datagram(*flight),
        }
        true
    }

    /// The next signal, and for whom.
    pub fn poll_signal(&mut self) -> Option<(HostId, Signal)> {
        self.signals.pop_front()
    }

    // What is

    /// The faults met so far.
    #[must_use]
    pub const fn faults(&self) -> &FaultCounts {
        &self.faults
    }

    pub(crate) const fn faults_mut(&mut self) -> &mut FaultCounts {
        &mut self.faults
    }

    /// Bytes that were written to pipes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that a host has written to pipes that are still there.
    #[must_use]
    pub fn written_by(&self, host: HostId) -> u64 {
        let pipes = self
            .pipes
            .iter()
            .flat_map(|(_, pipe)| pipe.ends.iter().zip(&pipe.directions));
        let of = pipes.filter(|(end, _)| end.host == host);
        of.map(|(_, direction)| direction.written).sum()
    }

    /// Pipes of which at least one end is open.
    #[must_use]
    pub fn pipe_count(&self) -> usize {
        self.pipes.len()
    }

    /// The host at the other end of a pipe, and whether that end is still open.
    #[must_use]
    pub fn peer_of(&self, end: End) -> Option<(HostId, bool)> {
        let pipe = self.pipe(end)?;
        let other = pipe.ends.get(usize::from(end.other().side))?;
        Some((other.host, other.open))
    }

    /// Whether both ends of a pipe are open, and nothing ever silenced it.
    #[must_use]
    pub fn is_whole(&self, end: End) -> bool {
        self.pipe(end).is_some_and(|pipe| {
            let open = pipe.ends.iter().all(|end| end.open && end.error.is_none());
            open && !pipe.directions.iter().any(|direction| direction.silenced)
        })
    }

    /// Whether a pipe is whole, and whatever is on its way arrives within a second.
    #[must_use]
    pub fn is_healthy(&self, end: End) -> bool {
        let soon = self.now + Duration::from_secs(1);
        let fluent = self.pipe(end).is_some_and(|pipe| {
            let [dialer, listener] = pipe.ends.each_ref().map(|end| end.host);
            self.passes(dialer, listener)
                && self.passes(listener, dialer)
                && pipe
                    .directions
                    .iter()
                    .all(|direction| direction.last_arrival <= soon)
        });
        fluent && self.is_whole(end)
    }

    /// The addresses of an end and of the other one.
    #[must_use]
    pub fn endpoint_addresses(&self, end: End) -> Option<(SocketAddr, SocketAddr)> {
        let pipe = self.pipe(end)?;
        let here = pipe.ends.get(usize::from(end.side))?;
        let there = pipe.ends.get(usize::from(end.other().side))?;
        Some((here.address, there.address))
    }

    /// The other end of a pipe.
    #[must_use]
    pub const fn opposite(&self, end: End) -> End {
        end.other()
    }

    fn pipe(&self, end: End) -> Option<&Pipe> {
        let pipe = self.pipes.get(end.pipe as usize);
        pipe.filter(|pipe| pipe.generation == end.generation)
    }

    fn pipe_mut(&mut self, end: End) -> Option<&mut Pipe> {
        let pipe = self.pipes.get_mut(end.pipe as usize);
        pipe.filter(|pipe| pipe.generation == end.generation)
    }

    /// From whom and to whom an end writes.
    fn way_of(&self, end: End) -> Option<(HostId, HostId)> {
        self.pipe(end).map(|pipe| {
            let [dialer, listener] = pipe.ends.each_ref().map(|state| state.host);
            match end.side {
                0 => (dialer, listener),
                _ => (listener, dialer),
            }
        })
    }

    fn parts(&mut self, end: End) -> Option<(&mut EndState, &mut Direction, &mut Direction)> {
        self.pipe_mut(end).map(|pipe| pipe.parts(end.side))
    }

    fn pipe_and_faults(&mut self, end: End) -> Option<(&mut Pipe, &mut FaultCounts)> {
        let pipe = self.pipes.get_mut(end.pipe as usize);
        let pipe = pipe.filter(|pipe| pipe.generation == end.generation)?;
        Some((pipe, &mut self.faults))
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn enter(&mut self, after: Duration, happening: Happening) {
        self.agenda.enter(self.now + after, happening);
    }

    fn signal(&mut self, host: HostId, signal: Signal) {
        if self.is_up(host) {
            self.signals.push_back((host, signal));
        }
    }
}

fn ends_of_pipe((index, pipe): (usize, &Pipe)) -> [End; 2] {
    [0, 1].map(|side| End {
        pipe: index as u32,
        generation: pipe.generation,
        side,
    })
}

#[cfg(test)]
mod tests;
