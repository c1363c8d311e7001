//! `drywire kad`: a client of a DHT.

use crate::{
    args::{
        KadClosestOptions, KadCommand, KadGetOptions, KadOptions, KadProvideOptions,
        KadProvidersOptions, KadPutOptions,
    },
    executor::{self, interrupted},
    failure::Failure,
    keys,
    node::{announce, not_listening},
    output::{Output, printable},
    record_key::{hex, shown, text_or_hex},
    services,
    session::{Dht, Host, Hosts, Protocols, Role, dial, race},
};
use bytes::Bytes;
use core::future::Future;
use drywire::{
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    protocol::kad::{
        AddressScope, Mode, PROTOCOL_NAME, PeerInfo, QueryOptions, Quorum, Record, RecordKey,
    },
};
use drywire_engine::{KadError, KadHandle};
use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

pub(crate) async fn run(
    command: KadCommand,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        KadCommand::Get(options) => {
            until_stopped("the record was found", get(options, hosts, output)).await
        }
        KadCommand::Put(options) => {
            until_stopped("the record was stored", put(options, hosts, output)).await
        }
        KadCommand::Provide(options) => provide(options, hosts, output).await,
        KadCommand::Providers(options) => {
            until_stopped(
                "all providers were found",
                providers(options, hosts, output),
            )
            .await
        }
        KadCommand::Closest(options) => {
            until_stopped(
                "the closest peers were found",
                closest(options, hosts, output),
            )
            .await
        }
    }
}

async fn until_stopped(
    before: &str,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    race(interrupted(), work)
        .await
        .unwrap_or_else(|| Err(Failure::interrupted(before)))
}

/// A node that knows peers of a DHT.
struct Seeker {
    host: Host,
    kad: KadHandle<Protocols>,
    options: KadOptions,
}

/// Which addresses are believed: on the public DHT, of which public peers are known, no others.
fn scope(options: &KadOptions) -> AddressScope {
    let is_public = options.kad_protocol == PROTOCOL_NAME;
    let is_direct = |address: &Multiaddr| address.is_global() && !address.is_relayed();
    if is_public && options.bootstrap.iter().all(is_direct) {
        AddressScope::Public
    } else {
        AddressScope::Any
    }
}

impl Seeker {
    fn start(
        options: KadOptions,
        keypair: Keypair,
        mode: Mode,
        hosts: &Hosts,
        output: &Output,
    ) -> Result<Self, Failure> {
        hosts.record(&options.recording, output)?;
        let dht = Dht {
            protocol: options.kad_protocol.clone(),
            mode,
        };
        let role = Role::Seeker(options.timeout, dht, scope(&options));
        let host = hosts.start(keypair, role)?;
        let kad = host.kad(Protocols::Kad);
        Ok(Self { host, kad, options })
    }

    async fn joined(options: KadOptions, hosts: &Hosts, output: &Output) -> Result<Self, Failure> {
        let keypair = keys::load(options.key_file.as_ref())?;
        let seeker = Self::start(options, keypair, Mode::Client, hosts, output)?;
        seeker.join(output).await?;
        Ok(seeker)
    }

    /// Connects to the first peers. One of them is enough.
    async fn join(&self, output: &Output) -> Result<(), Failure> {
        let mut tasks = Vec::new();
        for address in self.options.bootstrap.clone() {
            let (host, timeout) = (self.host.clone(), self.options.timeout);
            tasks.push(executor::spawn(async move {
                let dialed = dial(&host, &address, timeout).await;
                dialed.map(|dialed| (dialed.peer, address))
            }));
        }
        let mut failures = Vec::new();
        let all = tasks.len();
        for task in tasks {
            match task.await.map_err(Failure::failed)? {
                Ok((peer, address)) => {
                    self.kad.add_address(peer, &address);
                }
                Err(failure) => failures.push(failure),
            }
        }
        if failures.len() < all {
            failures
                .iter()
                .for_each(|failure| output.log(&failure.to_string()));
            return Ok(());
        }
        for failure in failures.iter().skip(1) {
            output.log(&failure.to_string());
        }
        Err(failures
            .into_iter()
            .next()
            .unwrap_or_else(|| Failure::usage("no bootstrap peer is given")))
    }

