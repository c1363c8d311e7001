//! Entries as people read them.

use super::{
    ConnectionEntry, ConnectionInput, ConnectionOutput, Entry, StreamInput, SwarmEntry, SwarmInput,
    SwarmOutput,
};
use core::fmt::{self, Debug, Display, Formatter};

impl Display for Entry<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swarm(entry) => Display::fmt(entry, f),
            Self::Connection(entry) => Display::fmt(entry, f),
        }
    }
}

impl Display for ConnectionEntry<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("gone"),
            Self::Input { now, input } => write!(f, "{now:?} <- {input}"),
            Self::Output(output) => write!(f, "-> {output}"),
        }
    }
}

impl Display for SwarmEntry<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("gone"),
            Self::Input { now, input } => write!(f, "{now:?} <- {input}"),
            Self::Output(output) => write!(f, "-> {output}"),
        }
    }
}

impl Display for ConnectionInput<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => {
                let point = start.point();
                write!(f, "start {:?} {}", point.direction, point.remote)
            }
            Self::Room { capacity: None } => f.write_str("room"),
            Self::Room {
                capacity: Some(capacity),
            } => write!(f, "room of {capacity} bytes"),
            Self::Appended { bytes, .. } => write!(f, "append {} bytes", bytes.len()),
            Self::Received { bytes, .. } => write!(f, "receive {} bytes", bytes.len()),
            Self::EndOfInput => f.write_str("end of input"),
            Self::Lost { reason } => write!(f, "lost: {reason}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Message(message) => write!(f, "message {}", message.kind()),
            Self::Open {
                names,
                kind,
                options,
            } => write!(f, "open {names:?} {kind:?} {options:?}"),
            Self::Close(reason) => write!(f, "close: {reason}"),
            Self::KeepAlive(wanted) => write!(f, "keep alive: {wanted}"),
            Self::Stream { stream, input } => write!(f, "{stream} {input}"),
        }
    }
}

impl Display for StreamInput<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(max) => write!(f, "read at most {max} bytes"),
            Self::ReadInto(len) => write!(f, "read into {len} bytes"),
            Self::Write(bytes) | Self::WriteBytes(bytes) => {
                write!(f, "write {} bytes", bytes.len())
            }
            Self::Finish => f.write_str("finish"),
            Self::Stop => f.write_str("stop"),
            Self::Reset(code) => write!(f, "reset with code {code:#x}"),
            Self::Release => f.write_str("release"),
            Self::Priority(priority) => write!(f, "priority {priority}"),
        }
    }
}

impl Display for ConnectionOutput<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transmitted {
                sent,
                more,
                shutdown,
                ..
            } => {
                write!(f, "transmit {sent}")?;
                f.write_str(if *more { ", more" } else { "" })?;
                f.write_str(if *shutdown { ", shutdown" } else { "" })
            }
            Self::Event(event) => write!(f, "event {event:?}"),
            Self::Message { kind, digest } => write!(f, "message {kind}, {digest}"),
            Self::Opened(opened) => result(f, "opened", opened),
            Self::Read(Ok(None)) => f.write_str("read the end"),
            Self::Read(Ok(Some(read))) => write!(f, "read {read}"),
            Self::Read(Err(error)) => write!(f, "no read: {error}"),
            Self::Wrote(wrote) => result(f, "wrote", wrote),
        }
    }
}

fn result<T: Debug, E: Display>(
    f: &mut Formatter<'_>,
    what: &str,
    result: &Result<T, E>,
) -> fmt::Result {
    match result {
        Ok(value) => write!(f, "{what} {value:?}"),
        Err(error) => write!(f, "not {what}: {error}"),
    }
}

impl Display for SwarmInput<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(_) => f.write_str("start"),
            Self::Accept(point) => write!(f, "accept {}", point.remote),
            Self::Dialed { attempt, result } => match result {
                Ok(point) => write!(f, "dialed {attempt}: {}", point.remote),
                Err(error) => write!(f, "dialed {attempt}: {error}"),
            },
            Self::Message {
                connection,
                message,
            } => write!(f, "message {} of {connection}", message.kind()),
            Self::Closed(connection) => write!(f, "closed {connection}"),
            Self::Listener { listener, update } => write!(f, "listener {listener}: {update:?}"),
            Self::Resolved { lookup, answer } => {
                write!(f, "resolved {}: {answer:?}", lookup.number())
            }
            Self::Interfaces(interfaces) => write!(f, "interfaces {interfaces:?}"),
            Self::WallClock(unix) => write!(f, "wall clock {}", unix.as_nanos()),
            Self::Timeout => f.write_str("timeout"),
            Self::Dial(options) => write!(f, "dial {options:?}"),
            Self::CancelDial(dial) => write!(f, "cancel dial {dial}"),
            Self::Listen(address) => write!(f, "listen on {address}"),
            Self::StopListening(listener) => write!(f, "stop listener {listener}"),
            Self::Disconnect(peer) => write!(f, "disconnect {peer}"),
            Self::Close(connection) => write!(f, "close {connection}"),
            Self::Shutdown => f.write_str("shut down"),
            Self::DenyPeer(peer) => write!(f, "deny {peer}"),
            Self::AllowPeer(peer) => write!(f, "allow {peer}"),
            Self::DenyNetwork(network, prefix) => write!(f, "deny {network}/{prefix}"),
            Self::AllowNetwork(network, prefix) => write!(f, "allow {network}/{prefix}"),
            Self::AddAddress(peer, address) => write!(f, "add address of {peer}: {address}"),
            Self::RemoveAddress(peer, address) => write!(f, "remove address of {peer}: {address}"),
            Self::AddExternal(address) => write!(f, "add external address {address}"),
            Self::RemoveExternal(address) => write!(f, "remove external address {address}"),
            Self::AcceptStreams(name, accept) => write!(f, "accept streams {name}: {accept:?}"),
            Self::UnacceptStreams(name) => write!(f, "accept no more streams {name}"),
            Self::Closure { number } => write!(f, "closure {number}"),
        }
    }
}

impl Display for SwarmOutput<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { connection, .. } => write!(f, "start {connection}"),
            Self::Unwanted => f.write_str("not wanted"),
            Self::Dialing(dial) => write!(f, "dialing {dial}"),
            Self::Listening(listener) => write!(f, "listening {listener}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Answer(answer) => write!(f, "answer {answer}"),
            Self::Action(action) => write!(f, "action {action}"),
            Self::Message {
                connection,
                kind,
                digest,
            } => write!(f, "message {kind} to {connection}, {digest}"),
            Self::Event(event) => write!(f, "event {event}"),
        }
    }
}
