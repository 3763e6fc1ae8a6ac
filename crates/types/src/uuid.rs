//! UUIDs as text.

/// 128 bits as the text of a UUID: 36 characters, lower case.
pub fn uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bits_stand_in_the_text() {
        assert_eq!(
            uuid(0x0a1b_2c3d_0000_1111_2222_3333_4444_5555),
            "0a1b2c3d-0000-1111-2222-333344445555"
        );
    }
}
