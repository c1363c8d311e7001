//! Node-wide resources, leased to connections in blocks.
//!
//! Nothing is shared between a connection and its swarm but messages, so limits that span connections cannot be shared
//! counters. The swarm's [`Ledger`] owns the totals; each connection works within the [`Lease`] it holds, asks for more,
//! and gives back what it does not use. Being refused is normal: a window does not grow, a stream is reset.
//!
//! The ledger is a tree of scopes: the node, the peers, their connections. What is reserved in a scope is reserved in
//! every scope above it, so the sum of the children never exceeds the parent, and nothing is counted twice.

use core::{fmt, num::NonZeroU64};
use slab::Slab;

/// An amount of the resources that are shared by all connections of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Lease {
    /// Bytes that may be held: received and unread, or promised by windows grown above their start.
    pub bytes: u64,
    /// Streams that may be open.
    pub streams: u32,
}

impl Lease {
    /// Nothing.
    pub const EMPTY: Self = Self {
        bytes: 0,
        streams: 0,
    };

    /// The given amounts.
    #[must_use]
    pub const fn new(bytes: u64, streams: u32) -> Self {
        Self { bytes, streams }
    }

    /// Whether this is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// Both together, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            streams: self.streams.saturating_add(other.streams),
        }
    }

    /// What is left after taking `other`, saturating at nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            streams: self.streams.saturating_sub(other.streams),
        }
    }
}

/// What the connections of a node share, and how it is dealt out. Every value is finite by default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Limits {
    /// All connections together: 128 MiB, 131,072 streams.
    pub node: Lease,
    /// All connections of one peer: 64 MiB, 2048 streams.
    pub peer: Lease,
    /// One connection: 32 MiB, 1024 streams.
    pub connection: Lease,
    /// What a connection has from the start: 128 KiB, 256 streams. A connection is refused if not even the streams are
    /// there. Fewer than the 256 that a peer may open before the first is acknowledged would have a burst of them reset
    /// before more could be leased.
    pub initial: Lease,
    /// Requests are rounded up to multiples of this: 256 KiB, 64 streams.
    pub block: Lease,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            node: Lease::new(128 * MIB, 131_072),
            peer: Lease::new(64 * MIB, 2048),
            connection: Lease::new(32 * MIB, 1024),
            initial: Lease::new(MIB / 8, 256),
            block: Lease::new(MIB / 4, 64),
        }
    }
}

/// Names a scope of a [`Ledger`]. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScopeId {
    place: u32,
    generation: NonZeroU64,
}

/// A limit stood against a reservation. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerError {
    /// A limit of the scope itself, or of one above it.
    LimitReached,
    /// Own misuse: there is no such scope (any more).
    NoScope,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LimitReached => "resource limit reached",
            Self::NoScope => "no such scope",
        })
    }
}

impl core::error::Error for LedgerError {}

#[derive(Debug)]
struct Scope {
    generation: NonZeroU64,
    /// Where the scope above is; it stays as long as this one does.
    parent: Option<u32>,
    children: u32,
    limit: Lease,
    used: Lease,
}

/// The books of what is lent to whom.
///
/// ```
/// use drywire::resource::{Lease, Ledger};
///
/// let mut ledger = Ledger::new(Lease::new(100, 10));
/// let peer = ledger.open(ledger.root(), Lease::new(80, 8))?;
/// let connection = ledger.open(peer, Lease::new(50, 5))?;
/// ledger.reserve(connection, Lease::new(40, 4))?;
/// assert!(ledger.reserve(connection, Lease::new(20, 0)).is_err());
/// assert_eq!(ledger.used(ledger.root()), Lease::new(40, 4));
/// ledger.close(connection);
/// assert!(ledger.used(ledger.root()).is_empty());
/// # Ok::<(), drywire::resource::LedgerError>(())
/// ```
#[derive(Debug)]
pub struct Ledger {
    scopes: Slab<Scope>,
    root: ScopeId,
    /// How many scopes there have been.
    generations: NonZeroU64,
}

impl Ledger {
    /// A ledger whose root scope has this limit.
    #[must_use]
    pub fn new(limit: Lease) -> Self {
        let mut scopes = Slab::new();
        let scope = Scope {
            generation: NonZeroU64::MIN,
            parent: None,
            children: 0,
            limit,
            used: Lease::EMPTY,
        };
        scopes.insert(scope);
        Self {
            scopes,
            root: ScopeId {
                place: 0,
                generation: NonZeroU64::MIN,
            },
            generations: NonZeroU64::MIN,
        }
    }

    /// The scope of the node.
    #[must_use]
    pub const fn root(&self) -> ScopeId {
        self.root
    }

    /// Opens a scope below `parent`.
    ///
    /// # Errors
    /// [`LedgerError::NoScope`] if the parent is closed; [`LedgerError::LimitReached`] if there are 2^32 scopes.
    pub fn open(&mut self, parent: ScopeId, limit: Lease) -> Result<ScopeId, LedgerError> {
        let place = u32::try_from(self.scopes.vacant_key()).ok();
        let place = place.ok_or(LedgerError::LimitReached)?;
        let above = self.scope_mut(parent).ok_or(LedgerError::NoScope)?;
        above.children = above.children.saturating_add(1);
        self.generations = self.generations.saturating_add(1);
        let generation = self.generations;
        let scope = Scope {
            generation,
            parent: Some(parent.place),
            children: 0,
            limit,
            used: Lease::EMPTY,
        };
        self.scopes.insert(scope);
        Ok(ScopeId { place, generation })
    }

