//! How connections and streams end, as values.

use crate::{multistream, mux::yamux, security};
use alloc::{borrow::Cow, string::String};
use core::fmt;

/// Why a connection ended, or was never made. The first fatal reason is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ConnectionError {
    /// This side closed it: the application, or a protocol, such as ping when the peer no longer answers.
    Closed,
    /// The node is shutting down.
    Shutdown,
    /// Nothing used it for the idle period.
    Idle,
    /// The peer closed it in good order, or its pipe ended without an error.
    ClosedByPeer,
    /// The peer closed the pipe before the connection was established.
    EndOfInput,
    /// The transport failed; the host's words.
    Lost(String),
    /// Negotiating, securing and being admitted took too long.
    HandshakeTimeout,
    /// Protocol negotiation of the connection itself failed.
    Negotiation(multistream::Error),
    /// The security handshake or a secured message failed.
    Security(security::Error),
    /// The peer broke the muxer's rules.
    Muxer(yamux::Error),
    /// The peer reported that this side broke the rules (yamux GoAway with an error code).
    ReportedByPeer(u32),
    /// The peer is not who was expected.
    WrongPeer,
    /// The peer is this very node.
    SelfDial,
    /// A limit of this node stood against it; its name.
    LimitReached(Cow<'static, str>),
    /// The application's rules stood against it.
    Denied,
    /// The application did not read for too long while the connection's buffers were full.
    SlowReader,
    /// What was owed to the peer could not be sent before the closing deadline.
    CloseTimeout,
    /// The peer provoked more work than is allowed (resets, pings, empty frames).
    Flooding,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by this side"),
            Self::Shutdown => f.write_str("this node shut down"),
            Self::Idle => f.write_str("closed after being idle"),
            Self::ClosedByPeer => f.write_str("closed by the peer"),
            Self::EndOfInput => f.write_str("the peer hung up during the handshake"),
            Self::Lost(reason) => write!(f, "connection lost: {reason}"),
            Self::HandshakeTimeout => f.write_str("the handshake took too long"),
            Self::Negotiation(error) => write!(f, "protocol negotiation failed: {error}"),
            Self::Security(error) => write!(f, "security failed: {error}"),
            Self::Muxer(error) => write!(f, "the peer broke the muxer's rules: {error}"),
            Self::ReportedByPeer(code) => {
                write!(f, "the peer closed the connection with error code {code}")
            }
            Self::WrongPeer => f.write_str("the peer is not who was expected"),
            Self::SelfDial => f.write_str("the peer is this node itself"),
            Self::LimitReached(limit) => write!(f, "limit reached: {limit}"),
            Self::Denied => f.write_str("denied by this node's rules"),
            Self::SlowReader => f.write_str("the application read too slowly"),
            Self::CloseTimeout => f.write_str("closing took too long"),
            Self::Flooding => f.write_str("the peer provoked too much work"),
        }
    }
}

impl core::error::Error for ConnectionError {}

/// Why a stream ended, or could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StreamError {
    /// The peer supports none of the names.
    UnsupportedProtocol,
    /// The negotiation broke the rules of multistream-select.
    Negotiation(multistream::Error),
    /// The negotiation took too long.
    NegotiationTimeout,
    /// The peer aborted the stream, with this code (0 where it gave none).
    ResetByPeer(u32),
    /// This side aborted the stream, with this code.
    Reset(u32),
    /// A message is longer than the stream's cap.
    MessageTooLong,
    /// A message is longer than what this node has memory for now.
    ResourceLimitExceeded,
    /// The peer finished in the middle of a message.
    Truncated,
    /// A length prefix is no valid varint.
    BadFrame,
    /// It could not even be asked for.
    Open(OpenError),
    /// The connection ended.
    Connection(ConnectionError),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedProtocol => f.write_str("the peer does not support the protocol"),
            Self::Negotiation(error) => write!(f, "protocol negotiation failed: {error}"),
            Self::NegotiationTimeout => f.write_str("protocol negotiation took too long"),
            Self::ResetByPeer(0) => f.write_str("stream reset by the peer"),
            Self::ResetByPeer(code) => write!(f, "stream reset by the peer with code {code:#x}"),
            Self::Reset(_) => f.write_str("stream reset"),
            Self::MessageTooLong => f.write_str("message too long"),
            Self::ResourceLimitExceeded => f.write_str("not enough memory for the message"),
            Self::Truncated => f.write_str("the peer finished in the middle of a message"),
            Self::BadFrame => f.write_str("malformed length prefix"),
            Self::Open(error) => error.fmt(f),
            Self::Connection(error) => write!(f, "connection ended: {error}"),
        }
    }
}

impl core::error::Error for StreamError {}

/// Why a stream could not even be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum OpenError {
    /// The connection is not established, or is closing.
    NotConnected,
    /// No name was given.
    NoProtocol,
    /// Too many streams are open, or too many await the peer's acknowledgement.
    TooManyStreams,
    /// The peer accepts no more streams on this connection (it sent GoAway).
    GoingAway,
    /// All stream ids of this connection are used up.
    Exhausted,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "not connected",
            Self::NoProtocol => "no protocol name was given",
            Self::TooManyStreams => "too many streams",
            Self::GoingAway => "the peer accepts no more streams on this connection",
            Self::Exhausted => "all stream ids of this connection are used up",
        })
    }
}

impl core::error::Error for OpenError {}
