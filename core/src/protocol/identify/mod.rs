//! Identify: tells a peer who one is, what one supports and where one can be reached, and learns the same of it.
//!
//! Source: the [identify specification](https://github.com/libp2p/specs/blob/master/identify/README.md). On every new
//! connection each side opens a stream `/ipfs/id/1.0.0`; the other side answers with one message and finishes. When
//! something changes it is pushed on a stream `/ipfs/id/push/1.0.0`.
//!
//! What a peer says is bounded: at most 10 messages of 8 KiB, merged; 128 protocols and 64 addresses of them are kept.
//! What this node says fits into one message of 4 KiB, which every implementation reads. A key that is not the peer's
//! makes the whole message void. A signed record is used if the peer signed it about itself; if it is about or by
//! somebody else no address of the message is believed.
//!
//! Of the addresses told, those are kept that make sense from here: everything on a loopback connection, no loopback
//! addresses on others, and only public ones over public addresses.

mod local;
mod message;
#[cfg(test)]
mod tests;

pub use message::{Info, MessageError};

use crate::{
    connection::{
        Accept, ConnectedPoint, ConnectionId, Direction, Slot, StreamEnd, StreamError, StreamKind,
        code,
    },
    identity::PeerId,
    multiaddr::{Multiaddr, Protocol as Component},
    multistream::ProtocolName,
    swarm::{AddressSource, Context, Input, OpenStreamError, Protocol, StreamRef, Timers},
    time::Instant,
};
use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};
use local::Local;
use message::Certificate;

/// The name under which a peer is asked.
pub const PROTOCOL: ProtocolName = ProtocolName::from_static("/ipfs/id/1.0.0");
/// The name under which changes are pushed.
pub const PUSH_PROTOCOL: ProtocolName = ProtocolName::from_static("/ipfs/id/push/1.0.0");

/// The longest message taken from a peer, in bytes.
const MAX_PART: u32 = 8 * 1024;
/// Messages taken on one stream.
const MAX_PARTS: u32 = 10;
/// Bytes of unfinished messages of all peers together. Beyond, the longest of them is given up.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// Streams on which one connection may ask, and push.
const MAX_INBOUND: u32 = 4;
/// Pushes under way at once, of all connections.
const MAX_PUSHES: usize = 32;
/// A connection may push so many times at once, and once more for each interval.
const PUSH_BURST: u32 = 10;
const PUSH_INTERVAL: Duration = Duration::from_secs(5);

/// What to tell, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The family of protocols, such as `ipfs/0.1.0`.
    pub protocol_version: String,
    /// The program, such as `drywire/0.1.0`. At most 256 bytes are told.
    pub agent_version: String,
    /// From one question to the next on a connection; `None` asks once. 5 min.
    pub interval: Option<Duration>,
    /// For a whole exchange. 10 s.
    pub timeout: Duration,
    /// Whether to push changes. Yes.
    pub push: bool,
    /// How long to wait for further changes before pushing. 200 ms.
    pub push_delay: Duration,
    /// Whether to tell only external addresses, not what this node listens on. No.
    pub hide_listen_addresses: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            protocol_version: "ipfs/0.1.0".into(),
            agent_version: concat!("drywire/", env!("CARGO_PKG_VERSION")).into(),
            interval: Some(Duration::from_secs(300)),
            timeout: Duration::from_secs(10),
            push: true,
            push_delay: Duration::from_millis(200),
            hide_listen_addresses: false,
        }
    }
}

/// What identify tells the host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer said who it is: asked, or on its own when something changed.
    Received {
        /// The connection.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
        /// What it said; a push with what it said before filled in.
        info: Arc<Info>,
    },
    /// A peer asked and was answered.
    Sent {
        /// The connection.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
    },
    /// A change was told to a peer.
    Pushed {
        /// The connection.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
    },
    /// An exchange failed. The connection stays.
    Failed {
        /// The connection.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
        /// Why.
        error: Error,
    },
}

