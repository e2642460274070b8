//! JA3 and JA3S (Salesforce, 2017, BSD-3): decimal fields of a hello and their MD5.
//!
//! `version,ciphers,extensions,groups,point formats` of a ClientHello and `version,cipher,extensions` of a ServerHello; lists in
//! the order sent, `-` between values, GREASE left out.

use crate::Ja3;
use crate::fingerprint::{is_grease, md5_hex};
use crate::tls_handshake::{ClientHello, ServerHello};
use std::fmt::Write as _;

/// The string kept beside the hash is cut here: real ones are below 500 bytes, a hostile hello could ask for 60 KiB.
const STRING_MAX: usize = 2048;

/// JA3 of a ClientHello.
#[must_use]
pub fn client(hello: &ClientHello) -> Ja3 {
    let mut s = hello.legacy_version.to_string();
    list(&mut s, &hello.ciphers);
    list(&mut s, &hello.extensions);
    list(&mut s, &hello.groups);
    s.push(',');
    dashed(&mut s, hello.point_formats.iter().map(|f| u16::from(*f)));
    finish(s)
}

/// JA3S of a ServerHello.
#[must_use]
pub fn server(hello: &ServerHello) -> Ja3 {
    let mut s = hello.legacy_version.to_string();
    list(&mut s, &[hello.cipher]);
    list(&mut s, &hello.extensions);
    finish(s)
}

fn list(s: &mut String, values: &[u16]) {
    s.push(',');
    dashed(s, values.iter().copied().filter(|v| !is_grease(*v)));
}

fn dashed(s: &mut String, values: impl Iterator<Item = u16>) {
    for (i, value) in values.enumerate() {
        let dash = if i == 0 { "" } else { "-" };
        let _ = write!(s, "{dash}{value}"); // writing to a String cannot fail
    }
}

fn finish(mut s: String) -> Ja3 {
    let hash = md5_hex(&s).into();
    s.truncate(STRING_MAX);
    Ja3 { hash, string: s.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the JA3 specification's README.
    #[test]
    fn ja3_is_that_of_the_specification_with_grease_left_out() {
        let hello = ClientHello {
            legacy_version: 769,
            ciphers: vec![0x0A0A, 47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: vec![0x1A1A, 0, 10, 11],
            groups: vec![0x2A2A, 23, 24, 25],
            point_formats: vec![0],
            ..ClientHello::default()
        };
        let ja3 = client(&hello);
        assert_eq!(&*ja3.string, "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(&*ja3.hash, "ada70206e40642a3e4461f35503241d5");
    }

    #[test]
    fn missing_extensions_leave_empty_fields() {
        let hello = ClientHello {
            legacy_version: 769,
            ciphers: vec![4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99],
            ..ClientHello::default()
        };
        let ja3 = client(&hello);
        assert_eq!(&*ja3.string, "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(&*ja3.hash, "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn ja3s_is_version_cipher_and_extensions() {
        let hello = ServerHello {
            legacy_version: 769,
            cipher: 47,
            extensions: vec![65281, 0, 11, 35, 5, 16],
            ..ServerHello::default()
        };
        let ja3s = server(&hello);
        assert_eq!(&*ja3s.string, "769,47,65281-0-11-35-5-16");
        assert_eq!(&*ja3s.hash, "836ce314215654b5b1f85f97c73e506f");
    }

    #[test]
    fn an_absurd_hello_keeps_a_bounded_string_and_the_hash_of_all_of_it() {
        let hello = ClientHello { ciphers: vec![0xC0FF; 8000], ..ClientHello::default() };
        let ja3 = client(&hello);
        assert_eq!(ja3.string.len(), STRING_MAX);
        assert_ne!(*ja3.hash, *md5_hex(&ja3.string));
    }
}
