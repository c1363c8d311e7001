//! Hosts that crash, machines that vanish, partitions.

use super::*;
use std::collections::BTreeSet;

/// Both write, and neither finishes.
fn talkers(link: Link) -> (Stage, [End; 2]) {
    let plan = Plan {
        finish: false,
        ..Plan::sends(100)
    };
    let (mut stage, ends) = Stage::pipe(1, link, [plan.clone(), plan]);
    stage.run();
    (stage, ends)
}

fn say(stage: &mut Stage, end: End) {
    let user = stage.users.get_mut(&end).unwrap();
    let longer = user.plan.data.len() + 10;
    user.plan.data = pattern(longer);
    stage.write(end);
}

#[test]
fn of_a_crash_peers_are_told_and_of_a_power_loss_they_are_not() {
    let (mut stage, [dialer, listener]) = talkers(Link::default());
    stage.net.crash(stage.now, HostId(1), false);
    stage.users.get_mut(&listener).unwrap().closed = true;
    stage.run();
    assert_eq!(stage.users[&dialer].end, Some(Ok(())), "an end arrives");
    let refused = stage.dial(0, 1);
    stage.run();
    assert_eq!(
        stage.attempts[&refused],
        Some(Err(NetworkError::Refused)),
        "the machine is there"
    );
    say(&mut stage, dialer);
    stage.run();
    assert_eq!(
        stage.net.write(stage.now, dialer, b"x"),
        Err(NetworkError::Reset)
    );

    let (mut stage, [dialer, listener]) = talkers(Link::default());
    stage.net.crash(stage.now, HostId(1), true);
    stage.users.get_mut(&listener).unwrap().closed = true;
    stage.run();
    assert_eq!(stage.users[&dialer].end, None, "nobody tells");
    let lost = stage.dial(0, 1);
    say(&mut stage, dialer);
    let began = stage.now;
    stage.run();
    assert_eq!(stage.attempts[&lost], Some(Err(NetworkError::TimedOut)));
    let user = &stage.users[&dialer];
    assert_eq!(user.end, Some(Err(NetworkError::TimedOut)));
    assert!(stage.now - began >= secs(900));
    stage.assert_forgotten();
}

#[test]
fn a_machine_that_comes_back_answers_for_pipes_it_has_forgotten() {
    for finished in [false, true] {
        let (mut stage, [dialer, listener]) = talkers(Link::default());
        stage.net.crash(stage.now, HostId(1), true);
        stage.users.get_mut(&listener).unwrap().closed = true;
        assert!(!stage.net.is_up(HostId(1)));
        if finished {
            // No bytes, only the end of them; whoever waits for an answer is told all the same.
            assert_eq!(stage.net.shutdown(stage.now, dialer), Ok(()));
        } else {
            say(&mut stage, dialer);
        }
        stage.run_for(secs(30));
        assert_eq!(stage.users[&dialer].end, None);
        stage.net.restart(HostId(1));
        assert!(stage.net.is_up(HostId(1)));
        stage.run_for(secs(2));
        let user = &stage.users[&dialer];
        assert_eq!(user.end, Some(Err(NetworkError::Reset)), "{finished}");
        // It has no listener either.
        let refused = stage.dial(0, 1);
        stage.run();
        assert_eq!(stage.attempts[&refused], Some(Err(NetworkError::Refused)));
        stage.assert_forgotten();
    }
}

#[test]
fn a_writer_that_waits_for_room_is_told_whatever_becomes_of_the_reader() {
    for (silent, restart, expected) in [
        (false, false, NetworkError::Reset),
        (true, false, NetworkError::TimedOut),
        (true, true, NetworkError::Reset),
    ] {
        for at in [0, 1, 2, 50] {
            let deaf = Plan {
                deaf: true,
                finish: false,
                ..Plan::default()
            };
            let link = Link::default().buffer(100);
            let (mut stage, [dialer, listener]) = Stage::pipe(1, link, [Plan::sends(500), deaf]);
            stage.run_for(ms(at));
            stage.net.crash(stage.now, HostId(1), silent);
            stage.users.get_mut(&listener).unwrap().closed = true;
            if restart {
                stage.run_for(secs(7));
                stage.net.restart(HostId(1));
            }
            stage.run();
            let user = &stage.users[&dialer];
            assert_eq!(
                (user.end, user.written, user.closed),
                (Some(Err(expected)), 100, true),
                "{silent} {restart} {at}"
            );
            stage.assert_forgotten();
        }
    }
}

#[test]
fn what_arrived_before_the_machine_vanished_can_be_read() {
    let deaf = Plan {
        deaf: true,
        close: false,
        ..Plan::default()
    };
    let (mut stage, [dialer, listener]) = Stage::pipe(1, Link::default(), [Plan::sends(100), deaf]);
    stage.run();
    stage.net.crash(stage.now, HostId(0), true);
    stage.users.get_mut(&dialer).unwrap().closed = true;
    stage.users.get_mut(&listener).unwrap().plan.deaf = false;
    stage.read(listener);
    assert_eq!(stage.users[&listener].received, pattern(100));
}

