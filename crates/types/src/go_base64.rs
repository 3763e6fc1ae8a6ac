//! Standard base64 as Go decodes it: what stands before a mistake counts, and
//! the mistake is told by its position.

/// Decodes a text. Beside the bytes up to the first mistake, gives Go's
/// complaint if there is one. Line breaks are skipped.
pub fn decode(text: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut quantum: Vec<u8> = Vec::with_capacity(4);
    let mut position = 0;
    let corrupt = |position: usize| Some(format!("illegal base64 data at input byte {position}"));
    while position < text.len() {
        let byte = text[position];
        match (byte, value(byte)) {
            (b'\r' | b'\n', _) => {}
            (b'=', _) => {
                return match padding(text, position, quantum.len()) {
                    Ok(()) => {
                        flush(&quantum, &mut out);
                        (out, None)
                    }
                    Err(position) => (out, corrupt(position)),
                };
            }
            (_, None) => return (out, corrupt(position)),
            (_, Some(value)) => {
                quantum.push(value);
                if quantum.len() == 4 {
                    flush(&quantum, &mut out);
                    quantum.clear();
                }
            }
        }
        position += 1;
    }
    let complaint = if quantum.is_empty() { None } else { corrupt(position - quantum.len()) };
    (out, complaint)
}

/// Looks at the padding that begins at `first` behind `digits` digits of the
/// last four. Gives the position of the mistake.
fn padding(text: &[u8], first: usize, digits: usize) -> Result<(), usize> {
    let mut rest = (first + 1..text.len()).filter(|&at| !matches!(text[at], b'\r' | b'\n'));
    match digits {
        2 => match rest.next() {
            Some(second) if text[second] == b'=' => {}
            Some(second) => return Err(second),
            None => return Err(text.len()),
        },
        3 => {}
        _ => return Err(first),
    }
    rest.next().map_or(Ok(()), Err)
}

fn flush(digits: &[u8], out: &mut Vec<u8>) {
    let word = digits.iter().fold(0_u32, |word, digit| word << 6 | u32::from(*digit));
    let word = word << (6 * (4 - digits.len()));
    let bytes = word.to_be_bytes();
    out.extend_from_slice(&bytes[1..digits.len()]);
}

fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_agrees_with_the_encoder(bytes: Vec<u8>) {
            let text = STANDARD.encode(&bytes);
            proptest::prop_assert_eq!(decode(text.as_bytes()), (bytes, None));
        }

        #[test]
        fn it_refuses_what_others_refuse(text in "[A-Da-d0-3+/=*]{0,9}") {
            let (_, complaint) = decode(text.as_bytes());
            // Go looks at no bits behind the last byte, nor do the lenient settings here.
            let config = base64::engine::GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true);
            let lenient = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
            proptest::prop_assert_eq!(complaint.is_none(), lenient.decode(&text).is_ok());
        }
    }

    #[test]
    fn mistakes_are_told_by_their_position() {
        for (text, bytes, position) in [
            ("aGVsbG8=", "hello", None),
            ("aGVs\nbG8=\n", "hello", None),
            ("", "", None),
            ("YQ==", "a", None),
            ("***", "", Some(0)),
            ("xyz", "", Some(0)),
            ("aGVsb", "hel", Some(4)),
            ("YQ=", "", Some(3)),
            ("YQ=x", "", Some(3)),
            ("YQ==x", "", Some(4)),
            ("=", "", Some(0)),
        ] {
            let complaint =
                position.map(|at: usize| format!("illegal base64 data at input byte {at}"));
            assert_eq!(decode(text.as_bytes()), (bytes.as_bytes().to_vec(), complaint), "{text}");
        }
    }
}
