//! Reading a recording.

use super::file::{CONNECTION, END, FORMAT, MADE_BY, MAGIC, MAX_BODY, NAME, Running, SWARM, head};
use core::fmt;
use drywire::{
    connection::ConnectionId,
    recording::{Machine, Replay, ReplayError, Report, Script, VERSION},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    path::Path,
};

/// What is read of a file's head to say what is wrong with it, in bytes.
const LINE: usize = 200;

/// Why a file cannot be used as a recording.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordingError {
    /// It cannot be read at all.
    Io(io::Error),
    /// It is something else.
    NotARecording,
    /// It has another format: its number.
    OtherFormat(String),
    /// Another version of drywire wrote it, this one.
    OtherVersion(String),
    /// Its end is missing. It was not finished, or not copied whole.
    Truncated,
    /// It was altered.
    Corrupt,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the recording: {error}"),
            Self::NotARecording => f.write_str("not a recording of drywire"),
            Self::OtherFormat(format) => write!(
                f,
                "a recording of format {format:?}; this is drywire {VERSION}, for format {FORMAT}"
            ),
            Self::OtherVersion(version) => write!(
                f,
                "a recording of drywire {version}; this is drywire {VERSION}, and only the same version can run it again"
            ),
            Self::Truncated => f.write_str("the recording is truncated: its end is missing"),
            Self::Corrupt => f.write_str("the recording is corrupt"),
        }
    }
}

impl std::error::Error for RecordingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RecordingError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why a recording in a file could not be run again.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayFileError {
    /// The file.
    File(RecordingError),
    /// What is in it.
    Replay(ReplayError),
}

impl fmt::Display for ReplayFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplayFileError {}

impl From<RecordingError> for ReplayFileError {
    fn from(error: RecordingError) -> Self {
        Self::File(error)
    }
}

impl From<ReplayError> for ReplayFileError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

/// One entry in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedEntry<'a> {
    /// Of which host.
    pub host: u32,
    /// Of which of its machines.
    pub machine: Machine,
    /// As the machine gave it; [`Entry::decode`](drywire::recording::Entry::decode) reads it.
    pub bytes: &'a [u8],
}

/// A recording in a file: whole, unaltered, and of this version. See the [module](super).
#[derive(Debug)]
pub struct RecordingFile {
    records: Records,
    /// Where the records begin.
    start: u64,
    hosts: Vec<String>,
    entries: u64,
}

impl RecordingFile {
    /// Opens a recording, and reads all of it once: a recording that is truncated, altered or for another version is refused
    /// here, and nothing of it is run.
    ///
    /// # Errors
    /// [`RecordingError`] tells what is wrong.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut records = Records::new(BufReader::new(file), len)?;
        let start = records.file.stream_position()?;
        let (mut hosts, mut entries) = (Vec::new(), 0u64);
        while records.advance()? {
            if let Some(name) = records.name() {
                let name = str::from_utf8(name).map_err(|_| RecordingError::Corrupt)?;
                hosts.push(name.to_owned());
            } else {
                records.entry()?;
                entries = entries.saturating_add(1);
            }
        }
        let mut recording = Self {
            records,
            start,
            hosts,
            entries,
        };
        recording.rewind()?;
        Ok(recording)
    }

    /// The names of the hosts.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// How many entries there are.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The next entry, `None` at the end.
    ///
    /// # Errors
    /// If the file has changed since it was opened, or can no longer be read.
    pub fn next_entry(&mut self) -> Result<Option<RecordedEntry<'_>>, RecordingError> {
        while self.records.advance()? {
            if self.records.name().is_none() {
                return self.records.entry().map(Some);
            }
        }
        Ok(None)
    }

    /// Goes back to the first entry.
    ///
    /// # Errors
    /// If the file can no longer be read.
    pub fn rewind(&mut self) -> Result<(), RecordingError> {
        self.records.file.seek(io::SeekFrom::Start(self.start))?;
        self.records.running = Running::default();
        self.records.running.add(head().as_bytes());
        self.records.count = 0;
        Ok(())
    }

    /// Runs everything again from the first entry, see [`Replay`].
    ///
    /// # Errors
    /// If the file cannot be read, or a machine did something else than recorded.
    pub fn replay<S: Script>(&mut self, script: S) -> Result<Report, ReplayFileError> {
        self.rewind()?;
        let mut replay = Replay::with_swarms(script);
        while let Some(entry) = self.next_entry()? {
            replay.apply(entry.host, entry.machine, entry.bytes)?;
        }
        Ok(replay.finish()?)
    }
}

