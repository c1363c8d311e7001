//! Byte queues: what was received and not read, what was written and not sent.

mod receive;
mod send;
mod spare;

pub use receive::{HeldMemory, Incoming, Loan, ReceiveBuffer, ReceiveQueue};
pub use send::{SendMemory, SendQueue};
