//! Credit, window growth, round trips, and the bucket of useless work.

use super::{
    Config, INITIAL_WINDOW,
    frame::{Flags, Header, Kind},
    session::Session,
    stream::{ReceiveState, SendState, StreamState},
};
use crate::time::Instant;
use core::time::Duration;

/// After this long without a grant a grown window falls back.
const IDLE_WINDOW: Duration = Duration::from_secs(10);
/// A round-trip time older than this is measured anew while data arrives.
const REMEASURE: Duration = Duration::from_secs(10);

/// A leaky bucket of frames that served no purpose.
#[derive(Debug)]
pub(super) struct Waste {
    /// In billionths of a frame.
    level: u64,
    since: Instant,
    burst: u64,
    per_second: u64,
}

impl Waste {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            level: 0,
            since: Instant::ZERO,
            burst: u64::from(config.waste_burst).saturating_mul(1_000_000_000),
            per_second: u64::from(config.waste_per_second),
        }
    }

    /// False if the bucket overflows.
    pub(super) fn add(&mut self, now: Instant, frames: u32) -> bool {
        let elapsed = (now - self.since).as_nanos();
        let drained = u64::try_from(elapsed)
            .unwrap_or(u64::MAX)
            .saturating_mul(self.per_second);
        self.since = self.since.max(now);
        self.level = self.level.saturating_sub(drained);
        self.level = self
            .level
            .saturating_add(u64::from(frames).saturating_mul(1_000_000_000));
        self.level <= self.burst
    }
}

/// What may still come for streams this side has forgotten without any fault of the peer: it was on its way.
///
/// A peer may cut what it sends as finely as it likes, so data and credit are counted in bytes.
#[derive(Debug, Default)]
pub(super) struct Pardon {
    bytes: u64,
    frames: u64,
}

impl Pardon {
    /// The stream is about to be forgotten.
    pub(super) fn stream<X>(&mut self, stream: &StreamState<X>) {
        if stream.syn_pending {
            return;
        }
        let mut bytes = u64::from(stream.uncredited);
        // An ACK by itself, and a FIN or a reset by itself.
        let mut frames = u64::from(!stream.acknowledged);
        if stream.receive_state == ReceiveState::Open {
            bytes = bytes.saturating_add(u64::from(stream.receive_credit));
            frames = frames.saturating_add(1);
        }
        if stream.send_state == SendState::FinSent {
            // js-libp2p takes the empty frame with FIN for data that was read, and may enlarge the window.
            frames = frames.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.frames = self.frames.saturating_add(frames);
    }

    /// A stream was refused before it began.
    pub(super) fn refused(&mut self) {
        self.bytes = self.bytes.saturating_add(u64::from(INITIAL_WINDOW));
        self.frames = self.frames.saturating_add(1);
    }

    /// Whether a frame for a forgotten stream is forgiven; uses the pardon up.
    pub(super) fn covers(&mut self, header: Header) -> bool {
        let ends = header.flags.has(Flags::RST);
        let grants = header.kind == Kind::WindowUpdate;
        if header.length > 0 && !ends && (self.bytes > 0 || !grants) {
            let covered = self.bytes > 0;
            self.bytes = self.bytes.saturating_sub(u64::from(header.length));
            covered
        } else {
            let covered = self.frames > 0;
            self.frames = self.frames.saturating_sub(1);
            covered
        }
    }
}

/// Round-trip times measured with pings.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    recent: [Option<Duration>; 4],
    next: usize,
    counter: u32,
    /// The ping on its way: its value and when it left.
    pub(super) in_flight: Option<(u32, Instant)>,
    pub(super) wanted: bool,
    last: Option<Instant>,
}

impl RoundTrips {
    pub(super) fn smallest(&self) -> Option<Duration> {
        self.recent.iter().flatten().min().copied()
    }

