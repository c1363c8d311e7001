//! Rule by rule, after the tests of rust-libp2p and go-libp2p-kad-dht.

use super::*;
use crate::protocol::kad::Distance;
use crate::seed::Seed;
use proptest::prelude::*;

/// Peers of one bucket, connected or not, one second after the other.
fn filled(config: TableConfig, statuses: &[Status]) -> (RoutingTable, Vec<PeerId>) {
    let mut table = table(config);
    let peers: Vec<_> = peers_of(255).take(statuses.len()).collect();
    for (at, (peer, status)) in peers.iter().zip(statuses).enumerate() {
        let inserted = table.insert(seconds(at as u64), *peer, [private(1)], *status);
        assert_eq!(inserted, Insert::Added);
    }
    (table, peers)
}

fn order(table: &RoutingTable) -> Vec<PeerId> {
    table.iter().map(|entry| *entry.peer()).collect()
}

const ON: Status = Status::Connected;
const OFF: Status = Status::Disconnected;

#[test]
fn an_entry_is_no_more_than_256_bytes() {
    assert!(size_of::<Entry>() <= 256, "{}", size_of::<Entry>());
}

#[test]
fn an_empty_table_is_less_than_a_kibibyte_and_a_bucket_keeps_no_more_room_than_its_size() {
    assert!(size_of::<RoutingTable>() < 1024);
    assert_eq!(table(TableConfig::default()).buckets.capacity(), 0);
    let (table, _) = filled(sized(9), &[OFF; 9]);
    assert!(table.buckets[0].entries.capacity() <= 9);
}

#[test]
fn disconnected_peers_come_before_connected_ones_each_by_time() {
    let (mut table, peers) = filled(sized(20), &[ON, OFF, ON, OFF, OFF]);
    let by = |numbers: [usize; 5]| numbers.map(|number| peers[number]).to_vec();
    assert_eq!(order(&table), by([1, 3, 4, 0, 2]));
    table.set_status(START, &peers[0], OFF);
    assert_eq!(
        order(&table),
        by([1, 3, 4, 0, 2]),
        "the most recent to disconnect"
    );
    table.set_status(START, &peers[1], ON);
    assert_eq!(order(&table), by([3, 4, 0, 2, 1]));
    table.set_status(START, &peers[3], OFF);
    table.succeeded(&peers[3], START);
    assert_eq!(
        order(&table),
        by([3, 4, 0, 2, 1]),
        "no change of status, no change of place"
    );
}

#[test]
fn a_full_bucket_takes_a_connected_peer_in_for_the_least_recently_disconnected() {
    for size in [1, 3, 20, 21] {
        let (mut table, peers) = filled(sized(size), &vec![OFF; size]);
        let new: Vec<_> = peers_of(255).skip(size).take(2).collect();
        let now = seconds(100);
        assert_eq!(table.insert(now, new[0], [private(2)], OFF), Insert::Full);
        assert_eq!(
            table.insert(now, new[0], [private(2)], ON),
            Insert::Pending { probe: peers[0] }
        );
        assert_eq!(
            table.insert(now, new[1], [private(2)], ON),
            Insert::Full,
            "one waits"
        );
        assert!(!table.contains(&new[0]) && table.pending(&new[0]).is_some());
        let deadline = table.next_deadline().unwrap();
        assert_eq!(deadline, seconds(160));
        assert_eq!(table.apply_pending(seconds(159)), None);
        let Applied { inserted, evicted } = table.apply_pending(deadline).unwrap();
        assert_eq!(
            (inserted, evicted.map(|entry| *entry.peer())),
            (new[0], Some(peers[0]))
        );
        assert_eq!(table.len(), size);
        assert_eq!(table.next_deadline(), None);
        assert_eq!(table.apply_pending(deadline), None);
    }
}

#[test]
fn a_peer_that_waited_and_disconnected_comes_before_the_connected_ones() {
    let (mut table, peers) = filled(sized(3), &[OFF, OFF, ON]);
    let new = peers_of(255).nth(3).unwrap();
    let _ = table.insert(seconds(10), new, [private(2)], ON);
    table.set_status(seconds(11), &new, OFF);
    assert!(table.apply_pending(seconds(70)).is_some());
    assert_eq!(order(&table), [peers[1], new, peers[2]]);
}

#[test]
fn a_bucket_of_connected_peers_takes_nobody_in() {
    let (mut table, _) = filled(sized(3), &[ON; 3]);
    let new = peers_of(255).nth(3).unwrap();
    assert_eq!(
        table.insert(seconds(10), new, [private(2)], ON),
        Insert::Full
    );
}

