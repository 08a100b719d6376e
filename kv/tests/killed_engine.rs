//! A process that writes to its engine as fast as it takes, killed over and over: what it wrote is found, and its next life is
//! taken writes from, however many memtables were waiting to be written out when the last one ended.
//!
//! The test starts itself again as the process that is killed.
#![allow(clippy::disallowed_methods, reason = "a process of its own is killed, which no seam can do")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use clock::Random;
use kv::engine::{Engine, FjallEngine, FjallOptions, WriteBatch};

/// Where the killed process keeps its store: it is what tells it from the test.
const DIRECTORY: &str = "MERIDIAN_KILLED_ENGINE";
/// How often it is killed.
const LIVES: u64 = 5;
/// How long a life may be silent before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Small enough to be kept with their keys, and large enough to be kept apart.
const VALUE_BYTES: [usize; 2] = [256 << 10, 1 << 20];

fn key(count: u64) -> Vec<u8> {
    [b"k".as_slice(), &count.to_be_bytes()].concat()
}

fn open(path: &Path) -> FjallEngine {
    // As in production, but that memtables are sealed often.
    let options = FjallOptions { memtable_bytes: 16 << 20, ..FjallOptions::default() };
    FjallEngine::open(path, options).expect("opens as after a kill")
}

/// How many of the values are there; they are without a gap, or it fails.
fn count(engine: &dyn Engine) -> u64 {
    let reader = engine.snapshot();
    let mut cursor = reader.cursor(b"k", b"l", true);
    let newest = cursor.advance().expect("reads").then(|| cursor.key().to_vec());
    let found = newest.map_or(0, |newest| u64::from_be_bytes(newest[1..].try_into().expect("a number")) + 1);
    let missing = (0..found).find(|count| reader.get(&key(*count)).expect("reads").is_none());
    assert_eq!(missing, None, "of {found}");
    found
}

/// Writes until it is killed, and says how far it is.
fn live(path: &Path) {
    let engine = open(path);
    let values = VALUE_BYTES.map(|bytes| Bytes::from(vec![7; bytes]));
    let mut out = std::io::stdout().lock();
    for count in count(&engine).. {
        let mut batch = WriteBatch::new();
        batch.put(key(count), values[usize::from(count % 4 == 0)].clone());
        engine.write(batch).expect("writes");
        writeln!(out, "\nwrote {count}").expect("somebody reads");
        out.flush().expect("somebody reads");
    }
}

/// Kills what it holds when it goes.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the process live until it has written so many values, or for so long as it says nothing; returns the last it told of.
fn live_for(path: &Path, values: u64) -> Result<u64, mpsc::RecvTimeoutError> {
    let test = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(test);
    command.args(["--exact", "a_killed_engine_takes_writes_again", "--nocapture"]);
    command.env(DIRECTORY, path).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut life = Life(command.spawn().expect("starts"));
    let lines = BufReader::new(life.0.stdout.take().expect("it is piped")).lines();
    let (tell, told) = mpsc::channel();
    let mut newest = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let written =
                lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("wrote ")?.parse::<u64>().ok());
            // Nobody listens any more once there were enough.
            let _ = written.map(|count| tell.send(count)).find(Result::is_err);
        });
        let heard = (0..values).try_for_each(|_| told.recv_timeout(PATIENCE).map(|count| newest = count));
        drop(life);
        // What it said before it died.
        newest = told.iter().last().unwrap_or(newest);
        heard.map(|()| newest)
    })
}

#[test]
fn a_killed_engine_takes_writes_again() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        return live(Path::new(&path));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let random = Random::from_seed(1);
    for life in 0..LIVES {
        let values = 200 + random.next_u64() % 600;
        let newest =
            live_for(dir.path(), values).unwrap_or_else(|error| panic!("life {life} of {values} values: {error}"));
        let found = count(&open(dir.path()));
        assert!(found > newest, "life {life}: {newest} was written, {found} are found");
    }
}
