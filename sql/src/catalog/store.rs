//! The catalog in the keyspace: read whole, written object by object within a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use txn::{LockStrength, ScanRequest, Transaction};

use super::{Catalog, DatabaseDescriptor, Descriptor, FIRST_USER_ID, SchemaDescriptor, TableLock, keys};
use crate::error::SqlError;

/// The databases of a new cluster, with the OIDs of their `public` schemas.
const FIRST_DATABASES: [(u32, &str, u32); 2] = [(5, "postgres", 2200), (4, "defaultdb", 2201)];

/// What of the catalog is changed by one transaction at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CatalogPart {
    /// Which databases there are.
    Databases,
    /// What is in the database with this OID.
    Database(u32),
}

/// Reads the whole catalog at the transaction's snapshot. Tables that have not changed are taken from `known`. `None`
/// when the cluster has no catalog yet.
///
/// What is read is no part of what must still hold when the transaction commits: for a transaction that changes the catalog, the
/// guards of the parts that it has entered keep these from changing, and the other parts are none of its business.
pub(super) async fn load(transaction: &Transaction, known: &Catalog) -> Result<Option<Catalog>, SqlError> {
    let key = keys::version_key();
    let after = Bytes::from([&key[..], &[0]].concat());
    let request = ScanRequest { guarded: true, ..ScanRequest::over(key, after) };
    let Some(found) = transaction.scan(&request).await?.rows.pop() else { return Ok(None) };
    let mut catalog = Catalog::empty(decode_counter(&found.value)?, transaction.read_timestamp());
    let (start, end) = keys::descriptor_span();
    let mut request = ScanRequest { max_bytes: 4 << 20, guarded: true, ..ScanRequest::over(start, end) };
    loop {
        let page = transaction.scan(&request).await?;
        for row in page.rows {
            let descriptor = decode(&row.value)?;
            let same = match &descriptor {
                Descriptor::Table(table) => known.table(table.id).filter(|known| known.descriptor() == &**table),
                _ => None,
            };
            match same {
                Some(table) => catalog.insert_table(table.clone()),
                None => catalog.insert(descriptor),
            }
        }
        match page.resume {
            Some(rest) => request = request.resumed(rest),
            None => return Ok(Some(catalog)),
        }
    }
}

/// Writes the catalog of a new cluster.
pub(super) async fn bootstrap(transaction: &Transaction) -> Result<(), SqlError> {
    let owner = || "postgres".to_owned();
    for (id, name, public_id) in FIRST_DATABASES {
        let database = DatabaseDescriptor { id, name: name.into(), owner: owner() };
        let public = SchemaDescriptor { id: public_id, database_id: id, name: "public".into(), owner: owner() };
        put(transaction, &Descriptor::Database(database)).await?;
        put(transaction, &Descriptor::Schema(public)).await?;
    }
    write_counter(transaction, keys::version_key(), 1).await
}

/// Writes an object.
pub(super) async fn put(transaction: &Transaction, descriptor: &Descriptor) -> Result<(), SqlError> {
    let value = serde_json::to_vec(descriptor)
        .map_err(|error| SqlError::internal(format!("a descriptor cannot be encoded: {error}")))?;
    Ok(transaction.put(keys::descriptor_key(descriptor.id()), Bytes::from(value)).await?)
}

/// Removes an object.
pub(super) async fn delete(transaction: &Transaction, id: u32) -> Result<(), SqlError> {
    Ok(transaction.delete(keys::descriptor_key(id)).await?)
}

/// Reads an object, locking it.
pub(super) async fn get(transaction: &Transaction, id: u32) -> Result<Option<Descriptor>, SqlError> {
    match transaction.get(keys::descriptor_key(id), LockStrength::Exclusive).await? {
        Some(value) => Ok(Some(decode(&value)?)),
        None => Ok(None),
    }
}

/// Raises the catalog version by one; the last thing a transaction that changed the catalog does. Returns the new version.
pub(super) async fn bump_version(transaction: &Transaction) -> Result<u64, SqlError> {
    let version = read_counter(transaction, keys::version_key(), LockStrength::Exclusive).await?.unwrap_or(0) + 1;
    write_counter(transaction, keys::version_key(), version).await?;
    Ok(version)
}

/// Reads a counter of the catalog.
pub(super) async fn read_counter(
    transaction: &Transaction,
    key: Bytes,
    lock: LockStrength,
) -> Result<Option<u64>, SqlError> {
    transaction.get(key, lock).await?.map(|value| decode_counter(&value)).transpose()
}

