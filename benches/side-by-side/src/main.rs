//! drywire and rust-libp2p on the same work.
fn main() {}
