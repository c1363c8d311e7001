//! Requests and responses as futures and streams.

use crate::common::{self, Task, both, sites::*, together, world_with};
use bytes::Bytes;
use core::time::Duration;
use drywire::{
    protocol::request_response::{
        self, Config, EncodeError, Message, OneWayBytesCodec, OutboundFailure, ProtocolSupport,
        Refusal, RequestOptions, RequestResponse,
    },
    swarm::{DialOptions, Event, Part},
};
use drywire_engine::{Host, IncomingRequests, RequestError, RespondError, Runtime};
use drywire_sim::{Link, SimRuntime};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Answers everything in capitals.
fn shout(runtime: &SimRuntime, mut incoming: IncomingRequests<Two, Words>) {
    runtime.spawn(async move {
        while let Some(asked) = incoming.next().await {
            let answer = asked.request.to_ascii_uppercase();
            let _ = asked.responder.respond(answer.into());
        }
    });
}

#[test]
fn each_protocol_of_a_set_has_its_own_requests() {
    for seed in 0..10 {
        run(seed, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            shout(&runtime, server.requests.incoming(16));
            let mut right = server.host.requests(Two::Right).incoming(16);
            runtime.spawn(async move {
                while let Some(asked) = right.next().await {
                    assert_eq!(asked.protocol, RIGHT);
                    asked.responder.respond(asked.request).unwrap();
                }
            });
            let asks = |part: Part<Two, Machine>, answer: &'static str| {
                let requests = client.host.requests(part);
                let peer = server.peer();
                Box::pin(async move {
                    for _ in 0..10 {
                        let question = Bytes::from_static(b"hello");
                        assert_eq!(requests.request(peer, question).await.unwrap(), answer);
                    }
                }) as Task<'_>
            };
            // Several handles of one protocol do not get in each other's way either: ids are the protocol's.
            together(vec![
                asks(Two::Left, "HELLO"),
                asks(Two::Right, "hello"),
                asks(Two::Left, "HELLO"),
            ])
            .await;
            assert_eq!(client.pending(), (0, 0));
        });
    }
}

/// The peer is found by its address, or by dialing; without a way there the reason is told.
#[test]
fn a_peer_is_dialed_for_a_request() {
    run(1, async |runtime| {
        let config = Config::default();
        let (server, client) = (
            site(&runtime, config.clone()).await,
            site(&runtime, config).await,
        );
        shout(&runtime, server.requests.incoming(16));
        let unknown = client.ask(&server, "hello").await;
        assert!(
            matches!(unknown, Err(RequestError::Refused(Refusal::Dial(_)))),
            "{unknown:?}"
        );
        let question = Bytes::from_static(b"hello");
        let only = RequestOptions::new().only_if_connected();
        let unconnected = client
            .requests
            .request_with(server.peer(), question.clone(), only);
        assert_eq!(
            unconnected.await,
            Err(RequestError::Refused(Refusal::NotConnected))
        );
        let options = RequestOptions::new().addresses([server.address.clone()]);
        let answer = client
            .requests
            .request_with(server.peer(), question, options);
        assert_eq!(answer.await.unwrap(), "HELLO");
        server
            .host
            .with(|two, cx| cx.unaccept(&LEFT) && two.left.pending_inbound() == 0);
        assert_eq!(
            client.ask(&server, "hello").await,
            failed(OutboundFailure::UnsupportedProtocols)
        );
    });
}

