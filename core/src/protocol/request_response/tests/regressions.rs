//! Faults that others had, by the numbers of their reports; those that fit a row of a table are tested there.

use super::*;
use crate::{
    multiaddr::Multiaddr,
    protocol::bench::address,
    swarm::{AttemptError, DialError, DialOptions, TransportError},
};

const ID: OutboundRequestId = OutboundRequestId(1);

fn to(texts: &[&str]) -> RequestOptions {
    RequestOptions::new().addresses(texts.iter().map(|text| address(text)))
}

/// How the one address of the one request that failed did.
fn cause(texting: &mut Texting) -> AttemptError {
    let seen = texting.seen();
    let [Seen::Failed(ID, OutboundFailure::DialFailure(DialError::AllFailed { failures }))] =
        seen.as_slice()
    else {
        panic!("{seen:?}")
    };
    let [failure] = failures.as_slice() else {
        panic!("{failures:?}")
    };
    failure.error.clone()
}

/// Regression: rust-libp2p 5429: a request whose dial fails with an error of the transport ends without a word, or without
/// its cause.
#[test]
fn every_dial_error_is_reported_with_its_cause() {
    use TransportError as Error;
    for error in [
        Error::Unsupported,
        Error::Refused,
        Error::Unreachable,
        Error::TimedOut,
        Error::Reset,
        Error::AddressInUse,
        Error::AddressNotAvailable,
        Error::PermissionDenied,
        Error::OutOfDescriptors,
        Error::Other("a cable was cut".into()),
    ] {
        let mut texting = Texting::new(Config::default());
        texting.send_with(1, "hello", to(&[REMOTE])).unwrap();
        let attempt = texting.bench.attempts()[0];
        let (now, failed) = (texting.bench.now, Err(error.clone()));
        texting.bench.swarm.handle_dialed(now, attempt, failed);
        assert_eq!(cause(&mut texting), AttemptError::Transport(error));
        texting.assert_idle();
    }
    // Connected, and lost or somebody else's before it is up.
    for stranger in [false, true] {
        let mut texting = Texting::new(Config::default());
        texting.send_with(1, "hello", to(&[REMOTE])).unwrap();
        let attempt = texting.bench.attempts()[0];
        let connection = texting.bench.connected(attempt, REMOTE).unwrap();
        assert_eq!(texting.seen(), []);
        if stranger {
            texting.bench.secure(connection, 2);
        }
        texting.bench.close(connection);
        let expected = if stranger {
            AttemptError::WrongPeer { obtained: peer(2) }
        } else {
            AttemptError::Connection(ConnectionError::ClosedByPeer)
        };
        assert_eq!(cause(&mut texting), expected);
        texting.assert_idle();
    }
}

/// Regression: rust-libp2p 6000: a request fails because the peer is being dialed already, for somebody else.
#[test]
fn a_dial_that_is_under_way_for_somebody_else_serves_requests() {
    let mut texting = Texting::new(Config::default());
    let now = texting.bench.now;
    let dial = DialOptions::peer(peer(1)).addresses([address(REMOTE)]);
    texting.bench.swarm.dial(now, dial).unwrap();
    let attempts = texting.bench.attempts();
    assert_eq!(attempts.len(), 1);
    assert_eq!(texting.send_with(1, "hello", to(&[REMOTE])), Ok(ID));
    assert_eq!(texting.bench.attempts(), [], "one is enough");
    assert_eq!(texting.seen(), []);
    let connection = texting.bench.connected(attempts[0], REMOTE).unwrap();
    texting.bench.secure(connection, 1);
    assert_eq!(texting.exchange().2, "hello");
    assert_eq!(texting.seen(), []);
}