/// Of rust-libp2p `full_bucket_discard_pending`, and I37: nobody who is alive loses the place.
#[test]
fn a_sign_of_life_keeps_the_place() {
    let signs: [fn(&mut RoutingTable, &PeerId); 2] = [
        |table, peer| table.set_status(seconds(30), peer, ON),
        |table, peer| table.succeeded(peer, seconds(10)),
    ];
    for sign in signs {
        // Without this setting only what comes after the newcomer counts.
        let config = TableConfig {
            liveness: Duration::ZERO,
            ..sized(2)
        };
        let (mut table, peers) = filled(config, &[OFF, OFF]);
        table.succeeded(&peers[0], seconds(9));
        let new = peers_of(255).nth(2).unwrap();
        let pending = table.insert(seconds(10), new, [private(2)], ON);
        assert_eq!(pending, Insert::Pending { probe: peers[0] });
        sign(&mut table, &peers[0]);
        assert_eq!(table.apply_pending(seconds(70)), None);
        assert!(table.contains(&peers[0]) && table.contains(&peers[1]) && !table.contains(&new));
        assert_eq!(table.next_deadline(), None);
    }
}

#[test]
fn who_has_answered_not_long_ago_is_not_the_one_to_go() {
    let (mut table, peers) = filled(sized(2), &[OFF, OFF]);
    let mut new = peers_of(255).skip(2);
    table.succeeded(&peers[0], seconds(5));
    let pending = table.insert(seconds(10), new.next().unwrap(), [private(2)], ON);
    assert_eq!(pending, Insert::Pending { probe: peers[1] });
    table.succeeded(&peers[1], seconds(11));
    assert_eq!(table.apply_pending(seconds(70)), None);
    let full = table.insert(seconds(71), new.next().unwrap(), [private(2)], ON);
    assert_eq!(full, Insert::Full);
    assert_eq!(table.failed(&peers[1], seconds(72)), None);
    let pending = table.insert(seconds(73), new.next().unwrap(), [private(2)], ON);
    assert_eq!(
        pending,
        Insert::Pending { probe: peers[1] },
        "a failure ends it"
    );
}

#[test]
fn a_free_place_is_taken_without_eviction() {
    let (mut table, peers) = filled(sized(2), &[OFF, OFF]);
    let new = peers_of(255).nth(2).unwrap();
    let _ = table.insert(seconds(10), new, [private(2)], ON);
    table.remove(&peers[1]);
    assert!(
        table.pending(&new).is_some(),
        "no removal forgets who waits"
    );
    let Applied { inserted, evicted } = table.apply_pending(seconds(70)).unwrap();
    assert_eq!((inserted, evicted), (new, None));
    assert_eq!(order(&table), [peers[0], new]);
}

#[test]
fn failures_in_a_row_remove_a_peer_but_one_outage_counts_once() {
    let (mut table, peers) = filled(sized(2), &[ON]);
    for _ in 0..5 {
        assert_eq!(table.failed(&peers[0], seconds(1)), None, "all at once");
    }
    table.succeeded(&peers[0], seconds(2));
    assert_eq!(table.failed(&peers[0], seconds(3)), None);
    let evicted = table.failed(&peers[0], seconds(4)).unwrap();
    assert_eq!((*evicted.peer(), evicted.failures()), (peers[0], 2));
    assert!(table.is_empty() && table.failed(&peers[0], seconds(5)).is_none());
}

#[test]
fn this_node_is_never_an_entry() {
    let mut table = table(TableConfig::default());
    assert_eq!(table.insert(START, local(), [private(1)], ON), Insert::Own);
    assert!(table.is_empty() && table.bucket(&Key::of_peer(&local())).is_none());
}

#[test]
fn the_longest_silent_are_checked_first() {
    let (mut table, peers) = filled(sized(9), &[OFF, ON, OFF, ON]);
    table.succeeded(&peers[0], seconds(50));
    table.succeeded(&peers[1], seconds(40));
    assert!(
        table
            .least_recently_seen(seconds(45))
            .eq([peers[2], peers[3], peers[1]])
    );
    assert_eq!(table.least_recently_seen(START).count(), 0);
}

mod addresses {
    use super::*;

    fn one(addresses: &[Multiaddr], max_addresses: usize) -> (RoutingTable, PeerId) {
        let config = TableConfig {
            max_addresses,
            ..TableConfig::default()
        };
        let mut table = table(config);
        assert_eq!(table.insert(START, peer(1), addresses, ON), Insert::Added);
        (table, peer(1))
    }

