//! 64 MiB there and back between two games that tick 60 times a second.
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "ticks are counted, and times lie close to now"
)]

use core::time::Duration;
use drywire::{
    connection::{Accept, Event, OpenOptions, StreamKind},
    node::{Node, NodeEvent},
    protocol::Standard,
    swarm::{self, Config, DialOptions},
};
use drywire_examples::{
    Failed,
    game_tick::Host,
    socket::OfNode,
    swarm,
    transfer::{ECHO, Echo, TOTAL, Upload},
};
use drywire_system::now;
use std::{sync::mpsc::channel, thread, time::Instant};

/// 60 Hz.
const TICK: Duration = Duration::from_nanos(16_666_667);
/// Of that, for the network.
const SLICE: Duration = Duration::from_millis(8);

/// The game: a tick, then sleep until the next. Returns how many it took.
fn play(mut tick: impl FnMut() -> bool) -> u32 {
    let mut next = Instant::now();
    let mut ticks = 0;
    while tick() {
        ticks += 1;
        // The game itself would move its pieces here.
        next += TICK;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    ticks
}

fn main() -> Result<(), Failed> {
    let (tell, told) = channel();
    let server = thread::spawn(move || -> Result<(), Failed> {
        let mut host = Host::new(Node::new(swarm(Config::default(), Standard::default())?));
        host.node().command(now(), |swarm| {
            swarm.accept(now(), ECHO, Accept::new(StreamKind::Raw))
        })?;
        host.node().listen(now(), "/ip4/127.0.0.1/tcp/0".parse()?)?;
        let mut echo = Echo::default();
        play(|| {
            host.tick(SLICE, |now, node, event| match event {
                NodeEvent::Connection(id, event) => {
                    echo.handle_event(&mut OfNode(node, id), &event);
                }
                NodeEvent::Swarm(swarm::Event::Listening { address, .. }) => {
                    let _ = tell.send(address);
                }
                // This server serves one client.
                NodeEvent::Swarm(swarm::Event::ConnectionClosed { .. }) => node.shutdown(now),
                _ => {}
            });
            !host.is_finished()
        });
        Ok(())
    });

    let mut host = Host::new(Node::new(swarm(Config::default(), Standard::default())?));
    let start = now();
    host.node()
        .dial(start, DialOptions::address(told.recv()?))?;
    let (mut upload, mut failed) = (None, None);
    let ticks = play(|| {
        host.tick(SLICE, |now, node, event| match event {
            NodeEvent::Connection(id, Event::Established { .. }) => {
                let opened = node.open(now, id, &[ECHO], StreamKind::Raw, OpenOptions::default());
                upload = opened
                    .ok()
                    .map(|stream| Upload::start(&mut OfNode(node, id), stream, TOTAL));
            }
            NodeEvent::Connection(id, event) => {
                if let Some(upload) = &mut upload {
                    upload.handle_event(&mut OfNode(node, id), &event);
                    if upload.outcome().is_some() {
                        node.shutdown(now);
                    }
                }
            }
            NodeEvent::Swarm(swarm::Event::DialFailed { error, .. }) => {
                failed = Some(error);
                node.shutdown(now);
            }
            _ => {}
        });
        !host.is_finished()
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let outcome = upload.as_ref().and_then(Upload::outcome);
    let checksum = outcome.ok_or("no stream was opened")?.clone()?;
    let took = now() - start;
    println!("{TOTAL} bytes there and back in {ticks} ticks, {took:?}: {checksum:?}");
    server.join().map_err(|_| "the server's thread panicked")?
}
