//! A DHT on tokio: a few nodes on this machine, a record, a provider, and what became of them.
//!
//! `cargo run -p drywire-tokio --example kad`
#![allow(clippy::std_instead_of_core, reason = "a program, not a library")]

use core::{error::Error, num::NonZeroUsize};
use drywire::{
    multistream::ProtocolName,
    protocol::{
        identify::Identify,
        kad::{Config, Kademlia, Mode, QueryOptions, Quorum, Record},
    },
    protocols,
    swarm::DialOptions,
};
use drywire_engine::{Host, KadError, KadHandle};
use drywire_tokio::TokioRuntime;

/// A network of one's own has a name of its own. Under it any record is valid, unless a validator says otherwise.
const DHT: ProtocolName = ProtocolName::from_static("/example/kad/1.0.0");

protocols! {
    /// What all nodes speak. Without identify nobody learns who is a server of the DHT.
    pub struct Speech => SpeechEvent {
        identify: Identify => Identify,
        kad: Kademlia => Kad,
    }
}

/// A node: its host, and its part in the DHT.
struct Node {
    host: Host<Speech>,
    kad: KadHandle<Speech>,
}

impl Node {
    /// A server answers others, and keeps their records; a client only asks.
    fn start(mode: Mode) -> Result<Self, Box<dyn Error>> {
        let speech = Speech {
            identify: Identify::default(),
            kad: Kademlia::new(Config::new(DHT)).with_mode(mode),
        };
        let host = Host::builder(TokioRuntime::current()?, speech).start()?;
        let kad = host.kad(Speech::Kad);
        Ok(Self { host, kad })
    }
}

/// Runs all nodes; what was said.
///
/// # Errors
/// What went wrong.
pub async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let mut said = Vec::new();
    let first = Node::start(Mode::Server)?;
    let bound = first.host.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;

    // Whoever knows a server of the DHT can join it.
    let mut servers = Vec::new();
    for _ in 0..4 {
        let server = Node::start(Mode::Server)?;
        server.host.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
        server.kad.add_address(first.host.peer_id(), &bound.address);
        server.kad.bootstrap().await?;
        servers.push(server);
    }
    let [ada, bob, ..] = &servers[..] else {
        return Err("too few".into());
    };

    // One that merely dials somebody is in the DHT a moment later.
    let client = Node::start(Mode::Client)?;
    let options = DialOptions::address(bound.address);
    client.host.dial(options).await?;
    client.kad.wait_until_ready().await?;

    let stored = ada
        .kad
        .put(Record::new("greeting", "hello"), Quorum::AllFound)
        .await?;
    said.push(format!("stored at {} others", stored.success.len()));
    let found = client.kad.get("greeting").await?;
    let value = String::from_utf8_lossy(&found.record.value).into_owned();
    said.push(format!("found: {value}"));

    // One valid answer is enough for those in a hurry.
    let hurry = QueryOptions::new().quorum(NonZeroUsize::MIN);
    client.kad.get_with("greeting", hurry).await?;
    if let Err(KadError::NotFound { closest_peers }) = client.kad.get("farewell").await {
        let asked = closest_peers.len();
        said.push(format!("no farewell at any of {asked} peers"));
    }

    // Providers come as they are found. Who has seen enough drops the stream, and nobody else is asked.
    bob.kad.provide("a file").await?;
    let mut providers = client.kad.providers("a file")?;
    if let Some(provider) = providers.next().await {
        let provider = provider?;
        let right = provider.peer == bob.host.peer_id() && !provider.addresses.is_empty();
        said.push(format!("the right provider: {right}"));
    }
    drop(providers);

    let query = client.kad.get_all("anything")?;
    let id = query.id();
    drop(query);
    let runs = client.kad.with(|kad, _| kad.query(&id).is_some());
    said.push(format!("goes on after it was dropped: {runs}"));

    client.host.shutdown().await;
    for server in servers {
        server.host.shutdown().await;
    }
    first.host.shutdown().await;
    Ok(said)
}

#[allow(dead_code, reason = "a test runs this file too")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for line in run().await? {
        println!("{line}");
    }
    Ok(())
}
