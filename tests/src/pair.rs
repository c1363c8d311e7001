//! Two connections over a byte pipe, in virtual time.
//!
//! The pipe delays, cuts what it carries into pieces of any size, stalls, and can end at any byte: with a FIN one way, a
//! reset both ways, or silence. The pair runs like a careful host: it drains every poll, then sleeps until the next
//! delivery or deadline. It stops after a bounded number of turns.

use bytes::{Bytes, BytesMut};
use drywire::{
    connection::{
        Accept, Config, ConnectedPoint, Connection, ConnectionId, ConnectionStart, Event,
        InboundEntry, InboundTable, OpenOptions, ReadError, Security, StreamId, StreamKind,
        StreamOwner, ToConnection, WriteError,
    },
    crypto::Provider,
    identity::Keypair,
    multistream::ProtocolName,
    recording::SharedRecorder,
    resource::Lease,
    security::{noise, plaintext},
    seed::Seed,
    time::{Instant, earliest},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// How a pair is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// `/noise`.
    Noise,
    /// `/plaintext/2.0.0`.
    Plaintext,
}

impl Secure {
    /// The keys that follow from a seed.
    ///
    /// # Panics
    ///
    /// If the crypto backend does not work.
    pub fn security(self, seed: &Seed) -> Security {
        let keypair = Keypair::ed25519_from_seed(&seed.derive("identity"));
        match self {
            Self::Noise => Security::Noise(
                noise::Local::new(Provider::ring(), &keypair, &seed.derive("noise"))
                    .expect("ring works"),
            ),
            Self::Plaintext => {
                Security::InsecurePlaintext(plaintext::Local::new(&keypair.public()))
            }
        }
    }
}

/// How one direction of the pipe ends after a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The receiver sees the end of the stream; the other direction goes on.
    Fin,
    /// Both sides lose the pipe.
    Reset,
    /// Nothing more arrives, and nobody is told.
    Stall,
}

/// How machines are told the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Told {
    /// With each call.
    #[default]
    Plainly,
    /// With a timeout that is not due before each call, too.
    Twice,
    /// As before, and the call itself tells a time long past.
    Backwards,
}

/// One direction of the pipe.
#[derive(Debug, Default)]
struct Direction {
    /// What arrives when.
    in_flight: VecDeque<(Instant, Bytes)>,
    carried: usize,
    cut: Option<(usize, Cut)>,
    fin_at: Option<Instant>,
    fin_delivered: bool,
    stalled: bool,
}

/// One end.
#[derive(Debug)]
pub struct Side {
    /// The connection.
    pub connection: Connection,
    /// Everything it told, in order, with the time.
    pub events: Vec<(Instant, Event)>,
    /// Whether admission is granted as soon as it is asked for.
    pub admits: bool,
    /// What a request for more than the lease is answered with; `None` leaves it unanswered.
    pub lends: Option<Lease>,
    table: Arc<InboundTable>,
    lease: Lease,
    /// Whether messages are carried to the swarm.
    pub carries: bool,
    /// Messages carried to the swarm.
    pub carried: usize,
    /// How many non-empty transmissions it made.
    pub sends: usize,
    /// How many bytes it sent.
    pub bytes_sent: usize,
    /// Everything it sent, for comparing runs.
    pub wire: Vec<u8>,
    /// What the connections of its node share.
    pub shared: Security,
}

/// Two connections and the pipe between them. Index 0 dialed, index 1 listened.
#[derive(Debug)]
pub struct Pair {
    /// The two ends.
    pub sides: [Side; 2],
    directions: [Direction; 2],
    /// Virtual time.
    pub now: Instant,
    /// One way.
    pub delay: Duration,
    /// The sizes of the pieces in which bytes are delivered, used in turn; empty: all at once.
    pub pieces: Vec<usize>,
    next_piece: usize,
    turns_at_once: u32,
    /// How much each transmission may append.
    pub limit: usize,
    /// How connections are told the time.
    pub told: Told,
}

/// How to make a [`Pair`].
#[derive(Clone, Debug)]
pub struct Setup {
    /// Security.
    pub secure: Secure,
    /// Of both connections.
    pub config: Config,
    /// Everything random follows from it.
    pub seed: u64,
    /// Names the listener and the dialer accept.
    pub names: Vec<(&'static str, StreamKind)>,
    /// Who owns their streams: the host, or a protocol that is told of them by messages nobody answers.
    pub owner: StreamOwner,
    /// What each connection is leased.
    pub lease: Lease,
    /// One way.
    pub delay: Duration,
    /// See [`Pair::pieces`].
    pub pieces: Vec<usize>,
    /// Records both connections.
    pub recorder: Option<SharedRecorder>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            secure: Secure::Noise,
            config: Config::default(),
            seed: 1,
            names: vec![
                ("/raw", StreamKind::Raw),
                ("/framed", StreamKind::Framed { max_len: 1 << 20 }),
                ("/to-end", StreamKind::ToEnd { max_len: 1 << 20 }),
            ],
            owner: StreamOwner::Host,
            lease: Lease::new(1 << 20, 256),
            delay: Duration::from_millis(10),
            pieces: vec![],
            recorder: None,
        }
    }
}

