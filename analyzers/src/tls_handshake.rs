//! TLS handshake messages, shared by all that carry them: TLS records, QUIC's CRYPTO frames, DTLS.
//!
//! In: bytes of a handshake, in any cut ([`Messages`]) or as whole message bodies. Out: [`ClientHello`], [`ServerHello`] and the
//! leaf certificate's DER ([`leaf`]), and their facts for a flow's record. RFC 8446 section 4, RFC 5246 section 7.4.

use crate::fingerprint::{is_grease, ja3, ja4};
use crate::{Reader, Short, Tls};

/// Message types (RFC 8446 section 4, RFC 5246 section 7.4).
pub mod message {
    /// The client's opening.
    pub const CLIENT_HELLO: u8 = 1;
    /// The server's answer.
    pub const SERVER_HELLO: u8 = 2;
    /// DTLS: the server asks for the hello again with a cookie (RFC 6347 section 4.2.1).
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// Certificates.
    pub const CERTIFICATE: u8 = 11;
    /// The server's part of a TLS 1.2 handshake ends.
    pub const SERVER_HELLO_DONE: u8 = 14;
}

/// Protocol versions as they go over the wire.
pub mod version {
    #![allow(missing_docs)] // the names are the documentation
    pub const SSL_2_0: u16 = 0x0002;
    pub const SSL_3_0: u16 = 0x0300;
    pub const TLS_1_0: u16 = 0x0301;
    pub const TLS_1_1: u16 = 0x0302;
    pub const TLS_1_2: u16 = 0x0303;
    pub const TLS_1_3: u16 = 0x0304;
    pub const DTLS_1_0: u16 = 0xFEFF;
    pub const DTLS_1_2: u16 = 0xFEFD;
    pub const DTLS_1_3: u16 = 0xFEFC;

    /// Orders versions by age, DTLS (which counts down) as well as TLS.
    #[must_use]
    pub const fn rank(v: u16) -> u16 {
        if v >= 0xFE00 { 0x0300 | (0xFFFF ^ v) } else { v }
    }
}

/// Extension numbers (IANA TLS ExtensionType Values).
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const EC_POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    /// Encrypted ClientHello (RFC 9849).
    pub(super) const ENCRYPTED_CLIENT_HELLO: u16 = 0xFE0D;
}

/// Random of a ServerHello that is a HelloRetryRequest: SHA-256 of that word (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2,
    0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];
/// First byte of the versions of TLS 1.3's drafts; the second is the draft's number.
const DRAFT_VERSION: u16 = 0x7F;
/// Longest host name (RFC 1035 section 2.3.4).
const HOST_NAME_MAX: usize = 255;
/// ALPN names kept of a hello; browsers send two.
const ALPN_MAX: usize = 16;
/// Bytes of a message kept while it is incomplete: the largest analyzer budget.
const MESSAGE_MAX: usize = 65_536;

/// A ClientHello; lists are as sent, GREASE included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The version field, which TLS 1.3 freezes at 0x0303.
    pub legacy_version: u16,
    /// Cipher suites.
    pub ciphers: Vec<u16>,
    /// Extension numbers.
    pub extensions: Vec<u16>,
    /// Named groups.
    pub groups: Vec<u16>,
    /// Elliptic-curve point formats.
    pub point_formats: Vec<u8>,
    /// Signature algorithms.
    pub signature_algorithms: Vec<u16>,
    /// The supported_versions extension, empty without it.
    pub supported_versions: Vec<u16>,
    /// The first ALPN value, whatever its bytes.
    pub first_alpn: Box<[u8]>,
    /// ALPN values as text, at most 16.
    pub alpn: Vec<Box<str>>,
    /// Host name asked for, lower case; `None` without the extension or with bytes that no host name has.
    pub server_name: Option<Box<str>>,
    /// An encrypted ClientHello is inside (or GREASE in its place).
    pub ech: bool,
}

impl ClientHello {
    /// Parses the body of a TLS ClientHello (without the four bytes of type and length).
    ///
    /// # Errors
    /// [`Short`] where a field runs past the body; an extension whose inside is malformed is passed over.
    pub fn parse(body: &[u8]) -> Result<Self, Short> {
        Self::parse_as(body, false)
    }