#[test]
fn a_crash_in_the_middle_of_connecting_leaves_nothing() {
    for host in [0, 1] {
        for silent in [false, true] {
            for restart in [false, true] {
                for microseconds in (0..4000).step_by(250) {
                    let mut stage = Stage::new(microseconds, 2, Link::default());
                    stage.listen(1);
                    let attempt = stage.dial(0, 1);
                    stage.run_for(Duration::from_micros(microseconds));
                    stage.net.crash(stage.now, HostId(host), silent);
                    let mine = |(end, _): &(&End, &User)| u32::from(end.side) == host;
                    let gone: Vec<End> = stage
                        .users
                        .iter()
                        .filter(mine)
                        .map(|(end, _)| *end)
                        .collect();
                    for end in gone {
                        stage.users.get_mut(&end).unwrap().closed = true;
                    }
                    if restart {
                        stage.net.restart(HostId(host));
                    }
                    stage.run();
                    let told = stage.attempts[&attempt].is_some();
                    let what = format!("{host} {silent} {restart} {microseconds}");
                    assert_eq!(told, host == 1 || microseconds >= 2000, "{what}");
                    for (end, user) in &stage.users {
                        assert!(user.closed || !restart, "{what}: {end:?} {user:?}");
                    }
                    for end in stage.users.keys().copied().collect::<Vec<_>>() {
                        stage.close(end);
                    }
                    stage.run();
                    stage.assert_forgotten();
                }
            }
        }
    }
}

#[test]
fn a_crashed_host_hears_nothing_and_can_open_nothing() {
    let mut stage = Stage::new(1, 2, Link::default());
    stage.net.crash(stage.now, HostId(0), false);
    let at = address("10.0.0.1:1");
    let closed = Err(NetworkError::Closed);
    assert_eq!(stage.net.listen(HostId(0), at).map(drop), closed);
    assert_eq!(stage.net.bind(HostId(0), at).map(drop), closed);
    stage.dial(0, 1);
    stage.run();
    assert!(stage.log.is_empty());
    stage.assert_forgotten();
    // Twice is no harm.
    stage.net.crash(stage.now, HostId(0), true);
    stage.net.restart(HostId(0));
    stage.net.restart(HostId(0));
    assert!(stage.net.listen(HostId(0), at).is_ok());
}

#[test]
fn partitions_keep_apart_whom_they_should() {
    let some = |hosts: &[u32]| {
        hosts
            .iter()
            .map(|host| HostId(*host))
            .collect::<BTreeSet<_>>()
    };
    let table = [
        (Partition::Apart(some(&[0, 1])), (0, 1), true),
        (Partition::Apart(some(&[0, 1])), (2, 3), true),
        (Partition::Apart(some(&[0, 1])), (1, 2), false),
        (Partition::Apart(some(&[0, 1])), (2, 1), false),
        (Partition::OneWay(some(&[0, 1])), (0, 1), true),
        (Partition::OneWay(some(&[0, 1])), (1, 2), false),
        (Partition::OneWay(some(&[0, 1])), (2, 1), true),
        (Partition::OneWay(some(&[0, 1])), (2, 3), true),
        (Partition::Ring(1), (0, 1), true),
        (Partition::Ring(1), (0, 5), true),
        (Partition::Ring(1), (5, 0), true),
        (Partition::Ring(1), (0, 2), false),
        (Partition::Ring(2), (1, 5), true),
        (Partition::Ring(2), (1, 4), false),
        (Partition::Ring(0), (1, 1), true),
        (Partition::Apart(some(&[])), (0, 1), true),
    ];
    let mut net = Stage::new(1, 6, Link::default()).net;
    for (partition, (from, to), passes) in table {
        let text = format!("{partition:?} {from} {to}");
        let (from, to) = (HostId(from), HostId(to));
        assert!(net.passes(from, to));
        let other = net.part(Partition::Ring(3));
        let id = net.part(partition);
        assert_eq!(net.passes(from, to), passes, "{text}");
        assert!(net.heal(id) && !net.heal(id) && net.heal(other));
    }
    net.part(Partition::Ring(0));
    net.part(Partition::OneWay(some(&[1])));
    net.heal_all();
    assert!(net.passes(HostId(0), HostId(3)) && net.passes(HostId(1), HostId(0)));
    for fault in [
        Fault::Bisection,
        Fault::OneWayPartition,
        Fault::RingPartition,
    ] {
        assert!(net.faults().of(fault) > 0);
    }
    assert!(!net.passes(HostId(0), HostId(6)), "there is no such host");
}