    /// Why a query failed, in one sentence.
    fn failed(&self, what: &str, error: &KadError) -> Failure {
        let nobody = match error {
            KadError::NotFound { closest_peers } => closest_peers.is_empty(),
            KadError::QuorumFailed { asked, .. } => *asked == 0,
            KadError::NobodyReached => true,
            _ => false,
        };
        let name = &self.options.kad_protocol;
        if nobody {
            return Failure::failed(format!(
                "{what}: no peer that was reached is a server of {name}"
            ));
        }
        match error {
            KadError::Timeout { .. } => Failure::failed(format!(
                "{what}: the query took longer than {} s",
                self.options.timeout.as_secs_f64()
            )),
            error => Failure::failed(format!("{what}: {error}")),
        }
    }

    async fn close(self) {
        self.host.shutdown().await;
    }
}

/// `drywire kad get`
async fn get(options: KadGetOptions, hosts: &Hosts, output: &Output) -> Result<(), Failure> {
    let KadGetOptions { kad, file } = options;
    let seeker = Seeker::joined(kad, hosts, output).await?;
    let key = seeker.options.key.clone();
    let found = seeker.kad.get(key.clone()).await;
    let what = format!("cannot get {}", shown(&key));
    let found = found.map_err(|error| seeker.failed(&what, &error))?;
    seeker.close().await;
    let value = &found.record.value;
    if let Some(file) = &file {
        fs::write(file, value).map_err(|error| {
            Failure::failed(format!("cannot write to {}: {error}", file.display()))
        })?;
    }
    let fields = [
        ("key", shown(&key).into()),
        ("value", core::str::from_utf8(value).ok().into()),
        ("hex", hex(value).into()),
        ("peer", found.peer.map(|peer| peer.to_base58()).into()),
    ];
    let text = match &file {
        Some(file) => format!("{} bytes written to {}", value.len(), file.display()),
        None => printable(&text_or_hex(value)).to_string(),
    };
    output.say(&text, "record", &fields)
}

/// `drywire kad put`
async fn put(options: KadPutOptions, hosts: &Hosts, output: &Output) -> Result<(), Failure> {
    let KadPutOptions { kad, value, file } = options;
    let keypair = keys::load(kad.key_file.as_ref())?;
    let value = match (value, file) {
        (Some(value), _) => Bytes::from(value),
        (None, Some(file)) => value_in(&file)?,
        (None, None) => public_key(&kad.key, &keypair)?,
    };
    let seeker = Seeker::start(kad, keypair, Mode::Client, hosts, output)?;
    seeker.join(output).await?;
    let key = seeker.options.key.clone();
    // All that were found: whoever ends at the first one leaves before the others have it.
    let put = seeker
        .kad
        .put(Record::new(key.clone(), value), Quorum::AllFound)
        .await;
    let what = format!("cannot store {}", shown(&key));
    let peers = match put {
        Ok(stored) => stored.success,
        // Some are enough.
        Err(KadError::QuorumFailed { success, .. }) if !success.is_empty() => success,
        Err(KadError::Timeout { peers, .. }) if !peers.is_empty() => {
            peers.into_iter().map(|info| info.peer).collect()
        }
        Err(error) => return Err(seeker.failed(&what, &error)),
    };
    seeker.close().await;
    let peers: Vec<String> = peers.iter().map(PeerId::to_base58).collect();
    let text = format!("stored at {}", counted(peers.len()));
    let fields = [("key", shown(&key).into()), ("peers", peers.into())];
    output.say(&text, "stored", &fields)
}

/// The value in a file, or at the standard input.
fn value_in(file: &Path) -> Result<Bytes, Failure> {
    /// More than any DHT takes.
    const MOST: u64 = 1024 * 1024;
    let mut value = Vec::new();
    let read = if file.as_os_str() == "-" {
        io::stdin().take(MOST + 1).read_to_end(&mut value)
    } else {
        fs::File::open(file).and_then(|file| file.take(MOST + 1).read_to_end(&mut value))
    };
    match read {
        Ok(_) if value.len() as u64 > MOST => Err(Failure::failed(format!(
            "the value in {} is longer than any DHT takes",
            file.display()
        ))),
        Ok(_) => Ok(value.into()),
        Err(error) => Err(Failure::failed(format!(
            "cannot read the value from {}: {error}",
            file.display()
        ))),
    }
}

