//! Requests and responses over links that get worse: how many are answered in time, and where the others stop.
//!
//! `cargo run -p drywire-sim --example requests -- [SEED]`
#![allow(
    clippy::std_instead_of_alloc,
    clippy::arithmetic_side_effects,
    reason = "a program, not a library"
)]

use bytes::Bytes;
use core::{cell::RefCell, error::Error, time::Duration};
use drywire::{
    multistream::ProtocolName,
    node::NodeEvent,
    protocol::{
        ping::Ping,
        request_response::{
            BytesCodec, Config, Event, Message, OutboundFailure, ProtocolSupport, RequestOptions,
            RequestResponse, Service, Stage,
        },
    },
    protocols, swarm,
    time::Instant,
};
use drywire_sim::{HostBuilder, HostContext, Link, World};
use std::{collections::BTreeMap, io::Write, rc::Rc};

const PRICE: ProtocolName = ProtocolName::from_static("/price/1");
const EVERY: Duration = Duration::from_millis(100);
const REQUESTS: u32 = 600;
/// What comes later is of no use.
const PATIENCE: Duration = Duration::from_secs(1);

type Prices = Service<BytesCodec, fn(drywire::identity::PeerId, Bytes) -> Option<Bytes>>;

protocols! {
    /// Of the shop: it answers inside its machine.
    #[derive(Debug)]
    struct Shop => ShopEvent {
        ping: Ping => Ping,
        prices: Prices => Prices,
    }
}

protocols! {
    /// Of the customer.
    #[derive(Debug)]
    struct Customer => CustomerEvent {
        ping: Ping => Ping,
        prices: RequestResponse<BytesCodec> => Prices,
    }
}

fn shop() -> Shop {
    let price = |_, item: Bytes| {
        Some(Bytes::from(format!(
            "{} for 5",
            String::from_utf8_lossy(&item)
        )))
    };
    Shop {
        ping: Ping::default(),
        prices: Service::new(BytesCodec, [PRICE], Config::default(), price),
    }
}

fn customer() -> Customer {
    Customer {
        ping: Ping::default(),
        prices: RequestResponse::new([(PRICE, ProtocolSupport::Outbound)], Config::default()),
    }
}

/// How the requests went, with when those that were answered were sent.
#[derive(Debug, Default)]
struct Outcomes {
    latencies: Vec<Duration>,
    answered: u32,
    failed: BTreeMap<&'static str, u32>,
    sent_at: BTreeMap<u64, Instant>,
}

impl Outcomes {
    fn hear(&mut self, event: Event<Bytes, Bytes>, now: Instant) {
        match event {
            Event::Message {
                message: Message::Response { request_id, .. },
                ..
            } => {
                self.answered += 1;
                let sent = self.sent_at.get(&request_id.number());
                self.latencies.extend(sent.map(|sent| now - *sent));
            }
            Event::OutboundFailure { error, .. } => {
                let name = match error {
                    OutboundFailure::Timeout(Stage::Queued) => "late, not connected",
                    OutboundFailure::Timeout(_) => "late, on the way",
                    OutboundFailure::ConnectionClosed(_) => "lost with the connection",
                    _ => "otherwise",
                };
                *self.failed.entry(name).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// The customer asks ten times a second for a minute, over one link.
fn ask(seed: u64, link: Link) -> Result<Outcomes, Box<dyn Error>> {
    let mut world = World::new(seed);
    world.set_default_link(link)?;
    let shop = world.add(HostBuilder::new("shop", shop))?;
    let (peer, address) = (world.peer_id(shop)?, world.address(shop)?.without_peer_id());
    let outcomes: Rc<RefCell<Outcomes>> = Rc::default();
    let heard = outcomes.clone();
    let customer = world.add(HostBuilder::new("customer", customer).application(
        move |event: NodeEvent<CustomerEvent>, host: &mut HostContext<'_, Customer>| {
            if let NodeEvent::Swarm(swarm::Event::Protocol(CustomerEvent::Prices(event))) = event {
                heard.borrow_mut().hear(event, host.now);
            }
        },
    ))?;
    for number in 0..REQUESTS {
        let options = RequestOptions::new()
            .addresses([address.clone()])
            .timeout(PATIENCE);
        let item = Bytes::from(format!("item {number}"));
        let sent = world.with(customer, |set, cx| {
            let sent = set.prices(cx, |prices, cx| {
                prices.send_request_with(&peer, item, options, cx)
            });
            sent.map(|id| (id, cx.now()))
        })?;
        let (id, now) = sent?;
        outcomes.borrow_mut().sent_at.insert(id.number(), now);
        world.run_for(EVERY)?;
    }
    world.run_for(PATIENCE * 2)?;
    Ok(outcomes.take())
}

/// Prints a line for each link.
///
/// # Errors
/// What went wrong in the world, or with `out`.
pub fn run(seed: u64, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let ocean = Link::default()
        .latency(Duration::from_millis(90))
        .jitter(0.2);
    let phone = ocean.clone().bandwidth(40_000).loss(0.03);
    let mut tunnel = phone.clone();
    tunnel.stalls = 0.02;
    tunnel.longest_stall = Duration::from_secs(8);
    tunnel.resets = 0.01;
    writeln!(
        out,
        "seed {seed}: {REQUESTS} requests, ten a second, each of use for {PATIENCE:?}\n"
    )?;
    for (name, link) in [
        ("over an ocean", ocean),
        ("on a phone", phone),
        ("in a tunnel", tunnel),
    ] {
        let mut outcomes = ask(seed, link)?;
        outcomes.latencies.sort();
        let median = outcomes.latencies.get(outcomes.latencies.len() / 2);
        let failed: Vec<String> = outcomes
            .failed
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        writeln!(
            out,
            "{name:14} {:>4} answered, half of them within {:.0?}; {}",
            outcomes.answered,
            median.copied().unwrap_or_default(),
            failed.join(", ")
        )?;
    }
    Ok(())
}

#[allow(dead_code, reason = "a test runs this file too")]
fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;
    run(seed, &mut std::io::stdout())
}
