//! Why a host does not start.

use core::fmt;
use drywire::security;
use std::io;

/// Why a host does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The operating system has no randomness to give, or the poll cannot be shared.
    Io(io::Error),
    /// Own misuse: no configuration was given, and without a crypto backend compiled in there is no default one.
    NoCryptoBackend,
    /// The crypto backend cannot make this node's keys.
    Security(security::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the operating system: {error}"),
            Self::NoCryptoBackend => {
                f.write_str("no crypto backend is compiled in, and no configuration was given")
            }
            Self::Security(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for StartError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
