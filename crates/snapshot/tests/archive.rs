//! Archives: sound ones come through, all others are refused with what is wrong.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use snapshot::archive::{self, ArchiveError};
use snapshot::{Meta, Record, RecordError, Splitter};

const STATE: &[u8] = b"\x81\xa9LastIndex\x07\x02\x81\xa3Key\xa1a";

/// A member of a handmade tar: name, kind, contents.
type Member = (&'static str, u8, Vec<u8>);

fn meta() -> Vec<u8> {
    format!(
        "{{\"Version\":1,\"ID\":\"2-7-1\",\"Index\":7,\"Term\":2,\"Peers\":\"\",\
         \"Configuration\":{{\"Servers\":null}},\"ConfigurationIndex\":1,\"Size\":{}}}\n",
        STATE.len()
    )
    .into_bytes()
}

fn line(name: &str, contents: &[u8]) -> String {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, contents);
    let hex: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}  {name}\n")
}

fn sums(meta: &[u8], state: &[u8]) -> Vec<u8> {
    [line("meta.json", meta), line("state.bin", state)].concat().into_bytes()
}

fn members() -> Vec<Member> {
    members_of(meta(), STATE.to_vec())
}

fn members_of(meta: Vec<u8>, state: Vec<u8>) -> Vec<Member> {
    let sums = sums(&meta, &state);
    vec![("meta.json", b'0', meta), ("state.bin", b'0', state), ("SHA256SUMS", b'0', sums)]
}

