//! Random work, power lost at a random write or sync, again and again: what is found is what was done, up to
//! some step, no earlier than the last one answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Random;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::model::{Model, Step, apply, comparable, observe};
use super::{answer, open, simulate};
use crate::disk::{SimDir, SimFaults};
use crate::wal::{LogEntry, Wal, WalError, WalOptions};
use crate::{GroupId, LogPosition};

const GROUPS: u64 = 5;

/// What the next step does, before it is fitted to the state it meets.
fn draw_step(random: &Random, model: &Model, term: u64) -> Step {
    let group = random.range(1, GROUPS + 1);
    let state = model.get(&group).cloned().unwrap_or_default();
    let bytes = |most: u64| Bytes::from(vec![random.next_u64() as u8; random.range(0, most) as usize]);
    let entries = || {
        let most = if random.chance(0.02) { 30_000 } else { 600 };
        let entry = |index| LogEntry { position: LogPosition::new(term, 0, index), payload: bytes(most) };
        (state.next_index()..).take(random.range(1, 4) as usize).map(entry).collect()
    };
    match random.range(0, 100) {
        0..50 => Step::Append { group, entries: entries() },
        50..65 => Step::Vote { group, vote: bytes(40) },
        65..72 => match state.last() {
            Some(position) => Step::Committed { group, position },
            None => Step::Vote { group, vote: bytes(40) },
        },
        72..80 => {
            let low = state.first_index();
            let after = random.range(low.saturating_sub(1), state.next_index() + 1);
            Step::Truncate { group, after: (after > 0).then_some(after) }
        }
        // The first group purges seldom, so that its entries are moved.
        80..97 if group == 1 && random.chance(0.9) => Step::Append { group, entries: entries() },
        80..95 => match state.last() {
            Some(last) => {
                let index = random.range(state.first_index(), last.index + 1).min(last.index);
                let term = state.entries.iter().find(|entry| entry.position.index == index);
                Step::Purge { group, upto: term.map_or(last, |entry| entry.position) }
            }
            None => Step::Purge { group, upto: LogPosition::new(term, 0, random.range(0, 20)) },
        },
        95..97 => Step::Purge { group, upto: LogPosition::new(term, 0, state.next_index() + random.range(0, 5)) },
        _ => Step::Destroy { group },
    }
}

/// A step's answer, if it waits for one.
type Answer = Option<Arc<Mutex<Option<Result<(), WalError>>>>>;

async fn perform(wal: &Wal, step: &Step) -> Answer {
    // A vote and a destruction are queued by the first poll of their future.
    let start = |future: std::pin::Pin<Box<dyn Future<Output = Result<(), WalError>> + Send>>| {
        let place = Arc::new(Mutex::new(None));
        let told = place.clone();
        let mut future = future;
        let waker = std::task::Waker::noop();
        if let std::task::Poll::Ready(outcome) = future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            *told.lock() = Some(outcome);
        } else {
            super::tasks().spawn("test", async move {
                let outcome = future.await;
                *told.lock() = Some(outcome);
            });
        }
        Some(place)
    };
    match step.clone() {
        Step::Append { group, entries } => {
            let (on_synced, place) = answer();
            wal.group(GroupId(group)).append(entries, on_synced);
            Some(place)
        }
        Step::Vote { group, vote } => {
            let log = wal.group(GroupId(group));
            start(Box::pin(async move { log.save_vote(vote).await }))
        }
        Step::Committed { group, position } => {
            wal.group(GroupId(group)).save_committed(position);
            None
        }
        Step::Truncate { group, after } => {
            let (on_synced, place) = answer();
            wal.group(GroupId(group)).truncate_after(after, on_synced);
            Some(place)
        }
        Step::Purge { group, upto } => {
            wal.group(GroupId(group)).purge(upto);
            None
        }
        Step::Destroy { group } => {
            let log = wal.group(GroupId(group));
            start(Box::pin(async move { log.destroy().await }))
        }
    }
}

