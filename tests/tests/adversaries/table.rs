//! Which test answers which attack, and which limit.

use crate::{kad_limits::KAD_LIMITS, request_limits::REQUEST_LIMITS};
use Test::{Beside, Here};
use std::path::{Path, PathBuf};

/// Where a test is.
pub(crate) enum Test {
    /// In this set: module and name.
    Here(&'static str, &'static str),
    /// Beside the code: file and name.
    Beside(&'static str, &'static str),
}

/// The attacks on what there is: their numbers, what they are, their tests.
const ATTACKS: &[(&str, &str, &[Test])] = &[
    (
        "T1",
        "pings that are never read",
        &[
            Here("muxer", "a_million_pings_never_read_leave_four_answers"),
            Here("muxer", "a_flood_of_pings_ends_the_connection"),
            Here("records", "questions_whose_answers_are_never_read_are_few"),
            Beside(YAMUX, "pings_that_are_never_read_are_bounded"),
        ],
    ),
    (
        "T2",
        "credit of any size",
        &[
            Here("muxer", "any_credit_is_added_or_refused"),
            Beside(YAMUX, "any_credit_is_added_or_refused"),
        ],
    ),
    (
        "T3",
        "an oversize first frame",
        &[
            Here("muxer", "an_oversize_first_frame_opens_nothing"),
            Beside(YAMUX, "an_oversize_first_frame_leaves_nothing_behind"),
        ],
    ),
    (
        "T4",
        "declared lengths",
        &[
            Here(
                "muxer",
                "a_length_beyond_every_window_ends_the_connection_at_once",
            ),
            Here("amplification", "a_stranger_costs_what_it_sends"),
            Beside(HEAP, "a_declared_length_reserves_nothing"),
            Beside(YAMUX, "a_declared_length_reserves_nothing"),
        ],
    ),
    (
        "T5",
        "endings amid a frame",
        &[
            Here("muxer", "endings_race_with_half_a_frame"),
            Beside(YAMUX, "endings_race_with_half_a_frame"),
            Beside(CONNECTION, "the_pipe_may_end_at_any_byte"),
        ],
    ),
    (
        "T6",
        "streams that come and go",
        &[
            Here("muxer", "a_million_streams_leave_nothing_in_the_session"),
            Here("muxer", "streams_leave_nothing_in_the_connection"),
            Beside(YAMUX, "stream_churn_leaves_nothing"),
        ],
    ),
    (
        "T7",
        "rapid reset",
        &[
            Here(
                "muxer",
                "opening_and_resetting_in_a_loop_ends_the_connection",
            ),
            Here(
                "muxer",
                "reset_streams_hold_their_places_until_they_are_let_go",
            ),
            Beside(YAMUX, "opening_and_resetting_in_a_loop_ends_the_connection"),
            Beside(YAMUX, "streams_over_the_limit_are_reset_with_the_reason"),
        ],
    ),
    (
        "T8",
        "empty frames",
        &[
            Here("muxer", "a_million_empty_frames_keep_nothing"),
            Beside(YAMUX, "empty_frames_retain_nothing_and_end_the_connection"),
        ],
    ),
    (
        "T9",
        "every schedule of a negotiation",
        &[Beside(
            MULTISTREAM,
            "every_schedule_of_two_parties_ends_the_same",
        )],
    ),
    (
        "T10",
        "garbage in a negotiation",
        &[
            Here(
                "negotiation",
                "garbage_instead_of_the_first_lines_ends_the_connection",
            ),
            Here("negotiation", "garbage_on_a_stream_costs_the_stream"),
            Here("negotiation", "a_negotiation_that_never_ends_is_ended"),
            Here("negotiation", "dripping_bytes_buy_no_time"),
            Beside(MULTISTREAM, "garbage_is_survived"),
            Beside(MULTISTREAM, "a_list_is_told_once"),
            Beside(CONNECTION, "a_silent_dialer_is_dropped_at_the_deadline"),
        ],
    ),
    (
        "T11",
        "delays and stalls",
        &[Here(
            "liveness",
            "every_byte_arrives_through_delays_and_stalls",
        )],
    ),
    (
        "T12",
        "flipped bits",
        &[
            Here("security", "any_flipped_bit_ends_the_connection"),
            Beside(
                IDENTITY,
                "every_flipped_bit_of_an_ed25519_signature_key_or_message_is_refused",
            ),
            Beside(
                "core/src/identity/key_type_tests.rs",
                "no_flipped_bit_is_accepted",
            ),
            Beside(RECORD, "no_flipped_bit_opens_a_record_that_was_not_signed"),
            Beside(NOISE, "any_flipped_bit_kills_the_handshake"),
            Beside(NOISE, "every_bit_of_key_and_signature_counts"),
        ],
    ),
    (
        "T13",
        "a static key nobody vouches for",
        &[
            Here(
                "security",
                "an_identity_that_does_not_vouch_for_the_static_key_is_refused",
            ),
            Here("security", "the_proof_of_an_honest_peer_cannot_be_replayed"),
            Here("security", "messages_of_another_session_are_refused"),
            Beside(NOISE, "a_static_key_nobody_vouches_for_is_refused"),
            Beside(NOISE, "messages_of_another_session_are_refused"),
        ],
    ),
    (
        "T14",
        "another peer than the one dialed",
        &[
            Here(
                "security",
                "another_peer_than_the_one_dialed_never_comes_up",
            ),
            Beside(ADMISSION, "another_peer_than_the_expected_one_is_refused"),
        ],
    ),
    (
        "T15",
        "records signed by others",
        &[
            Beside(
                RECORD,
                "only_the_owner_signs_a_record_and_only_for_this_purpose",
            ),
            Beside(IDENTIFY, "records_are_bound_to_the_peer"),
        ],
    ),
    (
        "T16",
        "records of others",
        &[
            Here("records", "a_million_foreign_records_are_stored_nowhere"),
            Beside(IDENTIFY, "foreign_records_are_not_stored"),
        ],
    ),
    (
        // Which of the two runs depends on the features: RSA is compiled in only on request.
        "T17",
        "huge RSA keys",
        &[
            Beside(
                "core/src/identity/key_type_tests.rs",
                "a_key_type_that_is_not_compiled_in_is_unsupported",
            ),
            Beside(
                "core/src/identity/key_type_tests.rs",
                "a_modulus_outside_2048_to_8192_bits_is_refused_at_once",
            ),
        ],
    ),
    (
        "T18",
        "messages that do not decrypt",
        &[
            Here(
                "security",
                "after_a_message_that_does_not_decrypt_the_channel_is_dead",
            ),
            Beside(CIPHER, "a_bad_message_is_wiped_and_is_the_last"),
            Beside(CIPHER, "the_last_nonce_is_never_used"),
        ],
    ),
    (
        "T19",
        "truncated and empty values",
        &[
            Here("records", "every_collection_from_the_wire_may_be_empty"),
            Beside(IDENTITY, "peer_ids_are_read_strictly"),
            Beside(
                "core/src/multiaddr/tests.rs",
                "every_truncation_is_a_shorter_address_or_an_error",
            ),
        ],
    ),
    (
        "T20",
        "deep nesting",
        &[
            Here("records", "deep_nesting_is_passed_over"),
            Beside("core/src/wire/protobuf_tests.rs", "deep_nesting_is_flat"),
        ],
    ),
    (
        // That nobody signs with a public key of another is the interface: `Keypair::sign` takes none.
        "T21",
        "plaintext after a bad tag",
        &[
            Beside(CIPHER, "a_bad_message_is_wiped_and_is_the_last"),
            Here(
                "security",
                "after_a_message_that_does_not_decrypt_the_channel_is_dead",
            ),
        ],
    ),
    (
        "T34",
        "everything at once",
        &[
            Here("everything", "everything_at_once"),
            Here("everything", "one_peer_holds_no_more_than_its_share"),
        ],
    ),
    (
        "T35",
        "too much said about oneself",
        &[
            Here("records", "what_is_kept_of_a_peer_is_bounded"),
            Here("records", "endless_messages_do_not_silence_others"),
            Beside(IDENTIFY, "what_a_peer_says_is_bounded"),
            Beside(
                IDENTIFY,
                "unfinished_messages_of_all_peers_together_are_bounded",
            ),
        ],
    ),
    (
        "T41",
        "refusals that leave something",
        &[
            Here("admission", "a_million_refused_sockets_leave_nothing"),
            Here("admission", "strangers_refused_by_name_leave_nothing"),
            Here(
                "everything",
                "a_session_that_ends_at_any_byte_leaves_nothing",
            ),
            Beside(ADMISSION, "refused_sockets_leave_nothing"),
            Beside(ADMISSION, "refused_peers_leave_nothing"),
        ],
    ),
    (
        "I14",
        "amplification",
        &[
            Here(
                "amplification",
                "answers_are_at_most_four_times_what_provoked_them",
            ),
            Here("amplification", "a_stranger_costs_what_it_sends"),
            Here(
                "amplification",
                "unread_data_takes_at_most_four_times_its_size",
            ),
        ],
    ),
];

