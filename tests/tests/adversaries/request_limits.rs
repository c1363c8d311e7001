//! Which test answers which limit of requests: rows of the [table](crate::table).

use crate::table::Test::{self, Beside, Here};

/// Limits of `protocol::request_response`, and their tests.
pub(crate) const REQUEST_LIMITS: &[(&str, &[Test])] = &[
    (
        "request_response::Config::max_inbound",
        &[
            Here(
                "requests",
                "half_sent_requests_take_only_the_peers_own_places",
            ),
            Beside(
                OUTBOUND,
                "at_the_limit_requests_wait_and_the_peers_requests_take_no_places",
            ),
        ],
    ),
    (
        "request_response::Config::request_timeout",
        &[
            Here(
                "requests",
                "a_request_that_trickles_in_is_ended_at_its_deadline",
            ),
            Beside(INBOUND, "the_time_runs_out"),
            Beside(OUTBOUND, "one_deadline_covers_the_whole_life"),
        ],
    ),
    (
        "request_response::Config::max_held_bytes",
        &[
            Here("requests", "unanswered_requests_hold_so_many_bytes"),
            Beside(INBOUND, "what_the_application_has_not_answered_is_counted"),
            Beside(OUTBOUND, "bodies_that_wait_are_counted"),
        ],
    ),
    (
        "request_response::Config::max_request_len, max_response_len",
        &[
            Here("requests", "a_request_that_is_too_long_costs_its_stream"),
            Beside(OUTBOUND, "every_end_of_a_stream_has_its_failure"),
        ],
    ),
    (
        "request_response::Config::max_outbound, max_queued_per_peer, max_queued",
        &[
            Here(
                "requests",
                "a_peer_that_never_answers_holds_up_so_many_requests",
            ),
            Beside(
                OUTBOUND,
                "many_requests_make_one_dial_and_the_queue_has_a_number",
            ),
        ],
    ),
    (
        "protocol::request_response::throttled: requests beyond the credit",
        &[
            Beside(
                BUDGETS,
                "one_more_than_was_granted_is_refused_and_the_rest_served",
            ),
            Beside(BUDGETS, "a_flood_of_credits_costs_places_and_nothing_else"),
            Beside(
                BUDGET_DEFECTS,
                "defect_6_reconnecting_does_not_beat_the_limit",
            ),
            Beside(BUDGET_DEFECTS, "defect_6_giving_up_does_not_beat_the_limit"),
        ],
    ),
    (
        "protocol::request_response::throttled::MAX_REMEMBERED_PEERS",
        &[Beside(
            BUDGET_BOOKS,
            "so_many_peers_are_remembered_and_the_connected_ones_always",
        )],
    ),
    (
        "protocol::request_response::throttled::MAX_HEADER_LEN",
        &[Beside(
            BUDGET_HEADER,
            "long_headers_are_read_up_to_the_limit",
        )],
    ),
];

const BUDGETS: &str = "core/src/protocol/request_response/throttled/tests/hostile.rs";
const BUDGET_BOOKS: &str = "core/src/protocol/request_response/throttled/tests/ledger.rs";
const BUDGET_DEFECTS: &str = "core/src/protocol/request_response/throttled/tests/defects.rs";
const BUDGET_HEADER: &str = "core/src/protocol/request_response/throttled/tests/header.rs";
const INBOUND: &str = "core/src/protocol/request_response/tests/inbound.rs";
const OUTBOUND: &str = "core/src/protocol/request_response/tests/outbound.rs";