/// How an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It took too long.
    Timeout,
    /// The peer does not support identify.
    Unsupported,
    /// The stream ended before the message did.
    Stream(StreamError),
    /// The peer said nothing.
    Empty,
    /// Violation: the message is malformed, or is not by this peer.
    Message(MessageError),
    /// Violation: more messages than may be merged.
    TooManyParts,
    /// Limit: unfinished messages of all peers.
    TooMuchWaiting,
    /// No stream could be opened.
    Busy,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unsupported => f.write_str("the peer does not support identify"),
            Self::Stream(error) => fmt::Display::fmt(error, f),
            Self::Empty => f.write_str("the peer said nothing"),
            Self::Message(error) => fmt::Display::fmt(error, f),
            Self::TooManyParts => f.write_str("the message has too many parts"),
            Self::TooMuchWaiting => f.write_str("too many unfinished messages"),
            Self::Busy => f.write_str("no stream could be opened"),
        }
    }
}

impl core::error::Error for Error {}

/// What a stream is for.
#[derive(Debug)]
enum Exchange {
    /// The peer is asked, or pushes: its parts so far.
    Receiving {
        parts: u32,
        bytes: Vec<u8>,
        push: bool,
    },
    /// The peer asked, or is pushed to: what could not be sent yet.
    Sending { waiting: Option<Bytes>, push: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Changes are to be pushed.
    Push,
    /// A connection is to be asked again.
    Ask(ConnectionId),
    /// An exchange takes too long.
    Exchange(StreamRef),
}

#[derive(Debug)]
struct Connection {
    peer: PeerId,
    point: ConnectedPoint,
    /// What it said, all taken together.
    info: Option<Arc<Info>>,
    /// The number of the newest record it signed.
    sequence: Option<u64>,
    /// The state of this node it was told last.
    told: Option<u64>,
    /// When it will have earned back all the pushes it may make.
    pushes_earned: Instant,
    /// The peer knows no pushes.
    no_push: bool,
    observed_reported: bool,
}

/// The identify protocol, see the [module](self).
#[derive(Debug, Default)]
pub struct Identify {
    config: Config,
    local: Local,
    connections: BTreeMap<ConnectionId, Box<Connection>>,
    exchanges: BTreeMap<StreamRef, Exchange>,
    /// Bytes of unfinished messages.
    waiting: usize,
    /// Pushes under way.
    pushes: usize,
    /// There may be connections on which something older was told than is true now.
    outdated: bool,
    timers: Timers<Timer>,
}

impl Identify {
    /// Tells by these settings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// What the peer at the other end of a connection has said of itself.
    #[must_use]
    pub fn info(&self, connection: ConnectionId) -> Option<&Info> {
        self.connections.get(&connection)?.info.as_deref()
    }

    /// Asks a peer now, on one connection. [`Event::Received`] or [`Event::Failed`] follows. Returns whether the
    /// connection is there.
    pub fn ask(&mut self, connection: ConnectionId, cx: &mut Context<'_, Event>) -> bool {
        let known = self.connections.contains_key(&connection);
        if known {
            self.begin(connection, cx);
        }
        known
    }

    fn begin(&mut self, connection: ConnectionId, cx: &mut Context<'_, Event>) {
        if let Some(interval) = self.config.interval {
            self.timers.set(Timer::Ask(connection), cx.now() + interval);
        }
        let kind = StreamKind::Framed { max_len: MAX_PART };
        match cx.open(connection, &[PROTOCOL], kind, true) {
            Ok(stream) => {
                // Nothing is to be said; peers that wait for the end of it exist.
                cx.finish(stream);
                let exchange = Exchange::Receiving {
                    parts: 0,
                    bytes: Vec::new(),
                    push: false,
                };
                self.track(stream, exchange, cx);
            }
            Err(OpenStreamError::NotConnected) => {}
            Err(_) => self.report(connection, Error::Busy, cx),
        }
    }

    fn track(&mut self, stream: StreamRef, exchange: Exchange, cx: &Context<'_, Event>) {
        self.timers
            .set(Timer::Exchange(stream), cx.now() + self.config.timeout);
        self.pushes = self.pushes.saturating_add(usize::from(is_push(&exchange)));
        self.exchanges.insert(stream, exchange);
    }

    fn untrack(&mut self, stream: StreamRef) -> Option<Exchange> {
        self.timers.clear(Timer::Exchange(stream));
        let exchange = self.exchanges.remove(&stream)?;
        self.pushes = self.pushes.saturating_sub(usize::from(is_push(&exchange)));
        if let Exchange::Receiving { bytes, .. } = &exchange {
            self.waiting = self.waiting.saturating_sub(bytes.len());
        }
        Some(exchange)
    }

    /// Ends an exchange that went wrong.
    fn fail(&mut self, stream: StreamRef, code: u32, error: Error, cx: &mut Context<'_, Event>) {
        self.untrack(stream);
        cx.reset(stream, code);
        self.report(stream.connection, error, cx);
        self.push_changes(cx);
    }

