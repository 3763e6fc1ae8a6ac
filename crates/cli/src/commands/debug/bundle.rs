//! The folder that things are gathered in, and the archive made of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

/// A folder.
pub(super) struct Bundle {
    folder: PathBuf,
}

impl Bundle {
    /// Makes the folder, which must not be there yet. Only its owner can read it: logs
    /// and configurations tell much.
    pub(super) fn create(folder: &str) -> Result<Self, String> {
        if Path::new(folder).exists() {
            return Err(format!("output directory already exists: {folder}"));
        }
        make_folder(Path::new(folder))
            .map_err(|error| format!("could not create output directory: {folder}: {error}"))?;
        Ok(Self { folder: folder.into() })
    }

    /// Makes a folder inside of it.
    pub(super) fn make_folder(&self, name: &str) -> io::Result<()> {
        make_folder(&self.folder.join(name))
    }

    /// Opens a file inside of it, to be written.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).open(self.folder.join(name))
    }

    /// Writes a file inside of it.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(content)
    }

    /// Writes JSON, indented by tabs.
    pub(super) fn write_json(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let mut text = Vec::new();
        let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, layout))?;
        self.write(name, &text)
    }

    /// Packs the folder into `<folder>.tar.gz`, removes it, and tells the archive's name.
    pub(super) fn pack(&self) -> io::Result<String> {
        let archive = format!("{}.tar.gz", self.folder.display());
        let mut options = OpenOptions::new();
        let file = options.create_new(true).write(true).mode(0o600).open(&archive)?;
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let inside = self.folder.file_name().map_or_else(|| "debug".into(), PathBuf::from);
        tar.append_dir_all(inside, &self.folder)?;
        tar.into_inner()?.finish()?.sync_all()?;
        fs::remove_dir_all(&self.folder)?;
        Ok(archive)
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_bundle_becomes_an_archive_and_its_folder_goes() {
        let place = tempfile::tempdir().expect("there is room");
        let folder = place.path().join("bundle");
        let folder = folder.to_str().expect("it is text");
        let bundle = Bundle::create(folder).expect("there is none");
        let error = Bundle::create(folder).err();
        assert_eq!(error, Some(format!("output directory already exists: {folder}")));
        bundle.write_json("index.json", &["a"]).expect("there is room");
        bundle.make_folder("sub").expect("there is none");
        bundle.write("sub/x", b"1").expect("there is room");
        bundle.write("sub/x", b"2").expect("there is room");

        let archive = bundle.pack().expect("there is room");
        assert_eq!(archive, format!("{folder}.tar.gz"));
        assert!(!Path::new(folder).exists());
        let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive).expect("it is there")));
        let mut found = Vec::new();
        for entry in tar.entries().expect("it is an archive") {
            let mut entry = entry.expect("it is whole");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("it is text");
            found.push((entry.path().expect("it has one").display().to_string(), text));
        }
        found.sort();
        let expected = [
            ("bundle/", ""),
            ("bundle/index.json", "[\n\t\"a\"\n]"),
            ("bundle/sub", ""),
            ("bundle/sub/x", "12"),
        ];
        let found: Vec<(&str, &str)> =
            found.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
        assert_eq!(
            found.iter().map(|(p, t)| (trimmed(p), *t)).collect::<Vec<_>>(),
            expected.map(|(p, t)| (trimmed(p), t))
        );
    }
}
