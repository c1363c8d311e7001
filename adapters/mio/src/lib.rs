//! [drywire] on one thread, over [`mio::Poll`]: no async, no second thread, no lock.
//!
//! A [`Host`] is a node among the sockets of a poll. It lives in a loop of the caller's, beside whatever else is polled there,
//! or in an [`EventLoop`] of its own. Streams are [`Read`](std::io::Read) and [`Write`](std::io::Write), and say
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) as sockets do.
//!
//! ```
//! use core::ops::ControlFlow;
//! use drywire::{connection, multistream::ProtocolName, protocol::Standard, swarm::{self, DialOptions}};
//! use drywire_mio::{Event, Host};
//! use std::{io::{Read, Write}, thread};
//!
//! const HELLO: ProtocolName = ProtocolName::from_static("/hello/1.0.0");
//!
//! // A server that says hello on every stream.
//! let mut server = Host::builder(Standard::default()).event_loop()?;
//! server.host().accept(HELLO)?;
//! server.host().listen("/ip4/127.0.0.1/tcp/0".parse()?)?;
//! let address = server.run(|_, event| match event {
//!     Event::Swarm(swarm::Event::Listening { address, .. }) => ControlFlow::Break(address),
//!     _ => ControlFlow::Continue(()),
//! })?;
//! thread::spawn(move || {
//!     server.run(|host, event| {
//!         if let Event::Connection(connection, connection::Event::Inbound { stream, .. }) = event {
//!             let mut stream = host.stream(connection, stream).unwrap();
//!             stream.write_all(b"hello").unwrap();
//!             stream.finish().unwrap();
//!             stream.release();
//!         }
//!         ControlFlow::<()>::Continue(())
//!     })
//! });
//!
//! // A client in a loop of its own making, with other things to poll under other tokens.
//! let mut poll = mio::Poll::new()?;
//! let mut events = mio::Events::with_capacity(256);
//! let mut client = Host::builder(Standard::default()).tokens(1000..2000).start(poll.registry())?;
//! client.dial(DialOptions::address(address))?;
//! let mut heard = String::new();
//! 'turns: loop {
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Swarm(swarm::Event::Dialed { connection, .. }) => {
//!                 let stream = client.open(connection, &[HELLO])?;
//!                 client.stream(connection, stream).unwrap().finish()?;
//!             }
//!             Event::Connection(connection, connection::Event::Readable { stream }) => {
//!                 if let Some(mut stream) = client.stream(connection, stream)
//!                     && stream.read_to_string(&mut heard).is_ok()
//!                 {
//!                     break 'turns;
//!                 }
//!             }
//!             _ => {}
//!         }
//!     }
//!     poll.poll(&mut events, client.poll_timeout())?;
//!     client.handle_events(&events);
//! }
//! assert_eq!(heard, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is driven
//!
//! | call | when |
//! |---|---|
//! | [`Host::poll_timeout`] | before the poll: how long it may take; where the loop has deadlines of its own, the earliest counts |
//! | [`Host::handle_events`] | after the poll, always: takes in what has come, and lets time pass |
//! | [`Host::poll_event`] | then, until `None`: says what happened, and sends what there is to send |
//!
//! Commands (dialing, opening and writing streams) can be given at any time. What they lead to happens in
//! [`poll_event`](Host::poll_event) or, where that is not called again, in the next turn, for which
//! [`poll_timeout`](Host::poll_timeout) is zero then.
//!
//! A poll that a signal ends says [`Interrupted`](std::io::ErrorKind::Interrupted), which is a turn without events and
//! no failure of the loop. The poll is one of mio 1, with the features `net` and `os-poll`.
//!
//! **Fair and bounded.** In a turn each ready socket is looked after once and gets a share of 256 KiB each way; all together
//! get 4 MiB. Who has more waits in line for the next turn.
//!
//! **Back-pressure.** Who does not read a stream stops its sender, by the stream's window, and other streams go on. Who writes
//! more than goes out gets [`WouldBlock`](std::io::ErrorKind::WouldBlock), and a
//! [`Writable`](drywire::connection::Event::Writable) event when there is room again. A socket is not read while its
//! connection has no room.
//!
//! **Timers** are in [`poll_timeout`](Host::poll_timeout), all of them. Call nothing while it has not passed and nothing has
//! come: an idle host costs nothing.
//!
//! **The end.** [`Host::shutdown`] says goodbye, and [`Host::is_shut_down`] tells when the last socket is closed. Dropping the
//! host closes them at once. Once a peer has closed a connection, what had arrived can be read for another 30 s, during which
//! the connection counts among those there may be; a host that was shut down does not wait for that.
//!
//! **Names** are the application's to look up, see [`Event::Resolve`].
//!
//! **Recording** is a matter of the [configuration](drywire::swarm::Config::recorder), as for every host;
#![cfg_attr(
    feature = "recording",
    doc = "[`drywire_system::recording`] has the files."
)]
#![cfg_attr(
    not(feature = "recording"),
    doc = "`drywire_system::recording` has the files."
)]
//!
//! Protocols that are machines of the core (ping, identify, requests, a DHT) run inside; [`Host::with`] gives them
//! commands, and their events come as [`Event::Swarm`]. [`Event::protocol`] looks at such an event; to take out what it
//! holds, the channel for an answer say, match it:
//!
//! ```
//! use bytes::Bytes;
//! use drywire::{
//!     multistream::ProtocolName,
//!     protocol::request_response::{BytesCodec, Config, Event as Asked, Message, ProtocolSupport, RequestResponse},
//!     protocols, swarm,
//! };
//! use drywire_mio::{Event, Host};
//!
//! protocols! {
//!     pub struct Speech => SpeechEvent {
//!         shout: RequestResponse<BytesCodec> => Shout,
//!     }
//! }
//!
//! fn speech() -> Speech {
//!     let name = ProtocolName::from_static("/shout/1");
//!     Speech { shout: RequestResponse::new([(name, ProtocolSupport::Full)], Config::default()) }
//! }
//!
//! /// Answers a request.
//! fn handle(host: &mut Host<Speech>, event: Event<SpeechEvent>) {
//!     let Event::Swarm(swarm::Event::Protocol(SpeechEvent::Shout(asked))) = event else { return };
//!     if let Asked::Message { message: Message::Request { request, channel, .. }, .. } = asked {
//!         let answer = Bytes::from(request.to_ascii_uppercase());
//!         // Too late for a peer that has gone.
//!         let _ = host.with(|set, cx| set.shout(cx, |shout, cx| shout.send_response(channel, answer, cx)));
//!     }
//! }
//! # let poll = mio::Poll::new()?;
//! # let mut host = Host::builder(speech()).start(poll.registry())?;
//! # while let Some(event) = host.poll_event() {
//! #     handle(&mut host, event);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A crate of sockets needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod builder;
mod error;
mod event_loop;
#[cfg(feature = "engine")]
#[cfg_attr(docsrs, doc(cfg(feature = "engine")))]
pub mod executor;
mod host;
mod socket;
mod stream;
mod transport;
mod turn;

pub use builder::HostBuilder;
pub use error::StartError;
pub use event_loop::EventLoop;
pub use host::{Event, Host};
pub use stream::Stream;
pub use transport::{Listener, Socket, Tcp, Transport};
