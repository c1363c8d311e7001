//! Every scenario for every pairing of implementations, over loopback TCP.

use drywire_interop::{DrywirePeer, Libp2pPeer};

#[macro_use]
mod scenarios;

pairings! {
    // The reference against itself: a scenario that fails here says something about the test, not about drywire.
    libp2p_to_libp2p: Libp2pPeer => Libp2pPeer;
    drywire_to_libp2p: DrywirePeer => Libp2pPeer;
    libp2p_to_drywire: Libp2pPeer => DrywirePeer;
    drywire_to_drywire: DrywirePeer => DrywirePeer;
}
