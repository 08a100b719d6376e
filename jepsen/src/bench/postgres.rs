//! PostgreSQL beside us, for the same load: alone, or with synchronous standbys.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{connect, free_ports};

/// The directory of an installed PostgreSQL server's programs.
pub(crate) fn find() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("postgres").is_file() && bin.join("pg_basebackup").is_file())
        .collect();
    versions.sort();
    versions.pop()
}

/// A primary and its standbys. They end with this value.
pub(crate) struct Server {
    bin: PathBuf,
    port: u16,
    directories: Vec<PathBuf>,
    user: Option<u32>,
}

impl Server {
    /// Starts a fresh primary with so many synchronous standbys, any one of which must have a commit on disk.
    pub async fn start(bin: &Path, directory: &Path, standbys: usize) -> Result<Server> {
        let ports = free_ports(1 + standbys)?;
        let mut server = Server { bin: bin.into(), port: ports[0], directories: Vec::new(), user: unprivileged_user() };
        std::fs::create_dir_all(directory)?;
        if let Some(user) = server.user {
            std::os::unix::fs::chown(directory, Some(user), None)?;
            let above = directory.parent().context("the directory has a parent")?;
            std::fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        let primary = directory.join("primary");
        // Sorted and encoded as Meridian does, whatever the machine is set to.
        let locale = ["-E", "UTF8", "--locale", "C.UTF-8"];
        let data = text(&primary);
        let arguments = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"];
        server.run("initdb", &[&arguments[..], &locale].concat())?;
        let mut settings = "wal_level = replica\nmax_connections = 200\nunix_socket_directories = ''\n".to_owned();
        if standbys > 0 {
            let names: Vec<String> = (1..=standbys).map(|number| format!("s{number}")).collect();
            settings += &format!("synchronous_standby_names = 'ANY 1 ({})'\n", names.join(", "));
        }
        // The names come into force once the standbys are there: commits would wait for them otherwise.
        server.start_one(&primary, ports[0], "")?;
        for (number, port) in ports.iter().enumerate().skip(1) {
            let standby = directory.join(format!("standby{number}"));
            let source = format!("host=127.0.0.1 port={} user=postgres application_name=s{number}", ports[0]);
            server.run("pg_basebackup", &["-D", &text(&standby), "-d", &source, "-R", "-X", "stream", "--no-sync"])?;
            server.start_one(&standby, *port, "")?;
        }
        append(&primary.join("postgresql.conf"), &settings)?;
        server.run("pg_ctl", &["-D", &text(&primary), "-w", "restart", "-l", &text(&directory.join("log"))])?;
        server.wait(standbys).await?;
        Ok(server)
    }

    fn start_one(&mut self, data: &Path, port: u16, more: &str) -> Result<()> {
        append(
            &data.join("postgresql.conf"),
            &format!("port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n{more}"),
        )?;
        self.directories.push(data.into());
        self.run("pg_ctl", &["-D", &text(data), "-w", "start", "-l", &text(&data.join("log"))])
    }

    async fn wait(&self, standbys: usize) -> Result<()> {
        for _ in 0..200 {
            if let Ok(client) = connect(self.port).await {
                let row = client.query_one("SELECT count(*) FROM pg_stat_replication", &[]).await?;
                if row.get::<_, i64>(0) as usize >= standbys {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("PostgreSQL's standbys did not connect")
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
        if let Some(user) = self.user {
            command.uid(user);
        }
        let status = command.status().with_context(|| format!("cannot run {program}"))?;
        if !status.success() {
            bail!("{program} failed: {status}");
        }
        Ok(())
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all of it.
    pub async fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for data in self.directories.iter().rev() {
            if let Err(error) = self.run("pg_ctl", &["-D", &text(data), "-m", "immediate", "stop"]) {
                tracing::warn!(%error, "PostgreSQL was not stopped");
            }
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn append(path: &Path, settings: &str) -> Result<()> {
    let mut all = std::fs::read_to_string(path)?;
    all.push_str(settings);
    Ok(std::fs::write(path, all)?)
}

/// PostgreSQL refuses to run as root: the user to run it as then.
fn unprivileged_user() -> Option<u32> {
    // SAFETY: geteuid(2) always succeeds and touches no memory of ours.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    line.split(':').nth(2)?.parse().ok()
}