    /// Data arrives: the window would like to know.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.in_flight.is_none() && self.last.is_none_or(|last| now - last >= REMEASURE) {
            self.wanted = true;
        }
    }

    /// The value of the ping now sent.
    pub(super) fn start(&mut self, now: Instant) -> u32 {
        self.counter = self.counter.wrapping_add(1);
        self.wanted = false;
        self.in_flight = Some((self.counter, now));
        self.counter
    }

    /// The answer with `value` arrived; the time it took, if it answers ours.
    pub(super) fn answered(&mut self, now: Instant, value: u32) -> Option<Duration> {
        let (_, sent) = self.in_flight.take_if(|(expected, _)| *expected == value)?;
        let sample = now - sent;
        self.last = Some(now);
        if let Some(place) = self.recent.get_mut(self.next) {
            *place = Some(sample);
        }
        self.next = self.next.wrapping_add(1) & 3;
        Some(sample)
    }
}

impl<X> Session<X> {
    /// `count` bytes left the stream's receive queue.
    pub(super) fn consumed(&mut self, place: usize, count: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let already = count.min(stream.credited);
        stream.credited = stream.credited.saturating_sub(already);
        stream.returnable = stream
            .returnable
            .saturating_add(count.saturating_sub(already));
        self.maybe_grant(place);
    }

    /// Returns credit for everything received although it is not read yet: for a message that is longer than the window
    /// and must be gathered. The caller bounds the length of the message.
    pub fn credit_unread(&mut self, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        let unread = u32::try_from(stream.queue.len()).unwrap_or(u32::MAX);
        let fresh = unread.saturating_sub(stream.credited);
        stream.credited = unread;
        stream.returnable = stream.returnable.saturating_add(fresh);
        self.maybe_grant(place);
    }

    fn maybe_grant(&mut self, place: usize) {
        let Some(stream) = self.streams.get(place) else {
            return;
        };
        if Self::is_receiving(stream) && stream.returnable >= stream.window / 2 {
            self.list_control(place);
        }
    }

    /// The credit for the window update that is now written; the window may grow or shrink by it.
    pub(super) fn grant(&mut self, now: Instant, place: usize) -> u32 {
        let Some(stream) = self.streams.get_mut(place) else {
            return 0;
        };
        if stream.returnable < stream.window / 2 || !Self::is_receiving(stream) {
            return 0;
        }
        self.round_trips.refresh(now);
        let round_trip = self.round_trips.smallest();
        let elapsed = now - stream.last_grant;
        let unread = u32::try_from(stream.queue.len())
            .unwrap_or(u32::MAX)
            .saturating_sub(stream.credited);
        let reader_keeps_up = unread <= stream.window / 4;
        let mut grant = stream.returnable;
        let half_within = |round_trip| half_took_less(stream.window, grant, elapsed, round_trip);
        if reader_keeps_up && round_trip.is_some_and(half_within) {
            let larger = stream
                .window
                .saturating_mul(2)
                .min(self.config.max_window)
                .max(stream.window);
            let growth = larger.saturating_sub(stream.window);
            if self.growth.saturating_add(u64::from(growth)) <= self.growth_budget {
                self.growth = self.growth.saturating_add(u64::from(growth));
                stream.window = larger;
                grant = grant.saturating_add(growth);
            } else {
                self.growth_wanted = true;
            }
        } else if stream.window > INITIAL_WINDOW
            && (elapsed >= IDLE_WINDOW || unread > stream.window / 2)
        {
            let smaller = (stream.window / 2)
                .max(INITIAL_WINDOW)
                .max(stream.window.saturating_sub(grant));
            let shrunk = stream.window.saturating_sub(smaller);
            self.growth = self.growth.saturating_sub(u64::from(shrunk));
            stream.window = smaller;
            grant = grant.saturating_sub(shrunk);
        }
        stream.returnable = 0;
        stream.last_grant = now;
        stream.receive_credit = stream.receive_credit.saturating_add(grant);
        grant
    }
}

