//! Wire format of the RDP opening: TPKT frames, the X.224 connection TPDUs, the MCS connect PDUs and their GCC blocks.
//!
//! In: bytes. Out: values that borrow from them, or `None` for what is not RDP's.

use crate::{Reader, Short};
use std::fmt;

/// First byte of a TPKT header (RFC 1006 section 6).
pub(super) const TPKT_VERSION: u8 = 3;
/// TPKT header and the X.224 length indicator.
const HEADER: usize = 5;
/// Largest TPKT frame of an opening that is waited for; a Connect Initial with 31 channels is below 1 KiB.
const FRAME_MAX: u16 = 4096;
/// What a frame's bytes must reach before its kind is known: TPKT header, length indicator, TPDU code.
const CODE_AT: usize = 6;

/// X.224 TPDU codes (ITU-T X.224 section 13).
mod code {
    pub(super) const REQUEST: u8 = 0xE0;
    pub(super) const CONFIRM: u8 = 0xD0;
    pub(super) const DATA: u8 = 0xF0;
    /// Length indicator and last-unit mark of a data TPDU.
    pub(super) const DATA_LI: u8 = 2;
    pub(super) const DATA_END: u8 = 0x80;
}

/// Negotiation structures ([MS-RDPBCGR] 2.2.1.1.1, 2.2.1.2.1, 2.2.1.2.2).
mod negotiation {
    pub(super) const REQUEST: u8 = 1;
    pub(super) const RESPONSE: u8 = 2;
    pub(super) const FAILURE: u8 = 3;
    pub(super) const LEN: u16 = 8;
    /// Restricted admin, redirected authentication, correlation info.
    pub(super) const REQUEST_FLAGS: u8 = 0x01 | 0x02 | 0x08;
    pub(super) const PROTOCOLS: u32 = 0x1F;
    pub(super) const FAILURE_MAX: u32 = 7;
}

/// One frame at the start of `data`.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) tpdu: Tpdu<'a>,
}

/// What a frame carries.
#[derive(Debug)]
pub(super) enum Tpdu<'a> {
    Request(Request<'a>),
    Confirm(Confirm),
    /// User data of a data TPDU.
    Data(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// `Ok(None)` if this is no frame of an opening; [`Short`] while its end is missing.
    pub(super) fn parse(data: &'a [u8]) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        if r.u8()? != TPKT_VERSION {
            return Ok(None);
        }
        // The reserved byte is zero in every implementation.
        if r.u8()? != 0 {
            return Ok(None);
        }
        let len = r.u16()?;
        let li = r.u8()?;
        let code = r.u8()?;
        let body_len = usize::from(len).saturating_sub(CODE_AT);
        let tpdu = match code {
            code::REQUEST | code::CONFIRM if usize::from(li).saturating_add(HEADER) == usize::from(len) => {
                let mut body = Reader::new(r.take(body_len)?);
                // Destination reference, source reference, class: zero in a request ([MS-RDPBCGR] 2.2.1.1).
                let (Ok(destination), Ok(_), Ok(class)) = (body.u16(), body.u16(), body.u8()) else {
                    return Ok(None);
                };
                if class != 0 || (code == code::REQUEST && destination != 0) {
                    return Ok(None);
                }
                if code == code::REQUEST {
                    Some(Tpdu::Request(Request::parse(body.rest())))
                } else {
                    Confirm::parse(body.rest()).map(Tpdu::Confirm)
                }
            }
            code::DATA if li == code::DATA_LI && (7..=FRAME_MAX).contains(&len) => {
                let mut body = Reader::new(r.take(body_len)?);
                match body.u8() {
                    Ok(code::DATA_END) => Some(Tpdu::Data(body.rest())),
                    _ => None,
                }
            }
            _ => None,
        };
        Ok(tpdu.map(|tpdu| Self { tpdu }))
    }

    /// The bytes behind the frame at the start of `data`.
    pub(super) fn behind(data: &[u8]) -> &[u8] {
        let mut r = Reader::new(data);
        let len = r.skip(2).and_then(|()| r.u16());
        len.ok().and_then(|len| data.get(usize::from(len)..)).unwrap_or(&[])
    }
}

