//! The command line.

use crate::record_key::record_key;
use clap::{Args, Parser, Subcommand, ValueEnum};
use core::fmt;
use drywire::{
    multiaddr::{self, Multiaddr},
    multistream::ProtocolName,
    protocol::kad::{Mode, RecordKey},
};
use drywire_sim::kad::attacks::{Attack, NoSuchAttack};
use std::{
    num::{IntErrorKind, NonZeroUsize, ParseIntError},
    path::PathBuf,
    time::Duration,
};

#[derive(Debug, Parser)]
#[command(
    name = "drywire",
    version,
    about = "A libp2p node, and tools to talk to others",
    propagate_version = true
)]
pub(crate) struct Arguments {
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The async runtime to run on
    #[arg(long, global = true, value_enum, default_value_t = RuntimeKind::Tokio)]
    pub(crate) runtime: RuntimeKind,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeKind {
    Tokio,
    AsyncStd,
    Smol,
    Mio,
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("?", |value| value.get_name()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node until it is told to stop
    Node(NodeOptions),
    /// Measure round-trip times to a peer
    Ping(PingOptions),
    /// Ask a peer who it is and what it supports
    Identify(IdentifyOptions),
    /// Send bytes to a peer's /echo/1.0.0 and check what comes back
    Echo(EchoOptions),
    /// Send a request to a peer and show the response
    Request(RequestOptions),
    /// Measure throughput to a peer's /perf/1.0.0
    Perf(PerfOptions),
    /// Get and put records of a DHT, provide things, and find who does
    #[command(subcommand)]
    Kad(KadCommand),
    /// Run a recording again, and compare
    Replay(ReplayOptions),
    /// Make and show identity files
    #[command(subcommand)]
    Key(KeyCommand),
    /// Run a whole network in virtual time, and tell how it fared
    Sim(SimOptions),
    /// Run many small networks in trouble, and make the first failure a small test
    Explore(ExploreOptions),
    /// Show a few nodes of this program talking to each other, on this machine alone
    Demo,
}

#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// Where to listen, for example /ip4/0.0.0.0/tcp/4001; may be given several times
    #[arg(long, value_name = "MULTIADDR", num_args = 1.., default_values = ["/ip4/127.0.0.1/tcp/0"], value_parser = address)]
    pub(crate) listen: Vec<Multiaddr>,
    /// The identity, as made by `drywire key new`; without it the node gets a new one
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Peers to connect to, with their /p2p/ part
    #[arg(long, value_name = "MULTIADDR", num_args = 1.., value_parser = address)]
    pub(crate) bootstrap: Vec<Multiaddr>,
    /// Whether the node answers requests of the DHT, or only asks
    #[arg(long, value_enum, default_value_t = ModeKind::Server)]
    pub(crate) kad: ModeKind,
    /// The protocol of the DHT; other networks than the public one take any record
    #[arg(long, value_name = "NAME", default_value = PUBLIC_DHT, value_parser = protocol)]
    pub(crate) kad_protocol: ProtocolName,
    /// Serve /perf/1.0.0: anybody may make this node send and receive at full speed
    #[arg(long)]
    pub(crate) perf: bool,
    #[command(flatten)]
    pub(crate) recording: RecordingOptions,
}

const PUBLIC_DHT: &str = "/ipfs/kad/1.0.0";

/// The part of a node in a DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeKind {
    /// It answers, and keeps records of others
    Server,
    /// It only asks
    Client,
}

