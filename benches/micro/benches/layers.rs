//! What each layer costs by itself.

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drywire::{
    buffer::{Incoming, ReceiveBuffer},
    crypto::Provider,
    identity::Keypair,
    multistream::{Dialer, Listener, ProtocolName},
    mux::yamux::{Config, Role, Session},
    security::{Role as Side, Secured, SendCipher, noise},
    seed::Seed,
    time::Instant,
    wire::varint,
};
use drywire_micro_benches::providers;
use std::hint::black_box;

const YAMUX: ProtocolName = ProtocolName::from_static("/yamux/1.0.0");

fn varints(c: &mut Criterion) {
    let values: Vec<u64> = (0..1000).map(|n| 1u64 << (n % 64)).collect();
    let mut encoded = Vec::new();
    values
        .iter()
        .for_each(|value| varint::encode(*value, &mut encoded));
    let mut group = c.benchmark_group("varint");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("encode", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(10_000);
            values
                .iter()
                .for_each(|value| varint::encode(*value, &mut out));
            out
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| {
            let (mut left, mut sum) = (&encoded[..], 0u64);
            while let Ok(Some((value, rest))) = varint::split(left) {
                sum ^= value;
                left = rest;
            }
            sum
        });
    });
}

fn negotiate(c: &mut Criterion) {
    let mut group = c.benchmark_group("multistream");
    let accepted: Vec<ProtocolName> = (0..16)
        .map(|n| {
            format!("/a/protocol/of/this/node/{n}")
                .try_into()
                .expect("valid")
        })
        .collect();
    for (label, offered) in [
        ("first-name", vec![accepted[15].clone()]),
        (
            "third-name",
            vec![YAMUX, ProtocolName::from_static("/x"), accepted[15].clone()],
        ),
    ] {
        group.bench_function(label, |b| {
            b.iter(|| {
                let (mut to_listener, mut to_dialer) = (Vec::new(), Vec::new());
                let mut dialer = Dialer::start(&offered, &mut to_listener).expect("valid");
                let mut listener = Listener::new();
                loop {
                    while let Ok(progress) =
                        listener.advance(&accepted[..], &to_listener, &mut to_dialer)
                        && progress.consumed > 0
                    {
                        to_listener.drain(..progress.consumed);
                    }
                    let progress = dialer
                        .advance(&offered, &to_dialer, &mut to_listener)
                        .expect("sound");
                    to_dialer.drain(..progress.consumed);
                    if progress.outcome.is_some() {
                        break progress.outcome;
                    }
                }
            });
        });
    }
}

fn handshake(nodes: &[noise::Local; 2], seeds: &mut Seed) -> (Secured, Secured) {
    let mut start = |node: &noise::Local, side| {
        let rng = seeds.next_child("handshake").rng();
        noise::Handshake::new(node, side, &[YAMUX], rng).expect("starts")
    };
    let mut dialer = start(&nodes[0], Side::Initiator);
    let mut listener = start(&nodes[1], Side::Responder);
    let (mut to_dialer, mut to_listener) = (Vec::new(), Vec::new());
    while !(dialer.is_finished() && listener.is_finished()) {
        let used = dialer.advance(&to_dialer, &mut to_listener).expect("sound");
        to_dialer.drain(..used);
        let used = listener
            .advance(&to_listener, &mut to_dialer)
            .expect("sound");
        to_listener.drain(..used);
    }
    (
        dialer.finish().expect("finished"),
        listener.finish().expect("finished"),
    )
}

fn nodes(provider: Provider) -> [noise::Local; 2] {
    [1, 2].map(|number| {
        let seed = Seed::for_tests(number);
        let keypair = Keypair::ed25519_from_seed(&seed);
        noise::Local::new(provider, &keypair, &seed).expect("keys can be made")
    })
}

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("noise-xx");
    for provider in providers() {
        let (nodes, mut seeds) = (nodes(*provider), Seed::for_tests(3));
        group.bench_function(provider.name(), |b| {
            b.iter(|| handshake(&nodes, &mut seeds))
        });
    }
}

