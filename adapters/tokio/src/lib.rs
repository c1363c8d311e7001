//! [drywire] hosts on tokio: TCP with Nagle's algorithm off, the system's resolver, timers and tasks.
//!
//! Everything else is the [engine]'s: see [`Host`].
//!
//! ```
//! use drywire::{connection::Slot, multistream::ProtocolName, swarm, swarm::DialOptions, time::Instant};
//! use drywire_tokio::{Host, TokioRuntime};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # struct Nothing;
//! # impl swarm::Protocol for Nothing {
//! #     type Event = ();
//! #     fn start(&mut self, _: &mut swarm::Context<'_, ()>) {}
//! #     fn handle(&mut self, _: Slot, _: swarm::Input<'_>, _: &mut swarm::Context<'_, ()>) {}
//! #     fn poll_timeout(&self) -> Option<Instant> { None }
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! const HELLO: ProtocolName = ProtocolName::from_static("/hello/1.0.0");
//!
//! let server = Host::builder(TokioRuntime::current()?, Nothing).start()?;
//! let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//! let mut hellos = server.accept(HELLO, 16)?;
//! tokio::spawn(async move {
//!     while let Some((_peer, mut stream)) = hellos.next().await {
//!         stream.write_all(b"hello").await?;
//!         stream.shutdown().await?;
//!     }
//!     Ok::<(), std::io::Error>(())
//! });
//!
//! let client = Host::builder(TokioRuntime::current()?, Nothing).start()?;
//! let peer = client.dial(DialOptions::address(bound.address)).await?.peer;
//! let mut stream = client.open_stream(peer, HELLO).await?;
//! let mut heard = String::new();
//! stream.read_to_string(&mut heard).await?;
//! assert_eq!(heard, "hello");
//! client.shutdown().await;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A crate of sockets needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod runtime;

pub use drywire_engine::{self as engine, Host, Stream};
pub use runtime::{NoRuntime, TokioListener, TokioPipe, TokioRuntime, TokioTimer};