/// The variable part of a connection request.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    /// Cookie or routing token, without its line end.
    line: Option<&'a [u8]>,
    /// Requested protocols.
    protocols: Option<u32>,
    /// There is something, and it is not RDP's: TSAP identifiers of S7comm and other users of ISO transport.
    pub(super) foreign: bool,
}

impl<'a> Request<'a> {
    fn parse(variable: &'a [u8]) -> Self {
        let end = variable.windows(2).position(|w| w == b"\r\n");
        let is_line = variable.starts_with(b"Cookie: ") || variable.starts_with(b"tsv://");
        let (line, rest) = match end {
            Some(end) if is_line => {
                (variable.get(..end), variable.get(end.saturating_add(2)..).unwrap_or(&[]))
            }
            _ => (None, variable),
        };
        let mut r = Reader::new(rest);
        let protocols = (|| {
            let (kind, flags, len) = (r.u8()?, r.u8()?, r.u16_le()?);
            let protocols = r.u32_le()?;
            let fits = kind == negotiation::REQUEST
                && flags & !negotiation::REQUEST_FLAGS == 0
                && len == negotiation::LEN
                && protocols & !negotiation::PROTOCOLS == 0;
            Ok::<_, Short>(fits.then_some(protocols))
        })()
        .ok()
        .flatten();
        Self { line, protocols, foreign: !variable.is_empty() && line.is_none() && protocols.is_none() }
    }

    /// Whether it bears anything that only RDP has.
    pub(super) const fn is_rdp(&self) -> bool {
        self.line.is_some() || self.protocols.is_some()
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{}", printable(line))?;
        }
        if let Some(protocols) = self.protocols {
            let gap = if self.line.is_some() { "; " } else { "" };
            write!(f, "{gap}offers {}", Protocols(protocols))?;
        }
        Ok(())
    }
}

/// The variable part of a connection confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirm {
    /// Without negotiation: a server older than that.
    Plain,
    Selected(u32),
    Failure(u32),
}

impl Confirm {
    fn parse(variable: &[u8]) -> Option<Self> {
        if variable.is_empty() {
            return Some(Self::Plain);
        }
        let mut r = Reader::new(variable);
        let (kind, _flags) = (r.u8().ok()?, r.u8().ok()?);
        let (len, value) = (r.u16_le().ok()?, r.u32_le().ok()?);
        if len != negotiation::LEN || !r.is_empty() {
            return None;
        }
        match kind {
            negotiation::RESPONSE if value & !negotiation::PROTOCOLS == 0 && value.count_ones() <= 1 => {
                Some(Self::Selected(value))
            }
            negotiation::FAILURE if (1..=negotiation::FAILURE_MAX).contains(&value) => {
                Some(Self::Failure(value))
            }
            _ => None,
        }
    }

    /// Whether TLS follows: all but standard RDP security begin with it.
    pub(super) const fn is_tls(self) -> bool {
        matches!(self, Self::Selected(protocols) if protocols != 0)
    }
}

impl fmt::Display for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("standard RDP security (no negotiation)"),
            Self::Selected(protocols) => write!(f, "{}", Protocols(*protocols)),
            // [MS-RDPBCGR] 2.2.1.2.2, failureCode.
            Self::Failure(code) => f.write_str(match code {
                1 => "TLS required by server",
                2 => "TLS not allowed by server",
                3 => "no certificate on server",
                4 => "inconsistent flags",
                5 => "CredSSP required by server",
                6 => "TLS with user authentication required by server",
                _ => "negotiation failure",
            }),
        }
    }
}

