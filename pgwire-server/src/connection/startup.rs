//! The start of a connection: encryption refused, cancellation served, session opened, parameters told.

use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use sql::{Session, SessionParams, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{PROTOCOL_VIOLATION, Shared};
use crate::cancel::CancelKey;
use crate::wire::{Framed, StartupPacket, WireError, backend};

/// A client that has not started its session within this time is let go.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the session that the client asks for. `None`: there is nothing more to do on this connection.
pub(super) async fn start<S>(framed: &mut Framed<S>, shared: Arc<Shared>, key: CancelKey) -> Option<Session>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let result = match tokio::time::timeout(STARTUP_TIMEOUT, negotiate(framed, shared, key)).await {
        Ok(result) => result,
        Err(_) => return None,
    };
    let error = match result {
        Ok(session) => return session,
        Err(error) => error,
    };
    framed.send(&backend::error("FATAL", &error));
    let _ = framed.flush().await;
    None
}

async fn negotiate<S>(framed: &mut Framed<S>, shared: Arc<Shared>, key: CancelKey) -> Result<Option<Session>, SqlError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match framed.read_startup().await {
            Ok(Some(StartupPacket::Tls | StartupPacket::Gss)) => {
                framed.send_byte(b'N');
                if framed.flush().await.is_err() {
                    return Ok(None);
                }
            }
            Ok(Some(StartupPacket::Cancel { process_id, secret })) => {
                shared.cancels.cancel(CancelKey { process_id, secret });
                return Ok(None);
            }
            Ok(Some(StartupPacket::Start { minor, parameters })) => {
                negotiate_version(framed, minor, &parameters);
                return open(shared, parameters, key).await.map(Some);
            }
            Ok(None) | Err(WireError::Io(_)) => return Ok(None),
            Err(error @ WireError::UnsupportedProtocol { .. }) => {
                return Err(SqlError::new("0A000", error.to_string()));
            }
            Err(error) => return Err(SqlError::new(PROTOCOL_VIOLATION, error.to_string())),
        }
    }
}

/// Tells a client that asks for more than protocol 3.0 what it can have.
fn negotiate_version<S>(framed: &mut Framed<S>, minor: u16, parameters: &[(String, String)])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let unknown: Vec<String> =
        parameters.iter().filter(|(name, _)| name.starts_with("_pq_.")).map(|(name, _)| name.clone()).collect();
    if minor > 0 || !unknown.is_empty() {
        framed.send(&NegotiateProtocolVersion::new(0, unknown));
    }
}

async fn open(shared: Arc<Shared>, parameters: Vec<(String, String)>, key: CancelKey) -> Result<Session, SqlError> {
    let mut params = SessionParams { backend_pid: key.process_id as u32, ..SessionParams::default() };
    for (name, value) in parameters {
        match name.as_str() {
            "user" => params.user = value,
            "database" => params.database = value,
            "application_name" => params.application_name = value,
            "replication" if !matches!(value.as_str(), "false" | "off" | "no" | "0") => {
                return Err(SqlError::unsupported("the replication protocol"));
            }
            "replication" => {}
            name if name.starts_with("_pq_.") => {}
            "options" => params.settings.extend(parse_options(&value)?),
            _ => params.settings.push((name, value)),
        }
    }
    if params.user.is_empty() {
        return Err(SqlError::new("28000", "no PostgreSQL user name specified in startup packet"));
    }
    if params.database.is_empty() {
        params.database.clone_from(&params.user);
        if params.database == "root" {
            params.database = "postgres".to_owned();
        }
    }
    shared.sql.open_session(params).await
}

/// The settings in a startup packet's `options`: `-c name=value` and `--name=value`.
fn parse_options(text: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut settings = Vec::new();
    let mut words = split_words(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(assignment) => assignment.to_owned(),
            None if word == "-c" => words.next().unwrap_or_default(),
            None => word.strip_prefix("-c").map(str::to_owned).unwrap_or_default(),
        };
        match assignment.split_once('=') {
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None => {
                let message = format!("invalid command-line argument for server process: {word}");
                return Err(SqlError::new("42601", message));
            }
        }
    }
    Ok(settings)
}

/// Words separated by spaces, where a backslash takes the next character as it is.
fn split_words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let last = words.last_mut().expect("there is always a last word");
        match character {
            '\\' => last.extend(characters.next()),
            ' ' => words.push(String::new()),
            other => last.push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Tells a client whose session is open what it must know.
pub(super) fn welcome<S>(framed: &mut Framed<S>, session: &Session, key: CancelKey)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    framed.send(&Authentication::Ok);
    for (name, value) in session.reported_parameters() {
        framed.send(&ParameterStatus::new(name, value));
    }
    framed.send(&BackendKeyData::new(key.process_id, SecretKey::I32(key.secret)));
}