/// A future dropped at any moment gives its request up, on both sides, and nothing else.
///
/// Fails if dropping an operation does not cancel it.
#[test]
fn dropping_the_future_cancels_the_request() {
    let micros = |number: u64| Duration::from_micros(number * 250);
    let mut heard_in_all = 0;
    for (seed, time) in (0..20)
        .map(micros)
        .chain([SECOND / 2, 2 * SECOND])
        .enumerate()
    {
        let (answer, heard) = run(seed as u64, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            let mut incoming = server.requests.incoming(16);
            let (heard, given_up) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let counts = (heard.clone(), given_up.clone());
            runtime.spawn({
                let runtime = runtime.clone();
                async move {
                    while let Some(mut asked) = incoming.next().await {
                        if asked.request == "still there?" {
                            asked.responder.respond(asked.request).unwrap();
                            continue;
                        }
                        counts.0.fetch_add(1, Ordering::Relaxed);
                        let (runtime, count) = (runtime.clone(), counts.1.clone());
                        runtime.clone().spawn(async move {
                            // It takes a second, unless nobody waits any more.
                            if common::give_up_in(&runtime, SECOND, asked.responder.closed())
                                .await
                                .is_some()
                            {
                                count.fetch_add(1, Ordering::Relaxed);
                            } else {
                                asked.responder.respond(asked.request).unwrap();
                            }
                        });
                    }
                }
            });
            let asked = common::give_up_in(&runtime, time, client.ask(&server, "hello")).await;
            assert_eq!(client.pending(), (0, 0), "given up after {time:?}");
            runtime.sleep(SECOND / 4).await;
            assert_eq!(server.pending(), (0, 0), "given up after {time:?}");
            assert_eq!(
                client.ask(&server, "still there?").await.unwrap(),
                "still there?"
            );
            let heard = heard.load(Ordering::Relaxed);
            let given_up = given_up.load(Ordering::Relaxed);
            assert_eq!(given_up, if asked.is_some() { 0 } else { heard });
            (asked, heard)
        });
        heard_in_all += heard;
        // The last one waits long enough.
        assert_eq!(answer.is_some(), time > SECOND);
        assert!(answer.is_none_or(|answer| answer.unwrap() == "hello"));
    }
    assert!((2..22).contains(&heard_in_all), "{heard_in_all}");
}

/// Who uses no handle sees everything among the host's events, and so does who uses one for something else.
///
/// Fails if a tap takes events that are not its own.
#[test]
fn events_of_others_go_to_the_application() {
    run(1, async |runtime| {
        let (server, client) = sites(&runtime, Config::default()).await;
        let (mut asked, mut answered) = (server.host.events(64), client.host.events(64));
        // Handles are there, but nobody takes requests by them, any more: not of this protocol.
        drop(server.requests.incoming(16));
        let _right = server.host.requests(Two::Right).incoming(16);
        let mut closed = server.requests.incoming(16);
        closed.close();
        assert!(closed.next().await.is_none());
        let peer = server.peer();
        let sent = client.host.with(|two, cx| {
            two.left(cx, |left, cx| {
                left.send_request(&peer, Bytes::from_static(b"hello"), cx)
            })
        });
        let sent = sent.unwrap();
        let channel = loop {
            if let Event::Protocol(TwoEvent::Left(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            })) = asked.next().await.unwrap()
            {
                break channel;
            }
        };
        let answer = server.host.with(|two, cx| {
            two.left(cx, |left, cx| {
                left.send_response(channel, Bytes::from_static(b"bye"), cx)
            })
        });
        answer.unwrap();
        loop {
            if let Event::Protocol(TwoEvent::Left(request_response::Event::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            })) = answered.next().await.unwrap()
            {
                assert_eq!((request_id, &response[..]), (sent, &b"bye"[..]));
                break;
            }
        }
        loop {
            if let Event::Protocol(TwoEvent::Left(event)) = asked.next().await.unwrap() {
                assert!(matches!(
                    event,
                    request_response::Event::ResponseSent { .. }
                ));
                break;
            }
        }
    });
}

/// And who uses handles sees nothing of that among the host's events: not even of requests whose responders are gone, with
/// the handle that gave them out.
#[test]
fn what_handles_take_does_not_appear_elsewhere() {
    for seed in 0..10 {
        run(seed, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            let mut events = (server.host.events(256), client.host.events(256));
            let mut incoming = server.requests.incoming(16);
            let asks = async {
                for question in ["answered", "dropped", "answered", "last"] {
                    let answer = client.ask(&server, question).await;
                    match question {
                        "dropped" => assert_eq!(answer, failed(OutboundFailure::ResponseOmitted)),
                        _ => assert_eq!(answer.unwrap(), question),
                    }
                }
            };
            let answers = async {
                while let Some(asked) = incoming.next().await {
                    match &asked.request[..] {
                        b"dropped" => drop(asked),
                        b"last" => {
                            // The handle goes before the answer.
                            drop(incoming);
                            return asked.responder.respond(asked.request).unwrap();
                        }
                        _ => asked.responder.respond(asked.request).unwrap(),
                    }
                }
            };
            both(asks, answers).await;
            runtime.sleep(SECOND).await;
            server.host.shutdown().await;
            client.host.shutdown().await;
            for events in [&mut events.0, &mut events.1] {
                while let Some(event) = events.next().await {
                    assert!(!matches!(event, Event::Protocol(_)), "{event:?}");
                }
            }
        });
    }
}

