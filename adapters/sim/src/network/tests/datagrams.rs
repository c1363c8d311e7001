//! Datagrams.

use super::*;

const COUNT: usize = 20_000;

struct Sent {
    stage: Stage,
    /// Numbers of those that came, in that order.
    order: Vec<u32>,
}

fn send_many(seed: u64, link: Link, count: usize) -> Sent {
    let mut stage = Stage::new(seed, 2, link);
    let (from, own) = stage.net.bind(HostId(0), address("0.0.0.0:0")).unwrap();
    let (_, to) = stage.net.bind(HostId(1), address("10.0.0.2:9")).unwrap();
    for number in 0..count as u32 {
        let datagram = number.to_be_bytes();
        stage.net.send_to(stage.now, from, to, &datagram).unwrap();
        stage.run_for(ms(1));
    }
    stage.run();
    let mut order = Vec::new();
    for (_, host, sender, bytes) in &stage.received {
        assert_eq!(*host, HostId(1));
        assert_eq!(*sender, SocketAddr::new([10, 0, 0, 1].into(), own.port()));
        order.push(u32::from_be_bytes(bytes[..].try_into().unwrap()));
    }
    Sent { stage, order }
}

#[test]
fn on_a_clean_link_all_come_once_and_in_order() {
    let sent = send_many(1, Link::default(), 1000);
    assert_eq!(sent.order, (0..1000).collect::<Vec<_>>());
    sent.stage.assert_forgotten();
    assert_eq!(sent.stage.net.faults().total(), 0);
}

#[test]
fn losses_are_as_frequent_as_they_should_be_and_in_bursts() {
    for (loss, burst) in [(0.02, 1.0), (0.2, 1.0), (0.1, 4.0), (1.0, 1.0), (1.0, 4.0)] {
        let link = Link {
            loss_burst: burst,
            ..Link::default().loss(loss)
        };
        let Sent { stage, order } = send_many(2, link, COUNT);
        let lost = COUNT - order.len();
        assert_eq!(stage.net.faults().of(Fault::DatagramLoss), lost as u64);
        let rate = lost as f64 / COUNT as f64;
        assert!((rate - loss).abs() <= 0.15 * loss, "{loss}: {rate}");
        if loss < 1.0 {
            let gaps = order.windows(2).filter(|pair| pair[1] != pair[0] + 1);
            let length = lost as f64 / gaps.count() as f64;
            let expected = if burst > 1.0 {
                burst
            } else {
                1.0 / (1.0 - loss)
            };
            assert!((length - expected).abs() < 0.15 * expected, "{length}");
        }
    }
}

#[test]
fn some_come_twice_and_some_late() {
    let link = Link {
        duplication: 0.1,
        ..Link::default()
    };
    let Sent { stage, order } = send_many(3, link, COUNT);
    let twice = order.len() - COUNT;
    assert_eq!(stage.net.faults().of(Fault::Duplication), twice as u64);
    assert!((1800..2200).contains(&twice), "{twice}");
    assert!(order.is_sorted());

    let link = Link {
        reordering: 0.1,
        ..Link::default().latency(ms(10))
    };
    let Sent { stage, order } = send_many(4, link, COUNT);
    let held = stage.net.faults().of(Fault::Reordering);
    assert!((1800..2200).contains(&held), "{held}");
    assert!(!order.is_sorted());
    for (number, (at, ..)) in order.iter().zip(&stage.received) {
        let sent = Instant::ZERO + ms(u64::from(*number));
        let took = *at - sent;
        assert!((ms(10)..=ms(40)).contains(&took), "{took:?}");
    }
    let mut all = order;
    all.sort_unstable();
    assert_eq!(all, (0..COUNT as u32).collect::<Vec<_>>());
}

#[test]
fn one_bit_is_flipped() {
    let link = Link {
        corruption: 1.0,
        ..Link::default()
    };
    let Sent { stage, order } = send_many(5, link, 200);
    for (sent, came) in order.iter().enumerate() {
        assert_eq!((sent as u32 ^ came).count_ones(), 1);
    }
    assert_eq!(stage.net.faults().of(Fault::Corruption), 200);
    let mut stage = stage;
    let (socket, at) = stage.net.bind(HostId(0), address("10.0.0.1:8")).unwrap();
    stage.net.send_to(stage.now, socket, at, b"").unwrap();
    stage.run();
    assert!(stage.received.last().unwrap().3.is_empty());
}

