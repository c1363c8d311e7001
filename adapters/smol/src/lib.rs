//! [drywire] hosts on smol: TCP with Nagle's algorithm off, the system's resolver, timers and tasks.
//!
//! Everything else is the [engine]'s: see [`Host`].
//!
//! ```
//! use drywire::{connection::Slot, multistream::ProtocolName, swarm, swarm::DialOptions, time::Instant};
//! use drywire_smol::{Host, SmolRuntime};
//! use smol::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # struct Nothing;
//! # impl swarm::Protocol for Nothing {
//! #     type Event = ();
//! #     fn start(&mut self, _: &mut swarm::Context<'_, ()>) {}
//! #     fn handle(&mut self, _: Slot, _: swarm::Input<'_>, _: &mut swarm::Context<'_, ()>) {}
//! #     fn poll_timeout(&self) -> Option<Instant> { None }
//! # }
//! # smol::block_on(async {
//! const HELLO: ProtocolName = ProtocolName::from_static("/hello/1.0.0");
//!
//! let server = Host::builder(SmolRuntime::global(), Nothing).start()?;
//! let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//! let mut hellos = server.accept(HELLO, 16)?;
//! let serving = smol::spawn(async move {
//!     while let Some((_peer, mut stream)) = hellos.next().await {
//!         stream.write_all(b"hello").await?;
//!         stream.close().await?;
//!     }
//!     Ok::<(), std::io::Error>(())
//! });
//!
//! let client = Host::builder(SmolRuntime::global(), Nothing).start()?;
//! let peer = client.dial(DialOptions::address(bound.address)).await?.peer;
//! let mut stream = client.open_stream(peer, HELLO).await?;
//! let mut heard = String::new();
//! stream.read_to_string(&mut heard).await?;
//! assert_eq!(heard, "hello");
//! client.shutdown().await;
//! server.shutdown().await;
//! serving.await?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Executors
//!
//! Sockets and timers are those of the reactor that all of smol shares; what can be chosen is the [executor](Spawn) that
//! runs a host's tasks. [`SmolRuntime::global`] takes smol's own, one thread in the background (or `SMOL_THREADS`);
//! [`SmolRuntime::on`] one of yours, and with it the threads that run it:
//!
//! ```
//! # use drywire::protocol::Standard;
//! use drywire_smol::{Host, SmolRuntime};
//! use std::sync::Arc;
//!
//! let executor = Arc::new(smol::Executor::new());
//! let runtime = SmolRuntime::on(&executor);
//! smol::block_on(executor.run(async {
//!     let host = Host::builder(runtime, Standard::default()).start()?;
//!     let bound = host.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//!     # assert!(bound.address.to_string().starts_with("/ip4/127.0.0.1/tcp/"));
//!     host.shutdown().await;
//!     Ok::<(), Box<dyn core::error::Error>>(())
//! }))?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! Any other executor on the same reactor needs an implementation of [`Spawn`], a few lines, and [`AsyncIoRuntime::new`].
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A crate of sockets needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(feature = "dns")]
mod dns;
mod readiness;
mod runtime;
mod socket;
mod spawn;

pub use drywire_engine::{self as engine, Host, Stream};
pub use runtime::{AsyncIoRuntime, AsyncIoTimer, SmolRuntime};
pub use socket::{AsyncIoListener, AsyncIoPipe};
pub use spawn::{GlobalExecutor, OwnExecutor, Spawn};
