//! A libp2p node over plain `std::net` sockets and threads, without an async runtime.
//!
//! `cargo run --example node_blocking` starts two nodes; one dials the other, pings it three times, and ends. Given the
//! address of another libp2p node, it pings that one. The host that drives them is in `blocking/mod.rs`.
#![allow(clippy::restriction, reason = "an example may panic")]

mod blocking;

use blocking::{Host, now};
use drywire::{
    protocol::{Standard, StandardEvent},
    swarm::{DialOptions, Event},
};
use std::thread;

fn main() {
    let (mut server, mut client) = (
        Host::new(Standard::default()),
        Host::new(Standard::default()),
    );
    let own = server.listen();
    thread::spawn(move || server.run(|_, _| false));

    let given = std::env::args().nth(1).map(|text| text.parse().unwrap());
    let options = DialOptions::address(given.unwrap_or(own));
    client.node.dial(now(), options).unwrap();
    let mut pings = 0;
    client.run(|node, event| {
        println!("{event:?}");
        if let Event::Protocol(StandardEvent::Ping(event)) = &event {
            pings += u32::from(event.result.is_ok());
            match pings {
                3.. => node.shutdown(now()),
                _ => drop(node.with(now(), |set, cx| {
                    set.ping(cx, |p, cx| p.ping(&event.peer, cx))
                })),
            }
        }
        matches!(event, Event::ShutdownComplete | Event::DialFailed { .. })
    });
    assert!(pings >= 3, "the peer was not reached");
}
