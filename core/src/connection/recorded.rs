//! What a connection writes down: everything that goes in, and everything that comes out.
//!
//! One entry per call that is an input, as the call begins; one per output, as it is given. A call that asks and gets
//! nothing leaves no entry. Times are the connection's clock: a call that came with an earlier time counts as at the last.

use super::{
    Connection, ConnectionStart,
    codec::{self, Secret},
    config::{Config, ConnectedPoint, Security},
    error::{ConnectionError, OpenError},
    event::Event,
    id::{ConnectionId, StreamId},
    machine::Transmit,
    message::{ToConnection, ToSwarm},
    recorder::{Digest, Machine, Tap},
    stream::{ReadError, WriteError},
    streams::OpenOptions,
    table::StreamKind,
};
use crate::{
    identity::PublicKey,
    multistream::ProtocolName,
    security::{self, noise, plaintext},
    seed::Seed,
    time::Instant,
};
use alloc::{borrow::Cow, boxed::Box, sync::Arc, vec::Vec};
use bytes::BytesMut;
use serde::{Deserialize, Serialize};

/// One entry of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectionEntry<'a> {
    /// The connection is gone: its host has dropped it.
    End,
    /// Something went in.
    Input {
        /// When, by the connection's clock.
        now: Instant,
        /// What.
        #[serde(borrow)]
        input: ConnectionInput<'a>,
    },
    /// Something came out.
    Output(#[serde(borrow)] ConnectionOutput<'a>),
}

/// What goes into a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectionInput<'a> {
    /// It was started. Holds all secrets of the connection.
    Start(Box<RecordedStart>),
    /// It was asked for room to receive, and had to change something for it.
    Room {
        /// How much it made, in bytes; `None` if there was enough.
        capacity: Option<u64>,
    },
    /// Bytes were put into its receive buffer without being announced before another call came.
    Appended {
        /// The host made the buffer larger by itself.
        moved: bool,
        /// The bytes.
        #[serde(borrow, with = "codec::slice")]
        bytes: &'a [u8],
    },
    /// `handle_recv`.
    Received {
        /// The host made the buffer larger by itself.
        moved: bool,
        /// What was put into the receive buffer before.
        #[serde(borrow, with = "codec::slice")]
        bytes: &'a [u8],
    },
    /// `handle_eof`.
    EndOfInput,
    /// `handle_lost`.
    Lost {
        /// Why, in the host's words.
        reason: &'a str,
    },
    /// `handle_timeout`.
    Timeout,
    /// `handle_message`.
    Message(Cow<'a, ToConnection>),
    /// `open`.
    Open {
        /// The names, in the order of preference.
        names: Cow<'a, [ProtocolName]>,
        /// How its bytes are cut.
        kind: StreamKind,
        /// The rest.
        options: OpenOptions,
    },
    /// `close`.
    Close(Cow<'a, ConnectionError>),
    /// `set_keep_alive`.
    KeepAlive(bool),
    /// Something was done to a stream of the host.
    Stream {
        /// The stream.
        stream: StreamId,
        /// What.
        #[serde(borrow)]
        input: StreamInput<'a>,
    },
}

/// What a host does to a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StreamInput<'a> {
    /// `read`, of so many bytes.
    Read(u64),
    /// `read_into`, a buffer of so many bytes.
    ReadInto(u64),
    /// `write`.
    Write(#[serde(borrow, with = "codec::slice")] &'a [u8]),
    /// `write_bytes`.
    WriteBytes(#[serde(borrow, with = "codec::slice")] &'a [u8]),
    /// `finish`.
    Finish,
    /// `stop`.
    Stop,
    /// `reset`, with this code.
    Reset(u32),
    /// `release`.
    Release,
    /// `set_priority`.
    Priority(u8),
}

/// What comes out of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectionOutput<'a> {
    /// `poll_transmit`.
    Transmitted {
        /// When, by the connection's clock.
        now: Instant,
        /// About how much was asked for.
        limit: u64,
        /// What was sent.
        sent: Digest,
        /// More waits.
        more: bool,
        /// Nothing follows.
        shutdown: bool,
    },
    /// `poll_event`.
    Event(Cow<'a, Event>),
    /// `poll_message`.
    Message {
        /// Its kind.
        kind: &'a str,
        /// Stands for its encoding.
        digest: Digest,
    },
    /// What `open` returned.
    Opened(Result<StreamId, OpenError>),
    /// What a read returned, unless there was nothing to read.
    Read(Result<Option<Digest>, ReadError>),
    /// What a write returned, unless it took everything; or what `finish` returned, unless it did so.
    Wrote(Result<u64, WriteError>),
}

/// Everything that a connection was started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedStart {
    point: ConnectedPoint,
    config: Config,
    security: RecordedSecurity,
    seed: Secret,
}

/// Without the backend: any other computes the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum RecordedSecurity {
    Noise {
        public_key: PublicKey,
        static_key: Secret,
        identity: Vec<u8>,
    },
    InsecurePlaintext(PublicKey),
}

