//! Listeners, and the addresses under which this node can be reached.

use super::action::ListenerId;
use crate::multiaddr::{Multiaddr, Protocol};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::net::IpAddr;

/// Addresses one listener may be bound to.
const MAX_BOUND: usize = 64;

/// Interface addresses remembered.
const MAX_INTERFACES: usize = 64;

/// External addresses remembered, of each kind.
const MAX_EXTERNAL: usize = 64;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) bound: Vec<Multiaddr>,
    pub(super) stopping: bool,
}

/// What this node listens on, and what it may tell others about it.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: BTreeMap<ListenerId, Listener>,
    created: u64,
    interfaces: Vec<IpAddr>,
    /// Every bound address, with unspecified ones replaced by those of the interfaces.
    expanded: Vec<Multiaddr>,
    /// Oldest first.
    candidates: VecDeque<Multiaddr>,
    confirmed: Vec<Multiaddr>,
}

impl Listeners {
    pub(super) fn insert(&mut self) -> ListenerId {
        let id = ListenerId(self.created);
        self.created = self.created.saturating_add(1);
        self.listeners.insert(
            id,
            Listener {
                bound: Vec::new(),
                stopping: false,
            },
        );
        id
    }

    pub(super) fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        self.listeners.iter().map(|(id, listener)| (*id, listener))
    }

    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Adds a bound address; false if it is known, or too many are.
    pub(super) fn bind(&mut self, id: ListenerId, address: &Multiaddr) -> bool {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return false;
        };
        let new = listener.bound.len() < MAX_BOUND && !listener.bound.contains(address);
        if new {
            listener.bound.push(address.clone());
        }
        new
    }

    /// Removes a bound address; false if it is not known.
    pub(super) fn unbind(&mut self, id: ListenerId, address: &Multiaddr) -> bool {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return false;
        };
        let before = listener.bound.len();
        listener.bound.retain(|bound| bound != address);
        listener.bound.len() < before
    }

    pub(super) fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        self.listeners.remove(&id)
    }

    pub(super) fn set_interfaces(&mut self, mut interfaces: Vec<IpAddr>) {
        interfaces.truncate(MAX_INTERFACES);
        self.interfaces = interfaces;
    }

    /// Makes the list of addresses anew; returns whether it has changed.
    pub(super) fn refresh(&mut self) -> bool {
        let mut expanded = Vec::new();
        for listener in self.listeners.values() {
            for address in &listener.bound {
                expand(address, &self.interfaces, |address| {
                    if !expanded.contains(&address) {
                        expanded.push(address);
                    }
                });
            }
        }
        let changed = expanded != self.expanded;
        self.expanded = expanded;
        changed
    }

    /// The addresses this node listens on. Unspecified ones are replaced by those of the interfaces, once the host has
    /// told them, and left out before.
    pub(super) fn addresses(&self) -> &[Multiaddr] {
        &self.expanded
    }

    /// Whether one of the listeners would answer at this address.
    pub(super) fn is_own(&self, address: &Multiaddr) -> bool {
        let mut bound = self.listeners.values().flat_map(|listener| &listener.bound);
        self.expanded.contains(address)
            || bound.any(|own| own == address || (own.is_unspecified() && covers(own, address)))
    }

    pub(super) fn external(&self) -> &[Multiaddr] {
        &self.confirmed
    }

    /// Remembers a candidate; false if it is known. The oldest gives way when there are too many.
    pub(super) fn add_candidate(&mut self, address: &Multiaddr) -> bool {
        let new = !self.confirmed.contains(address) && !self.candidates.contains(address);
        if new {
            if self.candidates.len() >= MAX_EXTERNAL {
                self.candidates.pop_front();
            }
            self.candidates.push_back(address.clone());
        }
        new
    }

    /// Returns whether the address was not confirmed before. The oldest gives way when there are too many.
    pub(super) fn confirm(&mut self, address: &Multiaddr) -> (bool, Option<Multiaddr>) {
        self.candidates.retain(|candidate| candidate != address);
        if self.confirmed.contains(address) {
            return (false, None);
        }
        let expired = (self.confirmed.len() >= MAX_EXTERNAL).then(|| self.confirmed.remove(0));
        self.confirmed.push(address.clone());
        (true, expired)
    }

    /// Returns whether the address was confirmed.
    pub(super) fn expire(&mut self, address: &Multiaddr) -> bool {
        self.candidates.retain(|candidate| candidate != address);
        let before = self.confirmed.len();
        self.confirmed.retain(|confirmed| confirmed != address);
        self.confirmed.len() < before
    }
}

/// Gives every address that a bound one stands for.
fn expand(bound: &Multiaddr, interfaces: &[IpAddr], mut found: impl FnMut(Multiaddr)) {
    let unspecified = bound.ip().filter(|_| bound.is_unspecified());
    let Some(unspecified) = unspecified else {
        return found(bound.clone());
    };
    for ip in interfaces {
        let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if ip.is_ipv4() == unspecified.is_ipv4() && !link_local {
            let rest = bound.iter().skip(1);
            let address = core::iter::once(Protocol::from(*ip)).chain(rest);
            found(Multiaddr::from_protocols(address).unwrap_or_else(|_| bound.clone()));
        }
    }
}

