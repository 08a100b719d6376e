//! SQL text cut into statements.
//!
//! The text is tokenized once. Statements end at semicolons; each keeps its own text, and is parsed by itself, so that an
//! error's position counts from the start of the whole text. Statements the parser library does not know (`ALTER TABLE …
//! SPLIT AT`, `SHOW RANGES`, `CHECK REPLICAS`, …) are recognised by their first words.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;

use crate::memory::Hold;
use crate::stack::Deep;

/// One parsed statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The whole text it came with, which error positions count in.
    pub(crate) text: Arc<str>,
    /// Its text, without the semicolon.
    pub(crate) sql: Arc<str>,
    /// What it says.
    pub(crate) kind: Arc<Deep<StatementKind>>,
    /// The past that it reads, or that its transaction is to read.
    pub(crate) as_of: Option<Arc<ast::Expr>>,
    /// What all statements of its text take together, where that is counted.
    pub(crate) hold: Option<Arc<Hold>>,
}

/// What a statement says.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is by far the most frequent, and each lies behind its own Arc"
)]
#[derive(Clone, Debug)]
pub(crate) enum StatementKind {
    /// Nothing.
    Empty,
    /// What the parser library makes of it.
    Sql(ast::Statement),
    /// `ALTER TABLE t SPLIT AT VALUES (…), …` or `ALTER INDEX t@i SPLIT AT VALUES …`.
    SplitAt { table: ast::ObjectName, rows: Vec<Vec<ast::Expr>> },
    /// `SHOW [HOT] RANGES [FROM TABLE t]`.
    ShowRanges { table: Option<ast::ObjectName>, hot: bool },
    /// `SHOW RANGE <id> WHY`.
    ExplainRange { range_id: u64 },
    /// `SHOW NODES`.
    ShowNodes,
    /// `CHECK REPLICAS [FROM TABLE t]`.
    CheckReplicas { table: Option<ast::ObjectName> },
    /// `SHOW CLUSTER SETTING name`, `SHOW CLUSTER SETTINGS`.
    ShowClusterSettings { name: Option<String> },
    /// `SET CLUSTER SETTING name = value`; `None` for DEFAULT, and RESET.
    SetClusterSetting { name: String, value: Option<String> },
    /// `SHOW setting`, `SHOW ALL`.
    ShowSetting { name: String },
    /// `SHOW TABLES | SCHEMAS | DATABASES | INDEXES FROM t | COLUMNS FROM t | CREATE TABLE t`: answered by a query.
    ShowObjects { what: &'static str, table: Option<ast::ObjectName> },
    /// Accepted and ignored, with the tag to answer and a notice where something was asked that is not done.
    Ignored { tag: &'static str, notice: Option<&'static str> },
}

impl Statement {
    /// The statement's text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// What the parser library makes of it, if it knows it.
    pub(crate) fn ast(&self) -> Option<&ast::Statement> {
        match &**self.kind {
            StatementKind::Sql(statement) => Some(statement),
            _ => None,
        }
    }

    /// How deep it nests: what is done with it needs room on the stack for that.
    pub(crate) fn levels(&self) -> usize {
        self.kind.levels()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        matches!(**self.kind, StatementKind::Empty)
    }

    /// A statement without text.
    pub fn empty() -> Self {
        let nothing: Arc<str> = Arc::from("");
        Statement {
            text: nothing.clone(),
            sql: nothing,
            kind: Arc::new(Deep::new(0, StatementKind::Empty)),
            as_of: None,
            hold: None,
        }
    }

    /// A statement within another: what PREPARE prepares, what EXPLAIN explains.
    pub(crate) fn inner(&self, statement: ast::Statement) -> Self {
        let kind = Arc::new(Deep::new(self.levels(), StatementKind::Sql(statement)));
        Statement { text: self.text.clone(), sql: self.sql.clone(), kind, as_of: None, hold: self.hold.clone() }
    }

    /// Whether it may be executed in a failed transaction: COMMIT, ROLLBACK and their kin.
    pub fn ends_transaction(&self) -> bool {
        matches!(&**self.kind, StatementKind::Sql(ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }))
    }

    /// Its first word, in capitals, for messages.
    pub(crate) fn verb(&self) -> String {
        self.sql.split_whitespace().next().unwrap_or_default().to_uppercase()
    }

    /// Its first words, in capitals: the verb, and after CREATE, ALTER and DROP what it is about.
    pub(crate) fn verbs(&self) -> String {
        let words: Vec<String> = self.sql.split_whitespace().map(str::to_uppercase).collect();
        let verb = words.first().cloned().unwrap_or_default();
        if !matches!(verb.as_str(), "CREATE" | "ALTER" | "DROP") {
            return verb;
        }
        let about = words[1..].iter().take_while(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let about: Vec<&str> = about.map(String::as_str).filter(|word| !matches!(*word, "OR" | "REPLACE")).collect();
        format!("{verb} {}", about.first().copied().unwrap_or_default())
    }

    /// Whether executing it once more in a new transaction does the same: everything but COPY, whose data is gone.
    pub(crate) fn can_be_repeated(&self) -> bool {
        !matches!(self.ast(), Some(ast::Statement::Copy { .. }))
    }

    /// Whether it is SET TRANSACTION.
    pub(crate) fn sets_transaction(&self) -> bool {
        matches!(&**self.kind, StatementKind::Ignored { tag: "SET", .. })
            || matches!(self.ast(), Some(ast::Statement::Set(ast::Set::SetTransaction { .. })))
    }

    /// Whether it asks or changes only what the node knows by itself, such as the session's settings: it takes no snapshot, and is
    /// answered though no range has a quorum.
    pub(crate) fn is_about_session(&self) -> bool {
        match &**self.kind {
            StatementKind::ShowSetting { .. }
            | StatementKind::ShowNodes
            | StatementKind::ExplainRange { .. }
            | StatementKind::ShowClusterSettings { .. }
            | StatementKind::Ignored { .. } => true,
            StatementKind::Sql(statement) => matches!(
                statement,
                ast::Statement::Set(_)
                    | ast::Statement::Reset(_)
                    | ast::Statement::Discard { .. }
                    | ast::Statement::Deallocate { .. }
            ),
            _ => false,
        }
    }

    /// Whether it is BEGIN or one of its kin.
    pub fn begins_transaction(&self) -> bool {
        matches!(&**self.kind, StatementKind::Sql(ast::Statement::StartTransaction { .. }))
    }
}
