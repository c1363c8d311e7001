//! Ping: measures round trips, and notices peers that no longer answer.
//!
//! Source: the [ping specification](https://github.com/libp2p/specs/blob/master/ping/ping.md). On one lasting stream the
//! dialer of the stream writes 32 random bytes, the other side writes them back, and so on. A side opens at most one
//! stream for its own pings on a connection, and answers at most two.
//!
//! | state | what happens | next state |
//! |---|---|---|
//! | resting | the interval is over, or a ping is asked for | waiting, on the same stream or a new one |
//! | waiting | the bytes came back: reported | resting |
//! | waiting | no answer in time, another answer, or the stream ended: the first time in a row tried again at once and not reported, then reported | waiting; resting |
//! | waiting | the third failure in a row ([`Config::max_failures`]): reported, and the connection is closed | resting |
//! | waiting | the peer does not support ping: reported once | inactive |
//! | inactive | a ping is asked for | waiting |
//!
//! Ping streams are background traffic: they do not keep a connection open.

#[cfg(test)]
mod tests;

use crate::{
    connection::{Accept, ConnectionId, OpenError, Slot, StreamEnd, StreamError, StreamKind, code},
    identity::PeerId,
    multistream::ProtocolName,
    swarm::{Context, Input, OpenStreamError, Protocol, StreamRef, Timers},
    time::Instant,
};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};
use rand_core::Rng as _;

/// The name of the protocol.
pub const PROTOCOL: ProtocolName = ProtocolName::from_static("/ipfs/ping/1.0.0");

/// Bytes of one ping.
const SIZE: usize = 32;

/// Streams answered on one connection.
const MAX_INBOUND: u32 = 2;

/// When to ping.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// From one answer to the next ping. 15 s.
    pub interval: Duration,
    /// How long to wait for an answer. 20 s.
    pub timeout: Duration,
    /// Ping every connection as soon as it is up, and at every interval. Otherwise pings are sent only when asked for.
    pub automatic: bool,
    /// After how many failures in a row, for want of an answer or then of a stream to ask again, the connection is closed:
    /// the peer is gone, although its machine has not said so.
    /// A peer that does not support ping is not gone. 3; 0 is never.
    ///
    /// With the other defaults a silent peer is noticed within 90 s. rust-libp2p leaves it to the application; go-libp2p's
    /// muxer closes after one unanswered ping of its own.
    pub max_failures: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(20),
            automatic: true,
            max_failures: 3,
        }
    }
}

/// The outcome of one ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The connection.
    pub connection: ConnectionId,
    /// The peer at its other end.
    pub peer: PeerId,
    /// The round-trip time, or how it failed.
    pub result: Result<Duration, Failure>,
}

/// How a ping failed. The connection stays, unless it was one too many in a row, see [`Config::max_failures`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No answer in time.
    Timeout,
    /// The peer does not support ping.
    Unsupported,
    /// Violation: the peer answered with other bytes than it was sent.
    WrongAnswer,
    /// The stream ended.
    Stream(StreamError),
    /// The peer finished the stream.
    Finished,
    /// No stream could be opened.
    Busy,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unsupported => f.write_str("the peer does not support ping"),
            Self::WrongAnswer => f.write_str("the peer answered with other bytes"),
            Self::Stream(error) => fmt::Display::fmt(error, f),
            Self::Finished => f.write_str("the peer finished the stream"),
            Self::Busy => f.write_str("no stream could be opened"),
        }
    }
}

impl core::error::Error for Failure {}

#[derive(Debug)]
enum State {
    /// Until its timer.
    Resting,
    /// For the answer to these bytes, of which some have come; until its timer.
    Waiting {
        sent: [u8; SIZE],
        at: Instant,
        received: usize,
    },
    /// The bytes could not be sent for want of room; until its timer.
    Blocked,
    /// For ever, unless asked.
    Inactive,
}

/// Pings on one connection.
#[derive(Debug)]
struct Pinger {
    peer: PeerId,
    stream: Option<StreamRef>,
    state: State,
    /// In a row.
    failures: u32,
    /// Among these was one for want of an answer.
    unanswered: bool,
    /// Asked for while one was under way.
    again: bool,
}

/// The ping protocol, see the [module](self).
#[derive(Debug, Default)]
pub struct Ping {
    config: Config,
    connections: BTreeMap<ConnectionId, Box<Pinger>>,
    /// Streams of peers' pings, with what could not be sent back yet.
    inbound: BTreeMap<StreamRef, Option<Bytes>>,
    timers: Timers<ConnectionId>,
}

