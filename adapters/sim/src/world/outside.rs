//! Everything around a host, for the length of its turn.

use crate::{
    chronicle::{Chronicle, Moment},
    network::{HostId, Network},
    statistics::Statistics,
    trace::Trace,
    violation::Violation,
};
use core::{net::IpAddr, time::Duration};
use drywire::{
    identity::PeerId,
    swarm::{LookupKind, Resolved, TransportError},
    time::{Instant, UnixTime},
};
use std::collections::BTreeMap;

/// What a host takes for the time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// How far the monotonic clock is ahead of the world's.
    pub(crate) ahead: Duration,
    /// How far the calendar is ahead of that, and behind it.
    pub(crate) calendar_ahead: Duration,
    pub(crate) calendar_behind: Duration,
}

impl Clock {
    /// The calendar, of a world that began then, at this time of the host.
    pub(crate) fn unix(&self, start: UnixTime, now: Instant) -> UnixTime {
        let ahead = start
            .saturating_add(now - Instant::ZERO)
            .saturating_add(self.calendar_ahead);
        let behind = u64::try_from(self.calendar_behind.as_nanos()).unwrap_or(u64::MAX);
        UnixTime::from_nanos(ahead.as_nanos().saturating_sub(behind))
    }
}

/// How long things may take on a host before something is wrong; the slack for late timers is included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) handshake: Duration,
    pub(crate) closing: Duration,
    /// `None`: for ever.
    pub(crate) half_open: Option<Duration>,
    /// Nothing of the application may be seen on the wire.
    pub(crate) encrypted: bool,
}

impl Patience {
    pub(crate) fn and(self, more: Duration) -> Self {
        Self {
            handshake: self.handshake.saturating_add(more),
            closing: self.closing.saturating_add(more),
            half_open: self.half_open.map(|limit| limit.saturating_add(more)),
            encrypted: self.encrypted,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::MAX,
            closing: Duration::MAX,
            half_open: None,
            encrypted: false,
        }
    }
}

/// Names to look up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) addresses: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) text: BTreeMap<String, Vec<String>>,
}

/// Everything around a host.
pub(crate) struct Outside<'a> {
    pub(crate) host: HostId,
    pub(crate) name: &'a str,
    pub(crate) now: Instant,
    pub(crate) clock: Clock,
    pub(crate) unix_start: UnixTime,
    pub(crate) network: &'a mut Network,
    pub(crate) trace: &'a mut Trace,
    pub(crate) statistics: &'a mut Statistics,
    pub(crate) chronicle: Option<&'a mut Chronicle>,
    pub(crate) names: &'a Names,
    /// Who each host is and was.
    pub(crate) identities: &'a [Vec<PeerId>],
    pub(crate) patience: Patience,
    /// Everything is to be checked, whatever it costs.
    pub(crate) checks: bool,
    pub(crate) seed: u64,
    pub(crate) violation: &'a mut Option<Violation>,
}

impl Outside<'_> {
    /// The time by the host's clock.
    pub(crate) fn host_now(&self) -> Instant {
        self.now + self.clock.ahead
    }

    /// The time by the host's calendar.
    pub(crate) fn unix(&self) -> UnixTime {
        self.clock.unix(self.unix_start, self.host_now())
    }

    /// Whether a host is or was this peer. Hosts without a node can be anybody.
    pub(crate) fn was(&self, host: HostId, peer: &PeerId) -> bool {
        let known = self.identities.get(host.number());
        known.is_none_or(|known| known.is_empty() || known.contains(peer))
    }

    pub(crate) fn lookup(&self, name: &str, kind: LookupKind) -> Result<Resolved, TransportError> {
        let of = |keep: fn(&IpAddr) -> bool| {
            let known = self.names.addresses.get(name);
            let addresses = known.map(|all| all.iter().copied().filter(keep).collect());
            addresses.map(Resolved::Addresses)
        };
        let answer = match kind {
            LookupKind::Ip => of(|_| true),
            LookupKind::Ip4 => of(IpAddr::is_ipv4),
            LookupKind::Ip6 => of(IpAddr::is_ipv6),
            LookupKind::Text => self.names.text.get(name).cloned().map(Resolved::Text),
            _ => None,
        };
        answer.ok_or(TransportError::NameNotFound)
    }

    /// Notes a line about this host.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace
            .note(self.now, || format!("{} {}", self.name, line()));
    }

    pub(crate) fn chronicle(&mut self, moment: Moment) {
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.note(self.now, Some(self.host), moment);
        }
    }

    /// Something is wrong. The first word stands.
    pub(crate) fn violation(&mut self, invariant: &'static str, message: String) {
        self.chronicle(Moment::Violation { invariant });
        if self.violation.is_none() {
            *self.violation = Some(Violation {
                invariant,
                message,
                host: Some(self.host),
                name: self.name.to_owned(),
                at: self.now,
                step: self.statistics.steps,
                seed: self.seed,
                trace: self.trace.lines().collect(),
            });
        }
    }
}