impl RecordedStart {
    pub(super) fn of(start: &ConnectionStart) -> Self {
        let security = match &start.security {
            Security::Noise(local) => {
                let (static_key, identity) = local.parts();
                RecordedSecurity::Noise {
                    public_key: local.public_key().clone(),
                    static_key: Secret(static_key),
                    identity: identity.to_vec(),
                }
            }
            Security::InsecurePlaintext(local) => {
                RecordedSecurity::InsecurePlaintext(local.public_key().clone())
            }
        };
        Self {
            point: start.point.clone(),
            config: start.config.as_ref().clone(),
            security,
            seed: Secret(start.seed.to_bytes()),
        }
    }

    /// The pipe's two ends.
    #[must_use]
    pub const fn point(&self) -> &ConnectedPoint {
        &self.point
    }

    /// The same connection once more; it keeps its entries for [`Connection::replayed`].
    pub(crate) fn start(
        self,
        id: ConnectionId,
        now: Instant,
    ) -> Result<Connection, security::Error> {
        let security = match self.security {
            RecordedSecurity::Noise {
                public_key,
                static_key,
                identity,
            } => Security::Noise(noise::Local::from_parts(
                public_key,
                static_key.0,
                identity,
            )?),
            RecordedSecurity::InsecurePlaintext(public_key) => {
                Security::InsecurePlaintext(plaintext::Local::new(&public_key))
            }
        };
        let seed = Seed::from_entropy(self.seed.0);
        let mut start = ConnectionStart::new(id, self.point, Arc::new(self.config), security, seed);
        start.tap = Tap::keeping(Machine::Connection(id));
        Ok(start.start(now))
    }
}

impl ConnectionStart {
    pub(super) fn note(&mut self, now: Instant) {
        let input = ConnectionInput::Start(Box::new(RecordedStart::of(self)));
        self.tap.write(&ConnectionEntry::Input { now, input });
    }
}

/// See [`Connection::before_transmit`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    len: usize,
    limit: usize,
    may_act: bool,
    waiting: (usize, usize),
}

pub(super) fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

impl Connection {
    /// Writes an input down, after what was put into the receive buffer before it.
    pub(super) fn note(&mut self, input: ConnectionInput<'_>) {
        self.note_appended();
        let now = self.now;
        self.tap.write(&ConnectionEntry::Input { now, input });
    }

    pub(super) fn note_output(&mut self, output: ConnectionOutput<'_>) {
        self.tap.write(&ConnectionEntry::Output(output));
    }

    pub(super) fn note_appended(&mut self) {
        if self.tap.is_on() && (self.receive.has_unnoted() || self.receive.is_moved()) {
            let (moved, bytes) = (self.receive.is_moved(), self.receive.unnoted());
            let input = ConnectionInput::Appended { moved, bytes };
            let now = self.now;
            self.tap.write(&ConnectionEntry::Input { now, input });
            self.receive.set_noted();
            self.receive.settle();
        }
    }

    /// For [`handle_recv`](Self::handle_recv), which announces what was appended.
    pub(super) fn note_received(&mut self) {
        let (moved, bytes) = (self.receive.is_moved(), self.receive.unnoted());
        let input = ConnectionInput::Received { moved, bytes };
        let now = self.now;
        self.tap.write(&ConnectionEntry::Input { now, input });
        self.receive.set_noted();
    }

    /// Gives room to receive, and writes that down if it changed something.
    pub(super) fn prepare_noting(&mut self, expected: usize, was_quiet: bool) -> &mut BytesMut {
        let before = self.receive.allocation();
        self.receive.prepare(expected);
        let renewed = self.receive.allocation() != before;
        if was_quiet || renewed {
            let capacity = renewed.then(|| count(self.receive.capacity()));
            self.note(ConnectionInput::Room { capacity });
        }
        self.receive.lent_mut()
    }

    pub(super) fn note_message(&mut self, message: Option<&ToSwarm>) {
        let Some(message) = message else { return };
        let digest = self.tap.digest(message);
        let kind = message.kind();
        self.note_output(ConnectionOutput::Message { kind, digest });
    }

