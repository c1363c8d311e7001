//! What the tests of the store share: asking it and waiting, names, and a disk that fails when it is told to.
#![allow(dead_code, reason = "not every test uses all of it")]

use bytes::Bytes;
use core::{task::Waker, time::Duration};
use drywire::{
    identity::PeerId,
    protocol::kad::{
        ProviderRecord, Record, RecordKey,
        store::{Origin, RecordStore, StoreError, StoreReply, StoreRequest, StoreRequestId},
        validator::{AcceptAll, InvalidRecord, Validator},
    },
    time::UnixTime,
};
use drywire_store_redb::{RedbStore, RedbStoreConfig};
use redb::{Database, DatabaseError, StorageBackend};
use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    task::Wake,
    thread::{self, Thread},
};

pub const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

pub fn peer(number: u32) -> PeerId {
    let mut bytes = [0; 34];
    (bytes[0], bytes[1]) = (0x12, 32);
    bytes[2..6].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

pub fn local() -> PeerId {
    peer(u32::MAX)
}

/// The larger first eight bytes are better; shorter values are not valid.
#[derive(Debug)]
pub struct Largest;

impl Validator for Largest {
    fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        value
            .first_chunk::<8>()
            .map(|_| ())
            .ok_or(InvalidRecord::Refused("short"))
    }
    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        let number = |at: &usize| (values[*at].first_chunk::<8>(), usize::MAX - at);
        (0..values.len()).max_by_key(number).unwrap()
    }
}

/// A file that is gone at the end of the test.
pub struct TempFile(pub PathBuf);

