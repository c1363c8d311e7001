//! Streams that a protocol hands over to its host: no byte is lost, and none comes twice, whenever that happens.

use crate::common::{Nothing, dial, world};
use bytes::Bytes;
use core::time::Duration;
use drywire::{
    connection::{Accept, Slot, StreamKind},
    multistream::ProtocolName,
    swarm::{Context, Event, Input, Protocol, StreamRef},
    time::Instant,
    wire::varint,
};
use drywire_engine::{Host, Runtime};

const NAME: ProtocolName = ProtocolName::from_static("/taken/1.0.0");
const MAX: u32 = 100_000;

/// When the stream changes hands.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as the protocol hears of it, with data right behind.
    Inbound,
    /// While the protocol handles so many messages.
    Message(usize),
    /// At a command, so many milliseconds later, whatever is on its way then.
    Command(u64),
}

/// Handles messages until it hands the stream over.
struct Taker {
    kind: StreamKind,
    moment: Moment,
    handled: Vec<Bytes>,
}

impl Protocol for Taker {
    /// The stream came; and whether it has been handed over.
    type Event = (StreamRef, bool);

    fn start(&mut self, cx: &mut Context<'_, Self::Event>) {
        cx.accept(NAME, Accept::new(self.kind)).unwrap();
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, Self::Event>) {
        match (input, self.moment) {
            (Input::Inbound { stream, .. }, moment) => {
                let handed = matches!(moment, Moment::Inbound) && cx.hand_over(stream);
                cx.emit((stream, handed));
            }
            (Input::Message { stream, bytes }, moment) => {
                self.handled.push(bytes);
                if let Moment::Message(count) = moment
                    && self.handled.len() == count
                {
                    let handed = cx.hand_over(stream);
                    cx.emit((stream, handed));
                }
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What the peer sends: messages as the kind cuts them, and the bytes on the wire.
fn messages(kind: StreamKind) -> Vec<Vec<u8>> {
    let count = if let StreamKind::ToEnd { .. } = kind {
        1
    } else {
        40
    };
    let size = |n: usize| [0, 1, 30, 1023, 1024, 5000, 70_000][n * 5 % 7];
    (0..count)
        .map(|n| (0..size(n + 1)).map(|at| (at * 7 + n) as u8).collect())
        .collect()
}

fn on_the_wire<'a>(kind: StreamKind, messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut wire = Vec::new();
    for message in messages {
        if let StreamKind::Framed { .. } = kind {
            varint::encode(message.len() as u64, &mut wire);
        }
        wire.extend_from_slice(message);
    }
    wire
}

/// One stream, from its opening to its end.
fn run(seed: u64, kind: StreamKind, moment: Moment) {
    let (mut world, runtime) = world(seed);
    world
        .block_on(async {
            let taker = Taker {
                kind,
                moment,
                handled: Vec::new(),
            };
            let server = Host::builder(runtime.clone(), taker).start().unwrap();
            let bound = server
                .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
                .await
                .unwrap();
            let mut events = server.events(64);
            let client = Host::builder(runtime.clone(), Nothing::default())
                .start()
                .unwrap();
            let peer = dial(&client, &bound.address).await.0;
            let sent = messages(kind);
            let sent = on_the_wire(kind, sent.iter().map(Vec::as_slice));
            let wire = sent.clone();
            let writer = async {
                let mut stream = client.open_stream_optimistic(peer, NAME).await.unwrap();
                for piece in wire.chunks(3000) {
                    stream
                        .write_bytes(&mut Bytes::copy_from_slice(piece))
                        .await
                        .unwrap();
                    if piece.len() % 2 == 1 {
                        runtime.sleep(Duration::from_millis(1)).await;
                    }
                }
                stream.finish().unwrap();
                // Not dropped before everything is through.
                runtime.sleep(Duration::from_secs(5)).await;
            };
            let reader = async {
                let (mut of, mut handed) = (None, false);
                if let Moment::Command(delay) = moment {
                    runtime.sleep(Duration::from_millis(delay)).await;
                }
                while !handed {
                    let event = events.next().await.unwrap();
                    let Event::Protocol((stream, by_itself)) = event else {
                        continue;
                    };
                    of = Some(stream);
                    handed = by_itself;
                    if let Moment::Command(_) = moment {
                        handed = server.with(|_, cx| cx.hand_over(stream));
                        break;
                    }
                }
                let mut rest = Vec::new();
                if let Some(stream) = of.filter(|_| handed) {
                    let taken = server
                        .take_stream(stream.connection, stream.stream, NAME)
                        .await;
                    let mut taken = taken.unwrap();
                    while let Some(bytes) = taken.read_bytes(10_000).await.unwrap() {
                        rest.extend_from_slice(&bytes);
                    }
                    // What is not to be had is not waited for, although the connection lives.
                    let again = server.take_stream(stream.connection, stream.stream, NAME);
                    let now = runtime.now();
                    assert!(again.await.is_err() && runtime.now() == now);
                }
                let handled = server.with(|taker, _| core::mem::take(&mut taker.handled));
                let had = on_the_wire(kind, handled.iter().map(|bytes| &bytes[..]));
                assert_eq!(had.len() + rest.len(), sent.len(), "{kind:?} {moment:?}");
                assert!([had, rest].concat() == sent, "{kind:?} {moment:?}");
            };
            futures_join(writer, reader).await;
        })
        .unwrap();
}

async fn futures_join(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (core::pin::pin!(first), core::pin::pin!(second));
    let mut done = [false; 2];
    core::future::poll_fn(|cx| {
        done[0] = done[0] || first.as_mut().poll(cx).is_ready();
        done[1] = done[1] || second.as_mut().poll(cx).is_ready();
        if done == [true; 2] {
            core::task::Poll::Ready(())
        } else {
            core::task::Poll::Pending
        }
    })
    .await;
}

/// Fails if what is on its way to the protocol is not put back (`Session::put_back`).
#[test]
fn no_byte_is_lost_when_a_stream_changes_hands() {
    let kinds = [
        StreamKind::Raw,
        StreamKind::Framed { max_len: MAX },
        StreamKind::ToEnd { max_len: MAX },
    ];
    for (seed, kind) in kinds.into_iter().enumerate() {
        let seed = seed as u64 * 1000;
        run(seed, kind, Moment::Inbound);
        for count in 1..12 {
            if matches!(kind, StreamKind::ToEnd { .. }) && count > 1 {
                continue;
            }
            run(seed + count, kind, Moment::Message(count as usize));
        }
        for delay in 0..40 {
            run(seed + 100 + delay, kind, Moment::Command(delay));
        }
    }
}
