//! Requests and responses in many seeds, with every trouble: each request has exactly one last word, in time, and the right
//! answer; limits hold; afterwards nothing is left, and everybody is answered again (I21 to I24, I45).
//!
//! How many seeds is told by `DRYWIRE_REQUEST_SEEDS` (60 without it).

use bytes::Bytes;
use core::{fmt, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::NodeEvent,
    protocol::{
        identify::Identify,
        ping::Ping,
        request_response::{
            Codec, CodecError, Config, Event, Framing, InboundRequestId, Message,
            OutboundRequestId, ProtocolSupport, RequestOptions, RequestResponse, ResponseChannel,
        },
    },
    protocols,
    swarm::{self, Context},
    time::Instant,
};
use drywire_sim::{
    Application, Host, HostBuilder, HostContext, Link, Violation, World, WorldError,
    explore::{Campaign, Plan, Scenario, Trouble},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Mutex,
};

/// Bytes that do not fill the trace.
#[derive(Clone, PartialEq)]
struct Body(Bytes);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Bodies, of which only those of news are empty: an empty response is an omitted one.
#[derive(Debug, Default)]
struct BodyCodec;

impl Codec for BodyCodec {
    type Request = Body;
    type Response = Body;

    fn encode_request(&mut self, _: &ProtocolName, body: &Body) -> Result<Bytes, CodecError> {
        Ok(body.0.clone())
    }

    fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<Body, CodecError> {
        Ok(Body(bytes))
    }

    fn encode_response(&mut self, _: &ProtocolName, body: &Body) -> Result<Bytes, CodecError> {
        Ok(body.0.clone())
    }

    fn decode_response(&mut self, name: &ProtocolName, bytes: Bytes) -> Result<Body, CodecError> {
        if bytes.is_empty() && *name != NEWS {
            return Err(CodecError::UnexpectedEnd);
        }
        Ok(Body(bytes))
    }
}

type Bodies = RequestResponse<BodyCodec>;
type BodyEvent = Event<Body, Body>;

protocols! {
    /// What the hosts run.
    #[derive(Debug)]
    pub struct Asking => AskingEvent {
        ping: Ping => Ping,
        identify: Identify => Identify,
        whole: Bodies => Whole,
        framed: Bodies => Framed,
        news: Bodies => News,
    }
}

const NEW: ProtocolName = ProtocolName::from_static("/whole/2");
const OLD: ProtocolName = ProtocolName::from_static("/whole/1");
const FRAMED: ProtocolName = ProtocolName::from_static("/framed/1");
const NEWS: ProtocolName = ProtocolName::from_static("/news/1");

/// Within this time after the storm everybody has been answered.
const MEET: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Whole,
    Framed,
    News,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Whole, Self::Framed, Self::News];

    fn run<R>(
        self,
        set: &mut Asking,
        cx: &mut Context<'_, AskingEvent>,
        run: impl FnOnce(&mut Bodies, &mut Context<'_, BodyEvent>) -> R,
    ) -> R {
        match self {
            Self::Whole => set.whole(cx, run),
            Self::Framed => set.framed(cx, run),
            Self::News => set.news(cx, run),
        }
    }

    fn of(self, set: &Asking) -> &Bodies {
        match self {
            Self::Whole => &set.whole,
            Self::Framed => &set.framed,
            Self::News => &set.news,
        }
    }
}

fn config(plan: &Plan) -> Config {
    let mut config = Config::default();
    if plan.troubles.contains(&Trouble::TightLimits) {
        config = config.with_max_concurrent_streams(2);
        (config.max_queued_per_peer, config.max_held_bytes) = (3, 1_500_000);
    }
    config
}

fn set(number: usize, plan: &Plan) -> Asking {
    let config = config(plan);
    // Every other host is of an older version, and speaks the old name only.
    let mut names = vec![(OLD, ProtocolSupport::Full)];
    if number.is_multiple_of(2) {
        names.insert(0, (NEW, ProtocolSupport::Full));
    }
    let full = |name| [(name, ProtocolSupport::Full)];
    Asking {
        ping: Ping::default(),
        identify: Identify::default(),
        whole: Bodies::new(names, config.clone()),
        framed: Bodies::new(
            full(FRAMED),
            config.clone().with_framing(Framing::LengthPrefixed),
        ),
        news: Bodies::new(full(NEWS), config.one_way()),
    }
}

/// Bytes that follow from a number.
fn pattern(nonce: u64, len: usize) -> Bytes {
    let word = |index: usize| {
        let word = nonce ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8))
        .flat_map(|index| word(index).to_le_bytes())
        .collect();
    bytes.truncate(len);
    bytes.into()
}

