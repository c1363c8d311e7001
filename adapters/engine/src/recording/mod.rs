//! Recordings in files: what went in and out of the machines of hosts, to run them again.
//!
//! What a recording is, and what runs again from it, says [`drywire::recording`]. Here is where it lies: a [`FileRecorder`]
//! writes it, a [`RecordingFile`] reads it. Recording a host of whatever runtime is a matter of its configuration:
//!
//! ```
//! use drywire::{protocol::Standard, recording::Script, swarm::{Config, DialOptions}};
//! use drywire_engine::{Host, recording::{FileRecorder, RecordingFile}};
//! use drywire_sim::World;
//!
//! # let directory = std::env::temp_dir().join(format!("drywire-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! let path = directory.join("two-hosts.recording");
//! # let _ = std::fs::remove_file(&path);
//! let recorder = FileRecorder::create(&path)?;
//! let mut world = World::new(1);
//! let runtime = world.add_runtime("machine")?;
//! let host = |name| {
//!     let mut config = Config::default();
//!     config.recorder = Some(recorder.host(name));
//!     Host::builder(runtime.clone(), Standard::default()).config(config).start()
//! };
//! let (server, client) = (host("server")?, host("client")?);
//! world.block_on(async {
//!     let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
//!     client.dial(DialOptions::address(bound.address)).await?;
//!     client.shutdown().await;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! recorder.finish()?;
//!
//! struct Standards;
//!
//! impl Script for Standards {
//!     type Protocols = Standard;
//!     fn protocols(&mut self, _host: u32) -> Option<Standard> {
//!         Some(Standard::default())
//!     }
//! }
//!
//! let report = RecordingFile::open(&path)?.replay(Standards)?;
//! assert_eq!((report.swarms, report.connections), (2, 2));
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The file
//!
//! **It holds the keys of the hosts**, and says so in its first lines, which are text. It is created readable by its owner
//! alone. It is for the version of drywire that wrote it. Its integers are little-endian; `u64` hashes are SipHash-1-3 with
//! keys of zero.
//!
//! | part | bytes |
//! |---|---|
//! | head | three lines of text: the format with its number, the version, what the file holds |
//! | record, any number | `u32` length of its body, `u32` check, body |
//! | end | `u32` 0xffff_ffff, `u32` check, `u64` number of records |
//!
//! A check is the lower half of the hash of everything before it, from the head on. A body is a `u32` host, then a byte: 0 and
//! an entry of its swarm; 1, a `u64` connection and an entry of that; or 2 and the name of the host.

mod file;
mod reader;
mod writer;

pub use reader::{RecordedEntry, RecordingError, RecordingFile, ReplayFileError};
pub use writer::FileRecorder;