#[test]
fn too_long_ones_and_those_nobody_waits_for_are_lost() {
    let mut stage = Stage::new(1, 2, Link::default());
    let (near, _) = stage.net.bind(HostId(0), address("10.0.0.1:1")).unwrap();
    let (far, to) = stage.net.bind(HostId(1), address("0.0.0.0:2")).unwrap();
    let to = SocketAddr::new([10, 0, 0, 2].into(), to.port());
    for (length, there) in [(1472, 1), (1473, 1), (0, 2)] {
        let datagram = vec![1; length];
        stage.net.send_to(stage.now, near, to, &datagram).unwrap();
        stage.run();
        assert_eq!(stage.received.len(), there);
    }
    assert_eq!(stage.net.faults().of(Fault::TooLong), 1);
    // Nobody receives: the queue is bounded.
    for _ in 0..1000 {
        stage.net.send_to(stage.now, near, to, b"x").unwrap();
    }
    while stage.net.poll_timeout().is_some() {
        if stage.net.poll_signal().is_none() {
            stage.now = stage.now.max(stage.net.poll_timeout().unwrap());
            stage.net.handle_timeout(stage.now);
        }
    }
    let waiting = core::iter::from_fn(|| stage.net.receive_from(far).unwrap());
    assert_eq!(waiting.count(), 256);
    // A partition, and a socket that is gone.
    let id = stage.net.part(Partition::Apart([HostId(0)].into()));
    stage.net.send_to(stage.now, near, to, b"x").unwrap();
    stage.run();
    stage.net.heal(id);
    stage.net.unbind(far);
    stage.net.unbind(far);
    stage.net.send_to(stage.now, near, to, b"x").unwrap();
    stage.run();
    assert_eq!(stage.received.len(), 2);
    assert_eq!(stage.net.receive_from(far), Err(NetworkError::Closed));
    let closed = stage.net.send_to(stage.now, far, to, b"x");
    assert_eq!(closed, Err(NetworkError::Closed));
    stage.assert_forgotten();
}

#[test]
fn sockets_reach_what_their_address_can() {
    let mut stage = Stage::new(1, 2, Link::default());
    let both = ["10.0.0.8", "2001:db8::8"].map(|ip| ip.parse().unwrap());
    let host = stage.net.add_host(both.to_vec(), None).unwrap();
    let mut bind = |at: &str| stage.net.bind(host, address(at)).map(|(id, _)| id);
    let own = bind("10.0.0.8:1").unwrap();
    let local = bind("127.0.0.1:1").unwrap();
    let any = bind("0.0.0.0:1").unwrap();
    let six = bind("[::]:1").unwrap();
    let taken = bind("10.0.0.8:1");
    assert_eq!(taken, Err(NetworkError::AddressInUse));
    let foreign = bind("10.0.0.1:1");
    assert_eq!(foreign, Err(NetworkError::AddressNotAvailable));
    for (socket, to, sender) in [
        (own, "10.0.0.8:1", Some("10.0.0.8:1")),
        (own, "127.0.0.1:1", None),
        (own, "[2001:db8::8]:1", None),
        (own, "10.0.0.99:1", None),
        (local, "127.0.0.1:1", Some("127.0.0.1:1")),
        (local, "10.0.0.1:1", None),
        (any, "127.0.0.1:1", Some("127.0.0.1:1")),
        (any, "10.0.0.8:1", Some("10.0.0.8:1")),
        (any, "[2001:db8::8]:1", None),
        (six, "[2001:db8::8]:1", Some("[2001:db8::8]:1")),
        (six, "[::1]:1", Some("[::1]:1")),
    ] {
        stage.received.clear();
        let sent = stage.net.send_to(stage.now, socket, address(to), b"x");
        stage.run();
        let came = stage
            .received
            .first()
            .map(|(_, _, from, _)| from.to_string());
        assert_eq!(came.as_deref(), sender, "{to}");
        let unreachable = Err(NetworkError::Unreachable);
        assert_eq!(sent, sender.map_or(unreachable, |_| Ok(())), "{to}");
    }
    stage.net.crash(stage.now, host, false);
    assert_eq!(
        stage.net.receive_from(own),
        Err(NetworkError::Closed),
        "a crash closes sockets"
    );
    stage.net.restart(host);
    assert!(stage.net.bind(host, address("10.0.0.8:1")).is_ok());
}
