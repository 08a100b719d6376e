//! Transactions side by side on one real range: totals hold, and what serializability forbids does not happen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use kv::api::{BatchRequest, BatchResponse, KvError, Sender, error_detail};

use crate::{Database, Error, LockStrength, OwnWrites, ScanRequest, Settings, Transaction, TxnOptions};

const START_NS: u64 = 1_700_000_000_000_000_000;

/// A network before the range: it delays, and loses requests and answers.
struct Link {
    range: Arc<dyn Sender>,
    random: Random,
    loss: f64,
}

#[async_trait]
impl Sender for Link {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let lost = || {
            let message = "the link lost it".to_owned();
            KvError::Ambiguous(error_detail::Ended { message, other: None })
        };
        tokio::time::sleep(Duration::from_micros(self.random.range(0, 3_000))).await;
        if self.random.chance(self.loss) {
            return Err(lost());
        }
        let answer = self.range.send(batch).await;
        tokio::time::sleep(Duration::from_micros(self.random.range(0, 3_000))).await;
        if self.random.chance(self.loss) { Err(lost()) } else { answer }
    }
}

fn database(seed: u64) -> Database {
    database_over(seed, 0.0)
}

fn database_over(seed: u64, loss: f64) -> Database {
    let error = Duration::from_millis(1);
    let time = SimulatedTime::starting_at(START_NS, error);
    let hlc = Arc::new(Hlc::new(Arc::new(time), error, Arc::new(VolatileCeiling), Timestamp::MIN));
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let random = Random::from_seed(seed);
    let range = kv::local_range(hlc.clone(), tasks.clone(), random.fork("range"), kv::Settings::default());
    let link = Arc::new(Link { range, random: random.fork("link"), loss });
    Database::new(link, hlc, tasks, random.fork("gateway"), 1, Settings::default())
}

fn account(number: u64) -> Bytes {
    Bytes::from(format!("\x04account{number:03}"))
}

fn amount(value: Option<Bytes>) -> i64 {
    value.map_or(0, |value| i64::from_be_bytes(value[..].try_into().expect("amounts are eight bytes")))
}

fn stored(amount: i64) -> Bytes {
    Bytes::copy_from_slice(&amount.to_be_bytes())
}

fn all_accounts() -> ScanRequest {
    ScanRequest::over(account(0), account(999))
}

async fn total(transaction: &Transaction, page_rows: u64) -> Result<i64, Error> {
    let mut request = ScanRequest { max_rows: page_rows, own_writes: OwnWrites::All, ..all_accounts() };
    let mut sum = 0;
    loop {
        let page = transaction.scan(&request).await?;
        sum += page.rows.into_iter().map(|row| amount(Some(row.value))).sum::<i64>();
        match page.resume {
            Some(rest) => request = request.resumed(rest),
            None => return Ok(sum),
        }
    }
}

async fn transfer(database: &Database, random: &Random, accounts: u64, lock: LockStrength) -> Result<(), Error> {
    let (from, to) = (random.range(0, accounts), random.range(0, accounts));
    if from == to {
        return Ok(());
    }
    let by = random.range(1, 10) as i64;
    let transaction = database.begin(TxnOptions::default())?;
    let moved = async {
        let from_amount = amount(transaction.get(account(from), lock).await?);
        let to_amount = amount(transaction.get(account(to), lock).await?);
        transaction.put(account(from), stored(from_amount - by)).await?;
        transaction.put(account(to), stored(to_amount + by)).await?;
        Ok::<(), Error>(())
    };
    match moved.await {
        Ok(()) => transaction.commit().await.map(|_| ()),
        Err(error) => {
            transaction.rollback().await;
            Err(error)
        }
    }
}

/// Runs it until it commits. Every refusal must be one that a client may answer by trying again.
async fn until_done<F: Future<Output = Result<(), Error>>>(attempt: impl Fn() -> F) -> u32 {
    for retries in 0..10_000 {
        match attempt().await {
            Ok(()) => return retries,
            Err(error) => assert!(error.is_retryable() || matches!(error, Error::Unavailable { .. }), "{error}"),
        }
    }
    panic!("a transaction starves");
}

async fn fill(database: &Database, accounts: u64) {
    let transaction = database.begin(TxnOptions::default()).expect("the clock answers");
    for number in 0..accounts {
        transaction.put(account(number), stored(100)).await.expect("it fits the buffer");
    }
    let outcome = transaction.commit().await.expect("nobody is in the way");
    assert!(outcome.one_phase, "one range takes one phase");
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(test)
}

