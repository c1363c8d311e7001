//! Stores that reply late, or not at all.

use super::{
    bench::{Bench, LOCAL, SECOND, quiet},
    village::peer,
};
use crate::{
    protocol::kad::{
        Event, MemoryStore, MemoryStoreConfig, QueryInfo, QueryOptions, QueryResult, Quorum,
        Record, RecordKey, RecordStore,
        store::{StoreError, StoreReply, StoreRequest, StoreRequestId},
    },
    time::UnixTime,
};
use alloc::collections::VecDeque;
use core::{num::NonZeroUsize, task::Waker, time::Duration};
use std::{format, vec::Vec};

/// A store that keeps its replies back for a while, and gives them out of order.
pub(super) struct SlowStore {
    inner: MemoryStore,
    pub(super) slow: bool,
    /// It can do nothing at the moment.
    pub(super) broken: bool,
    /// It may hold what was stored in an earlier life.
    pub(super) durable: bool,
    held: Vec<(StoreRequestId, StoreReply)>,
    ready: VecDeque<(StoreRequestId, StoreReply)>,
}

impl SlowStore {
    pub(super) fn new() -> Self {
        Self {
            inner: MemoryStore::new(&peer(LOCAL), MemoryStoreConfig::default()),
            slow: true,
            broken: false,
            durable: false,
            held: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// A store that replies at once, and was there before.
    pub(super) fn durable(inner: MemoryStore) -> Self {
        Self {
            inner,
            slow: false,
            durable: true,
            ..Self::new()
        }
    }

    /// One of the replies is there.
    pub(super) fn release(&mut self, which: usize) {
        if !self.held.is_empty() {
            let which = which % self.held.len();
            self.ready.push_back(self.held.remove(which));
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }
}

impl RecordStore for SlowStore {
    fn is_durable(&self) -> bool {
        self.durable
    }

    fn submit(
        &mut self,
        id: StoreRequestId,
        request: StoreRequest,
        now: UnixTime,
        waker: Option<&Waker>,
    ) -> Option<StoreReply> {
        let reply = if self.broken {
            StoreReply::Failed(StoreError::Unavailable)
        } else {
            self.inner.submit(id, request, now, waker).unwrap()
        };
        if !self.slow {
            return Some(reply);
        }
        self.held.push((id, reply));
        None
    }

    fn poll_reply(&mut self) -> Option<(StoreRequestId, StoreReply)> {
        self.ready.pop_front()
    }

    fn has_reply(&self) -> bool {
        !self.ready.is_empty()
    }
}

fn key(number: usize) -> RecordKey {
    RecordKey::from(format!("key {number}").as_str())
}

/// The record and the announcement wait for the own store; what comes of it late is no harm.
#[test]
fn a_query_waits_for_its_store_and_no_longer_than_it_may() {
    for in_time in [true, false] {
        let mut bench = Bench::with_store(quiet(), SlowStore::new());
        bench.know(1..4);
        let options = QueryOptions::new();
        let put = bench
            .run(|dht, at| dht.put_record(at, Record::new(key(1), "value"), Quorum::One, options))
            .unwrap();
        let provide = bench
            .run(|dht, at| dht.start_providing(at, key(1)))
            .unwrap();
        assert!(bench.asked.is_empty());
        let info = bench.dht.query(&put).unwrap().info().clone();
        assert!(matches!(info, QueryInfo::PutRecord { .. }));
        bench.pass(if in_time { 59 } else { 60 } * SECOND);
        assert_eq!(
            (bench.is_over(put), bench.is_over(provide)),
            (!in_time, !in_time)
        );
        // Out of order.
        for which in [1, 0] {
            bench.dht.store_mut().release(which);
        }
        bench.pass(Duration::ZERO);
        assert_eq!(bench.asked.len(), if in_time { 6 } else { 0 });
        bench.pass(2 * SECOND);
        assert!(bench.is_over(put) && bench.is_over(provide));
        assert_eq!(bench.dht.leftovers()[1], 0);
    }
}

/// What this node has comes when the lookup has long begun, or is over.
#[test]
fn an_own_record_may_come_late() {
    let mut bench = Bench::with_store(quiet(), SlowStore::new());
    bench.know([1]);
    bench.dht.store_mut().slow = false;
    let options = QueryOptions::new();
    bench
        .run(|dht, at| dht.put_record(at, Record::new(key(1), "value"), Quorum::One, options))
        .unwrap();
    bench.serve(|_| None);
    bench.dht.store_mut().slow = true;
    let one = NonZeroUsize::MIN;
    let query = bench
        .run(|dht, at| dht.get_record(at, key(1), options.quorum(one)))
        .unwrap();
    assert!(!bench.is_over(query) && bench.asked.len() == 1);
    bench.dht.store_mut().release(0);
    bench.pass(Duration::ZERO);
    assert!(
        bench.is_over(query) && bench.asked.is_empty(),
        "nobody need be waited for"
    );
    let query = bench
        .run(|dht, at| dht.get_record(at, key(1), options))
        .unwrap();
    bench.serve(|_| None);
    // Nobody else has it, or is there.
    assert_eq!(bench.results(query).len(), 0);
    bench.dht.store_mut().release(0);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.results(query).len(), 2);
    assert!(bench.is_over(query));
    // The store does not reply: the query ends when its time does.
    let query = bench
        .run(|dht, at| dht.get_record(at, key(1), options))
        .unwrap();
    bench.serve(|_| None);
    bench.pass(59 * SECOND);
    assert!(!bench.is_over(query));
    bench.pass(SECOND);
    assert!(bench.is_over(query));
}

/// Regression: a store that fails once ended a run through all records, and the next one was a day away.
#[test]
fn a_run_goes_on_when_the_store_replies_again() {
    let mut config = quiet();
    config.publication_interval = Some(3600 * SECOND);
    config.provider_publication_interval = Some(3600 * SECOND);
    let mut bench = Bench::with_store(config, SlowStore::new());
    bench.dht.store_mut().slow = false;
    bench.know([1]);
    for number in 0..25 {
        let record = Record::new(key(number), "value");
        let options = QueryOptions::new();
        bench
            .run(|dht, at| dht.put_record(at, record, Quorum::One, options))
            .unwrap();
        bench
            .run(|dht, at| dht.start_providing(at, key(number)))
            .unwrap();
        bench.serve(|_| None);
        bench.know([1]);
    }
    bench.events.clear();
    bench.dht.store_mut().broken = true;
    bench.pass(3600 * SECOND);
    assert!(bench.asked.is_empty());
    bench.pass(100 * SECOND);
    bench.dht.store_mut().broken = false;
    bench.pass(30 * SECOND);
    for _ in 0..100 {
        bench.serve(|_| None);
        bench.know([1]);
    }
    let told = bench.events.iter().filter(|event| {
        matches!(
            event,
            Event::OutboundQueryProgressed {
                result: QueryResult::RepublishRecord(_) | QueryResult::RepublishProvider(_),
                ..
            }
        )
    });
    assert_eq!(told.count(), 50);
}

/// There was room when the store was asked what to publish, and there is none when it replies.
#[test]
fn what_has_no_room_when_the_store_replies_is_published_later() {
    let mut config = quiet();
    config.publication_interval = Some(3600 * SECOND);
    config.provider_publication_interval = Some(3600 * SECOND);
    config.max_queries = 3;
    let mut bench = Bench::with_store(config, SlowStore::new());
    bench.know([1]);
    bench.dht.store_mut().slow = false;
    let options = QueryOptions::new();
    for number in 0..3 {
        let record = Record::new(key(number), "value");
        bench
            .run(|dht, at| dht.put_record(at, record, Quorum::One, options))
            .unwrap();
        bench.serve(|_| None);
        bench
            .run(|dht, at| dht.start_providing(at, key(number)))
            .unwrap();
        bench.serve(|_| None);
    }
    bench.know([1]);
    bench.dht.store_mut().slow = true;
    bench.pass(3600 * SECOND);
    assert!(bench.dht.store().held() > 0);
    for number in 0..3 {
        bench
            .run(|dht, at| dht.get_closest_peers(at, key(number).as_bytes(), options))
            .unwrap();
    }
    bench.events.clear();
    for _ in 0..50 {
        bench.dht.store_mut().release(0);
        bench.pass(Duration::ZERO);
        bench.serve(|_| None);
        bench.know([1]);
    }
    let told = |record: bool| {
        let told = bench.events.iter().filter(|event| match event {
            Event::OutboundQueryProgressed { result, .. } => match result {
                QueryResult::RepublishRecord(_) => record,
                QueryResult::RepublishProvider(_) => !record,
                _ => false,
            },
            _ => false,
        });
        told.count()
    };
    assert_eq!((told(true), told(false)), (3, 3));
}

/// What is to be forgotten while the store does not work is forgotten when it does; unless it was put again.
#[test]
fn what_is_removed_stays_removed_though_the_store_fails() {
    let mut bench = Bench::with_store(quiet(), SlowStore::new());
    bench.dht.store_mut().slow = false;
    let options = QueryOptions::new();
    let own = |bench: &mut Bench<SlowStore>| {
        let store = bench.dht.store_mut();
        let mut count = |request| match store.submit(
            StoreRequestId(u64::MAX),
            request,
            UnixTime::from_secs(1_800_000_000),
            None,
        ) {
            Some(StoreReply::Records(all)) => all.len(),
            Some(StoreReply::Provided(all)) => all.len(),
            other => panic!("{other:?}"),
        };
        let (after, limit) = (None, 100);
        let records = StoreRequest::Records {
            after: after.clone(),
            limit,
        };
        [
            count(records),
            count(StoreRequest::Provided { after, limit }),
        ]
    };
    for number in 0..3 {
        let record = Record::new(key(number), "value");
        let put = bench.run(|dht, at| dht.put_record(at, record, Quorum::One, options));
        put.unwrap();
        let provide = bench.run(|dht, at| dht.start_providing(at, key(number)));
        provide.unwrap();
    }
    assert_eq!(own(&mut bench), [3, 3]);
    bench.dht.store_mut().broken = true;
    for number in 0..3 {
        bench.run(|dht, at| dht.remove_record(at, key(number)));
        bench.run(|dht, at| dht.stop_providing(at, key(number)));
    }
    bench.pass(100 * SECOND);
    bench.dht.store_mut().broken = false;
    assert_eq!(own(&mut bench), [3, 3]);
    let record = Record::new(key(2), "value");
    let put = bench.run(|dht, at| dht.put_record(at, record, Quorum::One, options));
    put.unwrap();
    bench.pass(30 * SECOND);
    assert_eq!(own(&mut bench), [1, 0], "all but what was put again");
    assert_eq!(bench.dht.poll_timeout(), None, "it is not asked any more");
}

/// What was to be forgotten still is when a put of the same key does not get into the store.
#[test]
fn a_put_that_fails_forgets_no_removal() {
    for slow in [false, true] {
        let mut bench = Bench::with_store(quiet(), SlowStore::new());
        bench.dht.store_mut().slow = false;
        let put = |bench: &mut Bench<SlowStore>| {
            let record = Record::new(key(1), "value");
            bench.run(|dht, at| dht.put_record(at, record, Quorum::One, QueryOptions::new()))
        };
        put(&mut bench).unwrap();
        bench.dht.store_mut().broken = true;
        bench.run(|dht, at| dht.remove_record(at, key(1)));
        bench.dht.store_mut().slow = slow;
        let again = put(&mut bench);
        assert_eq!(again.is_err(), !slow);
        bench.dht.store_mut().slow = false;
        bench.dht.store_mut().release(0);
        bench.pass(SECOND);
        bench.dht.store_mut().broken = false;
        bench.pass(100 * SECOND);
        let get = StoreRequest::Get { key: key(1) };
        let unix = bench.at().unix;
        let store = bench.dht.store_mut();
        let reply = store.submit(StoreRequestId(u64::MAX), get, unix, None);
        assert_eq!(reply, Some(StoreReply::Record(None)), "{slow}");
    }
}