/// A set of security protocols ([MS-RDPBCGR] 2.2.1.1.1, requestedProtocols).
struct Protocols(u32);

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("standard RDP security");
        }
        let names = ["TLS", "CredSSP", "RDSTLS", "CredSSP with early authorization", "RDS AAD"];
        let mut gap = "";
        for (i, name) in names.iter().enumerate() {
            if self.0 & (1 << i) != 0 {
                write!(f, "{gap}{name}")?;
                gap = ", ";
            }
        }
        Ok(())
    }
}

/// Bytes by which [`is_tls`] has its answer.
pub(super) const TLS_SEEN_BY: usize = 2;

/// Whether `data` begins with a TLS handshake record (RFC 8446 section 5.1).
pub(super) fn is_tls(data: &[u8]) -> bool {
    data.starts_with(&[0x16, 3])
}

/// User data block types, little-endian on the wire ([MS-RDPBCGR] 2.2.1.3.1).
mod block {
    pub(super) const CLIENT_CORE: u16 = 0xC001;
    pub(super) const CLIENT_NETWORK: u16 = 0xC003;
    pub(super) const SERVER_CORE: u16 = 0x0C01;
    pub(super) const SERVER_SECURITY: u16 = 0x0C02;
}

/// Static virtual channels in a request: at most 31 ([MS-RDPBCGR] 2.2.1.3.4).
const CHANNELS_MAX: usize = 31;

/// What a client says of itself in the MCS Connect Initial.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientData {
    name: String,
    build: u32,
    keyboard: u32,
    width: u16,
    height: u16,
    channels: Vec<String>,
}

impl ClientData {
    /// From the user data of an X.224 data TPDU.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        const CONNECT_INITIAL: [u8; 2] = [0x7F, 0x65];
        let mut r = Reader::new(ber(&mut Reader::new(payload), &CONNECT_INITIAL)?);
        // Calling and called domain selectors, upward flag, target, minimum and maximum parameters (T.125 section 7).
        for tag in [0x04, 0x04, 0x01, 0x30, 0x30, 0x30] {
            ber(&mut r, &[tag])?;
        }
        let blocks = gcc_blocks(ber(&mut r, &[0x04])?, b"Duca")?;
        let mut client: Option<Self> = None;
        for (kind, body) in blocks {
            match kind {
                block::CLIENT_CORE => client = Self::core(body).ok(),
                block::CLIENT_NETWORK => {
                    if let Some(client) = &mut client {
                        client.channels = channels(body);
                    }
                }
                _ => {}
            }
        }
        client
    }

    /// [MS-RDPBCGR] 2.2.1.3.2.
    fn core(body: &[u8]) -> Result<Self, Short> {
        const VERSION: usize = 4;
        const COLOR_DEPTH_AND_SAS: usize = 4;
        const NAME: usize = 32;
        let mut r = Reader::new(body);
        r.skip(VERSION)?;
        let (width, height) = (r.u16_le()?, r.u16_le()?);
        r.skip(COLOR_DEPTH_AND_SAS)?;
        let (keyboard, build) = (r.u32_le()?, r.u32_le()?);
        let name = r.take(NAME)?;
        let units = name.chunks_exact(2).filter_map(|c| c.try_into().ok()).map(u16::from_le_bytes);
        let name = char::decode_utf16(units.take_while(|u| *u != 0))
            .map(|c| c.ok().filter(|c| !c.is_control()).unwrap_or('?'))
            .collect();
        Ok(Self { name, build, keyboard, width, height, channels: Vec::new() })
    }
}

impl fmt::Display for ClientData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, build, keyboard, width, height, channels } = self;
        write!(f, "client {name}, build {build}, keyboard {keyboard:#06x}, {width}x{height}")?;
        if !channels.is_empty() {
            write!(f, ", channels {}", channels.join(" "))?;
        }
        Ok(())
    }
}

