//! A record that outlives the process: run it twice.
//!
//! `cargo run -p drywire-store-redb --example restart`
#![allow(
    clippy::std_instead_of_alloc,
    clippy::arithmetic_side_effects,
    reason = "a program, not a library"
)]

use core::error::Error;
use drywire::{
    identity::PeerId,
    protocol::kad::{
        Record,
        store::{Origin, RecordStore, StoreReply, StoreRequest, StoreRequestId},
        validator::AcceptAll,
    },
    time::UnixTime,
};
use drywire_store_redb::{RedbStore, RedbStoreConfig};
use std::{
    path::Path,
    sync::Arc,
    task::Wake,
    thread::{self, Thread},
    time::SystemTime,
};

/// Wakes the thread that waits for a reply. A swarm brings its own waker.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn ask(store: &mut RedbStore, request: StoreRequest) -> StoreReply {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let waker = Arc::new(Unpark(thread::current())).into();
    let at_once = store.submit(
        StoreRequestId(0),
        request,
        UnixTime::EPOCH.saturating_add(now),
        Some(&waker),
    );
    at_once.unwrap_or_else(|| {
        loop {
            match store.poll_reply() {
                Some((_, reply)) => return reply,
                None => thread::park(),
            }
        }
    })
}

/// Counts how often it was called with this file. What it said.
///
/// # Errors
/// Whatever the store says.
pub fn run(path: &Path) -> Result<String, Box<dyn Error>> {
    let local: PeerId = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
    let mut store = RedbStore::open(path, &local, RedbStoreConfig::default())?;
    let before = match ask(&mut store, StoreRequest::Get { key: "runs".into() }) {
        StoreReply::Record(Some(record)) => record.value.first().copied().unwrap_or_default(),
        StoreReply::Record(None) => 0,
        other => return Err(format!("{other:?}").into()),
    };
    let record = Record::new("runs", vec![before.wrapping_add(1)]);
    match ask(
        &mut store,
        StoreRequest::Put {
            record,
            origin: Origin::Local,
            validator: Arc::new(AcceptAll),
        },
    ) {
        StoreReply::Put(Ok(())) => Ok(format!("this was run {before} times before")),
        other => Err(format!("{other:?}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{}",
        run(&std::env::temp_dir().join("drywire-restart.redb"))?
    );
    Ok(())
}
