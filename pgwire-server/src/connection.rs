//! One client's connection, from its first byte to its last.
//!
//! ```text
//!   startup ─▶ ┌─▶ read a message ─▶ simple query ──┐
//!              │                  └▶ extended query ┼─▶ session ─▶ rows, tags, errors ─▶ buffer
//!              └──────────────────── flush at Sync ◀┘
//! ```
//!
//! One statement runs at a time. While it runs, the connection goes on reading, so that a client that
//! leaves cancels what it asked for; a cancellation, from there or from another connection, sets a token that the session
//! looks at where stopping is safe, which is never in the middle of a commit. Rows go out as they come, through a
//! bounded buffer that is sent at Sync, at Flush and whenever it is full.
//!
//! After an error in an extended-query batch everything up to Sync is skipped.
//!
//! Knows nothing of what statements mean. Source: the PostgreSQL manual, "Message Flow".

mod copy;
mod extended;
mod farewell;
mod rows;
mod simple;
mod startup;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use clock::{Tasks, TimeSlice};
use futures::FutureExt;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use sql::{CancelToken, Session, SqlError, SqlNode, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::cancel::{CancelKey, CancelRegistry};
use crate::metrics::Metrics;
use crate::wire::{Framed, Frontend, WireError, backend};
use extended::Portal;
pub use farewell::Farewell;
use farewell::Guest;
use rows::Scratch;

/// What the connections of a node share.
pub struct Shared {
    /// Where sessions are opened.
    pub sql: SqlNode,
    /// Which connection a request for cancellation means.
    pub cancels: CancelRegistry,
    /// Where connections run.
    pub tasks: Tasks,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Tells clients that the node stops.
    pub farewell: Farewell,
}

impl Shared {
    /// Says goodbye to all clients, and returns once they have left, or have had time enough to hear it.
    pub async fn stop(&self) {
        self.farewell.say();
        self.cancels.cancel_all();
        self.farewell.all_left().await;
    }
}

/// Why a message was not handled to its end.
enum Failure {
    /// The statement failed; the connection goes on.
    Sql(SqlError),
    /// The connection cannot go on.
    Wire(WireError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Failure::Sql(error)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Failure::Wire(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Wire(WireError::Io(error))
    }
}

/// SQLSTATE of a broken promise inside.
const INTERNAL_ERROR: &str = "XX000";
/// SQLSTATE of whatever violates the protocol.
const PROTOCOL_VIOLATION: &str = "08P01";

struct Connection<S> {
    framed: Framed<S>,
    session: Session,
    shared: Arc<Shared>,
    key: CancelKey,
    guest: Guest,
    portals: HashMap<String, Portal>,
    scratch: Scratch,
    /// When the statement at hand began.
    begun: tokio::time::Instant,
    /// An error was sent: everything up to the next Sync is skipped.
    skipping: bool,
    /// The client was told that it may go on, and has not.
    is_ready: bool,
}

/// Serves a client until it leaves.
pub async fn serve<S>(socket: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut framed = Framed::new(socket, &shared.sql.client_memory());
    let mut guest = shared.farewell.welcome();
    let key = shared.cancels.register();
    let session = tokio::select! {
        biased;
        session = startup::start(&mut framed, Arc::clone(&shared), key) => session,
        () = guest.told() => {
            framed.send(&backend::error("FATAL", &farewell::shutting_down()));
            let _ = framed.flush().await;
            None
        }
    };
    let Some(session) = session else {
        shared.cancels.remove(key);
        return;
    };
    let mut connection = Connection {
        framed,
        session,
        shared: Arc::clone(&shared),
        key,
        guest,
        portals: HashMap::new(),
        scratch: Scratch::default(),
        begun: tokio::time::Instant::now(),
        skipping: false,
        is_ready: false,
    };
    if let Err(error) = connection.run().await {
        connection.say_goodbye(error).await;
    }
    connection.portals.clear();
    connection.session.close().await;
    shared.cancels.remove(key);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Handles messages until the client leaves or the connection fails.
    async fn run(&mut self) -> Result<(), WireError> {
        startup::welcome(&mut self.framed, &self.session, self.key);
        self.ready().await?;
        let mut slice = TimeSlice::begin();
        while let Some(message) = self.next_message().await? {
            // However many messages a client sends ahead.
            slice.give_way().await;
            if message == Frontend::Terminate {
                return Ok(());
            }
            if self.skipping && message != Frontend::Sync {
                continue;
            }
            let simple = matches!(message, Frontend::Query(_) | Frontend::PassedOver { kind: b'Q', .. });
            match AssertUnwindSafe(self.handle(message)).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(Failure::Wire(error))) => return Err(error),
                // It was cancelled for that, most likely.
                Ok(Err(Failure::Sql(_))) if self.guest.must_leave() => return self.dismiss().await,
                Ok(Err(Failure::Sql(error))) => self.fail(&error, simple).await?,
                Err(_) => return self.end_after_panic().await,
            }
            // However many messages come before the next Sync, what they are answered is not kept until then.
            self.framed.flush_if_full().await?;
        }
        Ok(())
    }

    /// Ends a connection in the middle of whose message something panicked, outside what a statement's own panic is an error of: what
    /// state the conversation is in is not known. The panic's hook has said where it was.
    async fn end_after_panic(&mut self) -> Result<(), WireError> {
        tracing::error!("a connection panicked and is ended");
        self.shared.metrics.statement_failed(INTERNAL_ERROR);
        self.framed.send(&backend::error("FATAL", &SqlError::new(INTERNAL_ERROR, "internal error")));
        Ok(self.framed.flush().await?)
    }

    /// Tells the client that the node stops.
    async fn dismiss(&mut self) -> Result<(), WireError> {
        self.framed.send(&backend::error("FATAL", &farewell::terminating()));
        Ok(self.framed.flush().await?)
    }

    /// The next message; none once the client has left, or has kept its transaction waiting for too long, or the node stops.
    async fn next_message(&mut self) -> Result<Option<Frontend>, WireError> {
        let limit = match self.session.transaction_status() {
            TransactionStatus::Idle => None,
            _ if !self.is_ready => None,
            _ => self.session.timeouts().idle_in_transaction,
        };
        let too_long = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            biased;
            () = self.guest.told() => {
                self.dismiss().await?;
                None
            }
            message = self.framed.read() => message?,
            () = too_long => {
                let said = "terminating connection due to idle-in-transaction timeout";
                self.framed.send(&backend::error("FATAL", &SqlError::new("25P03", said)));
                self.framed.flush().await?;
                None
            }
        };
        self.is_ready = false;
        Ok(message)
    }

    async fn handle(&mut self, message: Frontend) -> Result<(), Failure> {
        // What is not the way of a prepared statement is boxed, so that its state does not make that way's future larger, which is
        // moved for every message.
        match message {
            Frontend::Query(text) => Box::pin(self.simple_query(text)).await,
            Frontend::Parse(parse) => Box::pin(self.parse(parse)).await,
            Frontend::Bind(bind) => self.bind(bind),
            Frontend::Describe(target) => self.describe(&target),
            Frontend::Execute { portal, max_rows } => self.execute_portal(&portal, max_rows).await,
            Frontend::Close(target) => {
                self.close(target);
                Ok(())
            }
            Frontend::Flush => Ok(self.framed.flush().await?),
            Frontend::Sync => self.sync().await,
            // What is left of a COPY that failed.
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => Ok(()),
            Frontend::Password(_) => Err(SqlError::new(PROTOCOL_VIOLATION, "no authentication is in progress").into()),
            Frontend::PassedOver { error, .. } => Err(error.into()),
            Frontend::Terminate => Ok(()),
        }
    }

    /// Ends a batch of extended-query messages: commits what no statement committed, and says that we are ready.
    async fn sync(&mut self) -> Result<(), Failure> {
        self.skipping = false;
        self.portals.retain(|_, portal| !portal.is_of_implicit_transaction());
        let result = self.session.sync().await;
        if let Err(error) = result {
            self.send_error(&error).await;
        }
        Ok(self.ready().await?)
    }

    /// Tells the client of an error, and gets ready for what comes next.
    async fn fail(&mut self, error: &SqlError, simple: bool) -> Result<(), WireError> {
        self.send_error(error).await;
        if simple {
            return self.ready().await;
        }
        self.skipping = true;
        // A client that prepares with Flush learns of the error by this alone, and sends Sync only then.
        Ok(self.framed.flush().await?)
    }

    async fn send_error(&mut self, error: &SqlError) {
        let error = &self.session.in_words(error.clone());
        self.portals.clear();
        self.session.fail().await;
        self.shared.metrics.statement_failed(error.code);
        self.send_notices();
        self.framed.send(&backend::error("ERROR", error));
    }

    async fn ready(&mut self) -> Result<(), WireError> {
        self.send_notices();
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => {
                // No portal outlives its transaction, whatever ended it.
                self.portals.clear();
                WireStatus::Idle
            }
            TransactionStatus::InTransaction => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        self.framed.send(&ReadyForQuery::new(status));
        self.is_ready = true;
        Ok(self.framed.flush().await?)
    }

    /// Sends the notices and changed parameters that the session has for the client.
    fn send_notices(&mut self) {
        for notice in self.session.take_notices() {
            self.framed.send(&backend::notice(notice.severity, &notice.error));
        }
        for (name, value) in self.session.take_parameter_changes() {
            self.framed.send(&ParameterStatus::new(name, value));
        }
    }

    /// The last words on a connection that cannot go on, as far as the client can still hear them.
    async fn say_goodbye(&mut self, error: WireError) {
        let code = match &error {
            WireError::Io(_) => return,
            WireError::NotUtf8 => "22021",
            _ => PROTOCOL_VIOLATION,
        };
        tracing::info!(%error, "a client broke the protocol");
        self.framed.send(&backend::error("FATAL", &SqlError::new(code, error.to_string())));
        let _ = self.framed.flush().await;
    }
}

/// Runs `work` to its end while watching the client: when it leaves, the token is set.
async fn watched<S, T>(framed: &mut Framed<S>, cancel: &CancelToken, work: impl Future<Output = T>) -> T
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::pin!(work);
    let mut gone = false;
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = framed.closed(), if !gone => {
                gone = true;
                cancel.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests;
