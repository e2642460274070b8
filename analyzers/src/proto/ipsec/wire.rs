//! Wire format of IKE, ESP and AH, as far as they are in the clear.
//!
//! In: one datagram, one message of a stream, or one packet. Out: headers, or `None` for what is none.

use crate::Reader;
use std::fmt;

pub(super) const PROTOCOL_ESP: u8 = 50;
pub(super) const PROTOCOL_AH: u8 = 51;
/// How IKE over TCP begins (RFC 8229 section 4).
pub(super) const TCP_PREFIX: &[u8] = b"IKETCP";
/// Zeros where ESP would have its SPI (RFC 3948 section 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// SPIs below this are reserved (RFC 4303 section 2.1).
const SPI_MIN: u32 = 256;
/// SPI, sequence number, and the least that any algorithm has behind them: an IV of 8, a block of 4, a check of 8.
const ESP_MIN: usize = 28;

/// Exchange types (RFC 7296 section 3.1 and IANA; RFC 2408 section 3.1, RFC 2409, mode-config).
mod exchange {
    pub(super) const V2: std::ops::RangeInclusive<u8> = 34..=44;
    pub(super) const SA_INIT: u8 = 34;
    pub(super) const V1: [u8; 8] = [1, 2, 3, 4, 5, 6, 32, 33];
    pub(super) const V1_INFORMATIONAL: u8 = 5;
    /// Main mode ("identity protection") and aggressive mode.
    pub(super) const V1_FIRST: [u8; 2] = [2, 4];
}

/// Payload types.
mod payload {
    /// Also those not assigned yet and private ones, which a receiver skips.
    pub(super) const V2: std::ops::RangeInclusive<u8> = 33..=255;
    pub(super) const ASSIGNED_LAST: u8 = 55;
    /// Security association, key exchange and nonce (RFC 7296 section 1.2).
    pub(super) const V2_OPENING: [u8; 3] = [33, 34, 40];
    /// Security association (RFC 2408 section 3.1); first in main and aggressive mode (RFC 2409 section 5).
    pub(super) const V1_SA: u8 = 1;
    pub(super) const V2_NOTIFY: u8 = 41;
    /// Encrypted, and encrypted fragment: the last in the clear.
    pub(super) const ENCRYPTED: [u8; 2] = [46, 53];
    pub(super) const V1_LAST: u8 = 21;
    pub(super) const V1_NOTIFY: u8 = 11;
    /// Private ones, among them NAT traversal's before it had its own.
    pub(super) const V1_PRIVATE: u8 = 128;
}

/// Domain of interpretation IPSEC, situation "identity only" (RFC 2407 sections 4.1 and 4.2.1): how all security associations begin.
const IPSEC_SITUATION: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];

/// Notify message types up to this are errors (RFC 7296 section 3.10.1); 5 to 17 of them can answer a first message.
const ERROR_MAX: u16 = 16_383;
/// Cookie and "other group" ask the initiator to try again: no refusal.
const INVALID_KE: u16 = 17;

/// Header of an IKE message, with what its payloads tell in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ike {
    pub(super) initiator_spi: u64,
    pub(super) responder_spi: u64,
    version: u8,
    exchange: u8,
    /// Whether the one who began the session sends it, where the message says so.
    pub(super) from_initiator: Option<bool>,
    /// The only payload is this error.
    pub(super) only_error: Option<u16>,
    /// A session's first message with all that belongs into it, to the last byte.
    pub(super) opening: bool,
}

impl fmt::Display for Ike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IKEv{} exchange {}", self.version, self.exchange)?;
        if let Some(error) = self.only_error {
            write!(f, ", error {error}")?;
        }
        Ok(())
    }
}

/// An IKE message, with the non-ESP marker before it or not; its length field and its payloads must add up to the datagram.
pub(super) fn ike(data: &[u8], wire_len: usize) -> Option<Ike> {
    let plain = parse(data, wire_len);
    plain.or_else(|| {
        let behind = data.strip_prefix(&NON_ESP_MARKER)?;
        parse(behind, wire_len.checked_sub(NON_ESP_MARKER.len())?)
    })
}

/// A header that fits its datagram, whatever is behind it: version, exchange type, flags and length as the RFCs have them, for a
/// message that was built wrong. Some 50 bits; `None` if it is none.
pub(super) fn header(data: &[u8], wire_len: usize) -> Option<String> {
    let mut r = Reader::new(data);
    r.skip(16).ok()?;
    let (first, version, exchange, flags) = (r.u8().ok()?, r.u8().ok()?, r.u8().ok()?, r.u8().ok()?);
    let (_, len) = (r.u32().ok()?, r.u32().ok()?);
    let v2 = flag::INITIATOR | flag::VERSION | flag::RESPONSE;
    let fits = match version {
        0x20 => {
            exchange::V2.contains(&exchange)
                && flags & !v2 == 0
                && (*payload::V2.start()..=payload::ASSIGNED_LAST).contains(&first)
        }
        0x10 => {
            exchange::V1.contains(&exchange)
                && flags & !flag::V1_ALL == 0
                && (1..=payload::V1_LAST).contains(&first)
        }
        _ => false,
    };
    (fits && usize::try_from(len) == Ok(wire_len))
        .then(|| format!("IKEv{} exchange {exchange}, {len} B, payloads that do not add up", version >> 4))
}

