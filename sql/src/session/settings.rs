//! SET, SHOW, RESET.
//!
//! Most settings are kept and shown without effect, because tools set them and read them back; those with an effect are
//! checked. A SET is undone when its transaction rolls back, a SET LOCAL when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::timeouts::{Timeouts, parse_ms, show_ms};
use super::view::AskedSettings;
use super::{SERVER_VERSION, SessionBase, SessionParams, SessionView};
use crate::catalog::Catalog;
use crate::error::{SqlError, code};
use crate::node::Shared;
use crate::pg_catalog;
use crate::types::{Names, TimeZone, TypeSettings};

/// Every setting: name as SHOW prints it, and what it starts from.
const KNOWN: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("check_function_bodies", "on"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("consistency", "strict"),
    ("DateStyle", "ISO, MDY"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "off"),
    ("enable_seqscan", "on"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "on"),
    ("jit", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("lock_timeout", "0"),
    ("log_statement", "none"),
    ("maintenance_work_mem", "64MB"),
    ("max_connections", "10000"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("role", "none"),
    ("row_security", "on"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("session_authorization", ""),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronous_commit", "on"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "serializable"),
    ("transaction_read_only", "off"),
    ("work_mem", "4MB"),
    ("xmloption", "content"),
];

/// Settings that say what is, and cannot be set.
const FIXED: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_connections",
    "max_identifier_length",
    "max_index_keys",
    "server_encoding",
    "server_version",
    "server_version_num",
];

/// Settings told to the client at the start and whenever they change.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

const UNITS_HINT: &str = "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".";

/// A session's settings.
pub(super) struct Settings {
    base: Arc<SessionBase>,
    /// What RESET goes back to.
    initial: BTreeMap<String, String>,
    /// As they were when the open transaction first changed one.
    before: Option<Arc<SessionBase>>,
    /// As they will be once the open transaction has committed, for those set by SET LOCAL.
    after_local: BTreeMap<String, String>,
    version: u64,
    /// The names behind OIDs, and the catalog and settings they were made for: most transactions see the same.
    names: Mutex<Option<KnownNames>>,
}

/// How settings stood at a savepoint.
pub(super) struct SettingsMark {
    base: Arc<SessionBase>,
    before: Option<Arc<SessionBase>>,
    after_local: BTreeMap<String, String>,
}

type KnownNames = (Arc<Catalog>, Arc<SessionBase>, Arc<dyn Names>);

impl Settings {
    pub fn new(params: &SessionParams, database_id: u32, shared: &Shared) -> Result<Settings, SqlError> {
        let mut values: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        values.insert("session_authorization".into(), params.user.clone());
        values.insert("application_name".into(), params.application_name.clone());
        let base = SessionBase {
            user: params.user.clone(),
            database: params.database.clone(),
            database_id,
            search_path: search_path("\"$user\", public", &params.user),
            timezone: TimeZone::UTC,
            backend_pid: params.backend_pid,
            settings: values,
            timeouts: Timeouts::default(),
            asked_settings: AskedSettings::default(),
            random: shared.random.fork(&format!("session {}", params.backend_pid)),
            row_ids: shared.row_ids.clone(),
        };
        let mut settings = Settings {
            base: Arc::new(base),
            initial: BTreeMap::new(),
            before: None,
            after_local: BTreeMap::new(),
            version: 1,
            names: Mutex::new(None),
        };
        for (name, value) in &params.settings {
            settings.put(name, value)?;
        }
        settings.initial = settings.base.settings.clone();
        Ok(settings)
    }

    /// A setting's name as it is printed, whatever case it was written in.
    pub fn name_of(name: &str) -> String {
        canonical(name)
    }

    /// Rises whenever a setting changes that plans depend on.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The settings as a transaction sees them that began at this time, with the names of this catalog.
    pub fn view(&self, transaction_micros: i64, catalog: &Arc<Catalog>) -> SessionView {
        let types = TypeSettings { timezone: self.base.timezone, transaction_micros, names: None };
        let mut view = SessionView { base: self.base.clone(), types };
        let mut known = self.names.lock();
        let names = match &*known {
            Some((for_catalog, for_base, names))
                if Arc::ptr_eq(for_catalog, catalog) && Arc::ptr_eq(for_base, &self.base) =>
            {
                names.clone()
            }
            _ => {
                let context = pg_catalog::Context { catalog: catalog.clone(), session: Arc::new(view.clone()) };
                let names: Arc<dyn Names> = Arc::new(context);
                *known = Some((catalog.clone(), self.base.clone(), names.clone()));
                names
            }
        };
        view.types.names = Some(names);
        view
    }

    /// Whether a view shows the settings as they are now.
    pub fn are_seen_by(&self, view: &SessionView) -> bool {
        Arc::ptr_eq(&view.base, &self.base)
    }

    /// Whether commits give up commit wait.
    pub fn relaxed(&self) -> bool {
        self.base.settings.get("consistency").is_some_and(|value| value == "linearizable")
    }

    /// Whether transactions only read that do not say otherwise.
    pub fn read_only_by_default(&self) -> bool {
        self.base.settings.get("default_transaction_read_only").is_some_and(|value| value == "on")
    }

    /// Whether a client wants to be told messages of this severity.
    pub fn tells(&self, severity: Severity) -> bool {
        let least = self.base.settings.get("client_min_messages");
        least.and_then(|least| Severity::parse(least)).is_none_or(|least| severity >= least)
    }

    /// The settings that are times.
    pub fn timeouts(&self) -> Timeouts {
        self.base.timeouts
    }

    pub fn reported(&self) -> Vec<(String, String)> {
        REPORTED
            .iter()
            .filter_map(|name| self.base.settings.get(*name).map(|value| ((*name).to_owned(), value.clone())))
            .collect()
    }

    /// The value of a setting, and its name as it is printed.
    pub fn show(&self, name: &str) -> Result<(String, String), SqlError> {
        let name = canonical(name);
        match self.base.settings.get(&name) {
            Some(value) => Ok((name, value.clone())),
            None => Err(unrecognized(&name)),
        }
    }

    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.base.settings
    }

    /// SET; undone if the transaction rolls back, and with `local` when it ends.
    pub fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
        changes: &mut Vec<(String, String)>,
    ) -> Result<(), SqlError> {
        let name = canonical(name);
        if FIXED.contains(&name.as_str()) {
            return Err(SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed")));
        }
        let value = match value {
            Some(value) => value.to_owned(),
            None => self.initial.get(&name).cloned().ok_or_else(|| unrecognized(&name))?,
        };
        self.before.get_or_insert_with(|| self.base.clone());
        let old = self.base.settings.get(&name).cloned();
        self.put(&name, &value)?;
        match old {
            Some(old) if local => {
                self.after_local.entry(name.clone()).or_insert(old);
            }
            _ => {
                self.after_local.remove(&name);
            }
        }
        self.report(&name, changes);
        Ok(())
    }

    pub fn reset_all(&mut self, changes: &mut Vec<(String, String)>) -> Result<(), SqlError> {
        for (name, value) in self.initial.clone() {
            if self.base.settings.get(&name) != Some(&value) {
                self.set(&name, Some(&value), false, changes)?;
            }
        }
        Ok(())
    }

    /// What all of them hold. Setting one copies the list, and what a transaction began with stays until it ends.
    pub fn held_bytes(&self) -> usize {
        let held =
            |base: &SessionBase| base.settings.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        held(&self.base) + self.before.as_deref().map_or(0, held)
    }

    /// Takes in what `set_config` was called with. Whether it was.
    pub fn take_asked(&mut self, changes: &mut Vec<(String, String)>) -> Result<bool, SqlError> {
        let asked = self.base.asked_settings.take();
        for (name, value, local) in &asked {
            self.set(name, Some(value), *local, changes)?;
        }
        Ok(!asked.is_empty())
    }

    /// The settings now, for [`Settings::go_back`] within the same transaction.
    pub fn mark(&self) -> SettingsMark {
        SettingsMark { base: self.base.clone(), before: self.before.clone(), after_local: self.after_local.clone() }
    }

    /// Undoes what was set since the mark.
    pub fn go_back(&mut self, mark: &SettingsMark, changes: &mut Vec<(String, String)>) {
        self.before = mark.before.clone();
        self.after_local = mark.after_local.clone();
        self.replace(mark.base.clone(), changes);
    }

    /// The open transaction, or the implicit one, is over.
    pub fn end_transaction(&mut self, committed: bool, changes: &mut Vec<(String, String)>) {
        let Some(before) = self.before.take() else { return };
        let local = std::mem::take(&mut self.after_local);
        if committed {
            for (name, value) in local {
                // It was in force before, so it is valid.
                if self.put(&name, &value).is_ok() {
                    self.report(&name, changes);
                }
            }
            return;
        }
        self.replace(before, changes);
    }

    fn replace(&mut self, with: Arc<SessionBase>, changes: &mut Vec<(String, String)>) {
        if Arc::ptr_eq(&self.base, &with) {
            return;
        }
        let now = std::mem::replace(&mut self.base, with);
        self.version += 1;
        for name in REPORTED {
            if now.settings.get(*name) != self.base.settings.get(*name) {
                self.report(name, changes);
            }
        }
    }

    fn report(&self, name: &str, changes: &mut Vec<(String, String)>) {
        if REPORTED.contains(&name)
            && let Some(value) = self.base.settings.get(name)
        {
            changes.push((name.to_owned(), value.clone()));
        }
    }

    fn put(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let name = canonical(name);
        if !self.base.settings.contains_key(&name) && !name.contains('.') {
            return Err(unrecognized(&name));
        }
        let base = Arc::make_mut(&mut self.base);
        let mut value = value.to_owned();
        let invalid = |value: &str| {
            SqlError::new(code::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
        };
        match name.as_str() {
            "TimeZone" => {
                base.timezone = TimeZone::parse(&value).map_err(|_| invalid(&value))?;
                value = base.timezone.name();
            }
            "search_path" => base.search_path = search_path(&value, &base.user),
            // Letters and digits alone make an encoding's name: drivers quote it, or write `utf-8`.
            "client_encoding" => {
                match value.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "").as_str() {
                    "UTF8" | "UNICODE" => value = "UTF8".to_owned(),
                    _ => return Err(invalid(&value).hint("Meridian speaks UTF8 only.")),
                }
            }
            "bytea_output" if value.eq_ignore_ascii_case("hex") => value.make_ascii_lowercase(),
            "bytea_output" => return Err(invalid(&value).hint("Available values: hex.")),
            "IntervalStyle" if value.eq_ignore_ascii_case("postgres") => value.make_ascii_lowercase(),
            "IntervalStyle" => return Err(invalid(&value).hint("Available values: postgres.")),
            "extra_float_digits" if !value.parse().is_ok_and(|digits: i32| (1..=3).contains(&digits)) => {
                return Err(invalid(&value).hint("Floats are printed as shortly as they can be read back: 1, 2 or 3."));
            }
            "client_min_messages" => {
                value.make_ascii_lowercase();
                Severity::parse(&value).ok_or_else(|| invalid(&value).hint(Severity::HINT))?;
            }
            "transaction_isolation" | "default_transaction_isolation" => {
                if !LEVELS.contains(&value.to_lowercase().as_str()) {
                    return Err(invalid(&value).hint(format!("Available values: {}.", LEVELS.join(", "))));
                }
                // Whatever is asked for, this is what it runs as.
                value = "serializable".to_owned();
            }
            "default_transaction_read_only" => {
                value = if boolean(&name, &value)? { "on" } else { "off" }.to_owned();
            }
            "standard_conforming_strings" if !is_on(&value) => return Err(invalid(&value)),
            "consistency" if !matches!(value.as_str(), "strict" | "linearizable") => {
                return Err(invalid(&value).hint("Available values: strict, linearizable."));
            }
            "DateStyle" => {
                if !value.to_uppercase().contains("ISO") {
                    return Err(invalid(&value).hint("Only ISO dates are printed."));
                }
                value = "ISO, MDY".to_owned();
            }
            _ => {
                if let Some(limit) = base.timeouts.by_name(&name) {
                    let ms = parse_ms(&value).ok_or_else(|| invalid(&value).hint(UNITS_HINT))?;
                    *limit = (ms > 0).then(|| Duration::from_millis(ms));
                    value = show_ms(ms);
                }
            }
        }
        base.settings.insert(name, value);
        self.version += 1;
        Ok(())
    }
}

/// How much a message is to be minded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Debug,
    Log,
    Notice,
    Warning,
    Error,
}

