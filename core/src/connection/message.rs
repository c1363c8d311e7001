//! What a connection and its swarm tell each other. Hosts carry these values and cannot look inside.

use super::{
    ConnectionError, StreamError,
    id::StreamId,
    table::{InboundTable, Slot, StreamKind},
};
use crate::{identity::PeerId, identity::PublicKey, multistream::ProtocolName, resource::Lease};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::time::Duration;
use smallvec::SmallVec;

/// Commands a swarm may have on their way to one connection before it waits for
/// [`ToSwarmMessage::Processed`]; the connection reports after a quarter of them.
pub(crate) const COMMANDS_AT_ONCE: u32 = 64;
/// Bytes a swarm may have on their way to, or queued in, one connection; reported after a quarter of them.
pub(crate) const BYTES_AT_ONCE: u64 = 256 * 1024;
/// A swarm says that it has heard of the ends of streams for so many at once.
pub(crate) const ENDS_AT_ONCE: usize = 8;

/// A message from a connection to its swarm. Carry it to `Swarm::handle_message`, in order.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct ToSwarm(pub(crate) ToSwarmMessage);

impl ToSwarm {
    pub(super) fn is_data_of(&self, id: StreamId) -> bool {
        matches!(&self.0, ToSwarmMessage::Data { stream, .. } if *stream == id)
    }
}

/// A message from the swarm to one of its connections. Carry it to `Connection::handle_message`, in order.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub struct ToConnection(pub(crate) ToConnectionMessage);

impl ToSwarm {
    /// Who the peer has proven to be, if this message tells that and asks for admission. For connections without a swarm.
    #[must_use]
    pub fn secured_peer(&self) -> Option<PeerId> {
        match &self.0 {
            ToSwarmMessage::Secured(secured) => Some(secured.peer),
            _ => None,
        }
    }

    /// What the connection asks for beyond its lease, if this message does. For connections without a swarm; answer with
    /// [`ToConnection::lease`].
    #[must_use]
    pub const fn requested_lease(&self) -> Option<Lease> {
        match self.0 {
            ToSwarmMessage::NeedLease(request) => Some(request),
            _ => None,
        }
    }
}

impl ToConnection {
    /// Lets the connection run with the given names and resources. For connections without a swarm, which admits with a
    /// table and a lease of its own.
    #[must_use]
    pub const fn admit(table: Arc<InboundTable>, lease: Lease) -> Self {
        Self(ToConnectionMessage::Admit { table, lease })
    }

    /// Answers a request for more with what is granted; an empty lease refuses it. For connections without a swarm.
    #[must_use]
    pub const fn lease(granted: Lease) -> Self {
        Self(ToConnectionMessage::Lease(granted))
    }
}

#[cfg(feature = "recording")]
impl ToSwarm {
    /// What it is about, in a word.
    pub(crate) const fn kind(&self) -> &'static str {
        match &self.0 {
            ToSwarmMessage::Secured(_) => "Secured",
            ToSwarmMessage::Inbound { .. } => "Inbound",
            ToSwarmMessage::Opened { .. } => "Opened",
            ToSwarmMessage::Data { .. } => "Data",
            ToSwarmMessage::RemoteFinished { .. } => "RemoteFinished",
            ToSwarmMessage::Ended { .. } => "Ended",
            ToSwarmMessage::Processed { .. } => "Processed",
            ToSwarmMessage::RoundTrip(_) => "RoundTrip",
            ToSwarmMessage::NeedLease(_) => "NeedLease",
            ToSwarmMessage::ReturnLease(_) => "ReturnLease",
            ToSwarmMessage::Closed(_) => "Closed",
            ToSwarmMessage::Sent { .. } => "Sent",
        }
    }
}

#[cfg(feature = "recording")]
impl ToConnection {
    /// What it is about, in a word.
    pub(crate) const fn kind(&self) -> &'static str {
        match &self.0 {
            ToConnectionMessage::Admit { .. } => "Admit",
            ToConnectionMessage::Refuse(_) => "Refuse",
            ToConnectionMessage::Table(_) => "Table",
            ToConnectionMessage::Open { .. } => "Open",
            ToConnectionMessage::Send { .. } => "Send",
            ToConnectionMessage::Finish { .. } => "Finish",
            ToConnectionMessage::Reset { .. } => "Reset",
            ToConnectionMessage::Consumed { .. } => "Consumed",
            ToConnectionMessage::HandOver { .. } => "HandOver",
            ToConnectionMessage::Lease(_) => "Lease",
            ToConnectionMessage::KeepAlive(_) => "KeepAlive",
            ToConnectionMessage::Close(_) => "Close",
            ToConnectionMessage::OpenWith { .. } => "OpenWith",
            ToConnectionMessage::SendLast { .. } => "SendLast",
            ToConnectionMessage::ReportSent { .. } => "ReportSent",
            ToConnectionMessage::EndsHeard { .. } => "EndsHeard",
        }
    }
}

