//! The table of defaults in SECURITY.md is that of the code.

use super::read;
use core::time::Duration;
use drywire::{
    connection, multistream,
    mux::yamux,
    resource,
    security::noise,
    swarm,
    swarm::{AddressBookConfig, ConnectionLimits, Rate},
};

fn size(bytes: impl TryInto<u64>) -> String {
    let bytes = bytes.try_into().unwrap_or(0);
    assert!(bytes >= 1024 && bytes.is_multiple_of(1024), "{bytes}");
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

fn secs(duration: Duration) -> String {
    assert_eq!(duration.subsec_nanos(), 0);
    format!("{} s", duration.as_secs())
}

fn rate(rate: Rate) -> String {
    format!(
        "{} at once, then one every {}",
        rate.burst,
        secs(rate.interval)
    )
}

/// What the table must say: the limit, and its value in the code.
fn rows() -> Vec<(&'static str, String)> {
    let limits = ConnectionLimits::default();
    let connection = connection::Config::default();
    let yamux = &connection.yamux;
    let shared = resource::Limits::default();
    let book = AddressBookConfig::default();
    assert_eq!(swarm::Config::default().limits, limits);
    assert_eq!(
        [yamux.max_inbound_streams, yamux.max_outbound_streams],
        [connection.max_streams; 2]
    );
    let window = format!(
        "{}, growing to {}",
        size(yamux::INITIAL_WINDOW),
        size(yamux.max_window)
    );
    let lines = format!(
        "{}, {} rounds, {} in all",
        size(multistream::MAX_LINE_LEN as u64),
        multistream::MAX_ROUNDS,
        size(multistream::MAX_TOTAL_LEN as u64)
    );
    vec![
        (
            "connections",
            format!(
                "{}, of which {} accepted",
                limits.connections, limits.inbound
            ),
        ),
        ("connections to one peer", limits.per_peer.to_string()),
        (
            "accepted from one IPv4 address or IPv6 /56",
            limits.per_address.to_string(),
        ),
        ("accepted from one IPv6 /48", limits.per_site.to_string()),
        (
            "new from one IPv4 address or IPv6 /56",
            rate(limits.rate_per_address),
        ),
        ("new from one IPv6 /48", rate(limits.rate_per_site)),
        (
            "accepted, in their handshake",
            format!(
                "{}, of which {} from one address",
                limits.pending, limits.pending_per_address
            ),
        ),
        (
            "from the first byte to being admitted",
            secs(connection.handshake_timeout),
        ),
        (
            "negotiating the protocol of a stream",
            secs(connection.negotiation_timeout),
        ),
        (
            "streams negotiating at once, on one connection",
            connection.max_negotiating_streams.to_string(),
        ),
        (
            "streams from each side, on one connection",
            connection.max_streams.to_string(),
        ),
        ("a connection without use", secs(connection.idle_timeout)),
        (
            "a reader that does not read",
            secs(connection.slow_reader_timeout),
        ),
        ("saying goodbye", secs(connection.close_timeout)),
        (
            "bytes one stream queues to send",
            size(connection.stream_send_queue as u64),
        ),
        (
            "bytes one connection queues to send",
            size(connection.connection_send_queue as u64),
        ),
        ("a stream's receive window", window),
        (
            "received and unread or promised, one connection",
            size(shared.connection.bytes),
        ),
        ("the same, one peer", size(shared.peer.bytes)),
        ("the same, the whole node", size(shared.node.bytes)),
        (
            "frames without use (pings, refused streams, resets)",
            format!(
                "{} at once, then {} a second",
                yamux.waste_burst, yamux.waste_per_second
            ),
        ),
        ("a line of protocol negotiation", lines),
        (
            "the payload of a Noise handshake",
            size(noise::MAX_PAYLOAD as u64),
        ),
        (
            "addresses remembered",
            format!("{} of each of {} peers", book.max_addresses, book.max_peers),
        ),
    ]
}

#[test]
fn the_defaults_are_those_of_the_code() {
    let document = read("SECURITY.md");
    let table = document
        .split("## Limits by default")
        .nth(1)
        .expect("the chapter");
    let table: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    let rows = rows();
    for (limit, value) in &rows {
        let row = format!("| {limit} | {value} |");
        assert!(
            table.iter().any(|line| line.starts_with(&row)),
            "missing: {row}"
        );
    }
    assert_eq!(table.len(), rows.len(), "a row that is not checked");
}