fn header(name: &str, kind: u8, bytes: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(bytes);
    header.as_mut_bytes()[156] = kind;
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, contents) in members {
        bytes.extend(header(name, *kind, contents.len() as u64));
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

fn ended(members: &[Member]) -> Vec<u8> {
    [tar(members), vec![0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("memory takes all");
    gzip.finish().expect("memory takes all")
}

fn read(archive: &[u8]) -> Result<(Meta, Vec<u8>), String> {
    let mut state = Vec::new();
    let meta = archive::read(archive, &mut state).map_err(|error| error.to_string())?;
    Ok((meta, state))
}

#[test]
fn a_handmade_archive_is_read_in_any_order_of_its_members() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let members: Vec<Member> = order.iter().map(|at| members()[*at].clone()).collect();
        let (meta, state) = read(&gzip(&ended(&members))).expect("it is sound");
        assert_eq!((meta.index, meta.term, state.as_slice()), (7, 2, STATE));
    }
    // Go's reader takes the end of the stream for the end of the tar.
    assert!(read(&gzip(&tar(&members()))).is_ok());
    // A size in an extended header, as for files of more than 8 GiB.
    let size = format!("{} size={}\n", 9 + STATE.len().to_string().len(), STATE.len());
    let mut bytes = tar(&[members()[0].clone(), ("x", b'x', size.into_bytes())]);
    bytes.extend(header("state.bin", b'0', 0));
    bytes.extend(STATE);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(ended(&[members()[2].clone()]));
    assert_eq!(read(&gzip(&bytes)).expect("it is sound").1, STATE);
}

/// What is wrong, the archive, and a part of what must be said about it. Where Consul
/// 1.8.7 refuses too, it says the same.
fn damaged() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let sound = gzip(&ended(&members()));
    let (half, last) = (sound.len() / 2, sound.len() - 1);
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let with = |extra: Member| gzip(&ended(&[members(), vec![extra]].concat()));
    let without = |at: usize| {
        let mut members = members();
        members.remove(at);
        gzip(&ended(&members))
    };
    let of_meta = |text: &str| gzip(&ended(&members_of(text.as_bytes().to_vec(), STATE.to_vec())));
    let of_sums = |text: &[u8]| {
        let mut members = members();
        members[2].2 = text.to_vec();
        gzip(&ended(&members))
    };
    let renamed = |name: &'static str| {
        let mut members = members();
        members[0].0 = name;
        gzip(&ended(&members))
    };
    let huge = |name: &str| {
        let bytes = header(name, b'0', 1 << 50);
        gzip(&[bytes, vec![0; 4096]].concat())
    };
    let mut broken_header = ended(&members());
    broken_header[150] ^= 1;
    vec![
        ("nothing", vec![], "failed to decompress snapshot: EOF"),
        ("junk", b"junk".to_vec(), "failed to decompress snapshot: unexpected EOF"),
        (
            "text",
            b"this is no archive".to_vec(),
            "failed to decompress snapshot: gzip: invalid header",
        ),
        ("no tar", gzip(&[7; 2048]), "failed reading snapshot: archive/tar: invalid tar header"),
        ("an empty gzip", gzip(b""), "file missing for \"meta.json\""),
        ("a cut header", sound[..5].to_vec(), "failed to decompress snapshot: unexpected EOF"),
        (
            "a cut body",
            sound[..half].to_vec(),
            "failed to read or write snapshot data: unexpected EOF",
        ),
        ("a cut end", sound[..last].to_vec(), "unexpected EOF"),
        ("another checksum", flipped(sound.len() - 8), "gzip: invalid checksum"),
        ("something behind it", [&sound[..], b"xx"].concat(), "2 bytes follow the end"),
        ("another archive behind it", [&sound[..], &sound[..]].concat(), "bytes follow the end"),
        (
            "something in it",
            gzip(&[ended(&members()), b"xxxx".to_vec()].concat()),
            "4 unread uncompressed bytes remain",
        ),
        (
            "zeroes behind it",
            gzip(&[ended(&members()), vec![0; 9 << 20]].concat()),
            "more than 1048576 unread uncompressed bytes remain",
        ),
        ("a broken tar header", gzip(&broken_header), "archive/tar: invalid tar header"),
        (
            "a fourth file",
            with(("extra", b'0', b"x".to_vec())),
            "unexpected file \"extra\" in snapshot",
        ),
        (
            "a way out",
            with(("../../etc/passwd", b'0', b"x".to_vec())),
            "unexpected file \"../../etc/passwd\" in snapshot",
        ),
        ("a folder", with(("d/", b'5', vec![])), "unexpected file \"d/\" in snapshot"),
        ("an absolute name", renamed("/meta.json"), "unexpected file \"/meta.json\" in snapshot"),
        ("a longer name", renamed("./meta.json"), "unexpected file \"./meta.json\" in snapshot"),
        (
            "a symbolic link",
            gzip(&ended(&[("state.bin", b'2', vec![])])),
            "\"state.bin\" in the snapshot is not a regular file",
        ),
        (
            "a hard link",
            gzip(&ended(&[("meta.json", b'1', vec![])])),
            "\"meta.json\" in the snapshot is not a regular file",
        ),
        (
            "a long name of GNU",
            gzip(&ended(&[("././@LongLink", b'L', vec![b'a'; 4096])])),
            "unexpected file \"././@LongLink\"",
        ),
        ("no meta.json", without(0), "hash check failed for \"meta.json\""),
        ("no state.bin", without(1), "hash check failed for \"state.bin\""),
        ("no SHA256SUMS", without(2), "file missing for \"meta.json\""),
        ("two meta.json", with(members()[0].clone()), "\"meta.json\" is in the snapshot twice"),
        ("two state.bin", with(members()[1].clone()), "\"state.bin\" is in the snapshot twice"),
        ("two SHA256SUMS", with(members()[2].clone()), "\"SHA256SUMS\" is in the snapshot twice"),
        ("another state", of_sums(&sums(&meta(), b"")), "hash check failed for \"state.bin\""),
        ("another meta", of_sums(&sums(b"", STATE)), "hash check failed for \"meta.json\""),
        (
            "one sum",
            of_sums(line("meta.json", &meta()).as_bytes()),
            "file missing for \"state.bin\"",
        ),
        (
            "a third sum",
            of_sums(&[sums(&meta(), STATE), line("other", b"").into_bytes()].concat()),
            "list missing hash for \"other\"",
        ),
        ("sums that are none", of_sums(b"garbage\n"), "SHA256SUMS has a line that is no sum"),
        (
            "short sums",
            of_sums(b"00  meta.json\n00  state.bin\n"),
            "hash check failed for \"meta.json\"",
        ),
        ("sums that are no text", of_sums(b"\xff\xfe"), "SHA256SUMS is no text"),
        ("meta that is no JSON", of_meta("nope"), "failed to decode snapshot metadata: "),
        ("cut meta", of_meta("{\"Version\":"), "failed to decode snapshot metadata: "),
        ("two metas", of_meta("{}{}"), "failed to decode snapshot metadata: "),
        ("a size too small", of_meta("{\"Version\":1,\"Size\":5}"), "size didn't match (20 != 5)"),
        (
            "a size too large",
            of_meta("{\"Version\":1,\"Size\":500000}"),
            "size didn't match (20 != 500000)",
        ),
        (
            "another version",
            of_meta("{\"Version\":9,\"Size\":20}"),
            "unsupported snapshot version 9",
        ),
        (
            "a huge meta",
            huge("meta.json"),
            "\"meta.json\" in the snapshot claims 1125899906842624 bytes, at most 1048576",
        ),
        ("huge sums", huge("SHA256SUMS"), "\"SHA256SUMS\" in the snapshot claims"),
        ("a huge state that is not there", huge("state.bin"), "unexpected EOF"),
        ("a huge extended header", huge_extended(), "an extended header of 1125899906842624 bytes"),
        (
            "a broken extended header",
            gzip(&ended(&[("x", b'x', b"nope".to_vec()), members()[0].clone()])),
            "archive/tar: ",
        ),
    ]
}