async fn bank(seed: u64, lock: LockStrength, loss: f64) {
    const ACCOUNTS: u64 = 6;
    let database = database_over(seed, loss);
    fill(&database, ACCOUNTS).await;
    let random = Random::from_seed(seed);
    let movers = (0..4).map(|mover| {
        let (database, random) = (database.clone(), random.fork(&format!("mover {mover}")));
        async move {
            for _ in 0..30 {
                until_done(|| transfer(&database, &random, ACCOUNTS, lock)).await;
            }
        }
    });
    let reader = {
        let database = database.clone();
        async move {
            for pages in 0..40 {
                until_done(|| async {
                    let transaction = database.begin(TxnOptions::default())?;
                    let sum = total(&transaction, pages % 4).await?;
                    assert_eq!(sum, 100 * ACCOUNTS as i64, "the total holds at every read");
                    transaction.commit().await.map(|_| ())
                })
                .await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    tokio::join!(futures::future::join_all(movers), reader);
}

#[test]
fn bank_totals_hold_with_locks() {
    for seed in 0..5 {
        run(bank(seed, LockStrength::Exclusive, 0.0));
    }
}

#[test]
fn bank_totals_hold_without_locks() {
    for seed in 0..5 {
        run(bank(seed, LockStrength::None, 0.0));
    }
}

#[test]
fn bank_totals_hold_when_requests_and_answers_are_lost() {
    for seed in 0..5 {
        run(bank(seed, LockStrength::Exclusive, 0.05));
        run(bank(seed, LockStrength::None, 0.05));
    }
}

/// Two doctors are on call; each may leave if the other stays.
#[test]
fn write_skew_does_not_happen() {
    run(async {
        let database = database(7);
        for round in 0..40 {
            let (first, second) = (account(2 * round), account(2 * round + 1));
            let begin = database.begin(TxnOptions::default()).expect("the clock answers");
            begin.put(first.clone(), stored(1)).await.expect("buffered");
            begin.put(second.clone(), stored(1)).await.expect("buffered");
            begin.commit().await.expect("nobody is in the way");
            let leave = |own: Bytes| {
                let (database, both) = (database.clone(), vec![first.clone(), second.clone()]);
                async move {
                    until_done(|| async {
                        let transaction = database.begin(TxnOptions::default())?;
                        let on_call = transaction.get_many(both.clone(), LockStrength::None).await?;
                        if on_call.into_iter().map(amount).sum::<i64>() == 2 {
                            transaction.put(own.clone(), stored(0)).await?;
                        }
                        transaction.commit().await.map(|_| ())
                    })
                    .await
                }
            };
            tokio::join!(leave(first.clone()), leave(second.clone()));
            let check = database.begin(TxnOptions::default()).expect("the clock answers");
            let on_call = check.get_many(vec![first, second], LockStrength::None).await.expect("readable");
            assert_eq!(on_call.into_iter().map(amount).sum::<i64>(), 1, "somebody stays on call");
        }
    });
}

/// A counter that everybody raises: under locks nobody has to start over, and nothing is lost.
#[test]
fn a_hot_row_loses_nothing_and_restarts_nobody() {
    run(async {
        let database = database(3);
        let raisers = (0..8).map(|_| {
            let database = database.clone();
            async move {
                let mut retries = 0;
                for _ in 0..20 {
                    retries += until_done(|| async {
                        let transaction = database.begin(TxnOptions::default())?;
                        let count = amount(transaction.get(account(1), LockStrength::Exclusive).await?);
                        transaction.put(account(1), stored(count + 1)).await?;
                        transaction.commit().await.map(|_| ())
                    })
                    .await;
                }
                retries
            }
        });
        let retries: u32 = futures::future::join_all(raisers).await.into_iter().sum();
        let check = database.begin(TxnOptions::default()).expect("the clock answers");
        let count = amount(check.get(account(1), LockStrength::None).await.expect("readable"));
        assert_eq!((count, retries), (160, 0));
    });
}

/// Who is told first is seen by all who begin later, whatever they touch.
#[test]
fn what_was_acknowledged_is_seen() {
    run(async {
        let database = database(5);
        let mut last = Timestamp::MIN;
        for round in 1..50 {
            let write = database.begin(TxnOptions::default()).expect("the clock answers");
            write.put(account(round % 5), stored(round as i64)).await.expect("buffered");
            let committed = write.commit().await.expect("nobody is in the way").commit_timestamp;
            let read = database.begin(TxnOptions::default()).expect("the clock answers");
            assert!(committed > last && read.read_timestamp() > committed, "external_consistency");
            let seen = read.get(account(round % 5), LockStrength::None).await.expect("readable");
            assert_eq!(amount(seen), round as i64);
            last = committed;
        }
    });
}

#[test]
fn spilled_intents_commit_and_roll_back() {
    run(async {
        let database = database(9);
        let mut database_core = database.settings().clone();
        database_core.write_buffer_bytes = 2_000;
        let small = Database::new(
            database.core.sender.clone(),
            database.core.hlc.clone(),
            database.core.tasks.clone(),
            database.core.random.clone(),
            1,
            database_core,
        );
        for commits in [false, true] {
            let writer = small.begin(TxnOptions::default()).expect("the clock answers");
            for number in 0..100 {
                writer.put(account(number), stored(1)).await.expect("spilled or buffered");
            }
            assert_eq!(total(&writer, 7).await.expect("own writes show"), 100);
            if commits {
                assert!(!writer.commit().await.expect("nobody is in the way").one_phase);
            } else {
                writer.rollback().await;
            }
            let reader = small.begin(TxnOptions::default()).expect("the clock answers");
            let expected = if commits { 100 } else { 0 };
            assert_eq!(total(&reader, 0).await.expect("intents are resolved, or waited for"), expected);
        }
    });
}
