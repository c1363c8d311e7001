//! Whole nodes of a DHT, all in one process, joined in memory: what joining and looking costs each of them.
//!
//! Plaintext, yamux, identify and Kademlia as they come, with the same timeout of idle connections. Nodes join in waves of
//! [`WAVE`], each told of one that is there already: they look themselves up and fill their k-buckets. Then random nodes look for
//! random keys, one after another. A run is a process of its own with one thread. Figures are its processor time from when it
//! is quiet to when it is quiet again, for all nodes together, and its resident set.
//!
//! The next wave joins as soon as the one before has joined, or `--every` so often. What is resident depends on that: who joins
//! ten times as fast holds ten times the connections that were not idle for long enough yet. For memory, both are given the
//! same time.

mod drywire;
mod libp2p;
mod world;

use crate::meter;
use ::drywire::{identity::PeerId, protocol::kad::Key};
use std::{
    fmt::Write as _,
    io,
    process::Command,
    time::{Duration, Instant},
};

/// Nodes that join at the same time.
pub(crate) const WAVE: usize = 10;

/// The name of the DHT.
pub(crate) const NAME: &str = "/bench/kad/1.0.0";

/// After which time a connection without streams is closed: rust-libp2p's default.
pub(crate) const IDLE: Duration = Duration::from_secs(10);

/// How long nodes are left to themselves after they have joined, which counts as joining: tables are filled in the background.
pub(crate) const SETTLING: Duration = Duration::from_secs(3);

/// No query may take longer.
const PATIENCE: Duration = Duration::from_secs(300);

const USAGE: &str = "\
side-by-side kad            compares nodes of a DHT, all in one process, joined in memory
    --subjects A,B          libp2p, drywire or both; the first is what the other is compared with
    --nodes N               500 otherwise
    --lookups N             200 otherwise
    --runs N                runs of each, 3 otherwise
    --every MS              so often nodes join, unless it takes longer; as fast as they can otherwise";

/// What a network of nodes can do. Nodes are numbers.
pub(crate) trait Network: Sized {
    /// So many nodes that listen and know nobody.
    fn new(nodes: usize) -> io::Result<Self>;

    /// The names of the nodes.
    fn peers(&self) -> Vec<PeerId>;

    /// Tells each of the nodes of another one, and lets them join.
    fn join(&mut self, nodes: &[(usize, usize)]) -> io::Result<()>;

    /// Lets time pass.
    fn run_for(&mut self, time: Duration);

    /// Looks for the peers closest to a key; whom it found, and how many requests it took.
    fn closest(&mut self, node: usize, key: &[u8]) -> io::Result<(Vec<PeerId>, u32)>;
}

/// What one run found.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    join_ms: f64,
    lookup_ms: f64,
    resident_kib: f64,
    recall: f64,
    requests: f64,
    wall_s: f64,
}

/// Words after `kad`.
pub(crate) fn main(words: &[String]) -> Result<(), String> {
    let (mut subjects, mut nodes, mut lookups, mut runs) = (vec![], 500, 200, 3);
    let mut every = 0;
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        let number = || value.parse::<usize>().map_err(|_| USAGE);
        match word {
            "--subjects" => subjects = value.split(',').map(str::to_owned).collect(),
            "--nodes" => nodes = number()?,
            "--lookups" => lookups = number()?,
            "--runs" => runs = number()?,
            "--every" => every = number()?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if subjects.is_empty() {
        subjects = vec!["libp2p".to_owned(), "drywire".to_owned()];
    }
    let known = |name: &String| ["libp2p", "drywire"].contains(&name.as_str());
    if !subjects.iter().all(known) || runs == 0 || nodes < 2 || lookups == 0 {
        return Err(USAGE.to_owned());
    }
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); subjects.len()];
    for _ in 0..runs {
        for (subject, figures) in subjects.iter().zip(&mut figures) {
            let run = run(subject, [nodes, lookups, every])
                .map_err(|error| format!("{subject}: {error}"))?;
            figures.push(run);
        }
    }
    print!("{}", table(&subjects, nodes, &figures));
    Ok(())
}

/// A run in a process of its own.
fn run(subject: &str, work: [usize; 3]) -> io::Result<Figures> {
    let output = Command::new(std::env::current_exe()?)
        .args(["kad-worker", subject])
        .args(work.map(|number| number.to_string()))
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
    let [join_ms, lookup_ms, resident_kib, recall, requests, wall_s] = numbers[..] else {
        return Err(io::Error::other(format!("the process said: {text}")));
    };
    Ok(Figures {
        join_ms,
        lookup_ms,
        resident_kib,
        recall,
        requests,
        wall_s,
    })
}

