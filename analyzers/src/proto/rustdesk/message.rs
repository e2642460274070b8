//! RustDesk's messages: protobuf (protobuf.dev, encoding), each a `oneof` with one field.
//!
//! In: bytes at the start of a message, with or without the length that comes before it on TCP. Out: what message it is, if its fields are
//! those of RustDesk's definitions (`rendezvous.proto`, `message.proto` of hbb_common).

use crate::{Reader, Short};

/// A longer opening message was not written: the longest are a login with options or a list of peers.
const LEN_MAX: usize = 16_384;
/// A UUID in text.
const UUID_LEN: usize = 36;
/// A signature (64 bytes) and what it signs, or several keys.
const SIGNED_LEAST: usize = 64;
/// Keys of NaCl's `box`, and a session key of 32 bytes sealed in one (16 bytes of authenticator).
const KEY_LEN: usize = 32;
const SEALED_LEN: usize = 48;
/// Salt and challenge of a login are random letters and digits, six each (`Config::get_auto_password(6)`).
const CHALLENGE_LENGTHS: std::ops::RangeInclusive<usize> = 6..=32;
/// Identifiers: nine or ten digits, or one that the user chose (6 to 16 characters; with a server's name behind `@`).
const ID_LENGTHS: std::ops::RangeInclusive<usize> = 6..=64;

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// To the rendezvous server, or from it.
    Rendezvous(Rendezvous<'a>),
    /// The operated side's signed identity and key; empty where the session is not encrypted.
    SignedId,
    /// The operator's key and the session key.
    PublicKey,
    /// The operated side asks for a password.
    Hash,
    /// The operator's answer.
    Login,
}

/// Messages with the rendezvous server and the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rendezvous<'a> {
    RegisterPeer(&'a str),
    RegisterPk(&'a str),
    /// Somebody wants to operate this machine.
    PunchHoleRequest(&'a str),
    RequestRelay,
    TestNat,
    Online,
    HealthCheck,
    /// The operated side's answers to what the server told it.
    PeerAnswer,
    /// From the server.
    Answer(&'static str),
    KeyExchange,
    /// Search on the local network, and its answer.
    Ping,
    Pong,
}

/// One field: number and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(r: &mut Reader<'_>) -> Result<Option<u64>, Short> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = r.u8()?;
        value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Fields of a message that has exactly these bytes, in the order of their numbers as RustDesk's library writes them; `None` for others.
fn fields(body: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    const FIELDS_MAX: usize = 64;
    let mut r = Reader::new(body);
    let mut found: Vec<(u64, Value<'_>)> = Vec::new();
    while !r.is_empty() {
        let tag = varint(&mut r).ok()??;
        let number = tag >> 3;
        let value = match tag & 7 {
            VARINT => Value::Number(varint(&mut r).ok()??),
            BYTES => {
                let len = usize::try_from(varint(&mut r).ok()??).ok()?;
                Value::Bytes(r.take(len).ok()?)
            }
            FIXED64 => Value::Number(r.u64().ok()?),
            FIXED32 => Value::Number(u64::from(r.u32().ok()?)),
            _ => return None,
        };
        if number == 0 || found.last().is_some_and(|(last, _)| *last > number) || found.len() >= FIELDS_MAX {
            return None;
        }
        found.push((number, value));
    }
    Some(found)
}

/// Fields of one message, checked against a definition.
struct Fields<'a>(Vec<(u64, Value<'a>)>);

impl<'a> Fields<'a> {
    /// `texts`, `bytes` and `numbers` are the numbers of the fields of the kind; others must lie above all of them, as later versions'.
    fn of(body: &'a [u8], texts: &[u64], bytes: &[u64], numbers: &[u64]) -> Option<Self> {
        let found = fields(body)?;
        let known = [texts, bytes, numbers].concat().into_iter().max().unwrap_or(0);
        let fits = found.iter().all(|(number, value)| match value {
            Value::Bytes(b) if texts.contains(number) => std::str::from_utf8(b).is_ok(),
            Value::Bytes(_) if bytes.contains(number) => true,
            Value::Number(_) if numbers.contains(number) => true,
            _ => *number > known && *number <= known.saturating_add(16),
        });
        fits.then_some(Self(found))
    }

    fn bytes(&self, number: u64) -> Option<&'a [u8]> {
        self.0.iter().find_map(|(n, value)| match value {
            Value::Bytes(b) if *n == number => Some(*b),
            _ => None,
        })
    }

    fn text(&self, number: u64) -> Option<&'a str> {
        self.bytes(number).and_then(|b| std::str::from_utf8(b).ok())
    }

    fn number(&self, number: u64) -> u64 {
        let is = |(n, value): &(u64, Value<'_>)| match value {
            Value::Number(v) if *n == number => Some(*v),
            _ => None,
        };
        self.0.iter().find_map(is).unwrap_or(0)
    }

    fn id(&self, number: u64) -> Option<&'a str> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-@.:/?=&+".contains(&b);
        self.text(number).filter(|id| ID_LENGTHS.contains(&id.len()) && id.bytes().all(allowed))
    }
}