    fn of(table: &RoutingTable, peer: &PeerId) -> Vec<Multiaddr> {
        table.get(peer).unwrap().addresses().to_vec()
    }

    #[test]
    fn the_last_one_survives_failure_but_not_removal() {
        let (mut table, peer) = one(&[private(1), private(2)], 16);
        assert!(table.address_failed(&peer, &private(1)));
        assert!(!table.address_failed(&peer, &private(2)));
        assert_eq!(of(&table, &peer), [private(2)]);
        assert!(matches!(
            table.remove_address(&peer, &private(2)),
            Removed::Peer(_)
        ));
        assert!(table.is_empty());
    }

    /// <https://github.com/libp2p/rust-libp2p/issues/4816>
    #[test]
    fn removing_an_unknown_one_does_not_remove_the_peer() {
        let (mut table, peer) = one(&[private(1)], 16);
        assert_eq!(table.remove_address(&peer, &private(2)), Removed::Nothing);
        assert_eq!(of(&table, &peer), [private(1)]);
    }

    #[test]
    fn removing_the_last_of_a_peer_that_waits_ends_the_waiting() {
        let (mut table, _) = filled(sized(1), &[OFF]);
        let new = peers_of(255).nth(1).unwrap();
        let _ = table.insert(seconds(10), new, [private(2)], ON);
        assert!(
            matches!(table.remove_address(&new, &private(2)), Removed::Peer(entry) if *entry.peer() == new)
        );
        assert_eq!((table.next_deadline(), table.len()), (None, 1));
    }

    #[test]
    fn those_of_other_peers_are_refused_and_the_own_suffix_is_cut() {
        let (mut table, own) = one(&[private(1)], 16);
        let with = |peer| private(2).with_peer_id(peer).unwrap();
        assert!(!table.add_address(&own, &with(peer(2))));
        assert!(!table.add_address(&own, &address(format!("/p2p/{own}"))));
        assert!(table.add_address(&own, &with(own)));
        assert!(!table.add_address(&own, &private(2)), "the same");
        assert_eq!(of(&table, &own), [private(1), private(2)]);
        let refused = table.insert(START, peer(3), [with(peer(2))], ON);
        assert_eq!(refused, Insert::NoAddress);
    }

    #[test]
    fn strangers_cannot_drive_out_the_confirmed_one() {
        let (mut table, peer) = one(&[private(0)], 4);
        for number in 1..100 {
            assert!(table.add_address(&peer, &private(number)));
        }
        assert_eq!(
            of(&table, &peer),
            [private(0), private(99), private(98), private(97)]
        );
        assert!(!table.confirm_address(&peer, &private(98)), "not new");
        assert_eq!(
            of(&table, &peer),
            [private(98), private(0), private(99), private(97)]
        );
        for number in 100..110 {
            assert!(table.confirm_address(&peer, &private(number)));
        }
        assert_eq!(of(&table, &peer), [109, 108, 107, 106].map(private));
        let (mut table, peer) = one(&[private(0)], 1);
        assert!(!table.add_address(&peer, &private(1)));
        assert!(table.confirm_address(&peer, &private(2)));
        assert_eq!(of(&table, &peer), [private(2)]);
    }

    #[test]
    fn a_changed_address_takes_the_place_of_the_old_one() {
        let (mut table, peer) = one(&[private(1), private(2)], 16);
        assert!(table.replace_address(&peer, &private(1), &private(3)));
        assert_eq!(of(&table, &peer), [private(3), private(2)]);
        assert!(table.replace_address(&peer, &private(2), &private(3)));
        assert_eq!(of(&table, &peer), [private(3)]);
        assert!(!table.replace_address(&peer, &private(2), &private(4)));
        assert!(!table.replace_address(&peer, &private(3), &private(3)));
    }

    #[test]
    fn no_message_is_kept_alive() {
        let message = bytes::Bytes::from([private(1).as_bytes(), &[0; 10_000]].concat());
        let len = private(1).as_bytes().len();
        let part = Multiaddr::from_shared(message.slice(..len)).unwrap();
        let (_table, _) = one(core::slice::from_ref(&part), 16);
        drop(part);
        assert!(message.is_unique());
    }
}

/// The four tests of go-libp2p-kad-dht's `rt_diversity_filter_test`; those of responses belong to the lookup.
mod diversity {
    use super::*;

