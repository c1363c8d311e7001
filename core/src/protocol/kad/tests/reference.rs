//! What the tests of rust-libp2p and go-libp2p-kad-dht prove, proved of this machine.
//!
//! Where a file is not named the test is in the folder beside this one.
//!
//! | rust-libp2p | here |
//! |---|---|
//! | key: `identity`, `symmetry`, `triangle_inequality`, `unidirectionality` | `key.rs`: `the_distance_is_a_metric`, `one_position_is_at_each_distance`, `positions_are_those_that_others_compute` |
//! | kbucket: `buckets_are_non_overlapping_and_exhaustive`, `bucket_contains_range`, `rand_distance` | `table/tests/rules.rs`: `the_buckets_divide_the_key_space`, `random_distances_differ_in_every_bit_below_the_highest` |
//! | kbucket: `entry_inserted`, `entry_self`, `closest`, `applied_pending`, `count_nodes_between` | `table/tests/model.rs`, `rules.rs`: `this_node_is_never_an_entry` |
//! | bucket: `ordering`, `full_bucket`, `full_bucket_discard_pending`, `bucket_update`, `test_custom_bucket_size` | `table/tests/model.rs`, `rules.rs`; peers: `a_newcomer_takes_the_place_of_one_that_does_not_answer`, `who_comes_back_keeps_its_place` |
//! | closest iterator: 6 tests | `iterators/tests/closest.rs`; lookups: `a_late_answer_counts` |
//! | disjoint iterator: 4 tests | `iterators/tests/disjoint.rs` |
//! | fixed: `decrease_num_waiting_on_failure` | `iterators/tests.rs`: `a_fixed_list_is_asked_once_each_…` |
//! | bootstrap status: 8 tests | `bootstrap.rs`; lookups: `a_first_peer_makes_an_idle_node_look_around` |
//! | jobs: `new_job_not_running`, `run_put_record_job`, `run_add_provider_job` | jobs: `all_records_are_given_once_in_each_run`; providers: `as_many_of_the_closest_are_told_…` |
//! | `exceed_jobs_max_queries`, `exp_decr_expiration_overflow` | jobs: `no_more_than_a_hundred_run_at_once`; records: `a_record_far_from_here_…` |
//! | store: `put_get_remove`, `add_get_remove_provider`, `provided`, `update_…`, `max_…` | `store/memory/tests.rs`, `model.rs` |
//! | protocol: `append_p2p` | does not apply: addresses in a table or message have no peer id at the end |
//! | protocol: `skip_invalid_multiaddr` | `message/tests.rs`; peers: `who_cannot_be_dialed_is_not_asked` |
//! | addresses: 4 tests of removal | `table/tests/rules.rs`: `the_last_one_survives_failure_but_not_removal`, …; peers: `an_address_is_removed_…` |
//! | handler: `compute_next_protocol_status` | the machine is told by [`handle_protocol`](crate::protocol::kad::Dht::handle_protocol); peers: `who_speaks_the_protocol_…` |
//! | `bootstrap`, `query_iter` | lookups: `a_bootstrap_finds_everybody_…`, `a_query_is_seen_while_it_runs_…` |
//! | `unresponsive_not_returned_direct`, `_indirect` | lookups: `who_cannot_be_reached_…`, `who_is_only_told_of_…` |
//! | `get_closest_with_different_num_results`, `get_closest_peers_should_return_up_to_k_peers` | lookups: `as_many_are_found_as_are_wanted_up_to_20` |
//! | `get_record_not_found`, `get_record`, `get_record_many` | records: the first three |
//! | `put_record` with replication, paths, filter, drop | records: `a_record_lands_on_…`, `publishing_again_keeps_the_expiry` of jobs |
//! | `add_provider`, `get_providers_single`, `get_providers_limit_{1,2,5}` | providers: the first three |
//! | `disjoint_query_does_not_finish_before_all_paths_did` | lookups: `a_query_on_disjoint_paths_…`, `a_quorum_ends_only_the_paths_…` |
//! | `manual_bucket_inserts`, `network_behaviour_on_address_change` | peers: `nobody_comes_in_by_itself_…`, `an_address_that_changes_is_replaced` |
//! | client_mode: 4 tests | `tests/nodes.rs`; requests: `external_addresses_make_a_server` |
//!
//! | go-libp2p-kad-dht | here |
//! |---|---|
//! | `ValueSetInvalid`, `InvalidKeys` | records: `an_invalid_record_is_not_put` |
//! | `ValueGetInvalid`, `GetValueRejectsInvalidRecordFromPeer` | records: `an_invalid_value_of_a_peer_is_none` |
//! | `SearchValue`, `LayeredGet` | records: `the_best_value_wins_in_every_order` |
//! | `SearchValueLocalInvalid` | records: `an_own_value_is_judged_as_well` |
//! | `AtomicPut` | records: `a_worse_record_takes_the_place_of_no_better_one` |
//! | `BadProtoMessages`, `InvalidRemotePeers` | requests: `what_is_no_request_…`; peers: `who_cannot_be_dialed_…` |
//! | `ClientMode*`, `ModeChange`, `DynamicModeSwitching`, `HandleRemotePeerProtocolChanges` | `tests/nodes.rs`; requests: `external_addresses_…`; peers: `who_becomes_a_client_…` |
//! | `FindPeer*` | `tests/finding.rs`; requests: `who_is_looked_for_is_told_of_first` |
//! | `RefreshBelowMinRTThreshold`, `BootStrapWhenRTIsEmpty` | lookups: `a_first_peer_…` |
//! | `RoutingFilter`, `AddrFilter` | peers: `only_addresses_of_the_own_network_count`; requests: `…_are_told` |
//! | `RTEvictionOnFailedQuery`, `RTAdditionOnSuccessfulQuery` | peers: `who_fails_leaves_the_table`, `who_answers_a_query_comes_into_the_table` |
//! | rt_diversity_filter: 4 tests | `table/tests/rules.rs`; peers: `a_response_full_of_one_network_…` |
//! | handlers: truncation, stripped echoes | requests: `no_response_is_longer_…`; records: `the_echo_of_a_put_is_stripped` |
//! | handlers: gating by mode | the host refuses streams of a client: `tests/nodes.rs` |
//! | lookup check | peers: `a_newcomer_is_asked_first` |
//! | record sizes | requests: `what_is_no_request_…` (a value over the limit), `store/memory/tests.rs` |
//! | records: `Pubkey*`, value store | `validator/tests.rs`, `store/memory/tests.rs`; looking a public key up is a get of its key: `KadHandle::public_key` |
//! | providers manager | `store/memory/tests.rs`; providers: `who_asks_for_providers_…`. Its cache does not apply: there is none |
//! | optimistic provide | `tests/mod.rs`; providers: `an_optimistic_announcement_…` |
//! | provider (sweep): 37 tests | does not apply: records are published one by one |

mod jobs;
mod lookups;
mod peers;
mod providers;
mod records;
mod requests;
