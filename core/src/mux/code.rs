//! Error codes that travel in a stream's reset where the muxer can carry them.
//!
//! The numbers are those of the
//! [libp2p error-code registry](https://github.com/libp2p/specs/blob/master/error-codes/README.md) for streams. Yamux
//! carries them in the length field of a window update with RST; peers that know nothing of it ignore it.

/// No reason given.
pub const NO_ERROR: u32 = 0;
/// No protocol could be agreed.
pub const PROTOCOL_NEGOTIATION_FAILED: u32 = 0x1001;
/// A limit was reached.
pub const RESOURCE_LIMIT_EXCEEDED: u32 = 0x1002;
/// Too many in too short a time.
pub const RATE_LIMITED: u32 = 0x1003;
/// The peer broke the protocol.
pub const PROTOCOL_VIOLATION: u32 = 0x1004;
/// The node shuts down.
pub const SHUTDOWN: u32 = 0x1007;