/// A number, how long the answer is to be, and bytes that follow from the number.
fn question(nonce: u64, len: usize, answer: usize) -> Body {
    let mut bytes = nonce.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(answer as u64).to_le_bytes());
    bytes.extend_from_slice(&pattern(nonce, len));
    Body(bytes.into())
}

fn answer(Body(question): &Body) -> Option<Body> {
    let nonce = u64::from_le_bytes(*question.first_chunk()?);
    let len = u64::from_le_bytes(*question.get(8..)?.first_chunk()?);
    let rest = question.get(16..)?;
    (rest == pattern(nonce, rest.len())).then(|| Body(pattern(!nonce, len as usize)))
}

/// A request under way.
struct Asked {
    nonce: u64,
    answer: usize,
    deadline: Instant,
    overdue: Option<Instant>,
    streamed: bool,
}

/// Asks others, and answers; sometimes late, sometimes never.
struct Asker {
    /// Of the others.
    targets: Vec<(PeerId, Multiaddr)>,
    every: Option<Duration>,
    lengths: Vec<usize>,
    /// How late a timer may be.
    slack: Duration,
    /// Answers everything at once.
    polite: bool,
    next: Option<Instant>,
    tick: Option<Instant>,
    asked: BTreeMap<(Kind, OutboundRequestId), Asked>,
    surfaced: BTreeSet<(Kind, InboundRequestId)>,
    /// To be answered, or dropped, then.
    held: Vec<(Instant, Kind, ResponseChannel<Body>, Option<Body>)>,
    answered: u64,
    outcomes: BTreeMap<String, u64>,
}

impl Asker {
    fn new(plan: &Plan) -> Self {
        let late = plan.troubles.iter().find_map(|trouble| match trouble {
            Trouble::LateTimers { longest_ms, .. } => Some(Duration::from_millis(*longest_ms)),
            _ => None,
        });
        Self {
            targets: Vec::new(),
            every: Some(Duration::from_millis(plan.call_every_ms.max(1))),
            lengths: plan.lengths.clone(),
            slack: late.unwrap_or_default() * 2 + TICK,
            polite: false,
            next: None,
            tick: None,
            asked: BTreeMap::new(),
            surfaced: BTreeSet::new(),
            held: Vec::new(),
            answered: 0,
            outcomes: BTreeMap::new(),
        }
    }

    fn ask(
        &mut self,
        kind: Kind,
        to: &(PeerId, Multiaddr),
        len: usize,
        host: &mut HostContext<'_, Asking>,
    ) -> bool {
        // An empty answer is none.
        let (nonce, answer) = (host.chance.number(), len.max(1));
        let timeout = Duration::from_millis(host.chance.between(500, 12_000));
        let mut options = RequestOptions::new()
            .addresses([to.1.clone()])
            .timeout(timeout);
        let streamed = kind == Kind::Whole && !self.polite && host.chance.happens(0.1);
        if streamed {
            options = options.stream_response();
        }
        let body = question(nonce, len, answer);
        let sent = host.node.with(host.now, |set, cx| {
            kind.run(set, cx, |bodies, cx| {
                bodies.send_request_with(&to.0, body, options, cx)
            })
        });
        match sent {
            Ok(id) => {
                let asked = Asked {
                    nonce,
                    answer,
                    deadline: host.now + timeout,
                    overdue: None,
                    streamed,
                };
                if self.asked.insert((kind, id), asked).is_some() {
                    host.violation("I21 names are used once", id.to_string());
                }
                true
            }
            Err(error) => {
                self.note(&format!("refused: {:?}", error.reason));
                false
            }
        }
    }

    /// Counts an outcome: two names deep, without what they hold.
    fn note(&mut self, outcome: &str) {
        let names = outcome
            .split(['(', '{', ' '])
            .map(|name| name.trim_end_matches(')'));
        let names: Vec<_> = names.filter(|name| !name.is_empty()).take(4).collect();
        let name = match names.as_slice() {
            ["not", "answered:", error, inner @ ..] => ("not answered: ", *error, inner.first()),
            [how, error, inner @ ..] if how.ends_with(':') => (*how, *error, inner.first()),
            _ => return *self.outcomes.entry(outcome.to_owned()).or_default() += 1,
        };
        let (how, error, inner) = name;
        let inner = inner.map_or(String::new(), |inner| format!("({inner})"));
        let name = format!("{} {error}{inner}", how.trim_end());
        *self.outcomes.entry(name).or_default() += 1;
    }

