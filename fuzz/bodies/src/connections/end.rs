//! One end: the connection, its host's promises to it, and its to the host.

use super::streams::table;
use core::time::Duration;
use drywire::{
    connection::{
        Config, ConnectedPoint, Connection, ConnectionError, ConnectionId, ConnectionStart, Event,
        InboundTable, Security, ToConnection,
    },
    identity::Keypair,
    resource::Lease,
    security::plaintext,
    seed::Seed,
    time::Instant,
};
use drywire_tests::heap::Meter;
use std::sync::{Arc, LazyLock};

/// The lease of a connection that is to run out of memory.
const TIGHT: u64 = 32 * 1024;
/// The lease of one that is not.
const AMPLE: u64 = 256 << 20;
/// What a connection may take of the heap beyond its lease: its buffers and queues for sending, what its streams keep
/// besides bytes, and what was received at once when the lease was nearly used up.
const SLACK: isize = 768 * 1024;

static SECURITY: LazyLock<[Security; 2]> = LazyLock::new(|| {
    ["dialer", "listener"].map(|label| {
        let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(1).derive(label));
        Security::InsecurePlaintext(plaintext::Local::new(&keypair.public()))
    })
});
static TABLE: LazyLock<Arc<InboundTable>> = LazyLock::new(|| Arc::new(table()));
static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let mut config = Config::default();
    config.max_streams = 20;
    config.max_negotiating_streams = 16;
    config.stream_send_queue = 32 * 1024;
    config.connection_send_queue = 64 * 1024;
    config.max_receive_buffer = 64 * 1024;
    config.idle_timeout = Duration::from_secs(20);
    Arc::new(config)
});

/// A message, as far as others than the swarm can read it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) asks_for_admission: bool,
    pub(super) asks_for: Option<Lease>,
}

pub(super) struct End {
    pub(super) connection: Connection,
    meter: Meter,
    /// The latest time it was told.
    pub(super) now: Instant,
    pub(super) admits: bool,
    first_lease: u64,
    leased: u64,
    asked: u32,
    pub(super) established: bool,
    closed: bool,
    /// Closed, and everything was told.
    quiet: bool,
    /// Bytes taken before it was established.
    pub(super) early: usize,
    /// Its host said that the pipe has ended.
    pub(super) told_of_end: bool,
    pub(super) meddled: bool,
    pub(super) beyond_lease: isize,
}

impl End {
    pub(super) fn new(side: usize, ample: bool) -> Self {
        let remote = "/memory/1".parse().expect("valid");
        let point = match side {
            0 => ConnectedPoint::dialed(remote, None),
            _ => ConnectedPoint::accepted(remote, None),
        };
        let start = ConnectionStart::new(
            ConnectionId::new(0),
            point,
            CONFIG.clone(),
            SECURITY[side].clone(),
            Seed::for_tests(2),
        );
        let now = Instant::from_nanos(1_000_000_000);
        let mut meter = Meter::default();
        let connection = meter.run(|| start.start(now));
        Self {
            connection,
            meter,
            now,
            admits: true,
            first_lease: if ample { AMPLE } else { TIGHT },
            leased: 0,
            asked: 0,
            established: false,
            closed: false,
            quiet: false,
            early: 0,
            told_of_end: false,
            meddled: false,
            beyond_lease: 0,
        }
    }

    /// Does something with the connection, and counts what that does to the heap. What `act` returns must own nothing.
    pub(super) fn call<R>(&mut self, act: impl FnOnce(&mut Connection) -> R) -> R {
        self.meter.run(|| act(&mut self.connection))
    }

    /// The same, and tells it the time.
    pub(super) fn call_at<R>(&mut self, now: Instant, act: impl FnOnce(&mut Connection) -> R) -> R {
        self.now = self.now.max(now);
        self.call(act)
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.call(Connection::poll_event)
    }

