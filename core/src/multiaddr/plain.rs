//! The commonest addresses, known by their bytes: nodes of a DHT read and judge them by the thousand.

use core::net::IpAddr;

/// An IP address with a TCP or UDP port, and perhaps QUIC, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

const IP4: u8 = 0x04;
const IP6: u8 = 0x29;
const TCP: u8 = 0x06;
/// 273 as a varint.
const UDP: [u8; 2] = [0x91, 0x02];
/// 461 as a varint.
const QUIC_V1: [u8; 2] = [0xcd, 0x03];

impl Plain {
    /// `None` for all other addresses, and for what is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (ip, rest) = match *kind {
            IP4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                (IpAddr::from(*ip), rest)
            }
            IP6 => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                (IpAddr::from(*ip), rest)
            }
            _ => return None,
        };
        let port = match rest {
            [TCP, port @ ..] => port,
            [first, second, port @ ..] if [*first, *second] == UDP => port
                .strip_suffix(&QUIC_V1)
                .filter(|port| port.len() == 2)
                .unwrap_or(port),
            _ => return None,
        };
        let port = u16::from_be_bytes(port.try_into().ok()?);
        Some(Self { ip, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multiaddr::{Multiaddr, Protocol};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn plain() -> impl Strategy<Value = Vec<u8>> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (ip, any::<u16>(), 0..3).prop_map(|(ip, port, kind)| {
            let parts = match kind {
                0 => std::vec![Protocol::from(ip), Protocol::Tcp(port)],
                1 => std::vec![Protocol::from(ip), Protocol::Udp(port)],
                _ => std::vec![Protocol::from(ip), Protocol::Udp(port), Protocol::QuicV1],
            };
            Multiaddr::from_protocols(parts)
                .unwrap()
                .as_bytes()
                .to_vec()
        })
    }

    /// What the components tell, one after another.
    fn slow(bytes: &[u8]) -> Option<Plain> {
        let (mut rest, mut parts) = (bytes, Vec::new());
        while !rest.is_empty() {
            let (part, after) = Protocol::read(rest).ok()?;
            parts.push(part);
            rest = after;
        }
        let ip = match parts.first()? {
            Protocol::Ip4(ip) => IpAddr::V4(*ip),
            Protocol::Ip6(ip) => IpAddr::V6(*ip),
            _ => return None,
        };
        match parts[1..] {
            [Protocol::Tcp(port) | Protocol::Udp(port)]
            | [Protocol::Udp(port), Protocol::QuicV1] => Some(Plain { ip, port }),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn exactly_the_plain_ones_are_known(
            mut bytes in plain(),
            change in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
            more in prop::collection::vec(any::<u8>(), 0..3),
            cut in 0_usize..3,
        ) {
            prop_assert_eq!(Plain::read(&bytes), slow(&bytes));
            prop_assert!(Plain::read(&bytes).is_some());
            if let Some((at, byte)) = change {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut);
            bytes.extend(more);
            prop_assert_eq!(Plain::read(&bytes), slow(&bytes));
        }
    }
}
