//! The nine laws that every machine keeps, and for each machine what shows that it does.
//!
//! | | law | |
//! |---|---|---|
//! | 1 | `any_order` | polls that return nothing, timeouts that are not due and a `now` below the last one change nothing |
//! | 2 | `chunking` | however the input is cut: with the same poll points all outputs are equal, with others what streams deliver |
//! | 3 | `same_seed` | same seed, same calls, same bytes; and what is to be random differs with the seed |
//! | 4 | `deadlines` | a host that drains the polls and sleeps as it is told loses nothing and never spins |
//! | 5 | `idle` | with nothing to do no poll allocates, with one stream or ten thousand |
//! | 6 | `bounded` | whatever a peer does, the machine's memory stays below a number |
//! | 7 | `no_panic` | any bytes at any time end in a typed error, or in nothing |
//! | 8 | `errors` | errors are values, and the first fatal one stays |
//! | 9 | `quiet_end` | after the end nothing is said and nothing is kept; what was refused never came |
//!
//! The table below is all there is: its cells are the tests, and a cell without one has a reason. Print it with
//!
//! ```sh
//! cargo test -p drywire-tests --test laws table -- --nocapture
//! ```
//!
//! That idle costs as few instructions with ten thousand streams as with one is measured, not tested: the rows
//! `idle-polls-at-..` of `benches/micro`'s `instructions`.

#[macro_use]
mod table;

mod connection;
mod errors;
mod machines;
mod peers;
mod protocols;
mod session;
mod slices;
mod swarm;

use drywire::protocol::{
    Standard,
    identify::Identify,
    kad::{Dual, Kademlia},
    ping::Ping,
    stream::Streams,
};
use drywire_tests::{
    net::{Apart, Together},
    pair::Secure,
};
use machines::{
    NegotiatingDialer, NegotiatingListener, NoiseHandshake, NoiseTransport, PlaintextExchange,
};
use protocols::{Bodies, Budgeted};

