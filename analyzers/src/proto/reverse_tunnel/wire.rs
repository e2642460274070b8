//! Messages of bore, frp and rathole.

use crate::{Reader, Short};

/// A bore message is at most 256 bytes (`MAX_FRAME_LENGTH`, shared.rs).
const BORE_MAX: usize = 256;

/// bore's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bore {
    Hello(u16),
    Accept,
    Connection,
    Challenge,
    Authenticate,
    Heartbeat,
    Error,
}

impl Bore {
    /// Whether `data` begins a connection.
    pub(super) fn opens(data: &[u8]) -> Result<bool, Short> {
        let openings: [&[u8]; 4] =
            [b"{\"Hello\":", b"{\"Accept\":\"", b"{\"Challenge\":\"", b"{\"Connection\":\""];
        if !openings.iter().any(|o| o.starts_with(data) || data.starts_with(o)) {
            return Ok(false);
        }
        Ok(matches!(
            Self::parse(data)?.0,
            Some(Self::Hello(_) | Self::Accept | Self::Challenge | Self::Connection)
        ))
    }

    /// The message at the start of `data`, and its length with the zero behind it.
    pub(super) fn parse(data: &[u8]) -> Result<(Option<Self>, usize), Short> {
        let Some(end) = data.iter().take(BORE_MAX).position(|b| *b == 0) else {
            return if data.len() >= BORE_MAX { Ok((None, 0)) } else { Err(Short) };
        };
        let text = data.get(..end).unwrap_or_default();
        Ok((Self::of(text), end.saturating_add(1)))
    }

