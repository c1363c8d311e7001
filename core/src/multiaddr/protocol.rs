//! The components of an address: codes, names and binary values.

use super::Error;
use crate::identity::PeerId;
use crate::wire::varint;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

/// One component of an address, borrowing its value from it.
///
/// Codes and names are those of the
/// [multiformats table](https://github.com/multiformats/multicodec/blob/master/table.csv); the two `XParity` ones are
/// not in it but used by Substrate nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol<'a> {
    /// `/ip4/127.0.0.1`
    Ip4(Ipv4Addr),
    /// `/tcp/4001`: port
    Tcp(u16),
    /// `/dccp/4001`: port
    Dccp(u16),
    /// `/ip6/::1`
    Ip6(Ipv6Addr),
    /// `/ip6zone/eth0`: the zone of the `ip6` that follows
    Ip6zone(&'a str),
    /// `/ipcidr/24`: mask length for the address before it
    Ipcidr(u8),
    /// `/dns/example.org`: a name that resolves to IPv4 or IPv6 addresses
    Dns(&'a str),
    /// `/dns4/example.org`: a name that resolves to IPv4 addresses
    Dns4(&'a str),
    /// `/dns6/example.org`: a name that resolves to IPv6 addresses
    Dns6(&'a str),
    /// `/dnsaddr/example.org`: a name whose TXT records are addresses
    Dnsaddr(&'a str),
    /// `/sctp/4001`: port
    Sctp(u16),
    /// `/udp/4001`: port
    Udp(u16),
    /// `/p2p-webrtc-star`, deprecated
    P2pWebrtcStar,
    /// `/p2p-webrtc-direct`, deprecated
    P2pWebrtcDirect,
    /// `/p2p-stardust`, deprecated
    P2pStardust,
    /// `/webrtc-direct`
    WebrtcDirect,
    /// `/webrtc`
    Webrtc,
    /// `/p2p-circuit`: through the relay named before it
    P2pCircuit,
    /// `/udt`
    Udt,
    /// `/utp`
    Utp,
    /// `/unix/run/node.sock`: an absolute path; always the last component
    Unix(&'a str),
    /// `/p2p/12D3KooW..`: the peer's id
    P2p(PeerId),
    /// `/https`, deprecated for `/tls/http`
    Https,
    /// `/onion/timaq4ygg2iegci7:80`: a Tor address of version 2 and its port, not 0
    Onion(&'a [u8; 10], u16),
    /// `/onion3/..:80`: a Tor address of version 3 and its port, not 0
    Onion3(&'a [u8; 35], u16),
    /// `/garlic64/..`: an I2P public key, at least 386 bytes
    Garlic64(&'a [u8]),
    /// `/garlic32/..`: an I2P hashed key, 32 bytes, or 35 and more
    Garlic32(&'a [u8]),
    /// `/tls`
    Tls,
    /// `/sni/example.org`: the server name to send
    Sni(&'a str),
    /// `/noise`
    Noise,
    /// `/quic`: a draft version of QUIC
    Quic,
    /// `/quic-v1`: QUIC as in RFC 9000
    QuicV1,
    /// `/webtransport`
    Webtransport,
    /// `/certhash/u..`: the multihash of the server's certificate
    Certhash(&'a [u8]),
    /// `/ws`: WebSocket
    Ws,
    /// `/wss`: WebSocket over TLS, deprecated for `/tls/ws`
    Wss,
    /// `/p2p-websocket-star`, deprecated
    P2pWebsocketStar,
    /// `/http`
    Http,
    /// `/http-path/a%2Fb`: the path of a resource, here without percent encoding
    HttpPath(&'a str),
    /// `/memory/1`: an endpoint within this process
    Memory(u64),
    /// `/x-parity-ws/a%2Fb`: WebSocket with a path; not standard
    XParityWs(&'a str),
    /// `/x-parity-wss/a%2Fb`: WebSocket over TLS with a path; not standard
    XParityWss(&'a str),
}

/// How a component's value is laid out in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Always this many bytes.
    Fixed(usize),
    /// A varint length, then that many bytes.
    Prefixed,
}

const EMPTY: Layout = Layout::Fixed(0);
const PORT: Layout = Layout::Fixed(2);

/// Code, name and layout of every known protocol, by code.
const TABLE: &[(u32, &str, Layout)] = &[
    (4, "ip4", Layout::Fixed(4)),
    (6, "tcp", PORT),
    (33, "dccp", PORT),
    (41, "ip6", Layout::Fixed(16)),
    (42, "ip6zone", Layout::Prefixed),
    (43, "ipcidr", Layout::Fixed(1)),
    (53, "dns", Layout::Prefixed),
    (54, "dns4", Layout::Prefixed),
    (55, "dns6", Layout::Prefixed),
    (56, "dnsaddr", Layout::Prefixed),
    (132, "sctp", PORT),
    (273, "udp", PORT),
    (275, "p2p-webrtc-star", EMPTY),
    (276, "p2p-webrtc-direct", EMPTY),
    (277, "p2p-stardust", EMPTY),
    (280, "webrtc-direct", EMPTY),
    (281, "webrtc", EMPTY),
    (290, "p2p-circuit", EMPTY),
    (301, "udt", EMPTY),
    (302, "utp", EMPTY),
    (400, "unix", Layout::Prefixed),
    (421, "p2p", Layout::Prefixed),
    (443, "https", EMPTY),
    (444, "onion", Layout::Fixed(12)),
    (445, "onion3", Layout::Fixed(37)),
    (446, "garlic64", Layout::Prefixed),
    (447, "garlic32", Layout::Prefixed),
    (448, "tls", EMPTY),
    (449, "sni", Layout::Prefixed),
    (454, "noise", EMPTY),
    (460, "quic", EMPTY),
    (461, "quic-v1", EMPTY),
    (465, "webtransport", EMPTY),
    (466, "certhash", Layout::Prefixed),
    (477, "ws", EMPTY),
    (478, "wss", EMPTY),
    (479, "p2p-websocket-star", EMPTY),
    (480, "http", EMPTY),
    (481, "http-path", Layout::Prefixed),
    (777, "memory", Layout::Fixed(8)),
    (4770, "x-parity-ws", Layout::Prefixed),
    (4780, "x-parity-wss", Layout::Prefixed),
];

/// Name and layout of the protocol with this code.
fn by_code(code: u64) -> Result<(u32, &'static str, Layout), Error> {
    u32::try_from(code)
        .ok()
        .and_then(|code| TABLE.binary_search_by_key(&code, |row| row.0).ok())
        .and_then(|at| TABLE.get(at).copied())
        .ok_or(Error::UnknownCode(code))
}

/// Code, canonical name and layout of the protocol with this name. `ipfs` is the old name of `p2p`.
pub(super) fn by_name(name: &str) -> Option<(u32, &'static str, Layout)> {
    let name = if name == "ipfs" { "p2p" } else { name };
    TABLE.iter().find(|row| row.1 == name).copied()
}

/// Appends one component.
pub(super) fn write_component(out: &mut Vec<u8>, code: u32, layout: Layout, value: &[u8]) {
    varint::encode(u64::from(code), out);
    if layout == Layout::Prefixed {
        varint::encode(u64::try_from(value.len()).unwrap_or(u64::MAX), out);
    }
    out.extend_from_slice(value);
}

impl<'a> Protocol<'a> {
    /// The code in the binary form.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Ip4(_) => 4,
            Self::Tcp(_) => 6,
            Self::Dccp(_) => 33,
            Self::Ip6(_) => 41,
            Self::Ip6zone(_) => 42,
            Self::Ipcidr(_) => 43,
            Self::Dns(_) => 53,
            Self::Dns4(_) => 54,
            Self::Dns6(_) => 55,
            Self::Dnsaddr(_) => 56,
            Self::Sctp(_) => 132,
            Self::Udp(_) => 273,
            Self::P2pWebrtcStar => 275,
            Self::P2pWebrtcDirect => 276,
            Self::P2pStardust => 277,
            Self::WebrtcDirect => 280,
            Self::Webrtc => 281,
            Self::P2pCircuit => 290,
            Self::Udt => 301,
            Self::Utp => 302,
            Self::Unix(_) => 400,
            Self::P2p(_) => 421,
            Self::Https => 443,
            Self::Onion(..) => 444,
            Self::Onion3(..) => 445,
            Self::Garlic64(_) => 446,
            Self::Garlic32(_) => 447,
            Self::Tls => 448,
            Self::Sni(_) => 449,
            Self::Noise => 454,
            Self::Quic => 460,
            Self::QuicV1 => 461,
            Self::Webtransport => 465,
            Self::Certhash(_) => 466,
            Self::Ws => 477,
            Self::Wss => 478,
            Self::P2pWebsocketStar => 479,
            Self::Http => 480,
            Self::HttpPath(_) => 481,
            Self::Memory(_) => 777,
            Self::XParityWs(_) => 4770,
            Self::XParityWss(_) => 4780,
        }
    }

    /// The name in the text form, without slashes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        by_code(u64::from(self.code())).map_or("", |row| row.1)
    }

    /// Reads the first component of `bytes`; returns it and the rest.
    pub(super) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let (code, rest) = number(bytes)?;
        let (code, name, layout) = by_code(code)?;
        let (value, rest) = match layout {
            Layout::Fixed(len) => rest.split_at_checked(len).ok_or(Error::Truncated)?,
            Layout::Prefixed => prefixed(rest)?,
        };
        let protocol = match code {
            421 => Self::P2p(PeerId::from_bytes(value)?),
            _ => Self::from_value(code, value).ok_or(Error::InvalidValue(name))?,
        };
        if matches!(protocol, Self::Unix(_)) && !rest.is_empty() {
            return Err(Error::AfterPath);
        }
        Ok((protocol, rest))
    }

    /// The component with this code and value; `None` if the value does not suit it.
    fn from_value(code: u32, value: &'a [u8]) -> Option<Self> {
        Some(match code {
            4 => Self::Ip4(<[u8; 4]>::try_from(value).ok()?.into()),
            6 => Self::Tcp(port(value)?),
            33 => Self::Dccp(port(value)?),
            41 => Self::Ip6(<[u8; 16]>::try_from(value).ok()?.into()),
            42 => Self::Ip6zone(name(value)?),
            43 => Self::Ipcidr(*value.first()?),
            53 => Self::Dns(name(value)?),
            54 => Self::Dns4(name(value)?),
            55 => Self::Dns6(name(value)?),
            56 => Self::Dnsaddr(name(value)?),
            132 => Self::Sctp(port(value)?),
            273 => Self::Udp(port(value)?),
            275 => Self::P2pWebrtcStar,
            276 => Self::P2pWebrtcDirect,
            277 => Self::P2pStardust,
            280 => Self::WebrtcDirect,
            281 => Self::Webrtc,
            290 => Self::P2pCircuit,
            301 => Self::Udt,
            302 => Self::Utp,
            400 => Self::Unix(unix_path(value)?),
            443 => Self::Https,
            444 => {
                let (address, at) = value.split_first_chunk()?;
                Self::Onion(address, port(at).filter(|port| *port != 0)?)
            }
            445 => {
                let (address, at) = value.split_first_chunk()?;
                Self::Onion3(address, port(at).filter(|port| *port != 0)?)
            }
            446 => Self::Garlic64(Some(value).filter(|value| value.len() >= 386)?),
            447 => {
                Self::Garlic32(Some(value).filter(|value| value.len() == 32 || value.len() >= 35)?)
            }
            448 => Self::Tls,
            449 => Self::Sni(name(value)?),
            454 => Self::Noise,
            460 => Self::Quic,
            461 => Self::QuicV1,
            465 => Self::Webtransport,
            466 => Self::Certhash(multihash(value)?),
            477 => Self::Ws,
            478 => Self::Wss,
            479 => Self::P2pWebsocketStar,
            480 => Self::Http,
            481 => Self::HttpPath(path(value)?),
            777 => Self::Memory(u64::from_be_bytes(value.try_into().ok()?)),
            4770 => Self::XParityWs(path(value)?),
            4780 => Self::XParityWss(path(value)?),
            _ => return None,
        })
    }

    /// Appends this component. The value is not checked: reading it back does that.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let code = self.code();
        let fixed = |out: &mut Vec<u8>, value: &[u8]| write_component(out, code, EMPTY, value);
        let prefixed =
            |out: &mut Vec<u8>, value: &[u8]| write_component(out, code, Layout::Prefixed, value);
        match self {
            Self::Ip4(address) => fixed(out, &address.octets()),
            Self::Ip6(address) => fixed(out, &address.octets()),
            Self::Tcp(port) | Self::Udp(port) | Self::Dccp(port) | Self::Sctp(port) => {
                fixed(out, &port.to_be_bytes());
            }
            Self::Ipcidr(bits) => fixed(out, &[*bits]),
            Self::Memory(number) => fixed(out, &number.to_be_bytes()),
            Self::Onion(address, port) => {
                fixed(out, address.as_slice());
                out.extend_from_slice(&port.to_be_bytes());
            }
            Self::Onion3(address, port) => {
                fixed(out, address.as_slice());
                out.extend_from_slice(&port.to_be_bytes());
            }
            Self::P2p(peer) => prefixed(out, peer.as_bytes()),
            Self::Ip6zone(text)
            | Self::Dns(text)
            | Self::Dns4(text)
            | Self::Dns6(text)
            | Self::Dnsaddr(text)
            | Self::Sni(text)
            | Self::Unix(text)
            | Self::HttpPath(text)
            | Self::XParityWs(text)
            | Self::XParityWss(text) => prefixed(out, text.as_bytes()),
            Self::Garlic64(bytes) | Self::Garlic32(bytes) | Self::Certhash(bytes) => {
                prefixed(out, bytes)
            }
            _ => fixed(out, &[]),
        }
    }
}

/// Splits off a code or length.
fn number(bytes: &[u8]) -> Result<(u64, &[u8]), Error> {
    varint::split(bytes)
        .map_err(|_| Error::Varint)?
        .ok_or(Error::Truncated)
}

/// Splits off a length and that many bytes.
fn prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (len, body) = number(bytes)?;
    usize::try_from(len)
        .ok()
        .and_then(|len| body.split_at_checked(len))
        .ok_or(Error::Truncated)
}

fn port(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

/// Text that is one segment of the text form: not empty, no `/`, nothing that would garble a log line.
fn name(value: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(value).ok()?;
    let bad = |c: char| c == '/' || c.is_control() || c.is_whitespace();
    (!text.is_empty() && !text.contains(bad)).then_some(text)
}

/// Any text that is not empty; the text form escapes it.
fn path(value: &[u8]) -> Option<&str> {
    core::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty())
}

/// An absolute path to a file.
fn unix_path(value: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(value).ok()?;
    let valid = text.len() > 1
        && text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains(char::is_control);
    valid.then_some(text)
}

/// A complete multihash with a digest of at most 64 bytes.
fn multihash(value: &[u8]) -> Option<&[u8]> {
    let (_code, rest) = number(value).ok()?;
    let (digest, end) = prefixed(rest).ok()?;
    (digest.len() <= 64 && end.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_are_unique() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for row in TABLE {
            assert_eq!(by_name(row.1), Some(*row));
        }
        assert_eq!(by_name("ipfs"), by_name("p2p"));
        assert_eq!(by_name(""), None);
    }
}
