//! Codecs of the wire: integers, frames, protocol buffers.
//!
//! Everything here is a function of slices. Nothing keeps input, nothing allocates from a length a peer declared, and
//! every decoder gives the same answer however its input was cut: what is not yet decidable is "need more".
//!
//! | module | codec | source |
//! |---|---|---|
//! | [`varint`] | unsigned integers in groups of seven bits | multiformats unsigned-varint, capped at 10 bytes |
//! | [`framing`] | a varint length, then that many bytes | libp2p's length-prefixed messages |
//! | [`protobuf`] | fields of a protocol buffers message, borrowed from the input | protobuf encoding, wire types 0, 1, 2, 5 |
pub mod framing;
pub mod protobuf;
pub mod varint;