/// The numbers that must be there.
fn wanted() -> Vec<String> {
    let numbers = (1..=21).chain([34, 35, 41]);
    numbers.map(|number| format!("T{number}")).collect()
}

/// Further limits, which stand only with the code, and tests that see them kept.
const FURTHER: &[(&str, &[Test])] = &[
    (
        "mux::yamux::Config::max_unacknowledged",
        &[Here(
            "limits",
            "streams_that_are_never_acknowledged_are_few",
        )],
    ),
    (
        "mux::yamux: resets that wait",
        &[Here("limits", "resets_that_are_never_read_are_bounded")],
    ),
    (
        "mux::yamux: pongs that wait",
        &[Here(
            "muxer",
            "a_million_pings_never_read_leave_four_answers",
        )],
    ),
    (
        "mux::yamux: ranges of numbers that were skipped",
        &[Beside(
            "core/src/mux/yamux/remote_ids.rs",
            "memory_is_bounded_whatever_is_skipped",
        )],
    ),
    (
        "mux::yamux: numbers of streams",
        &[Beside(YAMUX, "numbers_may_be_used_up")],
    ),
    (
        "connection::Accept::max_streams, of ping and identify too",
        &[Here("limits", "a_protocol_takes_so_many_streams")],
    ),
    (
        "what waits before admission",
        &[Beside(
            HEAP,
            "an_unauthenticated_connection_takes_at_most_16_kib",
        )],
    ),
    (
        "multistream: lists, and names in one",
        &[
            Beside(MULTISTREAM, "a_list_is_told_once"),
            Beside(MULTISTREAM, "a_list_is_answered_and_bounded"),
        ],
    ),
    (
        "identify: parts and bytes of a message, unfinished messages, pushes",
        &[
            Here("records", "what_is_kept_of_a_peer_is_bounded"),
            Beside(
                IDENTIFY,
                "unfinished_messages_of_all_peers_together_are_bounded",
            ),
            Beside(IDENTIFY, "pushes_of_a_peer_are_limited_in_number"),
        ],
    ),
    (
        "identify: pushes under way at once",
        &[
            Beside(TELLING, "pushes_under_way_are_few_and_reach_everybody"),
            Beside(
                TELLING,
                "changes_are_pushed_to_those_who_were_told_something_older",
            ),
        ],
    ),
    (
        "swarm: the length of addresses others tell, and of all together",
        &[
            Here("limits", "long_addresses_are_not_remembered"),
            Here(
                "records",
                "a_full_address_book_takes_a_bounded_part_of_the_heap",
            ),
        ],
    ),
    (
        "swarm: rates remembered",
        &[Beside(
            SOURCES,
            "rates_of_a_flood_are_bounded_and_forgotten",
        )],
    ),
    (
        "swarm::ConnectionLimits: listeners, protocol names",
        &[
            Beside(ADMISSION, "listeners_are_independent_and_end_once"),
            Beside(
                CONTRACTS,
                "names_are_accepted_once_and_reach_every_connection",
            ),
        ],
    ),
    (
        "swarm::QueueConfig: events, commands, their bytes",
        &[
            Beside(ADMISSION, "a_host_that_collects_no_events_is_told_so"),
            Beside(CONTRACTS, "a_connection_with_too_much_to_do_is_given_up"),
            Beside(CONTRACTS, "bytes_under_way_are_bounded"),
        ],
    ),
    (
        "swarm::DialConfig: dials, attempts, addresses, lookups",
        &[
            Beside(DIALING, "dials_and_their_reports_are_bounded"),
            Beside(DIALING, "one_address_is_not_tried_twice_at_once"),
            Beside(DIALING, "attempts_are_bounded_for_one_peer_and_for_all"),
            Beside(DIALING, "names_are_looked_up_within_limits"),
            Beside(DIALING, "names_may_not_lead_on_for_ever"),
        ],
    ),
    (
        "swarm: entries of a resolver's answer",
        &[Beside(
            "core/src/swarm/dial/resolve.rs",
            "few_entries_of_an_answer_are_taken",
        )],
    ),
    (
        "swarm: addresses of interfaces, bound and external addresses",
        &[
            Beside(LISTENERS, "interfaces_and_bound_addresses_are_bounded"),
            Beside(LISTENERS, "external_addresses_are_bounded"),
        ],
    ),
    (
        "engine: messages of one connection on their way to the swarm",
        &[
            Beside(
                STARVED,
                "messages_on_their_way_to_a_starved_swarm_are_bounded",
            ),
            Beside(STARVED, "a_driver_goes_on_when_the_swarm_has_caught_up"),
        ],
    ),
    (
        "resource: leases",
        &[
            Beside(
                "core/src/resource.rs",
                "every_scope_is_the_sum_of_its_children",
            ),
            Beside(
                ADMISSION,
                "a_node_without_resources_refuses_and_one_with_few_shares_them",
            ),
        ],
    ),
    (
        "record: bytes of an envelope, addresses of a record",
        &[
            Beside(RECORD, "envelopes_are_bounded_and_need_a_key"),
            Beside(RECORD, "addresses_are_counted_before_they_are_read"),
        ],
    ),
    (
        "multiaddr: bytes of an address",
        &[Beside(
            "core/src/multiaddr/tests.rs",
            "sizes_are_bounded_in_every_way_to_build",
        )],
    ),
];