impl Ping {
    /// Pings by these settings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Pings now on every connection to a peer; the outcomes are events. If one is under way, another follows it at
    /// once. Returns on how many connections.
    pub fn ping(&mut self, peer: &PeerId, cx: &mut Context<'_, Event>) -> usize {
        let connections: Vec<ConnectionId> = cx
            .connections(peer)
            .into_iter()
            .map(|info| info.connection)
            .filter(|connection| self.connections.contains_key(connection))
            .collect();
        for connection in &connections {
            let Some(pinger) = self.connections.get_mut(connection) else {
                continue;
            };
            match pinger.state {
                State::Waiting { .. } | State::Blocked => pinger.again = true,
                State::Resting | State::Inactive => self.begin(*connection, cx),
            }
        }
        connections.len()
    }

    /// Sends a ping, on a new stream if there is none.
    fn begin(&mut self, connection: ConnectionId, cx: &mut Context<'_, Event>) {
        let Some(pinger) = self.connections.get_mut(&connection) else {
            return;
        };
        pinger.again = false;
        pinger.state = State::Blocked;
        if pinger.stream.is_none() {
            match cx.open(connection, &[PROTOCOL], StreamKind::Raw, true) {
                Ok(stream) => pinger.stream = Some(stream),
                Err(OpenStreamError::NotConnected) => {
                    // It is about to be reported as gone.
                    pinger.state = State::Resting;
                    return self.timers.clear(connection);
                }
                Err(_) => return self.failed(connection, Failure::Busy, cx),
            }
        }
        self.timers.set(connection, cx.now() + self.config.timeout);
        self.send(connection, cx);
    }

    fn send(&mut self, connection: ConnectionId, cx: &mut Context<'_, Event>) {
        let Some(pinger) = self.connections.get_mut(&connection) else {
            return;
        };
        let Some(stream) = pinger.stream else {
            return;
        };
        let mut sent = [0; SIZE];
        cx.rng().fill_bytes(&mut sent);
        if cx.send(stream, Bytes::copy_from_slice(&sent)).is_ok() {
            pinger.state = State::Waiting {
                sent,
                at: cx.now(),
                received: 0,
            };
        }
    }

    /// Bytes came on an own stream.
    fn answer(&mut self, stream: StreamRef, bytes: &[u8], cx: &mut Context<'_, Event>) {
        let connection = stream.connection;
        let Some(pinger) = self.connections.get_mut(&connection) else {
            return;
        };
        let State::Waiting { sent, at, received } = &mut pinger.state else {
            return self.failed(connection, Failure::WrongAnswer, cx);
        };
        let expected = sent.get(*received..).unwrap_or_default();
        if !expected.starts_with(bytes) {
            return self.failed(connection, Failure::WrongAnswer, cx);
        }
        *received = received.saturating_add(bytes.len());
        if *received < SIZE {
            return;
        }
        let round_trip = cx.now() - *at;
        (pinger.state, pinger.failures) = (State::Resting, 0);
        pinger.unanswered = false;
        let (peer, again) = (pinger.peer, pinger.again);
        cx.emit(Event {
            connection,
            peer,
            result: Ok(round_trip),
        });
        if again {
            self.begin(connection, cx);
        } else {
            self.rest(connection, cx);
        }
    }

    fn rest(&mut self, connection: ConnectionId, cx: &Context<'_, Event>) {
        let at = self
            .config
            .automatic
            .then(|| cx.now() + self.config.interval);
        self.timers.set_or_clear(connection, at);
    }

