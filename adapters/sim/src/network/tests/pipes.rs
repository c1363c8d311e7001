//! Bytes through pipes.

use super::*;

fn everything_arrives(seed: u64) {
    let mut chance = Chance::new(&Seed::for_tests(seed), "links");
    let mut stage = Stage::new(seed, 2, Link::default());
    let (mut least, mut most) = (usize::MAX, 0);
    for way in [(0, 1), (1, 0)] {
        let link = any_lossless_link(&mut chance);
        (least, most) = (least.min(link.buffer), most.max(link.buffer));
        stage
            .net
            .set_link(HostId(way.0), HostId(way.1), link)
            .unwrap();
    }
    stage.net.permute_ties(seed.is_multiple_of(2));
    // A byte at a time is slow; and more than fits.
    let longest = (least as u64 * 300).clamp(2, 400_000);
    for plan in &mut stage.plans {
        *plan = Plan {
            write: *chance.pick(&[1, 100, 70_000, usize::MAX]).unwrap(),
            read: *chance.pick(&[1, 100, usize::MAX]).unwrap(),
            ..Plan::sends(chance.below(longest) as usize)
        };
        if least > 1000 && plan.write == 1 {
            plan.write = 5000;
        }
    }
    stage.listen(1);
    let pipes = 1 + chance.below(3);
    for _ in 0..pipes {
        stage.dial(0, 1);
    }
    stage.run();
    assert_eq!(stage.users.len() as u64, 2 * pipes);
    for (end, user) in &stage.users {
        let sent = &stage.users[&end.other()].plan.data;
        assert!(user.received == *sent, "seed {seed}: {end:?}");
        assert_eq!(user.end, Some(Ok(())), "seed {seed}");
        assert_eq!(user.write_error, None, "seed {seed}");
    }
    stage.assert_forgotten();
}

#[test]
fn a_host_that_acts_on_signals_alone_moves_everything() {
    (0..300).for_each(everything_arrives);
}

#[test]
fn a_bit_is_flipped_and_nothing_else() {
    for seed in 0..50 {
        let link = Link {
            corruption: 1.0,
            ..Link::default()
        };
        let plan = Plan {
            write: 1000,
            ..Plan::sends(10_000)
        };
        let (mut stage, [dialer, listener]) =
            Stage::pipe(seed, link, [plan.clone(), Plan::default()]);
        stage.run();
        let received = &stage.users[&listener].received;
        assert_eq!(received.len(), 10_000);
        for (sent, came) in plan.data.chunks(1000).zip(received.chunks(1000)) {
            let flipped = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
            assert_eq!(sent.iter().zip(came).map(flipped).sum::<u32>(), 1);
        }
        assert_eq!(stage.net.faults().of(Fault::Corruption), 10);
        assert_eq!(stage.users[&dialer].end, Some(Ok(())));
    }
}

#[test]
fn at_every_byte_a_pipe_can_be_reset_end_or_fall_silent() {
    let length = 40;
    for by_listener in [false, true] {
        for at in 0..=length {
            for cut in [Cut::Reset, Cut::End, Cut::Silence] {
                cut_at(by_listener, at, cut, length);
            }
        }
    }
}

fn cut_at(by_listener: bool, at: usize, cut: Cut, length: usize) {
    let mut stage = Stage::new(at as u64, 2, Link::default());
    stage.plans = [Plan::sends(length), Plan::sends(length)];
    stage.plans[usize::from(by_listener)].write = 7;
    stage.listen(1);
    stage
        .net
        .cut_next(HostId(0), HostId(1), by_listener, at as u64, cut);
    stage.dial(0, 1);
    stage.run();
    let [dialer, listener] = {
        let listener = stage.accepted[0].0;
        [listener.other(), listener]
    };
    let (writer, reader) = if by_listener {
        (listener, dialer)
    } else {
        (dialer, listener)
    };
    let what = format!("{cut:?} at {at}, by the listener: {by_listener}");
    let (writer, reader) = (&stage.users[&writer], &stage.users[&reader]);
    assert_eq!(reader.received.len(), at, "{what}");
    match cut {
        Cut::Reset => {
            assert_eq!(reader.end, Some(Err(NetworkError::Reset)), "{what}");
            let heard = writer.end == Some(Err(NetworkError::Reset))
                || writer.write_error == Some(NetworkError::Reset);
            // The reader's own end may be there before the reset is.
            assert!(heard || writer.end == Some(Ok(())), "{what}: {writer:?}");
            assert_eq!(stage.net.faults().of(Fault::Reset), 1, "{what}");
        }
        Cut::End => {
            assert_eq!(reader.end, Some(Ok(())), "{what}");
            assert_eq!(writer.received.len(), length, "{what}");
            assert_eq!(stage.net.faults().of(Fault::OneWayEnd), 1, "{what}");
        }
        Cut::Silence => {
            assert_eq!(reader.end, None, "{what}");
            assert_eq!(writer.received.len(), length, "{what}");
            assert_eq!(stage.net.faults().of(Fault::Silence), 1, "{what}");
        }
    }
    stage.assert_prefixes();
    for end in [dialer, listener] {
        stage.close(end);
    }
    stage.run();
    stage.assert_forgotten();
}

