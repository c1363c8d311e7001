//! What recording costs.

use drywire::{
    connection::StreamKind,
    recording::{Machine, Recorder, SharedRecorder},
};
use drywire_tests::{
    heap,
    pair::{Pair, Setup},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counts entries.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl Recorder for Counter {
    fn record(&self, _: Machine, _: &[u8]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often memory is asked for while small messages go to and fro.
fn calls(recorder: Option<SharedRecorder>) -> u64 {
    let setup = Setup {
        recorder,
        ..Setup::default()
    };
    let mut pair = setup.established();
    let stream = pair.open(0, "/raw", StreamKind::Raw);
    let mut other = None;
    let mut exchange = |pair: &mut Pair| {
        pair.write(0, stream, &[7; 100]);
        pair.settle_for(Duration::from_millis(20));
        let other = *other.get_or_insert_with(|| pair.inbound(1)[0]);
        assert_eq!(pair.read(1, other).0.len(), 100);
        pair.write(1, other, &[7; 100]);
        pair.settle_for(Duration::from_millis(20));
        assert_eq!(pair.read(0, stream).0.len(), 100);
    };
    (0..100).for_each(|_| exchange(&mut pair));
    let before = heap::calls();
    (0..1000).for_each(|_| exchange(&mut pair));
    heap::calls() - before
}

/// Fails if an entry is written to memory of its own.
#[test]
fn entries_take_no_memory() {
    let counter = Counter::default();
    let plain = calls(None);
    let recorded = calls(Some(SharedRecorder::new(counter.clone())));
    assert!(counter.0.load(Ordering::Relaxed) > 10_000);
    assert!(recorded <= plain + 20, "{recorded} against {plain}");
}
