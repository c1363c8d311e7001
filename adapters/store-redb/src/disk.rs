//! The file: tables of entries, read and written in transactions.

use crate::{
    OpenError, RedbStoreConfig,
    entry::{
        Value, decode_provider, decode_record, decode_value, encode_provider, encode_record,
        encode_value,
    },
};
use alloc::collections::BTreeSet;
use bytes::Bytes;
use core::fmt;
use drywire::{
    protocol::kad::{
        Key, RecordKey,
        store::{Origin, ProviderSlot, ProviderTable, RecordTable},
    },
    time::UnixTime,
};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    Table, TableDefinition, WriteTransaction,
};

/// The one entry is the number of the form of this file.
const FORMATS: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "drywire-store-redb";
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Apart from the records, so that opening reads no values.
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");
const OWN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("own providers");
const PEERS: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("providers");

type Bytewise<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// Opens the file, again if need be.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Database, DatabaseError> + Send>;

/// The disk does not do what it is asked.
#[derive(Debug)]
pub(crate) struct Broken;

impl From<redb::Error> for Broken {
    fn from(_: redb::Error) -> Self {
        Self
    }
}

/// What has changed since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) records: BTreeSet<RecordKey>,
    pub(crate) providers: BTreeSet<ProviderSlot>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.providers.is_empty()
    }

    /// Whether any provider record of a key has changed.
    pub(crate) fn has_providers_of(&self, key: &RecordKey) -> bool {
        self.providers.iter().any(|slot| match slot {
            ProviderSlot::Own(other) | ProviderSlot::Peer(other, _) => other == key,
        })
    }
}

/// What is kept, but for the values.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) records: RecordTable<Value>,
    pub(crate) providers: ProviderTable,
}

impl Tables {
    pub(crate) fn new(local: Key, config: &RedbStoreConfig) -> Self {
        Self {
            records: RecordTable::new(Some(local), config.limits.clone()),
            providers: ProviderTable::new(Some(local), config.limits.clone()),
        }
    }
}

/// How many entries were thrown away at opening.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) expired: u64,
    pub(crate) corrupt: u64,
    pub(crate) over_limit: u64,
}

fn add(count: &mut u64, more: usize) {
    *count = count.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
}

