//! Nodes made to be nearer to a key than any other.

use super::{Attack, Experiment, ExperimentError, Row, Scale, Value};
use crate::{
    chance::Chance,
    kad::{
        Adversary, Answer, Asked, KadConfig, KadWorld, Kind, Operation, View, echo, member,
        response,
    },
};
use core::{net::Ipv4Addr, num::NonZeroUsize, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        Key, QueryOptions, Quorum, Record, RecordKey,
        message::{ConnectionType, MessageType, ResponseWriter},
    },
    time::UnixTime,
};

/// Keys that are attacked in one network.
const KEYS: usize = 5;

/// Takes what is to be stored and has nothing; tells of accomplices.
#[derive(Debug)]
struct Dropper {
    /// Names false providers.
    lies: bool,
    /// Who is named.
    false_providers: Vec<(PeerId, Multiaddr)>,
}

impl Adversary for Dropper {
    fn answer(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Answer {
        let request = asked.request;
        if request.kind == MessageType::PutValue {
            return Answer::Message(echo(request, UnixTime::from_secs(1_800_000_000)));
        }
        let closer = view.colluders(&Key::of(request.key), 20);
        if !(self.lies && request.kind == MessageType::GetProviders) {
            return Answer::Message(response(request.kind, request.key, &closer));
        }
        let mut out = response(request.kind, request.key, &closer);
        let mut more = Vec::new();
        let mut writer = ResponseWriter::new(&mut more, 1 << 20, request.kind, request.key);
        for (peer, address) in &self.false_providers {
            writer.provider_peer(peer, [address.as_bytes()], ConnectionType::Connected);
        }
        // Fields of a message may come in any order: the two together are one message.
        out.extend_from_slice(&more);
        Answer::Message(out)
    }
}

/// The sybils' networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Networks {
    /// All in one.
    One,
    /// Each in one of its own.
    Each,
}

/// Whether networks are counted.
fn config(counted: bool, nodes: usize) -> KadConfig {
    let mut config = KadConfig::nodes(nodes).known();
    if !counted {
        config.node.diversity = None;
        config.node.max_response_peers_per_group = None;
    }
    config
}

/// Adds sybils nearer to a key than any honest node.
fn surround(world: &mut KadWorld, key: &[u8], count: usize, networks: Networks, draw: &mut Chance) {
    let target = Key::of(key);
    let nearest = world.servers.closest(&target, 1, |_| true);
    let limit = nearest
        .first()
        .and_then(|number| world.peer(*number))
        .map(|peer| Key::of_peer(&peer).distance(&target));
    let Some(limit) = limit else { return };
    let mut host: u32 = 0;
    while (host as usize) < count {
        let peer = member::draw_peer(draw);
        if Key::of_peer(&peer).distance(&target) >= limit {
            continue;
        }
        host += 1;
        let address = match networks {
            Networks::One => member::address_of(Ipv4Addr::from_bits(0x2d4d_0000 + host)),
            Networks::Each => member::draw_address(draw),
        };
        world.add_attacker(peer, address);
    }
}

fn key(number: usize) -> RecordKey {
    RecordKey::new(format!("attacked {number}"))
}

/// A network with sybils around some keys.
fn attacked(
    scale: &Scale,
    config: KadConfig,
    sybils: usize,
    networks: Networks,
    lies: bool,
) -> Result<KadWorld, ExperimentError> {
    let mut world = KadWorld::new(scale.seed, config)?;
    let mut draw = world.draws("sybils");
    for number in 0..KEYS {
        surround(
            &mut world,
            key(number).as_bytes(),
            sybils,
            networks,
            &mut draw,
        );
    }
    let false_providers = (0..20)
        .map(|_| {
            (
                member::draw_peer(&mut draw),
                member::draw_address(&mut draw),
            )
        })
        .collect();
    world.set_adversary(Dropper {
        lies,
        false_providers,
    });
    world.populate()?;
    Ok(world)
}

