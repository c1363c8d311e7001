//! The channels between the swarm's thread and the workers stay within their sizes.

use crate::nodes::{PATIENCE, config};
use bytes::Bytes;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use drywire::{
    connection::{Accept, Connection, Event, Slot, StreamKind},
    multistream::ProtocolName,
    swarm::{self, Context, DialOptions, Input, Protocol, StreamRef},
    time::Instant,
};
use drywire_examples::{
    keypair,
    workers::{Application, TO_SWARM, WorkerHost, to_connection},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::channel},
    thread,
};

const NAME: ProtocolName = ProtocolName::from_static("/drywire/examples/flood/1.0.0");
const KIND: StreamKind = StreamKind::Framed { max_len: 64 };
const STREAMS: usize = 100;
const MESSAGES: u64 = 500;

/// Sends as many messages on as many streams as it is let, and counts those that arrive.
struct Flood {
    sends: bool,
    left: BTreeMap<StreamRef, u64>,
    ended: usize,
    received: Arc<AtomicU64>,
}

impl Flood {
    fn send(&mut self, stream: StreamRef, cx: &mut Context<'_, ()>) {
        let Some(left) = self.left.get_mut(&stream) else {
            return;
        };
        while *left > 0 {
            if cx
                .send(stream, Bytes::from_static(b"0123456789abcdef"))
                .is_err()
            {
                return;
            }
            *left -= 1;
        }
        self.left.remove(&stream);
        cx.finish(stream);
    }
}

impl Protocol for Flood {
    type Event = ();

    fn start(&mut self, cx: &mut Context<'_, ()>) {
        cx.accept(NAME, Accept::new(KIND)).unwrap();
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, ()>) {
        match input {
            Input::ConnectionUp { connection, .. } if self.sends => {
                for _ in 0..STREAMS {
                    let stream = cx.open(connection, &[NAME], KIND, false).unwrap();
                    self.left.insert(stream, MESSAGES);
                }
                let streams: Vec<_> = self.left.keys().copied().collect();
                streams.into_iter().for_each(|stream| self.send(stream, cx));
            }
            // The server's swarm is busy while the first words of all streams come.
            Input::ConnectionUp { .. } => thread::sleep(Duration::from_millis(300)),
            Input::Writable { stream } => self.send(stream, cx),
            Input::Message { .. } => {
                self.received.fetch_add(1, Ordering::Relaxed);
            }
            Input::RemoteFinished { stream } if !self.sends => drop(cx.finish(stream)),
            Input::StreamEnded { .. } => {
                self.ended += 1;
                if self.sends && self.ended == STREAMS {
                    cx.emit(());
                }
            }
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

struct Nothing;

impl Application for Nothing {
    fn handle_event(&mut self, _: Instant, _: &mut Connection, _: Event) {}
}

#[test]
fn the_channels_hold_no_more_than_they_may_while_protocols_say_all_they_can() {
    let received = Arc::<AtomicU64>::default();
    let flood = |sends| Flood {
        sends,
        left: BTreeMap::new(),
        ended: 0,
        received: received.clone(),
    };
    let (tell, told) = channel();
    let start = |protocol, tell: std::sync::mpsc::Sender<swarm::Event<()>>| {
        let key = keypair().unwrap();
        WorkerHost::start(
            config(),
            key,
            protocol,
            2,
            |_| Nothing,
            move |_, _, event| {
                drop(tell.send(event));
            },
        )
        .unwrap()
    };
    let server = start(flood(false), tell.clone());
    let listen = |now, swarm: &mut swarm::Swarm<_>| {
        swarm
            .listen(now, "/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .unwrap();
    };
    server.on_swarm(listen).unwrap();
    let Ok(swarm::Event::Listening { address, .. }) = told.recv_timeout(PATIENCE) else {
        panic!("it listens");
    };
    let client = start(flood(true), tell);
    let dial = move |now, swarm: &mut swarm::Swarm<_>| {
        swarm.dial(now, DialOptions::address(address)).unwrap();
    };
    client.on_swarm(dial).unwrap();
    while !matches!(
        told.recv_timeout(PATIENCE).unwrap(),
        swarm::Event::Protocol(())
    ) {}
    assert_eq!(received.load(Ordering::Relaxed), MESSAGES * STREAMS as u64);
    // The server's worker had more to say than there was room for, and kept it until there was.
    assert_eq!(server.waiting().to_swarm, TO_SWARM);
    assert!(client.waiting().to_swarm <= TO_SWARM);
    // The client's swarm said all that it may before the connection had heard any of it.
    let commands = usize::try_from(config().queues.commands).unwrap();
    let waiting = client.waiting().to_connection;
    assert!(
        (commands / 2..=to_connection(&config())).contains(&waiting),
        "{waiting}"
    );
    assert!(server.waiting().to_connection <= to_connection(&config()));
    client.shutdown().unwrap();
    client.join().unwrap();
    server.shutdown().unwrap();
    server.join().unwrap();
}