#[test]
fn into_silence_a_writer_fills_the_buffer_and_gives_up_in_the_end() {
    let link = Link::default().buffer(1000);
    let plan = Plan {
        write: 300,
        ..Plan::sends(5000)
    };
    let mut stage = Stage::new(1, 2, link);
    stage.plans[0] = plan;
    stage.listen(1);
    let (dialer, listener) = (HostId(0), HostId(1));
    stage.net.cut_next(dialer, listener, false, 2, Cut::Silence);
    stage.dial(0, 1);
    stage.run_until(|stage| !stage.accepted.is_empty());
    let end = stage.accepted[0].0.other();
    stage.run_for(secs(10));
    // The two bytes that came make less room than is worth a signal.
    assert_eq!(stage.users[&end].written, 1000);
    assert_eq!(stage.users[&end].write_error, None);
    stage.run();
    let user = &stage.users[&end];
    assert_eq!(user.write_error, Some(NetworkError::TimedOut));
    assert!(stage.now >= Instant::ZERO + secs(900));
    assert_eq!(stage.net.faults().of(Fault::PipeTimeout), 1);
}

#[test]
fn closing_with_unread_bytes_resets_the_peer_and_without_does_not() {
    for (unread, in_flight) in [(true, false), (false, true), (false, false)] {
        let deaf = Plan {
            deaf: unread,
            finish: false,
            close: false,
            ..Plan::default()
        };
        let sender = Plan {
            finish: false,
            close: false,
            ..Plan::sends(100)
        };
        let (mut stage, [dialer, listener]) = Stage::pipe(1, Link::default(), [sender, deaf]);
        stage.run();
        if in_flight {
            stage.users.get_mut(&dialer).unwrap().plan.data = pattern(200);
            stage.write(dialer);
        }
        stage.close(listener);
        stage.run();
        let expected = match unread || in_flight {
            true => Some(Err(NetworkError::Reset)),
            false => Some(Ok(())),
        };
        // What the listener finished comes first, if that was before.
        let told = stage.users[&dialer].end;
        assert!(
            told == expected || (in_flight && told == Some(Ok(()))),
            "{told:?}"
        );
        let later = stage.net.write(stage.now, dialer, b"more");
        if unread || in_flight {
            assert_eq!(later, Err(NetworkError::Reset));
        } else {
            assert_eq!(later, Ok(4));
            stage.run();
            let after = stage.net.write(stage.now, dialer, b"more");
            assert_eq!(after, Err(NetworkError::Reset), "nobody reads there");
        }
        stage.close(dialer);
        stage.run();
        stage.assert_forgotten();
    }
}

#[test]
fn a_writer_whose_reader_closes_is_told() {
    for at in 0..40 {
        let link = Link::default().buffer(64);
        let reader = Plan {
            deaf: true,
            finish: false,
            ..Plan::default()
        };
        let (mut stage, [dialer, listener]) = Stage::pipe(at, link, [Plan::sends(10_000), reader]);
        stage.run_for(Duration::from_micros(at * 100));
        stage.close(listener);
        stage.run();
        let user = &stage.users[&dialer];
        assert!(
            user.closed && user.end == Some(Err(NetworkError::Reset)),
            "{at}: {user:?}"
        );
        stage.assert_forgotten();
    }
}

#[test]
fn what_had_arrived_comes_before_the_reset() {
    let sender = Plan {
        finish: false,
        ..Plan::sends(500)
    };
    let (mut stage, [dialer, listener]) = Stage::pipe(
        1,
        Link::default(),
        [
            sender,
            Plan {
                deaf: true,
                finish: false,
                close: false,
                ..Plan::default()
            },
        ],
    );
    stage.run();
    stage.net.reset(stage.now, dialer);
    stage.users.get_mut(&listener).unwrap().plan.deaf = false;
    stage.run();
    let user = &stage.users[&listener];
    assert_eq!(user.received.len(), 500);
    assert_eq!(user.end, Some(Err(NetworkError::Reset)));
    assert_eq!(
        stage.users[&dialer].end,
        Some(Err(NetworkError::Reset)),
        "both ends are reset"
    );
}