/// Has some keys published, and then others look for them: how many of how many found what was published.
fn publish_and_find(
    world: &mut KadWorld,
    scale: &Scale,
    publish: impl Fn(usize) -> Operation,
    find: impl Fn(usize) -> Operation,
    options: QueryOptions,
) -> Result<(u64, u64), ExperimentError> {
    let mut draw = world.draws("finders");
    let honest = world.config().nodes as u64;
    let mut publishers = Vec::new();
    for number in 0..KEYS {
        let node = draw.below(honest) as u32;
        publishers.push(world.peer(node));
        world.start(node, publish(number));
    }
    world.run_until_done(Duration::from_secs(150))?;
    world.take_outcomes();
    let (mut found, mut of) = (0, 0);
    let searches = (scale.lookups / KEYS).max(1);
    for (number, publisher) in publishers.into_iter().enumerate() {
        for _ in 0..searches {
            let node = draw.below(honest) as u32;
            if world.peer(node) != publisher {
                world.start_with(node, find(number), options);
                world.run_for(Duration::from_millis(50))?;
            }
        }
        world.run_until_done(Duration::from_secs(150))?;
        for outcome in world.take_outcomes() {
            of += 1;
            found += u64::from(match outcome.kind {
                Kind::Get => outcome.value.is_some(),
                _ => publisher.is_some_and(|peer| outcome.peers.contains(&peer)),
            });
        }
    }
    Ok((found, of))
}

fn setting(sybils: usize, networks: Networks, more: &str) -> String {
    let networks = match networks {
        Networks::One => "in one network",
        Networks::Each => "a network each",
    };
    format!("{sybils} sybils, {networks}{more}")
}

/// D2.
pub(super) fn key_eclipse(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    for sybils in [20, 45, 60] {
        for (networks, counted) in [
            (Networks::One, false),
            (Networks::One, true),
            (Networks::Each, true),
        ] {
            let config = config(counted, scale.nodes);
            let mut world = attacked(scale, config, sybils, networks, false)?;
            let put =
                |number: usize| Operation::Put(Record::new(key(number), "the value"), Quorum::One);
            let get = |number: usize| Operation::Get(key(number));
            let (found, of) = publish_and_find(&mut world, scale, put, get, QueryOptions::new())?;
            let row = Row::new(setting(sybils, networks, ""), counted)
                .with("records found", Value::Share(found, of));
            let kept = row.figure("records found").unwrap_or(0.0) >= 0.99;
            rows.push(if counted { row.kept(kept) } else { row });
        }
    }
    Ok(Experiment {
        attack: Attack::D2,
        title: format!(
            "in {} nodes, sybils nearer to a key than any other say they store its record, and do not",
            scale.nodes
        ),
        promise: "99 % of searches find the record (to be reached with storing in a region, which is not there yet)",
        rows,
    })
}

/// D3.
pub(super) fn active_key_eclipse(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    let twenty = NonZeroUsize::new(20);
    for sybils in [20, 45, 60] {
        for (networks, counted, whole) in [
            (Networks::One, false, false),
            (Networks::One, false, true),
            (Networks::One, true, false),
            (Networks::One, true, true),
            (Networks::Each, true, true),
        ] {
            let config = config(counted, scale.nodes);
            let mut world = attacked(scale, config, sybils, networks, true)?;
            let provide = |number: usize| Operation::Provide(key(number));
            let search = |number: usize| Operation::Providers(key(number));
            let mut options = QueryOptions::new();
            options.count = twenty.filter(|_| !whole);
            let (found, of) = publish_and_find(&mut world, scale, provide, search, options)?;
            let more = match (counted, whole) {
                (_, false) => ", ended after 20 providers",
                (false, true) => ", searched to the end",
                (true, true) => "",
            };
            let defended = counted && whole;
            let row = Row::new(setting(sybils, networks, more), defended)
                .with("providers found", Value::Share(found, of));
            let kept = row.figure("providers found").unwrap_or(0.0) >= 0.95;
            rows.push(if defended { row.kept(kept) } else { row });
        }
    }
    Ok(Experiment {
        attack: Attack::D3,
        title: format!(
            "in {} nodes, sybils nearer to a key than any other forget its provider and name 20 false ones",
            scale.nodes
        ),
        promise: "95 % of searches find the provider",
        rows,
    })
}
