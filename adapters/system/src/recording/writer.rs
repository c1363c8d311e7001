//! Writing a recording.

use super::file::{CONNECTION, END, MAX_BODY, NAME, Running, SWARM, head};
use core::mem;
use drywire::recording::{Machine, Recorder, SharedRecorder};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes that wait to be written together.
const BUFFER: usize = 64 * 1024;

/// Writes a recording to a file, of one host or of several. See the [module](super).
///
/// It ends with [`finish`](Self::finish), or when it is dropped; what machines still tell then is not recorded. A process that
/// dies before leaves a recording that is truncated.
///
/// Machines write from within their calls, 64 KiB at a time: a slow disk makes a slow node. What goes wrong with the file is
/// kept for [`finish`](Self::finish); the node goes on.
#[derive(Debug)]
pub struct FileRecorder {
    shared: Arc<Mutex<Output>>,
}

#[derive(Debug)]
struct Output {
    /// `None` after the end.
    file: Option<BufWriter<File>>,
    running: Running,
    records: u64,
    hosts: u32,
    /// The first thing that went wrong; nothing was written after it.
    error: Option<io::Error>,
}

impl FileRecorder {
    /// Begins a recording in a new file, which only its owner may read (where the system knows of owners).
    ///
    /// # Errors
    /// If there is such a file already, or it cannot be written.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut output = Output {
            file: Some(BufWriter::with_capacity(BUFFER, options.open(path)?)),
            running: Running::default(),
            records: 0,
            hosts: 0,
            error: None,
        };
        output.put(&[head().as_bytes()]);
        // What is wrong with the file shows now, not after hours.
        output.flush();
        match output.error.take() {
            Some(error) => Err(error),
            None => Ok(Self {
                shared: Arc::new(Mutex::new(output)),
            }),
        }
    }

    /// What records one more host, for its [`Config::recorder`](drywire::swarm::Config::recorder). Hosts are numbered in this
    /// order, from 0; `name` is for whoever reads the recording.
    #[must_use]
    pub fn host(&self, name: &str) -> SharedRecorder {
        let mut output = lock(&self.shared);
        let number = output.hosts;
        output.hosts = number.saturating_add(1);
        output.record(number, &[&[NAME], name.as_bytes()]);
        SharedRecorder::new(HostRecorder {
            shared: self.shared.clone(),
            number,
        })
    }

    /// Ends the recording. Returns how many records it has.
    ///
    /// # Errors
    /// The first thing that went wrong with the file since it was created.
    pub fn finish(self) -> io::Result<u64> {
        let mut output = lock(&self.shared);
        output.end();
        match output.error.take() {
            Some(error) => Err(error),
            None => Ok(output.records),
        }
    }
}

impl Drop for FileRecorder {
    fn drop(&mut self) {
        lock(&self.shared).end();
    }
}

/// Whether or not another holder panicked: the output is whole between statements.
fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

struct HostRecorder {
    shared: Arc<Mutex<Output>>,
    number: u32,
}

impl Recorder for HostRecorder {
    fn record(&self, machine: Machine, entry: &[u8]) {
        let mut output = lock(&self.shared);
        match machine {
            Machine::Swarm => output.record(self.number, &[&[SWARM], entry]),
            Machine::Connection(id) => {
                let id = id.number().to_le_bytes();
                output.record(self.number, &[&[CONNECTION], &id, entry]);
            }
        }
    }
}

impl Output {
    fn record(&mut self, host: u32, parts: &[&[u8]]) {
        if self.error.is_some() || self.file.is_none() {
            return;
        }
        let parts_len = parts
            .iter()
            .fold(4usize, |sum, part| sum.saturating_add(part.len()));
        let Some(len) = u32::try_from(parts_len).ok().filter(|len| *len <= MAX_BODY) else {
            let text = "an entry of more than 1 GiB does not fit in a recording";
            self.error = Some(io::Error::new(io::ErrorKind::InvalidInput, text));
            return;
        };
        self.begin(len);
        self.put(&[&host.to_le_bytes()]);
        self.put(parts);
        self.records = self.records.saturating_add(1);
    }

    /// A length and its check.
    fn begin(&mut self, len: u32) {
        self.put(&[&len.to_le_bytes()]);
        let check = self.running.check();
        self.put(&[&check.to_le_bytes()]);
    }

    fn put(&mut self, parts: &[&[u8]]) {
        let Some(file) = &mut self.file else { return };
        for part in parts {
            if self.error.is_none() {
                self.error = file.write_all(part).err();
                self.running.add(part);
            }
        }
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && self.error.is_none()
        {
            self.error = file.flush().err();
        }
    }

    fn end(&mut self) {
        if self.file.is_none() {
            return;
        }
        if self.error.is_none() {
            self.begin(END);
            let records = self.records;
            self.put(&[&records.to_le_bytes()]);
            self.flush();
        }
        if let Some(file) = mem::take(&mut self.file) {
            // What could not be written is not tried again.
            let _ = file.into_parts();
        }
    }
}