impl From<ModeKind> for Mode {
    fn from(kind: ModeKind) -> Self {
        match kind {
            ModeKind::Server => Self::Server,
            ModeKind::Client => Self::Client,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RecordingOptions {
    /// Record all that goes in and out of the node to a new file, for `drywire replay`; it holds the node's secret keys
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// The recording, as made with --record
    pub(crate) file: PathBuf,
    /// Print each entry first
    #[arg(long)]
    pub(crate) print: bool,
}

/// What all commands have that talk to one peer.
#[derive(Debug, Args)]
pub(crate) struct PeerOptions {
    /// The peer's address, for example /ip4/192.0.2.1/tcp/4001/p2p/12D3..
    #[arg(value_name = "MULTIADDR", value_parser = address)]
    pub(crate) address: Multiaddr,
    /// The own identity; without it a new one is used
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// How long to wait for the connection and for each answer
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "20", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) recording: RecordingOptions,
}

#[derive(Debug, Args)]
pub(crate) struct PingOptions {
    #[command(flatten)]
    pub(crate) peer: PeerOptions,
    /// How many pings to send; 0 for no end
    #[arg(long, short = 'n', default_value_t = 5, allow_negative_numbers = true, value_parser = whole)]
    pub(crate) count: u64,
    /// How long to wait between them
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "1", value_parser = seconds)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct IdentifyOptions {
    #[command(flatten)]
    pub(crate) peer: PeerOptions,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct EchoOptions {
    #[command(flatten)]
    pub(crate) peer: PeerOptions,
    /// Send this text
    #[arg(long, value_name = "TEXT", conflicts_with = "size")]
    pub(crate) data: Option<String>,
    /// Send so many bytes; K, M and G stand for KiB, MiB and GiB
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = size)]
    pub(crate) size: Option<u64>,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RequestOptions {
    #[command(flatten)]
    pub(crate) peer: PeerOptions,
    /// The protocol to ask under
    #[arg(long, value_name = "NAME", default_value = "/drywire/echo-request/1.0.0", value_parser = protocol)]
    pub(crate) protocol: ProtocolName,
    /// Where bodies end: where the sender finishes, or after their length; without it, what the protocol is known to do,
    /// which is to-end for all but /reqres/1.0.0
    #[arg(long, value_enum)]
    pub(crate) framing: Option<FramingKind>,
    /// Send this text
    #[arg(long, value_name = "TEXT", conflicts_with = "size")]
    pub(crate) data: Option<String>,
    /// Send so many bytes, at most 16M; K and M stand for KiB and MiB
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = size)]
    pub(crate) size: Option<u64>,
}

/// Where the body of a request or a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FramingKind {
    /// At the half-close
    ToEnd,
    /// After its length, a varint in front of it
    LengthPrefixed,
}

#[derive(Debug, Args)]
pub(crate) struct PerfOptions {
    #[command(flatten)]
    pub(crate) peer: PeerOptions,
    /// Bytes to send; K, M and G stand for KiB, MiB and GiB
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, default_value = "0", value_parser = size)]
    pub(crate) upload: u64,
    /// Bytes to receive
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, default_value = "0", value_parser = size)]
    pub(crate) download: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KadCommand {
    /// Get the best record of a key
    Get(KadGetOptions),
    /// Store a record at the peers closest to its key
    Put(KadPutOptions),
    /// Tell the peers closest to a key that this node provides it
    Provide(KadProvideOptions),
    /// Find who provides a key
    Providers(KadProvidersOptions),
    /// Find the peers closest to a key
    Closest(KadClosestOptions),
}

/// What all commands have that talk to a DHT.
#[derive(Debug, Args)]
pub(crate) struct KadOptions {
    /// A peer of the DHT, for example /ip4/192.0.2.1/tcp/4001/p2p/12D3..; may be given several times
    #[arg(long, value_name = "MULTIADDR", required = true, value_parser = address)]
    pub(crate) bootstrap: Vec<Multiaddr>,
    /// The protocol of the DHT; other networks than the public one take any record. On the public one, if all peers given are
    /// at public addresses, no others are dialed
    #[arg(long, value_name = "NAME", default_value = PUBLIC_DHT, value_parser = protocol)]
    pub(crate) kad_protocol: ProtocolName,
    /// The own identity; without it a new one is used
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// How long to wait for the connection and for the answer
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) recording: RecordingOptions,
    /// /pk/ or /ipns/ and a peer id, a CID, or any text
    #[arg(value_name = "KEY", value_parser = record_key)]
    pub(crate) key: RecordKey,
}

#[derive(Debug, Args)]
pub(crate) struct KadGetOptions {
    #[command(flatten)]
    pub(crate) kad: KadOptions,
    /// Write the value to a file, as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct KadClosestOptions {
    #[command(flatten)]
    pub(crate) kad: KadOptions,
}