/// The limits of SECURITY.md, and tests that see them kept.
const LIMITS: &[(&str, &[Test])] = &[
    (
        "connections",
        &[
            Here("everything", "everything_at_once"),
            Beside(ADMISSION, "inbound_connections_leave_room_for_own_dials"),
        ],
    ),
    (
        "connections to one peer",
        &[Beside(
            ADMISSION,
            "self_denied_and_surplus_peers_are_refused_at_the_door",
        )],
    ),
    (
        "accepted from one IPv4 address or IPv6 /56",
        &[
            Here("admission", "a_million_refused_sockets_leave_nothing"),
            Beside(SOURCES, "pending_and_rate_and_site_are_limited"),
        ],
    ),
    (
        "accepted from one IPv6 /48",
        &[Beside(SOURCES, "pending_and_rate_and_site_are_limited")],
    ),
    (
        "new from one IPv4 address or IPv6 /56",
        &[
            Here("admission", "a_million_refused_sockets_leave_nothing"),
            Beside(SOURCES, "never_more_than_the_rate"),
        ],
    ),
    (
        "new from one IPv6 /48",
        &[Beside(SOURCES, "never_more_than_the_rate")],
    ),
    (
        "accepted, in their handshake",
        &[
            Here("admission", "a_million_refused_sockets_leave_nothing"),
            Beside(
                ADMISSION,
                "accepting_pauses_while_there_are_too_many_handshakes",
            ),
        ],
    ),
    (
        "from the first byte to being admitted",
        &[Beside(
            CONNECTION,
            "a_silent_dialer_is_dropped_at_the_deadline",
        )],
    ),
    (
        "negotiating the protocol of a stream",
        &[Here(
            "negotiation",
            "a_negotiation_that_never_ends_is_ended",
        )],
    ),
    (
        "streams negotiating at once, on one connection",
        &[Beside(
            CONNECTION_LIMITS,
            "streams_that_never_say_their_protocol_are_bounded_and_expire",
        )],
    ),
    (
        "streams from each side, on one connection",
        &[
            Here(
                "muxer",
                "reset_streams_hold_their_places_until_they_are_let_go",
            ),
            Beside(
                CONNECTION_LIMITS,
                "opens_beyond_the_limit_are_refused_and_told_when_there_is_room",
            ),
        ],
    ),
    (
        "a connection without use",
        &[Beside(
            CONNECTION,
            "an_idle_connection_closes_and_a_used_one_does_not",
        )],
    ),
    (
        "a reader that does not read",
        &[Beside(
            CONNECTION_LIMITS,
            "an_application_that_never_reads_loses_the_connection",
        )],
    ),
    (
        "saying goodbye",
        &[Beside(
            CONNECTION,
            "a_peer_that_takes_nothing_does_not_hold_up_the_close",
        )],
    ),
    (
        "bytes one stream queues to send",
        &[Beside(
            CONNECTION_LIMITS,
            "a_writer_is_held_back_and_told_when_there_is_room",
        )],
    ),
    (
        "bytes one connection queues to send",
        &[Beside(
            "tests/tests/suite/edges.rs",
            "a_blocked_writer_is_told_when_resets_empty_the_queue",
        )],
    ),
    (
        "a stream's receive window",
        &[
            Here("muxer", "an_oversize_first_frame_opens_nothing"),
            Beside(
                YAMUX,
                "the_window_grows_with_the_round_trip_and_within_its_budget",
            ),
        ],
    ),
    (
        "received and unread or promised, one connection",
        &[Here("everything", "one_peer_holds_no_more_than_its_share")],
    ),
    (
        "the same, one peer",
        &[Here("everything", "one_peer_holds_no_more_than_its_share")],
    ),
    (
        "the same, the whole node",
        &[Here("everything", "everything_at_once")],
    ),
    (
        "frames without use (pings, refused streams, resets)",
        &[
            Here("muxer", "a_flood_of_pings_ends_the_connection"),
            Here(
                "muxer",
                "opening_and_resetting_in_a_loop_ends_the_connection",
            ),
            Here("muxer", "a_million_empty_frames_keep_nothing"),
        ],
    ),
    (
        "a line of protocol negotiation",
        &[
            Here("negotiation", "garbage_on_a_stream_costs_the_stream"),
            Beside(MULTISTREAM, "bytes_are_counted_in_both_directions"),
        ],
    ),
    (
        "the payload of a Noise handshake",
        &[Beside(
            NOISE,
            "payloads_are_read_up_to_the_limit_and_not_beyond",
        )],
    ),
    (
        "addresses remembered",
        &[
            Here("records", "what_is_kept_of_a_peer_is_bounded"),
            Here(
                "records",
                "a_full_address_book_takes_a_bounded_part_of_the_heap",
            ),
            Beside(
                "core/src/swarm/address_book.rs",
                "stays_within_its_caps_and_its_indices_agree",
            ),
        ],
    ),
];

