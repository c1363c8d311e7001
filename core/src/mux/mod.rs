//! Stream multiplexing: many streams over one secured pipe.

pub mod code;
pub mod yamux;
