//! What attackers want in the tables of others.

use super::{Attack, Experiment, ExperimentError, Row, Scale, Value, lone::Lone};
use crate::{
    chance::Chance,
    kad::{
        Adversary, Answer, Asked, KadConfig, KadWorld, View, Workload, member, node_config,
        response,
    },
};
use core::{net::Ipv4Addr, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        AddressScope, BucketInserts, Config, Key, MemoryStoreConfig,
        message::{ConnectionType, MessageType, ResponseWriter},
    },
};
use std::collections::BTreeMap;

/// Honest peers that the victim of D4 knows at first.
const HONEST: usize = 1_000;

/// D4.
pub(super) fn node_eclipse(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    for networks in [1, 10, 100, 1_000] {
        for defended in [false, true] {
            rows.push(eclipse(scale, networks, defended));
        }
    }
    Ok(Experiment {
        attack: Attack::D4,
        title: format!(
            "an attacker with {} ids connects to one node that knows honest peers",
            scale.flood
        ),
        promise: "at most 3 entries for each network of the attacker; no living honest peer is evicted",
        rows,
    })
}

fn eclipse(scale: &Scale, networks: u32, defended: bool) -> Row {
    let mut config = node_config();
    if !defended {
        config.diversity = None;
        config.kbucket_inserts = BucketInserts::OnConnected;
    }
    let (mut lone, mut draw) = Lone::new(scale.seed, config, MemoryStoreConfig::default());
    let honest = know_honest(&mut lone, &mut draw);
    let before: Vec<PeerId> = lone.dht.table().iter().map(|entry| *entry.peer()).collect();
    let mut answer = |peer: &PeerId, message: &bytes::Bytes| {
        let known: Vec<_> = honest
            .iter()
            .take(1)
            .map(|(p, a)| (*p, a.clone()))
            .collect();
        let _ = (peer, message);
        Some(response(MessageType::FindNode, &[], &known))
    };
    let pause = Duration::from_secs(3_600) / u32::try_from(scale.flood).unwrap_or(1).max(1);
    let mut attackers = std::collections::BTreeSet::new();
    for number in 0..scale.flood {
        let peer = member::draw_peer(&mut draw);
        let network = u32::try_from(number).unwrap_or(0) % networks;
        // One /16 after another.
        let ip = Ipv4Addr::from_bits(0x2d00_0000 + (network << 16) + 0x0101);
        attackers.insert(peer);
        lone.meet(peer, &member::address_of(ip), &mut answer);
        lone.run_for(pause, &mut answer);
        // It keeps the connections that got it a place.
        if !lone.dht.table().contains(&peer) && lone.dht.table().pending(&peer).is_none() {
            lone.part(&peer);
        }
    }
    let table = lone.dht.table();
    let taken = table
        .iter()
        .filter(|entry| attackers.contains(entry.peer()))
        .count() as u64;
    let lost = before.iter().filter(|peer| !table.contains(peer)).count() as u64;
    let own = Key::of_peer(lone.dht.local_peer());
    let near = table
        .closest(&own)
        .take(20)
        .filter(|entry| attackers.contains(entry.peer()))
        .count() as u64;
    let row = Row::new(format!("{networks} networks"), defended)
        .with("of the table", Value::Share(taken, table.len() as u64))
        .with("entries", Value::Count(taken))
        .with("of the 20 nearest", Value::Share(near, 20))
        .with("honest evicted", Value::Count(lost));
    let kept = taken <= 3 * u64::from(networks) && lost == 0;
    if defended { row.kept(kept) } else { row }
}

/// The node knows honest peers that answer.
fn know_honest(lone: &mut Lone, draw: &mut Chance) -> BTreeMap<PeerId, Multiaddr> {
    let mut honest = BTreeMap::new();
    for _ in 0..HONEST {
        honest.insert(member::draw_peer(draw), member::draw_address(draw));
    }
    for (peer, address) in &honest {
        let at = lone.at();
        let _ = lone.dht.add_address(at, *peer, address);
        lone.dht.handle_answer(at, peer);
        lone.settle(&mut |_, _| None);
    }
    honest
}

/// Tells of peers, honest or invented, at addresses where they are not.
#[derive(Debug)]
struct Poisoner {
    draw: Chance,
    bad: Vec<Multiaddr>,
}

