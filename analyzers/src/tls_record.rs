//! TLS records: their headers, and how a stream of them is told from other streams.
//!
//! In: bytes of one direction. Out: headers ([`Header`]), and whether the bytes open a handshake ([`is_hello`], [`Ssl2Hello`]) or lie in
//! the middle of a connection ([`is_midstream`]). RFC 8446 section 5.1, RFC 5246 section 6.2.

use crate::tls_handshake::{message, version};
use crate::{Reader, Short};

/// Record types (RFC 8446 section 5.1, RFC 6520).
pub mod content {
    #![allow(missing_docs)] // the names are the documentation
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// 2^14 bytes and what TLS 1.2 lets encryption add (RFC 5246 section 6.2.3).
const RECORD_MAX: u16 = 16_384 + 2_048;
/// The least that encrypts a byte: a tag of 16 and the inner type (RFC 8446 section 5.2).
const ENCRYPTED_MIN: u16 = 17;
/// Version, random, empty session id, one suite, null compression.
const CLIENT_HELLO_MIN: u32 = 41;
/// Version, random, empty session id, suite, compression.
const SERVER_HELLO_MIN: u32 = 38;

/// One record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`content`].
    pub kind: u8,
    /// The version field, SSL 3.0 to TLS 1.3.
    pub version: u16,
    /// Bytes behind the header, at most 18,432.
    pub length: u16,
}

impl Header {
    /// Reads a header; `Ok(None)` if it is none of TLS's.
    ///
    /// # Errors
    /// [`Short`] while it is not all there.
    pub fn parse(r: &mut Reader<'_>) -> Result<Option<Self>, Short> {
        let header = Self { kind: r.u8()?, version: r.u16()?, length: r.u16()? };
        let known = matches!(header.kind, content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT)
            && matches!(header.version, version::SSL_3_0..=version::TLS_1_3)
            && header.length <= RECORD_MAX;
        Ok(known.then_some(header))
    }
}

/// Whether records start with the head of a hello: type, length and version.
///
/// # Errors
/// [`Short`] while that cannot be told.
pub fn is_hello(data: &[u8]) -> Result<bool, Short> {
    let mut r = Reader::new(data);
    let mut head = [0; 6];
    let mut left = 0;
    for slot in &mut head {
        if left == 0 {
            // Even the head may be spread over records, by clients that hide from those who do not expect it.
            match Header::parse(&mut r)? {
                Some(Header { kind: content::HANDSHAKE, length: length @ 1.., .. }) => left = length,
                _ => return Ok(false),
            }
        }
        *slot = r.u8()?;
        left = left.saturating_sub(1);
    }
    let [kind, l0, l1, l2, v0, v1] = head;
    let length = u32::from_be_bytes([0, l0, l1, l2]);
    let shortest = match kind {
        message::CLIENT_HELLO => CLIENT_HELLO_MIN,
        message::SERVER_HELLO => SERVER_HELLO_MIN,
        _ => return Ok(false),
    };
    let hello_version = u16::from_be_bytes([v0, v1]);
    Ok((shortest..1 << 16).contains(&length) && matches!(hello_version, version::SSL_3_0..=version::TLS_1_3))
}

/// Whether data starts with two chained records of one version, the first of application data.
///
/// # Errors
/// [`Short`] while that cannot be told.
pub fn is_midstream(data: &[u8]) -> Result<bool, Short> {
    let mut r = Reader::new(data);
    let Some(first) = Header::parse(&mut r)? else { return Ok(false) };
    if first.length < ENCRYPTED_MIN {
        return Ok(false);
    }
    r.skip(usize::from(first.length))?;
    let second = Header::parse(&mut r)?;
    Ok(second
        .is_some_and(|s| s.version == first.version && s.length >= ENCRYPTED_MIN && s.kind >= content::ALERT))
}

/// First byte of a two-byte SSL 2.0 record header of less than 256 bytes.
pub const SSL2_LENGTH_FLAG: u8 = 0x80;

/// A hello in SSL 2.0's frame that offers SSL 3.0 or newer (RFC 5246 appendix E.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssl2Hello {
    /// The newest version offered.
    pub version: u16,
    /// Bytes of the frame.
    pub length: usize,
}

impl Ssl2Hello {
    /// Reads such a hello; `Ok(None)` if it is none.
    ///
    /// # Errors
    /// [`Short`] while it is not all there.
    pub fn parse(data: &[u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let [flag, length, kind] = r.array()?;
        let (version, ciphers, session, challenge) = (r.u16()?, r.u16()?, r.u16()?, r.u16()?);
        let sum = [9, ciphers, session, challenge].into_iter().fold(0u16, u16::saturating_add);
        let known = flag == SSL2_LENGTH_FLAG
            && kind == message::CLIENT_HELLO
            && matches!(version, version::SSL_3_0..=version::TLS_1_2)
            && ciphers > 0
            && ciphers.is_multiple_of(3)
            && matches!(session, 0 | 16)
            && matches!(challenge, 16..=32)
            && sum == u16::from(length);
        if !known {
            return Ok(None);
        }
        r.skip(usize::from(length).saturating_sub(9))?;
        Ok(Some(Self { version, length: r.taken() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 11] = [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    const DATA: [u8; 27] = {
        let mut bytes = [0xA5; 27];
        let header = [23, 3, 3, 0, 17];
        let mut i = 0;
        while i < 5 {
            bytes[i] = header[i];
            bytes[22 + i] = header[i];
            i += 1;
        }
        bytes
    };

    #[test]
    fn a_hello_is_told_at_its_version_and_not_before() {
        for n in 0..HELLO.len() {
            assert_eq!(is_hello(&HELLO[..n]), Err(Short), "{n} bytes");
        }
        assert_eq!(is_hello(&HELLO), Ok(true));
    }

    #[test]
    fn a_wrong_byte_anywhere_is_no_hello() {
        for (at, value) in [(0, 20), (1, 2), (2, 5), (3, 0x80), (5, 7), (6, 1), (8, 3), (9, 2), (10, 9)] {
            let mut bytes = HELLO;
            bytes[at] = value;
            assert_ne!(is_hello(&bytes), Ok(true), "byte {at} is {value}");
        }
    }

    #[test]
    fn a_head_in_records_of_one_byte_is_a_hello() {
        let bytes: Vec<u8> = HELLO[5..].iter().flat_map(|b| [22, 3, 1, 0, 1, *b]).collect();
        assert_eq!(is_hello(&bytes), Ok(true));
    }

    #[test]
    fn one_record_of_data_is_not_enough_and_two_of_one_version_are() {
        assert_eq!(is_midstream(&DATA[..26]), Err(Short));
        assert_eq!(is_midstream(&DATA), Ok(true));
        let mut other_version = DATA;
        other_version[24] = 1;
        assert_eq!(is_midstream(&other_version), Ok(false));
        let mut too_small_for_a_tag = DATA;
        too_small_for_a_tag[4] = 16;
        assert_eq!(is_midstream(&too_small_for_a_tag), Ok(false));
    }

    #[test]
    fn a_hello_in_ssl2_frame_needs_lengths_that_add_up() {
        let mut hello = [1; 33];
        hello[..11].copy_from_slice(&[0x80, 31, 1, 3, 1, 0, 6, 0, 0, 0, 16]);
        assert_eq!(Ssl2Hello::parse(&hello), Ok(Some(Ssl2Hello { version: version::TLS_1_0, length: 33 })));
        assert_eq!(Ssl2Hello::parse(&hello[..32]), Err(Short));
        hello[1] = 32;
        assert_eq!(Ssl2Hello::parse(&hello), Ok(None));
    }
}
