//! What values and their encodings cost: addresses, identities, signatures, records, messages.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drywire::{
    identity::{Keypair, PeerId, PublicKey},
    multiaddr::Multiaddr,
    record::PeerRecord,
    seed::Seed,
    wire::{
        framing,
        protobuf::{Reader, Value, Writer, check_counts},
    },
};
use std::hint::black_box;

fn keypair() -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(1))
}

fn addresses(count: usize) -> Vec<Multiaddr> {
    let text = (0..count).map(|number| format!("/ip4/192.0.2.{number}/tcp/4001"));
    text.map(|text| text.parse().expect("sound")).collect()
}

fn multiaddrs(c: &mut Criterion) {
    let peer = keypair().peer_id();
    let texts = [
        ("tcp", "/ip4/192.0.2.1/tcp/4001".to_owned()),
        (
            "quic",
            format!("/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{peer}"),
        ),
        (
            "relayed",
            format!("/dns4/relay.example.org/tcp/443/tls/ws/p2p/{peer}/p2p-circuit/p2p/{peer}"),
        ),
    ];
    for (name, text) in texts {
        let address: Multiaddr = text.parse().expect("sound");
        let mut group = c.benchmark_group(format!("multiaddr/{name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("parse-text", |b| {
            b.iter(|| black_box(&text).parse::<Multiaddr>());
        });
        group.bench_function("to-text", |b| b.iter(|| black_box(&address).to_string()));
        group.throughput(Throughput::Bytes(address.as_bytes().len() as u64));
        group.bench_function("from-bytes", |b| {
            b.iter(|| Multiaddr::from_bytes(black_box(address.as_bytes())));
        });
        let shared = address.to_shared();
        group.bench_function("from-shared-bytes", |b| {
            b.iter(|| Multiaddr::from_shared(black_box(&shared).clone()));
        });
        group.bench_function("components-to-bytes", |b| {
            b.iter(|| Multiaddr::from_protocols(black_box(&address)));
        });
    }
}

fn peer_ids(c: &mut Criterion) {
    let (key, peer) = (keypair().public(), keypair().peer_id());
    let (base58, cid) = (peer.to_base58(), peer.to_cid());
    let mut group = c.benchmark_group("peer-id");
    group.bench_function("from-key", |b| {
        b.iter(|| PeerId::from_public_key(black_box(&key)))
    });
    group.bench_function("to-key", |b| b.iter(|| black_box(peer).public_key()));
    group.bench_function("from-bytes", |b| {
        b.iter(|| PeerId::from_bytes(black_box(peer.as_bytes())));
    });
    group.bench_function("to-base58", |b| b.iter(|| black_box(peer).to_base58()));
    group.bench_function("from-base58", |b| {
        b.iter(|| black_box(&base58).parse::<PeerId>());
    });
    group.bench_function("to-cid", |b| b.iter(|| black_box(peer).to_cid()));
    group.bench_function("from-cid", |b| b.iter(|| black_box(&cid).parse::<PeerId>()));
}

fn keys(c: &mut Criterion) {
    let keypair = keypair();
    let public = keypair.public();
    let mut group = c.benchmark_group("ed25519");
    for size in [64, 4096] {
        let message = vec![7; size];
        let signature = keypair.sign(&message);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("sign/{size}"), |b| {
            b.iter(|| keypair.sign(black_box(&message)));
        });
        group.bench_function(format!("verify/{size}"), |b| {
            b.iter(|| {
                let verified = public.verify(black_box(&message), &signature);
                verified.expect("signed");
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("ed25519/protobuf");
    let (encoded, secret) = (public.to_protobuf(), keypair.to_protobuf());
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("encode-public", |b| {
        b.iter(|| black_box(&public).to_protobuf());
    });
    group.bench_function("decode-public", |b| {
        b.iter(|| PublicKey::from_protobuf(black_box(&encoded)).expect("sound"));
    });
    group.throughput(Throughput::Bytes(secret.len() as u64));
    group.bench_function("encode-pair", |b| {
        b.iter(|| black_box(&keypair).to_protobuf())
    });
    group.bench_function("decode-pair", |b| {
        b.iter(|| Keypair::from_protobuf(black_box(&secret)).expect("sound"));
    });
}

fn records(c: &mut Criterion) {
    let keypair = keypair();
    for count in [1, 8, 64] {
        let addresses = addresses(count);
        let sealed = PeerRecord::seal(&keypair, 1, &addresses).expect("few enough");
        let mut group = c.benchmark_group(format!("peer-record/{count}-addresses"));
        group.throughput(Throughput::Bytes(sealed.len() as u64));
        group.bench_function("seal", |b| {
            b.iter(|| PeerRecord::seal(&keypair, 1, black_box(&addresses)));
        });
        group.bench_function("open", |b| {
            b.iter(|| PeerRecord::open(black_box(&sealed)).expect("sealed"));
        });
    }
}

/// A message of a hundred nested ones, as protocols have them that tell of peers.
fn write(peers: &[Vec<u8>], out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.uint64(1, 4);
    for peer in peers {
        writer.message(2, |writer| {
            writer.bytes(1, peer).uint64(2, 1 << 20);
        });
    }
}

/// Everything in it, without a copy.
fn read(message: &[u8]) -> usize {
    let fields = Reader::new(message).map(|field| match field.expect("sound").value {
        Value::Bytes(nested) => Reader::new(nested)
            .map(|field| match field.expect("sound").value {
                Value::Bytes(peer) => peer.len(),
                _ => 1,
            })
            .sum(),
        _ => 1,
    });
    fields.sum()
}

fn protobuf(c: &mut Criterion) {
    let peer = keypair().peer_id().to_bytes();
    let peers = vec![peer; 100];
    let mut message = Vec::new();
    write(&peers, &mut message);
    assert_eq!(read(&message), 1 + 100 * (peers[0].len() + 1));
    let mut group = c.benchmark_group("protobuf");
    group.throughput(Throughput::Bytes(message.len() as u64));
    let mut out = Vec::with_capacity(message.len() * 2);
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            write(black_box(&peers), &mut out);
            out.len()
        });
    });
    group.bench_function("read", |b| b.iter(|| read(black_box(&message))));
    group.bench_function("check-counts", |b| {
        b.iter(|| check_counts(black_box(&message), &[(2, 100), (3, 100)]).expect("few enough"));
    });
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing");
    for (count, size) in [(1000, 32), (64, 1024), (1, 65_536)] {
        let body = vec![7; size];
        let encode = |out: &mut Vec<u8>| {
            out.clear();
            (0..count).for_each(|_| framing::encode(black_box(&body), out));
        };
        let (mut out, mut wire) = (Vec::new(), Vec::new());
        encode(&mut wire);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(format!("encode/{count}-of-{size}"), |b| {
            b.iter(|| encode(&mut out));
        });
        // Nothing is copied: what this costs is the headers.
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("decode/{count}-of-{size}"), |b| {
            b.iter(|| {
                let (mut rest, mut bytes) = (black_box(&wire[..]), 0);
                while let Ok(Some(frame)) = framing::decode(rest, 65_536) {
                    let (body, after) = frame.split(rest).expect("whole");
                    (rest, bytes) = (after, bytes + body.len());
                }
                bytes
            });
        });
    }
}

criterion_group!(
    benches, multiaddrs, peer_ids, keys, records, protobuf, frames
);
criterion_main!(benches);
