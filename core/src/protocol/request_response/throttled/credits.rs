//! The books: how many requests may be sent to each peer, and how many each peer may send.
//!
//! Pure sums. Nothing here sends, waits or tells anybody.

use super::super::OutboundRequestId;
use crate::{connection::ConnectionId, identity::PeerId};
use alloc::collections::BTreeMap;
use core::num::NonZeroU16;

/// Peers that are not connected and are remembered; the one that was not met for the longest is forgotten for one more.
pub const MAX_REMEMBERED_PEERS: usize = 8192;

/// How many requests beyond its limit a peer may have unanswered, by starting connections anew: the first request on each is
/// free.
pub const MAX_DEBT: u32 = 16;

/// A credit that was issued, and not acknowledged so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) ident: u64,
    pub(super) credit: u16,
    /// How often it has failed.
    pub(super) failures: u32,
    /// The message on its way.
    pub(super) request: Option<OutboundRequestId>,
}

/// The last credit that was taken from a peer.
#[derive(Clone, Copy, Debug)]
struct Taken {
    ident: u64,
    /// The newest connection that brought one.
    connection: ConnectionId,
}

/// What a request that failed has done to the peer's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// The peer has counted it.
    Counted,
    /// The peer has not seen it.
    Unseen,
    /// Nobody knows.
    Doubtful,
}

#[derive(Debug)]
struct Account {
    connected: bool,
    // Requests to the peer.
    /// How many more may be sent.
    budget: u16,
    /// How many wait for their last word.
    pending: u32,
    /// How many the peer has perhaps not counted. Those it has do no harm here: it does not fall silent on them.
    doubtful: u32,
    taken: Option<Taken>,
    // Requests of the peer.
    limit: NonZeroU16,
    /// How many more it may send: at least what it knows of.
    permits: u16,
    /// How many the application has, or may still work on although the peer gave them up.
    unanswered: u32,
    grant: Option<Grant>,
    /// It was given credit once.
    granted: bool,
    /// On its connections of now, it knows nothing of credits.
    unsupported: bool,
    /// Its place among those remembered.
    place: Option<u64>,
}

impl Account {
    const fn new(limit: NonZeroU16) -> Self {
        Self {
            connected: false,
            budget: 1,
            pending: 0,
            doubtful: 0,
            taken: None,
            limit,
            permits: 1,
            unanswered: 0,
            grant: None,
            granted: false,
            unsupported: false,
            place: None,
        }
    }

    /// A new one would say the same.
    const fn is_blank(&self) -> bool {
        !self.connected
            && self.budget == 1
            && self.pending == 0
            && self.unanswered == 0
            && !self.granted
    }

    /// What the limit leaves for another grant.
    fn room(&self) -> u16 {
        let used = u32::from(self.permits).saturating_add(self.unanswered);
        let used = u16::try_from(used).unwrap_or(u16::MAX);
        self.limit.get().saturating_sub(used)
    }
}

/// The accounts of all peers.
#[derive(Debug)]
pub(super) struct Ledger {
    accounts: BTreeMap<PeerId, Account>,
    /// Peers that are only remembered, the one that was not met for the longest first.
    remembered: BTreeMap<u64, PeerId>,
    places: u64,
    limit: NonZeroU16,
    overrides: BTreeMap<PeerId, NonZeroU16>,
}

impl Ledger {
    pub(super) const fn new() -> Self {
        Self {
            accounts: BTreeMap::new(),
            remembered: BTreeMap::new(),
            places: 0,
            limit: NonZeroU16::MIN,
            overrides: BTreeMap::new(),
        }
    }

    // Limits

    pub(super) const fn set_limit(&mut self, limit: NonZeroU16) {
        self.limit = limit;
    }

    pub(super) fn override_limit(&mut self, peer: &PeerId, limit: NonZeroU16) {
        self.overrides.insert(*peer, limit);
        if let Some(account) = self.accounts.get_mut(peer) {
            account.limit = limit;
        }
    }

    pub(super) fn remove_override(&mut self, peer: &PeerId) -> bool {
        self.overrides.remove(peer).is_some()
    }

