//! Requests and responses for every pairing of implementations, over loopback TCP.

use drywire_interop::requests::{DrywireRequester, Libp2pRequester};

#[macro_use]
mod scenarios;
mod streams;

pairings! {
    // The reference against itself: a scenario that fails here says something about the test, not about drywire.
    libp2p_to_libp2p: Libp2pRequester => Libp2pRequester;
    drywire_to_libp2p: DrywireRequester => Libp2pRequester;
    libp2p_to_drywire: Libp2pRequester => DrywireRequester;
    drywire_to_drywire: DrywireRequester => DrywireRequester;
}
