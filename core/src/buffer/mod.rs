//! Byte queues: what was received and not read, what was written and not sent.

mod receive;
mod send;

pub use receive::{HeldMemory, Incoming, Loan, ReceiveBuffer, ReceiveQueue};
pub use send::SendQueue;