    /// The next message for the swarm.
    pub(super) fn poll_message(&mut self) -> Option<Message> {
        let message = self.call(|connection| {
            let message = connection.poll_message()?;
            Some(Message {
                asks_for_admission: message.secured_peer().is_some(),
                asks_for: message.requested_lease(),
            })
        })?;
        if message.asks_for.is_some() {
            assert_eq!(self.asked, 0, "asks again before it has an answer");
            self.asked += 1;
        }
        assert!(!self.quiet, "a message after the end");
        Some(message)
    }

    /// Answers the request for admission.
    pub(super) fn admission(&mut self, now: Instant) {
        assert!(!self.established && !self.closed);
        if self.admits {
            self.leased = self.first_lease;
            // Whether more streams are asked for depends on how many were there at the same time, hence on how the bytes came.
            let lease = Lease::new(self.leased, if self.first_lease == AMPLE { 256 } else { 8 });
            self.call_at(now, |c| {
                c.handle_message(now, ToConnection::admit(TABLE.clone(), lease));
            });
        } else {
            self.call_at(now, |c| c.close(now, ConnectionError::Denied));
        }
    }

    /// Answers a request for more, if there is one.
    pub(super) fn answer_lease(&mut self, now: Instant, lease: Lease) {
        if self.asked == 0 {
            return;
        }
        self.asked = 0;
        self.leased += lease.bytes;
        self.call_at(now, |c| c.handle_message(now, ToConnection::lease(lease)));
    }

    /// The connection's own story: established once, closed once and last.
    pub(super) fn saw(&mut self, event: &Event) {
        assert!(!self.closed, "{event:?} after Closed");
        match event {
            Event::Established { .. } => {
                assert!(!self.established);
                self.established = true;
            }
            Event::Closed { error } => {
                assert_eq!(self.connection.error(), Some(error));
                self.closed = true;
            }
            _ => assert!(self.established, "{event:?} before Established"),
        }
    }

    /// What holds at any time.
    pub(super) fn check(&mut self) {
        let leased = isize::try_from(self.leased).expect("small");
        self.beyond_lease = self.beyond_lease.max(self.meter.total.kept - leased);
        assert!(
            self.meter.total.kept <= leased + SLACK,
            "{} of the heap with a lease of {leased}",
            self.meter.total.kept
        );
        let connection = &mut self.connection;
        if let Some(error) = connection.error() {
            let fault = matches!(
                error,
                ConnectionError::Flooding
                    | ConnectionError::Muxer(_)
                    | ConnectionError::Negotiation(_)
                    | ConnectionError::Security(_)
                    | ConnectionError::ReportedByPeer(_)
            );
            assert!(!fault || self.meddled, "nobody broke the rules: {error:?}");
        }
        if !connection.is_closed() {
            assert!(!self.closed, "said that it is closed");
            return;
        }
        assert!(!connection.wants_transmit());
        assert!(connection.recv_buf().is_none());
        assert!(!connection.is_open());
        let due = connection.poll_timeout();
        self.quiet = due.is_none();
        assert!(
            due.is_none_or(|at| at <= self.now),
            "a deadline after the end"
        );
    }

    /// Everything has been told, and every stream was let go.
    pub(super) fn is_over(&mut self) {
        assert!(self.connection.is_closed() && self.closed, "never ends");
        self.check();
        assert!(self.quiet, "something waits after the end");
        let far = Instant::FAR_FUTURE;
        let mut out = Vec::new();
        self.call_at(far, |c| {
            c.handle_timeout(far);
            c.handle_recv(far);
            assert_eq!(c.handle_input(far, &[1, 2, 3]), 0);
            c.handle_eof(far);
            c.handle_lost(far, String::new());
            c.close(far, ConnectionError::Closed);
        });
        let transmit = self.connection.poll_transmit(far, &mut out, 1 << 20);
        assert!(out.is_empty() && !transmit.shutdown && !transmit.more);
        assert_eq!(self.connection.poll_event(), None);
        assert!(self.connection.poll_message().is_none());
        assert_eq!(self.connection.poll_timeout(), None);
        // The tables of its streams go with the connection itself; no buffer is left.
        assert!(
            self.meter.total.kept <= 40 * 1024,
            "keeps {} after the end",
            self.meter.total.kept
        );
    }
}