fn ciphers(c: &mut Criterion) {
    for provider in providers() {
        let (mut dialer, mut listener) = handshake(&nodes(*provider), &mut Seed::for_tests(3));
        let mut group = c.benchmark_group(format!("cipher/{}", provider.name()));
        for size in [64, 1024, 16_384, SendCipher::MAX_PLAINTEXT] {
            group.throughput(Throughput::Bytes(size as u64));
            let mut message = Vec::with_capacity(70_000);
            group.bench_function(BenchmarkId::new("seal", size), |b| {
                b.iter(|| {
                    message.resize(2 + size, 0);
                    dialer.send.seal_in_place(&mut message, 0).expect("sealed");
                    message.truncate(2 + size);
                });
            });
            // Each message opens once and in order: a batch is sealed aside, then opened.
            group.bench_function(BenchmarkId::new("seal+open", size), |b| {
                let (mut a, mut z) = handshake(&nodes(*provider), &mut Seed::for_tests(4));
                b.iter(|| {
                    message.clear();
                    message.resize(2 + size, 0);
                    a.send.seal_in_place(&mut message, 0).expect("sealed");
                    z.receive.open_in_place(&mut message[2..]).expect("opened")
                });
            });
        }
        black_box(&mut listener);
    }
}

/// Two sessions with `streams` open streams.
fn sessions(streams: usize) -> (Session<()>, Session<()>, Vec<usize>) {
    let mut config = Config::default();
    config.max_inbound_streams = 1 << 20;
    config.max_outbound_streams = 1 << 20;
    config.max_unacknowledged = 1 << 20;
    let mut dialer = Session::new(Role::Dialer, config.clone());
    let mut listener = Session::new(Role::Listener, config);
    let places = (0..streams)
        .map(|_| dialer.open(Instant::ZERO, ()).expect("room"))
        .collect();
    let mut wire = Vec::new();
    dialer.fill(Instant::ZERO, &mut wire, usize::MAX, 0);
    receive(&mut listener, &mut Incoming::Borrowed(&wire));
    (dialer, listener, places)
}

/// Takes everything in and reads it at once, as an eager application does.
fn receive(session: &mut Session<()>, input: &mut Incoming<'_>) -> usize {
    use drywire::mux::yamux::Notice;
    let mut count = 0;
    while let Some(notice) = session.receive(Instant::ZERO, input).expect("sound") {
        if let Notice::Data(place) = notice {
            while let Some(bytes) = session.pop(place, usize::MAX) {
                count += bytes.len();
            }
        }
    }
    count
}

fn yamux(c: &mut Criterion) {
    let mut group = c.benchmark_group("yamux");
    for (label, streams, size) in [
        ("64KiB-on-1", 1, 65_536),
        ("1KiB-on-64", 64, 1024),
        ("32B-on-100", 100, 32),
    ] {
        group.throughput(Throughput::Bytes((streams * size) as u64));
        let data = Bytes::from(vec![7; size]);
        group.bench_function(format!("there/{label}"), |b| {
            let (mut dialer, mut listener, places) = sessions(streams);
            let (mut wire, mut back) = (Vec::with_capacity(1 << 18), Vec::new());
            let mut buffer = ReceiveBuffer::new(1 << 18);
            b.iter(|| {
                for place in &places {
                    dialer.write_copy(*place, &data);
                }
                wire.clear();
                dialer.fill(Instant::ZERO, &mut wire, usize::MAX, 0);
                buffer.prepare(wire.len()).extend_from_slice(&wire);
                let received = receive(&mut listener, &mut buffer.split(wire.len()));
                assert_eq!(received, streams * size);
                back.clear();
                listener.fill(Instant::ZERO, &mut back, usize::MAX, 0);
                receive(&mut dialer, &mut Incoming::Borrowed(&back));
            });
        });
    }
    group.finish();
    c.bench_function("yamux/open-and-reset", |b| {
        b.iter_batched_ref(
            || sessions(0).0,
            |session| {
                for _ in 0..100 {
                    let place = session.open(Instant::ZERO, ()).expect("room");
                    session.reset(place, 0);
                }
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, varints, negotiate, handshakes, ciphers, yamux);
criterion_main!(benches);
