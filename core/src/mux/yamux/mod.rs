//! Yamux, the stream muxer of libp2p.
//!
//! Sources: the [yamux specification](https://github.com/hashicorp/yamux/blob/master/spec.md), the
//! [libp2p notes on it](https://github.com/libp2p/specs/tree/master/yamux), and the libp2p error-code registry (a reset is a
//! window update with RST whose length field carries the code).
//!
//! A [`Session`] is a function of slices and small state: [`Session::receive`] takes plaintext and says what happened,
//! [`Session::fill`] appends frames to the caller's buffer. It knows no socket, no cipher and no protocol names. Each stream
//! carries a value of the layer above.
//!
//! # Frames
//!
//! A 12-byte header (version 0, type, flags, stream id, length; big-endian), then `length` bytes of payload for data frames.
//! SYN and ACK may ride on data frames and window updates, FIN and RST too. The dialer's streams are odd, the listener's even.
//!
//! # Stream states
//!
//! Each direction of a stream has a state of its own; the stream is gone when both are closed and everything was read.
//!
//! | we send \ state | `SynPending` | `AckPending` | `Open` | `FinQueued` | `FinSent`, `Silenced` |
//! |---|---|---|---|---|---|
//! | first frame is sent | flags SYN, then `Open` | flags ACK, then `Open` | | an empty data frame with FIN after the last data, then `FinSent` | |
//! | write | queued | queued | queued | refused | refused |
//! | finish | `FinQueued` (SYN rides along) | `FinQueued` | `FinQueued` | nothing | nothing |
//! | reset by us | forgotten, nothing on the wire | RST | RST | RST | RST |
//! | window update arrives | error | credit added | credit added | credit added | credit added |
//! | RST arrives | error | queue dropped, reported | the same | the same | the same |
//!
//! | we receive \ state | `Open` | `FinReceived` | `Stopped` (nobody reads) | unknown id |
//! |---|---|---|---|---|
//! | data within credit | queued, reported | error `DataAfterFinish` | discarded, credit returned | discarded; error if it is an id of ours never used |
//! | data beyond credit | error `WindowExceeded` | error | error | discarded; error if beyond every window there can be |
//! | FIN | `FinReceived`, reported | nothing | `FinReceived` | ignored |
//! | SYN | error `AlreadyOpen` | error | error | opens; RST if over a limit; error if of our parity or used before |
//! | RST | reported; what was received stays readable | reported | reported | ignored |
//!
//! # Session states
//!
//! | event | effect |
//! |---|---|
//! | ping request | answered once; at most [`PONGS`] answers wait, more requests are dropped and counted as waste |
//! | ping response | matched with ours: a round-trip time; otherwise waste |
//! | GoAway 0 | no more opens from this side; open streams go on; the connection ends with the last one |
//! | GoAway with a code | the connection ends |
//! | error of the peer | the connection sends GoAway 1 and ends |
//!
//! What a peer can provoke without using up a window (pings, refused or reset streams, more frames for forgotten streams
//! than can have been on their way, empty frames whose flags say nothing new) is counted as waste in a bucket that empties with time; when it overflows the connection ends with
//! [`Error::Flooding`]. None of it queues without a bound.
//!
//! # Flow control
//!
//! Both sides of a stream start with 256 KiB of credit. Reading grants credit back, as a counter that becomes one window
//! update per half window. The window of a stream grows when its reader took half a window within one round trip, which
//! means that the peer had to wait: it aims at twice the bandwidth-delay product, up to [`Config::max_window`], as long as
//! the growth of all streams fits the budget given by [`Session::set_growth_budget`]. It falls back when the reader is the
//! bottleneck or the stream was idle.
//!
//! # Sending
//!
//! Control frames go first. Data goes by priority, and round-robin within a priority by turns of 16 KiB, so that a stream
//! of small frames gets its share. A SYN or ACK rides on the stream's first data frame. FIN follows the last data in an empty
//! frame: what comes in one frame with FIN is lost on js-libp2p 3 when that side has finished.

mod audit;
mod flow;
mod frame;
mod receive;
mod remote_ids;
mod session;
mod stream;
mod transmit;

#[cfg(test)]
mod tests;

pub use frame::{Flags, Header, Kind};
pub use receive::Notice;
pub use session::{Config, GoAway, OpenRefused, Role, Session};
pub use stream::{ReceiveState, SendState, StreamState};
pub use transmit::SentNotice;

use core::fmt;

/// The name under which yamux is negotiated.
pub const PROTOCOL_NAME: &str = "/yamux/1.0.0";
/// The credit of a new stream in each direction, in bytes, as the specification promises it.
pub const INITIAL_WINDOW: u32 = 256 * 1024;
/// The longest payload of a data frame this side sends, in bytes.
pub const MAX_SENT_PAYLOAD: usize = 16 * 1024;
/// Ping answers that may wait to be sent.
pub const PONGS: usize = 4;

/// How the peer broke the rules. All of these end the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Error {
    /// A version other than 0.
    UnknownVersion(u8),
    /// A frame type that does not exist.
    UnknownType(u8),
    /// A data frame or window update for stream 0.
    StreamZero,
    /// A ping or GoAway for a stream.
    SessionFrameOnStream(u32),
    /// The peer opened a stream with an id of this side's parity, or used an id of ours that was never opened.
    WrongSide(u32),
    /// The peer opened a stream that is open.
    AlreadyOpen(u32),
    /// The peer opened a stream with an id it had used before.
    IdUsedBefore(u32),
    /// More data than there was credit for.
    WindowExceeded(u32),
    /// Credit beyond 2^32 - 1 bytes.
    WindowOverflow(u32),
    /// Data after FIN.
    DataAfterFinish(u32),
    /// The peer provoked too much useless work.
    Flooding,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => write!(f, "unknown yamux version {version}"),
            Self::UnknownType(kind) => write!(f, "unknown frame type {kind}"),
            Self::StreamZero => f.write_str("stream frame for stream 0"),
            Self::SessionFrameOnStream(id) => write!(f, "session frame on stream {id}"),
            Self::WrongSide(id) => write!(f, "stream id {id} belongs to the other side"),
            Self::AlreadyOpen(id) => write!(f, "stream {id} is already open"),
            Self::IdUsedBefore(id) => write!(f, "stream id {id} was used before"),
            Self::WindowExceeded(id) => write!(f, "more data than credit on stream {id}"),
            Self::WindowOverflow(id) => write!(f, "credit overflow on stream {id}"),
            Self::DataAfterFinish(id) => write!(f, "data after FIN on stream {id}"),
            Self::Flooding => f.write_str("too many useless frames"),
        }
    }
}

impl core::error::Error for Error {}