impl Severity {
    const HINT: &'static str = "Available values: debug5, debug4, debug3, debug2, debug1, log, notice, warning, error.";

    fn parse(value: &str) -> Option<Severity> {
        Some(match value {
            "debug" | "debug1" | "debug2" | "debug3" | "debug4" | "debug5" => Severity::Debug,
            "log" => Severity::Log,
            "notice" => Severity::Notice,
            "warning" => Severity::Warning,
            "error" => Severity::Error,
            _ => return None,
        })
    }
}

/// The levels of isolation that may be asked for.
const LEVELS: [&str; 4] = ["serializable", "repeatable read", "read committed", "read uncommitted"];

fn is_on(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "on" | "true" | "yes" | "1")
}

/// A setting's value that is on or off.
///
/// # Errors
/// 22023 for anything else.
pub(super) fn boolean(name: &str, value: &str) -> Result<bool, SqlError> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => {
            Err(SqlError::new(code::INVALID_PARAMETER_VALUE, format!("parameter \"{name}\" requires a Boolean value")))
        }
    }
}

/// The name as it is printed: most are lower case, some are not.
fn canonical(name: &str) -> String {
    let name = match name.to_lowercase().as_str() {
        "time zone" | "timezone" => "TimeZone".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "names" => "client_encoding".to_owned(),
        lower => lower.to_owned(),
    };
    KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)).map_or(name, |(known, _)| (*known).to_owned())
}

fn unrecognized(name: &str) -> SqlError {
    SqlError::new(code::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// Schema names from the setting's text.
fn search_path(value: &str, user: &str) -> Vec<String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let quoted = [('"', '"'), ('\'', '\'')]
                .iter()
                .find_map(|(open, close)| part.strip_prefix(*open).and_then(|part| part.strip_suffix(*close)));
            match quoted {
                Some("$user") => user.to_owned(),
                Some(name) => name.to_owned(),
                None => part.to_lowercase(),
            }
        })
        .collect()
}