    fn report(&mut self, connection: ConnectionId, error: Error, cx: &mut Context<'_, Event>) {
        if let Some(known) = self.connections.get(&connection) {
            cx.emit(Event::Failed {
                connection,
                peer: known.peer,
                error,
            });
        }
    }

    /// A peer opened a stream: to ask, or to push.
    fn inbound(&mut self, stream: StreamRef, name: &ProtocolName, cx: &mut Context<'_, Event>) {
        if *name == PROTOCOL {
            self.tell(stream, false, cx);
            return;
        }
        let now = cx.now();
        let Some(known) = self.connections.get_mut(&stream.connection) else {
            return;
        };
        let earned = known.pushes_earned.max(now) + PUSH_INTERVAL;
        if earned - now > PUSH_INTERVAL.saturating_mul(PUSH_BURST) {
            cx.reset(stream, code::RATE_LIMITED);
            return;
        }
        known.pushes_earned = earned;
        let exchange = Exchange::Receiving {
            parts: 0,
            bytes: Vec::new(),
            push: true,
        };
        self.track(stream, exchange, cx);
    }

    /// Sends what this node has to say on a stream that the peer opened, or that was opened to push.
    fn tell(&mut self, stream: StreamRef, push: bool, cx: &mut Context<'_, Event>) {
        let Some(known) = self.connections.get_mut(&stream.connection) else {
            return;
        };
        let message = self.local.message(&self.config, &known.point, cx);
        known.told = Some(self.local.version());
        self.track(
            stream,
            Exchange::Sending {
                waiting: Some(message),
                push,
            },
            cx,
        );
        self.send(stream, cx);
    }

    fn send(&mut self, stream: StreamRef, cx: &mut Context<'_, Event>) {
        let Some(Exchange::Sending { waiting, push }) = self.exchanges.get_mut(&stream) else {
            return;
        };
        let Some(message) = waiting.take() else {
            return;
        };
        if cx.send(stream, message.clone()).is_err() {
            *waiting = Some(message);
            return;
        }
        cx.finish(stream);
        let (push, connection) = (*push, stream.connection);
        if let Some(known) = self.connections.get(&connection).filter(|_| !push) {
            cx.emit(Event::Sent {
                connection,
                peer: known.peer,
            });
        }
    }

    fn part(&mut self, stream: StreamRef, part: &[u8], cx: &mut Context<'_, Event>) {
        let Some(Exchange::Receiving { parts, bytes, .. }) = self.exchanges.get(&stream) else {
            // Nothing is to be said by who asks.
            return;
        };
        if *parts >= MAX_PARTS {
            return self.fail(stream, code::PROTOCOL_VIOLATION, Error::TooManyParts, cx);
        }
        let length = bytes.len().saturating_add(part.len());
        while self.waiting.saturating_add(part.len()) > MAX_WAITING {
            // Whoever has said most makes room: those who never come to an end do not silence those who say little.
            let (longest, found) = self.longest().unwrap_or((stream, 0));
            let gives_way = if found > length { longest } else { stream };
            let (code, error) = (code::RESOURCE_LIMIT_EXCEEDED, Error::TooMuchWaiting);
            self.fail(gives_way, code, error, cx);
            if gives_way == stream {
                return;
            }
        }
        let Some(Exchange::Receiving { parts, bytes, .. }) = self.exchanges.get_mut(&stream) else {
            return;
        };
        self.waiting = self.waiting.saturating_add(part.len());
        *parts = parts.saturating_add(1);
        // Concatenated messages are one message, by the rules of protocol buffers.
        bytes.extend_from_slice(part);
    }

    /// The longest unfinished message, and its bytes.
    fn longest(&self) -> Option<(StreamRef, usize)> {
        let lengths = self.exchanges.iter().map(|(stream, exchange)| {
            let length = match exchange {
                Exchange::Receiving { bytes, .. } => bytes.len(),
                Exchange::Sending { .. } => 0,
            };
            (*stream, length)
        });
        lengths.max_by_key(|(_, length)| *length)
    }