const ADMISSION: &str = "core/src/swarm/tests/admission.rs";
const CIPHER: &str = "core/src/security/cipher_tests.rs";
const CONNECTION: &str = "tests/tests/suite/connection/mod.rs";
const CONNECTION_LIMITS: &str = "tests/tests/suite/connection/limits.rs";
const CONTRACTS: &str = "core/src/swarm/tests/contracts.rs";
const DIALING: &str = "core/src/swarm/tests/dialing.rs";
const HEAP: &str = "tests/tests/heap.rs";
const IDENTIFY: &str = "core/src/protocol/identify/tests.rs";
const IDENTITY: &str = "core/src/identity/tests.rs";
const LISTENERS: &str = "core/src/swarm/listeners.rs";
const MULTISTREAM: &str = "core/src/multistream/tests.rs";
const NOISE: &str = "core/src/security/noise/tests/adversary.rs";
const RECORD: &str = "core/src/record/tests.rs";
const SOURCES: &str = "core/src/swarm/sources.rs";
const STARVED: &str = "adapters/engine/tests/suite/starved.rs";
const TELLING: &str = "core/src/protocol/identify/tests/telling.rs";
const YAMUX: &str = "core/src/mux/yamux/tests.rs";

impl Test {
    /// The file it must be in, and its name.
    fn place(&self) -> (PathBuf, &'static str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        match self {
            Here(module, name) => {
                let file = format!("tests/tests/adversaries/{module}.rs");
                (root.join(file), name)
            }
            Beside(file, name) => (root.join(file), name),
        }
    }

    fn exists(&self) -> bool {
        let (file, name) = self.place();
        let source = std::fs::read_to_string(&file).unwrap_or_default();
        source.contains(&format!("fn {name}(")) || source.contains(&format!("fn {name}<"))
    }

    fn text(&self) -> String {
        match self {
            Here(module, name) => format!("{module}::{name}"),
            Beside(file, name) => format!("{name} in {file}"),
        }
    }
}