/// Who was met.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SecuredPeer {
    pub(crate) peer: PeerId,
    pub(crate) public_key: PublicKey,
}

/// Why a stream owned by a protocol is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StreamEnd {
    /// Both sides finished and everything was delivered.
    Finished,
    /// It ended otherwise.
    Failed(StreamError),
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum ToSwarmMessage {
    /// The peer has proven its identity and the muxer is agreed. Nothing is delivered before the answer.
    Secured(Box<SecuredPeer>),
    /// The peer opened a stream for the protocol at `slot`.
    Inbound {
        stream: StreamId,
        slot: Slot,
        name: ProtocolName,
    },
    /// The peer agreed to `name` on a stream the swarm opened.
    Opened {
        stream: StreamId,
        name: ProtocolName,
    },
    /// A whole message, or a chunk of a raw stream. The next follows [`ToConnectionMessage::Consumed`].
    Data {
        stream: StreamId,
        #[cfg_attr(feature = "recording", serde(with = "crate::connection::codec::bytes"))]
        bytes: Bytes,
    },
    /// The peer will send no more on this stream; everything it sent has been delivered.
    RemoteFinished {
        stream: StreamId,
    },
    /// A stream is over; also the answer to an open that failed. Nothing follows for it.
    Ended {
        stream: StreamId,
        end: StreamEnd,
    },
    /// Commands handled and bytes gone from the send queues since the last such message.
    Processed {
        commands: u32,
        bytes: u64,
    },
    /// A new round-trip time.
    RoundTrip(Duration),
    /// More of the node-wide resources is wanted, or some is given back.
    NeedLease(Lease),
    ReturnLease(Lease),
    /// The last message.
    Closed(ConnectionError),
    /// Everything sent on the stream, its finish included, has left for the network. Only where that was asked for.
    Sent {
        stream: StreamId,
    },
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum ToConnectionMessage {
    /// The connection may run.
    Admit {
        #[cfg_attr(
            feature = "recording",
            serde(with = "crate::connection::codec::shared")
        )]
        table: Arc<InboundTable>,
        lease: Lease,
    },
    /// The connection must go, telling the peer why where the protocol can.
    Refuse(ConnectionError),
    /// A newer table of accepted names.
    Table(
        #[cfg_attr(
            feature = "recording",
            serde(with = "crate::connection::codec::shared")
        )]
        Arc<InboundTable>,
    ),
    /// Open a stream under an id the swarm chose.
    Open {
        stream: StreamId,
        slot: Slot,
        #[cfg_attr(feature = "recording", serde(with = "crate::connection::codec::names"))]
        names: SmallVec<[ProtocolName; 1]>,
        kind: StreamKind,
        background: bool,
    },
    /// Queue one message (framed as the stream's kind says) or, on a raw stream, bytes.
    Send {
        stream: StreamId,
        #[cfg_attr(feature = "recording", serde(with = "crate::connection::codec::bytes"))]
        bytes: Bytes,
    },
    /// Half-close after what is queued.
    Finish { stream: StreamId },
    /// Abort both directions. Nothing more is reported for the stream.
    Reset { stream: StreamId, code: u32 },
    /// The last data of this stream was taken.
    Consumed { stream: StreamId },
    /// From now on the host owns this stream.
    HandOver {
        stream: StreamId,
        /// The protocol has handled the last message, which was not reported as consumed. Otherwise a message on its way is
        /// lost there, and the host gets it.
        had_message: bool,
    },
    /// More of the node-wide resources. An empty lease is a refusal.
    Lease(Lease),
    /// Whether somebody wants this connection open although it is idle.
    KeepAlive(bool),
    /// Close, telling the peer why where the protocol can.
    Close(ConnectionError),
    /// As `Open`, `Send` and `Finish` in one.
    OpenWith {
        stream: StreamId,
        slot: Slot,
        #[cfg_attr(feature = "recording", serde(with = "crate::connection::codec::names"))]
        names: SmallVec<[ProtocolName; 1]>,
        kind: StreamKind,
        background: bool,
        #[cfg_attr(feature = "recording", serde(with = "crate::connection::codec::bytes"))]
        bytes: Bytes,
    },
    /// As `Send` and `Finish` in one.
    SendLast {
        stream: StreamId,
        #[cfg_attr(feature = "recording", serde(with = "crate::connection::codec::bytes"))]
        bytes: Bytes,
    },
    /// Say `Sent` when the stream's finish has left.
    ReportSent { stream: StreamId },
    /// The ends of these streams were heard: nothing more is said of them.
    EndsHeard { streams: Vec<StreamId> },
}