    /// The peer has said all it has to say.
    fn complete(&mut self, stream: StreamRef, cx: &mut Context<'_, Event>) {
        match self.exchanges.get(&stream) {
            Some(Exchange::Receiving { .. }) => {}
            _ => return,
        }
        let Some(Exchange::Receiving { parts, bytes, push }) = self.untrack(stream) else {
            return;
        };
        if push {
            cx.finish(stream);
        }
        let connection = stream.connection;
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if parts == 0 {
            return self.report(connection, Error::Empty, cx);
        }
        let before = known.info.as_deref().filter(|_| push);
        let own = |name: &str| cx.protocols().find(|own| own.as_str() == name).cloned();
        let (info, certificate) = match message::read(&bytes, known.peer, before, own) {
            Ok(read) => read,
            Err(error) => return self.report(connection, Error::Message(error), cx),
        };
        let peer = known.peer;
        learn_addresses(known, &info, certificate, cx);
        let observed = info
            .observed_address
            .as_ref()
            .and_then(|observed| translate(observed, known, cx));
        if let Some(observed) = observed.filter(|_| !known.observed_reported) {
            known.observed_reported = true;
            cx.report_observed(&observed);
        }
        if info.tells_protocols {
            cx.set_peer_protocols(peer, info.protocols.clone());
        }
        let could_not = known.no_push;
        known.no_push = !info.protocols.is_empty() && !info.protocols.contains(&PUSH_PROTOCOL);
        // What it could not be told before.
        self.outdated |= self.config.push && could_not && !known.no_push;
        let info = Arc::new(info);
        known.info = Some(info.clone());
        cx.emit(Event::Received {
            connection,
            peer,
            info,
        });
        self.push_changes(cx);
    }

    /// Something about this node has changed: tell everyone soon.
    fn changed(&mut self, cx: &Context<'_, Event>) {
        self.local.changed();
        if self.config.push && self.timers.get(Timer::Push).is_none() {
            self.timers
                .set(Timer::Push, cx.now() + self.config.push_delay);
        }
    }

    /// Pushes to those who were told something older, as many at a time as may be.
    fn push_changes(&mut self, cx: &mut Context<'_, Event>) {
        if !self.outdated || self.timers.get(Timer::Push).is_some() {
            return;
        }
        let version = self.local.version();
        let room = MAX_PUSHES.saturating_sub(self.pushes);
        let outdated: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, known)| !known.no_push && known.told.is_some_and(|told| told < version))
            .map(|(connection, _)| *connection)
            .take(room)
            .collect();
        self.outdated = outdated.len() >= room;
        let kind = StreamKind::Framed { max_len: MAX_PART };
        for connection in outdated {
            match cx.open(connection, &[PUSH_PROTOCOL], kind, true) {
                Ok(stream) => self.tell(stream, true, cx),
                Err(_) => {
                    // Not now; the next change comes along with this one.
                    if let Some(known) = self.connections.get_mut(&connection) {
                        known.told = Some(version);
                    }
                }
            }
        }
    }

    fn ended(&mut self, stream: StreamRef, end: &StreamEnd, cx: &mut Context<'_, Event>) {
        let Some(exchange) = self.untrack(stream) else {
            return;
        };
        let connection = stream.connection;
        let unsupported = *end == StreamEnd::Failed(StreamError::UnsupportedProtocol);
        match (exchange, end) {
            (Exchange::Sending { push: true, .. }, StreamEnd::Finished) => {
                if let Some(known) = self.connections.get(&connection) {
                    cx.emit(Event::Pushed {
                        connection,
                        peer: known.peer,
                    });
                }
            }
            (Exchange::Sending { push: true, .. }, _) if unsupported => {
                if let Some(known) = self.connections.get_mut(&connection) {
                    known.no_push = true;
                }
            }
            (_, StreamEnd::Finished | StreamEnd::Failed(StreamError::Connection(_))) => {}
            // All is said. rust-libp2p drops the stream once it has read a message, without waiting for the end.
            (
                Exchange::Sending {
                    waiting: None,
                    push,
                },
                StreamEnd::Failed(error),
            ) if !push || matches!(error, StreamError::ResetByPeer(_)) => {}
            (Exchange::Receiving { push: false, .. }, _) if unsupported => {
                self.timers.clear(Timer::Ask(connection));
                self.report(connection, Error::Unsupported, cx);
            }
            (_, StreamEnd::Failed(error)) => {
                self.report(connection, Error::Stream(error.clone()), cx);
            }
        }
        self.push_changes(cx);
    }
}

const fn is_push(exchange: &Exchange) -> bool {
    matches!(exchange, Exchange::Sending { push: true, .. })
}

