//! Byte queues: what was received and not read, what was written and not sent.

mod burst;
mod receive;
mod receive_queue;
mod send;
mod spare;
mod tree;

pub(crate) use burst::pop_front;
pub use receive::{Incoming, ReceiveBuffer};
pub use receive_queue::{HeldMemory, Loan, ReceiveQueue};
pub use send::{SendMemory, SendQueue};
pub(crate) use tree::release;