impl Setup {
    /// Makes one side: 0 dials, 1 listens.
    ///
    /// # Panics
    ///
    /// If the crypto backend does not work.
    pub fn side(&self, index: u64) -> Side {
        let (start, shared) = self.start(index);
        self.side_of(start.start(Instant::ZERO), shared)
    }

    /// A side made of a connection of this setup.
    pub fn side_of(&self, connection: Connection, shared: Security) -> Side {
        let entries = self.names.iter().map(|(name, kind)| InboundEntry {
            name: ProtocolName::from_static(name),
            accept: Accept::new(*kind).max_streams(u32::MAX).host_owned(),
            owner: self.owner,
        });
        Side {
            connection,
            events: vec![],
            admits: true,
            lends: None,
            table: Arc::new(InboundTable::new(1, entries.collect())),
            lease: self.lease,
            carries: true,
            carried: 0,
            sends: 0,
            bytes_sent: 0,
            wire: vec![],
            shared,
        }
    }

    /// A connection about to start: 0 dials, 1 listens. And the keys it shares with others of its node.
    ///
    /// # Panics
    ///
    /// If the crypto backend does not work.
    pub fn start(&self, index: u64) -> (ConnectionStart, Security) {
        let seed =
            Seed::for_tests(self.seed).derive(if index == 0 { "dialer" } else { "listener" });
        let security = self.secure.security(&seed);
        let remote = "/memory/1".parse().expect("valid");
        let point = if index == 0 {
            ConnectedPoint::dialed(remote, None)
        } else {
            ConnectedPoint::accepted(remote, None)
        };
        let start = ConnectionStart::new(
            ConnectionId::new(index),
            point,
            Arc::new(self.config.clone()),
            security.clone(),
            seed.derive("connection"),
        );
        let start = match &self.recorder {
            Some(recorder) => start.recorded_by(recorder.clone()),
            None => start,
        };
        (start, security)
    }

    /// Makes the pair; nothing has been sent yet.
    pub fn pair(&self) -> Pair {
        Pair {
            sides: [self.side(0), self.side(1)],
            directions: Default::default(),
            now: Instant::ZERO,
            delay: self.delay,
            pieces: self.pieces.clone(),
            next_piece: 0,
            turns_at_once: 0,
            limit: 256 * 1024,
            told: Told::Plainly,
        }
    }

    /// Makes the pair and runs it until both ends are established.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    pub fn established(&self) -> Pair {
        let mut pair = self.pair();
        let up = pair.run_until(|pair| pair.sides.iter().all(|side| side.connection.is_open()));
        assert!(
            up,
            "not established: {:?}",
            pair.sides.each_ref().map(|side| side.connection.error())
        );
        pair
    }
}

impl Direction {
    /// Bytes that have arrived.
    fn due(&self, now: Instant) -> usize {
        let due = self.in_flight.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, bytes)| bytes.len()).sum()
    }

    /// Moves the first `count` bytes to the end of `buffer`.
    fn take(&mut self, mut count: usize, buffer: &mut BytesMut) {
        while count > 0
            && let Some((_, bytes)) = self.in_flight.front_mut()
        {
            let piece = bytes.split_to(count.min(bytes.len()));
            count -= piece.len();
            buffer.extend_from_slice(&piece);
            if bytes.is_empty() {
                self.in_flight.pop_front();
            }
        }
    }
}

impl Side {
    /// Takes what the connection has to tell, and admits its peer; false if there was nothing.
    pub fn drain(&mut self, now: Instant) -> bool {
        let mut progress = false;
        while self.carries
            && let Some(message) = self.connection.poll_message()
        {
            progress = true;
            self.carried += 1;
            if message.secured_peer().is_some() && self.admits {
                let admit = ToConnection::admit(self.table.clone(), self.lease);
                self.connection.handle_message(now, admit);
            }
            if let (Some(_), Some(granted)) = (message.requested_lease(), self.lends) {
                let answer = ToConnection::lease(granted);
                self.connection.handle_message(now, answer);
            }
        }
        while let Some(event) = self.connection.poll_event() {
            progress = true;
            self.events.push((now, event));
        }
        progress
    }
}

