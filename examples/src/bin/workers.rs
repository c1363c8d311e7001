//! 64 MiB there and back between two nodes of one swarm thread and two workers each; the connection moves to the other
//! worker on the way.
#![forbid(unsafe_code)]

use drywire::{
    connection::{Accept, Connection, ConnectionId, Event, OpenOptions, StreamKind},
    protocol::{Standard, StandardEvent},
    swarm::{self, Config, DialOptions, Swarm},
    time::Instant,
};
use drywire_examples::{
    Failed, keypair,
    transfer::{Checksum, ECHO, Echo, TOTAL, Upload},
    workers::{Application, WorkerHost},
};
use drywire_system::now;
use std::{
    sync::mpsc::{Sender, channel},
    thread,
};

/// The server's end of one connection.
#[derive(Default)]
struct Server(Echo);

impl Application for Server {
    fn handle_event(&mut self, _: Instant, connection: &mut Connection, event: Event) {
        self.0.handle_event(connection, &event);
    }
}

/// The client's.
struct Client {
    upload: Option<Upload>,
    half: Option<Sender<(ConnectionId, thread::ThreadId)>>,
    done: Sender<(Result<Checksum, String>, thread::ThreadId)>,
}

impl Application for Client {
    fn handle_event(&mut self, now: Instant, connection: &mut Connection, event: Event) {
        if let Event::Established { .. } = event {
            let opened = connection.open(now, &[ECHO], StreamKind::Raw, OpenOptions::default());
            self.upload = opened
                .ok()
                .map(|stream| Upload::start(connection, stream, TOTAL));
        }
        let Some(upload) = &mut self.upload else {
            return;
        };
        upload.handle_event(connection, &event);
        let worker = thread::current().id();
        if upload.received() > TOTAL / 2
            && let Some(half) = self.half.take()
        {
            let _ = half.send((connection.id(), worker));
        }
        if let Some(outcome) = upload.outcome() {
            let _ = self.done.send((outcome.clone(), worker));
        }
    }
}

fn main() -> Result<(), Failed> {
    let (tell, told) = channel();
    let events = move |now, swarm: &mut Swarm<_>, event: swarm::Event<StandardEvent>| match event {
        swarm::Event::Listening { address, .. } => drop(tell.send(address)),
        // This server serves one client.
        swarm::Event::ConnectionClosed { .. } => swarm.shutdown(now),
        _ => {}
    };
    let server = WorkerHost::start(
        Config::default(),
        keypair()?,
        Standard::default(),
        2,
        |_| Server::default(),
        events,
    )?;
    server.on_swarm(|now, swarm| {
        let listening = "/ip4/127.0.0.1/tcp/0".parse();
        let listening = listening.ok().map(|address| swarm.listen(now, address));
        let accepted = swarm.accept(now, ECHO, Accept::new(StreamKind::Raw));
        if !matches!((listening, accepted), (Some(Ok(_)), Ok(()))) {
            swarm.shutdown(now);
        }
    })?;
    let address = told.recv()?;

    let (start, (half, at_half), (done, when_done)) = (now(), channel(), channel());
    let client = WorkerHost::start(
        Config::default(),
        keypair()?,
        Standard::default(),
        2,
        move |_| Client {
            upload: None,
            half: Some(half.clone()),
            done: done.clone(),
        },
        |now, swarm, event| {
            if let swarm::Event::DialFailed { .. } = event {
                swarm.shutdown(now);
            }
        },
    )?;
    client.on_swarm(move |now, swarm| {
        if swarm.dial(now, DialOptions::address(address)).is_err() {
            swarm.shutdown(now);
        }
    })?;
    // The first connection is on the first worker.
    let (connection, first) = at_half.recv()?;
    client.move_connection(connection, 1)?;
    let (outcome, last) = when_done.recv()?;
    println!(
        "{TOTAL} bytes there and back in {:?}: {:?}",
        now() - start,
        outcome?
    );
    println!("moved to another worker on the way: {}", first != last);
    println!("at most {:?}", client.waiting());
    client.shutdown()?;
    client.join()?;
    Ok(server.join()?)
}
