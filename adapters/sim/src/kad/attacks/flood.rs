//! One node, and more than it can keep.

use super::{Attack, Experiment, Row, Scale, Value, lone::Lone};
use crate::kad::{member, node_config};
use core::{net::Ipv4Addr, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        AddressScope, Config, Key, MemoryStoreConfig, Record, RecordKey, Validator,
        message::{Message, request},
        validator::InvalidRecord,
    },
    time::UnixTime,
};
use std::sync::Arc;

/// Of providers in D6.
const MOST_ANNOUNCEMENTS: usize = 2_000;

/// A store without caps.
fn boundless() -> MemoryStoreConfig {
    let most = usize::MAX / 4;
    let mut config = MemoryStoreConfig::default();
    config.max_records = most;
    config.max_value_bytes = most;
    config.max_key_bytes = most;
    config.max_bytes = most;
    config.max_records_per_peer = most;
    config.max_provided_keys = most;
    config.max_providers_per_key = most;
    config.max_provider_keys_per_peer = most;
    config.max_providers_per_network = most;
    config.max_addresses_per_provider = most;
    config.max_address_bytes = most;
    config
}

fn store(defended: bool) -> MemoryStoreConfig {
    if defended {
        MemoryStoreConfig::default()
    } else {
        boundless()
    }
}

fn announce(key: &[u8], peer: &PeerId, address: &Multiaddr) -> Vec<u8> {
    let mut message = Vec::new();
    request::add_provider(&mut message, key, peer, [address]);
    message
}

/// The providers that a node tells of a key.
fn providers(lone: &mut Lone, asker: PeerId, key: &[u8]) -> Vec<PeerId> {
    let mut message = Vec::new();
    request::get_providers(&mut message, key);
    let answer = lone.ask(asker, &message).unwrap_or_default();
    Message::decode(&answer)
        .map(|message| message.provider_peers().map(|told| told.peer).collect())
        .unwrap_or_default()
}

/// D6.
pub(super) fn providers_flood(scale: &Scale) -> Experiment {
    // A store without caps takes longer for each one that it has.
    let scale = &scale.flood(scale.flood.min(MOST_ANNOUNCEMENTS));
    let mut rows = Vec::new();
    for (first, few) in [(true, true), (false, true), (true, false), (false, false)] {
        for defended in [false, true] {
            rows.push(provider_flood(scale, first, few, defended));
        }
    }
    Experiment {
        attack: Attack::D6,
        title: format!("{} announcements of providers to one node", scale.flood),
        promise: "the store stays within its caps, and the honest provider is still named",
        rows,
    }
}

/// A key that is near to a node: others look for it there, and it is for this node to keep it.
fn near(lone: &Lone) -> Vec<u8> {
    let own = Key::of_peer(lone.dht.local_peer());
    let mut keys = (0_u32..1 << 20).map(|number| format!("wanted {number}").into_bytes());
    let is_near = |key: &Vec<u8>| Key::of(key).distance(&own).leading_zeros() >= 13;
    keys.find(is_near).unwrap_or_default()
}