#[test]
fn ends_that_are_closed_or_never_were_are_refused() {
    let (mut stage, [dialer, listener]) = Stage::pipe(
        1,
        Link::default(),
        [
            Plan {
                close: false,
                ..Plan::default()
            },
            Plan {
                close: false,
                finish: false,
                ..Plan::default()
            },
        ],
    );
    let (now, net) = (stage.now, &mut stage.net);
    let mut buffer = BytesMut::new();
    assert_eq!(
        net.write(now, dialer, b"x"),
        Err(NetworkError::BrokenPipe),
        "it was shut down"
    );
    assert_eq!(net.shutdown(now, dialer), Ok(()), "once more is no harm");
    for _ in 0..2 {
        net.close(now, dialer);
        assert_eq!(net.write(now, dialer, b"x"), Err(NetworkError::Closed));
        assert_eq!(net.shutdown(now, dialer), Err(NetworkError::Closed));
        assert_eq!(
            net.read(now, dialer, 9, &mut buffer),
            Err(NetworkError::Closed)
        );
    }
    assert_eq!(net.write(now, listener, b"x"), Ok(1));
    net.close(now, listener);
    assert_eq!(net.pipe_count(), 0);
    assert_eq!(net.write(now, listener, b"x"), Err(NetworkError::Closed));
    assert_eq!(net.peer_of(listener), None);
    stage.run();
    stage.assert_forgotten();
}

#[test]
fn a_larger_buffer_wakes_the_writer_and_a_new_link_keeps_the_order() {
    let deaf = Plan {
        deaf: true,
        close: false,
        ..Plan::default()
    };
    let (mut stage, [dialer, listener]) = Stage::pipe(
        1,
        Link::default().buffer(10).latency(secs(1)),
        [Plan::sends(5000), deaf],
    );
    stage.run();
    assert_eq!(stage.users[&dialer].written, 10);
    stage
        .net
        .set_default_link(Link::default().buffer(2000).latency(secs(3)))
        .unwrap();
    stage.run_for(ms(10));
    assert_eq!(stage.users[&dialer].written, 2000);
    let quick = Link::default().latency(Duration::ZERO).buffer(9000);
    let (from, to) = (HostId(0), HostId(1));
    stage.net.set_link(from, to, quick).unwrap();
    stage.users.get_mut(&listener).unwrap().plan.deaf = false;
    stage.run();
    assert_eq!(stage.users[&listener].received, pattern(5000));
}

#[test]
fn bandwidth_and_latency_take_their_time() {
    let link = Link::default().latency(ms(100)).bandwidth(10_000);
    let (mut stage, [_, listener]) = Stage::pipe(1, link, [Plan::sends(50_000), Plan::default()]);
    // The dialer began one latency before the listener accepted.
    let began = stage.now - Instant::ZERO;
    assert_eq!(began, ms(300));
    stage.run_until(|stage| stage.users[&listener].received.len() == 50_000);
    // Two pieces; the first byte of the second leaves when the first has left.
    assert_eq!(stage.now - Instant::ZERO, ms(200) + secs(5) + ms(100));
}

#[test]
fn losses_on_a_pipe_are_as_frequent_as_they_should_be_and_in_bursts() {
    for (loss, burst) in [(0.01, 1.0), (0.1, 1.0), (0.05, 5.0), (0.2, 3.0)] {
        let link = Link {
            loss_burst: burst,
            ..Link::default()
        }
        .loss(loss);
        let mut chance = Chance::new(&Seed::for_tests(1), "loss");
        let (mut lost, mut bursts, mut in_burst) = (0u32, 0u32, false);
        for _ in 0..200_000 {
            let now = chance.happens(link.loss_now(in_burst));
            lost += u32::from(now);
            bursts += u32::from(now && !in_burst);
            in_burst = now;
        }
        let rate = f64::from(lost) / 200_000.0;
        assert!((rate - loss).abs() < 0.1 * loss, "{loss}: {rate}");
        let length = f64::from(lost) / f64::from(bursts);
        let expected = if burst > 1.0 {
            burst
        } else {
            1.0 / (1.0 - loss)
        };
        assert!(
            (length - expected).abs() < 0.1 * expected,
            "{burst}: {length}"
        );
    }
}
