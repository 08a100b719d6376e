//! The numbers that are the cluster's, not a node's: kept with the system's rows, the same for all nodes, changed while they run.
//!
//! ```text
//!   founder's flags ─▶ \x03 s <name> → text  ◀─ SET CLUSTER SETTING
//!                          │ read by every node with the heartbeats, and kept among its hints
//!                          └▶ ClusterSettings ─▶ placement, checks of replicas
//! ```
//!
//! Were each node to go by a flag of its own, two leaders of one range would undo each other's copies in turn. A node that has not
//! read them yet goes by what it knew last.
//!
//! A row that is missing means the number that the node was started with: clusters were founded before there were such rows.

use parking_lot::RwLock;

use super::Settings;
use crate::api::KeyValue;
use crate::keys;

/// The most voters a range can have.
const COPIES_MAX: usize = 9;

/// The longest interval between two checks of a range, in milliseconds: a year.
const CHECK_INTERVAL_MS_MAX: u64 = 365 * 86_400_000;

/// What the numbers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterValues {
    /// How many voters a range should have; odd.
    pub replication_factor: usize,
    /// How often each range's replicas are compared, in milliseconds; 0 for never.
    pub check_interval_ms: u64,
    /// How many bytes a second a node reads for that, at most.
    pub check_bytes_a_second: u64,
}

/// A name that no setting has, or a value that does not fit it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// There is no such setting.
    #[error("unknown cluster setting \"{0}\"")]
    Unknown(String),
    /// The value does not fit.
    #[error("invalid value for cluster setting \"{name}\": \"{value}\": {expected}")]
    Value {
        /// Which setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would fit.
        expected: &'static str,
    },
}

/// One cluster setting, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingInfo {
    /// Its name.
    pub name: &'static str,
    /// Its value, as it is given.
    pub value: String,
    /// What it does.
    pub description: &'static str,
}

/// A setting's name, and what it does.
const NAMES: [(&str, &str); 3] = [
    (REPLICATION_FACTOR, "how many nodes keep a copy of each range: 1, 3, 5, 7 or 9"),
    (CHECK_INTERVAL, "how often the replicas of each range are compared: a duration, 0 for never"),
    (CHECK_MAX_RATE, "how many bytes a second each node reads to compare replicas, at most"),
];

/// The name of [`ClusterValues::replication_factor`].
pub const REPLICATION_FACTOR: &str = "cluster.replication_factor";
/// The name of [`ClusterValues::check_interval_ms`].
pub const CHECK_INTERVAL: &str = "server.consistency_check.interval";
/// The name of [`ClusterValues::check_bytes_a_second`].
pub const CHECK_MAX_RATE: &str = "server.consistency_check.max_rate";

impl ClusterValues {
    /// What a node was started with.
    pub fn of(settings: &Settings) -> Self {
        ClusterValues {
            replication_factor: settings.replication_target,
            check_interval_ms: settings.check_interval_ms,
            check_bytes_a_second: settings.check_bytes_a_second,
        }
    }

    /// Changes the setting of this name.
    ///
    /// # Errors
    /// [`InvalidSetting`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidSetting> {
        let refuse = |name, expected| InvalidSetting::Value { name, value: value.to_owned(), expected };
        match name {
            REPLICATION_FACTOR => {
                let copies = value.parse().ok().filter(|copies| *copies <= COPIES_MAX && copies % 2 == 1);
                self.replication_factor = copies.ok_or_else(|| {
                    refuse(
                        REPLICATION_FACTOR,
                        "expected 1, 3, 5, 7 or 9: an even number survives no more than one fewer",
                    )
                })?;
            }
            CHECK_INTERVAL => {
                let interval_ms = parse_milliseconds(value).filter(|interval| *interval <= CHECK_INTERVAL_MS_MAX);
                self.check_interval_ms = interval_ms.ok_or_else(|| {
                    refuse(
                        CHECK_INTERVAL,
                        "expected a duration of at most a year, such as 24h, 30m or 10s; 0 for never",
                    )
                })?;
            }
            CHECK_MAX_RATE => {
                let rate = parse_bytes(value).filter(|rate| *rate > 0);
                self.check_bytes_a_second = rate.ok_or_else(|| {
                    refuse(CHECK_MAX_RATE, "expected a number of bytes above 0, such as 8MiB or 1048576")
                })?;
            }
            _ => return Err(InvalidSetting::Unknown(name.to_owned())),
        }
        Ok(())
    }

    /// All of them, for people.
    pub fn all(&self) -> Vec<SettingInfo> {
        let value = |name: &str| match name {
            REPLICATION_FACTOR => self.replication_factor.to_string(),
            CHECK_INTERVAL => words_of_milliseconds(self.check_interval_ms),
            _ => words_of_bytes(self.check_bytes_a_second),
        };
        NAMES.iter().map(|(name, description)| SettingInfo { name, value: value(name), description }).collect()
    }
}

