//! Requests and responses whose bodies are streams.

use crate::common::{give_up_after, sites::*};
use bytes::Bytes;
use drywire::{
    connection::StreamError,
    protocol::request_response::{Config, Framing, OutboundFailure, Refusal, RequestOptions},
};
use drywire_engine::{RequestError, Runtime, Stream};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

async fn write_all(stream: &mut Stream, mut data: Bytes, piece: usize) {
    while !data.is_empty() {
        let mut piece = data.split_to(piece.min(data.len()));
        stream.write_bytes(&mut piece).await.unwrap();
    }
    stream.finish().unwrap();
}

async fn read_all(stream: &mut Stream, piece: usize) -> Bytes {
    let mut all = Vec::new();
    while let Some(bytes) = stream.read_bytes(piece).await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all.into()
}

const LARGE: usize = 3_000_000;

/// Responses in pieces, longer than any limit, at either end; the other end may treat them whole if they are short.
#[test]
fn responses_are_streams_if_wanted() {
    for seed in 0..6 {
        run(seed, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            let mut incoming = server.requests.incoming(16);
            runtime.clone().spawn(async move {
                while let Some(asked) = incoming.next().await {
                    let length = asked.request.len();
                    match &asked.request[..] {
                        b"whole" => asked.responder.respond(pattern(5000)).unwrap(),
                        _ => {
                            let length = if length > 20 { LARGE } else { length };
                            let mut body = asked.responder.stream().await.unwrap();
                            assert_eq!(body.protocol(), &LEFT);
                            write_all(&mut body, pattern(length), 10_000).await;
                        }
                    }
                }
            });
            let peer = server.peer();
            for question in ["whole", "short", "a question with a long answer"] {
                let question = Bytes::from_static(question.as_bytes());
                let options = RequestOptions::new();
                let streamed = client
                    .requests
                    .request_streamed(peer, question.clone(), options);
                let mut body = streamed.await.unwrap();
                let length = match question.len() {
                    29 => LARGE,
                    5 if question == "whole" => 5000,
                    length => length,
                };
                assert!(read_all(&mut body, 3000).await == pattern(length));
            }
            assert_eq!(client.ask(&server, "short").await.unwrap(), pattern(5));
            // A response that streams cannot be returned whole.
            let options = RequestOptions::new().stream_response();
            let misused = client
                .requests
                .request_with(peer, Bytes::from_static(b"whole"), options);
            assert_eq!(misused.await, Err(RequestError::Streamed));
            assert_eq!((client.pending(), server.pending()), ((0, 0), (0, 0)));
        });
    }
}

/// A body that is over before its stream has changed hands is over for its reader, in the way it was: an end is an end, and a
/// reset is no end.
///
/// Fails if the connection says nothing of a stream that it has forgotten.
#[test]
fn bodies_that_are_over_at_once_are_read_as_they_ended() {
    for seed in 0..10 {
        run(seed, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            let mut incoming = server.requests.incoming(16);
            runtime.spawn(async move {
                while let Some(asked) = incoming.next().await {
                    let reset = asked.request == "reset";
                    let mut body = asked.responder.stream().await.unwrap();
                    if reset {
                        let mut piece = pattern(100);
                        body.write_bytes(&mut piece).await.unwrap();
                        body.reset(7);
                    } else {
                        body.finish().unwrap();
                    }
                }
            });
            let began = runtime.now();
            for question in ["finish", "reset"] {
                let question = Bytes::from_static(question.as_bytes());
                let options = RequestOptions::new();
                let body =
                    client
                        .requests
                        .request_streamed(server.peer(), question.clone(), options);
                match body.await {
                    Ok(mut body) if question == "finish" => {
                        assert_eq!(body.read_bytes(100).await, Ok(None));
                    }
                    Ok(mut body) => {
                        let end = loop {
                            match body.read_bytes(100).await {
                                Ok(Some(_)) => {}
                                other => break other,
                            }
                        };
                        assert_eq!(end, Err(StreamError::ResetByPeer(7)));
                    }
                    Err(error) => {
                        let failure = OutboundFailure::Stream(StreamError::ResetByPeer(7));
                        assert_eq!(
                            (&question[..], error),
                            (&b"reset"[..], RequestError::Failed(failure))
                        );
                    }
                }
            }
            assert!(runtime.now() - began < SECOND);
        });
    }
}

