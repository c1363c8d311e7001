//! Which test answers which limit of Kademlia: rows of the [table](crate::table).

use crate::table::Test::{self, Beside};

/// Limits of `protocol::kad`, and their tests.
pub(crate) const KAD_LIMITS: &[(&str, &[Test])] = &[
    (
        "kad::Config::max_inbound_streams, max_inbound_streams_per_peer",
        &[
            Beside(
                STREAMS,
                "an_idle_stream_makes_room_for_a_new_one_and_a_busy_one_does_not",
            ),
            Beside(
                STREAMS,
                "a_peer_with_several_connections_has_one_limit_for_all",
            ),
        ],
    ),
    (
        "kad::Config::inbound_timeout, inbound_idle_timeout",
        &[Beside(
            STREAMS,
            "a_stream_without_a_request_is_reset_in_time",
        )],
    ),
    (
        "kad::Config::request_timeout",
        &[Beside(STREAMS, "a_silent_peer_is_given_up")],
    ),
    (
        "kad::Config::max_provider_key_len, malformed requests",
        &[Beside(STREAMS, "a_malformed_request_costs_its_stream")],
    ),
    (
        "kad::Config::response_budget",
        &[Beside(STREAMS, "an_answer_keeps_to_its_budget")],
    ),
    (
        "kad::message: elements, peers, addresses",
        &[
            Beside(
                MESSAGES,
                "a_frame_of_empty_elements_is_refused_after_its_first_ones",
            ),
            Beside(MESSAGES, "a_peer_with_too_much_is_cut_down_but_kept"),
            Beside(
                MESSAGES,
                "addresses_that_lead_to_another_peer_are_passed_over",
            ),
        ],
    ),
    (
        "kad::table: peers of one network, newcomers",
        &[
            Beside(TABLE, "a_bucket_of_connected_peers_takes_nobody_in"),
            Beside(TABLE, "a_sign_of_life_keeps_the_place"),
            Beside(
                TABLE,
                "failures_in_a_row_remove_a_peer_but_one_outage_counts_once",
            ),
        ],
    ),
    (
        "kad::MemoryStoreConfig: records, bytes, providers, shares of peers",
        &[
            Beside(STORE, "a_flood_of_records_passes_no_limit"),
            Beside(
                STORE,
                "a_flood_of_providers_passes_no_limit_and_displaces_nobody_who_is_near",
            ),
            Beside(STORE, "an_honest_provider_of_a_flooded_key_is_still_given"),
            Beside(STORE, "who_stores_too_much_is_refused_and_nobody_else"),
            Beside(STORE, "no_peer_takes_the_place_of_an_own_record"),
            Beside(
                STORE,
                "two_providers_of_a_key_are_in_one_network_and_the_third_is_left_out",
            ),
        ],
    ),
];

const STREAMS: &str = "core/src/protocol/kad/tests/streams.rs";
const MESSAGES: &str = "core/src/protocol/kad/message/tests.rs";
const STORE: &str = "core/src/protocol/kad/store/memory/tests.rs";
const TABLE: &str = "core/src/protocol/kad/table/tests/rules.rs";