/// Regression: rust-libp2p 6000: a request fails because the peer has connected by itself meanwhile.
#[test]
fn a_connection_that_comes_while_dialing_serves_requests() {
    let mut texting = Texting::new(Config::default());
    assert_eq!(texting.send_with(1, "hello", to(&[REMOTE])), Ok(ID));
    let attempts = texting.bench.attempts();
    let connection = texting.connect(1);
    let (on, stream, bytes) = texting.exchange();
    assert_eq!((on, &bytes[..]), (connection, &b"hello"[..]));
    let (now, refused) = (texting.bench.now, Err(TransportError::Refused));
    for attempt in attempts {
        texting
            .bench
            .swarm
            .handle_dialed(now, attempt, refused.clone());
    }
    assert_eq!(texting.seen(), [], "the dial's end is not the request's");
    texting.bench.agree(connection, stream, ONE);
    texting.body(connection, stream, "world");
    assert_eq!(texting.seen(), [Seen::Response(ID, "world".into())]);
    texting.ended(connection, stream);
    texting.assert_idle();
}

/// Regression: rust-libp2p 4700: an address that is known and given too is dialed as often as it is named.
#[test]
fn an_address_that_is_given_twice_is_tried_once() {
    let mut texting = Texting::new(Config::default());
    let (now, known) = (texting.bench.now, address(REMOTE));
    texting.bench.swarm.add_address(now, peer(1), &known);
    let named: Multiaddr = known.clone().with_peer_id(peer(1)).unwrap();
    let options = RequestOptions::new().addresses([known.clone(), known.clone(), named]);
    assert_eq!(texting.send_with(1, "hello", options), Ok(ID));
    // While that is under way, once more.
    texting
        .send_with(1, "again", to(&[REMOTE, REMOTE]))
        .unwrap();
    let attempts = texting.bench.attempts();
    assert_eq!(attempts.len(), 1);
    let refused = Err(TransportError::Refused);
    texting.bench.swarm.handle_dialed(now, attempts[0], refused);
    assert_eq!(texting.bench.attempts(), []);
    let seen = texting.seen();
    let failures = |seen: &Seen| match seen {
        Seen::Failed(_, OutboundFailure::DialFailure(error)) => error.failures().len(),
        other => panic!("{other:?}"),
    };
    let failures: Vec<usize> = seen.iter().map(failures).collect();
    assert_eq!(failures, [1, 1], "one each: {seen:?}");
    texting.assert_idle();
}

/// Regression: rust-libp2p 1990: a panic when a request is answered, or its channel dropped, after whoever was to take the
/// answer has gone.
#[test]
fn a_channel_may_outlive_its_connection_and_its_protocol() {
    let ask = |texting: &mut Texting| {
        let connection = texting.connect(1);
        for _ in 0..2 {
            let stream = texting.bench.inbound(connection, ONE);
            texting.body(connection, stream, "hello");
        }
        assert_eq!(texting.seen().len(), 2);
        connection
    };
    let mut texting = Texting::new(Config::default());
    let connection = ask(&mut texting);
    // The whole connection at once: no stream has been heard of before.
    texting.bench.close(connection);
    let lost = InboundFailure::ConnectionClosed(ConnectionError::ClosedByPeer);
    let [first, second] = [InboundRequestId(1), InboundRequestId(2)];
    let both = [first, second].map(|id| Seen::NotAnswered(id, lost.clone()));
    assert_eq!(texting.seen(), both);
    assert!(texting.channels.values().all(|channel| !channel.is_open()));
    let channel = texting.channels.remove(&first).unwrap();
    let answer = String::from("too late");
    let answered = texting
        .bench
        .run(|texts, cx| texts.send_response(channel, answer, cx));
    assert!(matches!(answered, Err(SendResponseError::Closed(text)) if text == "too late"));
    texting.channels.clear();
    texting.bench.wait(Duration::ZERO);
    texting.assert_idle();
    // The protocol, with its node.
    let mut texting = Texting::new(Config::default());
    ask(&mut texting);
    let channels = core::mem::take(&mut texting.channels);
    drop(texting);
    drop(channels);
}
