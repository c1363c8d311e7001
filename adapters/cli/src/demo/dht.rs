//! The demo's DHT: on a protocol name of its own, with records of its own kind.

use super::{Node, TIMEOUT, millis, tell};
use crate::{
    executor,
    failure::Failure,
    output::{Output, printable},
    session::{Protocols, dial, within},
};
use bytes::Bytes;
use core::num::NonZeroUsize;
use drywire::{
    multistream::ProtocolName,
    protocol::{
        kad::{Config, InvalidRecord, Quorum, Record, RecordKey, Validator, validator::Namespaced},
        request_response::RequestOptions,
    },
    time::UnixTime,
};
use drywire_engine::{KadError, KadHandle};
use std::{sync::Arc, time::Instant};

const NAME: ProtocolName = ProtocolName::from_static("/drywire/demo-kad/1.0.0");
const SCORE: &str = "/score/demo";
const RECIPE: &str = "the recipe";

/// `/score/..`: a number, of which the highest is the best.
#[derive(Debug)]
struct Scores;

fn score(value: &[u8]) -> Option<u64> {
    core::str::from_utf8(value).ok()?.parse().ok()
}

impl Validator for Scores {
    fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        let score = score(value);
        score
            .map(drop)
            .ok_or(InvalidRecord::Refused("a score is a number"))
    }

    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        // Of equal ones the first.
        let best = values.iter().enumerate().rev();
        best.max_by_key(|(_, value)| score(value))
            .map_or(0, |(index, _)| index)
    }
}

/// What each node of the demo runs.
pub(super) fn config() -> Config {
    let mut config = Config::new(NAME);
    config.validator = Arc::new(Namespaced::new().with("score", Scores));
    config.query_timeout = TIMEOUT;
    config
}

fn kad(node: &Node) -> KadHandle<Protocols> {
    node.host.kad(Protocols::Kad)
}

pub(super) async fn run(nodes: &[Node], output: &Output) -> Result<(), Failure> {
    let [ada, bob, cleo, .., eve, jon] = nodes else {
        return Ok(());
    };
    join(ada, nodes, output).await?;
    record(bob, cleo, jon, output).await?;
    provider(eve, jon, output).await
}

/// All nodes but the first know nobody but it, and find each other.
async fn join(ada: &Node, nodes: &[Node], output: &Output) -> Result<(), Failure> {
    let text = format!(
        "a DHT of {} nodes under {NAME}: each knows {} and finds the others by itself",
        nodes.len(),
        ada.name
    );
    tell(output, &text)?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for node in nodes.iter().skip(1) {
        let (host, kad) = (node.host.clone(), kad(node));
        let address = ada.address.clone();
        tasks.push(executor::spawn(async move {
            let peer = dial(&host, &address, TIMEOUT).await?.peer;
            kad.add_address(peer, &address);
            kad.bootstrap().await.map_err(Failure::failed)
        }));
    }
    for task in tasks {
        task.await.map_err(Failure::failed)??;
    }
    let known: Vec<usize> = nodes.iter().map(|node| kad(node).table().len()).collect();
    let (least, most) = (
        known.iter().min().copied().unwrap_or(0),
        known.iter().max().copied().unwrap_or(0),
    );
    let time = start.elapsed();
    let text = format!("after {} each knows {least} to {most} others", millis(time));
    let fields = [
        ("nodes", nodes.len().into()),
        ("least", least.into()),
        ("most", most.into()),
        ("ms", (time.as_secs_f64() * 1e3).into()),
    ];
    output.say(&text, "dht", &fields)
}

async fn record(bob: &Node, cleo: &Node, jon: &Node, output: &Output) -> Result<(), Failure> {
    tell(
        output,
        "a record: all nodes agree by the same rules which is valid, and which the best",
    )?;
    for (node, score) in [(bob, "7"), (cleo, "9")] {
        // A quorum of more than half would be of 20, and there are not so many.
        let (kad, record) = (kad(node), Record::new(SCORE, score));
        let put = kad.put(record, Quorum::AllFound).await;
        let stored = put.map_err(Failure::failed)?.success.len();
        let text = format!("{} stores {score} at {stored} nodes", node.name);
        let fields = [
            ("node", node.name.into()),
            ("value", score.into()),
            ("peers", stored.into()),
        ];
        output.say(&text, "stored", &fields)?;
    }
    for score in ["8", "a lot"] {
        match kad(bob).put(Record::new(SCORE, score), Quorum::One).await {
            Err(error @ KadError::Refused(_)) => {
                let text = format!("{}: {score} is refused, as it should be: {error}", bob.name);
                output.say(&text, "rejected", &[("error", error.to_string().into())])?;
            }
            Err(error) => return Err(Failure::failed(error)),
            Ok(_) => return Err(Failure::failed("a worse record was taken")),
        }
    }
    let start = Instant::now();
    let found = kad(jon).get(SCORE).await.map_err(Failure::failed)?;
    let value = String::from_utf8_lossy(&found.record.value).into_owned();
    let text = format!(
        "{} finds {} in {}",
        jon.name,
        printable(&value),
        millis(start.elapsed())
    );
    output.say(&text, "record", &[("value", value.into())])
}

/// Jon finds out who has something, and asks for it.
async fn provider(eve: &Node, jon: &Node, output: &Output) -> Result<(), Failure> {
    let text = format!(
        "a provider: {} has {RECIPE}; {} does not know that, finds out, and asks",
        eve.name, jon.name
    );
    tell(output, &text)?;
    let told = kad(eve)
        .provide(RECIPE)
        .await
        .map_err(Failure::failed)?
        .told;
    let text = format!("{} tells {told} nodes", eve.name);
    output.say(&text, "provided", &[("told", told.into())])?;
    let found = kad(jon).find_providers(RECIPE, NonZeroUsize::MIN).await;
    let found = found.map_err(Failure::failed)?;
    let Some(provider) = found.into_iter().next() else {
        return Err(Failure::failed("nobody provides what was just provided"));
    };
    if provider.peer != eve.host.peer_id() {
        return Err(Failure::failed("somebody else provides it"));
    }
    let addresses: Vec<String> = provider.addresses.iter().map(ToString::to_string).collect();
    let text = format!("{} finds {} at {}", jon.name, eve.name, addresses.join(" "));
    let fields = [
        ("peer", provider.peer.to_base58().into()),
        ("addresses", addresses.into()),
    ];
    output.say(&text, "provider", &fields)?;
    let question = Bytes::from_static(b"the recipe, please");
    let options = RequestOptions::new().addresses(provider.addresses);
    let requests = jon.host.requests(Protocols::Asking);
    let answer = requests.request_with(provider.peer, question.clone(), options);
    let answer = within(TIMEOUT, "no answer of the provider", async {
        answer.await.map_err(Failure::failed)
    });
    if answer.await? != question {
        return Err(Failure::failed("the provider answers something else"));
    }
    let text = format!("{} asks {}, who answers", jon.name, eve.name);
    output.say(&text, "asked", &[("to", eve.name.into())])
}