/// The same for very many at once.
///
/// Fails if the connection forgets how a stream ended before the swarm has heard of it.
#[test]
fn very_many_bodies_that_are_over_at_once_are_read_as_they_ended() {
    for seed in 0..6 {
        run(seed, async |runtime| {
            let config = Config::default().with_max_concurrent_streams(250);
            let (server, client) = sites(&runtime, config).await;
            let mut incoming = server.requests.incoming(256);
            let ended = Arc::new(AtomicUsize::new(0));
            // Twice, so that what is remembered is forgotten in between.
            for _ in 0..2 {
                ended.store(0, Ordering::Relaxed);
                for number in 0..200 {
                    let (requests, peer) = (client.requests.clone(), server.peer());
                    let ended = ended.clone();
                    runtime.spawn(async move {
                        let reset = number % 3 == 0;
                        let question = if reset { "reset" } else { "finish" };
                        let question = Bytes::from_static(question.as_bytes());
                        let body = requests.request_streamed(peer, question, RequestOptions::new());
                        let end = match body.await {
                            Ok(mut body) => body.read_bytes(100).await,
                            Err(RequestError::Failed(OutboundFailure::Stream(error))) => Err(error),
                            Err(error) => panic!("{error:?}"),
                        };
                        let expected = if reset {
                            Err(StreamError::ResetByPeer(7))
                        } else {
                            Ok(None)
                        };
                        assert_eq!(end, expected, "{number}");
                        ended.fetch_add(1, Ordering::Relaxed);
                    });
                }
                let mut bodies = Vec::new();
                for _ in 0..200 {
                    let asked = incoming.next().await.unwrap();
                    let reset = asked.request == "reset";
                    bodies.push((reset, asked.responder.stream().await.unwrap()));
                }
                for (reset, mut body) in bodies {
                    if reset {
                        body.reset(7);
                    } else {
                        body.finish().unwrap();
                    }
                }
                runtime.sleep(SECOND).await;
                assert_eq!(ended.load(Ordering::Relaxed), 200);
            }
        });
    }
}

/// Requests in pieces, and their answers, with the reader at its own pace.
#[test]
fn requests_are_streams_if_wanted() {
    for seed in 0..6 {
        run(seed, async |runtime| {
            let config = Config::default().stream_requests();
            let (server, client) = sites(&runtime, config).await;
            let mut incoming = server.requests.incoming_bodies(16);
            let (peer, asker) = (server.peer(), client.peer());
            runtime.spawn(async move {
                while let Some((from, mut body)) = incoming.next().await {
                    assert_eq!((from, body.protocol()), (asker, &LEFT));
                    let mut length: usize = 0;
                    while let Some(bytes) = body.read_bytes(2000).await.unwrap() {
                        length += bytes.len();
                    }
                    let answer = Bytes::from(length.to_string());
                    write_all(&mut body, answer, 100).await;
                }
            });
            let mut body = client
                .requests
                .open(peer, RequestOptions::new())
                .await
                .unwrap();
            write_all(&mut body, pattern(LARGE), 10_000).await;
            assert_eq!(read_all(&mut body, 100).await, LARGE.to_string());
            assert_eq!(client.ask(&server, "a short one").await.unwrap(), "11");
        });
    }
}