    /// Reserves in a scope and all above it, or nowhere.
    ///
    /// # Errors
    /// [`LedgerError::LimitReached`] if one of them has not enough left.
    pub fn reserve(&mut self, scope: ScopeId, amount: Lease) -> Result<(), LedgerError> {
        let free = self.available(scope).ok_or(LedgerError::NoScope)?;
        if amount.bytes > free.bytes || amount.streams > free.streams {
            return Err(LedgerError::LimitReached);
        }
        self.for_each_up(scope, |scope| scope.used = scope.used.plus(amount));
        Ok(())
    }

    /// Reserves as much as can be had of a request, rounded up to multiples of `block`; bytes and streams each for
    /// themselves. Returns what was reserved.
    #[must_use]
    pub fn lend(&mut self, scope: ScopeId, request: Lease, block: Lease) -> Lease {
        let free = self.available(scope).unwrap_or_default();
        let bytes = grant(request.bytes, block.bytes, free.bytes);
        let [streams, block, free] = [request.streams, block.streams, free.streams].map(u64::from);
        let streams = u32::try_from(grant(streams, block, free)).unwrap_or(0);
        let granted = Lease::new(bytes, streams);
        match self.reserve(scope, granted) {
            Ok(()) => granted,
            Err(_) => Lease::EMPTY,
        }
    }

    /// Gives back, in the scope and all above it. More than was reserved is not given back.
    pub fn release(&mut self, scope: ScopeId, amount: Lease) {
        let used = self.used(scope);
        let amount = Lease::new(
            amount.bytes.min(used.bytes),
            amount.streams.min(used.streams),
        );
        self.for_each_up(scope, |scope| scope.used = scope.used.minus(amount));
    }

    /// Gives back everything and forgets the scope. A scope with open children, and the root, stay as they are;
    /// returns whether the scope is closed now. Closing twice changes nothing.
    pub fn close(&mut self, scope: ScopeId) -> bool {
        let Some(closing) = self.scope(scope) else {
            return true;
        };
        let (parent, used) = (closing.parent, closing.used);
        if closing.children > 0 || parent.is_none() {
            return false;
        }
        self.release(scope, used);
        self.scopes.try_remove(place(scope.place));
        if let Some(above) = parent.and_then(|parent| self.scopes.get_mut(place(parent))) {
            above.children = above.children.saturating_sub(1);
        }
        true
    }

    /// What is reserved in a scope and below it.
    #[must_use]
    pub fn used(&self, scope: ScopeId) -> Lease {
        self.scope(scope).map_or(Lease::EMPTY, |scope| scope.used)
    }

    /// What could still be reserved there; `None` for a closed scope.
    #[must_use]
    pub fn available(&self, scope: ScopeId) -> Option<Lease> {
        let mut free = Lease::new(u64::MAX, u32::MAX);
        let mut next = Some(self.scope(scope)?);
        while let Some(scope) = next {
            let left = scope.limit.minus(scope.used);
            free = Lease::new(free.bytes.min(left.bytes), free.streams.min(left.streams));
            next = match scope.parent {
                Some(parent) => Some(self.scopes.get(place(parent))?),
                None => None,
            };
        }
        Some(free)
    }

    /// Scopes open below the root.
    #[must_use]
    pub fn scopes(&self) -> usize {
        self.scopes.len().saturating_sub(1)
    }

    /// Checks the books: in every scope, what its children have reserved is within what it has, and that within its limit;
    /// a scope that has children has reserved nothing for itself.
    ///
    /// # Errors
    /// What does not add up, in words. It would be a bug in this crate or, where a scope with children was given
    /// reservations of its own, in the caller's use of it.
    pub fn audit(&self) -> Result<(), alloc::string::String> {
        let mut below: alloc::collections::BTreeMap<usize, (u32, Lease)> = Default::default();
        for (_, scope) in &self.scopes {
            if let Some(parent) = scope.parent {
                let (children, sum) = below.entry(place(parent)).or_default();
                *children = children.saturating_add(1);
                *sum = sum.plus(scope.used);
            }
        }
        for (at, scope) in &self.scopes {
            let (children, sum) = below.get(&at).copied().unwrap_or_default();
            let excess = scope.used.minus(scope.limit);
            if scope.children != children
                || (children > 0 && sum != scope.used)
                || !excess.is_empty()
            {
                return Err(alloc::format!(
                    "{scope:?} has {children} children with {sum:?}"
                ));
            }
        }
        Ok(())
    }

    fn scope(&self, id: ScopeId) -> Option<&Scope> {
        self.scopes
            .get(place(id.place))
            .filter(|scope| scope.generation == id.generation)
    }

