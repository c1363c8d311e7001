//! Where an address leads: its socket, its name, and whether others can reach it.

use super::{Multiaddr, Protocol, plain::Plain};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What runs directly over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpTransport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Multiaddr {
    /// The address of a TCP socket, `/ip4/../tcp/..` or `/ip6/../tcp/..`. Scope and flow label are dropped.
    #[must_use]
    pub fn from_tcp(socket: SocketAddr) -> Self {
        Self::from_socket(socket, IpTransport::Tcp)
    }

    /// The address of a TCP or UDP socket. The scope and flow label of IPv6 are dropped.
    #[must_use]
    pub fn from_socket(socket: SocketAddr, transport: IpTransport) -> Self {
        let port = match transport {
            IpTransport::Tcp => Protocol::Tcp(socket.port()),
            IpTransport::Udp => Protocol::Udp(socket.port()),
        };
        Self::from_known([socket.ip().into(), port])
    }

    /// The IP address, port and transport this address starts with, which for a relayed address is the relay's.
    ///
    /// `None` if it starts with anything else, a zone included: a socket cannot be opened without it.
    #[must_use]
    pub fn socket_addr(&self) -> Option<(IpAddr, u16, IpTransport)> {
        let mut components = self.iter();
        let ip = components.next().and_then(|first| first.ip())?;
        match components.next()? {
            Protocol::Tcp(port) => Some((ip, port, IpTransport::Tcp)),
            Protocol::Udp(port) => Some((ip, port, IpTransport::Udp)),
            _ => None,
        }
    }

    /// The IP address this address starts with, after a zone if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        if let Some(plain) = Plain::read(self.as_bytes()) {
            return Some(plain.ip);
        }
        let mut components = self.iter();
        match components.next()? {
            Protocol::Ip6zone(_) => components.next()?.ip(),
            first => first.ip(),
        }
    }

    /// The name this address starts with: the value of `dns`, `dns4`, `dns6` or `dnsaddr`.
    #[must_use]
    pub fn dns_name(&self) -> Option<&str> {
        if Plain::read(self.as_bytes()).is_some() {
            return None;
        }
        match self.iter().next()? {
            Protocol::Dns(name)
            | Protocol::Dns4(name)
            | Protocol::Dns6(name)
            | Protocol::Dnsaddr(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the way leads through a relay.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        Plain::read(self.as_bytes()).is_none()
            && self.iter().any(|protocol| protocol == Protocol::P2pCircuit)
    }

    /// Whether this leads to the own machine: 127.0.0.0/8, `::1`, `localhost` (RFC 6761), `memory` and `unix`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match (self.ip(), self.dns_name()) {
            (Some(ip), _) => unwrapped(ip).is_loopback(),
            (_, Some(name)) => is_below(name, "localhost"),
            _ => matches!(
                self.iter().next(),
                Some(Protocol::Memory(_) | Protocol::Unix(_))
            ),
        }
    }

    /// Whether the IP address is unspecified (`0.0.0.0`, `::`): to listen on, never to dial.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| unwrapped(ip).is_unspecified())
    }

    /// Whether the IP address is a multicast one.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.ip().is_some_and(|ip| unwrapped(ip).is_multicast())
    }

    /// Whether this leads into a private network: RFC 1918, shared (100.64.0.0/10), link-local, unique local
    /// (`fc00::/7`), or a name below `local`, `internal` or `home.arpa`. Loopback is not counted.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match (self.ip().map(unwrapped), self.dns_name()) {
            (Some(IpAddr::V4(ip)), _) => is_private4(ip),
            (Some(IpAddr::V6(ip)), _) => ip.is_unique_local() || ip.is_unicast_link_local(),
            (_, Some(name)) => PRIVATE_NAMES.iter().any(|parent| is_below(name, parent)),
            _ => false,
        }
    }

    /// Whether anybody on the internet might be able to dial this: a globally routable IP address, or a name that is
    /// not of special use. For a relayed address that is the relay's.
    #[must_use]
    pub fn is_global(&self) -> bool {
        match (self.ip().map(unwrapped), self.dns_name()) {
            (Some(ip), _) => is_global_ip(ip),
            (_, Some(name)) => !PRIVATE_NAMES
                .iter()
                .chain(SPECIAL_NAMES)
                .any(|parent| is_below(name, parent)),
            _ => false,
        }
    }
}

/// Where an address leads, found in one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survey {
    /// The IP address it starts with, without a mapping into IPv6.
    pub(crate) ip: Option<IpAddr>,
    /// See [`Multiaddr::is_global`].
    pub(crate) is_global: bool,
    /// See [`Multiaddr::is_relayed`].
    pub(crate) is_relayed: bool,
    /// It starts with a socket whose port is 0.
    pub(crate) is_port_zero: bool,
}

