//! The house keeps its own rules: what `ARCHITECTURE.md` and the style promise about the source is a test here.
//!
//! Each rule is one test, and each says where it was broken and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Crates from left to right: a crate may depend on the next one, and on `clock`.
const CHAIN: [&str; 6] = ["pgwire-server", "sql", "txn", "kv", "raft-groups", "clock"];
const MAX_FILE_LINES: usize = 600;
/// Declared so that `cargo run` and `cargo test` select the same features and share one build of everything.
const FEATURE_PIN: (&str, &str) = ("jepsen", "goldenscript");
/// What the list of duplicates is kept for; other systems bring crates of their own.
const HOST: &str = "x86_64-unknown-linux-gnu";
/// What the licence of a dependency may be made of.
const LICENCES: [&str; 17] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "BSL-1.0",
    "CC0-1.0",
    "Unicode-3.0",
    "Unlicense",
    "MPL-2.0",
    "bzip2-1.0.6",
    "CDLA-Permissive-2.0",
];

/// Crates that are built in more than one version, with who holds on to the old one. Each costs build time and code; none is added
/// unless both sides are beyond our reach.
const DUPLICATES: [(&str, &str); 18] = [
    ("base64", "tonic and postgres-protocol are behind arrow and pgwire"),
    ("block-buffer", "by way of digest"),
    ("chrono-tz", "openraft's display-more is behind arrow"),
    ("const-oid", "by way of digest"),
    ("cpufeatures", "by way of sha2"),
    ("crypto-common", "by way of digest"),
    ("digest", "openraft's quorum-set and DataFusion's blake2 are behind DataFusion's sha2"),
    ("foldhash", "by way of hashbrown"),
    ("getrandom", "ring, ahash and rand each stay at one of their own"),
    ("hashbrown", "dashmap, petgraph and quick_cache each stay at one of their own"),
    ("itertools", "prost and object_store are behind DataFusion"),
    ("num-bigint", "bigdecimal is behind arrow"),
    ("phf", "by way of chrono-tz; tokio-postgres is ahead of it"),
    ("phf_shared", "by way of phf"),
    ("rand", "DataFusion is behind openraft and pgwire"),
    ("rand_core", "by way of rand"),
    ("sha2", "openraft's quorum-set is behind DataFusion"),
    ("syn", "half of all procedural macros are behind the other half"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lives one folder below the root").to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata answers")
}