    pub(super) fn note_read_result(&mut self, read: Result<Option<&[u8]>, &ReadError>) {
        if read != Err(&ReadError::Blocked) {
            let read = read.map(|bytes| bytes.map(Digest::of));
            self.note_output(ConnectionOutput::Read(read.map_err(ReadError::clone)));
        }
    }

    pub(super) fn note_written(&mut self, written: &Result<usize, WriteError>, offered: usize) {
        if *written != Ok(offered) {
            let written = written.clone().map(count);
            self.note_output(ConnectionOutput::Wrote(written));
        }
    }

    /// What has to be known of the connection before it is asked for what to send.
    pub(super) fn before_transmit(&mut self, len: usize, limit: usize) -> Before {
        self.note_appended();
        Before {
            len,
            limit,
            may_act: self.wants_transmit() || self.may_resume() || self.is_over_lease(),
            waiting: (self.events.len(), self.messages.len()),
        }
    }

    /// Writes down what was sent, unless there was nothing to send and asking changed nothing.
    pub(super) fn note_transmit(&mut self, before: Before, out: &[u8], transmit: Transmit) {
        let sent = out.get(before.len..).unwrap_or_default();
        let waiting = (self.events.len(), self.messages.len());
        if before.may_act || !sent.is_empty() || transmit.shutdown || waiting != before.waiting {
            self.note_output(ConnectionOutput::Transmitted {
                now: self.now,
                limit: count(before.limit),
                sent: Digest::of(sent),
                more: transmit.more,
                shutdown: transmit.shutdown,
            });
        }
    }

    /// The oldest entry that this connection, run again, has written and nobody has taken.
    pub(crate) fn replayed(&mut self) -> Option<Vec<u8>> {
        self.tap.take_kept()
    }

    /// Does what an entry tells of.
    pub(crate) fn replay(&mut self, entry: ConnectionEntry<'_>) {
        match entry {
            ConnectionEntry::End => {}
            ConnectionEntry::Input { now, input } => self.replay_input(now, input),
            ConnectionEntry::Output(ConnectionOutput::Transmitted { now, limit, .. }) => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                self.poll_transmit(now, &mut Vec::new(), limit);
            }
            ConnectionEntry::Output(ConnectionOutput::Event(_)) => {
                self.poll_event();
            }
            ConnectionEntry::Output(ConnectionOutput::Message { .. }) => {
                self.poll_message();
            }
            // What calls return comes of the calls.
            ConnectionEntry::Output(_) => {}
        }
    }

    fn replay_input(&mut self, now: Instant, input: ConnectionInput<'_>) {
        use ConnectionInput as Input;
        self.advance_clock(now);
        match input {
            Input::Start(_) => {}
            Input::Room { capacity } => {
                self.receive
                    .impose(capacity.and_then(|capacity| usize::try_from(capacity).ok()));
                self.recv_buf();
                self.receive.impose(None);
            }
            Input::Appended { moved, bytes } => {
                self.receive.append(bytes, moved);
                self.note_appended();
            }
            Input::Received { moved, bytes } => {
                self.receive.append(bytes, moved);
                self.handle_recv(now);
            }
            Input::EndOfInput => self.handle_eof(now),
            Input::Lost { reason } => self.handle_lost(now, reason.into()),
            Input::Timeout => self.handle_timeout(now),
            Input::Message(message) => self.handle_message(now, message.into_owned()),
            Input::Open {
                names,
                kind,
                options,
            } => {
                let _ = self.open(now, &names, kind, options);
            }
            Input::Close(reason) => self.close(now, reason.into_owned()),
            Input::KeepAlive(keep_alive) => self.set_keep_alive(keep_alive),
            Input::Stream { stream, input } => self.replay_stream(stream, input),
        }
    }

    fn replay_stream(&mut self, stream: StreamId, input: StreamInput<'_>) {
        let Some(mut stream) = self.stream(stream) else {
            return;
        };
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        match input {
            StreamInput::Read(max) => _ = stream.read(size(max)),
            StreamInput::ReadInto(len) => stream.replay_read_into(size(len)),
            StreamInput::Write(bytes) => _ = stream.write(bytes),
            StreamInput::WriteBytes(bytes) => {
                _ = stream.write_bytes(&mut ::bytes::Bytes::copy_from_slice(bytes));
            }
            StreamInput::Finish => _ = stream.finish(),
            StreamInput::Stop => stream.stop(),
            StreamInput::Reset(code) => stream.reset(code),
            StreamInput::Release => stream.release(),
            StreamInput::Priority(priority) => stream.set_priority(priority),
        }
    }
}