impl Multiaddr {
    /// What [`ip`](Self::ip), [`is_global`](Self::is_global), [`is_relayed`](Self::is_relayed) and
    /// [`socket_addr`](Self::socket_addr) tell, for those who ask of many addresses.
    pub(crate) fn survey(&self) -> Survey {
        if let Some(Plain { ip, port }) = Plain::read(self.as_bytes()) {
            let ip = unwrapped(ip);
            return Survey {
                ip: Some(ip),
                is_global: is_global_ip(ip),
                is_relayed: false,
                is_port_zero: port == 0,
            };
        }
        let mut components = self.iter();
        let first = components.next();
        let zoned = matches!(first, Some(Protocol::Ip6zone(_)));
        let start = if zoned { components.next() } else { first };
        let ip = start.as_ref().and_then(Protocol::ip).map(unwrapped);
        let is_global = match ip {
            Some(ip) => is_global_ip(ip),
            None => self.is_global(),
        };
        let second = components.next();
        let is_port_zero =
            !zoned && ip.is_some() && matches!(second, Some(Protocol::Tcp(0) | Protocol::Udp(0)));
        let is_circuit = |protocol: &Protocol<'_>| *protocol == Protocol::P2pCircuit;
        let is_relayed = start.as_ref().is_some_and(is_circuit)
            || second.as_ref().is_some_and(is_circuit)
            || components.any(|protocol| is_circuit(&protocol));
        Survey {
            ip,
            is_global,
            is_relayed,
            is_port_zero,
        }
    }
}

impl Protocol<'_> {
    const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip4(ip) => Some(IpAddr::V4(*ip)),
            Self::Ip6(ip) => Some(IpAddr::V6(*ip)),
            _ => None,
        }
    }
}

impl From<IpAddr> for Protocol<'_> {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::Ip4(ip),
            IpAddr::V6(ip) => Self::Ip6(ip),
        }
    }
}

/// Names for private use: RFC 6762, RFC 8375, and the top level domain reserved by ICANN in 2024.
const PRIVATE_NAMES: &[&str] = &["local", "home.arpa", "internal"];

/// Names that never lead to a host of the internet: RFC 6761, reverse lookups, Tor.
const SPECIAL_NAMES: &[&str] = &[
    "localhost",
    "test",
    "invalid",
    "example",
    "onion",
    "in-addr.arpa",
    "ip6.arpa",
];

/// Whether `name` is `parent` or ends with it as whole labels. Case and a final dot do not count.
fn is_below(name: &str, parent: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let Some((head, tail)) = name
        .len()
        .checked_sub(parent.len())
        .and_then(|at| name.split_at_checked(at))
    else {
        return false;
    };
    tail.eq_ignore_ascii_case(parent.as_bytes()) && head.last().is_none_or(|byte| *byte == b'.')
}

/// An IPv4 address may hide in an IPv6 one: mapped, or behind NAT64 (RFC 6052). It is judged by what it is.
fn unwrapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            _ => v6.to_canonical(),
        },
        v4 => v4,
    }
}

fn is_private4(ip: Ipv4Addr) -> bool {
    let shared = matches!(ip.octets(), [100, 64..=127, ..]);
    ip.is_private() || ip.is_link_local() || shared
}

fn is_global_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_global4(ip),
        IpAddr::V6(ip) => is_global6(ip),
    }
}

/// By the IANA special-purpose registry: what is not globally reachable there is not global here.
fn is_global4(ip: Ipv4Addr) -> bool {
    let reserved = match ip.octets() {
        [0 | 240..=255, ..] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        // Two anycast addresses of the protocol assignments block are reachable.
        [192, 0, 0, last] => last != 9 && last != 10,
        _ => false,
    };
    !(reserved || ip.is_loopback() || is_private4(ip) || ip.is_documentation() || ip.is_multicast())
}

/// Global unicast is `2000::/3` without documentation and benchmarking blocks.
const fn is_global6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0xdb8, ..] | [0x2001, 2, 0, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_tells_what_the_methods_tell() {
        let texts = [
            "/ip4/46.1.2.3/tcp/4001",
            "/ip4/46.1.2.3/tcp/0",
            "/ip4/10.0.0.1/udp/0/quic-v1",
            "/ip4/127.0.0.1/tcp/1/p2p-circuit",
            "/ip4/224.0.0.1/udp/1",
            "/ip6/::/tcp/1",
            "/ip6/::ffff:46.1.2.3/tcp/0",
            "/ip6/64:ff9b::a00:1/tcp/1",
            "/ip6zone/eth0/ip6/fe80::1/tcp/0",
            "/ip6/2a00::1/udp/443/quic-v1/webtransport",
            "/dns4/example.com/tcp/0",
            "/dns/drywire.net/tcp/443/wss",
            "/memory/7",
            "/p2p-circuit",
        ];
        for text in texts {
            let address: Multiaddr = text.parse().unwrap();
            let survey = address.survey();
            assert_eq!(survey.ip, address.ip().map(unwrapped), "{text}");
            assert_eq!(survey.is_global, address.is_global(), "{text}");
            assert_eq!(survey.is_relayed, address.is_relayed(), "{text}");
            let socket = address.socket_addr();
            let is_port_zero = socket.is_some_and(|(_, port, _)| port == 0);
            assert_eq!(survey.is_port_zero, is_port_zero, "{text}");
        }
    }
}
