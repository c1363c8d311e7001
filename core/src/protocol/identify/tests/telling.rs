//! What this node tells others: when asked, and on its own when something has changed.

use super::{super::local::MAX_MESSAGE, *};

#[test]
fn this_node_says_who_and_where_it_is() {
    let mut peer_ = Peer::at(REMOTE);
    let (bytes, info) = peer_.told();
    assert_eq!(info.public_key, Some(key(1000).public()));
    assert_eq!(
        info.listen_addresses,
        [
            address("/ip4/192.0.2.99/tcp/4001"),
            address("/ip6/2001:db8::99/tcp/4001")
        ],
        "no loopback"
    );
    assert_eq!(info.observed_address, Some(address(REMOTE)));
    assert_eq!(info.protocols, [PROTOCOL, PUSH_PROTOCOL]);
    assert!(info.certified && info.agent_version.starts_with("drywire/"));
    let (again, _) = peer_.told();
    assert_eq!(again, bytes, "nothing has changed");
    let mut local = Peer::at("/ip4/127.0.0.1/tcp/9");
    assert_eq!(
        local.told().1.listen_addresses.len(),
        3,
        "loopback among its own"
    );
    let config = Config {
        hide_listen_addresses: true,
        ..Config::default()
    };
    let mut hidden = Peer::with(config, REMOTE, Direction::Inbound);
    hidden
        .bench
        .swarm
        .add_external_address(hidden.bench.now, &address("/ip4/8.8.4.4/tcp/1"));
    assert_eq!(
        hidden.told().1.listen_addresses,
        [address("/ip4/8.8.4.4/tcp/1")]
    );
}

#[test]
fn a_changed_address_makes_a_newer_record() {
    let mut peer_ = Peer::at(REMOTE);
    let mut last = 0;
    for port in 1..5 {
        let sequence = |bytes: &Bytes| {
            let mut fields = crate::wire::protobuf::Reader::new(bytes).filter_map(Result::ok);
            let field = fields
                .find(|field| field.number == SIGNED_PEER_RECORD)
                .unwrap();
            PeerRecord::open(field.as_bytes().unwrap()).unwrap().seq()
        };
        let now = peer_.bench.now;
        peer_
            .bench
            .swarm
            .add_external_address(now, &address(&format!("/ip4/8.8.4.4/tcp/{port}")));
        let (bytes, _) = peer_.told();
        assert!(sequence(&bytes) > last, "time stands still, numbers do not");
        last = sequence(&bytes);
    }
}

proptest! {
    /// One message of 4 KiB, whatever there is to say; and what is left out is left out at the end.
    #[test]
    fn what_this_node_says_always_fits(
        names in prop::collection::vec(1usize..1000, 0..125),
        external in 0u32..60,
        listening in prop::collection::vec(0u8..255, 0..40),
    ) {
        let mut bench = Bench::new(Identify::new(Config { agent_version: "\u{e9}".repeat(3000), ..Config::default() }));
        for (number, len) in names.iter().enumerate() {
            let name = ProtocolName::try_from(format!("/{number}/{}", "x".repeat(*len))).unwrap();
            bench.run(|_, cx| cx.accept(name, Accept::new(StreamKind::Raw)).unwrap());
        }
        for number in listening {
            bench.listen(&format!("/ip6/2001:db8::{number:x}/tcp/4001"));
        }
        for number in 0..external {
            let external = address(&format!("/ip4/8.8.8.{number}/tcp/1"));
            bench.swarm.add_external_address(bench.now, &external);
        }
        let mut peer_ = Peer { connection: bench.connect(1, REMOTE, Direction::Inbound), bench, asked: StreamId::by_swarm(0) };
        let (bytes, info) = peer_.told();
        prop_assert!(bytes.len() <= MAX_MESSAGE, "{}", bytes.len());
        prop_assert!(info.certified && info.public_key.is_some());
        prop_assert!(external == 0 || !info.listen_addresses.is_empty());
        prop_assert!(!info.protocols.is_empty());
    }
}

