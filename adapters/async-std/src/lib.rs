//! [drywire](drywire_smol::engine) hosts on async-std.
//!
//! **async-std is discontinued** ([RUSTSEC-2025-0052](https://rustsec.org/advisories/RUSTSEC-2025-0052)). This crate is for
//! programs that still are on it; new ones take [`drywire_smol`], which its own authors name as the successor. The code is
//! the same there: this crate adds no more than the [executor](AsyncStdExecutor), for the reactor beneath is one, and a
//! program may use both crates while it moves from one to the other.
//!
//! ```
//! use async_std::{io::{ReadExt, WriteExt}, task};
//! use drywire::{connection::Slot, multistream::ProtocolName, swarm, swarm::DialOptions, time::Instant};
//! use drywire_async_std::{AsyncStdRuntime, Host};
//!
//! # struct Nothing;
//! # impl swarm::Protocol for Nothing {
//! #     type Event = ();
//! #     fn start(&mut self, _: &mut swarm::Context<'_, ()>) {}
//! #     fn handle(&mut self, _: Slot, _: swarm::Input<'_>, _: &mut swarm::Context<'_, ()>) {}
//! #     fn poll_timeout(&self) -> Option<Instant> { None }
//! # }
//! # task::block_on(async {
//! const HELLO: ProtocolName = ProtocolName::from_static("/hello/1.0.0");
//!
//! let server = Host::builder(AsyncStdRuntime::default(), Nothing).start()?;
//! let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//! let mut hellos = server.accept(HELLO, 16)?;
//! let serving = task::spawn(async move {
//!     while let Some((_peer, mut stream)) = hellos.next().await {
//!         stream.write_all(b"hello").await?;
//!         stream.finish()?;
//!     }
//!     Ok::<(), std::io::Error>(())
//! });
//!
//! let client = Host::builder(AsyncStdRuntime::default(), Nothing).start()?;
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
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A crate of sockets needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

use core::future::Future;
use drywire_smol::{AsyncIoRuntime, Spawn};

pub use drywire_smol::{AsyncIoListener, AsyncIoPipe, AsyncIoTimer, Host, Stream, engine};

/// async-std as the engine's runtime.
pub type AsyncStdRuntime = AsyncIoRuntime<AsyncStdExecutor>;

/// async-std's executor, as of [`async_std::task::spawn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncStdExecutor;

impl Spawn for AsyncStdExecutor {
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Detached: dropping the handle lets the task run on.
        drop(async_std::task::spawn(task));
    }
}