fn provider_flood(scale: &Scale, first: bool, few_networks: bool, defended: bool) -> Row {
    let (mut lone, mut draw) = Lone::new(scale.seed, node_config(), store(defended));
    let (honest, home) = (
        member::draw_peer(&mut draw),
        member::draw_address(&mut draw),
    );
    let key = near(&lone);
    if first {
        lone.ask(honest, &announce(&key, &honest, &home));
    }
    let mut keys = Vec::new();
    for number in 0..scale.flood {
        let peer = member::draw_peer(&mut draw);
        let address = if few_networks {
            member::address_of(Ipv4Addr::from_bits(0x2d4d_0000 + number as u32 % 65_000))
        } else {
            member::draw_address(&mut draw)
        };
        lone.ask(peer, &announce(&key, &peer, &address));
        let other = format!("key {number}").into_bytes();
        lone.ask(peer, &announce(&other, &peer, &address));
        keys.push(other);
    }
    if !first {
        lone.ask(honest, &announce(&key, &honest, &home));
    }
    let asker = member::draw_peer(&mut draw);
    let named = providers(&mut lone, asker, &key);
    let told = named.len() as u64;
    let kept_keys = keys
        .iter()
        .filter(|other| !providers(&mut lone, asker, other).is_empty())
        .count() as u64;
    let setting = format!(
        "honest {}, sybils {}",
        if first { "first" } else { "last" },
        if few_networks {
            "in one network"
        } else {
            "everywhere"
        }
    );
    let found = named.contains(&honest);
    let row = Row::new(setting, defended)
        .with("honest named", Value::Share(u64::from(found), 1))
        .with("named for the key", Value::Count(told))
        .with("other keys kept", Value::Count(kept_keys));
    let kept = found && told <= 20 && kept_keys <= 1_024;
    if defended { row.kept(kept) } else { row }
}

/// Values are a number and its checksum: the higher number is the better one. Stands for signed records.
#[derive(Debug)]
struct Numbered;

impl Numbered {
    fn value(number: u64, len: usize) -> Vec<u8> {
        let mut value = number.to_be_bytes().to_vec();
        let sum = Key::of(&value).to_bytes();
        value.extend_from_slice(sum.get(..8).unwrap_or_default());
        value.resize(len.max(16), 0);
        value
    }
}

impl Validator for Numbered {
    fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        let number = value.get(..8).unwrap_or_default();
        let sum = Key::of(number).to_bytes();
        if value.get(8..16) == sum.get(..8) {
            return Ok(());
        }
        Err(InvalidRecord::Refused("the checksum is wrong"))
    }

    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        let best = values.iter().enumerate().rev();
        best.max_by_key(|(_, value)| value.get(..8))
            .map_or(0, |(at, _)| at)
    }
}

fn put(lone: &mut Lone, from: PeerId, record: &Record) -> bool {
    let mut message = Vec::new();
    let now = lone.at().unix;
    request::put_value(&mut message, record, now, None);
    lone.ask(from, &message).is_some()
}

fn value_of(lone: &mut Lone, from: PeerId, key: &str) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    request::get_value(&mut message, key.as_bytes());
    let answer = lone.ask(from, &message)?;
    let message = Message::decode(&answer).ok()?;
    message.record.map(|record| record.value.to_vec())
}

/// D7.
pub(super) fn records(scale: &Scale) -> Experiment {
    let rows = [false, true]
        .into_iter()
        .flat_map(|defended| record_abuse(scale, defended))
        .collect();
    Experiment {
        attack: Attack::D7,
        title: "records that a node must not keep".to_owned(),
        promise: "none is kept; of one peer at most 64, and none for more than 48 h",
        rows,
    }
}