    pub(super) fn limit(&self, peer: &PeerId) -> NonZeroU16 {
        let account = self.accounts.get(peer).map(|account| account.limit);
        account.unwrap_or_else(|| self.new_limit(peer))
    }

    fn new_limit(&self, peer: &PeerId) -> NonZeroU16 {
        self.overrides.get(peer).copied().unwrap_or(self.limit)
    }

    // Accounts

    /// Works on a peer's account, and sees to it that it is kept as long as it should be.
    fn with<R>(&mut self, peer: &PeerId, work: impl FnOnce(&mut Account) -> R) -> R {
        let limit = self.new_limit(peer);
        let account = self.accounts.entry(*peer).or_insert(Account::new(limit));
        let result = work(account);
        let rests = !account.connected && account.pending == 0;
        let blank = account.is_blank();
        match (rests && !blank, account.place) {
            (true, None) => {
                account.place = Some(self.places);
                self.remembered.insert(self.places, *peer);
                self.places = self.places.saturating_add(1);
            }
            (false, Some(place)) => {
                account.place = None;
                self.remembered.remove(&place);
            }
            _ => {}
        }
        if blank {
            self.accounts.remove(peer);
        }
        if self.remembered.len() > MAX_REMEMBERED_PEERS
            && let Some((_, oldest)) = self.remembered.pop_first()
        {
            self.accounts.remove(&oldest);
        }
        result
    }

    /// The same for a peer that has an account, if it has.
    fn with_known<R: Default>(&mut self, peer: &PeerId, work: impl FnOnce(&mut Account) -> R) -> R {
        if self.accounts.contains_key(peer) {
            self.with(peer, work)
        } else {
            R::default()
        }
    }

    pub(super) fn connected(&mut self, peer: &PeerId) {
        self.with(peer, |account| account.connected = true);
    }

    /// The peer is gone, and with it what each side allowed the other. On its next connection both have one request. Returns
    /// whether requests could not be sent before, and now can.
    pub(super) fn disconnected(&mut self, peer: &PeerId) -> bool {
        self.with_known(peer, |account| {
            let before = account.budget;
            account.connected = false;
            // The one that may still wait goes first on the next connection.
            account.budget = 1u16.saturating_sub(u16::try_from(account.pending).unwrap_or(1));
            account.doubtful = 0;
            account.taken = None;
            account.permits = 1;
            account.grant = None;
            account.unsupported = false;
            before == 0 && account.budget > 0
        })
    }

    // Requests to a peer

    pub(super) fn can_send(&self, peer: &PeerId) -> bool {
        self.budget(peer) > 0
    }

    pub(super) fn budget(&self, peer: &PeerId) -> u16 {
        self.accounts.get(peer).map_or(1, |account| account.budget)
    }

    /// A request is sent. There was budget for it.
    pub(super) fn spend(&mut self, peer: &PeerId) {
        self.with(peer, |account| {
            account.budget = account.budget.saturating_sub(1);
            account.pending = account.pending.saturating_add(1);
        });
    }

    /// The last word on a request is said. Returns whether requests could not be sent before, and now can.
    pub(super) fn settle(&mut self, peer: &PeerId, spent: Spent) -> bool {
        self.with_known(peer, |account| {
            account.pending = account.pending.saturating_sub(1);
            let before = account.budget;
            match spent {
                Spent::Counted => {}
                Spent::Unseen => account.budget = account.budget.saturating_add(1),
                Spent::Doubtful => account.doubtful = account.doubtful.saturating_add(1),
            }
            before == 0 && account.budget > 0
        })
    }

    /// A peer gives credit. `None` if it is one that came before; otherwise whether requests could not be sent before, and
    /// now can.
    pub(super) fn take(
        &mut self,
        peer: &PeerId,
        connection: ConnectionId,
        ident: u64,
        credit: u16,
    ) -> Option<bool> {
        self.with(peer, |account| {
            let newest = match account.taken {
                None => connection,
                // It counts on.
                Some(taken) if ident > taken.ident => connection.max(taken.connection),
                // It began anew, on a new connection, before the end of the old one was noticed.
                Some(taken) if ident < taken.ident && connection > taken.connection => connection,
                Some(_) => return None,
            };
            account.taken = Some(Taken {
                ident,
                connection: newest,
            });
            let before = account.budget;
            account.budget = account.budget.saturating_add(credit);
            Some(before == 0 && account.budget > 0)
        })
    }