pub(crate) struct Disk(Database);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// Reads what there is into `tables`, and throws away what is of no use.
    pub(crate) fn open(
        database: Database,
        tables: &mut Tables,
        now: UnixTime,
    ) -> Result<(Self, Dropped), OpenError> {
        let disk = Self(database);
        if let Some(format) = disk.format()?.filter(|format| *format != FORMAT) {
            return Err(OpenError::UnknownFormat(format));
        }
        let dropped = disk.load(tables, now)?;
        Ok((disk, dropped))
    }

    /// The number of the form of this file; none if it is new.
    fn format(&self) -> Result<Option<u64>, redb::Error> {
        match self.0.begin_read()?.open_table(FORMATS) {
            Ok(formats) => Ok(formats.get(FORMAT_KEY)?.map(|found| found.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn load(&self, tables: &mut Tables, now: UnixTime) -> Result<Dropped, redb::Error> {
        let transaction = self.begin()?;
        let (mut dropped, mut useless) = (Dropped::default(), Useless::default());
        let before = transaction
            .open_table(FORMATS)?
            .insert(FORMAT_KEY, FORMAT)?
            .map(|before| before.value());
        load_records(&transaction, tables, now, &mut dropped, &mut useless)?;
        load_providers(&transaction, tables, now, &mut dropped, &mut useless)?;
        if useless.remove(&transaction)? || before.is_none() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(dropped)
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // Values come from strangers: a commit of one phase rests on a hash for which they could make collisions.
        transaction.set_two_phase_commit(true);
        Ok(transaction)
    }

    /// The value of a record; none if what is there is not what was written.
    pub(crate) fn value(
        &self,
        key: &RecordKey,
        value: &Value,
    ) -> Result<Option<Bytes>, redb::Error> {
        if let Some(bytes) = &value.0 {
            return Ok(Some(bytes.clone()));
        }
        let values = self.0.begin_read()?.open_table(VALUES)?;
        let entry = values.get(key.as_bytes())?;
        Ok(entry.and_then(|entry| decode_value(key.as_bytes(), entry.value())))
    }

    /// Writes what has changed, and returns when it is there to stay.
    pub(crate) fn commit(&self, changes: &Changes, tables: &Tables) -> Result<(), redb::Error> {
        let transaction = self.begin()?;
        {
            let (mut records, mut values) = (
                transaction.open_table(RECORDS)?,
                transaction.open_table(VALUES)?,
            );
            for key in &changes.records {
                write_record(key, tables, &mut records, &mut values)?;
            }
            let (mut own, mut peers) =
                (transaction.open_table(OWN)?, transaction.open_table(PEERS)?);
            for slot in &changes.providers {
                let entry = tables
                    .providers
                    .get(slot)
                    .map(|(record, origin)| encode_provider(record, origin));
                match (slot, entry) {
                    (ProviderSlot::Own(key), Some(entry)) => {
                        drop(own.insert(key.as_bytes(), &entry[..])?)
                    }
                    (ProviderSlot::Own(key), None) => drop(own.remove(key.as_bytes())?),
                    (ProviderSlot::Peer(key, peer), Some(entry)) => {
                        drop(peers.insert((key.as_bytes(), peer.as_bytes()), &entry[..])?);
                    }
                    (ProviderSlot::Peer(key, peer), None) => {
                        drop(peers.remove((key.as_bytes(), peer.as_bytes()))?)
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn write_record(
    key: &RecordKey,
    tables: &Tables,
    records: &mut Bytewise<'_>,
    values: &mut Bytewise<'_>,
) -> Result<(), redb::Error> {
    let bytes = key.as_bytes();
    let Some(entry) = tables.records.get(key) else {
        records.remove(bytes)?;
        values.remove(bytes)?;
        return Ok(());
    };
    records.insert(bytes, &encode_record(bytes, entry)[..])?;
    if let Some(value) = &entry.value.0 {
        values.insert(bytes, &encode_value(bytes, value)[..])?;
    }
    Ok(())
}

/// What is to be removed from the tables of the file.
#[derive(Default)]
struct Useless {
    records: Vec<Vec<u8>>,
    own: Vec<Vec<u8>>,
    peers: Vec<(Vec<u8>, Vec<u8>)>,
    /// There are values that belong to no record.
    has_orphans: bool,
}

impl Useless {
    /// Whether there was anything.
    fn remove(&self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        let (mut records, mut values) = (
            transaction.open_table(RECORDS)?,
            transaction.open_table(VALUES)?,
        );
        for key in &self.records {
            records.remove(&key[..])?;
            values.remove(&key[..])?;
        }
        if self.has_orphans {
            values.retain(|key, _| matches!(records.get(key), Ok(Some(_))))?;
        }
        let mut own = transaction.open_table(OWN)?;
        for key in &self.own {
            own.remove(&key[..])?;
        }
        let mut peers = transaction.open_table(PEERS)?;
        for (key, peer) in &self.peers {
            peers.remove((&key[..], &peer[..]))?;
        }
        Ok(self.has_orphans
            || !(self.records.is_empty() && self.own.is_empty() && self.peers.is_empty()))
    }
}

fn load_records(
    transaction: &WriteTransaction,
    tables: &mut Tables,
    now: UnixTime,
    dropped: &mut Dropped,
    useless: &mut Useless,
) -> Result<(), redb::Error> {
    let (records, values) = (
        transaction.open_table(RECORDS)?,
        transaction.open_table(VALUES)?,
    );
    for row in records.iter()? {
        let (key, entry) = row?;
        let key = RecordKey::copy_from_slice(key.value());
        let count = match decode_record(key.as_bytes(), entry.value()) {
            None => &mut dropped.corrupt,
            Some(entry) if entry.is_expired(now) => &mut dropped.expired,
            Some(entry) => match tables.records.insert(key.clone(), entry) {
                Ok(victims) => {
                    add(&mut dropped.over_limit, victims.len());
                    useless
                        .records
                        .extend(victims.iter().map(|victim| victim.as_bytes().to_vec()));
                    continue;
                }
                Err(_) => &mut dropped.over_limit,
            },
        };
        add(count, 1);
        useless.records.push(key.as_bytes().to_vec());
    }
    useless.has_orphans = records.len()? != values.len()?;
    Ok(())
}

fn load_providers(
    transaction: &WriteTransaction,
    tables: &mut Tables,
    now: UnixTime,
    dropped: &mut Dropped,
    useless: &mut Useless,
) -> Result<(), redb::Error> {
    let mut load = |key: &[u8], entry: &[u8], is_own_slot| {
        let found = decode_provider(key, entry)
            .filter(|(_, origin)| is_own_slot == (*origin == Origin::Local));
        let (count, victims) = match found {
            None => (&mut dropped.corrupt, Vec::new()),
            Some((record, _)) if record.is_expired(now) => (&mut dropped.expired, Vec::new()),
            Some((record, origin)) => match tables.providers.add(record, origin, now) {
                Ok((Some(_), victims)) => {
                    add(&mut dropped.over_limit, victims.len());
                    return (true, victims);
                }
                Ok((None, victims)) => (&mut dropped.over_limit, victims),
                Err(_) => (&mut dropped.over_limit, Vec::new()),
            },
        };
        add(count, 1);
        (false, victims)
    };
    for row in transaction.open_table(OWN)?.iter()? {
        let (key, entry) = row?;
        let (kept, _) = load(key.value(), entry.value(), true);
        if !kept {
            useless.own.push(key.value().to_vec());
        }
    }
    for row in transaction.open_table(PEERS)?.iter()? {
        let (slot, entry) = row?;
        let (key, peer) = slot.value();
        let (kept, victims) = load(key, entry.value(), false);
        if !kept {
            useless.peers.push((key.to_vec(), peer.to_vec()));
        }
        for victim in victims {
            if let ProviderSlot::Peer(key, peer) = victim {
                useless
                    .peers
                    .push((key.as_bytes().to_vec(), peer.as_bytes().to_vec()));
            }
        }
    }
    Ok(())
}
