//! Laws of the network, seen by hosts that act on signals alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::iter_over_hash_type
)]

mod chaos;
mod connecting;
mod datagrams;
mod failures;
mod pipes;
mod seeds;

use super::*;
use bytes::{Bytes, BytesMut};

/// Far more than any test needs: a run that goes on for longer hangs.
const MOST_STEPS: usize = 2_000_000;

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Bytes of which no two neighbourhoods are alike.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// A link with delays and cuts into pieces of every kind, on which nothing gets lost.
pub(super) fn any_lossless_link(chance: &mut Chance) -> Link {
    Link {
        latency: chance.time(ms(200)),
        jitter: *chance.pick(&[0.0, 0.1, 1.0]).unwrap(),
        spikes: *chance.pick(&[0.0, 0.1]).unwrap(),
        bandwidth: *chance.pick(&[None, Some(1_000), Some(1_000_000)]).unwrap(),
        buffer: *chance.pick(&[1, 2, 3, 5, 100, 5_000, 256 * 1024]).unwrap(),
        pieces: *chance
            .pick(&[
                Pieces::Whole,
                Pieces::Biased,
                Pieces::AtMost(1),
                Pieces::AtMost(700),
            ])
            .unwrap(),
        partial_writes: *chance.pick(&[0.0, 0.25, 0.9]).unwrap(),
        stalls: *chance.pick(&[0.0, 0.01]).unwrap(),
        loss: *chance.pick(&[0.0, 0.01, 0.3]).unwrap(),
        loss_burst: *chance.pick(&[1.0, 4.0]).unwrap(),
        late_connects: *chance.pick(&[0.0, 0.5]).unwrap(),
        ..Link::default()
    }
}

/// What a host does with a pipe.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) data: Vec<u8>,
    /// The most bytes of one write, and of one read.
    pub(super) write: usize,
    pub(super) read: usize,
    /// Finishes writing when all is written.
    pub(super) finish: bool,
    /// Reads nothing.
    pub(super) deaf: bool,
    /// Closes the pipe when both directions have ended.
    pub(super) close: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            write: usize::MAX,
            read: usize::MAX,
            finish: true,
            deaf: false,
            close: true,
        }
    }
}

impl Plan {
    pub(super) fn sends(len: usize) -> Self {
        Self {
            data: pattern(len),
            ..Self::default()
        }
    }
}

/// A host's side of a pipe.
#[derive(Debug, Default)]
pub(super) struct User {
    pub(super) plan: Plan,
    pub(super) written: usize,
    pub(super) received: Vec<u8>,
    pub(super) finished: bool,
    /// How reading ended.
    pub(super) end: Option<Result<(), NetworkError>>,
    pub(super) write_error: Option<NetworkError>,
    pub(super) closed: bool,
}

impl User {
    fn done(&self) -> bool {
        let written = self.finished || self.write_error.is_some();
        (written && self.end.is_some()) || matches!(self.end, Some(Err(_)))
    }
}

/// A network and hosts that act on its signals alone.
pub(super) struct Stage {
    pub(super) net: Network,
    pub(super) now: Instant,
    pub(super) users: BTreeMap<End, User>,
    /// For whoever dials, and whoever listens.
    pub(super) plans: [Plan; 2],
    pub(super) attempts: BTreeMap<ConnectId, Option<Result<End, NetworkError>>>,
    pub(super) accepted: Vec<(End, SocketAddr)>,
    pub(super) received: Vec<(Instant, HostId, SocketAddr, Bytes)>,
    pub(super) log: Vec<(Instant, HostId, Signal)>,
}

impl Stage {
    /// Hosts 10.0.0.1 and so on.
    pub(super) fn new(seed: u64, hosts: u8, link: Link) -> Self {
        let mut net = Network::new(&Seed::for_tests(seed));
        net.set_default_link(link).unwrap();
        for host in 1..=hosts {
            net.add_host(vec![IpAddr::from([10, 0, 0, host])], None)
                .unwrap();
        }
        Self {
            net,
            now: Instant::ZERO,
            users: BTreeMap::new(),
            plans: [Plan::default(), Plan::default()],
            attempts: BTreeMap::new(),
            accepted: Vec::new(),
            received: Vec::new(),
            log: Vec::new(),
        }
    }

    pub(super) fn listen(&mut self, host: u32) -> ListenerId {
        let ip = self.net.addresses(HostId(host))[0];
        let at = SocketAddr::new(ip, 4001);
        self.net.listen(HostId(host), at).unwrap().0
    }

    pub(super) fn dial(&mut self, from: u32, to: u32) -> ConnectId {
        let ip = self.net.addresses(HostId(to))[0];
        self.dial_to(from, SocketAddr::new(ip, 4001))
    }

    pub(super) fn dial_to(&mut self, from: u32, to: SocketAddr) -> ConnectId {
        let attempt = self.net.connect(self.now, HostId(from), to);
        self.attempts.insert(attempt, None);
        attempt
    }