impl Protocol for Identify {
    type Event = Event;

    fn start(&mut self, cx: &mut Context<'_, Event>) {
        for name in [PROTOCOL, PUSH_PROTOCOL] {
            let kind = StreamKind::Framed { max_len: MAX_PART };
            let accept = Accept::new(kind).max_streams(MAX_INBOUND).background();
            // Whoever registered the name before answers.
            let _ = cx.accept(name, accept);
        }
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, Event>) {
        match input {
            Input::ConnectionUp {
                connection,
                peer,
                point,
                ..
            } => {
                let known = Connection {
                    peer,
                    point: point.clone(),
                    info: None,
                    sequence: None,
                    told: None,
                    pushes_earned: cx.now(),
                    no_push: false,
                    observed_reported: false,
                };
                self.connections.insert(connection, Box::new(known));
                self.begin(connection, cx);
            }
            Input::ConnectionDown { connection, .. } => {
                self.connections.remove(&connection);
                self.timers.clear(Timer::Ask(connection));
            }
            Input::Inbound { stream, name, .. } => self.inbound(stream, name, cx),
            Input::Message { stream, bytes } => self.part(stream, &bytes, cx),
            Input::Writable { stream } => self.send(stream, cx),
            Input::RemoteFinished { stream } => self.complete(stream, cx),
            Input::StreamEnded { stream, end } => self.ended(stream, end, cx),
            Input::LocalProtocolsChanged | Input::LocalAddressesChanged => self.changed(cx),
            Input::Timeout => {
                while let Some(timer) = self.timers.pop_due(cx.now()) {
                    match timer {
                        Timer::Push => {
                            self.outdated = true;
                            self.push_changes(cx);
                        }
                        Timer::Ask(connection) => self.begin(connection, cx),
                        Timer::Exchange(stream) => {
                            self.fail(stream, code::NO_ERROR, Error::Timeout, cx);
                        }
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

/// Remembers where the peer says it can be reached, as far as that makes sense from here.
fn learn_addresses(
    known: &mut Connection,
    info: &Info,
    certificate: Certificate,
    cx: &mut Context<'_, Event>,
) {
    let remote = &known.point.remote;
    let sensible = |address: &&Multiaddr| {
        if remote.is_loopback() {
            true
        } else if remote.is_global() {
            address.is_global()
        } else {
            !address.is_loopback()
        }
    };
    let keep = |addresses: &[Multiaddr]| -> Vec<Multiaddr> {
        addresses.iter().filter(sensible).cloned().collect()
    };
    match certificate {
        Certificate::Valid(record) => {
            if known.sequence.is_some_and(|newest| newest > record.seq()) {
                return;
            }
            known.sequence = Some(record.seq());
            cx.replace_addresses(known.peer, &[], AddressSource::Identify);
            cx.replace_addresses(
                known.peer,
                &keep(record.addresses()),
                AddressSource::Certified,
            );
        }
        Certificate::None if info.tells_addresses => {
            cx.replace_addresses(
                known.peer,
                &keep(&info.listen_addresses),
                AddressSource::Identify,
            );
        }
        Certificate::None | Certificate::OfAnother => {}
    }
}

/// The address under which this node may be reachable, if the peer sees it at `observed`.
///
/// On a connection this node dialed, the port the peer sees belongs to that connection alone; the listener's takes its
/// place.
fn translate(
    observed: &Multiaddr,
    known: &Connection,
    cx: &Context<'_, Event>,
) -> Option<Multiaddr> {
    let observed = observed.without_peer_id();
    let useless = observed.is_loopback()
        || observed.is_unspecified()
        || observed.is_multicast()
        || observed.is_relayed()
        || known.point.remote.is_relayed();
    let (ip, port, transport) = observed.socket_addr().filter(|_| !useless)?;
    if port == 0 {
        return None;
    }
    let candidate = if known.point.direction == Direction::Outbound {
        let listening = cx.listen_addresses().iter().find(|own| {
            own.socket_addr().is_some_and(|(own_ip, _, own_transport)| {
                own_ip.is_ipv4() == ip.is_ipv4() && own_transport == transport
            })
        })?;
        let rest = listening.iter().skip(1);
        Multiaddr::from_protocols(core::iter::once(Component::from(ip)).chain(rest)).ok()?
    } else {
        observed
    };
    (!cx.listen_addresses().contains(&candidate)).then_some(candidate)
}