impl Adversary for Poisoner {
    fn answer(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Answer {
        let key = asked.request.key;
        let target = Key::of(key);
        let mut out = Vec::new();
        let mut writer = ResponseWriter::new(&mut out, 1 << 20, asked.request.kind, key);
        let kind = ConnectionType::Connected;
        // Itself and its like at their true addresses, so that they stay known.
        for (peer, address) in view.colluders(&target, 5) {
            writer.closer_peer(&peer, [address.as_bytes()], kind);
        }
        for (peer, _) in view.honest(&target, 10) {
            let bad: Vec<&Multiaddr> = (0..3).filter_map(|_| self.draw.pick(&self.bad)).collect();
            writer.closer_peer(&peer, bad.iter().map(|address| address.as_bytes()), kind);
        }
        for _ in 0..5 {
            let peer = member::draw_peer(&mut self.draw);
            let bad = self.draw.pick(&self.bad);
            writer.closer_peer(&peer, bad.map(Multiaddr::as_bytes), kind);
        }
        Answer::Message(out)
    }
}

/// Addresses that nobody in public may be at.
fn bad_addresses() -> Vec<Multiaddr> {
    [
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/10.0.0.1/tcp/22",
        "/ip4/192.168.1.1/tcp/80",
        "/ip4/169.254.169.254/tcp/80",
        "/ip4/224.0.0.1/udp/4001/quic-v1",
        "/ip4/0.0.0.0/tcp/4001",
        "/ip4/46.1.2.3/tcp/0",
        "/ip6/::1/tcp/4001",
        "/ip6/fe80::1/tcp/4001",
        "/ip4/46.1.2.3/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
    ]
    .into_iter()
    .filter_map(|text| text.parse().ok())
    .collect()
}

/// D5.
pub(super) fn poisoning(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    for percent in [10, 30] {
        for defended in [false, true] {
            let malicious = scale.nodes * percent / 100;
            let mut config = KadConfig::nodes(scale.nodes.saturating_sub(malicious)).known();
            config.check_addresses = true;
            if !defended {
                config.node = unguarded(config.node);
            }
            let mut world = KadWorld::new(scale.seed, config)?;
            let mut draw = world.draws("attackers");
            for _ in 0..malicious {
                let (peer, address) = (
                    member::draw_peer(&mut draw),
                    member::draw_address(&mut draw),
                );
                let attacker = world.add_attacker(peer, address);
                world.claim(attacker, bad_addresses());
            }
            world.set_adversary(Poisoner {
                draw: draw.child(),
                bad: bad_addresses(),
            });
            world.populate()?;
            let report = Workload::new(scale.lookups).run(&mut world, |_, _| true)?;
            let (mut stored, mut all) = (0, 0);
            for number in 0..world.len() {
                let table = world.dht(number).map(drywire::protocol::kad::Dht::table);
                for entry in table.into_iter().flat_map(|table| table.iter()) {
                    for address in entry.addresses() {
                        all += 1;
                        stored += u64::from(!AddressScope::Public.allows(address));
                    }
                }
            }
            let traffic = report.traffic;
            let row = Row::new(format!("{percent} % malicious"), defended)
                .with("bad addresses in tables", Value::Count(stored))
                .with("of", Value::Count(all))
                .with(
                    "addresses dialed in vain",
                    Value::Share(traffic.addresses_wasted, traffic.addresses_dialed),
                )
                .with(
                    "closest found",
                    Value::Share(report.lookups.succeeded, report.lookups.ended),
                );
            let wasted = row.figure("addresses dialed in vain").unwrap_or(1.0);
            let kept = stored == 0 && wasted <= 0.05;
            rows.push(if defended { row.kept(kept) } else { row });
        }
    }
    Ok(Experiment {
        attack: Attack::D5,
        title: format!(
            "of {} nodes some tell of peers at loopback, private, multicast, relayed and impossible addresses",
            scale.nodes
        ),
        promise: "no such address is stored; at most 5 % of dialed addresses are in vain",
        rows,
    })
}

/// A node that believes any address.
fn unguarded(mut config: Config) -> Config {
    config.address_scope = AddressScope::Any;
    config.diversity = None;
    config.max_response_peers_per_group = None;
    config
}