#[test]
fn changes_are_pushed_to_those_who_were_told_something_older() {
    let mut bench = Bench::new(Identify::default());
    bench.wait(Duration::from_secs(1));
    let connections: Vec<_> = (0..40)
        .map(|number| bench.connect(number, "/memory/1", Direction::Inbound))
        .collect();
    for connection in &connections[1..] {
        bench.inbound(*connection, PROTOCOL);
    }
    bench.told();
    let change = |bench: &mut Bench<Identify>, port: u16| {
        let external = address(&format!("/ip4/8.8.4.4/tcp/{port}"));
        bench.swarm.add_external_address(bench.now, &external);
    };
    change(&mut bench, 1);
    change(&mut bench, 2);
    assert_eq!(bench.opened(), []);
    bench.wait(Duration::from_millis(200));
    let pushed = bench.opened();
    let to: Vec<_> = pushed
        .iter()
        .map(|(connection, _, name)| (*connection, name.clone()))
        .collect();
    let expected: Vec<_> = connections[1..33]
        .iter()
        .map(|connection| (*connection, PUSH_PROTOCOL))
        .collect();
    assert_eq!(
        to, expected,
        "32 at once, in order; the one that was told nothing will ask"
    );
    let (connection, stream, _) = pushed[0].clone();
    bench.events();
    bench.ended(connection, stream, StreamEnd::Finished);
    assert!(
        matches!(bench.events().as_slice(), [Event::Pushed { connection: to, .. }] if *to == connection)
    );
    assert_eq!(
        bench.opened()[0].0,
        connections[33],
        "the next one has its turn"
    );
    let (unsupporting, stream, _) = pushed[1].clone();
    let unsupported = StreamEnd::Failed(StreamError::UnsupportedProtocol);
    bench.ended(unsupporting, stream, unsupported);
    assert_eq!(bench.events(), []);
    change(&mut bench, 3);
    bench.wait(Duration::from_secs(20));
    assert!(
        bench
            .opened()
            .iter()
            .all(|(connection, _, _)| *connection != unsupporting)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However pushes end, there are 32 under way at once and no more, and everybody is pushed to once.
    ///
    /// Fails if any number may be under way, or if some way to end makes no room for the next one.
    #[test]
    fn pushes_under_way_are_few_and_reach_everybody(endings in prop::collection::vec(0u8..6, 100)) {
        let mut bench = Bench::new(Identify::default());
        bench.wait(Duration::from_secs(1));
        let connections: Vec<_> = (0..100)
            .map(|number| bench.connect(number, "/memory/1", Direction::Inbound))
            .collect();
        for connection in &connections {
            bench.inbound(*connection, PROTOCOL);
        }
        bench.told();
        bench.swarm.add_external_address(bench.now, &address("/ip4/8.8.4.4/tcp/1"));
        bench.wait(Duration::from_millis(200));
        let (mut under_way, mut pushed) = (Vec::new(), Vec::new());
        for ending in endings {
            for (connection, stream, name) in bench.opened() {
                prop_assert_eq!(name, PUSH_PROTOCOL);
                pushed.push(connection);
                under_way.push((connection, stream));
            }
            let ended = pushed.len() - under_way.len();
            prop_assert_eq!(under_way.len(), 32.min(100 - ended));
            prop_assert_eq!(bench.swarm.protocols().pushes, under_way.len());
            if under_way.is_empty() {
                break;
            }
            let (connection, stream) = under_way[ended % under_way.len()];
            let failed = |error| StreamEnd::Failed(error);
            match ending {
                0 => bench.ended(connection, stream, StreamEnd::Finished),
                1 => bench.ended(connection, stream, failed(StreamError::ResetByPeer(0))),
                2 => bench.ended(connection, stream, failed(StreamError::UnsupportedProtocol)),
                3 => bench.ended(connection, stream, failed(StreamError::NegotiationTimeout)),
                4 => bench.close(connection),
                _ => {
                    // Nobody takes what is pushed.
                    bench.wait(Duration::from_secs(10));
                    under_way.clear();
                }
            }
            under_way.retain(|(other, _)| *other != connection);
            bench.events();
        }
        prop_assert_eq!(under_way.len(), 0);
        prop_assert_eq!(bench.swarm.protocols().pushes, 0);
        prop_assert_eq!(pushed, connections);
    }
}

#[test]
fn pushes_can_be_turned_off() {
    let mut peer_ = Peer::with(
        Config {
            push: false,
            ..Config::default()
        },
        REMOTE,
        Direction::Inbound,
    );
    peer_.told();
    let now = peer_.bench.now;
    peer_
        .bench
        .swarm
        .add_external_address(now, &address("/ip4/8.8.4.4/tcp/1"));
    peer_.bench.wait(Duration::from_secs(5));
    assert_eq!(peer_.bench.opened(), []);
}