    /// A last word on a request of this host.
    fn over(
        &mut self,
        kind: Kind,
        id: OutboundRequestId,
        host: &mut HostContext<'_, Asking>,
    ) -> Option<Asked> {
        let asked = self.asked.remove(&(kind, id));
        if asked.is_none() {
            host.violation("I21 one last word", format!("{kind:?} {id} had one"));
        }
        asked
    }

    fn hear(&mut self, kind: Kind, event: BodyEvent, host: &mut HostContext<'_, Asking>) {
        match event {
            Event::Message { message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                    ..
                } => self.question(kind, request_id, &request, channel, host),
                Message::Response {
                    request_id,
                    response,
                } => {
                    let Some(asked) = self.over(kind, request_id, host) else {
                        return;
                    };
                    let right = match kind {
                        Kind::News => response.0.is_empty(),
                        _ => response.0 == pattern(!asked.nonce, asked.answer) && !asked.streamed,
                    };
                    if !right {
                        let message = format!("{kind:?} {request_id}: {response:?}");
                        host.violation("I22 the answer is to the question", message);
                    }
                    self.answered += 1;
                    self.note("answered");
                }
            },
            Event::OutboundFailure {
                request_id, error, ..
            } => {
                self.over(kind, request_id, host);
                self.note(&format!("failed: {error:?}"));
            }
            Event::ResponseSent { request_id, .. } => {
                self.answered_peer(kind, request_id, "sent", host);
            }
            Event::InboundFailure {
                request_id, error, ..
            } => self.answered_peer(kind, request_id, &format!("not answered: {error:?}"), host),
            Event::ResponseStream {
                request_id, stream, ..
            } => {
                self.over(kind, request_id, host);
                self.note("streamed");
                if let Some(mut stream) = host.node.stream(stream.connection, stream.stream) {
                    stream.reset(0);
                }
            }
            _ => {}
        }
    }

    fn answered_peer(
        &mut self,
        kind: Kind,
        id: InboundRequestId,
        outcome: &str,
        host: &mut HostContext<'_, Asking>,
    ) {
        if !self.surfaced.remove(&(kind, id)) {
            let message = format!("{kind:?} {id} of a peer: {outcome}");
            host.violation("I21 one last word", message);
        }
        self.note(outcome);
    }

    fn question(
        &mut self,
        kind: Kind,
        id: InboundRequestId,
        question: &Body,
        channel: ResponseChannel<Body>,
        host: &mut HostContext<'_, Asking>,
    ) {
        let Some(body) = answer(question) else {
            let message = format!("{kind:?} {id}: {question:?}");
            return host.violation("I11 bytes arrive as written", message);
        };
        if !self.surfaced.insert((kind, id)) {
            host.violation("I21 names are used once", format!("{kind:?} {id}"));
        }
        let body = if kind == Kind::News {
            Body(Bytes::new())
        } else {
            body
        };
        let mood = if self.polite {
            0
        } else {
            host.chance.below(10)
        };
        let wait = match mood {
            0..6 => return self.respond(kind, channel, body, host),
            6..8 => host.chance.time(Duration::from_secs(6)),
            // Too late for anybody.
            8 => Duration::from_secs(13),
            _ => return self.give_up(kind, channel),
        };
        let body = host.chance.happens(0.8).then_some(body);
        self.held.push((host.now + wait, kind, channel, body));
    }

    fn give_up(&mut self, kind: Kind, channel: ResponseChannel<Body>) {
        if kind == Kind::News && channel.is_open() {
            // That is no failure, and nothing more is said.
            self.surfaced.remove(&(kind, channel.request_id()));
        }
        drop(channel);
    }

    fn respond(
        &mut self,
        kind: Kind,
        channel: ResponseChannel<Body>,
        body: Body,
        host: &mut HostContext<'_, Asking>,
    ) {
        let (open, id) = (channel.is_open(), channel.request_id());
        let sent = host.node.with(host.now, |set, cx| {
            kind.run(set, cx, |bodies, cx| {
                bodies.send_response(channel, body, cx).is_ok()
            })
        });
        if open != sent {
            let message = format!("{kind:?} {id}: open {open}, taken {sent}");
            host.violation("a channel tells whether it is open", message);
        }
    }

    fn check(&mut self, host: &mut HostContext<'_, Asking>) {
        let now = host.now;
        for ((kind, id), asked) in &mut self.asked {
            if asked.deadline > now {
                asked.overdue = None;
            } else if now - *asked.overdue.get_or_insert(now) > self.slack {
                let message = format!("{kind:?} {id} is overdue since {:?}", asked.deadline);
                host.violation("I23 a last word in time", message);
            }
        }
        let set = host.node.swarm().protocols();
        for kind in Kind::ALL {
            let machine = kind.of(set);
            let asked = self.asked.keys().filter(|(of, _)| *of == kind).count();
            if machine.pending_outbound() > asked {
                let message = format!(
                    "{kind:?}: {} pending, {asked} asked",
                    machine.pending_outbound()
                );
                host.violation("I21 nothing is asked twice", message);
                return;
            }
            // Soft by one body for each of the peers' requests that is being answered.
            let config = machine.config();
            let soft = config.max_held_bytes + 64 * u64::from(config.max_request_len);
            if machine.held_bytes() > soft {
                let message = format!("{kind:?}: {}", machine.held_bytes());
                host.violation("I24 bytes held", message);
                return;
            }
        }
    }

    /// Nothing is under way that this has begun or been asked.
    fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.surfaced.is_empty() && self.held.is_empty()
    }
}