/// The value that belongs to a key of a public key.
fn public_key(key: &RecordKey, own: &Keypair) -> Result<Bytes, Failure> {
    let name = match key.namespace() {
        Some((b"pk", name)) => PeerId::from_bytes(name).ok(),
        _ => None,
    };
    let Some(peer) = name else {
        return Err(Failure::usage(format!(
            "no VALUE is given for {}",
            shown(key)
        )));
    };
    let own = (peer == own.peer_id()).then(|| own.public());
    let known = own.or_else(|| peer.public_key()).ok_or_else(|| {
        Failure::usage(format!(
            "the public key of {peer} is not known: give its --key"
        ))
    })?;
    Ok(known.to_protobuf().into())
}

/// `drywire kad provide`
async fn provide(
    options: KadProvideOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let KadProvideOptions { kad, listen, stay } = options;
    // Before anything is said, so that a signal sent in answer to it is not missed.
    let mut stop = core::pin::pin!(interrupted());
    let mode = if stay { Mode::Server } else { Mode::Client };
    let begin = async {
        let keypair = keys::load(kad.key_file.as_ref())?;
        let seeker = Seeker::start(kad, keypair, mode, hosts, output)?;
        services::serve_echo(&seeker.host).map_err(Failure::failed)?;
        for address in listen {
            let bound = seeker.host.listen(address.without_peer_id()).await;
            let bound = bound.map_err(|error| not_listening(&address, &error))?;
            announce(&seeker.host, &bound.address, output)?;
        }
        seeker.join(output).await?;
        let key = seeker.options.key.clone();
        let what = format!("cannot announce {}", shown(&key));
        let told = seeker.kad.provide(key.clone()).await;
        let told = told.map_err(|error| seeker.failed(&what, &error))?.told;
        let text = format!("announced to {}", counted(told));
        let fields = [("key", shown(&key).into()), ("told", told.into())];
        output.say(&text, "provided", &fields)?;
        Ok(seeker)
    };
    let Some(begun) = race(stop.as_mut(), begin).await else {
        return Err(Failure::interrupted("the provider was announced"));
    };
    let seeker = begun?;
    if stay {
        stop.await;
    }
    seeker.close().await;
    Ok(())
}

/// `drywire kad providers`
async fn providers(
    options: KadProvidersOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let KadProvidersOptions { kad, count } = options;
    let seeker = Seeker::joined(kad, hosts, output).await?;
    let key = seeker.options.key.clone();
    let what = format!("cannot find providers of {}", shown(&key));
    let failed = |error: &KadError| seeker.failed(&what, error);
    let options = QueryOptions::new().count(count);
    let mut query = seeker
        .kad
        .providers_with(key.clone(), options)
        .map_err(|error| failed(&error))?;
    let mut left = count.get();
    let mut trouble = None;
    while let Some(found) = query.next().await {
        match found {
            Ok(provider) if left > 0 => {
                left = left.saturating_sub(1);
                show("provider", &provider, output)?;
            }
            Ok(_) => {}
            Err(error) => trouble = Some(error),
        }
    }
    drop(query);
    if left == count.get() {
        return Err(match trouble {
            Some(error) => failed(&error),
            None if seeker.kad.table().is_empty() => failed(&KadError::NobodyReached),
            None => Failure::failed(format!("nobody provides {}", shown(&key))),
        });
    }
    seeker.close().await;
    Ok(())
}

/// `drywire kad closest`
async fn closest(
    options: KadClosestOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let seeker = Seeker::joined(options.kad, hosts, output).await?;
    let key = seeker.options.key.clone();
    let what = format!("cannot find peers closest to {}", shown(&key));
    let found = seeker.kad.closest(key.clone()).await;
    let found = found.map_err(|error| seeker.failed(&what, &error))?;
    if found.is_empty() {
        return Err(seeker.failed(&what, &KadError::NobodyReached));
    }
    for peer in &found {
        show("closest", peer, output)?;
    }
    seeker.close().await;
    Ok(())
}

/// One line for a peer, with where it may be reached.
fn show(event: &str, info: &PeerInfo, output: &Output) -> Result<(), Failure> {
    let addresses: Vec<String> = info.addresses.iter().map(ToString::to_string).collect();
    let mut text = info.peer.to_base58();
    for address in &addresses {
        text.push(' ');
        text.push_str(&printable(address));
    }
    let fields = [
        ("peer", info.peer.to_base58().into()),
        ("addresses", addresses.into()),
    ];
    output.say(&text, event, &fields)
}

fn counted(peers: usize) -> String {
    match peers {
        1 => "1 peer".to_owned(),
        _ => format!("{peers} peers"),
    }
}
