//! What the application wants forgotten, until the store has forgotten it: else it would be published again.

use super::{Deadline, Dht, Moment, storing::Awaiting};
use crate::protocol::kad::{
    key::RecordKey,
    store::{RecordStore, StoreReply, StoreRequest},
};
use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

/// After which time a store that could not reply is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// Something of this node's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Own {
    Record(RecordKey),
    Provider(RecordKey),
}

/// What is to be forgotten, each with the number of the wish: the store may still reply to an older one.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals {
    wanted: BTreeMap<Own, u64>,
    begun: u64,
}

impl<S: RecordStore> Dht<S> {
    /// Forgets something, now or when the store works again.
    pub(super) fn remove_own(&mut self, at: Moment, own: Own) {
        let number = self.removals.begun;
        self.removals.begun = number.saturating_add(1);
        self.removals.wanted.insert(own.clone(), number);
        self.ask_to_remove(at, own, number);
    }

    /// It is to be stored again, perhaps: whether it was to be forgotten until now.
    pub(super) fn suspend_removal(&mut self, own: &Own) -> bool {
        self.removals.wanted.remove(own).is_some()
    }

    /// Whether it is still to be forgotten.
    pub(super) fn is_unwanted(&self, own: &Own) -> bool {
        self.removals.wanted.contains_key(own)
    }

    fn ask_to_remove(&mut self, at: Moment, own: Own, number: u64) {
        let request = match own.clone() {
            Own::Record(key) => StoreRequest::Remove { key },
            Own::Provider(key) => StoreRequest::RemoveProvider {
                key,
                provider: self.local,
            },
        };
        self.ask_store(at, request, Awaiting::Removal { own, number });
    }

    /// The store has forgotten it, or could not.
    pub(super) fn removal_over(&mut self, at: Moment, own: &Own, number: u64, reply: &StoreReply) {
        if self.removals.wanted.get(own) != Some(&number) {
            return;
        }
        if !matches!(reply, StoreReply::Failed(_)) {
            self.removals.wanted.remove(own);
        } else if !self.stopped {
            let again = at.now.saturating_add(RETRY);
            let before = self.timers.get(Deadline::Removals);
            let again = before.map_or(again, |before| before.min(again));
            self.timers.set(Deadline::Removals, again);
        }
    }

    /// The store is asked again.
    pub(super) fn removals_due(&mut self, at: Moment) {
        let wanted = self.removals.wanted.iter();
        let wanted: Vec<_> = wanted.map(|(own, number)| (own.clone(), *number)).collect();
        for (own, number) in wanted {
            self.ask_to_remove(at, own, number);
        }
    }
}
