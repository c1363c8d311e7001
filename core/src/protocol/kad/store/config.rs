//! How much a store keeps.

/// Limits of a store, with the defaults named here.
///
/// What peers store and what this node stores for itself are counted apart, so that neither takes the other's room. The
/// memory all of it may take is the sum of both pools of bytes, of `max_own_provided_keys + max_provided_keys ×
/// max_providers_per_key` provider records of `max_address_bytes` each, and of some 300 bytes for each entry: with the
/// defaults 230 MiB at the very worst, and 70 MiB if addresses are as long as they usually are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStoreConfig {
    /// Records of peers; if one more comes, the one farthest from this node has to go, if the new one is nearer. 1024.
    pub max_records: usize,
    /// Bytes of a value, this number included. 65 KiB.
    ///
    /// rust-libp2p refuses a value of exactly so many bytes too (it tests `>=`). Far more than the 16 KiB which is what its
    /// nodes take in a message.
    pub max_value_bytes: usize,
    /// Bytes of a key, of records and of providers. 1 KiB.
    pub max_key_bytes: usize,
    /// Bytes of keys and values of all records of peers together. 64 MiB.
    pub max_bytes: usize,
    /// Records of one peer; one more is refused. A record counts for the peer that stored it first, whoever renews it. 64.
    pub max_records_per_peer: usize,
    /// Records of this node. 16,384.
    pub max_own_records: usize,
    /// Bytes of keys and values of all records of this node together. 64 MiB.
    pub max_own_bytes: usize,
    /// Keys that peers provide; if one more comes, the one farthest from this node has to go, if the new one is nearer. 1024.
    ///
    /// rust-libp2p counts the node's own keys here too, so that strangers keep it from providing anything.
    pub max_provided_keys: usize,
    /// Keys that this node provides. 16,384.
    pub max_own_provided_keys: usize,
    /// Providers of one key, besides this node; one more is refused, so that a flood does not displace those that were there
    /// before. 20.
    pub max_providers_per_key: usize,
    /// Keys that one peer provides; one more is refused. As for records, a sixteenth of them all: one peer alone does not
    /// fill the store. 64.
    pub max_provider_keys_per_peer: usize,
    /// Providers of one key with an address in the same IPv4 /24 or IPv6 /56. 2.
    ///
    /// An address in a network where the key has as many providers already is left out; a provider none of whose addresses
    /// remains is refused. Only [global](crate::multiaddr::Multiaddr::is_global) IP addresses that lead through no relay count:
    /// hosts in a private network, and those behind a relay, rightly have the same.
    pub max_providers_per_network: usize,
    /// Addresses of one provider; those that follow are left out. 16.
    pub max_addresses_per_provider: usize,
    /// Bytes of the addresses of one provider; those that do not fit are left out. 2 KiB.
    pub max_address_bytes: usize,
}

impl Default for MemoryStoreConfig {
    fn default() -> Self {
        Self {
            max_records: 1024,
            max_value_bytes: 65 * 1024,
            max_key_bytes: 1024,
            max_bytes: 64 * 1024 * 1024,
            max_records_per_peer: 64,
            max_own_records: 16 * 1024,
            max_own_bytes: 64 * 1024 * 1024,
            max_provided_keys: 1024,
            max_own_provided_keys: 16 * 1024,
            max_providers_per_key: 20,
            max_provider_keys_per_peer: 64,
            max_providers_per_network: 2,
            max_addresses_per_provider: 16,
            max_address_bytes: 2 * 1024,
        }
    }
}

impl MemoryStoreConfig {
    /// Sets [`max_records`](Self::max_records).
    #[must_use]
    pub const fn with_max_records(mut self, max: usize) -> Self {
        self.max_records = max;
        self
    }

    /// Sets [`max_value_bytes`](Self::max_value_bytes).
    #[must_use]
    pub const fn with_max_value_bytes(mut self, max: usize) -> Self {
        self.max_value_bytes = max;
        self
    }

    /// Sets [`max_provided_keys`](Self::max_provided_keys).
    #[must_use]
    pub const fn with_max_provided_keys(mut self, max: usize) -> Self {
        self.max_provided_keys = max;
        self
    }

    /// Sets [`max_providers_per_key`](Self::max_providers_per_key).
    #[must_use]
    pub const fn with_max_providers_per_key(mut self, max: usize) -> Self {
        self.max_providers_per_key = max;
        self
    }
}