    fn limits(per_bucket: usize, per_table: usize) -> TableConfig {
        TableConfig {
            diversity: Some(DiversityLimits {
                per_bucket,
                per_table,
                ..DiversityLimits::default()
            }),
            ..TableConfig::default()
        }
    }

    fn google(number: u8) -> Multiaddr {
        address(format!("/ip4/8.8.{number}.8/tcp/4001"))
    }

    #[test]
    fn there_are_so_many_per_bucket_and_per_table() {
        let mut table = table(limits(2, 3));
        let far: Vec<_> = peers_of(255).take(3).collect();
        let add = |table: &mut RoutingTable, peer| table.insert(START, peer, [google(1)], ON);
        assert_eq!(add(&mut table, far[0]), Insert::Added);
        assert_eq!(add(&mut table, far[1]), Insert::Added);
        assert_eq!(
            add(&mut table, far[2]),
            Insert::TooMany,
            "two in the bucket"
        );
        let near: Vec<_> = peers_of(254).take(2).collect();
        assert_eq!(add(&mut table, near[0]), Insert::Added);
        assert_eq!(
            add(&mut table, near[1]),
            Insert::TooMany,
            "three in the table"
        );
        table.remove(&far[0]);
        assert_eq!(add(&mut table, near[1]), Insert::Added);
        assert_eq!(add(&mut table, far[2]), Insert::TooMany);
    }

    #[test]
    fn after_one_per_bucket_has_left_another_may_come() {
        let mut table = table(limits(1, 2));
        let peers: Vec<_> = peers_of(254).take(2).collect();
        let add = |table: &mut RoutingTable, peer| table.insert(START, peer, [google(1)], ON);
        assert_eq!(add(&mut table, peers[0]), Insert::Added);
        assert_eq!(add(&mut table, peers[1]), Insert::TooMany);
        table.remove(&peers[0]);
        assert_eq!(add(&mut table, peers[1]), Insert::Added);
        assert_eq!(order(&table), [peers[1]]);
    }

    #[test]
    fn groups_are_those_of_go() {
        let limits = DiversityLimits::default();
        let group = |text: &str| limits.group(&address(text));
        let same = |one: &str, other: &str| group(one).is_some() && group(one) == group(other);
        assert!(same("/ip4/1.1.1.1/tcp/1", "/ip4/1.1.255.2/udp/2"));
        assert!(!same("/ip4/1.1.1.1/tcp/1", "/ip4/1.2.1.1/tcp/1"));
        assert!(
            same("/ip4/12.1.1.1/tcp/1", "/ip4/12.2.1.1/tcp/1"),
            "legacy class A"
        );
        assert!(same(
            "/ip6/2001:4860:4860::1/tcp/1",
            "/ip6/2001:4860:1::2/tcp/1"
        ));
        assert!(!same("/ip6/2001:4860::1/tcp/1", "/ip6/2001:4861::1/tcp/1"));
        let relayed = format!("/ip4/1.1.1.1/tcp/1/p2p/{}/p2p-circuit", peer(1));
        for none in [
            "/ip4/10.1.1.1/tcp/1",
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/dns/libp2p.io/tcp/1",
            &relayed,
        ] {
            assert_eq!(group(none), None, "{none}");
        }
        let narrow = DiversityLimits {
            ipv4_prefix: 24,
            whole_class_a: false,
            ..limits
        };
        let group = |text: &str| narrow.group(&address(text));
        assert_ne!(group("/ip4/12.1.1.1/tcp/1"), group("/ip4/12.1.2.1/tcp/1"));
        assert_eq!(group("/ip4/12.1.1.1/tcp/1"), group("/ip4/12.1.1.2/tcp/1"));
        for prefix in [0, 32, 255] {
            let odd = DiversityLimits {
                ipv4_prefix: prefix,
                ipv6_prefix: prefix,
                ..limits
            };
            assert!(odd.group(&google(1)).is_some());
        }
    }

    #[test]
    fn no_address_added_later_gets_around_it() {
        let mut table = table(limits(1, 1));
        let peers: Vec<_> = peers_of(255).take(2).collect();
        let _ = table.insert(START, peers[0], [google(1)], ON);
        assert_eq!(
            table.insert(START, peers[1], [private(1)], ON),
            Insert::Added
        );
        assert!(!table.add_address(&peers[1], &google(2)));
        assert!(!table.confirm_address(&peers[1], &google(2)));
        assert!(!table.replace_address(&peers[1], &private(1), &google(2)));
        assert!(table.add_address(&peers[0], &google(2)), "its own group");
        table.remove_address(&peers[0], &google(1));
        assert!(
            !table.add_address(&peers[1], &google(2)),
            "it has another one there"
        );
        table.remove(&peers[0]);
        assert!(table.add_address(&peers[1], &google(2)));
    }

