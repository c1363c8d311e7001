//! What Kademlia costs per message: a request for the peers closest to a key, decoded and answered with 20 of them, and reading
//! such an answer.

use criterion::{Criterion, criterion_group, criterion_main};
use drywire_micro_benches::kad::{Server, find_node, read};
use std::hint::black_box;

fn find_nodes(c: &mut Criterion) {
    let request = find_node();
    let mut group = c.benchmark_group("kad/find-node");
    for peers in [20, 200, 1000] {
        let mut server = Server::knowing(peers);
        let answer = server.answer(&request).expect("answered");
        assert_eq!(read(&answer), (20, 40));
        group.bench_function(format!("answer-of-{peers}"), |b| {
            b.iter(|| server.answer(black_box(&request)));
        });
        if peers == 200 {
            group.bench_function("read-answer", |b| b.iter(|| read(black_box(&answer))));
        }
    }
    group.finish();
}

criterion_group!(benches, find_nodes);
criterion_main!(benches);