    /// Two hosts and a pipe between them, the dialer's end first. What the plans say has not begun.
    pub(super) fn pipe(seed: u64, link: Link, plans: [Plan; 2]) -> (Self, [End; 2]) {
        let mut stage = Self::new(seed, 2, link);
        stage.plans = plans;
        stage.listen(1);
        stage.dial(0, 1);
        stage.run_until(|stage| !stage.accepted.is_empty() && stage.users.len() == 2);
        let end = stage.accepted[0].0;
        (stage, [end.other(), end])
    }

    /// Lets one thing happen. Returns whether there was one.
    pub(super) fn step(&mut self) -> bool {
        if let Some((host, signal)) = self.net.poll_signal() {
            self.log.push((self.now, host, signal));
            self.act(host, signal);
            return true;
        }
        let Some(at) = self.net.poll_timeout() else {
            return false;
        };
        self.now = self.now.max(at);
        assert!(self.net.handle_timeout(self.now));
        true
    }

    /// Until nothing is left to happen.
    pub(super) fn run(&mut self) {
        self.run_until(|_| false);
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|stage| stage.net.poll_timeout().is_none_or(|at| at > end));
        self.now = end;
    }

    pub(super) fn run_until(&mut self, stop: impl Fn(&Self) -> bool) {
        for _ in 0..MOST_STEPS {
            if stop(self) || !self.step() {
                return;
            }
        }
        panic!("no end: {:?}", self.log.last());
    }

    fn act(&mut self, host: HostId, signal: Signal) {
        match signal {
            Signal::Readable(end) => self.read(end),
            Signal::Writable(end) => self.write(end),
            Signal::Connected(attempt, result) => {
                let known = self.attempts.insert(attempt, Some(result));
                assert_eq!(known, Some(None), "told once, and only if not given up");
                if let Ok(end) = result {
                    self.begin(end);
                }
            }
            Signal::Acceptable(listener) => {
                while let Ok(Some((end, remote))) = self.net.accept(self.now, listener) {
                    self.accepted.push((end, remote));
                    self.begin(end);
                }
            }
            Signal::Datagram(socket) => {
                while let Ok(Some((from, bytes))) = self.net.receive_from(socket) {
                    self.received.push((self.now, host, from, bytes));
                }
            }
        }
    }

    fn begin(&mut self, end: End) {
        let user = User {
            plan: self.plans[usize::from(end.side)].clone(),
            ..User::default()
        };
        assert!(self.users.insert(end, user).is_none());
        self.write(end);
        self.read(end);
    }

    pub(super) fn write(&mut self, end: End) {
        let Some(user) = self.users.get_mut(&end).filter(|user| !user.closed) else {
            return;
        };
        while user.write_error.is_none() && user.written < user.plan.data.len() {
            let rest = &user.plan.data[user.written..];
            let piece = &rest[..rest.len().min(user.plan.write)];
            match self.net.write(self.now, end, piece) {
                Ok(taken) => {
                    user.written += taken;
                    if taken < piece.len() {
                        return;
                    }
                }
                Err(error) => user.write_error = Some(error),
            }
        }
        if user.plan.finish && !user.finished && user.write_error.is_none() {
            user.finished = true;
            user.write_error = self.net.shutdown(self.now, end).err();
        }
        self.close_if_done(end);
    }

    pub(super) fn read(&mut self, end: End) {
        let Some(user) = self.users.get_mut(&end).filter(|user| !user.closed) else {
            return;
        };
        if user.plan.deaf {
            return;
        }
        while user.end.is_none() {
            let mut buffer = BytesMut::new();
            match self.net.read(self.now, end, user.plan.read, &mut buffer) {
                Ok(Read::Bytes(count)) => {
                    assert!(count > 0 && count == buffer.len() && count <= user.plan.read);
                    user.received.extend_from_slice(&buffer);
                }
                Ok(Read::End) => user.end = Some(Ok(())),
                Ok(Read::Blocked) => return,
                Err(error) => user.end = Some(Err(error)),
            }
        }
        self.close_if_done(end);
    }

    fn close_if_done(&mut self, end: End) {
        let user = &self.users[&end];
        if user.plan.close && user.done() {
            self.close(end);
        }
    }

    pub(super) fn close(&mut self, end: End) {
        if let Some(user) = self.users.get_mut(&end) {
            user.closed = true;
            self.net.close(self.now, end);
        }
    }

    /// Pipes are gone, and nothing is remembered of them.
    pub(super) fn assert_forgotten(&self) {
        let net = &self.net;
        assert_eq!(net.pipe_count(), 0);
        assert_eq!(net.poll_timeout(), None);
        assert_eq!(net.agenda.len(), 0);
        assert!(net.attempts.is_empty() && net.signals.is_empty());
    }

    /// Of each pipe: what came is the beginning of what was written.
    pub(super) fn assert_prefixes(&self) {
        for (end, user) in &self.users {
            let data = self.users.get(&end.other()).map(|user| &user.plan.data);
            let data = data.map_or(&[][..], |data| data);
            assert!(data.starts_with(&user.received), "{end:?}");
        }
    }
}
