//! Swarm testing: many small worlds, each with its own troubles, all promises checked.
//!
//! A [`Plan`] is drawn from each seed: how many hosts, what they do, which troubles there are and how strong. It runs in two
//! phases. In the storm the troubles happen, and nothing wrong may happen: every invariant is checked after every step. Then
//! everything heals, and in the calm what ought to happen must happen within a bound of virtual time: hosts meet again,
//! calls are answered, and after shutting down nothing is left. (TigerBeetle's simulator has the same two phases.)
//!
//! What the machines promise is named after the invariants I1 to I47 of this project; a [`Failure`] names the one that was
//! violated, and carries the seed, the step and the last lines of the trace. [`shrink`] makes the plan of a failure small.
//! These concern what a world can hold. Some are seen in every run; others, and what a run meets only by chance, are shown by
//! tests of their own in this repository. The audits are [`Swarm::audit`](drywire::swarm::Swarm::audit) and
//! [`Connection::audit`](drywire::connection::Connection::audit), after every step. I11, I12, I15, I19 and I45 are looked at by
//! [`Echoes`]; a scenario of your own does so if it uses [`Echo`](crate::workload::Echo), or has such checks itself.
//!
//! | invariant | what every run looks at | tests beside it |
//! |---|---|---|
//! | I1 no panic, no overflow | panics are caught and reported | `table` in `tests/tests/laws/main.rs` |
//! | I2 the same seed gives the same trace | runs are hashed, so that they can be compared | `the_same_seed_runs_the_same_twice_on_one_thread_or_two` in `adapters/sim/tests/suite/explore.rs`; `optimised_and_checked_builds_show_the_same` in `tests/tests/suite/simulator.rs` |
//! | I3 how input is cut is no matter | [`Trouble::Pieces`] | `neither_chunking_nor_chance_shows_on_the_wire` in `tests/tests/suite/connection/mod.rs` |
//! | I4 nor who of the others goes first | [`Trouble::PermutedTies`] | `nodes_in_parts_run_again` in `tests/tests/suite/recording/swarms.rs`; `what_others_do_changes_nothing_between_two` in `adapters/sim/src/network/tests/seeds.rs` |
//! | I5 each turn ends, I6 no deadline without delay | the host's turns, and its wakes at one instant, are counted | `deadlines_tell_the_whole_truth` in `core/src/node/tests.rs` |
//! | I7, I9 nothing is left at the end | age of closing; after shutting down: connections, pipes, dials, listeners, leases | `everything_ends_once_and_nothing_is_left` in `core/src/swarm/tests/chaos.rs` |
//! | I8 memory stays within the limits | | `everything_at_once` in `tests/tests/adversaries/everything.rs`; `a_full_address_book_takes_a_bounded_part_of_the_heap` in `tests/tests/adversaries/records.rs` |
//! | I10 refused means as if it had never come | the audit of the swarm | `refused_sockets_leave_nothing` in `core/src/swarm/tests/admission.rs`; `refused_peers_leave_nothing` in `core/src/swarm/tests/admission.rs` |
//! | I11, I12 bytes arrive as written, and none after the end | each byte of a call follows from its first eight | `two_connections_are_what_the_model_says` in `tests/tests/suite/model.rs` |
//! | I13 what is read is written the same | | `what_is_a_header_is_written_as_it_was_read` in `core/src/mux/yamux/frame.rs`; `what_decodes_is_what_encodes` in `core/src/wire/varint.rs`; `frames_come_back_at_every_split` in `core/src/wire/framing.rs`; `accepted_bytes_are_one_address` in `core/src/multiaddr/tests.rs` |
//! | I14 no amplification | | `answers_are_at_most_four_times_what_provoked_them` in `tests/tests/adversaries/amplification.rs`; `unread_data_takes_at_most_four_times_its_size` in `tests/tests/adversaries/amplification.rs` |
//! | I15 both sides agree on one protocol | the caller is told the one it asked for | `two_parties_agree_or_both_fail` in `core/src/multistream/tests.rs`; `every_schedule_of_two_parties_ends_the_same` in `core/src/multistream/tests.rs` |
//! | I16 handshakes end in time | their age | `bytes_are_counted_in_both_directions` in `core/src/multistream/tests.rs`; `an_unknown_protocol_fails_the_stream_and_not_the_connection` in `tests/tests/suite/connection/mod.rs` |
//! | I17 no byte before authentication | names of protocols are never seen on an encrypted wire | `without_admission_nothing_is_delivered` in `tests/tests/suite/connection/mod.rs` |
//! | I18 both ends know each other | who is reported against who is there | `messages_of_another_session_are_refused` in `tests/tests/adversaries/security.rs`; `the_last_nonce_is_never_used` in `core/src/security/cipher_tests.rs` |
//! | I19 no altered byte is delivered | as I11, with [`Trouble::BitFlips`] | `any_flipped_bit_ends_the_connection` in `tests/tests/adversaries/security.rs` |
//! | I20 handshakes take at most 16 KiB | | `a_handshake_takes_at_most_16_kib_whatever_the_peer_sends` in `core/tests/security_memory.rs`; `an_unauthenticated_connection_takes_at_most_16_kib` in `tests/tests/heap.rs` |
//! | I21, I22 a request has one last word and one answer, the right one | of scenarios with requests, as in `tests/suite/requests.rs` | `every_request_has_exactly_one_last_word` in `core/src/protocol/request_response/tests/schedules.rs`; `every_request_has_one_last_word_in_every_seed` in `adapters/sim/tests/suite/requests.rs` |
//! | I23 a request's last word comes in time | the same | `one_deadline_covers_the_whole_life` in `core/src/protocol/request_response/tests/outbound.rs`; `every_request_has_one_last_word_in_every_seed` in `adapters/sim/tests/suite/requests.rs` |
//! | I24 requests are within their limits, and refused with a reason | the same | `every_request_has_exactly_one_last_word` in `core/src/protocol/request_response/tests/schedules.rs`; `many_requests_make_one_dial_and_the_queue_has_a_number` in `core/src/protocol/request_response/tests/outbound.rs` |
//! | I25 nothing is sent or taken without credit | | `two_sessions_are_byte_queues` in `core/src/mux/yamux/tests.rs`; `a_length_beyond_every_window_ends_the_connection_at_once` in `tests/tests/adversaries/muxer.rs` |
//! | I26 windows grow within their budget | the audit of connections | `over_its_lease_a_connection_stops_reading_until_the_application_does` in `tests/tests/suite/connection/limits.rs` |
//! | I27 numbers of streams are used once, and may be used up | | `numbers_may_be_used_up` in `core/src/mux/yamux/tests.rs`; `violations_are_named` in `core/src/mux/yamux/tests.rs`; `an_id_can_be_claimed_once` in `core/src/mux/yamux/remote_ids.rs` |
//! | I28 streams are within their limits | the audit of connections | `streams_that_are_never_acknowledged_are_few` in `tests/tests/adversaries/limits.rs` |
//! | I29 what a peer provokes is no queue | answers to pings | `a_million_pings_never_read_leave_four_answers` in `tests/tests/adversaries/muxer.rs`; `resets_that_are_never_read_are_bounded` in `tests/tests/adversaries/limits.rs` |
//! | I30 no stream starves | as I45 | `streams_of_one_priority_take_turns_and_a_higher_one_goes_first` in `core/src/mux/yamux/tests.rs` |
//! | I31, I35 reservations add up, also those of one address or network | the audit of the swarm | `every_scope_is_the_sum_of_its_children` in `core/src/resource.rs`; `pending_and_rate_and_site_are_limited` in `core/src/swarm/sources.rs` |
//! | I32 dials end once, no address is dialed twice at once for one peer | dials are counted; the audit of the swarm | `attempts_are_bounded_for_one_peer_and_for_all` in `core/src/swarm/tests/dialing.rs` |
//! | I33 no connection to oneself or to who is denied | oneself: who is reported | `self_denied_and_surplus_peers_are_refused_at_the_door` in `core/src/swarm/tests/admission.rs`; `denied_networks_are_neither_accepted_nor_dialed` in `core/src/swarm/tests/admission.rs` |
//! | I36 k-buckets hold whom they should, and not too many, of no network too many; never the node itself | of a [`KadWorld`](crate::kad::KadWorld): the audit of the machines | `of_a_thousand_nodes_lookups_find_the_closest_and_everything_stored_is_found` in `adapters/sim/tests/suite/kad.rs`; `one_network_gets_three_places_in_a_table` in `adapters/sim/tests/suite/kad_attacks.rs` |
//! | I37 who is alive is not evicted for somebody unverified | | `one_network_gets_three_places_in_a_table` in `adapters/sim/tests/suite/kad_attacks.rs`; `who_does_not_answer_does_not_come_into_a_table` in `adapters/sim/tests/suite/kad_attacks.rs` |
//! | I38 a query ends once and in time, and asks nobody twice | of a [`KadWorld`](crate::kad::KadWorld): each request, each last word | `with_churn_lookups_still_find_the_closest_and_every_query_ends` in `adapters/sim/tests/suite/kad.rs` |
//! | I39 results are sorted, distinct, and were asked | of a [`KadWorld`](crate::kad::KadWorld): each result | `of_a_thousand_nodes_lookups_find_the_closest_and_everything_stored_is_found` in `adapters/sim/tests/suite/kad.rs` |
//! | I40 stores keep within their limits what is valid and has not expired | | `a_record_is_found_until_it_expires` in `adapters/sim/tests/suite/kad.rs`; `bad_records_are_not_kept` in `adapters/sim/tests/suite/kad_attacks.rs`; `a_flood_of_providers_stays_within_the_store_and_crowds_nobody_out` in `adapters/sim/tests/suite/kad_attacks.rs` |
//! | I41 what is acknowledged is kept | | `what_was_acknowledged_is_there_after_a_kill` in `adapters/store-redb/tests/suite/kill.rs`; `what_was_acknowledged_is_there_after_a_loss_of_power` in `adapters/store-redb/tests/suite/power.rs` |
//! | I45 healthy pairs are answered | the calm | |
//! | I46 after a partition lookups find what there is | | `after_a_partition_lookups_find_the_closest_again` in `adapters/sim/tests/suite/kad.rs` |
//! | I47 no stuck half-open | age of connections whose other end is gone | `a_peer_that_falls_silent_is_noticed_by_its_pings` in `core/src/node/tests.rs` |
//!
//! To explore your own protocols, implement [`Scenario`].

mod campaign;
mod echoes;
mod plan;
mod run;
mod shrink;
mod trouble;

pub use campaign::{Campaign, Summary};
pub use echoes::Echoes;
pub use plan::Plan;
pub use run::{Failure, Report, Scenario};
pub use shrink::{Shrunk, shrink};
pub use trouble::Trouble;

use run::run;