#[derive(Debug, Args)]
pub(crate) struct KadPutOptions {
    #[command(flatten)]
    pub(crate) kad: KadOptions,
    /// The value; not needed for /pk/ and a peer id whose public key is known
    pub(crate) value: Option<String>,
    /// Take the value from a file; - is the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct KadProvideOptions {
    #[command(flatten)]
    pub(crate) kad: KadOptions,
    /// Where to listen, which is what is announced; may be given several times
    #[arg(long, value_name = "MULTIADDR", default_values = ["/ip4/127.0.0.1/tcp/0"], value_parser = address)]
    pub(crate) listen: Vec<Multiaddr>,
    /// Go on providing, as a server of the DHT, until told to stop
    #[arg(long)]
    pub(crate) stay: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KadProvidersOptions {
    #[command(flatten)]
    pub(crate) kad: KadOptions,
    /// How many are enough
    #[arg(long, short = 'n', value_name = "N", default_value = "20", allow_negative_numbers = true, value_parser = at_least_one)]
    pub(crate) count: NonZeroUsize,
}

/// Nodes in one thread, real in all but the network between them: the same seed gives the same run, to the last byte.
#[derive(Debug, Args)]
pub(crate) struct SimOptions {
    /// How many nodes
    #[arg(long, short = 'n', value_name = "N", default_value = "100", allow_negative_numbers = true, value_parser = nodes)]
    pub(crate) nodes: usize,
    /// How long the network runs, in its own time
    #[arg(long, short = 'm', value_name = "MINUTES", default_value = "10", allow_negative_numbers = true, value_parser = minutes)]
    pub(crate) minutes: Duration,
    /// What decides everything: a number, or "random"
    #[arg(long, short = 's', value_name = "SEED", default_value = "1", allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Seed,
    /// Connections of each node, fewer than there are nodes [default: 8]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub(crate) connections: Option<usize>,
    /// Nodes crash and come back: "off", "realistic" (sessions as measured in public networks, half of them over 2 hours),
    /// "fast" (60 times faster), or how many times faster
    #[arg(long, value_name = "SPEED", default_value = "off", allow_negative_numbers = true, value_parser = churn)]
    pub(crate) churn: Churn,
    /// The share of packets that is lost, as 0.01 or 1%
    #[arg(long, value_name = "SHARE", default_value = "0", allow_negative_numbers = true, value_parser = share)]
    pub(crate) loss: f64,
    /// The share of packets that comes late, by 0.1 to 5 s
    #[arg(long, value_name = "SHARE", default_value = "0", allow_negative_numbers = true, value_parser = share)]
    pub(crate) spikes: f64,
    /// Part some nodes from the others for 5 to 30 s, again and again, after so long on average
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = positive_seconds)]
    pub(crate) partition_every: Option<Duration>,
    /// The latency between any two nodes, one way; without it nodes are in regions of the world
    #[arg(long, value_name = "MILLISECONDS", allow_negative_numbers = true, value_parser = milliseconds)]
    pub(crate) latency: Option<Duration>,
    /// How often each node calls another, which echoes; 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "1", allow_negative_numbers = true, value_parser = seconds)]
    pub(crate) echo_every: Duration,
    /// How many bytes a call has; K, M and G stand for KiB, MiB and GiB
    #[arg(long, value_name = "BYTES", default_value = "100", allow_negative_numbers = true, value_parser = size)]
    pub(crate) echo_size: u64,
    /// No encryption: several times faster, and handshakes cost nothing
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// Draw what happened, as an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Show the last so many lines of what nodes did, on stderr; slower
    #[arg(long, value_name = "LINES", default_value = "0", allow_negative_numbers = true, value_parser = count)]
    pub(crate) trace: usize,
    /// A DHT instead, at the level of messages: thousands of Kademlia nodes that look things up; --timeline draws how that
    /// went
    #[arg(long)]
    pub(crate) kad: bool,
    /// With --kad: how many lookups, evenly over the time
    #[arg(long, value_name = "N", default_value = "1000", requires = "kad", allow_negative_numbers = true, value_parser = count)]
    pub(crate) lookups: usize,
    /// With --kad: how nodes come to know each other [default: bootstrap, and known for more than 1000 nodes]
    #[arg(long, value_enum, requires = "kad")]
    pub(crate) join: Option<JoinKind>,
    /// With --kad: an attack, with its defence and without: d1 to d10, or all; --nodes and --lookups are its size
    #[arg(long, value_name = "NAME", requires = "kad", value_parser = attacks)]
    pub(crate) attack: Option<Attacks>,
    /// With --attack: how many ids or messages a flood has
    #[arg(long, value_name = "N", default_value = "10000", requires = "attack", allow_negative_numbers = true, value_parser = count)]
    pub(crate) flood: usize,
}

