//! Hears what nodes tell their auditors, and the panics of their tasks.
//!
//! Nodes emit trace events of the target `audit`; a layer of the run's own subscriber turns them into [`Audited`]. A panic in a
//! task of a node is an assertion that failed: an invariant that the code itself watches.

use std::cell::RefCell;
use std::sync::Once;

use bytes::Bytes;
use clock::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::watch::Watch;

/// What a node told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audited {
    /// A leaseholder serves a batch up to a timestamp under a lease.
    Served {
        /// The node.
        node: u64,
        /// The range.
        range: u64,
        /// The lease.
        sequence: u64,
        /// The newest timestamp at which it read or wrote.
        at: Timestamp,
    },
    /// A leaseholder answers a read.
    Read(Read),
    /// A strict transaction has its snapshot.
    Began {
        /// Its gateway.
        node: u64,
        /// Its snapshot.
        read: Timestamp,
    },
    /// A leaseholder answers a push.
    Pushed {
        /// The node.
        node: u64,
        /// The key of the pushee's record, whether there is one or not.
        record: Bytes,
        /// What it is told.
        told: Told,
        /// Where the pushee's writes stand; for one that is presumed aborted, from when on ends are remembered.
        at: Timestamp,
    },
    /// Entries are about to be applied.
    Applies {
        /// The range.
        range: u64,
        /// The replica.
        replica: u64,
        /// The last of them.
        index: u64,
        /// The last one that the replica's log has synced.
        synced: u64,
    },
    /// A command takes effect on a replica.
    Applied {
        /// The node.
        node: u64,
        /// The range.
        range: u64,
        /// The lease sequence it was evaluated under.
        sequence: u64,
        /// The one in force where it is in the log.
        in_force: u64,
    },
    /// A node has found that the replicas of a range differ.
    Differs {
        /// The node.
        node: u64,
        /// The range.
        range: u64,
    },
    /// A node's clock is fenced.
    Fenced {
        /// The node.
        node: u64,
    },
    /// A strict transaction is acknowledged.
    Acknowledged {
        /// Its gateway.
        node: u64,
        /// From when on it is visible.
        effect: Timestamp,
    },
}

/// What a pusher is told of its pushee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It goes on, above the push.
    Moved,
    /// It does not go on.
    Aborted,
    /// It does not go on, or was forgotten: for want of a record, after longer than records are kept.
    Presumed,
    /// It is over, and its writes count.
    Committed,
}

/// What a read answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The node.
    pub node: u64,
    /// The range.
    pub range: u64,
    /// First key, inclusive.
    pub start: Bytes,
    /// End, exclusive; empty for the end of the keyspace.
    pub end: Bytes,
    /// As of when.
    pub at: Timestamp,
    /// Rows that were answered.
    pub rows: u64,
    /// Sum of the checksums of their values.
    pub checksum: u64,
}

#[derive(Default)]
struct Fields {
    event: String,
    numbers: [u64; NUMBERS.len()],
    start: Bytes,
    end: Bytes,
}

const NUMBERS: [&str; 11] =
    ["node", "range", "sequence", "wall_ns", "logical", "rows", "checksum", "in_force", "replica", "index", "synced"];

impl Fields {
    fn number(&self, name: &str) -> u64 {
        NUMBERS.iter().position(|known| *known == name).map_or(0, |at| self.numbers[at])
    }

    fn audited(&self) -> Option<Audited> {
        let node = self.number("node");
        let at = Timestamp::new(self.number("wall_ns"), u32::try_from(self.number("logical")).ok()?);
        let range = self.number("range");
        let pushed = |told| Audited::Pushed { node, record: self.start.clone(), told, at };
        Some(match self.event.as_str() {
            "served" => Audited::Served { node, range, sequence: self.number("sequence"), at },
            "read" => Audited::Read(Read {
                node,
                range,
                start: self.start.clone(),
                end: self.end.clone(),
                at,
                rows: self.number("rows"),
                checksum: self.number("checksum"),
            }),
            "applies" => {
                let (replica, index) = (self.number("replica"), self.number("index"));
                Audited::Applies { range, replica, index, synced: self.number("synced") }
            }
            "applied" => {
                Audited::Applied { node, range, sequence: self.number("sequence"), in_force: self.number("in_force") }
            }
            "moved" => pushed(Told::Moved),
            "aborted" => pushed(Told::Aborted),
            "presumed" => pushed(Told::Presumed),
            "committed" => pushed(Told::Committed),
            "differs" => Audited::Differs { node, range },
            "fenced" => Audited::Fenced { node },
            "began" => Audited::Began { node, read: at },
            "acknowledged" => Audited::Acknowledged { node, effect: at },
            _ => return None,
        })
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(at) = NUMBERS.iter().position(|known| *known == field.name()) {
            self.numbers[at] = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.event = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let bytes = || from_hex(&format!("{value:?}"));
        match field.name() {
            "start" => self.start = bytes(),
            "end" => self.end = bytes(),
            _ => {}
        }
    }
}

fn from_hex(text: &str) -> Bytes {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).filter_map(digit).collect()
}

struct AuditLayer(Watch);

impl<S: Subscriber> Layer<S> for AuditLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(audited) = fields.audited() {
            self.0.audited(&audited);
        }
    }
}

thread_local! {
    /// The watch of the run on this thread.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Runs something with a watch that hears audit events and panics of this thread.
pub fn audited<T>(watch: &Watch, log: &str, run: impl FnOnce() -> T) -> T {
    hear_panics();
    WATCH.set(Some(watch.clone()));
    let layer = AuditLayer(watch.clone()).with_filter(filter_fn(|metadata| metadata.target() == "audit"));
    let filter = tracing_subscriber::EnvFilter::try_new(log).unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let result = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer).with(lines), run);
    WATCH.set(None);
    result
}

fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            match WATCH.try_with(|watch| watch.borrow().clone()).ok().flatten() {
                Some(watch) => {
                    let words = panic.payload_as_str().unwrap_or("a panic");
                    let place =
                        panic.location().map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
                    // An assertion begins with the name of what it asserts.
                    let (name, witness) = match words.split_once(": ") {
                        Some((name, rest)) if !name.contains(' ') => (name, rest),
                        _ => ("panic", words),
                    };
                    watch.report_later(name, &format!("{witness}{place}"));
                }
                None => former(panic),
            }
        }));
    });
}