fn table(subjects: &[String], nodes: usize, figures: &[Vec<Figures>]) -> String {
    type Row = (&'static str, fn(&Figures) -> f64);
    let rows: [Row; 6] = [
        ("CPU ms per node that joins", |run| run.join_ms),
        ("CPU ms per lookup", |run| run.lookup_ms),
        ("resident KiB per node", |run| run.resident_kib),
        ("recall of the 20 closest", |run| run.recall),
        ("requests per lookup", |run| run.requests),
        ("wall-clock s", |run| run.wall_s),
    ];
    let mut text = format!("{:<34}", format!("{nodes} nodes, medians"));
    for subject in subjects {
        let _ = write!(text, "{subject:>28}");
    }
    text.push_str("     ratio\n");
    for (name, figure) in rows {
        let _ = write!(text, "{name:<34}");
        let mut medians = Vec::new();
        for runs in figures {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            let median = all[all.len() / 2];
            let spread = format!("({:.2} .. {:.2})", all[0], all[all.len() - 1]);
            let _ = write!(text, "{median:>10.2}{spread:>18}");
            medians.push(median);
        }
        if let [first, .., last] = medians[..] {
            let _ = write!(text, "{:>10.3}", last / first);
        }
        text.push('\n');
    }
    text
}

/// The entry of a worker process: who, how many nodes, how many lookups, milliseconds between waves.
pub(crate) fn worker(words: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [subject, nodes, lookups, every] = words else {
        return Err("worker processes are started by this program only".into());
    };
    let (nodes, lookups) = (nodes.parse()?, lookups.parse()?);
    let every = Duration::from_millis(every.parse()?);
    let figures = match subject.as_str() {
        "drywire" => measure::<drywire::Town>(nodes, lookups, every)?,
        _ => measure::<libp2p::Town>(nodes, lookups, every)?,
    };
    println!(
        "{} {} {} {} {} {}",
        figures.join_ms,
        figures.lookup_ms,
        figures.resident_kib,
        figures.recall,
        figures.requests,
        figures.wall_s
    );
    Ok(())
}

/// The same sequence for everybody.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

fn measure<N: Network>(nodes: usize, lookups: usize, every: Duration) -> io::Result<Figures> {
    let (start, empty) = (Instant::now(), meter::own_resident()?);
    let mut dice = Dice(nodes as u64);
    let cpu = meter::own_time()?;
    let mut network = N::new(nodes)?;
    let mut joined = 1;
    while joined < nodes {
        let (wave, begun) = (joined..nodes.min(joined + WAVE), Instant::now());
        let pairs: Vec<_> = wave.map(|node| (node, dice.below(joined))).collect();
        network.join(&pairs)?;
        joined += pairs.len();
        network.run_for(every.saturating_sub(begun.elapsed()));
    }
    network.run_for(SETTLING);
    let join = meter::own_time()? - cpu;
    let peers = network.peers();
    let mut found = Vec::new();
    let cpu = meter::own_time()?;
    for number in 0..lookups {
        let node = dice.below(nodes);
        let key = (number as u64).to_le_bytes();
        found.push((node, key, network.closest(node, &key)?));
    }
    let lookup = meter::own_time()? - cpu;
    let resident = meter::own_resident()?.saturating_sub(empty);
    let (mut recall, mut requests) = (0.0, 0.0);
    for (node, key, (told, asked)) in &found {
        recall += self::recall(&peers, *node, key, told);
        requests += f64::from(*asked);
    }
    let (nodes, lookups) = (nodes as f64, lookups as f64);
    Ok(Figures {
        join_ms: join.as_secs_f64() * 1e3 / nodes,
        lookup_ms: lookup.as_secs_f64() * 1e3 / lookups,
        resident_kib: resident as f64 / 1024.0 / nodes,
        recall: recall / lookups,
        requests: requests / lookups,
        wall_s: start.elapsed().as_secs_f64(),
    })
}

/// How many of the 20 peers closest to the key, other than who looks, were found.
fn recall(peers: &[PeerId], node: usize, key: &[u8], told: &[PeerId]) -> f64 {
    let target = Key::of(key);
    let mut all: Vec<&PeerId> = peers.iter().filter(|peer| **peer != peers[node]).collect();
    all.sort_by_key(|peer| Key::of_peer(peer).distance(&target));
    let closest = &all[..all.len().min(20)];
    let found = closest.iter().filter(|peer| told.contains(peer)).count();
    found as f64 / closest.len() as f64
}
