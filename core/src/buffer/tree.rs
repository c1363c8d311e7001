//! Trees that nothing is in.

use alloc::collections::{BTreeMap, BTreeSet};

/// A tree that can be asked whether it is empty.
pub(crate) trait Tree: Default {
    fn holds_nothing(&self) -> bool;
}

impl<K, V> Tree for BTreeMap<K, V> {
    fn holds_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl<K> Tree for BTreeSet<K> {
    fn holds_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// Gives back the memory of an empty tree. Its last node has room for eleven, some hundred bytes, and stays otherwise until
/// something comes again: too much to keep for each of very many connections.
pub(crate) fn release(tree: &mut impl Tree) {
    if tree.holds_nothing() {
        *tree = Default::default();
    }
}
