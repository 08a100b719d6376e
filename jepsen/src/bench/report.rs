//! What was measured, side by side.

use std::collections::BTreeMap;
use std::fmt;

use super::load::{Figures, Protocol, Workload};

/// What was measured: a system, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum System {
    /// Meridian, through the node that holds the lease of the accounts.
    LeaseholderGateway,
    /// Meridian, through another node.
    OtherGateway,
    PostgresAlone,
    PostgresStandbys,
}

impl System {
    const ALL: [System; 4] =
        [System::LeaseholderGateway, System::OtherGateway, System::PostgresAlone, System::PostgresStandbys];

    pub fn name(self) -> &'static str {
        match self {
            System::LeaseholderGateway => "Meridian, leaseholder's gateway",
            System::OtherGateway => "Meridian, another gateway",
            System::PostgresAlone => "PostgreSQL alone",
            System::PostgresStandbys => "PostgreSQL + 2 standbys",
        }
    }

    /// What an acknowledged write is on.
    pub fn durability(self) -> &'static str {
        match self {
            System::LeaseholderGateway | System::OtherGateway => "3 voters, a write is on 2 synced logs",
            System::PostgresAlone => "1 copy, a write is on 1 synced log",
            System::PostgresStandbys => "3 copies, a write is on 2 synced logs (ANY 1 of 2 standbys)",
        }
    }
}

/// One line: what was done, how, and by how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub workload: Workload,
    pub protocol: Protocol,
    pub clients: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {} clients", self.workload.name(), self.protocol.name(), self.clients)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s, p50 {} µs, p99 {} µs", self.per_second, self.p50_us, self.p99_us)?;
        if self.errors > 0 {
            write!(f, ", {} errors", self.errors)?;
        }
        Ok(())
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: BTreeMap<Line, BTreeMap<System, Figures>>,
}

impl Report {
    pub fn add(&mut self, line: Line, system: System, figures: Figures) {
        self.lines.entry(line).or_default().insert(system, figures);
    }
}

impl fmt::Display for Report {
    /// A table, one row a line, with what share of PostgreSQL's figure Meridian has through the leaseholder's gateway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nEach cell: per second, p50/p99 in µs.")?;
        for system in System::ALL {
            writeln!(f, "- {}: {}", system.name(), system.durability())?;
        }
        let systems: Vec<&str> = System::ALL.iter().map(|system| system.name()).collect();
        writeln!(f, "\n| workload | {} | of alone | of + 2 |", systems.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(systems.len() + 2))?;
        for (line, cells) in &self.lines {
            write!(f, "| {line} |")?;
            for system in System::ALL {
                match cells.get(&system) {
                    Some(cell) => write!(f, " {:.0} ({}/{}) |", cell.per_second, cell.p50_us, cell.p99_us)?,
                    None => write!(f, " |")?,
                }
            }
            for other in [System::PostgresAlone, System::PostgresStandbys] {
                match (cells.get(&System::LeaseholderGateway), cells.get(&other)) {
                    (Some(ours), Some(theirs)) if theirs.per_second > 0.0 => {
                        write!(f, " {:.0} % |", 100.0 * ours.per_second / theirs.per_second)?;
                    }
                    _ => write!(f, " |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
