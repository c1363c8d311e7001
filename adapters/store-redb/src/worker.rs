//! The thread that waits for the disk, and what it has in common with the store.

use crate::{
    RedbStoreConfig, Statistics,
    engine::{Engine, Job, Replies},
};
use alloc::collections::{BTreeSet, VecDeque};
use core::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
};
use drywire::protocol::kad::store::{StoreError, StoreReply, StoreRequest, StoreRequestId};
use std::{
    panic::catch_unwind,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// Bytes of the requests in the queue.
    queued_bytes: usize,
    replies: VecDeque<(StoreRequestId, StoreReply)>,
    /// Requests whose replies have not been taken.
    pending: usize,
    statistics: Statistics,
    refused: u64,
    is_closing: bool,
    has_ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    more: Condvar,
    /// As many as `replies`, to be read without waiting for the lock.
    ready: AtomicUsize,
}

/// Bytes that a request holds in the queue.
fn size(request: &StoreRequest) -> usize {
    match request {
        StoreRequest::Put { record, .. } => record
            .key
            .as_bytes()
            .len()
            .saturating_add(record.value.len()),
        StoreRequest::AddProvider { record, .. } => {
            let addresses = record
                .addresses
                .iter()
                .map(|address| address.as_bytes().len());
            addresses.fold(record.key.as_bytes().len(), usize::saturating_add)
        }
        _ => 0,
    }
}

impl Shared {
    /// Nothing panics while it holds the lock, and if it did, each field would still be right by itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a request, unless there are too many. Whether it did.
    pub(crate) fn submit(&self, job: Job, config: &RedbStoreConfig) -> bool {
        let mut state = self.lock();
        let bytes = state.queued_bytes.saturating_add(size(&job.request));
        if state.has_ended
            || state.pending >= config.max_pending
            || bytes > config.max_pending_bytes
        {
            state.refused = state.refused.saturating_add(1);
            return false;
        }
        state.pending = state.pending.saturating_add(1);
        state.queued_bytes = bytes;
        state.queue.push_back(job);
        drop(state);
        self.more.notify_one();
        true
    }

    pub(crate) fn poll_reply(&self) -> Option<(StoreRequestId, StoreReply)> {
        if !self.has_reply() {
            return None;
        }
        let mut state = self.lock();
        let reply = state.replies.pop_front()?;
        state.pending = state.pending.saturating_sub(1);
        self.ready.store(state.replies.len(), Ordering::Release);
        Some(reply)
    }

    pub(crate) fn has_reply(&self) -> bool {
        self.ready.load(Ordering::Acquire) > 0
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let state = self.lock();
        Statistics {
            refused: state.refused,
            ..state.statistics
        }
    }

    pub(crate) fn set_statistics(&self, statistics: Statistics) {
        self.lock().statistics = statistics;
    }

    /// The worker is to end when it has done what waits.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.more.notify_one();
    }

    /// The next requests, at least one; none at the end.
    fn next_batch(&self, config: &RedbStoreConfig) -> Vec<Job> {
        let mut state = self.lock();
        while state.queue.is_empty() && !state.is_closing {
            state = self
                .more
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.queue.len().min(config.max_batch.max(1));
        let batch: Vec<Job> = state.queue.drain(..count).collect();
        let bytes = batch
            .iter()
            .map(|job| size(&job.request))
            .fold(0, usize::saturating_add);
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        batch
    }

    fn deliver(&self, replies: Replies, statistics: Statistics) {
        let mut state = self.lock();
        state.replies.extend(replies);
        state.statistics = statistics;
        self.ready.store(state.replies.len(), Ordering::Release);
    }
}

/// Says that the worker has ended, however it ended: what is asked then is refused at once.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
    }
}

/// What the thread does until the store is dropped.
pub(crate) fn work(shared: &Shared, mut engine: Engine, config: &RedbStoreConfig) {
    let _end = End(shared);
    loop {
        let batch = shared.next_batch(config);
        if batch.is_empty() {
            return;
        }
        let mut unanswered: BTreeSet<StoreRequestId> = batch.iter().map(|job| job.id).collect();
        let wakers = wakers(&batch);
        let mut deliver = |replies: Replies, statistics| {
            for (id, _) in &replies {
                unanswered.remove(id);
            }
            shared.deliver(replies, statistics);
            wakers.iter().for_each(Waker::wake_by_ref);
        };
        // redb checks what it reads by asserting; so may a validator of the user's. Neither may leave requests without replies.
        if catch_unwind(AssertUnwindSafe(|| engine.run(batch, &mut deliver))).is_err() {
            engine.give_up();
            let failed = |id| (id, StoreReply::Failed(StoreError::Unavailable));
            let replies = unanswered.into_iter().map(failed).collect();
            shared.deliver(replies, engine.statistics());
            wakers.iter().for_each(Waker::wake_by_ref);
        }
    }
}

/// Of a batch, each once.
fn wakers(batch: &[Job]) -> Vec<Waker> {
    let mut wakers: Vec<Waker> = Vec::new();
    for waker in batch.iter().filter_map(|job| job.waker.as_ref()) {
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
    wakers
}
