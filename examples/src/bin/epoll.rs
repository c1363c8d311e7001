//! 64 MiB there and back through a loop over epoll.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux {
    use core::error::Error;
    use drywire::{
        connection::{Accept, Event, OpenOptions, StreamKind},
        node::{Node, NodeEvent},
        protocol::Standard,
        swarm::{self, Config, DialOptions},
    };
    use drywire_examples::{
        epoll::Host,
        socket::OfNode,
        swarm,
        transfer::{ECHO, Echo, TOTAL, Upload},
    };
    use drywire_system::now;
    use std::{sync::mpsc::channel, thread};

    type Failed = Box<dyn Error + Send + Sync>;

    pub(crate) fn main() -> Result<(), Failed> {
        let (tell, told) = channel();
        let server = thread::spawn(move || -> Result<(), Failed> {
            let mut host = Host::new(Node::new(swarm(Config::default(), Standard::default())?))?;
            host.node().command(now(), |swarm| {
                swarm.accept(now(), ECHO, Accept::new(StreamKind::Raw))
            })?;
            host.node().listen(now(), "/ip4/127.0.0.1/tcp/0".parse()?)?;
            let mut echo = Echo::default();
            host.run(|now, node, event| match event {
                NodeEvent::Connection(id, event) => {
                    echo.handle_event(&mut OfNode(node, id), &event);
                }
                NodeEvent::Swarm(swarm::Event::Listening { address, .. }) => {
                    let _ = tell.send(address);
                }
                // This server serves one client.
                NodeEvent::Swarm(swarm::Event::ConnectionClosed { .. }) => node.shutdown(now),
                _ => {}
            })?;
            Ok(())
        });

        let mut host = Host::new(Node::new(swarm(Config::default(), Standard::default())?))?;
        let start = now();
        host.node()
            .dial(start, DialOptions::address(told.recv()?))?;
        let mut upload = None;
        let mut failed = None;
        host.run(|now, node, event| match event {
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
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let checksum = upload
            .as_ref()
            .and_then(Upload::outcome)
            .ok_or("no stream was opened")?
            .clone()?;
        println!(
            "{TOTAL} bytes there and back in {:?}: {checksum:?}",
            now() - start
        );
        server.join().map_err(|_| "the server's thread panicked")?
    }
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn core::error::Error + Send + Sync>> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("epoll is Linux's own; see the other examples");
}
