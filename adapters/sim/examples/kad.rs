//! A DHT of forty nodes around the world: how long things take, before and after a third of them is gone.
//!
//! `cargo run -p drywire-sim --example kad -- [SEED]`
#![allow(
    clippy::std_instead_of_alloc,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a program, not a library"
)]

use core::{error::Error, num::NonZeroUsize, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::NodeEvent,
    protocol::{
        identify::Identify,
        kad::{
            Config, Event, GetProvidersOk, GetRecordOk, Kademlia, Mode, QueryId, QueryOptions,
            QueryRefused, QueryResult, QueryStats, Quorum, Record,
        },
    },
    protocols,
    swarm::{self, Context},
};
use drywire_sim::{Host, HostBuilder, Link, World};
use std::io::Write;

const DHT: ProtocolName = ProtocolName::from_static("/village/kad/1.0.0");
const NODES: usize = 40;

protocols! {
    /// What everybody speaks.
    struct Villager => VillagerEvent {
        identify: Identify => Identify,
        kad: Kademlia => Kad,
    }
}

fn villager() -> Villager {
    Villager {
        identify: Identify::default(),
        kad: Kademlia::new(Config::new(DHT)).with_mode(Mode::Server),
    }
}

struct Village {
    world: World,
    nodes: Vec<Host<Villager>>,
}

impl Village {
    fn new(seed: u64) -> Result<Self, Box<dyn Error>> {
        let mut world = World::new(seed);
        let link = Link::default().latency(Duration::from_millis(40));
        world.set_default_link(link.jitter(0.3))?;
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let name = format!("villager {number}");
            nodes.push(world.add(HostBuilder::new(name, villager))?);
        }
        Ok(Self { world, nodes })
    }

    fn address(&self, number: usize) -> Result<(PeerId, Multiaddr), Box<dyn Error>> {
        let node = self.nodes[number];
        let (peer, address) = (self.world.peer_id(node)?, self.world.address(node)?);
        Ok((peer, address.without_peer_id()))
    }

    /// Runs a query of a node to its end: how long it took, what it did, and all that it found.
    fn query(
        &mut self,
        number: usize,
        begin: impl FnOnce(&mut Kademlia, &mut Context<'_, Event>) -> Result<QueryId, QueryRefused>,
    ) -> Result<(Duration, QueryStats, Vec<QueryResult>), Box<dyn Error>> {
        let node = self.nodes[number];
        self.world.events(node);
        let begun = self.world.with(node, |set, cx| {
            let id = set.kad(cx, begin);
            id.map(|id| (id, cx.now()))
        })?;
        let (query, start) = begun?;
        // No query takes longer.
        self.world.run_for(Duration::from_secs(61))?;
        let (mut results, mut end) = (Vec::new(), None);
        for (at, event) in self.world.events(node) {
            if let NodeEvent::Swarm(swarm::Event::Protocol(VillagerEvent::Kad(
                Event::OutboundQueryProgressed {
                    id, result, stats, ..
                },
            ))) = event
                && id == query
            {
                results.push(result);
                end = Some((at - start, stats));
            }
        }
        let (time, stats) = end.ok_or("a query without an end")?;
        Ok((time, stats, results))
    }

    /// Gets the record, and says how that went.
    fn get(&mut self, number: usize, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
        let (time, stats, results) = self.query(number, |kad, cx| kad.get_record("bread", cx))?;
        let found = match results.last() {
            Some(QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                best,
                ..
            }))) => String::from_utf8_lossy(&best.record.value).into_owned(),
            other => format!("{other:?}"),
        };
        writeln!(
            out,
            "villager {number} gets \"{found}\" in {time:.0?}: {} asked, {} answered",
            stats.num_requests(),
            stats.num_successes()
        )?;
        Ok(())
    }
}

/// Prints what happens.
///
/// # Errors
/// What went wrong in the world, or with `out`.
pub fn run(seed: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut village = Village::new(seed)?;
    let (elder, address) = village.address(0)?;
    let others = village.nodes[1..].to_vec();
    for node in others {
        village.world.with(node, |set, cx| {
            set.kad(cx, |kad, cx| kad.add_address(elder, &address, cx))
        })?;
    }
    // A node looks itself up a moment after it knows somebody, and is known to its neighbours from then on.
    village.world.run_for(Duration::from_secs(60))?;
    let mut known = Vec::new();
    for node in village.nodes.clone() {
        known.push(
            village
                .world
                .with(node, |set, _| set.kad.dht().table().len())?,
        );
    }
    known.sort_unstable();
    writeln!(
        out,
        "seed {seed}: {NODES} nodes that knew the first alone know {} to {} others after a minute",
        known[0],
        known[NODES - 1]
    )?;

    let record = Record::new("bread", "five a loaf");
    let (time, _, results) = village.query(7, |kad, cx| kad.put_record(record, Quorum::All, cx))?;
    if let Some(QueryResult::PutRecord(Ok(put))) = results.last() {
        let count = put.success.len();
        writeln!(
            out,
            "villager 7 stores a record at {count} others in {time:.0?}"
        )?;
    }
    village.get(3, out)?;

    let (time, _, _) = village.query(11, |kad, cx| kad.start_providing("bread", cx))?;
    writeln!(out, "villager 11 announces that it has bread in {time:.0?}")?;
    let one = QueryOptions::new().count(NonZeroUsize::MIN);
    let (time, _, results) =
        village.query(31, |kad, cx| kad.get_providers_with("bread", one, cx))?;
    for result in results {
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            result
        {
            let baker = village.address(11)?.0;
            let right = providers.iter().all(|provider| provider.peer == baker);
            let word = if right { "finds" } else { "does not find" };
            writeln!(out, "villager 31 {word} it in {time:.0?}")?;
        }
    }

    writeln!(out, "--- every third node loses its power")?;
    for number in (2..NODES).step_by(3) {
        village.world.crash(village.nodes[number])?;
    }
    village.get(24, out)?;
    // By then it has been noticed who is gone.
    village.world.run_for(Duration::from_secs(15 * 60))?;
    writeln!(out, "--- a quarter of an hour later")?;
    village.get(36, out)
}

#[allow(dead_code, reason = "a test runs this file too")]
fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;
    run(seed, &mut std::io::stdout())
}
