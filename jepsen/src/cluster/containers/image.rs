//! The image: a binary, and the shared libraries it needs, where `ldd` finds them; nothing else, so that nothing need be pulled.
//!
//! The files are imported as they are, by way of `tar`: to build them from a recipe takes an engine ten times as long.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use futures::{TryStreamExt, stream};
use testcontainers::GenericImage;
use testcontainers::bollard::{Docker, body_stream, query_parameters::CreateImageOptionsBuilder};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};

/// How much is sent at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Builds the image of this name and tag.
///
/// # Errors
/// When a file cannot be read, or the engine refuses.
pub(super) async fn build(engine: &Docker, binary: &Path, name: &str, tag: &str) -> Result<GenericImage> {
    let binary = binary.canonicalize().with_context(|| format!("{} is not there", binary.display()))?;
    let (folder, file) = (binary.parent().context("a file is in a folder")?, binary.file_name().unwrap_or_default());
    let mut tar = Command::new("tar");
    // A library is asked for by the name of a link to it; with what the link leads to under that name, one file is enough.
    tar.args(["--create", "--dereference", "--directory", "/"]);
    tar.args(shared_libraries(&binary)?.iter().map(|path| path.strip_prefix("/").unwrap_or(path)));
    tar.arg("--directory").arg(folder).arg(file);
    let mut tar =
        tar.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().context("tar cannot be run")?;
    let pieces = body_stream(pieces(tar.stdout.take().context("tar has an output")?));
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(name).tag(tag).build();
    let imported = engine.create_image(Some(options), Some(pieces), None).try_collect::<Vec<_>>().await;
    imported.context("the image cannot be imported")?;
    ensure!(tar.wait().await?.success(), "tar failed");
    Ok(GenericImage::new(name, tag).with_entrypoint(&format!("/{}", file.to_string_lossy())))
}

/// What comes out, until its end or an error: which of them it was, the program's status tells.
fn pieces(output: ChildStdout) -> impl stream::Stream<Item = bytes::Bytes> {
    stream::unfold(output, |mut output| async move {
        let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
        match output.read_buf(&mut piece).await {
            Ok(length) if length > 0 => Some((piece.freeze(), output)),
            _ => None,
        }
    })
}

/// What the binary is linked with, the loader among it; nothing, when it is linked statically.
fn shared_libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let output = std::process::Command::new("ldd").arg(binary).output().context("ldd cannot be run")?;
    Ok(paths(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in what `ldd` says: `name => path (address)`, or `path (address)`.
fn paths(said: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    said.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests;
