//! The text form of addresses.

use super::protocol::{Layout, by_name, write_component};
use super::{Error, Multiaddr, Protocol};
use crate::identity::{PeerId, multibase};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD};

/// Longest text worth reading. A byte of a value takes at most three characters, when percent-encoded; the two bytes of
/// a component without a value take up to 19, as `/p2p-websocket-star`.
const MAX_TEXT: usize = Multiaddr::MAX_LEN.saturating_mul(10);

impl FromStr for Multiaddr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::TooLong);
        }
        let mut rest = match text.strip_prefix('/') {
            Some(rest) => Some(rest),
            None if text.is_empty() => return Err(Error::Empty),
            None => return Err(Error::NoLeadingSlash),
        };
        let mut bytes = Vec::new();
        while let Some(segments) = rest {
            let (name, after) = split_segment(segments);
            let (code, name, layout) = by_name(name).ok_or_else(|| unknown_name(name))?;
            rest = after;
            let mut value = Vec::new();
            if layout != Layout::Fixed(0) {
                let segments = after.ok_or(Error::MissingValue(name))?;
                // A path takes all that is left; every other value is one segment.
                let (segment, after) = if name == "unix" {
                    (segments, None)
                } else {
                    split_segment(segments)
                };
                value = parse_value(name, segment)?;
                rest = after;
            }
            // What is too long for its place would be read as further components.
            if let Layout::Fixed(len) = layout
                && value.len() != len
            {
                return Err(Error::InvalidValue(name));
            }
            write_component(&mut bytes, code, layout, &value);
        }
        // Lengths, and what a value may hold, are checked here, once for both forms.
        Self::from_vec(bytes)
    }
}

fn split_segment(segments: &str) -> (&str, Option<&str>) {
    match segments.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (segments, None),
    }
}

fn unknown_name(name: &str) -> Error {
    Error::UnknownName(name.chars().take(32).collect())
}

fn parse_value(name: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    if name == "p2p" {
        return Ok(text.parse::<PeerId>()?.to_bytes());
    }
    let value = match name {
        "ip4" => text
            .parse::<Ipv4Addr>()
            .ok()
            .map(|address| address.octets().to_vec()),
        "ip6" => text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| address.octets().to_vec()),
        "tcp" | "udp" | "dccp" | "sctp" => {
            decimal::<u16>(text).map(|port| port.to_be_bytes().to_vec())
        }
        "ipcidr" => decimal::<u8>(text).map(|bits| bits.to_be_bytes().to_vec()),
        "memory" => decimal::<u64>(text).map(|number| number.to_be_bytes().to_vec()),
        "onion" | "onion3" => onion(text),
        "garlic64" => {
            let standard = text.replace('-', "+").replace('~', "/");
            let valid = !text.contains(['+', '/']);
            BASE64_NOPAD
                .decode(standard.trim_end_matches('=').as_bytes())
                .ok()
                .filter(|_| valid)
        }
        "garlic32" => BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .ok(),
        "certhash" => multibase::decode(text).ok(),
        "http-path" | "x-parity-ws" | "x-parity-wss" => percent_decode(text),
        "unix" => Some([b"/", text.as_bytes()].concat()),
        _ => Some(text.as_bytes().to_vec()),
    };
    value.ok_or(Error::InvalidValue(name))
}

/// A number in plain digits; the standard parsers take a leading `+` too.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    if text.starts_with('+') {
        None
    } else {
        text.parse().ok()
    }
}

fn onion(text: &str) -> Option<Vec<u8>> {
    let (address, port) = text.split_once(':')?;
    let mut value = BASE32_NOPAD
        .decode(address.to_ascii_uppercase().as_bytes())
        .ok()?;
    value.extend_from_slice(&decimal::<u16>(port)?.to_be_bytes());
    Some(value)
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            value.push(*byte);
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        value.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        rest = after;
    }
    Some(value)
}

/// Escapes all but the characters RFC 3986 calls unreserved, which every implementation reads alike.
fn percent_encode(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

impl fmt::Display for Protocol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.name())?;
        match self {
            Self::Ip4(address) => write!(f, "/{address}"),
            Self::Ip6(address) => write!(f, "/{address}"),
            Self::Tcp(port) | Self::Udp(port) | Self::Dccp(port) | Self::Sctp(port) => {
                write!(f, "/{port}")
            }
            Self::Ipcidr(bits) => write!(f, "/{bits}"),
            Self::Memory(number) => write!(f, "/{number}"),
            Self::Onion(address, port) => write!(f, "/{}:{port}", base32(address.as_slice())),
            Self::Onion3(address, port) => write!(f, "/{}:{port}", base32(address.as_slice())),
            Self::P2p(peer) => write!(f, "/{peer}"),
            Self::Ip6zone(text)
            | Self::Dns(text)
            | Self::Dns4(text)
            | Self::Dns6(text)
            | Self::Dnsaddr(text)
            | Self::Sni(text) => write!(f, "/{text}"),
            Self::Unix(path) => f.write_str(path),
            Self::HttpPath(path) | Self::XParityWs(path) | Self::XParityWss(path) => {
                f.write_str("/")?;
                percent_encode(f, path)
            }
            Self::Garlic64(key) => {
                write!(
                    f,
                    "/{}",
                    BASE64_NOPAD.encode(key).replace('+', "-").replace('/', "~")
                )
            }
            Self::Garlic32(key) => write!(f, "/{}", base32(key)),
            Self::Certhash(hash) => write!(f, "/u{}", BASE64URL_NOPAD.encode(hash)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .try_for_each(|protocol| fmt::Display::fmt(&protocol, f))
    }
}

impl fmt::Debug for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Multiaddr({self})")
    }
}