/// Whether a listener on an unspecified address answers at a loopback address with the same port.
fn covers(unspecified: &Multiaddr, address: &Multiaddr) -> bool {
    let same_family = match (unspecified.ip(), address.ip()) {
        (Some(own), Some(other)) => own.is_ipv4() == other.is_ipv4(),
        _ => false,
    };
    same_family && address.is_loopback() && unspecified.iter().skip(1).eq(address.iter().skip(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn unspecified_addresses_become_those_of_the_interfaces() {
        let mut listeners = Listeners::default();
        let first = listeners.insert();
        assert!(listeners.bind(first, &address("/ip4/0.0.0.0/tcp/4001")));
        assert!(!listeners.bind(first, &address("/ip4/0.0.0.0/tcp/4001")));
        assert!(listeners.bind(first, &address("/ip6/2001:db8::1/tcp/4001")));
        assert!(listeners.refresh());
        assert_eq!(
            listeners.addresses(),
            [address("/ip6/2001:db8::1/tcp/4001")]
        );
        let interfaces = ["127.0.0.1", "192.0.2.7", "::1", "fe80::1", "2001:db8::1"];
        listeners.set_interfaces(interfaces.iter().map(|ip| ip.parse().unwrap()).collect());
        assert!(listeners.refresh() && !listeners.refresh());
        let expected = vec![
            address("/ip4/127.0.0.1/tcp/4001"),
            address("/ip4/192.0.2.7/tcp/4001"),
            address("/ip6/2001:db8::1/tcp/4001"),
        ];
        assert_eq!(listeners.addresses(), expected);
        listeners.bind(first, &address("/ip6/::/tcp/4001"));
        listeners.refresh();
        let six = [
            address("/ip6/2001:db8::1/tcp/4001"),
            address("/ip6/::1/tcp/4001"),
        ];
        assert_eq!(
            listeners.addresses()[2..],
            six,
            "no link-local, nothing twice"
        );
    }

    #[test]
    fn own_addresses_are_known_even_without_interfaces() {
        let mut listeners = Listeners::default();
        let first = listeners.insert();
        listeners.bind(first, &address("/ip4/0.0.0.0/tcp/4001"));
        listeners.refresh();
        assert!(listeners.is_own(&address("/ip4/127.0.0.1/tcp/4001")));
        assert!(!listeners.is_own(&address("/ip4/127.0.0.1/tcp/4002")));
        assert!(!listeners.is_own(&address("/ip4/192.0.2.1/tcp/4001")));
        assert!(!listeners.is_own(&address("/ip6/::1/tcp/4001")));
        listeners.unbind(first, &address("/ip4/0.0.0.0/tcp/4001"));
        assert!(!listeners.is_own(&address("/ip4/127.0.0.1/tcp/4001")));
    }

    /// Fails if any number of interfaces is remembered, and if a listener may be bound to any number of addresses.
    #[test]
    fn interfaces_and_bound_addresses_are_bounded() {
        let interfaces = |count: u32| -> Vec<IpAddr> {
            let ips = (0..count).map(|number| 0x0a00_0000 | number);
            ips.map(|ip| core::net::Ipv4Addr::from(ip).into()).collect()
        };
        let mut listeners = Listeners::default();
        let first = listeners.insert();
        assert!(listeners.bind(first, &address("/ip4/0.0.0.0/tcp/4001")));
        listeners.set_interfaces(interfaces(64));
        assert!(listeners.refresh());
        assert_eq!(listeners.addresses().len(), 64);
        assert_eq!(
            listeners.addresses()[63],
            address("/ip4/10.0.0.63/tcp/4001")
        );
        listeners.set_interfaces(interfaces(1000));
        assert!(!listeners.refresh(), "the first 64 are used");

        let second = listeners.insert();
        let bound = (0..200)
            .map(|port| address(&std::format!("/ip4/192.0.2.1/tcp/{port}")))
            .filter(|address| listeners.bind(second, address));
        assert_eq!(bound.count(), 64);
        listeners.refresh();
        assert_eq!(listeners.addresses().len(), 128);
        assert!(listeners.unbind(second, &address("/ip4/192.0.2.1/tcp/0")));
        assert!(listeners.bind(second, &address("/ip4/192.0.2.1/tcp/199")));
    }

    #[test]
    fn external_addresses_are_bounded() {
        let mut listeners = Listeners::default();
        let all: Vec<_> = (0..200)
            .map(|port| address(&std::format!("/ip4/192.0.2.1/tcp/{port}")))
            .collect();
        let taken = all
            .iter()
            .filter(|address| listeners.add_candidate(address))
            .count();
        assert_eq!((taken, listeners.candidates.len()), (200, MAX_EXTERNAL));
        assert!(!listeners.add_candidate(&all[199]));
        let expired: Vec<_> = all
            .iter()
            .filter_map(|address| listeners.confirm(address).1)
            .collect();
        assert_eq!(expired, all[..200 - MAX_EXTERNAL]);
        assert_eq!(listeners.external(), &all[200 - MAX_EXTERNAL..]);
        assert_eq!(listeners.confirm(&all[199]), (false, None));
        assert!(listeners.expire(&all[199]) && !listeners.expire(&all[199]));
    }
}