#[test]
fn every_attack_has_a_test_that_exists() {
    for id in wanted() {
        let rows = ATTACKS.iter().filter(|(of, _, _)| *of == id);
        assert_eq!(rows.count(), 1, "{id}");
    }
    for (id, what, tests) in ATTACKS {
        println!("{id}: {what}");
        assert!(!tests.is_empty(), "{id}");
        for test in *tests {
            println!("    {}", test.text());
            assert!(test.exists(), "{id}: there is no {}", test.text());
        }
    }
}

#[test]
fn every_test_of_the_set_answers_an_attack_or_a_limit() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adversaries");
    let further = FURTHER.iter().chain(REQUEST_LIMITS).chain(KAD_LIMITS);
    let listed: Vec<&str> = ATTACKS
        .iter()
        .flat_map(|(_, _, tests)| *tests)
        .chain(LIMITS.iter().chain(further).flat_map(|(_, tests)| *tests))
        .map(|test| test.place().1)
        .collect();
    let mut found = 0;
    for entry in std::fs::read_dir(directory).expect("this set").flatten() {
        if entry.file_name() == "table.rs" {
            continue;
        }
        let source = std::fs::read_to_string(entry.path()).expect("text");
        for tail in source.split("#[test]\nfn ").skip(1) {
            let name = tail.split('(').next().unwrap_or_default();
            assert!(listed.contains(&name), "{name} is not in the table");
            found += 1;
        }
    }
    assert!(found >= 25, "{found}");
}

#[test]
fn every_limit_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(root.join("SECURITY.md")).expect("text");
    let chapter = document.split("## Limits by default").nth(1);
    let rows = chapter.expect("the chapter").lines();
    let rows = rows.filter(|line| line.starts_with("| ")).skip(1);
    let mut count = 0;
    for row in rows {
        let limit = row.split('|').nth(1).unwrap_or_default().trim();
        let tests = LIMITS.iter().find(|(of, _)| *of == limit);
        let (_, tests) = tests.unwrap_or_else(|| panic!("nothing tests: {limit}"));
        assert!(!tests.is_empty(), "{limit}");
        for test in *tests {
            assert!(test.exists(), "{limit}: there is no {}", test.text());
        }
        count += 1;
    }
    assert_eq!(count, LIMITS.len(), "a limit that is none");
    for (limit, tests) in FURTHER.iter().chain(REQUEST_LIMITS).chain(KAD_LIMITS) {
        for test in *tests {
            assert!(test.exists(), "{limit}: there is no {}", test.text());
        }
    }
}
