//! Recordings in files: what went in and out of the machines of hosts, to run them again.
//!
//! What a recording is, and what runs again from it, says [`drywire::recording`]. Here is where it lies: a [`FileRecorder`]
//! writes it, a [`RecordingFile`] reads it. Recording a host of whatever kind is a matter of its configuration:
//!
//! ```
//! use drywire::{
//!     identity::Keypair, node::Node, protocol::Standard, recording::Script, seed::Seed,
//!     swarm::{Config, Swarm},
//! };
//! use drywire_system::{now, recording::{FileRecorder, RecordingFile}, unix};
//!
//! # let directory = std::env::temp_dir().join(format!("drywire-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! let path = directory.join("a-host.recording");
//! # let _ = std::fs::remove_file(&path);
//! let recorder = FileRecorder::create(&path)?;
//! let mut config = Config::default();
//! config.recorder = Some(recorder.host("server"));
//! let seed = Seed::for_tests(1);
//! let keypair = Keypair::ed25519_from_seed(&seed);
//! let mut node = Node::new(Swarm::new(config, keypair, Standard::default(), seed, now(), unix())?);
//! node.listen(now(), "/ip4/127.0.0.1/tcp/4001".parse().unwrap())?;
//! while node.poll_action().is_some() {}
//! drop(node);
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
//! assert_eq!((report.swarms, report.connections), (1, 0));
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
