//! Fingerprints of handshakes: JA3 and JA3S, JA4 (TLS client), HASSH.
//!
//! In: parsed hellos. Out: the strings that lists of known fingerprints hold, so the recipes are followed to the letter.

use md5::{Digest, Md5};

pub mod hassh;
pub mod ja3;
pub mod ja4;

/// Lower-case hex of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Lower-case hex of `bytes` with a colon between them, as certificates' fingerprints are printed.
#[must_use]
pub fn hex_colons(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(3));
    for b in bytes {
        if !text.is_empty() {
            text.push(':');
        }
        text.push(digit(b >> 4));
        text.push(digit(b & 15));
    }
    text
}

/// MD5 of `text` as 32 hex digits, as JA3 and HASSH print it.
#[must_use]
pub fn md5_hex(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// Whether `value` is reserved to be ignored (RFC 8701: 0x0a0a, 0x1a1a, … 0xfafa): cipher suites, extensions, groups, versions.
#[must_use]
pub const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0F == 0x0A
}

fn digit(n: u8) -> char {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    DIGITS.get(usize::from(n)).map_or('0', |d| char::from(*d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_prints_as_in_rfc_1321() {
        assert_eq!(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn colons_stand_between_bytes_only() {
        assert_eq!(hex_colons(&[]), "");
        assert_eq!(hex_colons(&[0x0A, 0xFF, 0x00]), "0a:ff:00");
    }

    #[test]
    fn grease_is_the_sixteen_values_of_rfc_8701_and_no_neighbour() {
        let found: Vec<u16> = (0..=u16::MAX).filter(|v| is_grease(*v)).collect();
        assert_eq!(found.len(), 16);
        assert_eq!((found[0], found[15]), (0x0A0A, 0xFAFA));
        assert!(!is_grease(0x0A1A) && !is_grease(0x0B0B));
    }
}