    /// Parses the body of a DTLS ClientHello, which has a cookie (RFC 6347 section 4.2.1).
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_dtls(body: &[u8]) -> Result<Self, Short> {
        Self::parse_as(body, true)
    }

    fn parse_as(body: &[u8], dtls: bool) -> Result<Self, Short> {
        let mut r = Reader::new(body);
        let mut hello = Self { legacy_version: r.u16()?, ..Self::default() };
        r.skip(32)?; // random
        r.vec8()?; // session id
        if dtls {
            r.vec8()?; // cookie
        }
        hello.ciphers = u16s(r.vec16()?);
        r.vec8()?; // compression methods
        if r.is_empty() {
            return Ok(hello); // extensions came with TLS 1.0's RFC 3546
        }
        let mut extensions = Reader::new(r.vec16()?);
        while !extensions.is_empty() {
            let number = extensions.u16()?;
            let inside = extensions.vec16()?;
            hello.extensions.push(number);
            let _ = hello.extension(number, inside); // one malformed extension does not hide the others
        }
        Ok(hello)
    }

    fn extension(&mut self, number: u16, inside: &[u8]) -> Result<(), Short> {
        let mut r = Reader::new(inside);
        match number {
            extension::SERVER_NAME => {
                let mut names = Reader::new(r.vec16()?);
                while !names.is_empty() && self.server_name.is_none() {
                    let kind = names.u8()?;
                    let name = names.vec16()?;
                    if kind == 0 {
                        self.server_name = host_name(name);
                    }
                }
            }
            extension::SUPPORTED_GROUPS => self.groups = u16s(r.vec16()?),
            extension::EC_POINT_FORMATS => self.point_formats = r.vec8()?.to_vec(),
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = u16s(r.vec16()?),
            extension::SUPPORTED_VERSIONS => self.supported_versions = u16s(r.vec8()?),
            extension::ENCRYPTED_CLIENT_HELLO => self.ech = true,
            extension::ALPN => {
                let mut names = Reader::new(r.vec16()?);
                while !names.is_empty() && self.alpn.len() < ALPN_MAX {
                    let name = names.vec8()?;
                    if self.alpn.is_empty() {
                        self.first_alpn = name.into();
                    }
                    self.alpn.push(protocol_name(name));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The newest version offered, GREASE aside.
    #[must_use]
    pub fn highest_version(&self) -> u16 {
        let offered = self.supported_versions.iter().copied().filter(|v| !is_grease(*v));
        offered.max_by_key(|v| version::rank(*v)).unwrap_or(self.legacy_version)
    }

    /// Writes what this hello tells into a flow's facts; of several hellos the first stands.
    pub fn describe(&self, over: ja4::Over, tls: &mut Tls) {
        if tls.ja4.is_some() {
            return;
        }
        tls.sni.clone_from(&self.server_name);
        tls.alpn_offered.clone_from(&self.alpn);
        tls.ech = self.ech;
        tls.ja3 = Some(ja3::client(self));
        tls.ja4 = Some(ja4::client(self, over));
        if tls.cipher.is_none() {
            tls.version = self.highest_version();
        }
    }
}

/// A ServerHello or HelloRetryRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version field, 0x0303 in TLS 1.3.
    pub legacy_version: u16,
    /// The version agreed on.
    pub version: u16,
    /// Cipher suite chosen.
    pub cipher: u16,
    /// Extension numbers as sent.
    pub extensions: Vec<u16>,
    /// Protocol chosen, where it is in clear.
    pub alpn: Option<Box<str>>,
    /// It asks for another ClientHello (RFC 8446 section 4.1.4).
    pub retry: bool,
}

impl ServerHello {
    /// Parses the body of a ServerHello.
    ///
    /// # Errors
    /// [`Short`] where a field runs past the body.
    pub fn parse(body: &[u8]) -> Result<Self, Short> {
        let mut r = Reader::new(body);
        let legacy_version = r.u16()?;
        let mut hello = Self { legacy_version, version: legacy_version, ..Self::default() };
        hello.retry = r.array::<32>()? == RETRY_RANDOM;
        // Drafts of TLS 1.3 up to 21 number themselves here and have neither session id nor compression.
        let early_draft = legacy_version >> 8 == DRAFT_VERSION;
        if !early_draft {
            r.vec8()?; // session id
        }
        hello.cipher = r.u16()?;
        if !early_draft {
            r.skip(1)?; // compression
        }
        if r.is_empty() {
            return Ok(hello);
        }
        let mut extensions = Reader::new(r.vec16()?);
        while !extensions.is_empty() {
            let number = extensions.u16()?;
            let inside = extensions.vec16()?;
            hello.extensions.push(number);
            let mut r = Reader::new(inside);
            match number {
                extension::SUPPORTED_VERSIONS => hello.version = r.u16().unwrap_or(hello.version),
                extension::ALPN => {
                    let name = r.vec16().and_then(|list| Reader::new(list).vec8());
                    hello.alpn = name.ok().map(protocol_name);
                }
                _ => {}
            }
        }
        Ok(hello)
    }

    /// Writes what this hello tells into a flow's facts.
    pub fn describe(&self, tls: &mut Tls) {
        tls.version = self.version;
        tls.cipher = Some(self.cipher);
        tls.alpn.clone_from(&self.alpn);
        tls.ja3s = Some(ja3::server(self));
    }
}

/// DER of the first certificate in the body, possibly incomplete, of a TLS ≤ 1.2 Certificate message.
///
/// # Errors
/// [`Short`] where the first certificate is not all there, or there is none.
pub fn leaf(body: &[u8]) -> Result<&[u8], Short> {
    let mut r = Reader::new(body);
    r.skip(3)?; // length of the chain
    let der = r.vec24()?;
    if der.is_empty() { Err(Short) } else { Ok(der) }
}

/// Handshake messages out of a byte stream; copies only what is cut.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// An incomplete message, from its type byte on.
    partial: Vec<u8>,
}

/// A message says it is longer than any that this project reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Messages {
    /// Takes the next bytes and hands every message that they complete to `each` as (type, body).
    ///
    /// # Errors
    /// [`TooLong`] for a message over 64 KiB; nothing after it can be read.
    pub fn push(&mut self, bytes: &[u8], each: impl FnMut(u8, &[u8])) -> Result<(), TooLong> {
        if self.partial.is_empty() {
            let rest = hand_out(bytes, each)?;
            self.partial.extend_from_slice(rest);
        } else {
            self.partial.extend_from_slice(bytes);
            let left = hand_out(&self.partial, each)?.len();
            let done = self.partial.len().saturating_sub(left);
            self.partial.drain(..done);
        }
        Ok(())
    }

    /// Type and bytes so far of the body of an incomplete message.
    #[must_use]
    pub fn incomplete(&self) -> Option<(u8, &[u8])> {
        let (kind, rest) = self.partial.split_first()?;
        Some((*kind, rest.get(3..)?))
    }

    /// Forgets an incomplete message.
    pub fn clear(&mut self) {
        self.partial = Vec::new();
    }
}

/// Hands the complete messages at the head of `bytes` to `each`; answers what is behind them.
fn hand_out(bytes: &[u8], mut each: impl FnMut(u8, &[u8])) -> Result<&[u8], TooLong> {
    let mut r = Reader::new(bytes);
    loop {
        let before = r.rest();
        let (Ok(kind), Ok(length)) = (r.u8(), r.u24()) else { return Ok(before) };
        let length = usize::try_from(length).map_err(|_| TooLong)?;
        if length > MESSAGE_MAX {
            return Err(TooLong);
        }
        let Ok(body) = r.take(length) else { return Ok(before) };
        each(kind, body);
    }
}

fn u16s(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|p| u16::from_be_bytes(*p)).collect()
}

