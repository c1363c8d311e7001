//! Kademlia for every pairing of implementations, over loopback TCP.

use drywire_interop::kad::{DrywireKad, JsKad, Libp2pKad};

#[macro_use]
mod scenarios;
mod wire;

pairings! {
    // The reference against itself: a scenario that fails here says something about the test, not about drywire.
    libp2p_to_libp2p: Libp2pKad => Libp2pKad: all;
    drywire_to_libp2p: DrywireKad => Libp2pKad: all;
    libp2p_to_drywire: Libp2pKad => DrywireKad: all;
    drywire_to_drywire: DrywireKad => DrywireKad: all;
    drywire_to_js: DrywireKad => JsKad: to_js;
    js_to_drywire: JsKad => DrywireKad: from_js;
}