/// Nothing is under way, as the machines see it.
fn machines_are_idle(set: &Asking) -> bool {
    Kind::ALL.iter().all(|kind| {
        let machine = kind.of(set);
        machine.pending_outbound() == 0
            && machine.pending_inbound() == 0
            && machine.held_bytes() == 0
    })
}

impl Application<Asking> for Asker {
    fn start(&mut self, host: &mut HostContext<'_, Asking>) {
        self.asked.clear();
        self.surfaced.clear();
        self.held.clear();
        (self.next, self.tick) = (Some(host.now), Some(host.now));
    }

    fn handle(&mut self, event: NodeEvent<AskingEvent>, host: &mut HostContext<'_, Asking>) {
        if let NodeEvent::Swarm(swarm::Event::Protocol(event)) = event {
            match event {
                AskingEvent::Whole(event) => self.hear(Kind::Whole, event, host),
                AskingEvent::Framed(event) => self.hear(Kind::Framed, event, host),
                AskingEvent::News(event) => self.hear(Kind::News, event, host),
                _ => {}
            }
        }
    }

    fn handle_timeout(&mut self, host: &mut HostContext<'_, Asking>) {
        let now = host.now;
        if self.tick.is_some_and(|tick| tick <= now) {
            self.tick = Some(now + TICK);
            self.check(host);
            let due = self.held.extract_if(.., |(at, ..)| *at <= now);
            for (_, kind, channel, body) in due.collect::<Vec<_>>() {
                match body {
                    Some(body) => self.respond(kind, channel, body, host),
                    None => self.give_up(kind, channel),
                }
            }
        }
        if let Some(every) = self.every
            && self.next.is_some_and(|next| next <= now)
        {
            self.next = Some(now + every);
            let burst = if host.chance.happens(0.1) { 10 } else { 1 };
            for _ in 0..burst {
                let kind = *host.chance.pick(&Kind::ALL).unwrap();
                let len = host.chance.pick(&self.lengths).copied().unwrap_or(0);
                if let Some(target) = host.chance.pick(&self.targets).cloned() {
                    self.ask(kind, &target, len, host);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next.filter(|_| self.every.is_some());
        self.tick.into_iter().chain(next).min()
    }
}

/// Hosts that ask each other in the storm, and must be answered in the calm.
#[derive(Default)]
struct Asks<'a> {
    hosts: Vec<Host<Asking, Asker>>,
    outcomes: Option<&'a Mutex<BTreeMap<String, u64>>>,
}

impl Asks<'_> {
    /// Everybody asks the next one until there is an answer.
    fn meet(&self, world: &mut World) -> Result<(), Box<Violation>> {
        let next = self.hosts.iter().cycle().skip(1);
        let duties: Vec<_> = self.hosts.iter().zip(next).collect();
        for (kind, len) in [
            (Kind::Whole, 1024),
            (Kind::Framed, 700_000),
            (Kind::News, 1000),
        ] {
            let before: BTreeMap<_, u64> = duties
                .iter()
                .map(|(from, _)| {
                    (
                        from.id(),
                        world.application(**from).map_or(0, |asker| asker.answered),
                    )
                })
                .collect();
            let end = world.now() + MEET;
            let mut left = duties.clone();
            while !left.is_empty() {
                for (from, to) in &left {
                    let (Ok(peer), Ok(address)) = (world.peer_id(**to), world.address(**to)) else {
                        continue;
                    };
                    let target = (peer, address.without_peer_id());
                    // A refusal is as good as a failure: it is tried again.
                    let _ = world.run_on(**from, |asker, host| {
                        if asker.asked.is_empty() {
                            asker.ask(kind, &target, len, host);
                        }
                    });
                }
                world.run_for(Duration::from_millis(50))?;
                left.retain(|(from, _)| {
                    let answered = world.application(**from).map_or(0, |asker| asker.answered);
                    answered == before[&from.id()]
                });
                if let Some((from, to)) = left.first()
                    && world.now() >= end
                {
                    let message = format!(
                        "{kind:?} of {len} bytes to {} is not answered within {MEET:?} of calm",
                        world.name(**to)
                    );
                    return Err(world.fail(Some(from.id()), "I45 requests are answered", message));
                }
            }
        }
        Ok(())
    }
}

impl Scenario for Asks<'_> {
    fn build(&mut self, world: &mut World, plan: &Plan) -> Result<(), WorldError> {
        for number in 0..plan.hosts.max(2) {
            let own = plan.clone();
            let mut builder = HostBuilder::new(format!("h{number}"), move || set(number, &own))
                .application(Asker::new(plan));
            if plan.plaintext {
                builder = builder.plaintext();
            }
            self.hosts.push(world.add(builder)?);
        }
        let all: Vec<_> = self
            .hosts
            .iter()
            .filter_map(|host| {
                let address = world.address(*host).ok()?.without_peer_id();
                Some((world.peer_id(*host).ok()?, address))
            })
            .collect();
        for (number, host) in self.hosts.iter().enumerate() {
            let mut others = all.clone();
            others.remove(number);
            if let Some(asker) = world.application(*host) {
                asker.targets = others;
            }
        }
        Ok(())
    }