/// A host name in lower case; `None` if it holds bytes that a name in DNS or IDNA's ASCII form has not.
fn host_name(bytes: &[u8]) -> Option<Box<str>> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    let fits = !bytes.is_empty() && bytes.len() <= HOST_NAME_MAX;
    let plain =
        bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'*'));
    (fits && plain).then(|| String::from_utf8_lossy(bytes).to_ascii_lowercase().into())
}

/// A protocol name as text; bytes that are no printable ASCII are `\xNN`, as GREASE values are (RFC 8701).
fn protocol_name(bytes: &[u8]) -> Box<str> {
    bytes.escape_ascii().to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::{RFC8448_CLIENT_HELLO, RFC8448_RETRY, RFC8448_SERVER_HELLO};

    #[test]
    fn the_client_hello_of_rfc_8448_is_read() {
        let hello = ClientHello::parse(&RFC8448_CLIENT_HELLO[4..]).unwrap();
        assert_eq!(hello.server_name.as_deref(), Some("server"));
        assert_eq!(hello.ciphers, [0x1301, 0x1303, 0x1302]);
        assert_eq!(hello.extensions, [0, 0xFF01, 10, 35, 51, 43, 13, 45, 28]);
        assert_eq!(hello.groups, [0x1D, 0x17, 0x18, 0x19, 0x100, 0x101, 0x102, 0x103, 0x104]);
        assert_eq!(hello.highest_version(), version::TLS_1_3);
        assert_eq!(hello.legacy_version, version::TLS_1_2);
    }

    #[test]
    fn the_server_hello_and_the_retry_of_rfc_8448_differ_in_their_random() {
        let hello = ServerHello::parse(&RFC8448_SERVER_HELLO[4..]).unwrap();
        assert_eq!((hello.version, hello.cipher, hello.retry), (version::TLS_1_3, 0x1301, false));
        let retry = ServerHello::parse(&RFC8448_RETRY[4..]).unwrap();
        assert_eq!((retry.version, retry.retry), (version::TLS_1_3, true));
    }

    #[test]
    fn a_server_hello_of_an_early_draft_has_no_session_id() {
        let mut body = [0; 40];
        body[..2].copy_from_slice(&[0x7F, 16]);
        body[34..].copy_from_slice(&[0x13, 1, 0, 0, 0, 0]);
        let hello = ServerHello::parse(&body).unwrap();
        assert_eq!((hello.version, hello.cipher), (0x7F10, 0x1301));
    }

    #[test]
    fn a_hello_cut_anywhere_is_short_and_no_panic() {
        let body = &RFC8448_CLIENT_HELLO[4..];
        for n in 0..body.len() {
            // Without extensions a hello may end after its compression methods; that is one length.
            let cut = ClientHello::parse(&body[..n]);
            assert!(cut.is_err() || n == 2 + 32 + 1 + 2 + 6 + 2, "{n} bytes gave {cut:?}");
        }
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let mut stream = RFC8448_SERVER_HELLO.to_vec();
        stream.extend_from_slice(&[message::SERVER_HELLO_DONE, 0, 0, 0]);
        for cut in 1..stream.len() {
            let mut messages = Messages::default();
            let mut got = Vec::new();
            for piece in stream.chunks(cut) {
                messages.push(piece, |kind, body| got.push((kind, body.len()))).unwrap();
            }
            assert_eq!(got, [(2, 86), (14, 0)], "pieces of {cut}");
        }
    }

    #[test]
    fn a_message_of_megabytes_is_refused_at_its_header() {
        let mut messages = Messages::default();
        assert_eq!(messages.push(&[11, 0x10, 0, 0], |_, _| ()), Err(TooLong));
    }

    #[test]
    fn a_host_name_is_lower_case_and_hostile_bytes_are_none() {
        assert_eq!(host_name(b"WWW.Example.COM.").as_deref(), Some("www.example.com"));
        assert_eq!(host_name(b"a\0b"), None);
        assert_eq!(host_name(b"a b"), None);
        assert_eq!(host_name(b""), None);
        assert_eq!(host_name(&[b'a'; 256]), None);
    }

    #[test]
    fn the_newest_dtls_version_is_the_smallest_number() {
        let hello =
            ClientHello { supported_versions: vec![0xFEFD, 0xFEFC, 0xFEFF], ..ClientHello::default() };
        assert_eq!(hello.highest_version(), version::DTLS_1_3);
    }
}