/// What nobody reads is not sent: the writer waits.
#[test]
fn a_reader_that_rests_holds_up_the_writer() {
    run(1, async |runtime| {
        let (server, client) = sites(&runtime, Config::default()).await;
        let mut incoming = server.requests.incoming(16);
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        runtime.spawn(async move {
            let asked = incoming.next().await.unwrap();
            let mut body = asked.responder.stream().await.unwrap();
            loop {
                let mut piece = pattern(10_000);
                if body.write_bytes(&mut piece).await.is_err() {
                    return;
                }
                count.fetch_add(10_000, Ordering::Relaxed);
            }
        });
        let question = Bytes::from_static(b"endless");
        let options = RequestOptions::new();
        let body = client
            .requests
            .request_streamed(server.peer(), question, options);
        let mut body = body.await.unwrap();
        runtime.sleep(5 * SECOND).await;
        let before = written.load(Ordering::Relaxed);
        assert!((10_000..1_000_000).contains(&before), "{before}");
        runtime.sleep(5 * SECOND).await;
        assert_eq!(written.load(Ordering::Relaxed), before);
        for _ in 0..100 {
            body.read_bytes(10_000).await.unwrap().unwrap();
        }
        runtime.sleep(SECOND).await;
        assert!(written.load(Ordering::Relaxed) > before);
        // Who drops the body resets it, and the writer sees that.
        drop(body);
        runtime.sleep(SECOND).await;
        assert_eq!(server.pending(), (0, 0));
    });
}

/// Bodies that nobody takes up are reset, wherever they are lost; each would hold one of 64 places of its connection.
///
/// Fails if a stream that was handed over is forgotten.
#[test]
fn bodies_that_nobody_takes_up_are_reset() {
    for polls in 0..5 {
        run(polls as u64, async |runtime| {
            let (server, client) = sites(&runtime, Config::default()).await;
            let mut incoming = server.requests.incoming(16);
            let answers = runtime.clone();
            runtime.spawn(async move {
                while let Some(asked) = incoming.next().await {
                    let runtime = answers.clone();
                    answers.spawn(async move {
                        if let Some(body) = give_up_after(polls, asked.responder.stream()).await {
                            let mut body = body.unwrap();
                            let mut piece = pattern(1000);
                            if body.write_bytes(&mut piece).await.is_ok() {
                                // The asker drops it before it is finished.
                                runtime.sleep(SECOND).await;
                                let _ = body.finish();
                            }
                        }
                    });
                }
            });
            let question = Bytes::from_static(b"hello");
            for round in 0..100 {
                let options = RequestOptions::new();
                let body =
                    client
                        .requests
                        .request_streamed(server.peer(), question.clone(), options);
                let body = give_up_after(round % 7, body).await;
                runtime.sleep(SECOND / 10).await;
                drop(body);
            }
            runtime.sleep(5 * SECOND).await;
            assert_eq!((client.pending(), server.pending()), ((0, 0), (0, 0)));
            // Not one place is taken for good: what is not answered is over at once.
            let options = RequestOptions::new();
            let body = client
                .requests
                .request_streamed(server.peer(), question.clone(), options);
            match body.await {
                Ok(mut body) if polls > 1 => {
                    assert!(read_all(&mut body, 1000).await == pattern(1000))
                }
                Ok(mut body) => assert_eq!(read_all(&mut body, 1000).await, ""),
                Err(RequestError::Failed(OutboundFailure::Stream(error))) => {
                    assert_eq!((polls, error), (1, StreamError::ResetByPeer(0)));
                }
                Err(error) => panic!("{error:?}, after {polls} polls"),
            }
        });
    }
}

