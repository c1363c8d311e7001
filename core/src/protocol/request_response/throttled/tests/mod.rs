//! The books, the header, one machine against a played peer, and whole nodes against each other.

mod defects;
mod header;
mod hostile;
mod ledger;
mod pairs;
mod played;

use super::*;
use crate::protocol::request_response::{BytesCodec, Message};
use bytes::Bytes;
use core::time::Duration;

const NAME: ProtocolName = ProtocolName::from_static("/ping/1");
const WIRE: ProtocolName = ProtocolName::from_static("/t/1/ping/1");

type Machine = Throttled<BytesCodec>;
type Told = ThrottledEvent<Bytes, Bytes>;

fn machine(limit: u16) -> Machine {
    let mut machine = Machine::new([(NAME, ProtocolSupport::Full)], Config::default());
    machine.set_receive_limit(NonZeroU16::new(limit).unwrap());
    machine
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