laws! {
    multistream_dialer: "multistream dialer" {
        any_order: test(slices::any_order::<NegotiatingDialer>),
        chunking: test(slices::chunking::<NegotiatingDialer>),
        same_seed: empty("no seed enters"),
        deadlines: empty("it has no deadlines"),
        idle: test(slices::idle::<NegotiatingDialer>),
        bounded: test(slices::bounded::<NegotiatingDialer>),
        no_panic: test(slices::no_panic::<NegotiatingDialer>),
        errors: test(slices::errors::<NegotiatingDialer>),
        quiet_end: test(slices::quiet_end::<NegotiatingDialer>),
    }
    multistream_listener: "multistream listener" {
        any_order: test(slices::any_order::<NegotiatingListener>),
        chunking: test(slices::chunking::<NegotiatingListener>),
        same_seed: empty("no seed enters"),
        deadlines: empty("it has no deadlines"),
        idle: test(slices::idle::<NegotiatingListener>),
        bounded: test(slices::bounded::<NegotiatingListener>),
        no_panic: test(slices::no_panic::<NegotiatingListener>),
        errors: test(slices::errors::<NegotiatingListener>),
        quiet_end: test(slices::quiet_end::<NegotiatingListener>),
    }
    noise_handshake: "noise handshake" {
        any_order: test(slices::any_order::<NoiseHandshake>),
        chunking: test(slices::chunking::<NoiseHandshake>),
        same_seed: test(slices::same_seed::<NoiseHandshake>),
        deadlines: empty("it has no deadlines"),
        idle: test(slices::idle::<NoiseHandshake>),
        bounded: test(slices::bounded::<NoiseHandshake>),
        no_panic: test(slices::no_panic::<NoiseHandshake>),
        errors: test(slices::errors::<NoiseHandshake>),
        quiet_end: test(slices::quiet_end::<NoiseHandshake>),
    }
    noise_transport: "noise transport" {
        any_order: test(slices::any_order::<NoiseTransport>),
        chunking: test(slices::chunking::<NoiseTransport>),
        same_seed: test(slices::same_seed::<NoiseTransport>),
        deadlines: empty("it has no deadlines"),
        idle: test(slices::idle::<NoiseTransport>),
        bounded: test(slices::bounded::<NoiseTransport>),
        no_panic: test(slices::no_panic::<NoiseTransport>),
        errors: test(slices::errors::<NoiseTransport>),
        quiet_end: test(slices::quiet_end::<NoiseTransport>),
    }
    plaintext: "plaintext" {
        any_order: test(slices::any_order::<PlaintextExchange>),
        chunking: test(slices::chunking::<PlaintextExchange>),
        same_seed: empty("no seed enters"),
        deadlines: empty("it has no deadlines"),
        idle: test(slices::idle::<PlaintextExchange>),
        bounded: test(slices::bounded::<PlaintextExchange>),
        no_panic: test(slices::no_panic::<PlaintextExchange>),
        errors: test(slices::errors::<PlaintextExchange>),
        quiet_end: test(slices::quiet_end::<PlaintextExchange>),
    }
    yamux: "yamux session" {
        any_order: test(session::any_order),
        chunking: test(session::chunking),
        same_seed: empty("no seed enters"),
        deadlines: test(session::deadlines),
        idle: test(session::idle),
        bounded: test(session::bounded),
        no_panic: test(session::no_panic),
        errors: test(session::errors),
        quiet_end: test(session::quiet_end),
    }
    connection_noise: "connection, noise" {
        any_order: test(|| connection::any_order(Secure::Noise)),
        chunking: test(|| connection::chunking(Secure::Noise)),
        same_seed: test(|| connection::same_seed(Secure::Noise)),
        deadlines: test(|| connection::deadlines(Secure::Noise)),
        idle: test(|| connection::idle(Secure::Noise)),
        bounded: test(|| connection::bounded(Secure::Noise)),
        no_panic: test(|| connection::no_panic(Secure::Noise)),
        errors: test(|| connection::errors(Secure::Noise)),
        quiet_end: test(|| connection::quiet_end(Secure::Noise)),
    }
    connection_plaintext: "connection, plaintext" {
        any_order: test(|| connection::any_order(Secure::Plaintext)),
        chunking: test(|| connection::chunking(Secure::Plaintext)),
        same_seed: test(|| connection::same_seed(Secure::Plaintext)),
        deadlines: test(|| connection::deadlines(Secure::Plaintext)),
        idle: test(|| connection::idle(Secure::Plaintext)),
        bounded: test(|| connection::bounded(Secure::Plaintext)),
        no_panic: test(|| connection::no_panic(Secure::Plaintext)),
        errors: test(|| connection::errors(Secure::Plaintext)),
        quiet_end: test(|| connection::quiet_end(Secure::Plaintext)),
    }
    swarm_alone: "swarm" {
        any_order: test(swarm::any_order::<Apart<Standard>>),
        chunking: test(swarm::chunking::<Apart<Standard>>),
        same_seed: test(swarm::same_seed::<Apart<Standard>>),
        deadlines: test(swarm::deadlines::<Apart<Standard>>),
        idle: test(swarm::idle::<Apart<Standard>>),
        bounded: test(|| {
            swarm::bounded::<Apart<Standard>>();
            swarm::bounded_outside::<Apart<Standard>>();
        }),
        no_panic: test(swarm::no_panic::<Apart<Standard>>),
        errors: test(swarm::errors::<Apart<Standard>>),
        quiet_end: test(swarm::quiet_end::<Apart<Standard>>),
    }
    node: "node" {
        any_order: test(swarm::any_order::<Together<Standard>>),
        chunking: test(swarm::chunking::<Together<Standard>>),
        same_seed: test(swarm::same_seed::<Together<Standard>>),
        deadlines: test(swarm::deadlines::<Together<Standard>>),
        idle: test(swarm::idle::<Together<Standard>>),
        bounded: test(|| {
            swarm::bounded::<Together<Standard>>();
            swarm::bounded_outside::<Together<Standard>>();
        }),
        no_panic: test(swarm::no_panic::<Together<Standard>>),
        errors: test(swarm::errors::<Together<Standard>>),
        quiet_end: test(swarm::quiet_end::<Together<Standard>>),
    }
    ping: "ping" {
        any_order: test(swarm::any_order::<Apart<Ping>>),
        chunking: test(swarm::chunking::<Apart<Ping>>),
        same_seed: test(swarm::same_seed::<Apart<Ping>>),
        deadlines: test(swarm::deadlines::<Apart<Ping>>),
        idle: test(swarm::idle_protocol::<Apart<Ping>>),
        bounded: test(swarm::bounded::<Apart<Ping>>),
        no_panic: test(swarm::no_panic::<Apart<Ping>>),
        errors: beside("core/src/protocol/ping/tests.rs", "wrong_answers_and_ended_streams_are_failures"),
        quiet_end: test(swarm::quiet_end::<Apart<Ping>>),
    }
    identify: "identify" {
        any_order: test(swarm::any_order::<Apart<Identify>>),
        chunking: test(swarm::chunking::<Apart<Identify>>),
        same_seed: test(swarm::same_seed::<Apart<Identify>>),
        deadlines: test(swarm::deadlines::<Apart<Identify>>),
        idle: test(swarm::idle_protocol::<Apart<Identify>>),
        bounded: test(swarm::bounded::<Apart<Identify>>),
        no_panic: test(swarm::no_panic::<Apart<Identify>>),
        errors: beside("core/src/protocol/identify/tests.rs", "exchanges_that_hang_or_break_are_failures"),
        quiet_end: test(swarm::quiet_end::<Apart<Identify>>),
    }
    request_response: "request/response" {
        any_order: test(swarm::any_order::<Apart<Bodies>>),
        chunking: test(swarm::chunking::<Apart<Bodies>>),
        same_seed: test(swarm::same_seed::<Apart<Bodies>>),
        deadlines: test(swarm::deadlines::<Apart<Bodies>>),
        idle: test(swarm::idle_protocol::<Apart<Bodies>>),
        bounded: test(swarm::bounded::<Apart<Bodies>>),
        no_panic: test(swarm::no_panic::<Apart<Bodies>>),
        errors: beside("core/src/protocol/request_response/tests/outbound.rs", "every_end_of_a_stream_has_its_failure"),
        quiet_end: test(swarm::quiet_end::<Apart<Bodies>>),
    }
    throttled: "request/response, throttled" {
        any_order: test(swarm::any_order::<Apart<Budgeted>>),
        chunking: test(swarm::chunking::<Apart<Budgeted>>),
        same_seed: test(swarm::same_seed::<Apart<Budgeted>>),
        deadlines: test(swarm::deadlines::<Apart<Budgeted>>),
        idle: test(swarm::idle_protocol::<Apart<Budgeted>>),
        bounded: test(swarm::bounded::<Apart<Budgeted>>),
        no_panic: test(swarm::no_panic::<Apart<Budgeted>>),
        errors: empty("its failures are those of request/response; a budget that is used up is one of its refusals"),
        quiet_end: test(swarm::quiet_end::<Apart<Budgeted>>),
    }
    kad: "kad" {
        any_order: test(swarm::any_order::<Apart<Kademlia>>),
        chunking: test(swarm::chunking::<Apart<Kademlia>>),
        same_seed: test(swarm::same_seed::<Apart<Kademlia>>),
        deadlines: test(swarm::deadlines::<Apart<Kademlia>>),
        idle: test(swarm::idle_protocol::<Apart<Kademlia>>),
        bounded: test(swarm::bounded::<Apart<Kademlia>>),
        no_panic: test(swarm::no_panic::<Apart<Kademlia>>),
        errors: beside("core/src/protocol/kad/tests/streams.rs", "a_malformed_request_costs_its_stream"),
        quiet_end: test(swarm::quiet_end::<Apart<Kademlia>>),
    }
    dual: "kad, WAN and LAN" {
        any_order: test(swarm::any_order::<Apart<Dual>>),
        chunking: test(swarm::chunking::<Apart<Dual>>),
        same_seed: test(swarm::same_seed::<Apart<Dual>>),
        deadlines: test(swarm::deadlines::<Apart<Dual>>),
        idle: test(swarm::idle_protocol::<Apart<Dual>>),
        bounded: test(swarm::bounded::<Apart<Dual>>),
        no_panic: test(swarm::no_panic::<Apart<Dual>>),
        errors: empty("its failures are those of the two it consists of"),
        quiet_end: test(swarm::quiet_end::<Apart<Dual>>),
    }
    stream: "stream" {
        any_order: test(swarm::any_order::<Apart<Streams>>),
        chunking: test(swarm::chunking::<Apart<Streams>>),
        same_seed: test(swarm::same_seed::<Apart<Streams>>),
        deadlines: test(swarm::deadlines::<Apart<Streams>>),
        idle: test(swarm::idle::<Apart<Streams>>),
        bounded: test(swarm::bounded::<Apart<Streams>>),
        no_panic: test(swarm::no_panic::<Apart<Streams>>),
        errors: beside("core/src/protocol/stream/tests.rs", "failures_are_typed"),
        quiet_end: test(swarm::quiet_end::<Apart<Streams>>),
    }
}

/// Prints the table, and checks that it is whole.
#[test]
fn table() {
    println!("{}", table::print(TABLE));
    table::check(TABLE);
}

/// What is named elsewhere is looked for. Fails if any mention of a name counts as its test.
#[test]
fn a_test_that_is_not_there_is_missed() {
    let file = "core/src/protocol/stream/tests.rs";
    assert!(table::is_test(file, "failures_are_typed"));
    assert!(!table::is_test(file, "failures_are_typed_no_more"));
    assert!(!table::is_test(
        "core/src/no/such/file.rs",
        "failures_are_typed"
    ));
    // A function, and no test.
    assert!(!table::is_test("core/src/swarm/tests/mod.rs", "peer"));
    assert!(!table::is_test("core/src/lib.rs", "mod"));
}