    fn failed(&mut self, connection: ConnectionId, failure: Failure, cx: &mut Context<'_, Event>) {
        let Some(pinger) = self.connections.get_mut(&connection) else {
            return;
        };
        if let Some(stream) = pinger.stream.take() {
            cx.reset(stream, code::NO_ERROR);
        }
        if !matches!(pinger.state, State::Waiting { .. } | State::Blocked) {
            // What a peer does to a resting stream is no failure of a ping.
            return;
        }
        pinger.failures = pinger.failures.saturating_add(1);
        pinger.unanswered |= failure == Failure::Timeout;
        pinger.state = State::Resting;
        let (peer, first) = (pinger.peer, pinger.failures == 1);
        if failure == Failure::Unsupported {
            pinger.state = State::Inactive;
            self.timers.clear(connection);
            cx.emit(Event {
                connection,
                peer,
                result: Err(failure),
            });
        } else if first && failure != Failure::Busy {
            self.begin(connection, cx);
        } else {
            let again = pinger.again;
            let limit = self.config.max_failures;
            // Who did not answer and cannot even be asked again, because every stream is taken, is as gone.
            let silent = match failure {
                Failure::Timeout => true,
                Failure::Busy | Failure::Stream(StreamError::Open(_)) => pinger.unanswered,
                _ => false,
            };
            let gone = silent && limit > 0 && pinger.failures >= limit;
            cx.emit(Event {
                connection,
                peer,
                result: Err(failure),
            });
            if gone {
                cx.close(connection);
            }
            if again {
                self.begin(connection, cx);
            } else {
                self.rest(connection, cx);
            }
        }
    }

    fn echo(&mut self, stream: StreamRef, bytes: Bytes, cx: &mut Context<'_, Event>) {
        if cx.send(stream, bytes.clone()).is_err() {
            cx.pause(stream);
            self.inbound.insert(stream, Some(bytes));
        }
    }

    fn is_own(&self, stream: StreamRef) -> bool {
        let pinger = self.connections.get(&stream.connection);
        pinger.is_some_and(|pinger| pinger.stream == Some(stream))
    }
}

impl Protocol for Ping {
    type Event = Event;

    fn start(&mut self, cx: &mut Context<'_, Event>) {
        let accept = Accept::new(StreamKind::Raw)
            .max_streams(MAX_INBOUND)
            .background();
        // Whoever registered the name before answers pings.
        let _ = cx.accept(PROTOCOL, accept);
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, Event>) {
        match input {
            Input::ConnectionUp {
                connection, peer, ..
            } => {
                let state = State::Resting;
                let pinger = Pinger {
                    peer,
                    stream: None,
                    state,
                    failures: 0,
                    unanswered: false,
                    again: false,
                };
                self.connections.insert(connection, Box::new(pinger));
                if self.config.automatic {
                    self.begin(connection, cx);
                }
            }
            Input::ConnectionDown { connection, .. } => {
                self.connections.remove(&connection);
                self.timers.clear(connection);
            }
            Input::Inbound { stream, .. } => {
                self.inbound.insert(stream, None);
            }
            Input::Message { stream, bytes } => {
                if self.is_own(stream) {
                    self.answer(stream, &bytes, cx);
                } else {
                    self.echo(stream, bytes, cx);
                }
            }
            Input::Writable { stream } => {
                if self.is_own(stream) {
                    self.send(stream.connection, cx);
                } else if let Some(bytes) = self.inbound.get_mut(&stream).and_then(Option::take) {
                    cx.resume(stream);
                    self.echo(stream, bytes, cx);
                }
            }
            Input::RemoteFinished { stream } => {
                if self.is_own(stream) {
                    self.failed(stream.connection, Failure::Finished, cx);
                } else {
                    cx.finish(stream);
                }
            }
            Input::StreamEnded { stream, end } => {
                if self.is_own(stream) {
                    if let Some(pinger) = self.connections.get_mut(&stream.connection) {
                        pinger.stream = None;
                    }
                    let failure = match end {
                        StreamEnd::Failed(StreamError::UnsupportedProtocol) => Failure::Unsupported,
                        StreamEnd::Failed(StreamError::NegotiationTimeout) => Failure::Timeout,
                        // The connection is about to be reported as gone.
                        StreamEnd::Failed(
                            StreamError::Connection(_) | StreamError::Open(OpenError::NotConnected),
                        ) => return,
                        StreamEnd::Failed(error) => Failure::Stream(error.clone()),
                        StreamEnd::Finished => Failure::Finished,
                    };
                    self.failed(stream.connection, failure, cx);
                } else {
                    self.inbound.remove(&stream);
                }
            }
            Input::Timeout => {
                while let Some(connection) = self.timers.pop_due(cx.now()) {
                    match self
                        .connections
                        .get(&connection)
                        .map(|pinger| &pinger.state)
                    {
                        Some(State::Resting) => self.begin(connection, cx),
                        Some(State::Waiting { .. } | State::Blocked) => {
                            self.failed(connection, Failure::Timeout, cx);
                        }
                        Some(State::Inactive) | None => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}
