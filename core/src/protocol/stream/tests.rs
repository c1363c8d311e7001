use super::*;
use crate::{
    connection::{ConnectionError, Direction},
    node::net::{Net, address as node_address, peer as node_peer},
    protocol::{
        Standard, StandardEvent,
        bench::{Bench, address, peer},
    },
    swarm::{AttemptError, Config, SecurityConfig, TransportError},
};
use std::vec::Vec;

const CHAT: ProtocolName = ProtocolName::from_static("/chat/1");

fn open(bench: &mut Bench<Streams>, number: u64) -> Result<RequestId, OpenError> {
    let options = OpenOptions::new(peer(number)).addresses([address("/ip4/192.0.2.1/tcp/1")]);
    bench.run(|streams, cx| streams.open(options, cx))
}

#[test]
fn a_name_is_registered_once_and_can_be_taken_back() {
    let mut bench = Bench::new(Streams::new());
    bench.run(|streams, cx| {
        streams.register(CHAT, cx).unwrap();
        assert_eq!(
            streams.register(CHAT, cx),
            Err(AcceptError::AlreadyRegistered(CHAT))
        );
        assert_eq!(streams.registered().collect::<Vec<_>>(), [&CHAT]);
    });
    assert_eq!(bench.swarm.accepted_names().collect::<Vec<_>>(), [&CHAT]);
    bench.run(|streams, cx| {
        assert!(streams.deregister(&CHAT, cx) && !streams.deregister(&CHAT, cx));
        streams.register(CHAT, cx).unwrap();
        streams.deregister(&CHAT, cx);
    });
    assert_eq!(bench.swarm.accepted_names().count(), 0);
}

#[test]
fn a_connected_peer_is_ready_at_once() {
    let mut bench = Bench::new(Streams::new());
    let connection = bench.connect(1, "/memory/1", Direction::Inbound);
    let request = open(&mut bench, 1).unwrap();
    assert_eq!(
        bench.events(),
        [Event::Ready {
            request,
            connection,
            peer: peer(1)
        }]
    );
    assert_eq!(bench.swarm.protocols().waiting(), 0);
}

#[test]
fn others_are_dialed_and_every_request_has_one_outcome() {
    let mut bench = Bench::new(Streams::new());
    let requests: Vec<_> = (0..100).map(|_| open(&mut bench, 1).unwrap()).collect();
    let given_up = bench.run(|streams, cx| streams.cancel(requests[5], cx));
    assert!(given_up && !bench.run(|streams, cx| streams.cancel(requests[5], cx)));
    let attempts = bench.attempts();
    assert_eq!(attempts.len(), 1, "one dial for all");
    let connection = bench
        .connected(attempts[0], "/ip4/192.0.2.1/tcp/1")
        .unwrap();
    bench.secure(connection, 1);
    let ready: Vec<_> = bench
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Ready {
                request,
                connection: on,
                ..
            } if on == connection => request,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut expected = requests;
    expected.remove(5);
    assert_eq!(ready, expected);
    assert_eq!(
        (
            bench.swarm.protocols().waiting(),
            bench.swarm.protocols().by_dial.len()
        ),
        (0, 0)
    );
}

#[test]
fn failures_are_typed() {
    let mut bench = Bench::new(Streams::new());
    let to_self = OpenOptions::new(bench.swarm.local_peer_id());
    let outcome = bench.run(|streams, cx| streams.open(to_self, cx));
    assert_eq!(outcome, Err(OpenError::Dial(DialError::SelfDial)));
    let nowhere = OpenOptions::new(peer(2));
    let outcome = bench.run(|streams, cx| streams.open(nowhere, cx));
    assert_eq!(outcome, Err(OpenError::Dial(DialError::NoAddresses)));
    let refused = open(&mut bench, 1).unwrap();
    let attempt = bench.attempts()[0];
    let error = TransportError::Refused;
    assert!(
        bench
            .swarm
            .handle_dialed(bench.now, attempt, Err(error.clone()))
            .is_none()
    );
    let events = bench.events();
    let [
        Event::Failed {
            request,
            error: OpenError::Dial(failed),
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(*request, refused);
    assert_eq!(failed.failures()[0].error, AttemptError::Transport(error));
    let options = OpenOptions::new(peer(3))
        .addresses([address("/ip4/192.0.2.3/tcp/1")])
        .timeout(Duration::from_secs(2));
    let late = bench.run(|streams, cx| streams.open(options, cx)).unwrap();
    bench.now = bench.now + Duration::from_secs(2);
    bench.swarm.handle_timeout(bench.now);
    let events = bench.events();
    assert!(
        matches!(events.as_slice(), [Event::Failed { request, error: OpenError::Dial(DialError::TimedOut { .. }) }] if *request == late),
        "{events:?}"
    );
    bench.swarm.shutdown(bench.now);
    assert_eq!(
        open(&mut bench, 1),
        Err(OpenError::Dial(DialError::ShuttingDown))
    );
}

#[test]
fn requests_are_bounded() {
    let mut bench = Bench::new(Streams::new());
    let outcomes: Vec<_> = (0..1100).map(|_| open(&mut bench, 1)).collect();
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        MAX_REQUESTS
    );
    assert_eq!(outcomes.last(), Some(&Err(OpenError::TooManyRequests)));
    bench.swarm.shutdown(bench.now);
    let events = bench.events();
    assert_eq!(events.len(), MAX_REQUESTS, "each is told");
    assert_eq!(bench.swarm.dropped_events(), 0);
}

#[test]
fn many_requests_to_many_peers_all_resolve() {
    let config = Config::new(SecurityConfig::InsecurePlaintext);
    let mut net = Net::new(6, &config, |_| Standard::default());
    let mut wanted = Vec::new();
    for number in 0..100 {
        let to = 1 + number % 7;
        let options = OpenOptions::new(node_peer(to)).addresses([node_address(to)]);
        let now = net.now;
        let request = net.nodes[0].with(now, |set, cx| {
            set.streams(cx, |streams, cx| streams.open(options, cx))
        });
        wanted.push((request.unwrap(), to < 6));
    }
    net.run_for(Duration::from_secs(61));
    let told = net.told(0).into_iter().filter_map(|event| match event {
        StandardEvent::Stream(Event::Ready { request, .. }) => Some((request, true)),
        StandardEvent::Stream(Event::Failed { request, .. }) => Some((request, false)),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    assert_eq!(told, wanted);
}

#[test]
fn a_request_survives_the_loss_of_another_connection() {
    let mut bench = Bench::new(Streams::new());
    let request = open(&mut bench, 1).unwrap();
    let attempt = bench.attempts()[0];
    let first = bench.connected(attempt, "/ip4/192.0.2.1/tcp/1").unwrap();
    let inbound = bench.connect(1, "/memory/1", Direction::Inbound);
    assert_eq!(
        bench.events(),
        [Event::Ready {
            request,
            connection: inbound,
            peer: peer(1)
        }]
    );
    bench.close(inbound);
    bench.secure(first, 1);
    bench.close(first);
    assert_eq!(bench.events(), []);
    let _ = ConnectionError::Closed;
}
