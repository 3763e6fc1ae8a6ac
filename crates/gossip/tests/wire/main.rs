//! What crosses the network: bytes of real programs, the layers, and streams.

mod golden;
mod layers;
mod streams;

/// Bytes written as hexadecimal digits; anything else between them is skipped.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|b| char::from(b).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
