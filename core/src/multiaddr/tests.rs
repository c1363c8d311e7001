use super::*;
use crate::identity::PeerId;
use core::net::{IpAddr, SocketAddr};
use proptest::prelude::*;
use std::string::String;

use std::string::ToString;
use std::vec::Vec;
use std::{format, vec};

fn parse(text: &str) -> Multiaddr {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
const OTHER: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const ONION3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

/// Texts that print back as they are, with all protocols.
pub(super) fn samples() -> Vec<String> {
    let mut samples: Vec<_> = [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/0.0.0.0/udp/0/quic-v1",
        "/ip4/10.1.10.10/ipcidr/24",
        "/ip6/::1/tcp/65535/ws",
        "/ip6/2601:9:4f81:9700:803e:ca65:66e8:c21/udp/1234/quic",
        "/ip6zone/eth0/ip6/fe80::1/tcp/1",
        "/dns/example.org/tcp/443/tls/sni/example.org/ws",
        "/dns4/bücher.example/tcp/443/wss",
        "/dns6/example.org/tcp/443/https",
        "/dnsaddr/bootstrap.libp2p.io",
        "/ip4/1.2.3.4/sctp/1/dccp/2",
        "/ip4/1.2.3.4/udp/3/utp",
        "/ip4/1.2.3.4/udp/3/udt/noise",
        "/unix/run/node.sock",
        "/memory/18446744073709551615",
        "/onion/timaq4ygg2iegci7:80/http",
        "/ip4/1.2.3.4/tcp/80/http/http-path/a%2Fb%20c%25",
        "/ip4/1.2.3.4/tcp/80/x-parity-ws/%2Fa",
        "/ip4/1.2.3.4/tcp/80/x-parity-wss/a",
        "/ip4/1.2.3.4/udp/9/quic-v1/webtransport/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg",
        "/ip4/1.2.3.4/udp/9/webrtc-direct/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg",
        "/ip4/1.2.3.4/udp/9/webrtc",
        "/dns4/a/tcp/1/ws/p2p-webrtc-star",
        "/dns4/a/tcp/1/ws/p2p-websocket-star",
        "/ip4/1.2.3.4/tcp/1/http/p2p-webrtc-direct",
        "/ip4/1.2.3.4/tcp/1/p2p-stardust",
    ]
    .map(String::from)
    .into();
    samples.push(format!(
        "/ip4/1.2.3.4/tcp/1/p2p/{OTHER}/p2p-circuit/p2p/{PEER}"
    ));
    samples.push(format!("/onion3/{ONION3}:1234"));
    samples.push(format!("/garlic32/{}", "a".repeat(52)));
    samples.push(format!("/garlic64/{}-~", "A".repeat(514)));
    samples
}

#[test]
fn samples_go_through_both_forms() {
    let mut seen = std::collections::BTreeSet::new();
    for text in samples() {
        let address = parse(&text);
        assert_eq!(address.to_string(), text);
        assert_eq!(
            Multiaddr::from_bytes(address.as_bytes()),
            Ok(address.clone())
        );
        assert_eq!(
            Multiaddr::from_shared(address.to_shared()),
            Ok(address.clone())
        );
        assert_eq!(Multiaddr::from_protocols(&address), Ok(address.clone()));
        seen.extend(address.iter().map(|protocol| protocol.code()));
    }
    assert_eq!(seen.len(), 42, "every protocol occurs in the samples");
}

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

/// Where components of this address end, from its own bytes.
fn boundaries(address: &Multiaddr) -> Vec<usize> {
    let mut head: Option<Multiaddr> = None;
    let mut ends = vec![];
    for protocol in address {
        let longer = match head {
            Some(head) => head.with(protocol).unwrap(),
            None => Multiaddr::from_protocols([protocol]).unwrap(),
        };
        ends.push(longer.as_bytes().len());
        head = Some(longer);
    }
    assert_eq!(head.as_ref(), Some(address), "built up by `with`");
    ends
}

/// T19: a truncated address is an error unless it is a shorter address.
#[test]
fn every_truncation_is_a_shorter_address_or_an_error() {
    for text in samples() {
        let address = parse(&text);
        let ends = boundaries(&address);
        let bytes = address.as_bytes();
        for end in 0..bytes.len() {
            let expected = match end {
                0 => Err(Error::Empty),
                _ if ends.contains(&end) => {
                    let head = Multiaddr::from_bytes(&bytes[..end]).unwrap();
                    assert!(address.starts_with(&head) && !head.starts_with(&address));
                    Ok(head)
                }
                _ => Err(Error::Truncated),
            };
            assert_eq!(
                Multiaddr::from_bytes(&bytes[..end]),
                expected,
                "{text} cut to {end}"
            );
        }
    }
}

#[test]
fn components_are_taken_off_and_put_back() {
    for text in samples() {
        let whole = parse(&text);
        let (mut rest, mut taken) = (whole.clone(), vec![]);
        while let Some(last) = rest.pop() {
            assert_eq!(last.iter().count(), 1);
            taken.push(last);
        }
        assert_eq!(rest.iter().count(), 1, "the first component stays");
        for last in taken.iter().rev() {
            rest = rest.join(last).unwrap();
        }
        assert_eq!(rest, whole);
    }
}

#[test]
fn bad_bytes_are_named() {
    let read = Multiaddr::from_bytes;
    assert_eq!(read(&[]), Err(Error::Empty));
    assert_eq!(read(&[0]), Err(Error::UnknownCode(0)));
    assert_eq!(read(&[0xff, 0x7f]), Err(Error::UnknownCode(16383)));
    assert_eq!(read(&[0xff; 10]), Err(Error::Varint));
    assert_eq!(
        read(&[0x86, 0x00, 0, 80]),
        Err(Error::Varint),
        "6 in two bytes"
    );
    assert_eq!(read(&[54, 0x81, 0x00, b'a']), Err(Error::Varint));
    let huge = [54, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(read(&huge), Err(Error::Truncated), "a length of 2^64 - 1");
    for name in [b"".as_slice(), b"a/b", b"a b", b"a\n", b"a\x7f", b"\xff"] {
        let len = u8::try_from(name.len()).unwrap();
        for (code, protocol) in [
            (42, "ip6zone"),
            (53, "dns"),
            (54, "dns4"),
            (55, "dns6"),
            (56, "dnsaddr"),
        ] {
            assert_eq!(
                read(&[&[code, len], name].concat()),
                Err(Error::InvalidValue(protocol)),
                "{name:?}"
            );
        }
        assert_eq!(
            read(&[&[0xc1, 3, len], name].concat()),
            Err(Error::InvalidValue("sni")),
            "{name:?}"
        );
    }
    for path in [b"".as_slice(), b"/", b"a", b"/a/", b"/a\0", b"/\xff"] {
        let bytes = [&[0x90, 3, u8::try_from(path.len()).unwrap()], path].concat();
        assert_eq!(read(&bytes), Err(Error::InvalidValue("unix")), "{path:?}");
    }
    assert_eq!(
        read(&[0x90, 3, 2, b'/', b'a', 6, 0, 80]),
        Err(Error::AfterPath)
    );
    for hash in [
        &[][..],
        &[0x12],
        &[0x12, 2, 1],
        &[0x12, 1, 1, 1],
        &[0x92, 0, 0],
    ] {
        let bytes = [&[0xd2, 3, u8::try_from(hash.len()).unwrap()], hash].concat();
        assert_eq!(
            read(&bytes),
            Err(Error::InvalidValue("certhash")),
            "{hash:?}"
        );
    }
    let long_hash = [[0xd2, 3, 67, 0x12, 65].as_slice(), &[0; 65]].concat();
    assert_eq!(read(&long_hash), Err(Error::InvalidValue("certhash")));
    assert_eq!(
        read(&[0xbc, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Err(Error::InvalidValue("onion")),
        "port 0"
    );
    assert_eq!(
        read(&[[0xbe, 3, 0x81, 3].as_slice(), &[0; 385]].concat()),
        Err(Error::InvalidValue("garlic64"))
    );
    for (len, valid) in [
        (31, false),
        (32, true),
        (33, false),
        (34, false),
        (35, true),
        (60, true),
    ] {
        let bytes = [&[0xbf, 3, len], vec![0; len.into()].as_slice()].concat();
        assert_eq!(read(&bytes).is_ok(), valid, "garlic32 of {len}");
    }
    let no_peer = read(&[0xa5, 3, 2, 0x12, 0x20]);
    assert_eq!(
        no_peer,
        Err(Error::PeerId(crate::identity::PeerIdError::Truncated))
    );
}

#[test]
fn bad_texts_are_named() {
    let parse = |text: &str| text.parse::<Multiaddr>();
    let unknown = |name: &str| Err(Error::UnknownName(name.to_string()));
    assert_eq!(parse(""), Err(Error::Empty));
    assert_eq!(parse("ip4/1.2.3.4"), Err(Error::NoLeadingSlash));
    assert_eq!(parse("/"), unknown(""));
    assert_eq!(parse("//"), unknown(""));
    assert_eq!(parse("/ip4/1.2.3.4/"), unknown(""));
    assert_eq!(parse("/ip4/1.2.3.4/foo/1"), unknown("foo"));
    assert_eq!(parse("/IP4/1.2.3.4"), unknown("IP4"));
    assert_eq!(
        parse(&format!("/{}", "ä".repeat(500))),
        unknown(&"ä".repeat(32))
    );
    for (text, name) in [
        ("/ip4", "ip4"),
        ("/ip4/1.2.3.4/tcp", "tcp"),
        ("/unix", "unix"),
        ("/p2p", "p2p"),
    ] {
        assert_eq!(parse(text), Err(Error::MissingValue(name)));
    }
    for (name, value) in [
        ("ip4", "1.2.3"),
        ("ip4", "1.2.3.4.5"),
        ("ip4", "01.2.3.4"),
        ("ip6", "fe80::1%eth0"),
        ("ip6", "1.2.3.4"),
        ("tcp", "65536"),
        ("tcp", "-1"),
        ("tcp", "+1"),
        ("udp", ""),
        ("ipcidr", "256"),
        ("memory", "18446744073709551616"),
        ("dns4", ""),
        ("dns4", "a b"),
        ("unix", ""),
        ("unix", "a/"),
        ("certhash", "x"),
        ("certhash", "uAA"),
        ("onion", "timaq4ygg2iegci7"),
        ("onion", "timaq4ygg2iegci7:0"),
        ("onion", "timaq4ygg2iegci7:80:1"),
        ("onion", "timaq4ygg2iegci:80"),
        ("onion", "timaq4ygg2iegcaaaa:80"),
        ("onion", "timaq4ygg2iegci7aaaaaaaa:80"),
        ("onion3", "timaq4ygg2iegci7:80"),
        ("garlic32", "aaaa"),
        ("http-path", "%"),
        ("http-path", "%4"),
        ("http-path", "%zz"),
        ("http-path", "%ff"),
        ("http-path", ""),
    ] {
        assert_eq!(
            parse(&format!("/{name}/{value}")).err(),
            Some(Error::InvalidValue(name)),
            "{name} {value}"
        );
    }
    assert!(matches!(parse("/p2p/12D3"), Err(Error::PeerId(_))));
    assert_eq!(
        parse(&format!("/dns/{}", "a".repeat(5000))),
        Err(Error::TooLong)
    );
}

#[test]
fn other_ways_to_write_the_same_address() {
    for (text, canonical) in [
        (format!("/ipfs/{PEER}"), format!("/p2p/{PEER}")),
        (
            format!("/p2p/{}", peer(PEER).to_cid()),
            format!("/p2p/{PEER}"),
        ),
        ("/tcp/0080".into(), "/tcp/80".into()),
        ("/ip6/0:0:0:0:0:0:0:1".into(), "/ip6/::1".into()),
        ("/ip6/::ffff:1.2.3.4".into(), "/ip6/::ffff:1.2.3.4".into()),
        (
            "/onion/TIMAQ4YGG2IEGCI7:80".into(),
            "/onion/timaq4ygg2iegci7:80".into(),
        ),
        ("/http-path/%61+%2f".into(), "/http-path/a%2B%2F".into()),
        (
            "/certhash/f12202c18fce988f190cd29551d15eb5024f91244d5ed816b578559de1a4429377fce"
                .into(),
            "/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg".into(),
        ),
        (
            format!("/garlic64/{}==", "A".repeat(518)),
            format!("/garlic64/{}", "A".repeat(518)),
        ),
    ] {
        assert_eq!(parse(&text).to_string(), canonical);
    }
}

#[test]
fn sizes_are_bounded_in_every_way_to_build() {
    let full = parse(&format!(
        "/dns/{}/tcp/1",
        "a".repeat(Multiaddr::MAX_LEN - 6)
    ));
    assert_eq!(full.as_bytes().len(), Multiaddr::MAX_LEN);
    assert_eq!(full.clone().with(Protocol::Ws), Err(Error::TooLong));
    assert_eq!(full.with_peer_id(peer(PEER)), Err(Error::TooLong));
    assert_eq!(full.join(&parse("/ws")), Err(Error::TooLong));
    let bytes = [full.as_bytes(), &[0xdd, 3]].concat();
    assert_eq!(Multiaddr::from_bytes(&bytes), Err(Error::TooLong));
    assert_eq!(Multiaddr::from_shared(bytes.into()), Err(Error::TooLong));
    assert_eq!(
        Multiaddr::from_protocols(core::iter::repeat(Protocol::Ws)),
        Err(Error::TooLong)
    );
    assert_eq!(Multiaddr::from_protocols([]), Err(Error::Empty));
    let text = format!("{full}/ws");
    assert_eq!(text.parse::<Multiaddr>(), Err(Error::TooLong));
    let mut unchanged = full.clone();
    assert!(unchanged.push(Protocol::Ws).is_err());
    assert_eq!(unchanged, full);
    // The longest value in its longest text.
    let path = "/".repeat(Multiaddr::MAX_LEN - 4);
    let longest = Multiaddr::from_protocols([Protocol::HttpPath(&path)]).unwrap();
    assert_eq!(longest.to_string().parse(), Ok(longest));
}

/// The text of an address may be many times longer than its bytes; it is read all the same.
#[test]
fn the_longest_address_of_every_component_is_readable() {
    for text in samples() {
        let mut rest = parse(&text);
        while let Some(component) = rest.pop() {
            if component.to_string().starts_with("/unix") {
                continue;
            }
            let count = Multiaddr::MAX_LEN / component.as_bytes().len();
            let longest = Multiaddr::from_bytes(&component.as_bytes().repeat(count)).unwrap();
            assert_eq!(longest.to_string().parse(), Ok(longest), "{component}");
        }
    }
}

#[test]
fn invalid_components_cannot_be_pushed() {
    let address = parse("/ip4/1.2.3.4/tcp/1");
    let with = |protocol| address.clone().with(protocol).err();
    assert_eq!(with(Protocol::Dns("a/b")), Some(Error::InvalidValue("dns")));
    assert_eq!(
        with(Protocol::HttpPath("")),
        Some(Error::InvalidValue("http-path"))
    );
    assert_eq!(
        with(Protocol::Certhash(&[1])),
        Some(Error::InvalidValue("certhash"))
    );
    assert_eq!(
        with(Protocol::Onion3(&[0; 35], 0)),
        Some(Error::InvalidValue("onion3"))
    );
    assert_eq!(
        parse("/unix/a").with(Protocol::Ws).err(),
        Some(Error::AfterPath)
    );
    assert_eq!(with(Protocol::Unix("/a")), None);
}

#[test]
fn peer_ids_end_an_address() {
    let (peer, other) = (peer(PEER), peer(OTHER));
    let plain = parse("/ip4/1.2.3.4/tcp/1");
    assert_eq!(plain.peer_id(), None);
    assert_eq!(plain.without_peer_id(), plain);
    let full = plain.with_peer_id(peer).unwrap();
    assert_eq!(full.to_string(), format!("{plain}/p2p/{PEER}"));
    assert_eq!(full.peer_id(), Some(peer));
    assert_eq!(full.without_peer_id(), plain);
    assert_eq!(full.with_peer_id(peer), Ok(full.clone()));
    assert_eq!(full.with_peer_id(other), Err(Error::OtherPeer));

    let circuit = parse(&format!("{full}/p2p-circuit"));
    assert_eq!(circuit.peer_id(), None, "the relay is not the peer");
    assert!(circuit.is_relayed() && !full.is_relayed());
    let through = circuit.with_peer_id(other).unwrap();
    assert_eq!(through.peer_id(), Some(other));
    assert_eq!(through.without_peer_id(), circuit);

    let only = parse(&format!("/p2p/{PEER}"));
    assert_eq!(only.peer_id(), Some(peer));
    assert_eq!(only.without_peer_id(), only);
}

#[test]
fn sockets_to_addresses_and_back() {
    for (text, socket, transport) in [
        ("/ip4/1.2.3.4/tcp/80", "1.2.3.4:80", IpTransport::Tcp),
        ("/ip6/::1/udp/65535", "[::1]:65535", IpTransport::Udp),
    ] {
        let socket: SocketAddr = socket.parse().unwrap();
        let address = Multiaddr::from_socket(socket, transport);
        assert_eq!(address.to_string(), text);
        assert_eq!(
            Multiaddr::from_bytes(address.as_bytes()),
            Ok(address.clone())
        );
        assert_eq!(
            address.socket_addr(),
            Some((socket.ip(), socket.port(), transport))
        );
        let longer = parse(&format!("{text}/ws/p2p/{PEER}/p2p-circuit/p2p/{OTHER}"));
        assert_eq!(longer.socket_addr(), address.socket_addr());
        assert_eq!(longer.ip(), Some(socket.ip()));
    }
    assert_eq!(
        Multiaddr::from_tcp("1.2.3.4:5".parse().unwrap()),
        parse("/ip4/1.2.3.4/tcp/5")
    );
    for text in [
        "/ip4/1.2.3.4",
        "/ip4/1.2.3.4/sctp/1",
        "/dns4/a/tcp/1",
        "/tcp/1",
        "/ip6zone/a/ip6/fe80::1/tcp/1",
    ] {
        assert_eq!(parse(text).socket_addr(), None, "{text}");
    }
    assert_eq!(
        parse("/ip6zone/a/ip6/fe80::1/tcp/1").ip(),
        "fe80::1".parse::<IpAddr>().ok()
    );
    for text in [
        "/dns/x.org",
        "/dns4/x.org/tcp/1",
        "/dns6/x.org/udp/1",
        "/dnsaddr/x.org",
    ] {
        assert_eq!(parse(text).dns_name(), Some("x.org"), "{text}");
    }
    assert_eq!(parse("/ip4/1.2.3.4/tcp/1/tls/sni/x.org").dns_name(), None);
}

/// Each address with all it is of: loopback, private, unspecified, multicast, global.
#[test]
fn scopes() {
    let table = [
        ("/ip4/127.0.0.1/tcp/1", "loopback"),
        ("/ip4/127.255.255.255", "loopback"),
        ("/ip6/::1", "loopback"),
        ("/ip6/::ffff:127.0.0.1", "loopback"),
        ("/ip6/64:ff9b::7f00:1", "loopback"),
        ("/memory/1", "loopback"),
        ("/unix/a", "loopback"),
        ("/dns4/localhost", "loopback"),
        ("/dns4/A.LocalHost.", "loopback"),
        ("/ip4/10.0.0.1", "private"),
        ("/ip4/172.16.0.1", "private"),
        ("/ip4/172.31.255.255", "private"),
        ("/ip4/192.168.1.1", "private"),
        ("/ip4/169.254.1.1", "private"),
        ("/ip4/100.64.0.1", "private"),
        ("/ip4/100.127.255.255", "private"),
        ("/ip6/fc00::1", "private"),
        ("/ip6/fdff::1", "private"),
        ("/ip6/fe80::1", "private"),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/1", "private"),
        ("/ip6/::ffff:10.0.0.1", "private"),
        ("/ip6/64:ff9b::a00:1", "private"),
        ("/dns/printer.local", "private"),
        ("/dnsaddr/x.home.arpa", "private"),
        ("/dns/a.internal", "private"),
        ("/ip4/0.0.0.0/tcp/1", "unspecified"),
        ("/ip6/::", "unspecified"),
        ("/ip4/224.0.0.1", "multicast"),
        ("/ip4/239.255.255.255", "multicast"),
        ("/ip6/ff02::1", "multicast"),
        ("/ip4/8.8.8.8", "global"),
        ("/ip4/1.1.1.1/udp/1/quic-v1", "global"),
        ("/ip4/100.63.255.255", "global"),
        ("/ip4/100.128.0.0", "global"),
        ("/ip4/172.15.255.255", "global"),
        ("/ip4/172.32.0.0", "global"),
        ("/ip4/192.0.0.9", "global"),
        ("/ip4/192.0.0.10", "global"),
        ("/ip4/198.17.255.255", "global"),
        ("/ip4/198.20.0.0", "global"),
        ("/ip6/2600::1", "global"),
        ("/ip6/2001:db7::1", "global"),
        ("/ip6/2001:4860:4860::8888", "global"),
        ("/ip6/64:ff9b::808:808", "global"),
        ("/ip6/::ffff:8.8.8.8", "global"),
        ("/dns4/example.org/tcp/1", "global"),
        ("/dns4/notlocalhost", "global"),
        ("/dns4/local.org", "global"),
        ("/dns4/mylocal", "global"),
        ("/ip4/0.0.0.1", ""),
        ("/ip4/192.0.0.1", ""),
        ("/ip4/192.0.2.1", ""),
        ("/ip4/192.88.99.1", ""),
        ("/ip4/198.18.0.1", ""),
        ("/ip4/198.51.100.1", ""),
        ("/ip4/203.0.113.1", ""),
        ("/ip4/240.0.0.1", ""),
        ("/ip4/255.255.255.255", ""),
        ("/ip6/2001:db8::1", ""),
        ("/ip6/2001:2::1", ""),
        ("/ip6/3fff:fff::1", ""),
        ("/ip6/4000::1", ""),
        ("/ip6/64:ff9b:1::1", ""),
        ("/ip6/100::1", ""),
        ("/dns/a.test", ""),
        ("/dns/invalid", ""),
        ("/dns/1.0.0.127.in-addr.arpa", ""),
        ("/tcp/1/ip4/8.8.8.8", ""),
    ];
    for (text, scope) in table {
        let address = parse(text);
        let found: Vec<_> = [
            (address.is_loopback(), "loopback"),
            (address.is_private(), "private"),
            (address.is_unspecified(), "unspecified"),
            (address.is_multicast(), "multicast"),
            (address.is_global(), "global"),
        ]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
        assert_eq!(found.join(" "), scope, "{text}");
    }
    let relayed = parse(&format!(
        "/ip4/8.8.8.8/tcp/1/p2p/{OTHER}/p2p-circuit/p2p/{PEER}"
    ));
    assert!(relayed.is_global(), "by the relay");
}

/// Any component, valid or nearly so.
pub(super) fn any_component() -> impl Strategy<Value = Vec<u8>> {
    let addresses: Vec<_> = samples().iter().map(|text| parse(text)).collect();
    let codes: Vec<_> = addresses
        .iter()
        .flatten()
        .map(|protocol| u64::from(protocol.code()))
        .collect();
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let text = "[a-z0-9/.%\\x00 é]{0,12}".prop_map(String::into_bytes);
    let value = prop_oneof![value, text];
    (prop::sample::select(codes), value, 0..4u8).prop_map(|(code, value, layout)| {
        let mut bytes = vec![];
        crate::wire::varint::encode(code, &mut bytes);
        if layout == 0 {
            let fixed = value.iter().copied().chain(core::iter::repeat(1));
            let len = [0, 1, 2, 4, 8, 12, 16, 37][value.len() % 8];
            bytes.extend(fixed.take(len));
        } else {
            crate::wire::varint::encode(value.len() as u64, &mut bytes);
            bytes.extend(value);
        }
        bytes
    })
}

/// Bytes that have a fair chance to be an address: samples and components, glued and damaged.
pub(super) fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let samples: Vec<_> = samples()
        .iter()
        .map(|text| parse(text).as_bytes().to_vec())
        .collect();
    let piece = prop_oneof![prop::sample::select(samples), any_component()];
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let edits = prop_oneof![Just(vec![]), prop::collection::vec(edit, 0..3)];
    (prop::collection::vec(piece, 0..4), edits).prop_map(|(pieces, edits)| {
        let mut bytes = pieces.concat();
        for (index, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is accepted goes through both forms and all helpers unchanged.
    #[test]
    fn accepted_bytes_are_one_address(bytes in any_bytes()) {
        let Ok(address) = Multiaddr::from_bytes(&bytes) else { return Ok(()) };
        prop_assert_eq!(address.as_bytes(), bytes.as_slice());
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        prop_assert_eq!(Multiaddr::from_protocols(&address), Ok(address.clone()));
        prop_assert!(!address.to_string().contains(char::is_control));
        boundaries(&address);
        let scopes = [
            address.is_loopback(), address.is_private(), address.is_unspecified(), address.is_multicast(),
            address.is_global(),
        ];
        prop_assert!(scopes.iter().filter(|is| **is).count() <= 1, "{} is of several scopes", address);
        let rest = match address.without_peer_id() {
            same if same == address && address.peer_id().is_some() => Vec::new(),
            rest => rest.as_bytes().to_vec(),
        };
        prop_assert_eq!(Multiaddr::split_peer_id(&bytes), Ok((&rest[..], address.peer_id())));
        let with_peer = address.without_peer_id().with_peer_id(peer(PEER));
        prop_assert!(with_peer.is_ok_and(|with| with.peer_id() == Some(peer(PEER))) || address.iter().last().is_some_and(
            |last| matches!(last, Protocol::Unix(_) | Protocol::P2p(_)) || bytes.len() + 41 > Multiaddr::MAX_LEN
        ));
    }

    #[test]
    fn random_text_is_read_or_refused(text in "(/(ip4|ip6|tcp|dns|unix|p2p|certhash|onion3?|garlic64|http-path|memory)?(/[a-zA-Z0-9:.%~=-]{0,12})?){0,5}", any in "\\PC{0,60}") {
        for text in [text, any] {
            if let Ok(address) = text.parse::<Multiaddr>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }

    #[test]
    fn order_is_that_of_the_bytes(a in any_bytes(), b in any_bytes()) {
        if let (Ok(first), Ok(second)) = (Multiaddr::from_bytes(&a), Multiaddr::from_bytes(&b)) {
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!(first == second, a == b);
        }
    }
}
