//! Stories of requests on one range: scripts (`tests/scripts/concurrency`), leases, replay.

mod blocked;
mod hot_row;
mod lease;
mod script;

#[test]
fn scripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/concurrency");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the scripts are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    paths.sort();
    for path in paths {
        let told = goldenscript::run(&mut script::Runner::new(), &path);
        told.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
