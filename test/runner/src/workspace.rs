//! Where things are: the workspace, and `build/`, which holds all that is made besides cargo's own target directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// The top of the workspace that this program was compiled from.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("the runner lives two directories below the top")
}

/// `build/NAME`, with the directories above it made.
pub fn build(name: &str) -> Outcome<PathBuf> {
    let path = root().join("build").join(name);
    let parent = path.parent().expect("build/NAME has a parent");
    fs::create_dir_all(parent).map_err(|e| format!("cannot make {}: {e}", parent.display()))?;
    Ok(path)
}

/// The log file of one guest or of one host step.
pub fn log(name: &str) -> Outcome<PathBuf> {
    build(&format!("logs/{name}.log"))
}

pub fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

pub fn read_text(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Outcome<()> {
    fs::write(path, content).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