/// One life of the log: steps until the power is lost, or `most_steps`. Answers with the model after each step
/// and with the number of steps known to be durable.
async fn live(wal: &Wal, random: &Random, start: Model, life: u64, most_steps: u64) -> (Vec<Model>, usize) {
    let mut models = vec![start];
    let mut answers = Vec::new();
    for nth in 0..most_steps {
        let model = models.last().expect("there is always one");
        let step = draw_step(random, model, life * 1000 + nth);
        let mut next = model.clone();
        apply(&mut next, &step);
        answers.push(perform(wal, &step).await);
        models.push(next);
        match random.range(0, 100) {
            0..40 => tokio::task::yield_now().await,
            40..44 => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => {}
        }
        if matches!(answers.last(), Some(Some(place)) if matches!(*place.lock(), Some(Err(_)))) {
            break;
        }
    }
    let synced = |answer: &Answer| answer.as_ref().is_some_and(|place| matches!(*place.lock(), Some(Ok(()))));
    let durable = answers.iter().rposition(synced).map_or(0, |nth| nth + 1);
    (models, durable)
}

/// Several lives of one disk, each ended by power loss, a kill, or a clean close.
fn lives(seed: u64) {
    simulate(async {
        let random = Random::from_seed(seed);
        let options = WalOptions { segment_bytes: 20 << 10, max_segments: 3, cache_bytes: 8 << 10 };
        let mut dir = SimDir::new(random.fork("disk"));
        let mut model = Model::new();
        for life in 1..=6 {
            let sync_delay = (Duration::ZERO, Duration::from_micros(random.range(0, 2) * 500));
            let clean = random.chance(0.2);
            let power_loss_after = (!clean).then(|| random.range(0, 80));
            let sync_error = if random.chance(0.2) { 0.02 } else { 0.0 };
            let write_error = if random.chance(0.2) { 0.02 } else { 0.0 };
            dir.set_faults(SimFaults { sync_delay, power_loss_after, sync_error, write_error, ..SimFaults::default() });
            let (models, durable) = match open(&dir, &options) {
                Ok(wal) => {
                    assert_eq!(observe(&wal), comparable(&model), "seed {seed}: what was found once is gone");
                    let (models, mut durable) = live(&wal, &random, model.clone(), life, 120).await;
                    if clean && sync_error + write_error == 0.0 {
                        wal.close().await;
                        durable = models.len() - 1;
                    }
                    (models, durable)
                }
                Err(WalError::Io { .. }) => (vec![model.clone()], 0),
                Err(error) => panic!("seed {seed}: {error}"),
            };
            dir = if random.chance(0.3) { dir.kill() } else { dir.crash() };
            let wal = open(&dir, &options).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = observe(&wal);
            let survivor = models.iter().skip(durable).find(|model| comparable(model) == found);
            model = survivor
                .unwrap_or_else(|| {
                    let expected = comparable(&models[durable]);
                    panic!("log_prefix, seed {seed}, life {life}: found {found:#?}, expected {expected:#?} or later")
                })
                .clone();
            // Half of the time the log found is itself lost at once, before anything is written to it.
            drop(wal);
            tokio::task::yield_now().await;
            dir = if random.chance(0.5) { dir.crash() } else { dir.kill() };
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_after_power_loss_is_what_was_done(seed in any::<u64>()) {
        lives(seed);
    }
}

/// The same work with power lost at every single write, sync and name change in turn.
#[test]
fn power_may_be_lost_at_every_write_and_sync() {
    let options = WalOptions { segment_bytes: 20 << 10, max_segments: 3, cache_bytes: 8 << 10 };
    let run = |power_loss_after: Option<u64>| {
        simulate(async {
            let dir = SimDir::new(Random::from_seed(7 + power_loss_after.unwrap_or(0)));
            dir.set_faults(SimFaults { power_loss_after, ..SimFaults::default() });
            let (models, durable) = match open(&dir, &options) {
                Ok(wal) => live(&wal, &Random::from_seed(7), Model::new(), 1, 250).await,
                Err(_) => (vec![Model::new()], 0),
            };
            let found = open(&dir.crash(), &options).expect("what was torn is not damage");
            let found = observe(&found);
            let holds = models.iter().skip(durable).any(|model| comparable(model) == found);
            assert!(holds, "log_prefix, power lost after {power_loss_after:?} operations: found {found:#?}");
            dir.operations()
        })
    };
    let all = run(None);
    assert!(all > 150, "only {all} operations");
    for operations in 0..all {
        run(Some(operations));
    }
}