fn files_under(folder: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.map(|entry| entry.expect("the tree is readable")) {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if path.is_dir() && !hidden && entry.file_name() != "target" {
            files_under(&path, extension, out);
        } else if path.extension().is_some_and(|found| found == extension) {
            out.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut out = Vec::new();
    files_under(&root(), "rs", &mut out);
    assert!(out.len() > 10, "the source was not found");
    out.sort();
    out
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[allow(clippy::disallowed_methods, reason = "a test of the source reads the source")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_file_is_too_long_to_see_across() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .map(|(path, lines)| format!("{} has {lines} lines, more than {MAX_FILE_LINES}: split it", path.display()))
        .collect();
    assert_none(&long);
}

#[test]
fn the_root_shows_the_architecture_and_nothing_else() {
    let expected: BTreeSet<&str> = CHAIN
        .into_iter()
        .chain([
            "jepsen",
            "Cargo.toml",
            "Cargo.lock",
            "README.md",
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "LICENSE",
            "target",
        ])
        .collect();
    let surplus: Vec<String> = root()
        .read_dir()
        .expect("the root is readable")
        .map(|entry| entry.expect("the root is readable").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !expected.contains(name.as_str()))
        .collect();
    assert_none(&surplus);
}

#[test]
fn crates_depend_only_to_the_right() {
    let metadata = metadata();
    let ours: BTreeMap<&str, &Package> =
        metadata.workspace_packages().into_iter().map(|package| (package.name.as_str(), package)).collect();
    let mut wrong = Vec::new();
    for (name, package) in &ours {
        if *name == "jepsen" {
            continue;
        }
        let place = CHAIN.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name} is not on the plan"));
        for dependency in &package.dependencies {
            let Some(target) = CHAIN.iter().position(|known| *known == dependency.name) else { continue };
            let skips = target != place + 1 && dependency.name != "clock";
            let assembly = *name == "pgwire-server" && target > place;
            let for_tests = dependency.kind == DependencyKind::Development && target > place;
            if target <= place || (skips && !assembly && !for_tests) {
                wrong.push(format!("{name} may not depend on {}", dependency.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn lower_crates_know_nothing_of_datafusion() {
    let lower = ["clock", "raft-groups", "kv", "txn"];
    let wrong: Vec<String> = metadata()
        .workspace_packages()
        .into_iter()
        .filter(|package| lower.contains(&package.name.as_str()))
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)))
        .filter(|(_, dependency)| dependency.name.starts_with("datafusion") || dependency.name.starts_with("arrow"))
        .map(|(package, dependency)| format!("{} may not see {}", package.name, dependency.name))
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_declared_dependency_is_used() {
    let mut unused = Vec::new();
    for package in metadata().workspace_packages() {
        let mut files = Vec::new();
        files_under(
            package.manifest_path.parent().expect("a manifest lies in a folder").as_std_path(),
            "rs",
            &mut files,
        );
        let text: String = files.iter().map(|path| read(path)).collect();
        for dependency in &package.dependencies {
            if (package.name.as_str(), dependency.name.as_str()) == FEATURE_PIN {
                continue;
            }
            let ident = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            if !text.contains(&format!("{ident}::")) && !text.contains(&format!("use {ident}")) {
                unused.push(format!("{} declares {} and does not use it", package.name, dependency.name));
            }
        }
    }
    assert_none(&unused);
}

#[test]
fn every_licence_is_one_we_may_ship() {
    let allowed = |licence: &str| {
        let any = licence.replace('/', " OR ");
        any.replace(['(', ')'], "")
            .split(" OR ")
            .any(|option| option.split(" AND ").all(|part| LICENCES.contains(&part.trim())))
    };
    let wrong: Vec<String> = metadata()
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(allowed))
        .map(|package| format!("{} {} has licence {:?}", package.name, package.version, package.license))
        .collect();
    assert_none(&wrong);
}

/// The packages that are built for this machine, by way of any of ours, with their versions.
///
/// Metadata would name options of dependencies, too, that nobody takes up.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let mut tree = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(["tree", "--workspace", "--target", HOST, "--edges", "normal,build,dev", "--prefix", "none"]);
    let output = tree.current_dir(root()).output().expect("cargo can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    assert!(versions.len() > 100, "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    versions
}

#[test]
fn no_crate_is_built_twice_without_a_reason() {
    let versions = built();
    let known: BTreeSet<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let twice: BTreeSet<&str> =
        versions.iter().filter(|(_, all)| all.len() > 1).map(|(name, _)| name.as_str()).collect();
    let fresh = twice.difference(&known).map(|name| {
        format!("{name} is built in versions {:?}: agree on one, or say who holds on to which", versions[*name])
    });
    let gone = known.difference(&twice).map(|name| format!("{name} is built once now: strike it from the list"));
    assert_none(&fresh.chain(gone).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_unfinished_in_the_source() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
    ];
    let mut found = Vec::new();
    for path in sources() {
        for (index, line) in read(&path).lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                found.push(format!("{}:{}: {mark}", path.display(), index + 1));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut dead = Vec::new();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = read(&root().join(name));
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default().split('#').next().unwrap_or_default();
            let is_path = !target.is_empty() && !target.contains("://");
            if is_path && !root().join(target).exists() {
                dead.push(format!("{name} links to {target}, which is not there"));
            }
        }
    }
    assert_none(&dead);
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|path| !is_test(path))
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| format!("{} does not begin with a module doc", path.display()))
        .collect();
    assert_none(&silent);
}