    fn calm(&mut self, world: &mut World, _: &Plan) -> Result<(), Box<Violation>> {
        for host in &self.hosts {
            if let Some(asker) = world.application(*host) {
                (asker.every, asker.polite) = (None, true);
            }
        }
        world
            .set_default_link(Link::default())
            .map_err(|error| world.fail(None, "the plan makes sense", error.to_string()))?;
        let hosts = self.hosts.clone();
        let idle = |world: &mut World| {
            hosts.iter().all(|host| {
                let node = world.node(*host);
                node.is_none_or(|node| machines_are_idle(node.swarm().protocols()))
                    && world.application(*host).is_none_or(|asker| asker.is_idle())
            })
        };
        if !world.run_until(Duration::from_secs(40), idle)? {
            let message = "something is left of the requests of the storm".into();
            return Err(world.fail(None, "I21 nothing is left", message));
        }
        self.meet(world)?;
        if let Some(all) = self.outcomes {
            let mut all = all.lock().unwrap();
            for host in &self.hosts {
                let outcomes = world.application(*host).map(|asker| asker.outcomes.clone());
                for (outcome, count) in outcomes.unwrap_or_default() {
                    *all.entry(outcome).or_default() += count;
                }
            }
        }
        Ok(())
    }
}

/// How requests must have ended somewhere, lest the campaign prove less than it says.
const OUTCOMES: &[&str] = &[
    "answered",
    "failed: ConnectionClosed(Closed)",
    "failed: ConnectionClosed(ClosedByPeer)",
    "failed: ConnectionClosed(Lost)",
    "failed: ConnectionClosed(Security)",
    "failed: DialFailure(AllFailed)",
    "failed: ResponseOmitted",
    "failed: Stream(ResetByPeer)",
    "failed: Timeout(Negotiating)",
    "failed: Timeout(Queued)",
    "failed: Timeout(Waiting)",
    "not answered: ConnectionClosed(Lost)",
    "not answered: ResponseOmission",
    "not answered: Stream(ResetByPeer)",
    "not answered: Timeout",
    "refused: QueueFull",
    "sent",
    "streamed",
];

#[test]
fn every_request_has_one_last_word_in_every_seed() {
    let seeds = env::var("DRYWIRE_REQUEST_SEEDS")
        .map_or(60, |text| text.parse().expect("a number of seeds"));
    let outcomes = Mutex::default();
    let campaign = Campaign::new(0..seeds).plans(|seed| Plan::draw(seed).storm_ms(60_000));
    let asks = || Asks {
        hosts: Vec::new(),
        outcomes: Some(&outcomes),
    };
    let summary = campaign.run_scenario(3, asks, |_| {});
    for failure in &summary.failures {
        eprintln!("{failure}");
    }
    let outcomes = outcomes.into_inner().unwrap();
    println!("{} seeds, {} steps", summary.passed, summary.steps);
    println!("{outcomes:#?}");
    assert!(summary.failures.is_empty());
    let missed: Vec<_> = OUTCOMES
        .iter()
        .filter(|outcome| !outcomes.contains_key(**outcome))
        .collect();
    assert_eq!(missed, Vec::<&&str>::new(), "met nowhere");
}
