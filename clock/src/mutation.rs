//! Switches that bring known bugs back, to find out whether the tests would catch them.
//!
//! A mutant is chosen for a whole process by the environment variable [`VARIABLE`], and exists in builds with debug assertions
//! only: in a release build [`is`] is the constant `false`, and what it guards is compiled away. Each stands for a line of
//! how such systems have failed before; `jepsen mutants` runs the suite against every one.

/// The environment variable that names the mutant a process is.
pub const VARIABLE: &str = "MERIDIAN_MUTANT";

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $mutant:ident = $name:literal,)+) => {
        /// A known bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[doc = $what])+ $mutant,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$mutant),+];

            /// Its name, as [`VARIABLE`] takes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Mutant::$mutant => $name,)+
                }
            }

            /// What it does wrong.
            pub fn what(self) -> &'static str {
                match self {
                    $(Mutant::$mutant => concat!($($what),+),)+
                }
            }
        }
    };
}

mutants! {
    /// A transaction is acknowledged without commit wait.
    NoCommitWait = "no-commit-wait",
    /// A leaseholder serves whatever its lease covers.
    LeaseNeverEnds = "lease-never-ends",
    /// A lease is acquired before the former one has run out, and may overlap it.
    LeaseOverlaps = "lease-overlaps",
    /// A restarted leaseholder goes on under the lease of its former life.
    LeaseSurvivesRestart = "lease-survives-restart",
    /// A holder whose transfer is on its way goes on serving.
    TransferKeepsServing = "transfer-keeps-serving",
    /// A new leaseholder does not know what the former one has served.
    ReadsForgottenWithLease = "reads-forgotten-with-lease",
    /// Writes may land below reads that were served.
    ReadsNotRemembered = "reads-not-remembered",
    /// The lease is checked when a request arrives, and neither after a wait nor on the timestamp that evaluation has moved to.
    LeaseCheckedOnce = "lease-checked-once",
    /// The push of a transaction without a record is forgotten.
    PushForgotten = "push-forgotten",
    /// A commit that is sent again does not look whether it has taken effect.
    CommitTwice = "commit-twice",
    /// A proposal that nothing was heard of for a while counts as rejected.
    SilenceIsRejection = "silence-is-rejection",
    /// A commit whose answer was lost is reported as failed.
    LostAnswerIsFailure = "lost-answer-is-failure",
    /// The intent of a transaction without a record is taken as aborted.
    MissingRecordIsAbort = "missing-record-is-abort",
    /// Whoever aborts a transaction leaves no tombstone.
    AbortWithoutTombstone = "abort-without-tombstone",
    /// A snapshot moves forward without its reads being verified.
    RefreshSkipped = "refresh-skipped",
    /// Reads and refreshes below the garbage collection threshold are answered.
    ThresholdUnchecked = "threshold-unchecked",
    /// A scan that goes on after a page skips a row.
    PageSkipsRow = "page-skips-row",
    /// The log answers before it has synced.
    AnswerBeforeSync = "answer-before-sync",
    /// A vote is acknowledged, and not written.
    VoteForgotten = "vote-forgotten",
    /// Commands are applied whatever lease they were evaluated under.
    LeaseSequenceIgnored = "lease-sequence-ignored",
    /// A snapshot is installed over a range whose split is still to be applied.
    SnapshotOverSplit = "snapshot-over-split",
    /// A split leaves the data of its right side over where a replica of that is just coming into being by a message.
    SplitPassesStarting = "split-passes-starting",
    /// Locking reads take no lock, and do not look for newer versions.
    LocksNotTaken = "locks-not-taken",
    /// Readers pass over the intents of others, however far below them.
    IntentPassedOver = "intent-passed-over",
    /// Readers take uncertain versions for later ones: those of relaxed transactions alone are uncertain, since whoever waits for
    /// its commit is acknowledged below every later reader.
    UncertaintyIgnored = "uncertainty-ignored",
    /// Garbage collection removes the newest version at or below its threshold, too.
    NewestIsGarbage = "newest-is-garbage",
    /// Entries are applied before this node's log has synced them.
    AppliedBeforeSync = "applied-before-sync",
    /// Records of a batch that was torn by a power loss are taken as they are.
    TornTailKept = "torn-tail-kept",
    /// What is applied, and so every snapshot, keeps the membership that its group began with.
    MembershipForgotten = "membership-forgotten",
    /// A coordinator that stalled for longer than records are kept creates one all the same, since its snapshot is young.
    RetentionFromSnapshot = "retention-from-snapshot",
    /// The record of a commit is forgotten although intents that it names are not resolved.
    RecordBeforeIntents = "record-before-intents",
    /// One replica skips a write now and then.
    ReplicaDiverges = "replica-diverges",
    /// ALTER waits for no other node to know of a change before it goes on.
    AlterWaitsForNobody = "alter-waits-for-nobody",
}

/// Whether this process is the mutant.
#[cfg(debug_assertions)]
pub fn is(mutant: Mutant) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let found = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
        assert!(found.is_some(), "{VARIABLE} names no mutant: {name}");
        found
    });
    *chosen == Some(mutant)
}

/// Whether this process is the mutant: never, in a build without debug assertions.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn is(_mutant: Mutant) -> bool {
    false
}
