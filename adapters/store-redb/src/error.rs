//! Why a store cannot be opened.

use core::fmt;
use redb::{DatabaseError, StorageError};
use std::io;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has it open, in this process or another.
    Locked,
    /// It was written by a newer version, whose files have this number.
    UnknownFormat(u64),
    /// It is not such a file, or not as it was written. It stays as it is, for the owner to look at or to remove.
    Corrupt(String),
    /// The file, its directory, or the thread cannot be had.
    Io(io::ErrorKind),
    /// Anything else.
    Other(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("the file is open elsewhere"),
            Self::UnknownFormat(number) => write!(f, "the file has the unknown format {number}"),
            Self::Corrupt(why) => write!(f, "the file is corrupt: {why}"),
            Self::Io(kind) => write!(f, "the file cannot be used: {kind}"),
            Self::Other(why) => write!(f, "the file cannot be used: {why}"),
        }
    }
}

impl core::error::Error for OpenError {}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::Error> for OpenError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Locked,
            // What redb says of a file that does not begin as its own do.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Corrupt(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error.kind()),
            error @ (redb::Error::Corrupted(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted) => Self::Corrupt(error.to_string()),
            error => Self::Other(error.to_string()),
        }
    }
}
