//! One stream's two directions.

use super::{INITIAL_WINDOW, frame::Flags};
use crate::{
    buffer::{ReceiveQueue, SendQueue},
    time::Instant,
};

/// What this side may still do in its own direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendState {
    /// Writing is possible.
    Open,
    /// No more writes; FIN follows what is queued.
    FinQueued,
    /// FIN is on its way.
    FinSent,
    /// The session ends: nothing more is sent.
    Silenced,
}

/// What may still come from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveState {
    /// Data may come.
    Open,
    /// FIN came: nothing more will.
    FinReceived,
}

/// Under what the queued bytes of a stream are counted, besides under all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metering {
    /// Nothing.
    Plain,
    /// [`metered_bytes`](super::Session::metered_bytes).
    Metered,
    /// [`bytes_aside`](super::Session::bytes_aside).
    Aside,
}

/// The state of one stream, with a value `X` of the layer above.
#[derive(Debug)]
pub struct StreamState<X> {
    /// The layer above keeps its own state here.
    pub extra: X,
    pub(super) id: u32,
    pub(super) outbound: bool,
    pub(super) syn_pending: bool,
    pub(super) ack_pending: bool,
    pub(super) acknowledged: bool,
    pub(super) send_state: SendState,
    pub(super) receive_state: ReceiveState,
    /// Nobody reads any more: what comes is discarded.
    pub(super) stopped: bool,
    /// Whether any data was sent on it, which makes a reset by the peer ordinary.
    pub(super) answered: bool,
    /// How its queued bytes are counted.
    pub(super) metering: Metering,
    /// The writer waits for the queue to become at most half full.
    pub(super) wants_space: bool,
    /// The peer's reset, with its code.
    pub(super) reset: Option<u32>,
    pub(super) priority: u8,
    /// Listed for a control frame / for data.
    pub(super) control_listed: bool,
    pub(super) data_listed: bool,
    /// Bytes it may still send in its turn.
    pub(super) turn_left: u16,

    pub(super) queue: ReceiveQueue,
    pub(super) send: SendQueue,
    /// What this side may still send.
    pub(super) send_credit: u32,
    /// Bytes sent for which the peer has not returned credit.
    pub(super) uncredited: u32,
    /// What the peer may still send.
    pub(super) receive_credit: u32,
    /// Bytes of `queue` for which credit has already been returned.
    pub(super) credited: u32,
    /// Credit to return with the next window update.
    pub(super) returnable: u32,
    /// The window aimed at.
    pub(super) window: u32,
    pub(super) last_grant: Instant,
}

impl<X> StreamState<X> {
    pub(super) fn new(id: u32, outbound: bool, now: Instant, extra: X) -> Self {
        Self {
            extra,
            id,
            outbound,
            syn_pending: outbound,
            ack_pending: !outbound,
            acknowledged: !outbound,
            send_state: SendState::Open,
            receive_state: ReceiveState::Open,
            stopped: false,
            answered: false,
            wants_space: false,
            metering: Metering::Plain,
            reset: None,
            priority: 128,
            control_listed: false,
            data_listed: false,
            turn_left: 0,
            queue: ReceiveQueue::default(),
            send: SendQueue::default(),
            send_credit: INITIAL_WINDOW,
            uncredited: 0,
            receive_credit: INITIAL_WINDOW,
            credited: 0,
            returnable: 0,
            window: INITIAL_WINDOW,
            last_grant: now,
        }
    }

    /// The number of the stream on the wire.
    #[must_use]
    pub const fn wire_id(&self) -> u32 {
        self.id
    }

    /// Whether this side opened it.
    #[must_use]
    pub const fn is_outbound(&self) -> bool {
        self.outbound
    }

    /// This side's direction.
    #[must_use]
    pub const fn send_state(&self) -> SendState {
        self.send_state
    }

    /// The peer's direction.
    #[must_use]
    pub const fn receive_state(&self) -> ReceiveState {
        self.receive_state
    }

    /// The code of the peer's reset, if it reset the stream.
    #[must_use]
    pub const fn reset_code(&self) -> Option<u32> {
        self.reset
    }

    /// Bytes received and not read.
    #[must_use]
    pub fn readable(&self) -> usize {
        self.queue.len()
    }

    /// Bytes written and not sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.send.len()
    }

    /// Whether there is something for [`Session::fill`](super::Session::fill) to send as data.
    pub(super) fn has_data_to_send(&self) -> bool {
        if self.reset.is_some() {
            return false;
        }
        if self.send.is_empty() {
            return self.syn_pending || self.send_state == SendState::FinQueued;
        }
        self.send_credit > 0 || self.syn_pending
    }

    /// Whether a frame's flags say something that was not known.
    pub(super) fn is_news(&self, flags: Flags) -> bool {
        let acknowledges = flags.has(Flags::ACK) && !self.acknowledged;
        let finishes = flags.has(Flags::FIN) && self.receive_state == ReceiveState::Open;
        acknowledges || finishes
    }

    /// Both directions are over and everything was read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.send_state == SendState::FinSent
            && self.receive_state == ReceiveState::FinReceived
            && self.queue.is_empty()
    }
}
