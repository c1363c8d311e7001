//! Between multiaddresses and sockets.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use drywire::multiaddr::{Multiaddr, Protocol};

/// The TCP socket an address names: `/ip4/../tcp/..` or `/ip6/../tcp/..`, the latter perhaps after a zone, with or without
/// the peer at the end. A zone is the number of an interface, or its name, which `interface` knows. `None` for anything
/// else: there is no transport for it here.
pub fn tcp_socket(
    address: &Multiaddr,
    interface: impl FnOnce(&str) -> Option<u32>,
) -> Option<SocketAddr> {
    let mut components = address.iter();
    let mut first = components.next()?;
    let mut zone = 0;
    if let Protocol::Ip6zone(name) = first {
        zone = name.parse().ok().or_else(|| interface(name))?;
        first = components.next()?;
    }
    let ip = match first {
        Protocol::Ip4(ip) if zone == 0 => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Tcp(port) = components.next()? else {
        return None;
    };
    match components.next() {
        None => {}
        Some(Protocol::P2p(_)) if components.next().is_none() => {}
        Some(_) => return None,
    }
    Some(match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, zone)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0(name: &str) -> Option<u32> {
        (name == "eth0").then_some(7)
    }

    #[test]
    fn only_plain_tcp_addresses_name_a_socket() {
        let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let good = [
            ("/ip4/127.0.0.1/tcp/4001".to_owned(), "127.0.0.1:4001"),
            (
                format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}"),
                "127.0.0.1:4001",
            ),
            ("/ip6/::1/tcp/0".to_owned(), "[::1]:0"),
            ("/ip6zone/3/ip6/fe80::1/tcp/9".to_owned(), "[fe80::1%3]:9"),
            (
                "/ip6zone/eth0/ip6/fe80::1/tcp/9".to_owned(),
                "[fe80::1%7]:9",
            ),
        ];
        for (text, socket) in good {
            assert_eq!(
                tcp_socket(&text.parse().unwrap(), eth0),
                Some(socket.parse().unwrap()),
                "{text}"
            );
        }
        let bad = [
            "/ip4/127.0.0.1".to_owned(),
            "/ip4/127.0.0.1/udp/4001".to_owned(),
            "/ip4/127.0.0.1/tcp/4001/ws".to_owned(),
            format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}/p2p-circuit"),
            "/dns4/localhost/tcp/4001".to_owned(),
            "/ip6zone/eth1/ip6/fe80::1/tcp/9".to_owned(),
            "/ip6zone/eth0/ip4/127.0.0.1/tcp/9".to_owned(),
            "/memory/5".to_owned(),
        ];
        for text in bad {
            assert_eq!(tcp_socket(&text.parse().unwrap(), eth0), None, "{text}");
        }
    }
}