/// Version and length of an IKE message of this size, whatever the rest.
pub(super) fn has_length(data: &[u8], wire_len: usize) -> bool {
    let read = |r: &mut Reader<'_>| {
        r.skip(17)?;
        let version = r.u8()?;
        r.skip(6)?;
        Ok::<_, crate::Short>((version, r.u32()?))
    };
    read(&mut Reader::new(data))
        .is_ok_and(|(version, len)| matches!(version, 0x10 | 0x20) && usize::try_from(len) == Ok(wire_len))
}

fn parse(data: &[u8], wire_len: usize) -> Option<Ike> {
    let mut r = Reader::new(data);
    let (initiator_spi, responder_spi) = (r.u64().ok()?, r.u64().ok()?);
    let (first, version, exchange, flags) = (r.u8().ok()?, r.u8().ok()?, r.u8().ok()?, r.u8().ok()?);
    let (message_id, len) = (r.u32().ok()?, r.u32().ok()?);
    let right_length = usize::try_from(len) == Ok(wire_len);
    // A header may have left its length out: then only a whole opening is believed.
    if initiator_spi == 0 || !(right_length || len == 0) {
        return None;
    }
    let whole = wire_len == data.len();
    let ike = match version {
        0x20 => parse_v2(&r, first, exchange, flags, message_id, whole).map(|chain| Ike {
            initiator_spi,
            responder_spi,
            version: 2,
            exchange,
            from_initiator: Some(flags & flag::INITIATOR != 0),
            only_error: chain.only_error,
            opening: exchange == exchange::SA_INIT
                && responder_spi == 0
                && flags == flag::INITIATOR
                && chain.has_all(&payload::V2_OPENING),
        }),
        0x10 => parse_v1(&r, first, exchange, flags, whole).map(|chain| Ike {
            initiator_spi,
            responder_spi,
            version: 1,
            exchange,
            from_initiator: (responder_spi == 0 && exchange != exchange::V1_INFORMATIONAL).then_some(true),
            only_error: chain.only_error,
            opening: exchange::V1_FIRST.contains(&exchange)
                && (responder_spi, message_id, flags) == (0, 0, 0)
                && chain.has_all(&[payload::V1_SA])
                && r.rest().get(4..12) == Some(&IPSEC_SITUATION),
        }),
        _ => None,
    };
    ike.filter(|ike| right_length || ike.opening)
}

/// Flags of version 2 (RFC 7296 section 3.1), and of version 1 (RFC 2408 section 3.1).
mod flag {
    pub(super) const INITIATOR: u8 = 0x08;
    pub(super) const VERSION: u8 = 0x10;
    pub(super) const RESPONSE: u8 = 0x20;
    pub(super) const V1_ENCRYPTED: u8 = 0x01;
    pub(super) const V1_ALL: u8 = 0x07;
}

/// What a message's chain of payloads tells.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    /// The error that is the only payload, if so.
    only_error: Option<u16>,
    /// The payloads below 64, as bits; empty unless the chain was followed to the message's last byte.
    kinds: u64,
}

impl Chain {
    fn has_all(self, kinds: &[u8]) -> bool {
        kinds.iter().all(|kind| self.kinds & bit(*kind) != 0)
    }
}

fn bit(kind: u8) -> u64 {
    1_u64.checked_shl(u32::from(kind)).unwrap_or(0)
}

/// `None` if it is no version 2 message.
fn parse_v2(
    r: &Reader<'_>,
    first: u8,
    exchange: u8,
    flags: u8,
    message_id: u32,
    whole: bool,
) -> Option<Chain> {
    let known = flag::INITIATOR | flag::VERSION | flag::RESPONSE;
    if !exchange::V2.contains(&exchange)
        || flags & !known != 0
        || (exchange == exchange::SA_INIT && message_id != 0)
    {
        return None;
    }
    chain(
        r,
        first,
        whole,
        payload::V2_NOTIFY,
        |kind| payload::V2.contains(&kind),
        |kind| payload::ENCRYPTED.contains(&kind),
    )
}

/// The same for version 1.
fn parse_v1(r: &Reader<'_>, first: u8, exchange: u8, flags: u8, whole: bool) -> Option<Chain> {
    if !exchange::V1.contains(&exchange) || flags & !flag::V1_ALL != 0 {
        return None;
    }
    let known = |kind: u8| (1..=payload::V1_LAST).contains(&kind) || kind >= payload::V1_PRIVATE;
    if flags & flag::V1_ENCRYPTED != 0 {
        // All behind the header is ciphertext of whole blocks.
        return (known(first) && r.rest().len() >= 8).then_some(Chain::default());
    }
    chain(r, first, whole, payload::V1_NOTIFY, known, |_| false)
}

