//! What holds of a table at any time.

use super::RoutingTable;
use crate::protocol::kad::Key;
use alloc::string::String;

impl RoutingTable {
    /// Checks what this table promises about itself: no bucket is too full, every peer is in its own, none is this node, none is
    /// there twice, every address is within scope, and no network has too many. For tests and simulations.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<(), String> {
        let mut seen = alloc::collections::BTreeSet::new();
        for bucket in &self.buckets {
            if bucket.entries.len() > self.config.bucket_size.get() {
                return Err("a k-bucket is too full".into());
            }
            for entry in &bucket.entries {
                let position = Key::of_peer(entry.peer());
                if self.local.distance(&position).ilog2() != Some(bucket.index) {
                    return Err("a peer is in a wrong k-bucket".into());
                }
                if !seen.insert(*entry.peer()) {
                    return Err("a peer is in the table twice".into());
                }
                if entry.addresses().is_empty() {
                    return Err("a peer has no address".into());
                }
                if !entry
                    .addresses()
                    .iter()
                    .all(|address| self.in_scope(address))
                {
                    return Err("an address is out of scope".into());
                }
            }
        }
        if seen.len() != self.len {
            return Err("peers are counted wrongly".into());
        }
        Ok(())
    }
}