/// Names in a client network data block ([MS-RDPBCGR] 2.2.1.3.4).
fn channels(body: &[u8]) -> Vec<String> {
    const COUNT: usize = 4;
    const CHANNEL: usize = 12;
    const NAME: usize = 8;
    let entries = body.get(COUNT..).unwrap_or(&[]).chunks_exact(CHANNEL).take(CHANNELS_MAX);
    entries.map(|e| printable(e.get(..NAME).unwrap_or(&[]))).filter(|n| !n.is_empty()).collect()
}

/// What a server says in the MCS Connect Response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerData {
    version: u32,
    /// Encryption method and level ([MS-RDPBCGR] 2.2.1.4.3).
    encryption: Option<(u32, u32)>,
}

impl ServerData {
    /// From the user data of an X.224 data TPDU.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        const CONNECT_RESPONSE: [u8; 2] = [0x7F, 0x66];
        let mut r = Reader::new(ber(&mut Reader::new(payload), &CONNECT_RESPONSE)?);
        // Result, called connect identifier, domain parameters (T.125 section 7).
        for tag in [0x0A, 0x02, 0x30] {
            ber(&mut r, &[tag])?;
        }
        let blocks = gcc_blocks(ber(&mut r, &[0x04])?, b"McDn")?;
        let mut server: Option<Self> = None;
        for (kind, body) in blocks {
            let mut r = Reader::new(body);
            match (kind, &mut server) {
                (block::SERVER_CORE, _) => {
                    server = r.u32_le().ok().map(|version| Self { version, encryption: None });
                }
                (block::SERVER_SECURITY, Some(server)) => {
                    server.encryption = r.u32_le().and_then(|method| Ok((method, r.u32_le()?))).ok();
                }
                _ => {}
            }
        }
        server
    }
}

impl fmt::Display for ServerData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server version {:#x}", self.version)?;
        match self.encryption {
            Some((0, _)) => f.write_str(", no RDP encryption"),
            Some((method, level)) => write!(f, ", encryption method {method:#x} level {level}"),
            None => Ok(()),
        }
    }
}

/// The contents of a BER value with this tag, in definite form.
fn ber<'a>(r: &mut Reader<'a>, tag: &[u8]) -> Option<&'a [u8]> {
    if r.take(tag.len()).ok()? != tag {
        return None;
    }
    let len = match r.u8().ok()? {
        short @ 0..=0x7F => usize::from(short),
        0x81 => usize::from(r.u8().ok()?),
        0x82 => usize::from(r.u16().ok()?),
        _ => return None,
    };
    r.take(len).ok()
}

/// The user data blocks (type, body) in a GCC conference PDU whose H.221 key is `key`.
fn gcc_blocks<'a>(gcc: &'a [u8], key: &[u8; 4]) -> Option<impl Iterator<Item = (u16, &'a [u8])>> {
    /// Object identifier of T.124, PER-encoded (T.124 section 8.7).
    const T124: [u8; 7] = [0x00, 0x05, 0x00, 0x14, 0x7C, 0x00, 0x01];
    /// The key lies behind the conference name and a few flags.
    const KEY_WITHIN: usize = 64;
    /// Type and length.
    const BLOCK_HEADER: usize = 4;
    let pdu = gcc.strip_prefix(&T124)?;
    let at = pdu.get(..KEY_WITHIN.min(pdu.len()))?.windows(key.len()).position(|w| w == key)?;
    let mut r = Reader::new(pdu.get(at.checked_add(key.len())?..)?);
    // PER length determinant: one byte, or two with the top bit set (X.691 section 10.9).
    if r.u8().ok()? & 0x80 != 0 {
        r.skip(1).ok()?;
    }
    Some(std::iter::from_fn(move || {
        let (kind, len) = (r.u16_le().ok()?, r.u16_le().ok()?);
        let body = r.take(usize::from(len).checked_sub(BLOCK_HEADER)?).ok()?;
        Some((kind, body))
    }))
}

/// Text up to a NUL, with everything outside printable ASCII replaced.
fn printable(bytes: &[u8]) -> String {
    let shown = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' };
    bytes.iter().take_while(|b| **b != 0).map(shown).collect()
}