    fn of(text: &[u8]) -> Option<Self> {
        if text == b"\"Heartbeat\"" {
            return Some(Self::Heartbeat);
        }
        let body = text.strip_prefix(b"{\"")?.strip_suffix(b"}")?;
        let at = body.iter().position(|b| *b == b'"')?;
        let (name, value) = (body.get(..at)?, body.get(at..)?.strip_prefix(b"\":")?);
        let quoted = || value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
        match name {
            b"Hello" => str::from_utf8(value).ok()?.parse().ok().map(Self::Hello),
            b"Accept" => quoted().filter(|v| is_uuid(v)).map(|_| Self::Accept),
            b"Connection" => quoted().filter(|v| is_uuid(v)).map(|_| Self::Connection),
            b"Challenge" => quoted().filter(|v| is_uuid(v)).map(|_| Self::Challenge),
            b"Authenticate" => quoted()
                .filter(|v| v.len() == 64 && v.iter().all(u8::is_ascii_hexdigit))
                .map(|_| Self::Authenticate),
            b"Error" => quoted().map(|_| Self::Error),
            _ => None,
        }
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// An frp message of protocol 1: its type, its length, JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frp {
    kind: u8,
    refused: bool,
    /// With type and length.
    pub(super) len: usize,
}

/// `defaultMaxMsgLength` of golib's msg/json.
const FRP_MAX: u64 = 10_240;
/// Type and length.
const FRP_HEADER: usize = 9;

impl Frp {
    /// The message at the start of `data`; `None` for what is none, or of a kind that opens and answers no connection.
    pub(super) fn parse(data: &[u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let kind = r.u8()?;
        // What each says at least (pkg/msg/msg.go).
        let field: &[u8] = match kind {
            b'o' => b"\"version\":\"",
            b'1' => b"\"version\":\"",
            b'w' => b"\"run_id\":\"",
            b's' => b"\"proxy_name\":\"",
            b'v' => b"\"proxy_name\":\"",
            b'3' => b"\"proxy_name\":\"",
            _ => return Ok(None),
        };
        // No message is longer, so most bytes of the length are zero.
        if data.get(1..7).unwrap_or(data.get(1..).unwrap_or_default()).iter().any(|b| *b != 0) {
            return Ok(None);
        }
        let length = r.u64()?;
        if !(2..=FRP_MAX).contains(&length) {
            return Ok(None);
        }
        let body = r.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let has = |what: &[u8]| body.windows(what.len()).any(|w| w == what);
        if !body.starts_with(b"{\"") || !body.ends_with(b"}") || !has(field) && !has(b"\"error\":\"") {
            return Ok(None);
        }
        let refused = has(b"\"error\":\"") && !has(b"\"error\":\"\"");
        Ok(Some(Self { kind, refused, len: FRP_HEADER.saturating_add(body.len()) }))
    }

    pub(super) const fn is_of_client(self) -> bool {
        matches!(self.kind, b'o' | b'w' | b'v')
    }

    pub(super) const fn is_refusal(self) -> bool {
        self.refused
    }

    /// Whether a visitor's stream follows.
    pub(super) const fn starts_work(self) -> bool {
        matches!(self.kind, b's' | b'3')
    }

    pub(super) const fn in_words(self) -> &'static str {
        match self.kind {
            b'o' | b'1' => "log-in",
            b'w' | b's' => "work connection",
            _ => "visitor's connection",
        }
    }
}

/// yamux's frame: version 0, type, flags, stream, length or window (spec.md). What it carries, and its length with the header.
pub(super) fn yamux(data: &[u8]) -> Result<Option<(&[u8], usize)>, Short> {
    let mut r = Reader::new(data);
    let (version, kind, flags) = (r.u8()?, r.u8()?, r.u16()?);
    let (_stream, length) = (r.u32()?, r.u32()?);
    if version != 0 || kind > 3 || flags > 0xF {
        return Ok(None);
    }
    let length = if kind == 0 { usize::try_from(length).unwrap_or(usize::MAX) } else { 0 };
    if length > 65_536 {
        return Ok(None);
    }
    Ok(Some((r.take(length)?, r.taken())))
}

/// Frames that may come before the one with the first message: the stream's opening and its window.
const FRAMES_MAX: usize = 4;

/// Whether frp's first message stands in yamux's first data.
pub(super) fn frp_in_yamux(data: &[u8]) -> Result<bool, Short> {
    // The first frame opens stream 1, as data or as a window.
    let opening = data.get(..8).unwrap_or(data);
    let opened = [&b"\0\0\0\x01\0\0\0\x01"[..], b"\0\x01\0\x01\0\0\0\x01"];
    if !opened.iter().any(|o| o.starts_with(opening)) {
        return Ok(false);
    }
    let mut rest = data;
    for _ in 0..FRAMES_MAX {
        match yamux(rest)? {
            Some(([], n)) => rest = rest.get(n..).unwrap_or_default(),
            Some((payload, _)) => return Ok(Frp::parse(payload)?.is_some_and(Frp::is_of_client)),
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// rathole's hello: a kind of four bytes (little-endian), a version, and a digest.
pub(super) const RATHOLE_HELLO: usize = 37;
/// Versions of its protocol.
const RATHOLE_VERSIONS: std::ops::RangeInclusive<u8> = 0..=1;
/// A digest has this many different bytes at least: 32 random ones have 30 on average, and 20 all but always.
const DIGEST_BYTES: usize = 20;

/// Whether `data` is a hello and nothing else: of a data channel or not.
pub(super) fn rathole_hello(data: &[u8]) -> Result<Option<bool>, Short> {
    let head = data.get(..5).unwrap_or(data);
    let kind_fits = head.iter().enumerate().all(|(i, b)| match i {
        0 => *b <= 1,
        4 => RATHOLE_VERSIONS.contains(b),
        _ => *b == 0,
    });
    if !kind_fits || data.len() > RATHOLE_HELLO {
        return Ok(None);
    }
    let mut r = Reader::new(data);
    let kind = r.u8()?;
    r.skip(4)?;
    let digest = r.take(32)?;
    let mut seen = digest.to_vec();
    seen.sort_unstable();
    seen.dedup();
    Ok((seen.len() >= DIGEST_BYTES).then_some(kind == 1))
}

/// A TLS record of a handshake that begins with a hello of this type (RFC 8446 sections 4 and 5.1).
fn is_hello(data: &[u8], hello: u8) -> Result<bool, Short> {
    let mut r = Reader::new(data);
    let fits = |at: usize, ok: fn(u8) -> bool| data.get(at).is_none_or(|b| ok(*b));
    if !fits(0, |b| b == 22) || !fits(1, |b| b == 3) || !fits(2, |b| b <= 4) {
        return Ok(false);
    }
    r.skip(3)?;
    let record = usize::from(r.u16()?);
    let (kind, length) = (r.u8()?, usize::try_from(r.u24()?).unwrap_or(usize::MAX));
    Ok(kind == hello
        && (length.saturating_add(4) == record || hello == 2 && length.saturating_add(4) < record))
}

pub(super) fn is_client_hello(data: &[u8]) -> Result<bool, Short> {
    is_hello(data, 1)
}

pub(super) fn is_server_hello(data: &[u8]) -> Result<bool, Short> {
    is_hello(data, 2)
}