/// A setting as it is kept, and told to other nodes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingRow {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value, as it was given.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl SettingRow {
    /// The setting in a row of the span of all settings; `None` for any other row.
    pub fn of(row: &KeyValue) -> Option<Self> {
        let name = row.key.strip_prefix(&keys::setting("")[..])?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(SettingRow { name: text(name)?, value: text(&row.value)? })
    }
}

/// The cluster's numbers as a node knows them. Share it in an `Arc`.
#[derive(Debug)]
pub struct ClusterSettings {
    /// What the node was started with.
    own: ClusterValues,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    rows: Vec<SettingRow>,
    values: ClusterValues,
}

impl ClusterSettings {
    /// Nothing is known but what the node was started with.
    pub fn new(settings: &Settings) -> Self {
        let own = ClusterValues::of(settings);
        ClusterSettings { known: RwLock::new(Known { rows: Vec::new(), values: own.clone() }), own }
    }

    /// What they are.
    pub fn get(&self) -> ClusterValues {
        self.known.read().values.clone()
    }

    /// The rows that they follow from.
    pub fn rows(&self) -> Vec<SettingRow> {
        self.known.read().rows.clone()
    }

    /// Takes note of all the rows there are. What a newer version has written is none of this node's business.
    pub fn learn(&self, rows: Vec<SettingRow>) {
        if self.known.read().rows == rows {
            return;
        }
        let mut values = self.own.clone();
        for SettingRow { name, value } in &rows {
            if let Err(error) = values.set(name, value) {
                tracing::warn!(name, value, %error, "a cluster setting is not understood");
            }
        }
        *self.known.write() = Known { rows, values };
    }
}

/// Units of time, in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// One or several numbers with units, as `24h`, `1h30m`, `500ms`; 0 needs none.
fn parse_milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0);
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    (!text.trim().is_empty()).then_some(sum)
}

fn words_of_milliseconds(mut interval_ms: u64) -> String {
    if interval_ms == 0 {
        return "0".to_owned();
    }
    let mut words = String::new();
    for (unit, factor) in UNITS {
        if interval_ms >= factor {
            words.push_str(&format!("{}{unit}", interval_ms / factor));
            interval_ms %= factor;
        }
    }
    words
}

/// Units of size, the largest first.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim();
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        _ => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn words_of_bytes(bytes: u64) -> String {
    match SIZES.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> ClusterValues {
        ClusterValues::of(&Settings::default())
    }

    #[test]
    fn what_is_shown_can_be_set() {
        for (name, given, shown) in [
            (REPLICATION_FACTOR, "5", "5"),
            (CHECK_INTERVAL, "90m", "1h30m"),
            (CHECK_INTERVAL, "0", "0"),
            (CHECK_INTERVAL, "1d500ms", "1d500ms"),
            (CHECK_MAX_RATE, "16 mib", "16MiB"),
            (CHECK_MAX_RATE, "1000", "1000"),
        ] {
            let mut values = usual();
            values.set(name, given).unwrap();
            let found = values.all().into_iter().find(|info| info.name == name).unwrap();
            assert_eq!(found.value, shown);
            let mut again = usual();
            again.set(name, &found.value).unwrap();
            assert_eq!(again, values);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        for (name, given) in [
            (REPLICATION_FACTOR, "4"),
            (REPLICATION_FACTOR, "11"),
            (REPLICATION_FACTOR, "many"),
            (CHECK_INTERVAL, ""),
            (CHECK_INTERVAL, "5"),
            (CHECK_INTERVAL, "-1s"),
            (CHECK_INTERVAL, "99999999999999999999s"),
            (CHECK_MAX_RATE, "0"),
            (CHECK_MAX_RATE, "1 furlong"),
            ("cluster.colour", "blue"),
        ] {
            let mut values = usual();
            assert!(values.set(name, given).is_err(), "{name} = {given}");
            assert_eq!(values, usual());
        }
    }

    #[test]
    fn a_missing_row_means_what_the_node_was_started_with() {
        let cluster = ClusterSettings::new(&Settings { replication_target: 5, ..Settings::default() });
        let row = |name: &str, value: &str| SettingRow { name: name.to_owned(), value: value.to_owned() };
        cluster.learn(vec![row(REPLICATION_FACTOR, "3"), row("cluster.of_tomorrow", "?")]);
        assert_eq!(cluster.get().replication_factor, 3);
        cluster.learn(Vec::new());
        assert_eq!(cluster.get().replication_factor, 5);
    }
}