/// An application that does not take requests holds so many; the peers of the others are told at once.
#[test]
fn a_slow_consumer_loses_requests_and_knows_how_many() {
    for seed in 0..10 {
        run(seed, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            let mut incoming = server.requests.incoming(3);
            let omitted = AtomicUsize::new(0);
            let began = runtime.now();
            let asks = (0..10).map(|_| {
                let ask = client.ask(&server, "hello");
                let (omitted, runtime) = (&omitted, &runtime);
                Box::pin(async move {
                    match ask.await {
                        Ok(answer) => assert_eq!(answer, "hello"),
                        other => {
                            assert_eq!(other, failed(OutboundFailure::ResponseOmitted));
                            assert!(runtime.now() - began < SECOND, "not at once");
                            omitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }) as Task<'_>
            });
            let answers = async {
                runtime.sleep(2 * SECOND).await;
                for _ in 0..3 {
                    let asked = incoming.next().await.unwrap();
                    asked.responder.respond(asked.request).unwrap();
                }
            };
            both(together(asks.collect()), answers).await;
            assert_eq!(
                (omitted.load(Ordering::Relaxed), incoming.dropped()),
                (7, 7)
            );
            assert_eq!((client.pending(), server.pending()), ((0, 0), (0, 0)));
            // What waited too long is not given out.
            let asked = client.ask(&server, "too late").await;
            assert!(
                matches!(asked, Err(RequestError::Failed(_))),
                "nobody answered, and yet: {asked:?}"
            );
            runtime.sleep(SECOND).await;
            let next = common::give_up_in(&runtime, SECOND, incoming.next()).await;
            assert!(next.is_none(), "{next:?}");
        });
    }
}

#[test]
fn a_responder_knows_what_became_of_its_answer() {
    for seed in 0..10 {
        run(seed, async |runtime| {
            let config = Config::default().with_max_response_len(10);
            let (server, client) = sites(&runtime, config).await;
            let mut incoming = server.requests.incoming(16);
            let answers = async {
                // Too long: once more.
                let asked = incoming.next().await.unwrap();
                assert_eq!(asked.peer, client.peer());
                let long = Bytes::from_static(b"more than ten bytes");
                let Err(RespondError::Encode {
                    responder,
                    response,
                    error,
                }) = asked.responder.respond(long.clone())
                else {
                    panic!("taken")
                };
                assert_eq!(response, long);
                assert!(matches!(error, EncodeError::TooLarge { len: 19, max: 10 }));
                responder
                    .respond_and_wait(Bytes::from_static(b"short"))
                    .await
                    .unwrap();
                // The asker has gone meanwhile.
                let mut asked = incoming.next().await.unwrap();
                assert!(asked.responder.is_open());
                asked.responder.closed().await;
                assert!(!asked.responder.is_open());
                let late = asked.responder.respond(Bytes::from_static(b"late"));
                assert!(matches!(late, Err(RespondError::Closed(back)) if back == "late"));
            };
            let asks = async {
                assert_eq!(client.ask(&server, "one").await.unwrap(), "short");
                let given_up =
                    common::give_up_in(&runtime, SECOND, client.ask(&server, "two")).await;
                assert!(given_up.is_none());
            };
            both(asks, answers).await;
            assert_eq!(server.pending(), (0, 0));
        });
    }
}

/// One that has no response to give, and one whose time runs out.
#[test]
fn the_end_of_time_and_of_a_one_way_request() {
    type Note = RequestResponse<OneWayBytesCodec>;
    run(1, async |runtime| {
        let config = Config::default().one_way();
        let start = || {
            let note = Note::new([(LEFT, ProtocolSupport::Full)], config.clone());
            Host::builder(runtime.clone(), note).start().unwrap()
        };
        let (server, client) = (start(), start());
        let bound = server
            .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .await
            .unwrap();
        client
            .dial(DialOptions::address(bound.address))
            .await
            .unwrap();
        let mut events = server.events(256);
        let notes = client.requests(Part::whole());
        let mut incoming = server.requests(Part::whole()).incoming(2);
        for text in ["dropped", "answered", "left lying", "too many", "too many"] {
            let text = Bytes::from_static(text.as_bytes());
            notes.request(server.peer_id(), text.clone()).await.unwrap();
            if text == "dropped" {
                assert_eq!(incoming.next().await.unwrap().request, text);
            } else if text == "answered" {
                let asked = incoming.next().await.unwrap();
                asked.responder.respond_and_wait(()).await.unwrap();
            }
        }
        runtime.sleep(SECOND).await;
        assert_eq!(incoming.dropped(), 1);
        assert_eq!(incoming.next().await.unwrap().request, "left lying");
        let mut late = incoming.next().await.unwrap();
        late.responder.closed().await;
        drop((late, incoming));
        runtime.sleep(SECOND).await;
        assert_eq!(server.with(|note, _| note.pending_inbound()), 0);
        server.shutdown().await;
        while let Some(event) = events.next().await {
            assert!(!matches!(event, Event::Protocol(_)), "{event:?}");
        }
    });
}

/// Nobody waits for ever when a host ends, whichever it is and however.
#[test]
fn the_end_of_a_host_ends_everything() {
    for seed in 0..20 {
        let (mut world, runtime) = world_with(seed, Link::default(), seed > 0);
        let ended = world
            .block_on(async {
                let (server, client) = sites(&runtime, Config::default()).await;
                let mut incoming = server.requests.incoming(16);
                let mut bodies = server.requests.incoming_bodies(16);
                let ended = AtomicUsize::new(0);
                let asks = async {
                    let answer = client.ask(&server, "one").await;
                    match seed % 3 {
                        // The other side has gone in good order.
                        0 => assert!(
                            matches!(
                                answer,
                                Err(RequestError::Failed(OutboundFailure::ConnectionClosed(_)))
                            ),
                            "{answer:?}"
                        ),
                        // This side has.
                        1 => assert!(
                            matches!(
                                answer,
                                Err(RequestError::HostClosed
                                    | RequestError::Failed(OutboundFailure::ConnectionClosed(_)))
                            ),
                            "{answer:?}"
                        ),
                        _ => assert!(answer.is_err()),
                    }
                };
                let serves = async {
                    let mut asked = incoming.next().await.unwrap();
                    runtime.sleep(SECOND).await;
                    match seed % 3 {
                        0 => server.host.shutdown().await,
                        1 => client.host.shutdown().await,
                        _ => {
                            server.host.shutdown().await;
                            client.host.shutdown().await;
                        }
                    }
                    asked.responder.closed().await;
                    let late = asked.responder.respond_and_wait(asked.request).await;
                    assert!(late.is_err());
                    server.host.shutdown().await;
                    assert!(incoming.next().await.is_none());
                    assert!(bodies.next().await.is_none());
                    ended.fetch_add(1, Ordering::Relaxed);
                };
                both(asks, serves).await;
                client.host.shutdown().await;
                assert_eq!(
                    client.ask(&server, "two").await,
                    Err(RequestError::HostClosed)
                );
                // A handle of a host that has ended.
                let mut incoming = server.host.requests(Two::Right).incoming(1);
                assert!(incoming.next().await.is_none());
                ended.into_inner()
            })
            .unwrap_or_else(|_| panic!("somebody waits for ever, seed {seed}"));
        assert_eq!(ended, 1);
        world.run_for(30 * SECOND).unwrap();
        assert_eq!(world.tasks(), 0);
    }
}

/// A response that was given is sent to its end, however soon after it the host ends.
#[test]
fn what_was_answered_is_heard() {
    for seed in 0..10 {
        for wait in [false, true] {
            run(seed, async |runtime| {
                let (server, client) = sites(&runtime, Config::default()).await;
                let mut incoming = server.requests.incoming(16);
                let answer = pattern(1_000_000);
                let asks = async {
                    let heard = client.ask(&server, "a long answer").await.unwrap();
                    assert!(heard == pattern(1_000_000));
                };
                let serves = async {
                    let asked = incoming.next().await.unwrap();
                    if wait {
                        asked.responder.respond_and_wait(answer).await.unwrap();
                    } else {
                        asked.responder.respond(answer).unwrap();
                    }
                    server.host.shutdown().await;
                };
                both(asks, serves).await;
            });
        }
    }
}
