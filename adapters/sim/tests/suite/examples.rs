//! The examples say what their heads promise, and the same each time.

#[path = "../../examples/bad_link.rs"]
mod bad_link;
#[path = "../../examples/kad.rs"]
mod kad;
#[path = "../../examples/own_protocol.rs"]
mod own_protocol;
#[path = "../../examples/partition.rs"]
mod partition;
#[path = "../../examples/requests.rs"]
mod requests;

use core::error::Error;

/// What an example prints, which is the same when it runs again.
fn prints(run: impl Fn(&mut Vec<u8>) -> Result<(), Box<dyn Error>>) -> String {
    let mut out = Vec::new();
    run(&mut out).unwrap();
    let mut again = Vec::new();
    run(&mut again).unwrap();
    assert_eq!(out, again);
    String::from_utf8(out).unwrap()
}

#[test]
fn worse_links_make_for_slower_calls() {
    let text = prints(|out| bad_link::run(7, out));
    // Name, connections, answered, failed: names are 14 wide.
    let rows: Vec<Vec<u64>> = text
        .lines()
        .skip(3)
        .map(|line| {
            line[14..]
                .split_whitespace()
                .take(3)
                .map(|word| word.parse().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(rows.len(), 4, "{text}");
    for row in &rows[..3] {
        assert_eq!(row[..], [1, 119, 0], "{text}");
    }
    assert!(rows[3][0] > 1, "the tunnel resets a connection: {text}");
    assert!((60..119).contains(&rows[3][1]), "{text}");
    assert!(text.contains("retransmission") && text.contains("stall") && text.contains("reset"));
}

#[test]
fn a_short_partition_is_slept_through_and_a_long_one_is_noticed() {
    let text = prints(|out| partition::run(7, out));
    let parts: Vec<&str> = text.split("---").collect();
    let [met, short, short_healed, long, long_healed, again] = parts[..] else {
        panic!("{text}");
    };
    assert_eq!(met.matches("is connected to").count(), 6, "{text}");
    assert!(
        !short.contains("loses") && !short_healed.contains("loses"),
        "{text}"
    );
    assert_eq!(short_healed.matches("has an answer").count(), 4, "{text}");
    for line in [
        "alice  loses carol",
        "bob    loses carol",
        "carol  loses alice",
        "carol  loses bob",
    ] {
        assert!(long.contains(line), "{text}");
    }
    assert!(
        !long.contains("alice  loses bob") && !long_healed.contains("is connected"),
        "{text}"
    );
    assert!(again.contains("alice  is connected to carol"), "{text}");
}

#[test]
fn the_bug_in_a_protocol_is_found_and_made_small() {
    let text = prints(|out| own_protocol::run(16, out));
    assert!(text.starts_with("16 seeds passed"), "{text}");
    assert!(
        text.contains("all agree in the end: their totals are"),
        "{text}"
    );
    assert!(
        text.contains("    let plan = Plan::new(") && text.contains(".hosts(2)"),
        "{text}"
    );
    // It takes a host that comes back with its key and nothing else.
    assert!(
        text.contains("Trouble::Crashes") || text.contains("Trouble::PowerLosses"),
        "{text}"
    );
}

#[test]
fn every_request_of_the_example_has_an_outcome_and_worse_links_lose_more() {
    let text = prints(|out| requests::run(7, out));
    let rows: Vec<Vec<u32>> = text
        .lines()
        .skip(2)
        .map(|line| {
            // Name, then counts, each followed by what it counts.
            let words = line[14..].split([' ', ',', ';']);
            words.filter_map(|word| word.parse().ok()).collect()
        })
        .collect();
    assert_eq!(rows.len(), 3, "{text}");
    for row in &rows {
        assert_eq!(row.iter().sum::<u32>(), 600, "{text}");
    }
    assert_eq!(rows[0], [600], "{text}");
    assert!(rows[1][0] > rows[2][0] && rows[2][0] > 100, "{text}");
}

#[test]
fn a_record_is_found_before_and_after_a_third_of_the_nodes_is_gone() {
    let text = prints(|out| kad::run(7, out));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 9, "{text}");
    assert!(lines[1].contains("at 20 others"), "{text}");
    assert!(lines[4].starts_with("villager 31 finds it"), "{text}");
    for line in [lines[2], lines[6], lines[8]] {
        assert!(line.contains("gets \"five a loaf\""), "{text}");
    }
}