impl Pair {
    /// Ends the direction from side `from` after it has carried `bytes` bytes.
    pub fn cut(&mut self, from: usize, bytes: usize, cut: Cut) {
        self.directions[from].cut = Some((bytes, cut));
    }

    /// Holds back what side `from` sends, or lets it go again.
    pub fn stall(&mut self, from: usize, stalled: bool) {
        self.directions[from].stalled = stalled;
    }

    /// What arrived is processed, `application` acts, and what is to be sent is sent. False if nothing happened.
    fn turn(&mut self, application: &mut impl FnMut(&mut Self) -> bool) -> (bool, bool) {
        let mut progress = false;
        for index in [0, 1] {
            progress |= self.deliver(index);
            progress |= self.drain(index);
        }
        if application(self) {
            return (progress, true);
        }
        for index in [0, 1] {
            progress |= self.transmit(index);
            progress |= self.drain(index);
        }
        (progress, false)
    }

    /// One turn of both hosts, without the passing of time; false if nothing happened.
    pub fn turn_once(&mut self) -> bool {
        self.turn(&mut |_| false).0
    }

    /// Runs until `done`, which may act as the application, jumping over idle time; false if the pair went quiet first.
    ///
    /// # Panics
    ///
    /// If it does not become quiet within 200,000 turns.
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..200_000 {
            match self.turn(&mut done) {
                (_, true) => return true,
                (false, false) if !self.sleep(Instant::FAR_FUTURE) => return false,
                _ => {}
            }
        }
        panic!("the pair never becomes quiet");
    }

    /// Runs for `time`.
    ///
    /// # Panics
    ///
    /// If it does not become quiet within 200,000 turns.
    pub fn settle_for(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..200_000 {
            if !self.turn(&mut |_| false).0 && !self.sleep(end) {
                self.now = self.now.max(end);
                for index in [0, 1] {
                    self.clock(index);
                }
                return;
            }
        }
        panic!("the pair never becomes quiet");
    }

    /// Jumps to the next delivery or deadline not after `end`; false if there is none.
    fn sleep(&mut self, end: Instant) -> bool {
        let mut next = None;
        for index in [0, 1] {
            let direction = &self.directions[1 - index];
            let connection = &mut self.sides[index].connection;
            if !direction.stalled {
                // Bytes that the connection will not take now are nothing to wait for; nor is the end behind them.
                let bytes = direction.in_flight.front().map(|(at, _)| *at);
                let bytes = bytes.filter(|at| *at > self.now || connection.recv_buf().is_some());
                let fin = direction
                    .fin_at
                    .filter(|_| !direction.fin_delivered && direction.in_flight.is_empty());
                next = earliest(next, earliest(bytes, fin));
            }
            next = earliest(next, connection.poll_timeout());
        }
        let Some(next) = next.filter(|next| *next <= end) else {
            return false;
        };
        if next <= self.now {
            self.turns_at_once += 1;
            assert!(
                self.turns_at_once < 100,
                "law 4: the same deadline again and again at {:?}",
                self.now
            );
        } else {
            self.turns_at_once = 0;
        }
        self.now = self.now.max(next);
        for side in &mut self.sides {
            if side
                .connection
                .poll_timeout()
                .is_some_and(|at| at <= self.now)
            {
                side.connection.handle_timeout(self.now);
            }
        }
        true
    }

    /// What time to tell side `index`.
    fn clock(&mut self, index: usize) -> Instant {
        if self.told != Told::Plainly {
            self.sides[index].connection.handle_timeout(self.now);
        }
        if self.told == Told::Backwards {
            Instant::ZERO
        } else {
            self.now
        }
    }

    fn deliver(&mut self, to: usize) -> bool {
        let now = self.clock(to);
        let direction = &mut self.directions[1 - to];
        if direction.stalled {
            return false;
        }
        let mut due = direction.due(self.now);
        let connection = &mut self.sides[to].connection;
        let mut progress = false;
        while due > 0 {
            let piece = if self.pieces.is_empty() {
                due
            } else {
                self.pieces[self.next_piece % self.pieces.len()].max(1)
            };
            let Some(buffer) = connection.recv_buf() else {
                break;
            };
            let room = buffer.capacity() - buffer.len();
            let count = piece.min(due).min(room);
            direction.take(count, buffer);
            self.next_piece = self.next_piece.wrapping_add(1);
            due -= count;
            connection.handle_recv(now);
            progress = true;
        }
        let ended =
            direction.fin_at.is_some_and(|at| at <= self.now) && direction.in_flight.is_empty();
        if ended && !direction.fin_delivered {
            direction.fin_delivered = true;
            connection.handle_eof(now);
            progress = true;
        }
        progress
    }

    fn drain(&mut self, index: usize) -> bool {
        self.sides[index].drain(self.now)
    }

    fn transmit(&mut self, index: usize) -> bool {
        let now = self.clock(index);
        let side = &mut self.sides[index];
        if side.connection.is_closed() {
            // The host drops the pipe.
            let direction = &mut self.directions[index];
            let closes =
                direction.fin_at.is_none() && !matches!(direction.cut, Some((_, Cut::Stall)));
            if closes {
                direction.fin_at = Some(self.now + self.delay);
            }
            return closes;
        }
        if !side.connection.wants_transmit() {
            return false;
        }
        let mut out = Vec::new();
        let transmit = side.connection.poll_transmit(now, &mut out, self.limit);
        side.sends += usize::from(!out.is_empty());
        side.bytes_sent += out.len();
        side.wire.extend(&out);
        assert!(
            !out.is_empty() || transmit.shutdown || !side.connection.wants_transmit(),
            "law 4: wants to transmit, transmits nothing, and wants to again"
        );
        let arrival = self.now + self.delay;
        let direction = &mut self.directions[index];
        let mut lost = false;
        let room = direction
            .cut
            .map_or(usize::MAX, |(at, _)| at.saturating_sub(direction.carried));
        let wanted = !out.is_empty();
        out.truncate(room);
        direction.carried += out.len();
        if !out.is_empty() {
            direction.in_flight.push_back((arrival, out.into()));
        }
        if let Some((at, cut)) = direction.cut
            && direction.carried >= at
        {
            match cut {
                Cut::Fin => direction.fin_at = direction.fin_at.or(Some(arrival)),
                Cut::Reset => lost = true,
                Cut::Stall => {}
            }
        }
        if transmit.shutdown {
            direction.fin_at = direction.fin_at.or(Some(arrival));
        }
        if lost {
            for side in &mut self.sides {
                side.connection
                    .handle_lost(self.now, "connection reset".into());
            }
        }
        wanted || transmit.shutdown
    }

    /// Opens a stream from side `index`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn open(&mut self, index: usize, name: &'static str, kind: StreamKind) -> StreamId {
        let name = ProtocolName::from_static(name);
        self.sides[index]
            .connection
            .open(self.now, &[name], kind, OpenOptions::default())
            .expect("may open")
    }

    /// Writes as much as there is room for.
    pub fn write(&mut self, index: usize, stream: StreamId, data: &[u8]) -> usize {
        if data.is_empty() {
            return 0;
        }
        match self.sides[index]
            .connection
            .stream(stream)
            .map(|mut stream| stream.write(data))
        {
            Some(Ok(count)) => count,
            Some(Err(WriteError::Blocked)) => 0,
            other => panic!("{other:?}"),
        }
    }

    /// Half-closes.
    ///
    /// # Panics
    ///
    /// If the stream is gone.
    pub fn finish(&mut self, index: usize, stream: StreamId) {
        self.sides[index]
            .connection
            .stream(stream)
            .expect("exists")
            .finish()
            .expect("alive");
    }

    /// Reads everything there is: the bytes, and how it stands then: `Ok(true)` at the end, `Ok(false)` before it.
    pub fn read(&mut self, index: usize, stream: StreamId) -> (Vec<u8>, Result<bool, ReadError>) {
        let mut bytes = Vec::new();
        loop {
            let Some(mut stream) = self.sides[index].connection.stream(stream) else {
                return (bytes, Ok(true));
            };
            match stream.read(usize::MAX) {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return (bytes, Ok(true)),
                Err(ReadError::Blocked) => return (bytes, Ok(false)),
                Err(error) => return (bytes, Err(error)),
            }
        }
    }

    /// The streams the peer of side `index` opened, in order.
    pub fn inbound(&self, index: usize) -> Vec<StreamId> {
        let inbound = |(_, event): &(Instant, Event)| match event {
            Event::Inbound { stream, .. } => Some(*stream),
            _ => None,
        };
        self.sides[index]
            .events
            .iter()
            .filter_map(inbound)
            .collect()
    }

    /// When side `index` told the first event for which `matches` holds.
    pub fn time_of(&self, index: usize, matches: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.sides[index]
            .events
            .iter()
            .find(|(_, event)| matches(event))
            .map(|(at, _)| *at)
    }
}
