//! Datagrams: lost, late, twice, changed, or too long.

use super::{Happening, HostId, Network, NetworkError, Signal, connect::socket_at};
use crate::{chance::Chance, fault::Fault};
use bytes::Bytes;
use core::net::SocketAddr;
use drywire::time::Instant;
use std::collections::VecDeque;

/// Datagrams that wait to be received at one socket; one more is lost.
const WAITING: usize = 256;

/// Names a datagram socket. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(u64);

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) host: HostId,
    address: SocketAddr,
    waiting: VecDeque<(SocketAddr, Bytes)>,
}

#[derive(Debug)]
pub(super) struct Flight {
    from: SocketAddr,
    from_host: HostId,
    to: SocketAddr,
    to_host: HostId,
    bytes: Bytes,
}

impl Network {
    /// A datagram socket at an address of a host, or an unspecified one. Port 0 means any. Returns the address with its
    /// port.
    ///
    /// # Errors
    /// As the operating system would say.
    pub fn bind(
        &mut self,
        host: HostId,
        address: SocketAddr,
    ) -> Result<(SocketId, SocketAddr), NetworkError> {
        let address = self.claim(host, address, |network| &network.bound)?;
        let id = SocketId(self.next_number());
        self.bound.insert((host, address), id);
        self.sockets.insert(
            id,
            Socket {
                host,
                address,
                waiting: VecDeque::new(),
            },
        );
        Ok((id, address))
    }

    /// Drops a datagram socket.
    pub fn unbind(&mut self, socket: SocketId) {
        if let Some(gone) = self.sockets.remove(&socket) {
            self.bound.remove(&(gone.host, gone.address));
        }
    }

    /// Sends a datagram. Whether it arrives nobody knows.
    ///
    /// # Errors
    /// [`NetworkError::Closed`] if there is no such socket, [`NetworkError::Unreachable`] if there is no such address.
    pub fn send_to(
        &mut self,
        now: Instant,
        socket: SocketId,
        to: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), NetworkError> {
        self.now = self.now.max(now);
        let own = self.sockets.get(&socket).ok_or(NetworkError::Closed)?;
        let (host, mut from) = (own.host, own.address);
        let target = self.owner(host, to.ip()).ok_or(NetworkError::Unreachable)?;
        let source = self.source_address(host, to.ip());
        if from.ip().is_unspecified() && from.is_ipv4() == to.is_ipv4() {
            from.set_ip(source.ok_or(NetworkError::Unreachable)?);
        }
        if from.is_ipv4() != to.is_ipv4() || from.ip().is_loopback() != to.ip().is_loopback() {
            return Err(NetworkError::Unreachable);
        }
        let link = self.way_link(host, target);
        if datagram.len() > link.mtu {
            self.faults.count(Fault::TooLong);
            return Ok(());
        }
        let way = self.ways.entry((host, target)).or_default();
        let chance = way
            .datagrams
            .get_or_insert_with(|| Chance::new(&self.seed, &format!("datagrams {host} {target}")));
        way.in_burst = chance.happens(link.loss_now(way.in_burst));
        if way.in_burst {
            self.faults.count(Fault::DatagramLoss);
            return Ok(());
        }
        let twice = chance.happens(link.duplication);
        if twice {
            self.faults.count(Fault::Duplication);
        }
        for _ in 0..=usize::from(twice) {
            let mut bytes = datagram.to_vec();
            if chance.happens(link.corruption) && !bytes.is_empty() {
                self.faults.count(Fault::Corruption);
                chance.flip_bit(&mut bytes);
            }
            let (mut travel, spike) = link.travel(chance);
            if spike {
                self.faults.count(Fault::Spike);
            }
            if chance.happens(link.reordering) {
                self.faults.count(Fault::Reordering);
                travel += chance.time(link.latency * 3);
            }
            let flight = Flight {
                from,
                from_host: host,
                to,
                to_host: target,
                bytes: bytes.into(),
            };
            let arrives = Happening::Datagram(Box::new(flight));
            self.agenda.enter(self.now + travel, arrives);
        }
        Ok(())
    }

    /// Takes one datagram, with the sender's address, if one waits.
    ///
    /// # Errors
    /// [`NetworkError::Closed`] if there is no such socket.
    pub fn receive_from(
        &mut self,
        socket: SocketId,
    ) -> Result<Option<(SocketAddr, Bytes)>, NetworkError> {
        let socket = self.sockets.get_mut(&socket).ok_or(NetworkError::Closed)?;
        Ok(socket.waiting.pop_front())
    }

    pub(super) fn datagram(&mut self, flight: Flight) {
        let Flight {
            from, to, bytes, ..
        } = flight;
        if !self.passes(flight.from_host, flight.to_host) {
            return;
        }
        let Some(id) = socket_at(&self.bound, flight.to_host, to) else {
            return;
        };
        if let Some(socket) = self.sockets.get_mut(&id)
            && socket.waiting.len() < WAITING
        {
            socket.waiting.push_back((from, bytes));
            self.signal(flight.to_host, Signal::Datagram(id));
        }
    }
}