    #[test]
    fn who_waits_may_take_the_place_of_one_of_the_same_network() {
        let config = TableConfig {
            bucket_size: NonZeroUsize::MIN,
            ..limits(1, 1)
        };
        let mut table = table(config);
        let peers: Vec<_> = peers_of(255).take(2).collect();
        let _ = table.insert(START, peers[0], [google(1)], OFF);
        let pending = table.insert(START, peers[1], [google(2)], ON);
        assert_eq!(pending, Insert::Pending { probe: peers[0] });
        assert!(table.apply_pending(seconds(60)).is_some());
        assert_eq!(order(&table), [peers[1]]);
    }

    /// D4 of the reliability demands: an attacker with any number of ids in A networks gets no more than 3 A places,
    /// and drives nobody out who is alive.
    #[test]
    fn an_attacker_with_few_networks_gets_few_places() {
        let mut table = table(TableConfig::default());
        let honest: Vec<_> = (0..500).map(peer).collect();
        for (at, peer) in honest.iter().enumerate() {
            let home = address(format!("/ip4/{}.{}.1.1/tcp/1", 80 + at / 250, at % 250));
            let _ = table.insert(START, *peer, [home], ON);
            table.succeeded(peer, START);
            table.set_status(START, peer, OFF);
        }
        let before = order(&table);
        for networks in [1_u16, 10] {
            for number in 1000..9000_u16 {
                let evil = address(format!(
                    "/ip4/100.{}.{}.1/tcp/1",
                    128 + number % networks,
                    number / 250
                ));
                let _ = table.insert(seconds(1), peer(number), [evil], ON);
            }
            while table.apply_pending(seconds(100)).is_some() {}
            let after = order(&table);
            assert!(before.iter().all(|peer| after.contains(peer)));
            assert!(after.len() <= before.len() + 3 * usize::from(networks));
            assert!(after.len() > before.len(), "or this shows nothing");
        }
    }
}

proptest! {
    #[test]
    fn the_buckets_divide_the_key_space(position in any::<[u8; 32]>(), seed in any::<u64>()) {
        let table = table(TableConfig::default());
        let position = Key::from_bytes(&position);
        let distance = table.local().distance(&position);
        let mut rng = Seed::for_tests(seed).rng();
        let mut next = Distance::from_bytes(&{ let mut one = [0; 32]; one[31] = 1; one });
        let mut homes = 0;
        for bucket in table.buckets() {
            let (least, greatest) = bucket.range();
            prop_assert_eq!(least, next, "no gap, no overlap");
            let mut bytes = greatest.to_bytes();
            for byte in bytes.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 { break; }
            }
            next = Distance::from_bytes(&bytes);
            prop_assert_eq!(bucket.contains(&distance), (least..=greatest).contains(&distance));
            homes += usize::from(bucket.contains(&distance));
            prop_assert!(bucket.contains(&least) && bucket.contains(&greatest));
            prop_assert!(bucket.contains(&bucket.random_distance(&mut rng)));
            let random = bucket.random_key(&mut rng);
            prop_assert_eq!(table.bucket(&random).unwrap().index(), bucket.index());
        }
        prop_assert!(next.is_zero(), "the last ends with the greatest distance");
        prop_assert_eq!(homes, 1);
        prop_assert_eq!(table.bucket(&position).unwrap().index(), distance.ilog2().unwrap());
    }
}

#[test]
fn random_distances_differ_in_every_bit_below_the_highest() {
    let table = table(TableConfig::default());
    let bucket = table.buckets().nth(100).unwrap();
    let mut rng = Seed::for_tests(1).rng();
    let (mut ones, mut zeros) = ([0; 32], [0; 32]);
    for _ in 0..64 {
        for (at, byte) in bucket
            .random_distance(&mut rng)
            .to_bytes()
            .into_iter()
            .enumerate()
        {
            ones[at] |= byte;
            zeros[at] |= !byte;
        }
    }
    let (least, greatest) = bucket.range();
    assert_eq!(Distance::from_bytes(&ones), greatest);
    assert_eq!(Distance::from_bytes(&zeros.map(|byte| !byte)), least);
}