    fn scope_mut(&mut self, id: ScopeId) -> Option<&mut Scope> {
        self.scopes
            .get_mut(place(id.place))
            .filter(|scope| scope.generation == id.generation)
    }

    fn for_each_up(&mut self, scope: ScopeId, change: impl Fn(&mut Scope)) {
        let mut next = self.scope_mut(scope);
        while let Some(scope) = next {
            change(scope);
            let parent = scope.parent;
            next = parent.and_then(|parent| self.scopes.get_mut(place(parent)));
        }
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// `request` rounded up to a multiple of `block`, as far as `free` allows.
fn grant(request: u64, block: u64, free: u64) -> u64 {
    let rounded = request
        .checked_next_multiple_of(block.max(1))
        .unwrap_or(request);
    rounded.min(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    #[derive(Clone, Debug)]
    enum Operation {
        Open(usize, u64, u32),
        Reserve(usize, u64, u32),
        Lend(usize, u64, u32),
        Release(usize, u64, u32),
        Close(usize),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let amount = || (0usize..12, 0u64..40, 0u32..8);
        prop_oneof![
            amount().prop_map(|(s, b, n)| Operation::Open(s, b * 2, n * 2)),
            amount().prop_map(|(s, b, n)| Operation::Reserve(s, b, n)),
            amount().prop_map(|(s, b, n)| Operation::Lend(s, b, n)),
            amount().prop_map(|(s, b, n)| Operation::Release(s, b, n)),
            (0usize..12).prop_map(Operation::Close),
        ]
    }

    /// The model: for each scope ever made, its parent, its limit, what was reserved directly there, and whether it is
    /// open.
    struct Model(Vec<(Option<usize>, Lease, Lease, bool)>);

    impl Model {
        fn used(&self, scope: usize) -> Lease {
            let own = self.0[scope].2;
            let children = self
                .0
                .iter()
                .enumerate()
                .filter(|(_, node)| node.3 && node.0 == Some(scope));
            children.fold(own, |sum, (child, _)| sum.plus(self.used(child)))
        }
    }

    proptest! {
        #[test]
        fn every_scope_is_the_sum_of_its_children(operations in prop::collection::vec(operation(), 0..120)) {
            let mut ledger = Ledger::new(Lease::new(60, 12));
            let mut ids = vec![ledger.root()];
            let mut model = Model(vec![(None, Lease::new(60, 12), Lease::EMPTY, true)]);
            for operation in operations {
                match operation {
                    Operation::Open(parent, bytes, streams) => {
                        let parent = parent % ids.len();
                        let opened = ledger.open(ids[parent], Lease::new(bytes, streams));
                        prop_assert_eq!(opened.is_ok(), model.0[parent].3);
                        if let Ok(id) = opened {
                            ids.push(id);
                            model.0.push((Some(parent), Lease::new(bytes, streams), Lease::EMPTY, true));
                        }
                    }
                    Operation::Reserve(scope, bytes, streams) => {
                        let scope = scope % ids.len();
                        let amount = Lease::new(bytes, streams);
                        if ledger.reserve(ids[scope], amount).is_ok() {
                            model.0[scope].2 = model.0[scope].2.plus(amount);
                        }
                    }
                    Operation::Lend(scope, bytes, streams) => {
                        let scope = scope % ids.len();
                        let free = ledger.available(ids[scope]).unwrap_or_default();
                        let got = ledger.lend(ids[scope], Lease::new(bytes, streams), Lease::new(16, 4));
                        prop_assert_eq!(got.bytes, bytes.next_multiple_of(16).min(free.bytes));
                        prop_assert_eq!(got.streams, streams.next_multiple_of(4).min(free.streams));
                        model.0[scope].2 = model.0[scope].2.plus(got);
                    }
                    Operation::Release(scope, bytes, streams) => {
                        let scope = scope % ids.len();
                        // Only what was reserved directly there may be given back there.
                        let own = model.0[scope].2;
                        let amount = Lease::new(bytes.min(own.bytes), streams.min(own.streams));
                        ledger.release(ids[scope], amount);
                        if model.0[scope].3 {
                            model.0[scope].2 = own.minus(amount);
                        }
                    }
                    Operation::Close(scope) => {
                        let scope = scope % ids.len();
                        let has_children = model.0.iter().any(|node| node.3 && node.0 == Some(scope));
                        let closed = ledger.close(ids[scope]);
                        prop_assert_eq!(closed, !model.0[scope].3 || (scope != 0 && !has_children));
                        if closed {
                            model.0[scope].2 = Lease::EMPTY;
                            model.0[scope].3 = false;
                        }
                    }
                }
                for (scope, id) in ids.iter().enumerate() {
                    if model.0[scope].3 {
                        let used = model.used(scope);
                        prop_assert_eq!(ledger.used(*id), used);
                        let limit = model.0[scope].1;
                        prop_assert!(used.bytes <= limit.bytes && used.streams <= limit.streams);
                    } else {
                        prop_assert_eq!(ledger.available(*id), None);
                    }
                }
            }
            // Closing from the leaves up leaves nothing.
            for id in ids.iter().rev() {
                ledger.close(*id);
            }
            prop_assert_eq!(ledger.scopes(), 0);
        }
    }
}
