//! Against the door: connections that are not let in.

use crate::{SECOND, address};
use drywire::{
    connection::{ConnectedPoint, ConnectionError, ConnectionId},
    identity::Keypair,
    multiaddr::Multiaddr,
    protocol::Standard,
    resource::Lease,
    seed::Seed,
    swarm::{Config, Refused, SecurityConfig, Swarm},
    time::{Instant, UnixTime},
};
use drywire_tests::{heap, pair::Secure, site::Site};

const START: Instant = Instant::ZERO;

/// A node at whose door every further socket is refused for one reason.
struct Door {
    swarm: Swarm<Standard>,
    held: Vec<ConnectionId>,
    reason: Refused,
    /// Whence the others come.
    others: Vec<Multiaddr>,
}

impl Door {
    fn new(reason: Refused, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(SecurityConfig::InsecurePlaintext);
        change(&mut config);
        let (seed, unix) = (Seed::for_tests(1), UnixTime::from_secs(1_800_000_000));
        let keypair = Keypair::ed25519_from_seed(&seed);
        let swarm = Swarm::new(config, keypair, Standard::default(), seed, START, unix);
        Self {
            swarm: swarm.expect("keys"),
            held: Vec::new(),
            reason,
            others: (1000..2000).map(address).collect(),
        }
    }

    fn take(&mut self, remote: &Multiaddr) -> Result<ConnectionId, Refused> {
        let point = ConnectedPoint::accepted(remote.clone(), None);
        let start = self.swarm.handle_accept(START, point)?;
        Ok(start.id())
    }

    /// `count` connections that stay in their handshake.
    fn hold(mut self, count: u32, mut whence: impl FnMut(u32) -> Multiaddr) -> Self {
        for n in 0..count {
            let id = self.take(&whence(n)).expect("below the limits");
            self.held.push(id);
        }
        self
    }

    fn from(mut self, others: Vec<Multiaddr>) -> Self {
        self.others = others;
        self
    }

    fn drain(&mut self) {
        while self.swarm.poll_action().is_some() || self.swarm.poll_event().is_some() {}
    }
}

/// A door for every reason there is.
fn doors() -> Vec<Door> {
    let one = || vec![address(0)];
    let events = |config: &mut Config| config.queues.events = 6;
    let mut doors = vec![
        Door::new(Refused::TooManyFromAddress, |_| {})
            .hold(8, |_| address(0))
            .from(one()),
        Door::new(Refused::TooManyPendingFromAddress, |config| {
            config.limits.per_address = 100;
        })
        .hold(8, |_| address(0))
        .from(one()),
        Door::new(Refused::TooManyPending, |_| {}).hold(64, |n| address(n / 8)),
        Door::new(Refused::TooManyConnections, |config| {
            config.limits.inbound = 40
        })
        .hold(40, |n| address(n / 8)),
        Door::new(Refused::EventsFull, events).hold(2, |_| address(0)),
    ];
    let mut denied = Door::new(Refused::Denied, |_| {});
    let network = "203.0.113.0".parse().expect("an address");
    denied.swarm.deny_network(network, 24);
    let inside = (0..256).map(|n| format!("/ip4/203.0.113.{n}/tcp/1"));
    doors.push(
        denied.from(
            inside
                .map(|text| text.parse().expect("an address"))
                .collect(),
        ),
    );
    let mut fast = Door::new(Refused::TooFast, |_| {});
    for _ in 0..16 {
        let id = fast.take(&address(0)).expect("in the burst");
        fast.swarm.handle_closed(START, id);
        fast.drain();
    }
    doors.push(fast.from(one()));
    let mut ending = Door::new(Refused::ShuttingDown, |_| {}).hold(1, |_| address(0));
    ending.swarm.shutdown(START);
    doors.push(ending);
    doors
}

/// T41 (sBTC#2086): more than a million sockets that are refused at once, for every reason there is. They leave nothing: the
/// heap is what it was to the byte, nothing is said about them, and every count is as if they had not come.
///
/// Fails if the room reserved for a connection's events is not given back when its address is over a limit.
#[test]
fn a_million_refused_sockets_leave_nothing() {
    const EACH: u64 = 130_000;
    let mut all = 0;
    for mut door in doors() {
        door.drain();
        let points: Vec<ConnectedPoint> = door
            .others
            .iter()
            .map(|remote| ConnectedPoint::accepted(remote.clone(), None))
            .collect();
        let (before, refusals) = (heap::bytes(), door.swarm.refusals());
        let (used, ()) = heap::measure(|| {
            for point in points.iter().cycle().take(EACH as usize) {
                let refused = door.swarm.handle_accept(START, point.clone());
                assert_eq!(refused.map(|start| start.id()), Err(door.reason));
            }
        });
        assert_eq!(heap::bytes(), before, "{:?}", door.reason);
        assert!(used.peak <= 1024, "{:?}: {used:?}", door.reason);
        assert!(door.swarm.poll_event().is_none(), "{:?}", door.reason);
        assert!(door.swarm.poll_action().is_none(), "{:?}", door.reason);
        assert_eq!(door.swarm.refusals() - refusals, EACH);
        assert_eq!(door.swarm.connection_count(), door.held.len());
        for id in std::mem::take(&mut door.held) {
            door.swarm.handle_closed(START, id);
        }
        let later = START + SECOND * 10_000;
        door.swarm.handle_timeout(later);
        door.drain();
        assert_eq!(door.swarm.connection_count(), 0);
        assert_eq!(door.swarm.poll_timeout(), None, "{:?}", door.reason);
        all += EACH;
    }
    assert!(all > 1_000_000);
}

/// T41: the same with whole handshakes, each by somebody new: what is refused when it is known who it is leaves nothing
/// either, in the swarm, in its protocols and in the address book.
///
/// Fails if the scope of a peer that is not let in stays open.
#[test]
fn strangers_refused_by_name_leave_nothing() {
    const STRANGERS: u64 = 20_000;
    let mut site = Site::new(Secure::Plaintext, |config| {
        // Room for one.
        config.resources.node = Lease::new(1 << 20, 256);
    });
    let remote = "/memory/1".parse().expect("an address");
    let (first, _) = site.intruder(&remote, 1).expect("accepted");
    assert_eq!(site.told.established, [first]);
    let stranger = |site: &mut Site, seed: u64| {
        let (connection, _) = site.intruder(&remote, seed).expect("accepted");
        site.hang_up(connection);
        let (of, error) = site.told.refused.pop().expect("refused");
        let expected = ConnectionError::LimitReached("resources of the node".into());
        assert_eq!((of, error), (connection, expected));
        assert!(!site.has(connection));
    };
    // Until all that is kept for its capacity has it.
    for seed in 2..52 {
        stranger(&mut site, seed);
    }
    let before = site.heap();
    for seed in 52..STRANGERS {
        stranger(&mut site, seed);
    }
    assert_eq!(site.heap(), before);
    let swarm = site.node.swarm();
    assert_eq!((swarm.connection_count(), swarm.known_peers()), (1, 0));
    site.hang_up(first);
    // There is room again.
    let (again, _) = site.intruder(&remote, 5).expect("accepted");
    assert_eq!(site.told.established, [first, again]);
}
