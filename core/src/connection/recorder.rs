//! Where a machine writes down what goes in and out of it, for whoever wants to keep it.

use super::id::ConnectionId;
use alloc::{boxed::Box, collections::VecDeque, string::String, sync::Arc, vec::Vec};
use core::{fmt, fmt::Write as _, hash::Hasher as _};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// How much of its memory for writing entries a machine keeps, in bytes.
const KEPT_ROOM: usize = 4 * 1024;

/// Which machine of a node an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// The swarm.
    Swarm,
    /// One of its connections.
    Connection(ConnectionId),
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swarm => f.write_str("swarm"),
            Self::Connection(id) => fmt::Display::fmt(id, f),
        }
    }
}

/// Takes what machines write down: a file, a hash, a test.
///
/// Machines of one node may run on several threads and call at the same time. The entries of each machine come in their
/// order, each from within the call that it tells of: take it and return.
pub trait Recorder: Send + Sync {
    /// One entry of `machine`, whole. [`Entry::decode`](crate::recording::Entry::decode) reads it.
    fn record(&self, machine: Machine, entry: &[u8]);
}

/// A [`Recorder`], shared by the machines of a node. Two are equal if they are the same one.
#[derive(Clone)]
pub struct SharedRecorder(Arc<dyn Recorder>);

impl SharedRecorder {
    /// Shares `recorder`.
    #[must_use]
    pub fn new(recorder: impl Recorder + 'static) -> Self {
        Self(Arc::new(recorder))
    }
}

impl From<Arc<dyn Recorder>> for SharedRecorder {
    fn from(recorder: Arc<dyn Recorder>) -> Self {
        Self(recorder)
    }
}

impl Recorder for SharedRecorder {
    fn record(&self, machine: Machine, entry: &[u8]) {
        self.0.record(machine, entry);
    }
}

impl PartialEq for SharedRecorder {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl Eq for SharedRecorder {}

impl fmt::Debug for SharedRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRecorder(..)")
    }
}

/// Stands for bytes that are not kept: their number, and a 64-bit hash of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many bytes.
    pub len: u64,
    /// SipHash-1-3 of them, with keys of zero.
    pub hash: u64,
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(bytes);
        Self {
            len: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            hash: hasher.finish(),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ({:016x})", self.len, self.hash)
    }
}

/// The encoding of the entry that every machine ends with.
pub(crate) const END: &[u8] = &[0];

#[derive(Debug)]
enum Sink {
    Recorder(SharedRecorder),
    /// Kept for whoever runs the machine again.
    Kept(VecDeque<Vec<u8>>),
}

#[derive(Debug)]
struct Writer {
    sink: Sink,
    machine: Machine,
    /// Memory of entries and texts, used again and again.
    entry: Vec<u8>,
    text: String,
}

/// The place on a machine where it can be listened to. Usually nobody does.
#[derive(Debug, Default)]
pub(crate) struct Tap(Option<Box<Writer>>);

impl Tap {
    fn with(sink: Sink, machine: Machine) -> Self {
        Self(Some(Box::new(Writer {
            sink,
            machine,
            entry: Vec::new(),
            text: String::new(),
        })))
    }

    pub(crate) const fn off() -> Self {
        Self(None)
    }

    pub(crate) fn new(recorder: Option<SharedRecorder>, machine: Machine) -> Self {
        recorder.map_or_else(Self::default, |recorder| {
            Self::with(Sink::Recorder(recorder), machine)
        })
    }

    /// Keeps the entries instead of giving them to a recorder.
    pub(crate) fn keeping(machine: Machine) -> Self {
        Self::with(Sink::Kept(VecDeque::new()), machine)
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The oldest kept entry.
    pub(crate) fn take_kept(&mut self) -> Option<Vec<u8>> {
        match &mut self.0.as_mut()?.sink {
            Sink::Kept(entries) => entries.pop_front(),
            Sink::Recorder(_) => None,
        }
    }

    pub(crate) fn write(&mut self, entry: &impl Serialize) {
        if let Some(writer) = &mut self.0 {
            writer.encode(entry);
            writer.give();
        }
    }

    /// The text of `value`, for an entry; give it back with [`reuse`](Self::reuse).
    pub(crate) fn text(&mut self, value: &impl fmt::Debug) -> String {
        let mut text = match &mut self.0 {
            Some(writer) => core::mem::take(&mut writer.text),
            None => String::new(),
        };
        text.clear();
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
        text
    }

    /// Keeps the memory of a [`text`](Self::text) for the next one.
    pub(crate) fn reuse(&mut self, text: String) {
        if let Some(writer) = &mut self.0
            && text.capacity() <= KEPT_ROOM
        {
            writer.text = text;
        }
    }

    /// Stands for `value` in its encoding.
    pub(crate) fn digest(&mut self, value: &impl Serialize) -> Digest {
        match &mut self.0 {
            Some(writer) => {
                writer.encode(value);
                Digest::of(&writer.entry)
            }
            None => Digest::of(&[]),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(writer) = &mut self.0 {
            writer.entry.clear();
            writer.entry.extend_from_slice(END);
            writer.give();
        }
    }
}

impl Writer {
    fn encode(&mut self, value: &impl Serialize) {
        self.entry.clear();
        // Nothing that is written here refuses to be, and a vector takes everything.
        let _ = postcard::serialize_with_flavor(value, Appending(&mut self.entry));
    }

    fn give(&mut self) {
        match &mut self.sink {
            Sink::Recorder(recorder) => recorder.record(self.machine, &self.entry),
            Sink::Kept(entries) => entries.push_back(self.entry.clone()),
        }
        if self.entry.capacity() > KEPT_ROOM {
            self.entry = Vec::new();
        }
    }
}

/// Encodes to the end of a vector.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
