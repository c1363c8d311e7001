//! A server without an application.

use super::*;

type Answer = fn(PeerId, String) -> Option<String>;

fn bench() -> Bench<Service<Text, Answer>> {
    let answer: Answer = |_, request| match request.as_str() {
        "silence" => None,
        "too much" => Some("unsayable".into()),
        other => Some(std::format!("{other} to you")),
    };
    Bench::new(Service::new(Text, [ONE], Config::default(), answer))
}

fn ask(bench: &mut Bench<Service<Text, Answer>>, connection: ConnectionId, text: &str) -> StreamId {
    let stream = bench.inbound(connection, ONE);
    bench.data(connection, stream, text.as_bytes());
    bench.finish(connection, stream);
    stream
}

#[test]
fn answers_at_once_and_tells_nobody() {
    let mut bench = bench();
    let connection = bench.connect(1, REMOTE, Direction::Inbound);
    let stream = ask(&mut bench, connection, "hello");
    assert_eq!(
        bench.exchanges(),
        [(connection, stream, Bytes::from_static(b"hello to you"))]
    );
    bench.ended(connection, stream, StreamEnd::Finished);
    assert!(bench.events().is_empty());
    assert_eq!(bench.swarm.reserved_events(), 2, "nothing is left");
}

#[test]
fn what_is_not_answered_is_omitted_at_once() {
    for text in ["silence", "too much"] {
        let mut bench = bench();
        let connection = bench.connect(1, REMOTE, Direction::Inbound);
        let stream = ask(&mut bench, connection, text);
        let told = bench.told();
        let finished = |(_, message): &(_, ToConnectionMessage)| matches!(message, ToConnectionMessage::Finish { stream: on } if *on == stream);
        assert!(told.iter().any(finished), "{told:?}");
        let events = bench.events();
        assert!(
            matches!(
                events.as_slice(),
                [Event::InboundFailure {
                    error: InboundFailure::ResponseOmission,
                    ..
                }]
            ),
            "{events:?}"
        );
        bench.ended(connection, stream, StreamEnd::Finished);
        assert_eq!(bench.swarm.reserved_events(), 2, "nothing is left");
    }
}
