//! What cannot be built, as values.

use crate::network::HostId;
use core::{fmt, net::SocketAddr};
use drywire::security;

/// Why a world cannot be built, or a command cannot be carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorldError {
    /// There is no such host in this world.
    UnknownHost(HostId),
    /// The host of this name runs no node.
    NoNode(String),
    /// The node of the host of this name was told not to listen.
    NoListener(String),
    /// Another host has this name.
    DuplicateName(String),
    /// Another host has this address.
    DuplicateAddress(core::net::IpAddr),
    /// A probability is not between 0 and 1, or a rate or size makes no sense.
    BadRate {
        /// Which number.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// No address of this family is left to give.
    OutOfAddresses,
    /// The host is down.
    HostDown(HostId),
    /// The host has no such listener.
    NotListening(SocketAddr),
    /// A node's keys could not be made.
    Keys(security::Error),
    /// The node has refused the command; its words.
    Refused(String),
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost(host) => write!(f, "there is no host {host}"),
            Self::NoNode(name) => write!(f, "{name} runs no node"),
            Self::NoListener(name) => write!(f, "{name} does not listen"),
            Self::DuplicateName(name) => write!(f, "two hosts are called {name:?}"),
            Self::DuplicateAddress(address) => write!(f, "two hosts have the address {address}"),
            Self::BadRate { name, value } => write!(f, "{name} cannot be {value}"),
            Self::OutOfAddresses => f.write_str("no address is left for another host"),
            Self::HostDown(host) => write!(f, "host {host} is down"),
            Self::NotListening(address) => write!(f, "nobody listens at {address}"),
            Self::Keys(error) => write!(f, "no keys: {error}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

impl core::error::Error for WorldError {}
