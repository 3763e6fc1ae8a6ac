//! New inputs out of known ones: cut, repeat, splice, insert words, change bytes.
//!
//! Random bytes alone never get past the first letter of a parser. A word list
//! and real inputs bring them inside.

use crate::choices::Choices;

/// Most bytes of an input: enough for every limit on counts that is worth
/// reaching, and little enough that a slow case is a bug and not its size.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// Numbers and texts that are at the edge of something.
const EDGES: &[&str] = &[
    "",
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "0.1",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "%",
    "%00",
    "%zz",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{130}",
    "\u{1f600}",
    "\u{202e}",
    "'",
    "`",
    "\"",
    "(((((((((((((((((",
    "[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "................",
    "////",
    "../../",
    ";",
    "=",
    "&&",
    "${",
    "{{",
];

/// Makes an input from `seeds` and `words`, as `choices` say.
pub fn mutated(seeds: &[Vec<u8>], words: &[&str], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut input = if seeds.is_empty() { Vec::new() } else { choices.pick(seeds).clone() };
    let rounds = 1 + choices.below(8);
    for _ in 0..rounds {
        if choices.is_empty() {
            break;
        }
        change(&mut input, seeds, words, choices);
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str], choices: &mut Choices<'_>) {
    let at = choices.below(input.len() + 1);
    let len = match choices.below(4) {
        0 => choices.below(input.len() - at + 1),
        _ => choices.below(9).min(input.len() - at),
    };
    let range = at..at + len;
    match choices.below(9) {
        0 => drop(input.drain(range)),
        1 => input.truncate(at),
        2 => {
            let piece = input[range].to_vec();
            let times = 1 + choices.below(40);
            let room = INPUT_BYTES_MAX.saturating_sub(input.len());
            let times = times.min(room / piece.len().max(1));
            input.splice(at..at, piece.repeat(times));
        }
        3 => {
            let byte = choices.byte();
            if let Some(place) = input.get_mut(at) {
                *place ^= byte.max(1);
            }
        }
        4 => {
            let byte = choices.byte();
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
        5 => {
            let word = choices.pick(EDGES).as_bytes();
            input.splice(range, word.iter().copied());
        }
        6 if !seeds.is_empty() => {
            let other = choices.pick(seeds);
            let from = choices.below(other.len() + 1);
            let to = from + choices.below(other.len() - from + 1);
            input.splice(range, other[from..to].iter().copied());
        }
        _ if !words.is_empty() => {
            let replaced = if choices.below(2) == 0 { range } else { at..at };
            let word = choices.pick(words).as_bytes();
            input.splice(replaced, word.iter().copied());
        }
        _ => input.extend((0..len).map(|_| choices.byte())),
    }
}
