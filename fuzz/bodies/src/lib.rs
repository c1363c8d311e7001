//! What the fuzz targets do with their input.
//!
//! Each function takes any bytes and panics if drywire breaks one of its promises on them. The targets of cargo-fuzz
//! are two-line wrappers around these functions, and the test `replay` runs them over the committed corpora, so that
//! every finding stays found on a stable compiler.
//!
//! A new target is a function here, a line in [`TARGETS`], a wrapper in `fuzz_targets`, a `[[bin]]`, and a corpus of a
//! few seeds; `replay` notices a missing one.
mod connections;
mod input;
mod kad;
mod kad_search;
mod model;
mod multistream;
mod noise;
mod recording;
mod request_response;
mod throttled;
mod values;
mod wire;
mod yamux;

pub use connections::connections;
pub use kad::{ipns_record, kad_message};
pub use kad_search::{kad_iterators, kad_table};
pub use model::connection_model;
pub use multistream::{multistream_dialer, multistream_listener, multistream_pair};
pub use noise::{noise_handshake, noise_pair};
pub use recording::recording;
pub use request_response::request_response;
pub use throttled::throttled_header;
pub use values::{multiaddr, peer_id, public_key, signed_record};
pub use wire::{framing, protobuf, varint};
pub use yamux::yamux;

/// What a target does with one input.
pub type Body = fn(&[u8]);

/// Every target by its name, which is also that of its wrapper and of its corpus.
pub const TARGETS: &[(&str, Body)] = &[
    ("varint", varint),
    ("framing", framing),
    ("protobuf", protobuf),
    ("multistream_dialer", multistream_dialer),
    ("multistream_listener", multistream_listener),
    ("multistream_pair", multistream_pair),
    ("multiaddr", multiaddr),
    ("peer_id", peer_id),
    ("public_key", public_key),
    ("signed_record", signed_record),
    ("noise_handshake", noise_handshake),
    ("noise_pair", noise_pair),
    ("yamux", yamux),
    ("connections", connections),
    ("connection_model", connection_model),
    ("recording", recording),
    ("throttled_header", throttled_header),
    ("request_response", request_response),
    ("kad_message", kad_message),
    ("ipns_record", ipns_record),
    ("kad_table", kad_table),
    ("kad_iterators", kad_iterators),
];
