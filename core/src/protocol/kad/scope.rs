//! Which addresses a DHT is about.

use crate::multiaddr::Multiaddr;
use core::net::IpAddr;

/// Which addresses are told, believed, kept and dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AddressScope {
    /// All that are no multicast and not unspecified.
    #[default]
    Any,
    /// Those of the public internet, and names of hosts: no loopback, private, link-local or relayed ones.
    Public,
    /// Those of private networks and this machine.
    Private,
}

impl AddressScope {
    /// Whether an address is within it.
    #[must_use]
    pub fn allows(self, address: &Multiaddr) -> bool {
        let survey = address.survey();
        let unusable = |ip: IpAddr| ip.is_multicast() || ip.is_unspecified();
        if survey.ip.is_some_and(unusable) || survey.is_port_zero {
            return false;
        }
        match self {
            Self::Any => true,
            Self::Public => !survey.is_relayed && survey.is_global,
            Self::Private => !survey.is_relayed && (address.is_private() || address.is_loopback()),
        }
    }
}