fn decode_counter(value: &[u8]) -> Result<u64, SqlError> {
    let bytes = value.try_into().map_err(|_| SqlError::internal("the catalog version is corrupt"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Writes a counter of the catalog.
pub(super) async fn write_counter(transaction: &Transaction, key: Bytes, value: u64) -> Result<(), SqlError> {
    Ok(transaction.put(key, Bytes::copy_from_slice(&value.to_be_bytes())).await?)
}

fn decode(value: &[u8]) -> Result<Descriptor, SqlError> {
    serde_json::from_slice(value)
        .map_err(|error| SqlError::internal(format!("a descriptor in the catalog cannot be read: {error}")))
}

/// Changes the catalog within a transaction: in the keyspace, and in the transaction's own copy.
#[derive(Clone, Debug)]
pub(crate) struct CatalogWriter {
    /// The catalog as the transaction sees it, its own changes included.
    pub catalog: Arc<Catalog>,
    /// The parts that only this transaction may change until it ends.
    parts: BTreeSet<CatalogPart>,
    /// Locked objects whose locks are among what the transaction has read.
    taken_in: BTreeSet<u32>,
}

impl CatalogWriter {
    /// A writer that may change nothing yet.
    pub fn new(current: Arc<Catalog>) -> CatalogWriter {
        CatalogWriter { catalog: current, parts: BTreeSet::new(), taken_in: BTreeSet::new() }
    }

    /// Enters a part: from here on, the transaction is the only one that may change it, until it ends. The catalog is replaced by a
    /// newer one when the part has changed since.
    pub async fn enter(&mut self, transaction: &Transaction, part: CatalogPart) -> Result<(), SqlError> {
        if self.parts.contains(&part) {
            return Ok(());
        }
        let changed = read_counter(transaction, keys::guard_key(part), LockStrength::Exclusive).await?;
        if changed.is_none_or(|changed| self.catalog.version < changed) {
            let loaded = load(transaction, &self.catalog).await?;
            self.catalog = Arc::new(loaded.ok_or_else(|| SqlError::internal("the catalog has disappeared"))?);
        }
        self.parts.insert(part);
        Ok(())
    }

    /// Writes an object.
    pub async fn put(&mut self, transaction: &Transaction, descriptor: Descriptor) -> Result<(), SqlError> {
        put(transaction, &descriptor).await?;
        let catalog = Arc::make_mut(&mut self.catalog);
        let read_timestamp = std::mem::replace(&mut catalog.read_timestamp, clock::Timestamp::MIN);
        catalog.insert(descriptor);
        catalog.read_timestamp = read_timestamp;
        Ok(())
    }

    /// Takes in a locked table as it is committed now, once: the transaction has read the lock then, and does not commit if somebody has
    /// taken it away, believing this node to be dead. Answers the lock that stands; `None` when it was taken in before.
    pub async fn take_in(
        &mut self,
        transaction: &Transaction,
        id: u32,
        is_own: impl Fn(&TableLock) -> bool,
    ) -> Result<Option<Option<TableLock>>, SqlError> {
        if self.taken_in.contains(&id) {
            return Ok(None);
        }
        // Without a lock on the key, if it goes: whoever wants the table next looks there for who holds it. A snapshot from before the
        // lock does not show it: then what is newest is read, which only a locking read does.
        let found = transaction.get(keys::descriptor_key(id), LockStrength::None).await?;
        let mut descriptor = found.map(|value| decode(&value)).transpose()?;
        if !matches!(&descriptor, Some(Descriptor::Table(table)) if table.lock.as_ref().is_some_and(is_own)) {
            descriptor = get(transaction, id).await?;
        }
        self.taken_in.insert(id);
        let catalog = Arc::make_mut(&mut self.catalog);
        let Some(descriptor) = descriptor else {
            catalog.remove(id);
            return Ok(None);
        };
        let lock = match &descriptor {
            Descriptor::Table(table) => table.lock.clone(),
            _ => None,
        };
        catalog.insert(descriptor);
        Ok(Some(lock))
    }

    /// Removes an object.
    pub async fn delete(&mut self, transaction: &Transaction, id: u32) -> Result<(), SqlError> {
        delete(transaction, id).await?;
        Arc::make_mut(&mut self.catalog).remove(id);
        Ok(())
    }

    /// Makes the changes part of a new catalog version: right before the commit. Returns it.
    pub async fn seal(&self, transaction: &Transaction) -> Result<u64, SqlError> {
        let version = bump_version(transaction).await?;
        for part in &self.parts {
            write_counter(transaction, keys::guard_key(*part), version).await?;
        }
        Ok(version)
    }
}

/// A new OID, never given before.
pub(super) async fn allocate_id(database: &txn::Database) -> Result<u32, SqlError> {
    let count = database.increment(keys::id_counter_key(), 1).await?;
    u32::try_from(count - 1)
        .ok()
        .and_then(|count| FIRST_USER_ID.checked_add(count))
        .ok_or_else(|| SqlError::new(crate::error::code::PROGRAM_LIMIT_EXCEEDED, "all object IDs are used up"))
}