fn record_abuse(scale: &Scale, defended: bool) -> Vec<Row> {
    let mut config = node_config();
    if defended {
        config.validator = Arc::new(Numbered);
    } else {
        config.max_value_len = usize::MAX / 4;
        config.record_ttl = None;
    }
    let (mut lone, mut draw) = Lone::new(scale.seed, config, store(defended));
    let peer = member::draw_peer(&mut draw);
    let mut rows = Vec::new();
    let mut note = |name: &str, kept: u64, most: u64| {
        let row = Row::new(name.to_owned(), defended).with("kept", Value::Count(kept));
        rows.push(if defended {
            row.kept(kept <= most)
        } else {
            row
        });
    };
    let long = Record::new("long", Numbered::value(1, 65 * 1024 + 1));
    put(&mut lone, peer, &long);
    let is_kept = value_of(&mut lone, peer, "long").is_some();
    note("a value of 65 KiB and a byte", u64::from(is_kept), 0);
    put(&mut lone, peer, &Record::new("forged", vec![7; 32]));
    let is_kept = value_of(&mut lone, peer, "forged").is_some();
    note("a forged value", u64::from(is_kept), 0);
    let new = Numbered::value(7, 16);
    put(&mut lone, peer, &Record::new("replayed", new.clone()));
    let other = member::draw_peer(&mut draw);
    put(
        &mut lone,
        other,
        &Record::new("replayed", Numbered::value(3, 16)),
    );
    let is_older = value_of(&mut lone, peer, "replayed") != Some(new);
    note(
        "an older value in place of a newer one",
        u64::from(is_older),
        0,
    );
    let many = scale.flood.min(1_000);
    let from = member::draw_peer(&mut draw);
    for number in 0..many {
        let key = format!("many {number}");
        put(
            &mut lone,
            from,
            &Record::new(key.as_str(), Numbered::value(1, 16)),
        );
    }
    let kept = (0..many)
        .filter(|number| value_of(&mut lone, peer, &format!("many {number}")).is_some())
        .count() as u64;
    note(&format!("{many} records of one peer"), kept, 64);
    let year = lone
        .at()
        .unix
        .saturating_add(Duration::from_secs(365 * 24 * 3_600));
    let mut lasting = Record::new("lasting", Numbered::value(1, 16));
    lasting.expires = Some(year);
    put(&mut lone, other, &lasting);
    lone.run_for(Duration::from_secs(49 * 3_600), &mut |_, _| None);
    let is_kept = value_of(&mut lone, peer, "lasting").is_some();
    note("a record for a year, after 49 h", u64::from(is_kept), 0);
    rows
}

/// D8.
pub(super) fn amplification(scale: &Scale) -> Experiment {
    let rows = [false, true]
        .into_iter()
        .map(|defended| amplified(scale, defended))
        .collect();
    Experiment {
        attack: Attack::D8,
        title: "a small question for a large answer: a table whose peers have as many addresses as they may"
            .to_owned(),
        promise: "at most 20 peers in at most 16 KiB; a question makes the node dial nobody",
        rows,
    }
}

fn amplified(scale: &Scale, defended: bool) -> Row {
    let mut config: Config = node_config();
    config.address_scope = AddressScope::Any;
    config.diversity = None;
    if !defended {
        config.response_budget = usize::MAX / 4;
        config.max_addresses = 64;
    }
    let (mut lone, mut draw) = Lone::new(scale.seed, config, MemoryStoreConfig::default());
    for _ in 0..200 {
        let peer = member::draw_peer(&mut draw);
        for number in 0..64 {
            // As long as addresses of browsers with two hashes of certificates are.
            let name = format!("{number}-{}", "n".repeat(120));
            let text = format!("/dns4/{name}/tcp/4001");
            let Ok(address) = text.parse::<Multiaddr>() else {
                continue;
            };
            let at = lone.at();
            let _ = lone.dht.add_address(at, peer, &address);
        }
    }
    lone.settle(&mut |_, _| None);
    lone.sent.clear();
    let asker = member::draw_peer(&mut draw);
    let (mut asked, mut longest, mut most) = (0, 0, 0);
    for number in 0..scale.lookups.max(1) {
        let mut message = Vec::new();
        request::find_node(&mut message, format!("any key {number}").as_bytes());
        asked = message.len() as u64;
        let answer = lone.ask(asker, &message).unwrap_or_default();
        longest = longest.max(answer.len() as u64);
        let told = Message::decode(&answer).map_or(0, |message| message.closer_peers().count());
        most = most.max(told as u64);
    }
    let dials = lone.sent.iter().filter(|peer| **peer != asker).count() as u64;
    let row = Row::new("FIND_NODE".to_owned(), defended)
        .with("question", Value::Bytes(asked))
        .with("answer", Value::Bytes(longest))
        .with("ratio", Value::Number(longest as f64 / asked.max(1) as f64))
        .with("peers told", Value::Count(most))
        .with("dials", Value::Count(dials));
    let kept = longest <= 16 * 1024 && most <= 20 && dials == 0;
    if defended { row.kept(kept) } else { row }
}
