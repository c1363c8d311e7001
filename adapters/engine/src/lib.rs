//! The runtime-neutral async driver of [drywire].
//!
//! A [`Host`] is a node: a swarm, its connections, and the tasks that drive them on whatever async runtime there is. The
//! application opens and accepts [`Stream`]s; protocols that are machines of the core run inside the swarm.
//!
//! ```
//! use drywire::{connection::Slot, multistream::ProtocolName, swarm, swarm::DialOptions, time::Instant};
//! use drywire_engine::Host;
//! use drywire_sim::World;
//!
//! # struct Nothing;
//! # impl swarm::Protocol for Nothing {
//! #     type Event = ();
//! #     fn start(&mut self, _: &mut swarm::Context<'_, ()>) {}
//! #     fn handle(&mut self, _: Slot, _: swarm::Input<'_>, _: &mut swarm::Context<'_, ()>) {}
//! #     fn poll_timeout(&self) -> Option<Instant> { None }
//! # }
//! const HELLO: ProtocolName = ProtocolName::from_static("/hello/1.0.0");
//!
//! // A world of virtual time and pipes; with `drywire-tokio`, the real one.
//! let mut world = World::new(1);
//! let runtime = world.add_runtime("machine")?;
//! let heard = world.block_on(async {
//!     let server = Host::builder(runtime.clone(), Nothing).start()?;
//!     let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//!     let mut hellos = server.accept(HELLO, 16)?;
//!
//!     let client = Host::builder(runtime.clone(), Nothing).start()?;
//!     let dialed = client.dial(DialOptions::address(bound.address)).await?;
//!     let mut stream = client.open_stream(dialed.peer, HELLO).await?;
//!     stream.write_bytes(&mut "hello".into()).await?;
//!     stream.finish()?;
//!
//!     let (_, mut stream) = hellos.next().await.ok_or("the host is gone")?;
//!     Ok::<_, Box<dyn core::error::Error>>(stream.read_bytes(100).await?)
//! })??;
//! assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # How it runs
//!
//! There is one task for each connection, which owns its socket and nothing else does; and one for the swarm, which
//! listens, dials and looks names up. The state of each is behind a mutex of its own, and no two of them are ever held
//! together. Streams act on their connection directly, in the task that reads or writes them; bulk data never visits the
//! swarm. Messages between a connection and the swarm lie in inboxes whose size the core bounds by contract.
//!
//! | module | what lives there |
//! |---|---|
//! | `runtime` | [`Runtime`]: what is needed of an async runtime |
//! | `host`, `builder`, `state`, `events`, `incoming` | the application's handles, and what they share with the swarm's task |
//! | `operations`, `taps` | operations of protocols as futures and streams; events on their way to those who wait for them |
//! | `requests` | requests and responses as futures and streams |
//! | `kad` | a DHT as futures and streams |
//! | `swarm` | the task of the swarm |
//! | `driver` | the task of a connection |
//! | `connection`, `stream` | a connection as its driver and its streams share it |
//! | `recording` | with that feature: recordings of all of this in files |
//! | `router`, `notify` | who is connected, inboxes, spare buffers; waking without losing or repeating a wake-up |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// This crate is made of tasks, locks and sockets: it needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod builder;
mod connection;
mod driver;
mod error;
mod events;
mod host;
mod incoming;
mod kad;
mod notify;
mod opening;
mod operations;
#[cfg(feature = "recording")]
#[cfg_attr(docsrs, doc(cfg(feature = "recording")))]
pub mod recording {
    //! Recordings in files: what went in and out of the machines of hosts, to run them again. A host is recorded by its
    //! [configuration](drywire::swarm::Config::recorder); the files are those of every other kind of host.
    pub use drywire_system::recording::*;
}
mod requests;
mod router;
mod runtime;
mod state;
mod stream;
mod streams;
mod swarm;
mod taps;

pub use builder::HostBuilder;
pub use error::{AcceptError, ConnectError, ListenError, OpenStreamError, StartError, WriteError};
pub use events::Events;
pub use host::{AcceptOptions, Bound, Dialed, Host};
pub use incoming::IncomingStreams;
pub use kad::{DualHandle, DualQuery, KadError, KadHandle, KadQuery};
pub use operations::{BeginError, Operating, Operation, Operations};
pub use requests::{
    IncomingBodies, IncomingRequest, IncomingRequests, RequestError, Requests, RespondError,
    Responder,
};
pub use runtime::{Listener, Pipe, Runtime, Timer};
pub use stream::Stream;