/// A socket address as RustDesk mangles it: 4 to 16 bytes for IPv4, up to 20 for IPv6.
const fn is_address(len: usize) -> bool {
    len >= 4 && len <= 20
}

fn is_uuid(text: &str) -> bool {
    text.len() == UUID_LEN
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn rendezvous(number: u64, body: &[u8]) -> Option<Rendezvous<'_>> {
    let of = |texts: &[u64], bytes: &[u64], numbers: &[u64]| Fields::of(body, texts, bytes, numbers);
    Some(match number {
        6 => Rendezvous::RegisterPeer(of(&[1], &[], &[2])?.id(1)?),
        7 if matches!(body, [] | [0x10, 0 | 1]) => Rendezvous::Answer("RegisterPeerResponse"),
        8 => {
            let f = of(&[1, 3, 5, 6, 11, 12], &[10], &[2, 4, 7, 8, 9])?;
            Rendezvous::PunchHoleRequest(f.id(1).filter(|_| f.number(2) <= 2 && f.number(4) <= 15)?)
        }
        9 => {
            let f = of(&[2, 10, 11], &[1, 7, 8, 9], &[3, 4, 5, 6])?;
            f.bytes(1).filter(|a| is_address(a.len()) && f.number(3) <= 2)?;
            Rendezvous::Answer("PunchHole")
        }
        10 => {
            let f = of(&[2, 3, 5, 8], &[1, 7], &[4, 6])?;
            f.bytes(1).filter(|a| is_address(a.len()))?;
            f.id(2)?;
            Rendezvous::PeerAnswer
        }
        11 => {
            let f = of(&[4, 7, 12], &[1, 2, 11], &[3, 5, 6, 8, 9, 10])?;
            let some = f.bytes(1).is_some_and(|a| is_address(a.len())) || f.number(3) <= 4;
            (some && !body.is_empty()).then_some(Rendezvous::Answer("PunchHoleResponse"))?
        }
        12 => {
            let f = of(&[2], &[1, 3, 4, 5], &[])?;
            f.bytes(1).filter(|a| is_address(a.len()))?;
            Rendezvous::Answer("FetchLocalAddr")
        }
        13 => {
            let f = of(&[3, 4, 5], &[1, 2, 6], &[])?;
            f.bytes(1).filter(|a| is_address(a.len()))?;
            f.id(4)?;
            Rendezvous::PeerAnswer
        }
        14 => {
            let f = of(&[2], &[], &[1])?;
            f.text(2)?;
            Rendezvous::Answer("ConfigUpdate")
        }
        15 => {
            let f = of(&[1, 4], &[2, 3], &[5])?;
            f.bytes(3).filter(|key| key.len() == KEY_LEN)?;
            Rendezvous::RegisterPk(f.id(1)?)
        }
        16 => {
            let f = of(&[], &[], &[1, 2])?;
            (f.number(1) <= 15 && body.len() <= 16).then_some(Rendezvous::Answer("RegisterPkResponse"))?
        }
        18 => {
            let f = of(&[1, 2, 4, 6, 8, 11], &[3, 9, 10], &[5, 7])?;
            f.text(2).filter(|uuid| is_uuid(uuid))?;
            Rendezvous::RequestRelay
        }
        19 => {
            let f = of(&[2, 3, 4, 6, 7, 12], &[1, 5, 10], &[9, 11])?;
            let named = f.text(2).is_some_and(is_uuid) || f.text(6).is_some_and(|why| !why.is_empty());
            named.then_some(Rendezvous::Answer("RelayResponse"))?
        }
        20 => {
            of(&[], &[], &[1])?;
            (body.len() <= 12).then_some(Rendezvous::TestNat)?
        }
        21 => {
            let f = of(&[], &[2], &[1])?;
            let port = u16::try_from(f.number(1)).unwrap_or(0);
            (port != 0).then_some(Rendezvous::Answer("TestNatResponse"))?
        }
        22 => {
            let f = of(&[1, 2, 3, 4, 5, 6, 7], &[], &[])?;
            match f.text(1)? {
                "ping" => Rendezvous::Ping,
                "pong" => f.id(3).map(|_| Rendezvous::Pong)?,
                _ => return None,
            }
        }
        23 => {
            let f = of(&[1, 2], &[], &[])?;
            f.id(1)?;
            f.id(2)?;
            Rendezvous::Online
        }
        24 => {
            let f = of(&[], &[1], &[])?;
            f.bytes(1)?;
            Rendezvous::Answer("OnlineResponse")
        }
        25 => {
            let keys = of(&[], &[1], &[])?.0;
            let len = |at: usize| match keys.get(at) {
                Some((1, Value::Bytes(key))) => Some(key.len()),
                _ => None,
            };
            let signed = keys.len() == 1 && len(0) == Some(SIGNED_LEAST.saturating_add(KEY_LEN));
            let sealed = keys.len() == 2 && len(0) == Some(KEY_LEN) && len(1) == Some(SEALED_LEN);
            (signed || sealed).then_some(Rendezvous::KeyExchange)?
        }
        26 => {
            of(&[1], &[], &[])?.text(1)?;
            Rendezvous::HealthCheck
        }
        _ => return None,
    })
}