/// How nodes of a DHT come to know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinKind {
    /// Each bootstraps: a lookup of itself, and one for each bucket
    Bootstrap,
    /// Each looks itself up, and no more
    Lookup,
    /// All have known each other for long
    Known,
}

/// Which attacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attacks(pub(crate) Vec<Attack>);

fn attacks(text: &str) -> Result<Attacks, NoSuchAttack> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Attacks(Attack::ALL.to_vec()));
    }
    text.parse().map(|attack| Attacks(vec![attack]))
}

#[derive(Debug, Args)]
pub(crate) struct ExploreOptions {
    /// Which seeds: from the first to before the last, as 0..1000, or one alone, which is shrunk if it fails
    #[arg(value_name = "SEEDS", default_value = "0..100", value_parser = seed_range)]
    pub(crate) seeds: SeedRange,
}

/// Seeds from the first to before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeedRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Where a simulation's randomness comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    Number(u64),
    Random,
}

/// How much faster than in reality nodes come and go, if they do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Churn(pub(crate) Option<f64>);

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a new identity; an existing file is never overwritten
    New {
        /// Where to write it; readable by its owner alone
        file: PathBuf,
    },
    /// Show the peer id of an identity
    Show {
        /// The identity
        file: PathBuf,
    },
}

fn address(text: &str) -> Result<Multiaddr, String> {
    text.parse().map_err(|error| match error {
        multiaddr::Error::Empty | multiaddr::Error::NoLeadingSlash => {
            format!("{error}; one looks like /ip4/192.0.2.1/tcp/4001")
        }
        multiaddr::Error::UnknownName(name) if name.is_empty() => {
            "nothing follows a '/' of the address; one looks like /ip4/192.0.2.1/tcp/4001"
                .to_owned()
        }
        _ => error.to_string(),
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .ok()
        .filter(|seconds: &f64| !seconds.is_nan())
        .ok_or("not a number of seconds")?;
    if seconds < 0.0 {
        return Err("a time cannot be negative".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "too large".to_owned())
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time < Duration::from_millis(1) {
        return Err("too short: at least 0.001".to_owned());
    }
    Ok(time)
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .ok()
        .filter(|number: &f64| !number.is_nan())
        .ok_or("not a number of milliseconds")?;
    if number < 0.0 {
        return Err("a time cannot be negative".to_owned());
    }
    if number > 60_000.0 {
        return Err("too large: at most 60000".to_owned());
    }
    Duration::try_from_secs_f64(number / 1e3).map_err(|_| "too large".to_owned())
}

fn minutes(text: &str) -> Result<Duration, String> {
    /// A year.
    const LONGEST: f64 = 366.0 * 24.0 * 60.0;
    let number: f64 = text
        .parse()
        .ok()
        .filter(|number: &f64| !number.is_nan())
        .ok_or("not a number of minutes")?;
    if number <= 0.0 {
        return Err("there must be some time".to_owned());
    }
    if number > LONGEST {
        return Err("too large: at most a year".to_owned());
    }
    Duration::try_from_secs_f64(number * 60.0).map_err(|_| "too large".to_owned())
}

fn nodes(text: &str) -> Result<usize, String> {
    match count(text)? {
        0 | 1 => Err("a network has at least 2 nodes".to_owned()),
        number @ ..=100_000 => Ok(number),
        _ => Err("too large: at most 100000".to_owned()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    usize::try_from(whole(text)?).map_err(|_| "too large".to_owned())
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(count(text)?).ok_or_else(|| "at least 1".to_owned())
}

fn seed(text: &str) -> Result<Seed, String> {
    if text == "random" {
        return Ok(Seed::Random);
    }
    whole(text)
        .map(Seed::Number)
        .map_err(|error| format!("{error}; a seed is one, or \"random\""))
}

fn seed_range(text: &str) -> Result<SeedRange, String> {
    let wrong = |error: String| format!("{error}; seeds are as 0..1000, or one number");
    let (start, end) = match text.split_once("..") {
        Some((start, end)) => (whole(start).map_err(wrong)?, whole(end).map_err(wrong)?),
        None => {
            let only: u64 = whole(text).map_err(wrong)?;
            (only, only.checked_add(1).ok_or("too large")?)
        }
    };
    if start >= end {
        return Err("there is no seed among these".to_owned());
    }
    Ok(SeedRange { start, end })
}

fn churn(text: &str) -> Result<Churn, String> {
    let speed = match text {
        "off" => return Ok(Churn(None)),
        "realistic" => 1.0,
        "fast" => 60.0,
        _ => text
            .parse()
            .map_err(|_| "neither \"off\", \"realistic\", \"fast\" nor a number")?,
    };
    if !(speed > 0.0 && speed <= 1e6) {
        return Err(
            "churn is more than 0 and at most 1000000 times as fast as in reality".to_owned(),
        );
    }
    Ok(Churn(Some(speed)))
}

/// A probability, as a number or in percent.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let number: f64 = number
        .trim_end()
        .parse()
        .map_err(|_| "not a share; one looks like 0.01 or 1%")?;
    let share = number / unit;
    if !(0.0..=1.0).contains(&share) {
        return Err("a share is between 0 and 1, or 0% and 100%".to_owned());
    }
    Ok(share)
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => "too large".to_owned(),
            _ => "not a whole number".to_owned(),
        })
}

fn protocol(text: &str) -> Result<ProtocolName, String> {
    text.parse::<ProtocolName>()
        .map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    if digits.is_empty() {
        return Err("not a number of bytes".to_owned());
    }
    if unit.starts_with(['.', ',']) {
        return Err("not a whole number; a smaller unit helps, as in 1536K for 1.5M".to_owned());
    }
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("unknown unit {other:?}, use K, M or G")),
    };
    whole(digits)?
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("3K"), Ok(3072));
        assert_eq!(size("2MiB"), Ok(2 << 20));
        for bad in ["", "K", "1T", "-1", "99999999999G", "1.5M"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    /// Each fails when its own words are not said.
    #[test]
    fn what_a_value_should_be_is_told() {
        for (text, told) in [
            ("99999999999999999999", "too large"),
            ("18014398509481984K", "too large"),
            ("1.5M", "smaller unit"),
            ("many", "not a number of bytes"),
            ("-1", "not a number of bytes"),
            ("3T", "unknown unit"),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        for (text, told) in [
            ("nan", "not a number of seconds"),
            ("NaN", "not a number of seconds"),
            ("soon", "not a number of seconds"),
            ("inf", "too large"),
            ("1e300", "too large"),
            ("-1", "cannot be negative"),
            ("-inf", "cannot be negative"),
        ] {
            assert!(seconds(text).unwrap_err().contains(told), "{text}");
        }
        for (text, told) in [
            ("x", "not a whole number"),
            ("", "not a whole number"),
            ("-1", "not a whole number"),
            ("99999999999999999999", "too large"),
        ] {
            assert_eq!(whole(text).unwrap_err(), told, "{text}");
        }
        for text in ["/", "", "//", "/ip4/1.2.3.4/tcp/1/", "1.2.3.4:1"] {
            let error = address(text).unwrap_err();
            assert!(error.contains("looks like /ip4/"), "{text}: {error}");
        }
        assert!(address("/ip5/1.2.3.4").unwrap_err().contains("ip5"));
    }

    #[test]
    fn global_options_go_before_and_after() {
        for line in [
            &["drywire", "--json", "--runtime", "tokio", "demo"][..],
            &["drywire", "demo", "--runtime", "tokio", "--json"],
        ] {
            assert!(Arguments::try_parse_from(line).unwrap().json);
        }
    }
}