/// The same for the requests of peers: those that wait beyond the capacity, and those that wait when the handle is dropped.
#[test]
fn bodies_beyond_the_capacity_are_reset() {
    run(1, async |runtime| {
        let config = Config::default().stream_requests();
        let (server, client) = sites(&runtime, config).await;
        let options = || RequestOptions::new();
        for _ in 0..10 {
            let incoming = server.requests.incoming_bodies(2);
            let mut open = Vec::new();
            for _ in 0..20 {
                open.push(client.requests.open(server.peer(), options()).await);
            }
            runtime.sleep(SECOND).await;
            assert_eq!(incoming.dropped(), 18);
            drop(incoming);
            runtime.sleep(SECOND).await;
            for body in open {
                // Refused so soon that the reset came with, or before, the agreement.
                let Ok(mut body) = body else { continue };
                let end = body.read_bytes(100).await;
                assert!(matches!(end, Err(StreamError::ResetByPeer(_))), "{end:?}");
            }
        }
        let mut incoming = server.requests.incoming_bodies(2);
        let mut body = client
            .requests
            .open(server.peer(), options())
            .await
            .unwrap();
        write_all(&mut body, pattern(100), 100).await;
        let (_, mut taken) = incoming.next().await.unwrap();
        assert!(read_all(&mut taken, 100).await == pattern(100));
    });
}

/// Bodies with a length in front of them are whole.
#[test]
fn framed_bodies_are_not_streamed() {
    run(1, async |runtime| {
        let config = Config::default().with_framing(Framing::LengthPrefixed);
        let (server, client) = sites(&runtime, config).await;
        let mut incoming = server.requests.incoming(16);
        runtime.spawn(async move {
            let asked = incoming.next().await.unwrap();
            asked.responder.respond(asked.request).unwrap();
            let asked = incoming.next().await.unwrap();
            assert!(asked.responder.stream().await.is_err());
        });
        assert_eq!(client.ask(&server, "framed").await.unwrap(), "framed");
        assert_eq!(
            client.ask(&server, "streamed").await,
            failed(OutboundFailure::ResponseOmitted)
        );
        let opened = client.requests.open(server.peer(), RequestOptions::new());
        let Err(error) = opened.await else {
            panic!("opened")
        };
        assert_eq!(error, RequestError::Refused(Refusal::NotStreamable));
    });
}

/// A slow application gets every body that its capacity has room for, and one that is refused holds no place: whatever a peer
/// opens and gives up, the next body is there.
///
/// Fails if the streams that wait on a connection, or the names of those that are refused, are forgotten beyond some number.
#[test]
fn many_bodies_at_once_hold_up_nobody() {
    for (seed, capacity) in [(0, 300), (1, 300), (2, 16), (3, 1)] {
        run(seed, async |runtime| {
            let config = Config::default()
                .stream_requests()
                .with_max_concurrent_streams(250);
            let (server, client) = sites(&runtime, config.clone()).await;
            let other = site(&runtime, config).await;
            other.connect(&server).await;
            let mut incoming = server.requests.incoming_bodies(capacity);
            for _ in 0..2 {
                let opened = Arc::new(Mutex::new(Vec::new()));
                for _ in 0..200 {
                    let (opened, client) = (opened.clone(), client.host.clone());
                    let peer = server.peer();
                    runtime.spawn(async move {
                        let mut body = client.open_stream_optimistic(peer, LEFT).await.unwrap();
                        let _ = body.finish();
                        opened.lock().unwrap().push(body);
                    });
                }
                runtime.sleep(SECOND).await;
                for _ in 0..capacity.min(200) {
                    let (_, mut body) = incoming.next().await.unwrap();
                    assert_eq!(body.read_bytes(10).await, Ok(None));
                }
                drop(opened);
                runtime.sleep(SECOND).await;
            }
            let dropped = 200_u64.saturating_sub(capacity as u64) * 2;
            assert_eq!(incoming.dropped(), dropped);
            for site in [&other, &client] {
                let options = RequestOptions::new();
                let mut body = site.requests.open(server.peer(), options).await.unwrap();
                write_all(&mut body, pattern(100), 100).await;
                let (from, mut taken) = incoming.next().await.unwrap();
                assert_eq!(from, site.peer());
                assert!(read_all(&mut taken, 100).await == pattern(100));
            }
        });
    }
}
