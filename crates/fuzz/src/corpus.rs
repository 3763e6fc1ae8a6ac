//! The committed inputs: `corpus/<target>/`.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder of a target's inputs.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of a target, in the order of their names.
///
/// # Errors
/// Those of the file system; a missing folder is one.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder(target))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Writes the inputs that a target makes itself.
///
/// # Errors
/// Those of the file system.
pub fn write(target: &str, inputs: &[Vec<u8>]) -> io::Result<()> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    for (number, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("made-{number:02}")), input)?;
    }
    Ok(())
}
