//! Names of reverse look-ups (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a lower-case name below `arpa` stands for:
/// `4.3.2.1.in-addr.arpa` is 1.2.3.4. `None` unless it names a whole address.
pub fn reverse_address(text: &str) -> Option<IpAddr> {
    if let Some(labels) = text.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut parts = labels.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = decimal_octet(parts.next()?)?;
        }
        return parts.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let labels = text.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for label in labels.split('.') {
        let [digit] = label.as_bytes() else { return None };
        let digit = char::from(*digit).to_digit(16)?;
        if count == 32 {
            return None;
        }
        bits |= u128::from(digit) << (4 * count);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(bits).into())
}

fn decimal_octet(label: &str) -> Option<u8> {
    let digits = (1..=3).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_digit());
    if digits { label.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_addresses_are_read_and_everything_else_is_not() {
        let v6 = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        let cases = [
            ("4.3.2.1.in-addr.arpa", Some("1.2.3.4")),
            ("2.1.in-addr.arpa", None),
            ("5.4.3.2.1.in-addr.arpa", None),
            ("+4.3.2.1.in-addr.arpa", None),
            ("400.3.2.1.in-addr.arpa", None),
            ("in-addr.arpa", None),
            ("arpa", None),
            (v6, Some("2001:db8::6")),
            (&v6[2..], None),
            ("x.ip6.arpa", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|ip| ip.parse().expect("an address"));
            assert_eq!(reverse_address(text), expected, "{text}");
        }
    }
}
