//! What the core costs from the application's bytes to the wire's and back: both ends together, no sockets.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drywire::crypto::Provider;
use drywire_micro_benches::{Nodes, providers};

const MIB: usize = 1024 * 1024;

fn kinds() -> Vec<(&'static str, Nodes)> {
    let noise = Nodes::noise(Provider::default());
    vec![("noise", noise), ("plaintext", Nodes::plaintext())]
}

fn establish(c: &mut Criterion) {
    let mut group = c.benchmark_group("establish");
    for provider in providers() {
        let mut nodes = Nodes::noise(*provider);
        group.bench_function(provider.name(), |b| b.iter(|| nodes.connected()));
    }
    let mut nodes = Nodes::plaintext();
    group.bench_function("plaintext", |b| b.iter(|| nodes.connected()));
}

fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("bulk-4MiB");
    group.throughput(Throughput::Bytes(4 * MIB as u64));
    for (kind, mut nodes) in kinds() {
        for piece in [65_536, 1024, 64] {
            let mut ends = nodes.connected();
            let stream = ends.open();
            let data = vec![7; piece];
            ends.bulk(stream, 16 * MIB, &data);
            group.bench_function(format!("{kind}/writes-of-{piece}"), |b| {
                b.iter(|| ends.bulk(stream, 4 * MIB, &data));
            });
        }
        let mut ends = nodes.connected();
        let stream = ends.open();
        let data = Bytes::from(vec![7; 65_536]);
        ends.bulk_shared(stream, 16 * MIB, &data);
        group.bench_function(format!("{kind}/shared-65536"), |b| {
            b.iter(|| ends.bulk_shared(stream, 4 * MIB, &data));
        });
    }
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo-32B");
    for (kind, mut nodes) in kinds() {
        let mut ends = nodes.connected();
        group.bench_function(format!("{kind}/new-stream"), |b| {
            b.iter(|| ends.echo_on_new_stream(&[7; 32]));
        });
        for count in [1, 100] {
            let mut ends = nodes.connected();
            let streams = ends.lasting(count);
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{kind}/lasting-{count}"), |b| {
                b.iter(|| ends.echo_on(&streams, &[7; 32]));
            });
        }
    }
}

criterion_group!(benches, establish, bulk, echo);
criterion_main!(benches);
