//! Archives of snapshots: a sound one, or a word about what is wrong.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use snapshot::archive;

use super::assert_says;

/// Checks the input as an archive, and as what stands in one.
pub(super) fn check(input: &[u8]) {
    check_read(input);
    check_read(&gzip(input));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("memory takes all");
    gzip.finish().expect("memory takes all")
}

fn check_read(input: &[u8]) {
    let mut state = Vec::new();
    match archive::read(input, &mut state) {
        Err(error) => assert_says(&error.to_string(), input.len()),
        Ok(meta) => {
            assert_eq!(meta.size, state.len() as u64);
            let mut again = Vec::new();
            let written = archive::write(&mut again, meta.clone(), 0, &|out| out.write_all(&state));
            written.expect("memory takes all");
            let mut same = Vec::new();
            let read = archive::read(again.as_slice(), &mut same).expect("it was just written");
            assert_eq!((read.index, same), (meta.index, state));
        }
    }
}

/// An archive, and the tar in it.
pub(super) fn made() -> Vec<Vec<u8>> {
    let mut meta = snapshot::Meta::default();
    (meta.version, meta.index, meta.term) = (1, 7, 2);
    let mut sound = Vec::new();
    let state = b"\x81\xa9LastIndex\x07\x02\x81\xa3Key\xa1a";
    archive::write(&mut sound, meta, 0, &|out| out.write_all(state)).expect("memory takes all");
    let mut tar = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(sound.as_slice()), &mut tar)
        .expect("it was just written");
    vec![sound, tar]
}
