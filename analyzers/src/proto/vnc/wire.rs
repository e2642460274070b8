//! Wire format of the RFB opening (RFC 6143 section 7) and of the extensions that most programs have.
//!
//! In: bytes of one direction. Out: values and how many bytes they took; [`Short`] while the end is missing.

use crate::{Reader, Short};
use std::fmt;

/// `RFB 003.008\n`.
pub(super) const VERSION_LEN: usize = 12;
/// What an UltraVNC viewer or server sends a repeater: a text, padded with zeros.
const REPEATER_BLOCK: usize = 250;
/// Names and reasons longer than this are not waited for.
const TEXT_MAX: usize = 256;
/// First bytes: a version, a repeater's `ID:`, and the client messages that a capture may begin with.
pub(super) const FIRST: &[u8] = &[b'R', b'I', 0, 1, 2, 3, 4, 5, 150, 248, 255];

/// A protocol version; orders as versions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    /// `Ok(None)` if `data` cannot be a version.
    pub(super) fn parse(data: &[u8]) -> Result<Option<Self>, Short> {
        const SHAPE: &[u8; VERSION_LEN] = b"RFB 000.000\n";
        let fits = |(b, s): (&u8, &u8)| if *s == b'0' { b.is_ascii_digit() } else { b == s };
        if !data.iter().zip(SHAPE).all(fits) {
            return Ok(None);
        }
        let bytes = Reader::new(data).array::<VERSION_LEN>()?;
        let number = |digits: &[u8]| {
            digits
                .iter()
                .fold(0_u16, |n, d| n.saturating_mul(10).saturating_add(u16::from(d.wrapping_sub(b'0'))))
        };
        let (major, minor) = (bytes.get(4..7).map_or(0, number), bytes.get(8..11).map_or(0, number));
        Ok(Some(Self { major, minor }))
    }

    /// An UltraVNC repeater's.
    pub(super) const fn is_repeater(self) -> bool {
        self.major == 0 && self.minor == 0
    }

    /// Up to 3.6 the server decides on the security type (RFC 6143 appendix A; 3.5 is to be taken for 3.3).
    pub(super) const fn server_decides(self) -> bool {
        self.major < 3 || (self.major == 3 && self.minor < 7)
    }

    /// From 3.8 on a result follows even without authentication.
    pub(super) const fn confirms_none(self) -> bool {
        self.major > 3 || (self.major == 3 && self.minor >= 8)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Whether `data` may be what one of UltraVNC's programs tells a repeater: `ID:` and a number.
pub(super) fn is_repeater_id(data: &[u8]) -> bool {
    data.iter().zip(b"ID:").all(|(a, b)| a == b)
}

/// Length of a repeater block at the start of `data`: 0 if there is none.
pub(super) fn repeater_block(data: &[u8], expected: bool) -> Result<usize, Short> {
    if !expected || data.starts_with(b"RFB ") {
        return Ok(0);
    }
    let block = data.get(..REPEATER_BLOCK.min(data.len())).unwrap_or(&[]);
    let padding = block.iter().skip_while(|b| (0x20..0x7F).contains(*b));
    if padding.clone().any(|b| *b != 0) {
        return Ok(0);
    }
    Reader::new(data).take(REPEATER_BLOCK).map(<[u8]>::len)
}

/// The text of a repeater block.
pub(super) fn repeater_text(data: &[u8]) -> String {
    text(data.get(..REPEATER_BLOCK.min(data.len())).unwrap_or(&[]))
}

/// A security type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice(u8);

impl Choice {
    pub(super) const INVALID: Self = Self(0);
    pub(super) const NONE: Self = Self(1);
    pub(super) const VNC: Self = Self(2);
    pub(super) const TLS: Self = Self(18);
    pub(super) const VENCRYPT: Self = Self(19);

    /// Its name in the registry of RFC 6143 section 8.3 and in rfbproto.
    const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "None",
            2 => "VNC",
            5 => "RA2",
            6 => "RA2ne",
            7 => "SSPI",
            8 => "SSPIne",
            13 => "RealVNC",
            16 => "Tight",
            17 => "Ultra",
            18 => "TLS",
            19 => "VeNCrypt",
            20 => "SASL",
            21 => "MD5 hash",
            22 => "xvp",
            23 => "Secure Tunnel",
            24 => "Integrated SSH",
            30 => "Apple Diffie-Hellman",
            31..=36 => "Apple",
            112 => "Ultra SC prompt",
            113 => "Ultra MS-Logon II",
            114..=117 => "Ultra",
            129 => "RA2-256",
            130 => "RA2ne-256",
            133 => "RealVNC",
            _ => return None,
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

/// The server's list of types, empty if it refuses.
pub(super) fn offer(data: &[u8]) -> Result<(&[u8], usize), Short> {
    let mut r = Reader::new(data);
    let types = r.vec8()?;
    Ok((types, r.taken()))
}

/// Whether `data` begins with a list of types that are all known and all different.
pub(super) fn offer_alone(data: &[u8]) -> bool {
    let Ok((types, _)) = offer(data) else { return false };
    let distinct = |i: usize, t: &u8| types.iter().skip(i.saturating_add(1)).all(|other| other != t);
    !types.is_empty() && types.iter().enumerate().all(|(i, t)| Choice(*t).name().is_some() && distinct(i, t))
}

/// Names of types, for a person.
pub(super) fn names(types: &[u8]) -> String {
    types.iter().take(16).map(|t| Choice(*t).to_string()).collect::<Vec<_>>().join(", ")
}

/// The client's choice.
pub(super) fn choice(data: &[u8]) -> Result<(Choice, usize), Short> {
    byte(data).map(|(b, n)| (Choice(b), n))
}

/// The server's decision in protocol 3.3: four bytes.
pub(super) fn decision(data: &[u8]) -> Result<(Choice, usize), Short> {
    let mut r = Reader::new(data);
    let kind = r.u32()?;
    Ok((u8::try_from(kind).map_or(Choice(u8::MAX), Choice), r.taken()))
}

/// One byte.
pub(super) fn byte(data: &[u8]) -> Result<(u8, usize), Short> {
    let mut r = Reader::new(data);
    Ok((r.u8()?, r.taken()))
}

/// Challenge or response of VNC authentication.
pub(super) fn challenge(data: &[u8]) -> Result<usize, Short> {
    Reader::new(data).take(16).map(<[u8]>::len)
}

/// SecurityResult: 0 is success.
pub(super) fn result(data: &[u8]) -> Result<(u32, usize), Short> {
    let mut r = Reader::new(data);
    Ok((r.u32()?, r.taken()))
}

/// Why the server refuses.
pub(super) fn reason(data: &[u8]) -> Result<(String, usize), Short> {
    let mut r = Reader::new(data);
    Ok((sized_text(&mut r)?, r.taken()))
}

/// Framebuffer size and desktop name.
pub(super) fn server_init(data: &[u8]) -> Result<(String, usize), Short> {
    const PIXEL_FORMAT: usize = 16;
    let mut r = Reader::new(data);
    let (width, height) = (r.u16()?, r.u16()?);
    r.skip(PIXEL_FORMAT)?;
    let name = sized_text(&mut r)?;
    Ok((format!("{name}, {width}x{height}"), r.taken()))
}

/// VeNCrypt: version, either side.
pub(super) fn vencrypt_version(data: &[u8]) -> Result<usize, Short> {
    Reader::new(data).take(2).map(<[u8]>::len)
}

/// VeNCrypt: the server takes the version and lists its sub-types.
pub(super) fn vencrypt_offer(data: &[u8]) -> Result<usize, Short> {
    let mut r = Reader::new(data);
    if r.u8()? == 0 {
        let n = r.u8()?;
        r.skip(usize::from(n).saturating_mul(4))?;
    }
    Ok(r.taken())
}

/// VeNCrypt: the client's sub-type, its name, and whether TLS follows.
pub(super) fn vencrypt_choice(data: &[u8]) -> Result<(String, bool, usize), Short> {
    /// Sub-types 256 and up, in order.
    const NAMES: [&str; 9] =
        ["Plain", "TLSNone", "TLSVnc", "TLSPlain", "X509None", "X509Vnc", "X509Plain", "TLSSASL", "X509SASL"];
    const PLAIN: u32 = 256;
    let mut r = Reader::new(data);
    let kind = r.u32()?;
    let index = kind.checked_sub(PLAIN).and_then(|i| usize::try_from(i).ok());
    let name = index.and_then(|i| NAMES.get(i));
    let shown = name.map_or_else(|| format!("type {kind}"), |n| (*n).to_owned());
    Ok((shown, name.is_some() && kind != PLAIN, r.taken()))
}

/// A text with a four-byte length before it; a long one is cut, and what lies behind it is lost.
fn sized_text(r: &mut Reader<'_>) -> Result<String, Short> {
    let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
    r.take(len.min(TEXT_MAX)).map(text)
}

/// UTF-8 up to a NUL, without control characters.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|b| *b == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
