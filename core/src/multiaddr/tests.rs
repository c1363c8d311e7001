use super::*;
use std::format;
use std::string::ToString;
use std::vec::Vec;

fn parse(text: &str) -> Multiaddr {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
const OTHER: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const ONION3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

/// Texts that print back as they are, with all protocols.
fn samples() -> Vec<std::string::String> {
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
        "/ip4/1.2.3.4/tcp/80/x-parity-ws/%2F",
        "/ip4/1.2.3.4/tcp/80/x-parity-wss/a",
        "/ip4/1.2.3.4/udp/9/quic-v1/webtransport/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg",
        "/ip4/1.2.3.4/udp/9/webrtc-direct/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg",
        "/ip4/1.2.3.4/udp/9/webrtc",
        "/dns4/a/tcp/1/ws/p2p-webrtc-star",
        "/dns4/a/tcp/1/ws/p2p-websocket-star",
        "/ip4/1.2.3.4/tcp/1/http/p2p-webrtc-direct",
        "/ip4/1.2.3.4/tcp/1/p2p-stardust",
    ]
    .map(std::string::String::from)
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