impl TempFile {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("drywire-store-{name}-{}.redb", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn open(path: &Path) -> RedbStore {
    RedbStore::open_at(path, &local(), RedbStoreConfig::default(), NOW).unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn waker() -> Waker {
    Arc::new(Unpark(thread::current())).into()
}

/// Waits for the next reply. Its requests must have had [`waker`].
pub fn next(store: &mut RedbStore) -> (StoreRequestId, StoreReply) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(reply) = store.poll_reply() {
            return reply;
        }
        // No shorter: a reply without a wake is to fail the test.
        thread::park_timeout(Duration::from_secs(60));
        assert!(std::time::Instant::now() < end, "not woken");
    }
}

pub fn call_at(store: &mut RedbStore, request: StoreRequest, now: UnixTime) -> StoreReply {
    let id = StoreRequestId(u64::MAX);
    if let Some(reply) = store.submit(id, request, now, Some(&waker())) {
        return reply;
    }
    let (of, reply) = next(store);
    assert_eq!(of, id);
    reply
}

pub fn call(store: &mut RedbStore, request: StoreRequest) -> StoreReply {
    call_at(store, request, NOW)
}

pub fn put_request(key: &str, value: impl Into<Bytes>, origin: Origin) -> StoreRequest {
    StoreRequest::Put {
        record: Record::new(key, value),
        origin,
        validator: Arc::new(AcceptAll),
    }
}

pub fn put(store: &mut RedbStore, record: Record, origin: Origin) -> Result<(), StoreError> {
    match call(
        store,
        StoreRequest::Put {
            record,
            origin,
            validator: Arc::new(AcceptAll),
        },
    ) {
        StoreReply::Put(result) => result,
        other => panic!("{other:?}"),
    }
}

pub fn get(store: &mut RedbStore, key: &str) -> Option<Record> {
    match call(store, StoreRequest::Get { key: key.into() }) {
        StoreReply::Record(record) => record,
        other => panic!("{other:?}"),
    }
}

pub fn add(
    store: &mut RedbStore,
    record: ProviderRecord,
    origin: Origin,
) -> Result<(), StoreError> {
    match call(store, StoreRequest::AddProvider { record, origin }) {
        StoreReply::AddProvider(result) => result,
        other => panic!("{other:?}"),
    }
}

pub fn providers(store: &mut RedbStore, key: &str) -> Vec<ProviderRecord> {
    match call(store, StoreRequest::Providers { key: key.into() }) {
        StoreReply::Providers(providers) => providers,
        other => panic!("{other:?}"),
    }
}

/// Numbers without order, the same for the same seed.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Len(len) => bytes.resize(*len as usize, 0),
            Self::Write(offset, data) => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Contents {
    /// What programs read.
    bytes: Vec<u8>,
    /// What is there after a loss of power, whatever happens.
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    fails: Option<io::ErrorKind>,
    /// Changes and syncs until the power goes.
    left: Option<u64>,
    steps: u64,
}

/// A disk in memory, with a write cache. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Contents>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    pub fn opener(&self) -> impl FnMut() -> Result<Database, DatabaseError> + Send + 'static {
        let disk = self.clone();
        move || {
            let mut builder = Database::builder();
            builder.set_check_integrity_on_open(true);
            builder.create_with_backend(disk.clone())
        }
    }

    pub fn store(&self, config: RedbStoreConfig, now: UnixTime) -> RedbStore {
        RedbStore::open_with(self.opener(), &local(), config, now).unwrap()
    }

    /// From now on everything fails so, or nothing.
    pub fn fail(&self, how: Option<io::ErrorKind>) {
        self.lock().fails = how;
    }

    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// The power goes after so many more changes and syncs: nothing works any more.
    pub fn cut_after(&self, steps: u64) {
        self.lock().left = Some(steps);
    }

    /// The power is back: of what was not synced, each piece of 512 bytes is there or not.
    pub fn power_on(&self, numbers: &mut Numbers) {
        let mut contents = self.lock();
        let mut bytes = mem::take(&mut contents.synced);
        let lost = numbers.below(4);
        for change in mem::take(&mut contents.unsynced) {
            match change {
                Change::Len(_) => {
                    if numbers.below(4) >= lost {
                        change.apply(&mut bytes);
                    }
                }
                Change::Write(mut offset, data) => {
                    let mut data = &data[..];
                    while !data.is_empty() {
                        let len = (512 - offset as usize % 512).min(data.len());
                        let (sector, rest) = data.split_at(len);
                        if numbers.below(4) >= lost {
                            Change::Write(offset, sector.to_vec()).apply(&mut bytes);
                        }
                        (data, offset) = (rest, offset + len as u64);
                    }
                }
            }
        }
        *contents = Contents {
            synced: bytes.clone(),
            bytes,
            ..Contents::default()
        };
    }

    /// Turns round a bit of what was written.
    pub fn flip(&self, bit: u64) {
        let mut contents = self.lock();
        let bit = bit as usize % (contents.bytes.len() * 8);
        contents.bytes[bit / 8] ^= 1 << (bit % 8);
        contents.synced = contents.bytes.clone();
    }

    /// Another disk with the same bytes, where everything works.
    pub fn copy(&self) -> Self {
        let bytes = self.lock().bytes.clone();
        let contents = Contents {
            synced: bytes.clone(),
            bytes,
            ..Contents::default()
        };
        Self(Arc::new(Mutex::new(contents)))
    }

    fn step(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let mut contents = self.lock();
        if let Some(kind) = contents.fails {
            return Err(kind.into());
        }
        if let Some(left) = &mut contents.left {
            *left = left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        }
        contents.steps += 1;
        Ok(contents)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.lock();
        if let Some(kind) = contents.fails {
            return Err(kind.into());
        }
        let from = contents
            .bytes
            .get(offset as usize..)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from.get(..out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut contents = self.step()?;
        Change::Len(len).apply(&mut contents.bytes);
        contents.unsynced.push(Change::Len(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.step()?;
        let mut synced = mem::take(&mut contents.synced);
        for change in mem::take(&mut contents.unsynced) {
            change.apply(&mut synced);
        }
        contents.synced = synced;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut contents = self.step()?;
        let change = Change::Write(offset, data.to_vec());
        change.apply(&mut contents.bytes);
        contents.unsynced.push(change);
        Ok(())
    }
}