    /// Whether a peer that has everything it was sent would have given credit by now.
    pub(super) fn is_in_doubt(&self, peer: &PeerId) -> bool {
        self.accounts.get(peer).is_some_and(|account| {
            let stalled = account.budget == 0 && account.pending == 0;
            account.connected && stalled && account.doubtful > 0
        })
    }

    /// A peer has given no credit for long: so it has not counted a request that was in doubt.
    pub(super) fn resolve_doubt(&mut self, peer: &PeerId) -> bool {
        let resolved = self.is_in_doubt(peer);
        if resolved {
            self.with_known(peer, |account| {
                account.doubtful = account.doubtful.saturating_sub(1);
                account.budget = 1;
            });
        }
        resolved
    }

    // Requests of a peer

    /// A peer sends a request. Returns whether it may.
    pub(super) fn admit(&mut self, peer: &PeerId) -> bool {
        self.with(peer, |account| {
            let Some(permits) = account.permits.checked_sub(1) else {
                return false;
            };
            account.permits = permits;
            if account.grant.is_some_and(|grant| permits < grant.credit) {
                // Without that grant it could not have sent this one.
                account.grant = None;
            }
            let most = u32::from(account.limit.get()).saturating_add(MAX_DEBT);
            let admitted = account.unanswered < most;
            if admitted {
                account.unanswered = account.unanswered.saturating_add(1);
            }
            admitted
        })
    }

    /// A request of a peer is answered, or will not be.
    pub(super) fn finished(&mut self, peer: &PeerId) {
        self.with_known(peer, |account| {
            account.unanswered = account.unanswered.saturating_sub(1);
        });
    }

    /// Issues a grant, if none is outstanding and the limit leaves room for half of itself. Returns whether one was.
    pub(super) fn issue(&mut self, peer: &PeerId, ident: u64) -> bool {
        self.with_known(peer, |account| {
            let credit = account.room();
            let half = account.limit.get().div_ceil(2);
            let issued = account.connected
                && !account.unsupported
                && account.grant.is_none()
                && credit >= half;
            if issued {
                account.permits = account.permits.saturating_add(credit);
                account.granted = true;
                account.grant = Some(Grant {
                    ident,
                    credit,
                    failures: 0,
                    request: None,
                });
            }
            issued
        })
    }

    /// The grant that is outstanding.
    pub(super) fn grant(&self, peer: &PeerId) -> Option<Grant> {
        self.accounts.get(peer)?.grant
    }

    pub(super) fn grant_mut(&mut self, peer: &PeerId) -> Option<&mut Grant> {
        self.accounts.get_mut(peer)?.grant.as_mut()
    }

    /// A peer has received a grant.
    pub(super) fn acknowledged(&mut self, peer: &PeerId) {
        self.with_known(peer, |account| account.grant = None);
    }

    /// A peer knows nothing of credits. It gets none as long as it stays connected.
    pub(super) fn unsupported(&mut self, peer: &PeerId) {
        self.with_known(peer, |account| account.unsupported = true);
    }

    pub(super) fn is_unsupported(&self, peer: &PeerId) -> bool {
        let account = self.accounts.get(peer);
        account.is_some_and(|account| account.unsupported)
    }

    /// Whether a peer was given credit before, so that it is worth while to give it some at once.
    pub(super) fn was_granted(&self, peer: &PeerId) -> bool {
        let account = self.accounts.get(peer);
        account.is_some_and(|account| account.granted)
    }

    /// Peers with an account.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    #[cfg(test)]
    pub(super) fn permits(&self, peer: &PeerId) -> u16 {
        self.accounts.get(peer).map_or(1, |account| account.permits)
    }

    #[cfg(test)]
    pub(super) fn unanswered(&self, peer: &PeerId) -> u32 {
        let account = self.accounts.get(peer);
        account.map_or(0, |account| account.unanswered)
    }
}
