//! Records of finished transactions whose coordinator never resolved all intents: resolved in its place, so that the
//! record can be forgotten.
//!
//! ```text
//!   garbage collected ─▶ ended records, older than `record_retention`, that name intents
//!                          └▶ ResolveIntents for each span ─▶ the record without them ─▶ forgotten by the next collection
//! ```
//!
//! A record that names intents is never forgotten before: a missing record would turn committed intents into aborted ones.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::propose::Fate;
use super::{Replica, ReplicaError};
use crate::api::*;
use crate::command::Command;
use crate::concurrency::latches::{LatchAccess, LatchSpan};
use crate::evaluate::{StoredRecord, TxnRecordStore};
use crate::keys;

/// Records cleaned up in one go.
const RECORDS_AT_ONCE: usize = 256;

impl Replica {
    /// Begins to clean up once a garbage collection is through.
    pub(super) fn clean_up_after(&self, batch: &BatchRequest) {
        let collects = |request: &Request| matches!(request.kind, Some(RequestKind::CollectGarbage(_)));
        if !batch.requests.iter().any(collects) {
            return;
        }
        let replica = self.handle();
        self.tasks.spawn("clean records", async move {
            let left_over = match replica.left_over_records() {
                Ok(left_over) => left_over,
                Err(error) => {
                    tracing::warn!(range = replica.range_id, %error, "transaction records cannot be read");
                    return;
                }
            };
            for (key, id, record) in left_over {
                if let Err(error) = replica.clean_record(key, id, record).await {
                    tracing::debug!(range = replica.range_id, %error, "a transaction record stays for now");
                }
            }
        });
    }

    fn left_over_records(&self) -> Result<Vec<(Bytes, TxnId, StoredRecord)>, ReplicaError> {
        let before = self.hlc.now()?.minus(Duration::from_millis(self.settings.record_retention_ms));
        let Ok((view, reader)) = self.read_view() else { return Ok(Vec::new()) };
        let (from, to) = keys::key_local_span(&view.descriptor.start, &view.descriptor.end);
        let mut found = Vec::new();
        let mut cursor = reader.cursor(&from, &to, false);
        while found.len() < RECORDS_AT_ONCE && cursor.advance()? {
            let Some((_, id)) = keys::decode_txn_record(cursor.key()) else { continue };
            let record = TxnRecordStore::decode(cursor.value_bytes())?;
            if !record.intents.is_empty() && record.ended.is_some_and(|ended| ended < before) {
                found.push((Bytes::copy_from_slice(cursor.key()), id, record));
            }
        }
        Ok(found)
    }

    async fn clean_record(&self, key: Bytes, id: TxnId, record: StoredRecord) -> Result<(), KvError> {
        for span in &record.intents {
            let resolve = ResolveIntents {
                span: span.clone(),
                txn: id,
                epoch: record.epoch,
                status: record.status,
                timestamp: record.write_timestamp,
                ignored: record.ignored.clone(),
            };
            let requests = vec![RequestKind::ResolveIntents(resolve).into()];
            self.sender.send(BatchRequest { requests, ..BatchRequest::default() }).await?;
        }
        let access = LatchAccess::Write(clock::Timestamp::MIN);
        let mut latches = self.latches.enter(vec![LatchSpan::key(key.clone(), access)]);
        latches.ready().await;
        let held = self.lease_to_write(self.clock_now()?).await?;
        let here = keys::addressing(&key).is_some_and(|anchor| self.descriptor().contains(&anchor));
        if !here {
            return Err(self.mismatch());
        }
        // An ended record never changes again, so that what was read before the latch still stands.
        let mut command = Command::default();
        command.batch.put(key, StoredRecord { intents: Vec::new(), ..record }.encode_to_vec());
        match self.propose(command, held, latches, Vec::new()).await? {
            Fate::Applied => Ok(()),
            Fate::Rejected | Fate::Unknown => Err(self.not_leaseholder(0)),
        }
    }
}
