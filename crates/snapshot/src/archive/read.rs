//! Reading an archive.

use std::io::{Read, Write};

use aws_lc_rs::digest::{Context, Digest, SHA256};

use super::error::ArchiveError;
use super::untar::{Member, Untar};
use super::{BUFFER_BYTES, META, META_BYTES_MAX, STATE, SUMS, SUMS_BYTES_MAX};
use crate::meta::Meta;

/// Reads an archive to its end and writes its `state.bin` to `state`. Only when this
/// returns what the archive is of, all of it was sound. The members may come in any
/// order, as Consul takes them.
///
/// # Errors
/// See [`ArchiveError`].
pub fn read(input: impl Read, state: &mut dyn Write) -> Result<Meta, ArchiveError> {
    let mut tar = Untar::open(input)?;
    let mut found = Found::default();
    while let Some(member) = tar.next()? {
        found.take(&member, &mut tar, state)?;
    }
    let meta = found.check()?;
    tar.finish()?;
    Ok(meta)
}

#[derive(Default)]
struct Found {
    meta: Option<(Vec<u8>, Digest)>,
    state: Option<(u64, Digest)>,
    sums: Option<Vec<u8>>,
}

impl Found {
    fn take<R: Read>(
        &mut self,
        member: &Member,
        tar: &mut Untar<R>,
        state: &mut dyn Write,
    ) -> Result<(), ArchiveError> {
        let (name, is_second) = match member.name.as_str() {
            META => (META, self.meta.is_some()),
            STATE => (STATE, self.state.is_some()),
            SUMS => (SUMS, self.sums.is_some()),
            other => return Err(ArchiveError::Unexpected { name: other.to_owned() }),
        };
        if !member.is_regular {
            return Err(ArchiveError::NotRegular { name: name.to_owned() });
        }
        if is_second {
            return Err(ArchiveError::Twice { name });
        }
        match name {
            META => {
                let bytes = whole(META, member.bytes, META_BYTES_MAX, tar)?;
                let mut sum = Context::new(&SHA256);
                sum.update(&bytes);
                // What is no description makes all else meaningless; the sums come last.
                decode_meta(&bytes)?;
                self.meta = Some((bytes, sum.finish()));
            }
            SUMS => self.sums = Some(whole(SUMS, member.bytes, SUMS_BYTES_MAX, tar)?),
            _ => {
                let mut sum = Context::new(&SHA256);
                let mut buffer = vec![0; BUFFER_BYTES];
                loop {
                    let count = tar.read(&mut buffer)?;
                    if count == 0 {
                        break;
                    }
                    sum.update(&buffer[..count]);
                    state.write_all(&buffer[..count]).map_err(ArchiveError::State)?;
                }
                self.state = Some((member.bytes, sum.finish()));
            }
        }
        Ok(())
    }

    /// Everything was there, and is what the sums say.
    fn check(self) -> Result<Meta, ArchiveError> {
        let mut wanted = [
            (META, self.meta.as_ref().map(|(_, sum)| *sum), false),
            (STATE, self.state.map(|(_, sum)| sum), false),
        ];
        let sums = self.sums.unwrap_or_default();
        let sums = std::str::from_utf8(&sums)
            .map_err(|_| ArchiveError::Sums("SHA256SUMS is no text".to_owned()))?;
        for line in sums.lines().filter(|line| !line.is_empty()) {
            let (hex, name) = parse_sum(line)?;
            let Some((name, sum, is_listed)) = wanted.iter_mut().find(|(known, ..)| *known == name)
            else {
                return Err(ArchiveError::Sums(format!("list missing hash for {name:?}")));
            };
            *is_listed = true;
            let is_equal = sum.as_ref().is_some_and(|sum| is_hex_of(hex, sum.as_ref()));
            if !is_equal {
                return Err(ArchiveError::SumDiffers { name });
            }
        }
        if let Some((name, ..)) = wanted.iter().find(|(_, _, is_listed)| !is_listed) {
            return Err(ArchiveError::SumMissing { name });
        }
        let (Some((meta, _)), Some((found, _))) = (self.meta, self.state) else {
            unreachable!("a sum that is equal is that of a file");
        };
        let meta = decode_meta(&meta)?;
        if !meta.is_readable() {
            return Err(ArchiveError::Version(meta.version));
        }
        if meta.size != found {
            return Err(ArchiveError::Size { found, told: meta.size });
        }
        Ok(meta)
    }
}

fn decode_meta(bytes: &[u8]) -> Result<Meta, ArchiveError> {
    Meta::decode(bytes).map_err(|error| {
        // An error may show what it found, which may be long.
        ArchiveError::Meta(error.to_string().chars().take(200).collect())
    })
}

fn whole<R: Read>(
    name: &'static str,
    bytes: u64,
    most: u64,
    tar: &mut Untar<R>,
) -> Result<Vec<u8>, ArchiveError> {
    if bytes > most {
        return Err(ArchiveError::TooLarge { name, bytes, most });
    }
    let mut whole = vec![0; bytes as usize];
    tar.read(&mut whole)?;
    Ok(whole)
}

/// `<64 digits>  <name>`, as `sha256sum` writes it.
fn parse_sum(line: &str) -> Result<(&str, &str), ArchiveError> {
    let mut words = line.split_ascii_whitespace();
    let (hex, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let is_hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || name.is_empty() || words.next().is_some() {
        let line: String = line.chars().take(100).collect();
        return Err(ArchiveError::Sums(format!("SHA256SUMS has a line that is no sum: {line:?}")));
    }
    Ok((hex, name))
}

fn is_hex_of(hex: &str, bytes: &[u8]) -> bool {
    hex.len() == 2 * bytes.len()
        && bytes.iter().zip(hex.as_bytes().chunks(2)).all(|(byte, digits)| {
            let digits = std::str::from_utf8(digits).ok();
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) == Some(*byte)
        })
}