/// The records of a file, one at a time.
#[derive(Debug)]
struct Records {
    file: BufReader<File>,
    /// The whole file's.
    len: u64,
    running: Running,
    count: u64,
    /// The body of the last one.
    body: Vec<u8>,
}

impl Records {
    /// Reads the head.
    fn new(mut file: BufReader<File>, len: u64) -> Result<Self, RecordingError> {
        let expected = head();
        let mut found = vec![0; expected.len()];
        let read = read_up_to(&mut file, &mut found)?;
        found.truncate(read);
        if found != expected.as_bytes() {
            return Err(wrong_head(&found, &mut file, &expected)?);
        }
        let mut running = Running::default();
        running.add(&found);
        Ok(Self {
            file,
            len,
            running,
            count: 0,
            body: Vec::new(),
        })
    }

    /// Reads the next body; false at the end.
    fn advance(&mut self) -> Result<bool, RecordingError> {
        let len = u32::from_le_bytes(self.read()?);
        let check = self.running.check();
        if u32::from_le_bytes(self.read()?) != check {
            return Err(RecordingError::Corrupt);
        }
        if len == END {
            let count = u64::from_le_bytes(self.read()?);
            let whole = self.file.fill_buf()?.is_empty() && count == self.count;
            return if whole {
                Ok(false)
            } else {
                Err(RecordingError::Corrupt)
            };
        }
        if len > MAX_BODY {
            return Err(RecordingError::Corrupt);
        }
        if u64::from(len) > self.len {
            return Err(RecordingError::Truncated);
        }
        self.body.resize(usize::try_from(len).unwrap_or(0), 0);
        self.file.read_exact(&mut self.body).map_err(cut)?;
        self.running.add(&self.body);
        self.count = self.count.saturating_add(1);
        Ok(true)
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], RecordingError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(cut)?;
        self.running.add(&bytes);
        Ok(bytes)
    }

    /// The name in the body, if that is what it holds.
    fn name(&self) -> Option<&[u8]> {
        match self.body.split_at_checked(5)? {
            ([.., NAME], name) => Some(name),
            _ => None,
        }
    }

    /// The entry in the body.
    fn entry(&self) -> Result<RecordedEntry<'_>, RecordingError> {
        let Some((host, rest)) = self.body.split_first_chunk() else {
            return Err(RecordingError::Corrupt);
        };
        let host = u32::from_le_bytes(*host);
        let (machine, bytes) = match rest.split_first() {
            Some((&SWARM, bytes)) => (Machine::Swarm, bytes),
            Some((&CONNECTION, rest)) => {
                let (id, bytes) = rest.split_first_chunk().ok_or(RecordingError::Corrupt)?;
                let id = ConnectionId::new(u64::from_le_bytes(*id));
                (Machine::Connection(id), bytes)
            }
            _ => return Err(RecordingError::Corrupt),
        };
        Ok(RecordedEntry {
            host,
            machine,
            bytes,
        })
    }
}

fn cut(error: io::Error) -> RecordingError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        RecordingError::Truncated
    } else {
        RecordingError::Io(error)
    }
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0usize;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => len = len.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// What a head says that is not the one expected.
fn wrong_head(found: &[u8], file: &mut impl Read, expected: &str) -> io::Result<RecordingError> {
    if expected.as_bytes().starts_with(found) {
        return Ok(if found.is_empty() {
            RecordingError::NotARecording
        } else {
            RecordingError::Truncated
        });
    }
    let mut more = found.to_vec();
    let mut rest = [0; LINE];
    let len = read_up_to(file, &mut rest)?;
    more.extend_from_slice(rest.get(..len).unwrap_or_default());
    let text = String::from_utf8_lossy(&more);
    let mut lines = text.lines();
    let Some(format) = lines.next().and_then(|line| line.strip_prefix(MAGIC)) else {
        return Ok(RecordingError::NotARecording);
    };
    if format != FORMAT {
        return Ok(RecordingError::OtherFormat(format.to_owned()));
    }
    Ok(
        match lines.next().and_then(|line| line.strip_prefix(MADE_BY)) {
            Some(version) if version != VERSION => RecordingError::OtherVersion(version.to_owned()),
            _ => RecordingError::Corrupt,
        },
    )
}
