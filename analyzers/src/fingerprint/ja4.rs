//! JA4, the TLS client fingerprint of FoxIO (2023, BSD-3): `t13d1516h2_8daaf6152771_e5627efa2ab1`.
//!
//! In: a ClientHello and what it came over. Out: transport, version, SNI or not, counts and first ALPN in clear, then truncated
//! SHA-256 of the sorted cipher suites, and of the sorted extensions with the signature algorithms. Only this part of JA4+ is
//! free of FoxIO's own licence.

use crate::fingerprint::{hex, is_grease};
use crate::tls_handshake::{ClientHello, version};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// What a hello came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A stream.
    Tcp,
    /// QUIC's CRYPTO frames.
    Quic,
    /// DTLS.
    Dtls,
}

/// Extensions that the first part tells already, so that the last part is the same for every server name.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// A part over an empty list.
const EMPTY: &str = "000000000000";
/// Hex digits kept of a SHA-256.
const HASH_DIGITS: usize = 12;
/// Highest count that two digits print.
const COUNT_MAX: usize = 99;

/// JA4 of a ClientHello.
#[must_use]
pub fn client(hello: &ClientHello, over: Over) -> Box<str> {
    let mut ciphers = without_grease(&hello.ciphers);
    let mut extensions = without_grease(&hello.extensions);
    let letter = match over {
        Over::Tcp => 't',
        Over::Quic => 'q',
        Over::Dtls => 'd',
    };
    let target = if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let (n_ciphers, n_extensions) = (ciphers.len().min(COUNT_MAX), extensions.len().min(COUNT_MAX));
    let (first, last) = alpn_ends(&hello.first_alpn);
    let mut ja4 = format!(
        "{letter}{}{target}{n_ciphers:02}{n_extensions:02}{first}{last}_",
        version_text(hello.highest_version())
    );

    ciphers.sort_unstable();
    ja4.push_str(&part(&comma(&ciphers)));
    ja4.push('_');

    extensions.retain(|e| *e != SERVER_NAME && *e != ALPN);
    extensions.sort_unstable();
    let mut list = comma(&extensions);
    let algorithms = without_grease(&hello.signature_algorithms);
    if !algorithms.is_empty() && !list.is_empty() {
        list.push('_');
        list.push_str(&comma(&algorithms));
    }
    ja4.push_str(&part(&list));
    ja4.into()
}

fn without_grease(values: &[u16]) -> Vec<u16> {
    values.iter().copied().filter(|v| !is_grease(*v)).collect()
}

fn comma(values: &[u16]) -> String {
    let mut s = String::with_capacity(values.len().saturating_mul(5));
    for (i, value) in values.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(s, "{comma}{value:04x}"); // writing to a String cannot fail
    }
    s
}

fn part(list: &str) -> String {
    if list.is_empty() {
        return EMPTY.into();
    }
    let mut digits = hex(&Sha256::digest(list.as_bytes()));
    digits.truncate(HASH_DIGITS);
    digits
}

const fn version_text(v: u16) -> &'static str {
    match v {
        version::TLS_1_3 => "13",
        version::TLS_1_2 => "12",
        version::TLS_1_1 => "11",
        version::TLS_1_0 => "10",
        version::SSL_3_0 => "s3",
        version::SSL_2_0 => "s2",
        version::DTLS_1_0 => "d1",
        version::DTLS_1_2 => "d2",
        version::DTLS_1_3 => "d3",
        _ => "00",
    }
}

/// First and last character of the first ALPN value, or of its hex where either is no letter or digit.
fn alpn_ends(alpn: &[u8]) -> (char, char) {
    let (Some(&first), Some(&last)) = (alpn.first(), alpn.last()) else { return ('0', '0') };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return (char::from(first), char::from(last));
    }
    let digits = hex(&[first, last]);
    (digits.chars().next().unwrap_or('0'), digits.chars().last().unwrap_or('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    fn example() -> ClientHello {
        ClientHello {
            legacy_version: 0x0303,
            ciphers: vec![
                0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013,
                0xC014, 0x009C, 0x009D, 0x002F, 0x0035,
            ],
            extensions: vec![
                0x3A3A, 0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023,
                0x0012, 0x002B, 0xFF01, 0x000B, 0x000A, 0x0015,
            ],
            signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            supported_versions: vec![0x4A4A, 0x0304, 0x0303],
            first_alpn: (*b"h2").into(),
            ..ClientHello::default()
        }
    }

    #[test]
    fn ja4_is_that_of_the_specification() {
        assert_eq!(&*client(&example(), Over::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(&*client(&example(), Over::Quic), "q13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn without_signature_algorithms_the_last_part_has_no_underscore() {
        let hello = ClientHello { signature_algorithms: vec![], ..example() };
        assert_eq!(&*client(&hello, Over::Tcp), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn nothing_to_hash_is_twelve_zeros_and_an_unknown_version_00() {
        let hello = ClientHello { legacy_version: 0x7F00, ..ClientHello::default() };
        assert_eq!(&*client(&hello, Over::Dtls), "d00i000000_000000000000_000000000000");
    }

    #[test]
    fn more_than_99_suites_count_as_99() {
        let hello = ClientHello { ciphers: vec![0xC02B; 120], ..example() };
        assert!(client(&hello, Over::Tcp).starts_with("t13d9916h2_"));
    }

    #[test]
    fn alpn_ends_follow_the_specification_table() {
        let cases: [(&[u8], (char, char)); 9] = [
            (b"", ('0', '0')),
            (b"h2", ('h', '2')),
            (b"http/1.1", ('h', '1')),
            (b"x", ('x', 'x')),
            (&[0xAB], ('a', 'b')),
            (&[0xAB, 0xCD], ('a', 'd')),
            (&[0x30, 0xAB], ('3', 'b')),
            (&[0x30, 0x31, 0xAB, 0xCD], ('3', 'd')),
            (&[0x30, 0xAB, 0xCD, 0x31], ('0', '1')),
        ];
        for (alpn, want) in cases {
            assert_eq!(alpn_ends(alpn), want, "ALPN {alpn:02x?}");
        }
    }
}