fn huge_extended() -> Vec<u8> {
    gzip(&[header("x", b'x', 1 << 50), vec![0; 4096]].concat())
}

#[test]
fn each_damage_is_refused_and_told() {
    for (what, archive, expected) in damaged() {
        let error = read(&archive).expect_err(what);
        assert!(error.contains(expected), "{what}: {error}");
        assert!(error.len() < 400, "{what}: {error}");
    }
}

#[test]
fn a_sound_archive_is_not_sound_when_any_byte_of_its_contents_differs() {
    let bytes = ended(&members());
    // Behind the name, a header has the owner and the time, which mean nothing; its
    // checksum sees to them all the same.
    for at in 0..bytes.len() - 1024 {
        let is_padding = bytes[at] == 0;
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        assert!(is_padding || read(&gzip(&changed)).is_err(), "byte {at}");
    }
}

#[test]
fn a_reader_that_fails_is_no_damage() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable is out"))
        }
    }
    let sound = gzip(&ended(&members()));
    for head in [0, 5, 40] {
        let input = sound[..head].chain(Failing);
        let error = archive::read(input, &mut io::sink()).expect_err("it fails");
        assert!(matches!(&error, ArchiveError::Input(_)), "{error:?}");
        assert_eq!(error.to_string(), "cannot read the snapshot: the cable is out");
    }
}

#[test]
fn a_state_that_is_not_the_same_twice_makes_no_archive() {
    let count = std::cell::Cell::new(0);
    let state = |out: &mut dyn Write| {
        count.set(count.get() + 1);
        out.write_all(&vec![0; count.get()])
    };
    let error = archive::write(Vec::new(), Meta::default(), 0, &state).expect_err("it differs");
    assert_eq!(error.to_string(), "the state changed while it was written");
}

proptest! {
    #[test]
    fn what_is_written_is_read(state in prop::collection::vec(any::<u8>(), 0..5000), repeated in 1usize..40) {
        let state = state.repeat(repeated);
        let mut bytes = Vec::new();
        let mut meta = Meta::default();
        (meta.version, meta.index, meta.term) = (1, 9, 3);
        let written = archive::write(&mut bytes, meta, 1_700_000_000, &|out| out.write_all(&state)).expect("memory takes all");
        prop_assert_eq!(written.size, state.len() as u64);
        let (meta, read) = read(&bytes).expect("it was just written");
        prop_assert_eq!(meta, written);
        prop_assert_eq!(read, state);
        for cut in [0, 1, 17, bytes.len() / 2, bytes.len() - 1] {
            prop_assert!(self::read(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn records_are_the_same_however_the_bytes_come(
        records in prop::collection::vec((0u8..64, prop::collection::vec(any::<u8>(), 0..300)), 0..30),
        pieces in prop::collection::vec(1usize..200, 1..50),
    ) {
        let mut state = b"\x81\xa9LastIndex\x07".to_vec();
        let mut expected = Vec::new();
        for (kind, contents) in &records {
            let mut record = vec![0xda, (contents.len() >> 8) as u8, contents.len() as u8];
            record.extend(contents);
            state.push(*kind);
            state.extend(&record);
            expected.push((*kind, record));
        }
        let mut found = Vec::new();
        let mut splitter = Splitter::new(|record: Record<'_>| -> Result<(), RecordError> {
            if let Record::Of(kind, bytes) = record {
                found.push((kind.0, bytes.to_vec()));
            }
            Ok(())
        });
        let mut rest = state.as_slice();
        for piece in pieces.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*piece));
            splitter.feed(piece).expect("it is sound");
            rest = behind;
            if rest.is_empty() { break; }
        }
        splitter.finish().expect("it is whole");
        prop_assert_eq!(found, expected);
    }
}