#[test]
fn bytes_that_meet_a_partition_come_soon_after_it_has_healed() {
    for seconds in [0, 1, 10, 600] {
        let (mut stage, [dialer, listener]) = talkers(Link::default());
        let id = stage.net.part(Partition::Apart([HostId(0)].into()));
        say(&mut stage, dialer);
        say(&mut stage, listener);
        stage.run_for(secs(seconds));
        assert_eq!(stage.users[&listener].received.len(), 100);
        stage.net.heal(id);
        stage.run_for(secs(2));
        assert_eq!(stage.users[&listener].received.len(), 110);
        assert_eq!(stage.users[&dialer].received.len(), 110);
        assert_eq!(stage.net.faults().of(Fault::PipeTimeout), 0);
    }
}

#[test]
fn a_partition_that_stays_times_pipes_out_at_whoever_writes() {
    let (mut stage, [dialer, listener]) = talkers(Link::default());
    stage.net.set_pipe_timeout(secs(20));
    let id = stage.net.part(Partition::Apart([HostId(0)].into()));
    say(&mut stage, dialer);
    stage.run_for(secs(19));
    assert_eq!(stage.users[&dialer].end, None);
    stage.run_for(secs(3));
    assert_eq!(stage.users[&dialer].end, Some(Err(NetworkError::TimedOut)));
    assert_eq!(stage.users[&listener].end, None, "he has noticed nothing");
    stage.net.heal(id);
    say(&mut stage, listener);
    stage.run();
    let user = &stage.users[&listener];
    assert_eq!(user.end, Some(Err(NetworkError::Reset)), "and now he does");
    stage.assert_forgotten();
}

#[test]
fn one_way_only_one_side_times_out() {
    let (mut stage, [dialer, listener]) = talkers(Link::default());
    stage.net.part(Partition::OneWay([HostId(0)].into()));
    say(&mut stage, listener);
    stage.run();
    assert_eq!(stage.users[&dialer].received.len(), 110);
    say(&mut stage, dialer);
    stage.run();
    let [dialer, listener] = [dialer, listener].map(|end| &stage.users[&end]);
    assert_eq!(dialer.end, Some(Err(NetworkError::TimedOut)));
    assert_eq!((listener.end, listener.received.len()), (None, 100));
}

#[test]
fn connecting_waits_for_a_partition_to_heal_or_times_out() {
    // The parting meets the request, the answer, or the last word.
    for microseconds in [500, 1500, 2500] {
        for heals in [false, true] {
            let mut stage = Stage::new(1, 2, Link::default());
            stage.listen(1);
            let attempt = stage.dial(0, 1);
            stage.run_for(Duration::from_micros(microseconds));
            let id = stage.net.part(Partition::Apart([HostId(0)].into()));
            stage.run_for(secs(20));
            let told = microseconds == 2500;
            assert_eq!(stage.attempts[&attempt].is_some(), told);
            assert!(stage.accepted.is_empty());
            if heals {
                stage.net.heal(id);
            }
            stage.run();
            match stage.attempts[&attempt] {
                Some(Ok(_)) => assert!(heals || told),
                Some(Err(error)) => assert_eq!((error, heals), (NetworkError::TimedOut, false)),
                None => panic!("no end of the attempt"),
            }
            assert_eq!(stage.accepted.len(), usize::from(heals));
            stage.assert_forgotten();
        }
    }
}

#[test]
fn a_reset_that_meets_a_partition_comes_when_it_has_healed_or_the_writer_times_out() {
    for heals in [false, true] {
        let deaf = Plan {
            deaf: true,
            finish: false,
            ..Plan::default()
        };
        let link = Link::default().buffer(100);
        let (mut stage, [dialer, listener]) = Stage::pipe(1, link, [Plan::sends(500), deaf]);
        stage.run();
        let id = stage.net.part(Partition::Apart([HostId(0)].into()));
        // Something is unread.
        stage.close(listener);
        stage.run_for(secs(20));
        assert_eq!(stage.users[&dialer].end, None);
        if heals {
            stage.net.heal(id);
            stage.run_for(secs(2));
        }
        stage.run();
        let expected = match heals {
            true => NetworkError::Reset,
            false => NetworkError::TimedOut,
        };
        assert_eq!(stage.users[&dialer].end, Some(Err(expected)));
        stage.assert_forgotten();
    }
}

#[test]
fn an_end_that_has_timed_out_and_is_held_on_to_takes_nothing_more() {
    let plan = Plan {
        finish: false,
        close: false,
        ..Plan::sends(100)
    };
    let (mut stage, [dialer, listener]) = Stage::pipe(1, Link::default(), [plan.clone(), plan]);
    stage.run();
    stage.net.set_pipe_timeout(secs(20));
    let id = stage.net.part(Partition::Apart([HostId(0)].into()));
    say(&mut stage, dialer);
    stage.run();
    assert_eq!(stage.users[&dialer].end, Some(Err(NetworkError::TimedOut)));
    stage.net.heal(id);
    say(&mut stage, listener);
    stage.run();
    assert_eq!(stage.users[&listener].end, Some(Err(NetworkError::Reset)));
    let nothing = stage.net.read(stage.now, dialer, 99, &mut BytesMut::new());
    assert_eq!(nothing, Err(NetworkError::TimedOut));
}