/// Whether half a window was taken within one round trip, when `taken` bytes, which may be more, took `elapsed`.
///
/// A host that reads a whole window in one go, once per round trip, returns it in one grant: the peer had to wait all the
/// same, although no more than one grant falls into a round trip.
fn half_took_less(window: u32, taken: u32, elapsed: Duration, round_trip: Duration) -> bool {
    let half = elapsed.as_nanos().saturating_mul(u128::from(window / 2));
    half < round_trip.as_nanos().saturating_mul(u128::from(taken))
}

#[cfg(test)]
mod tests {
    use super::{super::Role, *};

    #[test]
    fn the_bucket_forgives_with_time() {
        let mut waste = Waste::new(&Config {
            waste_burst: 10,
            waste_per_second: 2,
            ..Config::default()
        });
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        assert!(waste.add(at(0), 10));
        assert!(!waste.add(at(0), 1));
        assert!(!waste.add(at(0), 0), "still over");
        assert!(waste.add(at(2), 3), "four frames' worth drained");
        assert!(!waste.add(at(2), 1));
        assert!(waste.add(at(100), 10));
        assert!(
            !waste.add(at(99), 1),
            "a clock that goes back forgives nothing"
        );
    }

    /// As with a host that looks at its sockets at a fixed rate. Fails if growth depends on how many grants a round trip
    /// sees: such a stream would stay at its first window for ever.
    #[test]
    fn a_window_taken_in_one_go_grows_until_half_of_it_takes_a_round_trip() {
        let most = Config::default().max_window;
        for (every, expected) in [(17, most), (33, most), (34, INITIAL_WINDOW)] {
            let mut session: Session<()> = Session::new(Role::Dialer, Config::default());
            session.set_growth_budget(u64::from(most));
            let place = session.open(Instant::ZERO, ()).unwrap();
            session.round_trips.recent = [Some(Duration::from_millis(17)); 4];
            for turn in 1..20 {
                let stream = session.streams.get_mut(place).unwrap();
                stream.returnable = stream.window;
                session.grant(Instant::ZERO + Duration::from_millis(turn * every), place);
            }
            let window = session.stream(place).unwrap().window;
            assert_eq!(window, expected, "{every} ms");
        }
    }

    /// js-libp2p returns credit for the data, and once more for the empty frame with FIN that follows, by when the stream is
    /// forgotten. Fails if the second costs the connection something: a peer that asks often would be thrown out.
    #[test]
    fn credit_that_answers_a_fin_is_forgiven_once() {
        let grant = |length| Header {
            kind: Kind::WindowUpdate,
            flags: Flags::NONE,
            stream: 1,
            length,
        };
        let mut stream = StreamState::new(1, false, Instant::ZERO, ());
        stream.receive_state = ReceiveState::FinReceived;
        stream.uncredited = 4;
        for (state, forgiven) in [(SendState::Open, 1), (SendState::FinSent, 2)] {
            stream.send_state = state;
            let mut pardon = Pardon::default();
            pardon.stream(&stream);
            for _ in 0..forgiven {
                assert!(pardon.covers(grant(INITIAL_WINDOW)), "{state:?}");
            }
            assert!(!pardon.covers(grant(1)), "{state:?}");
            // Data is never forgiven for it.
            pardon.stream(&stream);
            let data = |length| Header {
                kind: Kind::Data,
                ..grant(length)
            };
            assert!(pardon.covers(data(4)) && !pardon.covers(data(1)));
        }
    }

    #[test]
    fn only_the_answer_to_our_ping_counts() {
        let mut trips = RoundTrips::default();
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        assert_eq!(trips.answered(at(1), 0), None);
        trips.refresh(at(1));
        assert!(trips.wanted);
        let value = trips.start(at(1));
        assert_eq!(trips.answered(at(5), value.wrapping_add(1)), None);
        assert_eq!(
            trips.answered(at(21), value),
            Some(Duration::from_millis(20))
        );
        assert_eq!(trips.answered(at(22), value), None);
        trips.refresh(at(30));
        assert!(!trips.wanted, "measured just now");
        assert_eq!(trips.smallest(), Some(Duration::from_millis(20)));
    }
}