/// Walks the generic payload headers: each names the next, the last ends where the message does.
fn chain(
    r: &Reader<'_>,
    first: u8,
    whole: bool,
    notify: u8,
    known: impl Fn(u8) -> bool,
    last: impl Fn(u8) -> bool,
) -> Option<Chain> {
    /// Next payload, flags, length.
    const HEADER: usize = 4;
    let mut r = *r;
    let (mut kind, mut error, mut payloads, mut kinds) = (first, None, 0_usize, 0);
    while kind != 0 {
        if !known(kind) {
            return None;
        }
        let header = (|| Ok::<_, crate::Short>((r.u8()?, r.u8()?, r.u16()?)))();
        let Ok((next, flags, len)) = header else {
            return (!whole && payloads > 0).then(Chain::default);
        };
        // Only the critical bit is defined (RFC 7296 section 3.2).
        let body_len = usize::from(len).checked_sub(HEADER).filter(|_| flags & 0x7F == 0)?;
        let Ok(body) = r.take(body_len) else { return (!whole).then(Chain::default) };
        payloads = payloads.saturating_add(1);
        kinds |= bit(kind);
        if kind == notify {
            error = notify_error(body, kind == payload::V1_NOTIFY);
        }
        if last(kind) {
            return r.is_empty().then(Chain::default);
        }
        // A vendor's own encrypted payload names its first inner one as the next.
        if kind > payload::ASSIGNED_LAST && r.is_empty() {
            return Some(Chain::default());
        }
        kind = next;
    }
    let only_error = if payloads == 1 { error } else { None };
    // Implementations of version 1 may pad after the last payload.
    let filled = payloads > 0 && (r.is_empty() || r.rest().iter().all(|b| *b == 0));
    filled.then_some(Chain { only_error, kinds: if r.is_empty() { kinds } else { 0 } })
}

/// An error in a notify payload (RFC 7296 section 3.10; RFC 2408 section 3.14 has a four-byte domain first).
fn notify_error(body: &[u8], domain: bool) -> Option<u16> {
    let mut r = Reader::new(body);
    if domain {
        r.skip(4).ok()?;
    }
    r.skip(2).ok()?;
    r.u16().ok().filter(|kind| *kind != 0 && *kind <= ERROR_MAX && *kind != INVALID_KE)
}

/// An ESP header and how its ciphertext begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Esp {
    pub(super) spi: u32,
    pub(super) sequence: u32,
    cipher: [u8; 8],
}

impl Esp {
    /// Whether `next` may come soon after this one: same SPI, a slightly higher number, another ciphertext altogether.
    pub(super) fn goes_on_as(&self, next: &Self) -> bool {
        /// Packets that a capture may miss between two.
        const STEP_MAX: u32 = 64;
        let step = next.sequence.wrapping_sub(self.sequence);
        let same = self.cipher.iter().zip(&next.cipher).filter(|(a, b)| a == b).count();
        self.spi == next.spi && (1..=STEP_MAX).contains(&step) && same < 3
    }
}

/// A packet of IP protocol 50. The sequence number starts at 1, but a header is a header.
pub(super) fn esp(data: &[u8], wire_len: usize) -> Option<Esp> {
    let mut r = Reader::new(data);
    let (spi, sequence) = (r.u32().ok()?, r.u32().ok()?);
    (wire_len >= 8).then_some(Esp { spi, sequence, cipher: r.array().unwrap_or_default() })
}

/// ESP as a datagram: an SPI that is no marker, a sequence number, and a size of whole words.
pub(super) fn esp_in_udp(data: &[u8], wire_len: usize) -> Option<Esp> {
    let fits = wire_len >= ESP_MIN && wire_len.is_multiple_of(4);
    esp(data, wire_len).filter(|esp| fits && esp.spi >= SPI_MIN && esp.sequence > 0)
}

/// A packet of IP protocol 51, for a person.
pub(super) fn ah(data: &[u8], wire_len: usize) -> Option<String> {
    let mut r = Reader::new(data);
    let (_next, words, reserved) = (r.u8().ok()?, r.u8().ok()?, r.u16().ok()?);
    let (spi, sequence) = (r.u32().ok()?, r.u32().ok()?);
    // Length in words less two (RFC 4302 section 2.2). Less than the fixed part is wrong, and still what IP calls the header.
    let len = usize::from(words).saturating_add(2).saturating_mul(4);
    (reserved == 0 && len <= wire_len).then(|| format!("SPI {spi:#010x}, sequence {sequence}"))
}

/// NAT keep-alive (RFC 3948 section 2.3).
pub(super) fn is_keep_alive(data: &[u8]) -> bool {
    data == [0xFF]
}

/// A message of a stream: its length counts itself (RFC 8229 section 3). `None` while its end is missing.
pub(super) fn framed(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut r = Reader::new(data);
    let len = usize::from(r.u16().ok()?).saturating_sub(2);
    let message = r.take(len).ok()?;
    Some((message, r.rest()))
}
