//! The coordinator as a whole: golden scripts on serial ranges.

mod concurrency;
mod script;

use std::path::PathBuf;

/// Every script under `tests/scripts`, each on ranges of its own.
fn run_script(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
    let mut runner = script::Runner::new();
    goldenscript::run(&mut runner, path).unwrap_or_else(|error| panic!("script {name}: {error}"));
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            run_script(stringify!($name));
        })*

        #[test]
        #[allow(clippy::disallowed_methods, reason = "tests look at their own scripts")]
        fn every_script_is_run() {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
            let known = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(folder).expect("the scripts are there") {
                let name = entry.expect("the folder can be read").file_name().into_string().expect("names are text");
                assert!(known.contains(&name.as_str()), "script {name} is never run");
            }
        }
    };
}

scripts! {
    ambiguous_commit,
    as_of,
    bulk_load,
    commit_wait,
    heartbeat,
    one_phase_commit,
    own_writes,
    refresh,
    relaxed,
    restart,
    rollback,
    savepoints,
    spill,
    statement_retry,
    two_phase_commit,
}