/// Messages of a session, by what they hold.
fn session(number: u64, body: &[u8]) -> Option<Message<'_>> {
    match number {
        3 => {
            let f = Fields::of(body, &[], &[1], &[])?;
            f.bytes(1).filter(|signed| signed.len() > SIGNED_LEAST)?;
            Some(Message::SignedId)
        }
        4 => {
            let f = Fields::of(body, &[], &[1, 2], &[])?;
            let keys = f.bytes(1).map(<[u8]>::len) == Some(KEY_LEN)
                && f.bytes(2).map(<[u8]>::len) == Some(SEALED_LEN);
            (keys || body.is_empty()).then_some(Message::PublicKey)
        }
        7 => {
            let f = Fields::of(body, &[1, 4, 5, 11, 13], &[2, 6, 7, 8, 12, 14, 15, 16], &[9, 10])?;
            f.id(4)?;
            f.text(5)?;
            Some(Message::Login)
        }
        9 => {
            let f = Fields::of(body, &[1, 2], &[], &[])?;
            let random = |n: u64| {
                f.text(n).is_some_and(|t| {
                    CHALLENGE_LENGTHS.contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric())
                })
            };
            (random(1) && random(2)).then_some(Message::Hash)
        }
        _ => None,
    }
}

impl<'a> Message<'a> {
    /// The message at the start of `data`, and its length there.
    fn at_start(data: &'a [u8]) -> Result<Option<(Self, usize)>, Short> {
        let mut r = Reader::new(data);
        let Some(tag) = varint(&mut r)? else { return Ok(None) };
        let number = tag >> 3;
        if tag & 7 != BYTES || !(3..=26).contains(&number) {
            return Ok(None);
        }
        let Some(len) = varint(&mut r)?.and_then(|len| usize::try_from(len).ok()) else { return Ok(None) };
        if len > LEN_MAX {
            return Ok(None);
        }
        let body = r.take(len)?;
        let message = session(number, body).or_else(|| rendezvous(number, body).map(Message::Rendezvous));
        Ok(message.map(|message| (message, r.taken())))
    }

    /// A whole datagram, or a WebSocket message.
    pub(super) fn bare(data: &'a [u8]) -> Result<Option<(Self, usize)>, Short> {
        Self::at_start(data)
    }

    /// On TCP: a length of one to four bytes before it, how many is in its lowest two bits (hbb_common's `bytes_codec.rs`).
    pub(super) fn framed(data: &'a [u8]) -> Result<Option<(Self, usize)>, Short> {
        let mut r = Reader::new(data);
        let first = r.u8()?;
        let mut len = u32::from(first);
        let more = first & 3;
        for at in 1..=more {
            len |= u32::from(r.u8()?) << (u32::from(at).saturating_mul(8));
        }
        let len = usize::try_from(len >> 2).unwrap_or(usize::MAX);
        // Each form is used only for what the shorter ones cannot hold.
        let least = match more {
            0 => 2,
            1 => 1 << 6,
            2 => 1 << 14,
            _ => 1 << 22,
        };
        if len < least || len > LEN_MAX {
            return Ok(None);
        }
        // Most of what is not RustDesk's ends here: the length inside must agree.
        let rest = r.rest();
        let known = rest.get(..len.min(rest.len())).unwrap_or(&[]);
        let mut inner = Reader::new(known);
        if let Ok(Some(tag)) = varint(&mut inner) {
            let agrees = match varint(&mut inner) {
                Ok(Some(n)) => {
                    usize::try_from(n).ok().and_then(|n| n.checked_add(inner.taken())) == Some(len)
                }
                Ok(None) => false,
                Err(Short) => rest.len() < len,
            };
            if !agrees || tag & 7 != BYTES {
                return Ok(None);
            }
        }
        let body = r.take(len)?;
        match Self::at_start(body) {
            Ok(Some((message, taken))) if taken == len => Ok(Some((message, r.taken()))),
            _ => Ok(None),
        }
    }
}
