//! Law 8 for types: every error of the core is a value.

use core::{error::Error, fmt::Debug};
use std::{collections::BTreeSet, path::Path};

fn is_value<E: Error + Clone + PartialEq + Debug + Send + Sync + 'static>() {}

/// Checks the listed types at compile time, and gives their names.
macro_rules! values {
    ($($($part:ident)::+),* $(,)?) => {{
        $( is_value::<drywire::$($part)::+>(); )*
        [$( concat!($("::", stringify!($part)),+) ),*]
    }};
}

/// How many errors there are, by the last part of their names.
fn listed() -> Vec<&'static str> {
    let names = values![
        connection::ConnectionError,
        connection::OpenError,
        connection::ReadError,
        connection::StreamError,
        connection::WriteError,
        crypto::Error,
        identity::InvalidSignature,
        identity::KeyError,
        identity::PeerIdError,
        multiaddr::Error,
        multistream::Error,
        multistream::InvalidName,
        mux::yamux::Error,
        mux::yamux::OpenRefused,
        protocol::identify::Error,
        protocol::identify::MessageError,
        protocol::kad::AddProviderError,
        protocol::kad::BootstrapError,
        protocol::kad::GetClosestPeersError,
        protocol::kad::GetProvidersError,
        protocol::kad::GetRecordError,
        protocol::kad::InvalidRecord,
        protocol::kad::MessageError,
        protocol::kad::PutRecordError,
        protocol::kad::QueryRefused,
        protocol::kad::StoreError,
        protocol::kad::validator::ipns::CborError,
        protocol::kad::validator::ipns::Error,
        protocol::ping::Failure,
        protocol::request_response::CodecError,
        protocol::request_response::EncodeError,
        protocol::request_response::InboundFailure,
        protocol::request_response::OutboundFailure,
        protocol::request_response::Refusal,
        protocol::stream::OpenError,
        record::EnvelopeError,
        record::PeerRecordError,
        recording::Malformed,
        recording::ReplayError,
        resource::LedgerError,
        security::Error,
        security::Limit,
        security::Misuse,
        security::Violation,
        swarm::AcceptError,
        swarm::AttemptError,
        swarm::DialError,
        swarm::ListenError,
        swarm::OpenStreamError,
        swarm::Refused,
        swarm::SendError,
        swarm::TransportError,
        wire::framing::Error,
        wire::protobuf::Error,
        wire::varint::Error,
    ];
    let names = names.iter().map(|name| name.rsplit("::").next());
    let mut names: Vec<_> = names.flatten().collect();
    names.sort_unstable();
    names
}

fn implemented(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            implemented(&path, found);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        let names = source.lines().filter_map(|line| {
            let rest = line.strip_prefix("impl core::error::Error for ")?;
            rest.split([' ', '<']).next()
        });
        // What is private to a file never leaves it.
        let names = names.filter(|name| !source.contains(&format!("\nstruct {name}")));
        found.extend(names.map(str::to_owned));
    }
}

/// Every error type is `Clone + PartialEq + Debug + Display + Error`, and none is forgotten here. Fails if an error is
/// added that is not in the list, or if one loses a trait.
#[test]
fn every_error_of_the_core_is_a_value() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    let mut found = Vec::new();
    implemented(&sources, &mut found);
    found.sort_unstable();
    assert!(found.len() > 30, "the core was not found");
    assert_eq!(listed(), found);
}

/// What a host, or a peer, may add to later is marked so: an enum of errors that is not `non_exhaustive` would break its
/// users with each new variant. Fails if the mark of one is taken away.
#[test]
fn every_enum_of_errors_may_grow() {
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")];
    let names: BTreeSet<&str> = listed().into_iter().collect();
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory").flatten();
            files.extend(entries.map(|entry| entry.path()));
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let name = line
                .strip_prefix("pub enum ")
                .map(|rest| rest.trim_end_matches(" {"));
            if name.is_some_and(|name| names.contains(name)) {
                seen += 1;
                assert_eq!(
                    lines[at - 1],
                    "#[non_exhaustive]",
                    "{}: {line}",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 25, "{seen}");
}
